//! The table of options: the command line is read by it, and help, man page and completions are printed from it.

use qapi::{out, prog_name};
use tool_cli::{Entry, Group, Sheet, flag, long_flag, long_with, with};

use crate::cli::VERSION;

const EXAMPLES: &str = "\
Examples:
  {prog} -c 'read -v 0 512' -f raw disk.raw              show the first sector
  {prog} -c 'write -P 7 1M 64k' -f qcow2 disk.qcow2      fill 64 KiB with sevens
  {prog} -f qcow2 disk.qcow2                             ask for commands";

/// In the reference's order: that is the order in which getopt lists what an abbreviation may mean.
pub(crate) const OPTIONS: &[Entry] = &[
    flag('h', "help", "show this help"),
    flag('V', "version", "show the version"),
    with('c', "cmd", "STRING", "run a command; may be repeated"),
    with('f', "format", "FMT", "do not guess the format"),
    flag('r', "read-only", "open for reading only"),
    flag('s', "snapshot", "write to a temporary overlay"),
    flag('n', "nocache", "go around the host's cache, like -t none"),
    flag(
        'C',
        "copy-on-read",
        "keep what was read from the backing file",
    ),
    flag('m', "misalign", "buffers of uneven addresses"),
    flag('k', "native-aio", "kernel AIO"),
    with(
        'i',
        "aio",
        "MODE",
        "how requests reach the host: threads, native, io_uring",
    ),
    with('t', "cache", "MODE", "cache mode"),
    with(
        'd',
        "discard",
        "MODE",
        "what becomes of discards: ignore, off, unmap, on",
    ),
    with('T', "trace", "TRACE", "what to log"),
    flag('U', "force-share", "take no locks against others"),
    long_with(
        "object",
        "OBJECTDEF",
        "an object such as a 'secret' for passwords",
    ),
    long_flag("image-opts", "the file is an option string"),
    long_with(
        "allow-path",
        "DIR",
        "names inside images may reach what is beneath DIR",
    ),
];

/// What man page and completions are made from.
pub(crate) const SHEET: Sheet = Sheet {
    version: VERSION,
    about: "Reads, writes and tests disks by commands",
    examples: EXAMPLES,
    groups: &[Group {
        title: "Options",
        entries: OPTIONS,
    }],
    file: "the image",
};

/// What `--help` prints.
pub(crate) fn usage() {
    let prog = prog_name();
    out::line(format!(
        "Usage: {prog} [OPTIONS]... [-c STRING]... [file]\nQEMU Disk exerciser\n"
    ));
    for entry in OPTIONS {
        out::line(format!("  {:<20} {}", left(entry), entry.help));
    }
    out::line(format!(
        "\n{}\n\nSee '{prog} -c help' for information on available commands.",
        SHEET.examples()
    ));
}

/// An option as help shows it.
fn left(entry: &Entry) -> String {
    let name = entry.opt.long.unwrap_or_default();
    let letter = entry.opt.short.map(|letter| format!("-{letter}, "));
    let line = format!("{}--{name} {}", letter.unwrap_or_default(), entry.value);
    line.trim_end().to_owned()
}
