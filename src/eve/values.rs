//! Single values of application fields as EVE writes them: numbers, words, dates, and the objects that
//! some of them are.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::text::{Bytes, HexBytes, Text};
use super::{http, quic, rfb, smb, words};
use crate::app::record::{Part, Value};
use crate::app::{AppProtocol, Field};

/// The value of a part.
pub struct One<'a>(pub Part<'a>);

impl Serialize for One<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.value {
            Value::Bytes(bytes) if self.0.field == Field::DcerpcInterface => Interface {
                bytes,
                reason: self.0.of == AppProtocol::Smb,
            }
            .serialize(serializer),
            Value::Bytes(bytes) => of_bytes(self.0.field, bytes, serializer),
            Value::Number(number) => of_number(self.0.field, number, serializer),
        }
    }
}

fn of_bytes<S: Serializer>(field: Field, bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    match (field, bytes) {
        (Field::HttpStatCode, _) => match http::status(bytes) {
            Some(number) => serializer.serialize_u16(number),
            None => serializer.collect_str(&Bytes(bytes)),
        },
        (Field::HttpContentType, _) => serializer.collect_str(&Bytes(http::media_type(bytes))),
        (Field::HttpContentLen, _) => serializer.serialize_u64(http::number(bytes).unwrap_or(0)),
        (Field::HttpContentRange, _) => http::ContentRange(bytes).serialize(serializer),
        (Field::Http2Header | Field::HttpRequestHeader | Field::HttpResponseHeader, _) => {
            http::Header(bytes).serialize(serializer)
        }
        (Field::QuicExtension, _) => quic::Extension(bytes).serialize(serializer),
        (Field::DcerpcActivity, _) => serializer.collect_str(&Uuid(bytes)),
        (Field::SmbFuid | Field::SmbClientGuid | Field::SmbServerGuid, _) => {
            serializer.collect_str(&smb::Handle(bytes))
        }
        (Field::QuicVersion, [0x6b, 0x33, 0x43, 0xcf]) => serializer.serialize_str("v2"),
        (Field::QuicVersion, &[a, b, c, d]) if a != b'Q' => {
            let number = u32::from_be_bytes([a, b, c, d]);
            serializer.collect_str(&format_args!("{number:x}"))
        }
        (Field::NtpReferenceId, [a, b, c, d]) => {
            serializer.collect_str(&format_args!("{a:02x}:{b:02x}:{c:02x}:{d:02x}"))
        }
        (Field::RfbServerVersion | Field::RfbClientVersion, _) => {
            rfb::Version(bytes).serialize(serializer)
        }
        (Field::RfbChallenge | Field::RfbResponse, _) => serializer.collect_str(&HexBytes(bytes)),
        _ => serializer.collect_str(&Bytes(bytes)),
    }
}

fn of_number<S: Serializer>(field: Field, number: u64, serializer: S) -> Result<S::Ok, S::Error> {
    match field {
        Field::TlsVersion => Text(tls_version(number)).serialize(serializer),
        Field::TlsFromProto => {
            let protocol = AppProtocol::from_number(u8::try_from(number).unwrap_or(0));
            Text(protocol.name()).serialize(serializer)
        }
        Field::TlsCertNotbefore | Field::TlsCertNotafter => {
            serializer.collect_str(&Seconds(number))
        }
        // The first bit of a frame (RFC 6455 section 5.2).
        Field::WebsocketFlags => serializer.serialize_bool(number & 0x80 != 0),
        Field::DcerpcRpcVersion => serializer.collect_str(&format_args!("5.{number}")),
        Field::Http2Settings => http::Setting(number).serialize(serializer),
        Field::Http2SizeUpdate => http::SizeUpdate(number).serialize(serializer),
        _ => match words::text(field, number) {
            Some(text) => serializer.collect_str(&text),
            None => match smb::text(field, number) {
                Some(text) => serializer.collect_str(&text),
                None => serializer.serialize_u64(number),
            },
        },
    }
}

/// An interface of DCERPC as it was asked for: its UUID and version, and what came of that
/// (app/dcerpc/interfaces.rs). `reason`: that is told as well.
struct Interface<'a> {
    bytes: &'a [u8],
    reason: bool,
}

impl Serialize for Interface<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let word = |at: usize| {
            let bytes = self.bytes.get(at..at + 2);
            bytes.map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
        };
        let (major, minor) = (word(16), word(18));
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("uuid", &Text(Uuid(self.bytes)))?;
        map.serialize_entry("version", &Text(format_args!("{major}.{minor}")))?;
        if self.bytes.get(20) == Some(&1) {
            map.serialize_entry("ack_result", &word(21))?;
            if self.reason {
                map.serialize_entry("ack_reason", &word(23))?;
            }
        }
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
