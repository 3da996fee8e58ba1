//! Streams made by hand: whole, torn, damaged, with holes.

use std::fs;
use std::path::Path;

use expect_test::{Expect, expect};

use super::*;
use crate::journal::frame::Meta;

/// Milliseconds of arrival a record.
const STEP_MS: i64 = 1000;

/// A tick frame at `base` that knows everything below `durable` to be on disk.
fn tick(base: u64, durable: u64) -> Vec<u8> {
    let wall = Timestamp::from_millis(base as i64 * STEP_MS);
    let content = Content::Record(Arc::new(Record::Tick(Clock { wall, service_ns: base })));
    let mut plain = Vec::new();
    content.encode(&mut plain);
    let (base, durable) = (Offset(base), Offset(durable));
    let meta = Meta { kind: content.kind(), base, count: 1, times: [wall; 2], received: wall, durable };
    let mut bytes = Vec::new();
    frame::encode(&meta, &plain, &mut bytes);
    bytes
}

fn ticks(bases: std::ops::Range<u64>) -> Vec<u8> {
    bases.flat_map(|base| tick(base, base)).collect()
}

fn write(dir: &Path, base: u64, bytes: &[u8]) {
    fs::write(segment::path(dir, Offset(base)), bytes).unwrap();
}

fn show(past: &Past, from: u64) -> String {
    let mut pieces = past.pieces(Offset(from));
    let mut shown = format!("{}..{}, rest {}\n", past.oldest(), past.end(), past.rest().bytes);
    while let Some(piece) = pieces.read().unwrap() {
        shown += &match piece {
            Piece::Frame(frame) => {
                assert!(frame.content().is_some());
                format!("{} ", frame.header.base)
            }
            Piece::Head(_) => unreachable!("payloads are wanted"),
            Piece::Hole(Hole { bytes, from, to, why, .. }) => {
                format!("[{} {from}..{to} {}] ", why.as_str(), if bytes > 0 { "bytes" } else { "no bytes" })
            }
        };
    }
    shown.trim_end().to_owned() + "\n"
}

/// Segments 10 and 13, the second preallocated; `change` edits the second one's bytes.
fn check(extent: Extent, from: u64, change: impl FnOnce(&mut Vec<u8>), expected: Expect) {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 10, &ticks(10..13));
    let mut bytes = ticks(13..17);
    change(&mut bytes);
    bytes.resize(bytes.len() + 5000, 0);
    write(dir.path(), 13, &bytes);
    expected.assert_eq(&show(&Past::open(dir.path(), extent).unwrap(), from));
}

fn length() -> usize {
    tick(13, 13).len()
}

#[test]
fn beside_a_writer_the_highest_durable_mark_is_the_end() {
    check(
        Extent::Durable,
        0,
        |_| {},
        expect![[r#"
            10..16, rest 112
            10 11 12 13 14 15
        "#]],
    );
    check(
        Extent::Whole,
        12,
        |_| {},
        expect![[r#"
            10..17, rest 0
            12 13 14 15 16
        "#]],
    );
}

#[test]
fn bytes_that_no_durable_mark_covers_are_a_torn_tail() {
    let tear = |bytes: &mut Vec<u8>| bytes.truncate(4 * length() - 5);
    check(
        Extent::Whole,
        15,
        tear,
        expect![[r#"
            10..16, rest 107
            15
        "#]],
    );
    let flip_last = |bytes: &mut Vec<u8>| bytes[3 * length() + 70] ^= 1;
    check(
        Extent::Whole,
        15,
        flip_last,
        expect![[r#"
            10..16, rest 112
            15
        "#]],
    );
}

#[test]
fn damage_below_a_durable_mark_is_a_hole() {
    for place in [3, 40, 70] {
        let flip = |bytes: &mut Vec<u8>| bytes[length() + place] ^= 0x10;
        check(
            Extent::Durable,
            12,
            flip,
            expect![[r#"
                10..16, rest 112
                12 13 [damaged 14..15 bytes] 15
            "#]],
        );
    }
    let zero = |bytes: &mut Vec<u8>| bytes[length()..2 * length()].fill(0);
    check(
        Extent::Whole,
        12,
        zero,
        expect![[r#"
            10..17, rest 0
            12 13 [damaged 14..15 bytes] 15 16
        "#]],
    );
}

#[test]
fn holes_and_frames_out_of_order_are_told() {
    let skip =
        |bytes: &mut Vec<u8>| *bytes = [tick(13, 13), tick(15, 15), tick(14, 15), tick(16, 16)].concat();
    check(
        Extent::Whole,
        12,
        skip,
        expect![[r#"
            10..17, rest 0
            12 13 [missing 14..15 no bytes] 15 [disorder 16..16 bytes] 16
        "#]],
    );
}

#[test]
fn a_segment_ends_where_the_next_one_begins() {
    let dir = tempfile::tempdir().unwrap();
    // What a failed sync left behind in the first one, and one that recovery has not filled yet.
    write(dir.path(), 0, &ticks(0..5));
    write(dir.path(), 3, &[tick(3, 3), tick(4, 4)].concat());
    write(dir.path(), 7, &[0; 100]);
    let past = Past::open(dir.path(), Extent::Durable).unwrap();
    expect![[r#"
        0..7, rest 0
        0 1 2 3 4 [missing 5..7 no bytes]
    "#]]
    .assert_eq(&show(&past, 0));
    fs::remove_file(past.path(Offset(3))).unwrap();
    expect![[r#"
        0..7, rest 0
        1 2 [trimmed 3..7 no bytes]
    "#]]
    .assert_eq(&show(&past, 1));
}

#[test]
fn a_writer_that_starts_anew_meanwhile_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 0, &ticks(0..6));
    let past = Past::open(dir.path(), Extent::Whole).unwrap();
    // It moved the frames behind its durable mark into a new segment.
    write(dir.path(), 0, &ticks(0..4));
    write(dir.path(), 4, &ticks(4..9));
    expect![[r#"
        0..6, rest 0
        0 1 2 3 4 5
    "#]]
    .assert_eq(&show(&past, 0));
}

#[test]
fn places_are_found_by_arrival_and_ticks_before_them() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 10, &ticks(10..13));
    write(dir.path(), 13, &ticks(13..17));
    let past = Past::open(dir.path(), Extent::Whole).unwrap();
    for (ms, offset) in [(0, 10), (10_000, 10), (12_001, 13), (13_000, 13), (16_000, 16), (16_001, 17)] {
        assert_eq!(past.at_time(Timestamp::from_millis(ms)).unwrap(), Offset(offset), "{ms} ms");
    }
    for (offset, service_ns) in [(10, None), (11, Some(10)), (13, Some(12)), (14, Some(13)), (99, Some(16))] {
        let found = past.clock_before(Offset(offset)).unwrap().map(|clock| clock.service_ns);
        assert_eq!(found, service_ns, "before {offset}");
    }
    assert_eq!(past.arrival(Offset(12)).unwrap(), Some(Timestamp::from_millis(12_000)));
    assert_eq!(past.arrival(Offset(17)).unwrap(), None);
}

#[test]
fn an_empty_directory_is_an_empty_past() {
    let dir = tempfile::tempdir().unwrap();
    let past = Past::open(dir.path(), Extent::Durable).unwrap();
    assert_eq!(show(&past, 0), "0..0, rest 0\n");
    assert_eq!(past.at_time(Timestamp::default()).unwrap(), Offset(0));
}
