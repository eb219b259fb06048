//! The columns of a batch, put together from a walk over its rows.

use super::keys::{Inherited, Keys, NULL, Source};
use super::text::{offset, strings};
use super::walk::{Has, Walk};
use super::{data_type, item};
use crate::plan::Plans;
use crate::spec::{COLUMNS, Column, ColumnSpec, ColumnType};
use crate::{Authority, Context, Malformed, Origin, Outcome, RowSet, record};
use arrow_array::{
    ArrayRef, Int32Array, Int64Array, ListArray, RecordBatch, TimestampMicrosecondArray, new_null_array,
};
use arrow_buffer::{BooleanBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::ArrowError;
use std::sync::Arc;

/// A batch in the making.
pub(super) struct Batch<'a> {
    walk: Walk,
    /// Identity, contexts and definitions of the rows.
    set: &'a RowSet,
    /// The plans of the codes that were met, by their position.
    plans: Plans<'a>,
    rows: usize,
    keys: Keys,
    /// Columns without any value, one a type: they share their memory.
    nulls: Vec<(ColumnType, ArrayRef)>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(mut walk: Walk, set: &'a RowSet) -> Result<Self, Malformed> {
        let rows = walk.len();
        walk.end();
        let mut plans = Plans::new(set);
        for code in &walk.codes {
            plans.position(*code)?;
        }
        Ok(Self { walk, set, plans, rows, keys: Keys::new(rows), nulls: Vec::new() })
    }

    pub(super) fn finish(mut self) -> Result<RecordBatch, ArrowError> {
        // Before its column is finished: the list needs what rows say of their own.
        let principals = self.principals()?;
        let mut arrays = Vec::with_capacity(COLUMNS.len());
        for spec in COLUMNS {
            let array = if spec.column == Column::Principals { principals.clone() } else { self.column(spec)? };
            arrays.push(array.unwrap_or_else(|| self.null(spec.kind)));
        }
        RecordBatch::try_new(super::schema(), arrays)
    }

    /// The array of a column; none where no row has a value.
    fn column(&mut self, spec: &ColumnSpec) -> Result<Option<ArrayRef>, ArrowError> {
        let identity = &self.set.identity;
        Ok(Some(match spec.column {
            Column::Time => timestamps(&self.walk.time_ns, None)?,
            Column::TimeNs => int64(std::mem::take(&mut self.walk.time_ns)),
            Column::AgeNs => int64(std::mem::take(&mut self.walk.age_ns)),
            Column::Seq => int64(std::mem::take(&mut self.walk.seq)),
            Column::Weight => int64(std::mem::take(&mut self.walk.weight)),
            Column::Count => int64(std::mem::take(&mut self.walk.count)),
            Column::Process => self.keys.constant(&identity.process)?,
            Column::Instance => self.keys.constant(&identity.instance)?,
            Column::Host => self.keys.constant(&identity.host)?,
            Column::Reason => return std::mem::take(&mut self.walk.reason).finish(self.rows),
            Column::ObjectRef => return std::mem::take(&mut self.walk.object_ref).finish(self.rows),
            Column::Context => return std::mem::take(&mut self.walk.details).finish(self.rows),
            column => match spec.kind {
                ColumnType::Dict => return self.dict(column),
                ColumnType::Int32 => return self.int32(column),
                kind => return self.int(column, kind),
            },
        }))
    }

    fn null(&mut self, kind: ColumnType) -> ArrayRef {
        if let Some((_, array)) = self.nulls.iter().find(|(of, _)| *of == kind) {
            return array.clone();
        }
        let array = new_null_array(&data_type(kind), self.rows);
        self.nulls.push((kind, array.clone()));
        array
    }

    /// A column of numbers that only rows have.
    fn int(&mut self, column: Column, kind: ColumnType) -> Result<Option<ArrayRef>, ArrowError> {
        let values = std::mem::take(&mut self.walk.own[column as usize].ints);
        let nulls = match self.walk.has(column) {
            Has::Nobody => return Ok(None),
            Has::Everybody => None,
            has @ Has::Some { .. } => Some(NullBuffer::new(BooleanBuffer::collect_bool(self.rows, |row| has.row(row)))),
        };
        if kind == ColumnType::Timestamp {
            return timestamps(&values, nulls).map(Some);
        }
        Ok(Some(Arc::new(Int64Array::try_new(values.into(), nulls)?)))
    }

    /// A column of small numbers: the row's own, else the context's.
    fn int32(&self, column: Column) -> Result<Option<ArrayRef>, ArrowError> {
        let of: fn(&Context) -> Option<i32> = match column {
            Column::PeerPort => |context| context.peer_port,
            Column::NodeId => |context| context.node_id,
            _ => |_| None,
        };
        let contexts: Vec<_> =
            std::iter::once(None).chain(self.set.contexts.iter().map(|context| of(context))).collect();
        let has = self.walk.has(column);
        let own = &self.walk.own[column as usize].ints;
        let used = || contexts.iter().zip(&self.walk.contexts_used).filter(|(_, used)| **used).map(|(value, _)| value);
        if matches!(has, Has::Nobody) && used().all(Option::is_none) {
            return Ok(None);
        }
        let inherited = |row: usize| contexts[self.walk.context[row] as usize];
        let values: Vec<i32> = match has {
            Has::Everybody => own.iter().map(|value| *value as i32).collect(),
            Has::Nobody => (0..self.rows).map(|row| inherited(row).unwrap_or(0)).collect(),
            Has::Some { .. } => (0..self.rows)
                .map(|row| if has.row(row) { own[row] as i32 } else { inherited(row).unwrap_or(0) })
                .collect(),
        };
        let complete = matches!(has, Has::Everybody) || used().all(Option::is_some);
        let valid = |row: usize| has.row(row) || inherited(row).is_some();
        let nulls = (!complete).then(|| NullBuffer::new(BooleanBuffer::collect_bool(self.rows, valid)));
        Ok(Some(Arc::new(Int32Array::try_new(values.into(), nulls)?)))
    }

    /// A column of words: the row's own, else the action's, else the context's.
    fn dict(&mut self, column: Column) -> Result<Option<ArrayRef>, ArrowError> {
        let mut own = std::mem::take(&mut self.walk.own[column as usize]);
        let walk = &self.walk;
        let mut key = |text: Option<&str>| match text {
            Some(text) => own.interner.intern(text.as_bytes()),
            None => Ok(NULL),
        };
        let inherited = match column {
            Column::Outcome | Column::Authority | Column::Origin => {
                let words =
                    (0..=u8::MAX).map(|bits| key(word(column, bits).filter(|_| walk.bits_used[usize::from(bits)])));
                let keys = words.collect::<Result<Vec<_>, _>>().map_err(broken)?;
                vec![Inherited { source: Source::Bits, index: &walk.bits, keys: fill(keys, &walk.bits_used) }]
            }
            _ => {
                let constants = self.plans.all().iter().map(|plan| {
                    key(match column {
                        Column::Action => plan.action,
                        Column::Category => Some(plan.category.word()),
                        _ => plan.constant(column),
                    })
                });
                let keys = constants.collect::<Result<Vec<_>, _>>().map_err(broken)?;
                let mut inherited = vec![Inherited { source: Source::Action, index: &walk.code, keys }];
                if let Some(of) = context_text(column) {
                    let mut keys = vec![NULL; walk.contexts_used.len()];
                    let used = &walk.contexts_used[1..];
                    for ((place, context), used) in keys[1..].iter_mut().zip(&self.set.contexts).zip(used) {
                        if *used {
                            *place = key(of(context)).map_err(broken)?;
                        }
                    }
                    let keys = fill(keys, &walk.contexts_used);
                    inherited.push(Inherited { source: Source::Context, index: &walk.context, keys });
                }
                inherited
            }
        };
        self.keys.column(&own.keys, walk.has(column), own.interner, inherited)
    }

    /// `Type:name` of all principals: the row's own one, else the context's.
    fn principals(&self) -> Result<Option<ArrayRef>, ArrowError> {
        let own = &self.walk.own[Column::Principal as usize];
        let has = self.walk.has(Column::Principal);
        let known = self.set.contexts.iter().map(|context| context.all_principals());
        let contexts: Vec<_> = std::iter::once(Vec::new()).chain(known).collect();
        let mut used = contexts.iter().zip(&self.walk.contexts_used).filter(|(_, used)| **used);
        if matches!(has, Has::Nobody) && used.all(|(list, _)| list.is_empty()) {
            return Ok(None);
        }
        let mut lists = Vec::with_capacity(self.rows + 1);
        let mut ends = Vec::with_capacity(self.rows + 1);
        let mut bytes = Vec::with_capacity(self.rows * 16);
        lists.push(0);
        ends.push(0);
        for (row, context) in self.walk.context.iter().enumerate() {
            if has.row(row) {
                bytes.extend_from_slice(b"User:");
                bytes.extend_from_slice(own.interner.get(own.keys[row]));
                ends.push(bytes.len() as i32);
            } else {
                for principal in &contexts[*context as usize] {
                    bytes.extend_from_slice(principal.as_bytes());
                    ends.push(bytes.len() as i32);
                }
            }
            lists.push(ends.len() as i32 - 1);
        }
        // All ends fit if the last one does.
        offset(bytes.len())?;
        let valid = BooleanBuffer::collect_bool(self.rows, |row| lists[row] != lists[row + 1]);
        let nulls = Some(NullBuffer::new(valid)).filter(|nulls| nulls.null_count() > 0);
        let names = strings(ends, bytes, None)?;
        let lists = OffsetBuffer::new(ScalarBuffer::from(lists));
        Ok(Some(Arc::new(ListArray::try_new(Arc::new(item()), lists, Arc::new(names), nulls)?)))
    }
}

/// Gives what no row uses the key 0, if there is one, so that it does not make a column look less even than it is.
fn fill(mut keys: Vec<i32>, used: &[bool]) -> Vec<i32> {
    if keys.iter().any(|key| *key != NULL) {
        for (key, used) in keys.iter_mut().zip(used) {
            *key = if *used { *key } else { 0 };
        }
    }
    keys
}

/// The word in the bits for a column.
fn word(column: Column, bits: u8) -> Option<&'static str> {
    match column {
        Column::Outcome => record::outcome(bits).map(Outcome::word),
        Column::Authority => record::authority(bits).map(Authority::word),
        _ => record::origin(bits).map(Origin::word),
    }
}

/// What a context says of a column of words.
fn context_text(column: Column) -> Option<fn(&Context) -> Option<&str>> {
    Some(match column {
        Column::Session => |context| context.session.as_deref(),
        Column::VirtualCluster => |context| context.virtual_cluster.as_deref(),
        Column::ClientId => |context| context.client_id.as_deref(),
        Column::Listener => |context| context.listener.as_deref(),
        Column::PeerIp => |context| context.peer_ip.as_deref(),
        Column::Server => |context| context.server.as_deref(),
        Column::ServerLocal => |context| context.server_local.as_deref(),
        Column::Principal => Context::first_principal,
        Column::Mechanism => |context| context.mechanism.as_deref(),
        Column::Tap => |context| context.tap.as_deref(),
        Column::Filter => |context| context.filter.as_deref(),
        _ => return None,
    })
}

pub(super) fn broken(why: Malformed) -> ArrowError {
    ArrowError::InvalidArgumentError(format!("malformed row: {why}"))
}

fn int64(values: Vec<i64>) -> ArrayRef {
    Arc::new(Int64Array::from(values))
}

/// Microseconds, rounded towards the past.
fn timestamps(ns: &[i64], nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
    let micros: Vec<i64> = ns.iter().map(|ns| ns.div_euclid(1000)).collect();
    let array = TimestampMicrosecondArray::try_new(micros.into(), nulls)?;
    Ok(Arc::new(array.with_timezone("UTC")))
}
