//! Values of HTTP that EVE writes otherwise than they stand on the wire: the status as a number, the
//! media type without its parameters, the range that a part of a body is of (RFC 9110 section 14.4).

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::text::{Base64, Bytes, Printable, Text};
use crate::app::record::Record;
use crate::app::{AppProtocol, Field};
use crate::config::Eve;

/// The number of a status (RFC 9110 section 15), if it is one.
pub fn status(bytes: &[u8]) -> Option<u16> {
    let number = u16::try_from(number(bytes)?).ok()?;
    (100..=999).contains(&number).then_some(number)
}

/// What stands before the parameters of a media type.
pub fn media_type(bytes: &[u8]) -> &[u8] {
    let end = memchr::memchr(b';', bytes).unwrap_or(bytes.len());
    bytes.get(..end).unwrap_or(bytes)
}

/// The object of a `Content-Range`.
pub struct ContentRange<'a>(pub &'a [u8]);

impl ContentRange<'_> {
    /// First and last byte and size; what is `*` has none. `None`: it is no range.
    fn parts(&self) -> Option<[Option<u64>; 3]> {
        let blank = |byte: &u8| *byte == b' ';
        let text = std::str::from_utf8(self.0).ok()?.trim_start_matches(' ');
        let unit = text.bytes().position(|byte| blank(&byte))?;
        let rest = text.get(unit..)?.trim_start_matches(' ');
        let (range, size) = rest.split_once('/')?;
        let number = |text: &str| {
            let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            text.get(..digits)?
                .parse::<i64>()
                .ok()
                .map(i64::cast_unsigned)
        };
        if range == "*" {
            return Some([None, None, Some(number(size)?)]);
        }
        let (start, end) = range.split_once('-')?;
        let whole = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let (start, end) = (
            number(start).filter(|_| whole(start))?,
            number(end).filter(|_| whole(end))?,
        );
        let size = match size.starts_with('*') {
            true => None,
            false => Some(number(size)?),
        };
        Some([Some(start), Some(end), size])
    }
}

/// First and last byte of a part that is not the whole, and whose size is known.
pub fn part_of(range: &[u8]) -> Option<(u64, u64)> {
    let [Some(start), Some(end), Some(size)] = ContentRange(range).parts()? else {
        return None;
    };
    let whole = start == 0 && end.checked_add(1) == Some(size);
    (end > 0 && start <= end && end < size && !whole).then_some((start, end))
}

impl Serialize for ContentRange<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("raw", &Text(Bytes(self.0)))?;
        let parts = self.parts().unwrap_or_default();
        for (key, value) in ["start", "end", "size"].iter().zip(parts) {
            if let Some(value) = value {
                map.serialize_entry(key, &value)?;
            }
        }
        map.end()
    }
}

/// Bodies of HTTP/1 and payloads of WebSocket that a record carries, in the forms that alerts have.
pub fn bodies<M: SerializeMap>(record: Record<'_>, eve: &Eve, map: &mut M) -> Result<(), M::Error> {
    const FORMS: [(Field, [&str; 2]); 3] = [
        (
            Field::HttpRequestBody,
            ["http_request_body", "http_request_body_printable"],
        ),
        (
            Field::HttpResponseBody,
            ["http_response_body", "http_response_body_printable"],
        ),
        (
            Field::WebsocketPayload,
            ["payload_base64", "payload_printable"],
        ),
    ];
    for (field, keys) in FORMS {
        let Some(bytes) = record.bytes(field) else {
            continue;
        };
        let [base64, printable] = match field {
            Field::WebsocketPayload => eve.alert.websocket_payload,
            _ => eve.alert.http_body,
        };
        if base64 {
            map.serialize_entry(keys[0], &Text(Base64(bytes)))?;
        }
        if printable {
            map.serialize_entry(keys[1], &Text(Printable(bytes)))?;
        }
    }
    Ok(())
}

/// How far request and response of HTTP/1 had come, by the names of rules' hooks. What stands behind a
/// head counts as body until the message is over.
pub fn states(record: Record<'_>) -> Option<(&'static str, &'static str)> {
    const STATES: [[&str; 4]; 2] = [
        [
            "request_started",
            "request_headers",
            "request_body",
            "request_complete",
        ],
        [
            "response_started",
            "response_headers",
            "response_body",
            "response_complete",
        ],
    ];
    let begun = |field| record.parts().any(|part| part.field == field);
    let [to_server, to_client] = record.progress()?;
    let of = |side: usize, progress: u8, begins: Field| {
        let place = match progress {
            0 => usize::from(begun(begins)),
            progress => usize::from(progress) + 1,
        };
        STATES[side].get(place).copied()
    };
    match record.protocol() {
        AppProtocol::Http => Some((
            of(0, to_server, Field::HttpMethod)?,
            of(1, to_client, Field::HttpStatCode)?,
        )),
        _ => None,
    }
}

/// Bytes of a header's name.
pub fn name(header: &[u8]) -> &[u8] {
    let rest = header.get(1..).unwrap_or(&[]);
    let end = memchr::memmem::find(rest, b": ").map_or(header.len(), |place| place + 1);
    header.get(..end).unwrap_or(header)
}

/// A header: its name (which in HTTP/2 may begin with a colon), a colon and a blank, its value.
pub struct Header<'a>(pub &'a [u8]);

impl Serialize for Header<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = name(self.0);
        let value = self.0.get(name.len() + 2..).unwrap_or(&[]);
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("name", &Text(Bytes(name)))?;
        map.serialize_entry("value", &Text(Bytes(value)))?;
        map.end()
    }
}

/// A setting of HTTP/2 (RFC 9113 section 6.5.2, RFC 8441, RFC 9218): identifier above its value.
pub struct Setting(pub u64);

impl Serialize for Setting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const NAMES: [(u64, &str); 8] = [
            (1, "SETTINGSHEADERTABLESIZE"),
            (2, "SETTINGSENABLEPUSH"),
            (3, "SETTINGSMAXCONCURRENTSTREAMS"),
            (4, "SETTINGSINITIALWINDOWSIZE"),
            (5, "SETTINGSMAXFRAMESIZE"),
            (6, "SETTINGSMAXHEADERLISTSIZE"),
            (8, "SETTINGSENABLECONNECTPROTOCOL"),
            (9, "SETTINGSNORFC7540PRIORITIES"),
        ];
        let (id, value) = (self.0 >> 32, self.0 & 0xffff_ffff);
        let mut map = serializer.serialize_map(Some(2))?;
        match NAMES.iter().find(|(known, _)| *known == id) {
            Some((_, name)) => map.serialize_entry("settings_id", name)?,
            None => map.serialize_entry("settings_id", &Text(format_args!("SETTINGS{id}")))?,
        }
        map.serialize_entry("settings_value", &value)?;
        map.end()
    }
}

/// A new size of the table of headers (RFC 7541 section 6.3), among the headers.
pub struct SizeUpdate(pub u64);

impl Serialize for SizeUpdate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("table_size_update", &self.0)?;
        map.end()
    }
}

/// A number in digits.
pub fn number(bytes: &[u8]) -> Option<u64> {
    match bytes.iter().all(u8::is_ascii_digit) {
        true => std::str::from_utf8(bytes).ok()?.parse().ok(),
        false => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ranges_are_read_as_far_as_they_are_ranges() {
        for (text, expected) in [
            (
                "bytes 0-99/200",
                json!({"start": 0, "end": 99, "size": 200}),
            ),
            (" bytes  5-9/*", json!({"start": 5, "end": 9})),
            ("bytes */7", json!({"size": 7})),
            ("bytes 1-x/7", json!({})),
            ("bytes", json!({})),
            ("bytes 1-2/99999999999999999999", json!({})),
        ] {
            let mut value = serde_json::to_value(ContentRange(text.as_bytes())).unwrap();
            assert_eq!(value["raw"], text);
            value.as_object_mut().unwrap().remove("raw");
            assert_eq!(value, expected, "{text}");
        }
    }

    #[test]
    fn parts_are_told_from_wholes() {
        for (text, expected) in [
            ("bytes 5-9/200", Some((5, 9))),
            ("bytes 0-9/200", Some((0, 9))),
            ("bytes 0-199/200", None),
            ("bytes 5-9/*", None),
            ("bytes 9-5/200", None),
            ("bytes 5-200/200", None),
            ("bytes 0-0/9", None),
        ] {
            assert_eq!(part_of(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn settings_have_names() {
        let value = serde_json::to_value(Setting(4 << 32 | 65_535)).unwrap();
        let name = "SETTINGSINITIALWINDOWSIZE";
        assert_eq!(
            value,
            json!({"settings_id": name, "settings_value": 65_535})
        );
        let value = serde_json::to_value(Setting(99 << 32)).unwrap();
        assert_eq!(value["settings_id"], "SETTINGS99");
        assert_eq!(
            serde_json::to_value(SizeUpdate(7)).unwrap(),
            json!({"table_size_update": 7})
        );
    }

    #[test]
    fn a_status_is_a_number_of_three_digits() {
        assert_eq!((status(b"200"), status(b"2000")), (Some(200), None));
        assert_eq!((status(b"20x"), status(b"099")), (None, None));
        assert_eq!((number(b"12"), number(b"+2")), (Some(12), None));
        assert_eq!(media_type(b"text/html; charset=x"), b"text/html");
    }
}
