//! Tuples in canonical order, their scope, and the hash that names the owning lane.
//!
//! The lower endpoint (address, then port) stands first, so both directions give the same bytes;
//! `flag::REVERSED` says that the packet's source is endpoint `b`. ICMP has no ports: the source
//! "port" is the message's type and the destination's is the type that answers it, so request
//! and reply meet (as in Suricata); a type without an answer has 0. ESP has its SPI, high and low
//! half, which makes each direction a flow of its own, as security associations are.

use crate::packet::{Context, Tuple, VLANS_MAX, flag};

/// Both ends of a packet, source first. Addresses as 16 bytes, IPv4 as ::ffff:a.b.c.d.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ends {
    /// Source address.
    pub src_addr: [u8; 16],
    /// Destination address.
    pub dst_addr: [u8; 16],
    /// Source port, host order (or what stands for it).
    pub src_port: u16,
    /// Destination port, host order (or what stands for it).
    pub dst_port: u16,
}

/// An IPv4 address as tuples hold it.
#[inline]
pub fn mapped(address: [u8; 4]) -> [u8; 16] {
    let [a, b, c, d] = address;
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

/// Whether the source is the higher endpoint.
#[inline]
pub(super) fn is_reversed<A: Ord>(src: A, dst: A, (src_port, dst_port): (u16, u16)) -> bool {
    src > dst || (src == dst && src_port > dst_port)
}

/// The tuple of a packet between `ends`, and whether its source became endpoint `b`.
#[inline]
pub fn canonical(ends: &Ends, protocol: u8, scope: [u8; 3]) -> (Tuple, bool) {
    let src = u128::from_be_bytes(ends.src_addr);
    let dst = u128::from_be_bytes(ends.dst_addr);
    let reversed = is_reversed(src, dst, (ends.src_port, ends.dst_port));
    let tuple = if reversed {
        Tuple {
            a_addr: ends.dst_addr,
            b_addr: ends.src_addr,
            a_port: ends.dst_port,
            b_port: ends.src_port,
            protocol,
            scope,
        }
    } else {
        Tuple {
            a_addr: ends.src_addr,
            b_addr: ends.dst_addr,
            a_port: ends.src_port,
            b_port: ends.dst_port,
            protocol,
            scope,
        }
    };
    (tuple, reversed)
}

/// What keeps equal endpoints apart, in 24 bits.
///
/// ```text
///  23  22        12 11           0
/// +---+------------+--------------+
/// |v6 |   folded   |  outer VLAN  |
/// +---+------------+--------------+
/// ```
/// `folded` is 0 when there is one tag at most, no tunnel, and the first pair of ports; otherwise it
/// is a nonzero hash of the further tags, the depth of the tunnel, its network id and the pair: what
/// two wires carry at once are two flows. Two networks meet in one fold
/// with probability 2^-11, and then share a flow only if addresses and ports are equal as well.
#[inline]
pub fn scope(v6: bool, vlans: [u16; VLANS_MAX], depth: u8, tunnel: u32, pair: u8) -> [u8; 3] {
    let [outer, second, third] = vlans.map(|id| u64::from(id & 0xfff));
    let rest = second | third << 12 | u64::from(depth) << 24 | u64::from(tunnel) << 32;
    // Network ids have 24 bits as a rule, so the pair stands clear of them.
    let rest = rest ^ u64::from(pair) << 56;
    let folded = if rest == 0 {
        0
    } else {
        (rest.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 53).max(1)
    };
    let bits = (u64::from(v6) << 23) | folded << 12 | outer;
    let [_, _, _, _, _, high, middle, low] = bits.to_be_bytes();
    [high, middle, low]
}

/// The outer VLAN that a tuple's scope names; 0: none.
pub fn outer_vlan(tuple: &Tuple) -> u16 {
    let [_, middle, low] = tuple.scope;
    u16::from_be_bytes([middle, low]) & 0xfff
}

/// The first port of the pair that a tuple's flow came over; `None` where further tags or a tunnel
/// are folded into its scope as well.
pub fn pair_port(tuple: &Tuple) -> Option<u8> {
    let outer = [outer_vlan(tuple), 0, 0];
    let mut pairs = 0..=u8::MAX >> 1;
    let pair = pairs.find(|pair| scope(is_v6(tuple), outer, 0, 0, *pair) == tuple.scope)?;
    Some(pair << 1)
}

/// Whether the tuple is of IPv6.
pub fn is_v6(tuple: &Tuple) -> bool {
    tuple.scope.first().is_some_and(|&high| high & 0x80 != 0)
}

/// Keyed hash of the address pair alone: names the lane that owns the frame.
///
/// To be taken from the frame's own (outermost) context: fragments, their datagrams, tunnels,
/// plain packets and ICMP errors about them of two hosts all land in one lane. 0 where there is
/// no IP.
pub fn owner_hash(context: &Context, key: u64) -> u64 {
    if context.flags & (flag::IPV4 | flag::IPV6) == 0 {
        return 0;
    }
    let tuple = &context.tuple;
    let a = u128::from_be_bytes(tuple.a_addr);
    let b = u128::from_be_bytes(tuple.b_addr);
    let low = fold(a as u64 ^ key, b as u64 ^ key.rotate_left(32) ^ MIX[0]);
    let high = fold((a >> 64) as u64 ^ MIX[1], (b >> 64) as u64 ^ key ^ MIX[2]);
    fold(low ^ high ^ MIX[3], key ^ MIX[1])
}

/// Odd constants without structure (digits of pi).
const MIX: [u64; 4] = [
    0x243f_6a88_85a3_08d3,
    0x1319_8a2e_0370_7345,
    0xa409_3822_299f_31d1,
    0x082e_fa98_ec4e_6c89,
];

/// Product of two words, folded to one.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Kind;

    fn ends(src: [u8; 4], src_port: u16, dst: [u8; 4], dst_port: u16) -> Ends {
        Ends {
            src_addr: mapped(src),
            dst_addr: mapped(dst),
            src_port,
            dst_port,
        }
    }

    #[test]
    fn both_directions_give_the_same_tuple() {
        let there = canonical(&ends([10, 0, 0, 1], 1025, [10, 0, 0, 2], 80), 6, [0; 3]);
        let back = canonical(&ends([10, 0, 0, 2], 80, [10, 0, 0, 1], 1025), 6, [0; 3]);
        assert_eq!(there.0, back.0);
        assert_eq!((there.1, back.1), (false, true));
        // One host talking to itself: the ports decide.
        let there = canonical(&ends([127, 0, 0, 1], 9, [127, 0, 0, 1], 7), 6, [0; 3]);
        let back = canonical(&ends([127, 0, 0, 1], 7, [127, 0, 0, 1], 9), 6, [0; 3]);
        assert_eq!(there.0, back.0);
        assert_eq!((there.1, back.1), (true, false));
    }

    #[test]
    fn scopes_of_different_networks_differ() {
        let plain = scope(false, [0; 3], 0, 0, 0);
        assert_eq!(plain, [0; 3]);
        let mut seen = std::collections::HashSet::from([plain]);
        for vlan in 1..4096 {
            assert!(
                seen.insert(scope(false, [vlan, 0, 0], 0, 0, 0)),
                "one tag is exact"
            );
        }
        assert!(seen.insert(scope(true, [0; 3], 0, 0, 0)));
        assert!(seen.insert(scope(false, [7, 9, 0], 0, 0, 0)));
        assert!(seen.insert(scope(false, [0; 3], 1, 5000, 0)));
        assert!(seen.insert(scope(false, [0; 3], 1, 5001, 0)));
        for pair in 1..32 {
            let of_pair = scope(false, [0; 3], 0, 0, pair);
            assert!(seen.insert(of_pair), "pair {pair}");
            let tuple = Tuple {
                scope: scope(true, [7, 0, 0], 0, 0, pair),
                ..Tuple::default()
            };
            assert_eq!(
                (outer_vlan(&tuple), pair_port(&tuple)),
                (7, Some(pair << 1))
            );
        }
        assert!(is_v6(&Tuple {
            scope: scope(true, [4095; 3], 1, 1, 0),
            ..Tuple::default()
        }));
    }

    #[test]
    fn the_owner_depends_on_the_address_pair_alone() {
        let mut context = Context {
            kind: Kind::Frame,
            ..Context::default()
        };
        assert_eq!(owner_hash(&context, 1), 0);
        context.set(flag::IPV4);
        let owner = |context: &mut Context, ends: &Ends, protocol| {
            context.tuple = canonical(ends, protocol, [0; 3]).0;
            owner_hash(context, 77)
        };
        let a = owner(&mut context, &ends([1, 2, 3, 4], 5, [5, 6, 7, 8], 9), 6);
        let b = owner(&mut context, &ends([5, 6, 7, 8], 0, [1, 2, 3, 4], 0), 17);
        let c = owner(&mut context, &ends([5, 6, 7, 9], 0, [1, 2, 3, 4], 0), 17);
        assert_eq!(a, b);
        assert_ne!(a, c);
        assert_ne!(owner_hash(&context, 77), owner_hash(&context, 78));
    }

    #[test]
    fn owners_spread_evenly_over_lanes() {
        let mut lanes = [0u32; 8];
        let mut context = Context::default();
        context.set(flag::IPV4);
        for host in 0..8192u32 {
            let pair = ends((0x0a00_0000 + host).to_be_bytes(), 0, [192, 0, 2, 1], 0);
            context.tuple = canonical(&pair, 6, [0; 3]).0;
            lanes[(owner_hash(&context, 3) >> 61) as usize] += 1;
        }
        assert!(lanes.iter().all(|&n| (850..1200).contains(&n)), "{lanes:?}");
    }
}
