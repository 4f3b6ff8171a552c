//! Tests of the EVE writer: golden lines, field names against Suricata's, hostile bytes, files.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::decode::LinkType;
use crate::event::{AlertAction, Decided, Decision, Emit, Outer, Spoken};
use crate::packet::{Direction, FlowHandle, FlowValues, Kind, RejectTo, Tuple, flag};
use crate::reason::Reason;

/// 2026-11-25T16:51:52.123456 UTC.
const TIME: u64 = 1_795_625_512_123_456_789;

struct Rules {
    metadata: Vec<(Box<str>, Box<str>)>,
    references: Vec<(Box<str>, Box<str>)>,
    msg: String,
}

fn pair(key: &str, value: &str) -> (Box<str>, Box<str>) {
    (key.into(), value.into())
}

fn rules() -> Rules {
    Rules {
        metadata: vec![
            pair("created_at", "2010_07_30"),
            pair("mitre", "T1059"),
            pair("mitre", "T1060"),
        ],
        references: vec![pair("url", "example.org/x"), pair("cve", "2026-1")],
        msg: "EVIL \"quoted\" thing".to_string(),
    }
}

impl SignatureInfo for Rules {
    fn alert(&self, generation: u32, index: u32, show: &mut dyn FnMut(AlertInfo<'_>)) {
        if (generation, index) == (1, 7) {
            show(AlertInfo {
                sid: 2_100_498,
                gid: 1,
                rev: 7,
                msg: &self.msg,
                category: "Potentially Bad Traffic",
                classtype: "bad-unknown",
                severity: 2,
                metadata: &self.metadata,
                references: &self.references,
                rule: Some("alert ip any any"),
                target: Some(true),
            });
        }
    }
}

fn mapped(a: u8, b: u8, c: u8, d: u8) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

/// A TCP segment 10.0.0.2:80 -> 10.0.0.1:4000 (from the server), VLAN 5, on port 1.
fn event(kind: EventKind) -> Event {
    let mut frame = Vec::new();
    etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
        .single_vlan(5.try_into().unwrap())
        .ipv4([10, 0, 0, 2], [10, 0, 0, 1], 61)
        .tcp(80, 4000, 0x0102_0304, 512)
        .ack(0x0506_0708)
        .psh()
        .write(&mut frame, b"uid=0(root)\n\0\xff")
        .unwrap();
    let mut event = Event {
        kind,
        time_ns: TIME,
        order: 12,
        flow: FlowHandle {
            slot: 3,
            generation: 9,
        },
        flags: flag::IPV4 | flag::TRANSPORT | flag::REVERSED | flag::ESTABLISHED,
        protocol: 6,
        direction: Direction::ToClient,
        port: 1,
        vlan_count: 1,
        vlans: [5, 0, 0],
        lane: 2,
        signature: u32::MAX,
        l3: 18,
        l4: 38,
        link: LinkType::Ethernet as u8,
        packet: frame,
        values: FlowValues {
            packets: [4, 3],
            bytes: [400, 300],
            start_ns: TIME - 2_500_000_000,
            last_ns: TIME,
            tcp_state: 11,
            tcp_flags: [0x1b, 0x13],
            ..FlowValues::default()
        },
        ..Event::default()
    };
    event.tuple.a_addr = mapped(10, 0, 0, 1);
    event.tuple.b_addr = mapped(10, 0, 0, 2);
    (event.tuple.a_port, event.tuple.b_port) = (4000, 80);
    event
}

fn alert() -> Event {
    let mut event = event(EventKind::Alert);
    event.generation = 1;
    event.signature = 7;
    event.action = AlertAction::Blocked;
    event.set_payload(b"uid=0(root)\n\0\xff");
    event
}

fn tell_all(options: &mut Options) {
    let alert = &mut options.eve.alert;
    (
        alert.payload,
        alert.printable,
        alert.packet,
        alert.references,
        alert.rule,
    ) = (true, true, true, true, true);
}

fn options() -> Options {
    Options {
        interfaces: vec!["eth0".to_string(), "eth1".to_string()],
        ..Options::new(Target::Stdout)
    }
}

fn text_of(event: &Event, options: &Options) -> String {
    let mut buffer = Vec::new();
    encode(event, Beside::default(), &rules(), options, &mut buffer);
    String::from_utf8(buffer).unwrap()
}

fn id() -> u64 {
    let event = event(EventKind::Alert);
    flow_id(event.flow, event.values.start_ns)
}

fn value_of(event: &Event, options: &Options) -> Value {
    serde_json::from_str(&text_of(event, options)).unwrap()
}

#[test]
fn an_alert_in_a_tunnel_tells_of_the_packet_around_it() {
    let mut event = alert();
    (event.view, event.depth) = (Kind::Inner, 1);
    assert!(value_of(&event, &options())["tunnel"].is_null());
    event.outer = Some(Outer {
        tuple: Tuple {
            a_addr: mapped(192, 0, 2, 1),
            b_addr: mapped(192, 0, 2, 2),
            a_port: 4789,
            b_port: 5000,
            protocol: 17,
            scope: [0; 3],
        },
        flags: flag::IPV4 | flag::TRANSPORT | flag::REVERSED,
        protocol: 17,
        view: Kind::Frame,
    });
    let expected = serde_json::json!({
        "src_ip": "192.0.2.2", "src_port": 5000, "dest_ip": "192.0.2.1", "dest_port": 4789,
        "proto": "UDP", "depth": 1, "pcap_cnt": 12, "pkt_src": "wire/pcap",
    });
    let value = value_of(&event, &options());
    assert_eq!(value["tunnel"], expected);
    assert_eq!(value["pkt_src"], "vxlan encapsulation");
    for (protocol, source) in [(47, "gre tunnel"), (4, "ipv4 tunnel"), (41, "ipv4 tunnel")] {
        event.outer.as_mut().unwrap().protocol = protocol;
        assert_eq!(value_of(&event, &options())["pkt_src"], source);
    }
}

/// Expectations of these tests are read from Suricata 8.0.6: `EveAddAppProto`, `EveFlowLogJSON`,
/// `EveAddVerdict`, `AnomalyAppLayerDecoderEventJson` and the logger of `netflow`.
fn spoken(sides: [crate::app::AppProtocol; 2], transactions: u32) -> Spoken {
    Spoken {
        sides: sides.map(|side| side as u8),
        transactions,
        ..Spoken::default()
    }
}

#[test]
fn a_flow_tells_what_it_spoke() {
    use crate::app::AppProtocol as P;
    let mut event = event(EventKind::Flow);
    event.app = P::Http as u8;
    event.spoken = spoken([P::Http, P::Failed], 3);
    event.values.gaps = 2;
    let value = value_of(&event, &options());
    assert_eq!(
        (&value["app_proto"], &value["app_proto_tc"]),
        (&"http".into(), &"failed".into())
    );
    assert!(value.get("app_proto_ts").is_none() && value.get("app_proto_orig").is_none());
    assert_eq!(value["flow"]["tx_cnt"], 3);
    assert_eq!(
        (&value["tcp"]["tc_gap"], value["tcp"].get("ts_gap")),
        (&true.into(), None)
    );
    (event.kind, event.app) = (EventKind::Alert, P::Tls as u8);
    event.spoken = Spoken {
        original: P::Smtp as u8,
        expected: P::Tls as u8,
        ..spoken([P::Tls; 2], 1)
    };
    let value = value_of(&event, &options());
    assert_eq!(
        (&value["app_proto"], &value["app_proto_orig"]),
        (&"tls".into(), &"smtp".into())
    );
    assert!(value.get("app_proto_expected").is_none());
    event.app = P::Http as u8;
    let value = value_of(&event, &options());
    assert_eq!(value["app_proto_expected"], "tls");
}

#[test]
fn the_verdict_is_told_where_it_is_asked_for() {
    let mut options = options();
    assert!(value_of(&alert(), &options).get("verdict").is_none());
    options.eve.alert.verdict = true;
    options.eve.drop_verdict = true;
    let told = |action, reject, options: &Options| {
        let mut event = alert();
        event.decision = Decision { action, reject };
        value_of(&event, options)["verdict"].clone()
    };
    let verdict = |action| serde_json::json!({ "action": action });
    assert_eq!(told(Decided::Alert, None, &options), verdict("alert"));
    assert_eq!(told(Decided::Pass, None, &options), verdict("pass"));
    assert_eq!(told(Decided::Drop, None, &options), verdict("drop"));
    let rejected = serde_json::json!({"action": "drop", "reject-target": "to_server",
        "reject": ["tcp-reset"]});
    let to = Some(RejectTo::Destination);
    assert_eq!(told(Decided::Drop, to, &options), rejected);
    let mut event = event(EventKind::Drop);
    event.decision.action = Decided::Drop;
    assert_eq!(value_of(&event, &options)["verdict"], verdict("drop"));
}

#[test]
fn anomalies_of_parsers_name_their_layer() {
    use crate::app::{AppEvent, AppProtocol as P};
    let mut event = event(EventKind::Anomaly);
    for (number, transaction, protocol, name, layer) in [
        (
            AppEvent(2),
            None,
            P::Http,
            "APPLAYER_DETECT_PROTOCOL_ONLY_ONE_DIRECTION",
            "proto_detect",
        ),
        (
            AppEvent::of(P::Smtp, 0),
            Some(4),
            P::Smtp,
            "INVALID_REPLY",
            "proto_parser",
        ),
        (
            AppEvent::of(P::Ntp, 0),
            None,
            P::Ntp,
            "malformed_data",
            "parser",
        ),
    ] {
        (event.app_event, event.app_number) = (Some(number.0), transaction);
        event.app = protocol as u8;
        let value = value_of(&event, &options());
        let expected = serde_json::json!({"app_proto": protocol.name(), "type": "applayer",
            "event": name, "layer": layer});
        assert_eq!(value["anomaly"], expected);
        assert_eq!(
            value.get("tx_id").and_then(Value::as_u64),
            transaction.map(u64::from)
        );
    }
}

#[test]
fn each_direction_of_a_flow_may_have_a_line() {
    let told = |event: &Event, direction| {
        let mut buffer = Vec::new();
        let beside = Beside {
            stored: None,
            netflow: Some(direction),
        };
        encode(event, beside, &rules(), &options(), &mut buffer);
        serde_json::from_slice::<Value>(&buffer).unwrap()
    };
    let mut event = event(EventKind::Flow);
    event.view = Kind::FlowEnd;
    event.packet.clear();
    event.direction = Direction::ToServer;
    event.flags &= !flag::REVERSED;
    event.spoken.transactions = 2;
    let value = told(&event, Direction::ToClient);
    assert_eq!(value["event_type"], "netflow");
    assert_eq!(
        (&value["src_ip"], &value["src_port"]),
        (&"10.0.0.2".into(), &80.into())
    );
    let netflow = &value["netflow"];
    assert_eq!(
        (&netflow["pkts"], &netflow["bytes"]),
        (&3.into(), &300.into())
    );
    assert_eq!(
        (&netflow["age"], &netflow["tx_cnt"]),
        (&3.into(), &2.into())
    );
    assert_eq!(value["tcp"]["tcp_flags"], "13");
    assert!(value.get("flow").is_none() && value["tcp"].get("state").is_none());
    let value = told(&event, Direction::ToServer);
    assert_eq!(
        (&value["dest_ip"], &value["netflow"]["pkts"]),
        (&"10.0.0.2".into(), &4.into())
    );
}

/// An alert with a transaction of HTTP whose client stands behind a proxy.
fn forwarded(chain: &[u8], direction: Direction) -> Event {
    use crate::app::{AppProtocol, Field};
    let mut event = alert();
    if direction == Direction::ToServer {
        event.direction = direction;
        event.flags ^= flag::REVERSED;
        event.packet.clear();
    }
    event.record = vec![AppProtocol::Http as u8, 0, 0, 0, 0];
    event.record.extend((Field::HttpXff as u16).to_le_bytes());
    event.record.push(0);
    event.record.extend((chain.len() as u16).to_le_bytes());
    event.record.extend(chain);
    event
}

#[test]
fn clients_behind_proxies_stand_beside_or_in_place() {
    let with = |settings: &[(&str, &str)]| {
        let mut config = crate::config::Config::default();
        for (key, value) in settings {
            config
                .set(&format!("outputs.eve-log.xff.{key}"), value)
                .unwrap();
        }
        Options {
            eve: config.eve.clone(),
            ..options()
        }
    };
    let event = forwarded(b"192.0.2.1, 192.0.2.2", Direction::ToServer);
    assert!(value_of(&event, &with(&[]))["alert"].get("xff").is_none());
    let value = value_of(&event, &with(&[("enabled", "yes")]));
    assert_eq!(value["alert"]["xff"], "192.0.2.2");
    assert_eq!(value["src_ip"], "10.0.0.1");
    let overwrite = [
        ("enabled", "yes"),
        ("mode", "overwrite"),
        ("deployment", "forward"),
    ];
    let value = value_of(&event, &with(&overwrite));
    assert_eq!(
        (&value["src_ip"], &value["dest_ip"]),
        (&"192.0.2.1".into(), &"10.0.0.2".into())
    );
    assert_eq!(value["flow"]["src_ip"], "192.0.2.1");
    assert!(value["alert"].get("xff").is_none());
    let event = forwarded(b"192.0.2.1", Direction::ToClient);
    let value = value_of(&event, &with(&overwrite));
    assert_eq!(
        (&value["src_ip"], &value["dest_ip"]),
        (&"10.0.0.2".into(), &"192.0.2.1".into())
    );
}

/// RFC 826: who has 10.0.0.2?
#[test]
fn a_packet_of_arp_is_told_by_its_fields() {
    let mut event = event(EventKind::Arp);
    event.flags = flag::ARP;
    event.packet = vec![
        0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2,
    ];
    event.l3 = 0;
    let value = value_of(&event, &options());
    assert_eq!(value["event_type"], "arp");
    assert_eq!(
        value["arp"],
        serde_json::json!({"hw_type": "ethernet", "proto_type": "ipv4", "opcode": "request",
            "src_mac": "02:00:00:00:00:01", "src_ip": "10.0.0.1",
            "dest_mac": "00:00:00:00:00:00", "dest_ip": "10.0.0.2"})
    );
}

#[test]
fn sides_of_dns_and_forms_of_its_answers_are_chosen() {
    use crate::app::{AppProtocol, Field};
    let message = |flags: u8| {
        let mut event = event(EventKind::App);
        event.app = AppProtocol::Dns as u8;
        let mut bytes = vec![0, 7, flags, 0, 0, 1, 0, u8::from(flags > 0), 0, 0, 0, 0];
        bytes.extend([1, b'a', 0, 0, 1, 0, 1]);
        if flags > 0 {
            bytes.extend([1, b'a', 0, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 0, 0, 3]);
        }
        event.record = vec![AppProtocol::Dns as u8, 0, 0, 0, 0];
        event
            .record
            .extend((Field::DnsMessage as u16).to_le_bytes());
        // From a server.
        event.record.push(u8::from(flags > 0));
        event.record.extend((bytes.len() as u16).to_le_bytes());
        event.record.extend(bytes);
        event
    };
    let with = |key: &str, value: &str| {
        let mut config = crate::config::Config::default();
        let key = format!("outputs.eve-log.types.4.dns.{key}");
        config.set(&key, value).unwrap();
        Options {
            eve: config.eve.clone(),
            ..options()
        }
    };
    let told = |flags, options: &Options| record::is_told(&message(flags), &options.eve);
    let answers = with("requests", "no");
    assert!(!told(0, &answers) && told(0x80, &answers));
    let questions = with("responses", "no");
    assert!(told(0, &questions) && !told(0x80, &questions));
    let value = value_of(&message(0x80), &with("formats", "[grouped]"));
    assert_eq!(value["dns"]["grouped"]["A"][0], "10.0.0.3");
    assert!(value["dns"].get("answers").is_none());
    let value = value_of(&message(0x80), &with("formats", "[detailed]"));
    assert_eq!(value["dns"]["answers"][0]["rdata"], "10.0.0.3");
    assert!(value["dns"].get("grouped").is_none());
}

#[test]
fn a_tagged_packet_is_a_record_with_its_bytes() {
    let value = value_of(&event(EventKind::Packet), &options());
    assert_eq!(value["event_type"], "packet");
    assert!(value["packet"].as_str().is_some_and(|text| text.len() > 60));
    assert_eq!(value["packet_info"]["linktype_name"], "EN10MB");
    assert!(value["alert"].is_null() && value["payload"].is_null());
}

#[test]
fn the_end_of_a_flow_says_what_was_done_to_it() {
    for (bits, action) in [
        (0, Value::Null),
        (flag::DROP_FLOW, "drop".into()),
        (flag::PASS_FLOW, "pass".into()),
    ] {
        let mut event = event(EventKind::Flow);
        event.flags |= bits;
        assert_eq!(value_of(&event, &options())["flow"]["action"], action);
    }
}

#[test]
fn alerts_are_counted_by_class_type_within_a_bound() {
    let counts = AlertCounts::default();
    assert_eq!(counts.read(), [("none".into(), [0, 0])]);
    counts.count("", true);
    counts.count("trojan-activity", false);
    counts.count("trojan-activity", true);
    assert_eq!(
        counts.read(),
        [("none".into(), [0, 1]), ("trojan-activity".into(), [1, 1])]
    );
    for number in 0..2 * CLASSTYPES_MAX {
        counts.count(&format!("class-{number}"), false);
    }
    let read = counts.read();
    assert!(read.len() <= CLASSTYPES_MAX + 1);
    let sum: u64 = read.iter().flat_map(|(_, pair)| pair).sum();
    assert_eq!(sum, 3 + 2 * CLASSTYPES_MAX as u64);
}

#[test]
fn matches_are_counted_by_rule_and_the_most_frequent_are_shown() {
    let matches = RuleMatches::default();
    for (sid, count) in [(7, 3), (5, 1), (6, 3)] {
        (0..count).for_each(|_| matches.count(1, sid));
    }
    assert_eq!(matches.most(2), [(1, 6, 3), (1, 7, 3)]);
    for sid in 0..2 * RULES_MAX as u32 {
        matches.count(3, sid);
    }
    assert_eq!(matches.most(usize::MAX).len(), RULES_MAX);
}

#[test]
fn an_alert_is_this_line() {
    let mut options = options();
    tell_all(&mut options);
    let mut event = alert();
    event.packet.truncate(24);
    (event.flags, event.stream) = (event.flags & !flag::TRANSPORT, true);
    let want = format!(
        concat!(
            r#"{{"timestamp":"2026-11-25T16:51:52.123456+0000","flow_id":{id},"in_iface":"eth1","#,
            r#""pcap_cnt":12,"event_type":"alert","vlan":[5],"src_ip":"10.0.0.2","src_port":80,"#,
            r#""dest_ip":"10.0.0.1","dest_port":4000,"proto":"TCP","ip_v":4,"#,
            r#""pkt_src":"wire/pcap","alert":{{"action":"blocked","gid":1,"#,
            r#""signature_id":2100498,"rev":7,"signature":"EVIL \"quoted\" thing","#,
            r#""category":"Potentially Bad Traffic","severity":2,"#,
            r#""source":{{"ip":"10.0.0.2","port":80}},"target":{{"ip":"10.0.0.1","port":4000}},"#,
            r#""references":["http://example.org/x","cve,2026-1"],"#,
            r#""metadata":{{"created_at":["2010_07_30"],"mitre":["T1059","T1060"]}},"rule":"alert ip any any"}},"#,
            r#""direction":"to_client","flow":{{"pkts_toserver":4,"pkts_toclient":3,"#,
            r#""bytes_toserver":400,"bytes_toclient":300,"#,
            r#""start":"2026-11-25T16:51:49.623456+0000","src_ip":"10.0.0.1","#,
            r#""dest_ip":"10.0.0.2","src_port":4000,"dest_port":80}},"#,
            r#""payload":"dWlkPTAocm9vdCkKAP8=","payload_printable":"uid=0(root)\n..","#,
            r#""stream":1,"packet":"BAQEBAQEAgICAgICgQAABQgARQAANgAA","#,
            r#""packet_info":{{"linktype":1,"linktype_name":"EN10MB"}},"#,
            r#""sluice":{{"lane":2}}}}"#,
            "\n"
        ),
        id = id()
    );
    assert_eq!(text_of(&event, &options), want);
}

#[test]
fn a_drop_is_this_line() {
    let mut event = event(EventKind::Drop);
    event.reason = Some(Reason::TcpPawsOld);
    let want = format!(
        concat!(
            r#"{{"timestamp":"2026-11-25T16:51:52.123456+0000","flow_id":{id},"in_iface":"eth1","#,
            r#""pcap_cnt":12,"event_type":"drop","vlan":[5],"src_ip":"10.0.0.2","src_port":80,"#,
            r#""dest_ip":"10.0.0.1","dest_port":4000,"proto":"TCP","ip_v":4,"#,
            r#""pkt_src":"wire/pcap","direction":"to_client","drop":{{"len":54,"tos":0,"#,
            r#""ttl":61,"ipid":0,"tcpseq":16909060,"tcpack":84281096,"tcpwin":512,"#,
            r#""syn":false,"ack":true,"psh":true,"rst":false,"urg":false,"fin":false,"#,
            r#""tcpres":0,"tcpurgp":0,"reason":"stream error"}},"#,
            r#""sluice":{{"lane":2,"reason":"tcp_paws_old"}}}}"#,
            "\n"
        ),
        id = id()
    );
    assert_eq!(text_of(&event, &options()), want);
}

#[test]
fn a_drop_by_a_signature_names_it() {
    let mut event = alert();
    event.kind = EventKind::Drop;
    event.reason = Some(Reason::Rule);
    let value: Value = serde_json::from_str(&text_of(&event, &options())).unwrap();
    assert_eq!(value["alert"]["signature_id"], 2_100_498);
    assert_eq!(value["alert"]["action"], "blocked");
    assert_eq!(value["drop"]["reason"], "rules");
}

#[test]
fn a_flow_is_this_line() {
    let mut event = event(EventKind::Flow);
    event.view = Kind::FlowEnd;
    (event.order, event.alerted) = (0, true);
    event.packet.clear();
    event.values.end_reason = 2;
    let want = format!(
        concat!(
            r#"{{"timestamp":"2026-11-25T16:51:52.123456+0000","flow_id":{id},"in_iface":"eth1","#,
            r#""event_type":"flow","vlan":[5],"src_ip":"10.0.0.1","src_port":4000,"#,
            r#""dest_ip":"10.0.0.2","dest_port":80,"proto":"TCP","ip_v":4,"#,
            r#""flow":{{"pkts_toserver":4,"pkts_toclient":3,"bytes_toserver":400,"#,
            r#""bytes_toclient":300,"start":"2026-11-25T16:51:49.623456+0000","#,
            r#""end":"2026-11-25T16:51:52.123456+0000","age":3,"state":"closed","#,
            r#""reason":"tcp_reuse","alerted":true}},"tcp":{{"tcp_flags":"1b","#,
            r#""tcp_flags_ts":"1b","tcp_flags_tc":"13","fin":true,"syn":true,"psh":true,"#,
            r#""ack":true,"state":"closed"}},"#,
            r#""sluice":{{"lane":2,"end_reason":"closed"}}}}"#,
            "\n"
        ),
        id = id()
    );
    assert_eq!(text_of(&event, &options()), want);
    event.values.elephant = 3;
    let flow = &value_of(&event, &options())["flow"];
    assert_eq!(flow["elephant"], true);
    let both = serde_json::json!(["toserver", "toclient"]);
    assert_eq!(flow["elephant_direction"], both);
}

#[test]
fn an_anomaly_is_this_line() {
    let mut event = event(EventKind::Anomaly);
    event.flow = FlowHandle::NONE;
    event.vlan_count = 0;
    let mut options = options();
    options.interfaces.clear();
    options.pcap_filename = Some("a.pcap".to_string());
    options.names.anomaly = |code| match code {
        0 => "stream.pkt_invalid_ack",
        1 => "ipv4.trunc_pkt",
        _ => "",
    };
    let head = concat!(
        r#"{"timestamp":"2026-11-25T16:51:52.123456+0000","pcap_cnt":12,"event_type":"anomaly","#,
        r#""src_ip":"10.0.0.2","src_port":80,"dest_ip":"10.0.0.1","dest_port":4000,"#,
        r#""proto":"TCP","ip_v":4,"pkt_src":"wire/pcap","#
    );
    let tail = "\"pcap_filename\":\"a.pcap\",\"sluice\":{\"lane\":2}}\n";
    let named = r#""anomaly":{"type":"stream","event":"stream.pkt_invalid_ack"},"#;
    assert_eq!(text_of(&event, &options), format!("{head}{named}{tail}"));
    event.anomaly = 1;
    let decode = r#""anomaly":{"type":"decode","event":"decoder.ipv4.trunc_pkt"},"#;
    assert_eq!(text_of(&event, &options), format!("{head}{decode}{tail}"));
    event.anomaly = 200;
    let coded = r#""anomaly":{"type":"unknown","code":200},"#;
    assert_eq!(text_of(&event, &options), format!("{head}{coded}{tail}"));
}

#[test]
fn ipv6_and_icmp_are_read_from_the_packet() {
    let mut frame = Vec::new();
    let mut src = [0; 16];
    (src[0], src[15]) = (0xfd, 1);
    etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv6(src, src, 33)
        .icmpv6_echo_request(77, 8)
        .write(&mut frame, &[])
        .unwrap();
    let event = Event {
        kind: EventKind::Drop,
        flags: flag::IPV6 | flag::TRANSPORT | flag::NO_FLOW,
        protocol: 58,
        flow: FlowHandle::NONE,
        signature: u32::MAX,
        l3: 14,
        l4: 54,
        packet: frame,
        reason: Some(Reason::DecodeTransportChecksum),
        ..Event::default()
    };
    let value: Value = serde_json::from_str(&text_of(&event, &options())).unwrap();
    assert_eq!(value["src_ip"], "fd00:0000:0000:0000:0000:0000:0000:0001");
    assert_eq!(
        (&value["proto"], &value["ip_v"]),
        (&"IPv6-ICMP".into(), &6.into())
    );
    assert_eq!(
        (&value["icmp_type"], &value["icmp_code"]),
        (&128.into(), &0.into())
    );
    let drop = &value["drop"];
    assert_eq!(
        (&drop["icmp_id"], &drop["icmp_seq"]),
        (&77.into(), &8.into())
    );
    assert_eq!(
        (&drop["hoplimit"], &drop["flowlbl"]),
        (&33.into(), &0.into())
    );
    assert!(value.get("src_port").is_none() && value.get("flow_id").is_none());
}

#[test]
fn an_icmp_flow_has_the_types_of_request_and_answer() {
    let mut event = event(EventKind::Flow);
    (event.protocol, event.view) = (1, Kind::FlowEnd);
    (event.tuple.a_port, event.tuple.b_port) = (8, 0);
    event.values.tcp_flags = [5, 0];
    event.packet.clear();
    let value: Value = serde_json::from_str(&text_of(&event, &options())).unwrap();
    assert_eq!(
        (&value["icmp_type"], &value["response_icmp_type"]),
        (&8.into(), &0.into())
    );
    let codes = (&value["icmp_code"], &value["response_icmp_code"]);
    assert_eq!(
        codes,
        (&5.into(), &0.into()),
        "that of the first packet, and none"
    );
    assert!(value.get("src_port").is_none() && value.get("tcp").is_none());
}

#[test]
fn every_anomaly_has_a_name_with_its_kind_before_it() {
    for anomaly in crate::decode::Anomaly::ALL {
        let mut event = event(EventKind::Anomaly);
        event.anomaly = anomaly.code();
        let value: Value = serde_json::from_str(&text_of(&event, &options())).unwrap();
        let name = value["anomaly"]["event"].as_str().unwrap();
        let kind = value["anomaly"]["type"].as_str().unwrap();
        let expected = if anomaly.is_stream() {
            "stream"
        } else {
            "decode"
        };
        assert_eq!(kind, expected);
        assert!(name.starts_with(if kind == "stream" {
            "stream."
        } else {
            "decoder."
        }));
    }
}

#[test]
fn a_notional_drop_is_allowed_and_says_so() {
    let mut event = alert();
    event.would_drop = true;
    let value: Value = serde_json::from_str(&text_of(&event, &options())).unwrap();
    assert_eq!(value["alert"]["action"], "allowed");
    assert_eq!(value["sluice"]["would_drop"], true);
}

#[test]
fn an_alert_of_a_rule_set_that_is_gone_is_still_written() {
    let mut event = alert();
    event.generation = 99;
    let value = value_of(&event, &options());
    assert_eq!(value["alert"]["signature_id"], 0);
}

/// Field names of Suricata 8's EVE schema that the five event types of ours may use, written down
/// from its user guide ("EVE JSON format") and its published schema.
const KNOWN: &[&str] = &[
    "timestamp",
    "flow_id",
    "in_iface",
    "pcap_cnt",
    "pcap_filename",
    "event_type",
    "vlan",
    "src_ip",
    "src_port",
    "dest_ip",
    "dest_port",
    "proto",
    "ip_v",
    "icmp_type",
    "icmp_code",
    "response_icmp_type",
    "response_icmp_code",
    "pkt_src",
    "direction",
    "payload",
    "payload_printable",
    "stream",
    "packet",
    "packet_info.linktype",
    "packet_info.linktype_name",
    "alert.action",
    "alert.gid",
    "alert.signature_id",
    "alert.rev",
    "alert.signature",
    "alert.category",
    "alert.severity",
    "alert.source.ip",
    "alert.source.port",
    "alert.target.ip",
    "alert.target.port",
    "alert.references",
    "alert.metadata.created_at",
    "alert.metadata.mitre",
    "alert.rule",
    "drop.len",
    "drop.tos",
    "drop.ttl",
    "drop.ipid",
    "drop.tc",
    "drop.hoplimit",
    "drop.flowlbl",
    "drop.tcpseq",
    "drop.tcpack",
    "drop.tcpwin",
    "drop.syn",
    "drop.ack",
    "drop.psh",
    "drop.rst",
    "drop.urg",
    "drop.fin",
    "drop.tcpres",
    "drop.tcpurgp",
    "drop.udplen",
    "drop.icmp_id",
    "drop.icmp_seq",
    "drop.reason",
    "flow.pkts_toserver",
    "flow.pkts_toclient",
    "flow.bytes_toserver",
    "flow.bytes_toclient",
    "flow.start",
    "flow.end",
    "flow.age",
    "flow.state",
    "flow.bypass",
    "flow.reason",
    "flow.alerted",
    "flow.elephant",
    "flow.elephant_direction",
    "flow.src_ip",
    "flow.dest_ip",
    "flow.src_port",
    "flow.dest_port",
    "tcp.tcp_flags",
    "tcp.tcp_flags_ts",
    "tcp.tcp_flags_tc",
    "tcp.syn",
    "tcp.fin",
    "tcp.rst",
    "tcp.psh",
    "tcp.ack",
    "tcp.urg",
    "tcp.ecn",
    "tcp.cwr",
    "tcp.state",
    "anomaly.type",
    "anomaly.event",
    "anomaly.code",
    "arp.hw_type",
    "arp.proto_type",
    "arp.opcode",
    "arp.src_mac",
    "arp.src_ip",
    "arp.dest_mac",
    "arp.dest_ip",
    "fileinfo.filename",
    "fileinfo.gaps",
    "fileinfo.state",
    "fileinfo.stored",
    "fileinfo.size",
    "fileinfo.tx_id",
];

fn names_in(value: &Value, prefix: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                names_in(value, &format!("{prefix}{name}."), into);
            }
        }
        _ => {
            into.insert(prefix.trim_end_matches('.').to_string());
        }
    }
}

#[test]
fn every_field_is_one_of_suricata_s_or_stands_under_sluice() {
    let mut names = BTreeSet::new();
    let mut options = options();
    tell_all(&mut options);
    options.pcap_filename = Some("x".to_string());
    for kind in EVENT_KINDS {
        for protocol in [1, 6, 17, 58, 132] {
            for flags in [0, flag::IPV4, flag::IPV6, flag::IPV4 | flag::BYPASS] {
                for signature in [7, u32::MAX] {
                    let mut event = alert();
                    (event.kind, event.protocol, event.signature) = (kind, protocol, signature);
                    event.flags = flags | flag::TRANSPORT;
                    if matches!(protocol, 1 | 58) {
                        (event.tuple.a_port, event.tuple.b_port) = (8, 0);
                        event.values.tcp_flags = [5, 0];
                    }
                    event.reason = Some(Reason::Rule);
                    event.values.tcp_flags = [0xff, 0];
                    event.values.elephant = 1;
                    event.anomaly = 1;
                    let value = serde_json::from_str(&text_of(&event, &options)).unwrap();
                    names_in(&value, "", &mut names);
                }
            }
        }
    }
    let ours = |name: &String| !name.starts_with("sluice.");
    let strange: Vec<_> = names
        .iter()
        .filter(|name| ours(name) && !KNOWN.contains(&name.as_str()))
        .collect();
    assert!(strange.is_empty(), "not Suricata's: {strange:?}");
    // And the other way: what we claim to know does occur, so the list cannot rot.
    options.names.anomaly = |_| "";
    let value = serde_json::from_str(&text_of(&event(EventKind::Anomaly), &options)).unwrap();
    names_in(&value, "", &mut names);
    let missing: Vec<_> = KNOWN
        .iter()
        .filter(|name| !names.contains(**name))
        .collect();
    assert!(missing.is_empty(), "never written: {missing:?}");
}

#[test]
fn flow_ids_differ_by_slot_generation_and_start_and_are_never_zero() {
    let mut ids = BTreeSet::new();
    for slot in 0..50 {
        for generation in 0..50 {
            for start in 0..4 {
                let id = flow_id(FlowHandle { slot, generation }, start * 1_000_000);
                assert!(id > 0 && id < 1 << 51);
                ids.insert(id);
            }
        }
    }
    assert_eq!(ids.len(), 50 * 50 * 4);
}

proptest! {
    /// Whatever the wire and the offsets say, an event is one line and one JSON object.
    #[test]
    fn hostile_events_are_one_json_object_on_one_line(
        bytes in proptest::collection::vec(any::<u8>(), 0..3000),
        msg in ".*",
        numbers in any::<(u32, u16, u16, u8, u8, u8)>(),
        kind in 0usize..5,
        view in 0usize..5,
    ) {
        let (flags, l3, l4, protocol, code, vlan_count) = numbers;
        let views = [Kind::Frame, Kind::Inner, Kind::Datagram, Kind::Stream, Kind::FlowEnd];
        let mut event = alert();
        event.kind = EVENT_KINDS[kind];
        event.view = views[view];
        (event.flags, event.l3, event.l4, event.protocol) = (flags, l3 % 64, l4 % 128, protocol);
        (event.anomaly, event.vlan_count, event.port) = (code, vlan_count, code);
        event.reason = Reason::ALL.get(usize::from(code)).copied();
        event.set_payload(&bytes);
        event.packet = bytes;
        let mut options = options();
        tell_all(&mut options);
        let rules = Rules { msg, ..rules() };
        let mut buffer = Vec::new();
        encode(&event, Beside::default(), &rules, &options, &mut buffer);
        prop_assert!(buffer.len() <= LINE_MAX);
        let text = String::from_utf8(buffer).unwrap();
        prop_assert_eq!(text.matches('\n').count(), 1);
        prop_assert!(!text.trim_end().contains(|c: char| c.is_control()));
        let value: Value = serde_json::from_str(&text).unwrap();
        prop_assert!(value.is_object());
        if event.kind == EventKind::Alert {
            prop_assert_eq!(value["alert"]["signature"].as_str().unwrap(), rules.msg);
        }
    }
}

// ---------------------------------------------------------------------------------------------
// The thread and its files
// ---------------------------------------------------------------------------------------------

/// A directory of this test's own, removed afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("sluice-eve-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn emit(events: usize) -> Emit {
    Emit {
        views: Vec::new(),
        events: EventQueue::new(events),
        built: Vec::new(),
        built_count: 0,
        counters: Arc::default(),
        lane: 0,
        now_ns: 0,
        listener: crate::event::Listener::Waited,
    }
}

fn send(emit: &mut Emit, count: u64) {
    for order in 1..=count {
        emit.event(|event| {
            let (payload, packet) = (
                std::mem::take(&mut event.payload),
                std::mem::take(&mut event.packet),
            );
            *event = alert();
            (event.payload, event.packet) = (payload, packet);
            event.order = order;
        });
    }
}

fn start(emits: &[&Emit], target: Target) -> Writer {
    let queues = emits.iter().map(|emit| Arc::clone(&emit.events)).collect();
    Writer::start(queues, Arc::new(rules()), Options::new(target)).unwrap()
}

fn lines(path: &std::path::Path) -> Vec<Value> {
    let mut text = String::new();
    std::fs::File::open(path)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn all_events_of_all_queues_are_written_in_each_queue_s_order() {
    let scratch = Scratch::new("all");
    let path = scratch.file("eve.json");
    let (mut one, mut two) = (emit(8), emit(8));
    two.lane = 1;
    let writer = start(&[&one, &two], Target::Path(path.clone()));
    let threads = std::thread::spawn(move || {
        send(&mut one, 3000);
        one
    });
    send(&mut two, 2000);
    threads.join().unwrap();
    assert!(
        writer
            .handle()
            .submit(b"{\"event_type\":\"stats\"}\n".to_vec())
    );
    let handle = writer.stop();
    let lines = lines(&path);
    assert_eq!(lines.len(), 5001);
    for (lane, count) in [(0, 3000), (1, 2000)] {
        let orders: Vec<u64> = lines
            .iter()
            .filter(|line| line["sluice"]["lane"] == lane)
            .map(|line| line["pcap_cnt"].as_u64().unwrap())
            .collect();
        assert_eq!(orders, (1..=count).collect::<Vec<u64>>());
    }
    let counters = handle.counters();
    assert_eq!(counters.taken(EventKind::Alert), 5000);
    assert_eq!((counters.submitted(), counters.sink.lines()), (1, 5001));
    assert_eq!(counters.sink.bytes(), path.metadata().unwrap().len());
}

#[test]
fn every_line_names_this_machine_where_it_has_a_name() {
    let scratch = Scratch::new("host");
    let path = scratch.file("eve.json");
    let mut options = Options::new(Target::Path(path.clone()));
    options.eve.host = "gate \"1\"".to_string();
    let mut log = Log::open(Arc::new(rules()), options).unwrap();
    log.write(&alert());
    log.submit(b"{\"event_type\":\"stats\"}\n");
    log.finish();
    let lines = lines(&path);
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["event_type"], "alert");
    assert!(lines.iter().all(|line| line["host"] == "gate \"1\""));
}

#[test]
fn dev_full_loses_counted_lines_and_blocks_nobody() {
    let mut full = emit(8);
    let writer = start(&[&full], Target::Path("/dev/full".into()));
    send(&mut full, 5000);
    let handle = writer.stop();
    let counters = handle.counters();
    assert_eq!(counters.taken(EventKind::Alert), 5000);
    assert_eq!(counters.sink.lost(Lost::Write), 5000);
    assert_eq!(counters.sink.lines(), 0);
    assert!(counters.sink.failed_writes() > 0);
}

/// A small file system of its own, unmounted afterwards.
struct Mounted(PathBuf);

impl Mounted {
    /// `None`, said loudly, where one may not mount.
    fn new(path: PathBuf, size: &str) -> Option<Mounted> {
        std::fs::create_dir_all(&path).unwrap();
        let mounted = Mounted(path);
        if mounted.mount(&format!("size={size}")) {
            return Some(mounted);
        }
        println!("SKIPPED: tmpfs cannot be mounted here (needs root)");
        eprintln!("SKIPPED: tmpfs cannot be mounted here (needs root)");
        None
    }

    fn mount(&self, options: &str) -> bool {
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]);
        mount.arg(&self.0).stderr(std::process::Stdio::null());
        mount.status().is_ok_and(|status| status.success())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_keeps_whole_lines_and_writing_resumes_within_a_second() {
    let scratch = Scratch::new("full");
    let Some(disk) = Mounted::new(scratch.file("disk"), "256k") else {
        return;
    };
    let path = disk.0.join("eve.json");
    let mut lane = emit(64);
    let writer = start(&[&lane], Target::Path(path.clone()));
    send(&mut lane, 5000);
    let handle = writer.handle();
    let counters = handle.counters();
    let begin = Instant::now();
    while counters.sink.lost(Lost::Write) == 0 {
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "the disk never filled"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    let before = lines(&path).len();
    assert!(before > 100, "some lines fit");
    assert!(disk.mount("remount,size=16m"));
    let begin = Instant::now();
    while counters.sink.lines() <= before as u64 {
        assert!(begin.elapsed() < Duration::from_secs(1), "does not resume");
        std::thread::sleep(Duration::from_millis(5));
    }
    send(&mut lane, 100);
    writer.stop();
    assert_eq!(counters.taken(EventKind::Alert), 5100);
    assert_eq!(lines(&path).len() as u64, counters.sink.lines());
    assert_eq!(
        counters.sink.lines() + counters.sink.lost(Lost::Write),
        5100
    );
}

#[test]
fn a_rotation_by_renaming_is_followed_with_and_without_a_signal() {
    let scratch = Scratch::new("rotate");
    let path = scratch.file("eve.json");
    let mut lane = emit(8);
    let writer = start(&[&lane], Target::Path(path.clone()));
    let wait = |lines: u64, opened: u64| {
        let begin = Instant::now();
        let handle = writer.handle();
        while handle.counters().sink.lines() < lines || handle.counters().sink.opened() < opened {
            assert!(
                begin.elapsed() < Duration::from_secs(20),
                "the writer does not follow"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    send(&mut lane, 10);
    wait(10, 1);
    std::fs::rename(&path, scratch.file("eve.1")).unwrap();
    writer.handle().reopen();
    wait(10, 2);
    send(&mut lane, 20);
    wait(30, 2);
    std::fs::rename(&path, scratch.file("eve.2")).unwrap();
    wait(30, 3);
    send(&mut lane, 30);
    writer.stop();
    let count = |name: &str| lines(&scratch.file(name)).len();
    assert_eq!(
        (count("eve.1"), count("eve.2"), count("eve.json")),
        (10, 20, 30)
    );
}

#[test]
fn a_path_that_cannot_be_opened_is_named() {
    let options = Options::new(Target::Path("/nonexistent/eve.json".into()));
    let error = Writer::start(Vec::new(), Arc::new(NoSignatures), options)
        .err()
        .unwrap();
    assert!(error.to_string().contains("/nonexistent/eve.json"));
}
