//! The file: how it is made, what it refuses, and what is found in it afterwards.
#![cfg(not(loom))]
#![allow(unsafe_code, reason = "umask and resource limits have no safe form")]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use auditring_ring::{ClockKind, Found, Full, Geometry, Kind, Position, Refusal, Ring, RingError};
use common::{BIRTH, IDENTITY, SMALL, place};

fn create(path: &std::path::Path) -> Result<Ring, RingError> {
    Ring::create(path, &SMALL, &IDENTITY, ClockKind::Tsc, &BIRTH)
}

#[test]
fn a_ring_tells_again_what_it_was_made_with() {
    let (_folder, path) = place();
    drop(create(&path).unwrap());
    let ring = Ring::open(&path).unwrap();
    assert_eq!((*ring.geometry(), *ring.identity(), *ring.birth()), (SMALL, IDENTITY, BIRTH));
    assert_eq!((ring.clock(), ring.path()), (ClockKind::Tsc, path.as_path()));
}

#[test]
fn the_file_is_ours_alone_whatever_the_umask() {
    // The umask is the whole process's: a child of its own, so that no other test sees it.
    if std::env::var_os("AUDITRING_TEST_UMASK").is_none() {
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_file_is_ours_alone_whatever_the_umask"])
            .env("AUDITRING_TEST_UMASK", "1")
            .status();
        assert!(status.unwrap().success());
        return;
    }
    for umask in [0, 0o777] {
        let (_folder, path) = {
            // SAFETY: has no preconditions.
            unsafe { libc::umask(0o022) };
            place()
        };
        // SAFETY: has no preconditions.
        unsafe { libc::umask(umask) };
        let _ring = create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    }
}

#[test]
fn the_whole_file_is_allocated_at_its_birth() {
    let (_folder, path) = place();
    let _ring = create(&path).unwrap();
    let meta = fs::metadata(&path).unwrap();
    assert!(meta.blocks() * 512 >= meta.len(), "{} blocks for {} bytes", meta.blocks(), meta.len());
}

#[test]
fn what_is_there_already_is_not_touched() {
    let (folder, path) = place();
    fs::write(&path, "mine").unwrap();
    assert!(matches!(create(&path), Err(RingError::Io { what: "create", .. })));
    assert_eq!(fs::read(&path).unwrap(), b"mine");

    let link = folder.path().join("link");
    symlink(folder.path().join("nowhere"), &link).unwrap();
    assert!(matches!(create(&link), Err(RingError::Io { what: "create", .. })));
    assert!(!folder.path().join("nowhere").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_finds_no_room_is_removed_again() {
    let (_folder, path) = place();
    // More than any machine's file system has.
    let greedy = Geometry { lanes: 64, lane_bytes: 1 << 30, max_record: 1 << 16, reserve: 0, codes: 1 << 16 };
    // A limit on the file's size is a full disk to fallocate; it holds for this process, so a child of its own.
    if std::env::var_os("AUDITRING_TEST_NO_ROOM").is_none() {
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_file_that_finds_no_room_is_removed_again"])
            .env("AUDITRING_TEST_NO_ROOM", "1")
            .status();
        assert!(status.unwrap().success());
        return;
    }
    let limit = libc::rlimit { rlim_cur: 1 << 20, rlim_max: 1 << 20 };
    // SAFETY: a valid limit; the signal's default would kill us before the error is seen.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit), 0);
    }
    let made = Ring::create(&path, &greedy, &IDENTITY, ClockKind::Monotonic, &BIRTH);
    assert!(matches!(made, Err(RingError::Io { what: "allocate", .. })), "{made:?}");
    assert!(!path.exists());
}

#[test]
fn sizes_that_do_not_fit_leave_no_file() {
    let (_folder, path) = place();
    let odd = Geometry { lane_bytes: 100_000, ..SMALL };
    assert!(matches!(Ring::create(&path, &odd, &IDENTITY, ClockKind::Tsc, &BIRTH), Err(RingError::Geometry(_))));
    assert!(!path.exists());
}

#[test]
fn a_ring_that_may_not_be_trusted_is_not_opened() {
    let (folder, path) = place();
    drop(create(&path).unwrap());
    let whole = fs::read(&path).unwrap();
    let copy = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let mut unfinished = whole.clone();
    unfinished[..8].fill(0);
    let mut newer = whole.clone();
    newer[8] = 99;
    let link = folder.path().join("link");
    symlink(&path, &link).unwrap();

    assert!(Ring::open(&copy("same", &whole)).is_ok());
    for (path, what) in [
        (copy("empty", &[]), "empty"),
        (copy("short", &whole[..whole.len() - 4096]), "short"),
        (copy("unfinished", &unfinished), "unfinished"),
        (copy("newer", &newer), "newer"),
        (folder.path().to_owned(), "a folder"),
        (link, "a link"),
        (folder.path().join("missing"), "missing"),
    ] {
        assert!(Ring::open(&path).is_err(), "{what}");
    }
}

#[test]
fn who_only_looks_may_read_and_changes_nothing() {
    let (_folder, path) = place();
    let ring = create(&path).unwrap();
    let mut claim = ring.lane(0).claim(8, true).unwrap();
    claim.write(|room| room[..8].copy_from_slice(b"recorded"));
    claim.commit();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    let before = fs::read(&path).unwrap();
    let looked = Ring::look(&path).unwrap();
    // What would be seen by others in a ring that was opened to be used.
    looked.edge().bump(0, 1, 0, Kind::Dropped);
    let mut scan = looked.scan(0, Position::default()).unwrap();
    assert_eq!(scan.step(), Some(Found::Record(b"recorded")));
    assert_eq!(scan.step(), None);
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_tail_is_where_it_is_or_the_ring_is_an_earlier_one() {
    let (_folder, path) = place();
    let ring = create(&path).unwrap();
    let mut claim = ring.lane(0).claim(8, true).unwrap();
    claim.write(|room| room[..8].fill(1));
    claim.commit();
    let there = ring.scan(0, Position::default()).map(|mut scan| (scan.step().is_some(), scan.position()).1).unwrap();
    assert!(ring.has_reached(0, Position::default()) && ring.has_reached(0, there));
    assert!(!ring.has_reached(0, Position { pos: there.pos + 8, claims: there.claims + 1 }));
    assert_eq!(ring.gone(0, Position::default()), 0);
}

#[test]
fn a_ring_notices_that_its_name_is_gone() {
    let (_folder, path) = place();
    let ring = create(&path).unwrap();
    assert!(ring.is_linked());
    fs::remove_file(&path).unwrap();
    assert!(!ring.is_linked());
    fs::write(&path, "another").unwrap();
    assert!(!ring.is_linked());
    ring.unlink().unwrap();
    assert!(path.exists(), "what is not ours stays");
}

#[test]
fn unlink_removes_the_name_and_the_ring_goes_on() {
    let (_folder, path) = place();
    let ring = create(&path).unwrap();
    ring.unlink().unwrap();
    assert!(!path.exists());
    ring.unlink().unwrap();
    ring.lane(0).claim(3, false).unwrap().commit();
    let mut consumer = ring.consumer().unwrap();
    assert!(consumer.poll(0));
    assert_eq!(consumer.next(0).map(<[u8]>::len), Some(3));
}

#[test]
fn definitions_are_kept_in_order_until_the_area_is_full() {
    let (_folder, path) = place();
    let ring = create(&path).unwrap();
    ring.definitions_append(b"one,").unwrap();
    ring.definitions_append(b"two").unwrap();
    assert_eq!(ring.definitions_append(&vec![1; 64 << 10]), Err(Full));
    assert_eq!(Ring::open(&path).unwrap().definitions(), b"one,two");
    ring.definitions_append(&vec![9; (64 << 10) - 7]).unwrap();
    assert_eq!(ring.definitions_append(&[1]), Err(Full));
    assert_eq!(ring.definitions_append(&[]), Ok(()));
    assert_eq!(ring.definitions().len(), 64 << 10);
}

#[test]
fn a_count_is_the_sum_of_ordered_and_unordered_callers() {
    let (_folder, path) = place();
    let ring = Ring::create(&path, &Geometry { lanes: 2, ..SMALL }, &IDENTITY, ClockKind::Tsc, &BIRTH).unwrap();
    let edge = ring.edge();
    for _ in 0..3 {
        edge.bump_ordered(1, 1023, 7, Kind::Refused);
    }
    edge.bump(1, 1023, 7, Kind::Refused);
    edge.bump(0, 64, 0, Kind::Off);
    assert_eq!(edge.get(1, 1023, 7, Kind::Refused), 4);
    assert_eq!(edge.get(0, 1023, 7, Kind::Refused), 0);

    let mut table = Vec::new();
    Ring::open(&path).unwrap().edge().snapshot(&mut table);
    let index =
        |lane: usize, code: usize, outcome: usize, kind: Kind| ((lane * 1024 + code) * 8 + outcome) * 3 + kind as usize;
    let counted: Vec<_> = table.iter().copied().enumerate().filter(|&(_, count)| count != 0).collect();
    assert_eq!(counted, [(index(0, 64, 0, Kind::Off), 1), (index(1, 1023, 7, Kind::Refused), 4)]);
    assert_eq!(table.len(), 2 * 1024 * 8 * 3);
}

#[test]
fn a_count_beyond_the_table_lands_in_its_last_row() {
    let (_folder, path) = place();
    let ring = create(&path).unwrap();
    ring.edge().bump(9, 70_000, 200, Kind::Dropped);
    let mut seen = Vec::new();
    ring.edge().visit(|count| seen.push((count.lane, count.code, count.outcome, count.kind, count.count)));
    assert_eq!(seen, [(0, 1023, 7, Kind::Dropped, 1)]);
}

#[test]
fn a_closed_ring_stays_closed_when_opened_again() {
    let (_folder, path) = place();
    let ring = create(&path).unwrap();
    ring.lane(0).claim(1, false).unwrap().commit();
    ring.close();
    ring.close();
    let again = Ring::open(&path).unwrap();
    assert_eq!(again.lane(0).claim(1, false).err(), Some(Refusal::Closed));
    assert_eq!(again.lane(0).claims(), 1);
}

/// Positions that no producer and no consumer can have left: a scan ends, and counts no more claims than there can be.
#[test]
fn a_scan_of_forged_positions_ends() {
    let (_folder, path) = place();
    let ring = create(&path).unwrap();
    for _ in 0..5 {
        ring.lane(0).claim(16, false).unwrap().commit();
    }
    drop(ring);
    let whole = fs::read(&path).unwrap();
    let tail = u64::from_le_bytes(whole[4096..4104].try_into().unwrap());
    // The head's word: ahead of the tail, by bytes or by claims; and the tail's: far away.
    let heads = [tail + 8, tail + (1 << 32), tail | (1 << 31), u64::MAX, 0x7fff_ffff_ffff_ffff];
    let words = heads.map(|head| (tail, head)).into_iter().chain([(u64::MAX >> 1, 0), (1 << 40, 0), (0, tail)]);
    for (tail, head) in words {
        let mut bytes = whole.clone();
        bytes[4096..4104].copy_from_slice(&tail.to_le_bytes());
        bytes[4224..4232].copy_from_slice(&head.to_le_bytes());
        fs::write(&path, bytes).unwrap();
        let ring = Ring::open(&path).unwrap();
        for from in [Position::default(), Position { pos: u64::MAX, claims: u64::MAX }, ring.head(0)] {
            let mut scan = ring.scan(0, from).unwrap();
            let (mut steps, mut claims) = (0, 0_u64);
            while let Some(found) = scan.step() {
                claims += match found {
                    Found::Record(_) => 1,
                    Found::Torn(claims) | Found::Gone(claims) | Found::Unreadable(claims) => claims,
                };
                steps += 1;
                assert!(steps < 100, "{tail:x} {head:x} {from:?}");
            }
            assert!(claims < 1 << 32, "{tail:x} {head:x} {from:?}: {claims}");
        }
    }
}
