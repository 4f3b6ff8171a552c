//! App: from the bytes of a flow, in order, to transactions and their parts. The match stage drives
//! it (one [`Apps`] a lane) and inspects what it finds.
//!
//! ```text
//!  stream piece, datagram ─► flows.rs: which protocol? (probes) ─► its parser (http.rs, dns.rs, ...)
//!       parser ─► Output: transaction ─► instances of fields (field.rs), in the heap (heap.rs)
//!       match reads transactions, then lets go of those that are complete
//! ```
//!
//! Invariants: nothing allocates after `Apps::new`; bytes from the wire never panic; every pool has
//! a bound and a counter; the same bytes give the same transactions for any cut.

pub mod bencode;
mod ber;
pub mod bittorrent_dht;
mod chunks;
pub mod dcerpc;
mod der;
pub mod dhcp;
pub mod dnp3;
pub mod dns;
pub mod enip;
pub mod field;
pub mod file;
pub mod flows;
pub mod ftp;
pub mod ftp_data;
pub mod heap;
pub mod http;
pub mod http2;
pub mod ike;
pub mod imap;
pub mod krb5;
pub mod ldap;
mod lines;
pub mod llmnr;
pub mod magic;
pub mod mdns;
pub mod mime;
mod mime_words;
pub mod modbus;
pub mod mqtt;
mod names;
pub mod nfs;
pub mod ntp;
pub mod output;
pub mod pgsql;
pub mod pop3;
pub mod protocol;
pub mod quic;
pub mod rdp;
pub mod reader;
pub mod record;
pub mod registry;
pub mod rfb;
mod sdp;
pub mod settings;
pub mod sip;
pub mod smb;
pub mod smtp;
pub mod snmp;
pub mod ssh;
mod stream_frame;
pub mod table;
pub mod telnet;
pub mod tftp;
pub mod tls;
pub mod transaction;
pub mod websocket;

pub use field::{Field, Progress};
pub use file::{FileId, FileInfo, FileSettings, FileState, tell_files};
pub use flows::{Apps, Piece};
pub use heap::{Heap, Text};
pub use output::{AppEvent, Expected, Growing, Limits, Output, Shared, TxId};
pub use protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
pub use transaction::{Instance, Transaction};

#[cfg(test)]
pub mod testing;
