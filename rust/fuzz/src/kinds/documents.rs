//! Small files that are replaced as a whole: cursors, followers, owners, totals.

use std::fs;
use std::path::{Path, PathBuf};

use auditring_journal::{Cursor, Followers, Owner, Totals};
use fastrand::Rng;

use super::Seen;
use crate::blocks::seal_document;
use crate::corpus::{SINK, World};
use crate::{Failure, harm};

pub(crate) struct Stock {
    /// What is a process's directory to whoever reads it.
    root: PathBuf,
    dir: PathBuf,
    totals: PathBuf,
    documents: [Vec<Vec<u8>>; 4],
}

impl Stock {
    pub(crate) fn new(worlds: &[World], folder: &Path) -> Result<Self, Failure> {
        let root = folder.join("documents");
        let process = "00112233-4455-6677-8899-aabbccddeeff";
        let dir = root.join("journal").join(process);
        fs::create_dir_all(&dir)?;
        fs::create_dir_all(root.join("totals"))?;
        let totals_of = |name: &str, count: u64| (name.to_owned(), count);
        let cursor = Cursor {
            seq: 4711,
            state: br#"{"file":"x.jsonl","offset":17}"#.to_vec(),
            totals: [totals_of("delivered", 12), totals_of("merged", 3)].into(),
        };
        cursor.store(&dir, SINK)?;
        let totals = Totals {
            instance: "proxy-1".into(),
            host: "host-1".into(),
            next_seq: 99,
            cells: (1..9).map(|cell| (cell, u64::from(cell) * 7)).collect(),
            sinks: [(SINK.to_owned(), cursor.totals.clone())].into(),
            declared: [(4096, "com.example.Declared".to_owned())].into(),
            scopes: None,
        };
        let id = 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff_u128.to_be_bytes();
        totals.store(&root, &id)?;
        let path = root.join("totals").join(process);
        let of = |name: &str| -> Vec<Vec<u8>> {
            let files = worlds.iter().flat_map(|world| &world.files);
            files.filter(|(of, _)| of == name).map(|(_, bytes)| bytes.clone()).collect()
        };
        let documents = [
            vec![fs::read(dir.join(format!("{SINK}.cursor")))?],
            of("followers"),
            // Its text has no checksum, and everything in it is the same length in every run.
            vec![serde_json::to_vec_pretty(&Owner {
                process: process.into(),
                redact: "[]".into(),
                ..Owner::default()
            })?],
            vec![fs::read(&path)?],
        ];
        Ok(Self { root, dir, totals: path, documents })
    }

    pub(crate) fn one(&self, rng: &mut Rng) -> Result<Seen, String> {
        let kind = rng.usize(..4);
        let all = &self.documents[kind];
        let mut bytes = all[rng.usize(..all.len())].clone();
        let donors = &self.documents[rng.usize(..4)];
        let donor = harm::pick(rng, donors);
        harm::some(rng, &mut bytes, donor);
        let forged = rng.bool();
        if forged {
            seal_document(&mut bytes);
        }
        let path = match kind {
            0 => self.dir.join(format!("{SINK}.cursor")),
            1 => self.dir.join("followers"),
            2 => self.dir.join("owner"),
            _ => self.totals.clone(),
        };
        let same = all.contains(&bytes);
        fs::write(&path, &bytes).map_err(|error| error.to_string())?;
        let refused = match kind {
            0 => Cursor::load(&self.dir, SINK).is_err(),
            1 => {
                let followers = Followers::load(&self.dir);
                if let Ok(followers) = &followers {
                    // Whatever they are called: no name may lead anywhere else.
                    let _passed = followers.passed(&self.dir);
                    let _behind = followers.behind(&self.dir, 5);
                }
                followers.is_err()
            }
            2 => Owner::load(&self.dir).map(|owner| owner.is_copied_to(&self.dir)).is_err(),
            _ => Totals::load_all(&self.root).is_err(),
        };
        if !(forged || refused || same || kind == 2) {
            return Err(format!("taken for whole: {}", String::from_utf8_lossy(&bytes)));
        }
        Ok(Seen { size: bytes.len(), forged: forged || kind == 2, refused, ..Seen::default() })
    }
}
