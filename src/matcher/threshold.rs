//! Thresholds: what becomes of a match under `threshold` or `detection_filter`. Pure counting; the
//! tallies are kept by host.rs. Results are those of the code, which is sharper than the guide
//! (RULES.md 6.3 "Thresholds").

use crate::packet::Context;
use crate::rules::signature::{RateFilter, Threshold, ThresholdKind};

/// Distinct values of a `unique_on` count that a tally itself remembers; host.rs keeps the others.
const DISTINCT_MAX: usize = 32;
const NANOS: u64 = 1_000_000_000;

/// What becomes of a match.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counted {
    /// No alert and no action.
    Nothing,
    /// Alert and action.
    Alert,
    /// Action without an alert.
    Silent,
}

/// A count in progress.
#[derive(Clone, Debug)]
pub struct Tally {
    since_ns: u64,
    count: u32,
    next: u32,
    distinct: [u16; DISTINCT_MAX],
    distinct_count: u8,
}

/// A rate in progress (`rate_filter`).
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    since_ns: u64,
    count: u32,
    /// When the other action came into force, if it is.
    changed_ns: Option<u64>,
}

impl Rate {
    /// The first match.
    pub fn new(now_ns: u64) -> Rate {
        Rate {
            since_ns: now_ns,
            count: 1,
            changed_ns: None,
        }
    }

    /// A further match: whether the other action is in force for it. The match that finds the
    /// timeout over is not counted.
    pub fn exceeds(&mut self, filter: &RateFilter, now_ns: u64) -> bool {
        if let Some(changed) = self.changed_ns {
            let rests = (now_ns / NANOS).saturating_sub(changed / NANOS);
            if rests <= u64::from(filter.timeout) {
                return true;
            }
            self.changed_ns = None;
            return false;
        }
        if now_ns
            > self
                .since_ns
                .saturating_add(u64::from(filter.seconds) * NANOS)
        {
            (self.since_ns, self.count) = (now_ns, 1);
            return false;
        }
        self.count = self.count.saturating_add(1);
        if self.count <= filter.count {
            return false;
        }
        self.changed_ns = Some(now_ns);
        true
    }
}

/// The answer that needs no tally: every single match counts.
pub fn without_state(option: &Threshold) -> Option<Counted> {
    (option.kind == ThresholdKind::Threshold && option.count <= 1).then_some(Counted::Alert)
}

/// The first match of a tally.
pub fn first(option: &Threshold, context: &Context) -> (Tally, Counted) {
    let mut tally = Tally {
        since_ns: context.clock(),
        count: 1,
        next: option.count,
        distinct: [0; DISTINCT_MAX],
        distinct_count: 0,
    };
    tally.restart(option, context);
    let answer = match option.kind {
        ThresholdKind::Limit => Counted::Alert,
        ThresholdKind::Threshold | ThresholdKind::Both if option.count == 1 => Counted::Alert,
        ThresholdKind::Backoff if option.count == 1 => {
            tally.next = tally.next.saturating_mul(option.multiplier);
            Counted::Alert
        }
        _ => Counted::Nothing,
    };
    (tally, answer)
}

/// A further match.
pub fn again(option: &Threshold, tally: &mut Tally, context: &Context) -> Counted {
    if option.kind == ThresholdKind::Backoff {
        return backoff(option, tally);
    }
    let until = tally
        .since_ns
        .saturating_add(u64::from(option.seconds) * NANOS);
    if context.clock() > until {
        tally.restart(option, context);
        return match option.kind {
            ThresholdKind::Limit => Counted::Alert,
            ThresholdKind::Both if option.count == 1 => Counted::Alert,
            _ => Counted::Nothing,
        };
    }
    tally.add(option, context);
    match option.kind {
        ThresholdKind::Limit if tally.count <= option.count => Counted::Alert,
        ThresholdKind::Limit => Counted::Silent,
        ThresholdKind::Threshold if tally.count >= option.count => {
            tally.count = 0;
            Counted::Alert
        }
        ThresholdKind::Both if tally.count == option.count => Counted::Alert,
        ThresholdKind::Both if tally.count > option.count => Counted::Silent,
        ThresholdKind::DetectionFilter if tally.count > option.count => Counted::Alert,
        _ => Counted::Nothing,
    }
}

fn backoff(option: &Threshold, tally: &mut Tally) -> Counted {
    let Some(count) = tally.count.checked_add(1) else {
        return Counted::Silent;
    };
    tally.count = count;
    if count != tally.next {
        return Counted::Silent;
    }
    tally.next = tally.next.saturating_mul(option.multiplier);
    Counted::Alert
}

impl Tally {
    /// The value of `unique_on` of this match and the start of its window, if it may count and the
    /// tally has no place to remember it.
    pub fn beyond(&self, option: &Threshold, context: &Context) -> Option<(u64, u16)> {
        let value = distinct_value(option, context)?;
        let window = u64::from(option.seconds) * NANOS;
        let may_count = usize::from(self.distinct_count) == DISTINCT_MAX
            && context.clock() <= self.since_ns.saturating_add(window)
            && self.count <= option.count
            && !self.distinct.contains(&value);
        may_count.then_some((self.since_ns, value))
    }

    fn restart(&mut self, option: &Threshold, context: &Context) {
        self.since_ns = context.clock();
        self.count = 0;
        self.distinct_count = 0;
        self.add(option, context);
    }

    /// One more match, unless only distinct values count and this one was there.
    fn add(&mut self, option: &Threshold, context: &Context) {
        let Some(value) = distinct_value(option, context) else {
            self.count = self.count.saturating_add(1);
            return;
        };
        let seen = usize::from(self.distinct_count);
        if self.distinct.iter().take(seen).any(|v| *v == value) {
            return;
        }
        if let Some(place) = self.distinct.get_mut(seen) {
            *place = value;
            self.distinct_count += 1;
        }
        self.count = self.count.saturating_add(1);
    }
}

/// The value of `unique_on`.
fn distinct_value(option: &Threshold, context: &Context) -> Option<u16> {
    match option.unique_on {
        3 => Some(context.src_port()),
        4 => Some(context.dst_port()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::signature::Track;

    /// Answers for matches at these seconds: `.` nothing, `A` alert, `s` silent.
    fn answers(kind: ThresholdKind, count: u32, seconds: u32, at: &[u64]) -> String {
        let option = Threshold {
            kind,
            track: Track::Source,
            count,
            seconds,
            multiplier: 2,
            unique_on: 0,
        };
        let mut tally = None;
        at.iter()
            .map(|second| {
                let context = Context {
                    time_ns: second * NANOS,
                    ..Context::default()
                };
                let answer = without_state(&option).unwrap_or_else(|| match &mut tally {
                    None => {
                        let (new, answer) = first(&option, &context);
                        tally = Some(new);
                        answer
                    }
                    Some(tally) => again(&option, tally, &context),
                });
                match answer {
                    Counted::Nothing => '.',
                    Counted::Alert => 'A',
                    Counted::Silent => 's',
                }
            })
            .collect()
    }

    #[test]
    fn the_table_of_answers() {
        use ThresholdKind::*;
        let steady: Vec<u64> = (0..10).collect();
        let cases: &[(ThresholdKind, u32, u32, &[u64], &str)] = &[
            (Limit, 1, 60, &steady, "Asssssssss"),
            (Limit, 3, 60, &steady, "AAAsssssss"),
            (Limit, 1, 4, &steady, "AssssAssss"),
            (Threshold, 1, 60, &steady, "AAAAAAAAAA"),
            (Threshold, 3, 60, &steady, "..A..A..A."),
            (Threshold, 3, 1, &steady, ".........."),
            (Both, 1, 60, &steady, "Asssssssss"),
            (Both, 3, 60, &steady, "..Asssssss"),
            (Both, 2, 3, &steady, ".Ass.Ass.A"),
            (DetectionFilter, 3, 60, &steady, "...AAAAAAA"),
            (DetectionFilter, 1, 2, &steady, ".AA.AA.AA."),
            (Backoff, 1, 0, &steady, "AAsAsssAss"),
            (Backoff, 2, 0, &steady, ".AsAsssAss"),
        ];
        for (kind, count, seconds, at, expected) in cases {
            let found = answers(*kind, *count, *seconds, at);
            assert_eq!(&found, expected, "{kind:?} count {count} seconds {seconds}");
        }
    }

    #[test]
    fn a_window_ends_after_its_last_second() {
        assert_eq!(answers(ThresholdKind::Limit, 1, 10, &[0, 10, 11]), "AsA");
    }

    #[test]
    fn a_rate_changes_the_action_and_gives_it_back() {
        let filter = RateFilter {
            track: Track::Source,
            count: 3,
            seconds: 10,
            new_action: None,
            timeout: 5,
        };
        let seconds = [0, 1, 2, 3, 4, 8, 9, 10, 11, 30, 31, 32, 33];
        let mut rate = Rate::new(0);
        let told: String = seconds[1..]
            .iter()
            .map(|second| rate.exceeds(&filter, second * NANOS))
            .map(|exceeds| if exceeds { 'x' } else { '.' })
            .collect();
        // Three go by, then five seconds of the other action; the count goes on after them.
        assert_eq!(told, "..xxx.xx....");
    }

    #[test]
    fn unique_on_counts_values_once() {
        let option = Threshold {
            kind: ThresholdKind::DetectionFilter,
            track: Track::Source,
            count: 2,
            seconds: 60,
            multiplier: 0,
            unique_on: 4,
        };
        let mut context = Context::default();
        context.tuple.b_port = 1;
        let (mut tally, _) = first(&option, &context);
        for _ in 0..5 {
            assert_eq!(again(&option, &mut tally, &context), Counted::Nothing);
        }
        context.tuple.b_port = 2;
        assert_eq!(again(&option, &mut tally, &context), Counted::Nothing);
        context.tuple.b_port = 3;
        assert_eq!(again(&option, &mut tally, &context), Counted::Alert);
    }
}
