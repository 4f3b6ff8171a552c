//! `pcap-replay diff`: compares two runs by their EVE files: which signatures alerted how often,
//! where, and which packets were dropped. For two versions, two rule sets, two layouts, or another
//! engine that writes EVE.
//!
//! Alerts and drops are compared as multisets of (place, what). A place is the packet's number in
//! the capture, or the flow (protocol and both endpoints, whichever sent) where one of the files
//! has no numbers, as live runs do not.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::replay::Format;

/// Arguments of `diff`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// EVE file of the first run
    pub left: PathBuf,
    /// EVE file of the second run
    pub right: PathBuf,
    /// What makes two events the same
    #[arg(long, value_enum, default_value = "auto")]
    pub by: By,
    /// Differences shown, of each kind
    #[arg(long, default_value_t = 20)]
    pub limit: usize,
    /// Form of the report
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// What makes two events the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum By {
    /// The packet's number, or the flow if one of the files has none
    Auto,
    /// The packet's number in the capture
    Packet,
    /// Protocol and endpoints
    Flow,
}

/// The part of an EVE line that is compared.
#[derive(Deserialize)]
struct Line {
    event_type: String,
    pcap_cnt: Option<u64>,
    #[serde(default)]
    src_ip: String,
    #[serde(default)]
    src_port: u16,
    #[serde(default)]
    dest_ip: String,
    #[serde(default)]
    dest_port: u16,
    #[serde(default)]
    proto: String,
    alert: Option<Alert>,
    drop: Option<Drop>,
    sluice: Option<Sluice>,
}

#[derive(Deserialize)]
struct Alert {
    signature_id: u32,
    #[serde(default)]
    gid: u32,
}

#[derive(Deserialize)]
struct Drop {
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
struct Sluice {
    reason: Option<String>,
}

/// An alert or drop, and where it happened.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Event {
    packet: Option<u64>,
    flow: String,
    what: String,
}

/// The alerts and drops of a run.
#[derive(Default)]
struct Run {
    alerts: Vec<Event>,
    drops: Vec<Event>,
}

impl Run {
    fn read(path: &Path) -> Result<Run, Failure> {
        let error = |what: String| Failure::input(format!("{}: {what}", path.display()));
        let file = std::fs::File::open(path).map_err(|e| error(e.to_string()))?;
        let mut run = Run::default();
        for (number, line) in BufReader::new(file).lines().enumerate() {
            let line = line.map_err(|e| error(e.to_string()))?;
            if line.trim().is_empty() {
                continue;
            }
            let line: Line = serde_json::from_str(&line)
                .map_err(|e| error(format!("line {}: no EVE event: {e}", number + 1)))?;
            run.add(&line);
        }
        Ok(run)
    }

    fn add(&mut self, line: &Line) {
        let event = |what: String| Event {
            packet: line.pcap_cnt,
            flow: flow_of(line),
            what,
        };
        match (line.event_type.as_str(), &line.alert, &line.drop) {
            ("alert", Some(alert), _) => {
                let what = format!("{}:{}", alert.gid.max(1), alert.signature_id);
                self.alerts.push(event(what));
            }
            ("drop", _, Some(drop)) => {
                // Ours says more than the reason that EVE knows.
                let ours = line
                    .sluice
                    .as_ref()
                    .and_then(|sluice| sluice.reason.clone());
                self.drops
                    .push(event(ours.unwrap_or_else(|| drop.reason.clone())));
            }
            _ => {}
        }
    }

    fn has_packet_numbers(&self) -> bool {
        let mut events = self.alerts.iter().chain(&self.drops);
        events.all(|event| event.packet.is_some())
    }
}

fn flow_of(line: &Line) -> String {
    let ends = [
        format!("{}:{}", line.src_ip, line.src_port),
        format!("{}:{}", line.dest_ip, line.dest_port),
    ];
    let [low, high] = if ends[0] <= ends[1] {
        [&ends[0], &ends[1]]
    } else {
        [&ends[1], &ends[0]]
    };
    format!("{} {low} {high}", line.proto)
}

/// Counts of a signature that alerted differently often.
#[derive(Serialize, Debug, PartialEq, Eq)]
pub struct Count {
    /// gid:sid.
    pub signature: String,
    /// Alerts in the first run.
    pub left: u64,
    /// Alerts in the second run.
    pub right: u64,
}

/// Something that only one run has (or has more often).
#[derive(Serialize, Debug, PartialEq, Eq)]
pub struct Only {
    /// Packet number or flow.
    pub place: String,
    /// gid:sid, or the reason of a drop.
    pub what: String,
    /// How many more times.
    pub times: u64,
}

/// The differences of two runs.
#[derive(Serialize, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Alerts of the runs.
    pub alerts: [u64; 2],
    /// Drops of the runs.
    pub drops: [u64; 2],
    /// Signatures that alerted differently often.
    pub signatures: Vec<Count>,
    /// Alerts that only one run has: first, second.
    pub alerts_only: [Vec<Only>; 2],
    /// Drops that only one run has: first, second.
    pub drops_only: [Vec<Only>; 2],
}

impl Difference {
    /// Whether the runs agree.
    pub fn is_none(&self) -> bool {
        self.signatures.is_empty()
            && self.alerts_only.iter().all(Vec::is_empty)
            && self.drops_only.iter().all(Vec::is_empty)
    }
}

type Bag = BTreeMap<(u64, String, String), [u64; 2]>;

/// What the two runs have apart, by place.
fn apart(left: &[Event], right: &[Event], by: By) -> [Vec<Only>; 2] {
    let mut bag = Bag::new();
    for (side, events) in [left, right].into_iter().enumerate() {
        for event in events {
            let (number, place) = match (by, event.packet) {
                (By::Packet | By::Auto, Some(packet)) => (packet, format!("packet {packet}")),
                _ => (0, event.flow.clone()),
            };
            bag.entry((number, place, event.what.clone())).or_default()[side] += 1;
        }
    }
    let mut only: [Vec<Only>; 2] = Default::default();
    for ((_, place, what), [left, right]) in bag {
        let side = usize::from(right > left);
        if left != right {
            let times = left.abs_diff(right);
            only[side].push(Only { place, what, times });
        }
    }
    only
}

fn counts(left: &[Event], right: &[Event]) -> Vec<Count> {
    let mut counts: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
    for (side, events) in [left, right].into_iter().enumerate() {
        for event in events {
            counts.entry(&event.what).or_default()[side] += 1;
        }
    }
    counts
        .into_iter()
        .filter(|(_, [left, right])| left != right)
        .map(|(signature, [left, right])| Count {
            signature: signature.to_string(),
            left,
            right,
        })
        .collect()
}

/// Compares two EVE files.
///
/// # Errors
/// A file that cannot be read, or is no EVE.
pub fn compare(left: &Path, right: &Path, by: By) -> Result<Difference, Failure> {
    let runs = [Run::read(left)?, Run::read(right)?];
    let [left, right] = &runs;
    let numbered = runs.iter().all(Run::has_packet_numbers);
    let by = match by {
        By::Auto if numbered => By::Packet,
        By::Auto => By::Flow,
        by => by,
    };
    if by == By::Packet && !numbered {
        return Err(Failure::input(
            "events without packet numbers\n [hint] compare live runs with --by flow",
        ));
    }
    Ok(Difference {
        alerts: runs.each_ref().map(|run| run.alerts.len() as u64),
        drops: runs.each_ref().map(|run| run.drops.len() as u64),
        signatures: counts(&left.alerts, &right.alerts),
        alerts_only: apart(&left.alerts, &right.alerts, by),
        drops_only: apart(&left.drops, &right.drops, by),
    })
}

/// Compares, and says what differs.
///
/// # Errors
/// As [`compare`].
pub fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let difference = compare(&arguments.left, &arguments.right, arguments.by)?;
    match arguments.format {
        Format::Json => {
            let text = serde_json::to_string(&difference).map_err(Failure::input)?;
            println!("{text}");
        }
        Format::Text => print_text(arguments, &difference),
    }
    Ok(u8::from(!difference.is_none()))
}

fn print_text(arguments: &Arguments, difference: &Difference) {
    let names = [&arguments.left, &arguments.right].map(|path| path.display().to_string());
    let [left, right] = difference.alerts;
    println!("alerts  {left} : {right}");
    let [left, right] = difference.drops;
    println!("drops   {left} : {right}");
    if difference.is_none() {
        println!("no difference");
        return;
    }
    for count in difference.signatures.iter().take(arguments.limit) {
        println!(
            "signature {:>14}  {} : {}",
            count.signature, count.left, count.right
        );
    }
    let parts = [
        ("alert", &difference.alerts_only),
        ("drop", &difference.drops_only),
    ];
    for (kind, sides) in parts {
        for (name, only) in names.iter().zip(sides) {
            if only.is_empty() {
                continue;
            }
            println!("{kind}s only in {name}: {}", only.len());
            for entry in only.iter().take(arguments.limit) {
                println!("  {:<40} {} x{}", entry.place, entry.what, entry.times);
            }
            if only.len() > arguments.limit {
                println!("  ... (--limit shows more)");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, lines: &[String]) -> PathBuf {
        let path = std::env::temp_dir().join(format!("diff-{}-{name}", std::process::id()));
        std::fs::write(&path, lines.join("\n")).unwrap();
        path
    }

    fn alert(packet: Option<u64>, sid: u32, back: bool) -> String {
        let packet = packet.map_or(String::new(), |n| format!(r#""pcap_cnt":{n},"#));
        let ends = match back {
            false => r#""src_ip":"10.0.0.1","src_port":5,"dest_ip":"10.0.0.2","dest_port":80"#,
            true => r#""src_ip":"10.0.0.2","src_port":80,"dest_ip":"10.0.0.1","dest_port":5"#,
        };
        format!(
            r#"{{{packet}"event_type":"alert",{ends},"proto":"TCP","alert":{{"gid":1,"signature_id":{sid}}}}}"#
        )
    }

    fn drop(packet: u64, reason: &str) -> String {
        format!(
            r#"{{"event_type":"drop","pcap_cnt":{packet},"drop":{{"reason":"rules"}},"sluice":{{"reason":"{reason}"}}}}"#
        )
    }

    #[test]
    fn the_same_events_in_another_order_are_no_difference() {
        let flow = r#"{"event_type":"flow","src_ip":"::1"}"#.to_string();
        let left = file("a", &[alert(Some(1), 7, false), drop(2, "rule"), flow]);
        let right = file(
            "b",
            &[drop(2, "rule"), String::new(), alert(Some(1), 7, false)],
        );
        let difference = compare(&left, &right, By::Auto).unwrap();
        assert!(difference.is_none(), "{difference:?}");
        assert_eq!((difference.alerts, difference.drops), ([1, 1], [1, 1]));
        assert!(
            std::fs::remove_file(left)
                .and(std::fs::remove_file(right))
                .is_ok()
        );
    }

    #[test]
    fn what_differs_is_named_with_its_place() {
        let left = file("c", &[alert(Some(1), 7, false), alert(Some(1), 7, false)]);
        let right = file(
            "d",
            &[
                alert(Some(1), 7, false),
                alert(Some(9), 8, false),
                drop(9, "rule_flow"),
            ],
        );
        let difference = compare(&left, &right, By::Auto).unwrap();
        assert!(!difference.is_none());
        let only = |place: &str, what: &str| Only {
            place: place.to_string(),
            what: what.to_string(),
            times: 1,
        };
        assert_eq!(difference.alerts_only[0], [only("packet 1", "1:7")]);
        assert_eq!(difference.alerts_only[1], [only("packet 9", "1:8")]);
        assert_eq!(difference.drops_only[1], [only("packet 9", "rule_flow")]);
        assert_eq!(difference.signatures.len(), 2);
        assert!(
            std::fs::remove_file(left)
                .and(std::fs::remove_file(right))
                .is_ok()
        );
    }

    #[test]
    fn live_runs_are_compared_by_flow_in_either_direction() {
        let left = file("e", &[alert(None, 7, false)]);
        let right = file("f", &[alert(Some(3), 7, true)]);
        assert!(compare(&left, &right, By::Auto).unwrap().is_none());
        let error = compare(&left, &right, By::Packet).unwrap_err();
        assert_eq!(error.code, 6);
        let broken = file("g", &["{".to_string()]);
        assert!(
            compare(&left, &broken, By::Auto)
                .unwrap_err()
                .message
                .contains("line 1")
        );
        for path in [left, right, broken] {
            std::fs::remove_file(path).unwrap();
        }
    }
}
