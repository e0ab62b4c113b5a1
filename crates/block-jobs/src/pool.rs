//! Workers of one job: a few futures that run side by side until all are done or one fails.

use reactor::JoinSet;

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

/// Runs a future of a test, which owns what it works on.
#[cfg(test)]
pub(crate) fn block_on<F>(future: F) -> F::Output
where
    F: Future,
{
    reactor::block_on(future).unwrap()
}
