//! What the program and the machine are: name, board, memory, options.

use monitor_core::{Command, Flags};
use qapi::record::{Choice, Record};
use qapi::{Error, Result};

use super::{Nothing, Vm, ask};
use crate::opt;

#[derive(Debug, Record)]
struct NameInfo {
    name: Option<String>,
}

#[derive(Debug, Record)]
struct UuidInfo {
    #[qapi(name = "UUID")]
    uuid: String,
}

/// Targets of the reference; ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Choice)]
enum SysEmuTarget {
    #[qapi(name = "x86_64")]
    X64,
}

#[derive(Debug, Record)]
struct TargetInfo {
    arch: SysEmuTarget,
}

#[derive(Debug, Record)]
struct KvmInfo {
    enabled: bool,
    present: bool,
}

#[derive(Debug, Record)]
struct MachineInfo {
    name: String,
    alias: Option<String>,
    is_default: Option<bool>,
    cpu_max: i64,
    hotpluggable_cpus: bool,
    numa_mem_supported: bool,
    deprecated: bool,
    default_cpu_type: Option<String>,
    default_ram_id: Option<String>,
    acpi: bool,
}

#[derive(Debug, Record)]
struct CurrentMachineParams {
    wakeup_suspend_support: bool,
}

#[derive(Debug, Record)]
struct MemoryInfo {
    base_memory: u64,
    plugged_memory: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Choice)]
enum CommandLineParameterType {
    String,
    Boolean,
    Number,
    Size,
}

#[derive(Debug, Record)]
struct CommandLineParameterInfo {
    name: String,
    #[qapi(name = "type")]
    kind: CommandLineParameterType,
}

#[derive(Debug, Record)]
struct CommandLineOptionInfo {
    option: String,
    parameters: Vec<CommandLineParameterInfo>,
}

#[derive(Debug, Record)]
struct OptionArguments {
    option: Option<String>,
}

/// Something of which there is none.
#[derive(Debug, Record)]
struct Absent {}

#[derive(Debug, Record)]
struct VncInfo {
    enabled: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Choice)]
enum DisplayType {
    None,
}

#[derive(Debug, Record)]
struct DisplayOptions {
    #[qapi(name = "type")]
    kind: DisplayType,
}

#[derive(Debug, Record)]
struct BalloonInfo {
    actual: i64,
}

#[derive(Debug, Record)]
struct BalloonArguments {
    value: i64,
}

pub(super) const COMMANDS: &[Command<Vm>] = &[
    ask!("query-name", Flags::EARLY, Nothing => NameInfo, |vm: &Vm, _| {
        Ok(NameInfo { name: vm.plan.name.clone() })
    }),
    ask!("query-uuid", Flags::EARLY, Nothing => UuidInfo, |vm: &Vm, _| {
        Ok(UuidInfo { uuid: uuid(vm) })
    }),
    ask!("query-target", Flags::EARLY, Nothing => TargetInfo, |_: &Vm, _| {
        Ok(TargetInfo { arch: SysEmuTarget::X64 })
    }),
    ask!("query-kvm", Nothing => KvmInfo, |vm: &Vm, _| {
        Ok(KvmInfo { enabled: vm.machine.accelerator() == "kvm", present: true })
    }),
    ask!("query-machines", Nothing => Vec<MachineInfo>, |_: &Vm, _| Ok(machines())),
    ask!("query-current-machine", Nothing => CurrentMachineParams, |vm: &Vm, _| {
        let board = machine::find_board(&vm.plan.machine).map_or("", |(board, _)| board.name);
        Ok(CurrentMachineParams { wakeup_suspend_support: matches!(board, "pc" | "q35") })
    }),
    ask!("query-memory-size-summary", Nothing => MemoryInfo, |vm: &Vm, _| {
        Ok(MemoryInfo { base_memory: vm.plan.ram, plugged_memory: Some(0) })
    }),
    ask!("query-memory-devices", Nothing => Vec<Absent>, none),
    ask!("query-command-line-options", Flags::EARLY,
        OptionArguments => Vec<CommandLineOptionInfo>, |_: &Vm, wanted| options(wanted)),
    ask!("query-balloon", Nothing => BalloonInfo, |_: &Vm, _| Err(no_balloon())),
    ask!("balloon", BalloonArguments => Nothing, |_: &Vm, wanted: BalloonArguments| {
        // Checked before anyone asks whether there is a balloon at all, as the reference does.
        if wanted.value <= 0 {
            return Err(Error::new("Parameter 'target' expects a size"));
        }
        Err(no_balloon())
    }),
    ask!("query-vnc", Nothing => VncInfo, |_: &Vm, _| Ok(VncInfo { enabled: false })),
    ask!("query-display-options", Nothing => DisplayOptions, |_: &Vm, _| {
        Ok(DisplayOptions { kind: DisplayType::None })
    }),
    ask!("query-tpm", Nothing => Vec<Absent>, none),
    ask!("query-tpm-models", Nothing => Vec<String>, |_: &Vm, _| Ok(Vec::new())),
    ask!("query-tpm-types", Nothing => Vec<String>, |_: &Vm, _| Ok(Vec::new())),
    ask!("query-jobs", Nothing => Vec<Absent>, none),
    ask!("query-block-jobs", Nothing => Vec<Absent>, none),
    ask!("query-rx-filter", Nothing => Vec<Absent>, none),
    ask!("query-fdsets", Nothing => Vec<Absent>, none),
    // GAP: nothing migrates yet, so there is no ability to switch on.
    ask!("query-migrate-capabilities", Nothing => Vec<Absent>, none),
    ask!("query-migrate", Nothing => Nothing, |_: &Vm, _| Ok(Nothing {})),
    ask!("query-sev-capabilities", Nothing => Nothing, |_: &Vm, _| {
        Err::<Nothing, _>(Error::new("KVM not enabled"))
    }),
];

fn none(_: &Vm, _: Nothing) -> Result<Vec<Absent>> {
    Ok(Vec::new())
}

pub(super) fn no_balloon() -> Error {
    Error::new("No balloon device has been activated").class(qapi::ErrorClass::DeviceNotActive)
}

/// The UUID as it is written.
pub(super) fn uuid(vm: &Vm) -> String {
    let raw = u128::from_be_bytes(vm.plan.uuid.unwrap_or([0; 16]));
    let digits = format!("{raw:032x}");
    let mut parts = Vec::new();
    let mut rest = digits.as_str();
    for len in [8, 4, 4, 4, 12] {
        let (part, after) = rest.split_at(len);
        parts.push(part);
        rest = after;
    }
    parts.join("-")
}

/// Major and minor number of a versioned machine type.
fn version(name: &str) -> Option<(u32, u32)> {
    let mut numbers = name.rsplit('-').next()?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn machines() -> Vec<MachineInfo> {
    let mut all = Vec::new();
    for board in machine::BOARDS {
        let pc = !board.versions.is_empty();
        let named = |name: &str, newest: bool| {
            let version = version(name);
            MachineInfo {
                name: name.to_owned(),
                alias: (pc && newest).then(|| board.name.to_owned()),
                is_default: (newest && board.name == opt::DEFAULT_MACHINE).then_some(true),
                cpu_max: i64::from(board.max_cpus),
                hotpluggable_cpus: false,
                numa_mem_supported: false,
                deprecated: version.is_some_and(|(major, _)| major < 7),
                default_cpu_type: (board.name != "none").then(|| "qemu64-x86_64-cpu".to_owned()),
                default_ram_id: (board.name != "none").then(|| match pc {
                    true => "pc.ram".to_owned(),
                    false => "microvm.ram".to_owned(),
                }),
                acpi: pc,
            }
        };
        if pc {
            let names = board.versions.iter().enumerate();
            all.extend(names.map(|(n, name)| named(name, n == 0)));
        } else {
            all.push(named(board.name, true));
        }
    }
    all
}

/// Options that take `key=value` pairs, with the keys that are known.
fn options(wanted: OptionArguments) -> Result<Vec<CommandLineOptionInfo>> {
    let kind = |text: &str| match text {
        "boolean" => CommandLineParameterType::Boolean,
        "number" => CommandLineParameterType::Number,
        "size" => CommandLineParameterType::Size,
        _ => CommandLineParameterType::String,
    };
    let row = |(option, keys): &(&str, &[(&str, &str)])| CommandLineOptionInfo {
        option: (*option).to_owned(),
        parameters: keys
            .iter()
            .map(|(name, text)| CommandLineParameterInfo {
                name: (*name).to_owned(),
                kind: kind(text),
            })
            .collect(),
    };
    let all = opt::PARAMETERS.iter();
    match wanted.option {
        None => Ok(all.map(row).collect()),
        Some(name) => {
            let found: Vec<_> = all.filter(|(option, _)| *option == name).map(row).collect();
            if found.is_empty() {
                let text = format!("invalid option name: {name}");
                return Err(Error::new(text));
            }
            Ok(found)
        }
    }
}
