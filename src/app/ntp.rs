//! NTP (RFC 5905 section 7.3): one datagram, one transaction. The smallest parser there is, and the
//! one to read first.

use super::field::Field;
use super::output::{AppEvent, Output};
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::Ntp,
    probe,
    over: &[Transport::Udp],
    fields: &[
        Field::NtpReferenceId,
        Field::NtpVersion,
        Field::NtpMode,
        Field::NtpStratum,
    ],
    events: &["malformed_data", "unsolicited_response", "not_request"],
};

const MALFORMED: AppEvent = AppEvent::of(AppProtocol::Ntp, 0);
/// Bytes of the header.
const HEADER: usize = 48;
/// The port that NTP is spoken on.
const PORT: u16 = 123;

fn probe(probe: &Probe<'_>) -> Guess {
    let Some(first) = probe.bytes.first() else {
        return Guess::No;
    };
    let (version, mode) = (first >> 3 & 7, first & 7);
    let port = probe.server_port == PORT || probe.client_port == PORT;
    if port && (1..=4).contains(&version) && mode != 0 && probe.bytes.len() >= 12 {
        Guess::Yes
    } else {
        Guess::No
    }
}

/// Keeps nothing from one datagram to the next.
#[derive(Debug, Default)]
pub struct Ntp;

impl Parse for Ntp {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        let (bytes, direction) = (input.bytes, input.direction);
        let Some(header) = bytes.get(..HEADER) else {
            if !bytes.is_empty() {
                out.event_of_last(direction, MALFORMED);
                out.broken();
            }
            return Ok(Taken::all(bytes.len()));
        };
        let tx = out.open_one_way(direction);
        let at = |place: usize| header.get(place).copied().unwrap_or(0);
        for (field, number) in [
            (Field::NtpVersion, at(0) >> 3 & 7),
            (Field::NtpMode, at(0) & 7),
            (Field::NtpStratum, at(1)),
        ] {
            out.number(tx, field, direction, u64::from(number));
        }
        let reference = header.get(12..16).unwrap_or(&[]);
        out.field(tx, Field::NtpReferenceId, direction, reference);
        out.complete(tx);
        Ok(Taken::all(bytes.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, run};
    use super::*;
    use crate::packet::Direction::ToServer;

    const PLACE: Place = Place {
        transport: Transport::Udp,
        server_port: PORT,
    };

    #[test]
    fn a_request_is_a_transaction() {
        let mut request = [0u8; HEADER];
        request[..16].copy_from_slice(b"\x23\x02\x06\xe8\0\0\0\0\0\0\0\0GPS\0");
        let (protocol, lines) = run(PLACE, &[(ToServer, &request)]);
        assert_eq!(protocol, AppProtocol::Ntp);
        assert_eq!(
            lines,
            [
                "tx 0 ToServer ntp.version 4",
                "tx 0 ToServer ntp.mode 3",
                "tx 0 ToServer ntp.stratum 2",
                "tx 0 ToServer ntp.reference_id \"GPS\\x00\"",
            ]
        );
    }

    #[test]
    fn a_short_one_is_an_event_of_the_one_before() {
        let (_, lines) = run(PLACE, &[(ToServer, &[0x23; 20])]);
        assert!(
            lines.is_empty(),
            "there is no transaction that it could be of: {lines:?}"
        );
        let (_, lines) = run(
            PLACE,
            &[(ToServer, &[0x23; HEADER]), (ToServer, &[0x23; 20])],
        );
        let event = "tx 0 ToServer app-layer-event Some((\"ntp\", \"malformed_data\"))";
        assert!(lines.contains(&event.to_string()), "{lines:?}");
    }
}
