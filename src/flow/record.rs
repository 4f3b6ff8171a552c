//! What flow keeps about a flow beside the table's entry: counters for every flow, TCP state for
//! the inspected ones, and the wrapping sequence number. Who finds, admits and releases the entry is
//! table.rs and stage.rs; how TCP state moves is tcp.rs. Read RFC 9293 section 3.4 (sequence
//! numbers) first.

use super::stream::Stream;
use crate::packet::{Context, Direction, flag};

/// No slab, no page, no slot.
pub const NONE: u32 = u32::MAX;

/// A TCP sequence number. It wraps, so it has no order: `a` is before `b` when the shorter way
/// round leads from `a` up to `b`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SeqNum(pub u32);

impl SeqNum {
    /// The number `count` bytes further on.
    pub fn plus(self, count: u32) -> SeqNum {
        SeqNum(self.0.wrapping_add(count))
    }

    /// The number `count` bytes back.
    pub fn minus(self, count: u32) -> SeqNum {
        SeqNum(self.0.wrapping_sub(count))
    }

    /// Bytes from `earlier` on to `self`; negative if it is the other way round.
    pub fn since(self, earlier: SeqNum) -> i32 {
        self.0.wrapping_sub(earlier.0) as i32
    }

    /// Whether `self` comes before `other`.
    pub fn before(self, other: SeqNum) -> bool {
        self.since(other) < 0
    }

    /// Whether `self` comes after `other`.
    pub fn after(self, other: SeqNum) -> bool {
        self.since(other) > 0
    }

    /// The later of two.
    pub fn latest(self, other: SeqNum) -> SeqNum {
        if other.after(self) { other } else { self }
    }
}

/// Why a flow ended: `FlowValues::end_reason` of its `FlowEnd` view.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum EndReason {
    /// It did not end.
    #[default]
    None = 0,
    /// No packet came for as long as its state allows.
    Timeout = 1,
    /// A new connection took its ports.
    Closed = 2,
    /// It made room for another.
    Evicted = 3,
    /// The engine stopped, or the capture ended.
    Shutdown = 4,
}

/// TCP states, numbered as in the events of other engines so that `tcp_state` reads alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum TcpPhase {
    /// No handshake seen, nothing picked up.
    #[default]
    None = 0,
    /// A SYN was seen.
    SynSent = 2,
    /// Its SYN+ACK was seen.
    SynReceived = 3,
    /// Handshake done (or picked up in the middle).
    Established = 4,
    /// The server closed first; not acknowledged.
    FinWait1 = 5,
    /// The server's FIN was acknowledged.
    FinWait2 = 6,
    /// Server closed first, then the client; the last ACK is missing.
    TimeWait = 7,
    /// Client closed first, then the server; the last ACK is missing.
    LastAck = 8,
    /// The client closed first.
    CloseWait = 9,
    /// Both closed before either FIN was acknowledged.
    Closing = 10,
    /// Both FINs acknowledged, or reset.
    Closed = 11,
}

impl TcpPhase {
    /// Whether the handshake lies behind.
    pub fn is_established(self) -> bool {
        self as u8 >= TcpPhase::Established as u8
    }

    /// Whether both sides have closed.
    pub fn is_closing(self) -> bool {
        matches!(
            self,
            TcpPhase::TimeWait | TcpPhase::LastAck | TcpPhase::Closing | TcpPhase::Closed
        )
    }

    /// EVE's name of the state.
    pub const fn name(self) -> &'static str {
        match self {
            TcpPhase::None => "none",
            TcpPhase::SynSent => "syn_sent",
            TcpPhase::SynReceived => "syn_recv",
            TcpPhase::Established => "established",
            TcpPhase::FinWait1 => "fin_wait1",
            TcpPhase::FinWait2 => "fin_wait2",
            TcpPhase::TimeWait => "time_wait",
            TcpPhase::LastAck => "last_ack",
            TcpPhase::CloseWait => "close_wait",
            TcpPhase::Closing => "closing",
            TcpPhase::Closed => "closed",
        }
    }

    /// The state with this number, for the event writer.
    pub fn from_number(number: u8) -> TcpPhase {
        [
            TcpPhase::SynSent,
            TcpPhase::SynReceived,
            TcpPhase::Established,
            TcpPhase::FinWait1,
            TcpPhase::FinWait2,
            TcpPhase::TimeWait,
            TcpPhase::LastAck,
            TcpPhase::CloseWait,
            TcpPhase::Closing,
            TcpPhase::Closed,
        ]
        .into_iter()
        .find(|phase| *phase as u8 == number)
        .unwrap_or(TcpPhase::None)
    }
}

/// Flow: endpoint `b` of the canonical tuple is the client.
pub const FLOW_CLIENT_IS_B: u8 = 1;
/// Flow: established.
pub const FLOW_ESTABLISHED: u8 = 2;
/// Flow: picked up in the middle.
pub const FLOW_MIDSTREAM: u8 = 4;
/// Flow: not inspected (midstream policy).
pub const FLOW_BYPASS: u8 = 8;
/// Flow: all its packets are dropped (midstream policy).
pub const FLOW_DROP: u8 = 16;
/// Flow: it took the ports of one that was known.
pub const FLOW_REUSE: u8 = 32;
/// Flow: its entry's class in the table is that of established flows.
pub const FLOW_PROMOTED: u8 = 64;

/// Counters and flags of any flow, one per slot of the table. 48 bytes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Record {
    /// Arrival of the first packet, nanoseconds since the epoch.
    pub start_ns: u64,
    /// Arrival of the last one.
    pub last_ns: u64,
    /// Bytes per direction, as frames.
    pub bytes: [u64; 2],
    /// Packets per direction.
    pub packets: [u32; 2],
    /// Index of the TCP state, or [`NONE`].
    pub tcp: u32,
    /// TCP flags seen per direction, ORed; of ICMP, the first packet's code and 0.
    pub tcp_flags: [u8; 2],
    /// `FLOW_*`.
    pub flags: u8,
    /// [`TcpPhase`] as a number.
    pub phase: u8,
}

const _: () = assert!(size_of::<Record>() == 48);

impl Default for Record {
    /// Of no flow. It names no TCP state: 0 would be that of another flow.
    fn default() -> Record {
        Record {
            start_ns: 0,
            last_ns: 0,
            bytes: [0; 2],
            packets: [0; 2],
            tcp: NONE,
            tcp_flags: [0; 2],
            flags: 0,
            phase: 0,
        }
    }
}

impl Record {
    /// The way of a packet of this flow.
    #[inline]
    pub fn direction_of(&self, context: &Context) -> Direction {
        let src_is_b = context.has(flag::REVERSED);
        let client_is_b = self.flags & FLOW_CLIENT_IS_B != 0;
        if src_is_b == client_is_b {
            Direction::ToServer
        } else {
            Direction::ToClient
        }
    }

    /// Counts a packet whose direction is known; gives its length.
    #[inline]
    pub fn count(&mut self, context: &Context, length: u32) -> u32 {
        let length = if length == 0 {
            context.span.length
        } else {
            length
        };
        let way = context.direction.index();
        self.packets[way] = self.packets[way].saturating_add(1);
        self.bytes[way] = self.bytes[way].saturating_add(u64::from(length));
        self.last_ns = self.last_ns.max(context.time_ns);
        length
    }
}

/// Side: its FIN was seen; `fin` is the number after its last byte.
pub const SIDE_FIN: u8 = 1;
/// Side: its FIN was acknowledged.
pub const SIDE_FIN_ACKED: u8 = 2;
/// Side: its SYN offered timestamps.
pub const SIDE_TIMESTAMPS: u8 = 4;
/// Side: its last packet was a keep-alive.
pub const SIDE_KEEPALIVE: u8 = 8;
/// Side: it sent a zero-window probe that was not answered yet.
pub const SIDE_PROBE: u8 = 16;
/// Side: a RST that its receiver may not have believed (unexpected signature, early).
pub const SIDE_RST_DOUBTFUL: u8 = 32;
/// Side: bytes rode on its SYN, and the receiver has not said yet whether it took them.
pub const SIDE_SYN_DATA: u8 = 64;
/// Side: a RST of it was accepted.
pub const SIDE_RST: u8 = 128;

/// One side of a TCP connection: what it sent, and how far that was acknowledged.
#[derive(Clone, Debug, Default)]
pub struct Side {
    /// Initial sequence number (of its SYN).
    pub isn: SeqNum,
    /// Number after the last byte seen.
    pub next: SeqNum,
    /// Highest acknowledgement by the other side.
    pub acked: SeqNum,
    /// Right edge of the window that the other side offers to it.
    pub edge: SeqNum,
    /// Window that the other side offered last, bytes.
    pub window: u32,
    /// Number after the last byte before its FIN, if `SIDE_FIN`.
    pub fin: SeqNum,
    /// Last timestamp in order.
    pub ts_recent: u32,
    /// When that was, seconds.
    pub ts_seconds: u32,
    /// Shift of the windows that it announces.
    pub scale: u8,
    /// `SIDE_*`.
    pub flags: u8,
    /// Its bytes.
    pub stream: Stream,
}

impl Side {
    /// Whether all of `bits` are set.
    pub fn has(&self, bits: u8) -> bool {
        self.flags & bits == bits
    }
}

/// Another SYN or SYN+ACK of the same handshake, which the answer may turn out to mean.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alternate {
    /// Its sequence number.
    pub seq: SeqNum,
    /// Its timestamp, 0 if none.
    pub timestamp: u32,
    /// Its window, unscaled.
    pub window: u16,
    /// Its scale, or [`SCALE_NONE`].
    pub scale: u8,
    /// Whether it had a timestamp.
    pub has_timestamp: bool,
}

/// No window scale was offered.
pub const SCALE_NONE: u8 = u8::MAX;
/// SYNs or SYN+ACKs remembered beside the first.
pub const ALTERNATES_MAX: usize = 4;

/// TCP: timestamps are in use.
pub const TCP_TIMESTAMPS: u16 = 1;
/// TCP: picked up in the middle.
pub const TCP_MIDSTREAM: u16 = 2;
/// TCP: one side is all that we see.
pub const TCP_ASYNC: u16 = 4;
/// TCP: the server answered the SYN with a SYN of its own (split handshake, simultaneous open).
pub const TCP_SPLIT: u16 = 8;
/// TCP: Fast Open was asked for.
pub const TCP_FAST_OPEN: u16 = 16;
/// TCP: both windows are scaled.
pub const TCP_SCALED: u16 = 32;
/// TCP: picked up at a SYN+ACK.
pub const TCP_FROM_SYN_ACK: u16 = 64;
/// TCP: the server spoke after the handshake.
pub const TCP_CONFIRMED: u16 = 128;
/// TCP: a reset was accepted.
pub const TCP_RESET: u16 = 256;
/// TCP: its SYN took the ports of a connection that was known.
pub const TCP_REUSE: u16 = 2048;
/// TCP: the handshake was signed (MD5 or authentication option).
pub const TCP_SIGNED: u16 = 1024;
/// TCP: the server ignored the bytes on the SYN.
pub const TCP_SYN_DATA_IGNORED: u16 = 512;

/// State of a TCP connection.
#[derive(Clone, Debug, Default)]
pub struct Tcp {
    /// Client and server, in the order of [`crate::packet::Direction`].
    pub sides: [Side; 2],
    /// State.
    pub phase: TcpPhase,
    /// State before a reset.
    pub before_reset: TcpPhase,
    /// `TCP_*`.
    pub flags: u16,
    /// Valid entries of `alternates`.
    pub alternate_count: u8,
    /// Other SYNs (in SynSent) or SYN+ACKs (in SynReceived).
    pub alternates: [Alternate; ALTERNATES_MAX],
    /// Slot that owns this state, or [`NONE`] while it is free.
    pub slot: u32,
    /// Generation of that slot.
    pub generation: u32,
    /// Place in the feed of the last packet: what is decided at the flow's end is told as of it,
    /// because when a flow's end is noticed depends on what else the lane has to do.
    pub last_order: u64,
    /// Time of the feed then, nanoseconds.
    pub last_clock_ns: u64,
}

impl Tcp {
    /// The sending and the receiving side of a segment's direction.
    #[inline]
    pub fn sides(&self, direction: Direction) -> (&Side, &Side) {
        let [client, server] = &self.sides;
        match direction {
            Direction::ToServer => (client, server),
            Direction::ToClient => (server, client),
        }
    }

    /// The same, to be changed.
    #[inline]
    pub fn sides_mut(&mut self, direction: Direction) -> (&mut Side, &mut Side) {
        let [client, server] = &mut self.sides;
        match direction {
            Direction::ToServer => (client, server),
            Direction::ToClient => (server, client),
        }
    }

    /// Bits by which the sender's windows are shifted.
    #[inline]
    pub fn window_scale(&self, direction: Direction) -> u8 {
        let (sender, _) = self.sides(direction);
        match self.flags & (TCP_SCALED | TCP_MIDSTREAM) != 0 && sender.scale != SCALE_NONE {
            true => sender.scale,
            false => 0,
        }
    }

    /// Whether all of `bits` are set.
    pub fn has(&self, bits: u16) -> bool {
        self.flags & bits == bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_wrap() {
        let late = SeqNum(u32::MAX - 1);
        assert!(late.before(late.plus(10)));
        assert!(late.plus(10).after(late));
        assert_eq!(late.plus(10).since(late), 10);
        assert_eq!(late.since(late.plus(10)), -10);
        assert_eq!(late.latest(late.plus(3)), SeqNum(1));
        assert!(!late.before(late) && !late.after(late));
    }

    #[test]
    fn phases_have_their_numbers_back() {
        for number in 0..16 {
            let phase = TcpPhase::from_number(number);
            assert!(phase == TcpPhase::None || phase as u8 == number);
        }
        assert!(TcpPhase::Closed.is_closing() && TcpPhase::CloseWait.is_established());
        assert!(!TcpPhase::SynReceived.is_established() && !TcpPhase::CloseWait.is_closing());
    }
}
