//! Devices by name, how the program starts and ends, logs.

use machine::device::DeviceOption;
use qapi::{Error, Result, Value};

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
        name: "daemonize",
        argument: "",
        help: "daemonize QEMU after initializing",
        action: Action::Flag(|plan| {
            plan.daemonize = true;
            Ok(())
        }),
    },
    OptionEntry {
        name: "global",
        argument: "driver.property=value",
        help: "set a default of a device's property",
        action: Action::Value(global),
    },
    OptionEntry {
        name: "rtc",
        argument: "[base=utc|DATE][,clock=host|rt|vm][,driftfix=none|slew]",
        help: "set the clock that the guest sees at start",
        action: Action::Value(rtc),
    },
    OptionEntry {
        name: "readconfig",
        argument: "file",
        help: "read options from a file of groups",
        action: Action::Value(super::readconfig::read),
    },
    OptionEntry {
        name: "msg",
        argument: "[timestamp=on|off]",
        help: "messages carry the time",
        action: Action::Value(msg),
    },
    OptionEntry {
        name: "overcommit",
        argument: "[mem-lock=off][,cpu-pm=off]",
        help: "the host may use memory and processors otherwise",
        action: Action::Value(|_, value| only_off(value, &["mem-lock", "cpu-pm"])),
    },
    OptionEntry {
        name: "sandbox",
        argument: "off",
        help: "no system calls are forbidden",
        action: Action::Value(|_, value| match value {
            "off" | "enable=off" => Ok(()),
            // GAP: no filter of system calls.
            _ => Err(Error::new("forbidding system calls is not supported yet")),
        }),
    },
    OptionEntry {
        name: "audiodev",
        argument: "[driver=]none,id=id",
        help: "no sound",
        action: Action::Value(audio),
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
    let mut option = DeviceOption {
        text: value.to_owned(),
        ..DeviceOption::default()
    };
    let mut driver = None;
    for (key, value) in given(value)? {
        if key == "driver" {
            driver = Some(value);
        } else {
            option.properties.insert(key, value);
        }
    }
    option.driver = driver.ok_or_else(|| Error::new("Parameter 'driver' is missing"))?;
    let Some(kind) = machine::device::find(&option.driver) else {
        let text = format!("'{}' is not a valid device model name", option.driver);
        return Err(Error::new(text));
    };
    kind.name.clone_into(&mut option.driver);
    let id = option.properties.get("id");
    let same = |device: &DeviceOption| id.is_some() && device.properties.get("id") == id;
    if plan.devices.iter().any(same) {
        let id = id.map_or("", String::as_str);
        return Err(Error::new(format!("Duplicate ID '{id}' for device")));
    }
    plan.devices.push(option);
    Ok(())
}

/// Names and values of an option string or a JSON text.
fn given(value: &str) -> Result<Vec<(String, String)>> {
    if !value.starts_with('{') {
        return Ok(pairs(value, "driver"));
    }
    let Value::Dict(members) = qapi::json::parse(value)? else {
        return Err(Error::new("Invalid JSON object given"));
    };
    let one = |(name, value): (String, Value)| {
        let text = match value {
            Value::Str(text) => text,
            Value::Bool(on) => if on { "on" } else { "off" }.to_owned(),
            Value::Int(_) | Value::Uint(_) => qapi::json::compact(&value),
            _ => {
                let text = format!("Invalid parameter type for '{name}', expected: string");
                return Err(Error::new(text));
            }
        };
        Ok((name, text))
    };
    members.into_entries().into_iter().map(one).collect()
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

/// What `-device help` and `-device NAME,help` print, if that is what a value asks for.
pub(super) fn device_help(value: &str) -> Result<Option<String>> {
    if value.starts_with('{') {
        return Ok(None);
    }
    let asks = |word: &str| matches!(word, "help" | "?");
    let pairs = pairs(value, "driver");
    let driver = pairs.iter().find(|(key, _)| key == "driver");
    match driver {
        Some((_, name)) if asks(name) => Ok(Some(machine::device::help())),
        Some((_, name)) if pairs.iter().any(|(key, _)| asks(key)) => {
            let kind = machine::device::find(name);
            let kind = kind.ok_or_else(|| Error::new(format!("Device '{name}' not found")))?;
            Ok(Some(kind.help()))
        }
        _ => Ok(None),
    }
}

/// Switches that may be said to be off, as they are.
fn only_off(value: &str, names: &[&str]) -> Result<()> {
    for (key, value) in pairs(value, "") {
        if !names.contains(&key.as_str()) {
            return Err(Error::new(format!("Invalid parameter '{key}'")));
        }
        if super::values::switch(&key, &value)? {
            return Err(Error::new(format!("'{key}' is not supported yet")));
        }
    }
    Ok(())
}

fn global(plan: &mut Plan, value: &str) -> Result<()> {
    let parts = pairs(value, "");
    let named = |wanted: &str| {
        let found = parts.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.clone())
    };
    let short = value.split_once('=').and_then(|(name, value)| {
        let (driver, property) = name.rsplit_once('.')?;
        Some((driver.to_owned(), property.to_owned(), value.to_owned()))
    });
    let long = || Some((named("driver")?, named("property")?, named("value")?));
    let (driver, property, value) = short.or_else(long).ok_or_else(|| {
        Error::new("Invalid 'global' option: 'driver', 'property' and 'value' are needed")
    })?;
    plan.globals.push((driver, property, value));
    Ok(())
}

/// Gives devices the defaults that `-global` sets. A property that a device has not is refused with the device.
pub(super) fn apply_globals(plan: &mut Plan) -> Result<()> {
    for (driver, property, value) in &plan.globals {
        if (driver.as_str(), property.as_str()) == ("virtio-mmio", "force-legacy") {
            plan.legacy_mmio = super::values::switch(property, value)?;
            continue;
        }
        let known = machine::device::find(driver).is_some();
        let board = matches!(driver.as_str(), "PIIX4_PM" | "ICH9-LPC");
        // GAP: devices of the board have no properties yet; what they do is what "off" asks for.
        if board && !matches!(value.as_str(), "0" | "off") {
            let text = format!("-global {driver}.{property}={value} is not supported yet");
            return Err(Error::new(text));
        }
        if !known && !board {
            qapi::warn(&format!(
                "global {driver}.{property} has invalid class name"
            ));
        }
        for device in plan.devices.iter_mut().filter(|d| d.driver == *driver) {
            let properties = &mut device.properties;
            properties
                .entry(property.clone())
                .or_insert_with(|| value.clone());
        }
    }
    Ok(())
}

fn rtc(plan: &mut Plan, value: &str) -> Result<()> {
    for (key, value) in pairs(value, "base") {
        match (key.as_str(), value.as_str()) {
            ("base", "utc") => plan.rtc_base = None,
            ("base", "localtime") => {
                // GAP: the host's time zone is not known here.
                return Err(Error::new("base=localtime is not supported yet"));
            }
            ("base", date) => {
                let seconds = super::values::date(date);
                plan.rtc_base = Some(seconds.ok_or_else(|| {
                    let hint = "valid formats: '2006-06-17T16:01:21' or '2006-06-17'";
                    Error::new("invalid datetime format").hint(hint)
                })?);
            }
            ("clock", "host" | "rt" | "vm") => {}
            ("driftfix", "none") => plan.rtc_slew = false,
            ("driftfix", "slew") => plan.rtc_slew = true,
            ("clock", _) => return Err(Error::new(format!("invalid option value '{value}'"))),
            ("driftfix", _) => return Err(Error::new(format!("invalid option value '{value}'"))),
            _ => return Err(Error::new(format!("Invalid parameter '{key}'"))),
        }
    }
    Ok(())
}

fn msg(_: &mut Plan, value: &str) -> Result<()> {
    for (key, value) in pairs(value, "timestamp") {
        match key.as_str() {
            "timestamp" => qapi::stamp(super::values::switch("timestamp", &value)?),
            "guest-name" => {
                if super::values::switch("guest-name", &value)? {
                    return Err(Error::new("'guest-name' is not supported yet"));
                }
            }
            _ => return Err(Error::new(format!("Invalid parameter '{key}'"))),
        }
    }
    Ok(())
}

fn audio(_: &mut Plan, value: &str) -> Result<()> {
    for (key, value) in given(value)? {
        match (key.as_str(), value.as_str()) {
            ("driver", "none") | ("id", _) => {}
            ("driver", other) => {
                let text = format!("audio driver '{other}' is not supported yet");
                return Err(Error::new(text));
            }
            _ => return Err(Error::new(format!("Invalid parameter '{key}'"))),
        }
    }
    Ok(())
}
