//! Whatever the bytes are: no panic, every byte taken, and no more memory than what is bounded.

mod messages;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use auditring_kafka::{APIS, Api, Facts, Tap, Topics};
use peak_alloc::PeakAlloc;
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof};
use proptest::sample::{Index, select};
use proptest::{prop_assert, prop_assert_eq, proptest};

use messages::stretch::{chunks, stretch};
use messages::wire::{frame, header};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// One test at a time: memory is counted for the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

const MIB: usize = 1 << 20;

/// A connection whose facts are taken out when they are full, or when a call is over.
struct Connection {
    tap: Tap,
    facts: Facts,
    items: usize,
}

impl Connection {
    fn new() -> Self {
        Self { tap: Tap::new(Some("edge"), Arc::new(Topics::new(1000))), facts: Facts::default(), items: 0 }
    }

    fn feed(&mut self, mut bytes: &[u8], read: fn(&mut Tap, &[u8], &mut Facts) -> usize) {
        loop {
            let taken = read(&mut self.tap, bytes, &mut self.facts);
            assert!(taken == bytes.len() || self.facts.is_full(), "{taken} of {}", bytes.len());
            bytes = &bytes[taken..];
            self.take_out();
            if bytes.is_empty() {
                return;
            }
        }
    }

    fn client(&mut self, bytes: &[u8]) {
        self.feed(bytes, Tap::from_client);
    }

    fn broker(&mut self, bytes: &[u8]) {
        self.feed(bytes, Tap::from_broker);
    }

    fn close(&mut self) {
        while !self.tap.close(&mut self.facts) {
            self.take_out();
        }
        self.take_out();
    }

    fn take_out(&mut self) {
        self.items += self.facts.items().len();
        for item in self.facts.items() {
            // Each is as `auditring_event` reads it.
            messages::wire::text(&self.facts, item);
        }
        self.facts.clear();
    }
}

/// Bytes that were allocated at most while this ran, beyond what there was.
fn peak<T>(run: impl FnOnce() -> T) -> usize {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let kept = run();
    let most = MEMORY.peak_usage();
    drop(kept);
    most - before
}

/// What is done to a stream.
#[derive(Clone, Debug)]
enum Harm {
    Flip(Index, u8),
    Cut(Index, u8),
    /// Copies a stretch to elsewhere.
    Splice(Index, Index, u8),
    /// Numbers that lengths and counts do not have.
    Number(Index, i32),
    Byte(Index, u8),
}

fn harm() -> impl Strategy<Value = Harm> {
    let numbers = select(vec![i32::MAX, i32::MIN, -1, -2, 0, 1, 0x7F, 0x00FF_FFFF, 0x7FFF_FF00]);
    prop_oneof![
        (any::<Index>(), 0..8u8).prop_map(|(at, bit)| Harm::Flip(at, bit)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, len)| Harm::Cut(at, len)),
        (any::<Index>(), any::<Index>(), any::<u8>()).prop_map(|(from, to, len)| Harm::Splice(from, to, len)),
        (any::<Index>(), numbers).prop_map(|(at, number)| Harm::Number(at, number)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Harm::Byte(at, byte)),
    ]
}

/// The same where every frame stays where it is, so that most of them are read.
fn in_place() -> impl Strategy<Value = Harm> {
    harm().prop_filter("moves what is behind it", |harm| !matches!(harm, Harm::Cut(..) | Harm::Splice(..)))
}

fn harmed(mut bytes: Vec<u8>, harms: &[Harm]) -> Vec<u8> {
    for harm in harms {
        if bytes.len() < 8 {
            return bytes;
        }
        let most = bytes.len() - 4;
        match harm {
            Harm::Flip(at, bit) => bytes[at.index(most)] ^= 1 << bit,
            Harm::Byte(at, byte) => bytes[at.index(most)] = *byte,
            Harm::Number(at, number) => {
                let at = at.index(most);
                bytes[at..at + 4].copy_from_slice(&number.to_be_bytes());
            }
            Harm::Cut(at, len) => {
                let at = at.index(most);
                let end = bytes.len().min(at + usize::from(*len));
                bytes.drain(at..end);
            }
            Harm::Splice(from, to, len) => {
                let (from, to) = (from.index(most), to.index(most));
                let end = bytes.len().min(from + usize::from(*len));
                let piece = bytes[from..end].to_vec();
                bytes.splice(to..to, piece);
            }
        }
    }
    bytes
}

/// Any API in any version that is read.
fn api() -> impl Strategy<Value = (&'static Api, i16)> {
    (0..APIS.len()).prop_flat_map(|at| (Just(&APIS[at]), APIS[at].first..=APIS[at].last))
}

/// Bytes of a message's body: random ones, with many of those that counts and lengths are made of.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![select(vec![0u8, 1, 2, 3, 0x7F, 0x80, 0xFF]), any::<u8>()];
    let piece = prop_oneof![
        vec(byte, 1..20),
        Just(i32::MAX.to_be_bytes().to_vec()),
        Just(vec![0xFF, 0xFF, 0xFF, 0xFF, 0x07]),
        Just(b"\0\x06orders".to_vec()),
        Just(b"\x07orders".to_vec()),
        Just(vec![0, 0, 0, 1]),
    ];
    vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn streams_that_were_harmed(
        one in vec(harm(), 0..12),
        other in vec(harm(), 0..12),
        sizes in vec(1usize..5000, 1..10),
        turns in vec(any::<bool>(), 1..20),
    ) {
        let _turn = alone();
        let (client, broker) = stretch();
        let (client, broker) = (chunks(&harmed(client, &one), &sizes), chunks(&harmed(broker, &other), &sizes));
        let used = peak(|| {
            let mut seen = Connection::new();
            seen.facts.requests = turns[0];
            let (mut client, mut broker) = (client.iter(), broker.iter());
            for clients in turns.iter().cycle().take(client.len() + broker.len() + turns.len()) {
                if *clients {
                    client.next().inspect(|bytes| seen.client(bytes));
                } else {
                    broker.next().inspect(|bytes| seen.broker(bytes));
                }
            }
            client.for_each(|bytes| seen.client(bytes));
            broker.for_each(|bytes| seen.broker(bytes));
            seen.close();
            assert_eq!(0, seen.tap.in_flight());
            seen
        });
        prop_assert!(used < 4 * MIB, "{used}");
    }

    #[test]
    fn harm_is_seen_alike_in_whatever_chunks_it_comes(
        one in vec(in_place(), 1..5),
        other in vec(in_place(), 1..5),
        sizes in vec(prop_oneof![1usize..12, 1usize..3000], 1..10),
    ) {
        let _turn = alone();
        let (client, broker) = stretch();
        let (client, broker) = (harmed(client, &one), harmed(broker, &other));
        let mut whole = messages::wire::Connection::default();
        whole.client(&client).broker(&broker).close();
        let mut pieces = messages::wire::Connection::default();
        for chunk in &chunks(&client, &sizes) {
            pieces.client(chunk);
        }
        for chunk in &chunks(&broker, &sizes) {
            pieces.broker(chunk);
        }
        pieces.close();
        prop_assert_eq!(whole.said, pieces.said);
    }

    #[test]
    fn messages_that_are_none(
        requests in vec((api(), body(), body()), 1..12),
        size in 1usize..2000,
        requests_wanted in any::<bool>(),
    ) {
        let _turn = alone();
        let mut seen = Connection::new();
        seen.facts.requests = requests_wanted;
        let used = peak(|| {
            for (id, ((api, version), request, answer)) in requests.iter().enumerate() {
                let mut asked = header(api.key, *version, id as i32);
                asked.extend(request);
                let len = asked.len() as u32 - 4;
                asked[..4].copy_from_slice(&len.to_be_bytes());
                asked.chunks(size).for_each(|chunk| seen.client(chunk));
                let told = frame(&[&(id as i32).to_be_bytes(), &answer[..]].concat());
                told.chunks(size).for_each(|chunk| seen.broker(chunk));
            }
            seen.close();
        });
        prop_assert!(used < 4 * MIB, "{used}");
    }

    #[test]
    fn bytes_that_are_anything(one in vec(any::<u8>(), 0..600), other in vec(any::<u8>(), 0..600), size in 1usize..100) {
        let _turn = alone();
        let mut seen = Connection::new();
        one.chunks(size).for_each(|chunk| seen.client(chunk));
        other.chunks(size).for_each(|chunk| seen.broker(chunk));
        seen.close();
        assert_eq!(0, seen.tap.in_flight());
    }
}

#[test]
fn a_length_alone_takes_no_memory() {
    let _turn = alone();
    for api in APIS {
        let mut seen = Connection::new();
        let used = peak(|| {
            let mut asked = header(api.key, api.last, 1);
            asked[..4].copy_from_slice(&i32::MAX.to_be_bytes());
            seen.client(&asked);
            // As many tagged fields, elements or bytes as a number can say.
            seen.client(&[0xFF, 0xFF, 0xFF, 0xFF, 0x07]);
            seen.client(&vec![0x7F; 64 * 1024]);
        });
        assert!(used < MIB, "{}: {used}", api.name);
    }
}

#[test]
fn requests_that_nobody_answers_take_no_more_than_their_bound() {
    let _turn = alone();
    // Produce of version 3, of partitions without records.
    let partitions = 100_000u32;
    let mut body = b"\xFF\xFF\0\x01\0\0\0\0\0\0\0\x01\0\x01a".to_vec();
    body.extend(partitions.to_be_bytes());
    for index in 0..partitions {
        body.extend(index.to_be_bytes());
        body.extend((-1i32).to_be_bytes());
    }
    let mut asked = header(0, 3, 1);
    asked.extend(body);
    let len = asked.len() as u32 - 4;
    asked[..4].copy_from_slice(&len.to_be_bytes());
    let mut seen = Connection::new();
    let used = peak(|| {
        for _ in 0..40 {
            asked.chunks(64 * 1024).for_each(|chunk| seen.client(chunk));
        }
    });
    // What is kept, what it grew by, and a request in the making.
    assert!(used < 64 * MIB, "{used}");
    let used = peak(|| seen.close());
    assert!(used < 2 * MIB && seen.items > 200_000, "{used} {}", seen.items);
}

#[test]
fn a_client_that_calls_itself_otherwise_each_time_fills_no_memory() {
    let _turn = alone();
    let mut bytes = Vec::new();
    for at in 0..200_000u32 {
        let mut asked = header(499, 0, 1);
        let len = asked.len();
        asked[len - 3..].copy_from_slice(&at.to_be_bytes()[1..]);
        bytes.extend(asked);
    }
    let mut seen = Connection::new();
    let told = frame(&1i32.to_be_bytes()).repeat(1000);
    let used = peak(|| {
        for asked in bytes.chunks(bytes.len() / 200) {
            seen.client(asked);
            seen.broker(&told);
        }
    });
    assert!(used < MIB, "{used}");
    assert_eq!((200_000, 0), (seen.items, seen.tap.in_flight()));
}

#[test]
fn requests_that_nobody_answers_fill_no_memory() {
    let _turn = alone();
    let bytes = header(499, 0, 1).repeat(200_000);
    let mut seen = Connection::new();
    let used = peak(|| seen.client(&bytes));
    assert!(used < 16 * MIB, "{used}");
    assert!(seen.tap.is_opaque() && seen.tap.in_flight() <= 64 * 1024);
}
