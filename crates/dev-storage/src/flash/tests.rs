use std::sync::{Arc, Mutex};

use backend_core::disk::MemoryDisk;
use guest_mem::Ram;
use hw_core::Device;
use hw_core::memory::{AddressSpace, Backing, Shared, look};

use super::{BLOCK, Flash};

const START: u64 = 0xffff_0000;
const SIZE: u64 = 0x1_0000;

struct Bench {
    memory: Shared,
    ram: Ram,
    disk: Arc<Mutex<MemoryDisk>>,
    flash: Flash,
}

fn bench(writable: bool) -> Bench {
    let memory = AddressSpace::shared();
    let ram = Ram::new(SIZE).expect("memory");
    let disk = Arc::new(Mutex::new(MemoryDisk::new(0x1_0000)));
    let backend = writable.then(|| Box::new(Arc::clone(&disk)) as Box<_>);
    let flash = Flash::new(ram.clone(), START, 7, &memory, backend);
    Bench {
        memory,
        ram,
        disk,
        flash,
    }
}

impl Bench {
    fn put(&mut self, offset: u64, bytes: &[u8]) {
        for byte in bytes {
            self.flash.write(0, offset, 1, u64::from(*byte));
        }
    }

    fn get(&mut self, offset: u64) -> u64 {
        self.flash.read(0, offset, 1)
    }

    fn is_array(&self) -> bool {
        let found = look(&self.memory).find(START + 5).expect("mapped");
        matches!(found.backing, Backing::Flash { offset: 5, .. })
    }

    fn byte(&self, offset: u64) -> u64 {
        self.ram.read_uint(offset, 1).expect("inside")
    }
}

#[test]
fn bytes_are_programmed_and_reach_the_disk() {
    let mut bench = bench(true);
    assert!(bench.is_array());
    bench.put(0x1234, &[0x10, 0x5a]);
    assert!(!bench.is_array());
    assert_eq!(bench.get(0x1234), 0x80);
    bench.put(0x1235, &[0x40, 0x5b]);
    bench.put(0, &[0xff]);
    assert!(bench.is_array());
    assert_eq!((bench.byte(0x1234), bench.byte(0x1235)), (0x5a, 0x5b));
    bench.flash.completed();
    bench.flash.completed();
    assert_eq!(
        bench.disk.lock().unwrap().bytes[0x1234..0x1236],
        [0x5a, 0x5b]
    );
}

#[test]
fn a_write_that_waits_behind_another_is_stored_too() {
    let mut bench = bench(true);
    bench.disk.lock().unwrap().held = true;
    assert!(!bench.flash.storing());
    bench.put(0x10, &[0x10, 1]);
    bench.put(0x8000, &[0x10, 2]);
    bench.put(0x20, &[0x10, 3]);
    for writes in [1, 2] {
        assert!(bench.flash.storing());
        assert_eq!(bench.disk.lock().unwrap().log.len(), writes);
        bench.disk.lock().unwrap().let_go();
        bench.flash.completed();
    }
    assert!(!bench.flash.storing());
    let disk = bench.disk.lock().unwrap();
    let stored = [0x10, 0x8000, 0x20].map(|at: usize| disk.bytes[at]);
    assert_eq!(stored, [1, 2, 3]);
}

#[test]
fn a_block_is_erased_after_confirmation_only() {
    let mut bench = bench(true);
    bench.put(BLOCK + 8, &[0x20, 0x00]);
    assert_eq!(bench.byte(BLOCK + 8), 0);
    bench.put(BLOCK + 8, &[0x20, 0xd0]);
    assert_eq!((bench.byte(BLOCK), bench.byte(2 * BLOCK - 1)), (0xff, 0xff));
    assert_eq!((bench.byte(BLOCK - 1), bench.byte(2 * BLOCK)), (0, 0));
}

#[test]
fn a_buffer_is_written_at_once() {
    let mut bench = bench(true);
    bench.put(16, &[0xe8, 1]);
    bench.put(16, &[7]);
    bench.put(17, &[8]);
    assert_eq!(bench.byte(16), 0);
    bench.put(16, &[0xd0]);
    assert_eq!((bench.byte(16), bench.byte(17)), (7, 8));
    assert_eq!(bench.disk.lock().unwrap().log.len(), 1);
}

#[test]
fn a_read_only_flash_says_that_it_failed() {
    let mut bench = bench(false);
    bench.put(0, &[0x10, 0x5a]);
    assert_eq!((bench.get(0), bench.byte(0)), (0x90, 0));
    bench.put(0, &[0x50]);
    bench.put(0, &[0x20, 0xd0]);
    assert_eq!(bench.get(0), 0xa0);
    bench.put(0, &[0x50, 0x70]);
    assert_eq!(bench.get(0), 0);
}

#[test]
fn identity_and_query_are_shown() {
    let mut bench = bench(true);
    bench.put(0, &[0x90]);
    assert_eq!((bench.get(0), bench.get(1)), (0x89, 0x18));
    bench.put(0, &[0x98]);
    assert_eq!(bench.flash.read(0, 0x10, 4) & 0xff_ffff, 0x59_5251);
    assert_eq!(bench.get(0x27), 16);
    bench.flash.reset();
    assert!(bench.is_array());
}

#[test]
fn a_saved_flash_shows_the_same() {
    let mut bench = bench(true);
    bench.put(0, &[0x70]);
    let saved = bench.flash.save();
    bench.flash.reset();
    bench.flash.restore(&saved).expect("its own state");
    assert!(!bench.is_array());
    assert!(bench.flash.restore(&serde_json::Value::Null).is_err());
}
