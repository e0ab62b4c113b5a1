//! Bits, directory bytes and the recording states.

use proptest::prelude::*;

use super::super::bits::{self, Bits};
use super::super::directory::{self, Entry, FLAG_AUTO, FLAG_IN_USE, Location};
use super::super::set::{Bitmap, BitmapSet};

const CLUSTER: u64 = 65536;

fn entry(name: &str) -> Entry {
    Entry {
        table_offset: 0xc0000,
        table_size: 1,
        flags: FLAG_AUTO,
        granularity_bits: 16,
        name: name.as_bytes().to_vec(),
    }
}

fn directory(change: impl FnOnce(&mut Entry)) -> Vec<u8> {
    let mut entries = vec![entry("b0"), entry("b1")];
    change(&mut entries[0]);
    directory::encode(&entries)
}

fn read(bytes: &[u8], count: u32) -> qapi::Result<Vec<Entry>> {
    let location = Location {
        count,
        size: bytes.len() as u64,
        offset: CLUSTER,
    };
    directory::decode(bytes, location, 64 << 20, CLUSTER)
}

fn refusal(bytes: &[u8], count: u32) -> String {
    read(bytes, count).unwrap_err().message().to_owned()
}

#[test]
fn directory_survives_writing() {
    let bytes = directory(|_| ());
    assert_eq!(bytes.len(), 64);
    assert_eq!(read(&bytes, 2).unwrap(), [entry("b0"), entry("b1")]);
}

#[test]
fn impossible_entries_are_refused() {
    let constraints = "Bitmap 'b0' doesn't satisfy the constraints";
    let changes: [fn(&mut Entry); 7] = [
        |e| e.flags |= 8,
        |e| e.granularity_bits = 8,
        |e| e.granularity_bits = 32,
        |e| e.table_offset = 123,
        |e| e.table_offset = 0,
        |e| e.table_size = 0,
        |e| e.table_size = 8193,
    ];
    for change in changes {
        assert_eq!(refusal(&directory(change), 2), constraints);
    }
    let mut kind = directory(|_| ());
    kind[16] = 2;
    assert_eq!(refusal(&kind, 2), constraints);
    let mut extra = directory(|_| ());
    extra[23] = 8;
    assert_eq!(refusal(&extra, 2), "Bitmap extra data is not supported");
    assert_eq!(
        refusal(&directory(|e| e.table_size = 2), 2),
        "Could not read bitmap 'b0' from image: Invalid argument"
    );
    assert_eq!(
        refusal(&directory(|e| e.name = b"b1".to_vec()), 2),
        "Bitmap already exists: b1"
    );
}

#[test]
fn directory_must_have_as_many_entries_as_told() {
    let bytes = directory(|_| ());
    assert_eq!(
        refusal(&bytes, 1),
        "More bitmaps found than specified in header extension"
    );
    assert_eq!(
        refusal(&bytes, 3),
        "Less bitmaps found than specified in header extension"
    );
    assert_eq!(refusal(&bytes[..63], 2), "Broken bitmap directory");
}

#[test]
fn extension_is_checked() {
    let good = Location {
        count: 2,
        size: 64,
        offset: 0xe0000,
    };
    assert_eq!(Location::decode(&good.encode(), CLUSTER).unwrap(), good);
    let refused = |location: Location| {
        Location::decode(&location.encode(), CLUSTER)
            .unwrap_err()
            .message()
            .to_owned()
    };
    assert_eq!(
        refused(Location { count: 0, ..good }),
        "found bitmaps extension with zero bitmaps"
    );
    assert_eq!(
        refused(Location {
            count: 65536,
            ..good
        }),
        "bitmaps_ext: Image has 65536 bitmaps, exceeding the QEMU supported maximum of 65535"
    );
    assert_eq!(
        refused(Location { offset: 1, ..good }),
        "bitmaps_ext: invalid bitmap directory offset"
    );
    assert_eq!(
        refused(Location {
            size: 1 << 40,
            ..good
        }),
        "bitmaps_ext: bitmap directory size (1099511627776) exceeds the maximum supported size (67107840)"
    );
    let mut reserved = good.encode();
    reserved[7] = 1;
    let error = Location::decode(&reserved, CLUSTER).unwrap_err();
    assert_eq!(error.message(), "bitmaps_ext: Reserved field is not zero");
}

#[test]
fn last_granule_ends_with_the_disk() {
    let bits = Bits::new(200_000, 16);
    bits.mark(0, 1);
    bits.mark(131_071, 2);
    bits.mark(199_999, 5000);
    assert_eq!(bits.ranges(), [(0, 200_000)]);
    let bits = Bits::new(200_000, 16);
    bits.mark(300_000, 1);
    bits.mark(5, 0);
    assert_eq!(bits.ranges(), []);
}

#[test]
fn stored_bits_past_the_end_are_dropped() {
    let bits = Bits::new(3 * CLUSTER, 16);
    let mut cluster = vec![0; 512];
    cluster[0] = 0xff;
    cluster[9] = 1;
    bits.load(0, &cluster);
    assert_eq!(bits.ranges(), [(0, 3 * CLUSTER)]);
    let bits = Bits::new(3 * CLUSTER, 16);
    bits.load_ones(0, 512);
    bits.load_ones(1, 512);
    assert_eq!(bits.ranges(), [(0, 3 * CLUSTER)]);
}

#[test]
fn too_large_bitmaps_are_not_made() {
    assert!(directory::check_new(b"b", 9, 1 << 41, CLUSTER).is_ok());
    let error = directory::check_new(b"b", 9, (1 << 41) + 4096, CLUSTER).unwrap_err();
    assert_eq!(
        error.message(),
        "Too much space will be occupied by the bitmap. Use larger granularity"
    );
}

#[test]
fn writes_are_recorded_only_after_the_image_says_so() {
    let set = BitmapSet::new(None, Vec::new());
    assert!(set.mark_dirty(0, 1), "no bitmaps: nothing to do");
    set.push(Bitmap::new("b", 16, 1 << 20));
    assert!(!set.mark_dirty(0, 1), "the image must be marked first");
    set.state().in_use = true;
    set.refresh_phase();
    assert!(set.mark_dirty(70_000, 1));
    let bits = set.usable("b").unwrap().bits.unwrap();
    assert_eq!(bits.ranges(), [(65536, 65536)]);
    set.update("b", |b| b.enabled = false).unwrap();
    assert!(set.mark_dirty(0, 1));
    assert_eq!(bits.ranges(), [(65536, 65536)]);
}

#[test]
fn removed_bitmap_that_the_image_still_trusts_arms_the_next_write() {
    let set = BitmapSet::new(None, vec![entry("b")]);
    set.remove("b").unwrap();
    assert!(!set.mark_dirty(0, 1));
}

#[test]
fn inconsistent_bitmap_can_only_be_removed() {
    let bad = Entry {
        flags: FLAG_IN_USE | FLAG_AUTO,
        ..entry("b")
    };
    let set = BitmapSet::new(None, vec![bad]);
    assert!(set.mark_dirty(0, 1), "it does not record");
    let error = set.usable("b").unwrap_err();
    assert_eq!(
        error.message(),
        "Bitmap 'b' is inconsistent and cannot be used"
    );
    assert!(set.remove("b").is_ok());
    assert_eq!(
        set.remove("b").unwrap_err().message(),
        "Dirty bitmap 'b' not found"
    );
}

proptest! {
    #[test]
    fn bits_agree_with_a_model(marks in proptest::collection::vec((0..9000_u64, 0..3000_u64), 0..12), size in 1..8192_u64) {
        let bits = Bits::new(size, 4);
        let mut model = vec![false; usize::try_from(bits::count(size, 4)).unwrap()];
        for (offset, len) in marks {
            bits.mark(offset, len);
            for byte in offset..(offset + len).min(size) {
                model[usize::try_from(byte / 16).unwrap()] = true;
            }
        }
        let mut seen = vec![false; model.len()];
        let mut last = None;
        for (offset, len) in bits.ranges() {
            prop_assert!(len > 0 && offset + len <= size && last.is_none_or(|end| end < offset));
            last = Some(offset + len);
            for granule in offset / 16..(offset + len).div_ceil(16) {
                seen[usize::try_from(granule).unwrap()] = true;
            }
        }
        prop_assert_eq!(&seen, &model);
        let copy = Bits::new(size, 4);
        for index in 0..bits::table_len(size, 4, 8) {
            if let Some(cluster) = bits.store(index, 8) {
                copy.load(index, &cluster);
            }
        }
        prop_assert_eq!(copy.ranges(), bits.ranges());
        prop_assert_eq!(bits.resized(size + 999).ranges().len() >= copy.ranges().len(), true);
    }

    #[test]
    fn directory_reader_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), count in 1..4_u32) {
        let _ = read(&bytes, count);
        let _ = Location::decode(&bytes, CLUSTER);
    }
}
