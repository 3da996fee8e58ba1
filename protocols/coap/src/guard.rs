//! The first look at a datagram: what the decoder takes for granted is checked here, on the raw bytes.
//!
//! coap-lite decodes any version, empty messages with content, a payload marker without payload and options
//! of any number and size, and knows no critical options. This module answers each of them as RFC 7252 says:
//! §3 (format), §4.2 and §4.3 (reject), §5.4.1 (critical options), §5.4.3 (option lengths), §5.4.5 (repeats),
//! §5.7.2 (proxying). One deviation: a repeated or over-long Content-Format is refused with 4.00 instead of
//! ignored, because a gateway must not guess which of two formats a body has.
//!
//! Pure; one pass over the options, no allocation.

mod options;
#[cfg(test)]
mod tests;

use crate::{Code, Method, Reliability, Token};
pub(crate) use options::{Options, number, uint};

/// The most options in one request.
pub(crate) const OPTIONS_MAX: usize = 64;
/// The most bytes of option values in one request.
pub(crate) const OPTION_BYTES_MAX: usize = 1_024;

/// What a datagram turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Checked {
    /// A request the decoder may read.
    Request(Envelope),
    /// A request to be answered without looking further.
    Refused(Envelope, Refusal),
    /// A request that may not be answered: NON with an unknown critical option.
    Unanswerable,
    /// An empty CON: "are you there?".
    Ping { message_id: u16 },
    /// An empty ACK.
    Acknowledgement { message_id: u16 },
    /// A RST.
    Reset { message_id: u16 },
    /// A response, though the server asks nothing; `reject` is the id to reset.
    Stray { reject: Option<u16> },
    /// Not CoAP; `reject` is the id to reset, if the sender waits for one.
    Malformed { reject: Option<u16> },
}

/// What is known of a request before it is decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub reliability: Reliability,
    pub method: Option<Method>,
    pub message_id: u16,
    pub token: Token,
    pub no_response: NoResponse,
}

/// An answer to a request that goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub code: Code,
    pub text: &'static str,
}

/// The classes of answers a client does not want (RFC 7967 §2.1): bit 1 for 2.xx, 3 for 4.xx, 4 for 5.xx.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct NoResponse(u8);

impl NoResponse {
    pub(crate) fn suppresses(self, code: Code) -> bool {
        self.0 & (1 << (code.class().saturating_sub(1))) != 0
    }
}

/// The message types of RFC 7252 §3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Confirmable,
    NonConfirmable,
    Acknowledgement,
    Reset,
}

/// The fixed four bytes and the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub kind: Kind,
    pub code: u8,
    pub message_id: u16,
}

impl Header {
    /// Reads the fixed part; `None` if it is cut short or of another version, which must be ignored.
    pub(crate) fn read(datagram: &[u8]) -> Option<Self> {
        let &[first, code, high, low, ..] = datagram else { return None };
        if first >> 6 != 1 {
            return None;
        }
        let kind = match first >> 4 & 0b11 {
            0 => Kind::Confirmable,
            1 => Kind::NonConfirmable,
            2 => Kind::Acknowledgement,
            _ => Kind::Reset,
        };
        Some(Self { kind, code, message_id: u16::from_be_bytes([high, low]) })
    }

    const fn class(self) -> u8 {
        self.code >> 5
    }

    /// The id to put into a RST: only a confirmable message is rejected aloud.
    fn reject(self) -> Option<u16> {
        (self.kind == Kind::Confirmable).then_some(self.message_id)
    }
}

/// Checks one datagram.
pub(crate) fn check(datagram: &[u8]) -> Checked {
    let Some(header) = Header::read(datagram) else { return Checked::Malformed { reject: None } };
    if header.code == 0 {
        return check_empty(header, datagram);
    }
    let malformed = Checked::Malformed { reject: header.reject() };
    match (header.kind, header.class()) {
        (Kind::Confirmable | Kind::NonConfirmable, 0) => check_request(header, datagram).unwrap_or(malformed),
        (Kind::Confirmable | Kind::NonConfirmable, 2..=5) if well_formed(datagram).is_ok() => {
            Checked::Stray { reject: Some(header.message_id) }
        }
        (Kind::Acknowledgement, 2..=5) => Checked::Stray { reject: None },
        _ => malformed,
    }
}

/// RFC 7252 §4.1: an empty message is four bytes, with a token length of zero.
fn check_empty(header: Header, datagram: &[u8]) -> Checked {
    let message_id = header.message_id;
    if datagram.len() != 4 || datagram[0] & 0x0f != 0 {
        return Checked::Malformed { reject: header.reject() };
    }
    match header.kind {
        Kind::Confirmable => Checked::Ping { message_id },
        Kind::NonConfirmable => Checked::Malformed { reject: None },
        Kind::Acknowledgement => Checked::Acknowledgement { message_id },
        Kind::Reset => Checked::Reset { message_id },
    }
}

/// Whether token, options and marker follow RFC 7252 §3, whatever they mean.
pub(crate) fn well_formed(datagram: &[u8]) -> Result<(), options::Malformed> {
    let mut options = Options::new(datagram)?;
    while options.next()?.is_some() {}
    Ok(())
}

/// Walks the options once; the first refusal is kept, and the rest is still checked for its format.
fn check_request(header: Header, datagram: &[u8]) -> Result<Checked, options::Malformed> {
    let mut options = Options::new(datagram)?;
    let mut rules = Rules::default();
    while let Some((number, value)) = options.next()? {
        rules.see(number, value);
    }
    let reliability = match header.kind {
        Kind::Confirmable => Reliability::Confirmable,
        _ => Reliability::NonConfirmable,
    };
    let envelope = Envelope {
        reliability,
        method: Method::from_byte(header.code),
        message_id: header.message_id,
        token: options.token(),
        no_response: rules.no_response,
    };
    let unknown_method = Refusal { code: Code::METHOD_NOT_ALLOWED, text: "unknown method" };
    let refusal = rules.refusal.or(envelope.method.is_none().then_some(unknown_method));
    Ok(match refusal {
        None => Checked::Request(envelope),
        Some(Refusal { code: Code::BAD_OPTION, .. }) if reliability == Reliability::NonConfirmable => {
            Checked::Unanswerable
        }
        Some(refusal) => Checked::Refused(envelope, refusal),
    })
}

/// What the options seen so far amount to.
#[derive(Default)]
struct Rules {
    count: usize,
    bytes: usize,
    previous: Option<u16>,
    no_response: NoResponse,
    refusal: Option<Refusal>,
}

impl Rules {
    fn see(&mut self, number: u16, value: &[u8]) {
        self.count += 1;
        self.bytes += value.len();
        let repeated = self.previous.replace(number) == Some(number);
        if number == number::NO_RESPONSE && value.len() <= 1 && !repeated {
            self.no_response = NoResponse(value.first().copied().unwrap_or(0));
        }
        let refusal = self.too_much().or_else(|| judge(number, value, repeated));
        self.refusal = self.refusal.or(refusal);
    }

    fn too_much(&self) -> Option<Refusal> {
        let text = match self {
            Self { count, .. } if *count > OPTIONS_MAX => "more than 64 options",
            Self { bytes, .. } if *bytes > OPTION_BYTES_MAX => "more than 1024 bytes of options",
            _ => return None,
        };
        Some(Refusal { code: Code::BAD_REQUEST, text })
    }
}

/// What one option, by its number, length and repetition, does to the request.
fn judge(number: u16, value: &[u8], repeated: bool) -> Option<Refusal> {
    let (lengths, repeatable) = match number {
        number::PROXY_URI | number::PROXY_SCHEME => {
            return Some(Refusal { code: Code::PROXYING_NOT_SUPPORTED, text: "not a proxy" });
        }
        number::URI_HOST => (1..=255, false),
        number::URI_PORT | number::CONTENT_FORMAT | number::ACCEPT => (0..=2, false),
        number::URI_PATH | number::URI_QUERY => (0..=255, true),
        number::BLOCK1 | number::BLOCK2 => (0..=3, false),
        _ if number % 2 == 1 => {
            return Some(Refusal { code: Code::BAD_OPTION, text: "unknown critical option" });
        }
        _ => return None,
    };
    if lengths.contains(&value.len()) && (repeatable || !repeated) {
        return None;
    }
    match number {
        number::CONTENT_FORMAT => {
            Some(Refusal { code: Code::BAD_REQUEST, text: "bad or repeated content-format" })
        }
        _ => Some(Refusal { code: Code::BAD_OPTION, text: "bad length or repetition of an option" }),
    }
}
