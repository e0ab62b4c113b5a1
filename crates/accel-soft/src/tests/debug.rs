//! Debug registers and single step (Intel SDM volume 3, chapter 17).

use x86_cpu::fault::{DB, GP, UD};

use super::bench::{Bench, CODE, DONE, End};

/// mov rax,VALUE; mov drN,rax
fn set(register: u8, value: u64) -> Vec<u8> {
    let mut code = vec![0x48, 0xb8];
    code.extend(value.to_le_bytes());
    code.extend([0x0f, 0x23, 0xc0 | register << 3]);
    code
}

/// Runs `code` behind what sets DR0 to 0xb000 and DR7; gives how it ended, where that is behind the setting, and DR6.
fn watched(control: u64, code: &[u8]) -> (End, u64, u64) {
    let mut bench = Bench::long();
    let before = [set(0, 0xb000), set(7, control)].concat();
    let end = bench.run(&[&before[..], code].concat());
    // mov rax,dr6; int3
    let status = {
        bench.put(0xb800, &[0x0f, 0x21, 0xf0, 0xcc]);
        bench.change(|registers| registers.rip = 0xb800);
        assert_eq!(bench.go_on().vector, DONE);
        bench.registers().general[0]
    };
    (end, end.ip.wrapping_sub(CODE + before.len() as u64), status)
}

/// DR7 for breakpoint 0 of a kind and length.
fn on(kind: u64, length: u64) -> u64 {
    0x400 | 2 | kind << 16 | length << 18
}

const WRITE: u64 = 1;
const BOTH: u64 = 3;

#[test]
fn data_breakpoints_meet_every_access_that_touches_them() {
    let store = |at: u16| {
        let [low, high] = at.to_le_bytes();
        vec![0xc7, 0x04, 0x25, low, high, 0, 0, 1, 2, 3, 4] // mov dword [at],IMM
    };
    for (at, length, hit) in [
        (0xb000, 0, true),
        (0xaffd, 0, true),
        (0xaffc, 0, false),
        (0xb001, 0, false),
        (0xb003, 3, true),
        (0xb004, 3, false),
        (0xb007, 2, true),
    ] {
        let (end, ip, status) = watched(on(WRITE, length), &store(at));
        if hit {
            assert_eq!((end.vector, ip), (DB, 11), "{at:x} {length}");
            assert_eq!(status & 0xf, 1);
        } else {
            assert_eq!(end.vector, DONE, "{at:x} {length}");
        }
    }
    // A read meets only those that want reads.
    let read = [0x8b, 0x04, 0x25, 0, 0xb0, 0, 0];
    assert_eq!(watched(on(WRITE, 3), &read).0.vector, DONE);
    assert_eq!(watched(on(BOTH, 3), &read).0.vector, DB);
    // lock add [0xb000],eax is a write.
    let add = [0xf0, 0x01, 0x04, 0x25, 0, 0xb0, 0, 0];
    assert_eq!(watched(on(WRITE, 3), &add).0.vector, DB);
}

#[test]
fn string_stores_stop_after_the_unit_that_hits() {
    // mov edi,0xaffe; mov ecx,8; rep stosb
    let code = [0xbf, 0xfe, 0xaf, 0, 0, 0xb9, 8, 0, 0, 0, 0xf3, 0xaa];
    let (end, ip, _) = watched(on(WRITE, 0), &code);
    assert_eq!((end.vector, ip), (DB, 10));
    // Single step stops after each unit, too, and behind the last one at the next instruction.
    let mut bench = Bench::long();
    bench.change(|registers| {
        registers.rflags |= 0x100;
        registers.general[1] = 2;
        registers.general[7] = 0xb000;
    });
    let end = bench.run(&[0xf3, 0xaa]);
    assert_eq!((end.vector, end.ip), (DB, CODE));
    bench.change(|registers| {
        registers.rflags |= 0x100;
        registers.rip = CODE;
    });
    let end = bench.go_on();
    assert_eq!((end.vector, end.ip), (DB, CODE + 2));
    assert_eq!(bench.registers().general[7], 0xb002);
}

#[test]
fn instruction_breakpoints_come_before_and_rf_lets_pass() {
    let mut bench = Bench::long();
    let before = [set(0, CODE + 26), set(7, 0x402)].concat();
    assert_eq!(before.len(), 26);
    let end = bench.run(&[&before[..], &[0x90]].concat());
    assert_eq!((end.vector, end.ip), (DB, CODE + 26));
    // The handler sets RF and returns.
    bench.change(|registers| {
        registers.rip = CODE + 26;
        registers.rflags |= 1 << 16;
    });
    let end = bench.go_on();
    assert_eq!((end.vector, end.ip), (DONE, CODE + 28));
}

#[test]
fn an_access_to_debug_registers_can_be_trapped() {
    let (end, ip, status) = watched(0x400 | 1 << 13, &[0x0f, 0x21, 0xc0]);
    assert_eq!((end.vector, ip), (DB, 0));
    assert_eq!(status & 1 << 13, 1 << 13);
    assert_eq!(
        Bench::long().user().run(&[0x0f, 0x21, 0xc0]).what(),
        (GP, 0)
    );
}

#[test]
fn registers_4_and_5_are_others_or_none() {
    let read_4 = [0x0f, 0x21, 0xe0];
    let mut bench = Bench::long();
    assert_eq!(bench.run(&read_4).vector, DONE);
    assert_eq!(bench.registers().general[0], 0xffff_0ff0);
    bench.change(|registers| registers.cr4 |= 8);
    assert_eq!(bench.run(&read_4).vector, UD);
}

#[test]
fn single_step_traps_behind_each_instruction() {
    let mut bench = Bench::long();
    bench.change(|registers| registers.rflags |= 0x100);
    let end = bench.run(&[0x90, 0x90]);
    assert_eq!((end.vector, end.ip), (DB, CODE + 1));
    // Behind a load of SS only the instruction after it traps.
    let mut bench = Bench::long();
    bench.change(|registers| {
        registers.rflags |= 0x100;
        registers.general[0] = 0x10;
    });
    let end = bench.run(&[0x8e, 0xd0, 0x90]);
    assert_eq!((end.vector, end.ip), (DB, CODE + 3));
    // HLT is over at once.
    let mut bench = Bench::long();
    bench.change(|registers| registers.rflags |= 0x100);
    let end = bench.run(&[0xf4]);
    assert_eq!((end.vector, end.ip), (DB, CODE + 1));
}
