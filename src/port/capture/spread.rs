//! Which lane takes a packet of a capture: what RSS does on a NIC, played over a file.
//!
//! It reads just enough of a frame to find both addresses, knows the link types that captures come
//! in, and gives the rest to lane 0. Deliberately not decode: that room judges, this one deals.

use crate::port::rss::Rss;

/// A way to deal packets to lanes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Spread {
    /// All to lane 0: a NIC with one queue.
    #[default]
    First,
    /// By number, regardless of flows: the worst case for flow ownership.
    RoundRobin,
    /// By both addresses, the same in both directions: a NIC set up well ([`Rss::even`]). Fragments
    /// stay together.
    Pair,
    /// By a hash of addresses and ports that differs by direction: a NIC with its default key.
    Directional,
}

impl std::str::FromStr for Spread {
    type Err = String;

    fn from_str(text: &str) -> Result<Spread, String> {
        match text {
            "first" => Ok(Spread::First),
            "round-robin" => Ok(Spread::RoundRobin),
            "pair" => Ok(Spread::Pair),
            "directional" => Ok(Spread::Directional),
            _ => Err(format!(
                "`{text}` is no spread\n [hint] one of first, round-robin, pair, directional"
            )),
        }
    }
}

/// Deals packets to so many lanes.
pub struct Dealer {
    spread: Spread,
    lanes: u64,
    rss: Rss,
}

impl Dealer {
    /// Over `lanes`, 1 at least.
    pub fn new(spread: Spread, lanes: usize) -> Dealer {
        Dealer {
            spread,
            lanes: lanes.max(1) as u64,
            rss: Rss::even(lanes),
        }
    }

    /// Whether there is one lane alone.
    pub fn is_one(&self) -> bool {
        self.lanes == 1
    }

    /// The lane of packet `order` (from 1).
    pub fn lane(&self, order: u64, link: u32, frame: &[u8]) -> usize {
        let value = match self.spread {
            Spread::First => 0,
            Spread::RoundRobin => order.wrapping_sub(1),
            Spread::Pair => match endpoints(link, frame) {
                Some(ends) => self.rss.queue(ends.src, ends.dst) as u64,
                None => 0,
            },
            Spread::Directional => match endpoints(link, frame) {
                Some(ends) => mix(mix(halves(ends.src) ^ u64::from(ends.ports))
                    .rotate_left(17)
                    .wrapping_add(mix(halves(ends.dst)))),
                None => 0,
            },
        };
        (value % self.lanes) as usize
    }
}

/// Addresses, and both ports.
struct Endpoints {
    src: u128,
    dst: u128,
    ports: u32,
}

/// An address in 64 bits.
fn halves(address: u128) -> u64 {
    (address >> 64) as u64 ^ (address as u64).rotate_left(1)
}

/// Finalizer of splitmix64: spreads the bits of a folded address.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn be128(bytes: &[u8], at: usize) -> Option<u128> {
    Some(u128::from_be_bytes(
        bytes.get(at..at + 16)?.try_into().ok()?,
    ))
}

fn endpoints(link: u32, frame: &[u8]) -> Option<Endpoints> {
    let packet = frame.get(network_offset(link, frame)?..)?;
    match packet.first()? >> 4 {
        4 => {
            let header = usize::from(packet.first()? & 0xf) * 4;
            // Later fragments have no ports; directional hashing tears datagrams apart on NICs too.
            let first = be16(packet, 6)? & 0x1fff == 0;
            Some(Endpoints {
                src: u128::from(be32(packet, 12)?),
                dst: u128::from(be32(packet, 16)?),
                ports: ports(packet, packet.get(9).copied()?, header, first),
            })
        }
        6 => Some(Endpoints {
            src: be128(packet, 8)?,
            dst: be128(packet, 24)?,
            ports: ports(packet, packet.get(6).copied()?, 40, true),
        }),
        _ => None,
    }
}

fn ports(packet: &[u8], protocol: u8, at: usize, first: bool) -> u32 {
    const TCP: u8 = 6;
    const UDP: u8 = 17;
    match protocol {
        TCP | UDP if first => be32(packet, at).unwrap_or(0),
        _ => 0,
    }
}

/// Where the IP header starts, for the link types that captures come in (tcpdump.org's registry).
fn network_offset(link: u32, frame: &[u8]) -> Option<usize> {
    const NULL: u32 = 0;
    const ETHERNET: u32 = 1;
    const RAW: [u32; 5] = [12, 14, 101, 228, 229];
    const LOOP: u32 = 108;
    const SLL: u32 = 113;
    const SLL2: u32 = 276;
    match link {
        NULL | LOOP => Some(4),
        ETHERNET => ethernet_offset(frame),
        SLL => Some(16),
        SLL2 => Some(20),
        _ if RAW.contains(&link) => Some(0),
        _ => None,
    }
}

fn ethernet_offset(frame: &[u8]) -> Option<usize> {
    const TAGS: [u16; 4] = [0x8100, 0x88a8, 0x9100, 0x9200];
    const IPV4: u16 = 0x0800;
    const IPV6: u16 = 0x86dd;
    /// Tags skipped on the way to the IP header.
    const TAGS_MAX: usize = 3;
    let mut at = 12;
    for _ in 0..=TAGS_MAX {
        match be16(frame, at)? {
            IPV4 | IPV6 => return Some(at + 2),
            tag if TAGS.contains(&tag) => at += 4,
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A UDP packet 10.0.0.1:port > 10.0.0.2:53 behind `tags` VLAN tags, or back.
    fn frame(back: bool, port: u16, tags: usize) -> Vec<u8> {
        let mut frame = vec![2; 12];
        for _ in 0..tags {
            frame.extend([0x81, 0, 0, 7]);
        }
        frame.extend([8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0]);
        let (client, server) = ([10, 0, 0, 1], [10, 0, 0, 2]);
        let port = port.to_be_bytes();
        if back {
            frame.extend([server, client].concat());
            frame.extend([0, 53, port[0], port[1]]);
        } else {
            frame.extend([client, server].concat());
            frame.extend([port[0], port[1], 0, 53]);
        }
        frame.extend([0; 4]);
        frame
    }

    #[test]
    fn both_directions_meet_by_pair_and_part_by_direction() {
        let (pair, apart) = (
            Dealer::new(Spread::Pair, 4),
            Dealer::new(Spread::Directional, 4),
        );
        let mut parted = 0;
        for port in 0..64 {
            let (out, back) = (frame(false, port, 0), frame(true, port, 0));
            assert_eq!(pair.lane(1, 1, &out), pair.lane(2, 1, &back));
            let lane = apart.lane(1, 1, &out);
            assert_eq!(lane, apart.lane(9, 1, &out));
            parted += usize::from(lane != apart.lane(2, 1, &back));
        }
        assert!(parted > 16, "{parted} of 64 flows parted");
    }

    #[test]
    fn tags_do_not_hide_addresses_and_round_robin_ignores_them() {
        let apart = Dealer::new(Spread::Directional, 64);
        assert_eq!(
            apart.lane(1, 1, &frame(false, 9, 2)),
            apart.lane(1, 1, &frame(false, 9, 0))
        );
        let in_turn = Dealer::new(Spread::RoundRobin, 3);
        let lanes: Vec<_> = (1..6).map(|n| in_turn.lane(n, 1, &[])).collect();
        assert_eq!(lanes, [0, 1, 2, 0, 1]);
    }
}
