//! ACLs. Answers come in the order of the request; words are those of Kafka's enums.

use auditring_event::{ActionSpec, named};

use crate::cursor::{Cursor, Step};
use crate::exchange::{Exchange, Fate};
use crate::facts::Draft;

const CREATE: &ActionSpec = named("CreateAcls");
const DELETE: &ActionSpec = named("DeleteAcls");
const DESCRIBE: &ActionSpec = named("DescribeAcls");

/// An ACL, or a filter, which may leave names out.
#[derive(Clone, Copy)]
struct Acl<'a> {
    kind: i8,
    resource: Option<&'a [u8]>,
    pattern: i8,
    principal: Option<&'a [u8]>,
    host: Option<&'a [u8]>,
    operation: i8,
    permission: i8,
}

impl<'a> Acl<'a> {
    fn read(message: &mut Cursor<'a>) -> Step<Self> {
        let acl = Self {
            kind: message.i8()?,
            resource: message.nullable_string()?,
            pattern: message.i8()?,
            principal: message.nullable_string()?,
            host: message.nullable_string()?,
            operation: message.i8()?,
            permission: message.i8()?,
        };
        message.tags()?;
        Ok(acl)
    }

    fn event(&self, mut draft: Draft<'_>) {
        draft
            .text("resource_type", word(self.kind, &KINDS).as_bytes())
            .text("acl_operation", word(self.operation, &OPERATIONS).as_bytes())
            .text("acl_permission", word(self.permission, &PERMISSIONS).as_bytes())
            .text("acl_pattern", word(self.pattern, &PATTERNS).as_bytes());
        let named = [("resource", self.resource), ("acl_principal", self.principal), ("acl_host", self.host)];
        for (field, name) in named {
            if let Some(name) = name {
                draft.text(field, name);
            }
        }
        draft.finish();
    }
}

/// `ResourceType` of Kafka, as `resource_type` has it.
const KINDS: [&str; 8] = ["Unknown", "Any", "Topic", "Group", "Cluster", "TransactionalId", "DelegationToken", "User"];
/// `AclOperation` of Kafka.
const OPERATIONS: [&str; 16] = [
    "UNKNOWN",
    "ANY",
    "ALL",
    "READ",
    "WRITE",
    "CREATE",
    "DELETE",
    "ALTER",
    "DESCRIBE",
    "CLUSTER_ACTION",
    "DESCRIBE_CONFIGS",
    "ALTER_CONFIGS",
    "IDEMPOTENT_WRITE",
    "CREATE_TOKENS",
    "DESCRIBE_TOKENS",
    "TWO_PHASE_COMMIT",
];
/// `AclPermissionType` of Kafka.
const PERMISSIONS: [&str; 4] = ["UNKNOWN", "ANY", "DENY", "ALLOW"];
/// `PatternType` of Kafka.
const PATTERNS: [&str; 5] = ["UNKNOWN", "ANY", "MATCH", "LITERAL", "PREFIXED"];

/// The word of a number; the first for those that Kafka 4.4 does not know.
fn word<'w>(number: i8, words: &[&'w str]) -> &'w str {
    usize::try_from(number).ok().and_then(|at| words.get(at)).unwrap_or(&words[0])
}

pub(crate) fn create(exchange: &mut Exchange<'_>) -> Step<()> {
    let mut codes = Vec::new();
    let whole = exchange.answer.map_or(Ok(()), |mut answer| {
        answer.i32()?;
        answer.each(|result| {
            codes.push(result.i16()?);
            result.nullable_string()?;
            result.tags()
        })?;
        Ok(())
    });
    let mut codes = codes.into_iter();
    let mut request = exchange.request;
    request.each(|creation| {
        let acl = Acl::read(creation)?;
        acl.event(exchange.event(CREATE, codes.next().map_or(Fate::Unanswered, Fate::Answered)));
        Ok(())
    })?;
    whole
}

/// What was deleted has an event each, and a filter that failed or met none has one of its own.
pub(crate) fn delete(exchange: &mut Exchange<'_>) -> Step<()> {
    // Of each filter its code, and the ACLs that it met.
    let mut results: Vec<(i16, Vec<(i16, Acl<'_>)>)> = Vec::new();
    let whole = exchange.answer.map_or(Ok(()), |mut answer| {
        answer.i32()?;
        answer.each(|result| {
            let code = result.i16()?;
            result.nullable_string()?;
            results.push((code, Vec::new()));
            result.each(|matching| {
                let code = matching.i16()?;
                matching.nullable_string()?;
                let acl = Acl::read(matching)?;
                if let Some((_, deleted)) = results.last_mut() {
                    deleted.push((code, acl));
                }
                Ok(())
            })?;
            result.tags()
        })?;
        Ok(())
    });
    let mut results = results.into_iter();
    let mut request = exchange.request;
    request.each(|filter| {
        let filter = Acl::read(filter)?;
        match results.next() {
            None => filter.event(exchange.event(DELETE, Fate::Unanswered)),
            Some((0, deleted)) if !deleted.is_empty() => {
                for (code, acl) in deleted {
                    acl.event(exchange.event(DELETE, Fate::Answered(code)));
                }
            }
            Some((code, _)) => filter.event(exchange.event(DELETE, Fate::Answered(code))),
        }
        Ok(())
    })?;
    whole
}

pub(crate) fn describe(exchange: &mut Exchange<'_>) -> Step<()> {
    let filter = Acl::read(&mut exchange.request.clone())?;
    let Some(mut answer) = exchange.answer else { return Ok(()) };
    answer.i32()?;
    let code = answer.i16()?;
    filter.event(exchange.event(DESCRIBE, Fate::Answered(code)));
    Ok(())
}

#[cfg(test)]
mod tests;
