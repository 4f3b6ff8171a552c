//! RDP ([MS-RDPBCGR] 2.2.1, T.123 and X.224 below it): that a flow is one, and its first messages,
//! each that opens the connection a transaction. Of the TLS that usually follows the server's
//! certificates are one more, and behind them nothing is looked at.

use super::field::Field;
use super::output::Output;
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use super::reader::Reader;
use super::record::MESSAGE_MAX;
use super::tls::x509::Certificate;
use crate::packet::Direction;

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::Rdp,
    probe,
    over: &[Transport::Tcp],
    fields: &[Field::FrameRdpPdu],
    events: &[],
};

/// The port of RDP.
const PORT: u16 = 3389;
/// Version of the packets of T.123.
const VERSION: u8 = 3;
/// Bytes of their head.
const HEAD: usize = 4;
/// What TLS begins with.
const TLS: [u8; 2] = [22, 3];
/// Packets of a direction that are looked at; a connection needs a few tens before it is encrypted.
const PACKETS_MAX: u16 = 256;

/// Codes of X.224 (13.3, 13.4).
mod code {
    pub const REQUEST: u8 = 0xe0;
    pub const CONFIRM: u8 = 0xd0;
    pub const DATA: u8 = 0xf0;
}

/// Whether a packet opens the connection: asks for it and confirms it, or connects the domain of
/// T.125 (section 7, part 2) within data. What follows is data alone.
fn opens(packet: &[u8]) -> bool {
    match packet.get(5) {
        Some(&code::DATA) => matches!(packet.get(7..9), Some([0x7f, 101 | 102])),
        Some(code) => matches!(code & 0xf0, code::REQUEST | code::CONFIRM),
        None => false,
    }
}

fn probe(probe: &Probe<'_>) -> Guess {
    const COOKIE: &[u8] = b"Cookie: mstshash=";
    // Head, length of the X.224 part, its code, two references and the class.
    const CODE: usize = 5;
    const VARIABLE: usize = 11;
    let bytes = probe.bytes;
    let wanted = match probe.direction {
        Direction::ToServer => code::REQUEST,
        Direction::ToClient => code::CONFIRM,
    };
    let start = [VERSION, 0];
    let count = bytes.len().min(start.len());
    if bytes.get(..count) != start.get(..count) {
        return Guess::No;
    }
    let Some(code) = bytes.get(CODE) else {
        return Guess::More;
    };
    if *code & 0xf0 != wanted {
        return Guess::No;
    }
    if probe.server_port == PORT {
        return Guess::Yes;
    }
    // Other protocols of ISO begin alike; only the cookie tells.
    let rest = bytes.get(VARIABLE..).unwrap_or(&[]);
    let count = rest.len().min(COOKIE.len());
    match rest.get(..count) == COOKIE.get(..count) {
        false => Guess::No,
        true if count == COOKIE.len() => Guess::Yes,
        true => Guess::More,
    }
}

/// State of a connection.
#[derive(Debug, Default)]
pub struct Rdp {
    packets: [u16; 2],
    /// TLS is spoken.
    tls: bool,
}

/// Bytes of a record's head, of a record, of a handshake message's head (RFC 5246 sections 6.2, 7.4).
const RECORD_HEAD: usize = 5;
const RECORD_MAX: usize = 18 << 10;
const HANDSHAKE: u8 = 22;
const CERTIFICATE: u8 = 11;
/// Certificates of a chain that are told of.
const CHAIN_MAX: usize = 16;

impl Rdp {
    /// Records of TLS: those of the client are passed over, those of the server as far as its
    /// certificates.
    fn read_tls(bytes: &[u8], direction: Direction, out: &mut Output<'_>) -> Taken {
        let mut at = 0;
        // Every turn takes a head at least.
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if direction == Direction::ToServer {
                break;
            }
            let mut reader = Reader::new(rest);
            let head = (reader.u8(), reader.u16(), reader.u16());
            let (Some(kind), Some(_), Some(length)) = head else {
                return Taken::until(at, RECORD_HEAD);
            };
            let whole = RECORD_HEAD + usize::from(length);
            if kind != HANDSHAKE || whole > RECORD_MAX {
                out.done();
                break;
            }
            let Some(record) = rest.get(RECORD_HEAD..whole) else {
                return Taken::until(at, whole);
            };
            let mut messages = Reader::new(record);
            // Every turn takes a message's head.
            while let (Some(kind), Some(length)) = (messages.u8(), messages.u24()) {
                let message = messages.take(length as usize);
                if kind == CERTIFICATE {
                    tell_chain(message.unwrap_or(&[]), out);
                    out.done();
                    return Taken::all(bytes.len());
                }
            }
            at += whole;
        }
        Taken::all(bytes.len())
    }
}

/// Tells of the server's certificates, by their serial numbers.
fn tell_chain(message: &[u8], out: &mut Output<'_>) {
    let direction = Direction::ToClient;
    let tx = out.open_one_way(direction);
    let mut rest = Reader::at(message, 3);
    for _ in 0..CHAIN_MAX {
        let length = rest.u24().map_or(0, |length| length as usize);
        let Some(bytes) = rest.take(length).filter(|bytes| !bytes.is_empty()) else {
            break;
        };
        if let Ok(certificate) = Certificate::read(bytes)
            && out.wants(Field::RdpSerial)
        {
            out.field(tx, Field::RdpSerial, direction, certificate.serial);
        }
    }
    out.complete(tx);
}

impl Parse for Rdp {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        let (bytes, direction) = (input.bytes, input.direction);
        if input.gap > 0 {
            return Err(Broken);
        }
        let mut at = 0;
        // Every turn takes a head at least.
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            self.tls |= rest.starts_with(&TLS);
            if self.tls {
                let mut taken = Rdp::read_tls(rest, direction, out);
                taken.count += at;
                return Ok(taken);
            }
            let mut reader = Reader::new(rest);
            let head = (reader.u16(), reader.u16());
            let (Some(version), Some(length)) = head else {
                return Ok(Taken::until(at, HEAD));
            };
            let length = usize::from(length);
            if version >> 8 != u16::from(VERSION) || length <= HEAD {
                // Fast-path output and what is encrypted without TLS.
                out.done();
                return Ok(Taken::all(bytes.len()));
            }
            let Some(packet) = rest.get(..length) else {
                return Ok(Taken::until(at, length));
            };
            out.frame(Field::FrameRdpPdu, direction, packet);
            if opens(packet) {
                let tx = out.open_one_way(input.direction);
                if out.wants(Field::RdpMessage) {
                    let told = packet.get(..MESSAGE_MAX).unwrap_or(packet);
                    out.field(tx, Field::RdpMessage, direction, told);
                }
                out.complete(tx);
            }
            at += length;
            let packets = &mut self.packets[direction.index()];
            *packets += 1;
            if *packets >= PACKETS_MAX {
                out.done();
                return Ok(Taken::all(bytes.len()));
            }
        }
        Ok(Taken::all(bytes.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, for_events, run, same_for_every_cut};
    use super::*;
    use Direction::{ToClient, ToServer};

    const REQUEST: &[u8] =
        b"\x03\0\0\x29\x24\xe0\0\0\0\0\0Cookie: mstshash=abc\r\n\x01\0\x08\0\x03\0\0\0";

    fn place(server_port: u16) -> Place {
        Place {
            transport: Transport::Tcp,
            server_port,
        }
    }

    #[test]
    fn a_connection_is_found_and_tls_ends_it() {
        let confirm = b"\x03\0\0\x13\x0e\xd0\0\0\x12\x34\0\x02\x1f\x08\0\x02\0\0\0";
        let talk: &[(Direction, &[u8])] = &[
            (ToServer, REQUEST),
            (ToClient, confirm),
            (ToServer, b"\x16\x03\x01\0\x05hello"),
            (ToServer, b"\x03\0\0\x05x"),
        ];
        let (protocol, lines) = same_for_every_cut(place(3390), talk);
        assert_eq!(protocol, AppProtocol::Rdp);
        assert!(
            lines.is_empty(),
            "frames are told to rules alone: {lines:?}"
        );
    }

    #[test]
    fn the_packets_that_open_a_connection_are_told() {
        let data = b"\x03\0\0\x08\x02\xf0\x80\x28";
        let connect = b"\x03\0\0\x0a\x02\xf0\x80\x7f\x65\0";
        let talk: &[(Direction, &[u8])] =
            &[(ToServer, REQUEST), (ToServer, connect), (ToServer, data)];
        let lines = for_events(place(3389), talk);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("-rdp.message") && lines[0].contains("mstshash=abc"));
    }

    #[test]
    fn the_server_s_certificates_are_told_by_their_numbers() {
        let certificate = super::super::tls::x509::tests::certificate();
        let mut chain = (certificate.len() as u32).to_be_bytes()[1..].to_vec();
        chain.extend(&certificate);
        let mut message = vec![CERTIFICATE];
        message.extend(&(chain.len() as u32 + 3).to_be_bytes()[1..]);
        message.extend(&(chain.len() as u32).to_be_bytes()[1..]);
        message.extend(&chain);
        let mut record = b"\x16\x03\x03".to_vec();
        record.extend((message.len() as u16 + 4).to_be_bytes());
        // An empty message before it.
        record.extend([14, 0, 0, 0]);
        record.extend(&message);
        let talk: &[(Direction, &[u8])] = &[
            (ToServer, REQUEST),
            (ToServer, b"\x16\x03\x01\0\x05hello"),
            (ToClient, &record),
            (ToClient, &record),
        ];
        let lines = for_events(place(3389), talk);
        let serials = lines
            .iter()
            .filter(|line| line.contains("-rdp.x509_serials"));
        assert_eq!(serials.count(), 1, "{lines:?}");
    }

    #[test]
    fn other_protocols_of_iso_are_not_taken_for_it() {
        let other = b"\x03\0\0\x16\x11\xe0\0\0\0\x01\0\xc0\x01\x0a\xc1\x02\x01\0\xc2\x02\x01\x02";
        assert_ne!(run(place(102), &[(ToServer, other)]).0, AppProtocol::Rdp);
        assert_eq!(run(place(3389), &[(ToServer, other)]).0, AppProtocol::Rdp);
    }
}
