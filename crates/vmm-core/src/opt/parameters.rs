//! Keys of options that take `key=value` pairs, for those who ask what this program knows.

/// An option and its keys with their types.
type Row = (&'static str, &'static [(&'static str, &'static str)]);

/// All of them.
pub(crate) const PARAMETERS: &[Row] = &[
    (
        "machine",
        &[
            ("type", "string"),
            ("accel", "string"),
            ("append", "string"),
            ("acpi", "boolean"),
            ("dump-guest-core", "boolean"),
            ("firmware", "string"),
            ("graphics", "boolean"),
            ("hpet", "boolean"),
            ("initrd", "string"),
            ("kernel", "string"),
            ("mem-merge", "boolean"),
            ("memory-backend", "string"),
            ("smm", "boolean"),
            ("usb", "boolean"),
            ("vmport", "boolean"),
        ],
    ),
    (
        "smp-opts",
        &[
            ("cpus", "number"),
            ("sockets", "number"),
            ("dies", "number"),
            ("clusters", "number"),
            ("modules", "number"),
            ("cores", "number"),
            ("threads", "number"),
            ("maxcpus", "number"),
        ],
    ),
    ("memory", &[("size", "size")]),
    (
        "boot-opts",
        &[
            ("order", "string"),
            ("menu", "boolean"),
            ("strict", "boolean"),
        ],
    ),
    ("name", &[("guest", "string"), ("debug-threads", "boolean")]),
    (
        "rtc",
        &[
            ("base", "string"),
            ("clock", "string"),
            ("driftfix", "string"),
        ],
    ),
    (
        "global",
        &[
            ("driver", "string"),
            ("property", "string"),
            ("value", "string"),
        ],
    ),
    (
        "mon",
        &[
            ("mode", "string"),
            ("chardev", "string"),
            ("pretty", "boolean"),
        ],
    ),
    (
        "chardev",
        &[
            ("backend", "string"),
            ("path", "string"),
            ("input-path", "string"),
            ("host", "string"),
            ("port", "string"),
            ("fd", "string"),
            ("wait", "boolean"),
            ("server", "boolean"),
            ("delay", "boolean"),
            ("nodelay", "boolean"),
            ("reconnect", "number"),
            ("reconnect-ms", "number"),
            ("telnet", "boolean"),
            ("mux", "boolean"),
            ("signal", "boolean"),
            ("size", "size"),
            ("append", "boolean"),
            ("logfile", "string"),
            ("logappend", "boolean"),
        ],
    ),
    (
        "drive",
        &[
            ("bus", "number"),
            ("unit", "number"),
            ("if", "string"),
            ("index", "number"),
            ("media", "string"),
            ("snapshot", "boolean"),
            ("file", "string"),
            ("format", "string"),
            ("cache", "string"),
            ("aio", "string"),
            ("discard", "string"),
            ("id", "string"),
            ("rerror", "string"),
            ("werror", "string"),
            ("read-only", "boolean"),
            ("copy-on-read", "boolean"),
        ],
    ),
    (
        "device",
        &[("driver", "string"), ("id", "string"), ("bus", "string")],
    ),
    (
        "fw_cfg",
        &[("name", "string"), ("file", "string"), ("string", "string")],
    ),
    ("msg", &[("timestamp", "boolean")]),
    (
        "overcommit",
        &[("mem-lock", "boolean"), ("cpu-pm", "boolean")],
    ),
    (
        "action",
        &[
            ("reboot", "string"),
            ("shutdown", "string"),
            ("panic", "string"),
        ],
    ),
];
