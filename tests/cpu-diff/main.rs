//! Random instructions on the host's processor and on ours: registers, flags, memory and faults are compared.
#![forbid(unsafe_code)]

mod layout;
mod native;
mod runner;

#[test]
fn smoke() {
    use layout::*;
    let mut n = native::Native::start(runner::Saves::Avx).unwrap();
    let mut rec = vec![0u8; RECORD * 2];
    for r in rec.chunks_mut(RECORD) {
        r[CODE..CODE + CODE_BYTES].fill(0xcc);
        r[0] = 5;
        r[4*8..5*8].copy_from_slice(&(WINDOW_AT+512).to_le_bytes());
        r[FRAME..FRAME + 8].copy_from_slice(&CODE_AT.to_le_bytes());
        r[FRAME + 8..FRAME + 16].copy_from_slice(&0x202u64.to_le_bytes());
        r[FRAME + 16..FRAME + 24].copy_from_slice(&CS_64.to_le_bytes());
        r[XSAVE..XSAVE + 2].copy_from_slice(&0x37fu16.to_le_bytes());
        r[XSAVE + 24..XSAVE + 28].copy_from_slice(&0x1f80u32.to_le_bytes());
        r[XSAVE + 512] = 7;
    }
    rec[CODE..CODE + 2].copy_from_slice(&[0xff, 0xc0]);
    rec[RECORD + CODE..RECORD + CODE + 3].copy_from_slice(&[0xf4, 0xff, 0xc0]);
    rec[RECORD + FRAME + 16] = 0x23;
    let t = std::time::Instant::now();
    n.begin(&rec).unwrap();
    n.finish(&mut rec).unwrap();
    println!("{:?}", t.elapsed());
    for r in rec.chunks(RECORD) {
        for w in 0..OUT_WORDS {
            print!("{:x} ", u64::from_le_bytes(r[OUT + w * 8..OUT + w * 8 + 8].try_into().unwrap()));
        }
        println!();
        println!("{:x?}", &r[XSAVE..XSAVE+32]);
        println!("{:x?}", &r[XSAVE+512..XSAVE+528]);
    }
    panic!();
}
