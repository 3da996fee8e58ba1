//! Points as text. InfluxDB 1.6 takes every one of these lines and gives back what went in.

use std::sync::Arc;

use bytes::Bytes;
use expect_test::{Expect, expect};

use super::*;
use crate::model::batch::NewReading;
use crate::model::{AlertState, BatchBuilder, Identity, Reason, ResultId, Row, Severity};

fn check(row: &Row, expected: Expect) {
    expected.assert_eq(&encode(row.view(), PointTime::Start).unwrap_or_else(|| "no point".into()));
}

fn output(output: Output) -> Row {
    Row::Output(Arc::new([output]), 0)
}

fn result(tags: &[(&str, Value)], values: &[(&str, Value)]) -> ResultRow {
    let own = |values: &[(&str, Value)]| values.iter().map(|(n, v)| (Arc::from(*n), v.clone())).collect();
    ResultRow {
        id: ResultId::EMPTY,
        pipeline: "p".into(),
        key: "s0001".into(),
        start: Timestamp::from_millis(1_000),
        end: Timestamp::from_millis(2_000),
        revision: 0,
        sequence: None,
        partial: false,
        tags: own(tags),
        values: own(values),
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn reading(fields: &[(&str, Cell<'_>)], tags: &[(&str, Cell<'_>)]) -> Row {
    let (time, received) = (Timestamp::from_nanos(-1_500_001), Timestamp::from_millis(9));
    let mut builder = BatchBuilder::default();
    builder.push(NewReading { source: "fleet", sensor: "v 17", time, received, flags: 0, fields, tags });
    builder.end_message(Identity::None);
    Row::Reading(Arc::new(builder.finish()), 0)
}

#[test]
fn numbers_are_floats_and_what_has_no_value_is_left_out() {
    let values = [
        ("int", Value::Number(7.0)),
        ("half", Value::Number(-0.5)),
        ("large", Value::Number(1e300)),
        ("nan", Value::Number(f64::NAN)),
        ("none", Value::Null),
        ("yes", Value::Bool(true)),
    ];
    let tags =
        [("site", text("north")), ("floor", Value::Number(2.0)), ("empty", text("")), ("n", Value::Null)];
    check(
        &output(Output::Result(result(&tags, &values))),
        expect![
            "p,key=s0001,floor=2,site=north half=-0.5,int=7.0,large=1e300,yes=true,revision=0.0 1000000000"
        ],
    );
}

#[test]
fn names_and_texts_are_escaped() {
    let tags = [
        ("a b", text("c,d=e f")),
        ("back\\", text("slash\\\\")),
        ("line", text("one\ntwo")),
        ("time", text("t")),
    ];
    let values = [("x,y z=", text("say \"hi\" \\ and\nmore")), ("time", Value::Number(1.0)), ("ü", text(""))];
    let mut row = result(&tags, &values);
    row.pipeline = "p, q=".into();
    row.key = "k=1,2 3".into();
    check(
        &output(Output::Result(row)),
        expect![[r#"
            p\,\ q=,key=k\=1\,2\ 3,a\ b=c\,d\=e\ f,back=slash,line=one\ two,time_=t time_=1.0,x\,y\ z\=="say \"hi\" \\ and
            more",ü="",revision=0.0 1000000000"#]],
    );
}

#[test]
fn an_empty_key_is_no_tag_and_a_tag_called_key_does_not_stand_twice() {
    let mut row = result(&[("key", text("other"))], &[]);
    check(&output(Output::Result(row.clone())), expect!["p,key=s0001 revision=0.0 1000000000"]);
    row.pipeline = "#1".into();
    check(&output(Output::Result(row.clone())), expect![[r"\#1,key=s0001 revision=0.0 1000000000"]]);
    row.pipeline = "p".into();
    row.key = "".into();
    row.revision = 2;
    row.sequence = Some(9);
    row.partial = true;
    check(
        &output(Output::Result(row.clone())),
        expect!["p revision=2.0,sequence=9.0,partial=true 1000000000"],
    );
    let at_end = encode(output(Output::Result(row)).view(), PointTime::End).unwrap();
    assert!(at_end.ends_with(" 2000000000"), "{at_end}");
}

#[test]
fn alerts_have_their_state_as_a_tag() {
    let row = AlertRow {
        id: ResultId::EMPTY,
        alert: "speeding".into(),
        key: "v17".into(),
        state: AlertState::Resolved,
        severity: Severity::Critical,
        time: Timestamp::from_millis(5),
        reason: Some("stale".into()),
        summary: "v17 is fast".into(),
        values: [("avg".into(), Value::Number(120.0))].into(),
        tags: [("customer".into(), text("acme"))].into(),
        episode: ResultId::EMPTY,
        offsets: [1, 2],
    };
    check(
        &output(Output::Alert(row)),
        expect![[
            r#"alert,alert=speeding,key=v17,state=resolved,severity=critical,customer=acme avg=120.0,summary="v17 is fast",episode="6c62272e07bb014262b821756295c58d",reason="stale" 5000000"#
        ]],
    );
}

#[test]
fn readings_late_rows_and_dead_letters_are_points_too() {
    check(
        &reading(&[("speed", Cell::Number(90.0)), ("gear", Cell::Text("N"))], &[("sensor", Cell::Text("x"))]),
        expect![[r#"fleet,sensor=v\ 17 speed=90.0,gear="N" -1500001"#]],
    );
    check(&reading(&[("speed", Cell::Null)], &[("site", Cell::Text("a"))]), expect!["no point"]);
    let (pipeline, key, time) = ("p".into(), "k".into(), Timestamp::from_millis(1));
    let values: Values = [("v".into(), Value::Number(1.0))].into();
    check(
        &output(Output::Late(Late { pipeline, key, time, values })),
        expect!["late,pipeline=p,key=k v=1.0 1000000"],
    );
    let letter = DeadLetter {
        source: "".into(),
        reason: Reason::Unmatched,
        detail: "no source takes it".into(),
        topic: "a/b".into(),
        principal: "anonymous".into(),
        received: Timestamp::from_millis(3),
        line: None,
        payload: Bytes::new(),
        length_bytes: 0,
        identity: Identity::None,
    };
    check(
        &Row::DeadLetter(Arc::new([letter]), 0),
        expect![[r#"dead_letter,reason=unmatched topic="a/b",detail="no source takes it" 3000000"#]],
    );
}
