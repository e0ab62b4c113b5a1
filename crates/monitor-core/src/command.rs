//! What a command is, and the lists that a program joins.

use std::future::Future;
use std::pin::Pin;

use qapi::schema::{Schema, TypeRef};
use qapi::{Dict, Result, Value};

use crate::core_commands;
use crate::event::EventDesc;

/// The result of a command, to be waited for.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<Value>> + Send + 'a>>;

/// When and how a command may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags {
    /// Before the machine is made (`--preconfig`).
    pub preconfig: bool,
    /// Out of band, while another command waits.
    pub out_of_band: bool,
}

impl Flags {
    /// Only in order, only on a made machine.
    pub const NONE: Self = Self {
        preconfig: false,
        out_of_band: false,
    };
    /// Also before the machine is made.
    pub const EARLY: Self = Self {
        preconfig: true,
        out_of_band: false,
    };
}

/// What a command does.
pub enum Run<C: 'static> {
    /// Asks or changes what the monitor is for.
    Context(for<'a> fn(&'a C, Dict) -> Answer<'a>),
    /// Asks the lists of commands themselves.
    Registry(fn(&Registry<C>, Dict) -> Result<Value>),
    /// Ends the negotiation.
    Negotiate,
}

/// A command over a context `C`: what the monitor is for.
pub struct Command<C: 'static> {
    /// On the wire.
    pub name: &'static str,
    /// When and how it may run.
    pub flags: Flags,
    /// Types of its arguments and of its result; `None` is an empty object.
    pub describe: fn(&mut Schema) -> (Option<TypeRef>, Option<TypeRef>),
    /// What it does.
    pub run: Run<C>,
}

/// A row of a list of commands: `command!(NAME, FLAGS, ARGUMENTS => RESULT, |context, arguments| async { ... })`.
/// The record of arguments is read, and the result written, around the body.
#[macro_export]
macro_rules! command {
    ($name:literal, $flags:expr, $args:ty => $result:ty, $body:expr) => {
        $crate::Command {
            name: $name,
            flags: $flags,
            describe: |schema| {
                (
                    Some(<$args as ::qapi::record::Field>::describe(schema)),
                    Some(<$result as ::qapi::record::Field>::describe(schema)),
                )
            },
            run: $crate::Run::Context(|context, arguments| {
                Box::pin(async move {
                    let arguments = ::qapi::record::from_json::<$args>(arguments)?;
                    let result: $result = $body(context, arguments).await?;
                    Ok(::qapi::record::Field::write(&result))
                })
            }),
        }
    };
}

/// What the program says of its version.
#[derive(Debug, Clone)]
pub struct Version {
    /// Major, minor, micro.
    pub numbers: [u32; 3],
    /// Of the package.
    pub package: String,
}

/// Every command and event of one program.
pub struct Registry<C: 'static> {
    version: Version,
    lists: Vec<&'static [Command<C>]>,
    events: Vec<&'static [EventDesc]>,
    core: Vec<Command<C>>,
}

impl<C> Registry<C> {
    /// The commands that every monitor has, and these.
    pub fn new(
        version: Version,
        lists: Vec<&'static [Command<C>]>,
        events: Vec<&'static [EventDesc]>,
    ) -> Self {
        Self {
            version,
            lists,
            events,
            core: core_commands::commands(),
        }
    }

    /// What the program says of its version.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// Every command, those of every monitor first.
    pub fn iter(&self) -> impl Iterator<Item = &Command<C>> {
        self.core.iter().chain(self.lists.iter().copied().flatten())
    }

    /// The command of that name.
    pub fn find(&self, name: &str) -> Option<&Command<C>> {
        self.iter().find(|c| c.name == name)
    }

    /// `query-qmp-schema`: commands, events and every type they name.
    pub fn schema(&self) -> Vec<Value> {
        let mut types = Schema::default();
        let mut out = Vec::new();
        let mut uses_empty = false;
        for command in self.iter() {
            let (arguments, result) = (command.describe)(&mut types);
            uses_empty |= arguments.is_none() || result.is_none();
            let mut info = Dict::new();
            info.insert("name", command.name);
            info.insert("meta-type", "command");
            info.insert("arg-type", type_name(&types, arguments));
            info.insert("ret-type", type_name(&types, result));
            if command.flags.out_of_band {
                info.insert("allow-oob", true);
            }
            out.push(info.into());
        }
        for event in self.events.iter().copied().flatten() {
            let data = (event.describe)(&mut types);
            uses_empty |= data.is_none();
            let mut info = Dict::new();
            info.insert("name", event.name);
            info.insert("meta-type", "event");
            info.insert("arg-type", type_name(&types, data));
            out.push(info.into());
        }
        out.extend(types.to_list());
        if uses_empty {
            out.push(empty_object());
        }
        out
    }
}

/// Name of the object without members.
const EMPTY: &str = "empty";

fn type_name(types: &Schema, ty: Option<TypeRef>) -> String {
    ty.map_or_else(|| EMPTY.to_owned(), |ty| types.name(ty))
}

fn empty_object() -> Value {
    let mut info = Dict::new();
    info.insert("name", EMPTY);
    info.insert("meta-type", "object");
    info.insert("members", Vec::<Value>::new());
    info.into()
}
