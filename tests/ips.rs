//! What rules and policies do to packets inline: which packet dies, which ones with it, what is told.
//! Each row is a conversation made here, rules, settings, and what Suricata's guide says comes of
//! them (ips-concept, rule-types, exception-policies, thresholding).
//!
//! What is not here: reassembly inline (evasion), reasons of drops one by one (reasons.rs).

mod common;
#[path = "keywords/talks.rs"]
#[allow(dead_code)]
mod talks;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{Fact, facts, small};
use sluice::cli::rules::{Wanted, load};
use sluice::config::Mode;
use sluice::replay::Options;

/// Frames of [`lines`] by number: the handshake is 0 to 2, then each turn and its acknowledgment,
/// and the three frames of the end.
const TURNS: &[(bool, &[u8])] = &[
    (true, b"first good line\n"),
    (true, b"then a bad line\n"),
    (false, b"and an answer\n"),
    (true, b"last line\n"),
];
/// The frame with the bad line.
const BAD: u64 = 5;
/// Frames of [`lines`].
const ALL: u64 = 14;

struct Row {
    what: &'static str,
    frames: fn() -> Vec<Vec<u8>>,
    settings: &'static [(&'static str, &'static str)],
    rules: &'static str,
    /// Statements of a threshold file.
    thresholds: &'static str,
    /// Packet and sid of each alert.
    alerts: &'static [(u64, u32)],
    /// The packets that die: from, up to.
    drops: &'static [(u64, u64)],
}

const ROW: Row = Row {
    what: "",
    frames: lines,
    settings: &[],
    rules: "",
    thresholds: "",
    alerts: &[],
    drops: &[],
};

fn lines() -> Vec<Vec<u8>> {
    talks::tcp(7777, TURNS)
}

/// Without its handshake.
fn midstream() -> Vec<Vec<u8>> {
    lines().split_off(3)
}

fn request() -> Vec<Vec<u8>> {
    let head: &[u8] = b"GET /bad HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let (start, rest) = head.split_at(7);
    let answer: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    talks::tcp(80, &[(true, start), (true, rest), (false, answer)])
}

fn datagrams() -> Vec<Vec<u8>> {
    let turns: [(bool, &[u8]); 5] = [
        (true, b"one"),
        (true, b"two"),
        (false, b"three"),
        (true, b"four"),
        (true, b"five"),
    ];
    talks::udp(9999, &turns)
}

const ROWS: &[Row] = &[
    Row {
        what: "a match in the stream takes the rest of the flow with it",
        rules: r#"drop tcp any any -> any any (content:"bad"; sid:1;)"#,
        alerts: &[(BAD, 1)],
        drops: &[(BAD, ALL)],
        ..ROW
    },
    Row {
        what: "the packet that completes a match dies",
        rules: r#"drop tcp any any -> any any (content:"good line|0a|then"; sid:1;)"#,
        alerts: &[(BAD, 1)],
        drops: &[(BAD, ALL)],
        ..ROW
    },
    Row {
        what: "a match on a packet takes that packet alone",
        rules: r#"drop tcp any any -> any any (dsize:16; content:"bad"; sid:1;)"#,
        alerts: &[(BAD, 1)],
        drops: &[(BAD, BAD + 1)],
        ..ROW
    },
    Row {
        what: "headers alone are a packet's",
        rules: "drop tcp any any -> any 7777 (flow:to_server; ttl:64; dsize:10; sid:1;)",
        alerts: &[(9, 1)],
        drops: &[(9, 10)],
        ..ROW
    },
    Row {
        what: "addresses alone are the flow's, told with the first packet of a direction",
        rules: "drop ip 10.0.0.2 any -> any any (sid:1;)",
        alerts: &[(0, 1)],
        drops: &[(0, ALL)],
        ..ROW
    },
    Row {
        what: "a transaction is the flow's",
        frames: request,
        rules: r#"drop http any any -> any any (http.uri; content:"/bad"; sid:1;)"#,
        alerts: &[(5, 1)],
        drops: &[(5, 12)],
        ..ROW
    },
    Row {
        what: "a protocol is the flow's",
        frames: request,
        rules: "drop http any any -> any any (sid:1;)",
        alerts: &[(3, 1)],
        drops: &[(3, 12)],
        ..ROW
    },
    Row {
        what: "a reject is a drop, with an answer",
        rules: r#"reject tcp any any -> any any (content:"bad"; sid:1;)"#,
        alerts: &[(BAD, 1)],
        drops: &[(BAD, ALL)],
        ..ROW
    },
    Row {
        what: "noalert keeps the action",
        rules: r#"drop tcp any any -> any any (content:"bad"; noalert; sid:1;)"#,
        drops: &[(BAD, ALL)],
        ..ROW
    },
    Row {
        what: "a drop does not hide an alert on the same packet",
        rules: concat!(
            r#"drop tcp any any -> any any (dsize:16; content:"bad"; sid:1;)"#,
            "\n",
            r#"alert tcp any any -> any any (dsize:16; content:"bad"; sid:2;)"#
        ),
        alerts: &[(BAD, 1), (BAD, 2)],
        drops: &[(BAD, BAD + 1)],
        ..ROW
    },
    Row {
        what: "pass comes first: it hides a drop of the same packet",
        rules: concat!(
            r#"drop tcp any any -> any any (dsize:16; content:"bad"; sid:1;)"#,
            "\n",
            r#"pass tcp any any -> any any (dsize:16; content:"bad"; sid:2;)"#
        ),
        ..ROW
    },
    Row {
        what: "pass in the stream is for the flow",
        rules: concat!(
            r#"drop tcp any any -> any any (content:"bad"; sid:1;)"#,
            "\n",
            r#"pass tcp any any -> any any (content:"good"; sid:2;)"#
        ),
        ..ROW
    },
    Row {
        what: "pass on a packet is for that packet",
        rules: concat!(
            r#"drop tcp any any -> any any (content:"bad"; sid:1;)"#,
            "\n",
            r#"pass tcp any any -> any any (dsize:16; content:"good"; sid:2;)"#
        ),
        alerts: &[(BAD, 1)],
        drops: &[(BAD, ALL)],
        ..ROW
    },
    Row {
        what: "a pass with a voice",
        rules: concat!(
            r#"drop tcp any any -> any any (dsize:16; content:"bad"; sid:1;)"#,
            "\n",
            r#"pass tcp any any -> any any (dsize:16; content:"bad"; alert; sid:2;)"#
        ),
        alerts: &[(BAD, 2)],
        ..ROW
    },
    Row {
        what: "drop first, by setting",
        settings: &[("action-order", "drop, pass, reject, alert")],
        rules: concat!(
            r#"drop tcp any any -> any any (dsize:16; content:"bad"; sid:1;)"#,
            "\n",
            r#"pass tcp any any -> any any (dsize:16; content:"bad"; sid:2;)"#
        ),
        alerts: &[(BAD, 1)],
        drops: &[(BAD, BAD + 1)],
        ..ROW
    },
    Row {
        what: "a limit on alerts is none on drops",
        frames: datagrams,
        rules: "drop udp any any -> any 9999 (flow:to_server; dsize:>0; \
                threshold:type limit,track by_src,count 1,seconds 60; sid:1;)",
        alerts: &[(0, 1)],
        drops: &[(0, 2), (3, 5)],
        ..ROW
    },
    Row {
        what: "below a threshold nothing is done, at it the packet dies",
        frames: datagrams,
        rules: "drop udp any any -> any 9999 (flow:to_server; dsize:>0; \
                threshold:type threshold,track by_src,count 3,seconds 60; sid:1;)",
        alerts: &[(3, 1)],
        drops: &[(3, 4)],
        ..ROW
    },
    Row {
        what: "above a detection filter",
        frames: datagrams,
        rules: "drop udp any any -> any 9999 (flow:to_server; dsize:>0; \
                detection_filter:track by_src,count 2,seconds 60; sid:1;)",
        alerts: &[(3, 1), (4, 1)],
        drops: &[(3, 5)],
        ..ROW
    },
    Row {
        what: "a rate filter makes drops of alerts",
        frames: datagrams,
        rules: "alert udp any any -> any 9999 (flow:to_server; dsize:>0; sid:1;)",
        thresholds: "rate_filter gen_id 1, sig_id 1, track by_src, count 2, seconds 60, \
                     new_action drop, timeout 60\n",
        alerts: &[(0, 1), (1, 1), (3, 1), (4, 1)],
        drops: &[(3, 5)],
        ..ROW
    },
    Row {
        what: "a suppressed rule still drops",
        frames: datagrams,
        rules: "drop udp any any -> any 9999 (flow:to_server; dsize:>0; sid:1;)",
        thresholds: "suppress gen_id 1, sig_id 1, track by_src, ip 10.0.0.2\n",
        drops: &[(0, 2), (3, 5)],
        ..ROW
    },
    Row {
        what: "what was not seen from its start is let through uninspected, if asked; its end is \
               invalid",
        frames: midstream,
        settings: &[("stream.midstream-policy", "ignore")],
        rules: r#"drop tcp any any -> any any (flow:established; content:"bad"; sid:1;)"#,
        drops: &[(8, 10)],
        ..ROW
    },
    Row {
        what: "what was not seen from its start is dropped by policy, for a flow to the end",
        frames: midstream,
        settings: &[("stream.midstream-policy", "drop-flow")],
        drops: &[(0, 11)],
        ..ROW
    },
    Row {
        what: "inline the policy of all areas is to drop",
        frames: midstream,
        settings: &[("exception-policy", "auto")],
        drops: &[(0, 11)],
        ..ROW
    },
    Row {
        what: "taken up in its middle it is inspected",
        frames: midstream,
        settings: &[("stream.midstream", "true")],
        rules: r#"drop tcp any any -> any any (content:"bad"; sid:1;)"#,
        alerts: &[(2, 1)],
        drops: &[(2, 11)],
        ..ROW
    },
    Row {
        what: "taken up in its middle and passed by policy it is not",
        frames: midstream,
        settings: &[
            ("stream.midstream", "true"),
            ("stream.midstream-policy", "pass-flow"),
        ],
        rules: r#"drop tcp any any -> any any (content:"bad"; sid:1;)"#,
        ..ROW
    },
    Row {
        what: "a bypassed flow is not looked at",
        rules: concat!(
            r#"alert tcp any any -> any any (content:"good"; bypass; sid:1;)"#,
            "\n",
            r#"drop tcp any any -> any any (content:"bad"; sid:2;)"#
        ),
        alerts: &[(3, 1)],
        ..ROW
    },
    Row {
        what: "an alert in the stream is told with each packet that still has it before it",
        rules: r#"alert tcp any any -> any any (content:"good"; sid:1;)"#,
        alerts: &[(3, 1), (BAD, 1), (9, 1)],
        ..ROW
    },
    Row {
        what: "a tagged bit of a flow is there for the next packet",
        rules: concat!(
            r#"alert tcp any any -> any any (content:"good"; flowbits:set,g; noalert; sid:1;)"#,
            "\n",
            "drop tcp any any -> any any (flowbits:isset,g; dsize:14; sid:2;)"
        ),
        alerts: &[(7, 2)],
        drops: &[(7, 8)],
        ..ROW
    },
    Row {
        what: "an action may say whose it is",
        rules: r#"drop:packet tcp any any -> any any (content:"bad"; sid:1;)"#,
        alerts: &[(BAD, 1)],
        drops: &[(BAD, BAD + 1)],
        ..ROW
    },
];

/// Alerts and drops of a row, each as packet and sid, and packets.
fn run(row: &Row, folder: &Path) -> (Vec<(u64, u32)>, Vec<u64>) {
    let capture = folder.join("talk.pcap");
    std::fs::write(&capture, talks::capture(&(row.frames)())).unwrap();
    let rules = folder.join("test.rules");
    std::fs::write(&rules, row.rules).unwrap();
    let thresholds: Option<PathBuf> = (!row.thresholds.is_empty()).then(|| {
        let path = folder.join("row.threshold");
        std::fs::write(&path, row.thresholds).unwrap();
        path
    });
    let mut config = small(Mode::Inline);
    for (key, value) in row.settings {
        config.set(key, value).unwrap();
    }
    let wanted = Wanted {
        files: vec![rules],
        ..Wanted::default()
    };
    let wanted = Wanted {
        thresholds,
        ..wanted.with(&config)
    };
    let loaded = load(&wanted).unwrap_or_else(|failure| panic!("{}: {}", row.what, failure.text));
    assert!(loaded.threshold_remarks.is_empty(), "{}", row.what);
    let options = Options {
        config,
        key: 5,
        ..Options::default()
    };
    let mut alerts = Vec::new();
    let mut drops = BTreeMap::new();
    for fact in facts(&[capture], options, &loaded).0 {
        match fact {
            Fact::Alert(packet, sid, _) => alerts.push((packet - 1, sid)),
            Fact::Drop(packet, reason) => {
                drops.insert(packet - 1, reason);
            }
            _ => {}
        }
    }
    alerts.sort_unstable();
    (alerts, drops.into_keys().collect())
}

#[test]
fn packets_die_as_rules_and_policies_say() {
    let folder = std::env::temp_dir().join(format!("sluice-ips-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut wrong = Vec::new();
    for row in ROWS {
        let (alerts, drops) = run(row, &folder);
        let expected: Vec<u64> = row.drops.iter().flat_map(|(from, to)| *from..*to).collect();
        if alerts != row.alerts || drops != expected {
            wrong.push(format!(
                "{}\n  alerts {alerts:?}, not {:?}\n  drops {drops:?}, not {expected:?}",
                row.what, row.alerts
            ));
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
