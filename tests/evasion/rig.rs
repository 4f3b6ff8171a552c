//! The rig: a sender that obeys nobody (raw frames), the appliance or a bare bridge in the middle,
//! and Linux with real sockets as the receiver. Hundreds of cases run side by side, round by round.
//!
//! A case is judged by what its application read. Bytes that were inspected are bytes that a rule
//! can stop: what arrived without rules must not arrive again once a `drop` rule holds exactly it.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::wire::frame::{ACK, PSH, Packet, SYN, Segment};
use crate::wire::{
    Namespace, Offload, Process, RawSocket, Wire, appliance, ip, link_address, offload, pin, sysctl,
};

/// Port of the receiving application.
pub const PORT: u16 = 7001;
/// Cases that run side by side.
const ABREAST: usize = 400;
/// Frames sent before the machine gets a breath: no queue on the way may overflow.
const BREATH: usize = 100;
/// A round is over when nothing has come for this long.
const QUIET: Duration = Duration::from_millis(15);
/// Longest round.
const ROUND: Duration = Duration::from_secs(2);
/// First client port.
const PORTS_FROM: usize = 10_000;
const UDP: u8 = 17;

/// How the receiver's application listens.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum App {
    /// Reads all it gets.
    Plain,
    /// Urgent bytes stay in the stream.
    UrgentInline,
    /// A receive buffer of a few kilobytes, and it reads only when told.
    Slow,
    /// Takes data on the SYN.
    FastOpen,
    /// Linux connects to the raw host.
    Active,
    /// UDP.
    Datagram,
}

impl App {
    const LISTENING: [App; 4] = [App::Plain, App::UrgentInline, App::Slow, App::FastOpen];

    fn port(self) -> u16 {
        PORT + self as u16
    }
}

/// What the raw host knows of its peer.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Its own initial sequence number.
    pub isn: u32,
    /// The other's.
    pub other_isn: u32,
    /// Next number expected from the other.
    pub next: u32,
    /// The other's newest timestamp.
    pub stamp: u32,
    /// The other's port.
    pub port: u16,
    /// Resets that came.
    pub resets: u32,
    /// Newest acknowledgement from the other.
    pub acked: u32,
}

type Tweak = Arc<dyn Fn(&mut Packet, &mut Segment, &Peer) + Send + Sync>;
type Make = Arc<dyn Fn(&Packet, &Peer, u16) -> Vec<Vec<u8>> + Send + Sync>;
type Cut = Arc<dyn Fn(&Packet, &[u8]) -> Vec<Vec<u8>> + Send + Sync>;

/// One thing that happens in a round.
#[derive(Clone)]
pub enum Step {
    /// The raw host sends a segment whose first byte stands so many bytes after the SYN.
    Send(i64, u8, Vec<u8>, Vec<Tweak>, Option<Cut>),
    /// The raw host sends frames made by the caller from an honest packet and its port.
    Frames(Make),
    /// The application writes.
    Write(Vec<u8>),
    /// The application closes.
    Close,
    /// The slow application reads from now on.
    Resume,
    /// Linux connects.
    Connect,
    /// Nothing, for so long.
    Pause(Duration),
}

/// A data segment.
pub fn data(offset: i64, bytes: &[u8]) -> Step {
    Step::Send(offset, PSH | ACK, bytes.to_vec(), Vec::new(), None)
}

/// A segment of other flags.
pub fn flags(offset: i64, flags: u8, bytes: &[u8]) -> Step {
    Step::Send(offset, flags, bytes.to_vec(), Vec::new(), None)
}

impl Step {
    /// The same step with something changed before it goes out.
    pub fn but(
        mut self,
        tweak: impl Fn(&mut Packet, &mut Segment, &Peer) + Send + Sync + 'static,
    ) -> Step {
        if let Step::Send(_, _, _, tweaks, _) = &mut self {
            tweaks.push(Arc::new(tweak));
        }
        self
    }

    /// The same step, its IP payload cut to frames by the caller.
    pub fn cut(
        mut self,
        way: impl Fn(&Packet, &[u8]) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> Step {
        if let Step::Send(_, _, _, _, cut) = &mut self {
            *cut = Some(Arc::new(way));
        }
        self
    }
}

/// A flow with an intent.
#[derive(Clone)]
pub struct Case {
    /// Row of the table.
    pub class: &'static str,
    /// What it does.
    pub name: String,
    /// Who listens.
    pub app: App,
    /// Family.
    pub v6: bool,
    /// Both ends use timestamps.
    pub stamps: bool,
    /// Initial sequence number of the raw host.
    pub isn: u32,
    /// Steps by round.
    pub rounds: Vec<Vec<Step>>,
    /// What must arrive, byte for byte, through an appliance without rules.
    pub expect: Option<Vec<u8>>,
}

impl Case {
    /// A case that starts with an ordinary handshake.
    pub fn new(class: &'static str, name: impl Into<String>) -> Case {
        Case {
            class,
            name: name.into(),
            app: App::Plain,
            v6: false,
            stamps: false,
            isn: 0x1000_0000,
            rounds: vec![vec![flags(-1, SYN, b"")], vec![flags(0, ACK, b"")]],
            expect: None,
        }
    }

    /// Adds a round.
    pub fn round(mut self, steps: impl IntoIterator<Item = Step>) -> Case {
        self.rounds.push(steps.into_iter().collect());
        self
    }
}

/// Options of a segment of a case: the ones of a SYN, or the timestamp.
fn options(case: &Case, peer: &Peer, is_syn: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    if is_syn {
        bytes.extend([2, 4, 5, 0xb4]);
        bytes.extend([3, 3, 7, 1]);
    }
    if case.stamps {
        bytes.extend([1, 1, 8, 10]);
        bytes.extend(stamp_now().to_be_bytes());
        bytes.extend(peer.stamp.to_be_bytes());
    }
    bytes
}

/// The raw host's timestamp clock: milliseconds, as Linux has it.
pub fn stamp_now() -> u32 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    1_000_000 + START.get_or_init(Instant::now).elapsed().as_millis() as u32
}

/// A connection of the application.
struct Conn {
    stream: TcpStream,
    bytes: Vec<u8>,
    reads: bool,
    over: bool,
}

#[derive(Default)]
struct Shared {
    conns: HashMap<SocketAddr, Vec<Conn>>,
    datagrams: HashMap<SocketAddr, Vec<u8>>,
}

/// The applications in the server's namespace.
struct Apps {
    shared: Arc<Mutex<Shared>>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

fn set_option<T>(socket: &impl AsRawFd, level: i32, option: i32, value: T) {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the pointer and the length are the value's.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            length,
        )
    };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

impl Apps {
    fn start(server: &Namespace) -> Apps {
        let (shared, stop) = (
            Arc::new(Mutex::new(Shared::default())),
            Arc::new(AtomicBool::new(false)),
        );
        let (listeners, sockets) = server.inside(|| {
            let mut listeners = Vec::new();
            for app in App::LISTENING {
                let listener = TcpListener::bind(("::", app.port())).unwrap();
                // SAFETY: a listening socket of ours; the backlog becomes longer.
                unsafe { libc::listen(listener.as_raw_fd(), 4096) };
                match app {
                    App::UrgentInline => {
                        set_option(&listener, libc::SOL_SOCKET, libc::SO_OOBINLINE, 1i32)
                    }
                    App::Slow => set_option(&listener, libc::SOL_SOCKET, libc::SO_RCVBUF, 4096i32),
                    App::FastOpen => {
                        set_option(&listener, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, 64i32)
                    }
                    _ => {}
                }
                listener.set_nonblocking(true).unwrap();
                listeners.push((app, listener));
            }
            let socket = UdpSocket::bind(("::", App::Datagram.port())).unwrap();
            socket.set_nonblocking(true).unwrap();
            set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 32i32 << 20);
            (listeners, socket)
        });
        let thread = {
            let (shared, stop) = (Arc::clone(&shared), Arc::clone(&stop));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let mut shared = shared.lock().unwrap();
                    for (app, listener) in &listeners {
                        while let Ok((stream, from)) = listener.accept() {
                            shared.adopt(stream, from, *app != App::Slow);
                        }
                    }
                    shared.read(&sockets);
                    drop(shared);
                    std::thread::sleep(Duration::from_millis(2));
                }
            })
        };
        Apps {
            shared,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Apps {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}

/// Addresses without the mapping of IPv4 to IPv6.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

impl Shared {
    fn adopt(&mut self, stream: TcpStream, from: SocketAddr, reads: bool) {
        stream.set_nonblocking(true).unwrap();
        let conn = Conn {
            stream,
            bytes: Vec::new(),
            reads,
            over: false,
        };
        self.conns.entry(plain(from)).or_default().push(conn);
    }

    fn read(&mut self, datagrams: &UdpSocket) {
        let mut buffer = [0; 1 << 16];
        for conn in self
            .conns
            .values_mut()
            .flatten()
            .filter(|conn| conn.reads && !conn.over)
        {
            loop {
                match conn.stream.read(&mut buffer) {
                    Ok(0) => conn.over = true,
                    Ok(count) => {
                        conn.bytes.extend(&buffer[..count]);
                        continue;
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => conn.over = true,
                }
                break;
            }
        }
        while let Ok((count, from)) = datagrams.recv_from(&mut buffer) {
            self.datagrams
                .entry(plain(from))
                .or_default()
                .extend(&buffer[..count]);
        }
    }

    /// All that came from an address, over all its connections.
    fn bytes_from(&self, from: SocketAddr) -> Vec<u8> {
        let conns = self.conns.get(&from).into_iter().flatten();
        let mut bytes: Vec<u8> = conns.flat_map(|conn| conn.bytes.iter().copied()).collect();
        bytes.extend(self.datagrams.get(&from).into_iter().flatten());
        bytes
    }
}

/// What is between the two.
pub enum Middle<'a> {
    /// The kernel's bridge: everything goes through.
    Bridge,
    /// `sluice run --inline` with these arguments and rules.
    Appliance(&'a [&'a str], &'a str),
}

/// What a pass came to.
pub struct Pass {
    /// By case, what its application read.
    pub delivered: Vec<Vec<u8>>,
    /// Frames that came out and had not gone in just so.
    pub modified: usize,
    /// The appliance's summary.
    pub summary: serde_json::Value,
}

fn digest(frame: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    frame.hash(&mut hasher);
    hasher.finish()
}

/// Both hosts and what is between them.
pub struct Rig {
    wire: Wire,
    apps: Apps,
    near: RawSocket,
    far: RawSocket,
    links: [[u8; 6]; 2],
    /// Passes so far: each has client addresses of its own.
    passes: u16,
    /// Frames under way, by digest: how often they went in less how often they came out.
    under_way: HashMap<u64, i64>,
    peers: HashMap<(IpAddr, u16), Peer>,
}

impl Rig {
    /// Namespaces, routes, applications.
    pub fn new() -> Rig {
        pin(0);
        let wire = Wire::bare();
        let near_link = wire.client.inside(|| {
            sysctl("net/ipv6/conf/a0/disable_ipv6", "1");
            link_address("a0")
        });
        let text = near_link.map(|byte| format!("{byte:02x}")).join(":");
        let far_link = wire.server.inside(|| {
            for (key, value) in [
                ("net/core/somaxconn", "4096"),
                ("net/ipv4/tcp_max_syn_backlog", "8192"),
                ("net/ipv4/tcp_syncookies", "0"),
                ("net/ipv4/tcp_fastopen", "515"),
                ("net/ipv4/tcp_invalid_ratelimit", "0"),
                ("net/ipv4/tcp_challenge_ack_limit", "1000000"),
                ("net/ipv4/ipfrag_high_thresh", "268435456"),
                ("net/ipv6/ip6frag_high_thresh", "268435456"),
                ("net/ipv4/ipfrag_max_dist", "0"),
            ] {
                sysctl(key, value);
            }
            offload("b0", Offload::TxChecksum, false);
            for line in [
                "address add 10.9.0.2/24 dev b0".to_string(),
                "address add fd00:9::2/64 dev b0 nodad".to_string(),
                format!("neigh replace 10.9.0.1 lladdr {text} nud permanent dev b0"),
                format!("neigh replace fd00:9::1 lladdr {text} nud permanent dev b0"),
                "route add 10.8.0.0/16 via 10.9.0.1".to_string(),
                "route add fd00:8::/32 via fd00:9::1".to_string(),
            ] {
                ip(&line);
            }
            link_address("b0")
        });
        let apps = Apps::start(&wire.server);
        Rig {
            near: wire.client.inside(|| RawSocket::open("a0", false)),
            far: wire.server.inside(|| RawSocket::open("b0", true)),
            wire,
            apps,
            links: [far_link, near_link],
            passes: 0,
            under_way: HashMap::new(),
            peers: HashMap::new(),
        }
    }

    /// Runs all cases through the middle.
    pub fn pass(&mut self, cases: &[Case], middle: &Middle) -> Pass {
        self.passes += 1;
        self.under_way.clear();
        let scratch = crate::wire::Scratch::new(&format!("evasion-{}", self.passes));
        let running = self.begin(middle, &scratch.0);
        let mut delivered = Vec::new();
        for (number, some) in cases.chunks(ABREAST).enumerate() {
            delivered.extend(self.abreast(some, number * ABREAST));
        }
        let summary = match running {
            Some(process) => {
                let ended = process.stop();
                assert_eq!(ended.code, Some(0), "{}", ended.errors);
                let summary = ended.json();
                assert_eq!(summary["unaccounted"], 0, "{summary}");
                summary
            }
            None => {
                self.wire.appliance.inside(|| ip("link del br0"));
                serde_json::Value::Null
            }
        };
        self.collect();
        let missed = (self.near.missed(), self.far.missed());
        assert_eq!(missed, (0, 0), "the rig itself loses frames");
        let nowhere = self.under_way.values().filter(|count| **count < 0);
        Pass {
            delivered,
            modified: nowhere.count(),
            summary,
        }
    }

    fn begin(&mut self, middle: &Middle, scratch: &Path) -> Option<Process> {
        match middle {
            Middle::Bridge => {
                self.wire.appliance.inside(|| {
                    ip("link add br0 type bridge mcast_snooping 0");
                    ip("link set a1 master br0");
                    ip("link set b1 master br0");
                    ip("link set br0 up");
                });
                None
            }
            Middle::Appliance(arguments, rules) => {
                let path = scratch.join("r.rules");
                std::fs::write(&path, rules).unwrap();
                let mut all = vec!["--inline", "a1", "b1", "-S", path.to_str().unwrap()];
                all.extend(*arguments);
                Some(appliance(&self.wire, &all))
            }
        }
    }

    fn client_of(&self, case: &Case, number: usize) -> SocketAddr {
        let pass = self.passes;
        let text = match case.v6 {
            true => format!("fd00:8:{pass}::{:x}", 1 + number / 40_000),
            false => format!("10.8.{pass}.{}", 1 + number / 40_000),
        };
        SocketAddr::new(text.parse().unwrap(), (PORTS_FROM + number % 40_000) as u16)
    }

    /// Runs some cases side by side; `first` is the number of the first.
    fn abreast(&mut self, cases: &[Case], first: usize) -> Vec<Vec<u8>> {
        let clients: Vec<SocketAddr> = (first..)
            .zip(cases)
            .map(|(number, case)| self.client_of(case, number))
            .collect();
        self.peers.clear();
        for (client, case) in clients.iter().zip(cases) {
            let peer = Peer {
                isn: case.isn,
                port: case.app.port(),
                ..Peer::default()
            };
            self.peers.insert((client.ip(), client.port()), peer);
        }
        let rounds = cases
            .iter()
            .map(|case| case.rounds.len())
            .max()
            .unwrap_or(0);
        for round in 0..rounds {
            let mut sent = 0;
            for (client, case) in clients.iter().zip(cases) {
                for step in case.rounds.get(round).into_iter().flatten() {
                    sent += self.perform(*client, case, step);
                    if sent >= BREATH {
                        sent = 0;
                        self.collect();
                        std::thread::sleep(Duration::from_millis(1));
                    }
                }
            }
            self.settle();
        }
        // Applications read every two milliseconds.
        std::thread::sleep(Duration::from_millis(20));
        let mut shared = self.apps.shared.lock().unwrap();
        let delivered = clients
            .iter()
            .map(|client| shared.bytes_from(*client))
            .collect();
        shared.conns.clear();
        shared.datagrams.clear();
        delivered
    }

    fn perform(&mut self, client: SocketAddr, case: &Case, step: &Step) -> usize {
        match step {
            Step::Send(offset, flags, bytes, tweaks, cut) => {
                let frames = self.frames(client, case, (*offset, *flags, bytes), tweaks, cut);
                frames.iter().for_each(|frame| self.send(frame));
                return frames.len();
            }
            Step::Frames(make) => {
                let peer = &self.peers[&(client.ip(), client.port())];
                let frames = make(&self.packet(client), peer, client.port());
                frames.iter().for_each(|frame| self.send(frame));
                return frames.len();
            }
            Step::Write(bytes) => {
                self.with_conn(client, |conn| {
                    let _ = conn.stream.write(bytes);
                });
            }
            Step::Close => self.with_conn(client, |conn| {
                let _ = conn.stream.shutdown(std::net::Shutdown::Write);
            }),
            Step::Resume => self.with_conn(client, |conn| conn.reads = true),
            Step::Connect => {
                let shared = Arc::clone(&self.apps.shared);
                let connect = move || {
                    if let Ok(stream) = TcpStream::connect_timeout(&client, Duration::from_secs(3))
                    {
                        shared.lock().unwrap().adopt(stream, client, true);
                    }
                };
                // The thread keeps the namespace that it was born in.
                self.wire.server.inside(|| {
                    std::thread::spawn(connect);
                });
                self.settle();
            }
            Step::Pause(time) => {
                let end = Instant::now() + *time;
                while Instant::now() < end {
                    self.collect();
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
        0
    }

    fn with_conn(&mut self, client: SocketAddr, work: impl FnOnce(&mut Conn)) {
        let mut shared = self.apps.shared.lock().unwrap();
        if let Some(conn) = shared
            .conns
            .get_mut(&client)
            .and_then(|conns| conns.last_mut())
        {
            work(conn);
        }
    }

    fn packet(&self, client: SocketAddr) -> Packet {
        let server: IpAddr = match client.is_ipv6() {
            true => "fd00:9::2".parse().unwrap(),
            false => "10.9.0.2".parse().unwrap(),
        };
        Packet::new(self.links, client.ip(), server)
    }

    fn frames(
        &self,
        client: SocketAddr,
        case: &Case,
        (offset, flags, bytes): (i64, u8, &[u8]),
        tweaks: &[Tweak],
        cut: &Option<Cut>,
    ) -> Vec<Vec<u8>> {
        let peer = &self.peers[&(client.ip(), client.port())];
        let mut packet = self.packet(client);
        let mut segment = Segment {
            ports: [client.port(), peer.port],
            seq: peer.isn.wrapping_add(1).wrapping_add(offset as u32),
            ack: if flags & ACK != 0 { peer.next } else { 0 },
            flags,
            window: 60_000,
            options: options(case, peer, flags & SYN != 0),
            data: bytes.to_vec(),
            ..Segment::default()
        };
        for tweak in tweaks {
            tweak(&mut packet, &mut segment, peer);
        }
        match cut {
            Some(cut) => cut(&packet, &segment.bytes(packet.src, packet.dst)),
            None => vec![segment.frame(&packet)],
        }
    }

    fn send(&mut self, frame: &[u8]) {
        *self.under_way.entry(digest(frame)).or_default() += 1;
        self.near.send(frame);
    }

    /// Takes what has come at both ends. Returns how many frames came to the raw host.
    fn collect(&mut self) -> usize {
        let mut count = 0;
        let [server, client] = self.links;
        while let Some(frame) = self.far.receive() {
            // What the receiver sends goes in here; what it gets comes out.
            let change = match frame.get(..12) {
                Some(links) if links[6..] == server => 1,
                Some(links) if links[..6] == server => -1,
                _ => 0,
            };
            *self.under_way.entry(digest(frame)).or_default() += change;
        }
        while let Some(frame) = self.near.receive() {
            let frame = frame.to_vec();
            if frame[..6] == client {
                count += 1;
                *self.under_way.entry(digest(&frame)).or_default() -= 1;
                self.learn(&frame);
            }
        }
        count
    }

    fn learn(&mut self, frame: &[u8]) {
        let Some((_, to, segment)) = Segment::read(frame) else {
            return;
        };
        let Some(peer) = self.peers.get_mut(&(to, segment.ports[1])) else {
            return;
        };
        let end = segment.seq.wrapping_add(segment.data.len() as u32);
        if segment.flags & SYN != 0 {
            peer.other_isn = segment.seq;
            peer.next = segment.seq.wrapping_add(1);
            peer.port = segment.ports[0];
        } else if segment.flags & 4 != 0 {
            peer.resets += 1;
        } else if segment.seq == peer.next {
            peer.next = end.wrapping_add(u32::from(segment.flags & 1));
        }
        if segment.flags & ACK != 0 {
            peer.acked = segment.ack;
        }
        peer.stamp = segment.timestamp().unwrap_or(peer.stamp);
    }

    /// Waits until nothing more comes.
    fn settle(&mut self) {
        let start = Instant::now();
        let mut last = start;
        while last.elapsed() < QUIET && start.elapsed() < ROUND {
            if self.collect() > 0 {
                last = Instant::now();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A UDP datagram to the datagram application.
pub fn udp(client_port: u16, src: IpAddr, dst: IpAddr, payload: &[u8]) -> Vec<u8> {
    use crate::wire::frame::checksum;
    let length = (payload.len() + 8) as u16;
    let mut bytes = [
        client_port.to_be_bytes(),
        App::Datagram.port().to_be_bytes(),
    ]
    .concat();
    bytes.extend(length.to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(payload);
    let octets = |address: IpAddr| match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let tail = [0, 0, 0, UDP, 0, 0, (length >> 8) as u8, length as u8];
    let sum = checksum(&[&octets(src), &octets(dst), &tail, &bytes]);
    bytes[6..8].copy_from_slice(&sum.to_be_bytes());
    bytes
}
