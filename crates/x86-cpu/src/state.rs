//! Everything one processor holds.

use crate::cpuid::Features;
use crate::fault::{self, Fault, Trap};
use crate::flags::{self, Flags};

pub use crate::names::{attr, cr, efer, reg, seg};

/// A segment register with its hidden part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Segment {
    /// Selector.
    pub selector: u16,
    /// Descriptor bits 40 to 55, limit bits zero; see [`attr`].
    pub attributes: u16,
    /// Limit in bytes.
    pub limit: u32,
    /// Base.
    pub base: u64,
    /// Data accesses need no check: base plus offset is the linear address. See [`CpuState::refresh`].
    pub unchecked: bool,
}

impl Segment {
    /// Privilege level of the descriptor.
    pub fn dpl(&self) -> u8 {
        self.attributes.to_le_bytes()[0] >> 5 & 3
    }

    /// Whether all of `mask` is on.
    pub fn is(&self, mask: u16) -> bool {
        self.attributes & mask == mask
    }
}

/// GDTR or IDTR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Table {
    /// Base.
    pub base: u64,
    /// Limit in bytes.
    pub limit: u16,
}

/// Width of code: the D and L bits of CS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum CodeSize {
    /// 16 bits.
    #[default]
    Bits16,
    /// 32 bits.
    Bits32,
    /// 64 bits.
    Bits64,
}

impl CodeSize {
    /// 16, 32 or 64.
    pub fn bits(self) -> u32 {
        match self {
            Self::Bits16 => 16,
            Self::Bits32 => 32,
            Self::Bits64 => 64,
        }
    }
}

/// An 80-bit number of the x87.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct F80 {
    /// Significand with its explicit leading bit. MMX registers live here.
    pub mantissa: u64,
    /// Sign (bit 15) and exponent.
    pub exponent: u16,
}

/// x87 and MMX state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fpu {
    /// R0 to R7; ST(i) is `registers[(top + i) % 8]`, MMi is `registers[i]`.
    pub registers: [F80; 8],
    /// Control word.
    pub control: u16,
    /// Status word without TOP.
    pub status: u16,
    /// TOP, 0 to 7.
    pub top: u8,
    /// Full tag word, two bits a register.
    pub tags: u16,
    /// Last opcode.
    pub opcode: u16,
    /// Last instruction: offset, selector.
    pub instruction: (u64, u16),
    /// Last operand: offset, selector.
    pub operand: (u64, u16),
}

impl Default for Fpu {
    fn default() -> Self {
        Self {
            registers: [F80::default(); 8],
            control: 0x37f,
            status: 0,
            top: 0,
            tags: 0xffff,
            opcode: 0,
            instruction: (0, 0),
            operand: (0, 0),
        }
    }
}

/// Debug registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Debug {
    /// DR0 to DR3.
    pub address: [u64; 4],
    /// DR6.
    pub status: u64,
    /// DR7.
    pub control: u64,
}

impl Default for Debug {
    fn default() -> Self {
        Self {
            address: [0; 4],
            status: 0xffff_0ff0,
            control: 0x400,
        }
    }
}

/// Model-specific registers that the core itself uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Msrs {
    /// SYSENTER_CS.
    pub sysenter_cs: u64,
    /// SYSENTER_ESP.
    pub sysenter_esp: u64,
    /// SYSENTER_EIP.
    pub sysenter_eip: u64,
    /// STAR.
    pub star: u64,
    /// LSTAR.
    pub lstar: u64,
    /// CSTAR.
    pub cstar: u64,
    /// SFMASK.
    pub sfmask: u64,
    /// KERNEL_GS_BASE.
    pub kernel_gs_base: u64,
    /// TSC_AUX.
    pub tsc_aux: u64,
    /// What is added to the host's time stamp counter.
    pub tsc_offset: u64,
    /// TSC_ADJUST.
    pub tsc_adjust: u64,
    /// PAT.
    pub pat: u64,
    /// MISC_ENABLE.
    pub misc_enable: u64,
    /// DEBUGCTL.
    pub debugctl: u64,
    /// PKRS.
    pub pkrs: u64,
    /// XSS.
    pub xss: u64,
    /// MTRRs: default type, eight variable pairs, eleven fixed.
    pub mtrr_default: u64,
    /// Variable ranges: base, mask.
    pub mtrr_variable: [u64; 16],
    /// Fixed ranges.
    pub mtrr_fixed: [u64; 11],
    /// Machine check: status, control.
    pub mcg: [u64; 2],
    /// Machine check banks.
    pub mc_banks: [u64; 32],
    /// SMBASE.
    pub smbase: u64,
    /// Microcode revision's scratch half.
    pub ucode: u64,
}

/// Everything one processor holds.
#[derive(Debug, Clone)]
pub struct CpuState {
    /// General registers by [`reg`]'s indexes; the last entries are helpers for addresses.
    pub gpr: [u64; 32],
    /// Instruction pointer between blocks. Inside a block [`reg::BLOCK`] and an operation's offset give it.
    pub rip: u64,
    /// Flags.
    pub flags: Flags,
    /// Segment registers by [`seg`]'s indexes.
    pub seg: [Segment; 8],
    /// Local descriptor table.
    pub ldt: Segment,
    /// Task register.
    pub task: Segment,
    /// GDTR.
    pub gdt: Table,
    /// IDTR.
    pub idt: Table,
    /// Current privilege level.
    pub cpl: u8,
    /// CR0.
    pub cr0: u64,
    /// CR2.
    pub cr2: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// EFER.
    pub efer: u64,
    /// XCR0.
    pub xcr0: u64,
    /// PKRU.
    pub pkru: u32,
    /// MXCSR.
    pub mxcsr: u32,
    /// ymm0 to ymm15, lowest quarter first; xmm is the first half.
    pub vector: [[u64; 4]; 16],
    /// x87 and MMX.
    pub fpu: Fpu,
    /// Debug registers.
    pub debug: Debug,
    /// Model-specific registers.
    pub msr: Msrs,
    /// What the processor can do; CPUID.
    pub features: Features,

    /// Number of this processor, and how many there are: for CPUID.
    pub apic_id: u32,
    /// See [`CpuState::apic_id`].
    pub processors: u32,

    /// Derived: width of code.
    pub code: CodeSize,
    /// Derived: which bits of RSP are the stack pointer.
    pub stack_mask: u64,
    /// The exception of [`Trap::Fault`].
    pub fault: Fault,
    /// No interrupts and no single-step trap before the next instruction ends (after STI, MOV SS).
    pub shadow: bool,
    /// The shadow is that of MOV SS or POP SS: it holds off debug exceptions too.
    pub shadow_debug: bool,
    /// HLT or MWAIT waits for an interrupt.
    pub halted: bool,
    /// Triple fault.
    pub shutdown: bool,
    /// NMIs are blocked until IRET.
    pub nmi_blocked: bool,
    /// In system management mode.
    pub smm: bool,
    /// DR6 bits of a debug trap that is due when the instruction (and a shadow over it) has ended.
    pub debug_hits: u64,
    /// The local interrupt controller is off: CPUID does not show it.
    pub apic_off: bool,
    /// Where MONITOR looks.
    pub monitor: u64,
}

impl Default for CpuState {
    fn default() -> Self {
        Self::new(Features::default())
    }
}

impl CpuState {
    /// State after power-on (Intel SDM volume 3, table 10-1).
    pub fn new(features: Features) -> Self {
        let mut cpu = Self {
            gpr: [0; 32],
            rip: 0xfff0,
            flags: Flags::default(),
            seg: [Segment::default(); 8],
            ldt: Segment::default(),
            task: Segment::default(),
            gdt: Table::default(),
            idt: Table::default(),
            cpl: 0,
            cr0: 0x6000_0010,
            cr2: 0,
            cr3: 0,
            cr4: 0,
            efer: 0,
            xcr0: 1,
            pkru: 0,
            mxcsr: 0x1f80,
            vector: [[0; 4]; 16],
            fpu: Fpu::default(),
            debug: Debug::default(),
            msr: Msrs {
                pat: 0x0007_0406_0007_0406,
                misc_enable: 1,
                smbase: 0x3_0000,
                ..Msrs::default()
            },
            features,
            apic_id: 0,
            processors: 1,
            code: CodeSize::Bits16,
            stack_mask: 0xffff,
            fault: Fault::default(),
            shadow: false,
            shadow_debug: false,
            halted: false,
            shutdown: false,
            nmi_blocked: false,
            smm: false,
            debug_hits: 0,
            apic_off: false,
            monitor: 0,
        };
        let data = Segment {
            limit: 0xffff,
            attributes: 0x93,
            ..Segment::default()
        };
        cpu.seg[..6].fill(data);
        cpu.seg[seg::CS] = Segment {
            selector: 0xf000,
            base: 0xffff_0000,
            attributes: 0x9b,
            ..data
        };
        cpu.ldt = Segment {
            attributes: 0x82,
            ..data
        };
        cpu.task = Segment {
            attributes: 0x8b,
            ..data
        };
        cpu.gdt.limit = 0xffff;
        cpu.idt.limit = 0xffff;
        cpu.gpr[reg::RDX] = cpu.features.signature();
        cpu.fpu.control = 0x40;
        cpu.fpu.tags = 0x5555;
        cpu.refresh();
        cpu
    }

    /// Protected mode (virtual-8086 mode too).
    #[inline(always)]
    pub fn protected(&self) -> bool {
        self.cr0 & cr::PE != 0
    }

    /// Virtual-8086 mode.
    #[inline(always)]
    pub fn v86(&self) -> bool {
        self.flags.has(flags::VM)
    }

    /// Long mode is active (64-bit or compatibility).
    #[inline(always)]
    pub fn long_mode(&self) -> bool {
        self.efer & efer::LMA != 0
    }

    /// 64-bit code runs.
    #[inline(always)]
    pub fn long_code(&self) -> bool {
        self.code == CodeSize::Bits64
    }

    /// Cuts an instruction pointer to what the code's width allows.
    #[inline(always)]
    pub fn cut_ip(&self, ip: u64) -> u64 {
        if self.long_code() {
            ip
        } else {
            ip & 0xffff_ffff
        }
    }

    /// Sets `rip` to an operation that did not complete, unless a task that it switched to has its own.
    #[inline]
    pub fn back_to<M>(&mut self, op: &crate::isa::Op<M>) {
        if !std::mem::take(&mut self.fault.switched) {
            self.rip = op.ip(self);
        }
    }

    /// I/O privilege level.
    pub fn iopl(&self) -> u8 {
        u8::try_from((self.flags.system & flags::IOPL) >> 12).unwrap_or(3)
    }

    /// Makes the derived fields anew. To be called after each change of a segment register, of CR0.PE, of EFER.LMA
    /// or of the VM flag.
    pub fn refresh(&mut self) {
        let code = self.seg[seg::CS];
        self.code = if self.long_mode() && code.is(attr::L) {
            CodeSize::Bits64
        } else if code.is(attr::DB) {
            CodeSize::Bits32
        } else {
            CodeSize::Bits16
        };
        let long = self.long_code();
        self.stack_mask = if long {
            u64::MAX
        } else if self.seg[seg::SS].is(attr::DB) {
            0xffff_ffff
        } else {
            0xffff
        };
        for segment in &mut self.seg[..6] {
            let plain = segment.attributes
                & (attr::CODE | attr::DC | attr::RW | attr::S | attr::PRESENT)
                == attr::RW | attr::S | attr::PRESENT;
            segment.unchecked = long || plain && segment.base == 0 && segment.limit == u32::MAX;
        }
        for flat in &mut self.seg[6..] {
            flat.unchecked = true;
        }
    }

    /// Notes an exception and gives what to return.
    #[cold]
    pub fn raise_fault(&mut self, fault: Fault) -> Trap {
        self.fault = fault;
        Trap::Fault
    }

    /// Notes an exception with an error code (zero for those that have none).
    #[cold]
    pub fn raise(&mut self, vector: u8, code: u16) -> Trap {
        self.raise_fault(Fault {
            vector,
            code,
            ..Fault::default()
        })
    }

    /// #GP(0).
    #[cold]
    pub fn gp(&mut self) -> Trap {
        self.raise(fault::GP, 0)
    }

    /// #UD.
    #[cold]
    pub fn ud(&mut self) -> Trap {
        self.raise(fault::UD, 0)
    }

    /// #PF.
    #[cold]
    pub fn page_fault(&mut self, address: u64, code: u16) -> Trap {
        self.raise_fault(Fault {
            vector: fault::PF,
            code,
            address,
            ..Fault::default()
        })
    }

    /// Whether an address is canonical for the widest paging that this processor has: what counts for registers that
    /// outlive a change of mode.
    pub fn canonical_at_all(&self, linear: u64) -> bool {
        let wide = self
            .features
            .has(crate::cpuid::Feature(crate::cpuid::Leaf::L7Ecx, 16));
        let bits = if wide { 7 } else { 16 };
        let signed = linear.cast_signed();
        signed << bits >> bits == signed
    }

    /// Whether a linear address is canonical.
    #[inline]
    pub fn canonical(&self, linear: u64) -> bool {
        let bits = if self.cr4 & cr::LA57 == 0 { 16 } else { 7 };
        let signed = linear.cast_signed();
        signed << bits >> bits == signed
    }
}
