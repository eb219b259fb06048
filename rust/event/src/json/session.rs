//! What a session's rows have in common, rendered once a batch.

use crate::Context;
use crate::context::principal_name;
use crate::details::SessionDetails;
use crate::flat::quote;
use std::borrow::Cow;
use uuid::Uuid;

/// Fragments of one context. Those of members begin with a comma; absent members are empty.
#[derive(Default)]
pub(super) struct Session {
    /// `"srcAddr":…,"session":…` of the client as an actor, each member with a comma before it.
    pub client: Vec<u8>,
    /// `,"principals":[{…}]` of the client as an actor, and `,"principals":[…]` beside one that is no client.
    pub actor_principals: Vec<u8>,
    pub plain_principals: Vec<u8>,
    /// `,"principal":…` where it is not the name of the list's first.
    pub principal: Vec<u8>,
    pub peer_ip: Vec<u8>,
    pub filter: Vec<u8>,
    pub tap: Vec<u8>,
    /// Session, virtual cluster, client id, listener and peer port, which no row overrides.
    pub fixed: Vec<u8>,
    pub server: Vec<u8>,
    pub server_local: Vec<u8>,
    pub node_id: Vec<u8>,
    pub mechanism: Vec<u8>,
    /// All of the above that stand beside the actor of a client's row that overrides none.
    pub beside_client: Vec<u8>,
    /// The whole actor of such a row.
    pub actor_client: Vec<u8>,
    /// `"vc":…`, without a comma.
    pub vc: Vec<u8>,
    pub details: SessionDetails,
}

impl Session {
    pub(super) fn new(context: &Context) -> Self {
        let mut s = Self { details: SessionDetails::new(context), ..Self::default() };
        if let Some(ip) = &context.peer_ip {
            member(&mut s.client, "srcAddr", ip);
            member(&mut s.peer_ip, "peerIp", ip);
        }
        if let Some(session) = &context.session {
            member(&mut s.client, "session", &session_uuid(session));
        }
        let principals = context.all_principals();
        if !principals.is_empty() {
            s.actor_principals = actor_principals(&principals);
            s.plain_principals = plain_principals(&principals);
        }
        if let (Some(name), Some(first)) = (&context.principal, principals.first())
            && name != principal_name(first)
        {
            member(&mut s.principal, "principal", name);
        }
        for (name, place, value) in [
            ("filter", &mut s.filter, &context.filter),
            ("tap", &mut s.tap, &context.tap),
            ("server", &mut s.server, &context.server),
            ("serverLocal", &mut s.server_local, &context.server_local),
            ("mechanism", &mut s.mechanism, &context.mechanism),
        ] {
            if let Some(value) = value {
                member(place, name, value);
            }
        }
        for (name, value) in [
            ("session", &context.session),
            ("virtualCluster", &context.virtual_cluster),
            ("clientId", &context.client_id),
            ("listener", &context.listener),
        ] {
            if let Some(value) = value {
                member(&mut s.fixed, name, value);
            }
        }
        if let Some(port) = context.peer_port {
            number(&mut s.fixed, ",\"peerPort\":", port.into());
        }
        if let Some(id) = context.node_id {
            number(&mut s.node_id, ",\"nodeId\":", id.into());
        }
        if let Some(vc) = &context.virtual_cluster {
            s.vc.extend_from_slice(b"\"vc\":");
            quote(&mut s.vc, vc);
        }
        s.beside_client =
            [&s.principal, &s.filter, &s.tap, &s.fixed, &s.server, &s.server_local, &s.node_id, &s.mechanism]
                .map(Vec::as_slice)
                .concat();
        s.actor_client = [b",\"actor\":{\"type\":\"Client\"", &s.client[..], &s.actor_principals, b"}"].concat();
        s
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

/// `,"principals":[{"type":"User","name":"alice"}]`; one without a type has a name only.
pub(super) fn actor_principals(principals: &[Cow<'_, str>]) -> Vec<u8> {
    let mut out = b",\"principals\":[".to_vec();
    for (i, principal) in principals.iter().enumerate() {
        out.extend_from_slice(if i == 0 { b"{" } else { b",{" });
        if let Some((kind, _)) = principal.split_once(':') {
            out.extend_from_slice(b"\"type\":");
            quote(&mut out, kind);
            out.push(b',');
        }
        out.extend_from_slice(b"\"name\":");
        quote(&mut out, principal_name(principal));
        out.push(b'}');
    }
    out.push(b']');
    out
}

/// `,"principals":["User:alice"]`.
pub(super) fn plain_principals(principals: &[Cow<'_, str>]) -> Vec<u8> {
    let mut out = b",\"principals\":[".to_vec();
    for (i, principal) in principals.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        quote(&mut out, principal);
    }
    out.push(b']');
    out
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
