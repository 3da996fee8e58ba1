//! SensML: records as they arrive, however the bytes are cut.

use senml::{Limits, Pack, Record, Resolver, cbor, json};

const TEXT: &[u8] =
    br#" [ {"bn":"a\"{[","bt":1320067464,"v":1} ,{"t":10,"vs":"]}\\","x":{"y":[{}]}},{"t":20,"vb":true}] "#;

/// Feeds pieces of `size` bytes and collects the records.
macro_rules! collect {
    ($stream:expr, $bytes:expr, $size:expr) => {{
        let mut records: Vec<Record<'static>> = Vec::new();
        for piece in $bytes.chunks($size) {
            $stream.feed(piece).expect("small");
            while let Some(record) = $stream.next_record().expect("a good stream") {
                records.push(record.into_owned());
            }
        }
        records
    }};
}

#[test]
fn json_in_pieces_of_any_size() {
    let want = json::decode(TEXT, &Limits::default()).expect("decodes").records;
    for size in 1..=TEXT.len() {
        let mut stream = json::Stream::new(Limits::default());
        assert_eq!(collect!(stream, TEXT, size), want, "{size}");
        assert!(stream.has_ended());
        assert_eq!(stream.finish(), Ok(()));
    }
}

#[test]
fn cbor_in_pieces_of_any_size() {
    let pack = json::decode(TEXT, &Limits::default()).expect("decodes");
    let definite = cbor::encode(&pack).expect("finite");
    let indefinite = [b"\x9f".as_slice(), &definite[1..], b"\xff"].concat();
    for bytes in [&definite, &indefinite] {
        for size in 1..=bytes.len() {
            let mut stream = cbor::Stream::new(Limits::default());
            assert_eq!(collect!(stream, bytes, size), pack.records, "{size}");
            assert!(stream.has_ended());
            assert_eq!(stream.finish(), Ok(()));
        }
    }
}

#[test]
fn each_record_has_a_now_of_its_own() {
    let mut stream = json::Stream::new(Limits::default());
    let mut resolver = Resolver::new();
    stream.feed(br#"[{"bn":"a","v":1},{"t":-1,"v":2},{"v":3}"#).expect("small");
    let mut times = Vec::new();
    for now_ns in [10_000_000_000, 20_000_000_000, 30_000_000_000] {
        let record = stream.next_record().expect("good").expect("there").into_owned();
        times.extend(resolver.resolve(record, now_ns).expect("resolves").map(|resolved| resolved.time.ns));
    }
    assert_eq!(times, [10_000_000_000, 19_000_000_000, 30_000_000_000]);
}

#[test]
fn a_bad_record_does_not_end_the_stream() {
    let mut stream = json::Stream::new(Limits::default());
    stream.feed(br#"[{"n":"a","v":"x"},{"n":"a","v":1 2},{"n":"a","v":1}"#).expect("small");
    let mut texts = Vec::new();
    for _ in 0..2 {
        texts.push(stream.next_record().expect_err("bad").to_string());
    }
    assert_eq!(texts, [r#"record 0: "v": expected a number"#, "record 1: expected ',' or '}' at byte 34"]);
    assert!(matches!(stream.next_record(), Ok(Some(_))));

    let mut stream = cbor::Stream::new(Limits::default());
    stream.feed(b"\x9f\xa2\x00\x61a\x02\x61x\x01\xa2\x00\x61a\x02\x01").expect("small");
    assert_eq!(stream.next_record().expect_err("bad").to_string(), r#"record 0: "v": expected a number"#);
    assert_eq!(stream.next_record().expect_err("bad").to_string(), "record 1: not a record");
    assert!(matches!(stream.next_record(), Ok(Some(_))));
}

#[test]
fn errors_between_records_stay() {
    for (text, want) in [
        ("x", "record 0: not an array of records"),
        ("[1", "record 0: expected a record at byte 1"),
        ("[,", "record 0: expected a record at byte 1"),
        ("[] x", "record 0: unexpected bytes after the pack, at byte 3"),
    ] {
        let mut stream = json::Stream::new(Limits::default());
        stream.feed(text.as_bytes()).expect("small");
        for _ in 0..2 {
            assert_eq!(stream.next_record().expect_err("bad").to_string(), want, "{text}");
        }
    }
    for (bytes, want) in [
        (b"\x01".as_slice(), "record 0: not an array of records"),
        (b"\x9f\x1c", "record 0: expected an item of CBOR at byte 1"),
        (b"\x80\x00", "record 0: unexpected bytes after the pack, at byte 1"),
    ] {
        let mut stream = cbor::Stream::new(Limits::default());
        stream.feed(bytes).expect("small");
        for _ in 0..2 {
            assert_eq!(stream.next_record().expect_err("bad").to_string(), want, "{bytes:02x?}");
        }
    }
}

#[test]
fn an_end_within_a_record_is_noticed() {
    let mut stream = json::Stream::new(Limits::default());
    stream.feed(br#"[{"n":"a""#).expect("small");
    assert_eq!(stream.next_record(), Ok(None));
    assert_eq!(stream.finish().expect_err("cut").to_string(), "record 0: input ends too early, at byte 9");

    let mut stream = cbor::Stream::new(Limits::default());
    stream.feed(b"\x82\xa2\x00\x61a\x02\x01").expect("small");
    assert!(matches!(stream.next_record(), Ok(Some(_))));
    assert_eq!(stream.next_record(), Ok(None));
    assert_eq!(
        stream.finish().expect_err("one is left").to_string(),
        "record 1: input ends too early, at byte 7"
    );
    assert!(json::Stream::new(Limits::default()).finish().is_err());
}

#[test]
fn what_a_stream_yields_is_what_a_pack_holds() {
    let pack: Pack<'static> = json::decode(TEXT, &Limits::default()).expect("decodes").into_owned();
    assert_eq!(pack.records.len(), 3);
    assert_eq!(pack.records[1].value, Some(senml::Value::Text("]}\\".into())));
}
