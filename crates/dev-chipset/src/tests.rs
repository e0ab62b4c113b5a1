//! Every device through the same treatment: random accesses, save, reset, restore, damaged state.

use std::sync::Arc;

use backend_core::chars::Null;
use guest_mem::Ram;
use hw_core::memory::{AddressSpace, Dma, Shared, change};
use hw_core::pci::{self, Bus, Place, devfn};
use hw_core::{Backing, Clock, Control, Device, HostEvent, Lines};
use serde_json::Value;

use crate::pirq::PirqRouter;
use crate::*;

/// What devices are built from.
struct Bench {
    clock: Clock,
    lines: Lines,
    control: Control,
    memory: Shared,
    ports: Shared,
    ram: Ram,
}

fn bench() -> Bench {
    let bench = Bench {
        clock: Clock::stopped(),
        lines: Lines::new(wires::COUNT),
        control: Control::new(),
        memory: AddressSpace::shared(),
        ports: AddressSpace::shared(),
        ram: Ram::new(1 << 20).expect("memory"),
    };
    let backing = Backing::Ram {
        ram: bench.ram.clone(),
        offset: 0,
    };
    change(&bench.memory).map(0, 1 << 20, 0, backing);
    bench
}

impl Bench {
    fn place(&self, devfn: u8) -> Place {
        Place {
            bus: 0,
            devfn,
            memory: Shared::clone(&self.memory),
            ports: Shared::clone(&self.ports),
        }
    }

    fn pam(&self) -> Pam {
        let nothing = Backing::device(0, pci::NOTHING);
        Pam::new(&self.memory, self.ram.clone(), None, nothing)
    }

    fn pc_bus(&self) -> Bus {
        let mut bus = Bus::new(0, &self.memory, &self.ports);
        let router = PirqRouter::new(&self.lines);
        bus.plug(devfn(0, 0), Box::new(i440fx::I440Fx::new(self.pam())));
        let isa = devfn(1, 0);
        let bridge = piix::Piix3::new(&self.place(isa), router, self.control.clone());
        bus.plug(isa, Box::new(bridge));
        let wiring = piix::Piix4Wiring {
            clock: self.clock.clone(),
            sci: self.lines.line(9),
            control: self.control.clone(),
            suspend: true,
            hibernate: true,
        };
        let pm = piix::Piix4Pm::new(self.place(devfn(1, 3)), wiring);
        bus.plug(devfn(1, 3), Box::new(pm));
        let vram = Ram::new(1 << 20).expect("memory");
        let vga = vga::Vga::new(&self.place(devfn(2, 0)), vram, None, self.clock.clone());
        bus.plug(devfn(2, 0), Box::new(vga));
        bus.plug(
            devfn(3, 0),
            Box::new(test_devices::PciTestDevice::default()),
        );
        bus
    }

    fn q35_bus(&self) -> Bus {
        let mut bus = Bus::new(0, &self.memory, &self.ports);
        let mch = q35::Mch::new(self.place(devfn(0, 0)), self.pam());
        bus.plug(devfn(0, 0), Box::new(mch));
        let wiring = ich9::Ich9Wiring {
            clock: self.clock.clone(),
            sci: self.lines.line(9),
            control: self.control.clone(),
            router: PirqRouter::new(&self.lines),
            no_reboot: false,
        };
        let lpc = ich9::Ich9Lpc::new(self.place(devfn(31, 0)), wiring);
        bus.plug(devfn(31, 0), Box::new(lpc));
        bus
    }

    /// Every device, with how many regions it has.
    fn devices(&self) -> Vec<(Box<dyn Device>, u32)> {
        let clock = || self.clock.clone();
        let line = |n| self.lines.line(n);
        let cpus = (0..2).map(|_| Arc::default()).collect();
        let keyboard = i8042::Wires {
            keyboard: line(1),
            mouse: line(12),
            a20: line(wires::A20),
        };
        let mut items = fw_cfg::Items::new();
        assert!(items.writable_file("a", vec![0; 100]));
        let fw_cfg = fw_cfg::FwCfg::new(items, Dma::new(&self.memory));
        let test = test_devices::PcTestDevice::new(1, &self.memory, &self.ports, &self.lines);
        vec![
            (
                Box::new(interrupts::Interrupts::new(cpus, Box::new(|_| ()), clock())),
                4,
            ),
            (Box::new(pit::Pit::new(clock(), line(wires::PIT))), 2),
            (
                Box::new(rtc::Rtc::new(0, clock(), line(wires::RTC), Control::new())),
                1,
            ),
            (Box::new(dma::Dma8237::new()), 3),
            (Box::new(hpet::Hpet::new(clock(), &self.lines, 4)), 1),
            (
                Box::new(i8042::I8042::new(keyboard, self.control.clone())),
                2,
            ),
            (
                Box::new(serial::Serial::new(clock(), line(4), Box::new(Null))),
                1,
            ),
            (Box::new(fw_cfg), 2),
            (
                Box::new(small::Port92::new(line(wires::A20), self.control.clone())),
                1,
            ),
            (Box::new(test), 3),
            (Box::new(self.pc_bus()), 0x500),
            (Box::new(self.q35_bus()), 0x1100),
        ]
    }
}

/// A small generator of numbers (xorshift), the same on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

fn access(device: &mut dyn Device, regions: u32, random: &mut Random, clock: &Clock) {
    // Configuration ports and small regions often, the rest sometimes.
    let region = match random.below(4) {
        0 => u32::try_from(random.below(u64::from(regions))).expect("small"),
        _ => u32::try_from(random.below(u64::from(regions.min(4)))).expect("small"),
    };
    let bytes = (1 << random.below(4)).min(device.widest(region));
    let offset = match random.below(8) {
        0 => random.next(),
        1 => random.below(0x4000),
        _ => random.below(0x40),
    };
    let value = match random.below(3) {
        0 => random.next(),
        1 => random.below(0x100),
        _ => 0x8000_0000 | random.below(0x20_0000),
    };
    match random.below(8) {
        0..=2 => {
            device.read(region, offset, bytes);
        }
        3 => {
            clock.advance(random.below(50_000_000));
            if device.deadline().is_some_and(|at| at <= clock.now()) {
                device.tick(clock.now());
            }
        }
        4 => {
            let key = value.to_le_bytes()[0];
            device.host_event(HostEvent::Key(key, value & 1 << 20 != 0));
            device.host_event(HostEvent::PowerButton);
            device.receive(&value.to_le_bytes());
        }
        _ => device.write(region, offset, bytes, value),
    }
}

/// Every number in a record, one after the other, replaced by extremes.
fn damaged(state: &Value) -> Vec<Value> {
    let text = state.to_string();
    let mut all = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() && all.len() < 400 {
        if bytes[at].is_ascii_digit() {
            let end = at
                + bytes[at..]
                    .iter()
                    .take_while(|b| b.is_ascii_digit())
                    .count();
            for new in ["255", "4294967295", "18446744073709551615", "7"] {
                let changed = format!("{}{new}{}", &text[..at], &text[end..]);
                all.extend(serde_json::from_str::<Value>(&changed).ok());
            }
            at = end;
        } else {
            at += 1;
        }
    }
    all
}

#[test]
fn random_accesses_never_break_a_device() {
    let bench = bench();
    for (mut device, regions) in bench.devices() {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for _ in 0..30_000 {
            access(device.as_mut(), regions, &mut random, &bench.clock);
            bench.lines.take();
            bench.control.take();
        }
    }
}

#[test]
fn saved_state_comes_back_and_reset_forgets_it() {
    let first = bench();
    let second = bench();
    for ((mut device, regions), (mut twin, _)) in first.devices().into_iter().zip(second.devices())
    {
        device.reset();
        let fresh = device.save();
        let mut random = Random(7);
        for _ in 0..500 {
            access(device.as_mut(), regions, &mut random, &first.clock);
        }
        let saved = device.save();
        second.clock.advance(first.clock.now() - second.clock.now());
        twin.restore(&saved)
            .unwrap_or_else(|e| panic!("{}: {e:?}", device.name()));
        assert!(twin.save() == saved, "{}", device.name());
        twin.reset();
        device.reset();
        assert!(twin.save() == device.save(), "{}", device.name());
        if !matches!(device.name(), "mc146818rtc" | "pci") {
            assert!(device.save() == fresh, "{}", device.name());
        }
    }
}

#[test]
fn damaged_state_is_refused_or_harmless() {
    let bench = bench();
    for (mut device, regions) in bench.devices() {
        let mut random = Random(99);
        for _ in 0..200 {
            access(device.as_mut(), regions, &mut random, &bench.clock);
        }
        for state in damaged(&device.save()) {
            if device.restore(&state).is_err() {
                device.reset();
            }
            for _ in 0..20 {
                access(device.as_mut(), regions, &mut random, &bench.clock);
            }
        }
        assert!(device.restore(&Value::String("x".to_owned())).is_err());
    }
}
