//! Commands that every monitor has: negotiation, and the lists that describe the rest.

use qapi::record::{Any, Choice, Field, Record, from_json};
use qapi::schema::{Schema, TypeRef};
use qapi::{Dict, Result, Value};

use crate::command::{Command, Flags, Registry, Run};

/// What a client may ask a session for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Choice)]
pub(crate) enum QmpCapability {
    /// Commands out of band.
    Oob,
}

/// Arguments of `qmp_capabilities`.
#[derive(Debug, Record)]
pub(crate) struct Capabilities {
    /// What to switch on.
    pub(crate) enable: Option<Vec<QmpCapability>>,
}

/// Three numbers.
#[derive(Debug, Record)]
struct VersionTriple {
    major: u32,
    minor: u32,
    micro: u32,
}

/// Result of `query-version`.
#[derive(Debug, Record)]
struct VersionInfo {
    qemu: VersionTriple,
    package: String,
}

/// A row of `query-commands`.
#[derive(Debug, Record)]
struct CommandInfo {
    name: String,
}

/// No arguments.
#[derive(Debug, Record)]
struct NoArguments {}

type Types = (Option<TypeRef>, Option<TypeRef>);

pub(crate) fn commands<C>() -> Vec<Command<C>> {
    let early = |name, describe: fn(&mut Schema) -> Types, run| Command {
        name,
        flags: Flags::EARLY,
        describe,
        run,
    };
    vec![
        early(
            "qmp_capabilities",
            |s| (Some(Capabilities::describe(s)), None),
            Run::Negotiate,
        ),
        early(
            "query-version",
            |s| (None, Some(VersionInfo::describe(s))),
            Run::Registry(version),
        ),
        early(
            "query-commands",
            |s| (None, Some(Vec::<CommandInfo>::describe(s))),
            Run::Registry(list),
        ),
        early(
            "query-qmp-schema",
            |s| (None, Some(Vec::<Any>::describe(s))),
            Run::Registry(schema),
        ),
    ]
}

fn version<C>(registry: &Registry<C>, arguments: Dict) -> Result<Value> {
    from_json::<NoArguments>(arguments)?;
    Ok(version_info(registry))
}

pub(crate) fn version_info<C>(registry: &Registry<C>) -> Value {
    let version = registry.version();
    let [major, minor, micro] = version.numbers;
    let qemu = VersionTriple {
        major,
        minor,
        micro,
    };
    let package = version.package.clone();
    VersionInfo { qemu, package }.write()
}

fn list<C>(registry: &Registry<C>, arguments: Dict) -> Result<Value> {
    from_json::<NoArguments>(arguments)?;
    let name = |command: &Command<C>| CommandInfo {
        name: command.name.to_owned(),
    };
    Ok(registry.iter().map(name).collect::<Vec<_>>().write())
}

fn schema<C>(registry: &Registry<C>, arguments: Dict) -> Result<Value> {
    from_json::<NoArguments>(arguments)?;
    Ok(registry.schema().into())
}
