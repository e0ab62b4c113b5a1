//! What the attributes of a field, variant or type say.

use syn::{Attribute, Expr, ExprLit, Ident, Lit, LitStr, Meta, Result};

/// The `#[qapi(...)]` of one item, and its documentation.
#[derive(Default)]
pub(crate) struct Attrs {
    pub(crate) name: Option<String>,
    pub(crate) tag: Option<String>,
    pub(crate) default: Option<Expr>,
    pub(crate) flatten: bool,
    /// First paragraph of the doc comment, on one line.
    pub(crate) help: String,
}

impl Attrs {
    pub(crate) fn read(attributes: &[Attribute]) -> Result<Self> {
        let mut all = Self::default();
        let mut lines = Vec::new();
        for attribute in attributes {
            if attribute.path().is_ident("qapi") {
                all.read_one(attribute)?;
            } else if let Some(line) = doc_line(attribute) {
                lines.push(line.trim().to_owned());
            }
        }
        let paragraph: Vec<_> = lines.into_iter().take_while(|l| !l.is_empty()).collect();
        all.help = paragraph.join(" ");
        Ok(all)
    }

    fn read_one(&mut self, attribute: &Attribute) -> Result<()> {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("name") {
                self.name = Some(meta.value()?.parse::<LitStr>()?.value());
            } else if meta.path.is_ident("tag") {
                self.tag = Some(meta.value()?.parse::<LitStr>()?.value());
            } else if meta.path.is_ident("default") {
                self.default = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("flatten") {
                self.flatten = true;
            } else {
                return Err(meta.error("known are name, tag, default and flatten"));
            }
            Ok(())
        })
    }
}

fn doc_line(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(pair) = &attribute.meta else {
        return None;
    };
    match &pair.value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) if pair.path.is_ident("doc") => Some(text.value()),
        _ => None,
    }
}

/// `some_field` as `some-field`.
pub(crate) fn field_name(ident: &Ident) -> String {
    let text = ident.to_string();
    text.strip_prefix("r#").unwrap_or(&text).replace('_', "-")
}

/// `SomeName` as `some-name`.
pub(crate) fn variant_name(ident: &Ident) -> String {
    let mut out = String::new();
    for c in ident.to_string().chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}
