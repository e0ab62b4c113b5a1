//! The Debian packages that tests and the demo need, installed by name where they are missing.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

use anyhow::Result;

use crate::shell::{find, root, run};

/// A program and the package that has it.
struct Need {
    program: &'static str,
    package: &'static str,
    why: &'static str,
    /// It is what our output is compared with.
    reference: bool,
}

/// The reference's version.
const VERSION: &str = "version 10.0.";
/// Where Debian 12 has it.
const BACKPORTS: &str = "deb http://deb.debian.org/debian bookworm main\ndeb http://deb.debian.org/debian bookworm-backports main\n";

const fn need(program: &'static str, package: &'static str, why: &'static str) -> Need {
    Need {
        program,
        package,
        why,
        reference: false,
    }
}

const NEEDS: &[Need] = &[
    Need {
        reference: true,
        ..need(
            "qemu-img",
            "qemu-utils",
            "the reference that our output is compared with",
        )
    },
    need(
        "mkfs.ext4",
        "e2fsprogs",
        "a real file system inside an image",
    ),
    need(
        "cryptsetup",
        "cryptsetup-bin",
        "another maker and reader of LUKS headers",
    ),
    need("tmux", "tmux", "a terminal to type at"),
    need(
        "strace",
        "strace",
        "errors of single system calls, and what is asked of the kernel",
    ),
    need("prlimit", "util-linux", "limits on memory and file size"),
    need("mount", "mount", "a small file system that fills up"),
    Need {
        reference: true,
        ..need(
            "qemu-system-x86_64",
            "qemu-system-x86",
            "a guest whose kernel attaches our disks",
        )
    },
    need("busybox", "busybox-static", "the programs in that guest"),
    need(
        "/usr/share/seabios/bios-256k.bin",
        "seabios",
        "the firmware of machines",
    ),
    need(
        "/usr/share/OVMF/OVMF_CODE_4M.fd",
        "ovmf",
        "UEFI firmware of machines",
    ),
    need(
        "grub-mkimage",
        "grub-common",
        "a boot loader on the disks of guests",
    ),
    need(
        "/usr/lib/grub/i386-pc/boot.img",
        "grub-pc-bin",
        "that boot loader's code for a PC's BIOS",
    ),
    need("xorriso", "xorriso", "a CD that boots"),
    need("mformat", "mtools", "a CD that boots"),
    need("nbdkit", "nbdkit", "another NBD server"),
    need("nbdcopy", "libnbd-bin", "other NBD clients"),
    need(
        "nbdsh",
        "python3-libnbd",
        "an NBD client that does what it is told",
    ),
    need("pigz", "pigz", "the limit beside rows of zlib in the bench"),
    need("zstd", "zstd", "the limit beside rows of zstd in the bench"),
    need("openssl", "openssl", "certificates for TLS"),
];

/// Says what is missing and installs it. A package that cannot be installed is not an error: the tests
/// that need it say so and are skipped.
pub(crate) fn install() {
    let missing: Vec<&Need> = NEEDS.iter().filter(|need| !there(need)).collect();
    if missing.is_empty() {
        println!(
            "packages: all there ({})",
            names(&NEEDS.iter().collect::<Vec<_>>()).join(" ")
        );
        return;
    }
    for need in &missing {
        println!(
            "packages: {} for {} ({})",
            need.package, need.program, need.why
        );
    }
    let (reference, others): (Vec<&Need>, Vec<&Need>) =
        missing.into_iter().partition(|need| need.reference);
    // Each for itself: the one's failure is no reason to lack the other.
    let steps = [
        run(&mut apt(&["update", "-qq"])).and_then(|()| install_all(&names(&others), &[])),
        install_reference(&names(&reference)),
    ];
    for error in steps.into_iter().filter_map(Result::err) {
        println!("packages: {error:#}; tests that need what is missing will be skipped");
    }
}

/// Whether a program is there; the reference counts only in the version that we compare with.
fn there(need: &Need) -> bool {
    let Some(path) = find(need.program) else {
        return false;
    };
    !need.reference || {
        let said = Command::new(path).arg("--version").output();
        said.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).contains(VERSION))
    }
}

/// Installs packages, if there are any.
fn install_all(packages: &[&str], options: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let mut words = options.to_vec();
    words.extend(["install", "-y", "--no-install-recommends"]);
    words.extend(packages);
    run(&mut apt(&words))
}

/// The reference is newer than what Debian 12 has; its backports have it, whether or not the machine's own lists name
/// them. A newer Debian is taken as it is.
fn install_reference(packages: &[&str]) -> Result<()> {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    if packages.is_empty() || !release.contains("VERSION_CODENAME=bookworm") {
        return install_all(packages, &[]);
    }
    let list = root().join("target").join("backports.list");
    std::fs::create_dir_all(root().join("target"))?;
    std::fs::write(&list, BACKPORTS)?;
    let list = format!("Dir::Etc::sourcelist={}", list.display());
    run(&mut apt(&["-o", &list, "update", "-qq"]))?;
    install_all(packages, &["-o", &list, "-t", "bookworm-backports"])
}

fn names(needs: &[&Need]) -> Vec<&'static str> {
    let mut names: Vec<_> = needs.iter().map(|n| n.package).collect();
    names.dedup();
    names
}

fn apt(words: &[&str]) -> Command {
    let mut command = match find("sudo") {
        Some(sudo) if !is_root() => {
            let mut command = Command::new(sudo);
            command.args(["-n", "apt-get"]);
            command
        }
        _ => Command::new("apt-get"),
    };
    command.args(words).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn is_root() -> bool {
    // The owner of this folder is the user of this process.
    std::fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}
