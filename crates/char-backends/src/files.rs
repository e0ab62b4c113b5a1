//! Files and named pipes.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use backend_core::chars::Writer;
use qapi::{Error, Result};

use super::{Plain, Port};

fn opened(options: &OpenOptions, path: &Path) -> Result<File> {
    options
        .open(path)
        .map_err(|error| Error::from_io(format!("Could not open '{}'", path.display()), &error))
}

/// A file to write to, and perhaps one to read from.
pub(super) fn file(path: &Path, append: bool, input: Option<&Path>) -> Result<Port> {
    let mut options = OpenOptions::new();
    options.create(true).write(true);
    if append {
        options.append(true);
    } else {
        options.truncate(true);
    }
    let out = opened(&options, path)?;
    let mut port = Port::new("file", Box::new(Writer(out)), None);
    if let Some(input) = input {
        let input = opened(OpenOptions::new().read(true), input)?;
        port.source = Some(Box::new(Plain::new(input)));
    }
    Ok(port)
}

/// The pipes `PATH.in` and `PATH.out`, or one for both ways.
pub(super) fn pipe(path: &Path) -> Result<Port> {
    let with = |end: &str| PathBuf::from(format!("{}{end}", path.display()));
    let mut both = OpenOptions::new();
    // Opened for both ways, so that neither end waits for the other.
    both.read(true).write(true);
    let pair = both.open(with(".in")).and_then(|input| {
        let out = both.open(with(".out"))?;
        Ok((input, out))
    });
    let (input, out) = match pair {
        Ok(pair) => pair,
        Err(_) => {
            let one = opened(&both, path)?;
            let twin = one.try_clone().map_err(|error| {
                Error::from_io(format!("Could not open '{}'", path.display()), &error)
            })?;
            (one, twin)
        }
    };
    Ok(Port::new(
        "pipe",
        Box::new(Writer(out)),
        Some(Box::new(Plain::new(input))),
    ))
}
