//! Messages are atomic, and merged batches read like their parts.

use super::*;

fn push(builder: &mut BatchBuilder, sensor: &str, fields: &[(&str, Cell<'_>)]) {
    builder.push(NewReading {
        source: "s",
        sensor,
        time: Timestamp::from_millis(1),
        received: Timestamp::from_millis(2),
        flags: 0,
        fields,
        tags: &[("site", Cell::Text("north"))],
    });
}

#[test]
fn a_merged_batch_reads_like_its_parts() {
    let mut parts = [BatchBuilder::default(), BatchBuilder::default()];
    push(&mut parts[0], "a", &[("t", Cell::Number(1.0))]);
    push(&mut parts[1], "b", &[("u", Cell::Text("x")), ("t", Cell::Null)]);
    push(&mut parts[1], "a", &[("t", Cell::Number(2.0))]);
    let show = |r: Reading<'_>| {
        format!("{} {} {:?} {:?}", r.sensor(), r.source(), r.fields().collect::<Vec<_>>(), r.tag("site"))
    };
    let mut whole = BatchBuilder::default();
    let mut expected = Vec::new();
    for part in parts {
        let part = part.finish();
        merge::Merge::new(&part).message(&mut whole, 0..part.len(), Identity::None);
        expected.extend(part.readings().map(show));
    }
    let whole = whole.finish();
    assert_eq!(whole.readings().map(show).collect::<Vec<_>>(), expected);
    assert_eq!(whole.messages().iter().map(|m| m.end).collect::<Vec<_>>(), [1, 3]);
}

#[test]
fn a_bad_message_leaves_no_trace() {
    let mut builder = BatchBuilder::default();
    push(&mut builder, "a", &[("t", Cell::Number(1.0))]);
    builder.end_message(Identity::None);
    let mark = builder.mark();
    push(&mut builder, "b", &[("t", Cell::Text("x")), ("u", Cell::Null)]);
    builder.rollback(mark);
    push(&mut builder, "a", &[("t", Cell::Number(2.0))]);
    builder.end_message(Identity::Remember(7));
    let batch = builder.finish();
    let rows: Vec<_> = batch.readings().map(|r| (r.sensor(), r.field("t"), r.tag("site"))).collect();
    let site = Cell::Text("north");
    assert_eq!(rows, [("a", Cell::Number(1.0), site), ("a", Cell::Number(2.0), site)]);
    assert_eq!(batch.messages().iter().map(|m| m.end).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(batch.rows()[0].shape, batch.rows()[1].shape);
}
