//! Ports over AF_PACKET: for machines without netmap, and for tests between network namespaces.
//! packet(7), Documentation/networking/packet_mmap.rst.
//!
//! TPACKET_V2 inline, because it hands frames over one by one (taps: blocks.rs): each frame of the mapped ring has a status
//! word that says whose it is. A received frame stays where the kernel put it until its context
//! comes home (`reclaim` gives the status word back), so receiving copies nothing. Transmitting
//! copies once, into the TX ring, and that is counted; one `send` a burst starts what is queued.
//!
//! What the kernel took from a frame is put back before anyone sees it: a VLAN tag that a NIC
//! stripped, a transport checksum that a local sender left to its NIC. Deliberately absent: frames
//! larger than the ring's (GRO and TSO must be off; `offloads_off` does it, frames that come all
//! the same are counted as too long).

mod blocks;
mod halves;
mod presence;
mod shared;
mod whole;

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

pub use blocks::BlockReceiver;
pub use halves::{PacketReceiver, PacketTransmitter};
pub use presence::Presence;
pub use shared::Shared;

/// Bytes kept free in front of a received frame, where its VLAN tag goes back.
const RESERVE: u32 = 16;
/// Bytes of a block of a ring: the kernel allocates it in one piece.
const BLOCK_BYTES: u32 = 1 << 17;
/// Bytes of headers in front of a frame in the ring, at most.
const HEADERS_MAX: u32 = 128;
/// Bytes of Ethernet header and one VLAN tag.
const ETHERNET_BYTES: u32 = 18;
/// Packet type of what this host sends (linux/if_packet.h).
const OUTGOING: u8 = 4;
/// Socket option of Linux 4.20, which libc lacks.
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;
/// Distance between the numbers of a port's fan-out groups on two interfaces; odd, and far from the
/// distances between processes and ports.
const GROUP_STEP: u16 = 0x9e35;
/// Flag of a fan-out group, Linux 5.18 (linux/if_packet.h).
const FANOUT_IGNORE_OUTGOING: i32 = 0x4000;

/// How to open an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Frames in each ring; rounded up to whole blocks.
    pub frames: u32,
    /// See frames for other stations.
    pub promiscuous: bool,
    /// Group number under which the kernel spreads flows over several receivers (one per lane);
    /// `None` for a single receiver.
    pub fanout: Option<u16>,
    /// Port index in the lane's pair: 0 inside, 1 outside.
    pub port: u8,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            frames: 4096,
            promiscuous: true,
            fanout: None,
            port: 0,
        }
    }
}

/// Opens both halves of an interface for one lane.
///
/// # Errors
/// No such interface, no permission, or memory for the rings.
pub fn open(
    interface: &str,
    options: &Options,
) -> Result<(PacketReceiver, PacketTransmitter), OpenError> {
    let transmitter = PacketTransmitter::open(interface, options)?;
    let receiver = PacketReceiver::open(interface, options)?;
    Ok((receiver, transmitter))
}

/// Why an interface could not be opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenError {
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub hint: &'static str,
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n [hint] {}", self.what, self.hint)
    }
}

impl std::error::Error for OpenError {}

/// Bytes of a ring.
fn ring_bytes(frame_size: u32, frames: u32) -> usize {
    let per_block = (BLOCK_BYTES.max(frame_size) / frame_size).max(1);
    frames.div_ceil(per_block) as usize * BLOCK_BYTES.max(frame_size) as usize
}

/// Sizes of the rings of both sockets of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Sizes {
    frame_size: u32,
    receive_frames: u32,
    transmit_frames: u32,
    /// The kernel delivers what is sent on the interface, too.
    brings_outgoing: bool,
}

/// An AF_PACKET socket of one interface.
struct Socket {
    fd: OwnedFd,
    name: String,
    index: libc::c_int,
    mtu: u32,
}

impl Socket {
    fn open(name: &str) -> Result<Socket, OpenError> {
        Socket::with_version(name, libc::tpacket_versions::TPACKET_V2 as libc::c_int)
    }

    fn with_version(name: &str, version: libc::c_int) -> Result<Socket, OpenError> {
        let error = |what: &str, hint| {
            let cause = std::io::Error::last_os_error();
            OpenError {
                what: format!("{name}: {what}: {cause}"),
                hint,
            }
        };
        let Ok(c_name) = CString::new(name) else {
            return Err(error("no name of an interface", "see `ip link`"));
        };
        // SAFETY: a NUL-terminated string.
        let index = unsafe { libc::if_nametoindex(c_name.as_ptr()) };
        if index == 0 {
            return Err(error(
                "no such interface",
                "see `ip link` for those there are",
            ));
        }
        // Protocol 0: nothing is received before `start` has set all options.
        // SAFETY: no pointers; the result is checked.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(error(
                "no packet socket",
                "run as root, or give the binary CAP_NET_RAW and CAP_NET_ADMIN",
            ));
        }
        // SAFETY: just opened, and owned by nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let mut request = interface_request(name);
        // SAFETY: SIOCGIFMTU reads the name and writes the MTU of the ifreq it is given.
        let done = unsafe { libc::ioctl(fd.as_raw_fd(), libc::SIOCGIFMTU as _, &mut request) };
        if done < 0 {
            return Err(error("its MTU cannot be read", "see `ip link`"));
        }
        // SAFETY: the ioctl above wrote this member.
        let mtu = unsafe { request.ifr_ifru.ifru_mtu };
        let socket = Socket {
            fd,
            name: name.to_string(),
            index: index as libc::c_int,
            mtu: u32::try_from(mtu).unwrap_or(1500),
        };
        socket.option(libc::PACKET_VERSION, &version, "no such TPACKET version")?;
        Ok(socket)
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The same socket once more.
    fn copy(&self) -> Result<Socket, OpenError> {
        let fd = self.fd.try_clone();
        Ok(Socket {
            fd: fd.map_err(|error| self.error("no descriptor is left (ulimit -n)", &error))?,
            name: self.name.clone(),
            ..*self
        })
    }

    /// Whether its interface is there: the kernel takes the number away from a socket when it goes.
    fn is_bound(&self) -> bool {
        // SAFETY: all-zero is a valid sockaddr_ll.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        let mut length = size_of_val(&address) as libc::socklen_t;
        let place = std::ptr::from_mut(&mut address).cast();
        // SAFETY: `place` points to `length` writable bytes.
        let done = unsafe { libc::getsockname(self.fd.as_raw_fd(), place, &mut length) };
        done == 0 && address.sll_ifindex > 0
    }

    /// Takes the number of the interface that has the socket's name now. False: there is none.
    fn find(&mut self) -> bool {
        let mut request = interface_request(&self.name);
        let fd = self.fd.as_raw_fd();
        // SAFETY: SIOCGIFINDEX reads the name and writes the number of the ifreq it is given.
        let done = unsafe { libc::ioctl(fd, libc::SIOCGIFINDEX as _, &mut request) };
        if done == 0 {
            // SAFETY: the ioctl above wrote this member.
            self.index = unsafe { request.ifr_ifru.ifru_ifindex };
        }
        done == 0
    }

    /// Takes note of an error that the kernel has put at the socket.
    fn clear_error(&self) {
        let mut error: libc::c_int = 0;
        let mut length = size_of_val(&error) as libc::socklen_t;
        let (fd, place) = (self.fd.as_raw_fd(), std::ptr::from_mut(&mut error).cast());
        // SAFETY: `place` points to `length` writable bytes.
        unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_ERROR, place, &mut length) };
    }

    fn interface(&self) -> &str {
        &self.name
    }

    /// Longest frame that the interface sends, one VLAN tag included.
    fn frame_length_max(&self) -> u32 {
        self.mtu + ETHERNET_BYTES
    }

    /// Bytes of a ring's frame: a power of two, so that frames fill their blocks.
    fn frame_size(&self) -> u32 {
        (self.frame_length_max() + RESERVE + HEADERS_MAX).next_power_of_two()
    }

    /// An interface that has come back for rings that were made for shorter frames.
    fn too_large(&self) -> OpenError {
        OpenError {
            what: format!("{}: it is back with a larger MTU", self.name),
            hint: "give it the MTU that it had, or restart sluice",
        }
    }

    fn error(&self, what: &str, cause: &std::io::Error) -> OpenError {
        OpenError {
            what: format!("{}: {what}: {cause}", self.name),
            hint: "is the interface up, and is there memory for the rings (ulimit -l)?",
        }
    }

    /// Sets a socket option of level SOL_PACKET.
    fn option<T>(&self, name: libc::c_int, value: &T, what: &str) -> Result<(), OpenError> {
        let length = size_of::<T>() as libc::socklen_t;
        let value = std::ptr::from_ref(value).cast();
        let fd = self.fd.as_raw_fd();
        // SAFETY: `value` points to `length` readable bytes.
        match unsafe { libc::setsockopt(fd, libc::SOL_PACKET, name, value, length) } {
            0 => Ok(()),
            _ => Err(self.error(what, &std::io::Error::last_os_error())),
        }
    }

    /// Makes a ring of at least `frames` frames; gives how many there are.
    fn ring(&self, option: libc::c_int, frame_size: u32, frames: u32) -> Result<u32, OpenError> {
        let block = BLOCK_BYTES.max(frame_size);
        let per_block = block / frame_size;
        let blocks = frames.max(2).div_ceil(per_block);
        let request = libc::tpacket_req {
            tp_block_size: block,
            tp_block_nr: blocks,
            tp_frame_size: frame_size,
            tp_frame_nr: blocks * per_block,
        };
        self.option(option, &request, "its ring cannot be made")?;
        Ok(request.tp_frame_nr)
    }

    fn receive_ring(&self, frame_size: u32, frames: u32) -> Result<u32, OpenError> {
        self.option(libc::PACKET_RESERVE, &RESERVE, "no room before frames")?;
        self.ring(libc::PACKET_RX_RING, frame_size, frames)
    }

    fn transmit_ring(&self, frame_size: u32, frames: u32) -> Result<u32, OpenError> {
        // A frame that the kernel cannot send is skipped, instead of stopping the ring for ever.
        self.option(libc::PACKET_LOSS, &1i32, "bad frames cannot be skipped")?;
        self.ring(libc::PACKET_TX_RING, frame_size, frames)
    }

    fn bind(&self, protocol: u16) -> Result<(), OpenError> {
        // SAFETY: all-zero is a valid sockaddr_ll.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = protocol.to_be();
        address.sll_ifindex = self.index;
        let length = size_of_val(&address) as libc::socklen_t;
        let place = std::ptr::from_ref(&address).cast();
        // SAFETY: `place` points to `length` readable bytes.
        match unsafe { libc::bind(self.fd.as_raw_fd(), place, length) } {
            0 => Ok(()),
            _ => Err(self.error("cannot bind", &std::io::Error::last_os_error())),
        }
    }

    /// Begins to receive. Returns whether outgoing frames come, too.
    fn start(&self, options: &Options) -> Result<bool, OpenError> {
        self.option(
            PACKET_IGNORE_OUTGOING,
            &1i32,
            "outgoing frames cannot be left out",
        )?;
        if options.promiscuous {
            let membership = libc::packet_mreq {
                mr_ifindex: self.index,
                mr_type: libc::PACKET_MR_PROMISC as u16,
                mr_alen: 0,
                mr_address: [0; 8],
            };
            self.option(
                libc::PACKET_ADD_MEMBERSHIP,
                &membership,
                "no promiscuous mode",
            )?;
        }
        self.bind(libc::ETH_P_ALL as u16)?;
        match options.fanout {
            Some(group) => self.join(group),
            None => Ok(false),
        }
    }

    /// Joins a fan-out group. The group has a hook of its own, for which the socket's option to
    /// leave outgoing frames out means nothing: without its own flag a lane would receive what it
    /// sends. Returns whether the kernel knows no such flag.
    fn join(&self, group: u16) -> Result<bool, OpenError> {
        // A group knows the interface that it was made for. All lanes of a port meet in another one
        // when another interface of its name has come.
        let group = group.wrapping_add((self.index as u16).wrapping_mul(GROUP_STEP));
        // Mode 0: the kernel's flow hash, which is the same for both directions.
        let value = i32::from(group);
        let flagged = value | FANOUT_IGNORE_OUTGOING << 16;
        if self.option(libc::PACKET_FANOUT, &flagged, "").is_ok() {
            return Ok(false);
        }
        self.option(libc::PACKET_FANOUT, &value, "cannot join the fan-out group")?;
        Ok(true)
    }

    /// Frames that the kernel lost since the last call, for want of room in the ring.
    fn missed(&self) -> u32 {
        #[repr(C)]
        #[derive(Default)]
        struct Statistics {
            packets: u32,
            drops: u32,
        }
        let mut statistics = Statistics::default();
        let mut length = size_of_val(&statistics) as libc::socklen_t;
        let place = std::ptr::from_mut(&mut statistics).cast();
        let fd = self.fd.as_raw_fd();
        // SAFETY: `place` points to `length` writable bytes.
        let done = unsafe {
            libc::getsockopt(
                fd,
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                place,
                &mut length,
            )
        };
        if done == 0 { statistics.drops } else { 0 }
    }

    /// Starts sending what is queued in the ring. Returns whether the interface is down; a queue
    /// that is full for the moment is not: the next call goes on.
    fn send(&self) -> bool {
        // SAFETY: no data; the ring is the data.
        let sent =
            unsafe { libc::send(self.fd.as_raw_fd(), std::ptr::null(), 0, libc::MSG_DONTWAIT) };
        let error = std::io::Error::last_os_error().raw_os_error();
        sent < 0 && matches!(error, Some(libc::ENETDOWN | libc::ENXIO | libc::ENODEV))
    }
}

/// An interface request with its name set.
pub(super) fn interface_request(name: &str) -> libc::ifreq {
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays 0.
    let room = request.ifr_name.len() - 1;
    for (place, byte) in request.ifr_name.iter_mut().zip(name.bytes().take(room)) {
        *place = byte as libc::c_char;
    }
    request
}

/// Switches off what merges, splits or strips frames on an interface: GRO, GSO, TSO, LRO and the
/// VLAN offloads. Returns the names of those that would not be switched off. (Checksums may stay
/// with the NIC: received frames are completed.)
///
/// # Errors
/// The interface cannot be asked at all.
pub fn offloads_off(name: &str) -> Result<Vec<&'static str>, OpenError> {
    /// `struct ethtool_value` with commands of linux/ethtool.h.
    #[repr(C)]
    struct Value {
        command: u32,
        data: u32,
    }
    const COMMANDS: [(u32, &str); 4] = [
        (0x1f, "tcp-segmentation-offload"),
        (0x24, "generic-segmentation-offload"),
        (0x2c, "generic-receive-offload"),
        // ETHTOOL_SFLAGS with no flag: LRO, VLAN insertion and stripping, n-tuple filters.
        (0x26, "large-receive and VLAN offloads"),
    ];
    let socket = Socket::open(name)?;
    let mut refused = Vec::new();
    for (command, label) in COMMANDS {
        let mut value = Value { command, data: 0 };
        let mut request = interface_request(name);
        request.ifr_ifru.ifru_data = std::ptr::from_mut(&mut value).cast();
        let fd = socket.fd.as_raw_fd();
        // SAFETY: SIOCETHTOOL reads the name and, through the pointer, an ethtool_value.
        if unsafe { libc::ioctl(fd, libc::SIOCETHTOOL as _, &mut request) } < 0 {
            refused.push(label);
        }
    }
    Ok(refused)
}

/// Gives the calling thread a network namespace of its own, on one processor: veth queues frames
/// on the sender's, so a thread that wanders would reorder them.
#[cfg(test)]
fn leave_network() -> std::io::Result<()> {
    // SAFETY: no memory is passed to `unshare`; the set is a plain value that outlives its call.
    unsafe {
        let mut processors: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(0, &mut processors);
        libc::sched_setaffinity(0, size_of_val(&processors), &processors);
        if libc::unshare(libc::CLONE_NEWNET) != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
