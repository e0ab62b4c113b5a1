//! Arithmetic of the mapping: L2 entries, slices, subclusters (qcow2 interoperability document, "Cluster mapping").

use super::header::Header;

/// Flag of L1 and L2 entries: refcount is 1, the cluster may be written in place.
pub(crate) const COPIED: u64 = 1 << 63;
/// Flag of L2 entries: packed cluster.
pub(crate) const COMPRESSED: u64 = 1 << 62;
/// Flag of L2 entries without subclusters: reads as zeroes.
pub(crate) const ZERO: u64 = 1;
/// Host offset in L1 and L2 entries.
pub(crate) const OFFSET_MASK: u64 = 0x00ff_ffff_ffff_fe00;
/// Bits of an L1 entry that must be 0.
pub(crate) const L1_RESERVED: u64 = 0x7f00_0000_0000_01ff;
/// Bits of a plain L2 entry that must be 0.
pub(crate) const L2_RESERVED: u64 = 0x3f00_0000_0000_01fe;

/// Subclusters of a cluster with extended L2 entries.
pub(crate) const SUBCLUSTERS: u32 = 32;
/// Longest piece of an L2 table that is read and kept as one.
const MAX_SLICE: u64 = 64 << 10;

/// What never changes while an image is open.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) cluster_bits: u32,
    pub(crate) extended: bool,
    pub(crate) version: u32,
    pub(crate) data_file: bool,
    /// Bytes of one L2 slice.
    pub(crate) slice_bytes: u64,
}

/// An L2 entry, decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Nothing stored: backing file, or what the subcluster bitmap says.
    Unallocated,
    /// Reads as zeroes; space is kept at `host` if not 0.
    Zero { host: u64, copied: bool },
    /// Bytes at `host`.
    Data { host: u64, copied: bool },
    /// Packed bytes at `host`, at most `len` of them.
    Packed { host: u64, len: u32 },
}

impl Layout {
    pub(crate) fn new(header: &Header) -> Self {
        Self {
            cluster_bits: header.cluster_bits,
            extended: header.extended_l2(),
            version: header.version,
            data_file: header.has_data_file(),
            slice_bytes: MAX_SLICE.min(1 << header.cluster_bits),
        }
    }

    pub(crate) fn cluster_size(self) -> u64 {
        1 << self.cluster_bits
    }

    pub(crate) fn in_cluster(self, offset: u64) -> u64 {
        offset & (self.cluster_size() - 1)
    }

    pub(crate) fn start_of_cluster(self, offset: u64) -> u64 {
        offset & !(self.cluster_size() - 1)
    }

    /// log2 of the bytes of an L2 entry.
    fn entry_bits(self) -> u32 {
        if self.extended { 4 } else { 3 }
    }

    /// Words (u64) of an L2 entry.
    pub(crate) fn entry_words(self) -> usize {
        if self.extended { 2 } else { 1 }
    }

    /// Guest clusters that one slice maps.
    pub(crate) fn slice_entries(self) -> u64 {
        self.slice_bytes >> self.entry_bits()
    }

    /// Guest bytes that one L2 table maps.
    pub(crate) fn l2_coverage(self) -> u64 {
        1 << (self.cluster_bits * 2 - self.entry_bits())
    }

    /// Number of the slice that maps a guest offset.
    pub(crate) fn slice_of(self, guest: u64) -> u64 {
        (guest >> self.cluster_bits) / self.slice_entries()
    }

    /// L1 index of a guest offset.
    pub(crate) fn l1_index(self, guest: u64) -> usize {
        usize::try_from(guest / self.l2_coverage()).unwrap_or(usize::MAX)
    }

    /// Where in its L2 table a slice begins, in bytes.
    pub(crate) fn slice_start(self, slice: u64) -> u64 {
        slice * self.slice_bytes % self.cluster_size()
    }

    /// First guest offset that a slice maps.
    pub(crate) fn slice_guest(self, slice: u64) -> u64 {
        (slice * self.slice_entries()) << self.cluster_bits
    }

    /// Index of a guest offset's entry in its slice.
    pub(crate) fn entry_in_slice(self, guest: u64) -> usize {
        usize::try_from((guest >> self.cluster_bits) % self.slice_entries()).unwrap_or(0)
    }

    /// log2 of the bytes of a subcluster, or of a cluster where there are none.
    pub(crate) fn subcluster_bits(self) -> u32 {
        if self.extended {
            self.cluster_bits - 5
        } else {
            self.cluster_bits
        }
    }

    /// Decodes the first word of an entry. With extended entries there is no zero flag; see [`Bitmap`].
    pub(crate) fn decode(self, word: u64) -> Entry {
        if word & COMPRESSED != 0 {
            return self.decode_packed(word);
        }
        let (host, copied) = (word & OFFSET_MASK, word & COPIED != 0);
        if !self.extended && self.version >= 3 && word & ZERO != 0 {
            return Entry::Zero { host, copied };
        }
        // With a data file offset 0 is a place like any other; the flag tells it from nothing.
        if host == 0 && !(self.data_file && copied) {
            return Entry::Unallocated;
        }
        Entry::Data { host, copied }
    }

    fn decode_packed(self, word: u64) -> Entry {
        let offset_bits = 62 - (self.cluster_bits - 8);
        let host = word & ((1 << offset_bits) - 1);
        let sectors = (word & !(COPIED | COMPRESSED)) >> offset_bits;
        let len = (sectors + 1) * 512 - (host & 511);
        Entry::Packed {
            host,
            // At most 2^13 + 1 sectors for the largest clusters.
            len: u32::try_from(len).unwrap_or(u32::MAX),
        }
    }

    /// The word of a packed cluster.
    pub(crate) fn encode_packed(self, host: u64, len: u64) -> u64 {
        let offset_bits = 62 - (self.cluster_bits - 8);
        let sectors = ((host + len - 1) >> 9) - (host >> 9);
        COMPRESSED | host | (sectors << offset_bits)
    }

    /// Largest host offset at which a packed cluster can begin.
    pub(crate) fn packed_limit(self) -> u64 {
        1 << (62 - (self.cluster_bits - 8))
    }

    /// Whether reserved bits of an entry's first word are set. The zero flag means nothing in extended entries.
    pub(crate) fn is_malformed(self, word: u64) -> bool {
        if word & COMPRESSED != 0 {
            return self.data_file;
        }
        let reserved =
            word & L2_RESERVED != 0 || (word & ZERO != 0 && !self.extended && self.version < 3);
        reserved || !(word & OFFSET_MASK).is_multiple_of(self.cluster_size())
    }

    /// Whether an entry's bitmap says of a subcluster what cannot be.
    pub(crate) fn is_contradictory(self, word: u64, bitmap: Bitmap) -> bool {
        if !self.extended {
            return false;
        }
        match self.decode(word) {
            Entry::Packed { .. } => false,
            Entry::Unallocated => bitmap.any_allocated(),
            _ => (bitmap.0 >> 32) & bitmap.0 & 0xffff_ffff != 0,
        }
    }
}

/// The second word of an extended entry: which subclusters are allocated (low half) and which are zero (high half).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Bitmap(pub(crate) u64);

/// What a subcluster's two bits say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subcluster {
    Unallocated,
    Allocated,
    Zero,
    /// Both bits: not allowed.
    Invalid,
}

/// Bits `from..to` of a half.
fn half(from: u32, to: u32) -> u64 {
    ((1_u64 << to) - 1) & !((1_u64 << from) - 1)
}

impl Bitmap {
    /// All subclusters allocated.
    pub(crate) const FULL: Self = Self(0xffff_ffff);

    pub(crate) fn get(self, index: u32) -> Subcluster {
        match (self.0 >> index & 1, self.0 >> (index + 32) & 1) {
            (0, 0) => Subcluster::Unallocated,
            (1, 0) => Subcluster::Allocated,
            (0, _) => Subcluster::Zero,
            _ => Subcluster::Invalid,
        }
    }

    /// The same with subclusters `from..to` allocated.
    pub(crate) fn with_allocated(self, from: u32, to: u32) -> Self {
        Self((self.0 | half(from, to)) & !(half(from, to) << 32))
    }

    /// The same with subclusters `from..to` zero.
    pub(crate) fn with_zero(self, from: u32, to: u32) -> Self {
        Self((self.0 & !half(from, to)) | (half(from, to) << 32))
    }

    pub(crate) fn any_allocated(self) -> bool {
        self.0 & 0xffff_ffff != 0
    }
}
