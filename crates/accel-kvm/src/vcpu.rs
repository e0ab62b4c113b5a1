//! One processor: the loop around KVM_RUN.

use std::io;
use std::sync::Arc;

use accel_core::{Activity, CpuBus, Exit, Extended, Kick, Registers, SavedCpu, Vcpu};
use kvm_bindings::{kvm_regs, kvm_sregs};
use kvm_ioctls::{VcpuExit, VcpuFd};

use crate::{convert, raw, state};

/// APIC base after power-on: default address, enabled.
const APIC_BASE: u64 = 0xfee0_0800;
/// The bit in it that the first processor has.
const BOOT_PROCESSOR: u64 = 0x100;

pub(crate) struct KvmVcpu {
    vcpu: VcpuFd,
    apic_base: u64,
    first_general: kvm_regs,
    first_system: kvm_sregs,
    first: Extended,
}

impl KvmVcpu {
    pub(crate) fn new(vcpu: VcpuFd, index: u8) -> io::Result<Self> {
        let apic_base = if index == 0 {
            APIC_BASE | BOOT_PROCESSOR
        } else {
            APIC_BASE
        };
        raw::install()?;
        let first_general = vcpu.get_regs().map_err(raw::error)?;
        let first_system = vcpu.get_sregs().map_err(raw::error)?;
        set_apic_base(&vcpu, first_system, apic_base)?;
        let first = state::extended(&vcpu)?;
        Ok(Self {
            vcpu,
            apic_base,
            first_general,
            first_system,
            first,
        })
    }

    /// Puts a waiting interrupt in if the guest can take one now, or asks to be told when it can.
    fn interrupt(&mut self, bus: &mut dyn CpuBus) -> io::Result<()> {
        let waits = bus.interrupt_waits();
        let run = self.vcpu.get_kvm_run();
        let ready = run.ready_for_interrupt_injection != 0 && run.if_flag != 0;
        run.request_interrupt_window = u8::from(waits && !ready);
        if waits && ready {
            if let Some(vector) = bus.acknowledge() {
                raw::inject(&self.vcpu, vector)?;
            }
            let more = bus.interrupt_waits();
            self.vcpu.get_kvm_run().request_interrupt_window = u8::from(more);
        }
        Ok(())
    }

    /// One entry into the guest; `None` to go on.
    fn enter(&mut self, bus: &mut dyn CpuBus) -> Option<Exit> {
        let priority = bus.task_priority();
        self.vcpu.get_kvm_run().cr8 = u64::from(priority);
        let exit = self.exit(bus);
        let after = self.vcpu.get_kvm_run().cr8.to_le_bytes()[0] & 15;
        if after != priority {
            bus.set_task_priority(after);
        }
        exit
    }

    fn exit(&mut self, bus: &mut dyn CpuBus) -> Option<Exit> {
        match self.vcpu.run() {
            Ok(VcpuExit::IoIn(..)) => {
                let (port, unit, data) = raw::port_transfer(&mut self.vcpu);
                for slot in data.chunks_exact_mut(unit) {
                    let value = bus.io_read(port, unit).to_le_bytes();
                    slot.copy_from_slice(&value[..unit]);
                }
                None
            }
            Ok(VcpuExit::IoOut(..)) => {
                let (port, unit, data) = raw::port_transfer(&mut self.vcpu);
                for slot in data.chunks_exact(unit) {
                    let mut raw = [0; 4];
                    raw[..unit].copy_from_slice(slot);
                    bus.io_write(port, unit, u32::from_le_bytes(raw));
                }
                None
            }
            Ok(VcpuExit::MmioRead(address, data)) => {
                let value = bus.memory_read(address, data.len()).to_le_bytes();
                for (slot, byte) in data.iter_mut().zip(value) {
                    *slot = byte;
                }
                None
            }
            Ok(VcpuExit::MmioWrite(address, data)) => {
                let mut raw = [0; 8];
                let bytes = data.len().min(8);
                raw[..bytes].copy_from_slice(&data[..bytes]);
                bus.memory_write(address, bytes, u64::from_le_bytes(raw));
                None
            }
            Ok(VcpuExit::Hlt) => Some(Exit::Halt),
            Ok(VcpuExit::Shutdown) => Some(Exit::Shutdown),
            Ok(VcpuExit::IrqWindowOpen | VcpuExit::Intr | VcpuExit::SetTpr) => None,
            Ok(other) => Some(Exit::Failed(format!("KVM stopped: {other:?}"))),
            Err(error) if error.errno() == libc::EINTR || error.errno() == libc::EAGAIN => {
                self.vcpu.set_kvm_immediate_exit(0);
                Some(Exit::Kicked)
            }
            Err(error) => Some(Exit::Failed(format!("KVM_RUN: {}", raw::error(error)))),
        }
    }
}

fn set_apic_base(vcpu: &VcpuFd, mut system: kvm_sregs, base: u64) -> io::Result<()> {
    system.apic_base = base;
    vcpu.set_sregs(&system).map_err(raw::error)
}

struct Kicker(raw::Thread);

impl Kick for Kicker {
    fn kick(&self) {
        self.0.kick();
    }
}

impl Vcpu for KvmVcpu {
    fn run(&mut self, bus: &mut dyn CpuBus) -> Exit {
        let _running = raw::Running::new(&mut self.vcpu);
        loop {
            if bus.must_leave() {
                self.vcpu.set_kvm_immediate_exit(0);
                return Exit::Kicked;
            }
            if let Err(error) = self.interrupt(bus) {
                return Exit::Failed(format!("KVM_INTERRUPT: {error}"));
            }
            if let Some(exit) = self.enter(bus) {
                return exit;
            }
        }
    }

    fn registers(&self) -> io::Result<Registers> {
        let general = self.vcpu.get_regs().map_err(raw::error)?;
        let system = self.vcpu.get_sregs().map_err(raw::error)?;
        Ok(convert::registers(&general, &system))
    }

    fn set_registers(&mut self, registers: &Registers) -> io::Result<()> {
        let before = self.vcpu.get_sregs().map_err(raw::error)?;
        let system = convert::system(registers, before);
        self.vcpu.set_sregs(&system).map_err(raw::error)?;
        self.vcpu
            .set_regs(&convert::general(registers))
            .map_err(raw::error)
    }

    fn save(&self) -> io::Result<SavedCpu> {
        Ok(SavedCpu {
            registers: self.registers()?,
            extended: state::extended(&self.vcpu)?,
            activity: state::activity(&self.vcpu)?,
        })
    }

    fn restore(&mut self, saved: &SavedCpu) -> io::Result<()> {
        self.set_registers(&saved.registers)?;
        state::set_extended(&self.vcpu, &saved.extended)?;
        state::set_activity(&self.vcpu, &saved.activity)
    }

    fn reset(&mut self) -> io::Result<()> {
        state::set_extended(&self.vcpu, &self.first)?;
        state::set_activity(&self.vcpu, &Activity::default())?;
        set_apic_base(&self.vcpu, self.first_system, self.apic_base)?;
        self.vcpu
            .set_regs(&self.first_general)
            .map_err(raw::error)?;
        self.set_registers(&Registers::power_on())
    }

    fn init(&mut self) -> io::Result<()> {
        let kept = state::extended(&self.vcpu)?;
        self.reset()?;
        let kept = Extended {
            breakpoints: self.first.breakpoints,
            debug_status: self.first.debug_status,
            debug_control: self.first.debug_control,
            ..kept
        };
        state::set_extended(&self.vcpu, &kept)
    }

    fn nmi(&mut self) {
        // Refused only by a kernel without the call; the guest then misses an NMI, nothing else.
        let _ = self.vcpu.nmi();
    }

    fn kicker(&self) -> Arc<dyn Kick> {
        Arc::new(Kicker(raw::Thread::this()))
    }
}
