//! Segments with one thing wrong, as decoys and as carriers: classes E1 and E5.

use super::*;
use crate::rig::data;
use crate::wire::frame::{ACK, FIN, RST, SYN, URG};

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

/// Every flaw on a decoy in the place of the second half, and on the second half itself.
pub fn decoys(list: &mut List) {
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
