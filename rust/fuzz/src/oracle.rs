//! What must hold of whatever comes out: no row that was never written, and nothing that cannot be shown.

use auditring_event::event::Event;
use auditring_event::json::{self, Dialect};
use auditring_event::row::{NO_CONTEXT, RowView};
use auditring_event::{Category, Context, RowSet, arrow, spec, terminal};
use fastrand::Rng;

use crate::corpus::{World, bare};

/// What an input led to, or what must not be.
pub(crate) type Verdict = Result<(), String>;

/// One row of a journal whose checksums nobody has forged; `context`: the encoded one that its segment has for it, if any.
pub(crate) fn row_of(world: &World, seq: i64, row: &[u8], context: Option<&[u8]>) -> Verdict {
    let Some(written) = world.written.get(&seq) else { return Err(format!("seq {seq} was never written")) };
    if bare(row) != written.row {
        return Err(format!("row {seq} is not the one that was written: {row:x?}, and not {:x?}", written.row));
    }
    // A context may be lost, with the batch that brought it; another one may not stand in for it.
    match context {
        Some(context) if Some(context) != written.context.as_deref() => Err(format!("row {seq} has another's context")),
        _ => Ok(()),
    }
}

/// Rows as a sink is given them. `salvaged`: the journal was recovered, so there may be rows from the ring and the library's own.
pub(crate) fn set_of(world: &World, set: &RowSet, salvaged: bool) -> Verdict {
    if !set.rows.is_empty() && *set.identity != world.identity {
        return Err(format!("rows of {:?}", set.identity));
    }
    for at in &set.rows {
        let view = set.row(at).map_err(|error| format!("row {}: {error}", at.seq))?;
        if let Err(error) = view.validate() {
            return Err(format!("row {} does not hold: {error}", at.seq));
        }
        if world.merges || (salvaged && world.redacts) {
            continue;
        }
        if at.count != 1 {
            return Err(format!("row {} stands for {}", at.seq, at.count));
        }
        let context = set.context(&view);
        let encoded = context.map(|context| {
            let mut bytes = Vec::new();
            context.encode(&mut bytes);
            bytes
        });
        let bytes = &set.data[at.offset as usize..at.offset as usize + view.len()];
        let verdict = row_of(world, at.seq, bytes, encoded.as_deref());
        if verdict.is_err() && !(salvaged && from_ring(world, &view, encoded.as_deref())) {
            return verdict;
        }
    }
    Ok(())
}

/// Whether recovery may have made this row.
fn from_ring(world: &World, view: &RowView<'_>, context: Option<&[u8]>) -> bool {
    if spec(view.code()).is_some_and(|spec| spec.category == Category::Audit) {
        return true;
    }
    let body = view.body();
    let known = |(presence, code, bits, of): &(u32, u16, u8, Vec<u8>)| {
        (*presence, *code, *bits) == (view.presence(), view.code(), view.bits())
            && body.starts_with(of)
            && body[of.len()..].iter().all(|byte| *byte == 0)
    };
    world.in_ring.iter().any(known) && context.is_none_or(|context| world.contexts.contains(context))
}

/// Reads all there is to read of rows, as lines and for people; and now and then as a table, which costs as much as all else.
/// What is valid can be shown, and only that.
pub(crate) fn shown(rng: &mut Rng, set: &RowSet) -> Verdict {
    let mut out = Vec::new();
    let lines = json::lines(set, &mut out);
    if lines.is_err() && !out.is_empty() {
        return Err("lines of what is malformed".into());
    }
    let table = (rng.u8(..4) == 0).then(|| arrow::record_batch(set));
    let valid = set.rows.iter().all(|at| set.row(at).and_then(|row| row.validate()).is_ok());
    for at in &set.rows {
        if let Ok(event) = Event::of(set, at) {
            let mut line = Vec::new();
            terminal::line(&event, true, &mut line);
            json::line(Dialect::KroxyliciousV1, &event, &mut line);
        }
    }
    if valid {
        lines.map_err(|error| format!("valid rows have no lines: {error}"))?;
        if let Some(table) = table {
            let table = table.map_err(|error| format!("valid rows have no table: {error}"))?;
            if table.num_rows() != set.rows.len() {
                return Err("a table of another length".into());
            }
        }
        for line in out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            json::parse(line)
                .map_err(|error| format!("not our own line: {error}: {}", String::from_utf8_lossy(line)))?;
        }
    }
    Ok(())
}

/// The encoded context at a row's index.
pub(crate) fn context_at<'a>(known: &'a [Option<Vec<u8>>], view: &RowView<'_>) -> Option<&'a [u8]> {
    if view.context() == NO_CONTEXT {
        return None;
    }
    known.get(view.context() as usize)?.as_deref()
}

/// A decoded context can be encoded, and is then itself.
pub(crate) fn context(bytes: &[u8]) -> Verdict {
    let Ok(context) = Context::decode(bytes) else { return Ok(()) };
    let mut again = Vec::new();
    context.encode(&mut again);
    match Context::decode(&again) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("an encoded context cannot be decoded: {error}")),
    }
}
