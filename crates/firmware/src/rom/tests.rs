use super::*;
use std::process::Command;

#[test]
fn the_sums_are_zero() {
    let rom = boot_rom();
    assert_eq!((rom.len(), missing(&rom), missing(&rom[PNP])), (SIZE, 0, 0));
}

#[test]
fn the_bytes_are_what_the_source_says() {
    let directory = std::env::temp_dir().join(format!("boot-rom-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let (object, binary) = (directory.join("boot.o"), directory.join("boot.bin"));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/rom/boot.s");
    let assembled = Command::new("as")
        .args(["--32", source, "-o"])
        .arg(&object)
        .status();
    if !assembled.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no assembler here");
        return;
    }
    let mut copy = Command::new("objcopy");
    copy.args(["-O", "binary", "-j", ".text"])
        .arg(&object)
        .arg(&binary);
    assert!(copy.status().expect("objcopy").success());
    assert_eq!(std::fs::read(&binary).expect("bytes"), CODE);
    std::fs::remove_dir_all(&directory).expect("removed");
}
