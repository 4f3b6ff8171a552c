//! A histogram of durations: 32 buckets to each power of two, so that quantiles are within 3 %.

const BUCKETS_PER_DOUBLING: u64 = 32;

/// Durations in nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

fn bucket(nanos: u64) -> usize {
    if nanos < BUCKETS_PER_DOUBLING {
        return nanos as usize;
    }
    // The five bits below the highest one choose the bucket within its doubling.
    let doubling = 63 - nanos.leading_zeros();
    let within = (nanos >> (doubling - 5)) & (BUCKETS_PER_DOUBLING - 1);
    (u64::from(doubling - 4) * BUCKETS_PER_DOUBLING + within) as usize
}

/// Smallest duration of a bucket.
fn start(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < BUCKETS_PER_DOUBLING {
        return bucket;
    }
    let doubling = bucket / BUCKETS_PER_DOUBLING + 4;
    (BUCKETS_PER_DOUBLING + bucket % BUCKETS_PER_DOUBLING) << (doubling - 5)
}

impl Histogram {
    /// Adds a duration.
    pub fn add(&mut self, nanos: u64) {
        let place = bucket(nanos);
        if self.counts.len() <= place {
            self.counts.resize(place + 1, 0);
        }
        self.counts[place] += 1;
        self.total += 1;
        self.max = self.max.max(nanos);
    }

    /// The duration that `share` of all do not exceed, rounded down to its bucket; 0 for none.
    pub fn quantile(&self, share: f64) -> u64 {
        let wanted = (self.total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (place, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted && seen > 0 {
                return start(place);
            }
        }
        0
    }

    /// How many there were, by the doubling they fall into: least duration that is beyond it, count;
    /// from the first doubling that has some to the last.
    pub fn doublings(&self) -> Vec<(u64, u64)> {
        let mut bars: Vec<(u64, u64)> = Vec::new();
        for (place, count) in self.counts.iter().enumerate() {
            if *count == 0 && bars.is_empty() {
                continue;
            }
            let beyond = start(place).saturating_add(1).next_power_of_two();
            match bars.last_mut() {
                Some((last, sum)) if *last == beyond => *sum += count,
                _ => bars.push((beyond, *count)),
            }
        }
        bars
    }

    /// The longest duration.
    pub fn max(&self) -> u64 {
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_contiguous_and_narrow() {
        for nanos in (0..5000).chain([1 << 20, (1 << 20) + 1, u64::MAX]) {
            let place = bucket(nanos);
            assert!(start(place) <= nanos);
            assert!(nanos - start(place) <= nanos / 32);
            assert!(place == 0 || start(place - 1) < start(place));
        }
    }

    #[test]
    fn quantiles_of_a_uniform_spread() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), 0);
        (1..=1000).for_each(|n| histogram.add(n * 1000));
        for (share, nanos) in [(0.5, 500_000u64), (0.99, 990_000), (1.0, 1_000_000)] {
            let found = histogram.quantile(share);
            assert!(
                found <= nanos && found > nanos * 96 / 100,
                "{share}: {found}"
            );
        }
        assert_eq!(histogram.max(), 1_000_000);
        let bars = histogram.doublings();
        assert_eq!(bars.first(), Some(&(1024, 1)), "1 us is below 1,024 ns");
        assert_eq!(bars.iter().map(|bar| bar.1).sum::<u64>(), 1000);
        assert!(bars.windows(2).all(|two| two[1].0 == 2 * two[0].0));
    }
}
