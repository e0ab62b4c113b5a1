use tokio::io::{DuplexStream, duplex};

use super::*;

const HELLO: [u8; 9] = [0, 0, 0, 5, 2, 0, 0, 0, 3];
const STATUS: u8 = 101;

fn run(test: impl Future<Output = ()>) {
    reactor::run_light(test).unwrap();
}

/// A session and the server's end of it, whose first words have been said.
async fn pair() -> (Session, DuplexStream) {
    let (mine, mut theirs) = duplex(1 << 20);
    theirs.write_all(&HELLO).await.unwrap();
    let (reader, writer) = tokio::io::split(mine);
    let session = Session::start(reader, writer).await.unwrap();
    receive(&mut theirs).await.unwrap();
    (session, theirs)
}

fn status(id: u32, code: u32) -> Vec<u8> {
    let mut packet = vec![0, 0, 0, 9, STATUS];
    packet.extend(id.to_be_bytes());
    packet.extend(code.to_be_bytes());
    packet
}

fn lied(why: &str) -> Broken {
    Broken::lied(why)
}

async fn greeted(words: &[u8]) -> Broken {
    let (mine, mut theirs) = duplex(1 << 10);
    theirs.write_all(words).await.unwrap();
    drop(theirs.shutdown().await);
    let (reader, writer) = tokio::io::split(mine);
    Session::start(reader, writer).await.err().unwrap()
}

#[test]
fn replies_may_come_in_any_order() {
    run(async {
        let (session, mut server) = pair().await;
        let handle = b"h".as_slice();
        let first = session.begin(Request::Fsync { handle }).await.unwrap();
        let second = session.begin(Request::Fsync { handle }).await.unwrap();
        server.write_all(&status(1, 4)).await.unwrap();
        server.write_all(&status(0, 0)).await.unwrap();
        let codes = [first.reply().await, second.reply().await].map(|reply| match reply {
            Ok(Reply::Status { code, .. }) => code,
            other => panic!("{other:?}"),
        });
        assert_eq!(codes, [0, 4]);
    });
}

#[test]
fn a_server_that_dies_ends_all_requests() {
    run(async {
        let (session, server) = pair().await;
        let handle = b"h".as_slice();
        let first = session.begin(Request::Fsync { handle }).await.unwrap();
        drop(server);
        let lost = |broken: Broken| matches!(broken, Broken::Lost(_));
        assert!(first.reply().await.is_err_and(lost));
        assert!(
            session
                .ask(Request::Fsync { handle })
                .await
                .is_err_and(lost)
        );
        assert_eq!(session.room.available_permits(), MOST);
    });
}

#[test]
fn the_first_lie_ends_all_requests_with_its_reason() {
    let asked = "answered what it was not asked";
    let malformed = "sent a packet that is malformed";
    for (words, why) in [
        (status(5, 0), asked),
        ([status(0, 0), status(0, 0)].concat(), asked),
        (vec![0, 0, 0, 1, STATUS], malformed),
        (vec![0, 0, 0, 5, 77, 0, 0, 0, 0], malformed),
        (vec![0; 4], "sent a packet of 0 bytes"),
        (vec![0xff; 4], "sent a packet of 4294967295 bytes"),
    ] {
        run(async {
            let (session, mut server) = pair().await;
            let handle = b"h".as_slice();
            let first = session.begin(Request::Fsync { handle }).await.unwrap();
            server.write_all(&words).await.unwrap();
            // The first may have got its answer before the lie.
            let _ = first.reply().await;
            let second = session.ask(Request::Fsync { handle }).await;
            assert_eq!(second.unwrap_err(), lied(why), "{words:?}");
        });
    }
}

#[test]
fn requests_that_were_given_up_keep_their_room_until_they_are_answered() {
    run(async {
        let (session, mut server) = pair().await;
        let handle = b"h".as_slice();
        for _ in 0..MOST {
            drop(session.begin(Request::Fsync { handle }).await.unwrap());
        }
        assert_eq!(session.room.available_permits(), 0);
        server.write_all(&status(3, 0)).await.unwrap();
        let pending = session.begin(Request::Fsync { handle }).await.unwrap();
        let id = u32::try_from(MOST).unwrap();
        server.write_all(&status(id, 0)).await.unwrap();
        assert!(pending.reply().await.is_ok());
    });
}

#[test]
fn servers_of_other_protocols_are_refused() {
    run(async {
        let older = [0, 0, 0, 5, 2, 0, 0, 0, 2];
        assert_eq!(greeted(&older).await, lied("is of an older version than 3"));
        let banner = greeted(b"Welcome to this host!").await;
        assert_eq!(banner, lied("sent a packet of 1466264675 bytes"));
        let status = greeted(&status(0, 0)).await;
        assert_eq!(status, lied("does not begin with a version"));
        assert!(matches!(greeted(&HELLO[..6]).await, Broken::Lost(_)));
    });
}
