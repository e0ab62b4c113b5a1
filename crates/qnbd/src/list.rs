//! `-L`: what a server exports.

use block_protocols::nbd::address::Address;
use block_protocols::nbd::handshake::{Client, Mode};
use nbd_proto::ExportInfo;
use nbd_proto::flags::export;
use qapi::{Dict, Error, Result, Value, json, out};

use crate::settings::Settings;

/// Asks the server at an address and prints what it says.
///
/// # Errors
/// When it cannot be reached, refuses, or breaks the protocol.
pub(crate) fn run(address: &Address, settings: &Settings) -> Result<()> {
    let asked = reactor::run_light(ask(address, settings));
    let (mode, exports) = asked.map_err(|e| Error::from_io("Could not start", &e))??;
    if settings.json {
        let list = exports.iter().map(|e| Value::Dict(record(e, mode)));
        out::line(json::pretty(&Value::List(list.collect())));
    } else {
        out::text(&text(&exports, mode));
    }
    Ok(())
}

async fn ask(address: &Address, settings: &Settings) -> Result<(Mode, Vec<ExportInfo>)> {
    let mut client = Client::start(address.connect().await?).await?;
    if let Some(creds) = &settings.tls {
        let host = match address {
            Address::Inet { host, .. } => Some(host.as_str()),
            Address::Unix(_) => None,
        };
        let name = settings.tls_hostname.as_deref().or(host);
        client = client.secure(creds, name).await?;
    }
    client.upgrade().await?;
    let exports = client.list().await?;
    Ok((client.mode, exports))
}

fn words(flags: u16) -> impl Iterator<Item = &'static str> {
    export::WORDS
        .iter()
        .enumerate()
        .filter(move |(bit, _)| flags >> (bit + 1) & 1 == 1)
        .map(|(_, word)| *word)
}

fn text(exports: &[ExportInfo], mode: Mode) -> String {
    let mut out = format!("exports available: {}\n", exports.len());
    for export in exports {
        out.push_str(&format!(" export: '{}'\n", export.name));
        if let Some(text) = &export.description {
            out.push_str(&format!("  description: {text}\n"));
        }
        if export.flags & export::HAS_FLAGS != 0 {
            out.push_str(&format!("  size:  {}\n", export.size));
            out.push_str(&format!("  flags: {:#x} (", export.flags));
            for word in words(export.flags) {
                out.push_str(&format!(" {word}"));
            }
            out.push_str(" )\n");
        }
        if let Some((min, preferred, max)) = export.block_sizes {
            out.push_str(&format!(
                "  min block: {min}\n  opt block: {preferred}\n  max block: {max}\n"
            ));
        }
        let bits = if mode >= Mode::Extended { 64 } else { 32 };
        out.push_str(&format!("  transaction size: {bits}-bit\n"));
        if !export.contexts.is_empty() {
            out.push_str(&format!(
                "  available meta contexts: {}\n",
                export.contexts.len()
            ));
            for name in &export.contexts {
                out.push_str(&format!("   {name}\n"));
            }
        }
    }
    out
}

fn record(export: &ExportInfo, mode: Mode) -> Dict {
    let mut out = Dict::new();
    out.insert("name", export.name.as_str());
    if let Some(text) = &export.description {
        out.insert("description", text.as_str());
    }
    if export.flags & export::HAS_FLAGS != 0 {
        out.insert("size", export.size);
        out.insert("flags", list(words(export.flags)));
    }
    if let Some((min, preferred, max)) = export.block_sizes {
        out.insert("min-block", min);
        out.insert("opt-block", preferred);
        out.insert("max-block", max);
    }
    out.insert(
        "transaction-bits",
        if mode >= Mode::Extended { 64_u32 } else { 32 },
    );
    out.insert("contexts", list(export.contexts.iter().map(String::as_str)));
    out
}

fn list<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<Value> {
    texts.map(Value::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_is_printed_as_the_reference_does() {
        let export = ExportInfo {
            name: "exp".to_owned(),
            description: Some("a desc".to_owned()),
            size: 8 << 20,
            flags: 0x1ded,
            block_sizes: Some((1, 4096, 32 << 20)),
            contexts: vec!["base:allocation".to_owned()],
        };
        let want = "\
exports available: 1
 export: 'exp'
  description: a desc
  size:  8388608
  flags: 0x1ded ( flush fua trim zeroes df multi cache fast-zero block-status-payload )
  min block: 1
  opt block: 4096
  max block: 33554432
  transaction size: 64-bit
  available meta contexts: 1
   base:allocation
";
        assert_eq!(text(&[export], Mode::Extended), want);
    }
}
