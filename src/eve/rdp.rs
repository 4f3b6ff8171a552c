//! The packets that open a connection of RDP as the `rdp` object of EVE: read by the event writer from
//! their bytes, which a record carries ([MS-RDPBCGR] 2.2.1.1 to 2.2.1.4). Names are those that
//! Suricata's readers know. A packet that is cut short ends its object where its bytes end.

use std::fmt;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::text::{Bytes, Text};
use crate::app::Field;
use crate::app::record::{Record, Value};

/// Bytes before the variable part of a connection request: head, length, code, references, class.
const VARIABLE: usize = 11;
/// Place of the code.
const CODE: usize = 5;
const REQUEST: u8 = 0xe;
const CONFIRM: u8 = 0xd;
/// What a user's name stands behind.
const COOKIE: &[u8] = b"Cookie: mstshash=";
/// What the client's blocks stand behind (T.124 section 8.7).
const CLIENT_BLOCKS: &[u8] = b"Duca";
const CORE: u16 = 0xc001;
const NETWORK: u16 = 0xc003;
/// Blocks of a client, and channels, that are looked at.
const BLOCKS_MAX: usize = 16;
const CHANNELS_MAX: usize = 31;

/// A packet.
pub struct Packet<'a> {
    /// The bytes, from the head on.
    pub bytes: &'a [u8],
    /// Number of the transaction, from 0.
    pub number: u32,
}

impl Serialize for Packet<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("tx_id", &(u64::from(self.number) + 1))?;
        let code = self.bytes.get(CODE).map_or(0, |code| code >> 4);
        let rest = self.bytes.get(VARIABLE..).unwrap_or(&[]);
        match (code, self.bytes.get(8)) {
            (REQUEST, _) => request(&mut map, rest)?,
            (CONFIRM, _) => confirm(&mut map, rest)?,
            // T.125 section 7, part 2: Connect-Initial is 101, its answer 102.
            (_, Some(101)) => {
                map.serialize_entry("event_type", "connect_request")?;
                client(&mut map, self.bytes)?;
            }
            _ => map.serialize_entry("event_type", "connect_response")?,
        }
        map.end()
    }
}

/// The server's certificates, as the handshake of TLS shows them.
pub struct Handshake<'a>(pub Record<'a>);

impl Serialize for Handshake<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("tx_id", &(u64::from(self.0.number()) + 1))?;
        map.serialize_entry("event_type", "tls_handshake")?;
        map.serialize_entry("x509_serials", &Serials(self.0))?;
        map.end()
    }
}

struct Serials<'a>(Record<'a>);

impl Serialize for Serials<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let parts = self.0.parts();
        serializer.collect_seq(parts.filter_map(|part| match (part.field, part.value) {
            (Field::RdpSerial, Value::Bytes(bytes)) => Some(Text(Serial(bytes))),
            _ => None,
        }))
    }
}

/// A number in hexadecimal, without leading zeros.
struct Serial<'a>(&'a [u8]);

impl fmt::Display for Serial<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = self.0.iter().position(|byte| *byte != 0);
        let [first, rest @ ..] = self.0.get(start.unwrap_or(0)..).unwrap_or(&[]) else {
            return f.write_str("0");
        };
        write!(f, "{first:x}")?;
        rest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Words of the bits that are set, without those that have none.
struct Bits(u32, &'static [&'static str]);

impl Serialize for Bits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let words = self.1.iter().enumerate();
        let set = words.filter(|(bit, word)| self.0 >> bit & 1 != 0 && !word.is_empty());
        serializer.collect_seq(set.map(|(_, word)| word))
    }
}

fn request<M: SerializeMap>(map: &mut M, rest: &[u8]) -> Result<(), M::Error> {
    const FLAGS: &[&str] = &[
        "restricted_admin_mode_required",
        "redirected_authentication_mode_required",
        "",
        "correlation_info_present",
    ];
    map.serialize_entry("event_type", "initial_request")?;
    let mut rest = rest;
    if let Some(cookie) = rest.strip_prefix(COOKIE) {
        let end = memchr::memmem::find(cookie, b"\r\n").unwrap_or(cookie.len());
        let name = cookie.get(..end).unwrap_or(cookie);
        map.serialize_entry("cookie", &Text(Bytes(name)))?;
        rest = cookie.get(end + 2..).unwrap_or(&[]);
    }
    if let [1, flags, ..] = rest
        && flags & 0xb != 0
    {
        map.serialize_entry("flags", &Bits(u32::from(*flags), FLAGS))?;
    }
    Ok(())
}

fn confirm<M: SerializeMap>(map: &mut M, rest: &[u8]) -> Result<(), M::Error> {
    const FLAGS: &[&str] = &[
        "extended_client_data",
        "dynvc_gfx",
        "",
        "restricted_admin",
        "redirected_authentication",
    ];
    const PROTOCOLS: [(u32, &str); 5] = [
        (0, "rdp"),
        (1, "ssl"),
        (2, "hybrid"),
        (4, "rds_tls"),
        (8, "hybrid_ex"),
    ];
    const FAILURES: [&str; 6] = [
        "ssl required by server",
        "ssl not allowed by server",
        "ssl cert not on server",
        "inconsistent flags",
        "hybrid required by server",
        "ssl with user auth required by server",
    ];
    map.serialize_entry("event_type", "initial_response")?;
    let number = long(rest, 4);
    match (rest, number) {
        ([2, flags, ..], Some(protocol)) => {
            if *flags != 0 {
                map.serialize_entry("server_supports", &Bits(u32::from(*flags), FLAGS))?;
            }
            if let Some((_, name)) = PROTOCOLS.iter().find(|(known, _)| *known == protocol) {
                map.serialize_entry("protocol", name)?;
            }
        }
        ([3, ..], Some(code)) => {
            let place = (code as usize).wrapping_sub(1);
            if let Some(reason) = FAILURES.get(place) {
                map.serialize_entry("error_code", &code)?;
                map.serialize_entry("reason", reason)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// The blocks of a client's data.
fn client<M: SerializeMap>(map: &mut M, bytes: &[u8]) -> Result<(), M::Error> {
    let Some(place) = memchr::memmem::find(bytes, CLIENT_BLOCKS) else {
        return Ok(());
    };
    let rest = bytes.get(place + CLIENT_BLOCKS.len()..).unwrap_or(&[]);
    // A length of one or two bytes (X.691 section 10.9).
    let mut rest = match rest {
        [0x80..=0xff, _, rest @ ..] | [_, rest @ ..] => rest,
        [] => rest,
    };
    for _ in 0..BLOCKS_MAX {
        let (Some(kind), Some(length)) = (word(rest, 0), word(rest, 2)) else {
            break;
        };
        let length = usize::from(length);
        if length < 4 {
            break;
        }
        let end = length.min(rest.len());
        let block = rest.get(4..end).unwrap_or(&[]);
        match kind {
            CORE => map.serialize_entry("client", &Core(block))?,
            NETWORK if long(block, 0).is_some_and(|count| count > 0) => {
                map.serialize_entry("channels", &Channels(block))?;
            }
            _ => {}
        }
        rest = rest.get(end..).unwrap_or(&[]);
    }
    Ok(())
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// What a client says of itself ([MS-RDPBCGR] 2.2.1.3.2), without the head of the block.
struct Core<'a>(&'a [u8]);

impl Serialize for Core<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const CAPABILITIES: &[&str] = &[
            "support_errinfo_pdf",
            "want_32bpp_session",
            "support_statusinfo_pdu",
            "strong_asymmetric_keys",
            "",
            "valid_connection_type",
            "support_monitor_layout_pdu",
            "support_netchar_autodetect",
            "support_dynvc_gfx_protocol",
            "support_dynamic_time_zone",
            "support_heartbeat_pdu",
        ];
        const KEYBOARDS: [&str; 7] = ["xt", "ico", "at", "enhanced", "1050", "9140", "jp"];
        let bytes = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("version", version(long(bytes, 0)))?;
        map.serialize_entry("desktop_width", &word(bytes, 4).unwrap_or(0))?;
        map.serialize_entry("desktop_height", &word(bytes, 6).unwrap_or(0))?;
        if let Some(depth) = self.color_depth() {
            map.serialize_entry("color_depth", &depth)?;
        }
        self.wide(&mut map, "client_name", 20..52)?;
        let keyboard = long(bytes, 52).and_then(|kind| kind.checked_sub(1));
        if let Some(name) = keyboard.and_then(|kind| KEYBOARDS.get(kind as usize)) {
            map.serialize_entry("keyboard_type", name)?;
        }
        for (key, at) in [("keyboard_subtype", 56), ("function_keys", 60)] {
            if let Some(number) = long(bytes, at).filter(|number| *number != 0) {
                map.serialize_entry(key, &number)?;
            }
        }
        self.wide(&mut map, "ime", 64..128)?;
        if let Some(product) = word(bytes, 130) {
            map.serialize_entry("product_id", &product)?;
        }
        if let Some(serial) = long(bytes, 132).filter(|serial| *serial != 0) {
            map.serialize_entry("serial_number", &serial)?;
        }
        if let Some(flags) = word(bytes, 140).filter(|flags| *flags != 0) {
            map.serialize_entry("capabilities", &Bits(u32::from(flags), CAPABILITIES))?;
        }
        self.wide(&mut map, "id", 142..206)?;
        self.screen(&mut map)?;
        map.end()
    }
}

impl Core<'_> {
    /// What newer clients add.
    fn screen<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        const HINTS: [&str; 8] = [
            "",
            "modem",
            "low_broadband",
            "satellite",
            "high_broadband",
            "wan",
            "lan",
            "autodetect",
        ];
        let bytes = self.0;
        let hint = bytes.get(206).map_or(0, |hint| usize::from(*hint));
        if let Some(hint) = HINTS.get(hint).filter(|hint| !hint.is_empty()) {
            map.serialize_entry("connection_hint", hint)?;
        }
        for (key, at) in [("physical_width", 212), ("physical_height", 216)] {
            if let Some(number) = long(bytes, at) {
                map.serialize_entry(key, &number)?;
            }
        }
        if let Some(orientation) = word(bytes, 220) {
            map.serialize_entry("desktop_orientation", &orientation)?;
        }
        for (key, at) in [("scale_factor", 222), ("device_scale_factor", 226)] {
            if let Some(number) = long(bytes, at) {
                map.serialize_entry(key, &number)?;
            }
        }
        Ok(())
    }

    /// Bits of a pixel: what later fields say counts more.
    fn color_depth(&self) -> Option<u8> {
        let high = word(self.0, 136).and_then(|depth| match depth {
            4 | 8 | 15 | 16 | 24 => Some(depth as u8),
            _ => None,
        });
        let of_code = |code: u16| {
            Some(match code {
                0xca00 => 4,
                0xca01 => 8,
                0xca02 => 15,
                0xca03 => 16,
                0xca04 => 24,
                _ => return None,
            })
        };
        let later = high.or_else(|| word(self.0, 128).and_then(of_code));
        later.or_else(|| {
            word(self.0, 8)
                .and_then(of_code)
                .filter(|depth| *depth <= 8)
        })
    }

    /// A text of UTF-16 that ends with zero, if there is one.
    fn wide<M: SerializeMap>(
        &self,
        map: &mut M,
        key: &str,
        place: std::ops::Range<usize>,
    ) -> Result<(), M::Error> {
        match self.0.get(place) {
            Some(bytes) if bytes.first_chunk::<2>() != Some(&[0; 2]) => {
                map.serialize_entry(key, &Text(Wide(bytes)))
            }
            _ => Ok(()),
        }
    }
}

fn version(number: Option<u32>) -> &'static str {
    const NAMES: [&str; 9] = [
        "v5", "v10.0", "v10.1", "v10.2", "v10.3", "v10.4", "v10.5", "v10.6", "v10.7",
    ];
    match number {
        Some(0x0008_0001) => "v4",
        Some(number @ 0x0008_0004..) => {
            let place = (number - 0x0008_0004) as usize;
            NAMES.get(place).copied().unwrap_or("unknown")
        }
        _ => "unknown",
    }
}

struct Wide<'a>(&'a [u8]);

impl fmt::Display for Wide<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        let (units, _) = self.0.as_chunks::<2>();
        let units = units.iter().map(|unit| u16::from_le_bytes(*unit));
        let text = units.take_while(|unit| *unit != 0);
        char::decode_utf16(text)
            .try_for_each(|letter| f.write_char(letter.unwrap_or(char::REPLACEMENT_CHARACTER)))
    }
}

/// Names of the channels that a client asks for (2.2.1.3.4).
struct Channels<'a>(&'a [u8]);

impl Serialize for Channels<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let count = long(self.0, 0).map_or(0, |count| count as usize);
        let entries = self.0.get(4..).unwrap_or(&[]).chunks_exact(12);
        let names = entries.take(count.min(CHANNELS_MAX)).map(|entry| {
            let name = entry.get(..8).unwrap_or(&[]);
            let end = memchr::memchr(0, name).unwrap_or(name.len());
            Text(Bytes(name.get(..end).unwrap_or(name)))
        });
        serializer.collect_seq(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn shown(bytes: &[u8]) -> Value {
        serde_json::to_value(Packet { bytes, number: 0 }).unwrap()
    }

    #[test]
    fn a_request_and_its_answers() {
        let request =
            b"\x03\0\0\x29\x24\xe0\0\0\0\0\0Cookie: mstshash=abc\r\n\x01\x09\x08\0\x03\0\0\0";
        let flags = json!(["restricted_admin_mode_required", "correlation_info_present"]);
        let expected = json!({"tx_id": 1, "event_type": "initial_request", "cookie": "abc",
            "flags": flags});
        assert_eq!(shown(request), expected);
        let confirm = b"\x03\0\0\x13\x0e\xd0\0\0\x12\x34\0\x02\x1f\x08\0\x02\0\0\0";
        let value = shown(confirm);
        assert_eq!(value["protocol"], "hybrid");
        assert_eq!(value["server_supports"].as_array().unwrap().len(), 4);
        let refusal = b"\x03\0\0\x13\x0e\xd0\0\0\x12\x34\0\x03\0\x08\0\x05\0\0\0";
        assert_eq!(shown(refusal)["reason"], "hybrid required by server");
    }

    #[test]
    fn a_client_tells_of_itself() {
        let mut core = vec![0; 230];
        core[..4].copy_from_slice(&[4, 0, 8, 0]);
        core[4..8].copy_from_slice(&[0, 5, 0, 3]);
        core[20..24].copy_from_slice(b"P\0C\0");
        core[52] = 4;
        core[60] = 12;
        core[130] = 1;
        core[136] = 24;
        core[140] = 1;
        core[206] = 6;
        let mut bytes = b"\x03\0\0\0\x02\xf0\x80\x7f\x65Duca\x81\x00\x01\xc0".to_vec();
        bytes.extend_from_slice(&((core.len() + 4) as u16).to_le_bytes());
        bytes.extend_from_slice(&core);
        bytes.extend_from_slice(b"\x03\xc0\x14\0\x01\0\0\0rdpdr\0\0\0\0\0\x80\x80");
        let value = shown(&bytes);
        assert_eq!(value["event_type"], "connect_request");
        assert_eq!(value["channels"], json!(["rdpdr"]));
        let client = &value["client"];
        for (key, expected) in [
            ("version", json!("v5")),
            ("desktop_width", json!(1280)),
            ("color_depth", json!(24)),
            ("client_name", json!("PC")),
            ("keyboard_type", json!("enhanced")),
            ("function_keys", json!(12)),
            ("product_id", json!(1)),
            ("capabilities", json!(["support_errinfo_pdf"])),
            ("connection_hint", json!("lan")),
        ] {
            assert_eq!(client[key], expected, "{key}");
        }
        for length in 0..bytes.len() {
            shown(&bytes[..length]);
        }
    }
}
