//! Whole directories of processes, read by all that reads them: followers, tails, snapshots, the balance from outside, and
//! recovery, which takes what is left out of the ring.

use std::fs;
use std::time::Duration;

use auditring_flow::{
    Declined, Error, Filter, Follower, Form, Recovery, Snapshot, Style, Tail, lines, lines_each, outside, recover,
    retire,
};
use auditring_journal::{Followers, ProcessDir, fold, process_text};
use fastrand::Rng;

use super::Seen;
use super::journal::{Harmed, clear, harmed, write};
use super::ring;
use crate::blocks::seal_document;
use crate::corpus::{SINK, World};
use crate::{harm, oracle};

/// More batches, sets or commits than any of these journals can give.
const MOST: usize = 2_000;

/// Puts a harmed copy where the process's directory was. Its size, and whether it is forged.
fn place(rng: &mut Rng, worlds: &[World], at: usize) -> Result<Seen, String> {
    let world = &worlds[at];
    let Harmed { segments, mut forged, spliced } = harmed(rng, world, worlds);
    fs::create_dir_all(&world.dir).map_err(|error| error.to_string())?;
    clear(&world.dir)?;
    let mut files = world.files.clone();
    // Now and then what stands beside the segments, too; mostly so that it can be read.
    if rng.u8(..6) == 0 {
        let at = rng.usize(..files.len());
        let donor = files[rng.usize(..files.len())].1.clone();
        harm::some(rng, &mut files[at].1, &donor);
        seal_document(&mut files[at].1);
        forged = true;
    }
    let size = write(&world.dir, &segments)? + write(&world.dir, &files)?;
    let _gone = fs::remove_dir_all(world.root.join("totals"));
    let Some((path, whole)) = &world.ring else { return Ok(Seen { size, forged, spliced, ..Seen::default() }) };
    // Anything but a directory, and there is none.
    let _gone = fs::remove_file(path);
    let mut bytes = whole.clone();
    match rng.u8(..8) {
        0 => return Ok(Seen { size, forged, spliced, ..Seen::default() }),
        1..4 => {
            let lane_bytes = 1 << 16;
            for (at, patch) in ring::harmed(rng, whole, 1, &ring::records(whole, 1, lane_bytes)) {
                let end = (at + patch.len()).min(bytes.len());
                bytes[at..end].copy_from_slice(&patch[..end - at]);
            }
            // What lies in a ring has no checksum.
            forged = true;
        }
        4 => bytes.truncate(rng.usize(..bytes.len())),
        _ => {}
    }
    fs::write(path, &bytes).map_err(|error| error.to_string())?;
    Ok(Seen { size: size + bytes.len(), forged, spliced, ..Seen::default() })
}

/// A sink's rows, to the end: each batch adds up, and is what was written.
fn drain(rng: &mut Rng, world: &World, form: Form, seen: &mut Seen, salvaged: bool) -> Result<(), String> {
    let Ok(mut follower) = Follower::open(&world.dir, SINK, Declined::default(), form, std::sync::Arc::default())
    else {
        seen.refused = true;
        return Ok(());
    };
    for _ in 0..MOST {
        let Ok(batch) = follower.next(7, Duration::ZERO, true) else {
            seen.refused = true;
            // What a sink does after an error; then it is asked once more.
            let _again = follower.rewind().and_then(|()| follower.next(64, Duration::ZERO, true));
            return Ok(());
        };
        let nothing = batch.is_none();
        if let Some(batch) = batch {
            seen.rows += batch.rows as u64;
            let range = (batch.last_seq.saturating_add(1)).saturating_sub(batch.first_seq);
            let parts = batch.rows as u64 + batch.merged + batch.sampled_out + batch.filtered_out + batch.lost;
            if !world.merges && u64::try_from(range) != Ok(parts) {
                return Err(format!("seq {}…{} are not {parts}: {batch:?}", batch.first_seq, batch.last_seq));
            }
            if !seen.forged {
                oracle::set_of(world, &batch.set, salvaged)?;
            }
            oracle::shown(rng, &batch.set)?;
        }
        if follower.boundary() || (nothing && follower.position() > follower.cursor().seq && follower.at_cut()) {
            if follower.commit(b"state".to_vec()).is_err() {
                seen.refused = true;
                return Ok(());
            }
        } else if nothing {
            return Ok(());
        }
    }
    Err("a follower that never comes to an end".into())
}

fn tail(rng: &mut Rng, world: &World, seen: &mut Seen) -> Result<(), String> {
    let Ok(mut tail) = Tail::open(&world.root, Filter::default(), false) else {
        seen.refused = true;
        return Ok(());
    };
    let mut sets = Vec::new();
    for at in 0.. {
        match tail.fresh() {
            Ok(some) if some.is_empty() => break,
            Ok(some) => sets.extend(some),
            Err(_) => {
                seen.refused = true;
                break;
            }
        }
        if at > MOST {
            return Err("a tail that never comes to an end".into());
        }
    }
    sets.extend(tail.rest());
    let _missed = tail.take_missed();
    for set in &sets {
        seen.rows += set.rows.len() as u64;
        if !seen.forged {
            oracle::set_of(world, set, false)?;
        }
        oracle::shown(rng, set)?;
    }
    let rows = sets.iter().map(|set| set.rows.len()).sum::<usize>() as u64;
    let text = lines(sets.clone(), Style::People { colour: true });
    let (each, unreadable) = lines_each(sets, Style::Json { dialect: auditring_event::json::Dialect::Own });
    if each.len() as u64 + unreadable != rows || text.unreadable != unreadable {
        return Err(format!("{rows} rows are {} lines, and {unreadable} that cannot be read", each.len()));
    }
    if let Ok(mut tail) =
        Tail::open(&world.root, Filter { sessions: vec!["session-1".into()], ..Filter::default() }, false)
    {
        let _last = tail.last(5);
    }
    Ok(())
}

fn snapshot(rng: &mut Rng, world: &World, seen: &mut Seen) -> Result<(), String> {
    let _balance = outside(&world.root);
    let fresh = Snapshot::open(&world.root).and_then(|mut snapshot| {
        let sealed = [(process_text(&world.process), 3, 5)];
        snapshot.fresh(&sealed)
    });
    let Ok(batches) = fresh else {
        seen.refused = true;
        return Ok(());
    };
    for batch in &batches {
        seen.rows += batch.set.rows.len() as u64;
        if !seen.forged {
            // It also shows what recovery would add.
            oracle::set_of(world, &batch.set, true)?;
        }
        oracle::shown(rng, &batch.set)?;
    }
    Ok(())
}

/// A directory that nobody may write to, but for its cursors.
pub(crate) fn follow(rng: &mut Rng, worlds: &[World]) -> Result<Seen, String> {
    let at = rng.usize(..worlds.len());
    let mut seen = place(rng, worlds, at)?;
    let world = &worlds[at];
    match rng.u8(..4) {
        0 => drain(rng, world, Form::Rows, &mut seen, false)?,
        1 => drain(rng, world, Form::Table, &mut seen, false)?,
        2 => tail(rng, world, &mut seen)?,
        _ => snapshot(rng, world, &mut seen)?,
    }
    Ok(seen)
}

/// A process that has died, recovered, and followed to its end.
pub(crate) fn recovered(rng: &mut Rng, worlds: &[World]) -> Result<Seen, String> {
    let at = rng.usize(..worlds.len());
    let mut seen = place(rng, worlds, at)?;
    let world = &worlds[at];
    let held = ProcessDir::adopt(&world.dir);
    let Ok(mut held @ Some(_)) = held else { return Ok(Seen { refused: true, ..seen }) };
    match recover(&mut held, "another", None) {
        Ok(Recovery::Unborn) => return Ok(seen),
        Ok(Recovery::Ended | Recovery::Recovered(_)) => {}
        // It is for a person to look at; the same call said the same again.
        Err(_) => {
            return match recover(&mut held, "another", None) {
                Err(_) => Ok(Seen { refused: true, ..seen }),
                Ok(_) => Err("recovery that fails once and not twice".into()),
            };
        }
    }
    let state = fold(&world.dir).map_err(|error| format!("recovered, and not to be read: {error}"))?;
    if state.ending.is_none() {
        return Err("recovered, and there is no end".into());
    }
    match recover(&mut held, "another", None) {
        Ok(Recovery::Ended) => {}
        other => return Err(format!("recovered twice: {other:?}")),
    }
    if !(seen.forged || seen.spliced) {
        balanced(world)?;
    }
    let form = *harm::pick(rng, &[Form::Rows, Form::Table]);
    drain(rng, world, form, &mut seen, true)?;
    if !seen.refused && Followers::load(&world.dir).is_ok_and(|all| all.entries.len() == 1) {
        let _gone = retire(&world.root, &world.process, &mut held).map_err(|error: Error| error.to_string());
    }
    Ok(seen)
}

/// The equations, from the files alone.
fn balanced(world: &World) -> Result<(), String> {
    let (all, _unreadable) = outside(&world.root).map_err(|error| error.to_string())?;
    let name = process_text(&world.process);
    let one = all.iter().find(|one| one.process == name).ok_or("nobody is there")?;
    let term = |name: &str| one.terms[name];
    let lost: u64 = one.lost.values().sum();
    if term("claimed") != term("accepted") + term("torn") {
        return Err(format!("claims do not add up: {one:?}"));
    }
    if term("accepted") + term("born") != term("journaled") + lost {
        return Err(format!("accepted rows do not add up: {one:?}"));
    }
    Ok(())
}
