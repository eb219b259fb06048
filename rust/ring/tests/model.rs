//! The ring against a plain queue: any sequence of steps, from any position, has the same outcome in both.
#![cfg(not(loom))]

mod common;

use std::collections::VecDeque;

use auditring_ring::{Claim, Consumer, Found, Position, Refusal, Ring};
use common::{SMALL, ring_at};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Claim {
        len: usize,
        droppable: bool,
    },
    /// Commits one of the open claims.
    Commit(prop::sample::Index),
    /// Abandons one of the open claims after its header, or before.
    Tear(prop::sample::Index),
    Vanish {
        len: usize,
    },
    Poll,
    Read(usize),
    Release,
    Rewind,
    AnotherConsumer,
    Close,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let len = prop_oneof![8 => 0..300_usize, 3 => 3000..4089_usize, 1 => 4089..9000_usize];
    let claim = (len, any::<bool>()).prop_map(|(len, droppable)| Step::Claim { len, droppable });
    let step = prop_oneof![
        40 => claim,
        40 => any::<prop::sample::Index>().prop_map(Step::Commit),
        20 => Just(Step::Poll),
        20 => (1..30_usize).prop_map(Step::Read),
        12 => Just(Step::Release),
        4 => Just(Step::Rewind),
        2 => Just(Step::AnotherConsumer),
    ];
    // What ends a lane comes late, or nothing else would be seen.
    let ending = prop_oneof![
        3 => any::<prop::sample::Index>().prop_map(Step::Tear),
        3 => (0..100_usize).prop_map(|len| Step::Vanish { len }),
        1 => Just(Step::Close),
        3 => (0..300_usize, any::<bool>()).prop_map(|(len, droppable)| Step::Claim { len, droppable }),
        3 => any::<prop::sample::Index>().prop_map(Step::Commit),
        2 => Just(Step::Poll),
        2 => (1..30_usize).prop_map(Step::Read),
    ];
    (prop::collection::vec(step, 1..300), prop::collection::vec(ending, 0..20)).prop_map(|(mut steps, ending)| {
        steps.extend(ending);
        steps
    })
}

fn starts() -> impl Strategy<Value = Position> {
    let pos = prop_oneof![Just(0_u64), (1_u64 << 32) - 5000..1 << 32, any::<u32>().prop_map(u64::from)];
    let claims = prop_oneof![Just(0_u64), (1_u64 << 31) - 100..1 << 31, any::<u32>().prop_map(u64::from)];
    (pos, claims).prop_map(|(words, claims)| Position { pos: 8 * words, claims })
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum State {
    Open,
    Committed,
    /// Dead after the header.
    Torn,
    /// Dead before the header.
    Vanished,
}

struct Entry {
    id: u64,
    len: usize,
    state: State,
}

impl Entry {
    fn bytes(&self) -> u64 {
        8 + self.len.next_multiple_of(8) as u64
    }

    fn payload(&self) -> Vec<u8> {
        (0..self.len).map(|i| (self.id as usize * 31 + i * 7 + 1) as u8).collect()
    }
}

/// The plain queue: everything that is not yet released.
struct Model {
    entries: VecDeque<Entry>,
    /// How many of them were read, and how many are before the polled tail.
    read: usize,
    polled: usize,
    released: Position,
    next_id: u64,
    closed: bool,
}

impl Model {
    fn used(&self) -> u64 {
        self.entries.iter().map(Entry::bytes).sum()
    }

    fn position(&self) -> Position {
        let bytes: u64 = self.entries.iter().take(self.read).map(Entry::bytes).sum();
        Position { pos: self.released.pos + bytes, claims: self.released.claims + self.read as u64 }
    }

    fn refusal(&self, len: usize, droppable: bool) -> Option<Refusal> {
        let room = SMALL.lane_bytes - if droppable { SMALL.reserve } else { 0 };
        if len > SMALL.max_record as usize - 8 {
            Some(Refusal::TooLong)
        } else if self.closed {
            Some(Refusal::Closed)
        } else {
            (self.used() + 8 + len.next_multiple_of(8) as u64 > u64::from(room)).then_some(Refusal::Full)
        }
    }

    fn push(&mut self, len: usize, state: State) -> u64 {
        self.next_id += 1;
        self.entries.push_back(Entry { id: self.next_id, len, state });
        self.next_id
    }

    fn set(&mut self, id: u64, state: State) -> Vec<u8> {
        let entry = self.entries.iter_mut().find(|entry| entry.id == id).expect("an open claim is not released");
        entry.state = state;
        entry.payload()
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        let entry = self.entries.get(self.read)?;
        if self.read >= self.polled || entry.state != State::Committed {
            return None;
        }
        self.read += 1;
        Some(entry.payload())
    }

    fn release(&mut self) {
        self.released = self.position();
        self.entries.drain(..self.read);
        self.polled -= self.read;
        self.read = 0;
    }

    fn stuck(&self) -> bool {
        self.entries.get(self.read).is_some_and(|entry| entry.state != State::Committed)
    }

    fn backlog(&self) -> (u64, u64) {
        (self.entries.iter().skip(self.read).map(Entry::bytes).sum(), (self.entries.len() - self.read) as u64)
    }

    /// What a scan has to find: claims that died before their header are told together.
    fn found(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut vanished = 0;
        for entry in &self.entries {
            if entry.state == State::Vanished {
                vanished += 1;
                continue;
            }
            if vanished > 0 {
                found.push(format!("{:?}", Found::Torn(std::mem::take(&mut vanished))));
            }
            found.push(match entry.state {
                State::Committed => format!("{:?}", Found::Record(&entry.payload())),
                _ => format!("{:?}", Found::Torn(1)),
            });
        }
        if vanished > 0 {
            found.push(format!("{:?}", Found::Torn(vanished)));
        }
        found
    }
}

fn same(ring: &Ring, consumer: &Consumer<&Ring>, model: &Model) {
    let lane = ring.lane(0);
    assert_eq!(lane.used(), model.used());
    assert_eq!(u64::from(lane.claims()), (model.released.claims + model.entries.len() as u64) % (1 << 31));
    assert_eq!((consumer.position(0), consumer.released(0)), (model.position(), model.released));
    assert_eq!((consumer.backlog(0), consumer.stuck(0)), (model.backlog(), model.stuck()));
    assert_eq!(consumer.drained(), model.closed && model.backlog().1 == 0);
    for (len, droppable) in [(0, false), (500, true), (4088, false), (4089, false)] {
        assert_eq!(lane.has_room(len, droppable), model.refusal(len, droppable).is_none(), "{len} {droppable}");
    }
}

fn run(start: Position, steps: Vec<Step>) {
    let ring = ring_at(&SMALL, start);
    let mut model = Model { entries: VecDeque::new(), read: 0, polled: 0, released: start, next_id: 0, closed: false };
    let mut open: Vec<(u64, Claim<'_>)> = Vec::new();
    let mut consumer = ring.consumer().expect("alone");
    for step in steps {
        match step {
            Step::Claim { len, droppable } => match ring.lane(0).claim(len, droppable) {
                Err(refusal) => assert_eq!(Some(refusal), model.refusal(len, droppable)),
                Ok(mut claim) => {
                    assert_eq!(model.refusal(len, droppable), None);
                    claim.write(|room| assert!(room.len() == len && room.iter().all(|&byte| byte == 0)));
                    open.push((model.push(len, State::Open), claim));
                }
            },
            Step::Commit(which) if !open.is_empty() => {
                let (id, mut claim) = open.swap_remove(which.index(open.len()));
                let payload = model.set(id, State::Committed);
                claim.write(|room| room.copy_from_slice(&payload));
                claim.commit();
            }
            Step::Tear(which) if !open.is_empty() => {
                let (id, mut claim) = open.swap_remove(which.index(open.len()));
                let payload = model.set(id, State::Torn);
                // Half of the payload was written.
                claim.write(|room| room[..payload.len() / 2].copy_from_slice(&payload[..payload.len() / 2]));
                drop(claim);
            }
            Step::Commit(_) | Step::Tear(_) => {}
            Step::Vanish { len } => {
                if ring.lane(0).claim_and_vanish(len, false).is_ok() {
                    model.push(len, State::Vanished);
                }
            }
            Step::Poll => {
                model.polled = model.entries.len();
                assert_eq!(consumer.poll(0), model.read < model.polled);
            }
            Step::Read(n) => {
                for _ in 0..n {
                    assert_eq!(consumer.next(0).map(<[u8]>::to_vec), model.next());
                }
            }
            Step::Release => {
                consumer.release(0);
                model.release();
            }
            Step::Rewind => {
                consumer.rewind(0);
                model.read = 0;
            }
            Step::AnotherConsumer => {
                drop(consumer);
                consumer = ring.consumer().expect("given back");
                (model.read, model.polled) = (0, 0);
            }
            Step::Close => {
                ring.close();
                model.closed = true;
            }
        }
        same(&ring, &consumer, &model);
    }
    drop(consumer);
    drop(open);
    let mut scan = ring.scan(0, model.released).expect("alone");
    let mut found = Vec::new();
    while let Some(one) = scan.step() {
        found.push(format!("{one:?}"));
    }
    assert_eq!(found, model.found());
    assert_eq!(scan.position().claims - model.released.claims, model.entries.len() as u64, "each claim once");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_ring_is_a_queue(start in starts(), steps in steps()) {
        run(start, steps);
    }
}
