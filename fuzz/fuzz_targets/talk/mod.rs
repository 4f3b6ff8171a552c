//! A conversation from any bytes: pieces of both sides, shown to the parsers whole and in cuts.
//! Nothing panics, every byte of memory comes back, and the cut changes nothing.
//!
//! Input: pieces, each a byte of length (bit 7: of the server) and so many bytes.

use std::cell::RefCell;

use sluice::app::output::Limits;
use sluice::app::{Apps, Field, Piece, Transport};
use sluice::packet::Direction;

/// Bytes of a piece at most.
const PIECE_MAX: usize = 0x7f;

thread_local! {
    static APPS: RefCell<Apps> = RefCell::new(Apps::new(
        2,
        8 << 20,
        // The frame of a whole stream begins once the protocol is known: only its number, which is
        // compared here, is the cut's.
        Field::ALL.iter().map(|field| *field != Field::FrameStream).collect(),
        limits(),
    ));
}

/// Everything that settings switch on.
fn limits() -> Limits {
    let key = |name: &str| format!("app-layer.protocols.http.libhtp.default-config.{name}");
    let on = |name| (key(name), "yes".to_string());
    Limits::of(&[on("swf-decompression.enabled"), on("lzma-enabled")])
}

/// Runs a conversation on this port.
pub fn check(transport: Transport, port: u16, data: &[u8]) {
    let whole = APPS.with_borrow_mut(|apps| run(apps, transport, port, data, usize::MAX));
    if transport == Transport::Tcp {
        for cut in [1, 5] {
            let parts = APPS.with_borrow_mut(|apps| run(apps, transport, port, data, cut));
            assert_eq!(parts, whole, "cut into pieces of {cut}");
        }
    }
}

fn run(apps: &mut Apps, transport: Transport, port: u16, data: &[u8], cut: usize) -> Vec<String> {
    let piece = |direction, bytes| Piece {
        transport,
        direction,
        bytes,
        gap: 0,
        end: false,
        client_port: 40_000,
        server_port: port,
        client_addr: [1; 16],
        server_addr: [2; 16],
        time_ns: 1,
    };
    let flow = apps
        .open(&piece(Direction::ToServer, &[]))
        .expect("all flows were closed");
    let mut rest = data;
    while let Some((head, tail)) = rest.split_first() {
        let length = (usize::from(head & 0x7f)).min(PIECE_MAX).min(tail.len());
        let direction = match head & 0x80 {
            0 => Direction::ToServer,
            _ => Direction::ToClient,
        };
        let (bytes, after) = tail.split_at(length);
        rest = after;
        for part in bytes.chunks(cut) {
            apps.feed(flow, &piece(direction, part));
        }
    }
    apps.finish(flow);
    let mut lines = Vec::new();
    let mut next = apps.state(flow).map_or(u32::MAX, |state| state.first);
    while let Some(tx) = apps.transaction(next) {
        for instance in tx.instances(&apps.shared.heap) {
            let bytes = tx.bytes(&apps.shared.heap, &instance);
            lines.push(format!(
                "{} {:?} {} {} {bytes:?}",
                tx.number,
                instance.direction,
                instance.field.name(),
                instance.number(),
            ));
        }
        next = tx.next;
    }
    apps.close(flow);
    assert_eq!(apps.in_use(), (0, 0, 0), "everything comes back");
    lines
}
