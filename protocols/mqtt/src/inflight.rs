//! Packet ids of unfinished publishes (pure): the receiver's side of QoS 1 and 2.
//!
//! A QoS 2 publish is handed on once for each packet id until its PUBREL; a copy before the verdict
//! waits for the original's answer, a copy after it is answered again without being handed on.
//!
//! Sources: MQTT 5.0 §4.3.3 (method A of the receiver), §4.9 (flow control).

use std::collections::HashMap;

use crate::error::ProtocolError;
use crate::host::{Qos, Version};

/// What to do with a publish that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Hand it to the host.
    New,
    /// A copy of a QoS 2 publish that still waits: the answer to the original answers it.
    CopyOfWaiting,
    /// A copy of a QoS 2 publish that was answered: PUBREC again.
    CopyOfRecorded,
}

/// Whether a PUBREL names a recorded packet id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    Recorded,
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    Recorded,
}

/// Unfinished publishes of one connection.
#[derive(Debug)]
pub(crate) struct Inflight {
    version: Version,
    receive_maximum: u16,
    /// QoS 1 publishes that wait for their verdict. Copies count, as they do for the client.
    qos1_waiting: usize,
    qos2: HashMap<u16, Stage>,
}

impl Inflight {
    pub fn new(version: Version, receive_maximum: u16) -> Inflight {
        Inflight { version, receive_maximum, qos1_waiting: 0, qos2: HashMap::new() }
    }

    /// Takes note of a publish.
    pub fn admit(&mut self, qos: Qos, packet_id: u16) -> Result<Admission, ProtocolError> {
        match qos {
            Qos::AtMostOnce => return Ok(Admission::New),
            Qos::AtLeastOnce => self.qos1_waiting += 1,
            Qos::ExactlyOnce => match self.qos2.insert(packet_id, Stage::Waiting) {
                None => {}
                Some(Stage::Waiting) => return Ok(Admission::CopyOfWaiting),
                Some(Stage::Recorded) => {
                    self.qos2.insert(packet_id, Stage::Recorded);
                    return Ok(Admission::CopyOfRecorded);
                }
            },
        }
        // MQTT 3.1.1 announces no limit: there QoS 1 is bounded by the bursts that may wait.
        let counted = match self.version {
            Version::V311 => self.qos2.len(),
            Version::V5 => self.qos2.len() + self.qos1_waiting,
        };
        if counted > usize::from(self.receive_maximum) {
            return Err(ProtocolError::ReceiveMaximum { receive_maximum: self.receive_maximum });
        }
        Ok(Admission::New)
    }

    /// The publish was answered and its duty passed to the server.
    pub fn recorded(&mut self, qos: Qos, packet_id: u16) {
        match qos {
            Qos::AtMostOnce => {}
            Qos::AtLeastOnce => self.qos1_waiting -= 1,
            Qos::ExactlyOnce => {
                self.qos2.insert(packet_id, Stage::Recorded);
            }
        }
    }

    /// The publish was refused (no PUBREL will follow) or is left for the client to resend.
    pub fn forgotten(&mut self, qos: Qos, packet_id: u16) {
        match qos {
            Qos::AtMostOnce => {}
            Qos::AtLeastOnce => self.qos1_waiting -= 1,
            Qos::ExactlyOnce => {
                self.qos2.remove(&packet_id);
            }
        }
    }

    /// PUBREL: the packet id is free again. One that still waits for its verdict stays.
    pub fn release(&mut self, packet_id: u16) -> Release {
        match self.qos2.get(&packet_id) {
            Some(Stage::Recorded) => {
                self.qos2.remove(&packet_id);
                Release::Recorded
            }
            Some(Stage::Waiting) | None => Release::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qos2_is_handed_on_once_until_released() {
        let mut inflight = Inflight::new(Version::V5, 10);
        let qos = Qos::ExactlyOnce;
        assert_eq!(inflight.admit(qos, 7), Ok(Admission::New));
        assert_eq!(inflight.release(7), Release::Unknown, "not yet answered");
        assert_eq!(inflight.admit(qos, 7), Ok(Admission::CopyOfWaiting));
        inflight.recorded(qos, 7);
        assert_eq!(inflight.admit(qos, 7), Ok(Admission::CopyOfRecorded));
        assert_eq!(inflight.admit(qos, 7), Ok(Admission::CopyOfRecorded));
        assert_eq!(inflight.release(7), Release::Recorded);
        assert_eq!(inflight.release(7), Release::Unknown);
        assert_eq!(inflight.admit(qos, 7), Ok(Admission::New));
        inflight.forgotten(qos, 7);
        assert_eq!(inflight.admit(qos, 7), Ok(Admission::New));
    }

    #[test]
    fn the_receive_maximum_counts_what_the_version_can_know() {
        let over = Err(ProtocolError::ReceiveMaximum { receive_maximum: 2 });
        let mut v5 = Inflight::new(Version::V5, 2);
        assert_eq!(v5.admit(Qos::AtLeastOnce, 1), Ok(Admission::New));
        assert_eq!(v5.admit(Qos::ExactlyOnce, 2), Ok(Admission::New));
        assert_eq!(v5.admit(Qos::AtMostOnce, 0), Ok(Admission::New));
        assert_eq!(v5.admit(Qos::ExactlyOnce, 2), Ok(Admission::CopyOfWaiting));
        v5.recorded(Qos::AtLeastOnce, 1);
        assert_eq!(v5.admit(Qos::AtLeastOnce, 3), Ok(Admission::New));
        assert_eq!(v5.admit(Qos::AtLeastOnce, 4), over);

        let mut v311 = Inflight::new(Version::V311, 2);
        for id in 1..100 {
            assert_eq!(v311.admit(Qos::AtLeastOnce, id), Ok(Admission::New));
        }
        assert_eq!(v311.admit(Qos::ExactlyOnce, 1), Ok(Admission::New));
        assert_eq!(v311.admit(Qos::ExactlyOnce, 2), Ok(Admission::New));
        assert_eq!(v311.admit(Qos::ExactlyOnce, 3), over);
    }
}
