//! Loom's atomics, with every two accesses of one of them by different threads explored in both orders.
//!
//! Loom remembers only the last access to an object when it looks for an order worth trying. A load and then a
//! compare-and-swap by one thread, our claim, so hides the load of another thread before them, and a consumer that
//! comes first would never be tried in between. Therefore each access is preceded by one of a companion, always a
//! read-modify-write: those cannot hide each other. It is relaxed, so it orders nothing, and what a load may see stays
//! as wide as it was.

use loom::sync::atomic::Ordering;

macro_rules! explored {
    ($name:ident, $value:ty) => {
        pub(crate) struct $name {
            value: loom::sync::atomic::$name,
            companion: loom::sync::atomic::AtomicU32,
        }

        impl $name {
            pub(crate) fn new(value: $value) -> Self {
                let companion = loom::sync::atomic::AtomicU32::new(0);
                Self { value: loom::sync::atomic::$name::new(value), companion }
            }

            /// Whatever is next may as well happen before or after the next access of any other thread.
            fn explored(&self) -> &loom::sync::atomic::$name {
                self.companion.fetch_add(1, Ordering::Relaxed);
                &self.value
            }

            pub(crate) fn load(&self, order: Ordering) -> $value {
                self.explored().load(order)
            }

            pub(crate) fn store(&self, value: $value, order: Ordering) {
                self.explored().store(value, order);
            }

            pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                self.explored().swap(value, order)
            }

            pub(crate) fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                self.explored().fetch_add(value, order)
            }

            pub(crate) fn fetch_or(&self, value: $value, order: Ordering) -> $value {
                self.explored().fetch_or(value, order)
            }

            pub(crate) fn compare_exchange_weak(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.explored().compare_exchange_weak(current, new, success, failure)
            }

            /// # Safety
            /// As loom's: its complaint, if another thread stores at that time, is what it is called for.
            pub(crate) unsafe fn unsync_load(&self) -> $value {
                // SAFETY: the caller's.
                unsafe { self.value.unsync_load() }
            }
        }
    };
}

explored!(AtomicU32, u32);
explored!(AtomicU64, u64);
