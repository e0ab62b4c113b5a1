use super::*;

fn platform(south: South) -> Platform {
    Platform {
        south,
        cpus: 2,
        hpet: true,
        pvpanic: true,
        serial_ports: vec![(0x3f8, 4)],
        hole: (0xc000_0000, 0xfebf_ffff),
        high_hole: Some((1 << 40, (1 << 41) - 1)),
        iommu: (south == South::Ich9).then_some(Iommu {
            base: 0xfed9_0000,
            address_bits: 39,
            interrupts: true,
        }),
        ecam: (south == South::Ich9).then_some((0xb000_0000, 256 << 20)),
        extra: Vec::new(),
    }
}

fn name(raw: &[u8]) -> String {
    String::from_utf8_lossy(raw)
        .trim_end_matches('\0')
        .to_owned()
}

/// What firmware does with the commands, tables at 0x10000 and the root pointer at 0x100.
fn link(blobs: &Blobs) -> (Vec<u8>, Vec<u8>) {
    let (mut tables, mut rsdp) = (blobs.tables.clone(), blobs.rsdp.clone());
    for command in blobs.loader.chunks(128) {
        let number = |at: usize| usize::from(u16::from_le_bytes([command[at], command[at + 1]]));
        let file = name(&command[4..60]);
        let blob = if file == TABLES {
            &mut tables
        } else {
            &mut rsdp
        };
        match command[0] {
            2 => {
                let at = number(116);
                let mut raw = [0; 4];
                raw.copy_from_slice(&blob[at..at + 4]);
                let new = u32::from_le_bytes(raw) + 0x1_0000;
                blob[at..at + 4].copy_from_slice(&new.to_le_bytes());
            }
            3 => {
                let (at, start, length) = (number(60), number(64), number(68));
                let sum = blob[start..start + length]
                    .iter()
                    .fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
                blob[at] = blob[at].wrapping_sub(sum);
            }
            _ => {}
        }
    }
    (tables, rsdp)
}

fn table(tables: &[u8], address: &[u8]) -> Vec<u8> {
    let number = |raw: &[u8]| u32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]) as usize;
    let start = number(address) - 0x1_0000;
    let length = number(&tables[start + 4..]);
    tables[start..start + length].to_vec()
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

#[test]
fn linked_tables_are_found_from_the_root_and_sum_to_zero() {
    for (south, wanted) in [
        (South::Piix, vec!["FACP", "APIC", "HPET", "WAET"]),
        (
            South::Ich9,
            vec!["FACP", "APIC", "HPET", "MCFG", "DMAR", "WAET"],
        ),
    ] {
        let (tables, rsdp) = link(&super::tables(&platform(south)));
        assert_eq!(sum(&rsdp), 0);
        let root = table(&tables, &rsdp[16..20]);
        assert_eq!(sum(&root), 0);
        let mut found = Vec::new();
        for address in root[36..].chunks(4) {
            let table = table(&tables, address);
            assert_eq!(sum(&table), 0);
            found.push(name(&table[..4]));
            if found.last().is_some_and(|name| name == "FACP") {
                let dsdt = self::table(&tables, &table[40..44]);
                assert_eq!((sum(&dsdt), &dsdt[..4]), (0, b"DSDT".as_slice()));
            }
        }
        assert_eq!(found, wanted);
    }
}

#[test]
fn commands_come_in_the_order_allocate_pointer_checksum() {
    let blobs = super::tables(&platform(South::Ich9));
    let kinds: Vec<u8> = blobs.loader.chunks(128).map(|command| command[0]).collect();
    assert!(kinds.is_sorted() && kinds[0] == 1);
}
