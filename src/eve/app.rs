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
        Field::TlsVersion if !to_server => "version",
        Field::TlsCertNotbefore => "notbefore",
        Field::TlsCertNotafter => "notafter",
        Field::TlsAlpn if to_server => "client_alpns",
        Field::TlsAlpn => "server_alpns",
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
            | Field::Hook
            | Field::DohMessage
    )
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
            if let Some(text) = fingerprint_text(part.field) {
                map.serialize_entry(key, &Fingerprint(self.0, part, text))?;
                continue;
            }
            let same = |other: &Part<'_>| self::key(other.field, other.direction) == key;
            let several = self.0.parts().filter(same).nth(1).is_some();
            if several || matches!(part.field, Field::TlsAlpn | Field::TlsSubjectaltname) {
                map.serialize_entry(key, &List(self.0, key))?;
            } else {
                map.serialize_entry(key, &One(part))?;
            }
        }
        map.end()
    }
}

/// The field that holds what a fingerprint was made of.
fn fingerprint_text(field: Field) -> Option<Field> {
    match field {
        Field::Ja3Hash => Some(Field::Ja3String),
        Field::Ja3sHash => Some(Field::Ja3sString),
        _ => None,
    }
}

/// A hash and the text that it is of.
struct Fingerprint<'a>(Record<'a>, Part<'a>, Field);

impl Serialize for Fingerprint<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("hash", &One(self.1))?;
        if let Some(text) = self.0.parts().find(|part| part.field == self.2) {
            map.serialize_entry("string", &One(text))?;
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
            (Field::TlsVersion, Value::Number(number)) => {
                Text(tls_version(number)).serialize(serializer)
            }
            (Field::TlsCertNotbefore | Field::TlsCertNotafter, Value::Number(number)) => {
                serializer.collect_str(&Seconds(number))
            }
            (_, Value::Number(number)) => serializer.serialize_u64(number),
            (_, Value::Bytes(bytes)) => serializer.collect_str(&Bytes(bytes)),
        }
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
