//! Messages between keeper and engine: short texts with descriptors along (unix(7), SCM_RIGHTS),
//! over a socket pair that keeps message borders.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Descriptors in one message, at most (SCM_MAX_FD is 253).
pub const DESCRIPTORS_MAX: usize = 250;
/// Bytes of a message, at most.
pub const MESSAGE_MAX: usize = 16 << 10;
const CONTROL_BYTES: usize = (DESCRIPTORS_MAX + 2) * size_of::<RawFd>() + 64;

/// Room for control data, aligned as its headers must be.
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

/// One end.
pub struct Channel {
    fd: OwnedFd,
}

/// What came.
pub struct Message {
    /// The text.
    pub text: String,
    /// Descriptors, now ours.
    pub descriptors: Vec<OwnedFd>,
}

fn check(result: libc::c_int) -> io::Result<()> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

impl Channel {
    /// Both ends.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn pair() -> io::Result<(Channel, Channel)> {
        let mut fds = [0; 2];
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
        // SAFETY: room for both descriptors; the result is checked.
        check(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) })?;
        let own = |fd| Channel {
            // SAFETY: just opened, and owned by nobody else.
            fd: unsafe { OwnedFd::from_raw_fd(fd) },
        };
        Ok((own(fds[0]), own(fds[1])))
    }

    /// An end that was inherited under a number.
    ///
    /// # Errors
    /// The number is no descriptor.
    pub fn inherited(number: RawFd) -> io::Result<Channel> {
        // SAFETY: no pointers; fails for a number that is no descriptor.
        check(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) })?;
        // SAFETY: open by the check above, and named to this process for this use alone.
        let fd = unsafe { OwnedFd::from_raw_fd(number) };
        Ok(Channel { fd })
    }

    /// The descriptor.
    pub fn raw(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Sends a text with descriptors.
    ///
    /// # Errors
    /// The other end is gone, or too much at once.
    pub fn send(&self, text: &str, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        if fds.len() > DESCRIPTORS_MAX || text.len() > MESSAGE_MAX {
            return Err(io::Error::other("too many ports for one message"));
        }
        let mut part = libc::iovec {
            iov_base: text.as_ptr().cast_mut().cast(),
            iov_len: text.len(),
        };
        let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let mut control = Control([0; CONTROL_BYTES]);
        let bytes = size_of_val(raw.as_slice());
        // SAFETY: all-zero is a valid msghdr; its pointers are set to locals and to the text, which
        // outlive the call, with their true lengths (the text is only read). CMSG_SPACE of the
        // descriptors fits `control` by its size, so CMSG_FIRSTHDR is not null.
        let sent = unsafe {
            let mut message: libc::msghdr = std::mem::zeroed();
            message.msg_iov = &mut part;
            message.msg_iovlen = 1;
            if !raw.is_empty() {
                message.msg_control = control.0.as_mut_ptr().cast();
                message.msg_controllen = libc::CMSG_SPACE(bytes as u32) as usize;
                let first = libc::CMSG_FIRSTHDR(&message);
                (*first).cmsg_level = libc::SOL_SOCKET;
                (*first).cmsg_type = libc::SCM_RIGHTS;
                (*first).cmsg_len = libc::CMSG_LEN(bytes as u32) as usize;
                std::ptr::copy_nonoverlapping(raw.as_ptr().cast(), libc::CMSG_DATA(first), bytes);
            }
            libc::sendmsg(self.raw(), &message, libc::MSG_NOSIGNAL)
        };
        match usize::try_from(sent) {
            Ok(count) if count == text.len() => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Receives a message; `None` when there is none and `wait` is not asked for.
    ///
    /// # Errors
    /// The other end is gone (`UnexpectedEof`), or what the kernel says.
    pub fn receive(&self, wait: bool) -> io::Result<Option<Message>> {
        let mut text = vec![0u8; MESSAGE_MAX];
        let mut part = libc::iovec {
            iov_base: text.as_mut_ptr().cast(),
            iov_len: text.len(),
        };
        let mut control = Control([0; CONTROL_BYTES]);
        let mut descriptors = Vec::new();
        let flags = libc::MSG_CMSG_CLOEXEC | if wait { 0 } else { libc::MSG_DONTWAIT };
        // SAFETY: as in `send`; the kernel fills text and control with at most their lengths, and
        // each descriptor in an SCM_RIGHTS message is new and ours alone.
        let count = unsafe {
            let mut message: libc::msghdr = std::mem::zeroed();
            message.msg_iov = &mut part;
            message.msg_iovlen = 1;
            message.msg_control = control.0.as_mut_ptr().cast();
            message.msg_controllen = CONTROL_BYTES;
            let count = libc::recvmsg(self.raw(), &mut message, flags);
            if count < 0 {
                let error = io::Error::last_os_error();
                return match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
                    _ => Err(error),
                };
            }
            let first = libc::CMSG_FIRSTHDR(&message);
            if !first.is_null() && (*first).cmsg_type == libc::SCM_RIGHTS {
                let bytes = (*first).cmsg_len - libc::CMSG_LEN(0) as usize;
                for number in 0..bytes / size_of::<RawFd>() {
                    let place = libc::CMSG_DATA(first).cast::<RawFd>().add(number);
                    descriptors.push(OwnedFd::from_raw_fd(place.read_unaligned()));
                }
            }
            count as usize
        };
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        text.truncate(count);
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok(Some(Message { text, descriptors }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn texts_and_descriptors_arrive_and_an_end_is_told() {
        let (one, other) = Channel::pair().unwrap();
        assert!(other.receive(false).unwrap().is_none());
        let file = std::fs::File::open("/dev/null").unwrap();
        one.send("hello", &[file.as_fd(), file.as_fd()]).unwrap();
        one.send("again", &[]).unwrap();
        let first = other.receive(true).unwrap().unwrap();
        assert_eq!((first.text.as_str(), first.descriptors.len()), ("hello", 2));
        assert_eq!(other.receive(true).unwrap().unwrap().text, "again");
        drop(one);
        assert!(other.receive(true).is_err());
        assert!(other.send("x", &[]).is_err());
    }
}
