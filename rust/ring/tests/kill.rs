//! `kill -9` in the middle of it: what was accepted is in the file, whole and once, and every claim is accounted for.
#![cfg(all(not(loom), target_os = "linux"))]

mod common;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use auditring_ring::{ClockKind, Found, Geometry, Kind, Position, Refusal, Ring};
use common::{BIRTH, IDENTITY, SMALL, place};

const THREADS: u32 = 4;
const RING: &str = "AUDITRING_TEST_RING";
const GEOMETRY: Geometry = Geometry { lane_bytes: 4 << 20, max_record: 1 << 12, reserve: 0, ..SMALL };

/// The process that gets killed. What a thread knows to be accepted it counts at the edge, which survives as well.
fn emit_until_killed(path: &Path) {
    let ring = &Ring::create(path, &GEOMETRY, &IDENTITY, ClockKind::Monotonic, &BIRTH).unwrap();
    std::thread::scope(|scope| {
        for who in 0..THREADS {
            scope.spawn(move || {
                let mut turn = 0_u32;
                loop {
                    let len = 8 + (turn * 37 % 300) as usize;
                    match ring.lane(0).claim(len, false) {
                        Ok(mut claim) => {
                            claim.write(|room| {
                                room.fill(turn as u8 | 1);
                                room[..4].copy_from_slice(&who.to_le_bytes());
                                room[4..8].copy_from_slice(&turn.to_le_bytes());
                            });
                            claim.commit();
                            ring.edge().bump(0, who, 0, Kind::Off);
                            turn += 1;
                        }
                        Err(Refusal::Full) => std::thread::yield_now(),
                        Err(refusal) => panic!("{refusal}"),
                    }
                }
            });
        }
    });
}

/// Kills the process if the test fails in between.
struct Victim(Child);

impl Victim {
    fn kill(&mut self) {
        self.0.kill().expect("SIGKILL");
        self.0.wait().expect("its end");
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts the victim, kills it as soon as it has used so much of the ring, and opens what it left.
fn killed_at(path: &Path, used: u64) -> Ring {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "a_killed_process_leaves_every_accepted_record"]).env(RING, path).stdout(Stdio::null());
    let mut victim = Victim(command.spawn().unwrap());
    let deadline = Instant::now() + Duration::from_secs(120);
    let ring = loop {
        match Ring::open(path) {
            Ok(ring) if ring.lane(0).used() >= used => break ring,
            _ => assert!(Instant::now() < deadline, "the victim does not fill its ring"),
        }
        std::thread::yield_now();
    };
    victim.kill();
    ring
}

#[test]
fn a_killed_process_leaves_every_accepted_record() {
    if let Some(path) = std::env::var_os(RING) {
        emit_until_killed(Path::new(&path));
    }
    for round in 0..8 {
        let (_folder, path) = place();
        let ring = killed_at(&path, 1000 + round * 400_000);
        let (mut next, mut records, mut halves) = (vec![0_u32; THREADS as usize], 0, 0);
        let mut scan = ring.scan(0, Position::default()).unwrap();
        while let Some(found) = scan.step() {
            match found {
                Found::Record(payload) => {
                    let word = |at: usize| u32::from_le_bytes(payload[at..at + 4].try_into().unwrap());
                    let (who, turn) = (word(0), word(4));
                    assert_eq!(turn, next[who as usize], "thread {who}: once each, in order");
                    assert!(payload[8..].iter().all(|&byte| byte == turn as u8 | 1), "a record is whole");
                    next[who as usize] += 1;
                    records += 1;
                }
                Found::Torn(claims) => halves += claims,
                other => panic!("{other:?}"),
            }
        }
        drop(scan);
        assert_eq!(u64::from(ring.lane(0).claims()), records + halves, "claimed = committed + torn");
        assert!(halves <= u64::from(THREADS));
        for (who, &found) in next.iter().enumerate() {
            let acknowledged = ring.edge().get(0, who as u32, 0, Kind::Off);
            assert!(
                (acknowledged..=acknowledged + 1).contains(&u64::from(found)),
                "thread {who}: nothing accepted is missing"
            );
        }
    }
}
