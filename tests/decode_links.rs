//! Decode of link layers, tags and ARP, on bytes that are written out here.

mod decode_rig;

use decode_rig::build::*;
use decode_rig::{Rig, names};
use sluice::config::{Config, Mode};
use sluice::decode::{self, LinkType, arp, tcp};
use sluice::packet::{Context, Verdict, flag};

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
fn a_segment_has_positions_ports_and_no_trailer() {
    let segment = tcp_segment(&[2, 4, 5, 0xb4, 1, 3, 3, 7], b"hello");
    let mut frame = ethernet(0x0800, &ipv4_packet(6, &[], &segment));
    frame.extend([0xee; 6]); // Ethernet's padding is no payload
    let context = one(1, &frame);
    assert_eq!((context.l3, context.l4, context.payload), (14, 34, 62));
    assert_eq!(context.payload_of(&frame), b"hello");
    assert!(context.has(flag::IPV4 | flag::TRANSPORT));
    assert!(!context.has(flag::NO_FLOW) && !context.has(flag::CHECKSUM_BAD));
    assert_eq!(names(&context), [""; 0]);
    assert_eq!(context.src_addr(), &decode::mapped([10, 0, 0, 2]));
    assert_eq!(context.dst_addr(), &decode::mapped([10, 0, 0, 1]));
    assert_eq!((context.src_port(), context.dst_port()), (1025, 80));
    assert!(
        context.has(flag::REVERSED),
        "the source is the higher address"
    );
    let header = tcp::Tcp::at(&frame, context.l4).unwrap();
    assert_eq!((header.seq(), header.ack()), (0x0102_0304, 0x0506_0708));
    assert_eq!((header.flags(), header.window()), (tcp::flags::ACK, 512));
    assert_eq!(header.header().len(), 28);
    let known = header.known();
    assert_eq!((known.mss, known.window_scale), (Some(1460), Some(7)));
    let options: Vec<_> = header
        .options()
        .map(|(kind, data)| (kind, data.len()))
        .collect();
    assert_eq!(options, [(2, 2), (3, 1)]);
}

#[test]
fn both_directions_share_a_tuple() {
    let there = one(
        1,
        &ethernet(0x0800, &ipv4_packet(17, &[], &udp_datagram(5000, 53, b"q"))),
    );
    let back = ipv4_between(
        [10, 0, 0, 1],
        [10, 0, 0, 2],
        17,
        &[],
        &udp_datagram(53, 5000, b"a"),
    );
    let back = one(1, &ethernet(0x0800, &back));
    assert_eq!(there.tuple, back.tuple);
    assert!(there.has(flag::REVERSED) && !back.has(flag::REVERSED));
}

#[test]
fn vlan_tags_are_noted_outermost_first() {
    let ip = ipv4_packet(17, &[], &udp_datagram(1, 2, b""));
    // 802.1ad tag 200, 802.1Q tag 300 with priority 5, old QinQ tag 400.
    let tags = [
        &[0x00, 0xc8, 0x81, 0x00][..],
        &[0xa1, 0x2c, 0x91, 0x00],
        &[0x01, 0x90, 8, 0],
    ];
    let context = one(1, &ethernet(0x88a8, &[&tags.concat()[..], &ip].concat()));
    assert_eq!((context.vlan_count, context.vlans), (3, [200, 300, 400]));
    assert_eq!(context.l3, 26);
    // A fourth is one too many.
    let four = [&[0x00, 0xc8, 0x81, 0x00].repeat(4)[..], &ip].concat();
    let context = one(1, &ethernet(0x8100, &four));
    assert_eq!(names(&context), ["vlan.too_many_layers"]);
    assert!(context.has(flag::NO_FLOW));
    // Tracking by VLAN keeps equal addresses of two VLANs apart; without it they meet.
    let tagged = ethernet(0x8100, &[&[0x00, 0x07, 8, 0][..], &ip].concat());
    let plain = ethernet(0x0800, &ip);
    assert_ne!(one(1, &tagged).tuple, one(1, &plain).tuple);
    let config = Config {
        vlan_tracking: false,
        ..Config::default()
    };
    let mut rig = Rig::new(config, 0);
    assert_eq!(
        rig.one(1, &tagged)[0].0.tuple,
        rig.one(1, &plain)[0].0.tuple
    );
}

#[test]
fn tags_of_bridges_lead_to_the_network_header() {
    let ip = ipv4_packet(17, &[], &udp_datagram(1, 2, b"x"));
    let cases: [(u16, Vec<u8>, u16); 4] = [
        // 802.1ah: service tag, customer addresses, customer type.
        (0x88e7, [&[0u8; 16][..], &[8, 0]].concat(), 32),
        // VN-Tag.
        (0x8926, vec![0, 1, 0, 2, 8, 0], 20),
        // 802.1BR E-Tag.
        (0x893f, vec![0x10, 0, 0, 0xd8, 0, 0, 8, 0], 22),
        // FabricPath: two bytes, then Ethernet again.
        (0x8903, [&[0u8; 14][..], &[8, 0]].concat(), 30),
    ];
    for (kind, header, l3) in cases {
        let frame = ethernet(kind, &[&header[..], &ip].concat());
        let context = one(1, &frame);
        assert_eq!((context.l3, context.dst_port()), (l3, 2), "{kind:04x}");
        // Cut inside the tag.
        assert!(!names(&one(1, &frame[..15])).is_empty());
    }
    let unknown = one(1, &ethernet(0x8926, &[0, 1, 0, 2, 0xff, 0]));
    assert_eq!(
        names(&unknown),
        ["ethernet.unknown_ethertype", "vntag.unknown_type"]
    );
}

#[test]
fn lengths_instead_of_types_are_counted_and_go_on() {
    // 802.3 length 38, LLC of spanning tree.
    let frame = ethernet(38, &[&[0x42, 0x42, 3][..], &[0; 35]].concat());
    let context = inline(&frame);
    assert_eq!(names(&context), ["ethernet.unknown_ethertype"]);
    assert_eq!(context.verdict, Verdict::Forward);
    assert!(context.has(flag::NO_FLOW));
}

#[test]
fn other_links_lead_to_the_network_header() {
    let ip = ipv4_packet(17, &[], &udp_datagram(1, 2, b"x"));
    let cases: [(u32, Vec<u8>); 10] = [
        (101, vec![]),
        (228, vec![]),
        // BSD loopback, little and big endian.
        (0, vec![2, 0, 0, 0]),
        (108, vec![0, 0, 0, 2]),
        // Linux cooked: type, hardware, length, address, protocol.
        (113, [&[0u8; 14][..], &[8, 0]].concat()),
        // Version 2: protocol first, 20 bytes.
        (276, [&[8, 0][..], &[0; 18]].concat()),
        // Cisco HDLC: address, control, type.
        (104, vec![0x0f, 0, 8, 0]),
        // PPP in HDLC framing, bare, and with a compressed protocol.
        (9, vec![0xff, 3, 0, 0x21]),
        (50, vec![0, 0x21]),
        (9, vec![0x21]),
    ];
    for (link, header) in cases {
        let context = one(link, &[&header[..], &ip].concat());
        assert_eq!(usize::from(context.l3), header.len(), "link {link}");
        assert_eq!(context.dst_port(), 2);
    }
    assert_eq!(names(&one(101, &[0x50; 20])), ["ipraw.invalid_ip_version"]);
    assert_eq!(
        names(&one(0, &[99, 0, 0, 0, 1])),
        ["ltnull.unsupported_type"]
    );
    assert_eq!(names(&one(113, &[0; 15])), ["sll.pkt_too_small"]);
    assert_eq!(names(&one(127, &[0; 60])), ["link.unsupported_type"]);
    assert_eq!(
        LinkType::from_pcap(LinkType::Sll2.to_pcap()),
        LinkType::Sll2
    );
}

#[test]
fn pppoe_carries_ip() {
    let ip = ipv4_packet(17, &[], &udp_datagram(1, 2, b"x"));
    // Version and type, code, session, length, PPP protocol.
    let context = one(
        1,
        &ethernet(
            0x8864,
            &[&[0x11, 0, 0, 1, 0, 32, 0, 0x21][..], &ip].concat(),
        ),
    );
    assert_eq!((context.l3, context.src_port()), (22, 1));
    let cut = one(1, &ethernet(0x8864, &[0x11, 0, 0, 1, 0, 2, 0, 0x21, 0x45]));
    assert_eq!(names(&cut), ["ppp.ip4_pkt_too_small"]);
    // One byte of protocol means what two bytes of it would (Suricata's `DecodePPPOESession`).
    let session = |rest: &[u8]| {
        let header = [0x11, 0, 0, 1, 0, 32];
        one(1, &ethernet(0x8864, &[&header, rest].concat()))
    };
    assert_eq!(names(&session(&[0xff, 0x20])), ["ppp.wrong_type"]);
    assert_eq!(names(&session(&[0x21, 0x45])), ["ppp.ip4_pkt_too_small"]);
    assert_eq!(session(&[&[0x21][..], &ip].concat()).src_port(), 1);
    // Uncompressed Van Jacobson of something else than IPv4 ends without a word.
    let no_ip = session(&[&[0, 0x2f][..], &[0x60; 40]].concat());
    assert_eq!((names(&no_ip).len(), no_ip.l3), (0, 0));
    let discovery = one(1, &ethernet(0x8863, &[0x11, 0x77, 0, 0, 0, 0]));
    assert_eq!(names(&discovery), ["pppoe.wrong_code"]);
    let tags = one(1, &ethernet(0x8863, &[0x11, 9, 0, 0, 0, 9]));
    assert_eq!(names(&tags), ["pppoe.malformed_tags"]);
}

#[test]
fn mpls_guesses_what_it_carries() {
    let ip = ipv4_packet(17, &[], &udp_datagram(1, 2, b"x"));
    // Label 1000, then label 2000 at the bottom.
    let stack = [0, 0x3e, 0x80, 64, 0, 0x7d, 0x01, 64];
    assert_eq!(
        one(1, &ethernet(0x8847, &[&stack[..], &ip].concat())).l3,
        22
    );
    // A control word, and Ethernet.
    let wire = [&stack[..], &[0; 4], &ethernet(0x0800, &ip)].concat();
    assert_eq!(one(1, &ethernet(0x8847, &wire)).l3, 40);
    // Implicit null at the bottom.
    let null = one(1, &ethernet(0x8847, &[0, 0, 0x31, 64, 0x45]));
    assert_eq!(names(&null), ["mpls.bad_label_implicit_null"]);
    let odd = one(1, &ethernet(0x8847, &[&stack[..], &[0x70; 8]].concat()));
    assert_eq!(names(&odd), ["mpls.unknown_payload_type"]);
    // A stack without a bottom ends at the limit.
    let endless = ethernet(0x8847, &[0, 0x3e, 0x80, 64].repeat(40));
    assert_eq!(names(&one(1, &endless)), ["too_many_layers"]);
}

#[test]
fn nsh_carries_ip_or_ethernet() {
    let ip = ipv4_packet(17, &[], &udp_datagram(1, 2, b"x"));
    // Version 0, length 2 words, metadata type 2, next protocol IPv4; path 2, index 2.
    let frame = ethernet(0x894f, &[&[0, 2, 2, 1, 0, 0, 2, 2][..], &ip].concat());
    assert_eq!(one(1, &frame).l3, 22);
    let length = one(
        1,
        &ethernet(0x894f, &[&[0, 2, 1, 1, 0, 0, 2, 2][..], &ip].concat()),
    );
    assert_eq!(
        names(&length),
        ["nsh.bad_header_length"],
        "type 1 has six words"
    );
    let reserved = one(
        1,
        &ethernet(0x894f, &[&[0, 2, 15, 1, 0, 0, 2, 2][..], &ip].concat()),
    );
    assert_eq!(names(&reserved), ["nsh.reserved_type"]);
}

#[test]
fn arp_has_fields_and_no_flow() {
    // Ethernet, IPv4, sizes 6 and 4, request; sender, target.
    let request = [
        0, 1, 8, 0, 6, 4, 0, 1, 2, 2, 2, 2, 2, 2, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2,
    ];
    let frame = ethernet(0x0806, &request);
    let context = one(1, &frame);
    assert!(context.has(flag::ARP | flag::NO_FLOW));
    let header = arp::Arp::at(&frame, context.l3).unwrap();
    assert_eq!((header.operation(), header.sender_ip()), (1, [10, 0, 0, 1]));
    assert_eq!(
        (header.sender_mac(), header.target_ip()),
        ([2; 6], [10, 0, 0, 2])
    );
    let mut odd = request;
    odd[7] = 9;
    assert_eq!(
        names(&one(1, &ethernet(0x0806, &odd))),
        ["arp.unsupported_opcode"]
    );
    assert_eq!(
        names(&one(1, &ethernet(0x0806, &request[..20]))),
        ["arp.invalid_pkt"]
    );
}
