//! One decoder of a body: what it begins with, gzip's header, inflate. The pool that lends decoders and
//! puts them one behind the other is coding.rs's.

use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZFlush, MZStatus};

use super::brotli::Outcome;
use super::coding::Coding;

/// First bytes of a body that are kept until something came out, to try another decoder on them. What
/// does not begin like its coding waits until so many are there or the body ends: which decoder is
/// the right one must not depend on how the bytes were cut.
pub(super) const PREFIX: usize = 512;
/// Bytes before what is packed with zlib; before the properties of LZMA; with them.
pub(super) const SWF_HEAD: usize = 8;
pub(super) const SWF_HEAD_LZMA: usize = 12;
pub(super) const SWF_HEAD_WHOLE: usize = 17;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    Decode,
    /// Bytes go through.
    Pass,
    /// Bytes are dropped: the stream has ended, or broke after something came out.
    Ended,
}

/// Where the reading of a gzip header is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Gzip {
    Fixed,
    ExtraLength,
    Extra,
    Name,
    Comment,
    Checksum,
    Done,
}

const HEADER_CHECKSUM: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;

#[derive(Clone)]
pub(super) struct Decoder {
    pub state: Box<InflateState>,
    pub coding: Coding,
    /// Number of the decoder of brotli that this one has, and of LZMA.
    pub brotli: Option<u16>,
    pub lzma: Option<u16>,
    /// Head of a Flash file, until what it packs has come out.
    pub head: [u8; SWF_HEAD_LZMA],
    pub head_length: u8,
    /// Bytes that it takes and makes yet.
    pub takes: u64,
    pub makes: u64,
    pub mode: Mode,
    pub restarts: u8,
    pub gzip: Gzip,
    pub flags: u8,
    /// Bytes of the field at hand that were seen, and those that are left to skip.
    pub have: u8,
    pub left: u16,
    pub made: u64,
    pub prefix: [u8; PREFIX],
    pub prefix_length: u16,
    /// It is known with which decoder to begin.
    pub settled: bool,
    /// More came in than `prefix` holds.
    pub past_prefix: bool,
    /// Bytes were not what the coding says.
    pub failed: bool,
}

/// What a step came to.
pub(super) enum Step {
    /// All bytes are used.
    More,
    /// The room is full.
    Full,
    Ended,
    Failed,
}

impl Decoder {
    pub fn new() -> Decoder {
        Decoder {
            state: InflateState::new_boxed(DataFormat::Raw),
            coding: Coding::Deflate,
            brotli: None,
            lzma: None,
            head: [0; SWF_HEAD_LZMA],
            head_length: 0,
            takes: u64::MAX,
            makes: u64::MAX,
            mode: Mode::Decode,
            restarts: 0,
            gzip: Gzip::Fixed,
            flags: 0,
            have: 0,
            left: 0,
            made: 0,
            prefix: [0; PREFIX],
            prefix_length: 0,
            settled: false,
            past_prefix: false,
            failed: false,
        }
    }

    /// Holds the first bytes back until it is known what they are: `None`, or the bytes behind those
    /// that are held.
    pub fn hold<'a>(&mut self, data: &'a [u8]) -> Option<&'a [u8]> {
        let taken = self.keep(data);
        let held = self.prefix.get(..usize::from(self.prefix_length));
        let held = held.unwrap_or(&[]);
        self.settled = held.len() == PREFIX || begins_like(self.coding, held);
        self.settled.then(|| data.get(taken..).unwrap_or(&[]))
    }

    /// Keeps first bytes; how many.
    pub fn keep(&mut self, data: &[u8]) -> usize {
        let have = usize::from(self.prefix_length);
        let more = data.len().min(PREFIX - have.min(PREFIX));
        let room = self.prefix.get_mut(have..have + more);
        if let (Some(room), Some(data)) = (room, data.get(..more)) {
            room.copy_from_slice(data);
            self.prefix_length += more as u16;
        }
        more
    }

    /// The bytes that are held, for good.
    pub fn take_held(&mut self) -> ([u8; PREFIX], usize) {
        let length = std::mem::take(&mut self.prefix_length);
        (self.prefix, usize::from(length))
    }

    /// The head of a packed file as that of an open one, once.
    pub fn open_head(&mut self) -> Option<[u8; SWF_HEAD]> {
        let waits = std::mem::take(&mut self.head_length) > 0;
        let rest = self.head.get(1..SWF_HEAD).filter(|_| waits)?;
        let mut head = [b'F'; SWF_HEAD];
        head.get_mut(1..)?.copy_from_slice(rest);
        Some(head)
    }

    /// What it takes of these bytes, and whether it takes no more.
    pub fn cut<'a>(&mut self, data: &'a [u8]) -> (&'a [u8], bool) {
        if self.mode != Mode::Decode {
            return (data, false);
        }
        let most = usize::try_from(self.takes).unwrap_or(usize::MAX);
        let taken = data.get(..most).unwrap_or(data);
        self.takes = self.takes.saturating_sub(taken.len() as u64);
        (taken, self.takes == 0)
    }

    pub fn begin(&mut self, coding: Coding) {
        self.state.reset(match coding {
            Coding::Zlib => DataFormat::ZLibIgnoreChecksum,
            _ => DataFormat::Raw,
        });
        self.coding = coding;
        self.mode = Mode::Decode;
        self.gzip = Gzip::Fixed;
        (self.flags, self.have, self.left) = (0, 0, 0);
    }

    /// Decodes into `room`: bytes used, bytes made, what came of it.
    pub fn step(&mut self, input: &[u8], room: &mut [u8]) -> (usize, usize, Step) {
        let mut used = 0;
        if self.coding == Coding::Gzip && self.gzip != Gzip::Done {
            let Some(header) = self.gzip_header(input) else {
                return (0, 0, Step::Failed);
            };
            used = header;
            if self.gzip != Gzip::Done {
                return (used, 0, Step::More);
            }
        }
        let rest = input.get(used..).unwrap_or(&[]);
        let result = inflate(&mut self.state, rest, room, MZFlush::None);
        let mut used = used + result.bytes_consumed;
        let (mut made, mut status) = (result.bytes_written, result.status);
        // Where its window wraps, the decoder stops though more can come out of what went in. Each
        // turn makes a byte.
        while status == Ok(MZStatus::Ok) && made > 0 && made < room.len() {
            let rest = input.get(used..).unwrap_or(&[]);
            let left = room.get_mut(made..).unwrap_or(&mut []);
            let more = inflate(&mut self.state, rest, left, MZFlush::None);
            used += more.bytes_consumed;
            if more.bytes_written == 0 && more.status != Ok(MZStatus::StreamEnd) {
                if more.status != Ok(MZStatus::Ok) && more.bytes_consumed > 0 {
                    status = more.status;
                }
                break;
            }
            made += more.bytes_written;
            status = more.status;
        }
        let step = match status {
            Ok(MZStatus::StreamEnd) => Step::Ended,
            _ if made == room.len() => Step::Full,
            Ok(_) | Err(miniz_oxide::MZError::Buf) => Step::More,
            Err(_) => Step::Failed,
        };
        (used, made, step)
    }

    /// Reads on in the header; bytes used. None: it is none.
    fn gzip_header(&mut self, input: &[u8]) -> Option<usize> {
        let mut at = 0;
        while self.gzip != Gzip::Done {
            let wanted = match self.gzip {
                Gzip::ExtraLength => self.flags & EXTRA != 0,
                Gzip::Extra => self.left > 0,
                Gzip::Name => self.flags & NAME != 0,
                Gzip::Comment => self.flags & COMMENT != 0,
                Gzip::Checksum => self.flags & HEADER_CHECKSUM != 0,
                Gzip::Fixed | Gzip::Done => true,
            };
            if !wanted {
                self.next_field();
                continue;
            }
            let Some(byte) = input.get(at).copied() else {
                break;
            };
            at += 1;
            self.gzip_byte(byte)?;
        }
        Some(at)
    }

    fn next_field(&mut self) {
        self.have = 0;
        self.gzip = match self.gzip {
            Gzip::Fixed => Gzip::ExtraLength,
            Gzip::ExtraLength => Gzip::Extra,
            Gzip::Extra => Gzip::Name,
            Gzip::Name => Gzip::Comment,
            Gzip::Comment => Gzip::Checksum,
            Gzip::Checksum | Gzip::Done => Gzip::Done,
        };
    }

    fn gzip_byte(&mut self, byte: u8) -> Option<()> {
        let have = self.have;
        self.have = have.saturating_add(1);
        let done = match self.gzip {
            Gzip::Fixed => {
                let magic = [0x1f, 0x8b, 8];
                if magic.get(usize::from(have)).is_some_and(|m| *m != byte) {
                    return None;
                }
                if have == 3 {
                    self.flags = byte;
                }
                have == 9
            }
            Gzip::ExtraLength => {
                self.left |= u16::from(byte) << (8 * (have & 1));
                have == 1
            }
            Gzip::Extra => {
                self.left -= 1;
                self.left == 0
            }
            Gzip::Name | Gzip::Comment => byte == 0,
            Gzip::Checksum => have == 1,
            Gzip::Done => false,
        };
        if done {
            self.next_field();
        }
        Some(())
    }
}

pub(super) fn as_step((used, made, outcome): (usize, usize, Outcome)) -> (usize, usize, Step) {
    let step = match outcome {
        Outcome::More => Step::More,
        Outcome::Full => Step::Full,
        Outcome::Ended => Step::Ended,
        Outcome::Failed => Step::Failed,
    };
    (used, made, step)
}

/// Whether these bytes begin like the coding that they are said to have: gzip's magic number, or the
/// header of a zlib frame (which is what servers send as `deflate`).
fn begins_like(coding: Coding, bytes: &[u8]) -> bool {
    match (coding, bytes) {
        (Coding::Gzip, bytes) => bytes.starts_with(&[0x1f, 0x8b, 8]),
        (Coding::Deflate | Coding::Zlib, [first, second, ..]) => {
            first & 15 == 8 && (u16::from(*first) << 8 | u16::from(*second)) % 31 == 0
        }
        (Coding::Lzma, bytes) => bytes.starts_with(&[0x5d, 0, 0]),
        (Coding::Swf, bytes) => match bytes.get(..3) {
            Some(b"CWS") => bytes.len() >= SWF_HEAD,
            Some(b"ZWS") => bytes.len() >= SWF_HEAD_WHOLE,
            Some(_) => true,
            None => !b"CWS".starts_with(bytes) && !b"ZWS".starts_with(bytes),
        },
        // Brotli has no mark of its own.
        (Coding::Deflate | Coding::Zlib | Coding::Brotli, _) => false,
    }
}
