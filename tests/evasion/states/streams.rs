//! Urgent data, numbers, windows and clocks: classes E5 and E8.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use super::packets::pieces;
use super::*;
use crate::rig::{App, data, flags};
use crate::wire::frame::{ACK, Address, URG};

/// Urgent data in every place; what the application reads depends on its settings.
pub fn urgent(list: &mut List) {
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
pub fn numbers(list: &mut List) {
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
            .round([data(HALF_I - 6, &[b'x'; 12])])
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
pub fn windows(list: &mut List) {
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
pub fn clocks(list: &mut List) {
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
