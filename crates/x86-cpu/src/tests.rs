//! Small programs on flat memory.

use crate::cpuid::Features;
use crate::fault::{self, Step, Trap};
use crate::isa::{Decoding, op};
use crate::memory::{Flush, Memory};
use crate::state::{CodeSize, CpuState, attr, cr, efer, reg, seg};
use crate::word::{Unit, Word};

/// Flat memory without paging; what is beyond it faults.
pub(crate) struct Flat(pub(crate) Vec<u8>);

impl Flat {
    fn at<T: Unit>(&mut self, cpu: &mut CpuState, linear: u64, code: u16) -> Step<&mut [u8]> {
        let start = usize::try_from(linear).unwrap_or(usize::MAX);
        let end = start.saturating_add(T::BYTES);
        if end > self.0.len() {
            return Err(cpu.page_fault(linear, code));
        }
        Ok(&mut self.0[start..end])
    }
}

impl Memory for Flat {
    fn read<T: Unit>(&mut self, cpu: &mut CpuState, linear: u64) -> Step<T> {
        self.at::<T>(cpu, linear, 0)
            .map(|bytes| T::from_bytes(bytes))
    }
    fn write<T: Unit>(&mut self, cpu: &mut CpuState, linear: u64, value: T) -> Step {
        let mut raw = [0; 32];
        value.to_bytes(&mut raw);
        self.at::<T>(cpu, linear, 2)?
            .copy_from_slice(&raw[..T::BYTES]);
        Ok(())
    }
    fn read_to_write<T: Unit>(&mut self, cpu: &mut CpuState, linear: u64) -> Step<T> {
        self.at::<T>(cpu, linear, 2)
            .map(|bytes| T::from_bytes(bytes))
    }
    fn check_write(&mut self, cpu: &mut CpuState, linear: u64, bytes: usize) -> Step {
        self.at::<u8>(cpu, linear.wrapping_add(bytes as u64 - 1), 2)
            .map(|_| ())
    }
    fn update<W: Word>(
        &mut self,
        cpu: &mut CpuState,
        linear: u64,
        mut change: impl FnMut(u64) -> u64,
    ) -> Step<u64> {
        let old = self.read_to_write::<W>(cpu, linear)?.zx();
        self.write(cpu, linear, W::cut(change(old)))?;
        Ok(old)
    }
    fn exchange_16(
        &mut self,
        cpu: &mut CpuState,
        linear: u64,
        expected: u128,
        new: u128,
    ) -> Step<u128> {
        let old = self.read_to_write::<u128>(cpu, linear)?;
        if old == expected {
            self.write(cpu, linear, new)?;
        }
        Ok(old)
    }
    fn read_system<T: Unit>(&mut self, cpu: &mut CpuState, linear: u64) -> Step<T> {
        self.read(cpu, linear)
    }
    fn write_system<T: Unit>(&mut self, cpu: &mut CpuState, linear: u64, value: T) -> Step {
        self.write(cpu, linear, value)
    }
    fn flush(&mut self, _: &mut CpuState, _: Flush) {}
    fn mode_changed(&mut self, _: &mut CpuState) {}
    fn port_in(&mut self, _: u16, _: usize) -> u32 {
        0
    }
    fn port_out(&mut self, _: u16, _: usize, _: u32) {}
    fn time_stamp(&mut self) -> u64 {
        0
    }
    fn read_msr(&mut self, _: &mut CpuState, _: u32) -> Option<u64> {
        None
    }
    fn write_msr(&mut self, _: &mut CpuState, _: u32, _: u64) -> Option<()> {
        None
    }
    fn task_priority(&mut self) -> u64 {
        0
    }
    fn set_task_priority(&mut self, _: u64) {}
    fn random(&mut self) -> u64 {
        4
    }
}

/// A processor in 64-bit code, privilege level 0.
pub(crate) fn long_mode() -> CpuState {
    let mut cpu = CpuState::new(Features::default());
    cpu.cr0 |= cr::PE | cr::PG | cr::NE | cr::MP | cr::WP;
    cpu.cr4 = cr::PAE | cr::OSFXSR | cr::OSXMMEXCPT;
    cpu.efer = efer::LME | efer::LMA | efer::SCE | efer::NXE;
    cpu.seg[seg::CS].base = 0;
    cpu.seg[seg::CS].attributes |= attr::L;
    cpu.refresh();
    cpu
}

/// Runs code that is at 0x1000 until something faults or `rip` leaves it.
pub(crate) fn run(cpu: &mut CpuState, memory: &mut Flat, size: CodeSize, code: &[u8]) -> Step {
    memory.0[0x1000..0x1000 + code.len()].copy_from_slice(code);
    cpu.rip = 0x1000;
    let end = 0x1000 + code.len() as u64;
    for _ in 0..1_000_000 {
        if !(0x1000..end).contains(&cpu.rip) {
            return Ok(());
        }
        let features = cpu.features.clone();
        let from = usize::try_from(cpu.rip).expect("in range");
        let op = Decoding::new(&memory.0[from..from + 15], size, &features)
            .next_op::<Flat>()
            .expect("decodes");
        cpu.gpr[reg::BLOCK] = cpu.rip;
        (op.run)(cpu, memory, &op)?;
        if !op.has(op::JUMPS) {
            cpu.rip = op.next(cpu);
        }
    }
    panic!("endless");
}

#[test]
fn a_loop_adds_up() {
    let mut cpu = long_mode();
    let mut memory = Flat(vec![0; 0x1_0000]);
    // mov ecx,10; xor eax,eax; again: add rax,rcx; dec ecx; jnz again; mov [0x2000],rax
    let code = [
        0xb9, 10, 0, 0, 0, 0x31, 0xc0, 0x48, 0x01, 0xc8, 0xff, 0xc9, 0x75, 0xf9, 0x48, 0x89, 0x04,
        0x25, 0, 0x20, 0, 0,
    ];
    assert_eq!(run(&mut cpu, &mut memory, CodeSize::Bits64, &code), Ok(()));
    assert_eq!(cpu.gpr[reg::RAX], 55);
    assert_eq!(memory.0[0x2000], 55);
    assert!(cpu.flags.zf());
}

#[test]
fn a_division_by_zero_leaves_no_trace() {
    let mut cpu = long_mode();
    let mut memory = Flat(vec![0; 0x1_0000]);
    cpu.gpr[reg::RAX] = 7;
    assert_eq!(
        run(&mut cpu, &mut memory, CodeSize::Bits64, &[0x48, 0xf7, 0xf1]),
        Err(Trap::Fault)
    );
    assert_eq!(
        (cpu.fault.vector, cpu.gpr[reg::RAX], cpu.rip),
        (fault::DE, 7, 0x1000)
    );
}

#[test]
fn high_bytes_and_narrow_registers_keep_the_rest() {
    let mut cpu = long_mode();
    let mut memory = Flat(vec![0; 0x1_0000]);
    cpu.gpr[reg::RAX] = 0x1122_3344_5566_7788;
    // add ah,al; mov bx,ax; mov ecx,eax
    let code = [0x00, 0xc4, 0x66, 0x89, 0xc3, 0x89, 0xc1];
    assert_eq!(run(&mut cpu, &mut memory, CodeSize::Bits64, &code), Ok(()));
    assert_eq!(cpu.gpr[reg::RAX], 0x1122_3344_5566_ff88);
    assert_eq!(cpu.gpr[reg::RBX], 0xff88);
    assert_eq!(cpu.gpr[reg::RCX], 0x5566_ff88);
}

#[test]
fn call_and_return_balance() {
    let mut cpu = long_mode();
    let mut memory = Flat(vec![0; 0x1_0000]);
    cpu.gpr[reg::RSP] = 0x8000;
    // call +1; inc eax is skipped once: call f; jmp end; f: mov eax,5; ret; end:
    let code = [0xe8, 2, 0, 0, 0, 0xeb, 6, 0xb8, 5, 0, 0, 0, 0xc3];
    assert_eq!(run(&mut cpu, &mut memory, CodeSize::Bits64, &code), Ok(()));
    assert_eq!((cpu.gpr[reg::RAX], cpu.gpr[reg::RSP]), (5, 0x8000));
}
