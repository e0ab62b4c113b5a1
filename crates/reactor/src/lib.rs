//! The one home of the tokio runtime: threads, timers and signals for every tool.
//!
//! Leaf I/O is done inline by whoever asks for it, so the runtime has one thread for each CPU and work that is to run
//! side by side is spawned as tasks.
#![forbid(unsafe_code)]

use std::io;
use std::num::NonZeroUsize;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

pub use tokio::task::{JoinHandle, JoinSet};

/// Address space of a thread's stack. Futures over backing chains nest a level a file, up to 200 of them; memory
/// is taken only for what is used.
const STACK: usize = 16 << 20;

/// Threads that the runtime has: one for each CPU this process may use.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

fn of_threads(threads: usize) -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_stack_size(STACK)
        .enable_all()
        .build()
}

/// Runs a future to its end on a new runtime, for callers that are not in one. Tasks that are left over end where
/// they wait next.
///
/// # Errors
/// When the threads cannot be had.
pub fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
    let runtime = of_threads(threads())?;
    let output = runtime.block_on(async {
        // A file over the process's limit is an error of the write (EFBIG), not the end of the process.
        let _too_large = signal(SignalKind::from_raw(SIGXFSZ))?;
        Ok::<_, io::Error>(future.await)
    })?;
    runtime.shutdown_background();
    Ok(output)
}

/// Runs a future on the caller's thread alone: for work so short that starting threads would be most of it.
///
/// # Errors
/// When the runtime cannot be had.
pub fn run_light<F: Future>(future: F) -> io::Result<F::Output> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let _too_large = signal(SignalKind::from_raw(SIGXFSZ))?;
        Ok(future.await)
    })
}

/// A write went over the limit on file sizes.
const SIGXFSZ: i32 = 25;

/// Runs a tool's main future: as [`block_on`], but as one of the tasks, so that it wakes up among their threads and
/// not on one of its own. The threads share one heap: they hand large buffers to each other, and memory counts.
///
/// # Errors
/// When the threads cannot be had.
///
/// # Panics
/// When the future does.
pub fn run<F>(main: F) -> io::Result<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    sys::memory::share_heap();
    match block_on(async { tokio::spawn(main).await })? {
        Ok(output) => Ok(output),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Runs a future beside the caller's.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future)
}

/// Lets other tasks have a turn.
pub async fn yield_now() {
    tokio::task::yield_now().await;
}

/// Runs a future until it has to wait for the first time, at once, and the rest of it beside the caller's: what it does
/// before that is done before the caller goes on. `None`: it is done already.
pub fn start<F>(future: F) -> Option<JoinHandle<()>>
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut future = Box::pin(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    // The task polls it again, which enters the task's own waker.
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(()) => None,
        std::task::Poll::Pending => Some(tokio::spawn(future)),
    }
}

/// A runtime that works beside threads that are not in one. Tasks that are left when it goes end where they wait.
pub struct Background(Option<Runtime>);

impl Background {
    /// A runtime of so many threads.
    ///
    /// # Errors
    /// When the threads cannot be had.
    pub fn new(threads: usize) -> io::Result<Self> {
        of_threads(threads.max(1)).map(|runtime| Self(Some(runtime)))
    }

    /// Runs a future on it.
    pub fn spawn<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if let Some(runtime) = &self.0 {
            runtime.spawn(future);
        }
    }

    /// Runs a future on it and waits for its end; not to be called from one of its tasks.
    pub fn wait<F: Future>(&self, future: F) -> Option<F::Output> {
        self.0.as_ref().map(|runtime| runtime.block_on(future))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Waits.
pub async fn sleep(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Work that is done again and again, as long as this lives.
pub struct Every(JoinHandle<()>);

impl Drop for Every {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Does `work` each time so much time has passed since it was done last. `None`: the caller is in no runtime, and nothing is
/// ever done.
pub fn every<F>(period: Duration, mut work: impl FnMut() -> F + Send + 'static) -> Option<Every>
where
    F: Future<Output = ()> + Send,
{
    let runtime = tokio::runtime::Handle::try_current().ok()?;
    Some(Every(runtime.spawn(async move {
        loop {
            sleep(period).await;
            work().await;
        }
    })))
}

/// Signals a tool may act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// `SIGINT`
    Interrupt,
    /// `SIGTERM`
    Terminate,
    /// `SIGUSR1`
    User1,
    /// `SIGHUP`
    Hangup,
}

/// Calls `act` each time a signal comes, from now on and instead of what it does by default.
///
/// # Errors
/// When the handler cannot be put in.
pub fn on_signal(which: Signal, mut act: impl FnMut() + Send + 'static) -> io::Result<()> {
    let mut signals = signal(match which {
        Signal::Interrupt => SignalKind::interrupt(),
        Signal::Terminate => SignalKind::terminate(),
        Signal::User1 => SignalKind::user_defined1(),
        Signal::Hangup => SignalKind::hangup(),
    })?;
    tokio::spawn(async move {
        while signals.recv().await.is_some() {
            act();
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests;
