//! The control socket: one command a line, one JSON object a line back.
//!
//! Commands: `version`, `stats`, `counters`, `profile`, `reload`, `shutdown`, `help`; and for the keeper
//! `passthrough on`, `passthrough off`, `upgrade`. Who may use it is a
//! matter of file permissions: the socket is made in a directory of its own with mode 0700, has
//! mode 0600 before anybody else can see it, and is then moved to its place.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::serve::{Deadline, Server};
use super::{Shared, Snapshot, summary};
use crate::counters::Counter;
use crate::eve;

/// Longest command, bytes, its line end included.
pub const COMMAND_MAX: usize = 64 << 10;
/// Time in which the next command must have come in.
const IDLE: Duration = Duration::from_secs(10);
/// Time for an answer to go out.
const WRITE_TIME: Duration = Duration::from_secs(2);
/// Time for turning a connection away.
const REFUSE_TIME: Duration = Duration::from_millis(50);

const HELP: &str = "version, stats, counters, profile, reload, reload force, passthrough on, passthrough off, upgrade, \
                    shutdown, help";

/// Listens at `path`.
///
/// # Errors
/// Another engine has the socket, or the directory cannot be written.
pub fn start(path: &Path, shared: Arc<Shared>) -> io::Result<Server> {
    serve_on(bind(path)?, path, shared)
}

/// Takes a path.
///
/// # Errors
/// Another engine has the socket, or the directory cannot be written.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    listen(path).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!(
                "control socket {}: {error}\n [hint] choose another path, or end the engine that \
                 has it",
                path.display()
            ),
        )
    })
}

/// Serves on a socket that is open.
///
/// # Errors
/// No thread.
pub fn serve_on(listener: UnixListener, path: &Path, shared: Arc<Shared>) -> io::Result<Server> {
    Server::unix(
        listener,
        path.to_path_buf(),
        move |stream| serve(stream, &shared),
        refuse,
    )
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    clear(path)?;
    let nest = nest(path)?;
    DirBuilder::new().mode(0o700).create(&nest)?;
    let inside = nest.join("s");
    let listener = UnixListener::bind(&inside).and_then(|listener| {
        fs::set_permissions(&inside, Permissions::from_mode(0o600))?;
        fs::rename(&inside, path)?;
        Ok(listener)
    });
    let _ = fs::remove_file(&inside);
    let _ = fs::remove_dir(&nest);
    listener
}

/// A name beside `path` that nothing has.
fn nest(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}", std::process::id()));
    Ok(path.with_file_name(hidden))
}

/// Removes a socket that an engine left when it was killed; never one that is in use, and never
/// anything that is no socket.
fn clear(path: &Path) -> io::Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(
            ErrorKind::AlreadyExists,
            "is there and no socket",
        ));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        _ => Err(ErrorKind::AddrInUse.into()),
    }
}

fn serve(mut stream: UnixStream, shared: &Shared) {
    let mut line = Vec::new();
    loop {
        let command = match next_line(&mut stream, &mut line) {
            Ok(Some(command)) => command,
            Ok(None) => return,
            Err(what) => {
                let _ = send(&mut stream, &Reply::error(what));
                return;
            }
        };
        let reply = obey(command.trim(), shared);
        if send(&mut stream, &reply).is_err() {
            return;
        }
        if command.trim() == "shutdown" {
            shared.parts.hooks.shutdown();
            return;
        }
    }
}

fn refuse(mut stream: UnixStream) {
    let busy = b"{\"ok\":false,\"error\":\"too many connections\"}\n";
    let _ = Deadline::after(REFUSE_TIME).write(&mut stream, busy);
}

/// Takes the next line out of the stream; `None` at its end or when nothing comes.
fn next_line(
    stream: &mut UnixStream,
    buffer: &mut Vec<u8>,
) -> Result<Option<String>, &'static str> {
    let deadline = Deadline::after(IDLE);
    let mut searched = 0;
    loop {
        let rest = buffer.get(searched..).unwrap_or(&[]);
        if let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=searched + at).collect();
            return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
        }
        searched = buffer.len();
        if searched >= COMMAND_MAX {
            return Err("the command is too long");
        }
        let mut chunk = [0u8; 4096];
        match deadline.read(stream, &mut chunk) {
            Ok(0) | Err(_) => return Ok(None),
            Ok(count) => buffer.extend_from_slice(chunk.get(..count).unwrap_or(&[])),
        }
    }
}

/// What goes back.
#[derive(Serialize, Default)]
struct Reply {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stats: Option<summary::Figures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counters: Option<CounterList>,
}

impl Reply {
    fn message(text: impl Into<String>) -> Self {
        Reply {
            ok: true,
            message: Some(text.into()),
            ..Reply::default()
        }
    }

    fn error(text: impl Into<String>) -> Self {
        Reply {
            error: Some(text.into()),
            ..Reply::default()
        }
    }
}

/// Every counter, under its family and label.
struct CounterList(Snapshot);

impl Serialize for CounterList {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Counter::ALL.iter().map(|counter| {
            let name = match counter.label() {
                Some((label, value)) => format!("{}{{{label}={value}}}", counter.name()),
                None => counter.name().to_string(),
            };
            (name, self.0.get(*counter))
        }))
    }
}

fn obey(command: &str, shared: &Shared) -> Reply {
    match command {
        "version" => Reply::message(format!(
            "sluice {} ({})",
            shared.parts.build.version, shared.parts.build.commit
        )),
        "stats" => {
            let snapshot = shared.snapshot();
            let elapsed = shared.started.elapsed();
            Reply {
                ok: true,
                stats: Some(summary::Figures::of(&snapshot, elapsed, None)),
                ..Reply::default()
            }
        }
        "counters" => Reply {
            ok: true,
            counters: Some(CounterList(shared.snapshot())),
            ..Reply::default()
        },
        "reload" | "reload force" => match shared.reload(command.ends_with("force")) {
            Ok(text) => Reply::message(text),
            Err(text) => Reply::error(text),
        },
        "passthrough on" | "passthrough off" | "upgrade" => {
            match shared.parts.hooks.keeper(command) {
                Ok(text) => Reply::message(text),
                Err(text) => Reply::error(text),
            }
        }
        "profile" => match shared.parts.hooks.profile() {
            Ok(text) => Reply::message(text),
            Err(text) => Reply::error(text),
        },
        "shutdown" => Reply::message("shutting down"),
        "help" | "" => Reply::message(HELP),
        other => {
            let shown: String = other.chars().take(40).collect();
            Reply::error(format!("unknown command `{shown}`; there are {HELP}"))
        }
    }
}

fn send(stream: &mut UnixStream, reply: &Reply) -> io::Result<()> {
    let mut line = Vec::new();
    eve::line(&mut line, reply).map_err(io::Error::other)?;
    Deadline::after(WRITE_TIME).write(stream, &line)
}
