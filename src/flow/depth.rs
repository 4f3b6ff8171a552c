//! How many bytes of a stream are inspected, where that depends on what it speaks: the match stage
//! writes it into its line of the flow's entry, and the flow stage looks there where the common
//! depth ends, not before.

use super::stage::FlowStage;

/// Protocols that may have a depth of their own.
pub const OWN_DEPTHS: usize = 3;

/// What a protocol's number is in the match stage's line, and the bytes of each direction that are
/// inspected of its streams, 0 for all.
pub type OwnDepths = [(u8, u32); OWN_DEPTHS];

/// The depth of streams that speak `spoken`, where it is their own.
pub fn own_depth(depths: &OwnDepths, spoken: u8) -> Option<u32> {
    let own = depths.iter().find(|(number, _)| *number == spoken);
    own.filter(|_| spoken != 0).map(|(_, depth)| *depth)
}

impl FlowStage {
    /// Gives some protocols depths of their own.
    pub fn set_depths(&mut self, depths: OwnDepths) {
        self.depths = depths;
    }
}
