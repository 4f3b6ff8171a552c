//! Streams and datagrams of the shared captures, taken out without the engine: classic captures of
//! Ethernet, IPv4 without fragments. A stream begins with its SYN and ends where bytes are missing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use sluice::app::Transport;
use sluice::packet::Direction::{self, ToClient, ToServer};

use super::common;

/// Pieces in the order in which they came.
pub type Talk = Vec<(Direction, Vec<u8>)>;

/// A flow's bytes.
pub struct Conversation {
    /// Capture and ports.
    pub name: String,
    pub transport: Transport,
    /// Client's, server's.
    pub ports: (u16, u16),
    pub pieces: Talk,
}

impl Conversation {
    /// For the message of a failure.
    pub fn text(&self) -> String {
        let line =
            |(way, bytes): &(Direction, Vec<u8>)| format!("{way:?} {}", bytes.escape_ascii());
        self.pieces.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

fn files(root: &Path) -> Vec<PathBuf> {
    let mut all = common::captures(&root.join("captures"));
    all.extend(common::captures(&root.join("conformance/captures")));
    all
}

/// Frames of a classic capture of Ethernet; of others none.
fn frames(bytes: &[u8]) -> Vec<&[u8]> {
    const FILE: usize = 24;
    const RECORD: usize = 16;
    let word = |at: usize| -> Option<u32> {
        let bytes: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_le_bytes(bytes))
    };
    let mut found = Vec::new();
    if word(0) != Some(0xa1b2_c3d4) || word(20) != Some(1) {
        return found;
    }
    let mut at = FILE;
    while let Some(length) = word(at + 8) {
        let end = at + RECORD + length as usize;
        let Some(frame) = bytes.get(at + RECORD..end) else {
            break;
        };
        found.push(frame);
        at = end;
    }
    found
}

/// Both ends of a packet: address and port.
type Ends = [([u8; 4], u16); 2];

fn ends(packet: &SlicedPacket<'_>, src_port: u16, dst_port: u16) -> Option<Ends> {
    let Some(NetSlice::Ipv4(ip)) = &packet.net else {
        return None;
    };
    let header = ip.header();
    let whole = !ip.payload().fragmented;
    whole.then(|| {
        [
            (header.source(), src_port),
            (header.destination(), dst_port),
        ]
    })
}

struct Stream {
    client: ([u8; 4], u16),
    next: [Option<u32>; 2],
    broken: bool,
    talk: Conversation,
}

/// Shows every stream of every capture.
pub fn each_stream(root: &Path, mut show: impl FnMut(&Conversation)) {
    for file in files(root) {
        let bytes = std::fs::read(&file).expect("the capture can be read");
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let mut streams: BTreeMap<Ends, Stream> = BTreeMap::new();
        for frame in frames(&bytes) {
            let Ok(packet) = SlicedPacket::from_ethernet(frame) else {
                continue;
            };
            let Some(TransportSlice::Tcp(tcp)) = &packet.transport else {
                continue;
            };
            let Some(ends) = ends(&packet, tcp.source_port(), tcp.destination_port()) else {
                continue;
            };
            let mut key = ends;
            key.sort_unstable();
            if tcp.syn() && !tcp.ack() {
                let ports = (ends[0].1, ends[1].1);
                let stream = Stream {
                    client: ends[0],
                    next: [Some(tcp.sequence_number().wrapping_add(1)), None],
                    broken: !tcp.payload().is_empty(),
                    talk: Conversation {
                        name: format!("{name} {}-{}", ports.0, ports.1),
                        transport: Transport::Tcp,
                        ports,
                        pieces: Vec::new(),
                    },
                };
                if let Some(before) = streams.insert(key, stream) {
                    show(&before.talk);
                }
                continue;
            }
            let Some(stream) = streams.get_mut(&key) else {
                continue;
            };
            stream.take(ends[0], tcp);
        }
        streams.values().for_each(|stream| show(&stream.talk));
    }
}

impl Stream {
    /// Takes a segment that continues its direction; the conversation ends where one is missing.
    fn take(&mut self, from: ([u8; 4], u16), tcp: &etherparse::TcpSlice<'_>) {
        let way = usize::from(from != self.client);
        if tcp.syn() {
            self.next[way] = Some(tcp.sequence_number().wrapping_add(1));
            return;
        }
        let (payload, Some(next)) = (tcp.payload(), self.next[way]) else {
            return;
        };
        if payload.is_empty() || self.broken {
            return;
        }
        let ahead = tcp.sequence_number().wrapping_sub(next) as i32;
        let Ok(known) = usize::try_from(-i64::from(ahead)) else {
            self.broken = true;
            return;
        };
        let Some(new) = payload.get(known..).filter(|new| !new.is_empty()) else {
            return;
        };
        self.next[way] = Some(next.wrapping_add(new.len() as u32));
        self.talk
            .pieces
            .push(([ToServer, ToClient][way], new.to_vec()));
    }
}

/// Shows every datagram of DNS from or to a server's port.
pub fn each_datagram(root: &Path, port: u16, show: impl FnMut(&Conversation)) {
    // Both ports may be the server's: the message says whose it is.
    let answers = |message: &[u8]| Some(message.get(2).is_some_and(|flags| flags & 0x80 != 0));
    each_datagram_by(root, port, answers, show);
}

/// Shows every datagram from or to a server's port; `answers` says whether a message is an answer, if
/// that can be seen in it.
pub fn each_datagram_by(
    root: &Path,
    port: u16,
    answers: fn(&[u8]) -> Option<bool>,
    mut show: impl FnMut(&Conversation),
) {
    for file in files(root) {
        let bytes = std::fs::read(&file).expect("the capture can be read");
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        for (number, frame) in frames(&bytes).into_iter().enumerate() {
            let Ok(packet) = SlicedPacket::from_ethernet(frame) else {
                continue;
            };
            let Some(TransportSlice::Udp(udp)) = &packet.transport else {
                continue;
            };
            let (src, dst) = (udp.source_port(), udp.destination_port());
            if ends(&packet, src, dst).is_none() || (src != port && dst != port) {
                continue;
            }
            let answers = answers(udp.payload());
            let (way, client) = match (dst == port && src == port, dst == port) {
                (true, _) if answers == Some(true) => (ToClient, 40_000),
                (_, true) if answers != Some(true) => (ToServer, src),
                (_, true) => continue,
                _ => (ToClient, dst),
            };
            show(&Conversation {
                name: format!("{name} frame {}", number + 1),
                transport: Transport::Udp,
                ports: (client, port),
                pieces: vec![(way, udp.payload().to_vec())],
            });
        }
    }
}
