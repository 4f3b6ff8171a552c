//! Streams: the same bytes give the same signatures for any cut, and windows are given back.

use proptest::prelude::*;
use std::collections::BTreeSet;

use super::{Rig, Shot, piece, tcp};
use crate::counters::Counter;
use crate::matcher::window::{BLOCK, CHUNK, SIZE};
use crate::packet::{Kind, flag};

fn stream_rules() -> String {
    let options = [
        r#"content:"alpha";"#,
        r#"content:"Alpha"; nocase;"#,
        r#"content:"alpha"; content:"beta"; distance:0;"#,
        r#"content:"alpha"; content:"beta"; within:12;"#,
        r#"content:"beta"; content:"alpha"; distance:0;"#,
        r#"content:"alpha"; content:!"beta";"#,
        r#"content:"alpha"; content:!"beta"; within:8;"#,
        r#"content:"gamma"; isdataat:!1,relative;"#,
        r#"content:"gamma"; endswith;"#,
        r#"content:"alpha"; isdataat:20,relative;"#,
        r#"content:"beta"; pcre:"/^\s+\w/R";"#,
        r#"pcre:"/al.ha\s+be/";"#,
        r#"content:!"delta";"#,
        r#"content:"alpha"; byte_test:1,>,65,1,relative;"#,
        r#"content:"gamma"; content:"alpha"; distance:-300; content:"beta"; within:300;"#,
    ];
    let rule = |(n, options): (usize, &&str)| {
        let sid = n + 1;
        format!(
            "alert tcp any any -> any any (msg:\"s\"; flow:established,to_server; {options} sid:{sid};)\n"
        )
    };
    options.iter().enumerate().map(rule).collect()
}

/// Signatures that the stream gives when cut at these places.
fn sids(rig: &mut Rig, flow: u32, stream: &[u8], cuts: &[usize]) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    cuts.extend([0, stream.len()]);
    cuts.sort_unstable();
    cuts.dedup();
    for ends in cuts.windows(2) {
        let mut shot = piece(&stream[ends[0]..ends[1]], ends[0] as u32);
        shot.flow = flow;
        if ends[1] == stream.len() {
            shot.flags |= flag::STREAM_END;
        }
        found.extend(rig.sids(shot));
    }
    found.extend(rig.end(flow).sids);
    found
}

fn words() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        Just("alpha"),
        Just("beta"),
        Just("gamma"),
        Just("delta"),
        Just(" "),
        Just("xyzxyz"),
        Just("ALPHA "),
    ];
    proptest::collection::vec(word, 1..14).prop_map(|words| words.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn a_stream_means_the_same_however_it_is_cut(
        stream in words(),
        fill in prop_oneof![Just(0usize), 0..3 * BLOCK],
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
    ) {
        let mut bytes = vec![b'.'; fill];
        bytes.extend(&stream);
        let mut rig = Rig::new(&stream_rules());
        let whole = sids(&mut rig, 1, &bytes, &[]);
        let parts = sids(&mut rig, 2, &bytes, &cuts);
        prop_assert_eq!(&whole, &parts, "cut at random");
        let each: Vec<usize> = (fill..bytes.len()).collect();
        let single = sids(&mut rig, 3, &bytes, &each);
        prop_assert_eq!(&whole, &single, "cut after each byte");
        prop_assert_eq!(rig.stage.available(), (8, 16));
    }
}

#[test]
fn every_cut_of_a_payload_gives_the_same_signatures() {
    let stream = b"xx alpha beta yy gamma delta ALPHA  beta z gamma";
    let mut rig = Rig::new(&stream_rules());
    let whole = sids(&mut rig, 1, stream, &[]);
    assert!(whole.len() >= 9, "{whole:?}");
    for first in 0..stream.len() {
        for second in first..stream.len() {
            let parts = sids(&mut rig, 2, stream, &[first, second]);
            assert_eq!(whole, parts, "cut at {first} and {second}");
        }
    }
}

#[test]
fn a_match_across_windows_is_found_and_old_bytes_do_not_match_again() {
    let mut rig = Rig::new(
        r#"alert tcp any any -> any any (msg:"s"; content:"alpha"; content:"omega"; distance:0; sid:1;)"#,
    );
    let mut stream = vec![b'.'; SIZE - 100];
    stream.extend(b"alpha");
    stream.resize(SIZE + BLOCK - 200, b'-');
    stream.extend(b"omega");
    let mut found = Vec::new();
    for (n, part) in stream.chunks(1000).enumerate() {
        found.extend(rig.sids(piece(part, 1000 * n as u32)));
    }
    assert_eq!(found, [1]);
    // More bytes, and a lone half of the match: nothing new.
    let end = stream.len() as u32;
    assert!(rig.sids(piece(b"more", end)).is_empty());
    assert!(rig.sids(piece(b"omega", end + 4)).is_empty());
    // A second match in the same chunk says nothing new; one in the next chunk alerts once more.
    assert!(rig.sids(piece(b"alpha omega", end + 9)).is_empty());
    let next = (u64::from(end) + 20).next_multiple_of(CHUNK) as u32;
    let fill = vec![b'.'; (next - end - 20) as usize];
    assert!(rig.sids(piece(&fill, end + 20)).is_empty());
    assert_eq!(rig.sids(piece(b"alpha omega", next)), [1]);
}

#[test]
fn inline_each_packet_alerts_that_finds_the_match_within_the_last_chunk() {
    let rules = concat!(
        r#"alert tcp any any -> any any (msg:"s"; content:"alpha"; content:"omega"; distance:0; sid:1;)"#,
        "\n",
        r#"alert tcp any any -> any any (msg:"other side"; flow:to_client; content:"alpha"; sid:2;)"#,
    );
    let mut rig = Rig::inline(rules);
    assert!(rig.sids(piece(b"alpha ", 0)).is_empty());
    assert_eq!(rig.sids(piece(b"omega", 6)), [1]);
    assert_eq!(rig.sids(piece(b".", 11)), [1], "with the next packet");
    let mut reply = piece(b"alpha", 0).reply();
    assert_eq!(rig.sids(reply.clone()), [2], "its own window");
    // Bytes that waited behind a hole are no packet of their own.
    let waited = Shot {
        kind: Kind::Stream,
        ..piece(b"..", 12)
    };
    assert!(rig.sids(waited).is_empty());
    let fill = CHUNK as usize - 14;
    assert_eq!(rig.sids(piece(&vec![b'.'; fill], 14)), [1], "just within");
    assert!(rig.sids(piece(b".", CHUNK as u32)).is_empty(), "and out");
    assert!(rig.sids(piece(b"omega", CHUNK as u32 + 1)).is_empty());
    reply = piece(b"alpha", 5).reply();
    assert_eq!(rig.sids(reply), [2]);
    // A packet longer than the window sees itself and a third of the window more.
    let mut rig = Rig::inline(rules);
    assert_eq!(rig.sids(piece(b"alpha omega", 0)), [1]);
    let long = vec![b'.'; 2 * CHUNK as usize];
    assert_eq!(rig.sids(piece(&long, 11)), [1]);
    assert!(rig.sids(piece(&long, 11 + 2 * CHUNK as u32)).is_empty());
    let mut rig = Rig::inline(rules);
    assert_eq!(rig.sids(piece(b"alpha omega", 0)), [1]);
    let third = CHUNK as usize / 3;
    assert_eq!(rig.sids(piece(&long[..third], 11)), [1]);
    assert!(rig.sids(piece(&long, 11 + third as u32)).is_empty());
    // A tap does not slide.
    let mut rig = Rig::new(rules);
    assert_eq!(rig.sids(piece(b"alpha omega", 0)), [1]);
    assert!(rig.sids(piece(b".", 11)).is_empty());
}

#[test]
fn what_may_be_contradicted_waits_for_the_end_of_the_turn() {
    let rule =
        r#"alert tcp any any -> any any (msg:"s"; content:"GET"; content:!"Referer"; sid:1;)"#;
    let mut rig = Rig::new(rule);
    assert!(rig.sids(piece(b"GET / HTTP/1.1\r\n", 0)).is_empty());
    let told = rig.send(piece(b"HTTP/1.1 200 OK\r\n", 0).reply()).events;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].direction, crate::packet::Direction::ToServer);
    assert!(told[0].stream);
    assert_eq!(told[0].payload, b"GET / HTTP/1.1\r\n");
    // The next turn begins anew, and this time the header follows.
    assert!(rig.sids(piece(b"GET /x HTTP/1.1\r\n", 16)).is_empty());
    assert!(rig.sids(piece(b"Referer: y\r\n\r\n", 33)).is_empty());
    assert!(
        rig.sids(piece(b"HTTP/1.1 200 OK\r\n", 17).reply())
            .is_empty()
    );
    // Without an answer the end of the flow decides.
    assert!(rig.sids(piece(b"GET /z HTTP/1.1\r\n", 47)).is_empty());
    assert_eq!(rig.end(1).sids, [1]);
    assert_eq!(rig.stage.available(), (8, 16));
}

#[test]
fn positions_count_from_the_start_of_the_stream() {
    let rules = concat!(
        "alert tcp-stream any any -> any any (msg:\"a\"; content:\"abc\"; startswith; sid:1;)\n",
        "alert tcp-stream any any -> any any (msg:\"b\"; content:\"abc\"; offset:6; sid:2;)\n",
        "alert tcp-stream any any -> any any (msg:\"c\"; content:\"abc\"; offset:3; depth:4; sid:3;)\n",
    );
    let mut rig = Rig::new(rules);
    assert!(rig.sids(piece(b"a", 0)).is_empty());
    assert_eq!(rig.sids(piece(b"bc", 1)), [1]);
    assert_eq!(rig.sids(piece(b".abc", 3)), [3]);
    assert_eq!(rig.sids(piece(b"abc", 7)), [2]);
}

#[test]
fn views_decide_where_a_signature_looks() {
    let rules = concat!(
        "alert tcp any any -> any any (msg:\"stream\"; content:\"abc\"; sid:1;)\n",
        "alert tcp any any -> any any (msg:\"both\"; content:\"abc\"; depth:9; sid:2;)\n",
        "alert tcp-pkt any any -> any any (msg:\"packet\"; content:\"abc\"; sid:3;)\n",
        "alert tcp-stream any any -> any any (msg:\"only stream\"; content:\"abc\"; sid:4;)\n",
        "alert tcp any any -> any any (msg:\"packet\"; content:\"abc\"; dsize:3; sid:5;)\n",
        "alert tcp any any -> any any (msg:\"packet\"; content:\"abc\"; flow:no_stream; sid:6;)\n",
    );
    let mut rig = Rig::new(rules);
    let sorted = |mut sids: Vec<u32>| {
        sids.sort_unstable();
        sids
    };
    // The stream took the bytes: all look, each where it must, one twice.
    assert_eq!(sorted(rig.sids(piece(b"abc", 0))), [1, 2, 2, 3, 4, 5, 6]);
    // The stream refused them: stream signatures look at the packet.
    let alone = Shot {
        flow: 2,
        ..tcp(b"abc")
    };
    assert_eq!(sorted(rig.sids(alone)), [1, 2, 3, 4, 5, 6]);
    // Buffered behind a gap: only packets are looked at now, the stream when the gap has filled.
    let waiting = Shot {
        flow: 3,
        flags: flag::ESTABLISHED,
        ..tcp(b"abc")
    };
    assert_eq!(sorted(rig.sids(waiting)), [2, 3, 5, 6]);
    let filled = Shot {
        flow: 3,
        kind: Kind::Stream,
        ..piece(b"abc", 0)
    };
    assert_eq!(sorted(rig.sids(filled)), [1, 2, 4]);
}

#[test]
fn beyond_the_depth_nothing_is_looked_at() {
    let rule = r#"alert tcp any any -> any any (msg:"s"; content:"abc"; sid:1;)"#;
    let mut rig = Rig::with(rule, |config| config.stream_depth = 10);
    assert!(rig.sids(piece(b"........ab", 0)).is_empty());
    assert!(rig.sids(piece(b"cabc", 10)).is_empty());
    let mut rig = Rig::with(rule, |config| config.stream_depth = 0);
    assert!(rig.sids(piece(b"........ab", 0)).is_empty());
    assert_eq!(rig.sids(piece(b"cabc", 10)), [1]);
}

#[test]
fn a_gap_is_no_junction() {
    let rule = r#"alert tcp any any -> any any (msg:"s"; content:"abcd"; sid:1;)"#;
    let mut rig = Rig::new(rule);
    assert!(rig.sids(piece(b"ab", 0)).is_empty());
    let mut after = piece(b"cd", 50);
    after.flags |= flag::STREAM_GAP;
    assert!(rig.sids(after).is_empty());
    assert_eq!(rig.sids(piece(b"abcd", 52)), [1]);
}

#[test]
fn without_windows_pieces_are_looked_at_by_themselves_and_the_loss_is_counted() {
    let rule = r#"alert tcp any any -> any any (msg:"s"; content:"abcd"; sid:1;)"#;
    let mut rig = Rig::with(rule, |config| config.inspected_flows_max = 1);
    assert!(rig.sids(piece(b"xx", 0)).is_empty());
    let other = |payload: &[u8], at| Shot {
        flow: 2,
        ..piece(payload, at)
    };
    assert_eq!(rig.sids(other(b"abcd", 0)), [1]);
    assert!(rig.count(Counter::DetectionStateLost) > 0);
    rig.end(1);
    assert!(rig.sids(other(b"ab", 4)).is_empty());
    assert_eq!(rig.sids(other(b"cd", 6)), [1]);
}

#[test]
fn many_waiting_signatures_lose_nothing() {
    let rules: String = (1..100)
        .map(|n| {
            format!(
                "alert tcp any any -> any any (msg:\"s\"; content:\"first{n:02}\"; content:\"last{n:02}\"; distance:0; sid:{n};)\n"
            )
        })
        .collect();
    let mut rig = Rig::new(&rules);
    let firsts: String = (1..100).map(|n| format!("first{n:02}")).collect();
    let lasts: String = (1..100).map(|n| format!("last{n:02}")).collect();
    let mut found = BTreeSet::new();
    found.extend(rig.sids(piece(firsts.as_bytes(), 0)));
    // In several pieces, since one packet gives no more than so many alerts.
    for (n, part) in lasts.as_bytes().chunks(60).enumerate() {
        found.extend(rig.sids(piece(part, (firsts.len() + 60 * n) as u32)));
    }
    assert_eq!(found.len(), 99, "{found:?}");
}

/// Rules that look at packets: alone, at long or short ones, at streams too; and so many more that
/// what looks at long packets only is not found with the stream.
fn packet_rules(more: usize) -> String {
    let options = [
        r#"content:"alpha"; depth:5;"#,
        r#"content:"beta"; offset:3;"#,
        r#"content:"beta"; offset:3; depth:400; content:"gamma"; distance:0;"#,
        r#"content:"gamma"; dsize:>300;"#,
        r#"content:"delta"; dsize:<100;"#,
        r#"content:"alpha"; dsize:>10;"#,
        r#"content:"z "; dsize:>12;"#,
        r#"content:"gamma"; endswith; dsize:>1;"#,
        r#"content:"beta"; startswith; dsize:>280;"#,
        r#"content:"delta"; flow:no_stream;"#,
        r#"content:"ALPHA "; flow:only_stream;"#,
        r#"content:"alpha";"#,
        r#"content:!"beta"; dsize:>290;"#,
    ];
    let rest = (0..more).map(|n| format!("content:\"never{n}\"; dsize:>300;"));
    let all = options.iter().map(ToString::to_string).chain(rest);
    let rule = |(n, options): (usize, String)| {
        format!(
            "alert tcp any any -> any any (msg:\"p\"; {options} sid:{};)\n",
            n + 1
        )
    };
    all.enumerate().map(rule).collect()
}

/// Signatures that hit in the packet.
fn in_packet(rig: &mut Rig, shot: Shot) -> BTreeSet<u32> {
    let events = rig.send(shot).events;
    events
        .iter()
        .filter(|told| !told.stream)
        .map(|told| told.sid)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]
    #[test]
    fn a_packet_says_the_same_whether_a_stream_has_its_bytes(
        stream in words(),
        fill in prop_oneof![Just(0usize), 200..400usize, 0..3 * BLOCK],
        tail in prop_oneof![Just(0usize), 0..300usize],
        cuts in proptest::collection::vec(any::<usize>(), 0..6),
        more in prop_oneof![Just(0usize), Just(40)],
        depth in prop_oneof![Just(u32::MAX), 0..6000u32],
    ) {
        let mut bytes = vec![b'.'; fill];
        bytes.extend(&stream);
        bytes.extend(vec![b'.'; tail]);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        cuts.dedup();
        let rules = packet_rules(more);
        let mut rig = Rig::with(&rules, |config| config.stream_depth = depth);
        let mut apart = Rig::new(&rules);
        for ends in cuts.windows(2) {
            let shared = piece(&bytes[ends[0]..ends[1]], ends[0] as u32);
            // Bytes that wait behind a gap are the packet's alone.
            let alone = Shot { stream: None, ..shared.clone() };
            let expected = in_packet(&mut apart, alone);
            let untaken = Shot { flow: 2, stream: None, ..shared.clone() };
            let untaken = Shot { flags: flag::STREAM_NONE | flag::ESTABLISHED, ..untaken };
            prop_assert_eq!(in_packet(&mut rig, shared), expected.clone(), "shared");
            // What the stream did not take is looked at by the rules of streams as well.
            let found = in_packet(&mut rig, untaken);
            prop_assert!(found.is_superset(&expected), "{found:?} {expected:?}");
        }
    }
}
