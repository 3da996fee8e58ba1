//! Problems as tables: a text in, everything that is wrong out.

use expect_test::{Expect, expect};

use super::{said, with_base};

fn check(text: &str, expected: Expect) {
    expected.assert_eq(&said(&[("f.toml", text)]));
}

#[test]
fn the_example_of_the_manual() {
    check(
        &with_base("").replace("avg(speed_kmh)", "avg(speed_kph)"),
        expect![[r#"
            f.toml:13:29: pipeline.speeding.select.avg_speed: unknown field "speed_kph" in source "fleet" (did you mean "speed_kmh"?)
        "#]],
    );
}

#[test]
fn all_problems_at_once_by_place() {
    check(
        r#"
[gateway]
id = 7
data_dri = "/x"
[journal]
max_bytes = "20 gigs"
max_age = "-1d"
[journal.results]
max_bytes = "1MiB"
[listen.mqtt]
bind = "localhost"
tls = { cert = "c" }
[listen.devices]
bind = "127.0.0.1:1"
[listen.broker]
kind = "mqtt-client"
[listen.udp]
kind = "coapp"
[lisen.mqtt]
[role.device]
publish = []
[access]
anonymous = "everybody"
credentials = "c.ndjson"
"#,
        expect![[r#"
            f.toml:3:6: gateway.id: expected a string, got integer 7
            f.toml:4:1: gateway.data_dri: unknown key "data_dri" (did you mean "data_dir"?)
            f.toml:6:13: journal.max_bytes: expected a size such as "64MiB" (B, KiB, MiB, GiB, TiB, kB, MB, GB, TB), got "20 gigs"
            f.toml:7:11: journal.max_age: expected a duration such as "5s" or "1h30m" (whole numbers of ms, s, m, h, d), got "-1d"
            f.toml:9:13: journal.results.max_bytes: expected at least "128MiB": two segments
            f.toml:11:8: listen.mqtt.bind: expected an address with port such as "127.0.0.1:1883", got "localhost"
            f.toml:12:1: listen.mqtt.tls: key "tls" is not in this version
            f.toml:13:9: listen.devices: missing key "kind"
            f.toml:16:8: listen.broker.kind: listener kind "mqtt-client" is not in this version
            f.toml:18:8: listen.udp.kind: unknown value "coapp" (known: mqtt, coap, http) (did you mean "coap"?)
            f.toml:19:2: lisen: unknown table "lisen" (did you mean "listen"?)
            f.toml:20:2: role: table "role" is not in this version
            f.toml:23:13: access.anonymous: unknown value "everybody" (known: never, loopback, everywhere)
            f.toml:24:1: access.credentials: key "credentials" is not in this version
        "#]],
    );
}

#[test]
fn sources() {
    check(
        r#"
[source.a]
topic = "a/{x}/#/b"
format = "csv"
sensor = "{y}"
keep_raw = true
[source.b]
sensor = "{"
time = { at = "ts", unit = "h", min = "yesterday", missing = "drop" }
[source.c]
topic = "c/{vehicle}"
sensor = "{vehicel}-{/a~2}"
schema = "nowhere"
dedup = { by = ["seq"], within = "10ms" }
[source.d]
topic = "/d"
schema = "wrong"
time = { at = "/t" }
[source.e]
topic = "a/+/{x}/{x}"
schema = "broken"
[source.f]
topic = "f"
fields = { sensor = {}, b = { at = "b", unti = "m" } }
[source.g]
topic = "f"
fields = {}
[source."h h"]
topic = "h/x{y}"
"#,
        expect![[r##"
            f.toml:3:16: source.a.topic: "#" stands only at the end of a topic
            f.toml:4:10: source.a.format: format "csv" is not in this version
            f.toml:6:1: source.a.keep_raw: key "keep_raw" is not in this version
            f.toml:7:9: source.b: missing key "topic"
            f.toml:8:11: source.b.sensor: "{" without "}" ("{{" is a plain "{")
            f.toml:9:15: source.b.time.at: JSON pointer "ts" does not start with "/"
            f.toml:9:28: source.b.time.unit: unknown value "h" (known: s, ms, us, ns, rfc3339)
            f.toml:9:39: source.b.time.min: expected a time such as "2020-01-01T00:00:00Z", got "yesterday"
            f.toml:9:62: source.b.time.missing: unknown value "drop" (known: received, refuse)
            f.toml:12:12: source.c.sensor: the topic has no capture "vehicel" (did you mean "vehicle"?)
            f.toml:13:10: source.c.schema: cannot read schemas/nowhere.json: no such file
            f.toml:14:16: source.c.dedup.by: JSON pointer "seq" does not start with "/"
            f.toml:14:34: source.c.dedup.within: expected at least "1s"
            f.toml:16:10: source.d.topic: a topic has no empty level and no slash at its start or end
            f.toml:17:10: source.d.schema: schemas/wrong.json is no JSON Schema: "objekt" is not valid under any of the schemas listed in the 'anyOf' keyword
            f.toml:18:1: source.d.time: missing key "unit"
            f.toml:20:18: source.e.topic: capture "x" stands twice in topic "a/+/{x}/{x}"
            f.toml:21:10: source.e.schema: schemas/broken.json is no JSON Schema: EOF while parsing an object at line 1 column 1
            f.toml:24:12: source.f.fields.sensor: "sensor" is a name that every reading has already
            f.toml:24:36: source.f.fields.b.at: JSON pointer "b" does not start with "/"
            f.toml:24:41: source.f.fields.b.unti: unknown key "unti" (did you mean "unit"?)
            f.toml:26:9: source.g.topic: never reached: source "f" above takes "f"
            f.toml:27:1: source.g.fields: expected at least one field; without this table every scalar member is one
            f.toml:28:9: source.h h: name "h h" is not made of 1 to 64 letters, digits, "_" and "-"
            f.toml:29:12: source.h h.topic: level "x{y}": a capture, "+" or "#" takes a whole level
        "##]],
    );
}

#[test]
fn pipelines() {
    check(
        &with_base(
            r#"
[pipeline.a]
from = ["fleat", "speeding"]
window = { kind = "session", gap = "30m" }
select = { x = "median(speed_kmh)", y = "speed_kmh", key = "count()" }
[pipeline.b]
from = ["fleet"]
where = "speed_kmh + 1"
key = ["customer", "customer"]
tags = ["limit"]
window = { kind = "tumbling", size = "0s" }
watermark = { scope = "source", idle = "3s", delay = "-1s", forget = "0s", late = "drop" }
select = { n = "count(" }
having = "m > 2"
to = "nowhere"
start = "then"
[pipeline.c]
from = []
window = { kind = "tumbling", size = "5s", offset = "5s", timezone = "Europe/Paris" }
select = {}
[pipeline.d]
[pipeline.fleet]
from = ["fleet"]
where = "speed_kmh > 'fast'"
window = { kind = "tumbling" }
select = { n = 3 }
lane = "a lane"
[pattern.overheat]
from = ["fleet"]
"#,
        ),
        expect![[r#"
            f.toml:3:9: pipeline.a.from[0]: unknown source "fleat" (did you mean "fleet"?)
            f.toml:3:18: pipeline.a.from[1]: "speeding" is a pipeline: pipelines that read pipelines are not in this version
            f.toml:4:19: pipeline.a.window.kind: window kind "session" is not in this version
            f.toml:4:30: pipeline.a.window.gap: key "gap" is not in this version
            f.toml:5:23: pipeline.a.select.x: unknown aggregate "median" (known: avg, count, max, min, stddev_pop, sum)
            f.toml:5:42: pipeline.a.select.y: expected an aggregate: avg, count, max, min, stddev_pop, sum of an expression
            f.toml:5:60: pipeline.a.select.key: "key" is a tag or a name that every row has
            f.toml:8:9: pipeline.b.where: expected a condition, this yields a number
            f.toml:9:8: pipeline.b.key[0]: unknown field "customer" in source "fleet"
            f.toml:9:20: pipeline.b.key[1]: "customer" stands twice
            f.toml:9:20: pipeline.b.key[1]: unknown field "customer" in source "fleet"
            f.toml:10:9: pipeline.b.tags[0]: unknown field "limit" in source "fleet"
            f.toml:11:38: pipeline.b.window.size: expected more than "0s"
            f.toml:12:40: pipeline.b.watermark.idle: only for scope "key"
            f.toml:12:54: pipeline.b.watermark.delay: expected a duration such as "5s" or "1h30m" (whole numbers of ms, s, m, h, d), got "-1s"
            f.toml:12:70: pipeline.b.watermark.forget: expected more than "0s"; without the key it is off
            f.toml:12:83: pipeline.b.watermark.late: unknown value "drop" (known: count, keep)
            f.toml:13:23: pipeline.b.select.n: syntax error: mismatched input end of the expression
            f.toml:14:11: pipeline.b.having: unknown column "m" in pipeline "b"
            f.toml:15:6: pipeline.b.to: unknown sink "nowhere"
            f.toml:16:9: pipeline.b.start: unknown value "then" (known: now, earliest)
            f.toml:18:8: pipeline.c.from: expected at least one source
            f.toml:19:53: pipeline.c.window.offset: expected less than the window's size
            f.toml:19:59: pipeline.c.window.timezone: key "timezone" is not in this version
            f.toml:20:1: pipeline.c.select: expected at least one column
            f.toml:21:11: pipeline.d: missing key "from"
            f.toml:21:11: pipeline.d: missing key "select"
            f.toml:21:11: pipeline.d: missing key "window" (pipelines without one are not in this version)
            f.toml:22:11: pipeline.fleet: "fleet" is a source too: both share one namespace
            f.toml:25:1: pipeline.fleet.window: missing key "size"
            f.toml:26:16: pipeline.fleet.select.n: expected a string, got integer 3
            f.toml:27:8: pipeline.fleet.lane: name "a lane" is not made of 1 to 64 letters, digits, "_" and "-"
            f.toml:28:2: pattern: table "pattern" is not in this version
        "#]],
    );
}

#[test]
fn alerts_and_routes() {
    check(
        &with_base(
            r#"
[alert.a]
on = "speding"
when = "x > 1"
[alert.b]
on = "speeding"
when = "avg_sped > limit"
clear = "n +"
lane = "x"
severity = "criticl"
summary = "{key} {avg_speed:1} {} {m:.2} }"
to = ["lgo"]
[alert.c]
on = "gateway"
absent = "0s"
when = "a"
[alert.d]
on = "fleet"
absent = "5m"
clear = "true"
for = "5s"
[alert.e]
on = "fleet"
severity = "speed_kmh > 1"
[alert.f]
on = "speeding"
absent = "5m"
[alert.g]
when = "1 < 2"
repeat = "0s"
[[route]]
of = "alarm"
[[route]]
of = "result"
from = ["fleet", "nowhere"]
alert = ["a", "z"]
to = []
fnal = true
"#,
        ),
        expect![[r#"
            f.toml:3:6: alert.a.on: unknown pipeline or source "speding" (did you mean "speeding"?)
            f.toml:7:9: alert.b.when: unknown column "avg_sped" in pipeline "speeding" (did you mean "avg_speed"?)
            f.toml:7:20: alert.b.when: unknown column "limit" in pipeline "speeding"
            f.toml:8:13: alert.b.clear: syntax error: mismatched input end of the expression
            f.toml:9:8: alert.b.lane: an alert on a pipeline runs in the pipeline's lane
            f.toml:10:12: alert.b.severity: unknown value "criticl" (known: info, warning, critical) (did you mean "critical"?)
            f.toml:11:42: alert.b.summary: "}" without "{" ("}}" is a plain "}")
            f.toml:12:7: alert.b.to[0]: unknown sink "lgo" (did you mean "log"?)
            f.toml:14:6: alert.c.on: source "gateway" is not in this version
            f.toml:15:10: alert.c.absent: an alert has either "when" or "absent"
            f.toml:15:10: alert.c.absent: expected more than "0s"
            f.toml:20:9: alert.d.clear: does not go with "absent": it resolves with the next reading
            f.toml:21:7: alert.d.for: does not go with "absent": it resolves with the next reading
            f.toml:22:8: alert.e: missing key "when"
            f.toml:24:12: alert.e.severity: expected a text, this yields a condition
            f.toml:27:10: alert.f.absent: watches readings: name a source in "on"
            f.toml:28:8: alert.g: missing key "on"
            f.toml:30:10: alert.g.repeat: expected more than "0s"
            f.toml:31:1: route[0]: missing key "to"
            f.toml:32:6: route[0].of: unknown value "alarm" (known: reading, result, alert, late, dead-letter)
            f.toml:35:18: route[1].from[1]: unknown pipeline or source "nowhere"
            f.toml:36:9: route[1].alert: only for of = "alert"
            f.toml:36:15: route[1].alert[1]: unknown alert "z"
            f.toml:37:6: route[1].to: expected at least one sink
            f.toml:38:1: route[1].fnal: unknown key "fnal" (did you mean "final"?)
        "#]],
    );
}

#[test]
fn sinks() {
    check(
        r#"
[sink.a]
kind = "kafka"
[sink.b]
kind = "fiel"
[sink.c]
path = "x"
[sink.d]
kind = "file"
url = "http://x"
rotate = "1B"
keep = -1
max_lag = "much"
on_max_lag = "stop"
[sink.e]
kind = "influxdb"
url = "tcp://x"
user = "u"
[sink.f]
kind = "webhook"
url = "https://x/y"
headers = { "a b" = "c", Authorization = { file = "nowhere" } }
secret = { credential = "../pager", file = "x" }
timeout = "1h"
token = "t"
[sink.g]
kind = "webhook"
url = "https://${HOST}/y"
secret = { credential = "nowhere" }
"#,
        expect![[r#"
            f.toml:3:8: sink.a.kind: sink kind "kafka" is not in this version
            f.toml:5:8: sink.b.kind: unknown value "fiel" (known: file, influxdb, webhook) (did you mean "file"?)
            f.toml:6:7: sink.c: missing key "kind"
            f.toml:8:7: sink.d: missing key "path"
            f.toml:10:7: sink.d.url: not for kind "file"
            f.toml:11:10: sink.d.rotate: expected at least "4KiB"
            f.toml:12:8: sink.d.keep: expected a whole number, got integer -1
            f.toml:13:11: sink.d.max_lag: expected a duration such as "2d" or a size such as "1GiB", got "much"
            f.toml:14:14: sink.d.on_max_lag: unknown value "stop" (known: gap, hold)
            f.toml:15:7: sink.e: missing key "database"
            f.toml:15:7: sink.e: missing key "password"
            f.toml:17:7: sink.e.url: expected a URL such as "http://127.0.0.1:8086" without credentials, got "tcp://x"
            f.toml:22:21: sink.f.headers.a b: "a b" is no header name
            f.toml:22:26: sink.f.headers.Authorization: cannot read the secret: no such file
            f.toml:23:1: sink.f.secret: expected one of the keys "file" and "credential"
            f.toml:24:11: sink.f.timeout: expected more than "0s" and at most "5m"
            f.toml:25:1: sink.f.token: key "token" is not in this version
            f.toml:28:7: sink.g.url: environment variable "HOST" is not set
            f.toml:28:7: sink.g.url: expected a URL such as "http://127.0.0.1:8086" without credentials, got "https://${HOST}/y"
            f.toml:29:1: sink.g.secret: cannot read the secret: no such file
        "#]],
    );
}

#[test]
fn warnings() {
    check(
        r#"
[source.open]
topic = "a"
[pipeline.p]
from = ["open"]
window = { kind = "tumbling", size = "5s" }
select = { n = "avg(anything)" }
[alert.a]
on = "open"
when = "anything > 1"
"#,
        expect![[r#"
            warning: f.toml: no [listen.*]: nothing can reach this gateway
            warning: f.toml:4:11: pipeline.p: idle is off: a sensor that falls silent keeps its last windows open until it speaks again
            warning: f.toml:4:11: pipeline.p: names in expressions are not checked: a source takes any field (give it [source.NAME.fields])
            warning: f.toml:8:8: alert.a: names in expressions are not checked: the source takes any field (give it [source.NAME.fields])
        "#]],
    );
}

#[test]
fn syntax_errors_and_tables_given_twice() {
    check(
        "[source.a\ntopic = 'a'\n[sink]\nx = = 3\n",
        expect![[r#"
        f.toml:1:10: unclosed table, expected `]`
        f.toml:4:5: extra `=`, expected nothing
        f.toml:4:7: unexpected key or value, expected newline, `#`
    "#]],
    );
    check(
        "source = 3\nroute = 4\n",
        expect![[r#"
        f.toml:1:1: source: expected tables [source.NAME]
        f.toml:2:1: route: expected tables [[route]]
    "#]],
    );
    expect![[r#"
        conf.d/10.toml:4:9: source.a: stands both in forebay.toml and in conf.d/10.toml
        conf.d/10.toml:6:2: access: stands both in forebay.toml and in conf.d/10.toml
    "#]]
    .assert_eq(&said(&[
        ("forebay.toml", "[source.a]\ntopic = 'a'\n[access]\n"),
        ("conf.d/10.toml", "[source.b]\ntopic = 'b'\n\n[source.a]\ntopic = 'c'\n[access]\n"),
    ]));
}
