//! What was sent and what came: knows every frame by its bytes, and so what was lost, changed,
//! overtaken or doubled (invariants I1 to I4, judged from outside).

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use serde::Serialize;

use crate::latency::Histogram;

/// Addresses of a packet, source first.
pub type Addresses = (IpAddr, IpAddr);

/// Reads the addresses of an Ethernet frame, behind up to three VLAN tags.
pub fn addresses(frame: &[u8]) -> Option<Addresses> {
    let word = |at: usize| Some(u16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?));
    let mut at = 12;
    for _ in 0..3 {
        if matches!(word(at)?, 0x8100 | 0x88a8) {
            at += 4;
        }
    }
    let start = at + 2;
    let v4 = |at: usize| {
        Some(IpAddr::from(
            <[u8; 4]>::try_from(frame.get(at..at + 4)?).ok()?,
        ))
    };
    let v6 = |at: usize| {
        Some(IpAddr::from(
            <[u8; 16]>::try_from(frame.get(at..at + 16)?).ok()?,
        ))
    };
    match word(at)? {
        0x0800 => Some((v4(start + 12)?, v4(start + 16)?)),
        0x86dd => Some((v6(start + 8)?, v6(start + 24)?)),
        _ => None,
    }
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// One frame on its way.
struct Sent {
    number: u64,
    nanos: u64,
}

/// The result of a replay.
#[derive(Clone, Debug, Default, Serialize, PartialEq, Eq)]
pub struct Report {
    /// Frames sent.
    pub sent: u64,
    /// Bytes of these.
    pub sent_bytes: u64,
    /// Frames that came out as they went in.
    pub received: u64,
    /// Frames that did not come out: dropped, or lost on the way.
    pub lost: u64,
    /// Frames that came out behind a later one of the same pair of addresses.
    pub reordered: u64,
    /// Frames that came out and were never sent: changed, doubled, or made on the way (resets).
    pub unexpected: u64,
    /// Nanoseconds from the first frame sent to the last one received.
    pub elapsed_ns: u64,
    /// Way through the engine, nanoseconds: median.
    pub latency_p50_ns: u64,
    /// 99 % of frames were faster.
    pub latency_p99_ns: u64,
    /// 99.9 % of frames were faster.
    pub latency_p999_ns: u64,
    /// The slowest frame.
    pub latency_max_ns: u64,
    /// Latencies by doubling: nanoseconds that those counted are below, count.
    pub latency_histogram: Vec<(u64, u64)>,
}

/// Frames on their way, and the tally.
#[derive(Default)]
pub struct Tracker {
    /// By the port they entered and their bytes; frames alike come in the order they were sent.
    under_way: HashMap<(usize, u64), VecDeque<Sent>>,
    /// Highest number that came out, by entry port and pair of addresses.
    newest: HashMap<(usize, Option<Addresses>), u64>,
    latency: Histogram,
    report: Report,
}

impl Tracker {
    /// Notes a frame that was sent into `port` at `nanos`.
    pub fn sent(&mut self, port: usize, frame: &[u8], nanos: u64) {
        let number = self.report.sent;
        self.report.sent += 1;
        self.report.sent_bytes += frame.len() as u64;
        let queue = self.under_way.entry((port, hash(frame))).or_default();
        queue.push_back(Sent { number, nanos });
    }

    /// Notes a frame that came out of `port`, having entered by the other one.
    pub fn received(&mut self, port: usize, frame: &[u8], nanos: u64) {
        let entry = 1 - port;
        let key = (entry, hash(frame));
        let Some(queue) = self.under_way.get_mut(&key) else {
            self.report.unexpected += 1;
            return;
        };
        let Some(sent) = queue.pop_front() else {
            self.report.unexpected += 1;
            return;
        };
        if queue.is_empty() {
            self.under_way.remove(&key);
        }
        let newest = self.newest.entry((entry, addresses(frame))).or_default();
        if sent.number < *newest {
            self.report.reordered += 1;
        }
        *newest = (*newest).max(sent.number);
        self.report.received += 1;
        self.latency.add(nanos.saturating_sub(sent.nanos));
    }

    /// Frames sent that have not come out.
    pub fn missing(&self) -> u64 {
        self.report.sent - self.report.received
    }

    /// The tally.
    pub fn report(&self, elapsed_ns: u64) -> Report {
        Report {
            lost: self.missing(),
            elapsed_ns,
            latency_p50_ns: self.latency.quantile(0.5),
            latency_p99_ns: self.latency.quantile(0.99),
            latency_p999_ns: self.latency.quantile(0.999),
            latency_max_ns: self.latency.max(),
            latency_histogram: self.latency.doublings(),
            ..self.report.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice::port::generator::{Generator, Mix};

    #[test]
    fn every_kind_of_damage_is_told_apart() {
        let mix = Mix {
            flows: 50,
            ..Mix::default()
        };
        let frames: Vec<_> = Generator::new(mix)
            .filter(|frame| frame.port == 0)
            .collect();
        let mut tracker = Tracker::default();
        for frame in &frames {
            tracker.sent(0, &frame.bytes, 100);
        }
        let pair = addresses(&frames[0].bytes).unwrap();
        let is_later = |number: &usize| {
            ![3, 5].contains(number) && addresses(&frames[*number].bytes) == Some(pair)
        };
        let later = (1..frames.len()).find(is_later).unwrap();
        // The first frame comes behind a later one of its pair, the third never, the fifth changed
        // and the seventh twice.
        let mut order: Vec<usize> = (1..=later)
            .chain([0])
            .chain(later + 1..frames.len())
            .collect();
        order.retain(|number| *number != 3);
        for number in order {
            let mut bytes = frames[number].bytes.clone();
            if number == 5 {
                bytes[20] ^= 1;
            }
            tracker.received(1, &bytes, 350);
            if number == 7 {
                tracker.received(1, &bytes, 400);
            }
        }
        let report = tracker.report(1);
        assert_eq!(
            (report.lost, report.reordered, report.unexpected),
            (2, 1, 2)
        );
        assert_eq!(report.received, frames.len() as u64 - 2);
        assert!((240..=250).contains(&report.latency_p50_ns));
        assert_eq!(report.latency_max_ns, 250);
    }

    #[test]
    fn addresses_are_read_behind_tags() {
        let mix = Mix {
            vlan: 0.5,
            ..Mix::default()
        };
        assert!(Generator::new(mix).all(|frame| addresses(&frame.bytes).is_some()));
        assert_eq!(addresses(&[0; 40]), None);
    }
}
