//! A client over any streams: what a node does with a server, without one.

use tokio::io::{AsyncRead, AsyncWrite};

use super::disk::File;
use super::packet::open;
use super::session::Session;

/// Opens a file, reads bytes of it, writes them back and flushes.
///
/// # Errors
/// Whatever the server does wrong, or refuses, in words.
pub async fn session(
    reader: impl AsyncRead + Unpin + Send + 'static,
    writer: impl AsyncWrite + Unpin + Send + 'static,
    offset: u64,
    buf: &mut [u8],
) -> Result<(), String> {
    let session = Session::start(reader, writer).await;
    let session = session.map_err(|broken| format!("{broken:?}"))?;
    let flags = open::READ | open::WRITE;
    let file = File::open(&session, "/disk", flags).await;
    let file = file.map_err(|e| e.message().to_owned())?;
    let work = async {
        file.read(&session, offset, buf).await?;
        file.write(&session, offset, buf).await?;
        file.sync(&session).await
    };
    work.await.map_err(|e| e.to_string())
}
