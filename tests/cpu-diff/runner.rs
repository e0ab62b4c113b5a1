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

use iced_x86::{Code, Encoder, IcedError, Instruction, MemoryOperand, Register};

use crate::layout::{
    BATCH, CODE, CODE_AT, CODE_BYTES, CODE_PAGE_AT, DATA_AT, FRAME, OUT, OUT_WORDS, READ_ONLY_AT,
    RECORD, RECORDS_AT, SS, WINDOW, WINDOW_AT, WINDOW_BYTES, XSAVE, XSAVE_BYTES,
};

/// Where the program is loaded.
const TEXT_AT: u64 = 0x51b7_0000;
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
    pub(super) const READ: u64 = 0;
    pub(super) const WRITE: u64 = 1;
    pub(super) const MMAP: u64 = 9;
    pub(super) const SIGACTION: u64 = 13;
    pub(super) const EXIT: u64 = 60;
    pub(super) const SIGALTSTACK: u64 = 131;
}

/// SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV.
const SIGNALS: [u64; 5] = [4, 5, 7, 8, 11];
/// `SA_RESTORER | SA_ONSTACK | SA_NODEFER | SA_SIGINFO`.
const ACTION_FLAGS: u64 = 0x0400_0000 | 0x0800_0000 | 0x4000_0000 | 4;
const MAP_SHARED_FIXED: u64 = 0x11;
const MAP_PRIVATE_FIXED_ANONYMOUS: u64 = 0x32;

/// The program as an ELF file.
pub(crate) fn program() -> Result<Vec<u8>, IcedError> {
    let mut text = Text::default();
    start(&mut text)?;
    run(&mut text)?;
    // Every jump has 32 bits, so the first pass finds where the labels are.
    text.encode()?;
    let bytes = text.encode()?;
    assert!(bytes.len() < 0x3000, "the variables lie behind the text");
    Ok(elf(&bytes))
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

/// A place in the text.
#[derive(Clone, Copy)]
enum Label {
    Wait,
    Next,
    Done,
    Exit,
    Handler,
}

/// A line of the text.
enum Line {
    Plain(Instruction),
    Jump(Code, Label),
    Address(Register, Label),
    Here(Label),
}

/// The program as it grows.
#[derive(Default)]
struct Text {
    lines: Vec<Line>,
    labels: [u64; 5],
}

type Written = Result<(), IcedError>;

/// Memory at a register plus an offset.
fn at(base: Register, offset: usize) -> MemoryOperand {
    let offset = i64::try_from(offset).expect("a small offset");
    MemoryOperand::with_base_displ(base, offset)
}

/// A variable.
fn variable(address: u64) -> MemoryOperand {
    let address = i64::try_from(address).expect("a low address");
    MemoryOperand::new(
        Register::None,
        Register::None,
        1,
        address,
        4,
        false,
        Register::None,
    )
}

impl Text {
    fn add(&mut self, instruction: Instruction) {
        self.lines.push(Line::Plain(instruction));
    }

    fn set(&mut self, register: Register, value: u64) -> Written {
        self.add(Instruction::with2(Code::Mov_r64_imm64, register, value)?);
        Ok(())
    }

    fn load(&mut self, register: Register, from: MemoryOperand) -> Written {
        self.add(Instruction::with2(Code::Mov_r64_rm64, register, from)?);
        Ok(())
    }

    fn store(&mut self, to: MemoryOperand, register: Register) -> Written {
        self.add(Instruction::with2(Code::Mov_rm64_r64, to, register)?);
        Ok(())
    }

    fn store_value(&mut self, address: u64, value: u64) -> Written {
        self.set(Register::RAX, value)?;
        self.store(variable(address), Register::RAX)
    }

    fn address(&mut self, register: Register, of: MemoryOperand) -> Written {
        self.add(Instruction::with2(Code::Lea_r64_m, register, of)?);
        Ok(())
    }

    fn call(&mut self, number: u64) -> Written {
        self.set(Register::RAX, number)?;
        self.add(Instruction::with(Code::Syscall));
        Ok(())
    }

    fn copy_words(&mut self, words: usize) -> Written {
        self.set(Register::RCX, words as u64)?;
        self.add(Instruction::with_rep_movsq(64)?);
        Ok(())
    }

    fn fill_words(&mut self, words: usize, value: u64) -> Written {
        self.set(Register::RCX, words as u64)?;
        self.set(Register::RAX, value)?;
        self.add(Instruction::with_rep_stosq(64)?);
        Ok(())
    }

    fn encode(&mut self) -> Result<Vec<u8>, IcedError> {
        let mut bytes = Vec::new();
        for line in &self.lines {
            let ip = TEXT_AT + HEADERS + bytes.len() as u64;
            let instruction = match line {
                Line::Plain(instruction) => *instruction,
                Line::Jump(code, label) => {
                    Instruction::with_branch(*code, self.labels[*label as usize])?
                }
                Line::Address(register, label) => {
                    let to = self.labels[*label as usize];
                    Instruction::with2(Code::Mov_r64_imm64, *register, to)?
                }
                Line::Here(label) => {
                    self.labels[*label as usize] = ip;
                    continue;
                }
            };
            let mut encoder = Encoder::new(64);
            encoder.encode(&instruction, ip)?;
            bytes.extend(encoder.take_buffer());
        }
        Ok(bytes)
    }
}

fn start(text: &mut Text) -> Written {
    text.set(Register::RSP, STACK)?;
    text.store_value(BLOCK, SIGNAL_STACK)?;
    text.store_value(BLOCK + 8, 0)?;
    text.store_value(BLOCK + 16, SIGNAL_STACK_BYTES)?;
    text.set(Register::RDI, BLOCK)?;
    text.set(Register::RSI, 0)?;
    text.call(call::SIGALTSTACK)?;
    text.lines
        .push(Line::Address(Register::RAX, Label::Handler));
    text.store(variable(BLOCK), Register::RAX)?;
    // The handler never returns, so it may stand for its own restorer.
    text.store(variable(BLOCK + 16), Register::RAX)?;
    text.store_value(BLOCK + 8, ACTION_FLAGS)?;
    text.store_value(BLOCK + 24, 0)?;
    for signal in SIGNALS {
        text.set(Register::RDI, signal)?;
        text.set(Register::RSI, BLOCK)?;
        text.set(Register::RDX, 0)?;
        text.set(Register::R10, 8)?;
        text.call(call::SIGACTION)?;
    }
    let records = (RECORD * BATCH).next_multiple_of(4096) as u64;
    map(text, RECORDS_AT, records, 3, Some(1))?;
    map(text, DATA_AT, 4096, 3, None)?;
    map(text, READ_ONLY_AT, 4096, 1, None)?;
    map(text, CODE_PAGE_AT, 4096, 7, None)?;
    // 32-bit code needs data segments.
    text.set(Register::RAX, SS)?;
    for segment in [Register::DS, Register::ES] {
        text.add(Instruction::with2(
            Code::Mov_Sreg_r32m16,
            segment,
            Register::EAX,
        )?);
    }
    // A page that was never read is not there, and a write to it another kind of fault.
    text.set(Register::RBX, READ_ONLY_AT)?;
    text.load(Register::RAX, at(Register::RBX, 0))?;
    text.set(Register::RDI, CODE_PAGE_AT)?;
    text.fill_words(512, 0xcccc_cccc_cccc_cccc)
}

fn map(text: &mut Text, at: u64, bytes: u64, protection: u64, file: Option<u64>) -> Written {
    let flags = match file {
        Some(_) => MAP_SHARED_FIXED,
        None => MAP_PRIVATE_FIXED_ANONYMOUS,
    };
    text.set(Register::RDI, at)?;
    text.set(Register::RSI, bytes)?;
    text.set(Register::RDX, protection)?;
    text.set(Register::R10, flags)?;
    text.set(Register::R8, file.unwrap_or(u64::MAX))?;
    text.set(Register::R9, 0)?;
    text.call(call::MMAP)
}

fn run(text: &mut Text) -> Written {
    text.lines.push(Line::Here(Label::Wait));
    io(text, call::READ)?;
    text.add(Instruction::with2(Code::Cmp_rm64_imm8, Register::RAX, 4)?);
    text.lines.push(Line::Jump(Code::Jne_rel32_64, Label::Exit));
    text.set(Register::RAX, RECORDS_AT)?;
    text.store(variable(CURRENT), Register::RAX)?;
    let record = i32::try_from(RECORD).expect("small");
    text.add(Instruction::with2(
        Code::Mov_r32_rm32,
        Register::EDX,
        variable(COUNT),
    )?);
    text.add(Instruction::with3(
        Code::Imul_r64_rm64_imm32,
        Register::RDX,
        Register::RDX,
        record,
    )?);
    text.add(Instruction::with2(
        Code::Add_r64_rm64,
        Register::RDX,
        Register::RAX,
    )?);
    text.store(variable(END), Register::RDX)?;

    text.lines.push(Line::Here(Label::Next));
    text.load(Register::RBX, variable(CURRENT))?;
    text.add(Instruction::with2(
        Code::Cmp_r64_rm64,
        Register::RBX,
        variable(END),
    )?);
    text.lines.push(Line::Jump(Code::Jae_rel32_64, Label::Done));
    enter(text)?;

    text.lines.push(Line::Here(Label::Done));
    io(text, call::WRITE)?;
    text.lines.push(Line::Jump(Code::Jmp_rel32_64, Label::Wait));

    text.lines.push(Line::Here(Label::Exit));
    text.set(Register::RDI, 0)?;
    text.call(call::EXIT)?;

    text.lines.push(Line::Here(Label::Handler));
    leave(text)?;
    text.lines.push(Line::Jump(Code::Jmp_rel32_64, Label::Next));
    Ok(())
}

fn io(text: &mut Text, number: u64) -> Written {
    text.set(Register::RDI, 0)?;
    text.set(Register::RSI, COUNT)?;
    text.set(Register::RDX, 4)?;
    text.call(number)
}

/// Loads the record at rbx and goes to its code.
fn enter(text: &mut Text) -> Written {
    let record = |offset| at(Register::RBX, offset);
    text.set(Register::RDI, DATA_AT)?;
    text.fill_words((4096 - WINDOW_BYTES) / 8, 0)?;
    text.address(Register::RSI, record(WINDOW))?;
    text.copy_words(WINDOW_BYTES / 8)?;
    text.set(Register::RDI, CODE_AT)?;
    text.address(Register::RSI, record(CODE))?;
    text.copy_words(CODE_BYTES / 8)?;
    text.set(Register::RAX, 7)?;
    text.set(Register::RDX, 0)?;
    text.add(Instruction::with1(Code::Xrstor64_mem, record(XSAVE))?);
    text.set(Register::RSP, STACK)?;
    text.set(Register::RAX, SS)?;
    text.add(Instruction::with1(Code::Push_r64, Register::RAX)?);
    for word in [4 * 8, FRAME + 8, FRAME + 16, FRAME] {
        text.add(Instruction::with1(Code::Push_rm64, record(word))?);
    }
    for (place, register) in [
        (0, Register::RAX),
        (1, Register::RCX),
        (2, Register::RDX),
        (5, Register::RBP),
        (6, Register::RSI),
        (7, Register::RDI),
        (8, Register::R8),
        (9, Register::R9),
        (10, Register::R10),
        (11, Register::R11),
        (12, Register::R12),
        (13, Register::R13),
        (14, Register::R14),
        (15, Register::R15),
        (3, Register::RBX),
    ] {
        text.load(register, record(place * 8))?;
    }
    text.add(Instruction::with(Code::Iretq));
    Ok(())
}

/// The signal handler: rdx is the context. `gregs` are at 40, the pointer to the XSAVE area behind them.
fn leave(text: &mut Text) -> Written {
    let record = |offset| at(Register::RBX, offset);
    text.load(Register::RBX, variable(CURRENT))?;
    text.address(Register::RSI, at(Register::RDX, 40))?;
    text.address(Register::RDI, record(OUT))?;
    text.copy_words(OUT_WORDS)?;
    text.load(Register::RSI, at(Register::RDX, 40 + OUT_WORDS * 8))?;
    text.address(Register::RDI, record(XSAVE))?;
    text.copy_words(XSAVE_BYTES / 8)?;
    text.set(Register::RSI, WINDOW_AT)?;
    text.address(Register::RDI, record(WINDOW))?;
    text.copy_words(WINDOW_BYTES / 8)?;
    text.address(Register::RBX, record(RECORD))?;
    text.store(variable(CURRENT), Register::RBX)?;
    text.set(Register::RSP, STACK)
}
