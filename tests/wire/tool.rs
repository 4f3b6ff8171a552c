//! `pcap-replay`, as tests call it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds the tool, unless it is there, and gives its path.
///
/// Asked for as `cargo test --workspace` has it: a package of its own, or without tests, gets other
/// features of what it depends on, and with them the whole engine is built once more.
pub fn pcap_replay() -> PathBuf {
    let beside = Path::new(env!("CARGO_BIN_EXE_sluice")).parent().unwrap();
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--workspace", "--bin", "pcap-replay"]);
    build.args(["--test", "witness", "--target-dir"]);
    build.arg(beside.parent().unwrap());
    if beside.ends_with("release") {
        build.arg("--release");
    }
    assert!(build.status().unwrap().success(), "{build:?}");
    beside.join("pcap-replay")
}
