//! Whatever a guest may do: bytes read as accesses to the registers of a board's devices, in any order, of any size, with time
//! and resets between them.

use hw_core::HostEvent;
use hw_core::memory::{Backing, look};

use super::rig::{RAM, Rig};

/// Bytes of one action.
const ACTION: usize = 16;
/// Actions of one script; more are not looked at.
const MOST_ACTIONS: usize = 4096;
const SIZES: [usize; 4] = [1, 2, 4, 8];

/// A script: 16 bytes an action, `{ kind u8, size u8, range u16, offset u32, value u64 }`.
pub struct Script<'a>(&'a [u8]);

/// One action, read.
struct Action {
    kind: u8,
    bytes: usize,
    range: usize,
    offset: u64,
    value: u64,
}

impl Action {
    fn read(raw: &[u8; ACTION]) -> Self {
        let whole = u128::from_le_bytes(*raw);
        let word = |shift: u32| u64::try_from(whole >> shift & u128::from(u64::MAX)).unwrap_or(0);
        let head = word(0).to_le_bytes();
        Self {
            kind: head[0],
            bytes: SIZES[usize::from(head[1] % 4)],
            range: usize::from(u16::from_le_bytes([head[2], head[3]])),
            offset: word(0) >> 32,
            value: word(64),
        }
    }
}

impl<'a> Script<'a> {
    /// The script that these bytes are.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Runs it.
    ///
    /// # Panics
    /// When a device does; or when one holds more than it may.
    pub fn run(&self, rig: &mut Rig) {
        for raw in self.0.as_chunks().0.iter().take(MOST_ACTIONS) {
            act(rig, &Action::read(raw));
            rig.after();
        }
    }
}

fn act(rig: &mut Rig, action: &Action) {
    match action.kind % 16 {
        0..=3 => access(rig, action, true, true),
        4..=6 => access(rig, action, false, true),
        7 => access(rig, action, true, false),
        8 => access(rig, action, false, false),
        9 => {
            let functions: Vec<u8> = rig.core.pci.functions().map(|(devfn, ..)| devfn).collect();
            if let Some(devfn) = functions.get(action.range % functions.len().max(1)) {
                let offset = usize::try_from(action.offset % 0x120).unwrap_or(0);
                let bytes = action.bytes.min(4);
                rig.core
                    .pci
                    .config_write(0, *devfn, offset, bytes, action.value);
            }
        }
        // Rings, tables and buffers: a guest writes what devices read.
        10 | 11 => {
            let at = action.offset % (RAM - 8);
            rig.core.memory_write(0, at, action.bytes, action.value);
        }
        12 => {
            rig.core.clock.advance(action.value >> (action.offset % 64));
            rig.core.tick();
        }
        13 => rig.core.host_event(event(action)),
        14 => rig.core.each(|device| {
            device.receive(&action.value.to_le_bytes());
        }),
        _ => match action.range % 8 {
            0 => rig.reset(),
            1 => {
                let states = rig.save();
                rig.restore(&states).expect("its own state");
            }
            _ => {}
        },
    }
}

fn event(action: &Action) -> HostEvent {
    let [low, high, ..] = action.value.to_le_bytes();
    match action.offset % 6 {
        0 => HostEvent::PowerButton,
        1 => HostEvent::Wake,
        2 => HostEvent::Key(low, high & 1 != 0),
        3 => HostEvent::ClockSignal,
        4 => HostEvent::MouseMove(i32::from(low) - 128, i32::from(high) - 128, 0),
        _ => HostEvent::MouseButtons(low),
    }
}

/// One access to the registers of a device: a range of the address space is picked by number, so that all are met alike.
fn access(rig: &mut Rig, action: &Action, write: bool, mostly_inside: bool) {
    let memory = action.kind & 0x10 != 0;
    let space = if memory {
        &rig.core.memory
    } else {
        &rig.core.ports
    };
    let ranges: Vec<(u64, u64)> = look(space)
        .ranges()
        .iter()
        .filter(|range| !matches!(range.backing, Backing::Ram { .. }))
        .map(|range| (range.start, range.last))
        .collect();
    let Some((start, last)) = ranges.get(action.range % ranges.len().max(1)).copied() else {
        return;
    };
    let size = (last - start).saturating_add(1);
    let at = match mostly_inside {
        true => start + action.offset % size.min(0x4000),
        false => start.wrapping_add(action.offset),
    };
    let core = &mut rig.core;
    match (memory, write) {
        (true, true) => core.memory_write(
            usize::from(action.kind & 0x20 != 0),
            at,
            action.bytes,
            action.value,
        ),
        (true, false) => {
            core.memory_read(usize::from(action.kind & 0x20 != 0), at, action.bytes);
        }
        (false, write) => {
            let port = u16::try_from(at & 0xffff).unwrap_or(0);
            let bytes = action.bytes.min(4);
            if write {
                core.port_write(port, bytes, hw_core::bits::low32(action.value));
            } else {
                core.port_read(port, bytes);
            }
        }
    }
}

/// A script of so many actions, the same for the same number.
pub fn seed(number: u64, actions: usize) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(actions * ACTION);
    while bytes.len() < actions * ACTION {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes
}
