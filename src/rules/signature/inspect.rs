//! Buffers and the tests on them: contents, regular expressions, numbers in bytes, transforms.
//!
//! Plain data, in rule order. Header and packet keywords stand in signature.rs.

use super::Compare;
use crate::packet::Direction;

/// A number written in the rule, or a variable that byte_extract or byte_math sets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Number {
    /// Written out.
    Literal(i64),
    /// Index of the variable within the signature.
    Variable(u8),
}

/// The `fast_pattern` keyword.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum FastPattern {
    /// Not asked for.
    #[default]
    No,
    /// `fast_pattern`.
    Yes,
    /// `fast_pattern:only` (parsed, same as `Yes`).
    Only,
    /// `fast_pattern:offset,length`.
    Chop(u16, u16),
}

/// A `content`, with its modifiers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Content {
    /// Bytes to find.
    pub bytes: Box<[u8]>,
    /// `!`.
    pub negated: bool,
    /// `nocase`.
    pub nocase: bool,
    /// `offset`.
    pub offset: Option<Number>,
    /// `depth`, as written (counted from `offset`).
    pub depth: Option<Number>,
    /// `distance`.
    pub distance: Option<Number>,
    /// `within`.
    pub within: Option<Number>,
    /// `startswith`.
    pub startswith: bool,
    /// `endswith`.
    pub endswith: bool,
    /// `fast_pattern`.
    pub fast_pattern: FastPattern,
    /// Set by parse: a following keyword of the same buffer is relative to this match, so other
    /// occurrences are worth trying.
    pub relative_next: bool,
}

/// Groups of a `pcre` that are kept at most.
pub const CAPTURES_MAX: usize = 8;

/// What a group of a `pcre` is kept as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Capture {
    /// A variable of the flow (`flow:x`): number of its name.
    Flow(u32),
    /// A variable of the packet (`pkt:x`): number of its name.
    Packet(u32),
    /// Name of a variable of the packet (`pkt:key`), and its value (`pkt:value`), by the number of
    /// the pair: events alone tell of them.
    PacketKey(u32),
    /// See there.
    PacketValue(u32),
    /// Nothing: what only events would tell (`alert:x`).
    Nothing,
}

/// A `pcre`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pcre {
    /// Text between the slashes, `\;` already undone.
    pub pattern: Box<[u8]>,
    /// Flag letters after the slash, as written (buffer letters included).
    pub flags: Box<str>,
    /// `!`.
    pub negated: bool,
    /// `R`: starts where the last match ended.
    pub relative: bool,
    /// What its groups are kept as, in order of groups: names are given to groups by their order
    /// alone, as in Suricata.
    pub captures: Vec<Capture>,
    /// As `Content::relative_next`.
    pub relative_next: bool,
}

/// How bytes become a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ByteFormat {
    /// Bytes to read: 1..=8 binary, 1..=23 as text; may be a variable for byte_test/byte_jump.
    pub count: Number,
    /// Little endian.
    pub little: bool,
    /// Text (`string`), with its base (8, 10, 16, or 0 for what the text says); `None`: binary.
    pub base: Option<u8>,
    /// Endianness comes from the DCERPC header.
    pub dce: bool,
}

/// Operator of byte_test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ByteOperator {
    /// `<`.
    Less,
    /// `<=`.
    LessEqual,
    /// `>`.
    Greater,
    /// `>=`.
    GreaterEqual,
    /// `=`.
    Equal,
    /// `&`: some common bit.
    And,
    /// `^`: differs in some bit, that is not equal (RULES.md 6.3).
    Xor,
}

/// `byte_test`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ByteTest {
    /// How to read.
    pub format: ByteFormat,
    /// `!` before the operator.
    pub negated: bool,
    /// Operator.
    pub operator: ByteOperator,
    /// Value compared with.
    pub value: Number,
    /// Where to read.
    pub offset: Number,
    /// From the last match.
    pub relative: bool,
    /// `bitmask` (result shifted right by its trailing zeros).
    pub bitmask: Option<u32>,
}

/// `byte_jump`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ByteJump {
    /// How to read.
    pub format: ByteFormat,
    /// Where to read.
    pub offset: Number,
    /// From the last match.
    pub relative: bool,
    /// `bitmask` (result shifted right by its trailing zeros), before the multiplier.
    pub bitmask: Option<u32>,
    /// `multiplier`.
    pub multiplier: u32,
    /// `align`: up to a multiple of four.
    pub align: bool,
    /// `from_beginning`.
    pub from_beginning: bool,
    /// `from_end`.
    pub from_end: bool,
    /// `post_offset`.
    pub post_offset: Number,
    /// As `Content::relative_next`.
    pub relative_next: bool,
}

/// `byte_extract`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ByteExtract {
    /// How to read.
    pub format: ByteFormat,
    /// Where to read.
    pub offset: i64,
    /// From the last match.
    pub relative: bool,
    /// Variable that takes the value.
    pub variable: u8,
    /// `multiplier`.
    pub multiplier: u32,
    /// `align` in bytes (2 or 4), 0: none.
    pub align: u8,
}

/// Operator of byte_math.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MathOperator {
    /// `+`.
    Add,
    /// `-`.
    Subtract,
    /// `*`.
    Multiply,
    /// `/`.
    Divide,
    /// `<<`.
    ShiftLeft,
    /// `>>`.
    ShiftRight,
}

/// `byte_math`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ByteMath {
    /// How to read.
    pub format: ByteFormat,
    /// Where to read.
    pub offset: i64,
    /// From the last match.
    pub relative: bool,
    /// Operator.
    pub operator: MathOperator,
    /// Right-hand value.
    pub value: Number,
    /// Variable that takes the result.
    pub variable: u8,
    /// `bitmask`.
    pub bitmask: Option<u32>,
}

/// `isdataat`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IsDataAt {
    /// Position.
    pub position: Number,
    /// From the last match.
    pub relative: bool,
    /// `!`.
    pub negated: bool,
}

/// `asn1`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asn1 {
    /// `oversize_length`: an object longer than this.
    pub oversize_length: Option<u32>,
    /// `bitstring_overflow`: a bit string with more unused bits than it has.
    pub bitstring_overflow: bool,
    /// `double_overflow`: a number written longer than decoders' buffers.
    pub double_overflow: bool,
    /// `absolute_offset`: where the objects begin.
    pub absolute_offset: Option<u32>,
    /// `relative_offset`: the same, from the last match.
    pub relative_offset: Option<i32>,
}

/// `base64_decode`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Base64Decode {
    /// Bytes to decode; 0: all.
    pub bytes: u32,
    /// Where to start.
    pub offset: u32,
    /// From the last match.
    pub relative: bool,
}

/// What `dataset` does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DatasetCommand {
    /// Puts the value in; holds if it was not there.
    Set,
    /// Takes it out; holds if it was there.
    Unset,
    /// Holds if it is there.
    IsSet,
    /// Holds if it is not there.
    IsNotSet,
    /// `datarep`: holds if it is there with a reputation as this.
    Ranks(Compare),
}

/// `dataset`.
#[derive(Clone, Debug)]
pub struct DatasetTest {
    /// What to do.
    pub command: DatasetCommand,
    /// The value's parents are asked too: what begins at each of its dots.
    pub subdomain: bool,
    /// With which set.
    pub set: std::sync::Arc<crate::rules::dataset::Dataset>,
}

impl DatasetTest {
    /// Asks the set, or changes it.
    pub fn holds(&self, value: &[u8]) -> bool {
        if !self.subdomain {
            return self.set.test(self.command, value);
        }
        let dots = memchr::memchr_iter(b'.', value).filter(|at| *at > 0);
        let mut parents = std::iter::once(0).chain(dots);
        let there = parents.any(|at| {
            let parent = value.get(at..).unwrap_or(&[]);
            self.set.test(DatasetCommand::IsSet, parent)
        });
        there == (self.command == DatasetCommand::IsSet)
    }
}

impl PartialEq for DatasetTest {
    fn eq(&self, other: &DatasetTest) -> bool {
        (self.command, self.subdomain) == (other.command, other.subdomain)
            && self.set.name() == other.set.name()
    }
}

impl Eq for DatasetTest {}

/// One test within a buffer; in the order of the rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Test {
    /// `content`.
    Content(Content),
    /// `pcre`.
    Pcre(Pcre),
    /// `isdataat`.
    IsDataAt(IsDataAt),
    /// `byte_test`.
    ByteTest(ByteTest),
    /// `byte_jump`.
    ByteJump(ByteJump),
    /// `byte_extract`.
    ByteExtract(ByteExtract),
    /// `byte_math`.
    ByteMath(ByteMath),
    /// `bsize`, `urilen`.
    Size(Compare),
    /// `dataset`.
    Dataset(DatasetTest),
    /// `entropy`.
    Entropy(crate::rules::entropy::Entropy),
    /// `asn1`.
    Asn1(Asn1),
    /// `base64_decode`; the tests after `base64_data` stand in `then`.
    Base64 {
        /// What to decode.
        decode: Base64Decode,
        /// Tests on the decoded bytes.
        then: Vec<Test>,
    },
}

/// A transform of a sticky buffer.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub enum Transform {
    /// `dotprefix`.
    DotPrefix,
    /// `to_lowercase`.
    ToLowercase,
    /// `to_uppercase`.
    ToUppercase,
    /// `strip_whitespace`.
    StripWhitespace,
    /// `compress_whitespace`.
    CompressWhitespace,
    /// `url_decode`.
    UrlDecode,
    /// `to_md5`.
    ToMd5,
    /// `to_sha1`.
    ToSha1,
    /// `to_sha256`.
    ToSha256,
    /// `xor`, with its key.
    Xor(Box<[u8]>),
    /// `xor` with a key that stands in the buffer itself (`xor:offset skip, extract length at`).
    XorExtracted {
        /// Bytes copied unchanged before the decoding starts.
        skip: u32,
        /// Bytes of the key.
        key_length: u8,
        /// Where the key stands.
        key_offset: u16,
    },
    /// `header_lowercase`.
    HeaderLowercase,
    /// `strip_pseudo_headers`.
    StripPseudoHeaders,
    /// `domain` / `tld`.
    Domain {
        /// The top-level part only.
        tld: bool,
    },
    /// `from_base64`: mode 0 strict, 1 RFC 4648, 2 RFC 2045; offset and bytes as in the guide.
    FromBase64 {
        /// Decoding mode.
        mode: u8,
        /// Where to start.
        offset: u32,
        /// How many bytes; 0: all.
        bytes: u32,
    },
    /// `pcrexform:"/.../"`: the first group of the first match; no match leaves nothing.
    Pcre {
        /// Pattern.
        pattern: Box<[u8]>,
    },
    /// `gunzip`, `zlib_deflate`.
    Inflate {
        /// With gzip's header rather than zlib's.
        gzip: bool,
        /// Bytes that come out at most.
        max_size: u32,
    },
    /// `subslice:offset,count,truncate`.
    Subslice {
        /// Start; negative counts from the end.
        offset: i32,
        /// Bytes; negative: up to so many before the end; `None`: to the end of the buffer.
        count: Option<i32>,
        /// What lies outside of the buffer is left out; else nothing is left.
        truncate: bool,
    },
}

/// The view that tests apply to: the payload, a header, or an application buffer.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub enum Buffer {
    /// Packet payload or stream, as the class of the rule says (`pkt_data` returns here).
    Payload,
    /// `ipv4.hdr`.
    Ipv4Header,
    /// `ipv6.hdr`.
    Ipv6Header,
    /// `tcp.hdr`.
    TcpHeader,
    /// `udp.hdr`.
    UdpHeader,
    /// `icmpv4.hdr`.
    Icmpv4Header,
    /// `icmpv6.hdr`.
    Icmpv6Header,
    /// `igmp.hdr`.
    IgmpHeader,
    /// `ether.hdr`.
    EtherHeader,
    /// `arp.hdr`.
    ArpHeader,
    /// `sctp.hdr`.
    SctpHeader,
    /// `sctp.chunk_data` (one instance per chunk).
    SctpChunkData,
    /// `ip.src`: the address, 4 or 16 bytes.
    IpSource,
    /// `ip.dst`.
    IpDestination,
    /// An application buffer, by its rule name (`http.uri`, `dns.query`, `tls.sni`, ...).
    App(Box<str>),
}

impl Buffer {
    /// The buffer of that name.
    pub fn by_name(name: &str) -> Buffer {
        match name {
            "ipv4.hdr" => Buffer::Ipv4Header,
            "ipv6.hdr" => Buffer::Ipv6Header,
            "tcp.hdr" => Buffer::TcpHeader,
            "udp.hdr" => Buffer::UdpHeader,
            "icmpv4.hdr" => Buffer::Icmpv4Header,
            "icmpv6.hdr" => Buffer::Icmpv6Header,
            "igmp.hdr" => Buffer::IgmpHeader,
            "ether.hdr" => Buffer::EtherHeader,
            "arp.hdr" => Buffer::ArpHeader,
            "sctp.hdr" => Buffer::SctpHeader,
            "sctp.chunk_data" => Buffer::SctpChunkData,
            "ip.src" => Buffer::IpSource,
            "ip.dst" => Buffer::IpDestination,
            other => Buffer::App(other.into()),
        }
    }
}

/// A buffer and the tests on it, in rule order. The same buffer named twice is two entries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inspect {
    /// What is looked at.
    pub buffer: Buffer,
    /// The direction whose instances are meant; `None`: of the direction at hand.
    pub side: Option<Direction>,
    /// Transforms, in order.
    pub transforms: Vec<Transform>,
    /// `absent` (Some(false)) or `absent:or_else` (Some(true)).
    pub absent: Option<bool>,
    /// Tests, in order.
    pub tests: Vec<Test>,
}
