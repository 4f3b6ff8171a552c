//! An interface whose sockets and rings two processes have mapped: the keeper opened them, an
//! engine attaches to them. Only one of both moves frames at a time; positions are in the ledgers.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::{OpenError, Options, PacketReceiver, PacketTransmitter, Presence, Sizes, Socket};

/// Both sockets of one lane's part of an interface.
pub struct Shared {
    name: String,
    index: libc::c_int,
    mtu: u32,
    sizes: Sizes,
    receive: OwnedFd,
    transmit: OwnedFd,
}

impl Shared {
    /// Opens an interface and makes its rings.
    ///
    /// # Errors
    /// As for [`super::open`].
    pub fn open(interface: &str, options: &Options) -> Result<Shared, OpenError> {
        let transmitter = PacketTransmitter::open(interface, options)?;
        let receiver = PacketReceiver::open(interface, options)?;
        let (socket, frame_size, receive_frames, brings_outgoing) = receiver.shared();
        let (transmit, transmit_frames) = transmitter.shared();
        let copy = |socket: &Socket| socket.copy().map(|copy| copy.fd);
        Ok(Shared {
            name: interface.to_string(),
            index: socket.index,
            mtu: socket.mtu,
            sizes: Sizes {
                frame_size,
                receive_frames,
                transmit_frames,
                brings_outgoing,
            },
            receive: copy(socket)?,
            transmit: copy(transmit)?,
        })
    }

    /// Frames of the receiving and of the transmitting ring.
    pub fn frames(&self) -> [u32; 2] {
        [self.sizes.receive_frames, self.sizes.transmit_frames]
    }

    /// All that another process must know besides the descriptors.
    pub fn describe(&self) -> String {
        let Shared {
            name, index, mtu, ..
        } = self;
        let sizes = self.sizes;
        format!(
            "{name} {index} {mtu} {} {} {} {}",
            sizes.frame_size,
            sizes.receive_frames,
            sizes.transmit_frames,
            u8::from(sizes.brings_outgoing)
        )
    }

    /// Descriptors of the receiving and the transmitting socket.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.receive.as_fd(), self.transmit.as_fd()]
    }

    /// The same in the other process.
    ///
    /// # Errors
    /// A text that `describe` did not write.
    pub fn adopt(text: &str, receive: OwnedFd, transmit: OwnedFd) -> io::Result<Shared> {
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, "no description of a port");
        let mut words = text.split(' ');
        let name = words.next().ok_or_else(wrong)?.to_string();
        let mut number = || -> io::Result<u32> {
            let word = words.next().ok_or_else(wrong)?;
            word.parse().map_err(|_| wrong())
        };
        let (index, mtu) = (number()?, number()?);
        Ok(Shared {
            name,
            index: index as libc::c_int,
            mtu,
            sizes: Sizes {
                frame_size: number()?,
                receive_frames: number()?,
                transmit_frames: number()?,
                brings_outgoing: number()? != 0,
            },
            receive,
            transmit,
        })
    }

    /// Watches the interface, which `options` opened.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn presence(&self, options: &Options) -> Result<Presence, OpenError> {
        let (receive, transmit) = (self.socket(&self.receive)?, self.socket(&self.transmit)?);
        Ok(Presence::new(receive, Some(transmit), options))
    }

    fn socket(&self, fd: &OwnedFd) -> Result<Socket, OpenError> {
        let fd = fd.try_clone().map_err(|error| OpenError {
            what: format!("{}: {error}", self.name),
            hint: "raise the limit of open files (ulimit -n)",
        })?;
        Ok(Socket {
            fd,
            name: self.name.clone(),
            index: self.index,
            mtu: self.mtu,
        })
    }

    /// Both halves over the rings. They move nothing before `resume`; `port` is the port's index in
    /// its lane.
    ///
    /// # Errors
    /// The rings cannot be mapped.
    pub fn halves(&self, port: u8) -> Result<(PacketReceiver, PacketTransmitter), OpenError> {
        let receiver = PacketReceiver::attach(self.socket(&self.receive)?, self.sizes, port)?;
        let transmitter = PacketTransmitter::attach(self.socket(&self.transmit)?, self.sizes)?;
        Ok((receiver, transmitter))
    }
}
