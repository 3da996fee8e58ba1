//! A real InfluxDB 1.x (Debian's package `influxdb`) in a folder of its own, on free ports of loopback.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::tool::{find, succeed, tool};
use super::{Running, eventually};

/// The server; killed and started again it has the same folder and ports.
pub struct Influxd {
    config: PathBuf,
    port: u16,
    running: Option<Running>,
}

impl Influxd {
    /// Starts a server with an empty database `site`. `None` where it is not installed.
    pub fn start(folder: &Path) -> Option<Self> {
        find("curl")?;
        find("influxd")?;
        let config = folder.join("influxdb.conf");
        let [port, backup_port] = free_ports();
        fs::create_dir_all(folder).unwrap();
        fs::write(&config, configuration(folder, port, backup_port)).unwrap();
        let mut influxd = Self { config, port, running: None };
        influxd.resume();
        influxd.query("CREATE DATABASE site");
        Some(influxd)
    }

    /// Starts it and waits until it answers.
    pub fn resume(&mut self) {
        let mut command = Command::new(find("influxd").unwrap());
        command.arg("-config").arg(&self.config);
        let mut running = Running::start(command, &self.config.with_extension("log"));
        eventually("influxd answers", || {
            let log = || fs::read_to_string(self.config.with_extension("log")).unwrap_or_default();
            assert!(running.ended().is_none(), "influxd has ended:\n{}", log());
            self.curl(&["--get"], "ping").output().unwrap().status.success().then_some(())
        });
        self.running = Some(running);
    }

    /// SIGKILL.
    pub fn kill9(&mut self) {
        self.running = None;
    }

    /// Where it takes points.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The rows of a statement: column names to values, tags among them; times are milliseconds.
    pub fn query(&self, statement: &str) -> Vec<Value> {
        let statement = format!("q={statement}");
        let options = ["--data-urlencode", &statement, "--data", "db=site", "--data", "epoch=ms"];
        let answer: Value = serde_json::from_str(&succeed(&mut self.curl(&options, "query"))).unwrap();
        let result = &answer["results"][0];
        assert!(result["error"].is_null(), "{statement}: {answer}");
        let series = &result["series"][0];
        let columns: Vec<&str> = list(&series["columns"]).iter().map(|name| name.as_str().unwrap()).collect();
        let row = |values: &Value| columns.iter().copied().zip(list(values).iter().cloned()).collect();
        list(&series["values"]).iter().map(row).collect()
    }

    fn curl(&self, options: &[&str], path: &str) -> Command {
        let mut curl = tool("curl").unwrap();
        curl.args(["--silent", "--show-error", "--fail-with-body"]).args(options);
        curl.arg(format!("{}/{path}", self.url()));
        curl
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Ports that nobody holds at this moment: the configuration must name them before the server runs.
fn free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind(("127.0.0.1", 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// Points are synced before they are acknowledged (`wal-fsync-delay`), so that a kill loses none.
fn configuration(folder: &Path, port: u16, backup_port: u16) -> String {
    let folder = folder.display();
    format!(
        r#"
reporting-enabled = false
bind-address = "127.0.0.1:{backup_port}"
[meta]
dir = "{folder}/meta"
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
wal-fsync-delay = "0s"
[monitor]
store-enabled = false
[http]
bind-address = "127.0.0.1:{port}"
"#
    )
}
