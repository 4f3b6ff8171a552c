//! Messages between keeper and engine: short texts with descriptors along (unix(7), SCM_RIGHTS),
//! over a socket pair that keeps message borders.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use crate::memory::between;

/// Bytes of a message, at most.
pub const MESSAGE_MAX: usize = 16 << 10;

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
        if text.len() > MESSAGE_MAX {
            return Err(io::Error::other("too many ports for one message"));
        }
        between::send(self.fd.as_fd(), text.as_bytes(), fds)
    }

    /// Receives a message; `None` when there is none and `wait` is not asked for.
    ///
    /// # Errors
    /// The other end is gone (`UnexpectedEof`), or what the kernel says.
    pub fn receive(&self, wait: bool) -> io::Result<Option<Message>> {
        let mut text = vec![0u8; MESSAGE_MAX];
        let Some((count, descriptors)) = between::receive(self.fd.as_fd(), &mut text, wait)? else {
            return Ok(None);
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
