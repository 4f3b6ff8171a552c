//! The straight path against the general one: the same packets through two stages, of which one sends
//! none straight, leave the same contexts, views, counters and ends.

use super::bench::*;
use super::captures;
use crate::config::{Config, Mode};
use crate::counters::Counter;
use crate::decode::LinkType;
use proptest::prelude::*;

/// What comes out of a stage, and how many packets went straight.
fn outcome(
    general_only: bool,
    config: &Config,
    link: u8,
    packets: &[Vec<u8>],
    waits: &[u64],
    burst: usize,
) -> (Vec<String>, u64) {
    let mut bench = Bench::new(config.clone());
    bench.stage.straight_probe.0 = general_only;
    bench.link = link;
    let mut all: Vec<String> = Vec::new();
    let mut waits = waits.chunks(burst);
    for part in packets.chunks(burst) {
        bench.wait(waits.next().unwrap_or(&[]).iter().sum());
        all.extend(bench.run(part).iter().map(|seen| format!("{seen:?}")));
    }
    all.extend(bench.finish().iter().map(|seen| format!("{seen:?}")));
    bench.check_empty();
    let counted: Vec<u64> = Counter::ALL.iter().map(|c| bench.count(*c)).collect();
    all.push(format!("{counted:?}"));
    (all, bench.stage.straight_probe.1)
}

/// Runs both and gives how many packets went straight.
fn agree(
    config: &Config,
    link: u8,
    packets: &[Vec<u8>],
    waits: &[u64],
    burst: usize,
    name: &str,
) -> u64 {
    let (general, none) = outcome(true, config, link, packets, waits, burst);
    let (straight, count) = outcome(false, config, link, packets, waits, burst);
    assert_eq!(none, 0);
    for (one, other) in straight.iter().zip(&general) {
        assert_eq!(one, other, "{name}");
    }
    assert_eq!(straight.len(), general.len(), "{name}");
    count
}

#[test]
fn captures_give_the_same_on_both_paths() {
    let Some(home) = captures::shared() else {
        return;
    };
    let mut paths: Vec<_> = std::fs::read_dir(home.join("captures"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let (mut all, mut count) = (0, 0);
    for path in paths {
        let Some((link, mut packets)) = captures::read(&path) else {
            continue;
        };
        packets.retain(|packet| packet.len() <= FRAME_BYTES);
        let link = LinkType::from_pcap(link) as u8;
        for (mode, depth) in [(Mode::Tap, 3000), (Mode::Inline, 0)] {
            let config = Config {
                stream_depth: depth,
                ..captures::settings(mode)
            };
            let name = path.display().to_string();
            count += agree(&config, link, &packets, &[], 23, &name);
            all += packets.len() as u64;
        }
    }
    println!("{count} of {all} packets went straight");
    assert!(all > 20_000 && count > all / 4, "{count} of {all}");
}

/// One segment of a connection, as a departure from the one that is expected.
#[derive(Clone, Debug)]
struct Step {
    to_server: bool,
    length: u16,
    /// Distance of the number from the expected one.
    shift: i32,
    /// Bytes less (or more) acknowledged than there are.
    back: i32,
    flags: u8,
    window: u16,
    /// Distance of the timestamp from the one before; none: no option.
    stamp: Option<i32>,
    /// That pass before it.
    seconds: u64,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Nearly always what is expected, so that both paths are taken in turn.
    let rarely = |other: std::ops::Range<i32>| prop_oneof![12 => Just(0), 1 => other];
    let flags = prop_oneof![
        12 => Just(ACK), 6 => Just(ACK | PSH), 1 => any::<u8>(), 1 => Just(ACK | FIN),
        1 => Just(ACK | URG),
    ];
    let window = prop_oneof![12 => Just(65535u16), 1 => Just(0), 1 => any::<u16>()];
    let length = prop_oneof![3 => Just(0u16), 1 => Just(1), 4 => 1..1400u16, 1 => Just(1400)];
    let stamp = prop_oneof![8 => Just(Some(1)), 1 => Just(None), 1 => (-5..5i32).prop_map(Some)];
    let seconds = prop_oneof![30 => Just(0u64), 1 => 1..4000u64];
    let step = (
        any::<bool>(),
        length,
        rarely(-2000..2000),
        rarely(-2000..2000),
        flags,
        window,
        stamp,
        seconds,
    );
    let step = step.prop_map(
        |(to_server, length, shift, back, flags, window, stamp, seconds)| Step {
            to_server,
            length,
            shift,
            back,
            flags,
            window,
            stamp,
            seconds,
        },
    );
    prop::collection::vec(step, 1..60)
}

/// The segments of a connection's steps, behind its handshake if it is seen.
fn segments(isn: u32, stamped: bool, handshake: bool, steps: &[Step]) -> Vec<Vec<u8>> {
    let stamp = |segment: Tcp, value: i64| match stamped {
        true => segment.timestamp(value as u32, 1),
        false => segment,
    };
    let mut next = [isn.wrapping_add(1), SERVER_ISN + 1];
    let mut stamps = [1000i64; 2];
    let mut packets = Vec::new();
    if handshake {
        packets.extend([
            stamp(Tcp::new(true, SYN, isn, 0, b""), 999).packet(),
            stamp(Tcp::new(false, SYN | ACK, SERVER_ISN, next[0], b""), 999).packet(),
            stamp(Tcp::new(true, ACK, next[0], next[1], b""), 999).packet(),
        ]);
    }
    for step in steps {
        let way = usize::from(!step.to_server);
        let seq = next[way].wrapping_add_signed(step.shift);
        let ack = next[1 - way].wrapping_add_signed(step.back);
        let data: Vec<u8> = (0..u32::from(step.length))
            .map(|at| (seq.wrapping_add(at) / 7) as u8)
            .collect();
        let mut segment = Tcp::new(step.to_server, step.flags, seq, ack, &data).window(step.window);
        if let (true, Some(by)) = (stamped, step.stamp) {
            stamps[way] += i64::from(by);
            segment = segment.timestamp(stamps[way] as u32, 1);
        }
        let fin = u32::from(step.flags & (FIN | SYN) != 0);
        if step.shift == 0 {
            next[way] = next[way].wrapping_add(u32::from(step.length) + fin);
        }
        packets.push(segment.packet());
    }
    packets
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn random_connections_give_the_same_on_both_paths(
        steps in steps(),
        isn in prop_oneof![Just(CLIENT_ISN), Just(u32::MAX - 3000), any::<u32>()],
        (inline, stamped, handshake, midstream) in any::<(bool, bool, bool, bool)>(),
        depth in prop_oneof![Just(0u32), 1..5000u32],
        burst in 1usize..20,
    ) {
        let mode = if inline { Mode::Inline } else { Mode::Tap };
        let config = Config { stream_depth: depth, midstream, ..config(mode) };
        let packets = segments(isn, stamped, handshake, &steps);
        let waits: Vec<u64> = steps.iter().map(|step| step.seconds).collect();
        let link = LinkType::Raw as u8;
        agree(&config, link, &packets, &waits, burst, "random segments");
    }
}
