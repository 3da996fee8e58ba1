//! Winding down: answer what waits, say why, keep the peer from a reset, publish the will.

use bytes::BytesMut;
use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use crate::codec::{Answer, Codec};
use crate::error::{CloseReason, Evidence, ProtocolError};
use crate::frame::{self, Header};
use crate::host::{Host, Message, Version, Will};
use crate::settings::{PUBLISH_HEAD_BYTES_MAX, Settings};

use super::Connection;

/// Bytes read and discarded after the last words at most.
const LINGER_BYTES_MAX: usize = 16 * 1024 * 1024;

impl<S, H> Connection<'_, S, H>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    H: Host,
{
    /// Ends the connection. Waiting bursts are awaited whatever the reason, because a QoS 0 client may
    /// well publish and leave; so is the dead letter of an offence.
    pub(super) async fn close(mut self, mut reason: CloseReason) -> CloseReason {
        let give_up = Instant::now() + self.settings.drain_timeout;
        let mut listens = reason.peer_listens();
        loop {
            if self.acknowledge_settled().is_err() {
                self.settled.clear(); // the first reason to close stands
            }
            if listens {
                listens = self.write().await.is_ok();
            }
            match timeout_at(give_up, self.bursts.next()).await {
                Ok(Some(answered)) => self.settle(answered),
                Ok(None) if self.settled.is_empty() => break,
                Ok(None) => {}
                Err(_elapsed) => {
                    tracing::warn!(waiting = self.bursts.len(), "closed before the host answered all bursts");
                    break;
                }
            }
        }
        if let CloseReason::Protocol(error) = &mut reason {
            self.collect_evidence(error).await;
            let told = self.host.protocol_error(self.peer, Some(&self.session), error);
            let _ = timeout_at(give_up, told).await;
        }
        self.last_words(&reason, listens).await;
        self.publish_will(&reason).await;
        self.host.closed(&self.session, &reason);
        reason
    }

    /// Reads topic and first bytes of a publish that was refused from its fixed header.
    async fn collect_evidence(&mut self, error: &mut ProtocolError) {
        let ProtocolError::TooLarge { evidence, .. } = error else { return };
        let Ok(Some(header)) = Header::parse(self.input.bytes()) else { return };
        if header.packet_type() != frame::PUBLISH || !evidence.topic.is_empty() {
            return;
        }
        let wanted = PUBLISH_HEAD_BYTES_MAX + Evidence::PAYLOAD_BYTES_MAX;
        let read = async {
            while self.input.bytes().len() < wanted
                && self.input.read(&mut self.stream, wanted).await.is_ok_and(|count| count > 0)
            {}
        };
        let _ = timeout(self.settings.linger, read).await;
        **evidence = frame::evidence(self.input.bytes(), header, self.codec.version);
    }

    async fn last_words(&mut self, reason: &CloseReason, listens: bool) {
        if !listens {
            return;
        }
        let mut out = BytesMut::new();
        if let Some(code) = reason.disconnect_code().filter(|_| self.codec.version == Version::V5) {
            let text = if self.reason_strings { reason.to_string() } else { String::new() };
            self.codec.encode(Answer::Disconnect(code, &text), &mut out);
        }
        say_and_linger(&mut self.stream, &out, self.settings).await;
    }

    async fn publish_will(&mut self, reason: &CloseReason) {
        let Some(will) = self.will.take().filter(|_| *reason != CloseReason::Disconnected) else { return };
        let Will { topic, payload, qos, retain, properties } = will;
        let message =
            Message { topic, payload, properties, qos, packet_id: 0, dup: false, retain, is_will: true };
        let published = self.host.publish(&self.session, vec![message]);
        if timeout(self.settings.drain_timeout, published).await.is_err() {
            tracing::warn!("the host did not answer a will in time");
        }
    }
}

/// Writes the last words, ends the sending side and reads on for a moment: closing a socket with unread
/// bytes in it resets the connection, and the peer may lose what was said.
pub(super) async fn say_and_linger<S>(stream: &mut S, words: &[u8], settings: &Settings)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let say = async {
        stream.write_all(words).await?;
        stream.shutdown().await
    };
    if !matches!(timeout(settings.write_timeout, say).await, Ok(Ok(()))) {
        return;
    }
    let linger = async {
        let mut discarded = 0;
        let mut scratch = [0; 1024];
        while discarded < LINGER_BYTES_MAX {
            match stream.read(&mut scratch).await {
                Ok(0) | Err(_) => return,
                Ok(count) => discarded += count,
            }
        }
    };
    let _ = timeout(settings.linger, linger).await;
}
