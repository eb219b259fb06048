//! Redaction: what of an event never reaches the disk, and what stands there instead.
//!
//! ```text
//! [[redact]] in the policy ─▶ Redaction (a field, and how) ─┬─▶ Redactor: contexts and records, in the pump and in recovery
//!                                                          └─▶ compile: exact values of rules become their hashes
//! ```
//!
//! What must always hold: the key is in memory alone; a value under a redaction that cannot be read, or hashed for want of
//! the key, is left out, never shown; whatever was done to a value is said in the row's `context`; the same value and key
//! give the same hash, in every process and every version.

mod compile;
mod field;
mod key;
mod plan;
mod redactor;
mod value;

pub use compile::{compile, hashes, redactions};
pub(crate) use compile::{read_all, refuse};
pub use field::Field;
pub use key::{Key, LEAST_KEY, key_id_of};
pub use redactor::{Redacted, Redactor};

use serde::Deserialize;

use crate::policy::nearest;

/// What is done to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// It is left out.
    Drop,
    /// So many characters of it stay.
    Truncate(usize),
    /// Of an address its network stays: bits of IPv4, bits of IPv6.
    Network(u8, u8),
    /// Its keyed hash takes its place.
    Hash,
}

/// What is done to the values of one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redaction {
    /// Which.
    pub field: Field,
    /// What.
    pub how: How,
    /// Of the hash: which key, once the policy is a log's.
    pub key_id: Option<String>,
}

/// As a redaction stands in the journal.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Form {
    field: String,
    how: String,
    length: Option<usize>,
    ipv4: Option<u8>,
    ipv6: Option<u8>,
    key_id: Option<String>,
}

/// A set of redactions has 64 bits, and their names must find room in a row's context.
pub(crate) const MOST: usize = 32;
const LONGEST: usize = 1024;

impl Redaction {
    /// Reads a redaction's form.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(form: Form) -> Result<Self, String> {
        let field = Field::parse(&form.field)?;
        let Form { field: _, how, length, ipv4, ipv6, key_id } = form;
        let how = match (how.as_str(), length, ipv4, ipv6) {
            ("drop", None, None, None) => How::Drop,
            ("hash", None, None, None) => How::Hash,
            ("truncate", None, Some(ipv4), Some(ipv6)) if field == Field::Peer => match (ipv4, ipv6) {
                (0..=32, 0..=128) => How::Network(ipv4, ipv6),
                _ => return Err("ipv4 is 0 to 32 bits, and ipv6 0 to 128".to_owned()),
            },
            ("truncate", Some(length), None, None) if field != Field::Peer => match length {
                1..=LONGEST => How::Truncate(length),
                _ => return Err(format!("length is 1 to {LONGEST} characters, not {length}")),
            },
            ("truncate", ..) if field == Field::Peer => {
                return Err("a peer is truncated to its network: ipv4 and ipv6 say to how many bits".to_owned());
            }
            ("truncate", ..) => return Err("a string is truncated to a length".to_owned()),
            ("drop" | "hash", ..) => return Err(format!("how {how:?} has no length, no ipv4 and no ipv6")),
            (other, ..) => {
                let known = ["drop", "truncate", "hash"];
                return Err(format!("there is no how {other:?}; {}", nearest(other, &known)));
            }
        };
        match &key_id {
            Some(id) if how != How::Hash || !key::is_key_id(id) => {
                Err(format!("key_id is of a hash, and 8 hexadecimal digits, not {id:?}"))
            }
            _ => Ok(Self { field, how, key_id }),
        }
    }
}
