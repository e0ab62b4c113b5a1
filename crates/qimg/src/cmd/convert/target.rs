//! The target of a conversion: made under a temporary name when it is new, and renamed when it is whole.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use block::jobs::{Initial, layers, make_zero};
use block::{CreateSpec, Flags, Layer, Node, Root, Session};
use qapi::{Dict, Error, Value};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::super::commit::is_same_file;
use super::settings::Settings;
use crate::cli::{self, Args};
use crate::options;

/// Where the target goes.
pub(super) struct Target {
    /// As the user names it.
    name: String,
    /// The file it is made in until it is whole.
    temporary: Option<PathBuf>,
    /// Create options; `None` when it is there already.
    options: Option<Dict>,
    /// Full name of the backing file.
    backing: Option<String>,
}

/// What opens an image that was just made with these options, if it needs a secret.
fn secrets(format: &str, options: &Dict) -> Option<String> {
    let mut text = format!("driver={format}");
    let plain = text.len();
    for (name, value) in options.iter() {
        if let (true, Value::Str(id)) = (name.ends_with("key-secret"), value) {
            text.push_str(&format!(",{name}={}", id.replace(',', ",,")));
        }
    }
    (text.len() > plain).then_some(text)
}

impl Target {
    /// Checks what is asked, before anything is made.
    ///
    /// # Errors
    /// In QEMU's words.
    pub(super) fn prepare(
        args: &Args,
        settings: &Settings,
        name: &str,
        length: u64,
        sources: usize,
    ) -> qapi::Result<Self> {
        let mut backing = args.text("backing").map(str::to_owned);
        let options = if settings.create {
            let options = create_options(args, settings, name, length)?;
            backing = options.get_str("backing_file").map(str::to_owned);
            Some(options)
        } else {
            None
        };
        if settings.is_zero && backing.is_some() {
            return Err(Error::new(
                "Cannot use --target-is-zero when the destination image has a backing file",
            ));
        }
        if sources > 1 && backing.is_some() {
            return Err(Error::new(
                "Having a backing file for the target makes no sense when concatenating multiple input images",
            ));
        }
        if let Some(options) = &options {
            if backing.is_some() && options.get("backing_fmt").is_none() {
                return Err(Error::new(
                    "Use of backing file requires explicit backing format",
                ));
            }
            check_compression(settings, options)?;
        }
        let in_place = args.has("force-in-place")
            || !settings.create
            || block::knows_its_name(&settings.format);
        Ok(Self {
            name: name.to_owned(),
            temporary: (!in_place).then(|| temporary_name(name)).flatten(),
            options,
            backing: backing.map(|file| block::beside(name, &file)),
        })
    }

    /// Makes it, if it is not there, and opens it.
    ///
    /// # Errors
    /// In QEMU's words.
    pub(super) async fn open(
        &self,
        settings: &Settings,
        session: &Session,
    ) -> qapi::Result<Arc<Root>> {
        let flags = Flags {
            writable: true,
            cache: settings.target_cache,
            unmap: settings.sparse.is_some(),
            ..Flags::default()
        };
        let format = settings.format.as_str();
        let Some(options) = &self.options else {
            let image_opts = settings.target_image_opts;
            let format = (!image_opts).then_some(format);
            return cli::open(session, &self.name, format, image_opts, flags).await;
        };
        let path = self.path();
        let spec = CreateSpec {
            format,
            filename: &path,
            options,
        };
        let own_name = |e: Error| e.renamed(&path, &self.name);
        block::create(session, spec).await.map_err(|e| {
            own_name(e).prefix(format!("{}: error while converting {format}: ", self.name))
        })?;
        let secrets = secrets(format, options);
        let layer = match &secrets {
            Some(text) => Layer::Both(text, &path),
            None => Layer::Name(&path, Some(format)),
        };
        let opened = session.open(layer, flags).await;
        opened.map_err(|e| own_name(e.prefix(format!("Could not open '{path}': "))))
    }

    fn path(&self) -> String {
        match &self.temporary {
            Some(path) => path.to_string_lossy().into_owned(),
            None => self.name.clone(),
        }
    }

    /// The backing file of the new target.
    pub(super) fn backing(&self) -> Option<&str> {
        self.backing.as_deref()
    }

    /// What the target reads as before anything is copied.
    ///
    /// # Errors
    /// When it cannot be made zero, though it says it can.
    pub(super) async fn initial(&self, settings: &Settings, root: &Root) -> qapi::Result<Initial> {
        if self.backing.is_some() {
            let new = self.options.is_some();
            let below = root
                .node()
                .backing()
                .and_then(|edge| edge.node().length().ok());
            return Ok(Initial::Backing(below.filter(|_| new).unwrap_or(u64::MAX)));
        }
        if settings.is_zero {
            return Ok(Initial::Zero);
        }
        if settings.sparse.is_none() {
            return Ok(Initial::Unknown);
        }
        if let Some(options) = &self.options {
            let preallocated = options
                .get_str("preallocation")
                .is_some_and(|mode| mode != "off");
            if block::starts_as_zeroes(&root.node(), preallocated) {
                return Ok(Initial::Zero);
            }
        }
        let zero = make_zero(root)
            .await
            .map_err(|e| Error::from_io("error while making the target zero", &e))?;
        Ok(if zero {
            Initial::Zero
        } else {
            Initial::Unknown
        })
    }

    /// Gives the whole target its name.
    ///
    /// # Errors
    /// When something took the name meanwhile.
    pub(super) fn publish(&mut self) -> qapi::Result<()> {
        let Some(temporary) = self.temporary.take() else {
            return Ok(());
        };
        let target = Path::new(self.name.strip_prefix("file:").unwrap_or(&self.name));
        let failed = |e: std::io::Error| {
            let from = temporary.display();
            Error::from_io(format!("Could not rename '{from}' to '{}'", self.name), &e)
        };
        match renameat_with(CWD, &temporary, CWD, target, RenameFlags::NOREPLACE) {
            // File systems without that flag.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                std::fs::rename(&temporary, target).map_err(failed)
            }
            other => other.map_err(|e| failed(e.into())),
        }
    }

    /// Removes what was made of a target that will never be whole.
    pub(super) fn take_back(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            // It may not have been made yet.
            let _ = std::fs::remove_file(temporary);
        }
    }
}

fn create_options(args: &Args, settings: &Settings, name: &str, length: u64) -> qapi::Result<Dict> {
    let format = &settings.format;
    let known = block::create_options(format, Some(name))?;
    let mut wanted = options::read(&known, settings.options.as_deref())?;
    wanted.insert("size", length);
    let both = [
        ("backing", "backing_file", "Backing file"),
        ("backing-format", "backing_fmt", "Backing file format"),
    ];
    for (id, option, what) in both {
        if let Some(text) = args.text(id) {
            if !known.iter().any(|o| o.name == option) {
                return Err(Error::new(format!(
                    "{what} not supported for file format '{format}'"
                )));
            }
            wanted.insert(option, text);
        }
    }
    Ok(wanted)
}

fn check_compression(settings: &Settings, options: &Dict) -> qapi::Result<()> {
    if !settings.compress {
        return Ok(());
    }
    if settings.format == "raw" {
        return Err(Error::new("Compression not supported for this file format"));
    }
    let encrypted = options.get("encrypt.format").is_some()
        || matches!(options.get("encryption"), Some(qapi::Value::Bool(true)));
    let what = if encrypted {
        "encryption"
    } else if options
        .get_str("preallocation")
        .is_some_and(|mode| mode != "off")
    {
        "preallocation"
    } else {
        return Ok(());
    };
    Err(Error::new(format!(
        "Compression and {what} not supported at the same time"
    )))
}

/// A name beside the target that nobody uses, when the target is a plain file that is not there yet.
fn temporary_name(name: &str) -> Option<PathBuf> {
    let (protocol, _) = block::protocol_of(name).ok()?;
    let path = Path::new(name.strip_prefix("file:").unwrap_or(name));
    if protocol.name != "file" || path.symlink_metadata().is_ok() {
        return None;
    }
    let file = path.file_name()?.to_string_lossy().into_owned();
    // Names have at most 255 bytes.
    let short: String = file.chars().take(50).collect();
    let temporary = format!(".{short}.{}.part", std::process::id());
    Some(path.with_file_name(temporary))
}

/// The layer of a source's chain that is the target's backing file: what it holds need not be copied.
pub(super) fn shared_layer(source: &Arc<Node>, backing: &str) -> Option<Arc<Node>> {
    let below = layers(source).into_iter().skip(1);
    below
        .into_iter()
        .find(|layer| is_same_file(layer.filename(), backing))
}
