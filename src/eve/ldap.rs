//! Messages of LDAP as the `ldap` object of EVE: read by the event writer from their bytes, which a record
//! carries (RFC 4511 section 4). Names are those that Suricata's readers know. What is cut short ends
//! where its bytes end; passwords are not shown.

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::text::{Bytes, HexBytes, Text};
use super::words;
use crate::app::Field;
use crate::app::record::{Record, Value};
use crate::packet::Direction;

/// Parts of a list that are shown.
const LIST_MAX: usize = 64;

const BIND: u8 = 0;
const BIND_RESPONSE: u8 = 1;
const SEARCH: u8 = 3;
const ENTRY: u8 = 4;
const MODIFY: u8 = 6;
const ADD: u8 = 8;
const DELETE: u8 = 10;
const RENAME: u8 = 12;
const COMPARE: u8 = 14;
const EXTENDED: u8 = 23;
const EXTENDED_RESPONSE: u8 = 24;
const INTERMEDIATE: u8 = 25;

/// Tags (X.690 section 8.1.2).
const OCTETS: u8 = 0x04;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// What is tagged within its context: 0 and 1, primitive; constructed from 0 on.
const CONTEXT: u8 = 0x80;
const CONTEXT_MADE: u8 = 0xa0;

/// The messages of a transaction.
pub struct Messages<'a>(pub Record<'a>);

impl<'a> Messages<'a> {
    fn of(&self, direction: Direction) -> impl Iterator<Item = Message<'a>> + Clone + use<'a> {
        let parts = self
            .0
            .parts()
            .filter(move |part| (part.field, part.direction) == (Field::LdapMessage, direction));
        parts.filter_map(|part| match part.value {
            Value::Bytes(bytes) => Message::read(bytes),
            Value::Number(_) => None,
        })
    }
}

impl Serialize for Messages<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let request = self.of(Direction::ToServer).next();
        if let Some(message) = request {
            map.serialize_entry(
                "request",
                &Shown {
                    message,
                    numbered: true,
                },
            )?;
        }
        let numbered = request.is_none();
        let responses = self.of(Direction::ToClient);
        if responses.clone().next().is_some() {
            let responses = Responses(responses.map(|message| Shown { message, numbered }));
            map.serialize_entry("responses", &responses)?;
        }
        map.end()
    }
}

struct Responses<I>(I);

impl<'a, I: Iterator<Item = Shown<'a>> + Clone> Serialize for Responses<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone())
    }
}

/// What is left of the bytes.
#[derive(Clone, Copy)]
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    /// The next element: its tag and what is there of its content.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let [tag, first, ..] = *self.0 else {
            return None;
        };
        let (start, length) = match first {
            0..=0x7f => (2, usize::from(first)),
            0x81..=0x84 => {
                let count = usize::from(first & 0x7f);
                let digits = self.0.get(2..2 + count)?;
                let fold = |sum: usize, digit: &u8| sum << 8 | usize::from(*digit);
                (2 + count, digits.iter().fold(0, fold))
            }
            _ => return None,
        };
        let end = start.saturating_add(length).min(self.0.len());
        let content = self.0.get(start..end)?;
        self.0 = self.0.get(end..)?;
        Some((tag, content))
    }

    fn take(&mut self, wanted: u8) -> Option<&'a [u8]> {
        let before = *self;
        match self.next() {
            Some((tag, content)) if tag == wanted => Some(content),
            _ => {
                *self = before;
                None
            }
        }
    }

    /// A number of whatever tag: integers, enumerations and truths.
    fn number(&mut self) -> Option<u64> {
        let (_, content) = self.next()?;
        let fold = |sum: u64, digit: &u8| sum << 8 | u64::from(*digit);
        (content.len() <= 8).then(|| content.iter().fold(0, fold))
    }

    fn text(&mut self) -> Option<Text<Bytes<'a>>> {
        self.take(OCTETS).map(shown)
    }

    /// The elements that are left.
    fn elements(self) -> impl Iterator<Item = (u8, &'a [u8])> + Clone {
        let mut rest = self;
        std::iter::from_fn(move || rest.next()).take(LIST_MAX)
    }
}

fn shown(bytes: &[u8]) -> Text<Bytes<'_>> {
    Text(Bytes(bytes))
}

/// A message: its number, its operation and what that says.
#[derive(Clone, Copy)]
struct Message<'a> {
    id: u64,
    operation: u8,
    content: Cursor<'a>,
    /// Behind the operation.
    controls: Option<&'a [u8]>,
}

impl<'a> Message<'a> {
    fn read(bytes: &'a [u8]) -> Option<Message<'a>> {
        let mut inside = Cursor(Cursor(bytes).take(SEQUENCE)?);
        let id = inside.number()?;
        let (tag, content) = inside.next()?;
        Some(Message {
            id,
            operation: tag & 0x1f,
            content: Cursor(content),
            controls: inside.take(CONTEXT_MADE),
        })
    }
}

#[derive(Clone, Copy)]
struct Shown<'a> {
    message: Message<'a>,
    /// Its number is shown.
    numbered: bool,
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let message = self.message;
        let mut map = serializer.serialize_map(None)?;
        if self.numbered {
            map.serialize_entry("message_id", &message.id)?;
        }
        let name = words::ldap(u64::from(message.operation)).unwrap_or("unknown");
        map.serialize_entry("operation", name)?;
        if !matches!(message.operation, 2 | 16 | 19) {
            map.serialize_entry(name, &Operation(message))?;
        }
        if let Some(controls) = message.controls {
            map.serialize_entry("controls", &Controls(Cursor(controls)))?;
        }
        map.end()
    }
}

struct Operation<'a>(Message<'a>);

impl Serialize for Operation<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut at = self.0.content;
        match self.0.operation {
            BIND => bind(&mut map, at)?,
            SEARCH => search(&mut map, at)?,
            ENTRY => {
                optional(&mut map, "base_object", at.text())?;
                if let Some(list) = at.take(SEQUENCE) {
                    attributes(&mut map, "attributes", "type", list)?;
                }
            }
            MODIFY => {
                optional(&mut map, "object", at.text())?;
                if let Some(changes) = at.take(SEQUENCE).filter(|list| !list.is_empty()) {
                    map.serialize_entry("changes", &Changes(Cursor(changes)))?;
                }
            }
            ADD => {
                optional(&mut map, "entry", at.text())?;
                if let Some(list) = at.take(SEQUENCE) {
                    attributes(&mut map, "attributes", "name", list)?;
                }
            }
            DELETE => map.serialize_entry("dn", &shown(at.0))?,
            RENAME => {
                optional(&mut map, "entry", at.text())?;
                optional(&mut map, "new_rdn", at.text())?;
                optional(
                    &mut map,
                    "delete_old_rdn",
                    at.number().map(|truth| truth != 0),
                )?;
                optional(&mut map, "new_superior", at.take(CONTEXT).map(shown))?;
            }
            COMPARE => {
                optional(&mut map, "entry", at.text())?;
                if let Some(assertion) = at.take(SEQUENCE) {
                    let assertion = Assertion(Cursor(assertion));
                    map.serialize_entry("attribute_value_assertion", &assertion)?;
                }
            }
            EXTENDED | INTERMEDIATE => {
                optional(&mut map, "name", at.take(CONTEXT).map(shown))?;
                optional(&mut map, "value", at.take(CONTEXT | 1).map(shown))?;
            }
            operation => result(&mut map, operation, at)?,
        }
        map.end()
    }
}

fn optional<M: SerializeMap>(
    map: &mut M,
    key: &str,
    value: Option<impl Serialize>,
) -> Result<(), M::Error> {
    match value {
        Some(value) => map.serialize_entry(key, &value),
        None => Ok(()),
    }
}

/// Section 4.2.
fn bind<M: SerializeMap>(map: &mut M, mut at: Cursor<'_>) -> Result<(), M::Error> {
    optional(map, "version", at.number())?;
    optional(map, "name", at.text())?;
    match at.take(CONTEXT_MADE | 3) {
        Some(sasl) => map.serialize_entry("sasl", &Sasl(Cursor(sasl))),
        None => Ok(()),
    }
}

struct Sasl<'a>(Cursor<'a>);

impl Serialize for Sasl<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut at = self.0;
        let mut map = serializer.serialize_map(None)?;
        optional(&mut map, "mechanism", at.text())?;
        let credentials = at.take(OCTETS).map(|bytes| Text(HexBytes(bytes)));
        optional(&mut map, "credentials", credentials)?;
        map.end()
    }
}

/// Section 4.5.1.
fn search<M: SerializeMap>(map: &mut M, mut at: Cursor<'_>) -> Result<(), M::Error> {
    optional(map, "base_object", at.text())?;
    for key in ["scope", "deref_alias", "size_limit", "time_limit"] {
        optional(map, key, at.number())?;
    }
    optional(map, "types_only", at.number().map(|truth| truth != 0))?;
    // A filter that an attribute is present; others are not shown.
    if let Some((0x87, name)) = at.next() {
        map.serialize_entry("filter", &Present(name))?;
    }
    if let Some(list) = at.take(SEQUENCE).filter(|list| !list.is_empty()) {
        map.serialize_entry("attributes", &Texts(Cursor(list)))?;
    }
    Ok(())
}

struct Present<'a>(&'a [u8]);

impl Serialize for Present<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("type", "present")?;
        map.serialize_entry("value", &shown(self.0))?;
        map.end()
    }
}

struct Texts<'a>(Cursor<'a>);

impl Serialize for Texts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.elements().map(|(_, text)| shown(text)))
    }
}

/// Attributes with their values (section 4.1.7); `name`: the key of an attribute's description.
fn attributes<M: SerializeMap>(
    map: &mut M,
    key: &str,
    name: &'static str,
    list: &[u8],
) -> Result<(), M::Error> {
    match list {
        [] => Ok(()),
        list => map.serialize_entry(key, &Attributes(Cursor(list), name)),
    }
}

struct Attributes<'a>(Cursor<'a>, &'static str);

impl Serialize for Attributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let keys = (self.1, "values");
        let each = self.0.elements();
        serializer.collect_seq(each.map(|(_, content)| Attribute(Cursor(content), keys)))
    }
}

struct Attribute<'a>(Cursor<'a>, (&'static str, &'static str));

impl Serialize for Attribute<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (mut at, (name, values)) = (self.0, self.1);
        let mut map = serializer.serialize_map(None)?;
        optional(&mut map, name, at.text())?;
        if let Some(set) = at.take(SET).filter(|set| !set.is_empty()) {
            map.serialize_entry(values, &Texts(Cursor(set)))?;
        }
        map.end()
    }
}

/// Section 4.6.
struct Changes<'a>(Cursor<'a>);

impl Serialize for Changes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for (_, change) in self.0.elements() {
            list.serialize_element(&Change(Cursor(change)))?;
        }
        list.end()
    }
}

struct Change<'a>(Cursor<'a>);

impl Serialize for Change<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut at = self.0;
        let mut map = serializer.serialize_map(None)?;
        let operation = match at.number() {
            Some(0) => "add",
            Some(1) => "delete",
            Some(2) => "replace",
            Some(3) => "increment",
            _ => "unknown",
        };
        map.serialize_entry("operation", operation)?;
        if let Some(attribute) = at.take(SEQUENCE) {
            let keys = ("attribute_type", "attribute_values");
            map.serialize_entry("modification", &Attribute(Cursor(attribute), keys))?;
        }
        map.end()
    }
}

/// Section 4.10.
struct Assertion<'a>(Cursor<'a>);

impl Serialize for Assertion<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut at = self.0;
        let mut map = serializer.serialize_map(None)?;
        optional(&mut map, "description", at.text())?;
        optional(&mut map, "value", at.text())?;
        map.end()
    }
}

/// Section 4.1.9, and what some answers have behind it.
fn result<M: SerializeMap>(map: &mut M, operation: u8, mut at: Cursor<'_>) -> Result<(), M::Error> {
    if let Some(code) = at.number() {
        let text = words::text(Field::LdapResponsesResultCode, code);
        optional(map, "result_code", text.map(Text))?;
    }
    optional(map, "matched_dn", at.text())?;
    optional(map, "message", at.text())?;
    // Referrals.
    at.take(CONTEXT_MADE | 3);
    match operation {
        BIND_RESPONSE => {
            let credentials = at.take(CONTEXT | 7).map(|bytes| Text(HexBytes(bytes)));
            optional(map, "server_sasl_creds", credentials)
        }
        EXTENDED_RESPONSE => {
            optional(map, "name", at.take(CONTEXT | 10).map(shown))?;
            optional(map, "value", at.take(CONTEXT | 11).map(shown))
        }
        _ => Ok(()),
    }
}

/// Section 4.1.11.
struct Controls<'a>(Cursor<'a>);

impl Serialize for Controls<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let each = self.0.elements();
        serializer.collect_seq(each.map(|(_, control)| Control(Cursor(control))))
    }
}

struct Control<'a>(Cursor<'a>);

impl Serialize for Control<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const BOOLEAN: u8 = 1;
        let mut at = self.0;
        let mut map = serializer.serialize_map(None)?;
        optional(&mut map, "control_type", at.text())?;
        let critical = at.take(BOOLEAN).is_some_and(|truth| truth != [0]);
        map.serialize_entry("criticality", &critical)?;
        let value = at.take(OCTETS).map(|bytes| Text(HexBytes(bytes)));
        optional(&mut map, "control_value", value)?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
        [&[tag, content.len() as u8], content].concat()
    }

    fn message(operation: u8, content: &[u8]) -> Vec<u8> {
        wrap(
            SEQUENCE,
            &[wrap(2, &[7]), wrap(operation, content)].concat(),
        )
    }

    fn value_of(bytes: &[u8]) -> Json {
        for length in 0..bytes.len() {
            let message = Message::read(&bytes[..length]);
            let numbered = true;
            message.map(|message| serde_json::to_value(Shown { message, numbered }).unwrap());
        }
        let message = Message::read(bytes).unwrap();
        serde_json::to_value(Shown {
            message,
            numbered: true,
        })
        .unwrap()
    }

    #[test]
    fn a_search_and_what_it_finds() {
        let numbers = [wrap(10, &[2]), wrap(10, &[0]), wrap(2, &[0]), wrap(2, &[9])].concat();
        let content = [
            wrap(OCTETS, b"dc=a"),
            numbers,
            wrap(1, &[0]),
            wrap(0x87, b"objectClass"),
            wrap(SEQUENCE, &wrap(OCTETS, b"cn")),
        ]
        .concat();
        let search = json!({"base_object": "dc=a", "scope": 2, "deref_alias": 0, "size_limit": 0,
            "time_limit": 9, "types_only": false, "attributes": ["cn"],
            "filter": {"type": "present", "value": "objectClass"}});
        let expected = json!({"message_id": 7, "operation": "search_request",
            "search_request": search});
        assert_eq!(value_of(&message(0x63, &content)), expected);
        let values = wrap(SET, &wrap(OCTETS, b"x"));
        let attribute = wrap(SEQUENCE, &[wrap(OCTETS, b"cn"), values].concat());
        let entry = [wrap(OCTETS, b"cn=x"), wrap(SEQUENCE, &attribute)].concat();
        let value = value_of(&message(0x64, &entry));
        let attributes = json!([{"type": "cn", "values": ["x"]}]);
        let expected = json!({"base_object": "cn=x", "attributes": attributes});
        assert_eq!(value["search_result_entry"], expected);
    }

    #[test]
    fn a_bind_without_its_password_and_its_answer() {
        let content = [wrap(2, &[3]), wrap(OCTETS, b"cn=me"), wrap(0x80, b"secret")].concat();
        let value = value_of(&message(0x60, &content));
        assert_eq!(
            value["bind_request"],
            json!({"version": 3, "name": "cn=me"})
        );
        let content = [wrap(10, &[49]), wrap(OCTETS, b""), wrap(OCTETS, b"no")].concat();
        let value = value_of(&message(0x61, &content));
        let expected = json!({"result_code": "invalid_credentials", "matched_dn": "",
            "message": "no"});
        assert_eq!(value["bind_response"], expected);
    }

    #[test]
    fn changes_and_extensions() {
        let values = wrap(SET, &wrap(OCTETS, b"v"));
        let attribute = wrap(SEQUENCE, &[wrap(OCTETS, b"a"), values].concat());
        let change = wrap(SEQUENCE, &[wrap(10, &[2]), attribute].concat());
        let content = [wrap(OCTETS, b"cn=x"), wrap(SEQUENCE, &change)].concat();
        let value = value_of(&message(0x66, &content));
        let modification = json!({"attribute_type": "a", "attribute_values": ["v"]});
        let changes = json!([{"operation": "replace", "modification": modification}]);
        let expected = json!({"object": "cn=x", "changes": changes});
        assert_eq!(value["modify_request"], expected);
        let value = value_of(&message(0x77, &wrap(0x80, b"1.3.6")));
        assert_eq!(value["extended_request"], json!({"name": "1.3.6"}));
        assert_eq!(value_of(&message(0x42, b""))["operation"], "unbind_request");
    }
}
