//! DNP3 fragments as the `dnp3` object of EVE: read by the event writer from the fragment's bytes,
//! which a record carries. IEEE 1815, clauses 4.2 (application header) and 9.2 (link header).
//!
//! Objects and their points are read with the code that rules use (app/dnp3/objects.rs).

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::text::{Base64, Bytes, Text};
use crate::app::dnp3::objects::{Content, Fault, Object, Objects, Part, Point, each, number};
use crate::rules::app_readings::DNP3_INDICATIONS;

/// Objects of one fragment, and points of all of them, that are told: with them an event is still a
/// line that is written (`LINE_MAX`).
const OBJECTS_SHOWN_MAX: usize = 64;
const POINTS_SHOWN_MAX: usize = 128;
/// Bytes before the application fragment: link control, destination, source.
const LINK: usize = 5;
/// A fragment: link control, destination and source (low byte first), then the application layer.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// The record holds all of them.
    pub complete: bool,
    /// Objects and points at most, where settings say so.
    pub limits: Option<(u32, u32)>,
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

    fn objects(&self) -> Objects<'_> {
        let bytes = self.bytes.get(self.objects_at()..).unwrap_or(&[]);
        let objects = Objects::new(self.u8(LINK + 1), bytes);
        match self.limits {
            Some((most, points)) => objects.within(most, points),
            None => objects,
        }
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
        let objects = self.0.objects();
        if self.0.bytes.len() > self.0.objects_at() {
            map.serialize_entry("objects", &List(objects))?;
        }
        let mut all = objects;
        let whole = self.0.complete && all.all(|object| object.fault.is_none());
        map.serialize_entry("complete", &whole)?;
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

/// Objects with their points.
struct List<'a>(Objects<'a>);

impl Serialize for List<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Why the last one is the last is the parser's to tell.
        let shown = |object: &Object<'_>| object.fault != Some(Fault::Objects);
        let objects = self.0.take_while(shown).take(OBJECTS_SHOWN_MAX);
        let mut left = POINTS_SHOWN_MAX;
        serializer.collect_seq(objects.map(|object| {
            let points = object.points().take(left).count();
            left -= points;
            Shown { object, points }
        }))
    }
}

struct Shown<'a> {
    object: Object<'a>,
    /// Points that are told.
    points: usize,
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let object = &self.object;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("group", &object.group)?;
        map.serialize_entry("variation", &object.variation)?;
        map.serialize_entry("qualifier", &object.qualifier)?;
        map.serialize_entry("prefix_code", &object.prefix_code())?;
        map.serialize_entry("range_code", &(object.qualifier & 0x0f))?;
        map.serialize_entry("start", &object.start)?;
        map.serialize_entry("stop", &object.stop)?;
        map.serialize_entry("count", &object.count)?;
        if self.points > 0 {
            map.serialize_entry("points", &PointList(object, self.points))?;
        }
        map.end()
    }
}

struct PointList<'a>(&'a Object<'a>, usize);

impl Serialize for PointList<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let sized = matches!(self.0.prefix_code(), 4..=6);
        let points = self.0.points().take(self.1);
        serializer.collect_seq(points.map(|point| ShownPoint { point, sized }))
    }
}

struct ShownPoint<'a> {
    point: Point<'a>,
    sized: bool,
}

impl Serialize for ShownPoint<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("prefix", &self.point.prefix)?;
        map.serialize_entry("index", &self.point.index)?;
        let size = self.sized.then_some(self.point.prefix);
        if let Some(size) = size {
            map.serialize_entry("size", &size)?;
        }
        match self.point.content {
            Content::Packed(name, value) => map.serialize_entry(name, &value)?,
            Content::Parts(parts, bytes) => {
                let mut wrong = None;
                let size = size.map(|size| size as usize);
                let _ = each(parts, bytes, size, |part, bytes| {
                    if wrong.is_none() {
                        wrong = show(&mut map, part, bytes).err();
                    }
                });
                if let Some(error) = wrong {
                    return Err(error);
                }
            }
        }
        map.end()
    }
}

/// A part of a point.
fn show<M: SerializeMap>(map: &mut M, part: Part, bytes: &[u8]) -> Result<(), M::Error> {
    let value = number(bytes);
    match part {
        Part::Bits(bits) => {
            let mut left = value;
            for (name, width) in bits {
                map.serialize_entry(name, &(left & ((1 << width) - 1)))?;
                left >>= width;
            }
            Ok(())
        }
        Part::Unsigned(name, _) => map.serialize_entry(name, &value),
        Part::Signed(name, length) => {
            let unused = 64 - 8 * length as u32;
            map.serialize_entry(name, &((value << unused) as i64 >> unused))
        }
        Part::Real(name, 4) => map.serialize_entry(name, &f32::from_bits(value as u32)),
        Part::Real(name, _) => map.serialize_entry(name, &f64::from_bits(value)),
        Part::Text(name, _) => map.serialize_entry(name, &Text(Bytes(bytes))),
        Part::Bytes(name, _) => map.serialize_entry(name, &Text(Base64(bytes))),
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
        let mut map = serializer.serialize_map(None)?;
        if self.0 != 0 {
            map.serialize_entry("indicators", &List(self.0))?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    fn shown(bytes: &[u8]) -> Value {
        shown_within(bytes, None)
    }

    fn shown_within(bytes: &[u8], limits: Option<(u32, u32)>) -> Value {
        let message = super::Message {
            bytes,
            complete: true,
            limits,
        };
        serde_json::to_value(message).unwrap()
    }

    #[test]
    fn settings_bound_what_is_shown() {
        // Two reads of class data, each an object without points.
        let read = [0xc4, 1, 0, 2, 0, 0xc3, 1, 60, 2, 6, 60, 3, 6];
        let objects = |limits| {
            let application = shown_within(&read, limits)["application"].take();
            let count = application["objects"].as_array().unwrap().len();
            (count, application["complete"] == true)
        };
        assert_eq!(objects(None), (2, true));
        assert_eq!(objects(Some((1, 9))), (1, false));
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
    fn points_are_told_with_their_parts() {
        let analog = [
            0x44, 2, 0, 1, 0, 0xe3, 0x81, 0, 0, 30, 2, 0, 7, 7, 0x21, 0xfe, 0xff,
        ];
        let file = [70, 5, 0x5b, 1, 11, 0, 1, 0, 0, 0, 2, 0, 0, 0, b'a', 1, b'c'];
        let value = shown(&[&analog[..], &file].concat());
        let objects = &value["application"]["objects"];
        let point = json!({"prefix": 0, "index": 7, "online": 1, "restart": 0, "comm_lost": 0,
            "remote_forced": 0, "local_forced": 0, "over_range": 1, "reference_err": 0,
            "reserved0": 0, "value": -2});
        assert_eq!(objects[0]["points"], json!([point]));
        let data = &objects[1]["points"][0];
        assert_eq!(
            (&data["size"], &data["block_number"]),
            (&json!(11), &json!(2))
        );
        assert_eq!(data["prefix"], 11);
    }

    #[test]
    fn many_points_are_still_a_line() {
        // As many bits as a record holds, in two objects.
        let mut bytes = vec![0x44, 2, 0, 1, 0, 0xe3, 0x81, 0, 0];
        for _ in 0..2 {
            bytes.extend([1, 1, 8, 0x80, 0x3e]);
            bytes.extend([0xff; 2000]);
        }
        let value = shown(&bytes);
        let objects = value["application"]["objects"].as_array().unwrap();
        assert_eq!(objects.len(), 2);
        assert_eq!(
            objects[0]["points"].as_array().unwrap().len(),
            super::POINTS_SHOWN_MAX
        );
        assert!(objects[1]["points"].is_null());
        assert!(value.to_string().len() < crate::eve::LINE_MAX / 2);
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
