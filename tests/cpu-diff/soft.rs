//! Our processor on a record.

use x86_cpu::cpuid::Features;
use x86_cpu::isa::{Decoding, op};
use x86_cpu::state::{CodeSize, CpuState, F80, attr, cr, efer, reg, seg};
use x86_cpu::word::{Unit, Word};
use x86_cpu::{Flush, Memory, Step, Trap};

use crate::layout::{
    CODE, CODE_AT, CODE_BYTES, CODE_PAGE_AT, CS_64, DATA_AT, FRAME, READ_ONLY_AT, SS, WINDOW,
    WINDOW_BYTES, XSAVE,
};
use crate::record::{half, word};

const PAGE: u64 = 4096;

/// The three pages of a case.
pub(crate) struct Pages {
    data: Vec<u8>,
    code: Vec<u8>,
    read_only: Vec<u8>,
}

/// An access that page faults name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
    Fetch,
}

impl Pages {
    fn page(&mut self, linear: u64) -> Option<&mut Vec<u8>> {
        match linear & !(PAGE - 1) {
            DATA_AT => Some(&mut self.data),
            CODE_PAGE_AT => Some(&mut self.code),
            READ_ONLY_AT => Some(&mut self.read_only),
            _ => None,
        }
    }

    /// Checks all bytes, lowest first.
    fn check(&mut self, cpu: &mut CpuState, linear: u64, bytes: usize, kind: Kind) -> Step {
        let last = linear.wrapping_add(bytes as u64 - 1);
        if !cpu.canonical(linear) || !cpu.canonical(last) {
            let mut fault = x86_cpu::Fault::default();
            fault.vector = x86_cpu::fault::GP;
            fault.non_canonical = true;
            return Err(cpu.raise_fault(fault));
        }
        let mut at = linear;
        loop {
            let page = at & !(PAGE - 1);
            let present = self.page(page).is_some();
            let forbidden = match kind {
                Kind::Read => false,
                Kind::Write => page == READ_ONLY_AT,
                Kind::Fetch => page != CODE_PAGE_AT,
            };
            if !present || forbidden {
                let access = match kind {
                    Kind::Read => 4,
                    Kind::Write => 6,
                    Kind::Fetch => 0x14,
                };
                return Err(cpu.page_fault(at, access | u16::from(present)));
            }
            if page == last & !(PAGE - 1) {
                return Ok(());
            }
            at = page.wrapping_add(PAGE);
        }
    }

    fn byte(&mut self, linear: u64) -> &mut u8 {
        let at = usize::try_from(linear & (PAGE - 1)).expect("below a page");
        let page = self.page(linear).expect("checked before");
        &mut page[at]
    }
}

impl Memory for Pages {
    fn read<T: Unit>(&mut self, cpu: &mut CpuState, linear: u64) -> Step<T> {
        self.check(cpu, linear, T::BYTES, Kind::Read)?;
        let mut raw = [0; 32];
        for (i, slot) in raw.iter_mut().enumerate().take(T::BYTES) {
            *slot = *self.byte(linear.wrapping_add(i as u64));
        }
        Ok(T::from_bytes(&raw[..T::BYTES]))
    }
    fn write<T: Unit>(&mut self, cpu: &mut CpuState, linear: u64, value: T) -> Step {
        self.check(cpu, linear, T::BYTES, Kind::Write)?;
        let mut raw = [0; 32];
        value.to_bytes(&mut raw);
        for (i, byte) in raw.iter().enumerate().take(T::BYTES) {
            *self.byte(linear.wrapping_add(i as u64)) = *byte;
        }
        Ok(())
    }
    fn read_to_write<T: Unit>(&mut self, cpu: &mut CpuState, linear: u64) -> Step<T> {
        self.check(cpu, linear, T::BYTES, Kind::Write)?;
        self.read(cpu, linear)
    }
    fn check_write(&mut self, cpu: &mut CpuState, linear: u64, bytes: usize) -> Step {
        self.check(cpu, linear, bytes, Kind::Write)
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
        0
    }
}

/// A processor in user mode under an operating system like Linux.
fn user_mode(features: &Features, long: bool) -> CpuState {
    let mut cpu = CpuState::new(features.clone());
    cpu.cr0 = cr::PE | cr::PG | cr::NE | cr::MP | cr::WP | cr::ET | cr::AM;
    cpu.cr4 = cr::PAE | cr::OSFXSR | cr::OSXMMEXCPT | cr::OSXSAVE | cr::FSGSBASE | cr::UMIP;
    cpu.efer = efer::LME | efer::LMA | efer::SCE | efer::NXE;
    cpu.xcr0 = 7;
    cpu.cpl = 3;
    let data = 0xf3 | attr::DB | attr::G;
    for segment in &mut cpu.seg[..6] {
        segment.selector = 0;
        segment.base = 0;
        segment.limit = u32::MAX;
        segment.attributes = data;
    }
    cpu.seg[seg::SS].selector = u16::try_from(SS).expect("a selector");
    cpu.seg[seg::CS].attributes = 0xfb | attr::G | if long { attr::L } else { attr::DB };
    cpu.refresh();
    cpu
}

/// The result of a case.
pub(crate) struct Result {
    /// The processor.
    pub(crate) cpu: CpuState,
    /// The window.
    pub(crate) window: Vec<u8>,
    /// Vector and error code.
    pub(crate) vector: (u64, u64),
}

/// Steps a case may take.
const STEPS: u32 = 4000;

/// Runs a record.
pub(crate) fn run(features: &Features, record: &[u8]) -> Result {
    let long = word(record, FRAME + 16) == CS_64;
    let mut cpu = user_mode(features, long);
    for i in 0..16 {
        cpu.gpr[i] = word(record, i * 8);
    }
    cpu.rip = word(record, FRAME);
    cpu.flags.set(word(record, FRAME + 8));
    cpu.seg[seg::CS].selector = half(record, FRAME + 16);
    load_vectors(&mut cpu, &record[XSAVE..]);
    load_x87(&mut cpu, &record[XSAVE..]);
    let mut pages = Pages {
        data: vec![0; 4096],
        code: vec![0xcc; 4096],
        read_only: vec![0; 4096],
    };
    pages.data[4096 - WINDOW_BYTES..].copy_from_slice(&record[WINDOW..WINDOW + WINDOW_BYTES]);
    let at = usize::try_from(CODE_AT - CODE_PAGE_AT).expect("below a page");
    pages.code[at..at + CODE_BYTES].copy_from_slice(&record[CODE..CODE + CODE_BYTES]);
    let size = if long {
        CodeSize::Bits64
    } else {
        CodeSize::Bits32
    };
    let mut vector = (999, 0);
    for _ in 0..STEPS {
        match step(&mut cpu, &mut pages, size) {
            Ok(false) => {}
            Ok(true) => {
                vector = (3, 0);
                break;
            }
            Err(Trap::Fault) => {
                vector = (cpu.fault.vector.into(), cpu.fault.code.into());
                break;
            }
            Err(_) => {
                vector = (998, 0);
                break;
            }
        }
    }
    let window = pages.data[4096 - WINDOW_BYTES..].to_vec();
    Result {
        cpu,
        window,
        vector,
    }
}

/// One instruction; whether it was INT3.
fn step(cpu: &mut CpuState, pages: &mut Pages, size: CodeSize) -> std::result::Result<bool, Trap> {
    pages.check(cpu, cpu.rip, 1, Kind::Fetch)?;
    let at = usize::try_from(cpu.rip & (PAGE - 1)).expect("below a page");
    let end = (at + 15).min(4096);
    let mut bytes = [0; 15];
    bytes[..end - at].copy_from_slice(&pages.code[at..end]);
    if bytes[0] == 0xcc {
        cpu.rip += 1;
        return Ok(true);
    }
    let features = cpu.features.clone();
    let Ok(op) = Decoding::new(&bytes[..end - at], size, &features).next_op::<Pages>() else {
        return Err(cpu.gp());
    };
    cpu.gpr[reg::BLOCK] = cpu.rip;
    (op.run)(cpu, pages, &op).inspect_err(|_| {
        // The block runner's part: only it knows the operation when memory has faulted.
        let fault = &mut cpu.fault;
        if fault.non_canonical
            && fault.vector == x86_cpu::fault::GP
            && usize::from(op.segment) == seg::FLAT_STACK
        {
            fault.vector = x86_cpu::fault::SS;
        }
    })?;
    if !op.has(op::JUMPS) {
        cpu.rip = op.next(cpu);
    }
    Ok(false)
}

fn load_vectors(cpu: &mut CpuState, area: &[u8]) {
    cpu.mxcsr = u32::try_from(word(area, 24) & 0xffff_ffff).expect("32 bits");
    for (i, register) in cpu.vector.iter_mut().enumerate() {
        for (j, slot) in register.iter_mut().enumerate() {
            let base = if j < 2 { 160 } else { 576 - 16 };
            *slot = word(area, base + i * 16 + j * 8);
        }
    }
}

fn load_x87(cpu: &mut CpuState, area: &[u8]) {
    let fpu = &mut cpu.fpu;
    fpu.control = half(area, 0);
    let status = half(area, 2);
    fpu.status = status & !0x3800;
    fpu.top = (status >> 11).to_le_bytes()[0] & 7;
    fpu.tags = 0;
    for i in 0..8 {
        if area[4] >> i & 1 == 0 {
            fpu.tags |= 3 << (i * 2);
        }
        let at = 32 + i * 16;
        let place = (usize::from(fpu.top) + i) % 8;
        fpu.registers[place] = F80 {
            mantissa: word(area, at),
            exponent: half(area, at + 8),
        };
    }
}
