//! The keyed hash of a tuple: where a flow lives in the table, and which lane owns it.
//! It is symmetric because tuples come in canonical order. The fold is a 64 x 64 -> 128 bit multiply
//! whose halves are xored; the secrets come from the kernel anew at each start, so that nobody can
//! prepare colliding tuples. CRC and Toeplitz are linear, hence floodable, and not used here.
//! No table layout lives here.

use crate::packet::Tuple;
use std::fs::File;
use std::io::{self, Read};

/// Number of secret words a [`FlowHash`] holds.
pub const SECRET_COUNT: usize = 8;

/// A tuple as five words: first address (2), second address (2), ports, protocol and scope.
pub type KeyWords = [u64; 5];

/// The secrets of one start.
#[derive(Clone)]
pub struct FlowHash {
    secrets: [u64; SECRET_COUNT],
}

/// Multiplies to 128 bits and folds the halves.
#[inline(always)]
fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    (product as u64) ^ ((product >> 64) as u64)
}

impl FlowHash {
    /// A hash with these secrets, for tests and for lanes in other processes that must agree.
    /// Words with few bits set multiply badly, so each is spread first.
    pub fn new(key: [u64; SECRET_COUNT]) -> FlowHash {
        let mut secrets = key;
        for (index, secret) in secrets.iter_mut().enumerate() {
            let salt = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(index as u64 + 1);
            let mut word = *secret ^ salt;
            word = fold(word | 1, 0xD6E8_FEB8_6659_FD93) ^ word.rotate_left(32);
            *secret = word | 1 | 1 << 63;
        }
        FlowHash { secrets }
    }

    /// A hash whose secrets all come from one number: for captures and tests, where one seed must give
    /// one run. An attacker who can try all numbers can know it.
    pub fn seeded(seed: u64) -> FlowHash {
        let mut state = seed;
        FlowHash::new(std::array::from_fn(|_| {
            // Steele et al., "SplitMix" (OOPSLA 2014): a counter through a bijection, so that no two
            // words are equal.
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let word = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let word = (word ^ word >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
            word ^ word >> 31
        }))
    }

    /// A hash with fresh secrets from the kernel.
    pub fn random() -> io::Result<FlowHash> {
        let mut bytes = [0; SECRET_COUNT * 8];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        let mut key = [0; SECRET_COUNT];
        for (word, chunk) in key.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_ne_bytes(*chunk);
        }
        Ok(FlowHash::new(key))
    }

    /// Hash of the whole tuple.
    #[inline(always)]
    pub fn hash(&self, tuple: &Tuple) -> u64 {
        self.hash_words(&key_words(tuple))
    }

    /// Hash of the address pair alone: every packet between two hosts, fragments included, gets the
    /// same one, so it may choose the owner lane.
    #[inline(always)]
    pub fn pair_hash(&self, tuple: &Tuple) -> u64 {
        let [a_high, a_low, b_high, b_low, _] = key_words(tuple);
        let [_, _, s2, _, s4, s5, s6, s7] = self.secrets;
        let first = fold(a_high ^ s5, a_low ^ s6);
        let second = fold(b_high ^ s6, b_low ^ s7);
        fold(fold(first ^ second.rotate_left(23) ^ s5, s7) ^ s4, s2)
    }

    /// The words of a tuple whose hash depends on `rest` alone, whatever `free` is. Only whoever
    /// knows the secrets can do this; the bench and the tests play the attacker who learned those of
    /// an earlier start.
    pub fn solve(&self, free: [u64; 2], rest: u64) -> KeyWords {
        let [s0, s1, s2, s3, ..] = self.secrets;
        let [b_high, b_low] = free;
        // A left factor of 1 turns the first fold into the identity, so it can be given any value:
        // the one that cancels the second.
        let second = fold(b_high ^ s2, b_low ^ s3).rotate_left(17);
        [s0 ^ 1, second ^ s1, b_high, b_low, rest]
    }

    /// Hash of a tuple given as words.
    #[inline(always)]
    pub fn hash_words(&self, words: &KeyWords) -> u64 {
        let [a_high, a_low, b_high, b_low, rest] = *words;
        let [s0, s1, s2, s3, s4, s5, s6, s7] = self.secrets;
        let first = fold(a_high ^ s0, a_low ^ s1);
        let second = fold(b_high ^ s2, b_low ^ s3);
        // One fold turns sequential ports into an arithmetic progression whose upper bits clump
        // under some secrets; the second fold breaks it up.
        fold(
            fold(first ^ second.rotate_left(17) ^ rest ^ s5, s4) ^ s6,
            s7,
        )
    }
}

/// The tuple as words, in memory order.
#[inline(always)]
pub fn key_words(tuple: &Tuple) -> KeyWords {
    const { assert!(size_of::<Tuple>() == size_of::<KeyWords>()) }
    // SAFETY: Tuple is repr(C) of 40 bytes without padding, so all its bytes are initialised, and
    // any bit pattern is a valid [u64; 5]; the read is unaligned because a Tuple's alignment is 2.
    unsafe {
        std::ptr::from_ref(tuple)
            .cast::<KeyWords>()
            .read_unaligned()
    }
}

/// The tuple whose words these are.
#[inline(always)]
pub fn tuple_of(words: &KeyWords) -> Tuple {
    // SAFETY: the sizes are equal (asserted above), and every field of Tuple is an integer or an
    // array of bytes, for which any bit pattern is valid.
    unsafe { std::ptr::from_ref(words).cast::<Tuple>().read_unaligned() }
}

/// Maps a hash to 0..count by its upper bits, without a division.
#[inline(always)]
pub(super) fn reduce(hash: u64, count: u64) -> u64 {
    ((u128::from(hash) * u128::from(count)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::super::tests::tuple4;
    use super::*;

    #[test]
    fn the_same_tuple_hashes_the_same_and_each_field_counts() {
        let hash = FlowHash::new([7; SECRET_COUNT]);
        let base = tuple4(1, 2, 3, 4, 6);
        assert_eq!(hash.hash(&base), hash.hash(&base.clone()));
        for other in [
            tuple4(9, 2, 3, 4, 6),
            tuple4(1, 9, 3, 4, 6),
            tuple4(1, 2, 9, 4, 6),
            tuple4(1, 2, 3, 9, 6),
            tuple4(1, 2, 3, 4, 17),
        ] {
            assert_ne!(hash.hash(&base), hash.hash(&other));
        }
    }

    #[test]
    fn the_pair_hash_sees_addresses_only() {
        let hash = FlowHash::new([7; SECRET_COUNT]);
        assert_eq!(
            hash.pair_hash(&tuple4(1, 2, 3, 4, 6)),
            hash.pair_hash(&tuple4(1, 2, 7, 8, 17))
        );
        assert_ne!(
            hash.pair_hash(&tuple4(1, 2, 3, 4, 6)),
            hash.pair_hash(&tuple4(1, 3, 3, 4, 6))
        );
    }

    /// Poor sets must spread like random ones under every key: one that clumps under some keys fills
    /// the paths of a table that is three quarters full.
    #[test]
    fn sequential_ports_and_addresses_spread_evenly_under_any_key() {
        const GROUPS: u64 = 1009;
        const TUPLES: u32 = 16 * GROUPS as u32;
        type Set = fn(u32) -> Tuple;
        let ports: Set = |n| tuple4(0xC0A8_0001, 0x0A00_0000 + (n >> 14), 80, n as u16, 6);
        let addresses: Set = |n| tuple4(0xC0A8_0001, 0x0A00_0000 + n, 53, 53, 17);
        for (set, pair) in [(ports, false), (addresses, false), (addresses, true)] {
            for seed in 0..60 {
                let hash = FlowHash::new(std::array::from_fn(|word| seed * 8 + word as u64));
                let mut counts = [0_u32; GROUPS as usize];
                for number in 0..TUPLES {
                    let tuple = set(number);
                    let value = if pair {
                        hash.pair_hash(&tuple)
                    } else {
                        hash.hash(&tuple)
                    };
                    counts[reduce(value, GROUPS) as usize] += 1;
                }
                let squares: f64 = counts
                    .iter()
                    .map(|&count| (f64::from(count) - 16.0).powi(2))
                    .sum();
                let spread = squares / 16.0 / GROUPS as f64;
                // Random throws give 1.00 with a deviation of 0.045.
                assert!((0.75..1.25).contains(&spread), "seed {seed}: {spread}");
            }
        }
    }

    #[test]
    fn another_key_gives_another_hash_and_weak_keys_are_spread() {
        let tuple = tuple4(1, 2, 3, 4, 6);
        let one = FlowHash::new([0; SECRET_COUNT]).hash(&tuple);
        let two = FlowHash::new([1; SECRET_COUNT]).hash(&tuple);
        assert_ne!(one, two);
        let random = (FlowHash::random().unwrap(), FlowHash::random().unwrap());
        assert_ne!(random.0.hash(&tuple), random.1.hash(&tuple));
    }

    #[test]
    fn a_seed_gives_distinct_secrets_and_the_same_ones_again() {
        let tuple = tuple4(1, 2, 3, 4, 6);
        for seed in [0, 7, u64::MAX] {
            let hash = FlowHash::seeded(seed);
            let mut secrets = hash.secrets.to_vec();
            secrets.sort_unstable();
            secrets.dedup();
            assert_eq!(secrets.len(), SECRET_COUNT);
            assert_eq!(hash.hash(&tuple), FlowHash::seeded(seed).hash(&tuple));
            assert_ne!(hash.hash(&tuple), FlowHash::seeded(seed ^ 1).hash(&tuple));
        }
    }

    #[test]
    fn words_and_tuple_are_the_same_bytes() {
        let tuple = tuple4(0x0A00_0001, 0x0A00_0002, 80, 40000, 6);
        assert_eq!(tuple_of(&key_words(&tuple)), tuple);
    }
}
