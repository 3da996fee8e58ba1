//! A table of every error: class, pointer, text.

use expect_test::{Expect, expect};
use senml::{Error, Limits, cbor, json};

const NOW_NS: i64 = 1_700_000_000_000_000_000;

fn check_json(text: &str, want: Expect) {
    check(
        json::decode(text.as_bytes(), &Limits::default()).and_then(|pack| pack.resolve(NOW_NS)).err(),
        want,
    );
}

fn check_cbor(bytes: &[u8], want: Expect) {
    check(cbor::decode(bytes, &Limits::default()).and_then(|pack| pack.resolve(NOW_NS)).err(), want);
}

fn check(error: Option<Error>, want: Expect) {
    let error = error.expect("refused");
    want.assert_eq(&format!("{:?} {:?} {error}", error.class(), error.pointer()));
}

#[test]
fn malformed_text() {
    check_json(r#""#, expect![[r#"Malformed "" input ends too early, at byte 0"#]]);
    check_json(r#" "#, expect![[r#"Malformed "" input ends too early, at byte 1"#]]);
    check_json(r#"?"#, expect![[r#"Malformed "" expected a value at byte 0"#]]);
    check_json(r#"["#, expect![[r#"Malformed "/0" record 0: input ends too early, at byte 1"#]]);
    check_json(r#"[{"#, expect![[r#"Malformed "/0" record 0: input ends too early, at byte 2"#]]);
    check_json(r#"[{"n""#, expect![[r#"Malformed "/0" record 0: input ends too early, at byte 5"#]]);
    check_json(r#"[{"n":"#, expect![[r#"Malformed "/0/n" record 0: "n": input ends too early, at byte 6"#]]);
    check_json(
        r#"[{"n":"a"#,
        expect![[r#"Malformed "/0/n" record 0: "n": input ends too early, at byte 8"#]],
    );
    check_json(r#"[{"n":"a""#, expect![[r#"Malformed "/0" record 0: input ends too early, at byte 9"#]]);
    check_json(
        r#"[{"n":"a","v":1}"#,
        expect![[r#"Malformed "/0" record 0: input ends too early, at byte 16"#]],
    );
    check_json(
        r#"[{"n":"a","v":1}]]"#,
        expect![[r#"Malformed "" unexpected bytes after the pack, at byte 17"#]],
    );
    check_json(r#"[{"n":"a","v":1},]"#, expect![[r#"Malformed "/1" record 1: expected a value at byte 17"#]]);
    check_json(
        r#"[{"n":"a","v":01}]"#,
        expect![[r#"Malformed "/0" record 0: expected ',' or '}' at byte 15"#]],
    );
    check_json(
        r#"[{"n":"a","v":NaN}]"#,
        expect![[r#"Malformed "/0/v" record 0: "v": expected a value at byte 14"#]],
    );
    check_json(r#"{"n":"a","v":1}"#, expect![[r#"Malformed "" not an array of records"#]]);
    check_json(r#""a""#, expect![[r#"Malformed "" not an array of records"#]]);
    check_json(r#"[1]"#, expect![[r#"Malformed "/0" record 0: not a record"#]]);
    check_json(r#"[{"n":"a","v":1},null]"#, expect![[r#"Malformed "/1" record 1: not a record"#]]);
    check_json(
        r#"[{"n":"\ud800","v":1}]"#,
        expect![[
            r#"Malformed "/0/n" record 0: "n": expected the second half of a surrogate pair at byte 13"#
        ]],
    );
    check_json(
        r#"[{"n":"a","x":[1}]"#,
        expect![[r#"Malformed "/0/x" record 0: "x": expected ',' or a closing bracket at byte 16"#]],
    );
}

#[test]
fn types() {
    check_json(r#"[{"n":1,"v":1}]"#, expect![[r#"Field "/0/n" record 0: "n": expected a string"#]]);
    check_json(r#"[{"n":"a","v":"1"}]"#, expect![[r#"Field "/0/v" record 0: "v": expected a number"#]]);
    check_json(r#"[{"n":"a","vs":1}]"#, expect![[r#"Field "/0/vs" record 0: "vs": expected a string"#]]);
    check_json(r#"[{"n":"a","vb":1}]"#, expect![[r#"Field "/0/vb" record 0: "vb": expected true or false"#]]);
    check_json(
        r#"[{"n":"a","vd":true}]"#,
        expect![[r#"Field "/0/vd" record 0: "vd": expected a string in base64url"#]],
    );
    check_json(r#"[{"n":"a","v":null}]"#, expect![[r#"Field "/0/v" record 0: "v": expected a number"#]]);
    check_json(
        r#"[{"n":"a","t":"now","v":1}]"#,
        expect![[r#"Time "/0/t" record 0: "t": expected a number"#]],
    );
    check_json(
        r#"[{"bt":[],"n":"a","v":1}]"#,
        expect![[r#"Time "/0/bt" record 0: "bt": expected a number"#]],
    );
    check_json(r#"[{"n":"a","u":1,"v":1}]"#, expect![[r#"Unit "/0/u" record 0: "u": expected a string"#]]);
    check_json(
        r#"[{"bver":"10","n":"a","v":1}]"#,
        expect![[r#"Field "/0/bver" record 0: "bver": expected a number"#]],
    );
    check_json(
        r#"[{"n":"a","v":1,"ct":60}]"#,
        expect![[r#"Field "/0/ct" record 0: "ct": expected a string"#]],
    );
}

#[test]
fn numbers() {
    check_json(r#"[{"n":"a","v":1e999}]"#, expect![[r#"Field "/0/v" record 0: "v": not a finite number"#]]);
    check_json(
        r#"[{"n":"a","v":1},{"bt":-1e999}]"#,
        expect![[r#"Time "/1/bt" record 1: "bt": not a finite number"#]],
    );
    check_json(
        r#"[{"bv":1e308,"n":"a","v":1e308}]"#,
        expect![[r#"Field "/0/v" record 0: "v": not a finite number"#]],
    );
    check_json(
        r#"[{"bs":1e308,"n":"a","s":1e308}]"#,
        expect![[r#"Field "/0/s" record 0: "s": not a finite number"#]],
    );
    check_json(r#"[{"n":"a","v":1,"ut":-1}]"#, expect![[r#"Field "/0/ut" record 0: "ut": negative period"#]]);
    check_json(
        r#"[{"n":"a","v":1,"ut":1e999}]"#,
        expect![[r#"Field "/0/ut" record 0: "ut": not a finite number"#]],
    );
}

#[test]
fn values() {
    check_json(r#"[]"#, expect![[r#"Field "" pack holds no records"#]]);
    check_json(r#"[{}]"#, expect![[r#"Field "/0" record 0: neither a value nor a sum"#]]);
    check_json(r#"[{"n":"a"}]"#, expect![[r#"Field "/0" record 0: neither a value nor a sum"#]]);
    check_json(r#"[{"bn":"a"},{"t":1}]"#, expect![[r#"Field "/1" record 1: neither a value nor a sum"#]]);
    check_json(r#"[{"x":1}]"#, expect![[r#"Field "/0" record 0: neither a value nor a sum"#]]);
    check_json(
        r#"[{"n":"a","v":1,"vs":"b"}]"#,
        expect![[r#"Field "/0/vs" record 0: "vs": more than one value"#]],
    );
    check_json(r#"[{"n":"a","v":1,"v":1}]"#, expect![[r#"Field "/0/v" record 0: "v": occurs twice"#]]);
    check_json(r#"[{"n":"a","n":"a","v":1}]"#, expect![[r#"Field "/0/n" record 0: "n": occurs twice"#]]);
    check_json(
        r#"[{"n":"a","vd":"AA=="}]"#,
        expect![[r#"Field "/0/vd" record 0: "vd": not base64url without padding"#]],
    );
    check_json(
        r#"[{"n":"a","ct":"0","ct_":"0","vd":"AA"}]"#,
        expect![[r#"Field "/0/ct_" record 0: "ct_": occurs twice"#]],
    );
}

#[test]
fn names() {
    check_json(r#"[{"v":1}]"#, expect![[r#"Field "/0" record 0: no name"#]]);
    check_json(r#"[{"n":"","v":1}]"#, expect![[r#"Field "/0" record 0: no name"#]]);
    check_json(r#"[{"bn":"","n":"","v":1}]"#, expect![[r#"Field "/0" record 0: no name"#]]);
    check_json(
        r#"[{"n":"a b","v":1}]"#,
        expect![[r#"Field "/0/n" record 0: "n": character ' ' is not allowed in a name"#]],
    );
    check_json(
        r#"[{"n":"é","v":1}]"#,
        expect![[r#"Field "/0/n" record 0: "n": character 'é' is not allowed in a name"#]],
    );
    check_json(
        r#"[{"bn":"a?","n":"b","v":1}]"#,
        expect![[r#"Field "/0/bn" record 0: "bn": character '?' is not allowed in a name"#]],
    );
    check_json(
        r#"[{"bn":"a?"}]"#,
        expect![[r#"Field "/0/bn" record 0: "bn": character '?' is not allowed in a name"#]],
    );
    check_json(
        r#"[{"n":"-a","v":1}]"#,
        expect![[r#"Field "/0/n" record 0: "n": character '-' is not allowed at the start of a name"#]],
    );
    check_json(
        r#"[{"bn":"/","n":"a","v":1}]"#,
        expect![[r#"Field "/0/bn" record 0: "bn": character '/' is not allowed at the start of a name"#]],
    );
    check_json(
        r#"[{"bn":"a/","v":1},{"n":"b~","v":1}]"#,
        expect![[r#"Field "/1/n" record 1: "n": character '~' is not allowed in a name"#]],
    );
}

#[test]
fn units() {
    check_json(
        r#"[{"n":"a","u":"furlong","v":1}]"#,
        expect![[r#"Unit "/0/u" record 0: "u": unknown unit "furlong""#]],
    );
    check_json(r#"[{"n":"a","u":"","v":1}]"#, expect![[r#"Unit "/0/u" record 0: "u": unknown unit """#]]);
    check_json(
        r#"[{"n":"a","v":1},{"bu":"cel"}]"#,
        expect![[r#"Unit "/1/bu" record 1: "bu": unknown unit "cel""#]],
    );
}

#[test]
fn times() {
    check_json(r#"[{"n":"a","t":1e12,"v":1}]"#, expect![[r#"Time "/0/t" record 0: "t": time out of range"#]]);
    check_json(
        r#"[{"bt":-1e300,"n":"a","v":1}]"#,
        expect![[r#"Time "/0/bt" record 0: "bt": time out of range"#]],
    );
    check_json(
        r#"[{"bt":9e9,"n":"a","t":9e9,"v":1}]"#,
        expect![[r#"Time "/0/t" record 0: "t": time out of range"#]],
    );
    check_json(
        r#"[{"n":"a","t":-9.3e9,"v":1}]"#,
        expect![[r#"Time "/0/t" record 0: "t": time out of range"#]],
    );
}

#[test]
fn versions_and_extensions() {
    check_json(
        r#"[{"bver":11,"n":"a","v":1}]"#,
        expect![[r#"Field "/0/bver" record 0: "bver": version 11 is not supported, only 1 to 10"#]],
    );
    check_json(
        r#"[{"bver":0,"n":"a","v":1}]"#,
        expect![[r#"Field "/0/bver" record 0: "bver": version 0 is not supported, only 1 to 10"#]],
    );
    check_json(
        r#"[{"bver":-1,"n":"a","v":1}]"#,
        expect![[r#"Field "/0/bver" record 0: "bver": version -1 is not supported, only 1 to 10"#]],
    );
    check_json(
        r#"[{"bver":5.5,"n":"a","v":1}]"#,
        expect![[r#"Field "/0/bver" record 0: "bver": version 5.5 is not supported, only 1 to 10"#]],
    );
    check_json(
        r#"[{"bver":1e300,"n":"a","v":1}]"#,
        expect![[r#"Field "/0/bver" record 0: "bver": version 1e300 is not supported, only 1 to 10"#]],
    );
    check_json(
        r#"[{"bver":5,"n":"a","v":1},{"bver":6,"n":"a","v":1}]"#,
        expect![[
            r#"Field "/1/bver" record 1: "bver": version 6 differs from version 5 of the records before"#
        ]],
    );
    check_json(
        r#"[{"n":"a","v":1},{"bver":5,"n":"a","v":1}]"#,
        expect![[
            r#"Field "/1/bver" record 1: "bver": version 5 differs from version 10 of the records before"#
        ]],
    );
    check_json(
        r#"[{"n":"a","v":1,"x_":1}]"#,
        expect![[r#"Field "/0/x_" record 0: "x_": must be understood but is not"#]],
    );
    check_json(
        r#"[{"n":"a","v":1,"a/b~_":1}]"#,
        expect![[r#"Field "/0/a~1b~0_" record 0: "a/b~_": must be understood but is not"#]],
    );
    check_json(
        r#"[{"n":"a","v":1,"_":1}]"#,
        expect![[r#"Field "/0/_" record 0: "_": must be understood but is not"#]],
    );
}

#[test]
fn cbor_malformed() {
    check_cbor(b"", expect![[r#"Malformed "" input ends too early, at byte 0"#]]);
    check_cbor(b"\xff", expect![[r#"Malformed "" not an array of records"#]]);
    check_cbor(b"\x1c", expect![[r#"Malformed "" not an array of records"#]]);
    check_cbor(b"\xa0", expect![[r#"Malformed "" not an array of records"#]]);
    check_cbor(b"\x01", expect![[r#"Malformed "" not an array of records"#]]);
    check_cbor(b"\x81", expect![[r#"Malformed "/0" record 0: input ends too early, at byte 1"#]]);
    check_cbor(b"\x81\x01", expect![[r#"Malformed "/0" record 0: not a record"#]]);
    check_cbor(b"\x81\xa1", expect![[r#"Malformed "/0" record 0: input ends too early, at byte 2"#]]);
    check_cbor(
        b"\x81\xa1\x00",
        expect![[r#"Malformed "/0/n" record 0: "n": input ends too early, at byte 3"#]],
    );
    check_cbor(
        b"\x81\xa1\x00\x62\x61",
        expect![[r#"Malformed "/0/n" record 0: "n": input ends too early, at byte 5"#]],
    );
    check_cbor(
        b"\x81\xa2\x00\x61\x61\x02\x01\x00",
        expect![[r#"Malformed "" unexpected bytes after the pack, at byte 7"#]],
    );
    check_cbor(b"\x9f\xa2\x00\x61\x61\x02\x01", expect![[r#"Malformed "" input ends too early, at byte 7"#]]);
    check_cbor(
        b"\x81\xa2\x00\x61\xff\x02\x01",
        expect![[r#"Malformed "/0/n" record 0: "n": not UTF-8 at byte 3"#]],
    );
    check_cbor(
        b"\x81\xa1\x40\x01",
        expect![[r#"Malformed "/0" record 0: expected an integer or text as label at byte 2"#]],
    );
    check_cbor(
        b"\x81\xa2\x00\x61\x61\x02\x1c",
        expect![[r#"Malformed "/0/v" record 0: "v": expected an item of CBOR at byte 6"#]],
    );
    check_cbor(
        b"\x81\xa2\x00\x61\x61\x02\xff",
        expect![[r#"Malformed "/0/v" record 0: "v": expected an item of CBOR at byte 6"#]],
    );
    check_cbor(
        b"\x81\xa3\x00\x61\x61\x02\x01\x61\x78\x1c",
        expect![[r#"Malformed "/0/x" record 0: "x": expected an item of CBOR at byte 9"#]],
    );
    check_cbor(
        b"\x81\xa3\x00\x61\x61\x02\x01\x61\x78\x82\x01",
        expect![[r#"Malformed "/0/x" record 0: "x": input ends too early, at byte 11"#]],
    );
}

#[test]
fn cbor_content() {
    check_cbor(b"\x80", expect![[r#"Field "" pack holds no records"#]]);
    check_cbor(
        b"\x81\xa2\x00\x61\x61\x02\x61\x31",
        expect![[r#"Field "/0/v" record 0: "v": expected a number"#]],
    );
    check_cbor(
        b"\x81\xa2\x00\x01\x02\x01",
        expect![[r#"Field "/0/n" record 0: "n": expected a text string of definite length"#]],
    );
    check_cbor(
        b"\x81\xa2\x00\x7f\x61\x61\xff\x02\x01",
        expect![[r#"Field "/0/n" record 0: "n": expected a text string of definite length"#]],
    );
    check_cbor(
        b"\x81\xa2\x00\x61\x61\x08\x61\x61",
        expect![[r#"Field "/0/vd" record 0: "vd": expected a byte string of definite length"#]],
    );
    check_cbor(
        b"\x81\xa2\x00\x61\x61\x08\x5f\x41\x61\xff",
        expect![[r#"Field "/0/vd" record 0: "vd": expected a byte string of definite length"#]],
    );
    check_cbor(
        b"\x81\xa2\x00\x61\x61\x04\x01",
        expect![[r#"Field "/0/vb" record 0: "vb": expected true or false"#]],
    );
    check_cbor(
        b"\x81\xa3\x20\xf9\x40\x00\x00\x61\x61\x02\x01",
        expect![[r#"Field "/0/bver" record 0: "bver": expected an unsigned integer"#]],
    );
    check_cbor(
        b"\x81\xa3\x20\x0b\x00\x61\x61\x02\x01",
        expect![[r#"Field "/0/bver" record 0: "bver": version 11 is not supported, only 1 to 10"#]],
    );
    check_cbor(
        b"\x81\xa2\x00\x61\x61\x02\xf9\x7e\x00",
        expect![[r#"Field "/0/v" record 0: "v": not a finite number"#]],
    );
    check_cbor(
        b"\x81\xa2\x00\x61\x61\x02\xf9\x7c\x00",
        expect![[r#"Field "/0/v" record 0: "v": not a finite number"#]],
    );
    check_cbor(
        b"\x81\xa2\x22\xfb\x7f\xf0\x00\x00\x00\x00\x00\x00\x02\x01",
        expect![[r#"Time "/0/bt" record 0: "bt": not a finite number"#]],
    );
    check_cbor(
        b"\x81\xa2\x00\x61\x61\x02\xc4\x82\x19\x03\xe7\x01",
        expect![[r#"Field "/0/v" record 0: "v": not a finite number"#]],
    );
    check_cbor(
        b"\x81\xa2\x00\x61\x61\x02\xc4\x01",
        expect![[r#"Field "/0/v" record 0: "v": expected a decimal fraction of exponent and mantissa"#]],
    );
    check_cbor(
        b"\x81\xa2\x00\x61\x61\x02\xc4\x81\x01",
        expect![[r#"Field "/0/v" record 0: "v": expected a decimal fraction of exponent and mantissa"#]],
    );
    check_cbor(
        b"\x81\xa2\x00\x61\x61\x02\xc4\x82\x01\xf5",
        expect![[r#"Field "/0/v" record 0: "v": expected a decimal fraction of exponent and mantissa"#]],
    );
    check_cbor(
        b"\x81\xa2\x00\x61\x61\x02\xc1\x01",
        expect![[r#"Field "/0/v" record 0: "v": expected a number"#]],
    );
    check_cbor(b"\x81\xa2\x00\x61\x61\x02\xc2\x51\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", expect![[r#"Field "/0/v" record 0: "v": not a finite number"#]]);
    check_cbor(
        b"\x81\xa2\x00\x61\x61\x02\xc2\x01",
        expect![[r#"Field "/0/v" record 0: "v": expected a number"#]],
    );
    check_cbor(
        b"\x81\xa3\x00\x61\x61\x02\x01\x62\x78\x5f\x01",
        expect![[r#"Field "/0/x_" record 0: "x_": must be understood but is not"#]],
    );
    check_cbor(
        b"\x81\xa3\x00\x61\x61\x61\x6e\x61\x61\x02\x01",
        expect![[r#"Field "/0/n" record 0: "n": occurs twice"#]],
    );
    check_cbor(b"\x81\xa1\x00\x61\x61", expect![[r#"Field "/0" record 0: neither a value nor a sum"#]]);
}

#[test]
fn text_that_is_not_utf8() {
    let error = json::decode(b"[{\"n\":\"\xff\"}]", &Limits::default()).err();
    check(error, expect![[r#"Malformed "" not UTF-8 at byte 7"#]]);
}
