//! `metadata`: what rules noted of a flow and its packet, and `traffic`, flowbits by which rules name
//! what a flow is (`traffic/id/NAME`, `traffic/label/NAME`).

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::text::{Bytes, Capped, Printable, Text};
use crate::event::{Variable, Variables};
use crate::rules::names::Names;

const TRAFFIC_ID: &str = "traffic/id/";
const TRAFFIC_LABEL: &str = "traffic/label/";

/// Variables of an event, and the names behind their numbers.
#[derive(Clone, Copy)]
pub(super) struct Noted<'a> {
    variables: &'a Variables,
    names: &'a Names,
}

impl<'a> Noted<'a> {
    pub(super) fn new(variables: &'a Variables, names: &'a Names) -> Noted<'a> {
        Noted { variables, names }
    }

    fn bits(self) -> impl Iterator<Item = &'a str> {
        self.variables.iter().filter_map(move |one| match one {
            Variable::Bit(bit) => Some(self.names.flowbits.name(bit)),
            _ => None,
        })
    }

    fn flowbits(self) -> impl Iterator<Item = &'a str> {
        let of_traffic =
            |name: &&str| name.starts_with(TRAFFIC_ID) || name.starts_with(TRAFFIC_LABEL);
        self.bits().filter(move |name| !of_traffic(name))
    }

    fn counters(self) -> impl Iterator<Item = (&'a str, u32)> {
        self.variables.iter().filter_map(move |one| match one {
            Variable::Counter(name, value) => Some((self.names.flowints.name(name), value)),
            _ => None,
        })
    }

    fn of_flow(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.variables.iter().filter_map(move |one| match one {
            Variable::OfFlow(name, text) => Some((self.names.flowvars.name(name).as_bytes(), text)),
            _ => None,
        })
    }

    fn of_packet(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.variables.iter().filter_map(move |one| match one {
            Variable::OfPacket(name, text) => {
                Some((self.names.pktvars.name(name).as_bytes(), text))
            }
            Variable::Named(name, text) => Some((name, text)),
            _ => None,
        })
    }

    /// The flow's labels, if it has any.
    pub(super) fn traffic(self) -> Option<Traffic<'a>> {
        let traffic = Traffic(self);
        let has = |kind| traffic.named(kind).next().is_some();
        (has(TRAFFIC_ID) || has(TRAFFIC_LABEL)).then_some(traffic)
    }

    /// Whether `metadata` would be empty.
    pub(super) fn is_empty(self) -> bool {
        self.variables.iter().count() == self.bits().count() && self.flowbits().next().is_none()
    }
}

impl Serialize for Noted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if self.flowbits().next().is_some() {
            map.serialize_entry("flowbits", &List(|| self.flowbits().map(Capped)))?;
        }
        if self.counters().next().is_some() {
            map.serialize_entry("flowints", &Object(|| self.counters()))?;
        }
        if self.of_flow().next().is_some() {
            map.serialize_entry("flowvars", &List(|| self.of_flow().map(Pair)))?;
        }
        if self.of_packet().next().is_some() {
            map.serialize_entry("pktvars", &List(|| self.of_packet().map(Pair)))?;
        }
        map.end()
    }
}

/// `traffic` of a flow.
pub(super) struct Traffic<'a>(Noted<'a>);

impl<'a> Traffic<'a> {
    fn named(&self, kind: &'static str) -> impl Iterator<Item = &'a str> {
        self.0
            .bits()
            .filter_map(move |name| name.strip_prefix(kind))
    }
}

impl Serialize for Traffic<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, kind) in [("id", TRAFFIC_ID), ("label", TRAFFIC_LABEL)] {
            if self.named(kind).next().is_some() {
                map.serialize_entry(key, &List(|| self.named(kind).map(Capped)))?;
            }
        }
        map.end()
    }
}

/// A list of what a function gives.
struct List<F>(F);

impl<T: Serialize, I: Iterator<Item = T>, F: Fn() -> I> Serialize for List<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for one in (self.0)() {
            list.serialize_element(&one)?;
        }
        list.end()
    }
}

/// An object of the names and values that a function gives.
struct Object<F>(F);

impl<'a, T: Serialize, I: Iterator<Item = (&'a str, T)>, F: Fn() -> I> Serialize for Object<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in (self.0)() {
            map.serialize_entry(&Capped(name), &value)?;
        }
        map.end()
    }
}

/// An object of one name.
struct Pair<'a>((&'a [u8], &'a [u8]));

impl Serialize for Pair<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (name, text) = self.0;
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(&Text(Bytes(name)), &Text(Printable(text)))?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_stand_under_their_names() {
        let mut names = Names::default();
        for name in ["ET.seen", "traffic/id/x", "traffic/label/games"] {
            names.flowbits.id(name);
        }
        names.flowints.id("tries");
        names.flowvars.id("user");
        names.pktvars.id("agent");
        let mut variables = Variables::with_room();
        (0..3).for_each(|bit| variables.push(Variable::Bit(bit)));
        variables.push(Variable::Counter(0, 5));
        variables.push(Variable::OfFlow(0, b"ro\xffot"));
        variables.push(Variable::OfPacket(0, b"curl"));
        variables.push(Variable::Named(b"Host", b"a\x01b"));
        let noted = Noted::new(&variables, &names);
        assert_eq!(
            serde_json::to_string(&noted).unwrap(),
            r#"{"flowbits":["ET.seen"],"flowints":{"tries":5},"#.to_string()
                + r#""flowvars":[{"user":"ro.ot"}],"pktvars":[{"agent":"curl"},{"Host":"a.b"}]}"#
        );
        let traffic = serde_json::to_string(&noted.traffic().unwrap()).unwrap();
        assert_eq!(traffic, r#"{"id":["x"],"label":["games"]}"#);
    }

    #[test]
    fn labels_alone_are_no_metadata() {
        let mut names = Names::default();
        names.flowbits.id("traffic/label/games");
        let mut variables = Variables::with_room();
        let is_empty = |variables: &Variables| Noted::new(variables, &names).is_empty();
        assert!(is_empty(&variables));
        variables.push(Variable::Bit(0));
        assert!(is_empty(&variables));
        assert!(Noted::new(&variables, &names).traffic().is_some());
        variables.push(Variable::Counter(0, 1));
        assert!(!is_empty(&variables));
    }
}
