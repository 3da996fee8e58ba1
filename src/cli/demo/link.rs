//! A device's way to the gateway: real clients over real sockets, each as its protocol is used in the field.
//!
//! MQTT sends a JSON message a reading with QoS 1; CoAP a confirmable POST with a SenML pack in CBOR, one at a
//! time (RFC 7252 §4.7: NSTART is 1); HTTP a POST with a SenML pack in JSON over a connection that is kept.
//! A send returns when all its readings are acknowledged.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use coap::client::{Call, CallError, ClientSettings};
use http::{Request, StatusCode, header};
use mqtt::client::{Ack, ClientError, Options, PacketIds, Publish};
use senml::{Pack, Record, Value};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::series::Sample;
use crate::config::ListenerKind;
use crate::http_client::{HttpClient, HttpError};

/// How long a gateway on the same machine may take to acknowledge.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// Readings of one MQTT burst.
const MQTT_READINGS_MAX: usize = 256;
/// Readings of one CoAP pack: it fits into one datagram.
const COAP_READINGS_MAX: usize = 24;
/// Readings of one HTTP pack.
const HTTP_READINGS_MAX: usize = 256;
/// `application/senml+cbor` (RFC 8428 §12.3).
const SENML_CBOR: u16 = 112;

/// Why readings were not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The MQTT connection.
    #[error(transparent)]
    Mqtt(#[from] ClientError),
    /// The CoAP exchange.
    #[error(transparent)]
    Coap(#[from] CallError),
    /// The HTTP exchange.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// A socket.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The payload cannot be written.
    #[error("{0}")]
    Payload(String),
    /// No answer in time.
    #[error("no acknowledgement within {} s", ANSWER_LIMIT.as_secs())]
    Late,
    /// The gateway asks for it again later.
    #[error("the gateway has no room: {0}")]
    Busy(String),
    /// The gateway refuses it for good.
    #[error("refused: {0}")]
    Refused(String),
}

/// An open way to the gateway.
pub struct Link(Way);

enum Way {
    Mqtt(MqttWay),
    Coap(CoapWay),
    Http(HttpWay),
}

impl Link {
    /// Opens the way of the machine called `name` to the listener at `addr`.
    ///
    /// # Errors
    /// Where nobody listens.
    pub async fn open(kind: ListenerKind, addr: SocketAddr, name: &str) -> Result<Self, LinkError> {
        Ok(Self(match kind {
            ListenerKind::Mqtt => Way::Mqtt(MqttWay::open(addr, name).await?),
            ListenerKind::Coap => Way::Coap(CoapWay::open(addr, name).await?),
            ListenerKind::Http => Way::Http(HttpWay::new(addr, name)),
        }))
    }

    /// Readings that one send may carry.
    pub fn readings_max(&self) -> usize {
        match self.0 {
            Way::Mqtt(_) => MQTT_READINGS_MAX,
            Way::Coap(_) => COAP_READINGS_MAX,
            Way::Http(_) => HTTP_READINGS_MAX,
        }
    }

    /// Sends `samples` and waits until the gateway has acknowledged all of them.
    ///
    /// # Errors
    /// Where it has not; only [`LinkError::Busy`] is worth another try.
    pub async fn send(&mut self, samples: &[Sample]) -> Result<(), LinkError> {
        match &mut self.0 {
            Way::Mqtt(way) => way.send(samples).await,
            Way::Coap(way) => way.send(samples).await,
            Way::Http(way) => way.send(samples).await,
        }
    }
}

/// A connection.
struct MqttWay {
    client: mqtt::client::Client<TcpStream>,
    topic: String,
    ids: PacketIds,
}

impl MqttWay {
    async fn open(addr: SocketAddr, name: &str) -> Result<Self, LinkError> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let options = Options::new(name);
        let connect = mqtt::client::Client::connect(stream, &options);
        let client = timeout(ANSWER_LIMIT, connect).await.map_err(|_| LinkError::Late)??;
        Ok(Self { client, topic: format!("plant/{name}/json"), ids: PacketIds::default() })
    }

    async fn send(&mut self, samples: &[Sample]) -> Result<(), LinkError> {
        let bodies: Vec<_> = samples.iter().map(json).zip(&mut self.ids).collect();
        let mut batch = Vec::with_capacity(bodies.len());
        for (body, id) in &bodies {
            batch.push(Publish::at_least_once(&self.topic, body.as_bytes(), *id));
        }
        let mut acks = Vec::with_capacity(batch.len());
        let sent = timeout(ANSWER_LIMIT, self.client.publish_batch(&batch, &mut acks)).await;
        sent.map_err(|_| LinkError::Late)??;
        taken(&batch, &acks)
    }
}

/// A port of its own.
struct CoapWay {
    client: coap::Client,
    path: String,
    base_name: String,
}

impl CoapWay {
    async fn open(addr: SocketAddr, name: &str) -> Result<Self, LinkError> {
        let client = coap::Client::connect(addr, ClientSettings::default()).await?;
        Ok(Self { client, path: format!("plant/{name}/senml"), base_name: format!("{name}/") })
    }

    async fn send(&self, samples: &[Sample]) -> Result<(), LinkError> {
        let body = senml::cbor::encode(&pack(&self.base_name, samples)).map_err(unwritable)?;
        let answer = self.client.call(&Call::post(self.path.as_str()).body(SENML_CBOR, body)).await?;
        let said = || format!("{} {}", answer.code, String::from_utf8_lossy(&answer.payload));
        match answer.code {
            code if code.is_success() => Ok(()),
            coap::Code::SERVICE_UNAVAILABLE | coap::Code::TOO_MANY_REQUESTS => Err(LinkError::Busy(said())),
            _ => Err(LinkError::Refused(said())),
        }
    }
}

/// A pool of connections.
struct HttpWay {
    client: HttpClient,
    url: String,
    base_name: String,
}

impl HttpWay {
    fn new(addr: SocketAddr, name: &str) -> Self {
        let url = format!("http://{addr}/ingest/plant/{name}/senml");
        Self { client: HttpClient::default(), url, base_name: format!("{name}/") }
    }

    async fn send(&self, samples: &[Sample]) -> Result<(), LinkError> {
        let body = senml::json::encode(&pack(&self.base_name, samples)).map_err(unwritable)?;
        let request = Request::post(self.url.as_str())
            .header(header::CONTENT_TYPE, "application/senml+json")
            .body(Bytes::from(body))
            .map_err(|error| LinkError::Payload(error.to_string()))?;
        let answer = self.client.send(request, ANSWER_LIMIT).await?;
        let said = || format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body));
        match answer.status {
            status if status.is_success() => Ok(()),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => Err(LinkError::Busy(said())),
            _ => Err(LinkError::Refused(said())),
        }
    }
}

fn unwritable(error: senml::Error) -> LinkError {
    LinkError::Payload(error.to_string())
}

/// Every publish has its acknowledgement.
fn taken(batch: &[Publish<'_>], acks: &[Ack]) -> Result<(), LinkError> {
    let is_taken =
        |publish: &Publish<'_>| acks.iter().any(|ack| ack.packet_id == publish.packet_id && ack.is_success());
    match batch.iter().filter(|publish| !is_taken(publish)).count() {
        0 => Ok(()),
        missing => Err(LinkError::Refused(format!("{missing} of {} messages", batch.len()))),
    }
}

/// As the source `machines` of the configuration wants it.
fn json(sample: &Sample) -> String {
    format!(r#"{{"ts":{},"temperature":{}}}"#, sample.time.floor_millis(), sample.temperature)
}

/// As the source `senml` wants it; SenML has no unit for Fahrenheit.
fn pack<'a>(base_name: &'a str, samples: &[Sample]) -> Pack<'a> {
    let record = |(index, sample): (usize, &Sample)| Record {
        base_name: (index == 0).then_some(base_name.into()),
        name: Some("temperature".into()),
        time: Some(sample.time.floor_millis() as f64 / 1000.0),
        value: Some(Value::Number(sample.temperature)),
        ..Record::default()
    };
    Pack { records: samples.iter().enumerate().map(record).collect() }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::model::Timestamp;

    const SAMPLES: [Sample; 2] = [
        Sample { time: Timestamp::from_millis(1_386_018_900_000), temperature: 73.97 },
        Sample { time: Timestamp::from_millis(1_386_019_200_000), temperature: 74.5 },
    ];

    #[test]
    fn payloads_are_those_of_the_configuration() {
        expect![[r#"{"ts":1386018900000,"temperature":73.97}"#]].assert_eq(&json(&SAMPLES[0]));
        let bytes = senml::json::encode(&pack("press-2/", &SAMPLES)).unwrap();
        expect![[r#"[{"bn":"press-2/","n":"temperature","t":1386018900,"v":73.97},{"n":"temperature","t":1386019200,"v":74.5}]"#]].assert_eq(&String::from_utf8(bytes).unwrap());
    }

    #[test]
    fn a_full_coap_pack_fits_into_one_block() {
        let samples = [Sample { temperature: 73.967_322_07, ..SAMPLES[0] }; COAP_READINGS_MAX];
        let bytes = senml::cbor::encode(&pack("press-2/", &samples)).unwrap();
        assert!(bytes.len() <= 1024, "{} bytes", bytes.len());
    }

    #[test]
    fn a_publish_without_its_acknowledgement_is_not_taken() {
        let batch = [Publish::at_least_once("t", b"", 1), Publish::at_least_once("t", b"", 2)];
        let ack = |packet_id, reason| Ack { packet_id, reason };
        assert!(taken(&batch, &[ack(2, 0), ack(1, 0)]).is_ok());
        for acks in [vec![ack(1, 0)], vec![ack(1, 0), ack(2, 0x97)], vec![ack(1, 0), ack(3, 0)]] {
            assert_eq!(taken(&batch, &acks).unwrap_err().to_string(), "refused: 1 of 2 messages");
        }
    }
}
