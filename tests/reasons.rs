//! I12: every reason to drop is triggered by a case here, through the lane, inline; what no build
//! of today can trigger stands in one list with the cause.
//!
//! A case names the counters that it moves, exactly; all others must not move. The drop events of
//! a case must say the same, and the same packets in a tap must all go on. Frames are made from
//! bytes (port/generator) and go through a capture; only the ports' own reasons need other ports.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use common::{Fact, engine, facts, rules, small};
use sluice::config::{Area, Choice, Config, Mode, Policy, Urgent};
use sluice::counters::{Counter, Counters};
use sluice::decode::LinkType;
use sluice::layout::Layout;
use sluice::port::Transmitter;
use sluice::port::capture::{CaptureFormat, CaptureWriter};
use sluice::port::checksum;
use sluice::port::generator::packet::{Envelope, Tcp, tcp_flag::*, udp};
use sluice::port::memory::{End, Memory, Shape, Side};
use sluice::reason::Reason;
use sluice::replay::Options;

const URG: u8 = 32;
const TCP: u8 = 6;
const UDP: u8 = 17;
const IP_IN_IP: u8 = 4;
/// Where the IP header, and a transport header behind 20 bytes of it, begin in a frame.
const L3: usize = 14;
const L4: usize = L3 + 20;
/// Sequence number of the first byte of each side.
const CLIENT: u32 = 1001;
const SERVER: u32 = 5001;

type Frames = Vec<Vec<u8>>;

/// Reasons that nothing in this build sets, and why. A reason that gets a user must leave this
/// list (checked below) and needs a case.
const NOT_SET: &[(Reason, &str)] = &[];

/// One way to a reason. The first of `drops` is the reason that the case is for.
struct Case {
    drops: &'static [(Reason, u64)],
    set: fn(&mut Config),
    burst_max: usize,
    rules: &'static str,
    frames: fn() -> Frames,
}

const PLAIN: Case = Case {
    drops: &[],
    set: |_| (),
    burst_max: 64,
    rules: "alert ip any any -> any any (sid:1;)",
    frames: Vec::new,
};

fn policy(config: &mut Config, area: Area, policy: Policy) {
    config.policies.set(area, Choice::Is(policy));
}

fn client_side() -> Envelope {
    Envelope {
        src_mac: [2, 0, 0, 0, 0, 1],
        dst_mac: [2, 0, 0, 0, 0, 2],
        vlans: Vec::new(),
        src: "10.0.0.1".parse().unwrap(),
        dst: "10.0.0.2".parse().unwrap(),
        id: 7,
    }
}

fn segment(seq: u32, ack: u32, flags: u8) -> Tcp {
    Tcp {
        src_port: 40_000,
        dst_port: 80,
        seq,
        ack,
        flags,
        window: 60_000,
        stamps: None,
    }
}

fn client(seq: u32, ack: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    segment(seq, ack, flags).frame(&client_side(), payload)
}

fn server(seq: u32, ack: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let back = Tcp {
        src_port: 80,
        dst_port: 40_000,
        ..segment(seq, ack, flags)
    };
    back.frame(&client_side().reversed(), payload)
}

/// A handshake, and then what the client says.
fn after_handshake(frames: Frames) -> Frames {
    let mut all = vec![
        client(CLIENT - 1, 0, SYN, b""),
        server(SERVER - 1, CLIENT, SYN | ACK, b""),
        client(CLIENT, SERVER, ACK, b""),
    ];
    all.extend(frames);
    all
}

fn datagram(src_port: u16, payload: &[u8]) -> Vec<u8> {
    let envelope = client_side();
    envelope.frame(UDP, &udp(&envelope, src_port, 9000, payload))
}

fn answer(dst_port: u16, payload: &[u8]) -> Vec<u8> {
    let envelope = client_side().reversed();
    envelope.frame(UDP, &udp(&envelope, 9000, dst_port, payload))
}

/// The frame with bytes from `at` on replaced, and its IPv4 and TCP checksums right again.
fn patched(mut frame: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame[L3 + 10..L3 + 12].fill(0);
    let sum = checksum::of(&frame[L3..L4]);
    frame[L3 + 10..L3 + 12].copy_from_slice(&sum.to_be_bytes());
    if frame[L3 + 9] == TCP {
        let end = L3 + usize::from(u16::from_be_bytes([frame[L3 + 2], frame[L3 + 3]]));
        frame[L4 + 16..L4 + 18].fill(0);
        let pseudo = checksum::pseudo(&frame[L3 + 12..L4], TCP, (end - L4) as u32);
        let sum = checksum::finish(checksum::add(pseudo, &frame[L4..end]));
        frame[L4 + 16..L4 + 18].copy_from_slice(&sum.to_be_bytes());
    }
    frame
}

/// The frame with one byte of it inverted and no checksum mended.
fn damaged(mut frame: Vec<u8>, at: usize) -> Vec<u8> {
    frame[at] ^= 0xff;
    frame
}

/// A datagram within `layers` IPv4 headers around its own.
fn nested(layers: usize) -> Vec<u8> {
    let envelope = client_side();
    (0..layers).fold(datagram(5000, &[0; 64]), |frame, _| {
        envelope.frame(IP_IN_IP, &frame[L3..])
    })
}

/// A datagram of 48 bytes in three fragments of 16, all of whose bytes are `fill`.
fn fragments(fill: u8) -> Frames {
    client_side().fragments(UDP, &[fill; 48], 16)
}

/// IPv4 with a loose source route (RFC 791 3.1) of one address, as two words of options.
fn source_routed() -> Vec<u8> {
    let mut frame = datagram(5000, b"routed");
    let options = [131, 7, 4, 10, 0, 0, 9, 0];
    frame.splice(L4..L4, options);
    let length = u16::from_be_bytes([frame[L3 + 2], frame[L3 + 3]]) + 8;
    frame[L3] = 0x47;
    frame[L3 + 2..L3 + 4].copy_from_slice(&length.to_be_bytes());
    frame[L3 + 10..L3 + 12].fill(0);
    let sum = checksum::of(&frame[L3..L4 + 8]);
    frame[L3 + 10..L3 + 12].copy_from_slice(&sum.to_be_bytes());
    frame
}

fn decode_cases() -> Vec<Case> {
    use Reason::*;
    vec![
        // Ten bytes are no Ethernet header.
        Case {
            drops: &[(DecodeLink, 1)],
            frames: || vec![vec![2; 10]],
            ..PLAIN
        },
        // A header of four words.
        Case {
            drops: &[(DecodeIpInvalid, 1)],
            frames: || vec![patched(datagram(5000, b"x"), L3, &[0x44])],
            ..PLAIN
        },
        // A TCP header of four words.
        Case {
            drops: &[(DecodeTransportInvalid, 1)],
            frames: || vec![patched(client(1, 0, SYN, b""), L4 + 12, &[0x40])],
            ..PLAIN
        },
        Case {
            drops: &[(DecodeIpChecksum, 1)],
            frames: || vec![damaged(datagram(5000, b"x"), L3 + 10)],
            ..PLAIN
        },
        Case {
            drops: &[(DecodeTransportChecksum, 2)],
            frames: || {
                let udp = damaged(datagram(5000, b"x"), L4 + 6);
                vec![damaged(client(1, 0, SYN, b""), L4 + 16), udp]
            },
            ..PLAIN
        },
        Case {
            drops: &[(DecodeTooManyLayers, 1)],
            set: |config| config.layers_max = 8,
            frames: || vec![nested(1), nested(12)],
            ..PLAIN
        },
        Case {
            drops: &[(DecodeSourceRoute, 1)],
            frames: || vec![source_routed()],
            ..PLAIN
        },
        // One context of four is for views, and the second frame needs two views.
        Case {
            drops: &[(DecodeViewsExhausted, 1)],
            set: |config| config.contexts_per_lane = 4,
            frames: || vec![nested(1), nested(2)],
            burst_max: 1,
            ..PLAIN
        },
    ]
}

fn flow_cases() -> Vec<Case> {
    use Reason::*;
    vec![
        // The middle fragment comes again with other bytes; what follows of the datagram is lost.
        Case {
            drops: &[(IpFragOverlap, 2)],
            frames: || {
                let (first, second) = (fragments(1), fragments(2));
                vec![
                    first[0].clone(),
                    first[1].clone(),
                    second[1].clone(),
                    first[2].clone(),
                ]
            },
            ..PLAIN
        },
        // It would end 65,544 bytes after the datagram's start.
        Case {
            drops: &[(IpFragInvalid, 1)],
            frames: || vec![patched(fragments(1)[1].clone(), L3 + 6, &[0x1f, 0xff])],
            ..PLAIN
        },
        // There is one page of 2,048 bytes, and the second fragment needs another.
        Case {
            drops: &[(IpFragMemory, 1)],
            set: |config| config.defrag_memory = 1,
            frames: || client_side().fragments(UDP, &[0; 2800], 1400),
            ..PLAIN
        },
        // Eight established flows yield to no newcomer. Flows establish packet by packet.
        Case {
            drops: &[(FlowTableFull, 1)],
            set: |config| config.flows_max = 8,
            burst_max: 1,
            frames: || {
                let pairs =
                    (5001..=5008).flat_map(|port| [datagram(port, b"?"), answer(port, b"!")]);
                pairs.chain([datagram(5009, b"?")]).collect()
            },
            ..PLAIN
        },
    ]
}

fn tcp_cases() -> Vec<Case> {
    use Reason::*;
    const FAR: u32 = 0x2000_0000;
    vec![
        Case {
            drops: &[(TcpMidstream, 2)],
            set: |config| policy(config, Area::Midstream, Policy::DropPacket),
            frames: || vec![client(9, 9, ACK, b"mid"), client(12, 9, ACK, b"stream")],
            ..PLAIN
        },
        // The policy dropped the flow with its first packet.
        Case {
            drops: &[(FlowCondemned, 2), (TcpMidstream, 1)],
            set: |config| policy(config, Area::Midstream, Policy::DropFlow),
            frames: || {
                vec![
                    client(9, 9, ACK, b"mid"),
                    client(12, 9, ACK, b"stream"),
                    server(9, 12, ACK, b"and back"),
                ]
            },
            ..PLAIN
        },
        // Four bytes are looked at; the second segment crosses them, the third lies beyond.
        Case {
            drops: &[(StreamDepth, 2)],
            set: |config| {
                config.stream_depth = 4;
                policy(config, Area::StreamDepth, Policy::DropPacket);
            },
            frames: || {
                after_handshake(vec![
                    client(CLIENT, SERVER, ACK, b"123"),
                    client(CLIENT + 3, SERVER, ACK, b"456"),
                    client(CLIENT + 6, SERVER, ACK, b"789"),
                ])
            },
            ..PLAIN
        },
        // Twenty beginnings to try, and ten steps to try them with.
        Case {
            drops: &[(MatchBudget, 1)],
            set: |config| {
                config.verify_steps_max = 10;
                policy(config, Area::MatchBudget, Policy::DropPacket);
            },
            rules: "alert udp any any -> any any (content:\"a\"; content:\"b\"; within:1; sid:1;)",
            frames: || {
                vec![
                    datagram(5000, b"aaaaaaaaaaaaaaaaaaaa-b"),
                    datagram(5000, b"ab"),
                ]
            },
            ..PLAIN
        },
        Case {
            drops: &[(TcpFlagsInvalid, 1)],
            frames: || vec![client(9, 9, SYN | FIN, b"")],
            ..PLAIN
        },
        Case {
            drops: &[(TcpNoAck, 1)],
            frames: || after_handshake(vec![client(CLIENT, 0, PSH, b"no ack")]),
            ..PLAIN
        },
        Case {
            drops: &[(TcpAckInvalid, 1)],
            frames: || after_handshake(vec![client(CLIENT, SERVER + FAR, ACK, b"never sent")]),
            ..PLAIN
        },
        Case {
            drops: &[(TcpOutOfWindow, 1)],
            frames: || after_handshake(vec![client(CLIENT + FAR, SERVER, ACK, b"far")]),
            ..PLAIN
        },
        Case {
            drops: &[(TcpPawsOld, 1)],
            frames: stamped,
            ..PLAIN
        },
        // The answer acknowledges another SYN.
        Case {
            drops: &[(TcpHandshakeInvalid, 1)],
            frames: || {
                let syn = client(CLIENT - 1, 0, SYN, b"");
                vec![syn, server(SERVER - 1, CLIENT + FAR, SYN | ACK, b"")]
            },
            ..PLAIN
        },
        Case {
            drops: &[(TcpRstInvalid, 1)],
            frames: || after_handshake(vec![client(CLIENT + 50, SERVER, RST | ACK, b"")]),
            ..PLAIN
        },
        Case {
            drops: &[(TcpFinInvalid, 1)],
            frames: || vec![client(9, 9, FIN | ACK, b"")],
            ..PLAIN
        },
        Case {
            drops: &[(TcpOverlapConflict, 1)],
            frames: || {
                let said = |text: &[u8]| client(CLIENT, SERVER, ACK | PSH, text);
                after_handshake(vec![
                    said(b"GET /one"),
                    said(b"GET /one"),
                    said(b"GET /two"),
                ])
            },
            ..PLAIN
        },
        Case {
            drops: &[(TcpUrgent, 1)],
            set: |config| config.urgent = Urgent::Drop,
            frames: || {
                let urgent = client(CLIENT, SERVER, ACK | URG, b"now");
                after_handshake(vec![patched(urgent, L4 + 18, &[0, 1])])
            },
            ..PLAIN
        },
        // There is one page of 2,048 bytes, and bytes behind a hole need a second one.
        Case {
            drops: &[(StreamMemory, 1)],
            set: |config| config.stream_memory = 1,
            frames: || {
                let ahead = |bytes: u32| client(CLIENT + bytes, SERVER, ACK, &[7; 1000]);
                after_handshake(vec![ahead(10), ahead(4000)])
            },
            ..PLAIN
        },
    ]
}

/// A connection with time stamps (RFC 7323), and a segment whose stamp is an older one.
fn stamped() -> Frames {
    let stamps = |value, echo| Some((value, echo));
    let there = |tcp: Tcp, payload: &[u8]| tcp.frame(&client_side(), payload);
    let back = Tcp {
        src_port: 80,
        dst_port: 40_000,
        stamps: stamps(9000, 1000),
        ..segment(SERVER - 1, CLIENT, SYN | ACK)
    };
    let says = |value, payload: &[u8]| {
        let at = segment(CLIENT, SERVER, ACK);
        there(
            Tcp {
                stamps: stamps(value, 9000),
                ..at
            },
            payload,
        )
    };
    vec![
        there(
            Tcp {
                stamps: stamps(1000, 0),
                ..segment(CLIENT - 1, 0, SYN)
            },
            b"",
        ),
        back.frame(&client_side().reversed(), b""),
        says(1010, b""),
        says(500, b"old"),
    ]
}

fn rule_cases() -> Vec<Case> {
    use Reason::*;
    vec![
        Case {
            drops: &[(AppError, 1)],
            set: |config| policy(config, Area::AppError, Policy::DropPacket),
            frames: || {
                vec![
                    datagram(
                        5000,
                        b"INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP c\r\n\r\n",
                    ),
                    datagram(5000, b"no message of that protocol"),
                ]
            },
            ..PLAIN
        },
        Case {
            drops: &[(Rule, 1)],
            rules: "drop udp any any -> any any (content:\"bad\"; sid:1;)",
            frames: || vec![datagram(5000, b"good"), datagram(5001, b"bad")],
            ..PLAIN
        },
        Case {
            drops: &[(RuleReject, 1)],
            rules: "reject udp any any -> any any (content:\"bad\"; sid:1;)",
            frames: || vec![datagram(5000, b"good"), datagram(5001, b"bad")],
            ..PLAIN
        },
        Case {
            drops: &[(RuleFlow, 2), (Rule, 1)],
            rules: "drop tcp any any -> any any (flow:established; content:\"bad\"; sid:1;)",
            frames: || {
                after_handshake(vec![
                    client(CLIENT, SERVER, ACK | PSH, b"bad"),
                    client(CLIENT + 3, SERVER, ACK | PSH, b"more"),
                    server(SERVER, CLIENT + 3, ACK, b""),
                ])
            },
            ..PLAIN
        },
    ]
}

fn cases() -> Vec<Case> {
    [decode_cases(), flow_cases(), tcp_cases(), rule_cases()]
        .into_iter()
        .flatten()
        .collect()
}

/// A capture of `frames` in a file of its own, a millisecond apart.
fn written(name: &str, frames: &Frames) -> PathBuf {
    let file = format!("sluice-reasons-{}-{name}.pcap", std::process::id());
    let path = std::env::temp_dir().join(file);
    let mut writer = CaptureWriter::create(&path).unwrap();
    for (number, frame) in frames.iter().enumerate() {
        let time_ns = 1_767_225_600_000_000_000 + number as u64 * 1_000_000;
        writer.write(time_ns, 1, frame).unwrap();
    }
    writer.finish().unwrap();
    path
}

/// All reasons that moved, from counters.
fn moved(counters: &[&Counters], notional: bool) -> BTreeMap<&'static str, u64> {
    let count = |reason: &Reason| {
        let of = |c: &&Counters| {
            if notional {
                c.would_drop(*reason)
            } else {
                c.dropped(*reason)
            }
        };
        (reason.name(), counters.iter().map(of).sum::<u64>())
    };
    Reason::ALL
        .iter()
        .map(count)
        .filter(|(_, packets)| *packets > 0)
        .collect()
}

fn expected(drops: &[(Reason, u64)]) -> BTreeMap<&'static str, u64> {
    drops
        .iter()
        .map(|(reason, packets)| (reason.name(), *packets))
        .collect()
}

/// Runs a case inline and in a tap; gives what was not as it should be.
fn check(case: &Case) -> Vec<String> {
    let name = case.drops[0].0.name();
    let frames = (case.frames)();
    let path = written(name, &frames);
    let loaded = rules(case.rules);
    let run = |mode| {
        let mut config = small(mode);
        (case.set)(&mut config);
        let options = Options {
            config,
            burst_max: case.burst_max,
            ..Options::default()
        };
        facts(std::slice::from_ref(&path), options, &loaded)
    };
    let (told, inline) = run(Mode::Inline);
    let (_, tap) = run(Mode::Tap);
    std::fs::remove_file(path).unwrap();
    let mut events = BTreeMap::new();
    for fact in told {
        if let Fact::Drop(_, reason) = fact {
            *events.entry(reason).or_insert(0u64) += 1;
        }
    }
    let (wanted, nothing) = (expected(case.drops), BTreeMap::new());
    let mut wrong = Vec::new();
    for (what, got, wanted) in [
        ("inline", inline.dropped(false), &wanted),
        ("drop events", events, &wanted),
        ("notional, inline", inline.dropped(true), &nothing),
        ("dropped by a tap", tap.dropped(false), &nothing),
    ] {
        if got != *wanted {
            wrong.push(format!("{name}: {what}: {got:?}, not {wanted:?}"));
        }
    }
    let gone = [
        inline.total(Counter::PacketsReceived),
        tap.total(Counter::PacketsForwarded),
    ];
    if gone != [frames.len() as u64; 2] {
        wrong.push(format!(
            "{name}: {gone:?} of {} received, forwarded in a tap",
            frames.len()
        ));
    }
    wrong
}

/// Runs frames through a lane whose other side is `transmitter`.
fn through(
    name: &str,
    frames: &Frames,
    transmitter: impl Fn() -> Transmitter,
) -> BTreeMap<&'static str, u64> {
    let path = written(name, frames);
    let loaded = rules(PLAIN.rules);
    let files = [path.clone()];
    let mut engine = engine(
        &files,
        small(Mode::Inline),
        Layout::FUSED,
        1,
        &loaded,
        transmitter,
    );
    let worker = &mut engine.workers[0];
    while !worker.state.finished {
        worker.turn();
        while let Some(event) = engine.events[0].take() {
            engine.events[0].give_back(event);
        }
    }
    let counters = &engine.counters[0];
    let ends = [Counter::PacketsForwarded, Counter::PacketsDropped];
    let ended: u64 = ends.iter().map(|end| counters.get(*end)).sum();
    assert_eq!(
        (counters.get(Counter::PacketsReceived), ended),
        (ended, frames.len() as u64)
    );
    std::fs::remove_file(path).unwrap();
    moved(&[counters], false)
}

/// The engine's end of a cable whose other end nobody empties.
fn cable(shape: Shape) -> Transmitter {
    let memory = Memory::new(shape).unwrap();
    let (_, transmitter) = memory
        .open(
            End {
                cable: 0,
                side: Side::Inner,
            },
            0,
            0,
            0,
        )
        .unwrap();
    Transmitter::Memory(Box::new(transmitter))
}

/// A disk that is full.
struct Full;

impl std::io::Write for Full {
    fn write(&mut self, _bytes: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Reasons that ports have: the case's name, and what moved.
fn port_cases() -> [(Reason, BTreeMap<&'static str, u64>, u64); 3] {
    let frames: Frames = (0..40)
        .map(|number| datagram(6000 + number, &[0; 18]))
        .collect();
    // Eight slots, of which one stays empty.
    let shape = Shape {
        slots: 8,
        extra: 0,
        ..Shape::default()
    };
    let full = through("full", &frames, || cable(shape));
    let large = vec![datagram(5000, b"small"), datagram(5001, &[0; 1000])];
    let narrow = Shape {
        buf_size: 128,
        extra: 0,
        ..Shape::default()
    };
    let long = through("long", &large, || cable(narrow));
    // The first frame that does not fit the writer's buffer meets the disk; so do all behind it.
    let many: Frames = (0..200)
        .map(|number| datagram(6000 + number, &[0; 1400]))
        .collect();
    let down = through("down", &many, || {
        let writer = CaptureWriter::to(Box::new(Full), CaptureFormat::Pcap);
        Transmitter::Capture(Box::new(
            writer.with_links(|code| LinkType::from_u8(code).to_pcap()),
        ))
    });
    [
        (Reason::PortTxFull, full, 33),
        (Reason::PortFrameTooLong, long, 1),
        (Reason::PortTxDown, down, 0),
    ]
}

#[test]
fn every_case_moves_its_counters_and_no_others() {
    let wrong: Vec<String> = cases().iter().flat_map(check).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn ports_refuse_for_their_own_reasons() {
    for (reason, got, packets) in port_cases() {
        let reasons: Vec<&str> = got.keys().copied().collect();
        assert_eq!(reasons, [reason.name()]);
        assert!(packets == 0 || got[reason.name()] == packets, "{got:?}");
    }
}

#[test]
fn every_reason_has_a_case_or_stands_in_the_list() {
    let ports = [
        Reason::PortTxFull,
        Reason::PortFrameTooLong,
        Reason::PortTxDown,
    ];
    let mut seen: BTreeSet<Reason> = cases().iter().map(|case| case.drops[0].0).collect();
    seen.extend(ports);
    // An engine does not drop for it: the keeper does, when there is no engine (tests/keeper.rs).
    seen.insert(Reason::KeeperClosed);
    for (reason, _) in NOT_SET {
        assert!(
            !seen.contains(reason),
            "{} has a case: take it off the list",
            reason.name()
        );
        seen.insert(*reason);
    }
    let missing: Vec<&str> = Reason::ALL
        .iter()
        .filter(|r| !seen.contains(r))
        .map(|r| r.name())
        .collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
}

/// All production text of the source, but for the list of reasons itself.
fn sources(dir: &Path, out: &mut Vec<(PathBuf, String)>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !path.ends_with("reason.rs")
            && !path.to_string_lossy().contains("test")
        {
            let text = std::fs::read_to_string(&path).unwrap();
            let end = text.find("#[cfg(test)]").unwrap_or(text.len());
            out.push((path, text[..end].to_string()));
        }
    }
}

#[test]
fn what_is_listed_as_not_set_is_not_set() {
    let mut texts = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut texts,
    );
    let set_in = |reason: Reason| {
        let name = format!("Reason::{reason:?}");
        let found = texts.iter().find(|(_, text)| {
            let mut rest = text.split(&name).skip(1);
            rest.any(|after| !after.starts_with(|c: char| c.is_alphanumeric()))
        });
        found.map(|(path, _)| path.display().to_string())
    };
    assert!(
        set_in(Reason::TcpUrgent).is_some(),
        "the search would find nothing"
    );
    for (reason, _) in NOT_SET {
        assert_eq!(
            set_in(*reason),
            None,
            "{} is set there: it needs a case",
            reason.name()
        );
    }
}
