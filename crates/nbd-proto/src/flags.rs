//! Bits and numbers of the protocol.

/// First bytes of a server.
pub const NBD_MAGIC: u64 = 0x4e42_444d_4147_4943;
/// What follows them in newstyle, and starts every option.
pub const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
/// What follows them in oldstyle.
pub const OLD_MAGIC: u64 = 0x0000_4202_8186_1253;
/// Starts every reply to an option.
pub const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;

/// Bits of the greeting and of the client's answer to it.
pub mod handshake {
    /// Fixed newstyle.
    pub const FIXED_NEWSTYLE: u16 = 1;
    /// No 124 zeroes after `EXPORT_NAME`.
    pub const NO_ZEROES: u16 = 2;
}

/// Options.
pub mod option {
    /// Choose an export the old way.
    pub const EXPORT_NAME: u32 = 1;
    /// Go away.
    pub const ABORT: u32 = 2;
    /// Tell the exports.
    pub const LIST: u32 = 3;
    /// Go on in TLS.
    pub const STARTTLS: u32 = 5;
    /// Tell of an export.
    pub const INFO: u32 = 6;
    /// Choose an export.
    pub const GO: u32 = 7;
    /// Answer in chunks.
    pub const STRUCTURED_REPLY: u32 = 8;
    /// Tell metadata contexts.
    pub const LIST_META_CONTEXT: u32 = 9;
    /// Choose metadata contexts.
    pub const SET_META_CONTEXT: u32 = 10;
    /// Requests and chunks with lengths of 64 bits.
    pub const EXTENDED_HEADERS: u32 = 11;
}

/// Replies to options.
pub mod option_reply {
    /// Done.
    pub const ACK: u32 = 1;
    /// An export of a list.
    pub const SERVER: u32 = 2;
    /// Something about an export.
    pub const INFO: u32 = 3;
    /// A metadata context.
    pub const META_CONTEXT: u32 = 4;
    /// All errors have this bit.
    pub const ERROR: u32 = 1 << 31;
    /// Unknown option.
    pub const ERR_UNSUP: u32 = ERROR + 1;
    /// Forbidden.
    pub const ERR_POLICY: u32 = ERROR + 2;
    /// Makes no sense.
    pub const ERR_INVALID: u32 = ERROR + 3;
    /// Not on this platform.
    pub const ERR_PLATFORM: u32 = ERROR + 4;
    /// Only inside TLS.
    pub const ERR_TLS_REQD: u32 = ERROR + 5;
    /// No such export.
    pub const ERR_UNKNOWN: u32 = ERROR + 6;
    /// Going away.
    pub const ERR_SHUTDOWN: u32 = ERROR + 7;
    /// The client must know block sizes.
    pub const ERR_BLOCK_SIZE_REQD: u32 = ERROR + 8;
    /// Too long.
    pub const ERR_TOO_BIG: u32 = ERROR + 9;
    /// Extended headers are needed.
    pub const ERR_EXT_HEADER_REQD: u32 = ERROR + 10;
}

/// Kinds of information about an export.
pub mod info {
    /// Size and flags.
    pub const EXPORT: u16 = 0;
    /// Its name.
    pub const NAME: u16 = 1;
    /// A text about it.
    pub const DESCRIPTION: u16 = 2;
    /// Sizes of requests.
    pub const BLOCK_SIZE: u16 = 3;
}

/// Flags of an export.
pub mod export {
    /// The others count.
    pub const HAS_FLAGS: u16 = 1;
    /// Cannot be written.
    pub const READ_ONLY: u16 = 1 << 1;
    /// Can be flushed.
    pub const SEND_FLUSH: u16 = 1 << 2;
    /// Writes can be stable when done.
    pub const SEND_FUA: u16 = 1 << 3;
    /// Turns.
    pub const ROTATIONAL: u16 = 1 << 4;
    /// Knows trim.
    pub const SEND_TRIM: u16 = 1 << 5;
    /// Knows writes of zeroes.
    pub const SEND_WRITE_ZEROES: u16 = 1 << 6;
    /// Reads can be asked in one piece.
    pub const SEND_DF: u16 = 1 << 7;
    /// Several connections see each other's flushed writes.
    pub const CAN_MULTI_CONN: u16 = 1 << 8;
    /// Can be resized.
    pub const SEND_RESIZE: u16 = 1 << 9;
    /// Can be asked to read ahead.
    pub const SEND_CACHE: u16 = 1 << 10;
    /// Zeroes only when that is fast.
    pub const SEND_FAST_ZERO: u16 = 1 << 11;
    /// Block status can name contexts.
    pub const BLOCK_STAT_PAYLOAD: u16 = 1 << 12;

    /// Words for the bits from 1 on, as tools print them.
    pub const WORDS: &[&str] = &[
        "readonly",
        "flush",
        "fua",
        "rotational",
        "trim",
        "zeroes",
        "df",
        "multi",
        "resize",
        "cache",
        "fast-zero",
        "block-status-payload",
    ];
}

/// Flags of a request.
pub mod command {
    /// Stable when done.
    pub const FUA: u16 = 1;
    /// Zeroes keep their space.
    pub const NO_HOLE: u16 = 2;
    /// Do not fragment.
    pub const DF: u16 = 4;
    /// One extent is enough.
    pub const REQ_ONE: u16 = 8;
    /// Fail rather than be slow.
    pub const FAST_ZERO: u16 = 16;
    /// The length is that of a payload.
    pub const PAYLOAD_LEN: u16 = 32;
}

/// Bits of `base:allocation`.
pub mod allocation {
    /// Takes no space.
    pub const HOLE: u32 = 1;
    /// Reads as zeroes.
    pub const ZERO: u32 = 2;
}

/// Name of the context that every server has.
pub const BASE_ALLOCATION: &str = "base:allocation";
/// Name of QEMU's context that tells which layer of a chain has the data.
pub const ALLOCATION_DEPTH: &str = "qemu:allocation-depth";
/// Start of the names of QEMU's contexts of dirty bitmaps.
pub const DIRTY_BITMAP: &str = "qemu:dirty-bitmap:";
