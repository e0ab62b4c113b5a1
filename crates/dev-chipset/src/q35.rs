//! Host bridge of Q35 (Intel 3 Series MCH data sheet): PAM, SMRAM and the window of extended configuration space.

use hw_core::bits::low8;
use hw_core::device::{HostEvent, StateError, restore_record, save_record};
use hw_core::memory::{Backing, MappingId, change};
use hw_core::pci::{self, Config, Function, Identity, Place};
use serde_json::Value;

use crate::i440fx::SUBSYSTEM;
use crate::pam::{Pam, Shadow};

const PCIEXBAR: usize = 0x60;
const PAM: usize = 0x90;
const SMRAM: usize = 0x9d;
const SMRAM_OPEN: u64 = 0x40;
const SMRAM_LOCK: u64 = 0x10;
/// What the firmware writes to ask for the size of the extended TSEG, and the answer in MiB.
const TSEG: usize = 0x50;
const ECAM_SIZE: u64 = 256 << 20;

/// The bridge, function 00:00.0.
pub struct Mch {
    config: Config,
    place: Place,
    pam: Pam,
    /// The stretches as the firmware set them: power stays on behind these registers while the machine sleeps.
    shadow: u64,
    ecam: MappingId,
}

impl Mch {
    /// A bridge at `place` over these stretches of memory.
    pub fn new(place: Place, pam: Pam) -> Self {
        let mut config = Config::new(&Identity {
            vendor: 0x8086,
            device: 0x29c0,
            revision: 0,
            class: 0x06_0000,
            subsystem: SUBSYSTEM,
            pin: 0,
            multifunction: false,
        });
        config.put(PCIEXBAR, 8, 0xb000_0000);
        config.put(SMRAM, 1, 2);
        config.put(0x9e, 1, 0x38);
        config.allow(PCIEXBAR, 8, 0x0000_000f_f000_0007);
        config.allow(PAM, 7, 0x0033_3333_3333_3330);
        config.allow(SMRAM, 1, 0x58);
        config.allow(0x9e, 1, 0x87);
        config.allow(TSEG, 2, 0xffff);
        let ecam = change(&place.memory).map(0, ECAM_SIZE, 1, Backing::Off);
        Self {
            config,
            place,
            pam,
            ecam,
            shadow: 0,
        }
    }

    fn follow(&mut self) {
        let registers = std::array::from_fn(|n| low8(self.config.read(PAM + n, 1)));
        let open = self.config.read(SMRAM, 1) & SMRAM_OPEN != 0;
        self.pam.follow(registers, open);
        let window = self.config.read(PCIEXBAR, 8);
        let mut memory = change(&self.place.memory);
        memory.set_backing(self.ecam, Backing::Off);
        // GAP: the window is always of 256 MiB, as firmware sets it; the shorter ones map as much.
        if window & 1 != 0 {
            memory.move_to(self.ecam, window & 0x0000_000f_f000_0000);
            memory.set_backing(self.ecam, Backing::device(self.place.bus, pci::ECAM));
        }
    }
}

impl Function for Mch {
    fn name(&self) -> &'static str {
        "mch"
    }

    fn config(&self) -> &Config {
        &self.config
    }

    fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }

    fn config_written(&mut self, _offset: usize, _bytes: usize) {
        let smram = self.config.read(SMRAM, 1);
        if smram & SMRAM_LOCK != 0 {
            self.config.set(SMRAM, 1, smram & !SMRAM_OPEN);
            self.config.allow(SMRAM, 1, 0);
        }
        self.shadow = self.config.read(PAM, 7);
        if self.config.read(TSEG, 2) == 0xffff {
            self.config.set(TSEG, 2, 16);
        }
        self.follow();
    }

    fn host_event(&mut self, event: HostEvent) {
        if event == HostEvent::Wake {
            // The firmware goes on in the RAM that it has run in.
            self.config.set(PAM, 7, self.shadow);
            self.follow();
        }
    }

    fn reset(&mut self) {
        self.config.allow(SMRAM, 1, 0x58);
        self.follow();
    }

    fn save(&self) -> Value {
        save_record(&Shadow {
            shadow: self.shadow,
        })
    }

    fn restore(&mut self, state: &Value) -> Result<(), StateError> {
        let saved: Shadow = restore_record(state)?;
        self.shadow = saved.shadow;
        self.follow();
        Ok(())
    }
}
