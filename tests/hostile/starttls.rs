//! Row 12: what somebody in the middle puts in front of TLS must not count inside of it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use house_tests::run::until;
use house_tests::tools::{find, our_nbd};
use house_tests::{Scratch, require};

/// A server with TLS.
struct Server {
    child: Child,
    port: u16,
    _scratch: Scratch,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn certificates(scratch: &Scratch) -> Result<(), String> {
    find("openssl", "openssl")?;
    let words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout server-key.pem \
                 -out server-cert.pem -days 30 -subj /CN=host";
    let output = Command::new("openssl")
        .args(words.split_whitespace())
        .current_dir(scratch.dir())
        .output()
        .map_err(|e| e.to_string())?;
    if !output.status.success() {
        return Err("openssl makes no certificate".to_owned());
    }
    let from = scratch.path("server-cert.pem");
    std::fs::copy(from, scratch.path("ca-cert.pem")).map_err(|e| e.to_string())?;
    Ok(())
}

fn server() -> Result<Server, String> {
    let scratch = Scratch::new();
    certificates(&scratch)?;
    let file = std::fs::File::create(scratch.path("disk")).map_err(|e| e.to_string())?;
    file.set_len(1 << 20).map_err(|e| e.to_string())?;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
    let port = listener.local_addr().map_err(|e| e.to_string())?.port();
    drop(listener);
    let object = format!(
        "tls-creds-x509,id=t,endpoint=server,verify-peer=off,sanity-check=off,dir={}",
        scratch.dir().display()
    );
    let port_word = port.to_string();
    let words = [
        "-t",
        "-f",
        "raw",
        "-b",
        "127.0.0.1",
        "-p",
        &port_word,
        "--object",
        &object,
        "--tls-creds",
        "t",
        "disk",
    ];
    let child = our_nbd()
        .command(scratch.dir(), &words)
        .stdin(Stdio::null())
        .spawn()
        .map_err(|e| e.to_string())?;
    Ok(Server {
        child,
        port,
        _scratch: scratch,
    })
}

fn connect(server: &Server) -> TcpStream {
    let connect = || TcpStream::connect(("127.0.0.1", server.port)).ok();
    let mut stream = until(Duration::from_secs(30), connect).expect("a server");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a time");
    let mut greeting = [0; 18];
    stream.read_exact(&mut greeting).expect("a greeting");
    stream.write_all(&[0, 0, 0, 3]).expect("flags");
    stream
}

fn option(number: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = b"IHAVEOPT".to_vec();
    out.extend(number.to_be_bytes());
    out.extend(u32::try_from(payload.len()).expect("small").to_be_bytes());
    out.extend(payload);
    out
}

/// The kind of reply, and its text.
fn answer(stream: &mut TcpStream) -> (u32, String) {
    let mut head = [0; 20];
    stream.read_exact(&mut head).expect("a reply");
    let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let mut text = vec![0; word(16) as usize];
    stream.read_exact(&mut text).expect("its text");
    (word(12), String::from_utf8_lossy(&text).into_owned())
}

const TLS_REQUIRED: u32 = (1 << 31) + 5;

#[test]
fn cve_2021_3716_nothing_can_be_agreed_on_before_tls() {
    let server = require!(server());
    let mut stream = connect(&server);
    for number in [3, 6, 7, 8, 9, 10, 11] {
        stream.write_all(&option(number, &[])).expect("it reads");
        let words = format!("Option {number:#x} not permitted before TLS");
        assert_eq!(answer(&mut stream), (TLS_REQUIRED, words));
    }
    // What cannot be refused is the end.
    stream.write_all(&option(1, &[])).expect("it reads");
    assert_eq!(stream.read(&mut [0; 64]).unwrap_or(0), 0);
}

#[test]
fn cve_2021_3716_bytes_behind_the_request_for_tls_end_the_connection() {
    let server = require!(server());
    for behind in [
        option(8, &[]),
        option(10, &[0; 8]),
        vec![0x16],
        vec![0; 4096],
    ] {
        let mut stream = connect(&server);
        let mut bytes = option(5, &[]);
        bytes.extend(&behind);
        stream.write_all(&bytes).expect("it reads");
        assert_eq!(answer(&mut stream).0, 1);
        stream.shutdown(std::net::Shutdown::Write).expect("a half");
        // At most an alert of TLS comes, never a reply to what was put in.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.len() <= 64, "{} bytes came", rest.len());
        assert!(
            !rest
                .windows(8)
                .any(|w| w == 0x0003_e889_0455_65a9_u64.to_be_bytes())
        );
    }
}
