//! Handshakes out of the ordinary, from both sides: class E7.

use super::*;
use crate::rig::{App, data, flags};
use crate::wire::frame::{ACK, FIN, RST, SYN, URG};

/// Handshakes out of the ordinary.
pub fn openings(list: &mut List) {
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
pub fn crossed(list: &mut List) {
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
