use std::os::unix::fs::FileExt;

use super::*;

/// A ring over a scratch file, where the kernel lets us have one.
fn ring() -> Option<(Ring, Arc<File>)> {
    let path = std::env::temp_dir().join(format!(
        "ring-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .unwrap();
    std::fs::remove_file(path).unwrap();
    let file = Arc::new(file);
    match Ring::new(Arc::clone(&file), 4) {
        Ok(ring) => Some((ring, file)),
        Err(error) => {
            eprintln!("skipped: no ring here: {error}");
            None
        }
    }
}

fn filled(byte: u8, len: usize) -> Aligned {
    let mut buffer = Aligned::new(len);
    buffer.bytes_mut().fill(byte);
    buffer
}

/// Runs requests to their end without a runtime.
fn finish(ring: &Ring, mut request: Request<'_>) -> Done {
    let mut context = Context::from_waker(Waker::noop());
    loop {
        ring.submit().unwrap();
        ring.reap();
        if let Poll::Ready(done) = Pin::new(&mut request).poll(&mut context) {
            return done;
        }
        std::thread::yield_now();
    }
}

#[test]
fn more_requests_than_the_ring_has_room_for_are_all_done() {
    let Some((ring, file)) = ring() else { return };
    let requests: Vec<_> = (0..100_u8)
        .map(|n| ring.request(Op::Write(u64::from(n) * 512), filled(n, 512)))
        .collect();
    for request in requests {
        assert_eq!(finish(&ring, request).0.unwrap(), 512);
    }
    assert_eq!(
        finish(&ring, ring.request(Op::Sync, Aligned::default()))
            .0
            .unwrap(),
        0
    );
    for n in 0..100_u8 {
        let mut back = [0; 512];
        file.read_exact_at(&mut back, u64::from(n) * 512).unwrap();
        assert_eq!(back, [n; 512]);
        let (result, buffer) = finish(
            &ring,
            ring.request(Op::Read(u64::from(n) * 512), Aligned::new(512)),
        );
        assert_eq!((result.unwrap(), buffer.bytes()), (512, &[n; 512][..]));
    }
}

#[test]
fn a_request_that_is_given_up_leaves_its_buffer_to_the_ring() {
    let Some((ring, file)) = ring() else { return };
    drop(ring.request(Op::Write(0), filled(1, 512)));
    ring.submit().unwrap();
    assert_eq!(
        file.metadata().unwrap().len(),
        0,
        "the kernel never heard of it"
    );
    let given_up = ring.request(Op::Write(0), filled(2, 512));
    ring.submit().unwrap();
    drop(given_up);
    while ring.reap() == 0 {}
    assert_eq!(file.metadata().unwrap().len(), 512);
    let state = ring.state();
    assert_eq!((state.running, state.free.len()), (0, state.slots.len()));
}

#[test]
fn errors_are_told_to_who_waits() {
    let Some((ring, _)) = ring() else { return };
    let far = ring.request(Op::Write(1 << 63), filled(1, 512));
    assert!(finish(&ring, far).0.is_err());
    let mut waiting = ring.request(Op::Sync, Aligned::default());
    ring.fail(libc::EIO);
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready((result, _)) = Pin::new(&mut waiting).poll(&mut context) else {
        panic!("nothing was told");
    };
    assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EIO));
}
