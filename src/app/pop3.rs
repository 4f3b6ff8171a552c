//! POP3 (RFC 1939) on its port: told, and followed as far as STLS (RFC 2595 section 4), behind
//! which TLS is spoken. Commands that are unknown or wrong are events; nothing else is a transaction.

use super::lines::{Discard, starts_with, take_line, without_end};
use super::output::{AppEvent, Output};
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use super::settings::Number;
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

/// Commands and how many arguments they take (RFC 1939, 2449, 2595, 5034, 6856).
const ARGUMENTS: [(&[u8], std::ops::RangeInclusive<usize>); 17] = [
    (b"user", 1..=1),
    // A password may have blanks.
    (b"pass", 1..=usize::MAX),
    (b"apop", 2..=2),
    (b"auth", 0..=2),
    (b"quit", 0..=0),
    (b"stat", 0..=0),
    (b"list", 0..=1),
    (b"retr", 1..=1),
    (b"dele", 1..=1),
    (b"noop", 0..=0),
    (b"rset", 0..=0),
    (b"top", 2..=2),
    (b"uidl", 0..=1),
    (b"capa", 0..=0),
    (b"stls", 0..=0),
    (b"utf8", 0..=0),
    (b"lang", 0..=1),
];
/// Bytes of a command with its end (RFC 2449 section 4).
const COMMAND_MAX: usize = 255;

const PORT: u16 = 110;
/// Bytes of a line that are looked at; a status line has no more (RFC 2449 section 4).
const LINE_MAX: usize = 513;
/// What a client may begin with.
const COMMANDS: [&[u8]; 6] = [b"user ", b"apop ", b"auth", b"capa", b"stls", b"quit"];

fn probe(probe: &Probe<'_>) -> Guess {
    if probe.server_port != PORT {
        return Guess::No;
    }
    let words: &[&[u8]] = match probe.direction {
        ToServer => &COMMANDS,
        ToClient => &[b"+ok", b"-err"],
    };
    if words.iter().any(|word| starts_with(probe.bytes, word)) {
        return Guess::Yes;
    }
    match words.iter().any(|word| starts_with(word, probe.bytes)) {
        true => Guess::More,
        false => Guess::No,
    }
}

/// Follows commands up to TLS.
#[derive(Debug, Default)]
pub struct Pop3 {
    /// The client has asked for TLS.
    asked: bool,
    /// The server asks for more of an authentication: the client's next line is no command.
    challenged: bool,
    /// Commands without an answer.
    waiting: u16,
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
            let Some(line) = take_line(rest, LINE_MAX) else {
                break;
            };
            at += line.len();
            if !line.ends_with(b"\n") {
                self.discard.begin(way);
            }
            self.judge(line, input.direction, out);
            let most = out.shared.limits.parsers.number(Number::Pop3Transactions);
            if u32::from(self.waiting) > most + 1 {
                tell(Odd::TooMany, input.direction, out);
                return Err(Broken);
            }
            if input.direction == ToServer {
                self.asked = without_end(line).eq_ignore_ascii_case(b"stls");
            } else if std::mem::take(&mut self.asked) && starts_with(line, b"+ok") {
                out.await_protocol(AppProtocol::Tls);
                break;
            }
        }
        Ok(Taken::all(at))
    }
}

impl Pop3 {
    /// Tells what is odd about a line.
    fn judge(&mut self, line: &[u8], direction: Direction, out: &mut Output<'_>) {
        let status = starts_with(line, b"+ok") || starts_with(line, b"-err");
        self.waiting = match direction {
            ToServer => self.waiting.saturating_add(1),
            ToClient => self
                .waiting
                .saturating_sub(u16::from(status || line.starts_with(b"+ "))),
        };
        let odd = match direction {
            ToServer if std::mem::take(&mut self.challenged) => None,
            ToServer if line.len() > COMMAND_MAX => Some(Odd::RequestTooLong),
            ToServer => odd_command(without_end(line)),
            ToClient => {
                self.challenged = line.starts_with(b"+ ");
                (status && line.len() == LINE_MAX).then_some(Odd::ResponseTooLong)
            }
        };
        if let Some(odd) = odd {
            tell(odd, direction, out);
        }
    }
}

fn tell(odd: Odd, direction: Direction, out: &mut Output<'_>) {
    let tx = out.open();
    out.event(tx, direction, AppEvent::of(AppProtocol::Pop3, odd as u8));
    out.complete(tx);
}

/// What is odd about a command, without its end.
fn odd_command(line: &[u8]) -> Option<Odd> {
    let mut words = line
        .split(|byte| *byte == b' ')
        .filter(|word| !word.is_empty());
    let name = words.next().unwrap_or(b"");
    let known = ARGUMENTS
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    match known {
        None => Some(Odd::UnknownCommand),
        Some((_, counts)) if !counts.contains(&words.count()) => Some(Odd::ArgumentCount),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, run_missing, same_for_every_cut};
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
            (ToServer, b"FROB 1\r\nRETR\r\nPASS a b c\r\n"),
            (ToServer, &long),
        ];
        let (_, lines) = same_for_every_cut(place, talk);
        let told: Vec<&str> = lines
            .iter()
            .filter_map(|line| line.split("app-layer-event ").nth(1))
            .collect();
        assert_eq!(told.len(), 3, "{lines:?}");
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
