//! How many bytes of a stream are inspected, where that depends on what it speaks: the match stage
//! writes it into its line of the flow's entry, and the flow stage looks there where the common
//! depth ends, not before.

use super::stage::FlowStage;

/// Protocols that may have a depth of their own.
pub const OWN_DEPTHS: usize = 3;

/// What a protocol's number is in the match stage's line, and the bytes of each direction that are
/// inspected of its streams, 0 for all.
pub type OwnDepths = [(u8, u32); OWN_DEPTHS];

/// Where the flow stage gets depths from.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Depths {
    own: OwnDepths,
    /// Bytes of a flow that may still be on their way to the match stage.
    ahead: u32,
}

impl Depths {
    /// The depth of a stream of which the match stage wrote `spoken`, 0 if nothing yet: it may then
    /// pass the `common` depth by what that stage has not read yet.
    pub fn of(&self, spoken: u8, common: u32) -> u32 {
        match spoken {
            0 => common.saturating_add(self.ahead),
            _ => own_depth(&self.own, spoken).unwrap_or(common),
        }
    }
}

/// The depth of streams that speak `spoken`, where it is their own.
pub fn own_depth(depths: &OwnDepths, spoken: u8) -> Option<u32> {
    let own = depths.iter().find(|(number, _)| *number == spoken);
    own.filter(|_| spoken != 0).map(|(_, depth)| *depth)
}

impl FlowStage {
    /// Gives some protocols depths of their own. What a flow speaks is known once the match stage
    /// has read it: `ahead` bytes of the flow may still be on their way there.
    pub fn set_depths(&mut self, depths: OwnDepths, ahead: u32) {
        self.depths = Depths { own: depths, ahead };
    }
}
