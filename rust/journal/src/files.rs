//! Files and directories: how they are made, replaced and read. Nobody else in this crate creates or renames one.
//!
//! - A new file is 0600 and a new directory 0700, whatever the umask.
//! - A small file is replaced as a whole: written beside its place, synced, renamed, and the directory synced.
//! - No symlink is followed at the last step of a path.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::libc::O_NOFOLLOW;

use crate::error::{Error, Result};

/// Makes a directory. It must not be there.
pub(crate) fn create_dir(path: &Path) -> Result<()> {
    DirBuilder::new()
        .mode(0o700)
        .create(path)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o700)))
        .map_err(|e| Error::io("create", path, e))
}

/// Makes a directory if it is not there, and its name durable.
pub(crate) fn ensure_dir(path: &Path) -> Result<()> {
    match create_dir(path) {
        Ok(()) => path.parent().map_or(Ok(()), sync_dir).inspect_err(|_| {
            // So that its name is made anew: a second sync that is believed would prove nothing.
            let _ = fs::remove_dir(path);
        }),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes a file for writing, and for reading what was written. It must not be there.
pub(crate) fn create_new(path: &Path) -> Result<File> {
    open_private(OpenOptions::new().read(true).write(true).create_new(true), path)
}

/// Opens a file for locking, and makes it if wanted.
pub(crate) fn open_lock(path: &Path, create: bool) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(create);
    if create {
        open_private(&mut options, path)
    } else {
        options.custom_flags(O_NOFOLLOW).open(path).map_err(|e| Error::io("open", path, e))
    }
}

fn open_private(options: &mut OpenOptions, path: &Path) -> Result<File> {
    let file = options.mode(0o600).custom_flags(O_NOFOLLOW).open(path).map_err(|e| Error::io("create", path, e))?;
    file.set_permissions(Permissions::from_mode(0o600)).map_err(|e| Error::io("set the mode of", path, e))?;
    Ok(file)
}

/// Opens a file for reading.
pub(crate) fn open(path: &Path) -> Result<File> {
    OpenOptions::new().read(true).custom_flags(O_NOFOLLOW).open(path).map_err(|e| Error::io("open", path, e))
}

/// Replaces the file, or makes it: after this returns, it is the new one, also after a power cut. The name beside it is
/// always the same, so that what a killed process left there is overwritten; one writer at a time is the caller's promise.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    place(path, bytes)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// As [`replace`], but for the name: everybody sees the new file after this returns, and a power cut may bring the old one back.
pub(crate) fn place(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = beside(path);
    let mut file = open_private(OpenOptions::new().write(true).create(true).truncate(true), &temporary)?;
    file.write_all(bytes).map_err(|e| Error::io("write", &temporary, e))?;
    file.sync_all().map_err(|e| Error::io("sync", &temporary, e))?;
    fs::rename(&temporary, path).map_err(|e| Error::io("replace", path, e))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".tmp");
    path.with_file_name(name)
}

/// Makes names in a directory durable.
pub(crate) fn sync_dir(path: &Path) -> Result<()> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(|e| Error::io("sync", path, e))
}

/// A whole small file, or `None` if there is none. Longer than `most` is damage.
pub(crate) fn read(path: &Path, most: u64) -> Result<Option<Vec<u8>>> {
    let file = match open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(|e| Error::io("read", path, e))?;
    if bytes.len() as u64 > most {
        return Err(Error::damaged(path, format!("longer than {most} bytes")));
    }
    Ok(Some(bytes))
}

/// The names in a directory that are UTF-8; the journal makes no others. None if it is not there.
pub(crate) fn names(path: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("list", path, error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| Error::io("list", path, e))?;
        names.extend(entry.file_name().into_string().ok());
    }
    Ok(names)
}

/// Deletes a file; one that has gone is fine.
pub(crate) fn remove(path: &Path) -> Result<()> {
    absent_is_fine(fs::remove_file(path)).map_err(|e| Error::io("delete", path, e))
}

/// Deletes a directory and all in it; one that has gone, or goes meanwhile, is fine.
pub(crate) fn remove_all(path: &Path) -> Result<()> {
    absent_is_fine(fs::remove_dir_all(path)).map_err(|e| Error::io("delete", path, e))
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
