//! The end of a ring: the one that goes on when it is drained, and what lies in it that never will be.
//!
//! What must always hold: a ring is gone over to once all of the one before is journaled; and what can be neither read nor
//! waited for is told of, and counted where it is given up.

use std::sync::Arc;
use std::time::{Duration, Instant as Clockwork};

use auditring_event::named;
use auditring_event::record::Encoder;
use auditring_ring::{Ring, consumer_of};

use super::Pump;
use crate::Error;
use crate::carry::Carry;

/// How long a claim may stay open after the ring was closed.
const PATIENCE: Duration = Duration::from_secs(1);

impl Pump {
    /// Whether a ring waits until the one before is drained: there may be no third one as long, or nobody would drain it.
    #[must_use]
    pub fn is_replacing(&self) -> bool {
        self.successor.is_some()
    }

    /// Whether somebody has scribbled over the ring, so that a lane of it will never get on: it wants another one.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.damaged.is_some() && self.progress.journaled().damaged.is_some()
    }

    /// Goes on with another ring once this one, which the caller has closed, is drained. Seqs, birth and counters go on.
    /// Not while the pump [is replacing](Self::is_replacing) one.
    /// `refused`: why it could not be made at first.
    pub fn replace(&mut self, ring: Arc<Ring>, carry: Carry, refused: Option<&str>) {
        self.carried.push(carry);
        let why = self.damaged.as_ref().map_or("the ring's file was deleted", |(_, what)| what);
        let cause = refused.map_or(why.to_owned(), |refused| format!("{why}; at first: {refused}"));
        let mut event = Encoder::new(named("auditring.RingReplaced"));
        event.int("generation", i64::from(ring.identity().generation)).text("cause", &cause);
        // A full mailbox has told of worse.
        let _ = self.mailbox.post(event.to_vec());
        self.successor = Some(ring);
    }

    pub(super) fn succeed(&mut self) -> Result<(), Error> {
        let Some(ring) = self.successor.take() else { return Ok(()) };
        self.consumer = consumer_of(Arc::clone(&ring)).ok_or(Error::TwoPumps)?;
        self.ring = ring;
        self.damaged = None;
        // All of the ring before is journaled: whoever waits for that need not wait for the first batch of this one.
        self.progress.publish(|journaled| {
            journaled.generation = self.ring.identity().generation;
            journaled.lanes.clear();
            journaled.damaged = None;
        });
        Ok(())
    }

    /// What no producer can have left in front of a lane stays there for ever. It is declared, so that the host goes on with
    /// another ring; once this one takes no more, all behind it is given up, counted and told in one batch.
    pub(super) fn look_for_damage(&mut self) {
        let Some(lane) = self.lanes().find(|lane| self.consumer.is_damaged(*lane)) else {
            self.damaged = None;
            return;
        };
        let at = self.consumer.position(lane).pos;
        let what = || format!("what lies in lane {lane} of the ring at byte {at} is no record: it was written over");
        let since = self.damaged.get_or_insert_with(|| (Clockwork::now(), what())).0;
        if since.elapsed() < PATIENCE {
            return;
        }
        if self.ring.is_closed() {
            let claims = self.consumer.give_up(lane);
            self.unreadable += claims;
            let now = self.timeline.now().time_ns;
            let row = self.losses.unreadable(claims, now);
            self.own(&row);
        } else if let Some((_, what)) = &self.damaged {
            self.progress.publish(|journaled| journaled.damaged = Some(what.clone()));
        }
    }

    /// A closed ring ends when it is drained; a claim that stays open (a writer off the processor, or a damaged header)
    /// is told of, and left to recovery.
    pub(super) fn look_for_open_claim(&mut self) -> Result<(), Error> {
        if !self.ring.is_closed() || !self.lanes().any(|lane| self.consumer.stuck(lane)) {
            self.stuck_since = None;
            return Ok(());
        }
        if self.stuck_since.get_or_insert_with(Clockwork::now).elapsed() < PATIENCE {
            return Ok(());
        }
        Err(Error::OpenClaim)
    }
}
