//! The key, and what it makes of a value.
//!
//! ```text
//! key id   first 8 hexadecimal digits of HMAC-SHA-256(key, "auditring.key_id")
//! hash     hmac_<key id>_<first 32 hexadecimal digits of HMAC-SHA-256(key, value)>
//! ```
//!
//! So any tool can find a value again: `printf %s alice | openssl dgst -sha256 -hmac "$KEY"`. The form has neither `:` nor
//! `*`, so it can stand in a `Type:name`, and is its own pattern.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Fewer bytes can be guessed.
pub const LEAST_KEY: usize = 16;
const PREFIX: &str = "hmac_";
const ID_DIGITS: usize = 8;
const DIGITS: usize = 32;
const LENGTH: usize = PREFIX.len() + ID_DIGITS + 1 + DIGITS;

/// A key. It is shown nowhere.
#[derive(Clone)]
pub struct Key {
    state: Hmac<Sha256>,
    id: String,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Key {
    /// The key of these bytes; none where they are too few.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let state = Hmac::<Sha256>::new_from_slice(bytes).ok().filter(|_| bytes.len() >= LEAST_KEY)?;
        let mut id = String::new();
        hex(&state, b"auditring.key_id", ID_DIGITS, &mut id);
        Some(Self { state, id })
    }

    /// What names the key in rows.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Appends the hash of a value.
    pub fn hash(&self, value: &[u8], out: &mut String) {
        out.push_str(PREFIX);
        out.push_str(&self.id);
        out.push('_');
        hex(&self.state, value, DIGITS, out);
    }
}

fn hex(state: &Hmac<Sha256>, value: &[u8], digits: usize, out: &mut String) {
    let digest = state.clone().chain_update(value).finalize().into_bytes();
    for byte in &digest[..digits / 2] {
        // Writing into a string cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

pub(super) fn is_key_id(text: &str) -> bool {
    text.len() == ID_DIGITS && is_hex(text)
}

/// The key's id in the text of a hash; none of any other text.
#[must_use]
pub fn key_id_of(text: &str) -> Option<&str> {
    let (id, digits) = text.strip_prefix(PREFIX).filter(|_| text.len() == LENGTH)?.split_once('_')?;
    (is_key_id(id) && is_hex(digits)).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_that_of_any_other_tool() {
        let key = Key::new(b"0123456789abcdef").unwrap();
        let mut hash = String::new();
        key.hash(b"alice", &mut hash);
        // printf %s alice | openssl dgst -sha256 -hmac 0123456789abcdef
        assert_eq!(hash, "hmac_9cf2b563_fdbf8b1cacd3d578e062d0e41104357d");
        assert_eq!(key_id_of(&hash), Some(key.id()));
        assert_eq!(key_id_of(&hash.to_uppercase()), None);
        assert_eq!(key_id_of(&hash[1..]), None);
    }

    #[test]
    fn a_key_is_not_shown_and_not_short() {
        let shown = format!("{:?}", Key::new(b"0123456789abcdef").unwrap());
        assert!(!shown.contains("0123456789abcdef") && !shown.contains("48, 49"), "{shown}");
        assert!(Key::new(b"0123456789abcde").is_none());
    }
}
