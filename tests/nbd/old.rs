//! The `nbd` crate as client and as server: it knows `EXPORT_NAME` and simple replies only.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;

use house_tests::tools::our_io;
use house_tests::{Scratch, ours, require};

use crate::servers::{Make, Over, Server};

const SIZE: u64 = 2 << 20;

fn disk(scratch: &Scratch) -> File {
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(scratch.path("disk"))
        .expect("a file");
    file.set_len(SIZE).expect("a length");
    file
}

#[test]
fn our_client_and_the_nbd_crates_server() {
    let scratch = Scratch::new();
    let file = disk(&scratch);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("it has one").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(mut stream), Ok(file)) = (stream, file.try_clone()) else {
                return;
            };
            std::thread::spawn(move || {
                let export = |_: &str| {
                    Ok(nbd::Export {
                        size: SIZE,
                        send_flush: true,
                        ..nbd::Export::<()>::default()
                    })
                };
                if nbd::server::handshake(&mut stream, export).is_ok() {
                    // It ends when the client does.
                    let _ = nbd::server::transmission(&mut stream, file);
                }
            });
        }
    });
    // The only name that it lists.
    let uri = format!("nbd://127.0.0.1:{port}/rustnbd");
    let words = [
        "-f",
        "raw",
        "-c",
        "write -P 7 0 1M",
        "-c",
        "write -z 64k 64k",
        "-c",
        "discard 128k 64k",
        "-c",
        "flush",
        "-c",
        "read -P 7 0 64k",
        "-c",
        "read -P 0 64k 64k",
        "-c",
        "read -P 7 128k 64k",
        &uri,
    ];
    let output = our_io().run(scratch.dir(), &words).ok();
    assert!(!output.stdout.contains("failed"), "{}", output.report());
    let info = ours()
        .run(scratch.dir(), &["info", "--output=json", &uri])
        .ok();
    assert_eq!(info.json()["virtual-size"], SIZE);
    let words = ["convert", "-f", "raw", "-O", "raw", &uri, "out"];
    ours().run(scratch.dir(), &words).ok();
    let (disk, out) = (
        std::fs::read(scratch.path("disk")),
        std::fs::read(scratch.path("out")),
    );
    assert!(disk.expect("a file") == out.expect("a file"));
}

#[test]
fn the_nbd_crates_client_and_our_server() {
    let scratch = Scratch::new();
    disk(&scratch);
    let server = require!(Server::start(
        Make::Ours,
        Over::Unix,
        &scratch,
        None,
        "disk"
    ));
    let mut stream = UnixStream::connect(&server.socket).expect("it listens");
    let export = nbd::client::handshake(&mut stream, b"").expect("a handshake");
    assert_eq!((export.size, export.readonly), (SIZE, false));
    let mut client = nbd::client::NbdClient::new(&mut stream, &export);
    client.seek(SeekFrom::Start(4096)).expect("a place");
    client.write_all(&[9; 8192]).expect("a write");
    client.flush().expect("a flush");
    client.seek(SeekFrom::Start(0)).expect("a place");
    let mut read = vec![1; 16384];
    client.read_exact(&mut read).expect("a read");
    assert!(read[..4096].iter().all(|b| *b == 0));
    assert!(read[4096..12288].iter().all(|b| *b == 9));
    assert!(read[12288..].iter().all(|b| *b == 0));
}

/// An oldstyle server: everything it tells comes at once.
#[test]
fn our_client_and_an_oldstyle_server() {
    let scratch = Scratch::new();
    let file = disk(&scratch);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("it has one").port();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let serve = |stream: &mut TcpStream| -> std::io::Result<()> {
                nbd::server::oldstyle_header(&mut *stream, SIZE, 5)?;
                nbd::server::transmission(stream, file.try_clone()?)
            };
            // It ends when the client does.
            let _ = serve(&mut stream);
        }
    });
    let uri = format!("nbd://127.0.0.1:{port}");
    let words = [
        "-f",
        "raw",
        "-c",
        "write -P 7 0 1M",
        "-c",
        "read -P 7 0 1M",
        &uri,
    ];
    let output = our_io().run(scratch.dir(), &words).ok();
    assert!(!output.stdout.contains("failed"), "{}", output.report());
    let named = format!("{uri}/name");
    let refused = ours().run(scratch.dir(), &["info", &named]).expect_code(1);
    let words = "Server does not support non-empty export names";
    assert!(refused.stderr.contains(words), "{}", refused.stderr);
}
