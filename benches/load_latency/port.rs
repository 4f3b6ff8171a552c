//! The ports of the latency bench: one hands frames out when they are due, the other notes when they
//! are gone. What they write is a word for each frame, in memory that was touched before.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use sluice::memory::{Arena, Handle, Regions};
use sluice::packet::{Burst, Context};
use sluice::port::capture::CaptureReader;
use sluice::port::{PortCounters, Receive, Received, Transmit};
use sluice::reason::Reason;
use sluice::time::wall_nanos;

/// From the first ask for frames to the first that is due.
const LEAD_NS: u64 = 1_000_000;

/// When each frame is due, nanoseconds after the start.
#[derive(Clone)]
pub struct Schedule(Arc<[u64]>);

impl Schedule {
    /// All at once.
    pub fn at_once(count: usize) -> Schedule {
        Schedule(vec![0; count].into())
    }

    /// At even distances.
    pub fn even(count: usize, gap_ns: f64) -> Schedule {
        let due = |place: usize| LEAD_NS + (place as f64 * gap_ns) as u64;
        Schedule((0..count).map(due).collect())
    }

    /// At independent, exponentially distributed distances (xorshift64, Marsaglia 2003).
    pub fn random(count: usize, gap_ns: f64) -> Schedule {
        let (mut state, mut at) = (0x9e37_79b9_7f4a_7c15u64, LEAD_NS as f64);
        let due = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let uniform = ((state >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
            at -= gap_ns * uniform.ln();
            at as u64
        };
        Schedule((0..count).map(due).collect())
    }

    /// Frames.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// All times, in order.
    pub fn dues(&self) -> impl Iterator<Item = u64> {
        self.0.iter().copied()
    }

    fn is_due(&self, place: usize, now: u64) -> bool {
        self.0.get(place).is_none_or(|due| *due <= now)
    }
}

/// The start, which the first ask for frames makes.
#[derive(Clone, Default)]
pub struct Clock(Arc<OnceLock<(Instant, u64)>>);

impl Clock {
    fn start(&self) -> (Instant, u64) {
        *self.0.get_or_init(|| (Instant::now(), wall_nanos()))
    }

    /// Nanoseconds since the start.
    fn now(&self) -> u64 {
        self.start().0.elapsed().as_nanos() as u64
    }
}

/// When each frame was taken and gone, nanoseconds after the start; 0 for never.
pub struct Log {
    taken: Vec<AtomicU64>,
    gone: Vec<AtomicU64>,
}

/// What a log tells, of the frames behind the first ones.
pub struct Told {
    /// Frames a second.
    pub rate: f64,
    /// From due to gone, of the frames that went.
    pub latency: Vec<u64>,
    /// From due to taken.
    pub waited: Vec<u64>,
    /// Frames that were due and not taken, at most.
    pub backlog: usize,
}

impl Log {
    /// Room for so many frames, all of it touched.
    pub fn new(frames: usize) -> Arc<Log> {
        // Ones, because zeros would be pages that nobody has seen yet.
        let words = || (0..frames).map(|_| AtomicU64::new(1)).collect();
        let log = Log {
            taken: words(),
            gone: words(),
        };
        for word in log.taken.iter().chain(&log.gone) {
            word.store(0, Relaxed);
        }
        Arc::new(log)
    }

    /// All but the first `warm` frames.
    pub fn told(&self, schedule: &Schedule, warm: usize) -> Told {
        let frames = schedule.dues().zip(self.taken.iter().zip(&self.gone));
        let (mut latency, mut waited, mut backlog) = (Vec::new(), Vec::new(), 0);
        let (mut first, mut last) = (u64::MAX, 0);
        for (place, (due, (taken, gone))) in frames.enumerate().skip(warm) {
            let (taken, gone) = (taken.load(Relaxed), gone.load(Relaxed));
            waited.push(taken.saturating_sub(due));
            backlog = backlog.max(schedule.0.partition_point(|due| *due <= taken) - place);
            first = first.min(taken);
            last = last.max(gone.max(taken));
            // A frame that was dropped is never gone.
            if gone > 0 {
                latency.push(gone.saturating_sub(due));
            }
        }
        Told {
            rate: waited.len() as f64 * 1e9 / last.saturating_sub(first).max(1) as f64,
            latency,
            waited,
            backlog,
        }
    }
}

/// Frames of a capture, each when it is due.
pub struct Due {
    reader: CaptureReader,
    schedule: Schedule,
    clock: Clock,
    log: Arc<Log>,
    next: usize,
}

impl Due {
    /// The frames of `reader` by `schedule`.
    pub fn new(reader: CaptureReader, schedule: Schedule, clock: Clock, log: Arc<Log>) -> Due {
        Due {
            reader,
            schedule,
            clock,
            log,
            next: 0,
        }
    }
}

impl Receive for Due {
    fn register(&mut self, regions: &mut Regions) {
        self.reader.register(regions);
    }

    fn receive(
        &mut self,
        contexts: &Arena<Context>,
        free: &mut Vec<Handle>,
        burst: &mut Burst,
        limit: usize,
        now_ns: u64,
    ) -> Received {
        let now = self.clock.now();
        let due = (0..limit)
            .take_while(|ahead| self.schedule.is_due(self.next + ahead, now))
            .count();
        if due == 0 {
            return Received::default();
        }
        let before = burst.len();
        let received = self.reader.receive(contexts, free, burst, due, now_ns);
        let (_, wall_ns) = self.clock.start();
        for handle in burst.iter_mut().skip(before) {
            let context = contexts.get_mut(handle);
            let at = self.schedule.0.get(self.next).copied().unwrap_or(0);
            context.time_ns = wall_ns + at;
            context.clock_ns = 0;
            if let Some(taken) = self.log.taken.get(self.next) {
                taken.store(now, Relaxed);
            }
            self.next += 1;
        }
        received
    }

    fn reclaim(&mut self, context: &mut Context) {
        self.reader.reclaim(context);
    }

    fn counters(&self) -> &Arc<PortCounters> {
        self.reader.counters()
    }
}

/// Where frames go: they are gone with the sync that would publish them.
pub struct Gone {
    clock: Clock,
    log: Arc<Log>,
    /// Numbers of the frames that wait for the sync.
    queued: Vec<u64>,
    counters: Arc<PortCounters>,
}

impl Gone {
    /// Notes in `log`.
    pub fn new(clock: Clock, log: Arc<Log>) -> Gone {
        Gone {
            clock,
            log,
            queued: Vec::with_capacity(1024),
            counters: Arc::default(),
        }
    }
}

impl Transmit for Gone {
    fn register(&mut self, _regions: &mut Regions) {}

    fn transmit(&mut self, context: &mut Context, _regions: &Regions) -> Result<(), Reason> {
        // The reader numbers frames from 1.
        self.queued.push(context.order.saturating_sub(1));
        Ok(())
    }

    fn send_copy(&mut self, _frame: &[u8]) -> Result<(), Reason> {
        Ok(())
    }

    fn sync(&mut self) {
        if self.queued.is_empty() {
            return;
        }
        let now = self.clock.now();
        for number in self.queued.drain(..) {
            if let Some(gone) = self.log.gone.get(number as usize) {
                gone.store(now, Relaxed);
            }
        }
    }

    fn counters(&self) -> &Arc<PortCounters> {
        &self.counters
    }
}
