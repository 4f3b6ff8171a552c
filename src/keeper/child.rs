//! An engine as a child process of the keeper: how it is started, fenced and buried.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::{Duration, Instant};

use super::board::{Board, state};
use super::channel::Channel;
use super::futex;

/// How far an engine has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// It loads rules and makes memory ready.
    Starting,
    /// Its workers wait for the rings.
    Ready,
    /// It has been told to end.
    Ending,
}

/// A running engine.
pub struct Engine {
    child: Child,
    /// The way to it.
    pub channel: Channel,
    /// Its place on the board.
    pub number: u32,
    /// How far it has come.
    pub stage: Stage,
    /// When it was started.
    pub started: Instant,
    /// When it first had the rings.
    pub served: Option<Instant>,
    /// Since when it is known to end, by the keeper's time.
    pub ends_since: Option<Duration>,
}

/// Name of the argument that tells an engine the number of its channel's descriptor.
pub const CHANNEL_ARGUMENT: &str = "--engine-channel";

impl Engine {
    /// Starts an engine: `program` with `arguments` and the number of its end of the channel.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn start(
        program: &Path,
        arguments: &[OsString],
        board: Board,
        number: u32,
    ) -> io::Result<Engine> {
        for post in board.posts(number) {
            post.futex.store(0, Release);
            post.thread.store(0, Release);
            post.state.store(state::NONE, Release);
            post.receives.store(0, Release);
        }
        let (channel, theirs) = Channel::pair()?;
        let fd = theirs.raw();
        let mut command = Command::new(program);
        command
            .args(arguments)
            .arg(CHANNEL_ARGUMENT)
            .arg(fd.to_string())
            .stdin(std::process::Stdio::null())
            // Signals of a terminal are the keeper's to hand on.
            .process_group(0);
        // SAFETY: these calls may be made between fork and exec; they touch no memory.
        unsafe {
            command.pre_exec(move || {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                // Until it takes note of it: logs may be rotated at any time.
                libc::signal(libc::SIGHUP, libc::SIG_IGN);
                // That is the keeper's; sent to all of the service, it ends no engine.
                libc::signal(libc::SIGUSR2, libc::SIG_IGN);
                match libc::fcntl(fd, libc::F_SETFD, 0) {
                    -1 => Err(io::Error::last_os_error()),
                    _ => Ok(()),
                }
            });
        }
        let child = command.spawn()?;
        Ok(Engine {
            child,
            channel,
            number,
            stage: Stage::Starting,
            started: Instant::now(),
            served: None,
            ends_since: None,
        })
    }

    /// Process number.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Whether its end has taken longer than it may, at this moment of the keeper's time. Only once
    /// for each such time.
    pub fn is_overdue(&mut self, board: Board, now: Duration, limit: Duration) -> bool {
        if self.stage != Stage::Ending && !self.has_left(board) {
            return false;
        }
        let since = *self.ends_since.get_or_insert(now);
        let overdue = now.saturating_sub(since) > limit;
        if overdue {
            self.ends_since = None;
        }
        overdue
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: libc::c_int) {
        // SAFETY: no memory is passed. The child has not been waited for (it would be gone from
        // the keeper's list), so that its number is still its own.
        unsafe { libc::kill(self.child.id() as libc::pid_t, signal) };
    }

    /// Its exit status, once it is gone altogether.
    pub fn exit(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Whether one of its workers died.
    pub fn is_dead(&self, board: Board) -> bool {
        board.posts(self.number).any(futex::is_dead)
    }

    /// Whether none of its workers can touch a ring any more.
    pub fn is_gone(&self, board: Board) -> bool {
        board.posts(self.number).all(|post| {
            futex::is_dead(post) || matches!(post.state.load(Acquire), state::NONE | state::ENDED)
        })
    }

    /// Whether it has given the rings back for good.
    pub fn has_left(&self, board: Board) -> bool {
        board.has_left(self.number)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Nothing of ours outlives the keeper.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
