//! For tests of parsers: a flow fed by hand, and its transactions as text.
//!
//! A parser's test states what a conversation gives, and that every cut gives the same.

use super::field::Field;
use super::flows::{Apps, Piece};
use super::output::Limits;
use super::protocol::{AppProtocol, Transport};
use crate::packet::Direction;

/// One direction's bytes, in the order in which they were sent.
pub type Talk<'a> = &'a [(Direction, &'a [u8])];

/// Where a conversation takes place.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Carrier.
    pub transport: Transport,
    /// Port of the server.
    pub server_port: u16,
}

/// A lane's parsers with every field wanted but frames, which are transactions of their own.
pub fn apps() -> Apps {
    let wanted = Field::ALL.iter().map(|field| !field.is_frame()).collect();
    Apps::new(4, 8 << 20, wanted, Limits::default())
}

/// What a conversation gives: the protocol, then a line for each instance, as
/// `tx NUMBER ToServer http.uri "/x"`, and for each event of the flow.
pub fn run(place: Place, talk: Talk<'_>) -> (AppProtocol, Vec<String>) {
    run_cut(place, talk, usize::MAX)
}

/// The same, with every piece cut into pieces of `cut` bytes (streams only).
pub fn run_cut(place: Place, talk: Talk<'_>, cut: usize) -> (AppProtocol, Vec<String>) {
    let mut apps = apps();
    let piece = |direction, bytes, end| Piece {
        transport: place.transport,
        direction,
        bytes,
        gap: 0,
        end,
        client_port: 40_000,
        server_port: place.server_port,
        client_addr: [1; 16],
        server_addr: [2; 16],
        time_ns: 1,
    };
    let flow = apps
        .open(&piece(Direction::ToServer, &[], false))
        .expect("there is room");
    let mut lines = Vec::new();
    for (direction, bytes) in talk {
        for bytes in bytes.chunks(cut.max(1)) {
            apps.feed(flow, &piece(*direction, bytes, false));
            note_events(&apps, flow, &mut lines);
        }
    }
    apps.finish(flow);
    note_events(&apps, flow, &mut lines);
    let state = apps.state(flow).expect("the flow is open");
    let protocol = state.protocol;
    let mut next = state.first;
    while let Some(tx) = apps.transaction(next) {
        for instance in tx.instances(&apps.shared.heap) {
            let head = format!(
                "tx {} {:?} {}",
                tx.number,
                instance.direction,
                instance.field.name()
            );
            lines.push(
                if instance.is_number() && instance.field == Field::AppLayerEvent {
                    let name =
                        super::registry::event_name(super::AppEvent(instance.number() as u16));
                    format!("{head} {name:?}")
                } else if instance.is_number() {
                    format!("{head} {}", instance.number())
                } else {
                    let bytes = tx.bytes(&apps.shared.heap, &instance);
                    format!("{head} \"{}\"", bytes.escape_ascii())
                },
            );
        }
        next = tx.next;
    }
    apps.close(flow);
    assert_eq!(apps.in_use(), (0, 0, 0), "everything comes back");
    (protocol, lines)
}

fn note_events(apps: &Apps, flow: u32, lines: &mut Vec<String>) {
    let Some(state) = apps.state(flow) else {
        return;
    };
    for (event, direction) in &state.events[..usize::from(state.event_count)] {
        let name = super::registry::event_name(*event);
        lines.push(format!("flow {direction:?} {name:?}"));
    }
}

/// Asserts that every cut of the streams gives what the whole gives; returns that.
pub fn same_for_every_cut(place: Place, talk: Talk<'_>) -> (AppProtocol, Vec<String>) {
    let whole = run(place, talk);
    for cut in [1, 2, 3, 5, 7, 16, 61] {
        let got = run_cut(place, talk, cut);
        assert_eq!(got, whole, "cut into pieces of {cut}");
    }
    whole
}
