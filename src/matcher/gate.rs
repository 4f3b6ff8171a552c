//! What a packet must be for a signature to be a candidate at all, in ten bytes that lie beside
//! the signature's number: nearly all signatures that a prefilter or a list names are ruled out by
//! these, and their own memory is never touched. A gate lets through more than it must and never
//! less: header.rs has the last word.

use super::header::Packet;
use super::program::Rule;
use crate::app::AppProtocol;
use crate::packet::{Direction, Kind, flag};
use crate::rules::signature::{Compare, PacketTest, PortSet, Protocol, Signature};

/// Bits of `Facts` beyond `FACT_*`: the packet has ports.
pub const PORTS: u16 = 1 << 8;
/// It is TCP with the SYN bit.
pub const SYN: u16 = 1 << 9;
/// The length of its payload counts.
const LENGTH: u16 = 1 << 10;
/// TCP's SYN bit.
const SYN_FLAG: u8 = 2;

/// Facts of a packet that gates ask for.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    bits: u16,
    port: u16,
    /// Bytes of payload.
    length: u16,
    protocol: u8,
    /// Bits of what the flow speaks and was known to speak before (`AppProtocol`).
    apps: u64,
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
        let payload = context.payload_length > 0;
        let mut bits = u16::from(super::detect::facts(context, payload));
        bits |= LENGTH;
        let has_ports = context.has(flag::TRANSPORT) || context.kind == Kind::Stream;
        if has_ports {
            bits |= PORTS;
        }
        if packet.tcp_flags() & SYN_FLAG != 0 {
            bits |= SYN;
        }
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
    low: u16,
    high: u16,
    /// The least and the largest payload.
    shortest: u16,
    longest: u16,
    needs: u16,
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
        let mut needs = u16::from(rule.facts);
        if !(header.src_port.any && header.dst_port.any) {
            needs |= PORTS;
        }
        if signature.packet.iter().any(asks_for_syn) {
            needs |= SYN;
        }
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

/// A signature without a fast pattern, and when it is a candidate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Always {
    /// Number of the signature.
    pub signature: u32,
    gate: Gate,
    /// IP protocol that it names, or `ANY_PROTOCOL`.
    protocol: u16,
    /// Bits of the application protocols that its header names, or all.
    apps: u64,
}

/// No IP protocol is named.
const ANY_PROTOCOL: u16 = u16::MAX;

impl Always {
    /// A signature's entry for packets of a direction.
    pub fn of(index: u32, signature: &Signature, rule: &Rule, direction: Direction) -> Always {
        let named = signature.packet.iter().find_map(|test| match test {
            PacketTest::IpProtocol(Compare::Equal(number)) => u16::try_from(*number).ok(),
            _ => None,
        });
        Always {
            signature: index,
            gate: Gate::of(signature, rule, direction),
            protocol: named.unwrap_or(ANY_PROTOCOL),
            apps: match &signature.header.protocol {
                Protocol::App(word) => (0..=u8::MAX)
                    .map(AppProtocol::from_number)
                    .filter(|protocol| protocol.is(word))
                    .fold(0, |bits, protocol| bits | protocol.bit()),
                _ => u64::MAX,
            },
        }
    }

    /// Whether the signature is a candidate.
    #[inline(always)]
    pub fn lets(&self, facts: &Facts) -> bool {
        self.gate.lets(facts)
            && self.apps & facts.apps != 0
            && (self.protocol == ANY_PROTOCOL || self.protocol == u16::from(facts.protocol))
    }
}

const _: () = assert!(size_of::<Gate>() <= 10);
