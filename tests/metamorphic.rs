//! I10 for the cut of streams: rules on transactions give the same alerts however TCP cut the same
//! bytes - segments of one byte, in random order, each sent twice - over the shared conformance cases
//! with their own rules and settings. Bursts and layouts are independence.rs's.
//!
//! What is compared: alerts per signature of rules on transactions; of rules on streams, which alert
//! once for each piece that they match in, whether there is one. Rules about packets, and rules that
//! count or remember (bits, thresholds), may see other packets and are left out.
//! A share of the cases; all with `SLUICE_LONG=1`.

mod common;
#[path = "metamorphic/recut.rs"]
mod recut;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{Fact, facts, shared, small};
use recut::{Cut, has_no_stream, recut};
use sluice::cli::rules::{Loaded, Wanted, load};
use sluice::config::{Config, Mode};
use sluice::replay::Options;
use sluice::rules::signature::{Class, Signature};

/// One case in so many runs by default.
const SHARE: usize = 12;
/// Captures beyond this are not cut into single bytes.
const BYTES_MAX: usize = 200 << 10;
const CUTS: [Cut; 5] = [
    Cut::Pieces(1),
    Cut::Pieces(7),
    Cut::Pieces(61),
    Cut::Shuffled(13),
    Cut::Twice(29),
];

/// What is compared of a signature; `None`: nothing.
fn compared(signature: &Signature) -> Option<bool> {
    let remembers = !signature.state.is_empty()
        || signature.threshold.is_some()
        || signature.detection_filter.is_some()
        || !signature.packet.is_empty()
        || signature.flow.as_ref().is_some_and(|flow| flow.no_stream);
    match signature.class {
        _ if remembers => None,
        Class::AppTransaction => Some(true),
        Class::Stream => Some(false),
        _ => None,
    }
}

/// Alerts per signature that are compared; of rules on streams 1 if there is one.
fn alerts(capture: &Path, config: &Config, loaded: &Loaded) -> BTreeMap<u32, u64> {
    let options = Options {
        config: config.clone(),
        key: 7,
        ..Options::default()
    };
    let (facts, _) = facts(&[capture.to_path_buf()], options, loaded);
    let mut counts = BTreeMap::new();
    for signature in loaded.ruleset.signatures() {
        let Some(exact) = compared(signature) else {
            continue;
        };
        let of = |fact: &&Fact| matches!(fact, Fact::Alert(_, sid, _) if *sid == signature.sid);
        let count = facts.iter().filter(of).count() as u64;
        counts.insert(signature.sid, if exact { count } else { count.min(1) });
    }
    counts
}

fn text(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn flatten(value: &serde_json::Value, out: &mut Vec<(String, String)>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        if value.is_object() {
            flatten(value, out);
        } else {
            out.push((name.clone(), text(value)));
        }
    }
}

/// Capture, settings and rules of a case; `None` if it is in the path, or has settings that are not
/// ours.
fn case(root: &Path, folder: &Path) -> Option<(PathBuf, Config, Loaded)> {
    let case = std::fs::read_to_string(folder.join("case.json")).ok()?;
    let case: serde_json::Value = serde_json::from_str(&case).ok()?;
    let mut config = small(Mode::Tap);
    for (key, value) in case["settings"].as_object().into_iter().flatten() {
        if key == "inline" {
            return None;
        }
        config.set(key, &text(value)).ok()?;
    }
    let mut variables = Vec::new();
    flatten(&case["variables"], &mut variables);
    let wanted = Wanted {
        files: vec![folder.join("test.rules")],
        variables,
        ..Wanted::default()
    };
    let loaded = load(&wanted.with(&config)).ok()?;
    let capture = root.join("conformance").join(case["capture"].as_str()?);
    Some((capture, config, loaded))
}

fn folders(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for tier in ["plain", "http-evader", "stream"] {
        let dir = root.join("conformance/cases").join(tier);
        let mut inner: Vec<PathBuf> = std::fs::read_dir(&dir)
            .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
            .map(|entry| entry.unwrap().path())
            .collect();
        inner.sort();
        found.extend(inner);
    }
    found
}

#[test]
fn the_cut_of_a_stream_changes_no_alert() {
    let Some(root) = shared("the_cut_of_a_stream_changes_no_alert") else {
        return;
    };
    let long = std::env::var_os("SLUICE_LONG").is_some_and(|value| value == "1");
    let step = if long { 1 } else { SHARE };
    let scratch = std::env::temp_dir().join(format!("sluice-recut-{}.pcap", std::process::id()));
    let (mut cases, mut runs, mut rules, mut alerted) = (0, 0, 0, 0);
    let (mut wrong, mut left_out) = (Vec::new(), Vec::new());
    for folder in folders(&root).into_iter().step_by(step) {
        let Some((capture, config, loaded)) = case(&root, &folder) else {
            continue;
        };
        let Ok(bytes) = std::fs::read(&capture) else {
            continue;
        };
        if !config.midstream && has_no_stream(&bytes) {
            left_out.push(folder.display().to_string());
            continue;
        }
        let expected = alerts(&capture, &config, &loaded);
        if expected.is_empty() || bytes.len() > BYTES_MAX {
            continue;
        }
        cases += 1;
        rules += expected.len();
        alerted += expected.values().filter(|count| **count > 0).count();
        for cut in CUTS {
            let Some((new, segments)) = recut(&bytes, cut) else {
                continue;
            };
            if segments == 0 {
                continue;
            }
            std::fs::write(&scratch, new).expect("the temporary folder takes a file");
            let got = alerts(&scratch, &config, &loaded);
            runs += 1;
            if got != expected {
                wrong.push(format!(
                    "{} {cut:?}: {got:?}, uncut {expected:?}",
                    folder.display()
                ));
            }
        }
    }
    let _ = std::fs::remove_file(&scratch);
    println!(
        "{cases} cases, {rules} rules ({alerted} alert), {runs} runs cut anew, {} differ",
        wrong.len()
    );
    println!(
        "LEFT OUT, their bytes lie in no stream (no SYN, and stream.midstream is off): {} cases\n{}",
        left_out.len(),
        left_out.join("\n")
    );
    assert!(runs > 0 && alerted > 0, "nothing was compared");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
