//! Properties of the codecs and of resolving, on generated packs and on noise.

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use senml::{ContentType, Limits, Pack, Record, Resolved, Value, cbor, json};
use std::borrow::Cow;

const NOW_NS: i64 = 1_700_000_000_000_000_000;

fn finite() -> impl Strategy<Value = f64> {
    let number = prop_oneof![
        any::<f64>(),
        any::<f32>().prop_map(f64::from),
        (any::<i16>(), 0..24).prop_map(|(number, power)| f64::from(number) / f64::from(1 << power)),
        any::<i64>().prop_map(|number| number as f64),
    ];
    number.prop_filter("finite", |number| number.is_finite())
}

fn text() -> impl Strategy<Value = Cow<'static, str>> {
    prop_oneof![".{0,12}", "[a-z\"\\\\\n]{0,8}"].prop_map(Cow::Owned)
}

fn value() -> impl Strategy<Value = Value<'static>> {
    prop_oneof![
        finite().prop_map(Value::Number),
        text().prop_map(Value::Text),
        any::<bool>().prop_map(Value::Bool),
        vec(any::<u8>(), 0..20).prop_map(|data| Value::Data(data.into())),
    ]
}

fn content_type() -> impl Strategy<Value = ContentType<'static>> {
    (text(), any::<bool>()).prop_map(|(text, required)| ContentType { text, required })
}

prop_compose! {
    /// Any record that decodes, valid names or not.
    fn record()(
        base in (of(text()), of(finite()), of(text()), of(finite()), of(finite())),
        version in of(1..=senml::VERSION),
        base_content_type in of(content_type()),
        (name, unit, time) in (of(text()), of(text()), of(finite())),
        value in value(),
        (sum, update_time) in (of(finite()), of(finite())),
        content_type in of(content_type()),
    ) -> Record<'static> {
        let (base_name, base_time, base_unit, base_value, base_sum) = base;
        Record {
            base_name, base_time, base_unit, base_value, base_sum, version, base_content_type,
            name, unit, time, value: Some(value), sum, update_time, content_type,
        }
    }
}

prop_compose! {
    /// A record that resolves, if it is not the first to lack a name.
    fn good_record()(
        base_name in of("[a-z][a-z0-9:/._-]{0,8}"),
        base_time in of(prop_oneof![-1e6..1e6_f64, 1e9..2e9_f64]),
        unit in of(prop::sample::select(senml::units::all())),
        base_value in of(-1e3..1e3_f64),
        base_sum in of(-1e3..1e3_f64),
        name in of("[a-z][a-z0-9:/._-]{0,8}"),
        time in of(-1e6..1e6_f64),
        value in value(),
        sum in of(-1e3..1e3_f64),
        update_time in of(0.0..1e6_f64),
        (content_type, base_content_type) in (of(content_type()), of(content_type())),
    ) -> Record<'static> {
        let unit = unit.map(|unit| Cow::Borrowed(unit.symbol));
        Record {
            base_name: base_name.map(Cow::Owned), base_time, base_value, base_sum, base_content_type,
            name: name.map(Cow::Owned), unit, time, value: Some(value), sum, update_time, content_type,
            ..Record::default()
        }
    }
}

fn good_pack() -> impl Strategy<Value = Pack<'static>> {
    vec(good_record(), 1..8).prop_map(|mut records| {
        records[0].base_name.get_or_insert(Cow::Borrowed("device:"));
        Pack { records }
    })
}

fn wide() -> Limits {
    Limits { bytes: usize::MAX, ..Limits::default() }
}

fn resolve(pack: Pack<'static>) -> Vec<Resolved<'static>> {
    pack.resolve(NOW_NS).expect("a good pack")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn json_decode_undoes_encode(records in vec(record(), 1..6)) {
        let pack = Pack { records };
        let text = json::encode(&pack).expect("finite");
        prop_assert_eq!(json::decode(&text, &wide()), Ok(pack));
        prop_assert!(serde_json::from_slice::<serde_json::Value>(&text).is_ok(), "others read it too");
    }

    #[test]
    fn cbor_decode_undoes_encode(records in vec(record(), 1..6)) {
        let pack = Pack { records };
        let bytes = cbor::encode(&pack).expect("finite");
        prop_assert_eq!(cbor::decode(&bytes, &wide()), Ok(pack));
    }

    #[test]
    fn json_and_cbor_resolve_to_the_same(pack in good_pack()) {
        let text = json::encode(&pack).expect("finite");
        let bytes = cbor::encode(&pack).expect("finite");
        let from_json = json::decode(&text, &wide()).and_then(|pack| pack.resolve(NOW_NS));
        let from_cbor = cbor::decode(&bytes, &wide()).and_then(|pack| pack.resolve(NOW_NS));
        prop_assert!(from_json.is_ok());
        prop_assert_eq!(from_json, from_cbor);
    }

    #[test]
    fn resolving_is_idempotent(pack in good_pack()) {
        let once = Pack::from_resolved(resolve(pack)).expect("now is absolute");
        let twice = Pack::from_resolved(resolve(once.clone())).expect("absolute");
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn resolved_records_are_in_order_and_keep_their_index(pack in good_pack()) {
        let count = pack.records.len();
        let resolved = resolve(pack);
        prop_assert!(resolved.is_sorted_by_key(|record| (record.time.ns, record.index)));
        let mut indexes: Vec<usize> = resolved.iter().map(|record| record.index).collect();
        indexes.sort_unstable();
        prop_assert_eq!(indexes, (0..count).collect::<Vec<_>>());
    }

    #[test]
    fn noise_never_panics(bytes in vec(any::<u8>(), 0..64)) {
        _ = json::decode(&bytes, &wide()).and_then(|pack| pack.resolve(NOW_NS));
        _ = cbor::decode(&bytes, &wide()).and_then(|pack| pack.resolve(NOW_NS));
    }

    #[test]
    fn a_damaged_pack_is_read_or_refused_and_a_stream_agrees(
        pack in good_pack(),
        at in any::<prop::sample::Index>(),
        byte: u8,
    ) {
        let mut text = json::encode(&pack).expect("finite");
        let position = at.index(text.len());
        text[position] = byte;
        let whole = json::decode(&text, &wide());
        let mut stream = json::Stream::new(wide());
        stream.feed(&text).expect("no limit");
        if let Ok(pack) = whole {
            for record in pack.records {
                prop_assert_eq!(stream.next_record(), Ok(Some(record)));
            }
        }

        let mut bytes = cbor::encode(&pack).expect("finite");
        let position = at.index(bytes.len());
        bytes[position] = byte;
        let whole = cbor::decode(&bytes, &wide());
        let mut stream = cbor::Stream::new(wide());
        stream.feed(&bytes).expect("no limit");
        if let Ok(pack) = whole {
            for record in pack.records {
                prop_assert_eq!(stream.next_record(), Ok(Some(record)));
            }
        }
    }

    #[test]
    fn a_cut_pack_is_refused(pack in good_pack(), at in any::<prop::sample::Index>()) {
        let text = json::encode(&pack).expect("finite");
        prop_assert!(json::decode(&text[..at.index(text.len())], &wide()).is_err());
        let bytes = cbor::encode(&pack).expect("finite");
        prop_assert!(cbor::decode(&bytes[..at.index(bytes.len())], &wide()).is_err());
    }
}

proptest! {
    // Every case goes through all pairs of units.
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn conversion_and_back(value in -1e6..1e6_f64) {
        for from in senml::units::all() {
            for to in senml::units::all() {
                let there = senml::units::convert(value, from, to);
                prop_assert_eq!(there.is_some(), from.root() == to.root());
                let Some(there) = there else { continue };
                let back = senml::units::convert(there, to, from).expect("both ways");
                let size = value.abs().max(1e3);
                prop_assert!((back - value).abs() <= size * 1e-9, "{value} {from} = {there} {to}, back {back}");
            }
        }
    }
}
