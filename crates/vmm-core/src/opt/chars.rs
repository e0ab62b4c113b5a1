//! Serial ports, monitor, debug console, display.

use qapi::{Error, Result};

use super::{Action, OptionEntry};
use crate::plan::Plan;

pub(super) const OPTIONS: &[OptionEntry] = &[
    OptionEntry {
        name: "serial",
        argument: "dev",
        help: "redirect the serial port to char device 'dev'",
        action: Action::Value(|plan, value| {
            plan.serial.push(backend(value)?);
            Ok(())
        }),
    },
    OptionEntry {
        name: "monitor",
        argument: "dev",
        help: "redirect the monitor to char device 'dev'",
        action: Action::Value(|plan, value| {
            plan.monitors.push(backend(value)?);
            Ok(())
        }),
    },
    OptionEntry {
        name: "debugcon",
        argument: "dev",
        help: "redirect the debug console to char device 'dev'",
        action: Action::Value(|plan, value| {
            plan.debugcon.push(backend(value)?);
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
        name: "vga",
        argument: "[std|none]",
        help: "select video card type",
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

/// Checks that a text names a backend.
fn backend(value: &str) -> Result<String> {
    match char_backends::Spec::parse(value) {
        Ok(_) => Ok(value.to_owned()),
        Err(error) => Err(Error::new(error.to_string())),
    }
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
