//! The journaled form: one small JSON object, parsed once, never reinterpreted.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What becomes of the droppable rows of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "keep", rename_all = "snake_case", deny_unknown_fields)]
pub enum Keep {
    /// Every row is kept.
    #[default]
    All,
    /// No row is kept; the emit call counts it as `off` and returns.
    Off,
    /// One story (session and topic) in `one_in` is kept whole, its rows weigh `one_in`; first touches are always kept.
    Sample {
        /// Keep one in so many; at least 1.
        one_in: u32,
    },
}

/// The log's policy, as it stands at the head of every journal segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Version of this form; 1.
    pub version: u32,
    /// Seeds the sampling hash. No secret.
    pub seed: u64,
    /// For `Read`.
    #[serde(default)]
    pub read: Keep,
    /// For `Write`.
    #[serde(default)]
    pub write: Keep,
    /// For all of category `request`: all or off, decided in the emit call; what is in the journal is kept.
    #[serde(default = "off")]
    pub request: Keep,
}

fn off() -> Keep {
    Keep::Off
}

/// Why a policy was refused.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Not the JSON of a policy.
    #[error("not a policy: {0}")]
    Syntax(#[from] serde_json::Error),
    /// Written by a later version.
    #[error("policy version {0} is not known here (1 is); read it with a newer auditring")]
    Version(u32),
    /// `one_in` is zero.
    #[error("SAMPLE(one_in=0) keeps nothing and says so of nothing; use OFF, or one_in >= 1")]
    OneInZero,
}

impl Policy {
    /// Reads the journaled form.
    ///
    /// # Errors
    /// [`PolicyError`] when the bytes are no policy that this version understands.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        let policy: Self = serde_json::from_slice(bytes)?;
        if policy.version != 1 {
            return Err(PolicyError::Version(policy.version));
        }
        for keep in [policy.read, policy.write, policy.request] {
            if keep == (Keep::Sample { one_in: 0 }) {
                return Err(PolicyError::OneInZero);
            }
        }
        Ok(policy)
    }

    /// SHA-256 over the journaled form: names a policy in segment heads.
    #[must_use]
    pub fn digest(bytes: &[u8]) -> [u8; 32] {
        Sha256::digest(bytes).into()
    }

    /// What holds for rows of this action.
    #[must_use]
    pub fn keep(&self, code: u16) -> Keep {
        match code {
            crate::decide::READ => self.read,
            crate::decide::WRITE => self.write,
            _ => Keep::All,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journaled_form_comes_back_equal() {
        let bytes = br#"{"read":{"keep":"sample","one_in":100},"seed":7,"version":1,"write":{"keep":"off"}}"#;
        let policy = Policy::parse(bytes).unwrap();
        assert_eq!(policy.read, Keep::Sample { one_in: 100 });
        assert_eq!(policy.write, Keep::Off);
        assert_eq!(policy.request, Keep::Off);
        assert_eq!(Policy::parse(&serde_json::to_vec(&policy).unwrap()).unwrap(), policy);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for bad in [
            &b"{}"[..],
            br#"{"version":2,"seed":1}"#,
            br#"{"version":1,"seed":1,"reed":{"keep":"all"}}"#,
            br#"{"version":1,"seed":1,"read":{"keep":"sample","one_in":0}}"#,
            br#"{"version":1,"seed":1,"read":{"keep":"sometimes"}}"#,
        ] {
            assert!(Policy::parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
