//! The decision for one row.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::policy::{Keep, Policy};

pub(crate) const READ: u16 = auditring_event::code_of("Read");
pub(crate) const WRITE: u16 = auditring_event::code_of("Write");

/// What a sink does with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Delivered; stands for so many events.
    Keep {
        /// 1, or the sampling rate.
        weight: u32,
    },
    /// Left out by sampling; the kept rows' weights stand for it.
    SampledOut,
    /// Left out by rule.
    FilteredOut,
}

/// What a decision looks at.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The action.
    pub code: u16,
    /// Whether class and status allow leaving it out at all: droppable, and no `status` in the call.
    pub droppable: bool,
    /// The pump's first-touch flag.
    pub first_touch: bool,
    /// [`crate::session_hash`] of its session.
    pub session: u64,
    /// The topic.
    pub resource: &'a [u8],
}

/// What `policy` says of `row`.
#[must_use]
pub fn decide(policy: &Policy, row: &Row<'_>) -> Decision {
    if !row.droppable {
        return Decision::Keep { weight: 1 };
    }
    match policy.keep(row.code) {
        Keep::All => Decision::Keep { weight: 1 },
        Keep::Off => Decision::FilteredOut,
        // First touches stand outside the sample: weight 1, whatever the hash says, so that the estimate stays unbiased.
        Keep::Sample { .. } if row.first_touch => Decision::Keep { weight: 1 },
        Keep::Sample { one_in } => {
            let story = xxh3_64_with_seed(row.resource, policy.seed ^ row.session);
            // Multiply-shift instead of modulo: no bias towards small residues, no division.
            if (u128::from(story) * u128::from(one_in)) >> 64 == 0 {
                Decision::Keep { weight: one_in }
            } else {
                Decision::SampledOut
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session_hash;

    fn policy(seed: u64, one_in: u32) -> Policy {
        Policy { version: 1, seed, read: Keep::Sample { one_in }, write: Keep::Off, request: Keep::Off }
    }

    fn read<'a>(session: &str, resource: &'a [u8]) -> Row<'a> {
        Row { code: READ, droppable: true, first_touch: false, session: session_hash(session), resource }
    }

    #[test]
    fn a_story_is_kept_whole_or_left_out_whole() {
        let policy = policy(11, 4);
        for session in 0..64 {
            let row = read(&session.to_string(), b"orders");
            let first = decide(&policy, &row);
            assert!((0..10).all(|_| decide(&policy, &row) == first));
        }
    }

    #[test]
    fn protected_rows_and_first_touches_are_always_kept_with_weight_one() {
        let policy = policy(3, 1_000_000);
        let row = read("s", b"t");
        assert_eq!(decide(&policy, &Row { droppable: false, ..row }), Decision::Keep { weight: 1 });
        assert_eq!(decide(&policy, &Row { first_touch: true, ..row }), Decision::Keep { weight: 1 });
        let write = Row { code: WRITE, ..row };
        assert_eq!(decide(&policy, &write), Decision::FilteredOut);
        assert_eq!(decide(&policy, &Row { code: 999, ..row }), Decision::Keep { weight: 1 });
    }

    #[test]
    fn the_weighted_sum_estimates_the_truth_without_bias() {
        // 200 seeds over 500 stories of unequal size: the mean estimate lies within three standard errors of the truth.
        let sizes: Vec<f64> = (0..500).map(|story| f64::from(1 + story % 17)).collect();
        let truth: f64 = sizes.iter().sum();
        let estimates: Vec<f64> = (0..200_u64)
            .map(|seed| {
                let policy = policy(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15), 10);
                let weigh = |(story, size): (usize, &f64)| match decide(&policy, &read(&format!("s{story}"), b"t")) {
                    Decision::Keep { weight } => f64::from(weight) * size,
                    _ => 0.0,
                };
                sizes.iter().enumerate().map(weigh).sum()
            })
            .collect();
        let mean = estimates.iter().sum::<f64>() / 200.0;
        let variance = estimates.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / 199.0;
        let standard_error = (variance / 200.0).sqrt();
        assert!((mean - truth).abs() < 3.0 * standard_error, "{mean} against {truth} ± {standard_error}");
    }
}
