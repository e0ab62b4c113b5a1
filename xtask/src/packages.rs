//! The Debian packages that tests and the demo need, installed by name where they are missing.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

use crate::shell::{find, run};

/// A program and the package that has it.
struct Need {
    program: &'static str,
    package: &'static str,
    why: &'static str,
}

const NEEDS: &[Need] = &[
    Need {
        program: "qemu-img",
        package: "qemu-utils",
        why: "the reference that our output is compared with",
    },
    Need {
        program: "mkfs.ext4",
        package: "e2fsprogs",
        why: "a real file system inside an image",
    },
    Need {
        program: "cryptsetup",
        package: "cryptsetup-bin",
        why: "another maker and reader of LUKS headers",
    },
    Need {
        program: "tmux",
        package: "tmux",
        why: "a terminal to type at",
    },
    Need {
        program: "strace",
        package: "strace",
        why: "errors of single system calls, and what is asked of the kernel",
    },
    Need {
        program: "prlimit",
        package: "util-linux",
        why: "limits on memory and file size",
    },
    Need {
        program: "mount",
        package: "mount",
        why: "a small file system that fills up",
    },
    Need {
        program: "qemu-system-x86_64",
        package: "qemu-system-x86",
        why: "a guest whose kernel attaches our disks",
    },
    Need {
        program: "busybox",
        package: "busybox-static",
        why: "the programs in that guest",
    },
    Need {
        program: "/usr/share/seabios/bios-256k.bin",
        package: "seabios",
        why: "the firmware of machines",
    },
    Need {
        program: "/usr/share/OVMF/OVMF_CODE_4M.fd",
        package: "ovmf",
        why: "UEFI firmware of machines",
    },
    Need {
        program: "grub-mkimage",
        package: "grub-common",
        why: "a boot loader on the disks of guests",
    },
    Need {
        program: "/usr/lib/grub/i386-pc/boot.img",
        package: "grub-pc-bin",
        why: "that boot loader's code for a PC's BIOS",
    },
    Need {
        program: "xorriso",
        package: "xorriso",
        why: "a CD that boots",
    },
    Need {
        program: "mformat",
        package: "mtools",
        why: "a CD that boots",
    },
    Need {
        program: "nbdkit",
        package: "nbdkit",
        why: "another NBD server",
    },
    Need {
        program: "nbdcopy",
        package: "libnbd-bin",
        why: "other NBD clients",
    },
    Need {
        program: "nbdsh",
        package: "python3-libnbd",
        why: "an NBD client that does what it is told",
    },
    Need {
        program: "pigz",
        package: "pigz",
        why: "the limit beside rows of zlib in the bench",
    },
    Need {
        program: "zstd",
        package: "zstd",
        why: "the limit beside rows of zstd in the bench",
    },
    Need {
        program: "openssl",
        package: "openssl",
        why: "certificates for TLS",
    },
];

/// Says what is missing and installs it. A package that cannot be installed is not an error: the tests
/// that need it say so and are skipped.
pub(crate) fn install() {
    let missing: Vec<&Need> = NEEDS.iter().filter(|n| find(n.program).is_none()).collect();
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
    let mut words = vec!["install", "-y", "--no-install-recommends"];
    let packages = names(&missing);
    words.extend(&packages);
    if run(&mut apt(&["update", "-qq"]))
        .and_then(|()| run(&mut apt(&words)))
        .is_err()
    {
        println!("packages: could not install them; tests that need them will be skipped");
    }
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
