//! What a run came to, for people and for programs: the text and the JSON at its end.

use std::io::{self, Write};
use std::time::Duration;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::Snapshot;
use crate::counters::Counter;
use crate::eve::WriterHandle;
use crate::reason::Reason;

/// How to print.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// A table for a terminal.
    #[default]
    Text,
    /// One JSON object on one line.
    Json,
}

/// Counts by reason, as a JSON object.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ByReason(pub Vec<(Reason, u64)>);

impl Serialize for ByReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (reason, count) in &self.0 {
            map.serialize_entry(reason.name(), count)?;
        }
        map.end()
    }
}

/// The figures of a run.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Figures {
    /// Frames received.
    pub packets: u64,
    /// Bytes received.
    pub bytes: u64,
    /// Frames forwarded after inspection.
    pub forwarded: u64,
    /// Frames forwarded without.
    pub bypassed: u64,
    /// Frames dropped.
    pub dropped: u64,
    /// Frames rejected.
    pub rejected: u64,
    /// Frames that an engine held when it died.
    #[serde(skip_serializing_if = "is_zero")]
    pub lost: u64,
    /// Frames received and not decided; 0 unless something is broken or still going on.
    pub unaccounted: i64,
    /// Drops and rejects by reason, most frequent first.
    pub dropped_by_reason: ByReason,
    /// Notional drops by reason.
    pub would_drop_by_reason: ByReason,
    /// Answers to rejects.
    pub reject_answers: u64,
    /// Flows admitted.
    pub flows: u64,
    /// Flows refused.
    pub flows_refused: u64,
    /// Alerts emitted.
    pub alerts: u64,
    /// Alerts withheld by thresholds or for room.
    pub alerts_withheld: u64,
    /// Events handed to the writer.
    pub events: u64,
    /// Of those, events that the log has no line for (`outputs.eve-log.types`, and what Suricata has
    /// none for).
    pub events_left_out: u64,
    /// Events lost or withheld before the writer.
    pub events_lost: u64,
    /// Time from start to end, seconds.
    pub elapsed_seconds: f64,
    /// Frames per second of that time.
    pub packets_per_second: f64,
    /// Bits per second of that time.
    pub bits_per_second: f64,
    /// Time-stamp counter cycles per frame, if they were counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cycles_per_packet: Option<f64>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Figures {
    /// The figures of a snapshot. `cycles` is what all workers together used.
    pub fn of(snapshot: &Snapshot, elapsed: Duration, cycles: Option<u64>) -> Figures {
        let get = |counter| snapshot.get(counter);
        let (packets, bytes) = (get(Counter::PacketsReceived), get(Counter::BytesReceived));
        let seconds = elapsed.as_secs_f64();
        let per_second = |count: f64| if seconds > 0.0 { count / seconds } else { 0.0 };
        Figures {
            packets,
            bytes,
            forwarded: get(Counter::PacketsForwarded),
            bypassed: get(Counter::PacketsBypassed),
            dropped: get(Counter::PacketsDropped),
            rejected: get(Counter::PacketsRejected),
            lost: get(Counter::PacketsLost),
            unaccounted: packets as i64 - snapshot.decided() as i64,
            dropped_by_reason: ByReason(snapshot.reasons(false)),
            would_drop_by_reason: ByReason(snapshot.reasons(true)),
            reject_answers: get(Counter::RejectRst) + get(Counter::RejectIcmp),
            flows: get(Counter::FlowsCreated),
            flows_refused: get(Counter::FlowsRefused),
            alerts: get(Counter::Alerts),
            alerts_withheld: get(Counter::AlertsThreshold) + get(Counter::AlertsQueueFull),
            events: get(Counter::Events),
            events_left_out: 0,
            events_lost: get(Counter::EventsLost)
                + get(Counter::EventsCappedDrop)
                + get(Counter::EventsCappedAnomaly),
            elapsed_seconds: seconds,
            packets_per_second: per_second(packets as f64),
            bits_per_second: per_second(bytes as f64 * 8.0),
            cycles_per_packet: cycles
                .filter(|_| packets > 0)
                .map(|cycles| cycles as f64 / packets as f64),
        }
    }

    /// With what the event writer says, if there is one.
    pub fn beside(self, writer: Option<&WriterHandle>) -> Figures {
        let left_out = writer.map_or(0, |writer| writer.counters().left_out());
        Figures {
            events_left_out: left_out,
            ..self
        }
    }
}

/// Prints the figures.
///
/// # Errors
/// What writing says.
pub fn print(out: &mut impl Write, figures: &Figures, format: Format) -> io::Result<()> {
    match format {
        Format::Json => {
            serde_json::to_writer(&mut *out, figures)?;
            writeln!(out)
        }
        Format::Text => text(out, figures),
    }
}

fn text(out: &mut impl Write, figures: &Figures) -> io::Result<()> {
    let mut row = |name: &str, value: String| writeln!(out, "{name:<22}{value:>20}");
    row("packets", grouped(figures.packets))?;
    row("bytes", grouped(figures.bytes))?;
    row("forwarded", grouped(figures.forwarded))?;
    for (name, count) in [
        ("bypassed", figures.bypassed),
        ("dropped", figures.dropped),
        ("rejected", figures.rejected),
        ("lost in a crash", figures.lost),
        ("reject answers", figures.reject_answers),
    ] {
        if count > 0 || name == "dropped" {
            row(name, grouped(count))?;
        }
    }
    row("flows", grouped(figures.flows))?;
    row("alerts", grouped(figures.alerts))?;
    for (name, count) in [
        ("flows refused", figures.flows_refused),
        ("alerts withheld", figures.alerts_withheld),
        ("events lost", figures.events_lost),
    ] {
        if count > 0 {
            row(name, grouped(count))?;
        }
    }
    if figures.unaccounted != 0 {
        row("UNACCOUNTED", figures.unaccounted.to_string())?;
    }
    row("seconds", format!("{:.3}", figures.elapsed_seconds))?;
    row("packets/s", grouped(figures.packets_per_second as u64))?;
    row("Mbit/s", format!("{:.1}", figures.bits_per_second / 1e6))?;
    if let Some(cycles) = figures.cycles_per_packet {
        row("cycles/packet", format!("{cycles:.0}"))?;
    }
    table(out, "dropped, by reason", &figures.dropped_by_reason)?;
    table(
        out,
        "would be dropped inline, by reason",
        &figures.would_drop_by_reason,
    )
}

fn table(out: &mut impl Write, title: &str, reasons: &ByReason) -> io::Result<()> {
    if reasons.0.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{title}")?;
    for (reason, count) in &reasons.0 {
        let text = reason.describe().trim();
        writeln!(
            out,
            "  {:<28}{:>12}  {text}",
            reason.name(),
            grouped(*count)
        )?;
    }
    Ok(())
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::Counters;

    fn figures() -> Figures {
        let counters = Counters::default();
        counters.add(Counter::PacketsReceived, 1_234_567);
        counters.add(Counter::BytesReceived, 100_000_000);
        counters.add(Counter::PacketsForwarded, 1_234_565);
        counters.add(Counter::PacketsDropped, 2);
        counters.drop_for(Reason::TcpPawsOld);
        counters.drop_for(Reason::Rule);
        let snapshot = Snapshot::take([&counters].into_iter());
        Figures::of(&snapshot, Duration::from_millis(500), Some(1_234_567_000))
    }

    fn printed(figures: &Figures, format: Format) -> String {
        let mut out = Vec::new();
        print(&mut out, figures, format).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_text_says_what_came_of_every_packet() {
        let text = printed(&figures(), Format::Text);
        let row = |name: &str| {
            let line = text
                .lines()
                .find(|line| line.trim().starts_with(name))
                .unwrap();
            line.split_ascii_whitespace().nth(1).unwrap().to_string()
        };
        assert_eq!(row("packets"), "1,234,567");
        assert_eq!(
            (row("dropped"), row("packets/s")),
            ("2".into(), "2,469,134".into())
        );
        assert_eq!(
            (row("Mbit/s"), row("cycles/packet")),
            ("1600.0".into(), "1000".into())
        );
        assert_eq!(row("tcp_paws_old"), "1");
        assert!(!text.contains("UNACCOUNTED") && !text.contains("would be"));
        let mut broken = figures();
        broken.unaccounted = -1;
        assert!(printed(&broken, Format::Text).contains("UNACCOUNTED"));
    }

    #[test]
    fn the_json_is_one_object_on_one_line() {
        let text = printed(&figures(), Format::Json);
        assert_eq!(text.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["dropped_by_reason"]["rule"], 1);
        assert_eq!(
            (&value["packets"], &value["unaccounted"]),
            (&1_234_567.into(), &0.into())
        );
        assert_eq!(value["cycles_per_packet"], 1000.0);
    }

    #[test]
    fn digits_stand_in_threes() {
        assert_eq!(
            [grouped(0), grouped(999), grouped(1000)],
            ["0", "999", "1,000"]
        );
    }
}
