//! What a name found inside an image may reach.
//!
//! An image from outside must not make a tool read or write a file of the host that its user did not mean. A name
//! in it is followed only when it is a plain regular file beneath the image's own folder (symbolic links resolved).
//! A backing file elsewhere is followed too if it is an image with a header of its own, since its content cannot be some
//! other file's. A `json:` name is followed when all files in it may be. Everything beneath folders the user allowed is fine,
//! and so are names of protocols that the user allowed by their word (`nbd:`).

use std::fs;
use std::path::{Path, PathBuf};

use block_core::Role;
use qapi::{Dict, Error, Value, json};

use crate::name::{self, ImageName, Named, beside, has_protocol};
use crate::registry::{PROBE_LEN, find_filter, find_format, find_protocol, looks_like_format};

/// What the user allowed.
#[derive(Debug, Default)]
pub(crate) struct Allowed {
    /// Everything beneath is fine.
    folders: Vec<PathBuf>,
    /// Protocols whose names are fine.
    protocols: Vec<&'static str>,
}

impl Allowed {
    /// What the option and the environment say. A word that a protocol goes by is that protocol, with a colon or without.
    pub(crate) fn read(option: &[String]) -> Self {
        let env = std::env::var("QIMG_ALLOW_PATH").unwrap_or_default();
        let mut all = Self::default();
        for word in option.iter().map(String::as_str).chain(env.split(':')) {
            let protocol = find_protocol(word.strip_suffix(':').unwrap_or(word));
            if let Some(driver) = protocol.filter(|driver| !driver.prefixes.is_empty()) {
                all.protocols.push(driver.name);
            } else if !word.is_empty() {
                all.folders.extend(fs::canonicalize(word));
            }
        }
        all
    }

    /// Whether a name goes to a protocol that is allowed.
    fn goes_to(&self, name: &str) -> bool {
        let Ok(Named::Protocol(options)) = name::parse(name) else {
            return false;
        };
        let driver = options.get_str("driver").unwrap_or_default();
        self.protocols.contains(&driver)
    }
}

/// Refuses `target`, as the image `image` names it, when it must not be followed. A file that is not there passes:
/// opening it says so.
pub(crate) fn check(
    image: &ImageName,
    target: &str,
    role: Role,
    declared: Option<&str>,
    allowed: &Allowed,
) -> qapi::Result<()> {
    let refused = |why: &str| {
        Err(
            Error::new(format!("'{}' names '{target}', {why}", image.name))
                .hint("Use --allow-path DIR to allow what is beneath DIR.")
                .errno(13),
        )
    };
    if let Some(files) = json_files(target) {
        for file in files {
            check(image, &beside(image.path(), &file), role, declared, allowed)?;
        }
        return Ok(());
    }
    if has_protocol(target) {
        if allowed.goes_to(target) {
            return Ok(());
        }
        return refused("which is not a plain file");
    }
    let Ok(real) = fs::canonicalize(target) else {
        return Ok(());
    };
    if allowed.folders.iter().any(|dir| real.starts_with(dir)) {
        return Ok(());
    }
    if !fs::metadata(&real).is_ok_and(|m| m.is_file()) {
        return refused("which is not a regular file");
    }
    let own = fs::canonicalize(image.path()).ok();
    let own = own.as_deref().and_then(Path::parent);
    if own.is_some_and(|dir| real.starts_with(dir)) {
        return Ok(());
    }
    if role == Role::Backing && declared != Some("raw") && has_header(&real) {
        return Ok(());
    }
    refused("which is outside of its folder")
}

/// The files that a `json:` name stands for, when it names nothing but formats over plain files.
fn json_files(name: &str) -> Option<Vec<String>> {
    let value = json::parse(name.strip_prefix("json:")?).ok()?;
    let Value::Dict(options) = value else {
        return None;
    };
    let mut files = Vec::new();
    plain_files(&qapi::opts::nest(options).ok()?, &mut files)?;
    Some(files)
}

/// Gathers them; `None` when there is anything else.
fn plain_files(options: &Dict, files: &mut Vec<String>) -> Option<()> {
    let driver = options.get_str("driver").unwrap_or("file");
    if driver == "file" {
        files.push(options.get_str("filename")?.to_owned());
        return Some(());
    }
    let passes = match find_filter(driver) {
        // One that names files itself does more than to pass on what its children hold.
        Some(filter) => filter.files.iter().all(|name| options.get(name).is_none()),
        None => driver == "raw" || find_format(driver).is_some(),
    };
    // Lists may hold children, which nobody would look at.
    let has_lists = options.iter().any(|(_, v)| matches!(v, Value::List(_)));
    if !passes || has_lists {
        return None;
    }
    let children = options.iter().filter_map(|(_, value)| match value {
        Value::Dict(child) => Some(child),
        _ => None,
    });
    let mut any = false;
    for child in children {
        plain_files(child, files)?;
        any = true;
    }
    any.then_some(())
}

fn has_header(path: &Path) -> bool {
    use std::io::Read;
    let mut head = Vec::new();
    let read = fs::File::open(path).and_then(|f| f.take(PROBE_LEN as u64).read_to_end(&mut head));
    read.is_ok() && looks_like_format(&head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_names_are_taken_apart_as_far_as_everything_in_them_is_known() {
        let files = |text: &str| json_files(&format!("json:{text}"));
        let file = r#"{"filename":"a"}"#;
        let over = |driver: &str, more: &str| {
            files(&format!(r#"{{"driver":"{driver}","file":{file}{more}}}"#))
        };
        let one = Some(vec!["a".to_owned()]);
        for driver in ["raw", "qcow2", "throttle", "blkdebug"] {
            assert_eq!(over(driver, ""), one, "{driver}");
        }
        let second = over("qcow2", r#","backing":{"driver":"file","filename":"b"}"#);
        assert_eq!(second, Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(over("nbd", ""), None);
        assert_eq!(over("blkdebug", r#","config":"b""#), None);
        assert_eq!(over("blklogwrites", r#","log":{"filename":"b"}"#), None);
        assert_eq!(over("quorum", r#","children":[{"filename":"b"}]"#), None);
        assert_eq!(over("qcow2", r#","backing":{"driver":"nbd"}"#), None);
    }
}
