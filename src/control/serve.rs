//! A server for few connections: each has a thread, an end in time, and cannot hold up another.
//!
//! What is served is http.rs's and socket.rs's. Here stand the bounds: how many connections at
//! once, how long each may take, and how all of it ends.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicUsize, Ordering::AcqRel, Ordering::Acquire, Ordering::Release,
};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Connections at once; more are turned away.
pub const CONNECTIONS_MAX: usize = 4;
/// Pause after an `accept` that failed (no descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long `stop` waits for connections to end by themselves.
const STOP_WAIT: Duration = Duration::from_secs(3);

/// A stream with time limits on single reads and writes.
pub trait Stream: Read + Write + Send + 'static {
    /// Limits the next reads and writes.
    ///
    /// # Errors
    /// What the system says.
    fn limit(&self, time: Duration) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn limit(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))?;
        self.set_write_timeout(Some(time))
    }
}

impl Stream for UnixStream {
    fn limit(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))?;
        self.set_write_timeout(Some(time))
    }
}

/// A moment by which something must be over, however the time until then is used.
#[derive(Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    /// In `time` from now.
    pub fn after(time: Duration) -> Deadline {
        Deadline(Instant::now() + time)
    }

    fn arm(self, stream: &impl Stream) -> io::Result<()> {
        match self.0.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => stream.limit(left),
            _ => Err(ErrorKind::TimedOut.into()),
        }
    }

    /// Reads what there is, within the deadline.
    ///
    /// # Errors
    /// The deadline passes, or what the system says.
    pub fn read(self, stream: &mut impl Stream, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.arm(stream)?;
            match stream.read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                outcome => return outcome,
            }
        }
    }

    /// Writes all of `bytes` within the deadline: a reader of one byte a second does not stretch it.
    ///
    /// # Errors
    /// The deadline passes, or what the system says.
    pub fn write(self, stream: &mut impl Stream, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.arm(stream)?;
            match stream.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => bytes = bytes.get(count..).unwrap_or(&[]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// What connections come from.
pub trait Listen: Send + 'static {
    /// A connection.
    type Stream: Stream;

    /// Waits for the next one.
    ///
    /// # Errors
    /// What the system says.
    fn next(&self) -> io::Result<Self::Stream>;
}

impl Listen for TcpListener {
    type Stream = TcpStream;

    fn next(&self) -> io::Result<TcpStream> {
        self.accept().map(|(stream, _)| stream)
    }
}

impl Listen for UnixListener {
    type Stream = UnixStream;

    fn next(&self) -> io::Result<UnixStream> {
        self.accept().map(|(stream, _)| stream)
    }
}

/// Where a server listens, so that it can be woken and cleared away.
enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
    /// Opened elsewhere, and served by others after us.
    Given(Option<SocketAddr>),
}

/// A running server.
pub struct Server {
    place: Place,
    stop: Arc<AtomicBool>,
    active: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

/// Counts a connection for as long as it lives.
struct Slot(Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, AcqRel);
    }
}

impl Server {
    /// Serves TCP connections with `serve`; one too many is given to `refuse`, which must be quick.
    ///
    /// # Errors
    /// No thread, or no address.
    pub fn tcp<F>(listener: TcpListener, serve: F, refuse: fn(TcpStream)) -> io::Result<Server>
    where
        F: Fn(TcpStream) + Send + Sync + 'static,
    {
        let place = Place::Tcp(listener.local_addr()?);
        Server::start(listener, place, "sluice-metrics", serve, refuse)
    }

    /// Serves connections to a unix socket at `path`, as above.
    ///
    /// # Errors
    /// No thread.
    pub fn unix<F>(
        listener: UnixListener,
        path: PathBuf,
        serve: F,
        refuse: fn(UnixStream),
    ) -> io::Result<Server>
    where
        F: Fn(UnixStream) + Send + Sync + 'static,
    {
        Server::start(listener, Place::Unix(path), "sluice-socket", serve, refuse)
    }

    fn start<L: Listen, F>(
        listener: L,
        place: Place,
        name: &'static str,
        serve: F,
        refuse: fn(L::Stream),
    ) -> io::Result<Server>
    where
        F: Fn(L::Stream) + Send + Sync + 'static,
    {
        let stop = Arc::new(AtomicBool::new(false));
        let active = Arc::new(AtomicUsize::new(0));
        let (stopped, slots) = (Arc::clone(&stop), Arc::clone(&active));
        let serve = Arc::new(serve);
        let accept = move || {
            while let Some(stream) = next(&listener, &stopped) {
                if slots.fetch_add(1, AcqRel) >= CONNECTIONS_MAX {
                    slots.fetch_sub(1, AcqRel);
                    refuse(stream);
                    continue;
                }
                let slot = Slot(Arc::clone(&slots));
                let serve = Arc::clone(&serve);
                // Without a thread the closure, and with it stream and slot, is dropped.
                let _ = std::thread::Builder::new()
                    .name(name.to_string())
                    .spawn(move || {
                        serve(stream);
                        drop(slot);
                    });
            }
        };
        let thread = std::thread::Builder::new()
            .name(name.to_string())
            .spawn(accept)?;
        Ok(Server {
            place,
            stop,
            active,
            thread,
        })
    }

    /// Leaves the place to others when it stops: the listener came from somebody who keeps it.
    pub fn given(mut self) -> Server {
        self.place = Place::Given(self.address());
        self
    }

    /// Address, if it is served by TCP.
    pub fn address(&self) -> Option<SocketAddr> {
        match self.place {
            Place::Tcp(address) => Some(address),
            Place::Unix(_) => None,
            Place::Given(address) => address,
        }
    }

    /// Takes no more connections and waits a moment for those there are.
    pub fn stop(self) {
        self.stop.store(true, Release);
        // The connection wakes `accept`; if it cannot be made, nobody listens any more.
        let woken = match &self.place {
            Place::Tcp(address) => TcpStream::connect(address).is_ok(),
            // Another engine might be the one that is woken; the thread ends with the process.
            Place::Given(_) => false,
            Place::Unix(path) => {
                let woken = UnixStream::connect(path).is_ok();
                let _ = std::fs::remove_file(path);
                woken
            }
        };
        if woken {
            let _ = self.thread.join();
        }
        let deadline = Instant::now() + STOP_WAIT;
        while self.active.load(Acquire) > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The next connection; `None` once the server is to stop.
fn next<L: Listen>(listener: &L, stopped: &AtomicBool) -> Option<L::Stream> {
    loop {
        let connection = listener.next();
        if stopped.load(Acquire) {
            return None;
        }
        match connection {
            Ok(stream) => return Some(stream),
            Err(_) => std::thread::sleep(ACCEPT_PAUSE),
        }
    }
}
