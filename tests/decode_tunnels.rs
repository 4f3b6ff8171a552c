//! Decode of tunnels, on bytes that are written out here: what becomes a view, where it stands in
//! the burst, and what happens at the limits.

mod decode_rig;

use decode_rig::build::*;
use decode_rig::{Rig, names};
use sluice::config::{Config, Mode};
use sluice::counters::Counter;
use sluice::decode::{LinkType, arp, ethernet_header};
use sluice::packet::{Context, Kind, Verdict, flag};
use sluice::reason::Reason;

type Packets = Vec<(Context, Vec<u8>)>;

fn tap(frame: &[u8]) -> Packets {
    Rig::new(Config::default(), 64).one(1, frame)
}

fn inline(frame: &[u8]) -> Packets {
    let config = Config {
        mode: Mode::Inline,
        ..Config::default()
    };
    Rig::new(config, 64).one(1, frame)
}

/// An IPv4 packet with a UDP datagram to port 7 in it, between hosts of their own.
fn inner_v4() -> Vec<u8> {
    ipv4_between(
        [172, 16, 0, 1],
        [172, 16, 0, 2],
        17,
        &[],
        &udp_datagram(6, 7, b"in"),
    )
}

fn inner_v6() -> Vec<u8> {
    ipv6_packet(6, 6, &[], &tcp_segment(&[], b"in"))
}

fn frame_v4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    ethernet(0x0800, &ipv4_packet(protocol, &[], payload))
}

fn frame_v6(next: u8, payload: &[u8]) -> Vec<u8> {
    ethernet(0x86dd, &ipv6_packet(next, next, &[], payload))
}

#[test]
fn ip_in_ip_is_followed_in_all_four_ways() {
    let cases = [
        (frame_v4(4, &inner_v4()), inner_v4()),
        (frame_v4(41, &inner_v6()), inner_v6()),
        (frame_v6(4, &inner_v4()), inner_v4()),
        (frame_v6(41, &inner_v6()), inner_v6()),
    ];
    for (frame, inner) in cases {
        let packets = tap(&frame);
        assert_eq!(packets.len(), 2);
        let (carrier, view) = (&packets[0].0, &packets[1]);
        assert!(carrier.has(flag::HAS_INNER) && !carrier.has(flag::NO_FLOW));
        assert_eq!(view.1, inner, "the view's bytes are the inner packet");
        assert_eq!(
            (view.0.kind, view.0.depth, view.0.order),
            (Kind::Inner, 1, 1)
        );
        assert!(view.0.has(flag::TRANSPORT) && !view.0.has(flag::HAS_INNER));
        assert_eq!(view.0.payload_of(&view.1), b"in");
        // The same packet without a tunnel is another flow.
        let kind = if view.0.has(flag::IPV6) {
            0x86dd
        } else {
            0x0800
        };
        assert_ne!(tap(&ethernet(kind, &inner))[0].0.tuple, view.0.tuple);
    }
    let wrong = tap(&frame_v6(4, &[0x65; 24]));
    assert_eq!(names(&wrong[0].0), ["ipv6.ipv4_in_ipv6_wrong_version"]);
    let short = tap(&frame_v6(41, &[0x60; 39]));
    assert_eq!(names(&short[0].0), ["ipv6.ipv6_in_ipv6_too_small"]);
}

#[test]
fn an_invalid_inner_packet_is_no_view_and_inline_no_packet() {
    let mut bad = inner_v4();
    bad[0] = 0x44; // header length 16
    let frame = frame_v4(4, &bad);
    let packets = tap(&frame);
    assert_eq!(packets.len(), 1);
    assert!(!packets[0].0.has(flag::HAS_INNER));
    assert_eq!(names(&packets[0].0), [""; 0]);
    let packets = inline(&frame);
    assert_eq!(packets[0].0.verdict, Verdict::Drop(Reason::DecodeIpInvalid));
    // A checksum that is wrong inside is the view's own verdict.
    let mut bad = inner_v4();
    bad[8] ^= 1;
    let packets = inline(&frame_v4(4, &bad));
    assert_eq!(packets[0].0.verdict, Verdict::Forward);
    assert_eq!(
        packets[1].0.verdict,
        Verdict::Drop(Reason::DecodeIpChecksum)
    );
}

#[test]
fn gre_carries_by_its_protocol_type() {
    // Flags and version, protocol type.
    let bare = tap(&frame_v4(47, &[&[0, 0, 8, 0][..], &inner_v4()].concat()));
    assert_eq!(bare.len(), 2);
    assert!(
        bare[0].0.has(flag::NO_FLOW),
        "the flow is the inner packet's"
    );
    // Key and sequence number; checksum and offset.
    let full = [&[0xb0, 0, 0x86, 0xdd][..], &[0; 12], &inner_v6()].concat();
    assert_eq!(tap(&frame_v4(47, &full))[1].0.protocol, 6);
    // A source route of one entry, and its end.
    let route = [
        &[0x40, 0, 8, 0, 0, 0, 0, 0][..],
        &[8, 0, 0, 4, 1, 2, 3, 4],
        &[0; 4],
    ];
    let route = [&route.concat()[..], &inner_v4()].concat();
    assert_eq!(tap(&frame_v4(47, &route)).len(), 2);
    // Bridged Ethernet; a VLAN tag; ARP.
    let bridged = [&[0, 0, 0x65, 0x58][..], &ethernet(0x0800, &inner_v4())].concat();
    let bridged = tap(&frame_v4(47, &bridged));
    assert_eq!(bridged[1].0.link, LinkType::Ethernet as u8);
    assert!(ethernet_header(&bridged[1].0, &bridged[1].1).is_some());
    let tagged = [&[0, 0, 0x81, 0][..], &[0, 9, 8, 0], &inner_v4()].concat();
    assert_eq!(tap(&frame_v4(47, &tagged))[1].0.vlans, [9, 0, 0]);
    // PPTP: version 1, key (payload length, call), sequence; PPP in HDLC framing.
    let ppp = [&[0xff, 3, 0, 0x21][..], &inner_v4()].concat();
    let head = [0x30, 1, 0x88, 0x0b, 0, ppp.len() as u8, 0, 7, 0, 0, 0, 1];
    let packets = tap(&frame_v4(47, &[&head[..], &ppp].concat()));
    assert_eq!((packets.len(), packets[1].0.l3), (2, 4));
    let acknowledgement = [0x20, 0x81, 0x88, 0x0b, 0, 0, 0, 7, 0, 0, 0, 1];
    assert_eq!(tap(&frame_v4(47, &acknowledgement)).len(), 1);
}

#[test]
fn odd_gre_is_noted_and_refused_inline() {
    let cases: [(&[u8], &str); 12] = [
        (&[0, 0, 8], "gre.pkt_too_small"),
        (&[0, 2, 8, 0], "gre.wrong_version"),
        (&[1, 0, 8, 0], "gre.version0_recur"),
        (&[0, 8, 8, 0], "gre.version0_flags"),
        (&[0x20, 0, 8, 0], "gre.version0_hdr_too_big"),
        (
            &[0x40, 0, 8, 0, 0, 0, 0, 0, 8, 0, 0, 9],
            "gre.version0_malformed_sre_hdr",
        ),
        (&[0x80, 1, 0x88, 0x0b], "gre.version1_chksum"),
        (&[0x40, 1, 0x88, 0x0b], "gre.version1_route"),
        (&[0x08, 1, 0x88, 0x0b], "gre.version1_ssr"),
        (&[0x20, 1, 8, 0], "gre.version1_wrong_protocol"),
        (&[0, 1, 0x88, 0x0b], "gre.version1_no_key"),
        (
            &[0x30, 1, 0x88, 0x0b, 0, 1, 0, 1],
            "gre.version1_hdr_too_big",
        ),
    ];
    for (header, name) in cases {
        let packets = inline(&frame_v4(47, header));
        assert_eq!(names(&packets[0].0), [name]);
        assert_eq!(
            packets[0].0.verdict,
            Verdict::Drop(Reason::DecodeTransportInvalid)
        );
    }
}

#[test]
fn erspan_of_two_types_is_followed_and_of_the_third_on_request() {
    let mirrored = ethernet(0x0800, &inner_v4());
    let one = [&[0, 0, 0x88, 0xbe][..], &mirrored].concat();
    assert_eq!(tap(&frame_v4(47, &one))[1].0.l3, 14);
    // Type II: sequence number; version 1, VLAN 100, session 5.
    let head = [0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 100, 0, 5, 0, 0, 0, 0];
    let two = tap(&frame_v4(47, &[&head[..], &mirrored].concat()));
    assert_eq!((two[1].0.vlans[0], two[1].0.vlan_count), (100, 1));
    // Type III: version 2, time stamp, and 8 bytes of the platform.
    let head = [
        0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 101, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1,
    ];
    let three = frame_v4(47, &[&head[..], &[0; 8], &mirrored].concat());
    assert_eq!(tap(&three).len(), 1);
    let config = Config {
        erspan_third: true,
        ..Config::default()
    };
    let followed = Rig::new(config, 64).one(1, &three);
    assert_eq!(followed[1].0.vlans[0], 101);
    let version = [0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x30, 100, 0, 5, 0, 0, 0, 0];
    let odd = tap(&frame_v4(47, &version));
    assert_eq!(names(&odd[0].0), ["erspan.unsupported_version"]);
}

fn vxlan(network: u8, inner: &[u8]) -> Vec<u8> {
    let payload = [&[8, 0, 0, 0, 0, 0, network, 0][..], inner].concat();
    frame_v4(17, &udp_datagram(50_000, 4789, &payload))
}

#[test]
fn vxlan_networks_keep_their_flows_apart() {
    let inner = ethernet(0x8100, &[&[0, 5, 8, 0][..], &inner_v4()].concat());
    let packets = tap(&vxlan(1, &inner));
    assert_eq!(packets.len(), 2);
    assert_eq!(packets[1].0.vlans, [5, 0, 0], "the inner frame's own tags");
    assert_eq!(packets[1].1, inner);
    assert_ne!(packets[1].0.tuple, tap(&vxlan(2, &inner))[1].0.tuple);
    // ARP inside is a view as well.
    let request = [
        0, 1, 8, 0, 6, 4, 0, 1, 2, 2, 2, 2, 2, 2, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2,
    ];
    let packets = tap(&vxlan(1, &ethernet(0x0806, &request)));
    assert!(packets[1].0.has(flag::ARP));
    let header = arp::Arp::at(&packets[1].1, packets[1].0.l3).unwrap();
    assert_eq!(header.sender_ip(), [10, 0, 0, 1]);
    let unknown = tap(&vxlan(1, &ethernet(0x1234, &[0; 30])));
    assert_eq!(
        (unknown.len(), names(&unknown[0].0)),
        (1, vec!["vxlan.unknown_payload_type"])
    );
    // A reserved bit: it is an ordinary datagram.
    let payload = [&[9, 0, 0, 0, 0, 0, 1, 0][..], &inner].concat();
    let packets = tap(&frame_v4(17, &udp_datagram(50_000, 4789, &payload)));
    assert_eq!(
        (packets.len(), packets[0].0.payload_of(&packets[0].1)),
        (1, &payload[..])
    );
    // Unless the settings say that nobody minds.
    let config = Config {
        vxlan_strict: false,
        ..Config::default()
    };
    let frame = frame_v4(17, &udp_datagram(50_000, 4789, &payload));
    assert_eq!(Rig::new(config, 64).one(1, &frame).len(), 2);
}

#[test]
fn geneve_options_must_add_up() {
    let geneve = |head: &[u8]| {
        let payload = [head, &inner_v4()].concat();
        tap(&frame_v4(17, &udp_datagram(50_000, 6081, &payload)))
    };
    // Version 0, two words of options; IPv4; network 7. One option of one word.
    let good = [2, 0, 8, 0, 0, 0, 7, 0, 1, 2, 3, 1, 9, 9, 9, 9];
    assert_eq!(geneve(&good).len(), 2);
    let mut bad = good;
    bad[11] = 2;
    assert_eq!(geneve(&bad).len(), 1);
    let mut unknown = good;
    unknown[2] = 0x77;
    assert_eq!(
        names(&geneve(&unknown)[0].0),
        ["geneve.unknown_payload_type"]
    );
}

#[test]
fn teredo_is_taken_only_if_all_of_it_decodes() {
    let teredo = |payload: &[u8]| tap(&frame_v4(17, &udp_datagram(3544, 9999, payload)));
    let packets = teredo(&inner_v6());
    assert_eq!(packets.len(), 2);
    assert!(packets[0].0.has(flag::HAS_INNER) && packets[1].0.has(flag::IPV6));
    // With an origin indication.
    assert_eq!(
        teredo(&[&[0, 0, 1, 2, 3, 4, 5, 6][..], &inner_v6()].concat()).len(),
        2
    );
    // Another length, no hop limit, a header inside that is malformed: a datagram like others.
    assert_eq!(teredo(&[&inner_v6()[..], &[0]].concat()).len(), 1);
    let mut dead = inner_v6();
    dead[7] = 0;
    assert_eq!(teredo(&dead).len(), 1);
    let mut malformed = inner_v6();
    malformed[52] = 0x40; // TCP header length 16
    let packets = teredo(&malformed);
    assert_eq!(packets.len(), 1);
    assert!(!packets[0].0.has(flag::HAS_INNER));
    let config = Config {
        teredo_ports: vec![1],
        ..Config::default()
    };
    let frame = frame_v4(17, &udp_datagram(3544, 9999, &inner_v6()));
    assert_eq!(Rig::new(config, 8).one(1, &frame).len(), 1);
}

#[test]
fn chains_stand_behind_their_frames() {
    let plain = frame_v4(17, &udp_datagram(1, 2, b""));
    let single = frame_v4(4, &inner_v4());
    let double = frame_v4(4, &ipv4_packet(4, &[], &inner_v4()));
    let mut rig = Rig::new(Config::default(), 64);
    let packets = rig.run(1, &[&plain, &double, &single, &plain]);
    let shape: Vec<_> = packets.iter().map(|(c, _)| (c.order, c.depth)).collect();
    assert_eq!(
        shape,
        [(1, 0), (2, 0), (2, 1), (2, 2), (3, 0), (3, 1), (4, 0)]
    );
    assert_eq!(rig.emit.counters.get(Counter::Views), 3);
    assert_eq!(rig.emit.counters.get(Counter::ViewsExhausted), 0);
}

#[test]
fn layers_end_at_their_limit() {
    let mut packet = inner_v4();
    for _ in 0..20 {
        packet = ipv4_packet(4, &[], &packet);
    }
    let packets = inline(&ethernet(0x0800, &packet));
    let last = &packets.last().unwrap().0;
    assert_eq!(names(last), ["too_many_layers"]);
    assert_eq!(last.verdict, Verdict::Drop(Reason::DecodeTooManyLayers));
    assert!(packets.len() < 10);
    let config = Config {
        layers_max: 4,
        ..Config::default()
    };
    let packets = Rig::new(config, 8).one(1, &frame_v4(4, &inner_v4()));
    assert_eq!(
        packets.len(),
        1,
        "Ethernet, IPv4, and no room for IPv4 again"
    );
    assert_eq!(names(&packets[0].0), ["too_many_layers"]);
}

#[test]
fn without_a_context_the_carrier_is_dropped_inline_and_counted() {
    let double = frame_v4(4, &ipv4_packet(4, &[], &inner_v4()));
    for (mode, verdict) in [
        (Mode::Tap, Verdict::Forward),
        (Mode::Inline, Verdict::Drop(Reason::DecodeViewsExhausted)),
    ] {
        let config = Config {
            mode,
            ..Config::default()
        };
        let mut rig = Rig::new(config, 1);
        let packets = rig.one(1, &double);
        assert_eq!(packets.len(), 2);
        assert_eq!(packets[0].0.verdict, Verdict::Forward);
        assert_eq!(packets[1].0.verdict, verdict);
        assert_eq!(packets[1].0.has(flag::DECIDED), mode == Mode::Inline);
        assert_eq!(names(&packets[1].0), ["views_exhausted"]);
        assert_eq!(rig.emit.counters.get(Counter::ViewsExhausted), 1);
    }
}

#[test]
fn a_dropped_carrier_has_no_views() {
    let mut frame = frame_v4(4, &inner_v4());
    frame[22] ^= 1; // time to live, so that the header's checksum is wrong
    assert_eq!(inline(&frame).len(), 1);
    assert_eq!(tap(&frame).len(), 2);
}
