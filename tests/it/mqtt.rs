//! MQTT with mosquitto_pub: every version and quality of service it has in common with the daemon.

use serde_json::json;

use crate::harness::Site;
use crate::harness::tool::{said, succeed, tool};
use crate::http::METERS;

/// QoS 0 has no answer, the others end only when they are acknowledged.
#[test]
fn mosquitto_pub_publishes_readings_and_windows_come_out() {
    let site = Site::run(METERS);
    let mut meters = Vec::new();
    for version in ["mqttv311", "mqttv5"] {
        for qos in ["0", "1", "2"] {
            let meter = format!("{version}-{qos}");
            for (time, watts) in [(1_000, 10), (2_000, 30), (10_000, 5)] {
                let Some(mut publish) = tool("mosquitto_pub") else { return };
                let payload = json!({"ts": time, "watts": watts}).to_string();
                let topic = format!("meters/{meter}");
                publish.args(["-h", "127.0.0.1", "-p", &site.port("mqtt"), "-V", version, "-q", qos]);
                let said = succeed(publish.args(["-t", &topic, "-m", &payload]));
                assert_eq!(said, "", "{meter}");
            }
            meters.push(meter);
        }
    }
    for meter in &meters {
        let readings = site.wait_for(3, "reading", |row| row["sensor"] == **meter);
        assert_eq!(readings.len(), 3, "{readings:?}");
        let results = site.wait_for(1, "result", |row| row["key"] == **meter);
        assert_eq!(results[0]["values"], json!({"mean": 20, "n": 2}), "{meter}");
    }
}

/// One connection, many messages, as a device with a backlog sends them.
#[test]
fn mosquitto_pub_sends_a_backlog_over_one_connection() {
    let site = Site::run(METERS);
    let lines: String = (0..500).map(|n| format!("{{\"ts\":{},\"watts\":{n}}}\n", n * 100)).collect();
    let input = std::fs::File::open(site.write("backlog", lines)).unwrap();
    let Some(mut publish) = tool("mosquitto_pub") else { return };
    publish.args(["-h", "127.0.0.1", "-p", &site.port("mqtt"), "-q", "1", "-t", "meters/m1", "-l"]);
    succeed(publish.stdin(input));
    let readings = site.wait_for(500, "reading", |_| true);
    let watts: Vec<u64> = readings.iter().map(|row| row["fields"]["watts"].as_u64().unwrap()).collect();
    assert!(watts.iter().copied().eq(0..500), "order or count: {watts:?}");
    let results = site.wait_for(4, "result", |_| true);
    assert!(results.iter().all(|row| row["values"]["n"] == 100), "{results:?}");
}

/// MQTT 5 says no; mosquitto_pub repeats it.
#[test]
fn mosquitto_pub_hears_why_it_is_refused() {
    let site = Site::run(METERS);
    for (version, topic, payload, heard) in [
        ("mqttv5", "meters/m1", "{", "malformed: EOF while parsing an object at column 1"),
        ("mqttv5", "kitchen/m1", "{}", "unmatched: no source takes the topic \"kitchen/m1\""),
        ("mqttv311", "meters/m1", "{", ""),
        ("mqttv311", "kitchen/m1", "{}", ""),
    ] {
        let Some(mut publish) = tool("mosquitto_pub") else { return };
        publish.args(["-h", "127.0.0.1", "-p", &site.port("mqtt"), "-V", version, "-q", "1"]);
        let output = publish.args(["-t", topic, "-m", payload]).output().unwrap();
        let said = said(&output);
        assert!(said.contains(heard) && said.is_empty() == heard.is_empty(), "{version} {topic}: {said:?}");
    }
    let letters = site.wait_for(4, "dead-letter", |_| true);
    let reasons: Vec<&str> = letters.iter().map(|row| row["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["malformed", "unmatched", "malformed", "unmatched"]);
}
