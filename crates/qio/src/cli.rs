//! The tool's own command line.

use std::process::ExitCode;

use block::{Aio, CacheMode, Session};
use qapi::getopt::{self, Parsed};
use qapi::{Error, opts, out, prog_name};
use tool_cli::{Request, exit_code, trace};

use crate::background::Background;
use crate::number::Failed;
use crate::options::{OPTIONS, SHEET, usage};
use crate::prompt::Prompt;
use crate::shell::{Mode, Shell, Source};

/// What `--version` shows: the version whose behaviour this is.
pub(crate) const VERSION: &str = "10.0.2";

/// Runs the tool to its exit code.
pub(crate) async fn run(words: Vec<String>) -> ExitCode {
    // As a disk's command line these would be refused for three operands.
    if let Some((first, rest)) = words.split_first()
        && first == "generate"
        && let Some(request) = Request::read(rest)
    {
        return exit_code(request.run(SHEET.whole()));
    }
    let parsed = match getopt::parse(&tool_cli::for_getopt(OPTIONS), &words) {
        Ok(parsed) => parsed,
        Err(message) => {
            eprintln!("{}: {message}", prog_name());
            usage();
            return ExitCode::FAILURE;
        }
    };
    if trace::help(&parsed.values("T")) {
        return ExitCode::SUCCESS;
    }
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
    let (mut shell, mode) = match prepare(&parsed) {
        Ok(ready) => ready,
        Err(error) => return exit_code(Err(error)),
    };
    match work(&mut shell, mode, &parsed).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed) => ExitCode::FAILURE,
    }
}

/// A shell without a disk, and how disks are opened.
fn prepare(parsed: &Parsed) -> qapi::Result<(Shell, Mode)> {
    let mode = mode(parsed)?;
    trace::start(&parsed.values("T"))?;
    let session = Session::new(&parsed.values("allow-path"));
    for object in parsed.values("object") {
        session.add_object(&object)?;
    }
    let shell = Shell {
        session,
        disk: None,
        background: Background::default(),
        quit: false,
        image_opts: parsed.has("image-opts"),
        reopen: None,
    };
    Ok((shell, mode))
}

/// Opens the disk, if one is named, and runs the commands.
async fn work(shell: &mut Shell, mode: Mode, parsed: &Parsed) -> Result<(), Failed> {
    if let Some(name) = parsed.operands.first() {
        let source = if shell.image_opts {
            Source::Options(spelled_out(name))
        } else {
            Source::Name(name.clone(), parsed.value("f").map(str::to_owned))
        };
        shell.open(source, mode).await?;
    }
    let worked = commands(shell, parsed).await;
    let closed = shell.close().await;
    worked.and(closed)
}

/// An option string whose first word is an option as any other, and not a file.
pub(crate) fn spelled_out(text: &str) -> String {
    let first = text.split(',').next().unwrap_or_default();
    if first.contains('=') {
        return text.to_owned();
    }
    let words = opts::split_noisily(first, None);
    let words = words.iter().map(|(name, value)| format!("{name}={value}"));
    words.collect::<String>() + &text[first.len()..]
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
        shell.background.let_tell(true);
        let line = prompt.line();
        shell.background.let_tell(false);
        let Some(line) = line else { break };
        result = shell.run(&line).await.and(result);
    }
    result
}
