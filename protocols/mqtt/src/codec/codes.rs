//! Our refusals as rumqttd's codes. MQTT 3.1.1 has five for a CONNECT: the nearest stands for the rest.

use rumqttd::protocol as wire;

use crate::error::ConnectRefusal;
use crate::host::{RefusalCode, Version};

/// The code of a CONNACK.
pub(super) fn connect_code(version: Version, refusal: ConnectRefusal) -> wire::ConnectReturnCode {
    use ConnectRefusal as R;
    use wire::ConnectReturnCode as W;
    match (version, refusal) {
        (Version::V311, R::UnsupportedVersion) => W::RefusedProtocolVersion,
        (Version::V5, R::UnsupportedVersion) => W::UnsupportedProtocolVersion,
        (_, R::ClientIdInvalid) => W::ClientIdentifierNotValid,
        (_, R::BadCredentials) => W::BadUserNamePassword,
        (_, R::NotAuthorized) => W::NotAuthorized,
        (Version::V311, R::Banned | R::BadAuthenticationMethod) => W::NotAuthorized,
        (Version::V311, _) => W::ServiceUnavailable,
        (Version::V5, R::Unavailable) => W::ServerUnavailable,
        (Version::V5, R::Busy) => W::ServerBusy,
        (Version::V5, R::Banned) => W::Banned,
        (Version::V5, R::BadAuthenticationMethod) => W::BadAuthenticationMethod,
        (Version::V5, R::QuotaExceeded) => W::QuotaExceeded,
        (Version::V5, R::RateExceeded) => W::ConnectionRateExceeded,
        (Version::V5, R::WillTopicInvalid) => W::TopicNameInvalid,
        (Version::V5, R::TooLarge) => W::PacketTooLarge,
        (Version::V5, R::Malformed) => W::MalformedPacket,
    }
}

/// The code of a PUBACK.
pub(super) fn puback_reason(code: RefusalCode) -> wire::PubAckReason {
    use wire::PubAckReason as W;
    match code {
        RefusalCode::Unspecified => W::UnspecifiedError,
        RefusalCode::ImplementationSpecific => W::ImplementationSpecificError,
        RefusalCode::NotAuthorized => W::NotAuthorized,
        RefusalCode::TopicNameInvalid => W::TopicNameInvalid,
        RefusalCode::QuotaExceeded => W::QuotaExceeded,
        RefusalCode::PayloadFormatInvalid => W::PayloadFormatInvalid,
    }
}

/// The code of a PUBREC; the same numbers, another type.
pub(super) fn pubrec_reason(code: RefusalCode) -> wire::PubRecReason {
    use wire::PubRecReason as W;
    match code {
        RefusalCode::Unspecified => W::UnspecifiedError,
        RefusalCode::ImplementationSpecific => W::ImplementationSpecificError,
        RefusalCode::NotAuthorized => W::NotAuthorized,
        RefusalCode::TopicNameInvalid => W::TopicNameInvalid,
        RefusalCode::QuotaExceeded => W::QuotaExceeded,
        RefusalCode::PayloadFormatInvalid => W::PayloadFormatInvalid,
    }
}
