//! LUKS headers: what is taken is written back as it was, and asks for no more than a header can.

use crypto::Stop;
use crypto::luks::{CreateOptions, HEADER_LEN, Header, SLOTS};

/// Reads bytes as a header, its payload behind it or elsewhere.
pub(crate) fn header(data: &[u8]) {
    let mut raw = [0; HEADER_LEN];
    for (to, byte) in raw.iter_mut().zip(data) {
        *to = *byte;
    }
    for detached in [false, true] {
        let Ok(header) = Header::parse(&raw, detached) else {
            continue;
        };
        assert_eq!(header.to_bytes(), raw);
        for slot in 0..SLOTS {
            let range = header.material(slot);
            assert!(range.len <= 256 << 10 && range.offset >= 4096);
            let end = range.offset + range.len as u64;
            assert!(detached || end <= header.payload_offset);
        }
        let _ = header.check_iterations();
    }
}

/// New headers of some kinds.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let quick = CreateOptions {
        time_ms: 1,
        ..CreateOptions::default()
    };
    let made = [false, true].map(|detached| Header::create(&quick, detached, &Stop::default()));
    made.into_iter()
        .flatten()
        .map(|(header, _)| header.to_bytes().to_vec())
        .collect()
}
