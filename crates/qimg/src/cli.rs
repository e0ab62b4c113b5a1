//! Command lines as getopt reads them: the top level, options of commands, and how failures are told.

use qapi::out;
use std::process::ExitCode;
use std::sync::Arc;

use block::{CacheMode, Flags, Layer, Root, Session};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches};
use qapi::{Error, report};
use tool_cli::trace;

use crate::cmd::{COMMANDS, Command};
use crate::{VERSION, prog_name};

/// Why a command did not do what was asked.
pub(crate) enum Failure {
    /// Told as it is; exit code 1.
    Error(Error),
    /// A wrong command line: a pointer to the help follows.
    Usage(String),
    /// Everything was told already.
    Told(u8),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Exit code of a command that could do its work.
pub(crate) type Outcome = Result<u8, Failure>;

/// What the words before the command say.
pub(crate) enum Top {
    /// Nothing more to do.
    Done(ExitCode),
    /// A command with its words.
    Run(&'static Command, Vec<String>),
}

/// Reads the words before the command.
pub(crate) fn top_level(args: &[String]) -> Top {
    let mut rest = args.iter();
    let mut traces = Vec::new();
    while let Some(word) = rest.next() {
        match word.as_str() {
            "-h" | "--help" => {
                print_help();
                return Top::Done(ExitCode::SUCCESS);
            }
            "-V" | "--version" => {
                print_version();
                return Top::Done(ExitCode::SUCCESS);
            }
            "-T" | "--trace" => match rest.next() {
                Some(value) => traces.push(value.clone()),
                None => return wrong_top(&format!("option requires an argument -- '{word}'")),
            },
            word if word.starts_with("--trace=") => {
                traces.push(word["--trace=".len()..].to_owned());
            }
            "generate" => {
                let words: Vec<String> = rest.cloned().collect();
                let done = tool_cli::generate(&words, whole());
                return Top::Done(finish("generate", done.map(|()| 0).map_err(Failure::from)));
            }
            name => {
                if trace::help(&traces) {
                    return Top::Done(ExitCode::SUCCESS);
                }
                if let Err(error) = trace::start(&traces) {
                    report(&error);
                    return Top::Done(ExitCode::FAILURE);
                }
                return match COMMANDS.iter().find(|c| c.name == name) {
                    Some(command) => Top::Run(command, rest.cloned().collect()),
                    None => wrong_top(&format!("Command not found: {name}")),
                };
            }
        }
    }
    if trace::help(&traces) {
        return Top::Done(ExitCode::SUCCESS);
    }
    wrong_top("Not enough arguments")
}

fn wrong_top(message: &str) -> Top {
    let prog = prog_name();
    eprintln!("{prog}: {message}\nTry '{prog} --help' for more info");
    Top::Done(ExitCode::FAILURE)
}

fn print_version() {
    out::line(format!("{} version {VERSION}", prog_name()));
}

fn print_help() {
    print_version();
    out::line("QEMU disk image utility.  Usage:\n");
    out::line(format!(
        "  {} [standard options] COMMAND [--help | command options]\n",
        prog_name()
    ));
    out::line("Standard options:");
    out::line("  -h, --help\n     display this help and exit");
    out::line("  -V, --version\n     display version info and exit");
    out::line("  -T,--trace TRACE\n     specify tracing options\n");
    out::line("Recognized commands (run qemu-img COMMAND --help for command-specific help):\n");
    for command in COMMANDS {
        out::line(format!("  {:<10} {}", command.name, command.about));
    }
    out::line(format!(
        "\nSupported image formats:\n  {}",
        block::format_names().join(" ")
    ));
}

/// Runs a command to its exit code.
pub(crate) fn run(command: &'static Command, args: Vec<String>) -> ExitCode {
    let matches = match parse(command, args) {
        Ok(matches) => matches,
        Err(code) => return code,
    };
    let work = (command.run)(matches);
    let ran = if command.light {
        reactor::run_light(work)
    } else {
        reactor::run(work)
    };
    let outcome = match ran {
        Ok(outcome) => outcome,
        Err(error) => Err(Error::from_io("Could not start", &error).into()),
    };
    finish(command.name, outcome)
}

/// Tells what a command came to, as its exit code.
fn finish(command: &str, outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(code) | Err(Failure::Told(code)) => ExitCode::from(code),
        Err(Failure::Error(error)) => {
            report(&error);
            ExitCode::FAILURE
        }
        Err(Failure::Usage(message)) => {
            let prog = prog_name();
            eprintln!("{prog}: {message}");
            try_help(command);
            ExitCode::FAILURE
        }
    }
}

fn try_help(command: &str) {
    eprintln!("Try '{} {command} --help' for more info", prog_name());
}

/// The whole command line as one definition.
fn whole() -> clap::Command {
    clap::Command::new(prog_name())
        .version(VERSION)
        .about("Disk image utility")
        .subcommands(COMMANDS.iter().map(|command| clap_command(command)))
}

/// The clap command of one of ours.
fn clap_command(command: &Command) -> clap::Command {
    let prog = prog_name();
    let base = clap::Command::new(command.name)
        .about(command.about)
        .override_usage(format!(
            "{prog} {} [OPTIONS] {}",
            command.name, command.operands
        ))
        .after_help(examples(command))
        .infer_long_args(true)
        .args_override_self(true)
        .arg(
            Arg::new("allow-path")
                .long("allow-path")
                .value_name("DIR")
                .action(ArgAction::Append)
                .help("let names inside images reach what is beneath DIR"),
        )
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("machine-readable output"),
        );
    (command.args)(base).mut_args(|arg| {
        let takes_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
        if takes_value && !arg.is_positional() && arg.get_num_args().is_none() {
            arg.allow_hyphen_values(true)
        } else {
            arg
        }
    })
}

fn examples(command: &Command) -> String {
    let prog = prog_name();
    let mut out = String::from("Examples:");
    for (line, what) in command.examples {
        out.push_str(&format!("\n  {prog} {line}\n      {what}"));
    }
    out
}

fn parse(command: &Command, args: Vec<String>) -> Result<ArgMatches, ExitCode> {
    let prog = prog_name();
    let mut args = args;
    if command.name == "resize" {
        protect_size(&mut args);
    }
    let last = args.last().cloned().unwrap_or_default();
    let called = std::iter::once(format!("{prog} {}", command.name)).chain(args);
    clap_command(command)
        .bin_name(format!("{prog} {}", command.name))
        .try_get_matches_from(called)
        .map_err(|error| {
            if error.kind() == ErrorKind::DisplayHelp {
                out::text(&error.to_string());
                return ExitCode::SUCCESS;
            }
            eprintln!("{prog} {}: {}", command.name, getopt_words(&error, &last));
            try_help(command.name);
            ExitCode::FAILURE
        })
}

/// `resize FILE -1G`: a last word like this is a size, not options.
fn protect_size(args: &mut Vec<String>) {
    let is_size = |word: &String| {
        let mut bytes = word.bytes();
        bytes.next() == Some(b'-') && bytes.next().is_some_and(|b| b.is_ascii_digit())
    };
    if args.last().is_some_and(is_size) && !args.iter().any(|word| word == "--") {
        args.insert(args.len() - 1, "--".to_owned());
    }
}

/// What getopt says of a wrong option.
fn getopt_words(error: &clap::Error, last: &str) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    let arg = text(ContextKind::InvalidArg).unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument => match arg.strip_prefix("--") {
            Some(_) => format!("unrecognized option '{arg}'"),
            None => format!("invalid option -- '{}'", arg.trim_start_matches('-')),
        },
        ErrorKind::InvalidValue | ErrorKind::TooFewValues => {
            let typed = arg.split([' ', '=']).next().unwrap_or_default();
            match last.chars().next_back() {
                // Only the last word can lack its value.
                Some(letter) if !last.starts_with("--") => {
                    format!("option requires an argument -- '{letter}'")
                }
                _ => format!("option '{typed}' requires an argument"),
            }
        }
        ErrorKind::TooManyValues => {
            let typed = arg.split([' ', '=']).next().unwrap_or_default();
            format!("option '{typed}' doesn't allow an argument")
        }
        _ => error.to_string().trim().to_owned(),
    }
}

/// An option with a value.
pub(crate) fn value(id: &'static str, short: char, help: &'static str) -> Arg {
    Arg::new(id)
        .short(short)
        .long(id)
        .value_name(value_name(id))
        .help(help)
}

/// What the help calls an option's value.
fn value_name(id: &str) -> &'static str {
    match id {
        _ if id.ends_with("format") => "FMT",
        _ if id.ends_with("cache") => "MODE",
        _ if id.ends_with("size") => "SIZE",
        "backing" | "base" | "source-file" => "FILE",
        "rate" | "granularity" | "offset" => "SIZE",
        "count" | "depth" | "parallel" => "N",
        "create" | "apply" | "delete" | "snapshot" | "source-snapshot" => "SNAPSHOT",
        "repair" => "leaks|all",
        _ => "VALUE",
    }
}

/// An option without one.
pub(crate) fn flag(id: &'static str, short: char, help: &'static str) -> Arg {
    Arg::new(id)
        .short(short)
        .long(id)
        .action(ArgAction::SetTrue)
        .help(help)
}

/// `--image-opts`
pub(crate) fn image_opts() -> Arg {
    Arg::new("image-opts")
        .long("image-opts")
        .action(ArgAction::SetTrue)
        .help("operands are complete image specifications")
}

/// `--object`
pub(crate) fn object() -> Arg {
    Arg::new("object")
        .long("object")
        .action(ArgAction::Append)
        .value_name("OBJDEF")
        .help("user-creatable object")
}

/// `--output`
pub(crate) fn output() -> Arg {
    Arg::new("output")
        .long("output")
        .value_name("human|json")
        .help("output format (human)")
}

/// `-o`
pub(crate) fn options(help: &'static str) -> Arg {
    value("options", 'o', help)
        .action(ArgAction::Append)
        .value_name("OPTIONS")
}

/// For whom a command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// People.
    Human,
    /// Programs.
    Json,
}

/// Prints a value as QEMU does, indented.
pub(crate) fn print_json(value: &qapi::Value) {
    out::line(qapi::json::pretty(value));
}

/// The operands.
pub(crate) fn operands() -> Arg {
    Arg::new("operands").num_args(0..).hide(true)
}

/// A command line that was read.
pub(crate) struct Args(pub(crate) ArgMatches);

impl Args {
    /// The value of an option.
    pub(crate) fn text(&self, id: &str) -> Option<&str> {
        self.0.get_one::<String>(id).map(String::as_str)
    }

    /// Whether a flag is there.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.0.get_flag(id)
    }

    /// All values of an option or operand.
    pub(crate) fn all(&self, id: &str) -> Vec<String> {
        self.0
            .get_many::<String>(id)
            .map(|values| values.cloned().collect())
            .unwrap_or_default()
    }

    /// Whether `--json` is there.
    pub(crate) fn json(&self) -> bool {
        self.has("json")
    }

    /// Prints what a command did as a record, if `--json` is there.
    pub(crate) fn tell<const N: usize>(&self, fields: [(&str, qapi::Value); N]) {
        if !self.json() {
            return;
        }
        let mut record = qapi::Dict::new();
        for (name, value) in fields {
            record.insert(name, value);
        }
        print_json(&record.into());
    }

    /// The value of `--output`; `--json` is `--output json`.
    ///
    /// # Errors
    /// When it is neither.
    pub(crate) fn output(&self) -> Result<Output, Failure> {
        match self.text("output") {
            None | Some("human") if !self.json() => Ok(Output::Human),
            None | Some("human" | "json") => Ok(Output::Json),
            Some(other) => Err(Failure::Usage(format!(
                "--output expects 'human' or 'json' not '{other}'"
            ))),
        }
    }

    /// The session for the disks it names.
    ///
    /// # Errors
    /// What the objects say.
    pub(crate) fn session(&self) -> qapi::Result<Session> {
        let session = Session::new(&self.all("allow-path"));
        for object in self.all("object") {
            session.add_object(&object)?;
        }
        Ok(session)
    }

    /// `-f` and `--image-opts` exclude each other.
    ///
    /// # Errors
    /// When both are there.
    pub(crate) fn check_format(&self, format: &str) -> qapi::Result<()> {
        if self.has("image-opts") && self.text(format).is_some() {
            return Err(Error::new(
                "--image-opts and --format are mutually exclusive",
            ));
        }
        Ok(())
    }
}

/// Reads a cache mode; `what` begins the refusal.
///
/// # Errors
/// `WHAT: TEXT`
pub(crate) fn cache(text: Option<&str>, default: CacheMode, what: &str) -> qapi::Result<CacheMode> {
    match text {
        None => Ok(default),
        Some(text) => CacheMode::parse(text).ok_or_else(|| Error::new(format!("{what}: {text}"))),
    }
}

/// Opens a disk that an operand names.
///
/// # Errors
/// `Could not open 'NAME': …`
pub(crate) async fn open(
    session: &Session,
    name: &str,
    format: Option<&str>,
    image_opts: bool,
    flags: Flags,
) -> qapi::Result<Arc<Root>> {
    let layer = if image_opts {
        Layer::Options(name)
    } else {
        Layer::Name(name, format)
    };
    session
        .open(layer, flags)
        .await
        .map_err(|e| e.prefix(format!("Could not open '{name}': ")))
}

/// Stores what a disk keeps in memory, at the end of a command that went well.
///
/// # Errors
/// What the formats and files say.
pub(crate) async fn close(root: &Root) -> qapi::Result<()> {
    let drained = root.drain().await;
    let result = root.node().close().await;
    drop(drained);
    result
}

/// When the errors of a close are told, where it is done in two steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// After both steps.
    Last,
    /// Between them.
    Between,
}

/// The same for the commands that look whether a disk could be closed. What fails is tried once more, and each try tells why it failed.
pub(crate) async fn close_checked(root: &Root, told: Told) -> Result<(), Failure> {
    let Err(first) = close(root).await else {
        return Ok(());
    };
    report(&first);
    let why = "Error while closing the image";
    let failed = match first.errno_value() {
        Some(errno) => Error::with_errno(why, errno),
        None => Error::new(why),
    };
    if told == Told::Between {
        report(&failed);
    }
    if let Err(again) = close(root).await {
        report(&again);
    }
    Err(match told {
        Told::Last => failed.into(),
        Told::Between => Failure::Told(1),
    })
}
