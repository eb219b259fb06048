//! One authentication of a client, and the events that come of it.
//!
//! What must always hold: a yes is told only for what the mechanism has as its last message. A challenge proves nothing.

use auditring_event::{ActionSpec, index_of, spec_at};

use crate::errors;
use crate::facts::{Draft, Facts};

const SUCCESS: &ActionSpec = spec_at(index_of(32));
const FAILURE: &ActionSpec = spec_at(index_of(33));

/// How a mechanism goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One message from either side.
    Plain,
    /// Two.
    Scram,
    /// One; a no comes as a challenge, to which the client must answer before the broker says so.
    Bearer,
    /// Who knows; the broker's last message is empty, or it serves what is asked next.
    #[default]
    Other,
}

impl Kind {
    pub(crate) fn of(mechanism: &str) -> Self {
        match mechanism {
            "PLAIN" => Self::Plain,
            "OAUTHBEARER" => Self::Bearer,
            _ if mechanism.starts_with("SCRAM-") => Self::Scram,
            _ => Self::Other,
        }
    }

    /// How many messages a client sends, unless it is challenged; none where only they know.
    pub(crate) const fn messages(self) -> u32 {
        match self {
            Self::Plain | Self::Bearer => 1,
            Self::Scram => 2,
            Self::Other => 0,
        }
    }
}

/// One attempt, as far as it has come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attempt {
    pub(crate) mechanism: String,
    pub(crate) kind: Kind,
    /// Whom the client says it is.
    pub(crate) claimed: Option<String>,
    /// How many messages it has sent.
    pub(crate) sent: u32,
    /// Which of the connection's handshakes it is.
    pub(crate) round: u64,
}

impl Attempt {
    /// Bytes that are kept.
    pub(crate) fn bytes(&self) -> usize {
        self.mechanism.len() + self.claimed.as_ref().map_or(0, String::len)
    }

    /// Whether the broker's yes to a message is its yes to the client.
    pub(crate) fn is_through(&self, challenge: &[u8]) -> bool {
        match self.kind {
            Kind::Plain => true,
            // Its last message is the server's own proof.
            Kind::Scram => self.sent == self.kind.messages() && challenge.starts_with(b"v="),
            Kind::Bearer | Kind::Other => challenge.is_empty(),
        }
    }

    pub(crate) fn proved(&self, tap: Option<&str>, facts: &mut Facts) {
        let mut draft = self.draft(SUCCESS, "principal", tap, facts);
        draft.proved(self.claimed.clone(), self.mechanism.clone());
    }

    pub(crate) fn failed(&self, code: i16, tap: Option<&str>, facts: &mut Facts) {
        self.draft(FAILURE, "attempted_principal", tap, facts).status(errors::name(code)).finish();
    }

    fn draft<'f>(&self, spec: &'static ActionSpec, name: &str, tap: Option<&str>, facts: &'f mut Facts) -> Draft<'f> {
        let mut draft = facts.draft(spec);
        draft.tap(tap);
        if let Some(claimed) = &self.claimed {
            draft.text(name, claimed.as_bytes());
        }
        if !self.mechanism.is_empty() {
            draft.text("mechanism", self.mechanism.as_bytes());
        }
        draft
    }
}
