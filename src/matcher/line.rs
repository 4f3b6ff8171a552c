//! The match stage's mark of a flow, kept in line 1 of the flow table's entry.
//!
//! Nothing else of the table is touched here: line 0 is the flow stage's.

use super::state;
use super::{DetectionAccess, FlowMark, FlowVerdict};
use crate::flow::table::DetectionSide;
use crate::packet::FlowHandle;

/// Bit of the line's flags: an alert was raised in the flow.
const ALERTED: u8 = 1;
/// Bit of the line's flags: a rule tagged the flow.
const TAGGED: u8 = 2;
/// Bit of the line's flags: the flow's first packet was the server's.
const TURNED: u8 = 16;
/// Where the two bits of directions whose drop was told begin.
const TOLD: u32 = 2;

/// The line starts as zeros, so a slab is stored as its index plus one.
fn slab_from(stored: u32) -> u32 {
    const _: () = assert!(state::NONE == u32::MAX);
    stored.wrapping_sub(1)
}

impl DetectionAccess for DetectionSide {
    #[inline]
    fn prefetch(&self, flow: FlowHandle) {
        DetectionSide::prefetch(self, flow);
    }

    fn load(&mut self, flow: FlowHandle) -> Option<FlowMark> {
        let line = self.line(flow)?;
        Some(FlowMark {
            verdict: FlowVerdict::from_byte(line.verdict()),
            alerted: line.flags() & ALERTED != 0,
            app: line.word() as u8,
            tagged: line.flags() & TAGGED != 0,
            told: line.flags() >> TOLD & 3,
            turned: line.flags() & TURNED != 0,
            slab: slab_from(line.slab()),
        })
    }

    fn slab(&mut self, flow: FlowHandle) -> u32 {
        self.line(flow)
            .map_or(state::NONE, |line| slab_from(line.slab()))
    }

    fn store(&mut self, flow: FlowHandle, mark: FlowMark) {
        if let Some(line) = self.line(flow) {
            line.set_verdict(mark.verdict as u8);
            // The line's free word holds what the flow speaks; the flow stage reads it (depth.rs).
            line.set_word(u32::from(mark.app));
            let bit = |set, bit| if set { bit } else { 0 };
            let flags =
                bit(mark.alerted, ALERTED) | bit(mark.tagged, TAGGED) | bit(mark.turned, TURNED);
            line.set_flags(flags | (mark.told & 3) << TOLD);
            line.set_slab(if mark.slab == state::NONE {
                0
            } else {
                mark.slab + 1
            });
        }
    }
}
