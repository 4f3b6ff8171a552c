//! Rules of the shared folder through the whole parser: etopen and every conformance case.
//!
//! The folder is `../shared` or what SLUICE_SHARED names. Without it the tests say so loudly, and
//! fail where SLUICE_REQUIRE_SHARED=1.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use sluice::rules::diagnostic::Severity;
use sluice::rules::{Classification, File, Options, Variables, load};

fn shared(part: &str) -> Option<PathBuf> {
    let root = std::env::var("SLUICE_SHARED").unwrap_or_else(|_| "../shared".to_string());
    let path = Path::new(&root).join(part);
    if path.exists() {
        return Some(path);
    }
    assert!(
        std::env::var("SLUICE_REQUIRE_SHARED").as_deref() != Ok("1"),
        "{} is missing",
        path.display()
    );
    eprintln!("SKIPPED: {} is missing", path.display());
    None
}

/// The rules of etopen, unpacked by the `xz` of the machine.
fn etopen() -> Option<Vec<u8>> {
    let path = shared("etopen/etopen-all.rules.xz")?;
    let output = Command::new("xz").arg("-dc").arg(&path).output();
    match output {
        Ok(output) if output.status.success() => Some(output.stdout),
        _ => {
            assert!(
                std::env::var("SLUICE_REQUIRE_SHARED").as_deref() != Ok("1"),
                "xz does not run"
            );
            eprintln!("SKIPPED: xz does not run");
            None
        }
    }
}

#[test]
fn all_of_etopen_parses() {
    let Some(text) = etopen() else { return };
    let mut classification = Classification::default();
    if let Some(path) = shared("etopen/classification.config") {
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(classification.read_classes(&text), [] as [u32; 0]);
    }
    let file = File {
        path: "etopen-all.rules",
        text: &text,
    };
    for disabled in [false, true] {
        let options = Options {
            disabled,
            ..Options::default()
        };
        let started = Instant::now();
        let loaded = load(&[file], &Variables::default(), &classification, &options);
        let took = started.elapsed();
        println!("{:?} in {took:?}", loaded.counts);
        let mut codes: BTreeMap<&str, u32> = BTreeMap::new();
        for found in &loaded.diagnostics {
            *codes.entry(found.code.id()).or_default() += 1;
            if found.severity() == Severity::Error {
                println!(
                    "{}:{} {} {}",
                    found.line, found.column, found.code, found.message
                );
            }
        }
        println!("{codes:?}");
        let counts = loaded.counts;
        assert_eq!(counts.failed, 0);
        assert_eq!(counts.skipped, 0);
        if disabled {
            assert_eq!(counts.rules, 44_262);
        } else {
            assert_eq!((counts.rules, counts.disabled), (32_130, 12_132));
        }
    }
}

/// Variables of the shared README, and those that the case names itself.
fn case_variables(case: &serde_json::Value) -> Variables {
    let mut variables = Variables::default();
    let groups = case.get("variables").and_then(|v| v.as_object());
    for (name, value) in groups.into_iter().flatten() {
        match value {
            serde_json::Value::String(value) => variables.set(name, value),
            serde_json::Value::Object(group) => {
                for (name, value) in group {
                    variables.set(name, value.as_str().unwrap_or(""));
                }
            }
            _ => {}
        }
    }
    variables
}

/// All folders with a test.rules below `root`.
fn case_folders(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(folder) = open.pop() {
        if folder.join("test.rules").exists() {
            found.push(folder);
            continue;
        }
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            if entry.path().is_dir() {
                open.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn conformance_rules_parse_as_suricata_parses_them() {
    let Some(root) = shared("conformance/cases") else {
        return;
    };
    let mut cases = 0;
    let mut alerting_sids_missing = Vec::new();
    let mut errors = Vec::new();
    let mut runs = 0;
    let mut lacking: BTreeMap<String, u32> = BTreeMap::new();
    for case in case_folders(&root) {
        let text = std::fs::read(case.join("test.rules")).unwrap();
        let json = std::fs::read_to_string(case.join("case.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        cases += 1;
        let path = case.display().to_string();
        let file = File {
            path: &path,
            text: &text,
        };
        let variables = case_variables(&json);
        let loaded = load(
            &[file],
            &variables,
            &Classification::default(),
            &Options::default(),
        );
        for found in &loaded.diagnostics {
            if found.severity() == Severity::Error {
                errors.push(format!(
                    "{path}:{}:{} [{}] {}",
                    found.line, found.column, found.code, found.message
                ));
            }
        }
        let lacks = loaded.signatures.iter().flat_map(|s| &s.unsupported);
        runs += u32::from(lacks.clone().next().is_none());
        for what in lacks {
            *lacking.entry(what.to_string()).or_default() += 1;
        }
        let alerts = json.get("alerts").and_then(|a| a.as_object());
        for (sid, _) in alerts.into_iter().flatten() {
            let sid: u32 = sid.parse().unwrap();
            if !loaded.signatures.iter().any(|s| s.sid == sid) {
                alerting_sids_missing.push(format!("{path} sid {sid}"));
            }
        }
    }
    println!("{cases} cases, {} rules in error", errors.len());
    println!("{runs} cases have only rules that this build runs");
    for (what, count) in &lacking {
        println!("{count:>5} {what}");
    }
    for error in &errors {
        println!("{error}");
    }
    assert!(cases > 600, "only {cases} cases");
    assert_eq!(alerting_sids_missing, Vec::<String>::new());
}
