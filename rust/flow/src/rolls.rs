//! Segments that could not be begun while the one before still takes batches: no event waits for it, and yet it is told, for
//! nothing goes from the journal as long as it lasts.

use std::time::Instant as Clockwork;

use auditring_event::named;
use auditring_event::record::Encoder;

use crate::Error;
use crate::progress::Progress;

/// Tries to begin the next segment that have failed in a row.
#[derive(Debug, Default)]
pub(crate) struct Rolls(Option<Failed>);

#[derive(Debug)]
struct Failed {
    cause: String,
    attempts: i64,
    since: Clockwork,
}

impl Rolls {
    /// One more has failed.
    pub(crate) fn failed(&mut self, error: &Error, progress: &Progress) {
        let cause = error.to_string();
        let failed =
            self.0.get_or_insert_with(|| Failed { cause: String::new(), attempts: 0, since: Clockwork::now() });
        failed.attempts += 1;
        if failed.cause != cause {
            failed.cause.clone_from(&cause);
            progress.publish(|journaled| journaled.unrolled = Some(cause));
        }
    }

    /// A segment is begun. Returns the row that tells of those that could not be.
    pub(crate) fn done(&mut self, progress: &Progress) -> Option<Vec<u8>> {
        let failed = self.0.take()?;
        progress.publish(|journaled| journaled.unrolled = None);
        let lasted = i64::try_from(failed.since.elapsed().as_nanos()).unwrap_or(i64::MAX);
        let mut row = Encoder::new(const { named("auditring.JournalFailed") });
        row.int("attempts", failed.attempts).int("duration_ns", lasted).text("error", &failed.cause);
        Some(row.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: i32) -> Error {
        let source = std::io::Error::from_raw_os_error(code);
        Error::Io { what: "begin", path: "segment".into(), source }
    }

    #[test]
    fn what_could_not_be_begun_is_shown_until_it_is_and_told_once() {
        let (mut rolls, progress) = (Rolls::default(), Progress::default());
        assert_eq!(rolls.done(&progress), None);
        rolls.failed(&refused(24), &progress);
        rolls.failed(&refused(28), &progress);
        let shown = progress.journaled().unrolled.unwrap();
        assert!(shown.contains("(os error 28)"), "{shown}");
        assert!(rolls.done(&progress).is_some());
        assert_eq!((rolls.done(&progress), progress.journaled().unrolled), (None, None));
    }
}
