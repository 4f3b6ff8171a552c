//! Puts back into a received frame what the kernel took from it: a VLAN tag that a NIC stripped, a
//! transport checksum that a local sender left to its NIC. Both kinds of rings do it alike; the
//! frame's header says what is missing, and there is room in front of the frame ([`super::RESERVE`]).

use std::sync::Arc;

use crate::memory::{Region, Span};
use crate::port::ring::Mapping;
use crate::port::{PortCounter, PortCounters, checksum};

/// Bytes of a VLAN tag.
const TAG_BYTES: u32 = 4;

/// What the ring's header says of a frame.
#[derive(Clone, Copy)]
pub(super) struct Told {
    /// `tp_status`.
    pub status: u32,
    /// Tag control information, then tag type in the upper half.
    pub vlan: u32,
    /// Bytes in front of the frame that are free.
    pub before: u32,
}

/// Makes a frame whole. While it is ours, and before anyone has seen it.
pub(super) fn make_whole(
    (mapping, memory): (&Mapping, &Region),
    counters: &Arc<PortCounters>,
    told: Told,
    mut span: Span,
) -> Span {
    if told.status & libc::TP_STATUS_VLAN_VALID != 0 && told.before > TAG_BYTES {
        put_tag_back(mapping, memory, told, &mut span);
    }
    if told.status & libc::TP_STATUS_CSUMNOTREADY != 0
        && let Some((at, value)) = checksum::transport(memory.bytes(span.offset, span.length))
    {
        mapping.write(span.offset as usize + at, &value.to_be_bytes());
        counters.add(PortCounter::ChecksumCompleted, 1);
    }
    span
}

/// Moves both addresses four bytes to the front and writes the tag behind them.
fn put_tag_back(mapping: &Mapping, memory: &Region, told: Told, span: &mut Span) {
    const ADDRESSES: u32 = 12;
    const TAG_8021Q: u16 = 0x8100;
    let kind = match told.status & libc::TP_STATUS_VLAN_TPID_VALID {
        0 => TAG_8021Q,
        _ => (told.vlan >> 16) as u16,
    };
    let mut head = [0; (ADDRESSES + TAG_BYTES) as usize];
    let (addresses, tag) = head.split_at_mut(ADDRESSES as usize);
    let found = memory.bytes(span.offset, ADDRESSES);
    if found.len() < addresses.len() {
        return;
    }
    addresses.copy_from_slice(found);
    let (first, second) = tag.split_at_mut(2);
    first.copy_from_slice(&kind.to_be_bytes());
    second.copy_from_slice(&(told.vlan as u16).to_be_bytes());
    span.offset -= u64::from(TAG_BYTES);
    span.length += TAG_BYTES;
    mapping.write(span.offset as usize, &head);
}
