//! The control socket: one command a line, one JSON object a line back.
//!
//! What is asked and answered is commands.rs's. Who may use it is a matter of file permissions: the socket is made in a directory of its own with mode 0700, has
//! mode 0600 before anybody else can see it, and is then moved to its place.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::commands::{self, Answer, Reply};
use super::serve::{Deadline, Server};
use crate::eve;

/// Longest command, bytes, its line end included.
pub const COMMAND_MAX: usize = 64 << 10;
/// Time in which the next command must have come in.
const IDLE: Duration = Duration::from_secs(10);
/// Time for an answer to go out.
const WRITE_TIME: Duration = Duration::from_secs(2);
/// Time for turning a connection away.
const REFUSE_TIME: Duration = Duration::from_millis(50);

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
                let _ = send(&mut stream, &Answer::Ours(Box::new(Reply::error(what))));
                return;
            }
        };
        let (words, answer) = commands::obey(command.trim(), shared);
        if send(&mut stream, &answer).is_err() {
            return;
        }
        if words == "shutdown" {
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
        if commands::is_whole(buffer) {
            let whole = String::from_utf8_lossy(buffer).into_owned();
            buffer.clear();
            return Ok(Some(whole));
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

fn send(stream: &mut UnixStream, reply: &Answer) -> io::Result<()> {
    let mut line = Vec::new();
    eve::line(&mut line, reply).map_err(io::Error::other)?;
    Deadline::after(WRITE_TIME).write(stream, &line)
}
