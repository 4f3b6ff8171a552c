//! TLS 1.0 to 1.3 and SSL 3 and 2 (RFC 8446, 5246, 6101; SSL 2.0 of 1995): records, handshake
//! messages over record borders, what hellos and certificates say. A flow is one transaction. Once
//! both sides are encrypted nothing is looked at any more. Hellos are cut up in tls/hello.rs,
//! certificates in tls/x509.rs and told in tls/chain.rs, fingerprints made in tls/fingerprint.rs,
//! what hellos say is told in tls/told.rs; alerts and heartbeats stand in tls/heartbeat.rs, old SSL in
//! tls/old.rs.

mod chain;
pub mod fingerprint;
mod frames;
mod heartbeat;
pub mod hello;
mod old;
mod states;
mod told;
pub mod x509;

use super::field::{Field, Progress};
use super::heap::{Heap, Text};
use super::output::{AppEvent, Output, SCRATCH_SIZE, TxId};
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use super::reader::Reader;
use crate::packet::Direction;
use hello::{Hello, Speaker, is_version};
pub use states::HOOKS;
use states::hook;
pub(super) use told::fingerprints;

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::Tls,
    probe,
    over: &[Transport::Tcp],
    fields: &[
        Field::TlsSni,
        Field::TlsCertSubject,
        Field::TlsCertIssuer,
        Field::TlsCertSerial,
        Field::TlsCertFingerprint,
        Field::TlsCerts,
        Field::TlsAlpn,
        Field::TlsSubjectaltname,
        Field::TlsRandom,
        Field::TlsRandomTime,
        Field::TlsRandomBytes,
        Field::Ja3Hash,
        Field::Ja3String,
        Field::Ja3sHash,
        Field::Ja3sString,
        Field::Ja4Hash,
        Field::SslState,
        Field::SslVersion,
        Field::TlsVersion,
        Field::TlsCertNotbefore,
        Field::TlsCertNotafter,
        Field::TlsCertChainLen,
        Field::TlsCertExpired,
        Field::TlsCertValid,
        Field::Hook,
        Field::FrameTlsPdu,
        Field::FrameTlsHdr,
        Field::FrameTlsData,
        Field::FrameTlsAlert,
        Field::FrameTlsHeartbeat,
        Field::FrameTlsSsl2Hdr,
        Field::FrameTlsSsl2Pdu,
    ],
    events: &[
        "invalid_sslv2_header",
        "invalid_tls_header",
        "invalid_record_version",
        "invalid_record_type",
        "invalid_record_length",
        "invalid_handshake_message",
        "heartbeat_message",
        "invalid_heartbeat_message",
        "overflow_heartbeat_message",
        "dataleak_heartbeat_mismatch",
        "handshake_invalid_length",
        "multiple_sni_extensions",
        "invalid_sni_type",
        "invalid_sni_length",
        "too_many_records_in_packet",
        "invalid_alert_message",
        "invalid_certificate",
        "certificate_invalid_length",
        "certificate_invalid_version",
        "certificate_invalid_serial",
        "certificate_invalid_algorithmidentifier",
        "certificate_invalid_x509name",
        "certificate_invalid_date",
        "certificate_invalid_extensions",
        "certificate_invalid_der",
        "certificate_invalid_subject",
        "certificate_invalid_issuer",
        "certificate_invalid_validity",
        "error_message_encountered",
        "invalid_ssl_record",
    ],
};

/// Places in `DESCRIPTION.events`.
mod event {
    pub const SSL2_HEADER: u8 = 0;
    pub const RECORD_VERSION: u8 = 2;
    pub const RECORD_TYPE: u8 = 3;
    pub const RECORD_LENGTH: u8 = 4;
    pub const HANDSHAKE_MESSAGE: u8 = 5;
    pub const HEARTBEAT: u8 = 7;
    pub const HEARTBEAT_OVERFLOW: u8 = 8;
    pub const HEARTBEAT_LEAK: u8 = 9;
    pub const HANDSHAKE_LENGTH: u8 = 10;
    pub const SNI_TWICE: u8 = 11;
    pub const SNI_TYPE: u8 = 12;
    pub const SNI_LENGTH: u8 = 13;
    pub const ALERT: u8 = 15;
    pub const CERTIFICATE: u8 = 16;
    pub const CERTIFICATE_LENGTH: u8 = 17;
    pub const CERTIFICATE_VERSION: u8 = 18;
    pub const CERTIFICATE_SERIAL: u8 = 19;
    pub const CERTIFICATE_ALGORITHM: u8 = 20;
    pub const CERTIFICATE_NAME: u8 = 21;
    pub const CERTIFICATE_DATE: u8 = 22;
    pub const CERTIFICATE_EXTENSIONS: u8 = 23;
    pub const CERTIFICATE_DER: u8 = 24;
    pub const ERROR_MESSAGE: u8 = 28;
    pub const SSL_RECORD: u8 = 29;
}

/// Values of [`Field::SslState`], as bits.
pub mod state {
    /// A client's hello.
    pub const CLIENT_HELLO: u64 = 1;
    /// A server's hello.
    pub const SERVER_HELLO: u64 = 2;
    /// A client's keys.
    pub const CLIENT_KEYX: u64 = 4;
    /// A server's keys.
    pub const SERVER_KEYX: u64 = 8;
    /// None of these.
    pub const UNKNOWN: u64 = 16;
}

/// Content types of records (RFC 8446 5.1; heartbeat: RFC 6520).
mod record {
    pub const CHANGE_CIPHER: u8 = 20;
    pub const ALERT: u8 = 21;
    pub const HANDSHAKE: u8 = 22;
    pub const DATA: u8 = 23;
    pub const HEARTBEAT: u8 = 24;
}

/// Types of handshake messages (RFC 8446 4, RFC 5246 7.4).
mod message {
    pub const CLIENT_HELLO: u8 = 1;
    pub const SERVER_HELLO: u8 = 2;
    pub const CERTIFICATE: u8 = 11;
    pub const SERVER_KEYX: u8 = 12;
    pub const CERTIFICATE_REQUEST: u8 = 13;
    pub const SERVER_DONE: u8 = 14;
    pub const CLIENT_KEYX: u8 = 16;

    /// Whether it is a message of a handshake at all.
    pub fn is_known(kind: u8) -> bool {
        matches!(kind, 0..=2 | 4 | 11..=16 | 20..=22)
    }
}

/// Bytes of a record's head.
const HEAD: usize = 5;
/// Bytes of a handshake message's head.
const MESSAGE_HEAD: usize = 4;
/// Longest record (RFC 5246 6.2.2 and a margin that is found in the field).
const RECORD_MAX: usize = (1 << 14) + 1024;
/// Longest handshake message that is put together.
const MESSAGE_MAX: usize = SCRATCH_SIZE;
/// TLS 1.2.
const TLS_12: u16 = 0x0303;
/// SSL 2.
const SSL_2: u16 = 0x0200;

/// Bits of [`Side::seen`].
mod seen {
    pub const HELLO: u8 = 1;
    pub const CERTIFICATE: u8 = 2;
    pub const CHANGE_CIPHER: u8 = 4;
    pub const DATA: u8 = 8;
    /// The version was told.
    pub const VERSION: u8 = 16;
    /// An SSL 3 or TLS record.
    pub const RECORD: u8 = 32;
    /// JA3 and such were made.
    pub const FINGERPRINT: u8 = 64;
}

/// One direction.
#[derive(Debug, Default)]
struct Side {
    /// Of the last record, then of the hello.
    version: u16,
    /// See `seen`.
    seen: u8,
    /// States of [`HOOKS`] that it has come to.
    reached: u8,
    /// Bytes of a record that is passed over.
    skip: u32,
    /// Bytes of the record of data that waits for its end because frames are wanted, or 0.
    waiting: u32,
    /// Bytes of a handshake message that is passed over.
    message_skip: u32,
    /// A handshake message that has not ended, with its head.
    message: Text,
}

/// State of a flow.
#[derive(Debug, Default)]
pub struct Tls {
    tx: TxId,
    opened: bool,
    sides: [Side; 2],
    /// The client sends data before the server's hello.
    early_data: bool,
    /// The server asks for the client's certificate.
    asked: bool,
    /// The client has a ticket, or the server its session.
    resumes: bool,
    /// A hash of the client's session, or 0.
    session: u32,
    /// Who sent a heartbeat that is not answered yet, and its length if it was encrypted.
    heartbeat: Option<Direction>,
    heartbeat_length: u16,
    old: old::Old,
}

fn probe(probe: &Probe<'_>) -> Guess {
    if old::probe(probe) == Guess::Yes {
        return Guess::Yes;
    }
    let first = match probe.direction {
        Direction::ToServer => 22..=22,
        Direction::ToClient => 21..=23,
    };
    let mut guess = Guess::Yes;
    for (place, good) in [first, 3..=3, 0..=3].iter().enumerate() {
        match probe.bytes.get(place) {
            Some(byte) if good.contains(byte) => {}
            Some(_) => return old::probe(probe),
            None => guess = Guess::More,
        }
    }
    guess
}

impl Parse for Tls {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        if !std::mem::replace(&mut self.opened, true) {
            self.tx = out.open();
            let original = out.flow.original;
            if original != AppProtocol::Unknown {
                let (field, number) = (Field::TlsFromProto, original as u64);
                out.number_for_events(self.tx, field, Direction::ToServer, number);
            }
        }
        let taken = self.records(input, out);
        self.settle_states(input.direction, out);
        let encrypted = self.encrypted();
        if taken.is_err() || encrypted {
            out.complete(self.tx);
        }
        if self.is_over() {
            out.done();
        }
        if input.end {
            out.progress(self.tx, input.direction, Progress::Complete);
        }
        taken
    }

    fn free(&mut self, heap: &mut Heap) {
        for side in &mut self.sides {
            heap.clear(&mut side.message);
        }
    }
}

impl Side {
    /// Whether all that follows is encrypted, in versions that say so.
    fn finished(&self) -> bool {
        self.seen & seen::CHANGE_CIPHER != 0 && self.version <= TLS_12
    }
}

impl Tls {
    fn side(&mut self, direction: Direction) -> &mut Side {
        &mut self.sides[direction.index()]
    }

    /// Whether nothing of what follows is looked at: all of it is encrypted, and data has come.
    fn is_over(&self) -> bool {
        self.encrypted() && self.sides.iter().any(|side| side.seen & seen::DATA != 0)
    }

    /// Whether nothing of what follows can be read.
    fn encrypted(&self) -> bool {
        let mut sides = self.sides.iter();
        sides.all(|side| side.seen & seen::DATA != 0 || side.finished())
    }

    fn event(&self, out: &mut Output<'_>, direction: Direction, place: u8) {
        out.event(self.tx, direction, AppEvent::of(AppProtocol::Tls, place));
    }

    fn records(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        let (bytes, direction) = (input.bytes, input.direction);
        if input.gap > 0 {
            self.pass_gap(input.gap, direction, out)?;
        }
        let side = self.side(direction);
        side.waiting = 0;
        let mut at = (side.skip as usize).min(bytes.len());
        side.skip -= at as u32;
        // Every turn takes a head at least.
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            // The end of a piece must not decide what is still looked at.
            if self.is_over() {
                break;
            }
            let fresh = self.side(direction).seen & seen::RECORD == 0;
            // Behind STARTTLS stands a hello.
            let in_clear = out.flow.original == AppProtocol::Unknown;
            if fresh && old::is_head(rest, in_clear) {
                match self.old_record(rest, direction, out)? {
                    Taken { count: 0, need } => return Ok(Taken::until(at, need)),
                    taken => at += taken.count,
                }
                continue;
            }
            let Some(head) = rest.get(..HEAD) else {
                return Ok(Taken::until(at, HEAD));
            };
            let length = usize::from(head[3]) << 8 | usize::from(head[4]);
            if self.encrypted() {
                at += self.encrypted_record(rest, HEAD + length, direction, out);
                continue;
            }
            self.check_head(head, length, direction, out)?;
            let whole = HEAD + length;
            if frames::are_wanted(out) {
                // What a frame holds must not depend on where TCP cut it.
                if head[0] == record::DATA && rest.len() < whole && !input.end {
                    self.side(direction).waiting = whole as u32;
                    return Ok(Taken::until(at, whole));
                }
                if head[0] == record::DATA || rest.len() >= whole {
                    frames::show(rest, head[0], whole, direction, out);
                }
            }
            if head[0] == record::DATA {
                if self.data(direction, out) {
                    let handling = out.shared.limits.parsers.tls;
                    out.encrypted(rest.len(), handling);
                }
                let side = self.side(direction);
                side.skip = whole.saturating_sub(rest.len()) as u32;
                at += whole.min(rest.len());
                continue;
            }
            let Some(body) = rest.get(HEAD..whole) else {
                return Ok(Taken::until(at, whole));
            };
            self.record(head[0], body, input, out)?;
            at += whole;
        }
        Ok(Taken::all(bytes.len()))
    }

    /// Of records behind the change of both ciphers it is asked alone whether data has come. Bytes
    /// that this takes.
    fn encrypted_record(
        &mut self,
        rest: &[u8],
        whole: usize,
        direction: Direction,
        out: &mut Output<'_>,
    ) -> usize {
        let side = self.side(direction);
        match rest.first() {
            Some(&record::DATA) => {
                side.seen |= seen::DATA;
                let handling = out.shared.limits.parsers.tls;
                out.encrypted(rest.len(), handling);
                0
            }
            Some(kind) if (record::CHANGE_CIPHER..=record::HEARTBEAT).contains(kind) => {
                side.skip = whole.saturating_sub(rest.len()) as u32;
                whole.min(rest.len())
            }
            _ => rest.len(),
        }
    }

    /// Only what would be passed over anyway may be missing.
    fn pass_gap(
        &mut self,
        gap: u32,
        direction: Direction,
        out: &mut Output<'_>,
    ) -> Result<(), Broken> {
        let side = self.side(direction);
        if side.waiting > 0 {
            side.skip = side.waiting;
            self.data(direction, out);
        }
        let side = self.side(direction);
        side.skip = side.skip.checked_sub(gap).ok_or(Broken)?;
        Ok(())
    }

    fn check_head(
        &mut self,
        head: &[u8],
        length: usize,
        direction: Direction,
        out: &mut Output<'_>,
    ) -> Result<(), Broken> {
        let side = self.side(direction);
        let version = u16::from(head[1]) << 8 | u16::from(head[2]);
        let place = if !(record::CHANGE_CIPHER..=record::HEARTBEAT).contains(&head[0]) {
            event::RECORD_TYPE
        } else if length == 0 {
            event::RECORD_LENGTH
        } else if side.seen & seen::HELLO == 0 && !is_version(version) {
            event::RECORD_VERSION
        } else if length > RECORD_MAX {
            event::RECORD_LENGTH
        } else {
            side.seen |= seen::RECORD;
            if side.seen & seen::HELLO == 0 {
                side.version = version;
            }
            return Ok(());
        };
        self.event(out, direction, place);
        Err(Broken)
    }

    /// Application data: the handshake is over, unless the client was in a hurry (RFC 8446 2.3).
    /// Whether it is over.
    fn data(&mut self, direction: Direction, out: &mut Output<'_>) -> bool {
        let early = self.early_data && self.sides[1].seen & seen::HELLO == 0;
        if early && direction == Direction::ToServer {
            return false;
        }
        let side = self.side(direction);
        if side.seen & seen::DATA == 0 {
            side.seen |= seen::DATA;
            self.tell_version(direction, out);
            self.reach(hook::HANDSHAKE[direction.index()], direction, out);
            out.progress(self.tx, direction, Progress::Complete);
        }
        true
    }

    fn tell_version(&mut self, direction: Direction, out: &mut Output<'_>) {
        let tx = self.tx;
        let side = self.side(direction);
        if side.seen & seen::VERSION == 0 {
            side.seen |= seen::VERSION;
            let version = u64::from(side.version);
            out.number(tx, Field::TlsVersion, direction, version);
            out.number(tx, Field::SslVersion, direction, version);
        }
    }

    fn record(
        &mut self,
        kind: u8,
        body: &[u8],
        input: &Input<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), Broken> {
        let direction = input.direction;
        match kind {
            record::CHANGE_CIPHER => {
                self.side(direction).seen |= seen::CHANGE_CIPHER;
                if direction == Direction::ToServer {
                    self.reach(hook::HANDSHAKE[0], direction, out);
                }
                self.tell_version(direction, out);
                self.tell_resumption(direction, out);
                out.progress(self.tx, direction, Progress::Head);
                Ok(())
            }
            record::ALERT => self.alert(body, direction, out),
            record::HANDSHAKE if self.readable() => self.handshake(body, input, out),
            record::HEARTBEAT => self.heartbeat(body, direction, out),
            _ => Ok(()),
        }
    }

    /// Whether handshake messages are plain: not after a change of ciphers, but that of TLS 1.3's
    /// client is for show (RFC 8446 D.4).
    fn readable(&self) -> bool {
        let [client, server] = &self.sides;
        let changed = (client.seen | server.seen) & seen::CHANGE_CIPHER != 0;
        let show = client.seen & seen::HELLO != 0
            && client.version > TLS_12
            && server.seen & seen::HELLO == 0;
        !changed || show
    }

    /// Messages of one record; the last may go on in the next one, and the first have begun before.
    fn handshake(
        &mut self,
        body: &[u8],
        input: &Input<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), Broken> {
        let direction = input.direction;
        if body.len() < MESSAGE_HEAD && self.side(direction).message.is_empty() {
            self.event(out, direction, event::SSL_RECORD);
        }
        let mut rest = body;
        // Every turn takes a byte at least.
        while !rest.is_empty() {
            let side = self.side(direction);
            if side.message_skip > 0 {
                let count = (side.message_skip as usize).min(rest.len());
                side.message_skip -= count as u32;
                rest = rest.get(count..).unwrap_or(&[]);
                continue;
            }
            let mut reader = Reader::new(rest);
            if side.message.is_empty() && !rest.first().is_some_and(|kind| message::is_known(*kind))
            {
                // Nothing says where the next one begins.
                if side.seen & seen::CHANGE_CIPHER == 0 {
                    self.event(out, direction, event::HANDSHAKE_MESSAGE);
                }
                return Ok(());
            }
            if side.message.is_empty()
                && let (Some(kind), Some(length)) = (reader.u8(), reader.u24())
                && let Some(message) = reader.take(length as usize)
            {
                self.message(kind, message, input, out);
                rest = reader.rest();
                continue;
            }
            let taken = self.collect(rest, input, out)?;
            rest = rest.get(taken..).unwrap_or(&[]);
        }
        Ok(())
    }

    /// Adds bytes to a message that spans records; how many were taken, one at least.
    fn collect(
        &mut self,
        bytes: &[u8],
        input: &Input<'_>,
        out: &mut Output<'_>,
    ) -> Result<usize, Broken> {
        let side = &mut self.sides[input.direction.index()];
        let have = side.message.len();
        let mut head = Reader::new(out.shared.heap.get(&side.message));
        let (kind, length) = (head.u8(), head.u24());
        let wanted = match length {
            Some(length) => MESSAGE_HEAD + length as usize,
            None => MESSAGE_HEAD,
        };
        if wanted > MESSAGE_MAX {
            side.message_skip = (wanted - have) as u32;
            out.shared.heap.clear(&mut side.message);
            self.event(out, input.direction, event::HANDSHAKE_LENGTH);
            return Ok(0);
        }
        let count = wanted.saturating_sub(have).min(bytes.len());
        let more = bytes.get(..count).unwrap_or(&[]);
        if !out.shared.heap.append(&mut side.message, more) {
            out.shared.lost += 1;
            return Err(Broken);
        }
        if let (Some(kind), true) = (kind, length.is_some() && have + count >= wanted) {
            let mut whole = std::mem::take(&mut out.shared.scratch2);
            whole.clear();
            whole.extend_from_slice(out.shared.heap.get(&side.message));
            out.shared.heap.clear(&mut side.message);
            self.message(kind, whole.get(MESSAGE_HEAD..).unwrap_or(&[]), input, out);
            out.shared.scratch2 = whole;
        }
        Ok(count)
    }

    fn message(&mut self, kind: u8, body: &[u8], input: &Input<'_>, out: &mut Output<'_>) {
        let direction = input.direction;
        let state = match (kind, direction) {
            (message::CLIENT_HELLO, Direction::ToServer) => {
                self.hello(body, direction, out);
                state::CLIENT_HELLO
            }
            (message::SERVER_HELLO, Direction::ToClient) => {
                self.hello(body, direction, out);
                state::SERVER_HELLO
            }
            (message::CERTIFICATE, _) => {
                self.certificates(body, input, out);
                self.reach(hook::CERTIFICATE[direction.index()], direction, out);
                out.progress(self.tx, direction, Progress::Head);
                return;
            }
            (message::SERVER_KEYX, _) => state::SERVER_KEYX,
            (message::CLIENT_KEYX, _) => state::CLIENT_KEYX,
            (message::SERVER_DONE, Direction::ToClient) => {
                self.reach(hook::SERVER_DONE, direction, out);
                out.progress(self.tx, direction, Progress::Head);
                return;
            }
            (message::CERTIFICATE_REQUEST, Direction::ToClient) => {
                self.asked = true;
                return;
            }
            (0 | 4 | 13 | 15 | 20..=22, _) => return,
            _ => {
                let side = self.side(direction);
                if side.seen & seen::CHANGE_CIPHER == 0 {
                    self.event(out, direction, event::HANDSHAKE_MESSAGE);
                }
                return;
            }
        };
        out.number(self.tx, Field::SslState, direction, state);
    }

    fn hello(&mut self, body: &[u8], direction: Direction, out: &mut Output<'_>) {
        let (tx, speaker) = match direction {
            Direction::ToServer => (self.tx, Speaker::Client),
            Direction::ToClient => (self.tx, Speaker::Server),
        };
        let hello = Hello::read(body, speaker);
        for (bit, place) in [
            (hello::LENGTH, event::HANDSHAKE_LENGTH),
            (hello::SNI_TYPE, event::SNI_TYPE),
            (hello::SNI_LENGTH, event::SNI_LENGTH),
            (hello::SNI_TWICE, event::SNI_TWICE),
        ] {
            if hello.troubles & bit != 0 {
                self.event(out, direction, place);
            }
        }
        let side = self.side(direction);
        let first = side.seen & seen::HELLO == 0;
        side.seen |= seen::HELLO;
        if hello.version != 0 {
            side.version = hello.effective_version();
        }
        let version = side.version;
        self.tell_version(direction, out);
        if first {
            self.early_data |= hello.early_data;
            self.note_session(&hello, speaker);
            self.tell_hello(&hello, direction, out);
        }
        let side = self.side(direction);
        let printed = side.seen & seen::FINGERPRINT != 0;
        if !printed && hello.troubles & hello::LENGTH == 0 {
            side.seen |= seen::FINGERPRINT;
            fingerprints(tx, &hello, direction, false, out);
        }
        self.reach(hook::HELLO[direction.index()], direction, out);
        // A server's certificate is still to come, but not a plain one of TLS 1.3.
        if speaker == Speaker::Client || version > TLS_12 {
            out.progress(tx, direction, Progress::Head);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, run, same_for_every_cut, shake};
    use super::hello::tests::client_hello;
    use super::x509::tests::certificate;
    use super::*;
    use Direction::{ToClient, ToServer};

    const PLACE: Place = Place {
        transport: Transport::Tcp,
        server_port: 443,
    };

    fn record(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut out = vec![kind, 3, 3];
        out.extend_from_slice(&(body.len() as u16).to_be_bytes());
        out.extend_from_slice(body);
        out
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut out = (body.len() as u32 | u32::from(kind) << 24)
            .to_be_bytes()
            .to_vec();
        out.extend_from_slice(body);
        out
    }

    fn server_hello() -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend_from_slice(&[0x22; 32]);
        body.extend_from_slice(b"\0\xc0\x2f\0\0\x09\xff\x01\0\x01\0\0\x17\0\0");
        body
    }

    fn chain(certificates: &[&[u8]]) -> Vec<u8> {
        let mut list = Vec::new();
        for certificate in certificates {
            list.extend_from_slice(&(certificate.len() as u32).to_be_bytes()[1..]);
            list.extend_from_slice(certificate);
        }
        let mut out = (list.len() as u32).to_be_bytes()[1..].to_vec();
        out.extend_from_slice(&list);
        out
    }

    fn with<'a>(lines: &'a [String], field: &str) -> Vec<&'a str> {
        let field = format!(" {field} ");
        let found = lines.iter().filter(|line| line.contains(&field));
        found.map(String::as_str).collect()
    }

    #[test]
    fn a_handshake_of_tls_1_2_gives_its_fields() {
        let client = record(22, &message(1, &client_hello()));
        let certificate = certificate();
        let flight = [
            message(2, &server_hello()),
            message(11, &chain(&[&certificate, b"second"])),
            message(12, b"keys"),
            message(14, b""),
        ]
        .concat();
        // Messages span records.
        let server: Vec<u8> = flight
            .chunks(50)
            .flat_map(|part| record(22, part))
            .collect();
        let keys = [
            record(22, &message(16, b"keys")),
            record(20, &[1]),
            record(22, &[0x77; 40]),
            record(23, &[0x55; 900]),
        ]
        .concat();
        let end = [record(20, &[1]), record(22, &[0x99; 40])].concat();
        let talk: &[(Direction, &[u8])] = &[
            (ToServer, &client),
            (ToClient, &server),
            (ToServer, &keys),
            (ToClient, &end),
        ];
        let (protocol, lines) = same_for_every_cut(PLACE, talk);
        assert_eq!(protocol, AppProtocol::Tls);
        for (field, expected) in [
            ("tls.sni", "tx 0 ToServer tls.sni \"example.com\""),
            (
                "tls.cert_subject",
                "tx 0 ToClient tls.cert_subject \"C=DE, CN=example.com + OID(2.5.4.97)=x\"",
            ),
            (
                "tls.cert_serial",
                "tx 0 ToClient tls.cert_serial \"00:AB:CD\"",
            ),
            ("tls.cert_chain_len", "tx 0 ToClient tls.cert_chain_len 2"),
            ("tls_cert_expired", "tx 0 ToClient tls_cert_expired 0"),
            (
                "ja3.string",
                "tx 0 ToServer ja3.string \"771,4866-4865,0-16-10-11-13-43,29-23,0\"",
            ),
            (
                "ja3s.string",
                "tx 0 ToClient ja3s.string \"771,49199,65281-23\"",
            ),
        ] {
            assert_eq!(with(&lines, field), [expected]);
        }
        assert_eq!(with(&lines, "tls.certs").len(), 2);
        assert_eq!(with(&lines, "tls.subjectaltname").len(), 2);
        assert_eq!(with(&lines, "tls.version").len(), 2);
        assert_eq!(with(&lines, "ssl_state").len(), 4);
        assert_eq!(with(&lines, "app-layer-event").len(), 0);
        shake(PLACE, talk, 400);
    }

    #[test]
    fn a_session_that_goes_on_is_told() {
        let hello = |kind: u8, id: &[u8], rest: &[u8]| {
            let id = [&[id.len() as u8], id].concat();
            record(
                22,
                &message(kind, &[b"\x03\x03", &[7; 32][..], &id, rest].concat()),
            )
        };
        let client = hello(1, b"abcd", b"\0\x02\xc0\x2f\x01\0");
        for (id, resumed) in [(&b"abcd"[..], true), (b"abce", false)] {
            let server = [hello(2, id, b"\xc0\x2f\0"), record(20, &[1])].concat();
            let talk: &[(Direction, &[u8])] = &[(ToServer, &client), (ToClient, &server)];
            let (_, lines) = same_for_every_cut(PLACE, talk);
            let told = with(&lines, "-tls.session_resumed");
            assert_eq!(!told.is_empty(), resumed, "{lines:?}");
        }
    }

    #[test]
    fn what_is_no_record_is_an_event() {
        let client = record(22, &message(1, &client_hello()));
        let wrong = record(99, b"x");
        let (_, lines) = run(
            PLACE,
            &[(ToServer, &client), (ToClient, b"\x16\x03\x03\0\0")],
        );
        assert!(with(&lines, "app-layer-event")[0].contains("invalid_record_length"));
        let (_, lines) = run(PLACE, &[(ToServer, &client), (ToServer, &wrong)]);
        assert!(with(&lines, "app-layer-event")[0].contains("invalid_record_type"));
    }

    #[test]
    fn a_heartbeat_that_asks_for_too_much_is_an_event() {
        let client = record(22, &message(1, &client_hello()));
        let heartbeat = record(24, &[1, 0x40, 0]);
        let (_, lines) = same_for_every_cut(PLACE, &[(ToServer, &client), (ToServer, &heartbeat)]);
        assert!(with(&lines, "app-layer-event")[0].contains("overflow_heartbeat"));
    }

    #[test]
    fn an_old_hello_is_found() {
        let hello = b"\x80\x0c\x01\0\x02\0\x03\0\0\0\0abc";
        let (protocol, lines) = same_for_every_cut(PLACE, &[(ToServer, hello)]);
        assert_eq!(protocol, AppProtocol::Tls);
        assert_eq!(with(&lines, "ssl_version"), ["tx 0 ToServer ssl_version 2"]);
    }

    #[test]
    fn small_fragments_cost_in_proportion_and_an_endless_message_is_bounded() {
        let mut times = Vec::new();
        for scale in [1usize, 2, 4] {
            let body = message(11, &vec![0; 20_000 * scale]);
            let mut bytes = record(22, &message(1, &client_hello()));
            bytes.extend(body.chunks(4).flat_map(|part| record(22, part)));
            let start = std::time::Instant::now();
            run(PLACE, &[(ToServer, &bytes)]);
            times.push(start.elapsed().as_secs_f64());
        }
        assert!(times[2] < times[0] * 40.0 + 0.5, "{times:?}");
        let client = record(22, &message(1, &client_hello()));
        let long = record(22, b"\x0b\xff\xff\xff and so on");
        let (_, lines) = run(PLACE, &[(ToServer, &client), (ToServer, &long)]);
        assert!(with(&lines, "app-layer-event")[0].contains("handshake_invalid_length"));
    }

    #[test]
    fn what_follows_the_change_of_both_ciphers_is_not_looked_at() {
        let talk: &[(Direction, &[u8])] = &[
            (ToServer, b"\x16\x03\x03\0\x04\0\0\0\0"),
            (
                ToClient,
                b"\x16\x03\x03\0\x04\0\0\0\0\x14\x03\x03\0\x01\x01",
            ),
            (ToServer, b"\x14\x03\x03\0\x01\x01\xf8\xa3\x76 none of it"),
        ];
        let (_, lines) = same_for_every_cut(PLACE, talk);
        assert!(
            !lines.iter().any(|line| line.contains("record_type")),
            "{lines:?}"
        );
    }
}
