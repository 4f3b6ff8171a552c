//! EVE: the thread that writes events as JSON lines, field-compatible with Suricata 8.
//!
//! It takes events from the lanes' queues, gives each back at once, and shares nothing else with
//! them: a slow or full disk costs counted lines and no packet. sink.rs writes, record.rs says what
//! stands in a line, text.rs and names.rs how it is spelled. What is not here: deciding what is an
//! event (match, verdict), and `stats` lines, which control makes and `WriterHandle::submit` takes.
//!
//! Interface: `Writer::start(queues, signatures, options)`, `handle()`, `stop()` once the lanes have
//! ended; or, where the caller takes the events itself (replay), `Log::open`, `write`, `finish`.
//! `SignatureInfo` is what a rule set owes both.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{
    AtomicBool, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_queue::ArrayQueue;

use crate::config::Eve;
use crate::event::{AlertAction, Event, EventKind, EventQueue};
use crate::packet::Direction;
use crate::rules::names::Names as VariableNames;

mod anomaly;
mod app;
mod arp;
mod bittorrent_dht;
mod cip;
mod community;
mod dhcp;
mod dnp3;
mod dns;
mod enip;
mod files;
mod flow;
mod frame;
mod headers;
mod http;
mod ike;
mod ldap;
mod mail;
mod mdns;
mod metadata;
mod modbus;
mod mqtt;
mod names;
mod paths;
mod pgsql;
mod pop3;
mod quic;
mod quiet;
mod rdp;
mod record;
mod rfb;
mod sink;
mod smb;
mod store;
mod text;
mod values;
mod words;
mod xff;

use metadata::Noted;

pub use names::{Names, counted_protocols, drop_reason as drop_word};
pub use record::{event_type, flow_id};
pub use sink::{LINE_MAX, Lost, SinkCounters, Target};
pub use store::{Store, StoreCounters, StoreOptions, Stored};
pub use text::{Text, Timestamp, line};

/// Events taken from one queue before the next has its turn.
const TURN_MAX: usize = 256;
/// Lines that other threads have handed in and that are not written yet.
const SUBMITTED_MAX: usize = 64;
/// Rest of the thread when nothing is to be done.
const IDLE: Duration = Duration::from_millis(1);
/// How often the path is compared with the open file.
const ROTATION_CHECK: Duration = Duration::from_secs(1);

/// What an alert says about its signature. Borrowed from the rule set: an alert copies nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AlertInfo<'a> {
    /// `sid`; 0 where the signature is not known any more.
    pub sid: u32,
    /// `gid`.
    pub gid: u32,
    /// `rev`.
    pub rev: u32,
    /// `msg`.
    pub msg: &'a str,
    /// Description of the classtype (classification.config); empty if none.
    pub category: &'a str,
    /// Name of the classtype; empty if none.
    pub classtype: &'a str,
    /// Priority, 1 is worst.
    pub severity: u8,
    /// `metadata` pairs, in order.
    pub metadata: &'a [(Box<str>, Box<str>)],
    /// `reference`s as system and id.
    pub references: &'a [(Box<str>, Box<str>)],
    /// Text of the rule, where it is kept.
    pub rule: Option<&'a str>,
    /// `target`: Some(true) is the destination.
    pub target: Option<bool>,
}

impl Default for AlertInfo<'_> {
    fn default() -> Self {
        AlertInfo {
            sid: 0,
            gid: 1,
            rev: 0,
            msg: "signature of a rule set that is gone",
            category: "",
            classtype: "",
            severity: 3,
            metadata: &[],
            references: &[],
            rule: None,
            target: None,
        }
    }
}

/// Who knows the signatures that alerts name.
pub trait SignatureInfo: Send + Sync {
    /// Calls `show` with what rule set `generation` says of signature `index`; does not if it has
    /// no such signature or is gone.
    fn alert(&self, generation: u32, index: u32, show: &mut dyn FnMut(AlertInfo<'_>));

    /// Calls `show` with the names behind the numbers of flowbits, counters and variables, if there
    /// are any. Numbers never change their names, so those of the newest rules serve all.
    fn names(&self, _show: &mut dyn FnMut(&VariableNames)) {}
}

/// A rule set that knows nothing: for runs without rules.
pub struct NoSignatures;

impl SignatureInfo for NoSignatures {
    fn alert(&self, _: u32, _: u32, _: &mut dyn FnMut(AlertInfo<'_>)) {}
}

/// What the writer writes, and where.
#[derive(Clone)]
pub struct Options {
    /// Where to.
    pub target: Target,
    /// What is told, and with what.
    pub eve: Eve,
    /// Port names, by port index; empty in replay, where there is no `in_iface`.
    pub interfaces: Vec<String>,
    /// Name of the capture, in replay.
    pub pcap_filename: Option<String>,
    /// Words of other rooms.
    pub names: Names,
    /// Where stored files go; none are stored without.
    pub store: Option<StoreOptions>,
}

impl Options {
    /// The defaults of Suricata, into `target`.
    pub fn new(target: Target) -> Options {
        Options {
            target,
            eve: Eve::default(),
            interfaces: Vec::new(),
            pcap_filename: None,
            names: Names::default(),
            store: None,
        }
    }
}

/// Kinds of events, for their counters.
pub const EVENT_KINDS: [EventKind; 9] = [
    EventKind::Alert,
    EventKind::Drop,
    EventKind::Flow,
    EventKind::Anomaly,
    EventKind::App,
    EventKind::Packet,
    EventKind::File,
    EventKind::Arp,
    EventKind::Frame,
];

/// Class types that are counted apart; the alerts of further ones are `other`.
const CLASSTYPES_MAX: usize = 128;

/// Alerts by class type: allowed, blocked. The writer counts, since a class type is a name that may
/// come and go with the rule set.
#[derive(Default, Debug)]
pub struct AlertCounts(Mutex<BTreeMap<Box<str>, [u64; 2]>>);

impl AlertCounts {
    fn count(&self, classtype: &str, blocked: bool) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = match classtype {
            "" => "none",
            known if counts.contains_key(known) => known,
            _ if counts.len() >= CLASSTYPES_MAX => "other",
            new => new,
        };
        match counts.get_mut(name) {
            Some(pair) => pair[usize::from(blocked)] += 1,
            None => {
                let pair = [u64::from(!blocked), u64::from(blocked)];
                counts.insert(name.into(), pair);
            }
        }
    }

    /// All class types that alerted; `none` stands there from the start.
    pub fn read(&self) -> Vec<(Box<str>, [u64; 2])> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let none = (!counts.contains_key("none")).then(|| ("none".into(), [0; 2]));
        let seen = counts.iter().map(|(name, pair)| (name.clone(), *pair));
        none.into_iter().chain(seen).collect()
    }
}

/// Rules that are counted apart; a set of 65,536 rules that all alert is none that anybody runs.
const RULES_MAX: usize = 1 << 16;

/// Alerts and drops by rule, as they reached the writer: by gid and sid, so that they go on through
/// a reload.
#[derive(Default, Debug)]
pub struct RuleMatches(Mutex<BTreeMap<(u32, u32), u64>>);

impl RuleMatches {
    fn count(&self, gid: u32, sid: u32) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = counts.len() < RULES_MAX;
        if let Some(count) = counts.get_mut(&(gid, sid)) {
            *count += 1;
        } else if room {
            counts.insert((gid, sid), 1);
        }
    }

    /// The rules with the most, at most `top`: gid, sid, count.
    pub fn most(&self, top: usize) -> Vec<(u32, u32, u64)> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let each = counts
            .iter()
            .map(|((gid, sid), count)| (*gid, *sid, *count));
        let mut rules: Vec<_> = each.collect();
        drop(counts);
        rules.sort_by_key(|(gid, sid, count)| (u64::MAX - count, *gid, *sid));
        rules.truncate(top);
        rules
    }
}

/// What the writer did. `taken` over all kinds plus `submitted` and `netflows` is lines written,
/// lines lost and events left out.
#[derive(Default, Debug)]
pub struct WriterCounters {
    taken: [AtomicU64; EVENT_KINDS.len()],
    submitted: AtomicU64,
    left_out: AtomicU64,
    netflows: AtomicU64,
    unknown_signatures: AtomicU64,
    /// Alerts by class type.
    pub alerts: AlertCounts,
    /// Alerts by rule.
    pub rules: RuleMatches,
    /// Lines, bytes and losses.
    pub sink: SinkCounters,
    /// Files, where some are stored.
    pub store: Option<Arc<StoreCounters>>,
}

impl WriterCounters {
    /// Events of `kind` taken from the queues.
    pub fn taken(&self, kind: EventKind) -> u64 {
        self.taken[kind as usize].load(Relaxed)
    }

    /// Events that the log has no line for (`outputs.eve-log.types`, and what Suricata has none for).
    pub fn left_out(&self) -> u64 {
        self.left_out.load(Relaxed)
    }

    /// Lines about one direction of a flow.
    pub fn netflows(&self) -> u64 {
        self.netflows.load(Relaxed)
    }

    /// Lines of other threads (`stats`).
    pub fn submitted(&self) -> u64 {
        self.submitted.load(Relaxed)
    }

    /// Alerts whose signature nobody knew any more.
    pub fn unknown_signatures(&self) -> u64 {
        self.unknown_signatures.load(Relaxed)
    }
}

/// What other threads may do with a writer. Cheap to clone.
#[derive(Clone)]
pub struct WriterHandle {
    shared: Arc<Shared>,
}

struct Shared {
    stop: AtomicBool,
    reopen: AtomicBool,
    submitted: ArrayQueue<Vec<u8>>,
    queues: Vec<Arc<EventQueue>>,
    counters: Arc<WriterCounters>,
}

impl WriterHandle {
    /// Has the file opened anew at its path, as after a rotation (SIGHUP).
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Release);
    }

    /// Hands in a whole line. False if too many wait: it is not taken.
    pub fn submit(&self, line: Vec<u8>) -> bool {
        self.shared.submitted.push(line).is_ok()
    }

    /// Events and lines that wait to be written.
    pub fn waiting(&self) -> usize {
        let events = self.shared.queues.iter().map(|queue| queue.waiting());
        events.sum::<usize>() + self.shared.submitted.len()
    }

    /// What the writer did so far.
    pub fn counters(&self) -> &Arc<WriterCounters> {
        &self.shared.counters
    }
}

/// An open log: events in, lines out. The writer's thread has one; a replay may use one itself.
pub struct Log {
    signatures: Arc<dyn SignatureInfo>,
    options: Options,
    counters: Arc<WriterCounters>,
    sink: sink::Sink<std::fs::File>,
    store: Option<Store>,
    line: Vec<u8>,
    /// End of each line that tells of this machine.
    host: Option<Vec<u8>>,
    rotation_checked: Instant,
    /// The log could not be opened anew, and that was said.
    is_stuck: bool,
}

impl Log {
    /// Opens the target.
    ///
    /// # Errors
    /// The target cannot be opened; the error names it.
    pub fn open(signatures: Arc<dyn SignatureInfo>, options: Options) -> io::Result<Log> {
        let mut counters = WriterCounters::default();
        let store = options.store.clone().map(Store::open).transpose()?;
        counters.store = store.as_ref().map(|store| Arc::clone(store.counters()));
        let counters = Arc::new(counters);
        let file = options.target.open(&counters.sink)?;
        let host = (!options.eve.host.is_empty()).then(|| host_of(&options.eve.host));
        Ok(Log {
            signatures,
            options,
            counters,
            sink: sink::Sink::new(file),
            store,
            line: Vec::with_capacity(LINE_MAX),
            host,
            is_stuck: false,
            rotation_checked: Instant::now(),
        })
    }

    /// What it did so far.
    pub fn counters(&self) -> &Arc<WriterCounters> {
        &self.counters
    }

    /// Writes an event, now or with the next ones.
    pub fn write(&mut self, event: &Event) {
        let stored = match (event.kind, &mut self.store) {
            (EventKind::FilePiece, Some(store)) => {
                store.piece(event);
                return;
            }
            (EventKind::FilePiece, None) => return,
            (EventKind::File, Some(store)) => store.end(event.lane, &event.file),
            _ => None,
        };
        if let Some(taken) = self.counters.taken.get(event.kind as usize) {
            taken.fetch_add(1, Relaxed);
        }
        if event.kind == EventKind::Alert && !self.count_alert(event) {
            self.counters.unknown_signatures.fetch_add(1, Relaxed);
        }
        if record::is_told(event, &self.options.eve) {
            let beside = Beside {
                stored,
                ..Beside::default()
            };
            self.encode(event, beside);
            self.sink.push(&self.line, &self.counters.sink);
        } else {
            self.counters.left_out.fetch_add(1, Relaxed);
        }
        if event.kind == EventKind::Flow && self.options.eve.tells("netflow") {
            self.write_netflow(event);
        }
    }

    /// Counts an alert under its class type and rule; whether that is known.
    fn count_alert(&self, event: &Event) -> bool {
        let mut known = false;
        let blocked = event.action == AlertAction::Blocked;
        if event.signature != u32::MAX {
            let (generation, index) = (event.generation, event.signature);
            self.signatures.alert(generation, index, &mut |info| {
                known = true;
                self.counters.alerts.count(info.classtype, blocked);
                self.counters.rules.count(info.gid, info.sid);
            });
        }
        known
    }

    /// A line for each direction of a flow that had packets.
    fn write_netflow(&mut self, event: &Event) {
        for direction in [Direction::ToServer, Direction::ToClient] {
            if direction == Direction::ToClient && event.values.packets[1] == 0 {
                continue;
            }
            let beside = Beside {
                stored: None,
                netflow: Some(direction),
            };
            self.encode(event, beside);
            self.counters.netflows.fetch_add(1, Relaxed);
            self.sink.push(&self.line, &self.counters.sink);
        }
    }

    fn encode(&mut self, event: &Event, beside: Beside) {
        let (signatures, line) = (&*self.signatures, &mut self.line);
        encode(event, beside, signatures, &self.options, line);
        self.name_host();
    }

    /// Adds the name of this machine to the line.
    fn name_host(&mut self) {
        if let Some(host) = &self.host
            && self.line.ends_with(b"}\n")
        {
            self.line.truncate(self.line.len() - 2);
            self.line.extend_from_slice(host);
        }
    }

    /// Writes a whole line that is no event of a lane.
    pub fn submit(&mut self, line: &[u8]) {
        self.counters.submitted.fetch_add(1, Relaxed);
        self.line.clear();
        self.line.extend_from_slice(line);
        self.name_host();
        self.sink.push(&self.line, &self.counters.sink);
    }

    /// Writes what is gathered.
    pub fn flush(&mut self) {
        self.sink.flush(&self.counters.sink);
    }

    /// Opens the file anew when asked to, or when its path names another file or none.
    pub fn rotate(&mut self, asked: bool) {
        let now = Instant::now();
        let check = now.duration_since(self.rotation_checked) >= ROTATION_CHECK;
        if check {
            self.rotation_checked = now;
        }
        let moved = || self.options.target.moved(self.sink.file());
        if !(asked || check && moved()) {
            return;
        }
        self.flush();
        // If the new file cannot be opened, the old one goes on: its lines are not lost.
        match self.options.target.open(&self.counters.sink) {
            Ok(file) => {
                self.sink.replace(file, &self.counters.sink);
                self.is_stuck = false;
            }
            Err(error) if !self.is_stuck => {
                self.is_stuck = true;
                eprintln!(
                    "note: {error}: events go on into the file that was moved away\n [hint] its \
                     folder must let the engine's user make files; it is tried each second"
                );
            }
            Err(_) => {}
        }
    }

    /// Writes all that is gathered; what the target does not take is counted as lost.
    pub fn finish(mut self) -> Arc<WriterCounters> {
        self.sink.finish(&self.counters.sink);
        self.counters
    }
}

/// The end of a line, with the name of this machine.
fn host_of(name: &str) -> Vec<u8> {
    let name = serde_json::Value::from(name);
    format!(",\"host\":{name}}}\n").into_bytes()
}

/// The event writer's thread.
pub struct Writer {
    handle: WriterHandle,
    thread: JoinHandle<()>,
}

impl Writer {
    /// Opens the target and starts the thread.
    ///
    /// # Errors
    /// The target cannot be opened, or the system has no thread left.
    pub fn start(
        queues: Vec<Arc<EventQueue>>,
        signatures: Arc<dyn SignatureInfo>,
        options: Options,
    ) -> io::Result<Writer> {
        let log = Log::open(signatures, options)?;
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            reopen: AtomicBool::new(false),
            submitted: ArrayQueue::new(SUBMITTED_MAX),
            queues: queues.clone(),
            counters: Arc::clone(&log.counters),
        });
        let work = Work {
            queues,
            log,
            shared: Arc::clone(&shared),
        };
        let thread = std::thread::Builder::new()
            .name("sluice-eve".to_string())
            .spawn(move || work.run())?;
        Ok(Writer {
            handle: WriterHandle { shared },
            thread,
        })
    }

    /// What other threads need.
    pub fn handle(&self) -> WriterHandle {
        self.handle.clone()
    }

    /// Writes all events that are queued and ends the thread. To be called when no lane adds more;
    /// afterwards every event is counted as written or lost.
    pub fn stop(self) -> WriterHandle {
        self.handle.shared.stop.store(true, Release);
        // A panic of the writer is told by the default hook; its events count as lost.
        let _ = self.thread.join();
        self.handle
    }
}

/// What the thread owns.
struct Work {
    queues: Vec<Arc<EventQueue>>,
    log: Log,
    shared: Arc<Shared>,
}

impl Work {
    fn run(mut self) {
        self.queues.iter().for_each(|queue| queue.attend());
        loop {
            // Read before the queues: what was queued before `stop` is then seen below.
            let stopping = self.shared.stop.load(Acquire);
            let mut worked = false;
            for queue in &self.queues {
                worked |= turn(queue, &mut self.log);
            }
            while let Some(line) = self.shared.submitted.pop() {
                worked = true;
                self.log.submit(&line);
            }
            self.log.rotate(self.shared.reopen.swap(false, Acquire));
            if worked {
                continue;
            }
            if stopping {
                break;
            }
            self.log.flush();
            EventQueue::rest(IDLE);
        }
        self.log.finish();
    }
}

/// Takes events of one queue; whether there were any.
fn turn(queue: &EventQueue, log: &mut Log) -> bool {
    for taken in 0..TURN_MAX {
        let Some(event) = queue.take() else {
            return taken > 0;
        };
        log.write(&event);
        queue.give_back(event);
    }
    true
}

/// What a line is made of beside its event.
#[derive(Clone, Copy, Default)]
struct Beside {
    /// Where the event's file was stored.
    stored: Option<Stored>,
    /// The line is about this direction of the flow.
    netflow: Option<Direction>,
}

/// Writes an event into `buffer`, emptied before, as one line.
fn encode(
    event: &Event,
    beside: Beside,
    signatures: &dyn SignatureInfo,
    options: &Options,
    buffer: &mut Vec<u8>,
) {
    let mut written = false;
    if !event.variables.is_empty() && options.eve.metadata {
        signatures.names(&mut |names| {
            encode_named(event, beside, signatures, (options, Some(names)), buffer);
            written = true;
        });
    }
    if !written {
        encode_named(event, beside, signatures, (options, None), buffer);
    }
}

/// The same, once it is known what the event's variables are called.
fn encode_named(
    event: &Event,
    beside: Beside,
    signatures: &dyn SignatureInfo,
    (options, names): (&Options, Option<&VariableNames>),
    buffer: &mut Vec<u8>,
) {
    buffer.clear();
    let mut shown = false;
    if event.signature != u32::MAX {
        signatures.alert(event.generation, event.signature, &mut |info| {
            buffer.clear();
            shown = true;
            put(event, beside, Some(info), (options, names), buffer);
        });
    }
    if !shown {
        put(event, beside, None, (options, names), buffer);
    }
}

fn put(
    event: &Event,
    beside: Beside,
    info: Option<AlertInfo>,
    (options, names): (&Options, Option<&VariableNames>),
    buffer: &mut Vec<u8>,
) {
    let mut record = match beside.netflow {
        Some(direction) => record::netflow(event, direction, options),
        None => record::record(event, info, options),
    };
    record.note_variables(names.map(|names| Noted::new(&event.variables, names)));
    record.note_stored(beside.stored);
    let written = text::line(buffer, &record);
    debug_assert!(written.is_ok(), "a record has no value that JSON lacks");
}

#[cfg(test)]
mod tests;
