//! Two sides walked together.

use expect_test::{Expect, expect};
use serde_json::json;

use super::row::{Kind, Place};
use super::*;
use crate::cli::Style;

fn item(time_ms: i64, kind: Kind, values: serde_json::Value) -> Item {
    let time_ns = time_ms * 1_000_000;
    let (name, key) = ("mean".to_owned(), "v1".to_owned());
    let place = Place { time_ns, name, key, kind, start_ns: 0, sequence: None, revision: 0 };
    let says = json!({"severity": "info", "values": values});
    Item { place, says: says.as_object().unwrap().clone() }
}

fn result(time_ms: i64, mean: f64) -> Item {
    item(time_ms, Kind::Result, json!({"mean": mean, "n": 2}))
}

fn firing(time_ms: i64) -> Item {
    item(time_ms, Kind::Alert("firing".to_owned(), None), json!({"mean": 9}))
}

fn sorted(items: Vec<Item>) -> Sorted {
    let mut sorter = Sorter::default();
    items.into_iter().for_each(|item| sorter.push(item).unwrap());
    sorter.finish().unwrap()
}

fn check(before: Vec<Item>, after: Vec<Item>, style: Style, expected: Expect) {
    let mut out = Vec::new();
    let shown = |change: Change<'_>| show(&change, style, &mut out).map_err(Failure::Output);
    let counted = compare(sorted(before), sorted(after), shown).unwrap();
    counted.write(style, &mut out).unwrap();
    expected.assert_eq(&String::from_utf8(out).unwrap());
}

#[test]
fn rows_appear_vanish_change_or_stay() {
    let before = vec![result(3000, 1.0), result(1000, 1.0), firing(2000)];
    let after = vec![result(1000, 1.0), result(4000, 2.5), result(3000, 7.0)];
    check(
        before.clone(),
        after.clone(),
        Style::Text,
        expect![[r#"
            - 1970-01-01T00:00:02Z mean v1 firing mean=9
            ~ 1970-01-01T00:00:03Z mean v1 result mean 1.0 -> 7.0
            + 1970-01-01T00:00:04Z mean v1 result mean=2.5 n=2
            rows      1 appear, 1 vanish, 1 change, 1 stay
        "#]],
    );
    check(
        before,
        after,
        Style::Json,
        expect![[r#"
            {"before":{"severity":"info","values":{"mean":9}},"change":"-"}
            {"after":{"severity":"info","values":{"mean":7.0,"n":2}},"before":{"severity":"info","values":{"mean":1.0,"n":2}},"change":"~"}
            {"after":{"severity":"info","values":{"mean":2.5,"n":2}},"change":"+"}
            {"appear":1,"change":1,"stay":1,"vanish":1}
        "#]],
    );
}

#[test]
fn two_rows_of_one_place_are_paired_in_order() {
    let twice = vec![result(1000, 1.0), result(1000, 2.0)];
    check(
        twice.clone(),
        twice[..1].to_vec(),
        Style::Text,
        expect![[r#"
            - 1970-01-01T00:00:01Z mean v1 result mean=2.0 n=2
            rows      0 appear, 1 vanish, 0 change, 1 stay
        "#]],
    );
}
