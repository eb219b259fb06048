//! Many threads at once. Also under the thread sanitizer:
//!
//! `RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer" cargo test -p auditring-ring --tests --target x86_64-unknown-linux-gnu`
#![cfg(not(loom))]

mod common;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use auditring_ring::{Geometry, Kind, Position, Refusal, Ring};
use common::{SMALL, ring_at};

const PRODUCERS: u64 = 4;
const RECORDS: u64 = 20_000;

fn deadline() -> impl Fn() {
    let end = Instant::now() + Duration::from_secs(300);
    move || {
        assert!(Instant::now() < end, "no progress");
        std::thread::yield_now();
    }
}

/// A length from nothing but the record's name, and a payload from nothing but that.
fn length(who: u64, turn: u64) -> usize {
    let mixed = (who * 1_000_003 + turn).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    16 + (mixed >> 56) as usize + if mixed.trailing_zeros() >= 10 { 3000 } else { 0 }
}

fn fill(room: &mut [u8], who: u64, turn: u64) {
    room[..8].copy_from_slice(&who.to_le_bytes());
    room[8..16].copy_from_slice(&turn.to_le_bytes());
    room[16..].fill((who * 7 + turn) as u8 | 1);
}

fn name(record: &[u8]) -> (u64, u64) {
    let word = |at: usize| u64::from_le_bytes(record[at..at + 8].try_into().unwrap());
    let (who, turn) = (word(0), word(8));
    assert_eq!(record.len(), length(who, turn));
    assert!(record[16..].iter().all(|&byte| byte == (who * 7 + turn) as u8 | 1), "a record is whole");
    (who, turn)
}

/// Emits all of its records. A droppable one that finds no room is counted at the edge, any other waits.
fn produce(ring: &Ring, who: u64) {
    let lane_number = (who % u64::from(ring.geometry().lanes)) as u32;
    let lane = ring.lane(lane_number);
    let again = deadline();
    for turn in 0..RECORDS {
        let droppable = turn % 3 == 0;
        loop {
            match lane.claim(length(who, turn), droppable) {
                Ok(mut claim) => {
                    claim.write(|room| fill(room, who, turn));
                    claim.commit();
                }
                Err(Refusal::Full) if droppable => ring.edge().bump(lane_number, who as u32, 0, Kind::Dropped),
                Err(Refusal::Full) => {
                    again();
                    continue;
                }
                Err(refusal) => panic!("{refusal}"),
            }
            break;
        }
    }
}

/// Consumes until the ring is closed and empty. Gives back each producer's turns in the order in which they came.
fn consume(ring: &Ring) -> Vec<Vec<u64>> {
    let mut seen = vec![Vec::new(); PRODUCERS as usize];
    let mut consumer = ring.consumer().expect("alone");
    let again = deadline();
    let mut round = 0_u32;
    while !consumer.drained() {
        round += 1;
        for lane in 0..ring.geometry().lanes {
            consumer.poll(lane);
            if round.is_multiple_of(7) {
                // The journal failed: all of it once more.
                while consumer.next(lane).is_some() {}
                consumer.rewind(lane);
            }
            let before = consumer.position(lane);
            let mut records = 0;
            while let Some(record) = consumer.next(lane) {
                let (who, turn) = name(record);
                seen[who as usize].push(turn);
                records += 1;
            }
            assert_eq!(consumer.position(lane).claims - before.claims, records);
            consumer.release(lane);
        }
        consumer.sleep(Duration::from_millis(1));
        again();
    }
    seen
}

fn every_record_once(geometry: &Geometry, start: Position) {
    let ring = &ring_at(geometry, start);
    let running = &AtomicU32::new(PRODUCERS as u32);
    let seen = std::thread::scope(|scope| {
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|who| {
                scope.spawn(move || {
                    produce(ring, who);
                    if running.fetch_sub(1, Ordering::AcqRel) == 1 {
                        ring.close();
                    }
                })
            })
            .collect();
        let seen = scope.spawn(move || consume(ring)).join().expect("consumed");
        // Joined one by one: the sanitizer sees that, and not the end of the scope.
        for producer in producers {
            producer.join().expect("produced");
        }
        seen
    });
    for (who, turns) in seen.iter().enumerate() {
        assert!(turns.is_sorted_by(|a, b| a < b), "producer {who}: once each, in order");
        let protected = turns.iter().filter(|&turn| turn % 3 != 0).count() as u64;
        assert_eq!(
            protected,
            (0..RECORDS).filter(|turn| turn % 3 != 0).count() as u64,
            "producer {who}: none that waited is missing"
        );
        let lane = who as u32 % geometry.lanes;
        let dropped = ring.edge().get(lane, who as u32, 0, Kind::Dropped);
        assert_eq!(turns.len() as u64 + dropped, RECORDS, "producer {who}: offered = claimed + edge");
    }
    let claims: u64 = (0..geometry.lanes)
        .map(|lane| u64::from(ring.lane(lane).claims()).wrapping_sub(start.claims) % (1 << 31))
        .sum();
    assert_eq!(claims, seen.iter().map(Vec::len).sum::<usize>() as u64, "claimed = committed");
    assert!((0..geometry.lanes).all(|lane| ring.lane(lane).used() == 0));
}

#[test]
fn every_accepted_record_comes_once_and_in_its_producers_order() {
    every_record_once(&SMALL, Position::default());
}

#[test]
fn so_it_is_with_several_lanes() {
    every_record_once(&Geometry { lanes: 2, ..SMALL }, Position::default());
}

#[test]
fn so_it_is_across_the_wrap_of_positions_and_claims() {
    every_record_once(&SMALL, Position { pos: 8 * 0xffff_0000, claims: 0x7fff_f000 });
}

/// Producers that race with the close: each claim is accepted and found, or refused.
#[test]
fn a_close_in_the_middle_loses_nothing() {
    let ring = &ring_at(&SMALL, Position::default());
    let (accepted, seen) = std::thread::scope(|scope| {
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|who| {
                scope.spawn(move || {
                    let again = deadline();
                    let mut turn = 0;
                    loop {
                        match ring.lane(0).claim(length(who, turn), false) {
                            Ok(mut claim) => {
                                claim.write(|room| fill(room, who, turn));
                                claim.commit();
                                turn += 1;
                            }
                            Err(Refusal::Full) => again(),
                            Err(_) => return turn,
                        }
                    }
                })
            })
            .collect();
        let consumer = scope.spawn(move || consume(ring));
        let again = deadline();
        while ring.lane(0).claims() < 10_000 {
            again();
        }
        ring.close();
        let accepted: Vec<u64> = producers.into_iter().map(|producer| producer.join().expect("produced")).collect();
        (accepted, consumer.join().expect("consumed"))
    });
    for (accepted, turns) in accepted.into_iter().zip(seen) {
        assert_eq!(turns, (0..accepted).collect::<Vec<_>>());
    }
}
