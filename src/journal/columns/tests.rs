//! Properties of the column codec.

use proptest::prelude::*;

use super::*;
use crate::model::Cell;
use crate::model::batch::{BatchBuilder, NewReading, RecordId};

type Field = (String, Option<Result<f64, String>>);

fn field() -> impl Strategy<Value = Field> {
    let number = prop_oneof![
        any::<f64>().prop_filter("finite", |value| value.is_finite()),
        (-100_000i64..100_000).prop_map(|n| n as f64 / 10.0)
    ];
    let value = prop_oneof![number.prop_map(Ok), "[a-zé]{0,4}".prop_map(Err)];
    ("[a-c]", prop::option::weighted(0.9, value))
}

fn build(rows: &[(String, i64, Vec<Field>, bool)]) -> Batch {
    let mut builder = BatchBuilder::default();
    for (sensor, time, fields, tagged) in rows {
        let mut fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), cell(value))).collect();
        fields.sort_by_key(|(name, _)| *name);
        fields.dedup_by_key(|(name, _)| *name);
        let tags: &[_] =
            if *tagged { &[("site", Cell::Text("n")), ("floor", Cell::Number(2.0))] } else { &[] };
        builder.push(NewReading {
            source: "s",
            sensor,
            time: Timestamp::from_nanos(*time),
            received: Timestamp::from_millis(time / 1_000_000_000),
            flags: u8::from(*tagged),
            fields: &fields,
            tags,
        });
        if *tagged {
            builder.identify(RecordId::new(*time as u64, 0));
        }
        builder.end_message(if *tagged { Identity::Remember(*time as u64) } else { Identity::None });
    }
    builder.finish()
}

fn cell(value: &Option<Result<f64, String>>) -> Cell<'_> {
    match value {
        None => Cell::Null,
        Some(Ok(number)) => Cell::Number(*number),
        Some(Err(text)) => Cell::Text(text),
    }
}

fn show(batch: &Batch) -> Vec<String> {
    let row = |r: crate::model::Reading<'_>| {
        let fields: Vec<_> = r.fields().collect();
        let tags: Vec<_> = r.tags().collect();
        format!(
            "{} {} {:?} {} {} {fields:?} {tags:?}",
            r.offset(),
            r.sensor(),
            r.row().flags,
            r.time(),
            r.received()
        )
    };
    batch.readings().map(row).collect()
}

proptest! {
    #[test]
    fn decode_undoes_encode(
        rows in prop::collection::vec(
            ("[a-d]{1,2}", -1i64 << 60..1 << 60, prop::collection::vec(field(), 0..4), any::<bool>()), 0..40),
    ) {
        let mut batch = build(&rows);
        batch.base = Offset(77);
        let mut bytes = Vec::new();
        encode(&batch, &mut bytes);
        let back = decode(&bytes, Offset(77)).expect("own bytes decode");
        prop_assert_eq!(show(&back), show(&batch));
        prop_assert_eq!(&back.messages, &batch.messages);
        prop_assert_eq!(&back.record_ids, &batch.record_ids);
    }

    #[test]
    fn any_prefix_is_refused_and_any_damage_does_not_panic(cut in 0usize..400, at in 0usize..400, flip in 1u8..) {
        let rows: Vec<_> = (0..9).map(|n| (format!("s{n}"), n, vec![("t".into(), Some(Ok(n as f64 / 10.0)))], n % 2 == 0)).collect();
        let mut bytes = Vec::new();
        encode(&build(&rows), &mut bytes);
        let cut = cut % bytes.len();
        prop_assert!(decode(&bytes[..cut], Offset(0)).is_err());
        let at = at % bytes.len();
        bytes[at] ^= flip;
        let _ = decode(&bytes, Offset(0));
    }
}

#[test]
fn a_decimal_takes_little_room() {
    let rows: Vec<_> = (0..1000)
        .map(|n| {
            (
                format!("s{}", n % 50),
                n * 1_000_000_000,
                vec![("t".to_owned(), Some(Ok(20.0 + (n % 30) as f64 / 10.0)))],
                false,
            )
        })
        .collect();
    let mut bytes = Vec::new();
    encode(&build(&rows), &mut bytes);
    assert!(bytes.len() < 11 * rows.len(), "{} bytes for {} readings", bytes.len(), rows.len());
}
