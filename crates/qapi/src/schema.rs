//! What records say of themselves: the entries of `query-qmp-schema`, and help texts.
//!
//! Entries are numbered in the order in which they were first asked for, and a type that is asked for again is found,
//! so types may name each other in circles. Layout: QEMU's QMP reference, section "Introspection".

use std::collections::HashMap;

use crate::record::{Field, Record};
use crate::{Dict, Value, json};

/// Types that need no entry of their own making.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Builtin {
    /// A string.
    Str,
    /// An integer.
    Int,
    /// Any number.
    Number,
    /// `true` or `false`.
    Bool,
    /// `null`.
    Null,
    /// Anything.
    Any,
}

impl Builtin {
    const ALL: &[(Self, &'static str, &'static str)] = &[
        (Self::Str, "str", "string"),
        (Self::Int, "int", "int"),
        (Self::Number, "number", "number"),
        (Self::Bool, "bool", "boolean"),
        (Self::Null, "null", "null"),
        (Self::Any, "any", "value"),
    ];

    /// Its name, and the name of its JSON type.
    fn names(self) -> (&'static str, &'static str) {
        let found = Self::ALL.iter().find(|(one, ..)| *one == self);
        found.map_or(("any", "value"), |(_, name, json)| (name, json))
    }
}

/// A type, by its place in the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TypeRef {
    /// One that every schema has.
    Builtin(Builtin),
    /// An entry.
    Entry(usize),
}

/// Whether a member must be given.
#[derive(Debug, Clone, PartialEq)]
pub enum Need {
    /// It must.
    Required,
    /// It may be left out.
    Optional,
    /// Left out, it is this, as help texts show it.
    DefaultsTo(String),
}

impl Need {
    /// A default, from the value itself.
    pub fn defaults_to<F: Field>(value: &F) -> Self {
        Self::DefaultsTo(match value.write() {
            Value::Str(text) => text,
            Value::Bool(on) => if on { "on" } else { "off" }.to_owned(),
            other => json::compact(&other),
        })
    }
}

/// A member of an object.
#[derive(Debug, Clone)]
pub struct Member {
    /// On the wire.
    pub name: &'static str,
    /// A sentence for people; empty when nobody wrote one.
    pub help: &'static str,
    /// Its type.
    pub ty: TypeRef,
    /// Whether it must be given.
    pub need: Need,
}

/// The members of an object, and what a tag adds to them.
#[derive(Debug, Clone, Default)]
pub struct Members {
    all: Vec<Member>,
    tag: Option<&'static str>,
    variants: Vec<(&'static str, Option<TypeRef>)>,
}

impl Members {
    /// The members of a flat union.
    pub fn union(
        tag: &'static str,
        ty: TypeRef,
        variants: Vec<(&'static str, Option<TypeRef>)>,
    ) -> Self {
        let member = Member {
            name: tag,
            help: "",
            ty,
            need: Need::Required,
        };
        Self {
            all: vec![member],
            tag: Some(tag),
            variants,
        }
    }

    /// One more member.
    pub fn add<F: Field>(
        &mut self,
        schema: &mut Schema,
        name: &'static str,
        help: &'static str,
        need: Need,
    ) {
        let ty = F::describe(schema);
        self.all.push(Member {
            name,
            help,
            ty,
            need,
        });
    }

    /// Those of another record, beside these.
    pub fn join(&mut self, other: Self) {
        self.all.extend(other.all);
        if other.tag.is_some() {
            self.tag = other.tag;
            self.variants = other.variants;
        }
    }

    /// Members, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.all.iter()
    }
}

/// One entry.
#[derive(Debug)]
enum Entry {
    Choice(&'static [&'static str]),
    Array(TypeRef),
    Object(Members),
    /// Named before it was described: a type that holds itself.
    Open,
}

/// A schema in the making.
#[derive(Debug, Default)]
pub struct Schema {
    entries: Vec<Entry>,
    named: HashMap<&'static str, usize>,
    arrays: HashMap<TypeRef, usize>,
}

impl Schema {
    /// An enumeration.
    pub fn choice(&mut self, name: &'static str, values: &'static [&'static str]) -> TypeRef {
        if let Some(at) = self.named.get(name) {
            return TypeRef::Entry(*at);
        }
        let at = self.push(Entry::Choice(values));
        self.named.insert(name, at);
        TypeRef::Entry(at)
    }

    /// A list of `item`.
    pub fn array(&mut self, item: TypeRef) -> TypeRef {
        if let Some(at) = self.arrays.get(&item) {
            return TypeRef::Entry(*at);
        }
        let at = self.push(Entry::Array(item));
        self.arrays.insert(item, at);
        TypeRef::Entry(at)
    }

    /// An object. Names of records are unique within a program.
    pub fn object<R: Record>(&mut self) -> TypeRef {
        if let Some(at) = self.named.get(R::NAME) {
            return TypeRef::Entry(*at);
        }
        let at = self.push(Entry::Open);
        self.named.insert(R::NAME, at);
        let members = R::members(self);
        self.entries[at] = Entry::Object(members);
        TypeRef::Entry(at)
    }

    fn push(&mut self, entry: Entry) -> usize {
        self.entries.push(entry);
        self.entries.len() - 1
    }

    /// The name of a type: a number for entries, as in QEMU, whose names of types are no interface either.
    pub fn name(&self, ty: TypeRef) -> String {
        match ty {
            TypeRef::Builtin(builtin) => builtin.names().0.to_owned(),
            TypeRef::Entry(at) => match &self.entries[at] {
                Entry::Array(item) => format!("[{}]", self.name(*item)),
                _ => at.to_string(),
            },
        }
    }

    /// Every type as a `SchemaInfo`.
    pub fn to_list(&self) -> Vec<Value> {
        let entries = (0..self.entries.len()).map(|at| self.info(at));
        let builtins = Builtin::ALL
            .iter()
            .map(|(_, name, json)| info(name, "builtin", [("json-type", Value::from(*json))]));
        entries.chain(builtins).collect()
    }

    fn info(&self, at: usize) -> Value {
        let name = self.name(TypeRef::Entry(at));
        match &self.entries[at] {
            Entry::Choice(values) => {
                let members = values.iter().map(|v| record([("name", Value::from(*v))]));
                let words = values.iter().map(|v| Value::from(*v)).collect();
                info(
                    &name,
                    "enum",
                    [
                        ("members", Value::List(members.collect())),
                        ("values", Value::List(words)),
                    ],
                )
            }
            Entry::Array(item) => info(
                &name,
                "array",
                [("element-type", Value::from(self.name(*item)))],
            ),
            Entry::Object(members) => self.object_info(&name, members),
            Entry::Open => info(&name, "object", [("members", Value::List(Vec::new()))]),
        }
    }

    fn object_info(&self, name: &str, members: &Members) -> Value {
        let mut all = Vec::new();
        for member in members.iter() {
            let mut one = Dict::new();
            one.insert("name", member.name);
            if member.need != Need::Required {
                one.insert("default", Value::Null);
            }
            one.insert("type", self.name(member.ty));
            all.push(Value::Dict(one));
        }
        let mut out = vec![("members", Value::List(all))];
        if let Some(tag) = members.tag {
            let variants = members.variants.iter().filter_map(|(case, ty)| {
                let ty = self.name((*ty)?);
                Some(record([
                    ("case", Value::from(*case)),
                    ("type", Value::from(ty)),
                ]))
            });
            out.push(("tag", Value::from(tag)));
            out.push(("variants", Value::List(variants.collect())));
        }
        info(name, "object", out)
    }

    /// What a type is called in help texts.
    pub fn help_type(&self, ty: TypeRef) -> String {
        match ty {
            TypeRef::Builtin(builtin) => builtin.names().0.to_owned(),
            TypeRef::Entry(at) => match &self.entries[at] {
                Entry::Choice(values) => values.join("|"),
                Entry::Array(item) => format!("list of {}", self.help_type(*item)),
                Entry::Object(_) | Entry::Open => "object".to_owned(),
            },
        }
    }
}

fn record<const N: usize>(members: [(&str, Value); N]) -> Value {
    let mut out = Dict::new();
    for (name, value) in members {
        out.insert(name, value);
    }
    out.into()
}

fn info<'a>(name: &str, meta: &str, more: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let mut out = Dict::new();
    out.insert("name", name);
    out.insert("meta-type", meta);
    for (key, value) in more {
        out.insert(key, value);
    }
    out.into()
}
