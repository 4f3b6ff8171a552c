//! What can be wrong with a packet: one closed enum, with Suricata's event names.
//!
//! Rules name a value as `decode-event:ipv4.pkt_too_small` or, for `stream.*`, as
//! `stream-event:3whs_ack_in_wrong_dir`. Decode notes those of the headers, flow those of
//! fragments and streams. Whether an anomaly also ends a packet's way inline is said here
//! ([`Anomaly::refusal`]); whether it alerts is for rules to say.

use crate::counters::{ANOMALY_COUNT_MAX, Counters};
use crate::packet::Context;
use crate::reason::Reason;

macro_rules! anomalies {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// Something malformed or suspicious in a packet. `u8`, 250 values at most.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Anomaly { $($(#[doc = $doc])+ $variant,)+ }

        impl Anomaly {
            /// All anomalies, in the order of their numbers.
            pub const ALL: &'static [Anomaly] = &[$(Anomaly::$variant,)+];

            /// The name that rules use, `stream.` prefix included.
            pub const fn name(self) -> &'static str {
                match self { $(Anomaly::$variant => $name,)+ }
            }

            /// One sentence for the operator.
            pub const fn describe(self) -> &'static str {
                match self { $(Anomaly::$variant => concat!($($doc,)+),)+ }
            }
        }
    };
}

anomalies! {
    /// The capture gave less of the frame than was on the wire.
    AfpacketTruncPacket = "afpacket.trunc_pkt",
    /// Frame is shorter than an Ethernet header.
    EthernetPacketTooSmall = "ethernet.pkt_too_small",
    /// EtherType (or 802.3 length) that is not decoded.
    EthernetUnknownEthertype = "ethernet.unknown_ethertype",
    /// The port's link type is not decoded.
    LinkUnsupportedType = "link.unsupported_type",
    /// Cisco FabricPath (DCE) header is cut short.
    DcePacketTooSmall = "dce.pkt_too_small",
    /// VLAN tag is cut short.
    VlanHeaderTooSmall = "vlan.header_too_small",
    /// VLAN tag carries an EtherType that is not decoded.
    VlanUnknownType = "vlan.unknown_type",
    /// More VLAN tags than are kept.
    VlanTooManyLayers = "vlan.too_many_layers",
    /// 802.1ah (provider backbone) header is cut short.
    Ieee8021ahHeaderTooSmall = "ieee8021ah.header_too_small",
    /// VN-Tag is cut short.
    VntagHeaderTooSmall = "vntag.header_too_small",
    /// VN-Tag carries an EtherType that is not decoded.
    VntagUnknownType = "vntag.unknown_type",
    /// 802.1BR E-Tag is cut short.
    EtagHeaderTooSmall = "etag.header_too_small",
    /// E-Tag carries an EtherType that is not decoded.
    EtagUnknownType = "etag.unknown_type",
    /// Linux cooked header is cut short.
    SllPacketTooSmall = "sll.pkt_too_small",
    /// Linux cooked header, version 2, is cut short.
    Sll2PacketTooSmall = "sll2.pkt_too_small",
    /// BSD loopback header is cut short.
    LtnullPacketTooSmall = "ltnull.pkt_too_small",
    /// BSD loopback header names a family that is not decoded.
    LtnullUnsupportedType = "ltnull.unsupported_type",
    /// Raw IP frame whose version is neither 4 nor 6.
    IprawInvalidIpVersion = "ipraw.invalid_ip_version",
    /// Cisco HDLC header is cut short.
    ChdlcPacketTooSmall = "chdlc.pkt_too_small",
    /// PPP header is cut short.
    PppPacketTooSmall = "ppp.pkt_too_small",
    /// Van Jacobson uncompressed packet is shorter than an IPv4 header.
    PppVjuPacketTooSmall = "ppp.vju_pkt_too_small",
    /// PPP payload is shorter than an IPv4 header.
    PppIp4PacketTooSmall = "ppp.ip4_pkt_too_small",
    /// PPP payload is shorter than an IPv6 header.
    PppIp6PacketTooSmall = "ppp.ip6_pkt_too_small",
    /// PPP protocol number that no standard names.
    PppWrongType = "ppp.wrong_type",
    /// PPP protocol that is known and not decoded.
    PppUnsupProto = "ppp.unsup_proto",
    /// PPPoE header is cut short.
    PppoePacketTooSmall = "pppoe.pkt_too_small",
    /// PPPoE discovery code that no standard names.
    PppoeWrongCode = "pppoe.wrong_code",
    /// PPPoE discovery tags reach past the frame.
    PppoeMalformedTags = "pppoe.malformed_tags",
    /// MPLS label stack is cut short.
    MplsHeaderTooSmall = "mpls.header_too_small",
    /// Too few bytes behind the labels to tell what they carry.
    MplsPacketTooSmall = "mpls.pkt_too_small",
    /// Router alert label at the bottom of the stack.
    MplsBadLabelRouterAlert = "mpls.bad_label_router_alert",
    /// Implicit null label on the wire.
    MplsBadLabelImplicitNull = "mpls.bad_label_implicit_null",
    /// Reserved label at the bottom of the stack.
    MplsBadLabelReserved = "mpls.bad_label_reserved",
    /// Bytes behind the labels look like nothing we decode.
    MplsUnknownPayloadType = "mpls.unknown_payload_type",
    /// Network service header is cut short.
    NshHeaderTooSmall = "nsh.header_too_small",
    /// Network service header of another version than 0.
    NshUnsupportedVersion = "nsh.unsupported_version",
    /// Network service header length contradicts its type or the frame.
    NshBadHeaderLength = "nsh.bad_header_length",
    /// Network service header with a reserved metadata type.
    NshReservedType = "nsh.reserved_type",
    /// Network service header with an unassigned metadata type.
    NshUnsupportedType = "nsh.unsupported_type",
    /// Network service header carries a protocol that is not decoded.
    NshUnknownPayload = "nsh.unknown_payload",
    /// ARP header is cut short.
    ArpPacketTooSmall = "arp.pkt_too_small",
    /// ARP for another hardware than Ethernet.
    ArpUnsupportedHardware = "arp.unsupported_hardware",
    /// ARP for another protocol than IPv4.
    ArpUnsupportedProtocol = "arp.unsupported_protocol",
    /// ARP for Ethernet and IPv4 is shorter than its addresses.
    ArpInvalidPacket = "arp.invalid_pkt",
    /// ARP hardware address size is not 6.
    ArpInvalidHardwareSize = "arp.invalid_hardware_size",
    /// ARP protocol address size is not 4.
    ArpInvalidProtocolSize = "arp.invalid_protocol_size",
    /// ARP operation outside 1 to 4.
    ArpUnsupportedOpcode = "arp.unsupported_opcode",
    /// More layers (or extension headers) than the limit.
    TooManyLayers = "too_many_layers",
    /// No free context for an inner packet.
    ViewsExhausted = "views_exhausted",
    /// Fewer bytes than an IPv4 header.
    Ipv4PacketTooSmall = "ipv4.pkt_too_small",
    /// IPv4 header length below 20 bytes.
    Ipv4HlenTooSmall = "ipv4.hlen_too_small",
    /// IPv4 total length below the header length.
    Ipv4IplenSmallerThanHlen = "ipv4.iplen_smaller_than_hlen",
    /// Fewer bytes than the IPv4 total length.
    Ipv4TruncPacket = "ipv4.trunc_pkt",
    /// IPv4 option type that is not known.
    Ipv4OptInvalid = "ipv4.opt_invalid",
    /// IPv4 option with an impossible length.
    Ipv4OptInvalidLen = "ipv4.opt_invalid_len",
    /// IPv4 option whose content contradicts itself.
    Ipv4OptMalformed = "ipv4.opt_malformed",
    /// IPv4 options are not padded to a multiple of 8 bytes.
    Ipv4OptPadRequired = "ipv4.opt_pad_required",
    /// IPv4 options end in a lone byte that is no end-of-list.
    Ipv4OptEolRequired = "ipv4.opt_eol_required",
    /// IPv4 option stands twice.
    Ipv4OptDuplicate = "ipv4.opt_duplicate",
    /// IPv4 option that the validator does not know.
    Ipv4OptUnknown = "ipv4.opt_unknown",
    /// IPv4 was announced and the version is another.
    Ipv4WrongIpVersion = "ipv4.wrong_ip_version",
    /// ICMPv6 inside IPv4.
    Ipv4Icmpv6 = "ipv4.icmpv6",
    /// IPv4 protocol that is not decoded.
    Ipv4UnknownProtocol = "ipv4.unknown_protocol",
    /// IPv4 header checksum is wrong.
    Ipv4CsumInvalid = "ipv4.csum_invalid",
    /// IPv4 fragments describe a datagram above 65,535 bytes.
    Ipv4FragPacketTooLarge = "ipv4.frag_pkt_too_large",
    /// IPv4 fragments overlap.
    Ipv4FragOverlap = "ipv4.frag_overlap",
    /// IPv4 fragment given up for want of memory.
    Ipv4FragIgnored = "ipv4.frag_ignored",
    /// Fewer bytes than an IPv6 header.
    Ipv6PacketTooSmall = "ipv6.pkt_too_small",
    /// Fewer bytes than the IPv6 payload length.
    Ipv6TruncPacket = "ipv6.trunc_pkt",
    /// IPv6 extension header is cut short.
    Ipv6TruncExthdr = "ipv6.trunc_exthdr",
    /// Second IPv6 fragment header.
    Ipv6ExthdrDuplFh = "ipv6.exthdr_dupl_fh",
    /// IPv6 fragment header on a packet that is whole (atomic fragment).
    Ipv6ExthdrUselessFh = "ipv6.exthdr_useless_fh",
    /// Second IPv6 routing header.
    Ipv6ExthdrDuplRh = "ipv6.exthdr_dupl_rh",
    /// Second IPv6 hop-by-hop header.
    Ipv6ExthdrDuplHh = "ipv6.exthdr_dupl_hh",
    /// Third IPv6 destination options header.
    Ipv6ExthdrDuplDh = "ipv6.exthdr_dupl_dh",
    /// Second IPv6 authentication header.
    Ipv6ExthdrDuplAh = "ipv6.exthdr_dupl_ah",
    /// Second IPv6 ESP header.
    Ipv6ExthdrDuplEh = "ipv6.exthdr_dupl_eh",
    /// IPv6 option with an impossible length.
    Ipv6ExthdrInvalidOptlen = "ipv6.exthdr_invalid_optlen",
    /// IPv6 was announced and the version is another.
    Ipv6WrongIpVersion = "ipv6.wrong_ip_version",
    /// Reserved bits of an IPv6 authentication header are set.
    Ipv6ExthdrAhResNotNull = "ipv6.exthdr_ah_res_not_null",
    /// Unknown option in an IPv6 hop-by-hop header.
    Ipv6HopoptsUnknownOpt = "ipv6.hopopts_unknown_opt",
    /// IPv6 hop-by-hop header of padding alone.
    Ipv6HopoptsOnlyPadding = "ipv6.hopopts_only_padding",
    /// Unknown option in an IPv6 destination options header.
    Ipv6DstoptsUnknownOpt = "ipv6.dstopts_unknown_opt",
    /// IPv6 destination options header of padding alone.
    Ipv6DstoptsOnlyPadding = "ipv6.dstopts_only_padding",
    /// IPv6 routing header of type 0 (RFC 5095 forbids it).
    Ipv6RhType0 = "ipv6.rh_type_0",
    /// IPv6 PadN option without a byte of padding.
    Ipv6ZeroLenPadn = "ipv6.zero_len_padn",
    /// Reserved byte of an IPv6 fragment header is set.
    Ipv6FhNonZeroReservedField = "ipv6.fh_non_zero_reserved_field",
    /// Bytes behind "no next header".
    Ipv6DataAfterNoneHeader = "ipv6.data_after_none_header",
    /// IPv6 next header that is not decoded.
    Ipv6UnknownNextHeader = "ipv6.unknown_next_header",
    /// ICMPv4 inside IPv6.
    Ipv6Icmpv4 = "ipv6.icmpv4",
    /// IPv6 fragments describe a datagram above 65,535 bytes.
    Ipv6FragPacketTooLarge = "ipv6.frag_pkt_too_large",
    /// IPv6 fragments overlap (RFC 5722).
    Ipv6FragOverlap = "ipv6.frag_overlap",
    /// IPv6 fragment, not the last, whose length is no multiple of 8.
    Ipv6FragInvalidLength = "ipv6.frag_invalid_length",
    /// IPv6 fragment given up for want of memory.
    Ipv6FragIgnored = "ipv6.frag_ignored",
    /// IPv4 in IPv6 is shorter than an IPv4 header.
    Ipv6Ipv4InIpv6TooSmall = "ipv6.ipv4_in_ipv6_too_small",
    /// IPv4 in IPv6 was announced and the version is another.
    Ipv6Ipv4InIpv6WrongVersion = "ipv6.ipv4_in_ipv6_wrong_version",
    /// IPv6 in IPv6 is shorter than an IPv6 header.
    Ipv6Ipv6InIpv6TooSmall = "ipv6.ipv6_in_ipv6_too_small",
    /// IPv6 in IPv6 was announced and the version is another.
    Ipv6Ipv6InIpv6WrongVersion = "ipv6.ipv6_in_ipv6_wrong_version",
    /// ICMPv4 header is cut short.
    Icmpv4PacketTooSmall = "icmpv4.pkt_too_small",
    /// ICMPv4 type that is not known.
    Icmpv4UnknownType = "icmpv4.unknown_type",
    /// ICMPv4 code that its type does not have.
    Icmpv4UnknownCode = "icmpv4.unknown_code",
    /// What an ICMPv4 message quotes or lists is cut short.
    Icmpv4Ipv4TruncPacket = "icmpv4.ipv4_trunc_pkt",
    /// The packet quoted in an ICMPv4 error is not IPv4.
    Icmpv4Ipv4UnknownVer = "icmpv4.ipv4_unknown_ver",
    /// ICMPv4 checksum is wrong.
    Icmpv4CsumInvalid = "icmpv4.csum_invalid",
    /// ICMPv6 type that is assigned and not known here.
    Icmpv6UnknownType = "icmpv6.unknown_type",
    /// ICMPv6 code that its type does not have.
    Icmpv6UnknownCode = "icmpv6.unknown_code",
    /// ICMPv6 header is cut short.
    Icmpv6PacketTooSmall = "icmpv6.pkt_too_small",
    /// The packet quoted in an ICMPv6 error is not IPv6.
    Icmpv6Ipv6UnknownVersion = "icmpv6.ipv6_unknown_version",
    /// The packet quoted in an ICMPv6 error is cut short.
    Icmpv6Ipv6TruncPacket = "icmpv6.ipv6_trunc_pkt",
    /// Multicast listener message whose hop limit is not 1.
    Icmpv6MldMessageWithInvalidHl = "icmpv6.mld_message_with_invalid_hl",
    /// ICMPv6 type that IANA has not assigned.
    Icmpv6UnassignedType = "icmpv6.unassigned_type",
    /// ICMPv6 type for private experiments.
    Icmpv6ExperimentationType = "icmpv6.experimentation_type",
    /// ICMPv6 checksum is wrong.
    Icmpv6CsumInvalid = "icmpv6.csum_invalid",
    /// IGMP header is cut short.
    IgmpPacketTooSmall = "igmp.pkt_too_small",
    /// IGMPv3 message is shorter than its sources or records.
    IgmpV3PacketTooSmall = "igmp.v3_pkt_too_small",
    /// IGMPv3 record reaches past the message.
    IgmpMalformed = "igmp.malformed",
    /// Fewer bytes than a TCP header.
    TcpPacketTooSmall = "tcp.pkt_too_small",
    /// Fewer bytes than the TCP header length.
    TcpHlenTooSmall = "tcp.hlen_too_small",
    /// TCP header length below 20 bytes.
    TcpInvalidOptlen = "tcp.invalid_optlen",
    /// TCP option with an impossible length.
    TcpOptInvalidLen = "tcp.opt_invalid_len",
    /// TCP option stands twice.
    TcpOptDuplicate = "tcp.opt_duplicate",
    /// TCP checksum is wrong.
    TcpCsumInvalid = "tcp.csum_invalid",
    /// Fewer bytes than the UDP length.
    UdpPacketTooSmall = "udp.pkt_too_small",
    /// Fewer bytes than a UDP header.
    UdpHlenTooSmall = "udp.hlen_too_small",
    /// UDP header length is not 8 (kept for rules; not noted since Suricata 7).
    UdpHlenInvalid = "udp.hlen_invalid",
    /// UDP length below 8.
    UdpLenInvalid = "udp.len_invalid",
    /// UDP checksum is wrong.
    UdpCsumInvalid = "udp.csum_invalid",
    /// Fewer bytes than an SCTP header.
    SctpPacketTooSmall = "sctp.pkt_too_small",
    /// SCTP chunk header is cut short.
    SctpChunkTooSmall = "sctp.chunk_too_small",
    /// SCTP chunk with an impossible length.
    SctpChunkLenInvalid = "sctp.chunk_len_invalid",
    /// SCTP INIT or INIT ACK is not alone in its packet.
    SctpInitChunkBundled = "sctp.init_chunk_bundled",
    /// SCTP INIT with a verification tag.
    SctpInitWithNonZeroVtag = "sctp.init_with_non_zero_vtag",
    /// SCTP DATA without a verification tag.
    SctpDataWithZeroVtag = "sctp.data_with_zero_vtag",
    /// More than 16 SCTP chunks in a packet.
    SctpTooManyChunks = "sctp.too_many_chunks",
    /// More than 16 SCTP DATA chunks in a packet.
    SctpTooManyDataChunks = "sctp.too_many_data_chunks",
    /// SCTP checksum (CRC-32C) is wrong; for information alone.
    SctpCsumInvalid = "sctp.csum_invalid",
    /// ESP header is cut short.
    EspPacketTooSmall = "esp.pkt_too_small",
    /// GRE header is cut short.
    GrePacketTooSmall = "gre.pkt_too_small",
    /// GRE version is neither 0 nor 1.
    GreWrongVersion = "gre.wrong_version",
    /// GRE 0 with recursion control bits.
    GreVersion0Recur = "gre.version0_recur",
    /// GRE 0 with reserved flags.
    GreVersion0Flags = "gre.version0_flags",
    /// GRE 0 header reaches past the packet.
    GreVersion0HdrTooBig = "gre.version0_hdr_too_big",
    /// GRE 0 source route entry reaches past the packet.
    GreVersion0MalformedSreHdr = "gre.version0_malformed_sre_hdr",
    /// GRE 1 with the checksum bit.
    GreVersion1Chksum = "gre.version1_chksum",
    /// GRE 1 with the routing bit.
    GreVersion1Route = "gre.version1_route",
    /// GRE 1 with the strict source route bit.
    GreVersion1Ssr = "gre.version1_ssr",
    /// GRE 1 with recursion control bits.
    GreVersion1Recur = "gre.version1_recur",
    /// GRE 1 with reserved flags.
    GreVersion1Flags = "gre.version1_flags",
    /// GRE 1 without a key.
    GreVersion1NoKey = "gre.version1_no_key",
    /// GRE 1 that does not carry PPP.
    GreVersion1WrongProtocol = "gre.version1_wrong_protocol",
    /// GRE 1 with a broken source route (kept for rules; GRE 1 has none).
    GreVersion1MalformedSreHdr = "gre.version1_malformed_sre_hdr",
    /// GRE 1 header reaches past the packet.
    GreVersion1HdrTooBig = "gre.version1_hdr_too_big",
    /// ERSPAN header is cut short.
    ErspanHeaderTooSmall = "erspan.header_too_small",
    /// ERSPAN version that its protocol type does not have.
    ErspanUnsupportedVersion = "erspan.unsupported_version",
    /// ERSPAN names a VLAN and all are taken.
    ErspanTooManyVlanLayers = "erspan.too_many_vlan_layers",
    /// VXLAN carries an EtherType that is not decoded.
    VxlanUnknownPayloadType = "vxlan.unknown_payload_type",
    /// Geneve carries an EtherType that is not decoded.
    GeneveUnknownPayloadType = "geneve.unknown_payload_type",
    /// Handshake: ACK from the side that owes none.
    Stream3whsAckInWrongDir = "stream.3whs_ack_in_wrong_dir",
    /// Handshake seen from one side: sequence number is wrong.
    Stream3whsAsyncWrongSeq = "stream.3whs_async_wrong_seq",
    /// Handshake: right sequence and wrong acknowledgement number, an evasion.
    Stream3whsRightSeqWrongAckEvasion = "stream.3whs_right_seq_wrong_ack_evasion",
    /// Handshake: SYN+ACK from the client.
    Stream3whsSynackInWrongDirection = "stream.3whs_synack_in_wrong_direction",
    /// Handshake: SYN+ACK again, acknowledgement differs.
    Stream3whsSynackResendWithDiffAck = "stream.3whs_synack_resend_with_diff_ack",
    /// Handshake: SYN+ACK again, sequence differs.
    Stream3whsSynackResendWithDiffSeq = "stream.3whs_synack_resend_with_diff_seq",
    /// Handshake: SYN+ACK to the server after its own.
    Stream3whsSynackToserverOnSynRecv = "stream.3whs_synack_toserver_on_syn_recv",
    /// Handshake: SYN+ACK acknowledges something else.
    Stream3whsSynackWithWrongAck = "stream.3whs_synack_with_wrong_ack",
    /// Handshake: too many different SYN+ACKs.
    Stream3whsSynackFlood = "stream.3whs_synack_flood",
    /// Handshake: data of a TCP fast open SYN was not acknowledged.
    Stream3whsSynackTfoDataIgnored = "stream.3whs_synack_tfo_data_ignored",
    /// Handshake: SYN again, sequence differs.
    Stream3whsSynResendDiffSeqOnSynRecv = "stream.3whs_syn_resend_diff_seq_on_syn_recv",
    /// Handshake: SYN to the client after SYN+ACK.
    Stream3whsSynToclientOnSynRecv = "stream.3whs_syn_toclient_on_syn_recv",
    /// Handshake: too many different SYNs.
    Stream3whsSynFlood = "stream.3whs_syn_flood",
    /// Handshake: final ACK is wrong in both numbers.
    Stream3whsWrongSeqWrongAck = "stream.3whs_wrong_seq_wrong_ack",
    /// Handshake: data before the handshake is done, from the wrong side.
    Stream3whsAckDataInject = "stream.3whs_ack_data_inject",
    /// Simultaneous open: SYN+ACK acknowledges something else.
    Stream4whsSynackWithWrongAck = "stream.4whs_synack_with_wrong_ack",
    /// Simultaneous open: SYN+ACK has another sequence.
    Stream4whsSynackWithWrongSyn = "stream.4whs_synack_with_wrong_syn",
    /// Simultaneous open: sequence number is wrong.
    Stream4whsWrongSeq = "stream.4whs_wrong_seq",
    /// Simultaneous open: acknowledgement is wrong.
    Stream4whsInvalidAck = "stream.4whs_invalid_ack",
    /// CLOSE-WAIT: ACK outside the window.
    StreamClosewaitAckOutOfWindow = "stream.closewait_ack_out_of_window",
    /// CLOSE-WAIT: FIN outside the window.
    StreamClosewaitFinOutOfWindow = "stream.closewait_fin_out_of_window",
    /// CLOSE-WAIT: segment before the last acknowledged byte.
    StreamClosewaitPacketBeforeLastAck = "stream.closewait_pkt_before_last_ack",
    /// CLOSE-WAIT: acknowledgement is wrong.
    StreamClosewaitInvalidAck = "stream.closewait_invalid_ack",
    /// CLOSING: sequence number is wrong.
    StreamClosingAckWrongSeq = "stream.closing_ack_wrong_seq",
    /// CLOSING: acknowledgement is wrong.
    StreamClosingInvalidAck = "stream.closing_invalid_ack",
    /// ESTABLISHED: segment outside the window.
    StreamEstPacketOutOfWindow = "stream.est_packet_out_of_window",
    /// ESTABLISHED: segment before the last acknowledged byte.
    StreamEstPacketBeforeLastAck = "stream.est_pkt_before_last_ack",
    /// ESTABLISHED: SYN+ACK again.
    StreamEstSynackResend = "stream.est_synack_resend",
    /// ESTABLISHED: SYN+ACK again, acknowledgement differs.
    StreamEstSynackResendWithDiffAck = "stream.est_synack_resend_with_diff_ack",
    /// ESTABLISHED: SYN+ACK again, sequence differs.
    StreamEstSynackResendWithDiffSeq = "stream.est_synack_resend_with_diff_seq",
    /// ESTABLISHED: SYN+ACK to the server.
    StreamEstSynackToserver = "stream.est_synack_toserver",
    /// ESTABLISHED: SYN again.
    StreamEstSynResend = "stream.est_syn_resend",
    /// ESTABLISHED: SYN again, sequence differs.
    StreamEstSynResendDiffSeq = "stream.est_syn_resend_diff_seq",
    /// ESTABLISHED: SYN to the client.
    StreamEstSynToclient = "stream.est_syn_toclient",
    /// ESTABLISHED: acknowledgement is wrong.
    StreamEstInvalidAck = "stream.est_invalid_ack",
    /// ESTABLISHED: zero-window probe carries data that was acknowledged.
    StreamEstAckZwpData = "stream.est_ack_zwp_data",
    /// FIN with a wrong acknowledgement.
    StreamFinInvalidAck = "stream.fin_invalid_ack",
    /// FIN-WAIT-1: ACK with a wrong sequence number.
    StreamFin1AckWrongSeq = "stream.fin1_ack_wrong_seq",
    /// FIN-WAIT-1: FIN with a wrong sequence number.
    StreamFin1FinWrongSeq = "stream.fin1_fin_wrong_seq",
    /// FIN-WAIT-1: acknowledgement is wrong.
    StreamFin1InvalidAck = "stream.fin1_invalid_ack",
    /// FIN-WAIT-2: ACK with a wrong sequence number.
    StreamFin2AckWrongSeq = "stream.fin2_ack_wrong_seq",
    /// FIN-WAIT-2: FIN with a wrong sequence number.
    StreamFin2FinWrongSeq = "stream.fin2_fin_wrong_seq",
    /// FIN-WAIT-2: acknowledgement is wrong.
    StreamFin2InvalidAck = "stream.fin2_invalid_ack",
    /// FIN of a flow that is not tracked.
    StreamFinButNoFlow = "stream.fin_but_no_session",
    /// FIN outside the window.
    StreamFinOutOfWindow = "stream.fin_out_of_window",
    /// SYN while closing.
    StreamFinSyn = "stream.fin_syn",
    /// LAST-ACK: sequence number is wrong.
    StreamLastackAckWrongSeq = "stream.lastack_ack_wrong_seq",
    /// LAST-ACK: acknowledgement is wrong.
    StreamLastackInvalidAck = "stream.lastack_invalid_ack",
    /// RST of a flow that is not tracked.
    StreamRstButNoFlow = "stream.rst_but_no_session",
    /// TIME-WAIT: sequence number is wrong.
    StreamTimewaitAckWrongSeq = "stream.timewait_ack_wrong_seq",
    /// TIME-WAIT: acknowledgement is wrong.
    StreamTimewaitInvalidAck = "stream.timewait_invalid_ack",
    /// SYN again while the flow is shut down.
    StreamShutdownSynResend = "stream.shutdown_syn_resend",
    /// Timestamp is older than PAWS allows.
    StreamPacketInvalidTimestamp = "stream.pkt_invalid_timestamp",
    /// Acknowledgement is wrong.
    StreamPacketInvalidAck = "stream.pkt_invalid_ack",
    /// Acknowledgement number is set and the ACK flag is not.
    StreamPacketBrokenAck = "stream.pkt_broken_ack",
    /// RST with a wrong acknowledgement.
    StreamRstInvalidAck = "stream.rst_invalid_ack",
    /// RST with payload.
    StreamRstWithData = "stream.rst_with_data",
    /// Retransmission.
    StreamPacketRetransmission = "stream.pkt_retransmission",
    /// Retransmission of bytes that were acknowledged.
    StreamPacketSpuriousRetransmission = "stream.pkt_spurious_retransmission",
    /// Window update that the state does not allow.
    StreamPacketBadWindowUpdate = "stream.pkt_bad_window_update",
    /// RST that looks injected.
    StreamSuspectedRstInject = "stream.suspected_rst_inject",
    /// Packet of a flow that another lane owns.
    StreamWrongThread = "stream.wrong_thread",
    /// Segment before the start of the stream.
    StreamReassemblySegmentBeforeBaseSeq = "stream.reassembly_segment_before_base_seq",
    /// No segment could be had for the data.
    StreamReassemblyNoSegment = "stream.reassembly_no_segment",
    /// Bytes are missing in the stream.
    StreamReassemblySeqGap = "stream.reassembly_seq_gap",
    /// Segments overlap with different bytes.
    StreamReassemblyOverlapDifferentData = "stream.reassembly_overlap_different_data",
    /// Stream reached its inspection depth.
    StreamReassemblyDepthReached = "stream.reassembly_depth_reached",
    /// Segment refused: reassembly memory is used up.
    StreamReassemblyInsertMemcap = "stream.reassembly_insert_memcap",
    /// Segment refused: a limit of the flow is reached.
    StreamReassemblyInsertLimit = "stream.reassembly_insert_limit",
    /// Segment refused: it contradicts the stream.
    StreamReassemblyInsertInvalid = "stream.reassembly_insert_invalid",
    /// More urgent bytes than are tracked.
    StreamReassemblyUrgentOobLimitReached = "stream.reassembly_urgent_oob_limit_reached",
}

/// Names that stream-events.rules uses for values whose own name differs.
const ALIASES: &[(&str, Anomaly)] = &[
    (
        "stream.3whs_synack_resend_with_different_ack",
        Anomaly::Stream3whsSynackResendWithDiffAck,
    ),
    (
        "stream.est_synack_resend_with_different_ack",
        Anomaly::StreamEstSynackResendWithDiffAck,
    ),
];

const _: () = assert!(Anomaly::ALL.len() <= 250 && Anomaly::ALL.len() <= ANOMALY_COUNT_MAX);

impl Anomaly {
    /// The anomaly of a rule's name. `decoder.` in front is accepted, as Suricata's logs write it;
    /// stream names need their `stream.` in front. Load time only.
    pub fn by_name(name: &str) -> Option<Anomaly> {
        let name = name.strip_prefix("decoder.").unwrap_or(name);
        Anomaly::ALL
            .iter()
            .copied()
            .find(|anomaly| anomaly.name() == name)
            .or_else(|| ALIASES.iter().find(|a| a.0 == name).map(|a| a.1))
    }

    /// The anomaly with this number.
    pub fn from_code(code: u8) -> Option<Anomaly> {
        Anomaly::ALL.get(usize::from(code)).copied()
    }

    /// Notes it of a packet, once.
    pub(super) fn note(self, context: &mut Context, counters: &Counters) {
        let code = self.code();
        if !context.noted().contains(&code) {
            counters.anomaly(code);
            context.note(code);
        }
    }

    /// The number that contexts and counters keep.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Whether a rule names it by `stream-event`.
    pub fn is_stream(self) -> bool {
        self.name().starts_with("stream.")
    }

    /// Why a packet is dropped inline when decode could not go on because of this anomaly; `None`
    /// where the packet goes on. Cut-short and contradictory headers are refused, since every
    /// receiver discards them. Types that we do not decode go on: a bridge carries them.
    pub(crate) fn refusal(self) -> Option<Reason> {
        use Anomaly::*;
        Some(match self {
            TooManyLayers => Reason::DecodeTooManyLayers,
            ViewsExhausted => Reason::DecodeViewsExhausted,
            IprawInvalidIpVersion
            | Ipv4PacketTooSmall
            | Ipv4HlenTooSmall
            | Ipv4IplenSmallerThanHlen
            | Ipv4TruncPacket
            | Ipv4OptInvalidLen
            | Ipv4WrongIpVersion
            | Ipv6PacketTooSmall
            | Ipv6TruncPacket
            | Ipv6TruncExthdr
            | Ipv6ExthdrInvalidOptlen
            | Ipv6WrongIpVersion
            | Ipv6Ipv4InIpv6TooSmall
            | Ipv6Ipv4InIpv6WrongVersion
            | Ipv6Ipv6InIpv6TooSmall
            | Ipv6Ipv6InIpv6WrongVersion => Reason::DecodeIpInvalid,
            Ipv4CsumInvalid => Reason::DecodeIpChecksum,
            TcpCsumInvalid | UdpCsumInvalid | Icmpv4CsumInvalid | Icmpv6CsumInvalid => {
                Reason::DecodeTransportChecksum
            }
            _ if self.cuts_link() => Reason::DecodeLink,
            _ if self.cuts_transport() => Reason::DecodeTransportInvalid,
            _ => return None,
        })
    }

    /// Whether a link header is cut short.
    fn cuts_link(self) -> bool {
        use Anomaly::*;
        matches!(
            self,
            EthernetPacketTooSmall
                | DcePacketTooSmall
                | VlanHeaderTooSmall
                | Ieee8021ahHeaderTooSmall
                | VntagHeaderTooSmall
                | EtagHeaderTooSmall
                | SllPacketTooSmall
                | Sll2PacketTooSmall
                | LtnullPacketTooSmall
                | ChdlcPacketTooSmall
                | PppPacketTooSmall
                | PppVjuPacketTooSmall
                | PppIp4PacketTooSmall
                | PppIp6PacketTooSmall
                | PppoePacketTooSmall
                | MplsHeaderTooSmall
                | MplsPacketTooSmall
                | NshHeaderTooSmall
                | NshBadHeaderLength
                | ArpPacketTooSmall
                | ArpInvalidPacket
        )
    }

    /// Whether a transport header is cut short or contradicts itself.
    fn cuts_transport(self) -> bool {
        use Anomaly::*;
        matches!(
            self,
            TcpPacketTooSmall
                | TcpHlenTooSmall
                | TcpInvalidOptlen
                | UdpPacketTooSmall
                | UdpHlenTooSmall
                | UdpLenInvalid
                | Icmpv4PacketTooSmall
                | Icmpv6PacketTooSmall
                | SctpPacketTooSmall
                | SctpChunkTooSmall
                | SctpChunkLenInvalid
                | EspPacketTooSmall
                | GrePacketTooSmall
                | GreWrongVersion
                | GreVersion0Recur
                | GreVersion0Flags
                | GreVersion0HdrTooBig
                | GreVersion0MalformedSreHdr
                | GreVersion1Chksum
                | GreVersion1Route
                | GreVersion1Ssr
                | GreVersion1Recur
                | GreVersion1Flags
                | GreVersion1NoKey
                | GreVersion1WrongProtocol
                | GreVersion1HdrTooBig
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_lead_back() {
        let mut names: Vec<_> = Anomaly::ALL.iter().map(|a| a.name()).collect();
        for &anomaly in Anomaly::ALL {
            assert_eq!(Anomaly::by_name(anomaly.name()), Some(anomaly));
            assert_eq!(Anomaly::from_code(anomaly.code()), Some(anomaly));
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Anomaly::ALL.len());
        assert_eq!(Anomaly::from_code(255), None);
    }

    #[test]
    fn rules_may_use_either_spelling() {
        let stream = Anomaly::by_name("stream.est_synack_resend_with_different_ack").unwrap();
        assert_eq!(stream, Anomaly::StreamEstSynackResendWithDiffAck);
        assert!(stream.is_stream());
        let decode = Anomaly::by_name("decoder.ipv4.trunc_pkt").unwrap();
        assert_eq!(decode, Anomaly::Ipv4TruncPacket);
        assert!(!decode.is_stream());
        assert_eq!(Anomaly::by_name("ipv4.no_such_event"), None);
    }
}
