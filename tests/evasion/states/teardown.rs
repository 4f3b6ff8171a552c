//! Resets, FINs and ports used again: class E6.

use super::*;
use crate::rig::{data, flags};
use crate::wire::frame::{ACK, FIN, RST, SYN};

/// Resets of every kind between the halves; the receiver goes on where it did not believe them.
pub fn resets(list: &mut List) {
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

/// FINs of every kind between the halves.
pub fn ends(list: &mut List) {
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
pub fn reuse(list: &mut List) {
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
