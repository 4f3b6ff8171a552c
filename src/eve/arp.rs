//! A packet of ARP as the `arp` object of EVE (RFC 826); decode lets through those for IPv4 over
//! Ethernet alone.

use serde::Serialize;

use super::text::{Address, Mac, Text};
use crate::decode::arp::Arp as Header;
use crate::event::Event;

/// The object.
#[derive(Serialize)]
pub(super) struct Arp {
    hw_type: &'static str,
    proto_type: &'static str,
    opcode: &'static str,
    src_mac: Text<Mac>,
    src_ip: Text<Address>,
    dest_mac: Text<Mac>,
    dest_ip: Text<Address>,
}

/// That of an event which has the packet.
pub(super) fn arp(event: &Event) -> Option<Arp> {
    let header = Header::at(&event.packet, event.l3)?;
    Some(Arp {
        hw_type: "ethernet",
        proto_type: "ipv4",
        opcode: match header.operation() {
            1 => "request",
            2 => "reply",
            3 => "request_reverse",
            4 => "reply_reverse",
            _ => "unknown",
        },
        src_mac: Text(Mac(header.sender_mac())),
        src_ip: Text(Address::V4(header.sender_ip())),
        dest_mac: Text(Mac(header.target_mac())),
        dest_ip: Text(Address::V4(header.target_ip())),
    })
}
