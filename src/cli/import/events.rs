//! The event log among Suricata's outputs. Sluice writes one, so the first that is switched on is taken
//! over; its list of types becomes `outputs.eve-log.types`.

use super::{Fate, Leaf, Work, list, switch};
use crate::config::eve::{event_of, own};
use crate::config::foreign::reason;
use crate::config::keys::key;

/// The event log that is taken over.
#[derive(Default)]
pub(super) struct Chosen {
    /// Its place among the outputs.
    place: Option<String>,
    /// Events that it has, by our names.
    types: Vec<String>,
    /// Events that are switched off in the list.
    off: Vec<String>,
}

/// Whether a switch is off.
fn is_off(text: &str) -> bool {
    switch(text) == Some("no")
}

/// What stands behind `outputs.N.eve-log.`, and N.
fn of_log(path: &str) -> Option<(&str, &str)> {
    let (place, rest) = path.strip_prefix("outputs.")?.split_once('.')?;
    Some((place, rest.strip_prefix("eve-log.")?))
}

impl Chosen {
    pub(super) fn of(leaves: &[Leaf]) -> Chosen {
        let logs = leaves.iter().filter_map(|leaf| of_log(&leaf.path));
        let is_on = |place: &str| {
            let switch = format!("outputs.{place}.eve-log.enabled");
            let found = leaves.iter().find(|leaf| leaf.path == switch);
            found.is_none_or(|leaf| !is_off(&leaf.text()))
        };
        let place = logs.map(|(place, _)| place).find(|place| is_on(place));
        Chosen {
            place: place.map(str::to_string),
            ..Chosen::default()
        }
    }

    /// Adds an event to the list; false if none has this name here.
    fn add(&mut self, name: &str) -> bool {
        let event = event_of(name);
        if let Some(event) = event.filter(|event| !self.types.iter().any(|known| known == event)) {
            self.types.push(event.to_string());
        }
        event.is_some()
    }
}

impl Work {
    /// A value of an output; `path` is what stands behind `outputs.`.
    pub(super) fn output(&mut self, path: &str, leaf: &Leaf) -> Fate {
        let Some((place, rest)) = of_log(&leaf.path) else {
            // The store has keys of its own, whatever its place in the list.
            let (_, rest) = path.split_once('.').unwrap_or(("", path));
            return match key(rest).filter(|_| rest.starts_with("file-store.")) {
                Some(key) => self.across(key.name, leaf),
                None => Fate::Left(reason(&leaf.path).to_string()),
            };
        };
        if self
            .events
            .place
            .as_deref()
            .is_some_and(|chosen| chosen != place)
        {
            let why = "there is one event log: the first that is on is taken over";
            return Fate::Left(why.to_string());
        }
        let listed = rest.strip_prefix("types.").map(|rest| rest.split_once('.'));
        match listed {
            _ if rest == "types" => self.all_types(leaf),
            // A name alone.
            Some(None) => self.all_types(leaf),
            Some(Some((_, rest))) => self.one_type(rest, leaf),
            None => self.log_setting(leaf),
        }
    }

    fn all_types(&mut self, leaf: &Leaf) -> Fate {
        let mut unknown = Vec::new();
        for name in &leaf.values {
            if !self.events.add(name) {
                unknown.push(name.as_str());
            }
        }
        match unknown.is_empty() {
            true => Fate::Used,
            false => Fate::Left(format!("no event is named {}", unknown.join(", "))),
        }
    }

    /// What an entry of the list says of itself: `dns.enabled`, `alert.payload`.
    fn one_type(&mut self, rest: &str, leaf: &Leaf) -> Fate {
        let (name, setting) = rest.split_once('.').unwrap_or((rest, ""));
        let event = event_of(name).unwrap_or(name).to_string();
        if setting == "enabled" && is_off(&leaf.text()) {
            self.events.types.retain(|known| *known != event);
            self.events.off.push(event);
            return Fate::Used;
        }
        if !self.events.off.contains(&event) && !self.events.add(name) {
            return Fate::Left(format!("no event is named {name}"));
        }
        match setting {
            "" | "enabled" => Fate::Used,
            "force-hash" if name == "files" => self.across("files.force-hash", leaf),
            _ => self.log_setting(leaf),
        }
    }

    fn log_setting(&mut self, leaf: &Leaf) -> Fate {
        let own = own(&leaf.path).unwrap_or_default();
        if own == "alert.metadata" {
            for part in ["app-layer", "flow", "rule.metadata"] {
                let name = format!("outputs.eve-log.alert.metadata.{part}");
                if let Some(key) = key(&name) {
                    self.keys
                        .insert(key.name, (!is_off(&leaf.text())).to_string());
                }
            }
            return Fate::Used;
        }
        match key(&format!("outputs.eve-log.{own}")) {
            Some(key) => self.across(key.name, leaf),
            None => Fate::Left(reason(&leaf.path).to_string()),
        }
    }

    /// Writes the list of events down.
    pub(super) fn finish_events(&mut self) {
        if !self.events.types.is_empty() {
            let types = list(&self.events.types);
            self.keys.insert("outputs.eve-log.types", types);
        }
    }
}
