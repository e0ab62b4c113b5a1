//! Two guests of ours on one wire: `-netdev socket`, virtio-net cards, and the host's random numbers.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use house_tests::guest::{self, Console, Guest};
use house_tests::require;
use house_tests::tools::{Scratch, built, find};

/// Longest that a step may take where everything else runs at the same time.
const PATIENCE: Duration = Duration::from_secs(600);
const MODULES: [&str; 3] = ["virtio_pci", "virtio_net", "virtio_rng"];

const SCRIPT: &str = r#"
for try in 1 2 3 4 5 6 7 8 9 10; do test -e /sys/class/net/eth0 && break; sleep 1; done
step random 'cat /sys/class/misc/hw_random/rng_current && head -c 32 /dev/hwrng | wc -c'
step up 'ip link set eth0 up && ip addr add 10.9.8.OWN/24 dev eth0 && cat /sys/class/net/eth0/address'
until ping -c 1 -W 2 10.9.8.OTHER > /dev/null; do sleep 1; done
step ping 'ping -c 3 -s 1400 10.9.8.OTHER'
"#;

/// A port that nobody listens at.
fn port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound").port()
}

/// What each end does when it has pinged: the first to be done answers the other until it is ended.
fn guest(own: u8, other: u8) -> Result<(Guest, Vec<u8>), String> {
    let guest = guest::ours("")?;
    let root = guest.root(&MODULES)?;
    let script = SCRIPT
        .replace("OWN", &own.to_string())
        .replace("OTHER", &other.to_string());
    let initrd = Guest::initrd(root, &format!("{script}\nsleep 100000\n"));
    Ok((guest, initrd))
}

/// Two machines, the first made by `first` and the second by ours, ping each other.
fn ping(first: &std::path::Path, accelerator: &str) {
    let scratch = Scratch::new();
    let port = port();
    let mut ends = Vec::new();
    for (own, other, program, socket) in [
        (1, 2, first, format!("listen=127.0.0.1:{port}")),
        (
            2,
            1,
            &*built("qsystem-x86_64"),
            format!("connect=127.0.0.1:{port}"),
        ),
    ] {
        let (guest, initrd) = require!(guest(own, other));
        let file = scratch.path(&format!("initrd{own}"));
        fs::write(&file, initrd).expect("the scratch folder can be written");
        let line = format!(
            "{accelerator} -m 192M -nodefaults -display none -serial stdio -no-reboot -initrd {} \
             -netdev socket,id=wire,{socket} -device virtio-net-pci,netdev=wire,mac=52:54:00:00:00:0{own} \
             -device virtio-rng-pci",
            file.display()
        );
        let kernel = guest.image().display().to_string();
        let mut words: Vec<&str> = line.split_whitespace().collect();
        words.extend(["-kernel", &kernel, "-append"]);
        words.push("console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check");
        let mut console = Console::start(program, &words);
        // The first listens before the second comes.
        console.hear("[[[ random", PATIENCE);
        ends.push(console);
    }
    for end in &mut ends {
        end.hear("virtio_rng", PATIENCE);
        end.hear("32", PATIENCE);
        end.hear("3 packets received", PATIENCE);
    }
}

#[test]
fn two_guests_ping_over_a_socket() {
    ping(&built("qsystem-x86_64"), "");
}

#[test]
fn a_guest_of_the_reference_and_ours_ping_over_a_socket() {
    let reference = require!(find("qemu-system-x86_64", "qemu-system-x86"));
    ping(&reference, "-accel tcg");
}
