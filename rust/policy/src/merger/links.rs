//! The lists that a place stands in: all that are used, the newest first, and the ranges of one session.
//!
//! What must always hold: a place that is used is in the first list once, and a range with a session in that one's list once; the
//! table of sessions knows the first of each.

use std::sync::Arc;

use super::{Merger, NONE};
use crate::merge::Event;
use crate::whose::Whose;

impl Merger {
    /// A row has grown: it is the last to close for want of room.
    #[inline]
    pub(super) fn touch(&mut self, at: u32) {
        if self.newest != at {
            self.unlink(at);
            self.push_newest(at);
        }
    }

    pub(super) fn push_newest(&mut self, at: u32) {
        let before = std::mem::replace(&mut self.newest, at);
        (self.slots[at as usize].older, self.slots[at as usize].newer) = (before, NONE);
        if before == NONE {
            self.oldest = at;
        } else {
            self.slots[before as usize].newer = at;
        }
    }

    pub(super) fn unlink(&mut self, at: u32) {
        let (newer, older) = (self.slots[at as usize].newer, self.slots[at as usize].older);
        if newer == NONE {
            self.newest = older;
        } else {
            self.slots[newer as usize].older = older;
        }
        if older == NONE {
            self.oldest = newer;
        } else {
            self.slots[older as usize].newer = newer;
        }
    }

    /// The newest is among its session's.
    pub(super) fn join_session(&mut self) {
        let at = self.newest;
        let Some(session) = self.slots[at as usize].session() else { return };
        let slots = &self.slots;
        let head = self.sessions.find(session, |head| slots[*head as usize].session() == Some(session)).copied();
        if let Some(head) = head {
            // Behind the first, so that the table need not change.
            let next = std::mem::replace(&mut self.slots[head as usize].next, at);
            if next != NONE {
                self.slots[next as usize].before = at;
            }
            (self.slots[at as usize].before, self.slots[at as usize].next) = (head, next);
        } else {
            (self.slots[at as usize].before, self.slots[at as usize].next) = (NONE, NONE);
            let slots = &self.slots;
            self.sessions.insert_unique(session, at, |at| slots[*at as usize].session().unwrap_or_default());
        }
        self.slots[at as usize].ranked = true;
    }

    pub(super) fn leave_session(&mut self, at: u32) {
        let slot = &mut self.slots[at as usize];
        if !std::mem::take(&mut slot.ranked) {
            return;
        }
        let (before, next, session) = (slot.before, slot.next, slot.session().unwrap_or_default());
        if next != NONE {
            self.slots[next as usize].before = before;
        }
        if before != NONE {
            self.slots[before as usize].next = next;
        } else if let Ok(mut head) = self.sessions.find_entry(session, |head| *head == at) {
            if next == NONE {
                head.remove();
            } else {
                *head.get_mut() = next;
            }
        }
    }

    /// A session, or one of its connections, has ended.
    #[cold]
    pub(super) fn close_session(&mut self, event: &Event<'_>, connection: bool) {
        let Some(whose) = event.whose else { return };
        let slots = &self.slots;
        let head = self.sessions.find(whose.session, |head| slots[*head as usize].session() == Some(whose.session));
        let (mut at, mut those) = (head.copied().unwrap_or(NONE), Vec::new());
        while at != NONE {
            let slot = &self.slots[at as usize];
            let is =
                |mine: &Arc<Whose>| if connection { mine.is_connection_of(whose) } else { mine.is_session_of(whose) };
            if slot.waiting.whose.as_ref().is_some_and(is) {
                those.push((slot.waiting.seq, at));
            }
            at = slot.next;
        }
        those.sort_unstable();
        for (_, at) in those {
            self.close(at);
        }
    }
}
