//! What tests of controllers have in common: memory, a hard disk, a CD.

use std::sync::{Arc, Mutex};

use backend_core::disk::MemoryDisk;
use guest_mem::Ram;
use hw_core::memory::{AddressSpace, Backing, Shared, change};

use crate::ide::{Drive, DriveOptions};

pub(crate) type SharedDisk = Arc<Mutex<MemoryDisk>>;

/// A guest's memory.
pub(crate) fn memory(bytes: u64) -> (Ram, Shared) {
    let ram = Ram::new(bytes).expect("memory");
    let memory = AddressSpace::shared();
    let backing = Backing::Ram {
        ram: ram.clone(),
        offset: 0,
    };
    change(&memory).map(0, bytes, 0, backing);
    (ram, memory)
}

/// A hard disk of 4096 empty sectors.
pub(crate) fn hard_disk() -> (SharedDisk, Drive) {
    let disk: SharedDisk = Arc::new(Mutex::new(MemoryDisk::new(4096 * 512)));
    let drive = Drive::disk(Box::new(Arc::clone(&disk)), options("QEMU HARDDISK"));
    (disk, drive)
}

/// What a disc holds; no two sectors are alike.
pub(crate) fn disc_bytes() -> impl Iterator<Item = u8> {
    (0_u8..=250).cycle()
}

/// A CD drive with a disc of 1000 sectors.
pub(crate) fn cd() -> (SharedDisk, Drive) {
    let mut disc = MemoryDisk::default();
    disc.bytes = disc_bytes().take(1000 * 2048).collect();
    disc.read_only = true;
    let disc: SharedDisk = Arc::new(Mutex::new(disc));
    let drive = Drive::cd(Some(Box::new(Arc::clone(&disc))), options("QEMU DVD-ROM"));
    (disc, drive)
}

fn options(model: &str) -> DriveOptions {
    DriveOptions {
        serial: "QM00001".to_owned(),
        model: model.to_owned(),
        version: "2.5+".to_owned(),
    }
}
