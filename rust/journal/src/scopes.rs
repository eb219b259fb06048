//! By what else the rows of a process are counted, beside action and outcome: the values of a few columns of their contexts.
//!
//! ```text
//! auditring scopes 1 {"labels": [["vc", "virtual_cluster"]], "limit": 100}
//! <CRC of the JSON, 8 hex digits> ["payments"]                             scope 1
//! <CRC of the JSON, 8 hex digits> ["orders"]                               scope 2
//! ```
//! The file `scopes` of a process's directory. A line is written before any batch counts under its number, and never changes;
//! a counter's cell has the number alone. Scope 0 is all that is past the limit, or could not be written here: no event is ever
//! held up for its scope's sake. What must always hold: a number that a batch uses has its line here.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::counters::SCOPES;
use crate::error::{Error, Result};
use crate::files;
use crate::vanish::{What, vanished};

const FILE: &str = "scopes";
const HEAD: &str = "auditring scopes 1 ";
/// Longer than the file gets: some thousand lines of a few capped strings.
const MOST: u64 = 64 << 20;

/// All that has no number of its own.
pub const OTHER: u16 = 0;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    labels: Vec<(String, String)>,
    limit: u16,
}

impl Head {
    fn line(&self, path: &Path) -> Result<String> {
        let json = serde_json::to_string(self)
            .map_err(|error| Error::damaged(path, format!("it cannot be written as JSON: {error}")))?;
        Ok(format!("{HEAD}{json}\n"))
    }
}

/// The line of a scope; none where its values have no JSON.
fn line(values: &[String]) -> Option<String> {
    let json = serde_json::to_string(values).ok()?;
    Some(format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes())))
}

/// The scopes of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scopes {
    /// Each label with the column that it shows, in the order of a scope's values.
    pub labels: Vec<(String, String)>,
    /// The values of each scope, from 1.
    pub values: Vec<Vec<String>>,
}

impl Scopes {
    /// The scopes of a process's directory; none where its rows are not counted by any.
    ///
    /// # Errors
    /// If the file cannot be read, or does not begin as one does. A last line that is not whole is none.
    pub fn load(dir: &Path) -> Result<Option<Self>> {
        Ok(read(dir)?.map(|(_, scopes, _)| scopes))
    }

    /// The values of a scope; none of what is past the limit.
    #[must_use]
    pub fn get(&self, scope: u16) -> Option<&[String]> {
        self.values.get(usize::from(scope).checked_sub(1)?).map(Vec::as_slice)
    }
}

/// Head, scopes, and how long they are.
fn read(dir: &Path) -> Result<Option<(Head, Scopes, u64)>> {
    let path = dir.join(FILE);
    let Some(bytes) = files::read(&path, MOST)? else { return Ok(None) };
    let damaged = || Error::damaged(&path, "it does not begin as it should");
    let mut lines = bytes.split_inclusive(|&byte| byte == b'\n');
    let first = lines.next().and_then(|line| line.strip_suffix(b"\n")?.strip_prefix(HEAD.as_bytes()));
    let head: Head = serde_json::from_slice(first.ok_or_else(damaged)?).map_err(|_| damaged())?;
    let mut scopes = Scopes { labels: head.labels.clone(), values: Vec::new() };
    let mut whole = HEAD.len() + first.map_or(0, <[u8]>::len) + 1;
    for line in lines {
        let Some(values) = parse(line).filter(|values| values.len() == head.labels.len()) else { break };
        scopes.values.push(values);
        whole += line.len();
    }
    Ok(Some((head, scopes, whole as u64)))
}

fn parse(line: &[u8]) -> Option<Vec<String>> {
    let (crc, json) = line.strip_suffix(b"\n")?.split_at_checked(9)?;
    (crc == format!("{:08x} ", crc32fast::hash(json)).as_bytes()).then(|| serde_json::from_slice(json).ok())?
}

/// Numbers scopes, for whoever writes the journal.
#[derive(Debug)]
pub struct ScopeFile {
    path: PathBuf,
    file: Option<File>,
    len: u64,
    head: Head,
    scopes: Scopes,
    numbers: HashMap<Vec<String>, u16>,
}

impl ScopeFile {
    /// Begins a new file. Each label stands beside its column; past `limit` scopes all others are one.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn create(dir: &Path, labels: Vec<(String, String)>, limit: u16) -> Result<Self> {
        let path = dir.join(FILE);
        let head = Head { labels: labels.clone(), limit: limit.min(SCOPES as u16 - 1) };
        let line = head.line(&path)?;
        // Whoever looks meanwhile finds none, or one with its head. What is counted by it is not journaled yet, so its name need
        // not be safe.
        files::place(&path, line.as_bytes())?;
        let file = files::open_lock(&path, false)?;
        let scopes = Scopes { labels, values: Vec::new() };
        Ok(Self { path, file: Some(file), len: line.len() as u64, head, scopes, numbers: HashMap::new() })
    }

    /// Goes on with the file of a process that has died; none where it has none. With `write` new scopes are added to it.
    ///
    /// # Errors
    /// As [`Scopes::load`].
    pub fn resume(dir: &Path, write: bool) -> Result<Option<Self>> {
        let Some((head, scopes, len)) = read(dir)? else { return Ok(None) };
        let path = dir.join(FILE);
        let file = if write { Some(files::open_lock(&path, false)?) } else { None };
        let numbers = scopes.values.iter().cloned().zip(1..).collect();
        Ok(Some(Self { path, file, len, head, scopes, numbers }))
    }

    /// Labels and columns.
    #[must_use]
    pub fn labels(&self) -> &[(String, String)] {
        &self.scopes.labels
    }

    /// All so far.
    #[must_use]
    pub fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// The number of a scope, given out where it is new.
    pub fn number(&mut self, values: Vec<String>) -> u16 {
        if let Some(number) = self.numbers.get(&values) {
            return *number;
        }
        let number = self.scopes.values.len() as u16 + 1;
        if number > self.head.limit || !self.append(&values) {
            return OTHER;
        }
        self.scopes.values.push(values.clone());
        self.numbers.insert(values, number);
        number
    }

    /// Writes a line over whatever half of one was left there.
    fn append(&mut self, values: &[String]) -> bool {
        let (Some(file), Some(line)) = (&self.file, line(values)) else { return false };
        // What the system refuses now it may take another time; nobody reads beyond the last whole line.
        let written = file.write_all_at(line.as_bytes(), self.len).is_ok();
        self.len += if written { line.len() as u64 } else { 0 };
        written
    }

    /// Puts the file back where it was taken away, or its numbers would mean nothing to anybody; what became of it.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn restore(&mut self) -> Result<Option<What>> {
        let Some(file) = &self.file else { return Ok(None) };
        let Some(what) = vanished(file, &self.path)? else { return Ok(None) };
        let mut text = self.head.line(&self.path)?;
        text.extend(self.scopes.values.iter().filter_map(|values| line(values)));
        files::replace(&self.path, text.as_bytes())?;
        self.file = Some(files::open_lock(&self.path, false)?);
        self.len = text.len() as u64;
        Ok(Some(what))
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Vec<(String, String)> {
        vec![("vc".to_owned(), "virtual_cluster".to_owned())]
    }

    fn one(name: &str) -> Vec<String> {
        vec![name.to_owned()]
    }

    #[test]
    fn numbers_are_given_once_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Scopes::load(dir.path()).unwrap(), None);
        let mut file = ScopeFile::create(dir.path(), labels(), 2).unwrap();
        let given: Vec<_> = ["a", "b\n\"", "a", "c", ""].map(|name| file.number(one(name))).into();
        assert_eq!(given, [1, 2, 1, OTHER, OTHER]);
        let read = Scopes::load(dir.path()).unwrap().unwrap();
        assert_eq!(&read, file.scopes());
        assert_eq!((read.get(2).unwrap(), read.get(OTHER), read.get(3)), (&one("b\n\"")[..], None, None));
    }

    #[test]
    fn a_file_that_was_taken_away_is_put_back_with_all_that_stood_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = ScopeFile::create(dir.path(), labels(), 9).unwrap();
        assert_eq!((file.number(one("a")), file.restore().unwrap()), (1, None));
        std::fs::remove_file(file.path()).unwrap();
        assert_eq!((file.number(one("b")), file.restore().unwrap()), (2, Some(What::Deleted)));
        assert_eq!((file.number(one("c")), file.restore().unwrap()), (3, None));
        assert_eq!(Scopes::load(dir.path()).unwrap().unwrap().values, ["a", "b", "c"].map(one));
    }

    #[test]
    fn a_line_that_was_cut_off_is_none_and_is_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = ScopeFile::create(dir.path(), labels(), 9).unwrap();
        assert_eq!((file.number(one("a")), file.number(one("much longer than the next"))), (1, 2));
        let bytes = std::fs::read(file.path()).unwrap();
        std::fs::write(file.path(), &bytes[..bytes.len() - 3]).unwrap();
        let mut resumed = ScopeFile::resume(dir.path(), true).unwrap().unwrap();
        assert_eq!((resumed.number(one("a")), resumed.number(one("b"))), (1, 2));
        assert_eq!(Scopes::load(dir.path()).unwrap().unwrap().values, [one("a"), one("b")]);
        let mut reader = ScopeFile::resume(dir.path(), false).unwrap().unwrap();
        assert_eq!((reader.number(one("b")), reader.number(one("new"))), (2, OTHER));
    }
}
