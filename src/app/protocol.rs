//! Which application protocols there are, and what a parser of one has to offer.
//!
//! A parser is a plain state machine: it is shown bytes in order, takes as many as it can use, and
//! writes what it found to `Output`. It never allocates (texts come from the lane's heap), never
//! panics on wire bytes, and its own state is at most [`PARSER_SIZE_MAX`] bytes.

use super::field::Field;
use super::heap::Heap;
use super::output::{Limits, Output, Shared};
use crate::packet::Direction;

/// Bytes of a parser's own record at most; what varies lives in the heap.
pub const PARSER_SIZE_MAX: usize = 512;

macro_rules! protocols {
    ($($variant:ident = $name:literal,)+) => {
        /// An application protocol, or what is known instead.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
        #[repr(u8)]
        #[allow(missing_docs)]
        pub enum AppProtocol {
            /// Not known yet.
            #[default]
            Unknown,
            /// None of those that we know.
            Failed,
            $($variant,)+
        }

        impl AppProtocol {
            /// All protocols, without `Unknown` and `Failed`.
            pub const ALL: &'static [AppProtocol] = &[$(AppProtocol::$variant,)+];

            /// Its name in rules and events.
            pub const fn name(self) -> &'static str {
                match self {
                    AppProtocol::Unknown => "unknown",
                    AppProtocol::Failed => "failed",
                    $(AppProtocol::$variant => $name,)+
                }
            }
        }
    };
}

protocols! {
    Http = "http",
    Http2 = "http2",
    Tls = "tls",
    Dns = "dns",
    Mdns = "mdns",
    Llmnr = "llmnr",
    Smtp = "smtp",
    Ftp = "ftp",
    FtpData = "ftp-data",
    Ssh = "ssh",
    Smb = "smb",
    Dcerpc = "dcerpc",
    Quic = "quic",
    Tftp = "tftp",
    Snmp = "snmp",
    Ntp = "ntp",
    Dhcp = "dhcp",
    Ike = "ike",
    Krb5 = "krb5",
    Sip = "sip",
    Mqtt = "mqtt",
    Rdp = "rdp",
    Rfb = "rfb",
    Nfs = "nfs",
    Ldap = "ldap",
    Pgsql = "pgsql",
    Modbus = "modbus",
    Dnp3 = "dnp3",
    Enip = "enip",
    Websocket = "websocket",
    Imap = "imap",
    Pop3 = "pop3",
    Telnet = "telnet",
    Irc = "irc",
    Jabber = "jabber",
    BittorrentDht = "bittorrent-dht",
    Doh2 = "doh2",
}

const _: () = assert!(AppProtocol::ALL.len() + 2 <= u64::BITS as usize);

impl AppProtocol {
    /// The protocol of this number; an unknown number is `Unknown`.
    pub fn from_number(number: u8) -> AppProtocol {
        match number {
            1 => AppProtocol::Failed,
            number => usize::from(number)
                .checked_sub(2)
                .and_then(|at| AppProtocol::ALL.get(at).copied())
                .unwrap_or_default(),
        }
    }

    /// Name of its events in the log, and of the object that tells of its transactions.
    pub fn event_name(self) -> &'static str {
        match self {
            AppProtocol::Http2 | AppProtocol::Doh2 => "http",
            AppProtocol::FtpData => "ftp_data",
            AppProtocol::BittorrentDht => "bittorrent_dht",
            other => other.name(),
        }
    }

    /// A bit of its own.
    pub const fn bit(self) -> u64 {
        1 << self as u8
    }

    /// Whether it is the protocol of that name and no relative of it.
    pub fn is_exactly(self, word: &str) -> bool {
        match word {
            "http1" => self == AppProtocol::Http,
            "http" => false,
            word => self.name() == word,
        }
    }

    /// Whether a flow of this protocol is what a rule with that word means: `http` is both
    /// versions, `http1` the first, `dcerpc` may ride on SMB.
    pub fn is(self, word: &str) -> bool {
        match word {
            "http" => matches!(
                self,
                AppProtocol::Http | AppProtocol::Http2 | AppProtocol::Doh2
            ),
            "http1" => self == AppProtocol::Http,
            "http2" => matches!(self, AppProtocol::Http2 | AppProtocol::Doh2),
            "dcerpc" => matches!(self, AppProtocol::Dcerpc | AppProtocol::Smb),
            "dns" => matches!(self, AppProtocol::Dns | AppProtocol::Doh2),
            word => self.name() == word,
        }
    }
}

/// Which transport carries the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// A stream.
    Tcp,
    /// Datagrams.
    Udp,
}

/// What a probe is shown: the first bytes of one direction.
#[derive(Clone, Copy, Debug)]
pub struct Probe<'a> {
    /// Carrier.
    pub transport: Transport,
    /// Whose bytes.
    pub direction: Direction,
    /// All bytes of this direction so far (of a datagram: all of it).
    pub bytes: &'a [u8],
    /// Port of the client.
    pub client_port: u16,
    /// Port of the server.
    pub server_port: u16,
    /// Settings.
    pub limits: &'a Limits,
}

/// What a probe says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Guess {
    /// It is not this protocol.
    No,
    /// Too early to say.
    More,
    /// It is.
    Yes,
}

/// Bytes for a parser.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Carrier.
    pub transport: Transport,
    /// Whose bytes.
    pub direction: Direction,
    /// Bytes from the first one that was not taken yet.
    pub bytes: &'a [u8],
    /// Bytes that are missing right before `bytes` (a gap that was given up); what had not been
    /// taken before the gap is gone, unless the parser bridges it: then they are missing within.
    pub gap: u32,
    /// No more bytes will come in this direction.
    pub end: bool,
    /// Port of the client.
    pub client_port: u16,
    /// Port of the server.
    pub server_port: u16,
    /// Address of the client, IPv4 as ::ffff:a.b.c.d.
    pub client_addr: [u8; 16],
    /// Address of the server.
    pub server_addr: [u8; 16],
    /// Arrival, nanoseconds since the epoch.
    pub time_ns: u64,
}

/// What a parser took.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    /// Bytes from the start that it needs no more. The others are kept and shown again.
    pub count: usize,
    /// It wants to be called again when so many untaken bytes are at hand (0 or fewer than there
    /// are: with the next ones).
    pub need: usize,
}

impl Taken {
    /// All `count` bytes.
    pub fn all(count: usize) -> Taken {
        Taken { count, need: 0 }
    }

    /// `count` bytes; the rest is shown again once it is `need` bytes long.
    pub fn until(count: usize, need: usize) -> Taken {
        Taken { count, need }
    }
}

/// The bytes are not this protocol's, or beyond what a parser can follow: it is not asked again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Broken;

/// A parser of one flow.
pub trait Parse {
    /// Takes bytes in order. Every kind of cut must give the same transactions.
    ///
    /// # Errors
    /// [`Broken`] when the parser gives up on the flow.
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken>;

    /// Whether bytes of a side that were not taken before a gap are shown again, with those behind
    /// it right after them.
    fn bridges(&self, direction: Direction) -> bool {
        let _ = direction;
        false
    }

    /// Gives back what it holds in the heap.
    fn free(&mut self, heap: &mut Heap) {
        let _ = heap;
    }

    /// Gives back everything that it holds of what the parsers of a lane share.
    fn release(&mut self, shared: &mut Shared) {
        self.free(&mut shared.heap);
    }
}

/// What a protocol's file says about itself.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// Which protocol.
    pub protocol: AppProtocol,
    /// Whether bytes are of this protocol; never called for a transport that is not in `over`.
    pub probe: fn(&Probe<'_>) -> Guess,
    /// Carriers.
    pub over: &'static [Transport],
    /// Fields that its parser fills: rules may name these.
    pub fields: &'static [Field],
    /// Names of its events, without the protocol's (`app-layer-event:http.NAME`).
    pub events: &'static [&'static str],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_have_their_numbers_back() {
        for protocol in AppProtocol::ALL {
            assert_eq!(AppProtocol::from_number(*protocol as u8), *protocol);
        }
        assert_eq!(AppProtocol::from_number(1), AppProtocol::Failed);
        assert_eq!(AppProtocol::from_number(255), AppProtocol::Unknown);
        assert!(AppProtocol::Http2.is("http") && !AppProtocol::Http2.is("http1"));
    }
}
