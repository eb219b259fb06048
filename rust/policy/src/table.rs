//! Where a row has what rules ask for, by its code.

use std::sync::LazyLock;

use auditring_event::record::{FILTER, NAME, TAP};
use auditring_event::row::RowView;
use auditring_event::{ACTIONS, CODES, Column, FREEFORM, Target};

/// Presence bits of the fields that land in a column; 0 where there is none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shape {
    pub(crate) resource: u32,
    pub(crate) partition: u32,
    /// First and last offset.
    pub(crate) offsets: [u32; 2],
    /// The client's correlation id and the server's.
    pub(crate) correlation: [u32; 2],
    /// What is added up when rows are merged: records, bytes, duration.
    pub(crate) sums: [u32; 3],
    pub(crate) principal: u32,
    pub(crate) filter: u32,
    pub(crate) name: u32,
}

static SHAPES: LazyLock<Box<[Shape]>> = LazyLock::new(|| {
    let declared = Shape { filter: FILTER, ..Shape::default() };
    let mut shapes = vec![declared; CODES].into_boxed_slice();
    for spec in ACTIONS {
        let bit = |column| {
            let lands = |field: &auditring_event::FieldSpec| field.target == Target::Column(column);
            spec.fields.iter().position(lands).map_or(0, |at| 1 << at)
        };
        shapes[usize::from(spec.code)] = Shape {
            resource: bit(Column::Resource),
            partition: bit(Column::Partition),
            offsets: [bit(Column::FirstOffset), bit(Column::LastOffset)],
            correlation: [bit(Column::ClientCorrelationId), bit(Column::ServerCorrelationId)],
            sums: [bit(Column::Records), bit(Column::Bytes), bit(Column::DurationNs)],
            principal: bit(Column::Principal),
            filter: bit(Column::Filter) | FILTER,
            name: if spec.code == FREEFORM { NAME } else { 0 },
        };
    }
    shapes
});

/// Of a code that is beyond all that this version knows: none of its fields says anything.
static UNKNOWN: Shape = Shape {
    resource: 0,
    partition: 0,
    offsets: [0; 2],
    correlation: [0; 2],
    sums: [0; 3],
    principal: 0,
    filter: 0,
    name: 0,
};

/// The shape of a code's rows. One that is not in the catalog is of a declared event: all its fields are details.
pub(crate) fn shape(code: u16) -> &'static Shape {
    SHAPES.get(usize::from(code)).unwrap_or(&UNKNOWN)
}

impl Shape {
    #[inline]
    pub(crate) fn resource<'a>(self, row: &RowView<'a>) -> &'a [u8] {
        first(row, self.resource).unwrap_or_default()
    }

    #[inline]
    pub(crate) fn has_resource<'a>(self, row: &RowView<'a>) -> Option<&'a [u8]> {
        first(row, self.resource)
    }

    pub(crate) fn partition(self, row: &RowView<'_>) -> Option<i64> {
        if self.partition == 0 { None } else { row.fields().int(self.partition) }
    }

    pub(crate) fn own_principal<'a>(self, row: &RowView<'a>) -> Option<&'a str> {
        if self.principal == 0 { None } else { row.fields().text(self.principal) }
    }

    pub(crate) fn own_filter<'a>(self, row: &RowView<'a>) -> Option<&'a str> {
        // The common one lies behind the fields, and is the one that holds.
        row.fields().text(FILTER).or_else(|| row.fields().text(self.filter & !FILTER))
    }

    pub(crate) fn own_tap<'a>(row: &RowView<'a>) -> Option<&'a str> {
        row.fields().text(TAP)
    }
}

/// The string behind one bit, as it lies.
#[inline]
fn first<'a>(row: &RowView<'a>, bit: u32) -> Option<&'a [u8]> {
    if row.presence() & bit == 0 {
        return None;
    }
    row.fields().strings().find(|(found, _)| *found == bit).map(|(_, bytes)| bytes)
}
