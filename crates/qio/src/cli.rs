//! The tool's own command line.

use std::process::ExitCode;

use block::{Aio, CacheMode, Session};
use qapi::getopt::{self, Opt, Parsed};
use qapi::{Error, prog_name};

use crate::number::Failed;
use crate::prompt::Prompt;
use crate::shell::{Mode, Shell, Source};
use qapi::out;

/// What `--version` shows: the version whose behaviour this is.
const VERSION: &str = "10.0.2";

const OPTIONS: &[Opt] = &[
    Opt::both('h', "help", false),
    Opt::both('V', "version", false),
    Opt::both('c', "cmd", true),
    Opt::both('f', "format", true),
    Opt::both('r', "read-only", false),
    Opt::both('s', "snapshot", false),
    Opt::both('n', "nocache", false),
    Opt::both('C', "copy-on-read", false),
    Opt::both('m', "misalign", false),
    Opt::both('k', "native-aio", false),
    Opt::both('i', "aio", true),
    Opt::both('t', "cache", true),
    Opt::both('d', "discard", true),
    Opt::both('T', "trace", true),
    Opt::both('U', "force-share", false),
    Opt::long("object", true),
    Opt::long("image-opts", false),
    Opt::long("allow-path", true),
];

const USAGE: &str = "\
  --object OBJECTDEF   an object such as a 'secret' for passwords
  --image-opts         the file is an option string
  --allow-path DIR     names inside images may reach what is beneath DIR
  -c, --cmd STRING     run a command; may be repeated
  -f, --format FMT     do not guess the format
  -r, --read-only      open for reading only
  -s, --snapshot       write to a temporary overlay
  -n, --nocache        go around the host's cache, like -t none
  -C, --copy-on-read   keep what was read from the backing file
  -m, --misalign       buffers of uneven addresses
  -k, --native-aio     kernel AIO
  -i, --aio=MODE       how requests reach the host: threads, native, io_uring
  -t, --cache=MODE     cache mode
  -d, --discard=MODE   what becomes of discards: ignore, off, unmap, on
  -T, --trace TRACE    what to log
  -U, --force-share    take no locks against others
  -h, --help           show this help
  -V, --version        show the version";

fn usage() {
    let prog = prog_name();
    out::line(format!(
        "Usage: {prog} [OPTIONS]... [-c STRING]... [file]\nQEMU Disk exerciser\n"
    ));
    out::line(format!(
        "{USAGE}\n\nSee '{prog} -c help' for information on available commands."
    ));
}

/// Runs the tool to its exit code.
pub(crate) async fn run(words: Vec<String>) -> ExitCode {
    let parsed = match getopt::parse(OPTIONS, &words) {
        Ok(parsed) => parsed,
        Err(message) => {
            eprintln!("{}: {message}", prog_name());
            usage();
            return ExitCode::FAILURE;
        }
    };
    if parsed.has("h") {
        usage();
        return ExitCode::SUCCESS;
    }
    if parsed.has("V") {
        out::line(format!("{} version {VERSION}", prog_name()));
        return ExitCode::SUCCESS;
    }
    if parsed.operands.len() > 1 {
        usage();
        return ExitCode::FAILURE;
    }
    let mode = match mode(&parsed) {
        Ok(mode) => mode,
        Err(error) => {
            qapi::report(&error);
            return ExitCode::FAILURE;
        }
    };
    let session = Session::new(&parsed.values("allow-path"));
    for object in parsed.values("object") {
        if let Err(error) = session.add_object(&object) {
            qapi::report(&error);
            return ExitCode::FAILURE;
        }
    }
    let mut shell = Shell {
        session,
        disk: None,
        background: Vec::new(),
        quit: false,
        image_opts: parsed.has("image-opts"),
        reopen: None,
    };
    if let Some(name) = parsed.operands.first() {
        let source = if shell.image_opts {
            Source::Options(name.clone())
        } else {
            Source::Name(name.clone(), parsed.value("f").map(str::to_owned))
        };
        let opened = shell.open(source, mode).await;
        if opened.is_err() {
            return ExitCode::FAILURE;
        }
    }
    let worked = commands(&mut shell, &parsed).await;
    let closed = shell.close().await;
    match worked.and(closed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed) => ExitCode::FAILURE,
    }
}

/// Checks what the options ask for.
fn mode(parsed: &Parsed) -> qapi::Result<Mode> {
    if parsed.has("image-opts") && parsed.value("f").is_some() {
        return Err(Error::new("--image-opts and -f are mutually exclusive"));
    }
    let mut mode = Mode {
        read_only: parsed.has("r"),
        cache: CacheMode::Writeback,
        any_cache: true,
        aio: None,
        force_share: parsed.has("U"),
        snapshot: parsed.has("s"),
        discard: true,
        copy_on_read: parsed.has("C"),
    };
    apply_io(parsed, &mut mode)?;
    Ok(mode)
}

/// Options about how requests reach the host, of the tool and of `open`.
///
/// # Errors
/// In QEMU's words.
pub(crate) fn apply_io(parsed: &Parsed, mode: &mut Mode) -> qapi::Result<()> {
    if parsed.has("n") {
        mode.cache = CacheMode::None;
        mode.any_cache = false;
    }
    if let Some(text) = parsed.value("t") {
        mode.any_cache = false;
        mode.cache = CacheMode::parse(text)
            .ok_or_else(|| Error::new(format!("Invalid cache option: {text}")))?;
    }
    match parsed.value("d") {
        None | Some("unmap" | "on") => {}
        Some("ignore" | "off") => mode.discard = false,
        Some(text) => return Err(Error::new(format!("Invalid discard option: {text}"))),
    }
    if parsed.has("k") {
        mode.aio = Some(Aio::Native);
    }
    if let Some(text) = parsed.value("i") {
        let aio = Aio::parse(text);
        mode.aio = Some(aio.ok_or_else(|| Error::new(format!("Invalid aio option: {text}")))?);
    }
    Ok(())
}

/// Runs the commands of `-c`, else those of standard input.
async fn commands(shell: &mut Shell, parsed: &Parsed) -> Result<(), Failed> {
    let given = parsed.values("c");
    let mut result = Ok(());
    if !given.is_empty() {
        for line in &given {
            if shell.quit {
                break;
            }
            result = shell.run(line).await.and(result);
        }
        return result;
    }
    let mut prompt = Prompt::new();
    while !shell.quit {
        let Some(line) = prompt.line() else { break };
        result = shell.run(&line).await.and(result);
    }
    result
}
