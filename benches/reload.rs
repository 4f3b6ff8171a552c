//! What a reload costs the frames that come meanwhile: the same traffic between `mem:` ports at a
//! steady rate, once left alone and once while rules are replaced again and again. Prints the p99
//! of both and the difference (goal: <= 1 ms). Frames sent before the engine is there are lost in
//! both. Far end, lane and the thread that compiles want three cores: with two, the scheduler's
//! slices of some milliseconds are what p99 shows.
//!
//! `cargo bench --bench reload`. Rules: `SLUICE_RULES`, else 5,000 that are made here.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Frames per second that the far end sends.
const RATE: &str = "5000";
/// Flows of its capture, played once: frames that come again would be dropped for what they are.
const FLOWS: &str = "4000";

fn made_rules() -> String {
    let rule = |sid: u32| {
        format!(
            "alert tcp any any -> any any (msg:\"r{sid}\"; flow:established; \
             content:\"word-{sid}-of-many\"; sid:{sid};)\n"
        )
    };
    (1..=5_000).map(rule).collect()
}

/// Plays the traffic; with `reloads`, replaces the rules all the while. Gives the far end's p50 and
/// p99 in nanoseconds, its lost frames, and how often the rules were replaced.
fn play(folder: &Path, tool: &Path, capture: &Path, rules: &Path, reloads: bool) -> [u64; 4] {
    let socket = folder.join("control");
    let wire = format!("mem:{}", folder.join("wire").display());
    let mut far_end = Command::new(tool)
        .args(["replay", "--port", &wire, "--rate", RATE])
        .args(["--allow-unexpected", "--format", "json"])
        .arg(capture)
        .stdout(Stdio::piped())
        .spawn()
        .expect("pcap-replay starts");
    let mut engine = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args([
            "run",
            "--inline",
            &format!("{wire}{{0"),
            &format!("{wire}{{1"),
        ])
        .args([
            "--set",
            "stream.midstream=yes",
            "-k",
            "none",
            "--skip-bad-rules",
        ])
        .arg("--socket")
        .arg(&socket)
        .arg("-S")
        .arg(rules)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sluice starts");
    let begin = Instant::now();
    let mut count = 0;
    while far_end
        .try_wait()
        .expect("the far end can be asked")
        .is_none()
    {
        std::thread::sleep(Duration::from_millis(100));
        if reloads && socket.exists() && begin.elapsed() > Duration::from_secs(1) {
            let done = Command::new(env!("CARGO_BIN_EXE_sluice"))
                .arg("reload")
                .arg(&socket)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            count += u64::from(done.is_ok_and(|status| status.success()));
        }
    }
    let output = far_end.wait_with_output().expect("the far end ends");
    engine.wait().expect("the engine ends");
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("the far end reports");
    let figure = |name: &str| report[name].as_u64().unwrap_or(0);
    [
        figure("latency_p50_ns"),
        figure("latency_p99_ns"),
        figure("lost"),
        count,
    ]
}

fn main() {
    let beside = Path::new(env!("CARGO_BIN_EXE_sluice"))
        .parent()
        .expect("a folder");
    let tool = beside.join("pcap-replay");
    if !tool.exists() {
        println!("SKIPPED: build pcap-replay first (cargo build --release -p pcap-replay)");
        return;
    }
    let folder = std::env::temp_dir().join(format!("sluice-bench-reload-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the bench");
    let capture = folder.join("made.pcap");
    let made = Command::new(&tool)
        .arg("generate")
        .arg(&capture)
        .args(["--flows", FLOWS, "--seed", "7", "--loss", "0"])
        .args(["--attack", "0"])
        .stdout(Stdio::null())
        .status();
    assert!(made.is_ok_and(|status| status.success()), "traffic is made");
    let rules = match std::env::var_os("SLUICE_RULES") {
        Some(path) => PathBuf::from(path),
        None => {
            let path = folder.join("made.rules");
            std::fs::write(&path, made_rules()).expect("rules are written");
            path
        }
    };
    let [p50, p99, lost, _] = play(&folder, &tool, &capture, &rules, false);
    println!("left alone      p50 {p50:>9} ns  p99 {p99:>9} ns  lost {lost}");
    let [p50_busy, p99_busy, lost, count] = play(&folder, &tool, &capture, &rules, true);
    println!("{count:>3} reloads     p50 {p50_busy:>9} ns  p99 {p99_busy:>9} ns  lost {lost}");
    let added = p99_busy.saturating_sub(p99) as f64 / 1e6;
    println!("added at p99    {added:.3} ms (goal: <= 1 ms)");
    let _ = std::fs::remove_dir_all(&folder);
}
