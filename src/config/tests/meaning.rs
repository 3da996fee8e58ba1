//! What a configuration without problems means.

use std::path::Path;

use super::super::*;
use super::{BASE, run, with_base};

#[test]
fn secrets_are_found_and_not_kept() {
    let text = r#"
[sink.a]
kind = "influxdb"
url = "http://127.0.0.1:8086/"
database = "${SITE}-$${SITE}"
user = "u"
password = { file = "influxdb.password" }
[sink.b]
kind = "webhook"
url = "http://x/y"
headers = { A = "as it stands" }
secret = { credential = "pager" }
"#;
    let (config, _) = run(&[("f.toml", text)]).unwrap();
    let SinkKind::Influxdb(influxdb) = &config.sinks[0].kind else { panic!("an influxdb sink") };
    assert_eq!(influxdb.credentials, Some(("u".to_owned(), Secret("from file".to_owned()))));
    assert_eq!(
        (influxdb.database.as_str(), influxdb.url.as_str()),
        ("north-${SITE}", "http://127.0.0.1:8086")
    );
    let SinkKind::Webhook(webhook) = &config.sinks[1].kind else { panic!("a webhook sink") };
    assert_eq!(webhook.secret, Some(Secret("from systemd".to_owned())));
    assert!(!config.text.contains("as it stands") && config.text.contains("headers = { A = \"…\" }"));
    assert!(!format!("{config:?}").contains("from systemd"));
}

#[test]
fn what_a_small_file_means() {
    let (config, warnings) = run(&[("f.toml", BASE)]).unwrap();
    assert_eq!(warnings, []);
    let pipeline = &config.pipelines[0];
    assert_eq!(pipeline.key, Key::Sensor);
    assert_eq!((&*pipeline.lane, pipeline.start), ("main", Start::Now));
    assert_eq!(pipeline.window, Window::Tumbling { size_ms: 5000, offset_ms: 0 });
    assert_eq!(
        pipeline.outputs.iter().map(|name| &**name).collect::<Vec<_>>(),
        ["avg_speed", "n", "key", "start", "end"]
    );
    assert_eq!(config.listeners[0].bind, ["127.0.0.1:1883".parse().unwrap()]);
    assert_eq!(config.gateway.admin, Path::new("/var/lib/forebay/admin.sock"));
}

#[test]
fn the_generation_follows_the_state_only() {
    let generation = |from: &str, to: &str| {
        let text = BASE.replace(from, to);
        assert!(from.is_empty() || text != BASE, "{from}");
        run(&[("f.toml", &text)]).unwrap_or_else(|problems| panic!("{problems}")).0.pipelines[0].generation
    };
    let base = generation("", "");
    let select = "select = {";
    for same in
        ["having = \"n > 2\"\nselect = {", "to = \"log\"\nselect = {", "start = \"earliest\"\nselect = {"]
    {
        assert_eq!(generation(select, same), base, "{same}");
    }
    for (from, to) in [
        ("\"5s\"", "\"6s\""),
        ("\"3s\"", "\"4s\""),
        ("count()", "count(limit_kmh)"),
        (select, "where = \"speed_kmh > 1.0\"\nselect = {"),
        (select, "key = \"\"\nselect = {"),
        (select, "tags = [\"limit_kmh\"]\nselect = {"),
        (select, "lane = \"reports\"\nselect = {"),
    ] {
        assert_ne!(generation(from, to), base, "{to}");
    }
}

#[test]
fn routes_of_the_file_come_first() {
    let text = with_base(
        r#"
[alert.fast]
on = "speeding"
when = "avg_speed > 100"
summary = "{sensor}: {avg_speed:.1} {{}}"
to = "log"
[[route]]
of = "alert"
severity = ["critical"]
to = ["log"]
final = true
"#,
    )
    .replace("select = {", "to = [\"log\"]\nlane = \"reports\"\nselect = {");
    let (config, _) = run(&[("f.toml", &text)]).unwrap_or_else(|problems| panic!("{problems}"));
    let of: Vec<_> = config.routes.iter().map(|route| (route.of, route.is_final)).collect();
    let (alert, result) = (Some(OutputKind::Alert), Some(OutputKind::Result));
    assert_eq!(of, [(alert, true), (result, false), (alert, false)]);
    assert_eq!(*config.routes[1].from, ["speeding".into()]);
    assert_eq!(*config.routes[2].alert, ["fast".into()]);
    assert_eq!(&*config.alerts[0].lane, "reports");
    let parts = &config.alerts[0].summary.parts;
    assert_eq!(parts[1], SummaryPart::Text(": ".into()));
    assert_eq!(parts[2], SummaryPart::Hole { slot: 0, decimals: Some(1) });
    assert_eq!(parts[3], SummaryPart::Text(" {}".into()));
}
