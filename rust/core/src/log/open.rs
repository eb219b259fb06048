//! How a log is opened: what Python asks for, checked, and a process born of it.
//!
//! What must always hold: what cannot be is refused before anything is made; and of what cannot be opened nothing is left
//! that the next opener would not sweep, or recover.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use auditring_event::{Kind, by_name};
use auditring_flow::{Born, Error, Limits, Pump, Settings};
use auditring_policy::Policy;
use auditring_ring::Clock;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::machine::Machine;
use super::{Log, os_error};
use crate::policy::RedactionKey;
use crate::shared::{Shared, WhenFull};

/// A class's rule as Python gives it: seconds to wait (none: for ever), then raise or drop.
pub(super) type Rule = (Option<f64>, bool);

fn when_full(rule: Rule) -> PyResult<WhenFull> {
    let wait = rule.0.map(Duration::try_from_secs_f64).transpose();
    Ok(WhenFull { wait: wait.map_err(|e| PyValueError::new_err(format!("when_full: wait: {e}")))?, raise: rule.1 })
}

/// With a GIL one thread emits at a time; without one as many as there are processors, and more lanes than these gain nothing.
fn usual_lanes() -> u32 {
    const MOST: usize = 8;
    let processors =
        if cfg!(Py_GIL_DISABLED) { std::thread::available_parallelism().map_or(1, usize::from) } else { 1 };
    processors.min(MOST) as u32
}

/// What Python asks for, by the names that it has there.
pub(super) struct Asked<'a> {
    pub(super) root: Option<PathBuf>,
    pub(super) instance: String,
    pub(super) host: String,
    pub(super) policy: Vec<u8>,
    pub(super) sinks: Vec<(String, Vec<u8>)>,
    pub(super) primary_tap: Option<String>,
    pub(super) ring_dir: Option<PathBuf>,
    pub(super) ring_bytes: u32,
    pub(super) droppable: Rule,
    pub(super) protected: Rule,
    pub(super) journal_bytes: u64,
    pub(super) segment_bytes: u64,
    pub(super) segment_seconds: f64,
    pub(super) power_seconds: Option<f64>,
    pub(super) balance_seconds: Option<f64>,
    pub(super) startup: Vec<(String, String)>,
    pub(super) key: Option<&'a RedactionKey>,
    pub(super) required: Vec<String>,
    pub(super) by_agent: Vec<String>,
    pub(super) lanes: Option<u32>,
    pub(super) label_scopes: Vec<(String, String)>,
    pub(super) label_scope_limit: u16,
}

fn nothing(droppable: WhenFull, protected: WhenFull) -> Log {
    let shared = Shared::new(None, Clock::detect(), Arc::default(), None, droppable, protected);
    Log { shared: Arc::new(shared), machine: None, closed: AtomicBool::new(false) }
}

/// Opens it; without a root it keeps nothing.
pub(super) fn open(py: Python<'_>, asked: Asked<'_>) -> PyResult<Log> {
    let Asked {
        root,
        instance,
        host,
        policy,
        sinks,
        primary_tap,
        ring_dir,
        ring_bytes,
        droppable,
        protected,
        journal_bytes,
        segment_bytes,
        segment_seconds,
        power_seconds,
        balance_seconds,
        startup,
        key,
        required,
        by_agent,
        lanes,
        label_scopes,
        label_scope_limit,
    } = asked;
    let (droppable, protected) = (when_full(droppable)?, when_full(protected)?);
    Policy::parse(&policy).map_err(|error| PyValueError::new_err(error.to_string()))?;
    let segment_age = Duration::try_from_secs_f64(segment_seconds)
        .map_err(|error| PyValueError::new_err(format!("segment_seconds: {error}")))?;
    let power = power_seconds.map(Duration::try_from_secs_f64).transpose();
    let power = power.map_err(|error| PyValueError::new_err(format!("power_seconds: {error}")))?;
    let balance = balance_seconds.map(Duration::try_from_secs_f64).transpose();
    let balance = balance.map_err(|error| PyValueError::new_err(format!("balance_seconds: {error}")))?;
    let known = by_name("ProxyStartup").map(|spec| spec.fields).unwrap_or_default();
    let text = |name: &str| known.iter().any(|field| field.name == name && field.kind == Kind::Str);
    if let Some((unknown, _)) = startup.iter().find(|(name, _)| !text(name)) {
        return Err(PyValueError::new_err(format!("ProxyStartup has no text {unknown:?}")));
    }
    let key = key.map(|key| key.0.clone());
    let Some(root) = root else { return Ok(nothing(droppable, protected)) };
    let root = std::path::absolute(root)?;
    let followed = !sinks.is_empty();
    let settings = Settings {
        root: root.clone(),
        instance,
        host,
        policy,
        sinks,
        required,
        by_agent,
        primary_tap,
        ring_dir,
        ring_bytes,
        lanes: lanes.unwrap_or_else(usual_lanes),
        startup,
        key,
    };
    let limits = Limits { segment_bytes, segment_age, journal_bytes };
    let made = py.detach(|| {
        let born = Born::new(&settings)?;
        let (process, ring, clock) = (born.process, Arc::clone(&born.ring), born.clock);
        let pump = Pump::durable(born, limits, followed, power);
        if pump.is_err() {
            // Nothing was accepted yet: without its ring the directory is swept by the next opener.
            let _ = ring.unlink();
        }
        let (mut pump, held) = pump?;
        pump.balance_every(balance);
        if !label_scopes.is_empty()
            && let Err(error) = pump.scope_by(label_scopes, label_scope_limit)
        {
            // The birth batch is there: what is left is recovered by the next opener, as after any death.
            return Err(error);
        }
        Ok::<_, Error>((process, ring, clock, pump, held))
    });
    let (process, ring, clock, pump, held) = made.map_err(os_error)?;
    let policies = pump.policies();
    let shared =
        Arc::new(Shared::new(Some(ring), clock, pump.progress(), Some(Arc::clone(&policies)), droppable, protected));
    let gates = Arc::downgrade(&shared);
    policies.on_turn(move || {
        if let Some(shared) = gates.upgrade() {
            shared.turn();
        }
    });
    let (dir, mailbox, unsynced) = (pump.dir().to_owned(), pump.mailbox(), pump.unsynced());
    let lock = held.lock();
    let (pump, held) = (Mutex::new(Some(pump)), Mutex::new(Some(held)));
    Ok(Log {
        shared,
        machine: Some(Machine { process, root, dir, pump, held, lock, mailbox, unsynced }),
        closed: AtomicBool::new(false),
    })
}
