//! One request over any stream: all the HTTP that the command line needs to ask its own gateway.
//!
//! Speaks HTTP/1.0, so that the answer is never chunked and ends with the connection (RFC 9112 §6.3).

use std::io::{self, Read, Write};

/// Largest answer taken.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status with the phrase: `404 Not Found`.
    pub status: String,
    /// What it holds.
    pub body: Vec<u8>,
}

/// The body of the answer to `GET path`.
///
/// # Errors
/// Where the stream fails, the answer is not HTTP, or is not 200: the text has its status line.
pub fn get(stream: impl Read + Write, host: &str, path: &str) -> io::Result<Vec<u8>> {
    let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nAccept: application/json\r\n\r\n");
    let Answer { status, body } = exchange(stream, &request)?;
    if status.starts_with("200") { Ok(body) } else { Err(invalid(format!("it answers {status}"))) }
}

/// The answer to `POST path` without a body, whatever its status.
///
/// # Errors
/// Where the stream fails, or the answer is not HTTP.
pub fn post(stream: impl Read + Write, host: &str, path: &str) -> io::Result<Answer> {
    let headers = format!("Host: {host}\r\nAccept: application/json\r\nContent-Length: 0");
    exchange(stream, &format!("POST {path} HTTP/1.0\r\n{headers}\r\n\r\n"))
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn exchange(mut stream: impl Read + Write, request: &str) -> io::Result<Answer> {
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let end = end.ok_or_else(|| invalid("the answer is not HTTP".to_owned()))?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.lines().next().unwrap_or_default();
    let mut words = status.splitn(2, ' ');
    match (words.next(), words.next()) {
        (Some(version), Some(status)) if version.starts_with("HTTP/1.") => {
            Ok(Answer { status: status.to_owned(), body: answer.split_off(end + 4) })
        }
        _ => Err(invalid("the answer is not HTTP".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers whatever is asked.
    struct Peer<'a>(&'a [u8], Vec<u8>);

    impl Read for Peer<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for Peer<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn only_a_200_has_a_body() {
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", Ok("{}")),
            ("HTTP/1.0 404 Not Found\r\n\r\nx", Err("it answers 404 Not Found")),
            ("SSH-2.0-OpenSSH\r\n\r\n", Err("the answer is not HTTP")),
            ("", Err("the answer is not HTTP")),
        ] {
            let found = get(Peer(answer.as_bytes(), Vec::new()), "h", "/p");
            let found = found.map(|body| String::from_utf8(body).unwrap()).map_err(|error| error.to_string());
            assert_eq!(found.as_deref().map_err(|text| &**text), expected, "{answer:?}");
        }
    }
}
