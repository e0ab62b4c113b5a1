//! Segments in protected mode: limits, types, loads, call gates, interrupts to an inner level (Intel SDM volume 3, chapters 3,
//! 5 and 6).

use x86_cpu::fault::{DF, GP, NP, SS, TS, UD};

use super::bench::{
    Bench, CODE, CODE_0, CODE_3, DATA_0, DATA_3, DONE, End, FREE, INNER, OUTER, TSS, descriptor,
    gate,
};

/// mov ax,SELECTOR; mov SEGMENT,ax
fn load(segment: u8, selector: u16) -> Vec<u8> {
    let [low, high] = selector.to_le_bytes();
    vec![0x66, 0xb8, low, high, 0x8e, 0xc0 | segment << 3]
}

const ES: u8 = 0;
const STACK: u8 = 2;

/// Loads ES with a segment of base 0 and runs `access` with it.
fn through(limit: u32, attributes: u16, access: &[u8]) -> (u8, u32) {
    let mut bench = Bench::protected();
    bench.set_descriptor(FREE, descriptor(0, limit, attributes));
    let code = [&load(ES, FREE)[..], access].concat();
    bench.run(&code).what()
}

/// mov eax,es:[at]
fn read_4(at: u32) -> Vec<u8> {
    let mut code = vec![0x26, 0xa1];
    code.extend(at.to_le_bytes());
    code
}

/// mov es:[at],al
fn write_1(at: u32) -> Vec<u8> {
    let mut code = vec![0x26, 0xa2];
    code.extend(at.to_le_bytes());
    code
}

#[test]
fn limits_are_exact() {
    let data = 0x4093;
    assert_eq!(through(0x9fff, data, &read_4(0x9ffc)), (DONE, 0));
    assert_eq!(through(0x9fff, data, &read_4(0x9ffd)), (GP, 0));
    assert_eq!(through(0x9fff, data, &write_1(0x9fff)), (DONE, 0));
    assert_eq!(through(0x9fff, data, &write_1(0xa000)), (GP, 0));
    // In pages: the limit's low twelve bits are ones.
    assert_eq!(through(9, data | 0x8000, &read_4(0x9ffc)), (DONE, 0));
    assert_eq!(through(9, data | 0x8000, &read_4(0x9ffd)), (GP, 0));
    // An offset that wraps is beyond every limit but the flat one.
    assert_eq!(through(0xf_fffe, data | 0x8000, &read_4(u32::MAX)), (GP, 0));
}

#[test]
fn segments_that_grow_down_begin_above_their_limit() {
    let down = 0x4097;
    assert_eq!(through(0x8fff, down, &read_4(0x9000)), (DONE, 0));
    assert_eq!(through(0x8fff, down, &read_4(0x8fff)), (GP, 0));
    // Without the B bit they end at 64 KiB.
    assert_eq!(through(0x8fff, 0x97, &read_4(0xfffc)), (DONE, 0));
    assert_eq!(through(0x8fff, 0x97, &read_4(0xfffd)), (GP, 0));
}

#[test]
fn types_allow_what_they_say() {
    assert_eq!(through(0xffff, 0x4091, &read_4(0x9000)), (DONE, 0));
    assert_eq!(through(0xffff, 0x4091, &write_1(0x9000)), (GP, 0));
    // Code: readable, never writable; execute-only cannot even be loaded.
    assert_eq!(through(0xffff, 0x409b, &read_4(0x9000)), (DONE, 0));
    assert_eq!(through(0xffff, 0x409b, &write_1(0x9000)), (GP, 0));
    assert_eq!(through(0xffff, 0x4099, &[]), (GP, u32::from(FREE)));
}

#[test]
fn a_null_segment_can_be_loaded_but_not_used() {
    let mut bench = Bench::protected();
    assert_eq!(bench.run(&load(ES, 3)).what(), (DONE, 0));
    let code = [&load(ES, 0)[..], &read_4(0x9000)].concat();
    assert_eq!(bench.run(&code).what(), (GP, 0));
    assert_eq!(Bench::protected().run(&load(STACK, 0)).what(), (GP, 0));
}

#[test]
fn loads_are_refused_with_the_selector() {
    let wants = |segment: u8, attributes: u16, selector: u16, end: (u8, u32)| {
        let mut bench = Bench::protected();
        bench.set_descriptor(FREE, descriptor(0, 0xffff, attributes));
        assert_eq!(
            bench.run(&load(segment, selector)).what(),
            end,
            "{attributes:x}"
        );
    };
    let name = u32::from(FREE);
    wants(ES, 0x4013, FREE, (NP, name));
    wants(STACK, 0x4013, FREE, (SS, name));
    wants(STACK, 0x4091, FREE, (GP, name));
    wants(STACK, 0x409b, FREE, (GP, name));
    // A stack must have the privilege level itself, in both places.
    wants(STACK, 0x40f3, FREE, (GP, name));
    wants(STACK, 0x4093, FREE | 3, (GP, name));
    // A system descriptor; one beyond the table; one of a local table that is not there.
    wants(ES, 0x89, FREE, (GP, name));
    wants(ES, 0x4093, 0x100, (GP, 0x100));
    wants(ES, 0x4093, FREE | 4, (GP, name | 4));
    // Data of an inner level.
    let mut bench = Bench::protected().user();
    assert_eq!(bench.run(&load(ES, DATA_0)).what(), (GP, u32::from(DATA_0)));
}

#[test]
fn a_load_marks_the_descriptor() {
    let mut bench = Bench::protected();
    bench.set_descriptor(FREE, descriptor(0, 0xffff, 0x4092));
    assert_eq!(bench.run(&load(ES, FREE)).vector, DONE);
    assert_eq!(bench.int(0x2000 + u64::from(FREE) + 5, 1), 0x93);
}

#[test]
fn the_stack_has_its_own_exception() {
    let mut bench = Bench::protected();
    bench.set_descriptor(FREE, descriptor(0, 0x7fff, 0x4093));
    // mov eax,[esp+0x1000]
    let code = [&load(STACK, FREE)[..], &[0x8b, 0x84, 0x24, 0, 0x10, 0, 0]].concat();
    assert_eq!(bench.run(&code).what(), (SS, 0));
    // mov ebp,0x9000; mov eax,[ebp]
    let code = [0xbd, 0, 0x90, 0, 0, 0x8b, 0x45, 0];
    assert_eq!(bench.run(&code).what(), (SS, 0));
}

#[test]
fn code_ends_at_its_limit() {
    let mut bench = Bench::protected();
    bench.set_descriptor(FREE, descriptor(0, 0xc00f, 0x409b));
    // The last instruction fits, the next one does not.
    bench.put(0xc00f, &[0x90, 0x90]);
    let [low, high] = FREE.to_le_bytes();
    let end = bench.run(&[0xea, 0x0f, 0xc0, 0, 0, low, high]);
    assert_eq!((end.what(), end.ip), ((GP, 0), 0xc010));
    // One that is cut by the limit, and a jump beyond it.
    bench.put(0xc00f, &[0xb0, 0x90]);
    let end = bench.run(&[0xea, 0x0f, 0xc0, 0, 0, low, high]);
    assert_eq!((end.what(), end.ip), ((GP, 0), 0xc00f));
    let end = bench.run(&[0xea, 0x10, 0xc0, 0, 0, low, high]);
    assert_eq!((end.what(), end.ip), ((GP, 0), CODE));
}

/// Where a gate of the tests leads: code that ends with INT3.
const INSIDE: u64 = 0xc000;

/// Privilege level 3 calls a gate at FREE.
fn calls(access: u8, words: u8, target: u16, prepare: impl FnOnce(&mut Bench)) -> (Bench, End) {
    let mut bench = Bench::protected().user();
    let inside = u32::try_from(INSIDE).expect("small");
    bench.set_descriptor(FREE, gate(target, inside, access, words));
    bench.put(INSIDE, &[0xcc]);
    prepare(&mut bench);
    // push 0x11; push 0x22; call FREE|3:0
    let [low, high] = (FREE | 3).to_le_bytes();
    let end = bench.run(&[0x6a, 0x11, 0x6a, 0x22, 0x9a, 0, 0, 0, 0, low, high]);
    (bench, end)
}

#[test]
fn a_call_gate_changes_the_stack_and_copies_words() {
    let (bench, end) = calls(0xec, 2, CODE_0, |_| {});
    assert_eq!(
        (end.what(), end.ip, end.cs),
        ((DONE, 0), INSIDE + 1, CODE_0)
    );
    // From the top: ss, esp, two words, cs, eip.
    let words: Vec<u64> = (1..=6).map(|n| bench.int(INNER - 4 * n, 4)).collect();
    let (ss, cs) = (u64::from(DATA_3), u64::from(CODE_3));
    assert_eq!(words, [ss, OUTER - 8, 0x11, 0x22, cs, CODE + 11]);
}

#[test]
fn a_return_takes_words_and_closes_inner_segments() {
    let mut bench = Bench::protected();
    // push DATA_3; push OUTER; push CODE_3; push 0xc000; retf 8
    let (ss, cs) = (u8::try_from(DATA_3), u8::try_from(CODE_3));
    let code = [
        0x6a,
        ss.expect("small"),
        0x68,
        0,
        0xa0,
        0,
        0,
        0x6a,
        0,
        0x6a,
        0,
        0x6a,
        cs.expect("small"),
        0x68,
        0,
        0xc0,
        0,
        0,
        0xca,
        8,
        0,
    ];
    bench.put(INSIDE, &[0xcc]);
    let end = bench.run(&code);
    assert_eq!((end.vector, end.ip, end.cs), (DONE, INSIDE + 1, CODE_3));
    let registers = bench.registers();
    // ES was one of level 0: it is closed. The outer stack lost the words too.
    assert_eq!(registers.segments[0].selector, 0);
    assert_eq!(bench.int(INNER - 8, 4), OUTER + 8);
}

#[test]
fn call_gates_are_refused_exactly() {
    let name = u32::from(FREE);
    let ends = |access, target| calls(access, 0, target, |_| {}).1.what();
    assert_eq!(ends(0x6c, CODE_0), (NP, name));
    assert_eq!(ends(0x8c, CODE_0), (GP, name));
    assert_eq!(ends(0xec, 0), (GP, 0));
    assert_eq!(ends(0xec, DATA_0), (GP, u32::from(DATA_0)));
    // An interrupt gate is no call gate.
    assert_eq!(ends(0xee, CODE_0), (GP, name));
    // Through level 1, whose stack is bad; the exception itself takes that of level 0.
    let stack = |ss: u16| {
        let prepare = |bench: &mut Bench| {
            bench.set_descriptor(FREE + 8, descriptor(0, 0xf_ffff, 0xc0bb));
            bench.put_int(TSS + 12, 4, 0x7800);
            bench.put_int(TSS + 16, 4, u64::from(ss));
        };
        calls(0xec, 0, FREE + 8, prepare).1.what()
    };
    assert_eq!(stack(0), (TS, 0));
    assert_eq!(stack(DATA_3), (TS, u32::from(DATA_3 & !3)));
    assert_eq!(stack(DATA_0 | 1), (TS, u32::from(DATA_0)));
    assert_eq!(stack(CODE_0), (TS, u32::from(CODE_0)));
}

#[test]
fn interrupts_go_in_and_error_codes_name_what_was_wrong() {
    let run = |vector: u8, entry: u64| {
        let mut bench = Bench::protected().user();
        bench.set_gate(vector, entry);
        bench.run(&[0xcd, vector])
    };
    let inside = 0x4000 + 0x1f * 16;
    // INT 0x1f, closed to users: general protection names the gate, without EXT.
    assert_eq!(
        run(0x1f, gate(CODE_0, inside, 0x8e, 0)).what(),
        (GP, 0x1f * 8 + 2)
    );
    assert_eq!(
        run(0x1f, gate(CODE_0, inside, 0x6e, 0)).what(),
        (NP, 0x1f * 8 + 2)
    );
    assert_eq!(run(0x1f, gate(0, inside, 0xee, 0)).what(), (GP, 0));
    assert_eq!(
        run(0x1f, gate(DATA_0, inside, 0xee, 0)).what(),
        (GP, u32::from(DATA_0))
    );
    let end = run(0x1f, gate(CODE_0, inside, 0xee, 0));
    assert_eq!((end.vector, end.ip, end.cs), (0x1f, CODE + 2, CODE_3));
    // Beyond the table.
    let mut bench = Bench::protected();
    bench.change(|registers| registers.idt.limit = 32 * 8 - 1);
    assert_eq!(bench.run(&[0xcd, 0x40]).what(), (GP, 0x40 * 8 + 2));
    // An exception of the processor itself sets EXT.
    let mut bench = Bench::protected();
    bench.set_gate(UD, gate(CODE_0, inside, 0x0e, 0));
    assert_eq!(bench.run(&[0x0f, 0x0b]).what(), (NP, u32::from(UD) * 8 + 3));
}

#[test]
fn faults_while_delivering_become_double_faults() {
    let mut bench = Bench::protected();
    // #GP through a gate that is not there is #NP, the second contributory one: #DF.
    bench.set_gate(GP, gate(CODE_0, 0x40d0, 0x0e, 0));
    let end = bench.run(&load(ES, 0x100));
    assert_eq!(end.what(), (DF, 0));
}

#[test]
fn conforming_code_keeps_the_level() {
    let mut bench = Bench::protected().user();
    bench.set_descriptor(FREE, descriptor(0, 0xf_ffff, 0xc09f));
    bench.put(INSIDE, &[0xcc]);
    let [low, high] = FREE.to_le_bytes();
    let end = bench.run(&[0xea, 0, 0xc0, 0, 0, low, high]);
    assert_eq!((end.vector, end.cs), (DONE, FREE | 3));
    // Code of level 0 that does not conform is out of reach.
    let [low, high] = CODE_0.to_le_bytes();
    let end = Bench::protected()
        .user()
        .run(&[0xea, 0, 0xc0, 0, 0, low, high]);
    assert_eq!(end.what(), (GP, u32::from(CODE_0)));
}
