//! What rules mean once they are read: classes, buffers, order, numbers.

use sluice::rules::parse::{self, Context, Outcome};
use sluice::rules::signature::*;
use sluice::rules::{Classification, File, Options, Variables, load};

fn read(text: &str) -> Signature {
    let text = if text.contains("any any") || text.contains("_NET") {
        text.to_string()
    } else {
        format!("alert tcp any any -> any any ({text} sid:1;)")
    };
    let (variables, classes) = (Variables::default(), Classification::default());
    let event = |name: &str| matches!(name, "ipv4.pkt_too_small" | "stream.wrong_ack").then_some(7);
    let mut context = Context::new(&variables, &classes, &event);
    match parse::parse(&text, Source::default(), &mut context) {
        Outcome::Signature(signature, ..) => *signature,
        other => panic!("{text}: {other:?}"),
    }
}

/// The classes of the guide's page on rule types.
const CLASSES: &[(&str, Class)] = &[
    ("alert ip any any -> any any (sid:1;)", Class::IpOnly),
    ("alert tcp 10.0.0.1 any -> any any (sid:1;)", Class::IpOnly),
    (
        "alert tcp any any -> any any (flowbits:set,a; sid:1;)",
        Class::IpOnly,
    ),
    (
        "alert tcp any any -> any any (hostbits:set,a; sid:1;)",
        Class::IpOnly,
    ),
    (
        "alert tcp any any -> any any (threshold:type limit,track by_src,count 1,seconds 9; tag:session; sid:1;)",
        Class::IpOnly,
    ),
    (
        "alert tcp !10.0.0.1 any -> any any (sid:1;)",
        Class::LikeIpOnly,
    ),
    (
        "alert tcp [10.0.0.0/8,!10.0.0.1] any -> any any (sid:1;)",
        Class::LikeIpOnly,
    ),
    (
        "alert tcp any any -> any any (flow:to_server; sid:1;)",
        Class::Packet,
    ),
    (
        "alert tcp any any -> any any (flow:established; sid:1;)",
        Class::Packet,
    ),
    (
        "alert tcp any any -> any any (flowbits:isset,a; sid:1;)",
        Class::Packet,
    ),
    (
        "alert tcp any any -> any any (flowint:ab,+,1; sid:1;)",
        Class::Packet,
    ),
    (
        "alert tcp any any -> any any (flags:S; sid:1;)",
        Class::Packet,
    ),
    (
        "alert pkthdr any any -> any any (decode-event:ipv4.pkt_too_small; sid:1;)",
        Class::DecoderEvents,
    ),
    (
        "alert tcp any any -> any any (stream-event:wrong_ack; sid:1;)",
        Class::Packet,
    ),
    (
        "alert tcp any any -> any any (decode-event:ipv4.pkt_too_small; ttl:5; sid:1;)",
        Class::Packet,
    ),
    (
        "alert tcp any any -> any any (engine-event:decoder.ipv4.pkt_too_small; sid:1;)",
        Class::Packet,
    ),
    (
        "alert tcp any any -> any any (app-layer-protocol:http; sid:1;)",
        Class::ProtocolDetection,
    ),
    (
        "alert tcp any any -> any any (app-layer-protocol:http; flow:established; sid:1;)",
        Class::Packet,
    ),
    ("alert http any any -> any any (sid:1;)", Class::AppLayer),
    (
        "alert http any any -> any any (flow:established; sid:1;)",
        Class::Packet,
    ),
    (
        "alert http any any -> any any (http.uri; content:\"a\"; sid:1;)",
        Class::AppTransaction,
    ),
    (
        "alert http any any -> any any (flowbits:isset,a; http.uri; content:\"a\"; sid:1;)",
        Class::AppTransaction,
    ),
    (
        "alert tcp any any -> any any (content:\"a\"; sid:1;)",
        Class::Stream,
    ),
    (
        "alert tcp any any -> any any (pcre:\"/a/\"; sid:1;)",
        Class::Stream,
    ),
    (
        "alert tcp any any -> any any (content:\"a\"; depth:1; sid:1;)",
        Class::PacketStream,
    ),
    (
        "alert tcp any any -> any any (content:\"a\"; offset:1; sid:1;)",
        Class::PacketStream,
    ),
    (
        "alert tcp any any -> any any (content:\"a\"; startswith; sid:1;)",
        Class::PacketStream,
    ),
    (
        "alert tcp any any -> any any (content:\"a\"; stream_size:client,>,5; sid:1;)",
        Class::Stream,
    ),
    ("alert arp any any -> any any (sid:1;)", Class::Packet),
    ("alert ether any any -> any any (sid:1;)", Class::Packet),
    (
        "alert tcp any any -> any any (content:\"a\"; dsize:5; sid:1;)",
        Class::Packet,
    ),
    (
        "alert tcp any any -> any any (flow:no_stream; content:\"a\"; sid:1;)",
        Class::Packet,
    ),
    (
        "alert tcp any any -> any any (flow:only_stream; content:\"a\"; depth:1; sid:1;)",
        Class::Stream,
    ),
    (
        "alert tcp-pkt any any -> any any (content:\"a\"; sid:1;)",
        Class::Packet,
    ),
    (
        "alert tcp-stream any any -> any any (content:\"a\"; depth:1; sid:1;)",
        Class::Stream,
    ),
    (
        "alert udp any any -> any any (content:\"a\"; sid:1;)",
        Class::PacketStream,
    ),
    (
        "alert ip any any -> any any (content:\"a\"; sid:1;)",
        Class::Stream,
    ),
    (
        "alert http any any -> any any (content:\"a\"; sid:1;)",
        Class::Stream,
    ),
    (
        "alert tcp any any -> any any (tcp.hdr; content:\"a\"; sid:1;)",
        Class::Packet,
    ),
    (
        "alert tcp any any -> any any (bypass; sid:1;)",
        Class::Packet,
    ),
];

#[test]
fn classes_are_those_of_the_guide() {
    for (text, class) in CLASSES {
        assert_eq!(read(text).class, *class, "{text}");
    }
}

#[test]
fn numbers_and_modifiers_arrive() {
    let signature = read(
        r#"content:!"a|00|b"; nocase; offset:3; depth:9; content:"cd"; distance:-1; within:7; endswith;"#,
    );
    let Test::Content(first) = &signature.inspect[0].tests[0] else {
        panic!()
    };
    assert_eq!(&*first.bytes, b"a\0b");
    assert!(first.negated && first.nocase && first.relative_next);
    assert_eq!(first.offset, Some(Number::Literal(3)));
    assert_eq!(first.depth, Some(Number::Literal(9)));
    let Test::Content(second) = &signature.inspect[0].tests[1] else {
        panic!()
    };
    assert_eq!(second.distance, Some(Number::Literal(-1)));
    assert_eq!(second.within, Some(Number::Literal(7)));
    assert!(second.endswith && !second.relative_next);
}

#[test]
fn no_data_after_the_match_is_endswith() {
    let signature = read(r#"content:"a"; isdataat:!1,relative;"#);
    let tests = &signature.inspect[0].tests;
    assert_eq!(tests.len(), 1);
    assert!(matches!(&tests[0], Test::Content(c) if c.endswith));
    let signature = read(r#"content:"a"; isdataat:!2,relative;"#);
    assert_eq!(signature.inspect[0].tests.len(), 2);
}

#[test]
fn byte_tests_arrive() {
    let signature = read(
        "byte_extract:2,0,size,little; byte_test:4,!&,0x0f,-4,relative,string,hex; \
         byte_jump:1,size,relative,align,post_offset -2; \
         byte_math:bytes 1, offset 2, oper <<, rvalue size, result next, bitmask 0xf0;",
    );
    let tests = &signature.inspect[0].tests;
    assert_eq!(signature.variables, 2);
    assert!(matches!(&tests[0], Test::ByteExtract(e) if e.format.little && e.variable == 0));
    let Test::ByteTest(test) = &tests[1] else {
        panic!()
    };
    assert!(test.negated && test.relative);
    assert_eq!(test.operator, ByteOperator::And);
    assert_eq!(
        (test.value, test.offset),
        (Number::Literal(15), Number::Literal(-4))
    );
    assert_eq!(test.format.base, Some(16));
    let Test::ByteJump(jump) = &tests[2] else {
        panic!()
    };
    assert_eq!(
        (jump.offset, jump.post_offset),
        (Number::Variable(0), Number::Literal(-2))
    );
    assert!(jump.align && jump.relative);
    let Test::ByteMath(math) = &tests[3] else {
        panic!()
    };
    assert_eq!(
        (math.operator, math.value),
        (MathOperator::ShiftLeft, Number::Variable(0))
    );
    assert_eq!((math.variable, math.bitmask), (1, Some(0xf0)));
}

#[test]
fn buffers_keep_their_tests() {
    let app = |name: &str| Buffer::App(name.into());
    let buffers = |signature: &Signature| -> Vec<(Buffer, usize)> {
        signature
            .inspect
            .iter()
            .map(|i| (i.buffer.clone(), i.tests.len()))
            .collect()
    };
    // A single-instance buffer named twice is one buffer; a multi-instance one is two.
    let signature = read(
        r#"content:"p"; http.uri; content:"a"; http.host; content:"b"; http.uri; content:"c"; pkt_data; content:"q";"#,
    );
    assert_eq!(
        buffers(&signature),
        [
            (Buffer::Payload, 2),
            (app("http.uri"), 2),
            (app("http.host"), 1)
        ]
    );
    let signature = read(r#"dns.query; content:"a"; dns.query; content:"b";"#);
    assert_eq!(
        buffers(&signature),
        [(app("dns.query"), 1), (app("dns.query"), 1)]
    );
    // Old modifiers look back.
    let signature =
        read(r#"content:"a"; http_uri; content:"b"; content:"c"; http_uri; pcre:"/d/UR";"#);
    assert_eq!(
        buffers(&signature),
        [(Buffer::Payload, 1), (app("http.uri"), 3)]
    );
    assert_eq!(signature.flow.map(|f| f.to_server), Some(true));
    // Transforms make another buffer.
    let signature = read(r#"dns.query; content:"a"; dotprefix; content:".b"; endswith;"#);
    assert_eq!(signature.inspect[1].transforms, [Transform::DotPrefix]);
    let signature = read(r#"tcp.hdr; content:"a"; ipv4.hdr; content:"b";"#);
    assert_eq!(
        buffers(&signature),
        [(Buffer::TcpHeader, 1), (Buffer::Ipv4Header, 1)]
    );
}

#[test]
fn decoded_bytes_have_tests_of_their_own() {
    let signature = read(
        r#"content:"a"; base64_decode:bytes 9, offset 2, relative; base64_data; content:"b"; nocase; pcre:"/c/R";"#,
    );
    let tests = &signature.inspect[0].tests;
    assert_eq!(tests.len(), 2);
    let Test::Base64 { decode, then } = &tests[1] else {
        panic!()
    };
    assert_eq!((decode.bytes, decode.offset, decode.relative), (9, 2, true));
    assert!(matches!(&then[0], Test::Content(c) if c.nocase && c.relative_next));
    assert_eq!(then.len(), 2);
}

#[test]
fn what_cannot_run_is_named() {
    let signature = read("alert irc any any -> any any (content:\"a\"; geoip:src,DE; sid:1;)");
    let names: Vec<&str> = signature.unsupported.iter().map(|u| &**u).collect();
    assert_eq!(names, ["protocol irc", "geoip without geoip-database"]);
    assert!(read("content:\"a\"; flags:S;").unsupported.is_empty());
}

#[test]
fn config_hushes_transactions_in_their_own_scope_alone() {
    let of = |what: &str| read(&format!("content:\"a\"; config:{what};"));
    for subsystem in ["logging", "tracking"] {
        let hushed = of(&format!("{subsystem} disable, type tx, scope tx"));
        assert!(hushed.quiet && hushed.unsupported.is_empty());
        for rest in [
            "type tx, scope flow",
            "type flow, scope tx",
            "type tx, scope packet",
        ] {
            let nothing = of(&format!("{subsystem} disable, {rest}"));
            assert!(!nothing.quiet && nothing.unsupported.is_empty());
        }
    }
    let untracked = of("tracking disable, type flow, scope packet");
    assert_eq!(untracked.unsupported, ["config:tracking packet".into()]);
}

#[test]
fn expressions_name_variables_by_the_order_of_their_groups() {
    let signature = read(r#"pcre:"/(a)(?P<flow_two>b)(?P<pkt_two>c)/, alert:one";"#);
    let Test::Pcre(pcre) = &signature.inspect[0].tests[0] else {
        panic!()
    };
    let expected = [Capture::Nothing, Capture::Flow(0), Capture::Packet(0)];
    assert_eq!(pcre.captures, expected);
    // Names without a group to take are of no account; what looks ahead is no group.
    for text in [
        r#"pcre:"/a/, flow:x, nonsense";"#,
        r#"pcre:"/(?=x)(?:y)(a)(?<n>b)\((?i)[(]/, pkt:key, pkt:value";"#,
    ] {
        assert!(
            matches!(&read(text).inspect[0].tests[0], Test::Pcre(_)),
            "{text}"
        );
    }
}

/// As Suricata's setup of `flow`, `gid`, `msg` and the protocol of the header reads them.
#[test]
fn what_may_be_said_twice_counts_together() {
    let flow = read("flow:to_server; flow:established,only_stream;").flow;
    let flow = flow.unwrap();
    assert!(flow.to_server && flow.established && flow.only_stream && !flow.to_client);
    assert_eq!(read("gid:3; gid:4;").gid, 4);
    assert_eq!(&*read(r#"msg:"a\;b\c\\d";"#).msg, r"a;bc\d");
    let hooked = read("alert tls:<client_hello_done any any -> any any (sid:1;)");
    let plain = read("alert tls:client_hello_done any any -> any any (sid:1;)");
    assert!(hooked.unsupported.is_empty() && !plain.app.is_empty());
    assert_eq!(hooked.app, plain.app);
}

#[test]
fn what_marks_packets_elsewhere_is_run_without_and_what_changes_them_is_not() {
    let marks = read(r#"content:"ab"; nfq_set_mark:1/1;"#);
    assert!(marks.unsupported.is_empty());
    assert_eq!(marks.inspect[0].tests.len(), 1);
    assert!(
        !read(r#"content:"ab"; replace:"cd";"#)
            .unsupported
            .is_empty()
    );
}

#[test]
fn priorities_come_from_the_classtype_or_the_rule() {
    assert_eq!(read("classtype:trojan-activity;").priority, 1);
    assert_eq!(read("classtype:trojan-activity; priority:4;").priority, 4);
    assert_eq!(read("priority:4; priority:2; priority:7;").priority, 2);
    assert_eq!(read("dsize:1;").priority, 3);
}

#[test]
fn signatures_stand_in_the_order_of_evaluation() {
    let text = b"alert tcp any any -> any any (dsize:1; sid:1; priority:2;)\n\
        alert tcp any any -> any any (dsize:1; sid:2; priority:1;)\n\
        alert tcp any any -> any any (flowbits:isset,a; sid:3;)\n\
        alert tcp any any -> any any (flowbits:set,a; dsize:1; sid:4;)\n\
        alert tcp any any -> any any (flowbits:isset,a; flowbits:set,b; sid:5;)\n\
        reject tcp any any -> any any (dsize:1; sid:6;)\n\
        drop tcp any any -> any any (dsize:1; sid:7;)\n\
        pass tcp any any -> any any (dsize:1; sid:8;)\n\
        alert tcp any any -> any any (flowint:ab,=,1; dsize:1; sid:9;)\n";
    let file = File { path: "a", text };
    let loaded = load(
        &[file],
        &Variables::default(),
        &Classification::default(),
        &Options::default(),
    );
    let sids: Vec<u32> = loaded.signatures.iter().map(|s| s.sid).collect();
    assert_eq!(sids, [8, 7, 6, 4, 5, 3, 9, 2, 1]);
    assert_eq!(loaded.names.flowbits.names().len(), 2);
}
