//! The keeper: a small process that opened the ports, and forwards (or discards) when there is no
//! engine. It never looks into a frame; it starts the engine, watches that it lives, and gives it
//! the rings.
//!
//! ```text
//!            ports (descriptors, rings)          board (beats, futexes, counters, ledgers)
//!                 │                                   │
//!   keeper ───────┼─── starts, watches, takes over ───┼──── engine (no privileges)
//!                 └──── one of both has the rings ────┘
//! ```
//!
//! The rings change hands by one word of the board. An engine that is asked for them, or ends, lets
//! all its frames go out and says so, each worker at its post; of a dead one the kernel tells by the
//! robust futexes, and what it held is lost and counted (loss.rs). Frames are moved by the same
//! halves as in the engine (port/), so that this works for every kind of port.
//!
//! Who may import this: the lane (its pulse), and the command line. Deliberately absent: parsing,
//! allocation while it forwards, and any wait for the dead engine's memory to be torn down.

mod awake;
pub mod board;
pub mod channel;
pub mod child;
pub mod forward;
pub mod futex;
pub mod health;
pub mod loss;
pub mod notify;
pub mod ports;
pub mod pulse;
pub mod sandbox;
pub mod sched;
pub mod supervise;
