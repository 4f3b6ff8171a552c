//! All parsers of this build: the one list to extend for another protocol.

use super::field::{Field, Progress};
use super::output::{AppEvent, Output, Shared};
use super::protocol::{AppProtocol, Broken, Description, Input, PARSER_SIZE_MAX, Parse, Taken};
use crate::packet::Direction::{self, ToClient, ToServer};

macro_rules! parsers {
    ($($variant:ident: $module:ident :: $parser:ident,)*) => {
        /// The parser of a flow.
        #[derive(Debug, Default)]
        #[allow(clippy::large_enum_variant)]
        pub enum Parser {
            /// None (yet).
            #[default]
            None,
            $(
                #[doc = concat!("See ", stringify!($module), ".rs.")]
                $variant(super::$module::$parser),
            )*
        }

        /// What the parsers of this build say about themselves, in the order in which they are asked.
        pub const DESCRIPTIONS: &[Description] = &[$(super::$module::DESCRIPTION,)*];

        impl Parser {
            /// A new parser of a protocol; `None` of one that has none.
            pub fn new(protocol: AppProtocol) -> Parser {
                match protocol {
                    $(AppProtocol::$variant => Parser::$variant(Default::default()),)*
                    _ => Parser::None,
                }
            }

            /// Shows it bytes.
            ///
            /// # Errors
            /// The parser gives up on the flow.
            pub fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
                match self {
                    Parser::None => Ok(Taken::all(input.bytes.len())),
                    $(Parser::$variant(parser) => {
                        const { assert!(size_of::<super::$module::$parser>() <= PARSER_SIZE_MAX) };
                        parser.parse(input, out)
                    })*
                }
            }

            /// Whether a side's bytes before a gap are read with those behind it.
            pub fn bridges(&self, direction: Direction) -> bool {
                match self {
                    Parser::None => false,
                    $(Parser::$variant(parser) => parser.bridges(direction),)*
                }
            }

            /// Lets go of what it holds.
            pub fn free(&mut self, shared: &mut Shared) {
                match self {
                    Parser::None => {}
                    $(Parser::$variant(parser) => parser.release(shared),)*
                }
                *self = Parser::None;
            }
        }
    };
}

parsers! {
    Tls: tls::Tls,
    Ssh: ssh::Ssh,
    Quic: quic::Quic,
    Http2: http2::Http2,
    Websocket: websocket::Websocket,
    Smb: smb::Smb,
    Dcerpc: dcerpc::Dcerpc,
    Nfs: nfs::Nfs,
    Krb5: krb5::Krb5,
    Dhcp: dhcp::Dhcp,
    Enip: enip::Enip,
    Ike: ike::Ike,
    Dnp3: dnp3::Dnp3,
    Modbus: modbus::Modbus,
    Dns: dns::Dns,
    Mdns: mdns::Mdns,
    Llmnr: llmnr::Llmnr,
    Sip: sip::Sip,
    Http: http::Http,
    Rdp: rdp::Rdp,
    Snmp: snmp::Snmp,
    Rfb: rfb::Rfb,
    Mqtt: mqtt::Mqtt,
    Ldap: ldap::Ldap,
    Tftp: tftp::Tftp,
    BittorrentDht: bittorrent_dht::BittorrentDht,
    Pgsql: pgsql::Pgsql,
    Pop3: pop3::Pop3,
    Imap: imap::Imap,
    Telnet: telnet::Telnet,
    Ntp: ntp::Ntp,
    Ftp: ftp::Ftp,
    FtpData: ftp_data::FtpData,
    Smtp: smtp::Smtp,
}

/// What a protocol says about itself, if this build has a parser for it.
pub fn description(protocol: AppProtocol) -> Option<&'static Description> {
    DESCRIPTIONS.iter().find(|d| d.protocol == protocol)
}

/// Whether some parser fills the field.
pub fn fills(field: Field) -> bool {
    // The frame of a whole stream is made for every protocol (flows.rs), and what a file is is told of
    // every file (file.rs).
    matches!(field, Field::FrameStream | Field::FileMagic)
        || DESCRIPTIONS.iter().any(|d| d.fields.contains(&field))
}

/// Events of a flow whatever its protocol; their number is that of `AppProtocol::Unknown`.
pub const FLOW_EVENTS: &[&str] = &[
    "applayer_mismatch_protocol_both_directions",
    "applayer_wrong_direction_first_data",
    "applayer_detect_protocol_only_one_direction",
    "applayer_proto_detection_skipped",
    "applayer_no_tls_after_starttls",
    "applayer_unexpected_protocol",
];

/// The event `PROTOCOL.NAME`, or `NAME` of [`FLOW_EVENTS`], of rules.
pub fn event(name: &str) -> Option<AppEvent> {
    let Some((protocol, name)) = name.split_once('.') else {
        let place = FLOW_EVENTS.iter().position(|known| *known == name)?;
        return Some(AppEvent::of(AppProtocol::Unknown, place as u8));
    };
    let description = DESCRIPTIONS
        .iter()
        .find(|d| d.protocol.name() == protocol)?;
    let place = description.events.iter().position(|known| *known == name)?;
    Some(AppEvent::of(description.protocol, place as u8))
}

/// All events that rules may name.
pub fn event_names() -> Vec<String> {
    let of = |d: &'static Description| {
        let name = move |event: &&str| format!("{}.{event}", d.protocol.name());
        d.events.iter().map(name)
    };
    let flow = FLOW_EVENTS.iter().map(|event| event.to_string());
    DESCRIPTIONS.iter().flat_map(of).chain(flow).collect()
}

/// Protocols at whose messages' ends Suricata inspects the raw stream (what its parsers ask for).
pub(super) fn ends_chunks(protocol: AppProtocol) -> bool {
    use AppProtocol as P;
    matches!(
        protocol,
        P::Http
            | P::Http2
            | P::Tls
            | P::Dns
            | P::Smtp
            | P::Ssh
            | P::Dcerpc
            | P::Krb5
            | P::Sip
            | P::Mqtt
            | P::Rdp
            | P::Rfb
            | P::Nfs
            | P::Ldap
            | P::Pgsql
            | P::Modbus
            | P::Dnp3
            | P::Enip
            | P::Websocket
            | P::Pop3
    )
}

/// What a hook of rules (`PROTOCOL:NAME`) waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hook {
    /// A state that the parser tells of in [`Field::Hook`].
    Told(u64),
    /// How far a direction of the transaction has come.
    Reached(Direction, Progress),
}

/// Hooks of every protocol, and what states of some protocols come to here.
const HOOKS: &[(&str, &str, Direction, Progress)] = &[
    ("", "request_started", ToServer, Progress::Open),
    ("", "request_complete", ToServer, Progress::Complete),
    ("", "response_started", ToClient, Progress::Open),
    ("", "response_complete", ToClient, Progress::Complete),
    ("http", "request_line", ToServer, Progress::Open),
    ("http", "request_headers", ToServer, Progress::Head),
    ("http", "request_body", ToServer, Progress::Head),
    ("http", "request_trailer", ToServer, Progress::Head),
    ("http", "response_line", ToClient, Progress::Open),
    ("http", "response_headers", ToClient, Progress::Head),
    ("http", "response_body", ToClient, Progress::Head),
    ("http", "response_trailer", ToClient, Progress::Head),
    ("smtp", "request_data", ToServer, Progress::Head),
    ("smtp", "response_data", ToClient, Progress::Head),
    ("ssh", "request_in_progress", ToServer, Progress::Open),
    ("ssh", "request_banner_wait_eol", ToServer, Progress::Open),
    ("ssh", "request_banner_done", ToServer, Progress::Open),
    ("ssh", "request_finished", ToServer, Progress::Head),
    ("ssh", "response_in_progress", ToClient, Progress::Open),
    ("ssh", "response_banner_wait_eol", ToClient, Progress::Open),
    ("ssh", "response_banner_done", ToClient, Progress::Open),
    ("ssh", "response_finished", ToClient, Progress::Head),
    ("tls", "client_in_progress", ToServer, Progress::Open),
    ("tls", "client_finished", ToServer, Progress::Complete),
    ("tls", "server_in_progress", ToClient, Progress::Open),
    ("tls", "server_finished", ToClient, Progress::Complete),
];

/// The hook of that name.
pub fn hook(protocol: &str, name: &str) -> Option<Hook> {
    let protocol = match protocol {
        "http1" => "http",
        protocol => protocol,
    };
    let told = told_names(protocol);
    if let Some(place) = told.iter().position(|hook| *hook == name) {
        return Some(Hook::Told(place as u64));
    }
    if is_http2(protocol) {
        // Its transactions are of two kinds, which each of its hooks names.
        return None;
    }
    HOOKS
        .iter()
        .find(|(of, known, ..)| *known == name && (of.is_empty() || *of == protocol))
        .map(|(_, _, direction, progress)| Hook::Reached(*direction, *progress))
}

fn is_http2(protocol: &str) -> bool {
    matches!(protocol, "http2" | "doh2")
}

/// States that a protocol's parser tells of, those of the client first.
fn told_names(protocol: &str) -> &'static [&'static str] {
    match protocol {
        "tls" => super::tls::HOOKS,
        protocol if is_http2(protocol) => super::http2::HOOKS,
        _ => &[],
    }
}

/// The side that comes to a state of [`Hook::Told`], and all states of that side, in their order.
pub fn told_states(protocol: &str, state: u64) -> (Direction, std::ops::Range<u64>) {
    let all = told_names(protocol);
    let of_server = |hook: &&str| hook.starts_with("server_") || hook.contains(":response_");
    let servers = all.iter().position(of_server).unwrap_or(all.len()) as u64;
    if state < servers {
        (ToServer, 0..servers)
    } else {
        (ToClient, servers..all.len() as u64)
    }
}

/// Protocol and name of an event.
pub fn event_name(event: AppEvent) -> Option<(&'static str, &'static str)> {
    let protocol = AppProtocol::from_number((event.0 >> 8) as u8);
    if protocol == AppProtocol::Unknown {
        let name = FLOW_EVENTS.get(usize::from(event.0))?;
        return Some(("", name));
    }
    let description = description(protocol)?;
    let name = description.events.get(usize::from(event.0 & 0xff))?;
    Some((protocol.name(), name))
}
