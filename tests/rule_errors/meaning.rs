//! What Suricata 8 refuses of rules that mean nothing, and what it lets pass: read side by side with
//! the setup functions of these keywords.

use super::cases::Case;
use sluice::rules::diagnostic::Code;
use sluice::rules::{Classification, File, Options, Variables, load};

pub const MEANING: &[Case] = &[
    (
        "decode-event:«foo.bar»;",
        Code::BadValue,
        "`foo.bar` is not an event",
    ),
    (
        "decode-event:«decoder.ipv4.pkt_too_small»;",
        Code::BadValue,
        "`decoder.ipv4.pkt_too_small` is not an event",
    ),
    (
        "decode-event:«stream.pkt_invalid_ack»;",
        Code::BadValue,
        "`stream.pkt_invalid_ack` is not an event",
    ),
    (
        "stream-event:«nonsense»;",
        Code::BadValue,
        "`nonsense` is not an event",
    ),
    (
        "engine-event:«ipv4.pkt_too_small»;",
        Code::BadValue,
        "`ipv4.pkt_too_small` is not an event",
    ),
    ("fragbits:«X»;", Code::BadValue, "`X` is not a fragment bit"),
    (
        "fragbits:«DX»;",
        Code::TrailingText,
        "`X` behind the bits is ignored",
    ),
    (
        "flags:«!+S»;",
        Code::BadValue,
        "`flags` takes one of + * ! - at a time",
    ),
    (
        "threshold:«type limit, track by_src, count 1, seconds 60, count 5»;",
        Code::BadValue,
        "`count` stands a second time",
    ),
    (
        "content:\"abc\"; threshold:type limit, track by_src, count 1, seconds 60, «and more»;",
        Code::TrailingText,
        "`and more` is ignored",
    ),
    (
        "ip_proto:6; ip_proto:«17»;",
        Code::BadValue,
        "`17` and an `ip_proto` before it exclude each other",
    ),
    (
        "ip_proto:!6; ip_proto:«17»;",
        Code::BadValue,
        "`17` and an `ip_proto` before it exclude each other",
    ),
    (
        "ip_proto:>6; ip_proto:«<6»;",
        Code::BadValue,
        "`<6` and an `ip_proto` before it exclude each other",
    ),
    (
        "app-layer-protocol:http; «app-layer-protocol»:!tls;",
        Code::ProtocolConflict,
        "another `app-layer-protocol` of the same mode stands before it",
    ),
    (
        "alert «ssh» any any -> any any (filename:\"x\"; sid:1;)",
        Code::ProtocolConflict,
        "ssh has no files, and the rule asks for one",
    ),
    (
        "alert «dns» any any -> any any (file.data; content:\"abc\"; sid:1;)",
        Code::ProtocolConflict,
        "dns has no files, and the rule asks for one",
    ),
    (
        "alert «tls» any any -> any any (filestore; sid:1;)",
        Code::ProtocolConflict,
        "tls has no files, and the rule asks for one",
    ),
    (
        "alert tcp any any -> any any («tls.sni»; content:\"abc\"; filesize:>9; sid:1;)",
        Code::ProtocolConflict,
        "tls has no files, and the rule asks for one",
    ),
    (
        "alert «http2» any any -> any any (fileext:\"exe\"; sid:1;)",
        Code::ProtocolConflict,
        "files of http2 have no names, and the rule asks for one",
    ),
    (
        "alert tls any any -> any any (frame:tls.pdu; content:\"abc\"; pkt_data; \
         content:\"«def»\"; sid:1;)",
        Code::BufferConflict,
        "the rule looks at a frame and at something else",
    ),
    (
        "alert tls any any -> any any («tls.sni»; content:\"abc\"; frame:tls.pdu; \
         content:\"def\"; sid:1;)",
        Code::BufferConflict,
        "the rule looks at a frame and at something else",
    ),
    (
        "alert http any any => any any («flow»:to_server; http.uri; content:\"abc\"; \
         http.stat_code; content:\"200\"; sid:1;)",
        Code::DirectionConflict,
        "a rule with `=>` is about both directions, `flow` about one",
    ),
    (
        "alert dns:request_complete any any -> any any («flow»:to_client; sid:1;)",
        Code::DirectionConflict,
        "a hook of requests, and `flow` says to_client",
    ),
    (
        "flow:to_server; «krb5.cname»; content:\"abc\";",
        Code::DirectionConflict,
        "a buffer of responses, and flow says to_server",
    ),
    (
        "flow:to_client; «mqtt.qos»:1;",
        Code::DirectionConflict,
        "a buffer of requests, and flow says to_client",
    ),
    (
        "ike.init_spi; content:\"a\"; «ike.resp_spi»; content:\"b\";",
        Code::DirectionConflict,
        "the rule has buffers of requests and of responses",
    ),
    (
        "alert http any any -> any any (filestore; «bypass»; sid:1;)",
        Code::ModifierConflict,
        "`bypass` ends the flow that `filestore` takes a file from",
    ),
    (
        "alert http any any -> any any (bypass; «filestore»; sid:1;)",
        Code::ModifierConflict,
        "`bypass` ends the flow that `filestore` takes a file from",
    ),
    (
        "alert «icmp» any 80 -> any any (msg:\"t\"; itype:8; sid:1;)",
        Code::NeverMatches,
        "the rule asks for a port, and its protocol has none",
    ),
    (
        "alert udp any any -> any any (msg:\"t\"; «http.uri»; content:\"abc\"; sid:1;)",
        Code::NeverMatches,
        "http runs over another protocol",
    ),
];

/// Rules that mean something all the same, or nothing, and load.
const LOADED: &[&str] = &[
    "alert icmp any 80 -> any any (itype:8; sid:1;)",
    "alert udp any any -> any any (http.uri; content:\"abc\"; sid:1;)",
    "alert ip any any -> any any (decode-event:IPv4.PKT_too_small; sid:1;)",
    "alert ip any any -> any any (engine-event:decoder.ipv4.pkt_too_small; sid:1;)",
    "alert ip any any -> any any (engine-event:stream.pkt_invalid_ack; sid:1;)",
    "alert ip any any -> any any (ip_proto:!6; ip_proto:!17; ip_proto:>2; ip_proto:<50; sid:1;)",
    "alert tcp any any -> any any (flow:stateless,not_established; flags:S,12; sid:1;)",
    "alert tcp any any -> any any (content:\"abc\"; \
     threshold: type limit, track by_src, count 1, seconds 60,; sid:1;)",
    "alert tcp any any -> any any (content:\"abc\"; \
     threshold: type limit, track by_src, count 1, seconds 60s; sid:1;)",
    "alert http any any -> any any (filename:\"x\"; sid:1;)",
    "alert tcp any any -> any any (app-layer-protocol:!http; app-layer-protocol:!tls; sid:1;)",
    "alert tcp any any -> any any (app-layer-protocol:http; app-layer-protocol:tls,final; sid:1;)",
    "alert tcp any any -> any any (smb.share; content:\"abc\"; fileext:\"exe\"; sid:1;)",
    "alert http2 any any -> any any (file.data; content:\"abc\"; sid:1;)",
    "alert dns:request_complete any any -> any any (flow:to_server; sid:1;)",
];

#[test]
fn what_suricata_lets_pass_loads() {
    for rule in LOADED {
        let file = File {
            path: "test.rules",
            text: rule.as_bytes(),
        };
        let (variables, classes) = (Variables::default(), Classification::default());
        let loaded = load(&[file], &variables, &classes, &Options::default());
        assert_eq!(loaded.counts.enabled, 1, "{rule}: {:?}", loaded.diagnostics);
        assert_eq!(loaded.counts.unsupported, 0, "{rule}");
    }
}
