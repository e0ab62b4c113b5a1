//! IRET in all modes.

use super::{far, segment, set_cpl, task};
use crate::exec::access::{set_stack, stack_moved, stack_read};
use crate::exec::stack::changeable;
use crate::fault::Step;
use crate::flags;
use crate::isa::Op;
use crate::memory::Memory;
use crate::state::{CpuState, attr, cr, reg, seg};
use crate::word::{Word, low8, low16};

/// IRET.
pub(crate) fn iret<W: Word, M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step {
    if !cpu.protected() {
        real::<W, M>(cpu, m)?;
    } else if cpu.v86() {
        v86::<W, M>(cpu, m)?;
    } else if cpu.flags.has(flags::NT) {
        if cpu.long_mode() {
            return Err(cpu.gp());
        }
        let next = op.next(cpu);
        task::go_back(cpu, m, next)?;
    } else {
        protected::<W, M>(cpu, m)?;
    }
    cpu.nmi_blocked = false;
    Ok(())
}

/// The words on the stack.
fn word<W: Word, M: Memory>(cpu: &mut CpuState, m: &mut M, n: i64) -> Step<u64> {
    let at = stack_moved(cpu, n * i64::from(W::BITS / 8));
    stack_read::<W, M>(cpu, m, at).map(W::zx)
}

fn set_flags<M: Memory>(cpu: &mut CpuState, m: &mut M, value: u64, mask: u64) {
    let old = cpu.flags.get();
    let new = old & !mask | value & mask;
    cpu.flags.set(new);
    if (old ^ new) & flags::AC != 0 {
        m.mode_changed(cpu);
    }
}

fn real<W: Word, M: Memory>(cpu: &mut CpuState, m: &mut M) -> Step {
    let (ip, cs, image) = (
        word::<W, M>(cpu, m, 0)?,
        word::<W, M>(cpu, m, 1)?,
        word::<W, M>(cpu, m, 2)?,
    );
    if ip > u64::from(cpu.seg[seg::CS].limit) {
        return Err(cpu.gp());
    }
    set_stack(cpu, stack_moved(cpu, 3 * i64::from(W::BITS / 8)));
    segment::load_real(cpu, seg::CS, low16(cs));
    cpu.rip = ip;
    let mask = (changeable::<W>(cpu) | flags::RF) & W::MASK;
    set_flags(cpu, m, image, mask);
    Ok(())
}

fn v86<W: Word, M: Memory>(cpu: &mut CpuState, m: &mut M) -> Step {
    let virtual_interrupts = cpu.iopl() < 3;
    if virtual_interrupts && (cpu.cr4 & cr::VME == 0 || W::BITS != 16) {
        return Err(cpu.gp());
    }
    let (ip, cs, image) = (
        word::<W, M>(cpu, m, 0)?,
        word::<W, M>(cpu, m, 1)?,
        word::<W, M>(cpu, m, 2)?,
    );
    if ip > u64::from(cpu.seg[seg::CS].limit) {
        return Err(cpu.gp());
    }
    let mut mask = changeable::<W>(cpu) & !flags::IOPL | flags::RF & W::MASK;
    let mut image = image;
    if virtual_interrupts {
        let on = image & flags::IF != 0;
        if image & flags::TF != 0 || on && cpu.flags.has(flags::VIP) {
            return Err(cpu.gp());
        }
        image = image & !flags::VIF | if on { flags::VIF } else { 0 };
        mask = mask & !flags::IF | flags::VIF;
    }
    set_stack(cpu, stack_moved(cpu, 3 * i64::from(W::BITS / 8)));
    segment::load_real(cpu, seg::CS, low16(cs));
    cpu.rip = ip;
    set_flags(cpu, m, image, mask);
    Ok(())
}

fn protected<W: Word, M: Memory>(cpu: &mut CpuState, m: &mut M) -> Step {
    let (ip, cs, image) = (
        word::<W, M>(cpu, m, 0)?,
        word::<W, M>(cpu, m, 1)?,
        word::<W, M>(cpu, m, 2)?,
    );
    let selector = low16(cs);
    if image & flags::VM != 0 && cpu.cpl == 0 && !cpu.long_mode() && W::BITS == 32 {
        return to_v86(cpu, m, ip, selector, image);
    }
    let code = far::return_code(cpu, m, selector)?;
    far::check_offset(cpu, &code, ip)?;
    let rpl = low8(u64::from(selector)) & 3;
    let mask = changeable::<W>(cpu)
        | (flags::RF
            | if cpu.cpl == 0 {
                flags::VIF | flags::VIP
            } else {
                0
            })
            & W::MASK;
    let outer = rpl != cpu.cpl;
    if !outer && !cpu.long_code() {
        set_stack(cpu, stack_moved(cpu, 3 * i64::from(W::BITS / 8)));
        far::enter(cpu, m, code, rpl, ip);
        set_flags(cpu, m, image, mask);
        return Ok(());
    }
    let sp = word::<W, M>(cpu, m, 3)?;
    let ss = low16(word::<W, M>(cpu, m, 4)?);
    let stack = far::return_stack(cpu, m, ss, &code, rpl)?;
    cpu.seg[seg::SS] = stack;
    far::enter(cpu, m, code, rpl, ip);
    let keep = !cpu.long_code() && !stack.is(attr::DB);
    cpu.gpr[reg::RSP] = if keep {
        cpu.gpr[reg::RSP] & !0xffff | sp & 0xffff
    } else {
        sp
    };
    set_flags(cpu, m, image, mask);
    if outer {
        far::drop_segments(cpu);
    }
    Ok(())
}

fn to_v86<M: Memory>(cpu: &mut CpuState, m: &mut M, ip: u64, cs: u16, image: u64) -> Step {
    let mut words = [0; 6];
    for (n, value) in (3..).zip(words.iter_mut()) {
        *value = word::<u32, M>(cpu, m, n)?;
    }
    let [sp, ss, es, ds, fs, gs] = words;
    cpu.flags.set(image);
    set_cpl(cpu, m, 3);
    for (n, selector) in [es, u64::from(cs), ss, ds, fs, gs].into_iter().enumerate() {
        segment::load_real(cpu, n, low16(selector));
    }
    cpu.rip = ip & 0xffff;
    cpu.gpr[reg::RSP] = sp;
    cpu.refresh();
    m.mode_changed(cpu);
    Ok(())
}
