use std::sync::OnceLock;

use super::header::{field, put32};
use super::*;
use crate::{Passphrase, Stop};

fn made(options: &CreateOptions) -> (Header, Vec<u8>) {
    let stop = Stop::default();
    let (mut header, key) = Header::create(options, false, &stop).unwrap();
    let pass = Passphrase::new(b"letmein");
    let material = header.fill_slot(0, &key, &pass, 1, &stop).unwrap();
    (header, material.to_vec())
}

fn quick() -> CreateOptions {
    CreateOptions {
        time_ms: 1,
        ..CreateOptions::default()
    }
}

/// A header made with the defaults: made once, since benchmarks take their time.
fn sample() -> [u8; HEADER_LEN] {
    static SAMPLE: OnceLock<[u8; HEADER_LEN]> = OnceLock::new();
    *SAMPLE.get_or_init(|| made(&quick()).0.to_bytes())
}

fn refusal(change: impl Fn(&mut [u8; HEADER_LEN])) -> String {
    let mut raw = sample();
    change(&mut raw);
    Header::parse(&raw, false).unwrap_err().message().to_owned()
}

#[test]
fn a_new_header_is_laid_out_as_others_lay_it_out() {
    let raw = sample();
    assert!(is_luks(&raw));
    let read = Header::parse(&raw, false).unwrap();
    assert_eq!(read.payload_offset, 2_068_480);
    assert_eq!(read.slots()[7].offset(), 4096 + 7 * 258_048);
    assert_eq!(read.material(0).len, 256_000);
    assert_eq!(&raw[field::CIPHER_MODE][..11], b"xts-plain64");
    assert_eq!(read.to_bytes(), raw);
    assert_eq!(read.uuid().len(), 36);
    assert_eq!((read.active_slots(), read.free_slot()), (1, Some(1)));
}

#[test]
fn a_slot_opens_with_its_passphrase_only() {
    let stop = Stop::default();
    for (mode, algorithm) in [("xts", "aes-256"), ("cbc", "aes-192"), ("ctr", "cast5-128")] {
        let options = CreateOptions {
            mode: crate::Mode::named(mode).unwrap(),
            algorithm: crate::Algorithm::named(algorithm).unwrap(),
            ..quick()
        };
        let (header, material) = made(&options);
        let open = |slot: usize, pass: &[u8]| {
            let pass = Passphrase::new(pass);
            header
                .open_slot(slot, &mut material.clone(), &pass, &stop)
                .unwrap()
        };
        assert!(open(0, b"letmein").is_some());
        assert!(open(0, b"letmeout").is_none());
        assert!(open(1, b"letmein").is_none());
    }
}

#[test]
fn the_key_of_a_slot_decrypts_the_disk() {
    let stop = Stop::default();
    let (mut header, key) = Header::create(&quick(), false, &stop).unwrap();
    let mut data = vec![5; 1024];
    header.cipher(&key).unwrap().encrypt(9, &mut data);
    let pass = Passphrase::new("pässword".as_bytes());
    let mut material = header.fill_slot(3, &key, &pass, 1, &stop).unwrap();
    let found = header.open_slot(3, &mut material, &pass, &stop).unwrap();
    header
        .cipher(&found.unwrap())
        .unwrap()
        .decrypt(9, &mut data);
    assert_eq!(data, vec![5; 1024]);
    header.clear_slot(3);
    assert_eq!(header.active_slots(), 0);
}

#[test]
fn damaged_headers_are_refused_in_known_words() {
    let slot = |i: usize, at: usize| field::SLOTS + i * field::SLOT_LEN + at;
    assert_eq!(refusal(|raw| raw[0] = 0), "Volume is not in LUKS format");
    assert_eq!(refusal(|raw| raw[7] = 2), "LUKS version 2 is not supported");
    assert_eq!(
        refusal(|raw| raw[field::CIPHER_NAME].fill(b'a')),
        "LUKS header cipher name is not NUL terminated"
    );
    assert_eq!(
        refusal(|raw| put32(raw, field::PAYLOAD, 7)),
        "LUKS payload is overlapping with the header"
    );
    assert_eq!(
        refusal(|raw| put32(raw, field::ITERATIONS, 0)),
        "LUKS key iteration count is zero"
    );
    assert_eq!(
        refusal(|raw| put32(raw, slot(2, 44), 4001)),
        "Keyslot 2 is corrupted (stripes 4001 != 4000)"
    );
    assert_eq!(
        refusal(|raw| put32(raw, slot(1, 0), 5)),
        "Keyslot 1 state (active/disable) is corrupted"
    );
    assert_eq!(
        refusal(|raw| put32(raw, slot(0, 4), 0)),
        "Keyslot 0 iteration count is zero"
    );
    assert_eq!(
        refusal(|raw| put32(raw, slot(0, 40), 1)),
        "Keyslot 0 is overlapping with the LUKS header"
    );
    assert_eq!(
        refusal(|raw| put32(raw, slot(3, 40), 0x7fff_ffff)),
        "Keyslot 3 is overlapping with the encrypted payload"
    );
    assert_eq!(
        refusal(|raw| put32(raw, slot(2, 40), 520)),
        "Keyslots 1 and 2 are overlapping in the header"
    );
    assert_eq!(
        refusal(|raw| put32(raw, field::KEY_LEN, 40)),
        "Algorithm 'aes' with key size 20 bytes not supported"
    );
}

#[test]
fn names_that_nobody_knows_are_refused() {
    let with_mode =
        |text: &str| refusal(|raw| super::header::put_text(raw, field::CIPHER_MODE, text));
    assert_eq!(
        with_mode("xts"),
        "Unexpected cipher mode string format 'xts'"
    );
    assert_eq!(with_mode("foo-plain"), "Cipher mode 'foo' not supported");
    assert_eq!(with_mode("xts-foo"), "IV generator 'foo' not supported");
    assert_eq!(
        with_mode("xts-essiv"),
        "Missing IV generator hash specification"
    );
    assert_eq!(
        with_mode("xts-essiv:foo"),
        "Hash algorithm 'foo' not supported"
    );
    assert_eq!(
        refusal(|raw| super::header::put_text(raw, field::HASH_SPEC, "crc32")),
        "Hash algorithm 'crc32' not supported"
    );
    assert_eq!(
        refusal(|raw| super::header::put_text(raw, field::CIPHER_NAME, "rot13")),
        "Algorithm 'rot13' with key size 32 bytes not supported"
    );
}

#[test]
fn a_header_cannot_ask_for_hours() {
    let mut raw = sample();
    put32(&mut raw, field::SLOTS + 4, u32::MAX);
    let header = Header::parse(&raw, false).unwrap();
    assert!(header.check_iterations().is_err());
    let header = Header::parse(&sample(), false).unwrap();
    assert!(header.check_iterations().is_ok());
}

#[test]
fn algorithms_that_luks_has_no_name_for_are_refused() {
    let options = CreateOptions {
        algorithm: crate::Algorithm::TripleDes,
        mode: crate::Mode::Cbc,
        ..quick()
    };
    let error = Header::create(&options, false, &Stop::default()).unwrap_err();
    assert_eq!(error.message(), "Algorithm '3des' not supported");
}

#[test]
fn a_detached_header_says_that_the_payload_is_elsewhere() {
    let stop = Stop::default();
    let (header, _) = Header::create(&quick(), true, &stop).unwrap();
    assert!(Header::parse(&header.to_bytes(), false).is_err());
    let read = Header::parse(&header.to_bytes(), true).unwrap();
    assert_eq!(read.payload_offset, 0);
}
