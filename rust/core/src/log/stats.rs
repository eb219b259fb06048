//! The terms of a log's balance, as Python is given them.
//!
//! What must always hold: the journal's numbers are those of one moment, and what the ring holds is counted from there, so
//! that they add up; and what was offered is what was claimed, and what was counted at the edge (off, dropped, refused).

use std::collections::HashMap;
use std::time::Duration;

use auditring_event::{Outcome, spec};
use auditring_flow::{Journaled, used};
use auditring_ring::{ClockKind, Kind as Edge};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::claims::claimed;
use super::machine::Machine;
use crate::shared::Shared;

/// Under which what taps let pass is counted.
const EXEMPTED: u16 = auditring_event::code_of("auditring.Exempted");

/// `tsc` or `monotonic`.
pub(super) fn clock(shared: &Shared) -> &'static str {
    if shared.clock.kind() == ClockKind::Tsc { "tsc" } else { "monotonic" }
}

/// The terms of the balance, by name.
pub(super) fn stats<'py>(py: Python<'py>, shared: &Shared, machine: Option<&Machine>) -> PyResult<Bound<'py, PyDict>> {
    let mut exempt = 0;
    let stats = PyDict::new(py);
    let actions = PyDict::new(py);
    let (mut off, mut dropped, mut refused) = (shared.kept_nothing(), 0, 0);
    let journaled = shared.progress.journaled();
    let declared = shared.declared_names();
    let add = |code: u16, outcome: u8, count: u64| -> PyResult<()> {
        let name = match spec(code) {
            Some(spec) => spec.name,
            None => declared.get(&code).map_or("?", String::as_str),
        };
        let outcome = Outcome::from_number(outcome).map_or("?", Outcome::word);
        let before: u64 = actions.get_item((name, outcome))?.map_or(Ok(0), |count| count.extract())?;
        actions.set_item((name, outcome), before + count)
    };
    for (code, outcome, count) in &journaled.actions {
        add(*code, *outcome, *count)?;
    }
    if let Some(ring) = shared.ring() {
        let mut counts = Vec::new();
        ring.edge().visit(|count| counts.push(count));
        for count in counts {
            match count.kind {
                Edge::Off => off += count.count,
                Edge::Dropped => dropped += count.count,
                Edge::Refused => refused += count.count,
            }
            if count.kind == Edge::Off && count.code == u32::from(EXEMPTED) {
                exempt += count.count;
            }
            if count.kind != Edge::Refused {
                add(count.code as u16, count.outcome as u8, count.count)?;
            }
        }
    }
    let claimed = claimed(shared, &journaled);
    stats.set_item("offered", claimed + off + dropped + refused)?;
    stats.set_item("claimed", claimed)?;
    // What is still in the ring counts as accepted; a claim that is being written is so for nanoseconds.
    stats.set_item("accepted", claimed - journaled.torn)?;
    stats.set_item("torn", journaled.torn)?;
    stats.set_item("off", off)?;
    stats.set_item("exempt", exempt)?;
    stats.set_item("dropped", dropped)?;
    stats.set_item("refused", refused)?;
    stats.set_item("born", journaled.born)?;
    let lost_of_ring: u64 = journaled.lost.iter().map(|(_, count)| count).sum();
    stats.set_item("journaled", journaled.accepted + journaled.born - lost_of_ring)?;
    stats.set_item("in_ring", claimed - journaled.claimed)?;
    let lost = PyDict::new(py);
    for (cause, count) in journaled.lost.iter().filter(|(_, count)| *count > 0) {
        lost.set_item(cause, count)?;
    }
    stats.set_item("lost", lost)?;
    stats.set_item("actions", actions)?;
    stats.set_item("scope_labels", scope_labels(py, &journaled)?)?;
    stats.set_item("scoped", scoped(py, &journaled, &declared)?)?;
    let ring = shared.ring();
    let bytes = ring.map_or(0, |ring| u64::from(ring.geometry().lane_bytes) * u64::from(ring.geometry().lanes));
    stats.set_item("ring_bytes", bytes)?;
    stats.set_item("ring_used", ring.map_or(0, |ring| used(ring)))?;
    stats.set_item("ring_high_water", shared.progress.most_in_use())?;
    stats.set_item("clock", clock(shared))?;
    stats.set_item("journal_bytes", journaled.bytes)?;
    let (waits, blocked_ns) = shared.progress.waits();
    stats.set_item("waits", waits)?;
    stats.set_item("blocked_ns", blocked_ns)?;
    stats.set_item("next_seq", journaled.next_seq)?;
    stats.set_item("durable_seq", journaled.durable_seq)?;
    let lag = machine.map_or(Duration::ZERO, |machine| machine.unsynced.lag());
    stats.set_item("durable_lag_ns", u64::try_from(lag.as_nanos()).unwrap_or(u64::MAX))?;
    stats.set_item("alive", !shared.progress.dead())?;
    stats.set_item("over_budget", journaled.over_budget)?;
    stats.set_item("unrolled", journaled.unrolled)?;
    stats.set_item("damaged", journaled.damaged)?;
    stats.set_item("let_go", journaled.let_go)?;
    Ok(stats)
}

/// The labels by which rows are counted, beside action and outcome.
fn scope_labels<'py>(py: Python<'py>, journaled: &Journaled) -> PyResult<Bound<'py, PyTuple>> {
    PyTuple::new(py, journaled.scopes.labels.iter().map(|(label, _)| label))
}

/// Rows at the primary tap by action, outcome and values of those labels; None for all that is past the limit.
fn scoped<'py>(
    py: Python<'py>,
    journaled: &Journaled,
    declared: &HashMap<u16, String>,
) -> PyResult<Bound<'py, PyDict>> {
    let counts = PyDict::new(py);
    for (code, outcome, scope, count) in &journaled.scoped {
        let action = spec(*code).map(|spec| spec.name).or_else(|| declared.get(code).map(String::as_str));
        let outcome = Outcome::from_number(*outcome).map_or("?", Outcome::word);
        let values = journaled.scopes.get(*scope).map(|values| PyTuple::new(py, values)).transpose()?;
        counts.set_item((action.unwrap_or("?"), outcome, values), count)?;
    }
    Ok(counts)
}
