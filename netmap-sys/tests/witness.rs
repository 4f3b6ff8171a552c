//! Compares what both bind with the crate `netmap_sys` of crates.io, which others wrote from the
//! same headers (of API 11, whose slots, rings and interfaces are today's). What is new in API 14
//! it lacks; that part stands on the asserts of the library alone, and on a real kernel.

use core::mem::{offset_of, size_of};

use netmap_sys as ours;
use theirs::netmap as old;

#[test]
fn memory_lies_as_others_have_it() {
    assert_eq!(size_of::<ours::NetmapSlot>(), size_of::<old::netmap_slot>());
    assert_eq!(size_of::<ours::NetmapIf>(), size_of::<old::netmap_if>());
    macro_rules! same {
        ($($ours:ident.$field:ident = $theirs:ident.$name:ident;)+) => {
            $(assert_eq!(
                offset_of!(ours::$ours, $field),
                offset_of!(old::$theirs, $name),
                stringify!($ours.$field)
            );)+
        };
    }
    same! {
        NetmapSlot.buf_idx = netmap_slot.buf_idx;
        NetmapSlot.len = netmap_slot.len;
        NetmapSlot.flags = netmap_slot.flags;
        NetmapSlot.ptr = netmap_slot.ptr;
        NetmapRing.buf_ofs = netmap_ring.buf_ofs;
        NetmapRing.num_slots = netmap_ring.num_slots;
        NetmapRing.nr_buf_size = netmap_ring.nr_buf_size;
        NetmapRing.head = netmap_ring.head;
        NetmapRing.cur = netmap_ring.cur;
        NetmapRing.tail = netmap_ring.tail;
        NetmapRing.flags = netmap_ring.flags;
        NetmapRing.ts = netmap_ring.ts;
        NetmapIf.ni_tx_rings = netmap_if.ni_tx_rings;
        NetmapIf.ni_rx_rings = netmap_if.ni_rx_rings;
        NetmapIf.ni_bufs_head = netmap_if.ni_bufs_head;
    }
}

#[test]
fn numbers_are_the_ones_others_have() {
    assert_eq!(u64::from(ours::NIOCTXSYNC), old::NIOCTXSYNC as u64);
    assert_eq!(u64::from(ours::NIOCRXSYNC), old::NIOCRXSYNC as u64);
    assert_eq!(
        u64::from(ours::slot::BUF_CHANGED),
        old::NS_BUF_CHANGED as u64
    );
    assert_eq!(u64::from(ours::slot::MOREFRAG), old::NS_MOREFRAG as u64);
    assert_eq!(u64::from(ours::slot::INDIRECT), old::NS_INDIRECT as u64);
    assert_eq!(ours::mode::ONE_NIC as u64, old::NR_REG_ONE_NIC as u64);
    assert_eq!(ours::mode::SW as u64, old::NR_REG_SW as u64);
}
