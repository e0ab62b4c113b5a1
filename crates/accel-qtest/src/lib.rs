//! No processor at all: the guest's program never runs, and guest time moves only when somebody says so. What is left
//! is a machine of devices, to be driven from outside.
#![forbid(unsafe_code)]

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use accel_core::{Accel, CpuBus, Exit, Kick, Registers, SavedCpu, Slot, Vcpu};

/// The accelerator.
#[derive(Debug, Clone, Copy, Default)]
pub struct QtestAccel;

impl Accel for QtestAccel {
    fn name(&self) -> &'static str {
        "qtest"
    }

    fn processor(&self, _index: u8) -> io::Result<Box<dyn Vcpu>> {
        Ok(Box::new(Idle::default()))
    }

    fn map(&self, _slots: &[Slot]) -> io::Result<()> {
        Ok(())
    }

    fn time_by_hand(&self) -> bool {
        true
    }
}

/// Whether somebody has kicked since the last run.
#[derive(Debug, Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Kick for Bell {
    fn kick(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }
}

/// A processor that keeps what it is given, and waits.
#[derive(Debug, Default)]
struct Idle {
    registers: Registers,
    bell: Arc<Bell>,
}

impl Vcpu for Idle {
    fn run(&mut self, _bus: &mut dyn CpuBus) -> Exit {
        let rung = self
            .bell
            .rung
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let waited = self.bell.changed.wait_while(rung, |rung| !*rung);
        *waited.unwrap_or_else(PoisonError::into_inner) = false;
        Exit::Kicked
    }

    fn registers(&self) -> io::Result<Registers> {
        Ok(self.registers.clone())
    }

    fn set_registers(&mut self, registers: &Registers) -> io::Result<()> {
        self.registers = registers.clone();
        Ok(())
    }

    fn save(&self) -> io::Result<SavedCpu> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn restore(&mut self, _saved: &SavedCpu) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn reset(&mut self) -> io::Result<()> {
        self.registers = Registers::default();
        Ok(())
    }

    fn init(&mut self) -> io::Result<()> {
        self.reset()
    }

    fn nmi(&mut self) {}

    fn kicker(&self) -> Arc<dyn Kick> {
        Arc::clone(&self.bell) as Arc<dyn Kick>
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use accel_core::Quiet;

    #[test]
    fn a_kick_before_the_run_is_not_lost() {
        let mut cpu = QtestAccel.processor(0).expect("made");
        cpu.kicker().kick();
        assert_eq!(cpu.run(&mut Quiet), Exit::Kicked);
    }
}
