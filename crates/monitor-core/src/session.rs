//! One QMP conversation: greeting, negotiation, commands in the order in which they come.
//!
//! ```text
//! server: {"QMP": {"version": ..., "capabilities": ["oob"]}}
//! client: {"execute": "qmp_capabilities"}              server: {"return": {}}
//! client: {"execute": NAME, "arguments": {...}, "id": ANY}
//! server: {"return": ..., "id": ANY}  or  {"error": {"class": ..., "desc": ...}, "id": ANY}
//! ```
//! Every message ends with CR LF. What the client sends needs no line ends.

use qapi::record::from_json;
use qapi::{Dict, Error, ErrorClass, Result, Value, json};

use crate::command::{Command, Registry, Run};
use crate::core_commands::{Capabilities, QmpCapability, version_info};

/// The state of one conversation.
#[derive(Default)]
pub struct Session {
    splitter: json::Splitter,
    negotiated: bool,
    out_of_band: bool,
    pretty: bool,
}

/// A request, taken apart.
struct Request {
    name: String,
    arguments: Dict,
    id: Option<Value>,
    out_of_band: bool,
}

impl Session {
    /// A new conversation; `pretty` spreads answers over lines.
    pub fn new(pretty: bool) -> Self {
        Self {
            pretty,
            ..Self::default()
        }
    }

    /// What the server says first.
    pub fn greeting<C>(&self, registry: &Registry<C>) -> String {
        let mut inner = Dict::new();
        inner.insert("version", version_info(registry));
        inner.insert("capabilities", vec![Value::from("oob")]);
        let mut greeting = Dict::new();
        greeting.insert("QMP", inner);
        message(greeting, self.pretty)
    }

    /// Takes bytes from the client; gives the requests that are whole now, to be answered in order.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Result<String>> {
        self.splitter.feed(bytes)
    }

    /// Whether the client has negotiated: events are for those who have.
    pub fn wants_events(&self) -> bool {
        self.negotiated
    }

    /// Answers one request.
    pub async fn answer<C: Sync>(
        &mut self,
        registry: &Registry<C>,
        context: &C,
        request: Result<String>,
    ) -> String {
        let mut id = None;
        let result = match request
            .and_then(|text| json::parse(&text))
            .and_then(|value| take_apart(value, &mut id))
        {
            Ok(request) => {
                id.clone_from(&request.id);
                self.execute(registry, context, request).await
            }
            Err(error) => Err(error),
        };
        let mut out = Dict::new();
        match result {
            Ok(value) => out.insert("return", value),
            Err(error) => out.insert("error", error_record(&error)),
        }
        if let Some(id) = id {
            out.insert("id", id);
        }
        message(out, self.pretty)
    }

    async fn execute<C: Sync>(
        &mut self,
        registry: &Registry<C>,
        context: &C,
        request: Request,
    ) -> Result<Value> {
        let command = self.permitted(registry, &request)?;
        match &command.run {
            Run::Context(run) => run(context, request.arguments).await,
            Run::Registry(run) => run(registry, request.arguments),
            Run::Negotiate => self.negotiate(request.arguments),
        }
    }

    fn permitted<'r, C>(
        &self,
        registry: &'r Registry<C>,
        request: &Request,
    ) -> Result<&'r Command<C>> {
        let name = &request.name;
        let not_found = |text: String| Error::new(text).class(ErrorClass::CommandNotFound);
        if request.out_of_band && !self.out_of_band {
            return Err(Error::new("QMP input member 'exec-oob' is unexpected"));
        }
        let command = registry.find(name);
        let negotiates = command.is_some_and(|c| matches!(c.run, Run::Negotiate));
        if !self.negotiated && !negotiates {
            return Err(not_found(
                "Expecting capabilities negotiation with 'qmp_capabilities'".to_owned(),
            ));
        }
        if self.negotiated && negotiates {
            return Err(not_found(
                "Capabilities negotiation is already complete, command ignored".to_owned(),
            ));
        }
        let command =
            command.ok_or_else(|| not_found(format!("The command {name} has not been found")))?;
        if request.out_of_band && !command.flags.out_of_band {
            return Err(Error::new(format!(
                "The command {name} does not support OOB"
            )));
        }
        Ok(command)
    }

    fn negotiate(&mut self, arguments: Dict) -> Result<Value> {
        let asked: Capabilities = from_json(arguments)?;
        self.out_of_band = asked
            .enable
            .is_some_and(|all| all.contains(&QmpCapability::Oob));
        self.negotiated = true;
        Ok(Dict::new().into())
    }
}

/// A message as it goes out; `pretty` spreads it over lines.
pub fn message(members: Dict, pretty: bool) -> String {
    let value = members.into();
    let mut text = if pretty {
        json::pretty(&value)
    } else {
        json::compact(&value)
    };
    text.push_str("\r\n");
    text
}

/// `class` and `desc` of an error.
fn error_record(error: &Error) -> Dict {
    let class = match error.error_class() {
        ErrorClass::GenericError => "GenericError",
        ErrorClass::DeviceNotFound => "DeviceNotFound",
        ErrorClass::DeviceNotActive => "DeviceNotActive",
        ErrorClass::CommandNotFound => "CommandNotFound",
        ErrorClass::KvmMissingCap => "KVMMissingCap",
    };
    let mut record = Dict::new();
    record.insert("class", class);
    record.insert("desc", error.message());
    record
}

/// Name, arguments and id. The id is told even when the rest is wrong.
fn take_apart(value: Value, id: &mut Option<Value>) -> Result<Request> {
    let Value::Dict(members) = value else {
        return Err(Error::new("QMP input must be a JSON object"));
    };
    *id = members.get("id").cloned();
    let mut name = None;
    let mut arguments = Dict::new();
    for (key, value) in members.into_entries() {
        match (key.as_str(), value) {
            ("id", _) => {}
            ("execute" | "exec-oob", Value::Str(word)) => {
                if name.replace((key == "exec-oob", word)).is_some() {
                    return Err(Error::new(
                        "QMP input member 'exec-oob' clashes with 'execute'",
                    ));
                }
            }
            ("execute" | "exec-oob", _) => {
                return Err(Error::new(format!(
                    "QMP input member '{key}' must be a string"
                )));
            }
            ("arguments", Value::Dict(given)) => arguments = given,
            ("arguments", _) => {
                return Err(Error::new("QMP input member 'arguments' must be an object"));
            }
            _ => {
                return Err(Error::new(format!(
                    "QMP input member '{key}' is unexpected"
                )));
            }
        }
    }
    let (out_of_band, name) = name.ok_or_else(|| Error::new("QMP input lacks member 'execute'"))?;
    Ok(Request {
        name,
        arguments,
        id: id.clone(),
        out_of_band,
    })
}

#[cfg(test)]
mod tests;
