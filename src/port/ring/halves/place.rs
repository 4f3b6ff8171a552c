//! Where the halves of a port belong: region, number and link of what they bring.

use std::sync::Arc;

use crate::memory::Region;
use crate::packet::Context;

/// Where the halves of one port stand in their lane.
pub struct Place {
    /// Memory of the rings.
    pub region: Arc<Region>,
    /// Port index in the lane's pair: 0 inside, 1 outside.
    pub port: u8,
    /// `Context::link` of the frames.
    pub link: u8,
    /// Longest frame that may be sent, bytes, where that is more than a buffer: it goes as a chain.
    pub longest: u32,
}

impl Place {
    /// Says in a context where and when its frame came.
    pub(super) fn mark(&self, context: &mut Context, now_ns: u64) {
        context.time_ns = now_ns;
        context.link = self.link;
        context.port = self.port;
    }
}
