//! Sluice.
pub mod config;
pub mod counters;
pub mod decode;
pub mod event;
pub mod flow;
pub mod matcher;
pub mod memory;
pub mod packet;
pub mod port;
pub mod reason;
pub mod rules;
pub mod time;
