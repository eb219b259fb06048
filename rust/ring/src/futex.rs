//! Waiting on the bell: a futex on Linux, short sleeps elsewhere, a condition variable in the model.
//!
//! What must always hold: `wait` returns at once if the bell's count is not `seen`, and a ring after that check wakes
//! it. It may return for no reason.

use core::time::Duration;

use crate::sleep::Bell;

#[cfg(all(target_os = "linux", not(loom)))]
pub(crate) fn wait(bell: &Bell, seen: u32, timeout: Duration) {
    let limit = libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    // SAFETY: the word is alive while the bell is borrowed, and the kernel only reads it and the time. Every outcome
    // (woken, timed out, interrupted, already rung) means the same to the caller: look again. Private: producers and
    // consumer are one process.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            bell.rung.as_ptr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            seen,
            &raw const limit,
        );
    }
}

#[cfg(all(target_os = "linux", not(loom)))]
pub(crate) fn wake_one(bell: &Bell) {
    // SAFETY: the kernel only looks up who waits on the word, which is alive while the bell is borrowed.
    unsafe {
        libc::syscall(libc::SYS_futex, bell.rung.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1);
    }
}

#[cfg(all(not(target_os = "linux"), not(loom)))]
pub(crate) fn wait(bell: &Bell, seen: u32, timeout: Duration) {
    const STEP: Duration = Duration::from_micros(500);
    let end = std::time::Instant::now() + timeout;
    while bell.rung() == seen {
        let left = end.saturating_duration_since(std::time::Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(STEP));
    }
}

#[cfg(all(not(target_os = "linux"), not(loom)))]
pub(crate) fn wake_one(_: &Bell) {}

/// The kernel's side of a futex, for the model: checking the count and going to sleep are one step.
#[cfg(loom)]
pub(crate) struct Gate {
    lock: loom::sync::Mutex<()>,
    woken: loom::sync::Condvar,
}

#[cfg(loom)]
impl Gate {
    pub(crate) fn new() -> Self {
        Self { lock: loom::sync::Mutex::new(()), woken: loom::sync::Condvar::new() }
    }
}

/// Without a time limit, if that is a long one: a wake-up that gets lost is a deadlock, which loom reports.
#[cfg(loom)]
pub(crate) fn wait(bell: &Bell, seen: u32, timeout: Duration) {
    if timeout < Duration::from_secs(1) {
        return;
    }
    let guard = bell.gate.lock.lock().unwrap();
    if bell.rung() == seen {
        drop(bell.gate.woken.wait(guard).unwrap());
    }
}

#[cfg(loom)]
pub(crate) fn wake_one(bell: &Bell) {
    let _guard = bell.gate.lock.lock().unwrap();
    bell.gate.woken.notify_one();
}
