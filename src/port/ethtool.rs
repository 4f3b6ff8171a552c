//! What a network driver says of itself and what it can be told: ethtool's ioctl (linux/ethtool.h),
//! without its command. Used at start and by `sluice doctor`, never for a packet.
//!
//! Each question is a struct of 32-bit words that begins with its command. Drivers answer what they
//! know; what they do not know is `None` here and never an error.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::rss::{Rss, SYMMETRIC};

/// Words of the largest answer: a hash key and its table of queues.
const WORDS: usize = 1024;

/// A command, and the bytes that the kernel may write for it.
#[derive(Clone, Copy)]
struct Command {
    number: u32,
    bytes: usize,
}

const fn command(number: u32, bytes: usize) -> Command {
    assert!(bytes <= WORDS * 4);
    Command { number, bytes }
}

const GET_DRIVER: Command = command(0x03, 196);
const GET_RINGS: Command = command(0x10, 36);
const SET_RINGS: Command = command(0x11, 36);
const GET_PAUSE: Command = command(0x12, 16);
const SET_PAUSE: Command = command(0x13, 16);
const GET_FLAGS: Command = command(0x25, 8);
const SET_FLAGS: Command = command(0x26, 8);
const GET_CHANNELS: Command = command(0x3c, 36);
const GET_HASH: Command = command(0x46, WORDS * 4);
const SET_HASH: Command = command(0x47, WORDS * 4);
const GET_HASH_FIELDS: Command = command(0x29, 192);
const SET_HASH_FIELDS: Command = command(0x2a, 192);

/// Flags of `GET_FLAGS`.
const FLAG_TX_VLAN: u32 = 1 << 7;
const FLAG_RX_VLAN: u32 = 1 << 8;
const FLAG_LRO: u32 = 1 << 15;

/// What a driver does to frames on their way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Offload {
    /// Checks checksums of what comes.
    RxChecksum,
    /// Fills in checksums of what goes.
    TxChecksum,
    /// Cuts TCP segments.
    Tso,
    /// Lets segments be cut late.
    Gso,
    /// Merges segments that come, in software.
    Gro,
    /// Merges segments that come, in hardware.
    Lro,
    /// Takes VLAN tags out of what comes.
    RxVlan,
    /// Puts VLAN tags into what goes.
    TxVlan,
}

impl Offload {
    /// All of them.
    pub const ALL: [Offload; 8] = [
        Offload::RxChecksum,
        Offload::TxChecksum,
        Offload::Tso,
        Offload::Gso,
        Offload::Gro,
        Offload::Lro,
        Offload::RxVlan,
        Offload::TxVlan,
    ];

    /// The word that `ethtool -K` knows it by.
    pub const fn word(self) -> &'static str {
        match self {
            Offload::RxChecksum => "rx",
            Offload::TxChecksum => "tx",
            Offload::Tso => "tso",
            Offload::Gso => "gso",
            Offload::Gro => "gro",
            Offload::Lro => "lro",
            Offload::RxVlan => "rxvlan",
            Offload::TxVlan => "txvlan",
        }
    }

    /// Commands to get and set it, or its bit among the flags.
    const fn way(self) -> Result<(u32, u32), u32> {
        match self {
            Offload::RxChecksum => Ok((0x14, 0x15)),
            Offload::TxChecksum => Ok((0x16, 0x17)),
            Offload::Tso => Ok((0x1e, 0x1f)),
            Offload::Gso => Ok((0x23, 0x24)),
            Offload::Gro => Ok((0x2b, 0x2c)),
            Offload::Lro => Err(FLAG_LRO),
            Offload::RxVlan => Err(FLAG_RX_VLAN),
            Offload::TxVlan => Err(FLAG_TX_VLAN),
        }
    }
}

/// A driver by its name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Driver {
    /// Name of the kernel module.
    pub name: String,
    /// Version of driver and firmware.
    pub version: String,
    /// Place on its bus.
    pub bus: String,
}

impl Driver {
    /// Whether netmap shares this driver's own rings: one that was built with netmap depends on its
    /// module, which lists who does.
    pub fn knows_netmap(&self) -> bool {
        let holders = std::path::Path::new("/sys/module/netmap/holders");
        !self.name.is_empty() && holders.join(&self.name).exists()
    }
}

/// Slots of a NIC's rings, or its queues: what is set and what can be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sizes {
    /// Receiving: set, most.
    pub rx: (u32, u32),
    /// Transmitting: set, most.
    pub tx: (u32, u32),
    /// Both at once (queues only): set, most.
    pub combined: (u32, u32),
}

impl Sizes {
    /// Queues that bring frames; `None` where the driver tells of none.
    pub fn receiving(&self) -> Option<u32> {
        let both = [self.combined.0, self.rx.0];
        both.into_iter().find(|count| *count > 0)
    }
}

/// How a NIC spreads flows over its queues.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Spread {
    /// Key of the Toeplitz hash; empty if it is not told.
    pub key: Vec<u8>,
    /// Ports are part of what is hashed, for TCP over IPv4.
    pub hashes_ports: Option<bool>,
    /// All that is hashed of TCP and UDP over IPv4 and IPv6 is the two addresses.
    pub is_by_addresses: bool,
    /// The NIC makes both directions equal before it hashes (`symmetric-xor`, Linux 6.8).
    pub is_folded: bool,
    /// The hash is Toeplitz's.
    pub is_toeplitz: bool,
    /// Queue by the hash's last bits; empty if it is not told.
    pub table: Vec<u32>,
}

impl Spread {
    /// Whether both directions of a flow come to the same queue: the key repeats every 16 bits, so
    /// that swapping addresses and ports changes nothing (Woo and Park, "Scalable TCP Session
    /// Monitoring with Symmetric Receive-side Scaling", 2012).
    pub fn is_symmetric(&self) -> bool {
        self.is_folded
            || !self.key.is_empty()
                && self
                    .key
                    .iter()
                    .zip(self.key.iter().skip(2))
                    .all(|(a, b)| a == b)
    }

    /// How frames are dealt, if by both addresses alone and the same in both directions.
    pub fn by_addresses(&self) -> Option<Rss> {
        let [first, second, ..] = *self.key else {
            return None;
        };
        let plain = self.is_toeplitz && self.is_by_addresses && !self.is_folded;
        if !plain || !self.is_symmetric() {
            return None;
        }
        Rss::new([first, second], &self.table)
    }
}

/// An interface that can be asked.
pub struct Ethtool {
    fd: OwnedFd,
    name: String,
}

impl Ethtool {
    /// Of an interface of the calling thread's network namespace.
    ///
    /// # Errors
    /// No socket.
    pub fn open(name: &str) -> std::io::Result<Ethtool> {
        // SAFETY: no memory is passed; the result is checked.
        let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: just opened, and owned by nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let name = name.to_string();
        Ok(Ethtool { fd, name })
    }

    /// Asks one question; the answer lies in the words.
    fn ask(&self, command: Command, words: &mut [u32; WORDS]) -> std::io::Result<()> {
        debug_assert!(command.bytes <= size_of_val(words));
        words[0] = command.number;
        let mut request = super::af_packet::interface_request(&self.name);
        request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
        let fd = self.fd.as_raw_fd();
        // SAFETY: SIOCETHTOOL reads the name and writes, through the pointer, no more than the
        // struct of the command: `Command::bytes`, which is within `words` (checked when compiled).
        let done = unsafe { libc::ioctl(fd, libc::SIOCETHTOOL as _, &mut request) };
        match done {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    }

    fn value(&self, number: u32) -> Option<u32> {
        let mut words = [0; WORDS];
        self.ask(command(number, 8), &mut words).ok()?;
        Some(words[1])
    }

    fn set_value(&self, number: u32, value: u32) -> std::io::Result<()> {
        let mut words = [0; WORDS];
        words[1] = value;
        self.ask(command(number, 8), &mut words)
    }

    /// The driver.
    pub fn driver(&self) -> Option<Driver> {
        let mut words = [0; WORDS];
        self.ask(GET_DRIVER, &mut words).ok()?;
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let text = |from: usize| {
            let field = bytes.get(from..from + 32).unwrap_or(&[]);
            let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
            String::from_utf8_lossy(&field[..end]).into_owned()
        };
        Some(Driver {
            name: text(4),
            version: text(36),
            bus: text(100),
        })
    }

    /// Whether an offload is on.
    pub fn offload(&self, offload: Offload) -> Option<bool> {
        match offload.way() {
            Ok((get, _)) => self.value(get).map(|value| value != 0),
            Err(flag) => self.value(GET_FLAGS.number).map(|flags| flags & flag != 0),
        }
    }

    /// Switches an offload off, and looks whether it is.
    ///
    /// # Errors
    /// The driver will not.
    pub fn switch_off(&self, offload: Offload) -> std::io::Result<()> {
        match offload.way() {
            Ok((_, set)) => self.set_value(set, 0)?,
            Err(flag) => {
                let flags = self.value(GET_FLAGS.number).unwrap_or(0);
                self.set_value(SET_FLAGS.number, flags & !flag)?;
            }
        }
        match self.offload(offload) {
            Some(true) => Err(std::io::Error::other("the driver keeps it on")),
            _ => Ok(()),
        }
    }

    /// Slots of the NIC's rings.
    pub fn rings(&self) -> Option<Sizes> {
        let mut words = [0; WORDS];
        self.ask(GET_RINGS, &mut words).ok()?;
        // rx_max, rx_mini_max, rx_jumbo_max, tx_max, then what is set in the same order.
        Some(Sizes {
            rx: (words[5], words[1]),
            tx: (words[8], words[4]),
            combined: (0, 0),
        })
    }

    /// Gives the NIC's rings as many slots as they can have.
    ///
    /// # Errors
    /// The driver will not.
    pub fn rings_to_most(&self) -> std::io::Result<()> {
        let mut words = [0; WORDS];
        self.ask(GET_RINGS, &mut words)?;
        (words[5], words[8]) = (words[1], words[4]);
        self.ask(SET_RINGS, &mut words)
    }

    /// Queues.
    pub fn queues(&self) -> Option<Sizes> {
        let mut words = [0; WORDS];
        self.ask(GET_CHANNELS, &mut words).ok()?;
        // max_rx, max_tx, max_other, max_combined, then what is set.
        Some(Sizes {
            rx: (words[5], words[1]),
            tx: (words[6], words[2]),
            combined: (words[8], words[4]),
        })
    }

    /// Flow control: whether the NIC obeys and whether it sends pause frames.
    pub fn pause(&self) -> Option<(bool, bool)> {
        let mut words = [0; WORDS];
        self.ask(GET_PAUSE, &mut words).ok()?;
        Some((words[2] != 0, words[3] != 0))
    }

    /// Switches flow control off.
    ///
    /// # Errors
    /// The driver will not.
    pub fn pause_off(&self) -> std::io::Result<()> {
        let mut words = [0; WORDS];
        self.ask(SET_PAUSE, &mut words)
    }

    /// How flows are spread over queues.
    pub fn spread(&self) -> Option<Spread> {
        let mut words = [0; WORDS];
        // Sizes of zero: the kernel tells how large table and key are.
        self.ask(GET_HASH, &mut words).ok()?;
        let (table, key) = (words[2] as usize, words[3] as usize);
        if (HASH_HEAD_WORDS + table) * 4 + key > WORDS * 4 {
            return None;
        }
        // The first two bytes of the word behind the sizes: function, and what is done before it.
        let [function, folds, ..] = words[4].to_ne_bytes();
        let fields = TCP_AND_UDP.map(|kind| self.hash_fields(kind));
        let mut spread = Spread {
            hashes_ports: fields[0].map(|fields| fields & PORTS != 0),
            is_by_addresses: fields.iter().all(|fields| *fields == Some(ADDRESSES)),
            is_folded: folds != 0,
            is_toeplitz: function == TOEPLITZ,
            ..Spread::default()
        };
        if key > 0 || table > 0 {
            let mut words = [0; WORDS];
            (words[2], words[3]) = (table as u32, key as u32);
            self.ask(GET_HASH, &mut words).ok()?;
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            let from = (HASH_HEAD_WORDS + table) * 4;
            spread.key = bytes.get(from..from + key)?.to_vec();
            spread.table = words
                .get(HASH_HEAD_WORDS..HASH_HEAD_WORDS + table)?
                .to_vec();
        }
        Some(spread)
    }

    /// Sets a hash key that is the same in both directions.
    ///
    /// # Errors
    /// The driver will not.
    pub fn make_symmetric(&self) -> std::io::Result<()> {
        let mut words = [0; WORDS];
        self.ask(GET_HASH, &mut words)?;
        let key = words[3] as usize;
        if key == 0 || HASH_HEAD_WORDS * 4 + key > WORDS * 4 {
            return Err(std::io::Error::other("the driver has no key to set"));
        }
        let mut words = [0; WORDS];
        // The table of queues stays as it is.
        (words[2], words[3]) = (u32::MAX, key as u32);
        let bytes = SYMMETRIC.iter().cycle().take(key.next_multiple_of(4));
        let bytes: Vec<u8> = bytes.copied().collect();
        for (word, four) in words[HASH_HEAD_WORDS..].iter_mut().zip(bytes.chunks(4)) {
            *word = u32::from_ne_bytes(four.try_into().unwrap_or([0; 4]));
        }
        self.ask(SET_HASH, &mut words)
    }

    /// Has nothing but addresses hashed, so that all packets of two hosts come to one queue.
    ///
    /// # Errors
    /// The driver will not, for one kind of packets at least.
    pub fn hash_addresses(&self) -> std::io::Result<()> {
        TCP_AND_UDP.into_iter().try_for_each(|kind| {
            let mut words = [0; WORDS];
            (words[1], words[2]) = (kind, ADDRESSES);
            self.ask(SET_HASH_FIELDS, &mut words)
        })
    }

    /// Fields that are hashed of a kind of packets.
    fn hash_fields(&self, kind: u32) -> Option<u32> {
        let mut words = [0; WORDS];
        words[1] = kind;
        self.ask(GET_HASH_FIELDS, &mut words).ok()?;
        Some(words[2])
    }
}

/// Words of `struct ethtool_rxfh` before the table of queues.
const HASH_HEAD_WORDS: usize = 6;
/// Kinds of packets by what is hashed (linux/ethtool.h): TCP and UDP over IPv4, then over IPv6.
const TCP_AND_UDP: [u32; 4] = [1, 2, 5, 6];
/// Both addresses, and both ports, among the fields.
const ADDRESSES: u32 = 1 << 4 | 1 << 5;
const PORTS: u32 = 1 << 6 | 1 << 7;
/// Toeplitz's, among the functions.
const TOEPLITZ: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_repeats_every_two_bytes_is_symmetric() {
        let of = |key: &[u8]| Spread {
            key: key.to_vec(),
            ..Spread::default()
        };
        assert!(of(&SYMMETRIC.repeat(20)).is_symmetric());
        assert!(!of(&[]).is_symmetric());
        let mut key = SYMMETRIC.repeat(20);
        key[39] ^= 1;
        assert!(!of(&key).is_symmetric());
    }

    #[test]
    fn frames_are_dealt_by_addresses_alone_where_nothing_else_is_hashed() {
        let good = Spread {
            key: SYMMETRIC.repeat(20),
            hashes_ports: Some(false),
            is_by_addresses: true,
            is_folded: false,
            is_toeplitz: true,
            table: (0..128).map(|entry| entry % 4).collect(),
        };
        assert_eq!(good.by_addresses(), Some(Rss::even(4)));
        let mut other = vec![good.clone(); 5];
        other[0].is_by_addresses = false;
        other[1].is_folded = true;
        other[2].is_toeplitz = false;
        other[3].key[39] ^= 1;
        other[4].table.clear();
        for spread in other {
            assert_eq!(spread.by_addresses(), None, "{spread:?}");
        }
    }

    #[test]
    fn the_loopback_answers_or_says_nothing() {
        let loopback = Ethtool::open("lo").unwrap();
        // It has no rings and no hash, and some kernels let it be asked for its driver.
        assert_eq!(loopback.spread(), None);
        assert!(loopback.rings().is_none_or(|rings| rings.rx.1 == 0));
        let none = Ethtool::open("no-such-if0").unwrap();
        assert_eq!(none.driver(), None);
        assert!(none.switch_off(Offload::Gro).is_err());
    }
}
