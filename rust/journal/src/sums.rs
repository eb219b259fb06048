//! What the totals of many processes add up to: `.sums` beside them, so that whoever sums a directory with the totals of
//! hundreds of thousands of processes reads one file and what has come since.
//!
//! It names every process that is in it, so none is counted twice, and deleting it costs time alone. What the samples are
//! called is the summing room's business. What must always hold: the processes and the sums are replaced in one step; totals
//! that were deleted since stay counted.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::document;
use crate::error::Result;
use crate::files;
use crate::lock::Lock;
use crate::process_dir::process_of;

const KIND: &str = "sums";
const DIR: &str = "totals";
const FILE: &str = ".sums";
const LOCK: &str = ".sums.lock";

/// What a counter is called: its name, and its labels with their values, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sample {
    /// The counter.
    pub name: String,
    /// Of what.
    pub labels: Vec<(String, String)>,
}

/// The sums of some processes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Those that are in it.
    pub processes: HashSet<[u8; 16]>,
    /// By counter.
    pub samples: BTreeMap<Sample, u64>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    /// All UUIDs, one behind the other.
    #[serde(with = "document::hex")]
    processes: Vec<u8>,
    samples: Vec<(Sample, u64)>,
}

impl Sums {
    /// What was stored last; nothing where nothing was.
    ///
    /// # Errors
    /// If the file cannot be read or is damaged; it is made anew from the totals then.
    pub fn load(root: &Path) -> Result<Self> {
        let stored: Option<Stored> = document::load(&root.join(DIR).join(FILE), KIND)?;
        let Some(stored) = stored else { return Ok(Self::default()) };
        let processes = stored.processes.chunks_exact(16).filter_map(|uuid| uuid.try_into().ok());
        Ok(Self { processes: processes.collect(), samples: stored.samples.into_iter().collect() })
    }

    /// Replaces it, unless somebody else is about to; whether it did.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn store(&self, root: &Path) -> Result<bool> {
        let dir = root.join(DIR);
        files::own_dir(&dir)?;
        let Some(_lock) = Lock::try_take(&dir.join(LOCK), true)? else { return Ok(false) };
        let mut processes: Vec<_> = self.processes.iter().copied().collect();
        processes.sort_unstable();
        let samples = self.samples.iter().map(|(sample, value)| (sample.clone(), *value)).collect();
        document::store(&dir.join(FILE), KIND, &Stored { processes: processes.concat(), samples })?;
        Ok(true)
    }

    /// The processes that have totals and are not in here, in no order.
    ///
    /// # Errors
    /// If the folder cannot be listed. One that is not there has none.
    pub fn missing(&self, root: &Path) -> Result<Vec<[u8; 16]>> {
        let dir = root.join(DIR);
        if !files::real_dir(&dir)? {
            return Ok(Vec::new());
        }
        let found = files::names(&dir)?.into_iter().filter_map(|name| process_of(&name));
        Ok(found.filter(|process| !self.processes.contains(process)).collect())
    }

    /// When the folder of the totals was changed last, in nanoseconds since the epoch; none where there is none.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn changed_ns(root: &Path) -> Result<Option<i128>> {
        use std::os::unix::fs::MetadataExt;
        let meta = files::look(&root.join(DIR))?;
        Ok(meta.map(|meta| i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_back_and_names_what_is_not_in_it() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Sums::load(root.path()).unwrap(), Sums::default());
        assert_eq!(
            (Sums::changed_ns(root.path()).unwrap(), Sums::default().missing(root.path()).unwrap()),
            (None, vec![])
        );
        for process in [[1; 16], [2; 16]] {
            crate::Totals::default().store(root.path(), &process).unwrap();
        }
        let sample = Sample { name: "lost".to_owned(), labels: vec![("cause".to_owned(), "budget".to_owned())] };
        let sums = Sums { processes: [[1; 16]].into(), samples: [(sample, 7)].into() };
        assert!(sums.store(root.path()).unwrap());
        assert_eq!(Sums::load(root.path()).unwrap(), sums);
        assert_eq!(sums.missing(root.path()).unwrap(), [[2; 16]]);
    }
}
