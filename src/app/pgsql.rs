//! PostgreSQL's protocol, version 3: its beginning tells it, and simple queries are transactions
//! (its documentation, chapter on message formats).

use super::field::{Field, Progress};
use super::lines;
use super::output::{AppEvent, Output, TxId};
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use super::reader::Reader;
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
/// Bytes of a message that events tell.
const TOLD_MAX: usize = 768;
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

/// Which step of a login the client's next answer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Login {
    #[default]
    None,
    Password,
    Sasl,
    SaslGoesOn,
}

/// Rows that were seen.
#[derive(Clone, Copy, Debug, Default)]
struct Rows {
    count: u64,
    bytes: u64,
}

impl Rows {
    fn add(&mut self, bytes: usize) {
        self.count = self.count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }
}

/// Kinds of messages, for events, that have no letter of their own.
pub mod told {
    #![allow(missing_docs)]
    pub const NOTHING: u8 = 0;
    pub const STARTUP: u8 = 1;
    /// Of the client; of the server its answer.
    pub const TLS: u8 = 2;
    pub const CANCEL: u8 = 3;
    pub const SASL_FIRST: u8 = 4;
    pub const SASL: u8 = 5;
    pub const PASSWORD: u8 = 6;
}

/// A parser of both sides.
#[derive(Debug, Default)]
pub struct Pgsql {
    step: Step,
    /// The request that is being answered, and which further answers are of.
    tx: TxId,
    login: Login,
    /// The server asked for rows.
    copies_in: bool,
    /// Rows of the transaction at hand, by direction.
    rows: [Rows; 2],
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
                let answer = rest.get(..1).unwrap_or(&[]);
                self.tell(told::TLS, ToClient, answer, out);
                out.complete(self.tx);
                if answer == b"S" {
                    out.await_protocol(AppProtocol::Tls);
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
        match direction {
            ToServer if self.step != Step::Messages => self.startup(message, out),
            ToServer => self.request(message, out),
            ToClient => self.response(message, out),
        }
    }

    /// A message without a type: it begins a connection, or asks for something else in its place.
    fn startup(&mut self, message: &[u8], out: &mut Output<'_>) {
        let content = message.get(8..).unwrap_or(&[]);
        self.step = Step::Messages;
        match word(message, 4) {
            Some(TLS_REQUEST | GSS_REQUEST) => {
                self.step = Step::TlsAsked;
                self.begin(told::TLS, content, out);
            }
            Some(CANCEL_REQUEST) => {
                // It has no answer.
                self.begin(told::CANCEL, content, out);
                out.complete(self.tx);
            }
            Some(version) if (1..=3).contains(&(version >> 16)) => {
                self.begin(told::STARTUP, message.get(4..).unwrap_or(&[]), out);
            }
            _ => alone(Odd::Request, ToServer, out),
        }
    }

    /// A message of the client behind the start. Most begin a transaction (Suricata: all but those
    /// that go on with a copy).
    fn request(&mut self, message: &[u8], out: &mut Output<'_>) {
        let content = message.get(5..).unwrap_or(&[]);
        match (message.first(), self.login) {
            (Some(b'Q'), _) => {
                self.waiting = self.waiting.saturating_add(1);
                let most = out.shared.limits.parsers.number(Number::PgsqlTransactions);
                if self.waiting > most + 1 {
                    tell(self.tx, Odd::TooMany, ToServer, out);
                }
                self.begin(b'Q', &[], out);
                let query = content.strip_suffix(b"\0").unwrap_or(content);
                out.field(self.tx, Field::PgsqlQuery, ToServer, query);
                out.progress(self.tx, ToServer, Progress::Complete);
            }
            (Some(b'p'), Login::Sasl) => {
                self.login = Login::SaslGoesOn;
                self.begin(told::SASL_FIRST, content, out);
            }
            (Some(b'p'), Login::SaslGoesOn) => self.begin(told::SASL, content, out),
            (Some(b'p'), Login::Password) => {
                self.login = Login::None;
                // What it is stays with the client.
                self.begin(told::PASSWORD, &[], out);
            }
            (Some(b'X'), _) => {
                self.begin(b'X', &[], out);
                out.complete(self.tx);
            }
            (Some(b'd'), _) => {
                if std::mem::take(&mut self.copies_in) {
                    self.begin(told::NOTHING, &[], out);
                }
                self.rows[0].add(content.len());
            }
            (Some(kind @ (b'c' | b'f')), _) => {
                self.tell_rows(b'd', ToServer, out);
                self.tell(*kind, ToServer, content, out);
                out.progress(self.tx, ToServer, Progress::Complete);
            }
            _ => {}
        }
    }

    fn response(&mut self, message: &[u8], out: &mut Output<'_>) {
        let content = message.get(5..).unwrap_or(&[]);
        let Some(kind) = message.first() else {
            return;
        };
        match kind {
            b'R' if !is_authentication(message) => return alone(Odd::Response, ToClient, out),
            b'D' => return self.rows[1].add(columns(content)),
            b'd' => return self.rows[1].add(content.len()),
            b'C' => self.tell_rows(b'D', ToClient, out),
            b'c' => self.tell_rows(b'd', ToClient, out),
            b'R' | b'S' | b'K' | b'Z' | b'T' | b'H' | b'G' | b'E' => {}
            // Others change nothing, and are not told.
            _ => return,
        }
        self.tell(*kind, ToClient, content, out);
        let over = match (kind, word(message, 5)) {
            (b'Z', _) => {
                self.waiting = self.waiting.saturating_sub(1);
                true
            }
            (b'G', _) => {
                self.copies_in = true;
                true
            }
            (b'R', Some(authentication)) => {
                self.login = match authentication {
                    3 | 5 => Login::Password,
                    10 => Login::Sasl,
                    11 => Login::SaslGoesOn,
                    _ => Login::None,
                };
                // Done, and SSPI, go on in the transaction at hand.
                !matches!(authentication, 0 | 9)
            }
            _ => false,
        };
        if over {
            // What comes in the same packet is told with it.
            out.complete(self.tx);
        }
    }

    /// Begins a transaction with a request.
    fn begin(&mut self, kind: u8, content: &[u8], out: &mut Output<'_>) {
        out.complete(self.tx);
        self.tx = out.open();
        self.rows = [Rows::default(); 2];
        if kind != told::NOTHING {
            self.tell(kind, ToServer, content, out);
        }
    }

    /// Tells events of a message: its kind, and what is in it.
    fn tell(&self, kind: u8, direction: Direction, content: &[u8], out: &mut Output<'_>) {
        let scratch = &mut out.shared.scratch;
        scratch.clear();
        scratch.push(kind);
        scratch.extend_from_slice(content.get(..TOLD_MAX).unwrap_or(content));
        out.scratch_for_events(self.tx, Field::PgsqlMessage, direction);
    }

    /// Tells of the rows before: how many, and their bytes.
    fn tell_rows(&mut self, kind: u8, direction: Direction, out: &mut Output<'_>) {
        let rows = std::mem::take(&mut self.rows[direction.index()]);
        if rows.count > 0 {
            let numbers = [rows.count.to_be_bytes(), rows.bytes.to_be_bytes()];
            self.tell(kind, direction, numbers.as_flattened(), out);
        }
    }
}

/// Bytes of the values in a row (chapter on message formats, `DataRow`); -1 stands for none.
fn columns(row: &[u8]) -> usize {
    let mut at = Reader::at(row, 2);
    let mut sum = 0;
    // Every turn takes a length.
    while let Some(length) = at.u32() {
        if let Ok(length) = usize::try_from(length as i32) {
            sum += length;
            if at.skip(length).is_none() {
                break;
            }
        }
    }
    sum
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
        assert_eq!(lines, ["tx 2 ToServer pgsql.query \"select 1\""]);
    }
}
