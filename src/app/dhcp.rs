//! DHCP for IPv4 (RFC 2131, options of RFC 2132): each datagram is a transaction of its direction.

use super::field::Field;
use super::output::{AppEvent, Output};
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use super::reader::Reader;
use super::record::MESSAGE_MAX;

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::Dhcp,
    probe,
    over: &[Transport::Udp],
    fields: &[
        Field::DhcpLeasetime,
        Field::DhcpRebindingTime,
        Field::DhcpRenewalTime,
    ],
    // Suricata names the second, too, and tells all of these as the first.
    events: &["truncated_options", "malformed_options"],
};

const TRUNCATED: AppEvent = AppEvent::of(AppProtocol::Dhcp, 0);

/// Ports of servers and clients.
const PORTS: [u16; 2] = [67, 68];
/// Bytes before the options: the message and the magic cookie.
const HEADER: usize = 240;
/// Bytes of the message alone, with which Suricata takes it for DHCP.
const LEAST: usize = 232;

/// Where the server's name and the file stand in a message.
const SERVER_NAME: std::ops::Range<usize> = 44..108;
const FILE: std::ops::Range<usize> = 108..236;

/// Options (RFC 2132).
const PAD: u8 = 0;
const END: u8 = 255;
const TIMES: [(u8, Field); 3] = [
    (51, Field::DhcpLeasetime),
    (58, Field::DhcpRenewalTime),
    (59, Field::DhcpRebindingTime),
];
const OVERLOAD: u8 = 52;
const CLIENT_ID: u8 = 61;

fn probe(probe: &Probe<'_>) -> Guess {
    let ours = |port: u16| PORTS.contains(&port);
    let is_message = matches!(probe.bytes.first(), Some(1 | 2)) && probe.bytes.len() >= LEAST;
    if (ours(probe.server_port) || ours(probe.client_port)) && is_message {
        Guess::Yes
    } else {
        Guess::No
    }
}

/// Keeps nothing from one datagram to the next.
#[derive(Debug, Default)]
pub struct Dhcp;

impl Parse for Dhcp {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        let (bytes, direction) = (input.bytes, input.direction);
        let Some(options) = bytes.get(HEADER..) else {
            return Ok(Taken::all(bytes.len()));
        };
        let tx = out.open_one_way(direction);
        if out.wants(Field::DhcpMessage) {
            let message = bytes.get(..MESSAGE_MAX).unwrap_or(bytes);
            out.field(tx, Field::DhcpMessage, direction, message);
        }
        let mut found = Found::default();
        if !found.take(options) {
            out.event(tx, direction, TRUNCATED);
        }
        // RFC 2132 9.3: the fields of file and server name hold options, too.
        let overload = found.overload.unwrap_or(0);
        for (bit, field) in [(1, FILE), (2, SERVER_NAME)] {
            if overload & bit != 0 {
                found.take(bytes.get(field).unwrap_or(&[]));
            }
        }
        for ((_, field), seconds) in TIMES.iter().zip(found.seconds) {
            if let Some(seconds) = seconds {
                out.number(tx, *field, direction, u64::from(seconds));
            }
        }
        out.complete(tx);
        Ok(Taken::all(bytes.len()))
    }
}

/// What is looked for in options: the first of each.
#[derive(Default)]
struct Found {
    /// By place in [`TIMES`].
    seconds: [Option<u32>; TIMES.len()],
    overload: Option<u8>,
}

impl Found {
    /// Reads options as Suricata does, which takes times to have four bytes, except that a pad is one
    /// byte, as it should be. False: they end before `END`.
    fn take(&mut self, options: &[u8]) -> bool {
        let mut at = Reader::new(options);
        // Every round takes an option.
        while let Some(code) = at.u8() {
            match code {
                PAD => continue,
                END => return true,
                _ => {}
            }
            if let Some(place) = TIMES.iter().position(|(known, _)| *known == code) {
                let Some(seconds) = at.u8().and_then(|_| at.u32()) else {
                    return false;
                };
                if let Some(known) = self.seconds.get_mut(place) {
                    known.get_or_insert(seconds);
                }
                continue;
            }
            let Some(value) = at.counted_u8() else {
                return false;
            };
            if code == CLIENT_ID && value.len() < 2 {
                return false;
            }
            if code == OVERLOAD && self.overload.is_none() {
                self.overload = value.first().copied();
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, run};
    use super::*;
    use crate::packet::Direction::ToServer;

    const PLACE: Place = Place {
        transport: Transport::Udp,
        server_port: 67,
    };

    fn message(options: &[u8]) -> Vec<u8> {
        let mut out = vec![2];
        out.resize(236, 0);
        out.extend([0x63, 0x82, 0x53, 0x63]);
        out.extend(options);
        out
    }

    #[test]
    fn times_are_told_once() {
        let options = [
            53, 1, 5, 51, 4, 0, 0, 0x0e, 0x10, 0, 58, 4, 0, 0, 7, 8, 51, 4, 0, 0, 0, 1, 255,
        ];
        let (protocol, lines) = run(PLACE, &[(ToServer, &message(&options))]);
        assert_eq!(protocol, AppProtocol::Dhcp);
        assert_eq!(
            lines,
            [
                "tx 0 ToServer dhcp.leasetime 3600",
                "tx 0 ToServer dhcp.renewal_time 1800",
            ]
        );
    }

    #[test]
    fn options_cut_short_are_an_event() {
        for options in [
            &[51, 9, 0][..],
            &[51, 2, 0, 1],
            &[61, 1, 1, 255],
            &[53, 1, 5],
        ] {
            let (_, lines) = run(PLACE, &[(ToServer, &message(options))]);
            assert!(lines[0].contains("truncated_options"), "{lines:?}");
        }
    }

    #[test]
    fn the_fields_of_file_and_server_hold_options() {
        for (overload, at) in [(1, FILE.start), (2, SERVER_NAME.start), (3, FILE.start)] {
            let mut bytes = message(&[53, 1, 5, 52, 1, overload, 255]);
            bytes[at..at + 7].copy_from_slice(&[51, 4, 0, 0, 0, 9, 255]);
            let (_, lines) = run(PLACE, &[(ToServer, &bytes)]);
            assert_eq!(lines, ["tx 0 ToServer dhcp.leasetime 9"], "{overload}");
        }
        let mut bytes = message(&[53, 1, 5, 52, 1, 1, 255]);
        bytes[SERVER_NAME.start..SERVER_NAME.start + 6].copy_from_slice(&[51, 4, 0, 0, 0, 9]);
        assert!(run(PLACE, &[(ToServer, &bytes)]).1.is_empty());
    }
}
