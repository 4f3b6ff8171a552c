//! Flow: the table, TCP state, streams and fragments.
