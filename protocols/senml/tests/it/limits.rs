//! Hostile sizes: refused at once, with a clear error, whatever the input claims.

use senml::{Class, Kind, Limits, cbor, json};

const DEEP: usize = 50_000;

fn wide() -> Limits {
    Limits { bytes: usize::MAX, ..Limits::default() }
}

#[test]
fn ten_megabytes() {
    let bytes = vec![b'['; 10 << 20];
    let want = Kind::TooManyBytes { limit: 1 << 20 };
    assert_eq!(json::decode(&bytes, &Limits::default()).map_err(|error| error.kind), Err(want.clone()));
    assert_eq!(cbor::decode(&bytes, &Limits::default()).map_err(|error| error.kind), Err(want));
}

#[test]
fn fifty_thousand_levels_of_json() {
    for (open, want) in [("[", Kind::NotARecord), ("{\"a\":", Kind::NotAPack)] {
        let error = json::decode(open.repeat(DEEP).as_bytes(), &wide()).expect_err("no pack");
        assert_eq!(error.kind, want);
    }
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let (open, close) = (open.repeat(DEEP), close.repeat(DEEP));
        let text = format!(r#"[{{"n":"a","v":1}},{{"n":"a","v":1,"x":{open}1{close}}}]"#);
        let error = json::decode(text.as_bytes(), &wide()).expect_err("too deep");
        assert_eq!(error.to_string(), r#"record 1: "x": nested deeper than 16 levels"#);
        assert_eq!(error.class(), Class::TooLarge);

        // Not the stack is the limit.
        let deep = Limits { depth: DEEP + 2, ..wide() };
        assert!(json::decode(text.as_bytes(), &deep).is_ok());
    }
}

#[test]
fn fifty_thousand_levels_of_cbor() {
    for open in [b"\x81".as_slice(), b"\x9f", b"\xa1\x00", b"\xbf\x00"] {
        let bytes = [b"\x81\xa3\x00\x61a\x02\x01\x61x".as_slice(), &open.repeat(DEEP)].concat();
        let error = cbor::decode(&bytes, &wide()).expect_err("too deep");
        assert_eq!(error.to_string(), r#"record 0: "x": nested deeper than 16 levels"#);
    }
    // Tags are no levels, but must not recurse either.
    let bytes = [b"\x81\xa3\x00\x61a\x02\x01\x61x".as_slice(), &b"\xc1".repeat(DEEP), b"\x00"].concat();
    assert!(cbor::decode(&bytes, &wide()).is_ok());
}

#[test]
fn depth_counts_pack_and_record() {
    for (depth, is_ok) in [(3, false), (4, true)] {
        let limits = Limits { depth, ..Limits::default() };
        assert_eq!(json::decode(br#"[{"n":"a","v":1,"x":[[]]}]"#, &limits).is_ok(), is_ok);
        assert_eq!(cbor::decode(b"\x81\xa3\x00\x61a\x02\x01\x61x\x81\x81\x00", &limits).is_ok(), is_ok);
        let mut stream = cbor::Stream::new(limits);
        stream.feed(b"\x81\xa3\x00\x61a\x02\x01\x61x\x81\x81\x00").expect("small");
        assert_eq!(stream.next_record().is_ok(), is_ok);
    }
}

#[test]
fn cbor_length_bombs() {
    let huge = b"\x10\x00\x00\x00\x00\x00\x00\x00"; // 2^60
    let table: [(&[u8], u8, &str); 7] = [
        (b"", 0x9b, "more than 16384 records"),
        (b"\x81", 0xbb, "record 0: input ends too early, at byte 10"),
        (b"\x81\xa1\x00", 0x7b, r#"record 0: "n": input ends too early, at byte 12"#),
        (b"\x81\xa1\x08", 0x5b, r#"record 0: "vd": input ends too early, at byte 12"#),
        (b"\x81\xa1\x61x", 0x9b, r#"record 0: "x": input ends too early, at byte 13"#),
        (b"\x81\xa1\x61x", 0xbb, r#"record 0: "x": input ends too early, at byte 13"#),
        (b"\x81\xa1\x02\xc4", 0x9b, r#"record 0: "v": expected a decimal fraction of exponent and mantissa"#),
    ];
    for (before, head, want) in table {
        let bytes = [before, &[head], huge].concat();
        assert_eq!(cbor::decode(&bytes, &Limits::default()).expect_err("a bomb").to_string(), want);
    }
}

#[test]
fn records() {
    let limits = Limits { records: 2, ..Limits::default() };
    let record = r#"{"n":"a","v":1}"#;
    assert!(json::decode(format!("[{record},{record}]").as_bytes(), &limits).is_ok());
    let error = json::decode(format!("[{record},{record},{record}]").as_bytes(), &limits).expect_err("3");
    assert_eq!(error.to_string(), "more than 2 records");

    let record = b"\xa2\x00\x61a\x02\x01";
    assert!(cbor::decode(&[b"\x82".as_slice(), record, record].concat(), &limits).is_ok());
    for head in [b"\x83", b"\x9f"] {
        let bytes = [head.as_slice(), record, record, record, b"\xff"].concat();
        assert_eq!(cbor::decode(&bytes, &limits).expect_err("3").to_string(), "more than 2 records");
    }
}

#[test]
fn strings() {
    let limits = Limits { name_bytes: 3, value_bytes: 4, ..Limits::default() };
    let table = [
        (r#"[{"n":"abc","vs":"1234"}]"#, None),
        (r#"[{"n":"abc","vd":"AAAAAA"}]"#, None),
        (r#"[{"n":"abcd","v":1}]"#, Some(r#"record 0: "n": longer than 3 bytes"#)),
        (r#"[{"bn":"a\u0062cd","v":1}]"#, Some(r#"record 0: "bn": longer than 3 bytes"#)),
        (r#"[{"n":"a","vs":"12345"}]"#, Some(r#"record 0: "vs": longer than 4 bytes"#)),
        (r#"[{"n":"a","vd":"AAAAAAA"}]"#, Some(r#"record 0: "vd": longer than 6 bytes"#)),
        (r#"[{"n":"a","v":1,"long":1}]"#, Some("record 0: longer than 3 bytes")),
        (r#"[{"n":"a","v":1,"x":"as long as it likes"}]"#, None),
    ];
    for (text, want) in table {
        let error = json::decode(text.as_bytes(), &limits).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), want, "{text}");
    }
    let error = cbor::decode(b"\x81\xa1\x08\x45\x00\x00\x00\x00\x00", &limits).expect_err("5 bytes");
    assert_eq!(error.to_string(), r#"record 0: "vd": longer than 4 bytes"#);
}

#[test]
fn a_stream_holds_no_more_than_its_limit() {
    let limits = Limits { bytes: 32, ..Limits::default() };
    let mut stream = json::Stream::new(limits);
    let record = br#"{"n":"a","v":1},"#;
    stream.feed(b"[").expect("fits");
    for _ in 0..1_000 {
        stream.feed(record).expect("what was read makes room");
        assert!(matches!(stream.next_record(), Ok(Some(_))));
    }
    stream.feed(br#"{"n":"a","vs":"#).expect("fits");
    assert_eq!(stream.next_record(), Ok(None));
    let error = stream.feed(&[b'x'; 32]).expect_err("too much for one record");
    assert_eq!(error.to_string(), "more than 32 bytes");

    let mut stream = cbor::Stream::new(limits);
    stream.feed(b"\x9f\xa2\x00\x61a\x03\x7b\x10\x00\x00\x00\x00\x00\x00\x00").expect("fits");
    assert_eq!(stream.next_record(), Ok(None));
    assert!(stream.feed(&[b'x'; 32]).is_err());
}
