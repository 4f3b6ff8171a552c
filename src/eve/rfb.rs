//! Parts of RFB's handshake as EVE shows them: versions, and the framebuffer that the server's first
//! message describes (RFC 6143 sections 7.1.1, 7.3.2 and 7.4).

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::text::{Bytes, Text};

/// `RFB 003.008` and a line end: major and minor version as they stand.
pub struct Version<'a>(pub &'a [u8]);

impl Serialize for Version<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, place) in [("major", 4..7), ("minor", 8..11)] {
            map.serialize_entry(key, &Text(Bytes(self.0.get(place).unwrap_or(&[]))))?;
        }
        map.end()
    }
}

/// The server's message before the name, and the name.
pub struct Framebuffer<'a> {
    /// Width, height and format.
    pub init: &'a [u8],
    /// Name of the desktop.
    pub name: &'a [u8],
}

/// Place of the format in the message.
const FORMAT: usize = 4;

impl Framebuffer<'_> {
    fn byte(&self, at: usize) -> u8 {
        self.init.get(at).copied().unwrap_or(0)
    }

    fn word(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.byte(at), self.byte(at + 1)])
    }
}

impl Serialize for Framebuffer<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("width", &self.word(0))?;
        map.serialize_entry("height", &self.word(2))?;
        map.serialize_entry("name", &Text(Bytes(self.name)))?;
        map.serialize_entry("pixel_format", &Format(self))?;
        map.end()
    }
}

struct Format<'a>(&'a Framebuffer<'a>);

impl Serialize for Format<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let byte = |at| self.0.byte(FORMAT + at);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("bits_per_pixel", &byte(0))?;
        map.serialize_entry("depth", &byte(1))?;
        map.serialize_entry("big_endian", &(byte(2) != 0))?;
        map.serialize_entry("true_color", &(byte(3) != 0))?;
        for (place, key) in ["red_max", "green_max", "blue_max"].iter().enumerate() {
            map.serialize_entry(key, &self.0.word(FORMAT + 4 + 2 * place))?;
        }
        for (place, key) in ["red_shift", "green_shift", "blue_shift"]
            .iter()
            .enumerate()
        {
            map.serialize_entry(key, &byte(10 + place))?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_framebuffer_and_a_version() {
        let init = b"\x05\0\x03\0\x20\x18\0\x01\0\xff\0\xff\0\xff\x10\x08\0\0\0\0\0\0\0\x04";
        let name = b"desk";
        let value = serde_json::to_value(Framebuffer { init, name }).unwrap();
        let format = json!({"bits_per_pixel": 32, "depth": 24, "big_endian": false,
            "true_color": true, "red_max": 255, "green_max": 255, "blue_max": 255, "red_shift": 16,
            "green_shift": 8, "blue_shift": 0});
        let expected =
            json!({"width": 1280, "height": 768, "name": "desk", "pixel_format": format});
        assert_eq!(value, expected);
        let version = serde_json::to_value(Version(b"RFB 003.008\n")).unwrap();
        assert_eq!(version, json!({"major": "003", "minor": "008"}));
        serde_json::to_value(Framebuffer {
            init: b"",
            name: b"",
        })
        .unwrap();
    }
}
