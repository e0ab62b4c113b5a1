use nbd_proto::{ChunkHead, SimpleReply, chunk, encode_chunk_head};
use tokio::io::{AsyncReadExt, DuplexStream, duplex};

use super::*;

/// A server's end of a connection in memory.
struct Server(DuplexStream);

fn pair(mode: Mode) -> (Arc<Connection>, Server) {
    let (mine, theirs) = duplex(1 << 20);
    let wire = Wire::Other(Box::new(mine));
    (
        Arc::new(Connection::new(wire, mode, Some(5))),
        Server(theirs),
    )
}

fn run(test: impl Future<Output = ()>) {
    reactor::run_light(test).unwrap();
}

impl Server {
    async fn request(&mut self) -> Request {
        let mut head = [0; Request::HEAD];
        self.0.read_exact(&mut head).await.unwrap();
        Request::decode(&head, false).unwrap()
    }

    async fn simple(&mut self, cookie: u64, payload: &[u8]) {
        let reply = SimpleReply { error: 0, cookie };
        self.0.write_all(&reply.encode()).await.unwrap();
        self.0.write_all(payload).await.unwrap();
    }

    async fn data(&mut self, cookie: u64, offset: u64, payload: &[u8], done: bool) {
        let mut out = Vec::new();
        let head = ChunkHead {
            done,
            kind: chunk::OFFSET_DATA,
            cookie,
            len: payload.len() as u64 + 8,
        };
        encode_chunk_head(&head, false, 0, &mut out);
        out.extend(offset.to_be_bytes());
        out.extend(payload);
        self.0.write_all(&out).await.unwrap();
    }
}

/// Starts a read beside the test.
fn read(
    connection: &Arc<Connection>,
    offset: u64,
    len: usize,
) -> tokio::task::JoinHandle<Result<Vec<u8>, Failure>> {
    let connection = Arc::clone(connection);
    tokio::spawn(async move {
        let mut buf = vec![0; len];
        let ask = Ask {
            command: Command::Read,
            flags: 0,
            offset,
            len: len as u64,
            payload: &[],
        };
        connection.ask(ask, Sink::Data(offset, &mut buf)).await?;
        Ok(buf)
    })
}

#[test]
fn replies_in_any_order_reach_those_who_asked() {
    run(async {
        let (connection, mut server) = pair(Mode::Simple);
        let reads: Vec<_> = (0..8).map(|n| read(&connection, n * 100, 10)).collect();
        let mut asked = Vec::new();
        for _ in 0..8 {
            asked.push(server.request().await);
        }
        for request in asked.iter().rev() {
            let byte = u8::try_from(request.offset / 100).unwrap();
            server.simple(request.cookie, &[byte; 10]).await;
        }
        for (n, read) in (0..).zip(reads) {
            assert_eq!(read.await.unwrap().unwrap(), [n; 10]);
        }
    });
}

#[test]
fn parts_of_replies_may_take_turns() {
    run(async {
        let (connection, mut server) = pair(Mode::Structured);
        let (one, two) = (read(&connection, 0, 8), read(&connection, 100, 8));
        let (a, b) = (server.request().await, server.request().await);
        let byte = |r: &Request| u8::try_from(r.offset).unwrap() + 1;
        for (at, done) in [(4, false), (0, true)] {
            for request in [&a, &b] {
                let offset = request.offset + at;
                let payload = [byte(request); 4];
                server.data(request.cookie, offset, &payload, done).await;
            }
        }
        assert_eq!(one.await.unwrap().unwrap(), [1; 8]);
        assert_eq!(two.await.unwrap().unwrap(), [101; 8]);
    });
}

#[test]
fn a_request_that_was_given_up_is_skipped() {
    run(async {
        let (connection, mut server) = pair(Mode::Structured);
        let given_up = read(&connection, 0, 100_000);
        let first = server.request().await;
        // Half of its bytes come before it is given up.
        let payload = vec![7; 50_000];
        server.data(first.cookie, 0, &payload, false).await;
        tokio::task::yield_now().await;
        given_up.abort();
        assert!(given_up.await.is_err());
        let next = read(&connection, 5, 4);
        let second = server.request().await;
        server.data(first.cookie, 50_000, &payload, true).await;
        server.data(second.cookie, 5, &[9; 4], true).await;
        assert_eq!(next.await.unwrap().unwrap(), [9; 4]);
        assert!(connection.broken().is_none());
        assert_eq!(connection.room.available_permits(), MOST);
    });
}

#[test]
fn requests_under_way_are_bounded() {
    run(async {
        let (connection, mut server) = pair(Mode::Simple);
        let reads: Vec<_> = (0..MOST as u64 + 1)
            .map(|n| read(&connection, n, 1))
            .collect();
        let mut asked = Vec::new();
        for _ in 0..MOST {
            asked.push(server.request().await);
        }
        let mut byte = [0; 1];
        let more = server.0.read_exact(&mut byte);
        let pause = std::time::Duration::from_millis(50);
        assert!(tokio::time::timeout(pause, more).await.is_err());
        for request in asked {
            server.simple(request.cookie, &[1]).await;
        }
        let last = server.request().await;
        server.simple(last.cookie, &[1]).await;
        for read in reads {
            assert_eq!(read.await.unwrap().unwrap(), [1]);
        }
    });
}

#[test]
fn all_fail_when_the_server_leaves() {
    run(async {
        let (connection, mut server) = pair(Mode::Simple);
        let reads: Vec<_> = (0..4).map(|n| read(&connection, n, 1)).collect();
        server.request().await;
        drop(server);
        for read in reads {
            let failed = read.await.unwrap().unwrap_err();
            assert!(matches!(failed, Failure::Broken(Broken::Lost(_))));
        }
        assert!(connection.broken().is_some());
    });
}

#[test]
fn a_good_bye_is_said() {
    run(async {
        let (connection, mut server) = pair(Mode::Simple);
        drop(connection);
        assert_eq!(server.request().await.command, Command::Disconnect);
    });
}
