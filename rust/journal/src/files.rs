//! Files and directories: how they are made, replaced and read. Nobody else in this crate creates or renames one.
//!
//! - A new file is 0600 and a new directory 0700, whatever the umask.
//! - A small file is replaced as a whole: written beside its place, synced, renamed, and the directory synced.
//! - No symlink is followed at the last step of a path.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::libc::{ELOOP, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK};

use crate::error::{Error, Result};

/// Makes a directory. It must not be there.
pub(crate) fn create_dir(path: &Path) -> Result<()> {
    DirBuilder::new()
        .mode(0o700)
        .create(path)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o700)))
        .map_err(|e| Error::io("create", path, e))
}

/// Makes a directory if it is not there, and its name durable. One that is there has to be ours.
pub(crate) fn ensure_dir(path: &Path) -> Result<()> {
    match create_dir(path) {
        Ok(()) => path.parent().map_or(Ok(()), sync_dir).inspect_err(|_| {
            // So that its name is made anew: a second sync that is believed would prove nothing.
            let _ = fs::remove_dir(path);
        }),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => own_dir(path).map(drop),
        Err(error) => Err(error),
    }
}

/// Whether there is a directory, and not something that only looks like one. A link is not followed: whoever can put one
/// there could lead everything anywhere.
pub(crate) fn real_dir(path: &Path) -> Result<bool> {
    Ok(look(path)?.is_some_and(|meta| meta.is_dir()))
}

/// A directory that is there, and is a real one, of our user.
pub(crate) fn own_dir(path: &Path) -> Result<Metadata> {
    let Some(meta) = look(path)? else { return Err(Error::io("open", path, io::ErrorKind::NotFound.into())) };
    match strange(&meta, true) {
        Some(what) => Err(Error::foreign(path, what)),
        None => Ok(meta),
    }
}

/// What is wrong with what should be a directory of our user, or a file.
pub(crate) fn strange(meta: &Metadata, dir: bool) -> Option<String> {
    let us = nix::unistd::geteuid().as_raw();
    if meta.is_dir() != dir || meta.is_symlink() {
        let wanted = if dir { "directory" } else { "file" };
        Some(format!("it is {}, and no {wanted}", what_is(meta)))
    } else if meta.uid() == us {
        None
    } else {
        Some(format!("it belongs to user {}, and this process runs as {us}", meta.uid()))
    }
}

fn what_is(meta: &Metadata) -> &'static str {
    let kind = meta.file_type();
    match () {
        () if kind.is_symlink() => "a symbolic link",
        () if kind.is_dir() => "a directory",
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () if kind.is_file() => "a file",
        () => "a device",
    }
}

/// What stands at a path, if anything; a link is not followed.
pub(crate) fn look(path: &Path) -> Result<Option<Metadata>> {
    match path.symlink_metadata() {
        Ok(meta) => Ok(Some(meta)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("look at", path, error)),
    }
}

/// Makes a file for writing, and for reading what was written. It must not be there.
pub(crate) fn create_new(path: &Path) -> Result<File> {
    new(OpenOptions::new().read(true).write(true), path)
}

/// Makes a file that must not be there; whatever the umask, it is its owner's alone.
fn new(options: &mut OpenOptions, path: &Path) -> Result<File> {
    let options = options.create_new(true).mode(0o600).custom_flags(O_NOFOLLOW);
    let file = options.open(path).map_err(|e| Error::io("create", path, e))?;
    file.set_permissions(Permissions::from_mode(0o600)).map_err(|e| Error::io("set the mode of", path, e))?;
    Ok(file)
}

/// Opens a file for locking, and makes it if wanted.
pub(crate) fn open_lock(path: &Path, create: bool) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    if create {
        match new(&mut options, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made,
        }
    }
    plain(OpenOptions::new().read(true).write(true), path)
}

/// Opens a file for reading.
pub(crate) fn open(path: &Path) -> Result<File> {
    plain(OpenOptions::new().read(true), path)
}

/// Opens what is there if it is a plain file. Never waits, as a pipe without another end would have one do.
fn plain(options: &mut OpenOptions, path: &Path) -> Result<File> {
    let file = options.custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path).map_err(|error| refused(path, error))?;
    let meta = file.metadata().map_err(|e| Error::io("look at", path, e))?;
    if meta.is_file() { Ok(file) } else { Err(Error::foreign(path, format!("it is {}, and no file", what_is(&meta)))) }
}

/// Why a path could not be opened: where that is for what stands there, in plain words.
fn refused(path: &Path, error: io::Error) -> Error {
    let known = match path.symlink_metadata() {
        // A link; or, to be written to, a pipe without a reader, a socket, a directory.
        Ok(meta) if error.raw_os_error() == Some(ELOOP) || !(meta.is_file() || meta.is_symlink()) => {
            Some(what_is(&meta))
        }
        _ => None,
    };
    known.map_or_else(
        || Error::io("open", path, error),
        |what| Error::foreign(path, format!("it is {what}, and no file")),
    )
}

/// Opens a directory, to ask of it whether it has changed.
pub(crate) fn open_dir(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(O_DIRECTORY | O_NONBLOCK);
    options.open(path).map_err(|e| Error::io("open", path, e))
}

/// Replaces the file, or makes it: after this returns, it is the new one, also after a power cut. The name beside it is
/// always the same, so that what a killed process left there is not left for ever; one writer at a time is the caller's promise.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    place(path, bytes)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// As [`replace`], but for the name: everybody sees the new file after this returns, and a power cut may bring the old one back.
pub(crate) fn place(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = beside(path);
    let mut file = match create_new(&temporary) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // Its name goes, and with it nothing that another name leads to.
            remove(&temporary)?;
            create_new(&temporary)?
        }
        made => made?,
    };
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
    open_dir(path)?.sync_all().map_err(|e| Error::io("sync", path, e))
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
