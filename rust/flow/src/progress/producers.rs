//! What producers are told, who find no room in the ring, and what they tell of their waits.
//!
//! What must always hold: a class of which a wait has expired does not wait again before there was space; and nobody waits for
//! a pump that will never work again.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Progress, lock};

impl Progress {
    /// Whether this class sheds without waiting.
    #[must_use]
    pub fn sheds(&self, droppable: bool) -> bool {
        self.shed[usize::from(droppable)].load(Ordering::Relaxed)
    }

    /// A wait of this class has expired.
    pub fn shed(&self, droppable: bool) {
        self.shed[usize::from(droppable)].store(true, Ordering::Relaxed);
    }

    /// The pump has made space.
    pub fn space(&self) {
        for shed in &self.shed {
            if shed.load(Ordering::Relaxed) {
                shed.store(false, Ordering::Relaxed);
            }
        }
    }

    /// Says what troubles the pump, and whether it will never work again.
    pub fn set_trouble(&self, cause: Option<String>, dead: bool) {
        *lock(&self.trouble) = cause;
        self.dead.store(dead, Ordering::Relaxed);
        self.moved.notify_all();
    }

    /// Whether waiting for space is pointless.
    #[must_use]
    pub fn dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// What troubles the pump.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    /// Why there is no room, where it is not that events simply come faster than the journal takes them.
    #[must_use]
    pub fn no_room(&self) -> Option<String> {
        const BUDGET: &str = "the journal's budget is used up: a sink that it keeps rows for is behind";
        self.trouble().or_else(|| lock(&self.journaled).over_budget.then(|| BUDGET.to_owned()))
    }

    /// Adds one producer's wait for space.
    pub fn waited(&self, time: Duration) {
        self.waits.fetch_add(1, Ordering::Relaxed);
        self.blocked_ns.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// So many bytes of the ring are in use: by the pump at each drain, and by a producer that finds no room.
    pub fn in_use(&self, bytes: u64) {
        // Few write and the most counts: a plain look before spares the line that others read.
        if bytes > self.most_in_use.load(Ordering::Relaxed) {
            self.most_in_use.fetch_max(bytes, Ordering::Relaxed);
        }
    }

    /// The most of the ring that was ever seen in use.
    #[must_use]
    pub fn most_in_use(&self) -> u64 {
        self.most_in_use.load(Ordering::Relaxed)
    }

    /// Producers' waits for space, and their sum in nanoseconds.
    #[must_use]
    pub fn waits(&self) -> (u64, u64) {
        (self.waits.load(Ordering::Relaxed), self.blocked_ns.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_ends_shedding() {
        let progress = Progress::default();
        progress.shed(true);
        assert!(progress.sheds(true) && !progress.sheds(false));
        progress.space();
        assert!(!progress.sheds(true));
    }
}
