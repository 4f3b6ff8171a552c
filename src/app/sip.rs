//! SIP (RFC 3261) over UDP and TCP. A message is a transaction: requests for rules to_server,
//! responses for rules to_client. What the body describes is sdp.rs's.
//!
//! Header names are matched in any case and in their compact forms (section 7.3.3). A message is
//! read as far as it can be: one odd header does not hide the others.

use super::field::{Field, Progress};
use super::lines::{self, decimal, without_end};
use super::output::{AppEvent, Output, TxId};
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use super::sdp;
use crate::packet::Direction::{self, ToServer};
use memchr::{memchr, memmem};

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::Sip,
    probe,
    over: &[Transport::Udp, Transport::Tcp],
    fields: &[
        Field::SipMethod,
        Field::SipUri,
        Field::SipProtocol,
        Field::SipStatCode,
        Field::SipStatMsg,
        Field::SipRequestLine,
        Field::SipResponseLine,
        Field::SipFrom,
        Field::SipTo,
        Field::SipVia,
        Field::SipUserAgent,
        Field::SipContentType,
        Field::SipContentLength,
        Field::SdpSessionName,
        Field::SdpSessionInfo,
        Field::SdpOrigin,
        Field::SdpUri,
        Field::SdpEmail,
        Field::SdpPhoneNumber,
        Field::SdpConnectionData,
        Field::SdpBandwidth,
        Field::SdpTime,
        Field::SdpRepeatTime,
        Field::SdpTimezone,
        Field::SdpEncryptionKey,
        Field::SdpAttribute,
        Field::SdpMediaMedia,
        Field::SdpMediaMediaInfo,
        Field::SdpMediaConnectionData,
        Field::SdpMediaEncryptionKey,
        Field::FrameSipPdu,
        Field::FrameSipRequestLine,
        Field::FrameSipRequestHeaders,
        Field::FrameSipRequestBody,
        Field::FrameSipResponseLine,
        Field::FrameSipResponseHeaders,
        Field::FrameSipResponseBody,
    ],
    events: &["incomplete_data", "invalid_data"],
};

const INCOMPLETE: AppEvent = AppEvent::of(AppProtocol::Sip, 0);
const INVALID: AppEvent = AppEvent::of(AppProtocol::Sip, 1);

/// Bytes of a message's head on a stream.
const HEAD_MAX: usize = 64 << 10;
/// Bytes of a body that are looked at.
const BODY_MAX: usize = 64 << 10;
/// Headers of a message.
const HEADERS_MAX: usize = 256;
/// What a response begins with.
const VERSION: &[u8] = b"SIP/";

/// Methods that a flow may begin with.
const METHODS: [&[u8]; 13] = [
    b"REGISTER",
    b"INVITE",
    b"ACK",
    b"BYE",
    b"CANCEL",
    b"REFER",
    b"PRACK",
    b"SUBSCRIBE",
    b"NOTIFY",
    b"PUBLISH",
    b"MESSAGE",
    b"INFO",
    b"UPDATE",
];

fn probe(probe: &Probe<'_>) -> Guess {
    let bytes = probe.bytes;
    let known = match probe.direction {
        ToServer => &METHODS[..],
        Direction::ToClient => &[b"SIP/2.0" as &[u8]][..],
    };
    let mut open = false;
    for method in known {
        if probe.transport == Transport::Tcp && *method == b"UPDATE" {
            continue;
        }
        if bytes.starts_with(method) {
            // Other protocols have words that begin so.
            return match bytes.get(method.len()) {
                Some(b' ') => Guess::Yes,
                Some(_) => Guess::No,
                None => Guess::More,
            };
        }
        open |= method.starts_with(bytes);
    }
    if open { Guess::More } else { Guess::No }
}

/// A parser of SIP.
#[derive(Debug, Default)]
pub struct Sip {
    /// Bytes of a head that were searched for its end, by direction.
    searched: [u32; 2],
    /// Bytes of a body that are passed over, by direction.
    skip: [u32; 2],
}

impl Parse for Sip {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        let (bytes, direction) = (input.bytes, input.direction);
        if input.transport == Transport::Udp && bytes.is_empty() {
            return Ok(Taken::all(0));
        }
        if input.transport == Transport::Udp {
            // As in Suricata an odd datagram is an event of the message before it, if that is still
            // there.
            let (head, body) = match head_end(bytes, 0) {
                Some(end) => bytes.split_at(end),
                None => (bytes, &[][..]),
            };
            if head_end(bytes, 0).is_none() {
                out.event_of_last(direction, INCOMPLETE);
            } else if !for_headers(head, |_, _| {}) {
                out.event_of_last(direction, INVALID);
            }
            let tx = read_head(head, direction, false, out);
            if !tx.is_some() {
                out.broken();
            }
            show_frames(bytes, head.len(), direction, out);
            finish(tx, body, direction, out);
            return Ok(Taken::all(bytes.len()));
        }
        if input.gap > 0 {
            return Err(Broken);
        }
        self.read_stream(bytes, direction, out)
    }
}

impl Sip {
    fn read_stream(
        &mut self,
        bytes: &[u8],
        direction: Direction,
        out: &mut Output<'_>,
    ) -> Result<Taken, Broken> {
        let way = direction.index();
        let mut at = 0;
        // Each round takes a byte at least, or leaves.
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let skip = lines::pass_over(&mut self.skip[way], rest);
            if skip > 0 {
                at += skip;
                continue;
            }
            // RFC 5626 section 3.5.1: line ends keep the connection alive.
            let blanks = rest
                .iter()
                .take_while(|b| matches!(b, b'\r' | b'\n'))
                .count();
            if blanks > 0 {
                at += blanks;
                continue;
            }
            let Some(end) = head_end(rest, self.searched[way] as usize) else {
                if rest.len() > HEAD_MAX {
                    return Err(Broken);
                }
                self.searched[way] = rest.len() as u32;
                return Ok(Taken::until(at, rest.len() + 1));
            };
            let head = rest.get(..end).unwrap_or(rest);
            let length = content_length(head);
            let looked_at = length.min(BODY_MAX);
            let Some(body) = rest.get(end..end + looked_at) else {
                return Ok(Taken::until(at, end + looked_at));
            };
            self.searched[way] = 0;
            let tx = read_head(head, direction, true, out);
            if !tx.is_some() && out.open_count() == 0 {
                return Err(Broken);
            }
            show_frames(
                rest.get(..end + looked_at).unwrap_or(rest),
                end,
                direction,
                out,
            );
            finish(tx, body, direction, out);
            at += end + looked_at;
            self.skip[way] = (length - looked_at) as u32;
        }
        Ok(Taken::all(at))
    }
}

/// Where the empty line behind the headers ends.
fn head_end(bytes: &[u8], searched: usize) -> Option<usize> {
    let from = searched.saturating_sub(3);
    let found = memmem::find(bytes.get(from..)?, b"\r\n\r\n")?;
    Some(from + found + 4)
}

fn content_length(head: &[u8]) -> usize {
    let mut length = 0;
    for_headers(head, |name, value| {
        if name.eq_ignore_ascii_case(b"content-length") || name == b"l" {
            length = decimal(value).unwrap_or(0);
        }
    });
    length as usize
}

/// Goes through the headers with their folded lines; whether all lines were headers.
fn for_headers(head: &[u8], mut see: impl FnMut(&[u8], &[u8])) -> bool {
    let Some(first) = memchr(b'\n', head) else {
        return false;
    };
    let mut rest = head.get(first + 1..).unwrap_or(&[]);
    let mut good = true;
    for _ in 0..HEADERS_MAX {
        let (line, after) = folded_line(rest);
        rest = after;
        let line = without_end(line);
        if line.is_empty() {
            break;
        }
        let Some(colon) = memchr(b':', line) else {
            good = false;
            continue;
        };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or(&[]);
        see(name.trim_ascii_end(), value.trim_ascii());
    }
    good
}

/// The first line with those that continue it, and what follows.
fn folded_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    // Each round takes a line.
    while let Some(end) = bytes.get(at..).and_then(|rest| memchr(b'\n', rest)) {
        at += end + 1;
        if !matches!(bytes.get(at), Some(b' ' | b'\t')) {
            return bytes.split_at_checked(at).unwrap_or((bytes, &[]));
        }
    }
    (bytes, &[])
}

/// Characters of the lines that rules see; others end them (RFC 3261 section 25.1).
fn is_line_char(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!%'*+-._`~$&(),/:;=?@[\\]^ ".contains(byte)
}

/// Reads a message's first line and headers as a transaction; none if it is no message. `tells_odd`: a
/// line that is no header is an event of it.
fn read_head(head: &[u8], direction: Direction, tells_odd: bool, out: &mut Output<'_>) -> TxId {
    let end = memchr(b'\n', head).map_or(head.len(), |end| end + 1);
    let line = without_end(head.get(..end).unwrap_or(head));
    let seen = line.iter().take_while(|b| is_line_char(b)).count();
    let shown = line.get(..seen).unwrap_or(&[]);
    let mut words = line.splitn(3, |b| *b == b' ');
    let (first, second) = (words.next().unwrap_or(&[]), words.next().unwrap_or(&[]));
    let third = words.next();
    let tx = match (direction, third) {
        (ToServer, Some(version)) if version.starts_with(VERSION) && !second.is_empty() => {
            let tx = out.open_one_way(direction);
            let named = first.iter().all(u8::is_ascii_alphabetic);
            if named && !first.is_empty() {
                out.field(tx, Field::SipMethod, direction, first);
            }
            out.field(tx, Field::SipUri, direction, second);
            out.field(tx, Field::SipProtocol, direction, version);
            out.field(tx, Field::SipRequestLine, direction, shown);
            tx
        }
        (Direction::ToClient, _) if first.starts_with(VERSION) && second.len() == 3 => {
            let tx = out.open_one_way(direction);
            out.field(tx, Field::SipProtocol, direction, first);
            out.field(tx, Field::SipStatCode, direction, second);
            if let Some(reason) = third.filter(|reason| !reason.is_empty()) {
                out.field(tx, Field::SipStatMsg, direction, reason);
            }
            out.field(tx, Field::SipResponseLine, direction, shown);
            tx
        }
        _ => return TxId::NONE,
    };
    let good = for_headers(head, |name, value| {
        if let Some(field) = header_field(name) {
            out.field(tx, field, direction, value);
        }
    });
    if !good && tells_odd {
        out.event(tx, direction, INVALID);
    }
    tx
}

/// The parts of a message as frames; the empty line belongs to none of them.
fn show_frames(message: &[u8], head: usize, direction: Direction, out: &mut Output<'_>) {
    let [line, headers, body] = match direction {
        ToServer => [
            Field::FrameSipRequestLine,
            Field::FrameSipRequestHeaders,
            Field::FrameSipRequestBody,
        ],
        Direction::ToClient => [
            Field::FrameSipResponseLine,
            Field::FrameSipResponseHeaders,
            Field::FrameSipResponseBody,
        ],
    };
    let end = memchr(b'\n', message).map_or(message.len(), |end| end + 1);
    out.frame(Field::FrameSipPdu, direction, message);
    out.frame(line, direction, message.get(..end).unwrap_or(&[]));
    let headers_end = head.saturating_sub(2).max(end);
    out.frame(
        headers,
        direction,
        message.get(end..headers_end).unwrap_or(&[]),
    );
    if head < message.len() {
        out.frame(body, direction, message.get(head..).unwrap_or(&[]));
    }
}

fn header_field(name: &[u8]) -> Option<Field> {
    let known: [(&[u8], &[u8], Field); 6] = [
        (b"from", b"f", Field::SipFrom),
        (b"to", b"t", Field::SipTo),
        (b"via", b"v", Field::SipVia),
        (b"user-agent", b"", Field::SipUserAgent),
        (b"content-type", b"c", Field::SipContentType),
        (b"content-length", b"l", Field::SipContentLength),
    ];
    let found = known.iter().find(|(long, short, _)| {
        name.eq_ignore_ascii_case(long) || (!short.is_empty() && name == *short)
    });
    found.map(|(_, _, field)| *field)
}

fn finish(tx: TxId, body: &[u8], direction: Direction, out: &mut Output<'_>) {
    if !tx.is_some() {
        return;
    }
    sdp::read(body, tx, direction, out);
    out.progress(tx, direction, Progress::Head);
    out.complete(tx);
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, run, same_for_every_cut, survives_damage};
    use super::*;
    use crate::packet::Direction::ToClient;

    const REQUEST: &[u8] = b"INVITE sip:bob@b.org SIP/2.0\r\nv: SIP/2.0/UDP 1.2.3.4\r\n\
        From: <sip:a@a.org>;\r\n tag=1  \r\nTO : sip:b\r\nContent-Length:  7\r\n\r\ns=name\n";
    const RESPONSE: &[u8] = b"SIP/2.0 200 OK\r\nFrom: x\r\nUser-Agent: y\r\n\r\n";

    const LINES: &[&str] = &[
        "tx 0 ToServer sip.method \"INVITE\"",
        "tx 0 ToServer sip.uri \"sip:bob@b.org\"",
        "tx 0 ToServer sip.protocol \"SIP/2.0\"",
        "tx 0 ToServer sip.request_line \"INVITE sip:bob@b.org SIP/2.0\"",
        "tx 0 ToServer sip.via \"SIP/2.0/UDP 1.2.3.4\"",
        "tx 0 ToServer sip.from \"<sip:a@a.org>;\\r\\n tag=1\"",
        "tx 0 ToServer sip.to \"sip:b\"",
        "tx 0 ToServer sip.content_length \"7\"",
        "tx 0 ToServer sdp.session_name \"name\"",
        "tx 1 ToClient sip.protocol \"SIP/2.0\"",
        "tx 1 ToClient sip.stat_code \"200\"",
        "tx 1 ToClient sip.stat_msg \"OK\"",
        "tx 1 ToClient sip.response_line \"SIP/2.0 200 OK\"",
        "tx 1 ToClient sip.from \"x\"",
        "tx 1 ToClient sip.user_agent \"y\"",
    ];

    fn place(transport: Transport) -> Place {
        Place {
            transport,
            server_port: 5060,
        }
    }

    #[test]
    fn messages_are_transactions_in_datagrams() {
        let talk = [(ToServer, REQUEST), (ToClient, RESPONSE)];
        let (protocol, lines) = run(place(Transport::Udp), &talk);
        assert_eq!(protocol, AppProtocol::Sip);
        assert_eq!(lines, LINES);
    }

    #[test]
    fn messages_are_transactions_in_streams() {
        let talk = [(ToServer, REQUEST), (ToClient, RESPONSE)];
        let (protocol, lines) = same_for_every_cut(place(Transport::Tcp), &talk);
        assert_eq!(protocol, AppProtocol::Sip);
        assert_eq!(lines, LINES);
    }

    #[test]
    fn a_body_of_any_length_is_passed_over() {
        let mut talk = b"INFO sip:x SIP/2.0\r\nl: 200000\r\n\r\n".to_vec();
        talk.extend(vec![b'x'; 200_000]);
        talk.extend(b"\r\n\r\nBYE sip:x SIP/2.0\r\n\r\n");
        let (_, lines) = run(place(Transport::Tcp), &[(ToServer, &talk)]);
        assert!(
            lines.contains(&"tx 1 ToServer sip.method \"BYE\"".to_owned()),
            "{lines:?}"
        );
    }

    #[test]
    fn damage_is_survived() {
        let talk = [(ToServer, REQUEST), (ToClient, RESPONSE)];
        survives_damage(place(Transport::Udp), &talk, 200);
        survives_damage(place(Transport::Tcp), &talk, 200);
    }
}
