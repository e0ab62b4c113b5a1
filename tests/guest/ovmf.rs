//! UEFI firmware in flash: to its shell on the serial console, with its variables kept in the second flash.

use std::fs;
use std::path::Path;
use std::time::Duration;

use house_tests::guest::Console;
use house_tests::require;
use house_tests::tools::{Scratch, built};

/// Longest that a step may take where everything else runs at the same time.
const PATIENCE: Duration = Duration::from_secs(600);
const CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

fn firmware() -> Result<(), String> {
    if Path::new(CODE).exists() && Path::new(VARIABLES).exists() {
        Ok(())
    } else {
        Err("no OVMF here (package ovmf)".to_owned())
    }
}

fn start(line: &str) -> Console {
    let words: Vec<&str> = line.split_whitespace().collect();
    Console::start(&built("qsystem-x86_64"), &words)
}

#[test]
fn ovmf_keeps_variables_in_its_flash() {
    require!(firmware());
    let scratch = Scratch::new();
    let variables = scratch.path("variables");
    fs::copy(VARIABLES, &variables).expect("a copy");
    let line = format!(
        "-M q35 -m 256M -nographic -drive if=pflash,format=raw,readonly=on,file={CODE} \
         -drive if=pflash,format=raw,file={}",
        variables.display()
    );
    let mut console = start(&line);
    console.hear("UEFI Interactive Shell", PATIENCE);
    console.enter("\r");
    console.hear("Shell> ", PATIENCE);
    console.enter("setvar Kept -guid 5d3f6b0e-2f6a-4c1e-9d57-1a2b3c4d5e6f -bs -rt -nv =0x2a0b\r");
    console.hear("Shell> ", PATIENCE);
    console.enter("reset -s\r");
    assert_eq!(console.code(PATIENCE), 0, "{}", console.said());
    let kept = fs::read(&variables).expect("the variables");
    assert_ne!(kept, fs::read(VARIABLES).expect("the package's"));

    let mut console = start(&line);
    console.hear("UEFI Interactive Shell", PATIENCE);
    console.enter("\r");
    console.hear("Shell> ", PATIENCE);
    console.enter("setvar Kept -guid 5d3f6b0e-2f6a-4c1e-9d57-1a2b3c4d5e6f\r");
    console.hear("0B 2A", PATIENCE);
    console.enter("\x01x");
    assert_eq!(console.code(PATIENCE), 0, "{}", console.said());
}
