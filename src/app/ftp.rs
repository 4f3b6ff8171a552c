//! FTP's control connection (RFC 959, RFC 2428 for EPRT and EPSV, RFC 4217 for AUTH TLS). A command
//! with its replies is a transaction; transfers are foretold, so that ftp_data.rs knows the data
//! connection when it comes.
//!
//! Replies are matched with commands by order. A reply without a command that we know (the
//! greeting) belongs to no transaction.

use super::field::{Field, Progress};
use super::ftp_data;
use super::lines::{Discard, decimal, leading_number, starts_with, take_line, without_end};
use super::output::{AppEvent, EXPECTED_TEXT_MAX, Expected, Output, TxId};
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use crate::packet::Direction::{self, ToClient, ToServer};
use memchr::{memchr, memmem};

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::Ftp,
    probe,
    over: &[Transport::Tcp],
    fields: &[
        Field::FtpCommand,
        Field::FtpCommandData,
        Field::FtpCompletionCode,
        Field::FtpReply,
        Field::FtpDynamicPort,
        Field::FtpMode,
        Field::FtpReplyReceived,
        Field::Ftpbounce,
    ],
    events: &[
        "request_command_too_long",
        "response_command_too_long",
        "too_many_transactions",
        "file_before_port",
        "file_without_name",
    ],
};

/// Places in the list of events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Odd {
    RequestLong = 0,
    ResponseLong = 1,
    TooMany = 2,
    BeforePort = 3,
    WithoutName = 4,
}

/// Bytes of a line that are looked at.
const LINE_MAX: usize = 4096;
/// Commands that wait for their replies.
const WAITING_MAX: usize = 24;
/// Bytes of a line within which its command is looked for.
const COMMAND_WITHIN: usize = 64;
/// How long a data connection is waited for, nanoseconds.
const EXPECT_NS: u64 = 30_000_000_000;
pub(super) const PORT: u16 = 21;
/// Ports of POP3, whose clients begin with the same words.
const OTHERS: [u16; 2] = [110, 995];

fn probe(probe: &Probe<'_>) -> Guess {
    let bytes = probe.bytes;
    match probe.direction {
        ToServer if OTHERS.contains(&probe.server_port) => Guess::No,
        ToServer => {
            let words: [(&[u8], bool); 4] = [
                (b"FEAT", true),
                (b"USER ", false),
                (b"PASS ", true),
                (b"PORT ", true),
            ];
            let fits = |(word, any_case): &(&[u8], bool)| match any_case {
                true => starts_with(bytes, word),
                false => bytes.starts_with(word),
            };
            let begins = |(word, _): &(&[u8], bool)| starts_with(word, bytes);
            // Others leave with the same word.
            let leaves = probe.server_port == PORT && bytes.starts_with(b"QUIT");
            let may_leave = probe.server_port == PORT && b"QUIT".starts_with(bytes);
            if words.iter().any(fits) || (leaves && bytes.len() > 4) {
                Guess::Yes
            } else if bytes.len() < 5 && (words.iter().any(begins) || leaves || may_leave) {
                Guess::More
            } else {
                Guess::No
            }
        }
        ToClient => {
            if bytes.starts_with(b"220 (") {
                return Guess::Yes;
            }
            let greets = bytes.starts_with(b"220 ") || bytes.starts_with(b"220-");
            if greets && probe.server_port == PORT {
                return match memchr(b'\n', bytes) {
                    Some(_) => Guess::Yes,
                    None => Guess::More,
                };
            }
            match bytes.len() < 5 && b"220 (".starts_with(bytes) {
                true => Guess::More,
                false => Guess::No,
            }
        }
    }
}

/// The commands that are told apart by name, in the order in which names are tried.
const COMMANDS: [&[u8]; 48] = [
    b"PORT", b"EPRT", b"PASV", b"EPSV", b"RETR", b"STOR", b"ABOR", b"ACCT", b"ALLO", b"APPE",
    b"CDUP", b"CHMOD", b"CWD", b"DELE", b"HELP", b"IDLE", b"LIST", b"MAIL", b"MDTM", b"MKD",
    b"MLFL", b"MLSD", b"MODE", b"MRCP", b"MRSQ", b"MSAM", b"MSND", b"MSOM", b"NLST", b"NOOP",
    b"PASS", b"PWD", b"QUIT", b"REIN", b"REST", b"RMD", b"RNFR", b"RNTO", b"SITE", b"SIZE",
    b"SMNT", b"STAT", b"STOU", b"STRU", b"SYST", b"TYPE", b"UMASK", b"USER",
];

/// The command of a line: the known name that ends first in it, as clients write names in front
/// and extensions wrap them (`XPWD`).
fn command_of(line: &[u8]) -> Option<&'static [u8]> {
    for end in 3..=line.len().min(COMMAND_WITHIN) {
        let seen = line.get(..end)?;
        let found = COMMANDS.iter().find(|name| {
            let start = seen.len().checked_sub(name.len());
            start
                .and_then(|start| seen.get(start..))
                .is_some_and(|s| s.eq_ignore_ascii_case(name))
        });
        if found.is_some() {
            return found.copied();
        }
    }
    None
}

/// A command that waits for its reply.
#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    tx: TxId,
    kind: Kind,
}

/// Commands whose replies change something.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Kind {
    #[default]
    Other,
    /// Both forms, with the port that the client named (0: none).
    Port(u16),
    Pasv,
    Epsv,
    AuthTls,
}

/// A parser of the control connection.
#[derive(Debug, Default)]
pub struct Ftp {
    waiting: [Waiting; WAITING_MAX],
    count: u8,
    /// Commands that may wait, or 0: not looked up yet.
    limit: u8,
    /// Port of the data connection to come, or 0, and whether the server opens it.
    port: u16,
    active: bool,
    /// The code of a reply of several lines that is not over, or 0.
    in_reply: u16,
    /// The transaction of a reply that nobody asked for (a greeting) and that is not over.
    unasked: TxId,
    discard: Discard,
}

impl Parse for Ftp {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        if input.gap > 0 {
            // The next line may begin anywhere.
            self.discard.begin(input.direction.index());
            self.in_reply = 0;
        }
        let mut at = 0;
        // Each round takes a byte at least, or leaves.
        while let Some(rest) = input.bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if let Some(passed) = self.discard.take(input.direction.index(), rest) {
                at += passed;
                continue;
            }
            let Some(line) = take_line(rest, LINE_MAX) else {
                break;
            };
            at += line.len();
            let long = !line.ends_with(b"\n");
            if long {
                self.discard.begin(input.direction.index());
            }
            match input.direction {
                ToServer => self.command(without_end(line), long, input, out),
                ToClient => {
                    if self.reply(without_end(line), long, out) {
                        out.await_protocol(AppProtocol::Tls);
                        break;
                    }
                }
            }
        }
        Ok(Taken::all(at))
    }
}

fn event(tx: TxId, direction: Direction, odd: Odd, out: &mut Output<'_>) {
    out.event(tx, direction, AppEvent::of(AppProtocol::Ftp, odd as u8));
}

impl Ftp {
    fn command(&mut self, line: &[u8], long: bool, input: &Input<'_>, out: &mut Output<'_>) {
        let line = line.trim_ascii_end();
        if starts_with(line, b"auth tls") || starts_with(line, b"auth ssl") {
            self.wait(TxId::NONE, Kind::AuthTls, out);
            return;
        }
        let Some(name) = command_of(line) else {
            if !line.is_empty() {
                self.wait(TxId::NONE, Kind::Other, out);
            }
            return;
        };
        let tx = out.open();
        out.field(tx, Field::FtpCommand, ToServer, name);
        let data = line.get(name.len() + 1..);
        if let Some(data) = data.filter(|data| !data.is_empty()) {
            out.field(tx, Field::FtpCommandData, ToServer, data);
            let cut = u64::from(long);
            out.number_for_events(tx, Field::FtpCommandTruncated, ToServer, cut);
        }
        if long {
            event(tx, ToServer, Odd::RequestLong, out);
        }
        let kind = match name {
            b"PORT" => {
                if bounces(line, input) {
                    out.number(tx, Field::Ftpbounce, ToServer, 1);
                }
                Kind::Port(active_port(line).unwrap_or(0))
            }
            b"EPRT" => Kind::Port(extended_port(line).unwrap_or(0)),
            b"PASV" => Kind::Pasv,
            b"EPSV" => Kind::Epsv,
            _ => Kind::Other,
        };
        if let Some(transfer) = ftp_data::Transfer::of(name) {
            self.transfer(tx, transfer, line, input, out);
        }
        if kind == Kind::Other {
            // The reply to the others says more about them.
            out.progress(tx, ToServer, Progress::Complete);
        }
        self.wait(tx, kind, out);
    }

    fn wait(&mut self, tx: TxId, kind: Kind, out: &mut Output<'_>) {
        if self.limit == 0 {
            let set = out.shared.limits.setting("ftp.max-tx");
            let set = set.and_then(|text| text.parse::<usize>().ok());
            self.limit = set.unwrap_or(WAITING_MAX).clamp(1, WAITING_MAX) as u8;
        }
        if self.count >= self.limit {
            let oldest = self.take_first();
            event(oldest.tx, ToServer, Odd::TooMany, out);
            out.complete(oldest.tx);
        }
        if let Some(place) = self.waiting.get_mut(usize::from(self.count)) {
            *place = Waiting { tx, kind };
            self.count += 1;
        }
    }

    fn take_first(&mut self) -> Waiting {
        let first = self.waiting[0];
        self.waiting.rotate_left(1);
        self.count = self.count.saturating_sub(1);
        first
    }

    /// A data connection is to come.
    fn transfer(
        &mut self,
        tx: TxId,
        transfer: ftp_data::Transfer,
        line: &[u8],
        input: &Input<'_>,
        out: &mut Output<'_>,
    ) {
        let name = line.get(5..).unwrap_or(&[]);
        if name.is_empty() && transfer.needs_name() {
            event(tx, ToServer, Odd::WithoutName, out);
            return;
        }
        if self.port == 0 {
            event(tx, ToServer, Odd::BeforePort, out);
            return;
        }
        let name: &[u8] = match transfer {
            ftp_data::Transfer::Stou if name.is_empty() => b"<stou>",
            transfer if transfer.is_list() => b"",
            _ => name,
        };
        let mut hosts = [input.client_addr, input.server_addr];
        hosts.sort_unstable();
        let mut text = [0; EXPECTED_TEXT_MAX];
        let length = name.len().min(EXPECTED_TEXT_MAX);
        for (place, byte) in text.iter_mut().zip(name) {
            *place = *byte;
        }
        out.expect(Expected {
            protocol: AppProtocol::FtpData,
            hosts,
            port: self.port,
            until_ns: input.time_ns.saturating_add(EXPECT_NS),
            tag: transfer.tag(self.active),
            text,
            text_length: length as u8,
        });
        self.port = 0;
        self.active = false;
    }

    /// Takes a line of a reply in; true: TLS follows.
    fn reply(&mut self, line: &[u8], long: bool, out: &mut Output<'_>) -> bool {
        let code = line.get(..3).and_then(decimal).unwrap_or(0) as u16;
        let waits = self.count > 0;
        let Waiting { tx, kind } = if waits {
            self.waiting[0]
        } else {
            Waiting {
                tx: self.unasked(line, out),
                kind: Kind::Other,
            }
        };
        self.give_reply(tx, line, out);
        if long {
            out.number_for_events(tx, Field::FtpReplyTruncated, ToClient, 1);
            event(tx, ToClient, Odd::ResponseLong, out);
        }
        // RFC 959 section 4.2: `123-` begins lines that `123 ` ends.
        let opens = code != 0 && line.get(3) == Some(&b'-');
        if self.in_reply == 0 && opens {
            self.in_reply = code;
        }
        if self.in_reply != 0 {
            if code != self.in_reply || line.get(3) == Some(&b'-') {
                return false;
            }
            self.in_reply = 0;
        }
        if !waits {
            self.end_unasked(out);
            return false;
        }
        self.settle(tx, kind, code, line, out);
        if (100..200).contains(&code) {
            // A preliminary reply: another will follow.
            out.number(tx, Field::FtpReplyReceived, ToClient, 0);
            return false;
        }
        self.take_first();
        out.number(tx, Field::FtpReplyReceived, ToClient, 1);
        out.complete(tx);
        kind == Kind::AuthTls && code == 234
    }

    /// The transaction that a line belongs to which answers no command: a greeting has one of its own.
    fn unasked(&mut self, line: &[u8], out: &mut Output<'_>) -> TxId {
        if !self.unasked.is_some() && !line.trim_ascii_end().is_empty() {
            self.unasked = out.open_one_way(ToClient);
            out.progress(self.unasked, ToServer, Progress::Complete);
        }
        self.unasked
    }

    fn end_unasked(&mut self, out: &mut Output<'_>) {
        let tx = std::mem::take(&mut self.unasked);
        if tx.is_some() {
            out.number(tx, Field::FtpReplyReceived, ToClient, 1);
            out.complete(tx);
        }
    }

    fn give_reply(&mut self, tx: TxId, line: &[u8], out: &mut Output<'_>) {
        let line = line.trim_ascii_end();
        if line.is_empty() {
            return;
        }
        let coded = line.get(3) == Some(&b' ') && line.iter().take(3).all(u8::is_ascii_digit);
        let (code, text) = match coded {
            true => (line.get(..3), line.get(4..)),
            false => (Some(&[][..]), Some(line)),
        };
        out.field(tx, Field::FtpCompletionCode, ToClient, code.unwrap_or(&[]));
        out.field(tx, Field::FtpReply, ToClient, text.unwrap_or(&[]));
    }

    /// What the reply to a command says about the data connection.
    fn settle(&mut self, tx: TxId, kind: Kind, code: u16, line: &[u8], out: &mut Output<'_>) {
        let (port, active) = match kind {
            Kind::Port(port) => (port, true),
            Kind::Pasv if code == 227 => (passive_port(line).unwrap_or(0), false),
            Kind::Epsv if code == 229 => (extended_passive_port(line).unwrap_or(0), false),
            _ => return,
        };
        if port == 0 {
            return;
        }
        self.port = port;
        self.active = active;
        for direction in [ToServer, ToClient] {
            out.number(tx, Field::FtpDynamicPort, direction, u64::from(port));
            out.number(tx, Field::FtpMode, direction, u64::from(active));
        }
    }
}

/// Six numbers with commas between them (RFC 959 section 4.1.2): address and port.
fn six_numbers(bytes: &[u8]) -> Option<[u32; 6]> {
    let mut numbers = [0; 6];
    let mut rest = bytes.trim_ascii_start();
    for (place, number) in numbers.iter_mut().enumerate() {
        if place > 0 {
            rest = rest.trim_ascii_start().strip_prefix(b",")?;
            rest = rest.trim_ascii_start();
        }
        (*number, rest) = leading_number(rest)?;
    }
    Some(numbers)
}

fn port_of(numbers: [u32; 6]) -> Option<u16> {
    let [.., high, low] = numbers;
    let (high, low) = (u8::try_from(high).ok()?, u8::try_from(low).ok()?);
    Some(u16::from(high) << 8 | u16::from(low))
}

/// `PORT 192,168,0,13,234,10`
fn active_port(line: &[u8]) -> Option<u16> {
    port_of(six_numbers(line.get(4..)?)?)
}

/// `227 Entering Passive Mode (212,27,32,66,221,243).`
fn passive_port(line: &[u8]) -> Option<u16> {
    let open = memchr(b'(', line)?;
    port_of(six_numbers(line.get(open + 1..)?)?)
}

/// `EPRT |2|2001:db8::1|41813|`
fn extended_port(line: &[u8]) -> Option<u16> {
    let port = line.split(|b| *b == b'|').nth(3)?;
    u16::try_from(decimal(port.trim_ascii())?).ok()
}

/// `229 Entering Extended Passive Mode (|||48758|)`
fn extended_passive_port(line: &[u8]) -> Option<u16> {
    let bars = memmem::find(line, b"|||")?;
    let (port, rest) = leading_number(line.get(bars + 3..)?.trim_ascii_start())?;
    rest.trim_ascii_start().strip_prefix(b"|")?;
    u16::try_from(port).ok()
}

/// Whether PORT names another host than the client (an FTP bounce).
fn bounces(line: &[u8], input: &Input<'_>) -> bool {
    let Some(numbers) = line.get(4..).and_then(six_numbers) else {
        return false;
    };
    let client = input.client_addr;
    let is_ipv4 = client.starts_with(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
    let named = numbers.iter().take(4);
    let same = client
        .iter()
        .skip(12)
        .zip(named)
        .all(|(a, b)| u32::from(*a) == *b);
    is_ipv4 && !same
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, run, same_for_every_cut, survives_damage};
    use super::*;

    const PLACE: Place = Place {
        transport: Transport::Tcp,
        server_port: PORT,
    };

    #[test]
    fn who_leaves_at_once_on_its_port_speaks_it() {
        let talk: &[(Direction, &[u8])] = &[(ToServer, b"QUIT\r\n"), (ToClient, b"221 bye\r\n")];
        assert_eq!(same_for_every_cut(PLACE, talk).0, AppProtocol::Ftp);
    }

    #[test]
    fn a_command_with_its_replies_is_a_transaction() {
        let talk: &[(Direction, &[u8])] = &[
            (ToClient, b"220-hello\r\n220 ready\r\n"),
            (ToServer, b"USER anonymous\r\n"),
            (ToClient, b"331 password?\r\n"),
            (ToServer, b"PASS x\r\nXPWD\r\n"),
            (ToClient, b"230-welcome\r\n more\r\n230 in\r\n257 \"/\"\r\n"),
        ];
        let (protocol, lines) = same_for_every_cut(PLACE, talk);
        assert_eq!(protocol, AppProtocol::Ftp);
        let expected = [
            "tx 0 ToClient ftp.completion_code \"\"",
            "tx 0 ToClient ftp.reply \"220-hello\"",
            "tx 0 ToClient ftp.completion_code \"220\"",
            "tx 0 ToClient ftp.reply \"ready\"",
            "tx 0 ToClient ftp.reply_received 1",
            "tx 1 ToServer ftp.command \"USER\"",
            "tx 1 ToServer ftp.command_data \"anonymous\"",
            "tx 1 ToClient ftp.completion_code \"331\"",
            "tx 1 ToClient ftp.reply \"password?\"",
            "tx 1 ToClient ftp.reply_received 1",
            "tx 2 ToServer ftp.command \"PASS\"",
            "tx 2 ToServer ftp.command_data \"x\"",
            "tx 2 ToClient ftp.completion_code \"\"",
            "tx 2 ToClient ftp.reply \"230-welcome\"",
            "tx 2 ToClient ftp.completion_code \"\"",
            "tx 2 ToClient ftp.reply \" more\"",
            "tx 2 ToClient ftp.completion_code \"230\"",
            "tx 2 ToClient ftp.reply \"in\"",
            "tx 2 ToClient ftp.reply_received 1",
            "tx 3 ToServer ftp.command \"PWD\"",
            "tx 3 ToClient ftp.completion_code \"257\"",
            "tx 3 ToClient ftp.reply \"\\\"/\\\"\"",
            "tx 3 ToClient ftp.reply_received 1",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn ports_are_read() {
        assert_eq!(active_port(b"PORT 192,168,0,13,234,10"), Some(59914));
        assert_eq!(active_port(b"PORT 192,168,0,13,256,10"), None);
        let passive = b"227 Entering Passive Mode (212,27,32,66,221,243).";
        assert_eq!(passive_port(passive), Some(56819));
        let extended = b"229 Entering Extended Passive Mode (|||48758|)";
        assert_eq!(extended_passive_port(extended), Some(48758));
        assert_eq!(extended_port(b"EPRT |2|2001:db8::1|41813|"), Some(41813));
        assert_eq!(extended_port(b"EPRT |2|2001:db8::1|81813|"), None);
    }

    #[test]
    fn a_file_needs_a_port_and_a_name() {
        let talk: &[(Direction, &[u8])] = &[
            (ToClient, b"220 ready\r\n"),
            (ToServer, b"RETR\r\nSTOR a\r\n"),
            (ToClient, b"500 no\r\n500 no\r\n"),
        ];
        let (_, lines) = same_for_every_cut(PLACE, talk);
        let events: Vec<_> = lines.iter().filter(|line| line.contains("Some(")).collect();
        assert!(events[0].contains("file_without_name"));
        assert!(events[1].contains("file_before_port"));
        assert_eq!(events.len(), 2);
    }

    #[test]
    fn tls_follows_auth() {
        let talk: &[(Direction, &[u8])] = &[
            (ToClient, b"220 ready\r\n"),
            (ToServer, b"FEAT\r\nAUTH TLS\r\n"),
            (ToClient, b"211-x\r\n211 end\r\n234 go\r\n"),
            (ToServer, b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"),
        ];
        let (protocol, lines) = run(PLACE, talk);
        assert_eq!(protocol, AppProtocol::Tls);
        let tls = |line: &String| line.starts_with("tx 1 ");
        let lines: Vec<String> = lines.into_iter().filter(|line| !tls(line)).collect();
        let greeting = |line: &String| line.starts_with("tx 0 ToClient ftp.");
        assert!(lines.iter().all(greeting), "{lines:?}");
    }

    #[test]
    fn many_commands_without_replies_are_bounded() {
        let asked = b"NOOP\r\n".repeat(200);
        let talk: &[(Direction, &[u8])] = &[(ToClient, b"220 ready\r\n"), (ToServer, &asked)];
        let (_, lines) = same_for_every_cut(PLACE, talk);
        let events = lines
            .iter()
            .filter(|line| line.contains("too_many_transactions"));
        assert_eq!(events.count(), 200 - WAITING_MAX);
    }

    #[test]
    fn damage_is_survived() {
        let talk: &[(Direction, &[u8])] = &[
            (ToClient, b"220-hello\r\n220 ready\r\n"),
            (
                ToServer,
                b"USER anonymous\r\nPORT 192,168,0,13,234,10\r\nRETR x\r\n",
            ),
            (
                ToClient,
                b"331 password?\r\n200 fine\r\n150 here\r\n226 done\r\n",
            ),
            (ToServer, b"EPSV\r\n"),
            (
                ToClient,
                b"229 Entering Extended Passive Mode (|||48758|)\r\n",
            ),
            (ToServer, b"STOR y\r\n"),
        ];
        survives_damage(PLACE, talk, 400);
    }

    #[test]
    fn both_sides_may_be_early_when_tls_begins() {
        let talk: &[(Direction, &[u8])] = &[
            (ToClient, b"220 ready\r\n"),
            (ToServer, b"AUTH TLS\r\n"),
            (ToClient, b"234 go"),
            (ToServer, b"ion.\r\n\x01\x83\x16\x03"),
            (ToClient, b"\r\n\x01\x83\x16\x03\x03"),
        ];
        same_for_every_cut(PLACE, talk);
    }
}
