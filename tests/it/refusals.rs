//! What devices should not send, and attackers do: refused clearly on every protocol, kept with its bytes, and
//! no harm to the daemon.
//!
//! The expected answers are the contract's table, written down here a second time.

use serde_json::{Value, json};

use crate::harness::mqtt::{Answer, Device, Version};
use crate::harness::rows::Letter;
use crate::harness::{Site, coap, http};

const SOURCES: &str = r#"
[source.fleet]
topic = "fleet/{vehicle}/telemetry"
format = "json"
sensor = "{vehicle}"
schema = "speed"
time = { at = "/ts", unit = "ms" }
fields = { speed_kmh = {} }
[source.packed]
topic = "packed/{vehicle}"
format = "cbor"
sensor = "{vehicle}"
fields = { speed_kmh = {} }
[source.senml]
topic = "senml/{vehicle}"
format = "senml"
sensor = "{vehicle}"
fields = { speed_kmh = {} }
"#;

const SCHEMA: &str = r#"{
  "type": "object",
  "properties": { "ts": { "type": "integer" }, "speed_kmh": { "type": "number", "maximum": 400 } },
  "required": ["speed_kmh"]
}"#;

/// Messages before the memory is looked at for the first time, and after it, of each attack.
const WARM_UP: usize = 60;
const REPETITIONS: usize = 140;
/// What the daemon may hold more after them: buffers differ from moment to moment, a leak does not stop.
const GROWTH_BYTES_MAX: u64 = 8 << 20;
/// A body that no listener takes.
const HUGE_BYTES: usize = 10 << 20;

/// A message that is refused.
struct Attack {
    name: &'static str,
    topic: &'static str,
    /// Content type and CoAP's number for it, where the message says one.
    media: Option<(&'static str, u16)>,
    payload: Vec<u8>,
    reason: &'static str,
    pointer: Option<&'static str>,
}

fn attacks() -> Vec<Attack> {
    let attack = |name, topic, payload: &[u8], reason| {
        let (payload, media, pointer) = (payload.to_vec(), None, None);
        Attack { name, topic, media, payload, reason, pointer }
    };
    const FLEET: &str = "fleet/v1/telemetry";
    vec![
        attack("malformed JSON", FLEET, br#"{"speed_kmh": 1"#, "malformed"),
        attack("no JSON at all", FLEET, b"\xff\xfe\x00", "malformed"),
        attack("two documents", FLEET, br#"{"speed_kmh": 1}{"speed_kmh": 2}"#, "malformed"),
        attack("text that is not UTF-8", FLEET, b"{\"speed_kmh\": 1, \"note\": \"\xff\"}", "malformed"),
        attack("an empty message", FLEET, b"", "malformed"),
        attack("50,000 arrays deep", FLEET, &b"[".repeat(50_000), "malformed"),
        attack("10,000 objects deep", FLEET, &br#"{"a":"#.repeat(10_000), "malformed"),
        attack("a number beyond doubles", FLEET, br#"{"speed_kmh": 1e999}"#, "malformed"),
        Attack {
            pointer: Some("/speed_kmh"),
            ..attack("wrong schema", FLEET, br#"{"speed_kmh": 900}"#, "schema")
        },
        Attack {
            pointer: Some("/ts"),
            ..attack("no time", FLEET, br#"{"speed_kmh": 9, "ts": -1e300}"#, "time")
        },
        attack("unknown topic", "kitchen/v1/telemetry", br#"{"speed_kmh": 9}"#, "unmatched"),
        Attack {
            media: Some(("image/png", 23)),
            ..attack("a picture", FLEET, b"\x89PNG", "unsupported_format")
        },
        attack("CBOR array of 2^64 - 1", "packed/v1", b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", "malformed"),
        attack("CBOR map of 2^32 - 1", "packed/v1", b"\xba\xff\xff\xff\xff\x61a\x01", "malformed"),
        attack(
            "CBOR bytes of 2^40",
            "packed/v1",
            b"\xa1\x61a\x5b\x00\x00\x01\x00\x00\x00\x00\x00",
            "malformed",
        ),
        attack("CBOR text of 2^63", "packed/v1", b"\x7b\x80\x00\x00\x00\x00\x00\x00\x00", "malformed"),
        attack("CBOR arrays deep", "packed/v1", &b"\x81".repeat(50_000), "malformed"),
        attack("SenML of 2^64 - 1 records", "senml/v1", b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", "malformed"),
        Attack {
            pointer: Some("/0"),
            ..attack("SenML 50,000 deep", "senml/v1", &b"[".repeat(50_000), "malformed")
        },
    ]
}

fn site() -> Site {
    let mut site = Site::new(SOURCES);
    site.write("schemas/speed.json", SCHEMA);
    site.start();
    site
}

/// Each attack once, with its answer and its dead letter; then again and again, and the daemon stays as it is.
fn withstands(site: &mut Site, attacks: &[Attack], mut send: impl FnMut(&Site, &Attack)) {
    for attack in attacks {
        send(site, attack);
    }
    let letters = wait_for_letters(site, attacks.len());
    for (attack, letter) in attacks.iter().zip(&letters) {
        let kept = (letter.reason.as_str(), letter.topic.as_str(), &letter.payload);
        assert_eq!(kept, (attack.reason, attack.topic, &attack.payload), "{}", attack.name);
        let pointer = attack.pointer.unwrap_or_default();
        assert!(letter.detail.starts_with(pointer), "{}: {}", attack.name, letter.detail);
    }
    assert_eq!(letters.len(), attacks.len());
    memory_stays_flat(site, |site| attacks.iter().for_each(|attack| send(site, attack)));
    still_serves(site);
}

fn wait_for_letters(site: &Site, count: usize) -> Vec<Letter> {
    site.wait_for(count, "dead-letter", |_| true);
    site.letters()
}

fn memory_stays_flat(site: &Site, mut again: impl FnMut(&Site)) {
    (0..WARM_UP).for_each(|_| again(site));
    let before = site.resident_bytes();
    (0..REPETITIONS).for_each(|_| again(site));
    let after = site.resident_bytes();
    eprintln!("resident: {before} bytes, then {after}");
    assert!(after < before + GROWTH_BYTES_MAX, "{before} bytes resident, then {after}");
}

fn still_serves(site: &mut Site) {
    let accepted = http::post(site.addr("http"), "fleet/good/telemetry", "", br#"{"speed_kmh": 1}"#);
    assert_eq!(accepted.status, 202, "{accepted:?}");
    assert!(site.is_alive());
    site.stop();
    let readings = site.rows("reading");
    assert!(matches!(&readings[..], [one] if one["sensor"] == "good"), "{readings:?}");
}

#[test]
fn http_says_the_problem() {
    withstands(&mut site(), &attacks(), |site, attack| {
        let said = attack.media.map(|(name, _)| format!("content-type: {name}\r\n"));
        let said = said.as_deref().unwrap_or_default();
        let answer = http::post(site.addr("http"), attack.topic, said, &attack.payload);
        let status = match attack.reason {
            "malformed" => 400,
            "unmatched" => 404,
            "unsupported_format" => 415,
            _ => 422,
        };
        let (kind, problem) = (answer.header("content-type"), answer.json());
        assert_eq!((answer.status, kind), (status, Some("application/problem+json")), "{}", attack.name);
        assert_eq!(problem["type"], format!("/problems/{}", attack.reason), "{}: {problem}", attack.name);
        assert_eq!(problem["status"], status);
        let pointer = problem["pointer"].as_str().unwrap_or_default();
        assert_eq!(pointer, attack.pointer.unwrap_or_default(), "{}: {problem}", attack.name);
        assert!(problem["detail"].is_string(), "{problem}");
    });
}

#[test]
fn coap_says_the_reason() {
    let mut device = coap::Device::new();
    withstands(&mut site(), &attacks(), |site, attack| {
        let content_format = attack.media.map(|(_, number)| number);
        let post = coap::Post { content_format, ..coap::Post::new(attack.topic, &attack.payload) };
        let answer = device.post(&post, || site.addr("coap"));
        let code = match attack.reason {
            "malformed" => "4.00",
            "unmatched" => "4.04",
            "unsupported_format" => "4.15",
            _ => "4.22",
        };
        assert_eq!(answer.code, code, "{}: {}", attack.name, answer.text());
        let said = format!("{}: {}", attack.reason, attack.pointer.unwrap_or_default());
        assert!(answer.text().starts_with(&said), "{}: {}", attack.name, answer.text());
    });
}

#[test]
fn mqtt_5_says_the_reason_and_stays_connected() {
    let mut site = site();
    let mut device = Device::connect(site.addr("mqtt"), Version::V5, "d");
    withstands(&mut site, &attacks(), |_, attack| {
        let media = attack.media.map(|(name, _)| name);
        let answer = device.publish_as(media, attack.topic.as_bytes(), &attack.payload);
        let want = if attack.reason == "unmatched" { 0x90 } else { 0x99 };
        let Answer::Ack { code, text } = answer else { panic!("{}: {answer:?}", attack.name) };
        assert_eq!(code, want, "{}: {text}", attack.name);
        let said = format!("{}: {}", attack.reason, attack.pointer.unwrap_or_default());
        assert!(text.starts_with(&said), "{}: {text}", attack.name);
    });
}

#[test]
fn mqtt_3_acknowledges_and_stays_connected() {
    let mut site = site();
    let mut device = Device::connect(site.addr("mqtt"), Version::V311, "d");
    let mut attacks = attacks();
    attacks.retain(|attack| attack.media.is_none());
    withstands(&mut site, &attacks, |_, attack| {
        let answer = device.publish(attack.topic.as_bytes(), &attack.payload);
        assert_eq!(answer, Answer::Ack { code: 0, text: String::new() }, "{}", attack.name);
    });
}

/// The start of what is too large, as it is kept.
fn assert_too_large(letter: &Letter, topic: &str, body: &[u8]) {
    assert_eq!((letter.reason.as_str(), letter.topic.as_str()), ("too_large", topic), "{}", letter.detail);
    assert_eq!(letter.payload.len(), letter.payload.len().min(4096));
    assert!(!letter.payload.is_empty() && body.starts_with(&letter.payload), "{topic}: {:?}", letter.payload);
}

#[test]
fn mqtt_closes_on_what_is_too_large() {
    let mut site = site();
    let body = b"0123456789".repeat(HUGE_BYTES / 10);
    let attack = |site: &Site, version, code| {
        let mut device = Device::connect(site.addr("mqtt"), version, "d");
        let answer = device.publish(b"fleet/v1/telemetry", &body);
        assert_eq!(answer, Answer::Closed { code }, "{version:?}");
    };
    attack(&site, Version::V5, Some(0x95));
    attack(&site, Version::V311, None);
    let letters = wait_for_letters(&site, 2);
    letters.iter().for_each(|letter| assert_too_large(letter, "fleet/v1/telemetry", &body));
    memory_stays_flat(&site, |site| attack(site, Version::V311, None));
    still_serves(&mut site);
}

#[test]
fn http_does_not_read_what_is_too_large() {
    let mut site = site();
    let body = b"0123456789".repeat(HUGE_BYTES / 10);
    let announced = |site: &Site| http::post(site.addr("http"), "fleet/v1/telemetry", "", &body);
    let in_chunks = |site: &Site| {
        let head = "POST /ingest/fleet/v1/telemetry HTTP/1.1\r\nhost: it\r\nconnection: close\r\n\
                    transfer-encoding: chunked\r\n\r\n";
        let chunks = [format!("{HUGE_BYTES:x}\r\n").as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
        http::try_exchange(site.addr("http"), head.as_bytes(), &chunks).expect("an answer")
    };
    for answer in [announced(&site), in_chunks(&site)] {
        let problem = answer.json();
        assert_eq!((answer.status, &problem["type"]), (413, &json!("/problems/too_large")), "{problem}");
    }
    let letters = wait_for_letters(&site, 2);
    letters.iter().for_each(|letter| assert_too_large(letter, "fleet/v1/telemetry", &body));
    memory_stays_flat(&site, |site| assert_eq!(announced(site).status, 413));
    still_serves(&mut site);
}

/// In blocks: refused when it is announced, else when the blocks pass the limit (1 MiB).
#[test]
fn coap_stops_what_is_too_large() {
    let mut site = site();
    let block = b"0123456789abcdef".repeat(64);
    let path: Vec<&[u8]> = vec![b"fleet", b"v1", b"telemetry"];
    let whole = coap::Post { path, payload: &block, block: Some(0), ..Default::default() };
    let mut device = coap::Device::new();
    let announced = coap::Post { size1_bytes: Some(HUGE_BYTES as u32), ..whole.clone() };
    let mut answers = vec![device.post(&announced, || site.addr("coap"))];
    let blocks = (0..HUGE_BYTES as u32 / 1024).map(|number| {
        let block = coap::Post { block: Some(number), ..whole.clone() };
        device.post(&block, || site.addr("coap"))
    });
    let refused = blocks.enumerate().find(|(_, answer)| answer.code != "2.31").unwrap();
    assert_eq!(refused.0, 1024, "blocks that fit into 1 MiB");
    answers.push(refused.1);
    for answer in &answers {
        assert_eq!((answer.code.as_str(), answer.size1_bytes), ("4.13", Some(1 << 20)), "{}", answer.text());
    }
    let letters = wait_for_letters(&site, 2);
    let body = block.repeat(4);
    letters.iter().for_each(|letter| assert_too_large(letter, "fleet/v1/telemetry", &body));
    assert_eq!(letters.iter().map(|letter| letter.payload.len()).collect::<Vec<_>>(), [1024, 4096]);
    memory_stays_flat(&site, |site| assert_eq!(device.post(&announced, || site.addr("coap")).code, "4.13"));
    still_serves(&mut site);
}

/// A topic is text. MQTT closes on what is none (MQTT 1.5.3), the others answer.
#[test]
fn topics_that_are_not_utf_8_are_refused() {
    let mut site = site();
    let mut device = coap::Device::new();
    let path: Vec<&[u8]> = vec![b"fleet", b"\xff\xfe", b"telemetry"];
    let mut attack = |site: &Site| {
        for (version, code) in [(Version::V311, None), (Version::V5, Some(0x81))] {
            let answer =
                Device::connect(site.addr("mqtt"), version, "d").publish(b"fleet/\xff/telemetry", b"{}");
            assert_eq!(answer, Answer::Closed { code }, "{version:?}");
        }
        let post = coap::Post { path: path.clone(), payload: b"{}", ..Default::default() };
        let answer = device.post(&post, || site.addr("coap"));
        assert_eq!(answer.code, "4.00", "{}", answer.text());
        let answer = http::post(site.addr("http"), "fleet/%ff%fe/telemetry", "", b"{}");
        assert_eq!(answer.status, 400, "{answer:?}");
    };
    attack(&site);
    let letters = wait_for_letters(&site, 4);
    let mqtt = r"fleet/\xff/telemetry";
    for (topic, letter) in
        [mqtt, mqtt, r"fleet/\xff\xfe/telemetry", "fleet/%ff%fe/telemetry"].iter().zip(&letters)
    {
        let kept = (letter.reason.as_str(), letter.topic.as_str(), &letter.payload[..]);
        assert_eq!(kept, ("malformed", *topic, &b"{}"[..]), "{}", letter.detail);
    }
    assert_eq!(letters.len(), 4);
    memory_stays_flat(&site, attack);
    still_serves(&mut site);
}

#[test]
fn the_log_says_what_was_refused_but_not_without_end() {
    let site = site();
    for _ in 0..500 {
        http::post(site.addr("http"), "fleet/v1/telemetry", "", b"{");
    }
    let log = site.log();
    let said: Vec<&str> = log.lines().filter(|line| line.contains("kept as a dead letter")).collect();
    let one: Value = serde_json::from_str(said[0]).unwrap();
    assert_eq!((&one["reason"], &one["level"]), (&json!("malformed"), &json!("WARN")), "{one}");
    assert!(said.len() < 50, "{} lines for 500 messages", said.len());
}
