//! What rules and events ask for of the application layer, by the settings and the rules in force.

use super::plan::MatchPlan;
use super::program::Program;
use crate::app::record::{self, Extra};
use crate::app::{AppProtocol, Apps, Field, FileSettings, Limits};
use crate::config::Config;
use crate::event::EVENT_RECORD_MAX;

/// Bytes of room for a record that the settings of events ask for.
pub fn record_room(config: &Config) -> usize {
    let extras = Extras::of(config);
    let all = [extras.alert, extras.app, extras.file];
    match all
        .iter()
        .all(|extra| extra.headers == [false; 2] && !extra.bodies)
    {
        true => EVENT_RECORD_MAX,
        false => record::RECORD_LONG_MAX,
    }
}

/// What records of transactions carry beside the usual, by the event that they stand in.
#[derive(Clone, Copy)]
pub(super) struct Extras {
    pub(super) alert: Extra,
    pub(super) app: Extra,
    pub(super) file: Extra,
    /// Frames are events.
    pub(super) frames: bool,
    /// Files are events.
    pub(super) files: bool,
    /// What parsers find odd is an event.
    pub(super) anomalies: bool,
    /// Protocols whose transactions are events of their own, a bit each ([`AppProtocol::bit`]).
    pub(super) protocols: u64,
}

impl Extras {
    pub(super) fn of(config: &Config) -> Extras {
        let eve = &config.eve;
        let client = eve.has_other_xff();
        let [requests, responses] = eve.headers.sides();
        Extras {
            alert: Extra {
                headers: [client, false],
                bodies: eve.tells_bodies(),
                progress: true,
            },
            app: Extra {
                headers: [client || requests, responses],
                ..Extra::default()
            },
            file: Extra {
                headers: [client, false],
                ..Extra::default()
            },
            frames: eve.tells("frame"),
            files: tells_files(config),
            anomalies: config.app_records && tells_app_anomalies(config),
            protocols: told_protocols(config),
        }
    }

    /// Whether a field is found for their sake.
    fn ask(self, field: Field) -> bool {
        let header = record::HEADERS.iter().position(|header| *header == field);
        match header {
            Some(side) => self.app.headers[side],
            None if field.is_frame() => self.frames,
            None => self.alert.bodies && record::BODIES.contains(&field),
        }
    }
}

/// Fields that rules or events ask for.
fn wanted(config: &Config, program: &Program) -> Box<[bool]> {
    let mut wanted = program.app.wanted();
    if tells_transactions(config) {
        let extras = Extras::of(config);
        let told = |field: &&Field| record::is_told(**field) || extras.ask(**field);
        for field in Field::ALL.iter().filter(told) {
            if let Some(wanted) = wanted.get_mut(*field as usize) {
                *wanted = true;
            }
        }
    }
    if let Some(name) = wanted.get_mut(Field::FileName as usize) {
        *name |= tells_files(config) || config.files.store;
    }
    wanted
}

/// Whether neither a rule nor an event asks for anything.
pub(super) fn asks_nothing(config: &Config, program: &Program) -> bool {
    program.ruleset().signatures().is_empty()
        && !(tells_transactions(config) || config.files.store || config.eve.drops_start)
}

/// Whether some event tells of transactions.
pub(super) fn tells_transactions(config: &Config) -> bool {
    let eve = &config.eve;
    config.app_records && (eve.tells_transactions() || tells_app_anomalies(config))
}

/// Protocols whose transactions the log tells of, a bit each.
fn told_protocols(config: &Config) -> u64 {
    let told = |protocol: &&AppProtocol| config.eve.tells(protocol.event_name());
    let protocols = AppProtocol::ALL.iter().filter(|_| config.app_records);
    protocols.filter(told).fold(0, |bits, p| bits | p.bit())
}

/// What parsers find odd is an event.
fn tells_app_anomalies(config: &Config) -> bool {
    config.eve.anomalies[2] && config.eve.tells("anomaly")
}

/// Files are events.
fn tells_files(config: &Config) -> bool {
    config.app_records && config.files.events && config.eve.tells("fileinfo")
}

/// What parsers heed.
fn limits(config: &Config) -> Limits {
    let files = &config.files;
    Limits {
        files: FileSettings {
            events: tells_files(config),
            hashes: files.hashes,
            store: files.store,
            store_all: files.store_all,
            size_max: files.size_max,
        },
        ..Limits::of(&config.app_settings)
    }
}

/// Room for the parsers of a lane's flows.
pub(super) fn parsers(config: &Config, plan: &MatchPlan, program: &Program) -> Apps {
    let (flows, memory) = (plan.app_flows, plan.app_memory);
    Apps::new(flows, memory, wanted(config, program), limits(config))
}
