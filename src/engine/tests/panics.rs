//! A sensor that panics costs the readings that made it do so, and nothing else.

use std::path::Path;
use std::sync::Arc;

use expect_test::{Expect, expect};

use super::gateway::{Gateway, NEVER, copy, in_system, letters, rows};
use super::{config, given, poison};
use crate::config::Config;
use crate::engine::EngineSettings;
use crate::model::DeadLetter;

const SETTINGS: EngineSettings = EngineSettings { partitions: 2, checkpoint_every: NEVER, idle_saves: 20 };

fn both_scopes() -> Arc<Config> {
    config(
        r#"
[pipeline.own]
from = ["plant"]
window = { kind = "tumbling", size = "10ms" }
select = { n = "count()", sum = "sum(x)" }
[pipeline.shared]
from = ["plant"]
window = { kind = "tumbling", size = "10ms" }
watermark = { scope = "source" }
select = { n = "count()" }
[pipeline.zones]
from = ["plant"]
key = ["zone"]
window = { kind = "tumbling", size = "10ms" }
select = { n = "count()" }
"#,
    )
}

fn check(lines: &[String], expect: &Expect) {
    expect.assert_eq(&(lines.join("\n") + "\n"));
}

fn shown(letter: &DeadLetter) -> String {
    let row: serde_json::Value = serde_json::from_slice(&letter.payload).unwrap();
    format!("{} {}: {} {} {}", letter.reason, letter.detail, row["sensor"], row["time"], row["fields"])
}

/// The checkpoint holds the first reading of `a`; the rest, with a poisoned batch in the middle, comes after it.
async fn poisoned(dir: &Path, config: &Arc<Config>) -> Gateway {
    let gateway = Gateway::start(dir, config, SETTINGS).await;
    gateway.send(&[given("a", 1, 1.0)]).await;
    gateway.stop().await;
    let gateway = Gateway::start(dir, config, SETTINGS).await;
    gateway.send(&[given("b", 1, 1.0), given("a", 2, 2.0)]).await;
    gateway.drained().await;
    gateway.send(&[given("a", 3, 4.0), poison("a", 4), given("b", 12, 1.0)]).await;
    gateway.send(&[given("a", 5, 8.0), given("a", 15, 16.0)]).await;
    gateway.drained().await;
    gateway
}

#[test]
fn readings_that_panic_are_set_aside_and_everything_else_counts() {
    let (dir, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = both_scopes();
    let (before, buried) = in_system(async {
        let gateway = poisoned(dir.path(), &config).await;
        let rows = gateway.rows(5).await;
        copy(dir.path(), image.path());
        let letters = letters(&gateway.journal.dead_letters).await;
        gateway.stop().await;
        (rows, letters.iter().map(shown).collect::<Vec<_>>())
    });
    // `a` and the zone it shares with `b` lose their readings of the batch; `b` on its own loses nothing.
    check(
        &buried,
        &expect![[r#"
        field made the sensor panic: lane main, key "a": "a" 3 {"x":4,"zone":"north"}
        field made the sensor panic: lane main, key "a": "a" 4 {"panic":true,"x":0,"zone":"north"}
        field made the sensor panic: lane main, key "north": "a" 3 {"x":4,"zone":"north"}
        field made the sensor panic: lane main, key "north": "a" 4 {"panic":true,"x":0,"zone":"north"}
        field made the sensor panic: lane main, key "north": "b" 12 {"x":1,"zone":"north"}
    "#]],
    );
    // What `b` made due in the poisoned batch fires for `a` too.
    check(
        &before,
        &expect![[r#"
            8: own b [0, 10)#0 {"n":1,"sum":1}
            8: shared a [0, 10)#0 {"n":2}
            8: shared b [0, 10)#0 {"n":1}
            10: own a [0, 10)#0 {"n":3,"sum":11}
            10: zones north [0, 10)#0 {"n":4}
        "#]],
    );
    // After a power cut nothing is known of the panic but what the journal says.
    let after = [image.path(), dir.path()].map(|dir| {
        in_system(async {
            let gateway = Gateway::start(dir, &config, SETTINGS).await;
            gateway.drained().await;
            assert_eq!(rows(&gateway.journal.results).await, before);
            gateway.send(&[given("a", 27, 0.0), given("b", 27, 0.0)]).await;
            let rows = gateway.rows(10).await;
            assert_eq!(letters(&gateway.journal.dead_letters).await.len(), buried.len());
            gateway.stop().await;
            rows
        })
    });
    check(
        &after[0][5..],
        &expect![[r#"
            15: own a [10, 20)#0 {"n":1,"sum":16}
            15: shared a [10, 20)#0 {"n":1}
            15: shared b [10, 20)#0 {"n":1}
            15: zones north [10, 20)#0 {"n":1}
            16: own b [10, 20)#0 {"n":1,"sum":1}
        "#]],
    );
    assert_eq!(after[0], after[1]);
}

#[test]
fn a_tick_that_panics_is_passed_over_until_the_next_reading() {
    let (dir, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = config("[alert.gone]\non = \"plant\"\nabsent = \"4s\"\n");
    let before = in_system(async {
        let gateway = Gateway::start(dir.path(), &config, SETTINGS).await;
        gateway.tick(1).await;
        gateway.send(&[given("fragile", 1, 1.0), given("solid", 1, 1.0)]).await;
        // Planted: `fragile` panics at the tick of five seconds.
        for seconds in 2..10 {
            gateway.tick(seconds).await;
        }
        gateway.send(&[given("fragile", 2, 1.0)]).await;
        gateway.tick(12).await;
        gateway.tick(13).await;
        let rows = gateway.rows(2).await;
        copy(dir.path(), image.path());
        assert!(letters(&gateway.journal.dead_letters).await.is_empty());
        gateway.stop().await;
        rows
    });
    check(
        &before,
        &expect![[r#"
            7: gone solid firing
            14: gone fragile firing
        "#]],
    );
    let after = [image.path(), dir.path()].map(|dir| {
        in_system(async {
            let gateway = Gateway::start(dir, &config, SETTINGS).await;
            gateway.drained().await;
            gateway.send(&[given("solid", 3, 1.0), given("fragile", 3, 1.0)]).await;
            let rows = gateway.rows(4).await;
            gateway.stop().await;
            rows
        })
    });
    assert_eq!(after[0][..2], before);
    check(
        &after[0][2..],
        &expect![[r#"
            17: gone solid resolved
            18: gone fragile resolved
        "#]],
    );
    assert_eq!(after[0], after[1]);
}
