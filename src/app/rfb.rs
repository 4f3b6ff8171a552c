//! RFB, which VNC speaks (RFC 6143 section 7): the handshake, up to the name of the desktop. One
//! transaction a flow; what follows is not read.

use super::field::{Field, Progress};
use super::output::{AppEvent, Output, TxId};
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use crate::packet::Direction::{self, ToClient, ToServer};

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::Rfb,
    probe,
    over: &[Transport::Tcp],
    fields: &[
        Field::RfbName,
        Field::RfbSectype,
        Field::RfbSecresult,
        Field::FrameRfbPdu,
    ],
    events: &[
        "unimplemented_security_type",
        "unknown_security_result",
        "malformed_message",
        "confused_state",
    ],
};

const UNIMPLEMENTED: AppEvent = AppEvent::of(AppProtocol::Rfb, 0);
const UNKNOWN_RESULT: AppEvent = AppEvent::of(AppProtocol::Rfb, 1);
const MALFORMED: AppEvent = AppEvent::of(AppProtocol::Rfb, 2);
const CONFUSED: AppEvent = AppEvent::of(AppProtocol::Rfb, 3);

/// Bytes of a version message.
const VERSION: usize = 12;
/// Bytes of the server's init message before the name.
const INIT: usize = 24;
/// Bytes of a name or a reason.
const TEXT_MAX: usize = 16 << 10;

fn probe(probe: &Probe<'_>) -> Guess {
    let shape = b"RFB ddd.ddd\n";
    let fits = probe
        .bytes
        .iter()
        .zip(shape)
        .all(|(byte, want)| match want {
            b'd' => byte.is_ascii_digit(),
            want => byte == want,
        });
    match (fits, probe.bytes.len() >= VERSION) {
        (false, _) => Guess::No,
        (true, true) => Guess::Yes,
        (true, false) => Guess::More,
    }
}

/// What comes next, and from whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Step {
    #[default]
    ServerVersion,
    ClientVersion,
    /// Version 3.3: the server chooses.
    ServerType,
    Types,
    Selection,
    Challenge,
    Response,
    Result,
    Reason,
    ClientInit,
    ServerInit,
    Over,
}

impl Step {
    fn from(self) -> Direction {
        match self {
            Step::ClientVersion | Step::Selection | Step::Response | Step::ClientInit => ToServer,
            _ => ToClient,
        }
    }
}

/// A parser of the handshake.
#[derive(Debug, Default)]
pub struct Rfb {
    step: Step,
    tx: TxId,
    minor: u8,
}

impl Parse for Rfb {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        if input.gap > 0 {
            return Err(Broken);
        }
        let mut at = 0;
        // Each round takes a message of a byte at least, or leaves.
        while let Some(rest) = input.bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if self.step == Step::Over {
                out.done();
                return Ok(Taken::all(input.bytes.len()));
            }
            if self.step.from() != input.direction {
                // It is the other side's turn; but no side says so much ahead of it.
                if rest.len() > early_max(input.direction) {
                    self.give_up(input.direction, CONFUSED, out);
                    continue;
                }
                break;
            }
            let Some(length) = self.length(rest) else {
                return Ok(Taken::until(at, rest.len() + 1));
            };
            if length > INIT + TEXT_MAX {
                self.give_up(input.direction, MALFORMED, out);
                continue;
            }
            let Some(message) = rest.get(..length) else {
                return Ok(Taken::until(at, length));
            };
            self.read(message, input.direction, out);
            out.frame(Field::FrameRfbPdu, input.direction, message);
            at += length;
        }
        Ok(Taken::all(at))
    }
}

/// Bytes that a side can say before it has heard the other one.
fn early_max(direction: Direction) -> usize {
    match direction {
        // Version, choice, response and init.
        ToServer => VERSION + 1 + 16 + 1,
        // Version, types, challenge, result and init, without the name of the desktop.
        ToClient => VERSION + 256 + 16 + 4 + INIT,
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes(word.try_into().ok()?))
}

impl Rfb {
    /// Bytes of the message that begins here; None: too early to say.
    fn length(&self, bytes: &[u8]) -> Option<usize> {
        Some(match self.step {
            Step::ServerVersion | Step::ClientVersion => VERSION,
            Step::ServerType | Step::Result => 4,
            Step::Types => 1 + usize::from(*bytes.first()?),
            Step::Selection | Step::ClientInit => 1,
            Step::Challenge | Step::Response => 16,
            Step::Reason => (word(bytes, 0)? as usize).saturating_add(4),
            Step::ServerInit => (word(bytes, INIT - 4)? as usize).saturating_add(INIT),
            Step::Over => bytes.len(),
        })
    }

    fn read(&mut self, message: &[u8], direction: Direction, out: &mut Output<'_>) {
        self.step = match self.step {
            Step::ServerVersion => {
                self.tx = out.open();
                self.tell(Field::RfbServerVersion, message, direction, out);
                Step::ClientVersion
            }
            Step::ClientVersion => {
                self.minor = message.get(10).copied().unwrap_or(0);
                self.tell(Field::RfbClientVersion, message, direction, out);
                match message.starts_with(b"RFB 003.003") {
                    true => Step::ServerType,
                    false => Step::Types,
                }
            }
            Step::Types if message == [0] => Step::Reason,
            Step::Types => Step::Selection,
            Step::ServerType => {
                let kind = word(message, 0).unwrap_or(0);
                self.chosen(kind, direction, out)
            }
            Step::Selection => {
                let kind = u32::from(message.first().copied().unwrap_or(0));
                self.chosen(kind, direction, out)
            }
            Step::Challenge => {
                self.tell(Field::RfbChallenge, message, direction, out);
                Step::Response
            }
            Step::Response => {
                self.tell(Field::RfbResponse, message, direction, out);
                Step::Result
            }
            Step::Result => {
                let result = word(message, 0).unwrap_or(0);
                out.number(self.tx, Field::RfbSecresult, ToClient, u64::from(result));
                match result {
                    0 => Step::ClientInit,
                    1 => Step::Reason,
                    _ => return self.give_up(direction, UNKNOWN_RESULT, out),
                }
            }
            Step::ClientInit => {
                let shared = u64::from(message != [0]);
                out.number_for_events(self.tx, Field::RfbShared, direction, shared);
                Step::ServerInit
            }
            Step::ServerInit => {
                let (init, name) = message.split_at(INIT.min(message.len()));
                self.tell(Field::RfbInit, init, direction, out);
                out.field(self.tx, Field::RfbName, ToClient, name);
                return self.finish(out);
            }
            Step::Reason => {
                let reason = message.get(4..).unwrap_or(&[]);
                self.tell(Field::RfbReason, reason, direction, out);
                return self.finish(out);
            }
            Step::Over => return self.finish(out),
        };
    }

    /// Tells what events alone show.
    fn tell(&self, field: Field, bytes: &[u8], direction: Direction, out: &mut Output<'_>) {
        if out.wants(field) {
            out.field(self.tx, field, direction, bytes);
        }
    }

    /// A security type was chosen (section 7.1.2).
    fn chosen(&mut self, kind: u32, direction: Direction, out: &mut Output<'_>) -> Step {
        out.number(self.tx, Field::RfbSectype, ToServer, u64::from(kind));
        match kind {
            0 => Step::Reason,
            // Version 3.8 says so even when there is nothing to prove.
            1 if self.minor == b'8' => Step::Result,
            1 => Step::ClientInit,
            2 => Step::Challenge,
            _ => {
                self.give_up(direction, UNIMPLEMENTED, out);
                Step::Over
            }
        }
    }

    fn give_up(&mut self, direction: Direction, event: AppEvent, out: &mut Output<'_>) {
        out.event(self.tx, direction, event);
        self.finish(out);
    }

    fn finish(&mut self, out: &mut Output<'_>) {
        self.step = Step::Over;
        for direction in [ToServer, ToClient] {
            out.progress(self.tx, direction, Progress::Complete);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, for_events, same_for_every_cut};
    use super::*;

    #[test]
    fn a_handshake_is_a_transaction() {
        let place = Place {
            transport: Transport::Tcp,
            server_port: 5900,
        };
        let mut init = vec![0u8; 20];
        init.extend(b"\0\0\0\x03box");
        let talk: &[(Direction, &[u8])] = &[
            (ToClient, b"RFB 003.008\n"),
            (ToServer, b"RFB 003.008\n"),
            (ToClient, b"\x02\x01\x02"),
            (ToServer, b"\x02"),
            (ToClient, b"0123456789abcdef"),
            (ToServer, b"0123456789abcdef"),
            (ToClient, b"\0\0\0\0"),
            (ToServer, b"\x01"),
            (ToClient, &init),
            (ToServer, b"anything"),
        ];
        let (protocol, lines) = same_for_every_cut(place, talk);
        assert_eq!(protocol, AppProtocol::Rfb);
        assert_eq!(
            lines,
            [
                "tx 0 ToServer rfb.sectype 2",
                "tx 0 ToClient rfb.secresult 0",
                "tx 0 ToClient rfb.name \"box\"",
            ]
        );
        let told = for_events(place, talk);
        let fields: Vec<_> = told
            .iter()
            .filter_map(|line| line.split(' ').nth(3))
            .collect();
        assert_eq!(
            fields,
            [
                "-rfb.server_version",
                "-rfb.client_version",
                "-rfb.challenge",
                "-rfb.response",
                "-rfb.shared",
                "-rfb.init",
            ]
        );
        assert!(
            told.contains(&"tx 0 ToServer -rfb.shared 1".to_string()),
            "{told:?}"
        );
    }

    #[test]
    fn a_side_that_says_all_ahead_of_the_other_is_told() {
        let place = Place {
            transport: Transport::Tcp,
            server_port: 5900,
        };
        let early = |count: usize| {
            let client = [b"RFB 003.008\n".as_slice(), &vec![b'x'; count]].concat();
            let talk: &[(Direction, &[u8])] = &[
                (ToClient, b"RFB 003.008\n"),
                (ToServer, &client),
                (ToServer, b"y"),
            ];
            let (_, lines) = same_for_every_cut(place, talk);
            lines.iter().any(|line| line.contains("confused_state"))
        };
        assert!(!early(18));
        assert!(early(31));
    }

    #[test]
    fn what_was_said_too_early_is_read_in_its_turn() {
        let place = Place {
            transport: Transport::Tcp,
            server_port: 5900,
        };
        let talk: &[(Direction, &[u8])] = &[
            (ToServer, b"RFB 003.008\n\x02"),
            (ToClient, b"RFB 003.008\n\x01\x02"),
        ];
        let (_, lines) = same_for_every_cut(place, talk);
        assert!(
            lines.contains(&"tx 0 ToServer rfb.sectype 2".to_string()),
            "{lines:?}"
        );
    }
}
