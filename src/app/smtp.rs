//! SMTP (RFC 5321) with pipelining (RFC 2920), chunks (BDAT, RFC 3030) and STARTTLS (RFC 3207). A
//! transaction is a mail with the commands before it; what the mail holds is mime.rs's.
//!
//! Replies are matched with commands by order, for a mail follows DATA only if the server agrees.
//! Commands that wait for a reply are kept as runs of kinds, so that any number of recipients fits.

use super::field::{Field, Progress};
use super::heap::{Heap, Text};
use super::lines::{Discard, decimal, starts_with, take_line, without_end};
use super::mime::{Mime, PIECE_MAX, odd};
use super::output::{AppEvent, Growing, Output, TxId};
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use crate::packet::Direction::{self, ToClient, ToServer};
use memchr::memchr;

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::Smtp,
    probe,
    over: &[Transport::Tcp],
    fields: &[
        Field::SmtpHelo,
        Field::SmtpMailFrom,
        Field::SmtpRcptTo,
        Field::EmailFrom,
        Field::EmailSubject,
        Field::EmailTo,
        Field::EmailCc,
        Field::EmailDate,
        Field::EmailMessageId,
        Field::EmailXMailer,
        Field::EmailUrl,
        Field::EmailReceived,
        Field::EmailBodyMd5,
        Field::FileData,
        Field::FileName,
        Field::Filesize,
        Field::Filemd5,
        Field::Filesha1,
        Field::Filesha256,
        Field::FrameSmtpCommandLine,
        Field::FrameSmtpResponseLine,
        Field::FrameSmtpData,
    ],
    events: &[
        "invalid_reply",
        "unable_to_match_reply_with_request",
        "max_command_line_len_exceeded",
        "max_reply_line_len_exceeded",
        "invalid_pipelined_sequence",
        "bdat_chunk_len_exceeded",
        "no_server_welcome_message",
        "tls_rejected",
        "data_command_rejected",
        "failed_protocol_change",
        "mime_parse_failed",
        "mime_invalid_base64",
        "mime_invalid_qp",
        "mime_long_line",
        "mime_long_enc_line",
        "mime_long_header_name",
        "mime_long_header_value",
        "mime_long_boundary",
        "mime_long_filename",
        "duplicate_fields",
        "unparsable_content",
        "truncated_line",
        "invalid_bdat",
        // Suricata's rules name it too, and nothing raises it there: what it meant once is told as
        // `mime_parse_failed`.
        "mime_malformed_msg",
    ],
};

/// Places in the list of events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Odd {
    InvalidReply = 0,
    PipelinedSequence = 4,
    ChunkLength = 5,
    NoWelcome = 6,
    TlsRejected = 7,
    DataRejected = 8,
    NotChanged = 9,
    MimeFailed = 10,
    InvalidBase64 = 11,
    InvalidQuoted = 12,
    LongLine = 13,
    LongEncodedLine = 14,
    LongHeaderName = 15,
    LongHeaderValue = 16,
    LongBoundary = 17,
    LongFilename = 18,
    Duplicate = 19,
    Unparsable = 20,
    Truncated = 21,
    InvalidBdat = 22,
}

/// Which event a bit of mime.rs means.
const MIME_EVENTS: [(u16, Odd); 9] = [
    (odd::BASE64, Odd::InvalidBase64),
    (odd::QUOTED, Odd::InvalidQuoted),
    (odd::LONG_LINE, Odd::LongLine),
    (odd::LONG_ENCODED, Odd::LongEncodedLine),
    (odd::LONG_NAME, Odd::LongHeaderName),
    (odd::LONG_VALUE, Odd::LongHeaderValue),
    (odd::LONG_BOUNDARY, Odd::LongBoundary),
    (odd::LONG_FILENAME, Odd::LongFilename),
    (odd::DEEP, Odd::MimeFailed),
];

/// Bytes of a command, reply or header line; the rest of a longer one is passed over.
const LINE_MAX: usize = 4096;
/// Runs of commands without a reply.
const RUNS_MAX: usize = 24;
/// Ports on which a greeting is enough to know.
const PORTS: [u16; 2] = [25, 465];

/// Replies that servers give (RFC 5321 section 4.2, RFC 4954 section 6 and common use).
const CODES: [u16; 38] = [
    211, 214, 220, 221, 235, 250, 251, 252, 334, 354, 401, 402, 421, 435, 450, 451, 452, 454, 455,
    500, 501, 502, 503, 504, 511, 521, 522, 525, 530, 534, 535, 541, 543, 550, 551, 552, 553, 554,
];

fn probe(probe: &Probe<'_>) -> Guess {
    match probe.direction {
        ToServer => match probe.bytes.get(..4) {
            Some(word) => {
                let words: [&[u8]; 3] = [b"ehlo", b"helo", b"quit"];
                match words
                    .iter()
                    .position(|known| word.eq_ignore_ascii_case(known))
                {
                    // FTP's clients leave with the same word.
                    Some(2) if probe.server_port == super::ftp::PORT => Guess::No,
                    Some(_) => Guess::Yes,
                    None => Guess::No,
                }
            }
            None => Guess::More,
        },
        ToClient => match probe.bytes.first_chunk::<5>() {
            None => match b"220".starts_with(probe.bytes) || probe.bytes.starts_with(b"220") {
                true => Guess::More,
                false => Guess::No,
            },
            Some([b'2', b'2', b'0', b' ' | b'-', name]) => {
                let known = PORTS.contains(&probe.server_port);
                match known && name.is_ascii_alphanumeric() && memchr(b'\n', probe.bytes).is_some()
                {
                    true => Guess::Yes,
                    // Other protocols greet so too: the client will tell.
                    false => Guess::More,
                }
            }
            Some(_) => Guess::No,
        },
    }
}

/// Kinds of commands, as far as their replies matter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Command {
    #[default]
    Other,
    StartTls,
    Data,
    Bdat,
    /// The end of the mail behind DATA, which has a reply of its own.
    Mail,
    Reset,
    Quit,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Mode {
    /// Lines are commands.
    #[default]
    Commands,
    /// The mail behind DATA.
    Mail,
    /// So many bytes of a chunk are to come; whether it is the last of its mail.
    Chunk { rest: u32, last: bool },
    /// Encrypted from here.
    Tls,
}

/// Commands without a reply, as runs.
#[derive(Debug, Default)]
struct Waiting {
    runs: [(Command, u16); RUNS_MAX],
    count: u8,
}

impl Waiting {
    fn first(&self) -> Option<Command> {
        (self.count > 0).then(|| self.runs[0].0)
    }

    fn last(&self) -> Option<Command> {
        let at = usize::from(self.count).checked_sub(1)?;
        self.runs.get(at).map(|(command, _)| *command)
    }

    fn push(&mut self, command: Command) {
        let count = usize::from(self.count);
        if self.last() == Some(command)
            && let Some((_, number)) = self.runs.get_mut(count.wrapping_sub(1))
        {
            *number = number.saturating_add(1);
        } else if let Some(run) = self.runs.get_mut(count) {
            *run = (command, 1);
            self.count += 1;
        }
        // Beyond the bound order is lost: later replies find no command.
    }

    fn pop(&mut self) {
        if self.count == 0 {
            return;
        }
        let number = &mut self.runs[0].1;
        *number = number.saturating_sub(1);
        if *number == 0 {
            self.runs.rotate_left(1);
            self.count -= 1;
        }
    }
}

/// A parser of SMTP.
#[derive(Debug, Default)]
pub struct Smtp {
    tx: TxId,
    /// The transaction is complete: the next command begins another.
    done: bool,
    /// Some transaction was begun.
    begun: bool,
    mode: Mode,
    /// The transaction has its DATA.
    has_data: bool,
    has_sender: bool,
    has_recipient: bool,
    command: Command,
    waiting: Waiting,
    helo: Text,
    mime: Option<Mime>,
    /// The frame of the mail behind DATA, if some rule asks for it.
    frame: Option<(TxId, Growing)>,
    greeted: bool,
    in_reply: bool,
    pipelining: bool,
    /// The rest of a line that was too long is passed over, by direction.
    discard: Discard,
    /// A chunk did not end with a line.
    ragged_chunk: bool,
    /// Events that the transaction has had.
    given: u32,
}

impl Parse for Smtp {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        if input.gap > 0 {
            if input.direction == ToServer {
                // Whether the next byte is a command's or a mail's is unknown now.
                return Err(Broken);
            }
            self.discard.begin(ToClient.index());
        }
        let bytes = input.bytes;
        let mut at = 0;
        // Each round takes a byte at least, or leaves.
        while at < bytes.len() {
            let rest = bytes.get(at..).unwrap_or(&[]);
            let taken = match input.direction {
                ToServer => self.client(rest, out),
                ToClient => self.server(rest, out)?,
            };
            let Some(taken) = taken else {
                break;
            };
            at += taken;
            if self.mode == Mode::Tls {
                if !out.await_protocol(AppProtocol::Tls) {
                    self.event(ToClient, Odd::NotChanged, out);
                }
                break;
            }
        }
        Ok(Taken::all(at))
    }

    fn free(&mut self, heap: &mut Heap) {
        heap.clear(&mut self.helo);
        if let Some(mime) = &mut self.mime {
            mime.free(heap);
        }
    }
}

impl Smtp {
    fn event(&mut self, direction: Direction, odd: Odd, out: &mut Output<'_>) {
        let bit = 1u32 << odd as u8;
        if self.begun && self.given & bit == 0 {
            self.given |= bit;
            let event = AppEvent::of(AppProtocol::Smtp, odd as u8);
            out.event(self.tx, direction, event);
        }
    }

    /// Takes one line or piece of what the client says.
    fn client(&mut self, bytes: &[u8], out: &mut Output<'_>) -> Option<usize> {
        if let Some(passed) = self.discard.take(ToServer.index(), bytes) {
            return Some(passed);
        }
        match self.mode {
            Mode::Chunk { rest, last } => self.chunk(bytes, rest, last, out),
            Mode::Mail => self.mail_line(bytes, out),
            Mode::Commands | Mode::Tls => {
                let line = take_line(bytes, LINE_MAX)?;
                let taken = line.len();
                let truncated = !line.ends_with(b"\n");
                self.begin_transaction(line, out);
                // A line is two frames in Suricata, one with its end and one without: rules alert
                // on both.
                out.frame(Field::FrameSmtpCommandLine, ToServer, line);
                out.frame(Field::FrameSmtpCommandLine, ToServer, without_end(line));
                self.command_line(without_end(line), out);
                if truncated {
                    self.discard.begin(ToServer.index());
                    self.event(ToServer, Odd::Truncated, out);
                }
                Some(taken)
            }
        }
    }

    fn begin_transaction(&mut self, line: &[u8], out: &mut Output<'_>) {
        // These end what there was.
        let ends = starts_with(line, b"rset") || starts_with(line, b"quit");
        if !self.begun || (self.done && !ends) {
            self.tx = out.open();
            self.begun = true;
            self.done = false;
            self.has_data = false;
            self.has_sender = false;
            self.has_recipient = false;
            self.given = 0;
            self.give_helo(out);
        }
        if !self.greeted {
            self.event(ToServer, Odd::NoWelcome, out);
        }
    }

    /// What the client called itself belongs to each of its mails.
    fn give_helo(&mut self, out: &mut Output<'_>) {
        if self.helo.is_empty() {
            return;
        }
        let mut name = std::mem::take(&mut out.shared.scratch);
        name.clear();
        name.extend_from_slice(out.shared.heap.get(&self.helo));
        out.field(self.tx, Field::SmtpHelo, ToServer, &name);
        out.shared.scratch = name;
    }

    fn command_line(&mut self, line: &[u8], out: &mut Output<'_>) {
        if std::mem::take(&mut self.ragged_chunk)
            && !line.first().is_some_and(u8::is_ascii_alphabetic)
        {
            self.event(ToServer, Odd::ChunkLength, out);
        }
        self.command = Command::Other;
        if starts_with(line, b"starttls") {
            self.command = Command::StartTls;
        } else if starts_with(line, b"data") {
            self.command = Command::Data;
            if self.has_data {
                self.event(ToServer, Odd::Unparsable, out);
                return;
            }
            self.has_data = true;
            self.mime = mail_of(out);
            if out.wants(Field::FrameSmtpData) {
                self.frame = Some(out.begin_frame(Field::FrameSmtpData, ToServer));
            }
            if self.pipelining {
                self.mode = Mode::Mail;
            }
        } else if starts_with(line, b"bdat") {
            self.begin_chunk(line, out);
        } else if starts_with(line, b"helo") || starts_with(line, b"ehlo") {
            self.hello(line, out);
            if self.has_sender || self.has_recipient || self.has_data {
                // RFC 5321 4.1.4: within a mail it is RSET.
                self.command = Command::Reset;
            }
        } else if starts_with(line, b"mail from") {
            match self.has_sender {
                true => self.event(ToServer, Odd::Duplicate, out),
                false => out.field(self.tx, Field::SmtpMailFrom, ToServer, argument(line, 9)),
            }
            self.has_sender = true;
        } else if starts_with(line, b"rcpt to") {
            out.field(self.tx, Field::SmtpRcptTo, ToServer, argument(line, 7));
            self.has_recipient = true;
        } else if starts_with(line, b"rset") {
            self.command = Command::Reset;
        } else if starts_with(line, b"quit") {
            self.command = Command::Quit;
        }
        self.wait_for_reply(self.command, out);
    }

    fn wait_for_reply(&mut self, command: Command, out: &mut Output<'_>) {
        // RFC 2920 section 3.1: these end a group of commands.
        if matches!(self.waiting.last(), Some(Command::StartTls | Command::Data)) {
            self.event(ToServer, Odd::PipelinedSequence, out);
        }
        self.waiting.push(command);
    }

    fn hello(&mut self, line: &[u8], out: &mut Output<'_>) {
        if !self.helo.is_empty() {
            self.event(ToServer, Odd::Duplicate, out);
            return;
        }
        // Without room for it the name is not seen.
        let _ = out.shared.heap.append(&mut self.helo, argument(line, 4));
        self.give_helo(out);
    }

    /// `BDAT size [LAST]` (RFC 3030 section 2).
    fn begin_chunk(&mut self, line: &[u8], out: &mut Output<'_>) {
        let Some((rest, last)) = chunk_size(line.get(4..).unwrap_or(&[])) else {
            // The server refuses it, and all goes on.
            self.event(ToServer, Odd::InvalidBdat, out);
            return;
        };
        self.command = Command::Bdat;
        self.has_data = true;
        if self.mime.is_none() {
            self.mime = mail_of(out);
        }
        self.mode = Mode::Chunk { rest, last };
        if rest == 0 {
            self.end_chunk(last, out);
        }
    }

    /// Takes a line, or what there is of it, of a chunk.
    fn chunk(
        &mut self,
        bytes: &[u8],
        rest: u32,
        last: bool,
        out: &mut Output<'_>,
    ) -> Option<usize> {
        let inside = bytes.get(..bytes.len().min(rest as usize)).unwrap_or(bytes);
        let line = match take_line(inside, PIECE_MAX) {
            Some(line) => line,
            None if inside.len() == rest as usize => inside,
            None => return None,
        };
        self.mail_piece(line, out);
        let rest = rest - line.len() as u32;
        self.mode = Mode::Chunk { rest, last };
        if rest == 0 {
            self.ragged_chunk = !line.ends_with(b"\n");
            self.end_chunk(last, out);
        }
        Some(line.len())
    }

    fn end_chunk(&mut self, last: bool, out: &mut Output<'_>) {
        self.mode = Mode::Commands;
        if last {
            self.end_mail(out);
        }
    }

    /// Takes a line, or a piece of a long one, of the mail behind DATA.
    fn mail_line(&mut self, bytes: &[u8], out: &mut Output<'_>) -> Option<usize> {
        let in_headers = self.mime.as_ref().is_some_and(Mime::is_in_headers);
        let limit = if in_headers { LINE_MAX } else { PIECE_MAX };
        let line = take_line(bytes, limit)?;
        if let Some((tx, frame)) = self.frame {
            out.grow(tx, frame, line);
        }
        if without_end(line) == b"." && line.len() > 1 {
            self.wait_for_reply(Command::Mail, out);
            self.mode = Mode::Commands;
            self.end_mail(out);
            return Some(line.len());
        }
        self.mail_piece(line, out);
        if in_headers && !line.ends_with(b"\n") {
            self.discard.begin(ToServer.index());
            self.event(ToServer, Odd::Truncated, out);
        }
        Some(line.len())
    }

    fn mail_piece(&mut self, line: &[u8], out: &mut Output<'_>) {
        let tx = self.tx;
        let odd = match &mut self.mime {
            Some(mime) => mime.line(tx, line, out),
            None => 0,
        };
        for (bit, event) in MIME_EVENTS {
            if odd & bit != 0 {
                self.event(ToServer, event, out);
            }
        }
    }

    fn end_mail(&mut self, out: &mut Output<'_>) {
        if let Some(mut mime) = self.mime.take() {
            mime.complete(self.tx, out);
        }
        self.end_transaction(out);
    }

    fn end_transaction(&mut self, out: &mut Output<'_>) {
        if let Some((tx, _)) = self.frame.take() {
            out.complete(tx);
        }
        if let Some(mut mime) = self.mime.take() {
            mime.free(out.heap());
        }
        self.done = true;
        out.progress(self.tx, ToServer, Progress::Head);
        out.complete(self.tx);
    }

    /// Takes one line of what the server says.
    fn server(&mut self, bytes: &[u8], out: &mut Output<'_>) -> Result<Option<usize>, Broken> {
        if let Some(passed) = self.discard.take(ToClient.index(), bytes) {
            return Ok(Some(passed));
        }
        let Some(line) = take_line(bytes, LINE_MAX) else {
            return Ok(None);
        };
        out.frame(Field::FrameSmtpResponseLine, ToClient, line);
        if line != b"\n" {
            self.reply(without_end(line), out)?;
        }
        if !line.ends_with(b"\n") {
            self.discard.begin(ToClient.index());
            self.event(ToClient, Odd::Truncated, out);
        }
        Ok(Some(line.len()))
    }

    /// A line of a reply. One without a known code ends the reading of the flow, as in Suricata: who
    /// answers so is no server of SMTP.
    fn reply(&mut self, line: &[u8], out: &mut Output<'_>) -> Result<(), Broken> {
        let code = line.get(..3).and_then(decimal).unwrap_or(0) as u16;
        // 555 stands alone behind its hundreds.
        if !CODES.contains(&code) && code != 555 {
            self.event(ToClient, Odd::InvalidReply, out);
            return Err(Broken);
        }
        self.in_reply = line.get(3) == Some(&b'-');
        let Some(command) = self.waiting.first() else {
            if !self.greeted {
                self.greeted = !self.in_reply;
                if code != 220 {
                    self.event(ToClient, Odd::InvalidReply, out);
                }
            }
            return Ok(());
        };
        self.answer(command, code, out);
        if !self.in_reply {
            self.waiting.pop();
        } else if self.greeted && code == 250 {
            let word = line.get(4..).unwrap_or(&[]);
            self.pipelining |= word.eq_ignore_ascii_case(b"pipelining");
        }
        Ok(())
    }

    /// What a reply to a command changes.
    fn answer(&mut self, command: Command, code: u16, out: &mut Output<'_>) {
        match command {
            Command::StartTls if code == 220 => {
                self.mode = Mode::Tls;
                self.end_transaction(out);
            }
            Command::StartTls => self.event(ToClient, Odd::TlsRejected, out),
            Command::Data if code == 354 => self.mode = Mode::Mail,
            Command::Data => {
                if self.pipelining && self.mode == Mode::Mail {
                    self.mode = Mode::Commands;
                }
                self.event(ToClient, Odd::DataRejected, out);
            }
            Command::Reset if code == 250 && !self.in_reply => self.end_transaction(out),
            Command::Quit if code == 221 && !self.in_reply => self.end_transaction(out),
            _ => {}
        }
    }
}

/// What follows a command and one more byte: the next word.
fn argument(line: &[u8], command: usize) -> &[u8] {
    let rest = line.get(command + 1..).unwrap_or(&[]);
    let blanks = rest.iter().take_while(|b| **b == b' ').count();
    let word = rest.get(blanks..).unwrap_or(&[]);
    let end = memchr(b' ', word).unwrap_or(word.len());
    word.get(..end).unwrap_or(&[])
}

/// Size and `LAST` behind `BDAT`, nothing else.
fn chunk_size(words: &[u8]) -> Option<(u32, bool)> {
    let mut words = words
        .strip_prefix(b" ")?
        .split(|b| *b == b' ')
        .filter(|word| !word.is_empty());
    let size = decimal(words.next()?)?;
    match (words.next(), words.next()) {
        (None, _) => Some((size, false)),
        (Some(word), None) if word.eq_ignore_ascii_case(b"last") => Some((size, true)),
        _ => None,
    }
}

/// A new mail's reader, unless settings say that mails are not looked into.
fn mail_of(out: &Output<'_>) -> Option<Mime> {
    (out.shared.limits.parsers.mail.decode).then(Mime::new)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, run, run_missing, same_for_every_cut, survives_damage};
    use super::*;

    const PLACE: Place = Place {
        transport: Transport::Tcp,
        server_port: 25,
    };

    #[test]
    fn settings_say_what_is_seen_of_a_mail() {
        let mail: &[u8] = b"From: a\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
            --b\r\nContent-Type: text/plain\r\n\r\nsee http://x.org/1 now\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\
            Content-Disposition: attachment; filename=f\r\n\r\nQUJDREVG\r\n--b--\r\n.\r\n";
        let of = |settings: &[(&str, &str)]| {
            let talk = with_mail(mail);
            let pieces: Vec<_> = talk.iter().map(|(way, bytes)| (*way, 0, *bytes)).collect();
            run_missing(PLACE, settings, &pieces).join("\n")
        };
        let usual = of(&[]);
        for seen in ["email.from", "email.url \"x.org/1\"", "ABCDEF"] {
            assert!(usual.contains(seen), "{seen} in {usual}");
        }
        let key = |name: &str| format!("app-layer.protocols.smtp.mime.{name}");
        assert!(!of(&[(&key("decode-mime"), "no")]).contains("email."));
        assert!(!of(&[(&key("decode-base64"), "no")]).contains("ABCDEF"));
        assert!(!of(&[(&key("extract-urls"), "no")]).contains("email.url"));
        let whole = of(&[(&key("log-url-scheme"), "yes")]);
        assert!(whole.contains("email.url \"http://x.org/1\""));
        let schemes = key("extract-urls-schemes");
        assert!(!of(&[(&schemes, "ftp,https")]).contains("email.url"));
        assert!(of(&[(&schemes, "ftp,http")]).contains("email.url \"x.org/1\""));
    }

    /// A conversation up to the mail.
    fn with_mail(mail: &[u8]) -> Vec<(Direction, &[u8])> {
        vec![
            (ToClient, b"220 mx.example.com ESMTP\r\n"),
            (ToServer, b"EHLO client.example.com\r\n"),
            (ToClient, b"250-mx.example.com\r\n250 OK\r\n"),
            (ToServer, b"MAIL FROM:<a@example.com> SIZE=100\r\n"),
            (ToClient, b"250 OK\r\n"),
            (
                ToServer,
                b"RCPT TO:<b@example.com>\r\nRCPT TO: <c@example.com>\r\n",
            ),
            (ToClient, b"250 OK\r\n250 OK\r\n"),
            (ToServer, b"DATA\r\n"),
            (ToClient, b"354 go on\r\n"),
            (ToServer, mail),
            (ToClient, b"250 OK\r\n"),
            (ToServer, b"QUIT\r\n"),
            (ToClient, b"221 bye\r\n"),
        ]
    }

    /// A mail of three files in three codings.
    const PARTS: &[u8] =
        b"Content-Type: multipart/mixed; boundary=\"xx\"\r\n\r\npreamble\r\n--xx\r\n\
        Content-Disposition: attachment; filename=\"a.exe\"\r\n\
        Content-Transfer-Encoding: base64\r\n\r\nTVqQ\r\nAAMAAAA\r\n--xx\r\n\
        Content-Type: text/x-c; name=b.c\r\n\
        Content-Transfer-Encoding: quoted-printable\r\n\r\na=3Db=\r\nc\r\n\r\n--xx\r\n\
        Content-Disposition: attachment; filename=c\r\n\r\nplain\r\ntext\r\n--xx--\r\n\
        epilogue\r\n.\r\n";

    const ENVELOPE: &[&str] = &[
        "tx 0 ToServer smtp.helo \"client.example.com\"",
        "tx 0 ToServer smtp.mail_from \"<a@example.com>\"",
        "tx 0 ToServer smtp.rcpt_to \"<b@example.com>\"",
        "tx 0 ToServer smtp.rcpt_to \"<c@example.com>\"",
    ];

    #[test]
    fn a_mail_is_a_transaction() {
        let mail = b"From: A <a@example.com>\r\nSubject: long\r\n  folded\r\nReceived: 1\r\n\
            Received: 2\r\n\r\nsee http://example.com/x?y and HTTP://b.org\r\n.\r\n";
        let (protocol, lines) = same_for_every_cut(PLACE, &with_mail(mail));
        assert_eq!(protocol, AppProtocol::Smtp);
        let rest = [
            "tx 0 ToServer email.from \"A <a@example.com>\"",
            "tx 0 ToServer email.subject \"long folded\"",
            "tx 0 ToServer email.received \"1\"",
            "tx 0 ToServer email.received \"2\"",
            "tx 0 ToServer email.url \"example.com/x?y\"",
            "tx 0 ToServer email.url \"b.org\\r\\n\"",
            // Of `see http://example.com/x?y and HTTP://b.org\r\n`.
            "tx 0 ToServer email.body_md5 \"181158766bd50f3052a598b97c73ebfa\"",
        ];
        assert_eq!(lines, [ENVELOPE, &rest].concat());
    }

    #[test]
    fn attachments_are_decoded_as_they_come() {
        let mail = PARTS;
        let (_, lines) = same_for_every_cut(PLACE, &with_mail(mail));
        let rest = [
            "tx 0 ToServer file.name \"a.exe\"",
            "tx 0 ToServer file.data \"MZ\\x90\\x00\\x03\\x00\\x00\\x00\"",
            "tx 0 ToServer filesize 8",
            "tx 0 ToServer file.name \"b.c\"",
            "tx 0 ToServer file.data \"a=bc\\r\\n\"",
            "tx 0 ToServer filesize 6",
            "tx 0 ToServer file.name \"c\"",
            "tx 0 ToServer file.data \"plain\\r\\ntext\"",
            "tx 0 ToServer filesize 11",
            "tx 0 ToServer email.body_md5 \"6eabc8880d1289c83940c32d56726292\"",
        ];
        assert_eq!(lines, [ENVELOPE, &rest].concat());
    }

    #[test]
    fn chunks_make_a_mail_and_reset_ends_it() {
        let talk: &[(Direction, &[u8])] = &[
            (ToClient, b"220 mx ESMTP\r\n"),
            (ToServer, b"EHLO c\r\n"),
            (ToClient, b"250 OK\r\n"),
            (
                ToServer,
                b"BDAT 14\r\nSubject: one\r\nBDAT 8 LAST\r\n\r\nbody\r\n",
            ),
            (ToClient, b"250 OK\r\n250 OK\r\n"),
            (ToServer, b"MAIL FROM:<x>\r\nRSET\r\nMAIL FROM:<y>\r\n"),
            (ToClient, b"250 OK\r\n250 OK\r\n250 OK\r\n"),
        ];
        let (_, lines) = same_for_every_cut(PLACE, talk);
        let expected = [
            "tx 0 ToServer smtp.helo \"c\"",
            "tx 0 ToServer email.subject \"one\"",
            // Of `body\r\n`.
            "tx 0 ToServer email.body_md5 \"89dd3590116a70b579661a2d8593bb2f\"",
            "tx 1 ToServer smtp.helo \"c\"",
            "tx 1 ToServer smtp.mail_from \"<x>\"",
            "tx 1 ToServer app-layer-event Some((\"smtp\", \"duplicate_fields\"))",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_goodbye_in_lines_ends_what_was_begun() {
        let talk: &[(Direction, &[u8])] = &[
            (ToClient, b"220-mx\r\n220-more\r\n220 ESMTP\r\n"),
            (ToServer, b"HELO c\r\n"),
            (ToClient, b"250-mx\r\n250\r\n"),
            (ToServer, b"QUIT\r\n"),
            (ToClient, b"221-good\r\n"),
            (ToServer, b"NOOP\r\n"),
            (ToClient, b"221 bye\r\n250 OK\r\n"),
            (ToServer, b"MAIL FROM:<y>\r\n"),
        ];
        let (_, lines) = same_for_every_cut(PLACE, talk);
        let expected = [
            "tx 0 ToServer smtp.helo \"c\"",
            "tx 1 ToServer smtp.helo \"c\"",
            "tx 1 ToServer smtp.mail_from \"<y>\"",
        ];
        assert_eq!(lines, expected, "a code alone ends a reply, too");
    }

    #[test]
    fn a_greeting_within_a_mail_ends_it() {
        let talk: &[(Direction, &[u8])] = &[
            (ToClient, b"220 mx ESMTP\r\n"),
            (ToServer, b"EHLO c\r\n"),
            (ToClient, b"250 OK\r\n"),
            (ToServer, b"MAIL FROM:<x>\r\n"),
            (ToClient, b"250 OK\r\n"),
            (ToServer, b"EHLO c\r\n"),
            (ToClient, b"250 OK\r\n"),
            (ToServer, b"MAIL FROM:<y>\r\n"),
            (ToClient, b"250 OK\r\n"),
        ];
        let (_, lines) = same_for_every_cut(PLACE, talk);
        let expected = [
            "tx 0 ToServer smtp.helo \"c\"",
            "tx 0 ToServer smtp.mail_from \"<x>\"",
            "tx 0 ToServer app-layer-event Some((\"smtp\", \"duplicate_fields\"))",
            "tx 1 ToServer smtp.helo \"c\"",
            "tx 1 ToServer smtp.mail_from \"<y>\"",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn what_is_no_chunk_is_told_and_the_session_goes_on() {
        let talk: &[(Direction, &[u8])] = &[
            (ToClient, b"220 mx ESMTP\r\n"),
            (ToServer, b"HELO c\r\n"),
            (ToClient, b"250 mx\r\n"),
            (ToServer, b"BDAT 1x\r\n"),
            (ToClient, b"501 what\r\n"),
            (ToServer, b"BDAT 3 LAST more\r\n"),
            (ToClient, b"501 what\r\n"),
            (ToServer, b"MAIL FROM:<x>\r\n"),
        ];
        let (_, lines) = same_for_every_cut(PLACE, talk);
        let told = "tx 0 ToServer app-layer-event Some((\"smtp\", \"invalid_bdat\"))";
        assert!(lines.iter().any(|line| line == told), "{lines:?}");
        assert!(lines.iter().any(|line| line.contains("smtp.mail_from")));
    }

    #[test]
    fn the_greeting_is_read_first_on_any_port() {
        let place = Place {
            server_port: 587,
            ..PLACE
        };
        let (protocol, lines) = same_for_every_cut(place, &with_mail(b"\r\n.\r\n"));
        assert_eq!(protocol, AppProtocol::Smtp);
        assert_eq!(lines, ENVELOPE, "no event tells of a missing greeting");
    }

    /// What a conversation gives whose client says this once TLS may begin.
    fn after_starttls(said: &[u8]) -> (AppProtocol, Vec<String>) {
        let talk: &[(Direction, &[u8])] = &[
            (ToClient, b"220 mx ESMTP\r\n"),
            (ToServer, b"EHLO c\r\n"),
            (ToClient, b"250-mx\r\n250 STARTTLS\r\n"),
            (ToServer, b"STARTTLS\r\n"),
            (ToClient, b"220 go ahead\r\n"),
            (ToServer, said),
        ];
        run(PLACE, talk)
    }

    #[test]
    fn tls_follows_starttls() {
        let (protocol, lines) = after_starttls(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00");
        assert_eq!(protocol, AppProtocol::Tls);
        assert_eq!(lines[0], "tx 0 ToServer smtp.helo \"c\"");
        assert!(lines.iter().all(|line| !line.contains("smtp.mail")));
    }

    #[test]
    fn text_behind_starttls_is_told() {
        for said in [&b"MAIL FROM:<a@b>\r\n"[..], b"GET / HTTP/1.1\r\n\r\n"] {
            let (_, lines) = after_starttls(said);
            for name in ["no_tls_after_starttls", "unexpected_protocol"] {
                let told = |line: &String| {
                    line.starts_with("flow ToServer") && line.contains(&format!("applayer_{name}"))
                };
                assert!(lines.iter().any(told), "{name}: {lines:?}");
            }
        }
    }

    /// Suricata 8.0.6 (`SMTPProcessReply`): the parser ends with an error.
    #[test]
    fn nothing_is_read_behind_a_reply_without_a_code() {
        let told = |reply: &[u8]| {
            let mut talk = with_mail(b"Subject: x\r\n\r\n.\r\n");
            talk.insert(4, (ToClient, reply));
            run(PLACE, &talk).1.join("\n")
        };
        let good = told(b"250-more\r\n");
        assert!(good.contains("email.subject") && !good.contains("invalid_reply"));
        let bad = told(b"hello\r\n");
        assert!(
            bad.contains("invalid_reply") && !bad.contains("email.subject"),
            "{bad}"
        );
    }

    /// Suricata 8.0.6 (`AppLayerRequestProtocolChange`): while a change is not over, no other begins.
    #[test]
    fn what_is_read_first_behind_a_change_does_not_change_again() {
        let switched: &[u8] = b"HTTP/1.1 101\r\nUpgrade: h2c\r\n\r\n";
        let talk: &[(Direction, &[u8])] = &[
            (ToClient, b"220 mx\r\n"),
            (ToServer, b"EHLO\r\nSTARTTLS\r\n"),
            (ToClient, b"220 hi\r\n220 go ahead\r\n"),
            (ToClient, switched),
        ];
        let (protocol, lines) = run(PLACE, talk);
        assert_eq!(protocol, AppProtocol::Http);
        let told = |name: &str| lines.iter().any(|line| line.contains(name));
        assert!(told("failed_protocol_change"), "{lines:?}");
        assert!(told("applayer_unexpected_protocol"), "{lines:?}");
    }

    #[test]
    fn work_is_linear_in_a_mail_without_lines() {
        for size in [100_000, 200_000, 400_000] {
            let mut mail = b"Subject: x\r\n\r\n".to_vec();
            mail.resize(size, b'h');
            mail.extend(b"\r\n.\r\n");
            let (_, lines) = run(PLACE, &with_mail(&mail));
            let event = "tx 0 ToServer app-layer-event Some((\"smtp\", \"mime_long_line\"))";
            assert!(lines.contains(&event.to_owned()), "{lines:?}");
        }
    }

    #[test]
    fn parts_within_parts_end_at_the_bound() {
        let mut mail = Vec::new();
        for depth in 0..100 {
            mail.extend(
                format!("Content-Type: multipart/mixed; boundary=b{depth}\r\n\r\n").bytes(),
            );
            mail.extend(format!("--b{depth}\r\n").bytes());
        }
        mail.extend(b".\r\n");
        let (_, lines) = same_for_every_cut(PLACE, &with_mail(&mail));
        let event = "tx 0 ToServer app-layer-event Some((\"smtp\", \"mime_parse_failed\"))";
        assert!(lines.contains(&event.to_owned()), "{lines:?}");
    }

    #[test]
    fn damage_is_survived() {
        survives_damage(PLACE, &with_mail(PARTS), 400);
    }
}
