//! Files from packets to disk: `fileinfo` events and the store, through the lane, the writer's thread
//! and `eve.json`, over a conversation that is made here. What is not here: the parsers' own tests.

use std::path::{Path, PathBuf};

use clap::Parser;
use sha2::{Digest, Sha256};
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
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("sluice-files-{name}-{}", std::process::id()));
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

/// Bytes that no two places have alike.
fn body(length: usize) -> Vec<u8> {
    (0..length as u32)
        .flat_map(|n| (n * n % 65_521).to_le_bytes())
        .take(length)
        .collect()
}

/// Replays a download and gives the `fileinfo` events.
fn replay(
    scratch: &Scratch,
    body: &[u8],
    rules: &str,
    settings: &[&str],
) -> Vec<serde_json::Value> {
    let path = scratch.0.join("download.pcap");
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/x\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let request = b"GET /dir/tool.exe?a=b HTTP/1.1\r\nHost: a.example\r\n\r\n";
    capture(&path, request, &[head.as_bytes(), body].concat());
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
    eve.lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|event| event["event_type"] == "fileinfo")
        .collect()
}

fn stored(scratch: &Scratch, name: &str) -> Option<Vec<u8>> {
    let folder = scratch.0.join("log/filestore").join(name.get(..2)?);
    std::fs::read(folder.join(name)).ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_file_is_an_event() {
    let scratch = Scratch::new("event");
    let body = body(5000);
    let events = replay(&scratch, &body, "", &["files.force-hash=sha256"]);
    assert_eq!(events.len(), 1);
    let (event, file) = (&events[0], &events[0]["fileinfo"]);
    assert_eq!(event["app_proto"], "http");
    assert_eq!(
        (&event["src_ip"], &event["src_port"]),
        (&"10.0.0.2".into(), &80.into())
    );
    assert_eq!(event["http"]["hostname"], "a.example");
    assert_eq!(event["http"]["url"], "/dir/tool.exe?a=b");
    assert_eq!(file["filename"], "/dir/tool.exe");
    assert_eq!(file["size"], 5000);
    assert_eq!(file["state"], "CLOSED");
    assert_eq!(
        (&file["stored"], &file["gaps"]),
        (&false.into(), &false.into())
    );
    assert_eq!(file["sha256"], hex(&Sha256::digest(&body)));
    assert_eq!(file["tx_id"], 0);
    assert!(!scratch.0.join("log/filestore").exists());
}

#[test]
fn a_rule_stores_the_whole_file_under_its_hash() {
    let scratch = Scratch::new("rule");
    // Longer than what rules get to see of a body (100 kB), so its end never is in memory.
    let body = body(400_000);
    let rule =
        "alert http any any -> any any (http.uri; content:\"tool.exe\"; filestore; sid:1;)\n";
    let events = replay(&scratch, &body, rule, &["file-store.enabled=yes"]);
    let file = &events[0]["fileinfo"];
    assert_eq!(file["stored"], true);
    assert_eq!(file["state"], "CLOSED");
    assert_eq!(
        (&file["size"], &file["file_id"]),
        (&400_000.into(), &1.into())
    );
    let name = file["sha256"].as_str().unwrap();
    assert_eq!(name, hex(&Sha256::digest(&body)));
    assert_eq!(stored(&scratch, name).unwrap(), body);
    let left = std::fs::read_dir(scratch.0.join("log/filestore/tmp"))
        .unwrap()
        .count();
    assert_eq!(left, 0);
}

#[test]
fn a_rule_that_matches_late_stores_what_is_still_there() {
    let scratch = Scratch::new("late");
    let mut body = body(9000);
    body[8000..8006].copy_from_slice(b"secret");
    let rule = "alert http any any -> any any (file.data; content:\"secret\"; filestore; sid:1;)\n";
    let events = replay(&scratch, &body, rule, &["file-store.enabled=yes"]);
    let name = events[0]["fileinfo"]["sha256"].as_str().unwrap();
    assert_eq!(stored(&scratch, name).unwrap(), body);
}

#[test]
fn limits_hold_and_no_rule_no_file() {
    let scratch = Scratch::new("limits");
    let body = body(50_000);
    let rule = "alert http any any -> any any (http.uri; content:\"other\"; filestore; sid:1;)\n";
    let events = replay(&scratch, &body, rule, &["file-store.enabled=yes"]);
    assert_eq!(events[0]["fileinfo"]["stored"], false);
    let all = ["file-store.enabled=yes", "file-store.force-filestore=yes"];
    let events = replay(
        &scratch,
        &body,
        "",
        &[all[0], all[1], "file-store.stream-depth=20000"],
    );
    let file = &events[0]["fileinfo"];
    assert_eq!(
        (&file["stored"], &file["state"]),
        (&true.into(), &"TRUNCATED".into())
    );
    let kept = stored(&scratch, file["sha256"].as_str().unwrap()).unwrap();
    assert_eq!(kept, body[..20_000]);
    let events = replay(
        &scratch,
        &body,
        "",
        &[all[0], all[1], "file-store.max-bytes=10000"],
    );
    assert_eq!(events[0]["fileinfo"]["stored"], false);
}
