//! Help, man pages and completions come from one definition, and all of them are well formed.

use std::process::Command;

use house_tests::tools::our_io;
use house_tests::{Scratch, ours};

const COMMANDS: [&str; 15] = [
    "amend", "bench", "bitmap", "check", "commit", "compare", "convert", "create", "dd", "info",
    "map", "measure", "rebase", "resize", "snapshot",
];

#[test]
fn every_command_explains_itself() {
    let scratch = Scratch::new();
    let top = ours().run(scratch.dir(), &["--help"]).ok().stdout;
    for command in COMMANDS {
        assert!(
            top.contains(&format!("  {command}")),
            "{command} is not in --help"
        );
        let help = ours().run(scratch.dir(), &[command, "--help"]).ok().stdout;
        assert!(help.contains("Usage: qemu-img"), "{help}");
        assert!(help.contains("Examples:"), "{help}");
    }
}

#[test]
fn man_pages_are_there_for_all_commands() {
    let scratch = Scratch::new();
    ours().run(scratch.dir(), &["generate", "man", "man"]).ok();
    for command in COMMANDS {
        let page = scratch.path("man").join(format!("qemu-img-{command}.1"));
        let text = std::fs::read_to_string(&page).expect("a page for each command");
        assert!(
            text.contains(".SH NAME") && text.contains(".SH OPTIONS"),
            "{command}"
        );
    }
}

#[test]
fn completions_are_scripts_their_shells_take() {
    let scratch = Scratch::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = ours()
            .run(scratch.dir(), &["generate", "completion", shell])
            .ok()
            .stdout;
        assert!(script.contains("convert"), "{shell}");
    }
    let script = ours()
        .run(scratch.dir(), &["generate", "completion", "bash"])
        .ok()
        .stdout;
    std::fs::write(scratch.path("c"), script).expect("a scratch file");
    let status = Command::new("bash")
        .arg("-n")
        .arg(scratch.path("c"))
        .status();
    assert!(status.expect("bash is there").success());
}

#[test]
fn the_io_tool_has_a_man_page_and_completions_too() {
    let scratch = Scratch::new();
    our_io()
        .run(scratch.dir(), &["generate", "man", "man"])
        .ok();
    let page = std::fs::read_to_string(scratch.path("man").join("qemu-io.1")).expect("a page");
    assert!(page.contains("allow\\-path") || page.contains("allow-path"));
    for shell in ["bash", "zsh", "fish"] {
        let script = our_io()
            .run(scratch.dir(), &["generate", "completion", shell])
            .ok()
            .stdout;
        assert!(script.contains("copy-on-read"), "{shell}");
    }
}

#[test]
fn every_command_has_something_for_machines() {
    let scratch = Scratch::new();
    let run = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        ours().run(scratch.dir(), &words).ok()
    };
    run("create -q -f qcow2 base.qcow2 1M");
    run("create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2");
    for line in [
        "create --json -f qcow2 other.qcow2 1M",
        "amend --json -o compat=1.1 top.qcow2",
        "bench --json -c 10 top.qcow2",
        "bitmap --json --add top.qcow2 b",
        "check --json top.qcow2",
        "compare --json top.qcow2 base.qcow2",
        "commit --json top.qcow2",
        "convert --json -O raw top.qcow2 out.raw",
        "dd --json if=top.qcow2 of=dd.raw",
        "info --json top.qcow2",
        "map --json top.qcow2",
        "measure --json -O qcow2 top.qcow2",
        "rebase --json -b other.qcow2 -F qcow2 top.qcow2",
        "resize --json other.qcow2 2M",
        "snapshot --json -c s other.qcow2",
        "snapshot --json -d s other.qcow2",
    ] {
        // Panics unless it is JSON.
        let value = run(line).json();
        assert!(value.is_object() || value.is_array(), "{line}: {value}");
    }
    let different = run_different(&scratch);
    assert_eq!(different["identical"], false);
    assert_eq!(different["difference"], "content");
    assert_eq!(different["offset"], 65536);
}

/// Compares two disks that differ at 64 KiB.
fn run_different(scratch: &Scratch) -> serde_json::Value {
    std::fs::write(scratch.path("a"), vec![0; 1 << 17]).expect("a scratch file");
    let mut bytes = vec![0; 1 << 17];
    bytes[1 << 16] = 1;
    std::fs::write(scratch.path("b"), bytes).expect("a scratch file");
    let words = ["compare", "--json", "-f", "raw", "-F", "raw", "a", "b"];
    ours().run(scratch.dir(), &words).expect_code(1).json()
}

#[test]
fn what_can_be_traced_is_listed_without_a_command() {
    let scratch = Scratch::new();
    let list = ours().run(scratch.dir(), &["-T", "help"]).ok().stdout;
    assert!(list.contains("bdrv_"), "{list}");
}
