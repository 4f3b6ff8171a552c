//! POP3 (RFC 1939) on its port: a transaction for each command and its answer, and for the server's
//! greeting. Behind STLS (RFC 2595 section 4) TLS is spoken. What is odd about a command, and which
//! ones are known, is as Suricata 8.0.6 has it: words stand in capitals, and a line that begins with
//! none ends the work.

use super::heap::Heap;
use super::lines::{Discard, decimal, pass_over, take_line, without_end};
use super::output::{AppEvent, Output, TxId};
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use super::settings::Number;
use super::table::{Table, tx_of, tx_words};
use super::{Field, Progress};
use crate::packet::Direction::{self, ToClient, ToServer};

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::Pop3,
    probe,
    over: &[Transport::Tcp],
    fields: &[],
    events: &[
        "unknown_command",
        "incorrect_argument_count",
        "request_too_long",
        "response_too_long",
        "too_many_transactions",
    ],
};

/// Places in the list of events.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Odd {
    UnknownCommand = 0,
    ArgumentCount = 1,
    RequestTooLong = 2,
    ResponseTooLong = 3,
    TooMany = 4,
}

/// Commands and how many arguments they take.
const ARGUMENTS: [(&[u8], std::ops::RangeInclusive<usize>); 16] = [
    (b"USER", 1..=1),
    (b"PASS", 1..=1),
    (b"APOP", 2..=2),
    (b"AUTH", 1..=2),
    (b"SASL", 1..=usize::MAX),
    (b"QUIT", 0..=0),
    (b"STAT", 0..=0),
    (b"LIST", 0..=1),
    (b"RETR", 1..=1),
    (b"DELE", 1..=1),
    (b"NOOP", 0..=0),
    (b"RSET", 0..=0),
    (b"TOP", 2..=2),
    (b"UIDL", 0..=1),
    (b"CAPA", 0..=0),
    (b"STLS", 0..=0),
];
/// Bytes of a command with its end; a longer one is told of.
const COMMAND_MAX: usize = 256;
/// What stands for a line of an authentication in place of a command.
const SASL: &[u8] = b"<SASL DATA>";

const PORT: u16 = 110;
/// Bytes of a line that are looked at; a status line has no more (RFC 2449 section 4).
const LINE_MAX: usize = 513;
/// Bytes by which a first line is known.
const PROBE_MIN: usize = 5;
/// Arguments of a command and lines of an answer that events tell.
const TOLD_MAX: usize = 128;
/// Commands that wait for an answer.
const OPEN_MAX: usize = 1 << 16;

fn probe(probe: &Probe<'_>) -> Guess {
    if probe.server_port != PORT {
        return Guess::No;
    }
    let bytes = probe.bytes;
    let word = word_of(bytes);
    let fits = match probe.direction {
        ToServer => is_word(word),
        ToClient => [b"+OK".as_slice(), b"-ERR"]
            .iter()
            .any(|status| *status == word || word.len() == bytes.len() && status.starts_with(word)),
    };
    match fits {
        false => Guess::No,
        // A word, and a line that ends.
        true if bytes.len() >= PROBE_MIN && memchr::memmem::find(bytes, b"\r\n").is_some() => {
            Guess::Yes
        }
        true if bytes.len() >= LINE_MAX => Guess::No,
        true => Guess::More,
    }
}

/// What stands before the first blank or the line's end.
fn word_of(line: &[u8]) -> &[u8] {
    let end = line.iter().position(|byte| matches!(byte, b' ' | b'\r'));
    line.get(..end.unwrap_or(line.len())).unwrap_or(line)
}

/// Whether this may be a command.
fn is_word(word: &[u8]) -> bool {
    !word.is_empty() && word.iter().all(u8::is_ascii_alphanumeric)
}

/// How the answer of a command is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
enum Kind {
    /// A line.
    #[default]
    Line = 0,
    /// More lines, up to one with a dot, follow one that says yes.
    Lines = 1,
    /// The same, and they are a mail.
    Mail = 2,
    /// The client's next line goes on with the authentication.
    Auth = 3,
    /// TLS follows.
    Tls = 4,
    /// It may ask for more of an authentication.
    Sasl = 5,
}

impl Kind {
    fn of(command: &[u8], arguments: usize) -> Kind {
        match (command, arguments) {
            (b"LIST" | b"UIDL" | b"AUTH", 0) | (b"TOP" | b"CAPA", _) => Kind::Lines,
            (b"RETR", _) => Kind::Mail,
            (b"AUTH", _) => Kind::Auth,
            (b"STLS", _) => Kind::Tls,
            _ => Kind::Line,
        }
    }

    fn from_word(word: u32) -> Kind {
        match word {
            1 => Kind::Lines,
            2 => Kind::Mail,
            3 => Kind::Auth,
            4 => Kind::Tls,
            5 => Kind::Sasl,
            _ => Kind::Line,
        }
    }
}

/// An answer of several lines.
#[derive(Clone, Copy, Debug, Default)]
struct Answer {
    /// Whose; `None` between answers.
    tx: Option<TxId>,
    /// Bytes of a mail that are passed over.
    left: u32,
    /// Its lines are told, so many so far.
    told: Option<u16>,
}

/// Follows commands and their answers up to TLS.
#[derive(Debug, Default)]
pub struct Pop3 {
    /// Commands without an answer: the transaction, how the answer is read.
    open: Table<3>,
    /// The client's next line is no command.
    challenged: bool,
    answer: Answer,
    discard: Discard,
}

impl Parse for Pop3 {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        let way = input.direction.index();
        if input.gap > 0 {
            self.discard.begin(way);
        }
        let mut at = 0;
        // Each round takes a byte at least, or leaves.
        while let Some(rest) = input.bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if let Some(passed) = self.discard.take(way, rest) {
                at += passed;
                continue;
            }
            if input.direction == ToClient && self.answer.left > 0 {
                at += pass_over(&mut self.answer.left, rest);
                continue;
            }
            let Some(line) = take_line(rest, LINE_MAX) else {
                break;
            };
            at += line.len();
            if !line.ends_with(b"\n") {
                self.discard.begin(way);
            }
            match input.direction {
                ToServer => self.command(line, out)?,
                ToClient if self.answer.tx.is_some() => self.line_of_answer(line, out),
                ToClient if self.status(line, out)? == Kind::Tls => {
                    out.await_protocol(AppProtocol::Tls);
                    break;
                }
                ToClient => {}
            }
        }
        Ok(Taken::all(at))
    }

    fn free(&mut self, heap: &mut Heap) {
        self.open.clear(heap);
    }
}

impl Pop3 {
    /// A transaction, if there are not too many.
    fn begin(&mut self, direction: Direction, out: &mut Output<'_>) -> Result<TxId, Broken> {
        let most = out.shared.limits.parsers.number(Number::Pop3Transactions);
        let tx = out.open();
        if self.open.len() > most as usize {
            tell(tx, Odd::TooMany, direction, out);
            out.complete(tx);
            return Err(Broken);
        }
        Ok(tx)
    }

    /// A line of the client.
    fn command(&mut self, line: &[u8], out: &mut Output<'_>) -> Result<(), Broken> {
        let sasl = std::mem::take(&mut self.challenged);
        let word = word_of(without_end(line));
        if !sasl && !is_word(word) {
            return Err(Broken);
        }
        let tx = self.begin(ToServer, out)?;
        let kind;
        if sasl {
            show(tx, Field::Pop3Command, ToServer, SASL, out);
            kind = Kind::Sasl;
        } else {
            let rest = without_end(line).get(word.len()..).unwrap_or(&[]);
            let arguments = rest.split(|byte| *byte == b' ');
            let arguments = arguments.filter(|argument| !argument.is_empty());
            show(tx, Field::Pop3Command, ToServer, word, out);
            let mut count = 0;
            for argument in arguments {
                count += 1;
                if count <= TOLD_MAX {
                    show(tx, Field::Pop3Argument, ToServer, argument, out);
                }
            }
            kind = Kind::of(word, count);
            let known = ARGUMENTS.iter().find(|(known, _)| *known == word);
            match known {
                None => tell(tx, Odd::UnknownCommand, ToServer, out),
                Some((_, counts)) if !counts.contains(&count) => {
                    tell(tx, Odd::ArgumentCount, ToServer, out);
                }
                Some(_) => {}
            }
            if line.len() > COMMAND_MAX {
                tell(tx, Odd::RequestTooLong, ToServer, out);
            }
        }
        out.progress(tx, ToServer, Progress::Complete);
        let [index, serial] = tx_words(tx);
        let record = [index, serial, kind as u32];
        // Nobody is pushed out: the bound on transactions is lower.
        if self.open.push(out.heap(), OPEN_MAX, &record).is_some() {
            out.complete(tx);
        }
        Ok(())
    }

    /// A line of the server that begins an answer; how the answer is read on. A line without a status
    /// is passed over: it may be of a longer answer than is known here.
    fn status(&mut self, line: &[u8], out: &mut Output<'_>) -> Result<Kind, Broken> {
        let text = without_end(line);
        let status = word_of(text);
        let positive = match status {
            b"+OK" | b"+" => true,
            b"-ERR" => false,
            _ => return Ok(Kind::Line),
        };
        let (tx, kind) = match self.open.remove(out.heap(), 0) {
            Some([index, serial, kind]) => (tx_of(index, serial), Kind::from_word(kind)),
            None => {
                let tx = self.begin(ToClient, out)?;
                out.progress(tx, ToServer, Progress::Complete);
                (tx, Kind::Line)
            }
        };
        let header = text.get(status.len() + 1..).unwrap_or(&[]);
        let goes_on = positive && status != b"+" && matches!(kind, Kind::Lines | Kind::Mail);
        if !(goes_on && kind == Kind::Mail) {
            out.number_for_events(tx, Field::Pop3Status, ToClient, u64::from(positive));
            show(tx, Field::Pop3Header, ToClient, header, out);
        }
        if line.len() == LINE_MAX {
            tell(tx, Odd::ResponseTooLong, ToClient, out);
        }
        if goes_on {
            self.answer = Answer {
                tx: Some(tx),
                left: match kind {
                    Kind::Mail => octets(header),
                    _ => 0,
                },
                told: (kind == Kind::Lines).then_some(0),
            };
            return Ok(Kind::Line);
        }
        out.progress(tx, ToClient, Progress::Complete);
        // A yes to AUTH does so as well: what it answers may have been no more than the mechanism.
        self.challenged |= match kind {
            Kind::Auth => positive,
            Kind::Sasl => status == b"+",
            _ => false,
        };
        match positive && status != b"+" {
            true => Ok(kind),
            false => Ok(Kind::Line),
        }
    }

    /// A further line of an answer.
    fn line_of_answer(&mut self, line: &[u8], out: &mut Output<'_>) {
        let (Some(tx), text) = (self.answer.tx, without_end(line)) else {
            return;
        };
        if text == b"." {
            out.progress(tx, ToClient, Progress::Complete);
            self.answer = Answer::default();
            return;
        }
        if let Some(told) = &mut self.answer.told
            && usize::from(*told) < TOLD_MAX
        {
            *told += 1;
            let text = text.strip_prefix(b".").unwrap_or(text);
            show(tx, Field::Pop3Data, ToClient, text, out);
        }
    }
}

/// How many bytes a mail has, where the answer says so: `120 octets`.
fn octets(header: &[u8]) -> u32 {
    let count = header
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    match header.ends_with(b"octets") {
        true => header.get(..count).and_then(decimal).unwrap_or(0),
        false => 0,
    }
}

/// Shows events a text.
fn show(tx: TxId, field: Field, direction: Direction, text: &[u8], out: &mut Output<'_>) {
    if out.wants(field) {
        out.field(tx, field, direction, text);
    }
}

fn tell(tx: TxId, odd: Odd, direction: Direction, out: &mut Output<'_>) {
    out.event(tx, direction, AppEvent::of(AppProtocol::Pop3, odd as u8));
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, for_events, run_missing, same_for_every_cut};
    use super::*;

    #[test]
    fn wrong_commands_are_told() {
        let place = Place {
            transport: Transport::Tcp,
            server_port: PORT,
        };
        let long = [b"USER ", &[b'x'; 260][..], b"\r\n"].concat();
        let talk: &[(Direction, &[u8])] = &[
            (ToClient, b"+OK ready\r\n"),
            (ToServer, b"AUTH PLAIN\r\n"),
            (ToClient, b"+ \r\n"),
            (ToServer, b"AGJvYgBzZWNyZXQ=\r\n"),
            (ToClient, b"+OK in\r\n"),
            (ToServer, b"FROB 1\r\nRETR\r\nPASS a b c\r\nquit\r\n"),
            (ToServer, &long),
        ];
        let (_, lines) = same_for_every_cut(place, talk);
        let told: Vec<&str> = lines
            .iter()
            .filter_map(|line| line.split("app-layer-event ").nth(1))
            .collect();
        assert_eq!(told.len(), 5, "{lines:?}");
        let of = |name: &str| told.iter().filter(|told| told.contains(name)).count();
        assert_eq!((of("unknown_command"), of("argument_count")), (2, 2));
        // A line that begins with no word ends the work.
        let talk: &[(Direction, &[u8])] = &[
            (ToClient, b"+OK ready\r\n"),
            (ToServer, b"STAT\r\n\x01\x02 x\r\nFROB\r\n"),
        ];
        let (_, lines) = same_for_every_cut(place, talk);
        assert!(
            !lines.iter().any(|line| line.contains("unknown")),
            "{lines:?}"
        );
    }

    /// Values of a field, in order.
    fn values(lines: &[String], name: &str) -> Vec<String> {
        let mark = format!(" {name} ");
        let found = lines.iter().filter_map(|line| line.split_once(&mark));
        let bare = |(_, value): (&str, &str)| value.trim_matches('"').to_string();
        found.map(bare).collect()
    }

    #[test]
    fn commands_and_their_answers_are_transactions() {
        let place = Place {
            transport: Transport::Tcp,
            server_port: PORT,
        };
        let mail: &[u8] = b"+OK 9 octets\r\na\r\n.\r\nb\r\n\r\n.\r\n";
        let talk: &[(Direction, &[u8])] = &[
            (ToClient, b"+OK ready\r\n"),
            (ToServer, b"USER bob\r\n"),
            (ToClient, b"-ERR who\r\n"),
            (ToServer, b"LIST\r\n"),
            (ToClient, b"+OK 2\r\n1 120\r\n..2\r\n.\r\n"),
            (ToServer, b"RETR 1\r\nSTAT\r\n"),
            (ToClient, mail),
            (ToClient, b"+OK 2 320\r\n"),
        ];
        let lines = for_events(place, talk);
        let of = |name: &str| values(&lines, name);
        assert_eq!(
            of("-pop3.command"),
            ["USER", "LIST", "RETR", "STAT"],
            "{lines:?}"
        );
        assert_eq!(of("-pop3.args"), ["bob", "1"]);
        assert_eq!(of("-pop3.header"), ["ready", "who", "2", "2 320"]);
        assert_eq!(of("-pop3.data"), ["1 120", ".2"]);
    }

    #[test]
    fn commands_without_answers_have_a_limit() {
        let place = Place {
            transport: Transport::Tcp,
            server_port: PORT,
        };
        let odd = |answered: usize, sent: usize| {
            let (commands, answers) = (b"NOOP\r\n".repeat(sent), b"+OK\r\n".repeat(answered));
            let talk: &[(Direction, &[u8])] = &[
                (ToClient, b"+OK ready\r\n"),
                (ToServer, b"NOOP\r\n"),
                (ToClient, &answers),
                (ToServer, &commands),
                (ToServer, b"FROB\r\n"),
            ];
            same_for_every_cut(place, talk).1
        };
        let of = |lines: &[String], name: &str| lines.iter().filter(|l| l.contains(name)).count();
        let within = odd(1, 256);
        assert_eq!(of(&within, "too_many_transactions"), 0);
        assert_eq!(of(&within, "unknown_command"), 1);
        let beyond = odd(1, 258);
        assert_eq!(of(&beyond, "too_many_transactions"), 1);
        // It is followed no further.
        assert_eq!(of(&beyond, "unknown_command"), 0);
        assert_eq!(of(&odd(0, 258), "too_many_transactions"), 1);
        let pieces: [(Direction, u32, &[u8]); 2] = [
            (ToClient, 0, b"+OK ready\r\n"),
            (ToServer, 0, &b"NOOP\r\n".repeat(5)),
        ];
        let set = |most| run_missing(place, &[("app-layer.protocols.pop3.max-tx", most)], &pieces);
        assert_eq!(of(&set("4"), "too_many_transactions"), 0);
        assert_eq!(of(&set("3"), "too_many_transactions"), 1);
    }

    #[test]
    fn tls_follows_stls() {
        let place = Place {
            transport: Transport::Tcp,
            server_port: PORT,
        };
        let talk: &[(Direction, &[u8])] = &[
            (ToClient, b"+OK ready\r\n"),
            (ToServer, b"CAPA\r\n"),
            (ToClient, b"+OK\r\nSTLS\r\n.\r\n"),
        ];
        assert_eq!(same_for_every_cut(place, talk).0, AppProtocol::Pop3);
        let more: [(Direction, &[u8]); 2] = [(ToServer, b"STLS\r\n"), (ToClient, b"+OK go\r\n")];
        let hello: [(Direction, &[u8]); 1] =
            [(ToServer, b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00")];
        let talk = [talk, &more, &hello].concat();
        assert_eq!(same_for_every_cut(place, &talk).0, AppProtocol::Tls);
    }
}
