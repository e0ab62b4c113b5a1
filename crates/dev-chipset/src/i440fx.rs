//! Host bridge of the i440FX (Intel 82441FX data sheet): PAM and SMRAM.

use hw_core::bits::low8;
use hw_core::device::{HostEvent, StateError, restore_record, save_record};
use hw_core::pci::{Config, Function, Identity};
use serde_json::Value;

use crate::pam::{Pam, Shadow};

const PAM: usize = 0x59;
const SMRAM: usize = 0x72;
const SMRAM_OPEN: u64 = 0x40;
const SMRAM_LOCK: u64 = 0x10;

/// Subsystem ids of devices that have none of their own.
pub(crate) const SUBSYSTEM: (u16, u16) = (0x1af4, 0x1100);

/// The bridge, function 00:00.0.
pub struct I440Fx {
    config: Config,
    pam: Pam,
    /// The stretches as the firmware set them: power stays on behind these registers while the machine sleeps.
    shadow: u64,
}

impl I440Fx {
    /// A bridge over these stretches of memory.
    pub fn new(pam: Pam) -> Self {
        let mut config = Config::new(&Identity {
            vendor: 0x8086,
            device: 0x1237,
            revision: 2,
            class: 0x06_0000,
            subsystem: SUBSYSTEM,
            pin: 0,
            multifunction: false,
        });
        config.put(SMRAM, 1, 2);
        config.allow(PAM, 7, 0x0033_3333_3333_3330);
        config.allow(SMRAM, 1, 0x58);
        Self {
            config,
            pam,
            shadow: 0,
        }
    }

    fn follow(&mut self) {
        let registers = std::array::from_fn(|n| low8(self.config.read(PAM + n, 1)));
        let open = self.config.read(SMRAM, 1) & SMRAM_OPEN != 0;
        self.pam.follow(registers, open);
    }
}

impl Function for I440Fx {
    fn name(&self) -> &'static str {
        "i440FX"
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
