//! Rows of several processes as lines of text, merged by time.
//!
//! What must always hold: the lines of one process stay in its order, whatever its clock did; a row that cannot be read costs
//! its own line and no other, and is counted.

use auditring_event::event::Event;
use auditring_event::json::Dialect;
use auditring_event::visible::visible_json;
use auditring_event::{Malformed, RowSet, json, terminal};

/// What a line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Canonical JSON, with what would act on a terminal escaped.
    Json {
        /// Whose names actions have.
        dialect: Dialect,
    },
    /// For people.
    People {
        /// With colours.
        colour: bool,
    },
}

impl Style {
    /// Appends the lines of a set.
    fn lines(self, set: &RowSet, out: &mut Vec<u8>) -> Result<(), Malformed> {
        match self {
            Self::Json { dialect } => {
                let mut lines = Vec::new();
                json::lines_in(dialect, set, &mut lines)?;
                let mut lines = visible_json(lines);
                if out.is_empty() {
                    *out = lines; // the common case: all at once
                } else {
                    out.append(&mut lines);
                }
                Ok(())
            }
            Self::People { colour } => terminal::lines(set, colour, out),
        }
    }

    /// Appends the line of one event.
    pub fn line(self, event: &Event, out: &mut Vec<u8>) {
        match self {
            Self::Json { dialect } => {
                let mut line = Vec::new();
                json::line(dialect, event, &mut line);
                out.append(&mut visible_json(line));
            }
            Self::People { colour } => terminal::line(event, colour, out),
        }
    }
}

/// Text, and how many rows could not be read.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// Whole lines.
    pub text: Vec<u8>,
    /// Rows that are malformed.
    pub unreadable: u64,
}

/// One line, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Wall time, nanoseconds since the epoch.
    pub time_ns: i64,
    /// The process.
    pub process: String,
    /// The row's number.
    pub seq: i64,
    /// The line, with its end.
    pub text: Vec<u8>,
}

/// The lines of one set.
#[derive(Default)]
struct Rendered {
    text: Vec<u8>,
    /// Time, seq, and where the line ends.
    ends: Vec<(i64, i64, usize)>,
    unreadable: u64,
}

impl Rendered {
    /// Renders a set; where one line ends and the next begins is only looked for if `each` is wanted.
    fn new(mut set: RowSet, style: Style, each: bool) -> Self {
        let mut rendered = Self::default();
        let rows = set.rows.clone();
        // All at once is much cheaper; that something is malformed shows when it fails.
        if style.lines(&set, &mut rendered.text).is_ok() {
            if each {
                let ends = rendered.text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
                let times = rows.iter().map(|at| (set.row(at).map_or(0, |row| row.time_ns()), at.seq));
                rendered.ends = times.zip(ends).map(|((time_ns, seq), end)| (time_ns, seq, end)).collect();
            }
            return rendered;
        }
        for at in rows {
            let time_ns = set.row(&at).map_or(0, |row| row.time_ns());
            set.rows = vec![at];
            match style.lines(&set, &mut rendered.text) {
                Ok(()) => rendered.ends.push((time_ns, at.seq, rendered.text.len())),
                Err(_) => rendered.unreadable += 1,
            }
        }
        rendered
    }

    fn line(&self, at: usize) -> &[u8] {
        let begin = at.checked_sub(1).map_or(0, |before| self.ends[before].2);
        &self.text[begin..self.ends[at].2]
    }
}

/// The rows of sets as one text, merged by time.
#[must_use]
pub fn lines(sets: Vec<RowSet>, style: Style) -> Lines {
    let each = sets.len() > 1;
    let mut all: Vec<_> = sets.into_iter().map(|set| (0, Rendered::new(set, style, each))).collect();
    let unreadable = all.iter().map(|(_, set)| set.unreadable).sum();
    if !each {
        let text = all.pop().map(|(_, set)| set.text).unwrap_or_default();
        return Lines { text, unreadable };
    }
    let mut text = Vec::with_capacity(all.iter().map(|(_, set)| set.text.len()).sum());
    let next = |(at, set): &(usize, Rendered)| set.ends.get(*at).map(|(time_ns, ..)| *time_ns);
    while let Some((at, set)) = all.iter_mut().filter(|one| next(one).is_some()).min_by_key(|one| next(one)) {
        text.extend_from_slice(set.line(*at));
        *at += 1;
    }
    Lines { text, unreadable }
}

/// The rows of sets as lines of their own, to be merged with others.
#[must_use]
pub fn lines_each(sets: Vec<RowSet>, style: Style) -> (Vec<Line>, u64) {
    let mut all = Vec::new();
    let mut unreadable = 0;
    for set in sets {
        let process = set.identity.process.clone();
        let rendered = Rendered::new(set, style, true);
        unreadable += rendered.unreadable;
        all.extend(rendered.ends.iter().enumerate().map(|(at, (time_ns, seq, _))| Line {
            time_ns: *time_ns,
            process: process.clone(),
            seq: *seq,
            text: rendered.line(at).to_vec(),
        }));
    }
    (all, unreadable)
}
