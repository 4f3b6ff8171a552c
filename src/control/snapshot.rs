//! The sum of all workers' counters at one moment.
//!
//! Workers go on while they are read. Verdicts are therefore read before what came in, so that no
//! sum shows more decided than received beyond what a burst can hold; once workers rest, every
//! invariant of DESIGN.md 8 holds exactly.

use crate::counters::{
    ANOMALY_COUNT_MAX, APPS_MAX, BUCKETS, Carried, Counter, Counters, FLOW_CLASSES, Timed, of_app,
};
use crate::reason::Reason;

/// A histogram's counts per bucket (counters.rs says which) and its sum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Durations {
    /// Observations per bucket, not cumulative.
    pub buckets: [u64; BUCKETS],
    /// Sum in nanoseconds.
    pub sum_ns: u64,
}

impl Durations {
    /// Number of observations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// Sums over workers. Plain numbers: cheap to keep and to subtract.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    values: Vec<u64>,
    dropped: Vec<u64>,
    would_drop: Vec<u64>,
    anomalies: Vec<u64>,
    flows: [u64; FLOW_CLASSES],
    flows_new: [u64; FLOW_CLASSES],
    decoded: Vec<u64>,
    apps: Vec<[u64; 2]>,
    durations: [Durations; Timed::ALL.len()],
}

/// What packets carry, in the order of their numbers.
const CARRIED: [Carried; 7] = [
    Carried::Other,
    Carried::Tcp,
    Carried::Udp,
    Carried::Icmp,
    Carried::Icmpv6,
    Carried::Sctp,
    Carried::Arp,
];
/// None, IPv4, IPv6.
const VERSIONS: usize = 3;

/// Counters that are read before all others.
const FIRST: [Counter; 7] = [
    Counter::PacketsLost,
    Counter::PacketsForwarded,
    Counter::PacketsDropped,
    Counter::PacketsRejected,
    Counter::PacketsBypassed,
    Counter::BytesForwarded,
    Counter::BytesDropped,
];

impl Snapshot {
    /// Reads and adds up.
    pub fn take<'a>(workers: impl Iterator<Item = &'a Counters> + Clone) -> Snapshot {
        let mut snapshot = Snapshot {
            values: vec![0; Counter::ALL.len()],
            dropped: vec![0; Reason::ALL.len()],
            would_drop: vec![0; Reason::ALL.len()],
            anomalies: vec![0; ANOMALY_COUNT_MAX],
            flows: [0; FLOW_CLASSES],
            flows_new: [0; FLOW_CLASSES],
            decoded: vec![0; VERSIONS * CARRIED.len()],
            apps: vec![[0; 2]; 2 * APPS_MAX],
            durations: Default::default(),
        };
        for counters in workers.clone() {
            for counter in FIRST {
                snapshot.values[counter as usize] += counters.get(counter);
            }
        }
        for counters in workers {
            snapshot.add(counters);
        }
        snapshot
    }

    fn add(&mut self, counters: &Counters) {
        for counter in Counter::ALL {
            if !FIRST.contains(counter) {
                self.values[*counter as usize] += counters.get(*counter);
            }
        }
        for (at, reason) in Reason::ALL.iter().enumerate() {
            self.dropped[at] += counters.dropped(*reason);
            self.would_drop[at] += counters.would_drop(*reason);
        }
        for (code, sum) in (0..=u8::MAX).zip(&mut self.anomalies) {
            *sum += counters.anomalies(code);
        }
        for (class, sum) in self.flows.iter_mut().enumerate() {
            *sum = sum.wrapping_add(counters.flows(class));
        }
        for (class, sum) in self.flows_new.iter_mut().enumerate() {
            *sum += counters.flows_new(class);
        }
        let versions = (0..VERSIONS as u8).flat_map(|v| CARRIED.map(|carried| (v, carried)));
        for ((version, carried), sum) in versions.zip(&mut self.decoded) {
            *sum += counters.decoded_as(version, carried);
        }
        let apps = (0..APPS_MAX as u8).flat_map(|app| [(app, false), (app, true)]);
        for ((app, tcp), [flows, transactions]) in apps.zip(&mut self.apps) {
            let [more_flows, more_transactions] = counters.apps(app, tcp);
            *flows += more_flows;
            *transactions += more_transactions;
        }
        for (histogram, sum) in counters.durations.iter().zip(&mut self.durations) {
            let (buckets, nanos) = histogram.read();
            for (bucket, more) in sum.buckets.iter_mut().zip(buckets) {
                *bucket += more;
            }
            sum.sum_ns += nanos;
        }
    }

    /// Sum of a counter.
    pub fn get(&self, counter: Counter) -> u64 {
        self.values[counter as usize]
    }

    /// Frames dropped for `reason`.
    pub fn dropped(&self, reason: Reason) -> u64 {
        self.dropped[reason as usize]
    }

    /// Frames that would have been dropped for `reason`.
    pub fn would_drop(&self, reason: Reason) -> u64 {
        self.would_drop[reason as usize]
    }

    /// Occurrences of the anomaly with this number.
    pub fn anomalies(&self, code: u8) -> u64 {
        self.anomalies[usize::from(code)]
    }

    /// Durations of a step.
    pub fn durations(&self, step: Timed) -> &Durations {
        &self.durations[step as usize]
    }

    /// Flows in the table by class (counters.rs). Workers go on while they are read, so a class may
    /// seem to hold fewer than none for a moment: that is 0.
    pub fn flows_of(&self, class: usize) -> u64 {
        let count = self.flows.get(class).copied().unwrap_or(0);
        u64::try_from(count as i64).unwrap_or(0)
    }

    /// Flows that were ever taken in, by protocol: TCP, UDP, ICMP, others.
    pub fn flows_new(&self) -> [u64; 4] {
        let of = |protocol: usize| self.flows_new.iter().skip(3 * protocol).take(3).sum();
        std::array::from_fn(of)
    }

    /// Packets of a version of IP, whatever they carry; 1 is IPv4, 2 is IPv6.
    pub fn decoded_of(&self, version: usize) -> u64 {
        let all = self.decoded.iter().skip(version * CARRIED.len());
        all.take(CARRIED.len()).sum()
    }

    /// Packets that carry this.
    pub fn decoded(&self, carried: Carried) -> u64 {
        let of = self.decoded.chunks(CARRIED.len());
        of.filter_map(|of| of.get(carried as usize)).sum()
    }

    /// Flows and transactions of a protocol over TCP or UDP.
    pub fn apps(&self, app: u8, tcp: bool) -> [u64; 2] {
        self.apps.get(of_app(app, tcp)).copied().unwrap_or_default()
    }

    /// Flows in the table: created and not ended.
    pub fn flows(&self) -> u64 {
        let ended = [
            Counter::FlowsEndedTimeout,
            Counter::FlowsEndedClosed,
            Counter::FlowsEndedEvicted,
            Counter::FlowsEndedShutdown,
            Counter::FlowsEndedCrash,
        ];
        let ended: u64 = ended.iter().map(|counter| self.get(*counter)).sum();
        self.get(Counter::FlowsCreated).saturating_sub(ended)
    }

    /// Frames with a final verdict.
    pub fn decided(&self) -> u64 {
        FIRST[..5].iter().map(|counter| self.get(*counter)).sum()
    }

    /// All reasons with their counts, drops first, most frequent first; zeros are left out.
    pub fn reasons(&self, notional: bool) -> Vec<(Reason, u64)> {
        let counts = if notional {
            &self.would_drop
        } else {
            &self.dropped
        };
        let mut list: Vec<(Reason, u64)> = Reason::ALL
            .iter()
            .copied()
            .zip(counts.iter().copied())
            .filter(|(_, count)| *count > 0)
            .collect();
        list.sort_by_key(|(reason, count)| (std::cmp::Reverse(*count), *reason));
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_added_up() {
        let workers = [Counters::default(), Counters::default()];
        for (worker, by) in workers.iter().zip([3, 4]) {
            worker.add(Counter::PacketsForwarded, by);
            worker.add(Counter::FlowsCreated, by);
            worker.inc(Counter::FlowsEndedClosed);
            worker.drop_for(Reason::Rule);
            worker.would_drop_for(Reason::TcpUrgent);
            worker.anomaly(255);
            worker.durations[Timed::Match as usize].observe(700, by);
        }
        let snapshot = Snapshot::take(workers.iter());
        assert_eq!(snapshot.get(Counter::PacketsForwarded), 7);
        assert_eq!((snapshot.flows(), snapshot.decided()), (5, 7));
        assert_eq!(snapshot.dropped(Reason::Rule), 2);
        assert_eq!(snapshot.reasons(true), [(Reason::TcpUrgent, 2)]);
        assert_eq!(snapshot.anomalies(255), 2);
        let durations = snapshot.durations(Timed::Match);
        assert_eq!((durations.count(), durations.sum_ns), (7, 4900));
    }
}
