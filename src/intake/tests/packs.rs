//! SenML packs.

use expect_test::expect;
use serde_json::json;

use super::*;

#[test]
fn senml_packs_become_readings() {
    let source = || config::Source { topic: pattern("senml/{meter}"), ..fleet() };
    let on_topic = |payload: &str| inbound("senml/m1", media("110"), payload);
    let table = [
        // RFC 8428 section 5.1.2
        (
            r#"[{"bn":"urn:dev:ow:10e2073a01080063:","n":"voltage","u":"V","v":120.1},{"n":"current","u":"A","v":1.2}]"#,
            expect!["urn:dev:ow:10e2073a01080063 1767225700000 received voltage=120.1 current=1.2"],
        ),
        // Two sensors and two times, out of order; records of a sensor and time come together.
        (
            r#"[{"bt":1767225600.5,"n":"b/x","v":1},{"n":"a/x","v":2},{"n":"b/y","vs":"on"},{"n":"a/x","t":-1,"v":3},{"n":"b/z","vb":true},{"n":"a/d","vd":"-_8"}]"#,
            expect![[r#"
                a 1767225599500 x=3
                a 1767225600500 x=2 d="-_8"
                b 1767225600500 x=1 y="on" z=true"#]],
        ),
        (
            r#"[{"bn":"a","bt":1767225600,"v":1},{"v":2},{"v":2,"s":5}]"#,
            expect![[r#"
                a 1767225600000 value=1
                a 1767225600000 value=2
                a 1767225600000 value=2 value_sum=5"#]],
        ),
        (r#"[{"n":"a","t":-10,"v":1}]"#, expect!["a 1767225690000 value=1"]),
        (r#"[{"n":"a","v":1},{"n":"a"}]"#, expect!["field /1: neither a value nor a sum (record 1)"]),
        (r#"[{"n":"a","u":"furlong","v":1}]"#, expect![[r#"unit /0/u: unknown unit "furlong" (record 0)"#]]),
        (r#"[{"n":"a","t":1e12,"v":1}]"#, expect!["time /0/t: time out of range (record 0)"]),
        (r#"[{"n":"a","v":1e999}]"#, expect!["field /0/v: not a finite number (record 0)"]),
        (r#"[{"n":"a b","v":1}]"#, expect!["field /0/n: character ' ' is not allowed in a name (record 0)"]),
        (r#"[{"n":"a","x_":1,"v":1}]"#, expect!["field /0/x_: must be understood but is not (record 0)"]),
        ("[]", expect!["field pack holds no records"]),
        (r#"{"n":"a","v":1}"#, expect!["malformed not an array of records"]),
        (r#"[{"n":"a","v":1"#, expect!["malformed /0: input ends too early, at byte 15 (record 0)"]),
    ];
    for (payload, want) in table {
        check(source(), &on_topic(payload), &want);
    }
    let deep = format!(r#"[{{"n":"a","v":1,"x":{}"#, "[".repeat(50_000));
    check(source(), &on_topic(&deep), &expect!["malformed /0/x: nested deeper than 64 levels (record 0)"]);
}

#[test]
fn senml_with_a_sensor_and_a_field_table() {
    let source = || config::Source {
        topic: pattern("grid/{meter}"),
        sensor: Some(template("{meter}")),
        ..with_fields(&[("kw", "/power", Some("kW")), ("on", "/state", None), ("speed", "/v", Some("km/h"))])
    };
    let table = [
        (
            r#"[{"bn":"m1/","bt":1767225600,"n":"power","u":"W","v":1500},{"n":"state","vb":true},{"n":"other","v":3}]"#,
            expect!["m1 1767225600000 kw=1.5 on=true"],
        ),
        (r#"[{"n":"v","u":"m/s","v":10}]"#, expect!["m1 1767225700000 received speed=36"]),
        (r#"[{"n":"power","v":2}]"#, expect!["m1 1767225700000 received kw=2"]),
        (
            r#"[{"n":"power","u":"Cel","v":2}]"#,
            expect!["unit /0: 2 Cel cannot be converted to kW (record 0)"],
        ),
        (r#"[{"n":"other","v":2}]"#, expect!["field no record of the pack is a field of the source"]),
    ];
    for (payload, want) in table {
        check(source(), &inbound("grid/m1", Media::Unsaid, payload), &want);
    }
}

#[test]
fn senml_in_cbor_is_the_same() {
    // [{-2: "a/", -3: 1767225600, 0: "x", 2: 1.5}]
    let pack = b"\x81\xa4\x21\x62a/\x22\x1a\x69\x55\xb9\x00\x00\x61x\x02\xf9\x3e\x00";
    let want = expect!["a 1767225600000 x=1.5"];
    for said in [Media::Unsaid, media("112"), media("application/senml+cbor")] {
        check(fleet(), &inbound("fleet/v17/telemetry", said, pack), &want);
    }
    let bomb = inbound("fleet/v17/telemetry", media("112"), b"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff");
    check(fleet(), &bomb, &expect!["malformed more than 10000 records"]);
    let limit = json!({ "items": { "properties": { "v": { "maximum": 1 } } } });
    let refused = inbound("fleet/v17/telemetry", media("112"), pack);
    check(with_schema(limit), &refused, &expect!["schema /0/v: 1.5 is greater than the maximum of 1"]);
}
