//! Objects that the user makes beside disks (`--object`), by id.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use block_protocols::OBJECTS;
use qapi::{Dict, Error, Value, opts};

use crate::open::Session;

/// An object; who uses it knows its type.
pub type Object = Arc<dyn Any + Send + Sync>;

/// All objects of a session.
#[derive(Default)]
pub(crate) struct Objects(Mutex<HashMap<String, Object>>);

impl Objects {
    pub(crate) fn find(&self, id: &str) -> Option<Object> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(id).cloned()
    }

    fn add(&self, id: String, object: Object) -> qapi::Result<()> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.contains_key(&id) {
            return Err(Error::new(format!(
                "attempt to add duplicate property '{id}' to object (type 'container')"
            )));
        }
        all.insert(id, object);
        Ok(())
    }
}

/// Whether a word can be an id.
fn is_id(id: &str) -> bool {
    id.starts_with(|c: char| c.is_ascii_alphabetic())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}

fn required(options: &mut Dict, name: &str) -> qapi::Result<String> {
    opts::take_str(options, name)?
        .ok_or_else(|| Error::new(format!("Parameter '{name}' is missing")))
}

impl Session {
    /// Makes an object from an option string, for nodes that are opened later.
    ///
    /// # Errors
    /// In QEMU's words.
    pub fn add_object(&self, text: &str) -> qapi::Result<()> {
        let mut flat = Dict::new();
        for (name, value) in opts::split(text, Some("qom-type")) {
            flat.insert(name, value);
        }
        let mut options = opts::nest(flat)?;
        let kind = required(&mut options, "qom-type")?;
        let id = match options.remove("id") {
            None => {
                return Err(
                    unknown(&kind).unwrap_or_else(|| Error::new("Parameter 'id' is missing"))
                );
            }
            Some(Value::Str(id)) => id,
            Some(_) => return Err(Error::new("Parameter 'id' expects an identifier")),
        };
        if !is_id(&id) {
            return Err(Error::new("Parameter 'id' expects an identifier").hint(
                "Identifiers consist of letters, digits, '-', '.', '_', starting with a letter.",
            ));
        }
        let (_, make) = OBJECTS
            .iter()
            .find(|(name, _)| *name == kind)
            .ok_or_else(|| not_a_type(&kind))?;
        let object = make(&mut options)?;
        if let Some((key, _)) = options.iter().next() {
            return Err(Error::new(format!("Parameter '{key}' is unexpected")));
        }
        self.objects.add(id, object)
    }

    /// The object called `id`, if there is one.
    pub fn object(&self, id: &str) -> Option<Object> {
        self.objects.find(id)
    }
}

fn not_a_type(kind: &str) -> Error {
    Error::new(format!(
        "Parameter 'qom-type' does not accept value '{kind}'"
    ))
}

fn unknown(kind: &str) -> Option<Error> {
    let known = OBJECTS.iter().any(|(name, _)| *name == kind);
    (!known).then(|| not_a_type(kind))
}
