//! Tests between network namespaces: veth pairs, real frames, a real TCP stack. They need root and
//! iproute2; without, they say so loudly.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::*;
use crate::port::generator::{Generator, Mix};
use crate::port::testing::{Totals, Worker};
use crate::port::{Discard, PortCounter, Receive, Transmit, checksum};
use crate::reason::Reason;

type Lane = Worker<PacketReceiver, PacketTransmitter>;

fn ip(arguments: &str) {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {told}");
}

/// Runs `test` in a thread with a network namespace of its own; skips loudly where that cannot be.
fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let possible = std::thread::spawn(|| {
        leave_network().is_ok() && Command::new("ip").arg("-V").output().is_ok()
    });
    if !possible.join().unwrap() {
        println!("SKIPPED: network namespaces need root, and the `ip` command");
        let required = std::env::var_os("SLUICE_REQUIRE_ROOT").is_some_and(|v| v == "1");
        assert!(!required, "network namespaces are not available");
        return;
    }
    let thread = std::thread::spawn(move || {
        leave_network().unwrap();
        // Router solicitations would be frames that nobody sent.
        for scope in ["all", "default"] {
            let path = format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6");
            let _ = std::fs::write(path, "1");
        }
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn open_pair(names: [&str; 2], frames: u32) -> Lane {
    let ports = [0, 1].map(|port| {
        let options = Options {
            frames,
            port: port as u8,
            ..Options::default()
        };
        open(names[port], &options).unwrap()
    });
    Worker::new(ports, 256)
}

/// Two veth pairs in this namespace: a0-a1 and b0-b1.
fn cables() {
    for cable in ["a", "b"] {
        ip(&format!("link add {cable}0 type veth peer name {cable}1"));
        for end in [0, 1] {
            ip(&format!("link set {cable}{end} up"));
        }
    }
}

#[test]
fn frames_pass_two_ports_unchanged_and_in_order() {
    in_namespace(|| {
        cables();
        // Rings smaller than the traffic, so that they wrap many times.
        let mut lane = open_pair(["a1", "b1"], 256);
        let mut outer = open_pair(["a0", "b0"], 256);
        let mix = Mix {
            flows: 400,
            vlan: 0.5,
            attack: 0.1,
            fragments: 0.1,
            ..Mix::default()
        };
        let mut sent: [VecDeque<Vec<u8>>; 2] = Default::default();
        let mut totals = Totals::default();
        let (mut count, mut arrived, mut tagged) = (0u64, 0u64, 0u64);
        let frames: Vec<_> = Generator::new(mix).collect();
        for burst in frames.chunks(32) {
            for frame in burst {
                let port = usize::from(frame.port);
                outer.transmitters[port].send_copy(&frame.bytes).unwrap();
                tagged += u64::from(frame.bytes[12] != 8 && frame.bytes[12] != 0x86);
                sent[port].push_back(frame.bytes.clone());
                count += 1;
            }
            outer.transmitters.iter_mut().for_each(Transmit::sync);
            let start = Instant::now();
            while arrived < count {
                lane.turn(&mut totals, |context, _| {
                    assert!(context.time_ns > 1_600_000_000_000_000_000);
                    true
                });
                for port in [0, 1] {
                    arrived += outer.collect(port, |_, bytes| {
                        assert_eq!(sent[1 - port].pop_front().as_deref(), Some(bytes));
                    }) as u64;
                }
                assert!(
                    start.elapsed() < Duration::from_secs(10),
                    "{arrived} of {count}"
                );
            }
        }
        assert!(
            count > 4000 && tagged > 1000,
            "{count} frames, {tagged} tagged"
        );
        assert_eq!((totals.received, totals.forwarded), (count, count));
        let copied: u64 = lane
            .transmitters
            .iter()
            .map(|half| half.counters().get(PortCounter::Copied))
            .sum();
        assert_eq!(copied, count, "every copy is counted");
        for half in &lane.receivers {
            half.read_statistics();
            assert_eq!(half.counters().get(PortCounter::Missed), 0);
        }
    });
}

#[test]
fn held_frames_stay_and_a_full_ring_is_the_kernels_loss() {
    in_namespace(|| {
        cables();
        let mut lane = open_pair(["a1", "b1"], 64);
        let mut outer = open_pair(["a0", "b0"], 256);
        let frame = |number: u8| vec![number; 200];
        for number in 0..200u8 {
            outer.transmitters[0].send_copy(&frame(number)).unwrap();
        }
        outer.transmitters[0].sync();
        assert!(outer.transmitters[0].is_drained());
        let received = lane.receive(0, 256).count;
        assert_eq!(
            lane.receive(0, 256).count,
            0,
            "a held frame is not delivered twice"
        );
        lane.receivers[0].read_statistics();
        let missed = lane.receivers[0].counters().get(PortCounter::Missed);
        assert_eq!(received as u64 + missed, 200);
        for (number, handle) in lane.burst.iter().enumerate() {
            let span = lane.contexts.get(handle).span;
            assert_eq!(lane.regions.bytes(span), frame(number as u8));
        }
        // An engine that died holding frames: who takes over gives them back.
        lane.receivers[0].take_over();
        lane.receivers[0].park();
        outer.transmitters[0].send_copy(&frame(7)).unwrap();
        outer.transmitters[0].sync();
        assert_eq!(lane.receive(0, 1).count, 1);
    });
}

#[test]
fn a_take_over_looks_for_held_frames_where_they_are_and_then_everywhere() {
    in_namespace(|| {
        cables();
        let mut lane = open_pair(["a1", "b1"], 1024);
        let mut outer = open_pair(["a0", "b0"], 256);
        // Ten that are held for long, and then 400 that come and go.
        for number in 0..41u8 {
            for _ in 0..10 {
                outer.transmitters[0].send_copy(&[number; 100]).unwrap();
            }
            outer.transmitters[0].sync();
            assert!(outer.transmitters[0].is_drained());
            assert_eq!(lane.receive(0, 10).count, 10);
            let mut later = if number == 0 {
                Vec::new()
            } else {
                lane.burst.split_off(10)
            };
            for mut handle in later.drain(..) {
                lane.receivers[0].reclaim(lane.contexts.get_mut(&mut handle));
                lane.free.push(handle);
            }
        }
        lane.receivers[0].take_over();
        lane.receivers[0].resume();
        assert_eq!(lane.receive(0, 10).count, 0);
        assert_eq!(
            lane.receivers[0].recover(u32::MAX),
            10,
            "the old ones, in the end"
        );
        assert_eq!(lane.receivers[0].recover(u32::MAX), 0);
    });
}

fn open_tap(name: &str, frames: u32) -> Worker<BlockReceiver, Discard> {
    let options = Options {
        frames,
        ..Options::default()
    };
    let receiver = BlockReceiver::open(name, &options).unwrap();
    Worker::new([(receiver, Discard::default())], 1024)
}

/// Turns until the kernel has handed over the block that it fills, and nothing waits any more.
fn until_quiet(mut turn: impl FnMut() -> usize) -> usize {
    let (mut count, mut last) = (0, Instant::now());
    while last.elapsed() < Duration::from_millis(60) {
        match turn() {
            0 => std::thread::sleep(Duration::from_millis(1)),
            more => (count, last) = (count + more, Instant::now()),
        }
    }
    count
}

#[test]
fn a_tap_sees_every_frame_whole_in_blocks_and_every_one_is_counted() {
    in_namespace(|| {
        cables();
        let mut outer = open_pair(["a0", "b0"], 256);
        // 64 blocks: one goes by with each millisecond, full or not.
        let mut tap = open_tap("a1", 4096);
        let mix = Mix {
            flows: 400,
            vlan: 0.5,
            attack: 0.1,
            fragments: 0.1,
            ..Mix::default()
        };
        let (mut sent, mut count, mut tagged) = (VecDeque::new(), 0, 0);
        let frames: Vec<_> = Generator::new(mix).collect();
        for burst in frames.chunks(64) {
            for frame in burst {
                outer.transmitters[0].send_copy(&frame.bytes).unwrap();
                tagged += u64::from(frame.bytes[12] != 8 && frame.bytes[12] != 0x86);
                sent.push_back(frame.bytes.clone());
            }
            outer.transmitters[0].sync();
            count += tap.collect(0, |context, bytes| {
                assert!(context.time_ns > 1_600_000_000_000_000_000);
                assert_eq!(sent.pop_front().as_deref(), Some(bytes), "I2, I3, I4");
            });
            if sent.len() > 600 {
                count += until_quiet(|| {
                    tap.collect(0, |_, bytes| {
                        assert_eq!(sent.pop_front().as_deref(), Some(bytes))
                    })
                });
            }
        }
        count += until_quiet(|| {
            tap.collect(0, |_, bytes| {
                assert_eq!(sent.pop_front().as_deref(), Some(bytes))
            })
        });
        assert!(
            count > 4000 && tagged > 1000,
            "{count} frames, {tagged} tagged"
        );
        assert_eq!(
            (count, sent.len()),
            (frames.len(), 0),
            "I1: none is missing"
        );
        tap.receivers[0].read_statistics();
        let counters = tap.receivers[0].counters();
        let told = [
            PortCounter::Packets,
            PortCounter::Missed,
            PortCounter::TooLong,
        ];
        let told = told.map(|counter| counters.get(counter));
        assert_eq!(told, [count as u64, 0, 0]);
    });
}

#[test]
fn a_block_stays_while_a_frame_of_it_is_out_and_a_full_ring_is_the_kernels_loss() {
    in_namespace(|| {
        cables();
        let mut outer = open_pair(["a0", "b0"], 1024);
        let mut tap = open_tap("a1", 64);
        // 800 kB for four blocks, half a megabyte. How many fit is not known before: the kernel's
        // clock closes the block at hand, full or not, as often as it ticks while they are sent.
        let frame = |number: u32| number.to_le_bytes().repeat(350);
        for number in 0..600 {
            outer.transmitters[0].send_copy(&frame(number)).unwrap();
        }
        outer.transmitters[0].sync();
        let received = until_quiet(|| tap.receive(0, 64).count);
        for (number, handle) in (0..).zip(&tap.burst) {
            let span = tap.contexts.get(handle).span;
            assert_eq!(tap.regions.bytes(span), frame(number), "held frames stay");
        }
        let out = tap.receivers[0].frames_out();
        assert!(out.len() == 4 && !out.contains(&0), "all are out: {out:?}");
        assert_eq!(out.iter().sum::<u32>() as usize, received);
        tap.receivers[0].read_statistics();
        let missed = tap.receivers[0].counters().get(PortCounter::Missed);
        assert!(missed > 0, "{received} received");
        assert_eq!(received as u64 + missed, 600, "I1");
        // Home they go, in an order of their own; then the ring is whole again. Four frames at a
        // time need four blocks at most, whenever the clock ticks: not one may be lost, five times
        // round the ring and more. A block that had stayed away would end it.
        let mut held = std::mem::take(&mut tap.burst);
        held.reverse();
        for mut handle in held {
            tap.receivers[0].reclaim(tap.contexts.get_mut(&mut handle));
            tap.free.push(handle);
        }
        assert_eq!(tap.receivers[0].frames_out(), [0; 4]);
        let mut next = 1000;
        for upto in (1004..=1300).step_by(4) {
            for number in upto - 4..upto {
                outer.transmitters[0].send_copy(&frame(number)).unwrap();
            }
            outer.transmitters[0].sync();
            let start = Instant::now();
            while next < upto && start.elapsed() < Duration::from_secs(10) {
                tap.collect(0, |_, bytes| {
                    assert_eq!(bytes, frame(next));
                    next += 1;
                });
            }
            assert_eq!(next, upto, "{:?}", tap.receivers[0].frames_out());
        }
        // And full blocks once more, of which as many arrive as are not missed.
        for number in 1300..1600 {
            outer.transmitters[0].send_copy(&frame(number)).unwrap();
        }
        outer.transmitters[0].sync();
        let count = until_quiet(|| {
            tap.collect(0, |_, bytes| {
                assert_eq!(bytes, frame(next));
                next += 1;
            })
        });
        tap.receivers[0].read_statistics();
        let more = tap.receivers[0].counters().get(PortCounter::Missed) - missed;
        assert_eq!(count as u64 + more, 300, "I1");
    });
}

#[test]
fn too_long_frames_are_refused_and_a_port_that_is_down_says_so() {
    in_namespace(|| {
        cables();
        let mut outer = open_pair(["a0", "b0"], 64);
        let long = outer.transmitters[0].send_copy(&[0; 1519]);
        assert_eq!(long, Err(Reason::PortFrameTooLong));
        ip("link set a0 down");
        let mut refused = None;
        for _ in 0..1000 {
            refused = outer.transmitters[0].send_copy(&[0; 100]).err();
            outer.transmitters[0].sync();
            if refused.is_some() {
                break;
            }
        }
        assert_eq!(refused, Some(Reason::PortTxDown));
        ip("link set a0 up");
        outer.transmitters[0].sync();
        let start = Instant::now();
        while !outer.transmitters[0].is_drained() {
            assert!(start.elapsed() < Duration::from_secs(5));
        }
        assert_eq!(outer.transmitters[0].send_copy(&[0; 100]), Ok(()));
    });
}

#[test]
fn what_cannot_be_opened_says_what_to_do() {
    let error = open("no-such-if0", &Options::default()).err().unwrap();
    assert!(error.to_string().contains("[hint]"), "{error}");
}

/// Two hosts in namespaces of their own talk TCP through the lane. Their stacks leave checksums to
/// the NIC, so the lane has to complete them.
#[test]
fn two_hosts_talk_tcp_through_the_lane() {
    in_namespace(|| {
        cables();
        let (server_ready, server_up) = mpsc::channel();
        let server = host("b0", "10.9.0.2/24", move || {
            let listener = TcpListener::bind("10.9.0.2:5000").unwrap();
            server_ready.send(()).unwrap();
            let (mut peer, _) = listener.accept().unwrap();
            let mut bytes = Vec::new();
            peer.read_to_end(&mut bytes).unwrap();
            peer.write_all(&bytes).unwrap();
        });
        let client = host("a0", "10.9.0.1/24", move || {
            server_up.recv().unwrap();
            let sent: Vec<u8> = (0..1_000_000u32).map(|n| (n * 7 / 5) as u8).collect();
            let mut peer = TcpStream::connect("10.9.0.2:5000").unwrap();
            peer.set_read_timeout(Some(Duration::from_secs(30)))
                .unwrap();
            peer.write_all(&sent).unwrap();
            peer.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            peer.read_to_end(&mut answer).unwrap();
            assert!(answer == sent);
        });
        let mut lane = open_pair(["a1", "b1"], 4096);
        server.1.send(()).unwrap();
        client.1.send(()).unwrap();
        let mut totals = Totals::default();
        let start = Instant::now();
        while !client.0.is_finished() {
            lane.turn(&mut totals, |context, bytes| {
                let at = checksum::transport(bytes);
                assert!(at.is_none_or(|(at, sum)| bytes[at..at + 2] == sum.to_be_bytes()));
                assert!(context.span.length <= 1518);
                true
            });
            std::thread::yield_now();
            assert!(start.elapsed() < Duration::from_secs(60), "{totals:?}");
        }
        client.0.join().unwrap();
        server.0.join().unwrap();
        let completed: u64 = lane
            .receivers
            .iter()
            .map(|half| half.counters().get(PortCounter::ChecksumCompleted))
            .sum();
        println!("{totals:?}, {completed} checksums completed");
        assert!(totals.forwarded > 1400 && completed > 500);
    });
}

/// A thread in a namespace of its own, to which the interface is moved; it begins when told.
fn host(
    interface: &'static str,
    address: &'static str,
    work: impl FnOnce() + Send + 'static,
) -> (std::thread::JoinHandle<()>, mpsc::Sender<()>) {
    let (begin, begun) = mpsc::channel();
    let (tell, told) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        leave_network().unwrap();
        let link = std::fs::read_link("/proc/thread-self").unwrap();
        let number = link.file_name().unwrap().to_string_lossy().into_owned();
        tell.send(number).unwrap();
        begun.recv().unwrap();
        ip(&format!("address add {address} dev {interface}"));
        ip(&format!("link set {interface} up"));
        let refused = offloads_off(interface).unwrap();
        assert!(
            !refused.contains(&"tcp-segmentation-offload"),
            "{refused:?}"
        );
        work();
    });
    ip(&format!(
        "link set {interface} netns {}",
        told.recv().unwrap()
    ));
    (thread, begin)
}

#[test]
fn an_interface_that_was_pulled_out_is_taken_up_when_it_is_back() {
    in_namespace(|| {
        let cable = || {
            ip("link add a0 type veth peer name a1");
            ip("link set a0 up");
            ip("link set a1 up");
        };
        cable();
        let options = Options {
            frames: 64,
            ..Options::default()
        };
        let (receiver, transmitter) = open("a1", &options).unwrap();
        let mut presence = receiver.presence(&transmitter, &options).unwrap();
        let counters = Arc::clone(receiver.counters());
        let mut lane = Worker::new([(receiver, transmitter)], 64);
        let mut now = Instant::now();
        let mut look = |after: Duration| {
            now += after;
            presence.look(now)
        };
        let hour = Duration::from_secs(3600);
        assert_eq!(look(hour), None, "it is there");
        for round in 1..=3u64 {
            // With the one end the other goes, too, and another number comes back.
            ip("link delete a0");
            let gone = look(hour).unwrap();
            assert!(gone.contains("a1: the interface is gone"), "{gone}");
            assert_eq!(look(hour), None, "told once");
            // Whatever is sent meanwhile is refused and does not wait for ever.
            lane.transmitters[0].send_copy(&[0x55; 60]).unwrap();
            lane.transmitters[0].sync();
            assert_eq!(
                lane.transmitters[0].counters().get(PortCounter::Down),
                round
            );
            cable();
            assert_eq!(
                look(Duration::ZERO),
                None,
                "it is not looked for all the time"
            );
            let back = look(hour).unwrap();
            assert!(back.contains("a1: the interface is back"), "{back}");
            assert_eq!(counters.get(PortCounter::Reopened), round);
            // Both ways, by the same rings as before.
            let mut far = Worker::new([open("a0", &options).unwrap()], 64);
            let sent = [0xaa; 60];
            far.transmitters[0].send_copy(&sent).unwrap();
            far.transmitters[0].sync();
            let start = Instant::now();
            let mut came = 0;
            while came == 0 && start.elapsed() < Duration::from_secs(10) {
                came = lane.collect(0, |_, bytes| assert_eq!(bytes, sent));
            }
            assert_eq!(came, 1);
            lane.transmitters[0].send_copy(&sent).unwrap();
            lane.transmitters[0].sync();
            let mut seen = Vec::new();
            while !seen.contains(&0xaa) && start.elapsed() < Duration::from_secs(10) {
                far.collect(0, |_, bytes| seen.push(bytes[0]));
            }
            assert!(seen.ends_with(&[0xaa]), "{seen:?}");
        }
    });
}

/// A UDP datagram that the kernel's flow hash tells from others by its port.
fn datagram(port: u16) -> [u8; 60] {
    let mut frame = [0x5a; 60];
    frame[12..16].copy_from_slice(&[8, 0, 0x45, 0]);
    frame[16..24].copy_from_slice(&[0, 46, 0, 0, 0, 0, 64, 17]);
    frame[26..34].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
    frame[34..36].copy_from_slice(&port.to_be_bytes());
    frame
}

/// Pulls the interface of two lanes out three times, while one of its frames is held.
fn comes_back_to_two_lanes<R: Receive, T: Transmit>(
    open_lane: impl Fn(&Options) -> ((R, T), Presence),
) {
    const FLOWS: u16 = 100;
    let cable = || {
        ip("link add a0 type veth peer name a1");
        ip("link set a0 up");
        ip("link set a1 up");
    };
    cable();
    let lane = |port| {
        let options = Options {
            frames: 256,
            fanout: Some(4711),
            port,
            ..Options::default()
        };
        open_lane(&options)
    };
    let ((first, mut presence), (second, other)) = (lane(0), lane(1));
    let mut other = other.spoken_for(true);
    let counters = [&first, &second].map(|(receiver, _)| Arc::clone(receiver.counters()));
    let mut lanes = Worker::new([first, second], 512);
    let options = Options::default();
    let mut now = Instant::now();
    for round in 0..=3u64 {
        if round > 0 {
            ip("link delete a0");
            now += Duration::from_secs(3600);
            let gone = presence.look(now).unwrap();
            assert!(gone.contains("a1: the interface is gone"), "{gone}");
            assert_eq!(other.look(now), None, "told once");
            cable();
            now += Duration::from_secs(3600);
            let back = presence.look(now).unwrap();
            assert!(back.contains("a1: the interface is back"), "{back}");
            assert_eq!(other.look(now), None, "told once");
        }
        let mut far = Worker::new([open("a0", &options).unwrap()], 64);
        for flow in 0..FLOWS {
            far.transmitters[0].send_copy(&datagram(flow)).unwrap();
        }
        far.transmitters[0].sync();
        // What is held stays as it is, and its lane's new ring waits for it to come home.
        for mut handle in std::mem::take(&mut lanes.burst) {
            let lane = usize::from(lanes.contexts.get(&handle).port);
            assert_eq!(
                lanes.receivers[lane]
                    .receive(&lanes.contexts, &mut lanes.free, &mut lanes.burst, 64, 0)
                    .count,
                0
            );
            let context = lanes.contexts.get_mut(&mut handle);
            assert_eq!(lanes.regions.bytes(context.span), datagram(7777));
            lanes.receivers[lane].reclaim(context);
            lanes.free.push(handle);
        }
        let (mut seen, mut of_lane) = (vec![0; usize::from(FLOWS)], [0; 2]);
        let start = Instant::now();
        while of_lane.iter().sum::<usize>() < usize::from(FLOWS) {
            for (lane, count) in of_lane.iter_mut().enumerate() {
                *count += lanes.collect(lane, |_, bytes| {
                    seen[usize::from(u16::from_be_bytes([bytes[34], bytes[35]]))] += 1;
                });
            }
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "{round}: {of_lane:?}"
            );
        }
        assert!(seen.iter().all(|count| *count == 1), "{round}: {seen:?}");
        assert!(
            of_lane.iter().all(|count| *count > 10),
            "{round}: {of_lane:?}"
        );
        far.transmitters[0].send_copy(&datagram(7777)).unwrap();
        far.transmitters[0].sync();
        while lanes.burst.is_empty() && start.elapsed() < Duration::from_secs(10) {
            lanes.receive(0, 1);
            lanes.receive(1, 1);
        }
        assert_eq!(lanes.burst.len(), 1, "held");
    }
    assert_eq!(counters.map(|own| own.get(PortCounter::Reopened)), [3; 2]);
}

#[test]
fn an_interface_of_several_lanes_is_taken_up_by_other_sockets_once_all_frames_are_home() {
    in_namespace(|| {
        comes_back_to_two_lanes(|options| {
            let (receiver, transmitter) = open("a1", options).unwrap();
            let presence = receiver.presence(&transmitter, options).unwrap();
            ((receiver, transmitter), presence)
        });
    });
    in_namespace(|| {
        comes_back_to_two_lanes(|options| {
            let receiver = BlockReceiver::open("a1", options).unwrap();
            let presence = receiver.presence(options).unwrap();
            ((receiver, Discard::default()), presence)
        });
    });
}
