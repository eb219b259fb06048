//! Tests of the journal through its public face. One module per source file, named as it is.

mod common;
mod contexts;
mod counters;
mod cursor;
mod fold;
mod followers;
mod format;
mod hostile;
mod lock;
mod process_dir;
mod properties;
mod reader;
mod retain;
mod shown;
mod totals;
mod vanish;
mod writer;
