//! Every malformed shape, and every refusal, as one table each.

use proptest::prelude::*;

use super::*;
use crate::wire;

const POST: u8 = 2;

/// Option numbers and values, ascending.
type List<'a> = &'a [(u16, &'a [u8])];

/// A message: type (0 CON, 1 NON, 2 ACK, 3 RST), code, options as (delta byte and what follows), payload.
fn message(kind: u8, code: u8, rest: &[u8]) -> Vec<u8> {
    [&[0x40 | kind << 4, code, 0x12, 0x34], rest].concat()
}

/// The bytes of options, in ascending order of their numbers.
fn options(list: List<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut previous = 0;
    for (number, value) in list {
        let (delta, length) = (number - previous, value.len() as u16);
        let nibble = |n: u16| if n < 13 { n as u8 } else { 14 - u8::from(n < 269) };
        let extra = |n: u16| match n {
            0..13 => vec![],
            13..269 => vec![(n - 13) as u8],
            _ => (n - 269).to_be_bytes().to_vec(),
        };
        bytes.push(nibble(delta) << 4 | nibble(length));
        bytes.extend(extra(delta));
        bytes.extend(extra(length));
        bytes.extend_from_slice(value);
        previous = *number;
    }
    bytes
}

#[test]
fn format_errors() {
    let reset = Checked::Malformed { reject: Some(0x1234) };
    let ignore = Checked::Malformed { reject: None };
    let table: [(&str, Vec<u8>, &Checked); 22] = [
        ("nothing", vec![], &ignore),
        ("three bytes", vec![0x40, POST, 0], &ignore),
        ("version 0", vec![0x00, POST, 0x12, 0x34], &ignore),
        ("version 2", vec![0x80, POST, 0x12, 0x34], &ignore),
        ("version 3", vec![0xc0, POST, 0x12, 0x34], &ignore),
        ("token length 9", [&[0x49, POST, 0x12, 0x34][..], &[0; 9]].concat(), &reset),
        ("token length 15", [&[0x4f, POST, 0x12, 0x34][..], &[0; 15]].concat(), &reset),
        ("token cut short", vec![0x44, POST, 0x12, 0x34, 1, 2, 3], &reset),
        ("the same as NON", vec![0x54, POST, 0x12, 0x34, 1, 2, 3], &ignore),
        ("empty CON with a token", vec![0x41, 0, 0x12, 0x34, 1], &reset),
        ("empty CON with payload", message(0, 0, &[0xff, 1]), &reset),
        ("empty NON", message(1, 0, &[]), &ignore),
        ("empty ACK with payload", message(2, 0, &[0xff, 1]), &ignore),
        ("marker without payload", message(0, POST, &[0xff]), &reset),
        ("option delta 15", message(0, POST, &[0xf0]), &reset),
        ("option length 15", message(0, POST, &[0x0f]), &reset),
        ("delta byte missing", message(0, POST, &[0xd0]), &reset),
        ("length bytes missing", message(0, POST, &[0x0e, 1]), &reset),
        ("option value cut short", message(0, POST, &[0xb4, b'a']), &reset),
        ("option number beyond 65535", message(0, POST, &[0xe0, 0xff, 0xff]), &reset),
        ("code class 1", message(0, 0x21, &[]), &reset),
        ("ACK with a request", message(2, POST, &[]), &ignore),
    ];
    for (name, datagram, expected) in table {
        assert_eq!(check(&datagram), *expected, "{name}");
    }
}

#[test]
fn messages_without_a_request() {
    let table = [
        (message(0, 0, &[]), Checked::Ping { message_id: 0x1234 }),
        (message(2, 0, &[]), Checked::Acknowledgement { message_id: 0x1234 }),
        (message(3, 0, &[]), Checked::Reset { message_id: 0x1234 }),
        (message(0, 0x45, &[0xff, 1]), Checked::Stray { reject: Some(0x1234) }),
        (message(1, 0x84, &[]), Checked::Stray { reject: Some(0x1234) }),
        (message(2, 0x44, &[]), Checked::Stray { reject: None }),
    ];
    for (datagram, expected) in table {
        assert_eq!(check(&datagram), expected, "{datagram:02x?}");
    }
}

/// What becomes of a request with these options: `ok`, `dropped`, or the refusal.
fn outcome(kind: u8, code: u8, list: List<'_>) -> String {
    match check(&message(kind, code, &options(list))) {
        Checked::Request(_) => "ok".to_owned(),
        Checked::Unanswerable => "dropped".to_owned(),
        Checked::Refused(_, Refusal { code, text }) => format!("{code} {text}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn options_of_requests() {
    let long = [b'x'; 256];
    let full = [b'x'; 255];
    let many = vec![(number::URI_PATH, &b"a"[..]); OPTIONS_MAX + 1];
    let heavy = vec![(number::URI_QUERY, &full[..]); 5];
    let lengths = "4.02 bad length or repetition of an option";
    let format = "4.00 bad or repeated content-format";
    let unknown = "4.02 unknown critical option";
    let table: [(List<'_>, &str); 24] = [
        (&[], "ok"),
        (&[(3, b"host"), (7, &[0x16, 0x33]), (11, b"a"), (11, b""), (15, b"x=1"), (17, &[])], "ok"),
        (&[(11, &full)], "ok"),
        (&[(11, &long)], lengths),
        (&[(15, &long)], lengths),
        (&[(3, b"")], lengths),
        (&[(3, b"a"), (3, b"b")], lengths),
        (&[(17, &[0, 0, 0])], lengths),
        (&[(17, &[1]), (17, &[2])], lengths),
        (&[(27, &[0, 0, 0, 0])], lengths),
        (&[(23, &[0]), (23, &[0])], lengths),
        (&[(12, &[110])], "ok"),
        (&[(12, &[110]), (12, &[110])], format),
        (&[(12, &[1, 2, 3])], format),
        (&[(1, b"etag")], unknown),
        (&[(5, b"")], unknown),
        (&[(9, b"oscore")], unknown),
        (&[(19, &[0])], unknown),
        (&[(65_001, b"vendor")], unknown),
        (&[(65_000, b"vendor"), (65_000, b"again")], "ok"),
        (&[(35, b"coap://elsewhere")], "5.05 not a proxy"),
        (&[(39, b"coap")], "5.05 not a proxy"),
        (&many, "4.00 more than 64 options"),
        (&heavy, "4.00 more than 1024 bytes of options"),
    ];
    for (list, expected) in table {
        assert_eq!(outcome(0, POST, list), expected, "{list:?}");
        let as_non = if expected.starts_with("4.02") { "dropped" } else { expected };
        assert_eq!(outcome(1, POST, list), as_non, "NON {list:?}");
    }
    assert_eq!(outcome(0, 8, &[]), "4.05 unknown method");
}

#[test]
fn no_response_by_class() {
    let table = [(&[][..], ""), (&[2], "2"), (&[8], "4"), (&[16], "5"), (&[26], "245"), (&[24], "45")];
    for (value, suppressed) in table {
        let datagram = message(1, POST, &options(&[(number::NO_RESPONSE, value)]));
        let Checked::Request(envelope) = check(&datagram) else { panic!("{value:?} is refused") };
        let classes = [Code::CHANGED, Code::BAD_REQUEST, Code::SERVICE_UNAVAILABLE];
        let silent = classes.into_iter().filter(|code| envelope.no_response.suppresses(*code));
        assert_eq!(silent.map(|code| code.class().to_string()).collect::<String>(), suppressed);
    }
}

proptest! {
    /// Whatever passes the guard also decodes, with the same token and payload; nothing panics.
    #[test]
    fn random_datagrams(datagram in proptest::collection::vec(any::<u8>(), 0..200)) {
        agree(&datagram);
    }

    /// The same for bytes that look like requests.
    #[test]
    fn request_like_datagrams(
        kind in 0_u8..2,
        code in 1_u8..8,
        list in proptest::collection::btree_map(0_u16..300, proptest::collection::vec(any::<u8>(), 0..20), 0..6),
        payload in proptest::collection::vec(any::<u8>(), 0..20),
        mutation in proptest::option::of((0_usize..60, any::<u8>())),
    ) {
        let list: Vec<_> = list.iter().map(|(number, value)| (*number, value.as_slice())).collect();
        let marker: &[u8] = if payload.is_empty() { &[] } else { &[0xff] };
        let mut datagram = message(kind, code, &[&options(&list), marker, &payload].concat());
        if let Some((at, byte)) = mutation && let Some(target) = datagram.get_mut(at) {
            *target = byte;
        }
        agree(&datagram);
    }
}

fn agree(datagram: &[u8]) {
    let peer = ([127, 0, 0, 1], 1).into();
    if let Checked::Request(envelope) = check(datagram)
        && let Ok(decoded) = wire::decode(peer, &envelope, datagram)
    {
        let mut options = Options::new(datagram).unwrap();
        while options.next().unwrap().is_some() {}
        assert_eq!(decoded.request.payload, options.payload());
        let request = &decoded.request;
        assert!(request.fault.is_some() || !request.path.split('/').any(|segment| segment == ".."));
    }
    let _ = wire::decode_response(datagram);
}
