//! The questions by which libvirt learns what an emulator can do, in its order and on its command line.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use house_tests::qmp::Machine;
use house_tests::require;
use house_tests::tools::{Scratch, built, find};
use serde_json::{Value, json};

/// Types whose properties are asked for.
const TYPES: [&str; 29] = [
    "virtio-blk-pci",
    "virtio-net-pci",
    "virtio-scsi-pci",
    "virtio-net-ccw",
    "virtio-scsi-ccw",
    "vfio-pci",
    "scsi-hd",
    "ide-hd",
    "PIIX4_PM",
    "usb-redir",
    "usb-storage",
    "kvm-pit",
    "VGA",
    "vmware-svga",
    "qxl",
    "virtio-gpu-pci",
    "virtio-gpu-device",
    "ICH9-LPC",
    "virtio-balloon-pci",
    "virtio-balloon-ccw",
    "virtio-balloon-device",
    "intel-iommu",
    "mch",
    "nvdimm",
    "pcie-root-port",
    "usb-host",
    "vhost-user-fs-device",
    "virtio-mem-pci",
    "virtio-iommu-pci",
];

fn questions() -> Vec<(&'static str, Value)> {
    let none = json!({});
    let mut all = vec![
        ("query-version", none.clone()),
        ("query-target", none.clone()),
        ("query-qmp-schema", none.clone()),
        ("query-kvm", none.clone()),
        ("qom-list-types", none.clone()),
    ];
    all.extend(TYPES.map(|name| ("device-list-properties", json!({"typename": name}))));
    for name in [
        "memory-backend-file",
        "memory-backend-memfd",
        "max-x86_64-cpu",
    ] {
        all.push(("qom-list-properties", json!({"typename": name})));
    }
    all.push(("query-machines", none.clone()));
    for name in ["none-machine", "generic-pc-machine"] {
        all.push(("qom-list-properties", json!({"typename": name})));
    }
    for name in [
        "query-cpu-definitions",
        "query-tpm-models",
        "query-tpm-types",
        "query-command-line-options",
        "query-migrate-capabilities",
    ] {
        all.push((name, none.clone()));
    }
    all.push((
        "query-cpu-model-expansion",
        json!({"type": "static", "model": {"name": "max"}}),
    ));
    all.push((
        "query-cpu-model-expansion",
        json!({"type": "static", "model": {"name": "max", "props": {"migratable": false}}}),
    ));
    all
}

/// Names in a list of records.
fn names(answer: &Value) -> Vec<&str> {
    let all = answer["return"].as_array().expect("a list").iter();
    all.filter_map(|row| row["name"].as_str()).collect()
}

#[test]
fn every_question_is_answered_in_the_reference_s_form() {
    let real = require!(find("qemu-system-x86_64", "qemu-system-x86"));
    let scratch = Scratch::new();
    let options = [
        "-S",
        "-no-user-config",
        "-nodefaults",
        "-nographic",
        "-machine",
        "none,accel=tcg",
    ];
    let start = |program: &Path| Machine::start(program, &options, scratch.dir());
    let (mut ours, mut real) = (start(&built("qsystem-x86_64")), start(&real));
    for (command, arguments) in questions() {
        let (a, b) = (ours.ask(command, &arguments), real.ask(command, &arguments));
        let what = format!("{command} {arguments}");
        match (a.get("error"), b.get("error")) {
            (None, None) => {}
            (Some(a), Some(b)) => {
                assert_eq!(a, b, "{what}");
                continue;
            }
            // What we have not, we say as the reference would.
            (Some(error), None) => {
                assert_eq!(error["class"], "DeviceNotFound", "{what}: {error}");
                continue;
            }
            (None, Some(error)) => panic!("{what}: the reference has not: {error}"),
        }
        let shape = |answer: &Value| match &answer["return"] {
            Value::Array(_) => "list",
            Value::Object(_) => "record",
            _ => "scalar",
        };
        assert_eq!(shape(&a), shape(&b), "{what}");
        if let ("list", true) = (shape(&a), b["return"][0].get("name").is_some()) {
            // Everything we name exists in the reference.
            if matches!(command, "query-machines" | "query-cpu-definitions") {
                let known = names(&b);
                let strange: Vec<&str> = names(&a)
                    .into_iter()
                    .filter(|name| !known.contains(name))
                    .collect();
                assert!(strange.is_empty(), "{what}: {strange:?}");
            }
        }
    }
    let types = ours.ask("qom-list-types", &json!({}));
    assert!(names(&types).contains(&"tcg-accel"));
    let machines = ours.ok("query-machines", &json!({}));
    let aliases: Vec<&str> = machines
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|row| row["alias"].as_str())
        .collect();
    assert_eq!(aliases, ["pc", "q35"]);
}

#[test]
fn a_daemon_listens_when_its_parent_has_ended() {
    let scratch = Scratch::new();
    let (socket, pidfile) = (scratch.path("qmp"), scratch.path("pid"));
    let status = Command::new(built("qsystem-x86_64"))
        .args(["-S", "-no-user-config", "-nodefaults", "-display", "none"])
        .args(["-machine", "none,accel=tcg", "-daemonize", "-pidfile"])
        .arg(&pidfile)
        .arg("-qmp")
        .arg(format!("unix:{},server=on,wait=off", socket.display()))
        .status()
        .expect("the program starts");
    assert!(status.success(), "{status}");
    let pid = std::fs::read_to_string(&pidfile).expect("written before the parent ended");
    let stream = std::os::unix::net::UnixStream::connect(&socket);
    assert!(stream.is_ok(), "{stream:?}");
    let pid = pid.trim();
    let killed = Command::new("kill").arg(pid).status().expect("kill runs");
    assert!(killed.success());
    let start = Instant::now();
    while Path::new("/proc").join(pid).exists() {
        assert!(start.elapsed() < Duration::from_secs(30), "it goes on");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!pidfile.exists(), "the file is taken away at the end");
}
