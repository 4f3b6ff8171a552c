//! Header keywords, protocols, ports, addresses and the flow keyword, on packets made for them.

use super::{Rig, Shot, tcp, udp};
use crate::counters::Counter;
use crate::decode::LinkType;
use crate::packet::{Context, Direction, FlowHandle, Kind, flag};

fn matches(head: &str, options: &str, shot: Shot) -> bool {
    let rule = format!(r#"alert {head} (msg:"row"; {options} sid:1; rev:1;)"#);
    !Rig::new(&rule).sids(shot).is_empty()
}

fn icmp() -> Shot {
    Shot {
        protocol: 1,
        flags: 0,
        src_port: 0,
        dst_port: 0,
        ..tcp(b"ping")
    }
}

#[test]
fn headers_choose_by_protocol_address_and_port() {
    let rows: &[(&str, Shot, bool)] = &[
        ("ip any any -> any any", udp(b"a"), true),
        ("ip any any -> any any", icmp(), true),
        ("udp any any -> any any", udp(b"a"), true),
        ("udp any any -> any any", tcp(b"a"), false),
        ("tcp any any -> any any", tcp(b"a"), true),
        ("tcp-pkt any any -> any any", tcp(b"a"), true),
        ("icmp any any -> any any", icmp(), true),
        ("icmp any any -> any any", udp(b"a"), false),
        ("udp any any -> any 53", udp(b"a"), true),
        ("udp any any -> any !53", udp(b"a"), false),
        ("udp any any -> any 54:", udp(b"a"), false),
        ("udp any any -> any :53", udp(b"a"), true),
        ("udp any any -> any [50:60,!53]", udp(b"a"), false),
        ("udp any 40000 -> any any", udp(b"a"), true),
        ("udp any 40000 -> any any", udp(b"a").reply(), false),
        ("udp any 53 -> any any", udp(b"a").reply(), true),
        ("udp any any <> any 40000", udp(b"a"), true),
        ("udp 10.0.0.0/8 any -> any any", udp(b"a"), true),
        ("udp !10.0.0.0/8 any -> any any", udp(b"a"), false),
        ("udp any any -> 192.0.2.7 any", udp(b"a"), true),
        (
            "udp any any -> [192.0.2.0/24,!192.0.2.7] any",
            udp(b"a"),
            false,
        ),
        ("udp $HOME_NET any -> $EXTERNAL_NET any", udp(b"a"), true),
        (
            "udp $HOME_NET any -> $EXTERNAL_NET any",
            udp(b"a").reply(),
            false,
        ),
        ("ip 10.0.0.1 any -> any any", udp(b"a"), true),
        ("ip 10.0.0.2 any -> any any", udp(b"a"), false),
    ];
    for (head, shot, expected) in rows {
        let mut shot = shot.clone();
        shot.flow = 0;
        assert_eq!(matches(head, "", shot), *expected, "{head}");
    }
}

#[test]
fn header_keywords_read_the_frame() {
    let any_udp = "udp any any -> any any";
    let any_tcp = "tcp any any -> any any";
    let any_icmp = "icmp any any -> any any";
    let rows: &[(&str, &str, Shot, bool)] = &[
        (any_udp, "ttl:64;", udp(b"a"), true),
        (any_udp, "ttl:<64;", udp(b"a"), false),
        (any_udp, "id:4660;", udp(b"a"), true),
        (any_udp, "tos:0;", udp(b"a"), true),
        (any_udp, "tos:!0;", udp(b"a"), false),
        ("ip any any -> any any", "ip_proto:17;", udp(b"a"), true),
        ("ip any any -> any any", "ip_proto:!17;", udp(b"a"), false),
        (any_udp, "fragbits:D;", udp(b"a"), true),
        (any_udp, "fragbits:M;", udp(b"a"), false),
        (any_udp, "fragbits:!M;", udp(b"a"), true),
        (any_udp, "fragbits:*MD;", udp(b"a"), true),
        (any_udp, "fragoffset:0;", udp(b"a"), true),
        (any_udp, "fragoffset:>0;", udp(b"a"), false),
        (any_udp, "fragoffset:!3-5;", udp(b"a"), true),
        (any_udp, "fragbits:=D;", udp(b"a"), true),
        (any_udp, "fragbits:-D;", udp(b"a"), false),
        (any_udp, "fragbits:&0x4000=0x4000;", udp(b"a"), true),
        (any_udp, "fragbits:0x2000;", udp(b"a"), false),
        (any_udp, "fragbits:DX;", udp(b"a"), true),
        // Others beside these.
        (any_udp, "fragbits:+D;", udp(b"a"), false),
        (any_udp, "dsize:!5;", udp(b"a"), true),
        (any_udp, "dsize:!5;", udp(b""), false),
        (any_udp, "dsize:0;", udp(b""), true),
        (any_udp, "sameip;", udp(b"a"), false),
        (any_udp, "ipopts:any;", udp(b"a"), false),
        (any_tcp, "flags:PA;", tcp(b"a"), true),
        (any_tcp, "flags:P;", tcp(b"a"), false),
        (any_tcp, "flags:P+;", tcp(b"a"), true),
        (any_tcp, "flags:*SP;", tcp(b"a"), true),
        (any_tcp, "flags:!S;", tcp(b"a"), true),
        (any_tcp, "flags:A,P;", tcp(b"a"), true),
        (any_tcp, "flags:-S;", tcp(b"a"), true),
        (any_tcp, "flags:=PA;", tcp(b"a"), true),
        (any_tcp, "flags:&0x12=0x10;", tcp(b"a"), true),
        (any_tcp, "flags:&0x12!=0x10;", tcp(b"a"), false),
        (any_tcp, "flags:24;", tcp(b"a"), true),
        (any_tcp, "flags:12;", tcp(b"a"), false),
        (any_tcp, "flags:0;", tcp(b"a"), false),
        (any_tcp, "flags:+0;", tcp(b"a"), false),
        (any_tcp, "flags:!0;", tcp(b"a"), true),
        (any_tcp, "flags:PA0;", tcp(b"a"), false),
        (any_tcp, "flags:0PA;", tcp(b"a"), true),
        (any_tcp, "seq:9;", tcp(b"a"), true),
        (any_tcp, "ack:9;", tcp(b"a"), false),
        (any_tcp, "window:4096;", tcp(b"a"), true),
        (any_tcp, "window:!4096;", tcp(b"a"), false),
        (any_icmp, "itype:8;", icmp(), true),
        (any_icmp, "itype:0;", icmp(), false),
        (any_icmp, "icode:0;", icmp(), true),
        (any_icmp, "icmp_id:2571;", icmp(), true),
        (any_icmp, "icmp_seq:3;", icmp(), true),
        (any_icmp, "icmp_seq:4;", icmp(), false),
        (
            any_udp,
            r#"ipv4.hdr; content:"|12 34|"; offset:4; depth:2;"#,
            udp(b"a"),
            true,
        ),
        (
            any_udp,
            r#"udp.hdr; content:"|00 35|"; offset:2; depth:2;"#,
            udp(b"a"),
            true,
        ),
        (any_tcp, r#"tcp.hdr; content:"|50 18|";"#, tcp(b"a"), true),
        (any_tcp, r#"tcp.hdr; content:"|50 19|";"#, tcp(b"a"), false),
    ];
    for (head, options, shot, expected) in rows {
        assert_eq!(
            matches(head, options, shot.clone()),
            *expected,
            "{head} {options}"
        );
    }
}

#[test]
fn a_field_that_is_cut_off_never_matches() {
    let cut = |mut shot: Shot| {
        shot.frame = |frame| frame.truncate(15);
        shot
    };
    for options in [
        "ttl:>0;",
        "id:1;",
        "tos:!1;",
        "fragoffset:0;",
        "fragbits:!M;",
    ] {
        assert!(
            !matches("udp any any -> any any", options, cut(udp(b""))),
            "{options}"
        );
    }
    assert!(!matches(
        "tcp any any -> any any",
        "flags:!S;",
        cut(tcp(b""))
    ));
}

#[test]
fn the_flow_keyword_knows_direction_and_state() {
    let any = "tcp any any -> any any";
    let established = || Shot {
        flags: flag::STREAM_NONE | flag::ESTABLISHED,
        ..tcp(b"a")
    };
    let rows: &[(&str, Shot, bool)] = &[
        ("flow:to_server;", tcp(b"a"), true),
        ("flow:to_client;", tcp(b"a"), false),
        ("flow:to_client;", tcp(b"a").reply(), true),
        ("flow:from_client;", tcp(b"a"), true),
        ("flow:from_server;", tcp(b"a").reply(), true),
        ("flow:established;", tcp(b"a"), false),
        ("flow:established;", established(), true),
        ("flow:established,to_server;", established(), true),
        ("flow:established,to_client;", established(), false),
        ("flow:not_established;", tcp(b"a"), true),
        ("flow:not_established;", established(), false),
        ("flow:stateless;", tcp(b"a"), true),
        ("flow:only_frag;", tcp(b"a"), false),
        ("flow:no_frag;", tcp(b"a"), true),
    ];
    for (options, shot, expected) in rows {
        assert_eq!(matches(any, options, shot.clone()), *expected, "{options}");
        let mut alone = shot.clone();
        alone.flow = 0;
        assert!(!matches(any, options, alone), "no flow, {options}");
    }
}

#[test]
fn addresses_alone_are_asked_once_per_direction() {
    let mut rig = Rig::new(r#"alert ip 10.0.0.1 any -> any any (msg:"x"; sid:1;)"#);
    let first = Shot {
        flags: flag::FIRST_OF_DIRECTION,
        ..udp(b"a")
    };
    assert_eq!(rig.sids(first), [1]);
    assert_eq!(rig.sids(udp(b"b")), [0u32; 0]);
    // A negated address is asked for every packet.
    let mut rig = Rig::new(r#"alert ip !10.0.0.2 any -> any any (msg:"x"; sid:1;)"#);
    assert_eq!(rig.sids(udp(b"b")), [1]);
    assert_eq!(rig.sids(udp(b"b")), [1]);
}

#[test]
fn anomalies_call_their_signatures_even_on_packets_that_are_decided() {
    let rules = concat!(
        "alert pkthdr any any -> any any (msg:\"a\"; decode-event:ipv4.trunc_pkt; sid:1;)\n",
        "alert pkthdr any any -> any any (msg:\"b\"; decode-event:ipv4.pkt_too_small; sid:2;)\n",
        "alert udp any any -> any any (msg:\"c\"; content:\"abc\"; sid:3;)\n",
    );
    let mut rig = Rig::new(rules);
    let code = |context: &mut crate::packet::Context| {
        let anomaly = crate::decode::Anomaly::by_name("ipv4.trunc_pkt").unwrap();
        context.note(anomaly as u8);
    };
    let mut shot = udp(b"abc");
    shot.context = code;
    let mut both = rig.sids(shot.clone());
    both.sort_unstable();
    assert_eq!(both, [1, 3]);
    shot.flags = flag::DECIDED;
    assert_eq!(rig.sids(shot), [1]);
}

#[test]
fn bypassed_packets_are_not_looked_at() {
    let mut rig = Rig::new(r#"alert udp any any -> any any (msg:"x"; content:"abc"; sid:1;)"#);
    let bypassed = Shot {
        flags: flag::BYPASS,
        ..udp(b"abc")
    };
    assert!(rig.sids(bypassed).is_empty());
    assert_eq!(rig.sids(udp(b"abc")), [1]);
}

#[test]
fn values_of_the_flow_are_those_of_this_packet() {
    let rows: &[(&str, bool)] = &[
        ("flow.age:>9;", true),
        ("flow.age:>10;", false),
        ("flow.pkts_toserver:3;", true),
        ("flow.pkts_toclient:3;", false),
        ("flow.pkts:both,>1;", true),
        ("flow.pkts:both,>2;", false),
        ("flow.bytes_toserver:>100;", true),
        ("flow.bytes:both,>100;", false),
        ("flow.elephant:toclient;", true),
        ("flow.elephant:toserver;", false),
        ("flow.elephant:either;", true),
        ("flow.elephant:both;", false),
        ("stream_size:client,>,50;", true),
        ("stream_size:server,>,50;", false),
        ("stream_size:both,>,5;", true),
        ("stream_size:either,=,60;", true),
        ("stream_size:both,>=,0;", true),
        ("stream_size:both,<,0;", false),
    ];
    for (options, expected) in rows {
        let mut shot = tcp(b"a");
        shot.context = |context| {
            context.values.start_ns = 90_000_000_000;
            context.values.elephant = 2;
            context.values.packets = [3, 2];
            context.values.bytes = [101, 99];
            context.values.stream_bytes = [60, 40];
        };
        assert_eq!(
            matches("tcp any any -> any any", options, shot),
            *expected,
            "{options}"
        );
    }
}

#[test]
fn any_bytes_do_no_harm() {
    let rules = concat!(
        "alert ip any any -> any any (msg:\"a\"; ttl:>0; sid:1;)\n",
        "alert tcp any any -> any any (msg:\"b\"; flags:S; tcp.mss:>0; sid:2;)\n",
        "alert tcp any any -> any any (msg:\"c\"; ipv4.hdr; content:\"a\"; sid:3;)\n",
        "alert ip any any -> any any (msg:\"d\"; ipopts:rr; sid:4;)\n",
        "alert tcp any any -> any any (msg:\"e\"; tcpv4-csum:valid; sid:5;)\n",
        "alert ip any any -> any any (msg:\"f\"; ipv4-csum:invalid; sid:6;)\n",
        "alert sctp any any -> any any (msg:\"g\"; sctp.chunk_cnt:>0; sid:7;)\n",
        "alert ip any any -> any any (msg:\"h\"; content:\"a\"; byte_jump:4,0,relative; sid:8;)\n",
    );
    let file = rules;
    let mut rig = Rig::new(file);
    let mut seed = 7u64;
    for _ in 0..4000 {
        let mut shot = tcp(b"aaaa\xff\xff\xff\xff");
        seed = seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        let number = seed;
        shot.protocol = [6, 17, 132, 1, 58, 2][(number >> 8) as usize % 6];
        shot.kind =
            [Kind::Frame, Kind::Inner, Kind::Datagram, Kind::Stream][(number >> 16) as usize % 4];
        shot.flow = (number >> 24) as u32 % 3;
        shot.direction = [Direction::ToServer, Direction::ToClient][(number >> 32) as usize % 2];
        shot.seconds = number >> 40;
        shot.context = |context| {
            let noise = context.time_ns.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            context.l3 = noise as u16 >> 8;
            context.l4 = (noise >> 16) as u16 >> 8;
            context.payload = (noise >> 32) as u16 >> 8;
            context.payload_length = (noise >> 48) as u16 >> 8;
            context.stream_skip = (noise >> 20) as u16;
            context.stream_length = (noise >> 40) as u16;
            context.stream_offset = (noise >> 13) as u32;
            context.flags ^= (noise >> 5) as u32;
            if context.flow.slot == 0 {
                context.flow = FlowHandle::NONE;
            }
        };
        rig.sids(shot);
    }
}

#[test]
fn a_search_without_end_is_cut_short_and_counted() {
    let mut rig = Rig::new(
        "alert udp any any -> any any (msg:\"a\"; pcre:\"/(?:a+)+(?=c)b/\"; sid:1;)\n\
         alert udp any any -> any any (msg:\"b\"; pcre:!\"/(?:a+)+(?=c)b/\"; sid:2;)\n\
         alert udp any any -> any any (msg:\"c\"; pcre:\"/a+b/\"; sid:3;)\n",
    );
    let hostile = [vec![b'a'; 60], vec![b'b']].concat();
    // What was not searched to its end holds neither plain nor negated.
    assert_eq!(rig.sids(udp(&hostile)), [3]);
    assert_eq!(rig.count(Counter::PcreSteps), 2);
    assert_eq!(rig.sids(udp(b"aab")), [2, 3]);
    assert_eq!(rig.count(Counter::PcreSteps), 2);
}

/// An SCTP packet: SACK, DATA `abcd`, DATA `xyz`, and bytes of the link behind the IP packet.
fn sctp() -> Shot {
    Shot {
        protocol: 132,
        frame: |frame| {
            frame.truncate(34);
            frame.extend([0, 1, 0, 2, 0, 0, 0, 9, 0, 0, 0, 0, 3, 0, 0, 4]);
            for (length, data) in [(20, b"abcd"), (19, b"xyz\0")] {
                frame.extend([0, 3, 0, length, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3]);
                frame.extend(data);
            }
            let length = (frame.len() - 14) as u16;
            frame[16..18].copy_from_slice(&length.to_be_bytes());
            frame.extend([0; 6]);
        },
        ..udp(b"")
    }
}

#[test]
fn chunks_of_sctp_are_seen_one_by_one() {
    let rows: &[(&str, bool)] = &[
        ("sctp.vtag:9;", true),
        ("sctp.chunk_cnt:3;", true),
        ("sctp.chunk_type:data;", true),
        ("sctp.chunk_type:init;", false),
        (
            r#"sctp.hdr; content:"|03 00 00 04 00 03|"; offset:12;"#,
            true,
        ),
        (r#"sctp.hdr; content:"xyz|00|"; endswith;"#, true),
        (r#"sctp.chunk_data; content:"abcd"; bsize:4;"#, true),
        (r#"sctp.chunk_data; content:"xyz"; bsize:3;"#, true),
        (r#"sctp.chunk_data; content:"ab"; content:"xy";"#, false),
        (r#"sctp.chunk_data; content:"|03 00|";"#, false),
    ];
    for (options, expected) in rows {
        let found = matches("sctp any any -> any any", options, sctp());
        assert_eq!(found, *expected, "{options}");
    }
}

#[test]
fn layers_of_vlan_tags() {
    let rows: &[(&str, bool)] = &[
        ("vlan.id:300;", true),
        ("vlan.id:>100,all;", true),
        ("vlan.id:!500,all;", true),
        ("vlan.id:!300,all;", false),
        ("vlan.id:400,-1;", true),
        ("vlan.id:400,0;", false),
    ];
    for (options, expected) in rows {
        let mut shot = udp(b"a");
        assert!(!matches("ip any any -> any any", options, shot.clone()));
        shot.context = |context| (context.vlans, context.vlan_count) = ([200, 300, 400], 3);
        let found = matches("ip any any -> any any", options, shot);
        assert_eq!(found, *expected, "{options}");
    }
}

#[test]
fn frames_below_ip() {
    let ethernet = |context: &mut Context| context.link = LinkType::Ethernet as u8;
    let raw = |context: &mut Context| context.link = LinkType::Ipv4 as u8;
    let arp = |context: &mut Context| {
        context.flags &= !(flag::IPV4 | flag::TRANSPORT);
        context.set(flag::ARP);
        context.link = LinkType::Ethernet as u8;
        context.protocol = 0;
    };
    let type_of_ip = r#"ether.hdr; content:"|08 00|"; offset:12; depth:2;"#;
    type Row<'a> = (&'a str, &'a str, fn(&mut Context), bool);
    let rows: &[Row<'_>] = &[
        ("ether any any -> any any", "", ethernet, true),
        ("ether any any -> any any", type_of_ip, ethernet, true),
        ("ether any any -> any any", "", raw, false),
        ("udp any any -> any any", type_of_ip, raw, false),
        ("arp any any -> any any", "", ethernet, false),
        ("arp any any -> any any", "", arp, true),
        ("ether any any -> any any", "", arp, true),
        ("pkthdr any any -> any any", "", arp, true),
        ("ip any any -> any any", "", arp, false),
    ];
    for (head, options, context, expected) in rows {
        for kind in [Kind::Frame, Kind::Inner] {
            let mut shot = udp(b"a");
            (shot.flow, shot.kind, shot.context) = (0, kind, *context);
            let found = matches(head, options, shot);
            assert_eq!(found, *expected, "{head} {options} {kind:?}");
        }
    }
}

#[test]
fn the_second_word_of_an_icmpv6_header_is_part_of_it() {
    let shot = Shot {
        protocol: 58,
        ..icmp()
    };
    for (content, expected) in [("|00 03|", true), ("pi", false)] {
        let options = format!(r#"icmpv6.hdr; content:"{content}"; offset:6;"#);
        let found = matches("icmpv6 any any -> any any", &options, shot.clone());
        assert_eq!(found, expected, "{content}");
    }
}

#[test]
fn another_reading_of_stream_bytes_is_no_stream() {
    let again = Shot {
        flags: flag::STREAM_NONE | flag::RETRANSMIT | flag::ESTABLISHED,
        ..tcp(b"evil")
    };
    let untaken = Shot {
        flags: flag::STREAM_NONE | flag::ESTABLISHED,
        ..tcp(b"evil")
    };
    let content = r#"content:"evil";"#;
    let only = r#"flow:only_stream; content:"evil";"#;
    let any = "any any -> any any";
    for (protocol, options, sees_again) in [
        ("tcp-stream", content, false),
        ("tcp", only, false),
        ("tcp", content, true),
        ("tcp-pkt", content, true),
    ] {
        let head = format!("{protocol} {any}");
        assert_eq!(matches(&head, options, again.clone()), sees_again, "{head}");
        assert!(matches(&head, options, untaken.clone()), "{head}");
    }
}

#[test]
fn what_is_about_one_port_is_found_there_on_either_side_and_nothing_else_is_lost() {
    let about = |n: usize, header: &str| {
        format!("alert udp {header} (msg:\"c\"; content:\"needle{n:03}\"; sid:{n};)\n")
    };
    // More than half are about port 53, so that packets of other ports are spared them.
    let mut rules: String = (1..=80).map(|n| about(n, "any any -> any 53")).collect();
    rules += &about(81, "any 53 -> any any");
    rules += &about(82, "any any -> any any");
    rules += &about(83, "any any -> any [53,99]");
    rules += &about(84, "any any <> any 53");
    rules += &about(85, "any any -> any !53");
    let mut rig = Rig::new(&rules);
    let payload = b"needle001 needle080 needle081 needle082 needle083 needle084 needle085";
    let mut sent = |src_port, dst_port, direction| {
        let shot = Shot {
            src_port,
            dst_port,
            direction,
            ..udp(payload)
        };
        let mut sids = rig.sids(shot);
        sids.sort_unstable();
        sids
    };
    for direction in [Direction::ToServer, Direction::ToClient] {
        assert_eq!(
            sent(4000, 53, direction),
            [1, 80, 82, 83, 84],
            "{direction:?}"
        );
        assert_eq!(sent(53, 4000, direction), [81, 82, 84, 85], "{direction:?}");
        assert_eq!(sent(4000, 99, direction), [82, 83, 85], "{direction:?}");
        assert_eq!(sent(4000, 443, direction), [82, 85], "{direction:?}");
        assert_eq!(
            sent(53, 53, direction),
            [1, 80, 81, 82, 83, 84, 84],
            "both ways round, {direction:?}"
        );
    }
}
