//! Row 8: packed clusters that unpack to more than they may, or ask for more memory than there is.

use house_tests::qcow2::pack_cluster;
use house_tests::require;

use crate::images::Lab;

/// A stored deflate block.
fn stored(last: bool, len: u16) -> Vec<u8> {
    let mut block = vec![u8::from(last)];
    block.extend(len.to_le_bytes());
    block.extend((!len).to_le_bytes());
    block.extend(std::iter::repeat_n(b'x', usize::from(len)));
    block
}

/// A zstd frame of one repeated byte with this window descriptor and length.
fn zstd_frame(window: u8, len: u32) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, window];
    // Last block, run of one byte.
    let header = (len << 3 | 0b011).to_le_bytes();
    frame.extend(&header[..3]);
    frame.push(b'x');
    frame
}

#[test]
fn row_8_deflate_that_yields_more_than_a_cluster() {
    let lab = require!(Lab::new());
    let image = lab.image("x.qcow2", &["1M"], &["write -P 17 0 256k"]);
    let mut packed = stored(false, 65535);
    packed.extend(stored(true, 5000));
    pack_cluster(&image, 0, &packed);
    lab.read_all("x.qcow2");
}

#[test]
fn row_8_deflate_that_yields_less_than_a_cluster() {
    let lab = require!(Lab::new());
    let image = lab.image("x.qcow2", &["1M"], &["write -P 17 0 256k"]);
    pack_cluster(&image, 0, &stored(true, 5000));
    let output = lab.try_on(&["convert", "-O", "raw", "x.qcow2", "out.raw"]);
    assert_eq!(output.code, Some(1), "{}", output.report());
}

#[test]
fn row_8_zstd_windows_of_gigabytes() {
    let lab = require!(Lab::new());
    for exponent in [0, 17, 21, 31] {
        let options = ["-o", "compression_type=zstd", "1M"];
        let image = lab.image("x.qcow2", &options, &["write -P 17 0 256k"]);
        pack_cluster(&image, 0, &zstd_frame(exponent << 3, 65536));
        lab.read_all("x.qcow2");
    }
}

#[test]
fn row_8_zstd_frame_that_never_ends_is_cut() {
    let lab = require!(Lab::new());
    let options = ["-o", "compression_type=zstd", "1M"];
    let image = lab.image("x.qcow2", &options, &["write -P 17 0 256k"]);
    let mut frame = zstd_frame(6 << 3, 65536);
    // Not the last block: the same again, until the sectors end.
    frame[6] &= !1;
    let block = frame[6..].to_vec();
    for _ in 0..2000 {
        frame.extend(&block);
    }
    pack_cluster(&image, 0, &frame);
    lab.read_all("x.qcow2");
}
