//! Devices by name, how the program starts and ends, logs.

use machine::device::{DEVICES, DeviceOption};
use qapi::{Error, Result};

use super::values::pairs;
use super::{Action, OptionEntry};
use crate::plan::{PanicAction, Plan};

pub(super) const OPTIONS: &[OptionEntry] = &[
    OptionEntry {
        name: "device",
        argument: "driver[,prop[=value][,...]]",
        help: "add device ('-device help' for list)",
        action: Action::Value(device),
    },
    OptionEntry {
        name: "S",
        argument: "",
        help: "freeze CPU at startup (use 'c' to start execution)",
        action: Action::Flag(|plan| {
            plan.stopped = true;
            Ok(())
        }),
    },
    OptionEntry {
        name: "no-reboot",
        argument: "",
        help: "exit instead of rebooting",
        action: Action::Flag(|plan| {
            plan.actions.no_reboot = true;
            Ok(())
        }),
    },
    OptionEntry {
        name: "no-shutdown",
        argument: "",
        help: "stop before shutdown",
        action: Action::Flag(|plan| {
            plan.actions.no_shutdown = true;
            Ok(())
        }),
    },
    OptionEntry {
        name: "action",
        argument: "event=action",
        help: "reboot=reset|shutdown, shutdown=poweroff|pause, panic=pause|shutdown|exit-failure|none",
        action: Action::Value(action),
    },
    OptionEntry {
        name: "pidfile",
        argument: "file",
        help: "write PID to 'file'",
        action: Action::Value(|plan, value| {
            plan.pidfile = Some(value.into());
            Ok(())
        }),
    },
    OptionEntry {
        name: "d",
        argument: "item1,...",
        help: "enable logging of specified items ('-d help' for a list)",
        action: Action::Value(log),
    },
    OptionEntry {
        name: "D",
        argument: "logfile",
        help: "output log to logfile (default stderr)",
        action: Action::Value(|plan, value| {
            plan.log_file = Some(value.into());
            Ok(())
        }),
    },
];

/// Items of `-d` and what they are about.
const LOG_ITEMS: &[(&str, &str)] = &[
    ("int", "show interrupts/exceptions in short format"),
    ("cpu_reset", "show CPU state before CPU resets"),
    ("unimp", "log unimplemented functionality"),
    (
        "guest_errors",
        "log when the guest OS does something invalid",
    ),
];

fn device(plan: &mut Plan, value: &str) -> Result<()> {
    if value.starts_with('{') {
        return Err(Error::new("JSON for -device is not supported yet"));
    }
    let mut option = DeviceOption {
        text: value.to_owned(),
        ..DeviceOption::default()
    };
    for (key, value) in pairs(value, "driver") {
        if key == "driver" {
            option.driver = value;
        } else {
            option.properties.insert(key, value);
        }
    }
    if machine::device::find(&option.driver).is_none() {
        let text = format!("'{}' is not a valid device model name", option.driver);
        return Err(Error::new(text));
    }
    plan.devices.push(option);
    Ok(())
}

fn action(plan: &mut Plan, value: &str) -> Result<()> {
    for (event, action) in pairs(value, "reboot") {
        let actions = &mut plan.actions;
        match (event.as_str(), action.as_str()) {
            ("reboot", "reset") => actions.no_reboot = false,
            ("reboot", "shutdown") => actions.no_reboot = true,
            ("shutdown", "poweroff") => actions.no_shutdown = false,
            ("shutdown", "pause") => actions.no_shutdown = true,
            ("panic", "pause") => actions.panic = PanicAction::Pause,
            ("panic", "shutdown") => actions.panic = PanicAction::Shutdown,
            ("panic", "exit-failure") => actions.panic = PanicAction::ExitFailure,
            ("panic", "none") => actions.panic = PanicAction::None,
            ("reboot" | "shutdown" | "panic", _) => {
                let text = format!("Parameter '{event}' does not accept value '{action}'");
                return Err(Error::new(text));
            }
            ("watchdog", "reset") => {}
            ("watchdog", _) => return Err(Error::new("'watchdog' is not supported yet")),
            _ => return Err(Error::new(format!("Invalid parameter '{event}'"))),
        }
    }
    Ok(())
}

fn log(plan: &mut Plan, value: &str) -> Result<()> {
    for item in value.split(',') {
        if !LOG_ITEMS.iter().any(|(name, _)| *name == item) {
            return Err(Error::new(format!(
                "log item '{item}' is not supported yet, or is none"
            )));
        }
    }
    plan.log = Some(value.to_owned());
    Ok(())
}

/// What `-d help` prints.
pub(super) fn log_items() -> String {
    let lines = LOG_ITEMS
        .iter()
        .map(|(name, help)| format!("{name:<15} {help}\n"));
    format!(
        "Log items (comma separated):\n{}",
        lines.collect::<String>()
    )
}

/// What `-device help` prints.
pub(super) fn devices() -> String {
    let lines = DEVICES.iter().map(|device| {
        let text = if device.description.is_empty() {
            String::new()
        } else {
            format!(", desc \"{}\"", device.description)
        };
        format!("name \"{}\", bus {}{text}\n", device.name, device.bus)
    });
    format!("Misc devices:\n{}", lines.collect::<String>())
}
