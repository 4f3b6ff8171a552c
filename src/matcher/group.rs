//! What a packet can reach of a program: the automata and lists of its protocol class, direction and
//! port.

use std::sync::Arc;

use super::always::AlwaysList;
use super::prefilter::Prefilter;

/// Automata of the signatures that packets of a protocol class and direction can reach. Signatures
/// that look at packets and at streams stand in `packet` and in `stream`: bytes that are both are
/// scanned by `stream`, which tells of these for the packet too, and by the small `alone`. What
/// looks at long packets only is found by `stream` as well where it is little. (One automaton for
/// everything, with one scan of such bytes, was built and measured twice: it took 1.1 to 1.3 times
/// as long.)
#[derive(Debug, Default)]
pub(super) struct Side {
    pub packet: Arc<Prefilter>,
    /// By `is_long`.
    pub alone: [Arc<Prefilter>; 2],
    pub stream: Arc<Prefilter>,
}

/// A payload of so many bytes is long: most rules with a `dsize` are about shorter ones.
const LONG_MIN: usize = 256;

/// Whether a payload is one for the automata of long ones: 0 or 1.
pub(super) fn is_long(length: usize) -> usize {
    usize::from(length >= LONG_MIN)
}

/// Signatures that a port can reach whose fast patterns are short, or that have none.
#[derive(Debug, Default)]
pub(super) struct ByPort {
    pub short: Side,
    pub packet_always: AlwaysList,
    pub stream_always: AlwaysList,
    /// Some signature looks at streams.
    pub wants_stream: bool,
}

/// What a packet can reach.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    pub(super) side: &'a Side,
    pub(super) by_port: &'a ByPort,
}

impl<'a> Group<'a> {
    /// Fast patterns of signatures that look at packets: the long ones, and the port's short ones.
    pub fn packet(self) -> [&'a Prefilter; 2] {
        [&self.side.packet, &self.by_port.short.packet]
    }

    /// Those of them that do not look at streams as well, where the bytes of a payload of this length
    /// are scanned by `stream` too.
    pub fn alone(self, length: usize) -> [&'a Prefilter; 2] {
        let long = is_long(length);
        [&self.side.alone[long], &self.by_port.short.alone[long]]
    }

    /// Fast patterns of signatures that look at streams, and some that look at packets only.
    pub fn stream(self) -> [&'a Prefilter; 2] {
        [&self.side.stream, &self.by_port.short.stream]
    }

    /// Signatures without a fast pattern that look at packets.
    pub fn packet_always(self) -> &'a AlwaysList {
        &self.by_port.packet_always
    }

    /// Signatures without a fast pattern that look at streams.
    pub fn stream_always(self) -> &'a AlwaysList {
        &self.by_port.stream_always
    }

    /// Whether some signature looks at streams.
    pub fn wants_stream(self) -> bool {
        self.by_port.wants_stream
    }
}
