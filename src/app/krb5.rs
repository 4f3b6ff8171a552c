//! Kerberos 5 (RFC 4120), over UDP (a message each) and TCP (a length before each, 7.2.2): every
//! message is a transaction of its direction. Of a message the names, the ticket's encryption and
//! the error are told; nothing is decrypted.

use super::der::{self, APPLICATION, element, field, inner, integer};
use super::field::Field;
use super::output::{AppEvent, Output, TxId};
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use super::reader::Reader;
use crate::packet::Direction;

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::Krb5,
    probe,
    over: &[Transport::Tcp, Transport::Udp],
    fields: &[
        Field::Krb5Cname,
        Field::Krb5Sname,
        Field::Krb5MsgType,
        Field::Krb5ErrCode,
        Field::Krb5TicketEncryption,
    ],
    events: &["malformed_data", "weak_encryption"],
};

const MALFORMED: AppEvent = AppEvent::of(AppProtocol::Krb5, 0);
const WEAK: AppEvent = AppEvent::of(AppProtocol::Krb5, 1);

/// Messages (RFC 4120 5.10).
const AS_REQ: u32 = 10;
const AS_REP: u32 = 11;
const TGS_REQ: u32 = 12;
const TGS_REP: u32 = 13;
const ERROR: u32 = 30;

/// Longest message over TCP with which a flow is taken for Kerberos.
const PROBE_LENGTH_MAX: u32 = 16 << 10;
/// Longest message over TCP that is kept; the parser gives up on longer ones.
const LENGTH_MAX: usize = 128 << 10;
/// Parts of a name that are told.
const NAME_PARTS_MAX: usize = 64;
/// Encryption types that are not weak: AES and Camellia.
pub const STRONG: [u64; 6] = [17, 18, 19, 20, 25, 26];

fn probe(probe: &Probe<'_>) -> Guess {
    let bytes = match probe.transport {
        Transport::Udp => probe.bytes,
        Transport::Tcp => {
            let mut at = Reader::new(probe.bytes);
            match at.u32() {
                None => return Guess::More,
                Some(length) if length > PROBE_LENGTH_MAX => return Guess::No,
                Some(_) => at.rest(),
            }
        }
    };
    match is_message(bytes) {
        None if probe.transport == Transport::Tcp && bytes.len() < 32 => Guess::More,
        Some(true) => Guess::Yes,
        _ => Guess::No,
    }
}

/// Whether a message begins: an application tag of ours, a sequence, and the version 5 in it.
fn is_message(bytes: &[u8]) -> Option<bool> {
    let mut at = Reader::new(bytes);
    let tag = at.u8()?;
    if tag & 0xe0 != 0x60 || u32::from(tag & 0x1f) > ERROR {
        return Some(false);
    }
    skip_length(&mut at)?;
    if at.u8()? != 0x30 {
        return Some(false);
    }
    skip_length(&mut at)?;
    at.skip(2)?;
    Some(at.array()? == [2, 1, 5])
}

fn skip_length(at: &mut Reader<'_>) -> Option<()> {
    match at.u8()? {
        long @ 0x81..=0x84 => at.skip(usize::from(long & 0x7f)),
        _ => Some(()),
    }
}

/// Keeps the kind of the request that was asked last, or 0.
#[derive(Debug, Default)]
pub struct Krb5 {
    asked: u8,
}

impl Parse for Krb5 {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        let bytes = input.bytes;
        if input.transport == Transport::Udp {
            if !bytes.is_empty() {
                self.take(bytes, input.direction, out);
            }
            return Ok(Taken::all(bytes.len()));
        }
        if input.gap > 0 {
            // Without the lengths there is no way back to where a message begins.
            return Err(Broken);
        }
        let mut taken = 0;
        // Every round takes a length at least.
        loop {
            let rest = bytes.get(taken..).unwrap_or(&[]);
            let Some(length) = Reader::new(rest).u32() else {
                return Ok(Taken::until(taken, 4));
            };
            let length = length as usize;
            if length > LENGTH_MAX {
                return Err(Broken);
            }
            let Some(content) = rest.get(4..4 + length) else {
                return Ok(Taken::until(taken, 4 + length));
            };
            if length > 0 {
                self.take(content, input.direction, out);
            }
            taken += 4 + length;
        }
    }
}

impl Krb5 {
    /// Takes a message. One without a head of its own is malformed; what else cannot be read is no
    /// message of Kerberos.
    fn take(&mut self, bytes: &[u8], direction: Direction, out: &mut Output<'_>) {
        let told = message(out, direction, bytes, &mut self.asked);
        if told.is_none() && !has_head(bytes) {
            out.event_of_last(direction, MALFORMED);
            out.broken();
        }
    }
}

/// Whether bytes begin with a kind and a length (X.690 section 8.1).
fn has_head(bytes: &[u8]) -> bool {
    match bytes.get(1) {
        Some(long @ 0x81..=0x84) => bytes.len() >= 2 + usize::from(long & 0x7f),
        Some(length) => *length < 0x80,
        None => false,
    }
}

/// Tells a message; `None` if it is none. `asked`: the request before it, which an error answers.
fn message(out: &mut Output<'_>, direction: Direction, bytes: &[u8], asked: &mut u8) -> Option<()> {
    let (outer, _) = element(bytes)?;
    if outer.class != APPLICATION {
        return Some(());
    }
    let request = matches!(outer.tag, AS_REQ | TGS_REQ);
    let asked = std::mem::replace(asked, if request { outer.tag as u8 } else { 0 });
    let parts = inner(outer.content)?;
    let (names, realm) = match outer.tag {
        AS_REQ | TGS_REQ => {
            let body = inner(field(parts, 4)?)?;
            ([field(body, 1), field(body, 3)], field(body, 2))
        }
        AS_REP | TGS_REP => ([field(parts, 4), ticket(parts, 2)], field(parts, 3)),
        ERROR => ([field(parts, 8), field(parts, 10)], field(parts, 7)),
        _ => return Some(()),
    };
    let tx = out.open_one_way(direction);
    out.number(tx, Field::Krb5MsgType, direction, u64::from(outer.tag));
    if let Some((realm, _)) = realm.and_then(element)
        && out.wants(Field::Krb5Realm)
    {
        out.field(tx, Field::Krb5Realm, direction, realm.content);
    }
    for (what, name) in [Field::Krb5Cname, Field::Krb5Sname].into_iter().zip(names) {
        if let Some(name) = name {
            tell_name(out, tx, what, direction, name);
        }
    }
    let encryption = ticket(parts, 3).and_then(inner);
    let encryption = encryption.and_then(|part| field(part, 0)).and_then(integer);
    let is_reply = matches!(outer.tag, AS_REP | TGS_REP);
    if let Some(kind) = encryption.filter(|_| is_reply) {
        let kind = u64::from(kind as u32);
        out.number(tx, Field::Krb5TicketEncryption, direction, kind);
    }
    if outer.tag == ERROR
        && let Some(code) = field(parts, 6).and_then(integer)
    {
        let code = u64::from(code as u32);
        out.number(tx, Field::Krb5ErrCode, direction, code);
    }
    let sealed = field(parts, 6).and_then(inner).filter(|_| is_reply);
    let kind = sealed.and_then(|part| field(part, 0)).and_then(integer);
    if let Some(kind) = kind.map(|kind| u64::from(kind as u32)) {
        out.number_for_events(tx, Field::Krb5Encryption, direction, kind);
        if !STRONG.contains(&kind) {
            out.event(tx, direction, WEAK);
        }
    }
    if outer.tag == ERROR {
        let failed = u64::from(asked);
        out.number_for_events(tx, Field::Krb5FailedRequest, direction, failed);
    }
    out.complete(tx);
    Some(())
}

/// A part of a reply's ticket.
fn ticket(parts: &[u8], tag: u32) -> Option<&[u8]> {
    let (ticket, _) = element(field(parts, 5)?)?;
    field(inner(ticket.content)?, tag)
}

/// The parts of a principal's name, each an instance (RFC 4120 5.2.2).
fn tell_name(out: &mut Output<'_>, tx: TxId, what: Field, direction: Direction, name: &[u8]) {
    let parts = inner(name).and_then(|name| field(name, 1)).and_then(inner);
    for part in der::elements(parts.unwrap_or(&[])).take(NAME_PARTS_MAX) {
        out.field(tx, what, direction, part.content);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, for_events, run, same_for_every_cut};
    use super::*;
    use crate::packet::Direction::{ToClient, ToServer};

    fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![tag, content.len() as u8];
        out.extend(content);
        out
    }

    fn name(parts: &[&str]) -> Vec<u8> {
        let list: Vec<u8> = parts
            .iter()
            .flat_map(|p| wrap(0x1b, p.as_bytes()))
            .collect();
        let name = [wrap(0xa0, &wrap(2, &[1])), wrap(0xa1, &wrap(0x30, &list))].concat();
        wrap(0x30, &name)
    }

    fn as_req() -> Vec<u8> {
        let body = [
            wrap(0xa0, &wrap(3, &[0, 0x40, 0, 0, 0])),
            wrap(0xa1, &name(&["bob"])),
            wrap(0xa2, &wrap(0x1b, b"REALM")),
            wrap(0xa3, &name(&["krbtgt", "REALM"])),
        ]
        .concat();
        let parts = [
            wrap(0xa1, &wrap(2, &[5])),
            wrap(0xa2, &wrap(2, &[10])),
            wrap(0xa4, &wrap(0x30, &body)),
        ]
        .concat();
        wrap(0x6a, &wrap(0x30, &parts))
    }

    fn as_rep(kind: u8) -> Vec<u8> {
        let sealed = wrap(
            0x30,
            &[wrap(0xa0, &wrap(2, &[kind])), wrap(0xa2, &wrap(4, b"xx"))].concat(),
        );
        let ticket = [
            wrap(0xa0, &wrap(2, &[5])),
            wrap(0xa1, &wrap(0x1b, b"REALM")),
            wrap(0xa2, &name(&["krbtgt"])),
            wrap(0xa3, &sealed),
        ]
        .concat();
        let parts = [
            wrap(0xa0, &wrap(2, &[5])),
            wrap(0xa1, &wrap(2, &[11])),
            wrap(0xa3, &wrap(0x1b, b"REALM")),
            wrap(0xa4, &name(&["bob"])),
            wrap(0xa5, &wrap(0x61, &wrap(0x30, &ticket))),
            wrap(0xa6, &sealed),
        ]
        .concat();
        wrap(0x6b, &[wrap(0x30, &parts)].concat())
    }

    fn framed(message: &[u8]) -> Vec<u8> {
        [&(message.len() as u32).to_be_bytes()[..], message].concat()
    }

    #[test]
    fn requests_and_replies_over_tcp() {
        let place = Place {
            transport: Transport::Tcp,
            server_port: 88,
        };
        let talk = [
            (ToServer, framed(&as_req())),
            (ToClient, framed(&as_rep(23))),
        ];
        let talk: Vec<_> = talk.iter().map(|(way, b)| (*way, b.as_slice())).collect();
        let (protocol, lines) = same_for_every_cut(place, &talk);
        assert_eq!(protocol, AppProtocol::Krb5);
        assert_eq!(
            lines,
            [
                "tx 0 ToServer krb5_msg_type 10",
                "tx 0 ToServer krb5.cname \"bob\"",
                "tx 0 ToServer krb5.sname \"krbtgt\"",
                "tx 0 ToServer krb5.sname \"REALM\"",
                "tx 1 ToClient krb5_msg_type 11",
                "tx 1 ToClient krb5.cname \"bob\"",
                "tx 1 ToClient krb5.sname \"krbtgt\"",
                "tx 1 ToClient krb5.ticket_encryption 23",
                "tx 1 ToClient app-layer-event Some((\"krb5\", \"weak_encryption\"))",
            ]
        );
    }

    #[test]
    fn a_datagram_is_a_message() {
        let place = Place {
            transport: Transport::Udp,
            server_port: 88,
        };
        // The realm of the request that the error answers is not the error's.
        let error = wrap(
            0x7e,
            &wrap(
                0x30,
                &[
                    wrap(0xa0, &wrap(2, &[5])),
                    wrap(0xa1, &wrap(2, &[30])),
                    wrap(0xa6, &wrap(2, &[25])),
                    wrap(0xa7, &wrap(0x1b, b"R2")),
                ]
                .concat(),
            ),
        );
        assert_eq!(
            for_events(
                place,
                &[
                    (ToServer, &as_req()),
                    (ToClient, &error),
                    (ToClient, &as_rep(18))
                ]
            ),
            [
                "tx 0 ToServer -krb5.realm \"REALM\"",
                "tx 1 ToClient -krb5.realm \"R2\"",
                "tx 1 ToClient -krb5.failed_request 10",
                "tx 2 ToClient -krb5.realm \"REALM\"",
                "tx 2 ToClient -krb5.encryption 18",
            ]
        );
        let strong = as_rep(18);
        let (protocol, lines) = run(place, &[(ToServer, &as_req()), (ToClient, &strong)]);
        assert_eq!(protocol, AppProtocol::Krb5);
        assert_eq!(lines.len(), 8, "no event: {lines:?}");
        // A message that is cut short is none; one without a length is malformed.
        for (said, malformed) in [(&b"\x6b\x05\x30"[..], false), (b"\x6b", true)] {
            let (_, lines) = run(place, &[(ToServer, &as_req()), (ToClient, said)]);
            let told = lines.iter().any(|line| line.contains("malformed_data"));
            assert_eq!(told, malformed, "{lines:?}");
        }
    }
}
