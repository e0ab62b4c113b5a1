//! What the guest's processor says about itself: what KVM offers, without what needs the kernel's own interrupt
//! controller.

use kvm_bindings::CpuId;

/// The leaf of KVM's own features (Linux, Documentation/virt/kvm/x86/cpuid.rst).
const KVM_CPUID_FEATURES: u32 = 0x4000_0001;
const X2APIC: u32 = 1 << 21;
const TSC_DEADLINE: u32 = 1 << 24;
const HYPERVISOR: u32 = 1 << 31;

/// KVM's offer, adapted.
pub(crate) fn adapted(offer: &CpuId) -> CpuId {
    let mut cpuid = offer.clone();
    for entry in cpuid.as_mut_slice() {
        match entry.function {
            1 => {
                entry.ecx = entry.ecx & !(X2APIC | TSC_DEADLINE) | HYPERVISOR;
                // Initial APIC id in the top byte, one logical processor.
                entry.ebx = entry.ebx & 0x0000_ffff | 1 << 16;
            }
            // Steal time, asynchronous page faults and end-of-interrupt by memory need the kernel's controller; the
            // clocks (bits 0, 3 and 24) do not.
            KVM_CPUID_FEATURES => {
                entry.eax &= 1 | 1 << 3 | 1 << 24;
                entry.edx = 0;
            }
            _ => {}
        }
    }
    cpuid
}

/// The same for processor `index`, which says its APIC id in leaves 1, 0xb and 0x1f.
pub(crate) fn of_processor(all: &CpuId, index: u8) -> CpuId {
    let mut cpuid = all.clone();
    for entry in cpuid.as_mut_slice() {
        match entry.function {
            1 => entry.ebx = entry.ebx & 0x00ff_ffff | u32::from(index) << 24,
            0xb | 0x1f => entry.edx = u32::from(index),
            _ => {}
        }
    }
    cpuid
}
