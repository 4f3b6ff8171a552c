//! What eve.json tells and with what: the settings below `outputs.eve-log`, through the lane and the
//! writer's thread, over a conversation that is made here.

mod talk;

use serde_json::{Value, json};
use talk::Scratch;

const REQUEST: &[u8] = b"GET /login?user=root HTTP/1.1\r\nHost: a.example\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nnope";

/// Rules that note what they see, and one that alerts.
const RULES: &str = "\
alert http any any -> any any (http.uri; content:\"/login\"; flowbits:set,seen.login; \
  flowint:tries,+,2; noalert; sid:1;)
alert http any any -> any any (http.uri; content:\"/login\"; flowbits:set,traffic/label/logins; \
  pcre:\"/user=(?P<flow_user>[a-z]+)/\"; pcre:\"/(?P<pkt_path>.login)/\"; noalert; sid:2;)
alert http any any -> any any (http.stat_code; content:\"403\"; sid:3; rev:1; msg:\"refused\"; \
  reference:url,a.example; metadata:stage two;)
";

fn events(name: &str, settings: &[&str]) -> Vec<Value> {
    let rules = RULES.replace("\\\n", "");
    talk::events(&Scratch::new(name), (REQUEST, ANSWER), &rules, settings)
}

fn of<'a>(events: &'a [Value], kind: &str) -> &'a Value {
    let found = events.iter().find(|event| event["event_type"] == kind);
    found.unwrap_or_else(|| panic!("no {kind} in {events:?}"))
}

fn kinds(events: &[Value]) -> Vec<&str> {
    let mut kinds: Vec<&str> = events
        .iter()
        .filter_map(|event| event["event_type"].as_str())
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

#[test]
fn all_events_of_a_flow_say_what_rules_noted_of_it() {
    let events = events("metadata", &[]);
    for kind in ["alert", "http", "fileinfo", "flow"] {
        let event = of(&events, kind);
        let noted = &event["metadata"];
        assert_eq!(noted["flowbits"], json!(["seen.login"]), "{kind}");
        assert_eq!(noted["flowints"], json!({"tries": 2}), "{kind}");
        assert_eq!(noted["flowvars"], json!([{"user": "root"}]), "{kind}");
        assert_eq!(event["traffic"], json!({"label": ["logins"]}), "{kind}");
    }
    let flows = events.iter().filter(|e| e["event_type"] == "flow");
    assert_eq!(flows.count(), 1, "the end is told once");
    assert_eq!(of(&events, "flow")["flow"]["alerted"], true);
    assert_eq!(of(&events, "flow")["app_proto"], "http");
    assert_eq!(of(&events, "flow")["flow"]["tx_cnt"], 1);
}

/// Suricata 8.0.6 (`EveAddAppProto`, `TCPProtoDetect`, the loggers of anomaly, netflow and alert).
#[test]
fn a_flow_whose_server_speaks_something_else_says_so() {
    let settings = [
        "outputs.eve-log.types=alert, flow, netflow, anomaly",
        "outputs.eve-log.alert.verdict=yes",
    ];
    let rules = "alert http any any -> any any (http.uri; content:\"/login\"; sid:1;)\n";
    let odd: &[u8] = b"nothing that any probe knows, and long";
    let scratch = Scratch::new("sides");
    let events = talk::events(&scratch, (REQUEST, odd), rules, &settings);
    let flow = of(&events, "flow");
    assert_eq!(
        (&flow["app_proto"], &flow["app_proto_tc"]),
        (&json!("http"), &json!("failed"))
    );
    assert_eq!(flow.get("app_proto_ts"), None);
    let name = "APPLAYER_DETECT_PROTOCOL_ONLY_ONE_DIRECTION";
    let told = events.iter().filter(|e| e["anomaly"]["event"] == name);
    let told: Vec<&Value> = told.collect();
    assert_eq!(told.len(), 1, "once: {events:?}");
    assert_eq!(told[0]["anomaly"]["layer"], "proto_detect");
    assert_eq!(told[0].get("tx_id"), None);
    assert_eq!(of(&events, "alert")["verdict"], json!({"action": "alert"}));
    let ways = events.iter().filter(|e| e["event_type"] == "netflow");
    let ways: Vec<(&Value, &Value)> = ways.map(|e| (&e["app_proto"], &e["src_port"])).collect();
    assert_eq!(ways.len(), 2);
    assert_eq!((ways[0].0, ways[1].0), (&json!("http"), &json!("failed")));
    assert_ne!(ways[0].1, ways[1].1, "each has its own sender");
}

#[test]
fn a_packet_s_variables_stand_in_its_alerts() {
    let rules =
        "alert http any any -> any any (http.uri; pcre:\"/(?P<pkt_path>.login)/\"; sid:1;)\n";
    let scratch = Scratch::new("packet");
    let events = talk::events(&scratch, (REQUEST, ANSWER), rules, &[]);
    let noted = &of(&events, "alert")["metadata"];
    assert_eq!(*noted, json!({"pktvars": [{"path": "/login"}]}));
    assert_eq!(of(&events, "http").get("metadata"), None);
}

#[test]
fn what_is_noted_is_left_out_on_request() {
    let events = events("no-metadata", &["outputs.eve-log.metadata=no"]);
    assert!(events.iter().all(|event| event.get("metadata").is_none()));
    assert!(events.iter().all(|event| event.get("traffic").is_none()));
    assert_eq!(
        kinds(&events),
        ["alert", "fileinfo", "flow", "http", "stats"]
    );
}

#[test]
fn only_the_events_that_are_listed_are_written() {
    for list in ["alert, flow", "http", "files, stats", "anomaly", "[]"] {
        let setting = format!("outputs.1.eve-log.types={list}");
        let events = events("types", &[&setting]);
        let list = list.replace("files", "fileinfo").replace("anomaly", "");
        let mut wanted: Vec<&str> = list.trim_matches(['[', ']']).split(", ").collect();
        wanted.retain(|kind| !kind.is_empty());
        assert_eq!(kinds(&events), wanted, "{list}");
    }
    let events = events("off", &["outputs.eve-log.enabled=no"]);
    assert!(events.is_empty(), "{events:?}");
}

#[test]
fn an_alert_carries_what_it_is_told_to() {
    let plain = events("alert-plain", &[]);
    let alert = of(&plain, "alert");
    for key in [
        "payload",
        "payload_printable",
        "packet",
        "payload_length",
        "ether",
    ] {
        assert_eq!(alert.get(key), None, "{key}");
    }
    assert_eq!(alert["http"]["hostname"], "a.example");
    assert!(alert["flow"].is_object() && alert["alert"]["metadata"].is_object());
    assert_eq!(alert.get("community_id"), None);
    let full = events(
        "alert-full",
        &[
            "outputs.1.eve-log.types.0.alert.payload-printable=yes",
            "outputs.eve-log.alert.payload-buffer-size=8",
            "outputs.eve-log.alert.payload-length=yes",
            "outputs.eve-log.alert.metadata=no",
            "outputs.eve-log.alert.metadata.rule.reference=yes",
            "outputs.eve-log.community-id=yes",
            "outputs.eve-log.pcap-file=no",
        ],
    );
    let alert = of(&full, "alert");
    assert_eq!(alert["payload_printable"], "HTTP/1.1");
    assert_eq!(alert["payload_length"], ANSWER.len());
    assert_eq!(alert["alert"]["references"], json!(["http://a.example"]));
    for key in ["payload", "http", "flow", "pcap_filename"] {
        assert_eq!(alert.get(key), None, "{key}");
    }
    assert_eq!(alert["alert"].get("metadata"), None);
    let ids: Vec<&Value> = full.iter().filter_map(|e| e.get("community_id")).collect();
    assert!(
        ids.len() >= 4 && ids.iter().all(|id| *id == ids[0]),
        "{ids:?}"
    );
    assert!(ids[0].as_str().is_some_and(|id| id.starts_with("1:")));
}
