//! Decoded blocks, by physical address and width of code.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use guest_mem::CodeMarks;
use x86_cpu::Step;
use x86_cpu::isa::{Decoding, Op, Undecoded, op};
use x86_cpu::state::{CodeSize, CpuState};
use x86_cpu::word::index;

use crate::slow::next_page;
use crate::soft::Soft;

/// Operations in a block at most.
const LONGEST: usize = 48;
/// Bytes of an instruction at most.
const INSTRUCTION: usize = 15;
/// Bytes that are looked at for a block.
const WINDOW: usize = 256;
/// Blocks kept at most; then all are forgotten.
const MOST: usize = 1 << 16;

/// A page that a block was decoded from, and its mark then.
struct Source {
    marks: CodeMarks,
    page: usize,
    mark: u32,
}

impl Source {
    #[inline(always)]
    fn fresh(&self) -> bool {
        self.marks.get(self.page) == self.mark
    }
}

/// Instructions that run one after the other.
pub(crate) struct Block {
    pub(crate) ops: Box<[Op<Soft>]>,
    /// Length of the code.
    pub(crate) bytes: u64,
    /// The last operation sets `rip`.
    pub(crate) jumps: bool,
    /// Physical pages.
    pub(crate) pages: [u64; 2],
    first: Option<Source>,
    second: Option<Source>,
}

impl Block {
    /// Whether the code is still what was decoded. Code that is not in memory never is.
    #[inline(always)]
    pub(crate) fn fresh(&self) -> bool {
        self.first.as_ref().is_some_and(Source::fresh)
            && self.second.as_ref().is_none_or(Source::fresh)
    }
}

/// A hash of one number.
#[derive(Default)]
struct Multiply(u64);

impl Hasher for Multiply {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0 ^ value)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29);
    }
}

/// Entries of the table by linear address; a power of two.
const JUMPS: usize = 1 << 14;

/// A block by its linear address, while translations stay as they are.
#[derive(Clone, Copy)]
struct Jump {
    linear: u64,
    key: u64,
    block: u32,
}

/// All blocks of one processor.
pub(crate) struct Cache {
    blocks: Vec<Block>,
    by_address: HashMap<u64, u32, BuildHasherDefault<Multiply>>,
    jumps: Box<[Jump]>,
}

#[inline(always)]
fn jump_slot(linear: u64) -> usize {
    index(linear ^ linear >> 14) & (JUMPS - 1)
}

/// What a jump entry is valid for.
#[inline(always)]
fn jump_key(cpu: &CpuState, soft: &Soft) -> u64 {
    let size = match cpu.code {
        CodeSize::Bits16 => 0,
        CodeSize::Bits32 => 1,
        CodeSize::Bits64 => 2,
    };
    soft.stamp << 3 | size << 1 | u64::from(cpu.cpl == 3)
}

impl Cache {
    pub(crate) fn new() -> Self {
        let none = Jump {
            linear: 0,
            key: u64::MAX,
            block: 0,
        };
        Self {
            blocks: Vec::new(),
            by_address: HashMap::default(),
            jumps: vec![none; JUMPS].into_boxed_slice(),
        }
    }

    /// The block at a linear address.
    ///
    /// # Errors
    /// The address faults.
    #[inline(always)]
    pub(crate) fn find(&mut self, cpu: &mut CpuState, soft: &mut Soft, linear: u64) -> Step<usize> {
        let jump = self.jumps[jump_slot(linear) & (JUMPS - 1)];
        if jump.linear == linear && jump.key == jump_key(cpu, soft) {
            let found = usize::try_from(jump.block).unwrap_or(usize::MAX);
            if self.blocks.get(found).is_some_and(Block::fresh) {
                return Ok(found);
            }
        }
        self.search(cpu, soft, linear)
    }

    /// A block by number; the number comes from [`Cache::find`].
    #[inline(always)]
    pub(crate) fn block(&self, number: usize) -> &Block {
        &self.blocks[number]
    }

    #[inline(never)]
    fn search(&mut self, cpu: &mut CpuState, soft: &mut Soft, linear: u64) -> Step<usize> {
        let physical = soft.code_address(cpu, linear)?;
        let key = physical << 2 | jump_key(cpu, soft) >> 1 & 3;
        let known = self.by_address.get(&key).copied();
        let number = match known {
            Some(number) if self.usable(cpu, soft, linear, number)? => number,
            _ => {
                let block = decode(cpu, soft, linear, physical, LONGEST)?;
                if self.blocks.len() >= MOST {
                    self.forget();
                }
                self.keep(key, block)
            }
        };
        let key = jump_key(cpu, soft);
        self.jumps[jump_slot(linear)] = Jump {
            linear,
            key,
            block: number,
        };
        Ok(index(u64::from(number)))
    }

    /// Whether a block is fresh, and its second page, if it has one, is still the one that follows.
    fn usable(&self, cpu: &mut CpuState, soft: &mut Soft, linear: u64, number: u32) -> Step<bool> {
        let block = &self.blocks[index(u64::from(number))];
        if !block.fresh() || block.second.is_none() {
            return Ok(block.fresh());
        }
        let behind = soft.code_address(cpu, next_page(cpu, linear))?;
        Ok(behind == block.pages[1])
    }

    fn keep(&mut self, key: u64, block: Block) -> u32 {
        if let Some(number) = self.by_address.get(&key) {
            self.blocks[index(u64::from(*number))] = block;
            return *number;
        }
        let number = x86_cpu::word::low32(self.blocks.len() as u64);
        self.blocks.push(block);
        self.by_address.insert(key, number);
        number
    }

    /// Forgets all blocks.
    pub(crate) fn forget(&mut self) {
        self.blocks.clear();
        self.by_address.clear();
        self.jumps.fill(Jump {
            linear: 0,
            key: u64::MAX,
            block: 0,
        });
    }
}

/// Marks the page at a physical address as code.
fn source(soft: &mut Soft, physical: u64) -> Option<Source> {
    let page = soft.map.find(physical)?;
    let marks = soft.map.slot(page.slot)?.ram.code().clone();
    let (mark, new) = marks.set(page.page);
    if new {
        soft.protect(physical);
        soft.protect_others();
    }
    Some(Source {
        marks,
        page: page.page,
        mark,
    })
}

/// Decodes a block of at most so many operations.
pub(crate) fn decode(
    cpu: &mut CpuState,
    soft: &mut Soft,
    linear: u64,
    physical: u64,
    most: usize,
) -> Step<Block> {
    let mut bytes = [0; WINDOW];
    let room = 4096 - index(physical & 0xfff);
    let length = room.min(WINDOW).min(most * INSTRUCTION);
    // The mark comes first: what is written after it makes the block stale.
    let first = source(soft, physical);
    soft.code_bytes(physical, &mut bytes[..length]);
    let mut ops = Vec::with_capacity(8);
    let mut decoding = Decoding::new(&bytes[..length], cpu.code, &cpu.features);
    let mut missing = None;
    while ops.len() < most {
        match decoding.next_op::<Soft>() {
            Ok(next) => {
                ops.push(next);
                if next.has(op::ENDS) {
                    break;
                }
            }
            Err(why) => {
                missing = Some(why);
                break;
            }
        }
    }
    let page = physical & !0xfff;
    match missing {
        Some(Undecoded::NeedsMore) if ops.is_empty() => across(cpu, soft, linear, physical, first),
        Some(Undecoded::TooLong) if ops.is_empty() => Err(cpu.gp()),
        _ => Ok(block(ops, [page, page], first, None)),
    }
}

/// One instruction that goes on in the next page.
fn across(
    cpu: &mut CpuState,
    soft: &mut Soft,
    linear: u64,
    physical: u64,
    first: Option<Source>,
) -> Step<Block> {
    let room = 4096 - index(physical & 0xfff);
    let mut bytes = [0; INSTRUCTION];
    let room = room.min(INSTRUCTION);
    soft.code_bytes(physical, &mut bytes[..room]);
    let behind = soft.code_address(cpu, next_page(cpu, linear))?;
    let second = source(soft, behind);
    soft.code_bytes(behind, &mut bytes[room..]);
    let mut decoding = Decoding::new(&bytes, cpu.code, &cpu.features);
    let Ok(only) = decoding.next_op::<Soft>() else {
        return Err(cpu.gp());
    };
    // Code that is not in memory on either side is never kept.
    let first = if second.is_some() { first } else { None };
    Ok(block(
        vec![only],
        [physical & !0xfff, behind & !0xfff],
        first,
        second,
    ))
}

fn block(
    ops: Vec<Op<Soft>>,
    pages: [u64; 2],
    first: Option<Source>,
    second: Option<Source>,
) -> Block {
    let last = ops.last();
    Block {
        bytes: last.map_or(0, |op| u64::from(op.start) + u64::from(op.length)),
        jumps: last.is_some_and(|last| last.has(op::JUMPS)),
        ops: ops.into_boxed_slice(),
        pages,
        first,
        second,
    }
}
