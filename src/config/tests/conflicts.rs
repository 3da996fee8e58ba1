//! Tables that are right on their own and wrong beside another one.

use expect_test::{Expect, expect};

use super::said;

fn check(text: &str, expected: Expect) {
    expected.assert_eq(&said(&[("f.toml", text)]));
}

#[test]
fn file_sinks_do_not_share_files() {
    check(
        r#"
[sink.first]
kind = "file"
path = "rows"
keep = 3
[sink.same]
kind = "file"
path = "./old/../rows"
keep = 3
[sink.absolute]
kind = "file"
path = "/etc/forebay/rows"
keep = 3
[sink.rotated]
kind = "file"
path = "rows.3"
keep = 0
[sink.log]
kind = "file"
path = "log.1"
[sink.rotates]
kind = "file"
path = "log"
[sink.beyond-keep]
kind = "file"
path = "rows.4"
[sink.beside]
kind = "file"
path = "rows.01"
[sink.elsewhere]
kind = "file"
path = "old/rows"
"#,
        expect![[r#"
            f.toml:8:8: sink.same.path: sink "first" above writes to "/etc/forebay/rows" too: each would cut the other's rows
            f.toml:12:8: sink.absolute.path: sink "first" above writes to "/etc/forebay/rows" too: each would cut the other's rows
            f.toml:16:8: sink.rotated.path: sink "first" above rotates into "/etc/forebay/rows.3": each would cut the other's rows
            f.toml:23:8: sink.rotates.path: rotates into "/etc/forebay/log.1", the file of sink "log" above: each would cut the other's rows
        "#]],
    );
}

#[test]
fn sources_that_are_never_reached() {
    check(
        r##"
[listen.mqtt]
[source.fleet]
topic = "fleet/{vehicle}"
[source.same]
topic = "fleet/{id}"
[source.one]
topic = "fleet/v17"
[source.deeper]
topic = "fleet/{vehicle}/gps"
[source.all-of-fleet]
topic = "fleet/#"
[source.more]
topic = "fleet/{vehicle}/#"
[source.alone]
topic = "fleet"
[source.any]
topic = "#"
[source.broker]
topic = "$SYS/{what}"
[source.broker-load]
topic = "$SYS/load"
[source.rest]
topic = "+/x"
"##,
        expect![[r##"
            warning: f.toml:6:9: source.same.topic: never reached: source "fleet" above takes "fleet/{vehicle}"
            warning: f.toml:8:9: source.one.topic: never reached: source "fleet" above takes "fleet/{vehicle}"
            warning: f.toml:14:9: source.more.topic: never reached: source "all-of-fleet" above takes "fleet/#"
            warning: f.toml:16:9: source.alone.topic: never reached: source "all-of-fleet" above takes "fleet/#"
            warning: f.toml:22:9: source.broker-load.topic: never reached: source "broker" above takes "$SYS/{what}"
            warning: f.toml:24:9: source.rest.topic: never reached: source "any" above takes "#"
        "##]],
    );
}

#[test]
fn a_schema_that_allows_no_more_closes_the_names() {
    check(
        r#"
[source.s]
topic = "s"
schema = "closed"
[alert.a]
on = "s"
when = "b > 1 && a > 1 && sensor != source && time > 0"
"#,
        expect![[r#"
            f.toml:7:9: alert.a.when: unknown field "b" in source "s"
        "#]],
    );
}
