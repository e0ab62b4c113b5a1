use super::*;

/// Bytes that do not repeat.
fn noise(len: usize) -> impl Iterator<Item = u8> {
    let mut state = 1_u64;
    std::iter::repeat_with(move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_be_bytes()[0]
    })
    .take(len)
}

/// Records of 16 bytes, of which 12 are the same in all of them.
fn records(len: usize) -> Vec<u8> {
    let mut data: Vec<u8> = noise(len).collect();
    for record in data.chunks_exact_mut(16) {
        record[4..].copy_from_slice(b"the same doz");
    }
    data
}

fn unpacked(packed: &[u8], len: usize) -> Vec<u8> {
    let mut cluster = vec![1; len];
    unpack(packed, &mut cluster).unwrap();
    cluster
}

fn coded(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0; data.len() * 2 + 100];
    let len = Coder::default().code(data, &mut out).unwrap();
    out.truncate(len);
    out
}

#[test]
fn what_the_second_coder_makes_can_be_unpacked() {
    let text: Vec<u8> = include_str!("tests.rs")
        .bytes()
        .cycle()
        .take(70_000)
        .collect();
    let cases = [
        Vec::new(),
        vec![7],
        vec![0; 65_536],
        noise(5).collect(),
        noise(300_000).collect(),
        records(65_536),
        records(1_000_000),
        text,
        (0..=255).cycle().take(2 << 20).collect(),
    ];
    for data in cases {
        assert_eq!(unpacked(&coded(&data), data.len()), data, "{}", data.len());
    }
}

#[test]
fn any_bytes_go_through_the_second_coder() {
    for seed in 1..200_usize {
        // Few values, so that there are matches of all lengths and distances.
        let values = u8::try_from(seed % 7 + 1).unwrap();
        let skip = noise(100_000).skip(seed * 31);
        let data: Vec<u8> = skip.take(seed * 97).map(|byte| byte % values).collect();
        assert_eq!(unpacked(&coded(&data), data.len()), data, "seed {seed}");
    }
}

#[test]
fn records_are_smaller_than_the_usual_coder_makes_them() {
    let data = records(65_536);
    assert!(looks_like_records(&data));
    let (mut out, mut usual) = (Vec::new(), vec![0; data.len()]);
    assert!(pack(&data, &mut out));
    let usual = deflate(&mut None, LEVEL, &data, &mut usual).unwrap();
    assert!(out.len() * 100 < usual * 97, "{} of {usual}", out.len());
    assert_eq!(unpacked(&out, data.len()), data);
}

#[test]
fn other_data_does_not_look_like_records() {
    let noise: Vec<u8> = noise(65_536).collect();
    for data in [&noise[..], &[0; 65_536], &[9; 512], &[]] {
        assert!(!looks_like_records(data));
    }
}

#[test]
fn what_does_not_get_smaller_is_refused() {
    let noise: Vec<u8> = noise(4096).collect();
    assert!(!pack(&noise, &mut Vec::new()));
    assert_eq!(Coder::default().code(&noise, &mut vec![0; 4096]), None);
}
