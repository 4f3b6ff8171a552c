//! All parsers of this build: the one list to extend for another protocol.

use super::field::Field;
use super::output::{AppEvent, Output, Shared};
use super::protocol::{AppProtocol, Broken, Description, Input, PARSER_SIZE_MAX, Parse, Taken};

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
    DESCRIPTIONS.iter().any(|d| d.fields.contains(&field))
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

/// Number of a hook of rules (`PROTOCOL:NAME`), as the parser tells it in [`Field::Hook`].
pub fn hook(protocol: &str, name: &str) -> Option<u64> {
    let known = match protocol {
        "tls" => super::tls::HOOKS,
        _ => return None,
    };
    known
        .iter()
        .position(|hook| *hook == name)
        .map(|place| place as u64)
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
