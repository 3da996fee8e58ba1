//! The door's rules are exchanged under load: each burst goes by one set of them, and the journal shows where.

use std::cell::Cell;
use std::sync::Arc;

use futures_util::future::join_all;

use super::harness::{Options, Site, TELEMETRY, TOPIC, fleet, run};
use crate::config::{Access, Anonymous, OnDenied, Source};
use crate::intake::Intake;
use crate::journal::{Content, Record, Refused, Work};
use crate::listen::Rules;
use crate::model::{Identity, Inbound, Media, Offset, Protocol, Timestamp};

/// Messages of a burst, and bursts of one sender.
const BURST: usize = 5;
const SENDERS: usize = 8;

fn burst() -> Vec<Inbound> {
    let inbound = || Inbound {
        protocol: Protocol::Mqtt,
        principal: "anonymous".into(),
        topic: TOPIC.into(),
        media: Media::Unsaid,
        payload: TELEMETRY.into(),
        received: Timestamp::default(),
        identity: Identity::None,
    };
    (0..BURST).map(|_| inbound()).collect()
}

fn config() -> Work {
    Work::Record(Record::Config { hash: "h".into(), text: "".into() })
}

/// Source of each reading in order; `Config` records as `|`.
async fn journalled(site: &Site) -> String {
    let mut reader = site.journal.readings.reader(Offset(0));
    let mut all = String::new();
    while let Some(chunk) = reader.try_next().await.expect("reads") {
        match &chunk.content {
            Content::Readings(batch) => {
                (0..batch.len()).for_each(|row| all.push_str(&batch.reading(row).source()[..1]));
            }
            Content::Record(_) => all.push('|'),
            other => panic!("{other:?}"),
        }
    }
    all
}

#[test]
fn a_config_record_parts_readings_of_two_sets_of_rules() {
    run(Options::default(), async |site: &Site| {
        let sources = [Source { name: "cargo".into(), ..fleet() }];
        let access = Access { anonymous: Anonymous::Loopback, on_denied: OnDenied::Ack };
        let rules = || Rules {
            intake: Arc::new(Intake::new(&sources).expect("compiles")),
            sources: &sources,
            access: &access,
        };
        let done = Cell::new(false);
        let send = async || {
            while !done.get() {
                site.door.admit(burst()).await;
            }
            site.door.admit(burst()).await;
        };
        let exchange = async {
            for _ in 0..20 {
                site.door.admit(burst()).await;
            }
            let refused = site.door.exchange(rules(), async { Err::<(), _>(Refused::Disk) }).await;
            assert_eq!(refused, Err(Refused::Disk));
            site.door.admit(burst()).await;
            let journalled = site.journal.readings.append(config());
            site.door.exchange(rules(), journalled).await.expect("is written");
            done.set(true);
        };
        let senders = join_all((0..SENDERS).map(|_| send()));
        tokio::join!(senders, exchange);
        let all = journalled(site).await;
        let (before, after) = all.split_once('|').expect("the record");
        assert!(before.len() >= 21 * BURST && before.bytes().all(|source| source == b'f'), "{all}");
        assert!(after.len() >= SENDERS * BURST && after.bytes().all(|source| source == b'c'), "{all}");
    });
}
