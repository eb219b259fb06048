//! What a session's rows have in common, rendered once a batch.

use crate::Context;
use crate::context::principal_name;
use crate::details::SessionDetails;
use crate::flat::quote;
use std::borrow::Cow;
use uuid::Uuid;

/// A fragment of a session. Those of members begin with a comma; absent members are empty. The order is that in which they
/// lie, so that neighbours are written as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Part {
    /// `,"actor":{"type":"Client"` with address and session.
    Client,
    /// `,"principals":[{…}]` of the client as an actor.
    ActorPrincipals,
    /// The actor's closing brace.
    ActorEnd,
    /// `,"principal":…` where it is not the name of the list's first.
    Principal,
    Filter,
    Tap,
    /// The session's id, which no row says otherwise.
    Id,
    VirtualCluster,
    /// `,"clientId":…`, which no row says otherwise.
    ClientId,
    Listener,
    /// `,"peerPort":…`, which no row says otherwise.
    PeerPort,
    Server,
    ServerLocal,
    NodeId,
    Mechanism,
    /// `,"principals":[…]` beside an actor that is no client.
    PlainPrincipals,
    /// `,"peerIp":…` beside an actor that is no client.
    PeerIp,
    /// `"vc":…` of the object, without a comma.
    Vc,
}

const PARTS: usize = Part::Vc as usize + 1;

/// The fragments of one context.
#[derive(Default)]
pub(super) struct Session {
    text: Vec<u8>,
    ends: [u32; PARTS],
    pub details: SessionDetails,
}

impl Session {
    pub(super) fn new(context: &Context) -> Self {
        let mut session = Self { details: SessionDetails::new(context), ..Self::default() };
        session.text.reserve(1024);
        let principals = context.all_principals();
        for (at, render) in RENDER.iter().enumerate() {
            render(context, &principals, &mut session.text);
            session.ends[at] = session.text.len() as u32;
        }
        session
    }

    /// The fragment of one part.
    #[inline]
    pub(super) fn part(&self, part: Part) -> &[u8] {
        self.parts(part, part)
    }

    /// The fragments from one part to another, both included.
    #[inline]
    pub(super) fn parts(&self, first: Part, last: Part) -> &[u8] {
        let begin = (first as usize).checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[begin as usize..self.ends[last as usize] as usize]
    }
}

type Render = fn(&Context, &[Cow<'_, str>], &mut Vec<u8>);

/// What writes each part, in their order.
const RENDER: [Render; PARTS] = [
    |context, _, out| {
        out.extend_from_slice(CLIENT);
        optional(out, "srcAddr", context.peer_ip.as_deref());
        optional(out, "session", context.session.as_deref().map(session_uuid).as_deref());
    },
    |_, principals, out| actor_principals(out, principals),
    |_, _, out| out.push(b'}'),
    |context, principals, out| {
        let first = principals.first().map(|first| principal_name(first));
        optional(out, "principal", context.principal.as_deref().filter(|name| Some(*name) != first));
    },
    |context, _, out| optional(out, "filter", context.filter.as_deref()),
    |context, _, out| optional(out, "tap", context.tap.as_deref()),
    |context, _, out| optional(out, "session", context.session.as_deref()),
    |context, _, out| optional(out, "virtualCluster", context.virtual_cluster.as_deref()),
    |context, _, out| optional(out, "clientId", context.client_id.as_deref()),
    |context, _, out| optional(out, "listener", context.listener.as_deref()),
    |context, _, out| {
        if let Some(port) = context.peer_port {
            number(out, ",\"peerPort\":", port.into());
        }
    },
    |context, _, out| optional(out, "server", context.server.as_deref()),
    |context, _, out| optional(out, "serverLocal", context.server_local.as_deref()),
    |context, _, out| {
        if let Some(id) = context.node_id {
            number(out, ",\"nodeId\":", id.into());
        }
    },
    |context, _, out| optional(out, "mechanism", context.mechanism.as_deref()),
    |_, principals, out| plain_principals(out, principals),
    |context, _, out| optional(out, "peerIp", context.peer_ip.as_deref()),
    |context, _, out| {
        if let Some(vc) = &context.virtual_cluster {
            out.extend_from_slice(b"\"vc\":");
            quote(out, vc);
        }
    },
];

/// The begin of a client as an actor.
const CLIENT: &[u8] = b",\"actor\":{\"type\":\"Client\"";

/// Appends `,"name":"value"`, if there is a value.
fn optional(out: &mut Vec<u8>, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        member(out, name, value);
    }
}

/// Appends `,"name":"value"`; the name needs no escapes.
pub(crate) fn member(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    quote(out, value);
}

/// Appends `,"name":` and a number.
#[inline]
pub(super) fn number(out: &mut Vec<u8>, key: &str, value: i64) {
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends `,"principals":[{"type":"User","name":"alice"}]`; one without a type has a name only.
pub(super) fn actor_principals(out: &mut Vec<u8>, principals: &[Cow<'_, str>]) {
    for (i, principal) in principals.iter().enumerate() {
        out.extend_from_slice(if i == 0 { b",\"principals\":[{" } else { b",{" });
        if let Some((kind, _)) = principal.split_once(':') {
            out.extend_from_slice(b"\"type\":");
            quote(out, kind);
            out.push(b',');
        }
        out.extend_from_slice(b"\"name\":");
        quote(out, principal_name(principal));
        out.push(b'}');
    }
    if !principals.is_empty() {
        out.push(b']');
    }
}

/// Appends `,"principals":["User:alice"]`.
pub(super) fn plain_principals(out: &mut Vec<u8>, principals: &[Cow<'_, str>]) {
    for (i, principal) in principals.iter().enumerate() {
        out.extend_from_slice(if i == 0 { b",\"principals\":[" } else { b"," });
        quote(out, principal);
    }
    if !principals.is_empty() {
        out.push(b']');
    }
}

/// The session as the upstream schema wants it: the id itself if it is a UUID, else its UUID of version 5 in the namespace of
/// object ids.
#[must_use]
pub fn session_uuid(session: &str) -> Cow<'_, str> {
    if session.len() == 36 && Uuid::try_parse(session).is_ok() {
        Cow::Borrowed(session)
    } else {
        Cow::Owned(Uuid::new_v5(&Uuid::NAMESPACE_OID, session.as_bytes()).to_string())
    }
}
