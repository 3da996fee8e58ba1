//! Intake as its callers see it: a source, a message, and the readings or the refusal.

mod documents;
mod packs;
mod properties;

use std::fmt::Write as _;

use bytes::Bytes;
use expect_test::{Expect, expect};

use super::*;
use crate::config::{
    FieldRule, Format, MissingTime, Pointer, Schema, SensorTemplate, TemplatePart, TimeRule, TimeUnit,
    TopicLevel, TopicPattern,
};
use crate::model::batch::TIME_IS_RECEIVED;
use crate::model::{Identity, Media, Protocol, Reading, Timestamp};

const RECEIVED: Timestamp = Timestamp::from_millis(1_767_225_700_000);

pub(super) fn pattern(text: &str) -> TopicPattern {
    let level = |level: &str| match level {
        "+" => TopicLevel::Any,
        "#" => TopicLevel::Rest,
        text => match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
            Some(name) => TopicLevel::Capture(name.into()),
            None => TopicLevel::Text(text.into()),
        },
    };
    TopicPattern { text: text.into(), levels: text.split('/').map(level).collect() }
}

fn pointer(text: &str) -> Pointer {
    let tokens = text.split('/').skip(1).map(Arc::from).collect();
    Pointer { text: text.into(), tokens }
}

/// `{x}` is a capture, `{/x}` a pointer.
fn template(text: &str) -> SensorTemplate {
    let part = |part: &str| match part.strip_suffix('}') {
        Some(hole) if hole.starts_with('/') => TemplatePart::Pointer(pointer(hole)),
        Some(hole) => TemplatePart::Capture(hole.into()),
        None => TemplatePart::Text(part.into()),
    };
    let parts = text.split_inclusive('}').flat_map(|piece| piece.split('{')).filter(|part| !part.is_empty());
    SensorTemplate { text: text.into(), parts: parts.map(part).collect() }
}

/// The fleet source of the contract, without schema and field table.
fn fleet() -> config::Source {
    config::Source {
        name: "fleet".into(),
        topic: pattern("fleet/{vehicle}/telemetry"),
        format: Format::Auto,
        sensor: None,
        time: TimeRule {
            at: Some(pointer("/ts")),
            unit: TimeUnit::Millis,
            missing: MissingTime::Received,
            min: Some(Timestamp::from_millis(1_577_836_800_000)),
        },
        schema: None,
        priority: Priority::Bulk,
        fields: None,
        dedup: None,
    }
}

fn with_schema(document: serde_json::Value) -> config::Source {
    let schema = Schema { name: "fleet-telemetry".into(), document: Arc::new(document) };
    config::Source { schema: Some(schema), ..fleet() }
}

fn with_fields(rules: &[(&str, &str, Option<&str>)]) -> config::Source {
    let rule = |(name, at, unit): &(&str, &str, Option<&str>)| FieldRule {
        name: (*name).into(),
        at: pointer(at),
        unit: unit.map(Arc::from),
    };
    config::Source { fields: Some(rules.iter().map(rule).collect()), ..fleet() }
}

fn inbound(topic: &str, media: Media, payload: impl AsRef<[u8]>) -> Inbound {
    Inbound {
        protocol: Protocol::Mqtt,
        principal: "anonymous".into(),
        topic: topic.into(),
        media,
        payload: Bytes::copy_from_slice(payload.as_ref()),
        received: RECEIVED,
        identity: Identity::Remember(7),
    }
}

fn telemetry(payload: impl AsRef<[u8]>) -> Inbound {
    inbound("fleet/v17/telemetry", Media::Unsaid, payload)
}

fn media(name: &str) -> Media {
    name.parse().map_or_else(|_| Media::Type(name.into()), Media::ContentFormat)
}

/// The readings a line each, or the refusal.
fn shown(result: Result<Admitted, Rejection>, out: BatchBuilder) -> String {
    let refusal = match result {
        Ok(admitted) => {
            assert_eq!(admitted.readings, out.len());
            return rows(out);
        }
        Err(refusal) => refusal,
    };
    assert!(out.is_empty() && out.batch().messages().is_empty(), "a refused message leaves nothing");
    let mut text = format!("{} {refusal}", refusal.reason);
    refusal.record.iter().for_each(|record| write!(text, " (record {record})").unwrap());
    refusal.line.iter().for_each(|line| write!(text, " (line {line})").unwrap());
    text
}

fn rows(out: BatchBuilder) -> String {
    let row = |reading: Reading<'_>| {
        let flag = if reading.row().flags == TIME_IS_RECEIVED { " received" } else { "" };
        let mut text = format!("{} {}{flag}", reading.sensor(), reading.time());
        for (name, cell) in reading.fields() {
            write!(text, " {name}={}", serde_json::to_string(&cell).unwrap()).unwrap();
        }
        text
    };
    out.finish().readings().map(row).collect::<Vec<_>>().join("\n")
}

fn check(source: config::Source, inbound: &Inbound, want: &Expect) {
    let intake = Intake::new(&[source]).unwrap_or_else(|error| panic!("{error}"));
    let mut out = BatchBuilder::default();
    let result = intake.admit(inbound, &mut out);
    want.assert_eq(&shown(result, out));
}

#[test]
fn a_time_can_be_required() {
    let source =
        || config::Source { time: TimeRule { missing: MissingTime::Refuse, ..fleet().time }, ..fleet() };
    let table = [
        (r#"{"x":1}"#, expect!["time /ts: the time is missing"]),
        (r#"{"ts":5,"x":1}"#, expect!["time /ts: 5 ms is before the earliest time taken, 1577836800000 ms"]),
        (r#"[{"n":"a","v":1}]"#, expect!["time /0: the time is missing (record 0)"]),
    ];
    for (payload, want) in table {
        check(source(), &telemetry(payload), &want);
    }
}

#[test]
fn media_types_pick_the_decoder() {
    use Format::{Auto, Cbor, Json, Ndjson, Senml};
    let object: &[u8] = br#"{"x":1}"#;
    let pack: &[u8] = br#"[{"n":"a","v":1}]"#;
    let map: &[u8] = b"\xa1\x61x\x01";
    let lines: &[u8] = b"{\"x\":1}\n{\"x\":2}\n";
    let table = [
        (Auto, "50", object, true),
        (Auto, "application/json", object, true),
        (Auto, "application/vnd.acme+json", object, true),
        (Auto, "application/cbor", map, true),
        (Auto, "60", map, true),
        (Auto, "application/x-ndjson", lines, true),
        (Auto, "application/senml+json", pack, true),
        (Auto, "text/plain", object, true),
        (Auto, "42", map, true),
        (Auto, "application/xml", object, false),
        (Auto, "111", pack, false),
        (Json, "application/x-www-form-urlencoded", object, true),
        (Json, "application/json", object, true),
        (Json, "application/cbor", map, false),
        (Json, "application/senml+json", pack, false),
        (Json, "110", pack, false),
        (Cbor, "application/octet-stream", map, true),
        (Cbor, "50", object, false),
        (Senml, "application/json", pack, true),
        (Senml, "0", pack, true),
        (Senml, "application/x-ndjson", lines, false),
        (Ndjson, "application/x-ndjson", lines, true),
        (Ndjson, "text/plain", lines, true),
        (Ndjson, "application/json", object, false),
    ];
    for (format, said, payload, want) in table {
        let intake = Intake::new(&[config::Source { format, ..fleet() }]).unwrap();
        let message = inbound("fleet/v17/telemetry", media(said), payload);
        let result = intake.admit(&message, &mut BatchBuilder::default());
        let reason = result.as_ref().err().map(|refusal| refusal.reason);
        assert_eq!(reason, (!want).then_some(Reason::UnsupportedFormat), "{format:?} {said}: {result:?}");
    }
}

#[test]
fn a_topic_without_a_source_is_unmatched() {
    let message = inbound("elsewhere", Media::Unsaid, "{}");
    let intake = Intake::new(&[fleet()]).unwrap();
    let refusal = intake.admit(&message, &mut BatchBuilder::default()).unwrap_err();
    assert_eq!((refusal.reason, refusal.source.as_deref()), (Reason::Unmatched, None));
    let letter = refusal.dead_letter(&message);
    assert_eq!((&*letter.source, &*letter.detail), ("", r#"no source takes the topic "elsewhere""#));
    assert_eq!(
        (letter.payload, letter.length_bytes, letter.identity),
        (message.payload, 2, Identity::Remember(7))
    );
    assert_eq!((intake.source_of("elsewhere"), intake.source_of("fleet/x/telemetry")), (None, Some(0)));
    assert_eq!((&**intake.name(0), intake.priority(0)), ("fleet", Priority::Bulk));
}

#[test]
fn a_backtest_has_lines_and_no_arrival() {
    let intake =
        Intake::new(&[config::Source { sensor: Some(template("{/id}")), ..fleet() }, fleet()]).unwrap();
    let table = [
        (0, "", r#"{"id":"a","ts":1767225600000,"x":1}"#, expect!["a 1767225600000 x=1"]),
        (
            0,
            "",
            r#"{"id":"a","x":1}"#,
            expect![
                "time /ts: the time is missing, and a backtest has no arrival time to take instead (line 17)"
            ],
        ),
        (
            1,
            "",
            r#"{"ts":1767225600000,"x":1}"#,
            expect![
                "field the sensor is named by the topic, and there is none (backtest takes --topic) (line 17)"
            ],
        ),
        (1, "fleet/v9/telemetry", r#"{"ts":1767225600000,"x":1}"#, expect!["v9 1767225600000 x=1"]),
        (
            1,
            "grid/v9",
            r#"{"ts":1767225600000,"x":1}"#,
            expect![[r#"unmatched "fleet/{vehicle}/telemetry" does not take the topic "grid/v9" (line 17)"#]],
        ),
        (
            0,
            "",
            r#"[{"n":"a","t":-1,"v":1}]"#,
            expect!["field the sensor is named by a member, and a SenML pack has none such (line 17)"],
        ),
        (
            1,
            "",
            r#"[{"n":"a","t":-1,"v":1}]"#,
            expect![
                "time /0: the time counts from its arrival, which a backtest does not know (record 0) (line 17)"
            ],
        ),
    ];
    for (source, topic, payload, want) in table {
        let mut out = BatchBuilder::default();
        let result = intake.admit_as(source, &inbound(topic, Media::Unsaid, payload), 17, &mut out);
        want.assert_eq(&shown(result, out));
    }
}

/// Which of these readings have the same record id as the first, under `by`.
fn copies_of_the_first(by: config::DedupBy, payloads: &[&str]) -> Vec<bool> {
    let dedup = Some(config::Dedup { by, within_s: 60 });
    let intake = Intake::new(&[config::Source { dedup, ..fleet() }]).unwrap();
    let mut out = BatchBuilder::default();
    for payload in payloads {
        intake.admit(&telemetry(payload), &mut out).unwrap();
    }
    let batch = out.finish();
    let ids: Vec<_> = (0..batch.len()).map(|row| batch.record_id(row)).collect();
    ids.iter().map(|id| id.is_some() && *id == ids[0]).collect()
}

#[test]
fn copies_are_told_by_content_or_by_the_devices_own_id() {
    let payloads = [
        r#"{"ts":1767225600000,"speed":5,"boot":"a","seq":1}"#,
        r#"{"seq":1,"boot":"a","ts":1767225600000,"speed":5}"#,
        r#"{"ts":1767225600000,"speed":5,"boot":"a","seq":1.0}"#,
        r#"{"ts":1767225600001,"speed":5,"boot":"a","seq":1}"#,
        r#"{"ts":1767225600000,"speed":6,"boot":"a","seq":1}"#,
        r#"{"ts":1767225600000,"speed":5,"boot":"a","seq":"1"}"#,
        r#"{"ts":1767225600000,"speed":5,"boot":"a"}"#,
    ];
    let pointers = vec![pointer("/boot"), pointer("/seq")];
    assert_eq!(
        copies_of_the_first(config::DedupBy::Record(pointers), &payloads),
        [true, true, true, true, true, false, false]
    );
    let by_content = copies_of_the_first(config::DedupBy::Content, &payloads);
    // The order of the members is the device's whim, and no difference.
    assert_eq!(by_content, [true, true, true, false, false, false, false]);
    let pack = r#"[{"bn":"v17/","bt":1767225600,"n":"speed","v":5},{"n":"rpm","v":2}]"#;
    assert_eq!(copies_of_the_first(config::DedupBy::Content, &[pack, pack]), [true, true]);
    assert_eq!(copies_of_the_first(config::DedupBy::Record(vec![pointer("/n")]), &[pack, pack]), [false; 2]);
}

#[test]
fn a_message_is_one_message_of_the_batch() {
    let intake = Intake::new(&[fleet()]).unwrap();
    let mut out = BatchBuilder::default();
    let good = telemetry(r#"[{"x":1},{"x":2}]"#);
    let bad = telemetry(r#"[{"x":1},{"y":2},{"ts":[]}]"#);
    assert_eq!(intake.admit(&good, &mut out), Ok(Admitted { source: 0, readings: 2 }));
    assert!(intake.admit(&bad, &mut out).is_err());
    assert_eq!(intake.admit(&good, &mut out), Ok(Admitted { source: 0, readings: 2 }));
    let messages: Vec<_> =
        out.finish().messages().iter().map(|message| (message.end, message.identity)).collect();
    assert_eq!(messages, [(2, Identity::Remember(7)), (4, Identity::Remember(7))]);
}
