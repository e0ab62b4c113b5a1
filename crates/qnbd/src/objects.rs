//! `--object TYPE,id=ID,...`: what options name by an id.

use std::sync::Arc;

use block::FILTER_OBJECTS;
use object::{ObjectType, Objects};
use qapi::{Dict, Error, Result, opts};

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

/// TLS credentials.
#[derive(Debug)]
pub(crate) struct Credentials {
    endpoint: Endpoint,
}

/// Who may connect.
struct Authorization;

/// Types of this tool's own.
// GAP: authz-list and the other authorization lists cannot be made.
const TYPES: &[ObjectType] = &[
    ObjectType {
        name: "tls-creds-x509",
        make: |options, _| {
            let known = ["dir", "priority", "passwordid"];
            make_credentials(options, &known, &["verify-peer", "sanity-check"])
        },
    },
    ObjectType {
        name: "tls-creds-psk",
        make: |options, _| {
            make_credentials(options, &["dir", "priority", "username"], &["verify-peer"])
        },
    },
    ObjectType {
        name: "tls-creds-anon",
        make: |options, _| make_credentials(options, &["dir", "priority"], &["verify-peer"]),
    },
    ObjectType {
        name: "authz-simple",
        make: |options, _| {
            opts::take_str(options, "identity")?;
            Ok(Arc::new(Authorization))
        },
    },
];

/// No objects yet.
pub(crate) fn none() -> Objects {
    Objects::of(&[crypto::OBJECTS, FILTER_OBJECTS, TYPES])
}

fn make_credentials(
    options: &mut Dict,
    texts: &[&str],
    switches: &[&str],
) -> Result<object::Object> {
    for name in texts {
        opts::take_str(options, name)?;
    }
    for name in switches {
        opts::take_bool(options, name)?;
    }
    let endpoint = match opts::take_str(options, "endpoint")?.as_deref() {
        None | Some("client") => Endpoint::Client,
        Some("server") => Endpoint::Server,
        Some(other) => {
            return Err(Error::new(format!(
                "Parameter 'endpoint' does not accept value '{other}'"
            )));
        }
    };
    Ok(Arc::new(Credentials { endpoint }))
}

/// TLS credentials for one end.
///
/// # Errors
/// When there are none by this id, or they are for the other end.
pub(crate) fn credentials(objects: &Objects, id: &str, end: Endpoint) -> Result<Arc<Credentials>> {
    let object = objects
        .find(id)
        .ok_or_else(|| Error::new(format!("No TLS credentials with id '{id}'")))?;
    let found: Arc<Credentials> = object
        .downcast()
        .map_err(|_| Error::new(format!("Object with id '{id}' is not TLS credentials")))?;
    if found.endpoint != end {
        return Err(Error::new(format!(
            "Expected TLS credentials for a {} endpoint",
            end.name()
        )));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        none().add(text).unwrap_err().message().to_owned()
    }

    #[test]
    fn objects_are_refused_in_known_words() {
        assert_eq!(refusal("secret"), "Parameter 'id' is missing");
        assert_eq!(
            refusal("foo,id=x"),
            "Parameter 'qom-type' does not accept value 'foo'"
        );
        assert_eq!(
            refusal("tls-creds-psk,id=x,sanity-check=on"),
            "Parameter 'sanity-check' is unexpected"
        );
        assert_eq!(
            refusal("tls-creds-x509,id=x,endpoint=middle"),
            "Parameter 'endpoint' does not accept value 'middle'"
        );
    }

    #[test]
    fn credentials_are_for_one_end() {
        let objects = none();
        objects.add("secret,id=s,data=1").unwrap();
        objects
            .add("{\"qom-type\": \"tls-creds-x509\", \"id\": \"t\", \"endpoint\": \"server\", \"verify-peer\": false}")
            .unwrap();
        let error = |id, end| {
            let found = credentials(&objects, id, end);
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
        assert!(credentials(&objects, "t", Endpoint::Server).is_ok());
    }
}
