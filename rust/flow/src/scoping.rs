//! From the context of a row to its scope: by what else it is counted, beside action and outcome.
//!
//! Only columns that a context alone fixes, and whose values the host's own configuration bounds, can be chosen; so a scope is
//! looked up once for a context of a segment, and not for a row. What must always hold: a context without any of the columns
//! has no scope, and its rows count as what is left when all scopes are taken from the whole.

use auditring_event::Context;
use auditring_journal::{ScopeFile, Scopes, What};

use crate::Error;
use crate::keep::Vanished;

/// Reads a column of a context.
type Read = fn(&Context) -> Option<&str>;

/// What rows can be counted by.
const COLUMNS: [(&str, Read); 3] = [
    ("virtual_cluster", |context| context.virtual_cluster.as_deref()),
    ("listener", |context| context.listener.as_deref()),
    ("server", |context| context.server.as_deref()),
];

/// The columns that rows can be counted by.
#[must_use]
pub fn scope_columns() -> [&'static str; 3] {
    COLUMNS.map(|(name, _)| name)
}

fn column(name: &str) -> Option<Read> {
    COLUMNS.iter().find(|(known, _)| *known == name).map(|(_, read)| *read)
}

/// The scopes of a process, and how a context comes to one.
#[derive(Debug)]
pub(crate) struct Scoping {
    file: ScopeFile,
    /// By label; none of a column that is not known here.
    columns: Vec<Option<Read>>,
}

impl Scoping {
    pub(crate) fn new(file: ScopeFile) -> Self {
        let columns = file.labels().iter().map(|(_, name)| column(name)).collect();
        Self { file, columns }
    }

    pub(crate) fn scopes(&self) -> &Scopes {
        self.file.scopes()
    }

    /// Puts its file back where it was taken away.
    pub(crate) fn keep(&mut self) -> Result<Option<Vanished>, Error> {
        let found = self.file.restore()?;
        let told = |what: What| Vanished { path: self.file.path().to_owned(), kind: "journal", what, restored: true };
        Ok(found.map(told))
    }

    pub(crate) fn of(&mut self, context: &Context) -> Option<u16> {
        let read = |read: &Option<Read>| read.and_then(|read| read(context)).unwrap_or_default().to_owned();
        let values: Vec<_> = self.columns.iter().map(read).collect();
        if values.iter().all(String::is_empty) { None } else { Some(self.file.number(values)) }
    }
}
