//! A message of mDNS or LLMNR as the `mdns` or `llmnr` object of EVE: the bytes are read by dns.rs, the
//! shape is this object's own: flags are a list of words, kinds stand in small letters, and the data
//! of a record stand under the name of its kind (RFC 6762 section 18, RFC 4795 section 2.1.1).

use std::fmt;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::dns::{Entry, Kind, Message, SECTIONS, Shown, Value};

/// Flags of mDNS, highest first.
const MDNS: [(u16, &str); 7] = [
    (0x0400, "aa"),
    (0x0200, "tc"),
    (0x0100, "rd"),
    (0x0080, "ra"),
    (0x0040, "z"),
    (0x0020, "ad"),
    (0x0010, "cd"),
];
/// Flags of LLMNR: conflict, truncation, tentative.
const LLMNR: [(u16, &str); 3] = [(0x0400, "c"), (0x0200, "tc"), (0x0100, "t")];

/// The object; `llmnr`: that of LLMNR.
pub struct Local<'a> {
    /// The message.
    pub message: Message<'a>,
    /// Whose.
    pub llmnr: bool,
}

impl Serialize for Local<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (message, flags) = (self.message, self.message.flags());
        let mut map = serializer.serialize_map(None)?;
        let response = flags & 0x8000 != 0;
        map.serialize_entry("type", if response { "response" } else { "request" })?;
        map.serialize_entry("id", &message.word(0).unwrap_or(0))?;
        let words: &[(u16, &str)] = if self.llmnr { &LLMNR } else { &MDNS };
        if words.iter().any(|(bit, _)| flags & bit != 0) {
            map.serialize_entry("flags", &Flags(flags, words))?;
        }
        map.serialize_entry("opcode", &(flags >> 11 & 15))?;
        if !self.llmnr {
            map.serialize_entry("rcode", &(flags & 15))?;
        }
        for (key, section) in [("queries", 0)].iter().chain(&SECTIONS) {
            if message.records(*section).next().is_some() {
                map.serialize_entry(key, &Section(message, *section))?;
            }
        }
        map.end()
    }
}

struct Flags(u16, &'static [(u16, &'static str)]);

impl Serialize for Flags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let set = self.1.iter().filter(|(bit, _)| self.0 & bit != 0);
        serializer.collect_seq(set.map(|(_, word)| word))
    }
}

struct Section<'a>(Message<'a>, usize);

impl Serialize for Section<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let question = self.1 == 0;
        let entries = self.0.records(self.1);
        serializer.collect_seq(entries.map(|entry| Row { entry, question }))
    }
}

/// A question or a record.
struct Row<'a> {
    entry: Entry<'a>,
    question: bool,
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.entry.name(&mut map)?;
        let kind = Shown(Small(Kind(self.entry.kind())));
        if self.question {
            map.serialize_entry("rrtype", &kind)?;
        } else {
            map.serialize_entry(&kind, &Value(self.entry))?;
        }
        map.end()
    }
}

/// A name of ASCII in small letters.
struct Small<T>(T);

impl<T: fmt::Display> fmt::Display for Small<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Lower<'a, 'b>(&'a mut fmt::Formatter<'b>);
        impl fmt::Write for Lower<'_, '_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                text.chars().try_for_each(|letter| self.write_char(letter))
            }
            fn write_char(&mut self, letter: char) -> fmt::Result {
                self.0.write_char(letter.to_ascii_lowercase())
            }
        }
        use fmt::Write;
        write!(Lower(f), "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_answer_of_mdns_and_one_of_llmnr() {
        let bytes = b"\0\0\x84\0\0\x01\0\x02\0\0\0\x02\x02ab\0\0\x0c\0\x01\
            \xc0\x0c\0\x0c\0\x01\0\0\0\x0a\0\x04\x01x\xc0\x0c\
            \xc0\x0c\0\x10\0\x01\0\0\0\x0a\0\x05\x01a\x02bc\
            \xc0\x0c\0\x21\0\x01\0\0\0\x0a\0\x08\0\0\0\0\x1f\x90\xc0\x0c\
            \0\0\x29\x05\xa0\0\0\0\0\0\0";
        let message = Message::new(bytes, 0, true);
        let value = |llmnr| serde_json::to_value(Local { message, llmnr }).unwrap();
        let answers =
            json!([{"rrname": "ab", "ptr": "x.ab"}, {"rrname": "ab", "txt": ["a", "bc"]}]);
        let srv = json!({"priority": 0, "weight": 0, "port": 8080, "name": "ab"});
        let expected = json!({"type": "response", "id": 0, "flags": ["aa"], "opcode": 0, "rcode": 0,
            "queries": [{"rrname": "ab", "rrtype": "ptr"}], "answers": answers,
            "additionals": [{"rrname": "ab", "srv": srv}]});
        assert_eq!(value(false), expected);
        let llmnr = value(true);
        assert_eq!(
            (&llmnr["flags"], &llmnr["rcode"]),
            (&json!(["c"]), &json!(null))
        );
        for length in 0..bytes.len() {
            let message = Message::new(&bytes[..length], 0, true);
            serde_json::to_value(Local {
                message,
                llmnr: true,
            })
            .unwrap();
        }
    }
}
