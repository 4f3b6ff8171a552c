//! What the control socket is asked, and what is answered: commands by our names and by those that
//! `suricatasc` has for the same, in a line of words or in Suricata's form.
//!
//! That form is a JSON object a line: `{"version":"0.2"}` first, then `{"command":"iface-stat",
//! "arguments":{"iface":"eth1"}}`; the answer is `{"return":"OK","message":...}`, or `NOK`
//! (Suricata's user guide, "Interaction via Unix Socket"). Sockets are socket.rs's.

use serde::Serialize;
use serde_json::{Value, json};

use super::{PortSample, Shared, Snapshot, summary};
use crate::counters::Counter;

/// Every command, those of the keeper included.
const COMMANDS: &[&str] = &[
    "version",
    "help",
    "uptime",
    "running-mode",
    "stats",
    "counters",
    "iface-list",
    "iface-stat PORT",
    "profile",
    "reload",
    "reload force",
    "ruleset-stats",
    "ruleset-reload-time",
    "ruleset-failed-rules",
    "dataset-add SET TYPE VALUE",
    "dataset-remove SET TYPE VALUE",
    "dataset-lookup SET TYPE VALUE",
    "dataset-dump",
    "reopen-log-files",
    "passthrough on",
    "passthrough off",
    "upgrade",
    "shutdown",
];
/// Arguments of Suricata's form, in the order of the words.
const ARGUMENTS: [&str; 4] = ["iface", "setname", "settype", "datavalue"];

/// What goes back.
#[derive(Serialize, Default)]
pub struct Reply {
    pub ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stats: Option<summary::Figures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counters: Option<CounterList>,
}

impl Reply {
    fn message(answer: impl Into<Value>) -> Self {
        Reply {
            ok: true,
            message: Some(answer.into()),
            ..Reply::default()
        }
    }

    pub fn error(text: impl Into<String>) -> Self {
        Reply {
            error: Some(text.into()),
            ..Reply::default()
        }
    }

    fn of<T: Into<Value>>(answer: Result<T, String>) -> Self {
        match answer {
            Ok(answer) => Reply::message(answer),
            Err(text) => Reply::error(text),
        }
    }
}

/// Every counter, under its family and label.
struct CounterList(Snapshot);

impl Serialize for CounterList {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Counter::ALL.iter().map(|counter| {
            let name = match counter.label() {
                Some((label, value)) => format!("{}{{{label}={value}}}", counter.name()),
                None => counter.name().to_string(),
            };
            (name, self.0.get(*counter))
        }))
    }
}

/// An answer, in the form of its question.
pub enum Answer {
    Ours(Box<Reply>),
    Theirs(Value),
}

impl Serialize for Answer {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Answer::Ours(reply) => reply.serialize(serializer),
            Answer::Theirs(value) => value.serialize(serializer),
        }
    }
}

/// Whether bytes are a whole question of Suricata's form: its older clients end none with a line.
pub fn is_whole(bytes: &[u8]) -> bool {
    bytes.first() == Some(&b'{') && serde_json::from_slice::<Value>(bytes).is_ok()
}

/// Obeys a line. The words of it are given back: what ends with the answer is the socket's to see to.
pub fn obey(line: &str, shared: &Shared) -> (String, Answer) {
    if !line.starts_with('{') {
        return (
            line.to_string(),
            Answer::Ours(Box::new(words(line, shared))),
        );
    }
    let asked: Value = serde_json::from_str(line).unwrap_or_default();
    if asked.get("version").is_some() {
        return (String::new(), Answer::Theirs(json!({ "return": "OK" })));
    }
    let mut command = asked["command"].as_str().unwrap_or_default().to_string();
    for name in ARGUMENTS {
        if let Some(word) = asked["arguments"][name].as_str() {
            command.push(' ');
            command.push_str(word);
        }
    }
    let reply = words(&command, shared);
    let mut whole = serde_json::to_value(&reply).unwrap_or_default();
    let message = ["message", "error", "stats", "counters"]
        .into_iter()
        .find_map(|name| whole.get_mut(name).map(Value::take));
    let told = if reply.ok { "OK" } else { "NOK" };
    let answer = json!({ "return": told, "message": message });
    (command, Answer::Theirs(answer))
}

fn words(line: &str, shared: &Shared) -> Reply {
    let hooks = &shared.parts.hooks;
    let all: Vec<&str> = line.split_whitespace().collect();
    match all.as_slice() {
        ["version"] => Reply::message(format!(
            "sluice {} ({})",
            shared.parts.build.version, shared.parts.build.commit
        )),
        ["uptime"] => Reply::message(shared.started.elapsed().as_secs()),
        ["running-mode"] => Reply::message(hooks.gauges().state.name()),
        ["stats"] => Reply {
            ok: true,
            stats: Some(
                summary::Figures::of(&shared.snapshot(), shared.started.elapsed(), None)
                    .beside(shared.parts.writer.as_ref()),
            ),
            ..Reply::default()
        },
        ["counters" | "dump-counters"] => Reply {
            ok: true,
            counters: Some(CounterList(shared.snapshot())),
            ..Reply::default()
        },
        ["iface-list"] => {
            let names: Vec<String> = hooks.gauges().ports.into_iter().map(|p| p.name).collect();
            Reply::message(json!({ "count": names.len(), "ifaces": names }))
        }
        ["iface-stat", name] => port(name, &hooks.gauges().ports),
        ["reload" | "reload-rules" | "ruleset-reload-rules"] => Reply::of(shared.reload(false)),
        ["reload", "force"] => Reply::of(shared.reload(true)),
        ["ruleset-reload-time"] => Reply::message(shared.last_reload_s()),
        ["ruleset-stats"] => ruleset(shared),
        ["ruleset-failed-rules" | "dataset-dump"]
        | ["dataset-add" | "dataset-remove" | "dataset-lookup", _, _, _] => {
            Reply::of(hooks.rules(&all))
        }
        ["reopen-log-files" | "reopen"] => match &shared.parts.writer {
            Some(writer) => {
                writer.reopen();
                Reply::message("done")
            }
            None => Reply::error("there is no log: run with -l DIR"),
        },
        ["passthrough", "on" | "off"] | ["upgrade"] => Reply::of(hooks.keeper(&all.join(" "))),
        ["profile"] => Reply::of(hooks.profile()),
        ["shutdown"] => Reply::message("shutting down"),
        ["command-list"] => {
            let first = |command: &&str| command.split(' ').next().map(str::to_string);
            let mut names: Vec<String> = COMMANDS.iter().filter_map(first).collect();
            names.extend(["command-list", "reload-rules", "dump-counters"].map(str::to_string));
            names.dedup();
            Reply::message(json!({ "count": names.len(), "commands": names }))
        }
        ["help"] | [] => Reply::message(COMMANDS.join(", ")),
        _ => unknown(line),
    }
}

fn unknown(line: &str) -> Reply {
    let shown: String = line.chars().take(40).collect();
    Reply::error(format!(
        "unknown command `{shown}`; there are {}",
        COMMANDS.join(", ")
    ))
}

/// What a port counts, by Suricata's names where it has them.
fn port(name: &str, ports: &[PortSample]) -> Reply {
    let Some(port) = ports.iter().find(|port| port.name == name) else {
        let names: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
        return Reply::error(format!("no port `{name}`; there are {}", names.join(", ")));
    };
    Reply::message(json!({
        "pkts": port.packets[0],
        "bytes": port.bytes[0],
        "drop": port.missed,
        "sent": port.packets[1],
        "sent_bytes": port.bytes[1],
        "ring_full": port.ring_full[1],
        "link_up": port.link_up,
    }))
}

/// How many rules are in force, and how many are not.
fn ruleset(shared: &Shared) -> Reply {
    let gauges = shared.parts.hooks.gauges();
    let of = |state: &str| -> u64 {
        let rules = gauges.rules.iter().filter(|count| count.state == state);
        rules.map(|count| count.rules).sum()
    };
    Reply::message(json!({
        "rules_loaded": of("loaded"),
        "rules_failed": of("failed"),
        "rules_not_run": of("unsupported"),
        "generation": gauges.ruleset_generation,
        "hash": gauges.ruleset_hash,
        "last_reload": shared.last_reload_s(),
    }))
}
