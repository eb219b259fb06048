//! `objectRef`: what the columns say of the object under upstream's names, and the caller's own keys.

use super::session::{Part, Session, number};
use super::values::Values;
use crate::Malformed;
use crate::details::write_map;
use crate::flat::quote;
use crate::plan::Plan;
use crate::spec::{Category, Column};
use serde_json::{Map, Value};

/// Upstream's name for a resource of this type.
fn resource_key(resource_type: &str) -> Option<&'static str> {
    match resource_type {
        "Topic" => Some("topicName"),
        "Group" => Some("groupId"),
        "TransactionalId" => Some("transactionalId"),
        _ => None,
    }
}

/// `objectRef`; the names of the caller's that upstream has too are returned.
#[inline]
pub(super) fn object_ref(
    out: &mut Vec<u8>,
    values: &Values<'_>,
    plan: &Plan<'_>,
    session: &Session,
    context: Option<&crate::Context>,
) -> Result<Option<Value>, Malformed> {
    let before = out.len();
    out.extend_from_slice(b",\"objectRef\":{");
    let empty = out.len();
    let own = if values.details.has_object_ref() { values.details.object_ref()? } else { Map::new() };
    let mut given = Vec::new();
    // Whether the derived member may be written; and the comma before it.
    let mut begin = |out: &mut Vec<u8>, key: &str| {
        if !own.is_empty() && own.contains_key(key) {
            given.push(Value::from(key));
            return false;
        }
        if out.len() > empty {
            out.push(b',');
        }
        true
    };
    if let Some(own) = values.text(Column::VirtualCluster) {
        if begin(out, "vc") {
            out.extend_from_slice(b"\"vc\":");
            quote(out, own);
        }
    } else if !session.part(Part::Vc).is_empty() && begin(out, "vc") {
        out.extend_from_slice(session.part(Part::Vc));
    }
    if let Some(resource) = values.text(Column::Resource)
        && let Some(key) =
            values.text(Column::ResourceType).or(plan.constant(Column::ResourceType)).and_then(resource_key)
        && begin(out, key)
    {
        out.push(b'"');
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(b"\":");
        quote(out, resource);
    }
    if let Some(partition) = values.int(Column::Partition)
        && begin(out, "partition")
    {
        number(out, "\"partition\":\"", partition);
        out.push(b'"');
    }
    if plan.category == Category::Connection {
        let server = values.text(Column::Server).or(context.and_then(|context| context.server.as_deref()));
        if let Some(server) = server
            && begin(out, "addr")
        {
            out.extend_from_slice(b"\"addr\":");
            quote(out, server);
        }
        let node = values.int(Column::NodeId).or(context.and_then(|context| context.node_id).map(i64::from));
        if let Some(node) = node
            && begin(out, "nodeId")
        {
            number(out, "\"nodeId\":\"", node);
            out.push(b'"');
        }
    }
    if !own.is_empty() {
        if out.len() > empty {
            out.push(b',');
        }
        let at = out.len();
        write_map(out, &own);
        out.pop();
        out.remove(at);
    }
    if out.len() == empty {
        out.truncate(before);
    } else {
        out.push(b'}');
    }
    Ok(Some(given).filter(|given| !given.is_empty()).map(Value::from))
}
