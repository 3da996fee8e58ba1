//! The real daemon in a folder of its own: started, asked, killed, started again.
//!
//! Every listener takes a free port; the daemon says which in its log, and `<listener>.port` in the folder
//! always holds the present one, for clients that outlive a restart. What it delivers is read from the file
//! sink `rows` of [`BASE`]: readings, results, alerts, late rows and dead letters.
//!
//! Nothing sleeps and hopes: [`eventually`] asks until a deadline. A [`Site`] ends its own child only, also when
//! the test panics, and then shows the end of the log. [`tool`] finds other people's programs, [`coap`], [`http`]
//! and [`mqtt`] say what a well-behaved client cannot be made to say.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

pub mod coap;
pub mod http;
pub mod influxd;
pub mod mqtt;
pub mod receiver;
pub mod rows;
pub mod tool;

/// How long a test waits for what must come. Generous: the machine may be busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Lines of the log that a failed test shows.
const LOG_LINES_SHOWN: usize = 60;

/// Three listeners on free ports, and a file that gets every kind of row. Tests append their sources.
pub const BASE: &str = r#"
[gateway]
id = "it"
data_dir = "data"
[journal]
max_bytes = "1GiB"
min_free = "64MiB"
[listen.mqtt]
bind = "127.0.0.1:0"
[listen.coap]
bind = "127.0.0.1:0"
[listen.http]
bind = "127.0.0.1:0"
[[route]]
of = "reading"
to = ["rows"]
[[route]]
of = "result"
to = ["rows"]
[[route]]
of = "alert"
to = ["rows"]
[[route]]
of = "late"
to = ["rows"]
[[route]]
of = "dead-letter"
to = ["rows"]
[sink.rows]
kind = "file"
path = "rows.ndjson"
start = "earliest"
"#;

/// A folder with a configuration, and the daemon that runs there.
pub struct Site {
    folder: TempDir,
    daemon: Option<Child>,
    listening: BTreeMap<String, SocketAddr>,
    environment: Vec<(&'static str, OsString)>,
}

impl Site {
    /// A folder with [`BASE`] and `more` as its configuration. Nothing runs yet.
    pub fn new(more: &str) -> Self {
        Self::with_config(&format!("{BASE}{more}"))
    }

    /// A folder with this configuration. Nothing runs yet.
    pub fn with_config(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let site = Self { folder, daemon: None, listening: BTreeMap::new(), environment: Vec::new() };
        site.write("forebay.toml", config);
        site
    }

    /// As [`Site::new`], with the daemon running.
    pub fn run(more: &str) -> Self {
        let mut site = Self::new(more);
        site.start();
        site
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file of the folder.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Every daemon started from now on gets this variable.
    pub fn set_env(&mut self, name: &'static str, value: impl Into<OsString>) {
        self.environment.push((name, value.into()));
    }

    /// Starts the daemon and waits until it serves.
    pub fn start(&mut self) {
        self.try_start().unwrap_or_else(|status| panic!("the daemon ended at start: {status}"));
    }

    /// As [`Site::start`].
    ///
    /// # Errors
    /// How the daemon ended, where it did instead.
    pub fn try_start(&mut self) -> Result<(), ExitStatus> {
        let before = self.spawn();
        let log = self.path("daemon.log");
        let listening = eventually("the daemon is ready", || {
            if let Some(status) = self.daemon.as_mut().unwrap().try_wait().unwrap() {
                return Some(Err(status));
            }
            ready(&fs::read(&log).unwrap()[before..]).map(Ok)
        });
        self.listening = listening.inspect_err(|_| self.daemon = None)?;
        for (name, addr) in &self.listening {
            // Replaced as a whole: a client may be reading it.
            let part = self.write(&format!("{name}.part"), addr.port().to_string());
            fs::rename(part, self.path(&format!("{name}.port"))).unwrap();
        }
        Ok(())
    }

    /// Starts the daemon and does not wait. Yields the length of the log before.
    pub fn spawn(&mut self) -> usize {
        assert!(self.daemon.is_none(), "the daemon runs already");
        let log = self.path("daemon.log");
        let before = fs::metadata(&log).map_or(0, |log| log.len() as usize);
        let stderr = OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
        command.args(["run", "--log-format", "json", "--config", "forebay.toml"]);
        command.current_dir(self.folder.path()).env_remove("FOREBAY_LOG_FORMAT");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        self.daemon = Some(command.spawn().unwrap());
        before
    }

    /// SIGTERM: it drains and says that all is well.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        let status = self.reap();
        assert_eq!(status.code(), Some(0), "after SIGTERM: {status}");
    }

    /// SIGKILL, in the middle of whatever it does.
    pub fn kill9(&mut self) {
        self.signal(Signal::KILL);
        let status = self.reap();
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "it had ended before: {status}");
    }

    /// Sends a signal to the daemon.
    pub fn signal(&self, signal: Signal) {
        let child = self.daemon.as_ref().expect("the daemon runs");
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    /// Waits for its end, which nobody asked for.
    pub fn exited(&mut self) -> ExitStatus {
        self.reap()
    }

    /// Waits for its end.
    fn reap(&mut self) -> ExitStatus {
        let child = self.daemon.as_mut().expect("the daemon runs");
        let status = eventually("the daemon ends", || child.try_wait().unwrap());
        self.daemon = None;
        self.listening.clear();
        status
    }

    /// Whether it runs.
    pub fn is_alive(&mut self) -> bool {
        self.daemon.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// Where a listener is.
    pub fn addr(&self, listener: &str) -> SocketAddr {
        *self.listening.get(listener).unwrap_or_else(|| panic!("no listener {listener:?} serves"))
    }

    /// Its port, for a command line.
    pub fn port(&self, listener: &str) -> String {
        self.addr(listener).port().to_string()
    }

    /// What it keeps in memory, in bytes (`VmRSS` of proc(5)).
    pub fn resident_bytes(&self) -> u64 {
        self.process("VmRSS:") * 1024
    }

    /// A number that proc(5) says of the process, without its unit.
    pub fn process(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("Linux says so");
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// How many files it has open.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    fn pid(&self) -> u32 {
        self.daemon.as_ref().expect("the daemon runs").id()
    }

    /// The log of all runs.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("daemon.log")).unwrap_or_default()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(mut child) = self.daemon.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
            eprintln!("--- end of the daemon's log\n{}", shown.join("\n"));
        }
    }
}

/// The listeners that a log tells of, once it says `ready`.
fn ready(log: &[u8]) -> Option<BTreeMap<String, SocketAddr>> {
    let lines = log.split(|byte| *byte == b'\n');
    let events: Vec<Value> = lines.filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let said = |event: &&Value, word| event["message"] == word;
    events.iter().find(|event| said(event, "ready"))?;
    let listening = events.iter().filter(|event| said(event, "listening"));
    let each =
        |event: &Value| Some((event["listener"].as_str()?.to_owned(), event["addr"].as_str()?.parse().ok()?));
    Some(listening.filter_map(each).collect())
}

/// Asks until there is an answer; panics with `what` after [`PATIENCE`].
pub fn eventually<T>(what: &str, attempt: impl FnMut() -> Option<T>) -> T {
    eventually_or(attempt, || what.to_owned())
}

/// As [`eventually`], with a text that is made when it is needed.
pub fn eventually_or<T>(attempt: impl FnMut() -> Option<T>, what: impl FnOnce() -> String) -> T {
    within(PATIENCE, attempt, what)
}

/// As [`eventually_or`], for what may rest for long by design, such as a sink that failed again and again.
pub fn within<T>(
    patience: Duration,
    mut attempt: impl FnMut() -> Option<T>,
    what: impl FnOnce() -> String,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        if Instant::now() >= deadline {
            panic!("not within {patience:?}: {}", what());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// A child of a test other than the daemon: a client or a counterpart. Ends with its owner.
pub struct Running(pub Child);

impl Running {
    /// Starts `command` with its output in `log`.
    pub fn start(mut command: Command, log: &Path) -> Self {
        let out = File::create(log).unwrap();
        command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        Self(command.spawn().unwrap())
    }

    /// How it ended; `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
