//! Decode against the world: every shared capture, cut, bent and whole; etherparse as a second
//! opinion on positions and ports; the event counts that Suricata gave for conformance cases.

mod decode_rig;

use std::collections::BTreeMap;
use std::path::Path;

use decode_rig::{Rig, all_captures, names, read_capture, shared};
use sluice::config::{Config, Mode};
use sluice::counters::Counters;
use sluice::decode::{self, Anomaly, Decoder, LinkType, ipv4, ipv6};
use sluice::packet::{Context, Kind, flag};

/// Positions and lengths lie within the bytes, whatever was decoded.
fn check_positions(context: &Context, bytes: &[u8]) {
    if context.has(flag::IPV4) {
        assert!(ipv4::Ipv4::at(bytes, context.l3).is_some());
    }
    if context.has(flag::IPV6) {
        assert!(ipv6::Ipv6::at(bytes, context.l3).is_some());
    }
    if context.has(flag::TRANSPORT) {
        let end = usize::from(context.payload) + usize::from(context.payload_length);
        assert!(end <= bytes.len(), "payload within the packet");
        assert!(context.l4 > context.l3 && context.payload > context.l4);
        assert!(context.flags & (flag::IPV4 | flag::IPV6) != 0);
    }
    if context.has(flag::FRAGMENT) {
        let fragment = decode::fragment(context, bytes).expect("a fragment can be read");
        assert!(!fragment.header.is_empty());
        assert_eq!(context.payload_length, 0);
    }
    assert_eq!(
        context.has(flag::IPV4) || context.has(flag::IPV6),
        decode::owner_hash(context, 1) != 0
    );
    touch_accessors(context, bytes);
}

/// Every accessor reads without a panic, whatever the bytes.
fn touch_accessors(context: &Context, bytes: &[u8]) {
    let mut sum = 0usize;
    if let Some(ip) = ipv4::Ipv4::at(bytes, context.l3) {
        sum += ip.options().map(|(_, data)| data.len()).sum::<usize>();
    }
    if let Some(ip) = ipv6::Ipv6::at(bytes, context.l3) {
        sum += ip.header_with_extensions().len() + ip.extensions().count();
    }
    if let Some(tcp) = decode::tcp::Tcp::at(bytes, context.l4) {
        sum += tcp.options().count() + usize::from(tcp.known().mss.unwrap_or(0));
    }
    if let Some(udp) = decode::udp::Udp::at(bytes, context.l4) {
        sum += usize::from(udp.length());
    }
    if let Some(icmp) = decode::icmp::Icmp::at(bytes, context.l4) {
        sum += icmp.quoted().len() + usize::from(icmp.id_v4().unwrap_or(0));
    }
    if let Some(sctp) = decode::sctp::Sctp::at(bytes, context.l4, bytes.len()) {
        sum += sctp.chunks().map(|chunk| chunk.data().len()).sum::<usize>();
    }
    if let Some(arp) = decode::arp::Arp::at(bytes, context.l3) {
        sum += usize::from(arp.operation());
    }
    sum += decode::addresses(context, bytes).0.len();
    std::hint::black_box(sum);
}

#[test]
fn every_capture_decodes_and_the_counts_are_printed() {
    let Some(shared) = shared() else { return };
    let mut rig = Rig::new(Config::default(), 64);
    let (mut frames, mut views) = (0u64, 0u64);
    let mut protocols: BTreeMap<(bool, u8), u64> = BTreeMap::new();
    for path in all_captures(&shared) {
        let capture = read_capture(&path);
        for frame in capture.iter().filter(|frame| frame.bytes.len() < 1 << 17) {
            for (context, bytes) in rig.one(frame.link, &frame.bytes) {
                check_positions(&context, &bytes);
                frames += u64::from(context.kind == Kind::Frame);
                views += u64::from(context.kind == Kind::Inner);
                let v6 = context.has(flag::IPV6);
                if v6 || context.has(flag::IPV4) {
                    *protocols.entry((v6, context.protocol)).or_default() += 1;
                }
            }
        }
    }
    println!("frames {frames}, inner packets {views}");
    for ((v6, protocol), count) in &protocols {
        println!(
            "  IPv{} protocol {protocol}: {count}",
            if *v6 { 6 } else { 4 }
        );
    }
    for &anomaly in Anomaly::ALL {
        let count = rig.emit.counters.anomalies(anomaly.code());
        if count > 0 {
            println!("  {}: {count}", anomaly.name());
        }
    }
    assert!(frames > 130_000 && views > 1_000, "the captures are rich");
}

/// A seeded generator (xorshift), so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// A few frames of each capture, so that all protocols come up and time stays bounded.
fn sample(path: &Path) -> Vec<decode_rig::Frame> {
    let mut frames = read_capture(path);
    frames.retain(|frame| frame.bytes.len() < 2048);
    let step = (frames.len() / 6).max(1);
    frames.into_iter().step_by(step).take(8).collect()
}

#[test]
fn frames_cut_at_every_length_decode() {
    let Some(shared) = shared() else { return };
    let config = Config {
        mode: Mode::Inline,
        ..Config::default()
    };
    let mut rig = Rig::new(config, 64);
    let mut cuts = 0u64;
    for path in all_captures(&shared) {
        for frame in sample(&path) {
            // Beyond the headers a cut changes lengths alone; every 16th is enough there.
            let lengths = (0..frame.bytes.len()).filter(|&cut| cut < 200 || cut % 16 == 0);
            for cut in lengths {
                for (context, bytes) in rig.one(frame.link, &frame.bytes[..cut]) {
                    check_positions(&context, &bytes);
                }
                cuts += 1;
            }
        }
    }
    println!("{cuts} cut frames");
    assert!(cuts > 100_000);
}

#[test]
fn frames_with_flipped_bits_decode() {
    let Some(shared) = shared() else { return };
    let seed = std::env::var("SLUICE_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    println!("seed {seed} (SLUICE_SEED)");
    let mut random = Random(seed);
    // Without checksums, or every bent frame would end in one.
    let config = Config {
        checksum_validation: false,
        ..Config::default()
    };
    let mut rig = Rig::new(config, 64);
    let mut bent = 0u64;
    for path in all_captures(&shared) {
        for frame in sample(&path) {
            for _ in 0..12 {
                let mut bytes = frame.bytes.clone();
                let bits = bytes.len() * 8;
                for _ in 0..(bits / 100).max(1) {
                    let bit = random.next() as usize % bits.max(1);
                    if let Some(byte) = bytes.get_mut(bit / 8) {
                        *byte ^= 1 << (bit % 8);
                    }
                }
                for (context, bytes) in rig.one(frame.link, &bytes) {
                    check_positions(&context, &bytes);
                }
                bent += 1;
            }
        }
    }
    println!("{bent} bent frames");
    assert!(bent > 50_000);
}

/// What etherparse says of a frame: network and transport header positions, ports.
fn second_opinion(frame: &[u8]) -> Option<(usize, usize, u16, u16)> {
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};
    let sliced = SlicedPacket::from_ethernet(frame).ok()?;
    let base = frame.as_ptr() as usize;
    let l3 = match sliced.net.as_ref()? {
        NetSlice::Ipv4(ip) => ip.header().slice().as_ptr() as usize,
        NetSlice::Ipv6(ip) => ip.header().slice().as_ptr() as usize,
        _ => return None,
    } - base;
    let (l4, src, dst) = match sliced.transport.as_ref()? {
        TransportSlice::Tcp(tcp) => (
            tcp.slice().as_ptr(),
            tcp.source_port(),
            tcp.destination_port(),
        ),
        TransportSlice::Udp(udp) => (
            udp.slice().as_ptr(),
            udp.source_port(),
            udp.destination_port(),
        ),
        _ => return None,
    };
    Some((l3, l4 as usize - base, src, dst))
}

#[test]
fn positions_and_ports_are_those_that_etherparse_finds() {
    let Some(shared) = shared() else { return };
    let decoder = Decoder::new(&Config::default());
    let counters = Counters::default();
    let (mut compared, mut ours_alone) = (0u64, 0u64);
    for path in all_captures(&shared) {
        for frame in read_capture(&path).iter().filter(|frame| frame.link == 1) {
            let mut context = Context {
                link: LinkType::Ethernet as u8,
                ..Context::default()
            };
            let _ = decoder.frame(&frame.bytes, &mut context, &counters);
            let has_ports = matches!(context.protocol, 6 | 17) && context.has(flag::TRANSPORT);
            let Some((l3, l4, src, dst)) = second_opinion(&frame.bytes) else {
                ours_alone += u64::from(has_ports);
                continue;
            };
            if !has_ports {
                continue;
            }
            compared += 1;
            assert_eq!(
                (usize::from(context.l3), usize::from(context.l4)),
                (l3, l4),
                "{}",
                path.display()
            );
            assert_eq!((context.src_port(), context.dst_port()), (src, dst));
        }
    }
    println!("{compared} frames agree, {ours_alone} are decoded here alone");
    assert!(compared > 80_000);
}

/// RFC 1071, one word at a time.
fn naive_sum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u64;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u64::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        }
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

#[test]
fn checksums_are_wrong_where_a_naive_sum_says_so() {
    let Some(shared) = shared() else { return };
    let mut rig = Rig::new(Config::default(), 64);
    let (mut right, mut wrong) = (0u64, 0u64);
    for path in all_captures(&shared) {
        for frame in read_capture(&path)
            .iter()
            .filter(|f| f.bytes.len() < 1 << 17)
        {
            for (context, bytes) in rig.one(frame.link, &frame.bytes) {
                let noted = names(&context);
                let ip = ipv4::Ipv4::at(&bytes, context.l3);
                let Some(ip) = ip.filter(|_| context.has(flag::IPV4)) else {
                    continue;
                };
                let bad = naive_sum(&[ip.header()]) != 0xffff;
                assert_eq!(bad, noted.contains(&"ipv4.csum_invalid"));
                right += u64::from(!bad);
                wrong += u64::from(bad);
                if context.protocol != 6 || !context.has(flag::TRANSPORT) {
                    continue;
                }
                let end = usize::from(context.l3) + usize::from(ip.total_length());
                let segment = &bytes[usize::from(context.l4)..end];
                let pseudo = [&[0, 6][..], &(segment.len() as u16).to_be_bytes()].concat();
                let bad = naive_sum(&[ip.addresses(), &pseudo, segment]) != 0xffff;
                assert_eq!(bad, noted.contains(&"tcp.csum_invalid"));
            }
        }
    }
    println!("IPv4 headers: {right} right, {wrong} wrong");
    assert!(right > 80_000 && wrong > 1_000);
}

/// Events that flow notes, which decode alone cannot.
fn is_flows(anomaly: Anomaly) -> bool {
    let name = anomaly.name();
    anomaly.is_stream()
        || name.ends_with("frag_overlap")
        || name.ends_with("frag_pkt_too_large")
        || name.ends_with("frag_ignored")
}

/// The sid and the event of a rule that asks for nothing but one decode event.
fn event_rule(line: &str) -> Option<(u64, Anomaly)> {
    let (head, options) = line.split_once('(')?;
    if head.trim_start().starts_with('#') || head.trim_start().starts_with("pass ip") {
        return None;
    }
    let mut event = None;
    let mut sid = None;
    for option in options.trim_end().trim_end_matches(')').split(';') {
        let (key, value) = option.split_once(':').unwrap_or((option, ""));
        match key.trim() {
            "decode-event" => event = Anomaly::by_name(value.trim()),
            "sid" => sid = value.trim().parse().ok(),
            "" | "msg" | "classtype" | "rev" | "alert" => {}
            _ => return None,
        }
    }
    Some((sid?, event?))
}

/// Occurrences of anomalies in a case's capture, one per packet that has them.
fn count_events(path: &Path, checksums: bool) -> BTreeMap<&'static str, u64> {
    let config = Config {
        checksum_validation: checksums,
        ..Config::default()
    };
    let mut rig = Rig::new(config, 64);
    let mut counts = BTreeMap::new();
    for frame in read_capture(path) {
        for (context, _) in rig.one(frame.link, &frame.bytes) {
            for name in names(&context) {
                *counts.entry(name).or_default() += 1;
            }
        }
    }
    counts
}

#[test]
fn event_rules_of_conformance_cases_count_as_suricata_does() {
    let Some(shared) = shared() else { return };
    let cases = shared.join("conformance/cases");
    let (mut checked, mut folders) = (0, vec![cases]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)
            .expect("cases can be read")
            .flatten()
        {
            if entry.path().is_dir() {
                folders.push(entry.path());
            }
        }
        let Ok(rules) = std::fs::read_to_string(folder.join("test.rules")) else {
            continue;
        };
        let wanted: Vec<_> = rules
            .lines()
            .filter_map(event_rule)
            .filter(|(_, event)| !is_flows(*event))
            .collect();
        if wanted.is_empty() {
            continue;
        }
        let case = std::fs::read_to_string(folder.join("case.json")).expect("a case is complete");
        let case: serde_json::Value = serde_json::from_str(&case).expect("a case is JSON");
        let capture = shared
            .join("conformance")
            .join(case["capture"].as_str().expect("a case names its capture"));
        let checksums = case["settings"]["checksum_validation"] != false;
        let counts = count_events(&capture, checksums);
        for (sid, event) in wanted {
            let expected = case["alerts"][sid.to_string()].as_u64().unwrap_or(0);
            let found = counts.get(event.name()).copied().unwrap_or(0);
            assert_eq!(found, expected, "{} {}", folder.display(), event.name());
            checked += 1;
        }
    }
    println!("{checked} event rules agree");
    assert!(checked >= 20, "cases with events are there");
}

/// The straight path and the walk layer by layer: the same context, inner packet and counts.
fn both_paths_agree(decoder: &Decoder, link: u32, bytes: &[u8], counters: &[Counters; 2]) -> bool {
    let blank = Context {
        link: LinkType::from_pcap(link) as u8,
        // What stood in the context before must not shine through.
        anomaly_count: 3,
        vlan_count: 2,
        vlans: [7; 3],
        flags: flag::FRAGMENT | flag::REVERSED,
        payload: 9,
        ..Context::default()
    };
    let (mut one, mut other) = (blank.clone(), blank);
    let inner = decoder.frame(bytes, &mut one, &counters[0]);
    let by_layers = decoder.frame_by_layers(bytes, &mut other, &counters[1]);
    // A tuple is valid, and compared, where there is an address.
    if other.flags & (flag::IPV4 | flag::IPV6) == 0 {
        (one.tuple, other.tuple) = Default::default();
    }
    assert_eq!(format!("{one:?}"), format!("{other:?}"), "{bytes:02x?}");
    assert_eq!(inner, by_layers, "{bytes:02x?}");
    one.has(flag::IPV4 | flag::TRANSPORT) && one.noted().is_empty()
}

#[test]
fn the_straight_path_says_what_the_walk_by_layers_says() {
    let Some(shared) = shared() else { return };
    let settings = [
        Config::default(),
        Config {
            mode: Mode::Inline,
            checksum_validation: false,
            ..Config::default()
        },
        Config {
            mode: Mode::Inline,
            ..Config::default()
        },
    ];
    let decoders = settings.each_ref().map(Decoder::new);
    let counters = [Counters::default(), Counters::default()];
    let (mut all, mut plain) = (0u64, 0u64);
    for path in all_captures(&shared) {
        for frame in read_capture(&path)
            .iter()
            .filter(|f| f.bytes.len() < 1 << 17)
        {
            let mut bytes = frame.bytes.clone();
            for decoder in &decoders {
                all += 1;
                plain += u64::from(both_paths_agree(decoder, frame.link, &bytes, &counters));
            }
            // A bit of the headers turned, a byte more, the end cut off: each by its own way.
            let at = all as usize * 7 % bytes.len().clamp(1, 70);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << (all % 8);
            }
            both_paths_agree(&decoders[1], frame.link, &bytes, &counters);
            both_paths_agree(&decoders[2], frame.link, &bytes, &counters);
            bytes.push(0);
            both_paths_agree(&decoders[0], frame.link, &bytes, &counters);
            bytes.truncate(bytes.len() - bytes.len() * (all as usize % 5) / 9);
            both_paths_agree(&decoders[1], frame.link, &bytes, &counters);
        }
    }
    for anomaly in Anomaly::ALL {
        let [one, other] = counters.each_ref().map(|c| c.anomalies(anomaly.code()));
        assert_eq!(one, other, "{}", anomaly.name());
    }
    println!("{plain} of {all} frames were plain");
    assert!(all > 50_000 && plain > all / 4, "{plain} of {all}");
}
