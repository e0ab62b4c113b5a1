//! Guest memory by host address, and the bus while a processor runs.
//!
//! A `HostPage` is only made by [`crate::map::Map`], from a block of guest RAM that the map keeps; whoever holds one keeps the map.
#![expect(
    unsafe_code,
    reason = "the guest's memory is reached by host addresses kept in the TLB"
)]

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use accel_core::CpuBus;
use x86_cpu::word::{Unit, Word, high64, low8, low16, low32, low64};

/// Bytes without alignment, so that one volatile access reads or writes them.
#[repr(C, packed)]
#[derive(Clone, Copy)]
struct Loose<T>(T);

/// Reads guest memory at a host address.
///
/// # Safety
/// `T::BYTES` bytes at `address` lie in a live block of guest memory.
#[inline(always)]
pub(crate) unsafe fn read<T: Unit>(address: u64) -> T {
    let from = std::ptr::with_exposed_provenance::<Loose<T>>(host(address));
    // SAFETY: the caller's promise; the packed type has no alignment, and the units are plain numbers.
    unsafe { from.read_volatile() }.0
}

/// Writes guest memory at a host address.
///
/// # Safety
/// `T::BYTES` bytes at `address` lie in a live block of guest memory.
#[inline(always)]
pub(crate) unsafe fn write<T: Unit>(address: u64, value: T) {
    let to = std::ptr::with_exposed_provenance_mut::<Loose<T>>(host(address));
    // SAFETY: the caller's promise; the packed type has no alignment.
    unsafe { to.write_volatile(Loose(value)) }
}

#[inline(always)]
fn host(address: u64) -> usize {
    x86_cpu::word::index(address)
}

/// Serialises locked operations that no host instruction can do at once.
static SPLIT: Mutex<()> = Mutex::new(());

macro_rules! exchange {
    ($name:ident, $atomic:ty, $cut:path) => {
        /// # Safety
        /// The bytes at `address` lie in a live block of guest memory and are aligned.
        unsafe fn $name(address: u64, change: &mut dyn FnMut(u64) -> u64) -> u64 {
            let at = std::ptr::with_exposed_provenance_mut(host(address));
            // SAFETY: the caller's promise; all of guest memory may be accessed by atomics.
            let cell = unsafe { <$atomic>::from_ptr(at) };
            let mut old = cell.load(Ordering::Relaxed);
            loop {
                let new = $cut(change(u64::from(old)));
                match cell.compare_exchange_weak(old, new, Ordering::SeqCst, Ordering::Relaxed) {
                    Ok(_) => return u64::from(old),
                    Err(now) => old = now,
                }
            }
        }
    };
}

exchange!(exchange_8, AtomicU8, low8);
exchange!(exchange_16, AtomicU16, low16);
exchange!(exchange_32, AtomicU32, low32);
exchange!(exchange_64, AtomicU64, u64::from);

/// Replaces a value in one atomic step; one that is not aligned is only atomic to others like it.
///
/// # Safety
/// The bytes at `address` lie in a live block of guest memory.
pub(crate) unsafe fn update<W: Word>(address: u64, mut change: impl FnMut(u64) -> u64) -> u64 {
    if !address.is_multiple_of(u64::from(W::BITS / 8)) {
        let _held = SPLIT.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the caller's promise.
        let old = unsafe { read::<W>(address) }.zx();
        // SAFETY: the caller's promise.
        unsafe { write(address, W::cut(change(old))) };
        return old;
    }
    match W::BITS {
        // SAFETY: the caller's promise, and the alignment was checked.
        8 => unsafe { exchange_8(address, &mut change) },
        // SAFETY: as above.
        16 => unsafe { exchange_16(address, &mut change) },
        // SAFETY: as above.
        32 => unsafe { exchange_32(address, &mut change) },
        // SAFETY: as above.
        _ => unsafe { exchange_64(address, &mut change) },
    }
}

/// Compares and replaces 16 bytes in one atomic step; gives the old value.
///
/// # Safety
/// The bytes at `address` lie in a live block of guest memory; the address is a multiple of 16.
pub(crate) unsafe fn exchange_pair(address: u64, expected: u128, new: u128) -> u128 {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("cmpxchg16b") {
        // SAFETY: the instruction exists, and the caller promises memory and alignment.
        return unsafe { exchange_pair_native(address, expected, new) };
    }
    let _held = SPLIT.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: the caller's promise.
    let old = unsafe { read::<u128>(address) };
    if old == expected {
        // SAFETY: the caller's promise.
        unsafe { write(address, new) };
    }
    old
}

/// # Safety
/// As for [`exchange_pair`]; the processor has CMPXCHG16B.
#[cfg(target_arch = "x86_64")]
unsafe fn exchange_pair_native(address: u64, expected: u128, new: u128) -> u128 {
    let (mut low, mut high) = (low64(expected), high64(expected));
    // SAFETY: the caller's promise. RBX, which the compiler keeps for itself, is put back.
    unsafe {
        std::arch::asm!(
            "xchg {new_low}, rbx",
            "lock cmpxchg16b [{at}]",
            "mov rbx, {new_low}",
            new_low = inout(reg) low64(new) => _,
            at = in(reg) address,
            in("rcx") high64(new),
            inout("rax") low,
            inout("rdx") high,
            options(nostack),
        );
    }
    u128::from(high) << 64 | u128::from(low)
}

/// Copies between two places of guest memory as if byte by byte upwards, by units; they may overlap.
///
/// # Safety
/// `bytes` bytes at both addresses lie in live blocks of guest memory.
pub(crate) unsafe fn copy(from: u64, to: u64, bytes: usize) {
    let source = std::ptr::with_exposed_provenance::<u8>(host(from));
    let target = std::ptr::with_exposed_provenance_mut::<u8>(host(to));
    // SAFETY: the caller's promise; `copy` allows overlap.
    unsafe { std::ptr::copy(source, target, bytes) }
}

/// Fills guest memory with a byte.
///
/// # Safety
/// `bytes` bytes at the address lie in a live block of guest memory.
pub(crate) unsafe fn fill(to: u64, value: u8, bytes: usize) {
    let target = std::ptr::with_exposed_provenance_mut::<u8>(host(to));
    // SAFETY: the caller's promise.
    unsafe { std::ptr::write_bytes(target, value, bytes) }
}

/// The bus that a running processor was given; empty while it does not run.
#[derive(Default)]
pub(crate) struct BusSlot(Option<*mut (dyn CpuBus + 'static)>);

// SAFETY: the slot is filled and emptied within one call of `run`, on the thread that runs the processor.
unsafe impl Send for BusSlot {}

impl BusSlot {
    /// Fills the slot.
    ///
    /// # Safety
    /// The slot must be emptied before `bus` may be used again.
    pub(crate) unsafe fn fill(&mut self, bus: &mut dyn CpuBus) {
        let bus: *mut (dyn CpuBus + '_) = bus;
        // SAFETY: only the lifetime is dropped; the caller promises to empty the slot in time.
        self.0 = Some(unsafe {
            std::mem::transmute::<*mut (dyn CpuBus + '_), *mut (dyn CpuBus + 'static)>(bus)
        });
    }

    /// Empties the slot.
    pub(crate) fn empty(&mut self) {
        self.0 = None;
    }

    /// The bus, while the processor runs.
    pub(crate) fn get(&mut self) -> Option<&mut dyn CpuBus> {
        // SAFETY: a filled slot holds a bus that is borrowed for the slot's use alone.
        self.0.map(|bus| unsafe { &mut *bus })
    }
}
