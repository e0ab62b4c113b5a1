//! PBKDF2 with HMAC (RFC 8018, section 5.2), and how many iterations take how long here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hmac::{EagerHash, Hmac, KeyInit, Mac};
use qapi::{Error, Result};
use rustix::time::{ClockId, clock_gettime};
use zeroize::Zeroize;

use crate::Hash;
use crate::hash::with_hash;

/// Iterations between two looks at the wish to stop.
const SLICE: u64 = 1 << 12;

/// Shortest measurement that is believed, in nanoseconds of this thread's time.
const BELIEVED_NS: u64 = 100_000_000;

/// The wish to stop a derivation that runs; shared with who runs it.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Says so.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Fills `out` with a key made of a password.
///
/// # Errors
/// When it was stopped.
pub fn derive(
    hash: Hash,
    password: &[u8],
    salt: &[u8],
    iterations: u64,
    out: &mut [u8],
    stop: &Stop,
) -> Result<()> {
    with_hash!(hash, derive_with(password, salt, iterations, out, stop))
}

fn derive_with<D: EagerHash>(
    password: &[u8],
    salt: &[u8],
    iterations: u64,
    out: &mut [u8],
    stop: &Stop,
) -> Result<()> {
    let keyed = <Hmac<D> as KeyInit>::new_from_slice(password)
        .map_err(|_| Error::new("Unable to calculate password hash"))?;
    let len = <Hmac<D> as digest::OutputSizeUser>::output_size();
    for (number, block) in (1_u32..).zip(out.chunks_mut(len)) {
        let mut mac = keyed.clone();
        mac.update(salt);
        mac.update(&number.to_be_bytes());
        let mut last = mac.finalize().into_bytes();
        let mut sum = last.clone();
        let mut left = iterations.saturating_sub(1);
        while left > 0 {
            if stop.asked() {
                return Err(Error::with_errno("Interrupted", 4));
            }
            let now = left.min(SLICE);
            for _ in 0..now {
                let mut mac = keyed.clone();
                mac.update(&last);
                last = mac.finalize().into_bytes();
                for (to, part) in sum.iter_mut().zip(&last) {
                    *to ^= part;
                }
            }
            left -= now;
        }
        let wanted = block.len();
        block.copy_from_slice(&sum[..wanted]);
        sum.as_mut_slice().zeroize();
        last.as_mut_slice().zeroize();
    }
    Ok(())
}

/// Time this thread has computed for, in nanoseconds.
fn thread_time_ns() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// How many iterations a second of computing takes to make a key of `key_len` bytes.
///
/// # Errors
/// When time does not pass, or it was stopped.
pub fn count_iterations(hash: Hash, key_len: usize, stop: &Stop) -> Result<u64> {
    let mut out = vec![0; key_len];
    let mut iterations = 1 << 14;
    for _ in 0..24 {
        let start = thread_time_ns();
        derive(hash, b"password", &[0; 32], iterations, &mut out, stop)?;
        let took = thread_time_ns().saturating_sub(start);
        if took >= BELIEVED_NS {
            return Ok(iterations.saturating_mul(1_000_000_000) / took);
        }
        iterations *= if took < BELIEVED_NS / 8 { 8 } else { 2 };
    }
    Err(Error::new("Unable to get accurate CPU usage"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn derived(hash: Hash, iterations: u64, len: usize) -> String {
        let mut out = vec![0; len];
        let stop = Stop::default();
        derive(hash, b"password", b"salt", iterations, &mut out, &stop).unwrap();
        out.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn keys_are_the_published_ones() {
        // RFC 6070 and RFC 7914.
        assert_eq!(
            derived(Hash::Sha1, 1, 20),
            "0c60c80f961f0e71f3a9b524af6012062fe037a6"
        );
        assert_eq!(
            derived(Hash::Sha1, 4096, 20),
            "4b007901b765489abead49d926f721d065a429c1"
        );
        assert_eq!(
            derived(Hash::Sha256, 4096, 32),
            "c5e478d59288c841aa530db6845c4c8d962893a001ce4e11a4963873aa98134a"
        );
        assert_eq!(
            derived(Hash::Sha512, 1, 64),
            "867f70cf1ade02cff3752599a3a53dc4af34c7a669815ae5d513554e1c8cf252c02d470a285a0501bad999bfe943c08f050235d7d68b1da55e63f73b60a57fce"
        );
    }

    #[test]
    fn long_keys_go_on_where_short_ones_end() {
        let long = derived(Hash::Sha256, 10, 80);
        assert!(long.starts_with(&derived(Hash::Sha256, 10, 32)));
    }

    #[test]
    fn a_derivation_can_be_stopped() {
        let stop = Stop::default();
        let other = stop.clone();
        let running = std::thread::spawn(move || {
            derive(Hash::Sha256, b"a", b"b", u64::MAX, &mut [0; 64], &other)
        });
        stop.stop();
        assert!(running.join().unwrap().is_err());
    }
}
