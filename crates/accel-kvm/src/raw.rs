//! The calls to the kernel that no safe crate covers.
#![expect(
    unsafe_code,
    reason = "memory slots, interrupt injection and signals have no safe face"
)]

use std::cell::Cell;
use std::io;
use std::ptr::null_mut;

use accel_core::Slot;
use kvm_bindings::{KVM_MEM_READONLY, KVMIO, kvm_interrupt, kvm_userspace_memory_region};
use kvm_ioctls::{VcpuFd, VmFd};
use vmm_sys_util::ioctl::ioctl_with_ref;
use vmm_sys_util::ioctl_iow_nr;
use vmm_sys_util::signal::{SIGRTMIN, register_signal_handler};

ioctl_iow_nr!(KVM_INTERRUPT, KVMIO, 0x86, kvm_interrupt);

thread_local! {
    /// `immediate_exit` of the processor that runs on this thread.
    static LEAVE: Cell<*mut u8> = const { Cell::new(null_mut()) };
}

/// An error of kvm-ioctls as one of ours.
pub(crate) fn error(error: kvm_ioctls::Error) -> io::Error {
    io::Error::from_raw_os_error(error.errno())
}

/// Maps (or with `size` zero takes away) a slot.
pub(crate) fn set_slot(vm: &VmFd, number: usize, slot: &Slot, size: u64) -> io::Result<()> {
    let wrong = || io::Error::from(io::ErrorKind::InvalidInput);
    let end = slot.offset.checked_add(slot.size).ok_or_else(wrong)?;
    if end > slot.ram.size() {
        return Err(wrong());
    }
    let region = kvm_userspace_memory_region {
        slot: u32::try_from(number).map_err(|_| wrong())?,
        flags: if slot.read_only { KVM_MEM_READONLY } else { 0 },
        guest_phys_addr: slot.start,
        memory_size: size,
        userspace_addr: slot.ram.host_address() + slot.offset,
    };
    // SAFETY: the range lies inside the block (checked above), and the caller keeps the block in its slot list until
    // the slot is taken away or the machine is gone.
    let done = unsafe { vm.set_user_memory_region(region) };
    done.map_err(error)
}

/// Puts an interrupt into a processor that said it is ready for one.
pub(crate) fn inject(vcpu: &VcpuFd, vector: u8) -> io::Result<()> {
    let interrupt = kvm_interrupt {
        irq: u32::from(vector),
    };
    // SAFETY: KVM_INTERRUPT reads one `kvm_interrupt`, which lives through the call.
    let code = unsafe { ioctl_with_ref(vcpu, KVM_INTERRUPT(), &interrupt) };
    if code < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// After a port exit: the port, the size of a unit (1, 2 or 4) and all units of the transfer. String instructions
/// move several at once.
pub(crate) fn port_transfer(vcpu: &mut VcpuFd) -> (u16, usize, &mut [u8]) {
    let run = vcpu.get_kvm_run();
    // SAFETY: the last exit was KVM_EXIT_IO, so `io` is the member the kernel filled.
    let io = unsafe { run.__bindgen_anon_1.io };
    let unit = usize::from(io.size).clamp(1, 4);
    let bytes = unit.saturating_mul(usize::try_from(io.count).unwrap_or(0));
    let start = (&raw mut *run).cast::<u8>();
    let offset = usize::try_from(io.data_offset).unwrap_or(0);
    // SAFETY: the kernel puts the data into the area it maps behind `kvm_run`, at this offset.
    let data = unsafe { start.add(offset) };
    // SAFETY: size times count bytes lie there, and nobody else touches them until the next KVM_RUN, which the
    // borrow of the processor keeps away.
    let data = unsafe { std::slice::from_raw_parts_mut(data, bytes) };
    (io.port, unit, data)
}

/// Where XSAVE's standard form has MXCSR, the vector registers, what is in use, and their upper halves; words of 32 bits.
const MXCSR: usize = 24 / 4;
const LOWER: usize = 160 / 4;
const XSTATE_BV: usize = 512 / 4;
const UPPER: usize = 576 / 4;

/// MXCSR and the vector registers, as after power-on where the kernel has no XSAVE. The lower halves may be older than what the
/// call for floating point gives.
pub(crate) fn vectors(vcpu: &VcpuFd) -> (u32, [[u64; 4]; 16]) {
    let mut out = [[0; 4]; 16];
    let Ok(area) = vcpu.get_xsave() else {
        return (0x1f80, out);
    };
    let in_use = area.region[XSTATE_BV];
    if in_use & 4 != 0 {
        let words = area.region[UPPER..UPPER + 64].as_chunks::<4>().0;
        for (into, from) in out.iter_mut().zip(words) {
            let pair = |n: usize| u64::from(from[n]) | u64::from(from[n + 1]) << 32;
            *into = [0, 0, pair(0), pair(2)];
        }
    }
    let mxcsr = if in_use & 6 == 0 {
        0x1f80
    } else {
        area.region[MXCSR]
    };
    (mxcsr, out)
}

/// Sets MXCSR and the vector registers. A kernel without XSAVE has set the lower halves with floating point.
pub(crate) fn set_vectors(vcpu: &VcpuFd, mxcsr: u32, vectors: &[[u64; 4]; 16]) -> io::Result<()> {
    let Ok(mut area) = vcpu.get_xsave() else {
        return Ok(());
    };
    let halves = |value: u64| [value & 0xffff_ffff, value >> 32];
    let word = |value: u64| u32::try_from(value).unwrap_or(0);
    for (n, vector) in vectors.iter().enumerate() {
        for (at, pair) in [(LOWER, &vector[..2]), (UPPER, &vector[2..])] {
            let words = pair.iter().flat_map(|value| halves(*value)).map(word);
            for (into, word) in area.region[at + 4 * n..].iter_mut().zip(words) {
                *into = word;
            }
        }
    }
    area.region[MXCSR] = mxcsr;
    area.region[XSTATE_BV] |= 2;
    if vectors.iter().any(|vector| vector[2..] != [0; 2]) {
        area.region[XSTATE_BV] |= 4;
    }
    // SAFETY: the area came from the kernel; no features beyond its 4 KiB are enabled for guests (that takes an explicit
    // request to the kernel, which this program never makes).
    unsafe { vcpu.set_xsave(&area) }.map_err(error)
}

/// The signal that kicks processors.
fn signal() -> libc::c_int {
    SIGRTMIN() + 1
}

extern "C" fn on_signal(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    LEAVE.with(|leave| {
        let flag = leave.get();
        if !flag.is_null() {
            // SAFETY: the flag belongs to the processor that this very thread runs; `Running` clears it before
            // the processor can go away.
            unsafe { flag.write_volatile(1) };
        }
    });
}

/// Prepares this process for kicks.
pub(crate) fn install() -> io::Result<()> {
    register_signal_handler(signal(), on_signal)
        .map_err(|e| io::Error::from_raw_os_error(e.errno()))
}

/// While it lives, a kick to this thread makes the processor leave.
pub(crate) struct Running;

impl Running {
    pub(crate) fn new(vcpu: &mut VcpuFd) -> Self {
        let flag = &raw mut vcpu.get_kvm_run().immediate_exit;
        LEAVE.with(|leave| leave.set(flag));
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        LEAVE.with(|leave| leave.set(null_mut()));
    }
}

/// A thread to kick.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Thread(libc::pid_t);

impl Thread {
    /// The calling thread.
    pub(crate) fn this() -> Self {
        // SAFETY: the call has no arguments and cannot fail.
        Self(unsafe { libc::gettid() })
    }

    /// Sends the kick. A thread that is gone is no error.
    pub(crate) fn kick(self) {
        let process = std::process::id();
        // SAFETY: tgkill takes three numbers and touches no memory of ours; a wrong thread is refused.
        unsafe { libc::syscall(libc::SYS_tgkill, process, self.0, signal()) };
    }
}
