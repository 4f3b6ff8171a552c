//! The summary of a replay: what came in, what became of it, how fast.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::counters::Counter;
use crate::replay::Outcome;

/// The figures, as `--format json` prints them.
#[derive(Serialize)]
pub struct Summary {
    /// Frames received.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames forwarded, bypassed ones included.
    pub forwarded: u64,
    /// Frames dropped.
    pub dropped: u64,
    /// Frames rejected.
    pub rejected: u64,
    /// Flows created.
    pub flows: u64,
    /// Alerts.
    pub alerts: u64,
    /// Events lost on the way to the writer.
    pub events_lost: u64,
    /// Inline: dropped frames by reason.
    pub drops: BTreeMap<&'static str, u64>,
    /// Tap: frames that would have been dropped, by reason.
    pub would_drop: BTreeMap<&'static str, u64>,
    /// Wall time.
    pub seconds: f64,
    /// Frames per second of wall time.
    pub packets_per_second: f64,
    /// Cycles of all workers per frame, by CPU time and the processor's nominal rate.
    pub cycles_per_packet: f64,
    /// Frames that came to no end; 0.
    pub unaccounted: i64,
}

/// Nominal cycles per second of the first processor, as the kernel tells it.
pub fn cycles_per_second() -> f64 {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("cpu MHz"));
    let mhz = line.and_then(|line| line.split(':').nth(1)?.trim().parse::<f64>().ok());
    mhz.unwrap_or(0.0) * 1e6
}

impl Summary {
    /// The figures of a replay.
    pub fn new(outcome: &Outcome) -> Summary {
        let total = |counter| outcome.total(counter);
        let packets = total(Counter::PacketsReceived);
        let seconds = outcome.elapsed.as_secs_f64();
        let cycles = outcome.cpu.as_secs_f64() * cycles_per_second();
        Summary {
            packets,
            bytes: total(Counter::BytesReceived),
            forwarded: total(Counter::PacketsForwarded) + total(Counter::PacketsBypassed),
            dropped: total(Counter::PacketsDropped),
            rejected: total(Counter::PacketsRejected),
            flows: total(Counter::FlowsCreated),
            alerts: total(Counter::Alerts),
            events_lost: total(Counter::EventsLost),
            drops: outcome.dropped(false),
            would_drop: outcome.dropped(true),
            seconds,
            packets_per_second: packets as f64 / seconds.max(1e-9),
            cycles_per_packet: cycles / (packets as f64).max(1.0),
            unaccounted: outcome.unaccounted(),
        }
    }
}

/// Prints the summary to standard output.
pub fn print(outcome: &Outcome, inline: bool, format: &str) {
    let summary = Summary::new(outcome);
    if format == "json" {
        match serde_json::to_string_pretty(&summary) {
            Ok(text) => println!("{text}"),
            Err(error) => eprintln!("FAIL: summary: {error}"),
        }
        return;
    }
    let row = |name: &str, value: u64| println!("{name:<22}{value:>14}");
    row("packets", summary.packets);
    row("bytes", summary.bytes);
    row("flows", summary.flows);
    row("alerts", summary.alerts);
    row("forwarded", summary.forwarded);
    row("dropped", summary.dropped);
    row("rejected", summary.rejected);
    let (title, reasons) = match inline {
        true => ("drops by reason", &summary.drops),
        false => ("would have dropped", &summary.would_drop),
    };
    if !reasons.is_empty() {
        println!("{title}:");
        reasons.iter().for_each(|(reason, packets)| println!("  {reason:<20}{packets:>14}"));
    }
    if summary.events_lost > 0 {
        row("events lost", summary.events_lost);
    }
    if summary.unaccounted != 0 {
        println!("unaccounted packets   {:>14}", summary.unaccounted);
    }
    println!(
        "{:.3} s, {:.0} packets/s, {:.0} cycles/packet (CPU of all workers)",
        summary.seconds, summary.packets_per_second, summary.cycles_per_packet
    );
}
