//! Sensors that sleep: memory follows the active set, and nothing that is due is missed.

use std::time::Duration;

use expect_test::expect;

use super::gateway::{Gateway, eventually, in_system};
use super::{config, given};
use crate::engine::EngineSettings;

#[test]
fn a_sleeping_sensor_wakes_for_a_deadline_a_watermark_and_a_reading() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(
        r#"
[pipeline.own]
from = ["plant"]
window = { kind = "tumbling", size = "10ms" }
watermark = { idle = "3s" }
select = { n = "count()" }
[pipeline.shared]
from = ["plant"]
window = { kind = "tumbling", size = "10ms" }
watermark = { scope = "source" }
select = { n = "count()" }
[alert.gone]
on = "plant"
absent = "4s"
"#,
    );
    let settings =
        EngineSettings { partitions: 2, checkpoint_every: Duration::from_millis(3), idle_saves: 1 };
    let rows = in_system(async {
        let gateway = Gateway::start(dir.path(), &config, settings).await;
        let asleep = async || {
            eventually(async || {
                // Saves follow records, as in a gateway, whose clock never stops.
                gateway.tick(1).await;
                (gateway.metrics.lane("main").sensors_active.get() == 0).then_some(())
            })
            .await;
        };
        gateway.tick(1).await;
        gateway.send(&[given("a", 1, 1.0), given("b", 2, 1.0)]).await;
        asleep().await;
        // A reading wakes `b`; the watermark it moves wakes `a`.
        gateway.send(&[given("b", 3, 1.0), given("b", 15, 1.0)]).await;
        gateway.rows(3).await;
        asleep().await;
        gateway.tick(4).await;
        gateway.tick(5).await;
        let rows = gateway.rows(7).await;
        gateway.stop().await;
        rows
    });
    // How many ticks it took to fall asleep is not ours to say.
    let rows: Vec<&str> = rows.iter().map(|row| row.split_once(": ").unwrap().1).collect();
    expect![[r#"
        own b [0, 10)#0 {"n":2}
        shared a [0, 10)#0 {"n":1}
        shared b [0, 10)#0 {"n":2}
        own a [0, 10)#0 {"n":1}
        own b [10, 20)#0 {"n":1}
        gone a firing
        gone b firing
    "#]]
    .assert_eq(&(rows.join("\n") + "\n"));
}

/// The wheel once kept the end a sleeping sensor woke for, and then forgot the next one.
#[test]
fn a_sensor_that_woke_for_a_watermark_is_woken_for_its_next_window_too() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(
        r#"
[pipeline.shared]
from = ["plant"]
window = { kind = "tumbling", size = "10ms" }
watermark = { scope = "source", delay = "20ms" }
select = { n = "count()" }
"#,
    );
    let settings =
        EngineSettings { partitions: 1, checkpoint_every: Duration::from_secs(60), idle_saves: 20 };
    let rows = in_system(async {
        let gateway = Gateway::start(dir.path(), &config, settings).await;
        gateway.send(&[given("a", 1, 1.0), given("a", 25, 1.0)]).await;
        gateway.stop().await;
        // After the restart every sensor sleeps.
        let gateway = Gateway::start(dir.path(), &config, settings).await;
        for readings in [given("b", 35, 1.0), given("a", 26, 1.0), given("b", 51, 1.0)] {
            gateway.send(&[readings]).await;
            gateway.drained().await;
        }
        let rows = gateway.rows(2).await;
        gateway.stop().await;
        rows
    });
    assert_eq!(rows, ["5: shared a [0, 10)#0 {\"n\":1}", "7: shared a [20, 30)#0 {\"n\":2}"]);
}
