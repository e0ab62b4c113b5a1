//! AES, PCLMULQDQ, SHA, with their VEX forms.

use crate::exec::vector::{SSE, XMM, YMM, integer, kernels};
use crate::isa::Form;

rows! {
    Aesenc_xmm_xmmm128 => integer::binary::<M, kernels::Aesenc, SSE>(),
    VEX_Vaesenc_xmm_xmm_xmmm128 => integer::binary::<M, kernels::Aesenc, XMM>(),
    VEX_Vaesenc_ymm_ymm_ymmm256 => integer::binary::<M, kernels::Aesenc, YMM>(),
    Aesenclast_xmm_xmmm128 => integer::binary::<M, kernels::Aesenclast, SSE>(),
    VEX_Vaesenclast_xmm_xmm_xmmm128 => integer::binary::<M, kernels::Aesenclast, XMM>(),
    VEX_Vaesenclast_ymm_ymm_ymmm256 => integer::binary::<M, kernels::Aesenclast, YMM>(),
    Aesdec_xmm_xmmm128 => integer::binary::<M, kernels::Aesdec, SSE>(),
    VEX_Vaesdec_xmm_xmm_xmmm128 => integer::binary::<M, kernels::Aesdec, XMM>(),
    VEX_Vaesdec_ymm_ymm_ymmm256 => integer::binary::<M, kernels::Aesdec, YMM>(),
    Aesdeclast_xmm_xmmm128 => integer::binary::<M, kernels::Aesdeclast, SSE>(),
    VEX_Vaesdeclast_xmm_xmm_xmmm128 => integer::binary::<M, kernels::Aesdeclast, XMM>(),
    VEX_Vaesdeclast_ymm_ymm_ymmm256 => integer::binary::<M, kernels::Aesdeclast, YMM>(),
    Sha1nexte_xmm_xmmm128 => integer::unaligned::<M, kernels::Sha1nexte>(),
    Sha1msg1_xmm_xmmm128 => integer::unaligned::<M, kernels::Sha1msg1>(),
    Sha1msg2_xmm_xmmm128 => integer::unaligned::<M, kernels::Sha1msg2>(),
    Sha256msg1_xmm_xmmm128 => integer::unaligned::<M, kernels::Sha256msg1>(),
    Sha256msg2_xmm_xmmm128 => integer::unaligned::<M, kernels::Sha256msg2>(),
    Aesimc_xmm_xmmm128 => integer::unary::<M, kernels::Aesimc, SSE>(),
    VEX_Vaesimc_xmm_xmmm128 => integer::unary::<M, kernels::Aesimc, XMM>(),
    Pclmulqdq_xmm_xmmm128_imm8 => integer::binary::<M, kernels::Pclmulqdq, SSE>(),
    VEX_Vpclmulqdq_xmm_xmm_xmmm128_imm8 => integer::binary::<M, kernels::Pclmulqdq, XMM>(),
    VEX_Vpclmulqdq_ymm_ymm_ymmm256_imm8 => integer::binary::<M, kernels::Pclmulqdq, YMM>(),
    Sha1rnds4_xmm_xmmm128_imm8 => integer::unaligned::<M, kernels::Sha1rnds4>(),
    Aeskeygenassist_xmm_xmmm128_imm8 => integer::unary::<M, kernels::Aeskeygenassist, SSE>(),
    VEX_Vaeskeygenassist_xmm_xmmm128_imm8 => integer::unary::<M, kernels::Aeskeygenassist, XMM>(),
    Sha256rnds2_xmm_xmmm128 => Form::any(integer::sha256rnds2::<M>),
}
