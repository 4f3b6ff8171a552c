//! Any bytes to any parser of an application protocol, in any cut: nothing panics, what parsers say
//! they took is there, and all memory comes back.
//!
//! Input: one byte for the protocol (0: found out), one for ports and transport, then pieces: a byte
//! for direction (bit 7), gap (bit 6) and end (bit 5) and the upper bits of the length, a byte with
//! the lower bits, the bytes.

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use sluice::app::registry::DESCRIPTIONS;
use sluice::app::{AppProtocol, Apps, Field, Limits, Piece, Transport};
use sluice::packet::Direction;

const PORTS: [u16; 8] = [443, 80, 53, 25, 21, 22, 5060, 123];

thread_local! {
    static APPS: RefCell<Apps> = RefCell::new(Apps::new(
        4,
        8 << 20,
        vec![true; Field::ALL.len()].into(),
        Limits::default(),
    ));
}

fn run(apps: &mut Apps, protocol: u8, place: u8, input: &[u8]) {
    let found = usize::from(protocol) % (DESCRIPTIONS.len() + 1);
    let known = found.checked_sub(1).map(|at| DESCRIPTIONS[at]);
    let transport = match known {
        Some(known) => known.over[usize::from(place >> 4) % known.over.len()],
        None if place & 0x80 != 0 => Transport::Udp,
        None => Transport::Tcp,
    };
    let piece = |direction, bytes, gap, end| Piece {
        transport,
        direction,
        bytes,
        gap,
        end,
        client_port: 40_000,
        server_port: PORTS[usize::from(place & 7)],
        client_addr: [1; 16],
        server_addr: [2; 16],
        time_ns: 1,
    };
    let first = piece(Direction::ToServer, &[], 0, false);
    let flow = match known {
        Some(known) => apps.open_as(&first, known.protocol),
        None => apps.open(&first),
    };
    let flow = flow.expect("all flows came back");
    let mut rest = input;
    while let [head, low, more @ ..] = rest {
        let length = (usize::from(head & 0x1f) << 8 | usize::from(*low)).min(more.len());
        let (bytes, after) = more.split_at(length);
        let direction = match head & 0x80 {
            0 => Direction::ToServer,
            _ => Direction::ToClient,
        };
        let gap = u32::from(head & 0x40) * u32::from(*low);
        apps.feed(flow, &piece(direction, bytes, gap, head & 0x20 != 0));
        apps.release(flow, |transaction| transaction.is_complete());
        rest = after;
    }
    apps.finish(flow);
    let state = apps.state(flow).map(|state| state.protocol);
    assert_ne!(state, None::<AppProtocol>);
    apps.close(flow);
    assert_eq!(apps.in_use(), (0, 0, 0), "everything comes back");
}

fuzz_target!(|input: &[u8]| {
    if let [protocol, place, pieces @ ..] = input {
        APPS.with_borrow_mut(|apps| run(apps, *protocol, *place, pieces));
    }
});
