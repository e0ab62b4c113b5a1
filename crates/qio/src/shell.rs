//! What commands work on, and how a line becomes a command.

use std::sync::Arc;

use block::{Aio, CacheMode, Flags, Layer, Root, Session};
use qapi::Error;
use qapi::{getopt, opts};

use crate::background::Background;
use crate::cmd::{self, COMMANDS, Command};
use crate::number::{self, Failed};

/// How files are opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mode {
    pub(crate) read_only: bool,
    pub(crate) cache: CacheMode,
    /// The cache mode was not asked for.
    pub(crate) any_cache: bool,
    pub(crate) aio: Option<Aio>,
    pub(crate) force_share: bool,
    /// Writes go to an overlay that goes away.
    pub(crate) snapshot: bool,
    /// Discards do something.
    pub(crate) discard: bool,
    /// What is read from a backing file is kept.
    pub(crate) copy_on_read: bool,
}

/// What is opened.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// A file name, and its format if it is not to be guessed.
    Name(String, Option<String>),
    /// An option string.
    Options(String),
    /// An option string with a file name beside it.
    Both(String, String),
}

impl Source {
    fn layer(&self) -> Layer<'_> {
        match self {
            Self::Name(name, format) => Layer::Name(name, format.as_deref()),
            Self::Options(options) => Layer::Options(options),
            Self::Both(options, name) => Layer::Both(options, name),
        }
    }

    /// Whether its options are against sharing.
    fn denies_share(&self) -> bool {
        let (Self::Options(text) | Self::Both(text, _)) = self else {
            return false;
        };
        let mut all = opts::split(text, None).into_iter().rev();
        all.find(|(name, _)| name == "force-share")
            .is_some_and(|(_, value)| value != "on")
    }

    /// What a failure to open it begins with.
    fn cannot(&self) -> String {
        match self {
            Self::Options(_) => "can't open: ".to_owned(),
            Self::Name(name, _) | Self::Both(_, name) => format!("can't open device {name}: "),
        }
    }
}

impl Mode {
    pub(crate) fn flags(self) -> Flags {
        Flags {
            writable: !self.read_only,
            cache: self.cache,
            aio: self.aio,
            force_share: self.force_share,
            unmap: self.discard,
            ..Flags::default()
        }
    }
}

/// An open disk.
#[derive(Clone)]
pub(crate) struct Disk {
    pub(crate) root: Arc<Root>,
    pub(crate) mode: Mode,
    pub(crate) source: Source,
}

/// How a disk is to be opened anew.
pub(crate) struct Reopen {
    pub(crate) mode: Mode,
    pub(crate) source: Source,
}

/// The state between commands.
pub(crate) struct Shell {
    pub(crate) session: Session,
    pub(crate) disk: Option<Disk>,
    pub(crate) background: Background,
    pub(crate) quit: bool,
    /// Words that name a file are option strings.
    pub(crate) image_opts: bool,
    /// How the open file is to be opened anew once the command that asks for it has let go of it.
    pub(crate) reopen: Option<Reopen>,
}

/// One command's words, read.
pub(crate) struct Call<'a> {
    pub(crate) command: &'static Command,
    pub(crate) options: getopt::Parsed,
    pub(crate) disk: Option<&'a Disk>,
}

impl Call<'_> {
    pub(crate) fn has(&self, letter: &str) -> bool {
        self.options.has(letter)
    }

    pub(crate) fn operands(&self) -> &[String] {
        &self.options.operands
    }

    /// The disk; commands without one were refused before.
    pub(crate) fn disk(&self) -> Result<Disk, Failed> {
        self.disk.cloned().ok_or(Failed)
    }

    /// The words do not fit: the one-line help.
    pub(crate) fn usage(&self) -> Failed {
        cmd::help::one_line(self.command);
        Failed
    }
}

impl Shell {
    /// Runs one line.
    ///
    /// # Errors
    /// Told.
    pub(crate) async fn run(&mut self, line: &str) -> Result<(), Failed> {
        let mut words = line.split(' ').filter(|w| !w.is_empty()).map(str::to_owned);
        let Some(name) = words.next() else {
            return Ok(());
        };
        let words: Vec<String> = words.collect();
        let Some(command) = cmd::find(&name) else {
            eprintln!("command \"{name}\" not found");
            return Err(Failed);
        };
        if !command.without_file && self.disk.is_none() {
            eprintln!("no file open, try 'help open'");
            return Err(Failed);
        }
        check_count(command, &name, words.len())?;
        if command.writes && self.disk.as_ref().is_some_and(|d| d.mode.read_only) {
            qapi::report(&Error::new("Block node is read-only"));
            return Err(Failed);
        }
        let options = read_options(command, &name, words)?;
        let disk = self.disk.clone();
        let call = Call {
            command,
            options,
            disk: disk.as_ref(),
        };
        self.background.let_tell(command.waits);
        let mut result = (command.run)(self, call).await;
        drop(disk);
        if let Some(how) = self.reopen.take() {
            result = self.open_again(how).await;
        }
        self.background.let_tell(false);
        result
    }

    /// Opens the file anew. One that cannot be opened that way stays as it was.
    async fn open_again(&mut self, how: Reopen) -> Result<(), Failed> {
        let Some(old) = self.disk.as_ref().map(|d| (d.source.clone(), d.mode)) else {
            return Err(Failed);
        };
        self.close().await?;
        if let Err(error) = self.try_open(how.source, how.mode).await {
            qapi::report(&error);
            self.open(old.0, old.1).await?;
            return Err(Failed);
        }
        Ok(())
    }

    /// Opens a disk.
    ///
    /// # Errors
    /// `can't open…: …`, told.
    pub(crate) async fn open(&mut self, source: Source, mode: Mode) -> Result<(), Failed> {
        if self.disk.is_some() {
            qapi::report(&Error::new("file open already, try 'help close'"));
            return Err(Failed);
        }
        if mode.force_share && source.denies_share() {
            qapi::report(&Error::new("-U conflicts with image options"));
            return Err(Failed);
        }
        let cannot = source.cannot();
        self.try_open(source, mode).await.map_err(|error| {
            qapi::report(&error.prefix(cannot));
            Failed
        })
    }

    async fn try_open(&mut self, source: Source, mode: Mode) -> qapi::Result<()> {
        let root = if mode.copy_on_read && mode.read_only {
            return Err(Error::new("Can't use copy-on-read on read-only device"));
        } else if mode.snapshot {
            block::open_overlay(&self.session, source.layer(), mode.flags()).await?
        } else {
            self.session.open(source.layer(), mode.flags()).await?
        };
        root.set_copy_on_read(mode.copy_on_read);
        if mode.any_cache && root.node().is_tested() {
            // The io tool's own mode: where somebody looks at every request, it is kept.
            root.set_writethrough(true);
        }
        self.disk = Some(Disk { root, mode, source });
        Ok(())
    }

    /// Waits for everything under way and closes the disk.
    ///
    /// # Errors
    /// Told.
    pub(crate) async fn close(&mut self) -> Result<(), Failed> {
        self.background.wait().await;
        let Some(disk) = self.disk.take() else {
            return Ok(());
        };
        let drained = disk.root.drain().await;
        let result = disk.root.node().close().await;
        drop(drained);
        result.map_err(|error| {
            qapi::report(&error);
            Failed
        })
    }
}

/// The options among a command's words; commands that have none take all words as they are.
fn read_options(
    command: &'static Command,
    name: &str,
    words: Vec<String>,
) -> Result<getopt::Parsed, Failed> {
    if command.options.is_empty() {
        return Ok(getopt::Parsed {
            options: Vec::new(),
            operands: words,
        });
    }
    let (parsed, wrong) = getopt::parse_until(command.options, &words);
    let Some(message) = wrong else {
        return Ok(parsed);
    };
    for text in parsed.values("P") {
        // It was read before the wrong word.
        number::pattern(&text)?;
    }
    eprintln!("{name}: {message}");
    cmd::help::one_line(command);
    Err(Failed)
}

fn check_count(command: &Command, name: &str, count: usize) -> Result<(), Failed> {
    let (least, most) = command.count;
    if count >= least && most.is_none_or(|most| count <= most) {
        return Ok(());
    }
    let words = match most {
        None => format!("at least {least} arguments"),
        Some(most) if most == least => format!("{least} arguments"),
        Some(most) => format!("between {least} and {most} arguments"),
    };
    eprintln!("bad argument count {count} to {name}, expected {words}");
    Err(Failed)
}

/// All commands, for the help.
pub(crate) fn commands() -> &'static [&'static Command] {
    COMMANDS
}
