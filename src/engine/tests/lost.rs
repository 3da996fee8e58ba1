//! What a restart finds: sensors that fell silent are woken, also from states without a row of their own for that;
//! a store that is lost is computed anew from the journal, also one that is found damaged while lanes run.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::births::{check, flow, text};
use super::gateway::{Gateway, NEVER, in_system};
use super::{config, given};
use crate::engine::EngineSettings;
use crate::store::memory::MemoryDisk;
use crate::store::{Found, Home, Manifest, Setup, StateKey, StateRow, Store};
use crate::telemetry::Metrics;

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

/// A store on `disk`.
fn in_memory(disk: &MemoryDisk, dir: &Path) -> Arc<Store> {
    let setup = Setup { dir: dir.join("state"), journal: "j".into(), metrics: Arc::new(Metrics::new()) };
    let manifest = Manifest::read(&setup.dir).unwrap();
    let home = Home::on(Arc::new(disk.clone()), setup, Duration::from_secs(5));
    Arc::new(Store::over(home, manifest).unwrap())
}

/// Changes every row, so that whatever is read next is damaged.
fn damage_all(disk: &MemoryDisk) {
    for row in 0..disk.rows() {
        disk.damage(row, |value| value.as_mut().unwrap()[0] ^= 0x40);
    }
}

/// A sensor that sleeps cannot be woken, in the middle of everything: lanes end, intake goes on, and on the mended
/// store they do again what the dump, or nothing at all, does not know.
#[test]
fn lanes_go_on_after_damage_that_is_found_while_they_run() {
    for (partitions, has_dump) in [(1, true), (2, true), (2, false)] {
        let (dir, disk, texts) = (tempfile::tempdir().unwrap(), MemoryDisk::default(), [text(60, "")]);
        let on = |dir: &Path| in_memory(&disk, dir);
        let settings = EngineSettings { partitions, checkpoint_every: NEVER, idle_saves: 1 };
        in_system(async {
            let gateway = Gateway::start_on(on(dir.path()), (dir.path(), &texts[0]), settings, None).await;
            flow(&gateway, 0, 20).await;
            gateway.drained().await;
            if has_dump {
                gateway.store.dump().unwrap();
            }
            flow(&gateway, 20, 40).await;
            gateway.drained().await;
            gateway.stop().await;
        });
        in_system(async {
            let gateway = Gateway::start_on(on(dir.path()), (dir.path(), &texts[0]), settings, None).await;
            damage_all(&disk);
            flow(&gateway, 40, 50).await;
            gateway.store.damaged().await;
            flow(&gateway, 50, 60).await;
            let gateway = gateway.mended(&texts[0]).await;
            assert_eq!(gateway.store.found(), Found::Restored);
            flow(&gateway, 60, 80).await;
            check(gateway, &texts, &format!("{partitions} partitions, dump {has_dump}")).await;
        });
        assert_eq!(disk.times_set_aside(), 1);
    }
}

/// Wherever lanes are when they are ended, busy, saving, with outputs on their way to the journal, and again and
/// again, also with a birth under way.
#[test]
fn lanes_may_be_ended_anywhere_and_often() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), MemoryDisk::default());
    let texts = [text(60, ""), text(90, ""), text(30, "")];
    let settings =
        EngineSettings { partitions: 2, checkpoint_every: Duration::from_millis(2), idle_saves: 1 };
    in_system(async {
        let store = in_memory(&disk, dir.path());
        let mut gateway = Gateway::start_on(store, (dir.path(), &texts[0]), settings, None).await;
        let mut next = 0;
        for (round, pause_ms) in [0, 3, 0, 1, 7, 0, 2, 4, 0].into_iter().enumerate() {
            let text = &texts[round / 3];
            if round > 0 && round % 3 == 0 {
                gateway.exchange(text).await;
            }
            flow(&gateway, next, next + 30).await;
            next += 30;
            if round % 2 == 1 {
                gateway.store.dump().unwrap();
            }
            flow(&gateway, next, next + 9).await;
            next += 9;
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            damage_all(&disk);
            // Whoever reads next finds it.
            let _ = gateway.store.cursor("lane/main");
            gateway.store.damaged().await;
            gateway = gateway.mended(text).await;
        }
        flow(&gateway, next, next + 20).await;
        check(gateway, &texts, "ended nine times").await;
    });
    assert_eq!(disk.times_set_aside(), 9);
}
