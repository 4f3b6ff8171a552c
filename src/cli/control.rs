//! The control thread of a command: metrics and the hooks behind them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::keeper::Attached;
use super::reload::Reloader;
use super::rules::Loaded;
use super::{Failure, exit};
use crate::config::{Config, Mode};
use crate::control::{
    Control, Gauges, Hooks, Listeners, Options, Parts, RuleCount, State, WorkerCounters,
};
use crate::decode::Anomaly;
use crate::eve::WriterHandle;
use crate::lane::SAMPLE_EVERY;
use crate::port::PortCounter;
use crate::port::facts::{Link, links};
use crate::replay::{Halves, Named};
use crate::rules::signature::Action;

/// What metrics are asked of a running engine.
pub struct EngineHooks {
    gauges: Gauges,
    ports: Vec<(String, Halves)>,
    /// The interface that each port is; `None` for captures and memory, which have no cable.
    interfaces: Vec<Option<String>>,
    stop: Arc<AtomicBool>,
    reloader: Option<Arc<Reloader>>,
    keeper: Option<Arc<Attached>>,
}

/// Whether an interface is there, up, and has a cable.
fn has_link(links: &[Link], name: &str) -> bool {
    let mut links = links.iter();
    links.any(|link| link.name == name && link.is_up && link.has_carrier)
}

fn action(action: Action) -> &'static str {
    match action {
        Action::Alert => "alert",
        Action::Drop => "drop",
        Action::Reject(_) => "reject",
        Action::Pass => "pass",
    }
}

pub(super) fn rule_counts(loaded: &Loaded) -> Vec<RuleCount> {
    let mut counts: Vec<RuleCount> = Vec::new();
    for signature in loaded.ruleset.signatures() {
        let state = if signature.unsupported.is_empty() {
            "loaded"
        } else {
            "unsupported"
        };
        let action = action(signature.action);
        match counts
            .iter_mut()
            .find(|c| c.state == state && c.action == action)
        {
            Some(count) => count.rules += 1,
            None => counts.push(RuleCount {
                state,
                action,
                rules: 1,
            }),
        }
    }
    let failed = u64::from(loaded.counts.failed);
    counts.push(RuleCount {
        state: "failed",
        action: "alert",
        rules: failed,
    });
    counts
}

impl EngineHooks {
    /// Hooks over an engine's settings, rules and ports.
    pub fn new(
        config: &Config,
        loaded: &Loaded,
        ports: Vec<(String, Halves)>,
        stop: Arc<AtomicBool>,
        rules_top: usize,
    ) -> EngineHooks {
        let state = match config.mode {
            Mode::Inline => State::Forwarding,
            Mode::Tap => State::Shadow,
        };
        // What is an interface now stays one, even when it vanishes.
        let links = links().unwrap_or_default();
        let interface = |(name, _): &(String, Halves)| {
            let name = super::guard::interface(name)?;
            links
                .iter()
                .any(|link| link.name == name)
                .then(|| name.to_string())
        };
        EngineHooks {
            interfaces: ports.iter().map(interface).collect(),
            gauges: Gauges {
                state,
                flow_capacity: u64::from(config.flows_max),
                rules: rule_counts(loaded),
                ruleset_generation: loaded.ruleset.generation(),
                ruleset_hash: loaded.hash.clone(),
                sample_ratio: 1.0 / f64::from(SAMPLE_EVERY),
                memory_limit: vec![("stream", config.stream_memory)],
                rules_top,
                ..Gauges::default()
            },
            ports,
            stop,
            reloader: None,
            keeper: None,
        }
    }

    /// Lets rules be replaced.
    pub fn with_reloader(mut self, reloader: Arc<Reloader>) -> EngineHooks {
        self.reloader = Some(reloader);
        self
    }

    /// Tells of the keeper's state, and passes on what is the keeper's.
    pub fn under(mut self, keeper: Option<Arc<Attached>>) -> EngineHooks {
        self.keeper = keeper;
        self
    }
}

impl Hooks for EngineHooks {
    fn gauges(&self) -> Gauges {
        let mut gauges = self.gauges.clone();
        if let Some(keeper) = &self.keeper {
            gauges.state = keeper.state();
        }
        if let Some(reloader) = &self.reloader {
            reloader.fill(&mut gauges);
        }
        let links = links().unwrap_or_default();
        for (at, (name, halves)) in self.ports.iter().enumerate() {
            let get = |counter: PortCounter| {
                let sum = |half: &[Arc<crate::port::PortCounters>]| {
                    half.iter()
                        .map(|counters| counters.get(counter))
                        .sum::<u64>()
                };
                [sum(&halves.receive), sum(&halves.transmit)]
            };
            gauges.ports.push(crate::control::PortSample {
                name: name.clone(),
                packets: get(PortCounter::Packets),
                bytes: get(PortCounter::Bytes),
                ring_full: get(PortCounter::RingFull),
                sync_calls: get(PortCounter::Syncs),
                missed: get(PortCounter::Missed)[0],
                slots_used: halves
                    .receive
                    .iter()
                    .zip(&halves.transmit)
                    .map(|(receive, transmit)| [receive.slots_used(), transmit.slots_used()])
                    .collect(),
                link_up: self.interfaces.get(at).is_none_or(|interface| {
                    interface.as_ref().is_none_or(|name| has_link(&links, name))
                }),
                netmap_native: false,
            });
        }
        gauges
    }

    fn reload(&self, force: bool) -> Result<String, String> {
        match &self.reloader {
            Some(reloader) => reloader.reload(force),
            None => Err("a replay has the rules that it began with".to_string()),
        }
    }

    fn rules(&self, words: &[&str]) -> Result<serde_json::Value, String> {
        match &self.reloader {
            Some(reloader) => reloader.answer(words),
            None => Err("a replay has the rules that it began with".to_string()),
        }
    }

    fn profile(&self) -> Result<String, String> {
        match &self.reloader {
            Some(reloader) => reloader.profile(),
            None => Err("a replay is measured by `sluice profile CAPTURE`".to_string()),
        }
    }

    fn keeper(&self, command: &str) -> Result<String, String> {
        match &self.keeper {
            Some(keeper) => keeper.ask(command),
            None => Err("there is no keeper: run with --keeper open or closed".to_string()),
        }
    }

    fn shutdown(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// What the control thread serves.
pub struct Served {
    /// Address of `/metrics`.
    pub metrics: Option<SocketAddr>,
    /// Path of the control socket.
    pub socket: Option<PathBuf>,
    /// Seconds between `stats` events; 0: one at the end.
    pub stats_interval: u32,
    /// Whether there are `stats` events.
    pub stats: bool,
    /// Sockets that are open already.
    pub listeners: Listeners,
}

/// Starts the control thread.
///
/// # Errors
/// An address or path that cannot be served, exit code 5.
pub fn start(
    workers: Vec<Named>,
    hooks: EngineHooks,
    writer: Option<WriterHandle>,
    served: Served,
) -> Result<Control, Failure> {
    let workers = workers.into_iter().map(|worker| WorkerCounters {
        counters: worker.counters,
        name: worker.name,
        lane: worker.lane,
        core: worker.core,
    });
    let parts = Parts {
        workers: workers.collect(),
        hooks: Arc::new(hooks),
        writer,
        anomaly: |code| Anomaly::from_code(code).map_or("", |anomaly| anomaly.name()),
        build: Default::default(),
    };
    let options = Options {
        metrics: served.metrics,
        metrics_remote: false,
        socket: served.socket,
        stats_interval: served.stats_interval,
        stats: served.stats,
    };
    Control::start_on(served.listeners, parts, options)
        .map_err(|error| Failure::new(exit::DEVICE, error))
}
