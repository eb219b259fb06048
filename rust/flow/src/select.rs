//! From journal rows to the rows of one sink: the policy applied, contexts gathered, counts kept.
//!
//! What must always hold: a pure function of the journal; every row of the range is kept, sampled out, filtered out or
//! counted as lost, never none of them, never two. A row `auditring.PolicyChanged` is judged by the policy that it ends, and
//! every row after it by the one that it carries; whoever passes over rows shows them to [`Selector::pass`], so that none
//! is missed.

use std::path::Path;
use std::sync::Arc;

use auditring_event::record::RecordView;
use auditring_event::row::{self, RowView};
use auditring_event::{
    CODES, Context, Definitions, Identity, OUTCOMES, Outcome, RowRef, RowSet, code_of, index_of, spec_at,
};
use auditring_journal::{BatchFlags, BatchMeta, Reader, SegmentHead, Step, contexts, counters, process_text};
use auditring_policy::{Chooser, Decision, Event, Policy, Who, Whose, Windows, session_hash};

use crate::Error;

const CHANGED: u16 = code_of("auditring.PolicyChanged");
/// Presence bit of the policy that such a row carries.
const POLICY: u32 = 1 << spec_at(index_of(CHANGED)).position("policy");

/// Whether another policy is in force after this row: there lies a cut before it, and one behind it.
#[inline]
pub(crate) fn is_change(view: &RowView<'_>) -> bool {
    view.code() == CHANGED
}

/// The policy that a record tells of, where it tells that another is in force.
pub(crate) fn policy_in(record: &RecordView<'_>) -> Option<Vec<u8>> {
    let policy = (record.code() == CHANGED).then(|| record.fields().text(POLICY))?;
    policy.map(|policy| policy.as_bytes().to_vec())
}

/// The policy in force behind the last row of a journal that nobody writes any more; none where no head of a segment says.
/// `first_seq`: of the last segment whose head can be read.
///
/// # Errors
/// If the journal cannot be read.
pub(crate) fn policy_at_end(dir: &Path, first_seq: i64) -> Result<Option<Vec<u8>>, Error> {
    let mut reader = Reader::open(dir, first_seq)?;
    let (mut buf, mut policy) = (Vec::new(), None);
    loop {
        match reader.next(&mut buf)? {
            Step::Segment(head) => policy = Some(head.policy),
            Step::Batch(meta, sections) if has_change(&meta) => {
                let mut rows = &buf[sections.rows];
                while let Ok(view) = RowView::parse(rows) {
                    let told = is_change(&view).then(|| view.fields().text(POLICY)).flatten();
                    policy = told.map(|told| told.as_bytes().to_vec()).or(policy);
                    rows = &rows[view.len()..];
                }
            }
            Step::Batch(..) | Step::Corrupt { .. } | Step::Gone { .. } => {}
            Step::NotYet | Step::End => return Ok(policy),
        }
    }
}

/// Whether there is such a row in a batch, by the counters that it carries.
pub(crate) fn has_change(meta: &BatchMeta) -> bool {
    let counted = |name| matches!(name, counters::Name::Journaled { code: CHANGED, .. });
    meta.cells.iter().any(|(cell, _)| counted(counters::name(*cell)))
}

/// Contexts that may be missing from a segment, with batches that are damaged.
const MISSING: usize = 1 << 16;

/// Whether a context may have this index in a segment that `present` others are known of. They are dense; one far beyond is a
/// forgery, and would have its reader make room for all that are not there.
pub(crate) const fn is_near(index: usize, present: usize) -> bool {
    index <= present + MISSING
}

/// (action, outcome) pairs that a sink is not interested in.
#[derive(Clone, Debug)]
pub struct Declined(Box<[bool]>);

impl Default for Declined {
    fn default() -> Self {
        Self(vec![false; CODES * OUTCOMES].into_boxed_slice())
    }
}

impl Declined {
    /// Declines one pair.
    pub fn add(&mut self, code: u16, outcome: Outcome) {
        if let Some(pair) = self.0.get_mut(usize::from(code) * OUTCOMES + outcome as usize) {
            *pair = true;
        }
    }

    #[inline]
    fn has(&self, code: u16, bits: u8) -> bool {
        let at = usize::from(code) * OUTCOMES + usize::from(bits & 7);
        self.0.get(at).copied().unwrap_or(false)
    }
}

/// Rows that were chosen from a contiguous range of seq, and what became of the others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chosen {
    pub(crate) set: RowSet,
    /// The range is `first_seq..next_seq`.
    pub(crate) first_seq: i64,
    pub(crate) next_seq: i64,
    pub(crate) sampled_out: u64,
    pub(crate) filtered_out: u64,
    pub(crate) lost: u64,
    /// Rows that were merged into others.
    pub(crate) merged: u64,
    /// Least and greatest wall time of the rows seen (also of those left out).
    pub(crate) time: Option<(i64, i64)>,
}

impl Chosen {
    pub(crate) fn at(first_seq: i64) -> Self {
        Self { first_seq, next_seq: first_seq, ..Self::default() }
    }

    /// Whether there is nothing in it: also no row of an earlier range that has closed since.
    /// The seq of the row that comes next, which it takes.
    #[inline]
    fn number(&mut self, view: &RowView<'_>) -> i64 {
        self.see(view.time_ns());
        self.next_seq += 1;
        self.next_seq - 1
    }

    #[inline]
    fn see(&mut self, time_ns: i64) {
        self.time = Some(self.time.map_or((time_ns, time_ns), |(a, b)| (a.min(time_ns), b.max(time_ns))));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first_seq == self.next_seq && self.set.rows.is_empty()
    }
}

/// A context of the segment being read.
#[derive(Debug)]
struct Known {
    context: Arc<Context>,
    session: u64,
    /// Its position in the set of generation `generation`.
    local: u32,
    generation: u32,
    /// The same for a row that waits in a window, where there is one.
    whose: Option<Arc<Whose>>,
}

/// What is needed to choose rows of one segment.
#[derive(Debug)]
pub(crate) struct Selector {
    declined: Declined,
    /// The sink's own policy.
    own: Option<Policy>,
    /// The log's and the sink's policy, and the bytes of the log's.
    chooser: Option<(Vec<u8>, Chooser)>,
    /// Whether they leave out anything at all.
    keeps_all: bool,
    process: [u8; 16],
    identity: Arc<Identity>,
    known: Vec<Option<Known>>,
    /// How many there are among them.
    present: usize,
    definitions: Arc<Definitions>,
    generation: u32,
    /// The windows in force, and what waits in them.
    windows: Option<Windows>,
    birth_ns: i64,
    kind: Vec<u8>,
}

impl Selector {
    /// For a sink with a policy of its own in its journaled form; empty where it has none.
    pub(crate) fn new(declined: Declined, own: &[u8]) -> Result<Self, Error> {
        let own = if own.is_empty() { None } else { Some(Policy::parse(own)?) };
        Ok(Self {
            declined,
            own,
            chooser: None,
            keeps_all: true,
            process: [0; 16],
            identity: Arc::default(),
            known: Vec::new(),
            present: 0,
            definitions: Arc::default(),
            generation: 0,
            windows: None,
            birth_ns: 0,
            kind: Vec::new(),
        })
    }

    /// A segment begins: identity, policy and definitions are at its head, its contexts will come anew.
    pub(crate) fn segment(&mut self, head: &SegmentHead, chosen: &mut Chosen) -> Result<(), Error> {
        self.process = head.process;
        match &mut self.chooser {
            Some((policy, chooser)) if *policy == head.policy => chooser.segment(),
            _ => {
                self.cut(chosen);
                self.go_by(&head.policy)?;
            }
        }
        self.birth_ns = head.birth.mono_ns;
        let identity =
            Identity { process: process_text(&head.process), instance: head.instance.clone(), host: head.host.clone() };
        if *self.identity != identity {
            self.identity = Arc::new(identity);
        }
        self.definitions(&head.definitions, chosen);
        self.keeps_all = self.chooser.as_ref().is_none_or(|(_, chooser)| chooser.keeps_all());
        self.known.clear();
        self.present = 0;
        Ok(())
    }

    /// Rows are judged by another policy of the log from here on.
    fn go_by(&mut self, policy: &[u8]) -> Result<(), Error> {
        let mut chooser = Chooser::new(Policy::parse(policy)?, self.own.clone(), &self.process);
        chooser.define(&self.definitions);
        self.keeps_all = chooser.keeps_all();
        // Whoever comes here has made a cut before: nothing waits.
        self.windows = Windows::new(&chooser.windows());
        if self.windows.is_some() {
            for known in self.known.iter_mut().flatten().filter(|known| known.whose.is_none()) {
                let mut bytes = Vec::new();
                known.context.encode(&mut bytes);
                known.whose = Some(Arc::new(Whose::new(Arc::clone(&known.context), &bytes)));
            }
        }
        self.chooser = Some((policy.to_vec(), chooser));
        Ok(())
    }

    /// Takes in what a row that nobody chooses may say: that another policy is in force after it.
    ///
    /// # Errors
    /// If that is no policy that this version understands.
    #[inline]
    pub(crate) fn pass(&mut self, view: &RowView<'_>) -> Result<(), Error> {
        if is_change(view) { self.changed(view) } else { Ok(()) }
    }

    #[cold]
    fn changed(&mut self, view: &RowView<'_>) -> Result<(), Error> {
        // A row of the first version of the catalog carries none, and nothing ever wrote one.
        let Some(policy) = view.fields().text(POLICY).map(str::as_bytes) else { return Ok(()) };
        // The head of a segment may have said so already, to one who begins to read in the middle.
        if self.chooser.as_ref().is_some_and(|(now, _)| now == policy) { Ok(()) } else { self.go_by(policy) }
    }

    /// Definitions, before the first row that uses them: also those of a set that was begun without them. The list only
    /// grows, so it names the rows that are already in the set as before.
    pub(crate) fn definitions(&mut self, section: &[u8], chosen: &mut Chosen) {
        if section.is_empty() {
            return;
        }
        // Definitions that this version cannot read leave their events without names, not the others unread.
        let section = Definitions::decode(section).unwrap_or_default();
        if section.iter().any(|one| self.definitions.get(one.code).is_none()) {
            let definitions = Arc::make_mut(&mut self.definitions);
            for one in section.iter() {
                definitions.insert(one.clone());
            }
            if let Some((_, chooser)) = &mut self.chooser {
                chooser.define(&section);
                self.keeps_all = chooser.keeps_all();
            }
        }
        chosen.set.definitions = Arc::clone(&self.definitions);
    }

    /// The contexts of a batch, before its rows.
    pub(crate) fn contexts(&mut self, section: &[u8]) {
        for entry in contexts::iter(section).flatten() {
            let index = entry.index as usize;
            if !is_near(index, self.present) {
                continue;
            }
            let context = Context::decode(entry.bytes).unwrap_or_default();
            let session = session_hash(context.session.as_deref().unwrap_or_default());
            if self.known.len() <= index {
                self.known.resize_with(index + 1, || None);
            }
            let context = Arc::new(context);
            let whose = self.windows.is_some().then(|| Arc::new(Whose::new(Arc::clone(&context), entry.bytes)));
            self.present += usize::from(self.known[index].is_none());
            self.known[index] = Some(Known { context, session, local: 0, generation: 0, whose });
        }
    }

    /// Whether nothing waits here, so that whoever begins here comes to the same rows. Without a window that is so behind
    /// every row.
    pub(crate) fn at_cut(&self) -> bool {
        self.windows.as_ref().is_none_or(Windows::at_cut)
    }

    /// Whether rows may wait.
    pub(crate) fn has_windows(&self) -> bool {
        self.windows.is_some()
    }

    /// Whether a cut lies before this row, where there are windows.
    pub(crate) fn cuts(&self, view: &RowView<'_>, seq: i64) -> bool {
        self.windows.as_ref().is_some_and(|windows| windows.cuts(view.age_ns(), seq, view.code()))
    }

    /// A cut: whatever waits is a row now.
    pub(crate) fn cut(&mut self, chosen: &mut Chosen) {
        if let Some(windows) = &mut self.windows {
            windows.cut();
            self.take(chosen);
        }
    }

    /// Whatever waits is read again.
    pub(crate) fn forget(&mut self) {
        if let Some(windows) = &mut self.windows {
            windows.cut();
            windows.merger.take(|_, _| ());
        }
    }

    /// A batch without rows: time has passed, or the pump wants a cut.
    pub(crate) fn elapse(&mut self, meta: &BatchMeta, chosen: &mut Chosen) {
        let Some(windows) = &mut self.windows else { return };
        if meta.flags.contains(BatchFlags::CUT) {
            windows.cut();
        } else {
            windows.pass(meta.anchor.mono_ns.wrapping_sub(self.birth_ns));
        }
        self.take(chosen);
    }

    /// Takes over the rows that have closed.
    fn take(&mut self, chosen: &mut Chosen) {
        let Some(windows) = self.windows.as_mut().filter(|windows| windows.merger.has_closed()) else { return };
        let generation = self.generation;
        windows.merger.take(|closed, bytes| {
            chosen.merged += u64::from(closed.count - 1);
            if let Ok(row) = RowView::parse(bytes) {
                chosen.see(row.time_ns());
            }
            let set = &mut chosen.set;
            if !closed.shown {
                return;
            }
            let local = closed.whose.as_ref().map_or(row::NO_CONTEXT, |whose| place(whose, generation, set));
            push(set, bytes, local, RowRef { seq: closed.seq, offset: 0, weight: 1, count: closed.count });
        });
    }

    /// A new set begins.
    pub(crate) fn begin(&mut self, chosen: &mut Chosen) {
        // 0 is what no set has.
        self.generation = self.generation.wrapping_add(1).max(1);
        chosen.set.identity = Arc::clone(&self.identity);
        chosen.set.definitions = Arc::clone(&self.definitions);
    }

    /// Chooses one row; it takes the next seq of the range.
    ///
    /// # Errors
    /// As [`Selector::pass`]; the row itself is chosen.
    #[inline]
    pub(crate) fn row(&mut self, view: &RowView<'_>, bytes: &[u8], chosen: &mut Chosen) -> Result<(), Error> {
        self.row_shown(view, bytes, chosen, true)
    }

    /// The same for a reader that does not want to see all: what is not `shown` is left out of the set, but where rows may
    /// wait for others it is what they are merged with, or not.
    ///
    /// # Errors
    /// As [`Selector::pass`].
    #[inline]
    pub(crate) fn row_shown(
        &mut self,
        view: &RowView<'_>,
        bytes: &[u8],
        chosen: &mut Chosen,
        shown: bool,
    ) -> Result<(), Error> {
        if self.windows.is_some() {
            self.choose_in_windows(view, bytes, chosen, shown);
        } else if shown {
            self.choose(view, bytes, chosen);
        }
        self.pass(view)
    }

    #[inline]
    fn choose(&mut self, view: &RowView<'_>, bytes: &[u8], chosen: &mut Chosen) {
        let seq = chosen.number(view);
        let known = self.known.get_mut(view.context() as usize).and_then(Option::as_mut);
        if self.declined.has(view.code(), view.bits()) {
            chosen.filtered_out += 1;
            return;
        }
        let decision = match &mut self.chooser {
            Some((_, chooser)) if !self.keeps_all => {
                let who = known.as_ref().map(|known| Who { context: &known.context, session: known.session });
                chooser.decide(view, view.context(), who, seq)
            }
            _ => Decision::Keep { weight: 1 },
        };
        let weight = match decision {
            Decision::Keep { weight } => weight,
            // Only where there are windows.
            Decision::Coalesce { .. } | Decision::First { .. } => 1,
            Decision::SampledOut => {
                chosen.sampled_out += 1;
                return;
            }
            Decision::FilteredOut => {
                chosen.filtered_out += 1;
                return;
            }
        };
        let set = &mut chosen.set;
        let local = known.map_or(row::NO_CONTEXT, |known| {
            if known.generation != self.generation {
                known.generation = self.generation;
                known.local = set.contexts.len() as u32;
                set.contexts.push(Arc::clone(&known.context));
            }
            known.local
        });
        push(set, bytes, local, RowRef { seq, offset: 0, weight, count: 1 });
    }

    /// Chooses one row where rows may wait in windows.
    fn choose_in_windows(&mut self, view: &RowView<'_>, bytes: &[u8], chosen: &mut Chosen, shown: bool) {
        let seq = chosen.number(view);
        let Some(windows) = &mut self.windows else { return };
        if windows.cuts(view.age_ns(), seq, view.code()) {
            windows.cut();
        }
        windows.come(view.age_ns());
        let known = self.known.get(view.context() as usize).and_then(Option::as_ref);
        let whose = known.and_then(|known| known.whose.as_ref());
        let decision = match &mut self.chooser {
            _ if self.declined.has(view.code(), view.bits()) => Decision::FilteredOut,
            Some((_, chooser)) => {
                let who = known.map(|known| Who { context: &known.context, session: known.session });
                chooser.decide(view, view.context(), who, seq)
            }
            None => Decision::Keep { weight: 1 },
        };
        let event = Event { row: view, bytes, seq, whose, shown };
        let weight = match decision {
            Decision::Keep { weight } => {
                windows.merger.interrupt(&event);
                Some(weight)
            }
            Decision::Coalesce { window_ns } => (!windows.merger.coalesce(&event, window_ns)).then_some(1),
            Decision::First { window_ns, rule } => {
                self.kind.clear();
                if let Some((_, chooser)) = &self.chooser {
                    chooser.kind(rule, view, known.map(|known| &*known.context), &mut self.kind);
                }
                windows.merger.interrupt(&event);
                (!windows.merger.first(&event, window_ns, &self.kind)).then_some(1)
            }
            Decision::SampledOut => {
                chosen.sampled_out += 1;
                None
            }
            Decision::FilteredOut => {
                chosen.filtered_out += 1;
                None
            }
        };
        // What has closed because of this row lies before it.
        self.take(chosen);
        if let Some(weight) = weight.filter(|_| shown) {
            let known = self.known.get(view.context() as usize).and_then(Option::as_ref);
            let whose = known.and_then(|known| known.whose.as_ref());
            let local = whose.map_or(row::NO_CONTEXT, |whose| place(whose, self.generation, &mut chosen.set));
            push(&mut chosen.set, bytes, local, RowRef { seq, offset: 0, weight, count: 1 });
        }
        if self.windows.as_ref().is_some_and(|windows| windows.ends_with(view.code())) {
            self.cut(chosen);
        }
    }
}

/// Appends a row of a context that is in the set.
#[inline]
fn push(set: &mut RowSet, bytes: &[u8], context: u32, at: RowRef) {
    let offset = set.data.len();
    set.data.extend_from_slice(bytes);
    row::set_context(&mut set.data, offset, context);
    set.rows.push(RowRef { offset: offset as u32, ..at });
}

/// The position of a context in the set of this generation.
fn place(whose: &Whose, generation: u32, set: &mut RowSet) -> u32 {
    whose.place(generation, || {
        set.contexts.push(Arc::clone(&whose.context));
        set.contexts.len() as u32 - 1
    })
}
