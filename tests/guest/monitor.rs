//! Monitors: the same commands to ours and to the real emulator, on machines that stand.

use std::path::Path;

use house_tests::qmp::Machine;
use house_tests::require;
use house_tests::tools::{Scratch, Tool, built, find, reference};
use serde_json::{Value, json};

/// Takes out what differs from run to run: thread numbers, names of nodes nobody named, places of devices that nobody
/// named, and interrupt numbers that the firmware gives.
fn masked(value: &Value) -> Value {
    const RUN_DEPENDENT: [&str; 3] = ["thread-id", "irq", "package"];
    match value {
        Value::Object(members) => {
            let one = |(name, value): (&String, &Value)| {
                // Ids that the user gave stay.
                let place = value.as_str().unwrap_or("");
                let given = !place.starts_with("/machine/") || place.contains("/peripheral/");
                let hidden = RUN_DEPENDENT.contains(&name.as_str()) || (name == "qdev" && !given);
                let value = if hidden { json!("*") } else { masked(value) };
                (name.clone(), value)
            };
            Value::Object(members.iter().map(one).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(masked).collect()),
        Value::String(text) if text.starts_with("#block") => json!("#block"),
        other => other.clone(),
    }
}

/// Without runs of digits behind `#block` and `thread_id=`, and without lines that hold what [`masked`] hides.
fn masked_text(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        if line.contains("Attached to:      /machine/unattached") || line.starts_with("      IRQ ")
        {
            continue;
        }
        let mut rest = line;
        while let Some(at) = ["#block", "thread_id="]
            .iter()
            .filter_map(|mark| rest.find(mark).map(|at| at + mark.len()))
            .min()
        {
            out.push_str(&rest[..at]);
            rest = rest[at..].trim_start_matches(|c: char| c.is_ascii_digit());
        }
        out.push_str(rest);
        out.push('\n');
    }
    out
}

/// Ours and the real one, on the same options.
fn pair(options: &str, dir: &Path) -> Result<(Machine, Machine), String> {
    let real = find("qemu-system-x86_64", "qemu-system-x86")?;
    let words: Vec<&str> = options.split_whitespace().collect();
    let start = |program: &Path| Machine::start(program, &words, dir);
    Ok((start(&built("qsystem-x86_64")), start(&real)))
}

#[test]
fn answers_are_those_of_the_reference() {
    let scratch = Scratch::new();
    let options = "-S -nodefaults -display none -m 64 -name some -uuid 66181e57-7dc6-4832-a17a-bdbf6a99d752 -chardev ringbuf,id=ring,size=16 -chardev null,id=nothing -serial chardev:nothing";
    let (mut ours, mut real) = require!(pair(options, scratch.dir()));
    assert_eq!(masked(&ours.greeting), masked(&real.greeting));
    let none = json!({});
    for (command, arguments) in [
        ("query-status", none.clone()),
        ("query-name", none.clone()),
        ("query-uuid", none.clone()),
        ("query-target", none.clone()),
        ("query-kvm", none.clone()),
        ("query-cpus-fast", none.clone()),
        ("query-hotpluggable-cpus", none.clone()),
        ("query-current-machine", none.clone()),
        ("query-memory-size-summary", none.clone()),
        ("query-memory-devices", none.clone()),
        ("query-memdev", none.clone()),
        ("query-iothreads", none.clone()),
        ("query-block", none.clone()),
        ("query-blockstats", none.clone()),
        ("query-named-block-nodes", none.clone()),
        ("query-jobs", none.clone()),
        ("query-block-jobs", none.clone()),
        ("query-balloon", none.clone()),
        ("balloon", json!({"value": 1 << 20})),
        ("query-vnc", none.clone()),
        ("query-mice", none.clone()),
        ("query-version", none.clone()),
        ("query-status", json!({"x": 1})),
        ("nonsense", none.clone()),
        ("ringbuf-write", json!({"device": "ring", "data": "hello"})),
        ("ringbuf-read", json!({"device": "ring", "size": 3})),
        ("ringbuf-read", json!({"device": "nothing", "size": 3})),
        ("ringbuf-read", json!({"device": "nix", "size": 3})),
        ("qom-get", json!({"path": "/nix", "property": "x"})),
        ("qom-get", json!({"path": "/machine", "property": "x"})),
        ("qom-get", json!({"path": "/machine", "property": "type"})),
        ("device-list-properties", json!({"typename": "nix"})),
        (
            "human-monitor-command",
            json!({"command-line": "info status"}),
        ),
        (
            "human-monitor-command",
            json!({"command-line": "info status", "cpu-index": 7}),
        ),
        (
            "send-key",
            json!({"keys": [{"type": "qcode", "data": "a"}]}),
        ),
        (
            "send-key",
            json!({"keys": [{"type": "qcode", "data": "nix"}]}),
        ),
        (
            "pmemsave",
            json!({"val": 0, "size": 16, "filename": "/nowhere/file"}),
        ),
        ("system_wakeup", none.clone()),
        ("inject-nmi", none.clone()),
    ] {
        let (a, b) = (ours.ask(command, &arguments), real.ask(command, &arguments));
        assert_eq!(masked(&a), masked(&b), "{command} {arguments}");
    }
}

#[test]
fn the_human_monitor_says_what_the_reference_says() {
    let scratch = Scratch::new();
    let options = "-S -nodefaults -display none -m 64 -name some";
    let (mut ours, mut real) = require!(pair(options, scratch.dir()));
    for line in [
        "info status",
        "info name",
        "info uuid",
        "info kvm",
        "info cpus",
        "info mice",
        "info numa",
        "info usb",
        "info vnc",
        "info balloon",
        "info block",
        "info blockstats",
        "info block-jobs",
        "info memory_size_summary",
        "info hotpluggable-cpus",
        "info iothreads",
        "info history",
        "info nonsense",
        "nonsense",
        "stop now",
        "print 7+8*2",
        "print/d -1",
        "p/o 8",
        "p/c 65",
        "print 1/0",
        "print $nix",
        "print $eip",
        "print $cs",
        "xp/4xw 0xffff0",
        "xp/3xg 0xffff0",
        "xp/5xb 0xffff0",
        "xp/8dh 0xffff0",
        "xp/3uw 0xffff0",
        "xp/10cb 0xffff0",
        "xp/2ob 0xffff0",
        "x/2xw $eip",
        "gva2gpa 0x1234",
        "sum 0xffff0 16",
        "i/b 0x21",
        "o/b 0x80 1",
        "cpu 3",
        "cpu 0",
        "sendkey nonsense",
        "sendkey ctrl-alt-f1",
        "balloon 64",
        "system_wakeup",
    ] {
        let (a, b) = (ours.human(line), real.human(line));
        assert_eq!(masked_text(&a), masked_text(&b), "{line}");
    }
}

#[test]
fn disks_are_shown_as_the_reference_shows_them() {
    let images = require!(reference());
    let scratch = Scratch::new();
    let make = |tool: &Tool, words: &[&str]| tool.run(scratch.dir(), words).ok();
    make(&images, &["create", "-f", "qcow2", "base.qcow2", "64M"]);
    make(&images, &["create", "-f", "raw", "plain.raw", "10M"]);
    let over = [
        "create",
        "-f",
        "qcow2",
        "-b",
        "base.qcow2",
        "-F",
        "qcow2",
        "top.qcow2",
    ];
    make(&images, &over);
    // One after the other: images are locked.
    let options: Vec<&str> = "-S -nodefaults -display none -drive file=top.qcow2,if=virtio -drive file=plain.raw,format=raw,if=none,id=d1,readonly=on -device virtio-blk-pci,drive=d1,id=vd1,serial=abc -blockdev driver=raw,node-name=n1,read-only=on,file.driver=file,file.filename=plain.raw -device ide-cd,drive=n1,id=cd1"
        .split_whitespace()
        .collect();
    let look = |program: &Path| {
        let mut machine = Machine::start(program, &options, scratch.dir());
        let blocks = json!([
            machine.ok("query-block", &json!({})),
            machine.ok("query-blockstats", &json!({})),
        ]);
        let text = machine.human("info block") + &machine.human("info blockstats");
        let mut nodes: Vec<String> = machine
            .ok("query-named-block-nodes", &json!({}))
            .as_array()
            .expect("a list")
            .iter()
            .map(|node| masked(node).to_string())
            .collect();
        nodes.sort();
        let (code, _) = machine.quit();
        assert_eq!(code, Some(0));
        (masked(&blocks), masked_text(&text), nodes)
    };
    let real = require!(find("qemu-system-x86_64", "qemu-system-x86"));
    let (ours, real) = (look(&built("qsystem-x86_64")), look(&real));
    assert_eq!(ours.0, real.0);
    assert_eq!(ours.1, real.1);
    assert_eq!(ours.2, real.2);
}

#[test]
fn events_tell_what_happens_to_the_machine() {
    let scratch = Scratch::new();
    let options = "-S -nodefaults -display none -m 64 -no-shutdown";
    let (mut ours, mut real) = require!(pair(options, scratch.dir()));
    let mut lives = Vec::new();
    for machine in [&mut ours, &mut real] {
        let mut life = Vec::new();
        for command in [
            "cont",
            "stop",
            "stop",
            "system_reset",
            "cont",
            "system_powerdown",
        ] {
            machine.ok(command, &json!({}));
            if command == "system_reset" {
                // The answer may come before it is done.
                life.push(machine.event("RESET"));
            }
            life.push(machine.ok("query-status", &json!({})));
        }
        machine.ok("stop", &json!({}));
        life.push(machine.event("POWERDOWN"));
        let events = std::mem::take(&mut machine.events);
        life.extend(events.into_iter().map(|(name, data)| json!([name, data])));
        lives.push(life);
    }
    let quit = |machine: Machine| machine.quit().0;
    assert_eq!((quit(ours), quit(real)), (Some(0), Some(0)));
    assert_eq!(lives[0], lives[1]);
}

#[test]
fn a_reset_that_is_a_power_off_keeps_the_machine_where_that_is_wanted() {
    let scratch = Scratch::new();
    let options = "-S -nodefaults -display none -m 64 -no-reboot -no-shutdown";
    let (mut ours, mut real) = require!(pair(options, scratch.dir()));
    let mut lives = Vec::new();
    for machine in [&mut ours, &mut real] {
        machine.ok("cont", &json!({}));
        machine.ok("system_reset", &json!({}));
        let mut life = vec![machine.event("SHUTDOWN"), machine.event("STOP")];
        life.push(machine.ok("query-status", &json!({})));
        lives.push(life);
    }
    assert_eq!(lives[0], lives[1]);
}

#[test]
fn several_snapshots_live_in_one_process() {
    let images = require!(reference());
    let scratch = Scratch::new();
    for name in ["a.raw", "b.raw"] {
        images
            .run(scratch.dir(), &["create", "-f", "raw", name, "1M"])
            .ok();
    }
    let options = "-S -nodefaults -display none -snapshot -drive file=a.raw,format=raw,if=virtio -drive file=b.raw,format=raw,if=virtio";
    let words: Vec<&str> = options.split_whitespace().collect();
    let mut machine = Machine::start(&built("qsystem-x86_64"), &words, scratch.dir());
    let blocks = machine.ok("query-block", &json!({}));
    let all = blocks.as_array().expect("a list");
    assert!(
        all.iter().all(|drive| drive["inserted"]["drv"] == "qcow2"),
        "{blocks}"
    );
    assert_eq!(all.len(), 2);
}
