//! Rows about requests themselves, for who wants them: what came in, and what went back.

use auditring_event::{ActionSpec, index_of, spec_at};

use crate::asked::Asked;
use crate::cursor::{Cursor, Step};
use crate::exchange::Fate;
use crate::facts::{Draft, Facts};

const INGRESS: &ActionSpec = spec_at(index_of(112));
const EGRESS: &ActionSpec = spec_at(index_of(116));

/// Keys of the APIs that are told apart here.
mod key {
    pub(super) const FIND_COORDINATOR: i16 = 10;
    pub(super) const JOIN_GROUP: i16 = 11;
    pub(super) const HEARTBEAT: i16 = 12;
    pub(super) const LEAVE_GROUP: i16 = 13;
    pub(super) const SYNC_GROUP: i16 = 14;
    pub(super) const OFFSET_COMMIT: i16 = 8;
    pub(super) const OFFSET_FETCH: i16 = 9;
    pub(super) const API_VERSIONS: i16 = 18;
    pub(super) const INIT_PRODUCER_ID: i16 = 22;
    pub(super) const ADD_PARTITIONS_TO_TXN: i16 = 24;
    pub(super) const ADD_OFFSETS_TO_TXN: i16 = 25;
    pub(super) const END_TXN: i16 = 26;
    pub(super) const TXN_OFFSET_COMMIT: i16 = 28;
    pub(super) const OFFSET_DELETE: i16 = 47;
    pub(super) const CONSUMER_GROUP_HEARTBEAT: i16 = 68;
    pub(super) const SHARE_GROUP_HEARTBEAT: i16 = 76;
    pub(super) const SHARE_ACKNOWLEDGE: i16 = 79;
    pub(super) const STREAMS_GROUP_HEARTBEAT: i16 = 88;
}

/// The group and the transaction that a request names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Party {
    pub(crate) group: Option<Vec<u8>>,
    pub(crate) transaction: Option<Vec<u8>>,
}

impl Party {
    /// Reads it from the begin of a request.
    pub(crate) fn read(asked: &Asked, mut request: Cursor<'_>) -> Step<Self> {
        let mut party = Self::default();
        let mut text = || Ok(request.nullable_string()?.map(Into::into));
        match asked.key {
            key::OFFSET_FETCH if asked.version >= 8 => {}
            key::OFFSET_COMMIT
            | key::OFFSET_FETCH
            | key::JOIN_GROUP
            | key::HEARTBEAT
            | key::LEAVE_GROUP
            | key::SYNC_GROUP
            | key::OFFSET_DELETE
            | key::CONSUMER_GROUP_HEARTBEAT
            | key::SHARE_GROUP_HEARTBEAT
            | key::SHARE_ACKNOWLEDGE
            | key::STREAMS_GROUP_HEARTBEAT => party.group = text()?,
            // A client names one; only brokers, among themselves, name more.
            key::ADD_PARTITIONS_TO_TXN if asked.version >= 4 => match request.count()? {
                None | Some(0) => {}
                Some(_) => party.transaction = request.nullable_string()?.map(Into::into),
            },
            key::INIT_PRODUCER_ID | key::END_TXN | key::ADD_PARTITIONS_TO_TXN => party.transaction = text()?,
            key::TXN_OFFSET_COMMIT => (party.transaction, party.group) = (text()?, text()?),
            key::ADD_OFFSETS_TO_TXN => {
                party.transaction = text()?;
                let _producer_id_and_epoch = request.take(10)?;
                party.group = request.nullable_string()?.map(Into::into);
            }
            _ => {}
        }
        Ok(party)
    }

    /// Bytes that are kept.
    pub(crate) fn bytes(&self) -> usize {
        [&self.group, &self.transaction].into_iter().flatten().map(Vec::len).sum()
    }

    fn tell(&self, draft: &mut Draft<'_>) {
        for (field, value) in [("group_id", &self.group), ("transactional_id", &self.transaction)] {
            if let Some(value) = value {
                draft.text(field, value);
            }
        }
    }
}

/// The error that an answer gives for the whole of its request, where it begins with one.
pub(crate) fn error(asked: &Asked, mut answer: Cursor<'_>) -> Step<i16> {
    let version = asked.version;
    let throttle = match asked.key {
        key::API_VERSIONS => false,
        key::FIND_COORDINATOR if version <= 3 => version >= 1,
        key::JOIN_GROUP => version >= 2,
        key::HEARTBEAT | key::LEAVE_GROUP | key::SYNC_GROUP => version >= 1,
        key::ADD_PARTITIONS_TO_TXN if version >= 4 => true,
        key::INIT_PRODUCER_ID
        | key::ADD_OFFSETS_TO_TXN
        | key::END_TXN
        | key::CONSUMER_GROUP_HEARTBEAT
        | key::SHARE_GROUP_HEARTBEAT
        | key::SHARE_ACKNOWLEDGE
        | key::STREAMS_GROUP_HEARTBEAT => true,
        _ => return Ok(0),
    };
    if throttle {
        let _throttle = answer.i32()?;
    }
    answer.i16()
}

/// A request has come in.
pub(crate) fn ingress(asked: &Asked, bytes: usize, party: Option<&Party>, tap: Option<&str>, facts: &mut Facts) {
    if asked.exempt {
        return facts.let_pass();
    }
    if !facts.requests {
        facts.ingress_off = facts.ingress_off.saturating_add(1);
        return;
    }
    let mut draft = facts.draft(INGRESS);
    tell(&mut draft, asked, bytes, party, tap);
    draft.finish();
}

/// An answer has gone back.
pub(crate) fn egress(
    asked: &Asked,
    bytes: usize,
    party: Option<&Party>,
    duration_ns: Option<i64>,
    code: i16,
    tap: Option<&str>,
    facts: &mut Facts,
) {
    if asked.exempt {
        return facts.let_pass();
    }
    if !facts.requests {
        facts.egress_off = facts.egress_off.saturating_add(1);
        return;
    }
    let mut draft = facts.draft(EGRESS);
    tell(&mut draft, asked, bytes, party, tap);
    draft.int("server_correlation_id", asked.answered_as().into()).fate(Fate::Answered(code));
    if let Some(duration) = duration_ns {
        draft.int("duration_ns", duration);
    }
    draft.finish();
}

fn tell(draft: &mut Draft<'_>, asked: &Asked, bytes: usize, party: Option<&Party>, tap: Option<&str>) {
    draft.text("api", asked.name().as_bytes()).int("api_version", asked.version.into()).tap(tap);
    draft.int("client_correlation_id", asked.client.into()).int("bytes", bytes as i64);
    if let Some(party) = party {
        party.tell(draft);
    }
}
