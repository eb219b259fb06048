//! What the thread sanitizer is told not to report.
//!
//! The standard library comes without the sanitizer's marks, so what it orders by its own atomics looks unordered: the
//! test harness's channel of results, the shared state of a scope at its end. Each pattern names such a type and
//! nothing of ours.

/// The sanitizer's runtime asks for this by name; elsewhere nobody calls it.
#[unsafe(no_mangle)]
extern "C" fn __tsan_default_suppressions() -> *const core::ffi::c_char {
    c"race:std::sync::mpmc::\n\
      race:drop*Arc<std::thread::scoped::ScopeData>\n\
      race:Arc<std::thread::scoped::ScopeData> as core::ops::drop::Drop\n\
      race:Mutex<core::option::Option<test::run_test"
        .as_ptr()
}
