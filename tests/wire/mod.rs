//! Network namespaces with an appliance between them: what the tests on real interfaces share.
//!
//! ```text
//!   client ns            appliance ns               server ns
//!   a0 ──────veth────── a1   sluice   b1 ──────veth────── b0
//!   10.9.0.1/24                                     10.9.0.2/24
//! ```
//! A namespace lives as long as its `Namespace`: nothing is left behind, whatever a test does.
//! Frames are made in frame.rs. Needs root and iproute2; without, tests say so loudly.
#![allow(dead_code, unused_imports)]

pub mod frame;
mod tool;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub use tool::pcap_replay;

/// Longest wait for anything that should happen at once, on a machine that is busy otherwise.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// A test that dies without a word leaves an appliance that ends by itself.
const APPLIANCE_SECONDS: &str = "300";

/// Settings of an engine that holds little: it touches all of its memory before it is ready, and
/// tests start many.
pub const LITTLE: [&str; 12] = [
    "--set",
    "flows=8192",
    "--set",
    "inspected-flows=1024",
    "--set",
    "stream.window-memory=16mb",
    "--set",
    "stream.reassembly.memcap=16mb",
    "--set",
    "defrag.memcap=4mb",
    "--set",
    "app-layer.memory=8mb",
];

/// Whether namespaces can be made here; a loud word, or a failure where a skip is one, if not.
pub fn possible(test: &str) -> bool {
    let unshared = std::thread::spawn(|| unshare_network().is_ok());
    let tool = Command::new("ip").arg("-V").output().is_ok();
    if unshared.join().unwrap() && tool {
        return true;
    }
    let required = std::env::var_os("SLUICE_REQUIRE_ROOT").is_some_and(|value| value == "1");
    assert!(!required, "{test}: network namespaces are not available");
    println!("SKIPPED: {test}: network namespaces need root, and the `ip` command");
    eprintln!("SKIPPED: {test}: network namespaces need root, and the `ip` command");
    false
}

fn check(result: libc::c_int) -> std::io::Result<libc::c_int> {
    match result {
        -1 => Err(std::io::Error::last_os_error()),
        value => Ok(value),
    }
}

fn unshare_network() -> std::io::Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) }).map(|_| ())
}

/// Keeps the calling thread on one processor: veth queues frames on their sender's, so a sender
/// that wanders overtakes itself.
pub fn pin(processor: usize) {
    // SAFETY: the set is a plain value that outlives the calls.
    unsafe {
        // Of the machine: a thread that is kept to one already would be told of that one alone.
        let count = libc::sysconf(libc::_SC_NPROCESSORS_ONLN).max(1) as usize;
        let mut processors: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(processor % count, &mut processors);
        libc::sched_setaffinity(0, size_of_val(&processors), &processors);
    }
}

/// A network namespace without a name.
pub struct Namespace {
    file: File,
}

impl Namespace {
    /// A new one, with its loopback up, and no IPv6 chatter by itself.
    pub fn new() -> Namespace {
        let made = std::thread::spawn(|| {
            unshare_network().unwrap();
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        let namespace = Namespace {
            file: made.join().unwrap(),
        };
        namespace.inside(|| {
            for (key, value) in [
                // Duplicate address detection would hold addresses back for seconds.
                ("net/ipv6/conf/all/accept_dad", "0"),
                ("net/ipv6/conf/default/accept_dad", "0"),
                ("net/ipv6/conf/default/router_solicitations", "0"),
                ("net/ipv6/conf/default/accept_ra", "0"),
                ("net/ipv4/ping_group_range", "0 0"),
            ] {
                sysctl(key, value);
            }
            ip("link set lo up");
        });
        namespace
    }

    /// Does something inside. Sockets and processes made there stay there.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter();
                work()
            });
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Moves the calling thread here.
    pub fn enter(&self) {
        // SAFETY: no memory is passed.
        check(unsafe { libc::setns(self.file.as_raw_fd(), libc::CLONE_NEWNET) }).unwrap();
    }

    /// How `ip` finds it.
    /// A path by which it can be named.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }
}

/// Sets a kernel setting of the calling thread's namespace.
pub fn sysctl(key: &str, value: &str) {
    std::fs::write(Path::new("/proc/sys").join(key), value)
        .unwrap_or_else(|error| panic!("{key}={value}: {error}"));
}

/// Runs `ip` in the calling thread's namespace.
pub fn ip(arguments: &str) {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {told}");
}

/// Link address of an interface of the calling thread's namespace.
pub fn link_address(interface: &str) -> [u8; 6] {
    let output = Command::new("ip")
        .args(["-br", "link", "show", interface])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let word = text.split_whitespace().nth(2).unwrap();
    let bytes: Vec<u8> = word
        .split(':')
        .map(|hex| u8::from_str_radix(hex, 16).unwrap())
        .collect();
    bytes.try_into().unwrap()
}

/// What `ethtool -K` switches, by the commands of linux/ethtool.h.
#[derive(Clone, Copy)]
pub enum Offload {
    /// Checksums of what is sent.
    TxChecksum = 0x17,
    /// Segmentation of TCP.
    Tso = 0x1f,
    /// Segmentation of anything.
    Gso = 0x24,
}

/// Switches an offload of an interface of the calling thread's namespace.
pub fn offload(interface: &str, offload: Offload, on: bool) {
    #[repr(C)]
    struct Value {
        command: u32,
        data: u32,
    }
    let mut value = Value {
        command: offload as u32,
        data: u32::from(on),
    };
    // SAFETY: all-zero is a valid ifreq; the name fits; SIOCETHTOOL reads the name and, through
    // the pointer, `value`, which outlives the call.
    unsafe {
        let fd = check(libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0)).unwrap();
        let fd = OwnedFd::from_raw_fd(fd);
        let mut request: libc::ifreq = std::mem::zeroed();
        for (place, byte) in request.ifr_name.iter_mut().zip(interface.bytes()) {
            *place = byte as libc::c_char;
        }
        request.ifr_ifru.ifru_data = std::ptr::from_mut(&mut value).cast();
        check(libc::ioctl(
            fd.as_raw_fd(),
            libc::SIOCETHTOOL as _,
            &mut request,
        ))
        .unwrap();
    }
}

/// Client, appliance and server, with a cable on each side of the appliance.
pub struct Wire {
    /// Inside: a0.
    pub client: Namespace,
    /// a1 and b1.
    pub appliance: Namespace,
    /// Outside: b0.
    pub server: Namespace,
}

/// A cable from the appliance (`a1`) to a far end (`a0`), both up; segmentation off at the far end.
pub fn cable(appliance: &Namespace, name: &str, far: &Namespace) {
    appliance.inside(|| {
        let far_path = far.path();
        ip(&format!(
            "link add {name}1 numrxqueues 1 numtxqueues 1 type veth peer name {name}0 \
             numrxqueues 1 numtxqueues 1 netns {far_path}"
        ));
        sysctl(&format!("net/ipv6/conf/{name}1/disable_ipv6"), "1");
        ip(&format!("link set {name}1 up"));
    });
    far.inside(|| {
        let interface = format!("{name}0");
        ip(&format!("link set {interface} up"));
        offload(&interface, Offload::Tso, false);
        offload(&interface, Offload::Gso, false);
    });
}

impl Wire {
    /// Cables up, offloads of segmentation off at the far ends, no addresses.
    pub fn bare() -> Wire {
        let wire = Wire {
            client: Namespace::new(),
            appliance: Namespace::new(),
            server: Namespace::new(),
        };
        cable(&wire.appliance, "a", &wire.client);
        cable(&wire.appliance, "b", &wire.server);
        wire
    }

    /// With addresses of both families at both ends.
    pub fn new() -> Wire {
        let wire = Wire::bare();
        for ((namespace, interface), host) in wire.ends().into_iter().zip([1, 2]) {
            namespace.inside(|| {
                ip(&format!("address add 10.9.0.{host}/24 dev {interface}"));
                ip(&format!(
                    "address add fd00:9::{host}/64 dev {interface} nodad"
                ));
            });
        }
        wire
    }

    /// The far ends: namespace and interface.
    pub fn ends(&self) -> [(&Namespace, &'static str); 2] {
        [(&self.client, "a0"), (&self.server, "b0")]
    }
}

/// A folder of a test, gone with it.
pub struct Scratch(pub PathBuf);

impl Scratch {
    /// An empty one.
    pub fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("sluice-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    /// Writes a file and gives its path.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A process that ends with its owner, and what it says.
pub struct Process {
    child: Child,
    errors: Arc<Mutex<String>>,
    output: Option<std::thread::JoinHandle<String>>,
    hearing: Option<std::thread::JoinHandle<()>>,
    what: String,
}

/// How a process ended.
pub struct Ended {
    /// Exit code, if it was not a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub output: String,
    /// Standard error.
    pub errors: String,
}

impl Ended {
    /// Standard output as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.output)
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", self.output, self.errors))
    }
}

impl Process {
    /// Starts a command in a namespace.
    pub fn start(namespace: &Namespace, command: &mut Command) -> Process {
        let what = format!("{command:?}");
        let piped = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = namespace
            .inside(|| piped.spawn())
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        let errors = Arc::new(Mutex::new(String::new()));
        let (stderr, heard) = (child.stderr.take().unwrap(), Arc::clone(&errors));
        let hearing = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut heard = heard.lock().unwrap();
                heard.push_str(&line);
                heard.push('\n');
            }
        });
        let mut stdout = child.stdout.take().unwrap();
        let output = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stdout.read_to_string(&mut text);
            text
        });
        Process {
            child,
            errors,
            output: Some(output),
            hearing: Some(hearing),
            what,
        }
    }

    /// What it has said on standard error so far.
    pub fn errors(&self) -> String {
        self.errors.lock().unwrap().clone()
    }

    /// Waits for a word on standard error.
    pub fn wait_for(&mut self, word: &str) {
        let what = format!("{}: `{word}`", self.what);
        let errors = Arc::clone(&self.errors);
        until(&what, || {
            let said = errors.lock().unwrap().contains(word);
            let ended = !said && self.child.try_wait().unwrap().is_some();
            assert!(!ended, "{what}: it ended: {}", errors.lock().unwrap());
            said
        });
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: libc::c_int) {
        // SAFETY: the child is ours and was not waited for, so the id is still its.
        check(unsafe { libc::kill(self.child.id() as libc::pid_t, signal) }).unwrap();
    }

    /// Waits until it ends.
    pub fn join(mut self) -> Ended {
        let what = format!("the end of {}", self.what);
        let mut code = None;
        until(&what, || match self.child.try_wait().unwrap() {
            Some(status) => {
                code = status.code();
                true
            }
            None => false,
        });
        let output = self.output.take().unwrap().join().unwrap();
        // What it said last may still be on its way through the pipe.
        self.hearing.take().unwrap().join().unwrap();
        Ended {
            code,
            output,
            errors: self.errors(),
        }
    }

    /// SIGTERM, and what it says to that.
    pub fn stop(self) -> Ended {
        self.signal(libc::SIGTERM);
        self.join()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The program: the one that was built with this, or another (`SLUICE_BINARY`), e.g. a copy where
/// nobody stops what runs in the tree that it was built in.
pub fn program() -> std::ffi::OsString {
    std::env::var_os("SLUICE_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_sluice").into())
}

/// `sluice run` with its summary in JSON, ready.
pub fn appliance(wire: &Wire, arguments: &[&str]) -> Process {
    let mut command = Command::new(program());
    command.arg("run").args(LITTLE).args(arguments);
    command.args(["--format", "json", "--seconds", APPLIANCE_SECONDS]);
    let mut process = Process::start(&wire.appliance, &mut command);
    process.wait_for("ready:");
    process
}

/// Waits until something holds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Every frame that an interface brings, and a way to send some.
pub struct RawSocket {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

impl RawSocket {
    /// Opens an interface of the calling thread's namespace; `outgoing` shows what others send
    /// there, too.
    pub fn open(interface: &str, outgoing: bool) -> RawSocket {
        const PACKET_IGNORE_OUTGOING: libc::c_int = 23;
        const BUFFER_BYTES: libc::c_int = 64 << 20;
        let name = std::ffi::CString::new(interface).unwrap();
        // SAFETY: names and values are valid for the calls; each result is checked.
        unsafe {
            let index = libc::if_nametoindex(name.as_ptr());
            assert!(
                index != 0,
                "{interface}: {}",
                std::io::Error::last_os_error()
            );
            let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
            let fd = check(libc::socket(libc::AF_PACKET, kind, 0)).unwrap();
            let fd = OwnedFd::from_raw_fd(fd);
            let ignore = libc::c_int::from(!outgoing);
            for (level, option, value) in [
                (libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, ignore),
                (libc::SOL_PACKET, libc::PACKET_AUXDATA, 1),
                (libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, BUFFER_BYTES),
                (libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, BUFFER_BYTES),
            ] {
                let place = std::ptr::from_ref(&value).cast();
                let length = size_of_val(&value) as libc::socklen_t;
                check(libc::setsockopt(
                    fd.as_raw_fd(),
                    level,
                    option,
                    place,
                    length,
                ))
                .unwrap();
            }
            let mut address: libc::sockaddr_ll = std::mem::zeroed();
            address.sll_family = libc::AF_PACKET as u16;
            address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
            address.sll_ifindex = index as libc::c_int;
            let length = size_of_val(&address) as libc::socklen_t;
            let place = std::ptr::from_ref(&address).cast();
            check(libc::bind(fd.as_raw_fd(), place, length)).unwrap();
            RawSocket {
                fd,
                buffer: vec![0; 1 << 16],
            }
        }
    }

    /// Sends a frame.
    pub fn send(&self, frame: &[u8]) {
        // SAFETY: the pointer and length are the slice's.
        let sent =
            unsafe { libc::send(self.fd.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        let error = std::io::Error::last_os_error();
        assert!(
            sent == frame.len() as isize,
            "{} bytes: {error}",
            frame.len()
        );
    }

    /// The next frame that has come, with the VLAN tag that the kernel took from it.
    pub fn receive(&mut self) -> Option<&[u8]> {
        const ADDRESSES: usize = 12;
        const TAG: usize = 4;
        // Word for word aligned, as control messages must be.
        let mut control = [0u64; 16];
        let mut io = libc::iovec {
            iov_base: self.buffer[TAG..].as_mut_ptr().cast(),
            iov_len: self.buffer.len() - TAG,
        };
        // SAFETY: the buffers outlive the call and have the lengths given; control messages are
        // walked as the kernel wrote them.
        let (got, tag) = unsafe {
            let mut message: libc::msghdr = std::mem::zeroed();
            message.msg_iov = &raw mut io;
            message.msg_iovlen = 1;
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = size_of_val(&control) as _;
            let got = libc::recvmsg(self.fd.as_raw_fd(), &raw mut message, 0);
            let mut tag = None;
            let mut at = libc::CMSG_FIRSTHDR(&raw const message);
            while got > 0 && !at.is_null() {
                if ((*at).cmsg_level, (*at).cmsg_type) == (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
                    let data: libc::tpacket_auxdata =
                        std::ptr::read_unaligned(libc::CMSG_DATA(at).cast());
                    let tagged = data.tp_status & libc::TP_STATUS_VLAN_VALID != 0;
                    tag = tagged.then_some([data.tp_vlan_tpid, data.tp_vlan_tci]);
                }
                at = libc::CMSG_NXTHDR(&raw const message, at);
            }
            (got, tag)
        };
        let end = TAG + usize::try_from(got).ok()?;
        let Some([kind, value]) = tag else {
            return self.buffer.get(TAG..end);
        };
        self.buffer.copy_within(TAG..TAG + ADDRESSES, 0);
        self.buffer[ADDRESSES..ADDRESSES + 2].copy_from_slice(&kind.to_be_bytes());
        self.buffer[ADDRESSES + 2..ADDRESSES + TAG].copy_from_slice(&value.to_be_bytes());
        self.buffer.get(..end)
    }

    /// Frames that found no room in the socket since it was opened or last asked.
    pub fn missed(&self) -> u32 {
        let mut statistics = [0u32; 2];
        let mut length = size_of_val(&statistics) as libc::socklen_t;
        // SAFETY: the kernel writes two words at most.
        unsafe {
            let place = statistics.as_mut_ptr().cast();
            let (fd, option) = (self.fd.as_raw_fd(), libc::PACKET_STATISTICS);
            check(libc::getsockopt(
                fd,
                libc::SOL_PACKET,
                option,
                place,
                &mut length,
            ))
            .unwrap();
        }
        statistics[1]
    }
}

/// How many of these changes took a link down.
pub fn flaps(changes: &str) -> usize {
    let down = [
        "NO-CARRIER",
        "state DOWN",
        "state LOWERLAYERDOWN",
        "Deleted",
    ];
    let is_down = |line: &&str| down.iter().any(|word| line.contains(word));
    changes.lines().filter(is_down).count()
}

/// What `ip monitor link` says in a namespace while `work` is done.
pub fn link_changes(namespace: &Namespace, work: impl FnOnce()) -> String {
    // The kernel tells that a new link came up as much as a second later.
    until("the link is up", || {
        let links = namespace.inside(|| Command::new("ip").args(["-br", "link"]).output());
        let links = String::from_utf8(links.unwrap().stdout).unwrap();
        links.lines().any(|link| link.contains(" UP "))
    });
    let monitor = namespace.inside(|| {
        let mut command = Command::new("ip");
        command.args(["monitor", "link"]);
        command.stdout(Stdio::piped()).spawn().unwrap()
    });
    work();
    // SAFETY: no memory is passed; the process is ours.
    unsafe { libc::kill(monitor.id() as libc::pid_t, libc::SIGTERM) };
    let output = monitor.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}
