//! What holds for every payload.

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Bytes, texts that look like JSON, and good payloads with one byte changed: the last get deepest.
fn payloads() -> impl Strategy<Value = Vec<u8>> {
    let good: [&[u8]; 4] = [
        br#"{"ts":1767225600000,"speed_kmh":1.5,"a":[1,{"b":"\u00e4"}]}"#,
        br#"[{"bn":"urn:dev:ow:10e2:","bt":1767225600,"n":"t","u":"Cel","v":1},{"n":"s","vs":"x","t":1}]"#,
        b"\x82\xa2\x62ts\x1b\x00\x00\x01\x9b\x76\xda\xa8\x00\x61x\xfb\x3f\xf0\x00\x00\x00\x00\x00\x00\xa1\x61y\x7f\x61a\xff",
        b"{\"x\":1}\n{\"x\":2}\r\n",
    ];
    let changed = (prop::sample::select(good.to_vec()), any::<prop::sample::Index>(), any::<u8>());
    let changed = changed.prop_map(|(payload, at, byte)| {
        let mut payload = payload.to_vec();
        let at = at.index(payload.len());
        payload[at] = byte;
        payload
    });
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..64),
        r#"[\[\]{}",:0-9a-z.eE+ \\n-]{0,40}"#.prop_map(String::into_bytes),
        changed,
    ]
}

proptest! {
    #[test]
    fn no_payload_panics_and_a_refused_one_leaves_nothing(
        payload in payloads(),
        format in prop::sample::select(vec![Format::Auto, Format::Senml, Format::Json, Format::Cbor, Format::Ndjson]),
    ) {
        let source = with_schema(json!({ "properties": { "x": { "maximum": 5, "type": "integer" } } }));
        let intake = Intake::new(&[config::Source { format, ..source }]).unwrap();
        let mut out = BatchBuilder::default();
        let before = intake.admit(&inbound("fleet/a/telemetry", media("50"), r#"{"x":1}"#), &mut out).is_ok();
        let (rows, messages) = (out.len(), out.batch().messages().len());
        match intake.admit(&telemetry(&payload), &mut out) {
            Ok(admitted) => prop_assert_eq!(out.len(), rows + admitted.readings),
            Err(refusal) => {
                prop_assert!(refusal.to_string().len() <= 2 * limits::DETAIL_BYTES_MAX + 2);
                prop_assert_eq!((out.len(), out.batch().messages().len()), (rows, messages));
            }
        }
        prop_assert!(before || matches!(format, Format::Cbor | Format::Senml | Format::Ndjson));
    }

    #[test]
    fn json_and_cbor_of_the_same_object_give_the_same_reading(
        values in prop::collection::btree_map("[a-s]{1,6}", any::<i32>(), 1..20),
    ) {
        let text = serde_json::to_vec(&values).unwrap();
        let mut cbor = minicbor::Encoder::new(Vec::new());
        cbor.map(values.len() as u64).unwrap();
        for (name, value) in &values {
            cbor.str(name).unwrap().i32(*value).unwrap();
        }
        let intake = Intake::new(&[fleet()]).unwrap();
        let admitted = [text, cbor.into_writer()].map(|payload| {
            let mut out = BatchBuilder::default();
            intake.admit(&telemetry(payload), &mut out).unwrap();
            rows(out)
        });
        prop_assert_eq!(&admitted[0], &admitted[1]);
    }
}
