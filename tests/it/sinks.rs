//! Real counterparts get what the file sink got: InfluxDB, killed on the way, and a webhook that fails first.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use ring::hmac;
use serde_json::{Value, json};

use crate::harness::influxd::Influxd;
use crate::harness::receiver::{Post, Receiver};
use crate::harness::rows::assert_ids_unique;
use crate::harness::{BASE, Site, eventually, eventually_or, http};

const METERS: &str = r#"
[source.meters]
topic = "meters/{meter}"
format = "json"
sensor = "{meter}"
time = { at = "/ts", unit = "ms" }
fields = { watts = {} }
[pipeline.load]
from = ["meters"]
window = { kind = "tumbling", size = "10s" }
select = { mean = "avg(watts)", top = "max(watts)", n = "count()" }
"#;

const SENSORS: u64 = 20;
/// Windows of a sensor in each part of the test.
const WINDOWS: u64 = 10;
const SECRET: &str = "a secret between two";

/// Sends each sensor's readings of `windows`, and the one after them that closes the last.
fn send(site: &Site, windows: std::ops::Range<u64>) {
    for sensor in 0..SENSORS {
        let seconds = windows.start * 10..=windows.end * 10;
        let reading =
            |second| json!({"ts": 1_767_225_600_000 + second * 1000, "watts": sensor * 10 + second % 7});
        let body = Value::from_iter(seconds.map(reading)).to_string();
        let answer = http::post(site.addr("http"), &format!("meters/m{sensor}"), "", body.as_bytes());
        assert_eq!(answer.status, 202, "{answer:?}");
    }
}

/// Sensor and start of a window to its values.
type Windows = BTreeMap<(String, u64), Value>;

fn windows<'a>(
    rows: impl IntoIterator<Item = &'a Value>,
    start: &str,
    values: impl Fn(&Value) -> Value,
) -> Windows {
    let window = |row: &'a Value| (row["key"].as_str().unwrap().to_owned(), row[start].as_u64().unwrap());
    rows.into_iter().map(|row| (window(row), values(row))).collect()
}

#[test]
fn influxdb_has_every_window_once_though_it_was_killed() {
    let mut site = Site::new("");
    let Some(mut influxd) = Influxd::start(&site.path("influxd")) else { return };
    let url = influxd.url();
    // `to` belongs to the pipeline, the last table of METERS.
    let more = format!(
        r#"{METERS}
to = ["tsdb"]
[sink.tsdb]
kind = "influxdb"
url = "{url}"
database = "site"
"#
    );
    site.write("forebay.toml", format!("{BASE}{more}"));
    site.start();

    let points = |influxd: &Influxd| influxd.query("SELECT * FROM load");
    let wait_for = |influxd: &Influxd, parts: u64| {
        let enough =
            || Some(points(influxd)).filter(|points| points.len() as u64 >= SENSORS * WINDOWS * parts);
        eventually_or(enough, || format!("{parts} parts in InfluxDB, only {} points", points(influxd).len()))
    };
    send(&site, 0..WINDOWS);
    wait_for(&influxd, 1);
    send(&site, WINDOWS..WINDOWS * 2);
    influxd.kill9();
    send(&site, WINDOWS * 2..WINDOWS * 3);
    site.wait_for((SENSORS * WINDOWS * 3) as usize, "result", |_| true);
    influxd.resume();
    wait_for(&influxd, 3);
    // The gateway's end: what it sends again overwrites itself.
    site.kill9();
    site.start();
    send(&site, WINDOWS * 3..WINDOWS * 4);
    let points = wait_for(&influxd, 4);
    site.stop();

    let results = site.rows("result");
    assert_ids_unique(&results);
    assert_eq!((results.len(), points.len()), (points.len(), (SENSORS * WINDOWS * 4) as usize));
    let in_file = windows(&results, "start", |row| row["values"].clone());
    let value = |point: &Value| json!({"mean": point["mean"], "top": point["top"], "n": point["n"]});
    assert_eq!(windows(&points, "time", value), in_file);
}

fn row(post: &Post) -> Value {
    serde_json::from_slice(&post.body).unwrap()
}

#[test]
fn a_webhook_gets_alerts_with_one_key_for_every_repetition() {
    let receiver = Receiver::start(|number| if number == 0 { 503 } else { 200 });
    let url = receiver.url();
    let site = Site::run(&format!(
        r#"{METERS}
[alert.overload]
on = "load"
when = "mean > 50"
severity = "critical"
summary = "{{sensor}} draws {{mean:.0}} W"
to = ["pager"]
[sink.pager]
kind = "webhook"
url = "{url}"
secret = "{SECRET}"
headers = {{ X-Site = "7" }}
"#
    ));
    let send = |second: u64, watts: u64| {
        let body = json!({"ts": 1_767_225_600_000 + second * 1000, "watts": watts}).to_string();
        assert_eq!(http::post(site.addr("http"), "meters/m1", "", body.as_bytes()).status, 202);
    };
    let wait_for = |count| eventually("posts", || Some(receiver.seen()).filter(|seen| seen.len() >= count));
    send(0, 90);
    send(10, 5);
    wait_for(2);
    send(20, 5);
    let posts = wait_for(3);
    assert_eq!(posts.len(), 3, "{posts:?}");
    let states: Vec<Value> = posts.iter().map(|post| row(post)["state"].clone()).collect();
    assert_eq!(states, ["firing", "firing", "resolved"]);
    assert_eq!(posts[0].body, posts[1].body, "the repetition");
    assert_eq!(row(&posts[0])["episode"], row(&posts[2])["episode"]);
    assert_eq!(row(&posts[0])["summary"], "m1 draws 90 W");
    for post in &posts {
        assert_eq!(row(post)["id"], post.header("idempotency-key"), "{post:?}");
        assert_eq!((post.header("x-site"), post.header("content-type")), ("7", "application/json"));
        let signature = post.header("x-forebay-signature").strip_prefix("sha256=").unwrap();
        let (key, tag) =
            (hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), HEXLOWER.decode(signature.as_bytes()));
        hmac::verify(&key, &post.body, &tag.unwrap()).unwrap();
    }
    // The file has the two alerts too, by the routes.
    let alerts = site.wait_for(2, "alert", |_| true);
    assert_eq!(alerts, [row(&posts[0]), row(&posts[2])]);
}
