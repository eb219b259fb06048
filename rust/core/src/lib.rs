//! `auditring._core`: the Python boundary. It converts and detaches; it decides nothing.

mod args;
mod arrow;
mod broker;
mod change;
mod declare;
mod directory;
mod errors;
mod ffi;
mod follower;
mod handle;
mod headers;
mod kafka;
mod lines;
mod living;
mod log;
mod methods;
mod orphan;
mod outside;
mod own;
mod plugin;
mod policy;
mod session;
mod shared;
mod slow;
mod snapshot;
mod tail;

use pyo3::prelude::*;

/// The extension module. What the GIL orders where there is one is counted and swapped atomically where there is none.
#[pymodule(gil_used = false)]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::arrow::{ArrowBatch, ArrowSchema, RowBatch, schema};
    #[pymodule_export]
    use crate::directory::Directory;
    #[pymodule_export]
    use crate::follower::Follower;
    #[pymodule_export]
    use crate::headers::{content_length, request_ids};
    #[pymodule_export]
    use crate::kafka::{Tap, Topics, kafka_apis};
    #[pymodule_export]
    use crate::lines::LineWriter;
    #[pymodule_export]
    use crate::living::{Living, processes};
    #[pymodule_export]
    use crate::log::Log;
    #[pymodule_export]
    use crate::orphan::{Orphan, adopt_orphans};
    #[pymodule_export]
    use crate::outside::{actions, columns, cursors, forget_sink, outside, scope_columns};
    #[pymodule_export]
    use crate::policy::{
        RedactionKey, check_policy, check_windows, compile_policy, explain, in_memory, judge, literal, sample_by,
    };
    #[pymodule_export]
    use crate::snapshot::Snapshot;
    #[pymodule_export]
    use crate::tail::{Tail, lines};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let py = module.py();
        module.add("SCHEMA_VERSION", auditring_event::SCHEMA_VERSION)?;
        crate::ffi::install_shown(py)?;
        // Coroutines are made by Python alone; the handles' are two lines of it.
        let code = c"async def __aenter__(self):\n    return self.__enter__()\n\n\
                     async def __aexit__(self, kind, error, trace, /):\n    return self.__exit__(kind, error, trace)\n";
        let helpers = PyModule::from_code(py, code, c"auditring/_core", c"auditring._core")?;
        for (name, made) in crate::ffi::make(py)? {
            if made.hasattr("__enter__")? {
                for name in ["__aenter__", "__aexit__"] {
                    made.setattr(name, helpers.getattr(name)?)?;
                }
            }
            module.add(name, made)?;
        }
        Ok(())
    }
}
