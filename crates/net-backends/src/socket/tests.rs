use std::time::{Duration, Instant};

use super::*;

fn wait(end: &mut Socket) -> Vec<u8> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(20) {
        if let Some(frame) = end.receive() {
            return frame;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("no frame came");
}

fn listener() -> (Socket, SocketAddr) {
    let Opened::Listen(listener) = open(&Spec::Listen("127.0.0.1:0".to_owned())).expect("open")
    else {
        panic!("a listener");
    };
    let at = listener.local_addr().expect("bound");
    let end = Socket::start(Opened::Listen(listener), Wake::nobody()).expect("threads");
    (end, at)
}

fn connected(at: SocketAddr) -> Socket {
    let opened = open(&Spec::Connect(at.to_string())).expect("someone listens");
    Socket::start(opened, Wake::nobody()).expect("threads")
}

#[test]
fn frames_go_both_ways_over_a_stream() {
    let (mut first, at) = listener();
    let mut second = connected(at);
    second.send(b"to the listener");
    assert_eq!(wait(&mut first), b"to the listener");
    first.send(&[7; 60_000]);
    first.send(b"short");
    assert_eq!(wait(&mut second).len(), 60_000);
    assert_eq!(wait(&mut second), b"short");
}

#[test]
fn a_listener_takes_the_next_end_when_one_breaks_the_rules() {
    let (mut first, at) = listener();
    let mut liar = TcpStream::connect(at).expect("someone listens");
    liar.write_all(&[0xff; 8]).expect("written");
    let mut honest = connected(at);
    honest.send(b"after the liar");
    assert_eq!(wait(&mut first), b"after the liar");
}

#[test]
fn datagrams_go_both_ways() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bound");
    let other = UdpSocket::bind("127.0.0.1:0").expect("bound");
    let (at, there) = (socket.local_addr().unwrap(), other.local_addr().unwrap());
    let mut first = Socket::start(Opened::Datagram(socket, there), Wake::nobody()).unwrap();
    let mut second = Socket::start(Opened::Datagram(other, at), Wake::nobody()).unwrap();
    first.send(b"hello");
    assert_eq!(wait(&mut second), b"hello");
    second.send(b"and back");
    assert_eq!(wait(&mut first), b"and back");
}

#[test]
fn addresses_without_a_host_have_the_usual_one() {
    assert_eq!(
        address(":80", "0.0.0.0").unwrap(),
        "0.0.0.0:80".parse().unwrap()
    );
    assert!(address("nonsense", "0.0.0.0").is_err());
}
