//! PostgreSQL's protocol, version 3: its beginning tells it, and simple queries are transactions
//! (its documentation, chapter on message formats).

use super::field::{Field, Progress};
use super::lines;
use super::output::{AppEvent, Output, TxId};
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use super::settings::Number;
use crate::packet::Direction::{self, ToClient, ToServer};

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::Pgsql,
    probe,
    over: &[Transport::Tcp],
    fields: &[
        Field::PgsqlQuery,
        Field::FramePgsqlRequest,
        Field::FramePgsqlResponse,
    ],
    events: &[
        "invalid_length",
        "malformed_request",
        "malformed_response",
        "too_many_transactions",
    ],
};

/// Places in the list of events.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Odd {
    Length = 0,
    Request = 1,
    Response = 2,
    TooMany = 3,
}

const PORT: u16 = 5432;
/// Version 3.0, and the requests for TLS and for GSSAPI instead of a version.
const VERSION_3: u32 = 196_608;
const TLS_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
/// The request to cancel a query of another connection.
const CANCEL_REQUEST: u32 = 80_877_102;
/// Ways to authenticate that a server may ask for (chapter on message formats, `Authentication...`):
/// done, a password, its MD5, SSPI, and SASL in three steps.
const AUTHENTICATIONS: [u32; 7] = [0, 3, 5, 9, 10, 11, 12];
/// Bytes of a message that is read.
const MESSAGE_MAX: usize = 128 << 10;

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes(word.try_into().ok()?))
}

fn probe(probe: &Probe<'_>) -> Guess {
    if probe.server_port != PORT || probe.direction == ToClient {
        return Guess::No;
    }
    match (word(probe.bytes, 0), word(probe.bytes, 4)) {
        (Some(8), Some(TLS_REQUEST | GSS_REQUEST)) | (Some(8..=10_000), Some(VERSION_3)) => {
            Guess::Yes
        }
        (_, None) => Guess::More,
        _ => Guess::No,
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Step {
    /// Messages without a type are to come.
    #[default]
    Start,
    /// The server answers a request for TLS with one byte.
    TlsAsked,
    Messages,
}

/// A parser of both sides.
#[derive(Debug, Default)]
pub struct Pgsql {
    step: Step,
    /// The query that is being answered.
    tx: TxId,
    /// Queries without an answer.
    waiting: u32,
    /// Bytes of a message that is too long, by direction.
    skip: [u32; 2],
}

impl Parse for Pgsql {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        if input.gap > 0 {
            return Err(Broken);
        }
        let (bytes, direction) = (input.bytes, input.direction);
        let way = direction.index();
        let mut at = 0;
        // Each round takes a byte at least, or leaves.
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let skip = lines::pass_over(&mut self.skip[way], rest);
            if skip > 0 {
                at += skip;
                continue;
            }
            if self.step == Step::TlsAsked && direction == ToClient {
                self.step = Step::Start;
                at += 1;
                if rest.first() == Some(&b'S') {
                    out.change_protocol(AppProtocol::Tls);
                    break;
                }
                continue;
            }
            // A type comes first once the start is over; the length counts itself.
            let start = usize::from(self.step == Step::Messages || direction == ToClient);
            let Some(length) = word(rest, start) else {
                return Ok(Taken::until(at, start + 4));
            };
            if length < 4 {
                alone(Odd::Length, direction, out);
                return Err(Broken);
            }
            let end = start + length as usize;
            if end > MESSAGE_MAX {
                self.skip[way] = u32::try_from(end).unwrap_or(u32::MAX);
                continue;
            }
            let Some(message) = rest.get(..end) else {
                return Ok(Taken::until(at, end));
            };
            at += end;
            self.message(message, direction, out);
        }
        Ok(Taken::all(at))
    }
}

impl Pgsql {
    fn message(&mut self, message: &[u8], direction: Direction, out: &mut Output<'_>) {
        let frame = match direction {
            ToServer => Field::FramePgsqlRequest,
            ToClient => Field::FramePgsqlResponse,
        };
        out.frame(frame, direction, message);
        if direction == ToServer && self.step != Step::Messages {
            self.step = match word(message, 4) {
                Some(TLS_REQUEST | GSS_REQUEST) => Step::TlsAsked,
                _ => Step::Messages,
            };
            // Versions up to 3, and what stands in place of one.
            let known = |version: u32| {
                matches!(version, TLS_REQUEST | GSS_REQUEST | CANCEL_REQUEST)
                    || (1..=3).contains(&(version >> 16))
            };
            if !word(message, 4).is_some_and(known) {
                alone(Odd::Request, direction, out);
            }
            return;
        }
        match (direction, message.first()) {
            (ToServer, Some(b'Q')) => {
                self.waiting = self.waiting.saturating_add(1);
                let most = out.shared.limits.parsers.number(Number::PgsqlTransactions);
                if self.waiting > most + 1 {
                    tell(self.tx, Odd::TooMany, direction, out);
                }
                out.complete(self.tx);
                self.tx = out.open();
                let query = message.get(5..).unwrap_or(&[]);
                let query = query.strip_suffix(b"\0").unwrap_or(query);
                out.field(self.tx, Field::PgsqlQuery, ToServer, query);
                out.progress(self.tx, ToServer, Progress::Complete);
            }
            // ReadyForQuery: the answer is over.
            (ToClient, Some(b'Z')) => {
                self.waiting = self.waiting.saturating_sub(1);
                out.complete(self.tx);
                self.tx = TxId::NONE;
            }
            (ToClient, Some(b'R')) if !is_authentication(message) => {
                alone(Odd::Response, direction, out);
            }
            _ => {}
        }
    }
}

/// Whether a message of the server asks for a known way to authenticate.
fn is_authentication(message: &[u8]) -> bool {
    word(message, 5).is_some_and(|kind| AUTHENTICATIONS.contains(&kind))
}

fn tell(tx: TxId, odd: Odd, direction: Direction, out: &mut Output<'_>) {
    out.event(tx, direction, AppEvent::of(AppProtocol::Pgsql, odd as u8));
}

/// Tells it in a transaction of its own.
fn alone(odd: Odd, direction: Direction, out: &mut Output<'_>) {
    let tx = out.open();
    tell(tx, odd, direction, out);
    out.complete(tx);
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, run_missing, same_for_every_cut};
    use super::*;

    const PLACE: Place = Place {
        transport: Transport::Tcp,
        server_port: PORT,
    };
    const HELLO: &[u8] = b"\0\0\0\x10\0\x03\0\0user\0me\0";

    /// Names of the events of a conversation.
    fn events(talk: &[(Direction, &[u8])]) -> Vec<String> {
        let (_, lines) = same_for_every_cut(PLACE, talk);
        let name = |line: &String| {
            Some(
                line.split("\"pgsql\", \"")
                    .nth(1)?
                    .split('"')
                    .next()?
                    .into(),
            )
        };
        lines.iter().filter_map(name).collect()
    }

    #[test]
    fn messages_of_no_known_form_are_told() {
        let tls: (Direction, &[u8]) = (ToServer, b"\0\0\0\x08\x04\xd2\x16\x2f");
        let no: (Direction, &[u8]) = (ToClient, b"N");
        let version_9: (Direction, &[u8]) = (ToServer, b"\0\0\0\x08\0\x09\0\0");
        assert_eq!(events(&[tls, no, version_9]), ["malformed_request"]);
        assert!(events(&[tls, no, (ToServer, HELLO)]).is_empty());
        let hello: (Direction, &[u8]) = (ToServer, HELLO);
        let kind_77: (Direction, &[u8]) = (ToClient, b"R\0\0\0\x08\0\0\0\x4d");
        assert_eq!(events(&[hello, kind_77]), ["malformed_response"]);
        let password: (Direction, &[u8]) = (ToClient, b"R\0\0\0\x08\0\0\0\x03");
        assert!(events(&[hello, password]).is_empty());
    }

    #[test]
    fn queries_without_answers_have_a_limit() {
        let query: &[u8] = b"Q\0\0\0\x0dselect 1\0";
        let (many, more) = (query.repeat(1025), query.repeat(1027));
        assert!(events(&[(ToServer, HELLO), (ToServer, &many)]).is_empty());
        let beyond = events(&[(ToServer, HELLO), (ToServer, &more)]);
        assert_eq!(beyond, ["too_many_transactions"; 2]);
        let answers = b"Z\0\0\0\x05I".repeat(1025);
        let talk: &[(Direction, &[u8])] = &[
            (ToServer, HELLO),
            (ToServer, &many),
            (ToClient, &answers),
            (ToServer, &many),
        ];
        assert!(events(talk).is_empty());
    }

    #[test]
    fn the_setting_says_how_many_queries_may_wait() {
        let query: &[u8] = b"Q\0\0\0\x0dselect 1\0";
        let told = |count: usize| {
            let settings = [("app-layer.protocols.pgsql.max-tx", "2")];
            let talk: [(_, _, &[u8]); 2] =
                [(ToServer, 0, HELLO), (ToServer, 0, &query.repeat(count))];
            let lines = run_missing(PLACE, &settings, &talk);
            let event = |line: &&String| line.contains("too_many_transactions");
            lines.iter().filter(event).count()
        };
        assert_eq!((told(3), told(5)), (0, 2));
    }

    #[test]
    fn queries_are_transactions() {
        let talk: &[(Direction, &[u8])] = &[
            (ToServer, b"\0\0\0\x08\x04\xd2\x16\x2f"),
            (ToClient, b"N"),
            (ToServer, HELLO),
            (ToClient, b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I"),
            (ToServer, b"Q\0\0\0\x0dselect 1\0"),
            (ToClient, b"Z\0\0\0\x05I"),
        ];
        let (protocol, lines) = same_for_every_cut(PLACE, talk);
        assert_eq!(protocol, AppProtocol::Pgsql);
        assert_eq!(lines, ["tx 0 ToServer pgsql.query \"select 1\""]);
    }
}
