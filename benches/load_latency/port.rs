//! The ports of the latency bench: one hands frames out when they are due, the other notes when they
//! are gone. What they write is a few words for each frame, in memory that was touched before.
//!
//! A schedule is cut into windows. After each window's last frame the receiving port keeps its worker
//! for as long again and does nothing but wait for the window's times once more: the loop that tells
//! what the machine takes from anybody, on the same core and in the same thread, right beside.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use sluice::memory::{Arena, Handle, Regions};
use sluice::packet::{Burst, Context};
use sluice::port::capture::CaptureReader;
use sluice::port::{PortCounters, Receive, Received, Transmit};
use sluice::reason::Reason;
use sluice::time::wall_nanos;

/// Nanoseconds of a window of load, and of the loop behind it.
const WINDOW_NS: u64 = 10_000_000;

/// When each frame is due, nanoseconds after the start; loops between windows left out.
#[derive(Clone)]
pub struct Schedule {
    dues: Arc<[u64]>,
    /// Nanoseconds of a window; 0: it is one, without a loop.
    window_ns: u64,
}

impl Schedule {
    /// All at once.
    pub fn at_once(count: usize) -> Schedule {
        Schedule {
            dues: vec![0; count].into(),
            window_ns: 0,
        }
    }

    /// At even distances.
    pub fn even(count: usize, gap_ns: f64) -> Schedule {
        Schedule {
            dues: (0..count).map(|n| (n as f64 * gap_ns) as u64).collect(),
            window_ns: WINDOW_NS,
        }
    }

    /// At independent, exponentially distributed distances (xorshift64, Marsaglia 2003).
    pub fn random(count: usize, gap_ns: f64) -> Schedule {
        let (mut state, mut at) = (0x9e37_79b9_7f4a_7c15u64, 0.0);
        let due = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let uniform = ((state >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
            at -= gap_ns * uniform.ln();
            at as u64
        };
        Schedule {
            dues: (0..count).map(due).collect(),
            window_ns: WINDOW_NS,
        }
    }

    fn due(&self, place: usize) -> u64 {
        self.dues.get(place).copied().unwrap_or(0)
    }

    /// The window of a frame.
    pub fn window(&self, place: usize) -> u64 {
        self.due(place).checked_div(self.window_ns).unwrap_or(0)
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

/// When each frame was due, taken and gone, nanoseconds after the start (0 for never), and how late
/// the loop behind its window was at its time.
pub struct Log {
    due: Vec<AtomicU64>,
    taken: Vec<AtomicU64>,
    gone: Vec<AtomicU64>,
    late: Vec<AtomicU64>,
}

/// What a log tells of one window.
#[derive(Default)]
pub struct Told {
    /// From due to gone, of the frames that went.
    pub latency: Vec<u64>,
    /// From due to taken.
    pub waited: Vec<u64>,
    /// How late the loop was.
    pub late: Vec<u64>,
}

impl Log {
    /// Room for so many frames, all of it touched.
    pub fn new(frames: usize) -> Arc<Log> {
        // Ones, because zeros would be pages that nobody has seen yet.
        let words = || (0..frames).map(|_| AtomicU64::new(1)).collect();
        let log = Log {
            due: words(),
            taken: words(),
            gone: words(),
            late: words(),
        };
        for words in [&log.due, &log.taken, &log.gone, &log.late] {
            words.iter().for_each(|word| word.store(0, Relaxed));
        }
        Arc::new(log)
    }

    fn at(words: &[AtomicU64], place: usize) -> u64 {
        words.get(place).map_or(0, |word| word.load(Relaxed))
    }

    fn note(words: &[AtomicU64], place: usize, value: u64) {
        if let Some(word) = words.get(place) {
            word.store(value, Relaxed);
        }
    }

    /// Frames a second, from the frame `warm` on.
    pub fn rate(&self, warm: usize) -> f64 {
        let ends = (warm..self.taken.len()).map(|place| {
            let taken = Log::at(&self.taken, place);
            taken.max(Log::at(&self.gone, place))
        });
        let last = ends.max().unwrap_or(0);
        let time = last.saturating_sub(Log::at(&self.taken, warm)).max(1);
        (self.taken.len() - warm) as f64 * 1e9 / time as f64
    }

    /// Frames that were due and not taken, at most, from the frame `warm` on.
    pub fn backlog(&self, warm: usize) -> usize {
        let waiting = |place: usize| {
            let taken = Log::at(&self.taken, place);
            let due = self.due.partition_point(|due| due.load(Relaxed) <= taken);
            due.saturating_sub(place)
        };
        (warm..self.due.len()).map(waiting).max().unwrap_or(0)
    }

    /// All windows that begin behind the frame `warm`.
    pub fn windows(&self, schedule: &Schedule, warm: usize) -> Vec<Told> {
        let first = schedule.window(warm) + 1;
        let mut windows: Vec<Told> = Vec::new();
        for place in warm..self.due.len() {
            let Some(number) = schedule.window(place).checked_sub(first) else {
                continue;
            };
            if windows.len() <= number as usize {
                windows.resize_with(number as usize + 1, Told::default);
            }
            let Some(window) = windows.get_mut(number as usize) else {
                continue;
            };
            let due = Log::at(&self.due, place);
            let gone = Log::at(&self.gone, place);
            window
                .waited
                .push(Log::at(&self.taken, place).saturating_sub(due));
            window.late.push(Log::at(&self.late, place));
            // A frame that was dropped is never gone.
            if gone > 0 {
                window.latency.push(gone.saturating_sub(due));
            }
        }
        // The last one was perhaps cut short, and has no loop behind it.
        windows.pop();
        windows
    }
}

/// Frames of a capture, each when it is due.
pub struct Due {
    reader: CaptureReader,
    schedule: Schedule,
    clock: Clock,
    log: Arc<Log>,
    next: usize,
    /// First frame of the window at hand.
    first: usize,
    /// What the loops took so far, nanoseconds.
    shift: u64,
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
            first: 0,
            shift: 0,
        }
    }

    /// Once a window's last frame is out: the loop, and then the next window begins.
    fn loop_behind_window(&mut self) {
        let window = self.schedule.window(self.first);
        if self.next >= self.schedule.dues.len() || self.schedule.window(self.next) == window {
            return;
        }
        let (start, base) = (self.clock.now(), window * self.schedule.window_ns);
        for place in self.first..self.next {
            let due = start + self.schedule.due(place) - base;
            let now = loop {
                let now = self.clock.now();
                if now >= due {
                    break now;
                }
            };
            Log::note(&self.log.late, place, now - due);
        }
        let end = self.clock.now().max(start + self.schedule.window_ns);
        let base = self.schedule.window(self.next) * self.schedule.window_ns;
        self.shift = end.saturating_sub(base);
        self.first = self.next;
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
        self.loop_behind_window();
        let now = self.clock.now();
        let last = self.schedule.window(self.first);
        let is_due = |place: &usize| {
            let due = self.schedule.dues.get(*place);
            due.is_none_or(|due| *due + self.shift <= now && self.schedule.window(*place) == last)
        };
        let due = (self.next..self.next + limit).take_while(is_due).count();
        if due == 0 {
            return Received::default();
        }
        let before = burst.len();
        let received = self.reader.receive(contexts, free, burst, due, now_ns);
        let (_, wall_ns) = self.clock.start();
        for handle in burst.iter_mut().skip(before) {
            let context = contexts.get_mut(handle);
            let at = self.schedule.due(self.next) + self.shift;
            context.time_ns = wall_ns + at;
            context.clock_ns = 0;
            Log::note(&self.log.due, self.next, at);
            Log::note(&self.log.taken, self.next, now);
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
            Log::note(&self.log.gone, number as usize, now);
        }
    }

    fn counters(&self) -> &Arc<PortCounters> {
        &self.counters
    }
}
