//! Row 4: numbers in headers.

use house_tests::bytes::poke;
use house_tests::qcow2::HEADER;
use house_tests::require;

use crate::images::Lab;

/// Values that arithmetic goes wrong on.
fn values(len: usize) -> Vec<u64> {
    let bits = len * 8;
    let max = u64::MAX >> (64 - bits);
    let mut values = vec![0, 1, 2, max, max - 1, max >> 1, (max >> 1) + 1];
    for power in [8, 9, 16, 21, 31, 32, 48, 62, 63] {
        if power < bits {
            let at = 1_u64 << power;
            values.extend([at - 1, at, at + 1]);
        }
    }
    values
}

/// Sweeps some header fields.
fn sweep(wanted: fn(usize) -> bool) {
    let lab = require!(Lab::new());
    let image = lab.small("x.qcow2");
    let good = std::fs::read(&image).expect("just made");
    for (_, (field, offset, len)) in HEADER.iter().enumerate().filter(|(i, _)| wanted(*i)) {
        for value in values(*len) {
            std::fs::write(&image, &good).expect("a scratch file");
            poke(&image, *offset, &value.to_be_bytes()[8 - len..]);
            eprintln!("{field} = {value:#x}");
            lab.try_on(&["info", "x.qcow2"]);
            lab.try_on(&["check", "-f", "qcow2", "x.qcow2"]);
            lab.try_on(&[
                "convert",
                "-n",
                "-f",
                "qcow2",
                "-O",
                "null-co",
                "x.qcow2",
                "null-co://",
            ]);
            lab.try_on(&["check", "-r", "all", "-f", "qcow2", "x.qcow2"]);
        }
    }
}

#[test]
fn cve_2014_0143_header_fields_first_half() {
    sweep(|i| i % 2 == 0);
}

#[test]
fn cve_2014_0143_header_fields_second_half() {
    sweep(|i| i % 2 == 1);
}

#[test]
fn cve_2014_0143_truncated_anywhere() {
    let lab = require!(Lab::new());
    let image = lab.small("x.qcow2");
    let good = std::fs::read(&image).expect("just made");
    let headers = (0..130).step_by(3);
    let tables = (1..good.len() / 4096).map(|n| n * 4096 + 7);
    for len in headers.chain(tables.step_by(5)) {
        std::fs::write(&image, &good[..len]).expect("a scratch file");
        lab.try_on(&["info", "-f", "qcow2", "x.qcow2"]);
        lab.try_on(&["check", "-f", "qcow2", "x.qcow2"]);
        lab.try_on(&["convert", "-f", "qcow2", "-O", "raw", "x.qcow2", "out.raw"]);
    }
}
