//! Counters of one worker: plain single-writer cells that the control thread adds up.
//!
//! A worker owns its `Counters` as the only writer (load, add, store: no locked instruction), the
//! control thread reads them with relaxed loads. Nothing here formats or allocates after start.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal $(, $label:literal = $value:literal)?;)+) => {
        /// One counter of a worker. Names and labels follow METRICS.md; several values may share a
        /// family and differ by one label.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u16)]
        pub enum Counter { $($(#[doc = $doc])+ $variant,)+ }

        impl Counter {
            /// All counters, in the order of their numbers.
            pub const ALL: &'static [Counter] = &[$(Counter::$variant,)+];

            /// Exported family name, without labels.
            pub const fn name(self) -> &'static str {
                match self { $(Counter::$variant => $name,)+ }
            }

            /// The label that tells this member of the family from the others.
            pub const fn label(self) -> Option<(&'static str, &'static str)> {
                match self { $(Counter::$variant => {
                    #[allow(unused_mut, unused_assignments)]
                    let mut label = None;
                    $(label = Some(($label, $value));)?
                    label
                })+ }
            }

            /// HELP text.
            pub const fn help(self) -> &'static str {
                match self { $(Counter::$variant => concat!($($doc,)+),)+ }
            }
        }
    };
}

counters! {
    /// Frames taken from ports.
    PacketsReceived = "sluice_packets_received_total";
    /// Bytes of frames taken from ports.
    BytesReceived = "sluice_bytes_received_total";
    /// Frames by verdict.
    PacketsForwarded = "sluice_packets_total", "verdict" = "pass";
    /// Frames by verdict.
    PacketsDropped = "sluice_packets_total", "verdict" = "drop";
    /// Frames by verdict.
    PacketsRejected = "sluice_packets_total", "verdict" = "reject";
    /// Frames by verdict.
    PacketsBypassed = "sluice_packets_total", "verdict" = "bypass";
    /// Bytes of forwarded frames.
    BytesForwarded = "sluice_bytes_total", "verdict" = "pass";
    /// Bytes of dropped and rejected frames.
    BytesDropped = "sluice_bytes_total", "verdict" = "drop";
    /// Frames that an engine held when it died, by what became of it.
    PacketsLost = "sluice_lost_packets_total", "reason" = "crash";
    /// RST segments and ICMP errors built for reject verdicts.
    RejectRst = "sluice_reject_sent_total", "kind" = "rst";
    /// RST segments and ICMP errors built for reject verdicts.
    RejectIcmp = "sluice_reject_sent_total", "kind" = "icmp";
    /// Reject packets that could not be built or sent.
    RejectLost = "sluice_reject_lost_total";
    /// Views made: inner packets, reassembled datagrams, stream pieces, ends of flows.
    Views = "sluice_views_total";
    /// Views that were wanted while no context was free.
    ViewsExhausted = "sluice_views_exhausted_total";
    /// Frames that crossed the mesh to the lane that owns their flow.
    MeshCrossed = "sluice_mesh_crossed_total";
    /// Times a worker found the ring to the next worker full.
    RingFull = "sluice_ring_full_total";
    /// Bursts that carried at least one packet.
    Bursts = "sluice_bursts_total";
    /// Flows admitted to the table.
    FlowsCreated = "sluice_flows_created_total";
    /// Flows that ended, by reason.
    FlowsEndedTimeout = "sluice_flows_ended_total", "reason" = "timeout";
    /// Flows that ended, by reason.
    FlowsEndedClosed = "sluice_flows_ended_total", "reason" = "closed";
    /// Flows that ended, by reason.
    FlowsEndedEvicted = "sluice_flows_ended_total", "reason" = "evicted";
    /// Flows that ended, by reason.
    FlowsEndedShutdown = "sluice_flows_ended_total", "reason" = "shutdown";
    /// Flows that ended, by reason.
    FlowsEndedCrash = "sluice_flows_ended_total", "reason" = "crash";
    /// New flows refused because the table was full.
    FlowsRefused = "sluice_flows_refused_total";
    /// Flows that reached the rate of `flow.rate-tracking`, by direction.
    FlowsElephant = "sluice_flows_elephant_total", "direction" = "any";
    /// Flows that reached the rate of `flow.rate-tracking`, by direction.
    FlowsElephantToServer = "sluice_flows_elephant_total", "direction" = "to_server";
    /// Flows that reached the rate of `flow.rate-tracking`, by direction.
    FlowsElephantToClient = "sluice_flows_elephant_total", "direction" = "to_client";
    /// TCP segments by what became of their bytes.
    SegmentsInOrder = "sluice_stream_segments_total", "result" = "in_order";
    /// TCP segments by what became of their bytes.
    SegmentsBuffered = "sluice_stream_segments_total", "result" = "buffered";
    /// TCP segments by what became of their bytes.
    SegmentsRetransmit = "sluice_stream_segments_total", "result" = "retransmit";
    /// TCP segments by what became of their bytes.
    SegmentsOverlap = "sluice_stream_segments_total", "result" = "overlap";
    /// TCP segments by what became of their bytes.
    SegmentsOutOfWindow = "sluice_stream_segments_total", "result" = "out_of_window";
    /// TCP segments by what became of their bytes.
    SegmentsLimit = "sluice_stream_segments_total", "result" = "limit";
    /// Holes in a stream that were given up.
    StreamGaps = "sluice_stream_gaps_total";
    /// Streams that reached their inspection depth.
    StreamDepthReached = "sluice_stream_depth_reached_total";
    /// Exception policies applied, by what went wrong.
    ExceptionsMidstream = "sluice_exceptions_total", "area" = "midstream";
    /// Exception policies applied, by what went wrong.
    ExceptionsConnectionMemory = "sluice_exceptions_total", "area" = "connection_memory";
    /// Exception policies applied, by what went wrong.
    ExceptionsStreamMemory = "sluice_exceptions_total", "area" = "stream_memory";
    /// Exception policies applied, by what went wrong.
    ExceptionsFlowTable = "sluice_exceptions_total", "area" = "flow_table";
    /// Exception policies applied, by what went wrong.
    ExceptionsFragments = "sluice_exceptions_total", "area" = "fragments";
    /// Exception policies applied, by what went wrong.
    ExceptionsAppError = "sluice_exceptions_total", "area" = "app_error";
    /// Exception policies applied, by what went wrong.
    ExceptionsMatchBudget = "sluice_exceptions_total", "area" = "match_budget";
    /// Exception policies applied, by what went wrong.
    ExceptionsStreamDepth = "sluice_exceptions_total", "area" = "stream_depth";
    /// IP fragments seen.
    Fragments = "sluice_fragments_total", "result" = "received";
    /// IP fragments whose datagram became whole.
    FragmentsCompleted = "sluice_fragments_total", "result" = "completed";
    /// IP fragments given up by age or for room.
    FragmentsExpired = "sluice_fragments_total", "result" = "expired";
    /// IP fragments refused (overlap, impossible, no memory).
    FragmentsRefused = "sluice_fragments_total", "result" = "refused";
    /// Signatures that the prefilter (or its absence) proposed for verification.
    Candidates = "sluice_candidates_total";
    /// Bytes given to prefilters.
    PrefilterBytes = "sluice_prefilter_scanned_bytes_total";
    /// Matches of signatures, before thresholds.
    SignatureHits = "sluice_signature_hits_total";
    /// Alerts emitted.
    Alerts = "sluice_alerts_emitted_total";
    /// Alerts withheld, by cause.
    AlertsThreshold = "sluice_alerts_suppressed_total", "why" = "threshold";
    /// Alerts withheld, by cause.
    AlertsSuppressed = "sluice_alerts_suppressed_total", "why" = "suppress";
    /// Alerts withheld, by cause.
    AlertsQueueFull = "sluice_alerts_suppressed_total", "why" = "queue_full";
    /// Verifications cut short by the recursion or step limit.
    VerifyBudget = "sluice_verify_budget_exhausted_total";
    /// Regex searches cut short by their step limit.
    PcreSteps = "sluice_pcre_steps_exhausted_total";
    /// Bodies in a coding that is not decoded (LZMA, unless settings ask for it), looked at as they are.
    BodiesUndecoded = "sluice_bodies_undecoded_total";
    /// Detection state (flowbit slabs, thresholds, variables) that did not fit its pool.
    DetectionStateLost = "sluice_detection_state_lost_total";
    /// Streams whose older bytes were let go because all windows were in use: matches that reach
    /// further back than a few bytes are missed there.
    StreamHistoriesCut = "sluice_stream_histories_cut_total";
    /// Events handed to the writer.
    Events = "sluice_events_emitted_total";
    /// Events lost because the pool or the queue to the writer was empty or full.
    EventsLost = "sluice_events_lost_total", "sink" = "writer";
    /// Flowbits, flow counters and variables that an event had no room for.
    EventVariablesLost = "sluice_event_variables_lost_total";
    /// Files that were told of, or stored.
    Files = "sluice_files_total";
    /// Pieces of stored files handed to the writer.
    FilePieces = "sluice_file_pieces_total";
    /// Pieces of stored files lost because no event was free; their files are stored in part.
    FilePiecesLost = "sluice_file_pieces_lost_total";
    /// Events withheld because their kind reached its cap per second.
    EventsCappedDrop = "sluice_events_capped_total", "type" = "drop";
    /// Events withheld because their kind reached its cap per second.
    EventsCappedAnomaly = "sluice_events_capped_total", "type" = "anomaly";
    /// Events withheld because their kind reached its cap per second.
    EventsCappedPacket = "sluice_events_capped_total", "type" = "packet";
}

/// Slots for anomaly counters (`decode::Anomaly` has fewer values).
pub const ANOMALY_COUNT_MAX: usize = 256;

/// Classes of flows: TCP, UDP, ICMP and the rest, each new, established and closed (as
/// flow/expiry.rs numbers them).
pub const FLOW_CLASSES: usize = 12;

/// Protocols of the application layer that are counted apart (app's `AppProtocol` has fewer).
pub const APPS_MAX: usize = 64;

/// What a decoded packet is, to be counted: its version of IP above the protocol on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Carried {
    /// None of the others.
    Other,
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP of IPv4.
    Icmp,
    /// ICMP of IPv6.
    Icmpv6,
    /// SCTP.
    Sctp,
    /// Anything over ARP's type; no IP.
    Arp,
}

/// Versions of IP (none, 4, 6) with eight places each for what they carry.
const DECODED: usize = 3 * 8;

/// Buckets of a duration histogram: bucket i holds values below 500 ns * 2^i, the last is +Inf
/// (METRICS.md: 0.5 us * 2^n to 16 ms).
pub const BUCKETS: usize = 17;

/// A single-writer histogram of nanoseconds.
#[derive(Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

impl Histogram {
    /// Adds `count` observations of `nanos` each. Single writer.
    pub fn observe(&self, nanos: u64, count: u64) {
        let bucket = (64 - (nanos / 500).leading_zeros() as usize).min(BUCKETS - 1);
        bump(&self.buckets[bucket], count);
        bump(&self.sum, nanos.saturating_mul(count));
    }

    /// Counts per bucket, and the sum in nanoseconds.
    pub fn read(&self) -> ([u64; BUCKETS], u64) {
        (
            std::array::from_fn(|i| self.buckets[i].load(Relaxed)),
            self.sum.load(Relaxed),
        )
    }
}

/// Steps of a lane whose durations are sampled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Timed {
    /// Taking frames from the port.
    Receive,
    /// Decode stage.
    Decode,
    /// Flow stage.
    Flow,
    /// Match stage.
    Match,
    /// Verdict stage, handing frames to the port included.
    Verdict,
    /// A frame's way from receive to transmit.
    Packet,
}

impl Timed {
    /// All timed steps.
    pub const ALL: [Timed; 6] = [
        Timed::Receive,
        Timed::Decode,
        Timed::Flow,
        Timed::Match,
        Timed::Verdict,
        Timed::Packet,
    ];

    /// Label value.
    pub const fn name(self) -> &'static str {
        match self {
            Timed::Receive => "receive",
            Timed::Decode => "decode",
            Timed::Flow => "flow",
            Timed::Match => "match",
            Timed::Verdict => "verdict",
            Timed::Packet => "packet",
        }
    }
}

/// The cells of one worker, all of them 64-bit words: may lie in memory that outlives the process
/// (keeper/board.rs), so that a new engine counts on where a dead one stopped (I7).
#[repr(C)]
pub struct CounterCells {
    values: [AtomicU64; Counter::ALL.len()],
    dropped: [AtomicU64; crate::reason::REASON_COUNT_MAX],
    would_drop: [AtomicU64; crate::reason::REASON_COUNT_MAX],
    anomalies: [AtomicU64; ANOMALY_COUNT_MAX],
    flows: [AtomicU64; FLOW_CLASSES],
    flows_new: [AtomicU64; FLOW_CLASSES],
    decoded: [AtomicU64; DECODED],
    app_flows: [AtomicU64; 2 * APPS_MAX],
    app_transactions: [AtomicU64; 2 * APPS_MAX],
    busy_ns: AtomicU64,
    /// Durations per packet, nanoseconds, by step.
    pub durations: [Histogram; 6],
}

/// Place of a protocol's cell.
pub fn of_app(app: u8, tcp: bool) -> usize {
    usize::from(app) << 1 | usize::from(tcp)
}

fn bump(cell: &AtomicU64, by: u64) {
    cell.store(cell.load(Relaxed).wrapping_add(by), Relaxed);
}

fn zeros<const N: usize>() -> [AtomicU64; N] {
    std::array::from_fn(|_| AtomicU64::new(0))
}

impl Default for CounterCells {
    fn default() -> Self {
        CounterCells {
            values: zeros(),
            dropped: zeros(),
            would_drop: zeros(),
            anomalies: zeros(),
            flows: zeros(),
            flows_new: zeros(),
            decoded: zeros(),
            app_flows: zeros(),
            app_transactions: zeros(),
            busy_ns: AtomicU64::new(0),
            durations: Default::default(),
        }
    }
}

/// All counters of one worker. Written by that worker alone, read by the control thread.
pub struct Counters {
    home: Home,
}

/// Where the cells lie.
enum Home {
    Own(Box<CounterCells>),
    Given(&'static CounterCells),
}

impl Default for Counters {
    fn default() -> Self {
        Counters {
            home: Home::Own(Box::default()),
        }
    }
}

impl std::ops::Deref for Counters {
    type Target = CounterCells;

    fn deref(&self) -> &CounterCells {
        match &self.home {
            Home::Own(cells) => cells,
            Home::Given(cells) => cells,
        }
    }
}

impl Counters {
    /// Counters over cells that lie elsewhere, with what they say already.
    pub fn over(cells: &'static CounterCells) -> Counters {
        Counters {
            home: Home::Given(cells),
        }
    }
}

impl CounterCells {
    /// Adds to one counter. Single writer.
    pub fn add(&self, counter: Counter, by: u64) {
        bump(&self.values[counter as usize], by);
    }

    /// Frames dropped, over all reasons.
    pub fn dropped_total(&self) -> u64 {
        let add = |sum: u64, cell: &AtomicU64| sum.wrapping_add(cell.load(Relaxed));
        self.dropped.iter().fold(0, add)
    }

    /// Forgets which flows are active: the table that they stood in is gone.
    pub fn forget_flows(&self) {
        self.flows.iter().for_each(|cell| cell.store(0, Relaxed));
    }

    /// Adds one. Single writer.
    pub fn inc(&self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Adds time in which the worker moved packets. Single writer.
    pub fn busy_for(&self, nanos: u64) {
        bump(&self.busy_ns, nanos);
    }

    /// Nanoseconds in which the worker moved packets, estimated from every so many-th turn.
    pub fn busy_ns(&self) -> u64 {
        self.busy_ns.load(Relaxed)
    }

    /// Counts a frame dropped for `reason`.
    pub fn drop_for(&self, reason: crate::reason::Reason) {
        bump(&self.dropped[reason as usize], 1);
    }

    /// Counts a frame that a tap would have dropped for `reason`.
    pub fn would_drop_for(&self, reason: crate::reason::Reason) {
        bump(&self.would_drop[reason as usize], 1);
    }

    /// Counts an anomaly by its number.
    pub fn anomaly(&self, code: u8) {
        bump(&self.anomalies[code as usize], 1);
    }

    /// A flow changed its class; `None` is outside of the table. Single writer.
    pub fn flow_moved(&self, from: Option<u8>, to: Option<u8>) {
        for (class, by) in [(from, u64::MAX), (to, 1)] {
            let cell = class.and_then(|class| self.flows.get(usize::from(class)));
            if let Some(cell) = cell {
                bump(cell, by);
            }
        }
        let new = to.filter(|_| from.is_none());
        if let Some(cell) = new.and_then(|class| self.flows_new.get(usize::from(class))) {
            bump(cell, 1);
        }
    }

    /// Flows that were taken in, by the class that they had then.
    pub fn flows_new(&self, class: usize) -> u64 {
        let cell = self.flows_new.get(class);
        cell.map_or(0, |cell| cell.load(Relaxed))
    }

    /// Counts a decoded packet; `version`: 0 without IP, 1 of IPv4, 2 of IPv6. Single writer.
    pub fn decoded(&self, version: u8, carried: Carried) {
        if let Some(cell) = self.decoded.get(usize::from(version << 3 | carried as u8)) {
            bump(cell, 1);
        }
    }

    /// Packets that were decoded, as `decoded` counts them.
    pub fn decoded_as(&self, version: u8, carried: Carried) -> u64 {
        let cell = self.decoded.get(usize::from(version << 3 | carried as u8));
        cell.map_or(0, |cell| cell.load(Relaxed))
    }

    /// Counts a flow, over TCP or UDP, that was found to speak this protocol. Single writer.
    pub fn app_flow(&self, app: u8, tcp: bool) {
        if let Some(cell) = self.app_flows.get(of_app(app, tcp)) {
            bump(cell, 1);
        }
    }

    /// Counts transactions of a protocol. Single writer.
    pub fn app_transactions(&self, app: u8, tcp: bool, by: u32) {
        if let Some(cell) = self.app_transactions.get(of_app(app, tcp)) {
            bump(cell, u64::from(by));
        }
    }

    /// Flows and transactions of a protocol.
    pub fn apps(&self, app: u8, tcp: bool) -> [u64; 2] {
        let get = |cells: &[AtomicU64]| {
            let cell = cells.get(of_app(app, tcp));
            cell.map_or(0, |cell| cell.load(Relaxed))
        };
        [get(&self.app_flows), get(&self.app_transactions)]
    }

    /// Flows of a class that this worker took in, less those it ended: wraps, and is exact in the
    /// wrapping sum of all workers.
    pub fn flows(&self, class: usize) -> u64 {
        self.flows.get(class).map_or(0, |cell| cell.load(Relaxed))
    }

    /// Current value of a counter.
    pub fn get(&self, counter: Counter) -> u64 {
        self.values[counter as usize].load(Relaxed)
    }

    /// Frames dropped for `reason`.
    pub fn dropped(&self, reason: crate::reason::Reason) -> u64 {
        self.dropped[reason as usize].load(Relaxed)
    }

    /// Frames that would have been dropped for `reason`.
    pub fn would_drop(&self, reason: crate::reason::Reason) -> u64 {
        self.would_drop[reason as usize].load(Relaxed)
    }

    /// Occurrences of the anomaly with this number.
    pub fn anomalies(&self, code: u8) -> u64 {
        self.anomalies[code as usize].load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histogram_buckets_double() {
        let histogram = Histogram::default();
        for nanos in [0, 499, 500, 999, 1000, u64::MAX] {
            histogram.observe(nanos, 1);
        }
        let (buckets, _) = histogram.read();
        assert_eq!(buckets[0], 2);
        assert_eq!(buckets[1], 2);
        assert_eq!(buckets[2], 1);
        assert_eq!(buckets[BUCKETS - 1], 1);
    }
}
