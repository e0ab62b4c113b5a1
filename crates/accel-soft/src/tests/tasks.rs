//! Task switches by jump, call, gates, interrupts and IRET (Intel SDM volume 3, chapter 8).

use x86_cpu::fault::{DB, GP, NP, PF, TS, UD};

use super::bench::{
    Bench, CODE, CODE_0, CODE_3, DATA_0, DATA_3, DONE, End, FREE, OUTER, TASK, TSS, descriptor,
    gate,
};

/// The second task's state and its descriptor.
const OTHER: u64 = 0xd000;
const OTHER_TASK: u16 = FREE;
/// A task gate to it.
const TASK_GATE: u16 = FREE + 8;
/// Where the second task begins.
const START: u64 = 0xc000;
const NESTED: u32 = 1 << 14;

/// A second task that runs `code` at privilege level 0.
fn two_tasks(code: &[u8]) -> Bench {
    let bench = Bench::protected();
    bench.set_descriptor(OTHER_TASK, descriptor(0xd000, 103, 0x89));
    bench.set_descriptor(TASK_GATE, gate(OTHER_TASK, 0, 0x85, 0));
    bench.put(START, code);
    let words: [(u64, u64); 9] = [
        (32, START),
        (36, 2),
        (40, 0x1234_5678),
        (56, 0x7000),
        (72, u64::from(DATA_0)),
        (76, u64::from(CODE_0)),
        (80, u64::from(DATA_0)),
        (84, u64::from(DATA_0)),
        (100, 0),
    ];
    for (at, value) in words {
        bench.put_int(OTHER + at, 4, value);
    }
    bench
}

/// A far jump (0xea) or call (0x9a) to a selector.
fn far(opcode: u8, selector: u16) -> Vec<u8> {
    let [low, high] = selector.to_le_bytes();
    vec![opcode, 0, 0, 0, 0, low, high]
}

fn access_byte(bench: &Bench, selector: u16) -> u64 {
    bench.int(0x2000 + u64::from(selector) + 5, 1)
}

#[test]
fn a_jump_leaves_the_old_task_for_good() {
    for selector in [OTHER_TASK, TASK_GATE] {
        let mut bench = two_tasks(&[0xcc]);
        let end = bench.run(&far(0xea, selector));
        assert_eq!((end.vector, end.ip, end.cs), (DONE, START + 1, CODE_0));
        assert_eq!(end.flags & NESTED, 0);
        let registers = bench.registers();
        assert_eq!(registers.general[0], 0x1234_5678);
        assert_eq!(registers.task.selector, OTHER_TASK);
        assert_ne!(registers.cr0 & 8, 0, "TS is on");
        assert_eq!(access_byte(&bench, TASK), 0x89);
        assert_eq!(access_byte(&bench, OTHER_TASK), 0x8b);
        // The old task goes on behind the jump.
        assert_eq!(bench.int(TSS + 32, 4), CODE + 7);
    }
}

#[test]
fn a_call_nests_and_iret_comes_back() {
    // The second task counts, returns, and goes on there when it is called again.
    let mut bench = two_tasks(&[0x40, 0xcf, 0x43, 0xcc]);
    let twice = [far(0x9a, OTHER_TASK), far(0x9a, TASK_GATE)].concat();
    let end = bench.run(&twice);
    assert_eq!((end.vector, end.ip), (DONE, START + 4));
    assert_ne!(end.flags & NESTED, 0);
    let registers = bench.registers();
    assert_eq!(registers.general[0], 0x1234_5679);
    assert_eq!(registers.general[3], 1);
    assert_eq!(bench.int(OTHER, 2), u64::from(TASK));
    assert_eq!(access_byte(&bench, TASK), 0x8b);
    assert_eq!(access_byte(&bench, OTHER_TASK), 0x8b);
}

#[test]
fn an_interrupt_by_a_task_gate_nests() {
    let mut bench = two_tasks(&[0xcf]);
    bench.set_gate(0x20 - 1, gate(OTHER_TASK, 0, 0x85, 0));
    let end = bench.run(&[0xcd, 0x1f]);
    assert_eq!((end.vector, end.ip), (DONE, CODE + 3));
    assert_eq!(end.flags & NESTED, 0);
    assert_eq!(access_byte(&bench, OTHER_TASK), 0x89);
    assert_eq!(bench.registers().task.selector, TASK);
}

#[test]
fn an_exception_by_a_task_gate_brings_its_error_code() {
    // The second task takes the code off its stack.
    let mut bench = two_tasks(&[0x58, 0xcc]);
    bench.set_gate(GP, gate(OTHER_TASK, 0, 0x85, 0));
    // mov ax,0x100; mov es,ax
    let end = bench.run(&[0x66, 0xb8, 0, 1, 0x8e, 0xc0]);
    assert_eq!((end.vector, end.ip), (DONE, START + 2));
    assert_eq!(bench.registers().general[0], 0x100);
    // The fault's own task is at the instruction.
    assert_eq!(bench.int(TSS + 32, 4), CODE + 4);
}

#[test]
fn tasks_of_the_old_form_keep_16_bits() {
    let mut bench = Bench::protected();
    bench.set_descriptor(OTHER_TASK, descriptor(0xd000, 43, 0x81));
    let small = FREE + 8;
    bench.set_descriptor(small, descriptor(0, 0xffff, 0x93));
    bench.put(START, &[0xcc]);
    let words = [
        (14, START),
        (16, 2),
        (18, 0x5678),
        (26, 0x7000),
        (34, u64::from(DATA_0)),
        (36, u64::from(CODE_0)),
        (38, u64::from(small)),
        (40, u64::from(DATA_0)),
    ];
    for (at, value) in words {
        bench.put_int(OTHER + at, 2, value & 0xffff);
    }
    let end = bench.run(&far(0xea, OTHER_TASK));
    assert_eq!((end.vector, end.ip), (DONE, START + 1));
    assert_eq!(bench.registers().general[0] & 0xffff, 0x5678);
}

/// How a jump to the second task ends after `prepare`.
fn refused(prepare: impl FnOnce(&mut Bench)) -> End {
    let mut bench = two_tasks(&[0xcc]);
    prepare(&mut bench);
    bench.run(&far(0xea, OTHER_TASK))
}

#[test]
fn switches_are_refused_before_they_begin() {
    let name = u32::from(OTHER_TASK);
    let of = |limit: u32, attributes: u16| {
        refused(|bench| bench.set_descriptor(OTHER_TASK, descriptor(0xd000, limit, attributes)))
    };
    assert_eq!(of(103, 0x8b).what(), (GP, name));
    assert_eq!(of(103, 0x09).what(), (NP, name));
    let end = of(102, 0x89);
    assert_eq!((end.what(), end.ip), ((TS, name), CODE));
    // IRET with NT to a task that is not busy.
    let mut bench = two_tasks(&[]);
    bench.change(|registers| registers.rflags |= u64::from(NESTED));
    bench.put_int(TSS, 2, u64::from(OTHER_TASK));
    assert_eq!(bench.run(&[0xcf]).what(), (TS, name));
}

#[test]
fn what_is_wrong_with_the_new_task_happens_in_it() {
    // A stack that is none cannot take the exception either, so a third task does.
    let third = |prepare: &dyn Fn(&Bench)| {
        let mut bench = two_tasks(&[0xcc]);
        bench.set_descriptor(FREE + 16, descriptor(0xe000, 103, 0x89));
        bench.set_gate(TS, gate(FREE + 16, 0, 0x85, 0));
        for at in (0..104).step_by(4) {
            let value = bench.int(OTHER + at, 4);
            bench.put_int(0xe000 + at, 4, value);
        }
        bench.put_int(0xe000 + 32, 4, 0xf000);
        // pop eax; int3
        bench.put(0xf000, &[0x58, 0xcc]);
        prepare(&bench);
        let end = bench.run(&far(0xea, OTHER_TASK));
        assert_eq!((end.vector, end.ip), (DONE, 0xf002));
        // The second task stands before its first instruction.
        assert_eq!(bench.int(OTHER + 32, 4), START);
        bench.registers().general[0]
    };
    assert_eq!(third(&|bench| bench.put_int(OTHER + 80, 4, 0)), 0);
    let of = u64::from(DATA_3 & !3);
    assert_eq!(
        third(&|bench| bench.put_int(OTHER + 80, 4, u64::from(DATA_3))),
        of
    );
    let of = u64::from(CODE_3 & !3);
    assert_eq!(third(&|bench| bench.put_int(OTHER + 76, 4, of)), of);
    assert_eq!(third(&|bench| bench.put_int(OTHER + 96, 4, 0x100)), 0x100);
    // Data segments come last: the stack works already.
    let end = refused(|bench| bench.put_int(OTHER + 84, 4, 0x100));
    assert_eq!((end.what(), end.ip, end.cs), ((TS, 0x100), START, CODE_0));
}

#[test]
fn the_trap_bit_stops_before_the_first_instruction() {
    let end = refused(|bench| bench.put_int(OTHER + 100, 2, 1));
    assert_eq!((end.vector, end.ip), (DB, START));
}

#[test]
fn a_task_has_its_own_level_and_address_space() {
    let mut bench = two_tasks(&[0xcc]);
    // Level 3, with a stack for the way in.
    for (at, value) in [
        (4, 0x7800),
        (8, u64::from(DATA_0)),
        (56, OUTER),
        (72, u64::from(DATA_3)),
        (76, u64::from(CODE_3)),
        (80, u64::from(DATA_3)),
        (84, u64::from(DATA_3)),
    ] {
        bench.put_int(OTHER + at, 4, value);
    }
    let end = bench.run(&far(0xea, OTHER_TASK));
    assert_eq!((end.vector, end.cs), (DONE, CODE_3));
    // With paging on, CR3 comes from the task.
    let mut bench = two_tasks(&[0xa1, 0, 0, 0x40, 0]);
    bench.put_int(0x1_0000, 4, 0x83);
    bench.put_int(0x1_1000, 4, 0x83);
    bench.put_int(0x1_1004, 4, 0x83);
    bench.put_int(OTHER + 28, 4, 0x1_1000);
    bench.change(|registers| {
        registers.cr3 = 0x1_0000;
        registers.cr4 = 0x10;
        registers.cr0 |= 1 << 31;
    });
    bench.put(START + 5, &[0xcc]);
    assert_eq!(bench.run(&[0xa1, 0, 0, 0x40, 0]).what(), (PF, 0));
    assert_eq!(bench.run(&far(0xea, OTHER_TASK)).vector, DONE);
    assert_eq!(bench.registers().cr3, 0x1_1000);
}

#[test]
fn long_mode_has_no_task_switch() {
    let mut bench = Bench::long();
    bench.set_descriptor(FREE, descriptor(0xd000, 103, 0x89));
    bench.set_descriptor(FREE + 8, 0);
    // jmp far [0xb000]
    bench.put_int(0xb000, 4, 0);
    bench.put_int(0xb004, 2, u64::from(FREE));
    let end = bench.run(&[0xff, 0x2c, 0x25, 0, 0xb0, 0, 0]);
    assert_eq!(end.what(), (GP, u32::from(FREE)));
    // A direct far jump is no instruction there.
    assert_eq!(bench.run(&far(0xea, FREE)).vector, UD);
}
