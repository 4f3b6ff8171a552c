//! Tricks with the state of TCP and IP (RELIABILITY.md, classes E1 and E5 to E8): decoys that the
//! receiver throws away, data in packets that it should, half closed, reset, reopened and crossed
//! connections, urgent data, windows, timestamps, tiny fragments.
//!
//! Each case has a secret of its own in two halves. What arrives of it without rules must not
//! arrive with them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::rig::{App, Case, Peer, Step, data, flags, stamp_now};
use crate::wire::frame::{ACK, Address, FIN, MORE, PSH, Packet, RST, SYN, Segment, URG};

const TCP: u8 = 6;
/// Bytes of half a secret.
const HALF: usize = 12;
/// IPv6 next headers.
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;

/// The secret of a case, in halves.
fn secret(number: usize) -> [Vec<u8>; 2] {
    [
        format!("EVIL{number:04}half").into_bytes(),
        format!("more{number:04}done").into_bytes(),
    ]
}

fn junk() -> Vec<u8> {
    vec![b'x'; HALF]
}

const HALF_I: i64 = HALF as i64;

type Flaw = (
    &'static str,
    &'static str,
    Families,
    Arc<dyn Fn(&mut Packet, &mut Segment, &Peer) + Send + Sync>,
);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Families {
    Both,
    V4,
    Stamps,
}

fn flaw(
    class: &'static str,
    name: &'static str,
    families: Families,
    change: impl Fn(&mut Packet, &mut Segment, &Peer) + Send + Sync + 'static,
) -> Flaw {
    (class, name, families, Arc::new(change))
}

const E1: &str = "E1 IP header";
const E5: &str = "E5 TCP validity";
const E6: &str = "E6 teardown";
const E7: &str = "E7 set-up";
const E8: &str = "E8 urgent data";
const EF: &str = "E2/E3 TCP in fragments";
const EW: &str = "E5 windows and numbers";

/// What can be wrong with a data segment.
fn flaws() -> Vec<Flaw> {
    use Families::{Both, Stamps, V4};
    let mut all = vec![
        flaw(E1, "wrong header checksum", V4, |p, _, _| p.spoil = 1),
        flaw(E1, "version 5", Both, |p, _, _| p.version = Some(5)),
        flaw(E1, "version 0", Both, |p, _, _| p.version = Some(0)),
        flaw(E1, "header length 4 words", V4, |p, _, _| p.words = Some(4)),
        flaw(E1, "header length 15 words", V4, |p, _, _| {
            p.words = Some(15)
        }),
        flaw(E1, "length beyond the frame", Both, |p, _, _| {
            p.length_more = 8
        }),
        flaw(E1, "length cuts the payload", Both, |p, _, _| {
            p.length_more = -4
        }),
        flaw(E1, "length cuts the header", Both, |p, _, _| {
            p.length_more = -30
        }),
        flaw(E1, "time to live 1", Both, |p, _, _| p.ttl = 1),
        flaw(E1, "time to live 0", Both, |p, _, _| p.ttl = 0),
        flaw(E1, "loose source route", V4, |p, _, _| {
            p.options = vec![131, 7, 4, 10, 9, 0, 2, 0];
        }),
        flaw(E1, "strict source route", V4, |p, _, _| {
            p.options = vec![137, 7, 4, 10, 9, 0, 2, 0];
        }),
        flaw(E1, "option of length 0", V4, |p, _, _| {
            p.options = vec![7, 0, 0, 0]
        }),
        flaw(E1, "option beyond the header", V4, |p, _, _| {
            p.options = vec![7, 40, 4, 0]
        }),
        flaw(E1, "router alert", V4, |p, _, _| {
            p.options = vec![148, 4, 0, 0]
        }),
        flaw(E1, "unknown option", V4, |p, _, _| {
            p.options = vec![0x9e, 4, 0, 0]
        }),
        flaw(E1, "destination options", Families::Both, |p, _, _| {
            p.options = match p.src.is_ipv6() {
                true => vec![1, 4, 0, 0, 0, 0],
                false => vec![1, 1, 1, 0],
            };
        }),
        flaw(
            E1,
            "unknown destination option that discards",
            Both,
            |p, _, _| {
                p.options = match p.src.is_ipv6() {
                    true => vec![0x5e, 4, 0, 0, 0, 0],
                    false => vec![0x5e, 4, 0, 0],
                };
            },
        ),
        flaw(E1, "another station", Both, |p, _, _| {
            p.link[0] = [2, 9, 9, 9, 9, 9]
        }),
        flaw(E1, "bytes behind the packet", Both, |p, _, _| {
            p.trailer = b"trailer bytes".to_vec()
        }),
        flaw(E1, "source is destination", Both, |p, _, _| p.src = p.dst),
        flaw(E1, "loopback source", V4, |p, _, _| {
            p.src = "127.0.0.1".parse().unwrap()
        }),
        flaw(E1, "broadcast destination", V4, |p, _, _| {
            p.dst = "10.9.0.255".parse().unwrap()
        }),
        flaw(E1, "reserved bit", V4, |p, _, _| p.fragment = 0x8000),
    ];
    all.extend([
        flaw(E5, "wrong checksum", Both, |_, s, _| s.spoil = 1),
        flaw(E5, "no flags", Both, |_, s, _| s.flags = 0),
        flaw(E5, "no ACK", Both, |_, s, _| s.flags = PSH),
        flaw(E5, "FIN without ACK", Both, |_, s, _| s.flags = FIN | PSH),
        flaw(E5, "URG without ACK", Both, |_, s, _| s.flags = URG),
        flaw(E5, "SYN", Both, |_, s, _| s.flags = SYN),
        flaw(E5, "SYN and ACK", Both, |_, s, _| s.flags = SYN | ACK),
        flaw(E5, "SYN and FIN", Both, |_, s, _| s.flags = SYN | FIN),
        flaw(E5, "SYN and RST", Both, |_, s, _| s.flags = SYN | RST),
        flaw(E5, "SYN, FIN, RST, ACK", Both, |_, s, _| {
            s.flags = SYN | FIN | RST | ACK
        }),
        flaw(E5, "RST far off", Both, |_, s, _| {
            s.flags = RST;
            s.seq = s.seq.wrapping_add(0x4000_0000);
        }),
        flaw(E5, "all flags", Both, |_, s, _| s.flags = 0xff),
        flaw(E5, "ECN flags", Both, |_, s, _| s.flags |= 0xc0),
        flaw(E5, "acknowledges the future", Both, |_, s, _| {
            s.ack = s.ack.wrapping_add(100_000)
        }),
        flaw(E5, "acknowledges a little more", Both, |_, s, _| {
            s.ack = s.ack.wrapping_add(1)
        }),
        flaw(E5, "acknowledges the past", Both, |_, s, _| {
            s.ack = s.ack.wrapping_sub(1_000_000)
        }),
        flaw(E5, "acknowledges a little less", Both, |_, s, _| {
            s.ack = s.ack.wrapping_sub(100)
        }),
        flaw(E5, "acknowledges the other half", Both, |_, s, _| {
            s.ack ^= 0x8000_0000
        }),
        flaw(E5, "data offset 4", Both, |_, s, _| s.words = Some(4)),
        flaw(E5, "data offset 0", Both, |_, s, _| s.words = Some(0)),
        flaw(E5, "data offset 15", Both, |_, s, _| s.words = Some(15)),
        flaw(E5, "data offset 6", Both, |_, s, _| s.words = Some(6)),
        flaw(E5, "MD5 option", Both, |_, s, _| {
            s.options.extend([19, 18]);
            s.options.extend([7; 16]);
        }),
        flaw(E5, "authentication option", Both, |_, s, _| {
            s.options.extend([29, 16]);
            s.options.extend([7; 14]);
        }),
        flaw(E5, "option of length 0", Both, |_, s, _| {
            s.options.extend([77, 0, 0, 0])
        }),
        flaw(E5, "option of length 1", Both, |_, s, _| {
            s.options.extend([77, 1, 0, 0])
        }),
        flaw(E5, "option beyond the header", Both, |_, s, _| {
            s.options.extend([77, 39, 0, 0])
        }),
        flaw(E5, "window scale in mid-stream", Both, |_, s, _| {
            s.options.extend([3, 3, 0, 1])
        }),
        flaw(E5, "window 0", Both, |_, s, _| s.window = 0),
        flaw(E5, "before the window", Both, |_, s, _| {
            s.seq = s.seq.wrapping_sub(100_000)
        }),
        flaw(E5, "behind the window", Both, |_, s, _| {
            s.seq = s.seq.wrapping_add(1 << 24)
        }),
        flaw(E5, "half the numbers away", Both, |_, s, _| {
            s.seq ^= 0x8000_0000
        }),
        flaw(E5, "old timestamp", Stamps, |_, s, _| stamp(s, -100_000)),
        flaw(E5, "timestamp a little old", Stamps, |_, s, _| {
            stamp(s, -1000)
        }),
        flaw(E5, "timestamp 0", Stamps, |_, s, _| stamp_is(s, 0)),
        flaw(E5, "timestamp of the future", Stamps, |_, s, _| {
            stamp(s, 100_000)
        }),
        flaw(E5, "timestamp half round", Stamps, |_, s, _| {
            stamp(s, i32::MAX)
        }),
        flaw(E5, "no timestamp", Stamps, |_, s, _| s.options.clear()),
        flaw(E5, "echo of the future", Stamps, |_, s, _| {
            echo(s, 1_000_000)
        }),
        flaw(E5, "echo of the past", Stamps, |_, s, _| {
            echo(s, -1_000_000)
        }),
        flaw(E5, "two timestamps, old first", Stamps, |_, s, _| {
            let honest = s.options.clone();
            stamp(s, -100_000);
            s.options.extend(honest);
        }),
        flaw(E5, "two timestamps, old last", Stamps, |_, s, _| {
            let honest = s.options.clone();
            stamp(s, -100_000);
            s.options.splice(0..0, honest);
        }),
    ]);
    all
}

/// Where the timestamp's value stands in a segment's options, as the rig makes them.
fn stamp(segment: &mut Segment, by: i32) {
    stamp_is(segment, stamp_now().wrapping_add(by as u32));
}

fn stamp_is(segment: &mut Segment, value: u32) {
    segment.options[4..8].copy_from_slice(&value.to_be_bytes());
}

fn echo(segment: &mut Segment, by: i32) {
    let old: [u8; 4] = segment.options[8..12].try_into().unwrap();
    let new = u32::from_be_bytes(old).wrapping_add(by as u32);
    segment.options[8..12].copy_from_slice(&new.to_be_bytes());
}

/// Collects cases, each with its number.
struct List(Vec<Case>);

impl List {
    fn add(
        &mut self,
        class: &'static str,
        name: impl Into<String>,
        steps: impl FnOnce(Case, [Vec<u8>; 2]) -> Case,
    ) {
        let mut case = Case::new(class, name);
        let number = self.0.len();
        case.isn = 0x2000_0000u32.wrapping_add(number as u32 * 0x0123_4567);
        self.0.push(steps(case, secret(number)));
    }
}

/// All.
pub fn all() -> Vec<Case> {
    let mut list = List(Vec::new());
    decoys(&mut list);
    resets(&mut list);
    ends(&mut list);
    reuse(&mut list);
    openings(&mut list);
    crossed(&mut list);
    urgent(&mut list);
    numbers(&mut list);
    windows(&mut list);
    clocks(&mut list);
    fragmented(&mut list);
    headers(&mut list);
    list.0
}

/// Every flaw on a decoy in the place of the second half, and on the second half itself.
fn decoys(list: &mut List) {
    for (class, name, families, change) in flaws() {
        for v6 in [false, true] {
            if v6 && families == Families::V4 {
                continue;
            }
            let family = if v6 { "IPv6" } else { "IPv4" };
            let stamps = families == Families::Stamps;
            let flawed = |bytes: &[u8], at: i64| {
                let change = Arc::clone(&change);
                data(at, bytes).but(move |p, s, peer| change(p, s, peer))
            };
            list.add(
                class,
                format!("{name}, {family}: decoy, then the secret"),
                |mut case, [a, b]| {
                    (case.v6, case.stamps) = (v6, stamps);
                    case.round([data(0, &a)])
                        .round([flawed(&junk(), HALF_I)])
                        .round([data(HALF_I, &b)])
                },
            );
            list.add(
                class,
                format!("{name}, {family}: on the secret, then a harmless twin"),
                |mut case, [a, b]| {
                    (case.v6, case.stamps) = (v6, stamps);
                    case.round([data(0, &a)])
                        .round([flawed(&b, HALF_I)])
                        .round([data(HALF_I, &junk())])
                        .round([data(2 * HALF_I, b"the end")])
                },
            );
            list.add(
                class,
                format!("{name}, {family}: decoy ahead, then the secret in order"),
                |mut case, [a, b]| {
                    (case.v6, case.stamps) = (v6, stamps);
                    case.round([flawed(&junk(), HALF_I)])
                        .round([data(0, &a)])
                        .round([data(HALF_I, &b)])
                },
            );
        }
    }
}

/// Resets of every kind between the halves; the receiver goes on where it did not believe them.
fn resets(list: &mut List) {
    type Change = fn(&mut Packet, &mut Segment, &Peer);
    let kinds: [(&str, u8, bool, Change); 22] = [
        ("exact", RST, false, |_, _, _| {}),
        ("exact, with ACK", RST | ACK, false, |_, _, _| {}),
        ("wrong checksum", RST, false, |_, s, _| s.spoil = 1),
        ("wrong header checksum", RST, false, |p, _, _| p.spoil = 1),
        ("one further", RST, false, |_, s, _| {
            s.seq = s.seq.wrapping_add(1)
        }),
        ("in the window", RST, false, |_, s, _| {
            s.seq = s.seq.wrapping_add(1000)
        }),
        ("one back", RST, false, |_, s, _| {
            s.seq = s.seq.wrapping_sub(1)
        }),
        ("at the first byte", RST, false, |_, s, p| {
            s.seq = p.isn.wrapping_add(1)
        }),
        ("out of the window", RST, false, |_, s, _| {
            s.seq = s.seq.wrapping_add(1 << 25)
        }),
        ("number 0", RST, false, |_, s, _| s.seq = 0),
        ("acknowledges the future", RST | ACK, false, |_, s, _| {
            s.ack = s.ack.wrapping_add(99_999)
        }),
        ("acknowledges the past", RST | ACK, false, |_, s, _| {
            s.ack = s.ack.wrapping_sub(99_999)
        }),
        ("acknowledges 0", RST | ACK, false, |_, s, _| s.ack = 0),
        ("MD5 option", RST, false, |_, s, _| {
            s.options = [&[1, 1, 19, 18][..], &[7; 16]].concat();
        }),
        ("source route", RST, false, |p, _, _| {
            p.options = vec![131, 7, 4, 10, 9, 0, 2, 0]
        }),
        ("time to live 0", RST, false, |p, _, _| p.ttl = 0),
        ("with FIN", RST | FIN, false, |_, _, _| {}),
        ("with SYN", RST | SYN, false, |_, _, _| {}),
        ("old timestamp", RST, true, |_, s, _| stamp(s, -100_000)),
        ("no timestamp", RST, true, |_, s, _| s.options.clear()),
        ("another station", RST, false, |p, _, _| {
            p.link[0] = [2, 9, 9, 9, 9, 9]
        }),
        ("another port", RST, false, |_, s, _| s.ports[0] ^= 0x4000),
    ];
    for (name, bits, stamps, change) in kinds {
        list.add(
            E6,
            format!("reset: {name}, then the rest"),
            |mut case, [a, b]| {
                case.stamps = stamps;
                case.round([data(0, &a)])
                    .round([flags(HALF_I, bits, b"").but(change)])
                    .round([data(HALF_I, &b)])
            },
        );
        list.add(
            E6,
            format!("reset: {name}, then a SYN with another number, then the rest"),
            |mut case, [a, b]| {
                case.stamps = stamps;
                case.round([data(0, &a)])
                    .round([flags(HALF_I, bits, b"").but(change)])
                    .round([flags(-1, SYN, b"").but(|_, s, _| s.seq = s.seq.wrapping_add(777_777))])
                    .round([data(HALF_I, &b)])
            },
        );
    }
    for (name, bits) in [("RST", RST), ("RST and ACK", RST | ACK)] {
        list.add(
            E6,
            format!("reset with the rest as its data: {name}"),
            |case, [a, b]| {
                case.round([data(0, &a)])
                    .round([flags(HALF_I, bits, &b)])
                    .round([data(HALF_I, &b)])
            },
        );
    }
    // In the server's name, from the client's side.
    for (name, bits) in [
        ("RST", RST),
        ("FIN", FIN | ACK),
        ("SYN and ACK", SYN | ACK),
        ("SYN", SYN),
        ("data", PSH | ACK),
    ] {
        list.add(
            E6,
            format!("{name} in the server's name"),
            |case, [a, b]| {
                case.round([data(0, &a)])
                    .round([forged(bits)])
                    .round([data(HALF_I, &b)])
            },
        );
        list.add(
            E6,
            format!("{name} in the server's name that acknowledges all"),
            |case, [a, b]| {
                let ahead = forged_with(bits, 2 * HALF as u32);
                case.round([data(0, &a)])
                    .round([ahead])
                    .round([data(HALF_I, &junk()).but(|_, s, _| s.spoil = 1)])
                    .round([data(HALF_I, &b)])
            },
        );
    }
}

/// A segment from the server's address, though it comes from the client's side.
fn forged(bits: u8) -> Step {
    forged_with(bits, HALF as u32)
}

fn forged_with(bits: u8, acked: u32) -> Step {
    Step::Frames(Arc::new(move |packet: &Packet, peer: &Peer, port: u16| {
        let back = Packet::new(packet.link, packet.dst, packet.src);
        let segment = Segment {
            ports: [peer.port, port],
            seq: peer.next,
            ack: peer.isn.wrapping_add(1).wrapping_add(acked),
            flags: bits,
            window: 60_000,
            data: if bits & PSH != 0 {
                b"forged".to_vec()
            } else {
                Vec::new()
            },
            ..Segment::default()
        };
        vec![segment.frame(&back)]
    }))
}

/// FINs of every kind between the halves.
fn ends(list: &mut List) {
    type Change = fn(&mut Packet, &mut Segment, &Peer);
    let kinds: [(&str, u8, i64, Change); 10] = [
        ("in order", FIN | ACK, HALF_I, |_, _, _| {}),
        ("without ACK", FIN, HALF_I, |_, _, _| {}),
        ("wrong checksum", FIN | ACK, HALF_I, |_, s, _| s.spoil = 1),
        ("one ahead", FIN | ACK, HALF_I + 1, |_, _, _| {}),
        (
            "after the rest that is missing",
            FIN | ACK,
            2 * HALF_I,
            |_, _, _| {},
        ),
        ("far ahead", FIN | ACK, HALF_I + 500_000, |_, _, _| {}),
        ("at the first byte", FIN | ACK, 0, |_, _, _| {}),
        ("acknowledges the future", FIN | ACK, HALF_I, |_, s, _| {
            s.ack = s.ack.wrapping_add(99_999)
        }),
        ("another station", FIN | ACK, HALF_I, |p, _, _| {
            p.link[0] = [2, 9, 9, 9, 9, 9]
        }),
        ("time to live 0", FIN | ACK, HALF_I, |p, _, _| p.ttl = 0),
    ];
    for (name, bits, at, change) in kinds {
        for closes in [false, true] {
            let server = if closes {
                ", the server closes too"
            } else {
                ""
            };
            list.add(
                E6,
                format!("end: {name}{server}, then the rest"),
                |case, [a, b]| {
                    let mut case = case
                        .round([data(0, &a)])
                        .round([flags(at, bits, b"").but(change)]);
                    if closes {
                        case = case.round([Step::Close]).round([flags(at + 1, ACK, b"")]);
                    }
                    case.round([data(HALF_I, &b)]).round([data(HALF_I + 1, &b)])
                },
            );
        }
    }
    list.add(E6, "FIN with the rest of the secret", |case, [a, b]| {
        case.round([data(0, &a)])
            .round([flags(HALF_I, FIN | PSH | ACK, &b)])
    });
    list.add(
        E6,
        "FIN with the rest of the secret, out of order",
        |case, [a, b]| {
            case.round([flags(HALF_I, FIN | PSH | ACK, &b)])
                .round([data(0, &a)])
        },
    );
    list.add(
        E6,
        "FIN in the middle of what waits, then other bytes",
        |case, [a, b]| {
            case.round([flags(HALF_I + 6, FIN | PSH | ACK, &b[6..])])
                .round([data(0, &a)])
                .round([data(HALF_I, &junk()[..6]).but(|_, s, _| s.spoil = 1)])
                .round([data(HALF_I, &b)])
        },
    );
    list.add(
        E6,
        "the server closes first, and the rest comes",
        |case, [a, b]| {
            case.round([data(0, &a)])
                .round([Step::Close])
                .round([flags(HALF_I, ACK, b"")])
                .round([data(HALF_I, &b)])
        },
    );
}

/// New connections on old ports, real and pretended.
fn reuse(list: &mut List) {
    /// The raw host begins again with another number.
    fn again(offset: u32) -> [Step; 1] {
        [flags(-1, SYN, b"").but(move |_, s, p| s.seq = p.isn.wrapping_add(offset))]
    }
    /// A segment of that new connection.
    fn second(offset: u32, at: i64, bits: u8, bytes: &[u8]) -> Step {
        flags(at, bits, bytes).but(move |_, s, _| s.seq = s.seq.wrapping_add(offset))
    }
    for (name, offset) in [
        ("higher", 5_000_000u32),
        ("lower", 0u32.wrapping_sub(5_000_000)),
        ("one more", 1),
    ] {
        list.add(
            E6,
            format!("ports used again after a reset, number {name}"),
            |case, [a, b]| {
                case.round([data(0, b"first life")])
                    .round([flags(10, RST, b"")])
                    .round(again(offset))
                    .round([second(offset, 0, ACK, b"")])
                    .round([second(offset, 0, PSH | ACK, &a)])
                    .round([second(offset, HALF_I, PSH | ACK, &b)])
            },
        );
        list.add(
            E6,
            format!("ports used again after both closed, number {name}"),
            |case, [a, b]| {
                case.round([data(0, b"first life")])
                    .round([flags(10, FIN | ACK, b"")])
                    .round([Step::Close])
                    .round([flags(11, ACK, b"")])
                    .round(again(offset))
                    .round([second(offset, 0, ACK, b"")])
                    .round([second(offset, 0, PSH | ACK, &a)])
                    .round([second(offset, HALF_I, PSH | ACK, &b)])
            },
        );
        list.add(
            E6,
            format!("ports used again after the server closed first, number {name}"),
            |case, [a, b]| {
                case.round([data(0, b"first life")])
                    .round([Step::Close])
                    .round([flags(10, FIN | ACK, b"")])
                    .round([flags(11, ACK, b"")])
                    .round(again(offset))
                    .round([second(offset, 0, ACK, b"")])
                    .round([second(offset, 0, PSH | ACK, &a)])
                    .round([second(offset, HALF_I, PSH | ACK, &b)])
            },
        );
        list.add(
            E7,
            format!("a SYN in an open connection, number {name}; the old one goes on"),
            |case, [a, b]| {
                case.round([data(0, &a)])
                    .round(again(offset))
                    .round([second(offset, 0, ACK, b"")])
                    .round([data(HALF_I, &b)])
            },
        );
        list.add(
            E7,
            format!(
                "a SYN in an open connection, number {name}; bytes of a new one, then of the old"
            ),
            |case, [a, b]| {
                case.round([data(0, &a)])
                    .round(again(offset))
                    .round([second(offset, 0, PSH | ACK, b"of the new connection")])
                    .round([data(HALF_I, &b)])
            },
        );
        list.add(
            E7,
            format!("a SYN again before the answer is acknowledged, number {name}"),
            |mut case, [a, b]| {
                case.rounds.truncate(1);
                case.round(again(offset))
                    .round([flags(0, ACK, b"")])
                    .round([data(0, &a)])
                    .round([data(HALF_I, &b)])
            },
        );
        list.add(
            E7,
            format!("two SYNs at once, number {name} second; the second goes on"),
            |mut case, [a, b]| {
                case.rounds.truncate(1);
                case.rounds[0].extend(again(offset));
                case.round([second(offset, 0, ACK, b"")])
                    .round([second(offset, 0, PSH | ACK, &a)])
                    .round([second(offset, HALF_I, PSH | ACK, &b)])
                    .round([data(0, &a)])
                    .round([data(HALF_I, &b)])
            },
        );
    }
}

/// Handshakes out of the ordinary.
fn openings(list: &mut List) {
    let after = |case: Case, a: &[u8], b: &[u8]| case.round([data(0, a)]).round([data(HALF_I, b)]);
    list.add(
        E7,
        "data with the last ACK of the handshake",
        |mut case, [a, b]| {
            case.rounds.truncate(1);
            case.round([data(0, &a)]).round([data(HALF_I, &b)])
        },
    );
    list.add(
        E7,
        "no last ACK: the second half first",
        |mut case, [a, b]| {
            case.rounds.truncate(1);
            case.round([data(HALF_I, &b)]).round([data(0, &a)])
        },
    );
    list.add(E7, "SYN with other data", |mut case, [a, b]| {
        case.rounds[0] = vec![flags(-1, SYN, &junk())];
        after(case, &a, &b)
    });
    list.add(E7, "SYN with the first half", |mut case, [a, b]| {
        case.rounds[0] = vec![flags(-1, SYN, &a)];
        case.round([data(HALF_I, &b)])
            .round([data(0, &junk())])
            .round([data(0, &a)])
    });
    list.add(
        E7,
        "SYN with all, then junk in its place",
        |mut case, [a, b]| {
            case.rounds[0] = vec![flags(-1, SYN, &[a.clone(), b.clone()].concat())];
            case.round([data(0, &junk())])
                .round([data(HALF_I, &junk())])
                .round([data(0, &[a, b].concat())])
        },
    );
    for inline in [false, true] {
        let name = if inline {
            "acknowledged by a third packet"
        } else {
            "with data in the third packet"
        };
        list.add(
            E7,
            format!("Fast Open without a cookie, {name}"),
            |mut case, [a, b]| {
                case.app = App::FastOpen;
                case.rounds[0] =
                    vec![flags(-1, SYN, &a).but(|_, s, _| s.options.extend([34, 2, 1, 1]))];
                case.rounds[1] = match inline {
                    true => vec![flags(HALF_I, ACK, b"")],
                    false => vec![data(HALF_I, &b)],
                };
                case.round([data(HALF_I, &b)])
            },
        );
        list.add(
            E7,
            format!("Fast Open without its option, {name}"),
            |mut case, [a, b]| {
                case.app = App::FastOpen;
                case.rounds[0] = vec![flags(-1, SYN, &a)];
                case.rounds[1] = match inline {
                    true => vec![flags(HALF_I, ACK, b"")],
                    false => vec![data(HALF_I, &b)],
                };
                case.round([data(HALF_I, &b)])
            },
        );
    }
    list.add(
        E7,
        "Fast Open, the SYN again with other bytes",
        |mut case, [a, b]| {
            case.app = App::FastOpen;
            case.rounds[0] = vec![flags(-1, SYN, &a), flags(-1, SYN, &junk())];
            case.rounds[1] = vec![flags(HALF_I, ACK, b"")];
            case.round([data(HALF_I, &b)])
        },
    );
    list.add(
        E7,
        "Fast Open, decoy of wrong checksum first",
        |mut case, [a, b]| {
            case.app = App::FastOpen;
            case.rounds[0] = vec![
                flags(-1, SYN, &junk()).but(|_, s, _| s.spoil = 1),
                flags(-1, SYN, &a),
            ];
            case.rounds[1] = vec![flags(HALF_I, ACK, b"")];
            case.round([data(HALF_I, &b)])
        },
    );
    type Change = fn(&mut Packet, &mut Segment, &Peer);
    let syns: [(&str, u8, Change); 8] = [
        ("with an acknowledgement number", SYN, |_, s, _| {
            s.ack = 12345
        }),
        ("with PSH and URG", SYN | PSH | URG, |_, s, _| s.urgent = 3),
        ("with ECN flags", SYN | 0xc0, |_, _, _| {}),
        ("with FIN", SYN | FIN, |_, _, _| {}),
        ("window 0", SYN, |_, s, _| s.window = 0),
        ("broken options", SYN, |_, s, _| {
            s.options = vec![2, 4, 5, 0xb4, 8, 0, 0, 0]
        }),
        ("two scales", SYN, |_, s, _| s.options.extend([3, 3, 0, 1])),
        ("number at the wrap", SYN, |_, _, _| {}),
    ];
    for (name, bits, change) in syns {
        list.add(E7, format!("SYN {name}"), |mut case, [a, b]| {
            if name == "number at the wrap" {
                case.isn = u32::MAX;
            }
            case.rounds[0] = vec![flags(-1, bits, b"").but(change)];
            after(case, &a, &b)
        });
    }
    let between: [(&str, Step); 9] = [
        ("a RST of another number", flags(5000, RST, b"")),
        (
            "a RST that acknowledges too much",
            flags(0, RST | ACK, b"").but(|_, s, _| s.ack = s.ack.wrapping_add(99)),
        ),
        (
            "a RST of wrong checksum",
            flags(0, RST, b"").but(|_, s, _| s.spoil = 1),
        ),
        (
            "an ACK of the wrong number",
            flags(0, ACK, b"").but(|_, s, _| s.ack = s.ack.wrapping_add(99)),
        ),
        (
            "a FIN of wrong checksum",
            flags(0, FIN | ACK, b"").but(|_, s, _| s.spoil = 1),
        ),
        (
            "data that acknowledges the wrong number",
            data(0, &junk()).but(|_, s, _| s.ack = s.ack.wrapping_add(99)),
        ),
        ("data without ACK", flags(0, PSH, &junk())),
        ("a SYN and ACK from the client", flags(-1, SYN | ACK, b"")),
        (
            "a SYN and ACK in the server's name",
            forged_with(SYN | ACK, 0),
        ),
    ];
    for (name, step) in between {
        list.add(
            E7,
            format!("before the last ACK: {name}"),
            |mut case, [a, b]| {
                let last = case.rounds.pop().unwrap();
                case.rounds.push(vec![step]);
                case.rounds.push(last);
                after(case, &a, &b)
            },
        );
    }
    list.add(E7, "no SYN at all", |mut case, [a, b]| {
        case.rounds.clear();
        after(case, &a, &b)
    });
    list.add(
        E7,
        "a guessed connection before the SYN",
        |mut case, [a, b]| {
            case.rounds
                .insert(0, vec![data(0, &junk()), data(HALF_I, &junk())]);
            after(case, &a, &b)
        },
    );
    list.add(E7, "a SYN and ACK before the SYN", |mut case, [a, b]| {
        case.rounds.insert(0, vec![flags(-1, SYN | ACK, b"")]);
        after(case, &a, &b)
    });
}

/// Linux connects, and the raw host answers as it likes: here the secret flows to the client.
fn crossed(list: &mut List) {
    let dial = |mut case: Case| {
        case.app = App::Active;
        case.rounds = vec![vec![Step::Connect]];
        case
    };
    let syn_ack = || flags(-1, SYN | ACK, b"");
    let after = |case: Case, a: &[u8], b: &[u8]| case.round([data(0, a)]).round([data(HALF_I, b)]);
    list.add(E7, "Linux connects", |case, [a, b]| {
        after(dial(case).round([syn_ack()]), &a, &b)
    });
    list.add(E7, "simultaneous open", |case, [a, b]| {
        let case = dial(case).round([flags(-1, SYN, b"")]).round([syn_ack()]);
        after(case, &a, &b)
    });
    list.add(E7, "split handshake: SYN, then ACK", |case, [a, b]| {
        let case = dial(case)
            .round([flags(-1, SYN, b"")])
            .round([flags(0, ACK, b"")]);
        after(case, &a, &b)
    });
    list.add(
        E7,
        "split handshake: ACK, then SYN, then ACK",
        |case, [a, b]| {
            let case = dial(case)
                .round([flags(0, ACK, b"")])
                .round([flags(-1, SYN, b"")])
                .round([flags(0, ACK, b"")]);
            after(case, &a, &b)
        },
    );
    list.add(
        E7,
        "split handshake, the secret with its ACK",
        |case, [a, b]| {
            dial(case)
                .round([flags(-1, SYN, b"")])
                .round([data(0, &a)])
                .round([data(HALF_I, &b)])
        },
    );
    list.add(E7, "split handshake, the SYN has data", |case, [a, b]| {
        let case = dial(case)
            .round([flags(-1, SYN, &junk())])
            .round([flags(0, ACK, b"")]);
        after(case, &a, &b)
    });
    list.add(
        E7,
        "SYN and ACK of the wrong number first",
        |case, [a, b]| {
            let wrong = syn_ack().but(|_, s, _| s.ack = s.ack.wrapping_add(7));
            after(dial(case).round([wrong]).round([syn_ack()]), &a, &b)
        },
    );
    list.add(
        E7,
        "two SYN and ACKs of different numbers",
        |case, [a, b]| {
            let other = syn_ack().but(|_, s, _| s.seq = s.seq.wrapping_add(1_000_000));
            after(dial(case).round([syn_ack(), other]), &a, &b)
        },
    );
    list.add(
        E7,
        "two SYN and ACKs of different numbers, the other first",
        |case, [a, b]| {
            let other = syn_ack().but(|_, s, _| {
                s.seq = s.seq.wrapping_add(1_000_000);
                s.spoil = 1;
            });
            after(dial(case).round([other, syn_ack()]), &a, &b)
        },
    );
    list.add(E7, "SYN and ACK with the first half", |case, [a, b]| {
        dial(case)
            .round([flags(-1, SYN | ACK, &a)])
            .round([data(HALF_I, &b)])
            .round([data(0, &junk())])
            .round([data(0, &a)])
    });
    list.add(E7, "SYN and ACK with junk", |case, [a, b]| {
        after(dial(case).round([flags(-1, SYN | ACK, &junk())]), &a, &b)
    });
    list.add(
        E7,
        "a RST of the wrong number before the SYN and ACK",
        |case, [a, b]| {
            let reset = flags(-1, RST | ACK, b"").but(|_, s, _| s.ack = s.ack.wrapping_add(7));
            after(dial(case).round([reset]).round([syn_ack()]), &a, &b)
        },
    );
    list.add(
        E7,
        "a RST without ACK before the SYN and ACK",
        |case, [a, b]| {
            after(
                dial(case).round([flags(-1, RST, b"")]).round([syn_ack()]),
                &a,
                &b,
            )
        },
    );
    list.add(E7, "the secret before the SYN and ACK", |case, [a, b]| {
        let case = dial(case)
            .round([data(0, &junk()), data(HALF_I, &junk())])
            .round([syn_ack()]);
        after(case, &a, &b)
    });
    for (name, bits) in [("RST", RST), ("FIN", FIN | ACK)] {
        list.add(
            E6,
            format!("Linux connects; {name} of wrong checksum between the halves"),
            |case, [a, b]| {
                dial(case)
                    .round([syn_ack()])
                    .round([data(0, &a)])
                    .round([flags(HALF_I, bits, b"").but(|_, s, _| s.spoil = 1)])
                    .round([data(HALF_I, &b)])
            },
        );
    }
}

/// Urgent data in every place; what the application reads depends on its settings.
fn urgent(list: &mut List) {
    let urged = |at: i64, pointer: u16, bytes: &[u8]| {
        flags(at, URG | PSH | ACK, bytes).but(move |_, s, _| s.urgent = pointer)
    };
    for app in [App::Plain, App::UrgentInline] {
        let reader = if app == App::Plain {
            "out of band"
        } else {
            "inline"
        };
        for (name, pointer) in [
            ("0", 0u16),
            ("1", 1),
            ("in the middle", 6),
            ("at the end", HALF as u16),
            ("one beyond", HALF as u16 + 1),
            ("far beyond", 5000),
            ("the largest", 65_535),
        ] {
            list.add(
                E8,
                format!("pointer {name}, read {reader}"),
                |mut case, [a, b]| {
                    case.app = app;
                    case.round([data(0, &a)])
                        .round([urged(HALF_I, pointer, &b)])
                },
            );
            list.add(
                E8,
                format!("pointer {name} without the flag, read {reader}"),
                |mut case, [a, b]| {
                    case.app = app;
                    case.round([data(0, &a)])
                        .round([data(HALF_I, &b).but(move |_, s, _| s.urgent = pointer)])
                },
            );
        }
        list.add(
            E8,
            format!("a byte more in the secret, urgent, read {reader}"),
            |mut case, [a, b]| {
                case.app = app;
                let mut longer = b.clone();
                longer.insert(5, b'!');
                case.round([data(0, &a)]).round([urged(HALF_I, 6, &longer)])
            },
        );
        list.add(
            E8,
            format!("every byte urgent, read {reader}"),
            |mut case, [a, b]| {
                case.app = app;
                for (at, byte) in (0..).zip([a, b].concat()) {
                    case = case.round([urged(at, 1, &[byte])]);
                }
                case
            },
        );
        list.add(
            E8,
            format!("every other byte a urgent filler, read {reader}"),
            |mut case, [a, b]| {
                case.app = app;
                for (at, byte) in (0..).zip([a, b].concat()) {
                    case = case.round([urged(2 * at, 2, &[byte, b'!'])]);
                }
                case
            },
        );
        list.add(
            E8,
            format!("the pointer moves while the byte waits, read {reader}"),
            |mut case, [a, b]| {
                case.app = app;
                let mut longer = [a, b].concat();
                longer.insert(15, b'!');
                case.round([urged(12, 4, &longer[12..])])
                    .round([urged(12, 8, &longer[12..])])
                    .round([data(0, &longer[..12])])
            },
        );
        list.add(
            E8,
            format!("an urgent pointer alone, then the bytes, read {reader}"),
            |mut case, [a, b]| {
                case.app = app;
                let mut longer = [a, b].concat();
                longer.insert(15, b'!');
                case.round([urged(0, 16, b"")])
                    .round([data(0, &longer[..12])])
                    .round([data(12, &longer[12..])])
            },
        );
    }
}

/// Retransmissions, keep-alives, bytes before and around the window's left edge.
fn numbers(list: &mut List) {
    list.add(EW, "byte by byte", |mut case, [a, b]| {
        for (at, byte) in (0..).zip([a, b].concat()) {
            case = case.round([data(at, &[byte])]);
        }
        case
    });
    list.add(EW, "byte by byte, backwards", |mut case, [a, b]| {
        let all = [a, b].concat();
        for at in (0..all.len()).rev() {
            case = case.round([data(at as i64, &all[at..=at])]);
        }
        case
    });
    list.add(
        EW,
        "byte by byte, even ones first, wrong odd ones of bad checksum",
        |case, [a, b]| {
            let all = [a, b].concat();
            let step = |at: usize| data(at as i64, &all[at..=at]);
            case.round((0..all.len()).step_by(2).map(step))
                .round(
                    (1..all.len())
                        .step_by(2)
                        .map(|at| data(at as i64, b"x").but(|_, s, _| s.spoil = 9)),
                )
                .round((1..all.len()).step_by(2).map(step))
        },
    );
    list.add(
        EW,
        "keep-alive with a wrong byte, then the rest",
        |case, [a, b]| {
            case.round([data(0, &a)])
                .round([flags(HALF_I - 1, ACK, b"x")])
                .round([data(HALF_I, &b)])
        },
    );
    list.add(EW, "keep-alive whose byte is new", |case, [a, b]| {
        case.round([data(0, &a[..HALF - 1])])
            .round([flags(HALF_I - 2, ACK, b"x")])
            .round([flags(HALF_I - 1, ACK, &a[HALF - 1..])])
            .round([data(HALF_I, &b)])
    });
    list.add(
        EW,
        "other bytes for what is acknowledged, and the rest behind them",
        |case, [a, b]| {
            case.round([data(0, &a)])
                .round([data(0, &[junk(), b].concat())])
        },
    );
    list.add(
        EW,
        "other bytes from before the first one",
        |case, [a, b]| {
            case.round([data(-20, &[vec![b'x'; 20], a].concat())])
                .round([data(HALF_I, &b)])
        },
    );
    list.add(EW, "other bytes for half of what waits", |case, [a, b]| {
        case.round([data(HALF_I, &b)])
            .round([data(HALF_I - 6, &vec![b'x'; 12])])
            .round([data(0, &a)])
    });
    list.add(EW, "the hole is filled twice", |case, [a, b]| {
        case.round([data(HALF_I, &b)])
            .round([data(0, &junk()), data(0, &a)])
    });
    list.add(EW, "the hole is filled by too much", |case, [a, b]| {
        case.round([data(HALF_I, &b)])
            .round([data(0, &[a.clone(), junk()].concat())])
            .round([data(0, &a)])
    });
    list.add(
        EW,
        "what was dropped comes again, cut otherwise",
        |mut case, [a, b]| {
            let all = [a, b].concat();
            case = case
                .round([data(0, &all[..20])])
                .round([data(20, &all[20..])]);
            for from in [20, 18, 12, 4, 0] {
                case = case.round([data(from as i64, &all[from..])]);
            }
            case.round([data(23, &all[23..])]).round([data(0, &all)])
        },
    );
    list.add(
        EW,
        "what was dropped comes again, byte by byte",
        |mut case, [a, b]| {
            let all = [a, b].concat();
            case = case.round([data(0, &all)]);
            for (at, byte) in (0..).zip(all) {
                case = case.round([data(at, &[byte])]);
            }
            case
        },
    );
    list.add(
        EW,
        "what was dropped comes again in fragments",
        |case, [a, b]| {
            let all = [a, b].concat();
            case.round([data(0, &all)])
                .round([data(0, &all).cut(|packet, bytes| pieces(packet, bytes, 8, 1))])
                .round([data(0, &all).cut(|packet, bytes| pieces(packet, bytes, 24, 2))])
        },
    );
}

/// Windows closed, opened, shrunk and scaled.
fn windows(list: &mut List) {
    list.add(EW, "far ahead, just within the window", |case, [a, b]| {
        case.round([data(HALF_I, &b)])
            .round([data(60_000, b"ahead")])
            .round([data(0, &a)])
    });
    list.add(
        EW,
        "a closed window is probed byte by byte",
        |mut case, [a, b]| {
            case.app = App::Slow;
            let fill = |packet: &Packet, peer: &Peer, port: u16| {
                vec![from_number(packet, peer, port, peer.acked, &[b'.'; 1000])]
            };
            for _ in 0..20 {
                case = case.round([Step::Frames(Arc::new(fill))]);
            }
            // Where the window closed, by pass (each has addresses of its own).
            let closed: Arc<Mutex<HashMap<Address, u32>>> = Arc::default();
            let secret = [a, b].concat();
            let (edges, bytes) = (Arc::clone(&closed), secret.clone());
            let probe = Arc::new(move |packet: &Packet, peer: &Peer, port: u16| {
                let mut edges = edges.lock().unwrap();
                let edge = *edges.entry(packet.src).or_insert(peer.acked);
                let at = peer.acked.wrapping_sub(edge) as usize % bytes.len();
                vec![from_number(packet, peer, port, peer.acked, &bytes[at..=at])]
            });
            for _ in 0..secret.len() {
                case = case.round([Step::Frames(Arc::clone(&probe) as _)]);
            }
            let rest = Arc::new(move |packet: &Packet, peer: &Peer, port: u16| {
                let edge = closed.lock().unwrap()[&packet.src];
                vec![from_number(packet, peer, port, edge, &secret)]
            });
            case.round([Step::Resume])
                .round([Step::Pause(Duration::from_millis(50))])
                .round([Step::Frames(rest)])
        },
    );
    list.add(
        EW,
        "beyond a small window, then within",
        |mut case, [a, b]| {
            case.app = App::Slow;
            case = case.round([data(0, &a)]).round([data(40_000, &junk())]);
            for at in 1..6 {
                case = case.round([data(HALF_I + at * 8000, &junk())]);
            }
            case.round([Step::Resume]).round([data(HALF_I, &b)])
        },
    );
    for (name, window) in [("0", 0u16), ("1", 1), ("the largest", 65_535)] {
        list.add(
            EW,
            format!("the client's window becomes {name}, the server writes, then the rest"),
            |case, [a, b]| {
                case.round([data(0, &a).but(move |_, s, _| s.window = window)])
                    .round([Step::Write(b"some words of the server".to_vec())])
                    .round([flags(HALF_I, ACK, b"")])
                    .round([data(HALF_I, &b).but(move |_, s, _| s.window = window)])
            },
        );
    }
    list.add(
        EW,
        "the server writes and nobody acknowledges, then the rest",
        |case, [a, b]| {
            let stale = |step: Step| step.but(|_, s, p| s.ack = p.other_isn.wrapping_add(1));
            case.round([data(0, &a)])
                .round([Step::Write(b"some words of the server".to_vec())])
                .round([stale(data(HALF_I, &b))])
        },
    );
}

/// A data segment from a number on, whatever the case's own count says.
fn from_number(packet: &Packet, peer: &Peer, port: u16, seq: u32, bytes: &[u8]) -> Vec<u8> {
    let segment = Segment {
        ports: [port, peer.port],
        seq,
        ack: peer.next,
        flags: PSH | ACK,
        window: 60_000,
        data: bytes.to_vec(),
        ..Segment::default()
    };
    segment.frame(packet)
}

/// Timestamps that jump, where the flaw of a single segment does not show it.
fn clocks(list: &mut List) {
    let stamped = |step: Step, by: i32| step.but(move |_, s, _| stamp(s, by));
    let jumps: [(&str, i32); 4] = [
        ("a second", 1000),
        ("an hour", 3_600_000),
        ("half round less one", i32::MAX),
        ("back", -5000),
    ];
    for (name, by) in jumps {
        list.add(
            E5,
            format!("the clock jumps {name} on a pure ACK, and is right again"),
            |mut case, [a, b]| {
                case.stamps = true;
                case.round([data(0, &a)])
                    .round([stamped(flags(HALF_I, ACK, b""), by)])
                    .round([data(HALF_I, &b)])
            },
        );
        list.add(
            E5,
            format!("the clock jumps {name} on data ahead, and is right again"),
            |mut case, [a, b]| {
                case.stamps = true;
                case.round([data(0, &a)])
                    .round([stamped(data(HALF_I + 6, &b[6..]), by)])
                    .round([data(HALF_I, &b[..6])])
            },
        );
        list.add(
            E5,
            format!("the clock jumps {name} on a decoy of wrong checksum"),
            |mut case, [a, b]| {
                case.stamps = true;
                let decoy = data(HALF_I, &junk()).but(move |_, s, _| {
                    stamp(s, by);
                    s.spoil = 1;
                });
                case.round([data(0, &a)])
                    .round([decoy])
                    .round([data(HALF_I, &b)])
            },
        );
        list.add(
            E5,
            format!("the clock jumps {name} on a repetition, and is right again"),
            |mut case, [a, b]| {
                case.stamps = true;
                case.round([data(0, &a)])
                    .round([stamped(data(0, &a), by)])
                    .round([data(HALF_I, &b)])
            },
        );
        list.add(
            E5,
            format!("the clock jumps {name} for good"),
            |mut case, [a, b]| {
                case.stamps = true;
                case.round([data(0, &a)])
                    .round([stamped(data(HALF_I, &b), by)])
            },
        );
    }
}

/// IP fragments of a TCP segment, of so many bytes; `order` 0: as they are, 1: backwards, 2: the
/// second first.
fn pieces(packet: &Packet, bytes: &[u8], size: usize, order: usize) -> Vec<Vec<u8>> {
    let id = 0x7000 | u32::from(bytes[5]) << 16 | u32::from(bytes[16]) << 4 | size as u32 >> 3;
    let count = bytes.len().div_ceil(size);
    let mut frames: Vec<Vec<u8>> = bytes
        .chunks(size)
        .enumerate()
        .map(|(number, part)| fragment(packet, id, number * size, number + 1 < count, part))
        .collect();
    match order {
        1 => frames.reverse(),
        2 if frames.len() > 1 => frames.swap(0, 1),
        _ => {}
    }
    frames
}

fn fragment(packet: &Packet, id: u32, at: usize, more: bool, part: &[u8]) -> Vec<u8> {
    let mut packet = packet.clone();
    packet.id = id;
    packet.fragment = (at / 8) as u16 | if more { MORE } else { 0 };
    packet.frame(TCP, part)
}

/// TCP segments in fragments: header split, order, duplicates, holes, other numbers.
fn fragmented(list: &mut List) {
    for v6 in [false, true] {
        let family = if v6 { "IPv6" } else { "IPv4" };
        let mut add = |name: &str, way: fn(&Packet, &[u8]) -> Vec<Vec<u8>>| {
            list.add(EF, format!("{name}, {family}"), |mut case, [a, b]| {
                case.v6 = v6;
                case.round([data(0, &a)])
                    .round([data(HALF_I, &b).cut(way)])
                    .round([data(HALF_I, &junk())])
            });
        };
        add("header split after 8 bytes", |p, b| pieces(p, b, 8, 0));
        add("header split after 8 bytes, backwards", |p, b| {
            pieces(p, b, 8, 1)
        });
        add("header split after 16 bytes", |p, b| pieces(p, b, 16, 0));
        add("header split after 16 bytes, second first", |p, b| {
            pieces(p, b, 16, 2)
        });
        add("the payload split", |p, b| pieces(p, b, 24, 0));
        add("the payload split, backwards", |p, b| pieces(p, b, 24, 1));
        add("each fragment twice", |p, b| {
            pieces(p, b, 8, 0)
                .into_iter()
                .flat_map(|frame| [frame.clone(), frame])
                .collect()
        });
        add("all fragments twice over", |p, b| {
            [pieces(p, b, 8, 0), pieces(p, b, 8, 0)].concat()
        });
        add("all fragments twice over, then backwards", |p, b| {
            [pieces(p, b, 8, 0), pieces(p, b, 8, 1), pieces(p, b, 8, 1)].concat()
        });
        add("a fragment of another number between", |p, b| {
            let mut frames = pieces(p, b, 16, 0);
            frames.insert(1, fragment(p, 9, 16, false, &junk()));
            frames
        });
        add(
            "the number used again at once, with junk, never whole",
            |p, b| {
                let frames = pieces(p, b, 16, 0);
                let id = 0x7000 | u32::from(b[5]) << 16 | u32::from(b[16]) << 4 | 2;
                let mut all = frames.clone();
                all.push(fragment(p, id, 16, true, &[b'x'; 16]));
                all.extend(frames);
                all
            },
        );
        add("a last fragment that ends elsewhere first", |p, b| {
            let id = 0x7000 | u32::from(b[5]) << 16 | u32::from(b[16]) << 4 | 2;
            let mut all = vec![fragment(p, id, 64, false, &[b'x'; 8])];
            all.extend(pieces(p, b, 16, 0));
            all
        });
        add("an empty first fragment", |p, b| {
            let id = 0x7000 | u32::from(b[5]) << 16 | u32::from(b[16]) << 4 | 2;
            let mut all = vec![fragment(p, id, 0, true, &[])];
            all.extend(pieces(p, b, 16, 0));
            all
        });
        add("a length that is no multiple of eight", |p, b| {
            let id = 0x6000 | u32::from(b[16]);
            vec![
                fragment(p, id, 0, true, &b[..20]),
                fragment(p, id, 16, true, &b[16..24]),
                fragment(p, id, 24, false, &b[24..]),
            ]
        });
        add("beyond 65,535 bytes", |p, b| {
            let id = 0x6000 | u32::from(b[16]);
            let mut all = vec![fragment(p, id, 65_528, true, &[b'x'; 64])];
            let mut rest = pieces(p, b, 16, 0);
            all.append(&mut rest);
            all
        });
        add("a single fragment (atomic)", |p, b| {
            let mut packet = p.clone();
            packet.id = 77;
            match p.src.is_ipv6() {
                true => vec![chain(
                    &packet,
                    &[(FRAGMENT, vec![0, 0, 0, 0, 0, 77])],
                    TCP,
                    b,
                )],
                false => {
                    packet.fragment = 0;
                    vec![packet.frame(TCP, b)]
                }
            }
        });
        add("junk as a duplicate of the payload's fragment", |p, b| {
            let mut frames = pieces(p, b, 24, 0);
            let id = 0x7000 | u32::from(b[5]) << 16 | u32::from(b[16]) << 4 | 3;
            let length = b.len() - 24;
            frames.insert(0, fragment(p, id, 24, false, &vec![b'x'; length]));
            frames
        });
    }
}

/// An IPv6 packet with extension headers: number and body behind next header (a length byte is put
/// in front but for fragment headers, whose second byte is reserved).
fn chain(packet: &Packet, headers: &[(u8, Vec<u8>)], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, (kind, body)) in headers.iter().enumerate() {
        let next = headers.get(index + 1).map_or(protocol, |(kind, _)| *kind);
        let length = if *kind == FRAGMENT {
            0
        } else {
            (body.len() + 2) / 8 - 1
        };
        bytes.extend([next, length as u8]);
        bytes.extend(body);
    }
    bytes.extend(payload);
    let first = headers.first().map_or(protocol, |(kind, _)| *kind);
    packet.frame(first, &bytes)
}

/// Chains of extension headers in front of the secret's second half.
fn headers(list: &mut List) {
    let pad = || vec![1, 4, 0, 0, 0, 0];
    let chains: Vec<(&str, Vec<(u8, Vec<u8>)>)> = vec![
        ("hop by hop", vec![(HOP_BY_HOP, pad())]),
        ("destination options", vec![(DESTINATION, pad())]),
        (
            "destination options twice",
            vec![(DESTINATION, pad()), (DESTINATION, pad())],
        ),
        ("eight destination options", vec![(DESTINATION, pad()); 8]),
        (
            "hop by hop twice",
            vec![(HOP_BY_HOP, pad()), (HOP_BY_HOP, pad())],
        ),
        (
            "hop by hop behind destination options",
            vec![(DESTINATION, pad()), (HOP_BY_HOP, pad())],
        ),
        (
            "routing header 0, none left",
            vec![(ROUTING, vec![0, 0, 0, 0, 0, 0])],
        ),
        (
            "routing header 0, one left",
            vec![(ROUTING, [vec![0, 1, 0, 0, 0, 0], vec![0; 16]].concat())],
        ),
        (
            "routing header 99, none left",
            vec![(ROUTING, vec![99, 0, 0, 0, 0, 0])],
        ),
        (
            "two atomic fragment headers",
            vec![
                (FRAGMENT, vec![0, 0, 0, 0, 0, 7]),
                (FRAGMENT, vec![0, 0, 0, 0, 0, 8]),
            ],
        ),
        (
            "atomic fragment and options",
            vec![(FRAGMENT, vec![0, 0, 0, 0, 0, 7]), (DESTINATION, pad())],
        ),
        (
            "options with a covert byte",
            vec![(DESTINATION, vec![0x1e, 4, b'E', b'V', b'I', b'L'])],
        ),
        (
            "an option that makes receivers discard",
            vec![(DESTINATION, vec![0x9e, 4, 0, 0, 0, 0])],
        ),
        (
            "an option of wrong length",
            vec![(DESTINATION, vec![1, 40, 0, 0, 0, 0])],
        ),
        ("mobility header", vec![(135, vec![0, 0, 0, 0, 0, 0])]),
    ];
    for (name, headers) in chains {
        for decoy in [false, true] {
            let what = if decoy {
                "a decoy, then the secret"
            } else {
                "the secret, then a twin"
            };
            let headers = headers.clone();
            list.add(
                "E3 extension headers",
                format!("{name}: {what}"),
                |mut case, [a, b]| {
                    case.v6 = true;
                    let (first, then) = if decoy { (junk(), b) } else { (b, junk()) };
                    case.round([data(0, &a)])
                        .round([data(HALF_I, &first)
                            .cut(move |p, bytes| vec![chain(p, &headers, TCP, bytes)])])
                        .round([data(HALF_I, &then)])
                },
            );
        }
    }
    let tunnelled = |packet: &Packet, bytes: &[u8]| {
        let inner = packet.frame(TCP, bytes)[14..].to_vec();
        let protocol = if packet.src.is_ipv6() { 41 } else { 4 };
        let outer = Packet::new(packet.link, packet.src, packet.dst);
        vec![outer.frame(protocol, &inner)]
    };
    for v6 in [false, true] {
        list.add(
            E1,
            format!(
                "a decoy in a tunnel that ends nowhere, IPv{}",
                if v6 { 6 } else { 4 }
            ),
            |mut case, [a, b]| {
                case.v6 = v6;
                case.round([data(0, &a)])
                    .round([data(HALF_I, &junk()).cut(tunnelled)])
                    .round([data(HALF_I, &b)])
            },
        );
    }
}
