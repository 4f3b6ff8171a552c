//! `flow` and `tcp`: a flow as of an alert, or at its end.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::headers::{Ends, protocol};
use super::names::{self, Names};
use super::record::Record;
use super::text::{Address, Hex, Text, Timestamp};
use crate::event::Event;
use crate::packet::{Direction, flag};

/// The flow as of an alert, or at its end.
#[derive(Serialize)]
pub(super) struct Flow {
    pkts_toserver: u32,
    pkts_toclient: u32,
    bytes_toserver: u64,
    bytes_toclient: u64,
    start: Text<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    src_ip: Option<Text<Address>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dest_ip: Option<Text<Address>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    src_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dest_port: Option<u16>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    end: Option<FlowEnd>,
}

#[derive(Serialize)]
pub(super) struct FlowEnd {
    end: Text<Timestamp>,
    age: u64,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bypass: Option<&'static str>,
    reason: &'static str,
    alerted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    elephant: Option<bool>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    elephant_direction: &'static [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tx_cnt: Option<u32>,
}

/// One direction of a flow, at its end.
#[derive(Serialize)]
pub(super) struct NetFlow {
    pkts: u32,
    bytes: u64,
    start: Text<Timestamp>,
    end: Text<Timestamp>,
    age: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tx_cnt: Option<u32>,
}

/// TCP of one direction.
#[derive(Serialize)]
pub(super) struct NetTcp {
    tcp_flags: Text<Hex>,
    #[serde(flatten)]
    seen: TcpFlags,
}

/// One direction of a flow, and its flags of TCP.
pub(super) fn netflow(event: &Event, direction: Direction) -> (NetFlow, Option<NetTcp>) {
    let (values, way) = (&event.values, direction.index());
    let flags = values.tcp_flags[way];
    let told = NetFlow {
        pkts: values.packets[way],
        bytes: values.bytes[way],
        start: Text(Timestamp(values.start_ns)),
        end: Text(Timestamp(values.last_ns)),
        age: age(event),
        tx_cnt: tx_count(event),
    };
    let tcp = (event.protocol == protocol::TCP).then_some(NetTcp {
        tcp_flags: Text(Hex(flags)),
        seen: TcpFlags(flags),
    });
    (told, tcp)
}

/// Seconds from a flow's first packet to its last.
fn age(event: &Event) -> u64 {
    let second = |ns: u64| ns / 1_000_000_000;
    second(event.values.last_ns).saturating_sub(second(event.values.start_ns))
}

fn tx_count(event: &Event) -> Option<u32> {
    Some(event.spoken.transactions).filter(|count| *count > 0)
}

/// TCP of a flow: flags seen, in all and per direction, and the last state.
#[derive(Serialize)]
pub(super) struct Tcp {
    tcp_flags: Text<Hex>,
    tcp_flags_ts: Text<Hex>,
    tcp_flags_tc: Text<Hex>,
    #[serde(flatten)]
    seen: TcpFlags,
    #[serde(skip_serializing_if = "str::is_empty")]
    state: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    tc_gap: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    ts_gap: bool,
}

/// The flags that were seen; one that was not is left out.
struct TcpFlags(u8);

impl Serialize for TcpFlags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const NAMES: [&str; 8] = ["fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr"];
        let mut map = serializer.serialize_map(None)?;
        for (bit, name) in NAMES.iter().enumerate() {
            if self.0 >> bit & 1 != 0 {
                map.serialize_entry(name, &true)?;
            }
        }
        map.end()
    }
}

pub(super) fn flow_parts(record: &mut Record<'_>, event: &Event, names: &Names) {
    let values = &event.values;
    let state_name = (names.tcp_state)(values.tcp_state);
    let end_reason = (names.end_reason)(values.end_reason);
    let bypassed = event.flags & flag::BYPASS != 0;
    let over = matches!(state_name, "closed" | "time_wait" | "last_ack");
    let closed = event.protocol == protocol::TCP && over;
    let state = if bypassed {
        "bypassed"
    } else if closed {
        "closed"
    } else if event.flags & flag::ESTABLISHED != 0 {
        "established"
    } else {
        "new"
    };
    record.sluice.end_reason = Some(end_reason);
    record.flow = Some(flow(
        event,
        None,
        Some(FlowEnd {
            end: Text(Timestamp(values.last_ns)),
            age: age(event),
            state,
            bypass: bypassed.then_some("local"),
            reason: names::eve_end_reason(end_reason),
            alerted: event.alerted,
            elephant: (values.elephant != 0).then_some(true),
            elephant_direction: names::elephant_directions(values.elephant),
            action: if event.flags & flag::DROP_FLOW != 0 {
                Some("drop")
            } else {
                (event.flags & flag::PASS_FLOW != 0).then_some("pass")
            },
            tx_cnt: tx_count(event),
        }),
    ));
    if event.protocol == protocol::TCP {
        let [to_server, to_client] = values.tcp_flags;
        record.tcp = Some(Tcp {
            tcp_flags: Text(Hex(to_server | to_client)),
            tcp_flags_ts: Text(Hex(to_server)),
            tcp_flags_tc: Text(Hex(to_client)),
            seen: TcpFlags(to_server | to_client),
            state: state_name,
            tc_gap: values.gaps & 2 != 0,
            ts_gap: values.gaps & 1 != 0,
        });
    }
}

pub(super) fn flow(event: &Event, client_first: Option<Ends>, end: Option<FlowEnd>) -> Flow {
    let [to_server, to_client] = event.values.packets;
    let [bytes_to_server, bytes_to_client] = event.values.bytes;
    let addrs = client_first.and_then(|ends| ends.addrs);
    let ports = client_first.and_then(|ends| ends.ports);
    Flow {
        pkts_toserver: to_server,
        pkts_toclient: to_client,
        bytes_toserver: bytes_to_server,
        bytes_toclient: bytes_to_client,
        start: Text(Timestamp(event.values.start_ns)),
        src_ip: addrs.map(|(src, _)| Text(src)),
        dest_ip: addrs.map(|(_, dst)| Text(dst)),
        src_port: ports.map(|(src, _)| src),
        dest_port: ports.map(|(_, dst)| dst),
        end,
    }
}
