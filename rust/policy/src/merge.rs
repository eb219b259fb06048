//! Rows that are becoming one.
//!
//! What must always hold: the row says only what is true of every event in it. What is added up is added up from all of
//! them; what differs is not said at all.

use std::sync::Arc;

use auditring_event::record::{ALTERED, CUT, END_TIME, STATUS};
use auditring_event::row::{self, FLAGS_AT, RowView};

use crate::table::Shape;
use crate::whose::Whose;

/// One event, on its way.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Its row.
    pub row: &'a RowView<'a>,
    /// The row's bytes.
    pub bytes: &'a [u8],
    /// Its number.
    pub seq: i64,
    /// Whose it is.
    pub whose: Option<&'a Arc<Whose>>,
    /// Whether whoever reads wants to see it.
    pub shown: bool,
}

/// The row that waits for more.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// The first event's row; empty where there is none yet.
    pub(crate) row: Vec<u8>,
    pub(crate) seq: i64,
    pub(crate) count: u32,
    pub(crate) whose: Option<Arc<Whose>>,
    pub(crate) shown: bool,
    last_offset: i64,
    end_time_ns: i64,
    sums: [i64; 3],
    /// Fields that are no longer the same in all.
    without: u32,
}

/// How a name ends of which redaction has left only the front: other names may look the same.
const CUT_NAME: &str = "…";

/// Whether a row can be coalesced at all: it has a range of offsets, and nothing about it is out of the ordinary.
#[inline]
pub(crate) fn has_range(row: &RowView<'_>, shape: &Shape, topic: &[u8]) -> bool {
    let [first, last] = shape.offsets;
    let needed = first | last | shape.partition | shape.resource;
    let fields = row.fields();
    row.presence() & needed == needed
        && row.presence() & (STATUS | END_TIME) == 0
        && row.flags() & !(ALTERED | CUT) == 0
        && fields.int(first) <= fields.int(last)
        && !topic.ends_with(CUT_NAME.as_bytes())
}

impl Waiting {
    /// The first event.
    pub(crate) fn begin(&mut self, event: &Event<'_>, shape: &Shape) {
        let fields = event.row.fields();
        self.row.clear();
        self.row.extend_from_slice(event.bytes);
        self.seq = event.seq;
        self.count = 1;
        self.whose = event.whose.cloned();
        self.shown = event.shown;
        self.last_offset = fields.int(shape.offsets[1]).unwrap_or_default();
        self.end_time_ns = fields.int(END_TIME).unwrap_or(i64::MIN).max(event.row.time_ns());
        self.sums = shape.sums.map(|bit| fields.int(bit).unwrap_or_default());
        self.without = 0;
    }

    /// Makes the event part of the row, if its offsets follow and it says the same.
    #[inline]
    pub(crate) fn join(&mut self, event: &Event<'_>, shape: &Shape) -> bool {
        let (Ok(mine), theirs) = (RowView::parse(&self.row), event.row) else { return false };
        let (my, their) = (mine.fields(), theirs.fields());
        let [client, server] = shape.correlation;
        let added = shape.sums[0] | shape.sums[1] | shape.sums[2];
        let correlation = client | server;
        let same = mine.code() == theirs.code()
            && (mine.bits(), mine.flags()) == (theirs.bits(), theirs.flags())
            && (mine.presence() ^ theirs.presence()) & !correlation == 0
            && self.shown == event.shown
            && their.int(shape.offsets[0]) == self.last_offset.checked_add(1)
            && my.text_bytes() == their.text_bytes();
        if !same || !is_same(self.whose.as_ref(), event.whose) {
            return false;
        }
        let mut others = their.ints() & !(correlation | added | shape.offsets[0] | shape.offsets[1]);
        while others != 0 {
            let bit = others & others.wrapping_neg();
            if my.int(bit) != their.int(bit) {
                return false;
            }
            others &= others - 1;
        }
        let mut sums = self.sums;
        for (sum, bit) in sums.iter_mut().zip(shape.sums) {
            let Some(more) = sum.checked_add(their.int(bit).unwrap_or_default()) else { return false };
            *sum = more;
        }
        self.sums = sums;
        for bit in [client, server] {
            if self.without & bit == 0 && my.int(bit) != their.int(bit) {
                self.without |= bit;
            }
        }
        self.last_offset = their.int(shape.offsets[1]).unwrap_or(self.last_offset);
        self.end_time_ns = self.end_time_ns.max(theirs.time_ns());
        self.count += 1;
        // The next one need not compare the bytes of a context that another segment has told of again.
        if let (Some(whose), Some(other)) = (&mut self.whose, event.whose)
            && !Arc::ptr_eq(whose, other)
        {
            *whose = Arc::clone(other);
        }
        true
    }

    /// Makes the event part of the row, whatever it says.
    pub(crate) fn absorb(&mut self, event: &Event<'_>, shape: &Shape) {
        let Ok(mine) = RowView::parse(&self.row) else { return };
        let (my, their) = (mine.fields(), event.row.fields());
        let mut without = self.without | mine.presence() & !event.row.presence();
        let mut ints = my.ints() & !without & !END_TIME;
        for (sum, bit) in self.sums.iter_mut().zip(shape.sums) {
            match sum.checked_add(their.int(bit).unwrap_or_default()) {
                Some(more) => *sum = more,
                None => without |= bit,
            }
            ints &= !bit;
        }
        while ints != 0 {
            let bit = ints & ints.wrapping_neg();
            if my.int(bit) != their.int(bit) {
                without |= bit;
            }
            ints &= ints - 1;
        }
        let mut strings = their.strings();
        for (bit, text) in my.strings() {
            // Both lie in the order of their bits, and what the other does not have is left out already.
            if without & bit == 0 && strings.find(|(other, _)| *other == bit).is_none_or(|(_, other)| other != text) {
                without |= bit;
            }
        }
        self.without = without;
        let end = their.int(END_TIME).unwrap_or(i64::MIN).max(event.row.time_ns());
        self.end_time_ns = self.end_time_ns.max(end);
        self.count = self.count.saturating_add(1);
        // Whoever looks for one of several must not miss it because another came first.
        self.shown |= event.shown;
        self.whose = match (&self.whose, event.whose) {
            (Some(mine), Some(theirs)) => Some(mine.common(theirs)),
            _ => None,
        };
        self.row[FLAGS_AT] |= event.row.flags() & (ALTERED | CUT);
    }

    /// Appends the row. One event alone stays as it was.
    pub(crate) fn finish(&self, shape: &Shape, ranges: bool, out: &mut Vec<u8>) {
        let view = match RowView::parse(&self.row) {
            Ok(view) if self.count > 1 => view,
            _ => {
                out.extend_from_slice(&self.row);
                return;
            }
        };
        let [records, bytes, duration] = shape.sums;
        let [first, last] = shape.offsets;
        let mut without = self.without;
        if !ranges {
            without |= first | last | shape.correlation[0] | shape.correlation[1];
        }
        let numbers =
            [(last, self.last_offset), (records, self.sums[0]), (bytes, self.sums[1]), (duration, self.sums[2])];
        row::merged(&view, without, &numbers, self.end_time_ns, out);
    }
}

fn is_same(mine: Option<&Arc<Whose>>, other: Option<&Arc<Whose>>) -> bool {
    match (mine, other) {
        (Some(mine), Some(other)) => mine.is(other),
        (None, None) => true,
        _ => false,
    }
}
