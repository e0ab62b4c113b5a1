//! A struct whose fields are the members of an object.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DataStruct, DeriveInput, Error, Field, Fields, Result, Type};

use crate::attrs::{Attrs, field_name};

/// How a field is read, written and described.
struct Member {
    take: TokenStream,
    put: TokenStream,
    describe: TokenStream,
}

pub(crate) fn derive(input: &DeriveInput, data: &DataStruct) -> Result<TokenStream> {
    let ident = &input.ident;
    let type_name = ident.to_string();
    let members = match &data.fields {
        Fields::Named(fields) => fields
            .named
            .iter()
            .map(member)
            .collect::<Result<Vec<_>>>()?,
        Fields::Unit => Vec::new(),
        Fields::Unnamed(_) => {
            return Err(Error::new_spanned(ident, "a record's fields have names"));
        }
    };
    let take = members.iter().map(|m| &m.take);
    let put = members.iter().map(|m| &m.put);
    let describe = members.iter().map(|m| &m.describe);
    let field = field_impl(input);
    Ok(quote! {
        impl ::qapi::record::Record for #ident {
            const NAME: &'static str = #type_name;

            fn take(
                #[expect(unused_variables, reason = "a record may have no member")]
                members: &mut ::qapi::Dict,
                #[expect(unused_variables, reason = "a record may have no member")]
                place: &::qapi::record::Place<'_>,
            ) -> ::qapi::Result<Self> {
                Ok(Self { #(#take),* })
            }

            fn put(&self, members: &mut ::qapi::Dict) {
                #(#put)*
            }

            fn members(schema: &mut ::qapi::schema::Schema) -> ::qapi::schema::Members {
                let mut members = ::qapi::schema::Members::default();
                #(#describe)*
                members
            }
        }

        #field
    })
}

/// `Field` by `Record`, the same for structs and unions.
pub(crate) fn field_impl(input: &DeriveInput) -> TokenStream {
    let ident = &input.ident;
    quote! {
        impl ::qapi::record::Field for #ident {
            fn read(value: ::qapi::Value, place: &::qapi::record::Place<'_>) -> ::qapi::Result<Self> {
                ::qapi::record::read_record(value, place)
            }

            fn write(&self) -> ::qapi::Value {
                ::qapi::record::write(self)
            }

            fn describe(schema: &mut ::qapi::schema::Schema) -> ::qapi::schema::TypeRef {
                schema.object::<Self>()
            }
        }
    }
}

fn member(field: &Field) -> Result<Member> {
    let ident = field.ident.as_ref().expect("checked to be named");
    let attrs = Attrs::read(&field.attrs)?;
    let ty = &field.ty;
    if attrs.flatten {
        return Ok(Member {
            take: quote! { #ident: <#ty as ::qapi::record::Record>::take(members, place)? },
            put: quote! { ::qapi::record::Record::put(&self.#ident, members); },
            describe: quote! { members.join(<#ty as ::qapi::record::Record>::members(schema)); },
        });
    }
    let name = attrs.name.unwrap_or_else(|| field_name(ident));
    let help = attrs.help;
    if let Some(inner) = option_of(ty) {
        return Ok(Member {
            take: quote! { #ident: ::qapi::record::take_optional(members, #name, place)? },
            put: quote! {
                if let Some(value) = &self.#ident {
                    members.insert(#name, ::qapi::record::Field::write(value));
                }
            },
            describe: quote! { members.add::<#inner>(schema, #name, #help, ::qapi::schema::Need::Optional); },
        });
    }
    let put = quote! { members.insert(#name, ::qapi::record::Field::write(&self.#ident)); };
    Ok(match attrs.default {
        Some(default) => Member {
            take: quote! {
                #ident: match ::qapi::record::take_optional(members, #name, place)? {
                    Some(value) => value,
                    None => #default,
                }
            },
            put,
            describe: quote! {
                let default: #ty = #default;
                members.add::<#ty>(schema, #name, #help, ::qapi::schema::Need::defaults_to(&default));
            },
        },
        None => Member {
            take: quote! { #ident: ::qapi::record::take(members, #name, place)? },
            put,
            describe: quote! { members.add::<#ty>(schema, #name, #help, ::qapi::schema::Need::Required); },
        },
    })
}

/// `T` of `Option<T>`.
fn option_of(ty: &Type) -> Option<&Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last()?;
    if last.ident != "Option" {
        return None;
    }
    match &last.arguments {
        syn::PathArguments::AngleBracketed(inner) => match inner.args.first()? {
            syn::GenericArgument::Type(inner) => Some(inner),
            _ => None,
        },
        _ => None,
    }
}
