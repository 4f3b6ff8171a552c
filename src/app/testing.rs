//! For tests of parsers: a flow fed by hand, and its transactions as text.
//!
//! A parser's test states what a conversation gives, and that every cut gives the same.

use super::field::Field;
use super::flows::{Apps, Piece};
use super::output::Limits;
use super::protocol::{AppProtocol, Transport};
use crate::packet::Direction;

/// One direction's bytes, in the order in which they were sent.
pub type Talk<'a> = &'a [(Direction, &'a [u8])];

/// Where a conversation takes place.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Carrier.
    pub transport: Transport,
    /// Port of the server.
    pub server_port: u16,
}

impl Place {
    /// Bytes of a direction, none missing before them and more to come.
    pub fn piece<'a>(&self, direction: Direction, bytes: &'a [u8]) -> Piece<'a> {
        Piece {
            transport: self.transport,
            direction,
            bytes,
            gap: 0,
            end: false,
            client_port: 40_000,
            server_port: self.server_port,
            client_addr: [1; 16],
            server_addr: [2; 16],
            time_ns: 1,
        }
    }
}

/// A lane's parsers with every field wanted but frames, which are transactions of their own.
pub fn apps() -> Apps {
    apps_with(false, Limits::default())
}

/// The same, with or without frames.
fn apps_with(frames: bool, limits: Limits) -> Apps {
    let hashes = [Field::Filemd5, Field::Filesha1, Field::Filesha256];
    // What is there for events alone, and what has tests of its own.
    let told = [
        Field::DnsMessage,
        Field::DhcpMessage,
        Field::HttpLength,
        Field::HttpXff,
        Field::HttpContentRange,
        Field::HttpPort,
        Field::FileMagic,
        Field::FrameStream,
    ];
    // What the other tests would drown in.
    let events = [
        "-smb.",
        "-modbus.",
        "-dnp3.",
        "-enip.",
        "-http2.",
        "-krb5.",
        "-email.",
        "-ftp.",
        "-mqtt.",
        "-nfs.",
        "-rdp.",
        "-sip.",
        "-quic.",
        "-rfb.",
        "-snmp.",
        "-ike.",
        "-ldap.",
        "-pgsql.",
        "-tls.from_proto",
        "-pop3.",
        "-bittorrent_dht.",
        "-tftp.",
        "-sdp.",
        "-dcerpc.",
    ];
    let aside = |field: &Field| {
        field.is_frame() || events.iter().any(|start| field.name().starts_with(start))
    };
    let wanted = |field: &Field| {
        (frames || !aside(field)) && !hashes.contains(field) && !told.contains(field)
    };
    let wanted = Field::ALL.iter().map(wanted).collect();
    Apps::new(128, 8 << 20, wanted, limits)
}

/// A lane's parsers with these settings; frames and what is for events are wanted, too.
pub fn apps_set(settings: &[(&str, &str)]) -> Apps {
    let own = |(key, value): &(&str, &str)| (key.to_string(), value.to_string());
    let settings: Vec<(String, String)> = settings.iter().map(own).collect();
    apps_with(true, Limits::of(&settings))
}

/// A lane's parsers with these fields wanted alone.
pub fn apps_for(fields: &[Field]) -> Apps {
    let wanted = Field::ALL
        .iter()
        .map(|field| fields.contains(field))
        .collect();
    Apps::new(128, 8 << 20, wanted, Limits::default())
}

/// The lines of a conversation with these parsers.
pub fn run_in(place: Place, talk: Talk<'_>, apps: Apps) -> Vec<String> {
    let pieces: Vec<_> = talk.iter().map(|(way, bytes)| (*way, 0, *bytes)).collect();
    run_pieces(place, &pieces, apps).1
}

/// What a conversation gives: the protocol, then a line for each instance, as
/// `tx NUMBER ToServer http.uri "/x"`, and for each event of the flow.
pub fn run(place: Place, talk: Talk<'_>) -> (AppProtocol, Vec<String>) {
    run_cut(place, talk, usize::MAX)
}

/// The lines of fields that are there for events alone.
pub fn for_events(place: Place, talk: Talk<'_>) -> Vec<String> {
    let (_, mut lines) = run_with(place, talk, usize::MAX, true);
    lines.retain(|line| {
        line.split(' ')
            .nth(3)
            .is_some_and(|name| name.starts_with('-'))
    });
    lines
}

/// The same, with every piece cut into pieces of `cut` bytes (streams only).
pub fn run_cut(place: Place, talk: Talk<'_>, cut: usize) -> (AppProtocol, Vec<String>) {
    run_with(place, talk, cut, false)
}

/// The same, with or without frames.
fn run_with(place: Place, talk: Talk<'_>, cut: usize, frames: bool) -> (AppProtocol, Vec<String>) {
    let mut pieces = Vec::new();
    for (direction, bytes) in talk {
        let parts = bytes.chunks(cut.max(1));
        pieces.extend(parts.map(|bytes| (*direction, 0, bytes)));
    }
    run_pieces(place, &pieces, apps_with(frames, Limits::default()))
}

/// The lines of a conversation with these settings of parsers, and with bytes missing before its
/// pieces.
pub fn run_missing(
    place: Place,
    settings: &[(&str, &str)],
    pieces: &[(Direction, u32, &[u8])],
) -> Vec<String> {
    run_pieces(place, pieces, apps_set(settings)).1
}

fn run_pieces(
    place: Place,
    pieces: &[(Direction, u32, &[u8])],
    mut apps: Apps,
) -> (AppProtocol, Vec<String>) {
    let flow = apps
        .open(&place.piece(Direction::ToServer, &[]))
        .expect("there is room");
    let mut lines = Vec::new();
    for (direction, gap, bytes) in pieces {
        let piece = place.piece(*direction, bytes);
        apps.feed(flow, &Piece { gap: *gap, ..piece });
        note_events(&apps, flow, &mut lines);
    }
    apps.finish(flow);
    note_events(&apps, flow, &mut lines);
    let state = apps.state(flow).expect("the flow is open");
    let protocol = state.protocol;
    let mut next = state.first;
    while let Some(tx) = apps.transaction(next) {
        let told = |instance: &super::Instance| instance.field != Field::FileInfo;
        for instance in tx.instances(&apps.shared.heap).filter(told) {
            let head = format!(
                "tx {} {:?} {}",
                tx.number,
                instance.direction,
                instance.field.name()
            );
            lines.push(
                if instance.is_number() && instance.field == Field::AppLayerEvent {
                    let name =
                        super::registry::event_name(super::AppEvent(instance.number() as u16));
                    format!("{head} {name:?}")
                } else if instance.is_number() {
                    format!("{head} {}", instance.number())
                } else {
                    let bytes = tx.bytes(&apps.shared.heap, &instance);
                    format!("{head} \"{}\"", bytes.escape_ascii())
                },
            );
        }
        next = tx.next;
    }
    apps.close(flow);
    assert_eq!(apps.in_use(), (0, 0, 0), "everything comes back");
    (protocol, lines)
}

fn note_events(apps: &Apps, flow: u32, lines: &mut Vec<String>) {
    let Some(state) = apps.state(flow) else {
        return;
    };
    for (event, direction) in &state.events[..usize::from(state.event_count)] {
        let name = super::registry::event_name(*event);
        lines.push(format!("flow {direction:?} {name:?}"));
    }
}

/// Asserts that every cut of the streams gives what the whole gives, with frames and without;
/// returns that without.
pub fn same_for_every_cut(place: Place, talk: Talk<'_>) -> (AppProtocol, Vec<String>) {
    for frames in [true, false] {
        let whole = run_with(place, talk, usize::MAX, frames);
        for cut in [1, 2, 3, 5, 7, 16, 61] {
            let got = run_with(place, talk, cut, frames);
            assert_eq!(got, whole, "cut into pieces of {cut}, frames: {frames}");
        }
    }
    run(place, talk)
}

/// Runs a conversation with bytes changed, taken out and put in at random, in random cuts: nothing
/// panics, and everything comes back. The seed is fixed; it is printed with the round that fails.
pub fn shake(place: Place, talk: Talk<'_>, rounds: u32) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..rounds {
        let mut pieces: Vec<(Direction, Vec<u8>)> = talk
            .iter()
            .map(|(direction, bytes)| (*direction, bytes.to_vec()))
            .collect();
        let changes = 1 + random.below(6);
        for _ in 0..changes {
            let piece = random.below(pieces.len());
            let bytes = &mut pieces[piece].1;
            if bytes.is_empty() {
                continue;
            }
            let at = random.below(bytes.len());
            match random.below(6) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff, 0x40][random.below(6)],
                2 => bytes.truncate(at),
                3 => bytes.insert(at, random.below(256) as u8),
                4 => {
                    let end = (at + 1 + random.below(40)).min(bytes.len());
                    let part = bytes[at..end].to_vec();
                    bytes.splice(at..at, part);
                }
                _ => {
                    let end = (at + 1 + random.below(20)).min(bytes.len());
                    bytes.drain(at..end);
                }
            }
        }
        let cut = [usize::MAX, 1, 2, 7, 30][random.below(5)];
        let changed: Vec<(Direction, &[u8])> = pieces
            .iter()
            .map(|(direction, bytes)| (*direction, bytes.as_slice()))
            .collect();
        let ran = std::panic::catch_unwind(|| run_cut(place, &changed, cut));
        assert!(ran.is_ok(), "round {round}, cut {cut}: {pieces:02x?}");
    }
}

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}

/// Like [`shake`], and on streams the cut must change nothing. The failure names the seed.
pub fn survives_damage(place: Place, talk: Talk<'_>, rounds: u64) {
    const PIECES: [&[u8]; 8] = [
        b"\r\n",
        b"\n",
        b"\0",
        b"\xff",
        b".",
        b"--",
        b"=",
        b"\xc0\x0c",
    ];
    for seed in 1..=rounds {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut damaged: Vec<_> = talk.iter().map(|(d, b)| (*d, b.to_vec())).collect();
        for _ in 0..=random.below(4) {
            let which = random.below(damaged.len());
            let bytes = &mut damaged[which].1;
            let at = random.below(bytes.len() + 1);
            let end = (at + random.below(9)).min(bytes.len());
            match random.below(4) {
                0 if at < bytes.len() => bytes[at] = random.below(256) as u8,
                1 => drop(bytes.drain(at..end)),
                2 => {
                    let again = bytes[at..end].to_vec();
                    bytes.splice(at..at, again);
                }
                _ => {
                    let piece = PIECES[random.below(PIECES.len())];
                    bytes.splice(at..at, piece.iter().copied());
                }
            }
        }
        let shown: Vec<_> = damaged.iter().map(|(d, b)| (*d, b.as_slice())).collect();
        let frames = seed % 2 == 0;
        // The sides of a flow that its parser has given up are compared no further.
        let lines = |cut| {
            let (protocol, mut lines) = run_with(place, &shown, cut, frames);
            lines.retain(|line| !line.contains("detect_protocol_only_one_direction"));
            (protocol, lines)
        };
        let whole = lines(usize::MAX);
        if place.transport == Transport::Tcp {
            let cut = 1 + random.below(7);
            let parts = lines(cut);
            assert_eq!(
                parts, whole,
                "seed {seed}, cut into pieces of {cut}, frames: {frames}"
            );
        }
    }
}
