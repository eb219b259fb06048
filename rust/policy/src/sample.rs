//! The sample: which rows stand for the others.
//!
//! What must always hold: the hash never changes, for a policy in an old journal must choose the same rows again. A story is
//! kept whole or left out whole; with the same seed the stories of a smaller sample are among those of a larger one.

use auditring_event::Context;
use auditring_event::row::RowView;
use serde::{Deserialize, Deserializer, de};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::table::Shape;

/// What makes a story: rows that are alike in all of it are kept or left out together. Nothing: each row for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct By(u8);

const SESSION: u8 = 1;
const RESOURCE: u8 = 2;
const PARTITION: u8 = 4;
const PRINCIPAL: u8 = 8;
const VIRTUAL_CLUSTER: u8 = 16;
const CLIENT_ID: u8 = 32;
const PEER: u8 = 64;
const TAP: u8 = 128;

/// The names, by bit. The order is that in which they are hashed.
const NAMES: [&str; 8] =
    ["session", "resource", "partition", "principal", "virtual_cluster", "client_id", "peer", "tap"];

impl By {
    /// Session and resource.
    pub const STORY: Self = Self(SESSION | RESOURCE);
    /// Each row for itself.
    pub const EVENT: Self = Self(0);

    /// All names that there are.
    #[must_use]
    pub const fn names() -> &'static [&'static str] {
        &NAMES
    }

    /// What these names make; none if one is unknown.
    #[must_use]
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let bit = |name: &str| NAMES.iter().position(|known| *known == name).map(|at| 1 << at);
        names.into_iter().try_fold(0, |bits, name| Some(bits | bit(name)?)).map(Self)
    }

    /// The names in it, in order.
    pub fn iter(self) -> impl Iterator<Item = &'static str> {
        NAMES.into_iter().enumerate().filter(move |(at, _)| self.0 >> at & 1 == 1).map(|(_, name)| name)
    }

    /// Appends what a row says of each name, so that two rows have the same bytes only where they agree in all of it.
    pub(crate) fn key(self, row: &RowView<'_>, shape: Shape, who: Option<&Context>, out: &mut Vec<u8>) {
        let mut put = |bit, value: Option<&[u8]>| {
            if self.has(bit) {
                // What is not there is another thing than what is empty.
                out.extend_from_slice(&value.map_or(u32::MAX, |value| value.len() as u32).to_le_bytes());
                out.extend_from_slice(value.unwrap_or_default());
            }
        };
        let of = |of: fn(&Context) -> Option<&str>| who.and_then(of).map(str::as_bytes);
        put(SESSION, of(|who| who.session.as_deref()));
        put(RESOURCE, shape.has_resource(row));
        put(PARTITION, shape.partition(row).map(i64::to_le_bytes).as_ref().map(|bytes| &bytes[..]));
        put(PRINCIPAL, shape.own_principal(row).map(str::as_bytes).or(of(Context::first_principal)));
        put(VIRTUAL_CLUSTER, of(|who| who.virtual_cluster.as_deref()));
        put(CLIENT_ID, of(|who| who.client_id.as_deref()));
        put(PEER, of(|who| who.peer_ip.as_deref()));
        put(TAP, Shape::own_tap(row).map(str::as_bytes).or(of(|who| who.tap.as_deref())));
    }

    const fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }
}

impl<'de> Deserialize<'de> for By {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(from)?;
        Self::of(names.iter().map(String::as_str))
            .ok_or_else(|| de::Error::custom(format!("by is a list of {}, not {names:?}", NAMES.join(", "))))
    }
}

/// What one rule's sample needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) one_in: u32,
    pub(crate) by: By,
    pub(crate) seed: u64,
    /// The seed of this process's events, each for itself.
    pub(crate) of_process: u64,
}

impl Sample {
    pub(crate) fn new(one_in: u32, by: By, seed: u64, process: &[u8; 16]) -> Self {
        Self { one_in, by, seed, of_process: xxh3_64_with_seed(process, seed) }
    }

    /// Whether the row stands for `one_in` of its kind.
    #[inline]
    pub(crate) fn keeps(&self, row: &RowView<'_>, shape: Shape, session: u64, who: Option<&Context>, seq: i64) -> bool {
        let hash = if self.by == By::EVENT {
            xxh3_64_with_seed(&seq.to_le_bytes(), self.of_process)
        } else {
            self.story(row, shape, session, who)
        };
        // Multiply-shift instead of modulo: no bias towards small residues, no division.
        (u128::from(hash) * u128::from(self.one_in)) >> 64 == 0
    }

    #[inline]
    fn story(&self, row: &RowView<'_>, shape: Shape, session: u64, who: Option<&Context>) -> u64 {
        let by = self.by;
        let seed = if by.has(SESSION) { self.seed ^ session } else { self.seed };
        // Without a resource the empty one: then it is the session's own story.
        let mut hash = xxh3_64_with_seed(if by.has(RESOURCE) { shape.resource(row) } else { &[] }, seed);
        if by.has(!(SESSION | RESOURCE)) {
            let mut mix = |value: &[u8]| hash = xxh3_64_with_seed(value, hash);
            if by.has(PARTITION) {
                mix(&shape.partition(row).unwrap_or(-1).to_le_bytes());
            }
            if by.has(PRINCIPAL) {
                mix(shape.own_principal(row).or(who.and_then(Context::first_principal)).unwrap_or_default().as_bytes());
            }
            let mut text = |bit, value: Option<&str>| {
                if by.has(bit) {
                    mix(value.unwrap_or_default().as_bytes());
                }
            };
            text(VIRTUAL_CLUSTER, who.and_then(|who| who.virtual_cluster.as_deref()));
            text(CLIENT_ID, who.and_then(|who| who.client_id.as_deref()));
            text(PEER, who.and_then(|who| who.peer_ip.as_deref()));
            text(TAP, Shape::own_tap(row).or(who.and_then(|who| who.tap.as_deref())));
        }
        hash
    }
}
