//! Rules from a warm cache are the rules: same signatures, same regexes, same alerts. What a file
//! that is not to be trusted comes to is matcher/regex/tables.rs's.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use common::{captures, shared};
use sluice::cli::rules::{Loaded, Wanted, load};
use sluice::event::EventKind;
use sluice::matcher::regex::TablesReport;
use sluice::replay::{Options, Session};

/// Captures that are played.
const CAPTURES: usize = 1000;

/// A folder of this test's own, with the rules of etopen in it.
fn folder(shared: &Path) -> Option<PathBuf> {
    let folder = std::env::temp_dir().join(format!("sluice-rule-cache-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let packed = shared.join("etopen/etopen-all.rules.xz");
    let output = Command::new("xz").arg("-dc").arg(packed).output();
    let unpacked = output.ok().filter(|output| output.status.success());
    if unpacked.is_none() {
        assert!(
            std::env::var("SLUICE_REQUIRE_SHARED").as_deref() != Ok("1"),
            "xz does not run"
        );
        eprintln!("SKIPPED: xz does not run");
    }
    std::fs::write(folder.join("et.rules"), unpacked?.stdout).unwrap();
    Some(folder)
}

fn loaded(folder: &Path) -> (Loaded, TablesReport) {
    let wanted = Wanted {
        files: vec![folder.join("et.rules")],
        skip_bad: true,
        cache: Some(folder.join("cache")),
        ..Wanted::default()
    };
    let loaded = load(&wanted).map_err(|failure| failure.text).unwrap();
    let report = loaded.cache.clone().unwrap();
    (loaded, report)
}

/// Alerts by sid.
fn alerts(files: &[PathBuf], loaded: &Loaded) -> BTreeMap<u32, u32> {
    let program = Arc::clone(&loaded.program);
    let session = Session::open(files, Options::default(), program).unwrap();
    let mut alerts = BTreeMap::new();
    session.run(
        |event| {
            if let (EventKind::Alert, Some(signature)) =
                (event.kind, loaded.ruleset.signature(event.signature))
            {
                *alerts.entry(signature.sid).or_default() += 1;
            }
        },
        || {},
    );
    alerts
}

#[test]
fn a_warm_start_gives_the_rules_and_the_alerts_of_a_cold_one() {
    let Some(shared) = shared("a_warm_start_gives_the_rules_and_the_alerts_of_a_cold_one") else {
        return;
    };
    let Some(folder) = folder(&shared) else {
        return;
    };
    let (cold, built) = loaded(&folder);
    assert_eq!((built.taken, built.refused, &built.trouble), (0, 0, &None));
    assert!(built.built > 3_000);
    let (warm, taken) = loaded(&folder);
    assert_eq!((taken.built, taken.refused, &taken.trouble), (0, 0, &None));
    assert_eq!(taken.taken, built.built);
    assert_eq!(cold.program.fingerprint(), warm.program.fingerprint());
    let files = captures(&shared.join("captures"));
    let files = files.get(..CAPTURES).unwrap();
    let expected = alerts(files, &cold);
    assert!(expected.values().sum::<u32>() > 20, "{expected:?}");
    assert_eq!(alerts(files, &warm), expected);
    std::fs::remove_dir_all(folder).unwrap();
}
