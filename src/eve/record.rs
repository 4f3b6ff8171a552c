//! One event as one EVE line: which fields stand in it, and where their values come from.
//!
//! Field names and meanings are those of Suricata 8 (user guide, "EVE JSON format"); what is ours
//! alone stands in the `sluice` object. headers.rs reads the packet. Nothing here allocates.

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::anomaly::{Anomaly, anomaly};
use super::arp::{Arp, arp};
use super::community::{CommunityId, community_id};
use super::files::{FileInfo, Files, fileinfo};
use super::flow::{Flow, NetFlow, NetTcp, Tcp, flow, flow_parts, netflow as one_way};
use super::frame::Frame;
use super::headers::{self, Drop, Ends, Ether, ether};
use super::http;
use super::metadata::{Noted, Traffic};
use super::names;
use super::text::{Address, Base64, Capped, Digest, Printable, Text, Timestamp};
use super::xff::Forwarded;
use super::{AlertInfo, Options, Stored, app, quiet};
use crate::app::AppProtocol;
use crate::config::Eve;
use crate::config::eve::Alert as AlertParts;
use crate::event::{AlertAction, Decided, Event, EventKind};
use crate::packet::{Direction, FlowHandle, Kind, RejectTo, flag};

/// Metadata pairs and references written per alert.
const METADATA_MAX: usize = 64;
/// Bits of a flow id: readers keep JSON numbers in doubles, so Suricata too uses 51.
const FLOW_ID_BITS: u32 = 51;

/// An EVE record. Field order is Suricata's.
#[derive(Serialize, Default)]
pub struct Record<'a> {
    timestamp: Option<Text<Timestamp>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_iface: Option<Capped<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pcap_cnt: Option<u64>,
    event_type: &'static str,
    #[serde(skip_serializing_if = "<[u16]>::is_empty")]
    vlan: &'a [u16],
    #[serde(skip_serializing_if = "Option::is_none")]
    src_ip: Option<Text<Address>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    src_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dest_ip: Option<Text<Address>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dest_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proto: Option<Protocol>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip_v: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp_type: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp_code: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_icmp_type: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_icmp_code: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pkt_src: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tx_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    community_id: Option<Text<CommunityId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ether: Option<Ether>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Noted<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traffic: Option<Traffic<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tunnel: Option<Tunnel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alert: Option<Alert<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ts_progress: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tc_progress: Option<&'static str>,
    #[serde(flatten)]
    app: Option<app::AppObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_proto: Option<Text<&'static str>>,
    #[serde(flatten)]
    protocols: Option<app::Protocols>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fileinfo: Option<FileInfo<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<Files<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    xff: Option<Text<Address>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    direction: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drop: Option<Drop>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arp: Option<Arp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frame: Option<Frame<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    anomaly: Option<Anomaly>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<Verdict>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) flow: Option<Flow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tcp: Option<Tcp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    netflow: Option<NetFlow>,
    #[serde(rename = "tcp", skip_serializing_if = "Option::is_none")]
    nettcp: Option<NetTcp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Text<Base64<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_printable: Option<Text<Printable<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_length: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    packet: Option<Text<Base64<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    packet_info: Option<PacketInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pcap_filename: Option<Capped<'a>>,
    pub(super) sluice: Sluice,
}

/// What only we say.
#[derive(Serialize, Default)]
pub(super) struct Sluice {
    lane: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    would_drop: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) end_reason: Option<&'static str>,
}

/// `proto`: a name, or three digits.
enum Protocol {
    Name(&'static str),
    Number(u8),
}

impl Serialize for Protocol {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Protocol::Name(name) => serializer.serialize_str(name),
            Protocol::Number(number) => serializer.collect_str(&format_args!("{number:03}")),
        }
    }
}

#[derive(Serialize)]
struct Alert<'a> {
    action: &'static str,
    gid: u32,
    signature_id: u32,
    rev: u32,
    signature: Capped<'a>,
    category: Capped<'a>,
    severity: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Endpoint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Endpoint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    references: Option<References<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<Capped<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    xff: Option<Text<Address>>,
}

/// The packet around the one that an alert is about.
#[derive(Serialize)]
struct Tunnel {
    src_ip: Text<Address>,
    src_port: u16,
    dest_ip: Text<Address>,
    dest_port: u16,
    proto: Protocol,
    depth: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    pcap_cnt: Option<u64>,
    pkt_src: &'static str,
}

#[derive(Serialize)]
struct Endpoint {
    ip: Text<Address>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
}

type Pairs<'a> = &'a [(Box<str>, Box<str>)];

/// References as one string each: the system's prefix and the id.
struct References<'a>(Pairs<'a>);

impl Serialize for References<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for (system, id) in self.0.iter().take(METADATA_MAX) {
            let (prefix, mark) = match &**system {
                "url" => ("http://", ""),
                other => (other, ","),
            };
            list.serialize_element(&Text(format_args!("{prefix}{mark}{id}")))?;
        }
        list.end()
    }
}

/// Metadata as an object of lists: a key that stands several times has several values.
struct Metadata<'a>(Pairs<'a>);

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let pairs = self.0.get(..self.0.len().min(METADATA_MAX)).unwrap_or(&[]);
        let mut map = serializer.serialize_map(None)?;
        for (i, (key, _)) in pairs.iter().enumerate() {
            if !pairs.iter().take(i).any(|(before, _)| before == key) {
                map.serialize_entry(&Capped(key), &ValuesOf(key, pairs))?;
            }
        }
        map.end()
    }
}

struct ValuesOf<'a>(&'a str, Pairs<'a>);

impl Serialize for ValuesOf<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let of_key = self.1.iter().filter(|(key, _)| **key == *self.0);
        serializer.collect_seq(of_key.map(|(_, value)| Capped(value)))
    }
}

/// What was decided about the packet, by all its rules together.
#[derive(Serialize)]
struct Verdict {
    action: &'static str,
    #[serde(rename = "reject-target", skip_serializing_if = "Option::is_none")]
    target: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reject: Option<&'static [&'static str]>,
}

#[derive(Serialize)]
struct PacketInfo {
    linktype: u16,
    #[serde(skip_serializing_if = "str::is_empty")]
    linktype_name: &'static str,
}

/// The record of an event, and the signature that it names, if it names one.
pub fn record<'a>(
    event: &'a Event,
    info: Option<AlertInfo<'a>>,
    options: &'a Options,
) -> Record<'a> {
    let forwarded = Forwarded::of(event, &options.eve);
    let ends = forwarded.put(headers::ends(event), event.direction);
    let icmp = headers::icmp_type_and_code(event);
    let of_flow = headers::icmp_of_flow(event, ends);
    let (icmp_request, icmp_answer) = of_flow.unwrap_or_default();
    let known_flow = event.flow.is_some();
    let capture = options
        .pcap_filename
        .as_deref()
        .filter(|_| options.eve.capture);
    let mut record = Record {
        timestamp: Some(Text(Timestamp(event.time_ns))),
        flow_id: known_flow.then(|| flow_id(event.flow, event.values.start_ns)),
        in_iface: interface(event, options),
        pcap_cnt: (event.order != 0).then_some(event.order),
        event_type: event_type(event.kind),
        vlan: vlans(event),
        src_ip: ends.addrs.map(|(src, _)| Text(src)),
        src_port: ends.ports.map(|(src, _)| src),
        dest_ip: ends.addrs.map(|(_, dst)| Text(dst)),
        dest_port: ends.ports.map(|(_, dst)| dst),
        proto: proto(event),
        ip_v: headers::ip_version(event),
        icmp_type: icmp.map(|(kind, _)| kind).or(icmp_request),
        icmp_code: icmp
            .map(|(_, code)| code)
            .or(of_flow.map(|_| event.values.tcp_flags[0])),
        response_icmp_type: icmp_answer,
        // Answers have the code 0 (RFC 792).
        response_icmp_code: icmp_answer.map(|_| 0),
        pcap_filename: capture.map(Capped),
        community_id: community_of(event, options),
        ether: ether(event, options),
        pkt_src: (event.kind != EventKind::Flow).then(|| packet_source(event)),
        sluice: Sluice {
            lane: event.lane,
            would_drop: event.would_drop,
            ..Sluice::default()
        },
        ..Record::default()
    };
    match event.kind {
        EventKind::Alert => alert_parts(&mut record, event, info, ends, options),
        EventKind::Drop => drop_parts(&mut record, event, info, ends, options),
        EventKind::Flow => flow_parts(&mut record, event, &options.names),
        EventKind::Anomaly => {
            record.anomaly = Some(anomaly(event, &options.names));
            record.tx_id = event.app_number;
        }
        EventKind::App | EventKind::Frame => {}
        EventKind::File => record.fileinfo = Some(fileinfo(event)),
        EventKind::Arp => record.arp = arp(event),
        // Bytes for the store are no line.
        EventKind::FilePiece => {}
        EventKind::Packet => packet_parts(&mut record, event, options),
    }
    app_parts(&mut record, event, options);
    match (&mut record.alert, event.kind) {
        (Some(alert), EventKind::Alert) => alert.xff = forwarded.beside(),
        (_, EventKind::File | EventKind::App) => record.xff = forwarded.beside(),
        _ => {}
    }
    record
}

/// The record of one direction of a flow that ended, as seen from its sender.
pub fn netflow<'a>(event: &'a Event, direction: Direction, options: &'a Options) -> Record<'a> {
    let mut record = record(event, None, options);
    record.event_type = "netflow";
    (record.flow, record.tcp, record.protocols, record.ip_v) = (None, None, None, None);
    let (told, tcp) = one_way(event, direction);
    (record.netflow, record.nettcp) = (Some(told), tcp);
    let [to_server, to_client] = event.spoken.sides;
    let side = match direction {
        Direction::ToServer => to_server,
        Direction::ToClient => to_client,
    };
    record.app_proto = app::app_proto(side).or(record.app_proto);
    if direction == Direction::ToClient {
        std::mem::swap(&mut record.src_ip, &mut record.dest_ip);
        std::mem::swap(&mut record.src_port, &mut record.dest_port);
        if record.response_icmp_type.is_some() {
            record.icmp_type = record.response_icmp_type;
            record.icmp_code = record.response_icmp_code;
        }
    }
    (record.response_icmp_type, record.response_icmp_code) = (None, None);
    record
}

impl<'a> Record<'a> {
    /// What rules noted of the flow and its packet.
    pub fn note_variables(&mut self, noted: Option<Noted<'a>>) {
        self.traffic = noted.and_then(Noted::traffic);
        self.metadata = noted.filter(|noted| !noted.is_empty());
    }

    /// A file that was stored is known by the hash that the store computed.
    pub fn note_stored(&mut self, stored: Option<Stored>) {
        if let (Some(file), Some(stored)) = (&mut self.fileinfo, stored) {
            file.sha256 = Some(Text(Digest(stored.sha256)));
            file.stored = true;
            file.file_id = Some(stored.id);
        }
    }
}

/// `event_type` of a kind.
pub fn event_type(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Alert => "alert",
        EventKind::Drop => "drop",
        EventKind::Flow => "flow",
        EventKind::Anomaly => "anomaly",
        // The event is named after its protocol; this is what counters say.
        EventKind::App => "app",
        EventKind::Packet => "packet",
        EventKind::File => "fileinfo",
        EventKind::Arp => "arp",
        EventKind::Frame => "frame",
        EventKind::FilePiece => "file_piece",
    }
}

/// Whether the log has a line for an event.
pub(super) fn is_told(event: &Event, eve: &Eve) -> bool {
    let protocol = AppProtocol::from_number(event.app);
    match event.kind {
        EventKind::App if quiet::is_quiet(event, eve) => false,
        EventKind::App if protocol == AppProtocol::Dns => {
            eve.tells("dns") && eve.dns.sides[usize::from(app::is_dns_response(event))]
        }
        EventKind::App => eve.tells(protocol.event_name()),
        kind => eve.tells(event_type(kind)),
    }
}

fn community_of(event: &Event, options: &Options) -> Option<Text<CommunityId>> {
    let eve = &options.eve;
    let wanted = eve.community_id.then_some(eve.community_seed);
    wanted.and_then(|seed| community_id(event, seed)).map(Text)
}

/// The transaction: nested in an alert, or the event itself.
fn app_parts<'a>(record: &mut Record<'a>, event: &'a Event, options: &'a Options) {
    record.app_proto = app::app_proto(event.app);
    if matches!(event.kind, EventKind::Alert | EventKind::Flow) {
        record.protocols = Some(app::Protocols::of(event));
    }
    if event.kind == EventKind::Alert && !options.eve.alert.app {
        return;
    }
    let Some(transaction) = crate::app::record::Record::new(&event.record) else {
        return;
    };
    if let Some(frame) = transaction.frame() {
        record.frame = Some(Frame::of(frame, transaction.protocol()));
        return;
    }
    match &mut record.fileinfo {
        Some(file) => file.set_record(transaction, event.direction),
        None => record.tx_id = Some(transaction.number()),
    }
    if event.kind == EventKind::Alert {
        record.files = Files::of(transaction);
        (record.ts_progress, record.tc_progress) = http::states(transaction).unzip();
    }
    if event.kind == EventKind::App {
        record.event_type = transaction.protocol().event_name();
    }
    record.app = Some(app::AppObject {
        record: transaction,
        nested: event.kind != EventKind::App,
        eve: &options.eve,
    });
}

fn alert_parts<'a>(
    record: &mut Record<'a>,
    event: &'a Event,
    info: Option<AlertInfo<'a>>,
    ends: Ends,
    options: &'a Options,
) {
    record.tunnel = tunnel(event);
    let told = &options.eve.alert;
    record.alert = Some(alert(event, info, ends, told));
    if event.flow.is_some() {
        record.direction = Some(direction(event.direction));
    }
    if event.flow.is_some() && told.flow {
        let client_first = match event.direction {
            Direction::ToServer => ends,
            Direction::ToClient => ends.swapped(),
        };
        record.flow = Some(flow(event, Some(client_first), None));
    }
    let length = event.payload.len();
    let payload = event.payload.get(..length.min(told.payload_max));
    let payload = payload.filter(|bytes| !bytes.is_empty());
    if told.payload || told.printable {
        record.payload = payload.filter(|_| told.payload).map(|b| Text(Base64(b)));
        let printable = payload.filter(|_| told.printable);
        record.payload_printable = printable.map(|bytes| Text(Printable(bytes)));
        record.stream = Some(u8::from(event.stream));
    }
    record.payload_length = told.payload_length.then_some(length);
    if told.packet {
        packet_parts(record, event, options);
    }
    record.verdict = told.verdict.then(|| verdict(event));
    if let (true, Some(reason)) = (event.would_drop, event.reason) {
        record.sluice.reason = Some(reason.name());
    }
}

/// Where the packet came from; of one in a tunnel, which.
fn packet_source(event: &Event) -> &'static str {
    match (event.outer, event.view) {
        (Some(outer), Kind::Inner) => {
            let ports = [outer.tuple.a_port, outer.tuple.b_port];
            let v6 = outer.flags & flag::IPV6 != 0;
            names::tunnel_source(outer.protocol, v6, ports, event.l3 > 0)
        }
        _ => names::packet_source(event.view),
    }
}

fn tunnel(event: &Event) -> Option<Tunnel> {
    let outer = event.outer?;
    let ends = headers::ends_of(&outer.tuple, outer.flags, outer.protocol);
    let (src, dst) = ends.addrs?;
    let (src_port, dst_port) = ends.ports.unwrap_or((0, 0));
    Some(Tunnel {
        src_ip: Text(src),
        src_port,
        dest_ip: Text(dst),
        dest_port: dst_port,
        proto: numbered(outer.protocol),
        depth: event.depth,
        pcap_cnt: (event.order != 0).then_some(event.order),
        pkt_src: names::packet_source(outer.view),
    })
}

/// The bytes of the packet.
fn packet_parts<'a>(record: &mut Record<'a>, event: &'a Event, options: &Options) {
    if event.packet.is_empty() {
        return;
    }
    // A view that starts at its IP header has no link layer (DLT_RAW).
    let bare = event.l3 == 0 && event.view != Kind::Frame;
    let linktype = if bare {
        12
    } else {
        (options.names.link)(event.link)
    };
    record.packet = Some(Text(Base64(&event.packet)));
    record.packet_info = Some(PacketInfo {
        linktype,
        linktype_name: names::link_name(linktype),
    });
}

fn alert<'a>(
    event: &Event,
    info: Option<AlertInfo<'a>>,
    ends: Ends,
    told: &AlertParts,
) -> Alert<'a> {
    let blocked = event.kind == EventKind::Drop || event.action == AlertAction::Blocked;
    let action = if blocked && !event.would_drop {
        "blocked"
    } else {
        "allowed"
    };
    // A rule set that is gone leaves the alert without its words, not the log without the alert.
    let info = info.unwrap_or_default();
    let (source, target) = match (info.target, ends.addrs) {
        (Some(at_destination), Some((src, dst))) => {
            let end = |ip, port| Endpoint { ip: Text(ip), port };
            let src = end(src, ends.ports.map(|(src, _)| src));
            let dst = end(dst, ends.ports.map(|(_, dst)| dst));
            if at_destination {
                (Some(src), Some(dst))
            } else {
                (Some(dst), Some(src))
            }
        }
        _ => (None, None),
    };
    Alert {
        action,
        gid: info.gid,
        signature_id: info.sid,
        rev: info.rev,
        signature: Capped(info.msg),
        category: Capped(info.category),
        severity: info.severity,
        source,
        target,
        references: (told.references && !info.references.is_empty())
            .then_some(References(info.references)),
        metadata: (told.rule_metadata && !info.metadata.is_empty())
            .then_some(Metadata(info.metadata)),
        rule: info.rule.filter(|_| told.rule).map(Capped),
        xff: None,
    }
}

fn verdict(event: &Event) -> Verdict {
    let rejected = event.decision.reject;
    Verdict {
        action: match event.decision.action {
            Decided::Drop if !event.would_drop => "drop",
            Decided::Pass => "pass",
            _ => "alert",
        },
        target: rejected.map(|to| match to {
            RejectTo::Source => "to_client",
            RejectTo::Destination => "to_server",
            RejectTo::Both => "both",
        }),
        reject: rejected.map(|_| match event.protocol {
            headers::protocol::TCP => &["tcp-reset"][..],
            headers::protocol::UDP | headers::protocol::ICMP | headers::protocol::ICMPV6 => {
                &["icmp-prohib"]
            }
            _ => &[],
        }),
    }
}

fn drop_parts<'a>(
    record: &mut Record<'a>,
    event: &'a Event,
    info: Option<AlertInfo<'a>>,
    ends: Ends,
    options: &Options,
) {
    if event.flow.is_some() {
        record.direction = Some(direction(event.direction));
    }
    if info.is_some() {
        let told = AlertParts {
            references: false,
            ..options.eve.alert
        };
        let alert = alert(event, info, ends, &told);
        // The alert beside it has the text.
        record.alert = Some(Alert {
            rule: None,
            ..alert
        });
    }
    let mut drop = headers::drop_headers(event).unwrap_or_default();
    drop.reason = event.reason.map(names::drop_reason);
    record.drop = Some(drop);
    record.verdict = options.eve.drop_verdict.then(|| verdict(event));
    record.sluice.reason = event.reason.map(|reason| reason.name());
}

fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::ToServer => "to_server",
        Direction::ToClient => "to_client",
    }
}

fn interface<'a>(event: &Event, options: &'a Options) -> Option<Capped<'a>> {
    let name = options.interfaces.get(usize::from(event.port))?;
    (!name.is_empty()).then_some(Capped(name))
}

fn vlans(event: &Event) -> &[u16] {
    event
        .vlans
        .get(..usize::from(event.vlan_count))
        .unwrap_or(&event.vlans)
}

fn proto(event: &Event) -> Option<Protocol> {
    if event.flags & flag::ARP != 0 {
        return Some(Protocol::Name("ARP"));
    }
    headers::ip_version(event)?;
    Some(numbered(event.protocol))
}

fn numbered(protocol: u8) -> Protocol {
    match names::protocol(protocol) {
        Some(name) => Protocol::Name(name),
        None => Protocol::Number(protocol),
    }
}

/// A number for a flow: the same for all of its events, another for the next flow in its slot and
/// after a restart. Never 0. The mixer is splitmix64's (Steele, Lea, Flood 2014).
pub fn flow_id(flow: FlowHandle, start_ns: u64) -> u64 {
    let mut z =
        (u64::from(flow.slot) << 32 | u64::from(flow.generation)) ^ start_ns.rotate_left(17);
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ z >> 31) & ((1 << FLOW_ID_BITS) - 1)).max(1)
}
