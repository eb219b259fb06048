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

use std::collections::VecDeque;
use std::time::Instant;

use auditring_event::sanitize;

use crate::asked::Asked;
use crate::attempt::{Attempt, Kind};
use crate::claim::claim;
use crate::cursor::{Cursor, Step};
use crate::errors;
use crate::facts::Facts;

const MECHANISM_CAP: usize = auditring_event::SESSION_MECHANISM_CAP;
/// Most bare tokens that wait for their answers.
const PROOFS: usize = 16;

/// An attempt that is through if the broker serves what is asked from then on.
#[derive(Debug)]
struct Open {
    attempt: Attempt,
    since: Instant,
    /// Whether a request was answered already. That may have been the no, after which the connection ends.
    served: bool,
}

/// Where a connection stands.
///
/// Behind a handshake of version 0 either direction has so many frames without a header, and then headers again. The client's
/// begin at its request, since it need not wait for the answer; the broker's begin behind that answer.
#[derive(Debug, Default)]
pub(crate) struct Sasl {
    attempt: Attempt,
    /// The client's next frames that are bare tokens.
    tokens: u32,
    /// The handshake that said so, for as long as there is no answer to it and no token behind it.
    early: Option<i32>,
    /// Tokens that wait for their answers.
    proofs: VecDeque<Attempt>,
    /// The broker's next frames that are bare answers.
    answers: u32,
    /// What the last of them, or the handshake, was about.
    answered: Attempt,
    /// What may have been the last message of a mechanism that only they know.
    open: Option<Open>,
}

impl Sasl {
    /// Whether the client's next frame is a bare token, without a header.
    #[inline]
    pub(crate) fn is_token_next(&self) -> bool {
        self.tokens > 0
    }

    /// Whether the broker's next frame answers one.
    #[inline]
    pub(crate) fn is_bare_answer_next(&self) -> bool {
        self.answers > 0
    }

    /// A client asks for a mechanism.
    pub(crate) fn handshake(&mut self, mut request: Cursor<'_>, asked: &Asked) -> Step<Attempt> {
        let (mechanism, _) = sanitize::text(request.string()?, MECHANISM_CAP);
        let (kind, round) = (Kind::of(&mechanism), self.attempt.round + 1);
        self.attempt = Attempt { round, kind, mechanism: mechanism.into_owned(), claimed: None, sent: 0 };
        if asked.version == 0 {
            self.tokens = kind.messages();
            self.early = Some(asked.client);
        }
        Ok(self.attempt.clone())
    }

    /// The proxy answers a request itself: if that is the last handshake, what comes behind it is not known.
    pub(crate) fn taken_over(&mut self, client: i32) {
        if self.early == Some(client) {
            (self.tokens, self.early) = (0, None);
        }
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
        self.open = None;
        if code != 0 {
            attempt.failed(code, tap, facts);
        }
        if version != 0 {
            return Ok((code, true));
        }
        let early = attempt.round == self.attempt.round && self.early.take().is_some();
        if code == 0 {
            self.proofs.retain(|proof| proof.round >= attempt.round);
            (self.answers, self.answered) = (attempt.kind.messages(), attempt.clone());
            // How many tokens those exchange only they know.
            return Ok((code, attempt.kind != Kind::Other));
        }
        // A broker that goes on after its no has taken for requests what was taken for tokens here.
        let none = early || attempt.kind == Kind::Other;
        if early {
            self.tokens = 0;
        }
        Ok((code, none))
    }

    /// A client sends a proof, or a part of it.
    pub(crate) fn authenticate(&mut self, mut request: Cursor<'_>) -> Step<Attempt> {
        let proof = request.nullable_bytes()?.unwrap_or_default();
        self.proof(proof);
        Ok(self.attempt.clone())
    }

    /// A bare token begins.
    pub(crate) fn begin_token(&mut self) {
        (self.tokens, self.early) = (self.tokens.saturating_sub(1), None);
    }

    /// All of it has come.
    pub(crate) fn token(&mut self, proof: &[u8]) {
        self.proof(proof);
        // There are more only where the broker has long stopped answering.
        if self.proofs.len() == PROOFS {
            self.proofs.pop_front();
        }
        self.proofs.push_back(self.attempt.clone());
    }

    fn proof(&mut self, proof: &[u8]) {
        let attempt = &mut self.attempt;
        // The same mechanism may be gone through once more: clients prove themselves again before a session ends.
        if attempt.sent > 0 && attempt.sent == attempt.kind.messages() {
            attempt.sent = 0;
        }
        attempt.sent += 1;
        // The answer to a challenge that was a no has no name; any other message after it is a new attempt.
        if attempt.sent == 1 && !(attempt.kind == Kind::Bearer && proof == b"\x01") {
            attempt.claimed = claim(attempt.kind, proof);
        }
    }

    /// The broker answers it.
    pub(crate) fn authenticated(
        &mut self,
        attempt: &Attempt,
        answer: &mut Cursor<'_>,
        now: Instant,
        tap: Option<&str>,
        facts: &mut Facts,
    ) -> Step<i16> {
        let (code, _message) = (answer.i16()?, answer.nullable_string()?);
        let challenge = answer.nullable_bytes()?.unwrap_or_default();
        self.open = None;
        if code != 0 {
            attempt.failed(code, tap, facts);
            if self.attempt.round == attempt.round {
                (self.attempt.sent, self.attempt.claimed) = (0, None);
            }
        } else if attempt.is_through(challenge) {
            attempt.proved(tap, facts);
        } else if attempt.kind == Kind::Other {
            self.open = Some(Open { attempt: attempt.clone(), since: now, served: false });
        }
        Ok(code)
    }

    /// The broker answers a request of another kind, which came at this time: it serves only whom it has let in. Kafka answers
    /// the first thing that is asked in the middle of an authentication, too, by an error and the end of the connection: so
    /// what was asked after that answer counts.
    #[inline]
    pub(crate) fn served(&mut self, asked: Instant, now: Instant, tap: Option<&str>, facts: &mut Facts) {
        let Some(open) = self.open.as_mut().filter(|open| asked > open.since) else { return };
        if open.served {
            open.attempt.proved(tap, facts);
            self.open = None;
        } else {
            (open.since, open.served) = (now, true);
        }
    }

    /// The same without a header: only a yes is said, a no is the end of the connection. Whether there was such a token.
    pub(crate) fn token_answered(&mut self, challenge: &[u8], tap: Option<&str>, facts: &mut Facts) -> bool {
        self.answers = self.answers.saturating_sub(1);
        let Some(attempt) = self.unanswered() else { return false };
        if attempt.kind == Kind::Scram && challenge.starts_with(b"e=") {
            attempt.failed(errors::SASL_AUTHENTICATION_FAILED, tap, facts);
            self.answers = 0;
            if self.attempt.round == attempt.round {
                self.tokens = 0;
            }
        } else if attempt.is_through(challenge) {
            attempt.proved(tap, facts);
        } else if attempt.kind == Kind::Bearer {
            // The client has to answer, and may do so by another token.
            self.answers += 1;
            if self.attempt.round == attempt.round {
                self.tokens += 1;
            }
        }
        self.answered = attempt;
        true
    }

    /// The oldest token without an answer, of the handshake that the broker is at.
    fn unanswered(&mut self) -> Option<Attempt> {
        let asked = self.proofs.front().is_some_and(|proof| proof.round == self.answered.round);
        if asked { self.proofs.pop_front() } else { None }
    }

    /// The connection has ended: with a bare token that got no yes, that was the no.
    pub(crate) fn end(&mut self, tap: Option<&str>, facts: &mut Facts) {
        let last = self.unanswered().unwrap_or_else(|| std::mem::take(&mut self.answered));
        if self.answers > 0 && last.sent > 0 {
            last.failed(errors::SASL_AUTHENTICATION_FAILED, tap, facts);
        }
        self.answers = 0;
    }
}
