//! A command of POP3 and its answer as the `pop3` object of EVE (RFC 1939).

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::text::{Bytes, Text};
use crate::app::Field;
use crate::app::record::{Record, Value};

/// The object.
pub struct Exchange<'a>(pub Record<'a>);

impl<'a> Exchange<'a> {
    fn texts(&self, field: Field) -> impl Iterator<Item = Text<Bytes<'a>>> + use<'a> {
        let parts = self.0.parts().filter(move |part| part.field == field);
        parts.filter_map(|part| match part.value {
            Value::Bytes(bytes) => Some(Text(Bytes(bytes))),
            Value::Number(_) => None,
        })
    }

    fn status(&self) -> Option<bool> {
        let status = self.0.value(Field::Pop3Status)?;
        Some(status == Value::Number(1))
    }
}

impl Serialize for Exchange<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if self.texts(Field::Pop3Command).next().is_some() {
            map.serialize_entry("request", &Request(self))?;
        }
        if self.status().is_some() {
            map.serialize_entry("response", &Response(self))?;
        }
        map.end()
    }
}

struct Request<'a>(&'a Exchange<'a>);

impl Serialize for Request<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("command", &self.0.texts(Field::Pop3Command).next())?;
        map.serialize_entry("args", &List(self.0, Field::Pop3Argument))?;
        map.end()
    }
}

struct Response<'a>(&'a Exchange<'a>);

impl Serialize for Response<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let success = self.0.status() == Some(true);
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("success", &success)?;
        map.serialize_entry("status", if success { "OK" } else { "ERR" })?;
        let header = self.0.texts(Field::Pop3Header).next();
        map.serialize_entry("header", &header.unwrap_or(Text(Bytes(b""))))?;
        map.serialize_entry("data", &List(self.0, Field::Pop3Data))?;
        map.end()
    }
}

struct List<'a>(&'a Exchange<'a>, Field);

impl Serialize for List<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.texts(self.1))
    }
}
