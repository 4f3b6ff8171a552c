//! `sluice run --keeper`, and what an operator says to a keeper. The keeper itself is `keeper`'s;
//! here it meets the command line, on both sides: the process that keeps, and the engine that it
//! starts.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::{Args, ValueEnum};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR2};

use super::run::RunArgs;
use super::start::Starts;
use super::{Failure, exit};
use crate::config::Config;
use crate::control::{Listeners, State, bind_metrics, bind_socket};
use crate::keeper::board::{Board, Half, Shape};
use crate::keeper::channel::Channel;
use crate::keeper::forward::Policy;
use crate::keeper::ports::Ports;
use crate::keeper::sandbox::{self, Leave, User};
use crate::keeper::supervise::{self, Flags, Keeper, Setup};
use crate::lane::build::{Engine, Named};
use crate::port::PortCounter;
use crate::port::open::Opened;

/// Names under which listeners are handed over.
const METRICS: &str = "metrics";
const SOCKET: &str = "socket";
/// Limit of a turn on isolated cores, milliseconds (DESIGN.md 7), and on shared ones.
const LIMIT_PINNED_MS: u64 = 5;
const LIMIT_SHARED_MS: u64 = 50;
/// Who has no name, where the system has no list of users.
const NOBODY: User = User {
    uid: 65_534,
    gid: 65_534,
};
/// How long an operator's command may take.
const COMMAND_TIME: Duration = Duration::from_secs(5);

/// What becomes of frames when the engine is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Fail {
    /// They go through uninspected.
    Open,
    /// They are dropped.
    Closed,
}

/// Arguments about the keeper.
#[derive(Args, Clone, Default)]
pub struct KeeperArgs {
    /// Keep the ports in a process of their own that lets frames through (open) or drops them
    /// (closed) when the engine dies or hangs, and starts it again.
    #[arg(long, value_name = "open|closed")]
    pub keeper: Option<Fail>,
    /// Milliseconds that a worker may be in one turn before the keeper gives it up (default 50, or
    /// 5 with --pin).
    #[arg(long, value_name = "MS", requires = "keeper")]
    pub hang_limit: Option<u64>,
    /// Longest pause, in milliseconds, before an engine that failed again and again is started once
    /// more (default 10000).
    #[arg(long, value_name = "MS", requires = "keeper")]
    pub restart_pause: Option<u64>,
    /// User that the engine runs as, where the keeper is root (default: sluice, or nobody).
    #[arg(long, value_name = "NAME", requires = "keeper")]
    pub user: Option<String>,
    /// Descriptor by which the keeper speaks to this engine.
    #[arg(long, hide = true, value_name = "FD")]
    pub engine_channel: Option<i32>,
}

impl KeeperArgs {
    /// Whether this process is to be the keeper.
    pub fn keeps(&self) -> bool {
        self.keeper.is_some() && self.engine_channel.is_none()
    }

    /// Whether this process is a keeper's engine.
    pub fn is_engine(&self) -> bool {
        self.engine_channel.is_some()
    }

    /// The user that an engine becomes; `None` where that is not for us to say.
    fn user(&self) -> Result<Option<User>, Failure> {
        if !sandbox::is_root() {
            return Ok(None);
        }
        let found = match &self.user {
            Some(name) => User::named(name).ok_or_else(|| {
                let hint = "make it: useradd --system --no-create-home NAME";
                Failure::new(
                    exit::USAGE,
                    format!("--user {name}: unknown\n [hint] {hint}"),
                )
            })?,
            None => ["sluice", "nobody"]
                .into_iter()
                .find_map(User::named)
                .unwrap_or(NOBODY),
        };
        Ok((found.uid != 0).then_some(found))
    }

    /// Gives up all rights that an engine does not need. While there is one thread, and nothing
    /// but a keeper's engine.
    ///
    /// # Errors
    /// The system refuses a step.
    pub fn drop_rights(&self, written: &Written) -> Result<(), Failure> {
        if !self.is_engine() {
            return Ok(());
        }
        let user = self.user()?;
        let files = written.give(user)?;
        // Below the log folder it is the engine's to make.
        let store = written.store.as_ref().filter(|_| !written.store_is_log());
        let folders = [written.log.as_ref(), store];
        let leave = Leave {
            user,
            writable: folders.into_iter().flatten().cloned().collect(),
            files,
        };
        let given = sandbox::enter(&leave).map_err(|error| {
            let hint = "the kernel needs seccomp filters (CONFIG_SECCOMP_FILTER)";
            Failure::new(
                exit::DEVICE,
                format!("rights cannot be dropped: {error}\n [hint] {hint}"),
            )
        })?;
        if given.landlock == 1 && written.store.is_some() {
            eprintln!(
                "note: files will not be stored: the first version of Landlock lets nobody move \
                 them\n [hint] a newer kernel (5.19), or a run without --keeper"
            );
        }
        let landlock = match given.landlock {
            0 => "no Landlock in this kernel".to_string(),
            version => format!("Landlock {version}"),
        };
        eprintln!(
            "rights: user {}, {landlock}, system calls filtered",
            given.uid
        );
        Ok(())
    }

    fn limit(&self, pinned: bool) -> Duration {
        let default = match pinned {
            true => LIMIT_PINNED_MS,
            false => LIMIT_SHARED_MS,
        };
        Duration::from_millis(self.hang_limit.unwrap_or(default).max(1))
    }

    /// Takes what the keeper sends, if this process is its engine.
    ///
    /// # Errors
    /// The keeper is of another version.
    pub fn attach(&self, args: &RunArgs) -> Result<Option<Arc<Attached>>, Failure> {
        let Some(number) = self.engine_channel else {
            return Ok(None);
        };
        let attached = Attached::receive(number, args)
            .map_err(|error| Failure::new(exit::DEVICE, format!("the keeper's ports: {error}")))?;
        Ok(Some(Arc::new(attached)))
    }
}

/// What an engine goes on writing when it has no rights any more.
pub struct Written {
    /// Folder of the log.
    pub log: Option<PathBuf>,
    /// Folder of stored files, which may be another.
    pub store: Option<PathBuf>,
    /// Files of sets, written at the end.
    pub sets: Vec<PathBuf>,
}

impl Written {
    fn store_is_log(&self) -> bool {
        let within = |(store, log): (&PathBuf, &PathBuf)| store.starts_with(log);
        self.store
            .as_ref()
            .zip(self.log.as_ref())
            .is_some_and(within)
    }

    /// Makes what is missing and gives it to the user that the engine becomes; the files of sets
    /// that could be made. A service's root may not write what is another user's.
    fn give(&self, user: Option<User>) -> Result<Vec<PathBuf>, Failure> {
        if let Some(store) = &self.store {
            give_store(store, self.store_is_log(), user).map_err(|error| {
                let hint = "file-store.dir names a folder that can be written";
                let text = format!("{}: {error}\n [hint] {hint}", store.display());
                Failure::new(exit::INPUT, text)
            })?;
        }
        let mut files = Vec::new();
        for path in &self.sets {
            let made = match path.is_file() {
                true => Ok(()),
                false => std::fs::File::create_new(path).map(drop),
            };
            match made.and_then(|()| user.map_or(Ok(()), |user| user.own_file(path))) {
                Ok(()) => files.push(path.clone()),
                Err(error) => eprintln!(
                    "note: {}: {error}: the set will not be written at the end",
                    path.display()
                ),
            }
        }
        Ok(files)
    }
}

/// Makes the folder of stored files, and what an engine made in it before, the engine's.
fn give_store(store: &Path, is_log: bool, user: Option<User>) -> std::io::Result<()> {
    if !is_log {
        std::fs::create_dir_all(store)?;
    }
    let Some(user) = user.filter(|_| store.is_dir()) else {
        return Ok(());
    };
    let store = match is_log {
        // An engine of before may have made it, and may still run.
        true => user.own_folder(store)?,
        false => user.own_folder(&store.canonicalize()?)?,
    };
    for entry in std::fs::read_dir(store.path())?.flatten() {
        if entry.file_type()?.is_dir() {
            drop(user.own_folder(&entry.path())?);
        }
    }
    Ok(())
}

fn shape(args: &RunArgs) -> Result<Shape, Failure> {
    Ok(Shape {
        lanes: args.lanes() as u32,
        ports: args.ports().len() as u32,
        workers: (args.lanes() * args.engine.layout()?.workers()) as u32,
    })
}

// ---------------------------------------------------------------------------------------------
// The keeper's process
// ---------------------------------------------------------------------------------------------

fn flags() -> Result<Flags, Failure> {
    let flags = Flags::default();
    for (signal, flag) in [
        (SIGTERM, &flags.stop),
        (SIGINT, &flags.stop),
        (SIGHUP, &flags.rotated),
        (SIGUSR2, &flags.upgrade),
    ] {
        signal_hook::flag::register(signal, Arc::clone(flag))
            .map_err(|error| Failure::new(exit::DEVICE, format!("signal {signal}: {error}")))?;
    }
    Ok(flags)
}

fn listeners(args: &RunArgs) -> Result<Vec<(&'static str, OwnedFd)>, Failure> {
    let device = |error: std::io::Error| Failure::new(exit::DEVICE, error);
    let mut listeners = Vec::new();
    if let Some(address) = args.engine.metrics {
        listeners.push((METRICS, bind_metrics(address).map_err(device)?.into()));
    }
    if let Some(path) = &args.socket {
        listeners.push((SOCKET, bind_socket(path).map_err(device)?.into()));
    }
    Ok(listeners)
}

/// Makes the folder of logs, and what an engine wrote there before, the engine's.
fn give_folder(dir: &Path, log: &str, user: User) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    // The operator's way to it may lead over links; what lies in it is an engine's.
    let dir = user.own_folder(&dir.canonicalize()?)?;
    match std::fs::symlink_metadata(dir.path().join(log)) {
        Ok(found) if found.is_file() => user.own_file(&dir.path().join(log)),
        _ => Ok(()),
    }
}

/// Keeps the ports that `args` name, and an engine with the same arguments.
///
/// # Errors
/// Usage, or devices that cannot be used.
pub fn keep(args: &RunArgs, config: &Config) -> Result<u8, Failure> {
    if args.ports().len() != 2 {
        let text = "--keeper: one pair of ports\n [hint] a process for each pair";
        return Err(Failure::new(exit::USAGE, text));
    }
    super::guard::check(args.ports(), args.force)?;
    let device = |error: String| Failure::new(exit::DEVICE, error);
    let specs = super::run::specs(args)?;
    let shape = shape(args)?;
    let options = super::run::options(args);
    let ports = Ports::open(&specs, &options).map_err(|error| device(error.to_string()))?;
    Starts::of(args.ports(), &specs, &options).tell();
    for note in &ports.notes {
        eprintln!("note: {note}");
    }
    if let (Some(dir), Some(user)) = (&args.log_dir, args.keeper.user()?) {
        give_folder(dir, &config.eve.file, user)
            .map_err(|error| device(format!("{}: {error}", dir.display())))?;
    }
    let program = std::env::current_exe().map_err(|error| device(error.to_string()))?;
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let policy = match args.keeper.keeper {
        Some(Fail::Closed) => Policy::Closed,
        _ => Policy::Open,
    };
    let board = Board::create(shape).map_err(|error| device(error.to_string()))?;
    let setup = Setup {
        ports,
        board,
        engine: Some((program, arguments)),
        listeners: listeners(args)?,
        policy,
        limit: args.keeper.limit(args.pin),
        pause_max: args
            .keeper
            .restart_pause
            .map_or(supervise::PAUSE_MAX, Duration::from_millis),
        flags: flags()?,
        seconds: args.seconds.map(Duration::from_secs),
    };
    let mut keeper = Keeper::new(setup).map_err(|error| device(error.to_string()))?;
    let code = keeper.run();
    if let Some(path) = &args.socket {
        let _ = std::fs::remove_file(path);
    }
    Ok(code)
}

// ---------------------------------------------------------------------------------------------
// The engine's process
// ---------------------------------------------------------------------------------------------

/// What an engine has from its keeper.
pub struct Attached {
    channel: Mutex<Channel>,
    board: Board,
    number: u32,
    ports: Ports,
    listeners: Mutex<Listeners>,
}

impl Attached {
    fn receive(fd: i32, args: &RunArgs) -> std::io::Result<Attached> {
        let wrong = || std::io::Error::other("no offer of this version");
        let channel = Channel::inherited(fd)?;
        let message = channel.receive(true)?.ok_or_else(wrong)?;
        let (head, text) = message.text.split_once('\n').ok_or_else(wrong)?;
        let mut words = head.split(' ').skip(1);
        let number = words
            .next()
            .and_then(|word| word.parse().ok())
            .ok_or_else(wrong)?;
        let mut fds = message.descriptors.into_iter();
        let shape = shape(args).map_err(|failure| std::io::Error::other(failure.text))?;
        let board = Board::adopt(fds.next().ok_or_else(wrong)?.as_fd(), shape)?;
        let mut listeners = Listeners::default();
        for name in words
            .next()
            .unwrap_or("")
            .split(',')
            .filter(|name| !name.is_empty())
        {
            let fd = fds.next().ok_or_else(wrong)?;
            match name {
                METRICS => listeners.metrics = Some(fd.into()),
                SOCKET => listeners.socket = Some(fd.into()),
                _ => return Err(wrong()),
            }
        }
        let frames = super::run::options(args).frames;
        let ports = Ports::adopt(text, fds.collect(), args.lanes(), frames)?;
        Ok(Attached {
            channel: Mutex::new(channel),
            board,
            number,
            ports,
            listeners: Mutex::new(listeners),
        })
    }

    /// Halves of the keeper's ports.
    ///
    /// # Errors
    /// Rings that cannot be mapped.
    pub fn ports(&self) -> Result<Opened, Failure> {
        let lanes = self
            .ports
            .halves(self.board, false)
            .map_err(|error| Failure::new(exit::DEVICE, error))?;
        Ok(Opened {
            lanes,
            clients: Vec::new(),
            zero_copy: false,
            notes: Vec::new(),
            promiscuous: Vec::new(),
            // The keeper looks after them.
            presences: Vec::new(),
        })
    }

    /// Puts an engine under the keeper; gives everybody who counts: its own workers, those of the
    /// engine that has or had the other place, and the keeper.
    pub fn join(&self, engine: &mut Engine) -> Vec<Named> {
        engine.keep(self.board, self.number);
        let mut named = engine.named();
        let others = named
            .clone()
            .into_iter()
            .zip(0..)
            .map(|(worker, index)| Named {
                name: format!("{}-other", worker.name),
                core: None,
                counters: self.board.counters(1 - self.number, index),
                ..worker
            });
        named.extend(others.collect::<Vec<_>>());
        named.push(Named {
            name: "keeper".to_string(),
            lane: 0,
            core: None,
            counters: self.board.keeper_counters(),
        });
        named
    }

    /// Sockets that the keeper opened; once.
    pub fn listeners(&self) -> Listeners {
        std::mem::take(
            &mut *self
                .listeners
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Says that the workers wait for the rings.
    ///
    /// # Errors
    /// The keeper is gone.
    pub fn ready(&self) -> Result<(), Failure> {
        let channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        channel
            .send("ready", &[])
            .map_err(|error| Failure::new(exit::DEVICE, format!("the keeper is gone: {error}")))
    }

    /// Passes an operator's command on.
    ///
    /// # Errors
    /// The keeper's word why not.
    pub fn ask(&self, command: &str) -> Result<String, String> {
        let channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = channel
            .send(command, &[])
            .and_then(|()| channel.receive(true))
            .map_err(|error| format!("the keeper does not answer: {error}"))?
            .map(|message| message.text)
            .unwrap_or_default();
        match answer.split_at_checked(1) {
            Some(("+", text)) => Ok(text.to_string()),
            Some((_, text)) => Err(text.to_string()),
            None => Err("the keeper does not answer".to_string()),
        }
    }

    /// What the keeper does.
    pub fn state(&self) -> State {
        let number = self.board.state() as usize;
        State::ALL.get(number).copied().unwrap_or_default()
    }
}

// ---------------------------------------------------------------------------------------------
// Operators
// ---------------------------------------------------------------------------------------------

/// Where a running engine is spoken to.
#[derive(Args)]
pub struct SocketArgs {
    /// Control socket of the engine (`sluice run --socket PATH`).
    #[arg(long, value_name = "PATH")]
    pub socket: PathBuf,
}

/// Arguments of `sluice passthrough`.
#[derive(Args)]
pub struct PassthroughArgs {
    /// `on` or `off` for a running engine, or two ports.
    #[arg(required = true, num_args = 1..=2, value_name = "on|off|PORT")]
    pub what: Vec<String>,
    /// Control socket of the engine.
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Rings of each port.
    #[arg(long, default_value_t = 1)]
    pub lanes: usize,
    /// Start although a port looks like the management port, or the kernel forwards between ports.
    #[arg(long)]
    pub force: bool,
    /// End after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    pub seconds: Option<u64>,
}

/// Runs `sluice passthrough`.
///
/// # Errors
/// Usage, devices, or an engine that cannot be spoken to.
pub fn passthrough(args: &PassthroughArgs) -> Result<u8, Failure> {
    let usage = "sluice passthrough on --socket PATH, or sluice passthrough INSIDE OUTSIDE";
    match (args.what.as_slice(), &args.socket) {
        ([word], Some(socket)) if word == "on" || word == "off" => {
            let socket = socket.clone();
            command(&SocketArgs { socket }, &format!("passthrough {word}"))
        }
        ([inside, outside], None) if inside == outside => Err(Failure::new(
            exit::USAGE,
            format!("{inside} is named twice\n [hint] {usage}"),
        )),
        ([inside, outside], None) => prove(args, [inside, outside]),
        _ => Err(Failure::new(
            exit::USAGE,
            format!("neither on, off nor two ports\n [hint] {usage}"),
        )),
    }
}

/// Forwards between two ports without an engine, and says how much.
fn prove(args: &PassthroughArgs, names: [&String; 2]) -> Result<u8, Failure> {
    let device = |error: String| Failure::new(exit::DEVICE, error);
    let specs = names
        .iter()
        .map(|name| name.parse())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Failure::new(exit::USAGE, error))?;
    super::guard::check(&args.what, args.force)?;
    let options = super::run::open_options(args.lanes.max(1));
    let ports = Ports::open(&specs, &options).map_err(|error| device(error.to_string()))?;
    Starts::of(&args.what, &specs, &options).tell();
    for note in &ports.notes {
        eprintln!("note: {note}");
    }
    let (board, fd) = Board::create(Shape {
        lanes: args.lanes.max(1) as u32,
        ports: 2,
        workers: 1,
    })
    .map_err(|error| device(error.to_string()))?;
    let mut keeper = Keeper::new(Setup {
        ports,
        board: (board, fd),
        engine: None,
        listeners: Vec::new(),
        policy: Policy::Open,
        limit: Duration::from_millis(LIMIT_SHARED_MS),
        pause_max: supervise::PAUSE_MAX,
        flags: flags()?,
        seconds: args.seconds.map(Duration::from_secs),
    })
    .map_err(|error| device(error.to_string()))?;
    eprintln!("ready: passthrough {} {}", names[0], names[1]);
    let code = keeper.run();
    use crate::counters::Counter;
    let counters = board.keeper_counters();
    println!("received  {:>14}", counters.get(Counter::PacketsReceived));
    println!("forwarded {:>14}", counters.get(Counter::PacketsBypassed));
    println!("dropped   {:>14}", counters.get(Counter::PacketsDropped));
    let places = (0..board.shape().lanes).flat_map(|lane| [(lane, 0), (lane, 1)]);
    let syncs: u64 = places
        .flat_map(|(lane, port)| {
            [Half::Receive, Half::Transmit].map(|half| board.tally(lane, port, half))
        })
        .map(|tally| tally.counters.get(PortCounter::Syncs))
        .sum();
    println!("syncs     {syncs:>14}");
    Ok(code)
}

/// Says one line to a running engine, and prints what it answers.
///
/// # Errors
/// Nobody listens, or the answer is no.
pub fn command(args: &SocketArgs, line: &str) -> Result<u8, Failure> {
    let said = super::ask::say(&args.socket, line, COMMAND_TIME)?;
    let answer = said.map_err(|error| Failure::new(exit::FINDINGS, error))?;
    println!("{}", answer["message"].as_str().unwrap_or_default());
    Ok(exit::OK)
}
