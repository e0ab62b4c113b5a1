use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn the_main_future_and_its_tasks_run() {
    let sum = run(async {
        let mut tasks = JoinSet::new();
        for n in 0..10 {
            tasks.spawn(async move { n });
        }
        tasks.join_all().await.into_iter().sum::<i32>()
    });
    assert_eq!(sum.unwrap(), 45);
}

#[test]
fn leftover_tasks_do_not_hold_up_the_end() {
    let done = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&done);
    run(async move {
        spawn(async move {
            sleep(Duration::from_secs(600)).await;
            seen.store(true, Ordering::SeqCst);
        });
    })
    .unwrap();
    assert!(!done.load(Ordering::SeqCst));
}

#[test]
fn a_signal_handler_can_be_put_in() {
    run(async { on_signal(Signal::User1, || {}).unwrap() }).unwrap();
}

#[test]
fn work_is_done_again_and_again_as_long_as_its_handle_lives() {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    run(async move {
        let work = move || {
            let sender = sender.clone();
            async move { sender.send(()).unwrap_or(()) }
        };
        let handle = every(Duration::from_millis(1), work);
        for _ in 0..3 {
            assert!(receiver.recv().await.is_some());
        }
        drop(handle);
        // The work has the only sender, and is gone.
        while receiver.recv().await.is_some() {}
    })
    .unwrap();
}

#[test]
fn nothing_is_repeated_outside_of_a_runtime() {
    assert!(every(Duration::from_millis(1), || async {}).is_none());
}
