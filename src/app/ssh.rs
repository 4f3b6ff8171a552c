//! SSH 2 (RFC 4253): the banners, and the lists of algorithms that both sides offer, from which the
//! HASSH fingerprints are made (salesforce, 2018). After the new keys nothing is looked at.

use super::field::{Field, Progress};
use super::heap::TEXT_MAX;
use super::output::{AppEvent, Output, SCRATCH_SIZE, TxId};
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use super::reader::{Reader, push};
use super::tls::fingerprint::ja3_hash;
use crate::packet::Direction;

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::Ssh,
    probe,
    over: &[Transport::Tcp],
    fields: &[
        Field::SshProto,
        Field::SshSoftware,
        Field::SshHassh,
        Field::SshHasshString,
        Field::SshHasshServer,
        Field::SshHasshServerString,
        Field::FrameSshRecordHdr,
        Field::FrameSshRecordData,
        Field::FrameSshRecordPdu,
    ],
    events: &[
        "invalid_banner",
        "long_banner",
        "invalid_record",
        "long_kex_record",
    ],
};

/// Places in `DESCRIPTION.events`.
mod event {
    pub const INVALID_BANNER: u8 = 0;
    pub const LONG_BANNER: u8 = 1;
    pub const INVALID_RECORD: u8 = 2;
    pub const LONG_KEX: u8 = 3;
}

const START: &[u8] = b"SSH-";
/// Longest banner that is waited for (RFC 4253 4.2 allows 255).
const BANNER_MAX: usize = 256;
/// Length, length of the padding, type.
const HEAD: usize = 6;
/// Longest list of algorithms that is put together.
const KEX_MAX: usize = 65_535;
/// Frames that rules can ask for.
const FRAMES: [Field; 3] = [
    Field::FrameSshRecordHdr,
    Field::FrameSshRecordData,
    Field::FrameSshRecordPdu,
];
const _: () = assert!(KEX_MAX + HEAD < TEXT_MAX && KEX_MAX < SCRATCH_SIZE);

/// Types of messages (RFC 4253 12).
mod message {
    pub const KEXINIT: u8 = 20;
    pub const NEWKEYS: u8 = 21;
}

/// How far a side has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
enum Phase {
    /// The banner is awaited.
    #[default]
    Banner,
    /// The banner was long; its end is awaited.
    LongBanner,
    /// Records.
    Records,
    /// What follows is encrypted.
    Encrypted,
}

#[derive(Debug, Default)]
struct Side {
    phase: Phase,
    /// Bytes of a record that are passed over.
    skip: u32,
}

/// State of a flow.
#[derive(Debug, Default)]
pub struct Ssh {
    tx: TxId,
    opened: bool,
    sides: [Side; 2],
}

fn probe(probe: &Probe<'_>) -> Guess {
    let count = probe.bytes.len().min(START.len());
    match probe.bytes.get(..count) == START.get(..count) {
        false => Guess::No,
        true if count == START.len() => Guess::Yes,
        true => Guess::More,
    }
}

impl Parse for Ssh {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        if !std::mem::replace(&mut self.opened, true) {
            self.tx = out.open();
        }
        let taken = self.read(input, out);
        let encrypted = self.sides.iter().all(|side| side.phase == Phase::Encrypted);
        if encrypted || taken.is_err() {
            out.complete(self.tx);
        }
        if encrypted {
            let handling = out.shared.limits.parsers.ssh;
            out.encrypted(0, handling);
            out.done();
        }
        if input.end {
            out.progress(self.tx, input.direction, Progress::Complete);
        }
        taken
    }
}

impl Ssh {
    fn side(&mut self, direction: Direction) -> &mut Side {
        &mut self.sides[direction.index()]
    }

    fn event(&self, out: &mut Output<'_>, direction: Direction, place: u8) {
        out.event(self.tx, direction, AppEvent::of(AppProtocol::Ssh, place));
    }

    fn read(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        let (bytes, direction) = (input.bytes, input.direction);
        let side = self.side(direction);
        if side.phase == Phase::Encrypted {
            return Ok(Taken::all(bytes.len()));
        }
        if input.gap > 0 {
            side.skip = side.skip.checked_sub(input.gap).ok_or(Broken)?;
        }
        let mut at = (side.skip as usize).min(bytes.len());
        side.skip -= at as u32;
        if side.phase == Phase::Banner {
            let Some(count) = self.banner(bytes, direction, out)? else {
                return Ok(Taken::until(0, bytes.len() + 1));
            };
            at = count;
        }
        if self.side(direction).phase == Phase::LongBanner {
            let rest = bytes.get(at..).unwrap_or(&[]);
            let Some(end) = memchr::memchr(b'\n', rest) else {
                return Ok(Taken::all(bytes.len()));
            };
            at += end + 1;
            self.side(direction).phase = Phase::Records;
        }
        self.records(bytes, at, direction, out)
    }

    /// The banner at the start of `bytes`: how many it takes, or None when its end is not there.
    fn banner(
        &mut self,
        bytes: &[u8],
        direction: Direction,
        out: &mut Output<'_>,
    ) -> Result<Option<usize>, Broken> {
        // A line end further on is not waited for, so it does not count where it is at hand.
        let end = memchr::memchr2(b'\n', b'\r', bytes.get(..BANNER_MAX).unwrap_or(bytes));
        let (line, count) = match end {
            // A carriage return may stand alone, but only the next byte tells.
            Some(end) if bytes.get(end) == Some(&b'\r') => match bytes.get(end + 1) {
                None => return Ok(None),
                Some(b'\n') => (bytes.get(..end), end + 2),
                Some(_) => (bytes.get(..end), end + 1),
            },
            Some(end) => (bytes.get(..end), end + 1),
            None if bytes.len() < BANNER_MAX => return Ok(None),
            None => (bytes.get(..BANNER_MAX), BANNER_MAX),
        };
        let line = line.unwrap_or(&[]);
        let parts = line
            .strip_prefix(START)
            .and_then(|rest| Some((rest, memchr::memchr(b'-', rest)?)))
            .filter(|(_, dash)| *dash > 0);
        let Some((rest, dash)) = parts else {
            self.event(out, direction, event::INVALID_BANNER);
            return Err(Broken);
        };
        // Remarks stand behind the first space.
        let software = rest.get(dash + 1..).unwrap_or(&[]);
        let software = match memchr::memchr(b' ', software) {
            Some(space) if space > 0 => software.get(..space).unwrap_or(&[]),
            _ => software,
        };
        let proto = rest.get(..dash).unwrap_or(&[]);
        out.field(self.tx, Field::SshProto, direction, proto);
        if !software.is_empty() {
            out.field(self.tx, Field::SshSoftware, direction, software);
        }
        if line.len() >= BANNER_MAX {
            self.event(out, direction, event::LONG_BANNER);
        }
        self.side(direction).phase = match end {
            Some(_) => Phase::Records,
            None => Phase::LongBanner,
        };
        Ok(Some(count))
    }

    fn records(
        &mut self,
        bytes: &[u8],
        from: usize,
        direction: Direction,
        out: &mut Output<'_>,
    ) -> Result<Taken, Broken> {
        let mut at = from;
        // Every turn takes a head at least.
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let Some(head) = rest.get(..HEAD) else {
                return Ok(Taken::until(at, HEAD));
            };
            let length = Reader::new(head).u32().unwrap_or(0);
            if length < 2 {
                self.event(out, direction, event::INVALID_RECORD);
                return Err(Broken);
            }
            let whole = (length as usize).saturating_add(4);
            if FRAMES.iter().any(|field| out.wants(*field)) {
                // Of a long record the start is shown, wherever TCP cut it.
                let end = whole.min(KEX_MAX);
                if rest.len() < end {
                    return Ok(Taken::until(at, end));
                }
                for (field, range) in FRAMES.iter().zip([0..HEAD, HEAD..end, 0..end]) {
                    out.frame(*field, direction, rest.get(range).unwrap_or(&[]));
                }
            }
            if head[5] == message::KEXINIT {
                if whole - HEAD >= KEX_MAX {
                    self.event(out, direction, event::LONG_KEX);
                } else if let Some(body) = rest.get(HEAD..whole) {
                    self.algorithms(body, direction, out);
                } else {
                    return Ok(Taken::until(at, whole));
                }
            }
            if head[5] == message::NEWKEYS {
                self.side(direction).phase = Phase::Encrypted;
                out.progress(self.tx, direction, Progress::Complete);
                return Ok(Taken::all(bytes.len()));
            }
            self.side(direction).skip = whole.saturating_sub(rest.len()) as u32;
            at += whole.min(rest.len());
        }
        Ok(Taken::all(bytes.len()))
    }

    /// RFC 4253 7.1: ten lists behind a cookie; four of them make the fingerprint.
    fn algorithms(&mut self, body: &[u8], direction: Direction, out: &mut Output<'_>) {
        const COOKIE: usize = 16;
        let (text, hash, from) = match direction {
            Direction::ToServer => (Field::SshHasshString, Field::SshHassh, 0),
            Direction::ToClient => (Field::SshHasshServerString, Field::SshHasshServer, 1),
        };
        let mut reader = Reader::new(body);
        let mut lists = [&[][..]; 10];
        let mut good = reader.take(COOKIE).is_some();
        for list in &mut lists {
            let next = reader.u32().and_then(|length| reader.take(length as usize));
            good &= next.is_some();
            *list = next.unwrap_or(&[]);
        }
        if good && (out.wants(text) || out.wants(hash)) {
            let scratch = &mut out.shared.scratch;
            scratch.clear();
            for (place, list) in [lists[0], lists[2 + from], lists[4 + from], lists[6 + from]]
                .iter()
                .enumerate()
            {
                let between: &[u8] = if place > 0 { b";" } else { b"" };
                push(scratch, between, SCRATCH_SIZE);
                push(scratch, list, SCRATCH_SIZE);
            }
            // Both fingerprints are MD5 in hexadecimal.
            let sum = ja3_hash(scratch);
            out.field_of_scratch(self.tx, text, direction);
            out.field(self.tx, hash, direction, &sum);
        }
        out.progress(self.tx, direction, Progress::Head);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, run, same_for_every_cut, shake};
    use super::*;
    use Direction::{ToClient, ToServer};

    const PLACE: Place = Place {
        transport: Transport::Tcp,
        server_port: 22,
    };

    fn record(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut out = (body.len() as u32 + 2).to_be_bytes().to_vec();
        out.extend_from_slice(&[0, kind]);
        out.extend_from_slice(body);
        out
    }

    fn kexinit() -> Vec<u8> {
        let mut body = vec![7; 16];
        for list in ["k1,k2", "h", "ec", "es", "mc", "ms", "none", "zlib", "", ""] {
            body.extend_from_slice(&(list.len() as u32).to_be_bytes());
            body.extend_from_slice(list.as_bytes());
        }
        body.extend_from_slice(&[0; 5]);
        record(message::KEXINIT, &body)
    }

    #[test]
    fn banners_and_algorithms_make_the_fields() {
        let client = [b"SSH-2.0-Client_1 remark\r\n".to_vec(), kexinit()].concat();
        let server = [b"SSH-1.99-Server\n".to_vec(), kexinit()].concat();
        let keys = [record(30, b"x"), record(message::NEWKEYS, b"")].concat();
        let talk: &[(Direction, &[u8])] = &[
            (ToServer, &client),
            (ToClient, &server),
            (ToServer, &keys),
            (ToClient, &keys),
            (ToServer, b"\0\0\0\0\0\0encrypted"),
        ];
        let (protocol, lines) = same_for_every_cut(PLACE, talk);
        assert_eq!(protocol, AppProtocol::Ssh);
        let expected = [
            "tx 0 ToServer ssh.proto \"2.0\"",
            "tx 0 ToServer ssh.software \"Client_1\"",
            "tx 0 ToServer ssh.hassh.string \"k1,k2;ec;mc;none\"",
            "tx 0 ToClient ssh.proto \"1.99\"",
            "tx 0 ToClient ssh.hassh.server.string \"k1,k2;es;ms;zlib\"",
        ];
        for line in expected {
            assert!(lines.iter().any(|got| got == line), "{line}: {lines:#?}");
        }
        shake(PLACE, talk, 200);
    }

    #[test]
    fn odd_banners_are_events() {
        let (_, lines) = run(PLACE, &[(ToServer, b"SSH-nothing\r\n")]);
        assert!(lines[0].contains("invalid_banner"), "{lines:?}");
        let long = [b"SSH-2.0-".to_vec(), vec![b'a'; 600], b"\r\n".to_vec()].concat();
        let (_, lines) = same_for_every_cut(PLACE, &[(ToServer, &long)]);
        assert!(lines.iter().any(|line| line.contains("long_banner")));
        let (_, lines) = run(PLACE, &[(ToServer, b"SSH-2.0-a\r\n\0\0\0\x01\0\0")]);
        assert!(lines.iter().any(|line| line.contains("invalid_record")));
    }
}
