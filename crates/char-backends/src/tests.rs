use std::io::{Read, Write};
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
    let parse = |text| Spec::parse(text).map_err(|error| error.to_string());
    assert_eq!(parse("none"), Ok(None));
    let stdio = |signal| Spec::plain(Kind::Stdio { signal });
    assert_eq!(parse("stdio"), Ok(Some(stdio(true))));
    let shared = Spec {
        mux: true,
        ..stdio(false)
    };
    assert_eq!(parse("mon:stdio"), Ok(Some(shared)));
    let socket = Spec::plain(Kind::Socket(SocketSpec {
        address: Address::Unix("/run/x".into()),
        server: true,
        wait: false,
        telnet: false,
        reconnect_ms: 0,
    }));
    assert_eq!(
        parse("unix:/run/x,server=on,wait=off"),
        Ok(Some(socket.clone()))
    );
    assert_eq!(parse("unix:/run/x,server,nowait"), Ok(Some(socket)));
    for (text, wanted) in [
        ("bogus", "'bogus' is not a valid char driver"),
        ("tcp:foo", "'tcp:foo' is not a valid char driver"),
        (
            "unix:x,wait=off",
            "'wait' option is incompatible with socket in client connect mode",
        ),
        ("unix:x,bogus", "Invalid parameter 'bogus'"),
        ("udp:1:2", "character backend 'udp' is not supported yet"),
    ] {
        assert_eq!(parse(text), Err(wanted.to_owned()));
    }
}

#[test]
fn options_name_backends() {
    let parse = |text: &str| {
        let mut pairs = qapi::opts::split(text, Some("backend"));
        let (_, kind) = pairs.remove(0);
        Spec::from_options(&kind, pairs).map_err(|error| error.to_string())
    };
    let ring = parse("ringbuf,size=16").expect("one");
    assert_eq!(ring.kind, Kind::Ringbuf(16));
    let fd = parse("socket,fd=7,server=on,wait=off").expect("one");
    assert!(matches!(
        fd.kind,
        Kind::Socket(SocketSpec {
            address: Address::Fd(7),
            ..
        })
    ));
    for (text, wanted) in [
        ("foo", "'foo' is not a valid char driver name"),
        ("null,foo=1", "Invalid parameter 'foo'"),
        ("file", "chardev: file: no filename given"),
        ("socket", "Unable to parse FD number "),
        (
            "ringbuf,size=3",
            "size of ringbuf chardev must be power of two",
        ),
        ("pty,mux=foo", "Parameter 'mux' expects 'on' or 'off'"),
    ] {
        assert_eq!(parse(text), Err(wanted.to_owned()));
    }
}

#[test]
fn a_ring_keeps_the_last_bytes() {
    let mut port = opened("ringbuf,size=4");
    port.sink.send(b"abcdef");
    let ring = port.ring.expect("a ring");
    assert_eq!(ring.take(3), b"cde");
    assert_eq!(ring.take(3), b"f");
}

#[test]
fn commands_of_telnet_are_taken_out() {
    let mut filter = telnet::Filter::default();
    let mut bytes = *b"a\xff\xfb\x01b\xff\xffc\xff\xfa\x18x\xff\xf0d\xff";
    let kept = filter.strip(&mut bytes);
    assert_eq!(&bytes[..kept], b"ab\xffcd");
    let mut rest = *b"\xfd\x03e";
    let kept = filter.strip(&mut rest);
    assert_eq!(&rest[..kept], b"e");
}

fn opened(text: &str) -> Port {
    let mut pairs = qapi::opts::split(text, Some("backend"));
    let (_, kind) = pairs.remove(0);
    let spec = Spec::from_options(&kind, pairs).expect("right");
    open(&spec, "label", &|_| {}).expect("opened")
}

fn typed(bytes: &'static [u8]) -> Plain<&'static [u8]> {
    Plain::new(bytes)
}

/// The next bytes of a source.
fn heard(source: &mut dyn Source) -> Vec<u8> {
    let mut buffer = [0; 16];
    loop {
        if let Arrival::Bytes(bytes) = source.next(&mut buffer).expect("more") {
            return buffer[..bytes].to_vec();
        }
    }
}

#[test]
fn keys_after_the_escape_switch_and_leave() {
    let screen = Capture::default();
    let mux = Mux::new(Box::new(screen.clone()), mux::ESCAPE);
    let (first, second, program) = (
        Arc::new(Heard::default()),
        Arc::new(Heard::default()),
        Program::default(),
    );
    let fronts: [Arc<dyn Receiver>; 2] = [second.clone(), first.clone()];
    mux.front().send(b"hello\n");
    let mut source = typed(b"ab\x01\x01\x01ccd\x01b\x01c e\x01h\x01x");
    mux.run(&mut source, &fronts, &program);
    assert_eq!(*first.bytes.lock().expect("whole"), b"ab\x01 e");
    assert_eq!(*second.bytes.lock().expect("whole"), b"cd");
    assert_eq!(*second.breaks.lock().expect("whole"), 1);
    assert!(program.0.load(Ordering::Acquire));
    assert!(screen.text().starts_with("hello\n\n\rC-a h"));
}

#[test]
fn lines_carry_the_time_when_it_is_asked_for() {
    let screen = Capture::default();
    let mux = Mux::new(Box::new(screen.clone()), mux::ESCAPE);
    mux.run(&mut typed(b"\x01t"), &[], &Program::default());
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
    let mut port = open(&spec, "s", &|_| {}).expect("opened");
    let mut source = port.source.take().expect("two ways");
    for word in ["one", "two"] {
        let mut peer = UnixStream::connect(&path).expect("connects");
        peer.write_all(word.as_bytes()).expect("sent");
        assert_eq!(heard(source.as_mut()), word.as_bytes());
        port.sink.send(b"ok");
        let mut answer = [0; 2];
        peer.read_exact(&mut answer).expect("answered");
        assert_eq!(&answer, b"ok");
    }
}

#[test]
fn a_peer_that_is_gone_at_once_ends_no_server() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("s");
    let mut port = opened(&format!(
        "socket,path={},server=on,wait=off,telnet=on",
        path.display()
    ));
    for _ in 0..3 {
        drop(UnixStream::connect(&path).expect("connects"));
    }
    let mut peer = UnixStream::connect(&path).expect("connects");
    peer.write_all(b"here").expect("sent");
    let mut source = port.source.take().expect("two ways");
    assert_eq!(heard(source.as_mut()), b"here");
}

#[test]
fn a_server_takes_away_sockets_only() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("file");
    std::fs::write(&path, "precious").expect("written");
    let text = format!("unix:{},server=on,wait=off", path.display());
    let spec = Spec::parse(&text).expect("right").expect("one");
    let error = open(&spec, "s", &|_| {}).map(|_| ()).expect_err("in use");
    assert!(
        error.to_string().ends_with("Address already in use"),
        "{error}"
    );
    assert_eq!(std::fs::read(&path).expect("there"), b"precious");
}

#[test]
fn a_pseudo_terminal_says_its_name() {
    let mut port = open(&Spec::plain(Kind::Pty), "serial0", &|_| {}).expect("opened");
    let notice = port.notice.take().expect("a name");
    assert!(notice.ends_with("(label serial0)"), "{notice}");
    let name = notice.split(' ').nth(4).expect("a name").to_owned();
    let mut other = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(name)
        .expect("opens");
    other.write_all(b"hi").expect("sent");
    let mut source = port.source.expect("two ways");
    assert_eq!(heard(source.as_mut()), b"hi");
}
