//! Application records in EVE: `http`, `dns`, `tls` ... objects, nested in alerts or as events of
//! their own. Names of the objects' keys are Suricata's; fields without a row here stand under
//! their rule name without the protocol's. Nothing here allocates.

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::text::{Bytes, Text};
use super::{dhcp, dnp3, dns, enip, modbus, smb, words};
use crate::app::record::{Part, Record, Value};
use crate::app::{AppProtocol, Field};
use crate::packet::Direction;

/// Different keys of one object at most.
const KEYS_MAX: usize = 64;
/// Begins the paths of what stands in an object of its own, `email`.
const EMAIL: &str = "@email.";

/// Where a field stands: keys from the protocol's object inwards, joined by dots; a key that ends in
/// `[]` holds a list however many values there are, one that ends in `!` the first value alone, in `/`
/// all values with slashes between them. "" leaves the field out.
fn path(field: Field, direction: Direction, of: AppProtocol) -> &'static str {
    let to_server = direction == Direction::ToServer;
    match field {
        Field::HttpHost => "hostname",
        Field::HttpUriRaw => "url",
        Field::HttpUserAgent => "http_user_agent",
        Field::HttpReferer => "http_refer",
        Field::HttpMethod => "http_method",
        Field::HttpStatCode => "status",
        Field::HttpLocation => "redirect",
        Field::HttpContentType if !to_server => "http_content_type",
        Field::HttpProtocol if to_server => "protocol",
        Field::TlsCertSubject => "subject!",
        Field::TlsCertIssuer => "issuerdn!",
        Field::TlsCertSerial => "serial!",
        Field::TlsCertFingerprint => "fingerprint!",
        Field::TlsSni => "sni",
        Field::TlsVersion if !to_server => "version",
        Field::TlsCertNotbefore => "notbefore!",
        Field::TlsCertNotafter => "notafter!",
        Field::TlsAlpn if to_server => "client_alpns[]",
        Field::TlsAlpn => "server_alpns[]",
        Field::TlsSubjectaltname => "subjectaltname[]",
        Field::Ja3Hash => "ja3.hash",
        Field::Ja3String => "ja3.string",
        Field::Ja3sHash => "ja3s.hash",
        Field::Ja3sString => "ja3s.string",
        Field::Ja4Hash => "ja4",
        Field::DnsQueriesRrname | Field::DnsQuery => "rrname",
        Field::FileName => "filename",
        Field::FtpdataCommand => "command",
        Field::FtpCompletionCode => "completion_code[]",
        Field::FtpReply => "reply[]",
        Field::SshProto if to_server => "client.proto_version",
        Field::SshProto => "server.proto_version",
        Field::SshSoftware if to_server => "client.software_version",
        Field::SshSoftware => "server.software_version",
        Field::SshHassh => "client.hassh.hash",
        Field::SshHasshString => "client.hassh.string",
        Field::SshHasshServer => "server.hassh.hash",
        Field::SshHasshServerString => "server.hassh.string",
        Field::SmtpRcptTo => "rcpt_to[]",
        Field::SmbNtlmsspUser => "ntlmssp.user",
        Field::SmbNtlmsspDomain => "ntlmssp.domain",
        Field::SmbClientDialects => "client_dialects[]",
        Field::DcerpcIface if !to_server => "",
        Field::DcerpcIface if of == AppProtocol::Smb => "dcerpc.interfaces[].uuid",
        Field::DcerpcOpnum if of == AppProtocol::Smb && to_server => "dcerpc.opnum",
        Field::DcerpcIface => "interfaces[].uuid",
        Field::DcerpcOpnum if to_server => "req.opnum",
        Field::DcerpcOpnum => "",
        Field::WebsocketFlags => "fin",
        Field::WebsocketPayload => "",
        Field::IkeExchtype => "exchange_type",
        Field::IkeVendor => "ikev1.vendor_ids[]",
        Field::IkeKeyExchangePayloadLength if to_server => {
            "ikev1.client.key_exchange_payload_length"
        }
        Field::IkeKeyExchangePayloadLength => "ikev1.server.key_exchange_payload_length",
        Field::IkeNoncePayloadLength if to_server => "ikev1.client.nonce_payload_length",
        Field::IkeNoncePayloadLength => "ikev1.server.nonce_payload_length",
        Field::Krb5Cname => "cname/",
        Field::Krb5Sname => "sname/",
        Field::Krb5ErrCode => "error_code",
        Field::Krb5MsgType => "msg_type",
        Field::Krb5TicketEncryption => "encryption",
        _ => of_multiplexed(field, to_server),
    }
}

/// HTTP/2 and QUIC.
fn of_multiplexed(field: Field, to_server: bool) -> &'static str {
    match field {
        Field::Http2Priority => "http2.request.priority",
        Field::Http2Errorcode if to_server => "http2.request.error_code",
        Field::Http2Errorcode => "http2.response.error_code",
        Field::Http2StreamId => "http2.stream_id",
        Field::Http2Header if to_server => "request_headers[]",
        Field::Http2Header => "response_headers[]",
        Field::QuicCyuHash => "cyu[].hash",
        Field::QuicCyuString => "cyu[].string",
        _ => of_messages(field),
    }
}

/// Paths of protocols whose objects are one for each kind of message.
fn of_messages(field: Field) -> &'static str {
    match field {
        Field::SipMethod => "method",
        Field::SipStatCode => "code",
        Field::SipStatMsg => "reason",
        Field::SipProtocol => "version",
        Field::SipContentType | Field::SipContentLength => "",
        Field::RfbSectype => "authentication.security_type",
        Field::RfbSecresult => "authentication.security_result",
        Field::RfbName => "framebuffer.name",
        Field::EmailFrom => "@email.from",
        Field::EmailTo => "@email.to[]",
        Field::EmailCc => "@email.cc[]",
        Field::EmailSubject => "@email.subject",
        Field::EmailDate => "@email.date",
        Field::EmailMessageId => "@email.message_id",
        Field::EmailXMailer => "@email.x_mailer",
        Field::EmailReceived => "@email.received[]",
        Field::MqttPublishTopic => "publish.topic",
        Field::MqttPublishMessage => "publish.message",
        Field::MqttSubscribeTopic => "subscribe.topics[].topic",
        Field::MqttUnsubscribeTopic => "unsubscribe.topics[]",
        Field::MqttConnectProtocolString => "connect.protocol_string",
        Field::MqttConnectClientid => "connect.client_id",
        Field::MqttConnectUsername => "connect.username",
        Field::MqttConnectPassword => "connect.password",
        Field::MqttConnectWilltopic => "connect.will.topic",
        Field::MqttConnectWillmessage => "connect.will.message",
        Field::MqttProtocolVersion => "connect.protocol_version",
        Field::MqttConnackReturnCode => "connack.return_code",
        Field::MqttConnackSessionPresent => "connack.session_present",
        Field::LdapRequestOperation => "request.operation",
        Field::LdapRequestDn => "request.dn",
        Field::LdapRequestAttributeType => "request.attributes[]",
        Field::LdapResponsesOperation => "responses[].operation",
        Field::LdapResponsesDn => "responses[].matched_dn",
        Field::LdapResponsesMessage => "responses[].message",
        Field::LdapResponsesResultCode => "responses[].result_code",
        Field::LdapResponsesAttributeType => "response_attributes[]",
        Field::LdapResponsesCount => "",
        Field::PgsqlQuery => "request.simple_query",
        Field::SdpSessionName => "sdp.session_name",
        Field::SdpSessionInfo => "sdp.session_info",
        Field::SdpOrigin => "sdp.origin",
        Field::SdpUri => "sdp.uri",
        Field::SdpEmail => "sdp.email",
        Field::SdpPhoneNumber => "sdp.phone_number",
        Field::SdpConnectionData => "sdp.connection_data",
        Field::SdpBandwidth => "sdp.bandwidths[]",
        Field::SdpTime => "sdp.time_descriptions[].time",
        Field::SdpRepeatTime => "sdp.time_descriptions[].repeat_time",
        Field::SdpTimezone => "sdp.timezone",
        Field::SdpEncryptionKey => "sdp.encryption_key",
        Field::SdpAttribute => "sdp.attributes[]",
        Field::SdpMediaMedia => "sdp.media_descriptions[].media",
        Field::SdpMediaMediaInfo => "sdp.media_descriptions[].media_info",
        Field::SdpMediaConnectionData => "sdp.media_descriptions[].connection_data",
        Field::SdpMediaEncryptionKey => "sdp.media_descriptions[].encryption_key",
        _ => of_others(field),
    }
}

fn of_others(field: Field) -> &'static str {
    match field {
        // Views of what stands there already, or too long for a log.
        Field::HttpUri
        | Field::HttpHeader
        | Field::HttpHeaderRaw
        | Field::HttpHeaderNames
        | Field::HttpRequestLine
        | Field::HttpResponseLine
        | Field::HttpStart
        | Field::HttpHostRaw
        | Field::HttpStatMsg
        | Field::HttpRequestHeader
        | Field::HttpResponseHeader
        | Field::HttpCookie
        | Field::HttpAccept
        | Field::HttpAcceptEnc
        | Field::HttpAcceptLang
        | Field::HttpConnection
        | Field::HttpContentLen
        | Field::HttpContentType
        | Field::HttpProtocol
        | Field::HttpServer
        | Field::TlsCerts
        | Field::TlsRandom
        | Field::TlsRandomTime
        | Field::TlsRandomBytes
        | Field::DcerpcStubData
        | Field::DcerpcLittleEndian
        | Field::DnsMessage
        | Field::DhcpMessage
        | Field::Http2Frametype
        | Field::Http2SizeUpdate
        | Field::Http2Window
        | Field::Http2Settings
        | Field::Http2HeaderName
        | Field::IkeKeyExchangePayload
        | Field::IkeNoncePayload
        | Field::IkeChosenSaAttribute
        | Field::MqttType
        | Field::MqttFlags
        | Field::MqttConnectFlags
        | Field::Dnp3Data
        | Field::Dnp3Obj
        | Field::Dnp3Message
        | Field::Modbus
        | Field::ModbusMessage
        | Field::EnipMessage
        | Field::SmbVersion
        | Field::FileInfo
        | Field::EmailUrl
        | Field::EmailBodyMd5
        | Field::HttpPath
        | Field::AppLayerEvent => "",
        field if field.is_frame() || is_for_rules(field) => "",
        field => {
            let name = field.name();
            name.split_once('.').map_or(name, |(_, key)| key)
        }
    }
}

/// Whether a field says nothing to a reader that others do not say.
fn is_for_rules(field: Field) -> bool {
    matches!(
        field,
        Field::TlsVersion
            | Field::TlsCertExpired
            | Field::TlsCertValid
            | Field::TlsCertChainLen
            | Field::SslState
            | Field::SslVersion
            | Field::SshProtoversion
            | Field::SshSoftwareversion
            | Field::Hook
            | Field::DohMessage
    )
}

/// `{"http": {...}}`, to be flattened into a record; what stands beside it, too.
pub struct AppObject<'a> {
    /// The transaction.
    pub record: Record<'a>,
    /// It stands in an alert.
    pub nested: bool,
}

impl Serialize for AppObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let record = self.record;
        let name = record.protocol().event_name();
        if let Some(messages) = Messages::of(self) {
            map.serialize_entry(name, &messages)?;
            return map.end();
        }
        if let Some(Value::Bytes(bytes)) = value_of(record, Field::DhcpMessage) {
            map.serialize_entry(name, &dhcp::Message(bytes))?;
            return map.end();
        }
        match (dns_message(record), is_of_dns(record.protocol())) {
            (Some(message), true) => map.serialize_entry(name, &message)?,
            (Some(message), false) => {
                map.serialize_entry(name, &Object { record, within: "" })?;
                map.serialize_entry("dns", &message)?;
            }
            (None, _) => map.serialize_entry(name, &Object { record, within: "" })?,
        }
        let email = |part: &Part<'_>| part.path().starts_with(EMAIL);
        if record.parts().any(|part| email(&part)) {
            let within = EMAIL;
            map.serialize_entry("email", &Object { record, within })?;
        }
        map.end()
    }
}

/// Protocols whose objects are read from the messages themselves: `request` and `response`.
struct Messages<'a>(&'a AppObject<'a>, Field);

impl<'a> Messages<'a> {
    fn of(object: &'a AppObject<'a>) -> Option<Messages<'a>> {
        let field = match object.record.protocol() {
            AppProtocol::Modbus => Field::ModbusMessage,
            AppProtocol::Dnp3 => Field::Dnp3Message,
            AppProtocol::Enip => Field::EnipMessage,
            _ => return None,
        };
        Some(Messages(object, field))
    }
}

impl Serialize for Messages<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let record = self.0.record;
        // A fragment of DNP3 is an event by itself.
        let alone = value_of(record, self.1).filter(|_| self.1 == Field::Dnp3Message);
        if let (Some(Value::Bytes(bytes)), false) = (alone, self.0.nested) {
            return fragment(bytes).serialize(serializer);
        }
        let mut map = serializer.serialize_map(None)?;
        if self.1 == Field::ModbusMessage {
            map.serialize_entry("id", &(u64::from(record.number()) + 1))?;
        }
        for direction in [Direction::ToServer, Direction::ToClient] {
            let response = direction == Direction::ToClient;
            let key = if response { "response" } else { "request" };
            let mut parts = record.parts();
            let found = parts.find(|part| (part.field, part.direction) == (self.1, direction));
            let Some(Value::Bytes(bytes)) = found.map(|part| part.value) else {
                continue;
            };
            match self.1 {
                Field::ModbusMessage => {
                    map.serialize_entry(key, &modbus::Message { bytes, response })?;
                }
                Field::EnipMessage => map.serialize_entry(key, &enip::Message(bytes))?,
                _ => map.serialize_entry(key, &fragment(bytes))?,
            }
        }
        map.end()
    }
}

fn fragment(bytes: &[u8]) -> dnp3::Message<'_> {
    let complete = bytes.len() < crate::app::record::MESSAGE_MAX;
    dnp3::Message { bytes, complete }
}

fn is_of_dns(protocol: AppProtocol) -> bool {
    matches!(
        protocol,
        AppProtocol::Dns | AppProtocol::Mdns | AppProtocol::Llmnr
    )
}

fn value_of(record: Record<'_>, field: Field) -> Option<Value<'_>> {
    let part = record.parts().find(|part| part.field == field);
    part.map(|part| part.value)
}

fn dns_message(record: Record<'_>) -> Option<dns::Message<'_>> {
    match value_of(record, Field::DnsMessage)? {
        Value::Bytes(bytes) => Some(dns::Message::new(bytes, record.number())),
        Value::Number(_) => None,
    }
}

impl Part<'_> {
    fn path(&self) -> &'static str {
        // What DNS within HTTP/2 says stands in an object of its own.
        if self.field.name().starts_with("dns.") && !is_of_dns(self.of) {
            return "";
        }
        path(self.field, self.direction, self.of)
    }
}

/// The parts of a record whose paths begin alike: one entry for each next key, an object where keys
/// follow, a list where it has several values.
#[derive(Clone, Copy)]
struct Object<'a> {
    record: Record<'a>,
    within: &'static str,
}

impl<'a> Object<'a> {
    /// The next key of a part that stands here (with its `[]`), and the path with it.
    fn key(self, part: &Part<'_>) -> Option<(&'static str, &'static str)> {
        let path = part.path();
        let rest = path.strip_prefix(self.within)?;
        if rest.is_empty() || rest.starts_with('@') {
            return None;
        }
        let length = rest.find('.').unwrap_or(rest.len());
        let whole = path.len() - rest.len() + length;
        Some((rest.get(..length)?, path.get(..whole)?))
    }

    /// Whether there are several values.
    fn differ(self, path: &'static str) -> bool {
        let mut values = self.parts_of(path).map(|part| part.value);
        let first = values.next();
        values.any(|value| Some(value) != first)
    }

    fn parts_of(self, path: &'static str) -> impl Iterator<Item = Part<'a>> + Clone {
        self.record.parts().filter(move |part| part.path() == path)
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let protocol = self.record.protocol();
        if self.within.is_empty() && matches!(protocol, AppProtocol::Http2 | AppProtocol::Doh2) {
            map.serialize_entry("version", "2")?;
        }
        let mut known = [""; KEYS_MAX];
        let mut count = 0;
        for part in self.record.parts() {
            let Some((key, path)) = self.key(&part) else {
                continue;
            };
            if known.iter().take(count).any(|before| *before == key) {
                continue;
            }
            let Some(place) = known.get_mut(count) else {
                break;
            };
            *place = key;
            count += 1;
            let (name, list) = match key.strip_suffix("[]") {
                Some(name) => (name, true),
                None => (key, false),
            };
            if let Some(name) = name.strip_suffix('!') {
                map.serialize_entry(name, &One(part))?;
                continue;
            }
            if let Some(name) = name.strip_suffix('/') {
                map.serialize_entry(name, &Joined(*self, path))?;
                continue;
            }
            if part.path().len() > path.len() {
                let inner = inner_of(part.path(), path);
                let record = self.record;
                let object = Object {
                    record,
                    within: inner,
                };
                if list {
                    map.serialize_entry(name, &Rows(object))?;
                } else {
                    map.serialize_entry(name, &object)?;
                }
            } else if list || self.differ(path) {
                map.serialize_entry(name, &List(*self, path))?;
            } else {
                map.serialize_entry(name, &One(part))?;
            }
        }
        map.end()
    }
}

/// The path of a part up to and with the dot behind a shorter one.
fn inner_of(longer: &'static str, shorter: &str) -> &'static str {
    longer.get(..shorter.len() + 1).unwrap_or(longer)
}

/// Objects in a list: a part whose path is in the object at hand begins the next one.
struct Rows<'a>(Object<'a>);

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        let mut from = 0;
        let here = |part: &Part<'_>| self.0.key(part).is_some();
        // Every turn takes a part.
        while let Some((start, _)) =
            (self.0.record.parts().enumerate().skip(from)).find(|(_, part)| here(part))
        {
            let parts = self.0.record.parts().enumerate().skip(start);
            let mut length = 0;
            for (place, part) in parts {
                let row = Row(self.0, start, place);
                if here(&part) && row.has(part.path()) {
                    break;
                }
                length = place + 1;
            }
            list.serialize_element(&Row(self.0, start, length))?;
            from = length.max(start + 1);
        }
        list.end()
    }
}

/// The parts of an object from one place to another.
struct Row<'a>(Object<'a>, usize, usize);

impl<'a> Row<'a> {
    fn parts(&self) -> impl Iterator<Item = Part<'a>> {
        self.0.record.parts().take(self.2).skip(self.1)
    }

    fn has(&self, path: &str) -> bool {
        self.parts().any(|part| part.path() == path)
    }
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for part in self.parts() {
            if let Some((key, _)) = self.0.key(&part) {
                map.serialize_entry(key, &One(part))?;
            }
        }
        map.end()
    }
}

/// Texts with slashes between them.
struct Joined<'a>(Object<'a>, &'static str);

impl std::fmt::Display for Joined<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, part) in self.0.parts_of(self.1).enumerate() {
            let slash = if place > 0 { "/" } else { "" };
            match part.value {
                Value::Bytes(bytes) => write!(f, "{slash}{}", Bytes(bytes))?,
                Value::Number(number) => write!(f, "{slash}{number}")?,
            }
        }
        Ok(())
    }
}

impl Serialize for Joined<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

struct List<'a>(Object<'a>, &'static str);

impl Serialize for List<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for part in self.0.parts_of(self.1) {
            list.serialize_element(&One(part))?;
        }
        list.end()
    }
}

struct One<'a>(Part<'a>);

impl Serialize for One<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.0.field, self.0.value) {
            (Field::HttpStatCode, Value::Bytes(bytes)) => {
                let text = std::str::from_utf8(bytes).unwrap_or("");
                match text.parse::<u32>() {
                    Ok(number) => serializer.serialize_u32(number),
                    Err(_) => serializer.collect_str(&Bytes(bytes)),
                }
            }
            (Field::TlsVersion, Value::Number(number)) => {
                Text(tls_version(number)).serialize(serializer)
            }
            (Field::TlsCertNotbefore | Field::TlsCertNotafter, Value::Number(number)) => {
                serializer.collect_str(&Seconds(number))
            }
            (Field::MqttConnackSessionPresent, Value::Number(number)) => {
                serializer.serialize_bool(number != 0)
            }
            // The first bit of a frame (RFC 6455 section 5.2).
            (Field::WebsocketFlags, Value::Number(number)) => {
                serializer.serialize_bool(number & 0x80 != 0)
            }
            (Field::DcerpcIface, Value::Bytes(bytes)) => serializer.collect_str(&Uuid(bytes)),
            (Field::QuicVersion, Value::Bytes(b"\0\0\0\x01")) => serializer.serialize_str("1"),
            (Field::QuicVersion, Value::Bytes(b"\x6b\x33\x43\xcf")) => {
                serializer.serialize_str("2")
            }
            (Field::Http2Header, Value::Bytes(bytes)) => Header(bytes).serialize(serializer),
            (field, Value::Number(number)) => match words::of(field, number) {
                Some(word) => serializer.serialize_str(word),
                None => match smb::text(field, number) {
                    Some(text) => serializer.collect_str(&text),
                    None => serializer.serialize_u64(number),
                },
            },
            (_, Value::Bytes(bytes)) => serializer.collect_str(&Bytes(bytes)),
        }
    }
}

/// A header of HTTP/2: its name (which may begin with a colon), a colon and a blank, its value.
struct Header<'a>(&'a [u8]);

impl Serialize for Header<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rest = self.0.get(1..).unwrap_or(&[]);
        let end = memchr::memmem::find(rest, b": ").map_or(self.0.len(), |place| place + 1);
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("name", &Text(Bytes(self.0.get(..end).unwrap_or(&[]))))?;
        map.serialize_entry("value", &Text(Bytes(self.0.get(end + 2..).unwrap_or(&[]))))?;
        map.end()
    }
}

/// A UUID of sixteen bytes as it is written.
struct Uuid<'a>(&'a [u8]);

impl std::fmt::Display for Uuid<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, byte) in self.0.iter().take(16).enumerate() {
            let dash = if matches!(place, 4 | 6 | 8 | 10) {
                "-"
            } else {
                ""
            };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

/// Name of a version of TLS.
fn tls_version(number: u64) -> &'static str {
    match number {
        0x0200 => "SSLv2",
        0x0300 => "SSLv3",
        0x0301 => "TLSv1",
        0x0302 => "TLS 1.1",
        0x0303 => "TLS 1.2",
        0x0304 => "TLS 1.3",
        0x7f00..=0x7fff | 0xfb00..=0xfbff => "TLS 1.3 draft",
        _ => "UNDETERMINED",
    }
}

/// Seconds since 1970 as `2015-06-30T12:00:00`.
struct Seconds(u64);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (days, of_day) = (self.0 / 86_400, self.0 % 86_400);
        // Hinnant, "chrono-compatible low-level date algorithms": days to a date.
        let shifted = days + 719_468;
        let (era, of_era) = (shifted / 146_097, shifted % 146_097);
        let of_cycle = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * of_cycle + of_cycle / 4 - of_cycle / 100);
        let place = (5 * of_year + 2) / 153;
        let (day, month) = (of_year - (153 * place + 2) / 5 + 1, (place + 2) % 12 + 1);
        let year = of_cycle + era * 400 + u64::from(month <= 2);
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
        )
    }
}

/// `app_proto` of an event; nothing while it is not known.
pub fn app_proto(number: u8) -> Option<Text<&'static str>> {
    match AppProtocol::from_number(number) {
        AppProtocol::Unknown => None,
        protocol => Some(Text(protocol.name())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    /// A part of a record: a number or bytes.
    enum Of<'a> {
        Number(u64),
        Bytes(&'a str),
    }
    use Of::{Bytes as Text8, Number};

    /// The record of a transaction with these parts, as EVE shows it.
    fn shown(protocol: AppProtocol, parts: &[(Field, Direction, Of<'_>)]) -> Json {
        let mut bytes = vec![protocol as u8, 5, 0, 0, 0];
        for (field, direction, value) in parts {
            let number;
            let (flag, value) = match value {
                Number(value) => {
                    number = value.to_le_bytes();
                    (2, &number[..])
                }
                Text8(text) => (0, text.as_bytes()),
            };
            let turned = u8::from(*direction == Direction::ToClient);
            bytes.extend_from_slice(&(*field as u16).to_le_bytes());
            bytes.push(flag | turned);
            bytes.extend_from_slice(&(value.len() as u16).to_le_bytes());
            bytes.extend_from_slice(value);
        }
        let record = Record::new(&bytes).unwrap();
        let nested = true;
        serde_json::to_value(AppObject { record, nested }).unwrap()
    }

    use Direction::{ToClient as C, ToServer as S};

    #[test]
    fn both_sides_of_ssh_have_objects() {
        let value = shown(
            AppProtocol::Ssh,
            &[
                (Field::SshProto, S, Text8("2.0")),
                (Field::SshSoftware, S, Text8("OpenSSH_9")),
                (Field::SshHassh, S, Text8("ab")),
                (Field::SshHasshString, S, Text8("x;y")),
                (Field::SshProto, C, Text8("2.0")),
                (Field::SshSoftwareversion, C, Number(1)),
            ],
        );
        let client = json!({"proto_version": "2.0", "software_version": "OpenSSH_9",
            "hassh": {"hash": "ab", "string": "x;y"}});
        let expected = json!({"ssh": {"client": client, "server": {"proto_version": "2.0"}}});
        assert_eq!(value, expected);
    }

    #[test]
    fn mail_stands_beside_its_protocol() {
        let value = shown(
            AppProtocol::Smtp,
            &[
                (Field::SmtpHelo, S, Text8("a")),
                (Field::SmtpRcptTo, S, Text8("<b@c>")),
                (Field::EmailFrom, S, Text8("me")),
                (Field::EmailTo, S, Text8("you")),
                (Field::EmailTo, S, Text8("them")),
                (Field::EmailUrl, S, Text8("http://x")),
            ],
        );
        let expected = json!({"smtp": {"helo": "a", "rcpt_to": ["<b@c>"]},
            "email": {"from": "me", "to": ["you", "them"]}});
        assert_eq!(value, expected);
    }

    #[test]
    fn rows_begin_where_a_key_comes_again() {
        let value = shown(
            AppProtocol::Ldap,
            &[
                (Field::LdapRequestOperation, S, Number(3)),
                (Field::LdapRequestDn, S, Text8("dc=a")),
                (Field::LdapResponsesOperation, C, Number(4)),
                (Field::LdapResponsesDn, C, Text8("cn=b")),
                (Field::LdapResponsesOperation, C, Number(5)),
                (Field::LdapResponsesResultCode, C, Number(0)),
                (Field::LdapResponsesCount, C, Number(2)),
            ],
        );
        let rows = json!([{"operation": "search_result_entry", "matched_dn": "cn=b"},
            {"operation": "search_result_done", "result_code": "success"}]);
        let request = json!({"operation": "search_request", "dn": "dc=a"});
        let expected = json!({"ldap": {"request": request, "responses": rows}});
        assert_eq!(value, expected);
    }

    #[test]
    fn what_both_directions_say_is_said_once() {
        let value = shown(
            AppProtocol::Ftp,
            &[
                (Field::FtpCommand, S, Text8("PASV")),
                (Field::FtpReply, C, Text8("Entering")),
                (Field::FtpCompletionCode, C, Text8("227")),
                (Field::FtpDynamicPort, S, Number(1025)),
                (Field::FtpDynamicPort, C, Number(1025)),
                (Field::FtpMode, S, Number(0)),
                (Field::FtpMode, C, Number(0)),
            ],
        );
        let expected = json!({"ftp": {"command": "PASV", "reply": ["Entering"],
            "completion_code": ["227"], "dynamic_port": 1025, "mode": "passive"}});
        assert_eq!(value, expected);
    }

    #[test]
    fn first_values_and_joined_ones() {
        let value = shown(
            AppProtocol::Krb5,
            &[
                (Field::Krb5MsgType, C, Number(13)),
                (Field::Krb5Sname, C, Text8("HTTP")),
                (Field::Krb5Sname, C, Text8("a.b")),
            ],
        );
        let expected = json!({"krb5": {"msg_type": "KRB_TGS_REP", "sname": "HTTP/a.b"}});
        assert_eq!(value, expected);
        let chain = [
            (Field::TlsCertSubject, C, Text8("CN=leaf")),
            (Field::TlsCertSubject, C, Text8("CN=ca")),
        ];
        let value = shown(AppProtocol::Tls, &chain);
        assert_eq!(value, json!({"tls": {"subject": "CN=leaf"}}));
        let iface = [(
            Field::DcerpcIface,
            S,
            Text8("\u{1}2345678abcdefgh\0\u{2}\u{1}"),
        )];
        let value = shown(AppProtocol::Dcerpc, &iface);
        let uuid = "01323334-3536-3738-6162-636465666768";
        assert_eq!(value["dcerpc"]["interfaces"][0]["uuid"], uuid);
    }

    #[test]
    fn a_dns_message_is_read_whole() {
        let message = "\0\u{1}\u{1}\0\0\u{1}\0\0\0\0\0\0\u{1}a\0\0\u{1}\0\u{1}";
        let parts = [(Field::DnsMessage, S, Text8(message))];
        let value = shown(AppProtocol::Dns, &parts);
        assert_eq!(value["dns"]["tx_id"], 5);
        assert_eq!(
            value["dns"]["queries"],
            json!([{"rrname": "a", "rrtype": "A"}])
        );
        let value = shown(AppProtocol::Doh2, &parts);
        assert_eq!(value["dns"]["type"], "request");
        assert_eq!(value["http"], json!({"version": "2"}));
    }

    #[test]
    fn seconds_are_dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_400, "2000-02-29T00:00:00"),
            (1_735_787_045, "2025-01-02T03:04:05"),
            (253_402_300_799, "9999-12-31T23:59:59"),
        ] {
            assert_eq!(Seconds(seconds).to_string(), text);
        }
    }
}
