//! Locks that tell a living owner from an orphan, never by a time-out.
//!
//! On Linux an open-file-description lock: the kernel gives it back when the last descriptor of *this* opening is closed, so
//! also when the owner is killed; and a probe can ask without taking. Elsewhere `flock`.
//!
//! A child inherits the descriptor, and with it the lock. So every lock can be [closed in the child](Lock::close_in_child).

use std::fs::File;
#[cfg(target_os = "linux")]
use std::os::fd::{AsFd, IntoRawFd};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::files;

const CLOSED: RawFd = -1;

/// A lock that is held until it is dropped or its process ends.
#[derive(Debug)]
pub struct Lock {
    /// Not an `OwnedFd`: a child after `fork` may neither lock a mutex nor have `&mut`.
    fd: AtomicI32,
    /// Device and inode of the locked file.
    named: [AtomicU64; 2],
    path: PathBuf,
}

impl Lock {
    /// Takes the lock without waiting, and makes its file if `create`. `None`: another holds it, or the file was removed or
    /// replaced while we took it, or is not there and was not to be made.
    ///
    /// # Errors
    /// If the system refuses for any other reason.
    pub fn try_take(path: &Path, create: bool) -> Result<Option<Self>> {
        let file = match files::open_lock(path, create) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let ours = file.metadata().map_err(|e| Error::io("look at", path, e))?;
        let Some(fd) = system::lock(file).map_err(|e| Error::io("lock", path, e.into()))? else { return Ok(None) };
        let named = [AtomicU64::new(ours.dev()), AtomicU64::new(ours.ino())];
        let lock = Self { fd: AtomicI32::new(fd), named, path: path.to_owned() };
        // A holder may have renamed or removed the file between our open and our lock.
        match std::fs::symlink_metadata(path) {
            Ok(there) => Ok(((ours.dev(), ours.ino()) == (there.dev(), there.ino())).then_some(lock)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("look at", path, error)),
        }
    }

    /// Whether somebody holds the lock, this process too. On Linux asks without taking it.
    ///
    /// # Errors
    /// If the system refuses. A file that is not there is held by nobody.
    pub fn is_held(path: &Path) -> Result<bool> {
        // To be read: who may not write may ask.
        let file = match files::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        system::is_locked(file).map_err(|e| Error::io("probe the lock of", path, e.into()))
    }

    /// Holds what the path names, where the file that was locked has been taken away or replaced: makes a new one, if there
    /// is none, and takes it; the old one is let go of. `false`: somebody else holds it.
    ///
    /// # Errors
    /// If the system refuses; the old one is held on then.
    pub fn renew(&self) -> Result<bool> {
        if self.is_named() {
            return Ok(true);
        }
        let Some(new) = Self::try_take(&self.path, true)? else { return Ok(false) };
        for (mine, theirs) in self.named.iter().zip(&new.named) {
            mine.store(theirs.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        // Its drop closes the old descriptor.
        new.fd.store(self.fd.swap(new.fd.load(Ordering::Relaxed), Ordering::Relaxed), Ordering::Relaxed);
        Ok(true)
    }

    /// The same, of a file that lies elsewhere by now.
    pub(crate) fn moved_to(self, path: PathBuf) -> Self {
        let (fd, named) = (AtomicI32::new(self.fd.swap(CLOSED, Ordering::Relaxed)), self.named.each_ref());
        Self { fd, named: named.map(|word| AtomicU64::new(word.load(Ordering::Relaxed))), path }
    }

    /// Whether the path still names the locked file.
    #[must_use]
    pub fn is_named(&self) -> bool {
        let [dev, ino] = &self.named;
        let ours = (dev.load(Ordering::Relaxed), ino.load(Ordering::Relaxed));
        std::fs::symlink_metadata(&self.path).is_ok_and(|there| (there.dev(), there.ino()) == ours)
    }

    /// The lock's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// For the at-fork handler of a child: closes the inherited descriptor, so that the lock does not outlive the parent that
    /// holds it. Takes no lock and allocates nothing; the parent's hold is not touched.
    pub fn close_in_child(&self) {
        let fd = self.fd.swap(CLOSED, Ordering::Relaxed);
        if fd != CLOSED {
            // Whatever close says, the descriptor is gone, and the lock is released with the last one of its description.
            let _ = nix::unistd::close(fd);
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.close_in_child();
    }
}

/// Descriptors of locks that are held for moments, by whichever thread: for a child that was forked meanwhile.
static MOMENTS: [AtomicI32; 32] = [const { AtomicI32::new(CLOSED) }; 32];

/// A lock that is held for moments. It is given back and not only closed, so that no copy of its descriptor holds it on.
#[derive(Debug)]
pub(crate) struct Brief {
    file: File,
    /// Where a child finds the descriptor; none where all places were taken.
    place: Option<&'static AtomicI32>,
}

impl Brief {
    /// Takes it without waiting; `None`: another holds it. Its file is made if it is not there.
    pub(crate) fn try_take(path: &Path) -> Result<Option<Self>> {
        let file = files::open_lock(path, true)?;
        let free = |place: &&AtomicI32| {
            place.compare_exchange(CLOSED, file.as_raw_fd(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        let brief = Self { place: MOMENTS.iter().find(free), file };
        let taken = system::try_lock(&brief.file).map_err(|e| Error::io("lock", path, e.into()))?;
        Ok(taken.then_some(brief))
    }

    /// See [`Lock::close_in_child`]: of all that are held at the moment.
    pub(crate) fn close_all_in_child() {
        for place in &MOMENTS {
            let fd = place.swap(CLOSED, Ordering::Relaxed);
            if fd != CLOSED {
                // Whatever close says, the descriptor is gone; the parent's hold is not touched.
                let _ = nix::unistd::close(fd);
            }
        }
    }
}

impl Drop for Brief {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            place.store(CLOSED, Ordering::Relaxed);
        }
        // Whatever it says, the descriptor is closed next, and there is nothing else to be done. Of one that could not be
        // had nothing is given back.
        let _ = system::unlock(&self.file);
    }
}

#[cfg(target_os = "linux")]
use description as system;
#[cfg(not(target_os = "linux"))]
use whole_file as system;

/// Open-file-description locks.
#[cfg(target_os = "linux")]
mod description {
    use super::{AsFd, File, IntoRawFd, RawFd};
    use nix::errno::Errno;
    use nix::fcntl::{FcntlArg, fcntl};
    use nix::libc;

    /// The whole file. `l_pid` must be 0, and says −1 of a description lock that is in the way.
    fn whole() -> libc::flock {
        libc::flock {
            l_type: libc::F_WRLCK as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: 0,
            l_len: 0,
            l_pid: 0,
        }
    }

    pub(super) fn lock(file: File) -> Result<Option<RawFd>, Errno> {
        Ok(try_lock(&file)?.then(|| file.into_raw_fd()))
    }

    pub(super) fn try_lock(file: &File) -> Result<bool, Errno> {
        match fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&whole())) {
            Ok(_) => Ok(true),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn unlock(file: &File) -> Result<(), Errno> {
        let free = libc::flock { l_type: libc::F_UNLCK as libc::c_short, ..whole() };
        fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&free)).map(drop)
    }

    pub(super) fn is_locked(file: File) -> Result<bool, Errno> {
        let mut lock = whole();
        fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock))?;
        Ok(lock.l_type != libc::F_UNLCK as libc::c_short)
    }
}

/// `flock`, where there is nothing better. A probe takes the lock for a moment, so another's attempt may fail meanwhile.
#[cfg(any(test, not(target_os = "linux")))]
mod whole_file {
    use super::{File, RawFd};
    use nix::errno::Errno;
    use nix::fcntl::{Flock, FlockArg};
    use std::os::fd::AsRawFd;

    pub(super) fn lock(file: File) -> Result<Option<RawFd>, Errno> {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => {
                let fd = lock.as_raw_fd();
                // Its drop would unlock, and in a child that would be the parent's lock. The descriptor is ours now.
                std::mem::forget(lock);
                Ok(Some(fd))
            }
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, error)) => Err(error),
        }
    }

    pub(super) fn try_lock(file: &File) -> Result<bool, Errno> {
        let copy = file.try_clone().map_err(|_| Errno::EMFILE)?;
        // The copy shares what is locked, and closing it unlocks nothing.
        Ok(lock(copy)?.is_some_and(|fd| nix::unistd::close(fd).is_ok()))
    }

    pub(super) fn unlock(file: &File) -> Result<(), Errno> {
        let copy = file.try_clone().map_err(|_| Errno::EMFILE)?;
        // Its drop unlocks what both share.
        Flock::lock(copy, FlockArg::LockExclusiveNonblock).map(drop).map_err(|(_, error)| error)
    }

    pub(super) fn is_locked(file: File) -> Result<bool, Errno> {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(_) => Ok(false),
            Err((_, Errno::EWOULDBLOCK)) => Ok(true),
            Err((_, error)) => Err(error),
        }
    }

    #[cfg(test)]
    mod tests {
        use super::{is_locked, lock, try_lock, unlock};

        /// The fallback of other systems is proven here too.
        #[test]
        fn a_flock_is_seen_by_others_until_its_descriptor_is_closed() {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("lock");
            let open = || crate::files::open_lock(&path, true).unwrap();
            assert!(!is_locked(open()).unwrap());
            let fd = lock(open()).unwrap().expect("nobody holds it");
            assert!(is_locked(open()).unwrap());
            assert_eq!(lock(open()).unwrap(), None);
            nix::unistd::close(fd).unwrap();
            assert!(!is_locked(open()).unwrap());
            let file = open();
            assert!(try_lock(&file).unwrap() && is_locked(open()).unwrap());
            let inherited = file.try_clone().unwrap();
            unlock(&file).unwrap();
            assert!(!is_locked(open()).unwrap(), "also where a child has a copy");
            drop(inherited);
        }
    }
}
