//! The tree of objects as far as there is one: processors, what `-device` and `-object` made, types and their
//! properties.
//!
//! ```text
//! /machine/peripheral/ID           -device with an id
//! /machine/unattached/device[N]    processor N
//! /objects/ID                      -object
//! ```

use machine::device::DEVICES;
use monitor_core::Command;
use qapi::record::{Any, Record};
use qapi::{Error, ErrorClass, Result, Value};

use super::cpus;
use super::{Nothing, Vm, ask};

#[derive(Debug, Record)]
struct PathArguments {
    path: String,
}

#[derive(Debug, Record)]
struct PropertyArguments {
    path: String,
    property: String,
}

#[derive(Debug, Record)]
struct ObjectPropertyInfo {
    name: String,
    #[qapi(name = "type")]
    kind: String,
    description: Option<String>,
    default_value: Option<Any>,
}

#[derive(Debug, Record)]
struct ListTypes {
    implements: Option<String>,
    #[qapi(name = "abstract")]
    abstract_too: Option<bool>,
}

#[derive(Debug, Record)]
struct ObjectTypeInfo {
    name: String,
    #[qapi(name = "abstract")]
    is_abstract: Option<bool>,
    parent: Option<String>,
}

#[derive(Debug, Record)]
struct TypeArguments {
    typename: String,
}

#[derive(Debug, Record)]
struct IoThreadInfo {
    id: String,
    thread_id: i64,
}

#[derive(Debug, Record)]
struct Memdev {
    id: Option<String>,
    size: u64,
    merge: bool,
    dump: bool,
    prealloc: bool,
    share: bool,
    reserve: Option<bool>,
    host_nodes: Vec<u32>,
    policy: String,
}

pub(super) const COMMANDS: &[Command<Vm>] = &[
    ask!("qom-list", PathArguments => Vec<ObjectPropertyInfo>, |vm: &Vm, wanted: PathArguments| {
        list(vm, &wanted.path)
    }),
    ask!("qom-get", PropertyArguments => Any, |vm: &Vm, wanted: PropertyArguments| {
        get(vm, &wanted.path, &wanted.property)
    }),
    ask!("qom-list-types", ListTypes => Vec<ObjectTypeInfo>, |_: &Vm, wanted| {
        Ok(types(&wanted))
    }),
    ask!("device-list-properties", TypeArguments => Vec<ObjectPropertyInfo>,
        |_: &Vm, wanted: TypeArguments| properties(&wanted.typename)),
    ask!("qom-list-properties", TypeArguments => Vec<ObjectPropertyInfo>,
        |_: &Vm, wanted: TypeArguments| properties(&wanted.typename)),
    // GAP: every disk uses the same threads; none can be named.
    ask!("query-iothreads", Nothing => Vec<IoThreadInfo>, |_: &Vm, _| Ok(Vec::new())),
    ask!("query-memdev", Nothing => Vec<Memdev>, |vm: &Vm, _| Ok(memory(vm))),
];

/// A type: name, parent.
type TypeRow = (String, &'static str);

/// Types that are there and are neither devices nor processors.
const TYPES: &[(&str, &str)] = &[
    ("tcg-accel", "accel"),
    ("kvm-accel", "accel"),
    ("secret", "secret_common"),
    ("memory-backend-ram", "memory-backend"),
    ("virtio-blk-pci", "virtio-blk-pci-base"),
    ("virtio-blk-device", "virtio-device"),
    ("ide-hd", "ide-device"),
    ("ide-cd", "ide-device"),
    ("isa-serial", "isa-device"),
    ("PIIX4_PM", "pci-device"),
    ("ICH9-LPC", "pci-device"),
];

fn all_types() -> Vec<TypeRow> {
    let mut all: Vec<TypeRow> = TYPES
        .iter()
        .map(|(name, parent)| ((*name).to_owned(), *parent))
        .collect();
    for device in DEVICES {
        let parent = match device.bus {
            "PCI" => "pci-device",
            "ISA" => "isa-device",
            _ => "device",
        };
        if !all.iter().any(|(name, _)| name == device.name) {
            all.push((device.name.to_owned(), parent));
        }
    }
    for board in machine::BOARDS {
        let names = board.versions.iter().copied().chain([board.name]);
        let own = names.filter(|name| board.versions.is_empty() || *name != board.name);
        let parent = match board.name {
            "pc" | "q35" => "generic-pc-machine",
            "microvm" => "x86-machine",
            _ => "machine",
        };
        all.extend(own.map(|name| (format!("{name}-machine"), parent)));
    }
    let models = x86_cpu::cpuid::models::names().into_iter();
    all.extend(models.map(|name| (format!("{name}-x86_64-cpu"), "x86_64-cpu")));
    all.sort();
    all.dedup();
    all
}

fn types(wanted: &ListTypes) -> Vec<ObjectTypeInfo> {
    let fits = |(name, parent): &TypeRow| match wanted.implements.as_deref() {
        None | Some("object") => true,
        Some("device") => !matches!(
            *parent,
            "accel"
                | "machine"
                | "generic-pc-machine"
                | "x86-machine"
                | "secret_common"
                | "memory-backend"
        ),
        Some("machine") => name.ends_with("-machine"),
        Some(word) => name == word || *parent == word,
    };
    let row = |(name, parent): TypeRow| ObjectTypeInfo {
        name,
        is_abstract: None,
        parent: Some(parent.to_owned()),
    };
    all_types().into_iter().filter(fits).map(row).collect()
}

fn no_type(name: &str) -> Error {
    Error::new(format!("Device '{name}' not found")).class(ErrorClass::DeviceNotFound)
}

/// Whether there is a type of this name, or one that others are made from.
fn is_type(name: &str) -> bool {
    let all = all_types();
    all.iter()
        .any(|(known, parent)| known == name || *parent == name)
}

/// Properties of a type that may be given.
fn properties(name: &str) -> Result<Vec<ObjectPropertyInfo>> {
    let string = |name: &str, kind: &str| ObjectPropertyInfo {
        name: name.to_owned(),
        kind: kind.to_owned(),
        description: None,
        default_value: None,
    };
    if let Some(device) = DEVICES.iter().find(|device| device.name == name) {
        let all = device.properties.iter().copied().flatten();
        return Ok(all.map(|one| string(one.name, one.kind.name())).collect());
    }
    let keys: &[(&str, &str)] = match name {
        _ if name.ends_with("-machine") && is_type(name) => {
            let mut all = crate::opt::PARAMETERS.iter();
            let machine = all.find(|(option, _)| *option == "machine");
            machine.map_or(&[], |(_, keys)| *keys)
        }
        _ if is_type(name) => &[],
        _ => return Err(no_type(name)),
    };
    Ok(keys.iter().map(|(name, kind)| string(name, kind)).collect())
}

/// An object of the tree: its type, and its properties beside that.
struct Found {
    kind: String,
    properties: Vec<Property>,
}

type Property = (String, String, Option<Value>);

fn container(properties: Vec<Property>) -> Found {
    Found {
        kind: "container".to_owned(),
        properties,
    }
}

fn child(name: &str, kind: &str) -> Property {
    (name.to_owned(), format!("child<{kind}>"), None)
}

fn find(vm: &Vm, path: &str) -> Result<Found> {
    let not_found =
        || Error::new(format!("Device '{path}' not found")).class(ErrorClass::DeviceNotFound);
    let full = machine::find_board(&vm.plan.machine).map_or("none".to_owned(), |(_, full)| full);
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    Ok(match parts.as_slice() {
        [] => container(vec![
            child("machine", &format!("{full}-machine")),
            child("objects", "container"),
            child("chardevs", "container"),
        ]),
        ["machine"] => Found {
            kind: format!("{full}-machine"),
            properties: vec![
                child("unattached", "container"),
                child("peripheral-anon", "container"),
                child("peripheral", "container"),
            ],
        },
        ["machine", "unattached"] => {
            let kind = format!("{}-x86_64-cpu", cpus::model_name(vm));
            let all = 0..vm.machine.processors();
            container(all.map(|n| child(&format!("device[{n}]"), &kind)).collect())
        }
        ["machine", "unattached", device] => {
            let n: usize = device
                .strip_prefix("device[")
                .and_then(|rest| rest.strip_suffix(']')?.parse().ok())
                .filter(|n| *n < vm.machine.processors())
                .ok_or_else(not_found)?;
            cpu(vm, n)
        }
        ["machine", rest @ ..] => made_by_name(vm, rest).ok_or_else(not_found)?,
        ["objects"] => container(
            vm.disks
                .object_ids()
                .iter()
                .map(|id| child(id, "object"))
                .collect(),
        ),
        ["chardevs"] => {
            let rows = vm.chars.iter();
            container(rows.map(|row| child(&row.label, "chardev")).collect())
        }
        _ => return Err(not_found()),
    })
}

/// What `-device` made, and the folders it is in.
fn made_by_name(vm: &Vm, path: &[&str]) -> Option<Found> {
    let devices = || vm.plan.devices.iter();
    let id_of = |device: &machine::device::DeviceOption| device.properties.get("id").cloned();
    Some(match path {
        ["peripheral"] => {
            let named = devices().filter_map(|d| Some((id_of(d)?, &d.driver)));
            container(named.map(|(id, driver)| child(&id, driver)).collect())
        }
        ["peripheral-anon"] => {
            let unnamed = devices().filter(|d| id_of(d).is_none()).enumerate();
            container(
                unnamed
                    .map(|(n, d)| child(&format!("device[{n}]"), &d.driver))
                    .collect(),
            )
        }
        ["peripheral", id] => {
            let device = devices().find(|d| id_of(d).as_deref() == Some(id))?;
            let given = device.properties.iter().filter(|(name, _)| *name != "id");
            let text = |(name, value): (&String, &String)| {
                let value = Some(Value::Str(value.clone()));
                (name.clone(), "str".to_owned(), value)
            };
            Found {
                kind: device.driver.clone(),
                properties: given.map(text).chain(common()).collect(),
            }
        }
        _ => return None,
    })
}

/// What every device has.
fn common() -> [(String, String, Option<Value>); 2] {
    [("realized", true), ("hotplugged", false)]
        .map(|(name, on)| (name.to_owned(), "bool".to_owned(), Some(Value::Bool(on))))
}

fn cpu(vm: &Vm, _n: usize) -> Found {
    let mut properties: Vec<_> = common().into_iter().collect();
    if let Some(features) = crate::accel::features(&vm.plan) {
        for (feature, name) in x86_cpu::cpuid::feature_names() {
            let on = Value::Bool(features.has(feature));
            properties.push((name.to_owned(), "bool".to_owned(), Some(on)));
        }
        let (family, model, stepping) = features.version;
        for (name, number) in [("family", family), ("model", model), ("stepping", stepping)] {
            let number = Value::from(number);
            properties.push((name.to_owned(), "int".to_owned(), Some(number)));
        }
    }
    Found {
        kind: format!("{}-x86_64-cpu", cpus::model_name(vm)),
        properties,
    }
}

fn list(vm: &Vm, path: &str) -> Result<Vec<ObjectPropertyInfo>> {
    let found = find(vm, path)?;
    let kind = ("type".to_owned(), "string".to_owned(), None);
    let all = std::iter::once(kind).chain(found.properties);
    let row = |(name, kind, _): (String, String, Option<Value>)| ObjectPropertyInfo {
        name,
        kind,
        description: None,
        default_value: None,
    };
    Ok(all.map(row).collect())
}

fn get(vm: &Vm, path: &str, property: &str) -> Result<Any> {
    let found = find(vm, path)?;
    if property == "type" {
        return Ok(Any(Value::Str(found.kind)));
    }
    let kind = found.kind;
    let value = found
        .properties
        .into_iter()
        .find(|(name, ..)| name == property);
    match value {
        Some((_, _, Some(value))) => Ok(Any(value)),
        // A child is told by where it is.
        Some((name, ..)) => {
            let path = path.trim_end_matches('/');
            Ok(Any(Value::Str(format!("{path}/{name}"))))
        }
        None => Err(Error::new(format!(
            "Property '{kind}.{property}' not found"
        ))),
    }
}

fn memory(vm: &Vm) -> Vec<Memdev> {
    let board = machine::find_board(&vm.plan.machine).map_or("none", |(board, _)| board.name);
    let id = match (board, &vm.plan.memory_backend) {
        ("none", _) => return Vec::new(),
        (_, Some(id)) => id.clone(),
        ("microvm", None) => "microvm.ram".to_owned(),
        _ => "pc.ram".to_owned(),
    };
    vec![Memdev {
        id: Some(id),
        size: vm.plan.ram,
        merge: true,
        dump: true,
        prealloc: false,
        share: false,
        reserve: Some(true),
        host_nodes: Vec::new(),
        policy: "default".to_owned(),
    }]
}

/// What `info qom-tree` prints.
pub(super) fn tree(vm: &Vm, path: &str) -> Result<String> {
    let mut text = String::new();
    branch(vm, path, 0, &mut text)?;
    Ok(text)
}

/// Levels of the tree; there are four.
const DEEPEST: usize = 8;

fn branch(vm: &Vm, path: &str, depth: usize, text: &mut String) -> Result<()> {
    let found = find(vm, path)?;
    let name = path.rsplit('/').find(|part| !part.is_empty()).unwrap_or("");
    let indent = " ".repeat(depth * 2);
    text.push_str(&format!("{indent}/{name} ({})\n", found.kind));
    let mut children: Vec<String> = found
        .properties
        .into_iter()
        .filter(|(_, kind, _)| kind.starts_with("child<"))
        .map(|(name, ..)| format!("{}/{name}", path.trim_end_matches('/')))
        .collect();
    children.sort();
    for child in children.iter().filter(|_| depth < DEEPEST) {
        // Some children are names only.
        if branch(vm, child, depth + 1, text).is_err() {
            let name = child.rsplit('/').next().unwrap_or("");
            text.push_str(&format!("{indent}  /{name}\n"));
        }
    }
    Ok(())
}
