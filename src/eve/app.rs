//! Application records in EVE: `http`, `dns`, `tls` ... objects, nested in alerts or as events of
//! their own. Names of the objects' keys stand in paths.rs. Nothing here allocates.

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::mail::mailboxes;
use super::paths::{Always, EMAIL, RPC, defaults, path};
use super::text::{Bytes, Text};
use super::values::One;
use super::{
    bittorrent_dht, dhcp, dnp3, dns, enip, http, ike, ldap, mdns, modbus, mqtt, pgsql, pop3, quiet,
    rdp, rfb,
};
use crate::app::krb5::STRONG;
use crate::app::record::{Part, Record, Value};
use crate::app::{AppProtocol, Field};
use crate::config::Eve;
use crate::event::Event;
use crate::packet::Direction;

/// Different keys of one object at most.
const KEYS_MAX: usize = 64;
/// `{"http": {...}}`, to be flattened into a record; what stands beside it, too.
pub struct AppObject<'a> {
    /// The transaction.
    pub record: Record<'a>,
    /// It stands in an alert.
    pub nested: bool,
    /// What is shown of it.
    pub eve: &'a Eve,
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
        if let Some(Value::Bytes(bytes)) = record.value(Field::DhcpMessage) {
            let extended = self.eve.dhcp_extended;
            map.serialize_entry(name, &dhcp::Message { bytes, extended })?;
            return map.end();
        }
        if let Some(Value::Bytes(bytes)) = record.value(Field::RdpMessage) {
            let number = record.number();
            map.serialize_entry(name, &rdp::Packet { bytes, number })?;
            return map.end();
        }
        if record.protocol() == AppProtocol::Rdp {
            map.serialize_entry(name, &rdp::Handshake(record))?;
            return map.end();
        }
        if let Some(exchange) = ike::Exchange::of(record) {
            map.serialize_entry(name, &exchange)?;
            return map.end();
        }
        if record.protocol() == AppProtocol::Pgsql {
            map.serialize_entry(name, &pgsql::Exchange(record))?;
            return map.end();
        }
        if record.protocol() == AppProtocol::Pop3 {
            map.serialize_entry(name, &pop3::Exchange(record))?;
            return map.end();
        }
        if record.protocol() == AppProtocol::BittorrentDht {
            map.serialize_entry(name, &bittorrent_dht::Message::of(record))?;
            return map.end();
        }
        if record.protocol() == AppProtocol::Ldap {
            map.serialize_entry(name, &ldap::Messages(record))?;
            return map.end();
        }
        if record.protocol() == AppProtocol::Mqtt {
            map.serialize_entry(name, &mqtt::Packets(record))?;
            return map.end();
        }
        let object = |within| Object::of(record, within, self.eve);
        match (self.dns_message(), is_of_dns(record.protocol())) {
            (Some(message), true) if record.protocol() == AppProtocol::Dns => {
                map.serialize_entry(name, &message)?;
            }
            (Some(message), true) => {
                let llmnr = record.protocol() == AppProtocol::Llmnr;
                map.serialize_entry(name, &mdns::Local { message, llmnr })?;
            }
            (Some(message), false) => {
                map.serialize_entry(name, &object(""))?;
                map.serialize_entry("dns", &message)?;
            }
            (None, _) => map.serialize_entry(name, &object(""))?,
        }
        for (name, within) in [("email", EMAIL), ("rpc", RPC)] {
            if record.parts().any(|part| part.path().starts_with(within)) {
                map.serialize_entry(name, &object(within))?;
            }
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
        let alone = record
            .value(self.1)
            .filter(|_| self.1 == Field::Dnp3Message);
        if let (Some(Value::Bytes(bytes)), false) = (alone, self.0.nested) {
            return fragment(record, bytes).serialize(serializer);
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
                _ => map.serialize_entry(key, &fragment(record, bytes))?,
            }
        }
        map.end()
    }
}

fn fragment<'a>(record: Record<'a>, bytes: &'a [u8]) -> dnp3::Message<'a> {
    let limits = match record.value(Field::Dnp3Limits) {
        Some(Value::Number(limits)) => Some(((limits >> 32) as u32, limits as u32)),
        _ => None,
    };
    dnp3::Message {
        bytes,
        complete: bytes.len() < crate::app::record::MESSAGE_MAX,
        limits,
    }
}

fn is_of_dns(protocol: AppProtocol) -> bool {
    matches!(
        protocol,
        AppProtocol::Dns | AppProtocol::Mdns | AppProtocol::Llmnr
    )
}

fn is_http2(protocol: AppProtocol) -> bool {
    matches!(protocol, AppProtocol::Http2 | AppProtocol::Doh2)
}

impl<'a> AppObject<'a> {
    /// The message of DNS; an alert has its answers one by one, whatever the log of DNS has.
    fn dns_message(&self) -> Option<dns::Message<'a>> {
        let message = quiet::message(self.record)?;
        Some(match self.nested {
            true => message.told(true, false),
            false => message.told(self.eve.dns.detailed, self.eve.dns.grouped),
        })
    }
}

impl Part<'_> {
    fn path(&self) -> &'static str {
        // What DNS within HTTP/2 says stands in an object of its own.
        if self.field.name().starts_with("dns.") && !is_of_dns(self.of) {
            return "";
        }
        match (self.field, self.value) {
            (Field::HttpStatCode, Value::Bytes(bytes)) if http::status(bytes).is_none() => {
                "status_string"
            }
            // What rules alone look for in replies.
            (Field::FtpCompletionCode | Field::FtpReply, Value::Bytes([])) => "",
            // HTTP/1 tells how long a body was.
            (Field::HttpContentLen, Value::Bytes(bytes))
                if is_http2(self.of) && http::number(bytes).is_some() =>
            {
                "length^"
            }
            _ => path(self.field, self.direction, self.of),
        }
    }
}

/// The parts of a record, from one place to another, whose paths begin alike: one entry for each next
/// key, an object where keys follow.
#[derive(Clone, Copy)]
struct Object<'a> {
    record: Record<'a>,
    within: &'static str,
    from: usize,
    to: usize,
    eve: &'a Eve,
}

impl<'a> Object<'a> {
    /// All parts of a record.
    fn of(record: Record<'a>, within: &'static str, eve: &'a Eve) -> Object<'a> {
        Object {
            record,
            within,
            from: 0,
            to: usize::MAX,
            eve,
        }
    }

    fn parts(self) -> impl Iterator<Item = Part<'a>> + Clone {
        self.record.parts().take(self.to).skip(self.from)
    }

    /// What a part's path says behind that of this object.
    fn rest(self, part: &Part<'_>) -> Option<&'static str> {
        let rest = self.path(part).strip_prefix(self.within)?;
        (!rest.is_empty() && !rest.starts_with('@')).then_some(rest)
    }

    /// The next key of a part that stands here (with its ending), and the path with it.
    fn key(self, part: &Part<'_>) -> Option<(&'static str, &'static str)> {
        let rest = self.rest(part)?;
        let path = self.path(part);
        let length = rest.find('.').unwrap_or(rest.len());
        let whole = path.len() - rest.len() + length;
        Some((rest.get(..length)?, path.get(..whole)?))
    }

    fn parts_of(self, path: &'static str) -> impl Iterator<Item = Part<'a>> + Clone {
        self.parts().filter(move |part| self.path(part) == path)
    }

    /// Where a part stands; headers of HTTP/1 are listed where settings say so.
    fn path(self, part: &Part<'_>) -> &'static str {
        let to_server = match part.field {
            Field::HttpRequestHeader => true,
            Field::HttpResponseHeader => false,
            _ => return part.path(),
        };
        match part.value {
            Value::Bytes(bytes) if self.eve.headers.lists(http::name(bytes), to_server) => {
                ["response_headers[]", "request_headers[]"][usize::from(to_server)]
            }
            _ => "",
        }
    }

    /// What an object has in any case; `known`: the keys that are there.
    fn always<M: SerializeMap>(self, map: &mut M, known: &[&str]) -> Result<(), M::Error> {
        let protocol = self.record.protocol();
        for (key, value) in defaults(protocol, self.within) {
            if known.contains(key) {
                continue;
            }
            let name = key.trim_end_matches(['^', '/', '?']);
            match value {
                Always::Text(text) => map.serialize_entry(name, text)?,
                Always::False => map.serialize_entry(name, &false)?,
            }
        }
        if !self.within.is_empty() {
            return Ok(());
        }
        http::bodies(self.record, self.eve, map)?;
        if matches!(protocol, AppProtocol::Nfs | AppProtocol::Smb) {
            map.serialize_entry("id", &(u64::from(self.record.number()) + 1))?;
        }
        if protocol == AppProtocol::Krb5 {
            for (field, name) in [
                (Field::Krb5Encryption, "weak_encryption"),
                (Field::Krb5TicketEncryption, "ticket_weak_encryption"),
            ] {
                let kind = self.record.value(field);
                if kind.is_some() || field == Field::Krb5Encryption {
                    let weak = |kind| matches!(kind, Value::Number(n) if !STRONG.contains(&n));
                    map.serialize_entry(name, &kind.is_some_and(weak))?;
                }
            }
        }
        Ok(())
    }

    /// One entry: `key` stands at the end of `path`, which `part` is the first to have.
    fn entry<M: SerializeMap>(
        self,
        map: &mut M,
        part: Part<'a>,
        (key, path): (&'static str, &'static str),
    ) -> Result<(), M::Error> {
        let (name, list) = match key.strip_suffix("[]") {
            Some(name) => (name, true),
            None => (key, false),
        };
        let whole = self.path(&part);
        if whole.len() > path.len() {
            let within = whole.get(..path.len() + 1).unwrap_or(path);
            let inner = Object { within, ..self };
            return match list {
                true => map.serialize_entry(name, &Rows(inner)),
                false => map.serialize_entry(name, &inner),
            };
        }
        if list {
            return map.serialize_entry(name, &List(self, path));
        }
        match name.split_at_checked(name.len().saturating_sub(1)) {
            Some((name, "^")) => {
                let last = self.parts_of(path).last().unwrap_or(part);
                map.serialize_entry(name, &One(last))
            }
            Some((name, "/")) => map.serialize_entry(name, &Joined(self, path)),
            Some((name, "?")) => map.serialize_entry(name, &(part.value != Value::Number(0))),
            _ if part.field == Field::RfbInit => {
                let bytes = |field| match self.record.value(field) {
                    Some(Value::Bytes(bytes)) => bytes,
                    _ => &[],
                };
                let (init, name) = (bytes(Field::RfbInit), bytes(Field::RfbName));
                map.serialize_entry(key, &rfb::Framebuffer { init, name })
            }
            _ => map.serialize_entry(name, &One(part)),
        }
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut known = [""; KEYS_MAX];
        let mut count = 0;
        for part in self.parts() {
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
            self.entry(&mut map, part, (key, path))?;
        }
        self.always(&mut map, known.get(..count).unwrap_or(&[]))?;
        map.end()
    }
}

/// Objects in a list: a part whose path is in the object at hand begins the next one, but where
/// its key holds a list.
struct Rows<'a>(Object<'a>);

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        let whole = self.0;
        let places = |from: usize| whole.record.parts().enumerate().take(whole.to).skip(from);
        let mut from = whole.from;
        // Every turn takes a part.
        while let Some((start, _)) = places(from).find(|(_, part)| whole.rest(part).is_some()) {
            let mut end = start + 1;
            for (place, part) in places(end) {
                let Some(rest) = whole.rest(&part) else {
                    continue;
                };
                let row = Object {
                    from: start,
                    to: place,
                    ..whole
                };
                if !rest.contains("[]") && row.parts_of(whole.path(&part)).next().is_some() {
                    break;
                }
                end = place + 1;
            }
            list.serialize_element(&Object {
                from: start,
                to: end,
                ..whole
            })?;
            from = end;
        }
        list.end()
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
            match (part.field, part.value) {
                (Field::EmailTo | Field::EmailCc, Value::Bytes(bytes)) => {
                    for mailbox in mailboxes(bytes) {
                        list.serialize_element(&Text(Bytes(mailbox)))?;
                    }
                }
                _ => list.serialize_element(&One(part))?,
            }
        }
        list.end()
    }
}

/// Whether an event of DNS tells of what came from a server.
pub fn is_dns_response(event: &Event) -> bool {
    let mut parts = Record::new(&event.record)
        .into_iter()
        .flat_map(|r| r.parts());
    let message = parts.find(|part| part.field == Field::DnsMessage);
    message.is_some_and(|part| part.direction == Direction::ToClient)
}

/// `app_proto` of an event; nothing while it is not known.
pub fn app_proto(number: u8) -> Option<Text<&'static str>> {
    match AppProtocol::from_number(number) {
        AppProtocol::Unknown => None,
        protocol => Some(Text(protocol.name())),
    }
}

/// What a flow spoke beside its protocol, where it is another: each side's own, that before it
/// changed, and that it was to become.
#[derive(Serialize)]
pub struct Protocols {
    #[serde(skip_serializing_if = "Option::is_none")]
    app_proto_ts: Option<Text<&'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_proto_tc: Option<Text<&'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_proto_orig: Option<Text<&'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_proto_expected: Option<Text<&'static str>>,
}

impl Protocols {
    /// Those of an event's flow.
    pub fn of(event: &Event) -> Protocols {
        let other = |number: u8| app_proto(number).filter(|_| number != event.app);
        let [to_server, to_client] = event.spoken.sides;
        Protocols {
            app_proto_ts: other(to_server),
            app_proto_tc: other(to_client),
            app_proto_orig: other(event.spoken.original),
            app_proto_expected: other(event.spoken.expected),
        }
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
        let eve = &Eve::default();
        let object = AppObject {
            record,
            nested,
            eve,
        };
        serde_json::to_value(object).unwrap()
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
            "email": {"from": "me", "to": ["you", "them"], "url": ["http://x"],
            "status": "PARSE_DONE"}});
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
            "completion_code": ["227"], "dynamic_port": 1025, "mode": "passive",
            "reply_received": "no", "reply_truncated": false}});
        assert_eq!(value, expected);
        let replies = [
            (Field::FtpReplyReceived, C, Number(0)),
            (Field::FtpReplyReceived, C, Number(1)),
        ];
        let value = shown(AppProtocol::Ftp, &replies);
        assert_eq!(value["ftp"]["reply_received"], "yes", "the last one counts");
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
        let expected = json!({"krb5": {"msg_type": "KRB_TGS_REP", "sname": "HTTP/a.b",
            "cname": "<empty>", "realm": "<empty>", "encryption": "<none>",
            "weak_encryption": false}});
        assert_eq!(value, expected);
        let chain = [
            (Field::TlsCertSubject, C, Text8("CN=leaf")),
            (Field::TlsCertSubject, C, Text8("CN=ca")),
        ];
        let value = shown(AppProtocol::Tls, &chain);
        assert_eq!(value, json!({"tls": {"subject": "CN=leaf"}}));
        let iface = [(
            Field::DcerpcInterface,
            S,
            Text8("\u{1}2345678abcdefgh\0\u{2}\u{1}"),
        )];
        let value = shown(AppProtocol::Dcerpc, &iface);
        let uuid = "01323334-3536-3738-6162-636465666768";
        assert_eq!(value["dcerpc"]["interfaces"][0]["uuid"], uuid);
    }

    #[test]
    fn client_and_server_of_tls_are_told_apart() {
        let value = shown(
            AppProtocol::Tls,
            &[
                (Field::TlsVersion, S, Number(0x301)),
                (Field::TlsVersion, C, Number(0x303)),
                (Field::TlsCertSubject, C, Text8("CN=server")),
                (Field::TlsCertSubject, S, Text8("CN=client")),
                (Field::TlsCertNotafter, S, Number(0)),
                (Field::TlsFromProto, S, Number(AppProtocol::Smtp as u64)),
                (Field::TlsSessionResumed, C, Number(1)),
            ],
        );
        let client = json!({"subject": "CN=client", "notafter": "1970-01-01T00:00:00"});
        let expected = json!({"tls": {"version": "TLS 1.2", "subject": "CN=server",
            "client": client, "from_proto": "smtp", "session_resumed": true}});
        assert_eq!(value, expected);
    }

    #[test]
    fn http_is_told_as_readers_expect_it() {
        let value = shown(
            AppProtocol::Http,
            &[
                (Field::HttpPort, S, Number(8080)),
                (Field::HttpXff, S, Text8("1.2.3.4")),
                (Field::HttpUserAgent, S, Text8("a")),
                (Field::HttpUserAgent, S, Text8("a, b")),
                (Field::HttpStatCode, C, Text8("2x")),
                (Field::HttpContentType, C, Text8("text/html; charset=x")),
                (Field::HttpContentRange, C, Text8("bytes 0-1/2")),
                (Field::HttpContentLen, C, Text8("7")),
            ],
        );
        let range = json!({"raw": "bytes 0-1/2", "start": 0, "end": 1, "size": 2});
        let expected = json!({"http": {"http_port": 8080, "xff": "1.2.3.4",
            "http_user_agent": "a, b", "status_string": "2x", "http_content_type": "text/html",
            "content_range": range}});
        assert_eq!(value, expected);
        let value = shown(
            AppProtocol::Http2,
            &[
                (Field::Http2SizeUpdate, S, Number(9)),
                (Field::Http2Header, S, Text8(":path: /")),
                (Field::HttpContentLen, C, Text8("7")),
                (Field::Http2Settings, C, Number(2 << 32)),
            ],
        );
        let headers = json!([{"table_size_update": 9}, {"name": ":path", "value": "/"}]);
        let settings = json!([{"settings_id": "SETTINGSENABLEPUSH", "settings_value": 0}]);
        let expected = json!({"http": {"version": "2", "request_headers": headers, "length": 7,
            "http2": {"response": {"settings": settings}}}});
        assert_eq!(value, expected);
    }

    #[test]
    fn calls_of_nfs_and_smb_have_their_objects() {
        let value = shown(
            AppProtocol::Nfs,
            &[
                (Field::NfsVersion, S, Number(3)),
                (Field::NfsCall, S, Number(3 << 32 | 14)),
                (Field::NfsXid, S, Number(7)),
                (Field::NfsUid, S, Number(1000)),
                (Field::NfsHandle, S, Number(0xab)),
                (Field::NfsFilename, S, Text8("a")),
                (Field::NfsRenameFrom, S, Text8("a")),
                (Field::NfsRenameTo, S, Text8("b")),
                (Field::NfsRpcStatus, C, Number(0)),
                (Field::NfsStatus, C, Number(13)),
            ],
        );
        let rename = json!({"from": "a", "to": "b"});
        let nfs = json!({"version": 3, "procedure": "RENAME", "hhash": "ab", "filename": "a",
            "rename": rename, "status": "ERR_ACCES", "type": "response", "file_tx": false, "id": 6});
        let rpc = json!({"xid": 7, "creds": {"uid": 1000}, "status": "ACCEPTED"});
        assert_eq!(value, json!({"nfs": nfs, "rpc": rpc}));
        let value = shown(
            AppProtocol::Smb,
            &[
                (Field::SmbCommand, S, Number(2 << 16 | 5)),
                (Field::SmbDisposition, S, Number(1)),
                (Field::SmbFuid, C, Text8("\u{1}\u{2}")),
                (Field::SmbNativeOs, C, Text8("Unix")),
                (Field::DcerpcRequest, S, Number(11)),
                (Field::DcerpcCallId, S, Number(2)),
            ],
        );
        let dcerpc = json!({"request": "BIND", "response": "UNREPLIED", "call_id": 2});
        let smb = json!({"command": "SMB2_COMMAND_CREATE", "disposition": "FILE_OPEN",
            "fuid": "0201", "response": {"native_os": "Unix"}, "dcerpc": dcerpc,
            "dialect": "unknown", "id": 6});
        assert_eq!(value, json!({"smb": smb}));
    }

    #[test]
    fn lists_within_rows_begin_no_row() {
        let value = shown(
            AppProtocol::Sip,
            &[
                (Field::SdpMediaMedia, S, Text8("audio")),
                (Field::SdpMediaAttribute, S, Text8("a")),
                (Field::SdpMediaAttribute, S, Text8("b")),
                (Field::SdpMediaMedia, S, Text8("video")),
                (Field::SdpMediaAttribute, S, Text8("c")),
            ],
        );
        let media = json!([{"media": "audio", "attributes": ["a", "b"]},
            {"media": "video", "attributes": ["c"]}]);
        assert_eq!(value["sip"]["sdp"]["media_descriptions"], media);
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
}
