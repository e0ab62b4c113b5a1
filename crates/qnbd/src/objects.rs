//! `--object TYPE,id=ID,...`: what options name by an id.

use qapi::{Dict, Error, Result, Value, json, opts};

/// One object.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    id: String,
    kind: String,
    properties: Dict,
}

/// All objects of a command line.
#[derive(Debug, Default)]
pub(crate) struct Objects(Vec<Object>);

/// Which end of a connection credentials are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Client,
    Server,
}

impl Endpoint {
    fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// Types that can be made, and their properties.
const TYPES: &[(&str, &[&str])] = &[
    ("secret", &["data", "file", "format", "keyid", "iv"]),
    (
        "tls-creds-x509",
        &[
            "dir",
            "endpoint",
            "verify-peer",
            "priority",
            "sanity-check",
            "passwordid",
        ],
    ),
    (
        "tls-creds-psk",
        &["dir", "endpoint", "verify-peer", "priority", "username"],
    ),
    (
        "tls-creds-anon",
        &["dir", "endpoint", "verify-peer", "priority"],
    ),
    ("authz-simple", &["identity"]),
];

impl Objects {
    /// Makes one more.
    ///
    /// # Errors
    /// In QEMU's words.
    pub(crate) fn add(&mut self, text: &str) -> Result<()> {
        let mut properties = read(text)?;
        let kind = match opts::take_str(&mut properties, "qom-type")? {
            Some(kind) => kind,
            None => return Err(Error::new("Parameter 'qom-type' is missing")),
        };
        let Some((_, known)) = TYPES.iter().find(|(name, _)| *name == kind) else {
            // GAP: no throttle groups, authorization lists and other objects.
            return Err(Error::new(format!(
                "Parameter 'qom-type' does not accept value '{kind}'"
            )));
        };
        let id = match opts::take_str(&mut properties, "id")? {
            Some(id) => id,
            None => return Err(Error::new("Parameter 'id' is missing")),
        };
        if let Some((name, _)) = properties.iter().find(|(name, _)| !known.contains(name)) {
            return Err(Error::new(format!("Parameter '{name}' is unexpected")));
        }
        if self.find(&id).is_some() {
            return Err(Error::new(format!(
                "attempt to add duplicate property '{id}' to object (type 'container')"
            )));
        }
        let object = Object {
            id,
            kind,
            properties,
        };
        object.check()?;
        self.0.push(object);
        Ok(())
    }

    pub(crate) fn find(&self, id: &str) -> Option<&Object> {
        self.0.iter().find(|o| o.id == id)
    }

    /// TLS credentials for one end.
    ///
    /// # Errors
    /// When there are none by this id, or they are for the other end.
    pub(crate) fn credentials(&self, id: &str, end: Endpoint) -> Result<&Object> {
        let object = self
            .find(id)
            .ok_or_else(|| Error::new(format!("No TLS credentials with id '{id}'")))?;
        if !object.kind.starts_with("tls-creds-") {
            return Err(Error::new(format!(
                "Object with id '{id}' is not TLS credentials"
            )));
        }
        let given = object.text("endpoint").unwrap_or("client");
        if given != end.name() {
            return Err(Error::new(format!(
                "Expected TLS credentials for a {} endpoint",
                end.name()
            )));
        }
        Ok(object)
    }
}

impl Object {
    /// A property.
    fn text(&self, name: &str) -> Option<&str> {
        self.properties.get_str(name)
    }

    fn check(&self) -> Result<()> {
        if self.kind == "secret" {
            return match (self.text("data"), self.text("file")) {
                (None, None) => Err(Error::new("Either 'file' or 'data' must be provided")),
                (Some(_), Some(_)) => Err(Error::new("'file' and 'data' are mutually exclusive")),
                _ => Ok(()),
            };
        }
        if let Some(end) = self
            .text("endpoint")
            .filter(|e| !["client", "server"].contains(e))
        {
            return Err(Error::new(format!(
                "Parameter 'endpoint' does not accept value '{end}'"
            )));
        }
        for name in ["verify-peer", "sanity-check"] {
            if let Some(text) = self.text(name) {
                opts::parse_bool(name, text)?;
            }
        }
        Ok(())
    }
}

/// Reads an option string or JSON. Values become texts.
fn read(text: &str) -> Result<Dict> {
    let mut out = Dict::new();
    if text.starts_with('{') {
        let Value::Dict(given) = json::parse(text)? else {
            return Err(Error::new("Invalid JSON object given"));
        };
        for (name, value) in given.into_entries() {
            let value = match value {
                Value::Bool(on) => Value::from(if on { "on" } else { "off" }),
                other => other,
            };
            out.insert(name, value);
        }
        return Ok(out);
    }
    for (name, value) in opts::split(text, Some("qom-type")) {
        out.insert(name, value);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let mut objects = Objects::default();
        objects.add(text).unwrap_err().message().to_owned()
    }

    #[test]
    fn objects_are_refused_in_known_words() {
        assert_eq!(refusal("secret"), "Parameter 'id' is missing");
        assert_eq!(
            refusal("foo,id=x"),
            "Parameter 'qom-type' does not accept value 'foo'"
        );
        assert_eq!(
            refusal("secret,id=x"),
            "Either 'file' or 'data' must be provided"
        );
    }

    #[test]
    fn credentials_are_for_one_end() {
        let mut objects = Objects::default();
        objects.add("secret,id=s,data=1").unwrap();
        objects
            .add("{\"qom-type\": \"tls-creds-x509\", \"id\": \"t\", \"endpoint\": \"server\", \"verify-peer\": false}")
            .unwrap();
        let error = |id, end| {
            let found = objects.credentials(id, end);
            found.unwrap_err().message().to_owned()
        };
        assert_eq!(
            error("s", Endpoint::Server),
            "Object with id 's' is not TLS credentials"
        );
        assert_eq!(
            error("x", Endpoint::Server),
            "No TLS credentials with id 'x'"
        );
        assert_eq!(
            error("t", Endpoint::Client),
            "Expected TLS credentials for a client endpoint"
        );
        assert!(objects.credentials("t", Endpoint::Server).is_ok());
    }
}
