use std::sync::{Arc, Mutex};

use super::*;
use crate::pool::{block_on, run_all};

#[test]
fn numbers_pass_in_order() {
    let gate = Arc::new(Turnstile::default());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let workers = (0..50_u64).rev().map(|number| {
        let (gate, seen) = (Arc::clone(&gate), Arc::clone(&seen));
        async move {
            assert!(gate.wait(number).await);
            seen.lock().unwrap().push(number);
            gate.pass();
            Ok::<(), std::io::Error>(())
        }
    });
    block_on(run_all(workers)).unwrap();
    assert_eq!(*seen.lock().unwrap(), (0..50).collect::<Vec<_>>());
}

#[test]
fn nobody_passes_a_closed_one() {
    let gate = Turnstile::default();
    gate.close();
    assert!(!block_on(gate.wait(0)));
    assert!(!block_on(gate.wait(7)));
}
