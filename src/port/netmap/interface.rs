//! The network interface behind a netmap port: what must hold of it before frames pass, and what
//! netmap does not do for us (promiscuous mode, carrier). Linux tells these in /sys/class/net.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// Bytes of Ethernet header and one VLAN tag.
const ETHERNET_BYTES: u32 = 18;
/// Flag of an interface that is up (IFF_UP).
const UP: u32 = 1;

/// A property of an interface, as the kernel writes it.
fn property(name: &str, what: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/sys/class/net/{name}/{what}")).ok()?;
    Some(text.trim().to_string())
}

fn number(name: &str, what: &str) -> Option<u32> {
    let text = property(name, what)?;
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// What is wrong with an interface, before it is opened: it does not exist, or is down.
pub(super) fn refusal(name: &str) -> Option<(String, String)> {
    let Some(flags) = number(name, "flags") else {
        return Some((
            format!("netmap:{name}: no such interface"),
            "see `ip link` for those there are; a pipe is netmap:NAME{ID, a switch vale0:1"
                .to_string(),
        ));
    };
    (flags & UP == 0).then(|| {
        (
            format!("netmap:{name}: the interface is down"),
            format!("ip link set {name} up"),
        )
    })
}

/// Longest frame of an interface, bytes.
pub(super) fn longest_frame(name: &str) -> u32 {
    number(name, "mtu")
        .unwrap_or(0)
        .saturating_add(ETHERNET_BYTES)
}

/// Waits for the carrier, which opening a port may have reset. Returns whether it is there.
fn await_carrier(name: &str, patience: Duration) -> bool {
    let start = Instant::now();
    while property(name, "carrier").as_deref() != Some("1") {
        if start.elapsed() > patience {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// What the operator should know of an interface, once its port is open.
pub(super) fn notes(name: &str, buf_size: u32, patience: Duration) -> Vec<String> {
    let mut notes = Vec::new();
    let mtu = number(name, "mtu").unwrap_or(0);
    if mtu.saturating_add(ETHERNET_BYTES) > buf_size {
        notes.push(format!(
            "netmap:{name}: its MTU is {mtu}, a buffer has {buf_size} bytes: longer frames come in \
             several slots and are copied (sluice_port_chains_total)\n [hint] ip link set {name} mtu \
             {}, or load netmap with buf_size={}",
            buf_size.saturating_sub(ETHERNET_BYTES),
            (mtu + ETHERNET_BYTES).next_power_of_two()
        ));
    }
    if !await_carrier(name, patience) {
        notes.push(format!(
            "netmap:{name}: no carrier {} s after the port was opened; nothing passes until there \
             is one\n [hint] is the cable in, is the other end up?",
            patience.as_secs()
        ));
    }
    notes
}

/// Keeps an interface in promiscuous mode, until dropped or until the process dies. To be made
/// after the port is open: opening resets the NIC, and some drivers forget the mode then.
pub struct Promiscuous {
    _socket: OwnedFd,
}

impl Promiscuous {
    /// Switches it on.
    ///
    /// # Errors
    /// No such interface, or no right to a packet socket.
    pub fn new(name: &str) -> io::Result<Promiscuous> {
        let name = CString::new(name)?;
        // SAFETY: a NUL-terminated string.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        // SAFETY: no pointers; the result is checked. Protocol 0 receives nothing.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if index == 0 || fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, and owned by nobody else.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        let membership = libc::packet_mreq {
            mr_ifindex: index as libc::c_int,
            mr_type: libc::PACKET_MR_PROMISC as u16,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        // SAFETY: the pointer is to a packet_mreq of the length given, which outlives the call.
        let done = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_ADD_MEMBERSHIP,
                std::ptr::from_ref(&membership).cast(),
                size_of_val(&membership) as libc::socklen_t,
            )
        };
        match done {
            0 => Ok(Promiscuous { _socket: socket }),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_not_there_is_told() {
        let (what, hint) = refusal("no-such-if0").unwrap();
        assert!(what.contains("no such interface") && hint.contains("ip link"));
        assert!(!await_carrier("no-such-if0", Duration::ZERO));
        let notes = notes("no-such-if0", 2048, Duration::ZERO);
        assert!(
            notes.len() == 1 && notes[0].contains("no carrier"),
            "{notes:?}"
        );
    }
}
