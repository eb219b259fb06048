//! Which sinks hold a journal's segments back. A segment is deleted when there is at least one entry and every one is past it.
//!
//! What must always hold: whoever changes the list has read it under the same hold ([`Followers::change`]), for the process
//! and an agent both do; and nothing is deleted on the account of a list while another one is being made, so that a sink is
//! owed what was there when it was entered. The hold is for moments: it is tried, and never waited for without an end.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::cursor::{Cursor, check_name, is_seq};
use crate::document;
use crate::error::{Error, Result};
use crate::files;
use crate::lock::Brief;

const KIND: &str = "followers";
const FILE: &str = "followers";
/// No sink can be called so.
const LOCK: &str = ".followers.lock";
/// How long a change waits for another one.
const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(1);

/// A sink that is owed the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follower {
    /// The sink's name.
    pub name: String,
    /// The first seq that it is owed.
    pub since_seq: i64,
    /// Its own policy; opaque here, empty if it has none.
    #[serde(with = "document::hex")]
    pub policy: Vec<u8>,
    /// The seq from which that policy holds.
    pub policy_since: i64,
    /// At the journal's budget the pump stops for it, instead of leaving rows out.
    pub required: bool,
    /// The process leaves it to an agent. Who drives it is told by its lock; this says whose turn it is while it is free.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_agent: bool,
}

/// The list of followers stays as it is for as long as this is held.
#[derive(Debug)]
pub struct Hold(#[allow(dead_code, reason = "held")] Brief);

impl Follower {
    /// The next seq that it lacks.
    fn seq(&self, dir: &Path) -> Result<i64> {
        Ok(Cursor::load(dir, &self.name)?.map_or(self.since_seq, |cursor| cursor.seq.max(self.since_seq)))
    }
}

/// How far a sink is, as whoever makes room in the journal sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The sink's name.
    pub name: String,
    /// The next seq that it lacks.
    pub seq: i64,
    /// See [`Follower::required`].
    pub required: bool,
}

/// The `followers` file of a process's directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Followers {
    /// One per sink.
    pub entries: Vec<Follower>,
}

impl Followers {
    /// Reads the file; none is an empty list.
    ///
    /// # Errors
    /// If it cannot be read or is damaged.
    pub fn load(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        let followers: Self = document::load(&path, KIND)?.unwrap_or_default();
        for entry in &followers.entries {
            check_name(&entry.name)?;
            if !is_seq(entry.since_seq) || !is_seq(entry.policy_since) {
                return Err(Error::damaged(&path, format!("{:?} begins at what is no seq", entry.name)));
            }
        }
        Ok(followers)
    }

    /// Replaces the file, durably, unseen by anybody else: of a process that is being born, or under a [`Hold`].
    ///
    /// # Errors
    /// If a name cannot be a file name or the system refuses; the old list is in force then.
    pub fn store(&self, dir: &Path) -> Result<()> {
        self.entries.iter().try_for_each(|entry| check_name(&entry.name))?;
        document::store(&dir.join(FILE), KIND, self)
    }

    /// Holds the list as it is; `None`: somebody is changing it, or deletes by it.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn hold(dir: &Path) -> Result<Option<Hold>> {
        Ok(Brief::try_take(&dir.join(LOCK))?.map(Hold))
    }

    /// In a forked child: closes the inherited descriptors of all holds, which are the parent's.
    pub fn close_holds_in_child() {
        Brief::close_all_in_child();
    }

    /// Changes the list as it is by then; where `change` says that there is nothing to change nothing is written.
    ///
    /// # Errors
    /// If it is held for too long, cannot be read or written, or says what cannot be: the old list is in force then.
    pub fn change<T>(dir: &Path, change: impl FnOnce(&mut Self) -> (bool, T)) -> Result<T> {
        Self::held(dir, |_| Ok(()), change)
    }

    /// The same of a list that is there. Every process is born with one, so one that is not has been taken away: whoever made
    /// another would let go of all who stand in it, and its process puts it back.
    ///
    /// # Errors
    /// As [`Followers::change`], and where it is not there.
    pub fn amend<T>(dir: &Path, change: impl FnOnce(&mut Self) -> (bool, T)) -> Result<T> {
        let there = |path: &Path| match files::look(path)? {
            Some(_) => Ok(()),
            None => Err(Error::io("change", path, std::io::ErrorKind::NotFound.into())),
        };
        Self::held(dir, there, change)
    }

    fn held<T>(
        dir: &Path,
        check: impl FnOnce(&Path) -> Result<()>,
        change: impl FnOnce(&mut Self) -> (bool, T),
    ) -> Result<T> {
        let until = Instant::now() + PATIENCE;
        let _hold = loop {
            if let Some(hold) = Self::hold(dir)? {
                break hold;
            }
            if Instant::now() >= until {
                return Err(Error::io("lock", &dir.join(LOCK), std::io::ErrorKind::ResourceBusy.into()));
            }
            sleep(POLL);
        };
        check(&dir.join(FILE))?;
        let mut followers = Self::load(dir)?;
        let (changed, answer) = change(&mut followers);
        if changed {
            followers.store(dir)?;
        }
        Ok(answer)
    }

    /// Whether a directory has the file, whatever is in it.
    #[must_use]
    pub fn is_there(dir: &Path) -> bool {
        dir.join(FILE).exists()
    }

    /// The entry of a sink.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Follower> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// Takes an entry out; whether it was there.
    pub fn forget(&mut self, name: &str) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.name != name);
        self.entries.len() != before
    }

    /// The seq that every follower is past: what [`delete_passed`](crate::delete_passed) may go up to. `None` if none is
    /// listed: then nothing may be deleted on this ground.
    ///
    /// # Errors
    /// If a cursor cannot be read or is damaged.
    pub fn passed(&self, dir: &Path) -> Result<Option<i64>> {
        let mut least = None;
        for entry in &self.entries {
            let seq = entry.seq(dir)?;
            least = Some(least.map_or(seq, |least: i64| least.min(seq)));
        }
        Ok(least)
    }

    /// How far each sink is. A cursor that cannot be read holds all that its sink is owed; that of a required one is an error.
    ///
    /// # Errors
    /// If the cursor of a required sink cannot be read or is damaged.
    pub fn marks(&self, dir: &Path) -> Result<Vec<Mark>> {
        let mark = |entry: &Follower| {
            let seq = match entry.seq(dir) {
                Err(_) if !entry.required => entry.since_seq,
                seq => seq?,
            };
            Ok(Mark { name: entry.name.clone(), seq, required: entry.required })
        };
        self.entries.iter().map(mark).collect()
    }

    /// Those that are not past a seq, by name.
    ///
    /// # Errors
    /// If a cursor cannot be read or is damaged.
    pub fn behind(&self, dir: &Path, seq: i64) -> Result<Vec<String>> {
        let mut behind = Vec::new();
        for entry in &self.entries {
            if entry.seq(dir)? < seq {
                behind.push(entry.name.clone());
            }
        }
        Ok(behind)
    }
}
