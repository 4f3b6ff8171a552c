//! Clocks, pinning, random numbers, workload and the gather limit. Rates use the thread's processor
//! time, because the machine is shared; comparisons interleave A B A B and take medians.

use sluice::flow::table::TableReader;
use sluice::packet::Tuple;
use std::time::Duration;

/// Processor time of this thread.
pub fn thread_time() -> Duration {
    // SAFETY: an all-zero timespec is valid, and the call only writes it.
    let time = unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time);
        time
    };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Keeps this thread on one processor, if there is such a one.
pub fn pin(processor: usize) {
    // SAFETY: an all-zero set is valid; the call only reads it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(processor, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
    }
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A small random generator (splitmix64).
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    #[inline(always)]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number below `bound`.
    #[inline(always)]
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

/// A bijection that looks random.
#[inline(always)]
pub fn mix(mut word: u64) -> u64 {
    word = (word ^ word >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ word >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ word >> 31
}

/// The canonical tuple of flow number `id`: every other one IPv6, all different.
pub fn flow(id: u64) -> Tuple {
    let (one, two) = (mix(id ^ 0x5DEE_CE66), mix(id ^ 0x1234_5678_9ABC));
    let mut tuple = Tuple {
        protocol: 6,
        ..Tuple::default()
    };
    if id.is_multiple_of(2) {
        for (address, word) in [
            (&mut tuple.a_addr, one as u32),
            (&mut tuple.b_addr, two as u32),
        ] {
            address[10..12].fill(0xFF);
            address[12..].copy_from_slice(&word.to_be_bytes());
        }
        tuple.a_port = (one >> 32) as u16;
        tuple.b_port = (one >> 48) as u16;
    } else {
        for (address, word) in [(&mut tuple.a_addr, one), (&mut tuple.b_addr, two)] {
            address[..4].copy_from_slice(&[0x20, 0x01, 0x0D, 0xB8]);
            address[8..].copy_from_slice(&word.to_be_bytes());
        }
        tuple.a_port = (two >> 48) as u16;
        tuple.b_port = 443;
        tuple.scope = [0, 0, 0x80];
    }
    if (tuple.a_addr, tuple.a_port) > (tuple.b_addr, tuple.b_port) {
        std::mem::swap(&mut tuple.a_addr, &mut tuple.b_addr);
        std::mem::swap(&mut tuple.a_port, &mut tuple.b_port);
    }
    tuple
}

/// The limit: random lines of the table's own memory, 64 asked for at a time (PREFETCHT0, the limit of
/// FLOWTABLE.md 1) and then read; million lines a second. The table's own, because the same pages behind another mapping may be slower or
/// faster by half (who backs the guest's memory decides), and because lines that lay idle are slow
/// at first.
pub fn gather(table: &TableReader, count: usize, random: &mut Random) -> f64 {
    gather_by(table, count, random, |index| table.prefetch_line(index))
}

/// As [`gather`], into the second-level cache, which has more lines under way where nobody else wants
/// the memory.
pub fn gather_second(table: &TableReader, count: usize, random: &mut Random) -> f64 {
    gather_by(table, count, random, |index| {
        table.prefetch_line_second(index);
    })
}

#[inline(always)]
fn gather_by(
    table: &TableReader,
    count: usize,
    random: &mut Random,
    prefetch: impl Fn(u64),
) -> f64 {
    const DEPTH: usize = 64;
    let lines = table.line_count();
    let mut places = [0; DEPTH];
    let mut sum = 0_u64;
    let start = thread_time();
    for _ in 0..count / DEPTH {
        for place in &mut places {
            *place = random.below(lines);
            prefetch(*place);
        }
        for place in places {
            sum = sum.wrapping_add(table.read_line(place).into());
        }
    }
    std::hint::black_box(sum);
    (count / DEPTH * DEPTH) as f64 / (thread_time() - start).as_secs_f64() / 1e6
}

/// Durations in nanoseconds, kept whole.
#[derive(Default)]
pub struct Durations(Vec<u64>);

impl Durations {
    /// Room for so many, taken now.
    pub fn with_capacity(count: usize) -> Durations {
        Durations(Vec::with_capacity(count))
    }

    /// Notes one.
    #[inline(always)]
    pub fn add(&mut self, nanoseconds: u64) {
        self.0.push(nanoseconds);
    }

    /// The value that this share of them (0 to 1) does not exceed.
    pub fn quantile(&mut self, share: f64) -> u64 {
        self.0.sort_unstable();
        self.0[((self.0.len() as f64 * share) as usize).min(self.0.len() - 1)]
    }
}
