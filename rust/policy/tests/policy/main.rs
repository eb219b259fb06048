//! Policies as a whole: their form, their decisions, their estimates.

mod chooser;
mod common;
mod form;
mod redact;
mod unbiased;
