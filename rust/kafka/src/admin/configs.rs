//! Settings of topics, brokers, groups …: which were changed, never to what.

use auditring_event::{ActionSpec, named};

use crate::answers::Answers;
use crate::cursor::{Cursor, Step};
use crate::denials::Denials;
use crate::errors::{CLUSTER, GROUP, TOPIC};
use crate::exchange::Exchange;

const ALTER: &ActionSpec = named("AlterConfigs");
/// Names of settings are joined as long as they are shorter than what an event takes.
const ENOUGH: usize = ALTER.fields[ALTER.position("settings")].cap as usize;

pub(crate) fn alter(exchange: &mut Exchange<'_>) -> Step<()> {
    alter_each(exchange, false)
}

pub(crate) fn incremental_alter(exchange: &mut Exchange<'_>) -> Step<()> {
    alter_each(exchange, true)
}

fn alter_each(exchange: &mut Exchange<'_>, incremental: bool) -> Step<()> {
    let answers = Answers::read(exchange.answer, |answers, answer| {
        answer.i32()?;
        answer.each(|resource| {
            let code = resource.i16()?;
            resource.nullable_string()?;
            answers.say((resource.i8()?, resource.string()?), code, ());
            resource.tags()
        })?;
        Ok(())
    });
    let validate_only = {
        let mut request = exchange.request;
        request.each(|resource| altered(resource, incremental, |_| ()).map(drop))?;
        request.bool()?
    };
    let mut settings = Vec::new();
    let mut request = exchange.request;
    request.each(|resource| {
        settings.clear();
        let named = altered(resource, incremental, |name| {
            if settings.len() <= ENOUGH {
                if !settings.is_empty() {
                    settings.push(b',');
                }
                settings.extend_from_slice(name);
            }
        })?;
        let mut draft = exchange.event(ALTER, answers.fate(&named));
        draft.text("resource_type", kind(named.0)).text("resource", named.1);
        if !settings.is_empty() {
            draft.text("settings", &settings);
        }
        draft.int("validate_only", validate_only.into()).finish();
        Ok(())
    })?;
    answers.whole()
}

/// A resource whose settings are changed, and the name of each setting.
fn altered<'a>(
    resource: &mut Cursor<'a>,
    incremental: bool,
    mut setting: impl FnMut(&'a [u8]),
) -> Step<(i8, &'a [u8])> {
    let named = (resource.i8()?, resource.string()?);
    resource.each(|config| {
        setting(config.string()?);
        if incremental {
            config.i8()?;
        }
        config.nullable_string()?;
        config.tags()
    })?;
    resource.tags()?;
    Ok(named)
}

/// `ConfigResource.Type` of Kafka.
const fn kind(kind: i8) -> &'static [u8] {
    match kind {
        2 => b"Topic",
        4 => b"Broker",
        8 => b"BrokerLogger",
        16 => b"ClientMetrics",
        32 => b"Group",
        _ => b"Unknown",
    }
}

pub(crate) fn describe(exchange: &mut Exchange<'_>) -> Step<()> {
    let Some(mut answer) = exchange.answer else { return Ok(()) };
    let version = exchange.version;
    let mut denials = Denials::of(exchange);
    answer.i32()?;
    answer.each(|resource| {
        let code = resource.i16()?;
        resource.nullable_string()?;
        resource.i8()?;
        let name = Some(resource.string()?);
        resource.each(|config| {
            config.string()?;
            config.nullable_string()?;
            // Whether it is read-only and sensitive, and where it comes from.
            config.take(3)?;
            config.each(|synonym| {
                synonym.string()?;
                synonym.nullable_string()?;
                synonym.i8()?;
                synonym.tags()
            })?;
            if version >= 3 {
                config.i8()?;
                config.nullable_string()?;
            }
            config.tags()
        })?;
        let operation = "DESCRIBE_CONFIGS";
        denials.tell(code, &[(TOPIC, operation, name), (GROUP, operation, name), (CLUSTER, operation, None)]);
        resource.tags()
    })?;
    Ok(())
}

#[cfg(test)]
mod tests;
