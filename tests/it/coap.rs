//! CoAP with libcoap's coap-client and with aiocoap: confirmable and not, whole and in blocks.

use std::process::Command;

use serde_json::json;

use crate::harness::Site;
use crate::harness::tool::{said, succeed, tool};
use crate::http::METERS;

const SENML: &str = r#"
[source.senml]
topic = "senml/{meter}"
format = "senml"
sensor = "{meter}"
fields = { watts = {} }
"#;

/// Sends three readings of a sensor by `post` and waits for the window of the first two.
fn readings_and_windows(site: &Site, sensor: &str, post: impl Fn(&str, &str) -> Option<Command>) {
    let uri = format!("coap://{}/meters/{sensor}", site.addr("coap"));
    for (time, watts) in [(1_000, 10), (2_000, 30), (10_000, 5)] {
        let Some(mut post) = post(&uri, &json!({"ts": time, "watts": watts}).to_string()) else { return };
        succeed(&mut post);
    }
    let readings = site.wait_for(3, "reading", |row| row["sensor"] == sensor);
    assert_eq!(readings.len(), 3, "{readings:?}");
    let results = site.wait_for(1, "result", |row| row["key"] == sensor);
    assert_eq!(results[0]["values"], json!({"mean": 20, "n": 2}), "{sensor}");
}

fn libcoap(arguments: &[&str]) -> Option<Command> {
    // Debian names the client after its TLS library.
    let mut client = tool("coap-client").or_else(|| tool("coap-client-notls"))?;
    client.args(arguments);
    Some(client)
}

fn aiocoap(arguments: &[&str]) -> Option<Command> {
    let mut client = tool("aiocoap-client")?;
    client.args(arguments);
    Some(client)
}

#[test]
fn libcoap_posts_readings_and_windows_come_out() {
    let site = Site::run(METERS);
    for (sensor, arguments) in [
        ("con-post", &["-m", "post"][..]),
        ("con-put", &["-m", "put"]),
        ("con-json", &["-m", "post", "-t", "50"]),
        ("non-post", &["-N", "-m", "post"]),
    ] {
        readings_and_windows(&site, sensor, |uri, body| {
            libcoap(&[arguments, &["-B", "10", "-e", body, uri][..]].concat())
        });
    }
}

#[test]
fn aiocoap_posts_readings_and_windows_come_out() {
    let site = Site::run(METERS);
    for (sensor, arguments) in [
        ("con-post", &["-m", "POST"][..]),
        ("con-put", &["-m", "PUT"]),
        ("con-json", &["-m", "POST", "--content-format", "application/json"]),
        ("non-post", &["--non", "-m", "POST"]),
    ] {
        readings_and_windows(&site, sensor, |uri, body| {
            aiocoap(&[arguments, &["--payload", body, uri][..]].concat())
        });
    }
}

/// A pack that needs many blocks (RFC 7959) is one message.
#[test]
fn both_send_a_large_pack_in_blocks() {
    let site = Site::run(SENML);
    let records = (0..400).map(|n| json!({"n": "watts", "t": 1_767_225_600 + n, "v": n}));
    let pack = serde_json::Value::from_iter(records).to_string();
    assert!(pack.len() > 10_000, "it needs blocks");
    let file = site.write("pack", &pack).display().to_string();
    let uri = |sensor: &str| format!("coap://{}/senml/{sensor}", site.addr("coap"));
    let Some(mut client) =
        libcoap(&["-m", "post", "-t", "110", "-b", "512", "-B", "20", "-f", &file, &uri("libcoap")])
    else {
        return;
    };
    succeed(&mut client);
    let at_file = format!("@{file}");
    let (format, url) = ("application/senml+json", uri("aiocoap"));
    let Some(mut client) = aiocoap(&["-m", "POST", "--content-format", format, "--payload", &at_file, &url])
    else {
        return;
    };
    succeed(&mut client);
    for sensor in ["libcoap", "aiocoap"] {
        let readings = site.wait_for(400, "reading", |row| row["sensor"] == sensor);
        let watts = readings.iter().map(|row| row["fields"]["watts"].as_u64().unwrap());
        assert!(watts.eq(0..400), "{sensor}: {readings:?}");
    }
}

#[test]
fn both_hear_why_they_are_refused() {
    let site = Site::run(METERS);
    for (path, body, code, word) in
        [("meters/m1", "{", "4.00", "malformed: "), ("kitchen/m1", "{}", "4.04", "unmatched: ")]
    {
        let uri = format!("coap://{}/{path}", site.addr("coap"));
        let clients = [
            libcoap(&["-m", "post", "-B", "10", "-e", body, &uri]),
            aiocoap(&["-m", "POST", "--payload", body, &uri]),
        ];
        for mut client in clients.into_iter().flatten() {
            let said = said(&client.output().unwrap());
            assert!(said.contains(code) && said.contains(word), "{client:?}: {said}");
        }
    }
}

/// RFC 6690: where devices may post.
#[test]
fn coap_client_discovers_where_to_post() {
    let site = Site::run(METERS);
    let uri = format!("coap://{}/.well-known/core", site.addr("coap"));
    let Some(mut client) = libcoap(&["-m", "get", "-B", "10", &uri]) else { return };
    let said = succeed(&mut client);
    assert_eq!(said.trim(), r#"</meters>;rt="forebay.ingest";ct="110 112 50 60""#);
}
