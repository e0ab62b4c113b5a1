//! Fields of headers: numbers at fixed offsets of a buffer. A field past the buffer's end reads as zeroes and is not
//! written; callers give buffers of the header's length.

macro_rules! field {
    ($get:ident, $put:ident, $type:ty, $from:ident, $to:ident, $what:literal) => {
        #[doc = concat!("Reads ", $what, ".")]
        pub(crate) fn $get(bytes: &[u8], at: usize) -> $type {
            const LEN: usize = size_of::<$type>();
            let field = bytes.get(at..).and_then(|rest| rest.first_chunk::<LEN>());
            field.map_or(0, |raw| <$type>::$from(*raw))
        }

        #[doc = concat!("Writes ", $what, ".")]
        pub(crate) fn $put(bytes: &mut [u8], at: usize, value: $type) {
            const LEN: usize = size_of::<$type>();
            if let Some(field) = bytes.get_mut(at..at + LEN) {
                field.copy_from_slice(&value.$to());
            }
        }
    };
}

field!(
    le16,
    put_le16,
    u16,
    from_le_bytes,
    to_le_bytes,
    "16 bits, little endian"
);
field!(
    le32,
    put_le32,
    u32,
    from_le_bytes,
    to_le_bytes,
    "32 bits, little endian"
);
field!(
    le64,
    put_le64,
    u64,
    from_le_bytes,
    to_le_bytes,
    "64 bits, little endian"
);
field!(
    be16,
    put_be16,
    u16,
    from_be_bytes,
    to_be_bytes,
    "16 bits, big endian"
);
field!(
    be32,
    put_be32,
    u32,
    from_be_bytes,
    to_be_bytes,
    "32 bits, big endian"
);
field!(
    be64,
    put_be64,
    u64,
    from_be_bytes,
    to_be_bytes,
    "64 bits, big endian"
);
