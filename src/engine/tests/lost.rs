//! What a restart finds: sensors that fell silent are woken, also from states without a row of their own for that;
//! a store that is lost is computed anew from the journal.

use std::fs;
use std::path::Path;

use super::gateway::{Gateway, NEVER, in_system};
use super::{config, given};
use crate::engine::EngineSettings;
use crate::store::{StateKey, StateRow, Store};

const SETTINGS: EngineSettings = EngineSettings { partitions: 2, checkpoint_every: NEVER, idle_saves: 1 };

const ABSENT: &str = "[alert.gone]\non = \"plant\"\nabsent = \"4s\"\n";

/// Two sensors that are heard at one second of service, saved and asleep.
fn asleep(dir: &Path) {
    let config = config(ABSENT);
    in_system(async {
        let gateway = Gateway::start(dir, &config, SETTINGS).await;
        gateway.tick(1).await;
        gateway.send(&[given("a", 1, 1.0), given("b", 1, 1.0)]).await;
        gateway.drained().await;
        gateway.stop().await;
    });
}

/// The alerts that the clock fires after a restart under `text`.
fn woken(dir: &Path, text: &str, seconds: u64) -> Vec<String> {
    let config = config(text);
    in_system(async {
        let gateway = Gateway::start(dir, &config, SETTINGS).await;
        gateway.tick(2).await;
        gateway.tick(seconds).await;
        let rows = gateway.rows(2).await;
        gateway.stop().await;
        rows
    })
}

#[test]
fn sensors_that_fell_silent_are_woken_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    asleep(dir.path());
    assert_eq!(woken(dir.path(), ABSENT, 6), ["7: gone a firing", "7: gone b firing"]);
}

#[test]
fn an_edited_deadline_counts_for_sensors_that_sleep() {
    let dir = tempfile::tempdir().unwrap();
    asleep(dir.path());
    let sooner = ABSENT.replace("4s", "2s");
    assert_eq!(woken(dir.path(), &sooner, 4), ["7: gone a firing", "7: gone b firing"]);
}

#[test]
fn states_without_a_row_for_waking_are_asked_themselves() {
    let dir = tempfile::tempdir().unwrap();
    asleep(dir.path());
    {
        let store = Store::open(&dir.path().join("state")).unwrap();
        for (keying, name) in store.keys("main").unwrap() {
            let key = StateKey { lane: "main", keying, key: &name };
            let state = store.state(&key).unwrap().unwrap();
            store
                .put_states([StateRow { key, state: &state, due: b"from another program" }].into_iter())
                .unwrap();
        }
        store.flush().unwrap();
    }
    assert_eq!(woken(dir.path(), ABSENT, 6), ["7: gone a firing", "7: gone b firing"]);
}

#[test]
fn a_lost_store_is_computed_anew_and_nothing_goes_out_twice() {
    let text = r#"
[pipeline.own]
from = ["plant"]
window = { kind = "tumbling", size = "10ms" }
select = { n = "count()" }
"#;
    let (dir, config) = (tempfile::tempdir().unwrap(), config(text));
    let before = in_system(async {
        let gateway = Gateway::start(dir.path(), &config, SETTINGS).await;
        gateway.send(&[given("a", 1, 1.0), given("a", 12, 1.0), given("a", 13, 1.0)]).await;
        gateway.drained().await;
        let rows = gateway.rows(1).await;
        gateway.stop().await;
        rows
    });
    assert_eq!(before, ["2: own a [0, 10)#0 {\"n\":1}"]);
    fs::remove_dir_all(dir.path().join("state")).unwrap();
    let after = in_system(async {
        let gateway = Gateway::start(dir.path(), &config, SETTINGS).await;
        gateway.drained().await;
        gateway.send(&[given("a", 14, 1.0), given("a", 25, 1.0)]).await;
        gateway.drained().await;
        let rows = gateway.rows(2).await;
        gateway.stop().await;
        rows
    });
    assert_eq!(after, [before[0].as_str(), "7: own a [10, 20)#0 {\"n\":3}"], "the open window is whole");
}
