//! Every example of RFC 8428 §5.1 and §6, by section, and a few of drafts and of RFC 9193.

use senml::{Given, Limits, Pack, Resolved, Value, cbor, json};

/// Where the working group's resolved forms of "now" were made.
const NOW_NS: i64 = 1_498_780_179_000_000_000;

macro_rules! data {
    ($name:literal) => {
        include_bytes!(concat!("../data/", $name)).as_slice()
    };
}

fn read(text: &[u8]) -> Pack<'_> {
    json::decode(text, &Limits::default()).expect("an example decodes")
}

fn resolve(text: &[u8]) -> Vec<Resolved<'_>> {
    read(text).resolve(NOW_NS).expect("an example resolves")
}

/// The resolved form of `example` is `want`; and so it is by way of CBOR.
fn check(example: &[u8], want: &[u8]) {
    let resolved = Pack::from_resolved(resolve(example)).expect("times are absolute");
    assert_eq!(resolved, read(want));

    let bytes = cbor::encode(&read(example)).expect("finite");
    let pack = cbor::decode(&bytes, &Limits::default()).expect("our own CBOR");
    assert_eq!(pack.resolve(NOW_NS).expect("resolves"), resolve(example));
}

/// Name, unit, value, time in seconds.
fn rows(resolved: &[Resolved<'_>]) -> Vec<String> {
    let row = |it: &Resolved<'_>| {
        let unit = it.unit.map_or("-", |unit| unit.symbol);
        format!("{} {unit} {:?} @{}", it.name, it.value.as_ref().expect("a value"), it.time.ns as f64 / 1e9)
    };
    resolved.iter().map(row).collect()
}

#[test]
fn rfc8428_5_1_1_single_data_point() {
    let example = data!("5_1_1_single_data_point.json");
    check(example, data!("5_1_1_single_data_point.resolved.json"));
    assert_eq!(resolve(example)[0].time.given, Given::Missing);
}

#[test]
fn rfc8428_5_1_2_multiple_data_points() {
    check(data!("5_1_2_multiple_data_points.json"), data!("5_1_2_multiple_data_points.resolved.json"));
}

#[test]
fn rfc8428_5_1_2_base_time() {
    let example = data!("5_1_2_base_time.json");
    // RFC 8428 wins over the group's form: chronological order, and the version in every record.
    let mut want = read(data!("5_1_2_base_time.resolved.json"));
    want.records.sort_by(|a, b| a.time.partial_cmp(&b.time).expect("finite"));
    want.records.iter_mut().for_each(|record| record.version = Some(5));
    let resolved = resolve(example);
    assert_eq!(resolved.iter().map(|record| record.index).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 0, 6]);
    assert_eq!(resolved[0].time.ns, 1_276_020_071_001_000_000);
    assert_eq!(resolved[6].time.ns, 1_276_020_076_001_000_000);
    assert_eq!(Pack::from_resolved(resolved), Ok(want));
}

#[test]
fn rfc8428_5_1_2_stream() {
    let example = data!("5_1_2_stream.json");
    check(example, data!("5_1_2_stream.resolved.json"));

    // As the RFC prints it: the array goes on.
    let unfinished = example.strip_suffix(b"\n]\n").expect("ends so");
    let mut stream = json::Stream::new(Limits::default());
    stream.feed(unfinished).expect("small");
    for want in read(example).records {
        assert_eq!(stream.next_record(), Ok(Some(want)));
    }
    assert_eq!(stream.next_record(), Ok(None));
    assert!(!stream.has_ended());
}

#[test]
fn rfc8428_5_1_3_multiple_measurements() {
    let example = data!("5_1_3_multiple_measurements.json");
    check(example, data!("5_1_4_resolved_data.json"));

    let bytes = data!("5_1_3_multiple_measurements.cbor");
    assert_eq!(bytes.len(), 254, "table 3");
    let pack = cbor::decode(bytes, &Limits::default()).expect("the group's CBOR");
    assert_eq!(pack.resolve(NOW_NS).expect("resolves"), resolve(example));
}

#[test]
fn rfc8428_5_1_4_resolved_data() {
    check(data!("5_1_4_resolved_data.json"), data!("5_1_4_resolved_data.json"));
}

#[test]
fn rfc8428_5_1_5_multiple_data_types() {
    let example = data!("5_1_5_multiple_data_types.json");
    let pack = json::decode(example, &Limits::default()).expect("decodes");
    let resolved = pack.resolve(1_499_109_309_000_000_000).expect("resolves");
    assert_eq!(resolved[3].name, "urn:dev:ow:10e2073a01080063:nfv-reader");
    assert_eq!(resolved[3].value, Some(Value::Data(b"hi \n".as_slice().into())));

    // The group's form lacks the data value; RFC 8428 wins.
    let without_data = Pack::from_resolved(resolved[..3].to_vec()).expect("times are absolute");
    assert_eq!(without_data, read(data!("5_1_5_multiple_data_types.resolved.json")));
}

#[test]
fn rfc8428_5_1_6_collection_of_resources() {
    check(data!("5_1_6_collection_of_resources.json"), data!("5_1_6_collection_of_resources.resolved.json"));
}

#[test]
fn rfc8428_5_1_7_thermostat() {
    let resolved = resolve(
        br#"[
          {"bn":"urn:dev:ow:10e2073a01080063:"},
          {"n":"temp","u":"Cel","v":23.1},
          {"n":"heat","u":"/","v":1},
          {"n":"fan","u":"/","v":0}
        ]"#,
    );
    let want = [
        "urn:dev:ow:10e2073a01080063:temp Cel Number(23.1) @1498780179",
        "urn:dev:ow:10e2073a01080063:heat / Number(1.0) @1498780179",
        "urn:dev:ow:10e2073a01080063:fan / Number(0.0) @1498780179",
    ];
    assert_eq!(rows(&resolved), want);
}

#[test]
fn rfc8428_5_1_7_lights_on() {
    check(data!("5_1_7_lights.json"), data!("5_1_7_lights.resolved.json"));
}

#[test]
fn rfc8428_5_1_7_lights_off() {
    let resolved = resolve(
        br#"[
          {"bt":1.320078429e+09,"bu":"/","n":"2001:db8::3","v":0.5},
          {"n":"2001:db8::4","v":0.5},
          {"n":"2001:db8::3","t":0.1,"v":0},
          {"n":"2001:db8::4","t":0.1,"v":0}
        ]"#,
    );
    let want = [
        "2001:db8::3 / Number(0.5) @1320078429",
        "2001:db8::4 / Number(0.5) @1320078429",
        "2001:db8::3 / Number(0.0) @1320078429.1",
        "2001:db8::4 / Number(0.0) @1320078429.1",
    ];
    assert_eq!(rows(&resolved), want);
    assert_eq!(resolved[3].time.ns, 1_320_078_429_100_000_000);
}

#[test]
fn rfc8428_6_cbor() {
    let bytes = data!("6_base_time.cbor");
    assert_eq!(bytes.len(), 0xc3);
    let pack = cbor::decode(bytes, &Limits::default()).expect("the RFC's CBOR");
    assert_eq!(cbor::encode(&pack).expect("finite"), bytes, "the same bytes again");

    // The JSON of section 5.1.2, but for the time of the last record, which CBOR gives as 0.
    let mut want = read(data!("5_1_2_base_time.json"));
    want.records[6].time = Some(0.0);
    assert_eq!(pack, want);
}

#[test]
fn draft_links_are_ignored() {
    let resolved = Pack::from_resolved(resolve(data!("draft_links.json"))).expect("absolute");
    assert_eq!(resolved, read(data!("draft_links.resolved.json")));
}

#[test]
fn draft_base_name() {
    check(data!("draft_base_name.json"), data!("draft_base_name.resolved.json"));
    check(data!("draft_repeated_name.json"), data!("draft_base_name.resolved.json"));
}

#[test]
fn rfc8428_4_5_4_base_value_and_sum() {
    let resolved = resolve(
        br#"[
          {"bn":"m","bu":"W","bv":20,"bs":1000,"n":"a","v":1.5,"s":2},
          {"n":"b","v":-0.5},
          {"n":"c","s":3},
          {"bv":0,"n":"d","vs":"text"}
        ]"#,
    );
    let got: Vec<_> = resolved.iter().map(|record| (record.value.clone(), record.sum)).collect();
    let want = [
        (Some(Value::Number(21.5)), Some(1002.0)),
        (Some(Value::Number(19.5)), Some(1000.0)),
        (None, Some(1003.0)),
        (Some(Value::Text("text".into())), Some(1000.0)),
    ];
    assert_eq!(got, want);
}

#[test]
fn rfc8428_4_6_version_10_is_left_out() {
    let resolved = resolve(br#"[{"bver":10,"bn":"a","bt":1320078429,"v":1},{"v":2,"ut":60}]"#);
    let text = json::encode(&Pack::from_resolved(resolved).expect("absolute")).expect("finite");
    let want = r#"[{"n":"a","t":1320078429,"v":1},{"n":"a","t":1320078429,"v":2,"ut":60}]"#;
    assert_eq!(String::from_utf8(text).as_deref(), Ok(want));
}

#[test]
fn rfc9193_content_type() {
    let table = [
        (r#"[{"n":"a","vd":"gmNmb28YKg","ct":"60"}]"#, Some("60")),
        (r#"[{"n":"a","vd":"gmNmb28YKg"}]"#, None),
        (r#"[{"bct":"60","n":"a","vd":"AA"}]"#, Some("60")),
        (r#"[{"bct":"60","n":"a","v":1}]"#, None),
        (r#"[{"bct":"60","n":"a","vd":"AA","ct":"text/csv@gzip"}]"#, Some("text/csv@gzip")),
        (r#"[{"bct_":"60","n":"a","vd":"AA","ct":"text/csv@gzip"}]"#, Some("60")),
        (r#"[{"bct_":"60","n":"a","vd":"AA","ct_":"50"}]"#, Some("50")),
    ];
    for (text, want) in table {
        let resolved = resolve(text.as_bytes());
        let got = resolved[0].content_type.as_ref().map(|content_type| &*content_type.text);
        assert_eq!(got, want, "{text}");
    }
}

#[test]
fn unknown_members_of_any_shape_are_passed_over() {
    let resolved = resolve(
        br#"[{"x":null,"y":[1,{"a":"]}\"","b":[]},true],"z":{"v":{"deep":[[]]}},"n":"a","v":1,"ba":"q"}]"#,
    );
    assert_eq!(rows(&resolved), ["a - Number(1.0) @1498780179"]);

    // {"x": [1, {}], 9: -1 (unknown), -7: "q", "n": "a" (as text), 2: 1}
    let bytes = b"\x81\xa5\x61x\x82\x01\xa0\x09\x20\x26\x61q\x61n\x61a\x02\x01";
    let pack = cbor::decode(bytes, &Limits::default()).expect("decodes");
    assert_eq!(rows(&pack.resolve(NOW_NS).expect("resolves")), ["a - Number(1.0) @1498780179"]);
}

#[test]
fn cbor_numbers_of_every_kind() {
    let table: [(&[u8], f64); 10] = [
        (&[0x18, 0x2a], 42.0),
        (&[0x3b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], -18_446_744_073_709_551_616.0),
        (&[0x1b, 0x00, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 9_007_199_254_740_991.0),
        (&[0xf9, 0x3e, 0x00], 1.5),
        (&[0xf9, 0x00, 0x01], 5.960464477539063e-8),
        (&[0xfa, 0x47, 0xc3, 0x50, 0x00], 100_000.0),
        (&[0xfb, 0x3f, 0xf3, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33], 1.2),
        (&[0xc4, 0x82, 0x21, 0x19, 0x6a, 0xb3], 273.15),
        (&[0xc4, 0x82, 0x20, 0xc2, 0x41, 0x0f], 1.5),
        (&[0xc2, 0x49, 0x01, 0, 0, 0, 0, 0, 0, 0, 0], 18_446_744_073_709_551_616.0),
    ];
    for (number, want) in table {
        let bytes = [b"\x81\xa2\x00\x61a\x02".as_slice(), number].concat();
        let pack = cbor::decode(&bytes, &Limits::default()).expect("a number");
        assert_eq!(pack.records[0].value, Some(Value::Number(want)), "{number:02x?}");
    }
}
