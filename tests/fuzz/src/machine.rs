//! The machine: registers and saved states of every device, kernels as files.

use firmware::kernel::{Module, Request, load};
use firmware::memory_map;

/// RAM of the guest that a kernel is loaded for.
const RAM: u64 = 16 << 20;

/// A kernel's file, with and without a module.
pub(crate) fn kernel(data: &[u8]) {
    let module = Module {
        data: vec![1; 5000],
        arguments: "a b".to_owned(),
    };
    for modules in [&[][..], &[module]] {
        let request = Request {
            image: data,
            path: "kernel",
            command_line: "console=ttyS0 vga=ask",
            modules,
            memory: &memory_map::ram(RAM, 0),
            low_end: RAM,
        };
        if let Ok(kernel) = load(&request) {
            let pieces = [&kernel.setup, &kernel.kernel, &kernel.initrd];
            for piece in pieces.into_iter().filter(|piece| !piece.data.is_empty()) {
                let end = u64::from(piece.address) + piece.data.len() as u64;
                assert!(end <= RAM, "a piece beyond the guest's memory");
            }
        }
    }
}

fn image(size: usize, parts: &[(usize, &[u8])]) -> Vec<u8> {
    let mut image = vec![0; size];
    for (at, bytes) in parts {
        image[*at..*at + bytes.len()].copy_from_slice(bytes);
    }
    image
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A kernel of each format.
pub(crate) fn kernel_seeds() -> Vec<Vec<u8>> {
    let linux = image(
        512 * 3,
        &[
            (0x1f1, &[1]),
            (0x202, b"HdrS\x0f\x02"),
            (0x211, &[1]),
            (0x22c, &[0xff, 0xff, 0xff, 0x7f]),
        ],
    );
    let load = words(&[1, 0x200, 0x10_0000, 0x10_0000, 0x80, 0x2000, 5, 4096]);
    let note = words(&[4, 0x180, 0, 0, 20, 0, 4, 4]);
    let head = |entry: u32| words(&[entry, 52]);
    let narrow = |parts: &[(usize, &[u8])]| {
        let mut all: Vec<(usize, &[u8])> = vec![
            (0, b"\x7fELF\x01\x01\x01"),
            (42, &[32, 0, 2, 0]),
            (52, &load),
            (84, &note),
        ];
        all.extend(parts);
        image(0x280, &all)
    };
    let (pvh_entry, xen) = (head(0x10_0010), words(&[4, 4, 18, 0x006e_6558, 0x10_0010]));
    let multiboot = words(&[0x1bad_b002, 0, 0x1bad_b002_u32.wrapping_neg()]);
    let placed = words(&[
        0x1bad_b002,
        0x1_0000,
        (0x1bad_b002_u32 + 0x1_0000).wrapping_neg(),
        0x10_0000,
        0x10_0000,
        0x10_0100,
        0x10_0800,
        0x10_0020,
    ]);
    let wide = image(
        0x280,
        &[
            (0, b"\x7fELF\x02\x01\x01"),
            (24, &words(&[0x10_0000, 0, 64, 0])),
            (54, &[56, 0, 1, 0]),
            (
                64,
                &words(&[
                    1, 5, 0x200, 0, 0x10_0000, 0, 0x10_0000, 0, 0x80, 0, 0x1000, 0, 16, 0,
                ]),
            ),
        ],
    );
    vec![
        linux,
        narrow(&[(24, &pvh_entry), (0x180, &xen)]),
        narrow(&[(24, &head(0x10_0040)), (0x200, &multiboot)]),
        image(0x200, &[(0, &placed)]),
        wide,
    ]
}
