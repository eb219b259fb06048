//! The same rows made plainly: a list of what waits, gone through from end to end for every event.

use auditring_journal::BatchFlags;

use crate::journal::{Row, Sent};

/// What a rule says of an action.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Keep {
    Coalesce(i64),
    First(i64),
    All,
}

/// What lies in a journal.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Row(Sent),
    Empty { age_ns: i64, cut: bool },
}

impl Item {
    pub(crate) fn flags(&self) -> BatchFlags {
        match self {
            Self::Empty { cut: true, .. } => BatchFlags::CUT,
            _ => BatchFlags::NONE,
        }
    }
}

struct Open {
    window_ns: i64,
    first: Sent,
    /// A kind; none of a range.
    kind: Option<(&'static str, Option<&'static str>)>,
    row: Option<Row>,
}

/// The rows, and the seqs before which there is a cut.
pub(crate) fn rows(items: &[Item], keep: impl Fn(&Sent) -> Keep, windows: &[i64]) -> (Vec<Row>, Vec<i64>) {
    let longest = windows.iter().copied().max().unwrap();
    let (mut out, mut cuts, mut open) = (Vec::new(), vec![0], Vec::<Open>::new());
    // The greatest age since the cut.
    let mut greatest: Option<i64> = None;
    let mut seq = 0;
    for item in items {
        let (age_ns, edge) = match item {
            Item::Row(sent) => (sent.age_ns, sent.action == "ProxyCleanShutdown"),
            Item::Empty { age_ns, cut } => (*age_ns, *cut),
        };
        if let Some(seen) = greatest {
            if edge || age_ns.div_euclid(longest) > seen.div_euclid(longest) {
                close(&mut open, &mut out, |_| true);
                cuts.push(seq);
                greatest = None;
            } else {
                for window in windows.iter().filter(|window| age_ns.div_euclid(**window) > seen.div_euclid(**window)) {
                    close(&mut open, &mut out, |one| one.window_ns == *window);
                }
            }
        }
        let Item::Row(sent) = item else {
            greatest = greatest.map(|seen| seen.max(age_ns));
            continue;
        };
        greatest = Some(greatest.map_or(age_ns, |seen| seen.max(age_ns)));
        event(sent, seq, keep(sent), &mut open, &mut out);
        seq += 1;
        if edge {
            cuts.push(seq);
            greatest = None;
        }
    }
    close(&mut open, &mut out, |_| true);
    (out, cuts)
}

fn close(open: &mut Vec<Open>, out: &mut Vec<Row>, which: impl Fn(&Open) -> bool) {
    let (mut gone, left): (Vec<_>, Vec<_>) = std::mem::take(open).into_iter().partition(which);
    *open = left;
    gone.sort_by_key(|one| one.row.as_ref().map_or(0, |row| row.seq));
    out.extend(gone.into_iter().filter_map(|one| one.row));
}

fn row(sent: &Sent, seq: i64) -> Row {
    let data = matches!(sent.action, "Read" | "Write" | "Delete");
    Row {
        seq,
        count: 1,
        action: sent.action.into(),
        session: (sent.session > 0).then(|| format!("s{}", sent.session)),
        topic: (data || sent.action == "OperationAllowed").then(|| sent.topic.into()),
        partition: data.then_some(sent.partition),
        offsets: sent.offsets,
        records: sent.records,
        correlation: sent.correlation,
        begin_ns: sent.age_ns,
        end_ns: None,
    }
}

fn event(sent: &Sent, seq: i64, keep: Keep, open: &mut Vec<Open>, out: &mut Vec<Row>) {
    let keep = if sent.failed { Keep::All } else { keep };
    let place = |sent: &Sent| (sent.session, sent.topic, sent.partition, sent.tap);
    let same = |one: &Sent| {
        let of = |sent: &Sent| (sent.action, sent.broker, sent.group, sent.records.is_some());
        of(one) == of(sent)
    };
    if let Keep::Coalesce(window_ns) = keep {
        let fits = !sent.touch && sent.offsets.is_some();
        let here = open.iter().position(|one| one.kind.is_none() && place(&one.first) == place(sent));
        if let Some(at) = here {
            let one = &mut open[at];
            let merged = one.row.as_mut().unwrap();
            let next = merged.offsets.map(|(_, last)| last + 1);
            if fits && one.window_ns == window_ns && same(&one.first) && next == sent.offsets.map(|(first, _)| first) {
                merged.count += 1;
                merged.offsets = merged.offsets.zip(sent.offsets).map(|((first, _), (_, last))| (first, last));
                merged.records = merged.records.zip(sent.records).map(|(a, b)| a + b);
                merged.correlation = merged.correlation.filter(|id| sent.correlation == Some(*id));
                merged.end_ns = Some(merged.end_ns.unwrap_or(merged.begin_ns).max(sent.age_ns));
                return;
            }
            let gone = open.remove(at);
            out.extend(gone.row);
        }
        if fits {
            open.push(Open { window_ns, first: sent.clone(), kind: None, row: Some(row(sent, seq)) });
        } else {
            out.push(row(sent, seq));
        }
        return;
    }
    // It closes what it comes between; a connection that closes is some session's.
    match sent.action {
        "ClientClose" | "BrokerClose" if sent.session == 0 => {}
        "ClientClose" => close(open, out, |one| one.kind.is_none() && one.first.session == sent.session),
        "BrokerClose" => close(open, out, |one| {
            one.kind.is_none() && one.first.session == sent.session && one.first.broker == sent.broker
        }),
        "Read" | "Write" | "Delete" => close(open, out, |one| one.kind.is_none() && place(&one.first) == place(sent)),
        _ => {}
    }
    if let Keep::First(window_ns) = keep {
        let kind = Some((sent.action, Some(sent.topic)));
        if let Some(one) = open.iter_mut().find(|one| one.kind == kind) {
            if sent.touch {
                out.push(row(sent, seq));
                return;
            }
            let mine = row(sent, seq);
            let Some(rest) = &mut one.row else {
                one.row = Some(mine);
                return;
            };
            rest.count += 1;
            rest.offsets = None;
            rest.correlation = None;
            rest.records = rest.records.zip(mine.records).map(|(a, b)| a + b);
            rest.session = rest.session.take().filter(|id| Some(id) == mine.session.as_ref());
            rest.partition = rest.partition.filter(|partition| Some(*partition) == mine.partition);
            rest.end_ns = Some(rest.end_ns.unwrap_or(rest.begin_ns).max(sent.age_ns));
            return;
        }
        open.push(Open { window_ns, first: sent.clone(), kind, row: None });
    }
    out.push(row(sent, seq));
}
