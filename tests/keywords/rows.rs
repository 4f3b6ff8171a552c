//! The rows: a rule, the conversation in which it fires and the one in which it does not.
//!
//! A rule is `protocol | options`; without a bar the protocol is `tcp`. Rules before `&&` prepare.

use super::talks::*;

/// See above.
pub struct Row {
    pub rule: &'static str,
    pub fires: &'static str,
    pub silent: &'static str,
}

const fn row(rule: &'static str, fires: &'static str, silent: &'static str) -> Row {
    Row {
        rule,
        fires,
        silent,
    }
}

/// Fires in no conversation at all.
pub const NOWHERE: &str = "";

const POST: &[u8] = b"POST /Upload/Index.php?id=7&x=%41%2f HTTP/1.1\r\n\
Host: Www.Example.com:8080\r\nUser-Agent: TestAgent/1.0\r\nAccept: text/html\r\n\
Accept-Encoding: gzip, br\r\nAccept-Language: en-US\r\nCookie: session=abc\r\n\
Referer: http://ref.example/page\r\nConnection: keep-alive\r\n\
Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 20\r\n\r\n\
name=c2x1aWNlIGdhdGU";
const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Here\r\nServer: gate/2\r\nLocation: /elsewhere\r\n\
Set-Cookie: token=xyz\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nnothing there";
const GET: &[u8] = b"GET / HTTP/1.0\r\nHost: other\r\n\r\n";
const OK: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok";
const PLAIN: &[u8] = b"\x00\x00\x00\x10alpha beta gamma\x00\x2a\x01\x02";
const OTHER: &[u8] = b"\xff\xff\x7f\xffnothing like it at all here";
const ASN1: &[u8] = b"\x30\x82\x02\x00\x04\x82\x01\xf0 a long one";
const SMTP_S: [&[u8]; 4] = [
    b"220 mail.example ESMTP\r\n",
    b"250 hello\r\n",
    b"250 fine\r\n",
    b"354 go on\r\n",
];
const MAIL: &[u8] = b"From: Bob <bob@example.org>\r\nTo: alice@example.net\r\n\
Subject: invoice 12\r\nDate: Fri, 21 Apr 2023 05:10:36 +0000\r\nX-Mailer: Handmade 3\r\n\
Message-ID: <77@example.org>\r\nMIME-Version: 1.0\r\n\
Content-Type: application/octet-stream; name=\"tool.exe\"\r\n\
Content-Disposition: attachment; filename=\"tool.exe\"\r\n\r\nMZ and more\r\n.\r\n";

/// All conversations, by name.
pub fn talks() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let query = dns("www.bad-place.example", 1, [1, 0], 0);
    let answer = dns("www.bad-place.example", 1, [0x81, 0x83], 0);
    let found = dns("www.bad-place.example", 1, [0x81, 0x80], 1);
    let mx = dns("quiet.example", 15, [1, 0], 0);
    let mail = |from: &'static [u8], body: &'static [u8]| {
        tcp(
            25,
            &[
                (false, SMTP_S[0]),
                (true, b"EHLO relay.example\r\n"),
                (false, SMTP_S[1]),
                (true, from),
                (false, SMTP_S[2]),
                (true, b"RCPT TO:<alice@example.net>\r\n"),
                (false, SMTP_S[2]),
                (true, b"DATA\r\n"),
                (false, SMTP_S[3]),
                (true, body),
                (false, SMTP_S[2]),
                (true, b"QUIT\r\n"),
                (false, b"221 bye\r\n"),
            ],
        )
    };
    vec![
        ("http", tcp(80, &[(true, POST), (false, NOT_FOUND)])),
        ("other_http", tcp(80, &[(true, GET), (false, OK)])),
        (
            "http_bare",
            tcp(80, &[(true, b"GET /x HTTP/1.1\r\n\r\n"), (false, OK)]),
        ),
        // No probe knows the method: the answer tells what is spoken.
        (
            "odd_method",
            tcp(
                80,
                &[
                    (true, b"UNSUBSCRIBE /x HTTP/1.1\r\nHost: odd\r\n\r\n"),
                    (false, OK),
                ],
            ),
        ),
        (
            "mixed",
            tcp(7777, &[(true, GET), (false, b"SSH-2.0-gate\r\n")]),
        ),
        ("one_sided", tcp(7777, &[(true, &[0xfe; 110_000])])),
        ("wrong_ack", wrong_ack()),
        ("plain", tcp(7777, &[(true, PLAIN), (false, b"yes")])),
        ("other", tcp(7777, &[(true, OTHER), (false, b"no")])),
        ("asn1", tcp(7777, &[(true, ASN1), (false, b"no")])),
        ("even", tcp(7777, &[(true, &even()), (false, b"no")])),
        (
            "udp",
            udp(9999, &[(true, PLAIN), (false, b"yes, a longer answer")]),
        ),
        ("other_udp", udp(9998, &[(true, OTHER)])),
        ("dns", udp(53, &[(true, &query), (false, &answer)])),
        ("dns_found", udp(53, &[(true, &query), (false, &found)])),
        ("other_dns", udp(53, &[(true, &mx)])),
        (
            "tls",
            tls("shop.bad.example", "bad.example", "Evil CA", &[0x12, 0xab]),
        ),
        (
            "other_tls",
            tls("fine.example", "fine.test", "Good CA", &[0x33]),
        ),
        (
            "ssh",
            tcp(
                22,
                &[
                    (false, b"SSH-2.0-OpenGate_9\r\n"),
                    (true, b"SSH-1.99-libclient_3\r\n"),
                ],
            ),
        ),
        (
            "other_ssh",
            tcp(
                22,
                &[(false, b"SSH-1.5-old\r\n"), (true, b"SSH-1.5-older\r\n")],
            ),
        ),
        // Settings, a request and its answer, and then the client gives the stream up.
        (
            "h2",
            tcp(
                80,
                &[
                    (
                        true,
                        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
                    ),
                    (false, b"\0\0\0\x04\0\0\0\0\0"),
                    (true, b"\0\0\x03\x01\x04\0\0\0\x01\x82\x84\x86"),
                    (false, b"\0\0\x01\x01\x04\0\0\0\x01\x88"),
                    (true, b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08"),
                ],
            ),
        ),
        ("mutual", mutual_tls("shop.example", "example", "Alice")),
        ("smtp", mail(b"MAIL FROM:<bob@example.org>\r\n", MAIL)),
        (
            "other_smtp",
            mail(
                b"MAIL FROM:<eve@example.com>\r\n",
                b"Subject: none\r\n\r\nplain text\r\n.\r\n",
            ),
        ),
        (
            "ftp",
            tcp(
                21,
                &[
                    (false, b"220 ready\r\n"),
                    (true, b"USER backdoor\r\n"),
                    (false, b"331 password\r\n"),
                    (true, b"PORT 10,9,9,9,4,1\r\n"),
                    (false, b"200 fine\r\n"),
                ],
            ),
        ),
        (
            "other_ftp",
            tcp(
                21,
                &[
                    (false, b"220 ready\r\n"),
                    (true, b"SYST\r\n"),
                    (false, b"215 UNIX\r\n"),
                ],
            ),
        ),
        (
            "mqtt",
            tcp(
                1883,
                &[
                    (
                        true,
                        b"\x10\x16\x00\x04MQTT\x04\xc2\x00\x3c\x00\x02id\x00\x02me\x00\x02pw",
                    ),
                    (false, b"\x20\x02\x00\x00"),
                    (true, b"\x39\x09\x00\x04a/b/hey"),
                ],
            ),
        ),
        (
            "other_mqtt",
            tcp(
                1883,
                &[
                    (true, b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02id"),
                    (false, b"\x20\x02\x00\x05"),
                    (false, b"\x39\x09\x00\x04c/d/hey"),
                ],
            ),
        ),
        ("ping", icmp(8, 3, 77, 5)),
        ("other_ping", icmp(0, 0, 78, 6)),
        ("six", icmp6(1200)),
        ("six_small", icmp6(9000)),
        (
            "ip_odd",
            odd_ip(&[7, 4, 4, 0], &[(1, 0x10), (6, 0x40), (8, 3)]),
        ),
        ("ip_plain", odd_ip(&[], &[(8, 64), (4, 9)])),
        ("ip_more", odd_ip(&[], &[(6, 0x20), (7, 2)])),
        ("ip_bad", wrong(odd_ip(&[], &[]), 24)),
        ("igmp", raw_ip(2, CLIENT, [224, 0, 0, 1])),
        ("itself", raw_ip(99, CLIENT, CLIENT)),
        ("vlan", tagged(odd_ip(&[], &[]), &[100])),
        ("vlan2", tagged(odd_ip(&[], &[]), &[7, 300])),
        ("syn", syn(&[2, 4, 1, 0, 3, 3, 9, 0])),
        ("other_syn", syn(&[2, 4, 5, 0xb4])),
        (
            "rpc",
            udp(
                111,
                &[(
                    true,
                    b"\0\0\0\x09\0\0\0\0\0\0\0\x02\0\x01\x86\xa0\0\0\0\x02\0\0\0\x03\0\0\0\0",
                )],
            ),
        ),
    ]
}

pub const ROWS: &[Row] = &[
    // Contents and what changes them.
    row("content:\"alpha\";", "plain", "other"),
    row("content:\"ALPHA\"; nocase;", "plain", "other"),
    row("content:\"alpha\"; offset:4;", "plain", "other"),
    row("content:\"alpha\"; depth:9;", "plain", "other"),
    row(
        "content:\"alpha\"; content:\"beta\"; distance:1;",
        "plain",
        "other",
    ),
    row(
        "content:\"alpha\"; content:\"beta\"; distance:1; within:4;",
        "plain",
        "other",
    ),
    row("content:\"|00 00 00 10|\"; startswith;", "plain", "other"),
    row("content:\"|01 02|\"; endswith;", "plain", "other"),
    row("content:!\"nothing\"; content:\"a\";", "plain", "other"),
    row(
        "tcp | uricontent:\"index.php\"; nocase;",
        "http",
        "other_http",
    ),
    row("pcre:\"/^....alpha\\s+beta/\";", "plain", "other"),
    row("content:\"alpha\"; pcre:\"/^\\sbeta/R\";", "plain", "other"),
    row("content:\"alpha\"; isdataat:12,relative;", "plain", "other"),
    row(
        "content:\"alpha\"; isdataat:!30,relative;",
        "plain",
        "other",
    ),
    row("dsize:24; content:\"alpha\";", "plain", "other"),
    row("dsize:24;", "plain", "other"),
    row("byte_test:4,=,16,0;", "plain", "other"),
    row(
        "content:\"gamma\"; byte_test:2,>,40,0,relative;",
        "plain",
        "other",
    ),
    row(
        "byte_jump:4,0; content:\"|00 2a|\"; within:2;",
        "plain",
        "other",
    ),
    row(
        "byte_extract:1,3,size; content:\"|00 2a|\"; offset:size; depth:6;",
        "plain",
        "other",
    ),
    row(
        "byte_math:bytes 1,offset 3,oper +,rvalue 4,result end; content:\"|00 2a|\"; offset:end; depth:2;",
        "plain",
        "other",
    ),
    row("asn1:oversize_length 400;", "asn1", "plain"),
    row(
        "asn1:oversize_length 400 absolute_offset 0;",
        "asn1",
        "plain",
    ),
    row("entropy:value > 7.5;", "even", "plain"),
    row("flow:to_client; content:\"yes\";", "plain", "other"),
    row("pkt_data; content:\"alpha\";", "plain", "other"),
    row(
        "http | http.uri; content:\"Upload\"; pkt_data; content:\"Host\";",
        "http",
        "other_http",
    ),
    row(
        "frame:http1.request; content:\"Upload\";",
        "http",
        "other_http",
    ),
    // Packets and headers.
    row("ip | ttl:3;", "ip_odd", "ip_plain"),
    row("ip | tos:16;", "ip_odd", "ip_plain"),
    row("ip | id:2356;", "ip_plain", "ip_odd"),
    row("ip | ip_proto:99;", "itself", "ip_plain"),
    row("ip | ipopts:rr;", "ip_odd", "ip_plain"),
    row("ip | fragbits:D;", "ip_odd", "ip_plain"),
    row("ip | fragbits:M; fragoffset:2;", "ip_more", "ip_plain"),
    row("ip | sameip;", "itself", "ip_plain"),
    row("ip | l3_proto:ipv6;", "six", "ping"),
    row("ip | ipv4-csum:invalid;", "ip_bad", "ip_plain"),
    row("icmp | itype:8;", "ping", "other_ping"),
    row("icmp | icode:3;", "ping", "other_ping"),
    row("icmp | icmp_id:77;", "ping", "other_ping"),
    row("icmp | icmp_seq:5;", "ping", "other_ping"),
    row(
        "icmp | icmp_id:70-80; icmp_seq:\"5\";",
        "ping",
        "other_ping",
    ),
    row("icmpv6 | icmpv6.mtu:<1280;", "six", "six_small"),
    row(
        "icmpv6 | icmpv6.hdr; content:\"|02 00|\"; startswith; content:\"|04 b0|\"; endswith;",
        "six",
        "six_small",
    ),
    row(
        "icmpv4 | icmpv4.hdr; content:\"|08 03|\"; startswith;",
        "ping",
        "other_ping",
    ),
    row("ip | igmp.type:112;", "igmp", "itself"),
    row(
        "ip | ipv4.hdr; content:\"|07 04 04 00|\"; endswith;",
        "ip_odd",
        "ip_plain",
    ),
    row("ip | ipv6.hdr; content:\"|20 01 0d b8|\";", "six", "ping"),
    row(
        "udp | udp.hdr; content:\"|27 0f|\"; offset:2; depth:2;",
        "udp",
        "other_udp",
    ),
    row("tcp.hdr; content:\"|02 04 01 00|\";", "syn", "other_syn"),
    row(
        "ether | ether.hdr; content:\"|86 dd|\"; endswith;",
        "six",
        "ping",
    ),
    row("tcp.flags:S; tcp.mss:256;", "syn", "other_syn"),
    row("tcp.wscale:9;", "syn", "other_syn"),
    row("flags:FA;", "plain", "syn"),
    row("seq:1001; ack:9001; window:8192;", "plain", "syn"),
    row("seq:1000-1002; ack:>9000; window:!1;", "plain", "syn"),
    row("ip | vlan.id:100;", "vlan", "vlan2"),
    row("ip | vlan.id:300,-1;", "vlan2", "vlan"),
    row("ip | vlan.id:<301,all;", "vlan2", "ip_plain"),
    row("ip | vlan.id:100,or_absent;", "ip_plain", "vlan2"),
    row("ip | vlan.id:>100,nb1;", "vlan2", "vlan"),
    row("ip | vlan.id:count>1;", "vlan2", "vlan"),
    row("ip | vlan.layers:2;", "vlan2", "vlan"),
    row("udp | rpc:100000,2,3;", "rpc", "udp"),
    row("udp | dsize:24;", "udp", "rpc"),
    row(
        "ip | ip.src; content:\"|0a 00 00 02|\"; bsize:4;",
        "ip_plain",
        "six",
    ),
    row(
        "ip | ip.dst; content:\"|c0 a8 07 01|\";",
        "ip_plain",
        "itself",
    ),
    row(
        "http | http.host; dataset:set,hosts,type string;",
        "http",
        "ssh",
    ),
    row(
        "pkthdr | decode-event:icmpv4.unknown_code;",
        "ping",
        "other_ping",
    ),
    row(
        "pkthdr | engine-event:decoder.icmpv4.unknown_code;",
        "ping",
        "other_ping",
    ),
    row(
        "stream-event:3whs_synack_with_wrong_ack;",
        "wrong_ack",
        "plain",
    ),
    row("tcp.session:setup; flags:SA;", "plain", "syn"),
    row("tcp.session:closing;", "plain", "syn"),
    // Flows.
    row(
        "flow:established,to_server; content:\"alpha\";",
        "plain",
        "other",
    ),
    row("flow:not_established; flags:S;", "syn", "ping"),
    row("stream_size:client,>,20; flow:established;", "plain", "syn"),
    row("flow.pkts_toserver:>3;", "plain", "syn"),
    row("flow.bytes_toserver:>200;", "plain", "syn"),
    row("flow.elephant:toserver;", "plain", "syn"),
    row(
        "content:\"alpha\"; flowbits:set,one; noalert; && flowbits:isset,one; content:\"yes\";",
        "plain",
        "other",
    ),
    row(
        "content:\"alpha\"; flowint:count,=,3; noalert; && flowint:count,==,3; content:\"yes\";",
        "plain",
        "other",
    ),
    row(
        "content:\"alpha\"; pcre:\"/al(?P<flow_rest>[a-z]+)/\"; noalert; && flowvar:rest,pha; content:\"yes\";",
        "plain",
        "other",
    ),
    row(
        "pcre:\"/(al)(p)/, flow:none, flow:p\"; noalert; && flowvar:p,|70|; content:\"yes\";",
        "plain",
        "other",
    ),
    row(
        "content:\"alpha\"; pcre:\"/al(?P<pkt_rest>[a-z]+)/\"; noalert; && pktvar:rest,ha; content:\"alpha\";",
        "plain",
        "other",
    ),
    row(
        "content:\"alpha\"; pcre:\"/al([a-z]+)/, pkt:rest\"; noalert; && pktvar:rest,ha; content:\"yes\";",
        NOWHERE,
        NOWHERE,
    ),
    row(
        "content:\"alpha\"; xbits:set,x,track ip_src,expire 60; noalert; && xbits:isset,x,track ip_dst; content:\"yes\";",
        "plain",
        "other",
    ),
    row(
        "content:\"alpha\"; hostbits:set,h,src; noalert; && hostbits:isset,h,dst; content:\"yes\";",
        "plain",
        "other",
    ),
    row(
        "content:\"alpha\"; threshold:type limit,track by_src,count 1,seconds 60;",
        "plain",
        "other",
    ),
    row(
        "udp | threshold:type both,track by_both,count 2,seconds 60;",
        "udp",
        "rpc",
    ),
    row(
        "udp | detection_filter:track by_flow,count 1,seconds 60; content:\"a\";",
        "udp",
        "other_udp",
    ),
    row(
        "content:\"alpha\"; tag:session,3,packets;",
        "plain",
        "other",
    ),
    row("content:\"alpha\"; noalert;", NOWHERE, "plain"),
    row("app-layer-protocol:http;", "http", "plain"),
    row(
        "http | http.method; content:\"POST\"; xbits:set,x,track tx; noalert; && http | xbits:isset,x,track tx; http.stat_code; content:\"404\";",
        "http",
        "other_http",
    ),
    // HTTP.
    row(
        "http | http.method; subslice:1,2; content:\"OS\"; bsize:2;",
        "http",
        "other_http",
    ),
    row(
        "http | http.method; subslice:1,9,truncate; bsize:3;",
        "http",
        "other_http",
    ),
    row(
        "http | http.method; subslice:-4,2; content:\"PO\";",
        "http",
        "other_http",
    ),
    row(
        "http | http.uri; content:\"/Upload/Index.php?id=7&x=A\";",
        "http",
        "other_http",
    ),
    row("http | http.uri; bsize:1;", "other_http", "http"),
    row(
        "http | http.uri.raw; content:\"%41%2f\";",
        "http",
        "other_http",
    ),
    row("http | urilen:>20;", "http", "other_http"),
    row(
        "http | http.method; content:\"POST\";",
        "http",
        "other_http",
    ),
    row(
        "http | http.protocol; content:\"HTTP/1.1\";",
        "http",
        "other_http",
    ),
    row(
        "http | http.request_line; content:\"POST /Upload\"; startswith;",
        "http",
        "other_http",
    ),
    row(
        "http | http.host; content:\"www.example.com\";",
        "http",
        "other_http",
    ),
    row(
        "http | http.host.raw; content:\"Www.Example.com\";",
        "http",
        "other_http",
    ),
    row(
        "http | http.host; dotprefix; content:\".example.com\"; endswith;",
        "http",
        "other_http",
    ),
    row(
        "http | http.header; content:\"Accept-Language|3a 20|en-US\";",
        "http",
        "other_http",
    ),
    row(
        "http | http.header.raw; content:\"Connection|3a| keep-alive\";",
        "http",
        "other_http",
    ),
    row(
        "http | http.header_names; content:\"|0d 0a|Referer|0d 0a|\";",
        "http",
        "other_http",
    ),
    row(
        "http | http.request_header; content:\"user-agent|3a| TestAgent\"; nocase;",
        "http",
        "other_http",
    ),
    row(
        "http | http.response_header; content:\"server|3a| gate\"; nocase;",
        "http",
        "other_http",
    ),
    row(
        "http | http.start; content:\"POST \"; startswith;",
        "http",
        "other_http",
    ),
    row(
        "http | http.user_agent; content:\"TestAgent\";",
        "http",
        "other_http",
    ),
    row("http | http.user_agent; absent;", "other_http", "http"),
    row(
        "http | http.cookie; content:\"session=abc\";",
        "http",
        "other_http",
    ),
    row(
        "http | http.referer; content:\"ref.example\";",
        "http",
        "other_http",
    ),
    row(
        "http | http.accept; content:\"text/html\";",
        "http",
        "other_http",
    ),
    row(
        "http | http.accept_enc; content:\"gzip\";",
        "http",
        "other_http",
    ),
    row(
        "http | http.accept_lang; content:\"en-US\";",
        "http",
        "other_http",
    ),
    row(
        "http | http.connection; content:\"keep-alive\";",
        "http",
        "other_http",
    ),
    row(
        "http | http.content_type; content:\"form-urlencoded\";",
        "http",
        "other_http",
    ),
    row(
        "http | http.content_len; content:\"20\"; bsize:2;",
        "http",
        "other_http",
    ),
    row(
        "http | http.request_body; content:\"name=c2x1\";",
        "http",
        "other_http",
    ),
    row(
        "http | http.stat_code; content:\"404\";",
        "http",
        "other_http",
    ),
    row(
        "http | http.stat_msg; content:\"Not Here\";",
        "http",
        "other_http",
    ),
    row(
        "http | http.response_line; content:\"HTTP/1.1 404\";",
        "http",
        "other_http",
    ),
    row(
        "http | http.response_body; content:\"nothing there\";",
        "http",
        "other_http",
    ),
    row(
        "http | http.location; content:\"/elsewhere\";",
        "http",
        "other_http",
    ),
    row(
        "http | http.server; content:\"gate/2\";",
        "http",
        "other_http",
    ),
    row(
        "http | flow:to_client; file.data; content:\"nothing\";",
        "http",
        "other_http",
    ),
    row(
        "http | content:\"index.php\"; nocase; http_uri;",
        "http",
        "other_http",
    ),
    row(
        "http | content:\"%2f\"; http_raw_uri;",
        "http",
        "other_http",
    ),
    row(
        "http | content:\"POST\"; http_method;",
        "http",
        "other_http",
    ),
    row(
        "http | content:\"TestAgent\"; http_header;",
        "http",
        "other_http",
    ),
    row(
        "http | content:\"TestAgent\"; http_raw_header;",
        "http",
        "other_http",
    ),
    row(
        "http | content:\"TestAgent\"; http_user_agent;",
        "http",
        "other_http",
    ),
    row(
        "http | content:\"session\"; http_cookie;",
        "http",
        "other_http",
    ),
    row(
        "http | content:\"example.com\"; http_host;",
        "http",
        "other_http",
    ),
    row(
        "http | content:\"Example.com\"; http_raw_host;",
        "http",
        "other_http",
    ),
    row(
        "http | content:\"name=\"; http_client_body;",
        "http",
        "other_http",
    ),
    row(
        "http | content:\"nothing\"; http_server_body;",
        "http",
        "other_http",
    ),
    row(
        "http | content:\"404\"; http_stat_code;",
        "http",
        "other_http",
    ),
    row(
        "http | content:\"Not Here\"; http_stat_msg;",
        "http",
        "other_http",
    ),
    row(
        "http | http.request_body; content:\"name=\"; base64_decode:relative; base64_data; content:\"sluice\";",
        "http",
        "other_http",
    ),
    row(
        "http | http.uri; to_lowercase; content:\"/upload/\";",
        "http",
        "other_http",
    ),
    row(
        "http | http.uri; to_uppercase; content:\"/UPLOAD/\";",
        "http",
        "other_http",
    ),
    row(
        "http | http.accept_enc; strip_whitespace; content:\"gzip,br\";",
        "http",
        "other_http",
    ),
    row(
        "http | http.uri.raw; url_decode; content:\"x=A/\";",
        "http",
        "other_http",
    ),
    row(
        "http | http.method; to_md5; content:\"|75 28 03 5a 93 ee 69 ce db 1d bd db 2f 0b fc c8|\";",
        "other_http",
        "http",
    ),
    row(
        "http | http.method; to_sha1; content:\"|f0 30 bb bd 32 96 6c de 41 03 7b 98 a8 84 9c 46 b7 6e 4b c1|\";",
        "other_http",
        "http",
    ),
    row(
        "http | http.method; to_sha256; content:\"|14 e3 0c d1 63 c7 32 91 2e 04 8c 4c 83 7e 15 c4 e9 0c 06 2e bb 79 5a b9 47 d5 77 06 e2 d1 0d d8|\";",
        "other_http",
        "http",
    ),
    row("http | filename:\"index.php\";", "http", "other_http"),
    row(
        "http | app-layer-event:http.missing_host_header;",
        "http_bare",
        "http",
    ),
    row(
        "http1:request_complete | http.uri; content:\"Upload\";",
        "http",
        "other_http",
    ),
    row(
        "http1:response_complete | http.stat_code; content:\"404\";",
        "http",
        "other_http",
    ),
    // DNS.
    row(
        "dns | dns.query; content:\"bad-place\";",
        "dns",
        "other_dns",
    ),
    row(
        "dns | dns.query; content:\"place.example\"; endswith;",
        "dns",
        "other_dns",
    ),
    row(
        "dns | dns.opcode:0; dns.query; content:\"quiet\";",
        "other_dns",
        "dns",
    ),
    row("dns | dns.rcode:NXDOMAIN;", "dns", "dns_found"),
    row("dns | dns.rrtype:MX;", "other_dns", "dns"),
    row(
        "dns | dns.rrtype:count 1; dns.query; content:\"quiet\";",
        "other_dns",
        "dns",
    ),
    row(
        "dns | dns.answers.rrname; content:\"bad-place\";",
        "dns_found",
        "dns",
    ),
    row(
        "dns:request_complete | dns.query; content:\"bad-place\";",
        "dns",
        "other_dns",
    ),
    // TLS.
    row("tls | tls.sni; content:\"shop.bad\";", "tls", "other_tls"),
    row(
        "tls | tls.cert_subject; content:\"CN=bad.example\";",
        "tls",
        "other_tls",
    ),
    row(
        "tls | tls.cert_issuer; content:\"Evil CA\";",
        "tls",
        "other_tls",
    ),
    row(
        "tls | tls.cert_serial; content:\"12:AB\";",
        "tls",
        "other_tls",
    ),
    row("tls | tls.subject:\"bad.example\";", "tls", "other_tls"),
    row("tls | tls.issuerdn:\"Evil\";", "tls", "other_tls"),
    row(
        "tls | tls.certs; content:\"bad.example\";",
        "tls",
        "other_tls",
    ),
    row(
        "tls | tls.subjectaltname; content:\"alt.bad.example\";",
        "tls",
        "other_tls",
    ),
    row("tls | tls.alpn; content:\"h2\"; bsize:2;", "tls", "http"),
    row("tls | tls.version:1.2;", "tls", "http"),
    row("tls | ssl_state:client_hello;", "tls", "http"),
    row("tls | ssl_state:client_keyx;", "tls", "http"),
    row(
        "http | http.method; content:\"UNSUBSCRIBE\"; http.host; content:\"odd\";",
        "odd_method",
        "http",
    ),
    row(
        "ip | app-layer-event:applayer_mismatch_protocol_both_directions;",
        "mixed",
        "http",
    ),
    row(
        "ip | app-layer-event:applayer_detect_protocol_only_one_direction;",
        "odd_method",
        "http",
    ),
    row(
        "ip | app-layer-event:applayer_proto_detection_skipped;",
        "one_sided",
        "plain",
    ),
    // What a direction's own first bytes tell is not always what the flow is.
    row(
        "tcp | flow:established; app-layer-protocol:failed,to_server;",
        "odd_method",
        "http",
    ),
    row(
        "tcp | flow:to_client,established; app-layer-protocol:ssh;",
        "mixed",
        "http",
    ),
    row(
        "tcp | flow:established; app-layer-protocol:!http,to_client;",
        "mixed",
        "odd_method",
    ),
    row(
        "tcp | flow:established; app-layer-protocol:ssh,either;",
        "mixed",
        "odd_method",
    ),
    row(
        "tcp | flow:established; app-layer-protocol:!http,either;",
        "ssh",
        "mixed",
    ),
    row(
        "tcp | flow:established; app-layer-protocol:ssh,final;",
        "ssh",
        "mixed",
    ),
    row("http2:stream:request_started | ", "h2", "http"),
    row(
        "http2:stream:request_headers | http.method; content:\"GET\";",
        "h2",
        "http",
    ),
    row("http2:stream:response_headers | ", "h2", "http"),
    row("http2:stream:response_complete | ", NOWHERE, "h2"),
    row("http2:global:request_started | ", NOWHERE, "h2"),
    // Frames of a stream come after its headers.
    row("http2 | http2.frametype:RSTSTREAM;", "h2", "http"),
    row("http2 | http2.errorcode:CANCEL;", "h2", "http"),
    // The client's certificate comes after its hello.
    row(
        "tls | flow:to_server; tls.sni; content:\"shop\"; tls.cert_subject; content:\"Alice\";",
        "mutual",
        "tls",
    ),
    row(
        "tls | flow:to_server; tls_cert_notafter:>2001;",
        "mutual",
        "tls",
    ),
    row("tls | tls.sni; content:\"shop\"; tls.store;", "tls", "http"),
    row("tls | ssl_version:tls1.2;", "tls", "http"),
    row("tls | ssl_version:!tls1.0,tls1.1;", "tls", "http"),
    row("tls | ssl_version:!tls1.2;", NOWHERE, "tls"),
    row("tls | ssl_state:server_keyx|client_hello;", "tls", "http"),
    row(
        "tls | ja3.string; content:\"771,49199-156\"; startswith;",
        "tls",
        "http",
    ),
    row("tls | ja3.hash; content:!\"00000000\";", "tls", "http"),
    row("tls | ja3s.hash; content:!\"00000000\";", "tls", "http"),
    row(
        "tls | ja3s.string; content:\"771,49199,11\";",
        "tls",
        "http",
    ),
    row(
        "tls | ja4.hash; content:\"t12d\"; startswith;",
        "tls",
        "http",
    ),
    row(
        "tls | tls_cert_notafter:<2022; tls_cert_notbefore:>2019;",
        "tls",
        "http",
    ),
    row("tls | tls_cert_expired;", "tls", "http"),
    row("tls | tls.cert_chain_len:1;", "tls", "http"),
    row(
        "tls | tls.random; content:\"^^^^\"; startswith;",
        "tls",
        "http",
    ),
    row(
        "tls:client_hello_done | tls.sni; content:\"shop.bad\";",
        "tls",
        "other_tls",
    ),
    row(
        "tls | ja3.string; content:\"771,\"; startswith; tls.sni; content:\"shop\";",
        "tls",
        "other_tls",
    ),
    // SSH, SMTP, FTP, MQTT.
    row("ssh | ssh.proto; content:\"1.99\";", "ssh", "other_ssh"),
    row(
        "ssh | ssh.software; content:\"libclient\";",
        "ssh",
        "other_ssh",
    ),
    row("ssh | ssh.protoversion:2_compat;", "ssh", "other_ssh"),
    row(
        "ssh | ssh.softwareversion:\"OpenGate\";",
        "ssh",
        "other_ssh",
    ),
    row(
        "smtp | smtp.helo; content:\"relay.example\";",
        "smtp",
        "http",
    ),
    row(
        "smtp | smtp.mail_from; content:\"bob@\";",
        "smtp",
        "other_smtp",
    ),
    row("smtp | smtp.rcpt_to; content:\"alice\";", "smtp", "http"),
    row("smtp | email.from; content:\"Bob\";", "smtp", "other_smtp"),
    row(
        "smtp | email.subject; content:\"invoice\";",
        "smtp",
        "other_smtp",
    ),
    row("smtp | email.to; content:\"alice\";", "smtp", "other_smtp"),
    row(
        "smtp | email.body_md5; content:\"85ca3d1edaff87f37d337355d29e92f0\";",
        "smtp",
        "other_smtp",
    ),
    row(
        "smtp | email.x_mailer; content:\"Handmade\";",
        "smtp",
        "other_smtp",
    ),
    row("smtp | file.data; content:\"MZ\";", "smtp", "other_smtp"),
    row(
        "smtp | file.name; content:\"tool.exe\";",
        "smtp",
        "other_smtp",
    ),
    row("smtp | fileext:\"exe\";", "smtp", "other_smtp"),
    row(
        "smtp | filesize:>4; file.name; content:\"tool\";",
        "smtp",
        "other_smtp",
    ),
    row("ftp | ftp.command; content:\"USER\";", "ftp", "other_ftp"),
    row(
        "ftp | ftp.command_data; content:\"backdoor\";",
        "ftp",
        "other_ftp",
    ),
    row(
        "ftp | ftp.completion_code; content:\"331\";",
        "ftp",
        "other_ftp",
    ),
    row("ftp | ftp.reply; content:\"password\";", "ftp", "other_ftp"),
    row("ftp | ftpbounce;", "ftp", "other_ftp"),
    row(
        "mqtt | flow:to_server; mqtt.type:PUBLISH;",
        "mqtt",
        "other_mqtt",
    ),
    row("mqtt | mqtt.flags:dup,retain;", "mqtt", "other_mqtt"),
    row(
        "mqtt | mqtt.connect.flags:username,password,!will;",
        "mqtt",
        "other_mqtt",
    ),
    row(
        "mqtt | mqtt.connect.username; content:\"me\";",
        "mqtt",
        "other_mqtt",
    ),
    row(
        "mqtt | mqtt.publish.topic; content:\"a/b/\";",
        "mqtt",
        "other_mqtt",
    ),
    row(
        "mqtt | mqtt.publish.topic; content:\"c/d/\";",
        "other_mqtt",
        "mqtt",
    ),
    row("mqtt | mqtt.connack.return_code:5;", "other_mqtt", "mqtt"),
];
