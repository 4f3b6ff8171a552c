//! Every keyword of the rule language: its spellings, how its value is written, what family it is.
//!
//! The facts come from the public Suricata 8 user guide. What this build can execute is another
//! matter and stands in support.rs. The rows are in keyword_table.rs.

use std::sync::OnceLock;

use hashbrown::HashMap;

use crate::packet::Direction;
use crate::rules::diagnostic::nearest;
use crate::rules::keyword_table;

/// Whether a keyword takes a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// No value.
    Nothing,
    /// A value or none.
    Optional,
    /// A value.
    Value,
}

/// Whether the value is quoted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quotes {
    /// Never.
    No,
    /// With or without.
    Maybe,
    /// Always.
    Must,
}

/// Which direction of the flow carries a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Requests.
    ToServer,
    /// Responses.
    ToClient,
    /// Either.
    Both,
}

impl Side {
    /// The one direction, if it is one.
    pub fn direction(self) -> Option<Direction> {
        match self {
            Side::ToServer => Some(Direction::ToServer),
            Side::ToClient => Some(Direction::ToClient),
            Side::Both => None,
        }
    }
}

/// A sticky buffer.
#[derive(PartialEq, Eq, Debug)]
pub struct BufferRow {
    /// Its name.
    pub name: &'static str,
    /// Older names.
    pub aliases: &'static [&'static str],
    /// Application protocol, or "" for packet views and for files (several protocols).
    pub protocol: &'static str,
    /// Direction.
    pub side: Side,
    /// Named twice means two instances (multi-buffer matching of the guide).
    pub multiple: bool,
}

impl BufferRow {
    /// Whether it is a view of the packet (and not of the application layer).
    pub fn of_packet(&self) -> bool {
        keyword_table::PACKET_BUFFERS
            .iter()
            .any(|row| row.name == self.name)
    }

    /// Whether both names are one buffer: the response body of HTTP is its file data.
    pub fn same(&self, other: &BufferRow) -> bool {
        let plain = |name: &'static str| match name {
            "http.response_body" => "file.data",
            name => name,
        };
        plain(self.name) == plain(other.name)
    }
}

/// What a keyword is for: which module parses it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// Says something about the rule.
    Meta,
    /// `content`, `pcre` and the other tests within a buffer.
    Payload,
    /// Changes the content before it.
    Modifier,
    /// Header and packet tests.
    Packet,
    /// `flow`, bits, counters, thresholds.
    State,
    /// Changes the buffer before it.
    Transform,
    /// Sticky buffer: row of `keyword_table::BUFFERS`.
    Buffer(&'static BufferRow),
    /// Old content modifier that moves the content into that buffer.
    Legacy(&'static BufferRow),
    /// Test of an application protocol (or "" if of several) that is no buffer.
    App(&'static str),
    /// Known, and of none of these.
    Other,
}

/// A keyword.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keyword {
    /// Its present name.
    pub name: &'static str,
    /// Value.
    pub form: Form,
    /// Quotes.
    pub quotes: Quotes,
    /// `!` before the value negates it.
    pub negatable: bool,
    /// Family.
    pub family: Family,
    /// The rule looks at packets, never at the stream.
    pub packet_only: bool,
}

/// The table by lower-case spelling.
fn table() -> &'static HashMap<&'static str, Keyword> {
    static TABLE: OnceLock<HashMap<&'static str, Keyword>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut all = HashMap::new();
        for (spelling, keyword) in keyword_table::rows() {
            all.insert(spelling, keyword);
        }
        all
    })
}

/// The keyword with this spelling; case does not matter.
pub fn lookup(spelling: &str) -> Option<&'static Keyword> {
    let table = table();
    if let Some(found) = table.get(spelling) {
        return Some(found);
    }
    table.get(spelling.to_ascii_lowercase().as_str())
}

/// Every spelling.
pub fn spellings() -> impl Iterator<Item = &'static str> {
    table().keys().copied()
}

/// The keyword that was probably meant.
pub fn suggest(spelling: &str) -> Option<&'static str> {
    nearest(spelling, spellings())
}

/// The row of a buffer, by any of its names.
pub fn buffer(name: &str) -> Option<&'static BufferRow> {
    match lookup(name)?.family {
        Family::Buffer(row) | Family::Legacy(row) => Some(row),
        _ => None,
    }
}

/// Tests of applications that look at one direction alone, as Suricata's do: they make a rule that names
/// no direction one of theirs. (`mqtt.connack.session_present` is none of them: what answers a client
/// stands in the client's transaction, and in the direction of the server it would never be seen.)
static TEST_SIDES: &[(&str, Side)] = &[
    ("ike.chosen_sa_attribute", Side::ToClient),
    ("krb5.ticket_encryption", Side::ToClient),
    ("ldap.request.operation", Side::ToServer),
    ("ldap.responses.operation", Side::ToClient),
    ("ldap.responses.count", Side::ToClient),
    ("ldap.responses.result_code", Side::ToClient),
    ("modbus", Side::ToServer),
    ("mqtt.qos", Side::ToServer),
    ("mqtt.flags", Side::ToServer),
    ("mqtt.protocol_version", Side::ToServer),
    ("mqtt.connect.flags", Side::ToServer),
    ("nfs_procedure", Side::ToServer),
    ("nfs.version", Side::ToServer),
    ("rfb.sectype", Side::ToServer),
    ("rfb.secresult", Side::ToClient),
];

/// The direction that a test of an application protocol looks at.
pub fn test_side(name: &str) -> Side {
    let found = TEST_SIDES.iter().find(|(known, _)| *known == name);
    found.map_or(Side::Both, |(_, side)| *side)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_are_unique() {
        let mut seen = std::collections::BTreeSet::new();
        for (spelling, _) in keyword_table::rows() {
            assert!(seen.insert(spelling), "{spelling} stands twice");
            assert_eq!(spelling, spelling.to_ascii_lowercase());
        }
        assert!(seen.len() > 350, "{} spellings", seen.len());
    }

    #[test]
    fn tests_of_one_direction_are_tests() {
        for (name, side) in TEST_SIDES {
            let keyword = lookup(name).unwrap();
            assert_eq!(keyword.name, *name);
            assert!(matches!(keyword.family, Family::App(_)), "{name}");
            assert!(side.direction().is_some() && test_side(name) == *side);
        }
        assert_eq!(test_side("mqtt.type"), Side::Both);
    }

    #[test]
    fn old_and_new_names_are_one_buffer() {
        assert_eq!(buffer("http_uri").unwrap().name, "http.uri");
        assert_eq!(buffer("HTTP.URI").unwrap().name, "http.uri");
        assert_eq!(lookup("flags").unwrap().name, "tcp.flags");
        assert_eq!(suggest("contnet"), Some("content"));
    }
}
