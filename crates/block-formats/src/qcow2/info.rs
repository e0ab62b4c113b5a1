//! What `info` shows of an image.

use block_core::{BitmapInfo, FormatInfo};
use qapi::{Dict, Value};

use super::Qcow2;
use super::header::{CompressionType, Header, autoclear, compatible, extension, incompatible};
use super::open::backing_link;

impl Qcow2 {
    /// [`block_core::Format::info`].
    pub(super) async fn describe(&self) -> FormatInfo {
        let header = self.header().await;
        FormatInfo {
            cluster_size: Some(self.cluster_size()),
            encrypted: header.crypt_method != 0,
            dirty: Some(header.incompatible & incompatible::DIRTY != 0),
            corrupt: header.incompatible & incompatible::CORRUPT != 0,
            vm_state_offset: Some(self.layout.l2_coverage() * self.l1_len(self.size()) as u64),
            backing: backing_link(&header),
            specific: Some(self.specific(&header).await),
            ..FormatInfo::default()
        }
    }
}

impl Qcow2 {
    async fn specific(&self, header: &Header) -> Dict {
        let mut out = specific(header, &self.bitmaps.infos());
        if let Some(encryption) = &self.encryption {
            out.insert("encrypt", encryption.describe().await);
        }
        out
    }
}

fn specific(header: &Header, bitmaps: &[BitmapInfo]) -> Dict {
    let mut out = Dict::new();
    let v3 = header.version >= 3;
    out.insert("compat", if v3 { "1.1" } else { "0.10" });
    let compression = match header.compression {
        CompressionType::Zlib => "zlib",
        CompressionType::Zstd => "zstd",
    };
    out.insert("compression-type", compression);
    out.insert("refcount-bits", 1_u64 << header.refcount_order);
    if !v3 {
        return out;
    }
    let lazy = header.compatible & compatible::LAZY_REFCOUNTS != 0;
    out.insert("lazy-refcounts", lazy);
    out.insert("corrupt", header.incompatible & incompatible::CORRUPT != 0);
    out.insert("extended-l2", header.extended_l2());
    if header.has_data_file() {
        if let Some(name) = header.extension_text(extension::DATA_FILE) {
            out.insert("data-file", name);
        }
        let raw = header.autoclear & autoclear::RAW_DATA_FILE != 0;
        out.insert("data-file-raw", raw);
    }
    if !bitmaps.is_empty() {
        let all = bitmaps.iter().map(|b| Value::Dict(bitmap(b)));
        out.insert("bitmaps", Value::List(all.collect()));
    }
    out
}

fn bitmap(info: &BitmapInfo) -> Dict {
    let flags = [(info.inconsistent, "in-use"), (info.enabled, "auto")];
    let set = flags.iter().filter(|(on, _)| *on);
    let mut out = Dict::new();
    out.insert(
        "flags",
        Value::List(set.map(|(_, name)| (*name).into()).collect()),
    );
    out.insert("name", info.name.as_str());
    out.insert("granularity", info.granularity);
    out
}
