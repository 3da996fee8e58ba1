//! Tables: an edit of a configuration, and what a reload would make of it.

use std::path::Path;

use expect_test::{Expect, expect};

use super::*;

const BASE: &str = r#"
[gateway]
id = "site"
data_dir = "data"
[listen.mqtt]
bind = "127.0.0.1:1883"
[listen.http]
bind = "127.0.0.1:8080"
[source.fleet]
topic = "fleet/{v}"
[source.fleet.fields]
speed = {}
[source.meters]
topic = "meters/{m}"
[source.meters.fields]
watts = {}
[pipeline.speeding]
from = ["fleet"]
window = { kind = "tumbling", size = "5s" }
watermark = { idle = "3s" }
select = { mean = "avg(speed)", n = "count()" }
to = ["log"]
[pipeline.load]
from = ["meters"]
window = { kind = "tumbling", size = "1m" }
watermark = { idle = "3s" }
select = { mean = "avg(watts)" }
having = "mean > 1"
[alert.fast]
on = "speeding"
when = "mean > 50"
to = ["pager"]
[alert.silent]
on = "fleet"
absent = "5m"
[sink.log]
kind = "file"
path = "log.ndjson"
[sink.pager]
kind = "webhook"
url = "http://127.0.0.1:1/"
"#;

fn config(text: &str) -> Config {
    super::super::from_text("forebay.toml", text, Path::new("/site")).expect("a configuration").0
}

/// What is not kept after `edits`, each a text and what replaces it (once), or an addition for an empty one.
fn check(edits: &[(&str, &str)], expected: Expect) {
    let mut text = BASE.to_owned();
    for (from, to) in edits {
        match from {
            &"" => text.push_str(to),
            from => {
                assert!(text.contains(from), "{from}");
                text = text.replacen(from, to, 1);
            }
        }
    }
    let Difference { changes, fixed } = between(&config(BASE), &config(&text));
    let mut said: Vec<String> = fixed.iter().map(ToString::to_string).collect();
    let touched = changes.iter().filter(|change| change.fate != Fate::Kept);
    said.extend(touched.map(|change| format!("{}: {change}", change.fate.as_str())));
    expected.assert_eq(&said.join("\n"));
}

#[test]
fn comments_and_order_of_tables_change_nothing() {
    check(&[("[listen.mqtt]", "# MQTT\n[listen.mqtt]")], expect![""]);
    check(
        &[
            ("[sink.log]\nkind = \"file\"\npath = \"log.ndjson\"\n", ""),
            ("", "[sink.log]\nkind = \"file\"\npath = \"log.ndjson\"\n"),
        ],
        expect![""],
    );
    assert!(between(&config(BASE), &config(BASE)).is_nothing());
}

#[test]
fn the_order_of_sources_is_a_part_of_them() {
    let fleet = "[source.fleet]\ntopic = \"fleet/{v}\"\n[source.fleet.fields]\nspeed = {}\n";
    check(
        &[(fleet, ""), ("", fleet)],
        expect![[r#"
        changed: source meters (order)
        changed: source fleet (order)"#]],
    );
}

#[test]
fn thresholds_keep_state_and_what_state_depends_on_does_not() {
    check(&[("mean > 50", "mean > 60")], expect!["changed: alert fast (when)"]);
    check(&[("mean > 1\"", "mean > 2\"")], expect!["changed: pipeline load (having)"]);
    check(&[("size = \"5s\"", "size = \"10s\"")], expect!["rebuilt: pipeline speeding (window)"]);
    check(
        &[("avg(speed)", "max(speed)"), ("idle = \"3s\"", "idle = \"4s\"")],
        expect!["rebuilt: pipeline speeding (watermark, select)"],
    );
    check(&[("n = \"count()\"", "n = \"count( )\"")], expect!["rebuilt: pipeline speeding (select)"]);
    check(
        &[("from = [\"meters\"]", "from = [\"meters\"]\nkey = \"\"")],
        expect!["rebuilt: pipeline load (key)"],
    );
    check(
        &[("from = [\"meters\"]", "from = [\"meters\"]\nwhere = \"watts > 0\"\nlane = \"slow\"")],
        expect!["rebuilt: pipeline load (where, lane)"],
    );
    check(&[("on = \"fleet\"", "on = \"meters\"")], expect!["rebuilt: alert silent (on)"]);
    check(
        &[("absent = \"5m\"", "absent = \"6m\"\nseverity = \"critical\"\nrepeat = \"1h\"")],
        expect!["changed: alert silent (absent, repeat, severity)"],
    );
}

#[test]
fn tables_come_and_go_and_a_renamed_pipeline_takes_its_state_along() {
    check(
        &[("[pipeline.load]", "[pipeline.power]")],
        expect![[r#"
        new: pipeline power (takes over the state of load)
        removed: pipeline load"#]],
    );
    check(
        &[("", "[listen.coap]\n[source.x]\ntopic = \"x\"\n[alert.x]\non = \"x\"\nabsent = \"1m\"\n")],
        expect![[r#"
            new: listener coap
            new: source x
            new: alert x"#]],
    );
    check(&[("[listen.http]\nbind = \"127.0.0.1:8080\"\n", "")], expect!["removed: listener http"]);
}

#[test]
fn a_sink_changes_with_the_routes_that_decide_for_it() {
    check(
        &[("to = [\"log\"]", "to = [\"log\", \"pager\"]")],
        expect![[r#"
        changed: routes
        changed: sink pager (routes)"#]],
    );
    check(&[("log.ndjson", "rows.ndjson")], expect!["changed: sink log (settings)"]);
    check(
        &[("", "[[route]]\nof = \"alert\"\nto = [\"log\"]\nfinal = true\n")],
        expect![[r#"
            changed: routes
            changed: sink log (routes)
            changed: sink pager (routes)"#]],
    );
    // What an alert is on decides what `from` means.
    let routed = "[[route]]\nfrom = [\"load\"]\nto = [\"log\"]\n";
    let text = format!("{BASE}{routed}");
    let moved = text.replacen("on = \"speeding\"\nwhen", "on = \"load\"\nwhen", 1);
    let difference = between(&config(&text), &config(&moved));
    assert_eq!(difference.fate(Part::Sink, "log"), Some(Fate::Changed));
    assert_eq!(difference.fate(Part::Sink, "pager"), Some(Fate::Kept));
}

#[test]
fn listeners_and_access_name_their_keys() {
    check(
        &[
            ("127.0.0.1:1883\"", "127.0.0.1:1884\"\nmax_connections = 7"),
            ("", "[access]\nanonymous = \"never\"\n"),
        ],
        expect![[r#"
            changed: access (anonymous)
            changed: listener mqtt (bind, max_connections)"#]],
    );
    check(
        &[("topic = \"fleet/{v}\"", "topic = \"cars/{v}\"\nformat = \"json\"")],
        expect!["changed: source fleet (topic, format)"],
    );
}

#[test]
fn what_a_running_gateway_cannot_change_is_named() {
    check(
        &[
            (
                "id = \"site\"\ndata_dir = \"data\"",
                "id = \"other\"\ndata_dir = \"elsewhere\"\n[journal]\ncommit_linger = \"1ms\"",
            ),
            ("kind = \"file\"\npath = \"log.ndjson\"", "kind = \"webhook\"\nurl = \"http://127.0.0.1:2/\""),
        ],
        expect![[r#"
            gateway.id: needs a restart
            gateway.data_dir: needs a restart
            gateway.admin: needs a restart
            journal.commit_linger: needs a restart
            sink.log.kind: needs another name: a sink's cursor is of its kind
            changed: sink log (settings)"#]],
    );
}

#[test]
fn limits_of_the_journal_name_their_keys() {
    check(
        &[(
            "[listen.mqtt]",
            "[journal]\nmax_age = \"1d\"\nmin_free = \"1GiB\"\n[journal.results]\nmax_bytes = \"1GiB\"\n[listen.mqtt]",
        )],
        expect!["changed: journal (max_age, min_free, results)"],
    );
    check(
        &[("path = \"log.ndjson\"", "path = \"log.ndjson\"\nmax_lag = \"1d\"\non_max_lag = \"hold\"")],
        expect!["changed: sink log (max_lag, on_max_lag)"],
    );
}

#[test]
fn a_secret_is_compared_and_not_shown() {
    let secret = |secret: &str| format!("{BASE}secret = \"{secret}\"\n");
    let (old, new) = (config(&secret("hush")), config(&secret("quiet")));
    assert_eq!(old.text, new.text);
    let difference = between(&old, &new);
    assert_eq!(difference.fate(Part::Sink, "pager"), Some(Fate::Changed));
    assert!(!format!("{difference:?}").contains("quiet"));
}
