use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

const LEN: usize = 100_000;

fn content() -> Vec<u8> {
    (0..LEN).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

fn run(test: impl Future<Output = ()>) {
    reactor::run_light(test).unwrap();
}

fn packet(kind: u8, id: &[u8], fields: &[u8]) -> Vec<u8> {
    let len = u32::try_from(1 + id.len() + fields.len()).unwrap();
    [&len.to_be_bytes()[..], &[kind], id, fields].concat()
}

fn data(bytes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).unwrap();
    [&len.to_be_bytes()[..], bytes].concat()
}

/// What a server does with a read of this offset and length: kind and fields of the reply.
type Reading = fn(usize, usize) -> (u8, Vec<u8>);

/// A server with one file that reads as it likes.
async fn serve(mut stream: DuplexStream, reading: Reading) {
    while let Ok(len) = stream.read_u32().await {
        let mut request = vec![0; usize::try_from(len).unwrap()];
        stream.read_exact(&mut request).await.unwrap();
        let id = request.get(1..5).unwrap_or_default();
        let reply = match request[0] {
            1 => packet(2, &[], &3_u32.to_be_bytes()),
            3 => packet(102, id, &data(b"h")),
            8 => {
                let size = (LEN as u64).to_be_bytes();
                packet(105, id, &[&[0, 0, 0, 1][..], &size].concat())
            }
            5 => {
                let field = |at: usize, len: usize| {
                    let bytes = request[at..at + len].iter();
                    bytes.fold(0, |n, byte| n << 8 | usize::from(*byte))
                };
                let (kind, fields) = reading(field(10, 8), field(18, 4));
                packet(kind, id, &fields)
            }
            _ => packet(101, id, &4_u32.to_be_bytes()),
        };
        if stream.write_all(&reply).await.is_err() {
            return;
        }
    }
}

fn honest(offset: usize, len: usize) -> (u8, Vec<u8>) {
    if offset >= LEN {
        return (101, 1_u32.to_be_bytes().to_vec());
    }
    (103, data(&content()[offset..LEN.min(offset + len)]))
}

async fn opened(reading: Reading) -> (Session, File) {
    let (mine, theirs) = duplex(1 << 20);
    tokio::spawn(serve(theirs, reading));
    let (reader, writer) = tokio::io::split(mine);
    let session = Session::start(reader, writer).await.unwrap();
    let file = File::open(&session, "/x", open::READ).await.unwrap();
    (session, file)
}

async fn read(reading: Reading, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let (session, file) = opened(reading).await;
    let mut buf = vec![0xaa; len];
    file.read(&session, offset, &mut buf).await.map(|()| buf)
}

#[test]
fn what_is_past_the_end_reads_as_zeroes() {
    run(async {
        let mut wanted = content();
        wanted.resize(LEN + 50_000, 0);
        assert!(read(honest, 0, LEN + 50_000).await.unwrap() == wanted);
        assert!(read(honest, 7, LEN).await.unwrap() == wanted[7..LEN + 7]);
        assert!(read(honest, LEN as u64, 9).await.unwrap() == [0; 9]);
    });
}

#[test]
fn short_reads_go_on() {
    run(async {
        let short: Reading = |offset, len| honest(offset, len.min(1009));
        assert!(read(short, 0, LEN).await.unwrap() == content());
    });
}

#[test]
fn lying_reads_are_errors() {
    let lies: [(Reading, &str); 4] = [
        (|_, _| (103, data(&[])), "reads another length than asked"),
        (
            |_, len| (103, data(&vec![1; len + 1])),
            "reads another length than asked",
        ),
        (
            |_, _| (102, data(b"h")),
            "answers something else than asked",
        ),
        (
            |_, _| (101, vec![0; 4]),
            "answers something else than asked",
        ),
    ];
    for (lie, why) in lies {
        run(async {
            let error = read(lie, 0, 512).await.unwrap_err();
            assert_eq!(error.to_string(), format!("the SFTP server {why}"));
        });
    }
}

#[test]
fn refusals_are_errors_and_the_session_goes_on() {
    run(async {
        let refusing: Reading = |offset, len| match offset {
            0 => (101, 3_u32.to_be_bytes().to_vec()),
            _ => honest(offset, len),
        };
        let (session, file) = opened(refusing).await;
        let mut buf = [0; 8];
        let refused = file.read(&session, 0, &mut buf).await.unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(EACCES));
        let written = file.write(&session, 0, &buf).await.unwrap_err();
        assert_eq!(written.raw_os_error(), Some(EIO));
        file.read(&session, 8, &mut buf).await.unwrap();
        assert_eq!(buf, content()[8..16]);
    });
}

#[test]
fn many_reads_side_by_side_get_their_own_bytes() {
    run(async {
        let (session, file) = opened(honest).await;
        let shared = Arc::new((session, file));
        let tasks = (0..40).map(|n| {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                let mut buf = vec![0; 40_000];
                shared.1.read(&shared.0, n * 1000, &mut buf).await.unwrap();
                (n, buf)
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            let (n, buf) = task.await.unwrap();
            let start = usize::try_from(n * 1000).unwrap();
            assert!(buf == content()[start..start + 40_000]);
        }
    });
}
