//! Machine, processors, memory, name.

use machine::BOARDS;
use qapi::{Error, Result};

use super::values::{number, pairs, size, switch, uuid};
use super::{Action, OptionEntry};
use crate::plan::{AccelRequest, Plan, Smp};

/// The machine when `-M` says nothing.
pub(crate) const DEFAULT_MACHINE: &str = "pc";

pub(super) const OPTIONS: &[OptionEntry] = &[
    OptionEntry {
        name: "h",
        argument: "",
        help: "display this help and exit",
        action: Action::Print(super::help),
    },
    OptionEntry {
        name: "help",
        argument: "",
        help: "display this help and exit",
        action: Action::Print(super::help),
    },
    OptionEntry {
        name: "version",
        argument: "",
        help: "display version information and exit",
        action: Action::Print(super::version),
    },
    OptionEntry {
        name: "machine",
        argument: "[type=]name[,prop[=value][,...]]",
        help: "selects emulated machine ('-machine help' for list)",
        action: Action::Value(machine),
    },
    OptionEntry {
        name: "M",
        argument: "[type=]name[,prop[=value][,...]]",
        help: "as -machine",
        action: Action::Value(machine),
    },
    OptionEntry {
        name: "cpu",
        argument: "cpu",
        help: "select CPU",
        action: Action::Value(|plan, value| {
            plan.cpu = Some(value.to_owned());
            Ok(())
        }),
    },
    OptionEntry {
        name: "accel",
        argument: "[accel=]accelerator",
        help: "select accelerator ('-accel help' for list), may be given several times",
        action: Action::Value(accelerator),
    },
    OptionEntry {
        name: "enable-kvm",
        argument: "",
        help: "enable KVM full virtualization support",
        action: Action::Flag(|plan| {
            plan.machine_accels = Some("kvm".to_owned());
            Ok(())
        }),
    },
    OptionEntry {
        name: "smp",
        argument: "[[cpus=]n][,maxcpus=n][,sockets=n][,cores=n][,threads=n]",
        help: "set the number of CPUs",
        action: Action::Value(smp),
    },
    OptionEntry {
        name: "m",
        argument: "[size=]megs",
        help: "configure guest RAM, 128 MiB unless given",
        action: Action::Value(memory),
    },
    OptionEntry {
        name: "name",
        argument: "string",
        help: "set the name of the guest",
        action: Action::Value(|plan, value| {
            for (key, value) in pairs(value, "guest") {
                match key.as_str() {
                    "guest" => plan.name = Some(value),
                    // GAP: the process keeps its name. Threads have theirs in any case.
                    "process" => {
                        return Err(Error::new("'process' is not supported yet"));
                    }
                    "debug-threads" => {
                        switch("debug-threads", &value)?;
                    }
                    _ => return Err(Error::new(format!("Invalid parameter '{key}'"))),
                }
            }
            Ok(())
        }),
    },
    OptionEntry {
        name: "uuid",
        argument: "%08x-%04x-%04x-%04x-%012x",
        help: "specify machine UUID",
        action: Action::Value(|plan, value| {
            plan.uuid = Some(uuid(value)?);
            Ok(())
        }),
    },
    OptionEntry {
        name: "nodefaults",
        argument: "",
        help: "don't create default devices",
        action: Action::Flag(|plan| {
            plan.nodefaults = true;
            Ok(())
        }),
    },
    OptionEntry {
        name: "no-user-config",
        argument: "",
        help: "don't read user-provided config files; there are none",
        action: Action::Flag(|_| Ok(())),
    },
];

fn machine(plan: &mut Plan, value: &str) -> Result<()> {
    for (key, value) in pairs(value, "type") {
        match key.as_str() {
            "type" => {
                if machine::find_board(&value).is_none() {
                    let text = format!("unsupported machine type: \"{value}\"");
                    let hint = "Use -machine help to list supported machines";
                    return Err(Error::new(text).hint(hint));
                }
                plan.machine = value;
            }
            "accel" => plan.machine_accels = Some(value),
            "hpet" => plan.hpet = switch("hpet", &value)?,
            "graphics" => plan.graphics = switch("graphics", &value)?,
            "kernel" => plan.kernel = Some(value),
            "initrd" => plan.initrd = Some(value),
            "append" => plan.append = Some(value),
            "firmware" => plan.bios = Some(value),
            "memory-backend" => plan.memory_backend = Some(value),
            // What these switch on or off is not there to begin with, or the same either way.
            "usb" | "vmport" | "dump-guest-core" | "mem-merge" | "smm" | "acpi"
                if matches!(value.as_str(), "on" | "off" | "auto") => {}
            _ => {
                let full = machine::find_board(&plan.machine).map(|(_, full)| full);
                let full = full.unwrap_or_default();
                let text = format!("Property '{full}-machine.{key}' not found");
                return Err(Error::new(text));
            }
        }
    }
    Ok(())
}

fn accelerator(plan: &mut Plan, option: &str) -> Result<()> {
    let mut name = String::new();
    for (key, value) in pairs(option, "accel") {
        if key == "accel" {
            name = value;
        } else {
            crate::accel::check_property(&name, &key, &value)?;
        }
    }
    plan.accels.push(AccelRequest {
        name,
        option: Some(option.to_owned()),
    });
    Ok(())
}

fn smp(plan: &mut Plan, value: &str) -> Result<()> {
    let mut smp = Smp::default();
    for (key, value) in pairs(value, "cpus") {
        let count = Some(number(&key, &value)?);
        match key.as_str() {
            "cpus" => smp.cpus = count,
            "maxcpus" => smp.max = count,
            "sockets" => smp.sockets = count,
            "cores" => smp.cores = count,
            "threads" => smp.threads = count,
            "dies" | "modules" | "clusters" | "books" | "drawers" if count == Some(1) => {}
            "dies" | "modules" | "clusters" | "books" | "drawers" => {
                let text = format!("{key} > 1 not supported by this machine's CPU topology");
                return Err(Error::new(text));
            }
            _ => return Err(Error::new(format!("Invalid parameter '{key}'"))),
        }
        if count == Some(0) {
            let text = "Invalid CPU topology: CPU topology parameters must be greater than zero";
            return Err(Error::new(text));
        }
    }
    plan.smp = smp;
    Ok(())
}

fn memory(plan: &mut Plan, value: &str) -> Result<()> {
    for (key, value) in pairs(value, "size") {
        match key.as_str() {
            "size" => {
                let bytes = size("size", &value, 1 << 20)?;
                if bytes > 0 {
                    plan.ram = bytes.next_multiple_of(8192);
                }
            }
            "maxmem" | "slots" => {
                let text = "memory hot-plug (slots=, maxmem=) is not supported yet";
                return Err(Error::new(text));
            }
            _ => return Err(Error::new(format!("Invalid parameter '{key}'"))),
        }
    }
    Ok(())
}

/// What `-M help` prints.
pub(super) fn machines() -> String {
    let mut lines: Vec<String> = Vec::new();
    for board in BOARDS {
        let mut line = format!("{:<20} {}", board.name, board.description);
        if let Some(first) = board.versions.first() {
            line.push_str(&format!(" (alias of {first})"));
        }
        if board.versions.is_empty() {
            lines.push(line);
            continue;
        }
        lines.push(line);
        for (n, version) in board.versions.iter().enumerate() {
            let default = if n == 0 && board.name == DEFAULT_MACHINE {
                " (default)"
            } else {
                ""
            };
            lines.push(format!("{version:<20} {}{default}", board.description));
        }
    }
    format!("Supported machines are:\n{}\n", lines.join("\n"))
}

impl Plan {
    /// Sockets, cores and threads, as machines of today fill what was not given.
    pub(crate) fn topology(&self) -> Result<(u32, u32, u32)> {
        let smp = &self.smp;
        let sockets = smp.sockets.unwrap_or(1);
        let threads = smp.threads.unwrap_or(1);
        let wanted = smp.max.or(smp.cpus);
        let each = sockets.saturating_mul(threads).max(1);
        let cores = smp.cores.unwrap_or_else(|| match wanted {
            Some(wanted) => (wanted / each).max(1),
            None => 1,
        });
        let product = each.saturating_mul(cores);
        let max = wanted.unwrap_or(product);
        if product != max {
            let text = format!(
                "Invalid CPU topology: product of the hierarchy must match maxcpus: sockets ({sockets}) * dies (1) * modules (1) * cores ({cores}) * threads ({threads}) != maxcpus ({max})"
            );
            return Err(Error::new(text));
        }
        if smp.cpus.is_some_and(|cpus| cpus != max) {
            let text = "fewer processors than maxcpus need hot-plug, which is not supported yet";
            return Err(Error::new(text));
        }
        let (board, full) =
            machine::find_board(&self.machine).ok_or_else(|| Error::new("no machine"))?;
        if max > board.max_cpus {
            let text = format!(
                "Invalid SMP CPUs {max}. The max CPUs supported by machine '{full}' is {}",
                board.max_cpus
            );
            return Err(Error::new(text));
        }
        Ok((sockets, cores, threads))
    }

    /// What options say together.
    pub(crate) fn check(&self) -> Result<()> {
        if self.kernel.is_none() {
            if self.append.is_some() {
                return Err(Error::new("-append only allowed with -kernel option"));
            }
            if self.initrd.is_some() {
                return Err(Error::new("-initrd only allowed with -kernel option"));
            }
        }
        self.topology().map(|_| ())
    }
}
