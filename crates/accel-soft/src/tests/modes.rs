//! Modes and the ways between them: real, virtual-8086, protected, compatibility and long mode; address bit 20.

use accel_core::Exit;
use accel_core::contract::{Recorder, guest};
use x86_cpu::fault::{GP, UD};
use x86_cpu::state::cr;

use super::bench::{Bench, CODE, DONE, FREE, INNER, TSS, descriptor};
use super::soft;

const VM: u64 = 1 << 17;

/// A virtual-8086 task at 0x0b00:0000 with this I/O privilege level, its stack at 0x0900:1000.
fn virtual_8086(iopl: u64, code: &[u8]) -> Bench {
    let mut bench = Bench::protected();
    bench.put(0xb000, code);
    // IRET takes eip, cs, eflags, esp, ss, es, ds, fs, gs.
    let frame = [
        0,
        0x0b00,
        VM | iopl << 12 | 2,
        0x1000,
        0x0900,
        0x0a00,
        0x0a00,
        0,
        0,
    ];
    let top = INNER - 0x400;
    for (n, value) in (0..).zip(frame) {
        bench.put_int(top + n * 4, 4, value);
    }
    bench.change(|registers| registers.general[4] = top);
    bench
}

#[test]
fn virtual_8086_code_has_real_segments() {
    // mov ax,0x0c00; mov ds,ax; mov byte [0x10],0x77; int3
    let code = [0xb8, 0, 0x0c, 0x8e, 0xd8, 0xc6, 0x06, 0x10, 0, 0x77, 0xcc];
    let mut bench = virtual_8086(3, &code);
    let end = bench.run(&[0xcf]);
    assert_eq!((end.vector, end.ip, end.cs), (DONE, 11, 0x0b00));
    assert_ne!(u64::from(end.flags) & VM, 0);
    assert_eq!(bench.int(0xc010, 1), 0x77);
    // The segments lie above SS and ESP on the inner stack, and are null now.
    assert_eq!(bench.int(INNER - 12, 4), 0x0c00);
    assert_eq!(bench.registers().segments[3].selector, 0);
}

#[test]
fn virtual_8086_code_is_kept_from_interrupt_flag_and_ports() {
    for code in [
        &[0xfa][..],         // cli
        &[0x9c],             // pushf
        &[0x9d],             // popf
        &[0xcd, 0x1f],       // int
        &[0xcf],             // iret
        &[0xf4],             // hlt
        &[0xe6, 0x10],       // out
        &[0x0f, 0x20, 0xc0], // mov eax,cr0
    ] {
        let end = virtual_8086(0, code).run(&[0xcf]);
        assert_eq!((end.what(), end.ip), ((GP, 0), 0), "{code:x?}");
    }
    // With I/O privilege level 3 all but the last three work; ports follow the task's map alone.
    for code in [&[0xfa, 0xcc][..], &[0x9c, 0xcc], &[0x9d, 0xcc]] {
        assert_eq!(virtual_8086(3, code).run(&[0xcf]).vector, DONE, "{code:x?}");
    }
    assert_eq!(virtual_8086(3, &[0xe6, 0x10]).run(&[0xcf]).what(), (GP, 0));
    let mut bench = virtual_8086(0, &[0xe6, 0x10, 0xe7, 0x17]);
    bench.put_int(TSS + 102, 2, 0x100);
    // Ports 0x10 to 0x17 are open, a word at 0x17 is half closed.
    bench.put(TSS + 0x100, &[0xff, 0xff, 0, 0xff, 0xff]);
    let end = bench.run(&[0xcf]);
    assert_eq!((end.what(), end.ip), ((GP, 0), 2));
    assert_eq!(bench.bus.written, [(0x10, 1, 0)]);
    // Instructions of protected mode do not exist: arpl, lar, sldt.
    for code in [&[0x63, 0xc0][..], &[0x0f, 0x02, 0xc0], &[0x0f, 0x00, 0xc0]] {
        assert_eq!(virtual_8086(3, code).run(&[0xcf]).vector, UD, "{code:x?}");
    }
}

#[test]
fn virtual_mode_extensions_keep_a_flag_of_their_own() {
    // sti; pushf; pop ax; cli; int3 with VIF standing in for IF
    let mut bench = virtual_8086(0, &[0xfb, 0x9c, 0x58, 0xfa, 0x0f, 0x0b]);
    bench.change(|registers| registers.cr4 |= cr::VME);
    let end = bench.run(&[0xcf]);
    assert_eq!((end.vector, end.ip), (UD, 4));
    assert_eq!(u64::from(end.flags) & (1 << 19 | 1 << 9), 0);
    assert_eq!(bench.registers().general[0] & 0x3200, 0x3200);
    // Software interrupts go where the task's bitmap says: its own vectors.
    let mut bench = virtual_8086(0, &[0xcd, 0x40]);
    bench.change(|registers| registers.cr4 |= cr::VME);
    bench.put_int(TSS + 102, 2, 0x100);
    bench.put_int(0x40 * 4, 4, 0x0b80_0000);
    bench.put(0xb800, &[0x0f, 0x0b]);
    let end = bench.run(&[0xcf]);
    assert_eq!((end.vector, end.ip, end.cs), (UD, 0, 0x0b80));
}

#[test]
fn real_mode_keeps_what_protected_mode_loaded() {
    // mov ax,FREE; mov es,ax; mov eax,cr0; and al,0xfe; mov cr0,eax, and then a read far beyond 64 KiB
    let [low, high] = FREE.to_le_bytes();
    let code = [
        0x66, 0xb8, low, high, 0x8e, 0xc0, 0x0f, 0x20, 0xc0, 0x24, 0xfe, 0x0f, 0x22, 0xc0, 0x26,
        0xa0, 0, 0, 0x20, 0, 0xf4,
    ];
    let mut bench = Bench::protected();
    bench.set_descriptor(FREE, descriptor(0, 0xf_ffff, 0xc093));
    bench.put(0x20_0000, &[0x3c]);
    bench.put(CODE, &code);
    bench.change(|registers| registers.rip = CODE);
    assert_eq!(bench.cpu.run(&mut bench.bus), Exit::Halt);
    let registers = bench.registers();
    assert_eq!(registers.cr0 & 1, 0);
    assert_eq!(registers.general[0] & 0xff, 0x3c);
}

#[test]
fn compatibility_code_runs_under_long_mode() {
    let mut bench = Bench::long();
    // retf to 32-bit code: push CODE_0; push 0xb000; retfq
    bench.put(0xb000, &[0x40, 0xcc]); // inc eax, which is a prefix in 64-bit code
    let end = bench.run(&[0x31, 0xc0, 0x6a, 0x08, 0x68, 0, 0xb0, 0, 0, 0x48, 0xcb]);
    assert_eq!((end.vector, end.cs, end.ip), (DONE, 0x08, 0xb002));
    assert_eq!(bench.registers().general[0], 1);
}

#[test]
fn long_mode_cannot_be_left_from_within() {
    let clear_paging = [0x0f, 0x20, 0xc0, 0x0f, 0xba, 0xf0, 31, 0x0f, 0x22, 0xc0];
    assert_eq!(Bench::long().run(&clear_paging).what(), (GP, 0));
    let clear_pae = [0x0f, 0x20, 0xe0, 0x0f, 0xba, 0xf0, 5, 0x0f, 0x22, 0xe0];
    assert_eq!(Bench::long().run(&clear_pae).what(), (GP, 0));
    // EFER.LME cannot change while paging is on: mov ecx,0xc0000080; rdmsr; btr eax,8; wrmsr
    let clear_lme = [
        0xb9, 0x80, 0, 0, 0xc0, 0x0f, 0x32, 0x0f, 0xba, 0xf0, 8, 0x0f, 0x30,
    ];
    assert_eq!(Bench::long().run(&clear_lme).what(), (GP, 0));
}

#[test]
fn control_registers_refuse_combinations() {
    let set_cr0 = |value: u32| {
        let mut code = vec![0xb8];
        code.extend(value.to_le_bytes());
        code.extend([0x0f, 0x22, 0xc0]);
        Bench::protected().run(&code).what()
    };
    assert_eq!(set_cr0(0x11), (DONE, 0));
    assert_eq!(set_cr0(0x8000_0010), (GP, 0));
    assert_eq!(set_cr0(0x2000_0011), (GP, 0));
    // mov eax,1 << 15; mov cr4,eax
    let code = [0xb8, 0, 0x80, 0, 0, 0x0f, 0x22, 0xe0];
    assert_eq!(Bench::protected().run(&code).what(), (GP, 0));
    // Privileged, all of them.
    for code in [
        &[0x0f, 0x22, 0xc0][..],
        &[0x0f, 0x06],
        &[0xf4],
        &[0x0f, 0x30],
    ] {
        assert_eq!(
            Bench::protected().user().run(code).what(),
            (GP, 0),
            "{code:x?}"
        );
    }
}

#[test]
fn address_bit_20_can_be_masked() {
    // mov ax,0xffff; mov ds,ax; mov al,[0x10]; hlt: linear 0x100000, or 0 without bit 20
    let code = [0xb8, 0xff, 0xff, 0x8e, 0xd8, 0xa0, 0x10, 0, 0xf4];
    for (on, value) in [(true, 0x00), (false, 0x21)] {
        let (ram, mut cpu) = guest(&soft(), &code);
        ram.write(0, &[0x21]).expect("fits");
        cpu.set_a20(on);
        let mut bus = Recorder::default();
        assert_eq!(cpu.run(&mut bus), Exit::Halt);
        let registers = cpu.registers().expect("read");
        assert_eq!(registers.general[0] & 0xff, value);
    }
}

#[test]
fn a_stack_of_16_bits_keeps_the_upper_half() {
    let mut bench = Bench::protected();
    bench.set_descriptor(FREE, descriptor(0, 0xffff, 0x93));
    bench.change(|registers| {
        registers.segments[2].attributes = 0x93;
        registers.segments[2].limit = 0xffff;
        registers.general[4] = 0x0005_8000;
        registers.general[5] = 0x7777_1234;
    });
    // enter 8,0; the new frame pointer is the whole of ESP
    let end = bench.run(&[0xc8, 8, 0, 0]);
    assert_eq!(end.vector, DONE);
    assert_eq!(bench.registers().general[5], 0x0005_7ffc);
    assert_eq!(bench.int(0x7ffc, 4), 0x7777_1234);
}
