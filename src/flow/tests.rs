//! Tests of the flow stage as a whole: packets as bytes go through decode and flow, and what comes
//! out of the burst is compared. `bench.rs` is the bench; each other file is one subject.

use super::bench;
mod captures;
mod connections;
mod fragments;
mod model;
mod overlaps;
mod straight;
