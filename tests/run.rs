//! `sluice run` as an appliance: two hosts in namespaces of their own, veth cables, real TCP, a
//! real Prometheus; and `mem:` ports between processes. What is asked here is what an operator
//! sees: bytes that arrive, lines that are printed, exit codes.

mod wire;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::FromRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use wire::frame::Packet;
use wire::{
    Ended, Offload, PATIENCE, Process, RawSocket, Scratch, Wire, appliance, ip, link_address,
    offload, pcap_replay, possible, until,
};

const SERVER: [&str; 2] = ["10.9.0.2", "fd00:9::2"];
/// Bytes of a transfer that has to come through whole.
const TRANSFER_BYTES: usize = 4 << 20;

fn address(host: &str, port: u16) -> SocketAddr {
    SocketAddr::new(host.parse().unwrap(), port)
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend(state.to_le_bytes());
    }
    out.truncate(bytes);
    out
}

fn patient(stream: &TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
}

/// One connection: what the client writes and then closes, and what the server answers to all of
/// it. Gives what the server and what the client read, and how that ended.
fn talk(
    wire: &Wire,
    to: SocketAddr,
    say: &[u8],
    answer: &[u8],
) -> [(Vec<u8>, Option<ErrorKind>); 2] {
    let listener = wire.server.inside(|| TcpListener::bind(to).unwrap());
    let read = |stream: &mut TcpStream| {
        let mut heard = Vec::new();
        let end = stream
            .read_to_end(&mut heard)
            .err()
            .map(|error| error.kind());
        (heard, end)
    };
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            let (mut stream, _) = listener.accept().unwrap();
            patient(&stream);
            let heard = read(&mut stream);
            let _ = stream.write_all(answer);
            heard
        });
        let client = scope.spawn(|| {
            let mut stream = wire.client.inside(|| TcpStream::connect(to).unwrap());
            patient(&stream);
            let _ = stream.write_all(say);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            read(&mut stream)
        });
        [server.join().unwrap(), client.join().unwrap()]
    })
}

/// A transfer in both directions must arrive byte for byte.
fn transfer(wire: &Wire, to: SocketAddr, bytes: usize) {
    let (say, answer) = (noise(bytes), noise(bytes / 2));
    let [server, client] = talk(wire, to, &say, &answer);
    assert_eq!((server.1, client.1), (None, None), "{to}");
    assert!(
        server.0 == say,
        "{to}: the server got {} bytes",
        server.0.len()
    );
    assert!(
        client.0 == answer,
        "{to}: the client got {} bytes",
        client.0.len()
    );
}

/// ICMP echo by the kernel's ping socket.
fn ping(wire: &Wire, host: &str) {
    let v6 = host.contains(':');
    let (family, protocol, kind) = match v6 {
        true => (libc::AF_INET6, libc::IPPROTO_ICMPV6, 128),
        false => (libc::AF_INET, libc::IPPROTO_ICMP, 8),
    };
    wire.client.inside(|| {
        // SAFETY: no memory is passed; the descriptor is new and nobody else's.
        let socket = unsafe {
            let fd = libc::socket(family, libc::SOCK_DGRAM, protocol);
            assert!(fd >= 0, "{}", std::io::Error::last_os_error());
            UdpSocket::from_raw_fd(fd)
        };
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.connect(address(host, 0)).unwrap();
        for sequence in 0..5 {
            let mut echo = vec![kind, 0, 0, 0, 0, 0, 0, sequence];
            echo.extend(noise(1000));
            socket.send(&echo).unwrap();
            let mut answer = [0; 1500];
            let got = socket.recv(&mut answer).unwrap();
            assert_eq!((got, answer[7]), (echo.len(), sequence), "{host}");
            assert_eq!(answer[8..got], echo[8..]);
        }
    });
}

/// A counter of the summary; drops by reason as `reasons.NAME`.
fn figure(summary: &Value, path: &str) -> u64 {
    let found = path.split('.').fold(summary, |value, key| &value[key]);
    found
        .as_u64()
        .unwrap_or_else(|| panic!("no {path} in {summary}"))
}

/// The run ended well, and every frame is in exactly one count.
fn accounted(ended: &Ended) -> Value {
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    let summary = ended.json();
    let sum = |names: &[&str]| names.iter().map(|name| figure(&summary, name)).sum::<u64>();
    let decided = sum(&["forwarded", "bypassed", "dropped", "rejected"]);
    assert_eq!(
        (figure(&summary, "packets"), figure(&summary, "unaccounted")),
        (decided, 0)
    );
    summary
}

/// Events of an EVE file.
fn events(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn of_kind<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events
        .iter()
        .filter(|event| event["event_type"] == kind)
        .collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn two_hosts_talk_through_it_whole_and_both_ways() {
    if !possible("two_hosts_talk_through_it_whole_and_both_ways") {
        return;
    }
    let wire = Wire::new();
    let scratch = Scratch::new("run-talk");
    let rules = scratch.file(
        "r.rules",
        "alert icmp any any -> any any (msg:\"echo\"; itype:8; sid:1;)\n\
         alert udp any any -> any 99 (msg:\"tagged\"; content:\"tagged\"; sid:2;)\n",
    );
    let process = appliance(
        &wire,
        &[
            "--inline",
            "a1",
            "b1",
            "-S",
            text(&rules),
            "-l",
            text(&scratch.0),
        ],
    );
    for host in SERVER {
        ping(&wire, host);
        transfer(&wire, address(host, 5000), TRANSFER_BYTES);
    }
    vlan(&wire);
    let summary = accounted(&process.stop());
    assert_eq!(figure(&summary, "dropped"), 0, "{summary}");
    assert!(figure(&summary, "forwarded") > 10_000, "{summary}");
    let events = events(&scratch.0.join("eve.json"));
    let alerts = of_kind(&events, "alert");
    let of_sid = |sid: u64| {
        alerts
            .iter()
            .filter(move |event| event["alert"]["signature_id"] == sid)
    };
    assert_eq!(of_sid(1).count(), 5, "one for each echo over IPv4");
    assert_eq!(
        of_sid(2).filter(|event| event["vlan"][0] == 7).count(),
        268,
        "the tag is seen"
    );
    assert_eq!(
        of_sid(2).filter(|event| event["vlan"][1] == 7).count(),
        132,
        "the inner tag"
    );
    let flows = of_kind(&events, "flow");
    let in_vlan = |id: u64| flows.iter().filter(move |event| event["vlan"][0] == id);
    assert!(
        in_vlan(7).count() > 0 && in_vlan(9).count() > 0,
        "{flows:?}"
    );
    let untagged = flows.iter().filter(|event| event["proto"] == "TCP");
    assert!(untagged.clone().count() > 0);
    assert!(untagged.clone().all(|event| event["vlan"].is_null()));
    assert!(untagged.clone().all(|event| event["in_iface"] == "a1"));
}

/// Frames with tags, which the kernel takes off on their way in: they come out as they went in.
fn vlan(wire: &Wire) {
    let [mut near, mut far] = wire
        .ends()
        .map(|(ns, name)| ns.inside(|| RawSocket::open(name, false)));
    let [client, server] = wire
        .ends()
        .map(|(ns, name)| ns.inside(|| link_address(name)));
    let mut sent = Vec::new();
    for number in 0..200u16 {
        let hosts = ["10.10.7.1", "10.10.7.2"].map(|host| host.parse().unwrap());
        let packet = Packet::new([server, client], hosts[0], hosts[1]);
        // UDP without a checksum.
        let payload = [&noise(usize::from(number) + 1)[..], b"tagged"].concat();
        let length = (payload.len() as u16 + 8).to_be_bytes();
        let header = [&number.to_be_bytes()[..], &[0, 99], &length, &[0, 0]].concat();
        let mut frame = packet.frame(17, &[header, payload].concat());
        let tags: &[u8] = match number % 3 {
            0 => &[0x81, 0, 0, 7],
            1 => &[0x81, 0, 0x60, 7],
            _ => &[0x88, 0xa8, 0, 9, 0x81, 0, 0, 7],
        };
        frame.splice(12..12, tags.iter().copied());
        for socket in [&near, &far] {
            socket.send(&frame);
        }
        sent.push(frame);
    }
    for (socket, way) in [(&mut far, "out"), (&mut near, "in")] {
        let mut got = Vec::new();
        until(&format!("200 tagged frames on their way {way}"), || {
            while let Some(frame) = socket.receive() {
                if frame[12] != 8 && frame[12] != 0x86 {
                    got.push(frame.to_vec());
                }
            }
            got.len() >= sent.len()
        });
        assert!(got == sent, "{way}");
    }
}

#[test]
fn drops_and_rejects_reach_those_they_should() {
    if !possible("drops_and_rejects_reach_those_they_should") {
        return;
    }
    let wire = Wire::new();
    let scratch = Scratch::new("run-rules");
    let rules = scratch.file(
        "r.rules",
        "drop tcp any any -> any 5001 (msg:\"d\"; content:\"forbidden\"; sid:1;)\n\
         rejectboth tcp any any -> any 5002 (msg:\"r\"; content:\"refused\"; sid:2;)\n\
         reject udp any any -> any 5003 (msg:\"u\"; content:\"refused\"; sid:3;)\n",
    );
    let process = appliance(
        &wire,
        &[
            "--inline",
            "a1",
            "b1",
            "-S",
            text(&rules),
            "-l",
            text(&scratch.0),
        ],
    );
    for host in SERVER {
        transfer(&wire, address(host, 5001), 10_000);
        dropped(&wire, address(host, 5001));
        rejected(&wire, address(host, 5002));
        unreachable(&wire, address(host, 5003));
    }
    let ended = process.stop();
    let summary = accounted(&ended);
    assert!(figure(&summary, "dropped_by_reason.rule") >= 2, "{summary}");
    assert_eq!(figure(&summary, "rejected"), 4, "{summary}");
    assert_eq!(
        figure(&summary, "reject_answers"),
        6,
        "two for TCP, one for UDP: {summary}"
    );
    let events = events(&scratch.0.join("eve.json"));
    for (sid, count) in [(1, 2), (2, 2), (3, 2)] {
        let of_sid = |event: &&&Value| event["alert"]["signature_id"] == sid;
        assert_eq!(
            of_kind(&events, "alert").iter().filter(of_sid).count(),
            count,
            "sid {sid}"
        );
    }
    assert!(of_kind(&events, "drop").len() >= 6);
}

/// The drop rule's words never arrive, nor anything else of that connection.
fn dropped(wire: &Wire, to: SocketAddr) {
    let listener = wire.server.inside(|| TcpListener::bind(to).unwrap());
    let mut client = wire.client.inside(|| TcpStream::connect(to).unwrap());
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(b"this is for").unwrap();
    let mut heard = [0; 64];
    patient(&server);
    assert_eq!(server.read(&mut heard).unwrap(), 11);
    client.write_all(b"bidden and gone").unwrap();
    client.set_nodelay(true).unwrap();
    client.write_all(b" for good").unwrap();
    server
        .set_read_timeout(Some(Duration::from_millis(700)))
        .unwrap();
    let end = server.read(&mut heard).map_err(|error| error.kind());
    assert!(
        matches!(end, Err(ErrorKind::WouldBlock)),
        "{to}: {end:?} {:?}",
        String::from_utf8_lossy(&heard)
    );
}

/// Both ends learn at once that the connection is over.
fn rejected(wire: &Wire, to: SocketAddr) {
    let ends = talk(wire, to, b"please be refused", b"never");
    for (heard, end) in ends {
        assert_eq!(
            (heard.as_slice(), end),
            (&b""[..], Some(ErrorKind::ConnectionReset)),
            "{to}"
        );
    }
}

/// The sender of a rejected datagram learns of it by ICMP.
fn unreachable(wire: &Wire, to: SocketAddr) {
    let listener = wire.server.inside(|| UdpSocket::bind(to).unwrap());
    let any = if to.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
    let client = wire.client.inside(|| UdpSocket::bind(any).unwrap());
    wire.client.inside(|| client.connect(to).unwrap());
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.send(b"please be refused").unwrap();
    let mut heard = [0; 64];
    // "Administratively prohibited", as each family has it.
    let told = client
        .recv(&mut heard)
        .map_err(|error| error.raw_os_error().unwrap());
    assert!(
        matches!(told, Err(libc::EHOSTUNREACH | libc::EACCES)),
        "{to}: {told:?}"
    );
    listener.set_nonblocking(true).unwrap();
    assert!(listener.recv(&mut heard).is_err());
}

#[test]
fn a_scraper_a_rotation_and_an_end() {
    if !possible("a_scraper_a_rotation_and_an_end") {
        return;
    }
    let wire = Wire::new();
    let scratch = Scratch::new("run-scrape");
    let rules = scratch.file(
        "r.rules",
        "alert tcp any any -> any 5000 (content:\"word\"; sid:1;)\n",
    );
    let metrics = "127.0.0.1:9417";
    let process = appliance(
        &wire,
        &[
            "--inline",
            "a1",
            "b1",
            "-S",
            text(&rules),
            "-l",
            text(&scratch.0),
            "--metrics",
            metrics,
            "--stats-interval",
            "1",
        ],
    );
    let prometheus = prometheus(&wire, &scratch, metrics);
    let eve = scratch.0.join("eve.json");
    let say = || {
        let ends = talk(&wire, address(SERVER[0], 5000), b"one word here", b"answer");
        assert_eq!(ends[1].0, b"answer");
    };
    say();
    let alerts = |path: &Path| of_kind(&events(path), "alert").len();
    until("the first alert", || eve.exists() && alerts(&eve) == 1);
    let rotated = scratch.0.join("eve.json.1");
    std::fs::rename(&eve, &rotated).unwrap();
    process.signal(libc::SIGHUP);
    until("a new log", || eve.exists());
    say();
    until("the second alert", || alerts(&eve) == 1);
    assert_eq!(alerts(&rotated), 1, "nothing is written twice");
    let page = wire.appliance.inside(|| scrape(metrics));
    let packets = series(&page, "sluice_packets_total{verdict=\"pass\"}");
    assert!(packets > 10, "{packets}");
    let matches = "sluice_rule_matches_total{gid=\"1\",sid=\"1\"}";
    assert_eq!(series(&page, matches), 2);
    assert_eq!(series(&page, "sluice_log_queue_depth{sink=\"eve\"}"), 0);
    let used = "sluice_port_ring_slots_used{port=\"a1\",queue=\"0\",dir=\"rx\"}";
    assert!(series(&page, used) < 4096);
    let busy = page
        .lines()
        .find(|line| line.starts_with("sluice_core_busy_ratio{"));
    let ratio: f64 = busy.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!((0.0..=1.0).contains(&ratio), "{ratio}");
    lint(&page, &scratch);
    if let Some((_child, web)) = &prometheus {
        let query = "sluice_packets_total%7Bverdict=%22pass%22%7D";
        until("prometheus to have the newest figures", || {
            let answer = wire
                .appliance
                .inside(|| get(web, &format!("/api/v1/query?query={query}")));
            let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
            let value = answer["data"]["result"][0]["value"][1].as_str();
            value
                .and_then(|text| text.parse::<u64>().ok())
                .is_some_and(|count| count >= packets)
        });
    }
    drop(prometheus);
    let summary = accounted(&process.stop());
    assert_eq!(
        (figure(&summary, "alerts"), figure(&summary, "events_lost")),
        (2, 0)
    );
    let all: Vec<Value> = [events(&rotated), events(&eve)].concat();
    assert_eq!(
        of_kind(&all, "flow").len() as u64,
        figure(&summary, "flows")
    );
    assert!(!of_kind(&all, "stats").is_empty());
}

/// A page of an HTTP server on this namespace's loopback.
fn get(server: &str, path: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(server) else {
        return String::new();
    };
    patient(&stream);
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
    assert!(!head.contains("chunked"), "{head}");
    body.to_string()
}

fn scrape(server: &str) -> String {
    get(server, "/metrics")
}

fn series(page: &str, name: &str) -> u64 {
    let line = page.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    value.unwrap_or_else(|| panic!("no {name} in\n{page}")) as u64
}

/// A tool of Debian's `prometheus` package; a loud word, or a failure where a skip is one, if not.
fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file());
    if found.is_none() {
        assert!(
            std::env::var_os("SLUICE_REQUIRE_PROMETHEUS").is_none(),
            "{name} is not installed (Debian: apt-get install prometheus)"
        );
        println!("SKIPPED: {name} is not installed (Debian: apt-get install prometheus)");
        eprintln!("SKIPPED: {name} is not installed (Debian: apt-get install prometheus)");
    }
    found
}

/// A Prometheus in the appliance's namespace, and where it answers.
fn prometheus(wire: &Wire, scratch: &Scratch, target: &str) -> Option<(Process, &'static str)> {
    const WEB: &str = "127.0.0.1:9090";
    let program = tool("prometheus")?;
    let config = scratch.file(
        "prometheus.yml",
        &format!(
            "global:\n  scrape_interval: 1s\nscrape_configs:\n  - job_name: sluice\n    \
             static_configs:\n      - targets: ['{target}']\n"
        ),
    );
    let mut command = Command::new(program);
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            scratch.0.join("data").display()
        ))
        .arg(format!("--web.listen-address={WEB}"));
    Some((Process::start(&wire.appliance, &mut command), WEB))
}

fn lint(page: &str, scratch: &Scratch) {
    let Some(promtool) = tool("promtool") else {
        return;
    };
    let page = scratch.file("page", page);
    let output = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(std::fs::File::open(page).unwrap())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.is_empty(), "{told}");
}

#[test]
fn a_tap_sees_and_sends_nothing() {
    if !possible("a_tap_sees_and_sends_nothing") {
        return;
    }
    // A bridge joins the two hosts; the tap listens on one of its ports.
    let wire = Wire::new();
    wire.appliance.inside(|| {
        ip("link add br0 type bridge");
        ip("link set a1 master br0");
        ip("link set b1 master br0");
        ip("link set br0 up");
    });
    let scratch = Scratch::new("run-tap");
    let rules = scratch.file(
        "r.rules",
        "drop tcp any any -> any 5000 (content:\"word\"; sid:1;)\n",
    );
    let process = appliance(
        &wire,
        &["--tap", "a1", "-S", text(&rules), "-l", text(&scratch.0)],
    );
    let said = process.errors();
    assert!(
        said.contains("port a1: AF_PACKET (TPACKET_V3) on veth"),
        "{said}"
    );
    let ends = talk(&wire, address(SERVER[0], 5000), b"one word here", b"answer");
    assert_eq!(
        (ends[0].0.as_slice(), ends[1].0.as_slice()),
        (&b"one word here"[..], &b"answer"[..])
    );
    transfer(&wire, address(SERVER[1], 5000), TRANSFER_BYTES / 4);
    let ended = process.stop();
    let summary = accounted(&ended);
    assert_eq!(
        (figure(&summary, "dropped"), figure(&summary, "alerts")),
        (0, 1),
        "{summary}"
    );
    assert!(
        figure(&summary, "would_drop_by_reason.rule") >= 1,
        "{summary}"
    );
}

#[test]
fn several_lanes_share_the_flows_of_an_interface() {
    if !possible("several_lanes_share_the_flows_of_an_interface") {
        return;
    }
    let wire = Wire::new();
    let scratch = Scratch::new("run-lanes");
    let rules = scratch.file(
        "r.rules",
        "alert tcp any any -> any any (content:\"needle\"; sid:1;)\n",
    );
    let metrics = "127.0.0.1:9417";
    let process = appliance(
        &wire,
        &[
            "--inline",
            "a1",
            "b1",
            "--lanes",
            "2",
            "-S",
            text(&rules),
            "-l",
            text(&scratch.0),
            "--metrics",
            metrics,
        ],
    );
    std::thread::scope(|scope| {
        for port in 5000..5008 {
            let wire = &wire;
            scope.spawn(move || {
                for host in SERVER {
                    let mut say = noise(100_000);
                    say.extend(b"needle");
                    let [server, _] = talk(wire, address(host, port), &say, b"");
                    assert!(server.0 == say, "{host}:{port}: {:?}", server.1);
                }
            });
        }
    });
    let page = wire.appliance.inside(|| scrape(metrics));
    for lane in 0..2 {
        let lines = page.lines().filter(|line| {
            line.starts_with("sluice_worker_bursts_total")
                && line.contains(&format!("lane=\"{lane}\""))
        });
        let bursts: f64 = lines
            .filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok())
            .sum();
        assert!(bursts > 0.0, "lane {lane} has nothing to do");
    }
    let summary = accounted(&process.stop());
    assert_eq!(
        (figure(&summary, "dropped"), figure(&summary, "alerts")),
        (0, 16),
        "{summary}"
    );
}

#[test]
fn frames_that_a_stack_left_to_its_nic_to_cut_are_dropped_with_a_reason() {
    if !possible("frames_that_a_stack_left_to_its_nic_to_cut_are_dropped_with_a_reason") {
        return;
    }
    let wire = Wire::new();
    wire.client.inside(|| {
        offload("a0", Offload::Tso, true);
        offload("a0", Offload::Gso, true);
    });
    let mut process = appliance(&wire, &["--inline", "a1", "b1"]);
    // TCP comes through all the same: it falls back to segments that fit.
    let [server, _] = talk(&wire, address(SERVER[0], 5000), &noise(200_000), b"");
    assert_eq!((server.0.len(), server.1), (200_000, None));
    process.wait_for("ethtool -K");
    let ended = process.stop();
    let summary = accounted(&ended);
    assert!(
        figure(&summary, "dropped_by_reason.port_frame_too_long") > 0,
        "{summary}"
    );
    assert_eq!(
        ended.errors.matches("ethtool -K").count(),
        1,
        "{}",
        ended.errors
    );
}

/// A connection that the engine never saw begin: half a word in it, half a word after.
#[test]
fn connections_older_than_the_engine_are_dropped_or_picked_up_as_told() {
    if !possible("connections_older_than_the_engine_are_dropped_or_picked_up_as_told") {
        return;
    }
    let wire = Wire::new();
    let scratch = Scratch::new("run-older");
    let rules = scratch.file(
        "r.rules",
        "drop tcp any any -> any any (msg:\"d\"; content:\"forbidden\"; sid:1;)\n",
    );
    for (port, setting, passes) in [
        (5000, "stream.midstream=no", false),
        (5001, "stream.midstream=yes", true),
    ] {
        wire.appliance.inside(|| {
            ip("link add br0 type bridge");
            ip("link set a1 master br0");
            ip("link set b1 master br0");
            ip("link set br0 up");
        });
        let to = address(SERVER[0], port);
        let listener = wire.server.inside(|| TcpListener::bind(to).unwrap());
        let mut client = wire.client.inside(|| TcpStream::connect(to).unwrap());
        let (mut server, _) = listener.accept().unwrap();
        client.set_nodelay(true).unwrap();
        wire.appliance.inside(|| ip("link del br0"));
        let process = appliance(
            &wire,
            &["--inline", "a1", "b1", "-S", text(&rules), "--set", setting],
        );
        let mut heard = [0; 64];
        client.write_all(b"hello ").unwrap();
        server
            .set_read_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        let first = server.read(&mut heard);
        assert_eq!(first.is_ok(), passes, "{setting}: {first:?}");
        client.write_all(b"forbid").unwrap();
        std::thread::sleep(Duration::from_millis(50));
        client.write_all(b"den").unwrap();
        let mut all = String::new();
        while let Ok(count) = server.read(&mut heard) {
            all.push_str(std::str::from_utf8(&heard[..count]).unwrap());
        }
        assert_eq!(all, if passes { "forbid" } else { "" }, "{setting}");
        let summary = accounted(&process.stop());
        let reason = if passes { "rule" } else { "tcp_midstream" };
        assert!(
            figure(&summary, &format!("dropped_by_reason.{reason}")) > 0,
            "{summary}"
        );
    }
}

fn run(command: &mut Command) -> (Option<i32>, String) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout);
    (output.status.code(), format!("{text}{errors}"))
}

/// Engine and far end as processes of their own, joined by memory: verdicts are those of a replay
/// of the same capture.
#[test]
fn memory_ports_join_two_processes_and_give_the_verdicts_of_a_replay() {
    joined("run-memory", "mem:", ["{0", "{1"], "adaptive");
}

/// The same through the netmap port, whose kernel is emulated in the far end's process: every frame
/// is accounted for.
#[test]
fn emulated_netmap_ports_join_two_processes_and_account_for_every_frame() {
    joined("run-netmap", "netmap-emu:", [":x{1", ":y{1"], "busy");
}

fn joined(name: &str, kind: &str, ends: [&str; 2], idle: &str) {
    let scratch = Scratch::new(name);
    let tool = pcap_replay();
    let capture = scratch.0.join("made.pcap");
    let flows = [
        "--flows", "120", "--attack", "0.2", "--seed", "5", "--loss", "0",
    ];
    let made = run(Command::new(&tool)
        .arg("generate")
        .arg(&capture)
        .args(flows));
    assert_eq!(made.0, Some(0), "{}", made.1);
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/starter.rules");
    let [live, replayed] = ["live", "replayed"].map(|name| scratch.0.join(name));
    let wire = format!("{kind}{}", scratch.0.join("wire").display());
    let mut far_end = Command::new(&tool)
        .args([
            "replay",
            "--in-order",
            "--port",
            &wire,
            "--allow-lost",
            "--allow-unexpected",
            "--format",
            "json",
        ])
        .arg(&capture)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let engine = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args([
            "run",
            "--idle",
            idle,
            "--inline",
            &format!("{wire}{}", ends[0]),
            &format!("{wire}{}", ends[1]),
            "--format",
            "json",
        ])
        .args(["--seconds", "300", "-S"])
        .arg(&rules)
        .arg("-l")
        .arg(&live)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    assert!(far_end.wait().unwrap().success());
    if kind != "mem:" {
        // A memory's end is the engine's; a netmap port that is gone is waited for.
        let pid = engine.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
    }
    let ended = engine.wait_with_output().unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    let engine = (ended.status.code(), String::from_utf8(said).unwrap());
    let mut report = String::new();
    far_end
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut report)
        .unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    let line = engine
        .1
        .lines()
        .find(|line| line.starts_with('{'))
        .unwrap_or(&engine.1);
    let summary: Value = serde_json::from_str(line).unwrap();
    assert_eq!(
        (engine.0, figure(&summary, "unaccounted")),
        (Some(0), 0),
        "{}",
        engine.1
    );
    assert_eq!(figure(&summary, "packets"), figure(&report, "sent"));
    assert_eq!(figure(&summary, "forwarded"), figure(&report, "received"));
    assert_eq!(figure(&report, "reordered"), 0);
    assert!(
        figure(&summary, "dropped") > 10 && figure(&summary, "alerts") > 10,
        "{summary}"
    );
    if kind != "mem:" {
        // A sync of the emulated machine was seen to take a third of a second, longer than the far end
        // waits before it answers; an answer that overtakes what it answers has another verdict. So
        // here accounts are asked alone.
        return;
    }
    let again = run(Command::new(env!("CARGO_BIN_EXE_sluice"))
        // As `run --inline` has it by default.
        .args(["replay", "--inline", "--set", "exception-policy=drop-flow"])
        .args(["--set", "stream.reassembly.urgent.policy=drop"])
        .arg(&capture)
        .arg("-S")
        .arg(&rules)
        .arg("-l")
        .arg(&replayed));
    assert_eq!(again.0, Some(0), "{}", again.1);
    let eves = [&live, &replayed].map(|folder| folder.join("eve.json"));
    let diff = run(Command::new(&tool)
        .args(["diff", "--by", "flow"])
        .args(&eves));
    assert_eq!(diff.0, Some(0), "{}", diff.1);
}
