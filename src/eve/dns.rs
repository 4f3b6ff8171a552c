//! A DNS message as the `dns` object of EVE (Suricata's version 3 of it): read from the message's
//! bytes, which a record carries, by the event writer. RFC 1035 section 4; names are followed within a
//! budget, and what is cut off or malformed ends its section. mdns.rs shows the same messages to
//! readers of `mdns` and `llmnr`.

use std::fmt;

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::text::{Bytes, HexBytes, Text};

const HEADER: usize = 12;
/// Bytes of a name as text at most.
const NAME_MAX: usize = 1025;
/// Labels and pointers of one name.
const STEPS_MAX: usize = 255;
/// Records of a section that are written.
const RECORDS_MAX: usize = 128;

const A: u16 = 1;
const NS: u16 = 2;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const NULL: u16 = 10;
const PTR: u16 = 12;
const MX: u16 = 15;
const TXT: u16 = 16;
const AAAA: u16 = 28;
const SRV: u16 = 33;
const OPT: u16 = 41;
const SSHFP: u16 = 44;
/// Kinds that are gathered under `grouped`.
const GROUPED: [u16; 11] = [A, AAAA, CNAME, MX, NS, PTR, TXT, NULL, SOA, SRV, SSHFP];

/// The entries of a message in the object that stands at hand.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    bytes: &'a [u8],
    tx: u32,
    /// It comes from a server, whatever its flags say.
    response: bool,
    detailed: bool,
    grouped: bool,
}

/// Sections of records: key, number of the section.
pub(super) const SECTIONS: [(&str, usize); 3] =
    [("answers", 1), ("authorities", 2), ("additionals", 3)];

impl<'a> Message<'a> {
    /// The message of a transaction.
    pub fn new(bytes: &'a [u8], tx: u32, response: bool) -> Message<'a> {
        Message {
            bytes,
            tx,
            response,
            detailed: true,
            grouped: true,
        }
    }

    /// Whether it asks something: of others there is no event.
    pub fn asks(&self) -> bool {
        self.records(0).next().is_some()
    }

    /// The same, with its answers one by one (`detailed`), by their types, or both.
    pub fn told(self, detailed: bool, grouped: bool) -> Message<'a> {
        Message {
            detailed,
            grouped,
            ..self
        }
    }

    pub(super) fn word(&self, at: usize) -> Option<u16> {
        let bytes = self.bytes.get(at..at + 2)?;
        Some(u16::from_be_bytes(bytes.try_into().ok()?))
    }

    pub(super) fn flags(&self) -> u16 {
        self.word(2).unwrap_or(0)
    }

    /// Where the name at a place ends; its text goes to `show`.
    fn name(&self, mut at: usize, mut show: impl FnMut(&[u8])) -> Option<usize> {
        let mut end = None;
        for _ in 0..STEPS_MAX {
            let length = usize::from(*self.bytes.get(at)?);
            match length {
                0 => return Some(end.unwrap_or(at + 1)),
                1..=63 => show(self.bytes.get(at + 1..at + 1 + length)?),
                192.. => {
                    end = end.or(Some(at + 2));
                    at = usize::from(self.word(at)? & 0x3fff);
                    continue;
                }
                _ => return None,
            }
            at += 1 + length;
        }
        None
    }

    /// Where the record at a place ends.
    fn record_end(&self, at: usize, section: usize) -> Option<usize> {
        let at = self.name(at, |_| {})?;
        let end = match section {
            0 => at + 4,
            _ => at + 10 + usize::from(self.word(at + 8)?),
        };
        (end <= self.bytes.len()).then_some(end)
    }

    /// The records of a section, but options that say nothing; there are no more than the header says.
    pub(super) fn records(self, section: usize) -> impl Iterator<Item = Entry<'a>> + Clone {
        let count = |section: usize| usize::from(self.word(4 + 2 * section).unwrap_or(0));
        let mut at = Some(HEADER);
        for before in 0..section {
            // A record takes bytes, so that the message bounds the turns.
            for _ in 0..count(before).min(self.bytes.len()) {
                at = at.and_then(|at| self.record_end(at, before));
            }
        }
        let all = (0..count(section).min(RECORDS_MAX)).map_while(move |_| {
            let start = at?;
            at = self.record_end(start, section);
            at.map(|_| Entry {
                message: self,
                at: start,
                question: section == 0,
            })
        });
        let silent = |entry: &Entry<'_>| entry.kind() == OPT && entry.data().1.is_empty();
        all.filter(move |entry| section != 3 || !silent(entry))
    }

    /// Writes all entries.
    pub fn entries<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let flags = self.flags();
        let kind = if self.response { "response" } else { "request" };
        map.serialize_entry("version", &3)?;
        map.serialize_entry("type", kind)?;
        map.serialize_entry("tx_id", &self.tx)?;
        map.serialize_entry("id", &self.word(0).unwrap_or(0))?;
        map.serialize_entry("flags", &Shown(format_args!("{flags:x}")))?;
        const BITS: [(u16, &str); 6] = [
            (0x8000, "qr"),
            (0x0400, "aa"),
            (0x0200, "tc"),
            (0x0100, "rd"),
            (0x0080, "ra"),
            (0x0040, "z"),
        ];
        for (_, name) in BITS.iter().filter(|(bit, _)| flags & bit != 0) {
            map.serialize_entry(name, &true)?;
        }
        map.serialize_entry("opcode", &(flags >> 11 & 15))?;
        map.serialize_entry("rcode", &Rcode(flags & 15))?;
        if self.asks() {
            map.serialize_entry("queries", &Section(*self, 0))?;
        }
        for (key, section) in SECTIONS {
            let shown = self.detailed || section != 1;
            if shown && self.records(section).next().is_some() {
                map.serialize_entry(key, &Section(*self, section))?;
            }
        }
        if self.grouped && self.records(1).next().is_some() {
            map.serialize_entry("grouped", &Grouped(*self))?;
        }
        Ok(())
    }
}

impl Serialize for Message<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.entries(&mut map)?;
        map.end()
    }
}

/// Something that is written as it is displayed.
pub(super) struct Shown<T>(pub(super) T);

impl<T: fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

struct Section<'a>(Message<'a>, usize);

impl Serialize for Section<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for entry in self.0.records(self.1) {
            if entry.question || entry.kind() != TXT {
                list.serialize_element(&entry)?;
                continue;
            }
            // Each text is an entry of its own.
            for text in entry.texts() {
                list.serialize_element(&TextEntry(entry, text))?;
            }
        }
        list.end()
    }
}

/// Data of the answers by their kind.
struct Grouped<'a>(Message<'a>);

impl Serialize for Grouped<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for kind in GROUPED {
            if self.0.records(1).any(|entry| entry.kind() == kind) {
                map.serialize_entry(&Shown(Kind(kind)), &Data(self.0, kind))?;
            }
        }
        map.end()
    }
}

struct Data<'a>(Message<'a>, u16);

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for entry in self.0.records(1).filter(|entry| entry.kind() == self.1) {
            match self.1 {
                TXT => {
                    for text in entry.texts() {
                        list.serialize_element(&Shown(Bytes(text)))?;
                    }
                }
                _ => list.serialize_element(&Value(entry))?,
            }
        }
        list.end()
    }
}

/// A question or a record.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    message: Message<'a>,
    at: usize,
    question: bool,
}

impl<'a> Entry<'a> {
    /// Its name, and whether that is cut short.
    pub(super) fn name<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        entry_of_name(map, ("rrname", "rrname_truncated"), self.message, self.at)
    }

    /// The strings of a record of kind TXT (RFC 1035 section 3.3.14).
    pub(super) fn texts(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.data().1;
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first()?;
            let (text, more) = after.split_at(usize::from(*length).min(after.len()));
            rest = more;
            Some(text)
        })
    }

    fn head(&self) -> usize {
        let end = self.message.name(self.at, |_| {});
        end.unwrap_or(self.message.bytes.len())
    }

    pub(super) fn kind(&self) -> u16 {
        self.message.word(self.head()).unwrap_or(0)
    }

    /// Place and bytes of the data.
    fn data(&self) -> (usize, &'a [u8]) {
        let head = self.head();
        let length = usize::from(self.message.word(head + 8).unwrap_or(0));
        let data = self.message.bytes.get(head + 10..head + 10 + length);
        (head + 10, data.unwrap_or(&[]))
    }

    /// Where the name begins that its data are.
    fn name_in_data(&self) -> Option<usize> {
        match self.kind() {
            NS | CNAME | PTR => Some(self.data().0),
            MX => Some(self.data().0 + 2),
            _ => None,
        }
    }

    fn ttl(&self) -> u32 {
        let head = self.head();
        let half = |at| u32::from(self.message.word(at).unwrap_or(0));
        half(head + 4) << 16 | half(head + 6)
    }
}

impl Serialize for Entry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.name(&mut map)?;
        map.serialize_entry("rrtype", &Shown(Kind(self.kind())))?;
        if !self.question {
            map.serialize_entry("ttl", &self.ttl())?;
            match self.kind() {
                SOA => map.serialize_entry("soa", &Value(*self))?,
                SRV => map.serialize_entry("srv", &Value(*self))?,
                SSHFP => map.serialize_entry("sshfp", &Value(*self))?,
                OPT => map.serialize_entry("opt", &Value(*self))?,
                kind if GROUPED.contains(&kind) => {
                    map.serialize_entry("rdata", &Value(*self))?;
                    if let Some(at) = self.name_in_data()
                        && is_cut(self.message, at)
                    {
                        map.serialize_entry("rdata_truncated", &true)?;
                    }
                }
                _ => {}
            }
        }
        map.end()
    }
}

/// A string of a record of kind TXT.
struct TextEntry<'a>(Entry<'a>, &'a [u8]);

impl Serialize for TextEntry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.0.name(&mut map)?;
        map.serialize_entry("rrtype", &Shown(Kind(TXT)))?;
        map.serialize_entry("ttl", &self.0.ttl())?;
        map.serialize_entry("rdata", &Shown(Bytes(self.1)))?;
        map.end()
    }
}

/// The data of a record: a text, or the object that its kind has.
pub(super) struct Value<'a>(pub(super) Entry<'a>);

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.kind() {
            SOA => Soa(self.0).serialize(serializer),
            SRV => Srv(self.0).serialize(serializer),
            SSHFP => Sshfp(self.0.data().1).serialize(serializer),
            OPT => Options(self.0.data().1).serialize(serializer),
            TXT => serializer.collect_seq(self.0.texts().map(|text| Shown(Bytes(text)))),
            _ => serializer.collect_str(&Rdata(self.0)),
        }
    }
}

/// Options of EDNS (RFC 6891 section 6.1.2).
struct Options<'a>(&'a [u8]);

impl Serialize for Options<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        let mut rest = self.0;
        // Every turn takes four bytes at least.
        while let Some(&[high, low, length_high, length_low]) = rest.first_chunk() {
            let length = usize::from(u16::from_be_bytes([length_high, length_low]));
            let Some(data) = rest.get(4..4 + length) else {
                break;
            };
            list.serialize_element(&EdnsOption(u16::from_be_bytes([high, low]), data))?;
            rest = rest.get(4 + length..).unwrap_or(&[]);
        }
        list.end()
    }
}

struct EdnsOption<'a>(u16, &'a [u8]);

impl Serialize for EdnsOption<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("code", &self.0)?;
        map.serialize_entry("data", &Text(HexBytes(self.1)))?;
        map.end()
    }
}

/// A name under a key, and under another whether it is cut short.
fn entry_of_name<M: SerializeMap>(
    map: &mut M,
    (key, cut): (&'static str, &'static str),
    message: Message<'_>,
    at: usize,
) -> Result<(), M::Error> {
    map.serialize_entry(key, &Shown(Name(message, at)))?;
    if is_cut(message, at) {
        map.serialize_entry(cut, &true)?;
    }
    Ok(())
}

/// Whether a name is longer than what is written of it.
fn is_cut(message: Message<'_>, at: usize) -> bool {
    let mut length = 0;
    message.name(at, |label| length += label.len() + 1);
    length > NAME_MAX
}

/// A name of a message.
struct Name<'a>(Message<'a>, usize);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut length = 0;
        let mut result = Ok(());
        self.0.name(self.1, |label| {
            if length + label.len() < NAME_MAX && result.is_ok() {
                let dot = if length > 0 { "." } else { "" };
                result = write!(f, "{dot}{}", Bytes(label));
                length += label.len() + 1;
            }
        });
        result
    }
}

/// Data of a record as text.
struct Rdata<'a>(Entry<'a>);

impl fmt::Display for Rdata<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, data) = self.0.data();
        match (self.0.kind(), data) {
            (A, [a, b, c, d]) => write!(f, "{a}.{b}.{c}.{d}"),
            (AAAA, bytes) if bytes.len() == 16 => {
                for (place, pair) in bytes.chunks_exact(2).enumerate() {
                    let colon = if place > 0 { ":" } else { "" };
                    write!(f, "{colon}{:02x}{:02x}", pair[0], pair[1])?;
                }
                Ok(())
            }
            (NS | CNAME | PTR, _) => Name(self.0.message, at).fmt(f),
            (MX, _) => Name(self.0.message, at + 2).fmt(f),
            (A | AAAA, _) => Ok(()),
            _ => Bytes(data).fmt(f),
        }
    }
}

struct Soa<'a>(Entry<'a>);

impl Serialize for Soa<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let message = self.0.message;
        let (at, _) = self.0.data();
        let second = message.name(at, |_| {}).unwrap_or(message.bytes.len());
        let numbers = message.name(second, |_| {});
        let numbers = numbers.unwrap_or(message.bytes.len());
        let mut map = serializer.serialize_map(None)?;
        entry_of_name(&mut map, ("mname", "mname_truncated"), message, at)?;
        entry_of_name(&mut map, ("rname", "rname_truncated"), message, second)?;
        for (place, key) in ["serial", "refresh", "retry", "expire", "minimum"]
            .iter()
            .enumerate()
        {
            let half = |at| u32::from(message.word(at).unwrap_or(0));
            let start = numbers + 4 * place;
            map.serialize_entry(key, &(half(start) << 16 | half(start + 2)))?;
        }
        map.end()
    }
}

struct Srv<'a>(Entry<'a>);

impl Serialize for Srv<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let message = self.0.message;
        let (at, _) = self.0.data();
        let mut map = serializer.serialize_map(None)?;
        for (place, key) in ["priority", "weight", "port"].iter().enumerate() {
            map.serialize_entry(key, &message.word(at + 2 * place).unwrap_or(0))?;
        }
        map.serialize_entry("name", &Shown(Name(message, at + 6)))?;
        map.end()
    }
}

struct Sshfp<'a>(&'a [u8]);

impl Serialize for Sshfp<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let [algo, kind, print @ ..] = self.0 {
            map.serialize_entry("fingerprint", &Shown(Colons(print)))?;
            map.serialize_entry("algo", algo)?;
            map.serialize_entry("type", kind)?;
        }
        map.end()
    }
}

struct Colons<'a>(&'a [u8]);

impl fmt::Display for Colons<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            let colon = if place > 0 { ":" } else { "" };
            write!(f, "{colon}{byte:02x}")?;
        }
        Ok(())
    }
}

/// Kinds of records that Suricata's readers know by their names (IANA, DNS parameters), by number.
const KINDS: [(u16, &str); 59] = [
    (1, "A"),
    (2, "NS"),
    (3, "MD"),
    (4, "MF"),
    (5, "CNAME"),
    (6, "SOA"),
    (7, "MB"),
    (8, "MG"),
    (9, "MR"),
    (10, "NULL"),
    (11, "WKS"),
    (12, "PTR"),
    (13, "HINFO"),
    (14, "MINFO"),
    (15, "MX"),
    (16, "TXT"),
    (17, "RP"),
    (18, "AFSDB"),
    (19, "X25"),
    (20, "ISDN"),
    (21, "RT"),
    (22, "NSAP"),
    (23, "NSAPPTR"),
    (24, "SIG"),
    (25, "KEY"),
    (26, "PX"),
    (27, "GPOS"),
    (28, "AAAA"),
    (29, "LOC"),
    (30, "NXT"),
    (33, "SRV"),
    (34, "ATMA"),
    (35, "NAPTR"),
    (36, "KX"),
    (37, "CERT"),
    (38, "A6"),
    (39, "DNAME"),
    (41, "OPT"),
    (42, "APL"),
    (43, "DS"),
    (44, "SSHFP"),
    (45, "IPSECKEY"),
    (46, "RRSIG"),
    (47, "NSEC"),
    (48, "DNSKEY"),
    (49, "DHCID"),
    (50, "NSEC3"),
    (51, "NSEC3PARAM"),
    (52, "TLSA"),
    (55, "HIP"),
    (59, "CDS"),
    (60, "CDNSKEY"),
    (65, "HTTPS"),
    (99, "SPF"),
    (249, "TKEY"),
    (250, "TSIG"),
    (254, "MAILA"),
    (255, "ANY"),
    (256, "URI"),
];

/// Name of a kind of record; its number where it has none here.
pub(super) struct Kind(pub(super) u16);

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match KINDS.binary_search_by_key(&self.0, |(number, _)| *number) {
            Ok(place) => f.write_str(KINDS.get(place).map_or("", |(_, name)| name)),
            Err(_) => self.0.fmt(f),
        }
    }
}

/// Name of a response code (RFC 6895 section 2.3).
struct Rcode(u16);

impl Serialize for Rcode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const NAMES: [&str; 11] = [
            "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN",
            "YXRRSET", "NXRRSET", "NOTAUTH", "NOTZONE",
        ];
        match NAMES.get(usize::from(self.0)) {
            Some(name) => serializer.serialize_str(name),
            None => serializer.collect_str(&self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The object of a message that comes from the side that its flags name.
    fn json(bytes: &[u8]) -> serde_json::Value {
        let response = bytes.get(2).is_some_and(|flags| flags & 0x80 != 0);
        serde_json::to_value(Message::new(bytes, 3, response)).unwrap()
    }

    #[test]
    fn answers_without_data_of_their_own_are_grouped_into_nothing() {
        // A service binding (type HTTPS), whose data nobody shows.
        let message = b"\0\x01\x81\x80\0\x01\0\x01\0\0\0\0\x01a\0\0\x41\0\x01\
            \xc0\x0c\0\x41\0\x01\0\0\0\x3c\0\x03\0\x01\0";
        let value = json(message);
        assert_eq!(value["grouped"], serde_json::json!({}));
        assert_eq!(value["answers"][0]["rrtype"], "HTTPS");
        // Whose it is says the side that it comes from.
        let forged = Message::new(message, 3, false);
        assert_eq!(serde_json::to_value(forged).unwrap()["type"], "request");
    }

    #[test]
    fn an_answer_with_its_records() {
        let message = b"\x12\x34\x81\x80\0\x01\0\x04\0\x01\0\0\x03www\x01a\0\0\x01\0\x01\
            \xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x04\x01b\xc0\x10\
            \xc0\x23\0\x01\0\x01\0\0\0\x3d\0\x04\x01\x02\x03\x04\
            \xc0\x23\0\x1c\0\x01\0\0\0\x3d\0\x10\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\
            \xc0\x23\0\x10\0\x01\0\0\0\x3d\0\x06\x02hi\x02\"!\
            \xc0\x10\0\x06\0\x01\0\0\0\x05\0\x1c\x02ns\0\x02hm\0\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05";
        let value = json(message);
        assert_eq!(value["version"], 3);
        assert_eq!(
            (&value["type"], &value["tx_id"]),
            (&"response".into(), &3.into())
        );
        assert_eq!(value["flags"], "8180");
        assert_eq!((&value["qr"], &value["rd"]), (&true.into(), &true.into()));
        assert_eq!(value["rcode"], "NOERROR");
        assert_eq!(value["queries"][0]["rrname"], "www.a");
        assert_eq!(value["answers"][0]["rdata"], "b.a");
        assert_eq!(value["answers"][1]["ttl"], 61);
        assert_eq!(value["grouped"]["A"][0], "1.2.3.4");
        let long = "2001:0db8:0000:0000:0000:0000:0000:0001";
        assert_eq!(value["grouped"]["AAAA"][0], long);
        assert_eq!(value["grouped"]["TXT"], serde_json::json!(["hi", "\"!"]));
        let texts = (&value["answers"][3]["rdata"], &value["answers"][4]["rdata"]);
        assert_eq!(texts, (&"hi".into(), &"\"!".into()));
        assert_eq!(value["authorities"][0]["soa"]["rname"], "hm");
        assert_eq!(value["authorities"][0]["soa"]["minimum"], 5);
    }

    #[test]
    fn what_is_cut_or_points_to_itself_ends() {
        let question = b"\0\x01\x01\0\0\x02\0\0\0\0\0\0\x01a\0\0\x0f\0\x01\x04lon";
        let value = json(question);
        assert_eq!(value["type"], "request");
        assert_eq!(value["queries"].as_array().unwrap().len(), 1);
        assert_eq!(value["queries"][0]["rrtype"], "MX");
        let own = b"\0\x01\x01\0\0\x01\xff\xff\xff\xff\xff\xff\xc0\x0c\0\x01\0\x01";
        assert!(json(own).get("queries").is_none());
        for length in 0..question.len() {
            json(&question[..length]);
        }
    }
}
