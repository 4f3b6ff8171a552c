//! A transaction of PostgreSQL as the `pgsql` object of EVE: its requests and responses, read by the
//! event writer from their messages, which a record carries (PostgreSQL's documentation, chapter on
//! message formats). Names of keys are those that Suricata's readers know.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::text::{Bytes, Text};
use crate::app::Field;
use crate::app::pgsql::told;
use crate::app::reader::{Reader, until_zero};
use crate::app::record::{Part, Record, Value};
use crate::packet::Direction;

/// Parameters and fields of a message that are told.
const FIELDS_MAX: usize = 64;

/// See the file's head.
pub struct Exchange<'a>(pub Record<'a>);

impl<'a> Exchange<'a> {
    /// Messages of a direction: what kind, and what is in them.
    fn messages(&self, direction: Direction) -> impl Iterator<Item = (u8, &'a [u8])> + Clone {
        let message = move |part: Part<'a>| match part.value {
            Value::Bytes(bytes) if (part.field, part.direction) == (FIELD, direction) => {
                let (kind, content) = bytes.split_first()?;
                Some((*kind, content))
            }
            _ => None,
        };
        self.0.parts().filter_map(message)
    }
}

const FIELD: Field = Field::PgsqlMessage;

impl Serialize for Exchange<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("tx_id", &(u64::from(self.0.number()) + 1))?;
        if self.messages(Direction::ToServer).next().is_some() {
            map.serialize_entry("request", &Requests(self))?;
        }
        if self.messages(Direction::ToClient).next().is_some() {
            map.serialize_entry("response", &Responses(self))?;
        }
        map.end()
    }
}

struct Requests<'a, 'b>(&'b Exchange<'a>);

impl Serialize for Requests<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (kind, content) in self.0.messages(Direction::ToServer) {
            request(&mut map, self.0.0, kind, content)?;
        }
        map.end()
    }
}

fn request<M: SerializeMap>(
    map: &mut M,
    record: Record<'_>,
    kind: u8,
    content: &[u8],
) -> Result<(), M::Error> {
    let mut at = Reader::new(content);
    match kind {
        told::STARTUP => {
            let (Some(major), Some(minor)) = (at.u16(), at.u16()) else {
                return Ok(());
            };
            map.serialize_entry("protocol_version", &Text(format_args!("{major}.{minor}")))?;
            map.serialize_entry("startup_parameters", &Startup(at.rest()))
        }
        told::TLS => map.serialize_entry("message", "SSL Request"),
        told::CANCEL => {
            map.serialize_entry("message", "cancel_request")?;
            process(map, content)
        }
        told::SASL_FIRST => {
            let (mechanism, rest) = until_zero(content).unwrap_or((content, &[]));
            let name = match mechanism {
                b"SCRAM-SHA-256" => "scram_SHA256",
                b"SCRAM-SHA-256-PLUS" => "scram_SHA256_plus",
                _ => return Ok(()),
            };
            map.serialize_entry("sasl_authentication_mechanism", name)?;
            map.serialize_entry("sasl_param", &Text(Bytes(rest.get(4..).unwrap_or(&[]))))
        }
        told::SASL => map.serialize_entry("sasl_response", &Text(Bytes(content))),
        told::PASSWORD => map.serialize_entry("password_redacted", &true),
        b'Q' => match record.bytes(Field::PgsqlQuery) {
            Some(query) => map.serialize_entry("simple_query", &Text(Bytes(query))),
            None => Ok(()),
        },
        b'd' => map.serialize_entry("copy_data_in", &Rows(content, "msg_count")),
        b'c' => map.serialize_entry("message", "copy_done"),
        b'f' => map.serialize_entry("copy_fail", &Text(Bytes(content))),
        b'X' => map.serialize_entry("message", "termination_message"),
        _ => Ok(()),
    }
}

/// Number of a server's process, and the key with which a client cancels what it does.
fn process<M: SerializeMap>(map: &mut M, content: &[u8]) -> Result<(), M::Error> {
    let mut at = Reader::new(content);
    for key in ["process_id", "secret_key"] {
        if let Some(number) = at.u32() {
            map.serialize_entry(key, &number)?;
        }
    }
    Ok(())
}

/// Names and values, up to an empty name.
fn parameters(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
    let mut rest = bytes;
    let next = move || {
        let (name, after) = until_zero(rest).filter(|(name, _)| !name.is_empty())?;
        let (value, after) = until_zero(after)?;
        rest = after;
        Some((name, value))
    };
    std::iter::from_fn(next).take(FIELDS_MAX)
}

/// A parameter as an object of its own.
struct Parameter<'a>((&'a [u8], &'a [u8]));

impl Serialize for Parameter<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (name, value) = self.0;
        let name = match name {
            b"DateStyle" => &b"date_style"[..],
            b"IntervalStyle" => b"interval_style",
            b"TimeZone" => b"time_zone",
            name => name,
        };
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(&Text(Bytes(name)), &Text(Bytes(value)))?;
        map.end()
    }
}

/// What a client begins with: its user, and the rest.
struct Startup<'a>(&'a [u8]);

impl Serialize for Startup<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let is_user = |parameter: &(&[u8], &[u8])| parameter.0 == b"user";
        let mut map = serializer.serialize_map(None)?;
        if let Some((_, user)) = parameters(self.0).find(is_user) {
            map.serialize_entry("user", &Text(Bytes(user)))?;
        }
        let others = parameters(self.0).filter(|parameter| !is_user(parameter));
        if others.clone().next().is_some() {
            map.serialize_entry("optional_parameters", &List(others))?;
        }
        map.end()
    }
}

struct List<I>(I);

impl<'a, I: Iterator<Item = (&'a [u8], &'a [u8])> + Clone> Serialize for List<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone().map(Parameter))
    }
}

/// Rows and their bytes; how their number is called.
struct Rows<'a>(&'a [u8], &'static str);

impl Rows<'_> {
    fn numbers(&self) -> (u64, u64) {
        let mut at = Reader::new(self.0);
        let mut number = || at.array().map_or(0, u64::from_be_bytes);
        (number(), number())
    }
}

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (rows, bytes) = self.numbers();
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry(self.1, &rows)?;
        map.serialize_entry("data_size", &bytes)?;
        map.end()
    }
}

struct Responses<'a, 'b>(&'b Exchange<'a>);

impl Serialize for Responses<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let all = self.0.messages(Direction::ToClient);
        let mut map = serializer.serialize_map(None)?;
        let statuses = all.clone().filter(|(kind, _)| *kind == b'S');
        if statuses.clone().next().is_some() {
            let parameters = statuses.flat_map(|(_, content)| parameters(content).take(1));
            map.serialize_entry("parameter_status", &List(parameters))?;
        }
        // A key stands once: what comes last counts.
        let word = |(kind, content): (u8, &[u8])| message_word(kind, content);
        if let Some(word) = all.clone().filter_map(word).last() {
            map.serialize_entry("message", word)?;
        }
        for (kind, content) in all {
            response(&mut map, kind, content)?;
        }
        map.end()
    }
}

/// Messages that are told by their names alone.
fn message_word(kind: u8, content: &[u8]) -> Option<&'static str> {
    match (kind, Reader::new(content).u32()) {
        (b'R', Some(0)) => Some("authentication_ok"),
        (b'R', Some(3)) => Some("authentication_cleartext_password"),
        (b'R', Some(10)) => Some("authentication_sasl"),
        (b'R', Some(11)) => Some("authentication_sasl_continue"),
        (b'c', _) => Some("copy_done"),
        _ => None,
    }
}

fn response<M: SerializeMap>(map: &mut M, kind: u8, content: &[u8]) -> Result<(), M::Error> {
    let mut at = Reader::new(content);
    match kind {
        told::TLS => map.serialize_entry("ssl_accepted", &(content == b"S")),
        b'E' => errors(map, content),
        b'R' => {
            let key = match at.u32() {
                Some(5) => "authentication_md5_password",
                Some(9) => "authentication_sspi",
                Some(12) => "authentication_sasl_final",
                _ => return Ok(()),
            };
            map.serialize_entry(key, &Text(Bytes(at.rest())))
        }
        b'C' => {
            let (command, _) = until_zero(content).unwrap_or((content, &[]));
            map.serialize_entry("command_completed", &Text(Bytes(command)))
        }
        b'H' | b'G' => {
            let key = match kind {
                b'H' => "copy_out_response",
                _ => "copy_in_response",
            };
            map.serialize_entry(
                key,
                &Columns {
                    columns: at.u8().and(at.u16()).unwrap_or(0),
                },
            )
        }
        b'K' => process(map, content),
        b'd' => map.serialize_entry("copy_data_out", &Rows(content, "row_count")),
        b'T' => map.serialize_entry("field_count", &at.u16().unwrap_or(0)),
        b'D' => {
            let (rows, bytes) = Rows(content, "").numbers();
            map.serialize_entry("data_rows", &rows)?;
            map.serialize_entry("data_size", &bytes)
        }
        _ => Ok(()),
    }
}

#[derive(Serialize)]
struct Columns {
    columns: u16,
}

/// The fields of an error (chapter on error and notice fields).
fn errors<M: SerializeMap>(map: &mut M, content: &[u8]) -> Result<(), M::Error> {
    let mut rest = content;
    for _ in 0..FIELDS_MAX {
        let Some((kind, after)) = rest.split_first().filter(|(kind, _)| **kind != 0) else {
            break;
        };
        let Some((value, after)) = until_zero(after) else {
            break;
        };
        rest = after;
        let key = match kind {
            b'S' => "severity_localizable",
            b'V' => "severity_non_localizable",
            b'C' => "code",
            b'M' => "message",
            b'D' => "detail",
            b'H' => "hint",
            b'P' => "position",
            b'p' => "internal_position",
            b'q' => "internal_query",
            b'W' => "where",
            b's' => "schema_name",
            b't' => "table_name",
            b'c' => "column_name",
            b'd' => "data_type",
            b'n' => "constraint_name",
            b'F' => "file",
            b'L' => "line",
            b'R' => "routine",
            _ => "unknown_field_type",
        };
        map.serialize_entry(key, &Text(Bytes(value)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::app::AppProtocol;
    use crate::packet::Direction::{ToClient as C, ToServer as S};

    /// What a transaction of these messages is told as.
    fn told_as(query: &[u8], messages: &[(Direction, u8, &[u8])]) -> Json {
        let mut bytes = vec![AppProtocol::Pgsql as u8, 6, 0, 0, 0];
        let mut part = |field: Field, direction: Direction, value: &[u8]| {
            bytes.extend((field as u16).to_le_bytes());
            bytes.push(u8::from(direction == C));
            bytes.extend((value.len() as u16).to_le_bytes());
            bytes.extend(value);
        };
        for (direction, kind, content) in messages {
            part(FIELD, *direction, &[&[*kind], *content].concat());
        }
        if !query.is_empty() {
            part(Field::PgsqlQuery, S, query);
        }
        serde_json::to_value(Exchange(Record::new(&bytes).unwrap())).unwrap()
    }

    #[test]
    fn a_login_is_told_without_its_password() {
        let begin = told_as(
            b"",
            &[
                (S, told::STARTUP, b"\0\x03\0\0user\0me\0database\0db\0\0"),
                (C, b'R', b"\0\0\0\x05salt"),
            ],
        );
        let startup = json!({"user": "me", "optional_parameters": [{"database": "db"}]});
        let request = json!({"protocol_version": "3.0", "startup_parameters": startup});
        let response = json!({"authentication_md5_password": "salt"});
        assert_eq!(
            begin,
            json!({"tx_id": 7, "request": request, "response": response})
        );
        let login = told_as(
            b"",
            &[
                (S, told::PASSWORD, b""),
                (C, b'R', b"\0\0\0\0"),
                (C, b'S', b"DateStyle\0ISO, MDY\0"),
                (C, b'S', b"is_superuser\0on\0"),
                (C, b'K', b"\0\0\0\x05\0\0\0\x06"),
                (C, b'Z', b"I"),
            ],
        );
        let status = json!([{"date_style": "ISO, MDY"}, {"is_superuser": "on"}]);
        let response = json!({"message": "authentication_ok", "parameter_status": status,
            "process_id": 5, "secret_key": 6});
        let request = json!({"password_redacted": true});
        assert_eq!(
            login,
            json!({"tx_id": 7, "request": request, "response": response})
        );
    }

    #[test]
    fn a_query_is_told_with_its_answer() {
        let mut rows = 3u64.to_be_bytes().to_vec();
        rows.extend(40u64.to_be_bytes());
        let query = told_as(
            b"select 1",
            &[
                (S, b'Q', b""),
                (C, b'T', b"\0\x02"),
                (C, b'D', &rows),
                (C, b'C', b"SELECT 3\0"),
                (C, b'Z', b"I"),
            ],
        );
        let response = json!({"field_count": 2, "data_rows": 3, "data_size": 40,
            "command_completed": "SELECT 3"});
        let request = json!({"simple_query": "select 1"});
        assert_eq!(
            query,
            json!({"tx_id": 7, "request": request, "response": response})
        );
        let failed = told_as(
            b"x",
            &[(S, b'Q', b""), (C, b'E', b"SERROR\0C42601\0Mno\0\0")],
        );
        let response = json!({"severity_localizable": "ERROR", "code": "42601", "message": "no"});
        assert_eq!(failed["response"], response);
        let copied = told_as(
            b"",
            &[(S, b'd', &rows), (S, b'c', b""), (C, b'C', b"COPY 3\0")],
        );
        let request = json!({"copy_data_in": {"msg_count": 3, "data_size": 40},
            "message": "copy_done"});
        assert_eq!(copied["request"], request);
    }

    #[test]
    fn what_replaces_a_startup_is_told() {
        let tls = told_as(b"", &[(S, told::TLS, b""), (C, told::TLS, b"N")]);
        assert_eq!(tls["request"], json!({"message": "SSL Request"}));
        assert_eq!(tls["response"], json!({"ssl_accepted": false}));
        let cancel = told_as(b"", &[(S, told::CANCEL, b"\0\0\0\x01\0\0\0\x02")]);
        let request = json!({"message": "cancel_request", "process_id": 1, "secret_key": 2});
        assert_eq!(cancel, json!({"tx_id": 7, "request": request}));
        let first = b"SCRAM-SHA-256\0\0\0\0\x03n,,";
        let sasl = told_as(
            b"",
            &[(S, told::SASL_FIRST, first), (C, b'R', b"\0\0\0\x0bx")],
        );
        let request = json!({"sasl_authentication_mechanism": "scram_SHA256", "sasl_param": "n,,"});
        assert_eq!(sasl["request"], request);
        assert_eq!(
            sasl["response"],
            json!({"message": "authentication_sasl_continue"})
        );
    }
}
