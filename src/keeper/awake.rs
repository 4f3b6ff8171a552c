//! Time as its holder saw it pass. Who was stopped himself, with the machine or by a signal, cannot
//! tell whether others stood still meanwhile; limits of others are measured in this time, so that
//! nobody is given up for a moment in which nobody ran.

use std::time::{Duration, Instant};

/// A clock that goes by its holder's looks: what lies between two of them counts up to a bound.
#[derive(Clone, Copy, Debug)]
pub struct Awake {
    last: Instant,
    step_max: Duration,
    total: Duration,
}

impl Awake {
    /// A clock at nought. `step_max` must be longer than the time between two looks ordinarily is.
    pub fn new(now: Instant, step_max: Duration) -> Awake {
        Awake {
            last: now,
            step_max,
            total: Duration::ZERO,
        }
    }

    /// A look. Gives what has passed since the last one, as far as it counts.
    pub fn look(&mut self, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.last).min(self.step_max);
        self.last = now;
        self.total += passed;
        passed
    }

    /// Time so far.
    pub fn total(&self) -> Duration {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_of_the_watcher_counts_little() {
        let (start, milli) = (Instant::now(), Duration::from_millis);
        let mut awake = Awake::new(start, milli(5));
        assert_eq!(awake.look(start + milli(3)), milli(3));
        assert_eq!(awake.look(start + milli(3_000)), milli(5), "it was stopped");
        assert_eq!(awake.look(start + milli(3_001)), milli(1));
        assert_eq!(awake.total(), milli(9));
    }
}
