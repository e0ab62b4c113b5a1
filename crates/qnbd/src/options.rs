//! The table of options: the command line is read by it, and help, man page and completions are printed from it.

use qapi::{out, prog_name};
use tool_cli::{Entry, Group, Sheet, flag, long_flag, long_with, with};

use crate::VERSION;

const ABOUT: &str = "Serves disk images over the network block device protocol";

const EXAMPLES: &str = "\
Examples:
  {prog} -t -k /run/disk.sock -f qcow2 disk.qcow2    serve on a unix socket until told to stop
  {prog} -r -p 10810 -f raw disk.raw                 serve to one client, for reading
  {prog} -c auto -f qcow2 disk.qcow2                 attach to a free /dev/nbdN and print its name
  {prog} -d /dev/nbd0                                detach it
  {prog} -L -k /run/disk.sock                        show what a server exports";

/// Everything that the reference knows too, and in its order: that is the order in which getopt lists what an
/// abbreviation may mean.
pub(crate) const OPTIONS: &[Entry] = &[
    flag('h', "help", "show this help"),
    flag('V', "version", "show the version"),
    with('b', "bind", "ADDR", "address to listen on [0.0.0.0]"),
    with('p', "port", "PORT", "TCP port to listen on [10809]"),
    with(
        'k',
        "socket",
        "PATH",
        "listen on a unix socket; with -c [/var/lock/qemu-nbd-DEVICE]",
    ),
    with('o', "offset", "BYTES", "serve the disk from here on"),
    flag('r', "read-only", "serve for reading only"),
    flag(
        'A',
        "allocation-depth",
        "tell in which layer of a backing chain data is",
    ),
    with(
        'B',
        "bitmap",
        "NAME",
        "serve a dirty bitmap; may be repeated",
    ),
    with(
        'c',
        "connect",
        "DEV",
        "attach to the kernel's device DEV, or to a free one: auto",
    ),
    flag('d', "disconnect", "detach the device FILE"),
    flag('L', "list", "show what a server exports"),
    flag('s', "snapshot", "write to a temporary overlay"),
    with(
        'l',
        "load-snapshot",
        "SNAP",
        "serve an internal snapshot: ID, NAME, or snapshot.id=ID,snapshot.name=NAME",
    ),
    flag('n', "nocache", "go around the host's cache: --cache=none"),
    long_with(
        "cache",
        "MODE",
        "writeback, none, writethrough, directsync or unsafe",
    ),
    long_with(
        "aio",
        "MODE",
        "how requests reach the host: threads, native, io_uring",
    ),
    long_with(
        "discard",
        "MODE",
        "what becomes of discards: ignore or unmap",
    ),
    long_with(
        "detect-zeroes",
        "MODE",
        "what becomes of written zeroes: off, on or unmap",
    ),
    with('e', "shared", "NUM", "clients at a time [1]; 0: any number"),
    with('f', "format", "FMT", "do not guess the image's format"),
    flag('t', "persistent", "stay when the last client leaves"),
    flag('v', "verbose", "stay in the foreground and tell more"),
    long_with(
        "object",
        "TYPE,id=ID,...",
        "an object: a secret, TLS credentials, an authorization",
    ),
    with('x', "export-name", "NAME", "name of the export [empty]"),
    with('D', "description", "TEXT", "description of the export"),
    long_with(
        "handshake-limit",
        "SECONDS",
        "time that a client has for the handshake [10]; 0: any",
    ),
    long_with("tls-creds", "ID", "credentials to use TLS with"),
    long_with(
        "tls-hostname",
        "NAME",
        "with -L: name that the server's certificate must be for",
    ),
    long_with("tls-authz", "ID", "who may connect, by their certificate"),
    long_flag("image-opts", "FILE is an option string"),
    with('T', "trace", "TRACE", "what to log"),
    long_flag("fork", "come back once the server listens"),
    long_with(
        "pid-file",
        "PATH",
        "where to write the server's process number",
    ),
    long_with("selinux-label", "LABEL", "SELinux label of the socket"),
];

/// What the reference does not have. These are never abbreviated, so that its abbreviations keep their meaning.
pub(crate) const OWN: &[Entry] = &[
    long_flag("devices", "show what the kernel's devices are attached to"),
    long_flag("cleanup", "detach devices whose server is gone"),
    long_flag("json", "with -L, --devices: print JSON"),
    long_with(
        "allow-path",
        "DIR",
        "names inside images may reach what is beneath DIR",
    ),
];

/// Both tables, for those who print them.
pub(crate) const GROUPS: &[Group] = &[
    Group {
        title: "Options",
        entries: OPTIONS,
    },
    Group {
        title: "Options that qemu-nbd does not have",
        entries: OWN,
    },
];

/// What man page and completions are made from.
pub(crate) const SHEET: Sheet = Sheet {
    version: VERSION,
    about: ABOUT,
    examples: EXAMPLES,
    groups: GROUPS,
    file: "the image, or with -d the device",
};

/// What `--help` prints.
pub(crate) fn usage() {
    let prog = prog_name();
    out::line(format!(
        "Usage: {prog} [OPTIONS] FILE\n  or:  {prog} -L [OPTIONS]\n{ABOUT}"
    ));
    for group in GROUPS {
        out::line(format!("\n{}:", group.title));
        for entry in group.entries {
            let left = left(entry);
            let gap = if left.len() > 27 {
                "\n                               "
            } else {
                ""
            };
            out::line(format!("  {left:<27}{gap}  {}", entry.help));
        }
    }
    out::line(format!("\n{}", SHEET.examples()));
}

/// The part of an option in front of the help text.
fn left(entry: &Entry) -> String {
    let short = match entry.opt.short {
        Some(letter) => format!("-{letter}, "),
        None => "    ".to_owned(),
    };
    let long = entry.opt.long.unwrap_or_default();
    let equals = if entry.value.is_empty() { "" } else { "=" };
    format!("{short}--{long}{equals}{}", entry.value)
}

/// What `--version` prints.
pub(crate) fn version() {
    out::line(format!("{} {VERSION} (qnbd)", prog_name()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_used_once() {
        let all: Vec<&Entry> = GROUPS.iter().flat_map(|g| g.entries).collect();
        for (at, entry) in all.iter().enumerate() {
            for other in &all[..at] {
                assert_ne!(entry.opt.long, other.opt.long);
                assert!(entry.opt.short.is_none() || entry.opt.short != other.opt.short);
            }
        }
    }
}
