//! What `info` can tell.

use monitor_core::hmp::{Arg, Args, HmpCommand, Kind, Printed};
use qapi::{Error, Result};

use super::Seat;
use super::commands::say;
use crate::monitor::cpus::HotpluggableCpu;
use crate::monitor::{
    about, blocks, blockstats, chardevs, cpus, input, interrupts, objects, paging, pci, shown,
};

const fn item(
    name: &'static str,
    help: &'static str,
    run: for<'a> fn(&'a Seat, Args) -> Printed<'a>,
) -> HmpCommand<Seat> {
    HmpCommand {
        name,
        args: &[],
        params: "",
        help,
        run,
    }
}

const BLOCK: HmpCommand<Seat> = HmpCommand {
    name: "block",
    args: &[
        Arg::optional("verbose", Kind::Flag('v')),
        Arg::optional("device", Kind::Device),
    ],
    params: "[-n] [-v] [device]",
    help: "show info of one block device or all block devices (-n: show named nodes; -v: show details)",
    run: say!(|seat, args| {
        if args.has("verbose") {
            return Err(Error::new("'info block -v' is not supported yet"));
        }
        Ok(blocks::shown(&seat.vm, args.text("device")))
    }),
};

const REGISTERS: HmpCommand<Seat> = HmpCommand {
    name: "registers",
    args: &[
        Arg::optional("cpustate_all", Kind::Flag('a')),
        Arg::optional("vcpu", Kind::Int),
    ],
    params: "[-a|vcpu]",
    help: "show the cpu registers (-a: show register info for all cpus; vcpu: specific vCPU to query; show the current CPU's registers if no argument is specified)",
    run: say!(registers),
};

const LAPIC: HmpCommand<Seat> = HmpCommand {
    name: "lapic",
    args: &[Arg::optional("apic-id", Kind::Int)],
    params: "[apic-id]",
    help: "show local apic state (apic-id: local apic to read, default is which of current CPU)",
    run: say!(|seat, args| {
        let wanted = args.number("apic-id");
        let cpu = wanted.map_or(seat.cpu(), |id| usize::try_from(id).unwrap_or(usize::MAX));
        if cpu >= seat.vm.machine.processors() {
            return Ok(NO_CPU.to_owned());
        }
        interrupts::local(&seat.vm, cpu)
    }),
};

const NO_CPU: &str = "No CPU available\n";

const QOM_TREE: HmpCommand<Seat> = HmpCommand {
    name: "qom-tree",
    args: &[Arg::optional("path", Kind::Word)],
    params: "[path]",
    help: "show QOM composition tree",
    run: say!(|seat, args| objects::tree(&seat.vm, args.text("path").unwrap_or("/machine"))),
};

pub(super) const ITEMS: &[HmpCommand<Seat>] = &[
    BLOCK,
    REGISTERS,
    LAPIC,
    QOM_TREE,
    item(
        "balloon",
        "show balloon information",
        say!(|_, _| Err(about::no_balloon())),
    ),
    item(
        "block-jobs",
        "show progress of ongoing block device operations",
        say!(|_, _| { Ok("No active jobs\n".to_owned()) }),
    ),
    item(
        "blockstats",
        "show block device statistics",
        say!(|seat, _| Ok(blockstats::shown(&seat.vm))),
    ),
    item(
        "chardev",
        "show the character devices",
        say!(|seat, _| Ok(chardevs::shown(&seat.vm))),
    ),
    item(
        "cpus",
        "show infos for each CPU",
        say!(|seat, _| Ok(processors(seat))),
    ),
    item(
        "history",
        "show the command line history",
        say!(|seat, _| Ok(seat.history())),
    ),
    item(
        "hotpluggable-cpus",
        "Show information about hotpluggable CPUs",
        say!(|seat, _| {
            let all = cpus::hotpluggable(&seat.vm)?;
            let text: String = all.iter().map(hotpluggable).collect();
            Ok(format!("Hotpluggable CPUs:\n{text}"))
        }),
    ),
    item(
        "iothreads",
        "show iothreads",
        say!(|_, _| Ok(String::new())),
    ),
    item(
        "irq",
        "show the interrupts statistics (if available)",
        say!(|seat, _| Ok(interrupts::statistics(&seat.vm))),
    ),
    item(
        "kvm",
        "show KVM information",
        say!(|seat, _| {
            let on = seat.vm.machine.accelerator() == "kvm";
            let word = if on { "enabled" } else { "disabled" };
            Ok(format!("kvm support: {word}\n"))
        }),
    ),
    item(
        "mem",
        "show the active virtual memory mappings",
        say!(|seat, _| paging::mappings(&seat.vm, seat.cpu())),
    ),
    item(
        "memory_size_summary",
        "show the amount of initially allocated and present hotpluggable (if enabled) memory in bytes.",
        say!(|seat, _| Ok(format!(
            "base memory: {}\nplugged memory: 0\n",
            seat.vm.plan.ram
        ))),
    ),
    item(
        "mice",
        "show which guest mouse is receiving events",
        say!(|seat, _| { Ok(input::mice_text(&seat.vm)) }),
    ),
    item(
        "mtree",
        "show memory tree",
        say!(|seat, _| Ok(memory_tree(seat))),
    ),
    item(
        "name",
        "show the current VM name",
        say!(|seat, _| {
            Ok(seat
                .vm
                .plan
                .name
                .iter()
                .map(|name| format!("{name}\n"))
                .collect())
        }),
    ),
    item(
        "network",
        "show the network state",
        say!(|_, _| Ok(String::new())),
    ),
    item(
        "numa",
        "show NUMA information",
        say!(|_, _| Ok("0 nodes\n".to_owned())),
    ),
    item(
        "pci",
        "show PCI info",
        say!(|seat, _| Ok(pci::shown(&seat.vm))),
    ),
    item(
        "pic",
        "show PIC state",
        say!(|seat, _| Ok(interrupts::controllers(&seat.vm))),
    ),
    item(
        "snapshots",
        "show the currently saved VM snapshots",
        say!(|_, _| {
            // GAP: no state of a machine is saved yet.
            Err(Error::new("'info snapshots' is not supported yet"))
        }),
    ),
    item(
        "status",
        "show the current VM status (running|paused)",
        say!(|seat, _| Ok(status(seat))),
    ),
    item(
        "tlb",
        "show virtual to physical memory mappings",
        say!(|seat, _| paging::translations(&seat.vm, seat.cpu())),
    ),
    item(
        "usb",
        "show guest USB devices",
        say!(|_, _| Err(Error::new("USB support not enabled"))),
    ),
    item(
        "uuid",
        "show the current VM UUID",
        say!(|seat, _| { Ok(format!("{}\n", about::uuid(&seat.vm))) }),
    ),
    item(
        "version",
        "show the version of QEMU",
        say!(|_, _| Ok("10.0.2\n".to_owned())),
    ),
    item(
        "vnc",
        "show the vnc server status",
        say!(|_, _| Ok("None\n".to_owned())),
    ),
];

fn status(seat: &Seat) -> String {
    use machine::RunState;
    let state = seat.vm.machine.state();
    match state {
        RunState::Running => "VM status: running\n".to_owned(),
        RunState::Paused => "VM status: paused\n".to_owned(),
        other => format!("VM status: paused ({})\n", other.name()),
    }
}

fn processors(seat: &Seat) -> String {
    let machine = &seat.vm.machine;
    let line = |n: usize| {
        let mark = if n == seat.cpu() { '*' } else { ' ' };
        format!("{mark} CPU #{n}: thread_id={}\n", machine.thread(n))
    };
    (0..machine.processors()).map(line).collect()
}

fn registers(seat: &Seat, args: &Args) -> Result<String> {
    let machine = &seat.vm.machine;
    let all = if args.has("cpustate_all") {
        0..machine.processors()
    } else {
        let n = match args.number("vcpu") {
            None => seat.cpu(),
            Some(n) => usize::try_from(n).unwrap_or(usize::MAX),
        };
        if n >= machine.processors() {
            return Ok(format!(
                "CPU#{} not available\n",
                args.number("vcpu").unwrap_or(0)
            ));
        }
        n..n + 1
    };
    let mut text = String::new();
    for n in all {
        let saved = machine.saved_processor(n);
        let saved = saved.ok_or_else(|| Error::new("No CPU available"))?;
        let a20 = machine.a20();
        text.push_str(&shown::registers(n, &saved, machine.halted(n), a20));
    }
    Ok(text)
}

fn hotpluggable(cpu: &HotpluggableCpu) -> String {
    let path = cpu.qom_path.as_deref().unwrap_or("");
    let mut text = format!(
        "  type: \"{}\"\n  vcpus_count: \"{}\"\n  qom_path: \"{path}\"\n  CPUInstance Properties:\n",
        cpu.kind, cpu.vcpus_count
    );
    for (name, number) in cpu.numbers() {
        if let Some(number) = number {
            text.push_str(&format!("    {name}: \"{number}\"\n"));
        }
    }
    text
}

/// Both address spaces as they are now, flat.
// GAP: the reference shows the tree that they come from.
fn memory_tree(seat: &Seat) -> String {
    use hw_core::memory::{Backing, look};
    let spaces = seat
        .vm
        .machine
        .with(|core| [("memory", core.memory.clone()), ("I/O", core.ports.clone())]);
    let mut text = String::new();
    for (name, space) in spaces {
        text.push_str(&format!("address-space: {name}\n"));
        let ranges: Vec<_> = look(&space).ranges().to_vec();
        for range in ranges {
            let what = match &range.backing {
                Backing::Ram { .. } => "ram".to_owned(),
                Backing::Rom { .. } | Backing::Flash { .. } => "rom".to_owned(),
                Backing::Off => "off".to_owned(),
                Backing::Device { device, .. } => {
                    let found = seat
                        .vm
                        .machine
                        .with(|core| core.device(*device).map(|d| d.name()));
                    format!("i/o): {}", found.unwrap_or("?"))
                }
            };
            let close = if what.contains(')') { "" } else { ")" };
            text.push_str(&format!(
                "  {:016x}-{:016x} (prio 0, {what}{close}\n",
                range.start, range.last
            ));
        }
        text.push('\n');
    }
    text
}
