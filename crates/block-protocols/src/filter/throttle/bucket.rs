//! Leaky buckets: how much may pass, how fast, with bursts.
//!
//! A bucket fills with what passes and leaks at its average rate. While it is full nothing passes. A burst rate gives it
//! room for `max * burst_length`, and a second, smaller bucket keeps the burst itself at its rate.

use qapi::Error;

/// Largest rate that can be asked for.
const VALUE_MAX: u64 = 1_000_000_000_000_000;

const NANOSECONDS: f64 = 1e9;

/// One limit.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bucket {
    /// Units a second in the long run; 0: no limit.
    pub(super) avg: u64,
    /// Units a second in a burst; 0: no bursts.
    pub(super) max: u64,
    /// Seconds that a burst may last.
    pub(super) burst_length: u64,
    level: f64,
    burst_level: f64,
}

impl Default for Bucket {
    fn default() -> Self {
        Self {
            avg: 0,
            max: 0,
            burst_length: 1,
            level: 0.0,
            burst_level: 0.0,
        }
    }
}

/// As a real number; limits are far below what it holds exactly.
#[expect(
    clippy::cast_precision_loss,
    reason = "rates are checked to be at most 10^15, and sizes lose nothing that matters"
)]
pub(super) fn real(n: u64) -> f64 {
    n as f64
}

impl Bucket {
    pub(super) fn check(&self) -> qapi::Result<()> {
        let wrong = |text: String| Err(Error::new(text).errno(22));
        if self.avg > VALUE_MAX || self.max > VALUE_MAX {
            return wrong(format!(
                "bps/iops/max values must be within [0, {VALUE_MAX}]"
            ));
        }
        if self.burst_length == 0 {
            return wrong("the burst length cannot be 0".into());
        }
        if self.burst_length > 1 && self.max == 0 {
            return wrong("burst length set without burst rate".into());
        }
        if self.max > 0 && self.burst_length > VALUE_MAX / self.max {
            return wrong("burst length too high for this burst rate".into());
        }
        if self.max > 0 && self.avg == 0 {
            return wrong("bps_max/iops_max require corresponding bps/iops values".into());
        }
        if self.max > 0 && self.max < self.avg {
            return wrong("bps_max/iops_max cannot be lower than bps/iops".into());
        }
        Ok(())
    }

    /// Time has gone by.
    pub(super) fn leak(&mut self, seconds: f64) {
        self.level = (self.level - real(self.avg) * seconds).max(0.0);
        if self.burst_length > 1 {
            self.burst_level = (self.burst_level - real(self.max) * seconds).max(0.0);
        }
    }

    /// Seconds until something may pass.
    pub(super) fn wait(&self) -> f64 {
        if self.avg == 0 {
            return 0.0;
        }
        let (size, burst_size) = if self.max == 0 {
            (real(self.avg) / 10.0, 0.0)
        } else {
            (
                real(self.max) * real(self.burst_length),
                real(self.max) / 10.0,
            )
        };
        let extra = self.level - size;
        if extra > 0.0 {
            return whole_nanoseconds(extra / real(self.avg));
        }
        let extra = self.burst_level - burst_size;
        if self.burst_length > 1 && extra > 0.0 {
            return whole_nanoseconds(extra / real(self.max));
        }
        0.0
    }

    /// Something has passed.
    pub(super) fn fill(&mut self, units: f64) {
        self.level += units;
        if self.burst_length > 1 {
            self.burst_level += units;
        }
    }
}

/// Waits of less than a nanosecond are none: rounding must not hold anybody back for ever.
fn whole_nanoseconds(seconds: f64) -> f64 {
    (seconds * NANOSECONDS).floor() / NANOSECONDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_bucket_holds_back_until_it_has_leaked() {
        let mut bucket = Bucket {
            avg: 100,
            ..Bucket::default()
        };
        assert!(bucket.wait() <= 0.0);
        bucket.fill(60.0);
        assert!((bucket.wait() - 0.5).abs() < 1e-6);
        bucket.leak(0.5);
        assert!(bucket.wait() <= 1e-6);
    }

    #[test]
    fn a_burst_has_its_own_rate() {
        let mut bucket = Bucket {
            avg: 10,
            max: 100,
            burst_length: 5,
            ..Bucket::default()
        };
        bucket.fill(30.0);
        assert!((bucket.wait() - 0.2).abs() < 1e-6);
        bucket.fill(570.0);
        assert!((bucket.wait() - 10.0).abs() < 1e-6);
    }

    #[test]
    fn limits_that_make_no_sense_are_refused() {
        let refused = |avg, max, burst_length| {
            let bucket = Bucket {
                avg,
                max,
                burst_length,
                ..Bucket::default()
            };
            bucket.check().is_err()
        };
        assert!(refused(VALUE_MAX + 1, 0, 1));
        assert!(refused(1, 0, 0));
        assert!(refused(1, 0, 2));
        assert!(refused(0, 5, 1));
        assert!(refused(5, 4, 1));
        assert!(!refused(5, 6, 2));
    }
}
