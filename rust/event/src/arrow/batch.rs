//! One batch in the making.

use super::columns::{DictColumn, Inherited, IntColumn, NULL, TextColumn, dictionary};
use super::{data_type, item};
use crate::details::{Details, SessionDetails};
use crate::plan::{Detail, Place, Plans, Visitor};
use crate::row::NO_CONTEXT;
use crate::spec::{COLUMNS, Column, ColumnType};
use crate::{Context, Malformed, RowSet, record};
use arrow_array::{
    Array as _, ArrayRef, Int64Array, ListArray, RecordBatch, StringArray, TimestampMicrosecondArray, new_null_array,
};
use arrow_buffer::{BooleanBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::ArrowError;
use std::sync::Arc;

/// What the walk over the rows fills, by column.
struct Filling<'a> {
    row: usize,
    of: usize,
    ints: Vec<IntColumn>,
    dicts: Vec<DictColumn>,
    reason: TextColumn,
    details: Details<'a>,
}

impl<'a> Visitor<'a> for Filling<'a> {
    #[inline]
    fn int(&mut self, column: Column, value: i64) {
        self.ints[column as usize].set(self.row, self.of, value);
    }

    #[inline]
    fn text(&mut self, column: Column, value: &'a [u8]) -> Result<(), Malformed> {
        if column == Column::Reason {
            self.reason.bytes.extend_from_slice(std::str::from_utf8(value).map_err(|_| Malformed::Text)?.as_bytes());
            self.reason.end(self.row);
            return Ok(());
        }
        self.dicts[column as usize].set(self.row, self.of, value)
    }

    fn detail(&mut self, place: Place<'a>, value: Detail<'a>) {
        self.details.add(place, value);
    }
}

pub(super) struct Batch<'a> {
    set: &'a RowSet,
    plans: Plans<'a>,
    filling: Filling<'a>,
    time_ns: Vec<i64>,
    age_ns: Vec<i64>,
    seq: Vec<i64>,
    weight: Vec<i64>,
    /// Position of each row's plan.
    plan: Vec<u32>,
    /// Position of each row's context; behind the last one: none.
    context: Vec<u32>,
    /// Outcome, authority and origin of each row.
    bits: Vec<u32>,
    contexts_used: Vec<bool>,
    bits_used: [bool; 256],
    object_refs: TextColumn,
    details: TextColumn,
}

impl<'a> Batch<'a> {
    pub(super) fn new(set: &'a RowSet) -> Self {
        let rows = set.rows.len();
        let filling = Filling {
            row: 0,
            of: rows,
            ints: COLUMNS.iter().map(|_| IntColumn::default()).collect(),
            dicts: COLUMNS.iter().map(|_| DictColumn::default()).collect(),
            reason: TextColumn::default(),
            details: Details::default(),
        };
        Self {
            set,
            plans: Plans::new(set),
            filling,
            time_ns: Vec::with_capacity(rows),
            age_ns: Vec::with_capacity(rows),
            seq: Vec::with_capacity(rows),
            weight: Vec::with_capacity(rows),
            plan: Vec::with_capacity(rows),
            context: Vec::with_capacity(rows),
            bits: Vec::with_capacity(rows),
            contexts_used: vec![false; set.contexts.len() + 1],
            bits_used: [false; 256],
            object_refs: TextColumn::default(),
            details: TextColumn::default(),
        }
    }

    /// The walk over the rows.
    pub(super) fn read(&mut self) -> Result<(), Malformed> {
        let none = self.set.contexts.len() as u32;
        let sessions: Vec<_> = self.set.contexts.iter().map(|context| SessionDetails::new(context)).collect();
        let no_session = SessionDetails::default();
        for (i, at) in self.set.rows.iter().enumerate() {
            let row = self.set.row(at)?;
            record::check_bits(row.bits())?;
            let plan = self.plans.position(row.code())?;
            self.filling.row = i;
            self.filling.details.clear();
            self.plans.get(plan).follow(&row, &mut self.filling)?;
            let context = if row.context() == NO_CONTEXT { none } else { row.context() };
            self.contexts_used[context as usize] = true;
            self.bits_used[usize::from(row.bits())] = true;
            self.time_ns.push(row.time_ns());
            self.age_ns.push(row.age_ns());
            self.seq.push(at.seq);
            self.weight.push(at.weight.into());
            self.plan.push(plan.into());
            self.context.push(context);
            self.bits.push(row.bits().into());

            let details = &self.filling.details;
            let session = sessions.get(context as usize).unwrap_or(&no_session);
            if details.write_object_ref(&mut self.object_refs.bytes)? {
                self.object_refs.end(i);
            }
            if details.write_context(row.flags(), self.set.context(&row), session, &mut self.details.bytes)? {
                self.details.end(i);
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<RecordBatch, ArrowError> {
        let rows = self.set.rows.len();
        let mut arrays = Vec::with_capacity(COLUMNS.len());
        // Taken before its column is finished: the list needs what rows say of their own.
        let principals = self.principals()?;
        let mut nulls = Nulls::default();
        for column in COLUMNS {
            let array = match column.column {
                Column::Time => Some(timestamps(&self.time_ns)),
                Column::TimeNs => Some(int64(std::mem::take(&mut self.time_ns))),
                Column::AgeNs => Some(int64(std::mem::take(&mut self.age_ns))),
                Column::Seq => Some(int64(std::mem::take(&mut self.seq))),
                Column::Count => Some(int64(vec![1; rows])),
                Column::Weight => Some(int64(std::mem::take(&mut self.weight))),
                Column::Process => Some(self.constant(&self.set.identity.process)?),
                Column::Instance => Some(self.constant(&self.set.identity.instance)?),
                Column::Host => Some(self.constant(&self.set.identity.host)?),
                Column::Principals => principals.clone(),
                Column::Reason => std::mem::take(&mut self.filling.reason).finish(rows)?,
                Column::ObjectRef => std::mem::take(&mut self.object_refs).finish(rows)?,
                Column::Context => std::mem::take(&mut self.details).finish(rows)?,
                Column::EndTime => self.end_times()?,
                other => match column.kind {
                    ColumnType::Dict => self.dict(other)?,
                    ColumnType::Int32 => self.int32(other)?,
                    _ => self.int(other).int64()?.map(|array| Arc::new(array) as ArrayRef),
                },
            };
            arrays.push(array.unwrap_or_else(|| nulls.get(column.kind, rows)));
        }
        RecordBatch::try_new(super::schema(), arrays)
    }

    fn int(&mut self, column: Column) -> IntColumn {
        std::mem::take(&mut self.filling.ints[column as usize])
    }

    fn constant(&self, value: &str) -> Result<ArrayRef, ArrowError> {
        dictionary(vec![0; self.set.rows.len()], Arc::new(StringArray::from(vec![value])))
    }

    fn end_times(&mut self) -> Result<Option<ArrayRef>, ArrowError> {
        let Some(array) = self.int(Column::EndTime).int64()? else { return Ok(None) };
        let micros: Vec<i64> = array.values().iter().map(|ns| ns.div_euclid(1000)).collect();
        let array = TimestampMicrosecondArray::try_new(micros.into(), array.nulls().cloned())?;
        Ok(Some(Arc::new(array.with_timezone("UTC"))))
    }

    fn int32(&mut self, column: Column) -> Result<Option<ArrayRef>, ArrowError> {
        let of: fn(&Context) -> Option<i32> = match column {
            Column::PeerPort => |context| context.peer_port,
            Column::NodeId => |context| context.node_id,
            _ => |_| None,
        };
        let mut values: Vec<_> = self.set.contexts.iter().map(|context| of(context)).collect();
        values.push(None);
        let mut ints = self.int(column);
        ints.inherit(&self.context, &values);
        ints.int32()
    }

    fn dict(&mut self, column: Column) -> Result<Option<ArrayRef>, ArrowError> {
        let mut dict = std::mem::take(&mut self.filling.dicts[column as usize]);
        let broken = |why: Malformed| ArrowError::InvalidArgumentError(why.to_string());
        let mut key = |text: Option<&str>| match text {
            Some(text) => dict.interner.intern(text.as_bytes()).map_err(broken),
            None => Ok(NULL),
        };
        let word = |bits: u8| match column {
            Column::Outcome => record::outcome(bits).map(crate::Outcome::word),
            Column::Authority => record::authority(bits).map(crate::Authority::word),
            Column::Origin => record::origin(bits).map(crate::Origin::word),
            _ => None,
        };
        if matches!(column, Column::Outcome | Column::Authority | Column::Origin) {
            let keys = (0..=u8::MAX)
                .map(|bits| key(word(bits).filter(|_| self.bits_used[usize::from(bits)])))
                .collect::<Result<Vec<_>, _>>()?;
            return dict.finish(&[Inherited { index: &self.bits, values: &keys }]);
        }
        let constants = self.plans.all().iter().map(|plan| {
            key(match column {
                Column::Action => plan.action,
                Column::Category => Some(plan.category.word()),
                _ => plan.constant(column),
            })
        });
        let constants = constants.collect::<Result<Vec<_>, _>>()?;
        let of = context_text(column);
        let mut contexts = vec![NULL; self.set.contexts.len() + 1];
        if let Some(of) = of {
            for ((place, context), used) in contexts.iter_mut().zip(&self.set.contexts).zip(&self.contexts_used) {
                if *used {
                    *place = key(of(context))?;
                }
            }
        }
        dict.finish(&[
            Inherited { index: &self.plan, values: &constants },
            Inherited { index: &self.context, values: &contexts },
        ])
    }

    /// `Type:name` of all principals: the row's own one, else the context's.
    fn principals(&self) -> Result<Option<ArrayRef>, ArrowError> {
        let own = &self.filling.dicts[Column::Principal as usize];
        let mut contexts: Vec<_> = self.set.contexts.iter().map(|context| context.all_principals()).collect();
        contexts.push(Vec::new());
        let rows = self.set.rows.len();
        if !own.has_own() && contexts.iter().zip(&self.contexts_used).all(|(list, used)| list.is_empty() || !used) {
            return Ok(None);
        }
        let mut lists = Vec::with_capacity(rows + 1);
        let mut ends = Vec::with_capacity(rows + 1);
        let mut valid = Vec::with_capacity(rows);
        let mut bytes = Vec::with_capacity(rows * 16);
        lists.push(0);
        ends.push(0);
        for (row, context) in self.context.iter().enumerate() {
            if let Some(name) = own.own(row) {
                bytes.extend_from_slice(b"User:");
                bytes.extend_from_slice(name);
                ends.push(bytes.len() as i32);
            } else {
                for principal in &contexts[*context as usize] {
                    bytes.extend_from_slice(principal.as_bytes());
                    ends.push(bytes.len() as i32);
                }
            }
            let end = ends.len() as i32 - 1;
            valid.push(lists.last() != Some(&end));
            lists.push(end);
        }
        if i32::try_from(bytes.len()).is_err() {
            return Err(ArrowError::OffsetOverflowError(bytes.len()));
        }
        let names = StringArray::try_new(OffsetBuffer::new(ScalarBuffer::from(ends)), bytes.into(), None)?;
        let nulls = NullBuffer::new(BooleanBuffer::from(valid));
        let lists = OffsetBuffer::new(ScalarBuffer::from(lists));
        let array = ListArray::try_new(Arc::new(item()), lists, Arc::new(names), Some(nulls))?;
        Ok(Some(Arc::new(array)))
    }
}

/// What a context says of a column of strings.
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

/// Columns without any value, one a type: they share their memory.
#[derive(Default)]
struct Nulls(Vec<(ColumnType, ArrayRef)>);

impl Nulls {
    fn get(&mut self, kind: ColumnType, rows: usize) -> ArrayRef {
        if let Some((_, array)) = self.0.iter().find(|(of, _)| *of == kind) {
            return array.clone();
        }
        let array = new_null_array(&data_type(kind), rows);
        self.0.push((kind, array.clone()));
        array
    }
}

fn int64(values: Vec<i64>) -> ArrayRef {
    Arc::new(Int64Array::from(values))
}

/// Microseconds, rounded towards the past.
fn timestamps(ns: &[i64]) -> ArrayRef {
    let micros: Vec<i64> = ns.iter().map(|ns| ns.div_euclid(1000)).collect();
    Arc::new(TimestampMicrosecondArray::from(micros).with_timezone("UTC"))
}
