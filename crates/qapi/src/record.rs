//! Typed records over the value tree: what a command takes and gives, what an option says.
//!
//! A record reads itself from an object and refuses in QEMU's words; it writes itself back, and it describes itself for
//! help texts and the schema. `#[derive(Record)]` and `#[derive(Choice)]` write the implementations.
//!
//! The tree comes from JSON, where a number is a number, or from an option string, where every leaf is a
//! string until a record asks; [`Form`] says which.

mod scalar;

pub use qapi_derive::{Choice, Record};
pub use scalar::{Any, Null, Size};

use crate::schema::{Members, Schema, TypeRef};
use crate::{Dict, Error, Result, Value};

/// Where a tree came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// JSON: types are strict.
    Json,
    /// An option string: every leaf is a string.
    Keyval,
}

/// Where in the tree a value stands, for error messages.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    form: Form,
    up: Option<&'a Place<'a>>,
    step: Step<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Root,
    Member(&'a str),
    Item(usize),
}

impl<'a> Place<'a> {
    /// The top of a tree.
    pub fn root(form: Form) -> Self {
        Self {
            form,
            up: None,
            step: Step::Root,
        }
    }

    /// A member of the object here.
    #[must_use]
    pub fn member(&'a self, name: &'a str) -> Self {
        self.down(Step::Member(name))
    }

    /// An item of the list here.
    #[must_use]
    pub fn item(&'a self, index: usize) -> Self {
        self.down(Step::Item(index))
    }

    fn down(&'a self, step: Step<'a>) -> Self {
        Self {
            form: self.form,
            up: Some(self),
            step,
        }
    }

    /// Where the tree came from.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The name from the top: `file.filename`, `children[1].driver` (`children.1.driver` in option strings).
    pub fn full_name(&self) -> String {
        let mut name = self.up.map(Place::full_name).unwrap_or_default();
        match (self.step, self.form) {
            (Step::Root, _) => {}
            (Step::Item(index), Form::Json) => name.push_str(&format!("[{index}]")),
            (Step::Item(index), Form::Keyval) => name.push_str(&format!(".{index}")),
            (Step::Member(member), _) => {
                if !name.is_empty() {
                    name.push('.');
                }
                name.push_str(member);
            }
        }
        name
    }

    /// `Parameter 'X' is missing`
    pub fn missing(&self) -> Error {
        Error::new(format!("Parameter '{}' is missing", self.full_name()))
    }

    /// `Parameter 'X' expects WHAT`
    pub fn expects(&self, what: &str) -> Error {
        Error::new(format!("Parameter '{}' expects {what}", self.full_name()))
    }

    /// `Invalid parameter type for 'X', expected: WHAT`
    pub fn wrong_type(&self, what: &str) -> Error {
        Error::new(format!(
            "Invalid parameter type for '{}', expected: {what}",
            self.full_name()
        ))
    }

    /// `Parameter 'X' does not accept value 'WORD'`. QEMU names the member alone here.
    pub fn not_accepted(&self, word: &str) -> Error {
        let name = match self.step {
            Step::Member(name) => name,
            Step::Root | Step::Item(_) => "null",
        };
        Error::new(format!("Parameter '{name}' does not accept value '{word}'"))
    }

    /// The string here.
    ///
    /// # Errors
    /// It is none.
    pub fn word(&self, value: Value) -> Result<String> {
        match value {
            Value::Str(word) => Ok(word),
            _ => Err(self.wrong_type("string")),
        }
    }

    fn unexpected(&self, value: &Value) -> Error {
        let name = self.full_name();
        let several = matches!(value, Value::Dict(_) | Value::List(_));
        match self.form {
            Form::Keyval if several => Error::new(format!("Parameters '{name}.*' are unexpected")),
            _ => Error::new(format!("Parameter '{name}' is unexpected")),
        }
    }
}

/// A type that a member of a record can have.
pub trait Field: Sized {
    /// Reads it from a value at `place`.
    ///
    /// # Errors
    /// In QEMU's words, naming the place.
    fn read(value: Value, place: &Place<'_>) -> Result<Self>;

    /// As a value.
    fn write(&self) -> Value;

    /// Its entry in the schema.
    fn describe(schema: &mut Schema) -> TypeRef;
}

/// An object with members of known names and types.
pub trait Record: Field {
    /// Name of the type.
    const NAME: &'static str;

    /// Takes the members that it knows out of `members`.
    ///
    /// # Errors
    /// As [`Field::read`].
    fn take(members: &mut Dict, place: &Place<'_>) -> Result<Self>;

    /// Adds its members to `members`.
    fn put(&self, members: &mut Dict);

    /// Its members, described.
    fn members(schema: &mut Schema) -> Members;
}

/// Reads a whole object from JSON.
///
/// # Errors
/// As [`Field::read`], and for members that nobody knows.
pub fn from_json<R: Record>(arguments: Dict) -> Result<R> {
    read_members(arguments, &Place::root(Form::Json))
}

/// Reads a whole object from what an option string said.
///
/// # Errors
/// As [`from_json`].
pub fn from_keyval<R: Record>(options: Dict) -> Result<R> {
    read_members(options, &Place::root(Form::Keyval))
}

/// An object from a value. For derived code.
///
/// # Errors
/// As [`Field::read`].
pub fn read_record<R: Record>(value: Value, place: &Place<'_>) -> Result<R> {
    match value {
        Value::Dict(members) => read_members(members, place),
        _ => Err(place.wrong_type("object")),
    }
}

fn read_members<R: Record>(mut members: Dict, place: &Place<'_>) -> Result<R> {
    let record = R::take(&mut members, place)?;
    match members.iter().next() {
        None => Ok(record),
        Some((name, value)) => Err(place.member(name).unexpected(value)),
    }
}

/// The record as an object.
pub fn write<R: Record>(record: &R) -> Value {
    let mut members = Dict::new();
    record.put(&mut members);
    members.into()
}

/// A member that must be there. For derived code.
///
/// # Errors
/// As [`Field::read`]; the member is missing.
pub fn take<F: Field>(members: &mut Dict, name: &str, place: &Place<'_>) -> Result<F> {
    take_optional(members, name, place)?.ok_or_else(|| place.member(name).missing())
}

/// A member that may be left out. For derived code.
///
/// # Errors
/// As [`Field::read`].
pub fn take_optional<F: Field>(
    members: &mut Dict,
    name: &str,
    place: &Place<'_>,
) -> Result<Option<F>> {
    match members.remove(name) {
        Some(value) => F::read(value, &place.member(name)).map(Some),
        None => Ok(None),
    }
}

impl<F: Field> Field for Vec<F> {
    fn read(value: Value, place: &Place<'_>) -> Result<Self> {
        let Value::List(items) = value else {
            return Err(place.wrong_type("array"));
        };
        let read = |(index, item)| F::read(item, &place.item(index));
        items.into_iter().enumerate().map(read).collect()
    }

    fn write(&self) -> Value {
        Value::List(self.iter().map(Field::write).collect())
    }

    fn describe(schema: &mut Schema) -> TypeRef {
        let item = F::describe(schema);
        schema.array(item)
    }
}

impl<F: Field> Field for Box<F> {
    fn read(value: Value, place: &Place<'_>) -> Result<Self> {
        F::read(value, place).map(Box::new)
    }

    fn write(&self) -> Value {
        (**self).write()
    }

    fn describe(schema: &mut Schema) -> TypeRef {
        F::describe(schema)
    }
}

#[cfg(test)]
mod tests;
