//! A policy compiled for the rows of one process: by code and outcome first, then by what a row asks for.
//!
//! What must always hold: the decision is that of [`crate::Policy::explain`], read plainly, for every row. Tables and cache
//! make it quick, they decide nothing.

use auditring_event::record::{self, FILTER, STATUS, TAP};
use auditring_event::row::RowView;
use auditring_event::{CODES, Category, Context, Definitions, OUTCOMES, Origin, Outcome, spec};

use crate::cache::{Asked, Cache};
use crate::explain::{both, default, otherwise};
use crate::facts::Facts;
use crate::policy::{Policy, windows};
use crate::rule::{Keep, Kind, Rule};
use crate::sample::{By, Sample};
use crate::table::{Shape, shape};

/// What a sink does with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Delivered; stands for so many events.
    Keep {
        /// 1, or the sampling rate.
        weight: u32,
    },
    /// Left out by sampling; the kept rows' weights stand for it.
    SampledOut,
    /// Left out by rule.
    FilteredOut,
    /// Merged with what it touches.
    Coalesce {
        /// For how long.
        window_ns: i64,
    },
    /// The first of its kind, or one of the others.
    First {
        /// For how long.
        window_ns: i64,
        /// Which rule: see [`Chooser::kind`].
        rule: u16,
    },
}

/// What a rule that does not just keep or leave out does.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Only holds the place, so that a rule's number is that of its act.
    Nothing,
    Sample(Sample),
    Coalesce(i64),
    First(i64, By),
}

/// Whose row it is.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// The context.
    pub context: &'a Context,
    /// [`crate::session_hash`] of its session.
    pub session: u64,
}

/// What is said of a row of one code and outcome; or of one row, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    All,
    Off,
    /// By position among the acts.
    Act(u16),
    /// The row must be looked at; these strings of it.
    Ask(u32),
}

impl Verdict {
    const fn number(self) -> u16 {
        match self {
            Self::Act(at) => at + 2,
            Self::Off => 1,
            Self::All | Self::Ask(_) => 0,
        }
    }

    const fn of_number(number: u16) -> Self {
        match number {
            0 => Self::All,
            1 => Self::Off,
            at => Self::Act(at - 2),
        }
    }
}

/// The log's policy and one sink's, ready for rows.
#[derive(Debug)]
pub struct Chooser {
    log: Policy,
    own: Option<Policy>,
    verdicts: Box<[Verdict]>,
    /// One for each rule: those of the log, then the sink's.
    acts: Vec<Act>,
    cache: Cache,
    segment: u32,
    definitions: Definitions,
    strings: Vec<u8>,
}

impl Chooser {
    /// For the rows of one process at a sink with a policy of its own, or none.
    #[must_use]
    pub fn new(log: Policy, own: Option<Policy>, process: &[u8; 16]) -> Self {
        let act = |policy: &Policy, rule: &Rule| match rule.keep {
            Keep::Sample { one_in, by } => Act::Sample(Sample::new(one_in, by, policy.seed, process)),
            Keep::Coalesce { window_ns } => Act::Coalesce(window_ns),
            Keep::First { window_ns, by } => Act::First(window_ns, by),
            Keep::All | Keep::Off => Act::Nothing,
        };
        let acts = [Some(&log), own.as_ref()].into_iter().flatten();
        let acts = acts.flat_map(|policy| policy.rules.iter().map(|rule| act(policy, rule))).collect();
        let mut chooser = Self {
            log,
            own,
            verdicts: vec![Verdict::All; CODES * OUTCOMES].into_boxed_slice(),
            acts,
            cache: Cache::default(),
            segment: 1,
            definitions: Definitions::default(),
            strings: Vec::new(),
        };
        for spec in auditring_event::ACTIONS {
            let named = (spec.code != auditring_event::FREEFORM).then_some(spec.name);
            chooser.compile(spec.code, named, spec.category);
        }
        chooser
    }

    /// A segment begins: contexts are numbered anew.
    pub fn segment(&mut self) {
        self.segment = self.segment.checked_add(1).unwrap_or_else(|| {
            self.cache = Cache::default();
            1
        });
    }

    /// Definitions, before the first row that uses them.
    pub fn define(&mut self, definitions: &Definitions) {
        for one in definitions.iter() {
            if self.definitions.get(one.code).is_none() {
                self.definitions.insert(one.clone());
                self.compile(one.code, Some(&one.name), one.category);
            }
        }
    }

    /// Whether nothing is ever left out.
    #[must_use]
    pub fn keeps_all(&self) -> bool {
        self.verdicts.iter().all(|verdict| *verdict == Verdict::All)
    }

    fn compile(&mut self, code: u16, name: Option<&str>, category: Category) {
        for outcome in Outcome::ALL {
            let kind = Kind { action: name, category, outcome: *outcome };
            self.verdicts[usize::from(code) * OUTCOMES + *outcome as usize] = self.verdict(code, &kind);
        }
    }

    fn verdict(&self, code: u16, kind: &Kind<'_>) -> Verdict {
        let shape = *shape(code);
        let log = Walk::of(&self.log, kind, shape);
        let own = self.own.as_ref().map_or_else(Walk::default, |own| Walk::of(own, kind, shape));
        let otherwise = default(kind.category, kind.outcome, false);
        if !log.asks.is_empty() || (!own.asks.is_empty() && !log.is_off(otherwise)) {
            let all = log.keeps.iter().chain(&own.keeps).all(|keep| *keep == Keep::All);
            return if all && otherwise == Keep::All {
                Verdict::All
            } else {
                Verdict::Ask(log.asks.iter().chain(&own.asks).fold(0, |needs, rule| needs | needed(rule, shape)))
            };
        }
        self.number(log.last, own.last, otherwise)
    }

    /// The verdict of two rules that match, or none.
    fn number(&self, log: Option<(usize, Keep)>, own: Option<(usize, Keep)>, otherwise: Keep) -> Verdict {
        match both(log.map(|(_, keep)| keep), own.map(|(_, keep)| keep), otherwise) {
            Keep::All => Verdict::All,
            Keep::Off => Verdict::Off,
            Keep::Sample { .. } | Keep::Coalesce { .. } | Keep::First { .. } => {
                let own = own.map(|(at, _)| self.log.rules.len() + at);
                own.or(log.map(|(at, _)| at)).map_or(Verdict::All, |at| Verdict::Act(at as u16))
            }
        }
    }

    /// What becomes of a row; `context` is the number of its context in the segment.
    #[inline]
    pub fn decide(&mut self, row: &RowView<'_>, context: u32, who: Option<Who<'_>>, seq: i64) -> Decision {
        let at = usize::from(row.code()) * OUTCOMES + usize::from(record::outcome_number(row.bits()));
        // A code that only a later version knows cannot be asked for anything, so it is kept.
        let mut verdict = self.verdicts.get(at).copied().unwrap_or(Verdict::All);
        if let Verdict::Ask(needs) = verdict {
            verdict = self.ask(row, needs, context, who);
        } else if verdict != Verdict::All && row.presence() & STATUS != 0 {
            verdict = Verdict::of_number(self.look(row, who));
        }
        match verdict {
            Verdict::All | Verdict::Ask(_) => Decision::Keep { weight: 1 },
            Verdict::Off => Decision::FilteredOut,
            Verdict::Act(at) => match &self.acts[usize::from(at)] {
                Act::Nothing => Decision::Keep { weight: 1 },
                Act::Sample(sample) => sampled(sample, row, who, seq),
                Act::Coalesce(window_ns) => Decision::Coalesce { window_ns: *window_ns },
                Act::First(window_ns, _) => Decision::First { window_ns: *window_ns, rule: at },
            },
        }
    }

    /// Appends what makes a row's kind by the rule of a [`Decision::First`].
    pub fn kind(&self, rule: u16, row: &RowView<'_>, who: Option<&Context>, out: &mut Vec<u8>) {
        out.extend_from_slice(&rule.to_le_bytes());
        out.extend_from_slice(&row.code().to_le_bytes());
        out.push(row.bits());
        let shape = *shape(row.code());
        if shape.name != 0 {
            // Events of one code that have names of their own.
            out.extend_from_slice(row.fields().text(shape.name).unwrap_or_default().as_bytes());
            out.push(0);
        }
        if let Some(Act::First(_, by)) = self.acts.get(usize::from(rule)) {
            by.key(row, shape, who, out);
        }
    }

    /// The windows in force, each once, the longest last.
    #[must_use]
    pub fn windows(&self) -> Vec<i64> {
        windows(&self.log, self.own.as_ref())
    }

    /// Looks at what rules ask for, unless that was done for the same before.
    #[inline]
    fn ask(&mut self, row: &RowView<'_>, needs: u32, context: u32, who: Option<Who<'_>>) -> Verdict {
        let there = row.presence() & (needs | STATUS);
        let asked = Asked { context, code: row.code(), bits: row.bits(), there, segment: self.segment };
        let mut cache = std::mem::take(&mut self.cache);
        let mut several = std::mem::take(&mut self.strings);
        let wanted = there & !STATUS;
        let number = if wanted & wanted.wrapping_sub(1) == 0 {
            // Mostly it is one, the resource: it is compared where it lies.
            let one = row.fields().strings().find(|(bit, _)| *bit == wanted).map_or(&[][..], |(_, text)| text);
            cache.get(asked, one, || self.look(row, who))
        } else {
            several.clear();
            for (_, text) in row.fields().strings().filter(|(bit, _)| wanted & bit != 0) {
                several.extend_from_slice(&(text.len() as u16).to_le_bytes());
                several.extend_from_slice(text);
            }
            cache.get(asked, &several, || self.look(row, who))
        };
        self.cache = cache;
        self.strings = several;
        Verdict::of_number(number)
    }

    #[cold]
    fn look(&self, row: &RowView<'_>, who: Option<Who<'_>>) -> u16 {
        let Some(event) = self.facts(row, who) else { return Verdict::All.number() };
        let own = self.own.as_ref().and_then(|own| own.first(&event));
        self.number(self.log.first(&event), own, otherwise(&event)).number()
    }

    /// What rules may look at of a row; none of one that only a later version can read.
    fn facts<'a>(&'a self, row: &RowView<'a>, who: Option<Who<'a>>) -> Option<Facts<'a>> {
        let shape = *shape(row.code());
        let (action, category) = match spec(row.code()) {
            Some(_) if shape.name != 0 => (row.fields().text(shape.name)?, Category::Plugin),
            Some(spec) => (spec.name, spec.category),
            None => self.definitions.get(row.code()).map(|of| (of.name.as_str(), of.category))?,
        };
        let text = |bit| if bit == 0 { None } else { row.fields().text(bit) };
        let own = |name: &'a str| vec![std::borrow::Cow::Owned(format!("User:{name}"))];
        let event = Facts {
            action,
            category,
            outcome: record::outcome(row.bits())?,
            authority: record::authority(row.bits()),
            origin: record::origin(row.bits()).unwrap_or(Origin::Client),
            status: row.presence() & STATUS != 0,
            filter: shape.own_filter(row),
            tap: Shape::own_tap(row),
            resource: text(shape.resource),
            principals: shape.own_principal(row).map_or_else(Vec::new, own),
            virtual_cluster: None,
            peer: None,
            peer_hash: None,
        };
        Some(match who {
            Some(who) => event.of_session(who.context),
            None => event,
        })
    }
}

#[inline]
fn sampled(sample: &Sample, row: &RowView<'_>, who: Option<Who<'_>>, seq: i64) -> Decision {
    // First touches stand outside the sample: weight 1, whatever the hash says, so that the estimate stays unbiased.
    if row.flags() & record::FIRST_TOUCH != 0 {
        return Decision::Keep { weight: 1 };
    }
    let shape = *shape(row.code());
    let session = who.map_or(0, |who| who.session);
    if sample.keeps(row, shape, session, who.map(|who| who.context), seq) {
        Decision::Keep { weight: sample.one_in }
    } else {
        Decision::SampledOut
    }
}

/// The rules of one policy that rows of one kind can meet.
#[derive(Default)]
struct Walk<'a> {
    /// Those that ask for more than the kind, up to the last.
    asks: Vec<&'a Rule>,
    /// What they and the last one say.
    keeps: Vec<Keep>,
    /// The first that every row of the kind meets.
    last: Option<(usize, Keep)>,
}

impl<'a> Walk<'a> {
    fn of(policy: &'a Policy, kind: &Kind<'_>, shape: Shape) -> Self {
        let mut walk = Self::default();
        for (at, rule) in policy.rules.iter().enumerate() {
            let never = (rule.resource.is_some() && shape.resource == 0)
                || rule.misses_kind(kind).is_some()
                || policy.spares(rule, kind, false).is_some();
            if never {
                continue;
            }
            walk.keeps.push(rule.keep);
            if !rule.asks(kind.action.is_some()) {
                walk.last = Some((at, rule.keep));
                break;
            }
            walk.asks.push(rule);
        }
        walk
    }

    fn is_off(&self, otherwise: Keep) -> bool {
        self.asks.is_empty() && self.last.map_or(otherwise, |(_, keep)| keep) == Keep::Off
    }
}

/// Presence bits of the strings that a rule asks a row for.
fn needed(rule: &Rule, shape: Shape) -> u32 {
    let mut needs = 0;
    for (asked, bits) in [
        (rule.action.is_some(), shape.name),
        (rule.resource.is_some(), shape.resource),
        (rule.principal.is_some(), shape.principal),
        (rule.filter.is_some(), shape.filter | FILTER),
        (rule.tap.is_some(), TAP),
    ] {
        if asked {
            needs |= bits;
        }
    }
    needs
}

impl Policy {
    /// Whether the log's policy leaves out every event of a kind, so that nothing of it need be recorded. `name` is none
    /// where events of one code have names of their own.
    #[must_use]
    pub fn is_off(&self, code: u16, name: Option<&str>, category: Category, outcome: Outcome) -> bool {
        let kind = Kind { action: name, category, outcome };
        Walk::of(self, &kind, *shape(code)).is_off(default(category, outcome, false))
    }
}
