//! The keeper's loop: who has the rings, who gets them next, and what is done when an engine ends,
//! dies or hangs.
//!
//! ```text
//!            ready                    dead, hung, ended, asked back
//!  keeper ──────────► engine ───────────────────────────────────────► keeper
//!  forwards           inspects                                        forwards
//! ```
//!
//! There is no other way: an upgrade, too, goes from the old engine to the keeper and from there,
//! at once, to the new one.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::awake::Awake;
use super::board::Board;
use super::child::{Engine, Stage};
use super::forward::{Forwarder, Policy};
use super::health::Health;
use super::notify::Notifier;
use super::ports::Ports;
use super::{futex, loss};
use crate::port::open::PortError;

/// First pause before an engine is started again; doubled each time it fails at once.
const PAUSE_FIRST: Duration = Duration::from_millis(20);
/// Longest such pause, unless the operator says otherwise.
pub const PAUSE_MAX: Duration = Duration::from_secs(10);
/// An engine that served so long did not fail at once.
const SERVED_WELL: Duration = Duration::from_secs(10);
/// How long an engine may take to let its frames out when the rings are asked back.
const PARK_TIME: Duration = Duration::from_secs(2);
/// How long an engine may take to end in order: to write what it knows and give its memory back,
/// long after it gave back the rings.
const END_TIME: Duration = Duration::from_secs(20);
/// What the keeper's own time may move between two looks: more means that it was stopped itself.
const STEP_MAX: Duration = Duration::from_millis(100);
/// How long the keeper goes before all others once it has the rings.
const PREFERRED_TIME: Duration = Duration::from_millis(20);
/// Turns without a frame before the keeper sleeps, in the first moments after a death: while it
/// sleeps, the dead engine's memory is torn down on its processor.
const SPINS_MAX: u32 = 64;
/// The same otherwise: a turn asks the kernel at each netmap port, and who fills the rings may need
/// this very processor to go on.
const SPINS_ORDINARY_MAX: u32 = 0;
/// Turns between two looks at everything else.
const SERVICE_TURNS: u32 = 64;
/// Longest sleep of the idle keeper.
const IDLE_SLEEP: Duration = Duration::from_millis(1);
/// Time between two looks whether the far ends of memories are there.
const FAR_LOOK: Duration = Duration::from_millis(50);
/// Pause after an attempt to open ports anew.
const RENEWAL_PAUSE: Duration = Duration::from_secs(1);

/// States for metrics, numbered as `control::State`.
mod shown {
    pub const STARTING: u32 = 0;
    pub const FORWARDING: u32 = 1;
    pub const PASSTHROUGH: u32 = 3;
    pub const FAIL_OPEN: u32 = 4;
}

/// Flags that signals set.
#[derive(Clone, Default)]
pub struct Flags {
    /// End in order.
    pub stop: Arc<AtomicBool>,
    /// Start the engine anew from its file, and change over.
    pub upgrade: Arc<AtomicBool>,
    /// Log files were rotated.
    pub rotated: Arc<AtomicBool>,
}

/// What a keeper is made of.
pub struct Setup {
    /// The ports, open.
    pub ports: Ports,
    /// The board, and its descriptor.
    pub board: (Board, OwnedFd),
    /// Program and arguments of an engine; `None`: there is none, all passes.
    pub engine: Option<(PathBuf, Vec<OsString>)>,
    /// Further descriptors for engines, each with its name.
    pub listeners: Vec<(&'static str, OwnedFd)>,
    /// What becomes of frames while there is no engine.
    pub policy: Policy,
    /// How long a worker may run in one turn.
    pub limit: Duration,
    /// Longest pause before an engine that failed at once is started again.
    pub pause_max: Duration,
    /// Flags of signals.
    pub flags: Flags,
    /// End after this time.
    pub seconds: Option<Duration>,
}

/// The keeper.
pub struct Keeper {
    ports: Ports,
    board: Board,
    board_fd: OwnedFd,
    program: Option<(PathBuf, Vec<OsString>)>,
    listeners: Vec<(&'static str, OwnedFd)>,
    policy: Policy,
    limit: Duration,
    pause_max: Duration,
    flags: Flags,
    until: Option<Instant>,
    forwarder: Forwarder,
    notifier: Notifier,
    engines: Vec<Engine>,
    /// Dead engines whose memory is still being torn down.
    graves: Vec<Engine>,
    /// Number of the engine that was started last.
    last_number: u32,
    health: Option<Health>,
    /// The engine that has the rings.
    holder: Option<u32>,
    /// Since when they are asked back.
    asked: Option<Duration>,
    passthrough: bool,
    /// Buffers of a dead engine have not been given back yet.
    owed: bool,
    stopping: bool,
    /// Time by which others are judged.
    awake: Awake,
    failures: u32,
    next_start: Instant,
    next_look: Instant,
    next_renewal: Instant,
    /// An engine has been ready once.
    proven: bool,
    /// Exit code, once it is known.
    code: Option<u8>,
    idle: u32,
    /// Since when the keeper has had the rings without a break.
    since: Instant,
    preferred: bool,
}

impl Keeper {
    /// A keeper that has the rings from now on.
    ///
    /// # Errors
    /// Rings that cannot be mapped.
    pub fn new(mut setup: Setup) -> Result<Keeper, PortError> {
        let (board, board_fd) = setup.board;
        setup.ports.count_on(board);
        let halves = setup.ports.halves(board, true)?;
        let mut forwarder = Forwarder::new(halves, board);
        forwarder.resume();
        let now = Instant::now();
        Ok(Keeper {
            forwarder,
            board,
            board_fd,
            ports: setup.ports,
            program: setup.engine,
            listeners: setup.listeners,
            policy: setup.policy,
            limit: setup.limit,
            pause_max: setup.pause_max,
            flags: setup.flags,
            until: setup.seconds.map(|time| now + time),
            notifier: Notifier::from_environment(),
            engines: Vec::new(),
            graves: Vec::new(),
            last_number: 1,
            health: None,
            holder: None,
            asked: None,
            passthrough: false,
            owed: false,
            stopping: false,
            awake: Awake::new(now, STEP_MAX),
            failures: 0,
            next_start: now,
            next_look: now,
            next_renewal: now,
            proven: false,
            code: None,
            idle: 0,
            since: now,
            preferred: false,
        })
    }

    /// Keeps until it is told to end, or the engine ended by itself. Gives the exit code.
    pub fn run(&mut self) -> u8 {
        super::sched::stay_in_memory();
        if self.program.is_none() {
            self.passthrough = true;
            self.notifier.tell("READY=1\nSTATUS=passthrough");
        }
        self.show();
        let mut turns = 0u32;
        loop {
            turns = turns.wrapping_add(1);
            if self.holder.is_some() || turns.is_multiple_of(SERVICE_TURNS) || self.idle > 0 {
                self.service();
            }
            if let Some(code) = self.is_over() {
                self.notifier.tell("STOPPING=1");
                self.forwarder.park();
                return code;
            }
            match self.holder {
                Some(number) => self.watch(number),
                None => self.keep(),
            }
        }
    }

    fn say(&self, what: &str) {
        eprintln!("keeper: {what}");
        self.notifier.tell(&format!("STATUS={what}"));
    }

    fn show(&self) {
        let state = match (self.holder, self.passthrough) {
            (Some(_), _) => shown::FORWARDING,
            (None, true) => shown::PASSTHROUGH,
            (None, false) if self.proven => shown::FAIL_OPEN,
            (None, false) => shown::STARTING,
        };
        self.board.set_state(state);
    }

    fn engine(&mut self, number: u32) -> Option<&mut Engine> {
        self.engines
            .iter_mut()
            .find(|engine| engine.number == number)
    }

    // --- everything beside the rings ----------------------------------------------------------

    fn service(&mut self) {
        self.notifier.feed();
        let now = Instant::now();
        self.awake.look(now);
        if now >= self.next_look {
            self.next_look = now + FAR_LOOK;
            if !self.ports.is_served() || self.until.is_some_and(|until| now >= until) {
                self.flags.stop.store(true, Ordering::Relaxed);
            }
            self.reap();
            self.kill_overdue();
            if let Some(change) = self.ports.look(now, self.board) {
                self.say(&change);
            }
        }
        if self.flags.stop.load(Ordering::Relaxed) && !self.stopping {
            self.stopping = true;
            self.end_engines();
        }
        if self.flags.rotated.swap(false, Ordering::Relaxed) {
            for engine in &self.engines {
                engine.signal(libc::SIGHUP);
            }
        }
        if self.flags.upgrade.swap(false, Ordering::Relaxed)
            && let Err(why) = self.upgrade()
        {
            self.say(&why);
        }
        self.messages();
        let wanted = self.program.is_some() && self.code.is_none() && !self.stopping;
        let wanted = wanted && self.engines.is_empty();
        if wanted && now >= self.next_start {
            self.start();
        }
    }

    fn end_engines(&mut self) {
        for engine in &mut self.engines {
            engine.stage = Stage::Ending;
            engine.signal(libc::SIGTERM);
        }
    }

    /// No end takes for ever: an engine that does not come to it is killed.
    fn kill_overdue(&mut self) {
        let (board, now) = (self.board, self.awake.total());
        let mut late = self.engines.iter_mut();
        if let Some(engine) = late.find_map(|e| e.is_overdue(board, now, END_TIME).then_some(e)) {
            engine.signal(libc::SIGKILL);
            self.say("an engine does not end and is killed");
        }
    }

    /// Exit code, when all is over.
    fn is_over(&self) -> Option<u8> {
        let is_last = self.code.is_some() || self.stopping;
        (self.engines.is_empty() && is_last).then(|| self.code.unwrap_or(0))
    }

    /// Takes note of engines that are gone altogether.
    fn reap(&mut self) {
        self.graves.retain_mut(|grave| grave.exit().is_none());
        let mut place = 0;
        while let Some(engine) = self.engines.get_mut(place) {
            let Some(status) = engine.exit() else {
                place += 1;
                continue;
            };
            let number = engine.number;
            let (stage, served) = (engine.stage, engine.served);
            if self.holder == Some(number) {
                self.take_back(number);
            } else if status.code().is_none() {
                // It died without the rings: no frame is lost, only what it knew of flows.
                loss::forget_flows(self.board, number);
            }
            self.engines.retain(|engine| engine.number != number);
            self.ended(status, stage, served);
        }
    }

    /// What an engine's end means.
    fn ended(&mut self, status: ExitStatus, stage: Stage, served: Option<Instant>) {
        let last = self.engines.is_empty();
        match status.code() {
            Some(0) if last && stage != Stage::Ending => {
                // It ended by itself and in order: told so by its own arguments or an operator.
                self.code = Some(0);
            }
            Some(code) if self.stopping => {
                self.code = Some(self.code.unwrap_or(0).max(code as u8));
            }
            _ if stage == Stage::Ending => {}
            Some(code) if !self.proven && last => self.code = Some(code as u8),
            Some(code) => self.failed(&format!("the engine ended with code {code}"), served),
            None => {
                let signal = status.signal().unwrap_or(0);
                self.failed(&format!("the engine was ended by signal {signal}"), served);
            }
        }
        if self.stopping && self.code.is_none() {
            self.code = Some(0);
        }
    }

    fn failed(&mut self, what: &str, served: Option<Instant>) {
        let well = served.is_some_and(|since| since.elapsed() >= SERVED_WELL);
        self.failures = if well { 0 } else { self.failures + 1 };
        let factor = 1u32 << self.failures.saturating_sub(1).min(12);
        let pause = (PAUSE_FIRST * factor).min(self.pause_max);
        self.next_start = Instant::now() + pause;
        self.say(&format!(
            "{what}; the next one starts in {} ms",
            pause.as_millis()
        ));
    }

    // --- engines ------------------------------------------------------------------------------

    fn start(&mut self) {
        // The other place than the last one's, unless an engine lives there: one that was to be
        // replaced stays where its successor failed.
        let taken = |number: &u32| self.engines.iter().any(|e| e.number == *number);
        let number = 1 - self.last_number;
        let number = if taken(&number) {
            self.last_number
        } else {
            number
        };
        if let Err(error) = self.start_as(number) {
            self.failed(&format!("no engine can be started: {error}"), None);
        }
    }

    fn start_as(&mut self, number: u32) -> io::Result<()> {
        let Some((program, arguments)) = &self.program else {
            return Ok(());
        };
        let engine = Engine::start(program, arguments, self.board, number)?;
        let (text, port_fds) = self.ports.offer();
        let names: Vec<&str> = self.listeners.iter().map(|(name, _)| *name).collect();
        let head = format!("engine {number} {}\n{text}", names.join(","));
        let mut fds: Vec<BorrowedFd<'_>> = vec![self.board_fd.as_fd()];
        fds.extend(self.listeners.iter().map(|(_, fd)| fd.as_fd()));
        fds.extend(port_fds);
        engine.channel.send(&head, &fds)?;
        self.engines.push(engine);
        self.last_number = number;
        Ok(())
    }

    fn upgrade(&mut self) -> Result<(), String> {
        if self.program.is_none() || self.stopping {
            return Err("there is no engine to replace".to_string());
        }
        if self.engines.len() > 1 {
            return Err("an upgrade is under way".to_string());
        }
        self.start();
        Ok(())
    }

    fn messages(&mut self) {
        let mut heard = Vec::new();
        for engine in &mut self.engines {
            while let Ok(Some(message)) = engine.channel.receive(false) {
                match message.text.as_str() {
                    "ready" => engine.stage = Stage::Ready,
                    _ => heard.push((engine.number, message.text)),
                }
            }
        }
        for (number, text) in heard {
            let answer = self.obey(&text);
            if let Some(engine) = self.engine(number) {
                let _ = engine.channel.send(&answer, &[]);
            }
        }
    }

    /// An operator's word, by way of an engine's control socket. `+` or `-` and what to show.
    fn obey(&mut self, command: &str) -> String {
        match command {
            "passthrough on" => {
                self.passthrough = true;
                "+passthrough: frames go through without inspection".to_string()
            }
            "passthrough off" => {
                self.passthrough = false;
                "+passthrough off: frames are inspected".to_string()
            }
            "upgrade" => match self.upgrade() {
                Ok(()) => "+a new engine is starting; it takes over when it is ready".to_string(),
                Err(why) => format!("-{why}"),
            },
            other => format!("-the keeper knows no `{other}`"),
        }
    }

    // --- the rings are ours -------------------------------------------------------------------

    fn keep(&mut self) {
        if self.stopping {
            std::thread::sleep(IDLE_SLEEP);
            self.idle = 1;
            return;
        }
        if self.is_renewal_due() {
            self.renew();
        }
        let next = self.ready().next();
        if let Some(number) = next.filter(|_| !self.passthrough) {
            self.hand_over(number);
            return;
        }
        let policy = match self.passthrough {
            true => Policy::Open,
            false => self.policy,
        };
        let moved = self.forwarder.turn(policy);
        if self.preferred && self.since.elapsed() > PREFERRED_TIME {
            self.prefer(false);
        }
        if moved > 0 {
            self.idle = 0;
            return;
        }
        self.idle += 1;
        let spins = match self.preferred {
            true => SPINS_MAX,
            false => SPINS_ORDINARY_MAX,
        };
        if self.idle > spins {
            self.sleep();
        }
    }

    /// Engines that could take the rings, the newest first.
    fn ready(&self) -> impl Iterator<Item = u32> + '_ {
        let engines = self.engines.iter().rev();
        let could = |e: &&Engine| e.stage == Stage::Ready && !e.has_left(self.board);
        engines.filter(could).map(|engine| engine.number)
    }

    fn is_renewal_due(&self) -> bool {
        self.ports.is_stale() && Instant::now() >= self.next_renewal
    }

    /// Ports that are back and that only new descriptors can serve are opened anew, for the keeper
    /// and for a new engine: an engine keeps the ports that it began with.
    fn renew(&mut self) {
        self.next_renewal = Instant::now() + RENEWAL_PAUSE;
        self.forwarder.park();
        let renewed = self.ports.renew(self.board);
        match renewed.and_then(|()| self.ports.halves(self.board, true)) {
            Ok(halves) => {
                self.forwarder = Forwarder::new(halves, self.board);
                super::sched::stay_in_memory();
                self.end_engines();
                if self.program.is_some() && self.engines.len() < 2 {
                    self.start();
                }
            }
            Err(error) => self.say(&error.to_string()),
        }
        self.forwarder.resume();
    }

    fn prefer(&mut self, wanted: bool) {
        if std::mem::replace(&mut self.preferred, wanted) != wanted {
            match wanted {
                true => super::sched::prefer(),
                false => super::sched::ordinary(),
            }
        }
    }

    /// Sleeps until frames come, an engine says something, or a moment has passed.
    fn sleep(&mut self) {
        let mut fds = Vec::new();
        if self.forwarder.wait_fds(&mut fds).is_none() {
            return;
        }
        fds.extend(self.engines.iter().map(|engine| engine.channel.raw()));
        super::sched::poll(&fds, IDLE_SLEEP);
    }

    fn hand_over(&mut self, number: u32) {
        self.forwarder.park();
        if self.owed && !self.ports.reclaim() {
            // The next engine would be short of buffers: in a moment, then.
            self.forwarder.resume();
            self.forwarder.turn(self.policy);
            return;
        }
        self.owed = false;
        self.prefer(true);
        self.holder = Some(number);
        self.asked = None;
        self.board.hand_to(Some(number));
        let (board, limit) = (self.board, self.limit);
        let first = !std::mem::replace(&mut self.proven, true);
        let Some(engine) = self.engine(number) else {
            return;
        };
        engine.served.get_or_insert_with(Instant::now);
        let process = engine.process();
        self.health = Some(Health::new(board, number, process, limit));
        self.show();
        match first {
            true => self.notifier.tell("READY=1"),
            false => self.say(&format!("engine {process} has the ports")),
        }
        // What it replaces ends while it works.
        for engine in self.engines.iter_mut().filter(|e| e.number != number) {
            if engine.stage == Stage::Ready {
                engine.stage = Stage::Ending;
                engine.signal(libc::SIGTERM);
            }
        }
    }

    // --- the rings are an engine's ------------------------------------------------------------

    fn watch(&mut self, number: u32) {
        let board = self.board;
        futex::await_owner(board.post(number, 0), self.tick());
        let Some(engine) = self.engines.iter().find(|engine| engine.number == number) else {
            self.take_back(number);
            return;
        };
        if engine.is_dead(board) {
            engine.signal(libc::SIGKILL);
            self.bury(number, "the engine died");
            return;
        }
        if self.asked.is_some() && board.is_parked(number) {
            self.take_back(number);
            return;
        }
        let hang = self.health.as_mut().and_then(Health::check);
        let asked = self.asked.map(|since| self.awake.total() - since);
        let stuck = asked.is_some_and(|time| time > PARK_TIME);
        if let Some(why) = hang
            .map(|hang| hang.text())
            .or(stuck.then_some("it does not let go of the ports"))
        {
            // A fence first: what is dead cannot wake up and send what was sent already.
            engine.signal(libc::SIGKILL);
            self.bury(number, &format!("the engine hangs ({why}) and is killed"));
            return;
        }
        let left = board.has_left(number);
        let successor = self.ready().any(|ready| ready != number);
        let wanted = self.passthrough || successor || self.is_renewal_due();
        if self.asked.is_none() && (left || wanted && !self.stopping) {
            self.asked = Some(self.awake.total());
            self.board.hand_to(None);
        }
    }

    fn tick(&self) -> Duration {
        match self.asked {
            Some(_) => Duration::from_micros(50),
            None => (self.limit / 16).clamp(Duration::from_millis(1), Duration::from_millis(5)),
        }
    }

    /// The rings come back in order: nothing is in flight.
    fn take_back(&mut self, number: u32) {
        let gone = self
            .engines
            .iter()
            .all(|engine| engine.number != number || engine.is_dead(self.board));
        if gone {
            self.bury(number, "the engine died");
            return;
        }
        self.board.hand_to(None);
        self.forwarder.resume();
        self.released();
        self.show();
    }

    fn released(&mut self) {
        self.holder = None;
        self.asked = None;
        self.health = None;
        self.idle = 0;
        self.since = Instant::now();
    }

    /// Takes the rings of a dead engine, as soon as none of its workers can touch them.
    fn bury(&mut self, number: u32, what: &str) {
        let begin = Instant::now();
        let board = self.board;
        if let Some(health) = &mut self.health {
            health.hurry();
        }
        let alive = |engine: &Engine| engine.number == number && !engine.is_gone(board);
        while self.engines.iter().any(alive) && begin.elapsed() < END_TIME {
            for post in board.posts(number).filter(|post| !futex::is_dead(post)) {
                futex::await_owner(post, Duration::from_micros(100));
            }
        }
        // The rest of its end, which takes long, is nothing that others should wait for.
        self.health = None;
        board.hand_to(None);
        self.ports.unlock();
        self.forwarder.take_over();
        // What the dead one held is looked for later: that takes longer than all of the rest.
        self.owed = !(self.ports.is_short() && self.ports.reclaim());
        self.forwarder.resume();
        self.released();
        if !self.stopping {
            let policy = match self.passthrough {
                true => Policy::Open,
                false => self.policy,
            };
            self.forwarder.turn(policy);
        }
        let lost = loss::settle(board, Some(number));
        self.show();
        self.say(&format!(
            "{what}; {} frames were lost with it, the ports were taken over in {} us",
            lost.frames,
            begin.elapsed().as_micros()
        ));
        self.replace(number);
    }

    /// Starts the next engine while the dead one's memory is still being torn down.
    fn replace(&mut self, number: u32) {
        let Some(place) = self.engines.iter().position(|e| e.number == number) else {
            return;
        };
        let engine = self.engines.remove(place);
        engine.signal(libc::SIGKILL);
        if self.engines.is_empty() && !self.stopping {
            self.failed("it is replaced", engine.served);
        }
        self.graves.push(engine);
    }
}
