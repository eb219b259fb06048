//! The ring's file and its mapping: made whole or not at all, taken down when dropped.
//!
//! What must always hold:
//! - The file is allocated in full before it is mapped: a full file system is an error here and never a `SIGBUS` later.
//! - It is made exclusively, follows no symbolic link, and is ours alone (0600) whatever the umask.
//! - Each lane is followed in memory by its own first bytes once more (see `layout`).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::AtomicU64;

use crate::error::RingError;
use crate::layout::{ALIGN, Geometry};

/// One stretch of memory: what comes before the lanes, then each lane and its mirror.
pub(crate) struct Map {
    start: *mut u8,
    bytes: usize,
    data: usize,
    stride: usize,
}

// SAFETY: it is memory; who may touch which part of it is the ring's to say.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

fn failed(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> RingError {
    move |source| RingError::Io { path: path.to_owned(), what, source }
}

/// Makes the file, zero and at its full length, or leaves none.
pub(crate) fn create(path: &Path, bytes: usize) -> Result<File, RingError> {
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path)
        .map_err(failed(path, "create"))?;
    // A umask takes bits away from the mode above, the owner's too.
    let whole = file
        .set_permissions(std::fs::Permissions::from_mode(0o600))
        .map_err(failed(path, "set the mode of"))
        .and_then(|()| allocate(&file, bytes).map_err(failed(path, "allocate")));
    if whole.is_err() {
        discard(path);
    }
    whole.map(|()| file)
}

/// Removes what could not be finished. What the caller is told is why that was so, not whether its remains could be
/// removed.
pub(crate) fn discard(path: &Path) {
    drop(std::fs::remove_file(path));
}

/// The user whose files are trusted.
#[must_use]
pub fn own_uid() -> u32 {
    // SAFETY: has no preconditions.
    unsafe { libc::geteuid() }
}

/// What a mapping of a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// What is written is in the file.
    Shared,
    /// The file may only be read, and whatever were written would be our own.
    Private,
}

/// Opens a file that must be a plain one and our own user's.
pub(crate) fn open(path: &Path, access: Access) -> Result<(File, u64), RingError> {
    let file = File::options()
        .read(true)
        .write(access == Access::Shared)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK)
        .open(path)
        .map_err(failed(path, "open"))?;
    let meta = file.metadata().map_err(failed(path, "look at"))?;
    let invalid = |reason| Err(RingError::Invalid { path: path.to_owned(), reason });
    if !meta.is_file() {
        return invalid("it is not a plain file");
    }
    if meta.uid() != own_uid() {
        return invalid("it belongs to somebody else");
    }
    Ok((file, meta.len()))
}

#[cfg(target_os = "linux")]
fn allocate(file: &File, bytes: usize) -> io::Result<()> {
    loop {
        // SAFETY: a descriptor that we own; the call takes no memory of ours.
        match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, bytes as libc::off_t) } {
            0 => return Ok(()),
            // A signal in the middle: what was allocated stays, and the next call goes on.
            libc::EINTR => {}
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// Without a call that allocates for certain, every block is written.
#[cfg(not(target_os = "linux"))]
fn allocate(file: &File, bytes: usize) -> io::Result<()> {
    use std::io::Write;
    let zeroes = vec![0; ALIGN];
    for _ in 0..bytes / ALIGN {
        (&*file).write_all(&zeroes)?;
    }
    Ok(())
}

impl Map {
    pub(crate) fn new(path: &Path, file: &File, g: &Geometry, access: Access) -> Result<Self, RingError> {
        // SAFETY: has no preconditions.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(ALIGN);
        if !ALIGN.is_multiple_of(page) {
            return Err(RingError::Geometry("pages larger than 64 KiB"));
        }
        let mirror = (g.max_record as usize).next_multiple_of(page);
        let stride = g.lane_bytes as usize + mirror;
        let bytes = g.data() + g.lanes as usize * stride;
        // First the whole stretch, as a reservation; then its parts over it, so that nothing else can come between.
        // SAFETY: asks for fresh memory anywhere.
        let start = unsafe {
            libc::mmap(core::ptr::null_mut(), bytes, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANON, -1, 0)
        };
        if start == libc::MAP_FAILED {
            return Err(failed(path, "reserve memory for")(io::Error::last_os_error()));
        }
        let map = Self { start: start.cast(), bytes, data: g.data(), stride };
        map.place(path, file, access, 0, 0, g.data())?;
        for lane in 0..g.lanes as usize {
            let at = map.lane_offset(lane);
            map.place(path, file, access, at, g.lane(lane), g.lane_bytes as usize)?;
            map.place(path, file, access, at + g.lane_bytes as usize, g.lane(lane), mirror)?;
        }
        Ok(map)
    }

    /// Maps a part of the file over a part of the reservation.
    fn place(
        &self,
        path: &Path,
        file: &File,
        access: Access,
        at: usize,
        offset: usize,
        bytes: usize,
    ) -> Result<(), RingError> {
        debug_assert!(at + bytes <= self.bytes);
        let shared = if access == Access::Shared { libc::MAP_SHARED } else { libc::MAP_PRIVATE };
        // SAFETY: replaces pages of our own reservation, to which nobody has a pointer yet.
        let placed = unsafe {
            libc::mmap(
                self.start.add(at).cast(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                shared | libc::MAP_FIXED,
                file.as_raw_fd(),
                offset as libc::off_t,
            )
        };
        if placed == libc::MAP_FAILED { Err(failed(path, "map")(io::Error::last_os_error())) } else { Ok(()) }
    }

    /// Faults all pages in, writable, so that no producer pays for it. For a file that nobody else uses yet.
    pub(crate) fn fault_in(&self) {
        #[cfg(target_os = "linux")]
        // SAFETY: our own mapping; its content stays.
        if unsafe { libc::madvise(self.start.cast(), self.bytes, libc::MADV_POPULATE_WRITE) } == 0 {
            return;
        }
        // An older kernel: write to every page what it holds.
        for at in (0..self.bytes).step_by(4096) {
            // SAFETY: within the mapping, and nobody else uses it yet. Volatile, or it would be optimised away.
            unsafe {
                let byte = self.start.add(at);
                byte.write_volatile(byte.read_volatile());
            }
        }
    }

    const fn lane_offset(&self, lane: usize) -> usize {
        self.data + lane * self.stride
    }

    /// A byte before the lanes, by its offset in the file.
    pub(crate) fn byte(&self, offset: usize) -> *mut u8 {
        assert!(offset < self.data);
        // SAFETY: within the mapping.
        unsafe { self.start.add(offset) }
    }

    /// A word before the lanes, by its offset in the file.
    pub(crate) fn word(&self, offset: usize) -> *const AtomicU64 {
        aligned(self.byte(offset))
    }

    /// A lane's first word.
    pub(crate) fn lane(&self, lane: usize) -> *const AtomicU64 {
        let offset = self.lane_offset(lane);
        assert!(offset < self.bytes);
        // SAFETY: within the mapping.
        aligned(unsafe { self.start.add(offset) })
    }
}

#[expect(clippy::cast_ptr_alignment, reason = "asserted, once at birth")]
fn aligned(byte: *mut u8) -> *const AtomicU64 {
    let word = byte.cast::<AtomicU64>();
    assert!(word.is_aligned());
    word
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: our own mapping, and its owner, the ring, is going: nobody has a pointer into it any more. It cannot
        // fail for a whole mapping that exists.
        unsafe { libc::munmap(self.start.cast(), self.bytes) };
    }
}
