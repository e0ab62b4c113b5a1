//! Processors run by the Linux kernel.
//!
//! The interrupt controllers are the machine's own, not the kernel's: interrupts are put in when the guest can take
//! one. GAP: no in-kernel interrupt chips (slower for guests with much interrupt load), no dirty log.
#![deny(unsafe_code)]

mod convert;
mod cpuid;
mod raw;
mod speed;
mod state;
mod vcpu;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use accel_core::{Accel, Slot, Vcpu};
use kvm_bindings::CpuId;
use kvm_ioctls::{Cap, Kvm, VmFd};

#[cfg(test)]
mod tests;

/// Where KVM may put the three pages it needs on some processors, below the firmware.
const TSS_ADDRESS: usize = 0xfffb_d000;

/// A virtual machine of KVM's.
pub struct KvmAccel {
    vm: Arc<VmFd>,
    cpuid: CpuId,
    slots: Mutex<Vec<Option<Slot>>>,
    read_only_memory: bool,
}

impl KvmAccel {
    /// Opens `/dev/kvm` and makes a machine.
    ///
    /// # Errors
    /// No KVM here, no permission, or one that lacks what we need.
    pub fn new() -> io::Result<Self> {
        let kvm = Kvm::new().map_err(raw::error)?;
        if kvm.get_api_version() != 12 || !kvm.check_extension(Cap::ImmediateExit) {
            return Err(io::Error::other("KVM is too old"));
        }
        let vm = kvm.create_vm().map_err(raw::error)?;
        vm.set_tss_address(TSS_ADDRESS).map_err(raw::error)?;
        let cpuid = kvm
            .get_supported_cpuid(kvm_bindings::KVM_MAX_CPUID_ENTRIES)
            .map_err(raw::error)?;
        Ok(Self {
            vm: Arc::new(vm),
            cpuid: cpuid::adapted(&cpuid),
            slots: Mutex::new(Vec::new()),
            read_only_memory: kvm.check_extension(Cap::ReadonlyMem),
        })
    }
}

impl KvmAccel {
    /// Whether this KVM has no hardware behind it: a short loop in a machine of its own takes far too long.
    pub fn only_emulates(&self) -> bool {
        speed::loop_time().is_ok_and(|time| time > speed::TOO_LONG)
    }
}

impl Accel for KvmAccel {
    fn name(&self) -> &'static str {
        "kvm"
    }

    fn processor(&self, index: u8) -> io::Result<Box<dyn Vcpu>> {
        let vcpu = self.vm.create_vcpu(u64::from(index)).map_err(raw::error)?;
        vcpu.set_cpuid2(&cpuid::of_processor(&self.cpuid, index))
            .map_err(raw::error)?;
        Ok(Box::new(vcpu::KvmVcpu::new(vcpu, index)?))
    }

    fn map(&self, slots: &[Slot]) -> io::Result<()> {
        let mut kept = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        // A kernel that cannot map read-only memory sees device registers there: slow, and no code can run from it.
        let wanted: Vec<&Slot> = slots
            .iter()
            .filter(|slot| self.read_only_memory || !slot.read_only)
            .collect();
        for (number, held) in kept.iter_mut().enumerate() {
            let stays = |slot: &&Slot| held.as_ref().is_some_and(|old| old.same(slot));
            if !wanted.iter().any(stays)
                && let Some(old) = held.take()
            {
                raw::set_slot(&self.vm, number, &old, 0)?;
            }
        }
        for slot in wanted {
            if kept.iter().flatten().any(|old| old.same(slot)) {
                continue;
            }
            let number = match kept.iter().position(Option::is_none) {
                Some(number) => number,
                None => {
                    kept.push(None);
                    kept.len() - 1
                }
            };
            raw::set_slot(&self.vm, number, slot, slot.size)?;
            kept[number] = Some(slot.clone());
        }
        Ok(())
    }
}
