//! Servers of all makes.

use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use house_tests::run::until;
use house_tests::tools::{our_nbd, program, qemu_nbd};
use house_tests::{Scratch, Tool};

use crate::certificates::Certificates;

/// Who serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Make {
    Ours,
    Qemu,
    /// `nbdkit`, with chunks or without.
    Nbdkit {
        chunks: bool,
    },
}

/// What a connection runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    Unix,
    Tcp,
    Tls,
}

/// All servers that can be there.
pub(crate) const MAKES: [Make; 4] = [
    Make::Ours,
    Make::Qemu,
    Make::Nbdkit { chunks: true },
    Make::Nbdkit { chunks: false },
];

/// A running server.
pub(crate) struct Server {
    child: Child,
    over: Over,
    pub(crate) port: u16,
    pub(crate) socket: PathBuf,
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("it has one").port()
}

fn maker(make: Make) -> Result<Tool, String> {
    match make {
        Make::Ours => Ok(our_nbd()),
        Make::Qemu => qemu_nbd(),
        Make::Nbdkit { .. } => program("nbdkit", "nbdkit"),
    }
}

impl Server {
    /// Serves a raw file.
    pub(crate) fn start(
        make: Make,
        over: Over,
        scratch: &Scratch,
        certificates: Option<&Certificates>,
        file: &str,
    ) -> Result<Self, String> {
        Self::start_with(make, over, scratch, certificates, &[], file)
    }

    /// The same with more options.
    pub(crate) fn start_with(
        make: Make,
        over: Over,
        scratch: &Scratch,
        certificates: Option<&Certificates>,
        more: &[&str],
        file: &str,
    ) -> Result<Self, String> {
        let tool = maker(make)?;
        let port = free_port();
        let socket = scratch.path(&format!("s{port}"));
        let (port_word, socket_word) = (port.to_string(), socket.to_string_lossy().into_owned());
        let dir = certificates.map(|c| c.server.to_string_lossy().into_owned());
        let dir = dir.unwrap_or_default();
        let mut words: Vec<String> = Vec::new();
        let mut add = |all: &[&str]| words.extend(all.iter().map(|w| (*w).to_owned()));
        let kit = matches!(make, Make::Nbdkit { .. });
        if kit {
            add(&["-f", "-e", "", "-t", "8"]);
        } else {
            add(&["-t", "-e", "16", "-f", "raw", "--discard=unmap"]);
        }
        match (over, kit) {
            (Over::Unix, false) => add(&["-k", &socket_word]),
            (Over::Unix, true) => add(&["-U", &socket_word]),
            (_, false) => add(&["-b", "127.0.0.1", "-p", &port_word]),
            (_, true) => add(&["-i", "127.0.0.1", "-p", &port_word]),
        }
        let object = format!("tls-creds-x509,id=t,endpoint=server,dir={dir}");
        match (over, kit) {
            (Over::Tls, false) => add(&["--object", &object, "--tls-creds", "t"]),
            (Over::Tls, true) => add(&[
                "--tls=require",
                "--tls-verify-peer",
                &format!("--tls-certificates={dir}"),
            ]),
            _ => {}
        }
        if make == (Make::Nbdkit { chunks: false }) {
            add(&["--no-sr"]);
        }
        add(more);
        if kit {
            add(&["file"]);
        }
        add(&[file]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let child = tool
            .command(scratch.dir(), &words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| e.to_string())?;
        let mut server = Self {
            child,
            over,
            port,
            socket,
        };
        server.wait();
        Ok(server)
    }

    fn wait(&mut self) {
        let answers = until(Duration::from_secs(30), || {
            let ended = self.child.try_wait().expect("it can be asked");
            assert!(ended.is_none(), "the server ended: {ended:?}");
            self.answers().then_some(())
        });
        answers.expect("a server");
    }

    fn answers(&self) -> bool {
        match self.over {
            Over::Unix => UnixStream::connect(&self.socket).is_ok(),
            _ => TcpStream::connect(("127.0.0.1", self.port)).is_ok(),
        }
    }

    /// How libnbd names it.
    pub(crate) fn uri(&self, certificates: Option<&Certificates>) -> String {
        match self.over {
            Over::Unix => format!("nbd+unix:///?socket={}", self.socket.display()),
            Over::Tcp => format!("nbd://127.0.0.1:{}/", self.port),
            Over::Tls => {
                let dir = certificates.map(|c| c.client.display().to_string());
                let dir = dir.unwrap_or_default();
                format!("nbds://127.0.0.1:{}/?tls-certificates={dir}", self.port)
            }
        }
    }

    /// The words that make QEMU's tools and ours open it.
    pub(crate) fn words(&self, creds: Option<&Path>) -> Vec<String> {
        let mut words = Vec::new();
        let mut options = match self.over {
            Over::Unix => format!("driver=nbd,path={}", self.socket.display()),
            _ => format!("driver=nbd,host=127.0.0.1,port={}", self.port),
        };
        if self.over == Over::Tls {
            let dir = creds.map(|c| c.display().to_string()).unwrap_or_default();
            words.push("--object".to_owned());
            words.push(format!("tls-creds-x509,id=t,endpoint=client,dir={dir}"));
            options.push_str(",tls-creds=t");
        }
        words.extend(["--image-opts".to_owned(), options]);
        words
    }

    /// Ends it as a service manager would; its exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        self.child.wait().expect("it ends").code()
    }

    /// Ends it without a word.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
