//! Time as the data plane knows it: nanoseconds of a packet's arrival, and coarse ticks for ageing.
//!
//! Invariant: nobody below `lane` reads a clock. The lane reads it once per burst (or takes the
//! capture's timestamps) and passes it down, so replay and the wire age flows in the same way.

pub mod cycles;

/// Ticks in a second. A u32 of ticks wraps after 2.1 years; ages are computed with wrapping
/// subtraction and are right as long as no flow rests longer than half of that.
pub const TICKS_PER_SECOND: u32 = 64;

/// Nanoseconds in one tick.
pub const NANOS_PER_TICK: u64 = 1_000_000_000 / TICKS_PER_SECOND as u64;

/// A coarse moment, in 1/64 s, wrapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tick(pub u32);

impl Tick {
    /// The tick that holds a moment given in nanoseconds since the epoch.
    pub fn from_nanos(nanos: u64) -> Tick {
        Tick((nanos / NANOS_PER_TICK) as u32)
    }

    /// Ticks from `earlier` to `self`; a clock that went back gives 0, so nothing ages by it.
    pub fn since(self, earlier: Tick) -> u32 {
        let age = self.0.wrapping_sub(earlier.0);
        if age > u32::MAX / 2 { 0 } else { age }
    }
}

/// The wall clock, nanoseconds since the epoch. The lane calls it once per burst.
pub fn wall_nanos() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}

/// Seconds to ticks, saturating.
pub const fn ticks(seconds: u32) -> u32 {
    seconds.saturating_mul(TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_goes_back_ages_nothing() {
        assert_eq!(Tick(5).since(Tick(9)), 0);
        assert_eq!(Tick(9).since(Tick(5)), 4);
        assert_eq!(Tick(3).since(Tick(u32::MAX)), 4);
    }

    #[test]
    fn one_second_is_64_ticks() {
        assert_eq!(
            Tick::from_nanos(2_000_000_000).since(Tick::from_nanos(1_000_000_000)),
            64
        );
    }
}
