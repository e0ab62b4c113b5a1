use ::cipher::{Block, BlockCipherEncrypt, KeyInit};

use super::*;

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|c| c.to_digit(16))
        .map(|d| u8::try_from(d).unwrap())
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

fn spec(algorithm: Algorithm, mode: Mode) -> CipherSpec {
    CipherSpec {
        algorithm,
        mode,
        ivgen: IvGen::Plain64,
        ivgen_hash: None,
    }
}

fn pattern(sectors: usize) -> Vec<u8> {
    (0..sectors * SECTOR_LEN)
        .map(|i| u8::try_from(i * 7 % 251).unwrap())
        .collect()
}

fn key_for(spec: &CipherSpec) -> Vec<u8> {
    (0..spec.key_len())
        .map(|i| u8::try_from(i * 37 % 256).unwrap())
        .collect()
}

/// Name, key, plain block, encrypted block: as published by each algorithm's authors or standard.
const PUBLISHED: &[(&str, &str, &str, &str)] = &[
    (
        "aes-128",
        "000102030405060708090a0b0c0d0e0f",
        "00112233445566778899aabbccddeeff",
        "69c4e0d86a7b0430d8cdb78070b4c55a",
    ),
    (
        "aes-192",
        "000102030405060708090a0b0c0d0e0f1011121314151617",
        "00112233445566778899aabbccddeeff",
        "dda97ca4864cdfe06eaf70a0ec0d7191",
    ),
    (
        "aes-256",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        "00112233445566778899aabbccddeeff",
        "8ea2b7ca516745bfeafc49904b496089",
    ),
    (
        "des",
        "133457799bbcdff1",
        "0123456789abcdef",
        "85e813540f0ab405",
    ),
    (
        "3des",
        "0123456789abcdef23456789abcdef01456789abcdef0123",
        "5468652071756663",
        "a826fd8ce53b855f",
    ),
    (
        "cast5-128",
        "0123456712345678234567893456789a",
        "0123456789abcdef",
        "238b4fe5847e44b2",
    ),
    (
        "serpent-128",
        "00000000000000000000000000000000",
        "d29d576fcea3a3a7ed9099f29273d78e",
        "b2288b968ae8b08648d1ce9606fd992d",
    ),
    (
        "serpent-192",
        "000000000000000000000000000000000000000000000000",
        "d29d576fceaba3a7ed9899f2927bd78e",
        "130e353e1037c22405e8faefb2c3c3e9",
    ),
    (
        "serpent-256",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "d095576fcea3e3a7ed98d9f29073d78e",
        "b90ee5862de69168f2bdd5125b45472b",
    ),
    (
        "twofish-128",
        "00000000000000000000000000000000",
        "00000000000000000000000000000000",
        "9f589f5cf6122c32b6bfec2f2ae8c35a",
    ),
    (
        "twofish-192",
        "0123456789abcdeffedcba98765432100011223344556677",
        "00000000000000000000000000000000",
        "cfd1d2e5a9be9cdf501f13b892bd2248",
    ),
    (
        "twofish-256",
        "0123456789abcdeffedcba987654321000112233445566778899aabbccddeeff",
        "00000000000000000000000000000000",
        "37527be0052334b89f0cfccae87cfa20",
    ),
    (
        "sm4",
        "0123456789abcdeffedcba9876543210",
        "0123456789abcdeffedcba9876543210",
        "681edf34d206965e86b3e94f536e4246",
    ),
];

#[test]
fn blocks_are_the_published_ones() {
    for (name, key, plain, encrypted) in PUBLISHED {
        let algorithm = Algorithm::named(name).unwrap();
        assert_eq!(algorithm.name(), *name);
        let cipher = SectorCipher::new(&spec(algorithm, Mode::Ecb), &unhex(key)).unwrap();
        let plain = unhex(plain).repeat(SECTOR_LEN / algorithm.block_len());
        let mut data = plain.clone();
        cipher.encrypt(0, &mut data);
        assert_eq!(data[..algorithm.block_len()], unhex(encrypted), "{name}");
        cipher.decrypt(0, &mut data);
        assert_eq!(data, plain, "{name}");
    }
}

#[test]
fn tables_for_twofish_do_what_its_formulas_do() {
    for len in [16, 24, 32] {
        for seed in 0..8 {
            let bytes = pattern(1);
            let (key, block) = (&bytes[seed..seed + len], &bytes[100 + seed..116 + seed]);
            let ours = one_block::<super::twofish::Twofish>(key, block);
            assert_eq!(ours, one_block::<::twofish::Twofish>(key, block));
        }
    }
}

fn any_combination(mut test: impl FnMut(&CipherSpec, &SectorCipher)) {
    for (name, ..) in PUBLISHED {
        let algorithm = Algorithm::named(name).unwrap();
        for mode in [Mode::Ecb, Mode::Cbc, Mode::Xts, Mode::Ctr] {
            let spec = spec(algorithm, mode);
            match SectorCipher::new(&spec, &key_for(&spec)) {
                Ok(cipher) => test(&spec, &cipher),
                Err(_) => assert!(mode == Mode::Xts && algorithm.block_len() == 8),
            }
        }
    }
}

#[test]
fn all_combinations_come_back() {
    let plain = pattern(3);
    any_combination(|spec, cipher| {
        let mut data = plain.clone();
        cipher.encrypt(5, &mut data);
        assert_ne!(data, plain, "{spec:?}");
        cipher.decrypt(5, &mut data);
        assert_eq!(data, plain, "{spec:?}");
    });
}

#[test]
fn many_sectors_at_once_are_as_one_by_one() {
    // More than a group of any mode, and not a multiple of one.
    let plain = pattern(39);
    for mode in [Mode::Ecb, Mode::Cbc, Mode::Xts, Mode::Ctr] {
        let spec = spec(Algorithm::Aes256, mode);
        let cipher = SectorCipher::new(&spec, &key_for(&spec)).unwrap();
        let (mut whole, mut single) = (plain.clone(), plain.clone());
        cipher.encrypt(1000, &mut whole);
        for (sector, number) in single.chunks_mut(SECTOR_LEN).zip(1000..) {
            cipher.encrypt(number, sector);
        }
        assert_eq!(whole, single, "{mode:?}");
        cipher.decrypt(1000, &mut whole);
        assert_eq!(whole, plain, "{mode:?}");
    }
}

fn one_block<C: BlockCipherEncrypt + KeyInit>(key: &[u8], block: &[u8]) -> Vec<u8> {
    let mut block = Block::<C>::try_from(block).unwrap();
    C::new_from_slice(key).unwrap().encrypt_block(&mut block);
    block.to_vec()
}

/// XTS as the standard writes it, block by block and bit by bit.
fn plain_xts(key: &[u8], sector: u64, data: &[u8]) -> Vec<u8> {
    let (first, second) = key.split_at(key.len() / 2);
    let mut number = [0; 16];
    number[..8].copy_from_slice(&sector.to_le_bytes());
    let mut tweak = one_block::<aes::Aes256>(second, &number);
    let mut out = Vec::new();
    for block in data.chunks(16) {
        let masked: Vec<u8> = block.iter().zip(&tweak).map(|(a, b)| a ^ b).collect();
        let block = one_block::<aes::Aes256>(first, &masked);
        out.extend(block.iter().zip(&tweak).map(|(a, b)| a ^ b));
        let mut carry = 0;
        for byte in &mut tweak {
            let next = *byte >> 7;
            *byte = *byte << 1 | carry;
            carry = next;
        }
        if carry == 1 {
            tweak[0] ^= 0x87;
        }
    }
    out
}

#[test]
fn xts_is_what_the_standard_says() {
    let spec = spec(Algorithm::Aes256, Mode::Xts);
    let key = key_for(&spec);
    let cipher = SectorCipher::new(&spec, &key).unwrap();
    let plain = pattern(1);
    for sector in [0, 1, 0xffff_ffff, 0x1_0000_0000, u64::MAX / 512] {
        let mut data = plain.clone();
        cipher.encrypt(sector, &mut data);
        assert_eq!(data, plain_xts(&key, sector, &plain), "sector {sector}");
    }
}

#[test]
fn xts_makes_the_standards_vector() {
    // IEEE 1619, vector 4.
    let spec = spec(Algorithm::Aes128, Mode::Xts);
    let key = unhex("2718281828459045235360287471352631415926535897932384626433832795");
    let mut data: Vec<u8> = (0..=255).chain(0..=255).collect();
    SectorCipher::new(&spec, &key)
        .unwrap()
        .encrypt(0, &mut data);
    assert_eq!(data[..16], unhex("27a7479befa1d476489f308cd4cfa6e2"));
}

#[test]
fn cbc_and_ctr_are_what_the_standard_says() {
    let key = key_for(&spec(Algorithm::Aes256, Mode::Cbc));
    let plain = pattern(1);
    let mut iv = [0; 16];
    iv[..8].copy_from_slice(&77_u64.to_le_bytes());

    let mut chain = iv.to_vec();
    let mut want = Vec::new();
    for block in plain.chunks(16) {
        let mixed: Vec<u8> = block.iter().zip(&chain).map(|(a, b)| a ^ b).collect();
        chain = one_block::<aes::Aes256>(&key, &mixed);
        want.extend(&chain);
    }
    let mut data = plain.clone();
    let cbc = SectorCipher::new(&spec(Algorithm::Aes256, Mode::Cbc), &key).unwrap();
    cbc.encrypt(77, &mut data);
    assert_eq!(data, want);

    let mut want = Vec::new();
    for (block, i) in plain.chunks(16).zip(0_u128..) {
        let counter = (u128::from_be_bytes(iv) + i).to_be_bytes();
        let stream = one_block::<aes::Aes256>(&key, &counter);
        want.extend(block.iter().zip(&stream).map(|(a, b)| a ^ b));
    }
    let mut data = plain;
    let ctr = SectorCipher::new(&spec(Algorithm::Aes256, Mode::Ctr), &key).unwrap();
    ctr.encrypt(77, &mut data);
    assert_eq!(data, want);
}

#[test]
fn ivs_are_made_as_their_names_say() {
    let key = key_for(&spec(Algorithm::Aes128, Mode::Cbc));
    let first = |ivgen, sector: u64| {
        let spec = CipherSpec {
            ivgen,
            ivgen_hash: Some(Hash::Sha256),
            ..spec(Algorithm::Aes128, Mode::Cbc)
        };
        let mut data = vec![0; SECTOR_LEN];
        SectorCipher::new(&spec, &key)
            .unwrap()
            .encrypt(sector, &mut data);
        data[..16].to_vec()
    };
    let far = 0x1_0000_0003;
    assert_eq!(first(IvGen::Plain, far), first(IvGen::Plain, 3));
    assert_ne!(first(IvGen::Plain64, far), first(IvGen::Plain64, 3));
    // A key of AES-256 for the IVs of AES-128, since the hash is that long.
    let salt = Hash::Sha256.digest(&[&key]);
    let mut number = [0; 16];
    number[..8].copy_from_slice(&far.to_le_bytes());
    let iv = one_block::<aes::Aes256>(&salt, &number);
    assert_eq!(
        first(IvGen::Essiv, far),
        one_block::<aes::Aes128>(&key, &iv)
    );
}

#[test]
fn what_does_not_fit_is_refused_in_known_words() {
    let refusal = |spec: &CipherSpec| {
        let key = key_for(spec);
        let error = SectorCipher::new(spec, &key).unwrap_err();
        error.message().to_owned()
    };
    let essiv = |algorithm, hash| CipherSpec {
        ivgen: IvGen::Essiv,
        ivgen_hash: Some(hash),
        ..spec(algorithm, Mode::Cbc)
    };
    assert_eq!(
        refusal(&spec(Algorithm::Cast5, Mode::Xts)),
        "Unsupported cipher mode xts"
    );
    assert_eq!(
        refusal(&spec(Algorithm::Des, Mode::Xts)),
        "XTS mode not compatible with DES/3DES"
    );
    assert_eq!(
        refusal(&essiv(Algorithm::Aes128, Hash::Sha1)),
        "No AES cipher with key size 20 available"
    );
    assert_eq!(
        refusal(&essiv(Algorithm::Cast5, Hash::Sha256)),
        "Cipher cast5-128 not supported with essiv"
    );
}

#[test]
fn nothing_shows_a_key() {
    let spec = spec(Algorithm::Aes256, Mode::Xts);
    let cipher = SectorCipher::new(&spec, &key_for(&spec)).unwrap();
    assert_eq!(format!("{cipher:?}"), "SectorCipher(..)");
}
