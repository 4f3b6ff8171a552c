//! Community ID, version 1 (github.com/corelight/community-id-spec): a flow by one text in the logs of
//! all who watch it.

use std::fmt::{self, Display, Formatter};

use sha1::{Digest as _, Sha1};

use super::headers::protocol;
use super::text::Base64;
use crate::event::Event;
use crate::packet::flag;

/// The SHA-1 of seed, addresses, protocol and ports; shown as `1:` and base64.
pub(super) struct CommunityId([u8; 20]);

impl Display for CommunityId {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "1:{}", Base64(&self.0))
    }
}

/// The Community ID of an event's flow, the same from both sides; `None` without a flow.
pub(super) fn community_id(event: &Event, seed: u16) -> Option<CommunityId> {
    let (v4, v6) = (event.flags & flag::IPV4 != 0, event.flags & flag::IPV6 != 0);
    if !event.flow.is_some() || !(v4 || v6) {
        return None;
    }
    let from = if v4 { 12 } else { 0 };
    let tuple = &event.tuple;
    let mut ends = [
        (tuple.a_addr.get(from..)?, tuple.a_port),
        (tuple.b_addr.get(from..)?, tuple.b_port),
    ];
    ends.sort_unstable();
    let mut hash = Sha1::new();
    hash.update(seed.to_be_bytes());
    ends.iter().for_each(|(addr, _)| hash.update(addr));
    hash.update([event.protocol, 0]);
    // Of ICMP the tuple holds the types of question and answer.
    let has_ports = matches!(
        event.protocol,
        protocol::TCP | protocol::UDP | protocol::SCTP | protocol::ICMP | protocol::ICMPV6
    );
    for (_, port) in ends.iter().filter(|_| has_ports) {
        hash.update(port.to_be_bytes());
    }
    Some(CommunityId(hash.finalize().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{FlowHandle, Tuple};

    fn event(protocol: u8, ends: [([u8; 4], u16); 2]) -> Event {
        let addr = |bytes: [u8; 4]| {
            let mut addr = [0; 16];
            addr[12..].copy_from_slice(&bytes);
            addr
        };
        let [(a, a_port), (b, b_port)] = ends;
        let (a_addr, b_addr) = (addr(a), addr(b));
        let tuple = Tuple {
            a_addr,
            a_port,
            b_addr,
            b_port,
            ..Tuple::default()
        };
        let flow = FlowHandle {
            slot: 1,
            generation: 1,
        };
        Event {
            flow,
            tuple,
            protocol,
            flags: flag::IPV4,
            ..Event::default()
        }
    }

    /// Values that the specification's baseline lists.
    #[test]
    fn flows_have_the_specification_s_ids() {
        let tcp = [([128, 232, 110, 120], 34855), ([66, 35, 250, 204], 80)];
        let udp = [([192, 168, 1, 52], 54585), ([8, 8, 8, 8], 53)];
        let echo = [([192, 168, 0, 89], 8), ([192, 168, 0, 1], 0)];
        for (protocol, ends, seed, id) in [
            (6, tcp, 0, "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
            (6, tcp, 1, "1:3V71V58M3Ksw/yuFALMcW0LAHvc="),
            (17, udp, 0, "1:d/FP5EW3wiY1vCndhwleRRKHowQ="),
            (1, echo, 0, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="),
        ] {
            for ends in [ends, [ends[1], ends[0]]] {
                let found = community_id(&event(protocol, ends), seed);
                assert_eq!(found.unwrap().to_string(), id);
            }
        }
        let mut none = event(6, tcp);
        none.flow = FlowHandle::NONE;
        assert!(community_id(&none, 0).is_none());
    }
}
