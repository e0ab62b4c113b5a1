//! Keyboard controller 8042 with PS/2 keyboard and mouse (IBM PS/2 technical reference).
//!
//! Regions: 0 port 0x60, 1 port 0x64. Device bytes wait in the devices' queues; the controller's output buffer holds
//! one byte, and which device it came from.

mod keyboard;
mod mouse;
mod set2;
#[cfg(test)]
mod tests;

use hw_core::bits::low8;
use hw_core::device::{Device, HostEvent, StateError, restore_record, save_record};
use hw_core::{Control, Line, Request};
use keyboard::Keyboard;
use mouse::Mouse;
use serde::{Deserialize, Serialize};
use serde_json::Value;

const STATUS_FULL: u8 = 1;
const STATUS_SYSTEM: u8 = 4;
const STATUS_COMMAND: u8 = 8;
const STATUS_UNLOCKED: u8 = 0x10;
const STATUS_MOUSE: u8 = 0x20;
const MODE_KEYBOARD_IRQ: u8 = 1;
const MODE_MOUSE_IRQ: u8 = 2;
const MODE_SYSTEM: u8 = 4;
const MODE_KEYBOARD_OFF: u8 = 0x10;
const MODE_MOUSE_OFF: u8 = 0x20;
const MODE_TRANSLATE: u8 = 0x40;
const OUT_RESET: u8 = 1;
const OUT_A20: u8 = 2;

/// Where a byte in the output buffer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Source {
    Controller,
    Keyboard,
    Mouse,
}

/// All registers.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Registers {
    mode: u8,
    out_port: u8,
    /// A command that waits for its byte at port 0x60.
    command: Option<u8>,
    /// The last write went to the command port.
    last_command: bool,
    buffer: Option<(u8, Source)>,
    keyboard: Keyboard,
    mouse: Mouse,
}

impl Registers {
    fn new() -> Self {
        Self {
            mode: MODE_KEYBOARD_IRQ | MODE_MOUSE_IRQ,
            out_port: OUT_RESET | OUT_A20 | 0xcc,
            command: None,
            last_command: false,
            buffer: None,
            keyboard: Keyboard::default(),
            mouse: Mouse::default(),
        }
    }
}

/// What the controller drives.
pub struct Wires {
    /// Interrupt of the keyboard.
    pub keyboard: Line,
    /// Interrupt of the mouse.
    pub mouse: Line,
    /// Address bit 20.
    pub a20: Line,
}

/// The controller.
pub struct I8042 {
    registers: Registers,
    wires: Wires,
    control: Control,
}

impl I8042 {
    /// A controller with both devices plugged in.
    pub fn new(wires: Wires, control: Control) -> Self {
        let mut new = Self {
            registers: Registers::new(),
            wires,
            control,
        };
        new.settle();
        new
    }

    /// Fills the output buffer and drives the lines.
    fn settle(&mut self) {
        let registers = &mut self.registers;
        if registers.buffer.is_none() {
            let translate = registers.mode & MODE_TRANSLATE != 0;
            let keyboard = (registers.mode & MODE_KEYBOARD_OFF == 0)
                .then(|| registers.keyboard.next(translate))
                .flatten();
            registers.buffer = keyboard.map(|byte| (byte, Source::Keyboard)).or_else(|| {
                let on = registers.mode & MODE_MOUSE_OFF == 0;
                let byte = on.then(|| registers.mouse.next()).flatten()?;
                Some((byte, Source::Mouse))
            });
        }
        let (keyboard, mouse) = match registers.buffer {
            None => (false, false),
            Some((_, Source::Mouse)) => (false, registers.mode & MODE_MOUSE_IRQ != 0),
            Some(_) => (registers.mode & MODE_KEYBOARD_IRQ != 0, false),
        };
        self.wires.keyboard.set(keyboard);
        self.wires.mouse.set(mouse);
        self.wires.a20.set(registers.out_port & OUT_A20 != 0);
    }

    fn status(&self) -> u8 {
        let registers = &self.registers;
        let buffer = match registers.buffer {
            None => 0,
            Some((_, Source::Mouse)) => STATUS_FULL | STATUS_MOUSE,
            Some(_) => STATUS_FULL,
        };
        let system = registers.mode & MODE_SYSTEM;
        let command = if registers.last_command {
            STATUS_COMMAND
        } else {
            0
        };
        buffer | system & STATUS_SYSTEM | command | STATUS_UNLOCKED
    }

    fn answer(&mut self, byte: u8) {
        self.registers.buffer = Some((byte, Source::Controller));
    }

    fn set_out_port(&mut self, value: u8) {
        self.registers.out_port = value;
        if value & OUT_RESET == 0 {
            self.control.ask(Request::Reset);
        }
    }

    fn command(&mut self, command: u8) {
        match command {
            0x20 => self.answer(self.registers.mode),
            0x60 | 0xd1..=0xd4 => self.registers.command = Some(command),
            0xa7 => self.registers.mode |= MODE_MOUSE_OFF,
            0xa8 => self.registers.mode &= !MODE_MOUSE_OFF,
            0xa9 | 0xab => self.answer(0),
            0xaa => {
                self.registers.mode |= MODE_SYSTEM;
                self.answer(0x55);
            }
            0xad => self.registers.mode |= MODE_KEYBOARD_OFF,
            0xae => self.registers.mode &= !MODE_KEYBOARD_OFF,
            0xc0 => self.answer(0x80),
            0xd0 => self.answer(self.registers.out_port),
            0xdd => self.set_out_port(self.registers.out_port & !OUT_A20),
            0xdf => self.set_out_port(self.registers.out_port | OUT_A20),
            // Pulses the low lines that are zero; the lowest is the processor's reset.
            0xf0..=0xff if command & 1 == 0 => self.control.ask(Request::Reset),
            _ => {}
        }
    }

    fn data(&mut self, value: u8) {
        match self.registers.command.take() {
            Some(0x60) => self.registers.mode = value,
            Some(0xd1) => self.set_out_port(value),
            Some(0xd2) => self.registers.buffer = Some((value, Source::Keyboard)),
            Some(0xd3) => self.registers.buffer = Some((value, Source::Mouse)),
            Some(0xd4) => {
                self.registers.mode &= !MODE_MOUSE_OFF;
                self.registers.mouse.write(value);
            }
            _ => {
                self.registers.mode &= !MODE_KEYBOARD_OFF;
                self.registers.keyboard.write(value);
            }
        }
    }
}

impl Device for I8042 {
    fn name(&self) -> &'static str {
        "i8042"
    }

    fn widest(&self, _region: u32) -> usize {
        1
    }

    fn read(&mut self, region: u32, _offset: u64, _bytes: usize) -> u64 {
        if region == 1 {
            return u64::from(self.status());
        }
        let byte = match self.registers.buffer.take() {
            Some((byte, _)) => {
                // Down before the next byte goes up: one edge a byte.
                self.wires.keyboard.set(false);
                self.wires.mouse.set(false);
                byte
            }
            None => self.registers.keyboard.last(),
        };
        self.settle();
        u64::from(byte)
    }

    fn write(&mut self, region: u32, _offset: u64, _bytes: usize, value: u64) {
        self.registers.last_command = region == 1;
        if region == 1 {
            self.command(low8(value));
        } else {
            self.data(low8(value));
        }
        self.settle();
    }

    fn reset(&mut self) {
        self.registers = Registers::new();
        self.settle();
    }

    fn save(&self) -> Value {
        save_record(&self.registers)
    }

    fn restore(&mut self, state: &Value) -> Result<(), StateError> {
        let registers: Registers = restore_record(state)?;
        if !registers.keyboard.fits() || !registers.mouse.fits() {
            return Err(StateError("a queue longer than it can be".to_owned()));
        }
        self.registers = registers;
        self.settle();
        Ok(())
    }

    fn host_event(&mut self, event: HostEvent) {
        match event {
            HostEvent::Key(key, down) => self.registers.keyboard.key(key, down),
            HostEvent::MouseMove(x, y, wheel) => self.registers.mouse.moved(x, y, wheel),
            HostEvent::MouseButtons(held) => self.registers.mouse.buttons(held),
            HostEvent::PowerButton | HostEvent::ClockSignal | HostEvent::Wake => return,
        }
        self.settle();
    }
}
