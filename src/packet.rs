//! The context of a packet: what the stages write about it while the frame stays in its buffer.
//!
//! A context is three cache lines. Line 0 is written by port and decode, line 1 by every stage on
//! its turn, line 2 by flow for match ("the flow's values as of this packet"). It travels by
//! `Handle` (memory.rs); frames are read only and never here. A *view* (inner packet, reassembled
//! datagram, stream piece, end of a flow) has a context of its own and follows its carrier in the
//! burst; all but the last of the chain have the handle's `more` flag.

use crate::memory::{BufferPlace, Handle, Span};
use crate::reason::Reason;

/// Frames in a burst; with their views a burst may hold `BURST_VIEWS_MAX` handles.
pub const BURST_MAX: usize = 64;
/// Handles in a burst, views included.
pub const BURST_VIEWS_MAX: usize = 512;
/// Longest frame that is inspected, bytes (a 65,535-byte IP packet and its link headers).
pub const FRAME_LENGTH_MAX: u32 = 65_535 + 64;
/// Anomalies kept per packet; further ones are counted only.
pub const ANOMALIES_MAX: usize = 8;
/// VLAN tags kept per packet (`vlan.id` addresses three).
pub const VLANS_MAX: usize = 3;

/// A burst of handles, in order. Its vector is allocated once with `BURST_VIEWS_MAX` capacity.
pub type Burst = Vec<Handle>;

/// Address family, protocol and both endpoints, in canonical order (lower endpoint first), so that
/// both directions of a flow give the same bytes. 40 bytes.
///
/// IPv4 addresses stand as ::ffff:a.b.c.d; the version bit in `scope` keeps a real IPv6 packet of
/// such an address apart. Ports are host order. ICMP: see decode/tuple.rs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(C)]
pub struct Tuple {
    /// Lower endpoint's address.
    pub a_addr: [u8; 16],
    /// Higher endpoint's address.
    pub b_addr: [u8; 16],
    /// Lower endpoint's port (or ICMP type), host order.
    pub a_port: u16,
    /// Higher endpoint's port (or ICMP code), host order.
    pub b_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// VLANs, port pair and tunnel id, folded, and the IP version: decode/tuple.rs.
    pub scope: [u8; 3],
}

/// What a context stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum Kind {
    /// A frame as it came from the port; the first of its chain.
    #[default]
    Frame,
    /// A packet inside a tunnel, in the carrier's bytes (or a reassembled datagram's).
    Inner,
    /// A datagram put together from fragments, in pooled bytes. Span starts at the IP header.
    Datagram,
    /// Stream bytes that waited behind a gap, in pooled bytes. Span is the stream data.
    Stream,
    /// The end of a flow: no bytes; `flow` names it, match frees its state, events are emitted.
    FlowEnd,
}

/// Which way a packet goes within its flow: who sent the flow's first packet is the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
#[repr(u8)]
pub enum Direction {
    /// From the client (first sender).
    #[default]
    ToServer,
    /// From the server.
    ToClient,
}

impl Direction {
    /// The other way.
    pub fn opposite(self) -> Direction {
        match self {
            Direction::ToServer => Direction::ToClient,
            Direction::ToClient => Direction::ToServer,
        }
    }

    /// 0 to the server, 1 to the client.
    pub fn index(self) -> usize {
        self as usize
    }
}

/// Names a flow: its slot and the generation that the slot had then.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct FlowHandle {
    /// Slot in the table; `FlowHandle::NONE` has no flow.
    pub slot: u32,
    /// Generation of the slot.
    pub generation: u32,
}

impl FlowHandle {
    /// No flow.
    pub const NONE: FlowHandle = FlowHandle {
        slot: u32::MAX,
        generation: 0,
    };

    /// Whether this names a flow.
    pub fn is_some(self) -> bool {
        self.slot != u32::MAX
    }
}

/// What happens to a packet. An alert is an event, not a verdict.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Verdict {
    /// It goes on.
    #[default]
    Forward,
    /// It does not, for this reason.
    Drop(Reason),
    /// It does not, and its sender is told.
    Reject(Reason),
}

/// Whom a reject answers (`reject`/`rejectsrc`, `rejectdst`, `rejectboth`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub enum RejectTo {
    /// The sender of the packet.
    #[default]
    Source,
    /// Its receiver.
    Destination,
    /// Both.
    Both,
}

macro_rules! flags {
    ($($(#[doc = $doc:literal])+ $name:ident = $bit:literal;)+) => {
        /// Bits of [`Context::flags`].
        pub mod flag { $($(#[doc = $doc])+ pub const $name: u32 = 1 << $bit;)+ }
    };
}

flags! {
    /// IPv4 header was decoded.
    IPV4 = 0;
    /// IPv6 header was decoded.
    IPV6 = 1;
    /// The packet is a fragment (not a whole datagram); `l4` is not set unless first and complete.
    FRAGMENT = 2;
    /// Transport header was decoded (`l4`, `payload` valid, `protocol` says which).
    TRANSPORT = 3;
    /// A checksum is wrong (IP or transport).
    CHECKSUM_BAD = 4;
    /// The packet is ARP.
    ARP = 5;
    /// `src` of the packet is endpoint `b` of the canonical tuple.
    REVERSED = 6;
    /// An ICMP error whose tuple is that of the packet it quotes.
    ICMP_ERROR = 7;
    /// Decode found nothing it can give to flow; the tuple's addresses and protocol are valid all
    /// the same where `IPV4` or `IPV6` is set.
    NO_FLOW = 8;
    /// The frame has an inner packet that follows as a view.
    HAS_INNER = 9;
    /// Reassembled datagram was made from fragments (also set on views inside it).
    REBUILT = 10;
    /// The drop of this packet needs no event: that of its flow was told in this direction.
    DROP_TOLD = 11;
    /// A rule tagged the packet's flow or host: it is told of.
    TAGGED = 12;
    /// The whole flow is passed: a rule or a policy said so.
    PASS_FLOW = 13;
    /// The end of a flow (`FlowEnd` views) was told of.
    FLOW_TOLD = 14;
    /// `stream_*` fields are valid: the payload's piece belongs to the stream, in order.
    STREAM = 16;
    /// Payload was not given to the stream (no handshake, invalid, not TCP): inspect as a packet.
    STREAM_NONE = 17;
    /// First bytes of this direction's stream.
    STREAM_START = 18;
    /// No more bytes will follow in this direction (FIN, RST, close, depth).
    STREAM_END = 19;
    /// A gap was given up right before these stream bytes.
    STREAM_GAP = 20;
    /// Flow was created by this packet.
    FLOW_NEW = 21;
    /// Flow is established (TCP: handshake done; others: both sides seen).
    ESTABLISHED = 22;
    /// Flow was picked up in the middle.
    MIDSTREAM = 23;
    /// Flow is bypassed: no inspection.
    BYPASS = 24;
    /// The verdict of this packet is final already (dropped by decode or flow): no inspection.
    DECIDED = 25;
    /// First packet of its direction in this flow.
    FIRST_OF_DIRECTION = 26;
    /// The whole flow is dropped, with this packet or before it.
    DROP_FLOW = 27;
    /// A tap or shadow mode would have dropped (verdict stays Forward; reason says why).
    WOULD_DROP = 28;
    /// Retransmission that brings no new bytes.
    RETRANSMIT = 29;
    /// An alert was raised in this flow so far (`FlowEnd` views: in all of it).
    ALERTED = 30;
}

/// The flow's values as of this packet: written by flow, read by match and the events. One line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub struct FlowValues {
    /// Packets per direction, this one included.
    pub packets: [u32; 2],
    /// Bytes (IP length and link header, as frames) per direction, this packet included.
    pub bytes: [u64; 2],
    /// Arrival of the flow's first packet, nanoseconds.
    pub start_ns: u64,
    /// Stream bytes per direction (`stream_size`: next sequence number less initial one).
    pub stream_bytes: [u32; 2],
    /// TCP state number for events (flow/tcp.rs), 0 if none.
    pub tcp_state: u8,
    /// TCP flags seen per direction, ORed; of ICMP, the first packet's code and 0.
    pub tcp_flags: [u8; 2],
    /// Why the flow ended (`FlowEnd` views; flow/record.rs).
    pub end_reason: u8,
    /// Directions that reached the rate of `flow.rate-tracking`: bits 1 to the server, 2 to the client.
    pub elephant: u8,
    /// Directions in which stream bytes were given up (`FlowEnd` views), as `elephant` has them.
    pub gaps: u8,
    /// Milliseconds are not kept; this is the last packet's arrival for `FlowEnd`, nanoseconds.
    pub last_ns: u64,
}

/// What the stages know of a packet. 192 bytes, three lines.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct Context {
    // --- line 0: port and decode ---
    /// Canonical tuple; valid where `flag::IPV4` or `flag::IPV6` is set.
    pub tuple: Tuple,
    /// Keyed hash of the tuple, computed by flow or decode.
    pub hash: u64,
    /// Byte position of the network header in the span.
    pub l3: u16,
    /// Byte position of the transport header in the span.
    pub l4: u16,
    /// Byte position of the payload in the span.
    pub payload: u16,
    /// Payload length in bytes, link-layer trailer excluded.
    pub payload_length: u16,
    /// Bits of [`flag`].
    pub flags: u32,
    /// IP protocol after extension headers (also of fragments).
    pub protocol: u8,
    /// Link layer below the network header (decode::LinkType as u8).
    pub link: u8,
    /// Anomalies in `anomalies`, at most [`ANOMALIES_MAX`].
    pub anomaly_count: u8,
    /// VLAN tags in `vlans`.
    pub vlan_count: u8,
    // --- line 1: every stage on its turn ---
    /// Where the bytes are.
    pub span: Span,
    /// The flow this packet belongs to, or `FlowHandle::NONE`.
    pub flow: FlowHandle,
    /// Position in the capture or feed, from 1; 0 where there is none (live). Owners merge by it.
    pub order: u64,
    /// Arrival, nanoseconds since the epoch.
    pub time_ns: u64,
    /// Offset of the first new stream byte from the start of the stream (wrapping).
    pub stream_offset: u32,
    /// Payload bytes before the first new stream byte.
    pub stream_skip: u16,
    /// New, in-order stream bytes (payload[stream_skip..][..stream_length]).
    pub stream_length: u16,
    /// Pool block that a view owns; `u32::MAX` if none.
    pub block: u32,
    /// Signature that decided, index in the rule set; `u32::MAX` if none.
    pub signature: u32,
    /// Generation of the rules that it was matched with.
    pub generation: u32,
    /// Buffer of the port's region that goes home with this context (port/mod.rs).
    pub buffer: BufferPlace,
    /// What this context stands for.
    pub kind: Kind,
    /// Way within the flow.
    pub direction: Direction,
    /// Port (index in the lane's pair) that the frame came from: 0 inside, 1 outside.
    pub port: u8,
    /// Worker that minted the context and gets it back.
    pub home: u8,
    /// The verdict so far.
    pub verdict: Verdict,
    /// Whom a reject verdict answers.
    pub reject_to: RejectTo,
    /// Reason behind `flag::WOULD_DROP`.
    pub would: Option<Reason>,
    /// Anomaly codes (decode::Anomaly as u8), the first `anomaly_count`.
    pub anomalies: [u8; ANOMALIES_MAX],
    /// VLAN ids, outermost first.
    pub vlans: [u16; VLANS_MAX],
    /// What the flow speaks (number of app's `AppProtocol`), as match knows it.
    pub app: u8,
    /// Layers of tunnel around this packet (0 for a frame).
    pub depth: u8,
    /// Time of the feed as of this packet, nanoseconds; never less than for the packet before, on
    /// whichever lane. 0 where the arrival says it (live): read it with [`Context::clock`].
    pub clock_ns: u64,
    // --- line 2: flow for match ---
    /// Values of the flow as of this packet.
    pub values: FlowValues,
}

const _: () = assert!(size_of::<Tuple>() == 40 && align_of::<Tuple>() == 2);
const _: () = assert!(size_of::<FlowValues>() == 64);
const _: () = assert!(size_of::<Context>() <= 256);

impl Default for Context {
    fn default() -> Self {
        Context {
            tuple: Tuple::default(),
            hash: 0,
            l3: 0,
            l4: 0,
            payload: 0,
            payload_length: 0,
            flags: 0,
            protocol: 0,
            link: 0,
            anomaly_count: 0,
            vlan_count: 0,
            span: Span::default(),
            flow: FlowHandle::NONE,
            order: 0,
            time_ns: 0,
            stream_offset: 0,
            stream_skip: 0,
            stream_length: 0,
            block: u32::MAX,
            signature: u32::MAX,
            generation: 0,
            buffer: BufferPlace::default(),
            kind: Kind::Frame,
            direction: Direction::ToServer,
            port: 0,
            home: 0,
            verdict: Verdict::Forward,
            reject_to: RejectTo::Source,
            would: None,
            anomalies: [0; ANOMALIES_MAX],
            vlans: [0; VLANS_MAX],
            app: 0,
            depth: 0,
            clock_ns: 0,
            values: FlowValues::default(),
        }
    }
}

impl Context {
    /// Makes the record ready for a new packet; `home` stays, and a buffer that is still in it.
    pub fn reset(&mut self) {
        *self = Context {
            home: self.home,
            buffer: std::mem::take(&mut self.buffer),
            ..Context::default()
        };
    }

    /// The time by which everything that ages is judged, nanoseconds: a function of the packet's
    /// place in the feed alone, so that no result depends on lanes, layout or bursts.
    pub fn clock(&self) -> u64 {
        if self.clock_ns == 0 {
            self.time_ns
        } else {
            self.clock_ns
        }
    }

    /// Whether all of `bits` are set.
    pub fn has(&self, bits: u32) -> bool {
        self.flags & bits == bits
    }

    /// Sets `bits`.
    pub fn set(&mut self, bits: u32) {
        self.flags |= bits;
    }

    /// Notes an anomaly; beyond [`ANOMALIES_MAX`] the caller's counter is all that stays.
    pub fn note(&mut self, code: u8) {
        if let Some(place) = self.anomalies.get_mut(usize::from(self.anomaly_count)) {
            *place = code;
            self.anomaly_count += 1;
        }
    }

    /// Anomaly codes noted so far.
    pub fn noted(&self) -> &[u8] {
        self.anomalies
            .get(..usize::from(self.anomaly_count))
            .unwrap_or(&[])
    }

    /// Payload within the span's bytes; empty where decode found none.
    pub fn payload_of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let start = usize::from(self.payload);
        bytes
            .get(start..start + usize::from(self.payload_length))
            .unwrap_or(&[])
    }

    /// New in-order stream bytes within the span's bytes. For `Kind::Stream` it is the whole span.
    pub fn stream_of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        if self.kind == Kind::Stream {
            return bytes;
        }
        let payload = self.payload_of(bytes);
        let start = usize::from(self.stream_skip);
        payload
            .get(start..start + usize::from(self.stream_length))
            .unwrap_or(&[])
    }

    /// Source address, as 16 bytes.
    pub fn src_addr(&self) -> &[u8; 16] {
        if self.has(flag::REVERSED) {
            &self.tuple.b_addr
        } else {
            &self.tuple.a_addr
        }
    }

    /// Destination address, as 16 bytes.
    pub fn dst_addr(&self) -> &[u8; 16] {
        if self.has(flag::REVERSED) {
            &self.tuple.a_addr
        } else {
            &self.tuple.b_addr
        }
    }

    /// Source port (TCP, UDP, SCTP), 0 otherwise.
    pub fn src_port(&self) -> u16 {
        if self.has(flag::REVERSED) {
            self.tuple.b_port
        } else {
            self.tuple.a_port
        }
    }

    /// Destination port (TCP, UDP, SCTP), 0 otherwise.
    pub fn dst_port(&self) -> u16 {
        if self.has(flag::REVERSED) {
            self.tuple.a_port
        } else {
            self.tuple.b_port
        }
    }

    /// Takes the worse of two verdicts: Reject over Drop over Forward; the first of equals stays.
    pub fn worsen(&mut self, other: Verdict, signature: u32) {
        let rank = |verdict: Verdict| match verdict {
            Verdict::Forward => 0,
            Verdict::Drop(_) => 1,
            Verdict::Reject(_) => 2,
        };
        if rank(other) > rank(self.verdict) {
            self.verdict = other;
            self.signature = signature;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_verdict_stays() {
        let mut context = Context::default();
        context.worsen(Verdict::Drop(Reason::Rule), 3);
        context.worsen(Verdict::Drop(Reason::TcpUrgent), 4);
        assert_eq!(
            (context.verdict, context.signature),
            (Verdict::Drop(Reason::Rule), 3)
        );
        context.worsen(Verdict::Reject(Reason::RuleReject), 5);
        assert_eq!(context.signature, 5);
    }

    #[test]
    fn a_context_keeps_to_four_lines() {
        assert!(size_of::<Context>().is_multiple_of(64));
    }
}
