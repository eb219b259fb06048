//! The log's policy while it runs: which one is in force, and which is on its way.
//!
//! What must always hold: one change at a time; a policy is in force once its row is in the journal, and not before; and
//! an action is refused at the call only while every policy that may come to judge it leaves it out. So whoever turns an
//! action on has the bits cleared before its row is written, and whoever turns it off has them set after, in this order
//! whatever becomes of the call that asked for it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use auditring_event::record::Encoder;
use auditring_event::{Category, Outcome, named};
use auditring_policy::{Policy, PolicyError};

use crate::mailbox::{Mailbox, Withdrawn};

/// A policy and its journaled form.
#[derive(Clone, Debug, PartialEq)]
pub struct Stated {
    /// The form.
    pub bytes: Vec<u8>,
    /// What it says.
    pub policy: Policy,
}

impl Stated {
    /// Most bytes of the form of a policy that comes while the log runs: it stands in one row.
    #[must_use]
    pub fn cap() -> usize {
        let spec = const { named("auditring.PolicyChanged") };
        usize::from(spec.fields[const { named("auditring.PolicyChanged").position("policy") }].cap)
    }

    /// Reads the journaled form.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn parse(bytes: Vec<u8>) -> Result<Self, PolicyError> {
        Ok(Self { policy: Policy::parse(&bytes)?, bytes })
    }

    fn digest(&self) -> String {
        hex(&Policy::digest(&self.bytes))
    }
}

/// Bytes as hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut out, byte| {
        // Writing into a string cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[derive(Debug)]
struct State {
    in_force: Arc<Stated>,
    coming: Option<Coming>,
    /// Changes so far, also those that came to nothing.
    changes: u64,
}

/// A change on its way.
#[derive(Debug)]
struct Coming {
    stated: Arc<Stated>,
    number: u64,
    /// The number in the mailbox of the rows that tell of it.
    posted: Option<u64>,
}

/// Sets the bits anew. It asks [`Policies::leave_out`], and holds nothing that a caller of this module holds.
type Turn = Box<dyn Fn() + Send + Sync>;

/// The policies of one log.
pub struct Policies {
    state: Mutex<State>,
    moved: Condvar,
    turn: OnceLock<Turn>,
}

impl std::fmt::Debug for Policies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policies").field("state", &self.state).finish_non_exhaustive()
    }
}

/// How a change stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The policy is in force, and was before: nothing is told of it.
    Same,
    /// It is in force once its row is written. The number of the change.
    Coming(u64),
    /// Another change is not done yet, or there is no room for its rows: to be tried again.
    Busy,
}

impl Policies {
    /// With the policy of a log's birth.
    #[must_use]
    pub fn new(first: Stated) -> Self {
        let state = State { in_force: Arc::new(first), coming: None, changes: 0 };
        Self { state: Mutex::new(state), moved: Condvar::new(), turn: OnceLock::new() }
    }

    /// Who sets the bits, whenever what [`Policies::leave_out`] says may be different.
    pub fn on_turn(&self, turn: impl Fn() + Send + Sync + 'static) {
        let _first = self.turn.set(Box::new(turn));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Replaced as a whole: a panic elsewhere cannot leave it half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self) {
        if let Some(turn) = self.turn.get() {
            turn();
        }
    }

    /// The policy in force.
    #[must_use]
    pub fn in_force(&self) -> Arc<Stated> {
        Arc::clone(&self.lock().in_force)
    }

    /// The same without ever waiting, for a forked child: there a lock may be held by nobody.
    #[must_use]
    pub fn in_force_now(&self) -> Option<Arc<Stated>> {
        self.state.try_lock().ok().map(|state| Arc::clone(&state.in_force))
    }

    /// Whether every policy that may judge an event of this kind leaves it out whatever else it says.
    #[must_use]
    pub fn leave_out(&self, code: u16, name: Option<&str>, category: Category, outcome: Outcome) -> bool {
        let state = self.lock();
        let mut all = std::iter::once(&state.in_force).chain(state.coming.as_ref().map(|coming| &coming.stated));
        all.all(|stated| stated.policy.is_off(code, name, category, outcome))
    }

    /// Brings another policy on its way: what it turns on is taken from now on, then its row is handed to the pump. `diff`
    /// says in words what is different.
    pub fn bring(&self, policy: Stated, diff: &str, mailbox: &Mailbox) -> Change {
        let mut state = self.lock();
        if state.coming.is_some() {
            return Change::Busy;
        }
        if state.in_force.bytes == policy.bytes {
            return Change::Same;
        }
        let rows = rows(&state.in_force, &policy, diff);
        state.changes += 1;
        let number = state.changes;
        state.coming = Some(Coming { stated: Arc::new(policy), number, posted: None });
        drop(state);
        self.turn();
        let posted = mailbox.post_all(rows);
        if posted.is_none() {
            self.give_up(number);
            return Change::Busy;
        }
        if let Some(coming) = self.lock().coming.as_mut().filter(|coming| coming.number == number) {
            coming.posted = posted;
        }
        Change::Coming(number)
    }

    /// The row of the policy that was coming is written: it is in force, and what it turns off is refused from now on.
    pub(crate) fn settle(&self, bytes: &[u8]) {
        let mut state = self.lock();
        if let Some(coming) = state.coming.take_if(|coming| coming.stated.bytes == bytes) {
            state.in_force = coming.stated;
        }
        drop(state);
        self.turn();
        self.moved.notify_all();
    }

    /// Takes a change back, unless the pump has it.
    pub fn withdraw(&self, number: u64, mailbox: &Mailbox) -> Withdrawn {
        let posted = match &self.lock().coming {
            Some(coming) if coming.number == number => coming.posted,
            _ => None,
        };
        let Some(posted) = posted else { return Withdrawn::TooLate };
        let withdrawn = mailbox.withdraw(posted);
        if withdrawn == Withdrawn::Yes {
            self.give_up(number);
        }
        withdrawn
    }

    fn give_up(&self, number: u64) {
        let _gone = self.lock().coming.take_if(|coming| coming.number == number);
        self.turn();
        self.moved.notify_all();
    }

    /// Waits until a change is done, one way or the other, or the time is over; returns whether it is. Without a number:
    /// until none is on its way.
    pub fn wait(&self, number: Option<u64>, timeout: Duration) -> bool {
        let on_its_way = |state: &State| match (&state.coming, number) {
            (Some(coming), Some(number)) => coming.number == number,
            (coming, _) => coming.is_some(),
        };
        let waited = self.moved.wait_timeout_while(self.lock(), timeout, |state| on_its_way(state));
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !on_its_way(&state)
    }
}

/// The rows that tell of a change, in their order.
fn rows(before: &Stated, after: &Stated, diff: &str) -> Vec<Vec<u8>> {
    let text = String::from_utf8_lossy(&after.bytes);
    let mut changed = Encoder::new(const { named("auditring.PolicyChanged") });
    changed.text("policy", &text).text("digest", &after.digest()).text("previous_digest", &before.digest());
    changed.text("diff", diff);
    let mut rows = vec![changed.to_vec()];
    if after.policy.allow_blind_spots {
        let mut blind = Encoder::new(const { named("auditring.BlindSpots") });
        rows.push(blind.text("policy", &text).to_vec());
    }
    rows
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use auditring_event::by_name;

    use super::*;

    fn stated(rules: &str) -> Stated {
        let text = format!(r#"{{"version":2,"seed":7,"allow_blind_spots":false,"rules":[{rules}]}}"#);
        Stated::parse(text.into_bytes()).unwrap()
    }

    const OFF: &str = r#"{"action":["Read"],"keep":"off"}"#;

    fn refuses_reads(policies: &Policies) -> bool {
        policies.leave_out(by_name("Read").unwrap().code, Some("Read"), Category::Data, Outcome::Success)
    }

    #[test]
    fn what_is_turned_off_is_refused_once_the_row_is_written_and_what_is_turned_on_taken_before() {
        let (policies, mailbox) = (Policies::new(stated("")), Mailbox::default());
        assert_eq!(policies.bring(stated(OFF), "", &mailbox), Change::Coming(1));
        assert!(!refuses_reads(&policies) && policies.in_force().bytes == stated("").bytes);
        assert_eq!(policies.bring(stated(""), "", &mailbox), Change::Busy);
        policies.settle(&stated(OFF).bytes);
        assert!(refuses_reads(&policies) && policies.in_force().bytes == stated(OFF).bytes);
        assert_eq!(policies.bring(stated(OFF), "", &mailbox), Change::Same);
        assert_eq!(policies.bring(stated(""), "", &mailbox), Change::Coming(2));
        assert!(!refuses_reads(&policies) && policies.in_force().bytes == stated(OFF).bytes);
        policies.settle(&stated("").bytes);
        assert!(!refuses_reads(&policies) && policies.wait(None, Duration::ZERO));
    }

    #[test]
    fn what_is_withdrawn_leaves_everything_as_it_was() {
        let (policies, mailbox) = (Policies::new(stated(OFF)), Mailbox::default());
        assert_eq!(policies.withdraw(1, &mailbox), Withdrawn::TooLate);
        policies.bring(stated(""), "", &mailbox);
        assert!(!refuses_reads(&policies) && !policies.wait(None, Duration::ZERO));
        let batch = mailbox.peek();
        assert_eq!(policies.withdraw(1, &mailbox), Withdrawn::UnderWay);
        mailbox.left();
        assert_eq!((batch.len(), policies.withdraw(1, &mailbox)), (1, Withdrawn::Yes));
        assert!(refuses_reads(&policies) && mailbox.is_empty() && policies.wait(None, Duration::ZERO));
    }

    #[test]
    fn a_change_is_taken_back_by_its_own_number_alone() {
        let (policies, mailbox) = (Policies::new(stated("")), Mailbox::default());
        policies.bring(stated(OFF), "", &mailbox);
        mailbox.taken(mailbox.peek().len());
        policies.settle(&stated(OFF).bytes);
        assert!(policies.wait(Some(1), Duration::ZERO));
        assert_eq!(policies.bring(stated(""), "", &mailbox), Change::Coming(2));
        assert!(policies.wait(Some(1), Duration::ZERO) && !policies.wait(Some(2), Duration::ZERO));
        assert_eq!((policies.withdraw(1, &mailbox), mailbox.len()), (Withdrawn::TooLate, 1));
    }

    #[test]
    fn a_mailbox_without_room_is_no_change() {
        let (policies, mailbox) = (Policies::new(stated(OFF)), Mailbox::default());
        while mailbox.post(Vec::new()) {}
        assert_eq!(policies.bring(stated(""), "", &mailbox), Change::Busy);
        assert!(refuses_reads(&policies) && policies.wait(None, Duration::ZERO));
    }

    #[test]
    fn bits_are_set_anew_at_every_step() {
        let (policies, mailbox) = (Policies::new(stated("")), Mailbox::default());
        let turned = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&turned);
        policies.on_turn(move || _ = seen.fetch_add(1, Ordering::Relaxed));
        policies.bring(stated(OFF), "", &mailbox);
        policies.settle(&stated(OFF).bytes);
        policies.bring(stated(""), "", &mailbox);
        policies.withdraw(2, &mailbox);
        assert_eq!(turned.load(Ordering::Relaxed), 4);
    }
}
