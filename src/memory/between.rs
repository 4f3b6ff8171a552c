//! Memory between processes: a memfd, mapped shared, and descriptors that go along with a message
//! (memfd_create(2), mmap(2), unix(7): SCM_RIGHTS). What lies in such memory, and who may touch it,
//! is for those who map it.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Descriptors in one message, at most (SCM_MAX_FD is 253).
pub const DESCRIPTORS_MAX: usize = 250;
const CONTROL_BYTES: usize = (DESCRIPTORS_MAX + 2) * size_of::<RawFd>() + 64;

/// Room for control data, aligned as its headers must be.
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

/// Memory of so many bytes, all zero, that a descriptor names.
///
/// # Errors
/// What the kernel says.
pub fn memfd(name: &CStr, bytes: usize) -> io::Result<OwnedFd> {
    // SAFETY: a NUL-terminated name; the result is checked.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, and owned by nobody else.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    File::from(fd.try_clone()?).set_len(bytes as u64)?;
    Ok(fd)
}

/// Maps `length` bytes of a descriptor, shared and populated, so that no page fault waits on the
/// packet path. The mapping is the caller's to unmap.
///
/// # Errors
/// What `mmap` says.
pub fn map(fd: BorrowedFd<'_>, length: usize) -> io::Result<*mut u8> {
    // SAFETY: a fresh shared mapping at an address of the kernel's choice touches no other memory;
    // the result is checked.
    let base = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_POPULATE,
            fd.as_raw_fd(),
            0,
        )
    };
    match base == libc::MAP_FAILED {
        true => Err(io::Error::last_os_error()),
        false => Ok(base.cast()),
    }
}

/// Maps `length` bytes of a descriptor as [`map`] does, in the place of what is mapped at `base`.
///
/// # Errors
/// What the kernel says; what was mapped before is still there then.
///
/// # Safety
/// `base` is a mapping of `length` bytes that [`map`] gave, and nobody uses what it held: no
/// reference into it lives on.
pub unsafe fn map_over(fd: BorrowedFd<'_>, base: *mut u8, length: usize) -> io::Result<()> {
    let fresh = map(fd, length)?;
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    // SAFETY: moves the mapping made above onto one that the caller gives up, of the same length.
    let moved = unsafe { libc::mremap(fresh.cast(), length, length, flags, base) };
    if moved == libc::MAP_FAILED {
        let error = io::Error::last_os_error();
        // SAFETY: the mapping made above, which nobody has seen.
        unsafe { libc::munmap(fresh.cast(), length) };
        return Err(error);
    }
    Ok(())
}

/// Sends bytes (one at least) and descriptors in one message.
///
/// # Errors
/// The other end is gone, or too many descriptors at once.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    if fds.len() > DESCRIPTORS_MAX {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let mut control = Control([0; CONTROL_BYTES]);
    let size = size_of_val(raw.as_slice());
    // SAFETY: all-zero is a valid msghdr; its pointers are set to locals and to the bytes, which
    // outlive the call, with their true lengths (the bytes are only read). CMSG_SPACE of the
    // descriptors fits `control` by its size, so CMSG_FIRSTHDR is not null.
    let sent = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &mut part;
        message.msg_iovlen = 1;
        if !raw.is_empty() {
            message.msg_control = control.0.as_mut_ptr().cast();
            message.msg_controllen = libc::CMSG_SPACE(size as u32) as usize;
            let first = libc::CMSG_FIRSTHDR(&message);
            (*first).cmsg_level = libc::SOL_SOCKET;
            (*first).cmsg_type = libc::SCM_RIGHTS;
            (*first).cmsg_len = libc::CMSG_LEN(size as u32) as usize;
            std::ptr::copy_nonoverlapping(raw.as_ptr().cast(), libc::CMSG_DATA(first), size);
        }
        libc::sendmsg(socket.as_raw_fd(), &message, libc::MSG_NOSIGNAL)
    };
    match usize::try_from(sent) {
        Ok(count) if count == bytes.len() => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Receives bytes and the descriptors that come along, now ours. `Ok(None)`: `wait` is not asked
/// for and nothing is there, or a signal came. 0 bytes are the other end's end.
///
/// # Errors
/// What the kernel says.
pub fn receive(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    wait: bool,
) -> io::Result<Option<(usize, Vec<OwnedFd>)>> {
    let mut part = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    let mut control = Control([0; CONTROL_BYTES]);
    let mut descriptors = Vec::new();
    let flags = libc::MSG_CMSG_CLOEXEC | if wait { 0 } else { libc::MSG_DONTWAIT };
    // SAFETY: as in `send`; the kernel fills bytes and control with at most their lengths, and each
    // descriptor in an SCM_RIGHTS message is new and ours alone.
    let count = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = CONTROL_BYTES;
        let count = libc::recvmsg(socket.as_raw_fd(), &mut message, flags);
        if count < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::Interrupted => Ok(None),
                io::ErrorKind::WouldBlock if !wait => Ok(None),
                _ => Err(error),
            };
        }
        let first = libc::CMSG_FIRSTHDR(&message);
        if !first.is_null()
            && (*first).cmsg_level == libc::SOL_SOCKET
            && (*first).cmsg_type == libc::SCM_RIGHTS
        {
            let size = (*first).cmsg_len - libc::CMSG_LEN(0) as usize;
            for number in 0..size / size_of::<RawFd>() {
                let place = libc::CMSG_DATA(first).cast::<RawFd>().add(number);
                descriptors.push(OwnedFd::from_raw_fd(place.read_unaligned()));
            }
        }
        count as usize
    };
    Ok(Some((count, descriptors)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn memory_that_another_descriptor_names_is_the_same() {
        let (one, other) = UnixStream::pair().unwrap();
        let fd = memfd(c"sluice-test", 4096).unwrap();
        send(one.as_fd(), b"x", &[fd.as_fd()]).unwrap();
        assert!(receive(one.as_fd(), &mut [0], false).unwrap().is_none());
        let mut byte = [0];
        let (count, mut fds) = receive(other.as_fd(), &mut byte, true).unwrap().unwrap();
        assert_eq!((count, byte, fds.len()), (1, *b"x", 1));
        let second = fds.remove(0);
        let bases = [&fd, &second].map(|fd| map(fd.as_fd(), 4096).unwrap());
        // SAFETY: both are mapped, of one page; nobody else knows them.
        unsafe {
            bases[0].write_volatile(7);
            assert_eq!(bases[1].read_volatile(), 7);
            bases
                .iter()
                .for_each(|base| assert_eq!(libc::munmap(base.cast(), 4096), 0));
        }
        drop(one);
        let (count, _) = receive(other.as_fd(), &mut byte, true).unwrap().unwrap();
        assert_eq!(count, 0, "the end");
    }
}
