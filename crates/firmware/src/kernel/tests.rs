use super::*;
use crate::memory_map;

const LOW_END: u64 = 64 << 20;

fn boot(image: &[u8], modules: &[Module]) -> Result<Kernel, LoadError> {
    load(&Request {
        image,
        path: "a/kernel",
        command_line: "console=ttyS0 vga=0x317",
        modules,
        memory: &memory_map::ram(LOW_END, 0),
        low_end: LOW_END,
    })
}

fn module(size: usize) -> Module {
    Module {
        data: vec![7; size],
        arguments: "disk a=b".to_owned(),
    }
}

fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

fn linux() -> Vec<u8> {
    let mut image = vec![0x90; 512 * 3 + 1000];
    put(&mut image, 0x1f1, &[2]);
    put(&mut image, 0x202, b"HdrS\x0f\x02");
    put(&mut image, 0x211, &[1]);
    put(&mut image, 0x22c, &0x7fff_ffff_u32.to_le_bytes());
    image
}

/// A 32-bit executable: one segment at 1 MiB, a note segment, a multiboot header in the data.
fn elf(note: &[u8]) -> Vec<u8> {
    let mut image = vec![0; 0x400];
    put(&mut image, 0, b"\x7fELF\x01\x01\x01");
    put(&mut image, 24, &0x10_0040_u32.to_le_bytes());
    put(&mut image, 28, &52_u32.to_le_bytes());
    put(&mut image, 42, &32_u16.to_le_bytes());
    put(&mut image, 44, &2_u16.to_le_bytes());
    let headers: [[u32; 8]; 2] = [
        [1, 0x200, 0x10_0000, 0x10_0000, 0x100, 0x2000, 5, 4096],
        [
            4,
            0x380,
            0,
            0,
            u32::try_from(note.len()).expect("short"),
            0,
            4,
            4,
        ],
    ];
    for (n, header) in headers.iter().enumerate() {
        let raw: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
        put(&mut image, 52 + n * 32, &raw);
    }
    put(&mut image, 0x380, note);
    image
}

fn xen_note() -> Vec<u8> {
    let mut note = Vec::new();
    for number in [4_u32, 4, 18] {
        note.extend(number.to_le_bytes());
    }
    note.extend(b"Xen\0");
    note.extend(0x10_0010_u32.to_le_bytes());
    note
}

#[test]
fn a_linux_kernel_is_taken_apart() {
    let kernel = boot(&linux(), &[module(5000)]).expect("boots");
    assert_eq!(
        (kernel.setup.data.len(), kernel.kernel.data.len()),
        (1536, 1000)
    );
    assert_eq!(kernel.initrd.address, 0x3ff_e000);
    assert_eq!(word(&kernel.setup.data, 0x218, 4), 0x3ff_e000);
    assert_eq!(word(&kernel.setup.data, 0x21c, 4), 5000);
    assert_eq!(word(&kernel.setup.data, 0x228, 4), COMMAND_LINE);
    assert_eq!(word(&kernel.setup.data, 0x1fa, 2), 0x317);
    assert_eq!(kernel.entry, None);
}

#[test]
fn what_does_not_fit_is_refused() {
    let most = usize::try_from(LOW_END).expect("small");
    assert_eq!(boot(&linux(), &[module(most)]), Err(LoadError::TooLarge));
    assert_eq!(boot(&linux()[..900], &[]), Err(LoadError::Damaged));
    assert_eq!(boot(b"", &[]), Err(LoadError::Unknown));
}

#[test]
fn a_pvh_kernel_finds_its_start_information() {
    let kernel = boot(&elf(&xen_note()), &[module(10)]).expect("boots");
    assert_eq!(kernel.entry, Some(0x10_0010));
    assert_eq!(
        (kernel.kernel.address, kernel.kernel.data.len()),
        (0x10_0000, 0x2000)
    );
    assert_eq!(word(&kernel.setup.data, 0, 4), 0x336e_c578);
    assert_eq!(word(&kernel.setup.data, 12, 4), 1);
    assert_eq!(word(&kernel.setup.data, INFO_MODULE, 4), 0x10_2000);
}

const INFO_MODULE: usize = 56;

#[test]
fn a_multiboot_kernel_gets_modules_and_a_map() {
    let mut image = elf(&[]);
    put(&mut image, 0x200, &0x1bad_b002_u32.to_le_bytes());
    put(
        &mut image,
        0x208,
        &0x1bad_b002_u32.wrapping_neg().to_le_bytes(),
    );
    let kernel = boot(&image, &[module(10), module(20)]).expect("boots");
    assert_eq!(kernel.entry, Some(0x10_0040));
    // The kernel's own name comes first.
    let arguments = &kernel.command_line.data;
    assert_eq!(arguments, b"a/kernel console=ttyS0 vga=0x317\0");
    assert_eq!(word(&kernel.setup.data, 20, 4), 2);
    let list = usize::try_from(word(&kernel.setup.data, 24, 4) - SETUP).expect("small");
    assert_eq!(word(&kernel.setup.data, list + 16, 4), 0x10_3000);
    assert_eq!(word(&kernel.setup.data, list + 20, 4), 0x10_3014);
}

#[test]
fn damaged_headers_never_break_a_loader() {
    let mut multiboot = elf(&[]);
    put(&mut multiboot, 0x200, &0x1bad_b002_u32.to_le_bytes());
    put(&mut multiboot, 0x204, &0x1_0000_u32.to_le_bytes());
    put(
        &mut multiboot,
        0x208,
        &0x1bae_b002_u32.wrapping_neg().to_le_bytes(),
    );
    for image in [linux(), elf(&xen_note()), multiboot] {
        let interesting = (0..0x90).chain(0x1f0..0x240).chain(0x380..0x398);
        for at in interesting.filter(|at| at % 4 == 0) {
            for value in [0_u32, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX, 0x10_0000] {
                let mut damaged = image.clone();
                put(&mut damaged, at, &value.to_le_bytes());
                if let Ok(kernel) = boot(&damaged, &[module(10)]) {
                    assert!(kernel.kernel.data.len() as u64 <= LOW_END);
                }
            }
        }
        for length in 0..image.len() {
            let _ = boot(&image[..length], &[]);
        }
    }
}
