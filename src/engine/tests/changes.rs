//! What goes over a change of the text, and what does not: records of the time before, alerts, the past, rows that are
//! only partial.

use std::fs;
use std::sync::Arc;

use expect_test::expect;

use super::births::{before, check, flow, own_text, settings, text};
use super::gateway::{Gateway, copy, eventually, in_system, outputs, rows};
use super::{Given, config, given};
use crate::config::Config;
use crate::engine::steps::Step;
use crate::model::{Output, Timestamp};
use crate::store::{Found, StateKey, StateRow, Store};
use crate::telemetry::clock;

const MINUTE_MS: i64 = 60_000;

/// A birth that is told to stop goes on at the next start.
#[test]
fn an_orderly_stop_in_the_middle_of_a_birth_changes_nothing() {
    let texts = [text(60, ""), text(90, "")];
    let dir = before(&texts[0]);
    for (from, to) in [(40, 41), (41, 60), (60, 62)] {
        in_system(async {
            let gateway = Gateway::start(dir.path(), &texts[1], settings(2)).await;
            flow(&gateway, from, to).await;
            gateway.stop().await;
        });
    }
    in_system(async {
        let gateway = Gateway::start(dir.path(), &texts[1], settings(1)).await;
        flow(&gateway, 62, 90).await;
        check(gateway, &texts, "stopped").await;
    });
}

/// What a lane cannot read stops it, and whoever supervises the gateway is told; its input stays in the journal.
#[test]
fn a_lane_that_cannot_go_on_says_so() {
    let config = text(60, "");
    let dir = before(&config);
    {
        let store = Store::open(&dir.path().join("state")).unwrap();
        let key = StateKey { lane: "main", keying: 0, key: "z" };
        store.put_states([StateRow { key, state: &[99], due: b"" }].into_iter()).unwrap();
        store.flush().unwrap();
    }
    in_system(async {
        let gateway = Gateway::start(dir.path(), &config, settings(2)).await;
        let failed = gateway.failed().await;
        assert_eq!(failed, ["main: state of \"z\": state format 99, this program reads 1"]);
    });
}

/// The lane stands still in the middle of the second text; the third comes while it is down.
#[test]
fn records_of_the_time_before_are_computed_by_their_text() {
    let texts = [text(60, ""), text(90, ""), text(120, "")];
    let (first, image) = (before(&texts[0]), tempfile::tempdir().unwrap());
    in_system(async {
        let halt = Some((Step::Followed, 0));
        let mut gateway = Gateway::start_halting(first.path(), &texts[0], settings(2), halt).await;
        gateway.exchange(&texts[1]).await;
        gateway.halted().await;
        flow(&gateway, 40, 70).await;
        copy(first.path(), image.path());
    });
    in_system(async {
        let gateway = Gateway::start(image.path(), &texts[2], settings(1)).await;
        flow(&gateway, 70, 110).await;
        check(gateway, &texts, "the text between").await;
    });
}

/// Without a store everything is taken from the journal: nothing is put out twice, and windows are whole.
#[test]
fn a_lost_store_is_built_anew_from_the_journal() {
    let texts = [text(60, "")];
    let dir = before(&texts[0]);
    fs::remove_dir_all(dir.path().join("state")).unwrap();
    in_system(async {
        let gateway = Gateway::start(dir.path(), &texts[0], settings(2)).await;
        flow(&gateway, 40, 80).await;
        check(gateway, &texts, "without a store").await;
    });
}

/// The store goes back to before a change whose pipelines have joined or are about to, or is lost: everything is done
/// again from there, and what went out does not go out again.
#[test]
fn a_store_that_goes_back_puts_nothing_out_again() {
    let texts = [text(60, ""), text(90, "")];
    for halt in [None, Some((Step::Caught, 0)), Some((Step::Caught, 9))] {
        let (dir, image) = (before(&texts[0]), tempfile::tempdir().unwrap());
        in_system(async {
            let mut gateway = Gateway::start_halting(dir.path(), &texts[0], settings(2), halt).await;
            gateway.drained().await;
            gateway.store.dump().unwrap();
            let record = gateway.exchange(&texts[1]).await;
            flow(&gateway, 40, 43).await;
            match halt {
                Some(_) => gateway.halted().await,
                None => gateway.joined(record).await,
            }
            flow(&gateway, 43, 70).await;
            if halt.is_none() {
                gateway.drained().await;
            }
            copy(dir.path(), image.path());
        });
        for lost in [&["state"][..], &["state", "dumps"], &["state", "dumps", "state.manifest"]] {
            let dir = tempfile::tempdir().unwrap();
            copy(image.path(), dir.path());
            for lost in lost.iter().map(|lost| dir.path().join(lost)) {
                if lost.is_dir() { fs::remove_dir_all(lost) } else { fs::remove_file(lost) }.unwrap();
            }
            in_system(async {
                let gateway = Gateway::start(dir.path(), &texts[1], settings(1)).await;
                assert_ne!(gateway.store.found(), Found::Whole);
                flow(&gateway, 70, 100).await;
                check(gateway, &texts, &format!("{halt:?}, without {lost:?}")).await;
            });
        }
    }
}

fn watched(minutes: u32, threshold: u32) -> Arc<Config> {
    config(&format!(
        r#"
[pipeline.own]
from = ["plant"]
window = {{ kind = "tumbling", size = "{minutes}m" }}
select = {{ n = "count()" }}
[alert.many]
on = "own"
when = "n >= {threshold}"
"#
    ))
}

/// `count` readings of `sensor` in the hour that begins at `minutes`.
fn hour(sensor: &'static str, minutes: i64, count: i64) -> Vec<Given> {
    (0..count).map(|n| given(sensor, (minutes + n) * MINUTE_MS, 1.0)).collect()
}

/// Alerts keep their state where the pipeline they watch is changed, and judge nothing twice.
#[test]
fn an_episode_outlives_the_change_of_its_pipeline() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (watched(60, 3), watched(120, 3));
    let found = in_system(async {
        let mut gateway = Gateway::start(dir.path(), &old, settings(2)).await;
        for readings in [hour("a", 0, 3), hour("b", 0, 3), hour("a", 60, 4), hour("b", 60, 1)] {
            gateway.send(&readings).await;
        }
        // Both fire; `b` resolves under the old text.
        gateway.send(&hour("b", 130, 1)).await;
        gateway.drained().await;
        gateway.exchange(&new).await;
        for readings in [hour("a", 130, 1), hour("b", 150, 3), hour("a", 250, 1), hour("b", 250, 1)] {
            gateway.send(&readings).await;
        }
        gateway.rows(9).await;
        let results = gateway.journal.results.clone();
        gateway.stop().await;
        let lines = rows(&results).await;
        let episodes = outputs(&results).await.into_iter().filter_map(|(_, output)| match output {
            Output::Alert(row) => Some((row.key, row.episode)),
            _ => None,
        });
        let episodes: Vec<_> = episodes.collect();
        let of = |key: &str| {
            episodes.iter().filter(|(own, _)| **own == *key).map(|(_, id)| *id).collect::<Vec<_>>()
        };
        assert_eq!(
            of("a")[0],
            of("a")[1],
            "the episode that began under the old text ends under the new one"
        );
        assert_eq!(of("a").len(), 2);
        let b = of("b");
        assert!(b[0] == b[1] && b[1] != b[2], "{b:?}");
        lines
    });
    expect![[r#"
        7: own a [0, 3600000)#0 {"n":3}
        7: many a firing
        11: own b [0, 3600000)#0 {"n":3}
        11: many b firing
        12: own b [3600000, 7200000)#0 {"n":1}
        12: many b resolved
        14: own a [0, 7200000)#0 {"n":7}
        18: own a [7200000, 14400000)#0 {"n":1}
        18: many a resolved
        19: own b [7200000, 14400000)#0 {"n":4}
        19: many b firing
    "#]]
    .assert_eq(&(found.join("\n") + "\n"));
}

/// A pipeline with `start = "earliest"` puts out the past too; others of the same text do not.
#[test]
fn the_past_is_put_out_where_it_is_asked_for() {
    let past = r#"
[pipeline.past]
from = ["plant"]
start = "earliest"
window = { kind = "tumbling", size = "45m" }
select = { n = "count()" }
"#;
    let texts = [text(60, ""), text(90, past), text(90, &past.replace("earliest", "now"))];
    let dir = before(&texts[0]);
    in_system(async {
        let mut gateway = Gateway::start(dir.path(), &texts[0], settings(2)).await;
        flow(&gateway, 40, 55).await;
        gateway.exchange(&texts[1]).await;
        flow(&gateway, 55, 80).await;
        gateway.exchange(&texts[2]).await;
        flow(&gateway, 80, 100).await;
        check(gateway, &texts, "earliest").await;
    });
}

/// Where the journal does not reach back the span, what may lack readings says so.
#[test]
fn rows_that_may_lack_readings_are_partial() {
    let hours = |n: i64| -> Vec<Given> {
        let now_ms = clock::now().floor_millis().div_euclid(60 * MINUTE_MS) * 60 * MINUTE_MS;
        vec![given("a", now_ms + n * 60 * MINUTE_MS, 1.0)]
    };
    let texts = [text(60, ""), config(&own_text(&text(60, "")).replace("60m", "30m"))];
    let dir = tempfile::tempdir().unwrap();
    in_system(async {
        let gateway = Gateway::start(dir.path(), &texts[0], settings(2)).await;
        gateway.send(&hours(0)).await;
        gateway.stop().await;
        let gateway = Gateway::start(dir.path(), &texts[0], settings(2)).await;
        gateway.send(&hours(0)).await;
        gateway.stop().await;
        // The first segment is trimmed.
        let segments = std::fs::read_dir(dir.path().join("journal/readings")).unwrap();
        let mut segments: Vec<_> = segments.map(|entry| entry.unwrap().path()).collect();
        segments.sort();
        assert!(segments.len() > 1, "{segments:?}");
        std::fs::remove_file(&segments[0]).unwrap();
        let gateway = Gateway::start(dir.path(), &texts[1], settings(2)).await;
        for n in [2, 3, 4] {
            gateway.send(&hours(n)).await;
        }
        gateway.rows(9).await;
        let results = gateway.journal.results.clone();
        gateway.stop().await;
        let partial = outputs(&results).await.into_iter().filter_map(|(_, output)| match output {
            Output::Result(row) if *row.pipeline == *"own" => Some((row.start <= clock::now(), row.partial)),
            _ => None,
        });
        assert_eq!(partial.collect::<Vec<_>>(), [(true, true), (false, false), (false, false)]);
    });
}

/// A lane that no text names any more leaves nothing, and one of its name begins anew.
#[test]
fn a_lane_that_goes_leaves_nothing_behind() {
    let texts =
        [text(60, ""), config(&own_text(&text(60, "")).replace("select", "lane = \"other\"\nselect"))];
    let dir = before(&texts[0]);
    in_system(async {
        let mut gateway = Gateway::start(dir.path(), &texts[0], settings(2)).await;
        gateway.exchange(&texts[1]).await;
        eventually(async || (gateway.lanes() == ["other".into()]).then_some(())).await;
        flow(&gateway, 40, 70).await;
        gateway.exchange(&texts[0]).await;
        eventually(async || (gateway.lanes() == ["main".into()]).then_some(())).await;
        flow(&gateway, 70, 100).await;
        check(gateway, &texts, "there and back").await;
    });
    let store = in_system(async { eventually(async || Store::open(&dir.path().join("state")).ok()).await });
    assert_eq!(store.cursor_names("lane/").unwrap(), ["lane/main"]);
    assert_eq!(store.keys("other").unwrap(), []);
}

/// Arrivals a minute apart; a birth reads no further back than one span, and a lane that is new as far.
#[test]
fn a_birth_begins_one_span_before_its_record() {
    use crate::engine::plan::LanePlan;
    use crate::engine::{generations, span};
    use crate::journal::Work;
    use crate::model::Offset;

    let dir = tempfile::tempdir().unwrap();
    in_system(async {
        let gateway = Gateway::start(dir.path(), &text(60, ""), settings(1)).await;
        let now = clock::now();
        let first = gateway.journal.readings.durable();
        for minutes in (1..=100).rev() {
            let at = Timestamp::from_nanos(now.nanos() - minutes * MINUTE_MS * 1_000_000);
            let batch = super::arrived(at, &[given("a", 0, 1.0)]);
            gateway.journal.readings.append(Work::Readings(batch)).await.unwrap();
        }
        let config = config(
            r#"
[pipeline.p]
from = ["plant"]
window = { kind = "tumbling", size = "30m" }
watermark = { delay = "10m", lateness = "5m" }
select = { n = "count()" }
"#,
        );
        let (readings, lane) = (&gateway.journal.readings, Arc::from("main"));
        let beginning = generations::Beginning { oldest: Offset(0), now: readings.durable() };
        let members = generations::follow(&config, &lane, &[], beginning);
        let plan = LanePlan::of(&config, &lane, "journal", &members);
        let found = span::beginning(&plan, readings).await.unwrap();
        // 45 minutes before now: the reading of 45 minutes ago is a moment older, the margin takes it in.
        assert_eq!((found.position, found.partial_before_ms), (first.plus(55), Vec::new()));
        gateway.stop().await;
    });
}
