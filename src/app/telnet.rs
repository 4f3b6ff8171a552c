//! Telnet (RFC 854): what is said on its port. It is told, not read.

use super::output::Output;
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::Telnet,
    probe,
    over: &[Transport::Tcp],
    fields: &[],
    events: &[],
};

const PORT: u16 = 23;

/// Text of any kind may come first: the port decides.
fn probe(probe: &Probe<'_>) -> Guess {
    match (probe.server_port == PORT, probe.bytes.len() > 1) {
        (false, _) => Guess::No,
        (true, true) => Guess::Yes,
        (true, false) => Guess::More,
    }
}

/// Reads nothing.
#[derive(Debug, Default)]
pub struct Telnet;

impl Parse for Telnet {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        out.done();
        Ok(Taken::all(input.bytes.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, same_for_every_cut};
    use super::*;
    use crate::packet::Direction::ToClient;

    #[test]
    fn the_port_tells() {
        let place = |server_port| Place {
            transport: Transport::Tcp,
            server_port,
        };
        let talk: &[(_, &[u8])] = &[(ToClient, b"\xff\xfd\x18Welcome to this host\r\nlogin: ")];
        assert_eq!(same_for_every_cut(place(PORT), talk).0, AppProtocol::Telnet);
        assert_ne!(same_for_every_cut(place(24), talk).0, AppProtocol::Telnet);
    }
}
