//! `mem:PATH`: a memory handed to another process. The creator listens at a unix socket; who
//! connects is sent the memfd and the wake-up descriptors (SCM_RIGHTS) and maps them. From then on
//! nothing but the memory is between the two; the connection stays open to tell that one is gone.

use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{Memory, receive_descriptors, send_descriptors};
use crate::port::served::Served;

/// Connections served at once: an engine, its keeper, the next engine, and one to spare.
const CLIENTS_MAX: usize = 4;
/// How often a client looks for the server.
const TURN: Duration = Duration::from_millis(10);

/// Why a memory could not be handed over.
#[derive(Debug)]
pub struct HandoverError {
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub hint: &'static str,
}

impl std::fmt::Display for HandoverError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n [hint] {}", self.what, self.hint)
    }
}

impl std::error::Error for HandoverError {}

/// Hands a memory to all who connect, until dropped.
pub struct Server {
    clients: Arc<AtomicUsize>,
    _served: Served,
}

impl Server {
    /// Listens at `path`. A socket left there by a process that is gone is replaced.
    ///
    /// # Errors
    /// The path is taken, or no socket can be made there.
    pub fn start(memory: Arc<Memory>, path: &Path) -> Result<Server, HandoverError> {
        let clients = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&clients);
        let mut connected: Vec<UnixStream> = Vec::with_capacity(CLIENTS_MAX);
        let turn = move |listener: &UnixListener| serve(&memory, listener, &mut connected, &count);
        let served =
            Served::start(path, "memory-server", turn).map_err(|problem| HandoverError {
                what: match problem.kind() {
                    std::io::ErrorKind::AddrInUse => {
                        format!("{}: another process serves this memory", path.display())
                    }
                    _ => format!("{}: {problem}", path.display()),
                },
                hint: "choose a path in a directory that you may write to, e.g. under /run or /tmp",
            })?;
        Ok(Server {
            clients,
            _served: served,
        })
    }

    /// Processes connected.
    pub fn clients(&self) -> usize {
        self.clients.load(Ordering::Acquire)
    }
}

/// Looks for clients that went and for one that came; says whether one did.
fn serve(
    memory: &Memory,
    listener: &UnixListener,
    clients: &mut Vec<UnixStream>,
    count: &AtomicUsize,
) -> bool {
    clients.retain(is_alive);
    if clients.len() < CLIENTS_MAX
        && let Ok((client, _)) = listener.accept()
    {
        // Counted before it can know of the memory, so that who uses it has been counted.
        count.store(clients.len() + 1, Ordering::Release);
        if memory.send(&client).is_ok() && client.set_nonblocking(true).is_ok() {
            clients.push(client);
            return true;
        }
    }
    count.store(clients.len(), Ordering::Release);
    false
}

/// Whether the other end of a connection is still open: it never says anything, so that reading
/// finds nothing, and finds the end when it is gone.
fn is_alive(client: &UnixStream) -> bool {
    use std::io::Read;
    match (&mut &*client).read(&mut [0]) {
        Ok(0) => false,
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    }
}

/// A memory that another process made, and the connection to it.
pub struct Client {
    /// The memory.
    pub memory: Arc<Memory>,
    connection: UnixStream,
}

impl Client {
    /// Connects to the server at `path`, waiting up to `patience` for it to appear.
    ///
    /// # Errors
    /// Nobody listens, or what was handed over is no memory of this version.
    pub fn connect(path: &Path, patience: Duration) -> Result<Client, HandoverError> {
        let error = |what: String| HandoverError {
            what: format!("mem:{}: {what}", path.display()),
            hint: "start the other end first: pcap-replay replay --port mem:PATH CAPTURE",
        };
        let deadline = Instant::now() + patience;
        let connection = loop {
            match UnixStream::connect(path) {
                Ok(connection) => break connection,
                Err(problem) if Instant::now() >= deadline => {
                    return Err(error(format!("cannot connect: {problem}")));
                }
                Err(_) => std::thread::sleep(TURN),
            }
        };
        let memory = Memory::receive(&connection).map_err(|problem| error(problem.to_string()))?;
        connection
            .set_nonblocking(true)
            .map_err(|problem| error(problem.to_string()))?;
        Ok(Client { memory, connection })
    }

    /// Whether the process that made the memory is still there.
    pub fn is_served(&self) -> bool {
        is_alive(&self.connection)
    }
}

impl Memory {
    /// The memory's descriptor and those that wake receivers: all that another process needs.
    pub fn descriptors(&self) -> Vec<std::os::fd::BorrowedFd<'_>> {
        use std::os::fd::AsFd;
        let wakes = self.wakes.iter().map(AsFd::as_fd);
        std::iter::once(self.fd.as_fd()).chain(wakes).collect()
    }

    /// A memory from the descriptors that `descriptors` gave another process.
    ///
    /// # Errors
    /// They are not those of a memory of this version.
    pub fn from_descriptors(mut fds: Vec<OwnedFd>) -> std::io::Result<Arc<Memory>> {
        if fds.is_empty() {
            return Err(std::io::Error::other("no descriptors were handed over"));
        }
        let memory = fds.remove(0);
        Memory::adopt(memory, fds.into_iter().map(Into::into).collect())
    }

    fn send(&self, socket: &UnixStream) -> std::io::Result<()> {
        send_descriptors(socket, &self.descriptors())
    }

    fn receive(socket: &UnixStream) -> std::io::Result<Arc<Memory>> {
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut fds: Vec<OwnedFd> = receive_descriptors(socket)?;
        if fds.is_empty() {
            return Err(std::io::Error::other("no descriptors were handed over"));
        }
        let memory = fds.remove(0);
        Memory::adopt(memory, fds.into_iter().map(Into::into).collect())
    }
}
