//! Why a packet was dropped (or would have been): one closed enum, exported verbatim.
//!
//! Every value stands in metrics as `sluice_dropped_packets_total{reason="..."}` and in EVE `drop`
//! events. A new value needs a test that triggers it (invariant I12). At most 128 values, so that
//! two counter arrays of a worker stay in a few pages.

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// The reason of a drop or reject verdict. `u8`, 128 values at most; the prefix of the
        /// exported name is the stage that decides.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Reason { $($(#[doc = $doc])+ $variant,)+ }

        impl Reason {
            /// All reasons, in the order of their numbers.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)+];

            /// The exported name.
            pub const fn name(self) -> &'static str {
                match self { $(Reason::$variant => $name,)+ }
            }

            /// One sentence for the operator (`sluice explain`, the README's table).
            pub const fn describe(self) -> &'static str {
                match self { $(Reason::$variant => concat!($($doc,)+),)+ }
            }
        }
    };
}

reasons! {
    // port
    /// The frame is larger than a slot or than the engine's frame limit.
    PortFrameTooLong = "port_frame_too_long",
    /// The other port's TX ring stayed full; dropping beats queueing.
    PortTxFull = "port_tx_full",
    /// The port on the other side is down.
    PortTxDown = "port_tx_down",
    /// The engine is gone, and the keeper's policy is to let nothing through.
    KeeperClosed = "keeper_closed",
    // decode
    /// The link-layer header is cut short or not one we can read, and policy says drop.
    DecodeLink = "decode_link",
    /// The IP header is malformed in a way every receiver discards.
    DecodeIpInvalid = "decode_ip_invalid",
    /// The transport header is malformed in a way every receiver discards.
    DecodeTransportInvalid = "decode_transport_invalid",
    /// IPv4 header checksum is wrong.
    DecodeIpChecksum = "decode_ip_checksum",
    /// TCP, UDP, ICMP or SCTP checksum is wrong.
    DecodeTransportChecksum = "decode_transport_checksum",
    /// More tunnel or extension layers than the limit.
    DecodeTooManyLayers = "decode_too_many_layers",
    /// Source routing options (LSRR, SSRR) or a type 0 routing header.
    DecodeSourceRoute = "decode_source_route",
    /// No free context for a view of this frame (policy: fail closed).
    DecodeViewsExhausted = "decode_views_exhausted",
    // flow: IP fragments
    /// Fragment overlaps another with different bytes, or in IPv6 overlaps at all (RFC 5722).
    IpFragOverlap = "ip_frag_overlap",
    /// Fragments describe an impossible datagram (longer than 65,535, second last fragment...).
    IpFragInvalid = "ip_frag_invalid",
    /// Memory or tracker limit for fragments is reached (policy).
    IpFragMemory = "ip_frag_memory",
    // flow: table
    /// The flow table has no room for this new flow (policy).
    FlowTableFull = "flow_table_full",
    /// The flow was condemned by an earlier verdict; its packets are dropped until it is forgotten.
    FlowCondemned = "flow_condemned",
    // flow: TCP
    /// Packet belongs to no handshake that we saw (midstream policy).
    TcpMidstream = "tcp_midstream",
    /// Flags that no state allows (none, SYN+FIN, ...).
    TcpFlagsInvalid = "tcp_flags_invalid",
    /// Segment without ACK after the handshake.
    TcpNoAck = "tcp_no_ack",
    /// Acknowledgement of bytes never sent, or far too old.
    TcpAckInvalid = "tcp_ack_invalid",
    /// Sequence number outside the receiver's window.
    TcpOutOfWindow = "tcp_out_of_window",
    /// Timestamp older than the last one (PAWS, RFC 7323 section 5).
    TcpPawsOld = "tcp_paws_old",
    /// SYN or SYN+ACK that contradicts the handshake seen so far.
    TcpHandshakeInvalid = "tcp_handshake_invalid",
    /// RST whose sequence number the receiver would not accept.
    TcpRstInvalid = "tcp_rst_invalid",
    /// FIN that the state does not allow.
    TcpFinInvalid = "tcp_fin_invalid",
    /// Overlaps bytes inspected before, with different content.
    TcpOverlapConflict = "tcp_overlap_conflict",
    /// Urgent data, which receivers read differently (policy).
    TcpUrgent = "tcp_urgent",
    /// Reassembly memory or a per-flow limit is reached (policy).
    StreamMemory = "stream_memory",
    /// Stream went past its depth and policy says drop.
    StreamDepth = "stream_depth",
    // match and verdict
    /// A rule with action drop matched.
    Rule = "rule",
    /// A rule with action reject matched.
    RuleReject = "rule_reject",
    /// A rule dropped the whole flow; this is a later packet of it.
    RuleFlow = "rule_flow",
    /// Inspection exceeded its budget and policy says drop.
    MatchBudget = "match_budget",
    /// The application layer could not be parsed and policy says drop.
    AppError = "app_error",
}

/// Slots in a per-reason counter array.
pub const REASON_COUNT_MAX: usize = 128;

const _: () = assert!(Reason::ALL.len() <= REASON_COUNT_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_exportable() {
        let mut names: Vec<_> = Reason::ALL.iter().map(|r| r.name()).collect();
        assert!(
            names
                .iter()
                .all(|n| n.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
        );
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Reason::ALL.len());
    }
}
