//! Whatever is killed wherever: the same rows under the same seqs, as a plain reading makes them.

use std::time::Duration;

use auditring_event::arrow::record_batch;
use auditring_flow::{Batch, Follower, Form};
use auditring_journal::BatchFlags;

use crate::journal::{Journal, Row, S, Sent, rows};
use crate::plain::{Item, Keep, rows as plain};

const NOW: Duration = Duration::ZERO;
const POLICY: &str = r#"{"version":3,"seed":7,"allow_blind_spots":false,"rules":[
    {"action":["Read"],"keep":"coalesce","window_ns":1000000000},
    {"action":["Write"],"keep":"coalesce","window_ns":2000000000},
    {"action":["OperationAllowed"],"keep":"first","window_ns":4000000000,"by":["resource"]}]}"#;
const WINDOWS: [i64; 3] = [S, 2 * S, 4 * S];
const SEEDS: u64 = 160;

fn keep(sent: &Sent) -> Keep {
    match sent.action {
        "Read" => Keep::Coalesce(S),
        "Write" => Keep::Coalesce(2 * S),
        "OperationAllowed" => Keep::First(4 * S),
        _ => Keep::All,
    }
}

struct Rng(u64);

impl Rng {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// Events of a few sessions that mostly read on, and empty batches between them.
fn items(rng: &mut Rng) -> Vec<Item> {
    let mut items = Vec::new();
    let mut age_ns = rng.below(3_000_000_000) as i64;
    let mut offsets = [[0_i64; 3]; 4];
    for _ in 0..100 + rng.below(400) {
        age_ns += match rng.below(40) {
            0 => 1_500_000_000,
            1 => 5_000_000_000,
            _ => rng.below(60_000_000) as i64,
        };
        if rng.one_in(30) {
            items.push(Item::Empty { age_ns: age_ns + rng.below(3) as i64 * S, cut: rng.one_in(5) });
            continue;
        }
        let late = if rng.one_in(12) { rng.below(2_000_000_000) as i64 } else { 0 };
        let (session, partition) = (rng.below(4) as usize, rng.below(3) as i64);
        let mut sent = Sent { session, partition, ..Sent::new("Read", (age_ns - late).max(0)) };
        match rng.below(30) {
            0 => sent.action = "Delete",
            1 => sent.action = "ClientClose",
            2 => sent.action = "BrokerClose",
            3..=8 => sent.action = "OperationAllowed",
            9 => sent.failed = true,
            10..=14 => sent.action = "Write",
            _ => {}
        }
        sent.broker = usize::from(session > 0 && (sent.action == "BrokerClose" || rng.one_in(10)));
        sent.topic = if rng.one_in(9) { "payments" } else { "orders" };
        if matches!(sent.action, "Read" | "Write") && !sent.failed && !rng.one_in(25) {
            let next = &mut offsets[session][partition as usize];
            *next += i64::from(rng.one_in(15));
            let last = *next + rng.below(5) as i64;
            sent.offsets = Some((*next, last));
            sent.records = (!rng.one_in(20)).then(|| last + 1 - *next);
            *next = last + 1;
            sent.correlation = (!rng.one_in(6)).then(|| rng.below(3) as i64);
            sent.tap = rng.one_in(12).then_some("inner");
            sent.group = rng.one_in(12).then_some("g");
            sent.touch = rng.one_in(20);
        }
        items.push(Item::Row(sent));
    }
    items
}

/// The journal of these items, in batches and segments as they come.
fn journal(items: &[Item], rng: &mut Rng) -> (Journal, i64) {
    let mut journal = Journal::new(POLICY);
    let (mut waiting, mut rows) = (Vec::new(), 0);
    for item in items {
        match item {
            Item::Row(sent) => {
                rows += 1;
                waiting.push(sent.clone());
                if rng.one_in(12) {
                    journal.batch(&std::mem::take(&mut waiting), 0, BatchFlags::NONE);
                }
            }
            Item::Empty { age_ns, .. } => {
                if !waiting.is_empty() {
                    journal.batch(&std::mem::take(&mut waiting), 0, BatchFlags::NONE);
                }
                journal.batch(&[], *age_ns, item.flags());
            }
        }
        if rows > 0 && waiting.is_empty() && rng.one_in(8) {
            journal.roll();
        }
    }
    journal.batch(&waiting, 0, BatchFlags::NONE);
    journal.end(900 * S);
    (journal, rows + 1)
}

fn ended() -> Item {
    Item::Row(Sent { session: 0, ..Sent::new("ProxyCleanShutdown", 900 * S) })
}

/// The rows of a batch, whichever form they have.
fn seqs(batch: &Batch) -> Vec<(i64, i64)> {
    use arrow_array::{Array, Int64Array};
    let table = batch.table.clone().unwrap_or_else(|| record_batch(&batch.set).unwrap());
    let of = |name: &str| {
        let column = table.column_by_name(name).unwrap();
        column.as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec()
    };
    of("seq").into_iter().zip(of("count")).collect()
}

#[test]
fn a_follower_makes_the_rows_of_a_plain_reading() {
    for seed in 1..=SEEDS {
        let mut rng = Rng::new(seed);
        let mut items = items(&mut rng);
        let (journal, length) = journal(&items, &mut rng);
        items.push(ended());
        let (expected, cuts) = plain(&items, keep, &WINDOWS);
        let mut follower = journal.follow("sink", Form::Rows);
        let (mut all, mut merged) = (Vec::<Row>::new(), 0);
        let (mut passed, mut at_cuts) = (0, vec![0]);
        while !follower.ended() {
            let (most, to_cut, partial) = (1 + rng.below(50) as usize, rng.one_in(2), rng.one_in(2));
            let Some(batch) = follower.next_to(most, NOW, partial, to_cut).unwrap() else { continue };
            passed += batch.last_seq + 1 - batch.first_seq;
            merged += batch.merged;
            all.extend(rows(&batch));
            if follower.at_cut() {
                at_cuts.push(follower.position());
            }
        }
        if let Some(at) = all.iter().zip(&expected).position(|(one, other)| one != other) {
            panic!("seed {seed}: row {at} is {:?}, not {:?}", all[at], expected[at]);
        }
        assert_eq!((passed, all.iter().map(|row| row.count).sum::<i64>()), (length, length), "seed {seed}");
        assert_eq!(all.len() as i64 + merged as i64, length, "seed {seed}");
        at_cuts.dedup();
        assert!(at_cuts.iter().all(|at| cuts.contains(at)), "seed {seed}: {at_cuts:?} of {cuts:?}");
    }
}

/// Reads on to a cut, at which it commits; returns what was handed out until then, and whether there is more.
fn to_next_cut(follower: &mut Follower, rng: &mut Rng) -> (Vec<(i64, i64)>, bool) {
    let mut handed = Vec::new();
    loop {
        let (most, to_cut, partial) = (1 + rng.below(40) as usize, !rng.one_in(3), rng.one_in(2));
        if rng.one_in(3) {
            follower.gather(1 + rng.below(60) as usize).unwrap();
        }
        let batch = follower.next_to(most, NOW, partial, to_cut).unwrap();
        handed.extend(batch.iter().flat_map(seqs));
        if follower.ended() || (follower.at_cut() && follower.position() > follower.cursor().seq) {
            follower.commit(Vec::new()).unwrap();
            return (handed, !follower.ended());
        }
    }
}

#[test]
fn killed_at_every_cut_and_anywhere_between_two_sinks_come_to_the_same_rows() {
    for seed in 1..=SEEDS / 2 {
        let mut rng = Rng::new(seed + 1_000_000);
        let mut items = items(&mut rng);
        let (journal, length) = journal(&items, &mut rng);
        items.push(ended());
        let (expected, _) = plain(&items, keep, &WINDOWS);
        let expected: Vec<_> = expected.iter().map(|row| (row.seq, row.count)).collect();
        for (sink, form) in [("jsonl", Form::Rows), ("parquet", Form::Table)] {
            let mut all = Vec::new();
            loop {
                // Every checkpoint is another process's, which is first killed somewhere in the middle of it, or goes back.
                let mut follower = journal.follow(sink, form);
                for _ in 0..rng.below(3) {
                    follower.next_to(1 + rng.below(30) as usize, NOW, true, rng.one_in(2)).unwrap();
                }
                if rng.one_in(2) {
                    follower.rewind().unwrap();
                } else {
                    drop(follower);
                    follower = journal.follow(sink, form);
                }
                let (handed, more) = to_next_cut(&mut follower, &mut rng);
                all.extend(handed);
                if !more {
                    let totals = &follower.cursor().totals;
                    let (rows, merged) = (totals["delivered"], totals.get("merged").copied().unwrap_or(0));
                    assert_eq!((rows, rows + merged), (all.len() as u64, length as u64), "seed {seed}");
                    break;
                }
            }
            assert_eq!(all, expected, "seed {seed} {sink}");
        }
    }
}
