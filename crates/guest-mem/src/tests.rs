use super::*;

#[test]
fn copies_name_the_same_bytes() {
    let ram = Ram::new(5000).expect("memory");
    let other = ram.clone();
    ram.write(4090, b"hello").expect("inside");
    let mut back = [0; 5];
    other.read(4090, &mut back).expect("inside");
    assert_eq!(&back, b"hello");
    assert!(ram.same(&other));
    assert_eq!(ram.size(), 8192);
}

#[test]
fn numbers_are_little_endian() {
    let ram = Ram::new(PAGE).expect("memory");
    ram.write_uint(3, 4, 0x1122_3344_5566_7788).expect("inside");
    assert_eq!(ram.read_uint(3, 4), Ok(0x5566_7788));
    assert_eq!(ram.read_uint(6, 2), Ok(0x0055));
}

#[test]
fn accesses_beyond_the_end_are_refused_whole() {
    let ram = Ram::new(PAGE).expect("memory");
    assert_eq!(ram.write(4094, b"abc"), Err(OutOfRange));
    assert_eq!(ram.read_uint(4094, 2), Ok(0));
    assert_eq!(ram.read(u64::MAX, &mut [0]), Err(OutOfRange));
    assert_eq!(ram.read_uint(0, 9), Err(OutOfRange));
}

#[test]
fn impossible_sizes_are_refused() {
    assert!(Ram::new(0).is_err());
    assert!(Ram::new(u64::MAX).is_err());
    assert!(Ram::new(1 << 63).is_err());
}
