//! The event that says what a tap could not read.

use auditring_event::{ActionSpec, index_of, spec_at};

use crate::asked::Asked;
use crate::facts::Facts;

const BLIND: &ActionSpec = spec_at(index_of(713));

/// Whose bytes they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Client,
    Broker,
}

/// Why it could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// No frame has such a length.
    MalformedFrame,
    MalformedRequest,
    MalformedResponse,
    /// An answer to nothing that was asked, or to what cannot be known.
    UnexpectedResponse,
    /// The broker has answered what was asked after it.
    Unanswered,
    /// The table does not have this version of the API.
    UnsupportedVersion,
    /// Where the tokens of such a mechanism end can only be known by understanding them.
    UnsupportedMechanism,
    /// More than may be kept of one message.
    FrameTooLarge,
    /// More requests, or bytes of them, wait for an answer than may.
    InFlightOverflow,
}

impl Why {
    const fn status(self) -> &'static str {
        match self {
            Self::MalformedFrame => "MalformedFrame",
            Self::MalformedRequest => "MalformedRequest",
            Self::MalformedResponse => "MalformedResponse",
            Self::UnexpectedResponse => "UnexpectedResponse",
            Self::Unanswered => "Unanswered",
            Self::UnsupportedVersion => "UnsupportedVersion",
            Self::UnsupportedMechanism => "UnsupportedMechanism",
            Self::FrameTooLarge => "FrameTooLarge",
            Self::InFlightOverflow => "InFlightOverflow",
        }
    }
}

/// For how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blind {
    /// This request and its answer; what comes after is read again.
    Request,
    /// All that comes after on this connection.
    Connection,
}

/// Says so; with the size of a message that is too large, for whoever wonders what was hidden behind it.
pub(crate) fn blind(
    facts: &mut Facts,
    tap: Option<&str>,
    why: Why,
    from: From,
    blind: Blind,
    asked: Option<&Asked>,
    bytes: Option<usize>,
) {
    let mut draft = facts.draft(BLIND);
    draft.status(why.status()).tap(tap);
    draft.text("from", if from == From::Client { b"client" } else { b"broker" });
    draft.text("blind", if blind == Blind::Request { b"request" } else { b"connection" });
    if let Some(asked) = asked {
        draft.int("client_correlation_id", asked.client.into()).int("api_version", asked.version.into());
        draft.text("api", asked.name().as_bytes());
    }
    if let Some(bytes) = bytes {
        draft.int("bytes", bytes as i64);
    }
    draft.finish();
}
