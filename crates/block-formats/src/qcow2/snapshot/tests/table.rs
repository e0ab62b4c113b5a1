//! The table's bytes and the counting of uses.

use proptest::prelude::*;

use std::collections::BTreeSet;

use super::super::deltas::Deltas;
use super::super::plan::Plan;
use super::super::table::{Decoder, Entry, MAX_TABLE_BYTES, Reading, Step, Table, encode};

fn decode(bytes: &[u8], count: u32, reading: Reading) -> qapi::Result<Table> {
    let mut decoder = Decoder::new(count, reading);
    let mut at = 0;
    loop {
        match decoder.step(&bytes[at..])? {
            Step::Used(used) => at += used,
            Step::Need(_) => panic!("the table is cut"),
            Step::Done => return Ok(decoder.finish()),
        }
    }
}

fn sample() -> Entry {
    Entry {
        l1_offset: 0x90000,
        l1_size: 1,
        id: b"1".to_vec(),
        name: b"one".to_vec(),
        date_sec: 1_795_455_470,
        date_nsec: 531_834_000,
        vm_clock_nsec: 5,
        vm_state_size: 7,
        disk_size: Some(64 << 20),
        icount: Some(0),
        unknown_extra: b"later".to_vec(),
    }
}

/// An entry with this much extra data, as other writers may make it.
fn foreign(extra: &[u8], vm_state_size: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(0x90000_u64.to_be_bytes());
    bytes.extend(1_u32.to_be_bytes());
    bytes.extend(1_u16.to_be_bytes());
    bytes.extend(3_u16.to_be_bytes());
    bytes.extend([0; 16]);
    bytes.extend(vm_state_size.to_be_bytes());
    bytes.extend(u32::try_from(extra.len()).unwrap().to_be_bytes());
    bytes.extend(extra);
    bytes.extend(b"1one");
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

#[test]
fn entry_without_extra_data_takes_the_old_fields() {
    let table = decode(&foreign(&[], 77), 1, Reading::Strict).unwrap();
    let entry = &table.entries[0];
    assert_eq!(
        (entry.vm_state_size, entry.disk_size, entry.icount),
        (77, None, None)
    );
    assert_eq!(entry.info(512).disk_size, 512);
}

#[test]
fn rewritten_entry_has_all_known_extra_data_and_keeps_unknown() {
    let long = decode(
        &foreign(b"abcdeabcdeabcdeabcdeabcdeabcde", 0),
        1,
        Reading::Strict,
    )
    .unwrap();
    assert_eq!(long.entries[0].unknown_extra, b"eabcde");
    let again = decode(&encode(&long.entries), 1, Reading::Strict).unwrap();
    assert_eq!(again.entries, long.entries);
    let short = decode(&foreign(&[], 77), 1, Reading::Strict).unwrap();
    let bytes = encode(&short.entries);
    assert_eq!(&bytes[36..40], &24_u32.to_be_bytes());
    assert_eq!(&bytes[40..48], &77_u64.to_be_bytes());
    assert_eq!(&bytes[56..64], &[0xff; 8]);
}

#[test]
fn too_much_extra_data_is_refused_or_cut() {
    let bytes = foreign(&[0; 1025], 0);
    let error = decode(&bytes, 1, Reading::Strict).err().unwrap();
    assert_eq!(
        error.message(),
        "Too much extra metadata in snapshot table entry 0"
    );
    let table = decode(&bytes, 1, Reading::Repair).unwrap();
    assert_eq!((table.cut, table.entries.len()), (1, 1));
    assert_eq!(table.entries[0].name, b"one");
}

#[test]
fn table_over_the_limit_is_refused_or_ended() {
    let entry = foreign(&[0; 1016], 0);
    assert_eq!(entry.len(), 1064);
    let fits = MAX_TABLE_BYTES / 1064;
    let mut decoder = Decoder::new(65536, Reading::Strict);
    for _ in 0..fits {
        assert_eq!(decoder.step(&entry).unwrap(), Step::Used(1064));
    }
    let error = decoder.step(&entry).unwrap_err();
    assert_eq!(error.message(), "Snapshot table is too big");
    assert!(error.hint_text().unwrap().contains("all 2464 overhanging"));
    let mut decoder = Decoder::new(65536, Reading::Repair);
    while decoder.step(&entry).unwrap() != Step::Done {}
    assert_eq!(decoder.finish().dropped, 2464);
}

#[test]
fn shown_names_are_cut_at_a_character() {
    let entry = Entry {
        name: "é".repeat(200).into_bytes(),
        ..sample()
    };
    let name = entry.info(0).name;
    assert_eq!((name.len(), name.chars().count()), (254, 127));
}

#[test]
fn changes_are_counted_and_grouped_by_block() {
    let mut deltas = Deltas::default();
    deltas.add(250, 10, 1).unwrap();
    deltas.add(259, 1, 1).unwrap();
    deltas.add(1000, 1, 1).unwrap();
    deltas.add(1000, 1, -1).unwrap();
    assert_eq!(deltas.blocks(128), BTreeSet::from([1, 2]));
    assert_eq!([249, 250, 259, 1000].map(|c| deltas.of(c)), [0, 1, 2, 0]);
    assert!(deltas.add(u64::MAX, 2, 1).is_err());
}

#[test]
fn new_refcounts_count_themselves() {
    for (start, per_block, cluster_size) in [
        (6, 8, 512),
        (7, 4096, 512),
        (8, 8, 512),
        (1, 64, 512),
        (0, 8, 512),
    ] {
        let plan = Plan::new(BTreeSet::from([0]), start, per_block, cluster_size).unwrap();
        let end = plan.table_start() + plan.table_clusters;
        for cluster in plan.start..end {
            assert!(plan.blocks.contains(&(cluster / per_block)) && plan.contains(cluster));
        }
        assert!(plan.table_clusters * cluster_size / 8 > *plan.blocks.last().unwrap());
    }
    assert_eq!(
        Plan::new(BTreeSet::from([0, 9]), 100, 8, 512)
            .unwrap()
            .blocks,
        [0, 9, 12]
    );
    assert_eq!(Plan::new(BTreeSet::from([1 << 20]), 100, 8, 512), None);
}

proptest! {
    #[test]
    fn decoder_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400), count in 0..5_u32) {
        for reading in [Reading::Strict, Reading::Repair] {
            let mut decoder = Decoder::new(count, reading);
            let mut at = 0;
            while let Ok(Step::Used(used)) = decoder.step(bytes.get(at..).unwrap_or_default()) {
                at += used;
            }
        }
    }

    #[test]
    fn tables_survive_writing(name in "\\PC{0,40}", extra in proptest::collection::vec(any::<u8>(), 0..99),
                              size in any::<u64>(), icount in proptest::option::of(0..u64::MAX)) {
        let entry = Entry { name: name.into_bytes(), unknown_extra: extra, vm_state_size: size, icount, ..sample() };
        let entries = vec![entry, sample()];
        let table = decode(&encode(&entries), 2, Reading::Strict).unwrap();
        prop_assert_eq!(table.bytes, encode(&entries).len() as u64);
        prop_assert_eq!(table.entries, entries);
    }
}
