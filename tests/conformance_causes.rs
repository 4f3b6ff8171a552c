//! Shared cases that fail as they stand because their file lacks a setting of the recorded run:
//! what a list in the original configuration said (order of actions, how drops are logged) did not
//! come into `case.json`. With the setting that the expected result shows, they pass: so the
//! semantics are there, and only the case is short. Other misses are named in `CAUSES`.
//!
//! What is not here: the record of all cases (conformance.txt).

mod common;

use std::path::{Path, PathBuf};

use clap::Parser;
use sluice::cli::{Cli, run};

/// Case, and the settings that its file lacks.
const LACKING: &[(&str, &[(&str, &str)])] = &[
    ("flow-drop-iponly-01", &[DROPS_START]),
    ("flow-drop-iponly-02", &[DROPS_START]),
    ("exception-policy-midstream-02", &[DROPS_START]),
    (
        "issue-5466-alert-then-pass-03-drop-pass",
        &[("action-order", "drop,pass,reject,alert")],
    ),
    (
        "bug-5464-verdict-02",
        &[("action-order", "alert,pass,drop,reject")],
    ),
    (
        "util-action-tests/util-action-06",
        &[("action-order", "drop,pass,reject,alert")],
    ),
    (
        "util-action-tests/util-action-11",
        &[("action-order", "drop,pass,alert,reject")],
    ),
    (
        "util-action-tests/util-action-12",
        &[("action-order", "drop,pass,alert,reject")],
    ),
];

/// A dropped flow is one drop event per direction.
const DROPS_START: (&str, &str) = ("outputs.eve-log.drop.flows", "start");

/// Cases that no setting helps, and why Sluice gives something else.
const CAUSES: &[(&str, &str)] = &[
    (
        "eve-payload-03-tcp-exact-overlap-ips",
        "inline Suricata writes the first bytes over an overlap that differs; Sluice never changes \
         a frame and drops it",
    ),
    (
        "plain/mqtt-frames-xpdu",
        "of two messages in one segment Suricata takes header and data frame of the second from the \
         first one's bytes; here each has its own, however TCP cut them",
    ),
    (
        "plain/smb-filename",
        "until the answer says that a tree is a pipe Suricata takes it for a share, so that the \
         count depends on which packet acknowledges the request",
    ),
    (
        "plain/protocol-change-failed-event",
        "the refused upgrade of a response without a request is an event of both directions in \
         Suricata, so that a rule without one alerts twice; here it is of the response's alone",
    ),
];

/// The case's folder below `to`, with more settings.
fn amended(shared: &Path, case: &str, settings: &[(&str, &str)], to: &Path) {
    let group = match case.split_once('/') {
        Some(("plain", _)) => "conformance/cases",
        _ => "conformance/cases/ips",
    };
    let from = shared.join(group).join(case);
    let text = std::fs::read_to_string(from.join("case.json")).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let capture = value["capture"].as_str().unwrap().to_string();
    value["capture"] = shared.join("conformance").join(capture).to_str().into();
    for (key, setting) in settings {
        value["settings"][*key] = (*setting).into();
    }
    let folder = to.join(case.replace('/', "-"));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("case.json"), value.to_string()).unwrap();
    std::fs::copy(from.join("test.rules"), folder.join("test.rules")).unwrap();
}

/// Exit code of `sluice test` over amended cases.
fn tested(shared: &Path, name: &str, cases: &[(&str, &[(&str, &str)])]) -> u8 {
    let to: PathBuf =
        std::env::temp_dir().join(format!("sluice-causes-{}-{name}", std::process::id()));
    for (case, settings) in cases {
        amended(shared, case, settings, &to);
    }
    let code = run(Cli::parse_from(["sluice", "test", to.to_str().unwrap()]));
    std::fs::remove_dir_all(&to).unwrap();
    code
}

#[test]
fn cases_that_lack_a_setting_pass_with_it() {
    let Some(shared) = common::shared("conformance causes") else {
        return;
    };
    let shared = shared.canonicalize().unwrap();
    assert_eq!(tested(&shared, "amended", LACKING), 0);
    for (case, _) in LACKING {
        let bare = tested(&shared, "bare", &[(case, &[])]);
        assert_ne!(bare, 0, "{case} passes without: take it off the list");
    }
    for (case, cause) in CAUSES {
        let bare = tested(&shared, "cause", &[(case, &[])]);
        assert_ne!(bare, 0, "{case} passes: its cause is gone ({cause})");
    }
}
