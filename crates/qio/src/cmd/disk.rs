//! `open`, `close`, `reopen`, `quit`, `length`, `info` and `truncate`

use std::sync::Arc;

use block::core::FormatInfo;
use block::{CacheMode, Preallocation};
use qapi::getopt::Opt;
use qapi::{Error, json};

use super::{Command, reopen};
use crate::cli::{apply_io, spelled_out};
use crate::number::{self, Failed};
use crate::report::bytes;
use crate::shell::{Call, Mode, Shell, Source};
use qapi::out;

pub(super) const OPEN: Command = Command {
    args: "[-rsCnkU] [-t cache] [-d discard] [-o options] [path]",
    more: " The options are those of the tool's own command line; -o gives a driver's options.",
    count: (1, None),
    options: &[
        Opt::short('r', false),
        Opt::short('s', false),
        Opt::short('C', false),
        Opt::short('n', false),
        Opt::short('k', false),
        Opt::short('U', false),
        Opt::short('t', true),
        Opt::short('i', true),
        Opt::short('d', true),
        Opt::short('o', true),
    ],
    without_file: true,
    ..Command::plain(
        &["open", "o"],
        "open the file specified by path",
        |shell, call| Box::pin(async move { open(shell, &call).await }),
    )
};

pub(super) const CLOSE: Command = Command::plain(
    &["close", "c"],
    "close the current open file",
    |shell, _| Box::pin(async move { shell.close().await }),
);

pub(super) const REOPEN: Command = Command {
    args: "[(-r|-w)] [-c cache] [-o options]",
    more: " Opens the file anew: -r for reading only, -w for writing, -c with another cache mode.",
    count: (0, None),
    options: &[
        Opt::short('r', false),
        Opt::short('w', false),
        Opt::short('c', true),
        Opt::short('o', true),
    ],
    ..Command::plain(
        &["reopen"],
        "reopens an image with new options",
        |shell, call| Box::pin(async move { reopen::run(shell, &call).await }),
    )
};

pub(super) const QUIT: Command = Command {
    count: (0, None),
    without_file: true,
    ..Command::plain(&["quit", "q"], "exit the program", |shell, _| {
        Box::pin(async move {
            shell.quit = true;
            Ok(())
        })
    })
};

pub(super) const LENGTH: Command = Command {
    waits: false,
    ..Command::plain(
        &["length", "l"],
        "gets the length of the current file",
        |_, call| Box::pin(async move { length(&call) }),
    )
};

pub(super) const INFO: Command = Command {
    waits: false,
    ..Command::plain(
        &["info", "i"],
        "prints information about the current file",
        |_, call| Box::pin(async move { info(&call).await }),
    )
};

pub(super) const TRUNCATE: Command = Command {
    args: "[-m prealloc_mode] off",
    more: " Gives the file another length; -m off, metadata, falloc or full says how the new part is allocated.",
    count: (1, Some(3)),
    options: &[Opt::short('m', true)],
    writes: true,
    ..Command::plain(
        &["truncate", "t"],
        "truncates the current file at the given offset",
        |_, call| Box::pin(async move { truncate(&call).await }),
    )
};

pub(super) fn told(error: &Error) -> Failed {
    qapi::report(error);
    Failed
}

async fn open(shell: &mut Shell, call: &Call<'_>) -> Result<(), Failed> {
    let mut mode = Mode {
        read_only: call.has("r"),
        cache: CacheMode::Writeback,
        any_cache: true,
        aio: None,
        force_share: call.has("U"),
        snapshot: call.has("s"),
        discard: true,
        copy_on_read: call.has("C"),
    };
    apply_io(&call.options, &mut mode).map_err(|e| told(&e))?;
    let given = Some(call.options.values("o").join(",")).filter(|_| call.has("o"));
    if shell.image_opts && given.is_some() {
        out::line("--image-opts and 'open -o' are mutually exclusive");
        return Err(Failed);
    }
    let source = match (given, call.operands()) {
        (None, [text]) if shell.image_opts => Source::Options(spelled_out(text)),
        (None, [path]) => Source::Name(path.clone(), None),
        (Some(options), []) => Source::Options(spelled_out(&options)),
        (Some(options), [path]) => Source::Both(spelled_out(&options), path.clone()),
        _ => return Err(call.usage()),
    };
    shell.open(source, mode).await
}

fn length(call: &Call<'_>) -> Result<(), Failed> {
    let length = call.disk()?.root.length().map_err(|error| {
        out::line(format!(
            "getlength: {}",
            qapi::strerror(error.raw_os_error().unwrap_or(5))
        ));
        Failed
    })?;
    out::line(bytes(length));
    Ok(())
}

async fn info(call: &Call<'_>) -> Result<(), Failed> {
    let node = call.disk()?.root.node();
    out::line(format!("format name: {}", node.driver()));
    if block::is_protocol(node.driver()) {
        // Once as a format, once as a protocol.
        out::line(format!("format name: {}", node.driver()));
    }
    let mut below = Arc::clone(&node);
    while let Some(child) = below.filtered() {
        below = child;
    }
    let has_some = matches!(below.driver(), "file" | "host_device") || below.format().is_some();
    if !has_some {
        // It has nothing to tell.
        return Err(Failed);
    }
    let mut info = match below.format() {
        Some(format) => format.info().await.map_err(|e| told(&e))?,
        None => FormatInfo::default(),
    };
    if node.format().is_none() {
        info.specific = None;
    }
    out::line(format!(
        "cluster size: {}",
        bytes(info.cluster_size.unwrap_or(0))
    ));
    out::line(format!(
        "vm state offset: {}",
        bytes(info.vm_state_offset.unwrap_or(0))
    ));
    if let Some(specific) = info.specific.filter(|s| !s.is_empty()) {
        let mut tree = String::new();
        json::human_tree(&specific, 1, &mut tree);
        out::text(&format!("Format specific information:\n{tree}"));
    }
    Ok(())
}

async fn truncate(call: &Call<'_>) -> Result<(), Failed> {
    let mode = match call.options.value("m") {
        None => Preallocation::Off,
        Some(name) => Preallocation::parse(name)
            .ok_or_else(|| told(&Error::new(format!("Invalid preallocation mode '{name}'"))))?,
    };
    // What is no length is blamed on the first word, which an option is; words after the length do not matter.
    let offset = match call.operands().first() {
        Some(text) if !call.has("m") || qapi::parse_size(text).is_ok() => number::number(text)?,
        _ => number::number("-m")?,
    };
    let root = call.disk()?.root;
    root.truncate(offset, mode).await.map_err(|e| told(&e))
}
