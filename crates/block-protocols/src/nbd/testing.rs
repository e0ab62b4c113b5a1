//! A client over any stream: what a node does with a server, without a socket.

use nbd_proto::Command;
use nbd_proto::flags::BASE_ALLOCATION;
use qapi::{Error, Result};

use super::connection::{Ask, Broken, Connection, Failure, Sink};
use super::handshake::{Client, Mode};
use super::wire::{Duplex, Wire};

/// Shakes hands, reads bytes and asks for their status.
///
/// # Errors
/// Whatever the server does wrong, or refuses.
pub async fn session(stream: impl Duplex + 'static, offset: u64, buf: &mut [u8]) -> Result<()> {
    let mut client = Client::start(Wire::Other(Box::new(stream))).await?;
    client.upgrade().await?;
    let chosen = client.choose("", BASE_ALLOCATION).await?;
    let mode = chosen.mode.max(Mode::Simple);
    let connection = Connection::new(client.into_inner(), mode, chosen.context);
    let len = buf.len() as u64;
    let mut ask = Ask {
        command: Command::Read,
        flags: 0,
        offset,
        len,
        payload: &[],
    };
    let read = connection.ask(ask, Sink::Data(offset, buf)).await;
    read.map_err(explain)?;
    let mut extents = Vec::new();
    ask.command = Command::BlockStatus;
    let told = connection.ask(ask, Sink::Extents(&mut extents)).await;
    told.map_err(explain)
}

fn explain(failure: Failure) -> Error {
    match failure {
        Failure::Refused(number) => Error::with_errno("refused", number),
        Failure::Broken(Broken::Lost(why) | Broken::Lied(why)) => Error::new(why.to_string()),
    }
}
