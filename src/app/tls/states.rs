//! How far the sides of a handshake have come: the states that rules wait for (`tls:NAME`,
//! `app-layer-state`). What brings a side there is tls.rs's.

use super::super::field::Field;
use super::super::output::Output;
use super::{Tls, seen};
use crate::packet::Direction;

/// What rules can wait for; a number in [`Field::Hook`] is a place here.
pub const HOOKS: &[&str] = &[
    "client_hello_done",
    "client_cert_done",
    "client_handshake_done",
    "server_hello",
    "server_cert_done",
    "server_hello_done",
    "server_handshake_done",
];

/// Places in [`HOOKS`].
pub(super) mod hook {
    pub const HELLO: [u64; 2] = [0, 3];
    pub const CERTIFICATE: [u64; 2] = [1, 4];
    pub const SERVER_DONE: u64 = 5;
    pub const HANDSHAKE: [u64; 2] = [2, 6];
}

impl Tls {
    /// After a piece of a direction: as in Suricata, whose certificate was asked for last has shown
    /// it, and with it the handshake is over on both sides. Rules on states are asked anew.
    pub(super) fn settle_states(&mut self, direction: Direction, out: &mut Output<'_>) {
        let last = usize::from(!self.asked);
        if self.sides[last].seen & seen::CERTIFICATE != 0 {
            for side in [Direction::ToServer, Direction::ToClient] {
                self.reach(hook::HANDSHAKE[side.index()], side, out);
            }
        }
        if out.wants(Field::Hook) {
            out.touch(self.tx, direction);
        }
    }

    /// A state that rules may wait for, and those that the direction passed over.
    pub(super) fn reach(&mut self, state: u64, direction: Direction, out: &mut Output<'_>) {
        let (tx, first) = (self.tx, hook::HELLO[direction.index()]);
        let side = self.side(direction);
        let from = first + u64::from(side.reached);
        side.reached = side.reached.max((state + 1 - first) as u8);
        let wanted = out.wants(Field::Hook);
        for state in (from..=state).filter(|_| wanted) {
            out.number(tx, Field::Hook, direction, state);
        }
    }
}
