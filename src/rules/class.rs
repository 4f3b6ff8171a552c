//! The class of a rule: when it is evaluated and what its action hits.
//!
//! The decision follows the guide's page on rule types: protocol detection only, addresses only,
//! decoder events only, then packet views, application buffers, payload (packet, stream or both),
//! packet keywords, and the bare application protocol.

use crate::rules::keyword;
use crate::rules::signature::*;

/// What the class depends on beside the signature itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// The header can match TCP.
    pub tcp: bool,
    /// Keywords look at packets alone (dsize, flags, ttl, `tcp-pkt`, flow:no_stream).
    pub require_packet: bool,
    /// `tcp-stream`, flow:only_stream.
    pub require_stream: bool,
    /// An application protocol is involved.
    pub application: bool,
    /// A test of the application layer that is no buffer of `inspect`.
    pub app_buffer: bool,
    /// A rule hook was written.
    pub hook: bool,
    /// Some packet test that `PacketTest` does not hold.
    pub other_match: bool,
    /// `decode-event` stands there.
    pub decoder_event: bool,
    /// A packet test other than `decode-event` stands there.
    pub other_event: bool,
}

/// Application protocols that run over UDP alone.
const UDP_ONLY: &[&str] = &[
    "dhcp",
    "ntp",
    "snmp",
    "tftp",
    "ike",
    "quic",
    "bittorrent-dht",
    "mdns",
    "vxlan",
];

/// Whether a header with this protocol can match TCP.
pub fn reaches_tcp(protocol: &Protocol) -> bool {
    match protocol {
        Protocol::Ip
        | Protocol::Ipv4
        | Protocol::Ipv6
        | Protocol::PacketHeader
        | Protocol::Ether
        | Protocol::Tcp
        | Protocol::TcpPacket
        | Protocol::TcpStream
        | Protocol::Number(6) => true,
        Protocol::App(name) => !UDP_ONLY.contains(&&**name),
        _ => false,
    }
}

/// Whether a state test looks (rather than writes), so that it decides whether the rule matches.
fn looks(test: &StateTest) -> bool {
    match test {
        StateTest::Flowbit { command, .. } | StateTest::HostBit { command, .. } => {
            matches!(command, BitCommand::IsSet | BitCommand::IsNotSet)
        }
        StateTest::TransactionBit { .. } => false,
        StateTest::FlowVariable { .. } | StateTest::PacketVariable { .. } => true,
        StateTest::Flowint { operator, .. } => !matches!(
            operator,
            IntOperator::Set | IntOperator::Add | IntOperator::Subtract
        ),
    }
}

/// Whether `flow` says more than a direction.
fn flow_looks(flow: &FlowKeyword) -> bool {
    flow.established || flow.not_established || flow.stateless || flow.only_frag || flow.no_frag
}

/// The class of a signature.
pub fn of(signature: &Signature, facts: &Facts) -> Class {
    let payload = signature
        .inspect
        .iter()
        .any(|inspect| inspect.buffer == Buffer::Payload);
    let packet_view = |buffer: &Buffer| match buffer {
        Buffer::Payload => false,
        Buffer::App(name) => keyword::buffer(name).is_some_and(|row| row.of_packet()),
        _ => true,
    };
    let app_view = |buffer: &Buffer| matches!(buffer, Buffer::App(_)) && !packet_view(buffer);
    let mut views = signature.inspect.iter().map(|inspect| &inspect.buffer);
    let packet_buffer = views.clone().any(packet_view);
    let app_buffer = facts.app_buffer || views.any(app_view);
    if facts.hook {
        return if facts.application {
            Class::AppTransaction
        } else {
            Class::Packet
        };
    }
    if !facts.application
        && !payload
        && !packet_buffer
        && !app_buffer
        && let Some(class) = without_buffers(signature, facts)
    {
        return class;
    }
    let matches = facts.other_match
        || !signature.packet.is_empty()
        || signature.flow.as_ref().is_some_and(flow_looks)
        || signature.state.iter().any(looks);
    if packet_buffer {
        Class::Packet
    } else if app_buffer {
        Class::AppTransaction
    } else if payload {
        of_payload(signature, facts)
    } else if matches || !facts.application {
        Class::Packet
    } else {
        Class::AppLayer
    }
}

/// The class of a rule that looks at no bytes, if it is one of the special ones.
fn without_buffers(signature: &Signature, facts: &Facts) -> Option<Class> {
    let flow_looks = signature.flow.as_ref().is_some_and(flow_looks);
    let only_sets = signature.state.iter().all(|test| match test {
        StateTest::Flowbit { command, .. } => *command == BitCommand::Set,
        StateTest::HostBit { .. } | StateTest::TransactionBit { .. } => true,
        StateTest::Flowint { .. }
        | StateTest::FlowVariable { .. }
        | StateTest::PacketVariable { .. } => false,
    });
    // A rule that only writes state may still wait for the detection of a protocol.
    let no_reads = !signature
        .state
        .iter()
        .any(|test| looks(test) && !matches!(test, StateTest::HostBit { .. }));
    // What is known of an address is asked with it.
    let of_address = |test: &PacketTest| matches!(test, PacketTest::Reputation(_));
    let mut others = signature
        .packet
        .iter()
        .filter(|test| !of_address(test))
        .peekable();
    let by_address_alone = others.peek().is_none();
    let detection = |test: &PacketTest| matches!(test, PacketTest::AppProtocol { .. });
    let plain = !flow_looks && !facts.other_match;
    if plain && no_reads && !by_address_alone && others.all(detection) {
        return Some(Class::ProtocolDetection);
    }
    let one_way = signature
        .flow
        .is_some_and(|flow| flow.to_server != flow.to_client);
    let by_address = !matches!(
        signature.header.protocol,
        Protocol::Arp | Protocol::Ether | Protocol::PacketHeader
    );
    if plain && by_address && only_sets && !one_way && by_address_alone && !signature.bypass {
        let negated = signature.header.src_addr.negated || signature.header.dst_addr.negated;
        return Some(if negated {
            Class::LikeIpOnly
        } else {
            Class::IpOnly
        });
    }
    let reads = signature.state.iter().any(looks);
    if plain && facts.decoder_event && !facts.other_event && !reads {
        return Some(Class::DecoderEvents);
    }
    None
}

/// The class of a rule that looks at the payload: over TCP the stream, unless something asks for
/// packets; a content with a fixed position asks for both.
fn of_payload(signature: &Signature, facts: &Facts) -> Class {
    match (facts.require_packet, facts.require_stream) {
        (true, false) => return Class::Packet,
        (false, true) => return Class::Stream,
        (true, true) => return Class::PacketStream,
        (false, false) if !facts.tcp => return Class::PacketStream,
        (false, false) => {}
    }
    let positioned = signature
        .inspect
        .iter()
        .filter(|inspect| inspect.buffer == Buffer::Payload)
        .flat_map(|inspect| &inspect.tests)
        .any(|test| match test {
            Test::Content(content) => {
                content.startswith || content.depth.is_some() || content.offset.is_some()
            }
            _ => false,
        });
    if positioned {
        Class::PacketStream
    } else {
        Class::Stream
    }
}
