//! A conversation of one client with one server, made here, replayed through the program as a user
//! does: what stands in its log.

use std::path::{Path, PathBuf};

use clap::Parser;
use serde_json::Value;
use sluice::cli::{Cli, run};
use sluice::port::capture::CaptureWriter;
use sluice::port::generator::packet::{Envelope, Tcp, tcp_flag::*};

/// Sequence number of the first byte of each side.
const CLIENT: u32 = 1001;
const SERVER: u32 = 5001;

fn segment(to_server: bool, seq: u32, ack: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let envelope = Envelope {
        src_mac: [2, 0, 0, 0, 0, 1],
        dst_mac: [2, 0, 0, 0, 0, 2],
        vlans: Vec::new(),
        src: "10.0.0.1".parse().unwrap(),
        dst: "10.0.0.2".parse().unwrap(),
        id: 7,
    };
    let (src_port, dst_port) = if to_server {
        (40_000, 80)
    } else {
        (80, 40_000)
    };
    let tcp = Tcp {
        src_port,
        dst_port,
        seq,
        ack,
        flags,
        window: 60_000,
        stamps: None,
    };
    if to_server {
        tcp.frame(&envelope, payload)
    } else {
        tcp.frame(&envelope.reversed(), payload)
    }
}

/// A request and an answer in segments of 1,000 bytes.
fn capture(path: &Path, request: &[u8], answer: &[u8]) {
    let mut frames = vec![
        segment(true, CLIENT - 1, 0, SYN, b""),
        segment(false, SERVER - 1, CLIENT, SYN | ACK, b""),
        segment(true, CLIENT, SERVER, ACK, b""),
    ];
    let (mut seq, mut ack) = (CLIENT, SERVER);
    for part in request.chunks(1000) {
        frames.push(segment(true, seq, ack, ACK, part));
        seq += part.len() as u32;
    }
    for part in answer.chunks(1000) {
        frames.push(segment(false, ack, seq, ACK, part));
        ack += part.len() as u32;
    }
    let mut writer = CaptureWriter::create(path).unwrap();
    for (number, frame) in frames.iter().enumerate() {
        let time_ns = 1_767_225_600_000_000_000 + number as u64 * 1_000_000;
        writer.write(time_ns, 1, frame).unwrap();
    }
    writer.finish().unwrap();
}

/// A folder of a test, gone with it.
pub struct Scratch(pub PathBuf);

impl Scratch {
    /// A new one.
    pub fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("sluice-talk-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Replays a request and its answer, with rules and settings, and gives the events of the log.
pub fn events(
    scratch: &Scratch,
    (request, answer): (&[u8], &[u8]),
    rules: &str,
    settings: &[&str],
) -> Vec<Value> {
    let path = scratch.0.join("talk.pcap");
    capture(&path, request, answer);
    let rule_file = scratch.0.join("test.rules");
    std::fs::write(&rule_file, rules).unwrap();
    let log = scratch.0.join("log");
    let mut words = vec![
        "sluice".to_string(),
        "replay".into(),
        path.display().to_string(),
    ];
    if !rules.is_empty() {
        words.extend(["-S".into(), rule_file.display().to_string()]);
    }
    words.extend(["-l".into(), log.display().to_string()]);
    for setting in settings {
        words.extend(["--set".into(), (*setting).to_string()]);
    }
    assert_eq!(run(Cli::parse_from(words)), 0);
    let eve = std::fs::read_to_string(log.join("eve.json")).unwrap();
    let lines = eve.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}
