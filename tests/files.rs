//! Files from packets to disk: `fileinfo` events and the store, through the lane, the writer's thread
//! and `eve.json`, over a conversation that is made here. What is not here: the parsers' own tests.

mod talk;

use sha2::{Digest, Sha256};
use talk::Scratch;

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
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/x\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let request = b"GET /dir/tool.exe?a=b HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let answer = [head.as_bytes(), body].concat();
    let mut events = talk::events(scratch, (request, &answer), rules, settings);
    events.retain(|event| event["event_type"] == "fileinfo");
    events
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
