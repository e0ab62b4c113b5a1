//! Workers of one job: a few futures that run side by side until all are done or one fails.

use tokio::task::JoinSet;

/// Runs the futures as tasks of the current runtime until all have ended, so that none is cut off in the middle of
/// a write; workers see for themselves that another one failed. Gives back the first error.
///
/// # Panics
/// When a worker does.
pub(crate) async fn run_all<F, E>(workers: impl IntoIterator<Item = F>) -> Result<(), E>
where
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Send + 'static,
{
    let mut tasks = JoinSet::new();
    for worker in workers {
        tasks.spawn(worker);
    }
    let mut all = Ok(());
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok(result) => all = all.and(result),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    all
}

/// Runs a future in a test.
#[cfg(test)]
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap()
        .block_on(future)
}
