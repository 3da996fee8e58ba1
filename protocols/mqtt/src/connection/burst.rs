//! Bytes to bursts, verdicts to answers: the two halves of a connection's work, both synchronous.

use std::time::Duration;

use bytes::BytesMut;
use tokio::time::Instant;

use crate::codec::{Answer, Codec, Control};
use crate::error::{CloseReason, ProtocolError};
use crate::frame::{self, ExtentEnd, Header, PublishHead, Room};
use crate::host::{Host, Message, Qos, Refusal, Topic, Verdict, Version};
use crate::inflight::{Admission, Release};
use crate::settings::BURSTS_WAITING_MAX;
use crate::topic;

use super::{Connection, Partial, Reading};

/// Messages of one burst and what is owed for each.
#[derive(Default)]
struct Burst {
    messages: Vec<Message>,
    owed: Vec<Owed>,
}

/// The answer that one message waits for.
#[derive(Clone, Copy, Debug)]
struct Owed {
    qos: Qos,
    packet_id: u16,
}

/// A burst that the host has settled.
pub(super) struct Answered {
    owed: Vec<Owed>,
    verdicts: Vec<Verdict>,
}

impl<S, H: Host> Connection<'_, S, H> {
    /// Takes all complete frames that may be taken; what they earn at once is encoded.
    pub(super) fn take_frames(&mut self) -> Result<(), CloseReason> {
        if matches!(self.reading, Reading::HeldUntil(_)) {
            return Ok(());
        }
        loop {
            let room =
                if self.bursts.len() < BURSTS_WAITING_MAX { Room::Publishes } else { Room::ControlOnly };
            let extent = frame::extent(self.input.bytes(), self.settings.max_remaining_bytes(), room);
            if extent.bytes > 0 {
                let frames = self.input.take(extent.bytes);
                self.take_burst(frames)?;
            }
            match extent.end {
                ExtentEnd::Full => continue,
                ExtentEnd::Refused(error) => return Err(error.into()),
                ExtentEnd::NoRoom => self.reading = Reading::Full,
                ExtentEnd::Incomplete(frame_bytes) => {
                    let rest = self.input.bytes().is_empty();
                    self.partial = if rest { Partial::None } else { Partial::Frame(frame_bytes) };
                    if self.reading == Reading::Full {
                        self.reading = Reading::Open;
                        self.heard = Instant::now(); // while it was not read, the peer could not be heard
                    }
                }
            }
            return Ok(());
        }
    }

    /// Decodes frames and hands their messages to the host, those before a bad frame too.
    fn take_burst(&mut self, mut frames: BytesMut) -> Result<(), CloseReason> {
        let mut burst = Burst::default();
        let mut outcome = Ok(());
        while let (Ok(()), Ok(Some(header))) = (&outcome, Header::parse(&frames)) {
            let frame = frames.split_to(header.frame_bytes());
            outcome = match header.packet_type() {
                frame::PUBLISH => self.take_publish(header, frame, &mut burst).map_err(CloseReason::from),
                _ => self.take_control(header, frame),
            };
        }
        if !burst.messages.is_empty() {
            self.submit(burst);
        }
        outcome
    }

    fn take_publish(
        &mut self,
        header: Header,
        frame: BytesMut,
        burst: &mut Burst,
    ) -> Result<(), ProtocolError> {
        let version = self.codec.version;
        let head = PublishHead::parse(&frame, header, version)?;
        let payload_bytes = frame.len() - head.payload_at;
        let bytes_max = self.settings.max_message_bytes;
        if payload_bytes > bytes_max {
            let evidence = Box::new(frame::evidence(&frame, header, version));
            return Err(ProtocolError::TooLarge { bytes_max, evidence });
        }
        let named = topic::check_name(&frame[head.topic.clone()]).map_err(|fault| {
            let evidence = Box::new(frame::evidence(&frame, header, version));
            ProtocolError::Topic { fault, evidence }
        });
        let packet = match self.codec.decode_publish(frame) {
            // With an alias the topic may be empty, so this comes first.
            Err(alias @ ProtocolError::TopicAlias { .. }) => return Err(alias),
            decoded => named.and(decoded)?,
        };
        if packet.payload.len() != payload_bytes {
            return Err(frame::malformed(frame::PUBLISH, "properties run over their length"));
        }
        let (qos, packet_id) = (head.qos, head.packet_id);
        match self.inflight.admit(qos, packet_id)? {
            Admission::CopyOfWaiting => return Ok(()),
            Admission::CopyOfRecorded => {
                self.codec.encode(Answer::PubRec { packet_id, refusal: None }, &mut self.out);
                return Ok(());
            }
            Admission::New => {}
        }
        burst.owed.push(Owed { qos, packet_id });
        burst.messages.push(Message {
            topic: Topic::checked(packet.topic),
            payload: packet.payload,
            properties: packet.properties,
            qos,
            packet_id,
            dup: head.dup,
            retain: head.retain,
            is_will: false,
        });
        Ok(())
    }

    fn take_control(&mut self, header: Header, frame: BytesMut) -> Result<(), CloseReason> {
        let answer = match self.codec.decode_control(header, frame)? {
            Control::Ping => Answer::Pong,
            Control::Release(packet_id) => match self.inflight.release(packet_id) {
                Release::Recorded => Answer::PubComp { packet_id },
                Release::Unknown => Answer::PubCompUnknown { packet_id },
            },
            Control::Subscribe { packet_id, filters } => Answer::SubAck { packet_id, filters },
            Control::Unsubscribe { packet_id, filters } => Answer::UnsubAck { packet_id, filters },
            Control::Ignored => return Ok(()),
            Control::Disconnect => return Err(CloseReason::Disconnected),
            Control::DisconnectWithWill => return Err(CloseReason::DisconnectedWithWill),
        };
        self.codec.encode(answer, &mut self.out);
        Ok(())
    }

    fn submit(&mut self, burst: Burst) {
        let Burst { messages, owed } = burst;
        let (host, session) = (self.host, self.session.clone());
        self.bursts.push_back(Box::pin(async move {
            let verdicts = host.publish(&session, messages).await;
            Answered { owed, verdicts }
        }));
    }

    /// Encodes the answers of all settled bursts, up to one after which the connection has to close.
    pub(super) fn acknowledge_settled(&mut self) -> Result<(), CloseReason> {
        for answered in std::mem::take(&mut self.settled) {
            self.acknowledge(answered)?;
        }
        Ok(())
    }

    fn acknowledge(&mut self, answered: Answered) -> Result<(), CloseReason> {
        let Answered { owed, verdicts } = answered;
        let mut verdicts = verdicts.into_iter();
        for Owed { qos, packet_id } in owed {
            match verdicts.next().unwrap_or(Verdict::Later) {
                Verdict::Accepted => self.answer(qos, packet_id, None),
                Verdict::Refused(refusal) => self.answer(qos, packet_id, Some(refusal)),
                Verdict::Close(code) => return Err(CloseReason::Host(code)),
                Verdict::Later if qos == Qos::AtMostOnce => {}
                Verdict::Later => {
                    self.inflight.forgotten(qos, packet_id);
                    self.hold();
                }
            }
        }
        Ok(())
    }

    fn answer(&mut self, qos: Qos, packet_id: u16, mut refusal: Option<Refusal>) {
        if let Some(refusal) = refusal.as_mut().filter(|_| !self.reason_strings) {
            refusal.reason.clear();
        }
        let final_refusal = refusal.is_some() && self.codec.version == Version::V5;
        if final_refusal {
            self.inflight.forgotten(qos, packet_id);
        } else {
            self.inflight.recorded(qos, packet_id);
        }
        let refusal = refusal.as_ref();
        match qos {
            Qos::AtMostOnce => {}
            Qos::AtLeastOnce => self.codec.encode(Answer::PubAck { packet_id, refusal }, &mut self.out),
            Qos::ExactlyOnce => self.codec.encode(Answer::PubRec { packet_id, refusal }, &mut self.out),
        }
    }

    /// Stops reading for half the keep alive, after which the connection is closed: only a new
    /// connection makes a client resend.
    fn hold(&mut self) {
        if !matches!(self.reading, Reading::HeldUntil(_)) {
            // `keep_alive` is one and a half times the client's value.
            let half = self.keep_alive.map_or(Duration::MAX, |keep_alive| keep_alive / 3);
            self.reading = Reading::HeldUntil(Instant::now() + half.min(self.settings.hold_max));
        }
    }
}
