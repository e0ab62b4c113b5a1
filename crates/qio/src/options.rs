//! The table of options: the command line is read by it, and help, man page and completions are printed from it.

use qapi::getopt::Opt;

/// One option.
pub(crate) struct Entry {
    pub(crate) opt: Opt,
    /// What its value is called.
    pub(crate) value: &'static str,
    pub(crate) help: &'static str,
}

const fn flag(letter: char, long: &'static str, help: &'static str) -> Entry {
    Entry {
        opt: Opt::both(letter, long, false),
        value: "",
        help,
    }
}

const fn with(letter: char, long: &'static str, value: &'static str, help: &'static str) -> Entry {
    Entry {
        opt: Opt::both(letter, long, true),
        value,
        help,
    }
}

const fn long(name: &'static str, value: &'static str, help: &'static str) -> Entry {
    Entry {
        opt: Opt::long(name, !value.is_empty()),
        value,
        help,
    }
}

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
    long(
        "object",
        "OBJECTDEF",
        "an object such as a 'secret' for passwords",
    ),
    long("image-opts", "", "the file is an option string"),
    long(
        "allow-path",
        "DIR",
        "names inside images may reach what is beneath DIR",
    ),
];

/// What getopt needs of the table.
pub(crate) fn for_getopt() -> Vec<Opt> {
    OPTIONS.iter().map(|entry| entry.opt).collect()
}

impl Entry {
    /// The option as help shows it.
    pub(crate) fn left(&self) -> String {
        let name = self.opt.long.unwrap_or_default();
        let letter = self.opt.short.map(|letter| format!("-{letter}, "));
        let line = format!("{}--{name} {}", letter.unwrap_or_default(), self.value);
        line.trim_end().to_owned()
    }
}
