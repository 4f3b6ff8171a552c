//! How busy workers are: the share of each second in which they moved packets. A worker that finds
//! nothing spins on, so its CPU time says nothing.

use std::time::{Duration, Instant};

/// Time that a ratio is about.
const WINDOW: Duration = Duration::from_secs(1);

/// Ratios of the last full window.
pub struct Load {
    since: Instant,
    before: Vec<u64>,
    ratios: Vec<f64>,
}

impl Load {
    /// Nothing is known yet.
    pub fn new() -> Load {
        Load {
            since: Instant::now(),
            before: Vec::new(),
            ratios: Vec::new(),
        }
    }

    /// Looks at the workers' busy nanoseconds; does something once a window.
    pub fn look(&mut self, busy: impl Iterator<Item = u64>) {
        let elapsed = self.since.elapsed();
        if elapsed >= WINDOW {
            self.since = Instant::now();
            self.take(elapsed, busy.collect());
        }
    }

    fn take(&mut self, elapsed: Duration, now: Vec<u64>) {
        let nanos = elapsed.as_nanos().max(1) as f64;
        let before = self.before.iter().chain(std::iter::repeat(&0));
        let ratio = |(now, before): (&u64, &u64)| {
            // An estimate from samples may come out above the whole.
            (now.saturating_sub(*before) as f64 / nanos).min(1.0)
        };
        self.ratios = now.iter().zip(before).map(ratio).collect();
        self.before = now;
    }

    /// One ratio for each of `workers`; 0 before the first window is over.
    pub fn ratios(&self, workers: usize) -> Vec<f64> {
        let known = self.ratios.iter().copied();
        known.chain(std::iter::repeat(0.0)).take(workers).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_the_share_of_the_window() {
        let mut load = Load::new();
        assert_eq!(load.ratios(2), [0.0, 0.0]);
        load.take(Duration::from_secs(1), vec![250_000_000, 0]);
        load.take(Duration::from_secs(2), vec![1_250_000_000, 9_000_000_000]);
        assert_eq!(load.ratios(2), [0.5, 1.0]);
    }
}
