//! The two capture formats, as a walk over bytes: pcap (draft-ietf-opsawg-pcap, with the
//! nanosecond magic, the records of Kuznetzov's patched libpcap, and the swapped lengths of
//! versions before 2.4) and pcapng (draft-ietf-opsawg-pcapng: SHB, IDB, EPB, SPB, PB; other blocks
//! are skipped).
//!
//! A walk is pure: it never fails on bytes but ends with a `Fault` that says where. Lengths that a
//! file claims are checked against the file before they are believed.

use crate::memory::Region;

/// Longest packet that is believed, bytes; a longer one means that the file is corrupt.
pub const PACKET_BYTES_MAX: u32 = 262_144;
/// Longest pcapng block that is believed, bytes.
pub const BLOCK_BYTES_MAX: u32 = 16 << 20;
/// Interfaces of a pcapng section; more are a fault. Room for them is made at start.
pub const INTERFACES_MAX: usize = 1024;
/// Options read per interface block; further ones are skipped.
pub const OPTIONS_MAX: usize = 256;

/// Bytes to walk over: a mapped file, or bytes in memory.
pub trait Source {
    /// Bytes there are.
    fn size(&self) -> u64;
    /// `length` bytes at `offset`; fewer where the source ends.
    fn at(&self, offset: u64, length: u32) -> &[u8];
}

impl Source for Region {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn at(&self, offset: u64, length: u32) -> &[u8] {
        self.bytes(offset, length)
    }
}

impl Source for [u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn at(&self, offset: u64, length: u32) -> &[u8] {
        let start = usize::try_from(offset).map_or(self.len(), |start| start.min(self.len()));
        let end = start.saturating_add(length as usize).min(self.len());
        self.get(start..end).unwrap_or(&[])
    }
}

/// Where and why a walk ended before the file did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Byte position of the header that is wrong or cut short.
    pub offset: u64,
    /// What is wrong.
    pub what: &'static str,
    /// What to do; may be empty.
    pub hint: &'static str,
}

const TRUNCATED_HINT: &str =
    "the writer was stopped early or the copy is incomplete; packets before it were processed";
const CORRUPT_HINT: &str = "the file is corrupt here; packets before it were processed";

fn fault<T>(offset: u64, what: &'static str, hint: &'static str) -> Result<T, Fault> {
    Err(Fault { offset, what, hint })
}

/// One packet of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Byte position of the packet's data in the file.
    pub offset: u64,
    /// Bytes captured.
    pub length: u32,
    /// Bytes on the wire.
    pub wire_length: u32,
    /// Arrival, nanoseconds since the epoch.
    pub time_ns: u64,
    /// Link type, the number of the pcap registry.
    pub link: u32,
}

/// A walk through one file.
#[derive(Clone, Debug)]
pub enum Walk {
    /// Classic pcap.
    Pcap(PcapWalk),
    /// pcapng.
    Pcapng(PcapngWalk),
}

impl Walk {
    /// Reads the magic number and the file header.
    ///
    /// # Errors
    /// Not a capture, or not a whole file header.
    pub fn start<S: Source + ?Sized>(source: &S) -> Result<Walk, Fault> {
        let magic: [u8; 4] = match source.at(0, 4).try_into() {
            Ok(magic) => magic,
            Err(_) if source.size() == 0 => {
                return fault(0, "the file is empty", "nothing was captured into it");
            }
            Err(_) => return fault(0, "too short for a capture", TRUNCATED_HINT),
        };
        if magic == SHB_TYPE.to_be_bytes() {
            return PcapngWalk::start(source).map(Walk::Pcapng);
        }
        match PcapWalk::magic(magic) {
            Some(start) => start.header(source).map(Walk::Pcap),
            None => fault(0, "not a pcap or pcapng file", magic_hint(magic)),
        }
    }

    /// The next packet, or `None` at the end of the file.
    ///
    /// # Errors
    /// The file is cut short or corrupt at the fault's position. The walk stays there.
    #[inline]
    pub fn next<S: Source + ?Sized>(&mut self, source: &S) -> Result<Option<Record>, Fault> {
        match self {
            Walk::Pcap(walk) => walk.next(source),
            Walk::Pcapng(walk) => match walk.next_plain(source) {
                Some(record) => Ok(Some(record)),
                None => walk.next(source),
            },
        }
    }

    /// Byte position reached.
    pub fn position(&self) -> u64 {
        match self {
            Walk::Pcap(walk) => walk.at,
            Walk::Pcapng(walk) => walk.at,
        }
    }
}

/// What the first bytes of something that is no capture say about it.
fn magic_hint(magic: [u8; 4]) -> &'static str {
    match magic {
        [0x1f, 0x8b, ..] => "it is gzip-compressed: run `gunzip` on it first",
        [0x28, 0xb5, 0x2f, 0xfd] => "it is zstd-compressed: run `zstd -d` on it first",
        [0xfd, b'7', b'z', b'X'] => "it is xz-compressed: run `xz -d` on it first",
        [b'B', b'Z', b'h', _] => "it is bzip2-compressed: run `bunzip2` on it first",
        [0x04, 0x22, 0x4d, 0x18] => "it is lz4-compressed: run `lz4 -d` on it first",
        [b'P', b'K', ..] => "it is a zip archive: unpack it first",
        [b's', b'n', b'o', b'o'] => "it is a snoop file: convert it with `editcap -F pcap`",
        [b'X', b'C', b'P', 0] | [b'R', b'T', b'S', b'S'] => {
            "it is a sniffer's own format: convert it with `editcap -F pcap`"
        }
        _ => "captures start with the magic number of pcap or pcapng",
    }
}

/// Integers in the byte order of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endian {
    Little,
    Big,
}

impl Endian {
    fn u16(self, bytes: &[u8], at: usize) -> u16 {
        match bytes.get(at..at + 2).and_then(|b| b.try_into().ok()) {
            Some(b) if self == Endian::Little => u16::from_le_bytes(b),
            Some(b) => u16::from_be_bytes(b),
            None => 0,
        }
    }

    fn u32(self, bytes: &[u8], at: usize) -> u32 {
        match bytes.get(at..at + 4).and_then(|b| b.try_into().ok()) {
            Some(b) if self == Endian::Little => u32::from_le_bytes(b),
            Some(b) => u32::from_be_bytes(b),
            None => 0,
        }
    }
}

// ---------------------------------------------------------------------------------------------
// pcap
// ---------------------------------------------------------------------------------------------

/// Whether the two length fields of a record stand in the wrong order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Swapped {
    No,
    /// Some writers of version 2.3 swapped them: the captured length is the smaller one.
    Perhaps,
    Yes,
}

/// A walk through a pcap file.
#[derive(Clone, Debug)]
pub struct PcapWalk {
    endian: Endian,
    nanos: bool,
    record_header: u32,
    swapped: Swapped,
    snap_length: u32,
    link: u32,
    at: u64,
}

mod pcap_field {
    pub const VERSION_MAJOR: usize = 4;
    pub const VERSION_MINOR: usize = 6;
    pub const SNAP_LENGTH: usize = 16;
    pub const LINK: usize = 20;
    pub const HEADER: u32 = 24;
    pub const SECONDS: usize = 0;
    pub const FRACTION: usize = 4;
    pub const CAPTURED: usize = 8;
    pub const WIRE: usize = 12;
    pub const RECORD: u32 = 16;
    /// Kuznetzov's records have interface index, protocol and packet type behind the lengths.
    pub const RECORD_PATCHED: u32 = 24;
    /// Above the link type stand the FCS length and flags.
    pub const LINK_MASK: u32 = 0x03ff_ffff;
}

impl PcapWalk {
    fn magic(magic: [u8; 4]) -> Option<PcapWalk> {
        let (endian, nanos, record_header) = match magic {
            [0xd4, 0xc3, 0xb2, 0xa1] => (Endian::Little, false, pcap_field::RECORD),
            [0xa1, 0xb2, 0xc3, 0xd4] => (Endian::Big, false, pcap_field::RECORD),
            [0x4d, 0x3c, 0xb2, 0xa1] => (Endian::Little, true, pcap_field::RECORD),
            [0xa1, 0xb2, 0x3c, 0x4d] => (Endian::Big, true, pcap_field::RECORD),
            [0x34, 0xcd, 0xb2, 0xa1] => (Endian::Little, false, pcap_field::RECORD_PATCHED),
            [0xa1, 0xb2, 0xcd, 0x34] => (Endian::Big, false, pcap_field::RECORD_PATCHED),
            _ => return None,
        };
        Some(PcapWalk {
            endian,
            nanos,
            record_header,
            swapped: Swapped::No,
            snap_length: PACKET_BYTES_MAX,
            link: 0,
            at: u64::from(pcap_field::HEADER),
        })
    }

    fn header<S: Source + ?Sized>(mut self, source: &S) -> Result<PcapWalk, Fault> {
        let header = source.at(0, pcap_field::HEADER);
        if header.len() < pcap_field::HEADER as usize {
            return fault(0, "the pcap file header is cut short", TRUNCATED_HINT);
        }
        let major = self.endian.u16(header, pcap_field::VERSION_MAJOR);
        let minor = self.endian.u16(header, pcap_field::VERSION_MINOR);
        self.swapped = match (major, minor) {
            (2, 3) => Swapped::Perhaps,
            (2, 0..3) | (543, 0) => Swapped::Yes,
            _ => Swapped::No,
        };
        let snap_length = self.endian.u32(header, pcap_field::SNAP_LENGTH);
        if snap_length != 0 {
            self.snap_length = snap_length.min(PACKET_BYTES_MAX);
        }
        self.link = self.endian.u32(header, pcap_field::LINK) & pcap_field::LINK_MASK;
        Ok(self)
    }

    fn next<S: Source + ?Sized>(&mut self, source: &S) -> Result<Option<Record>, Fault> {
        let left = source.size().saturating_sub(self.at);
        if left == 0 {
            return Ok(None);
        }
        let header = source.at(self.at, self.record_header);
        if header.len() < self.record_header as usize {
            return fault(self.at, "a record header is cut short", TRUNCATED_HINT);
        }
        let mut captured = self.endian.u32(header, pcap_field::CAPTURED);
        let mut wire_length = self.endian.u32(header, pcap_field::WIRE);
        if self.swapped == Swapped::Yes
            || (self.swapped == Swapped::Perhaps && captured > wire_length)
        {
            std::mem::swap(&mut captured, &mut wire_length);
        }
        if captured > PACKET_BYTES_MAX {
            return fault(
                self.at,
                "a record claims an impossible length",
                CORRUPT_HINT,
            );
        }
        if u64::from(captured) > left - u64::from(self.record_header) {
            return fault(
                self.at,
                "a packet is cut short by the end of the file",
                TRUNCATED_HINT,
            );
        }
        let seconds = u64::from(self.endian.u32(header, pcap_field::SECONDS));
        let fraction = u64::from(self.endian.u32(header, pcap_field::FRACTION));
        let record = Record {
            offset: self.at + u64::from(self.record_header),
            // A writer that ignored its own snap length wrote more than it promised; readers
            // everywhere cut such packets.
            length: captured.min(self.snap_length),
            wire_length,
            time_ns: seconds * 1_000_000_000
                + if self.nanos {
                    fraction
                } else {
                    fraction * 1000
                },
            link: self.link,
        };
        self.at = record.offset + u64::from(captured);
        Ok(Some(record))
    }
}

// ---------------------------------------------------------------------------------------------
// pcapng
// ---------------------------------------------------------------------------------------------

const SHB_TYPE: u32 = 0x0a0d_0d0a;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const IDB_TYPE: u32 = 1;
const PB_TYPE: u32 = 2;
const SPB_TYPE: u32 = 3;
const EPB_TYPE: u32 = 6;

/// Bytes of a block's type and length in front and its length behind.
const BLOCK_FRAME: u32 = 12;
/// Bytes of a block's type and length in front.
const BLOCK_HEAD: u32 = 8;

/// One interface of a section.
#[derive(Clone, Copy, Debug)]
struct Interface {
    link: u32,
    snap_length: u32,
    resolution: Resolution,
    /// `if_tsoffset`, seconds.
    offset_seconds: i64,
    /// Nanoseconds of a unit of time stamps; 0 where that is no whole number, or the clock has an
    /// offset.
    nanos: u64,
}

/// Unit of an interface's time stamps (`if_tsresol`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolution {
    /// 10^-n seconds.
    Decimal(u8),
    /// 2^-n seconds.
    Binary(u8),
}

impl Resolution {
    /// The option's byte; `None` where its unit does not fit 64 bits.
    fn new(value: u8) -> Option<Resolution> {
        match value {
            0..=19 => Some(Resolution::Decimal(value)),
            0x80..=0xbf => Some(Resolution::Binary(value & 0x7f)),
            _ => None,
        }
    }

    fn nanos(self, stamp: u64) -> u64 {
        let nanos = match self {
            Resolution::Decimal(n @ 0..=9) => u128::from(stamp) * 10u128.pow(u32::from(9 - n)),
            Resolution::Decimal(n) => u128::from(stamp) / 10u128.pow(u32::from(n - 9)),
            Resolution::Binary(n) => (u128::from(stamp) * 1_000_000_000) >> n,
        };
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }
}

/// A walk through a pcapng file.
#[derive(Debug)]
pub struct PcapngWalk {
    endian: Endian,
    interfaces: Vec<Interface>,
    /// Time of the last packet, for simple packet blocks, which have none.
    time_ns: u64,
    at: u64,
}

impl Clone for PcapngWalk {
    /// A clone keeps the room for interfaces, so that the walk itself never allocates.
    fn clone(&self) -> PcapngWalk {
        let mut interfaces = Vec::with_capacity(INTERFACES_MAX);
        interfaces.extend_from_slice(&self.interfaces);
        PcapngWalk {
            endian: self.endian,
            interfaces,
            time_ns: self.time_ns,
            at: self.at,
        }
    }
}

impl PcapngWalk {
    fn start<S: Source + ?Sized>(source: &S) -> Result<PcapngWalk, Fault> {
        let mut walk = PcapngWalk {
            endian: Endian::Little,
            interfaces: Vec::new(),
            time_ns: 0,
            at: 0,
        };
        // The first block is walked again by `next`; here it only has to be a section header.
        walk.section(source)?;
        Ok(walk)
    }

    /// Reads the byte order of the section that starts here, and forgets the last one.
    fn section<S: Source + ?Sized>(&mut self, source: &S) -> Result<(), Fault> {
        let head = source.at(self.at, BLOCK_HEAD + 4);
        if head.len() < (BLOCK_HEAD + 4) as usize {
            return fault(self.at, "a section header is cut short", TRUNCATED_HINT);
        }
        self.endian = if Endian::Little.u32(head, 8) == BYTE_ORDER_MAGIC {
            Endian::Little
        } else if Endian::Big.u32(head, 8) == BYTE_ORDER_MAGIC {
            Endian::Big
        } else {
            return fault(
                self.at,
                "a section header has no byte-order magic",
                CORRUPT_HINT,
            );
        };
        self.interfaces.clear();
        Ok(())
    }

    /// The next block, if it is an enhanced packet block as nearly all are: little endian, whole, of
    /// a known interface with a plain clock. `None`: it is left to [`PcapngWalk::next`], which would
    /// say the same of this one.
    #[inline]
    fn next_plain<S: Source + ?Sized>(&mut self, source: &S) -> Option<Record> {
        const DATA: u32 = 28;
        let head = source
            .at(self.at, DATA)
            .first_chunk::<{ DATA as usize }>()?;
        let [kind, length, interface, high, low, captured, wire_length] =
            *head.as_chunks::<4>().0.first_chunk::<7>()?;
        let length = u32::from_le_bytes(length);
        let is_plain = self.endian == Endian::Little
            && u32::from_le_bytes(kind) == EPB_TYPE
            && length.is_multiple_of(4)
            && (DATA + 4..=BLOCK_BYTES_MAX).contains(&length);
        if !is_plain {
            return None;
        }
        let behind = source.at(self.at + u64::from(length) - 4, 4);
        let interface = self
            .interfaces
            .get(u32::from_le_bytes(interface) as usize)?;
        let captured = u32::from_le_bytes(captured);
        let is_whole = behind.first_chunk::<4>() == Some(&length.to_le_bytes());
        if !is_whole || captured > length - DATA - 4 || interface.nanos == 0 {
            return None;
        }
        let stamp = u64::from(u32::from_le_bytes(high)) << 32 | u64::from(u32::from_le_bytes(low));
        let record = Record {
            offset: self.at + u64::from(DATA),
            length: captured.min(interface.snap_length),
            wire_length: u32::from_le_bytes(wire_length),
            time_ns: stamp.checked_mul(interface.nanos)?,
            link: interface.link,
        };
        self.at += u64::from(length);
        self.time_ns = record.time_ns;
        Some(record)
    }

    #[inline(never)]
    fn next<S: Source + ?Sized>(&mut self, source: &S) -> Result<Option<Record>, Fault> {
        // Bounded by the file: every turn advances by a block of at least 12 bytes.
        loop {
            let left = source.size().saturating_sub(self.at);
            if left == 0 {
                return Ok(None);
            }
            let head = source.at(self.at, BLOCK_HEAD);
            if head.len() < BLOCK_HEAD as usize {
                return fault(self.at, "a block header is cut short", TRUNCATED_HINT);
            }
            // The section header's type is a palindrome: it reads the same in both byte orders.
            if self.endian.u32(head, 0) == SHB_TYPE {
                self.section(source)?;
            }
            let kind = self.endian.u32(head, 0);
            let length = self.block_length(source, left, self.endian.u32(head, 4))?;
            let record = match kind {
                IDB_TYPE => {
                    self.interface(source, length)?;
                    None
                }
                EPB_TYPE => Some(self.enhanced(source, length)?),
                SPB_TYPE => Some(self.simple(source, length)?),
                PB_TYPE => Some(self.obsolete(source, length)?),
                _ => None,
            };
            self.at += u64::from(length);
            if let Some(record) = record {
                self.time_ns = record.time_ns;
                return Ok(Some(record));
            }
        }
    }

    /// The block's whole length, checked against the file and its copy behind the block.
    fn block_length<S: Source + ?Sized>(
        &self,
        source: &S,
        left: u64,
        length: u32,
    ) -> Result<u32, Fault> {
        if !(BLOCK_FRAME..=BLOCK_BYTES_MAX).contains(&length) {
            return fault(self.at, "a block claims an impossible length", CORRUPT_HINT);
        }
        // Lengths that are no multiple of 4 break the format, but are written; the padding is then
        // part of the file.
        let padded = length.next_multiple_of(4);
        if u64::from(padded) > left {
            return fault(
                self.at,
                "a block is cut short by the end of the file",
                TRUNCATED_HINT,
            );
        }
        let behind = source.at(self.at + u64::from(padded) - 4, 4);
        if self.endian.u32(behind, 0) != length {
            return fault(self.at, "a block's two lengths differ", CORRUPT_HINT);
        }
        Ok(padded)
    }

    fn interface<S: Source + ?Sized>(&mut self, source: &S, length: u32) -> Result<(), Fault> {
        let body = source.at(self.at, length - 4);
        if body.len() < 16 {
            return fault(self.at, "an interface block is too short", CORRUPT_HINT);
        }
        if self.interfaces.len() == INTERFACES_MAX {
            return fault(
                self.at,
                "more than 1,024 interfaces",
                "split the file by interface",
            );
        }
        let mut interface = Interface {
            link: u32::from(self.endian.u16(body, 8)),
            snap_length: match self.endian.u32(body, 12) {
                0 => PACKET_BYTES_MAX,
                snap_length => snap_length.min(PACKET_BYTES_MAX),
            },
            resolution: Resolution::Decimal(6),
            offset_seconds: 0,
            nanos: 0,
        };
        self.options(body.get(16..).unwrap_or(&[]), &mut interface)?;
        if let (Resolution::Decimal(0..=9), 0) = (interface.resolution, interface.offset_seconds) {
            interface.nanos = interface.resolution.nanos(1);
        }
        self.interfaces.push(interface);
        Ok(())
    }

    /// Reads `if_tsresol` and `if_tsoffset`; other options say nothing that we need.
    fn options(&self, mut options: &[u8], interface: &mut Interface) -> Result<(), Fault> {
        const END: u16 = 0;
        const TIME_RESOLUTION: u16 = 9;
        const TIME_OFFSET: u16 = 14;
        for _ in 0..OPTIONS_MAX {
            let (Some(head), Some(rest)) = (options.get(..4), options.get(4..)) else {
                break;
            };
            let (code, length) = (self.endian.u16(head, 0), self.endian.u16(head, 2));
            let length = usize::from(length);
            let Some(value) = rest.get(..length) else {
                return fault(
                    self.at,
                    "an interface option is longer than its block",
                    CORRUPT_HINT,
                );
            };
            match (code, value) {
                (END, _) => break,
                (TIME_RESOLUTION, [byte, ..]) => match Resolution::new(*byte) {
                    Some(resolution) => interface.resolution = resolution,
                    None => {
                        return fault(
                            self.at,
                            "time stamps finer than 64 bits can tell",
                            "rewrite the file with `editcap`",
                        );
                    }
                },
                (TIME_OFFSET, value) if value.len() >= 8 => {
                    let (first, second) = (self.endian.u32(value, 0), self.endian.u32(value, 4));
                    let (low, high) = match self.endian {
                        Endian::Little => (first, second),
                        Endian::Big => (second, first),
                    };
                    interface.offset_seconds =
                        (u64::from(high) << 32 | u64::from(low)).cast_signed();
                }
                _ => {}
            }
            options = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        }
        Ok(())
    }

    fn enhanced<S: Source + ?Sized>(&self, source: &S, length: u32) -> Result<Record, Fault> {
        let interface = |body: &[u8]| self.endian.u32(body, 8);
        self.stamped(source, length, interface)
    }

    /// The obsolete packet block differs in its first field only: 16 bits of interface number, and
    /// 16 of drop count.
    fn obsolete<S: Source + ?Sized>(&self, source: &S, length: u32) -> Result<Record, Fault> {
        let interface = |body: &[u8]| u32::from(self.endian.u16(body, 8));
        self.stamped(source, length, interface)
    }

    fn stamped<S: Source + ?Sized>(
        &self,
        source: &S,
        length: u32,
        interface: impl Fn(&[u8]) -> u32,
    ) -> Result<Record, Fault> {
        const DATA: u32 = 28;
        let body = source.at(self.at, DATA);
        if length < DATA + 4 || body.len() < DATA as usize {
            return fault(self.at, "a packet block is too short", CORRUPT_HINT);
        }
        let interface = self.interface_of(interface(body))?;
        let stamp =
            u64::from(self.endian.u32(body, 12)) << 32 | u64::from(self.endian.u32(body, 16));
        let captured = self.endian.u32(body, 20);
        if captured > length - DATA - 4 {
            return fault(self.at, "a packet is longer than its block", CORRUPT_HINT);
        }
        let nanos = i128::from(interface.resolution.nanos(stamp))
            + i128::from(interface.offset_seconds) * 1_000_000_000;
        Ok(Record {
            offset: self.at + u64::from(DATA),
            length: captured.min(interface.snap_length),
            wire_length: self.endian.u32(body, 24),
            time_ns: u64::try_from(nanos.max(0)).unwrap_or(u64::MAX),
            link: interface.link,
        })
    }

    fn simple<S: Source + ?Sized>(&self, source: &S, length: u32) -> Result<Record, Fault> {
        const DATA: u32 = 12;
        let body = source.at(self.at, DATA);
        if length < DATA + 4 || body.len() < DATA as usize {
            return fault(self.at, "a packet block is too short", CORRUPT_HINT);
        }
        let interface = self.interface_of(0)?;
        let wire_length = self.endian.u32(body, 8);
        Ok(Record {
            offset: self.at + u64::from(DATA),
            length: wire_length
                .min(interface.snap_length)
                .min(length - DATA - 4),
            wire_length,
            time_ns: self.time_ns,
            link: interface.link,
        })
    }

    fn interface_of(&self, number: u32) -> Result<Interface, Fault> {
        match self.interfaces.get(number as usize) {
            Some(interface) => Ok(*interface),
            None => fault(
                self.at,
                "a packet of an interface never described",
                CORRUPT_HINT,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All records of a file, and the fault it ended with.
    pub(crate) fn walk(bytes: &[u8]) -> (Vec<Record>, Option<Fault>) {
        let mut records = Vec::new();
        let mut walk = match Walk::start(bytes) {
            Ok(walk) => walk,
            Err(fault) => return (records, Some(fault)),
        };
        loop {
            match walk.next(bytes) {
                Ok(Some(record)) => records.push(record),
                Ok(None) => return (records, None),
                Err(fault) => return (records, Some(fault)),
            }
        }
    }

    fn u32s(values: &[u32], endian: Endian) -> Vec<u8> {
        let bytes = |value: &u32| match endian {
            Endian::Little => value.to_le_bytes(),
            Endian::Big => value.to_be_bytes(),
        };
        values.iter().flat_map(bytes).collect()
    }

    /// A pcap file of one 4-byte packet at 5 s and `fraction`.
    fn pcap(magic: u32, version: (u16, u16), lengths: (u32, u32), endian: Endian) -> Vec<u8> {
        let version = match endian {
            Endian::Little => u32::from(version.0) | u32::from(version.1) << 16,
            Endian::Big => u32::from(version.0) << 16 | u32::from(version.1),
        };
        let mut file = u32s(&[magic, version, 0, 0, 65_535, 1], endian);
        file.extend(u32s(&[5, 7, lengths.0, lengths.1], endian));
        if magic == 0xa1b2_cd34 {
            file.extend([0; 8]);
        }
        file.extend(*b"abcd");
        file
    }

    #[test]
    fn every_pcap_magic_in_both_byte_orders_is_read() {
        for endian in [Endian::Little, Endian::Big] {
            for (magic, nanos, at) in [
                (0xa1b2_c3d4, 5_000_007_000, 40),
                (0xa1b2_3c4d, 5_000_000_007, 40),
                (0xa1b2_cd34, 5_000_007_000, 48),
            ] {
                let (records, fault) = walk(&pcap(magic, (2, 4), (4, 9), endian));
                let expected = Record {
                    offset: at,
                    length: 4,
                    wire_length: 9,
                    time_ns: nanos,
                    link: 1,
                };
                assert_eq!(
                    (records, fault),
                    (vec![expected], None),
                    "{magic:x} {endian:?}"
                );
            }
        }
    }

    #[test]
    fn old_versions_have_their_lengths_swapped_back() {
        for version in [(2, 2), (2, 3), (543, 0)] {
            let (records, fault) = walk(&pcap(0xa1b2_c3d4, version, (9, 4), Endian::Little));
            assert_eq!(fault, None);
            assert_eq!((records[0].length, records[0].wire_length), (4, 9));
        }
    }

    fn block(kind: u32, body: &[u8], endian: Endian) -> Vec<u8> {
        let total = (12 + body.len().next_multiple_of(4)) as u32;
        let mut block = u32s(&[kind, total], endian);
        block.extend(body);
        block.resize(total as usize - 4, 0);
        block.extend(u32s(&[total], endian));
        block
    }

    fn halves(first: u16, second: u16, endian: Endian) -> Vec<u8> {
        match endian {
            Endian::Little => [first.to_le_bytes(), second.to_le_bytes()].concat(),
            Endian::Big => [first.to_be_bytes(), second.to_be_bytes()].concat(),
        }
    }

    /// A section header, an Ethernet interface in microseconds, and a raw-IP one with unit
    /// 2^-10 s and an offset of 100 s.
    fn section(endian: Endian) -> Vec<u8> {
        let shb = [u32s(&[0x1a2b_3c4d, 1, u32::MAX, u32::MAX], endian)].concat();
        let first = [halves(1, 0, endian), u32s(&[3], endian)].concat();
        let offset = match endian {
            Endian::Little => 100u64.to_le_bytes(),
            Endian::Big => 100u64.to_be_bytes(),
        };
        let second = [
            halves(101, 0, endian),
            u32s(&[0], endian),
            halves(9, 1, endian),
            vec![0x8a, 0, 0, 0],
            halves(14, 8, endian),
            offset.to_vec(),
            halves(0, 0, endian),
        ]
        .concat();
        [
            block(SHB_TYPE, &shb, endian),
            block(IDB_TYPE, &first, endian),
            block(IDB_TYPE, &second, endian),
        ]
        .concat()
    }

    #[test]
    fn every_pcapng_packet_block_in_both_byte_orders_is_read() {
        for endian in [Endian::Little, Endian::Big] {
            let mut file = section(endian);
            let enhanced = [u32s(&[1, 0, 2048, 4, 6], endian), b"abcd".to_vec()].concat();
            file.extend(block(EPB_TYPE, &enhanced, endian));
            file.extend(block(0x0bad, b"skipped", endian));
            let simple = [u32s(&[5], endian), b"abcd".to_vec()].concat();
            file.extend(block(SPB_TYPE, &simple, endian));
            let obsolete = [
                halves(0, 9, endian),
                u32s(&[0, 17, 2, 2], endian),
                b"xy".to_vec(),
            ];
            file.extend(block(PB_TYPE, &obsolete.concat(), endian));
            // A second section starts anew: interface 1 is gone.
            file.extend(block(
                SHB_TYPE,
                &u32s(&[0x1a2b_3c4d, 1, 0, 0], endian),
                endian,
            ));
            let at = file.len() as u64;
            file.extend(block(EPB_TYPE, &enhanced, endian));
            let (records, fault) = walk(&file);
            let seen: Vec<_> = records
                .iter()
                .map(|r| {
                    (
                        &file[r.offset as usize..][..r.length as usize],
                        r.time_ns,
                        r.link,
                    )
                })
                .collect();
            assert_eq!(
                seen,
                [
                    (&b"abcd"[..], 102_000_000_000, 101),
                    // Cut to the interface's snap length, with the time of the packet before it.
                    (b"abc", 102_000_000_000, 1),
                    (b"xy", 17_000, 1)
                ]
            );
            assert_eq!(fault.map(|f| f.offset), Some(at));
        }
    }

    #[test]
    fn plain_blocks_are_read_as_by_the_walk_of_all_blocks() {
        let general = |bytes: &[u8]| {
            let mut records = Vec::new();
            let mut walk = PcapngWalk::start(bytes).unwrap();
            loop {
                match walk.next(bytes) {
                    Ok(Some(record)) => records.push(record),
                    Ok(None) => return (records, None),
                    Err(fault) => return (records, Some(fault)),
                }
            }
        };
        for endian in [Endian::Little, Endian::Big] {
            let mut file = section(endian);
            for (interface, high, captured) in [(0, 1, 4), (0, u32::MAX, 3), (1, 1, 4), (0, 2, 2)] {
                let body = [interface, high, 2048, captured, 6];
                let body = [u32s(&body, endian), b"abcd".to_vec()].concat();
                file.extend(block(EPB_TYPE, &body, endian));
            }
            assert_eq!(walk(&file).0.len(), 4);
            assert_eq!(walk(&file), general(&file));
            // Cut anywhere, and each byte changed: the same records, the same fault.
            for at in 12..file.len() {
                assert_eq!(walk(&file[..at]), general(&file[..at]), "cut at {at}");
                for change in [1, 0x80, 0xff] {
                    let mut changed = file.clone();
                    changed[at] ^= change;
                    let (one, other) = (Walk::start(&*changed), PcapngWalk::start(&*changed));
                    if one.is_ok() && other.is_ok() {
                        assert_eq!(walk(&changed), general(&changed), "changed at {at}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_no_capture_says_what_it_is() {
        assert_eq!(walk(b"").1.unwrap().what, "the file is empty");
        assert_eq!(walk(b"abc").1.unwrap().what, "too short for a capture");
        assert!(walk(b"\x1f\x8b\x08\0\0").1.unwrap().hint.contains("gunzip"));
        assert!(walk(b"hello, world").1.unwrap().what.contains("not a pcap"));
    }

    #[test]
    fn impossible_lengths_are_faults_at_their_header() {
        let file = pcap(0xa1b2_c3d4, (2, 4), (u32::MAX, 4), Endian::Little);
        let (records, fault) = walk(&file);
        assert!(records.is_empty());
        assert_eq!(fault.unwrap().offset, 24);
        for length in [0u32, 11, 13, 1 << 30] {
            let mut file = section(Endian::Little);
            let at = file.len();
            file.extend(block(EPB_TYPE, &[0; 20], Endian::Little));
            file[at + 4..at + 8].copy_from_slice(&length.to_le_bytes());
            assert_eq!(walk(&file).1.unwrap().offset, at as u64, "{length}");
        }
    }

    #[test]
    fn binary_and_decimal_units_become_nanoseconds() {
        assert_eq!(Resolution::new(3).unwrap().nanos(5), 5_000_000);
        assert_eq!(Resolution::new(12).unwrap().nanos(5_000), 5);
        assert_eq!(Resolution::new(0x81).unwrap().nanos(3), 1_500_000_000);
        assert_eq!(Resolution::new(0).unwrap().nanos(u64::MAX), u64::MAX);
        assert_eq!(Resolution::new(20), None);
        assert_eq!(Resolution::new(0xff), None);
    }
}
