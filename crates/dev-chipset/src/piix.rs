//! South bridge of the i440FX: PIIX3's ISA bridge and PIIX4's power management (Intel 82371SB and 82371AB data sheets).

use hw_core::bits::{low8, low16, ones};
use hw_core::device::{restore_record, save_record};
use hw_core::memory::{Backing, MappingId, change};
use hw_core::pci::{Config, Function, Identity, Place};
use hw_core::{Clock, Control, HostEvent, Line, Request, StateError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::i440fx::SUBSYSTEM;
use crate::pirq::PirqRouter;
use crate::pm::{self, Pm, SleepTypes};
use crate::smbus::SmBus;

const PIRQ: usize = 0x60;
const RESET: u8 = 8;
const PM_BASE: usize = 0x40;
const PM_ON: usize = 0x80;
const APMC_ENABLE: usize = 0x58;
const SMBUS_BASE: usize = 0x90;
const SMBUS_ON: usize = 0xd2;
const PM_WINDOW: u8 = 8;
const SMBUS_WINDOW: u8 = 9;
const GPE_WINDOW: u8 = 10;
const APM_WINDOW: u8 = 11;
/// Where general purpose events are.
pub const GPE_BASE: u16 = 0xafe0;
const GPE_SIZE: u64 = 4;
/// What the guest writes to port 0xb2 to have ACPI on or off.
pub const ACPI_ON: u8 = 0xf1;
/// See [`ACPI_ON`].
pub const ACPI_OFF: u8 = 0xf0;

/// PIIX3's ISA bridge, function 00:01.0.
pub struct Piix3 {
    config: Config,
    router: PirqRouter,
    control: Control,
    reset_control: u8,
}

impl Piix3 {
    /// The bridge at `place`.
    pub fn new(place: &Place, router: PirqRouter, control: Control) -> Self {
        let mut config = Config::new(&Identity {
            vendor: 0x8086,
            device: 0x7000,
            revision: 0,
            class: 0x06_0100,
            subsystem: SUBSYSTEM,
            pin: 0,
            multifunction: true,
        });
        for (at, value) in [
            (0x04, 7),
            (0x07, 2),
            (0x4c, 0x4d),
            (0x4e, 3),
            (0x60, 0x80),
            (0x61, 0x80),
            (0x62, 0x80),
            (0x63, 0x80),
            (0x69, 2),
            (0x70, 0x80),
            (0x76, 0x0c),
            (0x77, 0x0c),
            (0x78, 2),
            (0xa0, 8),
            (0xa8, 0x0f),
        ] {
            config.put(at, 1, value);
        }
        config.allow(PIRQ, 4, 0x8f8f_8f8f);
        config.allow(0x4c, 4, ones(4));
        config.allow(0x69, 1, 0xff);
        config.allow(0x76, 2, 0xffff);
        // Over the configuration ports around it.
        change(&place.ports).map(0xcf9, 1, 1, place.backing(RESET));
        Self {
            config,
            router,
            control,
            reset_control: 0,
        }
    }

    fn follow(&mut self) {
        for n in 0..4 {
            let register = low8(self.config.read(PIRQ + n, 1));
            self.router.set_register(n, register);
        }
    }
}

impl Function for Piix3 {
    fn name(&self) -> &'static str {
        "PIIX3"
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

    fn window_read(&mut self, _bar: u8, _offset: u64, _bytes: usize) -> u64 {
        u64::from(self.reset_control)
    }

    fn window_write(&mut self, _bar: u8, _offset: u64, _bytes: usize, value: u64) {
        if value & 4 != 0 {
            self.control.ask(Request::Reset);
        } else {
            self.reset_control = low8(value) & 2;
        }
    }

    fn window_widest(&self, _bar: u8) -> usize {
        1
    }

    fn reset(&mut self) {
        self.reset_control = 0;
        self.follow();
    }

    fn save(&self) -> Value {
        save_record(&self.reset_control)
    }

    fn restore(&mut self, state: &Value) -> Result<(), StateError> {
        let value: u8 = restore_record(state)?;
        self.reset_control = value & 2;
        self.follow();
        Ok(())
    }
}

/// What the board decides about PIIX4.
pub struct Piix4Wiring {
    /// Guest time.
    pub clock: Clock,
    /// Interrupt 9.
    pub sci: Line,
    /// Reset and power.
    pub control: Control,
    /// Suspend to RAM is offered.
    pub suspend: bool,
    /// Suspend to disk is offered.
    pub hibernate: bool,
}

/// PIIX4's power management, function 00:01.3.
pub struct Piix4Pm {
    config: Config,
    place: Place,
    pm: Pm,
    pm_map: MappingId,
    smbus: SmBus,
    smbus_map: MappingId,
    apm: [u8; 2],
}

#[derive(Serialize, Deserialize)]
struct Saved {
    pm: pm::Registers,
    apm: [u8; 2],
    smbus: SmBus,
}

impl Piix4Pm {
    /// The function at `place`. Windows are where the firmware puts them, events and the APM ports fixed.
    pub fn new(place: Place, wiring: Piix4Wiring) -> Self {
        let mut config = Config::new(&Identity {
            vendor: 0x8086,
            device: 0x7113,
            revision: 3,
            class: 0x06_8000,
            subsystem: SUBSYSTEM,
            pin: 1,
            multifunction: false,
        });
        config.put(0x06, 2, 0x0280);
        config.put(0x3c, 1, 9);
        config.put(PM_BASE, 4, 1);
        config.put(SMBUS_BASE, 4, 1);
        config.allow(PM_BASE, 4, 0xffc0);
        config.allow(PM_ON, 1, 1);
        // GAP: no system management mode: the firmware is told that it is set up already (bit 25).
        config.put(APMC_ENABLE, 4, 1 << 25);
        config.allow(APMC_ENABLE, 4, 0);
        config.allow(0x5c, 16, ones(8));
        config.allow(SMBUS_BASE, 4, 0xfff0);
        config.allow(SMBUS_ON, 1, 0x0f);
        let mut ports = change(&place.ports);
        let pm_map = ports.map(0, 64, 0, Backing::Off);
        let smbus_map = ports.map(0, 16, 0, Backing::Off);
        ports.map(u64::from(GPE_BASE), GPE_SIZE, 0, place.backing(GPE_WINDOW));
        ports.map(0xb2, 2, 0, place.backing(APM_WINDOW));
        drop(ports);
        let types = SleepTypes {
            off: 0,
            suspend: wiring.suspend.then_some(1),
            hibernate: wiring.hibernate.then_some(2),
        };
        Self {
            config,
            place,
            pm: Pm::new(wiring.clock, wiring.sci, wiring.control, types),
            pm_map,
            smbus: SmBus::default(),
            smbus_map,
            apm: [0; 2],
        }
    }

    fn follow(&mut self) {
        let windows = [
            (self.pm_map, PM_BASE, PM_ON, 0xffc0, PM_WINDOW),
            (self.smbus_map, SMBUS_BASE, SMBUS_ON, 0xfff0, SMBUS_WINDOW),
        ];
        let mut ports = change(&self.place.ports);
        for (map, base, on, mask, window) in windows {
            let at = self.config.read(base, 4) & mask;
            ports.set_backing(map, Backing::Off);
            if self.config.read(on, 1) & 1 != 0 && at != 0 {
                ports.move_to(map, at);
                ports.set_backing(map, self.place.backing(window));
            }
        }
    }

    fn apm_write(&mut self, offset: u64, value: u8) {
        self.apm[usize::from(offset & 1 == 1)] = value;
        if offset & 1 == 0 && matches!(value, ACPI_ON | ACPI_OFF) {
            self.pm.set_acpi(value == ACPI_ON);
        }
    }
}

impl Function for Piix4Pm {
    fn name(&self) -> &'static str {
        "PIIX4_PM"
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
        if bar == PM_WINDOW || bar == GPE_WINDOW {
            4
        } else {
            1
        }
    }

    fn window_read(&mut self, bar: u8, offset: u64, bytes: usize) -> u64 {
        match bar {
            PM_WINDOW => self.pm.read(offset, bytes),
            SMBUS_WINDOW => u64::from(self.smbus.read(offset)),
            GPE_WINDOW => self.pm.gpe_read(offset, bytes, GPE_SIZE),
            APM_WINDOW => u64::from(self.apm[usize::from(offset & 1 == 1)]),
            _ => ones(bytes),
        }
    }

    fn window_write(&mut self, bar: u8, offset: u64, bytes: usize, value: u64) {
        match bar {
            PM_WINDOW => self.pm.write(offset, bytes, value),
            SMBUS_WINDOW => self.smbus.write(offset, low8(value)),
            GPE_WINDOW => self
                .pm
                .gpe_write(offset, bytes, GPE_SIZE, u64::from(low16(value))),
            APM_WINDOW => self.apm_write(offset, low8(value)),
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
        self.apm = [0; 2];
        self.smbus = SmBus::default();
        self.pm.reset();
        self.follow();
    }

    fn save(&self) -> Value {
        save_record(&Saved {
            pm: self.pm.save(),
            apm: self.apm,
            smbus: self.smbus.clone(),
        })
    }

    fn restore(&mut self, state: &Value) -> Result<(), StateError> {
        let saved: Saved = restore_record(state)?;
        self.pm.restore(saved.pm);
        self.apm = saved.apm;
        self.smbus = saved.smbus.checked()?;
        self.follow();
        Ok(())
    }

    fn deadline(&self) -> Option<u64> {
        self.pm.deadline()
    }

    fn tick(&mut self, _now: u64) {
        self.pm.tick();
    }
}
