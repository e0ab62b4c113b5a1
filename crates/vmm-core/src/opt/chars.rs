//! Character devices and what is on them: serial ports, monitors, debug console; the display.

use char_backends::{BACKENDS, Spec};
use qapi::{Error, Result, opts};

use super::values::{pairs, switch};
use super::{Action, OptionEntry};
use crate::plan::{CharRequest, MonitorMode, MonitorRequest, Plan};

pub(super) const OPTIONS: &[OptionEntry] = &[
    OptionEntry {
        name: "chardev",
        argument: "backend,id=id[,mux=on|off][,logfile=PATH][,...]",
        help: "configure a character device ('-chardev help' for a list)",
        action: Action::Value(chardev),
    },
    OptionEntry {
        name: "serial",
        argument: "dev",
        help: "redirect the serial port to char device 'dev'",
        action: Action::Value(|plan, value| {
            plan.serial.push(value.to_owned());
            Ok(())
        }),
    },
    OptionEntry {
        name: "monitor",
        argument: "dev",
        help: "redirect the monitor to char device 'dev'",
        action: Action::Value(|plan, value| {
            monitor(plan, "-monitor", value, MonitorMode::Readline);
            Ok(())
        }),
    },
    OptionEntry {
        name: "qmp",
        argument: "dev",
        help: "like -monitor but opens in 'control' mode",
        action: Action::Value(|plan, value| {
            monitor(plan, "-qmp", value, MonitorMode::Control { pretty: false });
            Ok(())
        }),
    },
    OptionEntry {
        name: "qmp-pretty",
        argument: "dev",
        help: "like -qmp but uses pretty JSON formatting",
        action: Action::Value(|plan, value| {
            let mode = MonitorMode::Control { pretty: true };
            monitor(plan, "-qmp-pretty", value, mode);
            Ok(())
        }),
    },
    OptionEntry {
        name: "mon",
        argument: "[chardev=]name[,mode=readline|control][,pretty[=on|off]]",
        help: "a monitor on a character device",
        action: Action::Value(mon),
    },
    OptionEntry {
        name: "qtest",
        argument: "CHR",
        help: "let tests drive the devices by the qtest protocol on a char device",
        action: Action::Value(|plan, value| {
            plan.qtest = Some(value.to_owned());
            Ok(())
        }),
    },
    OptionEntry {
        name: "qtest-log",
        argument: "LOG",
        help: "keep what is said there in a file, not on standard error",
        action: Action::Value(|plan, value| {
            plan.qtest_log = Some(value.to_owned());
            Ok(())
        }),
    },
    OptionEntry {
        name: "echr",
        argument: "chr",
        help: "set terminal escape character instead of ctrl-a",
        action: Action::Value(|plan, value| {
            let digits = value.strip_prefix("0x").unwrap_or(value);
            let radix = if digits == value { 10 } else { 16 };
            plan.escape = u8::from_str_radix(digits, radix)
                .map_err(|_| Error::new("not a number of a byte"))?;
            Ok(())
        }),
    },
    OptionEntry {
        name: "debugcon",
        argument: "dev",
        help: "redirect the debug console to char device 'dev'",
        action: Action::Value(|plan, value| {
            plan.debugcon.push(value.to_owned());
            Ok(())
        }),
    },
    OptionEntry {
        name: "nographic",
        argument: "",
        help: "disable graphical output and redirect serial I/Os to console",
        action: Action::Flag(|plan| {
            plan.nographic = true;
            Ok(())
        }),
    },
    OptionEntry {
        name: "display",
        argument: "none",
        help: "select display backend type; none is there so far",
        action: Action::Value(display),
    },
    OptionEntry {
        name: "k",
        argument: "language",
        help: "use keyboard layout; only displays need one, and none is there so far",
        action: Action::Value(|_, _| Ok(())),
    },
    OptionEntry {
        name: "vga",
        argument: "[std|none]",
        help: "select video card type ('-vga help' for a list)",
        action: Action::Value(vga),
    },
    OptionEntry {
        name: "parallel",
        argument: "none",
        help: "no parallel port is there so far",
        action: Action::Value(|_, value| match value {
            "none" | "null" => Ok(()),
            _ => Err(Error::new("parallel ports are not supported yet")),
        }),
    },
];

/// What `-chardev help` prints.
pub(super) fn backends() -> String {
    let lines = BACKENDS.iter().map(|name| format!("  {name}\n"));
    format!(
        "Available chardev backend types: \n{}",
        lines.collect::<String>()
    )
}

/// What `-vga help` prints.
pub(super) fn video_cards() -> String {
    format!(
        "{:<20} {}\n{:<20} {} (default)\n",
        "none", "no graphic card", "std", "standard VGA"
    )
}

fn chardev(plan: &mut Plan, value: &str) -> Result<()> {
    let mut given = pairs(value, "backend");
    let mut take = |name: &str| {
        let at = given.iter().position(|(key, _)| key == name)?;
        Some(given.remove(at).1)
    };
    let kind = take("backend").ok_or_else(|| Error::new("chardev: no backend specified"))?;
    let id = take("id").ok_or_else(|| Error::new("chardev: no id specified"))?;
    if !opts::is_id(&id) {
        return Err(Error::new("Parameter 'id' expects an identifier").hint(
            "Identifiers consist of letters, digits, '-', '.', '_', starting with a letter.",
        ));
    }
    if plan.chardevs.iter().any(|known| known.id == id) {
        return Err(Error::new(format!("Duplicate ID '{id}' for chardev")));
    }
    let spec = Spec::from_options(&kind, given)?;
    plan.chardevs.push(CharRequest {
        text: format!("-chardev {value}"),
        id,
        spec,
    });
    Ok(())
}

fn monitor(plan: &mut Plan, option: &str, backend: &str, mode: MonitorMode) {
    plan.monitors.push(MonitorRequest {
        text: format!("{option} {backend}"),
        backend: backend.to_owned(),
        mode,
    });
}

fn mon(plan: &mut Plan, value: &str) -> Result<()> {
    let (mut chardev, mut control, mut pretty) = (None, false, false);
    for (key, value) in pairs(value, "chardev") {
        match (key.as_str(), value.as_str()) {
            ("chardev", _) => chardev = Some(value),
            ("mode", "readline") => control = false,
            ("mode", "control") => control = true,
            ("mode", _) => {
                let text = format!("Parameter 'mode' does not accept value '{value}'");
                return Err(Error::new(text));
            }
            ("pretty", _) => pretty = switch("pretty", &value)?,
            ("id", _) => {}
            _ => return Err(Error::new(format!("Invalid parameter '{key}'"))),
        }
    }
    let chardev = chardev.ok_or_else(|| Error::new("Parameter 'chardev' is missing"))?;
    if pretty && !control {
        let text = "'pretty' is not compatible with HMP monitors";
        return Err(Error::new(text));
    }
    plan.monitors.push(MonitorRequest {
        text: format!("-mon {value}"),
        backend: format!("chardev:{chardev}"),
        mode: if control {
            MonitorMode::Control { pretty }
        } else {
            MonitorMode::Readline
        },
    });
    Ok(())
}

fn display(_plan: &mut Plan, value: &str) -> Result<()> {
    match value.split(',').next().unwrap_or("") {
        "none" => Ok(()),
        kind @ ("gtk" | "sdl" | "curses" | "vnc" | "egl-headless" | "dbus" | "spice-app"
        | "default") => Err(Error::new(format!("display '{kind}' is not supported yet"))),
        kind => {
            let text = format!("Parameter 'type' does not accept value '{kind}'");
            Err(Error::new(text))
        }
    }
}

fn vga(plan: &mut Plan, value: &str) -> Result<()> {
    match value {
        "std" | "none" => {
            plan.vga = Some(value.to_owned());
            Ok(())
        }
        "cirrus" | "vmware" | "qxl" | "virtio" => Err(Error::new(format!(
            "video card '{value}' is not supported yet"
        ))),
        _ => Err(Error::new(format!("unknown vga type: {value}"))),
    }
}
