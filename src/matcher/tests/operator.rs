//! What the operator says about rules and their events: action order, threshold file, tags, the
//! policy for spent budgets, drop events once per flow.

use super::{Rig, Shot, operated, piece, udp};
use crate::config::{Area, Choice, Mode, Policy};
use crate::counters::Counter;
use crate::packet::{RejectTo, Verdict, flag};
use crate::reason::Reason;
use crate::rules::load::ACTION_RANKS;

const DROP: Verdict = Verdict::Drop(Reason::Rule);

fn inline(rules: &str, ranks: [u8; 4], thresholds: &str) -> Rig {
    Rig::of(operated(rules, ranks, thresholds), |config| {
        config.mode = Mode::Inline;
    })
}

fn at(second: u64, payload: &[u8]) -> Shot {
    Shot {
        seconds: second,
        ..udp(payload)
    }
}

fn rule(action: &str, sid: u32) -> String {
    format!("{action} udp any any -> any any (msg:\"r\"; content:\"abc\"; sid:{sid};)\n")
}

#[test]
fn the_order_of_actions_is_the_operators() {
    let rules = rule("alert", 1) + &rule("pass", 2) + &rule("drop", 3) + &rule("reject", 4);
    let reject = Verdict::Reject(Reason::RuleReject);
    // Ranks of pass, drop, reject, alert.
    let cases: &[([u8; 4], &[u32], Verdict)] = &[
        (ACTION_RANKS, &[], Verdict::Forward),
        ([1, 0, 2, 3], &[3], DROP),
        ([3, 1, 2, 0], &[1, 3, 4], reject),
        ([1, 2, 3, 0], &[1], Verdict::Forward),
        ([2, 1, 0, 3], &[4, 3], reject),
    ];
    for (ranks, sids, verdict) in cases {
        let outcome = inline(&rules, *ranks, "").send(udp(b"abc"));
        assert_eq!(outcome.sids, *sids, "{ranks:?}");
        assert_eq!(outcome.context.verdict, *verdict, "{ranks:?}");
    }
}

#[test]
fn suppression_takes_the_alert_and_leaves_the_action() {
    let suppress = "suppress gen_id 1, sig_id 1, track by_src, ip ";
    for (ip, sids) in [("10.0.0.0/8", &[][..]), ("192.168.0.1", &[1])] {
        let mut rig = inline(&rule("drop", 1), ACTION_RANKS, &format!("{suppress}{ip}"));
        let outcome = rig.send(udp(b"abc"));
        assert_eq!(
            (outcome.sids.as_slice(), outcome.context.verdict),
            (sids, DROP)
        );
        let silenced = u64::from(sids.is_empty());
        assert_eq!(rig.count(Counter::AlertsSuppressed), silenced);
    }
    let mut rig = inline(
        &rule("drop", 1),
        ACTION_RANKS,
        "suppress gen_id 1, sig_id 1",
    );
    let outcome = rig.send(udp(b"abc"));
    assert_eq!((outcome.sids.len(), outcome.context.verdict), (0, DROP));
}

#[test]
fn a_rate_filter_changes_the_action_for_a_time() {
    let filter = "rate_filter gen_id 1, sig_id 1, track by_src, count 2, seconds 10, \
                  timeout 5, new_action ";
    for (action, verdict, alerts) in [
        ("drop", DROP, true),
        ("reject", Verdict::Reject(Reason::RuleReject), true),
        ("pass", Verdict::Forward, false),
    ] {
        let mut rig = inline(
            &rule("alert", 1),
            ACTION_RANKS,
            &format!("{filter}{action}"),
        );
        for second in [0, 1] {
            let before = rig.send(at(second, b"abc"));
            assert_eq!(before.context.verdict, Verdict::Forward, "{action}");
        }
        for second in [2, 7] {
            let during = rig.send(at(second, b"abc"));
            assert_eq!(during.context.verdict, verdict, "{action}");
            assert_eq!(!during.sids.is_empty(), alerts, "{action}");
            let blocked = during.events.iter().all(|event| event.blocked);
            assert!(blocked, "{action}");
        }
        let after = rig.send(at(8, b"abc"));
        assert_eq!(after.context.verdict, Verdict::Forward, "{action}");
    }
}

#[test]
fn a_threshold_of_the_file_replaces_the_rules_own() {
    let own = "alert udp any any -> any any (msg:\"r\"; content:\"abc\"; \
               threshold:type threshold,track by_src,count 5,seconds 60; sid:1;)";
    let other = "threshold gen_id 1, sig_id 1, type limit, track by_src, count 2, seconds 60";
    let mut rig = inline(own, ACTION_RANKS, other);
    let told: Vec<usize> = (0..4).map(|s| rig.send(at(s, b"abc")).sids.len()).collect();
    assert_eq!(told, [1, 1, 0, 0]);
}

#[test]
fn tags_take_the_packets_that_follow() {
    let rules = |tag: &str| {
        format!("alert udp any any -> any any (msg:\"t\"; content:\"abc\"; tag:{tag}; sid:1;)")
    };
    // By the flow: its packets and no others'.
    let mut rig = Rig::new(&rules("session,3,packets"));
    let tagged = |rig: &mut Rig, shot: Shot| rig.send(shot).context.has(flag::TAGGED);
    assert!(!tagged(&mut rig, udp(b"nothing yet")));
    assert!(
        !tagged(&mut rig, udp(b"abc")),
        "the alert tells of that one"
    );
    let other = Shot {
        flow: 2,
        ..udp(b"another flow")
    };
    assert!(!tagged(&mut rig, other));
    let told: Vec<bool> = (0..4).map(|_| tagged(&mut rig, udp(b"more"))).collect();
    assert_eq!(told, [true, true, false, false]);
    // By the host: packets of another flow of that host, for ten seconds.
    let mut rig = Rig::new(&rules("host,10,seconds,src"));
    assert!(!tagged(&mut rig, at(1, b"abc")));
    for (second, expected) in [(5, true), (11, true), (12, false), (5, false)] {
        let other = Shot {
            flow: 2,
            ..at(second, b"another flow")
        };
        assert_eq!(tagged(&mut rig, other), expected, "second {second}");
    }
    // An alert that a threshold keeps silent tags, too (Suricata's `PacketAlertFinalize`).
    let limited = rules("session,9,packets").replace(
        "tag:",
        "threshold:type limit,track by_src,count 1,seconds 60; tag:",
    );
    let mut rig = Rig::new(&limited);
    rig.send(udp(b"abc"));
    let other = |payload| Shot {
        flow: 2,
        ..udp(payload)
    };
    let silent = rig.send(other(b"abc"));
    assert!(silent.sids.is_empty());
    assert!(tagged(&mut rig, other(b"more")));
    // A flow that ended takes its tag along.
    let mut rig = Rig::new(&rules("session"));
    rig.send(udp(b"abc"));
    rig.end(1);
    assert!(!tagged(&mut rig, udp(b"abc again")));
}

#[test]
fn a_spent_budget_has_its_policy() {
    let rules = "alert udp any any -> any any (msg:\"b\"; content:\"a\"; content:\"b\"; within:1; \
                 sid:1;)";
    let cases = [
        (Policy::Ignore, Verdict::Forward, Verdict::Forward),
        (Policy::PassFlow, Verdict::Forward, Verdict::Forward),
        (
            Policy::DropPacket,
            Verdict::Drop(Reason::MatchBudget),
            Verdict::Forward,
        ),
        (
            Policy::DropFlow,
            Verdict::Drop(Reason::MatchBudget),
            Verdict::Drop(Reason::RuleFlow),
        ),
        (
            Policy::RejectBoth,
            Verdict::Reject(Reason::MatchBudget),
            Verdict::Drop(Reason::RuleFlow),
        ),
    ];
    for (policy, first, next) in cases {
        let mut rig = Rig::with(rules, |config| {
            config.mode = Mode::Inline;
            config.verify_steps_max = 10;
            config.policies.set(Area::MatchBudget, Choice::Is(policy));
        });
        let spent = rig.send(udp(b"aaaaaaaaaaaaaaaaaaaa-b")).context;
        assert_eq!(spent.verdict, first, "{policy:?}");
        if policy == Policy::RejectBoth {
            assert_eq!(spent.reject_to, RejectTo::Both);
        }
        assert_eq!(rig.send(udp(b"short")).context.verdict, next, "{policy:?}");
        let applied = u64::from(policy != Policy::Ignore);
        assert_eq!(rig.count(Counter::ExceptionsMatchBudget), applied);
    }
}

#[test]
fn the_drop_of_a_flow_is_told_once_per_direction_on_request() {
    let rules = r#"drop tcp any any -> any any (msg:"r"; content:"abc"; sid:1;)"#;
    for (start, later) in [(false, false), (true, true)] {
        let mut rig = Rig::with(rules, |config| {
            config.mode = Mode::Inline;
            config.eve.drops_start = start;
        });
        let hit = rig.send(piece(b"abc", 0)).context;
        assert!(!hit.has(flag::DROP_TOLD));
        for _ in 0..2 {
            let next = rig.send(piece(b"more", 3)).context;
            assert_eq!(next.verdict, Verdict::Drop(Reason::RuleFlow));
            assert_eq!(next.has(flag::DROP_TOLD), later);
        }
        let back = |rig: &mut Rig| {
            let answer = Shot {
                direction: crate::packet::Direction::ToClient,
                ..piece(b"answer", 0)
            };
            rig.send(answer).context.has(flag::DROP_TOLD)
        };
        assert!(!back(&mut rig), "the other direction is told of once too");
        assert_eq!(back(&mut rig), later);
    }
}

#[test]
fn what_flows_speak_is_counted_with_rules_and_without() {
    use crate::app::AppProtocol;
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let unknown = || udp(&[0xAA; 64]);
    let rule = "alert ip any any -> any any (msg:\"a\"; content:\"never\"; sid:1;)\n";
    for rules in ["", rule] {
        let mut rig = Rig::with(rules, |config| config.app_records = true);
        rig.send(piece(request, 0));
        rig.send(piece(request, request.len() as u32));
        for _ in 0..3 {
            rig.send(Shot {
                flow: 2,
                ..unknown()
            });
        }
        rig.send(Shot {
            flow: 2,
            ..unknown().reply()
        });
        let of = |app: AppProtocol, tcp| rig.emit.counters.apps(app as u8, tcp);
        assert_eq!(of(AppProtocol::Http, true), [1, 2], "{rules}");
        assert_eq!(of(AppProtocol::Failed, false), [1, 0], "{rules}");
    }
}
