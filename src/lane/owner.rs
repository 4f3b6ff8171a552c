//! The lane that owns a frame: named by its two (outermost) addresses alone, so that fragments,
//! their datagrams, tunnels, plain packets and the ICMP errors about them all land in one lane.
//!
//! As a rule a keyed hash names it, which nobody outside can foretell, and a NIC that deals by
//! another hash brings most packets to other lanes than their owners' (sluice_mesh_crossed_total).
//! Where all ports are NICs that deal by addresses in a way that is known (port/rss.rs), the lane
//! is that of the queue, and nothing crosses. Who floods one queue of such a NIC knows which; he
//! could do so under either rule.

use std::sync::Arc;

use crate::packet::{Context, flag};
use crate::port::rss::Rss;

/// Names the owner.
#[derive(Clone, Debug)]
pub enum Owner {
    /// By a hash under a key, over so many lanes.
    Hash {
        /// Key of the hash.
        key: u64,
        /// Lanes.
        lanes: usize,
    },
    /// The lane that the NIC deals to.
    Rss(Arc<Rss>),
}

impl Owner {
    /// The lane that owns the frame of a (first) context.
    #[inline]
    pub fn lane(&self, context: &Context) -> usize {
        match self {
            Owner::Hash { key, lanes } => {
                let hash = crate::decode::owner_hash(context, *key);
                // The upper half of hash * lanes spreads evenly and needs no division.
                ((u128::from(hash) * *lanes as u128) >> 64) as usize
            }
            Owner::Rss(rss) if context.flags & (flag::IPV4 | flag::IPV6) != 0 => rss.queue(
                u128::from_be_bytes(context.tuple.a_addr),
                u128::from_be_bytes(context.tuple.b_addr),
            ),
            Owner::Rss(_) => 0,
        }
    }
}
