//! Whether files lie in memory alone, so that no disk ever has what is in them.

use std::path::Path;

/// Whether a path lies on tmpfs. False where the system has none, or does not tell.
#[cfg(target_os = "linux")]
#[must_use]
pub fn in_memory(path: &Path) -> bool {
    nix::sys::statfs::statfs(path).is_ok_and(|stat| stat.filesystem_type() == nix::sys::statfs::TMPFS_MAGIC)
}

/// Whether a path lies on tmpfs. False where the system has none, or does not tell.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn in_memory(_path: &Path) -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_mounts_as_tmpfs_is_in_memory_and_nothing_else() {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let mounts: Vec<(&str, &str)> =
            mounts.lines().filter_map(|line| line.split(' ').nth(1).zip(line.split(' ').nth(2))).collect();
        for (at, (path, kind)) in mounts.iter().enumerate() {
            // What is mounted over, or hidden from us, cannot be asked.
            let covered = mounts[at + 1..].iter().any(|(other, _)| other == path);
            if !covered && ["tmpfs", "proc", "sysfs"].contains(kind) && Path::new(path).is_dir() {
                assert_eq!(*kind == "tmpfs", in_memory(Path::new(path)), "{path}");
            }
        }
        assert!(!in_memory(Path::new("/no/such/path")) && !in_memory(Path::new("/proc")));
    }
}
