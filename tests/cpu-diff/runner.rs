//! The native side: a static program without a library, made here instruction by instruction, that runs each
//! record of a shared file on the host's processor.
//!
//! It loads a record's memory window, code and registers, goes to the code by IRETQ (which reaches 32-bit
//! code as well), and gets back through a signal: every case ends in an exception, at the latest in the INT3
//! behind its code. The handler copies what the kernel saved into the record and goes on with the next one;
//! it never returns to the case.
//!
//! Standard input carries the number of records to run, and a number back when they are done; standard
//! output is the shared file.

use iced_x86::IcedError;
use iced_x86::code_asm::{
    CodeAssembler, CodeLabel, dword_ptr, eax, edi, edx, esi, ptr, qword_ptr, r8, r8d, r9d, r10,
    r10d, r11, r12, r13, r14, r15, rax, rbp, rbx, rcx, rdi, rdx, rsi, rsp,
};

use crate::layout::{
    BATCH, CODE, CODE_AT, CODE_BYTES, CODE_PAGE_AT, DATA_AT, FRAME, OUT, OUT_WORDS, READ_ONLY_AT,
    RECORD, RECORDS_AT, SS, WINDOW, WINDOW_AT, WINDOW_BYTES, XSAVE, XSAVE_BYTES,
};

/// Where the program is loaded.
const TEXT_AT: u64 = 0x40_0000;
/// Size of the ELF and program header.
const HEADERS: u64 = 120;
/// The program's variables, behind its text.
const VARIABLES_AT: u64 = TEXT_AT + 0x4000;
/// Address of the running record.
const CURRENT: u64 = VARIABLES_AT;
/// Address of the record behind the last.
const END: u64 = VARIABLES_AT + 8;
/// What is read from and written to standard input.
const COUNT: u64 = VARIABLES_AT + 16;
/// Argument blocks of system calls.
const BLOCK: u64 = VARIABLES_AT + 64;
/// Top of the stack.
const STACK: u64 = VARIABLES_AT + 0x4000;
/// The signal stack and its size.
const SIGNAL_STACK: u64 = VARIABLES_AT + 0x4000;
const SIGNAL_STACK_BYTES: u64 = 0x1_0000;
const LOADED: u64 = SIGNAL_STACK + SIGNAL_STACK_BYTES - TEXT_AT;

/// System calls of x86-64 Linux.
mod call {
    pub(super) const READ: u32 = 0;
    pub(super) const WRITE: u32 = 1;
    pub(super) const MMAP: u32 = 9;
    pub(super) const SIGACTION: u32 = 13;
    pub(super) const EXIT: u32 = 60;
    pub(super) const SIGALTSTACK: u32 = 131;
}

/// SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV.
const SIGNALS: [u32; 5] = [4, 5, 7, 8, 11];
/// `SA_RESTORER | SA_ONSTACK | SA_NODEFER | SA_SIGINFO`.
const ACTION_FLAGS: u64 = 0x0400_0000 | 0x0800_0000 | 0x4000_0000 | 4;
const MAP_SHARED_FIXED: u32 = 0x11;
const MAP_PRIVATE_FIXED_ANONYMOUS: u32 = 0x32;

/// What the host can save and restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saves {
    /// FXSAVE's part only.
    Legacy,
    /// XSAVE with the upper halves of ymm.
    Avx,
}

/// The program as an ELF file.
pub fn program(saves: Saves) -> Result<Vec<u8>, IcedError> {
    let mut a = CodeAssembler::new(64)?;
    let mut handler = a.create_label();
    start(&mut a, handler)?;
    run(&mut a, &mut handler, saves)?;
    let text = a.assemble(TEXT_AT + HEADERS)?;
    assert!(text.len() < 0x3000, "the variables lie behind the text");
    Ok(elf(&text))
}

fn elf(text: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    file.extend((TEXT_AT + HEADERS).to_le_bytes());
    file.extend(64_u64.to_le_bytes());
    file.extend(0_u64.to_le_bytes());
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]);
    // One segment, to be read, written and run.
    file.extend([1, 0, 0, 0, 7, 0, 0, 0]);
    let bytes = HEADERS + text.len() as u64;
    for word in [0, TEXT_AT, TEXT_AT, bytes, LOADED, 0x1000] {
        file.extend(word.to_le_bytes());
    }
    file.extend(text);
    file
}

fn syscall(a: &mut CodeAssembler, number: u32) -> Result<(), IcedError> {
    a.mov(eax, number)?;
    a.syscall()
}

fn store(a: &mut CodeAssembler, address: u64, value: u64) -> Result<(), IcedError> {
    a.mov(rax, value)?;
    a.mov(qword_ptr(address), rax)
}

fn start(a: &mut CodeAssembler, handler: CodeLabel) -> Result<(), IcedError> {
    a.mov(rsp, STACK)?;
    store(a, BLOCK, SIGNAL_STACK)?;
    store(a, BLOCK + 8, 0)?;
    store(a, BLOCK + 16, SIGNAL_STACK_BYTES)?;
    a.mov(rdi, BLOCK)?;
    a.xor(esi, esi)?;
    syscall(a, call::SIGALTSTACK)?;
    a.lea(rax, ptr(handler))?;
    a.mov(qword_ptr(BLOCK), rax)?;
    // The handler never returns, so it may stand for its own restorer.
    a.mov(qword_ptr(BLOCK + 16), rax)?;
    store(a, BLOCK + 8, ACTION_FLAGS)?;
    store(a, BLOCK + 24, 0)?;
    for signal in SIGNALS {
        a.mov(edi, signal)?;
        a.mov(rsi, BLOCK)?;
        a.xor(edx, edx)?;
        a.mov(r10d, 8_u32)?;
        syscall(a, call::SIGACTION)?;
    }
    let records = (RECORD * BATCH).next_multiple_of(4096) as u64;
    map(a, RECORDS_AT, records, 3, MAP_SHARED_FIXED, 1)?;
    map(a, DATA_AT, 4096, 3, MAP_PRIVATE_FIXED_ANONYMOUS, u32::MAX)?;
    map(a, READ_ONLY_AT, 4096, 1, MAP_PRIVATE_FIXED_ANONYMOUS, u32::MAX)?;
    map(a, CODE_PAGE_AT, 4096, 7, MAP_PRIVATE_FIXED_ANONYMOUS, u32::MAX)?;
    // A page that was never read is not there, and a write to it another kind of fault.
    a.mov(rax, READ_ONLY_AT)?;
    a.mov(eax, dword_ptr(rax))?;
    a.mov(rdi, CODE_PAGE_AT)?;
    a.mov(rcx, 512_u64)?;
    a.mov(rax, 0xcccc_cccc_cccc_cccc_u64)?;
    a.rep().stosq()
}

fn map(
    a: &mut CodeAssembler,
    at: u64,
    bytes: u64,
    protection: u32,
    flags: u32,
    file: u32,
) -> Result<(), IcedError> {
    a.mov(rdi, at)?;
    a.mov(rsi, bytes)?;
    a.mov(edx, protection)?;
    a.mov(r10d, flags)?;
    a.mov(r8d, file)?;
    a.movsxd(r8, r8d)?;
    a.xor(r9d, r9d)?;
    syscall(a, call::MMAP)
}

/// Copies whole words.
fn copy_words(a: &mut CodeAssembler, words: usize) -> Result<(), IcedError> {
    a.mov(rcx, words as u64)?;
    a.rep().movsq()
}

fn run(a: &mut CodeAssembler, handler: &mut CodeLabel, saves: Saves) -> Result<(), IcedError> {
    let (mut wait, mut next, mut done, mut exit) =
        (a.create_label(), a.create_label(), a.create_label(), a.create_label());
    a.set_label(&mut wait)?;
    io(a, call::READ)?;
    a.cmp(eax, 4)?;
    a.jne(exit)?;
    a.mov(rax, RECORDS_AT)?;
    a.mov(qword_ptr(CURRENT), rax)?;
    a.mov(edx, dword_ptr(COUNT))?;
    a.imul_3(rdx, rdx, RECORD as i32)?;
    a.add(rdx, rax)?;
    a.mov(qword_ptr(END), rdx)?;

    a.set_label(&mut next)?;
    a.mov(rbx, qword_ptr(CURRENT))?;
    a.cmp(rbx, qword_ptr(END))?;
    a.jae(done)?;
    enter(a, saves)?;

    a.set_label(&mut done)?;
    io(a, call::WRITE)?;
    a.jmp(wait)?;

    a.set_label(&mut exit)?;
    a.xor(edi, edi)?;
    syscall(a, call::EXIT)?;

    a.set_label(handler)?;
    leave(a)?;
    a.jmp(next)
}

fn io(a: &mut CodeAssembler, number: u32) -> Result<(), IcedError> {
    a.xor(edi, edi)?;
    a.mov(rsi, COUNT)?;
    a.mov(edx, 4_u32)?;
    syscall(a, number)
}

/// Loads the record at rbx and goes to its code.
fn enter(a: &mut CodeAssembler, saves: Saves) -> Result<(), IcedError> {
    a.mov(rdi, DATA_AT)?;
    a.xor(eax, eax)?;
    a.mov(rcx, (4096 - WINDOW_BYTES as u64) / 8)?;
    a.rep().stosq()?;
    a.lea(rsi, ptr(rbx + WINDOW))?;
    copy_words(a, WINDOW_BYTES / 8)?;
    a.mov(rdi, CODE_AT)?;
    a.lea(rsi, ptr(rbx + CODE))?;
    copy_words(a, CODE_BYTES / 8)?;
    match saves {
        Saves::Avx => {
            a.mov(eax, 7_u32)?;
            a.xor(edx, edx)?;
            a.xrstor64(ptr(rbx + XSAVE))?;
        }
        Saves::Legacy => a.fxrstor64(ptr(rbx + XSAVE))?,
    }
    a.mov(rsp, STACK)?;
    a.push(i32::try_from(SS).expect("a selector is small"))?;
    a.push(qword_ptr(rbx + 4 * 8))?;
    a.push(qword_ptr(rbx + FRAME + 8))?;
    a.push(qword_ptr(rbx + FRAME + 16))?;
    a.push(qword_ptr(rbx + FRAME))?;
    for (place, register) in [
        (0, rax),
        (1, rcx),
        (2, rdx),
        (5, rbp),
        (6, rsi),
        (7, rdi),
        (8, r8),
        (9, iced_x86::code_asm::r9),
        (10, r10),
        (11, r11),
        (12, r12),
        (13, r13),
        (14, r14),
        (15, r15),
        (3, rbx),
    ] {
        a.mov(register, qword_ptr(rbx + place * 8))?;
    }
    a.iretq()
}

/// The signal handler: rdx is the context. `gregs` are at 40, the pointer to the XSAVE area behind them.
fn leave(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.mov(rbx, qword_ptr(CURRENT))?;
    a.lea(rsi, ptr(rdx + 40))?;
    a.lea(rdi, ptr(rbx + OUT))?;
    copy_words(a, OUT_WORDS)?;
    a.mov(rsi, qword_ptr(rdx + 40 + OUT_WORDS * 8))?;
    a.lea(rdi, ptr(rbx + XSAVE))?;
    copy_words(a, XSAVE_BYTES / 8)?;
    a.mov(rsi, WINDOW_AT)?;
    a.lea(rdi, ptr(rbx + WINDOW))?;
    copy_words(a, WINDOW_BYTES / 8)?;
    a.add(rbx, RECORD as i32)?;
    a.mov(qword_ptr(CURRENT), rbx)?;
    a.mov(rsp, STACK)
}
