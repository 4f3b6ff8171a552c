//! Whether an engine that has the rings still works. A worker that does not beat is not enough to
//! fence it: on a busy machine it may only be waiting for a processor. It must have run all that
//! time by its own CPU clock (an endless loop), or be stopped.
//!
//! So that a loop is told in time where others want its processor too, a worker that is suspected
//! gets it before them: then it either beats soon or has run. Where the system refuses that, a loop
//! is told as late as it had its share.
//!
//! In a virtual machine the clock of a thread is no proof by itself: its host may have stopped the
//! processor, for tens of milliseconds, and what it does not own up to as stolen counts as run. So
//! where a clock moved far between two looks, the worker must run on for a while without a beat. And
//! the keeper may have been stopped itself, with the worker or before it: silence is what the keeper
//! was there to hear (awake.rs). One that is seen to sleep is in no loop.

use std::time::{Duration, Instant};

use super::awake::Awake;
use super::board::{Board, Post, state};
use super::{futex, sched};
use std::sync::atomic::Ordering::Acquire;

/// How far a thread's CPU clock, read from another process, may lag behind: it moves at the
/// scheduler's ticks. On a core without ticks (nohz_full) it moves once a second only, and a loop
/// is told that much later; a stop and a death are not.
const CLOCK_GRAIN: Duration = Duration::from_millis(4);
/// A worker is suspected after this part of the limit without a beat.
const SUSPECT_PART: u32 = 8;
/// This part of the limit is what a clock may move between two looks and be believed, and what a
/// worker must run after more than that. It is also what counts of the time between two looks.
const LEAP_PART: u32 = 4;
/// The least that is a leap: a tick, and what the keeper may be late.
const LEAP_MIN: Duration = Duration::from_millis(5);
/// So many leaps without a beat are believed: on a core without ticks a clock does nothing else.
const LEAPS_MAX: u32 = 3;

/// Why an engine is given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hang {
    /// A worker ran for the whole limit in one turn.
    Loops,
    /// A worker is stopped.
    Stopped,
}

impl Hang {
    /// Words for the log.
    pub fn text(self) -> &'static str {
        match self {
            Hang::Loops => "a worker does not come back from its turn",
            Hang::Stopped => "it is stopped",
        }
    }
}

/// What is known of one worker.
#[derive(Clone, Copy, Default)]
struct Seen {
    beat: u64,
    /// For how long this beat has been seen.
    silent: Option<Duration>,
    /// What the CPU clock said when it was seen again.
    clock: Option<Duration>,
    /// What it said at the last look.
    last: Duration,
    /// How often it has leapt since, and how far it moved after the last time.
    leaps: u32,
    moved: Duration,
    /// It goes before ordinary threads.
    preferred: bool,
}

/// What a clock may move between two looks and be believed.
fn leap(limit: Duration) -> Duration {
    (limit / LEAP_PART).max(LEAP_MIN)
}

impl Seen {
    /// Notes what the worker's clock says. Gives how long it has run without a beat, if it has been
    /// asked before.
    fn runs(&mut self, says: Duration, limit: Duration) -> Option<Duration> {
        let moved = says.saturating_sub(std::mem::replace(&mut self.last, says));
        let Some(clock) = self.clock else {
            self.clock = Some(says);
            return None;
        };
        match moved >= leap(limit) {
            true => (self.leaps, self.moved) = (self.leaps + 1, Duration::ZERO),
            false => self.moved += moved,
        }
        Some(says.saturating_sub(clock) + CLOCK_GRAIN.min(limit / 4))
    }

    /// It was seen to sleep: what it ran before is forgotten.
    fn waits(&mut self) {
        self.clock = Some(self.last);
        (self.leaps, self.moved) = (0, Duration::ZERO);
    }

    /// Whether it ran as its clock says, rather than its machine stood still.
    fn is_believed(&self, limit: Duration) -> bool {
        match self.leaps {
            0 | LEAPS_MAX.. => true,
            _ => self.moved >= limit / LEAP_PART,
        }
    }
}

/// Watches the workers of one engine.
pub struct Health {
    posts: Vec<&'static Post>,
    seen: Vec<Seen>,
    process: u32,
    limit: Duration,
    awake: Awake,
    clock: Clock,
    state: State,
}

/// CPU time of a thread of a process so far.
type Clock = fn(u32, u32) -> Option<Duration>;
/// What a thread of a process does: the letter of proc(5).
type State = fn(u32, u32) -> Option<char>;

impl Health {
    /// Watches an engine in a process from now on.
    pub fn new(board: Board, engine: u32, process: u32, limit: Duration) -> Health {
        let posts: Vec<_> = board.posts(engine).collect();
        Health {
            seen: vec![Seen::default(); posts.len()],
            posts,
            process,
            limit,
            awake: Awake::new(Instant::now(), leap(limit)),
            clock: cpu_clock,
            state: thread_state,
        }
    }

    /// Looks at all workers; to be called several times within the limit.
    pub fn check(&mut self) -> Option<Hang> {
        self.check_at(Instant::now())
    }

    fn check_at(&mut self, now: Instant) -> Option<Hang> {
        let passed = self.awake.look(now);
        let mut found = None;
        for (post, seen) in self.posts.iter().zip(&mut self.seen) {
            let beat = post.beat.load(Acquire);
            let runs = post.state.load(Acquire) == state::RUNS;
            let thread = post.thread.load(Acquire);
            let Some(silent) = seen.silent.filter(|_| beat == seen.beat && runs) else {
                if seen.preferred {
                    sched::ordinary_thread(thread);
                }
                *seen = Seen {
                    beat,
                    silent: Some(Duration::ZERO),
                    ..Seen::default()
                };
                continue;
            };
            let silent = silent + passed;
            seen.silent = Some(silent);
            let Some(says) = (self.clock)(self.process, thread) else {
                continue;
            };
            let Some(ran) = seen.runs(says, self.limit) else {
                continue;
            };
            if silent < self.limit / SUSPECT_PART {
                continue;
            }
            seen.preferred = seen.preferred || sched::prefer_thread(thread);
            let is_stopped = match (self.state)(self.process, thread) {
                Some('R') => false,
                Some('T' | 't') => true,
                // It waits: what its clock says beside that is no loop, however much it is.
                _ => {
                    seen.waits();
                    continue;
                }
            };
            if silent < self.limit {
                continue;
            }
            let loops = ran >= self.limit && seen.is_believed(self.limit);
            let hang = match is_stopped {
                true => Some(Hang::Stopped),
                false => loops.then_some(Hang::Loops),
            };
            // What was read of the clock counts only if no beat came before.
            if hang.is_some() && post.beat.load(Acquire) == beat {
                found = found.or(hang);
            }
        }
        found
    }

    /// Lets all workers that live go before ordinary threads, until this is dropped: what is killed
    /// must run to die.
    pub fn hurry(&mut self) {
        for (post, seen) in self.posts.iter().zip(&mut self.seen) {
            if !seen.preferred && !futex::is_dead(post) {
                seen.preferred = sched::prefer_thread(post.thread.load(Acquire));
            }
        }
    }
}

impl Drop for Health {
    fn drop(&mut self) {
        for (post, _) in self
            .posts
            .iter()
            .zip(&self.seen)
            .filter(|(_, s)| s.preferred)
        {
            sched::ordinary_thread(post.thread.load(Acquire));
        }
    }
}

fn task(process: u32, thread: u32, file: &str) -> Option<String> {
    std::fs::read_to_string(format!("/proc/{process}/task/{thread}/{file}")).ok()
}

/// CPU time of a thread of another process (proc(5): schedstat, or stat where that is missing).
fn cpu_clock(process: u32, thread: u32) -> Option<Duration> {
    if let Some(text) = task(process, thread, "schedstat") {
        let nanos: u64 = text.split(' ').next()?.parse().ok()?;
        return Some(Duration::from_nanos(nanos));
    }
    const TICK: Duration = Duration::from_millis(10);
    let text = task(process, thread, "stat")?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u32>().ok();
    Some(TICK * (ticks(11)? + ticks(12)?))
}

/// What a thread does (proc(5), stat): `R` runs or would if it could, `T` and `t` are stopped by a
/// signal or a tracer, all else sleeps.
fn thread_state(process: u32, thread: u32) -> Option<char> {
    let text = task(process, thread, "stat")?;
    text.rsplit_once(')')?.1.trim_start().chars().next()
}

#[cfg(test)]
mod tests {
    use super::super::board::Shape;
    use super::super::pulse::Pulse;
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A thread that works as it is told: 0 beats, 1 sleeps without a beat, 2 loops without one.
    struct Told {
        what: Arc<AtomicU32>,
        thread: std::thread::JoinHandle<()>,
        health: Health,
        post: &'static Post,
    }

    impl Told {
        fn new() -> Told {
            let shape = Shape {
                lanes: 1,
                ports: 2,
                workers: 1,
            };
            let (board, _fd) = Board::create(shape).unwrap();
            let what = Arc::new(AtomicU32::new(0));
            let told = Arc::clone(&what);
            let thread = std::thread::spawn(move || {
                let mut pulse = Pulse::new(board, 0, 0);
                pulse.begin(true);
                loop {
                    match told.load(Ordering::Acquire) {
                        0 => pulse.beat(),
                        1 => std::thread::sleep(Duration::from_millis(1)),
                        2 => std::hint::spin_loop(),
                        _ => return pulse.end(),
                    }
                }
            });
            let limit = Duration::from_millis(20);
            Told {
                what,
                thread,
                health: Health::new(board, 0, std::process::id(), limit),
                post: board.post(0, 0),
            }
        }

        fn tell(&self, what: u32) {
            self.what.store(what, Ordering::Release);
        }

        fn watch(&mut self, time: Duration) -> Option<Hang> {
            let start = Instant::now();
            while start.elapsed() < time {
                if let Some(hang) = self.health.check() {
                    return Some(hang);
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            None
        }

        fn is_ordinary(&self) -> bool {
            sched::is_ordinary(self.post.thread.load(Acquire))
        }

        fn end(self) {
            self.tell(3);
            self.thread.join().unwrap();
        }
    }

    #[test]
    fn a_worker_that_waits_is_left_alone_and_one_that_loops_is_not() {
        let mut told = Told::new();
        assert_eq!(told.watch(Duration::from_millis(100)), None);
        told.tell(1);
        let waits = told.watch(Duration::from_millis(200));
        assert_eq!(waits, None, "it only waits");
        told.tell(2);
        assert_eq!(told.watch(Duration::from_secs(20)), Some(Hang::Loops));
        told.tell(3);
        while told.post.state.load(Acquire) != state::ENDED {
            std::thread::yield_now();
        }
        assert_eq!(told.watch(Duration::from_millis(100)), None);
        told.end();
    }

    /// A worker that does not beat, seen by a clock that the test sets; looks every 1.25 ms.
    struct Silent {
        health: Health,
        post: &'static Post,
        now: Instant,
    }

    thread_local! {
        static SAYS: std::cell::Cell<Duration> = const { std::cell::Cell::new(Duration::ZERO) };
        static STATE: std::cell::Cell<char> = const { std::cell::Cell::new('R') };
    }

    impl Silent {
        fn new() -> Silent {
            let shape = Shape {
                lanes: 1,
                ports: 2,
                workers: 1,
            };
            let (board, _fd) = Board::create(shape).unwrap();
            let post = board.post(0, 0);
            post.state.store(state::RUNS, Ordering::Release);
            let mut health = Health::new(board, 0, std::process::id(), Duration::from_millis(20));
            health.clock = |_, _| Some(SAYS.get());
            health.state = |_, _| Some(STATE.get());
            let now = Instant::now();
            Silent { health, post, now }
        }

        /// Looks after a time in which the worker's clock moved.
        fn look(&mut self, passed: Duration, moved: Duration) -> Option<Hang> {
            self.now += passed;
            SAYS.set(SAYS.get() + moved);
            self.health.check_at(self.now)
        }

        /// Looks on while it runs without a beat; says how long it took until it was given up.
        fn runs(&mut self, time: Duration) -> Option<Duration> {
            const LOOK: Duration = Duration::from_micros(1250);
            let start = self.now;
            while self.now - start < time {
                if self.look(LOOK, LOOK).is_some() {
                    return Some(self.now - start);
                }
            }
            None
        }
    }

    #[test]
    fn a_machine_that_stood_still_is_no_loop() {
        let milli = Duration::from_millis;
        for comes_back in [true, false] {
            let mut silent = Silent::new();
            assert_eq!(silent.runs(milli(3)), None);
            // The host stopped the processor of both, and the guest counts it as run.
            assert_eq!(silent.look(milli(31), milli(31)), None);
            if comes_back {
                silent.post.beat.store(1, Ordering::Release);
                assert_eq!(silent.runs(milli(15)), None);
                continue;
            }
            let given_up = silent.runs(milli(15));
            assert!(
                given_up.is_some_and(|time| time <= milli(13)),
                "{given_up:?}"
            );
        }
        // A loop without such a leap is told as before.
        let given_up = Silent::new().runs(milli(40));
        assert!(
            given_up.is_some_and(|time| time <= milli(23)),
            "{given_up:?}"
        );
    }

    #[test]
    fn a_machine_that_stands_still_again_and_again_makes_no_loop() {
        let milli = Duration::from_millis;
        let mut silent = Silent::new();
        assert_eq!(silent.runs(milli(3)), None);
        // Between the pauses others have the processor, for longer than the worker would need.
        for _ in 1..LEAPS_MAX {
            assert_eq!(silent.look(milli(77), milli(31)), None);
            for _ in 0..12 {
                assert_eq!(silent.look(milli(1), Duration::ZERO), None);
            }
        }
        silent.post.beat.store(1, Ordering::Release);
        assert_eq!(silent.runs(milli(15)), None);
        // One that waits meanwhile may do so for as long as it likes.
        STATE.set('S');
        for _ in 0..100 {
            assert_eq!(silent.look(milli(77), milli(31)), None);
        }
        STATE.set('R');
    }

    #[test]
    fn a_core_without_ticks_hides_no_loop() {
        let (milli, mut silent) = (Duration::from_millis, Silent::new());
        assert_eq!(silent.runs(milli(3)), None);
        let found = (1..=LEAPS_MAX).find(|_| {
            let quiet = (0..999).find_map(|_| silent.look(milli(1), Duration::ZERO));
            assert_eq!(quiet, None);
            silent.look(milli(1), milli(1000)).is_some()
        });
        assert_eq!(found, Some(LEAPS_MAX));
    }

    #[test]
    fn who_was_stopped_himself_gives_others_time_to_go_on() {
        let milli = Duration::from_millis;
        for goes_on in [true, false] {
            let mut silent = Silent::new();
            assert_eq!(silent.runs(milli(3)), None);
            // All were stopped for a minute, and the keeper is the first to go on.
            STATE.set('T');
            assert_eq!(silent.look(milli(60_000), Duration::ZERO), None);
            if goes_on {
                for _ in 0..8 {
                    assert_eq!(silent.look(milli(1), Duration::ZERO), None);
                }
                STATE.set('R');
                silent.post.beat.store(1, Ordering::Release);
                assert_eq!(silent.runs(milli(15)), None);
                continue;
            }
            let told = (1..).find(|_| silent.look(milli(1), Duration::ZERO).is_some());
            assert!(told.is_some_and(|looks| looks <= 20), "{told:?}");
            STATE.set('R');
        }
    }

    #[test]
    fn what_has_given_its_rings_back_may_take_its_time() {
        let mut silent = Silent::new();
        silent.post.state.store(state::LEFT, Ordering::Release);
        assert_eq!(silent.runs(Duration::from_secs(2)), None);
    }

    #[test]
    fn a_suspected_worker_goes_first_until_it_beats_or_is_watched_no_more() {
        let mut told = Told::new();
        told.watch(Duration::from_millis(20));
        let thread = told.post.thread.load(Acquire);
        // Without the right to prefer a thread there is nothing to see but that nothing happens.
        let may = sched::prefer_thread(thread);
        sched::ordinary_thread(thread);
        for again in [true, false] {
            told.tell(1);
            told.watch(Duration::from_millis(50));
            assert_eq!(told.is_ordinary(), !may, "suspected");
            if again {
                told.tell(0);
                let start = Instant::now();
                while !told.is_ordinary() && start.elapsed() < Duration::from_secs(20) {
                    told.watch(Duration::from_millis(4));
                }
                assert!(told.is_ordinary(), "it beats");
            }
        }
        let post = told.post;
        let Told {
            what,
            thread,
            health,
            ..
        } = told;
        drop(health);
        assert!(sched::is_ordinary(post.thread.load(Acquire)), "not watched");
        what.store(3, Ordering::Release);
        thread.join().unwrap();
    }
}
