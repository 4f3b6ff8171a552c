//! `anomaly`: something malformed, as decode, TCP or a parser found it. Names are those of rules, in
//! the form that Suricata's readers know.

use std::fmt::{self, Display, Formatter, Write};

use serde::Serialize;

use super::app;
use super::names::Names;
use super::text::Text;
use crate::event::Event;

/// What was found, and by whom.
#[derive(Serialize)]
pub(super) struct Anomaly {
    #[serde(skip_serializing_if = "Option::is_none")]
    app_proto: Option<Text<&'static str>>,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Text<EventName>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    layer: Option<&'static str>,
}

/// An anomaly's name; logs, unlike rules, put `decoder.` before those of decode, and write some in
/// capitals.
pub(super) struct EventName {
    prefix: &'static str,
    name: &'static str,
    capitals: bool,
}

impl Display for EventName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.prefix)?;
        if !self.capitals {
            return f.write_str(self.name);
        }
        let mut letters = self.name.chars();
        letters.try_for_each(|letter| f.write_char(letter.to_ascii_uppercase()))
    }
}

/// Anomalies that decode finds are `decode`, those of TCP `stream`; a code without a name is given
/// as its number.
pub(super) fn anomaly(event: &Event, names: &Names) -> Anomaly {
    if let Some(number) = event.app_event {
        let known = crate::app::registry::event_name(crate::app::AppEvent(number));
        let of_flow = number >> 8 == 0;
        return Anomaly {
            app_proto: app::app_proto(event.app),
            kind: "applayer",
            event: known.map(|(protocol, name)| {
                // These stand in capitals in Suricata's tables, those of other parsers do not.
                let capitals = matches!(protocol, "http" | "tls" | "smtp" | "dnp3") || of_flow;
                Text(EventName {
                    prefix: "",
                    name,
                    capitals,
                })
            }),
            code: None,
            layer: Some(match event.app_number {
                Some(_) => "proto_parser",
                None if of_flow => "proto_detect",
                None => "parser",
            }),
        };
    }
    let name = (names.anomaly)(event.anomaly);
    let (kind, prefix) = match name.split_once('.') {
        _ if name.is_empty() => ("unknown", ""),
        Some(("stream", _)) => ("stream", ""),
        _ => ("decode", "decoder."),
    };
    Anomaly {
        app_proto: None,
        layer: None,
        kind,
        event: (!name.is_empty()).then_some(Text(EventName {
            prefix,
            name,
            capitals: false,
        })),
        code: name.is_empty().then_some(event.anomaly),
    }
}
