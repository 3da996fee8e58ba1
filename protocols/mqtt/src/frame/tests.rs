//! Headers, extents and publish heads read from bytes, and what a client may not send.

use super::*;
use crate::topic::TopicFault;

const MAX: usize = 1000;

fn header(bytes: &[u8]) -> Header {
    Header::parse(bytes).unwrap().unwrap()
}

#[test]
fn fixed_headers() {
    let parsed =
        |bytes: &[u8]| Header::parse(bytes).map(|header| header.map(|h| (h.packet_type(), h.frame_bytes())));
    assert_eq!(parsed(&[]), Ok(None));
    assert_eq!(parsed(&[0x30]), Ok(None));
    assert_eq!(parsed(&[0x30, 0x80]), Ok(None));
    assert_eq!(parsed(&[0xc0, 0]), Ok(Some((12, 2))));
    assert_eq!(parsed(&[0x30, 0x7f]), Ok(Some((3, 129))));
    assert_eq!(parsed(&[0x30, 0x80, 0x01]), Ok(Some((3, 131))));
    assert_eq!(parsed(&[0x30, 0xff, 0xff, 0xff, 0x7f]), Ok(Some((3, 268_435_460))));
    assert_eq!(parsed(&[0x30, 0x80, 0x80, 0x80]), Ok(None));
    assert!(parsed(&[0x30, 0x80, 0x80, 0x80, 0x80]).is_err());
}

#[test]
fn what_a_client_may_send() {
    let label = |bytes: &[u8]| header(bytes).check_from_client(MAX).err().map(|error| error.label());
    for ok in [0x30, 0x3d, 0x40, 0x50, 0x62, 0x70, 0x82, 0xa2, 0xc0, 0xe0] {
        assert_eq!(label(&[ok, 0]), None, "{ok:#x}");
    }
    for (first, expected) in [
        (0x00, "forbidden_packet"), // reserved
        (0x10, "forbidden_packet"), // a second CONNECT
        (0x20, "forbidden_packet"), // CONNACK: rumqttd K5
        (0x90, "forbidden_packet"), // SUBACK
        (0xb0, "forbidden_packet"), // UNSUBACK: rumqttd K5
        (0xd0, "forbidden_packet"), // PINGRESP
        (0xf0, "forbidden_packet"), // AUTH
        (0x60, "malformed_packet"), // PUBREL without its flags
        (0x80, "malformed_packet"), // SUBSCRIBE without its flags
        (0xa3, "malformed_packet"),
        (0xc1, "malformed_packet"),
        (0xe2, "malformed_packet"),
    ] {
        assert_eq!(label(&[first, 0]), Some(expected), "{first:#x}");
    }
    assert_eq!(label(&[0x30, 0xe8, 0x07]), None, "1000 bytes");
    assert_eq!(label(&[0x30, 0xe9, 0x07]), Some("too_large"), "1001 bytes");
    assert_eq!(label(&[0x82, 0x81, 0x80, 0x01]), Some("too_large"), "16385 bytes of filters");
}

#[test]
fn extents() {
    let publish = [0x30, 3, 0, 1, b'a'].as_slice();
    let ping = [0xc0, 0].as_slice();
    let find = |parts: &[&[u8]], room| extent(&parts.concat(), MAX, room);
    let all = Room::Publishes;
    assert_eq!(find(&[], all), Extent { bytes: 0, end: ExtentEnd::Incomplete(0) });
    assert_eq!(find(&[publish, ping, &[0x30]], all), Extent { bytes: 7, end: ExtentEnd::Incomplete(0) });
    assert_eq!(find(&[publish, &publish[..4]], all), Extent { bytes: 5, end: ExtentEnd::Incomplete(5) });
    assert_eq!(find(&[ping, publish], Room::ControlOnly), Extent { bytes: 2, end: ExtentEnd::NoRoom });
    assert_eq!(find(&[ping, ping], Room::ControlOnly), Extent { bytes: 4, end: ExtentEnd::Incomplete(0) });
    let refused = ExtentEnd::Refused(ProtocolError::Forbidden { packet_type: 2 });
    assert_eq!(find(&[publish, &[0x20, 0]], all), Extent { bytes: 5, end: refused });
    let many = vec![publish; 300];
    assert_eq!(find(&many, all), Extent { bytes: 256 * 5, end: ExtentEnd::Full });
    let large = [&[0x30, 0xe8, 0x07, 0, 1, b'a'][..], &[0; 997]].concat();
    let bytes = BURST_BYTES_MAX / large.len() * large.len();
    assert_eq!(find(&vec![large.as_slice(); 100], all), Extent { bytes, end: ExtentEnd::Full });
    let huge = [&[0x30, 0x80, 0x80, 0x08, 0, 1, b'a'][..], &[0; 131_069]].concat();
    let found = extent(&[huge.as_slice(), &huge].concat(), usize::MAX, all);
    assert_eq!(found, Extent { bytes: huge.len(), end: ExtentEnd::Full }, "one larger frame is a burst");
}

#[test]
fn publish_heads() {
    let parse = |frame: &[u8], version| PublishHead::parse(frame, header(frame), version);
    let head = |qos, dup, retain, packet_id, topic, payload_at| {
        Ok(PublishHead { qos, dup, retain, packet_id, topic, payload_at })
    };
    use Qos::*;
    use Version::*;
    assert_eq!(parse(b"\x30\x04\0\x01ax", V311), head(AtMostOnce, false, false, 0, 4..5, 5));
    assert_eq!(parse(b"\x3b\x06\0\x01a\x01\x02x", V311), head(AtLeastOnce, true, true, 258, 4..5, 7));
    assert_eq!(parse(b"\x34\x05\0\x01a\0\x07", V311), head(ExactlyOnce, false, false, 7, 4..5, 7));
    assert_eq!(parse(b"\x32\x07\0\x01a\0\x07\0x", V5), head(AtLeastOnce, false, false, 7, 4..5, 8));
    assert_eq!(parse(b"\x30\x07\0\x01a\x02\x01\x01x", V5), head(AtMostOnce, false, false, 0, 4..5, 8));
    for (frame, version) in [
        (&b"\x30\x01\0"[..], V311),               // half a topic length
        (b"\x30\x03\0\x05a", V311),               // topic over the end
        (b"\x32\x04\0\x01a\0", V311),             // half a packet id
        (b"\x32\x05\0\x01a\0\0", V311),           // packet id 0
        (b"\x36\x05\0\x01a\0\x01", V311),         // QoS 3
        (b"\x38\x03\0\x01a", V311),               // DUP with QoS 0
        (b"\x30\x03\0\x01a", V5),                 // no property length
        (b"\x30\x05\0\x01a\x02\x01", V5),         // properties over the end
        (b"\x30\x07\0\x01a\xff\xff\xff\xff", V5), // no property length
    ] {
        let label = parse(frame, version).unwrap_err().label();
        assert_eq!(label, "malformed_packet", "{frame:?}");
    }
}

#[test]
fn evidence_of_what_arrived() {
    let check = |head: &[u8], version, topic: &[u8], payload: &[u8]| {
        let evidence = evidence(head, header(head), version);
        assert_eq!((&evidence.topic[..], &evidence.payload[..]), (topic, payload), "{head:?}");
        assert_eq!(evidence.announced_bytes, header(head).remaining_bytes);
    };
    check(b"\x30\xff\x7f\0\x03abcxyz", Version::V311, b"abc", b"xyz");
    check(b"\x32\xff\x7f\0\x03abc\0\x01xyz", Version::V311, b"abc", b"xyz");
    check(b"\x32\xff\x7f\0\x03abc\0\x01\x02\x01\x01xyz", Version::V5, b"abc", b"xyz");
    check(b"\x30\xff\x7f\0\x09abc", Version::V311, b"abc", b"");
    check(b"\x30\xff\x7f", Version::V5, b"", b"");
    let long = [&b"\x30\xff\x7f\0\x01a"[..], &[b'x'; 9000]].concat();
    check(&long, Version::V311, b"a", &[b'x'; Evidence::PAYLOAD_BYTES_MAX]);
    assert_eq!(crate::topic::check_name(b"\xff"), Err(TopicFault::NotUtf8 { at: 0 }));
}

#[test]
fn connect_heads() {
    let frame = |body: &[u8]| [&[0x10, body.len() as u8][..], body].concat();
    let parse = |body: &[u8]| {
        let frame = frame(body);
        ConnectHead::parse(&frame, header(&frame)).map(|head| head.version).map_err(|error| error.label())
    };
    assert_eq!(parse(b"\0\x04MQTT\x04\x02\0\0\0\0"), Ok(Version::V311));
    assert_eq!(parse(b"\0\x04MQTT\x05\x02\0\0\0\0\0"), Ok(Version::V5));
    assert_eq!(parse(b"\0\x06MQIsdp\x03\x02\0\0\0\0"), Err("version"));
    assert_eq!(parse(b"\0\x04MQTT\x06\x02\0\0\0\0"), Err("version"));
    assert_eq!(parse(b"\0\x04HTTP\x04\x02\0\0\0\0"), Err("malformed_packet"));
    assert_eq!(parse(b"\0\x04MQTT\x04\x03\0\0\0\0"), Err("malformed_packet"), "reserved flag");
    assert_eq!(parse(b"\0\x04MQTT\x04\x42\0\0\0\0"), Err("malformed_packet"), "password alone");
    assert_eq!(parse(b"\0\x04MQTT\x05\x42\0\0\0\0\0"), Ok(Version::V5), "password alone");
    assert_eq!(parse(b"\0\x04MQTT"), Err("malformed_packet"));
    assert_eq!(parse(b"\0\x40MQTT"), Err("malformed_packet"));
    assert_eq!(parse(b""), Err("malformed_packet"));
}
