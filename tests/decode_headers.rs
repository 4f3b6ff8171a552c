//! Decode of network and transport headers, on bytes that are written out here. Links are in
//! decode_links.rs, tunnels and the chains of views in decode_tunnels.rs.

mod decode_rig;

use decode_rig::build::*;
use decode_rig::{Rig, names};
use sluice::config::{Config, Mode};
use sluice::counters::Counters;
use sluice::decode::{self, Decoder, icmp, ipv4, ipv6, sctp, tcp, udp};
use sluice::packet::{Context, Kind, Verdict, flag};
use sluice::reason::Reason;

/// Decodes one frame in a tap, without views.
fn one(link: u32, frame: &[u8]) -> Context {
    let mut packets = Rig::new(Config::default(), 8).one(link, frame);
    packets.swap_remove(0).0
}

/// Decodes one frame inline.
fn inline(frame: &[u8]) -> Context {
    let config = Config {
        mode: Mode::Inline,
        ..Config::default()
    };
    Rig::new(config, 8).one(1, frame).swap_remove(0).0
}

#[test]
fn ipv4_headers_that_contradict_themselves_are_refused_inline() {
    let good = ipv4_packet(17, &[], &udp_datagram(1, 2, b"x"));
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        ethernet(0x0800, &bytes)
    };
    let cases = [
        (with(0, 0x65), "ipv4.wrong_ip_version"),
        (with(0, 0x44), "ipv4.hlen_too_small"),
        (with(3, 19), "ipv4.iplen_smaller_than_hlen"),
        (with(3, 200), "ipv4.trunc_pkt"),
        (ethernet(0x0800, &good[..19]), "ipv4.pkt_too_small"),
    ];
    for (frame, name) in cases {
        let context = inline(&frame);
        assert_eq!(names(&context), [name]);
        assert_eq!(context.verdict, Verdict::Drop(Reason::DecodeIpInvalid));
        assert!(context.has(flag::DECIDED | flag::NO_FLOW) && !context.has(flag::IPV4));
        assert_eq!(one(1, &frame).verdict, Verdict::Forward, "a tap watches");
    }
}

#[test]
fn ipv4_options_are_checked_and_listed() {
    let payload = udp_datagram(1, 2, b"x");
    // Router alert, then padding to 8 bytes.
    let alert = [148, 4, 0, 0, 0, 0, 0, 0];
    let frame = ethernet(0x0800, &ipv4_packet(17, &alert, &payload));
    let context = one(1, &frame);
    assert_eq!((names(&context).len(), context.l4), (0, 42));
    let header = ipv4::Ipv4::at(&frame, context.l3).unwrap();
    let kinds: Vec<u8> = header.options().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [148, 0]);
    assert_eq!((header.id(), header.ttl(), header.tos()), (0x1234, 64, 0));
    let cases: [(&[u8], &str); 5] = [
        (&[7, 40, 4, 0, 0, 0, 0, 0], "ipv4.opt_invalid_len"),
        // Record route whose pointer is no multiple of 4.
        (&[7, 7, 5, 0, 0, 0, 0, 0], "ipv4.opt_malformed"),
        (&[148, 4, 0, 0, 148, 4, 0, 0], "ipv4.opt_duplicate"),
        (&[99, 4, 0, 0, 0, 0, 0, 0], "ipv4.opt_invalid"),
        (&[1, 1, 1, 0], "ipv4.opt_pad_required"),
    ];
    for (options, name) in cases {
        let context = one(1, &ethernet(0x0800, &ipv4_packet(17, options, &payload)));
        assert_eq!(names(&context), [name]);
    }
    // Loose source route: refused inline, watched in a tap.
    let route = ethernet(
        0x0800,
        &ipv4_packet(17, &[131, 7, 4, 1, 2, 3, 4, 0], &payload),
    );
    assert_eq!(
        inline(&route).verdict,
        Verdict::Drop(Reason::DecodeSourceRoute)
    );
    assert_eq!(one(1, &route).verdict, Verdict::Forward);
}

#[test]
fn ipv6_extension_headers_are_walked() {
    let segment = tcp_segment(&[], b"x");
    let chain = [
        &[43, 0, 5, 2, 0, 0, 1, 0][..], // hop-by-hop: router alert, PadN of 0 bytes
        &[60, 0, 2, 0, 0, 0, 0, 0],     // routing, type 2, no segments left
        &[51, 0, 1, 4, 0, 0, 0, 0],     // destination: PadN of 4 bytes
        &[44, 1, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1], // authentication, 12 bytes
        &[6, 0, 0, 0, 0, 0, 0, 7],      // a fragment header that does not fragment
    ];
    let frame = ethernet(0x86dd, &ipv6_packet(0, 6, &chain.concat(), &segment));
    let context = one(1, &frame);
    assert_eq!(
        names(&context),
        [
            "ipv6.zero_len_padn",
            "ipv6.dstopts_only_padding",
            "ipv6.exthdr_useless_fh"
        ]
    );
    assert_eq!(
        (context.l3, context.l4, context.protocol),
        (14, 14 + 40 + 44, 6)
    );
    assert!(context.has(flag::IPV6 | flag::TRANSPORT) && !context.has(flag::FRAGMENT));
    let header = ipv6::Ipv6::at(&frame, context.l3).unwrap();
    assert_eq!(header.header_with_extensions().len(), 84);
    let kinds: Vec<u8> = header
        .extensions()
        .map(|extension| extension.kind)
        .collect();
    assert_eq!(kinds, [0, 43, 60, 51, 44]);
    assert_eq!(header.hop_limit(), 64);
    // Routing type 0 is refused inline; its checksum is over another destination and not told.
    let route = ipv6_packet(43, 6, &[6, 0, 0, 1, 0, 0, 0, 0], &segment);
    let context = inline(&ethernet(0x86dd, &route));
    assert_eq!(names(&context), ["ipv6.rh_type_0"]);
    assert_eq!(context.verdict, Verdict::Drop(Reason::DecodeSourceRoute));
}

#[test]
fn ipv6_headers_that_contradict_themselves_are_refused_inline() {
    let cases = [
        (
            ipv6_packet(0, 6, &[6, 9, 1, 4, 0, 0, 0, 0], &[0; 8]),
            "ipv6.trunc_exthdr",
        ),
        (
            ipv6_packet(0, 59, &[59, 0, 5, 9, 0, 0, 0, 0], &[]),
            "ipv6.exthdr_invalid_optlen",
        ),
        (
            ipv6_packet(17, 17, &[], &[0; 8])[..44].to_vec(),
            "ipv6.trunc_pkt",
        ),
    ];
    for (packet, name) in cases {
        let context = inline(&ethernet(0x86dd, &packet));
        assert!(
            names(&context).contains(&name),
            "{name}: {:?}",
            names(&context)
        );
        assert_eq!(context.verdict, Verdict::Drop(Reason::DecodeIpInvalid));
    }
    let none = one(1, &ethernet(0x86dd, &ipv6_packet(59, 59, &[], b"data")));
    assert_eq!(names(&none), ["ipv6.data_after_none_header"]);
    let unknown = one(1, &ethernet(0x86dd, &ipv6_packet(200, 200, &[], b"data")));
    assert_eq!(names(&unknown), ["ipv6.unknown_next_header"]);
    assert!(unknown.has(flag::NO_FLOW | flag::IPV6));
}

#[test]
fn fragments_tell_what_a_reassembler_needs() {
    // IPv4: offset 3 units, more fragments; header with 4 bytes of options.
    let mut packet = ipv4_packet(17, &[1, 1, 1, 0], &[0xab; 16]);
    packet[6..8].copy_from_slice(&[0x20, 3]);
    let packet = fix_ipv4(packet);
    let frame = ethernet(0x0800, &packet);
    let context = one(1, &frame);
    assert!(context.has(flag::IPV4 | flag::FRAGMENT));
    assert!(!context.has(flag::TRANSPORT) && !context.has(flag::NO_FLOW));
    assert_eq!(
        (
            context.protocol,
            context.tuple.a_port,
            context.payload_length
        ),
        (17, 0, 0)
    );
    let fragment = decode::fragment(&context, &frame).unwrap();
    assert_eq!(
        (fragment.id, fragment.offset, fragment.more),
        (0x1234, 24, true)
    );
    assert_eq!(
        (fragment.data, fragment.header.len()),
        (&[0xab; 16][..], 24)
    );
    // IPv6: hop-by-hop, then the fragment header; offset 2 units, the last.
    let chain = [&[44, 0, 1, 4, 0, 0, 0, 0][..], &[17, 0, 0, 16, 0, 0, 1, 2]].concat();
    let frame = ethernet(0x86dd, &ipv6_packet(0, 17, &chain, b"tail"));
    let context = one(1, &frame);
    assert!(context.has(flag::IPV6 | flag::FRAGMENT));
    let fragment = decode::fragment(&context, &frame).unwrap();
    assert_eq!(
        (fragment.id, fragment.offset, fragment.more),
        (0x102, 16, false)
    );
    assert_eq!((fragment.data, fragment.header.len()), (&b"tail"[..], 48));
    assert_eq!((fragment.protocol, fragment.protocol_at), (17, 40));
    assert_eq!(fragment.header[fragment.protocol_at], 44);
    // Not the last, and no multiple of 8.
    let odd = ipv6_packet(44, 17, &[17, 0, 0, 1, 0, 0, 0, 1], b"tail");
    assert_eq!(
        names(&one(1, &ethernet(0x86dd, &odd))),
        ["ipv6.frag_invalid_length"]
    );
}

#[test]
fn a_reassembled_datagram_decodes_from_its_header() {
    let decoder = Decoder::new(&Config::default());
    let counters = Counters::default();
    let mut bytes = ipv4_packet(17, &[], &udp_datagram(5000, 53, b"q"));
    bytes[10] ^= 0xff; // the reassembler does not sum its header
    let mut context = Context {
        kind: Kind::Datagram,
        vlans: [7, 0, 0],
        vlan_count: 1,
        ..Context::default()
    };
    assert!(decode::datagram(&decoder, &bytes, &mut context, &counters).is_none());
    assert!(context.has(flag::REBUILT | flag::TRANSPORT) && !context.has(flag::CHECKSUM_BAD));
    assert_eq!((context.l3, context.l4, context.vlans[0]), (0, 20, 7));
    let fragment = ethernet(0x8100, &[&[0, 7, 8, 0][..], &fix_ipv4(bytes)].concat());
    assert_eq!(one(1, &fragment).tuple, context.tuple);
}

#[test]
fn tcp_headers_are_checked() {
    let frame = |segment: &[u8]| ethernet(0x0800, &ipv4_packet(6, &[], segment));
    let good = tcp_segment(&[], b"");
    let with = |offset: u8| {
        let mut segment = good.clone();
        segment[12] = offset << 4;
        frame(&segment)
    };
    let cases = [
        (frame(&good[..19]), "tcp.pkt_too_small"),
        (with(4), "tcp.invalid_optlen"),
        (with(15), "tcp.hlen_too_small"),
    ];
    for (frame, name) in cases {
        let context = inline(&frame);
        assert_eq!(names(&context), [name]);
        assert_eq!(
            context.verdict,
            Verdict::Drop(Reason::DecodeTransportInvalid)
        );
        assert!(context.has(flag::IPV4 | flag::NO_FLOW) && !context.has(flag::TRANSPORT));
        assert_eq!(context.protocol, 6);
    }
    let options: [(&[u8], &[&str]); 7] = [
        (&[2, 4, 5, 0xb4, 2, 4, 5, 0xb4], &["tcp.opt_duplicate"]),
        (&[3, 4, 7, 0], &["tcp.opt_invalid_len"]),
        (&[5, 2, 1, 1], &[]), // an empty SACK is common
        (&[8, 12, 0, 0], &["tcp.opt_invalid_len"]),
        (&[34, 2, 1, 1], &[]), // asks for a fast open cookie
        (&[254, 4, 0xf9, 0x89, 34, 2, 1, 1], &["tcp.opt_duplicate"]),
        (&[19, 4, 0, 0], &["tcp.opt_invalid_len"]),
    ];
    for (options, expected) in options {
        let context = inline(&frame(&tcp_segment(options, b"")));
        assert_eq!(names(&context), expected, "{options:?}");
        assert_eq!(
            context.verdict,
            Verdict::Forward,
            "receivers keep such segments"
        );
        assert!(context.has(flag::TRANSPORT));
    }
    let frame = frame(&tcp_segment(&[1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 8], b"x"));
    let context = one(1, &frame);
    let known = tcp::Tcp::at(&frame, context.l4).unwrap().known();
    assert_eq!(known.timestamps, Some((9, 8)));
}

#[test]
fn udp_lengths_are_checked() {
    let frame = |datagram: &[u8]| ethernet(0x0800, &ipv4_packet(17, &[], datagram));
    let good = udp_datagram(1, 2, b"abcd");
    let with = |length: u8| {
        let mut datagram = good.clone();
        datagram[5] = length;
        frame(&datagram)
    };
    let cases = [
        (frame(&good[..7]), "udp.hlen_too_small"),
        (with(40), "udp.pkt_too_small"),
        (with(7), "udp.len_invalid"),
    ];
    for (frame, name) in cases {
        let context = inline(&frame);
        assert_eq!(names(&context), [name]);
        assert_eq!(
            context.verdict,
            Verdict::Drop(Reason::DecodeTransportInvalid)
        );
    }
    // Shorter than what IP holds: the rest is no payload.
    let frame = with(10);
    let context = one(1, &frame);
    assert_eq!(context.payload_of(&frame), b"ab");
    assert_eq!(udp::Udp::at(&frame, context.l4).unwrap().length(), 10);
    // No checksum is right in IPv4 and wrong in IPv6, tunnels excepted (RFC 6935).
    assert_eq!(names(&context), [""; 0]);
    let v6 = |port| {
        one(
            1,
            &ethernet(
                0x86dd,
                &ipv6_packet(17, 17, &[], &udp_datagram(9, port, b"")),
            ),
        )
    };
    assert_eq!(names(&v6(53)), ["udp.csum_invalid"]);
    assert_eq!(names(&v6(4789)), [""; 0]);
}

#[test]
fn wrong_checksums_are_dropped_inline_and_flagged_in_a_tap() {
    let good = ethernet(0x0800, &ipv4_packet(6, &[], &tcp_segment(&[], b"hello")));
    assert!(!inline(&good).has(flag::CHECKSUM_BAD));
    let cases = [
        (22, "ipv4.csum_invalid", Reason::DecodeIpChecksum), // time to live
        (56, "tcp.csum_invalid", Reason::DecodeTransportChecksum), // payload
    ];
    for (at, name, reason) in cases {
        let mut frame = good.clone();
        frame[at] ^= 0x10;
        let (dropped, watched) = (inline(&frame), one(1, &frame));
        assert_eq!((names(&dropped), names(&watched)), (vec![name], vec![name]));
        assert_eq!(dropped.verdict, Verdict::Drop(reason));
        assert!(dropped.has(flag::CHECKSUM_BAD | flag::DECIDED));
        assert_eq!(watched.verdict, Verdict::Forward);
        assert!(watched.has(flag::CHECKSUM_BAD) && !watched.has(flag::DECIDED));
        let config = Config {
            checksum_validation: false,
            ..Config::default()
        };
        let unchecked = &Rig::new(config, 0).one(1, &frame)[0].0;
        assert!(!unchecked.has(flag::CHECKSUM_BAD));
    }
}

#[test]
fn icmp_request_and_reply_share_a_tuple() {
    let request = ipv4_packet(1, &[], &icmp_message(8, 0, [0x12, 0x34, 0, 1], b"ping"));
    let reply = icmp_message(0, 0, [0x12, 0x34, 0, 1], b"ping");
    let reply = ipv4_between([10, 0, 0, 1], [10, 0, 0, 2], 1, &[], &reply);
    let (frame, reply) = (ethernet(0x0800, &request), ethernet(0x0800, &reply));
    let context = one(1, &frame);
    assert_eq!(context.tuple, one(1, &reply).tuple);
    assert_eq!((context.src_port(), context.dst_port()), (8, 0));
    assert_eq!(context.payload_of(&frame), b"ping");
    let message = icmp::Icmp::at(&frame, context.l4).unwrap();
    assert_eq!((message.id_v4(), message.seq_v4()), (Some(0x1234), Some(1)));
    let odd = ipv4_packet(1, &[], &icmp_message(8, 3, [0; 4], b""));
    assert_eq!(
        names(&one(1, &ethernet(0x0800, &odd))),
        ["icmpv4.unknown_code"]
    );
    let unknown = ipv4_packet(1, &[], &icmp_message(77, 0, [0; 4], b""));
    assert_eq!(
        names(&one(1, &ethernet(0x0800, &unknown))),
        ["icmpv4.unknown_type"]
    );
}

#[test]
fn an_icmp_error_has_the_tuple_of_what_it_quotes() {
    let quoted = ipv4_packet(17, &[], &udp_datagram(5000, 53, b"q"));
    let original = one(1, &ethernet(0x0800, &quoted));
    // A router, 192.0.2.1, tells 10.0.0.2 that the port is unreachable.
    let message = icmp_message(3, 3, [0; 4], &quoted[..28]);
    let error = ipv4_between([192, 0, 2, 1], [10, 0, 0, 2], 1, &[], &message);
    let frame = ethernet(0x0800, &error);
    let context = one(1, &frame);
    assert!(context.has(flag::ICMP_ERROR) && !context.has(flag::NO_FLOW));
    assert_eq!((context.tuple, context.protocol), (original.tuple, 1));
    assert_ne!(context.has(flag::REVERSED), original.has(flag::REVERSED));
    assert_eq!(
        decode::owner_hash(&context, 5),
        decode::owner_hash(&original, 5)
    );
    let (src, dst) = decode::addresses(&context, &frame);
    assert_eq!(src, decode::mapped([192, 0, 2, 1]));
    assert_eq!(dst, decode::mapped([10, 0, 0, 2]));
    // Too little quoted: the error stands for itself.
    let message = icmp_message(3, 3, [0; 4], &quoted[..12]);
    let error = ipv4_between([192, 0, 2, 1], [10, 0, 0, 2], 1, &[], &message);
    let context = one(1, &ethernet(0x0800, &error));
    assert_eq!(names(&context), ["icmpv4.ipv4_trunc_pkt"]);
    assert!(!context.has(flag::ICMP_ERROR));
    assert_eq!(
        decode::addresses(&context, &[]).0,
        decode::mapped([192, 0, 2, 1])
    );
}

#[test]
fn icmpv6_types_and_errors() {
    let message = |kind, code, body: &[u8]| {
        ethernet(
            0x86dd,
            &ipv6_packet(58, 58, &[], &icmp_message(kind, code, [0, 0, 5, 0], body)),
        )
    };
    let frame = message(2, 0, &ipv6_packet(17, 17, &[], &udp_datagram(9, 10, b"")));
    let context = one(1, &frame);
    assert_eq!(names(&context), [""; 0]);
    assert!(context.has(flag::ICMP_ERROR));
    assert_eq!(context.tuple.protocol, 17);
    assert_eq!(
        icmp::Icmp::at(&frame, context.l4).unwrap().mtu_v6(),
        Some(1280)
    );
    let cases: [(u8, u8, &str); 5] = [
        (128, 1, "icmpv6.unknown_code"),
        (99, 0, "icmpv6.unassigned_type"),
        (100, 0, "icmpv6.experimentation_type"),
        (127, 0, "icmpv6.unknown_type"),
        (131, 0, "icmpv6.mld_message_with_invalid_hl"),
    ];
    for (kind, code, name) in cases {
        assert_eq!(names(&one(1, &message(kind, code, b"1234"))), [name]);
    }
    let wrong = ipv6_packet(1, 1, &[], &icmp_message(8, 0, [0; 4], b""));
    assert_eq!(names(&one(1, &ethernet(0x86dd, &wrong))), ["ipv6.icmpv4"]);
    let wrong = ipv4_packet(58, &[], &icmp_message(128, 0, [0; 4], b""));
    assert_eq!(names(&one(1, &ethernet(0x0800, &wrong))), ["ipv4.icmpv6"]);
}

#[test]
fn sctp_payload_is_the_first_user_data() {
    let head = [0x04, 0xd2, 0, 80, 0, 0, 0, 9]; // ports 1234 and 80, tag 9
    let data = [
        &[3, 0, 0, 6, 1, 2, 0, 0][..], // an odd chunk of 6 bytes, padded
        &[
            0, 3, 0, 19, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, b'a', b'b', b'c', 0,
        ],
    ];
    let packet = sctp_packet(&head, &data.concat());
    let frame = ethernet(0x0800, &ipv4_packet(132, &[], &packet));
    let context = one(1, &frame);
    assert_eq!(names(&context), [""; 0]);
    assert_eq!(context.payload_of(&frame), b"abc");
    assert_eq!(context.dst_port(), 80);
    let packet = sctp::Sctp::at(&frame, context.l4, frame.len()).unwrap();
    assert_eq!((packet.verification_tag(), packet.chunks().count()), (9, 2));
    let cases: [(&[u8], &str); 4] = [
        (&[1, 0, 0, 4], "sctp.init_with_non_zero_vtag"),
        (&[0, 0, 0, 40], "sctp.chunk_len_invalid"),
        (&[0, 0], "sctp.chunk_too_small"),
        (&[2, 0, 0, 4, 3, 0, 0, 4], "sctp.init_chunk_bundled"),
    ];
    for (chunks, name) in cases {
        let packet = ipv4_packet(132, &[], &sctp_packet(&head, chunks));
        assert_eq!(names(&one(1, &ethernet(0x0800, &packet))), [name]);
    }
    let mut bent = frame.clone();
    bent[50] ^= 1;
    assert_eq!(names(&one(1, &bent)), ["sctp.csum_invalid"]);
    assert_eq!(
        inline(&bent).verdict,
        Verdict::Forward,
        "for information alone"
    );
}

#[test]
fn esp_flows_are_named_by_their_index() {
    let frame = ethernet(
        0x0800,
        &ipv4_packet(50, &[], &[1, 2, 3, 4, 0, 0, 0, 9, 0xee]),
    );
    let context = one(1, &frame);
    assert_eq!((context.src_port(), context.dst_port()), (0x0102, 0x0304));
    assert_eq!(sctp::esp(&frame, context.l4), Some((0x0102_0304, 9)));
    assert_eq!(context.payload_of(&frame), [0xee]);
}

#[test]
fn protocols_without_a_decoder_have_addresses_and_no_flow() {
    let context = one(1, &ethernet(0x0800, &ipv4_packet(89, &[], &[0; 24])));
    assert!(context.has(flag::IPV4 | flag::NO_FLOW));
    assert_eq!((context.protocol, context.payload_length), (89, 0));
    assert_eq!(context.src_addr(), &decode::mapped([10, 0, 0, 2]));
    // IGMPv3 report whose record reaches past the message.
    let report = [0x22, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 9, 224, 0, 0, 1];
    let context = one(1, &ethernet(0x0800, &ipv4_packet(2, &[], &report)));
    assert_eq!(names(&context), ["igmp.malformed"]);
}
