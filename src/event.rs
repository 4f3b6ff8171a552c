//! Events on their way from a lane to the writer, and `Emit`, a stage's way out of the burst.
//!
//! An event is a preallocated box that circulates: a worker takes one from the free queue, fills
//! it in and hands it to the writer, which formats it (eve/) and gives it back. No free box means
//! a counted loss and never another verdict. Invariant: a lane never formats text.

use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::Duration;

use crossbeam_queue::ArrayQueue;

use crate::counters::{Counter, Counters};
use crate::memory::Handle;
use crate::packet::{
    Context, Direction, FlowHandle, FlowValues, Kind, RejectTo, Tuple, VLANS_MAX, Verdict, flag,
};
use crate::reason::Reason;

mod variables;

pub use variables::{VARIABLES_MAX, Variable, Variables};

/// Payload bytes that an event can carry (Suricata's `payload-buffer-size` default is 4 kB).
pub const EVENT_PAYLOAD_MAX: usize = 4096;
/// Packet bytes that an event can carry.
pub const EVENT_PACKET_MAX: usize = 2048;
/// Bytes of an application record that an event can carry.
pub const EVENT_RECORD_MAX: usize = 4096;
/// Bytes of a frame that a stage can build (RST, ICMP error with the quoted header).
pub const BUILT_MAX: usize = 1514;
/// Built frames that wait for the port in one burst.
pub const BUILT_COUNT_MAX: usize = 64;

/// What an event tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum EventKind {
    /// A signature matched.
    #[default]
    Alert,
    /// A packet was dropped or rejected (or would have been).
    Drop,
    /// A flow ended.
    Flow,
    /// Something malformed was seen.
    Anomaly,
    /// A transaction of the application layer is complete (`record`).
    App,
    /// A packet that a `tag` asked for.
    Packet,
    /// A file of a transaction is complete (`file`, `record`; its name stands in `payload`).
    File,
    /// A packet of ARP.
    Arp,
    /// A frame of the application layer is complete (`record`).
    Frame,
    /// Bytes of a file that is stored (`file`, `payload`): for the store, no line of the log.
    FilePiece,
}

/// What an event says about a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FileNote {
    /// Number of the file in its lane.
    pub number: u64,
    /// Piece: where in the file it belongs.
    pub offset: u64,
    /// Bytes that were seen in all.
    pub size: u64,
    /// Its end was not seen, or lies beyond a limit.
    pub truncated: bool,
    /// Bytes were missing in it.
    pub gaps: bool,
    /// Its bytes went to the store.
    pub stored: bool,
    /// MD5, if it was asked for and the file is whole; so for the others.
    pub md5: Option<[u8; 16]>,
    /// SHA-1.
    pub sha1: Option<[u8; 20]>,
    /// SHA-256.
    pub sha256: Option<[u8; 32]>,
}

/// What the alert says about the packet's fate, as EVE's `alert.action`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AlertAction {
    /// The packet went on.
    #[default]
    Allowed,
    /// It was dropped (or would have been, in a tap: `would_drop`).
    Blocked,
}

/// What the engine decided about a packet, once all its rules were asked (EVE's `verdict`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Decision {
    /// What happened to the packet.
    pub action: Decided,
    /// Whom a reject answers (or would, in a tap).
    pub reject: Option<RejectTo>,
}

impl Decision {
    /// That of a packet that does not go on.
    pub fn to_drop(context: &Context) -> Decision {
        let rejects = matches!(context.verdict, Verdict::Reject(_));
        Decision {
            action: Decided::Drop,
            reject: rejects.then_some(context.reject_to),
        }
    }
}

/// See [`Decision`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Decided {
    /// It went on.
    #[default]
    Alert,
    /// It went on, as a pass rule had it.
    Pass,
    /// It was dropped.
    Drop,
}

/// What a flow spoke, by the numbers of app's `AppProtocol`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Spoken {
    /// What each direction's own bytes told; 0: nothing yet.
    pub sides: [u8; 2],
    /// What it was before it changed (STARTTLS, CONNECT, upgrades); 0: it did not.
    pub original: u8,
    /// What it was to become; 0: anything.
    pub expected: u8,
    /// Transactions begun so far.
    pub transactions: u32,
}

/// The packet that carried the one at hand in a tunnel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outer {
    /// Its tuple, canonical.
    pub tuple: Tuple,
    /// Its packet flags.
    pub flags: u32,
    /// Its IP protocol.
    pub protocol: u8,
    /// What its context stood for.
    pub view: Kind,
}

/// One event. Everything that the writer needs is copied in, since frames move on.
#[derive(Debug, Default)]
pub struct Event {
    /// What it tells.
    pub kind: EventKind,
    /// Arrival of the packet, nanoseconds since the epoch.
    pub time_ns: u64,
    /// Number of the packet in the capture, 0 live (EVE `pcap_cnt`).
    pub order: u64,
    /// The flow, for `flow_id` (with `flow_start_ns`, so that it is unique).
    pub flow: FlowHandle,
    /// Canonical tuple.
    pub tuple: Tuple,
    /// Packet flags (packet::flag), which say version and which endpoint is the source.
    pub flags: u32,
    /// IP protocol.
    pub protocol: u8,
    /// Way within the flow.
    pub direction: Direction,
    /// Port index that the frame came from.
    pub port: u8,
    /// What the context stood for.
    pub view: Kind,
    /// VLAN ids, outermost first.
    pub vlans: [u16; VLANS_MAX],
    /// Valid VLAN ids.
    pub vlan_count: u8,
    /// Layers of tunnel around the packet.
    pub depth: u8,
    /// Alert, event of a transaction: the packet around it.
    pub outer: Option<Outer>,
    /// Lane that emitted it.
    pub lane: u8,
    /// Generation of the rule set that `signature` belongs to.
    pub generation: u32,
    /// Index of the signature in the rule set; `u32::MAX` if none.
    pub signature: u32,
    /// Alert: fate of the packet.
    pub action: AlertAction,
    /// Alert: whether a drop is only notional (tap, shadow).
    pub would_drop: bool,
    /// Alert: matched in stream data rather than in the packet alone.
    pub stream: bool,
    /// Drop: why.
    pub reason: Option<Reason>,
    /// Anomaly: code (decode::Anomaly as u8).
    pub anomaly: u8,
    /// Anomaly of a parser: number of app's `AppEvent`.
    pub app_event: Option<u16>,
    /// Anomaly of a parser: number of the transaction, if it is of one.
    pub app_number: Option<u32>,
    /// Flow: whether an alert was raised in it.
    pub alerted: bool,
    /// What the flow speaks (number of app's `AppProtocol`).
    pub app: u8,
    /// Alert, flow: what the flow spoke.
    pub spoken: Spoken,
    /// Alert, drop: what was decided about the packet.
    pub decision: Decision,
    /// The transaction, as app/record.rs writes it; empty if none. Room of [`EVENT_RECORD_MAX`], or
    /// more where settings ask for more.
    pub record: Vec<u8>,
    /// File, piece of a file: which, and what is known of it.
    pub file: FileNote,
    /// Flow values as of this packet, or at the end.
    pub values: FlowValues,
    /// Payload or stream bytes, at most [`EVENT_PAYLOAD_MAX`].
    pub payload: Vec<u8>,
    /// Frame bytes from `packet_start`, at most [`EVENT_PACKET_MAX`].
    pub packet: Vec<u8>,
    /// Position of the network header in `packet`.
    pub l3: u16,
    /// Position of the transport header in `packet`.
    pub l4: u16,
    /// Link type of `packet` (decode::LinkType as u8).
    pub link: u8,
    /// Flowbits, flow counters and variables of the flow and the packet.
    pub variables: Variables,
}

impl Event {
    /// An event whose byte fields have their room already, `record` so much.
    pub fn with_room(record: usize) -> Event {
        Event {
            payload: room(EVENT_PAYLOAD_MAX),
            packet: room(EVENT_PACKET_MAX),
            record: room(record),
            variables: Variables::with_room(),
            signature: u32::MAX,
            ..Event::default()
        }
    }

    /// Takes over what a context says and the start of its bytes; all else is as in a new event.
    /// Byte fields keep their room. Written where it lies: most of it is nought already.
    pub fn fill(&mut self, new: EventKind, context: &Context, bytes: &[u8]) {
        let Event {
            kind,
            time_ns,
            order,
            flow,
            tuple,
            flags,
            protocol,
            direction,
            port,
            view,
            vlans,
            vlan_count,
            depth,
            outer,
            lane: _,
            generation,
            signature,
            action,
            would_drop,
            stream,
            reason,
            anomaly,
            app_event,
            app_number,
            alerted,
            app,
            spoken,
            decision,
            record,
            file,
            values,
            payload,
            packet,
            l3,
            l4,
            link,
            variables,
        } = self;
        *kind = new;
        (*time_ns, *order, *flow) = (context.time_ns, context.order, context.flow);
        (*tuple, *flags, *protocol) = (context.tuple, context.flags, context.protocol);
        (*direction, *port, *view) = (context.direction, context.port, context.kind);
        (*vlans, *vlan_count) = (context.vlans, context.vlan_count);
        (*depth, *values, *app) = (context.depth, context.values, context.app);
        (*l3, *l4, *link) = (context.l3, context.l4, context.link);
        (*generation, *signature, *outer) = (0, u32::MAX, None);
        (*action, *would_drop, *stream) = (AlertAction::default(), false, false);
        (*reason, *anomaly, *alerted) = (None, 0, false);
        (*app_event, *app_number) = (None, None);
        (*spoken, *decision) = (Spoken::default(), Decision::default());
        *file = FileNote::default();
        payload.clear();
        record.clear();
        variables.clear();
        packet.clear();
        let kept = bytes.len().min(EVENT_PACKET_MAX);
        packet.extend_from_slice(bytes.get(..kept).unwrap_or(&[]));
    }

    /// Tells of the end of a flow.
    pub fn fill_flow_end(&mut self, context: &Context, now_ns: u64) {
        self.fill(EventKind::Flow, context, &[]);
        self.alerted = context.has(flag::ALERTED);
        if self.time_ns == 0 {
            self.time_ns = now_ns;
        }
    }

    /// Tells of a packet that was dropped for a reason, or would have been.
    pub fn fill_drop(&mut self, context: &Context, bytes: &[u8], reason: Reason, notional: bool) {
        self.fill(EventKind::Drop, context, bytes);
        (self.reason, self.would_drop) = (Some(reason), notional);
        (self.signature, self.generation) = (context.signature, context.generation);
        self.decision = Decision::to_drop(context);
    }

    /// Copies payload bytes, as many as fit.
    pub fn set_payload(&mut self, bytes: &[u8]) {
        self.payload.clear();
        let kept = bytes.len().min(EVENT_PAYLOAD_MAX);
        self.payload
            .extend_from_slice(bytes.get(..kept).unwrap_or(&[]));
    }
}

/// An empty vector whose memory has been written to, so that its pages are there already.
fn room(size: usize) -> Vec<u8> {
    let mut room = vec![0xa5; size];
    room.clear();
    room
}

/// The two queues between one worker and the writer.
pub struct EventQueue {
    full: ArrayQueue<Box<Event>>,
    free: ArrayQueue<Box<Event>>,
    /// The thread that takes events, once it has come.
    taker: OnceLock<Thread>,
}

impl EventQueue {
    /// Queues with `count` events between them, all free.
    pub fn new(count: usize) -> Arc<EventQueue> {
        EventQueue::with_records(count, EVENT_RECORD_MAX)
    }

    /// The same, of events with so many bytes of room for a record.
    pub fn with_records(count: usize, record: usize) -> Arc<EventQueue> {
        let queue = EventQueue {
            full: ArrayQueue::new(count.max(1)),
            free: ArrayQueue::new(count.max(1)),
            taker: OnceLock::new(),
        };
        for _ in 0..count {
            let pushed = queue.free.push(Box::new(Event::with_room(record)));
            debug_assert!(pushed.is_ok(), "the free queue has room for all events");
        }
        Arc::new(queue)
    }

    /// The writer's side: the calling thread is the one that takes events, and sleeps in
    /// [`EventQueue::rest`]. The first that comes stays.
    pub fn attend(&self) {
        let _ = self.taker.set(std::thread::current());
    }

    /// The writer's side, after `attend`: sleeps for so long, or until a worker that would wait for
    /// it has filled half of a queue.
    pub fn rest(longest: Duration) {
        std::thread::park_timeout(longest);
    }

    /// Ends a rest.
    fn wake(&self) {
        if let Some(taker) = self.taker.get() {
            taker.unpark();
        }
    }

    /// The writer's side: the next event.
    pub fn take(&self) -> Option<Box<Event>> {
        self.full.pop()
    }

    /// The writer's side: gives an event back.
    pub fn give_back(&self, event: Box<Event>) {
        let pushed = self.free.push(event);
        debug_assert!(pushed.is_ok(), "an event is given back once");
    }

    /// Events that wait for the writer.
    pub fn waiting(&self) -> usize {
        self.full.len()
    }

    /// Whether no event waits for the writer.
    pub fn is_empty(&self) -> bool {
        self.full.is_empty()
    }
}

/// A frame that a stage built, for the port on the side that it names.
#[derive(Clone, Debug)]
pub struct Built {
    /// Port index (0 inside, 1 outside) to send it from.
    pub port: u8,
    /// Valid bytes.
    pub length: u16,
    /// The frame.
    pub bytes: [u8; BUILT_MAX],
}

/// A stage's way out of the burst: contexts for views, events, built frames, counters.
pub struct Emit {
    /// Free contexts of this worker, for views.
    pub views: Vec<Handle>,
    /// To the event writer.
    pub events: Arc<EventQueue>,
    /// Frames to send besides the burst's own; room for [`BUILT_COUNT_MAX`], reused.
    pub built: Vec<Built>,
    /// Valid entries of `built`.
    pub built_count: usize,
    /// Counters of this worker.
    pub counters: Arc<Counters>,
    /// Lane number, for events.
    pub lane: u8,
    /// The moment of this burst, nanoseconds since the epoch: the clock, read once per burst, or
    /// the newest capture time stamp so far.
    pub now_ns: u64,
    /// Who takes the events.
    pub listener: Listener,
}

/// Who takes a worker's events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Listener {
    /// Nobody: none is made (bytes of files to be stored find no room, and are counted).
    Nobody,
    /// A writer that no packet waits for: what finds no room is lost, and counted.
    Live,
    /// In a replay, a writer that the worker waits for.
    Waited,
}

impl Emit {
    /// Takes a free context for a view; `None` (counted) when there is none.
    pub fn view(&mut self) -> Option<Handle> {
        let view = self.views.pop();
        self.counters.inc(if view.is_some() {
            Counter::Views
        } else {
            Counter::ViewsExhausted
        });
        view
    }

    /// Emits an event: `fill` writes it. A missing free event is counted as lost, or waited for in
    /// replay, where no wire is kept waiting.
    pub fn event(&mut self, fill: impl FnOnce(&mut Event)) {
        if self.listener == Listener::Nobody {
            return;
        }
        let mut free = self.events.free.pop();
        while free.is_none() && self.listener == Listener::Waited {
            self.events.wake();
            std::thread::yield_now();
            free = self.events.free.pop();
        }
        let Some(mut event) = free else {
            self.counters.inc(Counter::EventsLost);
            return;
        };
        fill(&mut event);
        event.lane = self.lane;
        let lost = event.variables.lost();
        self.counters
            .add(Counter::EventVariablesLost, u64::from(lost));
        self.counters.inc(Counter::Events);
        let pushed = self.events.full.push(event);
        debug_assert!(pushed.is_ok(), "the full queue has room for all events");
        if self.listener == Listener::Waited
            && self.events.waiting() == self.events.full.capacity() / 2
        {
            self.events.wake();
        }
    }

    /// Hands bytes of a stored file to the writer, piece by piece. Pieces leave a quarter of the
    /// events to others; false: one found no room and is lost (counted).
    pub fn file_bytes(&mut self, number: u64, offset: u64, bytes: &[u8]) -> bool {
        let reserve = self.events.free.capacity() / 4;
        for (place, piece) in bytes.chunks(EVENT_PAYLOAD_MAX).enumerate() {
            while self.events.free.len() <= reserve && self.listener == Listener::Waited {
                self.events.wake();
                std::thread::yield_now();
            }
            let room = self.events.free.len() > reserve;
            let free = room.then(|| self.events.free.pop()).flatten();
            let Some(mut event) = free else {
                self.counters.inc(Counter::FilePiecesLost);
                return false;
            };
            event.kind = EventKind::FilePiece;
            event.file = FileNote {
                number,
                offset: offset + (place * EVENT_PAYLOAD_MAX) as u64,
                ..FileNote::default()
            };
            event.lane = self.lane;
            event.set_payload(piece);
            self.counters.inc(Counter::FilePieces);
            let pushed = self.events.full.push(event);
            debug_assert!(pushed.is_ok(), "the full queue has room for all events");
        }
        true
    }

    /// A slot for a built frame; `None` when the burst's are used up.
    pub fn build(&mut self) -> Option<&mut Built> {
        if self.built_count == self.built.len() {
            return None;
        }
        self.built_count += 1;
        self.built.get_mut(self.built_count - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emit(events: usize) -> Emit {
        Emit {
            views: Vec::new(),
            events: EventQueue::new(events),
            built: Vec::new(),
            built_count: 0,
            counters: Arc::new(Counters::default()),
            lane: 2,
            now_ns: 0,
            listener: Listener::Live,
        }
    }

    #[test]
    fn an_empty_pool_is_a_counted_loss() {
        let mut emit = emit(1);
        emit.event(|event| event.order = 7);
        emit.event(|event| event.order = 8);
        assert_eq!(emit.counters.get(Counter::Events), 1);
        assert_eq!(emit.counters.get(Counter::EventsLost), 1);
        let event = emit.events.take().unwrap();
        assert_eq!((event.order, event.lane), (7, 2));
        emit.events.give_back(event);
        emit.event(|event| event.order = 9);
        assert_eq!(emit.events.take().unwrap().order, 9);
    }
}
