use super::*;
use crate::convert::tests::Told;
use crate::fake::{CLUSTER, Disk, disk};
use crate::pool::block_on;
use block_core::WriteFlags;

fn filled(size: u64, writes: &[(u64, u8)]) -> Disk {
    let disk = disk("disk", size, None);
    for (offset, byte) in writes {
        block_on(disk.root.write(*offset, &[*byte], WriteFlags::default())).unwrap();
    }
    disk
}

fn run(a: &Disk, b: &Disk, strict: bool) -> Comparison {
    let images = [Arc::clone(&a.root), Arc::clone(&b.root)];
    let options = CompareOptions { strict, workers: 3 };
    block_on(compare(images, options, Arc::new(Told::default()))).unwrap()
}

#[test]
fn equal_disks_are_equal() {
    let a = filled(4 << 20, &[(5000, 1), (3 << 20, 2)]);
    let b = filled(4 << 20, &[(3 << 20, 2), (5000, 1)]);
    let equal = Comparison {
        size_differs: false,
        difference: None,
    };
    assert_eq!(run(&a, &b, false), equal);
    assert_eq!(run(&a, &b, true), equal);
}

#[test]
fn the_first_difference_is_the_one_told() {
    let a = filled(8 << 20, &[(1 << 20, 1), (6 << 20, 3)]);
    for at in [700_000_u64, (1 << 20) + 700, (8 << 20) - 1] {
        let b = filled(8 << 20, &[(1 << 20, 1), (6 << 20, 3), (at, 9)]);
        let found = run(&a, &b, false);
        assert_eq!(found.difference, Some(Difference::Content(at / 512 * 512)));
        assert_eq!(run(&b, &a, false), found);
    }
}

#[test]
fn stored_zeroes_equal_missing_ones_unless_strict() {
    let a = filled(1 << 20, &[(9 * CLUSTER, 0)]);
    let b = filled(1 << 20, &[]);
    assert_eq!(run(&a, &b, false).difference, None);
    assert_eq!(
        run(&a, &b, true).difference,
        Some(Difference::Status(9 * CLUSTER))
    );
}

#[test]
fn a_longer_disk_of_zeroes_is_equal_with_a_warning() {
    let a = filled(1 << 20, &[(0, 1)]);
    let b = filled(2 << 20, &[(0, 1)]);
    let found = run(&a, &b, false);
    assert!(found.size_differs && found.difference.is_none());
    assert_eq!(run(&a, &b, true).difference, Some(Difference::Size));
}

#[test]
fn data_past_the_shorter_end_is_a_difference() {
    let a = filled(1 << 20, &[]);
    let b = filled(2 << 20, &[((1 << 20) + 4096, 1)]);
    let found = run(&b, &a, false);
    assert!(found.size_differs);
    assert_eq!(
        found.difference,
        Some(Difference::Content((1 << 20) + 4096))
    );
}

#[test]
fn a_difference_in_the_common_part_hides_the_sizes() {
    let a = filled(1 << 20, &[(0, 1)]);
    let b = filled(2 << 20, &[]);
    assert!(!run(&a, &b, false).size_differs);
}
