//! An enum of bare names.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DataEnum, DeriveInput, Error, Fields, Result};

use crate::attrs::{Attrs, variant_name};

pub(crate) fn derive(input: &DeriveInput, data: &DataEnum) -> Result<TokenStream> {
    let ident = &input.ident;
    let type_name = ident.to_string();
    let mut idents = Vec::new();
    let mut names = Vec::new();
    for variant in &data.variants {
        if !matches!(variant.fields, Fields::Unit) {
            return Err(Error::new_spanned(variant, "a choice carries nothing"));
        }
        let attrs = Attrs::read(&variant.attrs)?;
        names.push(attrs.name.unwrap_or_else(|| variant_name(&variant.ident)));
        idents.push(&variant.ident);
    }
    Ok(quote! {
        impl #ident {
            /// Every value with its name, in order.
            pub const ALL: &'static [(&'static str, Self)] = &[#((#names, Self::#idents)),*];

            /// Its name.
            pub fn as_str(&self) -> &'static str {
                match self {
                    #(Self::#idents => #names,)*
                }
            }
        }

        impl ::qapi::record::Field for #ident {
            fn read(value: ::qapi::Value, place: &::qapi::record::Place<'_>) -> ::qapi::Result<Self> {
                let word = place.word(value)?;
                let found = Self::ALL.iter().position(|(name, _)| *name == word);
                match found {
                    #(Some(at) if Self::ALL[at].0 == #names => Ok(Self::#idents),)*
                    _ => Err(place.not_accepted(&word)),
                }
            }

            fn write(&self) -> ::qapi::Value {
                ::qapi::Value::from(self.as_str())
            }

            fn describe(schema: &mut ::qapi::schema::Schema) -> ::qapi::schema::TypeRef {
                schema.choice(#type_name, &[#(#names),*])
            }
        }
    })
}
