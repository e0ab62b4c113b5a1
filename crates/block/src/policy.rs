//! What a name found inside an image may reach.
//!
//! An image from outside must not make a tool read or write a file of the host that its user did not mean. A name
//! in it is followed only when it is a plain regular file beneath the image's own folder (symbolic links resolved).
//! A backing file elsewhere is followed too if it is an image with a header of its own, since its content cannot be some
//! other file's. Everything beneath folders the user allowed is fine.

use std::fs;
use std::path::{Path, PathBuf};

use block_core::Role;
use qapi::Error;

use crate::name::has_protocol;
use crate::registry::{PROBE_LEN, looks_like_format};

/// Folders beneath which everything is allowed: the option's, and those of the environment.
pub(crate) fn allowed_folders(option: &[String]) -> Vec<PathBuf> {
    let env = std::env::var("QIMG_ALLOW_PATH").unwrap_or_default();
    option
        .iter()
        .map(String::as_str)
        .chain(env.split(':'))
        .filter(|dir| !dir.is_empty())
        .filter_map(|dir| fs::canonicalize(dir).ok())
        .collect()
}

/// Refuses `target`, as the image `image` names it, when it must not be followed. A file that is not there passes:
/// opening it says so.
pub(crate) fn check(
    image: &str,
    target: &str,
    role: Role,
    declared: Option<&str>,
    allowed: &[PathBuf],
) -> qapi::Result<()> {
    let refused = |why: &str| {
        Err(Error::new(format!("'{image}' names '{target}', {why}"))
            .hint("Use --allow-path DIR to allow what is beneath DIR.")
            .errno(13))
    };
    if has_protocol(target) {
        return refused("which is not a plain file");
    }
    let Ok(real) = fs::canonicalize(target) else {
        return Ok(());
    };
    if allowed.iter().any(|dir| real.starts_with(dir)) {
        return Ok(());
    }
    if !fs::metadata(&real).is_ok_and(|m| m.is_file()) {
        return refused("which is not a regular file");
    }
    let own = fs::canonicalize(image).ok();
    let own = own.as_deref().and_then(Path::parent);
    if own.is_some_and(|dir| real.starts_with(dir)) {
        return Ok(());
    }
    if role == Role::Backing && declared != Some("raw") && has_header(&real) {
        return Ok(());
    }
    refused("which is outside of its folder")
}

fn has_header(path: &Path) -> bool {
    use std::io::Read;
    let mut head = Vec::new();
    let read = fs::File::open(path).and_then(|f| f.take(PROBE_LEN as u64).read_to_end(&mut head));
    read.is_ok() && looks_like_format(&head)
}
