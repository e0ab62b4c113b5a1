//! The loop that runs a processor: events, then a block, and again.

use std::io;
use std::sync::Arc;

use accel_core::CpuBus;
use accel_core::{Exit, Kick, Registers, SavedCpu, Vcpu};
use x86_cpu::cpuid::Features;
use x86_cpu::fault::{self, Fault};
use x86_cpu::isa::{Code, Op, op};
use x86_cpu::state::{CpuState, cr, reg, seg};
use x86_cpu::{Memory, Step, Trap, exec, flags};

use crate::block::{self, Cache};
use crate::convert;
use crate::shared::{KICK, PROTECT, REMAP, Shared, Signals};
use crate::soft::Soft;

/// One processor.
pub(crate) struct SoftVcpu {
    cpu: CpuState,
    soft: Soft,
    cache: Cache,
    signals: Arc<Signals>,
    /// An interrupt may wait.
    waiting: bool,
    /// Non-maskable interrupts that wait.
    nmis: u8,
}

impl SoftVcpu {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        features: Features,
        index: u8,
        processors: u32,
    ) -> Self {
        let signals = shared.join();
        let mut cpu = CpuState::new(features);
        cpu.apic_id = u32::from(index);
        cpu.processors = processors;
        let soft = Soft::new(Arc::clone(shared), Arc::clone(&signals));
        Self {
            cpu,
            soft,
            cache: Cache::new(),
            signals,
            waiting: false,
            nmis: 0,
        }
    }

    /// What others want, and interrupts. `Some` leaves the guest.
    #[inline(never)]
    fn attend(&mut self) -> Option<Exit> {
        let wanted = self.signals.get();
        if wanted & REMAP != 0 {
            self.signals.done(REMAP);
            self.soft.remap();
        }
        if wanted & PROTECT != 0 {
            self.soft.protect_all();
            self.signals.done(PROTECT);
        }
        if wanted & KICK != 0 {
            self.signals.done(KICK);
            return Some(Exit::Kicked);
        }
        if self.soft.used_bus {
            self.soft.used_bus = false;
            let bus = self.soft.bus.get()?;
            self.waiting = bus.interrupt_waits() || self.nmis != 0;
            if bus.must_leave() {
                return Some(Exit::Kicked);
            }
        }
        if self.nmis != 0 && !self.cpu.nmi_blocked && !self.cpu.shadow {
            self.nmis -= 1;
            exec::nmi(&mut self.cpu, &mut self.soft);
        } else if self.waiting && !self.cpu.shadow && self.cpu.flags.has(flags::IF) {
            self.interrupt();
        }
        None
    }

    fn interrupt(&mut self) {
        let Some(bus) = self.soft.bus.get() else {
            return;
        };
        let vector = bus.acknowledge();
        self.waiting = bus.interrupt_waits() || self.nmis != 0;
        if let Some(vector) = vector {
            exec::interrupt(&mut self.cpu, &mut self.soft, vector);
        }
    }

    fn go(&mut self) -> Exit {
        loop {
            let look = self.signals.any() || self.soft.used_bus || self.waiting;
            if look && let Some(exit) = self.attend() {
                return exit;
            }
            if self.cpu.halted {
                return Exit::Halt;
            }
            let special = self.cpu.flags.system & (flags::TF | flags::RF)
                | self.cpu.debug.control & 0xff
                | self.cpu.debug_hits;
            let step = if special != 0 || self.cpu.shadow {
                self.alone()
            } else {
                self.block()
            };
            if let Err(trap) = step {
                self.stopped(trap);
                if self.cpu.shutdown {
                    return Exit::Shutdown;
                }
            }
        }
    }

    /// After an instruction that did not complete; `rip` is its address.
    #[inline(never)]
    fn stopped(&mut self, trap: Trap) {
        match trap {
            Trap::Fault => {
                self.cpu.shadow = false;
                self.cpu.shadow_debug = false;
                self.cpu.debug_hits = 0;
                exec::exception(&mut self.cpu, &mut self.soft);
            }
            Trap::Alone => {
                if let Err(Trap::Fault) = self.alone() {
                    self.stopped(Trap::Fault);
                }
            }
            Trap::Again => {}
        }
    }

    #[inline(always)]
    fn linear_ip(&self) -> u64 {
        let linear = self.cpu.seg[seg::CS].base.wrapping_add(self.cpu.rip);
        if self.cpu.long_code() {
            self.cpu.rip
        } else {
            linear & 0xffff_ffff
        }
    }

    /// Runs a block.
    #[inline(always)]
    fn block(&mut self) -> Step {
        let linear = self.linear_ip();
        let number = self.cache.find(&mut self.cpu, &mut self.soft, linear)?;
        let block = self.cache.block(number);
        let cpu = &mut self.cpu;
        if !cpu.long_code() && cpu.rip + block.bytes - 1 > u64::from(cpu.seg[seg::CS].limit) {
            return self.alone();
        }
        cpu.gpr[reg::BLOCK] = cpu.rip;
        self.soft.running = block.pages;
        for op in &block.ops {
            if let Err(trap) = (op.run)(cpu, &mut self.soft, op) {
                interrupted(cpu, op);
                return Err(trap);
            }
        }
        if !block.jumps {
            cpu.rip = cpu.cut_ip(cpu.gpr[reg::BLOCK].wrapping_add(block.bytes));
        }
        Ok(())
    }

    /// Runs one instruction by itself, with what only concerns single instructions: segment limit, breakpoints, single step.
    #[inline(never)]
    fn alone(&mut self) -> Step {
        let linear = self.linear_ip();
        let cpu = &mut self.cpu;
        if cpu.debug_hits != 0 && !cpu.shadow_debug {
            return Err(debug_trap(cpu));
        }
        if !cpu.flags.has(flags::RF) {
            breakpoints(cpu, linear)?;
        }
        let stepping = cpu.flags.has(flags::TF);
        // A shadow lasts for one instruction, unless that one casts it again.
        cpu.shadow = false;
        cpu.shadow_debug = false;
        let physical = self.soft.code_address(cpu, linear)?;
        let block = block::decode(cpu, &mut self.soft, linear, physical, 1)?;
        self.soft.running = [u64::MAX; 2];
        let Some(op) = block.ops.first() else {
            return Err(cpu.ud());
        };
        let last = cpu.rip + u64::from(op.length) - 1;
        if !cpu.long_code() && last > u64::from(cpu.seg[seg::CS].limit) {
            return Err(cpu.gp());
        }
        cpu.gpr[reg::BLOCK] = cpu.rip;
        let resume = cpu.flags.has(flags::RF);
        if let Err(trap) = (op.run)(cpu, &mut self.soft, op) {
            interrupted(cpu, op);
            if trap == Trap::Again && stepping {
                cpu.debug_hits |= 1 << 14;
            }
            return Err(trap);
        }
        if !op.has(op::JUMPS) {
            cpu.rip = op.next(cpu);
        }
        if resume && !op.has(op::JUMPS) {
            cpu.flags.system &= !flags::RF;
        }
        // The trap of the load of SS itself is lost: the next instruction has one of its own.
        if stepping && !cpu.shadow_debug && steps(op, cpu) {
            cpu.debug_hits |= 1 << 14;
        }
        if cpu.debug_hits != 0 && !cpu.shadow_debug {
            return Err(debug_trap(cpu));
        }
        Ok(())
    }
}

/// Sets `rip` to an instruction that did not complete, and sorts its fault.
#[cold]
fn interrupted(cpu: &mut CpuState, op: &Op<Soft>) {
    cpu.back_to(op);
    let stack = usize::from(op.segment) == seg::SS || usize::from(op.segment) == seg::FLAT_STACK;
    if cpu.fault.non_canonical && cpu.fault.vector == fault::GP && stack {
        cpu.fault.vector = fault::SS;
    }
}

/// Whether an instruction that began with TF on traps when it has ended: not one that entered a handler, and SYSCALL only if TF stayed.
fn steps(op: &Op<Soft>, cpu: &CpuState) -> bool {
    match op.code {
        Code::Int_imm8 | Code::Int3 | Code::Into | Code::Int1 => false,
        Code::Syscall | Code::Sysretd | Code::Sysretq => cpu.flags.has(flags::TF),
        _ => true,
    }
}

/// The debug trap that is due.
fn debug_trap(cpu: &mut CpuState) -> Trap {
    let dr6 = std::mem::take(&mut cpu.debug_hits);
    cpu.raise_fault(Fault {
        vector: fault::DB,
        dr6,
        ..Fault::default()
    })
}

/// Instruction breakpoints.
fn breakpoints(cpu: &mut CpuState, linear: u64) -> Step {
    let control = cpu.debug.control;
    let hits = (0..4).fold(0, |hits, n| {
        let on = control >> (2 * n) & 3 != 0 && control >> (16 + 4 * n) & 3 == 0;
        hits | u64::from(on && cpu.debug.address[n] == linear) << n
    });
    // AMD's processors do not hold it off after a load of SS.
    let held_off = cpu.shadow_debug && cpu.features.vendor == *b"GenuineIntel";
    if hits == 0 || held_off {
        return Ok(());
    }
    Err(cpu.raise_fault(Fault {
        vector: fault::DB,
        dr6: hits,
        ..Fault::default()
    }))
}

impl Vcpu for SoftVcpu {
    fn run(&mut self, bus: &mut dyn CpuBus) -> Exit {
        if bus.must_leave() {
            return Exit::Kicked;
        }
        self.waiting = bus.interrupt_waits() || self.nmis != 0;
        let nmi = self.nmis != 0 && !self.cpu.nmi_blocked;
        if nmi || self.waiting && self.cpu.flags.has(flags::IF) {
            self.cpu.halted = false;
        }
        self.signals.set_running(true);
        self.soft.take_bus(bus);
        let exit = self.go();
        self.soft.bus.empty();
        self.signals.set_running(false);
        exit
    }

    fn registers(&self) -> io::Result<Registers> {
        Ok(convert::registers(&self.cpu))
    }

    fn set_registers(&mut self, registers: &Registers) -> io::Result<()> {
        convert::set(&mut self.cpu, registers);
        self.soft.flush_all();
        self.soft.mode_changed(&mut self.cpu);
        Ok(())
    }

    fn save(&self) -> io::Result<SavedCpu> {
        Ok(SavedCpu {
            registers: convert::registers(&self.cpu),
            extended: convert::extended(&self.cpu),
            activity: convert::activity(&self.cpu, self.nmis),
        })
    }

    fn restore(&mut self, saved: &SavedCpu) -> io::Result<()> {
        convert::set_extended(&mut self.cpu, &saved.extended);
        self.set_registers(&saved.registers)?;
        convert::set_activity(&mut self.cpu, &saved.activity);
        self.nmis = saved.activity.nmis.min(2);
        Ok(())
    }

    fn reset(&mut self) -> io::Result<()> {
        self.nmis = 0;
        let (index, processors) = (self.cpu.apic_id, self.cpu.processors);
        self.cpu = CpuState::new(self.cpu.features.clone());
        self.cpu.apic_id = index;
        self.cpu.processors = processors;
        self.soft.remap();
        self.soft.mode_changed(&mut self.cpu);
        self.cache.forget();
        Ok(())
    }

    fn init(&mut self) -> io::Result<()> {
        let old = self.cpu.clone();
        self.reset()?;
        let cpu = &mut self.cpu;
        cpu.fpu = old.fpu;
        cpu.vector = old.vector;
        cpu.mxcsr = old.mxcsr;
        cpu.xcr0 = old.xcr0;
        cpu.msr = old.msr;
        cpu.cr0 = old.cr0 & (cr::CD | cr::NW) | cr::ET;
        Ok(())
    }

    fn nmi(&mut self) {
        // One is taken at once unless another is being served; one more is remembered.
        let most = if self.cpu.nmi_blocked { 1 } else { 2 };
        self.nmis = (self.nmis + 1).min(most);
        self.waiting = true;
    }

    fn set_a20(&mut self, on: bool) {
        self.soft.lines = if on { u64::MAX } else { !(1 << 20) };
        self.soft.flush_all();
    }

    fn kicker(&self) -> Arc<dyn Kick> {
        Arc::clone(&self.signals) as Arc<dyn Kick>
    }
}
