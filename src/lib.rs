//! Sluice.
pub mod config;
pub mod control;
pub mod counters;
pub mod decode;
pub mod eve;
pub mod event;
pub mod flow;
pub mod matcher;
pub mod memory;
pub mod packet;
pub mod port;
pub mod queue;
pub mod reason;
pub mod rules;
pub mod time;
pub mod verdict;
