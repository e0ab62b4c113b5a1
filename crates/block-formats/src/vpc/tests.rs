//! Sizes that geometry rounds, and footers that must be refused.

use super::create::geometry;
use super::footer::{Chs, FOOTER, Footer, Kind, SizeFrom};

#[test]
fn sizes_are_rounded_as_the_reference_does() {
    let cases = [
        (1 << 20, 1_079_296),
        (10 << 20, 10_514_432),
        (1 << 30, 1_073_995_776),
        (127 << 30, 136_365_219_840),
        (128 << 30, 137_438_953_472),
    ];
    for (asked, given) in cases {
        let (sectors, _) = geometry(asked / 512, false).expect("it fits");
        assert_eq!(sectors * 512, given, "{asked}");
        let (sectors, chs) = geometry(asked / 512, true).expect("it fits");
        assert_eq!((sectors * 512, chs), (asked, Chs::MAX));
    }
    assert!(geometry((2041 << 30) / 512, false).is_err());
}

#[test]
fn a_footer_reads_back_and_its_sum_is_checked() {
    let footer = Footer {
        kind: Kind::Dynamic,
        chs: Chs::of(20480),
        size: 10 << 20,
        creator: *b"win ",
        data_offset: 512,
        id: String::new(),
    };
    let mut bytes: [u8; FOOTER] = footer.encode(1, [7; 16]);
    let read = Footer::decode(&bytes).expect("it is good");
    assert_eq!(
        read.disk_size(SizeFrom::Creator).expect("it fits"),
        10 << 20
    );
    let by_geometry = read.disk_size(SizeFrom::Geometry).expect("it fits");
    assert_eq!(by_geometry, Chs::of(20480).total() * 512);
    bytes[50] ^= 1;
    let error = Footer::decode(&bytes).expect_err("the sum is wrong");
    assert_eq!(error.to_string(), "Incorrect header checksum");
}
