//! What each answer and refusal looks like on the wire, in both versions.

use expect_test::{Expect, expect};

use super::*;
use crate::frame::Header;

const V311: Rumqtt = Rumqtt { version: Version::V311 };
const V5: Rumqtt = Rumqtt { version: Version::V5 };

fn check(codec: Rumqtt, answer: Answer<'_>, expected: Expect) {
    let mut out = BytesMut::new();
    codec.encode(answer, &mut out);
    let header = Header::parse(&out).unwrap().unwrap();
    assert_eq!(header.frame_bytes(), out.len(), "the length written is the length announced");
    let hex: Vec<String> = out.iter().map(|byte| format!("{byte:02x}")).collect();
    expected.assert_eq(&hex.join(" "));
}

#[test]
fn acknowledgements() {
    let refusal = Refusal { code: RefusalCode::PayloadFormatInvalid, reason: "no".into() };
    let silent = Refusal { code: RefusalCode::NotAuthorized, reason: String::new() };
    let (packet_id, refusal, silent) = (258, Some(&refusal), Some(&silent));
    check(V311, Answer::PubAck { packet_id, refusal: None }, expect!["40 02 01 02"]);
    check(V311, Answer::PubAck { packet_id, refusal }, expect!["40 02 01 02"]);
    check(V311, Answer::PubRec { packet_id, refusal }, expect!["50 02 01 02"]);
    check(V311, Answer::PubComp { packet_id }, expect!["70 02 01 02"]);
    check(V311, Answer::PubCompUnknown { packet_id }, expect!["70 02 01 02"]);
    check(V5, Answer::PubAck { packet_id, refusal: None }, expect!["40 02 01 02"]);
    check(V5, Answer::PubAck { packet_id, refusal }, expect!["40 09 01 02 99 05 1f 00 02 6e 6f"]);
    check(V5, Answer::PubAck { packet_id, refusal: silent }, expect!["40 04 01 02 87 00"]);
    check(V5, Answer::PubRec { packet_id, refusal: None }, expect!["50 02 01 02"]);
    check(V5, Answer::PubRec { packet_id, refusal }, expect!["50 09 01 02 99 05 1f 00 02 6e 6f"]);
    check(V5, Answer::PubComp { packet_id }, expect!["70 02 01 02"]);
    check(V5, Answer::PubCompUnknown { packet_id }, expect!["70 04 01 02 92 00"]);
}

#[test]
fn other_answers() {
    let welcome = Welcome {
        assigned_client_id: Some("auto".into()),
        receive_maximum: 1024,
        packet_bytes_max: 65536,
        session_expiry_declined: true,
    };
    check(V311, Answer::Welcome(&welcome), expect!["20 02 00 00"]);
    check(
        V5,
        Answer::Welcome(&welcome),
        expect![
            "20 20 00 00 1d 11 00 00 00 00 21 04 00 27 00 01 00 00 12 00 04 61 75 74 6f 22 00 00 28 00 29 00 2a 00"
        ],
    );
    check(V311, Answer::Refused(ConnectRefusal::BadCredentials), expect!["20 02 00 04"]);
    check(V5, Answer::Refused(ConnectRefusal::BadCredentials), expect!["20 03 00 86 00"]);
    check(V311, Answer::SubAck { packet_id: 1, filters: 2 }, expect!["90 04 00 01 80 80"]);
    check(V5, Answer::SubAck { packet_id: 1, filters: 2 }, expect!["90 05 00 01 00 83 83"]);
    check(V311, Answer::UnsubAck { packet_id: 1, filters: 2 }, expect!["b0 02 00 01"]);
    check(V5, Answer::UnsubAck { packet_id: 1, filters: 2 }, expect!["b0 05 00 01 00 11 11"]);
    check(V5, Answer::Pong, expect!["d0 00"]);
    check(V5, Answer::Disconnect(DisconnectCode::QuotaExceeded, ""), expect!["e0 02 97 00"]);
    check(V5, Answer::Disconnect(DisconnectCode::QuotaExceeded, "x"), expect!["e0 06 97 04 1f 00 01 78"]);
}

#[test]
fn every_refusal_has_a_code() {
    use ConnectRefusal as R;
    let table = [
        (R::UnsupportedVersion, 1, 0x84),
        (R::ClientIdInvalid, 2, 0x85),
        (R::BadCredentials, 4, 0x86),
        (R::NotAuthorized, 5, 0x87),
        (R::Unavailable, 3, 0x88),
        (R::Busy, 3, 0x89),
        (R::Banned, 5, 0x8a),
        (R::BadAuthenticationMethod, 5, 0x8c),
        (R::QuotaExceeded, 3, 0x97),
        (R::RateExceeded, 3, 0x9f),
        (R::WillTopicInvalid, 3, 0x90),
        (R::TooLarge, 3, 0x95),
        (R::Malformed, 3, 0x81),
    ];
    for (refusal, v311, v5) in table {
        for (codec, code) in [(V311, v311), (V5, v5)] {
            let mut out = BytesMut::new();
            codec.encode(Answer::Refused(refusal), &mut out);
            assert_eq!(out[3], code, "{refusal:?}");
        }
    }
}

#[test]
fn reason_strings_are_cut_at_a_character() {
    let reason = format!("{}öö", "x".repeat(REASON_BYTES_MAX - 1));
    assert_eq!(cut(&reason).len(), REASON_BYTES_MAX - 1);
}

#[test]
fn control_packets() {
    let decode = |codec: Rumqtt, frame: &[u8]| {
        let header = Header::parse(frame).unwrap().unwrap();
        assert_eq!(header.frame_bytes(), frame.len());
        codec.decode_control(header, BytesMut::from(frame)).map_err(|error| error.label())
    };
    let bad = Err("malformed_packet");
    for codec in [V311, V5] {
        assert_eq!(decode(codec, b"\xc0\0"), Ok(Control::Ping));
        assert_eq!(decode(codec, b"\xc0\x01x"), bad);
        assert_eq!(decode(codec, b"\xe0\0"), Ok(Control::Disconnect));
        assert_eq!(decode(codec, b"\x62\x02\0\x07"), Ok(Control::Release(7)));
        assert_eq!(decode(codec, b"\x62\x02\0\0"), bad);
        assert_eq!(decode(codec, b"\x62\x01\0"), bad);
        assert_eq!(decode(codec, b"\x40\x02\0\x07"), Ok(Control::Ignored));
        assert_eq!(decode(codec, b"\x82\x00"), bad);
    }
    assert_eq!(decode(V311, b"\xe0\x01\0"), bad);
    assert_eq!(decode(V5, b"\xe0\x01\0"), Ok(Control::Disconnect));
    assert_eq!(decode(V5, b"\xe0\x01\x04"), Ok(Control::DisconnectWithWill));
    assert_eq!(decode(V5, b"\xe0\x02\x04\0"), Ok(Control::DisconnectWithWill));
    assert_eq!(decode(V5, b"\x62\x03\0\x07\0"), Ok(Control::Release(7)));
    let subscribe = Ok(Control::Subscribe { packet_id: 1, filters: 1 });
    assert_eq!(decode(V311, b"\x82\x06\0\x01\0\x01#\0"), subscribe);
    assert_eq!(decode(V5, b"\x82\x07\0\x01\0\0\x01#\0"), subscribe);
    assert_eq!(decode(V311, b"\x82\x06\0\0\0\x01#\0"), bad);
    assert_eq!(decode(V311, b"\x82\x06\0\x01\0\x09#\0"), bad);
    let unsubscribe = Ok(Control::Unsubscribe { packet_id: 1, filters: 1 });
    assert_eq!(decode(V311, b"\xa2\x05\0\x01\0\x01#"), unsubscribe);
    assert_eq!(decode(V5, b"\xa2\x06\0\x01\0\0\x01#"), unsubscribe);
    assert_eq!(decode(V5, b"\xa2\x03\0\x01\0"), bad, "no filter");
}

/// The one panic that fuzzing found in rumqttd's decoder: it ends a connection, not the process.
#[test]
fn a_panic_of_the_decoder_is_an_error() {
    let error = V5.read(2, BytesMut::from(&b"\x20\x03\0\0\0"[..])).unwrap_err();
    assert_eq!(error, ProtocolError::Decoder { packet_type: 2 });
}
