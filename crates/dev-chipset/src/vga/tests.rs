use super::*;
use hw_core::memory::AddressSpace;
use hw_core::pci::devfn;

fn vga() -> Vga {
    let place = Place {
        bus: 0,
        devfn: devfn(2, 0),
        memory: AddressSpace::shared(),
        ports: AddressSpace::shared(),
    };
    let memory = Ram::new(1 << 20).expect("memory");
    Vga::new(&place, memory, None, Clock::stopped())
}

fn out(vga: &mut Vga, port: u64, value: u64) {
    vga.window_write(PORTS_WINDOW, port - 0x3b0, 1, value);
}

/// 80 by 25 in 400 lines, as the BIOS sets mode 3.
fn text_mode(vga: &mut Vga) {
    out(vga, 0x3c2, 0x67);
    for (index, value) in [(1, 79), (7, 0x1f), (9, 0x4f), (0x12, 0x8f), (0x13, 40)] {
        out(vga, 0x3d4, index);
        out(vga, 0x3d5, value);
    }
    for (index, value) in [(5, 0x10), (6, 0xe)] {
        out(vga, 0x3ce, index);
        out(vga, 0x3cf, value);
    }
    out(vga, 0x3c4, 2);
    out(vga, 0x3c5, 3);
}

#[test]
fn text_is_read_back_and_shown() {
    let mut vga = vga();
    text_mode(&mut vga);
    for (n, byte) in (0_u64..).zip(*b"HI\x07!") {
        vga.window_write(MEMORY_WINDOW, 0x1_8000 + 160 + n * 2, 1, u64::from(byte));
        vga.window_write(MEMORY_WINDOW, 0x1_8000 + 161 + n * 2, 1, 7);
    }
    assert_eq!(
        vga.window_read(MEMORY_WINDOW, 0x1_8000 + 162, 1),
        u64::from(b'I')
    );
    let text = vga.text().expect("text mode");
    assert_eq!((text.len(), text[1].as_str()), (25, "HI !"));
}

#[test]
fn the_bochs_registers_answer_and_stay_in_range() {
    let mut vga = vga();
    let mut set = |index, value| {
        vga.window_write(BOCHS_WINDOW, 0, 2, index);
        vga.window_write(BOCHS_WINDOW, 1, 2, value);
        vga.window_read(BOCHS_WINDOW, 1, 2)
    };
    assert_eq!(set(0, 0xb0c5), 0xb0c5);
    assert_eq!(set(10, 7), 16, "memory in units of 64 KiB");
    set(1, 640);
    set(3, 32);
    set(2, 480);
    assert_eq!(set(2, 480), 409, "cut to what one MiB holds");
    set(4, 0x41);
    assert!(vga.text().is_none());
}

#[test]
fn planes_are_written_through_masks_and_modes() {
    let mut vga = vga();
    let set = |vga: &mut Vga, index: u64, value: u64| {
        out(vga, 0x3ce, index);
        out(vga, 0x3cf, value);
    };
    out(&mut vga, 0x3c4, 2);
    out(&mut vga, 0x3c5, 0xf);
    set(&mut vga, 6, 5);
    set(&mut vga, 8, 0xff);
    set(&mut vga, 5, 2);
    vga.window_write(MEMORY_WINDOW, 3, 1, 0b0101);
    set(&mut vga, 5, 8);
    set(&mut vga, 2, 0b0101);
    set(&mut vga, 7, 0xf);
    assert_eq!(vga.window_read(MEMORY_WINDOW, 3, 1), 0xff);
    set(&mut vga, 2, 0b0100);
    assert_eq!(vga.window_read(MEMORY_WINDOW, 3, 1), 0);
}
