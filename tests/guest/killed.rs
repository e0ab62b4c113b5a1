//! The emulator dies in the middle of the guest's writes: image and file system stay whole.

use std::fs;
use std::process::Command;
use std::time::Duration;

use house_tests::guest::{self, Console, Guest};
use house_tests::require;
use house_tests::tools::{Scratch, built, find};

/// Longest that a step may take where everything else runs at the same time.
const PATIENCE: Duration = Duration::from_secs(600);

const SCRIPT: &str = r#"
for try in 1 2 3 4 5 6 7 8 9 10; do test -b /dev/vda && break; sleep 1; done
mount -t ext4 /dev/vda /mnt
n=0
while true; do
  n=$((n + 1))
  head -c 300000 /dev/urandom > /mnt/file$((n % 20)); sync; echo "written $n"
done
"#;

#[test]
fn a_killed_emulator_leaves_a_whole_image_and_file_system() {
    let qemu_img = require!(find("qemu-img", "qemu-utils"));
    let mkfs = require!(find("mkfs.ext4", "e2fsprogs"));
    let fsck = require!(find("e2fsck", "e2fsprogs"));
    let scratch = Scratch::new();
    let at = |name: &str| scratch.path(name).display().to_string();
    let (raw, image, initrd) = (at("disk.raw"), at("disk.qcow2"), at("initrd"));
    let run = |program: &std::path::Path, words: &[&str]| {
        let output = Command::new(program)
            .args(words)
            .output()
            .expect("it starts");
        (output.status.code(), format!("{output:?}"))
    };
    run(&qemu_img, &["create", "-q", "-f", "raw", &raw, "48M"]);
    run(&mkfs, &["-q", "-F", &raw]);
    run(&qemu_img, &["convert", "-O", "qcow2", &raw, &image]);
    let guest = require!(guest::ours(""));
    let root = guest
        .root(&["virtio_pci", "virtio_blk", "ext4"])
        .expect("modules of the kernel");
    fs::write(&initrd, Guest::initrd(root, SCRIPT)).expect("the scratch folder can be written");
    let kernel = guest.image().display().to_string();
    let drive = format!("file={image},if=virtio,format=qcow2");
    let mut console = Console::start(
        &built("qsystem-x86_64"),
        &[
            "-m",
            "192M",
            "-nodefaults",
            "-display",
            "none",
            "-serial",
            "stdio",
            "-drive",
            &drive,
            "-kernel",
            &kernel,
            "-initrd",
            &initrd,
            "-append",
            "console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check",
        ],
    );
    for n in [3, 7] {
        console.hear(&format!("written {n}"), PATIENCE);
    }
    console.kill();
    // Clusters that nothing names may be left (3); errors (2) may not.
    let (code, said) = run(&qemu_img, &["check", &image]);
    assert!(matches!(code, Some(0 | 3)), "{said}");
    run(&qemu_img, &["convert", "-O", "raw", &image, &raw]);
    // The journal is replayed (1: something was corrected), and then all is well.
    let (code, said) = run(&fsck, &["-fp", &raw]);
    assert!(matches!(code, Some(0 | 1)), "{said}");
    let (code, said) = run(&fsck, &["-fn", &raw]);
    assert_eq!(code, Some(0), "{said}");
}
