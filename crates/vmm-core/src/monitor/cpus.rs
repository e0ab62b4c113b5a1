//! Processors and their models.

use monitor_core::Command;
use qapi::record::{Any, Choice, Record};
use qapi::{Dict, Error, Result, Value};
use x86_cpu::cpuid::models;

use super::{Nothing, Vm, ask};
use crate::cpu;

#[derive(Debug, Record)]
pub(super) struct CpuInstanceProperties {
    socket_id: Option<i64>,
    core_id: Option<i64>,
    thread_id: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Choice)]
enum Target {
    #[qapi(name = "x86_64")]
    X64,
}

#[derive(Debug, Record)]
struct CpuInfoFast {
    cpu_index: i64,
    qom_path: String,
    thread_id: i64,
    props: Option<CpuInstanceProperties>,
    target: Target,
}

#[derive(Debug, Record)]
pub(super) struct HotpluggableCpu {
    #[qapi(name = "type")]
    pub(super) kind: String,
    pub(super) vcpus_count: i64,
    pub(super) props: CpuInstanceProperties,
    pub(super) qom_path: Option<String>,
}

#[derive(Debug, Record)]
struct CpuDefinitionInfo {
    name: String,
    migration_safe: Option<bool>,
    #[qapi(name = "static")]
    is_static: bool,
    unavailable_features: Option<Vec<String>>,
    typename: String,
    alias_of: Option<String>,
    deprecated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Choice)]
enum CpuModelExpansionType {
    Static,
    Full,
}

#[derive(Debug, Record)]
struct CpuModelInfo {
    name: String,
    props: Option<Any>,
}

#[derive(Debug, Record)]
struct ExpansionArguments {
    #[qapi(name = "type")]
    kind: CpuModelExpansionType,
    model: CpuModelInfo,
}

#[derive(Debug, Record)]
struct ExpansionInfo {
    model: CpuModelInfo,
}

pub(super) const COMMANDS: &[Command<Vm>] = &[
    ask!("query-cpus-fast", Nothing => Vec<CpuInfoFast>, |vm: &Vm, _| Ok(cpus(vm))),
    ask!("query-hotpluggable-cpus", Nothing => Vec<HotpluggableCpu>, |vm: &Vm, _| {
        hotpluggable(vm)
    }),
    ask!("query-cpu-definitions", Nothing => Vec<CpuDefinitionInfo>, |_: &Vm, _| {
        Ok(definitions())
    }),
    ask!("query-cpu-model-expansion", ExpansionArguments => ExpansionInfo, |_: &Vm, wanted| {
        expand(wanted)
    }),
];

/// Where processor `n` is in the tree of objects. The numbers of the reference depend on the order in which it makes
/// devices; processors come first there.
pub(super) fn path(n: usize) -> String {
    format!("/machine/unattached/device[{n}]")
}

fn place(vm: &Vm, n: usize) -> CpuInstanceProperties {
    let (_, cores, threads) = vm.plan.topology().unwrap_or((1, 1, 1));
    let n = u32::try_from(n).unwrap_or(0);
    let (cores, threads) = (cores.max(1), threads.max(1));
    CpuInstanceProperties {
        socket_id: Some(i64::from(n / threads / cores)),
        core_id: Some(i64::from(n / threads % cores)),
        thread_id: Some(i64::from(n % threads)),
    }
}

fn has_topology(vm: &Vm) -> bool {
    machine::find_board(&vm.plan.machine).is_some_and(|(board, _)| board.name != "none")
}

fn count(vm: &Vm) -> usize {
    if has_topology(vm) {
        vm.machine.processors()
    } else {
        0
    }
}

fn cpus(vm: &Vm) -> Vec<CpuInfoFast> {
    let one = |n| CpuInfoFast {
        cpu_index: i64::try_from(n).unwrap_or(0),
        qom_path: path(n),
        thread_id: i64::from(vm.machine.thread(n)),
        props: Some(place(vm, n)),
        target: Target::X64,
    };
    (0..count(vm)).map(one).collect()
}

/// The model's name, without features.
pub(super) fn model_name(vm: &Vm) -> String {
    let text = crate::accel::model_text(&vm.plan);
    text.split(',').next().unwrap_or(text).to_owned()
}

pub(super) fn hotpluggable(vm: &Vm) -> Result<Vec<HotpluggableCpu>> {
    if !has_topology(vm) {
        return Err(Error::new("machine does not support hot-plugging CPUs"));
    }
    let one = |n| HotpluggableCpu {
        kind: format!("{}-x86_64-cpu", model_name(vm)),
        vcpus_count: 1,
        props: place(vm, n),
        qom_path: Some(path(n)),
    };
    Ok((0..count(vm)).rev().map(one).collect())
}

impl HotpluggableCpu {
    /// Socket, core and thread.
    pub(super) fn numbers(&self) -> [(&'static str, Option<i64>); 3] {
        [
            ("socket-id", self.props.socket_id),
            ("core-id", self.props.core_id),
            ("thread-id", self.props.thread_id),
        ]
    }
}

/// The name of a feature from the words that tell that it is missing: `CPUID.01H:ECX.pcid [bit 17]`.
fn feature_name(text: &str) -> String {
    let word = text.split(' ').next().unwrap_or(text);
    let register = word.split_once(':').map_or(word, |(_, register)| register);
    let name = register.split_once('.').map_or(register, |(_, name)| name);
    name.to_owned()
}

fn definitions() -> Vec<CpuDefinitionInfo> {
    let mut names = models::names();
    if !names.iter().any(|name| name == "host") {
        names.push("host".to_owned());
    }
    names.sort_unstable();
    names.dedup();
    let one = |name: &String| {
        let missing: Vec<String> = match cpu::parse(Some(name)) {
            Ok(wanted) => wanted
                .made
                .missing
                .iter()
                .map(|text| feature_name(text))
                .collect(),
            Err(_) => vec!["kvm".to_owned()],
        };
        let first = format!("{name}-v1");
        CpuDefinitionInfo {
            migration_safe: Some(!matches!(name.as_str(), "max" | "host")),
            is_static: name == "base",
            unavailable_features: Some(missing),
            typename: format!("{name}-x86_64-cpu"),
            alias_of: names.contains(&first).then_some(first),
            deprecated: false,
            name: name.clone(),
        }
    };
    names.iter().map(one).collect()
}

fn expand(wanted: ExpansionArguments) -> Result<ExpansionInfo> {
    let name = wanted.model.name;
    let mut text = name.clone();
    if let Some(Any(Value::Dict(props))) = &wanted.model.props {
        for (key, value) in props.iter() {
            let word = match value {
                Value::Bool(on) => if *on { "on" } else { "off" }.to_owned(),
                Value::Str(word) => word.clone(),
                other => qapi::json::compact(other),
            };
            text.push_str(&format!(",{key}={word}"));
        }
    }
    let made = cpu::parse(Some(&text))?.made;
    let mut props = Dict::new();
    for (feature, name) in x86_cpu::cpuid::feature_names() {
        props.insert(name, made.features.has(feature));
    }
    let (family, model, stepping) = made.features.version;
    props.insert("family", family);
    props.insert("model", model);
    props.insert("stepping", stepping);
    props.insert("level", made.features.level);
    props.insert("xlevel", made.features.extended_level);
    let vendor = String::from_utf8_lossy(&made.features.vendor).into_owned();
    props.insert("vendor", vendor);
    let brand = String::from_utf8_lossy(&made.features.brand).into_owned();
    props.insert("model-id", brand.trim_end_matches('\0').to_owned());
    let name = match wanted.kind {
        CpuModelExpansionType::Static => "base".to_owned(),
        CpuModelExpansionType::Full => name,
    };
    let props = Some(Any(Value::Dict(props)));
    Ok(ExpansionInfo {
        model: CpuModelInfo { name, props },
    })
}
