//! A file system on a qcow2 disk that a guest of ours mounts and writes to; the reference looks at the image afterwards.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use house_tests::guest;
use house_tests::require;
use house_tests::tools::{Scratch, find};

/// Longest that a boot may take where everything else runs at the same time.
const PATIENCE: Duration = Duration::from_secs(600);

const SCRIPT: &str = r#"
for try in 1 2 3 4 5 6 7 8 9 10; do test -b /dev/DISK && break; sleep 1; done
step size 'cat /sys/block/DISK/size'
step mount 'mkdir -p /mnt && mount -t ext4 /dev/DISK /mnt'
step read 'cat /mnt/hello'
step write 'dd if=/dev/urandom of=/mnt/data bs=64k count=256 2>/dev/null && sync'
step sum 'sha256sum < /mnt/data'
step again 'echo 3 > /proc/sys/vm/drop_caches; sha256sum < /mnt/data'
step unmount 'umount /mnt'
step errors 'dmesg | grep -E "I/O error|EXT4-fs error|BUG:|Oops:"'
"#;

fn run(program: &Path, words: &[&str]) -> Output {
    let output = Command::new(program)
        .args(words)
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{words:?}: {output:?}");
    output
}

/// Boots on `board` with the disk at `interface`, which the guest calls `name` and drives by `modules`.
fn writes_to(board: &str, interface: &str, name: &str, modules: &[&str]) {
    let qemu_img = require!(find("qemu-img", "qemu-utils"));
    let mkfs = require!(find("mkfs.ext4", "e2fsprogs"));
    let fsck = require!(find("e2fsck", "e2fsprogs"));
    let debugfs = require!(find("debugfs", "e2fsprogs"));
    let scratch = Scratch::new();
    let at = |name: &str| scratch.path(name).display().to_string();
    let (raw, image, data) = (at("disk.raw"), at("disk.qcow2"), at("data"));
    std::fs::create_dir(scratch.path("files")).expect("a folder");
    std::fs::write(scratch.path("files/hello"), "from the host\n").expect("a file");
    run(&qemu_img, &["create", "-q", "-f", "raw", &raw, "64M"]);
    run(&mkfs, &["-q", "-F", "-d", &at("files"), &raw]);
    run(&qemu_img, &["convert", "-O", "qcow2", &raw, &image]);

    let options = format!("{board} -m 256M -drive file={image},if={interface},format=qcow2");
    let mut guest = require!(guest::ours(&options));
    if modules.contains(&"ahci") {
        // The small kernel has no driver for it.
        guest = require!(guest.with_all_drivers());
    }
    let root = guest.root(modules).expect("modules of the kernel");
    let report = guest.run(root, &SCRIPT.replace("DISK", name), PATIENCE);
    assert_eq!(report.ok("size"), "131072");
    report.ok("mount");
    assert_eq!(report.ok("read"), "from the host");
    report.ok("write");
    let sum = report.ok("sum");
    assert_eq!(report.ok("again"), sum);
    report.ok("unmount");
    assert_eq!(
        report.step("errors").code,
        Some(1),
        "{:?}",
        report.step("errors")
    );

    run(&qemu_img, &["check", &image]);
    run(&qemu_img, &["convert", "-O", "raw", &image, &raw]);
    run(&fsck, &["-fn", &raw]);
    run(&debugfs, &["-R", &format!("dump /data {data}"), &raw]);
    let outside = run(Path::new("/usr/bin/sha256sum"), &[&data]);
    let outside = String::from_utf8_lossy(&outside.stdout).into_owned();
    assert_eq!(outside.split(' ').next(), sum.split(' ').next());
}

#[test]
fn linux_writes_to_a_virtio_disk() {
    writes_to(
        "-M q35 -smp 2",
        "virtio",
        "vda",
        &["virtio_pci", "virtio_blk", "ext4"],
    );
}

#[test]
fn linux_writes_to_an_ide_disk() {
    writes_to("-M pc", "ide", "sda", &["ata_piix", "sd_mod", "ext4"]);
}

#[test]
fn linux_writes_to_an_ahci_disk() {
    writes_to(
        "-M q35 -smp 2",
        "ide",
        "sda",
        &["ahci", "sd_mod", "crc32c_generic", "ext4"],
    );
}
