//! An emulated machine for other processes: `netmap-emu:SOCKET:PORT`. Every descriptor is a
//! connection, and the kernel's part of each call runs in the server: so a killed client leaves no
//! call half done, and its end is the end of its connection, as the kernel closes what a process
//! leaves behind. Memory is shared by memfd (SCM_RIGHTS); only calls go through the socket.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use netmap_sys::{NAME_BYTES, PortInfo, Register};

use super::{Machine, errno, readable};
use crate::port::memory::{receive_descriptors, send_descriptors};
use crate::port::netmap::provider::{
    Descriptor, EMULATED, Provider, WORDS, register_of, with_info, words_of,
};
use crate::port::ring::Mapping;
use crate::port::served::Served;

/// Bytes of a request: what, name, registration.
const REQUEST_BYTES: usize = 1 + NAME_BYTES + WORDS * 8;

const OPEN: u8 = b'O';
const INFO: u8 = b'I';
const TXSYNC: u8 = b'T';
const RXSYNC: u8 = b'R';
/// Nothing: who has its answer knows that all calls before it are over.
const NOTHING: u8 = b'N';
/// Bytes of a call: what, and a number that comes back with the answer.
const CALL_BYTES: usize = 1 + 4;

fn write_words(mut out: impl Write, words: &[u64; WORDS]) -> io::Result<()> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    out.write_all(&bytes)
}

fn read_words(mut from: impl Read) -> io::Result<[u64; WORDS]> {
    let mut words = [0; WORDS];
    for word in &mut words {
        let mut bytes = [0; 8];
        from.read_exact(&mut bytes)?;
        *word = u64::from_le_bytes(bytes);
    }
    Ok(words)
}

fn read_status(mut from: impl Read) -> io::Result<()> {
    let mut bytes = [0; 4];
    from.read_exact(&mut bytes)?;
    match i32::from_le_bytes(bytes) {
        0 => Ok(()),
        number => Err(errno(number)),
    }
}

fn write_status<T>(mut out: impl Write, done: &io::Result<T>) -> io::Result<()> {
    let number = match done {
        Ok(_) => 0,
        Err(error) => error.raw_os_error().unwrap_or(libc::EIO),
    };
    out.write_all(&number.to_le_bytes())
}

/// Serves a machine at a socket, until dropped.
pub struct Server {
    _served: Served,
}

impl Server {
    /// Listens at `path`. A socket left there by a process that is gone is replaced.
    ///
    /// # Errors
    /// The path is taken, or no socket can be made there.
    pub fn start(machine: &Machine, path: &Path) -> io::Result<Server> {
        let machine = machine.clone();
        let turn = move |listener: &UnixListener| {
            let came = listener.accept();
            came.map(|(client, _)| spawn(&machine, client)).is_ok()
        };
        Ok(Server {
            _served: Served::start(path, "netmap-emu", turn)?,
        })
    }
}

/// Serves one connection in a thread of its own, which ends with it.
fn spawn(machine: &Machine, client: UnixStream) {
    let machine = machine.clone();
    let name = "netmap-emu-fd".to_string();
    let served = std::thread::Builder::new().name(name).spawn(move || {
        let mut number = None;
        // The end of the connection is no error: it closes the descriptor.
        let _ = client.set_nonblocking(false);
        while serve(&machine, &client, &mut number).is_ok() {}
        if let Some(number) = number {
            machine.close(number);
        }
    });
    // Without a thread the connection closes, and the client is told so.
    drop(served);
}

fn serve(machine: &Machine, mut client: &UnixStream, number: &mut Option<usize>) -> io::Result<()> {
    let mut what = [0];
    client.read_exact(&mut what)?;
    match what[0] {
        TXSYNC | RXSYNC | NOTHING => {
            let mut call = [0; 4];
            client.read_exact(&mut call)?;
            let done = match *number {
                Some(_) if what[0] == NOTHING => Ok(()),
                Some(number) => machine.sync(number, what[0] == RXSYNC),
                None => Err(errno(libc::ENXIO)),
            };
            let mut answer = [0; 8];
            write_status(&mut answer[..4], &done)?;
            answer[4..].copy_from_slice(&call);
            client.write_all(&answer)
        }
        OPEN | INFO => {
            let mut name = [0; NAME_BYTES];
            client.read_exact(&mut name)?;
            let name = String::from_utf8_lossy(&name);
            let name = name.trim_end_matches('\0');
            let asked = register_of(read_words(client)?);
            if what[0] == INFO {
                let done = machine.info(name, asked.mem_id);
                write_status(client, &done)?;
                let answer = with_info(Register::default(), &done.unwrap_or_default());
                return write_words(client, &words_of(&answer));
            }
            let done = machine.register(name, &asked);
            write_status(client, &done)?;
            let Ok((bound, granted)) = done else {
                return Ok(());
            };
            *number = Some(bound);
            write_words(client, &words_of(&granted))?;
            let (memory, wake) = machine.descriptors_of(bound)?;
            send_descriptors(client, &[memory.as_fd(), wake.as_fd()])
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The machine of another process.
pub struct Client {
    path: PathBuf,
}

/// A descriptor of it.
struct RemoteDescriptor {
    connection: UnixStream,
    granted: Register,
    memory: OwnedFd,
    wake: OwnedFd,
    /// Number of the last call; other processes that use the connection begin elsewhere.
    calls: AtomicU32,
}

/// Number of a process's first call.
fn first_call() -> AtomicU32 {
    AtomicU32::new(std::process::id() << 12)
}

/// A descriptor that another process opened.
pub fn adopt(
    connection: OwnedFd,
    memory: OwnedFd,
    wake: OwnedFd,
    granted: Register,
) -> impl Descriptor {
    RemoteDescriptor {
        connection: connection.into(),
        granted,
        memory,
        wake,
        calls: first_call(),
    }
}

impl Client {
    /// A client of the machine at a socket.
    ///
    /// # Errors
    /// Nobody serves one there.
    pub fn connect(path: &Path) -> io::Result<Client> {
        UnixStream::connect(path)?;
        Ok(Client {
            path: path.to_path_buf(),
        })
    }

    fn ask(&self, what: u8, port: &str, asked: &Register) -> io::Result<(UnixStream, Register)> {
        if port.len() >= NAME_BYTES {
            return Err(errno(libc::ENAMETOOLONG));
        }
        let mut connection = UnixStream::connect(&self.path)?;
        let mut request = Vec::with_capacity(REQUEST_BYTES);
        request.push(what);
        request.extend_from_slice(port.as_bytes());
        request.resize(1 + NAME_BYTES, 0);
        write_words(&mut request, &words_of(asked))?;
        connection.write_all(&request)?;
        read_status(&connection)?;
        let answer = register_of(read_words(&connection)?);
        Ok((connection, answer))
    }
}

impl Provider for Client {
    fn info(&self, port: &str, region: u16) -> io::Result<PortInfo> {
        let asked = Register {
            mem_id: region,
            ..Register::default()
        };
        let (_, answer) = self.ask(INFO, port, &asked)?;
        Ok(PortInfo {
            memsize: answer.memsize,
            tx_slots: answer.tx_slots,
            rx_slots: answer.rx_slots,
            tx_rings: answer.tx_rings,
            rx_rings: answer.rx_rings,
            host_tx_rings: answer.host_tx_rings,
            host_rx_rings: answer.host_rx_rings,
            mem_id: answer.mem_id,
            ..PortInfo::default()
        })
    }

    fn open(&self, port: &str, asked: &Register) -> io::Result<Box<dyn Descriptor>> {
        let (connection, granted) = self.ask(OPEN, port, asked)?;
        let mut fds = receive_descriptors(&connection)?.into_iter();
        let (Some(memory), Some(wake)) = (fds.next(), fds.next()) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        Ok(Box::new(RemoteDescriptor {
            connection,
            granted,
            memory,
            wake,
            calls: first_call(),
        }))
    }
}

impl RemoteDescriptor {
    fn call(&self, what: u8) -> io::Result<()> {
        // A server that is gone is a port that is gone.
        let gone = |_| errno(libc::ENXIO);
        let number = self.calls.fetch_add(1, Ordering::Relaxed).to_le_bytes();
        let mut call = [what; CALL_BYTES];
        call[1..].copy_from_slice(&number);
        (&self.connection).write_all(&call).map_err(gone)?;
        loop {
            let mut bytes = [0; 8];
            (&self.connection).read_exact(&mut bytes).map_err(gone)?;
            // The answer to a process that died before it read it is nobody's.
            if bytes[4..] == number {
                return read_status(&bytes[..4]);
            }
        }
    }
}

impl Descriptor for RemoteDescriptor {
    fn granted(&self) -> &Register {
        &self.granted
    }

    fn map(&self) -> io::Result<Arc<Mapping>> {
        Mapping::new(self.memory.as_fd(), self.granted.memsize as usize)
    }

    fn txsync(&self) -> io::Result<()> {
        self.call(TXSYNC)
    }

    fn rxsync(&self) -> io::Result<()> {
        self.call(RXSYNC)
    }

    fn poll(&self, timeout_ms: i32) -> io::Result<bool> {
        let ready = readable(self.wake.as_raw_fd(), timeout_ms);
        self.rxsync()?;
        Ok(ready)
    }

    fn fd(&self) -> RawFd {
        self.wake.as_raw_fd()
    }

    fn share(&self) -> Option<(&'static str, Vec<BorrowedFd<'_>>)> {
        let fds = [
            self.connection.as_fd(),
            self.memory.as_fd(),
            self.wake.as_fd(),
        ];
        Some((EMULATED, fds.to_vec()))
    }

    fn mend(&self) {
        // The server serves a connection in order. One that is gone is told by the next sync.
        let _ = self.call(NOTHING);
    }
}
