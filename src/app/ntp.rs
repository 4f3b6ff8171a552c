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
    let port = probe.server_port == PORT || probe.client_port == PORT;
    match port && header(probe.bytes).is_some() {
        true => Guess::Yes,
        false => Guess::No,
    }
}

/// The header of a packet of version 3 or 4. Older ones have other headers (RFC 1119), as have the
/// queries of private mode that go by version 2.
fn header(bytes: &[u8]) -> Option<&[u8; HEADER]> {
    let header = bytes.first_chunk::<HEADER>()?;
    matches!(header[0] >> 3 & 7, 3 | 4).then_some(header)
}

/// Keeps nothing from one datagram to the next.
#[derive(Debug, Default)]
pub struct Ntp;

impl Parse for Ntp {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        let (bytes, direction) = (input.bytes, input.direction);
        let Some(header) = header(bytes) else {
            if !bytes.is_empty() {
                out.event_of_last(direction, MALFORMED);
                out.broken();
            }
            return Ok(Taken::all(bytes.len()));
        };
        let tx = out.open_one_way(direction);
        for (field, number) in [
            (Field::NtpVersion, header[0] >> 3 & 7),
            (Field::NtpMode, header[0] & 7),
            (Field::NtpStratum, header[1]),
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
    fn packets_of_versions_3_and_4_are_ntp() {
        let told = |bytes: &[u8]| run(PLACE, &[(ToServer, bytes)]).0 == AppProtocol::Ntp;
        let of = |first: u8| [&[first][..], &[0; HEADER - 1]].concat();
        assert!(told(&of(0x1b)) && told(&of(0x23)) && told(&of(0x20)));
        // Versions 1 and 2, and the list of those who asked last.
        assert!(!told(&of(0x0b)) && !told(&of(0x13)));
        assert!(!told(b"\x17\0\x03\x2a\0\0\0\0") && !told(&of(0x23)[..HEADER - 1]));
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
