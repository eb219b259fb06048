//! One thread on both sides: refusals, the reserve, order, release and rewind, open claims, sleep.
#![cfg(not(loom))]

mod common;

use std::time::{Duration, Instant};

use auditring_ring::{Found, Geometry, Position, Refusal, Ring, consumer_of};
use common::{SMALL, place, ring};

fn put(ring: &Ring, bytes: &[u8]) {
    let mut claim = ring.lane(0).claim(bytes.len(), false).expect("room");
    claim.write(|room| room.copy_from_slice(bytes));
    claim.commit();
}

#[test]
fn everything_but_a_claim_may_go_to_another_thread() {
    fn shared<T: Send + Sync>() {}
    shared::<Ring>();
    shared::<auditring_ring::Lane<'_>>();
    shared::<auditring_ring::Edge<'_>>();
    shared::<auditring_ring::OwnedConsumer>();
}

#[test]
fn a_refusal_leaves_no_trace() {
    let ring = ring(&SMALL);
    let lane = ring.lane(0);
    while lane.claim(1000, true).map(auditring_ring::Claim::commit).is_ok() {}
    let (used, claims) = (lane.used(), lane.claims());
    assert_eq!(lane.claim(1000, true).err(), Some(Refusal::Full));
    assert_eq!(lane.claim(usize::MAX, false).err(), Some(Refusal::TooLong));
    assert_eq!((lane.used(), lane.claims()), (used, claims));
}

#[test]
fn a_droppable_record_never_uses_the_reserve() {
    let ring = ring(&SMALL);
    let lane = ring.lane(0);
    while let Ok(claim) = lane.claim(56, true) {
        claim.commit();
    }
    assert_eq!(lane.used(), u64::from(SMALL.lane_bytes - SMALL.reserve));
    assert!(!lane.has_room(56, true) && lane.has_room(56, false));
    while let Ok(claim) = lane.claim(56, false) {
        claim.commit();
    }
    assert_eq!(lane.used(), u64::from(SMALL.lane_bytes));
    assert!(!lane.has_room(56, false) && !lane.has_room(0, false));
}

#[test]
fn the_greatest_record_is_whole_across_the_end() {
    let ring = ring(&SMALL);
    let mut consumer = ring.consumer().unwrap();
    let greatest = ring.lane(0).max_payload();
    assert_eq!(ring.lane(0).claim(greatest + 1, false).err(), Some(Refusal::TooLong));
    // An odd start, so that some record crosses the end at each turn.
    put(&ring, b"shift");
    for turn in 0..100_u8 {
        put(&ring, &vec![turn | 1; greatest]);
        consumer.poll(0);
        while let Some(record) = consumer.next(0) {
            assert!(record == b"shift" || (record.len() == greatest && record.iter().all(|&byte| byte == turn | 1)));
        }
        consumer.release(0);
    }
    assert_eq!(consumer.released(0), Position { pos: 16 + 100 * 4096, claims: 101 });
}

#[test]
fn what_is_claimed_is_zero_and_aligned() {
    let ring = ring(&SMALL);
    let mut consumer = ring.consumer().unwrap();
    for len in (0..200).chain(3000..3100) {
        let mut claim = ring.lane(0).claim(len, false).expect("room");
        assert_eq!((claim.len(), claim.is_empty(), claim.as_mut_ptr().align_offset(8)), (len, len == 0, 0));
        claim.write(|room| {
            assert!(room.iter().all(|&byte| byte == 0));
            room.fill(0xff);
        });
        claim.commit();
        consumer.poll(0);
        assert_eq!(consumer.next(0).map(<[u8]>::len), Some(len));
        consumer.release(0);
    }
}

#[test]
fn nothing_behind_an_open_claim_can_be_read() {
    let ring = ring(&SMALL);
    let mut consumer = ring.consumer().unwrap();
    put(&ring, b"before");
    let open = ring.lane(0).claim(8, false).unwrap();
    put(&ring, b"behind");
    assert!(!consumer.stuck(0));
    assert!(consumer.poll(0));
    assert_eq!(consumer.next(0), Some(&b"before"[..]));
    assert_eq!(consumer.next(0), None);
    assert!(consumer.stuck(0));
    assert_eq!(consumer.backlog(0), (32, 2));
    ring.close();
    assert!(!consumer.drained());
    open.commit();
    assert!(!consumer.stuck(0));
    assert_eq!(consumer.next(0), Some(&[0; 8][..]));
    assert_eq!(consumer.next(0), Some(&b"behind"[..]));
    assert!(consumer.drained());
}

#[test]
fn only_what_was_polled_is_read() {
    let ring = ring(&SMALL);
    let mut consumer = ring.consumer().unwrap();
    assert!(!consumer.poll(0));
    put(&ring, b"late");
    assert_eq!(consumer.next(0), None);
    assert!(consumer.poll(0));
    assert_eq!(consumer.next(0), Some(&b"late"[..]));
}

#[test]
fn what_was_not_released_is_read_again() {
    let ring = ring(&SMALL);
    let mut consumer = ring.consumer().unwrap();
    for bytes in [&b"one"[..], b"two", b"three"] {
        put(&ring, bytes);
    }
    consumer.poll(0);
    assert_eq!(consumer.next(0), Some(&b"one"[..]));
    consumer.release(0);
    assert_eq!(consumer.next(0), Some(&b"two"[..]));
    consumer.rewind(0);
    assert_eq!(consumer.next(0), Some(&b"two"[..]));
    drop(consumer);

    let mut next = ring.consumer().unwrap();
    assert_eq!(next.released(0), Position { pos: 16, claims: 1 });
    assert!(next.poll(0));
    assert_eq!(next.next(0), Some(&b"two"[..]));
    assert_eq!(next.next(0), Some(&b"three"[..]));
}

#[test]
fn a_new_consumer_can_skip_what_is_safe_elsewhere() {
    let ring = ring(&SMALL);
    for bytes in [&b"one"[..], b"two", b"three"] {
        put(&ring, bytes);
    }
    let mut consumer = ring.consumer().unwrap();
    assert!(!consumer.skip_to(0, Position { pos: 24, claims: 1 }), "no record begins there");
    assert!(!consumer.skip_to(0, Position { pos: 4800, claims: 3 }), "beyond the tail");
    assert_eq!(consumer.position(0), Position::default());
    assert!(consumer.skip_to(0, Position { pos: 32, claims: 2 }));
    assert_eq!(consumer.next(0), Some(&b"three"[..]));
}

#[test]
fn there_is_one_consumer_at_a_time() {
    let ring = std::sync::Arc::new(ring(&SMALL));
    let first = ring.consumer();
    assert!(first.is_some() && ring.consumer().is_none() && consumer_of(ring.clone()).is_none());
    assert!(ring.scan(0, Position::default()).is_none());
    drop(first);
    assert!(consumer_of(ring.clone()).is_some());
    assert!(ring.consumer().is_some());
}

#[test]
fn lanes_do_not_touch_each_other() {
    let ring = ring(&Geometry { lanes: 3, ..SMALL });
    let mut consumer = ring.consumer().unwrap();
    for round in 0..500_u32 {
        for lane in 0..3 {
            let mut claim = ring.lane(lane).claim(300, false).expect("room");
            claim.write(|room| room.fill((round % 200 + lane) as u8));
            claim.commit();
        }
        for lane in 0..3 {
            consumer.poll(lane);
            let record = consumer.next(lane).expect("committed");
            assert!(record.iter().all(|&byte| byte == (round % 200 + lane) as u8));
            consumer.release(lane);
        }
    }
}

#[test]
fn a_scan_finds_every_claim_once() {
    let ring = ring(&SMALL);
    let lane = ring.lane(0);
    put(&ring, b"journaled");
    let journaled = Position { pos: 24, claims: 1 };
    put(&ring, b"accepted");
    drop(lane.claim(20, false).unwrap());
    lane.claim_and_vanish(100, false).unwrap();
    lane.claim_and_vanish(0, false).unwrap();
    put(&ring, b"");
    lane.claim_and_vanish(8, false).unwrap();
    let mut scan = ring.scan(0, journaled).unwrap();
    let mut found = Vec::new();
    while let Some(one) = scan.step() {
        found.push(format!("{one:?}"));
    }
    let expected = [Found::Record(b"accepted"), Found::Torn(1), Found::Torn(2), Found::Record(b""), Found::Torn(1)];
    assert_eq!(found, expected.map(|one| format!("{one:?}")));
    assert_eq!(scan.position().claims, 7);
}

#[test]
fn a_scan_says_what_was_given_back_before_its_start() {
    let ring = ring(&SMALL);
    for bytes in [&b"one"[..], b"two", b"three"] {
        put(&ring, bytes);
    }
    let mut consumer = ring.consumer().unwrap();
    consumer.poll(0);
    consumer.next(0);
    consumer.next(0);
    consumer.release(0);
    drop(consumer);
    let mut scan = ring.scan(0, Position::default()).unwrap();
    assert_eq!(scan.step(), Some(Found::Gone(2)));
    assert_eq!(scan.step(), Some(Found::Record(b"three")));
    assert_eq!(scan.step(), None);
}

#[test]
fn a_scribbled_file_is_unreadable_from_there_on() {
    let (_folder, path) = place();
    {
        let ring =
            Ring::create(&path, &SMALL, &common::IDENTITY, auditring_ring::ClockKind::Tsc, &common::BIRTH).unwrap();
        for bytes in [&b"one"[..], b"two", b"three", b"four"] {
            put(&ring, bytes);
        }
    }
    let mut bytes = std::fs::read(&path).unwrap();
    let data = bytes.len() - SMALL.lane_bytes as usize;
    for (at, value) in [(16, 0x77), (17, 0x77), (20, 9)] {
        let before = bytes[data + at];
        bytes[data + at] = value;
        std::fs::write(&path, &bytes).unwrap();
        let ring = Ring::open(&path).unwrap();
        let mut scan = ring.scan(0, Position::default()).unwrap();
        assert_eq!(scan.step(), Some(Found::Record(b"one")));
        assert_eq!(scan.step(), Some(Found::Unreadable(3)));
        assert_eq!(scan.step(), None);
        drop(scan);
        let mut consumer = ring.consumer().unwrap();
        consumer.poll(0);
        assert_eq!(consumer.next(0), Some(&b"one"[..]));
        assert_eq!(consumer.next(0), None);
        assert!(consumer.stuck(0));
        bytes[data + at] = before;
    }
}

#[test]
fn a_ring_between_two_sleeps_ends_the_next_one() {
    let ring = ring(&SMALL);
    let mut consumer = ring.consumer().unwrap();
    ring.wake();
    // Would be a quarter of an hour.
    consumer.sleep(Duration::from_secs(900));
    ring.close();
    consumer.sleep(Duration::from_secs(900));
}

#[test]
fn a_crowded_lane_lets_nobody_sleep() {
    let ring = ring(&SMALL);
    let mut consumer = ring.consumer().unwrap();
    for _ in 0..9 {
        put(&ring, &[1; 1000]);
    }
    consumer.sleep(Duration::from_secs(900));
}

#[test]
fn a_sleeping_consumer_is_woken_by_the_commit_that_crowds_the_lane() {
    let ring = ring(&SMALL);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| {
            let mut consumer = ring.consumer().unwrap();
            while ring.lane(0).used() <= u64::from(SMALL.lane_bytes / 8) {
                consumer.sleep(Duration::from_secs(900));
            }
        });
        for _ in 0..9 {
            put(&ring, &[1; 1000]);
        }
        sleeper.join().expect("woken");
    });
    assert!(begin.elapsed() < Duration::from_secs(300), "the sleep ended by time");
}
