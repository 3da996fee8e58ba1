//! The admin socket, and `forebay status` and `reload` through it: the real socket, the real binary.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::thread;

use expect_test::expect;
use forebay::admin::reload::{Mode, Reload, Report};
use forebay::admin::status::{AlertStatus, LaneStatus, ListenerStatus, SinkStatus, StreamStatus};
use forebay::admin::{Admin, AdminSocket, Desk, Readiness, Status, StatusSource};
use forebay::model::Offset;
use forebay::telemetry::Metrics;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

/// A gateway in this state.
struct Snapshot(Status);

impl StatusSource for Snapshot {
    fn status(&self) -> Status {
        self.0.clone()
    }
}

impl Readiness for Snapshot {
    fn ready(&self) -> Result<(), String> {
        self.0.not_ready.clone().map_or(Ok(()), Err)
    }

    fn lanes_wait(&self) -> Option<String> {
        self.0.lanes_wait.clone()
    }
}

/// Never reloads.
impl Reload for Snapshot {
    fn reload(&self, _: Mode) -> BoxFuture<'_, Report> {
        Box::pin(async { Report::failed("fc380f407651a0fb", "the disk is full") })
    }
}

fn snapshot() -> Status {
    let listener = |name: &str, kind: &str, address: &str| ListenerStatus {
        name: name.into(),
        kind: kind.into(),
        address: address.into(),
    };
    let stream = |name: &str, durable, failed| StreamStatus {
        name: name.into(),
        durable: Offset(durable),
        oldest: Offset(100),
        queued_bytes: 2048,
        failed,
    };
    Status {
        gateway: "site-7".into(),
        version: "0.1.0".into(),
        config_hash: "fc380f407651a0fb".into(),
        uptime_seconds: 273_600.0,
        not_ready: None,
        lanes_wait: None,
        listeners: vec![listener("mqtt", "mqtt", "127.0.0.1:1883"), listener("field", "coap", "[::1]:5683")],
        streams: vec![stream("readings", 1_234_567, false), stream("results", 4_321, true)],
        lanes: vec![LaneStatus {
            name: "main".into(),
            position: Offset(1_234_560),
            emitted: Offset(1_234_560),
            checkpoint: Offset(1_200_000),
            lag_records: 7,
            lag_seconds: 0.25,
        }],
        sinks: vec![SinkStatus { name: "tsdb".into(), lag_records: 0, lag_seconds: 0.0, breaker_open: true }],
        alerts: vec![AlertStatus { name: "speeding".into(), firing: 2 }],
        disk_free_bytes: 20 << 30,
    }
}

/// A socket that serves [`snapshot`] until it is dropped.
struct Served {
    dir: tempfile::TempDir,
    stop: CancellationToken,
    thread: Option<thread::JoinHandle<()>>,
}

impl Served {
    fn start() -> Self {
        let (dir, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let socket = runtime.block_on(async { AdminSocket::bind(&dir.path().join("admin.sock")) }).unwrap();
        let house = Arc::new(Snapshot(snapshot()));
        let pages = Arc::new(Admin::new(Arc::new(Metrics::new()), house.clone(), house.clone()));
        let (desk, until) = (Desk { pages, reload: house }, stop.clone());
        let thread = thread::spawn(move || runtime.block_on(socket.run(desk, until)));
        Self { dir, stop, thread: Some(thread) }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("admin.sock")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(Err(panic)) = self.thread.take().map(thread::JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
    }
}

fn forebay(arguments: &[&str], socket: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
    command.args(arguments).arg(socket).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn status_shows_tables_to_people() {
    let served = Served::start();
    let run = forebay(&["status", "--socket"], &served.path());
    assert_eq!(run.status.code(), Some(0), "{}", text(&run.stderr));
    expect![[r#"
        gateway site-7, version 0.1.0, configuration fc380f407651a0fb, up 3 d 4 h, 20.0 GiB free on disk, ready

        listener  kind  address
        mqtt      mqtt  127.0.0.1:1883
        field     coap  [::1]:5683

        stream    durable  oldest  queued   state
        readings  1234567  100     2.0 KiB  ok
        results   4321     100     2.0 KiB  FAILED

        lane  position  emitted  checkpoint  lag
        main  1234560   1234560  1200000     7 records, 0.2 s

        sink  lag   state
        tsdb  none  HELD BACK

        alert     firing
        speeding  2
    "#]].assert_eq(&text(&run.stdout));
}

#[test]
fn status_gives_programs_the_whole_snapshot() {
    let served = Served::start();
    let run = forebay(&["status", "--json", "--socket"], &served.path());
    let status: Status = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(status, snapshot());
}

#[test]
fn status_finds_the_socket_by_the_configuration() {
    let served = Served::start();
    let config = served.dir.path().join("forebay.toml");
    std::fs::write(&config, "[gateway]\ndata_dir = \".\"\n[source.s]\ntopic = \"s\"\n").unwrap();
    let run = forebay(&["status", "--config"], &config);
    assert!(text(&run.stdout).starts_with("gateway site-7, "), "{}", text(&run.stderr));
}

#[test]
fn without_a_gateway_it_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    for left_behind in [false, true] {
        if left_behind {
            drop(UnixListener::bind(&path).unwrap());
        }
        let run = forebay(&["status", "--socket"], &path);
        let want = format!("forebay: the gateway is not running: nobody listens at {}\n", path.display());
        assert_eq!((run.status.code(), text(&run.stderr)), (Some(1), want));
    }
}

#[tokio::test]
async fn the_socket_is_private_and_its_file_goes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let socket = AdminSocket::bind(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing but the socket");
    drop(socket);
    assert!(!path.exists());
}

#[tokio::test]
async fn only_a_socket_left_behind_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    drop(UnixListener::bind(&path).unwrap());
    let first = AdminSocket::bind(&path).unwrap();
    let refused = |path: &Path| AdminSocket::bind(path).err().unwrap().to_string();
    assert!(refused(&path).ends_with("is the admin socket of a running gateway"));
    let file = dir.path().join("notes.txt");
    std::fs::write(&file, "mine").unwrap();
    assert!(refused(&file).ends_with("is there and no socket"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    drop(first);
}

#[test]
fn a_reload_that_fails_says_why() {
    let served = Served::start();
    let run = forebay(&["reload", "--socket"], &served.path());
    assert_eq!((run.status.code(), text(&run.stderr)), (Some(1), "reload: the disk is full\n".to_owned()));
    let run = forebay(&["reload", "--json", "--socket"], &served.path());
    let report: Report = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(
        (run.status.code(), report),
        (Some(1), Report::failed("fc380f407651a0fb", "the disk is full"))
    );
}

#[test]
fn a_reload_is_posted_and_nothing_else() {
    let served = Served::start();
    let ask = |request: &str| {
        let mut stream = UnixStream::connect(served.path()).unwrap();
        stream.write_all(format!("{request} HTTP/1.0\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    for (request, status) in [
        ("GET /api/v1/reload", "405"),
        ("POST /api/v1/reload?dry_run=perhaps", "400"),
        ("POST /api/v1/reload", "503"),
        ("POST /api/v1/status", "405"),
    ] {
        assert_eq!(ask(request), status, "{request}");
    }
}
