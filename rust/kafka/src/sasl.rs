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

use crate::cursor::{Cursor, Step};
use crate::errors;
use crate::facts::{Draft, Facts};

const SUCCESS: &ActionSpec = spec_at(index_of(32));
const FAILURE: &ActionSpec = spec_at(index_of(33));
const NAME_CAP: usize = auditring_event::SESSION_PRINCIPAL_CAP;
const MECHANISM_CAP: usize = auditring_event::SESSION_MECHANISM_CAP;

/// How a mechanism goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
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

/// The name in a client's first message.
fn claim(kind: Kind, proof: &[u8]) -> Option<String> {
    let name = match kind {
        // [authorization id] NUL name NUL password. The broker takes no other authorization id than the name.
        Kind::Plain => {
            let mut parts = proof.splitn(3, |byte| *byte == 0);
            let name = parts.nth(1)?;
            parts.next().map(|_password| name.to_vec())
        }
        // The header `n,[a=name],` and then attributes, of which `n` is the name. Of a delegation token (`tokenauth=true`)
        // that is the token's id: only the broker knows whose it is.
        Kind::Scram => {
            let bare = proof.splitn(3, |byte| *byte == b',').nth(2)?;
            bare.split(|byte| *byte == b',').find_map(|attribute| attribute.strip_prefix(b"n=")).map(unescape)
        }
        // The same header, and then the token.
        Kind::Bearer => {
            let mut parts = proof.splitn(3, |byte| *byte == b',');
            parts.nth(1).and_then(|name| name.strip_prefix(b"a=")).map(unescape)
        }
        Kind::Other => None,
    }?;
    (!name.is_empty()).then(|| sanitize::text(&name, NAME_CAP).0.into_owned())
}

/// A name as SCRAM writes it, where `=2C` is a comma and `=3D` the sign itself.
fn unescape(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len().min(NAME_CAP));
    let mut rest = name;
    // What is beyond the cap is cut anyway.
    while let Some((first, behind)) = rest.split_first().filter(|_| out.len() <= NAME_CAP) {
        let (byte, behind) = match rest {
            [b'=', b'2', b'C', behind @ ..] => (b',', behind),
            [b'=', b'3', b'D', behind @ ..] => (b'=', behind),
            _ => (*first, behind),
        };
        out.push(byte);
        rest = behind;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_first_messages() {
        let cases: [(Kind, &[u8], Option<&str>); 16] = [
            (Kind::Plain, b"\0alice\0alice-secret", Some("alice")),
            (Kind::Plain, b"other\0alice\0alice-secret", Some("alice")),
            (Kind::Plain, b"\0alice\0with\0nul", Some("alice")),
            (Kind::Plain, b"\0alice", None),
            (Kind::Plain, b"\0\0x", None),
            (Kind::Plain, b"", None),
            (Kind::Scram, b"n,,n=bob,r=abc", Some("bob")),
            (Kind::Scram, b"n,a=bob,n=bob,r=abc", Some("bob")),
            (Kind::Scram, b"y,,m=x,n=b=2Co=3Db=2,r=abc", Some("b,o=b=2")),
            (Kind::Scram, b"n,,n=token-id,r=abc,tokenauth=true", Some("token-id")),
            (Kind::Scram, b"n,,r=abc", None),
            (Kind::Scram, b"n", None),
            (Kind::Bearer, b"n,a=carol,\x01auth=Bearer eyJ,n=x\x01\x01", Some("carol")),
            (Kind::Bearer, b"n,,\x01auth=Bearer eyJ\x01\x01", None),
            (Kind::Other, b"\0alice\0x", None),
            (Kind::Other, b"n,a=alice,n=alice", None),
        ];
        for (kind, proof, name) in cases {
            assert_eq!(name, claim(kind, proof).as_deref(), "{kind:?} {:?}", String::from_utf8_lossy(proof));
        }
    }
}
