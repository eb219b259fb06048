//! Who a client proves to be, as seen from the side.
//!
//! ```text
//! SaslHandshake (mechanism) ─▶ SaslAuthenticate (proof) ─▶ … ─▶ the broker's yes or no
//!                           └▶ tokens without any header, where the handshake was of version 0
//! ```
//!
//! What must always hold: of a proof only the name in it is kept. PLAIN has it between two NULs, in front of the password;
//! SCRAM in its first message, which has no secret; OAUTHBEARER in front of the token, where the client says it at all, and
//! the token is never looked into. What other mechanisms prove is not seen, only whether the broker took it.

use auditring_event::{ActionSpec, index_of, sanitize, spec_at};

use crate::claim::claim;
use crate::cursor::{Cursor, Step};
use crate::errors;
use crate::facts::{Draft, Facts};

const SUCCESS: &ActionSpec = spec_at(index_of(32));
const FAILURE: &ActionSpec = spec_at(index_of(33));
const MECHANISM_CAP: usize = auditring_event::SESSION_MECHANISM_CAP;

/// How a mechanism goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One message from either side.
    Plain,
    /// Two.
    Scram,
    /// One; a no comes as a challenge, to which the client must answer before the broker says so.
    Bearer,
    /// Who knows; the broker's last message is empty.
    #[default]
    Other,
}

impl Kind {
    fn of(mechanism: &str) -> Self {
        match mechanism {
            "PLAIN" => Self::Plain,
            "OAUTHBEARER" => Self::Bearer,
            _ if mechanism.starts_with("SCRAM-") => Self::Scram,
            _ => Self::Other,
        }
    }
}

/// One attempt, as far as it has come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attempt {
    mechanism: String,
    kind: Kind,
    /// Whom the client says it is.
    claimed: Option<String>,
    /// How many messages it has sent.
    sent: u32,
}

/// Where a connection stands.
#[derive(Debug, Default)]
pub(crate) struct Sasl {
    attempt: Attempt,
    /// Whether frames are bare tokens.
    raw: bool,
}

impl Sasl {
    /// Whether frames are bare tokens, without a header.
    #[inline]
    pub(crate) fn is_raw(&self) -> bool {
        self.raw
    }

    /// A client asks for a mechanism.
    pub(crate) fn handshake(&mut self, mut request: Cursor<'_>) -> Step<Attempt> {
        let (mechanism, _) = sanitize::text(request.string()?, MECHANISM_CAP);
        self.attempt =
            Attempt { kind: Kind::of(&mechanism), mechanism: mechanism.into_owned(), claimed: None, sent: 0 };
        Ok(self.attempt.clone())
    }

    /// The broker has it or not. Whether what comes next can be read.
    pub(crate) fn shaken(
        &mut self,
        attempt: &Attempt,
        version: i16,
        answer: &mut Cursor<'_>,
        tap: Option<&str>,
        facts: &mut Facts,
    ) -> Step<(i16, bool)> {
        let code = answer.i16()?;
        if code != 0 {
            attempt.failed(code, tap, facts);
        }
        self.raw = code == 0 && version == 0;
        // How many tokens those exchange only they know.
        Ok((code, !self.raw || attempt.kind != Kind::Other))
    }

    /// A client sends a proof, or a part of it.
    pub(crate) fn authenticate(&mut self, mut request: Cursor<'_>) -> Step<Attempt> {
        let proof = request.nullable_bytes()?.unwrap_or_default();
        self.token(proof);
        Ok(self.attempt.clone())
    }

    /// The same without a header.
    pub(crate) fn token(&mut self, proof: &[u8]) {
        let attempt = &mut self.attempt;
        attempt.sent += 1;
        if attempt.sent == 1 {
            attempt.claimed = claim(attempt.kind, proof);
        }
    }

    /// The broker answers it.
    pub(crate) fn authenticated(
        &mut self,
        attempt: &Attempt,
        answer: &mut Cursor<'_>,
        tap: Option<&str>,
        facts: &mut Facts,
    ) -> Step<i16> {
        let (code, _message) = (answer.i16()?, answer.nullable_string()?);
        let challenge = answer.nullable_bytes()?.unwrap_or_default();
        if code != 0 {
            attempt.failed(code, tap, facts);
        } else if attempt.is_through(challenge) {
            attempt.proved(tap, facts);
        } else {
            return Ok(code);
        }
        self.again();
        Ok(code)
    }

    /// The same without a header: only a yes is said, a no is the end of the connection.
    pub(crate) fn token_answered(&mut self, challenge: &[u8], tap: Option<&str>, facts: &mut Facts) {
        let attempt = &self.attempt;
        if attempt.kind == Kind::Scram && challenge.starts_with(b"e=") {
            attempt.failed(errors::SASL_AUTHENTICATION_FAILED, tap, facts);
        } else if attempt.is_through(challenge) {
            attempt.proved(tap, facts);
            self.raw = false;
        } else {
            return;
        }
        self.again();
    }

    /// The connection has ended: with a bare token that got no yes, that was the no.
    pub(crate) fn end(&mut self, tap: Option<&str>, facts: &mut Facts) {
        if self.raw && self.attempt.sent > 0 {
            self.attempt.failed(errors::SASL_AUTHENTICATION_FAILED, tap, facts);
        }
        self.raw = false;
    }

    /// The same mechanism may be gone through once more: clients prove themselves again before a session ends.
    fn again(&mut self) {
        (self.attempt.claimed, self.attempt.sent) = (None, 0);
    }
}

impl Attempt {
    /// Bytes that are kept.
    pub(crate) fn bytes(&self) -> usize {
        self.mechanism.len() + self.claimed.as_ref().map_or(0, String::len)
    }

    /// Whether the broker's yes to a message is its yes to the client.
    fn is_through(&self, challenge: &[u8]) -> bool {
        match self.kind {
            Kind::Plain => true,
            Kind::Scram => self.sent >= 2,
            Kind::Bearer | Kind::Other => challenge.is_empty(),
        }
    }

    fn proved(&self, tap: Option<&str>, facts: &mut Facts) {
        let mut draft = self.draft(SUCCESS, "principal", tap, facts);
        draft.proved(self.claimed.clone(), self.mechanism.clone());
    }

    fn failed(&self, code: i16, tap: Option<&str>, facts: &mut Facts) {
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
