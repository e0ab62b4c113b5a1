use std::sync::{Arc, Mutex};

use super::*;
use crate::pool::{block_on, run_all};

/// Gets numbers ready side by side and finishes them; in which order.
fn finished(workers: u64, numbers: u64, trays: usize) -> Vec<u64> {
    let desk = Arc::new(Desk::default());
    let trays = Arc::new(Trays::<Vec<u8>>::new(trays));
    let next = Arc::new(Mutex::new(0));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let work = (0..workers).map(|_| {
        let (desk, trays) = (Arc::clone(&desk), Arc::clone(&trays));
        let (next, seen) = (Arc::clone(&next), Arc::clone(&seen));
        async move {
            while let Some(tray) = trays.take().await {
                let number = {
                    let mut next = next.lock().unwrap();
                    *next += 1;
                    *next - 1
                };
                if number >= numbers {
                    trays.give(tray);
                    trays.close();
                    break;
                }
                if number % 3 == 0 {
                    reactor::yield_now().await;
                }
                desk.put(number, (number, tray));
                while let Some((number, tray)) = desk.take() {
                    seen.lock().unwrap().push(number);
                    reactor::yield_now().await;
                    desk.done();
                    trays.give(tray);
                }
                trays.look();
            }
            Ok::<(), std::io::Error>(())
        }
    });
    block_on(run_all(work)).unwrap();
    Arc::try_unwrap(seen).unwrap().into_inner().unwrap()
}

#[test]
fn everything_is_finished_in_order() {
    for (workers, trays) in [(1, 1), (1, 4), (2, 2), (3, 4), (8, 10)] {
        let seen = finished(workers, 300, trays);
        assert_eq!(seen, (0..300).collect::<Vec<_>>(), "{workers} {trays}");
    }
}

#[test]
fn nobody_gets_a_tray_from_closed_ones() {
    let trays = Trays::<()>::new(3);
    trays.close();
    assert!(block_on(trays.take()).is_none());
}
