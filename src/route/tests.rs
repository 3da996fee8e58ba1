//! Which rows go to which sinks.

use proptest::prelude::*;

use super::*;
use crate::model::{AlertRow, AlertState, Late, ResultId, ResultRow, Timestamp};

const ORIGINS: [AlertOrigin<'_>; 2] =
    [AlertOrigin { alert: "hot", on: "avg" }, AlertOrigin { alert: "silent", on: "fleet" }];

fn names(text: &str) -> Vec<Arc<str>> {
    text.split_whitespace().map(Arc::from).collect()
}

/// `of=alert from=p alert=a severity=critical to=x,y final`
fn route(text: &str) -> Route {
    let value = |key: &str| {
        let found = text.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        found.unwrap_or_default().replace(',', " ")
    };
    Route {
        of: match value("of").as_str() {
            "" => None,
            "reading" => Some(OutputKind::Reading),
            "result" => Some(OutputKind::Result),
            "alert" => Some(OutputKind::Alert),
            "late" => Some(OutputKind::Late),
            other => panic!("{other}"),
        },
        from: names(&value("from")),
        alert: names(&value("alert")),
        severity: value("severity").split_whitespace().map(|word| Severity::parse(word).unwrap()).collect(),
        to: names(&value("to")),
        is_final: text.split_whitespace().any(|word| word == "final"),
    }
}

fn routes(texts: &[&str]) -> Routes {
    Routes::new(&texts.iter().map(|text| route(text)).collect::<Vec<_>>(), &ORIGINS)
}

fn result(pipeline: &str) -> Output {
    Output::Result(ResultRow {
        id: ResultId::EMPTY,
        pipeline: pipeline.into(),
        key: "k".into(),
        start: Timestamp::default(),
        end: Timestamp::default(),
        revision: 0,
        sequence: None,
        partial: false,
        tags: Default::default(),
        values: Default::default(),
    })
}

fn late(pipeline: &str) -> Output {
    let (key, time, values) = ("k".into(), Timestamp::default(), Default::default());
    Output::Late(Late { pipeline: pipeline.into(), key, time, values })
}

fn alert(name: &str, severity: Severity) -> Output {
    Output::Alert(AlertRow {
        id: ResultId::EMPTY,
        alert: name.into(),
        key: "k".into(),
        state: AlertState::Firing,
        severity,
        time: Timestamp::default(),
        reason: None,
        summary: String::new(),
        values: Default::default(),
        tags: Default::default(),
        episode: ResultId::EMPTY,
        offsets: [0, 0],
    })
}

#[test]
fn every_match_applies_and_final_ends_the_search() {
    let hot = alert("hot", Severity::Critical);
    let silent = alert("silent", Severity::Warning);
    for (texts, row, expected) in [
        (&["to=a", "to=b"][..], &result("avg"), "a b"),
        (&["to=a", "to=a,b"], &result("avg"), "a b"),
        (&["to=a final", "to=b"], &result("avg"), "a"),
        (&["of=alert to=a final", "to=b"], &result("avg"), "b"),
        (&["to=a"], &late("avg"), ""),
        (&["of=late from=avg to=a"], &late("avg"), "a"),
        (&["from=avg to=a", "from=max to=b"], &result("avg"), "a"),
        (&["from=avg to=a", "from=fleet to=b"], &hot, "a"),
        (&["from=avg to=a", "from=fleet to=b"], &silent, "b"),
        (&["alert=hot to=a", "alert=silent to=b"], &silent, "b"),
        (&["alert=hot to=a"], &result("hot"), ""),
        (&["from=fleet alert=hot to=a"], &hot, ""),
        (&["severity=critical to=pager final", "of=alert to=log"], &hot, "pager"),
        (&["severity=critical to=pager final", "of=alert to=log"], &silent, "log"),
        (&["severity=info,warning to=a"], &silent, "a"),
        (&["severity=info to=a"], &result("avg"), ""),
        (&[], &hot, ""),
    ] {
        let routes = routes(texts);
        let targets: Vec<_> = routes.targets(RowView::Output(row)).into_iter().map(|t| &**t).collect();
        assert_eq!(targets.join(" "), expected, "{texts:?} {row:?}");
    }
}

#[test]
fn a_sink_reads_only_the_streams_it_may_want() {
    let wants = |texts: &[&str]| {
        let streams = routes(texts).wants("a").streams();
        streams.into_iter().map(StreamName::as_str).collect::<Vec<_>>().join(" ")
    };
    for (texts, expected) in [
        (&["to=a"][..], "results"),
        (&["of=reading to=a", "of=alert to=a"], "readings results"),
        (&["of=reading to=b", "of=late to=a"], "results"),
        (&["of=reading to=b final"], ""),
        (&["of=reading alert=hot to=a"], ""),
    ] {
        assert_eq!(wants(texts), expected, "{texts:?}");
    }
}

proptest! {
    #[test]
    fn a_sink_wants_exactly_what_is_routed_to_it(
        texts in prop::collection::vec(
            (prop::sample::select(vec!["", "of=alert", "of=result", "of=late"]),
             prop::sample::select(vec!["", "from=avg", "from=fleet", "alert=hot", "severity=critical"]),
             prop::sample::select(vec!["to=a", "to=b", "to=a,b", "to=c"]),
             prop::sample::select(vec!["", "final"])),
            0..6),
    ) {
        let texts: Vec<_> = texts.iter().map(|(of, by, to, last)| format!("{of} {by} {to} {last}")).collect();
        let routes = routes(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        let hot = [Severity::Info, Severity::Critical].map(|severity| alert("hot", severity));
        let rows = [result("avg"), result("max"), late("avg"), alert("silent", Severity::Critical)];
        for row in rows.iter().chain(&hot).map(RowView::Output) {
            for sink in ["a", "b", "c"] {
                let is_target = routes.targets(row).iter().any(|target| ***target == *sink);
                prop_assert_eq!(routes.wants(sink).wants(row), is_target);
            }
        }
    }
}
