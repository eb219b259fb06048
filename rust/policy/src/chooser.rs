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
use crate::policy::Policy;
use crate::rule::{Keep, Kind, Rule};
use crate::sample::Sample;
use crate::table::{Shape, shapes};

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
    /// By position among the samples.
    Sample(u16),
    /// The row must be looked at; these strings of it.
    Ask(u32),
}

impl Verdict {
    const fn number(self) -> u16 {
        match self {
            Self::Sample(at) => at + 2,
            Self::Off => 1,
            Self::All | Self::Ask(_) => 0,
        }
    }

    const fn of_number(number: u16) -> Self {
        match number {
            0 => Self::All,
            1 => Self::Off,
            at => Self::Sample(at - 2),
        }
    }
}

/// The log's policy and one sink's, ready for rows.
#[derive(Debug)]
pub struct Chooser {
    log: Policy,
    own: Option<Policy>,
    verdicts: Box<[Verdict]>,
    /// One for each rule that samples: those of the log, then the sink's.
    samples: Vec<Sample>,
    cache: Cache,
    segment: u32,
    definitions: Definitions,
    strings: Vec<u8>,
}

impl Chooser {
    /// For the rows of one process at a sink with a policy of its own, or none.
    #[must_use]
    pub fn new(log: Policy, own: Option<Policy>, process: &[u8; 16]) -> Self {
        let sample = |policy: &Policy, rule: &Rule| match rule.keep {
            Keep::Sample { one_in, by } => Sample::new(one_in, by, policy.seed, process),
            // Never asked for: it only holds the place, so that a rule's number is that of its sample.
            Keep::All | Keep::Off => Sample::new(1, crate::By::EVENT, 0, process),
        };
        let samples = [Some(&log), own.as_ref()].into_iter().flatten();
        let samples = samples.flat_map(|policy| policy.rules.iter().map(|rule| sample(policy, rule))).collect();
        let mut chooser = Self {
            log,
            own,
            verdicts: vec![Verdict::All; CODES * OUTCOMES].into_boxed_slice(),
            samples,
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
        let shape = shapes()[usize::from(code)];
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
            Keep::Sample { .. } => {
                let own = own.map(|(at, _)| self.log.rules.len() + at);
                own.or(log.map(|(at, _)| at)).map_or(Verdict::All, |at| Verdict::Sample(at as u16))
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
            Verdict::Sample(at) => self.sampled(at, row, who, seq),
        }
    }

    #[inline]
    fn sampled(&self, at: u16, row: &RowView<'_>, who: Option<Who<'_>>, seq: i64) -> Decision {
        // First touches stand outside the sample: weight 1, whatever the hash says, so that the estimate stays unbiased.
        if row.flags() & record::FIRST_TOUCH != 0 {
            return Decision::Keep { weight: 1 };
        }
        let sample = &self.samples[usize::from(at)];
        let shape = shapes()[usize::from(row.code())];
        let session = who.map_or(0, |who| who.session);
        if sample.keeps(row, shape, session, who.map(|who| who.context), seq) {
            Decision::Keep { weight: sample.one_in }
        } else {
            Decision::SampledOut
        }
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
        let shape = shapes()[usize::from(row.code())];
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
        Walk::of(self, &kind, shapes()[usize::from(code)]).is_off(default(category, outcome, false))
    }
}
