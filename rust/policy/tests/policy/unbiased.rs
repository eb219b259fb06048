//! Estimates from samples: over 200 seeds the mean lies within three standard errors of the truth.

use auditring_policy::Decision;

use crate::common::{Sent, again, chooser, seeded};

/// Stories of unequal size: sessions by topics, each with so many reads of so many records and bytes.
struct Read {
    sent: Sent,
    seq: i64,
    records: f64,
    bytes: f64,
}

fn reads() -> Vec<Vec<Read>> {
    let mut seq = 0;
    let mut session = |s: usize| {
        let mut reads = Vec::new();
        for topic in 0..6 {
            for n in 0..=(s * 7 + topic * 3) % 9 {
                let mut sent = Sent::new("Read").on(&format!("topic-{topic}")).of(&format!("session-{s}"));
                sent.first_touch = n == 0;
                sent.partition = (n % 3) as i64;
                let records = (1 + (n * 31 + s) % 50) as f64;
                reads.push(Read { sent, seq, records, bytes: records * (100 + 17 * (topic % 4)) as f64 });
                seq += 1;
            }
        }
        reads
    };
    (0..60).map(&mut session).collect()
}

/// The mean over all seeds of the estimates of events, records and bytes, each with its standard error, and the truth.
fn estimates(keep: &str) -> [(f64, f64, f64); 3] {
    const SEEDS: u64 = 200;
    let sessions = reads();
    let mut sums = [(0.0, 0.0); 3];
    for seed in 0..SEEDS {
        let rules = format!(r#"{{"action":["Read"],{keep}}}"#);
        let mut chooser = chooser(seeded(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15), &rules), None);
        let mut estimate = [0.0; 3];
        for session in &sessions {
            chooser.segment();
            for read in session {
                if let Decision::Keep { weight } = again(&mut chooser, &read.sent, read.seq) {
                    for (sum, value) in estimate.iter_mut().zip([1.0, read.records, read.bytes]) {
                        *sum += f64::from(weight) * value;
                    }
                }
            }
        }
        for ((sum, squares), value) in sums.iter_mut().zip(estimate) {
            *sum += value;
            *squares += value * value;
        }
    }
    let all = || sessions.iter().flatten();
    let truth = [all().count() as f64, all().map(|read| read.records).sum(), all().map(|read| read.bytes).sum()];
    let mut at = 0;
    sums.map(|(sum, squares)| {
        let seeds = SEEDS as f64;
        let mean = sum / seeds;
        let variance = (squares - seeds * mean * mean) / (seeds - 1.0);
        at += 1;
        (mean, (variance / seeds).sqrt(), truth[at - 1])
    })
}

fn unbiased(keep: &str) {
    for (what, (mean, error, truth)) in ["events", "records", "bytes"].iter().zip(estimates(keep)) {
        assert!(error > 0.0, "{keep}: the sample of {what} never varies");
        assert!((mean - truth).abs() < 3.0 * error, "{keep}, {what}: {mean} against {truth} ± {error}");
    }
}

#[test]
fn by_story() {
    unbiased(r#""keep":"sample","one_in":10"#);
}

#[test]
fn by_event() {
    unbiased(r#""keep":"sample","one_in":10,"by":[]"#);
}

#[test]
fn by_session_alone() {
    unbiased(r#""keep":"sample","one_in":4,"by":["session"]"#);
}

#[test]
fn by_session_resource_and_partition() {
    unbiased(r#""keep":"sample","one_in":7,"by":["session","resource","partition"]"#);
}

#[test]
fn a_story_is_whole_or_absent_but_for_its_first_row() {
    let mut chooser = chooser(seeded(11, r#"{"keep":"sample","one_in":4}"#), None);
    let (mut whole, mut absent) = (0, 0);
    for session in reads() {
        chooser.segment();
        for story in session.chunk_by(|a, b| a.sent.resource == b.sent.resource) {
            let rows: Vec<_> = story.iter().map(|read| again(&mut chooser, &read.sent, read.seq)).collect();
            assert_eq!(rows[0], Decision::Keep { weight: 1 });
            assert!(rows[1..].iter().all(|row| *row == rows[1]), "{rows:?}");
            whole += usize::from(rows[1..].contains(&Decision::Keep { weight: 4 }));
            absent += usize::from(rows[1..].contains(&Decision::SampledOut));
        }
    }
    assert!(whole > 0 && absent > whole);
}

#[test]
fn a_smaller_sample_is_among_a_larger_one() {
    let mut large = chooser(seeded(3, r#"{"keep":"sample","one_in":5}"#), None);
    let mut small = chooser(seeded(3, r#"{"keep":"sample","one_in":20}"#), None);
    let mut kept = 0;
    for topic in 0..400 {
        let sent = Sent::new("Write").on(&format!("t{topic}")).of("s");
        if again(&mut small, &sent, 0) == (Decision::Keep { weight: 20 }) {
            kept += 1;
            assert_eq!(again(&mut large, &sent, 0), Decision::Keep { weight: 5 });
        }
    }
    assert!(kept > 0);
}
