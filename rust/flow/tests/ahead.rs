//! Reading ahead hands out what reading would have: whatever the order of gathering, handing out, committing and going
//! back, and whatever is met on the way.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{Array, Int64Array};
use auditring_event::arrow::{RecordBatch, record_batch};
use auditring_event::record::{Encoder, RecordView};
use auditring_event::row::from_record;
use auditring_event::{Context, by_name};
use auditring_flow::{Declined, Follower, Form, Progress, Timeline};
use auditring_journal::{BatchFlags, BatchMeta, SegmentHead, Writer, contexts, segments};
use auditring_ring::{Anchor, ClockKind};

const PROCESS: [u8; 16] = [7; 16];
const DAY: i64 = 86_400_000_000_000;
const ALL: &str = r#"{"read":{"keep":"all"},"seed":1,"version":1,"write":{"keep":"all"}}"#;
const SAMPLED: &str = r#"{"read":{"keep":"sample","one_in":4},"seed":1,"version":1,"write":{"keep":"all"}}"#;
const NOW: Duration = Duration::ZERO;
/// Journals that are tried; each is made from its number.
const SEEDS: u64 = 150;

struct Rig {
    folder: tempfile::TempDir,
    writer: Writer,
    head: SegmentHead,
    next: BatchMeta,
    told: u32,
}

impl Rig {
    fn new(policy: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let head = SegmentHead {
            process: PROCESS,
            policy: policy.into(),
            instance: "i".into(),
            host: "h".into(),
            ..SegmentHead::default()
        };
        let writer = Writer::create(folder.path(), &head).unwrap();
        let next = BatchMeta { flags: BatchFlags::BIRTH, process: PROCESS, ..BatchMeta::default() };
        Self { folder, writer, head, next, told: 0 }
    }
    fn dir(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
    /// Rows at these times; the topic of the `bad` one is not UTF-8.
    fn batch(&mut self, times: &[i64], jump: i64, bad: Option<usize>, last: bool) {
        let mut bytes = Vec::new();
        let mut ctx = Vec::new();
        let first = self.next.first_seq + jump;
        for (i, time) in times.iter().enumerate() {
            let seq = first + i as i64;
            let c = (seq as u32) % 7;
            while self.told <= c {
                let mut b = Vec::new();
                Context { session: Some(format!("s{}", self.told)), ..Context::default() }.encode(&mut b);
                contexts::push(&mut ctx, self.told, u64::from(self.told) + 1, &b);
                self.told += 1;
            }
            let mut read = Encoder::new(by_name(if seq % 3 == 0 { "Write" } else { "Read" }).unwrap());
            read.text("topic", &format!("orders{}", seq % 5)).int("partition", 0).int("first_offset", seq);
            if seq % 11 == 0 {
                read.reason("because");
            }
            let mut one = Vec::new();
            from_record(&RecordView::parse(&read.to_vec()).unwrap(), c, *time, seq, 0, &mut one);
            if bad == Some(i) {
                let at = one.windows(6).position(|w| w == b"orders").unwrap();
                one[at] = 0xFF;
            }
            bytes.extend_from_slice(&one);
        }
        let mut flags = self.next.flags;
        if jump > 0 {
            flags = flags | BatchFlags::SEQ_JUMP;
        }
        if last {
            flags = flags | BatchFlags::FINAL_CLEAN;
        }
        let meta = BatchMeta { flags, first_seq: first, rows: times.len() as u32, ..self.next.clone() };
        self.writer.append(&meta, &ctx, b"", &bytes).unwrap();
        self.next = BatchMeta {
            flags: BatchFlags::NONE,
            batch_no: self.next.batch_no + 1,
            first_seq: first + times.len() as i64,
            ..self.next.clone()
        };
    }
    fn corrupt_last(&self) {
        use std::os::unix::fs::FileExt;
        let f = fs::OpenOptions::new().write(true).read(true).open(self.writer.path()).unwrap();
        let len = f.metadata().unwrap().len();
        let mut b = [0; 1];
        f.read_at(&mut b, len - 9).unwrap();
        f.write_at(&[b[0] ^ 0xFF], len - 9).unwrap();
    }
    fn roll(&mut self) {
        let head = self.writer.next_head();
        self.writer.roll(&head).unwrap();
        self.head = head;
        self.told = 0;
    }
    fn follow(&self, sink: &str, form: Form) -> Follower {
        Follower::open(&self.dir(), sink, Declined::default(), form, Arc::new(Progress::default())).unwrap()
    }
}

fn seqs(batch: &RecordBatch) -> Vec<i64> {
    batch.column_by_name("seq").unwrap().as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec()
}

#[test]
fn a_date_right_behind_a_batch_that_was_handed_out_ends_the_checkpoint() {
    let mut rig = Rig::new(ALL);
    rig.batch(&[1; 10], 0, None, false);
    let mut f = rig.follow("parquet", Form::Table);
    assert_eq!(f.next(100, NOW, true).unwrap().unwrap().rows, 10);
    rig.batch(&[DAY; 10], 0, None, false);
    assert!(f.next(100, NOW, true).unwrap().is_none());
    assert!(f.boundary());
    f.commit(vec![]).unwrap();
    for _ in 0..5 {
        if let Some(b) = f.next(100, NOW, true).unwrap() {
            assert_eq!(b.rows, 10);
            return;
        }
    }
    panic!("nothing is handed out ever again");
}

#[test]
fn a_jump_right_behind_a_batch_that_was_handed_out_ends_the_checkpoint() {
    let mut rig = Rig::new(ALL);
    rig.batch(&[1; 10], 0, None, false);
    let mut f = rig.follow("parquet", Form::Table);
    assert_eq!(f.next(10, NOW, false).unwrap().unwrap().rows, 10);
    rig.batch(&[1; 10], 1000, None, false);
    assert!(f.next(100, NOW, true).unwrap().is_none());
    assert!(f.boundary());
    f.commit(vec![]).unwrap();
    for _ in 0..5 {
        if let Some(b) = f.next(100, NOW, true).unwrap() {
            assert_eq!((b.rows, b.first_seq), (10, 1010));
            return;
        }
    }
    panic!("nothing is handed out ever again");
}

struct Rng(u64);
impl Rng {
    fn next(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

#[derive(Default, Debug, PartialEq, Clone)]
struct Sum {
    delivered: u64,
    sampled: u64,
    filtered: u64,
    lost: u64,
}

/// Random journals; random order of gather, next, commit, rewind, reopen; compared with a plain reading.
#[test]
#[allow(clippy::too_many_lines, reason = "one story: a journal, what is in it, and every way through it")]
fn any_order_of_calls_comes_to_the_same_rows_and_counts() {
    for seed in 1..=SEEDS {
        let mut rng = Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let mut rig = Rig::new(if rng.next(2) == 0 { ALL } else { SAMPLED });
        let mut day = 0;
        let batches = 3 + rng.next(30);
        // The day of every row by seq; none where the row is damaged.
        let mut days = BTreeMap::new();
        let mut journaled = 0u64;
        let mut first = true;
        for n in 0..batches {
            let rows = if rng.next(6) == 0 && n > 0 { 0 } else { 1 + rng.next(40) };
            let mut times = Vec::new();
            for _ in 0..rows {
                if rng.next(60) == 0 {
                    day += 1;
                }
                let late = i64::from(rng.next(10) == 0 && day > 0);
                times.push((day - late) * DAY + rng.next(1000) as i64);
            }
            let jump = if n > 0 && rows > 0 && rng.next(12) == 0 { 1 + rng.next(1000) as i64 } else { 0 };
            let at = rig.next.first_seq + jump;
            rig.batch(&times, jump, None, n + 1 == batches);
            journaled += rows;
            let corrupt = jump == 0 && n > 0 && n + 1 < batches && rows > 0 && rng.next(15) == 0;
            if corrupt {
                rig.corrupt_last();
            }
            for (i, t) in times.iter().enumerate() {
                days.insert(at + i as i64, if corrupt { i64::MIN } else { t.div_euclid(DAY) });
            }
            if !first && rng.next(5) == 0 && n + 1 < batches {
                rig.roll();
            }
            first = false;
        }
        // The rows as a plain reading gives them.
        let mut reference: BTreeMap<i64, RecordBatch> = BTreeMap::new();
        let mut plain = rig.follow("plain", Form::Rows);
        let mut want = Sum::default();
        let mut spins = 0;
        while !plain.ended() {
            spins += 1;
            assert!(
                spins < 3000,
                "plain stuck: seed {seed} at {} cursor {} boundary {}",
                plain.position(),
                plain.cursor().seq,
                plain.boundary()
            );
            if let Some(b) = plain.next(1 << 20, NOW, true).unwrap() {
                want.sampled += b.sampled_out;
                want.filtered += b.filtered_out;
                want.lost += b.lost;
                want.delivered += b.rows as u64;
                let t = record_batch(&b.set).unwrap();
                for (i, seq) in seqs(&t).into_iter().enumerate() {
                    reference.insert(seq, t.slice(i, 1));
                }
            }
            if plain.position() > plain.cursor().seq {
                plain.commit(vec![]).unwrap();
            }
        }
        assert_eq!(want.delivered + want.sampled + want.filtered + want.lost, journaled, "seed {seed}");
        let form = if rng.next(4) == 0 { Form::Rows } else { Form::Table };
        let mut f = rig.follow("sut", form);
        let mut done: Vec<i64> = Vec::new();
        let mut safe = Sum::default();
        let (mut open_rows, mut open, mut open_day): (Vec<i64>, Sum, Option<i64>) = Default::default();
        let mut idle = 0;
        let mut expect = f.cursor().seq;
        let mut rises = std::collections::BTreeSet::new();
        let mut most_day = i64::MIN;
        for (s, d) in &days {
            if *d > most_day {
                if most_day != i64::MIN {
                    rises.insert(*s);
                }
                most_day = *d;
            }
        }
        while !(f.ended() && f.position() == f.cursor().seq) {
            idle += 1;
            assert!(idle <= 400, "seed {seed}: stuck at {} cursor {}", f.position(), f.cursor().seq);
            let most = 1 + rng.next(60) as usize;
            let mut got = None;
            match rng.next(12) {
                0..=2 => {
                    f.gather(most).unwrap();
                }
                3..=5 => {
                    if f.is_ready(most) {
                        got = f.hand_out().unwrap();
                    }
                }
                6..=8 => {
                    let partial = rng.next(2) == 0;
                    got = f.next(most, NOW, partial).unwrap();
                }
                9 => {
                    match rng.next(6) {
                        0 | 1 => f.rewind().unwrap(),
                        2 => {
                            drop(f);
                            f = rig.follow("sut", form);
                        }
                        _ => continue,
                    }
                    open_rows.clear();
                    open = Sum::default();
                    open_day = None;
                    expect = f.cursor().seq;
                }
                _ => {
                    if f.position() > f.cursor().seq && (f.boundary() || rng.next(2) == 0) {
                        f.commit(vec![]).unwrap();
                        idle = 0;
                        done.append(&mut open_rows);
                        safe.delivered += open.delivered;
                        safe.sampled += open.sampled;
                        safe.filtered += open.filtered;
                        safe.lost += open.lost;
                        open = Sum::default();
                        open_day = None;
                        let t = &f.cursor().totals;
                        let g = |n: &str| t.get(n).copied().unwrap_or(0);
                        assert_eq!(
                            (g("delivered"), g("sampled_out"), g("filtered_out"), g("lost_corrupt") + g("lost_budget")),
                            (safe.delivered, safe.sampled, safe.filtered, safe.lost),
                            "seed {seed}"
                        );
                    }
                }
            }
            if let Some(b) = got {
                idle = 0;
                if b.first_seq != expect {
                    assert!(
                        b.first_seq > expect
                            && open_rows.is_empty()
                            && days.range(expect..b.first_seq).next().is_none(),
                        "seed {seed}: {} after {expect}",
                        b.first_seq
                    );
                }
                expect = b.last_seq + 1;
                assert_eq!(
                    (b.last_seq + 1 - b.first_seq) as u64,
                    b.rows as u64 + b.sampled_out + b.filtered_out + b.lost,
                    "seed {seed} a batch's balance"
                );
                let t = match b.table {
                    Some(t) => t,
                    None => record_batch(&b.set).unwrap(),
                };
                assert_eq!(t.num_rows(), b.rows, "seed {seed}");
                for (i, seq) in seqs(&t).into_iter().enumerate() {
                    assert!(reference.get(&seq).is_some_and(|r| *r == t.slice(i, 1)), "seed {seed} row {seq} differs");
                    open_rows.push(seq);
                }
                for (s, d) in days.range(b.first_seq..=b.last_seq) {
                    if *d == i64::MIN {
                        continue;
                    }
                    if rises.contains(s) {
                        assert!(open_day.is_none(), "seed {seed}: a checkpoint of two dates");
                    }
                    open_day = Some(*d);
                }
                open.delivered += b.rows as u64;
                open.sampled += b.sampled_out;
                open.filtered += b.filtered_out;
                open.lost += b.lost;
            }
        }
        assert_eq!(done, reference.keys().copied().collect::<Vec<_>>(), "seed {seed}");
        assert_eq!(safe, want, "seed {seed}");
    }
}

#[test]
fn a_row_that_cannot_be_read_fails_every_call_until_the_follower_goes_back() {
    let mut rig = Rig::new(ALL);
    rig.batch(&[1; 10], 0, None, false);
    rig.batch(&[1; 10], 0, Some(4), false);
    rig.batch(&[1; 10], 0, None, false);
    let mut f = rig.follow("parquet", Form::Table);
    assert_eq!(f.next(10, NOW, false).unwrap().unwrap().rows, 10);
    // As the helper does, which tells nobody.
    let first = f.gather(20).unwrap_err().to_string();
    assert!(!f.is_ready(20));
    assert_eq!(first, f.hand_out().unwrap_err().to_string());
    assert_eq!(first, f.next(20, NOW, true).unwrap_err().to_string());
    f.rewind().unwrap();
    assert_eq!(f.next(10, NOW, false).unwrap().unwrap().rows, 10);
}

#[test]
fn rows_are_never_chosen_by_the_policy_of_the_segment_before() {
    let mut rig = Rig::new(SAMPLED);
    rig.batch(&[1; 10], 0, None, false);
    let head = SegmentHead { policy: r#"{"version":9}"#.into(), ..rig.writer.next_head() };
    rig.writer.roll(&head).unwrap();
    rig.told = 0;
    rig.batch(&[1; 10], 0, None, false);
    let mut f = rig.follow("jsonl", Form::Rows);
    assert!(f.next(1, NOW, false).unwrap().is_some());
    let first = f.gather(1000).unwrap_err().to_string();
    assert_eq!(first, f.next(1000, NOW, true).unwrap_err().to_string());
}

#[test]
fn rows_behind_ones_that_have_gone_say_whose_they_are() {
    for form in [Form::Rows, Form::Table] {
        let mut rig = Rig::new(ALL);
        rig.batch(&[1; 10], 0, None, false);
        rig.roll();
        rig.batch(&[1; 10], 0, None, false);
        let first = segments(&rig.dir()).unwrap()[0].file_name();
        fs::remove_file(rig.dir().join(first)).unwrap();
        let mut f = rig.follow("parquet", form);
        let batch = f.next(100, NOW, true).unwrap().unwrap();
        assert_eq!((batch.rows, batch.lost, batch.set.identity.instance.as_str()), (10, 10, "i"));
    }
}

#[test]
fn a_stamp_older_than_every_anchor_is_not_later_than_a_younger_one() {
    let at = |n: u64| Anchor { stamp: 1000 + n * 100, mono_ns: 1000 + n as i64 * 100, real_ns: 1000 + n as i64 * 100 };
    let mut line = Timeline::new(ClockKind::Tsc, at(0));
    (1..20).for_each(|n| _ = line.anchor(at(n), 0));
    let _ = line.at(1550);
    (20..400).for_each(|n| _ = line.anchor(at(n), 0));
    assert!(line.at(1450).age_ns <= line.at(1550).age_ns);
}
