//! Sluice: an inline intrusion detection and prevention engine. This page is the map.
//!
//! Read `main.rs`, then [`lane`] (the one loop that every packet goes through), then the rooms in
//! the packet's order:
//!
//! ```text
//!  port ─► decode ─►│─► flow ─►│─► match ─►│─► verdict ─► port (other side)
//!                   mesh       └── SPSC rings where stages sit on two cores ──┘
//! ```
//!
//! A frame stays in its ring's buffer and is read only. What travels is a [`memory::Handle`], eight
//! bytes, naming a [`packet::Context`]; it is move-only, so whoever has it may write the context
//! and nobody else can. A *view* (inner packet, reassembled datagram, stream bytes that waited, end
//! of a flow) has a context of its own and follows its carrier. Match shows the bytes of a flow, in
//! order, to the parser of what it speaks ([`app`]), and rules see the transactions that come out.
//! Every frame ends in exactly one
//! count: forwarded, bypassed, dropped for a [`reason::Reason`], rejected.
//!
//! Deliberately absent: BPF, dynamic dispatch per packet, a clock read per packet, allocation after
//! start, and any room that looks at a room below it (tests/tidy.rs).

// --- what every room stands on ---
/// Settings, by Suricata's key names.
pub mod config;
/// Single-writer counters of a worker.
pub mod counters;
/// Which stages of a lane share a worker.
pub mod layout;
/// Shared memory and the move-only tokens that give the right to it.
pub mod memory;
/// Context, tuple, verdict: what is known of a packet.
pub mod packet;
/// SPSC rings between workers.
pub mod queue;
/// The closed list of reasons to drop.
pub mod reason;
/// Ticks and nanoseconds; who reads a clock.
pub mod time;

// --- the packet's way ---
/// Application protocols: transactions and their parts.
pub mod app;
/// Bytes to offsets, tuple, checksums, anomalies.
pub mod decode;
/// Events on their way out, and `Emit`, a stage's way out of the burst.
pub mod event;
/// Flow table, TCP, streams, fragments.
pub mod flow;
/// The loop, the mesh between lanes, and how workers are built.
pub mod lane;
/// Prefilter, verification, flow state, thresholds, arbitration.
pub mod matcher;
/// Where frames enter and leave: captures, memory rings, AF_PACKET, netmap.
pub mod port;
/// Rule text to signatures to rule set.
pub mod rules;
/// The decision of a frame, and the answers to rejects.
pub mod verdict;

// --- beside the path ---
/// Commands.
pub mod cli;
/// Metrics and the control socket.
pub mod control;
/// EVE JSON lines.
pub mod eve;
/// The process that owns the ports, and forwards when the engine is gone.
pub mod keeper;
/// Captures through the lanes.
pub mod replay;
