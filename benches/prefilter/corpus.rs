//! What the prefilter bench scans, and for what: the fast patterns of ET Open by group, and payloads
//! and buffers cut out of the shared captures.
//!
//! Captures whose names begin with an odd hex digit: the even ones trained the engine's table of
//! common bytes (`--train`), so that it is measured on traffic that it does not know.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::engine::{Anchor, Literal};
use sluice::decode::LinkType;
use sluice::memory::{Arena, Regions};
use sluice::packet::{Context, Direction};
use sluice::port::Receive;
use sluice::port::capture::spread::Spread;
use sluice::port::capture::{Capture, CaptureReader};
use sluice::rules::fast_pattern;
use sluice::rules::group::{Place, in_direction, pattern_of_piece};
use sluice::rules::signature::{Buffer, PortSet, Protocol, Signature, Test};

/// Bytes of one payload input at most.
const INPUT_MAX: usize = 4 << 20;
/// Bytes of one input of one capture at most, so that none dominates.
const CAPTURE_MAX: usize = 256 << 10;

/// Bytes by what they are.
#[derive(Default)]
pub struct Traffic(pub BTreeMap<&'static str, Vec<Vec<u8>>>);

impl Traffic {
    fn add(&mut self, name: &'static str, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.0.entry(name).or_default().push(bytes.to_vec());
        }
    }

    /// The buffers of a name.
    pub fn get(&self, name: &str) -> Vec<Vec<u8>> {
        self.0.get(name).cloned().unwrap_or_default()
    }

    /// Payloads and buffers of the captures on one side of the split.
    pub fn read(shared: &Path, even: bool) -> Traffic {
        let mut files: Vec<PathBuf> = std::fs::read_dir(shared.join("captures"))
            .expect("the shared captures")
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                path.extension()
                    .is_some_and(|e| e == "pcap" || e == "pcapng")
            })
            .collect();
        files.sort();
        let mut traffic = Traffic::default();
        for file in files {
            let name = file.file_name().map(|n| n.to_string_lossy().into_owned());
            let digit = name
                .and_then(|n| n.chars().next()?.to_digit(16))
                .unwrap_or(0);
            if digit.is_multiple_of(2) != even {
                continue;
            }
            let mut one = Traffic::default();
            for frame in frames(&file) {
                one.frame(&frame);
            }
            for (name, buffers) in one.0 {
                let all = traffic.0.entry(name).or_default();
                let mut left = CAPTURE_MAX;
                let mut room = INPUT_MAX.saturating_sub(all.iter().map(Vec::len).sum());
                for buffer in buffers {
                    if buffer.len() > left.min(room) {
                        break;
                    }
                    left -= buffer.len();
                    room -= buffer.len();
                    all.push(buffer);
                }
            }
        }
        traffic
    }

    fn frame(&mut self, frame: &[u8]) {
        let Some((protocol, ports, payload)) = payload(frame) else {
            return;
        };
        if payload.is_empty() {
            return;
        }
        if protocol == 17 {
            if ports.contains(&53) {
                self.add("dns names", &dns_name(payload).unwrap_or_default());
            }
            return;
        }
        self.add("mixed", payload);
        let to_server = ports[1] < ports[0];
        let http = ports.iter().any(|port| matches!(port, 80 | 8080 | 3128));
        self.add(
            if to_server {
                "mixed to server"
            } else {
                "mixed to client"
            },
            payload,
        );
        match (http, to_server) {
            (true, true) => self.add("http to server", payload),
            (true, false) => self.add("http to client", payload),
            (false, true) => self.add("other to server", payload),
            (false, false) => self.add("other to client", payload),
        }
        self.add("names of hosts", &server_name(payload).unwrap_or_default());
        if http && !to_server {
            let body = find(payload, b"\r\n\r\n").filter(|_| payload.starts_with(b"HTTP/"));
            self.add("bodies", body.map_or(payload, |at| &payload[at + 4..]));
        }
        if to_server {
            self.request(payload);
        }
    }

    fn request(&mut self, payload: &[u8]) {
        let Some(line_end) = find(payload, b"\r\n") else {
            return;
        };
        let mut words = payload[..line_end].split(|byte| *byte == b' ');
        let (_, Some(uri), Some(version)) = (words.next(), words.next(), words.next()) else {
            return;
        };
        if !version.starts_with(b"HTTP/1.") {
            return;
        }
        let end = find(payload, b"\r\n\r\n").unwrap_or(payload.len());
        let headers = payload.get(line_end + 2..end).unwrap_or(&[]);
        self.add("uris", uri);
        self.add("headers", headers);
        for line in headers.split(|byte| *byte == b'\n') {
            let line = line.trim_ascii();
            let Some(colon) = line.iter().position(|byte| *byte == b':') else {
                continue;
            };
            let (name, value) = (line[..colon].to_ascii_lowercase(), &line[colon + 1..]);
            match &*name {
                b"host" => self.add("hosts", &value.trim_ascii().to_ascii_lowercase()),
                b"user-agent" => self.add("user agents", value.trim_ascii()),
                _ => {}
            }
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn frames(path: &Path) -> Vec<Vec<u8>> {
    let mut regions = Regions::default();
    let (contexts, mut free) = Arena::new(64, Context::default);
    let Ok(capture) = Capture::open(&[path]) else {
        return Vec::new();
    };
    let link = |number| LinkType::from_pcap(number) as u8;
    let mut reader = CaptureReader::new(capture, link, Spread::First, 0, 1);
    reader.register(&mut regions);
    let (mut frames, mut burst) = (Vec::new(), Vec::new());
    loop {
        let received = reader.receive(&contexts, &mut free, &mut burst, 64, 0);
        for handle in burst.drain(..) {
            let context = contexts.get(&handle);
            if context.link == LinkType::Ethernet as u8 {
                frames.push(regions.bytes(context.span).to_vec());
            }
            free.push(handle);
        }
        if received.end {
            return frames;
        }
    }
}

/// Protocol, ports and payload of a TCP or UDP frame.
fn payload(frame: &[u8]) -> Option<(u8, [u16; 2], &[u8])> {
    let word = |at: usize| Some(u16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?));
    let mut at = 12;
    while matches!(word(at)?, 0x8100 | 0x88a8) {
        at += 4;
    }
    let kind = word(at)?;
    at += 2;
    let (protocol, start, end) = match kind {
        0x0800 => (
            *frame.get(at + 9)?,
            at + usize::from(frame.get(at)? & 15) * 4,
            at + usize::from(word(at + 2)?),
        ),
        0x86dd => (
            *frame.get(at + 6)?,
            at + 40,
            at + 40 + usize::from(word(at + 4)?),
        ),
        _ => return None,
    };
    let size = match protocol {
        6 => usize::from(frame.get(start + 12)? >> 4) * 4,
        17 => 8,
        _ => return None,
    };
    let payload = frame.get(start + size..end.min(frame.len()))?;
    Some((protocol, [word(start)?, word(start + 2)?], payload))
}

/// The first name of a DNS message.
fn dns_name(message: &[u8]) -> Option<Vec<u8>> {
    let (mut name, mut at) = (Vec::new(), 12);
    loop {
        let length = usize::from(*message.get(at)?);
        if length == 0 || length > 63 {
            return (length == 0).then_some(name);
        }
        if !name.is_empty() {
            name.push(b'.');
        }
        name.extend(message.get(at + 1..=at + length)?);
        at += length + 1;
    }
}

/// The server name of a TLS ClientHello that lies in one segment.
fn server_name(payload: &[u8]) -> Option<Vec<u8>> {
    let word = |at: usize| {
        let bytes = payload.get(at..at + 2)?;
        Some(usize::from(u16::from_be_bytes(bytes.try_into().ok()?)))
    };
    if payload.first() != Some(&22) || payload.get(5) != Some(&1) {
        return None;
    }
    let mut at = 44 + usize::from(*payload.get(43)?);
    at += 2 + word(at)?;
    at += 1 + usize::from(*payload.get(at)?);
    at += 2;
    loop {
        let (kind, length) = (word(at)?, word(at + 2)?);
        if kind == 0 {
            return payload
                .get(at + 9..at + 9 + word(at + 7)?)
                .map(<[u8]>::to_vec);
        }
        at += 4 + length;
    }
}

/// Distinct literals in their order.
#[derive(Default)]
struct Distinct(Vec<Literal>, HashMap<Literal, ()>);

impl Distinct {
    fn add(&mut self, literal: Literal) {
        if self.1.insert(literal.clone(), ()).is_none() {
            self.0.push(literal);
        }
    }
}

/// The fast pattern of a signature and its buffer.
fn fast(signature: &Signature) -> Option<(Buffer, Literal)> {
    let choice = fast_pattern::fast_pattern(signature)?;
    let view = signature.inspect.get(choice.inspect)?;
    let Some(Test::Content(content)) = view.tests.get(choice.test) else {
        return None;
    };
    if choice.negated || choice.range.is_empty() {
        return None;
    }
    let pattern = pattern_of_piece(content, choice.range.clone());
    let literal = Literal {
        bytes: pattern.bytes,
        nocase: pattern.nocase,
        anchor: match pattern.place {
            Place::Anywhere => Anchor::Floating,
            Place::Start => Anchor::Start,
            Place::End => Anchor::End,
            Place::Whole => Anchor::Whole,
        },
    };
    Some((view.buffer.clone(), literal))
}

/// The fast patterns of a buffer, of signatures that look in one direction.
pub fn of_buffer(signatures: &[Signature], name: &str, direction: Direction) -> Vec<Literal> {
    let mut set = Distinct::default();
    for signature in signatures.iter().filter(|s| in_direction(s, direction)) {
        match fast(signature) {
            Some((Buffer::App(buffer), literal)) if &*buffer == name => set.add(literal),
            _ => {}
        }
    }
    set.0
}

/// The fast patterns of TCP payload towards one side, of rules for this port if one is given.
pub fn of_payload(
    signatures: &[Signature],
    direction: Direction,
    port: Option<u16>,
) -> Vec<Literal> {
    let mut set = Distinct::default();
    for signature in signatures.iter().filter(|s| in_direction(s, direction)) {
        let header = &signature.header;
        let tcp = matches!(
            header.protocol,
            Protocol::Tcp | Protocol::TcpPacket | Protocol::TcpStream | Protocol::Ip
        );
        let ports: &PortSet = match direction {
            Direction::ToServer => &header.dst_port,
            Direction::ToClient => &header.src_port,
        };
        if !tcp || port.is_some_and(|port| !ports.contains(port)) {
            continue;
        }
        if let Some((Buffer::Payload, literal)) = fast(signature) {
            set.add(literal);
        }
    }
    set.0
}

/// The fast patterns of all signatures, as if all stood anywhere.
pub fn all(signatures: &[Signature]) -> Vec<Literal> {
    let mut set = Distinct::default();
    for signature in signatures {
        if let Some((_, literal)) = fast(signature) {
            set.add(Literal {
                anchor: Anchor::Floating,
                ..literal
            });
        }
    }
    set.0
}
