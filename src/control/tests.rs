//! Tests of control as its users see it: a real scraper, a hostile one, an operator's socket.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::*;
use crate::counters::Counter;
use crate::eve;
use crate::event::EventKind;
use crate::reason::Reason;

/// An engine that says what it is told to say.
#[derive(Default)]
struct Engine {
    state: Mutex<State>,
    shut_down: AtomicBool,
    fail_reload: AtomicBool,
    /// A reload lasts until this is false.
    hold_reload: AtomicBool,
}

impl Hooks for Engine {
    fn gauges(&self) -> Gauges {
        Gauges {
            state: *self.state.lock().unwrap(),
            flow_capacity: 1 << 20,
            memory: vec![("flows", 128 << 20)],
            rules: vec![RuleCount {
                state: "loaded",
                action: "drop",
                rules: 12,
            }],
            ruleset_hash: "ab\"c\\d\n".to_string(),
            ruleset_generation: 3,
            sample_ratio: 0.01,
            ports: vec![PortSample {
                name: "eth0.5".to_string(),
                packets: [9, 8],
                link_up: true,
                ..PortSample::default()
            }],
            ..Gauges::default()
        }
    }

    fn reload(&self, _: bool) -> Result<String, String> {
        while self.hold_reload.load(Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        if self.fail_reload.load(Relaxed) {
            Err("line 3: no such keyword".to_string())
        } else {
            Ok("12 rules".to_string())
        }
    }

    fn shutdown(&self) {
        self.shut_down.store(true, Relaxed);
    }
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("sluice-ctl-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Rig {
    engine: Arc<Engine>,
    workers: Vec<Arc<Counters>>,
    control: Control,
}

fn anomaly(code: u8) -> &'static str {
    if code == 7 {
        "decoder.ipv4.trunc_pkt"
    } else {
        ""
    }
}

fn start(options: Options, writer: Option<WriterHandle>) -> Rig {
    let engine = Arc::new(Engine::default());
    let workers = vec![Arc::new(Counters::default()), Arc::new(Counters::default())];
    let labelled = workers
        .iter()
        .enumerate()
        .map(|(at, counters)| WorkerCounters {
            counters: Arc::clone(counters),
            name: format!("lane0-w{at}"),
            lane: 0,
            core: (at == 0).then_some(3),
        });
    let parts = Parts {
        workers: labelled.collect(),
        hooks: Arc::clone(&engine) as Arc<dyn Hooks>,
        writer,
        anomaly,
        build: BuildInfo::default(),
    };
    let control = Control::start(parts, options).unwrap();
    Rig {
        engine,
        workers,
        control,
    }
}

fn on_loopback() -> Options {
    Options {
        metrics: Some("127.0.0.1:0".parse().unwrap()),
        ..Options::default()
    }
}

/// Status line and body of a request sent as it is.
fn ask(address: SocketAddr, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.lines().next().unwrap().to_string();
    (status, body.to_string())
}

fn get(address: SocketAddr, path: &str) -> (String, String) {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
}

fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find(|line| {
        line.strip_prefix(series)
            .is_some_and(|rest| rest.starts_with(' '))
    })?;
    line.rsplit(' ').next()?.parse().ok()
}

fn fill(rig: &Rig) {
    for (counters, by) in rig.workers.iter().zip([5, 6]) {
        counters.add(Counter::PacketsReceived, by + 1);
        counters.add(Counter::PacketsForwarded, by);
        counters.inc(Counter::PacketsDropped);
        counters.drop_for(Reason::TcpPawsOld);
        counters.anomaly(7);
        counters.anomaly(9);
        counters.durations[5].observe(600, 2);
        counters.durations[5].observe(u64::MAX / 8, 1);
    }
}

#[test]
fn metrics_are_sums_with_all_labels_from_the_start() {
    let rig = start(on_loopback(), None);
    let address = rig.control.metrics_address().unwrap();
    let (status, text) = get(address, "/metrics");
    assert_eq!(status, "HTTP/1.1 200 OK");
    for reason in Reason::ALL {
        let series = format!(
            "sluice_dropped_packets_total{{reason=\"{}\"}}",
            reason.name()
        );
        assert_eq!(value(&text, &series), Some(0.0), "{series}");
    }
    for counter in Counter::ALL {
        assert!(text.contains(&format!("# TYPE {} counter\n", counter.name())));
    }
    assert!(!text.contains("sluice_anomalies_total"));
    fill(&rig);
    let (_, text) = get(address, "/metrics");
    for (series, expected) in [
        ("sluice_packets_total{verdict=\"pass\"}", 11.0),
        ("sluice_packets_total{verdict=\"reject\"}", 0.0),
        ("sluice_dropped_packets_total{reason=\"tcp_paws_old\"}", 2.0),
        (
            "sluice_anomalies_total{anomaly=\"decoder.ipv4.trunc_pkt\"}",
            2.0,
        ),
        ("sluice_anomalies_total{anomaly=\"9\"}", 2.0),
        ("sluice_packet_latency_seconds_count", 6.0),
        (
            "sluice_packet_latency_seconds_bucket{le=\"0.0000005\"}",
            0.0,
        ),
        ("sluice_packet_latency_seconds_bucket{le=\"0.000001\"}", 4.0),
        ("sluice_packet_latency_seconds_bucket{le=\"0.016384\"}", 4.0),
        ("sluice_packet_latency_seconds_bucket{le=\"+Inf\"}", 6.0),
        ("sluice_rules{state=\"loaded\",action=\"drop\"}", 12.0),
        ("sluice_rules{state=\"failed\",action=\"pass\"}", 0.0),
        ("sluice_state{state=\"starting\"}", 1.0),
        ("sluice_memory_bytes{part=\"flows\"}", 134_217_728.0),
        ("sluice_memory_bytes{part=\"stream\"}", 0.0),
        ("sluice_port_packets_total{port=\"eth0.5\",dir=\"tx\"}", 8.0),
        (
            "sluice_worker_bursts_total{worker=\"lane0-w0\",lane=\"0\",core=\"3\"}",
            0.0,
        ),
        ("sluice_ruleset_info{hash=\"ab\\\"c\\\\d\\n\"}", 1.0),
        ("sluice_metrics_scrapes_total", 2.0),
    ] {
        assert_eq!(value(&text, series), Some(expected), "{series}\n{text}");
    }
    rig.control.stop();
}

#[test]
fn no_series_stands_twice_and_every_family_has_help() {
    let rig = start(on_loopback(), None);
    fill(&rig);
    let (_, text) = get(rig.control.metrics_address().unwrap(), "/metrics");
    let mut seen = std::collections::BTreeSet::new();
    let (mut families, mut helps) = (0, 0);
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            assert!(
                help.split_once(' ')
                    .is_some_and(|(_, words)| words.len() > 10),
                "{line}"
            );
            helps += 1;
        } else if line.starts_with("# TYPE ") {
            assert!(seen.insert(line.to_string()), "twice: {line}");
            families += 1;
        } else {
            let series = line.rsplit_once(' ').unwrap().0.to_string();
            assert!(seen.insert(series), "twice: {line}");
        }
    }
    assert_eq!(families, helps);
    rig.control.stop();
}

#[test]
fn pages_and_refusals() {
    let rig = start(on_loopback(), None);
    let address = rig.control.metrics_address().unwrap();
    let status = |request: &str| ask(address, request).0;
    assert_eq!(
        get(address, "/-/healthy"),
        ("HTTP/1.1 200 OK".into(), "healthy\n".into())
    );
    assert_eq!(
        get(address, "/-/ready").0,
        "HTTP/1.1 503 Service Unavailable"
    );
    *rig.engine.state.lock().unwrap() = State::Forwarding;
    assert_eq!(get(address, "/-/ready").0, "HTTP/1.1 200 OK");
    assert_eq!(get(address, "/nothing").0, "HTTP/1.1 404 Not Found");
    assert_eq!(
        status("POST /metrics HTTP/1.1\r\n\r\n"),
        "HTTP/1.1 405 Method Not Allowed"
    );
    assert_eq!(status("GET /metrics\r\n\r\n"), "HTTP/1.1 400 Bad Request");
    assert_eq!(status("\u{1}\u{2}\r\n\r\n"), "HTTP/1.1 400 Bad Request");
    let (head, body) = ask(address, "HEAD /metrics HTTP/1.1\r\n\r\n");
    assert_eq!((head.as_str(), body.as_str()), ("HTTP/1.1 200 OK", ""));
    let long = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(8192 - 19));
    assert!(status(&long).contains("431"));
    assert!(
        status("GET / HTTP/1.1\r\n").contains("408"),
        "headers that never end"
    );
    rig.control.stop();
}

#[test]
fn only_loopback_is_served_unless_allowed() {
    let address = "0.0.0.0:0".parse().unwrap();
    let shared = Arc::new(Shared::new(Parts {
        workers: Vec::new(),
        hooks: Arc::new(Engine::default()),
        writer: None,
        anomaly,
        build: BuildInfo::default(),
    }));
    let error = http::start(address, false, Arc::clone(&shared))
        .err()
        .unwrap();
    assert!(error.to_string().contains("[hint]"));
    http::start(address, true, shared).unwrap().stop();
}

#[test]
fn idle_and_slow_clients_do_not_keep_a_scraper_out() {
    let rig = start(on_loopback(), None);
    let address = rig.control.metrics_address().unwrap();
    let idle: Vec<TcpStream> = (0..100)
        .filter_map(|_| TcpStream::connect(address).ok())
        .collect();
    let begin = Instant::now();
    let served = loop {
        // While the four places are taken, the answer is 503 (or a reset, if it comes too late).
        let answer = std::panic::catch_unwind(|| get(address, "/metrics").0);
        if answer.is_ok_and(|status| status.contains("200")) {
            break begin.elapsed();
        }
        assert!(begin.elapsed() < Duration::from_secs(15), "kept out");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(
        served < Duration::from_secs(5),
        "served only after {served:?}"
    );
    drop(idle);
    // A reader of nothing at all ends with its write deadline, not when it likes.
    let mut slow = TcpStream::connect(address).unwrap();
    slow.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    let begin = Instant::now();
    rig.control.stop();
    assert!(begin.elapsed() < Duration::from_secs(6));
}

/// Finds a tool of Debian's `prometheus` package, or says loudly that the test is left out.
fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        let must = std::env::var("SLUICE_REQUIRE_PROMETHEUS").is_ok_and(|value| value == "1");
        assert!(!must, "{name} is required and not installed");
        println!("SKIPPED: {name} is not installed (Debian: apt-get install prometheus)");
        eprintln!("SKIPPED: {name} is not installed (Debian: apt-get install prometheus)");
    }
    found
}

#[test]
fn promtool_has_nothing_to_say() {
    let Some(promtool) = tool("promtool") else {
        return;
    };
    let writer = eve::Writer::start(
        Vec::new(),
        Arc::new(eve::NoSignatures),
        eve::Options::new(eve::Target::Path("/dev/null".into())),
    )
    .unwrap();
    let rig = start(on_loopback(), Some(writer.handle()));
    fill(&rig);
    let (_, text) = get(rig.control.metrics_address().unwrap(), "/metrics");
    let mut lint = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    lint.stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = lint.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
    rig.control.stop();
    writer.stop();
}

/// A child that dies with the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A result of Prometheus' query API, once `good` likes it.
fn query(address: SocketAddr, query: &str, good: impl Fn(&Value) -> bool) -> Value {
    let begin = Instant::now();
    let mut last = String::new();
    while begin.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(200));
        let Ok(mut stream) = TcpStream::connect(address) else {
            continue;
        };
        let request = format!("GET /api/v1/query?query={query} HTTP/1.0\r\n\r\n");
        last.clear();
        if stream.write_all(request.as_bytes()).is_ok() && stream.read_to_string(&mut last).is_ok()
        {
            let body = last.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            if let Ok(value) = serde_json::from_str::<Value>(body)
                && good(&value["data"]["result"])
            {
                return value["data"]["result"].clone();
            }
        }
    }
    panic!("{query}: Prometheus never answered as hoped; last answer: {last}");
}

#[test]
fn a_real_prometheus_scrapes_it() {
    let Some(prometheus) = tool("prometheus") else {
        return;
    };
    let scratch = Scratch::new("prometheus");
    let rig = start(on_loopback(), None);
    fill(&rig);
    let target = rig.control.metrics_address().unwrap();
    let config = scratch.0.join("prometheus.yml");
    let text = format!(
        "global:\n  scrape_interval: 1s\nscrape_configs:\n  - job_name: sluice\n    \
         static_configs:\n      - targets: ['{target}']\n"
    );
    std::fs::write(&config, text).unwrap();
    // A port that was free a moment ago.
    let web = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = web.local_addr().unwrap();
    drop(web);
    let child = Command::new(prometheus)
        .arg(format!("--config.file={}", config.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            scratch.0.join("data").display()
        ))
        .arg(format!("--web.listen-address={address}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _child = Killed(child);
    let up = query(address, "up", |result| result[0]["value"][1] == "1");
    assert_eq!(up[0]["metric"]["job"], "sluice");
    let passed = query(
        address,
        "sluice_packets_total%7Bverdict=%22pass%22%7D",
        |result| result[0]["value"][1] == "11",
    );
    assert_eq!(passed[0]["metric"]["verdict"], "pass");
    rig.workers[0].add(Counter::PacketsForwarded, 100);
    query(address, "sum(sluice_packets_total)", |result| {
        result[0]["value"][1] == "113"
    });
    rig.control.stop();
}

// ---------------------------------------------------------------------------------------------
// Control socket
// ---------------------------------------------------------------------------------------------

fn command(path: &std::path::Path, text: &[u8]) -> Value {
    let mut stream = UnixStream::connect(path).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    // The other side may have had enough before it has read all.
    let _ = stream.write_all(text);
    let mut answer = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).is_ok_and(|count| count == 1) && byte[0] != b'\n' {
        answer.push(byte[0]);
    }
    serde_json::from_slice(&answer).unwrap()
}

#[test]
fn the_socket_obeys_its_owner() {
    let scratch = Scratch::new("socket");
    let path = scratch.0.join("sluice.sock");
    let options = Options {
        socket: Some(path.clone()),
        ..Options::default()
    };
    let rig = start(options.clone(), None);
    fill(&rig);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let left: Vec<_> = std::fs::read_dir(&scratch.0).unwrap().collect();
    assert_eq!(left.len(), 1, "the nest of the socket is gone");
    let ok = |text: &str| {
        let answer = command(&path, text.as_bytes());
        assert_eq!(answer["ok"], true, "{answer}");
        answer
    };
    assert!(
        ok("version\n")["message"]
            .as_str()
            .unwrap()
            .starts_with("sluice ")
    );
    let stats = &ok("stats\n")["stats"];
    assert_eq!(
        (&stats["packets"], &stats["dropped"]),
        (&13.into(), &2.into())
    );
    assert_eq!(stats["dropped_by_reason"]["tcp_paws_old"], 2);
    let counters = &ok("counters\r\n")["counters"];
    assert_eq!(counters["sluice_packets_total{verdict=pass}"], 11);
    assert_eq!(ok("reload\n")["message"], "12 rules");
    rig.engine.fail_reload.store(true, Relaxed);
    let failed = command(&path, b"reload\n");
    assert_eq!(
        (&failed["ok"], failed["error"].as_str()),
        (&false.into(), Some("line 3: no such keyword"))
    );
    let reloads = rig.control.shared.reloads();
    assert_eq!((reloads.succeeded, reloads.failed), (1, 1));
    assert_eq!(command(&path, b"\xff\x00 nonsense\n")["ok"], false);
    assert_eq!(ok("iface-stat eth0.5\n")["message"]["pkts"], 9);
    assert_eq!(ok("iface-list\n")["message"]["ifaces"][0], "eth0.5");
    assert_eq!(ok("ruleset-stats\n")["message"]["rules_loaded"], 12);
    assert_eq!(ok("running-mode\n")["message"], "starting");
    let wrong = command(&path, b"iface-stat eth9\n");
    assert_eq!(wrong["error"], "no port `eth9`; there are eth0.5");
    let no_log = command(&path, b"reopen-log-files\n");
    assert!(no_log["error"].as_str().unwrap().contains("-l DIR"));
    assert!(!rig.engine.shut_down.load(Relaxed));
    ok("shutdown\n");
    let begin = Instant::now();
    while !rig.engine.shut_down.load(Relaxed) {
        assert!(begin.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(2));
    }
    rig.control.stop();
    assert!(!path.exists());
}

/// A rig that is asked by a socket in a folder of its own.
fn start_with_socket(name: &str, options: Options) -> (Scratch, PathBuf, Rig) {
    let scratch = Scratch::new(name);
    let path = scratch.0.join("s");
    let options = Options {
        socket: Some(path.clone()),
        ..options
    };
    let rig = start(options, None);
    (scratch, path, rig)
}

/// As `suricatasc -c "iface-stat eth0.5"` does it, and as its older versions begin.
#[test]
fn suricatasc_is_understood() {
    let (_scratch, path, rig) = start_with_socket("suricatasc", Options::default());
    let mut stream = UnixStream::connect(&path).unwrap();
    let wait = Some(Duration::from_secs(20));
    stream.set_read_timeout(wait).unwrap();
    let mut say = |text: &str| -> Value {
        stream.write_all(text.as_bytes()).unwrap();
        let (mut answer, mut byte) = (Vec::new(), [0]);
        while stream.read(&mut byte).is_ok_and(|count| count == 1) && byte[0] != b'\n' {
            answer.push(byte[0]);
        }
        serde_json::from_slice(&answer).unwrap()
    };
    assert_eq!(say(r#"{"version": "0.1"}"#)["return"], "OK");
    let list = say("{\"command\": \"command-list\"}\n");
    let commands = list["message"]["commands"].as_array().unwrap();
    assert!(commands.contains(&"reload-rules".into()), "{list}");
    let asked = r#"{"command": "iface-stat", "arguments": {"iface": "eth0.5"}}"#;
    let stat = say(&format!("{asked}\n"));
    assert_eq!(
        (&stat["return"], &stat["message"]["sent"]),
        (&"OK".into(), &8.into())
    );
    assert_eq!(
        say("{\"command\": \"reload-rules\"}\n")["message"],
        "12 rules"
    );
    assert_eq!(say("{\"command\": \"add-hostbit\"}\n")["return"], "NOK");
    assert_eq!(say("{\"command\": \"dump-counters\"}\n")["return"], "OK");
    drop(stream);
    rig.control.stop();
}

#[test]
fn metrics_and_counters_are_told_while_rules_are_loaded() {
    let (_scratch, path, rig) = start_with_socket("meanwhile", on_loopback());
    rig.engine.hold_reload.store(true, Relaxed);
    rig.control.reload_beside();
    std::thread::sleep(Duration::from_millis(50));
    let (_, text) = get(rig.control.metrics_address().unwrap(), "/metrics");
    assert!(text.contains("sluice_"), "{text}");
    assert_eq!(command(&path, b"ruleset-stats\n")["ok"], true);
    assert_eq!(rig.control.shared.reloads().succeeded, 0, "it still lasts");
    rig.engine.hold_reload.store(false, Relaxed);
    assert_eq!(command(&path, b"reload\n")["ok"], true);
    rig.control.stop();
}

#[test]
fn several_commands_on_one_connection_and_one_that_is_too_long() {
    let (_scratch, path, rig) = start_with_socket("lines", Options::default());
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"help\nversion\nhe").unwrap();
    stream.write_all(b"lp\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text.lines().count(), 3);
    let answer = command(&path, &vec![b'x'; socket::COMMAND_MAX + 1]);
    assert_eq!(answer["error"], "the command is too long");
    rig.control.stop();
}

#[test]
fn a_socket_in_use_is_kept_and_a_dead_one_replaced() {
    let scratch = Scratch::new("stale");
    let path = scratch.0.join("s");
    let options = Options {
        socket: Some(path.clone()),
        ..Options::default()
    };
    // A listener that is dropped leaves its name behind, as a killed engine does.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let rig = start(options.clone(), None);
    let parts = Parts {
        workers: Vec::new(),
        hooks: Arc::new(Engine::default()),
        writer: None,
        anomaly,
        build: BuildInfo::default(),
    };
    let error = Control::start(parts, options).err().unwrap();
    assert!(error.to_string().contains("[hint]"), "{error}");
    assert_eq!(
        command(&path, b"help\n")["ok"],
        true,
        "the first engine still answers"
    );
    rig.control.stop();
    std::fs::write(&path, "precious").unwrap();
    assert!(
        socket::start(
            &path,
            Arc::new(Shared::new(Parts {
                workers: Vec::new(),
                hooks: Arc::new(Engine::default()),
                writer: None,
                anomaly,
                build: BuildInfo::default(),
            }))
        )
        .is_err()
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn stats_events_come_at_their_interval_and_at_the_end() {
    let scratch = Scratch::new("stats");
    let path = scratch.0.join("eve.json");
    let writer = eve::Writer::start(
        Vec::new(),
        Arc::new(eve::NoSignatures),
        eve::Options::new(eve::Target::Path(path.clone())),
    )
    .unwrap();
    let options = Options {
        stats: true,
        stats_interval: 1,
        ..Options::default()
    };
    let rig = start(options, Some(writer.handle()));
    fill(&rig);
    std::thread::sleep(Duration::from_millis(1300));
    rig.control.stop();
    let handle = writer.stop();
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(lines.len() >= 2, "{text}");
    assert!(lines.iter().all(|line| line["event_type"] == "stats"));
    assert_eq!(lines.last().unwrap()["stats"]["decoder"]["pkts"], 13);
    assert_eq!(handle.counters().submitted(), lines.len() as u64);
    assert_eq!(handle.counters().taken(EventKind::Alert), 0);
}

#[test]
fn a_store_of_files_counts_what_came_to_it() {
    let scratch = Scratch::new("store");
    let mut eve = eve::Options::new(eve::Target::Path(scratch.0.join("eve.json")));
    eve.store = Some(eve::StoreOptions {
        dir: scratch.0.join("files"),
        open_max: 1,
        count_max: 1,
        bytes_max: 1,
    });
    let writer = eve::Writer::start(Vec::new(), Arc::new(eve::NoSignatures), eve).unwrap();
    let rig = start(on_loopback(), Some(writer.handle()));
    let counters = writer.handle();
    let store = counters.counters().store.as_ref().unwrap();
    store.refused.store(3, std::sync::atomic::Ordering::Relaxed);
    let (_, text) = get(rig.control.metrics_address().unwrap(), "/metrics");
    for (result, count) in [("stored", 0.0), ("refused", 3.0), ("failed", 0.0)] {
        let series = format!("sluice_file_store_files_total{{result=\"{result}\"}}");
        assert_eq!(value(&text, &series), Some(count), "{series}");
    }
    assert_eq!(value(&text, "sluice_file_store_bytes_total"), Some(0.0));
    rig.control.stop();
    writer.stop();
}
