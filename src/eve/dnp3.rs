//! DNP3 fragments as the `dnp3` object of EVE: read by the event writer from the fragment's bytes,
//! which a record carries. IEEE 1815, clauses 4.2 (application header) and 9.2 (link header).
//!
//! What is deliberately absent: the points of objects. Objects are told with their headers, as far as
//! their sizes are known.

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use crate::rules::app_readings::DNP3_INDICATIONS;

/// Objects of one fragment that are told.
const OBJECTS_MAX: usize = 64;
/// Bytes before the application fragment: link control, destination, source.
const LINK: usize = 5;
/// A fragment: link control, destination and source (low byte first), then the application layer.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// The record holds all of them.
    pub complete: bool,
}

impl Message<'_> {
    fn u8(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.u8(at), self.u8(at + 1)])
    }

    /// A response, whose indications stand before its objects.
    pub fn is_response(&self) -> bool {
        self.u8(LINK + 1) >= 0x81
    }

    fn objects_at(&self) -> usize {
        LINK + 2 + if self.is_response() { 2 } else { 0 }
    }
}

impl Serialize for Message<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let kind = match (self.is_response(), self.u8(LINK + 1)) {
            (false, _) => "request",
            (true, 0x82) => "unsolicited_response",
            (true, _) => "response",
        };
        map.serialize_entry("type", kind)?;
        map.serialize_entry("control", &Link(self.u8(0)))?;
        map.serialize_entry("src", &self.u16(3))?;
        map.serialize_entry("dst", &self.u16(1))?;
        map.serialize_entry("application", &Application(*self))?;
        if self.is_response() {
            map.serialize_entry("iin", &Indications(self.u16(LINK + 2)))?;
        }
        map.end()
    }
}

/// The control byte of the link.
struct Link(u8);

impl Serialize for Link {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, bit) in [("dir", 0x80), ("pri", 0x40), ("fcb", 0x20), ("fcv", 0x10)] {
            map.serialize_entry(key, &(self.0 & bit != 0))?;
        }
        map.serialize_entry("function_code", &(self.0 & 0x0f))?;
        map.end()
    }
}

struct Application<'a>(Message<'a>);

impl Serialize for Application<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("control", &Control(self.0.u8(LINK)))?;
        map.serialize_entry("function_code", &self.0.u8(LINK + 1))?;
        let objects = Objects(
            self.0.bytes.get(self.0.objects_at()..).unwrap_or(&[]),
            self.0,
        );
        if !objects.0.is_empty() {
            map.serialize_entry("objects", &objects)?;
        }
        map.serialize_entry("complete", &self.0.complete)?;
        map.end()
    }
}

/// The control byte of the application layer.
struct Control(u8);

impl Serialize for Control {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, bit) in [("fir", 0x80), ("fin", 0x40), ("con", 0x20), ("uns", 0x10)] {
            map.serialize_entry(key, &(self.0 & bit != 0))?;
        }
        map.serialize_entry("sequence", &(self.0 & 0x0f))?;
        map.end()
    }
}

/// The headers of objects: of requests without points all, else the first.
struct Objects<'a>(&'a [u8], Message<'a>);

impl Serialize for Objects<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        let mut rest = self.0;
        let headers_alone = matches!(self.1.u8(LINK + 1), 1 | 7..=10 | 22);
        for _ in 0..OBJECTS_MAX {
            let Some((object, after)) = Object::read(rest) else {
                break;
            };
            list.serialize_element(&object)?;
            rest = after;
            if !headers_alone {
                break;
            }
        }
        list.end()
    }
}

#[derive(Serialize)]
struct Object {
    group: u8,
    variation: u8,
    qualifier: u8,
    prefix_code: u8,
    range_code: u8,
    start: u32,
    stop: u32,
    count: u32,
}

impl Object {
    /// An object's header, and what follows it.
    fn read(bytes: &[u8]) -> Option<(Object, &[u8])> {
        let (&[group, variation, qualifier], rest) = bytes.split_first_chunk()?;
        // Start and stop, or a count, in one, two or four bytes (clause 4.2.2.7).
        let (parts, size) = match qualifier & 0x0f {
            0 => (2, 1),
            1 => (2, 2),
            2 => (2, 4),
            6 => (0, 0),
            7 => (1, 1),
            8 => (1, 2),
            9 => (1, 4),
            _ => return None,
        };
        let range = rest.get(..parts * size)?;
        let number = |place: usize| {
            let bytes = range.get(place * size..(place + 1) * size).unwrap_or(&[]);
            bytes
                .iter()
                .rev()
                .fold(0u32, |sum, byte| sum << 8 | u32::from(*byte))
        };
        let (start, stop, count) = match parts {
            2 => (
                number(0),
                number(1),
                number(1).wrapping_sub(number(0)).wrapping_add(1),
            ),
            1 => (0, 0, number(0)),
            _ => (0, 0, 0),
        };
        let object = Object {
            group,
            variation,
            qualifier,
            prefix_code: qualifier >> 4 & 7,
            range_code: qualifier & 0x0f,
            start,
            stop,
            count,
        };
        Some((object, rest.get(parts * size..)?))
    }
}

/// Indications of a response, as its two bytes stand.
struct Indications(u16);

impl Serialize for Indications {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct List(u16);
        impl Serialize for List {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let bits = u64::from(self.0.swap_bytes());
                let set = DNP3_INDICATIONS.iter().filter(|(_, bit)| bits & bit != 0);
                serializer.collect_seq(set.map(|(name, _)| name))
            }
        }
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("indicators", &List(self.0))?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    fn shown(bytes: &[u8]) -> Value {
        let complete = true;
        serde_json::to_value(super::Message { bytes, complete }).unwrap()
    }

    #[test]
    fn a_request_tells_its_objects() {
        let value = shown(&[0xc4, 1, 0, 2, 0, 0xc3, 1, 60, 2, 6, 1, 0, 0, 3, 8]);
        let control = json!({"fir": true, "fin": true, "con": false, "uns": false, "sequence": 3});
        assert_eq!(value["application"]["control"], control);
        assert_eq!((&value["src"], &value["dst"]), (&json!(2), &json!(1)));
        assert_eq!(value["type"], "request");
        let objects = &value["application"]["objects"];
        assert_eq!(objects[0]["group"], 60);
        let second = json!({"group": 1, "variation": 0, "qualifier": 0, "prefix_code": 0,
            "range_code": 0, "start": 3, "stop": 8, "count": 6});
        assert_eq!(objects[1], second);
    }

    #[test]
    fn a_response_tells_its_indications() {
        let value = shown(&[0x44, 2, 0, 1, 0, 0xe3, 0x81, 0x80, 0x02]);
        let named = json!({"indicators": ["device_restart", "object_unknown"]});
        assert_eq!(value["iin"], named);
        assert_eq!(value["type"], "response");
        assert_eq!(value["control"]["function_code"], 4);
    }

    #[test]
    fn a_fragment_that_is_cut_anywhere_is_still_an_object() {
        let whole = [0xc4, 1, 0, 2, 0, 0xc3, 0x81, 0, 0, 60, 2, 0x28, 1, 0, 9, 9];
        for length in 0..whole.len() {
            for function in 0..=255 {
                for qualifier in 0..=255 {
                    let mut bytes = whole;
                    (bytes[6], bytes[11]) = (function, qualifier);
                    assert!(shown(&bytes[..length]).is_object());
                }
            }
        }
    }
}
