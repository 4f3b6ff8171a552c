//! HTTP/1 on arbitrary conversations: any bytes in either direction, in any pieces, with gaps and
//! early ends. Nothing panics, work is bounded, and everything that was taken comes back.
//!
//! An input is a row of pieces: a byte of flags (1: to the client, 2: a gap before it, 4: the last
//! one of its direction), a byte of length, the bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice::app::output::Limits;
use sluice::app::{Apps, Field, Piece, Transport};
use sluice::packet::Direction;

fn piece(direction: Direction, bytes: &[u8], gap: u32, end: bool) -> Piece<'_> {
    Piece {
        transport: Transport::Tcp,
        direction,
        bytes,
        gap,
        end,
        client_port: 40_000,
        server_port: 80,
        client_addr: [1; 16],
        server_addr: [2; 16],
        time_ns: 1,
    }
}

/// Everything that settings switch on.
fn limits() -> Limits {
    let key = |name: &str| format!("app-layer.protocols.http.libhtp.default-config.{name}");
    let on = |name| (key(name), "yes".to_string());
    Limits::of(&[on("swf-decompression.enabled"), on("lzma-enabled")])
}

fuzz_target!(|data: &[u8]| {
    let wanted = vec![true; Field::ALL.len()].into();
    let mut apps = Apps::new(2, 4 << 20, wanted, limits());
    let first = piece(Direction::ToServer, &[], 0, false);
    let flow = apps.open(&first).expect("there is room");
    // The protocol is told, so that every input is about it.
    apps.feed(flow, &piece(Direction::ToServer, b"GET ", 0, false));
    let mut rest = data;
    while let [flags, length, after @ ..] = rest {
        let (bytes, next) = after.split_at(usize::from(*length).min(after.len()));
        let direction = if flags & 1 == 0 {
            Direction::ToServer
        } else {
            Direction::ToClient
        };
        let gap = u32::from(flags & 2 != 0) * u32::from(flags >> 3);
        apps.feed(flow, &piece(direction, bytes, gap, flags & 4 != 0));
        rest = next;
    }
    apps.finish(flow);
    apps.close(flow);
    assert_eq!(apps.in_use(), (0, 0, 0), "everything comes back");
});
