//! The appliance around the wire: several pairs in one process, ports that must not be used, the
//! doctor, the demonstration, and what iperf3, curl and pcap-replay say of the way through.

mod wire;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use wire::frame::Packet;
use wire::{
    Namespace, PATIENCE, Process, RawSocket, Scratch, Wire, appliance, cable, ip, link_address,
    pcap_replay, possible, sysctl, until,
};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// `sluice` in a namespace, to its end.
fn sluice(namespace: &Namespace, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    let ended = Process::start(namespace, command.args(arguments)).join();
    (ended.code, ended.output, ended.errors)
}

fn figure(summary: &Value, path: &str) -> u64 {
    let found = path.split('.').fold(summary, |value, key| &value[key]);
    found
        .as_u64()
        .unwrap_or_else(|| panic!("no {path} in {summary}"))
}

/// Datagrams between the same two hosts and ports, whatever the wire.
fn datagrams(count: u16) -> Vec<Vec<u8>> {
    (0..count)
        .map(|number| {
            let hosts = ["10.7.7.1", "10.7.7.2"].map(|host| host.parse().unwrap());
            let packet = Packet::new([[2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]], hosts[0], hosts[1]);
            let payload = number.to_be_bytes().repeat(20);
            let length = (payload.len() as u16 + 8).to_be_bytes();
            let header = [&[0x13, 0x88, 0, 99][..], &length, &[0, 0]].concat();
            packet.frame(17, &[header, payload].concat())
        })
        .collect()
}

#[test]
fn two_pairs_in_one_process_are_two_wires() {
    if !possible("two_pairs_in_one_process_are_two_wires") {
        return;
    }
    let wire = Wire::bare();
    cable(&wire.appliance, "c", &wire.client);
    cable(&wire.appliance, "d", &wire.server);
    for (namespace, names) in [(&wire.client, ["a0", "c0"]), (&wire.server, ["b0", "d0"])] {
        for name in names {
            namespace.inside(|| sysctl(&format!("net/ipv6/conf/{name}/disable_ipv6"), "1"));
        }
    }
    let scratch = Scratch::new("appliance-pairs");
    let settings = scratch.file(
        "sluice.toml",
        "[run]\ninline = [[\"a1\", \"b1\"], [\"c1\", \"d1\"]]\n[rules]\nfiles = [\"r.rules\"]\n\
         [log]\ndir = \"log\"\n",
    );
    scratch.file(
        "r.rules",
        "alert udp any any -> any 99 (msg:\"seen\"; content:\"|00 07 00 07|\"; sid:1;)\n",
    );
    let process = appliance(&wire, &["--config", text(&settings)]);
    let said = process.errors();
    assert!(said.contains("ready: inline a1 b1 c1 d1"), "{said}");
    for name in ["a1", "b1", "c1", "d1"] {
        let about = format!("port {name}: AF_PACKET (TPACKET_V2) on veth");
        let mut lines = said.lines().filter(|line| line.starts_with(&about));
        let line = lines
            .next()
            .unwrap_or_else(|| panic!("no word of {name}: {said}"));
        assert!(line.contains("for 1 lane, offloads off"), "{line}");
    }
    let open =
        |namespace: &Namespace, name: &str| namespace.inside(|| RawSocket::open(name, false));
    let mut near = ["a0", "c0"].map(|name| open(&wire.client, name));
    let mut far = ["b0", "d0"].map(|name| open(&wire.server, name));
    let frames = datagrams(300);
    for frame in &frames {
        near.iter().for_each(|socket| socket.send(frame));
    }
    // What entered by one wire leaves by the same, once, in order, and by no other.
    for (number, socket) in far.iter_mut().enumerate() {
        let mut got: Vec<Vec<u8>> = Vec::new();
        until(&format!("300 frames out of wire {number}"), || {
            while let Some(frame) = socket.receive() {
                got.push(frame.to_vec());
            }
            got.len() >= frames.len()
        });
        std::thread::sleep(Duration::from_millis(50));
        assert!(socket.receive().is_none(), "no frame twice");
        assert!(got == frames, "wire {number}: {} frames", got.len());
    }
    assert!(near.iter_mut().all(|socket| socket.receive().is_none()));
    let ended = process.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    let summary = ended.json();
    assert_eq!(figure(&summary, "forwarded"), 600, "{summary}");
    assert_eq!(figure(&summary, "flows"), 2, "a flow on each wire");
    let eve = std::fs::read_to_string(scratch.0.join("log/eve.json")).unwrap();
    let alerts = eve.lines().filter(|line| line.contains("\"alert\""));
    let from = |port: &str| alerts.clone().filter(|line| line.contains(port)).count();
    assert_eq!(
        (from("\"in_iface\":\"a1\""), from("\"in_iface\":\"c1\"")),
        (1, 1)
    );
}

/// A run that is refused: the exit code is the device's, and the words say what to do.
fn refused(wire: &Wire, what: &str, remedy: &str) {
    let run = ["run", "--inline", "a1", "b1", "--seconds", "1"];
    let (code, _, errors) = sluice(&wire.appliance, &run);
    assert_eq!(code, Some(5), "{errors}");
    assert!(errors.contains(what), "{errors}");
    assert!(errors.contains(remedy), "{errors}");
    let (code, _, errors) = sluice(&wire.appliance, &[&run[..], &["--force"]].concat());
    assert_eq!(code, Some(0), "{errors}");
    assert!(
        errors.contains(what) && errors.contains("ready:"),
        "{errors}"
    );
}

#[test]
fn ports_that_must_not_be_inline_ports_are_refused_with_the_line_that_mends_it() {
    if !possible("ports_that_must_not_be_inline_ports_are_refused") {
        return;
    }
    let wire = Wire::new();
    let inside = |line: &str| wire.appliance.inside(|| ip(line));
    inside("link add br0 type bridge");
    inside("link set a1 master br0");
    inside("link set b1 master br0");
    refused(
        &wire,
        "both ports of br0",
        "ip link set a1 nomaster; ip link set b1 nomaster",
    );
    inside("link set a1 nomaster");
    inside("link set b1 nomaster");
    inside("address add 10.9.0.9/24 dev a1");
    inside("address add 10.8.0.9/24 dev b1");
    wire.appliance
        .inside(|| sysctl("net/ipv4/conf/a1/forwarding", "1"));
    refused(
        &wire,
        "forwards IPv4 that comes in at a1 and has a route out of b1",
        "sysctl -w net.ipv4.conf.a1.forwarding=0",
    );
    wire.appliance
        .inside(|| sysctl("net/ipv4/conf/a1/forwarding", "0"));
    // An address alone is told, and no reason to refuse.
    let run = ["run", "--inline", "a1", "b1", "--seconds", "1"];
    let (code, _, errors) = sluice(&wire.appliance, &run);
    assert_eq!(code, Some(0), "{errors}");
    assert!(errors.contains("a1 has the address 10.9.0.9"), "{errors}");
    // Somebody's connection to this machine goes over a1.
    let here: SocketAddr = "10.9.0.9:2222".parse().unwrap();
    let listener = wire.appliance.inside(|| TcpListener::bind(here).unwrap());
    let stream = wire.client.inside(|| TcpStream::connect(here).unwrap());
    let (accepted, _) = listener.accept().unwrap();
    refused(&wire, "over which TCP connections", "ip addr flush dev a1");
    drop((stream, accepted, listener));
    inside("route add default via 10.8.0.1 dev b1");
    refused(
        &wire,
        "b1 carries the default route",
        "ip route del default dev b1",
    );
    // To prove a wire takes its ports as well.
    let words = ["passthrough", "a1", "b1", "--seconds", "1"];
    let (code, _, errors) = sluice(&wire.appliance, &words);
    assert_eq!(code, Some(5), "{errors}");
    assert!(errors.contains("b1 carries the default route"), "{errors}");
    let (code, _, errors) = sluice(&wire.appliance, &[&words[..], &["--force"]].concat());
    assert_eq!(code, Some(0), "{errors}");
    let (code, _, errors) = sluice(&wire.appliance, &["passthrough", "a1", "a1"]);
    assert_eq!(code, Some(2), "{errors}");
    // A tap may watch the management port.
    let (code, _, errors) = sluice(&wire.appliance, &["run", "--tap", "b1", "--seconds", "1"]);
    assert_eq!(code, Some(0), "{errors}");
}

#[test]
fn a_tap_watches_both_ways_and_sends_nothing() {
    if !possible("a_tap_watches_both_ways_and_sends_nothing") {
        return;
    }
    let wire = Wire::new();
    wire.appliance.inside(|| {
        ip("link add br0 type bridge");
        ip("link set a1 master br0");
        ip("link set b1 master br0");
        ip("link set br0 up");
    });
    let scratch = Scratch::new("appliance-tap");
    let rules = scratch.file(
        "r.rules",
        "drop tcp any any -> any 5000 (msg:\"d\"; flow:established,to_server; content:\"forbidden\"; \
         sid:1;)\n",
    );
    let run = [
        "--tap",
        "a1",
        "b1",
        "-S",
        text(&rules),
        "-l",
        text(&scratch.0),
    ];
    let process = appliance(&wire, &run);
    assert!(process.errors().contains("ready: tap a1 b1"));
    let to: SocketAddr = "10.9.0.2:5000".parse().unwrap();
    let listener = wire.server.inside(|| TcpListener::bind(to).unwrap());
    let mut client = wire.client.inside(|| TcpStream::connect(to).unwrap());
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(b"a forbidden word").unwrap();
    let mut heard = [0; 16];
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    server.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"a forbidden word", "a tap stops nothing");
    drop((client, server));
    until("the alert", || {
        let eve = std::fs::read_to_string(scratch.0.join("eve.json")).unwrap_or_default();
        eve.contains("\"signature_id\":1")
    });
    let summary = process.stop().json();
    assert_eq!(figure(&summary, "dropped"), 0, "{summary}");
    assert_eq!(figure(&summary, "flows_refused"), 0, "{summary}");
    assert!(figure(&summary, "packets") >= 6, "both ways: {summary}");
}

fn diagnosis(wire: &Wire, arguments: &[&str]) -> (Option<i32>, Vec<Value>) {
    let (code, output, errors) = sluice(
        &wire.appliance,
        &[&["doctor", "--format", "json"], arguments].concat(),
    );
    let findings =
        serde_json::from_str(&output).unwrap_or_else(|e| panic!("{e}: {output}{errors}"));
    (code, findings)
}

fn about<'a>(findings: &'a [Value], of: &str, about: &str) -> &'a Value {
    findings
        .iter()
        .find(|f| f["of"] == of && f["about"] == about)
        .unwrap_or_else(|| panic!("{of}: nothing about {about}: {findings:#?}"))
}

#[test]
fn the_doctor_finds_what_is_wrong_and_mends_it() {
    if !possible("the_doctor_finds_what_is_wrong_and_mends_it") {
        return;
    }
    let wire = Wire::new();
    let (code, findings) = diagnosis(&wire, &["a1", "b1"]);
    assert_eq!(code, Some(1));
    let merging = about(&findings, "a1", "merging");
    assert_eq!(merging["grade"], "wrong", "{merging}");
    let line = merging["remedy"].as_str().unwrap();
    assert!(
        line.starts_with("ethtool -K a1 ") && line.contains("gso off"),
        "{line}"
    );
    assert!(
        findings
            .iter()
            .all(|f| f["grade"] == "ok" || f["why"] != "")
    );
    for what in [
        "link",
        "mode",
        "checksums",
        "vlan",
        "queues",
        "member",
        "mtu",
    ] {
        about(&findings, "b1", what);
    }
    for what in ["permissions", "huge pages", "isolated cores", "governor"] {
        about(&findings, "host", what);
    }
    let (code, findings) = diagnosis(&wire, &["--fix", "a1", "b1"]);
    assert_eq!(code, Some(0), "{findings:#?}");
    let done = serde_json::json!({"Ok": null});
    assert_eq!(about(&findings, "a1", "merging")["fixed"], done);
    let (code, findings) = diagnosis(&wire, &["a1", "b1"]);
    assert_eq!(code, Some(0), "{findings:#?}");
    assert_eq!(about(&findings, "a1", "merging")["grade"], "ok");
    // What only the operator can mend.
    wire.appliance.inside(|| {
        ip("link set b1 mtu 1400");
        ip("link add br0 type bridge");
        ip("link set a1 master br0");
        ip("link set b1 master br0");
    });
    let (code, findings) = diagnosis(&wire, &["--fix", "a1", "b1"]);
    assert_eq!(code, Some(1));
    assert_eq!(about(&findings, "a1 b1", "around")["grade"], "wrong");
    assert_eq!(about(&findings, "a1 b1", "mtu")["grade"], "wrong");
    assert_eq!(
        about(&findings, "a1", "member")["what"],
        "member of bridge br0"
    );
    let (code, _, errors) = sluice(&wire.appliance, &["doctor", "no-such-if0"]);
    assert_eq!(code, Some(5));
    assert!(
        errors.contains("there are") && errors.contains("a1"),
        "{errors}"
    );
}

#[test]
fn the_demonstration_shows_what_it_should_and_leaves_nothing() {
    let run = |arguments: &[&str]| {
        let start = Instant::now();
        let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
            .arg("demo")
            .args(arguments)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{told}{errors}");
        (told, start.elapsed())
    };
    let (told, _) = run(&["--memory"]);
    for word in [
        "forwarded",
        "told only",
        "stopped",
        "rule_flow",
        "tcp_flags_invalid",
    ] {
        assert!(told.contains(word), "{word}: {told}");
    }
    if !possible("the_demonstration_with_namespaces") {
        return;
    }
    let (told, elapsed) = run(&[]);
    for word in [
        "real TCP",
        "answered",
        "no answer",
        "connection reset",
        "rule_reject",
    ] {
        assert!(told.contains(word), "{word}: {told}");
    }
    println!("the demonstration took {elapsed:?}");
    // Interrupted in the middle, it leaves neither folder nor process.
    let mut child = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .arg("demo")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let folder = std::env::temp_dir().join(format!("sluice-demo-{}", child.id()));
    until("the demonstration's folder", || folder.exists());
    std::thread::sleep(Duration::from_millis(300));
    // SAFETY: the child is ours and was not waited for, so the id is still its.
    unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGINT) };
    let start = Instant::now();
    child.wait().unwrap();
    assert!(start.elapsed() < PATIENCE);
    assert!(!folder.exists(), "{} is left", folder.display());
    let name = text(&folder).to_string();
    let still = std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let line = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        line.contains(&name)
    });
    assert!(!still, "an engine is left");
}

/// Whether a program is there; a loud word if not, or a failure where a skip is one.
fn is_there(program: &str, test: &str) -> bool {
    if Command::new(program).arg("--version").output().is_ok() {
        return true;
    }
    let required = std::env::var_os("SLUICE_REQUIRE_PEERS").is_some_and(|value| value == "1");
    assert!(!required, "{test}: no {program}");
    println!("SKIPPED: {test}: no {program} here (apt install {program})");
    eprintln!("SKIPPED: {test}: no {program} here (apt install {program})");
    false
}

fn run_in(namespace: &Namespace, program: &str, arguments: &[&str]) -> String {
    let ended = Process::start(namespace, Command::new(program).args(arguments)).join();
    assert_eq!(
        ended.code,
        Some(0),
        "{program}: {}{}",
        ended.output,
        ended.errors
    );
    ended.output
}

#[test]
fn curl_gets_the_bytes_that_the_server_sent() {
    let test = "curl_gets_the_bytes_that_the_server_sent";
    if !possible(test) || !is_there("curl", test) {
        return;
    }
    const BYTES: usize = 24 << 20;
    let wire = Wire::new();
    let scratch = Scratch::new("appliance-curl");
    let process = appliance(&wire, &["--inline", "a1", "b1"]);
    let address: SocketAddr = "10.9.0.2:8080".parse().unwrap();
    let listener = wire.server.inside(|| TcpListener::bind(address).unwrap());
    let body: Vec<u8> = (0..BYTES as u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let out = scratch.0.join("out");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1000];
            assert!(stream.read(&mut request).unwrap() > 0);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&body).unwrap();
        });
        let url = format!("http://{address}/");
        let arguments = ["--silent", "--show-error", "--fail", "-o", text(&out), &url];
        run_in(&wire.client, "curl", &arguments);
    });
    assert!(std::fs::read(&out).unwrap() == body);
    let ended = process.stop();
    let summary = ended.json();
    assert_eq!(figure(&summary, "dropped"), 0, "{summary}");
}

#[test]
fn iperf3_loses_nothing_below_capacity() {
    let test = "iperf3_loses_nothing_below_capacity";
    if !possible(test) || !is_there("iperf3", test) {
        return;
    }
    let wire = Wire::new();
    let process = appliance(&wire, &["--inline", "a1", "b1"]);
    let mut figures = Vec::new();
    for extra in [&["-u", "-b", "4M", "-l", "500"][..], &[]] {
        let server = Process::start(&wire.server, Command::new("iperf3").args(["-s", "-1"]));
        until("iperf3 to listen", || {
            // A connection would use the server up: the kernel's tables tell (port 5201).
            wire.server.inside(|| {
                let table = std::fs::read_to_string("/proc/thread-self/net/tcp6").unwrap();
                let four = std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
                (table + &four).contains(":1451 ")
            })
        });
        let arguments = [&["-c", "10.9.0.2", "-t", "2", "-J"], extra].concat();
        let report = run_in(&wire.client, "iperf3", &arguments);
        let report: Value = serde_json::from_str(&report).unwrap();
        figures.push(report["end"].clone());
        drop(server);
    }
    let lost = &figures[0]["sum"];
    assert_eq!(lost["lost_packets"], 0, "{lost}");
    assert!(lost["packets"].as_u64().unwrap() > 1000, "{lost}");
    let rate = figures[1]["sum_received"]["bits_per_second"]
        .as_f64()
        .unwrap();
    println!(
        "iperf3: TCP through the inline engine {:.2} Gbit/s",
        rate / 1e9
    );
    assert!(rate > 1e6);
    let ended = process.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    let summary = ended.json();
    assert_eq!(figure(&summary, "unaccounted"), 0, "{summary}");
}

#[test]
fn pcap_replay_on_interfaces_finds_nothing_lost_doubled_or_changed() {
    if !possible("pcap_replay_on_interfaces_finds_nothing_lost_doubled_or_changed") {
        return;
    }
    let wire = Wire {
        client: Namespace::new(),
        appliance: Namespace::new(),
        server: Namespace::new(),
    };
    // Both far ends are one process's.
    for name in ["a", "b"] {
        cable(&wire.appliance, name, &wire.client);
        wire.client
            .inside(|| sysctl(&format!("net/ipv6/conf/{name}0/disable_ipv6"), "1"));
    }
    assert_ne!(wire.client.inside(|| link_address("a0")), [0; 6]);
    let scratch = Scratch::new("appliance-replay");
    let capture = scratch.0.join("made.pcap");
    let tool = pcap_replay();
    let flows = [
        "--flows",
        "200",
        "--attack",
        "0",
        "--seed",
        "3",
        "--loss",
        "0",
        "--bad-checksum",
        "0",
    ];
    let made = Command::new(&tool)
        .arg("generate")
        .arg(&capture)
        .args(flows)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let process = appliance(&wire, &["--inline", "a1", "b1"]);
    let mut replay = Command::new(&tool);
    replay.args(["replay", "--port", "a0", "--port", "b0", "--rate", "4000"]);
    replay
        .args(["--in-order", "--format", "json"])
        .arg(&capture);
    let ended = Process::start(&wire.client, &mut replay).join();
    let report: Value = serde_json::from_str(&ended.output)
        .unwrap_or_else(|error| panic!("{error}: {}{}", ended.output, ended.errors));
    let engine = process.stop().json();
    assert_eq!(ended.code, Some(0), "{report} {engine}");
    for (name, count) in [("lost", 0), ("reordered", 0), ("unexpected", 0)] {
        assert_eq!(figure(&report, name), count, "{name}: {report} {engine}");
    }
    assert_eq!(figure(&report, "sent"), figure(&report, "received"));
    assert_eq!(figure(&engine, "forwarded"), figure(&report, "sent"));
    let histogram = report["latency_histogram"].as_array().unwrap();
    let total: u64 = histogram.iter().map(|bar| bar[1].as_u64().unwrap()).sum();
    assert_eq!(total, figure(&report, "received"));
}
