//! How the consumer sleeps and is woken.
//!
//! ```text
//!   consumer                                   producer
//!   sleeping := 1 in every lane                tail  := claimed   (compare-and-swap)
//!   crowded and readable? then do not sleep    commit
//!   wait while bell = seen                     crowded, and sleeping? swap it off; bell += 1; one futex wake
//! ```
//! What must always hold: of `sleeping := 1, look at the tail` and `move the tail, look at sleeping` at least one side
//! sees the other (all four are sequentially consistent). The bell counts, so a ring between two sleeps is not lost:
//! the next sleep returns at once. Waking is for a lane that fills; a timed sleep is the backstop for everything else.

use core::time::Duration;

use crate::lane::Parts;
use crate::reader::{MaySleep, Reader};
use crate::sync::{AtomicU32, Ordering, sequential};

/// What a consumer in front of an open claim in a crowded lane sleeps at most: its writer is off the processor just
/// now.
const NAP: Duration = Duration::from_micros(100);

/// Counts how often it was rung; the word in the file that a sleeping consumer waits on.
#[cfg_attr(not(loom), repr(transparent))]
pub(crate) struct Bell {
    pub(crate) rung: AtomicU32,
    #[cfg(loom)]
    pub(crate) gate: crate::futex::Gate,
}

impl Bell {
    pub(crate) fn ring(&self) {
        self.rung.fetch_add(1, Ordering::SeqCst);
        crate::futex::wake_one(self);
    }

    pub(crate) fn rung(&self) -> u32 {
        self.rung.load(Ordering::SeqCst)
    }
}

/// Sleeps until a producer crowds a lane, the bell is rung, or the time is over. `seen` is the bell's count at the end
/// of the sleep before.
pub(crate) fn sleep(lanes: &[Parts], readers: &[Reader], bell: &Bell, seen: &mut u32, timeout: Duration) {
    for parts in lanes {
        parts.sleeping().store(1, Ordering::SeqCst);
    }
    sequential();
    let verdict = lanes.iter().zip(readers).map(|(parts, reader)| reader.may_sleep(parts)).max();
    match verdict.unwrap_or(MaySleep::Yes) {
        MaySleep::Yes => crate::futex::wait(bell, *seen, timeout),
        MaySleep::Briefly => crate::futex::wait(bell, *seen, timeout.min(NAP)),
        MaySleep::No => {}
    }
    for parts in lanes {
        // Plain: a producer that still sees it set rings once for nothing.
        parts.sleeping().store(0, Ordering::Relaxed);
    }
    *seen = bell.rung();
}
