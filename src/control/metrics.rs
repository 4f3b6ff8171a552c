//! The metrics, as METRICS.md lists them: families with HELP, closed label values, zeros from the
//! start. Encoded by the `prometheus` crate from numbers read here; workers know nothing of it.

use std::sync::atomic::Ordering::Relaxed;

use prometheus::proto::{Bucket, Counter as Value, Gauge, Histogram, LabelPair, Metric};
use prometheus::proto::{MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};

use super::process::Process;
use super::snapshot::{Durations, Snapshot};
use super::{Gauges, PortSample, Shared, State, scrapes};
use crate::counters::{BUCKETS, Counter, Timed};
use crate::eve::{self, Lost};
use crate::reason::Reason;

/// Upper bound of the first bucket, seconds; each next one is twice that (METRICS.md).
const BUCKET_FIRST_SECONDS: f64 = 500e-9;
/// Parts of memory that are exported.
const MEMORY_PARTS: [&str; 5] = ["flows", "stream", "rules", "packets", "logs"];
/// States of rules.
const RULE_STATES: [&str; 4] = ["loaded", "disabled", "unsupported", "failed"];
/// Actions of rules.
const RULE_ACTIONS: [&str; 4] = ["alert", "drop", "reject", "pass"];

type Labels<'a> = &'a [(&'a str, &'a str)];

/// Families being made, in order.
#[derive(Default)]
struct Families {
    list: Vec<MetricFamily>,
}

impl Families {
    /// The family `name`, made on first use.
    fn family(&mut self, name: &str, kind: MetricType, help: &str) -> &mut MetricFamily {
        let at = match self.list.iter().position(|family| family.name() == name) {
            Some(at) => at,
            None => {
                let mut family = MetricFamily::default();
                family.set_name(name.to_string());
                family.set_help(help.to_string());
                family.set_field_type(kind);
                self.list.push(family);
                self.list.len() - 1
            }
        };
        &mut self.list[at]
    }

    fn counter(&mut self, name: &str, help: &str, labels: Labels, value: f64) {
        let mut metric = Metric::from_label(pairs(labels));
        let mut counter = Value::default();
        counter.set_value(value);
        metric.set_counter(counter);
        let family = self.family(name, MetricType::COUNTER, help);
        family.mut_metric().push(metric);
    }

    fn gauge(&mut self, name: &str, help: &str, labels: Labels, value: f64) {
        let mut metric = Metric::from_label(pairs(labels));
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
        let family = self.family(name, MetricType::GAUGE, help);
        family.mut_metric().push(metric);
    }

    fn histogram(&mut self, name: &str, help: &str, labels: Labels, durations: &Durations) {
        let mut histogram = Histogram::default();
        let (mut sum, mut bound) = (0, BUCKET_FIRST_SECONDS);
        let mut buckets = Vec::with_capacity(BUCKETS);
        for count in durations.buckets.iter().take(BUCKETS - 1) {
            sum += count;
            let mut bucket = Bucket::default();
            bucket.set_cumulative_count(sum);
            bucket.set_upper_bound(bound);
            buckets.push(bucket);
            bound *= 2.0;
        }
        histogram.set_bucket(buckets);
        histogram.set_sample_count(durations.count());
        histogram.set_sample_sum(durations.sum_ns as f64 / 1e9);
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_histogram(histogram);
        let family = self.family(name, MetricType::HISTOGRAM, help);
        family.mut_metric().push(metric);
    }
}

fn pairs(labels: Labels) -> Vec<LabelPair> {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_string());
        pair.set_value(value.to_string());
        pair
    };
    labels.iter().map(pair).collect()
}

/// All families of an engine, in the text format 0.0.4.
pub fn encode(shared: &Shared) -> Vec<u8> {
    let snapshot = shared.snapshot();
    let gauges = shared.parts.hooks.gauges();
    let mut families = Families::default();
    build(&mut families, shared);
    packets(&mut families, &snapshot);
    plain_counters(&mut families, &snapshot);
    anomalies(&mut families, &snapshot, shared.parts.anomaly);
    durations(&mut families, &snapshot, &gauges);
    flows(&mut families, &snapshot, &gauges);
    workers(&mut families, shared);
    busy(&mut families, shared);
    rules(&mut families, &gauges, shared);
    rule_matches(&mut families, shared, gauges.rules_top);
    memory(&mut families, &gauges);
    for port in &gauges.ports {
        port_families(&mut families, port);
    }
    log(&mut families, shared);
    process(&mut families);
    let mut text = Vec::with_capacity(64 << 10);
    let encoded = TextEncoder::new().encode(&families.list, &mut text);
    debug_assert!(encoded.is_ok(), "a family without metrics: {encoded:?}");
    text
}

fn build(families: &mut Families, shared: &Shared) {
    let info = &shared.parts.build;
    families.gauge(
        "sluice_build_info",
        "Always 1; the labels say which build this is.",
        &[
            ("version", info.version),
            ("commit", info.commit),
            ("rustc", info.rustc),
            ("features", info.features),
        ],
        1.0,
    );
    families.gauge(
        "sluice_start_timestamp_seconds",
        "When the engine started, seconds since the epoch.",
        &[],
        shared.started_s,
    );
    families.counter(
        "sluice_metrics_scrapes_total",
        "Times the metrics were read.",
        &[],
        scrapes(shared) as f64,
    );
    let state = shared.parts.hooks.gauges().state;
    for each in State::ALL {
        families.gauge(
            "sluice_state",
            "1 for what the engine does now, 0 for the others.",
            &[("state", each.name())],
            f64::from(u8::from(each == state)),
        );
    }
}

fn packets(families: &mut Families, snapshot: &Snapshot) {
    for reason in Reason::ALL {
        families.counter(
            "sluice_dropped_packets_total",
            "Frames dropped or rejected, by reason.",
            &[("reason", reason.name())],
            snapshot.dropped(*reason) as f64,
        );
    }
    for reason in Reason::ALL {
        families.counter(
            "sluice_would_drop_packets_total",
            "Frames forwarded that an engine inline, or a rule in force, would have dropped.",
            &[("reason", reason.name())],
            snapshot.would_drop(*reason) as f64,
        );
    }
}

/// The workers' counters, by the names that counters.rs gives them.
fn plain_counters(families: &mut Families, snapshot: &Snapshot) {
    for counter in Counter::ALL {
        let label = counter.label();
        families.counter(
            counter.name(),
            counter.help().trim(),
            label.as_slice(),
            snapshot.get(*counter) as f64,
        );
    }
}

/// Anomalies that occurred, and those alone: the list of all is long and most never come.
fn anomalies(families: &mut Families, snapshot: &Snapshot, name: fn(u8) -> &'static str) {
    for code in 0..=u8::MAX {
        let count = snapshot.anomalies(code);
        if count == 0 {
            continue;
        }
        let number = code.to_string();
        let name = match name(code) {
            "" => number.as_str(),
            name => name,
        };
        families.counter(
            "sluice_anomalies_total",
            "Malformed or suspicious things seen, by kind; kinds that never occurred are left out.",
            &[("anomaly", name)],
            count as f64,
        );
    }
}

fn durations(families: &mut Families, snapshot: &Snapshot, gauges: &Gauges) {
    families.histogram(
        "sluice_packet_latency_seconds",
        "Time of a frame from receive to transmit, sampled.",
        &[],
        snapshot.durations(Timed::Packet),
    );
    for step in [Timed::Decode, Timed::Flow, Timed::Match, Timed::Verdict] {
        families.histogram(
            "sluice_stage_duration_seconds",
            "Time per packet in a stage, sampled.",
            &[("stage", step.name())],
            snapshot.durations(step),
        );
    }
    families.histogram(
        "sluice_step_duration_seconds",
        "Time per packet in a step outside the stages, sampled.",
        &[("step", "rx")],
        snapshot.durations(Timed::Receive),
    );
    families.gauge(
        "sluice_stage_sample_ratio",
        "Share of packets whose durations are measured.",
        &[],
        gauges.sample_ratio,
    );
}

fn flows(families: &mut Families, snapshot: &Snapshot, gauges: &Gauges) {
    for (family, proto) in ["tcp", "udp", "icmp", "other"].iter().enumerate() {
        for (stage, state) in ["new", "established", "closed"].iter().enumerate() {
            families.gauge(
                "sluice_flows",
                "Flows in the table, by state and protocol.",
                &[("state", state), ("proto", proto)],
                snapshot.flows_of(3 * family + stage) as f64,
            );
        }
    }
    families.gauge(
        "sluice_flow_table_capacity",
        "Flows that the table can hold.",
        &[],
        gauges.flow_capacity as f64,
    );
}

fn workers(families: &mut Families, shared: &Shared) {
    for (name, help, counter) in [
        (
            "sluice_worker_bursts_total",
            "Bursts that a worker handled.",
            Counter::Bursts,
        ),
        (
            "sluice_worker_ring_full_total",
            "Times a worker found the ring to the next one full.",
            Counter::RingFull,
        ),
    ] {
        for worker in &shared.parts.workers {
            let lane = worker.lane.to_string();
            let core = worker.core.map_or(String::new(), |core| core.to_string());
            let labels = [
                ("worker", worker.name.as_str()),
                ("lane", lane.as_str()),
                ("core", core.as_str()),
            ];
            families.counter(name, help, &labels, worker.counters.get(counter) as f64);
        }
    }
}

/// How busy workers are, and which rules match most.
fn busy(families: &mut Families, shared: &Shared) {
    let ratios = shared.load();
    for (worker, ratio) in shared.parts.workers.iter().zip(ratios) {
        let lane = worker.lane.to_string();
        let core = worker.core.map_or(String::new(), |core| core.to_string());
        families.gauge(
            "sluice_core_busy_ratio",
            "Share of the last second in which a worker moved packets, sampled.",
            &[("worker", &worker.name), ("lane", &lane), ("core", &core)],
            ratio,
        );
    }
}

fn rule_matches(families: &mut Families, shared: &Shared, top: usize) {
    let Some(writer) = &shared.parts.writer else {
        return;
    };
    for (gid, sid, count) in writer.counters().rules.most(top) {
        families.counter(
            "sluice_rule_matches_total",
            "Alerts of a rule that reached the writer; the rules with the most, as many as \
             --metrics-rules-top says.",
            &[("gid", &gid.to_string()), ("sid", &sid.to_string())],
            count as f64,
        );
    }
}

fn rules(families: &mut Families, gauges: &Gauges, shared: &Shared) {
    for state in RULE_STATES {
        for action in RULE_ACTIONS {
            let of_both =
                |count: &&super::RuleCount| count.state == state && count.action == action;
            let rules: u64 = gauges.rules.iter().filter(of_both).map(|c| c.rules).sum();
            families.gauge(
                "sluice_rules",
                "Rules of the set in force, by what became of them and what they ask for.",
                &[("state", state), ("action", action)],
                rules as f64,
            );
        }
    }
    families.gauge(
        "sluice_ruleset_info",
        "Always 1; the label is the hash of the rules in force.",
        &[("hash", &gauges.ruleset_hash)],
        1.0,
    );
    families.gauge(
        "sluice_ruleset_generation",
        "Number of the rule set in force; each reload that succeeds adds one.",
        &[],
        f64::from(gauges.ruleset_generation),
    );
    let reloads = shared.reloads();
    for (result, count) in [("success", reloads.succeeded), ("failure", reloads.failed)] {
        families.counter(
            "sluice_reloads_total",
            "Reloads of the rules, by result.",
            &[("result", result)],
            count as f64,
        );
    }
    families.gauge(
        "sluice_reload_duration_seconds",
        "Time that the last reload took.",
        &[],
        reloads.last_duration_ns as f64 / 1e9,
    );
    families.gauge(
        "sluice_reload_last_success_timestamp_seconds",
        "When the last successful reload ended, seconds since the epoch; 0 if there was none.",
        &[],
        reloads.last_success_s as f64,
    );
}

fn memory(families: &mut Families, gauges: &Gauges) {
    for (name, help, values) in [
        (
            "sluice_memory_bytes",
            "Memory in use, by part of the engine.",
            &gauges.memory,
        ),
        (
            "sluice_memory_limit_bytes",
            "Memory that was planned at start, by part of the engine.",
            &gauges.memory_limit,
        ),
    ] {
        for part in MEMORY_PARTS {
            let of_part = |(name, _): &&(&str, u64)| *name == part;
            let bytes: u64 = values.iter().filter(of_part).map(|(_, bytes)| *bytes).sum();
            families.gauge(name, help, &[("part", part)], bytes as f64);
        }
    }
}

fn port_families(families: &mut Families, port: &PortSample) {
    let name = port.name.as_str();
    for (dir, at) in [("rx", 0), ("tx", 1)] {
        let labels = [("port", name), ("dir", dir)];
        for (family, help, values) in [
            (
                "sluice_port_packets_total",
                "Frames that a port received or transmitted.",
                port.packets,
            ),
            (
                "sluice_port_bytes_total",
                "Bytes that a port received or transmitted.",
                port.bytes,
            ),
            (
                "sluice_port_ring_full_total",
                "Times a ring of the port was full.",
                port.ring_full,
            ),
            (
                "sluice_port_sync_calls_total",
                "Synchronisations of a ring with the kernel.",
                port.sync_calls,
            ),
        ] {
            families.counter(family, help, &labels, values[at] as f64);
        }
    }
    for (queue, used) in port.slots_used.iter().enumerate() {
        for (dir, slots) in ["rx", "tx"].into_iter().zip(used) {
            families.gauge(
                "sluice_port_ring_slots_used",
                "Slots of a ring that hold frames: in work when receiving, not sent yet when \
                 transmitting.",
                &[("port", name), ("queue", &queue.to_string()), ("dir", dir)],
                *slots as f64,
            );
        }
    }
    families.counter(
        "sluice_port_missed_packets_total",
        "Frames that the interface lost before they reached a ring.",
        &[("port", name)],
        port.missed as f64,
    );
    families.gauge(
        "sluice_port_link_up",
        "1 while the port has a link.",
        &[("port", name)],
        f64::from(u8::from(port.link_up)),
    );
    families.gauge(
        "sluice_port_netmap_native",
        "1 if netmap runs in the port's driver, 0 if it is emulated or not used.",
        &[("port", name)],
        f64::from(u8::from(port.netmap_native)),
    );
}

fn alerts(families: &mut Families, counters: &eve::WriterCounters) {
    for (classtype, counts) in counters.alerts.read() {
        for (action, count) in [("allowed", counts[0]), ("blocked", counts[1])] {
            families.counter(
                "sluice_alerts_total",
                "Alerts that reached the writer, by what became of the packet and by class type.",
                &[("action", action), ("classtype", &classtype)],
                count as f64,
            );
        }
    }
}

fn log(families: &mut Families, shared: &Shared) {
    let Some(writer) = &shared.parts.writer else {
        return;
    };
    let counters = writer.counters();
    for kind in eve::EVENT_KINDS {
        families.counter(
            "sluice_events_total",
            "Events that reached the writer, by type.",
            &[("type", eve::event_type(kind))],
            counters.taken(kind) as f64,
        );
    }
    alerts(families, counters);
    families.gauge(
        "sluice_log_queue_depth",
        "Events and lines that wait to be written.",
        &[("sink", "eve")],
        writer.waiting() as f64,
    );
    families.counter(
        "sluice_log_events_left_out_total",
        "Events that the log has no line for.",
        &[("sink", "eve")],
        counters.left_out() as f64,
    );
    families.counter(
        "sluice_log_lines_total",
        "Lines written.",
        &[("sink", "eve")],
        counters.sink.lines() as f64,
    );
    families.counter(
        "sluice_log_bytes_total",
        "Bytes written.",
        &[("sink", "eve")],
        counters.sink.bytes() as f64,
    );
    families.counter(
        "sluice_log_write_failures_total",
        "Writes that failed or came to less than asked.",
        &[("sink", "eve")],
        counters.sink.failed_writes() as f64,
    );
    for cause in Lost::ALL {
        families.counter(
            "sluice_log_lines_lost_total",
            "Lines that were not written, by cause.",
            &[("sink", "eve"), ("cause", cause.name())],
            counters.sink.lost(cause) as f64,
        );
    }
    families.counter(
        "sluice_alerts_unknown_signature_total",
        "Alerts whose rule set was gone when they were written.",
        &[],
        counters.unknown_signatures() as f64,
    );
    if let Some(store) = &counters.store {
        file_store(families, store);
    }
}

/// The store of files, where there is one.
fn file_store(families: &mut Families, store: &eve::StoreCounters) {
    let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Relaxed) as f64;
    for (result, counter) in [
        ("stored", &store.stored),
        ("refused", &store.refused),
        ("failed", &store.failed),
    ] {
        families.counter(
            "sluice_file_store_files_total",
            "Files that came to the store: stored, refused by a limit, or failed for a lost piece or \
             the disk.",
            &[("result", result)],
            read(counter),
        );
    }
    families.counter(
        "sluice_file_store_bytes_total",
        "Bytes of files written to the store.",
        &[],
        read(&store.bytes),
    );
}

fn process(families: &mut Families) {
    let process = Process::read();
    if let Some(seconds) = process.cpu_seconds {
        families.counter(
            "process_cpu_seconds_total",
            "Total user and system CPU time spent in seconds.",
            &[],
            seconds,
        );
    }
    let whole = |value: Option<u64>| value.map(|value| value as f64);
    for (name, help, value) in [
        (
            "process_resident_memory_bytes",
            "Resident memory size in bytes.",
            whole(process.resident_bytes),
        ),
        (
            "process_virtual_memory_bytes",
            "Virtual memory size in bytes.",
            whole(process.virtual_bytes),
        ),
        (
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            process.start_seconds,
        ),
        (
            "process_threads",
            "Number of OS threads in the process.",
            whole(process.threads),
        ),
        (
            "process_open_fds",
            "Number of open file descriptors.",
            whole(process.open_fds),
        ),
        (
            "process_max_fds",
            "Maximum number of open file descriptors.",
            whole(process.max_fds),
        ),
    ] {
        if let Some(value) = value {
            families.gauge(name, help, &[], value);
        }
    }
}
