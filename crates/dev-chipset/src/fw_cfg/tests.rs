use super::*;
use guest_mem::Ram;
use hw_core::memory::{AddressSpace, Backing, change};

fn device() -> (FwCfg, Ram) {
    let space = AddressSpace::shared();
    let ram = Ram::new(0x4000).expect("memory");
    let backing = Backing::Ram {
        ram: ram.clone(),
        offset: 0,
    };
    change(&space).map(0, 0x4000, 0, backing);
    let mut items = Items::new();
    items.put32(key::RAM_SIZE, 0x1234);
    assert!(items.file("etc/b", vec![1, 2, 3]));
    assert!(items.writable_file("etc/a", vec![9; 4]));
    assert!(!items.file(&"x".repeat(56), vec![]));
    (FwCfg::new(items, Dma::new(&space)), ram)
}

fn request(device: &mut FwCfg, ram: &Ram, control: u32, length: u32, address: u64) -> u32 {
    let mut raw = control.to_be_bytes().to_vec();
    raw.extend(length.to_be_bytes());
    raw.extend(address.to_be_bytes());
    ram.write(0x100, &raw).expect("fits");
    device.write(1, 4, 4, u64::from(0x100_u32.swap_bytes()));
    let mut answer = [0; 4];
    ram.read(0x100, &mut answer).expect("fits");
    u32::from_be_bytes(answer)
}

#[test]
fn items_are_read_byte_by_byte() {
    let (mut device, _) = device();
    device.write(0, 0, 2, 0);
    let signature: Vec<u64> = (0..6).map(|_| device.read(0, 1, 1)).collect();
    assert_eq!(signature, [0x51, 0x45, 0x4d, 0x55, 0, 0]);
    device.write(0, 0, 2, 3);
    assert_eq!((device.read(0, 1, 1), device.read(0, 1, 1)), (0x34, 0x12));
    assert_eq!(device.read(1, 0, 8), u64::from_le_bytes(*b"QEMU CFG"));
    assert_eq!(
        device.read(1, 4, 4),
        u64::from(u32::from_le_bytes(*b" CFG"))
    );
}

#[test]
fn the_directory_is_in_order_and_files_follow() {
    let (mut device, ram) = device();
    assert_eq!(request(&mut device, &ram, 0x0019_000a, 4 + 128, 0x800), 0);
    let mut raw = [0; 132];
    ram.read(0x800, &mut raw).expect("fits");
    assert_eq!(raw[..12], [0, 0, 0, 2, 0, 0, 0, 4, 0, 0x20, 0, 0]);
    assert_eq!(&raw[12..18], b"etc/a\0");
    assert_eq!(request(&mut device, &ram, 0x0021_000a, 5, 0x900), 0);
    assert_eq!(ram.read_uint(0x900, 5), Ok(0x0003_0201));
}

#[test]
fn only_writable_files_are_written_and_only_inside() {
    let (mut device, ram) = device();
    ram.write(0x700, &[5, 6]).expect("fits");
    assert_eq!(request(&mut device, &ram, 0x0020_0018, 2, 0x700), 0);
    assert_eq!(request(&mut device, &ram, 0x0021_0018, 2, 0x700), 1);
    assert_eq!(request(&mut device, &ram, 0x0020_0018, 5, 0x700), 1);
    device.write(0, 0, 2, 0x20);
    assert_eq!((device.read(0, 1, 1), device.read(0, 1, 1)), (5, 6));
    let saved = device.save();
    device.reset();
    device.write(0, 0, 2, 0x20);
    assert_eq!(device.read(0, 1, 1), 9);
    device.restore(&saved).expect("its own");
}

#[test]
fn a_request_outside_memory_ends_with_an_error() {
    let (mut device, ram) = device();
    assert_eq!(request(&mut device, &ram, 0x0021_000a, u32::MAX, 0x800), 1);
    assert_eq!(request(&mut device, &ram, 0x0021_000a, 3, u64::MAX - 1), 1);
    device.write(1, 0, 8, u64::MAX);
}
