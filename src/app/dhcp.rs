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
    events: &["truncated_options", "malformed_options"],
};

const TRUNCATED: AppEvent = AppEvent::of(AppProtocol::Dhcp, 0);
const MALFORMED: AppEvent = AppEvent::of(AppProtocol::Dhcp, 1);

/// Ports of servers and clients.
const PORTS: [u16; 2] = [67, 68];
/// Bytes before the options: the message and the magic cookie.
const HEADER: usize = 240;
/// Bytes of the message alone, with which Suricata takes it for DHCP.
const LEAST: usize = 232;

/// Options (RFC 2132).
const PAD: u8 = 0;
const END: u8 = 255;
const TIMES: [(u8, Field); 3] = [
    (51, Field::DhcpLeasetime),
    (58, Field::DhcpRenewalTime),
    (59, Field::DhcpRebindingTime),
];
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
        let tx = out.open();
        if out.wants(Field::DhcpMessage) {
            let message = bytes.get(..MESSAGE_MAX).unwrap_or(bytes);
            out.field(tx, Field::DhcpMessage, direction, message);
        }
        let mut told = [false; TIMES.len()];
        let mut at = Reader::new(options);
        // Every round takes an option.
        while let Some(code) = at.u8() {
            match code {
                PAD => continue,
                END => break,
                _ => {}
            }
            let Some(value) = at.counted_u8() else {
                out.event(tx, direction, TRUNCATED);
                break;
            };
            if code == CLIENT_ID && value.len() < 2 {
                out.event(tx, direction, MALFORMED);
                break;
            }
            let time = TIMES.iter().position(|(known, _)| *known == code);
            let Some((place, (_, field))) = time.and_then(|at| Some((at, TIMES.get(at)?))) else {
                continue;
            };
            let Some(seconds) = Reader::new(value).u32().filter(|_| value.len() == 4) else {
                out.event(tx, direction, MALFORMED);
                break;
            };
            if let Some(told) = told.get_mut(place)
                && !std::mem::replace(told, true)
            {
                out.number(tx, *field, direction, u64::from(seconds));
            }
        }
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
        let (_, lines) = run(PLACE, &[(ToServer, &message(&[51, 9, 0]))]);
        assert!(lines[0].contains("truncated_options"), "{lines:?}");
        let (_, lines) = run(PLACE, &[(ToServer, &message(&[51, 2, 0, 1]))]);
        assert!(lines[0].contains("malformed_options"), "{lines:?}");
    }
}
