//! Help, man pages and completions come from one definition, and all of them are well formed.

use std::process::Command;

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
