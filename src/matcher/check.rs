//! What is asked of a candidate first, in half a cache line for each signature, one behind the
//! other: its header, its flow keyword, and what kind of rule it is. Most candidates end here, and
//! the signature itself, whose parts lie all over memory, is never touched. Sets of addresses and
//! ports are kept once: nearly all rules name the same few. The naive twin is header.rs's `fits_towards`.

use hashbrown::HashMap;

use super::header::{self, Packet};
use super::program::{Rule, VIEW_PACKET, VIEW_STREAM};
use crate::app::AppProtocol;
use crate::memory::prefetch::prefetch_read;
use crate::packet::{Direction, Kind, flag};
use crate::rules::signature::{AddressSet, Class, FlowKeyword, PortSet, Protocol, Signature};

/// Bits of `Check::asks`.
pub mod ask {
    /// The rule runs in this build.
    pub const RUNS: u16 = 1;
    /// Another reading of bytes that the stream has is none of its business.
    pub const STREAM_ALONE: u16 = 1 << 1;
    /// It waits for the detection of a protocol.
    pub const DETECTION: u16 = 1 << 2;
    /// It looks at packets and streams.
    pub const BOTH_VIEWS: u16 = 1 << 3;
    /// It is about both directions of a transaction.
    pub const TRANSACTIONAL: u16 = 1 << 4;
    /// The packet belongs to a flow.
    pub const FLOW: u16 = 1 << 5;
    /// It goes to the server.
    pub const TO_SERVER: u16 = 1 << 6;
    /// It goes to the client.
    pub const TO_CLIENT: u16 = 1 << 7;
    /// The flow is established.
    pub const ESTABLISHED: u16 = 1 << 8;
    /// It is not.
    pub const NOT_ESTABLISHED: u16 = 1 << 9;
    /// The packet was put together from fragments.
    pub const REBUILT: u16 = 1 << 10;
    /// It was not.
    pub const NOT_REBUILT: u16 = 1 << 11;
    /// Some port counts.
    pub const PORTS: u16 = 1 << 12;
    /// Some address counts.
    pub const ADDRESSES: u16 = 1 << 13;
    /// Its payload tests look at packets.
    pub const AT_PACKETS: u16 = 1 << 14;
    /// They look at streams.
    pub const AT_STREAMS: u16 = 1 << 15;
}

/// The protocol that a header names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    /// Any that header.rs knows: asked there.
    Rare,
    /// Any IP packet.
    Ip,
    /// An IP protocol.
    Number(u8),
    /// One of `Check::apps`.
    App,
}

/// See the file's head.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
pub struct Check {
    apps: u64,
    /// `ask::*` bits.
    asks: u16,
    protocol: Asked,
    addresses: [u16; 2],
    ports: [u16; 2],
}

const _: () = assert!(size_of::<Check>() == 32);

/// The checks of all signatures, and the sets that they name.
#[derive(Debug, Default)]
pub struct Checks {
    checks: Vec<Check>,
    addresses: Vec<AddressSet>,
    ports: Vec<PortSet>,
}

/// Number of a set among those known. More than 2^16 different sets: the last number, which says
/// that header.rs is asked.
fn number<T: Clone + std::hash::Hash + Eq>(
    known: &mut HashMap<T, u16>,
    list: &mut Vec<T>,
    set: &T,
) -> u16 {
    if let Some(number) = known.get(set) {
        return *number;
    }
    let Ok(number) = u16::try_from(list.len()) else {
        return u16::MAX;
    };
    if number < u16::MAX {
        known.insert(set.clone(), number);
        list.push(set.clone());
    }
    number
}

fn flow_asks(flow: &FlowKeyword) -> u16 {
    let bit = |asked, bit| if asked { bit } else { 0 };
    ask::FLOW
        | bit(flow.to_server, ask::TO_SERVER)
        | bit(flow.to_client, ask::TO_CLIENT)
        | bit(flow.established, ask::ESTABLISHED)
        | bit(flow.not_established, ask::NOT_ESTABLISHED)
        | bit(flow.only_frag, ask::REBUILT)
        | bit(flow.no_frag, ask::NOT_REBUILT)
}

/// Bits of the application protocols that a word names.
pub fn apps_of(word: &str) -> u64 {
    (0..=u8::MAX)
        .map(AppProtocol::from_number)
        .filter(|protocol| protocol.is(word))
        .fold(0, |bits, protocol| bits | protocol.bit())
}

impl Checks {
    /// The checks of signatures with their compiled rules, in their order.
    pub fn build<'a>(rules: impl Iterator<Item = (&'a Signature, &'a Rule)>) -> Checks {
        let mut all = Checks::default();
        let (mut addresses, mut ports) = (HashMap::new(), HashMap::new());
        let mut apps: HashMap<&str, u64> = HashMap::new();
        for (signature, rule) in rules {
            let header = &signature.header;
            let bit = |asked, bit| if asked { bit } else { 0 };
            let asks = bit(rule.runs, ask::RUNS)
                | bit(rule.stream_alone, ask::STREAM_ALONE)
                | bit(signature.class == Class::ProtocolDetection, ask::DETECTION)
                | bit(signature.class == Class::PacketStream, ask::BOTH_VIEWS)
                | bit(rule.views & VIEW_PACKET != 0, ask::AT_PACKETS)
                | bit(rule.views & VIEW_STREAM != 0, ask::AT_STREAMS)
                | bit(header.transactional, ask::TRANSACTIONAL)
                | signature.flow.as_ref().map_or(0, flow_asks)
                | bit(!(header.src_port.any && header.dst_port.any), ask::PORTS)
                | bit(
                    !(header.src_addr.any && header.dst_addr.any),
                    ask::ADDRESSES,
                );
            let mut address = |set| number(&mut addresses, &mut all.addresses, set);
            let addresses = [address(&header.src_addr), address(&header.dst_addr)];
            let mut port = |set| number(&mut ports, &mut all.ports, set);
            let ports = [port(&header.src_port), port(&header.dst_port)];
            let unknown = [addresses, ports].concat().contains(&u16::MAX);
            let (protocol, apps) = match &header.protocol {
                _ if unknown => (Asked::Rare, 0),
                Protocol::Ip => (Asked::Ip, 0),
                Protocol::Tcp | Protocol::TcpPacket | Protocol::TcpStream => (Asked::Number(6), 0),
                Protocol::Udp => (Asked::Number(17), 0),
                Protocol::Number(number) => (Asked::Number(*number), 0),
                Protocol::App(word) => {
                    let bits = *apps.entry(word).or_insert_with(|| apps_of(word));
                    (Asked::App, bits)
                }
                _ => (Asked::Rare, 0),
            };
            all.checks.push(Check {
                apps,
                asks,
                protocol,
                addresses,
                ports,
            });
        }
        all
    }

    /// The check of a signature.
    #[inline(always)]
    pub fn get(&self, index: u32) -> Option<&Check> {
        self.checks.get(index as usize)
    }

    /// Asks for the check of a signature.
    #[inline(always)]
    pub fn prefetch(&self, index: u32) {
        prefetch_read(self.checks.as_ptr().wrapping_add(index as usize));
    }

    /// Whether the header of a signature and its flow keyword fit the packet, for bytes of its flow
    /// that went in `direction`, in a flow that speaks `app`.
    #[inline]
    pub fn fits<'a>(
        &self,
        check: &Check,
        signature: impl Fn() -> Option<&'a Signature>,
        packet: &Packet,
        direction: Direction,
        app: AppProtocol,
    ) -> bool {
        let context = packet.context;
        let bit = |holds, bit| if holds { bit } else { 0 };
        let established = context.has(flag::ESTABLISHED);
        let rebuilt = context.has(flag::REBUILT);
        let lacking = bit(!context.flow.is_some(), ask::FLOW)
            | bit(direction != Direction::ToServer, ask::TO_SERVER)
            | bit(direction != Direction::ToClient, ask::TO_CLIENT)
            | bit(!established, ask::ESTABLISHED)
            | bit(established, ask::NOT_ESTABLISHED)
            | bit(!rebuilt, ask::REBUILT)
            | bit(rebuilt, ask::NOT_REBUILT);
        if check.asks & lacking != 0 {
            return false;
        }
        let is_ip = context.flags & (flag::IPV4 | flag::IPV6) != 0;
        let named = match check.protocol {
            Asked::Ip => is_ip,
            Asked::Number(number) => is_ip && context.protocol == number,
            Asked::App => check.apps & app.bit() != 0,
            Asked::Rare => {
                let packet = Packet { app, ..*packet };
                return signature()
                    .is_some_and(|signature| header::fits_towards(signature, &packet, direction));
            }
        };
        named && self.ends_fit(check, packet, direction != context.direction, is_ip)
    }

    /// Whether ports and addresses are in the sets.
    fn ends_fit(&self, check: &Check, packet: &Packet, turned: bool, is_ip: bool) -> bool {
        let context = packet.context;
        if check.asks & ask::PORTS != 0 {
            let known = context.has(flag::TRANSPORT) || context.kind == Kind::Stream;
            let ported = matches!(context.protocol, 6 | 17 | 132);
            let mut ports = [context.src_port(), context.dst_port()];
            if turned {
                ports.swap(0, 1);
            }
            let holds = |number: u16, port| {
                let set = self.ports.get(usize::from(number));
                set.is_some_and(|set| set.contains(port))
            };
            let [source, destination] = check.ports;
            if !(known && ported && holds(source, ports[0]) && holds(destination, ports[1])) {
                return false;
            }
        }
        if check.asks & ask::ADDRESSES != 0 {
            let mut addresses = [context.src_addr(), context.dst_addr()];
            if turned {
                addresses.swap(0, 1);
            }
            let holds = |number: u16, address| {
                let set = self.addresses.get(usize::from(number));
                set.is_some_and(|set| set.contains(address))
            };
            let [source, destination] = check.addresses;
            return is_ip && holds(source, addresses[0]) && holds(destination, addresses[1]);
        }
        true
    }
}

impl Check {
    /// Bits of the application protocols that the header names, where it names one and this alone
    /// says so.
    #[inline(always)]
    pub fn apps(&self) -> Option<u64> {
        (self.protocol == Asked::App).then_some(self.apps)
    }

    /// Whether it asks for any of these (`ask::*`).
    #[inline(always)]
    pub fn has(&self, asks: u16) -> bool {
        self.asks & asks != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Context, FlowHandle};
    use crate::rules::ruleset::blank;
    use proptest::prelude::*;

    fn protocol() -> impl Strategy<Value = Protocol> {
        prop_oneof![
            Just(Protocol::Ip),
            Just(Protocol::Ipv6),
            Just(Protocol::Tcp),
            Just(Protocol::Udp),
            Just(Protocol::Icmp),
            Just(Protocol::Number(47)),
            Just(Protocol::PacketHeader),
            Just(Protocol::App("http".into())),
            Just(Protocol::App("dns".into())),
        ]
    }

    fn addresses() -> impl Strategy<Value = AddressSet> {
        (any::<bool>(), 0..4u8, 0..4u8).prop_map(|(any, from, more)| {
            let end = |last: u8| {
                let mut address = [0; 16];
                address[15] = last;
                address
            };
            AddressSet {
                any,
                ranges: match any {
                    true => Vec::new(),
                    false => vec![(end(from), end(from + more))],
                },
                negated: false,
            }
        })
    }

    fn ports() -> impl Strategy<Value = PortSet> {
        (any::<bool>(), 0..4u16, 0..4u16).prop_map(|(any, from, more)| PortSet {
            any,
            ranges: match any {
                true => Vec::new(),
                false => vec![(from, from + more)],
            },
        })
    }

    fn context() -> impl Strategy<Value = Context> {
        let ends = (0..6u8, 0..6u8, 0..6u16, 0..6u16);
        let protocol = prop_oneof![Just(1u8), Just(6), Just(17), Just(47)];
        let flags = (any::<[bool; 5]>(), any::<bool>());
        (ends, protocol, flags, any::<bool>()).prop_map(|(ends, protocol, flags, to_server)| {
            let (ends, ([ip, transport, established, rebuilt, reversed], stream)) = (ends, flags);
            let mut context = Context {
                protocol,
                flow: FlowHandle::NONE,
                ..Context::default()
            };
            let (mut source, mut destination) = ([0; 16], [0; 16]);
            (source[15], destination[15]) = (ends.0, ends.1);
            context.tuple.a_addr = source;
            context.tuple.b_addr = destination;
            (context.tuple.a_port, context.tuple.b_port) = (ends.2, ends.3);
            let set = |holds: bool, bit| if holds { bit } else { 0 };
            context.flags = set(ip, flag::IPV4)
                | set(transport, flag::TRANSPORT)
                | set(established, flag::ESTABLISHED)
                | set(rebuilt, flag::REBUILT)
                | set(reversed, flag::REVERSED);
            context.kind = if stream { Kind::Stream } else { Kind::Frame };
            if to_server {
                context.direction = Direction::ToServer;
            } else {
                context.direction = Direction::ToClient;
            }
            context
        })
    }

    proptest! {
        #[test]
        fn checks_agree_with_their_naive_twin(
            protocol in protocol(),
            (source, destination) in (addresses(), addresses()),
            (from, to) in (ports(), ports()),
            flow in proptest::option::of(any::<[bool; 6]>()),
            mut context in context(),
            (known, towards, app) in (any::<bool>(), any::<bool>(), 0..6u8),
        ) {
            let mut signature = blank(1);
            signature.header.protocol = protocol;
            (signature.header.src_addr, signature.header.dst_addr) = (source, destination);
            (signature.header.src_port, signature.header.dst_port) = (from, to);
            signature.flow = flow.map(|[a, b, c, d, e, f]| FlowKeyword {
                to_server: a,
                to_client: b,
                established: c,
                not_established: d,
                only_frag: e,
                no_frag: f,
                ..FlowKeyword::default()
            });
            if known {
                context.flow = FlowHandle { slot: 3, generation: 1 };
            }
            let app = AppProtocol::from_number(app);
            let packet = Packet {
                context: &context,
                bytes: &[],
                app,
                original: AppProtocol::Unknown,
                sides: [app; 2],
                app_told: false,
            };
            let direction = if towards { Direction::ToServer } else { Direction::ToClient };
            let rule = Rule { runs: true, ..Rule::default() };
            let checks = Checks::build([(&signature, &rule)].into_iter());
            let check = checks.get(0).unwrap();
            prop_assert!(check.has(ask::RUNS));
            prop_assert_eq!(
                checks.fits(check, || Some(&signature), &packet, direction, app),
                header::fits_towards(&signature, &packet, direction)
            );
        }
    }
}
