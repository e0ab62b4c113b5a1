//! What a user makes beside disks and devices (`--object TYPE,id=ID,...`), by id.
//!
//! Each crate that owns a type lists it as an [`ObjectType`]; a tool says which lists it offers. An object is any
//! value: who uses it knows its type and asks for it by [`Objects::get`].
#![forbid(unsafe_code)]

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use qapi::{Dict, Error, Result, Value, json, opts};

/// An object; who uses it knows its type.
pub type Object = Arc<dyn Any + Send + Sync>;

/// Makes an object from its options and takes those it knows. The objects made before are there to be used.
pub type Make = fn(&mut Dict, &Objects) -> Result<Object>;

/// One type of objects.
#[derive(Clone, Copy)]
pub struct ObjectType {
    /// `qom-type`
    pub name: &'static str,
    /// Makes one.
    pub make: Make,
}

/// All objects of a tool.
pub struct Objects {
    types: &'static [&'static [ObjectType]],
    all: Mutex<HashMap<String, Object>>,
}

impl fmt::Debug for Objects {
    /// Only the ids: what objects hold may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_list().entries(all.keys()).finish()
    }
}

impl Objects {
    /// None yet; they can be of these types.
    #[must_use]
    pub fn of(types: &'static [&'static [ObjectType]]) -> Self {
        Self {
            types,
            all: Mutex::default(),
        }
    }

    /// The object called `id`, if there is one.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Object> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(id).cloned()
    }

    /// The object called `id`, if it is of this type.
    #[must_use]
    pub fn get<T: Send + Sync + 'static>(&self, id: &str) -> Option<Arc<T>> {
        self.find(id)?.downcast().ok()
    }

    /// The ids of all, sorted.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ids: Vec<String> = all.keys().cloned().collect();
        ids.sort_unstable();
        ids
    }

    /// Makes one more from an option string or a JSON text.
    ///
    /// # Errors
    /// In QEMU's words.
    pub fn add(&self, text: &str) -> Result<()> {
        self.make(read(text)?)
    }

    /// Makes one more from its options, `qom-type` and `id` among them.
    ///
    /// # Errors
    /// In QEMU's words.
    pub fn make(&self, mut options: Dict) -> Result<()> {
        let kind = opts::take_str(&mut options, "qom-type")?.ok_or_else(|| missing("qom-type"))?;
        let mut types = self.types.iter().flat_map(|list| list.iter());
        let Some(found) = types.find(|t| t.name == kind) else {
            return Err(Error::new(format!(
                "Parameter 'qom-type' does not accept value '{kind}'"
            )));
        };
        let id = match options.remove("id") {
            None => return Err(missing("id")),
            Some(Value::Str(id)) if opts::is_id(&id) => id,
            Some(_) => {
                return Err(Error::new("Parameter 'id' expects an identifier").hint(
                    "Identifiers consist of letters, digits, '-', '.', '_', starting with a letter.",
                ));
            }
        };
        let object = (found.make)(&mut options, self)?;
        if let Some((key, _)) = options.iter().next() {
            return Err(Error::new(format!("Parameter '{key}' is unexpected")));
        }
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.contains_key(&id) {
            return Err(Error::new(format!(
                "attempt to add duplicate property '{id}' to object (type 'container')"
            )));
        }
        all.insert(id, object);
        Ok(())
    }
}

/// A property that must be there is not.
#[must_use]
pub fn missing(name: &str) -> Error {
    Error::new(format!("Parameter '{name}' is missing"))
}

fn read(text: &str) -> Result<Dict> {
    if text.starts_with('{') {
        let Value::Dict(options) = json::parse(text)? else {
            return Err(Error::new("Invalid JSON object given"));
        };
        return Ok(options);
    }
    let mut flat = Dict::new();
    for (name, value) in opts::split(text, Some("qom-type")) {
        flat.insert(name, value);
    }
    opts::nest(flat)
}

#[cfg(test)]
mod tests;
