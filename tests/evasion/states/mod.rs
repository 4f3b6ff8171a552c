//! Tricks with the state of TCP and IP (RELIABILITY.md, classes E1 and E5 to E8): decoys that the
//! receiver throws away, data in packets that it should, half closed, reset, reopened and crossed
//! connections, urgent data, windows, timestamps, tiny fragments.
//!
//! Each case has a secret of its own in two halves. What arrives of it without rules must not
//! arrive with them.

mod decoys;
mod packets;
mod setup;
mod streams;
mod teardown;

use std::sync::Arc;

use crate::rig::{Case, Peer, Step, stamp_now};
use crate::wire::frame::{PSH, Packet, Segment};

const TCP: u8 = 6;

/// Bytes of half a secret.
const HALF: usize = 12;

const HALF_I: i64 = HALF as i64;

const E1: &str = "E1 IP header";

const E5: &str = "E5 TCP validity";

const E6: &str = "E6 teardown";

const E7: &str = "E7 set-up";

const E8: &str = "E8 urgent data";

const EF: &str = "E2/E3 TCP in fragments";

const EW: &str = "E5 windows and numbers";

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
    decoys::decoys(&mut list);
    teardown::resets(&mut list);
    teardown::ends(&mut list);
    teardown::reuse(&mut list);
    setup::openings(&mut list);
    setup::crossed(&mut list);
    streams::urgent(&mut list);
    streams::numbers(&mut list);
    streams::windows(&mut list);
    streams::clocks(&mut list);
    packets::fragmented(&mut list);
    packets::headers(&mut list);
    list.0
}
