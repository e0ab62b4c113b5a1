//! Derives of `qapi`'s typed records: one Rust type is the argument of a command, the text of an option, its help and
//! its entry in the schema.
//!
//! | derive | of | gives |
//! |---|---|---|
//! | `Record` | a struct with named fields | an object; members are the fields, `_` becoming `-` |
//! | `Record` | an enum with `#[qapi(tag = "...")]` | a flat union: a record for each value of the tag |
//! | `Choice` | an enum of bare names | an enumeration; `CamelCase` becomes `camel-case` |
//!
//! | on a field or variant | meaning |
//! |---|---|
//! | `#[qapi(name = "...")]` | the name on the wire |
//! | `#[qapi(default = EXPR)]` | may be left out, and is this then |
//! | `#[qapi(flatten)]` | its members stand beside the others |
//!
//! A field of type `Option<T>` may be left out. Doc comments become help texts.
#![forbid(unsafe_code)]

mod attrs;
mod choice;
mod record;
mod union;

use proc_macro::TokenStream;
use syn::{Data, DeriveInput, parse_macro_input};

/// Derives `qapi::record::Record` and `qapi::record::Field`.
#[proc_macro_derive(Record, attributes(qapi))]
pub fn derive_record(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    let result = match &input.data {
        Data::Struct(data) => record::derive(&input, data),
        Data::Enum(data) => union::derive(&input, data),
        Data::Union(_) => Err(syn::Error::new_spanned(
            &input.ident,
            "a record is a struct or an enum",
        )),
    };
    result.unwrap_or_else(|e| e.to_compile_error()).into()
}

/// Derives `qapi::record::Field` for an enumeration, and `ALL`, `as_str`.
#[proc_macro_derive(Choice, attributes(qapi))]
pub fn derive_choice(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    let result = match &input.data {
        Data::Enum(data) => choice::derive(&input, data),
        _ => Err(syn::Error::new_spanned(
            &input.ident,
            "a choice is an enum of bare names",
        )),
    };
    result.unwrap_or_else(|e| e.to_compile_error()).into()
}
