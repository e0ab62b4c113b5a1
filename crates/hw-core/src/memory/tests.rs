use super::*;

fn shape(space: &AddressSpace) -> Vec<(u64, u64, usize, u64)> {
    let ranges = space.ranges().iter();
    ranges
        .map(|range| match range.backing {
            Backing::Device { device, offset, .. } => (range.start, range.last, device, offset),
            _ => (range.start, range.last, usize::MAX, 0),
        })
        .collect()
}

#[test]
fn the_higher_priority_cuts_the_lower_in_two() {
    let mut space = AddressSpace::new();
    space.map(0, 100, 0, Backing::device(1, 0));
    let hole = space.map(40, 20, 1, Backing::device(2, 0));
    let split = [(0, 39, 1, 0), (40, 59, 2, 0), (60, 99, 1, 60)];
    assert_eq!(shape(&space), split);
    space.set_backing(hole, Backing::Off);
    assert_eq!(shape(&space), [(0, 99, 1, 0)]);
    space.set_backing(hole, Backing::device(3, 0));
    space.move_to(hole, 90);
    assert_eq!(shape(&space), [(0, 89, 1, 0), (90, 109, 3, 0)]);
}

#[test]
fn among_equals_the_later_wins() {
    let mut space = AddressSpace::new();
    space.map(0, 10, 0, Backing::device(1, 0));
    space.map(5, 10, 0, Backing::device(2, 0));
    assert_eq!(shape(&space), [(0, 4, 1, 0), (5, 14, 2, 0)]);
}

#[test]
fn a_mapping_may_end_at_the_top_but_not_wrap() {
    let mut space = AddressSpace::new();
    space.map(u64::MAX - 1, 100, 0, Backing::device(1, 0));
    assert_eq!(shape(&space), [(u64::MAX - 1, u64::MAX, 1, 0)]);
    assert!(space.find(0).is_none());
    assert!(space.find(u64::MAX).is_some());
    space.map(7, 0, 0, Backing::device(2, 0));
    assert!(space.find(7).is_none());
}

#[test]
fn transfers_cross_blocks_and_stop_at_devices() {
    let space = AddressSpace::shared();
    let ram = Ram::new(8192).expect("memory");
    let part = |offset| Backing::Ram {
        ram: ram.clone(),
        offset,
    };
    change(&space).map(0, 4096, 0, part(4096));
    change(&space).map(4096, 4096, 0, part(0));
    change(&space).map(8192, 4096, 0, Backing::device(0, 0));
    let dma = Dma::new(&space);
    dma.write(4094, b"abcd").expect("memory");
    assert_eq!(
        ram.read_uint(0, 2),
        Ok(u64::from(u16::from_le_bytes(*b"cd")))
    );
    let mut back = [0; 4];
    dma.read(4094, &mut back).expect("memory");
    assert_eq!(&back, b"abcd");
    assert_eq!(dma.write(8190, b"abcd"), Err(DmaError));
    assert_eq!(dma.read_uint(u64::MAX, 2), Err(DmaError));
}

#[test]
fn rom_drops_writes() {
    let space = AddressSpace::shared();
    let ram = Ram::new(4096).expect("memory");
    let rom = Backing::Rom {
        ram: ram.clone(),
        offset: 0,
    };
    change(&space).map(0xf_f000, 4096, 0, rom);
    Dma::new(&space).write(0xf_f000, b"x").expect("dropped");
    assert_eq!(ram.read_uint(0, 1), Ok(0));
}
