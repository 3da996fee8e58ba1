//! Three machines with the same history, one a protocol: whatever differs between their rows is ours.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::link::{Link, LinkError};
use super::series::{INTERVAL_SECONDS, Series};
use crate::config::ListenerKind;

/// Pause before readings are sent again to a gateway without room.
const BUSY_PAUSE: Duration = Duration::from_millis(500);
/// Tries of one send to a gateway without room.
const TRIES_MAX: u32 = 60;

/// A machine and how it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Its name: the sensor.
    pub name: &'static str,
    /// Its protocol.
    pub kind: ListenerKind,
    /// What its messages are, for people.
    pub speaks: &'static str,
}

/// The machines of the demo.
pub const MACHINES: [Machine; 3] = [
    Machine { name: "press-1", kind: ListenerKind::Mqtt, speaks: "MQTT QoS 1, JSON" },
    Machine { name: "press-2", kind: ListenerKind::Coap, speaks: "CoAP CON, SenML CBOR" },
    Machine { name: "press-3", kind: ListenerKind::Http, speaks: "HTTP, SenML JSON" },
];

/// When each sample is due.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    step_seconds: f64,
}

impl Pace {
    /// Machine time passes `speedup` times as fast as ours.
    pub fn new(speedup: f64) -> Self {
        Self { step_seconds: INTERVAL_SECONDS / speedup }
    }

    /// How long after the start the sample at `index` is due.
    pub fn due(self, index: usize) -> Duration {
        Duration::from_secs_f64(self.step_seconds * index as f64)
    }

    /// Samples due after `elapsed`, the first one at once.
    pub fn count_due(self, elapsed: Duration) -> usize {
        (elapsed.as_secs_f64() / self.step_seconds) as usize + 1
    }
}

/// What a machine tells the show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// Readings were handed to the socket.
    Sent {
        /// Place in [`MACHINES`].
        machine: usize,
        /// How many.
        readings: usize,
    },
    /// Readings were acknowledged.
    Acknowledged {
        /// Place in [`MACHINES`].
        machine: usize,
        /// How many.
        readings: usize,
        /// From sending the first to the acknowledgement of the last.
        took: Duration,
    },
}

/// What a machine plays.
#[derive(Clone)]
pub struct Part {
    /// Place in [`MACHINES`].
    pub machine: usize,
    /// Where its listener is.
    pub addr: SocketAddr,
    /// What it sends.
    pub series: Arc<Series>,
    /// When it sends.
    pub pace: Pace,
    /// The show.
    pub reports: mpsc::Sender<Report>,
}

impl Part {
    /// Sends the series at its pace. A gateway that is slower than the pace is given what is due at once.
    ///
    /// # Errors
    /// The first readings that are not acknowledged, with the machine's name.
    pub async fn play(self) -> Result<(), (&'static str, LinkError)> {
        let Machine { name, kind, .. } = MACHINES[self.machine];
        let played = async {
            let link = Link::open(kind, self.addr, name).await?;
            self.send_all(link).await
        };
        played.await.map_err(|error| (name, error))
    }

    async fn send_all(&self, mut link: Link) -> Result<(), LinkError> {
        let (start, samples) = (Instant::now(), &self.series.samples);
        let mut next = 0;
        while next < samples.len() {
            sleep_until(start + self.pace.due(next)).await;
            let due = self.pace.count_due(start.elapsed()).clamp(next + 1, samples.len());
            let end = due.min(next + link.readings_max());
            self.send(&mut link, next..end).await?;
            next = end;
        }
        Ok(())
    }

    async fn send(&self, link: &mut Link, range: std::ops::Range<usize>) -> Result<(), LinkError> {
        let (machine, readings, sent) = (self.machine, range.len(), Instant::now());
        self.report(Report::Sent { machine, readings }).await;
        let mut tries = 1;
        while let Err(error) = link.send(&self.series.samples[range.clone()]).await {
            if !matches!(error, LinkError::Busy(_)) || tries >= TRIES_MAX {
                return Err(error);
            }
            tries += 1;
            sleep(BUSY_PAUSE).await;
        }
        self.report(Report::Acknowledged { machine, readings, took: sent.elapsed() }).await;
        Ok(())
    }

    async fn report(&self, report: Report) {
        // A show that listens no more is ending, and this machine with it.
        let _ = self.reports.send(report).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_a_second_is_288_readings_a_second() {
        let pace = Pace::new(86_400.0);
        assert_eq!(pace.due(0), Duration::ZERO);
        assert_eq!(pace.due(288), Duration::from_secs(1));
        assert_eq!(pace.count_due(Duration::ZERO), 1);
        assert_eq!(pace.count_due(Duration::from_millis(1_001)), 289);
    }

    #[test]
    fn what_is_counted_as_due_is_due() {
        for speedup in [1.0, 86_400.0, 90_007.0, 1e9] {
            let pace = Pace::new(speedup);
            for elapsed_ms in [0, 1, 7, 1_000, 61_003] {
                let elapsed = Duration::from_millis(elapsed_ms);
                let last = pace.count_due(elapsed) - 1;
                assert!(pace.due(last) <= elapsed + Duration::from_micros(1), "{speedup} {elapsed_ms}");
            }
        }
    }
}
