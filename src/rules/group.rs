//! Which signatures a packet can reach at all: by protocol class, direction and port.
//!
//! Lists of signature numbers only; their automata are compiled in matcher/program.rs. Signatures
//! with a good fast pattern stand in one list for each protocol class and direction, whatever their
//! ports: one automaton that stays in the cache serves all ports, and a gate beside each signature
//! (matcher/gate.rs) knows its own. Those without one, or with one that stands everywhere, are
//! divided by port; equal lists are one group. To the server the destination port decides, to the
//! client the source port, as in MATCHER.md 7. Signatures of IP addresses only and those that wait for an anomaly stand in
//! lists of their own and in no group.

use std::collections::HashMap;

use super::fast_pattern;
use super::ruleset::RuleSet;
use super::signature::{
    Buffer, Class, Content, FastPattern, PacketTest, PortSet, Protocol, Signature, Test,
};
use crate::app::Transport;
use crate::app::registry::DESCRIPTIONS;
use crate::packet::Direction;

/// Groups of one port table at most; the classes of the fewest ports share what is left over.
pub const GROUPS_PER_TABLE_MAX: usize = 64;
/// Longest piece of a content that goes into a prefilter.
pub const FAST_PATTERN_MAX: usize = 24;

/// Protocol classes with tables of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ProtocolClass {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
    /// ICMP for IPv4.
    Icmp,
    /// ICMP for IPv6.
    Icmpv6,
    /// Any other IP protocol.
    Other,
    /// No IP header.
    NonIp,
}

impl ProtocolClass {
    /// All classes, by number.
    pub const ALL: [ProtocolClass; 7] = [
        ProtocolClass::Tcp,
        ProtocolClass::Udp,
        ProtocolClass::Sctp,
        ProtocolClass::Icmp,
        ProtocolClass::Icmpv6,
        ProtocolClass::Other,
        ProtocolClass::NonIp,
    ];

    /// Class of an IP protocol number.
    pub fn of(protocol: u8) -> ProtocolClass {
        match protocol {
            6 => ProtocolClass::Tcp,
            17 => ProtocolClass::Udp,
            132 => ProtocolClass::Sctp,
            1 => ProtocolClass::Icmp,
            58 => ProtocolClass::Icmpv6,
            _ => ProtocolClass::Other,
        }
    }

    fn has_ports(self) -> bool {
        matches!(
            self,
            ProtocolClass::Tcp | ProtocolClass::Udp | ProtocolClass::Sctp
        )
    }
}

/// Groups by port, for one protocol class and direction.
#[derive(Debug, Default, Clone)]
struct PortTable {
    /// Group of each port: one load, where a search among the intervals would miss the cache for
    /// every packet. One group alone where it is that of all ports; none where there are no ports.
    groups: Box<[u32]>,
    /// Group of packets whose ports are not known.
    portless: u32,
}

/// All groups of a rule set.
#[derive(Debug, Default)]
pub struct Groups {
    tables: Vec<PortTable>,
    members: Vec<Box<[u32]>>,
    classes: Vec<(ProtocolClass, Direction)>,
    /// Signatures looked for on all ports, by protocol class and direction.
    shared: Vec<Box<[u32]>>,
    ip_only: Vec<u32>,
    by_anomaly: Vec<Vec<u32>>,
}

impl Groups {
    /// Lays out the signatures that run. Those that `is_shared` says are looked for on all ports.
    pub fn build(set: &RuleSet, is_shared: impl Fn(&Signature, Direction) -> bool) -> Groups {
        let mut groups = Groups {
            by_anomaly: vec![Vec::new(); 256],
            ..Groups::default()
        };
        let mut grouped = Vec::new();
        for (signature, index) in set.signatures().iter().zip(0u32..) {
            if !set.runs(index) {
                continue;
            }
            if let Some(code) = anomaly_of(signature) {
                if let Some(list) = groups.by_anomaly.get_mut(usize::from(code)) {
                    list.push(index);
                }
            } else if looks_at_transactions(signature) {
                // Those wait for transactions, not for packets.
            } else if signature.class == Class::IpOnly {
                groups.ip_only.push(index);
            } else {
                grouped.push((index, signature));
            }
        }
        let mut known = HashMap::new();
        for (class, direction) in sides() {
            let (shared, by_port): (Vec<_>, Vec<_>) = grouped
                .iter()
                .copied()
                .partition(|(_, signature)| is_shared(signature, direction));
            let table = groups.table(class, direction, &by_port, &mut known);
            groups.tables.push(table);
            let reachable = shared
                .iter()
                .filter(|(_, s)| in_class(s, class) && in_direction(s, direction))
                .map(|(index, _)| *index);
            groups.shared.push(reachable.collect());
        }
        groups
    }

    /// Signatures looked for on all ports that packets of a class and direction can reach, for each
    /// of `sides`.
    pub fn shared(&self) -> impl Iterator<Item = ((ProtocolClass, Direction), &[u32])> {
        sides().zip(self.shared.iter().map(|members| &**members))
    }

    /// Position of a class and direction in `shared`.
    pub fn side(class: ProtocolClass, direction: Direction) -> usize {
        class as usize * 2 + direction.index()
    }

    /// The group by port of a packet; `port` is the destination's to the server, the source's to the
    /// client, `None` where the packet has none.
    pub fn of(&self, class: ProtocolClass, direction: Direction, port: Option<u16>) -> u32 {
        let Some(table) = self.tables.get(Groups::side(class, direction)) else {
            return 0;
        };
        match port {
            Some(port) => match &*table.groups {
                [same] => *same,
                groups => {
                    let group = groups.get(usize::from(port)).copied();
                    group.unwrap_or(table.portless)
                }
            },
            None => table.portless,
        }
    }

    /// Number of groups.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no group.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Members of each group, ascending, and the protocol class and direction it was made for.
    pub fn iter(&self) -> impl Iterator<Item = ((ProtocolClass, Direction), &[u32])> {
        self.classes
            .iter()
            .copied()
            .zip(self.members.iter().map(|members| &**members))
    }

    /// Signatures of addresses only.
    pub fn ip_only(&self) -> &[u32] {
        &self.ip_only
    }

    /// Signatures that wait for this anomaly.
    pub fn for_anomaly(&self, code: u8) -> &[u32] {
        self.by_anomaly
            .get(usize::from(code))
            .map_or(&[], Vec::as_slice)
    }

    fn intern(
        &mut self,
        side: (ProtocolClass, Direction),
        members: Vec<u32>,
        known: &mut Known,
    ) -> u32 {
        let number = Groups::side(side.0, side.1);
        if let Some(group) = known.get(&(number, members.clone())) {
            return *group;
        }
        let group = self.members.len() as u32;
        self.members.push(members.clone().into());
        self.classes.push(side);
        known.insert((number, members), group);
        group
    }

    fn table(
        &mut self,
        class: ProtocolClass,
        direction: Direction,
        signatures: &[(u32, &Signature)],
        known: &mut Known,
    ) -> PortTable {
        let reachable: Vec<(u32, &Signature)> = signatures
            .iter()
            .copied()
            .filter(|(_, s)| in_class(s, class) && in_direction(s, direction))
            .collect();
        let portless = reachable
            .iter()
            .filter(|(_, s)| s.header.src_port.any && s.header.dst_port.any)
            .map(|(index, _)| *index)
            .collect();
        let mut table = PortTable {
            portless: self.intern((class, direction), portless, known),
            ..PortTable::default()
        };
        if !class.has_ports() {
            return table;
        }
        let port_of = |s: &'_ Signature| -> PortSet {
            match direction {
                Direction::ToServer => s.header.dst_port.clone(),
                Direction::ToClient => s.header.src_port.clone(),
            }
        };
        let sets: Vec<(u32, PortSet)> = reachable
            .iter()
            .map(|(index, s)| (*index, port_of(s)))
            .collect();
        let starts = starts(&sets);
        let lists: Vec<Vec<u32>> = starts
            .iter()
            .map(|start| {
                sets.iter()
                    .filter(|(_, ports)| ports.contains(*start))
                    .map(|(index, _)| *index)
                    .collect()
            })
            .collect();
        let lists = bounded(&starts, lists);
        if let [list] = &*lists {
            table.groups = [self.intern((class, direction), list.clone(), known)].into();
            return table;
        }
        let mut groups = Vec::with_capacity(1 << 16);
        let ends = starts.iter().skip(1).map(|start| usize::from(*start));
        for (list, end) in lists.into_iter().zip(ends.chain([1 << 16])) {
            groups.resize(end, self.intern((class, direction), list, known));
        }
        table.groups = groups.into();
        table
    }
}

/// Groups known by the side they are of and their members.
type Known = HashMap<(usize, Vec<u32>), u32>;

/// Protocol classes and directions, in the order of `Groups::side`.
fn sides() -> impl Iterator<Item = (ProtocolClass, Direction)> {
    ProtocolClass::ALL
        .into_iter()
        .flat_map(|class| [Direction::ToServer, Direction::ToClient].map(|d| (class, d)))
}

/// First ports of the intervals within which all sets stay the same.
fn starts(sets: &[(u32, PortSet)]) -> Vec<u16> {
    let mut starts = vec![0u16];
    for (_, ports) in sets {
        for (low, high) in &ports.ranges {
            starts.push(*low);
            starts.extend(high.checked_add(1));
        }
    }
    starts.sort_unstable();
    starts.dedup();
    starts
}

/// At most [`GROUPS_PER_TABLE_MAX`] different lists: those of the most ports stay as they are, the
/// others become their union, which reaches more than it must and never less.
fn bounded(starts: &[u16], lists: Vec<Vec<u32>>) -> Vec<Vec<u32>> {
    let mut ports: HashMap<&[u32], u32> = HashMap::new();
    for (position, list) in lists.iter().enumerate() {
        let first = starts.get(position).map_or(0, |s| u32::from(*s));
        let next = starts.get(position + 1).map_or(1 << 16, |s| u32::from(*s));
        *ports.entry(list.as_slice()).or_default() += next - first;
    }
    if ports.len() <= GROUPS_PER_TABLE_MAX {
        return lists;
    }
    let mut by_ports: Vec<(u32, &[u32])> = ports.iter().map(|(list, n)| (*n, *list)).collect();
    by_ports.sort_by_key(|(n, list)| (std::cmp::Reverse(*n), std::cmp::Reverse(list.len())));
    let mut union: Vec<u32> = by_ports
        .iter()
        .skip(GROUPS_PER_TABLE_MAX - 1)
        .flat_map(|(_, list)| list.iter().copied())
        .collect();
    union.sort_unstable();
    union.dedup();
    let kept: std::collections::HashSet<&[u32]> = by_ports
        .iter()
        .take(GROUPS_PER_TABLE_MAX - 1)
        .map(|(_, list)| *list)
        .collect();
    lists
        .iter()
        .map(|list| {
            if kept.contains(list.as_slice()) {
                list.clone()
            } else {
                union.clone()
            }
        })
        .collect()
}

fn in_class(signature: &Signature, class: ProtocolClass) -> bool {
    let header = &signature.header;
    let any_ports = header.src_port.any && header.dst_port.any;
    if !(class.has_ports() || any_ports) {
        return false;
    }
    match &header.protocol {
        // Frames of IP packets have an Ethernet header too.
        Protocol::PacketHeader | Protocol::Ether => true,
        Protocol::Ip | Protocol::Ipv4 | Protocol::Ipv6 => class != ProtocolClass::NonIp,
        Protocol::Tcp | Protocol::TcpPacket | Protocol::TcpStream => class == ProtocolClass::Tcp,
        Protocol::Udp => class == ProtocolClass::Udp,
        Protocol::Sctp => class == ProtocolClass::Sctp,
        Protocol::Icmp => matches!(class, ProtocolClass::Icmp | ProtocolClass::Icmpv6),
        Protocol::Icmpv4 => class == ProtocolClass::Icmp,
        Protocol::Icmpv6 => class == ProtocolClass::Icmpv6,
        Protocol::Number(number) => class == ProtocolClass::of(*number),
        Protocol::Arp => class == ProtocolClass::NonIp,
        Protocol::App(word) => {
            let over = |transport| {
                DESCRIPTIONS
                    .iter()
                    .any(|d| d.protocol.is(word) && d.over.contains(&transport))
            };
            match class {
                ProtocolClass::Tcp => over(Transport::Tcp),
                ProtocolClass::Udp => over(Transport::Udp),
                _ => false,
            }
        }
    }
}

/// Whether a signature looks at transactions of the application layer.
pub fn looks_at_transactions(signature: &Signature) -> bool {
    let of_app = |buffer: &Buffer| matches!(buffer, Buffer::App(_));
    !signature.app.is_empty() || signature.inspect.iter().any(|view| of_app(&view.buffer))
}

/// Whether the rule's `flow` allows packets of a direction.
pub fn in_direction(signature: &Signature, direction: Direction) -> bool {
    let Some(flow) = &signature.flow else {
        return true;
    };
    match direction {
        Direction::ToServer => !flow.to_client || flow.to_server,
        Direction::ToClient => !flow.to_server || flow.to_client,
    }
}

fn anomaly_of(signature: &Signature) -> Option<u8> {
    signature.packet.iter().find_map(|test| match test {
        PacketTest::Anomaly(code) => Some(*code),
        _ => None,
    })
}

/// Where in its buffer a pattern can stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub enum Place {
    /// Anywhere.
    #[default]
    Anywhere,
    /// At the start.
    Start,
    /// At the end.
    End,
    /// It is all of the buffer.
    Whole,
}

/// The content that the prefilter looks for: bytes to find in the buffer, without regard to case
/// where `nocase`.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Pattern {
    /// Bytes, at most [`FAST_PATTERN_MAX`].
    pub bytes: Box<[u8]>,
    /// Case does not matter.
    pub nocase: bool,
    /// Where it can stand.
    pub place: Place,
}

/// Chooses the fast pattern among positive contents of the payload: the one the rule asks for,
/// else the longest, else the most telling. `None`: the signature has no prefilter.
pub fn fast_pattern(signature: &Signature) -> Option<Pattern> {
    let contents = signature
        .inspect
        .iter()
        .filter(|inspect| inspect.buffer == Buffer::Payload)
        .flat_map(|inspect| &inspect.tests)
        .filter_map(|test| match test {
            Test::Content(content) if !content.negated && !content.bytes.is_empty() => {
                Some(content)
            }
            _ => None,
        });
    let best = contents.max_by_key(|content| {
        let asked = content.fast_pattern != FastPattern::No;
        let length = content.bytes.len();
        (asked, length, strength(&content.bytes))
    })?;
    Some(pattern_of(best))
}

fn pattern_of(content: &Content) -> Pattern {
    let length = content.bytes.len();
    let range = match content.fast_pattern {
        FastPattern::Chop(offset, piece) => {
            let start = usize::from(offset).min(length);
            start..(start + usize::from(piece)).min(length)
        }
        _ => 0..length,
    };
    let range = if range.is_empty() { 0..length } else { range };
    pattern_of_piece(content, range)
}

/// The pattern of a piece of a content, or of a part of a long one: of one that stands at an end
/// the part there, else the most telling.
pub fn pattern_of_piece(content: &Content, range: std::ops::Range<usize>) -> Pattern {
    let window = fast_pattern::window(content, &range);
    let bytes = content.bytes.get(range).unwrap_or(&content.bytes);
    let length = bytes.len();
    let starts = window.start_min == 0 && window.end_max == Some(length as u32);
    let (bytes, place) = match (starts, window.at_end) {
        (true, true) if length <= FAST_PATTERN_MAX => (bytes, Place::Whole),
        (true, _) => (&bytes[..length.min(FAST_PATTERN_MAX)], Place::Start),
        (false, true) => (
            &bytes[length.saturating_sub(FAST_PATTERN_MAX)..],
            Place::End,
        ),
        (false, false) => {
            let telling = bytes
                .windows(FAST_PATTERN_MAX)
                .max_by_key(|window| strength(window));
            (telling.unwrap_or(bytes), Place::Anywhere)
        }
    };
    Pattern {
        bytes: bytes.into(),
        nocase: content.nocase,
        place,
    }
}

/// How telling bytes are: rare values count more than letters, letters more than fill.
fn strength(bytes: &[u8]) -> u32 {
    let mut seen = [false; 256];
    let mut sum = 0;
    for &byte in bytes {
        let weight = match byte {
            0 | 1 | 0xff => 1,
            _ if byte.is_ascii_alphabetic() => 3,
            _ if byte.is_ascii_graphic() || byte.is_ascii_whitespace() => 4,
            _ => 6,
        };
        let place = &mut seen[usize::from(byte)];
        sum += if std::mem::replace(place, true) {
            1
        } else {
            weight
        };
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::super::names::Names;
    use super::super::ruleset::blank;
    use super::super::signature::{FlowKeyword, Inspect};
    use super::*;

    fn tcp(sid: u32, ports: &[(u16, u16)]) -> Signature {
        let mut signature = blank(sid);
        signature.header.protocol = Protocol::Tcp;
        if !ports.is_empty() {
            signature.header.dst_port = PortSet {
                any: false,
                ranges: ports.to_vec(),
            };
        }
        signature
    }

    fn sids(set: &RuleSet, groups: &Groups, direction: Direction, port: Option<u16>) -> Vec<u32> {
        let group = groups.of(ProtocolClass::Tcp, direction, port);
        let (_, members) = groups.iter().nth(group as usize).unwrap();
        members
            .iter()
            .map(|i| set.signatures()[*i as usize].sid)
            .collect()
    }

    #[test]
    fn a_packet_reaches_what_its_port_and_direction_allow() {
        let mut to_client = tcp(4, &[]);
        to_client.flow = Some(FlowKeyword {
            to_client: true,
            ..FlowKeyword::default()
        });
        let set = RuleSet::build(
            vec![
                tcp(1, &[(80, 80), (8000, 8100)]),
                tcp(2, &[]),
                tcp(3, &[(443, 443)]),
                to_client,
            ],
            Names::default(),
            1,
        );
        let groups = Groups::build(&set, |_, _| false);
        let server = |port| sids(&set, &groups, Direction::ToServer, port);
        assert_eq!(server(Some(80)), [1, 2]);
        assert_eq!(server(Some(8100)), [1, 2]);
        assert_eq!(server(Some(8101)), [2]);
        assert_eq!(server(Some(443)), [2, 3]);
        assert_eq!(server(Some(65535)), [2]);
        assert_eq!(server(None), [2]);
        assert_eq!(
            sids(&set, &groups, Direction::ToClient, Some(9)),
            [1, 2, 3, 4]
        );
    }

    #[test]
    fn many_port_classes_share_a_union_that_misses_nothing() {
        let signatures = (1..300u32)
            .map(|sid| tcp(sid, &[(sid as u16, sid as u16 + 3)]))
            .collect();
        let set = RuleSet::build(signatures, Names::default(), 1);
        let groups = Groups::build(&set, |_, _| false);
        for port in 1..310u16 {
            let reached = sids(&set, &groups, Direction::ToServer, Some(port));
            for signature in set.signatures() {
                if signature.header.dst_port.contains(port) {
                    assert!(reached.contains(&signature.sid), "port {port}");
                }
            }
        }
        assert!(groups.len() <= 2 * GROUPS_PER_TABLE_MAX + 16);
    }

    #[test]
    fn the_longest_positive_content_is_the_fast_pattern_unless_asked_otherwise() {
        let content = |bytes: &[u8]| Content {
            bytes: bytes.into(),
            ..Content::default()
        };
        let with = |tests: Vec<Content>| Signature {
            inspect: vec![Inspect {
                buffer: Buffer::Payload,
                side: None,
                transforms: Vec::new(),
                absent: None,
                tests: tests.into_iter().map(Test::Content).collect(),
            }],
            ..blank(1)
        };
        let chosen = |s: &Signature| fast_pattern(s).map(|p| p.bytes.into_vec());
        let negated = Content {
            negated: true,
            ..content(b"much longer")
        };
        assert_eq!(
            chosen(&with(vec![content(b"abc"), negated.clone()])),
            Some(b"abc".to_vec())
        );
        assert_eq!(chosen(&with(vec![negated])), None);
        let asked = Content {
            fast_pattern: FastPattern::Chop(1, 2),
            ..content(b"wxyz")
        };
        assert_eq!(
            chosen(&with(vec![content(b"longest"), asked])),
            Some(b"xy".to_vec())
        );
    }
}
