//! `-netdev socket`: a wire between machines.
//!
//! ```text
//! listen=[HOST]:PORT      waits for the other end; after it has gone, for the next
//! connect=HOST:PORT       goes to the other end
//! mcast=GROUP:PORT[,localaddr=ADDR]     a hub of all who join
//! udp=HOST:PORT,localaddr=HOST:PORT     datagrams to one other end
//!
//! stream:   { length u32 big endian, frame } *
//! datagram: the frame
//! ```
//! Threads carry frames between the socket and two bounded queues; what finds no room is lost, as on a wire.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{
    Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, ToSocketAddrs, UdpSocket,
};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use backend_core::Wake;
use backend_core::net::{MOST_FRAME, Network};
use rustix::net::{AddressFamily, SocketType, sockopt};

#[cfg(test)]
mod tests;

/// Frames that wait in each direction at most.
const QUEUE: usize = 256;
/// How long to rest when no other end could be taken in.
const PAUSE: Duration = Duration::from_millis(100);

/// What to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spec {
    /// Wait for the other end.
    Listen(String),
    /// Go to the other end.
    Connect(String),
    /// Join a group, by the interface of an address.
    Multicast(String, Option<Ipv4Addr>),
    /// Datagrams: to where, and from where.
    Datagram(String, String),
}

/// A socket that is open, without a machine yet.
#[derive(Debug)]
pub enum Opened {
    /// Listens.
    Listen(TcpListener),
    /// Is connected.
    Connect(TcpStream),
    /// Sends to this address.
    Datagram(UdpSocket, SocketAddr),
}

/// Opens a socket.
///
/// # Errors
/// The address is none, is in use, or nobody is there.
pub fn open(spec: &Spec) -> io::Result<Opened> {
    match spec {
        Spec::Listen(at) => TcpListener::bind(address(at, "0.0.0.0")?).map(Opened::Listen),
        Spec::Connect(to) => TcpStream::connect(address(to, "127.0.0.1")?).map(Opened::Connect),
        Spec::Multicast(group, local) => {
            let SocketAddr::V4(group) = address(group, "")? else {
                return Err(io::Error::from(io::ErrorKind::InvalidInput));
            };
            multicast(group, local.unwrap_or(Ipv4Addr::UNSPECIFIED))
        }
        Spec::Datagram(to, from) => {
            let socket = UdpSocket::bind(address(from, "0.0.0.0")?)?;
            Ok(Opened::Datagram(socket, address(to, "127.0.0.1")?))
        }
    }
}

/// `HOST:PORT`, where an empty host stands for `usual`.
fn address(text: &str, usual: &str) -> io::Result<SocketAddr> {
    let whole = match text.strip_prefix(':') {
        Some(port) => format!("{usual}:{port}"),
        None => text.to_owned(),
    };
    let mut found = whole.to_socket_addrs()?;
    found
        .next()
        .ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))
}

fn multicast(group: SocketAddrV4, local: Ipv4Addr) -> io::Result<Opened> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    // Other members may be on this host.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &group)?;
    let socket = UdpSocket::from(socket);
    socket.join_multicast_v4(group.ip(), &local)?;
    socket.set_multicast_loop_v4(true)?;
    Ok(Opened::Datagram(socket, SocketAddr::V4(group)))
}

/// Frames that came, and whom to tell.
struct Incoming {
    frames: Mutex<VecDeque<Vec<u8>>>,
    wake: Wake,
}

impl Incoming {
    fn put(&self, frame: Vec<u8>) {
        let mut frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        if frames.len() < QUEUE {
            frames.push_back(frame);
            drop(frames);
            self.wake.wake();
        }
    }
}

/// An end whose threads run.
pub struct Socket {
    incoming: Arc<Incoming>,
    outgoing: SyncSender<Vec<u8>>,
}

impl Socket {
    /// Starts the threads; they end with the program, or when this is dropped and nothing more comes.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(opened: Opened, wake: Wake) -> io::Result<Self> {
        let incoming = Arc::new(Incoming {
            frames: Mutex::default(),
            wake,
        });
        let (outgoing, queue) = sync_channel(QUEUE);
        match opened {
            Opened::Datagram(socket, to) => {
                let reader = socket.try_clone()?;
                let into = Arc::clone(&incoming);
                spawn(move || read_datagrams(&reader, &into))?;
                spawn(move || write_datagrams(&socket, to, &queue))?;
            }
            Opened::Connect(stream) => {
                let stream = Arc::new(stream);
                let peer = Mutex::new(Some(Arc::clone(&stream)));
                let into = Arc::clone(&incoming);
                spawn(move || {
                    let ended = read_stream(&stream, &into);
                    tracing::warn!(?ended, "the other end of a network socket is gone");
                })?;
                spawn(move || write_stream(&peer, &queue))?;
            }
            Opened::Listen(listener) => {
                let peer = Arc::new(Mutex::new(None));
                let (into, writer) = (Arc::clone(&incoming), Arc::clone(&peer));
                spawn(move || accept(&listener, &writer, &into))?;
                spawn(move || write_stream(&peer, &queue))?;
            }
        }
        Ok(Self { incoming, outgoing })
    }
}

impl Network for Socket {
    fn send(&mut self, frame: &[u8]) {
        if frame.len() <= MOST_FRAME {
            // Lost when the other end does not keep up.
            let _ = self.outgoing.try_send(frame.to_vec());
        }
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        let frames = self.incoming.frames.lock();
        frames.unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

fn spawn(run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new()
        .name("netdev".to_owned())
        .spawn(run)
        .map(drop)
}

type Peer = Mutex<Option<Arc<TcpStream>>>;

fn set_peer(peer: &Peer, stream: Option<Arc<TcpStream>>) {
    *peer.lock().unwrap_or_else(PoisonError::into_inner) = stream;
}

/// One other end at a time.
fn accept(listener: &TcpListener, peer: &Peer, into: &Incoming) {
    loop {
        let Ok((stream, _)) = listener.accept() else {
            // One that gave up, or no room for one more descriptor: the next may come.
            thread::sleep(PAUSE);
            continue;
        };
        let stream = Arc::new(stream);
        set_peer(peer, Some(Arc::clone(&stream)));
        let ended = read_stream(&stream, into);
        tracing::debug!(?ended, "the other end of a network socket is gone");
        set_peer(peer, None);
    }
}

/// Reads frames until the other end goes, or says a length that no frame has.
fn read_stream(mut stream: &TcpStream, into: &Incoming) -> io::Result<()> {
    // Frames are small and answered: each is to leave at once.
    stream.set_nodelay(true)?;
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > MOST_FRAME {
            stream.shutdown(std::net::Shutdown::Both)?;
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        let mut frame = vec![0; length];
        stream.read_exact(&mut frame)?;
        into.put(frame);
    }
}

fn write_stream(peer: &Peer, queue: &Receiver<Vec<u8>>) {
    while let Ok(frame) = queue.recv() {
        let stream = peer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(stream) = stream else { continue };
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let message = [&length.to_be_bytes()[..], &frame].concat();
        // The reader notices an end that is gone.
        let _ = (&*stream).write_all(&message);
    }
}

fn read_datagrams(socket: &UdpSocket, into: &Incoming) {
    let mut buffer = vec![0; MOST_FRAME];
    loop {
        match socket.recv(&mut buffer) {
            Ok(bytes) => into.put(buffer[..bytes].to_vec()),
            // An answer to what was sent to nobody.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(_) => return,
        }
    }
}

fn write_datagrams(socket: &UdpSocket, to: SocketAddr, queue: &Receiver<Vec<u8>>) {
    while let Ok(frame) = queue.recv() {
        // Lost frames are the network's own.
        let _ = socket.send_to(&frame, to);
    }
}
