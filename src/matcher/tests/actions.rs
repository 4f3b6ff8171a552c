//! What hits mean: order, pass, drop, reject, scopes, modes, thresholds, flowbits and their kin.

use super::{Rig, Shot, piece, udp};
use crate::counters::Counter;
use crate::packet::{Context, RejectTo, Verdict, flag};
use crate::reason::Reason;

fn rule(action: &str, sid: u32, options: &str) -> String {
    format!("{action} udp any any -> any any (msg:\"r\"; {options} sid:{sid};)\n")
}

/// Rules by action and sid, all on the same content.
fn rules(list: &[(&str, u32)]) -> String {
    list.iter()
        .map(|(action, sid)| rule(action, *sid, r#"content:"abc";"#))
        .collect()
}

#[test]
fn the_table_of_arbitration() {
    let drop = Verdict::Drop(Reason::Rule);
    let reject = Verdict::Reject(Reason::RuleReject);
    type Case = (&'static [(&'static str, u32)], &'static [u32], Verdict);
    let cases: &[Case] = &[
        (&[("alert", 1)], &[1], Verdict::Forward),
        (&[("alert", 2), ("alert", 1)], &[1, 2], Verdict::Forward),
        (&[("drop", 1)], &[1], drop),
        (&[("drop", 1), ("alert", 2)], &[1, 2], drop),
        (&[("alert", 1), ("drop", 2)], &[2, 1], drop),
        (&[("pass", 1)], &[], Verdict::Forward),
        (&[("pass", 1), ("drop", 2)], &[], Verdict::Forward),
        (
            &[("drop", 1), ("pass", 2), ("alert", 3)],
            &[],
            Verdict::Forward,
        ),
        (&[("reject", 1)], &[1], reject),
        (&[("drop", 1), ("reject", 2)], &[1, 2], reject),
        (
            &[("reject", 1), ("alert", 2), ("drop", 3)],
            &[3, 1, 2],
            reject,
        ),
    ];
    for (list, sids, verdict) in cases {
        let outcome = Rig::inline(&rules(list)).send(udp(b"abc"));
        assert_eq!(outcome.sids, *sids, "{list:?}");
        assert_eq!(outcome.context.verdict, *verdict, "{list:?}");
        let tap = Rig::new(&rules(list)).send(udp(b"abc"));
        assert_eq!(tap.sids, *sids, "{list:?} in a tap");
        assert_eq!(tap.context.verdict, Verdict::Forward);
        let would = *verdict != Verdict::Forward;
        assert_eq!(tap.context.has(flag::WOULD_DROP), would, "{list:?}");
        assert_eq!(tap.context.would.is_some(), would);
    }
}

#[test]
fn alerts_say_whether_the_packet_was_blocked() {
    let list = rules(&[("drop", 1), ("reject", 2), ("alert", 3)]);
    let said = |mut rig: Rig| -> Vec<(u32, bool, bool)> {
        let events = rig.send(udp(b"abc")).events;
        events
            .iter()
            .map(|e| (e.sid, e.blocked, e.would_drop))
            .collect()
    };
    let inline = [(1, true, false), (2, true, false), (3, false, false)];
    assert_eq!(said(Rig::inline(&list)), inline);
    let tap = [(1, false, true), (2, true, true), (3, false, false)];
    assert_eq!(said(Rig::new(&list)), tap);
}

#[test]
fn a_reject_says_whom_it_answers() {
    for (action, to) in [
        ("reject", RejectTo::Source),
        ("rejectsrc", RejectTo::Source),
        ("rejectdst", RejectTo::Destination),
        ("rejectboth", RejectTo::Both),
    ] {
        let outcome = Rig::inline(&rules(&[(action, 1)])).send(udp(b"abc"));
        assert_eq!(outcome.context.reject_to, to, "{action}");
        assert_eq!(outcome.context.signature, 0);
    }
}

#[test]
fn the_class_says_whether_packet_or_flow_is_hit() {
    // On a packet: the next one goes on.
    let mut rig = Rig::inline(&rule("drop", 1, r#"content:"abc";"#));
    assert_eq!(
        rig.send(udp(b"abc")).context.verdict,
        Verdict::Drop(Reason::Rule)
    );
    assert_eq!(rig.send(udp(b"xyz")).context.verdict, Verdict::Forward);
    // In a stream: the flow is condemned.
    let in_stream = r#"drop tcp any any -> any any (msg:"r"; content:"abc"; sid:1;)"#;
    let mut rig = Rig::inline(in_stream);
    let hit = rig.send(piece(b"abc", 0));
    assert_eq!(hit.context.verdict, Verdict::Drop(Reason::Rule));
    assert!(hit.context.has(flag::DROP_FLOW | flag::ALERTED));
    let next = rig.send(piece(b"abc", 3));
    assert_eq!(next.context.verdict, Verdict::Drop(Reason::RuleFlow));
    assert!(next.sids.is_empty() && next.context.has(flag::ALERTED));
    let other = rig.send(Shot {
        flow: 2,
        ..piece(b"xyz", 0)
    });
    assert_eq!(other.context.verdict, Verdict::Forward);
    // In a tap the same flow would be gone.
    let mut rig = Rig::new(in_stream);
    rig.send(piece(b"abc", 0));
    let next = rig.send(piece(b"abc", 3)).context;
    assert_eq!(
        (next.verdict, next.would),
        (Verdict::Forward, Some(Reason::RuleFlow))
    );
    assert!(!next.has(flag::DROP_FLOW));
    // Addresses alone: the flow.
    let mut rig = Rig::inline(r#"drop ip 10.0.0.1 any -> any any (msg:"r"; sid:1;)"#);
    let first = Shot {
        flags: flag::FIRST_OF_DIRECTION,
        ..udp(b"a")
    };
    assert!(rig.send(first).context.has(flag::DROP_FLOW));
    let next = rig.send(udp(b"a")).context;
    assert_eq!(next.verdict, Verdict::Drop(Reason::RuleFlow));
}

#[test]
fn a_pass_in_the_stream_lets_the_rest_of_the_flow_go() {
    let rules = concat!(
        "pass tcp any any -> any any (msg:\"p\"; content:\"good\"; sid:1;)\n",
        "drop tcp any any -> any any (msg:\"d\"; content:\"bad\"; sid:2;)\n",
    );
    let mut rig = Rig::inline(rules);
    assert!(rig.sids(piece(b"good", 0)).is_empty());
    assert_eq!(rig.send(piece(b"bad", 4)).context.verdict, Verdict::Forward);
    // On a packet it lets that packet go, no more.
    let mut rig = Rig::inline(&rules.replace("tcp", "udp"));
    assert_eq!(rig.send(udp(b"good bad")).context.verdict, Verdict::Forward);
    assert_eq!(rig.send(udp(b"bad")).sids, [2]);
}

#[test]
fn a_rule_may_say_whether_its_action_is_the_packets_or_the_flows() {
    // On a packet, for the flow.
    let mut rig = Rig::inline(&rule("drop:flow", 1, r#"content:"abc";"#));
    assert!(rig.send(udp(b"abc")).context.has(flag::DROP_FLOW));
    let next = rig.send(udp(b"xyz")).context;
    assert_eq!(next.verdict, Verdict::Drop(Reason::RuleFlow));
    // In the stream, for the packet.
    let mut rig = Rig::inline(r#"drop:packet tcp any any -> any any (content:"abc"; sid:1;)"#);
    let hit = rig.send(piece(b"abc", 0)).context;
    assert_eq!(hit.verdict, Verdict::Drop(Reason::Rule));
    assert!(!hit.has(flag::DROP_FLOW));
    assert_eq!(rig.send(piece(b"xyz", 3)).context.verdict, Verdict::Forward);
    // A pass for the whole flow, on its first packet.
    let rules = [
        rule("pass:flow", 1, r#"content:"good";"#),
        rule("drop", 2, r#"content:"bad";"#),
    ];
    let mut rig = Rig::inline(&rules.concat());
    rig.send(udp(b"good"));
    assert_eq!(rig.send(udp(b"bad")).context.verdict, Verdict::Forward);
}

#[test]
fn bytes_on_a_syn_decide_about_that_packet_alone() {
    let syn = |fast_open: bool| Shot {
        flags: 0,
        frame: match fast_open {
            false => |frame: &mut Vec<u8>| frame[47] = 2,
            true => |frame: &mut Vec<u8>| {
                // Fast Open's request (RFC 7413 section 2) and padding.
                (frame[46], frame[47]) = (0x60, 2);
                frame.splice(54..54, [34, 2, 1, 1]);
            },
        },
        context: match fast_open {
            false => |_| (),
            true => |context: &mut Context| context.payload = 58,
        },
        ..piece(b"good bad", 0)
    };
    let drop = r#"drop tcp any any -> any any (msg:"d"; content:"bad"; sid:2;)"#;
    let mut rig = Rig::inline(drop);
    let first = rig.send(syn(false)).context;
    assert_eq!(first.verdict, Verdict::Drop(Reason::Rule));
    assert!(!first.has(flag::DROP_FLOW));
    assert_eq!(rig.send(piece(b"xyz", 8)).context.verdict, Verdict::Forward);
    // Fast Open: they are the stream's.
    let mut rig = Rig::inline(drop);
    assert!(rig.send(syn(true)).context.has(flag::DROP_FLOW));
    // A pass is as far-reaching as a drop.
    let rules = format!("pass tcp any any -> any any (content:\"good\"; sid:1;)\n{drop}");
    let mut rig = Rig::inline(&rules);
    let passed = Shot {
        payload: b"good".to_vec(),
        ..syn(false)
    };
    assert!(rig.sids(passed).is_empty());
    assert_eq!(rig.sids(piece(b"bad", 4)), [2]);
}

#[test]
fn noalert_keeps_the_action_and_alert_gives_a_pass_its_voice() {
    let mut rig = Rig::inline(&rule("drop", 1, r#"content:"abc"; noalert;"#));
    let outcome = rig.send(udp(b"abc"));
    assert!(outcome.sids.is_empty() && !outcome.context.has(flag::ALERTED));
    assert_eq!(outcome.context.verdict, Verdict::Drop(Reason::Rule));
    let mut rig = Rig::inline(&rule("pass", 1, r#"content:"abc"; alert;"#));
    assert_eq!(rig.sids(udp(b"abc")), [1]);
    let mut rig = Rig::inline(&rule("alert", 1, r#"content:"abc"; noalert; alert;"#));
    assert_eq!(rig.sids(udp(b"abc")), [1], "the last holds");
    let mut rig = Rig::inline(&rule("alert", 1, r#"content:"abc"; alert; noalert;"#));
    assert!(rig.sids(udp(b"abc")).is_empty());
}

#[test]
fn bypass_marks_the_flow_for_later_packets() {
    let mut rig = Rig::new(&rule("alert", 1, r#"content:"abc"; bypass;"#));
    assert_eq!(rig.sids(udp(b"abc")), [1]);
    let next = rig.send(udp(b"abc"));
    assert!(next.sids.is_empty() && next.context.has(flag::BYPASS));
    let other = Shot {
        flow: 2,
        ..udp(b"abc")
    };
    assert_eq!(rig.sids(other), [1]);
}

#[test]
fn a_packet_gives_fifteen_alerts_and_counts_the_others() {
    let many: Vec<(&str, u32)> = (1..=20).map(|sid| ("alert", sid)).collect();
    let mut rig = Rig::new(&rules(&many));
    assert_eq!(rig.sids(udp(b"abc")).len(), 15);
    assert_eq!(rig.count(Counter::AlertsQueueFull), 5);
    assert_eq!(rig.count(Counter::SignatureHits), 20);
}

#[test]
fn thresholds_silence_alerts_and_keep_or_take_actions() {
    let limited = r#"content:"abc"; threshold:type limit,track by_src,count 1,seconds 60;"#;
    let mut rig = Rig::inline(&rule("drop", 1, limited));
    assert_eq!(rig.sids(udp(b"abc")), [1]);
    let second = rig.send(udp(b"abc"));
    assert!(second.sids.is_empty());
    assert_eq!(
        second.context.verdict,
        Verdict::Drop(Reason::Rule),
        "silent, and acts"
    );
    let filtered = r#"content:"abc"; detection_filter:track by_src,count 2,seconds 60;"#;
    let mut rig = Rig::inline(&rule("drop", 1, filtered));
    let verdicts: Vec<Verdict> = (0..4)
        .map(|_| rig.send(udp(b"abc")).context.verdict)
        .collect();
    let drop = Verdict::Drop(Reason::Rule);
    assert_eq!(verdicts, [Verdict::Forward, Verdict::Forward, drop, drop]);
    assert_eq!(rig.count(Counter::AlertsThreshold), 2);
}

#[test]
fn flowbits_are_set_before_they_are_read_and_die_with_the_flow() {
    let list = [
        rule("alert", 1, r#"content:"read"; flowbits:isset,seen;"#),
        rule(
            "alert",
            2,
            r#"content:"set"; flowbits:set,seen; flowbits:noalert;"#,
        ),
        rule(
            "alert",
            3,
            r#"content:"unset"; flowbits:unset,seen; noalert;"#,
        ),
        rule("alert", 4, r#"content:"none"; flowbits:isnotset,seen;"#),
        rule(
            "alert",
            5,
            r#"content:"either"; flowbits:isset,other|seen;"#,
        ),
        rule(
            "alert",
            6,
            r#"content:"turn"; flowbits:toggle,seen; noalert;"#,
        ),
        rule(
            "alert",
            7,
            r#"content:"some"; flowbits:isnotset,other|seen;"#,
        ),
    ]
    .concat();
    let mut rig = Rig::new(&list);
    assert!(rig.sids(udp(b"read")).is_empty());
    assert_eq!(rig.sids(udp(b"none")), [4]);
    assert_eq!(rig.sids(udp(b"set read")), [1], "in the same packet");
    assert_eq!(rig.sids(udp(b"read").reply()), [1], "in both directions");
    assert_eq!(rig.sids(udp(b"either")), [5]);
    assert_eq!(rig.sids(udp(b"some")), [7], "one of them is not set");
    let alone = Shot {
        flow: 0,
        ..udp(b"some none")
    };
    assert!(rig.sids(alone).is_empty(), "no flow has no bits");
    assert!(rig.sids(udp(b"none")).is_empty());
    assert!(rig.sids(udp(b"turn")).is_empty());
    assert_eq!(rig.sids(udp(b"none")), [4]);
    assert!(rig.sids(udp(b"turn")).is_empty());
    assert_eq!(rig.sids(udp(b"read")), [1]);
    let other = Shot {
        flow: 2,
        ..udp(b"read")
    };
    assert!(rig.sids(other).is_empty());
    let held = rig.stage.available().0;
    assert!(held < 8);
    rig.end(1);
    assert_eq!(rig.stage.available().0, held + 1);
}

#[test]
fn flowints_count_and_compare() {
    let list = [
        rule(
            "alert",
            1,
            r#"content:"login"; flowint:tries,notset; flowint:tries,=,1; noalert;"#,
        ),
        rule(
            "alert",
            2,
            r#"content:"login"; flowint:tries,isset; flowint:tries,+,1; noalert;"#,
        ),
        rule("alert", 3, r#"content:"login"; flowint:tries,>,3;"#),
        rule("alert", 4, r#"content:"never"; flowint:tries,>,unknown;"#),
        rule("alert", 5, r#"content:"never"; flowint:unknown,<,tries;"#),
    ]
    .concat();
    let mut rig = Rig::new(&list);
    let found: Vec<usize> = (0..5).map(|_| rig.sids(udp(b"login")).len()).collect();
    assert_eq!(found, [0, 0, 1, 1, 1], "the first packet sets and adds");
    assert_eq!(
        rig.sids(udp(b"never")),
        [4],
        "what was never set counts as 0"
    );
}

#[test]
fn xbits_reach_across_flows() {
    let list = [
        rule(
            "alert",
            1,
            r#"content:"set"; xbits:set,bad,track ip_src,expire 10; noalert;"#,
        ),
        rule(
            "alert",
            2,
            r#"content:"read"; xbits:isset,bad,track ip_src;"#,
        ),
        rule(
            "alert",
            3,
            r#"content:"reply"; xbits:isset,bad,track ip_dst;"#,
        ),
    ]
    .concat();
    let mut rig = Rig::new(&list);
    let at = |payload: &[u8], flow, seconds| Shot {
        flow,
        seconds,
        ..udp(payload)
    };
    assert!(rig.sids(at(b"read", 1, 100)).is_empty());
    assert!(rig.sids(at(b"set", 1, 100)).is_empty());
    assert_eq!(rig.sids(at(b"read", 2, 105)), [2]);
    assert_eq!(rig.sids(at(b"reply", 2, 106).reply()), [3]);
    assert!(rig.sids(at(b"read", 3, 120)).is_empty(), "it expired");
}

#[test]
fn a_spent_budget_is_counted_and_ends_the_packet_only() {
    let slow = r#"content:"a"; content:"a"; distance:0; content:"a"; distance:0; content:"b"; distance:0;"#;
    let mut rig = Rig::with(&rule("alert", 1, slow), |config| {
        config.recursion_limit = 3000
    });
    let mut long = vec![b'b'];
    long.extend([b'a'; 1000]);
    assert!(rig.sids(udp(&long)).is_empty());
    rig.sids(udp(b"x"));
    assert_eq!(rig.count(Counter::VerifyBudget), 1);
    assert_eq!(rig.sids(udp(b"aaab")), [1]);
}

#[test]
fn lanes_wait_for_their_turn_only_where_they_share() {
    use std::sync::{Arc, Mutex};
    struct Note(Arc<Mutex<Vec<u64>>>);
    impl super::super::Turn for Note {
        fn wait_turn(&mut self, order: u64) {
            self.0.lock().unwrap().push(order);
        }
    }
    let list = [
        rule("alert", 1, r#"content:"free";"#),
        rule(
            "alert",
            2,
            r#"content:"abc"; threshold:type limit,track by_src,count 1,seconds 60;"#,
        ),
    ]
    .concat();
    let mut rig = Rig::new(&list);
    let waited = Arc::new(Mutex::new(Vec::new()));
    rig.stage.set_turn(Box::new(Note(Arc::clone(&waited))));
    for (payload, context) in [
        (
            &b"free"[..],
            (|c| c.order = 1) as fn(&mut crate::packet::Context),
        ),
        (b"abc", |c| c.order = 2),
        (b"nothing", |c| c.order = 3),
    ] {
        let mut shot = udp(payload);
        shot.context = context;
        rig.send(shot);
    }
    assert_eq!(*waited.lock().unwrap(), [2]);
}

#[test]
fn a_dead_stage_gives_back_what_flows_hold() {
    let mut rig = Rig::new(
        r#"alert tcp any any -> any any (msg:"r"; content:"abc"; flowbits:set,x; sid:1;)"#,
    );
    for flow in 1..=8 {
        let shot = Shot {
            flow,
            ..piece(b"abc", 0)
        };
        assert_eq!(rig.sids(shot), [1]);
        let back = Shot {
            flow,
            ..piece(b"abc", 0).reply()
        };
        assert_eq!(rig.sids(back), [1]);
    }
    assert_eq!(rig.stage.available(), (0, 0));
    for flow in 1..=8 {
        rig.end(flow);
    }
    assert_eq!(rig.stage.available(), (8, 16));
    assert_eq!(rig.count(Counter::DetectionStateLost), 0);
}

#[test]
fn a_set_remembers_what_rules_put_in() {
    let rules = r#"
alert udp any any -> any any (msg:"new"; udp.hdr; dataset:set,heads,type string; sid:1;)
alert udp any any -> any any (msg:"known"; udp.hdr; dataset:isset,heads; sid:2;)
alert udp any any -> any any (msg:"other"; udp.hdr; dataset:isnotset,others,type string; sid:3;)
"#;
    let mut rig = Rig::new(rules);
    assert_eq!(rig.sids(udp(b"abc")), [1, 2, 3]);
    assert_eq!(
        rig.sids(udp(b"xyz")),
        [2, 3],
        "the header is in the set already"
    );
    assert_eq!(rig.sids(udp(b"longer")), [1, 2, 3]);
}
