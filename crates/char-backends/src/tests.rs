use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use backend_core::chars::Capture;

use super::mux::{Host, Mux, Receiver};
use super::*;

#[derive(Default)]
struct Heard {
    bytes: Mutex<Vec<u8>>,
    breaks: Mutex<u32>,
}

impl Receiver for Heard {
    fn receive(&self, bytes: &[u8]) {
        self.bytes.lock().expect("whole").extend(bytes);
    }
    fn line_break(&self) {
        *self.breaks.lock().expect("whole") += 1;
    }
}

#[derive(Default)]
struct Program(AtomicBool);

impl Host for Program {
    fn quit(&self) {
        self.0.store(true, Ordering::Release);
    }
    fn sync(&self) {}
}

#[test]
fn texts_name_backends() {
    let parse = |text| Spec::parse(text);
    assert_eq!(parse("none"), Ok(None));
    assert_eq!(parse("stdio"), Ok(Some(Spec::Stdio { signal: true })));
    let shared = Spec::Mux(Box::new(Spec::Stdio { signal: false }));
    assert_eq!(parse("mon:stdio"), Ok(Some(shared)));
    let socket = Spec::Socket {
        address: Address::Unix("/run/x".into()),
        server: true,
        wait: false,
    };
    assert_eq!(
        parse("unix:/run/x,server=on,wait=off"),
        Ok(Some(socket.clone()))
    );
    assert_eq!(parse("unix:/run/x,server,nowait"), Ok(Some(socket)));
    assert!(matches!(parse("bogus"), Err(SpecError::Unknown(_))));
    assert!(matches!(
        parse("unix:x,wait=off"),
        Err(SpecError::Invalid(_))
    ));
    assert!(matches!(
        parse("telnet::1,server"),
        Err(SpecError::Missing(_))
    ));
}

#[test]
fn keys_after_the_escape_switch_and_leave() {
    let screen = Capture::default();
    let mux = Mux::new(Box::new(screen.clone()));
    let (first, second, program) = (
        Arc::new(Heard::default()),
        Arc::new(Heard::default()),
        Program::default(),
    );
    let fronts: [Arc<dyn Receiver>; 2] = [first.clone(), second.clone()];
    mux.front().send(b"hello\n");
    let typed = b"ab\x01\x01\x01ccd\x01b\x01c e\x01h\x01x";
    mux.run(&mut typed.as_slice(), &fronts, &program);
    assert_eq!(*first.bytes.lock().expect("whole"), b"ab\x01 e");
    assert_eq!(*second.bytes.lock().expect("whole"), b"cd");
    assert_eq!(*second.breaks.lock().expect("whole"), 1);
    assert!(program.0.load(Ordering::Acquire));
    assert!(screen.text().starts_with("hello\n\n\rC-a h"));
}

#[test]
fn lines_carry_the_time_when_it_is_asked_for() {
    let screen = Capture::default();
    let mux = Mux::new(Box::new(screen.clone()));
    mux.run(&mut b"\x01t".as_slice(), &[], &Program::default());
    mux.front().send(b"a\nb");
    assert!(screen.text().starts_with("[00:00:00.00"));
    assert_eq!(screen.text().matches('[').count(), 2);
}

#[test]
fn a_socket_serves_one_peer_after_the_other() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("s");
    let text = format!("unix:{},server=on,wait=off", path.display());
    let spec = Spec::parse(&text).expect("right").expect("one");
    let mut port = open(&spec, "s").expect("opened");
    let mut source = port.source.take().expect("two ways");
    for word in ["one", "two"] {
        let mut peer = UnixStream::connect(&path).expect("connects");
        peer.write_all(word.as_bytes()).expect("sent");
        let mut buffer = [0; 16];
        let bytes = source.read(&mut buffer).expect("read");
        assert_eq!(&buffer[..bytes], word.as_bytes());
        port.sink.send(b"ok");
        let mut answer = [0; 2];
        peer.read_exact(&mut answer).expect("answered");
        assert_eq!(&answer, b"ok");
    }
}

#[test]
fn a_pseudo_terminal_says_its_name() {
    let mut port = open(&Spec::Pty, "serial0").expect("opened");
    let notice = port.notice.take().expect("a name");
    assert!(notice.ends_with("(label serial0)"), "{notice}");
    let name = notice.split(' ').nth(4).expect("a name").to_owned();
    let mut other = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(name)
        .expect("opens");
    other.write_all(b"hi").expect("sent");
    let mut buffer = [0; 8];
    let bytes = port
        .source
        .expect("two ways")
        .read(&mut buffer)
        .expect("read");
    assert_eq!(&buffer[..bytes], b"hi");
}
