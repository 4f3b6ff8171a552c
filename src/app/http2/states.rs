//! How far the sides of a stream and the connection's own frames have come: the states that rules
//! wait for (`http2:stream:request_headers`). What brings a side there is http2.rs's and streams.rs's.

use super::super::field::Field;
use super::super::output::{Output, TxId};
use crate::packet::Direction;

/// What rules can wait for; a number in [`Field::Hook`] is a place here.
pub const HOOKS: &[&str] = &[
    "stream:request_started",
    "stream:request_headers",
    "stream:request_data",
    "stream:request_closed",
    "stream:request_complete",
    "global:request_started",
    "global:request_complete",
    "stream:response_started",
    "stream:response_headers",
    "stream:response_data",
    "stream:response_closed",
    "stream:response_complete",
    "global:response_started",
    "global:response_complete",
];

/// States of a side of a stream, in their order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
#[repr(u8)]
pub(super) enum Reached {
    /// It has a frame.
    Started = 0,
    /// It has its header block.
    Headers = 1,
    /// It has a DATA frame.
    Data = 2,
    /// It has said all.
    Closed = 3,
    /// Both sides have.
    Complete = 4,
}

/// Place of the first state of a frame of the connection itself, behind those of a stream.
const GLOBAL: u64 = 5;
/// States of one side of both kinds.
const OF_SIDE: u64 = 7;

fn tell(tx: TxId, direction: Direction, state: u64, out: &mut Output<'_>) {
    if out.wants(Field::Hook) {
        let first = OF_SIDE * u64::from(direction == Direction::ToClient);
        out.number(tx, Field::Hook, direction, first + state);
    }
}

/// A side of a stream has come to a state.
pub(super) fn reach(tx: TxId, direction: Direction, state: Reached, out: &mut Output<'_>) {
    tell(tx, direction, u64::from(state as u8), out);
}

/// A frame of the connection itself came whole: there is no more to its transaction.
pub(super) fn reach_global(tx: TxId, direction: Direction, out: &mut Output<'_>) {
    for state in GLOBAL..OF_SIDE {
        tell(tx, direction, state, out);
    }
}
