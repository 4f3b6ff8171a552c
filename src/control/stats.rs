//! `stats` events: the engine's counters as a line of the event log.
//!
//! Under `stats` stand those of Suricata's names that mean the same here; under `sluice` every
//! counter of ours by its own name.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::{Shared, Snapshot};
use crate::counters::Counter;
use crate::eve::{self, Text, Timestamp, drop_word};
use crate::reason::Reason;

/// Hands a `stats` line to the writer, if there is one. One that finds no room is left out: the
/// next one tells more.
pub fn submit(shared: &Shared) {
    if let Some(writer) = &shared.parts.writer {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_ns = now.map_or(0, |since| since.as_nanos() as u64);
        let line = line(
            &shared.snapshot(),
            shared.started.elapsed().as_secs(),
            now_ns,
        );
        writer.submit(line);
    }
}

/// The line, its end included.
pub fn line(snapshot: &Snapshot, uptime_seconds: u64, now_ns: u64) -> Vec<u8> {
    let get = |counter| snapshot.get(counter);
    let event = Event {
        timestamp: Text(Timestamp(now_ns)),
        event_type: "stats",
        stats: Stats {
            uptime: uptime_seconds,
            decoder: Decoder {
                pkts: get(Counter::PacketsReceived),
                bytes: get(Counter::BytesReceived),
            },
            ips: Ips {
                accepted: get(Counter::PacketsForwarded) + get(Counter::PacketsBypassed),
                blocked: get(Counter::PacketsDropped) + get(Counter::PacketsRejected),
                rejected: get(Counter::PacketsRejected),
                replaced: 0,
                drop_reason: Words(snapshot),
            },
            flow: Flow {
                total: get(Counter::FlowsCreated),
                active: snapshot.flows(),
                memcap: get(Counter::FlowsRefused),
                elephant: get(Counter::FlowsElephant),
                elephant_toserver: get(Counter::FlowsElephantToServer),
                elephant_toclient: get(Counter::FlowsElephantToClient),
            },
            tcp: Tcp {
                overlap: get(Counter::SegmentsOverlap),
                reassembly_gap: get(Counter::StreamGaps),
                stream_depth_reached: get(Counter::StreamDepthReached),
            },
            detect: Detect {
                alert: get(Counter::Alerts),
                alert_queue_overflow: get(Counter::AlertsQueueFull),
                alerts_suppressed: get(Counter::AlertsThreshold),
            },
        },
        sluice: Ours(snapshot),
    };
    let mut line = Vec::with_capacity(8 << 10);
    let written = eve::line(&mut line, &event);
    debug_assert!(written.is_ok(), "counters are plain numbers");
    line
}

#[derive(Serialize)]
struct Event<'a> {
    timestamp: Text<Timestamp>,
    event_type: &'static str,
    stats: Stats<'a>,
    sluice: Ours<'a>,
}

#[derive(Serialize)]
struct Stats<'a> {
    uptime: u64,
    decoder: Decoder,
    ips: Ips<'a>,
    flow: Flow,
    tcp: Tcp,
    detect: Detect,
}

#[derive(Serialize)]
struct Decoder {
    pkts: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct Ips<'a> {
    accepted: u64,
    blocked: u64,
    rejected: u64,
    replaced: u64,
    drop_reason: Words<'a>,
}

#[derive(Serialize)]
struct Flow {
    total: u64,
    active: u64,
    memcap: u64,
    elephant: u64,
    elephant_toserver: u64,
    elephant_toclient: u64,
}

#[derive(Serialize)]
struct Tcp {
    overlap: u64,
    reassembly_gap: u64,
    stream_depth_reached: u64,
}

#[derive(Serialize)]
struct Detect {
    alert: u64,
    alert_queue_overflow: u64,
    alerts_suppressed: u64,
}

/// Drops by Suricata's words, several of our reasons to a word.
struct Words<'a>(&'a Snapshot);

impl Serialize for Words<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut words: Vec<(&str, u64)> = Vec::new();
        for reason in Reason::ALL {
            let word = drop_word(*reason);
            let count = self.0.dropped(*reason);
            match words.iter_mut().find(|(before, _)| *before == word) {
                Some((_, sum)) => *sum += count,
                None => words.push((word, count)),
            }
        }
        let mut map = serializer.serialize_map(Some(words.len()))?;
        for (word, count) in words {
            map.serialize_entry(&word.replace(' ', "_"), &count)?;
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
        let text = line(&Snapshot::take([&counters].into_iter()), 5, 0);
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
        assert_eq!(value["sluice"]["packets.drop"], 2);
        assert_eq!(value["sluice"]["dropped.tcp_paws_old"], 1);
    }
}
