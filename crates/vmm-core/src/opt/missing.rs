//! Options that are known by name and not there yet; each is refused in one line.

use super::{Action, OptionEntry};

const fn with_value(name: &'static str) -> OptionEntry {
    OptionEntry {
        name,
        argument: "...",
        help: "",
        action: Action::Missing { argument: true },
    }
}

const fn alone(name: &'static str) -> OptionEntry {
    OptionEntry {
        name,
        argument: "",
        help: "",
        action: Action::Missing { argument: false },
    }
}

pub(super) const OPTIONS: &[OptionEntry] = &[
    with_value("numa"),
    with_value("mem-path"),
    with_value("set"),
    with_value("fda"),
    with_value("fdb"),
    with_value("sd"),
    with_value("mtdblock"),
    with_value("vnc"),
    with_value("spice"),
    with_value("usbdevice"),
    with_value("virtfs"),
    with_value("fsdev"),
    with_value("shim"),
    with_value("dtb"),
    with_value("audio"),
    with_value("gdb"),
    with_value("dfilter"),
    with_value("trace"),
    with_value("icount"),
    with_value("loadvm"),
    with_value("incoming"),
    with_value("run-with"),
    with_value("watchdog-action"),
    with_value("seed"),
    with_value("add-fd"),
    with_value("compat"),
    with_value("tpmdev"),
    with_value("plugin"),
    with_value("dump-vmstate"),
    with_value("xen-domid"),
    with_value("iscsi"),
    with_value("g"),
    with_value("runas"),
    with_value("chroot"),
    alone("mem-prealloc"),
    alone("full-screen"),
    alone("usb"),
    alone("s"),
    alone("no-fd-bootchk"),
    alone("win2k-hack"),
    alone("only-migratable"),
    alone("preconfig"),
    alone("perfmap"),
    alone("jitdump"),
    alone("enable-sync-profile"),
    alone("xen-attach"),
    alone("xen-domid-restrict"),
];
