use super::*;
use crate::memory::{AddressSpace, look};

struct Plain {
    config: Config,
    value: u64,
}

impl Function for Plain {
    fn name(&self) -> &'static str {
        "plain"
    }
    fn config(&self) -> &Config {
        &self.config
    }
    fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }
    fn window_read(&mut self, bar: u8, offset: u64, _bytes: usize) -> u64 {
        self.value + u64::from(bar) + offset
    }
    fn reset(&mut self) {
        self.value = 0x40;
    }
    fn save(&self) -> Value {
        save_record(&self.value)
    }
    fn restore(&mut self, state: &Value) -> Result<(), StateError> {
        self.value = restore_record(state)?;
        Ok(())
    }
}

/// A function of tests.
pub(super) const WHO: Identity = Identity {
    vendor: 0x1234,
    device: 0x5678,
    revision: 1,
    class: 0x00_ff00,
    subsystem: (0x1af4, 0x1100),
    pin: 1,
    multifunction: false,
};

fn bus() -> (Bus, Shared, Shared) {
    let config = Config::new(&WHO)
        .with_bar(0, Bar::Io(0x20))
        .with_bar(1, Bar::Memory32(0x1000))
        .with_bar(4, Bar::Memory64(0x4000))
        .with_capability(0x40, 9, &[1, 2]);
    let (memory, ports) = (AddressSpace::shared(), AddressSpace::shared());
    let mut bus = Bus::new(7, &memory, &ports);
    bus.plug(
        devfn(3, 0),
        Box::new(Plain {
            config,
            value: 0x40,
        }),
    );
    (bus, memory, ports)
}

fn poke(bus: &mut Bus, offset: u32, bytes: usize, value: u64) {
    bus.write(0, 0, 4, u64::from(0x8000_1800 | offset));
    bus.write(0, 4 + u64::from(offset & 3), bytes, value);
}

fn peek(bus: &mut Bus, offset: u32, bytes: usize) -> u64 {
    bus.write(0, 0, 4, u64::from(0x8000_1800 | offset));
    bus.read(0, 4 + u64::from(offset & 3), bytes)
}

#[test]
fn windows_say_their_size_and_move() {
    let (mut bus, memory, ports) = bus();
    assert_eq!(peek(&mut bus, 0, 4), 0x5678_1234);
    for at in [0x10, 0x14, 0x20, 0x24] {
        poke(&mut bus, at, 4, 0xffff_ffff);
    }
    assert_eq!(peek(&mut bus, 0x10, 4), 0xffff_ffe1);
    assert_eq!(peek(&mut bus, 0x14, 4), 0xffff_f000);
    assert_eq!(peek(&mut bus, 0x20, 4), 0xffff_c004);
    assert_eq!(peek(&mut bus, 0x24, 4), 0xffff_ffff);
    poke(&mut bus, 4, 2, 3);
    assert!(
        look(&memory).ranges().is_empty(),
        "a window being sized is not mapped"
    );
    poke(&mut bus, 0x14, 4, 0xfebf_0123);
    poke(&mut bus, 0x10, 4, 0xc001);
    assert!(look(&ports).find(0xc01f).is_some());
    let found = look(&memory).find(0xfebf_0ff0).expect("mapped");
    let Backing::Device {
        device,
        region,
        offset,
    } = found.backing
    else {
        panic!("a device answers");
    };
    assert_eq!((device, bus.read(region, offset, 4)), (7, 0x40 + 1 + 0xff0));
    poke(&mut bus, 4, 2, 0);
    assert!(look(&memory).find(0xfebf_0ff0).is_none());
}

#[test]
fn absent_functions_read_ones_and_swallow_writes() {
    let (mut bus, ..) = bus();
    bus.write(0, 0, 4, 0x8000_2000);
    assert_eq!(bus.read(0, 4, 4), 0xffff_ffff);
    bus.write(0, 4, 4, 1);
    bus.write(0, 0, 4, 0x8001_1800);
    assert_eq!(bus.read(0, 4, 2), 0xffff);
    assert_eq!(bus.read(0x100 + 999_999, 0, 8), u64::MAX);
}

#[test]
fn saved_state_brings_windows_back() {
    let (mut bus, ..) = self::bus();
    poke(&mut bus, 0x14, 4, 0xfebf_0000);
    poke(&mut bus, 4, 2, 2);
    let saved = bus.save();
    let (mut other, memory, _) = self::bus();
    other.restore(&saved).expect("the same bus");
    assert!(look(&memory).find(0xfebf_0000).is_some());
    assert_eq!(other.save(), saved);
    other.reset();
    assert!(look(&memory).find(0xfebf_0000).is_none());
    assert!(other.restore(&Value::Null).is_err());
}
