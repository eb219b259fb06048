//! Recovery of processes that died at every point: each accepted record is a row once, each claim has a name.

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use auditring_event::code_of;
use auditring_flow::{Declined, Follower, Form, Recovery, Salvage, Snapshot, Stated, outside, recover, retire};
use auditring_journal::{Owner, ProcessDir, fold, segments};
use auditring_ring::Kind;
use common::dead::{
    JUMP, Remains, SINK, SOON, actions, born, dense, rig, ring_gone, with_ten_journaled_and_ten_in_the_ring,
};

#[test]
fn what_was_accepted_is_a_row_once_and_the_journal_ends() {
    let mut rig = rig();
    rig.reads(0..50);
    rig.pump();
    rig.reads(50..120);
    let remains = rig.die();
    let salvage = remains.recover();
    assert_eq!(salvage, Salvage { rows: 70, ..Salvage::default() });
    assert!(!remains.ring.exists());
    let (reads, others) = remains.story();
    assert_eq!(reads, dense(0..120));
    assert_eq!(actions(&others), ["ProxyStartup", "auditring.Recovered"]);
    assert_eq!(others[1].0, 121);
    remains.balanced();
    assert_eq!(remains.try_recover(), Recovery::Ended);
}

#[test]
fn claims_that_were_never_committed_are_torn() {
    let rig = rig();
    rig.reads(0..5);
    rig.torn(100);
    rig.torn(8);
    rig.reads(5..9);
    rig.torn(300);
    let remains = rig.die();
    let salvage = remains.recover();
    assert_eq!(salvage, Salvage { rows: 9, torn: 3, ..Salvage::default() });
    assert_eq!(remains.story().0, dense(0..9));
    remains.balanced();
}

#[test]
fn killed_at_every_byte_that_it_writes_recovery_goes_on_to_the_same_rows() {
    let mut rig = rig();
    rig.reads(0..10);
    rig.pump();
    // More than two batches of a recovery.
    rig.reads(10..4500);
    rig.torn(50);
    rig.ring.edge().bump(0, u32::from(code_of("Read")), 0, Kind::Dropped);
    let remains = rig.die();
    let before = remains.photograph();
    remains.recover();
    let whole = remains.story();
    assert_eq!(whole.0, dense(0..4500));
    let written = remains.segment();
    let bytes = fs::read(&written).unwrap();
    let step = bytes.len() / 97;
    for cut in (0..600).chain((600..bytes.len()).step_by(step)).chain(bytes.len() - 600..bytes.len()) {
        remains.restore(&before);
        fs::write(&written, &bytes[..cut]).unwrap();
        let found = remains.try_recover();
        assert!(matches!(found, Recovery::Recovered(_)), "cut at {cut}: {found:?}");
        let (reads, others) = remains.story();
        assert_eq!(reads, whole.0, "cut at {cut}");
        assert_eq!(actions(&others), actions(&whole.1), "cut at {cut}");
        remains.balanced();
    }
}

#[test]
fn what_was_dropped_and_not_yet_told_is_told() {
    let mut rig = rig();
    let read = u32::from(code_of("Read"));
    for _ in 0..3 {
        rig.ring.edge().bump(0, read, 0, Kind::Dropped);
    }
    rig.reads(0..1);
    rig.pump();
    for _ in 0..4 {
        rig.ring.edge().bump(0, read, 0, Kind::Dropped);
    }
    let remains = rig.die();
    assert_eq!(remains.recover().dropped, 7);
    let (_, others) = remains.story();
    let lost: i64 = others.iter().filter_map(|(_, _, lost, _)| *lost).sum();
    assert_eq!((actions(&others), lost), (vec!["ProxyStartup", "auditring.EventsLost", "auditring.Recovered"], 7));
    remains.balanced();
}

#[test]
fn what_died_before_its_birth_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let born = born(folder.path());
    let (dir, ring) = (born.dir.path().to_owned(), born.ring.path().to_owned());
    drop(born);
    let remains = Remains { folder, dir, ring };
    // Its segment has a head and no batch; then a torn head; then no segment at all; then no ring either.
    let whole = remains.photograph();
    let head = fs::read(remains.segment()).unwrap();
    let segment = remains.segment();
    for cut in [Some(head.len()), Some(head.len() / 2), Some(0), None] {
        fs::create_dir_all(&remains.dir).unwrap();
        remains.restore(&whole);
        match cut {
            Some(cut) => fs::write(&segment, &head[..cut]).unwrap(),
            None => fs::remove_file(&segment).unwrap(),
        }
        assert_eq!(remains.try_recover(), Recovery::Unborn, "cut at {cut:?}");
        assert!(!remains.ring.exists() && !remains.dir.exists());
    }
}

#[test]
fn over_a_reboot_no_ring_is_trusted() {
    let remains = with_ten_journaled_and_ten_in_the_ring();
    let mut owner = Owner::load(&remains.dir).unwrap();
    owner.boot_id = "00000000-1111-2222-3333-444444444444".into();
    let held = ProcessDir::adopt(&remains.dir).unwrap().unwrap();
    owner.store(&held).unwrap();
    drop(held);
    ring_gone(&remains, 10);
    assert!(!remains.ring.exists(), "what lies under its name is removed");
}

#[test]
fn what_sinks_have_and_a_reboot_took_of_the_journal_was_journaled() {
    let mut rig = rig();
    rig.reads(0..10);
    rig.pump();
    let segment = rig.held.path().join(segments(rig.held.path()).unwrap().last().unwrap().file_name());
    let synced = fs::metadata(&segment).unwrap().len();
    rig.reads(10..30);
    rig.pump();
    let remains = rig.die();
    let mut follower = Follower::open(&remains.dir, SINK, Declined::default(), Form::Rows, Arc::default()).unwrap();
    let mut delivered = 0;
    while delivered < 31 {
        delivered += follower.next(1 << 20, SOON, true).unwrap().map_or(0, |batch| batch.set.rows.len());
    }
    follower.commit(Vec::new()).unwrap();
    drop(follower);
    fs::File::options().write(true).open(&segment).unwrap().set_len(synced).unwrap();
    fs::remove_file(&remains.ring).unwrap();
    remains.recover();
    remains.balanced();
    let mut follower = Follower::open(&remains.dir, SINK, Declined::default(), Form::Rows, Arc::default()).unwrap();
    while !follower.ended() {
        let batch = follower.next(1 << 20, SOON, true).unwrap();
        assert_eq!(batch.map_or(0, |batch| batch.lost), 0);
        if follower.boundary() {
            follower.commit(Vec::new()).unwrap();
        }
    }
    follower.commit(Vec::new()).unwrap();
    let (all, _) = outside(&remains.root()).unwrap();
    let totals = &all[0].sinks[SINK].totals;
    assert_eq!((totals["delivered"], all[0].terms["journaled"]), (33, 33));
    // To one that had nothing yet, what is gone is lost; nothing is left over.
    drop(follower);
    fs::remove_file(remains.dir.join(format!("{SINK}.cursor"))).unwrap();
    let mut late = Follower::open(&remains.dir, SINK, Declined::default(), Form::Rows, Arc::default()).unwrap();
    let (mut rows, mut lost) = (0, 0);
    while !late.ended() {
        if let Some(batch) = late.next(1 << 20, SOON, true).unwrap() {
            (rows, lost) = (rows + batch.set.rows.len(), lost + batch.lost);
        }
        if late.boundary() {
            late.commit(Vec::new()).unwrap();
        }
    }
    assert_eq!(rows as u64 + lost, 33);
}

#[test]
fn a_ring_that_was_deleted_is_unknown() {
    let remains = with_ten_journaled_and_ten_in_the_ring();
    fs::remove_file(&remains.ring).unwrap();
    ring_gone(&remains, 10);
}

/// What was left out on purpose is not among what is lost, and in nobody's range.
#[test]
fn a_damaged_batch_behind_a_jump_costs_its_own_rows_alone() {
    let remains = with_ten_journaled_and_ten_in_the_ring();
    fs::remove_file(&remains.ring).unwrap();
    remains.recover();
    let segment = remains.segment();
    let mut bytes = fs::read(&segment).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let mut follower = Follower::open(&remains.dir, SINK, Declined::default(), Form::Rows, Arc::default()).unwrap();
    let (mut rows, mut lost) = (0, 0);
    while !follower.ended() {
        if let Some(batch) = follower.next(1 << 20, SOON, true).unwrap() {
            let parts = batch.rows as u64 + batch.lost;
            assert_eq!(u64::try_from(batch.last_seq + 1 - batch.first_seq), Ok(parts), "{batch:?}");
            (rows, lost) = (rows + batch.rows, lost + batch.lost);
        }
        if follower.boundary() {
            follower.commit(Vec::new()).unwrap();
        }
    }
    assert_eq!((rows, lost), (11, 2));
}

/// A forged row's code may be one that no table has a place for.
#[test]
fn a_ring_that_says_what_cannot_be_gives_rows_that_can() {
    let remains = with_ten_journaled_and_ten_in_the_ring();
    let mut bytes = fs::read(&remains.ring).unwrap();
    let lanes = bytes.len() - (1 << 20);
    // The code of the last record that begins where the ring says.
    let record = bytes[lanes..].windows(6).rposition(|six| six == b"orders").unwrap() + lanes;
    let begin = (lanes..record).rev().find(|at| {
        at % 8 == 0 && bytes[*at..at + 4] != [0; 4] && {
            let word = u64::from_le_bytes(bytes[*at..at + 8].try_into().unwrap());
            word >> 32 == 19 && word as u32 > 40
        }
    });
    let begin = begin.expect("the twentieth claim");
    bytes[begin + 8 + 12..begin + 8 + 14].fill(0xff);
    fs::write(&remains.ring, bytes).unwrap();
    assert_eq!(remains.recover().rows, 10);
    let (reads, _) = remains.story();
    assert_eq!(reads.len(), 19);
    remains.balanced();
}

#[test]
fn a_ring_that_was_cut_or_is_of_another_version_is_not_trusted() {
    for damage in [0_usize, 1, 2] {
        let remains = with_ten_journaled_and_ten_in_the_ring();
        let mut bytes = fs::read(&remains.ring).unwrap();
        match damage {
            0 => bytes.truncate(bytes.len() - 4096),
            1 => bytes[8] ^= 0x40,
            _ => bytes.clear(),
        }
        fs::write(&remains.ring, bytes).unwrap();
        ring_gone(&remains, 10);
    }
}

#[test]
fn a_link_or_a_copy_of_another_process_is_not_followed() {
    let remains = with_ten_journaled_and_ten_in_the_ring();
    let elsewhere = remains.folder.path().join("elsewhere");
    fs::rename(&remains.ring, &elsewhere).unwrap();
    symlink(&elsewhere, &remains.ring).unwrap();
    ring_gone(&remains, 10);
    assert!(elsewhere.exists() && remains.ring.is_symlink(), "what is not ours is left alone");

    let (one, two) = (with_ten_journaled_and_ten_in_the_ring(), with_ten_journaled_and_ten_in_the_ring());
    fs::copy(&two.ring, &one.ring).unwrap();
    ring_gone(&one, 10);
}

#[test]
fn a_last_batch_cut_at_every_byte_costs_exactly_what_it_held() {
    let mut rig = rig();
    rig.reads(0..10);
    rig.pump();
    let kept = fs::metadata(rig.held.path().join(segments(rig.held.path()).unwrap()[0].file_name())).unwrap().len();
    rig.reads(10..17);
    rig.pump();
    rig.reads(17..20);
    let remains = rig.die();
    let before = remains.photograph();
    let segment = remains.segment();
    let bytes = fs::read(&segment).unwrap();
    for cut in kept as usize..bytes.len() {
        remains.restore(&before);
        fs::write(&segment, &bytes[..cut]).unwrap();
        let salvage = remains.recover();
        assert_eq!(salvage, Salvage { rows: 3, journal_gone: 7, ..Salvage::default() }, "cut at {cut}");
        let (reads, others) = remains.story();
        // Its seqs may be in a sink: they are not given out again.
        let expected: Vec<_> = dense(0..10).into_iter().chain((0..3).map(|i| (12 + JUMP + i, 17 + i))).collect();
        assert_eq!(reads, expected, "cut at {cut}");
        assert_eq!(actions(&others), ["ProxyStartup", "auditring.EventsLost", "auditring.Recovered"]);
        assert_eq!((others[1].0, others[1].2), (11 + JUMP, Some(7)));
        remains.balanced();
    }
}

#[test]
fn a_batch_that_was_written_and_whose_room_was_not_given_back_is_not_taken_twice() {
    // Killed between the write and the release: the ring's head is where it was before the batch.
    let mut rig = rig();
    rig.reads(0..10);
    let ring = fs::read(rig.ring.path()).unwrap();
    rig.pump();
    let remains = rig.die();
    fs::write(&remains.ring, ring).unwrap();
    assert_eq!(remains.recover(), Salvage::default());
    assert_eq!(remains.story().0, dense(0..10));
    remains.balanced();
}

#[test]
fn a_head_that_cannot_be_read_costs_the_journal_and_not_the_ring() {
    let remains = with_ten_journaled_and_ten_in_the_ring();
    let segment = remains.segment();
    let mut bytes = fs::read(&segment).unwrap();
    bytes[40] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let before = remains.photograph();
    let salvage = remains.recover();
    assert_eq!((salvage.rows, salvage.ring_gone), (10, false));
    let (reads, others) = remains.story();
    assert_eq!(reads.iter().map(|(_, offset)| *offset).collect::<Vec<_>>(), (10..20).collect::<Vec<_>>());
    assert_eq!(actions(&others), ["auditring.EventsLost", "auditring.Recovered"]);
    assert!(others[0].0 >= JUMP && others[0].3.as_ref().unwrap().contains("journal_gone"));
    // Killed behind the head of its own segment: the next one knows that nothing of it is to be gone by.
    let whole = fs::read(remains.segment()).unwrap();
    let own = remains.segment();
    for cut in [64, 300, whole.len() / 2, whole.len() - 1] {
        remains.restore(&before);
        fs::write(&own, &whole[..cut]).unwrap();
        remains.recover();
        let (again, _) = remains.story();
        assert_eq!(again.len(), 10, "cut at {cut}");
    }
}

#[test]
fn a_birth_that_cannot_be_read_costs_the_journal_and_not_the_ring() {
    for emitted in [true, false] {
        let remains = if emitted {
            with_ten_journaled_and_ten_in_the_ring()
        } else {
            // Turned away at the edge: that is told, too.
            let rig = rig();
            rig.ring.edge().add(0, code_of("Read").into(), 0, Kind::Dropped, 3);
            rig.die()
        };
        let segment = remains.segment();
        let mut bytes = fs::read(&segment).unwrap();
        let birth = bytes.windows(4).position(|four| four == b"arBT").unwrap();
        bytes[birth + 16] ^= 1;
        fs::write(&segment, bytes).unwrap();
        let salvage = remains.recover();
        assert_eq!((salvage.rows, salvage.ring_gone), (if emitted { 10 } else { 0 }, false));
        let (reads, others) = remains.story();
        assert_eq!(
            reads.iter().map(|(_, offset)| *offset).collect::<Vec<_>>(),
            if emitted { (10..20).collect() } else { vec![] }
        );
        let lost = others.iter().filter(|(_, action, ..)| action == "auditring.EventsLost").count();
        assert_eq!((others.last().unwrap().1.as_str(), lost), ("auditring.Recovered", if emitted { 1 } else { 2 }));
        assert!(others[0].0 >= JUMP && others[0].3.as_ref().unwrap().contains("journal_gone"));
    }
}

#[test]
fn a_reader_sees_what_recovery_would_add_and_writes_nothing() {
    let remains = with_ten_journaled_and_ten_in_the_ring();
    let before = remains.photograph();
    let mut seen = Vec::new();
    for batch in Snapshot::open(&remains.root()).unwrap().fresh(&[]).unwrap() {
        for at in &batch.set.rows {
            let view = batch.set.row(at).unwrap();
            seen.push((at.seq, view.code()));
        }
    }
    assert_eq!(remains.photograph(), before);
    assert_eq!(seen.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), (0..22).collect::<Vec<_>>());
    assert_eq!(seen[21].1, code_of("auditring.Recovered"));
    // And once it is recovered, the same.
    remains.recover();
    let rows: usize = Snapshot::open(&remains.root()).unwrap().fresh(&[]).unwrap().iter().map(|batch| batch.rows).sum();
    assert_eq!(rows, 22);
}

#[test]
fn a_copy_of_a_directory_leaves_the_ring_to_the_original() {
    let remains = with_ten_journaled_and_ten_in_the_ring();
    let copy = remains.folder.path().join("copy/journal").join(remains.dir.file_name().unwrap());
    fs::create_dir_all(&copy).unwrap();
    for (path, bytes) in remains.photograph() {
        if path.starts_with(&remains.dir) {
            fs::write(copy.join(path.file_name().unwrap()), bytes).unwrap();
        }
    }
    fs::write(copy.join("lock"), b"").unwrap();
    let copied = Remains { folder: tempfile::tempdir().unwrap(), dir: copy, ring: remains.ring.clone() };
    let error = recover(&mut ProcessDir::adopt(&copied.dir).unwrap(), "", None).unwrap_err();
    assert!(error.to_string().contains("it is a copy of"), "{error}");
    assert!(remains.ring.exists());
    // A directory that was moved is no copy.
    fs::remove_dir_all(&remains.dir).unwrap();
    assert_eq!(copied.recover().rows, 10);
    assert!(!remains.ring.exists());
}

#[test]
fn who_lives_is_left_alone() {
    let rig = rig();
    rig.reads(0..3);
    assert!(ProcessDir::adopt(rig.held.path()).unwrap().is_none());
}

#[test]
fn an_orphan_goes_when_its_sinks_are_past_it_and_its_totals_stay() {
    let remains = with_ten_journaled_and_ten_in_the_ring();
    let mut held = ProcessDir::adopt(&remains.dir).unwrap();
    recover(&mut held, "", None).unwrap();
    let process = fold(&remains.dir).unwrap().head.unwrap().process;
    assert!(!retire(&remains.root(), &process, &mut held).unwrap(), "its sink has not had it");
    let mut follower = Follower::open(&remains.dir, SINK, Declined::default(), Form::Rows, Arc::default()).unwrap();
    while !follower.ended() {
        follower.next(1 << 20, SOON, true).unwrap();
    }
    follower.commit(Vec::new()).unwrap();
    drop(follower);
    assert!(retire(&remains.root(), &process, &mut held).unwrap());
    assert!(!remains.dir.exists());
    let (all, _) = outside(&remains.root()).unwrap();
    assert_eq!((all.len(), all[0].terms["claimed"], all[0].sinks[SINK].totals["delivered"]), (1, 20, 22));
}

#[test]
fn what_is_recovered_is_judged_by_the_policy_that_was_in_force_last() {
    for reads in [0, 3] {
        let mut rig = rig();
        rig.reads(0..3);
        rig.pump();
        let off = r#"{"allow_blind_spots":false,"rules":[{"action":["Read"],"keep":"off"}],"seed":1,"version":2}"#;
        let policies = rig.pump.policies();
        policies.bring(Stated::parse(off.into()).unwrap(), "", &rig.pump.mailbox());
        rig.pump();
        assert_eq!(policies.in_force().bytes, off.as_bytes());
        // In the journal behind the change, and in the ring.
        rig.reads(3..3 + reads);
        rig.pump();
        rig.reads(10..13);
        let remains = rig.die();
        assert_eq!(remains.recover().rows, 3);
        remains.balanced();
        assert_eq!(fold(&remains.dir).unwrap().head.unwrap().policy, off.as_bytes());
        assert_eq!(remains.story().0, [(1, 0), (2, 1), (3, 2)]);
    }
}

#[test]
fn a_directory_that_cannot_be_removed_is_held_on_to_and_one_that_was_half_removed_is_removed() {
    let mut rig = rig();
    rig.reads(0..10);
    rig.pump();
    let remains = rig.die();
    let mut held = ProcessDir::adopt(&remains.dir).unwrap();
    recover(&mut held, "", None).unwrap();
    remains.deliver_all();
    let process = fold(&remains.dir).unwrap().head.unwrap().process;
    let dead = remains.dir.with_file_name(format!(".dead-{}", remains.dir.file_name().unwrap().to_string_lossy()));
    std::fs::create_dir(&dead).unwrap();
    std::fs::write(dead.join("in the way"), b"").unwrap();
    retire(&remains.root(), &process, &mut held).unwrap_err();
    assert!(held.is_some() && remains.dir.is_dir(), "whoever asks again finds it");
    std::fs::remove_dir_all(&dead).unwrap();
    assert!(retire(&remains.root(), &process, &mut held).unwrap());
    assert!(held.is_none() && !remains.dir.exists() && !dead.exists());
    // As when only its name could be changed.
    std::fs::create_dir(&dead).unwrap();
    assert!(retire(&remains.root(), &process, &mut held).unwrap());
    assert!(!dead.exists());
}
