//! Another policy for a log that runs: asked for here, brought into force by the pump.
//!
//! What must always hold: the call returns once the change is in the journal, or raises and says how it stands. What it
//! raises for has not happened, and will not; but for a write that does not return, which may still succeed.

use std::time::{Duration, Instant};

use auditring_flow::{Change, Mailbox, Policies, Progress, Stated, Withdrawn};
use pyo3::exceptions::{PyTimeoutError, PyValueError};
use pyo3::prelude::*;

use crate::errors;

/// How long the interpreter is left alone before signals are looked for.
const SLICE: Duration = Duration::from_millis(50);
/// How long a write that is under way is waited for beyond the caller's time.
const GRACE: Duration = Duration::from_secs(2);

const NAP: Duration = Duration::from_millis(5);

/// What a change needs of its log.
pub(crate) struct Site<'a> {
    pub(crate) policies: &'a Policies,
    pub(crate) mailbox: &'a Mailbox,
    pub(crate) progress: &'a Progress,
    /// Wakes the pump.
    pub(crate) wake: &'a (dyn Fn() + Sync),
}

/// Whether the policy is another than before. Raises `TimeoutError`, `LogClosed` and `ValueError`.
pub(crate) fn set_policy(
    py: Python<'_>,
    site: &Site<'_>,
    policy: Vec<u8>,
    diff: &str,
    timeout: Option<Duration>,
) -> PyResult<bool> {
    if policy.len() > Stated::cap() {
        return Err(PyValueError::new_err(format!(
            "its journaled form takes {} bytes, and the row that tells of it has room for {}: some 400 rules",
            policy.len(),
            Stated::cap()
        )));
    }
    let stated = Stated::parse(policy).map_err(|error| PyValueError::new_err(error.to_string()))?;
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let mut brought = None;
    loop {
        if brought.is_none() {
            // Each action is asked of every rule: callers that emit do not wait for that.
            match py.detach(|| site.policies.bring(stated.clone(), diff, site.mailbox)) {
                Change::Same => return Ok(false),
                Change::Coming(number) => brought = Some(number),
                Change::Busy => {}
            }
        }
        (site.wake)();
        let left = deadline.map_or(SLICE, |at| SLICE.min(at.saturating_duration_since(Instant::now())));
        let done = py.detach(|| site.policies.wait(brought, left));
        if brought.is_some() && done {
            return Ok(true);
        }
        let over = deadline.is_some_and(|at| Instant::now() >= at);
        let error = if let Err(error) = py.check_signals() {
            error
        } else if site.progress.journaled().ended {
            errors::closed(false)
        } else if over || site.progress.dead() {
            let cause = site.progress.trouble();
            let cause = cause.unwrap_or_else(|| "another change, or the journal's budget, is in the way".to_owned());
            PyTimeoutError::new_err(format!("the policy is as it was, and stays so: {cause}"))
        } else {
            if brought.is_none() {
                // Where it is the mailbox that has no room, there is nothing to wait for but time.
                py.detach(|| std::thread::sleep(left.min(NAP)));
            }
            continue;
        };
        return match brought {
            Some(number) if !withdraw(py, site, number)? => Ok(true),
            _ => Err(error),
        };
    }
}

/// Takes the change back; `false` where it has come into force meanwhile.
fn withdraw(py: Python<'_>, site: &Site<'_>, number: u64) -> PyResult<bool> {
    let end = Instant::now() + GRACE;
    loop {
        match py.detach(|| site.policies.withdraw(number, site.mailbox)) {
            Withdrawn::Yes => return Ok(true),
            Withdrawn::TooLate => {
                // Its row is written; the pump is about to say so.
                py.detach(|| site.policies.wait(Some(number), GRACE));
                return Ok(false);
            }
            Withdrawn::UnderWay if Instant::now() >= end => {
                return Err(PyTimeoutError::new_err(
                    "the change is in a write that does not return: once it does the new policy is in force, or, after \
                     an error, once the journal can be written again; until then the old one is, and `policy` says which",
                ));
            }
            Withdrawn::UnderWay => _ = py.detach(|| site.policies.wait(Some(number), NAP)),
        }
    }
}
