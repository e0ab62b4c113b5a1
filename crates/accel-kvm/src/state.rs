//! Floating point, vectors, debug and model-specific registers of the kernel's processors.
//!
//! GAP: the time-stamp counter, and PKRU, are not saved.

use std::io;

use accel_core::{Activity, Extended, Float};
use kvm_bindings::{KVM_VCPUEVENT_VALID_NMI_PENDING, KVM_VCPUEVENT_VALID_SHADOW};
use kvm_bindings::{Msrs, kvm_debugregs, kvm_fpu, kvm_msr_entry, kvm_vcpu_events};
use kvm_ioctls::VcpuFd;

use crate::raw::{self, error};

/// SYSENTER's three, memory types, SYSCALL's four, the kernel's GS base, TSC_AUX.
const MSRS: &[u32] = &[
    0x174,
    0x175,
    0x176,
    0x277,
    0xc000_0081,
    0xc000_0082,
    0xc000_0083,
    0xc000_0084,
    0xc000_0102,
    0xc000_0103,
];

/// From the processor.
pub(crate) fn extended(vcpu: &VcpuFd) -> io::Result<Extended> {
    let fpu = vcpu.get_fpu().map_err(error)?;
    let debug = vcpu.get_debug_regs().map_err(error)?;
    // A kernel without XSAVE has neither XCR0 nor upper halves.
    let xcr0 = vcpu.get_xcrs().map_or(1, |xcrs| xcrs.xcrs[0].value);
    let (mxcsr, mut vectors) = raw::vectors(vcpu);
    for (vector, low) in vectors.iter_mut().zip(&fpu.xmm) {
        let [a, b] = quarters(low);
        *vector = [a, b, vector[2], vector[3]];
    }
    Ok(Extended {
        float: float(&fpu),
        vectors,
        mxcsr,
        xcr0,
        pkru: 0,
        breakpoints: debug.db,
        debug_status: debug.dr6,
        debug_control: debug.dr7,
        counter_offset: 0,
        msrs: msrs(vcpu),
    })
}

/// To the processor.
pub(crate) fn set_extended(vcpu: &VcpuFd, from: &Extended) -> io::Result<()> {
    if let Ok(mut xcrs) = vcpu.get_xcrs() {
        xcrs.nr_xcrs = 1;
        xcrs.xcrs[0].value = from.xcr0;
        vcpu.set_xcrs(&xcrs).map_err(error)?;
    }
    vcpu.set_fpu(&kernel_fpu(from)).map_err(error)?;
    raw::set_vectors(vcpu, from.mxcsr, &from.vectors)?;
    let debug = kvm_debugregs {
        db: from.breakpoints,
        dr6: from.debug_status,
        dr7: from.debug_control,
        ..kvm_debugregs::default()
    };
    vcpu.set_debug_regs(&debug).map_err(error)?;
    for (index, data) in &from.msrs {
        // One that this host does not have stays as it is.
        let entry = kvm_msr_entry {
            index: *index,
            data: *data,
            ..kvm_msr_entry::default()
        };
        if let Ok(list) = Msrs::from_entries(&[entry]) {
            let _ = vcpu.set_msrs(&list);
        }
    }
    Ok(())
}

/// Those of [`MSRS`] that this host has.
fn msrs(vcpu: &VcpuFd) -> Vec<(u32, u64)> {
    let read = |index: &u32| {
        let entry = kvm_msr_entry {
            index: *index,
            ..kvm_msr_entry::default()
        };
        let mut list = Msrs::from_entries(&[entry]).ok()?;
        let count = vcpu.get_msrs(&mut list).ok()?;
        (count == 1).then(|| (*index, list.as_slice()[0].data))
    };
    MSRS.iter().filter_map(read).collect()
}

/// What the processor is in the middle of.
pub(crate) fn activity(vcpu: &VcpuFd) -> io::Result<Activity> {
    let events = vcpu.get_vcpu_events().map_err(error)?;
    Ok(Activity {
        // HLT leaves the guest: whoever runs the processor knows.
        halted: false,
        shadow: events.interrupt.shadow != 0,
        shadow_debug: events.interrupt.shadow & 1 != 0,
        nmi_blocked: events.nmi.masked != 0,
        nmis: events.nmi.pending,
        debug_hits: 0,
    })
}

/// The same, back.
pub(crate) fn set_activity(vcpu: &VcpuFd, from: &Activity) -> io::Result<()> {
    let mut events = kvm_vcpu_events {
        flags: KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_NMI_PENDING,
        ..kvm_vcpu_events::default()
    };
    events.interrupt.shadow = if from.shadow_debug {
        1
    } else {
        u8::from(from.shadow) << 1
    };
    events.nmi.masked = u8::from(from.nmi_blocked);
    events.nmi.pending = from.nmis;
    vcpu.set_vcpu_events(&events).map_err(error)
}

fn quarters(raw: &[u8; 16]) -> [u64; 2] {
    let value = u128::from_le_bytes(*raw);
    [value, value >> 64].map(|part| u64::try_from(part & u128::from(u64::MAX)).unwrap_or(0))
}

/// The kernel counts registers from the stack's top, and knows of tags only "empty".
fn float(from: &kvm_fpu) -> Float {
    let top = usize::from(from.fsw >> 11 & 7);
    let mut out = Float {
        control: from.fcw,
        status: from.fsw,
        tags: 0,
        opcode: from.last_opcode,
        instruction: (from.last_ip, 0),
        operand: (from.last_dp, 0),
        ..Float::default()
    };
    for (n, raw) in from.fpr.iter().enumerate() {
        let [mantissa, exponent] = quarters(raw);
        let exponent = u16::try_from(exponent & 0xffff).unwrap_or(0);
        out.registers[(top + n) % 8] = (mantissa, exponent);
        if from.ftwx >> n & 1 == 0 {
            out.tags |= 3 << (2 * n);
        }
    }
    out
}

fn kernel_fpu(from: &Extended) -> kvm_fpu {
    let float = &from.float;
    let top = usize::from(float.status >> 11 & 7);
    let mut out = kvm_fpu {
        fcw: float.control,
        fsw: float.status,
        last_opcode: float.opcode,
        last_ip: float.instruction.0,
        last_dp: float.operand.0,
        ..kvm_fpu::default()
    };
    for n in 0..8 {
        let (mantissa, exponent) = float.registers[(top + n) % 8];
        out.fpr[n] = (u128::from(mantissa) | u128::from(exponent) << 64).to_le_bytes();
        out.ftwx |= u8::from(float.tags >> (2 * n) & 3 != 3) << n;
    }
    for (into, vector) in out.xmm.iter_mut().zip(&from.vectors) {
        *into = (u128::from(vector[0]) | u128::from(vector[1]) << 64).to_le_bytes();
    }
    out
}
