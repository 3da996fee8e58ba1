//! JSON, CBOR and NDJSON: what becomes a reading, and every way to be refused.

use expect_test::expect;
use serde_json::json;

use super::*;

#[test]
fn json_members_become_fields() {
    let table = [
        (
            r#"{"ts":1767225600000,"speed_kmh":39.5,"rpm":1904,"on":true,"note":"a\nb","gone":null,"fix":{"lat":1},"l":[1]}"#,
            expect![[r#"v17 1767225600000 speed_kmh=39.5 rpm=1904 on=true note="a\nb" gone=null"#]],
        ),
        (
            r#"[{"ts":1767225600000,"x":1},{"ts":1767225601000,"x":2}]"#,
            expect![[r#"
                v17 1767225600000 x=1
                v17 1767225601000 x=2"#]],
        ),
        (r#"{"x":1}"#, expect!["v17 1767225700000 received x=1"]),
        (r#"{"ts":null,"x":1}"#, expect!["v17 1767225700000 received x=1"]),
        (r#"{"ts":5,"x":1}"#, expect!["v17 1767225700000 received x=1"]),
        (r#"{"ts":1767225600000}"#, expect!["v17 1767225600000"]),
    ];
    for (payload, want) in table {
        check(fleet(), &telemetry(payload), &want);
    }
}

#[test]
fn json_that_is_refused() {
    let deep = "[".repeat(50_000);
    let wide = format!("{{{}\"x\":1}}", (0..1_100).map(|n| format!("\"m{n}\":[],")).collect::<String>());
    let many = format!("[{}]", [r#"{"x":1}"#; 10_001].join(","));
    let values = format!("[{}1]", "1,".repeat(262_144));
    let repeated = format!("{{{}\"m7\":1}}", (0..40).map(|n| format!("\"m{n}\":1,")).collect::<String>());
    let long = format!(r#"{{"x":"{}"}}"#, "y".repeat(1_025));
    let table: Vec<(&[u8], _)> = vec![
        (b"", expect!["malformed the payload is neither JSON nor CBOR"]),
        (b"hello", expect!["malformed the payload is neither JSON nor CBOR"]),
        (b"{\"x\":1", expect!["malformed EOF while parsing an object at column 6"]),
        (b"{\"x\":1,}", expect!["malformed trailing comma at column 8"]),
        (b"{\n\"x\" 1}", expect!["malformed expected `:` at line 2 column 5"]),
        (b"{\"x\":1} {}", expect!["malformed trailing characters at column 9"]),
        (b"{\"x\":1e999}", expect!["malformed number out of range at column 10"]),
        (b"{\"x\":-1e999}", expect!["malformed number out of range at column 11"]),
        (b"{\"x\":NaN}", expect!["malformed expected value at column 6"]),
        (b"{\"x\":\"\xff\"}", expect!["malformed not UTF-8 at byte 6"]),
        (b"{\"x\":1,\"x\":2}", expect![[r#"malformed member "x" stands twice in an object at column 13"#]]),
        (repeated.as_bytes(), expect![[r#"malformed member "m7" stands twice in an object at column 318"#]]),
        (deep.as_bytes(), expect!["malformed nested deeper than 64 levels at column 65"]),
        (wide.as_bytes(), expect!["malformed more than 1024 members in an object at column 10997"]),
        (values.as_bytes(), expect!["malformed more than 262144 values at column 524288"]),
        (
            many.as_bytes(),
            expect!["malformed /10000: more than 10000 readings in one message (record 10000)"],
        ),
        (b"[]", expect!["malformed the array is empty"]),
        (b"[{\"x\":1},2]", expect!["malformed /1: a number is no reading: an object is (record 1)"]),
        (b"{}", expect!["field the payload has neither a time nor a field of the source"]),
        (long.as_bytes(), expect!["field /x: text is longer than 1024 bytes"]),
        (b"{\"\":1}", expect!["field /: a field's name has 1 to 256 bytes, not 0"]),
        (b"{\"ts\":\"now\",\"x\":1}", expect!["time /ts: a text is not a number"]),
        (b"{\"ts\":1e300,\"x\":1}", expect!["time /ts: the time is out of range"]),
        (b"[{\"x\":1},{\"ts\":[],\"x\":1}]", expect!["time /1/ts: an array is not a number (record 1)"]),
    ];
    for (payload, want) in table {
        check(fleet(), &telemetry(payload), &want);
    }
}

#[test]
fn cbor_is_read_like_json() {
    let table: [(&[u8], _); 14] = [
        // {"ts": 1767225600000, "x": 1.5, "s": "hi", "b": h'fbff', 1: -3, "u": undefined}
        (
            b"\xa6\x62ts\x1b\x00\x00\x01\x9b\x76\xda\xa8\x00\x61x\xf9\x3e\x00\x61s\x62hi\x61b\x42\xfb\xff\x01\x22\x61u\xf7",
            expect![[r#"v17 1767225600000 x=1.5 s="hi" b="-_8" 1=-3 u=null"#]],
        ),
        // [_ {_ "x": (_ "a", "b")}, {"x": 1(5)}], indefinite lengths and a tag
        (
            b"\x9f\xbf\x61x\x7f\x61a\x61b\xff\xff\xa1\x61x\xc1\x05\xff",
            expect![[r#"
                v17 1767225700000 received x="ab"
                v17 1767225700000 received x=5"#]],
        ),
        (b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", expect!["malformed input ends too early, at byte 9"]),
        (b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff", expect!["malformed input ends too early, at byte 9"]),
        (b"\xa1\x61x\x7b\x7f\xff\xff\xff\xff\xff\xff\xff", expect!["malformed input ends too early, at byte 12"]),
        (b"\xa1\x61x\x5b\xff\xff\xff\xff\xff\xff\xff\xff", expect!["malformed input ends too early, at byte 12"]),
        (b"\xa1\x61x\xf9\x7c\x00", expect!["malformed number is not finite, at byte 6"]),
        (b"\xa1\x61x\xfb\x7f\xf8\x00\x00\x00\x00\x00\x00", expect!["malformed number is not finite, at byte 12"]),
        (b"\xa1\x61x\x61\xff", expect!["malformed not CBOR at byte 3: invalid utf-8 at position 3"]),
        (b"\xa1\xf6\x01", expect!["malformed a map key is neither a text nor an integer, at byte 1"]),
        (b"\xa1\x61x\xff", expect!["malformed break has no meaning here, at byte 3"]),
        (b"\xa1\x61x\x01\x00", expect!["malformed unexpected bytes after the value, at byte 4"]),
        (b"\xa2\x61x\x01\x61x\x02", expect![[r#"malformed member "x" stands twice in an object, at byte 7"#]]),
        (&[0x81; 50_000], expect!["malformed nested deeper than 64 levels, at byte 64"]),
    ];
    for (payload, want) in table {
        check(fleet(), &telemetry(payload), &want);
    }
    check(
        fleet(),
        &telemetry([0xc1; 50_000]),
        &expect!["malformed nested deeper than 64 levels, at byte 65"],
    );
}

#[test]
fn ndjson_names_the_line() {
    let source = || config::Source { format: Format::Ndjson, ..fleet() };
    let table = [
        (
            "{\"x\":1}\r\n\r\n  \n{\"x\":2}",
            expect![[r#"
                v17 1767225700000 received x=1
                v17 1767225700000 received x=2"#]],
        ),
        ("{\"x\":1}\n\n{\"x\":oops}\n", expect!["malformed expected value at column 6 (line 3)"]),
        ("{\"x\":1}\n{\"ts\":[],\"x\":1}\n", expect!["time /ts: an array is not a number (line 2)"]),
        ("{\"x\":1}\n[{\"x\":1}]\n", expect!["malformed an array is no reading: an object is (line 2)"]),
        (" \r\n\n", expect!["malformed the body has no lines"]),
    ];
    for (payload, want) in table {
        check(source(), &telemetry(payload), &want);
    }
}

#[test]
fn schemas_name_the_place() {
    let document = json!({
        "type": "object",
        "properties": {
            "speed_kmh": { "type": "number", "minimum": 0, "maximum": 400 },
            "rpm": { "type": "integer" },
            "gear": { "enum": ["P", "R", "N", "D", 1] },
            "vin": { "type": "string", "pattern": "^[A-Z0-9]{3,17}$" },
            "fix": { "type": "object", "properties": { "lat": { "type": "number", "maximum": 90 } } },
            "tags": { "type": "array", "uniqueItems": true, "items": { "type": "string", "minLength": 2 } },
        },
        "propertyNames": { "maxLength": 9 },
        "required": ["speed_kmh"],
    });
    let refused = |payload, want| check(with_schema(document.clone()), &telemetry(payload), &want);
    for ok in [
        r#"{"speed_kmh":400,"rpm":1.0,"gear":"D","vin":"AB12","fix":{"lat":1},"tags":["aa","bb"]}"#,
        r#"{"speed_kmh":0,"rpm":900,"gear":1.0}"#,
        r#"[{"speed_kmh":1},{"speed_kmh":2}]"#,
    ] {
        let intake = Intake::new(&[with_schema(document.clone())]).unwrap();
        let admitted = intake.admit(&telemetry(ok), &mut BatchBuilder::default());
        assert!(admitted.is_ok(), "{ok}: {admitted:?}");
    }
    refused(r#"{"speed_kmh":900}"#, expect!["schema /speed_kmh: 900 is greater than the maximum of 400"]);
    refused(r#"{"rpm":1}"#, expect![[r#"schema "speed_kmh" is a required property"#]]);
    refused(r#"{"speed_kmh":"fast"}"#, expect![[r#"schema /speed_kmh: "fast" is not of type "number""#]]);
    refused(r#"{"speed_kmh":1,"rpm":1.5}"#, expect![[r#"schema /rpm: 1.5 is not of type "integer""#]]);
    refused(
        r#"{"speed_kmh":1,"gear":2}"#,
        expect![[r#"schema /gear: 2 is not one of "P", "R" or 3 other candidates"#]],
    );
    refused(
        r#"{"speed_kmh":1,"vin":"a"}"#,
        expect![[r#"schema /vin: "a" does not match "^[A-Z0-9]{3,17}$""#]],
    );
    refused(
        r#"[{"speed_kmh":1},{"speed_kmh":1,"fix":{"lat":91}}]"#,
        expect!["schema /1/fix/lat: 91 is greater than the maximum of 90 (record 1)"],
    );
    refused(
        r#"{"speed_kmh":1,"tags":["aa","aa"]}"#,
        expect![[r#"schema /tags: ["aa","aa"] has non-unique elements"#]],
    );
    refused(
        r#"{"speed_kmh":1,"a_long_name":1}"#,
        expect![[r#"schema "a_long_name" is longer than 9 characters"#]],
    );
}

#[test]
fn schemas_that_reach_out_or_backtrack_do_not_compile() {
    for document in [
        json!({ "$ref": "https://example.com/schema.json" }),
        json!({ "$ref": "file:///etc/passwd" }),
        json!({ "pattern": "^(a+)+\\1$" }),
        json!({ "pattern": "(?=a)b" }),
        json!({ "type": 7 }),
    ] {
        let error = Intake::new(&[with_schema(document.clone())]).err().map(|error| error.to_string());
        let error = error.unwrap_or_else(|| panic!("{document} compiles"));
        assert!(error.starts_with(r#"source.fleet: schema "fleet-telemetry": "#), "{error}");
    }
}

#[test]
fn the_field_table_chooses() {
    let source = || with_fields(&[("speed", "/speed_kmh", None), ("lat", "/fix/0/lat", None)]);
    let table = [
        (
            r#"{"ts":1767225600000,"speed_kmh":1,"fix":[{"lat":48.5}],"rpm":3}"#,
            expect!["v17 1767225600000 speed=1 lat=48.5"],
        ),
        (r#"{"ts":1767225600000,"rpm":3}"#, expect!["v17 1767225600000 speed=null lat=null"]),
        (r#"{"speed_kmh":null}"#, expect!["v17 1767225700000 received speed=null lat=null"]),
        (r#"{"speed_kmh":{}}"#, expect!["field /speed_kmh: an object is no value of a field"]),
        (r#"{"rpm":3}"#, expect!["field the payload has neither a time nor a field of the source"]),
    ];
    for (payload, want) in table {
        check(source(), &telemetry(payload), &want);
    }
}

#[test]
fn sensors_have_names() {
    let table = [
        (Some("{vehicle}"), r#"{"x":1}"#, expect!["v17 1767225700000 received x=1"]),
        (
            Some("site-7/{vehicle}:{/id}"),
            r#"{"id":12,"x":1}"#,
            expect!["site-7/v17:12 1767225700000 received x=1"],
        ),
        (Some("{/boot/id}"), r#"{"boot":{"id":"b"},"x":1}"#, expect!["b 1767225700000 received x=1"]),
        (Some("{/id}"), r#"{"x":1}"#, expect!["field /id: the sensor's name is missing"]),
        (
            Some("{/id}"),
            r#"{"id":9223372036854775807,"x":1}"#,
            expect!["9223372036854775807 1767225700000 received x=1"],
        ),
        (Some("{/id}"), r#"{"id":true,"x":1}"#, expect!["field /id: a boolean is no name of a sensor"]),
        (Some("{/id}"), r#"{"id":"","x":1}"#, expect!["field the sensor's name is empty"]),
        (
            Some("{/id}"),
            r#"{"id":"a\u0000","x":1}"#,
            expect![[r#"field the sensor's name "a\0" has control characters"#]],
        ),
    ];
    for (sensor, payload, want) in table {
        let source = config::Source { sensor: sensor.map(template), ..fleet() };
        check(source, &telemetry(payload), &want);
    }
    let long = format!(r#"{{"id":"{}","x":1}}"#, "n".repeat(257));
    let source = config::Source { sensor: Some(template("{/id}")), ..fleet() };
    check(source, &telemetry(long), &expect!["field the sensor's name is longer than 256 bytes"]);

    let source = || config::Source { topic: pattern("plant/#"), ..fleet() };
    let message = inbound("plant/a/b", Media::Unsaid, r#"{"x":1}"#);
    check(source(), &message, &expect!["plant/a/b 1767225700000 received x=1"]);
    let error = Intake::new(&[config::Source { sensor: Some(template("{vin}")), ..source() }]).err().unwrap();
    assert_eq!(error.to_string(), r#"source.fleet: topic "plant/#" has no capture {vin} for the sensor"#);
}
