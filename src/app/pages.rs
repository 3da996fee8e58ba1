//! How the whole gateway is doing, for the pages and for `forebay status`.
//!
//! A snapshot of what stages show anyway: the journal's marks, the lanes' positions, the metrics. Nothing waits.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use tokio::sync::watch;

use super::processing::View;
use crate::admin::status::{AlertStatus, LaneStatus, ListenerStatus, SinkStatus, Status, StreamStatus};
use crate::admin::{Admin, Readiness, StatusSource};
use crate::config::{Config, ListenerKind};
use crate::engine::LaneView;
use crate::journal::{Journal, Stream};
use crate::listen::{Listening, Pages};
use crate::model::StreamName;
use crate::telemetry::Metrics;

/// The gateway as it is seen from outside.
pub struct Overview {
    pub(super) metrics: Arc<Metrics>,
    pub(super) journal: Arc<Journal>,
    pub(super) processing: watch::Receiver<View>,
    pub(super) started: Instant,
    /// Replaced by a reload.
    pub(super) present: RwLock<Arc<Present>>,
}

/// What is in force.
pub struct Present {
    pub(super) config: Arc<Config>,
    pub(super) listening: Vec<Listening>,
}

/// The pages as listeners want them.
pub struct AdminPages(pub Arc<Admin>);

impl Pages for AdminPages {
    fn page(&self, request: &httpd::Request) -> Option<httpd::Response> {
        self.0.page(&request.head)
    }
}

impl Readiness for Overview {
    fn ready(&self) -> Result<(), String> {
        let failed = self.streams().find(|(name, _)| self.metrics.stream(name.as_str()).failed.get() != 0);
        match failed {
            Some((name, _)) => {
                Err(format!("the {} stream takes nothing: disk full or failed", name.as_str()))
            }
            None if !self.journal.ballast.is_kept() => {
                let mib = self.journal.ballast.needed_bytes() >> 20;
                Err(format!("the disk is full: messages are taken again once {mib} MiB are free"))
            }
            // Processing that waits for a full disk: intake cannot take anything either.
            None => match &*self.processing.borrow() {
                View::Waits(why) => Err(why.clone()),
                View::Starts | View::Restores(_) | View::Runs(_) => Ok(()),
            },
        }
    }

    fn lanes_wait(&self) -> Option<String> {
        match &*self.processing.borrow() {
            View::Starts => Some("the state store is being opened".to_owned()),
            View::Waits(why) => Some(why.clone()),
            View::Restores(why) => Some(format!("the state store is being restored: {why}")),
            View::Runs(_) => None,
        }
    }
}

impl StatusSource for Overview {
    fn status(&self) -> Status {
        let present = self.present.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Present { config, listening } = &*present;
        Status {
            gateway: config.gateway.id.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            config_hash: config.hash.clone(),
            uptime_seconds: self.started.elapsed().as_secs_f64(),
            not_ready: self.ready().err(),
            lanes_wait: self.lanes_wait(),
            listeners: listening.iter().map(listener).collect(),
            streams: self.streams().map(|(name, stream)| self.stream(name, stream)).collect(),
            lanes: self.processing.borrow().lanes().iter().map(|lane| self.lane(lane)).collect(),
            sinks: config.sinks.iter().map(|sink| self.sink(&sink.name)).collect(),
            alerts: config.alerts.iter().map(|alert| self.alert(&alert.name)).collect(),
            disk_free_bytes: u64::try_from(self.metrics.disk_free_bytes.get()).unwrap_or_default(),
        }
    }
}

impl Overview {
    /// Shows this from now on.
    pub(super) fn show(&self, present: Present) {
        *self.present.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(present);
    }

    fn streams(&self) -> impl Iterator<Item = (StreamName, &Stream)> {
        let Journal { readings, results, dead_letters, .. } = &*self.journal;
        [
            (StreamName::Readings, readings),
            (StreamName::Results, results),
            (StreamName::DeadLetters, dead_letters),
        ]
        .into_iter()
    }

    fn stream(&self, name: StreamName, stream: &Stream) -> StreamStatus {
        StreamStatus {
            name: name.as_str().to_owned(),
            durable: stream.durable(),
            oldest: stream.oldest(),
            queued_bytes: stream.queued_bytes() as u64,
            failed: self.metrics.stream(name.as_str()).failed.get() != 0,
        }
    }

    fn lane(&self, lane: &LaneView) -> LaneStatus {
        let position = lane.position();
        LaneStatus {
            name: lane.name.to_string(),
            position: position.position,
            emitted: position.emitted,
            checkpoint: position.checkpoint,
            lag_records: self.journal.readings.durable().0.saturating_sub(position.position.0),
            lag_seconds: self.metrics.lane(&lane.name).lag_seconds.get(),
        }
    }

    fn sink(&self, name: &str) -> SinkStatus {
        let figures = self.metrics.sink(name);
        SinkStatus {
            name: name.to_owned(),
            lag_records: u64::try_from(figures.lag_records.get()).unwrap_or_default(),
            lag_seconds: figures.lag_seconds.get(),
            breaker_open: figures.breaker_open.get() != 0,
        }
    }

    fn alert(&self, name: &str) -> AlertStatus {
        let firing = u64::try_from(self.metrics.alert(name).firing.get()).unwrap_or_default();
        AlertStatus { name: name.to_owned(), firing }
    }
}

fn listener(listening: &Listening) -> ListenerStatus {
    let kind = match listening.kind {
        ListenerKind::Mqtt => "mqtt",
        ListenerKind::Coap => "coap",
        ListenerKind::Http => "http",
    };
    ListenerStatus {
        name: listening.name.to_string(),
        kind: kind.to_owned(),
        address: listening.addr.to_string(),
    }
}
