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

const UPLOAD: &[u8] = b"POST /login HTTP/1.1\r\nHost: a.example\r\nX-Real-IP: 192.0.2.7\r\n\
    Accept-Language: de\r\nContent-Length: 8\r\n\r\nuser\x01pw=";

/// Suricata 8.0.6 (`EveHttpLogJSONBodyBase64` and `..Printable`, of alerts alone).
#[test]
fn alerts_carry_bodies_where_they_are_asked_for() {
    let rules = "alert http any any -> any any (http.stat_code; content:\"403\"; \
        file.data; content:\"nope\"; sid:1;)\n";
    let told = |settings: &[&str]| {
        let scratch = Scratch::new("bodies");
        talk::events(&scratch, (UPLOAD, ANSWER), rules, settings)
    };
    let keys = [
        "http_request_body",
        "http_request_body_printable",
        "http_response_body",
        "http_response_body_printable",
    ];
    let plain = told(&[]);
    assert!(
        keys.iter()
            .all(|key| of(&plain, "alert")["http"].get(*key).is_none())
    );
    let both = told(&[
        "outputs.1.eve-log.types.0.alert.http-body=yes",
        "outputs.eve-log.alert.http-body-printable=yes",
    ]);
    let alert = of(&both, "alert");
    assert_eq!(alert["ts_progress"], "request_complete");
    assert_eq!(of(&plain, "http").get("ts_progress"), None);
    let http = &alert["http"];
    let bodies = keys.map(|key| http[key].as_str().unwrap());
    assert_eq!(bodies, ["dXNlcgFwdz0=", "user.pw=", "bm9wZQ==", "nope"]);
    assert_eq!(http["hostname"], "a.example");
    for kind in ["http", "fileinfo"] {
        assert!(
            keys.iter()
                .all(|key| of(&both, kind)["http"].get(*key).is_none())
        );
    }
}

/// Suricata 8.0.6 (`EveHttpLogJSONHeaders`, of events of HTTP alone).
#[test]
fn events_of_http_list_headers_by_name_or_all_of_a_side() {
    let told = |settings: &[&str]| {
        let scratch = Scratch::new("headers");
        let events = talk::events(&scratch, (UPLOAD, ANSWER), RULES_OF_HEADERS, settings);
        assert!(
            of(&events, "alert")["http"]
                .get("request_headers")
                .is_none()
        );
        of(&events, "http")["http"].clone()
    };
    assert!(told(&[]).get("request_headers").is_none());
    let some = told(&["outputs.eve-log.http.custom=[accept_language, Content-Length]"]);
    let header = |name: &str, value: &str| json!({"name": name, "value": value});
    assert_eq!(
        some["request_headers"],
        json!([
            header("Accept-Language", "de"),
            header("Content-Length", "8")
        ])
    );
    assert_eq!(
        some["response_headers"],
        json!([header("Content-Length", "4")])
    );
    let side = told(&["outputs.1.eve-log.types.3.http.dump-all-headers=request"]);
    assert_eq!(side["request_headers"].as_array().unwrap().len(), 4);
    assert!(side.get("response_headers").is_none());
}

const RULES_OF_HEADERS: &str = "alert http any any -> any any (http.request_header; \
    content:\"X-Real-IP\"; sid:1;)\n";

#[test]
fn a_proxy_s_client_may_stand_in_another_header() {
    let settings = [
        "outputs.1.eve-log.xff.enabled=yes",
        "outputs.1.eve-log.xff.header=X-Real-Ip",
        "outputs.1.eve-log.types.3.http.xff.enabled=yes",
        "outputs.1.eve-log.types.3.http.xff.mode=overwrite",
        "outputs.1.eve-log.types.3.http.xff.header=X-Real-IP",
    ];
    let scratch = Scratch::new("xff");
    let events = talk::events(&scratch, (UPLOAD, ANSWER), RULES_OF_HEADERS, &settings);
    assert_eq!(of(&events, "alert")["alert"]["xff"], "192.0.2.7");
    assert_eq!(of(&events, "fileinfo")["xff"], "192.0.2.7");
    assert_eq!(of(&events, "http")["src_ip"], "192.0.2.7");
    assert!(of(&events, "http").get("xff").is_none());
}

/// RFC 6455 section 5.7: a masked text, `Hello`.
#[test]
fn alerts_carry_payloads_of_websocket_where_they_are_asked_for() {
    let request = b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\n\r\n";
    let answer = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\n\r\n\x81\x05Hello";
    let rules =
        "alert websocket any any -> any any (websocket.payload; content:\"Hello\"; sid:1;)\n";
    let settings = [
        "outputs.eve-log.alert.websocket-payload=yes",
        "outputs.eve-log.alert.websocket-payload-printable=yes",
    ];
    let scratch = Scratch::new("websocket");
    let events = talk::events(&scratch, (request, answer), rules, &settings);
    let told = &of(&events, "alert")["websocket"];
    assert_eq!(told["payload_base64"], "SGVsbG8=");
    assert_eq!(told["payload_printable"], "Hello");
    assert_eq!(
        (&told["opcode"], &told["fin"]),
        (&json!("text"), &json!(true))
    );
    let scratch = Scratch::new("websocket-plain");
    let events = talk::events(&scratch, (request, answer), rules, &[]);
    assert!(
        of(&events, "alert")["websocket"]
            .get("payload_base64")
            .is_none()
    );
    assert!(
        of(&events, "websocket")["websocket"]
            .get("payload_base64")
            .is_none()
    );
}

/// Suricata 8.0.6 (`FrameJsonLogOneFrame`).
#[test]
fn alerts_on_frames_tell_of_the_frame_and_frames_are_events_where_they_are_named() {
    let rules = "alert http any any -> any any (frame:http1.request; content:\"root\"; sid:1;)\n";
    let scratch = Scratch::new("frames");
    let told = talk::events(&scratch, (REQUEST, ANSWER), rules, &[]);
    let alert = of(&told, "alert");
    let frame = &alert["frame"];
    assert_eq!(
        (&frame["type"], &frame["direction"]),
        (&json!("request"), &json!("toserver"))
    );
    assert_eq!(frame["length"], REQUEST.len());
    assert_eq!(
        frame["payload_printable"],
        std::str::from_utf8(REQUEST).unwrap()
    );
    assert_eq!(alert.get("tx_id"), None);
    // Frames are none of the flow's transactions.
    assert_eq!(of(&told, "http")["tx_id"], 0);
    assert_eq!(of(&told, "flow")["flow"]["tx_cnt"], 1);
    assert!(!kinds(&told).contains(&"frame"));
    let scratch = Scratch::new("frame-events");
    let settings = ["outputs.eve-log.types=http, frame"];
    let told = talk::events(&scratch, (REQUEST, ANSWER), "", &settings);
    let frames = told.iter().filter(|event| event["event_type"] == "frame");
    let frames: Vec<(&Value, &Value)> = frames
        .map(|event| (&event["frame"]["type"], &event["app_proto"]))
        .collect();
    assert!(
        frames.contains(&(&json!("request"), &json!("http"))),
        "{told:?}"
    );
    assert!(
        frames.contains(&(&json!("response"), &json!("http"))),
        "{told:?}"
    );
}

#[test]
fn a_packet_s_variables_may_be_named_by_the_packet() {
    let rules = "alert http any any -> any any (msg:\"pair\"; http.request_header; \
        content:\"X-Real\"; pcre:\"/^([A-Za-z-]+): (.+)$/, pkt:key, pkt:value\"; sid:1;)\n";
    let scratch = Scratch::new("pairs");
    let events = talk::events(&scratch, (UPLOAD, ANSWER), rules, &[]);
    let noted = &of(&events, "alert")["metadata"]["pktvars"];
    assert_eq!(*noted, json!([{"X-Real-IP": "192.0.2.7"}]));
}

/// Suricata 8.0.6 (`EveFileInfo`).
#[test]
fn files_tell_which_rules_store_them_and_of_what_they_are_a_part() {
    let answer =
        b"HTTP/1.1 206 Part\r\nContent-Range: bytes 3-6/20\r\nContent-Length: 4\r\n\r\nnope";
    let rules = "alert http any any -> any any (file.data; content:\"nope\"; filestore; sid:7;)\n";
    let scratch = Scratch::new("stored");
    let settings = ["file-store.enabled=yes"];
    let events = talk::events(&scratch, (REQUEST, answer), rules, &settings);
    let file = &of(&events, "fileinfo")["fileinfo"];
    assert_eq!(file["sid"], json!([7]));
    assert_eq!((&file["start"], &file["end"]), (&json!(3), &json!(6)));
    assert_eq!(file["stored"], true);
}
