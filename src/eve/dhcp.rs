//! A DHCP message as the `dhcp` object of EVE: read by the event writer from the message's bytes, which
//! a record carries. RFC 2131 section 2, options of RFC 2132; options that are cut short end the object.

use std::fmt;

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::text::Bytes;

/// Bytes before the options.
const HEADER: usize = 240;
/// Options of one message that are looked at.
const OPTIONS_MAX: usize = 256;

const SUBNET_MASK: u8 = 1;
const ROUTERS: u8 = 3;
const DNS_SERVERS: u8 = 6;
const HOSTNAME: u8 = 12;
const REQUESTED_IP: u8 = 50;
const LEASE_TIME: u8 = 51;
const TYPE: u8 = 53;
const PARAMETERS: u8 = 55;
const RENEWAL_TIME: u8 = 58;
const REBINDING_TIME: u8 = 59;
const VENDOR_CLASS: u8 = 60;
const CLIENT_ID: u8 = 61;
const PAD: u8 = 0;
const END: u8 = 255;
/// The type of a message that assigns an address.
const ACK: u8 = 5;

/// Options that a client asks for by option 55 and that readers know by name.
const ASKED: [(u8, &str); 8] = [
    (SUBNET_MASK, "subnet_mask"),
    (ROUTERS, "router"),
    (DNS_SERVERS, "dns_server"),
    (15, "domain"),
    (35, "arp_timeout"),
    (42, "ntp_server"),
    (66, "tftp_server_name"),
    (150, "tftp_server_ip"),
];

/// Option 53.
const TYPES: [&str; 8] = [
    "discover", "offer", "request", "decline", "ack", "nak", "release", "inform",
];

/// The message.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// All that it says is shown.
    pub extended: bool,
}

impl<'a> Message<'a> {
    fn slice(&self, from: usize, length: usize) -> &'a [u8] {
        self.bytes.get(from..from + length).unwrap_or(&[])
    }

    /// Options in order: code, value.
    fn options(&self) -> impl Iterator<Item = (u8, &'a [u8])> {
        let mut rest = self.bytes.get(HEADER..).unwrap_or(&[]);
        let next = move || {
            while let [PAD, after @ ..] = rest {
                rest = after;
            }
            let [code, length, after @ ..] = rest else {
                return None;
            };
            let value = after.get(..usize::from(*length)).filter(|_| *code != END)?;
            rest = after.get(value.len()..).unwrap_or(&[]);
            Some((*code, value))
        };
        std::iter::from_fn(next).take(OPTIONS_MAX)
    }
}

impl Message<'_> {
    /// Whether it assigns an address.
    pub fn acknowledges(&self) -> bool {
        let kind = self
            .options()
            .find(|(code, value)| *code == TYPE && !value.is_empty());
        kind.is_some_and(|(_, value)| value.first() == Some(&ACK))
    }

    /// An option whose value is shown in any case; whether it is one.
    fn show<M: SerializeMap>(&self, map: &mut M, code: u8, value: &[u8]) -> Result<bool, M::Error> {
        match code {
            TYPE => {
                let number = usize::from(value.first().copied().unwrap_or(0));
                let name = number.checked_sub(1).and_then(|number| TYPES.get(number));
                map.serialize_entry("dhcp_type", name.unwrap_or(&"unknown"))?;
            }
            HOSTNAME => map.serialize_entry("hostname", &Words(value))?,
            CLIENT_ID => map.serialize_entry("client_id", &Mac(value.get(1..).unwrap_or(&[])))?,
            RENEWAL_TIME => time(map, "renewal_time", value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Another option.
    fn show_more<M: SerializeMap>(
        &self,
        map: &mut M,
        code: u8,
        value: &[u8],
    ) -> Result<(), M::Error> {
        match code {
            SUBNET_MASK => map.serialize_entry("subnet_mask", &Ip(value)),
            REQUESTED_IP => map.serialize_entry("requested_ip", &Ip(value)),
            ROUTERS => map.serialize_entry("routers", &Ips(value)),
            DNS_SERVERS => map.serialize_entry("dns_servers", &Ips(value)),
            VENDOR_CLASS => map.serialize_entry("vendor_class_identifier", &Words(value)),
            PARAMETERS => map.serialize_entry("params", &Parameters(value)),
            LEASE_TIME => time(map, "lease_time", value),
            REBINDING_TIME => time(map, "rebinding_time", value),
            _ => Ok(()),
        }
    }
}

impl Serialize for Message<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let reply = self.bytes.first() == Some(&2);
        let kind = match self.bytes.first() {
            Some(1) => "request",
            Some(2) => "reply",
            _ => "<unknown>",
        };
        map.serialize_entry("type", kind)?;
        map.serialize_entry("id", &number(self.slice(4, 4)).unwrap_or(0))?;
        let hardware = usize::from(self.bytes.get(2).copied().unwrap_or(0)).min(16);
        map.serialize_entry("client_mac", &Mac(self.slice(28, hardware)))?;
        map.serialize_entry("assigned_ip", &Ip(self.slice(16, 4)))?;
        if self.extended {
            map.serialize_entry("client_ip", &Ip(self.slice(12, 4)))?;
        }
        if self.extended && reply {
            map.serialize_entry("relay_ip", &Ip(self.slice(24, 4)))?;
            map.serialize_entry("next_server_ip", &Ip(self.slice(20, 4)))?;
        }
        let mut seen = [false; 256];
        for (code, value) in self.options() {
            if std::mem::replace(&mut seen[usize::from(code)], true) {
                continue;
            }
            if !self.show(&mut map, code, value)? && self.extended {
                self.show_more(&mut map, code, value)?;
            }
        }
        map.end()
    }
}

/// A number of seconds.
fn time<M: SerializeMap>(map: &mut M, key: &'static str, value: &[u8]) -> Result<(), M::Error> {
    match number(value) {
        Some(seconds) => map.serialize_entry(key, &seconds),
        None => Ok(()),
    }
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_be_bytes)
}

/// Bytes in hexadecimal with colons.
struct Mac<'a>(&'a [u8]);

impl fmt::Display for Mac<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            let colon = if place > 0 { ":" } else { "" };
            write!(f, "{colon}{byte:02x}")?;
        }
        Ok(())
    }
}

/// An address; empty where it is none.
struct Ip<'a>(&'a [u8]);

impl fmt::Display for Ip<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [a, b, c, d] => write!(f, "{a}.{b}.{c}.{d}"),
            _ => Ok(()),
        }
    }
}

struct Words<'a>(&'a [u8]);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Bytes(self.0).fmt(f)
    }
}

macro_rules! as_text {
    ($($kind:ident)+) => {$(
        impl Serialize for $kind<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )+};
}
as_text! { Mac Ip Words }

struct Parameters<'a>(&'a [u8]);

impl Serialize for Parameters<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = |code: &u8| ASKED.iter().find(|(known, _)| known == code);
        serializer.collect_seq(self.0.iter().filter_map(name).map(|(_, name)| name))
    }
}

struct Ips<'a>(&'a [u8]);

impl Serialize for Ips<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for address in self.0.chunks_exact(4) {
            list.serialize_element(&Ip(address))?;
        }
        list.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_with_its_options() {
        let mut bytes = vec![2, 1, 6, 0, 0, 0, 0x12, 0x34];
        bytes.resize(HEADER, 0);
        bytes[16..20].copy_from_slice(&[10, 0, 0, 7]);
        bytes[28..34].copy_from_slice(&[0, 1, 2, 3, 4, 0xff]);
        bytes.extend([
            53, 1, 2, 0, 51, 4, 0, 0, 0x0e, 0x10, 6, 8, 1, 1, 1, 1, 8, 8, 8, 8,
        ]);
        bytes.extend([55, 3, 1, 200, 15]);
        bytes.extend([58, 1, 7, 12, 2, b'h', b'"', 3, 99, 1]);
        let shown = |bytes: &[u8], extended| {
            let message = Message { bytes, extended };
            assert!(!message.acknowledges(), "it offers");
            serde_json::to_value(message).unwrap()
        };
        let value = shown(&bytes, true);
        let expected = serde_json::json!({"type": "reply", "id": 0x1234,
            "client_mac": "00:01:02:03:04:ff", "assigned_ip": "10.0.0.7", "client_ip": "0.0.0.0",
            "relay_ip": "0.0.0.0", "next_server_ip": "0.0.0.0", "dhcp_type": "offer",
            "lease_time": 3600, "dns_servers": ["1.1.1.1", "8.8.8.8"], "hostname": "h\"",
            "params": ["subnet_mask", "domain"]});
        assert_eq!(value, expected);
        let short = serde_json::json!({"type": "reply", "id": 0x1234,
            "client_mac": "00:01:02:03:04:ff", "assigned_ip": "10.0.0.7", "dhcp_type": "offer",
            "hostname": "h\""});
        assert_eq!(shown(&bytes, false), short);
        for length in 0..bytes.len() {
            shown(&bytes[..length], true);
        }
        bytes[HEADER + 2] = ACK;
        let (bytes, extended) = (bytes.as_slice(), false);
        assert!(Message { bytes, extended }.acknowledges());
    }
}
