//! ICH9's LPC bridge (Intel ICH9 data sheet): power management, TCO watchdog, interrupt routing, chipset registers.

use hw_core::bits::{low8, low32, ones};
use hw_core::device::{restore_record, save_record};
use hw_core::memory::{Backing, MappingId, change};
use hw_core::pci::{Config, Function, Identity, Place};
use hw_core::{Clock, Control, HostEvent, Line, Request, StateError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::i440fx::SUBSYSTEM;
use crate::piix::{ACPI_OFF, ACPI_ON};
use crate::pirq::PirqRouter;
use crate::pm::{self, Pm, SleepTypes};
use crate::tco::Tco;

const PM_BASE: usize = 0x40;
const ACPI_CONTROL: usize = 0x44;
const RCBA: usize = 0xf0;
const RCBA_SIZE: u64 = 0x4000;
/// General control and status in the chipset registers: bit 5 keeps the watchdog from resetting.
const GCS: u64 = 0x3410;
const RESET_WINDOW: u8 = 8;
const PM_WINDOW: u8 = 9;
const RCBA_WINDOW: u8 = 10;
const APM_WINDOW: u8 = 11;
const GPE: std::ops::Range<u64> = 0x20..0x30;
const SMI_ENABLE: u64 = 0x30;
const TCO: std::ops::Range<u64> = 0x60..0x80;

/// What the board decides.
pub struct Ich9Wiring {
    /// Guest time.
    pub clock: Clock,
    /// Interrupt 9.
    pub sci: Line,
    /// Reset and power.
    pub control: Control,
    /// Routes PCI interrupts.
    pub router: PirqRouter,
    /// The watchdog may not reset.
    pub no_reboot: bool,
}

/// The bridge, function 00:1f.0.
pub struct Ich9Lpc {
    config: Config,
    place: Place,
    wiring: Control,
    router: PirqRouter,
    pm: Pm,
    pm_map: MappingId,
    rcba_map: MappingId,
    tco: Tco,
    registers: Registers,
    no_reboot: bool,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Registers {
    reset_control: u8,
    apm: [u8; 2],
    smi_enable: u32,
    gcs: u32,
    /// Interrupt pins and routes of the chipset's own functions.
    routes: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    pm: pm::Registers,
    tco: Tco,
    registers: Registers,
}

impl Ich9Lpc {
    /// The bridge at `place`.
    pub fn new(place: Place, wiring: Ich9Wiring) -> Self {
        let mut config = Config::new(&Identity {
            vendor: 0x8086,
            device: 0x2918,
            revision: 2,
            class: 0x06_0100,
            subsystem: SUBSYSTEM,
            pin: 0,
            multifunction: true,
        });
        config.put(0x04, 2, 7);
        config.put(0x06, 2, 0x0200);
        config.put(PM_BASE, 4, 1);
        config.allow(PM_BASE, 4, 0xff80);
        config.allow(ACPI_CONTROL, 1, 0x87);
        for at in [0x60, 0x68] {
            config.put(at, 4, 0x8080_8080);
            config.allow(at, 4, 0x8f8f_8f8f);
        }
        config.allow(0xa0, 4, ones(4));
        config.allow(RCBA, 4, 0xffff_c001);
        let mut ports = change(&place.ports);
        ports.map(0xcf9, 1, 1, place.backing(RESET_WINDOW));
        ports.map(0xb2, 2, 0, place.backing(APM_WINDOW));
        let pm_map = ports.map(0, 128, 0, Backing::Off);
        drop(ports);
        let rcba_map = change(&place.memory).map(0, RCBA_SIZE, 1, Backing::Off);
        let types = SleepTypes {
            off: 0,
            suspend: Some(1),
            hibernate: Some(2),
        };
        let clock = wiring.clock;
        Self {
            config,
            place,
            wiring: wiring.control.clone(),
            router: wiring.router,
            pm: Pm::new(clock.clone(), wiring.sci, wiring.control.clone(), types),
            pm_map,
            rcba_map,
            tco: Tco::new(clock),
            registers: Registers::new(wiring.no_reboot),
            no_reboot: wiring.no_reboot,
        }
    }

    fn follow(&mut self) {
        for n in 0..8 {
            let at = if n < 4 { 0x60 + n } else { 0x68 + n - 4 };
            self.router.set_register(n, low8(self.config.read(at, 1)));
        }
        let base = self.config.read(PM_BASE, 4) & 0xff80;
        let on = self.config.read(ACPI_CONTROL, 1) & 0x80 != 0 && base != 0;
        let mut ports = change(&self.place.ports);
        ports.set_backing(self.pm_map, Backing::Off);
        if on {
            ports.move_to(self.pm_map, base);
            ports.set_backing(self.pm_map, self.place.backing(PM_WINDOW));
        }
        drop(ports);
        let window = self.config.read(RCBA, 4);
        let mut memory = change(&self.place.memory);
        memory.set_backing(self.rcba_map, Backing::Off);
        if window & 1 != 0 {
            memory.move_to(self.rcba_map, window & 0xffff_c000);
            memory.set_backing(self.rcba_map, self.place.backing(RCBA_WINDOW));
        }
    }

    fn pm_read(&mut self, offset: u64, bytes: usize) -> u64 {
        if GPE.contains(&offset) {
            self.pm.gpe_read(offset - GPE.start, bytes, 16)
        } else if TCO.contains(&offset) {
            self.tco.read(offset - TCO.start, bytes)
        } else if offset == SMI_ENABLE {
            u64::from(self.registers.smi_enable)
        } else if offset < 12 {
            self.pm.read(offset, bytes)
        } else {
            0
        }
    }

    fn pm_write(&mut self, offset: u64, bytes: usize, value: u64) {
        if GPE.contains(&offset) {
            self.pm.gpe_write(offset - GPE.start, bytes, 16, value);
        } else if TCO.contains(&offset) {
            self.tco.write(offset - TCO.start, bytes, value);
        } else if offset == SMI_ENABLE {
            // GAP: no system management mode: bit 5 stays set, which tells the firmware that it is set up already.
            self.registers.smi_enable = low32(value) | 0x20;
        } else if offset < 12 {
            self.pm.write(offset, bytes, value);
        }
    }

    fn chipset_read(&self, offset: u64, bytes: usize) -> u64 {
        if offset == GCS {
            return u64::from(self.registers.gcs);
        }
        let at = offset.checked_sub(0x3100);
        match at.and_then(|at| usize::try_from(at).ok()) {
            Some(at) if at < self.registers.routes.len() => {
                hw_core::bits::read_le(&self.registers.routes, at, bytes)
            }
            _ => 0,
        }
    }

    fn chipset_write(&mut self, offset: u64, bytes: usize, value: u64) {
        if offset == GCS {
            self.registers.gcs = low32(value) & 0x20 | self.registers.gcs & !0x20;
            return;
        }
        let Some(at) = offset.checked_sub(0x3100) else {
            return;
        };
        for n in 0..bytes.min(8) {
            let at = usize::try_from(at).unwrap_or(usize::MAX).saturating_add(n);
            if let Some(slot) = self.registers.routes.get_mut(at) {
                *slot = low8(value >> (n * 8));
            }
        }
    }
}

impl Registers {
    fn new(no_reboot: bool) -> Self {
        Self {
            smi_enable: 0x20,
            gcs: if no_reboot { 0x20 } else { 0 },
            // D31IP and the others up to D25IR, all from the first pin to the first four wires in turn.
            routes: vec![0; 0x60],
            ..Self::default()
        }
    }
}

impl Function for Ich9Lpc {
    fn name(&self) -> &'static str {
        "ICH9-LPC"
    }

    fn config(&self) -> &Config {
        &self.config
    }

    fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }

    fn config_written(&mut self, _offset: usize, _bytes: usize) {
        self.follow();
    }

    fn window_widest(&self, bar: u8) -> usize {
        match bar {
            RESET_WINDOW | APM_WINDOW => 1,
            _ => 4,
        }
    }

    fn window_read(&mut self, bar: u8, offset: u64, bytes: usize) -> u64 {
        match bar {
            RESET_WINDOW => u64::from(self.registers.reset_control),
            PM_WINDOW => self.pm_read(offset, bytes),
            RCBA_WINDOW => self.chipset_read(offset, bytes),
            APM_WINDOW => u64::from(self.registers.apm[usize::from(offset & 1 == 1)]),
            _ => ones(bytes),
        }
    }

    fn window_write(&mut self, bar: u8, offset: u64, bytes: usize, value: u64) {
        match bar {
            RESET_WINDOW if value & 4 != 0 => self.wiring.ask(Request::Reset),
            RESET_WINDOW => self.registers.reset_control = low8(value) & 0xa,
            PM_WINDOW => self.pm_write(offset, bytes, value),
            RCBA_WINDOW => self.chipset_write(offset, bytes, value),
            APM_WINDOW => {
                let value = low8(value);
                self.registers.apm[usize::from(offset & 1 == 1)] = value;
                if offset & 1 == 0 && matches!(value, ACPI_ON | ACPI_OFF) {
                    self.pm.set_acpi(value == ACPI_ON);
                }
            }
            _ => {}
        }
    }

    fn host_event(&mut self, event: HostEvent) {
        match event {
            HostEvent::PowerButton => self.pm.power_button(),
            HostEvent::ClockSignal => self.pm.clock_signal(),
            HostEvent::Key(_, true) => self.pm.key(),
            HostEvent::Wake => self.pm.wake(),
            _ => {}
        }
    }

    fn reset(&mut self) {
        self.registers = Registers::new(self.no_reboot);
        self.tco.reset();
        self.pm.reset();
        self.follow();
    }

    fn save(&self) -> Value {
        save_record(&Saved {
            pm: self.pm.save(),
            tco: self.tco.clone(),
            registers: self.registers.clone(),
        })
    }

    fn restore(&mut self, state: &Value) -> Result<(), StateError> {
        let saved: Saved = restore_record(state)?;
        if saved.registers.routes.len() != self.registers.routes.len() {
            return Err(StateError("chipset registers of a wrong size".to_owned()));
        }
        self.pm.restore(saved.pm);
        self.tco.restore(saved.tco);
        self.registers = saved.registers;
        self.follow();
        Ok(())
    }

    fn deadline(&self) -> Option<u64> {
        let tco = self.tco.deadline();
        self.pm.deadline().into_iter().chain(tco).min()
    }

    fn tick(&mut self, now: u64) {
        self.pm.tick();
        if self.tco.tick(now) && self.registers.gcs & 0x20 == 0 {
            self.wiring.ask(Request::Watchdog);
        }
    }
}
