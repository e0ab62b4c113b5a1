//! Hostile guests: rows of the project's table of past holes that a guest can try on devices, named by their first CVE. What
//! concerns one device's own rings and requests is tested beside it.

use Step::{Config, Out, Read, Write};
use machine::contract::{Rig, Script, Step, seed};

/// Where windows are put, and rings in memory.
const WINDOW: u64 = 0xfe00_0000;
const RINGS: u64 = 0x1_0000;
const OTHER_WINDOW: u64 = 0xfd80_0000;

/// A running virtio function of a board: its registers at [`WINDOW`], queue 0 at these places.
fn virtio(rig: &mut Rig, name: &'static str, rings: [u64; 3]) {
    rig.take(&[
        Config(name, 0x20, 4, WINDOW),
        Config(name, 0x24, 4, 0),
        Config(name, 4, 2, 7),
        Write(WINDOW + 20, 1, 3),
        Write(WINDOW + 8, 4, 1),
        Write(WINDOW + 12, 4, 1),
        Write(WINDOW + 8, 4, 0),
        Write(WINDOW + 12, 4, 0x1000_0000),
        Write(WINDOW + 20, 1, 11),
        Write(WINDOW + 24, 2, 8),
        Write(WINDOW + 32, 8, rings[0]),
        Write(WINDOW + 40, 8, rings[1]),
        Write(WINDOW + 48, 8, rings[2]),
        Write(WINDOW + 28, 2, 1),
        Write(WINDOW + 20, 1, 15),
    ]);
}

const USUAL: [u64; 3] = [RINGS, RINGS + 0x1000, RINGS + 0x2000];
const KICK: Step = Write(WINDOW + 0x3000, 2, 0);
const VIRTIO: [&str; 3] = ["virtio-blk-pci", "virtio-net-pci", "virtio-rng-pci"];

#[test]
fn cve_2021_3416_rings_and_buffers_in_registers_reach_no_device() {
    for name in VIRTIO {
        for target in [
            WINDOW,
            WINDOW + 0x3000,
            OTHER_WINDOW,
            0xfed0_0000,
            0xfec0_0000,
            0xfee0_0000,
        ] {
            for part in 0..3 {
                let mut rings = USUAL;
                rings[part] = target;
                let mut rig = Rig::new("pc");
                rig.take(&[
                    Config("pci-testdev", 0x10, 4, OTHER_WINDOW),
                    Config("pci-testdev", 4, 2, 7),
                ]);
                virtio(&mut rig, name, rings);
                rig.take(&[
                    Write(RINGS, 8, RINGS + 0x8000),
                    Write(RINGS + 8, 8, 0x0002_0000_0040),
                    Write(RINGS + 0x1002, 2, 1),
                    KICK,
                ]);
                // Without a frame the card does not look at its ring.
                let broken = rig.peek(WINDOW + 20, 1) & 0x40 != 0;
                assert!(broken || name == "virtio-net-pci", "{name}: {part}");
            }
            // A buffer there: the request fails, nothing is written to the registers.
            let mut rig = Rig::new("pc");
            rig.take(&[
                Config("pci-testdev", 0x10, 4, OTHER_WINDOW),
                Config("pci-testdev", 4, 2, 7),
            ]);
            virtio(&mut rig, name, USUAL);
            let before = rig.state_of("pci-testdev");
            rig.take(&[
                Write(RINGS, 8, target),
                Write(RINGS + 8, 8, 0x0002_0000_0200),
                Write(RINGS + 0x1002, 2, 1),
                KICK,
            ]);
            assert_eq!(rig.state_of("pci-testdev"), before);
        }
    }
}

#[test]
fn cve_2021_3416_disk_controllers_reach_no_registers() {
    let mut rig = Rig::new("pc");
    rig.take(&[
        Config("piix3-ide", 0x20, 4, 0xc041),
        Config("piix3-ide", 4, 2, 7),
        Out(0xc044, 4, 0x2_0000),
        // The table's entry is the local interrupt controller, then the table itself is.
        Write(0x2_0000, 8, 0x8000_0200_fee0_0000),
        Out(0x1f2, 1, 1),
        Out(0x1f6, 1, 0xe0),
        Out(0x1f7, 1, 0xc8),
        Out(0xc040, 1, 9),
    ]);
    assert_eq!(rig.port(0xc042, 1) & 3, 2, "an error of the bus");
    let mut rig = Rig::new("q35");
    let port = WINDOW + 0x100;
    for list in [WINDOW, 0xfee0_0000, 0xfed0_0000] {
        rig.take(&[
            Config("ich9-ahci", 0x24, 4, WINDOW),
            Config("ich9-ahci", 4, 2, 7),
            Write(port, 4, list),
            Write(port + 8, 4, list),
            Write(port + 0x18, 4, 0x11),
            Write(port + 0x38, 4, u32::MAX.into()),
        ]);
        assert_ne!(
            rig.peek(port + 0x10, 4) & 1 << 29,
            0,
            "a fatal error of the bus"
        );
        rig.take(&[
            Write(port + 0x18, 4, 0),
            Write(port + 0x10, 4, u32::MAX.into()),
        ]);
    }
    // fw_cfg's own transfers.
    rig.take(&[Out(0x514, 4, 0), Out(0x518, 4, 0x0000_e0fe)]);
}

/// Every writable register of a queue, with values that hurt where they are believed.
fn queue_writes() -> Vec<Step> {
    let mut writes = Vec::new();
    for value in [0, 1, 3, 7, 0xffff, 0x8000, u64::MAX] {
        for (at, bytes) in [
            (24, 2),
            (26, 2),
            (28, 2),
            (32, 8),
            (40, 8),
            (48, 8),
            (22, 2),
            (0x2020, 1),
        ] {
            writes.push(Write(WINDOW + at, bytes, value));
        }
    }
    writes
}

#[test]
fn cve_2026_5747_queues_stay_as_they_were_switched_on() {
    for name in VIRTIO {
        let mut rig = Rig::new("pc");
        virtio(&mut rig, name, USUAL);
        rig.take(&[
            Write(RINGS, 8, RINGS + 0x8000),
            Write(RINGS + 8, 8, 0x0002_0000_0040),
        ]);
        let writes = queue_writes();
        for (n, write) in (1_u64..).zip(writes.iter().chain(writes.iter().rev())) {
            // The ring is at work between any two.
            rig.take(&[
                *write,
                Write(RINGS + 0x1002, 2, n),
                KICK,
                Write(WINDOW + 22, 2, 0),
            ]);
            assert_eq!(rig.peek(WINDOW + 24, 2), 8, "{name}: {write:?}");
            assert_eq!(rig.peek(WINDOW + 32, 4), RINGS, "{name}: {write:?}");
            assert_eq!(rig.peek(WINDOW + 28, 2), 1, "{name}: {write:?}");
        }
    }
}

#[test]
fn cve_2026_45782_resets_forget_requests_that_are_held() {
    for reset in [Write(WINDOW + 20, 1, 0), Config("virtio-blk-pci", 4, 2, 0)] {
        let mut rig = Rig::new("pc");
        virtio(&mut rig, "virtio-blk-pci", USUAL);
        rig.hold_disks(true);
        // Header to read, 512 bytes and the status to write.
        rig.take(&[
            Write(RINGS, 8, RINGS + 0x8000),
            Write(RINGS + 8, 8, 0x0001_0001_0000_0010),
            Write(RINGS + 16, 8, RINGS + 0x9000),
            Write(RINGS + 24, 8, 0x0002_0003_0000_0200),
            Write(RINGS + 32, 8, RINGS + 0xa000),
            Write(RINGS + 40, 8, 0x0000_0002_0000_0001),
            Write(RINGS + 0xa000, 1, 0xee),
            Write(RINGS + 0x9000, 8, 0x5555),
            Write(RINGS + 0x1002, 2, 1),
            KICK,
            reset,
        ]);
        rig.hold_disks(false);
        rig.take(&[Read(WINDOW, 4)]);
        assert_eq!(
            rig.peek(RINGS + 0xa000, 1),
            0xee,
            "no status after the reset"
        );
        assert_eq!(rig.peek(RINGS + 0x9000, 1), 0x55, "no data after the reset");
    }
}

#[test]
fn cve_2020_27174_input_waits_for_a_guest_that_does_not_read() {
    let mut rig = Rig::new("pc");
    let taken: usize = (0..1 << 20)
        .map(|_| rig.offer("isa-serial", &[0x41; 1024]))
        .sum();
    assert!(taken <= 4 * 16, "{taken} bytes of 1 GiB");
    for _ in 0..100_000 {
        rig.take(&[
            Step::Event(hw_core::HostEvent::Key(0x1e, true)),
            Step::Event(hw_core::HostEvent::MouseMove(1, 1, 0)),
        ]);
    }
    let state = rig.state_of("i8042").to_string();
    assert!(
        state.len() < 4096,
        "{} bytes of keys and movements",
        state.len()
    );
}

#[test]
fn cve_2017_16845_states_of_a_random_guest_come_back() {
    for board in machine::contract::BOARDS {
        let mut rig = Rig::new(board);
        Script::new(&seed(77, 3000)).run(&mut rig);
        let states = rig.save();
        let mut other = Rig::new(board);
        other.follow(&rig);
        other.restore(&states).expect("its own state");
        assert_eq!(other.spaces(), rig.spaces());
    }
}
