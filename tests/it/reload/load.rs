//! Reloads while sensors publish without a pause: nothing acknowledged is lost, no row comes twice.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;

use super::{EXTRA, LOAD, PER_WINDOW, publish};
use crate::harness::mqtt::{Device, Version};
use crate::harness::rows::assert_ids_unique;
use crate::harness::{Site, eventually};

const SENSORS: usize = 3;

/// Runs `work` while every sensor publishes; yields how many messages each was acknowledged.
fn under_load(site: &Site, from: [usize; SENSORS], work: impl FnOnce(&dyn Fn(usize))) -> [usize; SENSORS] {
    let (stop, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    let addr = site.addr("mqtt");
    thread::scope(|scope| {
        let publishers = [0, 1, 2].map(|sensor| {
            let (stop, sent) = (&stop, &sent);
            scope.spawn(move || {
                let mut device = Device::connect(addr, Version::V5, &format!("s{sensor}-{}", from[sensor]));
                let mut seq = from[sensor];
                while !stop.load(Ordering::Relaxed) {
                    publish(&mut device, sensor, seq);
                    seq += 1;
                    sent.fetch_add(1, Ordering::Relaxed);
                }
                seq
            })
        });
        // Ends the publishers also if `work` panics.
        let ends = Ends(&stop);
        let more = |count: usize| {
            let until = sent.load(Ordering::Relaxed) + count;
            eventually("more is sent", || (sent.load(Ordering::Relaxed) >= until).then_some(()));
        };
        more(2 * PER_WINDOW);
        work(&more);
        more(2 * PER_WINDOW);
        drop(ends);
        publishers.map(|publisher| publisher.join().unwrap())
    })
}

struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Everything acknowledged is there once, and every window holds all of its readings once.
fn reconcile(site: &Site, sent: [usize; SENSORS]) {
    // The last reading of a window does not end it: the next one does.
    let windows = sent.map(|count| count.saturating_sub(1) / PER_WINDOW);
    let of_counts = |row: &Value| row["pipeline"] == "counts";
    let results = site.wait_for(windows.iter().sum(), "result", of_counts);
    let readings = site.wait_for(sent.iter().sum(), "reading", |_| true);
    assert_ids_unique(readings.iter().chain(&results));
    assert_eq!(readings.len(), sent.iter().sum::<usize>());
    for (sensor, count) in sent.into_iter().enumerate() {
        let key = format!("s{sensor}");
        let mut seqs: Vec<_> = readings
            .iter()
            .filter(|row| row["sensor"] == *key)
            .map(|row| row["fields"]["seq"].as_u64().unwrap() as usize)
            .collect();
        seqs.sort_unstable();
        assert!(seqs.into_iter().eq(0..count), "{key}: not all of {count}, once each");
        let of_key: Vec<_> = results.iter().filter(|row| row["key"] == *key).collect();
        assert_eq!(of_key.len(), windows[sensor], "{key}");
        let is_whole = |row: &&&Value| row["values"]["n"] == PER_WINDOW;
        assert_eq!(of_key.iter().filter(is_whole).count(), windows[sensor], "{of_key:?}");
    }
}

#[test]
fn under_load_nothing_is_lost_or_doubled_whatever_is_edited() {
    let site = Site::run(LOAD);
    let sharp = LOAD.replace("n > 1000", "n >= 100");
    let sent = under_load(&site, [0; SENSORS], |more| {
        assert_eq!(site.reload(&sharp), ["changed  alert full (when)"]);
        site.wait_for(1, "alert", |row| row["alert"] == "full" && row["state"] == "firing");
        more(PER_WINDOW);
        let changes = site.reload(&format!("{sharp}{EXTRA}"));
        assert_eq!(
            changes,
            ["new      pipeline extra", "new      alert extra", "new      sink more", "changed  routes"]
        );
        eventually("rows of the new pipeline", || (site.rows_in("more.ndjson").len() > 20).then_some(()));
        site.wait_for(1, "alert", |row| row["alert"] == "extra");
        for label in [r#"pipeline="extra""#, r#"alert="extra""#, r#"sink="more""#, r#"lane="side""#] {
            assert!(site.metrics().contains(label), "{label}");
        }
        more(PER_WINDOW);
        let changes = site.reload(&sharp);
        assert_eq!(
            changes,
            ["removed  pipeline extra", "removed  alert extra", "removed  sink more", "changed  routes"]
        );
        let page = site.metrics();
        let is_gone = |name: &str| !page.contains(&format!("=\"{name}\""));
        assert!(["extra", "more", "side"].into_iter().all(is_gone), "{page}");
        let rows = site.rows_in("more.ndjson");
        more(5 * PER_WINDOW);
        assert_eq!(site.rows_in("more.ndjson").len(), rows.len(), "a removed sink gets nothing");
        site.reload(&format!("{sharp}{EXTRA}"));
        let again = || Some(site.rows_in("more.ndjson")).filter(|again| again.len() > rows.len() + 30);
        let again = eventually("rows after it came back", again);
        for sensor in 0..SENSORS {
            let ends = |rows: &[Value]| {
                let of_sensor = rows.iter().filter(|row| row["key"] == format!("s{sensor}"));
                of_sensor.map(|row| row["end"].as_u64().unwrap()).collect::<Vec<_>>()
            };
            let (last, back) = (ends(&rows).into_iter().max(), ends(&again[rows.len()..]).into_iter().min());
            let gap_ms = back.zip(last).map(|(back, last)| back - last);
            assert!(gap_ms.is_some_and(|gap| gap > 3_000), "it came back where it was: {last:?} {back:?}");
        }
        more(PER_WINDOW);
    });
    reconcile(&site, sent);
    assert_ids_unique(&site.rows_in("more.ndjson"));
}

#[test]
fn a_kill_right_after_a_reload_goes_on_with_the_new_file() {
    let mut site = Site::run(LOAD);
    let sharp = LOAD.replace("n > 1000", "n >= 100");
    let sent = under_load(&site, [0; SENSORS], |_| {
        site.reload(&format!("{sharp}{EXTRA}"));
    });
    let hash = site.hash();
    site.reload(&sharp);
    site.kill9();
    site.start();
    assert_ne!(site.hash(), hash);
    let sent = under_load(&site, sent, |_| ());
    reconcile(&site, sent);
    site.wait_for(1, "alert", |row| row["alert"] == "full");
    assert!(!site.metrics().contains("extra"));
}

#[test]
fn a_rebuilt_pipeline_is_born_whole_and_its_neighbour_keeps_its_windows() {
    let site = Site::run(LOAD);
    let other = LOAD.replace("[alert.full]\non = \"counts\"\nwhen = \"n > 1000\"", "[pipeline.twin]\nfrom = [\"load\"]\nwindow = { kind = \"tumbling\", size = \"20s\" }\nwatermark = { idle = \"1h\" }\nselect = { n = \"count()\" }\n");
    site.reload(&other);
    let sent = under_load(&site, [0; SENSORS], |more| {
        let wider = other.replace("20s", "30s");
        assert_eq!(site.reload(&wider), ["rebuilt  pipeline twin (window)"]);
        more(3 * SENSORS * PER_WINDOW * 2);
    });
    reconcile(&site, sent);
    let wide = |row: &Value| row["end"].as_u64().unwrap() - row["start"].as_u64().unwrap() == 30_000;
    let rows = site.wait_for(SENSORS, "result", |row| row["pipeline"] == "twin" && wide(row));
    for row in &rows {
        assert_eq!(row["values"]["n"], 3 * PER_WINDOW, "{row}");
        assert_eq!(row.get("partial"), None, "{row}");
    }
}

/// A sink that gets every reading.
const COPY: &str = r#"
[[route]]
of = "reading"
to = ["copy"]
[sink.copy]
kind = "file"
path = "a.ndjson"
"#;

#[test]
fn a_removed_sink_loses_its_place() {
    let with_copy = format!("{LOAD}{COPY}");
    let site = Site::run(&with_copy);
    let mut device = Device::connect(site.addr("mqtt"), Version::V5, "device");
    (0..10).for_each(|seq| publish(&mut device, 0, seq));
    // It delivers what is there before it goes.
    assert_eq!(site.reload(LOAD), ["removed  sink copy", "changed  routes"]);
    let seqs = |path: &str| {
        let rows = site.rows_in(path);
        rows.iter().map(|row| row["fields"]["seq"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(seqs("a.ndjson"), (0..10).collect::<Vec<_>>());
    (10..20).for_each(|seq| publish(&mut device, 0, seq));
    site.reload(&with_copy.replace("a.ndjson", "b.ndjson"));
    (20..30).for_each(|seq| publish(&mut device, 0, seq));
    eventually("the rest", || (seqs("b.ndjson").last() == Some(&29)).then_some(()));
    assert_eq!((seqs("b.ndjson"), seqs("a.ndjson").len()), ((20..30).collect(), 10));
}

#[test]
fn a_sink_that_changes_hands_its_place_over() {
    let with_copy = format!("{LOAD}{COPY}");
    let site = Site::run(&with_copy);
    let sent = under_load(&site, [0; SENSORS], |more| {
        for path in ["b.ndjson", "c.ndjson"] {
            let changed = with_copy.replace("a.ndjson", path);
            assert_eq!(site.reload(&changed), ["changed  sink copy (settings)"]);
            eventually("rows in the next file", || (!site.rows_in(path).is_empty()).then_some(()));
            more(PER_WINDOW);
        }
    });
    let all = || ["a.ndjson", "b.ndjson", "c.ndjson"].map(|path| site.rows_in(path)).concat();
    let rows = eventually("every reading", || Some(all()).filter(|rows| rows.len() >= sent.iter().sum()));
    assert_eq!(rows.len(), sent.iter().sum::<usize>());
    assert_ids_unique(&rows);
}
