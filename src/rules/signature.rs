//! What a rule means: the typed form that `parse` makes of a line and that the matcher compiles.
//!
//! Only plain data stands here. Text and spans are parse.rs's, grouping is group.rs's, running is
//! the matcher's. Semantics follow the public Suricata user guide as `RULES.md` sums it up.

mod inspect;
mod limits;

pub use inspect::*;
pub use limits::*;

use crate::app::{Field, Progress};
use crate::packet::{Direction, RejectTo};

/// What a rule asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Action {
    /// Ends detection for the packet (or flow) with nothing said.
    Pass,
    /// Drops.
    Drop,
    /// Drops and answers.
    Reject(RejectTo),
    /// Says so.
    Alert,
}

/// What an action is written for (`drop:packet`); where nothing is written the class says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum ActionScope {
    /// The packet alone.
    Packet,
    /// The flow, from the packet on.
    Flow,
}

/// Protocol word of the header.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub enum Protocol {
    /// `ip`: anything with an IP header.
    Ip,
    /// `ipv4` / `ip4`.
    Ipv4,
    /// `ipv6` / `ip6`.
    Ipv6,
    /// `tcp`.
    Tcp,
    /// `tcp-pkt`: packets, never the stream.
    TcpPacket,
    /// `tcp-stream`: the stream, never packets.
    TcpStream,
    /// `udp`.
    Udp,
    /// `icmp` / `icmpv4` (v4) and `icmp` (both): `icmp` matches ICMPv4 and ICMPv6.
    Icmp,
    /// `icmpv4`.
    Icmpv4,
    /// `icmpv6`.
    Icmpv6,
    /// `sctp`.
    Sctp,
    /// `esp`, `gre`, ... by IP protocol number.
    Number(u8),
    /// `arp`.
    Arp,
    /// `ether`.
    Ether,
    /// `pkthdr`: every packet, even one that could not be decoded.
    PacketHeader,
    /// An application protocol (`http`, `dns`, ...), by its lower-case name.
    App(Box<str>),
}

/// A set of addresses after variables and negations are resolved: an address matches if it is in
/// one of `include` and in none of `exclude`. Ranges are inclusive, IPv4 as ::ffff:a.b.c.d.
#[derive(Clone, PartialEq, Eq, Debug, Hash, Default)]
pub struct AddressSet {
    /// Everything matches (and `exclude` is empty).
    pub any: bool,
    /// Sorted, non-overlapping inclusive ranges that match (`exclude` already taken out).
    pub ranges: Vec<([u8; 16], [u8; 16])>,
    /// The text held a negation, or a range of IPv6 addresses with its ends: such a rule is not
    /// IP-only (`like_ip_only`).
    pub negated: bool,
}

impl AddressSet {
    /// Whether `addr` is in the set. O(log n).
    pub fn contains(&self, addr: &[u8; 16]) -> bool {
        if self.any {
            return true;
        }
        let after = self.ranges.partition_point(|(low, _)| low <= addr);
        after > 0
            && self
                .ranges
                .get(after - 1)
                .is_some_and(|(_, high)| addr <= high)
    }
}

/// A set of ports, the same way: sorted inclusive ranges.
#[derive(Clone, PartialEq, Eq, Debug, Hash, Default)]
pub struct PortSet {
    /// Everything matches.
    pub any: bool,
    /// Sorted, non-overlapping inclusive ranges.
    pub ranges: Vec<(u16, u16)>,
}

impl PortSet {
    /// Whether `port` is in the set.
    pub fn contains(&self, port: u16) -> bool {
        self.any
            || self
                .ranges
                .iter()
                .any(|(low, high)| (*low..=*high).contains(&port))
    }
}

/// Header of a rule. A `<>` rule becomes two signatures with one sid (`swapped` says which is the
/// second).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// Protocol word.
    pub protocol: Protocol,
    /// Source addresses.
    pub src_addr: AddressSet,
    /// Source ports.
    pub src_port: PortSet,
    /// Destination addresses.
    pub dst_addr: AddressSet,
    /// Destination ports.
    pub dst_port: PortSet,
    /// The rule was written with `<>`: either direction matches (src and dst swapped).
    pub bidirectional: bool,
    /// The rule was written with `=>` (transactional, both ways).
    pub transactional: bool,
}

/// The `flow` keyword.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FlowKeyword {
    /// `to_server` / `from_client`.
    pub to_server: bool,
    /// `to_client` / `from_server`.
    pub to_client: bool,
    /// `established`.
    pub established: bool,
    /// `not_established`.
    pub not_established: bool,
    /// `stateless`.
    pub stateless: bool,
    /// `only_stream`.
    pub only_stream: bool,
    /// `no_stream`.
    pub no_stream: bool,
    /// `only_frag`.
    pub only_frag: bool,
    /// `no_frag`.
    pub no_frag: bool,
}

/// Comparison of an unsigned number. Ranges are exclusive at both ends (RULES.md 6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compare {
    /// `=n`.
    Equal(u64),
    /// `!n`.
    NotEqual(u64),
    /// `<n`.
    Less(u64),
    /// `<=n`.
    LessEqual(u64),
    /// `>n`.
    Greater(u64),
    /// `>=n`.
    GreaterEqual(u64),
    /// `a<>b`, `a-b`: a < x < b.
    Between(u64, u64),
    /// `!a-b`: outside of that.
    NotBetween(u64, u64),
    /// `&mask`: some bit set... `&mask=value`, negated by the flag.
    Mask {
        /// Bits looked at.
        mask: u64,
        /// Value that they must have.
        value: u64,
        /// Whether they must not.
        negated: bool,
    },
}

impl Compare {
    /// Whether `x` satisfies the comparison.
    pub fn test(self, x: u64) -> bool {
        match self {
            Compare::Equal(n) => x == n,
            Compare::NotEqual(n) => x != n,
            Compare::Less(n) => x < n,
            Compare::LessEqual(n) => x <= n,
            Compare::Greater(n) => x > n,
            Compare::GreaterEqual(n) => x >= n,
            Compare::Between(low, high) => low < x && x < high,
            Compare::NotBetween(low, high) => !(low < x && x < high),
            Compare::Mask {
                mask,
                value,
                negated,
            } => ((x & mask) == value) != negated,
        }
    }
}

/// A header or packet keyword.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PacketTest {
    /// `dsize`.
    PayloadSize(Compare),
    /// `ttl` (IPv6: hop limit).
    Ttl(Compare),
    /// `tos`.
    Tos(Compare),
    /// `id`.
    IpId(Compare),
    /// `ip_proto`.
    IpProtocol(Compare),
    /// `ipopts`: option name as in the guide (`rr`, `lsrr`, `any`, ...).
    IpOption(Box<str>),
    /// `fragbits`.
    FragBits {
        /// Bits: 1 = more fragments, 2 = don't fragment, 4 = reserved.
        bits: u8,
        /// `+`, `*`, `!` or 0 for exact.
        modifier: u8,
    },
    /// `fragbits` as a number: of the word that has the bits and the offset.
    FragWord(Compare),
    /// `fragoffset` (in 8-byte units; IPv6: in bytes).
    FragOffset(Compare),
    /// `sameip`.
    SameIp,
    /// The hook `flow_start`: the first packet of a flow.
    FlowStart,
    /// `tcp.session`: bits 1 setup, 2 established, 4 closing; one of them.
    TcpSession(u8),
    /// `iprep`.
    Reputation(crate::rules::reputation::Reputation),
    /// `geoip`.
    Country(crate::rules::countries::Country),
    /// `rpc`: a call of this program, of this version and procedure if they are named.
    Rpc {
        /// Program.
        program: u32,
        /// Its version.
        version: Option<u32>,
        /// Procedure.
        procedure: Option<u32>,
    },
    /// `l3_proto`: 4 or 6.
    IpVersion(u8),
    /// `flags` / `tcp.flags`.
    TcpFlags {
        /// Bits asked for.
        flags: u8,
        /// `+` (2), `*` (3), `!` (1), `=` or none (0).
        modifier: u8,
        /// Bits ignored.
        ignored: u8,
    },
    /// The same as a number.
    TcpFlagByte(Compare),
    /// `seq` / `tcp.seq`.
    TcpSeq(Compare),
    /// `ack` / `tcp.ack`.
    TcpAck(Compare),
    /// `window` / `tcp.window`.
    TcpWindow(Compare),
    /// `tcp.mss`.
    TcpMss(Compare),
    /// `tcp.wscale`.
    TcpWscale(Compare),
    /// `itype`.
    IcmpType(Compare),
    /// `igmp.type`.
    IgmpType(Compare),
    /// `icode`.
    IcmpCode(Compare),
    /// `icmp_id`.
    IcmpId(Compare),
    /// `icmp_seq`.
    IcmpSeq(Compare),
    /// `icmpv6.mtu`.
    Icmpv6Mtu(Compare),
    /// `decode-event`: anomaly code (decode::Anomaly as u8), `stream-event` likewise.
    Anomaly(u8),
    /// `ipv4-csum`, `tcpv4-csum`, ...: protocol word and whether valid is wanted.
    Checksum {
        /// `ipv4`, `tcpv4`, `tcpv6`, `udpv4`, `udpv6`, `icmpv4`, `icmpv6`.
        which: Box<str>,
        /// `valid`.
        valid: bool,
    },
    /// `stream_size`: direction 0 server, 1 client, 2 both, 3 either.
    StreamSize {
        /// Which sides.
        side: u8,
        /// Comparison.
        compare: Compare,
    },
    /// `flow.age`, in seconds.
    FlowAge(Compare),
    /// `flow.pkts...`: side 0 to server, 1 to client, 2 either, 3 both.
    FlowPackets {
        /// Which sides.
        side: u8,
        /// Comparison.
        compare: Compare,
    },
    /// `flow.bytes...`.
    FlowBytes {
        /// Which sides.
        side: u8,
        /// Comparison.
        compare: Compare,
    },
    /// `flow.elephant`: side 0 to server, 1 to client, 2 either, 3 both.
    FlowElephant(u8),
    /// `vlan.id`: of the tags, from the outermost, those that are meant.
    VlanId {
        /// The id; `None` where tags are counted.
        compare: Option<Compare>,
        /// Which of them.
        which: Which,
        /// From one layer to another, as of instances.
        slice: (i32, i32),
    },
    /// `vlan.layers`.
    VlanLayers(Compare),
    /// `sctp.chunk_cnt`.
    SctpChunkCount(Compare),
    /// `sctp.chunk_type` (any chunk).
    SctpChunkType(Compare),
    /// `sctp.vtag`.
    SctpVtag(Compare),
    /// `app-layer-protocol`.
    AppProtocol {
        /// Protocol names (`failed`, `unknown` included): one of them.
        names: Vec<Box<str>>,
        /// `!`: a known one, and none of them.
        negated: bool,
        /// Whose protocol is meant.
        of: Spoken,
        /// No relatives (`http` for `http2`).
        exact: bool,
    },
}

/// Whose protocol `app-layer-protocol` means.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Spoken {
    /// What the packet's own direction tells.
    #[default]
    Direction,
    /// What the flow is taken for.
    Final,
    /// What it was before it changed.
    Original,
    /// What either direction tells.
    Either,
    ToServer,
    ToClient,
}

/// Test or change of state that outlives the packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StateTest {
    /// `flowbits` (names are ids of the rule set's table; several: OR).
    Flowbit {
        /// What to do.
        command: BitCommand,
        /// Ids.
        bits: Vec<u32>,
    },
    /// `flowint:name,op,value`.
    Flowint {
        /// Variable id.
        name: u32,
        /// Operator.
        operator: IntOperator,
        /// Literal value or another variable's id.
        value: Result<u32, u32>,
    },
    /// `xbits`, `hostbits`.
    HostBit {
        /// What to do.
        command: BitCommand,
        /// Id.
        bit: u32,
        /// What it hangs on.
        track: Track,
        /// Seconds until it expires (default 300 for hostbits, as given or 0 = guide default).
        expire: u32,
    },
    /// `flowvar:name,value`: the flow's variable has these bytes in it.
    FlowVariable {
        /// Number of its name.
        name: u32,
        /// What it holds.
        bytes: Box<[u8]>,
    },
    /// `pktvar:name,value`: the packet's variable has these bytes in it.
    PacketVariable {
        /// Number of its name.
        name: u32,
        /// What it holds.
        bytes: Box<[u8]>,
    },
    /// `xbits:set,NAME,track tx`: the bit is set in the transaction that the rule hit.
    TransactionBit {
        /// Id.
        bit: u32,
    },
}

/// Command of a bit keyword.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BitCommand {
    /// `set`.
    Set,
    /// `unset`.
    Unset,
    /// `toggle`.
    Toggle,
    /// `isset`.
    IsSet,
    /// `isnotset`.
    IsNotSet,
}

/// Operator of flowint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IntOperator {
    /// `=`.
    Set,
    /// `+`.
    Add,
    /// `-`.
    Subtract,
    /// `<`.
    Less,
    /// `<=`.
    LessEqual,
    /// `>`.
    Greater,
    /// `>=`.
    GreaterEqual,
    /// `==`.
    Equal,
    /// `!=`.
    NotEqual,
    /// `isset`.
    IsSet,
    /// `isnotset`/`notset`.
    IsNotSet,
}

/// Which files `filestore` means.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FileStore {
    /// Whose; that of the match if nothing is said.
    pub directions: Option<[bool; 2]>,
    /// All files of the flow from now on, not those of the transaction alone.
    pub flow: bool,
}

/// What a threshold, bit or tag hangs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Track {
    /// `by_src` / `ip_src`.
    Source,
    /// `by_dst` / `ip_dst`.
    Destination,
    /// `by_both` / `ip_pair`.
    Both,
    /// `by_rule`.
    Rule,
    /// `by_flow` / `tx`.
    Flow,
}

/// Test of a number of a transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AppTest {
    /// Which number.
    pub field: Field,
    /// The direction whose instances are meant; `None`: of the direction at hand.
    pub side: Option<Direction>,
    /// One of these must hold.
    pub any_of: Vec<Compare>,
    /// None of the field's instances may satisfy it.
    pub negated: bool,
    /// Which of the field's instances are asked.
    pub which: Which,
    /// The part of the instances that is looked at: start and end (0: the last included), negative
    /// ones from the end.
    pub slice: (i32, i32),
}

/// Which instances of a number are asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Which {
    /// Any of them.
    #[default]
    Any,
    /// Any of them, or there is none.
    AnyOrNone,
    /// All of them, and there is one.
    All,
    /// All of them.
    AllOrNone,
    /// The one at this place; negative ones count from the last.
    At(i32),
    /// The same, or there is none at that place.
    AtOrOut(i32),
    /// So many of them.
    Matches(Compare),
    /// There are so many of them, whatever their values.
    Count(Compare),
    /// None: the direction of the transaction has come so far.
    Reached(Progress),
    /// None of them, or the direction of the transaction has not come so far, when it is looked at.
    NotYet(Option<Progress>),
}

/// Kind of threshold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ThresholdKind {
    /// `limit`.
    Limit,
    /// `threshold`.
    Threshold,
    /// `both`.
    Both,
    /// `backoff`.
    Backoff,
    /// `detection_filter`.
    DetectionFilter,
}

/// `threshold` or `detection_filter`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Threshold {
    /// Kind.
    pub kind: ThresholdKind,
    /// What it counts per.
    pub track: Track,
    /// `count`.
    pub count: u32,
    /// `seconds`.
    pub seconds: u32,
    /// `multiplier` (backoff).
    pub multiplier: u32,
    /// Count distinct values of: 0 nothing, 3 src_port, 4 dst_port.
    pub unique_on: u8,
}

/// Where the rule stands.
#[derive(Clone, PartialEq, Eq, Debug, Default, Hash)]
pub struct Source {
    /// Path as given.
    pub file: std::sync::Arc<str>,
    /// First line, from 1.
    pub line: u32,
    /// Its text, where texts are kept.
    pub text: Option<Box<str>>,
}

/// What decides when a rule is evaluated and what its action hits (rule-types of the guide).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub enum Class {
    /// Decoder events only: packet, no flow needed.
    DecoderEvents,
    /// Packet keywords: each packet, action on the packet.
    #[default]
    Packet,
    /// Addresses only: once per flow direction, action on the flow.
    IpOnly,
    /// Addresses with negation: every packet, action as IpOnly on the packet.
    LikeIpOnly,
    /// Protocol detection only.
    ProtocolDetection,
    /// Content with position: packet and stream.
    PacketStream,
    /// Plain content: stream (packet where there is none).
    Stream,
    /// Application protocol without buffers.
    AppLayer,
    /// Application buffers.
    AppTransaction,
}

/// A compiled rule line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signature {
    /// What it asks for.
    pub action: Action,
    /// What the action is written for.
    pub scope: Option<ActionScope>,
    /// Header.
    pub header: Header,
    /// `sid`.
    pub sid: u32,
    /// `gid`, default 1.
    pub gid: u32,
    /// `rev`.
    pub rev: u32,
    /// `msg`, unescaped.
    pub msg: Box<str>,
    /// `classtype`.
    pub classtype: Option<Box<str>>,
    /// `priority`, from classtype or 3.
    pub priority: u8,
    /// `reference`s, as `system,id`.
    pub references: Vec<(Box<str>, Box<str>)>,
    /// `metadata` pairs.
    pub metadata: Vec<(Box<str>, Box<str>)>,
    /// `target`: Some(true) = dest_ip, Some(false) = src_ip.
    pub target: Option<bool>,
    /// `flow`.
    pub flow: Option<FlowKeyword>,
    /// Header and packet keywords.
    pub packet: Vec<PacketTest>,
    /// State keywords, in rule order.
    pub state: Vec<StateTest>,
    /// Buffers with their tests, in rule order; tests before any sticky buffer are `Payload`.
    pub inspect: Vec<Inspect>,
    /// Numbers of transactions, in rule order.
    pub app: Vec<AppTest>,
    /// `threshold`.
    pub threshold: Option<Threshold>,
    /// `detection_filter`.
    pub detection_filter: Option<Threshold>,
    /// `suppress` and `rate_filter` of a threshold file.
    pub limits: Limits,
    /// `tag`s.
    pub tags: Vec<Tag>,
    /// `noalert`.
    pub noalert: bool,
    /// `alert` keyword (adds an alert to `pass`).
    pub alert: bool,
    /// `bypass`.
    pub bypass: bool,
    /// `filestore`.
    pub filestore: Option<FileStore>,
    /// `config`: the transaction that it matches in is not told of.
    pub quiet: bool,
    /// A keyword asks about each file (`filename`, `filesize`, ...), not about a buffer of them.
    pub per_file: bool,
    /// `prefilter` keyword.
    pub prefilter: bool,
    /// Class.
    pub class: Class,
    /// Number of byte variables.
    pub variables: u8,
    /// Where it stands.
    pub source: Source,
    /// Keywords that this build cannot execute; such a signature is reported and not run.
    pub unsupported: Vec<Box<str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_exclusive() {
        assert!(!Compare::Between(5, 8).test(5));
        assert!(Compare::Between(5, 8).test(6));
        assert!(!Compare::Between(5, 8).test(8));
        assert!(Compare::NotBetween(5, 8).test(8));
    }

    #[test]
    fn an_address_set_looks_up_its_ranges() {
        let address = |last: u8| {
            let mut a = [0u8; 16];
            a[15] = last;
            a
        };
        let set = AddressSet {
            any: false,
            ranges: vec![(address(3), address(5)), (address(9), address(9))],
            negated: false,
        };
        let inside: Vec<u8> = (0..12).filter(|i| set.contains(&address(*i))).collect();
        assert_eq!(inside, [3, 4, 5, 9]);
    }
}
