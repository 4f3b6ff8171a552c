//! Values of HTTP that EVE writes otherwise than they stand on the wire: the status as a number, the
//! media type without its parameters, the range that a part of a body is of (RFC 9110 section 14.4).

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::text::{Bytes, Text};

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

/// A header of HTTP/2: its name (which may begin with a colon), a colon and a blank, its value.
pub struct Header<'a>(pub &'a [u8]);

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
