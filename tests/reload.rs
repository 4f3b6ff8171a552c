//! Rules replaced under load, between `mem:` ports and by the control socket, as an operator does
//! it: no frame is lost, the new rules fire, and a set that lost too much is refused.
//!
//! What is not here: what a flow keeps (src/matcher/tests/reload.rs), and how much later frames come
//! meanwhile (benches/reload.rs).

#[path = "wire/tool.rs"]
mod tool;

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tool::pcap_replay;

/// A folder of this test's own, gone at its end.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn sluice() -> Command {
    Command::new(env!("CARGO_BIN_EXE_sluice"))
}

/// Exit code and text of `sluice reload`.
fn reload(socket: &Path, force: bool) -> (Option<i32>, String) {
    let mut command = sluice();
    command.arg("reload").arg(socket);
    if force {
        command.arg("--force");
    }
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// Generation of the rules in force, as `sluice ask` tells it.
fn generation_of(socket: &Path) -> u64 {
    let asked = sluice()
        .arg("ask")
        .arg(socket)
        .arg("ruleset-stats")
        .output();
    let told: Value = serde_json::from_slice(&asked.unwrap().stdout).unwrap();
    told["generation"].as_u64().unwrap()
}

fn rules(count: u32, option: &str) -> String {
    let rule = |sid: u32| {
        format!(
            "alert tcp any any -> any any (msg:\"r{sid}\"; content:\"never-{sid}\"; sid:{sid};)\n"
        )
    };
    let mut text: String = (1..=count).map(rule).collect();
    text.push_str(&format!(
        "alert tcp any any -> any any (msg:\"new\"; flow:established; {option}; \
         threshold:type limit,track by_rule,count 5,seconds 600; sid:900;)\n"
    ));
    text
}

fn wait_for(path: &Path) {
    let begin = Instant::now();
    while !path.exists() {
        assert!(
            begin.elapsed() < Duration::from_secs(30),
            "no {}",
            path.display()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Replaces the rules: well, with far too few, with an error, and with far too few by force.
fn replace(file: &Path, socket: &Path) {
    wait_for(socket);
    std::thread::sleep(Duration::from_millis(300));
    std::fs::write(file, rules(41, "dsize:>100")).unwrap();
    let (code, text) = reload(socket, false);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("generation 2: 42 rules (41 before: 1 added"),
        "{text}"
    );
    std::fs::write(file, rules(10, "dsize:>100")).unwrap();
    let (code, text) = reload(socket, false);
    assert_eq!(code, Some(4), "{text}");
    assert!(
        text.contains("more than a tenth") && text.contains("gone: 11, 12"),
        "{text}"
    );
    std::fs::write(
        file,
        "alert tcp any any -> any any (contnt:\"x\"; sid:1;)\n",
    )
    .unwrap();
    let (code, text) = reload(socket, false);
    assert_eq!(code, Some(4), "{text}");
    assert!(text.contains("my.rules:1:"), "{text}");
    std::fs::write(file, rules(10, "dsize:>100")).unwrap();
    let (code, text) = reload(socket, true);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("generation 3"), "{text}");
}

#[test]
fn rules_are_replaced_under_load_and_no_frame_is_lost() {
    let scratch =
        Scratch(std::env::temp_dir().join(format!("sluice-reload-{}", std::process::id())));
    std::fs::create_dir_all(&scratch.0).unwrap();
    let tool = pcap_replay();
    let capture = scratch.0.join("made.pcap");
    let made = Command::new(&tool)
        .arg("generate")
        .arg(&capture)
        .args([
            "--flows", "200", "--seed", "7", "--loss", "0", "--attack", "0",
        ])
        .output()
        .unwrap();
    assert!(made.status.success());
    let (file, socket) = (scratch.0.join("my.rules"), scratch.0.join("control"));
    std::fs::write(&file, rules(40, "content:\"no such word\"")).unwrap();
    let settings = scratch.0.join("sluice.toml");
    std::fs::write(&settings, "[rules]\nfiles = [\"my.rules\"]\n").unwrap();
    let wire = format!("mem:{}", scratch.0.join("wire").display());
    let far_end = Command::new(&tool)
        .args(["replay", "--in-order", "--port", &wire, "--rate", "3000"])
        .args(["--loops", "6", "--allow-lost", "--allow-unexpected"])
        .args(["--format", "json"])
        .arg(&capture)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let manager = scratch.0.join("notify");
    let heard = UnixDatagram::bind(&manager).unwrap();
    let engine = sluice()
        .env("NOTIFY_SOCKET", &manager)
        .env("WATCHDOG_USEC", "100000")
        .args([
            "run",
            "--inline",
            &format!("{wire}{{0"),
            &format!("{wire}{{1"),
        ])
        .args(["--seconds", "120", "--format", "json", "--socket"])
        .arg(&socket)
        .arg("--config")
        .arg(&settings)
        .arg("-l")
        .arg(scratch.0.join("log"))
        .args(["--set", "stream.midstream=yes", "-k", "none"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    replace(&file, &socket);
    // A service manager hears that it runs.
    for expected in ["READY=1", "WATCHDOG=1"] {
        let mut text = [0; 64];
        let length = heard.recv(&mut text).unwrap();
        assert_eq!(&text[..length], expected.as_bytes());
    }
    // SIGHUP does the same, and SIGUSR2, by which Suricata's rules are reloaded.
    for (signal, count, generation) in [("-HUP", 11, 4), ("-USR2", 12, 5)] {
        std::fs::write(&file, rules(count, "dsize:>100")).unwrap();
        let process = engine.id().to_string();
        let sent = Command::new("kill").args([signal, &process]).status();
        assert!(sent.unwrap().success());
        let begin = Instant::now();
        while generation_of(&socket) != generation {
            assert!(begin.elapsed() < Duration::from_secs(30), "{signal}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    // What the settings file says of rules is read again; of the rest it is said that it is not.
    let more = "alert tcp any any -> any $MORE (msg:\"more\"; content:\"never-more\"; sid:800;)\n";
    std::fs::write(scratch.0.join("more.rules"), more).unwrap();
    let changed =
        "flows = 9000\n[rules]\nfiles = [\"my.rules\", \"mor*.rules\"]\n[vars]\nMORE = 7\n";
    std::fs::write(&settings, changed).unwrap();
    let (code, text) = reload(&socket, false);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("generation 6: 14 rules"), "{text}");
    std::fs::write(&settings, "[rules]\nfile = 1\n").unwrap();
    let (code, text) = reload(&socket, false);
    assert_eq!(code, Some(4), "{text}");
    assert!(text.contains("sluice.toml:2:1: unknown setting"), "{text}");
    let far_end = far_end.wait_with_output().unwrap();
    let engine = engine.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&engine.stderr);
    assert!(engine.status.success(), "{errors}");
    assert!(
        errors.contains("reload: generation 4: 12 rules")
            && errors.contains("reload: generation 5: 13 rules")
            && errors.contains("note: settings were changed that are not about rules"),
        "{errors}"
    );
    let report: Value = serde_json::from_slice(&far_end.stdout).unwrap();
    assert!(report["sent"].as_u64().unwrap() > 20_000, "{report}");
    // What comes again in the next loop is an old connection's to the engine, and dropped with a
    // reason: what counts is that each frame that was sent came in, and what was forwarded came out.
    let summary = String::from_utf8_lossy(&engine.stdout);
    let summary: Value = serde_json::from_str(summary.trim()).unwrap();
    assert_eq!(summary["packets"], report["sent"], "{summary}");
    assert_eq!(summary["unaccounted"], 0, "{summary}");
    assert_eq!(summary["forwarded"], report["received"], "{summary}");
    let told = std::fs::read_to_string(scratch.0.join("log/eve.json")).unwrap();
    let alerts = told
        .lines()
        .filter(|line| line.contains("\"signature_id\":900,"));
    assert_eq!(
        alerts.count(),
        5,
        "the limit of the rule counts on over all reloads"
    );
}
