//! Connections from SYN to the last FIN, and what is not one: flags, directions, verdicts, notices.

use super::bench::*;
use crate::config::{Area, Choice, Config, Mode, Policy, Urgent};
use crate::counters::Counter;
use crate::flow::record::{EndReason, TcpPhase};
use crate::packet::{Direction, Kind, flag};
use crate::reason::Reason;

#[test]
fn a_connection_lives_and_closes() {
    let mut bench = Bench::tap();
    let syn = bench.tcp(&Tcp::new(true, SYN, CLIENT_ISN, 0, b""));
    assert!(syn[0].has(flag::FLOW_NEW | flag::FIRST_OF_DIRECTION));
    assert!(!syn[0].has(flag::ESTABLISHED));
    let syn_ack = bench.tcp(&Tcp::new(false, SYN | ACK, SERVER_ISN, CLIENT_ISN + 1, b""));
    assert_eq!(syn_ack[0].direction, Direction::ToClient);
    assert!(syn_ack[0].has(flag::FIRST_OF_DIRECTION) && !syn_ack[0].has(flag::FLOW_NEW));
    let ack = bench.tcp(&Tcp::new(true, ACK, CLIENT_ISN + 1, SERVER_ISN + 1, b""));
    assert!(
        !ack[0].has(flag::ESTABLISHED),
        "the packet that establishes is not in it yet"
    );
    let data = bench.client(0, b"hello");
    assert!(data[0].has(flag::ESTABLISHED | flag::STREAM | flag::STREAM_START));
    assert_eq!((data[0].text(), data[0].offset), ("hello", 0));
    assert_eq!(data[0].values.stream_bytes, [6, 1]);
    assert_eq!(data[0].values.packets, [3, 1]);
    assert_eq!(data[0].values.tcp_state, TcpPhase::Established as u8);
    let more = bench.tcp(&server(0, 5, b"world"));
    assert!(more[0].has(flag::STREAM_START));
    let fin = bench.tcp(&Tcp::new(
        true,
        FIN | ACK,
        CLIENT_ISN + 6,
        SERVER_ISN + 6,
        b"",
    ));
    assert!(fin[0].has(flag::STREAM | flag::STREAM_END));
    assert_eq!((fin[0].text(), fin[0].offset), ("", 5));
    assert_eq!(fin[0].values.tcp_state, TcpPhase::CloseWait as u8);
    let fin = bench.tcp(&Tcp::new(
        false,
        FIN | ACK,
        SERVER_ISN + 6,
        CLIENT_ISN + 7,
        b"!",
    ));
    assert!(fin[0].has(flag::STREAM | flag::STREAM_END));
    assert_eq!(fin[0].text(), "!");
    assert_eq!(fin[0].values.tcp_state, TcpPhase::LastAck as u8);
    let last = bench.tcp(&Tcp::new(true, ACK, CLIENT_ISN + 7, SERVER_ISN + 8, b""));
    assert_eq!(last[0].values.tcp_state, TcpPhase::Closed as u8);
    assert_eq!(bench.count(Counter::SegmentsInOrder), 3);
    let ends = bench.finish();
    assert_eq!(ends.len(), 1);
    assert_eq!(ends[0].kind, Kind::FlowEnd);
    assert_eq!(ends[0].values.end_reason, EndReason::Shutdown as u8);
    assert_eq!(
        ends[0].values.tcp_flags,
        [FIN | SYN | PSH | ACK, FIN | SYN | PSH | ACK]
    );
    bench.check_empty();
}

#[test]
fn udp_is_established_when_both_sides_were_seen() {
    let mut bench = Bench::tap();
    let ask = ipv4(CLIENT.0, SERVER.0, 17, 1, 0, &udp(CLIENT, SERVER, b"q"));
    let answer = ipv4(SERVER.0, CLIENT.0, 17, 1, 0, &udp(SERVER, CLIENT, b"a"));
    let seen = bench.run(&[ask.clone(), ask, answer.clone(), answer]);
    assert!(seen[0].has(flag::FLOW_NEW) && !seen[1].has(flag::FLOW_NEW));
    assert!(!seen[1].has(flag::ESTABLISHED));
    assert!(seen[2].has(flag::ESTABLISHED | flag::FIRST_OF_DIRECTION));
    assert_eq!(seen[3].direction, Direction::ToClient);
    assert!(
        seen.iter()
            .all(|s| !s.has(flag::STREAM) && !s.has(flag::STREAM_NONE))
    );
    assert_eq!(seen[3].values.packets, [2, 2]);
    bench.finish();
    bench.check_empty();
}

#[test]
fn bytes_behind_a_gap_follow_the_packet_that_fills_it() {
    for mut bench in [Bench::tap(), Bench::inline()] {
        bench.handshake();
        let late = bench.client(5, b"world");
        assert!(!late[0].has(flag::STREAM) && !late[0].has(flag::STREAM_NONE));
        assert_eq!(late.len(), 1);
        let filler = bench.client(0, b"hello");
        assert_eq!(filler.len(), 2);
        assert_eq!(filler[0].text(), "hello");
        assert!(filler[0].more && !filler[1].more);
        assert_eq!(
            (filler[1].kind, filler[1].text(), filler[1].offset),
            (Kind::Stream, "world", 5)
        );
        assert!(filler[1].has(flag::ESTABLISHED | flag::STREAM));
        assert_eq!(filler[1].flow, filler[0].flow);
        assert_eq!(filler[1].dst_port, SERVER.1);
        let again = bench.client(3, b"lowo");
        assert!(again[0].has(flag::RETRANSMIT) && !again[0].has(flag::STREAM));
        let partly = bench.client(8, b"ld and more");
        assert_eq!((partly[0].text(), partly[0].offset), (" and more", 10));
        bench.finish();
        bench.check_empty();
    }
}

#[test]
fn a_gap_that_was_acknowledged_is_given_up() {
    let mut bench = Bench::tap();
    bench.handshake();
    bench.client(0, b"abc");
    assert_eq!(bench.client(10, b"klm").len(), 1);
    let ack = bench.tcp(&server(0, 13, b""));
    assert_eq!(ack.len(), 2);
    assert_eq!(ack[0].anomalies, ["stream.reassembly_seq_gap"]);
    assert!(ack[1].has(flag::STREAM_GAP));
    assert_eq!((ack[1].text(), ack[1].offset), ("klm", 10));
    assert_eq!(ack[1].direction, Direction::ToServer);
    assert_eq!(bench.count(Counter::StreamGaps), 1);
    // An acknowledged gap with nothing kept behind it is given up when bytes come.
    bench.server_ack(20);
    let data = bench.client(20, b"xyz");
    assert!(data[0].has(flag::STREAM | flag::STREAM_GAP));
    assert_eq!(data[0].offset, 20);
    let ends = bench.finish();
    assert_eq!(ends[0].values.gaps, 1, "those of the client, to the end");
    bench.check_empty();
}

#[test]
fn a_flow_of_icmp_keeps_the_code_of_its_first_packet() {
    let mut bench = Bench::tap();
    // An echo request with a code of its own, then another (RFC 792; checksums are not looked at).
    let echo = |code: u8| ipv4(CLIENT.0, SERVER.0, 1, 1, 0, &[8, code, 0, 0, 0, 1, 0, 1]);
    bench.run(&[echo(5), echo(6)]);
    let ends = bench.finish();
    assert_eq!((ends.len(), ends[0].values.tcp_flags), (1, [5, 0]));
    bench.check_empty();
}

#[test]
fn what_waits_when_a_flow_ends_is_shown_before_the_end() {
    let mut bench = Bench::tap();
    bench.handshake();
    bench.client(0, b"abc");
    bench.client(10, b"klm");
    bench.client(20, b"uvw");
    let ends = bench.finish();
    let kinds: Vec<_> = ends.iter().map(|s| (s.kind, s.text(), s.more)).collect();
    assert_eq!(
        kinds,
        [
            (Kind::Stream, "klm", true),
            (Kind::Stream, "uvw", true),
            (Kind::FlowEnd, "", false)
        ]
    );
    assert!(ends[0].has(flag::STREAM_GAP) && ends[1].has(flag::STREAM_GAP));
    bench.check_empty();
}

#[test]
fn invalid_segments_are_dropped_inline_and_named() {
    let data = |offset, bytes: &[u8]| client(offset, bytes);
    let cases: Vec<(Tcp, Reason, &str)> = vec![
        (
            data(200_000, b"x"),
            Reason::TcpOutOfWindow,
            "stream.est_packet_out_of_window",
        ),
        (
            Tcp {
                ack: SERVER_ISN + 900_000,
                ..data(0, b"x")
            },
            Reason::TcpAckInvalid,
            "stream.est_invalid_ack",
        ),
        (
            Tcp {
                flags: PSH,
                ..data(0, b"x")
            },
            Reason::TcpNoAck,
            "stream.pkt_broken_ack",
        ),
        (
            Tcp {
                flags: 0,
                ack: 0,
                ..data(0, b"x")
            },
            Reason::TcpFlagsInvalid,
            "",
        ),
        (
            Tcp {
                flags: SYN | FIN | ACK,
                ..data(0, b"")
            },
            Reason::TcpFlagsInvalid,
            "stream.fin_syn",
        ),
        (
            Tcp::new(true, SYN, CLIENT_ISN + 77, 0, b""),
            Reason::TcpHandshakeInvalid,
            "stream.est_syn_resend_diff_seq",
        ),
        (
            Tcp::new(false, SYN | ACK, SERVER_ISN + 7, CLIENT_ISN + 1, b""),
            Reason::TcpHandshakeInvalid,
            "stream.est_synack_resend_with_diff_seq",
        ),
        (
            Tcp {
                flags: RST,
                ack: 0,
                ..data(30, b"")
            },
            Reason::TcpRstInvalid,
            "",
        ),
        (
            Tcp {
                flags: RST | ACK,
                ack: SERVER_ISN + 900_000,
                ..data(0, b"")
            },
            Reason::TcpRstInvalid,
            "stream.rst_invalid_ack",
        ),
        (
            Tcp {
                flags: FIN | ACK,
                ..data(200_000, b"")
            },
            Reason::TcpOutOfWindow,
            "stream.fin_out_of_window",
        ),
    ];
    for (segment, reason, anomaly) in cases {
        for mode in [Mode::Inline, Mode::Tap] {
            let mut bench = Bench::new(config(mode));
            bench.handshake();
            let seen = bench.tcp(&segment);
            if mode == Mode::Inline {
                assert_eq!(seen[0].dropped(), Some(reason), "{segment:?}");
                assert!(seen[0].has(flag::DECIDED));
            } else {
                assert_eq!(seen[0].dropped(), None);
                assert_eq!(seen[0].would, Some(reason), "{segment:?}");
            }
            assert!(!seen[0].has(flag::STREAM), "{segment:?}");
            assert!(
                anomaly.is_empty() || seen[0].anomalies.contains(&anomaly),
                "{segment:?}: {:?}",
                seen[0].anomalies
            );
            // The connection goes on as if it had not been.
            let next = bench.client(0, b"hello");
            assert_eq!(
                (next[0].text(), next[0].offset),
                ("hello", 0),
                "{segment:?}"
            );
            assert_eq!(next[0].dropped(), None);
            bench.finish();
            bench.check_empty();
        }
    }
}

#[test]
fn a_syn_sent_again_with_the_clock_of_then_is_answered_by_either_echo() {
    for (echo, dropped) in [(500, false), (750, false), (600, true)] {
        let mut bench = Bench::inline();
        bench.tcp(&Tcp::new(true, SYN, CLIENT_ISN, 0, b"").timestamp(500, 0));
        bench.tcp(&Tcp::new(true, SYN, CLIENT_ISN, 0, b"").timestamp(750, 0));
        let answer = Tcp::new(false, SYN | ACK, SERVER_ISN, CLIENT_ISN + 1, b"");
        let answer = bench.tcp(&answer.timestamp(900, echo));
        assert_eq!(answer[0].dropped().is_some(), dropped, "echo {echo}");
        bench.finish();
        bench.check_empty();
    }
}

#[test]
fn old_timestamps_are_dropped() {
    let mut bench = Bench::inline();
    bench.tcp(&Tcp::new(true, SYN, CLIENT_ISN, 0, b"").timestamp(500, 0));
    bench.tcp(&Tcp::new(false, SYN | ACK, SERVER_ISN, CLIENT_ISN + 1, b"").timestamp(900, 500));
    bench.tcp(&Tcp::new(true, ACK, CLIENT_ISN + 1, SERVER_ISN + 1, b"").timestamp(501, 900));
    let fine = bench.tcp(&client(0, b"one").timestamp(502, 900));
    assert_eq!(fine[0].dropped(), None);
    let old = bench.tcp(&client(3, b"old").timestamp(400, 900));
    assert_eq!(old[0].dropped(), Some(Reason::TcpPawsOld));
    assert_eq!(old[0].anomalies, ["stream.pkt_invalid_timestamp"]);
    let next = bench.tcp(&client(3, b"two").timestamp(502, 900));
    assert_eq!(next[0].text(), "two");
    // After 25 idle days the old value proves nothing.
    bench.wait(25 * 24 * 3600);
    bench.finish();
    bench.check_empty();
}

#[test]
fn a_gap_filler_sent_before_what_lies_behind_the_gap_is_honest() {
    for mode in [Mode::Tap, Mode::Inline] {
        let mut bench = Bench::new(config(mode));
        bench.tcp(&Tcp::new(true, SYN, CLIENT_ISN, 0, b"").timestamp(500, 0));
        let answer = Tcp::new(false, SYN | ACK, SERVER_ISN, CLIENT_ISN + 1, b"");
        bench.tcp(&answer.timestamp(900, 500));
        bench.tcp(&Tcp::new(true, ACK, CLIENT_ISN + 1, SERVER_ISN + 1, b"").timestamp(501, 900));
        // The network turned the order round: the receiver's last word is still about byte 0.
        bench.tcp(&client(3, b"def").timestamp(503, 900));
        bench.tcp(&client(6, b"ghi").timestamp(504, 900));
        let filler = bench.tcp(&client(0, b"abc").timestamp(502, 900));
        assert_eq!(filler[0].dropped(), None, "{mode:?}");
        assert_eq!(filler[0].text(), "abc", "{mode:?}");
        assert!(filler[0].anomalies.is_empty(), "{:?}", filler[0].anomalies);
        assert_eq!(filler[1].text(), "defghi", "{mode:?}");
        // What the receiver took at its last acknowledgement binds, whatever lies behind.
        let echo = Tcp::new(false, ACK, SERVER_ISN + 1, CLIENT_ISN + 10, b"");
        bench.tcp(&echo.timestamp(901, 504));
        bench.tcp(&client(9, b"jkl").timestamp(510, 901));
        let old = bench.tcp(&client(12, b"old").timestamp(505, 901));
        assert_eq!(old[0].anomalies, ["stream.pkt_invalid_timestamp"]);
        bench.finish();
        bench.check_empty();
    }
}

#[test]
fn the_policy_of_the_depth_holds_in_the_path() {
    let cases = [
        (Policy::Ignore, None, None, false),
        (
            Policy::DropPacket,
            Some(Reason::StreamDepth),
            Some(Reason::StreamDepth),
            false,
        ),
        (
            Policy::DropFlow,
            Some(Reason::StreamDepth),
            Some(Reason::FlowCondemned),
            false,
        ),
        (Policy::Bypass, None, None, true),
    ];
    for (policy, crossing, later, bypassed) in cases {
        let mut inline = Config {
            stream_depth: 8,
            ..config(Mode::Inline)
        };
        inline.policies.set(Area::StreamDepth, Choice::Is(policy));
        let mut bench = Bench::new(inline);
        bench.handshake();
        let within = bench.client(0, b"12345");
        assert_eq!(within[0].dropped(), None, "{policy:?}");
        let over = bench.client(5, b"67890");
        assert_eq!(over[0].dropped(), crossing, "{policy:?}");
        assert!(!over[0].has(flag::BYPASS), "its first bytes are inspected");
        let beyond = bench.client(10, b"more");
        assert_eq!(beyond[0].dropped(), later, "{policy:?}");
        assert_eq!(beyond[0].has(flag::BYPASS), bypassed, "{policy:?}");
        assert_eq!(
            bench.count(Counter::ExceptionsStreamDepth) > 0,
            policy != Policy::Ignore
        );
        bench.finish();
        bench.check_empty();
    }
}

#[test]
fn without_a_handshake_packets_are_inspected_alone() {
    let mut bench = Bench::tap();
    let seen = bench.client(0, b"hello");
    assert!(seen[0].has(flag::STREAM_NONE) && !seen[0].has(flag::STREAM));
    assert!(!seen[0].has(flag::ESTABLISHED) && !seen[0].has(flag::MIDSTREAM));
    let rst = bench.tcp(&Tcp::new(true, RST, CLIENT_ISN, 0, b""));
    assert_eq!(rst[0].anomalies, ["stream.rst_but_no_session"]);
    let fin = bench.tcp(&Tcp::new(true, FIN | ACK, CLIENT_ISN, 5, b""));
    assert_eq!(fin[0].anomalies, ["stream.fin_but_no_session"]);
    // A SYN begins a flow of its own.
    let syn = bench.tcp(&Tcp::new(false, SYN, SERVER_ISN, 0, b""));
    let begun: Vec<_> = syn.iter().map(|s| s.kind).collect();
    assert_eq!(begun, [Kind::Frame, Kind::FlowEnd]);
    assert_eq!(syn[0].direction, Direction::ToServer);
    assert_eq!(syn[1].values.end_reason, EndReason::Closed as u8);
    bench.finish();
    bench.check_empty();
}

#[test]
fn midstream_is_picked_up_where_allowed() {
    let mut bench = Bench::new(Config {
        midstream: true,
        ..config(Mode::Tap)
    });
    let seen = bench.client(0, b"hello");
    assert!(seen[0].has(flag::STREAM | flag::STREAM_START | flag::MIDSTREAM | flag::ESTABLISHED));
    assert_eq!(bench.client(5, b"!")[0].text(), "!");
    assert_eq!(bench.tcp(&server(0, 6, b"answer"))[0].text(), "answer");
    bench.finish();
    bench.check_empty();
    // At a SYN+ACK the sender is the server, although it came first.
    let mut bench = Bench::new(Config {
        midstream: true,
        ..config(Mode::Tap)
    });
    let seen = bench.tcp(&Tcp::new(false, SYN | ACK, SERVER_ISN, CLIENT_ISN + 1, b""));
    assert_eq!(seen[0].direction, Direction::ToClient);
    bench.tcp(&Tcp::new(true, ACK, CLIENT_ISN + 1, SERVER_ISN + 1, b""));
    let seen = bench.client(0, b"hello");
    assert_eq!(
        (seen[0].text(), seen[0].direction),
        ("hello", Direction::ToServer)
    );
    bench.finish();
    bench.check_empty();
}

#[test]
fn midstream_policies_hold() {
    let cases = [
        (
            Policy::DropFlow,
            Some(Reason::TcpMidstream),
            Some(Reason::FlowCondemned),
            false,
        ),
        (
            Policy::DropPacket,
            Some(Reason::TcpMidstream),
            Some(Reason::TcpMidstream),
            false,
        ),
        (
            Policy::Reject,
            Some(Reason::TcpMidstream),
            Some(Reason::FlowCondemned),
            false,
        ),
        (Policy::Bypass, None, None, true),
        (Policy::PassFlow, None, None, true),
        (Policy::PassPacket, None, None, true),
        (Policy::Ignore, None, None, false),
    ];
    for (policy, first, second, bypassed) in cases {
        let mut inline = config(Mode::Inline);
        inline.policies.set(Area::Midstream, Choice::Is(policy));
        let mut bench = Bench::new(inline);
        let seen = bench.client(0, b"hello");
        assert_eq!(seen[0].dropped(), first, "{policy:?}");
        assert_eq!(seen[0].has(flag::BYPASS), bypassed, "{policy:?}");
        let seen = bench.client(5, b"again");
        assert_eq!(seen[0].dropped(), second, "{policy:?}");
        bench.finish();
        bench.check_empty();
    }
}

#[test]
fn a_split_handshake_and_a_simultaneous_open_are_understood() {
    for mode in [Mode::Tap, Mode::Inline] {
        let mut bench = Bench::new(config(mode));
        for segment in [
            Tcp::new(true, SYN, CLIENT_ISN, 0, b""),
            Tcp::new(false, SYN, SERVER_ISN, 0, b""),
            Tcp::new(true, SYN | ACK, CLIENT_ISN, SERVER_ISN + 1, b""),
            Tcp::new(false, ACK, SERVER_ISN + 1, CLIENT_ISN + 1, b""),
        ] {
            let seen = bench.tcp(&segment);
            assert_eq!(seen[0].dropped(), None);
            assert!(seen[0].anomalies.is_empty(), "{:?}", seen[0].anomalies);
        }
        assert_eq!(bench.client(0, b"hello")[0].text(), "hello");
        assert_eq!(bench.tcp(&server(0, 5, b"yes"))[0].text(), "yes");
        bench.finish();
        bench.check_empty();
        let mut bench = Bench::new(config(mode));
        for segment in [
            Tcp::new(true, SYN, CLIENT_ISN, 0, b""),
            Tcp::new(false, SYN, SERVER_ISN, 0, b""),
            Tcp::new(true, SYN | ACK, CLIENT_ISN, SERVER_ISN + 1, b""),
            Tcp::new(false, SYN | ACK, SERVER_ISN, CLIENT_ISN + 1, b""),
        ] {
            let seen = bench.tcp(&segment);
            assert_eq!(
                (seen[0].dropped(), seen[0].anomalies.len()),
                (None, 0),
                "{segment:?}"
            );
        }
        assert_eq!(bench.client(0, b"hello")[0].text(), "hello");
        assert_eq!(bench.tcp(&server(0, 5, b"yes"))[0].text(), "yes");
        bench.finish();
        bench.check_empty();
    }
}

#[test]
fn another_number_on_a_second_syn_is_followed() {
    // CVE-2025-59147: the server answers the first or the second SYN; both lead to the bytes.
    for answered in [CLIENT_ISN, CLIENT_ISN + 5000] {
        for mode in [Mode::Tap, Mode::Inline] {
            let mut bench = Bench::new(config(mode));
            bench.tcp(&Tcp::new(true, SYN, CLIENT_ISN, 0, b""));
            bench.tcp(&Tcp::new(true, SYN, CLIENT_ISN + 5000, 0, b""));
            bench.tcp(&Tcp::new(false, SYN | ACK, SERVER_ISN, answered + 1, b""));
            bench.tcp(&Tcp::new(true, ACK, answered + 1, SERVER_ISN + 1, b""));
            let data = bench.tcp(&Tcp::new(true, ACK, answered + 1, SERVER_ISN + 1, b"hello"));
            assert_eq!(
                (data[0].text(), data[0].offset, data[0].dropped()),
                ("hello", 0, None)
            );
            bench.finish();
            bench.check_empty();
        }
    }
}

/// As Suricata's `StreamTcpPacketStateSynRecv`: what lies beyond the window ends no handshake.
#[test]
fn the_last_ack_of_a_handshake_lies_in_the_window() {
    let mut bench = Bench::inline();
    bench.tcp(&Tcp::new(true, SYN, CLIENT_ISN, 0, b""));
    bench.tcp(&Tcp::new(false, SYN | ACK, SERVER_ISN, CLIENT_ISN + 1, b"").window(1000));
    let far = bench.tcp(&Tcp::new(
        true,
        ACK,
        CLIENT_ISN + 1002,
        SERVER_ISN + 1,
        b"x",
    ));
    assert_eq!(far[0].dropped(), Some(Reason::TcpHandshakeInvalid));
    assert_eq!(far[0].anomalies, ["stream.3whs_wrong_seq_wrong_ack"]);
    let near = bench.tcp(&Tcp::new(
        true,
        ACK,
        CLIENT_ISN + 6,
        SERVER_ISN + 1,
        b"after a loss",
    ));
    assert_eq!(near[0].dropped(), None);
    let data = bench.client(0, b"hello");
    assert_eq!((data[0].text(), data[0].dropped()), ("hello", None));
    bench.finish();
    bench.check_empty();
}

#[test]
fn bytes_on_the_syn_count_if_they_were_taken() {
    let fast_open = [34, 10, 1, 2, 3, 4, 5, 6, 7, 8];
    for taken in [true, false] {
        let mut bench = Bench::inline();
        let syn = Tcp::new(true, SYN, CLIENT_ISN, 0, b"hello").option(&fast_open);
        let syn = bench.tcp(&syn);
        assert!(syn[0].has(flag::STREAM | flag::STREAM_START));
        assert_eq!(syn[0].text(), "hello");
        let acked = if taken { 6 } else { 1 };
        let answer = bench.tcp(&Tcp::new(
            false,
            SYN | ACK,
            SERVER_ISN,
            CLIENT_ISN + acked,
            b"",
        ));
        assert_eq!(answer[0].dropped(), None);
        assert_eq!(answer[0].anomalies.len(), usize::from(!taken));
        bench.tcp(&Tcp::new(
            true,
            ACK,
            CLIENT_ISN + acked,
            SERVER_ISN + 1,
            b"",
        ));
        if taken {
            assert_eq!(bench.client(5, b" you")[0].offset, 5);
        } else {
            let again = bench.client(0, b"other");
            assert_eq!((again[0].text(), again[0].offset), ("other", 0));
            assert!(again[0].has(flag::STREAM_START));
        }
        bench.finish();
        bench.check_empty();
    }
}

#[test]
fn a_reset_does_not_end_inspection() {
    for mode in [Mode::Tap, Mode::Inline] {
        let mut bench = Bench::new(config(mode));
        bench.handshake();
        bench.client(0, b"hello");
        let rst = bench.tcp(&Tcp {
            flags: RST,
            ack: 0,
            ..client(5, b"")
        });
        assert_eq!(rst[0].dropped(), None);
        assert!(rst[0].has(flag::STREAM_END));
        assert_eq!(rst[0].values.tcp_state, TcpPhase::Closed as u8);
        let after = bench.client(5, b"evil");
        assert_eq!(after[0].text(), "evil");
        assert!(after[0].has(flag::ESTABLISHED));
        bench.finish();
        bench.check_empty();
    }
}

#[test]
fn bytes_of_a_reset_are_no_part_of_the_stream() {
    for mode in [Mode::Tap, Mode::Inline] {
        let mut bench = Bench::new(config(mode));
        bench.handshake();
        bench.client(0, b"hello");
        let rst = bench.tcp(&Tcp {
            flags: RST,
            ack: 0,
            ..client(5, b"decoy")
        });
        assert_eq!((rst[0].dropped(), rst[0].text()), (None, ""));
        assert!(rst[0].has(flag::STREAM_NONE | flag::STREAM | flag::STREAM_END));
        assert_eq!(rst[0].anomalies, ["stream.rst_with_data"]);
        // Whoever did not get it, or did not believe it, takes these instead.
        let after = bench.client(5, b" evil");
        assert_eq!((after[0].dropped(), after[0].text()), (None, " evil"));
        assert_eq!(after[0].offset, 5);
        bench.finish();
        bench.check_empty();
    }
}

#[test]
fn a_signed_reset_is_suspected() {
    let md5 = [
        19, 18, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
    ];
    let mut bench = Bench::tap();
    bench.handshake();
    bench.tcp(
        &Tcp {
            flags: RST,
            ack: 0,
            ..client(0, b"")
        }
        .option(&md5),
    );
    let after = bench.client(0, b"still here");
    assert_eq!(after[0].anomalies, ["stream.suspected_rst_inject"]);
    assert_eq!(after[0].text(), "still here");
    let mut bench = Bench::inline();
    bench.handshake();
    let rst = bench.tcp(
        &Tcp {
            flags: RST,
            ack: 0,
            ..client(0, b"")
        }
        .option(&md5),
    );
    assert_eq!(rst[0].dropped(), Some(Reason::TcpRstInvalid));
}

#[test]
fn a_new_syn_on_closed_ports_is_a_new_flow() {
    let mut bench = Bench::inline();
    bench.handshake();
    bench.client(0, b"one");
    bench.tcp(&Tcp {
        flags: RST,
        ack: 0,
        ..client(3, b"")
    });
    let again = bench.run(&[
        Tcp::new(true, SYN, 70_000, 0, b"").packet(),
        Tcp::new(false, SYN | ACK, 80_000, 70_001, b"").packet(),
        Tcp::new(true, ACK, 70_001, 80_001, b"").packet(),
        Tcp::new(true, ACK, 70_001, 80_001, b"two").packet(),
    ]);
    assert!(again[0].has(flag::FLOW_NEW));
    assert_eq!((again[3].text(), again[3].offset), ("two", 0));
    assert_eq!(again[3].values.packets, [3, 1]);
    assert_eq!(again[4].kind, Kind::FlowEnd);
    assert_eq!(again[4].values.end_reason, EndReason::Closed as u8);
    assert_ne!(again[4].flow, again[0].flow);
    bench.finish();
    bench.check_empty();
}

#[test]
fn a_timed_out_flow_ends_whether_or_not_the_sweep_came() {
    for sweep in [false, true] {
        let mut bench = Bench::tap();
        bench.handshake();
        bench.wait(601);
        if sweep {
            let ends: Vec<_> = (0..40)
                .flat_map(|_| {
                    bench.wait(1);
                    bench.idle()
                })
                .collect();
            assert_eq!(ends.len(), 1);
            assert_eq!(ends[0].values.end_reason, EndReason::Timeout as u8);
        }
        let seen = bench.client(0, b"late");
        assert!(seen[0].has(flag::FLOW_NEW | flag::STREAM_NONE));
        assert_eq!(bench.count(Counter::FlowsEndedTimeout), 1);
        bench.finish();
        bench.check_empty();
    }
}

#[test]
fn keep_alives_and_window_probes_are_no_trouble() {
    let mut bench = Bench::inline();
    bench.handshake();
    bench.client(0, b"hello");
    bench.server_ack(5);
    for filler in [&b""[..], b"\0"] {
        let alive = bench.client(4, filler);
        assert_eq!((alive[0].dropped(), alive[0].anomalies.len()), (None, 0));
        let answer = bench.server_ack(5);
        assert_eq!((answer[0].dropped(), answer[0].anomalies.len()), (None, 0));
    }
    bench.tcp(&server(0, 5, b"").window(0));
    let probe = bench.client(5, b"!");
    assert_eq!((probe[0].dropped(), probe[0].text()), (None, "!"));
    let closed = bench.tcp(&server(0, 5, b"").window(0));
    assert_eq!(closed[0].dropped(), None);
    bench.tcp(&server(0, 5, b"").window(1000));
    let again = bench.client(5, b"! and on");
    assert_eq!((again[0].dropped(), again[0].text()), (None, " and on"));
    bench.finish();
    bench.check_empty();
}

/// As Suricata's `StreamTcpPacketIsKeepAliveACK` and `StreamTcpPacket` have it.
#[test]
fn answers_to_probes_may_open_the_window() {
    let mut bench = Bench::inline();
    bench.handshake();
    bench.client(0, b"hello");
    bench.tcp(&server(0, 5, b"").window(10));
    bench.client(4, b"");
    bench.tcp(&server(0, 5, b"").window(1000));
    let more = bench.client(5, &[b'x'; 500]);
    assert_eq!((more[0].dropped(), more[0].text().len()), (None, 500));
    // A probe that was answered is no probe any more.
    bench.tcp(&server(0, 505, b"").window(0));
    bench.client(505, b"!");
    bench.tcp(&server(0, 505, b"").window(1000));
    let again = bench.client(505, b"!");
    assert_eq!(again[0].dropped(), None);
    let taken = bench.server_ack(506);
    assert_eq!((taken[0].dropped(), taken[0].anomalies.len()), (None, 0));
    bench.finish();
    bench.check_empty();
}

#[test]
fn old_acknowledgments_are_no_trouble() {
    let mut bench = Bench::inline();
    bench.handshake();
    bench.client(0, &[b'a'; 1000]);
    bench.tcp(&server(0, 1000, b"").window(100));
    let old = bench.server_ack(10);
    assert_eq!((old[0].dropped(), old[0].anomalies.len()), (None, 0));
    bench.finish();
    bench.check_empty();
}

#[test]
fn a_syn_of_a_connection_that_stands_is_told() {
    let told = |ack| {
        let mut bench = Bench::tap();
        bench.handshake();
        bench.client(0, b"hello");
        let syn = bench.tcp(&Tcp::new(true, SYN, CLIENT_ISN, ack, b""));
        bench.finish();
        syn[0].anomalies.clone()
    };
    assert_eq!(told(0), ["stream.est_syn_resend_diff_seq"]);
    assert!(told(CLIENT_ISN).contains(&"stream.est_syn_resend"));
}

#[test]
fn urgent_data_follows_its_policy() {
    let settings = |urgent, mode| Config {
        urgent,
        ..config(mode)
    };
    let mut bench = Bench::new(settings(Urgent::OutOfBand, Mode::Tap));
    bench.handshake();
    let seen = bench.tcp(&client(0, b"maliXcious").urgent(5));
    let texts: Vec<_> = seen
        .iter()
        .map(|s| (s.text(), s.offset, s.has(flag::STREAM_GAP)))
        .collect();
    assert_eq!(texts, [("mali", 0, false), ("cious", 4, false)]);
    let seen = bench.tcp(&client(10, b"endX").urgent(4));
    assert_eq!((seen[0].text(), seen[0].offset), ("end", 9));
    assert_eq!(
        (
            bench.client(14, b"on")[0].offset,
            bench.client(16, b"")[0].text()
        ),
        (12, "")
    );
    // The first byte of a segment, and a segment of nothing else.
    let seen = bench.tcp(&client(16, b"Xmore").urgent(1));
    assert_eq!((seen[0].text(), seen[0].offset), ("more", 14));
    assert_eq!(bench.tcp(&client(21, b"X").urgent(1))[0].text(), "");
    let seen = bench.tcp(&client(22, b"last"));
    assert_eq!((seen[0].text(), seen[0].offset), ("last", 18));
    bench.finish();
    bench.check_empty();
    let mut bench = Bench::new(settings(Urgent::Inline, Mode::Tap));
    bench.handshake();
    assert_eq!(
        bench.tcp(&client(0, b"maliXcious").urgent(5))[0].text(),
        "maliXcious"
    );
    let mut bench = Bench::new(settings(Urgent::Gap, Mode::Tap));
    bench.handshake();
    let seen = bench.tcp(&client(0, b"maliXcious").urgent(5));
    assert!(seen[1].has(flag::STREAM_GAP));
    assert_eq!((seen[1].text(), seen[1].offset), ("cious", 5));
    let mut bench = Bench::new(settings(Urgent::Drop, Mode::Inline));
    bench.handshake();
    let seen = bench.tcp(&client(0, b"x").urgent(1));
    assert_eq!(seen[0].dropped(), Some(Reason::TcpUrgent));
}

#[test]
fn the_depth_ends_a_stream_and_is_counted_once() {
    let mut bench = Bench::new(Config {
        stream_depth: 6,
        ..config(Mode::Inline)
    });
    bench.handshake();
    assert_eq!(bench.client(0, b"abcd")[0].text(), "abcd");
    let last = bench.client(4, b"efgh");
    assert_eq!(last[0].text(), "ef");
    assert!(last[0].has(flag::STREAM_END));
    let beyond = bench.client(8, b"ijkl");
    assert!(!beyond[0].has(flag::STREAM) && !beyond[0].has(flag::STREAM_NONE));
    assert_eq!(beyond[0].anomalies, ["stream.reassembly_depth_reached"]);
    assert_eq!(beyond[0].dropped(), None);
    assert_eq!(bench.count(Counter::StreamDepthReached), 1);
    bench.finish();
    bench.check_empty();
}

#[test]
fn out_of_order_bytes_have_a_limit_per_flow_and_in_all() {
    for (mode, dropped) in [
        (Mode::Inline, Some(Reason::StreamMemory)),
        (Mode::Tap, None),
    ] {
        let mut bench = Bench::new(Config {
            stream_hole_bytes_max: 4096,
            ..config(mode)
        });
        bench.handshake();
        assert_eq!(bench.client(2048, &[1; 2048])[0].dropped(), None);
        assert_eq!(bench.client(4096, &[1; 2048])[0].dropped(), None);
        let over = bench.client(6144, &[1; 100]);
        assert_eq!(over[0].dropped(), dropped);
        assert_eq!(over[0].anomalies, ["stream.reassembly_insert_limit"]);
        assert_eq!(bench.count(Counter::SegmentsLimit), 1);
        bench.finish();
        bench.check_empty();
        let memory = Config {
            stream_memory: 4096,
            ..config(mode)
        };
        let mut bench = Bench::new(memory);
        bench.handshake();
        bench.client(2048, &[1; 4096]);
        let over = bench.client(6144, &[1; 100]);
        assert_eq!(over[0].dropped(), dropped);
        assert_eq!(over[0].anomalies, ["stream.reassembly_insert_memcap"]);
        bench.finish();
        bench.check_empty();
    }
}

#[test]
fn tcp_state_is_taken_from_half_open_connections_when_it_runs_out() {
    let mut bench = Bench::new(Config {
        inspected_flows_max: 4,
        ..config(Mode::Inline)
    });
    bench.handshake();
    for number in 0..20u8 {
        let mut packet = Tcp::new(true, SYN, 5, 0, b"").packet();
        packet[15] = 100 + number;
        // The checksum of both headers with the other address.
        let old = u32::from(CLIENT.0[3]);
        for at in [10, 36] {
            let sum = u32::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
            let mut sum = sum + old + 0xffff - u32::from(100 + number);
            while sum > 0xffff {
                sum = (sum & 0xffff) + (sum >> 16);
            }
            packet[at..at + 2].copy_from_slice(&(sum as u16).to_be_bytes());
        }
        let seen = bench.one(&packet);
        assert_eq!(seen[0].dropped(), None);
    }
    assert_eq!(
        bench.client(0, b"hello")[0].text(),
        "hello",
        "established ones stay"
    );
    assert_eq!(bench.count(Counter::FlowsEndedEvicted), 17);
    bench.finish();
    bench.check_empty();
}

#[test]
fn bytes_after_an_acknowledged_fin_are_dropped_and_after_a_lost_one_are_inspected() {
    let mut bench = Bench::inline();
    bench.handshake();
    bench.client(0, b"bye");
    bench.tcp(&Tcp {
        flags: FIN | ACK,
        ..client(3, b"")
    });
    // The FIN may never have arrived: the bytes are looked at.
    let more = bench.client(3, b" not yet");
    assert_eq!((more[0].dropped(), more[0].text()), (None, " not yet"));
    bench.tcp(&Tcp {
        flags: FIN | ACK,
        ..client(11, b"")
    });
    bench.server_ack(12);
    let after = bench.client(12, b"evil");
    assert_eq!(after[0].dropped(), Some(Reason::TcpFinInvalid));
    bench.finish();
    bench.check_empty();
}

#[test]
fn nothing_reaches_an_old_connection_under_a_new_syn() {
    let mut bench = Bench::inline();
    bench.handshake();
    bench.client(0, b"one");
    bench.tcp(&Tcp {
        flags: RST,
        ack: 0,
        ..client(3, b"")
    });
    bench.tcp(&Tcp::new(true, SYN, 70_000, 0, b""));
    let old = bench.client(3, b"two");
    assert_eq!(old[0].dropped(), Some(Reason::TcpHandshakeInvalid));
    bench.finish();
    bench.check_empty();
}

#[test]
fn without_views_a_gap_filler_is_dropped_inline_and_a_tap_loses_bytes() {
    for mode in [Mode::Inline, Mode::Tap] {
        let mut bench = Bench::new(config(mode));
        bench.handshake();
        bench.client(5, b"world");
        let views = std::mem::take(&mut bench.emit.views);
        let filler = bench.unchecked(&[client(0, b"hello").packet()]);
        bench.emit.views = views;
        match mode {
            Mode::Inline => {
                assert_eq!(filler[0].dropped(), Some(Reason::DecodeViewsExhausted));
                let again = bench.client(0, b"hello");
                assert_eq!((again[0].text(), again[1].text()), ("hello", "world"));
            }
            Mode::Tap => {
                assert_eq!((filler.len(), filler[0].text()), (1, "hello"));
                let next = bench.client(10, b"!");
                assert!(next[0].has(flag::STREAM_GAP));
            }
        }
        bench.finish();
        bench.check_empty();
    }
}

#[test]
fn a_full_table_refuses_new_flows_by_policy() {
    let ask = |port| {
        ipv4(
            CLIENT.0,
            SERVER.0,
            17,
            1,
            0,
            &udp((CLIENT.0, port), SERVER, b"q"),
        )
    };
    let answer = |port| {
        ipv4(
            SERVER.0,
            CLIENT.0,
            17,
            1,
            0,
            &udp(SERVER, (CLIENT.0, port), b"a"),
        )
    };
    let cases = [
        (Mode::Inline, None, Some(Reason::FlowTableFull)),
        (Mode::Inline, Some(Policy::PassPacket), None),
        (Mode::Tap, None, None),
    ];
    for (mode, master, dropped) in cases {
        let mut small = Config {
            flows_max: 4,
            ..config(mode)
        };
        small.policies.master = master.map(Choice::Is);
        let mut bench = Bench::new(small);
        for port in 1..=4 {
            bench.run(&[ask(port), answer(port)]);
        }
        let over = bench.one(&ask(5));
        assert_eq!(over[0].dropped(), dropped);
        assert!(!over[0].flow.is_some());
        assert_eq!(bench.count(Counter::FlowsRefused), 1);
        assert_eq!(
            bench.one(&ask(1))[0].dropped(),
            None,
            "flows that are there go on"
        );
        bench.finish();
        bench.check_empty();
    }
}

#[test]
fn closed_flows_give_way_in_a_full_table_and_open_ones_stay() {
    let mut bench = Bench::new(Config {
        flows_max: 32,
        checksum_validation: false,
        ..config(Mode::Inline)
    });
    bench.handshake();
    let (c, s) = (CLIENT_ISN + 1, SERVER_ISN + 1);
    for port in 1000..1200u16 {
        let segments = [
            Tcp::new(true, SYN, CLIENT_ISN, 0, b""),
            Tcp::new(false, SYN | ACK, SERVER_ISN, c, b""),
            Tcp::new(true, ACK, c, s, b""),
            Tcp::new(true, FIN | ACK, c, s, b""),
            Tcp::new(false, FIN | ACK, s, c + 1, b""),
            Tcp::new(true, ACK, c + 1, s + 1, b""),
        ];
        for segment in segments {
            let mut packet = segment.packet();
            let at = if segment.to_server { 20 } else { 22 };
            packet[at..at + 2].copy_from_slice(&port.to_be_bytes());
            let seen = bench.one(&packet);
            assert_eq!(seen[0].dropped(), None, "{port} {segment:?}");
        }
    }
    assert_eq!(bench.count(Counter::FlowsRefused), 0);
    assert!(bench.count(Counter::FlowsEndedEvicted) >= 200 - 32);
    assert_eq!(bench.client(0, b"hello")[0].text(), "hello");
    bench.finish();
    bench.check_empty();
}

#[test]
fn a_quiet_flow_keeps_no_page_once_its_bytes_are_acknowledged() {
    let mut bench = Bench::inline();
    bench.handshake();
    let all = bench.stage.pages.available();
    bench.client(0, b"hello");
    assert_eq!(bench.stage.pages.available(), all - 1);
    bench.server_ack(5);
    assert_eq!(bench.stage.pages.available(), all);
    let again = bench.client(0, b"hello");
    assert_eq!((again[0].dropped(), again[0].text()), (None, ""));
    bench.client(5, b" there");
    bench.client(12, b"later");
    bench.server_ack(11);
    assert_eq!(bench.stage.pages.available(), all - 1, "bytes wait");
    bench.finish();
    bench.check_empty();
}

#[test]
fn what_no_handshake_covers_passes_by_policy_only() {
    let mut strict = config(Mode::Inline);
    strict.policies.master = Some(Choice::Auto);
    // The answer to the SYN went another way.
    for (settings, dropped) in [
        (config(Mode::Inline), None),
        (strict, Some(Reason::TcpMidstream)),
    ] {
        let mut bench = Bench::new(settings);
        bench.tcp(&Tcp::new(true, SYN, CLIENT_ISN, 0, b""));
        let seen = bench.client(0, b"unseen by any stream");
        assert_eq!(seen[0].dropped(), dropped);
        bench.finish();
        bench.check_empty();
    }
}
