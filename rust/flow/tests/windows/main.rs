//! Rows that wait in windows: what becomes of them, and that whoever begins at a cut comes to the same.

mod cases;
#[path = "../common/mod.rs"]
mod common;
mod journal;
mod plain;
mod properties;
mod pumped;
