//! What an operator's threshold file adds to a rule, and what a rule's tags ask for.

use super::{Action, AddressSet, Track};

/// What the threshold file says of a rule beside its threshold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// `suppress`: no alert for these addresses; the action stays.
    pub suppress: Vec<Suppress>,
    /// `rate_filter`.
    pub rate: Option<RateFilter>,
}

/// Which end of a packet a suppression is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SuppressSide {
    /// `by_src`.
    Source,
    /// `by_dst`.
    Destination,
    /// `by_either`.
    Either,
}

/// `suppress` with addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Suppress {
    /// Which end.
    pub side: SuppressSide,
    /// Addresses.
    pub addresses: AddressSet,
}

impl Suppress {
    /// Whether a packet from `src` to `dst` raises no alert.
    pub fn silences(&self, src: &[u8; 16], dst: &[u8; 16]) -> bool {
        let (of_src, of_dst) = match self.side {
            SuppressSide::Source => (true, false),
            SuppressSide::Destination => (false, true),
            SuppressSide::Either => (true, true),
        };
        of_src && self.addresses.contains(src) || of_dst && self.addresses.contains(dst)
    }
}

/// `rate_filter`: more than `count` matches in `seconds` change the action for `timeout` seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateFilter {
    /// What it counts per.
    pub track: Track,
    /// Matches within the time that change nothing yet.
    pub count: u32,
    /// The time, seconds.
    pub seconds: u32,
    /// The action then; `None` for words that change nothing.
    pub new_action: Option<Action>,
    /// Seconds for which it holds.
    pub timeout: u32,
}

/// Packets that a tag takes at most, and takes where the rule says no number.
pub const TAG_PACKETS_MAX: u32 = 256;

/// `tag`: the packets that follow an alert are told of as well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tag {
    /// The flow, or one of the packet's hosts.
    pub scope: TagScope,
    /// For how long.
    pub until: TagUntil,
}

/// What a tag hangs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TagScope {
    /// `session`.
    Flow,
    /// `host,...,src`.
    Source,
    /// `host` (its destination).
    Destination,
}

/// When a tag ends; the packet that set it counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TagUntil {
    /// After so many packets, at most [`TAG_PACKETS_MAX`].
    Packets(u32),
    /// After so many bytes of packets.
    Bytes(u32),
    /// After so many seconds.
    Seconds(u32),
}
