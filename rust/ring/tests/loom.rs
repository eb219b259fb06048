//! The core under the model checker: every interleaving, and every value that the memory model lets a load see.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p auditring-ring --test loom --release`
#![cfg(loom)]

use auditring_ring::model::Heap;
use auditring_ring::{Position, Refusal};
use loom::sync::Arc;
use loom::thread;

/// Where nothing wraps soon.
const ZERO: Position = Position { pos: 0, claims: 0 };
/// One word before the 32-bit position and the 31-bit claims wrap.
const LIMIT: Position = Position { pos: 8 * 0xffff_ffff, claims: 0x7fff_ffff };

/// Explores every interleaving with at most so many preemptions, and every value that a load may see in each of them.
/// Without a bound most would take hours; these bounds keep the whole run under a minute. That they are wide
/// enough was tried by breaking the core: each ordering relaxed, each check left out and each step swapped makes some
/// test here fail.
fn model(preemptions: usize, test: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 10_000;
    builder.check(test);
}

/// A record of two words, both of which say what it is.
fn emit(heap: &Heap, value: u64) -> Result<(), Refusal> {
    emit_into(heap, 0, value)
}

fn emit_into(heap: &Heap, lane: u32, value: u64) -> Result<(), Refusal> {
    let mut claim = heap.lane_at(lane).claim(16, false)?;
    claim.put(0, value);
    claim.put(1, value);
    claim.commit();
    Ok(())
}

/// Takes what there is, and gives it back.
fn drain(consumer: &mut auditring_ring::model::Consumer<'_>, into: &mut Vec<u64>) {
    drain_lane(consumer, 0, into);
}

fn drain_lane(consumer: &mut auditring_ring::model::Consumer<'_>, lane: u32, into: &mut Vec<u64>) {
    consumer.poll(lane);
    while let Some(words) = consumer.next(lane) {
        assert!(words.iter().all(|word| *word == words[0]), "a record is whole");
        into.push(words[0]);
    }
    consumer.release(lane);
}

fn two_producers_and_a_consumer(start: Position) {
    let heap = Arc::new(Heap::new(8, 0, 16, start));
    let producers: Vec<_> = (1..=2_u64)
        .map(|who| {
            let heap = heap.clone();
            thread::spawn(move || {
                (0..3 - who).map(|turn| 10 * who + turn).filter(|&value| emit(&heap, value).is_ok()).collect::<Vec<_>>()
            })
        })
        .collect();
    let mut consumer = heap.consumer(start);
    let mut got = Vec::new();
    drain(&mut consumer, &mut got);
    let accepted: Vec<Vec<u64>> = producers.into_iter().map(|producer| producer.join().unwrap()).collect();
    drain(&mut consumer, &mut got);
    for accepted in &accepted {
        let of_this_one: Vec<u64> =
            got.iter().copied().filter(|value| value / 10 == accepted.first().map_or(0, |first| first / 10)).collect();
        assert!(accepted.is_empty() || of_this_one == *accepted, "once each, in its producer's order");
    }
    assert_eq!(got.len(), accepted.iter().map(Vec::len).sum::<usize>());
    assert_eq!((u64::from(heap.lane().claims()) - start.claims) & 0x7fff_ffff, got.len() as u64);
}

/// Three records for a lane of two: producers meet a full lane, a tail that has moved, and freed space behind the wrap.
#[test]
fn two_producers_and_a_consumer_lose_and_double_nothing() {
    model(3, || two_producers_and_a_consumer(ZERO));
}

#[test]
fn so_it_is_where_every_field_wraps() {
    model(2, || two_producers_and_a_consumer(LIMIT));
}

#[test]
fn producers_and_consumer_survive_the_wrap_of_every_field() {
    model(4, || {
        let heap = Arc::new(Heap::new(8, 0, 16, LIMIT));
        let other = heap.clone();
        let producer = thread::spawn(move || (1..=3).filter(|&value| emit(&other, value).is_ok()).collect::<Vec<_>>());
        let mut consumer = heap.consumer(LIMIT);
        let mut got = Vec::new();
        drain(&mut consumer, &mut got);
        drain(&mut consumer, &mut got);
        let accepted = producer.join().unwrap();
        drain(&mut consumer, &mut got);
        assert_eq!(got, accepted);
    });
}

/// Room for one record is left, and the consumer frees one: of two claims one or both succeed, but never none.
#[test]
fn full_is_never_said_while_there_is_room() {
    model(3, || {
        let heap = Arc::new(Heap::new(8, 0, 16, ZERO));
        emit(&heap, 1).unwrap();
        let other = heap.clone();
        let producer = thread::spawn(move || emit(&other, 2).is_ok());
        let consumer_side = heap.clone();
        let freeing = thread::spawn(move || {
            let mut consumer = consumer_side.consumer(ZERO);
            let mut got = Vec::new();
            drain(&mut consumer, &mut got);
            got
        });
        let here = emit(&heap, 3).is_ok();
        let there = producer.join().unwrap();
        assert!(here || there, "one record's room was there all the time");
        assert_eq!(freeing.join().unwrap().first(), Some(&1));
    });
}

/// The producer sees a tail that another has moved and a head that the consumer has moved further than that: that is
/// not full.
#[test]
fn a_stale_tail_behind_a_newer_head_is_not_full() {
    model(4, || {
        let heap = Arc::new(Heap::new(8, 0, 16, ZERO));
        let other = heap.clone();
        let rest = thread::spawn(move || {
            // Two records through the ring, each given back before the next.
            let mut consumer = other.consumer(ZERO);
            let mut got = Vec::new();
            for value in [1, 2] {
                emit(&other, value).unwrap();
                drain(&mut consumer, &mut got);
            }
        });
        // At any time at most one other record is in the ring, so there is always room for ours.
        let mut claim = heap.lane().claim(8, false).expect("never full");
        claim.put(0, 7);
        claim.commit();
        rest.join().unwrap();
    });
}

/// A flood of three droppable records, of which two fit into what is theirs.
#[test]
fn droppable_records_never_use_the_reserve() {
    model(3, || {
        let heap = Arc::new(Heap::new(8, 4, 16, ZERO));
        let other = heap.clone();
        let flood = thread::spawn(move || {
            (0..3).filter(|_| other.lane().claim(8, true).map(|claim| claim.commit()).is_ok()).count()
        });
        emit(&heap, 1).expect("the reserve is kept for it");
        assert!(flood.join().unwrap() <= 2);
    });
}

/// After the close nothing is accepted, and all that was accepted is found before `drained` is true.
#[test]
fn close_lets_nothing_in_and_nothing_out_of_sight() {
    model(3, || {
        let heap = Arc::new(Heap::new(8, 0, 16, ZERO));
        let producers: Vec<_> = [1, 2]
            .map(|value| {
                let heap = heap.clone();
                thread::spawn(move || emit(&heap, value))
            })
            .into_iter()
            .collect();
        heap.close();
        let claims = heap.lane().claims();
        assert_eq!(emit(&heap, 3), Err(Refusal::Closed));
        let mut consumer = heap.consumer(ZERO);
        let mut got = Vec::new();
        drain(&mut consumer, &mut got);
        if consumer.drained() {
            assert_eq!(got.len() as u32, claims);
        }
        let accepted = producers.into_iter().filter_map(|producer| producer.join().unwrap().ok()).count();
        drain(&mut consumer, &mut got);
        assert!(consumer.drained());
        assert_eq!((got.len(), accepted), (claims as usize, claims as usize));
    });
}

/// The consumer has no time limit here: if the commit that crowds the lane could miss it asleep, this would never end.
#[test]
fn the_wake_up_is_never_lost() {
    model(4, || {
        let heap = Arc::new(Heap::new(8, 0, 16, ZERO));
        let other = heap.clone();
        let producer = thread::spawn(move || emit(&other, 1).unwrap());
        let mut consumer = heap.consumer(ZERO);
        let mut got = Vec::new();
        while got.is_empty() {
            consumer.sleep();
            drain(&mut consumer, &mut got);
            // A nap in front of an open claim ends at once here; the writer goes on.
            thread::yield_now();
        }
        producer.join().unwrap();
    });
}

/// As above with two lanes and one bell: a consumer that waits for both sleeps through neither of them, whichever fills.
#[test]
fn no_lane_fills_while_the_consumer_sleeps_over_another() {
    model(2, || {
        let heap = Arc::new(Heap::with_lanes(2, 8, 0, 16, ZERO));
        let producers: Vec<_> = [0, 1]
            .map(|lane| {
                let heap = heap.clone();
                thread::spawn(move || emit_into(&heap, lane, 1 + u64::from(lane)).unwrap())
            })
            .into_iter()
            .collect();
        let mut consumer = heap.consumer(ZERO);
        let mut got = [Vec::new(), Vec::new()];
        while got.iter().any(Vec::is_empty) {
            consumer.sleep();
            for (lane, got) in (0..).zip(&mut got) {
                drain_lane(&mut consumer, lane, got);
            }
            // A nap in front of an open claim ends at once here; the writer goes on.
            thread::yield_now();
        }
        assert_eq!(got, [[1], [2]], "each lane has its own");
        producers.into_iter().for_each(|producer| producer.join().unwrap());
    });
}
