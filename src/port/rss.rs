//! Receive-side scaling, as far as a NIC can be made to deal both directions of all of two hosts'
//! packets to one queue: the Toeplitz hash (Microsoft, "RSS hashing types") under a key that repeats
//! its first two bytes (Woo and Park, "Scalable TCP Session Monitoring with Symmetric Receive-side
//! Scaling", 2012), over addresses alone, and the NIC's table of queues behind it.
//!
//! The Toeplitz hash is linear: it is the exclusive or of the windows of the key that begin where
//! the input has a one. Under a key that repeats itself every 16 bits, equal places of the input's
//! 16-bit words have the same window, so that only the exclusive or of all words counts, and both
//! halves of the hash are alike. What is left is 16 bits that two look-ups hash.
//!
//! A lane that owns what its queue brings need not hand packets to other lanes; who is asked is
//! lane/owner.rs. Deliberately absent: keys and fields that depend on ports. Fragments have none,
//! so their flows would be torn apart.

/// Two bytes that, repeated, make a symmetric key (Woo and Park).
pub const SYMMETRIC: [u8; 2] = [0x6d, 0x5a];
/// Entries of a table of queues at most; a NIC has 64 to 4,096.
pub const TABLE_MAX: usize = 4096;
/// Entries of the table that a capture is dealt by.
const TABLE_EVEN: usize = 128;

/// How a NIC deals frames to its queues: by both addresses, the same in both directions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rss {
    /// Hash of each value of the input's upper and lower byte.
    hashes: [[u16; 256]; 2],
    /// Queue by the hash's last bits; as many as a power of two.
    queues: Box<[u8]>,
}

impl Rss {
    /// Of the key's first two bytes, which it repeats, and the table of queues. `None` for a table
    /// that is empty, too long, not of a power of two of entries, or names a queue above 255.
    pub fn new(key: [u8; 2], table: &[u32]) -> Option<Rss> {
        if !table.len().is_power_of_two() || table.len() > TABLE_MAX {
            return None;
        }
        let queues: Result<Box<[u8]>, _> = table.iter().map(|queue| u8::try_from(*queue)).collect();
        let of = |shift: u32| {
            std::array::from_fn(|byte| hash(u16::from_be_bytes(key), (byte as u16) << shift))
        };
        Some(Rss {
            hashes: [of(8), of(0)],
            queues: queues.ok()?,
        })
    }

    /// A NIC as `sluice doctor --fix` leaves it: the queues in turn.
    ///
    /// # Panics
    /// Never: queues are counted below 256.
    pub fn even(queues: usize) -> Rss {
        let queues = queues.clamp(1, 1 << 8) as u32;
        let table: Vec<u32> = (0..TABLE_EVEN as u32).map(|entry| entry % queues).collect();
        Rss::new(SYMMETRIC, &table).unwrap_or_else(|| unreachable!("a table of 128 small queues"))
    }

    /// Queues that frames are dealt to.
    pub fn queues(&self) -> usize {
        self.queues
            .iter()
            .max()
            .map_or(0, |last| usize::from(*last) + 1)
    }

    /// The queue of all packets between two hosts. An IPv4 address stands in the last four bytes
    /// (with the same in front of it on both sides).
    #[inline]
    pub fn queue(&self, a: u128, b: u128) -> usize {
        let [upper, lower] = folded(a ^ b).to_be_bytes();
        let hash = self.hashes[0][usize::from(upper)] ^ self.hashes[1][usize::from(lower)];
        let entry = usize::from(hash) & (self.queues.len() - 1);
        self.queues
            .get(entry)
            .map_or(0, |queue| usize::from(*queue))
    }
}

/// Exclusive or of the 16-bit words.
#[inline]
fn folded(words: u128) -> u16 {
    let eight = words as u64 ^ (words >> 64) as u64;
    let four = eight as u32 ^ (eight >> 32) as u32;
    four as u16 ^ (four >> 16) as u16
}

/// The lower half of the Toeplitz hash of one word, under a key that repeats `key`.
fn hash(key: u16, word: u16) -> u16 {
    (0..16)
        .filter(|bit| word & 0x8000 >> bit != 0)
        .fold(0, |hash, bit| hash ^ key.rotate_left(bit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The hash as its definition has it, under any key.
    fn toeplitz(key: &[u8], input: &[u8]) -> u32 {
        let bit = |bytes: &[u8], at: usize| u32::from(bytes[at / 8] >> (7 - at % 8) & 1);
        let window = |at: usize| (at..at + 32).fold(0, |word, at| word << 1 | bit(key, at));
        (0..input.len() * 8)
            .filter(|at| bit(input, *at) == 1)
            .fold(0, |hash, at| hash ^ window(at))
    }

    #[test]
    fn the_twin_gives_what_microsoft_publishes() {
        // "Verifying the RSS hash calculation": key, and the first vector of IPv4 alone.
        let key = [
            0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
            0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
            0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
        ];
        assert_eq!(
            toeplitz(&key, &[66, 9, 149, 187, 161, 142, 100, 80]),
            0x323e_8fc2
        );
    }

    proptest! {
        #[test]
        fn a_queue_is_what_the_nic_computes(
            a in any::<[u8; 16]>(),
            b in any::<[u8; 16]>(),
            v4 in any::<bool>(),
            key in any::<[u8; 2]>(),
            bits in 0u32..13,
        ) {
            let table: Vec<u32> = (0..1u32 << bits).map(|entry| entry * 7 % 256).collect();
            let rss = Rss::new(key, &table).unwrap();
            let from = if v4 { 12 } else { 0 };
            let mapped = |bytes: [u8; 16]| {
                let mut whole = [0; 16];
                whole[10] = 0xff;
                whole[from..].copy_from_slice(&bytes[from..]);
                u128::from_be_bytes(whole)
            };
            let long: Vec<u8> = key.iter().copied().cycle().take(40).collect();
            let hash = toeplitz(&long, &[&a[from..], &b[from..]].concat());
            let queue = table[hash as usize % table.len()] as usize;
            prop_assert_eq!(rss.queue(mapped(a), mapped(b)), queue);
            prop_assert_eq!(rss.queue(mapped(b), mapped(a)), queue);
        }
    }

    #[test]
    fn queues_in_turn_get_as_many_hosts_each() {
        let rss = Rss::even(4);
        let mut count = [0u32; 4];
        for host in 0..4096u32 {
            count[rss.queue(u128::from(0x0a00_0000 + host), 0xc000_0201)] += 1;
        }
        assert!(count.iter().all(|n| (900..1150).contains(n)), "{count:?}");
        assert_eq!((rss.queues(), Rss::even(1).queues()), (4, 1));
    }

    #[test]
    fn tables_that_no_nic_has_are_refused() {
        let of = |table: &[u32]| Rss::new(SYMMETRIC, table);
        assert!(of(&[]).is_none() && of(&[0, 1, 2]).is_none() && of(&[0, 256]).is_none());
        assert!(of(&[0; 2 * TABLE_MAX]).is_none() && of(&[0]).is_some());
    }
}
