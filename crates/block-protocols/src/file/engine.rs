//! Who makes the requests on a host file: the caller's own thread, a pool of threads, or the kernel's ring.
//!
//! ```text
//! aio=              cache in use     around it (O_DIRECT)
//! (nothing)         inline           ring, else threads
//! threads           threads          threads
//! native, io_uring  ring, else threads
//! ```
//!
//! Kernels and sandboxes without rings are common; that is no error, threads do the same. Requests that leave the caller's
//! thread work on memory of their own: a caller may give a request up at any time, and its buffer with it.

use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use block_core::Aio;
use sys::aligned::Aligned;
use sys::uring::{Op, Ring};
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::io::HostFile;

/// Requests that the kernel takes at once; more wait.
const DEPTH: u32 = 128;

/// Longest single request in bytes; longer ones are cut.
const MAX_REQUEST: usize = 1 << 20;

/// How requests are made.
pub(super) enum Engine {
    Inline,
    Threads,
    Ring(Driven),
}

/// A ring and the task that tends it.
pub(super) struct Driven {
    ring: Arc<Ring>,
    /// There are requests to be handed over.
    asked: Arc<Notify>,
    driver: JoinHandle<()>,
}

impl Drop for Driven {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Engine {
    /// The engine that serves best what the options ask for.
    pub(super) fn new(host: &HostFile, aio: Option<Aio>) -> Self {
        let in_runtime = tokio::runtime::Handle::try_current().is_ok();
        let wanted = match aio {
            None if host.direct_align <= 1 => return Self::Inline,
            _ if !in_runtime => return Self::Inline,
            Some(Aio::Threads) => return Self::Threads,
            None | Some(Aio::Native | Aio::IoUring) => Driven::start(host),
        };
        match wanted {
            Ok(driven) => Self::Ring(driven),
            Err(error) => {
                tracing::debug!(%error, file = host.name, "no io_uring here, threads are used");
                Self::Threads
            }
        }
    }

    pub(super) fn is_inline(&self) -> bool {
        matches!(self, Self::Inline)
    }

    /// Fills `buf`; past the end of the file there are zeroes.
    pub(super) async fn read(
        &self,
        host: &Arc<HostFile>,
        mut offset: u64,
        buf: &mut [u8],
    ) -> io::Result<()> {
        for piece in buf.chunks_mut(MAX_REQUEST) {
            let memory = host.memory.take(piece.len());
            let (result, memory) = match self {
                Self::Inline => return host.read(offset, buf),
                Self::Threads => {
                    on_thread(host, memory, move |host, memory| {
                        host.read(offset, memory.bytes_mut())
                    })
                    .await
                }
                Self::Ring(driven) => driven.read(host, offset, memory).await,
            };
            if result.is_ok() {
                piece.copy_from_slice(memory.bytes());
            }
            host.memory.give(memory);
            result?;
            offset += piece.len() as u64;
        }
        Ok(())
    }

    /// Writes `buf`.
    pub(super) async fn write(
        &self,
        host: &Arc<HostFile>,
        mut offset: u64,
        buf: &[u8],
    ) -> io::Result<()> {
        for piece in buf.chunks(MAX_REQUEST) {
            let mut memory = host.memory.take(piece.len());
            memory.bytes_mut().copy_from_slice(piece);
            let (result, memory) = match self {
                Self::Inline => return host.write(offset, buf),
                Self::Threads => {
                    on_thread(host, memory, move |host, memory| {
                        host.write(offset, memory.bytes())
                    })
                    .await
                }
                Self::Ring(driven) => driven.write(host, offset, memory).await,
            };
            host.memory.give(memory);
            result?;
            offset += piece.len() as u64;
        }
        Ok(())
    }

    /// Brings what was written to the disk.
    pub(super) async fn sync(&self, host: &Arc<HostFile>) -> io::Result<()> {
        match self {
            Self::Inline | Self::Threads => self.run(host, |host| host.sync()).await,
            Self::Ring(driven) => {
                if !host.must_sync()? {
                    return Ok(());
                }
                let (result, _) = driven.request(Op::Sync, Aligned::default()).await;
                host.synced(result.map(|_| ()))
            }
        }
    }

    /// Does something without data, where requests are made.
    pub(super) async fn run(
        &self,
        host: &Arc<HostFile>,
        work: impl FnOnce(&HostFile) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        match self {
            Self::Inline => work(host),
            Self::Threads | Self::Ring(_) => {
                on_thread(host, Aligned::default(), move |host, _| work(host))
                    .await
                    .0
            }
        }
    }
}

/// Works on another thread, and gives the memory back.
async fn on_thread(
    host: &Arc<HostFile>,
    mut memory: Aligned,
    work: impl FnOnce(&HostFile, &mut Aligned) -> io::Result<()> + Send + 'static,
) -> (io::Result<()>, Aligned) {
    let host = Arc::clone(host);
    let done = tokio::task::spawn_blocking(move || (work(&host, &mut memory), memory)).await;
    done.unwrap_or_else(|error| (Err(io::Error::other(error)), Aligned::default()))
}

/// What tells of completed requests.
struct Completions(Arc<Ring>);

impl AsRawFd for Completions {
    fn as_raw_fd(&self) -> RawFd {
        self.0.event().as_raw_fd()
    }
}

impl Driven {
    fn start(host: &HostFile) -> io::Result<Self> {
        let ring = Arc::new(Ring::new(Arc::clone(&host.file), DEPTH)?);
        let asked = Arc::new(Notify::new());
        #[expect(
            deprecated,
            reason = "the descriptor stays the same as long as the ring lives; what replaces this call is unsafe"
        )]
        let completions = AsyncFd::new(Completions(Arc::clone(&ring)))?;
        let driver = tokio::spawn(drive(completions, Arc::clone(&asked)));
        Ok(Self {
            ring,
            asked,
            driver,
        })
    }

    async fn request(&self, op: Op, memory: Aligned) -> (io::Result<usize>, Aligned) {
        let request = self.ring.request(op, memory);
        self.asked.notify_one();
        request.await
    }

    async fn read(
        &self,
        host: &HostFile,
        offset: u64,
        memory: Aligned,
    ) -> (io::Result<()>, Aligned) {
        let (result, mut memory) = self.request(Op::Read(offset), memory).await;
        let read = match result {
            Ok(read) => read.min(memory.bytes().len()),
            Err(error) => return (Err(error), memory),
        };
        let (at, rest) = (offset + read as u64, &mut memory.bytes_mut()[read..]);
        if rest.is_empty() {
            return (Ok(()), memory);
        }
        if host.is_end(read) {
            rest.fill(0);
            return (Ok(()), memory);
        }
        // Cut short: rare but at the end of a file.
        let result = host.read(at, rest);
        (result, memory)
    }

    async fn write(
        &self,
        host: &HostFile,
        offset: u64,
        memory: Aligned,
    ) -> (io::Result<()>, Aligned) {
        let (result, memory) = self.request(Op::Write(offset), memory).await;
        let written = match result {
            Ok(written) => written.min(memory.bytes().len()),
            Err(error) => return (Err(error), memory),
        };
        let rest = &memory.bytes()[written..];
        let result = match rest.is_empty() {
            true => Ok(()),
            false => host.write(offset + written as u64, rest),
        };
        if result.is_ok() {
            host.wrote(offset, memory.bytes().len());
        }
        (result, memory)
    }
}

/// Hands requests over and takes completions, many at a time, until the file is closed.
async fn drive(completions: AsyncFd<Completions>, asked: Arc<Notify>) {
    let ring = &completions.get_ref().0;
    loop {
        let all = ring.submit().unwrap_or_else(|error| {
            ring.fail(error.raw_os_error().unwrap_or(EIO));
            true
        });
        if ring.reap() > 0 {
            // Those who were woken may ask for more first.
            tokio::task::yield_now().await;
        }
        if !all {
            // The kernel is short of memory, or of room for completions.
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            continue;
        }
        if !wait(&completions, &asked).await {
            return;
        }
    }
}

/// Waits until there is something to hand over or to take. `false`: there is no way to wait.
async fn wait(completions: &AsyncFd<Completions>, asked: &Notify) -> bool {
    let mut asked = pin!(asked.notified());
    poll_fn(|context| {
        if asked.as_mut().poll(context).is_ready() {
            return Poll::Ready(true);
        }
        completions
            .poll_read_ready(context)
            .map(|ready| match ready {
                Ok(mut ready) => {
                    ready.clear_ready();
                    true
                }
                Err(error) => {
                    tracing::error!(%error, "a ring cannot be waited for");
                    false
                }
            })
    })
    .await
}

const EIO: i32 = 5;
