//! What this build can execute: the one table that later work extends.
//!
//! A keyword, buffer or protocol that is known but not here makes its rule *unsupported*: it is
//! parsed, reported and counted, never silently half-run. To support one more, add its present
//! name to the list it belongs to.

use std::sync::OnceLock;

use hashbrown::HashSet;

use crate::app::Field;
use crate::app::registry::{DESCRIPTIONS, fills};

/// Views of the packet that can be executed.
pub const PACKET_BUFFERS: &[&str] = &[
    "ipv4.hdr",
    "ipv6.hdr",
    "tcp.hdr",
    "udp.hdr",
    "icmpv4.hdr",
    "icmpv6.hdr",
    "igmp.hdr",
    "ether.hdr",
    "arp.hdr",
    "sctp.hdr",
    "sctp.chunk_data",
    "ip.src",
    "ip.dst",
];

/// Transforms that can be executed on supported buffers.
pub const TRANSFORMS: &[&str] = &[
    "dotprefix",
    "to_lowercase",
    "to_uppercase",
    "strip_whitespace",
    "compress_whitespace",
    "url_decode",
    "to_md5",
    "to_sha1",
    "to_sha256",
    "xor",
    "header_lowercase",
    "strip_pseudo_headers",
    "domain",
    "tld",
    "from_base64",
    "subslice",
    "pcrexform",
    "gunzip",
    "zlib_deflate",
];

/// Other keywords that can be executed. Meta keywords and content modifiers always can.
pub const KEYWORDS: &[&str] = &[
    "content",
    "pcre",
    "isdataat",
    "bsize",
    "dataset",
    "datarep",
    "entropy",
    "byte_test",
    "byte_jump",
    "byte_extract",
    "byte_math",
    "asn1",
    "base64_decode",
    "base64_data",
    "pkt_data",
    "absent",
    "dsize",
    "ttl",
    "tos",
    "id",
    "ip_proto",
    "ipopts",
    "fragbits",
    "fragoffset",
    "sameip",
    "itype",
    "icode",
    "igmp.type",
    "igmp-csum",
    "icmp_id",
    "icmp_seq",
    "icmpv6.mtu",
    "tcp.flags",
    "tcp.seq",
    "tcp.ack",
    "tcp.window",
    "tcp.wscale",
    "tcp.mss",
    "tcp.session",
    "sctp.chunk_cnt",
    "sctp.chunk_type",
    "sctp.vtag",
    "vlan.id",
    "vlan.layers",
    "decode-event",
    "engine-event",
    "l3_proto",
    "iprep",
    "geoip",
    "rpc",
    "stream-event",
    "stream_size",
    "flow.age",
    "flow.pkts",
    "flow.pkts_toserver",
    "flow.pkts_toclient",
    "flow.bytes",
    "flow.bytes_toserver",
    "flow.bytes_toclient",
    "flow.elephant",
    "ipv4-csum",
    "tcpv4-csum",
    "tcpv6-csum",
    "udpv4-csum",
    "udpv6-csum",
    "icmpv4-csum",
    "icmpv6-csum",
    "flow",
    "flowbits",
    "flowint",
    "flowvar",
    "pktvar",
    "xbits",
    "hostbits",
    "threshold",
    "detection_filter",
    "tag",
    "app-layer-protocol",
];

/// Features that `requires:feature` may name.
pub const FEATURES: &[&str] = &["ja3", "ja4", "output::file-store"];

/// The version of the rule language that `requires:version` is compared with.
pub const LANGUAGE_VERSION: (u8, u8, u8) = (9, 0, 0);

/// Whether an application protocol of the header can be executed.
pub fn app_protocol(name: &str) -> bool {
    // DNS within HTTP/2 is http2's parser's.
    if name == "doh2" {
        return true;
    }
    let mut known = DESCRIPTIONS.iter().map(|description| description.protocol);
    known.any(|protocol| protocol.is(name))
}

/// Whether a buffer can be executed.
pub fn buffer(name: &str) -> bool {
    PACKET_BUFFERS.contains(&name) || Field::by_name(name).is_some_and(fills)
}

/// Whether a transform can be executed.
pub fn transform(name: &str) -> bool {
    TRANSFORMS.contains(&name)
}

/// Whether another keyword can be executed.
pub fn keyword(name: &str) -> bool {
    // Asked for every option of every rule.
    static NAMES: OnceLock<HashSet<&'static str>> = OnceLock::new();
    NAMES
        .get_or_init(|| KEYWORDS.iter().copied().collect())
        .contains(name)
}

#[cfg(test)]
mod tests {
    use crate::rules::keyword;

    #[test]
    fn every_row_names_a_known_keyword_by_its_present_name() {
        let rows = super::KEYWORDS
            .iter()
            .chain(super::TRANSFORMS)
            .chain(super::PACKET_BUFFERS);
        for name in rows {
            let known = keyword::lookup(name).unwrap_or_else(|| panic!("{name} is unknown"));
            assert_eq!(known.name, *name);
        }
    }
}
