//! A check of its own, as plain as can be: counts references in a file's bytes and compares.

use std::collections::HashMap;

use block_core::testing::MemoryFile;

use crate::qcow2::header::Header;
use crate::qcow2::layout::{COPIED, Entry, Layout, OFFSET_MASK};
use crate::qcow2::refcount::get;

struct Audit {
    bytes: Vec<u8>,
    header: Header,
    uses: HashMap<u64, u64>,
    claims: Vec<(u64, bool)>,
}

impl Audit {
    fn word(&self, offset: u64) -> u64 {
        let at = usize::try_from(offset).unwrap();
        self.bytes
            .get(at..at + 8)
            .map_or(0, |b| u64::from_be_bytes(b.try_into().unwrap()))
    }

    fn count(&mut self, offset: u64, bytes: u64) {
        let bits = self.header.cluster_bits;
        for cluster in offset >> bits..(offset + bytes).div_ceil(1 << bits) {
            *self.uses.entry(cluster).or_default() += 1;
        }
    }

    fn count_table(&mut self, l2: u64) {
        let layout = Layout::new(&self.header);
        let step = 8 * layout.entry_words() as u64;
        for at in (0..layout.cluster_size()).step_by(usize::try_from(step).unwrap()) {
            let word = self.word(l2 + at);
            assert!(!layout.is_malformed(word), "entry {word:#x}");
            match layout.decode(word) {
                Entry::Data { host, copied } | Entry::Zero { host, copied } if host != 0 => {
                    self.count(host, 1);
                    self.claims.push((host, copied));
                }
                Entry::Packed { host, len } => self.count(host, u64::from(len)),
                _ => {}
            }
        }
    }

    fn refcount(&self, cluster: u64) -> u64 {
        let header = &self.header;
        let per_block = (8 << header.cluster_bits) >> header.refcount_order;
        let entries = u64::from(header.refcount_table_clusters) << (header.cluster_bits - 3);
        if cluster / per_block >= entries {
            return 0;
        }
        let block = self.word(header.refcount_table_offset + cluster / per_block * 8);
        if block == 0 {
            return 0;
        }
        let at = usize::try_from(block).unwrap();
        let bytes = self
            .bytes
            .get(at..at + (1 << header.cluster_bits))
            .expect("block is in the file");
        get(
            bytes,
            usize::try_from(cluster % per_block).unwrap(),
            header.refcount_order,
        )
    }
}

/// Every use is counted; with `exact`, nothing else is, and the image is not marked in any way.
pub(super) fn audit(file: &MemoryFile, exact: bool) {
    let mut bytes = file.snapshot();
    bytes.resize(bytes.len() + (2 << 20), 0);
    let header = Header::parse(&bytes).unwrap();
    let mut audit = Audit {
        bytes,
        header: header.clone(),
        uses: HashMap::new(),
        claims: Vec::new(),
    };
    let cluster = 1_u64 << header.cluster_bits;
    audit.count(0, 1);
    audit.count(header.l1_offset, u64::from(header.l1_size) * 8);
    audit.count(
        header.refcount_table_offset,
        u64::from(header.refcount_table_clusters) * cluster,
    );
    for n in 0..u64::from(header.refcount_table_clusters) * cluster / 8 {
        let block = audit.word(header.refcount_table_offset + n * 8);
        if block != 0 {
            audit.count(block, 1);
        }
    }
    for n in 0..u64::from(header.l1_size) {
        let entry = audit.word(header.l1_offset + n * 8);
        if entry & OFFSET_MASK != 0 {
            audit.count(entry & OFFSET_MASK, 1);
            audit
                .claims
                .push((entry & OFFSET_MASK, entry & COPIED != 0));
            audit.count_table(entry & OFFSET_MASK);
        }
    }
    for (cluster, uses) in &audit.uses {
        let refcount = audit.refcount(*cluster);
        assert!(
            refcount >= *uses,
            "cluster {cluster}: refcount {refcount}, {uses} uses"
        );
        assert!(
            !exact || refcount == *uses,
            "cluster {cluster}: leaked, refcount {refcount}, {uses} uses"
        );
    }
    for (host, copied) in &audit.claims {
        let one = audit.refcount(host / cluster) == 1;
        assert!(!copied || one || !exact, "COPIED at {host:#x}");
        assert!(!exact || *copied == one, "COPIED at {host:#x}");
    }
    if exact {
        assert_eq!(header.incompatible & 3, 0, "marked");
        for n in 0..(audit.bytes.len() as u64).div_ceil(cluster) {
            assert!(
                audit.refcount(n) == 0 || audit.uses.contains_key(&n),
                "cluster {n} is leaked"
            );
        }
    }
}
