//! Flow: the table, TCP state, streams and fragments.

pub mod slab;
pub mod table;
