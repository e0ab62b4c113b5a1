use super::*;

#[test]
fn structures_follow_one_another_to_the_end() {
    let system = System {
        product: "Standard PC",
        version: "pc-i440fx-10.0",
        uuid: [0x11; 16],
        has_uuid: true,
        topology: (2, 1, 1),
        memory: (3 << 30, 5 << 40),
        given: &Given::default(),
        processor_id: (0x60fb1, 0x078b_fbfd),
    };
    let (anchor, tables) = tables(&system);
    assert_eq!(anchor.iter().fold(0_u8, |sum, b| sum.wrapping_add(*b)), 0);
    let mut kinds = Vec::new();
    let mut at = 0;
    while at < tables.len() {
        kinds.push(tables[at]);
        let mut end = at + usize::from(tables[at + 1]);
        while tables[end..end + 2] != [0, 0] {
            end += 1;
        }
        at = end + 2;
    }
    assert_eq!(kinds, [1, 3, 4, 4, 16, 17, 17, 17, 19, 19, 32, 127]);
    assert_eq!(
        usize::from(u16::from_le_bytes([anchor[28], anchor[29]])),
        kinds.len()
    );
}

#[test]
fn a_structure_from_a_file_stands_instead_of_the_built_one() {
    let given = Given {
        files: vec![vec![3, 5, 0, 3, 9, 0, 0]],
        ..Given::default()
    };
    let system = System {
        product: "p",
        version: "v",
        uuid: [0; 16],
        has_uuid: false,
        topology: (1, 1, 1),
        memory: (1 << 20, 0),
        given: &given,
        processor_id: (0, 0),
    };
    let (_, tables) = tables(&system);
    assert_eq!(tables[..7], [3, 5, 0, 3, 9, 0, 0]);
    assert!(!tables.windows(4).any(|at| at == [3, 0x16, 0, 3]));
}
