//! What a netmap port needs of its kernel: open, map, two syncs, poll, close. The kernel module
//! behind /dev/netmap provides it; so does an emulation (emulation.rs). Nothing above this trait
//! knows which of the two it talks to.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use netmap_sys::{Header, PortInfo, Register, request};

use crate::port::ring::Mapping;

/// Where descriptors come from.
pub trait Provider: Send + Sync {
    /// Sizes of a port, without opening it.
    ///
    /// # Errors
    /// What the kernel says.
    fn info(&self, port: &str, region: u16) -> io::Result<PortInfo>;

    /// Opens a descriptor and binds it to rings of a port.
    ///
    /// # Errors
    /// What the kernel says.
    fn open(&self, port: &str, asked: &Register) -> io::Result<Box<dyn Descriptor>>;
}

/// A descriptor that is bound to rings; closed when dropped. One thread uses it at a time: who has
/// the rings' halves.
pub trait Descriptor: Send + Sync {
    /// What was granted.
    fn granted(&self) -> &Register;

    /// Maps the memory region that the rings lie in.
    ///
    /// # Errors
    /// What `mmap` says.
    fn map(&self) -> io::Result<Arc<Mapping>>;

    /// Trades slots of the transmit rings.
    ///
    /// # Errors
    /// The port is down (EIO) or gone (ENXIO, ENODEV).
    fn txsync(&self) -> io::Result<()>;

    /// Trades slots of the receive rings.
    ///
    /// # Errors
    /// As [`Descriptor::txsync`].
    fn rxsync(&self) -> io::Result<()>;

    /// Waits up to so many milliseconds for frames to receive; says whether there are any.
    ///
    /// # Errors
    /// As [`Descriptor::txsync`]; POLLERR is one.
    fn poll(&self, timeout_ms: i32) -> io::Result<bool>;

    /// A descriptor that polls readable when frames wait.
    fn fd(&self) -> RawFd;

    /// What another process needs to use this descriptor too, once this one rests: what kind it is,
    /// and the file descriptors. `None`: it is of this process alone.
    fn share(&self) -> Option<(&'static str, Vec<BorrowedFd<'_>>)> {
        None
    }

    /// The same descriptor once more in this process, where it can be had without another's help.
    fn again(&self) -> Option<Box<dyn Descriptor>> {
        None
    }

    /// Ends what a dead process that used it left half done.
    fn mend(&self) {}
}

/// A registration that says what `info` says of its port.
pub fn with_info(register: Register, info: &PortInfo) -> Register {
    Register {
        memsize: info.memsize,
        tx_slots: info.tx_slots,
        rx_slots: info.rx_slots,
        tx_rings: info.tx_rings,
        rx_rings: info.rx_rings,
        host_tx_rings: info.host_tx_rings,
        host_rx_rings: info.host_rx_rings,
        mem_id: info.mem_id,
        ..register
    }
}

/// Words of a registration, as processes tell each other.
pub const WORDS: usize = 13;

/// A registration as words.
pub fn words_of(register: &Register) -> [u64; WORDS] {
    [
        register.offset,
        register.memsize,
        register.tx_slots.into(),
        register.rx_slots.into(),
        register.tx_rings.into(),
        register.rx_rings.into(),
        register.host_tx_rings.into(),
        register.host_rx_rings.into(),
        register.mem_id.into(),
        register.ringid.into(),
        register.mode.into(),
        register.extra_bufs.into(),
        register.flags,
    ]
}

/// The registration of such words.
pub fn register_of(words: [u64; WORDS]) -> Register {
    Register {
        offset: words[0],
        memsize: words[1],
        tx_slots: words[2] as u32,
        rx_slots: words[3] as u32,
        tx_rings: words[4] as u16,
        rx_rings: words[5] as u16,
        host_tx_rings: words[6] as u16,
        host_rx_rings: words[7] as u16,
        mem_id: words[8] as u16,
        ringid: words[9] as u16,
        mode: words[10] as u32,
        extra_bufs: words[11] as u32,
        pad: 0,
        flags: words[12],
    }
}

/// A descriptor that another process opened and shares.
///
/// # Errors
/// It is of a kind that this version does not know.
pub fn adopt(kind: &str, granted: Register, fds: Vec<OwnedFd>) -> io::Result<Box<dyn Descriptor>> {
    let mut fds = fds.into_iter();
    match (kind, fds.next(), fds.next(), fds.next()) {
        (KERNEL, Some(fd), None, None) => Ok(Box::new(KernelDescriptor { fd, granted })),
        (EMULATED, Some(connection), Some(memory), Some(wake)) => Ok(Box::new(
            super::emulation::wire::adopt(connection, memory, wake, granted),
        )),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Kinds of shared descriptors.
const KERNEL: &str = "kernel";
/// As [`KERNEL`]: one of an emulated machine in another process.
pub const EMULATED: &str = "emulated";

/// The kernel module.
pub struct Kernel;

/// A descriptor of the kernel's.
struct KernelDescriptor {
    fd: OwnedFd,
    granted: Register,
}

fn device() -> io::Result<OwnedFd> {
    let path = CString::new(netmap_sys::DEVICE)?;
    // SAFETY: a NUL-terminated path; the result is checked.
    let fd = unsafe { libc::open(path.as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, and owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends a request whose body is `body`; the kernel answers in it.
fn control<T>(fd: &OwnedFd, reqtype: u16, port: &str, body: &mut T) -> io::Result<()> {
    let Some(mut header) = Header::new(reqtype, port) else {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    };
    header.body = std::ptr::from_mut(body) as u64;
    // SAFETY: the header is laid out as the kernel's, and its body points to a structure of the
    // size that goes with `reqtype`; both outlive the call, and there are no options.
    match unsafe { libc::ioctl(fd.as_raw_fd(), netmap_sys::NIOCCTRL as _, &mut header) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

impl Provider for Kernel {
    fn info(&self, port: &str, region: u16) -> io::Result<PortInfo> {
        let mut info = PortInfo {
            mem_id: region,
            ..PortInfo::default()
        };
        control(&device()?, request::PORT_INFO_GET, port, &mut info)?;
        Ok(info)
    }

    fn open(&self, port: &str, asked: &Register) -> io::Result<Box<dyn Descriptor>> {
        let fd = device()?;
        let mut granted = *asked;
        control(&fd, request::REGISTER, port, &mut granted)?;
        Ok(Box::new(KernelDescriptor { fd, granted }))
    }
}

impl KernelDescriptor {
    fn sync(&self, number: u32) -> io::Result<()> {
        // SAFETY: both syncs take no argument; what they touch are rings of the bound port.
        match unsafe { libc::ioctl(self.fd.as_raw_fd(), number as _, 0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Descriptor for KernelDescriptor {
    fn granted(&self) -> &Register {
        &self.granted
    }

    fn map(&self) -> io::Result<Arc<Mapping>> {
        let length = usize::try_from(self.granted.memsize).map_err(io::Error::other)?;
        Mapping::new(self.fd.as_fd(), length)
    }

    fn txsync(&self) -> io::Result<()> {
        self.sync(netmap_sys::NIOCTXSYNC)
    }

    fn rxsync(&self) -> io::Result<()> {
        self.sync(netmap_sys::NIOCRXSYNC)
    }

    fn poll(&self, timeout_ms: i32) -> io::Result<bool> {
        let mut poll = libc::pollfd {
            fd: self.fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one valid pollfd.
        match unsafe { libc::poll(&mut poll, 1, timeout_ms) } {
            0 => Ok(false),
            1.. if poll.revents & libc::POLLERR == 0 => Ok(true),
            1.. => Err(io::Error::from_raw_os_error(libc::EIO)),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    fn share(&self) -> Option<(&'static str, Vec<BorrowedFd<'_>>)> {
        Some((KERNEL, vec![self.fd.as_fd()]))
    }
}
