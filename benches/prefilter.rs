//! The prefilter's engine against Hyperscan and aho-corasick: one run, one core, thread CPU time,
//! peers in turns, medians, equal matches (MATCHER.md 3, issue 6 point 1).
//!
//! Rows: fourteen groups of ET Open on buffers of their own, sets of 100 to all fast patterns on
//! mixed and on random payloads, and hostile segments. Hyperscan is opened at run time if it is
//! installed; its better form counts. `cargo bench --bench prefilter [-- --only ROW] [-- --quick]`.
//! `-- --train FILE` counts the captures of the other half and writes the table of the engine.

#[path = "prefilter/corpus.rs"]
mod corpus;
#[path = "prefilter/hyperscan.rs"]
mod hyperscan;
#[path = "prefilter/measure.rs"]
mod measure;
#[path = "prefilter/table.rs"]
mod table;

use std::path::{Path, PathBuf};

use corpus::Traffic;
use sluice::matcher::literal as engine;
use sluice::packet::Direction::{ToClient, ToServer};
use sluice::rules::signature::Signature;
use sluice::rules::{Classification, File, Options, Variables, load};

/// Rules: `SLUICE_RULES`, else those of the shared folder, all of them switched on.
fn rules(shared: &Path) -> Vec<Signature> {
    let text = match std::env::var("SLUICE_RULES") {
        Ok(path) => std::fs::read_to_string(path).expect("SLUICE_RULES can be read"),
        Err(_) => {
            let packed = shared.join("etopen/etopen-all.rules.xz");
            let output = std::process::Command::new("xz")
                .arg("-dc")
                .arg(packed)
                .output();
            String::from_utf8(output.expect("xz runs").stdout).expect("text")
        }
    };
    let file = File {
        path: "bench.rules",
        text: text.as_bytes(),
    };
    let variables = Variables::default();
    let classes = Classification::default();
    load(&[file], &variables, &classes, &Options::default()).signatures
}

/// The rows of groups.
fn groups(signatures: &[Signature]) -> Vec<table::Group> {
    let buffer = |name: &str, direction| {
        let literals = corpus::of_buffer(signatures, name, direction);
        (name.to_string(), literals)
    };
    let payload = |name: &str, direction, port| {
        (
            name.to_string(),
            corpus::of_payload(signatures, direction, port),
        )
    };
    vec![
        (buffer("http.uri", ToServer), "uris", true),
        (buffer("dns.query", ToServer), "dns names", true),
        (buffer("tls.sni", ToServer), "names of hosts", true),
        (buffer("http.host", ToServer), "hosts", true),
        (buffer("http.user_agent", ToServer), "user agents", true),
        (buffer("http.header", ToServer), "headers", true),
        (
            buffer("http.request_body", ToServer),
            "http to server",
            false,
        ),
        (buffer("file.data", ToClient), "bodies", false),
        (
            payload("payload to server", ToServer, None),
            "mixed to server",
            false,
        ),
        (
            payload("payload to client", ToClient, None),
            "mixed to client",
            false,
        ),
        (
            payload("to server 80", ToServer, Some(80)),
            "http to server",
            false,
        ),
        (
            payload("to server high", ToServer, Some(49999)),
            "other to server",
            false,
        ),
        (
            payload("to client 80", ToClient, Some(80)),
            "http to client",
            false,
        ),
        (
            payload("to client high", ToClient, Some(49999)),
            "other to client",
            false,
        ),
    ]
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag)?;
        arguments.get(at + 1).cloned()
    };
    let shared = std::env::var("SLUICE_SHARED").unwrap_or_else(|_| "/work/shared".into());
    let shared = PathBuf::from(shared);
    if !shared.join("captures").is_dir() {
        println!("SKIPPED: {} has no captures", shared.display());
        return;
    }
    if let Some(path) = after("--train") {
        let traffic = Traffic::read(&shared, true);
        let samples = traffic.0.values().flatten().map(Vec::as_slice);
        let background = engine::Background::train(samples.filter(|s| table::is_plain(s)));
        std::fs::write(&path, background.as_bytes()).expect("the table can be written");
        return println!("{path} written");
    }
    let signatures = rules(&shared);
    let traffic = Traffic::read(&shared, false);
    let rows = table::Rows {
        groups: groups(&signatures),
        all: corpus::all(&signatures),
        traffic,
    };
    if let Some(path) = after("--dump") {
        return rows.dump(&path);
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    rows.run(after("--only").as_deref(), quick);
}
