//! Telnet (RFC 854): told by its port. What is said is cut into units for the frames of rules - a
//! control sequence, a prompt, a line - and not read beyond that; without such rules it is passed
//! over.

use super::field::Field;
use super::output::Output;
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use crate::packet::Direction;

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::Telnet,
    probe,
    over: &[Transport::Tcp],
    fields: &FRAMES,
    events: &[],
};

const FRAMES: [Field; 3] = [
    Field::FrameTelnetPdu,
    Field::FrameTelnetCtl,
    Field::FrameTelnetData,
];

const PORT: u16 = 23;
/// Bytes of a unit; a longer one is cut.
const UNIT_MAX: usize = 4096;

/// Commands (RFC 854, "TELNET command structure").
mod command {
    pub const ESCAPE: u8 = 255;
    pub const BEGIN: u8 = 250;
    pub const OPTIONS: std::ops::RangeInclusive<u8> = 251..=254;
    /// Ends what `BEGIN` began.
    pub const END: &[u8] = b"\xff\xf0";
}

/// Text of any kind may come first: the port decides.
fn probe(probe: &Probe<'_>) -> Guess {
    match (probe.server_port == PORT, probe.bytes.len() > 1) {
        (false, _) => Guess::No,
        (true, true) => Guess::Yes,
        (true, false) => Guess::More,
    }
}

/// How far the login has come; prompts end where lines do not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Login {
    #[default]
    Asking,
    Asked,
    Named,
    AskedPassword,
    Answered,
    Over,
}

/// Cuts the units.
#[derive(Debug, Default)]
pub struct Telnet {
    login: Login,
}

impl Parse for Telnet {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        if !FRAMES.iter().any(|field| out.wants(*field)) {
            out.done();
            return Ok(Taken::all(input.bytes.len()));
        }
        let mut at = 0;
        // Every round takes a byte at least.
        while let Some(rest) = input.bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let prompts = matches!(self.login, Login::Asking | Login::Named);
            let prompts = prompts && input.direction == Direction::ToClient;
            let Some(length) = unit(rest, prompts) else {
                return Ok(Taken::until(at, rest.len() + 1));
            };
            let unit = rest.get(..length).unwrap_or(rest);
            let control = rest.first() == Some(&command::ESCAPE);
            let kind = FRAMES[if control { 1 } else { 2 }];
            out.frame(Field::FrameTelnetPdu, input.direction, unit);
            out.frame(kind, input.direction, unit);
            if !control {
                self.note(input.direction, unit);
            }
            at += unit.len();
        }
        Ok(Taken::all(at))
    }
}

impl Telnet {
    /// Text moves the login on.
    fn note(&mut self, direction: Direction, unit: &[u8]) {
        let text = unit.strip_suffix(b"\n").unwrap_or(unit);
        self.login = match (direction, self.login) {
            (Direction::ToClient, Login::Asking) => Login::Asked,
            (Direction::ToServer, Login::Asked) => Login::Named,
            (Direction::ToClient, Login::Named) => Login::AskedPassword,
            (Direction::ToServer, Login::AskedPassword) => Login::Answered,
            (Direction::ToClient, Login::Answered) if text == b"Login incorrect" => Login::Asking,
            (Direction::ToClient, Login::Answered) if !text.is_empty() => Login::Over,
            (_, known) => known,
        };
    }
}

/// Bytes of the unit at the start of some bytes; `None` if its end is not there.
fn unit(bytes: &[u8], prompts: bool) -> Option<usize> {
    let bytes = bytes.get(..UNIT_MAX).unwrap_or(bytes);
    let found = match (bytes.first(), bytes.get(1)) {
        (Some(&command::ESCAPE), None) => None,
        (Some(&command::ESCAPE), Some(kind)) => match *kind {
            command::BEGIN => memchr::memmem::find(bytes, command::END).map(|end| end + 2),
            kind => {
                let length = if command::OPTIONS.contains(&kind) {
                    3
                } else {
                    2
                };
                (bytes.len() >= length).then_some(length)
            }
        },
        _ if prompts => memchr::memmem::find(bytes, b": ").map(|end| end + 2),
        _ => memchr::memchr(b'\n', bytes).map(|end| end + 1),
    };
    found.or((bytes.len() == UNIT_MAX).then_some(UNIT_MAX))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, same_for_every_cut};
    use super::*;
    use Direction::{ToClient, ToServer};

    #[test]
    fn the_port_tells() {
        let place = |server_port| Place {
            transport: Transport::Tcp,
            server_port,
        };
        let talk: &[(_, &[u8])] = &[
            (ToClient, b"\xff\xfd\x18Welcome\r\nto this host\r\nlogin: "),
            (ToServer, b"\xff\xfa\x18\0xterm\xff\xf0user\r\n"),
            (ToClient, b"Password: "),
            (ToServer, b"secret\r\n"),
            (ToClient, b"Last login\r\n$ "),
        ];
        assert_eq!(same_for_every_cut(place(PORT), talk).0, AppProtocol::Telnet);
        assert_ne!(same_for_every_cut(place(24), talk).0, AppProtocol::Telnet);
    }

    #[test]
    fn units_end_where_they_should() {
        assert_eq!(unit(b"\xff\xfd\x18rest", true), Some(3));
        assert_eq!(unit(b"\xff\xfd", true), None);
        assert_eq!(unit(b"\xff\xfa\x18\0x\xff\xf0rest", false), Some(7));
        assert_eq!(unit(b"\xff\xf1rest", false), Some(2));
        assert_eq!(unit(b"a\r\nlogin: x", true), Some(10));
        assert_eq!(unit(b"a\r\nlogin: x", false), Some(3));
        assert_eq!(unit(b"none", false), None);
        assert_eq!(unit(&[b'a'; 2 * UNIT_MAX], false), Some(UNIT_MAX));
    }
}
