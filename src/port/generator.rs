//! Makes traffic: flows of clean and hostile packets, interleaved in time, with right checksums
//! (unless wrong ones are the point), the same for the same seed.
//!
//! pcap-replay is the command line over it; tests of the main crate use it directly. How packets
//! are put together: packet.rs; what flows say: flows.rs. Attacks are text that the starter rules
//! name, never working exploits. Deliberately absent: speed at any price. Captures of it are made
//! once and replayed.

mod flows;
pub mod packet;

use std::collections::BTreeMap;

/// What to make. Shares are fractions of flows, 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Mix {
    /// Same seed, same frames.
    pub seed: u64,
    /// Flows to make.
    pub flows: u32,
    /// Frames per second, on average.
    pub rate: u64,
    /// Time of the first frame, nanoseconds since the epoch.
    pub start_ns: u64,
    /// Flows that attack.
    pub attack: f64,
    /// Flows over IPv6.
    pub ipv6: f64,
    /// Flows in a VLAN; a quarter of these in two.
    pub vlan: f64,
    /// Clean flows that are UDP (DNS-like).
    pub udp: f64,
    /// Clean flows that are ICMP echo.
    pub icmp: f64,
    /// Clean flows that are large datagrams in fragments.
    pub fragments: f64,
    /// TCP flows with retransmissions and segments out of order.
    pub loss: f64,
    /// Clean flows with a packet of wrong checksum, as a decoy beside the right one.
    pub bad_checksum: f64,
    /// Most bytes of a response.
    pub response_bytes_max: u32,
}

impl Default for Mix {
    fn default() -> Mix {
        Mix {
            seed: 1,
            flows: 1000,
            rate: 100_000,
            // 2026-01-01T00:00:00Z.
            start_ns: 1_767_225_600_000_000_000,
            attack: 0.02,
            ipv6: 0.25,
            vlan: 0.1,
            udp: 0.3,
            icmp: 0.05,
            fragments: 0.02,
            loss: 0.1,
            bad_checksum: 0.01,
            response_bytes_max: 60_000,
        }
    }
}

impl Mix {
    /// The demonstration: a bit of everything, each attack at least once, below 400 KiB.
    pub fn demo() -> Mix {
        Mix {
            seed: 2026,
            flows: 120,
            rate: 2000,
            attack: 0.2,
            ipv6: 0.25,
            vlan: 0.15,
            udp: 0.35,
            icmp: 0.08,
            fragments: 0.05,
            loss: 0.3,
            bad_checksum: 0.04,
            response_bytes_max: 4200,
            ..Mix::default()
        }
    }
}

/// What a hostile flow does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Hash)]
pub enum Attack {
    /// HTTP request for `/etc/passwd` through `../`.
    PathTraversal,
    /// The same, percent-encoded.
    PathTraversalEncoded,
    /// No-operation sled and `/bin/sh` to a TCP service.
    Shellcode,
    /// `${jndi:ldap://...}` in a request header.
    Log4j,
    /// `UNION SELECT` in a query.
    SqlInjection,
    /// `<script>` in a query.
    CrossSiteScripting,
    /// `;cat /etc/shadow` in a form.
    CommandInjection,
    /// The same as `PathTraversal`, in segments of a few bytes, out of order.
    PathTraversalSegmented,
    /// Response with the first bytes of a Windows program.
    ExecutableDownload,
    /// DNS query for a name under `evil.example`.
    DnsTunnel,
    /// `/bin/sh` in a UDP datagram of several fragments.
    ShellcodeFragments,
    /// TCP with SYN and FIN set.
    SynFinScan,
    /// TCP without any flag.
    NullScan,
    /// SYN to many ports of one host.
    PortScan,
    /// ICMP echo of extreme size, in fragments.
    PingLarge,
}

impl Attack {
    /// All of them.
    pub const ALL: [Attack; 15] = [
        Attack::PathTraversal,
        Attack::PathTraversalEncoded,
        Attack::Shellcode,
        Attack::Log4j,
        Attack::SqlInjection,
        Attack::CrossSiteScripting,
        Attack::CommandInjection,
        Attack::PathTraversalSegmented,
        Attack::ExecutableDownload,
        Attack::DnsTunnel,
        Attack::ShellcodeFragments,
        Attack::SynFinScan,
        Attack::NullScan,
        Attack::PortScan,
        Attack::PingLarge,
    ];
}

/// One frame, with what its maker knows about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Time on the wire, nanoseconds since the epoch.
    pub time_ns: u64,
    /// Port that it enters by: 0 from inside, 1 from outside.
    pub port: u8,
    /// Number of its flow, from 0.
    pub flow: u32,
    /// What the flow does, if it is hostile.
    pub attack: Option<Attack>,
    /// The frame, from the Ethernet header on.
    pub bytes: Vec<u8>,
}

/// A small random number generator (splitmix64): all that repeatable traffic needs.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator of its own sequence for each seed.
    pub fn new(seed: u64) -> Random {
        Random(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// A number in `low..high`; `low` if that is empty.
    pub fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.bits() % high.saturating_sub(low).max(1)
    }

    /// True with probability `share`.
    pub fn chance(&mut self, share: f64) -> bool {
        // 53 bits: what an f64 holds exactly.
        ((self.bits() >> 11) as f64) < share * (1u64 << 53) as f64
    }

    /// One of `list`.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.range(0, list.len() as u64) as usize]
    }
}

/// Frames in order of time. An iterator.
pub struct Generator {
    mix: Mix,
    random: Random,
    /// Flows begun.
    begun: u32,
    /// Start of the next flow.
    next_start_ns: u64,
    /// Frames of flows begun, by time and then by number.
    due: BTreeMap<(u64, u64), Frame>,
    /// Frames made.
    made: u64,
}

impl Generator {
    /// The traffic of a mix.
    pub fn new(mix: Mix) -> Generator {
        Generator {
            random: Random::new(mix.seed),
            begun: 0,
            next_start_ns: mix.start_ns,
            due: BTreeMap::new(),
            made: 0,
            mix,
        }
    }

    /// Which attack the flow makes: every attack in turn, spread evenly over the flows.
    fn attack_of(&self, flow: u32) -> Option<Attack> {
        let before = (f64::from(flow) * self.mix.attack) as usize;
        let after = (f64::from(flow + 1) * self.mix.attack) as usize;
        (after > before).then(|| Attack::ALL[before % Attack::ALL.len()])
    }

    /// Makes all frames of the next flow.
    fn begin_flow(&mut self) {
        let flow = self.begun;
        self.begun += 1;
        let attack = self.attack_of(flow);
        let frames = flows::make(&self.mix, &mut self.random, flow, attack);
        // The next flow starts when as many frames as this one has would have passed.
        let share = 1_000_000_000 * frames.len() as u64 / self.mix.rate.max(1);
        for mut frame in frames {
            frame.time_ns += self.next_start_ns;
            self.due.insert((frame.time_ns, self.made), frame);
            self.made += 1;
        }
        self.next_start_ns += share;
    }
}

impl Iterator for Generator {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        let first = |due: &BTreeMap<(u64, u64), Frame>| due.keys().next().map(|key| key.0);
        while self.begun < self.mix.flows
            && first(&self.due).is_none_or(|time_ns| time_ns >= self.next_start_ns)
        {
            self.begin_flow();
        }
        self.due.pop_first().map(|(_, frame)| frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_frames_in_order_of_time() {
        let mix = Mix {
            flows: 300,
            attack: 0.1,
            ..Mix::default()
        };
        let frames: Vec<_> = Generator::new(mix.clone()).collect();
        assert!(frames == Generator::new(mix.clone()).collect::<Vec<_>>());
        assert!(frames.is_sorted_by_key(|frame| frame.time_ns));
        let other = Mix { seed: 2, ..mix };
        assert!(frames != Generator::new(other).collect::<Vec<_>>());
        let flows: std::collections::BTreeSet<_> = frames.iter().map(|f| f.flow).collect();
        assert_eq!(flows.len(), 300);
    }

    #[test]
    fn shares_and_rate_come_out_as_asked() {
        let mix = Mix {
            flows: 2000,
            attack: 0.25,
            ..Mix::default()
        };
        let (rate, start_ns) = (mix.rate, mix.start_ns);
        let frames: Vec<_> = Generator::new(mix).collect();
        let attacks: std::collections::BTreeMap<_, _> = frames
            .iter()
            .filter_map(|f| f.attack.map(|attack| (f.flow, attack)))
            .collect();
        assert_eq!(attacks.len(), 500);
        let kinds: std::collections::BTreeSet<_> = attacks.values().collect();
        assert_eq!(kinds.len(), Attack::ALL.len());
        let (last, count) = (frames.last().unwrap().time_ns, frames.len() as u64);
        let seen = count * 1_000_000_000 / (last - start_ns);
        assert!(
            seen > rate * 8 / 10 && seen < rate * 12 / 10,
            "{seen} of {rate}"
        );
        let sides = frames.iter().filter(|frame| frame.port == 0).count();
        assert!(sides > frames.len() / 4 && sides < frames.len() * 3 / 4);
    }

    /// etherparse reads every frame, and finds the checksums right unless they are decoys.
    #[test]
    fn frames_are_well_formed_and_checksums_right() {
        let mix = Mix {
            flows: 600,
            attack: 0.2,
            bad_checksum: 0.1,
            ..Mix::default()
        };
        let (mut right, mut wrong, mut fragments) = (0, 0, 0);
        for frame in Generator::new(mix) {
            assert!(
                (60..=1514).contains(&frame.bytes.len()),
                "{}",
                frame.bytes.len()
            );
            let sliced = etherparse::SlicedPacket::from_ethernet(&frame.bytes).unwrap();
            match checksums_right(&sliced) {
                Some(true) => right += 1,
                Some(false) => wrong += 1,
                None => fragments += 1,
            }
        }
        println!("{right} right, {wrong} wrong, {fragments} fragments");
        assert!(right > 5000 && fragments > 50);
        assert!(wrong > 10 && wrong < 200);
    }

    /// `None` for fragments, whose transport checksum spans others.
    fn checksums_right(packet: &etherparse::SlicedPacket<'_>) -> Option<bool> {
        use etherparse::{NetSlice, TransportSlice};
        let (protocol, payload, pseudo) = match packet.net.as_ref()? {
            NetSlice::Ipv4(v4) => {
                let header = v4.header();
                if checksum_of_header(header.slice()) != 0 {
                    return Some(false);
                }
                if header.is_fragmenting_payload() {
                    return None;
                }
                let addrs = [header.source(), header.destination()].concat();
                (header.protocol().0, v4.payload().payload, addrs)
            }
            NetSlice::Ipv6(v6) => {
                if v6.is_payload_fragmented() {
                    return None;
                }
                let addrs = [v6.header().source(), v6.header().destination()].concat();
                (v6.payload().ip_number.0, v6.payload().payload, addrs)
            }
            _ => panic!("neither IPv4 nor IPv6"),
        };
        let sum = match packet.transport.as_ref()? {
            TransportSlice::Icmpv4(_) => 0,
            _ => super::super::checksum::pseudo(&pseudo, protocol, payload.len() as u32),
        };
        Some(super::super::checksum::finish(super::super::checksum::add(sum, payload)) == 0)
    }

    fn checksum_of_header(header: &[u8]) -> u16 {
        super::super::checksum::of(header)
    }
}
