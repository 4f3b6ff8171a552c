//! The rows of the keyword table (facts of the public Suricata 8 user guide).
//!
//! Only data stands here; keyword.rs explains it.

use crate::rules::keyword::{BufferRow, Family, Form, Keyword, Quotes, Side};
use Side::{Both, ToClient, ToServer};

/// A buffer with one instance.
const fn one(
    name: &'static str,
    aliases: &'static [&'static str],
    protocol: &'static str,
    side: Side,
) -> BufferRow {
    BufferRow {
        name,
        aliases,
        protocol,
        side,
        multiple: false,
    }
}

/// A buffer with several instances.
const fn many(
    name: &'static str,
    aliases: &'static [&'static str],
    protocol: &'static str,
    side: Side,
) -> BufferRow {
    BufferRow {
        name,
        aliases,
        protocol,
        side,
        multiple: true,
    }
}

/// Views of the packet itself; every one makes the rule a packet rule.
pub static PACKET_BUFFERS: &[BufferRow] = &[
    one("ipv4.hdr", &[], "", Both),
    one("ipv6.hdr", &[], "", Both),
    one("tcp.hdr", &[], "", Both),
    one("udp.hdr", &[], "", Both),
    one("icmpv4.hdr", &[], "", Both),
    one("icmpv6.hdr", &[], "", Both),
    one("ether.hdr", &[], "", Both),
    one("arp.hdr", &[], "", Both),
    one("sctp.hdr", &[], "", Both),
    many("sctp.chunk_data", &[], "", Both),
    one("igmp.hdr", &[], "", Both),
    one("ip.src", &[], "", Both),
    one("ip.dst", &[], "", Both),
];

/// Application buffers.
pub static BUFFERS: &[BufferRow] = &[
    one("http.uri", &["http.uri.normalized"], "http", ToServer),
    one("http.uri.raw", &[], "http", ToServer),
    one("http.method", &[], "http", ToServer),
    one("http.header", &[], "http", Both),
    one("http.header.raw", &[], "http", Both),
    many("http.request_header", &[], "http", ToServer),
    many("http.response_header", &[], "http", ToClient),
    one("http.cookie", &[], "http", Both),
    one("http.user_agent", &[], "http", ToServer),
    one("http.host", &[], "http", ToServer),
    one("http.host.raw", &[], "http", ToServer),
    one("http.request_body", &[], "http", ToServer),
    one("http.response_body", &[], "http", ToClient),
    one("http.stat_code", &[], "http", ToClient),
    one("http.stat_msg", &[], "http", ToClient),
    one(
        "http.request_line",
        &["http_request_line"],
        "http",
        ToServer,
    ),
    one(
        "http.response_line",
        &["http_response_line"],
        "http",
        ToClient,
    ),
    one("http.protocol", &["http_protocol"], "http", Both),
    one("http.start", &["http_start"], "http", Both),
    one("http.header_names", &["http_header_names"], "http", Both),
    one("http.accept", &["http_accept"], "http", ToServer),
    one("http.accept_enc", &["http_accept_enc"], "http", ToServer),
    one("http.accept_lang", &["http_accept_lang"], "http", ToServer),
    one("http.connection", &["http_connection"], "http", Both),
    one("http.content_len", &["http_content_len"], "http", Both),
    one("http.content_type", &["http_content_type"], "http", Both),
    one("http.referer", &["http_referer"], "http", ToServer),
    one("http.location", &[], "http", ToClient),
    one("http.server", &[], "http", ToClient),
    many("http2.header_name", &[], "http2", Both),
    many("file.data", &["file_data"], "", Both),
    many("file.name", &[], "", Both),
    many("file.magic", &[], "", Both),
    many("dns.query", &["dns_query"], "dns", ToServer),
    many("dns.query.name", &[], "dns", Both),
    many("dns.answer.name", &[], "dns", Both),
    many("dns.queries.rrname", &[], "dns", Both),
    many("dns.answers.rrname", &[], "dns", Both),
    many("dns.additionals.rrname", &[], "dns", Both),
    many("dns.authorities.rrname", &[], "dns", Both),
    many("dns.response.rrname", &[], "dns", ToClient),
    many("mdns.queries.rrname", &[], "mdns", Both),
    many("mdns.answers.rrname", &[], "mdns", Both),
    many("mdns.additionals.rrname", &[], "mdns", Both),
    many("mdns.authorities.rrname", &[], "mdns", Both),
    many("mdns.response.rrname", &[], "mdns", ToServer),
    many("llmnr.queries.rrname", &[], "llmnr", Both),
    many("llmnr.answers.rrname", &[], "llmnr", Both),
    many("llmnr.additionals.rrname", &[], "llmnr", Both),
    many("llmnr.authorities.rrname", &[], "llmnr", Both),
    many("llmnr.response.rrname", &[], "llmnr", Both),
    one("tls.sni", &["tls_sni"], "tls", ToServer),
    one("tls.cert_subject", &["tls_cert_subject"], "tls", Both),
    one("tls.cert_issuer", &["tls_cert_issuer"], "tls", Both),
    one("tls.cert_serial", &["tls_cert_serial"], "tls", Both),
    one(
        "tls.cert_fingerprint",
        &["tls_cert_fingerprint"],
        "tls",
        Both,
    ),
    many("tls.certs", &[], "tls", Both),
    many("tls.alpn", &[], "tls", Both),
    many("tls.subjectaltname", &[], "tls", Both),
    one("tls.random", &[], "tls", Both),
    one("tls.random_time", &[], "tls", Both),
    one("tls.random_bytes", &[], "tls", Both),
    one("ja3.hash", &["ja3_hash"], "tls|quic", ToServer),
    one("ja3.string", &["ja3_string"], "tls|quic", ToServer),
    one("ja3s.hash", &[], "tls|quic", ToClient),
    one("ja3s.string", &[], "tls|quic", ToClient),
    one("ja4.hash", &["ja4_hash"], "tls|quic", ToServer),
    one("quic.sni", &[], "quic", ToServer),
    one("quic.ua", &[], "quic", ToServer),
    one("quic.version", &[], "quic", Both),
    many("quic.cyu.hash", &[], "quic", ToServer),
    many("quic.cyu.string", &[], "quic", ToServer),
    one("ssh.proto", &["ssh_proto"], "ssh", Both),
    one("ssh.software", &["ssh_software"], "ssh", Both),
    one("ssh.hassh", &["ssh-hassh"], "ssh", ToServer),
    one("ssh.hassh.string", &["ssh-hassh-string"], "ssh", ToServer),
    one("ssh.hassh.server", &["ssh-hassh-server"], "ssh", ToClient),
    one(
        "ssh.hassh.server.string",
        &["ssh-hassh-server-string"],
        "ssh",
        ToClient,
    ),
    one("smb.named_pipe", &["smb_named_pipe"], "smb", ToServer),
    one("smb.share", &["smb_share"], "smb", ToServer),
    one("smb.ntlmssp_user", &[], "smb", ToServer),
    one("smb.ntlmssp_domain", &[], "smb", ToServer),
    one("dcerpc.stub_data", &["dce_stub_data"], "dcerpc|smb", Both),
    one("smtp.helo", &[], "smtp", ToServer),
    one("smtp.mail_from", &[], "smtp", ToServer),
    many("smtp.rcpt_to", &[], "smtp", ToServer),
    one("email.from", &[], "smtp", ToServer),
    one("email.subject", &[], "smtp", ToServer),
    one("email.to", &[], "smtp", ToServer),
    one("email.cc", &[], "smtp", ToServer),
    one("email.date", &[], "smtp", ToServer),
    one("email.message_id", &[], "smtp", ToServer),
    one("email.x_mailer", &[], "smtp", ToServer),
    many("email.url", &[], "smtp", ToServer),
    many("email.received", &[], "smtp", ToServer),
    one("email.body_md5", &[], "smtp", ToServer),
    one("ftp.command", &[], "ftp", ToServer),
    one("ftp.command_data", &[], "ftp", ToServer),
    many("ftp.completion_code", &[], "ftp", ToClient),
    many("ftp.reply", &[], "ftp", ToClient),
    one("dnp3.data", &["dnp3_data"], "dnp3", Both),
    one("ike.init_spi", &[], "ike", ToServer),
    one("ike.resp_spi", &[], "ike", ToClient),
    one("ike.key_exchange_payload", &[], "ike", Both),
    one("ike.nonce_payload", &[], "ike", Both),
    many("ike.vendor", &[], "ike", ToServer),
    many("krb5.cname", &["krb5_cname"], "krb5", ToClient),
    many("krb5.sname", &["krb5_sname"], "krb5", ToClient),
    one("ntp.reference_id", &[], "ntp", Both),
    one("pgsql.query", &[], "pgsql", ToServer),
    one("rfb.name", &[], "rfb", ToClient),
    one("snmp.community", &[], "snmp", Both),
    one("snmp.usm", &[], "snmp", Both),
    one("snmp.trap_oid", &[], "snmp", Both),
    one("snmp.trap_address", &[], "snmp", Both),
    one("enip.product_name", &[], "enip", Both),
    one("enip.service_name", &[], "enip", Both),
    one("template.buffer", &[], "template", Both),
    one("websocket.payload", &[], "websocket", Both),
    one("ldap.request.dn", &[], "ldap", ToServer),
    many("ldap.responses.dn", &[], "ldap", ToClient),
    many("ldap.responses.message", &[], "ldap", ToClient),
    many("ldap.request.attribute_type", &[], "ldap", ToServer),
    many("ldap.responses.attribute_type", &[], "ldap", ToClient),
    many("mqtt.subscribe.topic", &[], "mqtt", ToServer),
    many("mqtt.unsubscribe.topic", &[], "mqtt", ToServer),
    one("mqtt.publish.topic", &[], "mqtt", Both),
    one("mqtt.publish.message", &[], "mqtt", Both),
    one("mqtt.connect.willtopic", &[], "mqtt", ToServer),
    one("mqtt.connect.willmessage", &[], "mqtt", ToServer),
    one("mqtt.connect.username", &[], "mqtt", ToServer),
    one("mqtt.connect.password", &[], "mqtt", ToServer),
    one("mqtt.connect.clientid", &[], "mqtt", ToServer),
    one("mqtt.connect.protocol_string", &[], "mqtt", ToServer),
    one("sip.method", &[], "sip", ToServer),
    one("sip.uri", &[], "sip", ToServer),
    one("sip.protocol", &[], "sip", Both),
    one("sip.stat_code", &[], "sip", ToClient),
    one("sip.stat_msg", &[], "sip", ToClient),
    one("sip.request_line", &[], "sip", ToServer),
    one("sip.response_line", &[], "sip", ToClient),
    many("sip.from", &[], "sip", Both),
    many("sip.to", &[], "sip", Both),
    many("sip.via", &[], "sip", Both),
    many("sip.user_agent", &[], "sip", Both),
    many("sip.content_type", &[], "sip", Both),
    many("sip.content_length", &[], "sip", Both),
    one("sdp.session_name", &[], "", Both),
    one("sdp.session_info", &[], "", Both),
    one("sdp.origin", &[], "", Both),
    one("sdp.uri", &[], "", Both),
    one("sdp.email", &[], "", Both),
    one("sdp.phone_number", &[], "", Both),
    one("sdp.connection_data", &[], "", Both),
    many("sdp.bandwidth", &[], "", Both),
    many("sdp.time", &[], "", Both),
    many("sdp.repeat_time", &[], "", Both),
    one("sdp.timezone", &[], "", Both),
    one("sdp.encryption_key", &[], "", Both),
    many("sdp.attribute", &[], "", Both),
    many("sdp.media.media", &[], "", Both),
    many("sdp.media.media_info", &[], "", Both),
    many("sdp.media.connection_data", &[], "", Both),
    many("sdp.media.encryption_key", &[], "", Both),
];

/// Buffers that may name a direction (`http.connection: to_client`).
static DIRECTED: &[&str] = &[
    "file.data",
    "file.name",
    "file.magic",
    "http.accept",
    "http.accept_enc",
    "http.accept_lang",
    "http.connection",
    "http.content_len",
    "http.content_type",
    "http.referer",
    "http.location",
    "http.server",
];

/// The buffer that `frame` opens: a protocol's own unit, named by its value.
pub static FRAME: BufferRow = many("frame", &[], "", Both);

/// The hash of a file, by the keyword that asks a list for it.
pub static FILE_HASH: BufferRow = many("filemd5", &[], "", Both);

/// Old content modifiers and the buffer that each stands for.
static LEGACY: &[(&str, &str)] = &[
    ("http_uri", "http.uri"),
    ("http_raw_uri", "http.uri.raw"),
    ("http_method", "http.method"),
    ("http_header", "http.header"),
    ("http_raw_header", "http.header.raw"),
    ("http_cookie", "http.cookie"),
    ("http_user_agent", "http.user_agent"),
    ("http_host", "http.host"),
    ("http_raw_host", "http.host.raw"),
    ("http_client_body", "http.request_body"),
    ("http_server_body", "http.response_body"),
    ("http_stat_code", "http.stat_code"),
    ("http_stat_msg", "http.stat_msg"),
];

/// Application tests that are no buffers: names, protocol.
static APP_TESTS: &[(&str, &str)] = &[
    ("app-layer-event", ""),
    ("app-layer-state", ""),
    ("urilen", "http"),
    ("http2.frametype", "http2"),
    ("http2.errorcode", "http2"),
    ("http2.priority", "http2"),
    ("http2.window", "http2"),
    ("http2.size_update", "http2"),
    ("http2.settings", "http2"),
    ("dns.opcode", "dns"),
    ("dns.rcode", "dns"),
    ("dns.rrtype", "dns"),
    ("dhcp.leasetime", "dhcp"),
    ("dhcp.rebinding_time", "dhcp"),
    ("dhcp.renewal_time", "dhcp"),
    ("dcerpc.iface", "dcerpc|smb"),
    ("dcerpc.opnum", "dcerpc|smb"),
    ("dnp3_func", "dnp3"),
    ("dnp3_ind", "dnp3"),
    ("dnp3_obj", "dnp3"),
    ("cip_service", "enip"),
    ("enip_command", "enip"),
    ("enip.capabilities", "enip"),
    ("enip.cip_attribute", "enip"),
    ("enip.cip_class", "enip"),
    ("enip.cip_extendedstatus", "enip"),
    ("enip.cip_instance", "enip"),
    ("enip.cip_status", "enip"),
    ("enip.device_type", "enip"),
    ("enip.identity_status", "enip"),
    ("enip.product_code", "enip"),
    ("enip.protocol_version", "enip"),
    ("enip.revision", "enip"),
    ("enip.serial", "enip"),
    ("enip.state", "enip"),
    ("enip.status", "enip"),
    ("enip.vendor_id", "enip"),
    ("filesize", ""),
    ("ftpdata_command", "ftp-data"),
    ("ftp.dynamic_port", "ftp"),
    ("ftp.mode", "ftp"),
    ("ftp.reply_received", "ftp"),
    ("ike.chosen_sa_attribute", "ike"),
    ("ike.exchtype", "ike"),
    ("ike.key_exchange_payload_length", "ike"),
    ("ike.nonce_payload_length", "ike"),
    ("krb5_err_code", "krb5"),
    ("krb5_msg_type", "krb5"),
    ("krb5.ticket_encryption", "krb5"),
    ("ldap.request.operation", "ldap"),
    ("ldap.responses.operation", "ldap"),
    ("ldap.responses.count", "ldap"),
    ("ldap.responses.result_code", "ldap"),
    ("modbus", "modbus"),
    ("mqtt.type", "mqtt"),
    ("mqtt.reason_code", "mqtt"),
    ("mqtt.connack.return_code", "mqtt"),
    ("mqtt.connack.session_present", "mqtt"),
    ("mqtt.qos", "mqtt"),
    ("mqtt.flags", "mqtt"),
    ("mqtt.protocol_version", "mqtt"),
    ("mqtt.connect.flags", "mqtt"),
    ("nfs_procedure", "nfs"),
    ("nfs.version", "nfs"),
    ("ntp.version", "ntp"),
    ("ntp.mode", "ntp"),
    ("ntp.stratum", "ntp"),
    ("rfb.sectype", "rfb"),
    ("rfb.secresult", "rfb"),
    ("smb.version", "smb"),
    ("snmp.version", "snmp"),
    ("snmp.pdu_type", "snmp"),
    ("snmp.trap_type", "snmp"),
    ("ssl_state", "tls"),
    ("ssl_version", "tls"),
    ("tls_cert_notbefore", "tls"),
    ("tls_cert_notafter", "tls"),
    ("tls.cert_chain_len", "tls"),
    ("websocket.opcode", "websocket"),
    ("websocket.mask", "websocket"),
    ("websocket.flags", "websocket"),
];

/// Keywords that carry no value, by family.
static NO_VALUE: &[(&str, Family)] = &[
    ("noalert", Family::Meta),
    ("alert", Family::Meta),
    ("bypass", Family::Meta),
    ("prefilter", Family::Meta),
    ("nocase", Family::Modifier),
    ("rawbytes", Family::Modifier),
    ("startswith", Family::Modifier),
    ("endswith", Family::Modifier),
    ("pkt_data", Family::Payload),
    ("base64_data", Family::Payload),
    ("ftpbounce", Family::App("ftp")),
    ("tls_cert_expired", Family::App("tls")),
    ("tls_cert_valid", Family::App("tls")),
    ("tls_store", Family::App("tls")),
    ("tls.store", Family::App("tls")),
    ("to_lowercase", Family::Transform),
    ("to_uppercase", Family::Transform),
    ("compress_whitespace", Family::Transform),
    ("strip_whitespace", Family::Transform),
    ("domain", Family::Transform),
    ("tld", Family::Transform),
    ("dotprefix", Family::Transform),
    ("to_md5", Family::Transform),
    ("to_sha1", Family::Transform),
    ("to_sha256", Family::Transform),
    ("header_lowercase", Family::Transform),
    ("strip_pseudo_headers", Family::Transform),
    ("url_decode", Family::Transform),
];

/// Keywords with a plain value.
static VALUE: &[(&str, Family)] = &[
    ("sid", Family::Meta),
    ("gid", Family::Meta),
    ("rev", Family::Meta),
    ("classtype", Family::Meta),
    ("priority", Family::Meta),
    ("reference", Family::Meta),
    ("metadata", Family::Meta),
    ("target", Family::Meta),
    ("requires", Family::Meta),
    ("config", Family::Meta),
    ("offset", Family::Modifier),
    ("depth", Family::Modifier),
    ("distance", Family::Modifier),
    ("within", Family::Modifier),
    ("isdataat", Family::Payload),
    ("bsize", Family::Payload),
    ("dataset", Family::Payload),
    ("byte_test", Family::Payload),
    ("byte_jump", Family::Payload),
    ("byte_extract", Family::Payload),
    ("byte_math", Family::Payload),
    ("asn1", Family::Payload),
    ("entropy", Family::Payload),
    ("datarep", Family::Payload),
    ("stream-event", Family::Packet),
    ("decode-event", Family::Packet),
    ("engine-event", Family::Packet),
    ("l3_proto", Family::Packet),
    ("iprep", Family::Packet),
    ("geoip", Family::Packet),
    ("ipv4-csum", Family::Packet),
    ("tcpv4-csum", Family::Packet),
    ("tcpv6-csum", Family::Packet),
    ("udpv4-csum", Family::Packet),
    ("udpv6-csum", Family::Packet),
    ("icmpv4-csum", Family::Packet),
    ("icmpv6-csum", Family::Packet),
    ("stream_size", Family::Packet),
    ("sctp.chunk_cnt", Family::Packet),
    ("sctp.chunk_type", Family::Packet),
    ("sctp.vtag", Family::Packet),
    ("flow", Family::State),
    ("flowbits", Family::State),
    ("flowint", Family::State),
    ("flowvar", Family::State),
    ("pktvar", Family::State),
    ("xbits", Family::State),
    ("hostbits", Family::State),
    ("threshold", Family::State),
    ("detection_filter", Family::State),
    ("tag", Family::State),
    ("frame", Family::Other),
    ("lua", Family::Other),
    ("nfq_set_mark", Family::Other),
    ("template", Family::Other),
    ("template2", Family::Other),
    ("vxlan_vni", Family::Other),
    ("igmp-csum", Family::Packet),
    ("subslice", Family::Transform),
];

/// Keywords with a plain value that look at one packet.
static PACKET_ONLY: &[&str] = &[
    "dsize",
    "rpc",
    "ttl",
    "ipopts",
    "fragbits",
    "fragoffset",
    "itype",
    "icode",
    "igmp.type",
    "icmpv6.mtu",
    "tcp.flags",
    "tcp.seq",
    "tcp.ack",
    "tcp.window",
    "tcp.wscale",
    "tcp.mss",
    "tcp.session",
    "vlan.id",
    "vlan.layers",
    "flow.age",
    "flow.pkts",
    "flow.pkts_toserver",
    "flow.pkts_toclient",
    "flow.bytes",
    "flow.bytes_toserver",
    "flow.bytes_toclient",
    "flow.elephant",
];

/// Other spellings of keywords that are no buffers.
static ALIASES: &[(&str, &str)] = &[
    ("flags", "tcp.flags"),
    ("seq", "tcp.seq"),
    ("ack", "tcp.ack"),
    ("window", "tcp.window"),
    ("dce_iface", "dcerpc.iface"),
    ("dce_opnum", "dcerpc.opnum"),
    ("dnp3.func", "dnp3_func"),
    ("dnp3.ind", "dnp3_ind"),
    ("dnp3.obj", "dnp3_obj"),
    ("nfs_version", "nfs.version"),
];

/// A keyword with these properties.
const fn row(name: &'static str, form: Form, quotes: Quotes, family: Family) -> Keyword {
    Keyword {
        name,
        form,
        quotes,
        negatable: false,
        family,
        packet_only: false,
    }
}

/// The same, negatable.
const fn negatable(keyword: Keyword) -> Keyword {
    Keyword {
        negatable: true,
        ..keyword
    }
}

/// The same, for packets alone.
const fn packet_only(keyword: Keyword) -> Keyword {
    Keyword {
        packet_only: true,
        ..keyword
    }
}

/// Keywords whose value is written in a way of its own.
static SPECIAL: &[Keyword] = &[
    row("msg", Form::Value, Quotes::Must, Family::Meta),
    negatable(row("content", Form::Value, Quotes::Must, Family::Payload)),
    negatable(row("pcre", Form::Value, Quotes::Maybe, Family::Payload)),
    negatable(row(
        "uricontent",
        Form::Value,
        Quotes::Must,
        Family::Payload,
    )),
    negatable(row("replace", Form::Value, Quotes::Must, Family::Other)),
    row("fast_pattern", Form::Optional, Quotes::No, Family::Modifier),
    row("base64_decode", Form::Optional, Quotes::No, Family::Payload),
    row("absent", Form::Optional, Quotes::No, Family::Payload),
    packet_only(row("ip_proto", Form::Value, Quotes::Maybe, Family::Packet)),
    packet_only(row("id", Form::Value, Quotes::Maybe, Family::Packet)),
    packet_only(row("icmp_id", Form::Value, Quotes::Maybe, Family::Packet)),
    packet_only(row("icmp_seq", Form::Value, Quotes::Maybe, Family::Packet)),
    negatable(packet_only(row(
        "tos",
        Form::Value,
        Quotes::Maybe,
        Family::Packet,
    ))),
    packet_only(row("sameip", Form::Nothing, Quotes::No, Family::Packet)),
    negatable(row(
        "app-layer-protocol",
        Form::Value,
        Quotes::Maybe,
        Family::Packet,
    )),
    negatable(row(
        "tls.subject",
        Form::Value,
        Quotes::Must,
        Family::App("tls"),
    )),
    negatable(row(
        "tls.issuerdn",
        Form::Value,
        Quotes::Must,
        Family::App("tls"),
    )),
    negatable(row(
        "tls.fingerprint",
        Form::Value,
        Quotes::Must,
        Family::App("tls"),
    )),
    row(
        "tls.version",
        Form::Value,
        Quotes::Maybe,
        Family::App("tls"),
    ),
    row(
        "ssh.protoversion",
        Form::Value,
        Quotes::Maybe,
        Family::App("ssh"),
    ),
    row(
        "ssh.softwareversion",
        Form::Value,
        Quotes::Maybe,
        Family::App("ssh"),
    ),
    negatable(row("filemd5", Form::Value, Quotes::Maybe, Family::App(""))),
    negatable(row("filesha1", Form::Value, Quotes::Maybe, Family::App(""))),
    negatable(row(
        "filesha256",
        Form::Value,
        Quotes::Maybe,
        Family::App(""),
    )),
    negatable(row("filemagic", Form::Value, Quotes::Must, Family::App(""))),
    negatable(row("filename", Form::Value, Quotes::Maybe, Family::App(""))),
    negatable(row("fileext", Form::Value, Quotes::Maybe, Family::App(""))),
    row("filestore", Form::Optional, Quotes::No, Family::Meta),
    row("gunzip", Form::Optional, Quotes::No, Family::Transform),
    row(
        "zlib_deflate",
        Form::Optional,
        Quotes::No,
        Family::Transform,
    ),
    row("from_base64", Form::Optional, Quotes::No, Family::Transform),
    row("pcrexform", Form::Value, Quotes::Must, Family::Transform),
    row("luaxform", Form::Value, Quotes::Maybe, Family::Transform),
    row("xor", Form::Value, Quotes::Maybe, Family::Transform),
];

/// Every spelling with its keyword.
pub fn rows() -> Vec<(&'static str, Keyword)> {
    let mut all: Vec<(&'static str, Keyword)> = Vec::new();
    for buffer in BUFFERS.iter().chain(PACKET_BUFFERS) {
        let form = if DIRECTED.contains(&buffer.name) {
            Form::Optional
        } else {
            Form::Nothing
        };
        let mut keyword = row(buffer.name, form, Quotes::No, Family::Buffer(buffer));
        keyword.packet_only = PACKET_BUFFERS.iter().any(|p| p.name == buffer.name)
            && !matches!(buffer.name, "ip.src" | "ip.dst");
        all.push((buffer.name, keyword));
        all.extend(buffer.aliases.iter().map(|alias| (*alias, keyword)));
    }
    for (name, target) in LEGACY {
        if let Some(buffer) = BUFFERS.iter().find(|b| b.name == *target) {
            all.push((
                name,
                row(name, Form::Nothing, Quotes::No, Family::Legacy(buffer)),
            ));
        }
    }
    for (name, protocol) in APP_TESTS {
        all.push((
            name,
            row(name, Form::Value, Quotes::No, Family::App(protocol)),
        ));
    }
    for (name, family) in NO_VALUE {
        all.push((name, row(name, Form::Nothing, Quotes::No, *family)));
    }
    for (name, family) in VALUE {
        all.push((name, row(name, Form::Value, Quotes::No, *family)));
    }
    for name in PACKET_ONLY {
        let plain = row(name, Form::Value, Quotes::No, Family::Packet);
        all.push((name, packet_only(plain)));
    }
    all.extend(SPECIAL.iter().map(|keyword| (keyword.name, *keyword)));
    for (alias, name) in ALIASES {
        if let Some((_, keyword)) = all.iter().find(|(spelling, _)| spelling == name) {
            let keyword = *keyword;
            all.push((alias, keyword));
        }
    }
    all
}
