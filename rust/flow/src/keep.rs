//! What of a living process's journal is taken away, and puts it back: the directory, its small files, its segments.
//!
//! What must always hold: every segment that a follower still lacks rows of is held open here, so that its rows can be
//! written again under its name whoever takes that away; nothing is ever appended to one that was put back, for readers
//! may have the old one open; and what every follower has passed, or the budget has let go of, stays gone.

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use auditring_journal::{
    Cursor, Follower, Followers, Owner, ProcessDir, SegmentName, SyncHandle, What, descriptors, vanished,
};

use crate::Error;
use crate::progress::Progress;

/// Segments that are held open at most, and as a part of the descriptors that the process may have: each takes one, and
/// the host needs them more.
const MOST: usize = 1024;
const SHARE: usize = 8;

/// Something that was taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vanished {
    /// Its name.
    pub path: PathBuf,
    /// `journal` (the directory, or a small file in it) or `segment`.
    pub kind: &'static str,
    /// What became of it.
    pub what: What,
    /// It is there again.
    pub restored: bool,
}

/// What is held of a journal.
#[derive(Debug)]
pub(crate) struct Keep {
    dir: PathBuf,
    handle: Option<File>,
    owner: Owner,
    followers: Followers,
    /// They are others since that was asked.
    changed: bool,
    /// In their order; the last is being written.
    segments: Vec<SyncHandle>,
    /// Told of, and not there again.
    told: HashSet<PathBuf>,
}

impl Keep {
    pub(crate) fn new(dir: &Path) -> Result<Self, Error> {
        Ok(Self {
            dir: dir.to_owned(),
            handle: File::open(dir).ok(),
            owner: Owner::load(dir)?,
            followers: Followers::load(dir)?,
            changed: false,
            segments: Vec::new(),
            told: HashSet::new(),
        })
    }

    /// Who is owed the journal, as was known last.
    pub(crate) fn followers(&self) -> Followers {
        self.followers.clone()
    }

    /// The same, if they are others than when that was asked last.
    pub(crate) fn changed(&mut self) -> Option<Followers> {
        std::mem::take(&mut self.changed).then(|| self.followers.clone())
    }

    /// A segment begins.
    pub(crate) fn begin(&mut self, segment: SyncHandle) {
        let most = (descriptors() / SHARE).clamp(1, MOST);
        // The limit may have been lowered since.
        self.segments.drain(..(self.segments.len() + 1).saturating_sub(most));
        self.segments.push(segment);
    }

    /// A segment that was never of use is removed.
    pub(crate) fn forget(&mut self, path: &Path) {
        self.segments.retain(|segment| segment.path() != path);
    }

    /// Looks at everything; puts back what is not there. `let_go`: rows before this seq need nobody's keeping. What could
    /// not be put back is tried again at the next call, and told of once.
    pub(crate) fn look(
        &mut self,
        held: &ProcessDir,
        progress: &Progress,
        let_go: i64,
    ) -> (Vec<Vanished>, Result<(), Error>) {
        let mut found = Vec::new();
        let result = self.directory(held, progress, &mut found).and_then(|()| self.files(progress, let_go, &mut found));
        found.retain(|one| {
            if one.restored {
                self.told.remove(&one.path);
                true
            } else {
                self.told.insert(one.path.clone())
            }
        });
        (found, result)
    }

    fn directory(&mut self, held: &ProcessDir, progress: &Progress, found: &mut Vec<Vanished>) -> Result<(), Error> {
        let dir = self.dir.clone();
        let what = self.handle.as_ref().map_or(Ok(None), |handle| vanished(handle, &dir))?;
        if let Some(what) = what {
            found.push(Vanished { path: dir.clone(), kind: "journal", what, restored: false });
        } else {
            match Followers::load(&dir) {
                Ok(followers) if Followers::is_there(&dir) => {
                    self.changed |= self.followers != followers;
                    self.followers = followers;
                }
                // Nobody could commit, nor anything be deleted, on its account.
                Err(auditring_journal::Error::Damaged { path, .. }) => {
                    found.push(Vanished { path, kind: "journal", what: What::Replaced, restored: false });
                    self.followers.store(&dir)?;
                    for one in found.iter_mut() {
                        one.restored = true;
                    }
                }
                // One that is not there is put back below; one that cannot be read now can be later.
                _ => {}
            }
        }
        let mut missing: Vec<String> = held.restore(&self.owner)?.into_iter().map(str::to_owned).collect();
        if !Followers::is_there(&dir) {
            let ours = self.followers.clone();
            // Whom an agent has entered meanwhile stays entered.
            let others = |now: &mut Followers| {
                let new = |entry: &&Follower| now.get(&entry.name).is_none();
                let missing: Vec<Follower> = ours.entries.iter().filter(new).cloned().collect();
                now.entries.extend(missing);
                (true, ())
            };
            Followers::change(&dir, others)?;
            missing.push("followers".to_owned());
        }
        missing.extend(progress.restore(&dir)?);
        if what.is_some() || self.handle.is_none() {
            self.handle = File::open(&dir).ok();
            for one in found.iter_mut() {
                one.restored = true;
            }
            return Ok(());
        }
        let file =
            |name: String| Vanished { path: dir.join(name), kind: "journal", what: What::Deleted, restored: true };
        found.extend(missing.into_iter().map(file));
        Ok(())
    }

    fn files(&mut self, progress: &Progress, let_go: i64, found: &mut Vec<Vanished>) -> Result<(), Error> {
        // The pump waits for no disk that a follower waits for, unless something is missing.
        self.pass(progress, let_go, false)?;
        while let Some((at, what)) = self.missing()? {
            // A follower may have passed it, and deleted it, since.
            let before = self.segments.len();
            self.pass(progress, let_go, true)?;
            let Some(at) = at.checked_sub(before - self.segments.len()) else { continue };
            let segment = &self.segments[at];
            let path = segment.path().to_owned();
            found.push(Vanished { path, kind: "segment", what, restored: false });
            segment.restore()?;
            if let Some(last) = found.last_mut() {
                last.restored = true;
            }
        }
        Ok(())
    }

    /// The first segment whose name does not mean it any more.
    fn missing(&self) -> Result<Option<(usize, What)>, Error> {
        for (at, segment) in self.segments.iter().enumerate() {
            if let Some(what) = segment.vanished()? {
                return Ok(Some((at, what)));
            }
        }
        Ok(None)
    }

    /// Lets go of segments that nobody lacks rows of: they may be deleted.
    fn pass(&mut self, progress: &Progress, let_go: i64, wait: bool) -> Result<(), Error> {
        let mut passed = None;
        for entry in &self.followers.entries {
            let stored = || Ok::<_, Error>(Cursor::load(&self.dir, &entry.name)?.map_or(0, |cursor| cursor.seq));
            let seq = progress.passed(&entry.name, wait).map_or_else(stored, Ok)?.max(entry.since_seq);
            passed = Some(passed.map_or(seq, |least: i64| least.min(seq)));
        }
        let over = passed.unwrap_or(0).max(let_go);
        // A segment ends where its successor begins.
        let gone = self.segments.windows(2).take_while(|pair| first_seq(&pair[1]) <= over).count();
        self.segments.drain(..gone);
        Ok(())
    }
}

fn first_seq(segment: &SyncHandle) -> i64 {
    let name = segment.path().file_name().and_then(|name| SegmentName::parse(&name.to_string_lossy()));
    name.map_or(i64::MAX, |name| name.first_seq)
}
