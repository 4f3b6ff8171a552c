//! What a packet must be for a signature to be a candidate at all, in ten bytes that lie beside
//! the signature's number: nearly all signatures that a prefilter or a list names are ruled out by
//! these, and their own memory is never touched. A gate lets through more than it must and never
//! less: header.rs has the last word.

use super::header::Packet;
use super::program::Rule;
use crate::app::AppProtocol;
use crate::packet::{Direction, Kind, flag};
use crate::rules::signature::{BitCommand, Compare, PacketTest, PortSet, Signature, StateTest};

/// Bits of facts: the packet has payload.
const PAYLOAD: u16 = 1;
/// It belongs to a flow.
const FLOW: u16 = 1 << 1;
/// The flow is established.
const ESTABLISHED: u16 = 1 << 2;
/// It has ports.
pub(super) const PORTS: u16 = 1 << 3;
/// It is TCP with the SYN bit.
const SYN: u16 = 1 << 4;
/// The length of its payload counts.
pub(super) const LENGTH: u16 = 1 << 5;
/// TCP's SYN bit.
const SYN_FLAG: u8 = 2;

fn bit(holds: bool, bit: u16) -> u16 {
    if holds { bit } else { 0 }
}

/// Facts of a packet that gates ask for.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    pub(super) bits: u16,
    pub(super) port: u16,
    /// Bytes of payload.
    pub(super) length: u16,
    pub(super) protocol: u8,
    /// Bits of what the flow speaks and was known to speak before (`AppProtocol`).
    pub(super) apps: u64,
}

impl Facts {
    /// Whatever is asked for.
    pub const ANY: Facts = Facts {
        bits: !(PORTS | LENGTH),
        port: 0,
        length: 0,
        protocol: 0,
        apps: u64::MAX,
    };

    /// Facts of a packet whose flow was known to speak `before` until now.
    pub fn of(packet: &Packet, before: AppProtocol) -> Facts {
        let context = packet.context;
        let has_ports = context.has(flag::TRANSPORT) || context.kind == Kind::Stream;
        let bits = LENGTH
            | bit(context.payload_length > 0, PAYLOAD)
            | bit(context.flow.is_some(), FLOW)
            | bit(context.has(flag::ESTABLISHED), ESTABLISHED)
            | bit(has_ports, PORTS)
            | bit(packet.tcp_flags() & SYN_FLAG != 0, SYN);
        Facts {
            bits,
            port: match context.direction {
                Direction::ToServer => context.dst_port(),
                Direction::ToClient => context.src_port(),
            },
            length: context.payload_length,
            protocol: context.protocol,
            apps: packet.app.bit() | before.bit(),
        }
    }

    /// Whether the packet has payload that rules may look at.
    pub fn has_payload(self) -> bool {
        self.bits & PAYLOAD != 0
    }

    /// The same packet with its payload hidden.
    pub fn without_payload(self) -> Facts {
        Facts {
            bits: self.bits & !PAYLOAD,
            length: 0,
            ..self
        }
    }

    /// The facts that stay the same for all bytes of a stream direction; all others hold.
    pub fn of_stream(self) -> Facts {
        Facts {
            bits: (self.bits | !PORTS) & !LENGTH,
            ..self
        }
    }
}

/// Ports and facts that a signature asks for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Gate {
    /// The least and the largest port that decides: the destination's to the server, the source's
    /// to the client.
    pub(super) low: u16,
    pub(super) high: u16,
    /// The least and the largest payload.
    pub(super) shortest: u16,
    pub(super) longest: u16,
    pub(super) needs: u16,
}

impl Gate {
    /// Lets everything through.
    pub const OPEN: Gate = Gate {
        low: 0,
        high: u16::MAX,
        shortest: 0,
        longest: u16::MAX,
        needs: 0,
    };

    /// The gate of a signature for packets of a direction.
    pub fn of(signature: &Signature, rule: &Rule, direction: Direction) -> Gate {
        let header = &signature.header;
        let ports = match direction {
            Direction::ToServer => &header.dst_port,
            Direction::ToClient => &header.src_port,
        };
        let (low, high) = span(ports);
        let flow = signature.flow.as_ref();
        let reads_flow = signature.state.iter().any(|test| {
            let command = BitCommand::IsSet;
            matches!(test, StateTest::Flowbit { command: read, .. } if *read == command)
        });
        let needs = bit(!rule.payload.is_empty(), PAYLOAD)
            | bit(flow.is_some() || reads_flow, FLOW)
            | bit(flow.is_some_and(|flow| flow.established), ESTABLISHED)
            | bit(!(header.src_port.any && header.dst_port.any), PORTS)
            | bit(signature.packet.iter().any(asks_for_syn), SYN);
        let (shortest, longest) = lengths(signature);
        Gate {
            low,
            high,
            shortest,
            longest,
            needs,
        }
    }

    /// Whether the signature can be a candidate.
    #[inline(always)]
    pub fn lets(self, facts: &Facts) -> bool {
        // A packet without ports has none that is out of bounds, but lacks `PORTS`.
        let in_span = facts.port >= self.low && facts.port <= self.high;
        let fits = facts.length >= self.shortest && facts.length <= self.longest;
        self.needs & !facts.bits == 0
            && (in_span || facts.bits & PORTS == 0)
            && (fits || facts.bits & LENGTH == 0)
    }
}

/// The least and the largest port of a set.
fn span(ports: &PortSet) -> (u16, u16) {
    let low = ports.ranges.iter().map(|(low, _)| *low).min();
    let high = ports.ranges.iter().map(|(_, high)| *high).max();
    match (ports.any, low, high) {
        (false, Some(low), Some(high)) => (low, high),
        _ => (0, u16::MAX),
    }
}

/// The payloads that a signature's `dsize` allows, from the least to the largest.
pub fn lengths(signature: &Signature) -> (u16, u16) {
    let bounded = |n: u64| u16::try_from(n).unwrap_or(u16::MAX);
    let range = |test: &PacketTest| match test {
        PacketTest::PayloadSize(compare) => match compare {
            Compare::Equal(n) => Some((bounded(*n), bounded(*n))),
            Compare::Less(n) => Some((0, bounded(n.saturating_sub(1)))),
            Compare::LessEqual(n) => Some((0, bounded(*n))),
            Compare::Greater(n) => Some((bounded(n.saturating_add(1)), u16::MAX)),
            Compare::GreaterEqual(n) => Some((bounded(*n), u16::MAX)),
            Compare::Between(from, to) => {
                let (from, to) = (from.saturating_add(1), to.saturating_sub(1));
                Some((bounded(from), bounded(to)))
            }
            _ => None,
        },
        _ => None,
    };
    signature
        .packet
        .iter()
        .find_map(range)
        .unwrap_or((0, u16::MAX))
}

/// Whether a packet test can only hold with the SYN bit.
fn asks_for_syn(test: &PacketTest) -> bool {
    matches!(test, PacketTest::TcpFlags { flags, modifier: 0 | 2, ignored }
        if flags & !ignored & SYN_FLAG != 0)
}

const _: () = assert!(size_of::<Gate>() <= 10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::ruleset::blank;
    use proptest::prelude::*;

    fn compare() -> impl Strategy<Value = Compare> {
        let number = prop_oneof![0..6u64, 65_530..65_545u64];
        (0..8u8, number.clone(), number).prop_map(|(kind, a, b)| match kind {
            0 => Compare::Equal(a),
            1 => Compare::NotEqual(a),
            2 => Compare::Less(a),
            3 => Compare::LessEqual(a),
            4 => Compare::Greater(a),
            5 => Compare::GreaterEqual(a),
            6 => Compare::Between(a, b),
            _ => Compare::NotBetween(a, b),
        })
    }

    proptest! {
        #[test]
        fn a_gate_lets_through_what_a_signature_allows(
            compare in compare(),
            ports in proptest::collection::vec((0..20u16, 0..5u16), 0..4),
            length in prop_oneof![0..8u16, 65_528..=u16::MAX],
            port in 0..30u16,
        ) {
            let mut signature = blank(1);
            signature.packet.push(PacketTest::PayloadSize(compare));
            signature.header.dst_port = PortSet {
                any: ports.is_empty(),
                ranges: ports.iter().map(|(low, more)| (*low, low + more)).collect(),
            };
            let gate = Gate::of(&signature, &Rule::default(), Direction::ToServer);
            let facts = Facts { bits: PORTS | LENGTH, port, length, ..Facts::ANY };
            let in_ports = ports.is_empty() || signature.header.dst_port.contains(port);
            if in_ports && compare.test(u64::from(length)) {
                prop_assert!(gate.lets(&facts));
            }
            // A stream has ports and no length of its own.
            prop_assert!(!in_ports || gate.lets(&facts.of_stream()));
        }
    }

    #[test]
    fn a_gate_keeps_out_other_ports_lengths_and_flows() {
        let mut signature = blank(1);
        signature
            .packet
            .push(PacketTest::PayloadSize(Compare::Equal(8)));
        signature.header.dst_port = PortSet {
            any: false,
            ranges: vec![(80, 80), (90, 90)],
        };
        let gate = Gate::of(&signature, &Rule::default(), Direction::ToServer);
        let facts = Facts {
            bits: PORTS | LENGTH,
            port: 80,
            length: 8,
            ..Facts::ANY
        };
        assert!(gate.lets(&facts));
        assert!(!gate.lets(&Facts { port: 79, ..facts }));
        assert!(!gate.lets(&Facts { port: 91, ..facts }));
        assert!(!gate.lets(&Facts { length: 9, ..facts }));
        assert!(
            !gate.lets(&Facts {
                bits: LENGTH,
                ..facts
            }),
            "no ports"
        );
        signature.flow = Some(Default::default());
        let gate = Gate::of(&signature, &Rule::default(), Direction::ToServer);
        assert!(!gate.lets(&facts), "no flow");
        assert!(gate.lets(&Facts {
            bits: facts.bits | FLOW,
            ..facts
        }));
    }
}
