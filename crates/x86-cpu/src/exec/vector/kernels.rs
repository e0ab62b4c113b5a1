//! The packed operations as types, so that each instruction gets its own code.

use crate::simd::{aes, packed, poly, sha, shift, shuffle};

/// What an instruction does to each 128 bits of its operands. Unary ones look at `b` alone.
pub(crate) trait Kernel: 'static {
    /// How far the immediate moves on for the upper half.
    const STEP: u32 = 0;
    /// The operation.
    fn run(a: u128, b: u128, immediate: u8) -> u128;
}

macro_rules! two {
    ($($name:ident = $function:path;)*) => {
        $(
            #[doc = concat!("`", stringify!($function), "`.")]
            pub(crate) struct $name;
            impl Kernel for $name {
                #[inline(always)]
                fn run(a: u128, b: u128, _: u8) -> u128 {
                    $function(a, b)
                }
            }
        )*
    };
}

macro_rules! one {
    ($($name:ident = $function:path;)*) => {
        $(
            #[doc = concat!("`", stringify!($function), "`.")]
            pub(crate) struct $name;
            impl Kernel for $name {
                #[inline(always)]
                fn run(_: u128, b: u128, _: u8) -> u128 {
                    $function(b)
                }
            }
        )*
    };
}

macro_rules! two_immediate {
    ($($name:ident = $function:path, $step:literal;)*) => {
        $(
            #[doc = concat!("`", stringify!($function), "`.")]
            pub(crate) struct $name;
            impl Kernel for $name {
                const STEP: u32 = $step;
                #[inline(always)]
                fn run(a: u128, b: u128, immediate: u8) -> u128 {
                    $function(a, b, immediate)
                }
            }
        )*
    };
}

macro_rules! one_immediate {
    ($($name:ident = $function:path;)*) => {
        $(
            #[doc = concat!("`", stringify!($function), "`.")]
            pub(crate) struct $name;
            impl Kernel for $name {
                #[inline(always)]
                fn run(_: u128, b: u128, immediate: u8) -> u128 {
                    $function(b, immediate)
                }
            }
        )*
    };
}

two! {
    Paddb = packed::paddb;
    Paddw = packed::paddw;
    Paddd = packed::paddd;
    Paddq = packed::paddq;
    Psubb = packed::psubb;
    Psubw = packed::psubw;
    Psubd = packed::psubd;
    Psubq = packed::psubq;
    Paddsb = packed::paddsb;
    Paddsw = packed::paddsw;
    Paddusb = packed::paddusb;
    Paddusw = packed::paddusw;
    Psubsb = packed::psubsb;
    Psubsw = packed::psubsw;
    Psubusb = packed::psubusb;
    Psubusw = packed::psubusw;
    Pand = packed::pand;
    Pandn = packed::pandn;
    Por = packed::por;
    Pxor = packed::pxor;
    Pcmpeqb = packed::pcmpeqb;
    Pcmpeqw = packed::pcmpeqw;
    Pcmpeqd = packed::pcmpeqd;
    Pcmpeqq = packed::pcmpeqq;
    Pcmpgtb = packed::pcmpgtb;
    Pcmpgtw = packed::pcmpgtw;
    Pcmpgtd = packed::pcmpgtd;
    Pcmpgtq = packed::pcmpgtq;
    Pmaxsb = packed::pmaxsb;
    Pmaxsw = packed::pmaxsw;
    Pmaxsd = packed::pmaxsd;
    Pmaxub = packed::pmaxub;
    Pmaxuw = packed::pmaxuw;
    Pmaxud = packed::pmaxud;
    Pminsb = packed::pminsb;
    Pminsw = packed::pminsw;
    Pminsd = packed::pminsd;
    Pminub = packed::pminub;
    Pminuw = packed::pminuw;
    Pminud = packed::pminud;
    Pavgb = packed::pavgb;
    Pavgw = packed::pavgw;
    Pmullw = packed::pmullw;
    Pmulhw = packed::pmulhw;
    Pmulhuw = packed::pmulhuw;
    Pmulhrsw = packed::pmulhrsw;
    Pmulld = packed::pmulld;
    Pmuludq = packed::pmuludq;
    Pmuldq = packed::pmuldq;
    Pmaddwd = packed::pmaddwd;
    Pmaddubsw = packed::pmaddubsw;
    Psadbw = packed::psadbw;
    Psignb = packed::psignb;
    Psignw = packed::psignw;
    Psignd = packed::psignd;
    Phaddw = packed::phaddw;
    Phaddd = packed::phaddd;
    Phaddsw = packed::phaddsw;
    Phsubw = packed::phsubw;
    Phsubd = packed::phsubd;
    Phsubsw = packed::phsubsw;
    Packsswb = shuffle::packsswb;
    Packuswb = shuffle::packuswb;
    Packssdw = shuffle::packssdw;
    Packusdw = shuffle::packusdw;
    Punpcklbw = shuffle::punpcklbw;
    Punpcklwd = shuffle::punpcklwd;
    Punpckldq = shuffle::punpckldq;
    Punpcklqdq = shuffle::punpcklqdq;
    Punpckhbw = shuffle::punpckhbw;
    Punpckhwd = shuffle::punpckhwd;
    Punpckhdq = shuffle::punpckhdq;
    Punpckhqdq = shuffle::punpckhqdq;
    Pshufb = shuffle::pshufb;
    Vpermilps = shuffle::vpermilps;
    Vpermilpd = shuffle::vpermilpd;
    Vpsllvd = shift::vpsllvd;
    Vpsrlvd = shift::vpsrlvd;
    Vpsravd = shift::vpsravd;
    Vpsllvq = shift::vpsllvq;
    Vpsrlvq = shift::vpsrlvq;
    Aesenc = aes::aesenc;
    Aesenclast = aes::aesenclast;
    Aesdec = aes::aesdec;
    Aesdeclast = aes::aesdeclast;
    Sha1nexte = sha::sha1nexte;
    Sha1msg1 = sha::sha1msg1;
    Sha1msg2 = sha::sha1msg2;
    Sha256msg1 = sha::sha256msg1;
    Sha256msg2 = sha::sha256msg2;
    Movhlps = shuffle::movhlps;
    Movlhps = shuffle::movlhps;
}

one! {
    Pabsb = packed::pabsb;
    Pabsw = packed::pabsw;
    Pabsd = packed::pabsd;
    Phminposuw = packed::phminposuw;
    Movshdup = shuffle::movshdup;
    Movsldup = shuffle::movsldup;
    Movddup = shuffle::movddup;
    Aesimc = aes::aesimc;
}

two_immediate! {
    Mpsadbw = packed::mpsadbw, 3;
    Shufps = shuffle::shufps, 0;
    Shufpd = shuffle::shufpd, 2;
    Palignr = shuffle::palignr, 0;
    PalignrMmx = shuffle::palignr_mmx, 0;
    Pblendw = shuffle::pblendw, 0;
    Blendps = shuffle::blendps, 4;
    Blendpd = shuffle::blendpd, 2;
    Pclmulqdq = poly::pclmulqdq, 0;
    Sha1rnds4 = sha::sha1rnds4, 0;
}

one_immediate! {
    Pshufd = shuffle::pshufd;
    Pshuflw = shuffle::pshuflw;
    Pshufhw = shuffle::pshufhw;
    Aeskeygenassist = aes::aeskeygenassist;
}

/// VPERMILPD with an immediate: two bits for each half.
pub(crate) struct PermilpdImmediate;
impl Kernel for PermilpdImmediate {
    const STEP: u32 = 2;
    #[inline(always)]
    fn run(_: u128, b: u128, immediate: u8) -> u128 {
        shuffle::shufpd(b, b, immediate)
    }
}

/// A packed shift by one count for all lanes.
pub(crate) trait Shift: 'static {
    /// The operation.
    fn run(a: u128, count: u64) -> u128;
}

macro_rules! shifts {
    ($($name:ident = $function:path;)*) => {
        $(
            #[doc = concat!("`", stringify!($function), "`.")]
            pub(crate) struct $name;
            impl Shift for $name {
                #[inline(always)]
                fn run(a: u128, count: u64) -> u128 {
                    $function(a, count)
                }
            }
        )*
    };
}

shifts! {
    Psllw = shift::psllw;
    Pslld = shift::pslld;
    Psllq = shift::psllq;
    Psrlw = shift::psrlw;
    Psrld = shift::psrld;
    Psrlq = shift::psrlq;
    Psraw = shift::psraw;
    Psrad = shift::psrad;
    Pslldq = shift::pslldq;
    Psrldq = shift::psrldq;
}
