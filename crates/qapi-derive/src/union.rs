//! An enum of records, told apart by a tag that stands beside their members.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DataEnum, DeriveInput, Error, Fields, Result, Variant};

use crate::attrs::{Attrs, variant_name};
use crate::record::field_impl;

pub(crate) fn derive(input: &DeriveInput, data: &DataEnum) -> Result<TokenStream> {
    let ident = &input.ident;
    let type_name = ident.to_string();
    let tag_type = format!("{type_name}Tag");
    let tag = Attrs::read(&input.attrs)?.tag.ok_or_else(|| {
        Error::new_spanned(ident, "an enum of records needs #[qapi(tag = \"...\")]")
    })?;
    let mut names = Vec::new();
    let mut take = Vec::new();
    let mut put = Vec::new();
    let mut describe = Vec::new();
    for variant in &data.variants {
        let name = Attrs::read(&variant.attrs)?
            .name
            .unwrap_or_else(|| variant_name(&variant.ident));
        arms(variant, &name, &tag, &mut take, &mut put, &mut describe)?;
        names.push(name);
    }
    let field = field_impl(input);
    Ok(quote! {
        impl ::qapi::record::Record for #ident {
            const NAME: &'static str = #type_name;

            fn take(members: &mut ::qapi::Dict, place: &::qapi::record::Place<'_>) -> ::qapi::Result<Self> {
                let word: String = ::qapi::record::take(members, #tag, place)?;
                match word.as_str() {
                    #(#take)*
                    _ => Err(place.member(#tag).not_accepted(&word)),
                }
            }

            fn put(&self, members: &mut ::qapi::Dict) {
                match self {
                    #(#put)*
                }
            }

            fn members(schema: &mut ::qapi::schema::Schema) -> ::qapi::schema::Members {
                let tag = schema.choice(#tag_type, &[#(#names),*]);
                let variants = vec![#(#describe),*];
                ::qapi::schema::Members::union(#tag, tag, variants)
            }
        }

        #field
    })
}

fn arms(
    variant: &Variant,
    name: &str,
    tag: &str,
    take: &mut Vec<TokenStream>,
    put: &mut Vec<TokenStream>,
    describe: &mut Vec<TokenStream>,
) -> Result<()> {
    let ident = &variant.ident;
    match &variant.fields {
        Fields::Unit => {
            take.push(quote! { #name => Ok(Self::#ident), });
            put.push(quote! { Self::#ident => members.insert(#tag, #name), });
            describe.push(quote! { (#name, None) });
        }
        Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
            let ty = &fields.unnamed[0].ty;
            take.push(quote! {
                #name => Ok(Self::#ident(<#ty as ::qapi::record::Record>::take(members, place)?)),
            });
            put.push(quote! {
                Self::#ident(inner) => {
                    members.insert(#tag, #name);
                    ::qapi::record::Record::put(inner, members);
                }
            });
            describe.push(quote! { (#name, Some(schema.object::<#ty>())) });
        }
        _ => {
            return Err(Error::new_spanned(
                variant,
                "a variant holds one record or nothing",
            ));
        }
    }
    Ok(())
}
