//! `forebay status`: asks the running gateway how it is doing.
//!
//! By its admin socket, or with `--url` by an HTTP listener. [`get`] fetches the snapshot, [`table`] shows it.

use std::io::{self, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub mod get;
pub mod table;

use super::arguments::{Global, StatusOptions};
use super::{Failure, OK, Style};
use crate::admin::status::{self, Status};
use crate::config;

/// How long the gateway may take for each step of an answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Prints the status of the gateway that `global` and `options` lead to.
///
/// # Errors
/// Where the configuration is bad, nobody answers, or the answer is not a status.
pub fn run(global: &Global, options: &StatusOptions) -> Result<u8, Failure> {
    let body = match (&options.url, &options.socket) {
        (Some(url), _) => by_url(url)?,
        (None, socket) => {
            let path = admin_socket(global, socket.as_deref())?;
            let asked =
                connect_socket(&path, TIMEOUT).and_then(|stream| get::get(stream, "localhost", status::PATH));
            asked.map_err(|error| unreachable(&path, &error))?
        }
    };
    let status: Status = serde_json::from_slice(&body)
        .map_err(|error| Failure::Failed(format!("the answer is not a status: {error}")))?;
    let mut out = io::stdout().lock();
    let written = match global.style() {
        Style::Json => out.write_all(&body).and_then(|()| writeln!(out)),
        Style::Text => out.write_all(table::show(&status).as_bytes()),
    };
    written.map_err(Failure::Output)?;
    Ok(OK)
}

/// The gateway's admin socket: as it is named, else as the configuration says.
pub(super) fn admin_socket(global: &Global, named: Option<&Path>) -> Result<PathBuf, Failure> {
    match named {
        Some(path) => Ok(path.to_owned()),
        None => Ok(config::admin_socket(&global.config_path()?)?),
    }
}

/// Connects to an admin socket that may take `timeout` for each step of an answer.
pub(super) fn connect_socket(path: &Path, timeout: Duration) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    Ok(stream)
}

/// Why nobody answers at an admin socket.
pub(super) fn unreachable(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    Failure::Failed(match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            format!("the gateway is not running: nobody listens at {path}")
        }
        io::ErrorKind::PermissionDenied => {
            format!("may not use {path}: be root, or the user the gateway runs as")
        }
        _ => format!("cannot ask the gateway at {path}: {error}"),
    })
}

fn by_url(url: &str) -> Result<Vec<u8>, Failure> {
    let failed = |error: io::Error| Failure::Failed(format!("cannot ask the gateway at {url}: {error}"));
    let (host, prefix) = parts(url)?;
    let stream = connect(&host).and_then(|stream| {
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(stream)
    });
    let path = format!("{prefix}{}", status::PATH);
    get::get(stream.map_err(failed)?, &host, &path).map_err(failed)
}

/// The host with its port, and the path without a last slash.
fn parts(url: &str) -> Result<(String, &str), Failure> {
    let Some(rest) = url.strip_prefix("http://") else {
        return Err(Failure::Usage(format!("{url:?} is not of the form http://HOST:PORT")));
    };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let has_port = host.rsplit(':').next().is_some_and(|end| end.parse::<u16>().is_ok());
    let host = if has_port && !host.ends_with(']') { host.to_owned() } else { format!("{host}:80") };
    Ok((host, path.trim_end_matches('/')))
}

fn connect(host: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in host.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_host_a_port_and_perhaps_a_path() {
        for (url, host, path) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080", ""),
            ("http://gateway/", "gateway:80", ""),
            ("http://[::1]:8080/site-7/", "[::1]:8080", "/site-7"),
            ("http://[fe80::1]", "[fe80::1]:80", ""),
        ] {
            assert_eq!(parts(url).unwrap(), (host.to_owned(), path), "{url}");
        }
        assert_eq!(parts("https://gateway").unwrap_err().code(), crate::cli::USAGE);
    }
}
