//! Application records in EVE: `http`, `dns`, `tls` ... objects, nested in alerts or as events of
//! their own. Names of the objects' keys are Suricata's; fields without a row here stand under
//! their rule name without the protocol's. Nothing here allocates.

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::text::{Bytes, Text};
use crate::app::record::{Part, Record, Value};
use crate::app::{AppProtocol, Field};
use crate::packet::Direction;

/// Different keys of one object at most.
const KEYS_MAX: usize = 64;

/// Key of a field in the object of its protocol; "" leaves it out.
fn key(field: Field, direction: Direction) -> &'static str {
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
        Field::TlsCertSubject => "subject",
        Field::TlsCertIssuer => "issuerdn",
        Field::TlsCertSerial => "serial",
        Field::TlsCertFingerprint => "fingerprint",
        Field::TlsSni => "sni",
        Field::Ja3Hash => "ja3",
        Field::Ja3sHash => "ja3s",
        Field::Ja4Hash => "ja4",
        Field::DnsQueriesRrname | Field::DnsQuery => "rrname",
        Field::FileName => "filename",
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
        | Field::Ja3String
        | Field::Ja3sString
        | Field::DcerpcStubData
        | Field::AppLayerEvent => "",
        field if field.is_frame() => "",
        field => {
            let name = field.name();
            name.split_once('.').map_or(name, |(_, key)| key)
        }
    }
}

/// `{"http": {...}}`, to be flattened into a record.
pub struct AppObject<'a>(pub Record<'a>);

impl Serialize for AppObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(object_name(self.0.protocol()), &Parts(self.0))?;
        map.end()
    }
}

/// Name of a protocol's object and events.
pub fn object_name(protocol: AppProtocol) -> &'static str {
    match protocol {
        AppProtocol::Http2 | AppProtocol::Doh2 => "http",
        AppProtocol::FtpData => "ftp_data",
        AppProtocol::BittorrentDht => "bittorrent_dht",
        other => other.name(),
    }
}

/// The parts of a record as an object: one entry for each key, a list where a key has several
/// values.
struct Parts<'a>(Record<'a>);

impl Serialize for Parts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut known = [""; KEYS_MAX];
        let mut count = 0;
        for part in self.0.parts() {
            let key = key(part.field, part.direction);
            let said = known.iter().take(count).any(|before| *before == key);
            if key.is_empty() || said {
                continue;
            }
            let Some(place) = known.get_mut(count) else {
                break;
            };
            *place = key;
            count += 1;
            let same = |other: &Part<'_>| self::key(other.field, other.direction) == key;
            if self.0.parts().filter(same).nth(1).is_some() {
                map.serialize_entry(key, &List(self.0, key))?;
            } else {
                map.serialize_entry(key, &One(part))?;
            }
        }
        map.end()
    }
}

struct List<'a>(Record<'a>, &'static str);

impl Serialize for List<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for part in self.0.parts() {
            if key(part.field, part.direction) == self.1 {
                list.serialize_element(&One(part))?;
            }
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
            (_, Value::Number(number)) => serializer.serialize_u64(number),
            (_, Value::Bytes(bytes)) => serializer.collect_str(&Bytes(bytes)),
        }
    }
}

/// `app_proto` of an event; nothing while it is not known.
pub fn app_proto(number: u8) -> Option<Text<&'static str>> {
    match AppProtocol::from_number(number) {
        AppProtocol::Unknown => None,
        protocol => Some(Text(protocol.name())),
    }
}
