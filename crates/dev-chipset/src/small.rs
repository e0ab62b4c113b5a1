//! Devices of one or two ports: fast A20, debug console, debug exit, panic notifier, power management control (APM).

use backend_core::chars::Sink;
use hw_core::bits::low8;
use hw_core::device::{Device, StateError, restore_record, save_record};
use hw_core::{Control, Line, Request};
use serde_json::Value;

/// Port 0x92: bit 0 resets, bit 1 lets address bit 20 through.
pub struct Port92 {
    value: u8,
    a20: Line,
    control: Control,
}

impl Port92 {
    /// With address bit 20 not forced.
    pub fn new(a20: Line, control: Control) -> Self {
        Self {
            value: 0,
            a20,
            control,
        }
    }
}

impl Device for Port92 {
    fn name(&self) -> &'static str {
        "port92"
    }

    fn widest(&self, _region: u32) -> usize {
        1
    }

    fn read(&mut self, _region: u32, _offset: u64, _bytes: usize) -> u64 {
        u64::from(self.value)
    }

    fn write(&mut self, _region: u32, _offset: u64, _bytes: usize, value: u64) {
        let rises = !self.value & low8(value) & 1 != 0;
        self.value = low8(value);
        self.a20.set(value & 2 != 0);
        if rises {
            self.control.ask(Request::Reset);
        }
    }

    fn reset(&mut self) {
        self.value = 0;
        self.a20.set(false);
    }

    fn save(&self) -> Value {
        save_record(&self.value)
    }

    fn restore(&mut self, state: &Value) -> Result<(), StateError> {
        self.value = restore_record(state)?;
        self.a20.set(self.value & 2 != 0);
        Ok(())
    }
}

/// The debug console (port 0xe9): bytes go to a backend, a read gives 0xe9.
pub struct DebugConsole {
    readback: u8,
    sink: Box<dyn Sink>,
}

impl DebugConsole {
    /// A console that answers reads with `readback`.
    pub fn new(readback: u8, sink: Box<dyn Sink>) -> Self {
        Self { readback, sink }
    }
}

impl Device for DebugConsole {
    fn name(&self) -> &'static str {
        "isa-debugcon"
    }

    fn widest(&self, _region: u32) -> usize {
        1
    }

    fn read(&mut self, _region: u32, _offset: u64, _bytes: usize) -> u64 {
        u64::from(self.readback)
    }

    fn write(&mut self, _region: u32, _offset: u64, _bytes: usize, value: u64) {
        self.sink.send(&[low8(value)]);
    }

    fn reset(&mut self) {}

    fn save(&self) -> Value {
        Value::Null
    }

    fn restore(&mut self, _state: &Value) -> Result<(), StateError> {
        Ok(())
    }
}

/// A test device: writing `v` ends the program with `v * 2 + 1`.
pub struct DebugExit {
    control: Control,
}

impl DebugExit {
    /// Ends what listens to `control`.
    pub fn new(control: Control) -> Self {
        Self { control }
    }
}

impl Device for DebugExit {
    fn name(&self) -> &'static str {
        "isa-debug-exit"
    }

    fn read(&mut self, _region: u32, _offset: u64, _bytes: usize) -> u64 {
        0
    }

    fn write(&mut self, _region: u32, _offset: u64, _bytes: usize, value: u64) {
        self.control
            .ask(Request::Exit(i32::from(low8(value << 1 | 1))));
    }

    fn reset(&mut self) {}

    fn save(&self) -> Value {
        Value::Null
    }

    fn restore(&mut self, _state: &Value) -> Result<(), StateError> {
        Ok(())
    }
}

/// The panic notifier: bit 0 the guest panicked, bit 1 it did and saves a dump, bit 2 it wants to be powered off.
pub struct PvPanic {
    events: u8,
    control: Control,
}

impl PvPanic {
    /// A notifier that offers the `events` of its mask.
    pub fn new(events: u8, control: Control) -> Self {
        Self {
            events: events & 7,
            control,
        }
    }
}

impl Device for PvPanic {
    fn name(&self) -> &'static str {
        "pvpanic"
    }

    fn widest(&self, _region: u32) -> usize {
        1
    }

    fn read(&mut self, _region: u32, _offset: u64, _bytes: usize) -> u64 {
        u64::from(self.events)
    }

    fn write(&mut self, _region: u32, _offset: u64, _bytes: usize, value: u64) {
        let asked = low8(value) & self.events;
        if asked & 1 != 0 {
            self.control.ask(Request::Panicked(false));
        } else if asked & 2 != 0 {
            self.control.ask(Request::Panicked(true));
        } else if asked & 4 != 0 {
            self.control.ask(Request::Shutdown);
        }
    }

    fn reset(&mut self) {}

    fn save(&self) -> Value {
        Value::Null
    }

    fn restore(&mut self, _state: &Value) -> Result<(), StateError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use backend_core::chars::Capture;
    use hw_core::Lines;

    #[test]
    fn small_ports_do_what_they_say() {
        let (lines, control, capture) = (Lines::new(1), Control::new(), Capture::default());
        let mut port = Port92::new(lines.line(0), control.clone());
        port.write(0, 0, 1, 2);
        assert!(lines.level(0) && control.take().is_none());
        port.write(0, 0, 1, 3);
        assert_eq!(control.take(), Some(Request::Reset));
        let mut console = DebugConsole::new(0xe9, Box::new(capture.clone()));
        console.write(0, 0, 1, u64::from(b'x'));
        assert_eq!(
            (console.read(0, 0, 1), capture.text().as_str()),
            (0xe9, "x")
        );
        DebugExit::new(control.clone()).write(0, 0, 4, 0x10);
        assert_eq!(control.take(), Some(Request::Exit(0x21)));
        let mut panic = PvPanic::new(7, control.clone());
        assert_eq!(panic.read(0, 0, 1), 7);
        panic.write(0, 0, 1, 1);
        assert_eq!(control.take(), Some(Request::Panicked(false)));
    }
}
