//! `stats` events: the engine's counters as a line of the event log.
//!
//! Under `stats` stand those of Suricata's names that mean the same here; under `sluice` every
//! counter of ours by its own name.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::{Gauges, Shared, Snapshot};
use crate::counters::{Carried, Counter};
use crate::eve::{self, Text, Timestamp, drop_word};
use crate::reason::Reason;

/// Hands a `stats` line to the writer, if there is one. One that finds no room is left out: the
/// next one tells more.
pub fn submit(shared: &Shared) {
    if let Some(writer) = &shared.parts.writer {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_ns = now.map_or(0, |since| since.as_nanos() as u64);
        let beside = Beside {
            gauges: shared.parts.hooks.gauges(),
            uptime_seconds: shared.started.elapsed().as_secs(),
            last_reload_s: shared.last_reload_s(),
            anomaly: shared.parts.anomaly,
        };
        writer.submit(line(&shared.snapshot(), &beside, now_ns));
    }
}

/// What the line tells beside counters.
pub struct Beside {
    /// The engine's present values.
    pub gauges: Gauges,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// When rules were put in force, seconds since the epoch.
    pub last_reload_s: u64,
    /// Name of an anomaly code; empty if none.
    pub anomaly: fn(u8) -> &'static str,
}

/// The line, its end included.
pub fn line(snapshot: &Snapshot, beside: &Beside, now_ns: u64) -> Vec<u8> {
    let mut values = Values(vec![("uptime".into(), beside.uptime_seconds)]);
    packets(&mut values, snapshot, &beside.gauges);
    flows(&mut values, snapshot, &beside.gauges);
    anomalies(&mut values, snapshot, beside.anomaly);
    applications(&mut values, snapshot);
    let get = |counter| snapshot.get(counter);
    values.put("detect.alert", get(Counter::Alerts));
    values.put("detect.alert_queue_overflow", get(Counter::AlertsQueueFull));
    values.put("detect.alerts_suppressed", get(Counter::AlertsThreshold));
    values.0.sort();
    let engine = Engine::of(beside);
    let event = Event {
        timestamp: Text(Timestamp(now_ns)),
        event_type: "stats",
        stats: Nested {
            values: &values.0,
            within: 0,
            engine: Some(&engine),
        },
        sluice: Ours(snapshot),
    };
    let mut line = Vec::with_capacity(16 << 10);
    let written = eve::line(&mut line, &event);
    debug_assert!(written.is_ok(), "counters are plain numbers");
    line
}

/// Counters by their names with dots, which part objects within each other.
struct Values(Vec<(String, u64)>);

impl Values {
    fn put(&mut self, name: &str, value: u64) {
        self.0.push((name.to_string(), value));
    }
}

/// What came in and what became of it.
fn packets(values: &mut Values, snapshot: &Snapshot, gauges: &Gauges) {
    let get = |counter| snapshot.get(counter);
    let missed = gauges.ports.iter().map(|port| port.missed).sum();
    let received: u64 = gauges.ports.iter().map(|port| port.packets[0]).sum();
    // The kernel's count has what it lost in it.
    values.put("capture.kernel_packets", received + missed);
    values.put("capture.kernel_drops", missed);
    let (packets, bytes) = (get(Counter::PacketsReceived), get(Counter::BytesReceived));
    values.put("decoder.pkts", packets);
    values.put("decoder.bytes", bytes);
    values.put(
        "decoder.avg_pkt_size",
        bytes.checked_div(packets).unwrap_or(0),
    );
    for (version, name) in [(1, "ipv4"), (2, "ipv6")] {
        values.put(&format!("decoder.{name}"), snapshot.decoded_of(version));
    }
    for (carried, name) in [
        (Carried::Tcp, "tcp"),
        (Carried::Udp, "udp"),
        (Carried::Icmp, "icmpv4"),
        (Carried::Icmpv6, "icmpv6"),
        (Carried::Sctp, "sctp"),
        (Carried::Arp, "arp"),
    ] {
        values.put(&format!("decoder.{name}"), snapshot.decoded(carried));
    }
    let odd = |reason: &&Reason| drop_word(**reason) == "decode error";
    let both = |reason: &Reason| snapshot.dropped(*reason) + snapshot.would_drop(*reason);
    let invalid = Reason::ALL.iter().filter(odd).map(both).sum();
    values.put("decoder.invalid", invalid);
    let accepted = get(Counter::PacketsForwarded) + get(Counter::PacketsBypassed);
    let rejected = get(Counter::PacketsRejected);
    values.put("ips.accepted", accepted);
    values.put("ips.blocked", get(Counter::PacketsDropped) + rejected);
    values.put("ips.rejected", rejected);
    values.put("ips.replaced", 0);
    let mut words: Vec<(String, u64)> = Vec::new();
    for reason in Reason::ALL {
        let name = format!("ips.drop_reason.{}", drop_word(*reason).replace(' ', "_"));
        let count = snapshot.dropped(*reason);
        match words.iter_mut().find(|(before, _)| *before == name) {
            Some((_, sum)) => *sum += count,
            None => words.push((name, count)),
        }
    }
    values.0.append(&mut words);
}

fn flows(values: &mut Values, snapshot: &Snapshot, gauges: &Gauges) {
    let get = |counter| snapshot.get(counter);
    let memory = |part: &str| {
        let found = gauges.memory.iter().find(|(known, _)| *known == part);
        found.map_or(0, |(_, bytes)| *bytes)
    };
    let [tcp, udp, _, _] = snapshot.flows_new();
    for (name, value) in [
        ("flow.total", get(Counter::FlowsCreated)),
        ("flow.active", snapshot.flows()),
        ("flow.tcp", tcp),
        ("flow.udp", udp),
        ("flow.tcp_reuse", get(Counter::FlowsEndedClosed)),
        ("flow.memcap", get(Counter::FlowsRefused)),
        ("flow.memuse", memory("flows")),
        ("flow.elephant", get(Counter::FlowsElephant)),
        (
            "flow.elephant_toserver",
            get(Counter::FlowsElephantToServer),
        ),
        (
            "flow.elephant_toclient",
            get(Counter::FlowsElephantToClient),
        ),
        ("tcp.sessions", tcp),
        ("tcp.overlap", get(Counter::SegmentsOverlap)),
        ("tcp.reassembly_gap", get(Counter::StreamGaps)),
        ("tcp.reassembly_memuse", memory("stream")),
        (
            "tcp.ssn_memcap_drop",
            get(Counter::ExceptionsConnectionMemory),
        ),
        (
            "tcp.segment_memcap_drop",
            get(Counter::ExceptionsStreamMemory),
        ),
        ("tcp.stream_depth_reached", get(Counter::StreamDepthReached)),
    ] {
        values.put(name, value);
    }
}

/// What decode, TCP found odd, where there was any.
fn anomalies(values: &mut Values, snapshot: &Snapshot, name: fn(u8) -> &'static str) {
    for code in 0..=u8::MAX {
        let (name, count) = (name(code), snapshot.anomalies(code));
        if count == 0 || name.is_empty() {
            continue;
        }
        match name.starts_with("stream.") {
            true => values.put(name, count),
            false => values.put(&format!("decoder.event.{name}"), count),
        }
    }
}

/// Flows and transactions of the application layer.
fn applications(values: &mut Values, snapshot: &Snapshot) {
    for (app, tcp, name) in eve::counted_protocols() {
        let [flows, transactions] = snapshot.apps(app, tcp);
        values.put(&format!("app_layer.flow.{name}"), flows);
        if !name.starts_with("failed") {
            values.put(&format!("app_layer.tx.{name}"), transactions);
        }
    }
}

#[derive(Serialize)]
struct Event<'a> {
    timestamp: Text<Timestamp>,
    event_type: &'static str,
    stats: Nested<'a>,
    sluice: Ours<'a>,
}

/// The rules in force.
#[derive(Serialize)]
struct Engine {
    id: u32,
    last_reload: Text<Timestamp>,
    rules_loaded: u64,
    rules_failed: u64,
    rules_skipped: u64,
}

impl Engine {
    fn of(beside: &Beside) -> Engine {
        let count = |states: &[&str]| {
            let rules = beside.gauges.rules.iter();
            let of = rules.filter(|count| states.contains(&count.state));
            of.map(|count| count.rules).sum()
        };
        Engine {
            id: 0,
            last_reload: Text(Timestamp(beside.last_reload_s * 1_000_000_000)),
            rules_loaded: count(&["loaded"]),
            rules_failed: count(&["failed"]),
            rules_skipped: count(&["disabled", "unsupported"]),
        }
    }
}

/// Sorted counters whose names are the same in their first `within` bytes, as an object. Names are
/// the program's own, a handful of dots deep.
struct Nested<'a> {
    values: &'a [(String, u64)],
    within: usize,
    /// What stands under `detect` besides.
    engine: Option<&'a Engine>,
}

impl Serialize for Nested<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let rest = |name: &'_ str| name.get(self.within..).unwrap_or("").to_string();
        let key_of = |(name, _): &(String, u64)| {
            let rest = rest(name);
            rest.split('.').next().unwrap_or("").to_string()
        };
        for group in self.values.chunk_by(|a, b| key_of(a) == key_of(b)) {
            let Some(first) = group.first() else {
                continue;
            };
            let key = key_of(first);
            match group {
                [(name, value)] if rest(name) == key => map.serialize_entry(&key, value)?,
                _ => {
                    let inner = Nested {
                        values: group,
                        within: self.within + key.len() + 1,
                        engine: self.engine.filter(|_| key == "detect"),
                    };
                    map.serialize_entry(&key, &inner)?;
                }
            }
        }
        // Only `detect` has it: what is within that begins behind its name.
        if let Some(engine) = self.engine.filter(|_| self.within > 0) {
            map.serialize_entry("engines", &[engine])?;
        }
        map.end()
    }
}

/// Our counters by their own names; reasons that never occurred are left out.
struct Ours<'a>(&'a Snapshot);

impl Serialize for Ours<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for counter in Counter::ALL {
            let name = counter.name().trim_start_matches("sluice_");
            let name = name.trim_end_matches("_total");
            let value = self.0.get(*counter);
            match counter.label() {
                Some((_, label)) => map.serialize_entry(&format!("{name}.{label}"), &value)?,
                None => map.serialize_entry(name, &value)?,
            }
        }
        for (kind, notional) in [("dropped", false), ("would_drop", true)] {
            for (reason, count) in self.0.reasons(notional) {
                map.serialize_entry(&format!("{kind}.{}", reason.name()), &count)?;
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::Counters;

    #[test]
    fn a_stats_line_has_suricata_s_names_and_ours() {
        let counters = Counters::default();
        counters.add(Counter::PacketsReceived, 10);
        counters.add(Counter::PacketsForwarded, 7);
        counters.add(Counter::PacketsDropped, 2);
        counters.add(Counter::PacketsRejected, 1);
        counters.drop_for(Reason::TcpPawsOld);
        counters.drop_for(Reason::TcpNoAck);
        counters.drop_for(Reason::RuleReject);
        counters.decoded(1, Carried::Tcp);
        counters.decoded(2, Carried::Tcp);
        counters.flow_moved(None, Some(0));
        let http = eve::counted_protocols().find(|(_, _, name)| name == "http");
        let (http, tcp, _) = http.unwrap();
        counters.app_flow(http, tcp);
        counters.app_transactions(http, tcp, 3);
        counters.anomaly(1);
        counters.anomaly(2);
        let port = super::super::PortSample {
            packets: [10, 0],
            missed: 2,
            ..Default::default()
        };
        let beside = Beside {
            gauges: Gauges {
                ports: vec![port],
                memory: vec![("flows", 77)],
                rules: vec![super::super::RuleCount {
                    state: "loaded",
                    action: "alert",
                    rules: 9,
                }],
                ..Gauges::default()
            },
            uptime_seconds: 5,
            last_reload_s: 0,
            anomaly: |code| {
                ["", "ipv4.trunc_pkt", "stream.est_syn_resend"][usize::from(code.min(2))]
            },
        };
        let text = line(&Snapshot::take([&counters].into_iter()), &beside, 0);
        assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 1);
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(value["event_type"], "stats");
        let stats = &value["stats"];
        assert_eq!(
            (&stats["uptime"], &stats["decoder"]["pkts"]),
            (&5.into(), &10.into())
        );
        assert_eq!(stats["ips"]["accepted"], 7);
        assert_eq!(stats["ips"]["blocked"], 3);
        assert_eq!(stats["ips"]["drop_reason"]["stream_error"], 2);
        assert_eq!(stats["ips"]["drop_reason"]["rules"], 1);
        assert_eq!(stats["capture"]["kernel_packets"], 12);
        assert_eq!(stats["capture"]["kernel_drops"], 2);
        let decoder = &stats["decoder"];
        assert_eq!((&decoder["ipv4"], &decoder["tcp"]), (&1.into(), &2.into()));
        assert_eq!(decoder["event"]["ipv4"]["trunc_pkt"], 1);
        assert_eq!(stats["stream"]["est_syn_resend"], 1);
        assert_eq!(
            (&stats["flow"]["tcp"], &stats["flow"]["memuse"]),
            (&1.into(), &77.into())
        );
        assert_eq!(stats["app_layer"]["flow"]["http"], 1);
        assert_eq!(stats["app_layer"]["tx"]["http"], 3);
        assert_eq!(stats["app_layer"]["flow"]["dns_udp"], 0);
        assert_eq!(stats["detect"]["engines"][0]["rules_loaded"], 9);
        assert_eq!(value["sluice"]["packets.drop"], 2);
        assert_eq!(value["sluice"]["dropped.tcp_paws_old"], 1);
    }
}
