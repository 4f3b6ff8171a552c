//! EtherNet/IP messages as the `enip` object of EVE: read by the event writer from the messages'
//! bytes, which a record carries. CIP volume 2, chapter 2 (encapsulation).
//!
//! What is deliberately absent: names of vendors and of kinds of devices, which stand as numbers.

use std::fmt::{self, Display};

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::cip;
use super::text::{Bytes, Text};
use super::words::named;
use crate::app::enip::{items, kind};
use crate::rules::app_readings::{ENIP_COMMANDS, ENIP_STATUS};

/// Bytes of the header, and where its options stand.
const HEADER: usize = 24;
const OPTIONS: usize = 20;
/// The kind of a segment that names a class.
const CLASS: u8 = 8;
/// Bytes of the name of a service.
const NAME: usize = 16;
/// Segments of a path that are told.
const PATH_MAX: usize = 16;
/// Services within one of several that are told.
const SERVICES_MAX: usize = 64;

/// A message from its header on.
#[derive(Clone, Copy)]
pub struct Message<'a>(pub &'a [u8]);

impl<'a> Message<'a> {
    fn u16(&self, at: usize) -> Option<u16> {
        u16_at(self.0, at)
    }

    fn u32(&self, at: usize) -> Option<u32> {
        let four = self.0.get(at..at + 4)?;
        Some(u32::from_le_bytes(four.try_into().ok()?))
    }

    fn data(&self) -> &'a [u8] {
        self.0.get(HEADER..).unwrap_or(&[])
    }

    /// The service that the message carries.
    fn service(&self) -> Option<Service<'a>> {
        let list = self.data().get(6..)?;
        let mut found = items(list).filter_map(|(kind, item)| match kind {
            kind::CONNECTED => item.get(2..),
            kind::UNCONNECTED => Some(item),
            _ => None,
        });
        found
            .next()
            .filter(|cip| !cip.is_empty())
            .map(Service::outer)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let two = bytes.get(at..at + 2)?;
    Some(u16::from_le_bytes(two.try_into().ok()?))
}

/// A number's name, or `unknown-` and the number.
struct Named(&'static [(&'static str, u64)], u64);

impl Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match named(self.0, self.1) {
            Some(name) => f.write_str(name),
            None => write!(f, "unknown-{}", self.1),
        }
    }
}

impl Serialize for Message<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let command = self.u16(0).unwrap_or(0);
        let status = u64::from(self.u32(8).unwrap_or(0));
        map.serialize_entry("command", &Text(Named(ENIP_COMMANDS, u64::from(command))))?;
        map.serialize_entry("status", &Text(Named(ENIP_STATUS, status)))?;
        if let Some(options) = self.u32(OPTIONS).filter(|options| *options != 0) {
            map.serialize_entry("options", &options)?;
        }
        match command {
            0x65 => {
                let session = Numbers([
                    ("protocol_version", u16_at(self.data(), 0)),
                    ("options", u16_at(self.data(), 2)),
                ]);
                map.serialize_entry("register_session", &session)?;
            }
            0x04 | 0x63 => match items(self.data()).next() {
                Some((kind::IDENTITY, item)) => map.serialize_entry("identity", &Identity(item))?,
                Some((kind::SERVICES, item)) => {
                    map.serialize_entry("list_services", &Services(item))?
                }
                _ => {}
            },
            0x6f | 0x70 => {
                if let Some(service) = self.service() {
                    map.serialize_entry("cip", &service)?;
                }
            }
            _ => {}
        }
        map.end()
    }
}

/// Numbers under their keys, as far as they are there.
struct Numbers<const N: usize>([(&'static str, Option<u16>); N]);

impl<const N: usize> Serialize for Numbers<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, number) in self.0 {
            if let Some(number) = number {
                map.serialize_entry(key, &number)?;
            }
        }
        map.end()
    }
}

/// What a device says of itself.
struct Identity<'a>(&'a [u8]);

impl Serialize for Identity<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let item = self.0;
        let number = |at| u16_at(item, at).unwrap_or(0);
        let byte = |at: usize| item.get(at).copied().unwrap_or(0);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("protocol_version", &number(0))?;
        map.serialize_entry("revision", &Text(Revision(byte(24), byte(25))))?;
        map.serialize_entry("vendor_id", &Text(number(18)))?;
        map.serialize_entry("device_type", &Text(number(20)))?;
        map.serialize_entry("product_code", &number(22))?;
        map.serialize_entry("status", &number(26))?;
        let serial = u32::from(number(28)) | u32::from(number(30)) << 16;
        map.serialize_entry("serial", &serial)?;
        let length = usize::from(byte(32));
        let name = item.get(33..33 + length).unwrap_or(&[]);
        map.serialize_entry("product_name", &Text(Bytes(name)))?;
        map.serialize_entry("state", &byte(33 + length))?;
        map.end()
    }
}

/// Major and minor.
struct Revision(u8, u8);

impl Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// Services that a device lists.
struct Services<'a>(&'a [u8]);

impl Serialize for Services<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("protocol_version", &u16_at(self.0, 0).unwrap_or(0))?;
        map.serialize_entry("capabilities", &u16_at(self.0, 2).unwrap_or(0))?;
        // With the zeros that fill it.
        let name = self.0.get(4..).unwrap_or(&[]);
        let name = name.get(..NAME).unwrap_or(name);
        map.serialize_entry("service_name", &Text(Bytes(name)))?;
        map.end()
    }
}

/// A CIP request or response.
struct Service<'a> {
    bytes: &'a [u8],
    /// It may hold others.
    outer: bool,
}

impl<'a> Service<'a> {
    fn outer(bytes: &'a [u8]) -> Service<'a> {
        Service { bytes, outer: true }
    }

    /// Those that it holds, if it is a service of several; `at`: where its data begins.
    fn list(&self, at: usize) -> Option<Several<'a>> {
        let several = self.outer
            && self
                .bytes
                .first()
                .is_some_and(|code| code & 0x7f == MULTIPLE);
        let data = self.bytes.get(at..).filter(|_| several)?;
        Some(Several(data)).filter(|list| list.iter().next().is_some())
    }
}

/// The data of a service of several: their number, where each begins, and they.
struct Several<'a>(&'a [u8]);

impl<'a> Several<'a> {
    fn iter(&self) -> impl Iterator<Item = Service<'a>> + use<'a> {
        let data = self.0;
        let count = usize::from(u16_at(data, 0).unwrap_or(0)).min(SERVICES_MAX);
        let places = (0..count).map_while(move |number| u16_at(data, 2 + 2 * number));
        places.map_while(move |place| {
            let bytes = data.get(usize::from(place)..).filter(|b| !b.is_empty())?;
            Some(Service {
                bytes,
                outer: false,
            })
        })
    }
}

impl Serialize for Several<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for service in self.iter() {
            list.serialize_element(&service)?;
        }
        list.end()
    }
}

/// Bytes as hexadecimal digits.
struct Hex<'a>(&'a [u8]);

impl Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Service<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let byte = |at: usize| self.bytes.get(at).copied().unwrap_or(0);
        let code = byte(0);
        map.serialize_entry(
            "service",
            &Text(Named(cip::SERVICES, u64::from(code & 0x7f))),
        )?;
        if code & 0x80 != 0 {
            map.serialize_entry("status", &Text(Named(cip::STATUS, u64::from(byte(2)))))?;
            let end = 4 + 2 * usize::from(byte(3));
            let more = self.bytes.get(4..end).unwrap_or(&[]);
            if !more.is_empty() {
                map.serialize_entry("status_extended", &Text(Hex(more)))?;
            }
            if let Some(list) = self.list(end) {
                map.serialize_entry("multiple", &list)?;
            }
            return map.end();
        }
        let end = 2 + 2 * usize::from(byte(1));
        let segments = Segments(self.bytes.get(2..end).unwrap_or(&[]));
        if let Some((_, class)) = segments
            .iter()
            .filter(|(kind, _)| kind >> 2 == CLASS)
            .last()
        {
            map.serialize_entry("class_name", &Text(Named(cip::CLASSES, u64::from(class))))?;
        }
        if segments.iter().next().is_some() {
            map.serialize_entry("path", &segments)?;
        }
        if let Some(list) = self.list(end) {
            map.serialize_entry("multiple", &list)?;
        }
        map.end()
    }
}

/// The kind of a segment, by the byte before its value.
struct Kind(u8);

impl Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match named(SEGMENTS, u64::from(self.0 >> 2)) {
            Some(name) => f.write_str(name),
            None => write!(f, "unknown-{}", self.0),
        }
    }
}

/// The logical segments of a path.
struct Segments<'a>(&'a [u8]);

impl<'a> Segments<'a> {
    /// The byte before the value, and the value.
    fn iter(&self) -> impl Iterator<Item = (u8, u32)> + use<'a> {
        let mut rest = self.0;
        let next = move || {
            let (first, after) = rest.split_first()?;
            if first >> 5 != 1 {
                return None;
            }
            let (pad, size) = match first & 3 {
                0 => (0, 1),
                1 => (1, 2),
                2 => (1, 4),
                _ => return None,
            };
            let bytes = after.get(pad..pad + size)?;
            rest = after.get(pad + size..)?;
            let value = bytes
                .iter()
                .rev()
                .fold(0u32, |sum, byte| sum << 8 | u32::from(*byte));
            Some((*first, value))
        };
        std::iter::from_fn(next).take(PATH_MAX)
    }
}

impl Serialize for Segments<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Segment {
            segment_type: Text<Kind>,
            value: u32,
        }
        serializer.collect_seq(self.iter().map(|(kind, value)| Segment {
            segment_type: Text(Kind(kind)),
            value,
        }))
    }
}

/// The service that holds others.
const MULTIPLE: u8 = 10;
/// Kinds of segments by the byte before their value, without what says how long that is.
const SEGMENTS: &[(&str, u64)] = &[("class", 8), ("instance", 9), ("attribute", 12)];

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    fn shown(bytes: &[u8]) -> Value {
        serde_json::to_value(super::Message(bytes)).unwrap()
    }

    /// A message of a command around data.
    fn message(command: u8, data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; super::HEADER];
        (bytes[0], bytes[2]) = (command, data.len() as u8);
        bytes.extend_from_slice(data);
        bytes
    }

    #[test]
    fn a_session_and_a_service_with_its_path_are_told() {
        let session = shown(&message(0x65, &[1, 0, 0, 0]));
        let expected = json!({"command": "register_session", "status": "success",
            "register_session": {"protocol_version": 1, "options": 0}});
        assert_eq!(session, expected);
        // Two items: no address, and a request to get attribute 7 of the identity's first instance.
        let cip = [14, 3, 0x20, 1, 0x24, 1, 0x30, 7];
        let mut data = vec![
            0,
            0,
            0,
            0,
            0,
            0,
            2,
            0,
            0,
            0,
            0,
            0,
            0xb2,
            0,
            cip.len() as u8,
            0,
        ];
        data.extend_from_slice(&cip);
        let service = shown(&message(0x6f, &data));
        let path = json!([{"segment_type": "class", "value": 1},
            {"segment_type": "instance", "value": 1}, {"segment_type": "attribute", "value": 7}]);
        let cip =
            json!({"service": "Get Attributes Single", "class_name": "Identity", "path": path});
        assert_eq!(service["cip"], cip);
    }

    #[test]
    fn words_are_those_that_readers_know() {
        let mut data = vec![0, 0, 0, 0, 0, 0, 1, 0, 0xb2, 0, 4, 0];
        data.extend([0x8e, 0, 8, 0]);
        let mut whole = message(0x6f, &data);
        whole[20] = 2;
        let answer = shown(&whole);
        assert_eq!(
            (&answer["command"], &answer["options"]),
            (&json!("send_r_r_data"), &json!(2))
        );
        assert_eq!(answer["cip"]["status"], "Service Not Supported");
        // A path of a member and a connection point, and one without segments.
        let path = |cip: &[u8]| {
            let mut data = vec![0, 0, 0, 0, 0, 0, 1, 0, 0xb2, 0, cip.len() as u8, 0];
            data.extend_from_slice(cip);
            shown(&message(0x6f, &data))["cip"].clone()
        };
        let segments = json!([{"segment_type": "unknown-40", "value": 3},
            {"segment_type": "unknown-44", "value": 4}]);
        assert_eq!(path(&[1, 2, 0x28, 3, 0x2c, 4])["path"], segments);
        assert_eq!(path(&[1, 0]), json!({"service": "Get Attributes All"}));
        let services = [
            &[1, 0, 0, 1, 20, 0, 1, 0, 0x20, 0][..],
            b"Communications\0\0",
        ]
        .concat();
        let name = &shown(&message(4, &services))["list_services"]["service_name"];
        assert_eq!(*name, "Communications\0\0");
    }

    #[test]
    fn services_within_one_are_told_each() {
        let whole = |cip: &[u8]| {
            let mut data = vec![
                0,
                0,
                0,
                0,
                0,
                0,
                2,
                0,
                0,
                0,
                0,
                0,
                0xb2,
                0,
                cip.len() as u8,
                0,
            ];
            data.extend_from_slice(cip);
            shown(&message(0x6f, &data))["cip"].clone()
        };
        // Two services to class 2 by their places: get attribute 7, and one with another in it.
        let asked = whole(&[
            10, 2, 0x20, 2, 0x24, 1, 2, 0, 6, 0, 14, 0, 14, 3, 0x20, 1, 0x24, 1, 0x30, 7, 10, 1,
            0x20, 4, 1, 0, 4, 0, 14, 0,
        ]);
        let list = asked["multiple"].as_array().unwrap();
        assert_eq!(list.len(), 2);
        assert_eq!(list[0]["service"], "Get Attributes Single");
        assert_eq!(list[0]["path"][2]["value"], 7);
        assert_eq!(list[1]["path"][0]["value"], 4);
        assert!(list[1].get("multiple").is_none(), "one level");
        let answer = whole(&[0x8a, 0, 0, 0, 1, 0, 4, 0, 0x8e, 0, 5, 1, 1, 2]);
        let inner = json!([{"service": "Get Attributes Single",
            "status": answer["multiple"][0]["status"], "status_extended": "0102"}]);
        assert_eq!(answer["multiple"], inner);
    }

    #[test]
    fn a_message_that_is_cut_anywhere_is_still_an_object() {
        let mut data = vec![1, 0, 0x0c, 0, 40, 0];
        data.extend((0..40).map(|byte| byte as u8));
        for command in [0, 4, 0x63, 0x65, 0x6f, 0x70, 0xff] {
            let whole = message(command, &data);
            for length in 0..=whole.len() {
                assert!(shown(&whole[..length]).is_object());
            }
        }
    }
}
