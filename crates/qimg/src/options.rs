//! `-o`: options of formats, and the lists of them that are shown.

use block::Flags;
use qapi::opts::{self, asks_help};
use qapi::out;
use qapi::{Dict, Error, OptionDesc};

use crate::cli::Args;

/// All `-o` of a command line as one string.
///
/// # Errors
/// `Invalid option list: X`
pub(crate) fn joined(args: &Args) -> qapi::Result<Option<String>> {
    let all = args.all("options");
    if let Some(wrong) = all.iter().find(|text| !opts::is_joinable(text)) {
        return Err(Error::new(format!("Invalid option list: {wrong}")));
    }
    Ok((!all.is_empty()).then(|| all.join(",")))
}

/// Whether `-o` asks what there is.
pub(crate) fn wants_help(options: Option<&str>) -> bool {
    options.is_some_and(asks_help)
}

/// Shows the options that creating `format` takes.
///
/// # Errors
/// When it cannot be created.
pub(crate) fn print_create_help(format: &str, filename: Option<&str>) -> qapi::Result<()> {
    let known = block::create_options(format, filename)?;
    match filename {
        Some(_) => out::line("Supported options:"),
        None => out::line(format!("Supported {format} options:")),
    }
    print_list(&known);
    if filename.is_none() {
        out::line("\nThe protocol level may support further options.");
        out::line("Specify the target filename to include those options.");
    }
    Ok(())
}

/// Shows options, one a line.
pub(crate) fn print_list(known: &[OptionDesc]) {
    for line in opts::help_lines(known) {
        out::line(line);
    }
}

/// Opening only to look at what is there.
pub(crate) fn to_look(args: &Args) -> Flags {
    Flags {
        force_share: args.has("force-share"),
        ..Flags::default()
    }
}

/// `snapshot.id=…,snapshot.name=…`, or one word that may be either.
pub(crate) enum SnapshotKey {
    /// Both parts, as far as given.
    Parts(Option<String>, Option<String>),
    /// An id or a name.
    Either(String),
}

impl SnapshotKey {
    /// Reads the value of `-l`.
    ///
    /// # Errors
    /// In QEMU's words.
    pub(crate) fn parse(text: &str) -> qapi::Result<Self> {
        if !text.starts_with("snapshot.") {
            return Ok(Self::Either(text.to_owned()));
        }
        let (mut id, mut name) = (None, None);
        for (key, value) in opts::split(text, None) {
            match key.as_str() {
                "snapshot.id" => id = Some(value),
                "snapshot.name" => name = Some(value),
                _ => {
                    qapi::report(&Error::new(format!("Invalid parameter '{key}'")));
                    return Err(Error::new(format!(
                        "Failed in parsing snapshot param '{text}'"
                    )));
                }
            }
        }
        Ok(Self::Parts(id, name))
    }

    /// Makes `node` show the snapshot.
    ///
    /// # Errors
    /// `Failed to load snapshot: …`
    pub(crate) async fn load(&self, node: &block::Node) -> qapi::Result<()> {
        let failed = |e: Error| e.prefix("Failed to load snapshot: ");
        let Some(snapshots) = node.format().and_then(|f| f.snapshots()) else {
            return Err(failed(Error::new("Can't find snapshot")));
        };
        let (id, name) = match self {
            Self::Parts(id, name) => (id.as_deref(), name.as_deref()),
            Self::Either(key) => {
                let all = snapshots.list();
                let by_id = all.iter().any(|s| s.id == *key);
                if by_id {
                    (Some(key.as_str()), None)
                } else {
                    (None, Some(key.as_str()))
                }
            }
        };
        let known = |s: &block::core::SnapshotInfo| {
            id.is_none_or(|id| s.id == id) && name.is_none_or(|name| s.name == name)
        };
        if !snapshots.list().iter().any(known) {
            return Err(failed(Error::new("Can't find snapshot")));
        }
        snapshots.load(id, name).await.map_err(failed)
    }
}

/// Options by name, typed as `known` says.
///
/// # Errors
/// In QEMU's words.
pub(crate) fn read(known: &[OptionDesc], text: Option<&str>) -> qapi::Result<Dict> {
    let mut options = Dict::new();
    if let Some(text) = text {
        block::read_options(known, text, &mut options)?;
    }
    Ok(options)
}
