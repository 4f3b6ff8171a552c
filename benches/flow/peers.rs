//! The tables that ours is measured against, each with the same keys, hash and work: find a flow,
//! write its time and two counters. Values make every entry 128 bytes, as ours. The chained table
//! has Suricata's shape: rows with a lock and a chain, flows with a lock of their own, taken in
//! that order. It is a model of that shape, not Suricata.

use crate::measure::Random;
use sluice::flow::table::{
    Admit, Answer, Class, FlowHash, FlowSide, KeyWords, Request, Visit, Visitor, key_words,
};
use sluice::packet::Tuple;
use sluice::time::Tick;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Packets of one burst; five units of 12.
pub const BURST: usize = 60;
/// Packets of one unit of churn: ten data, one that opens a flow, one that closes one.
pub const UNIT: usize = 12;
/// Position of the opening packet in its unit.
pub const OPENS: usize = 5;
/// Position of the closing one.
pub const CLOSES: usize = 11;

/// What a packet asks of the table.
pub fn requests(tuples: &[Tuple]) -> Vec<Request<'_>> {
    let admit = Admit::As(Class::Established);
    tuples
        .iter()
        .map(|tuple| Request { tuple, admit })
        .collect()
}

/// One contestant.
pub trait Contestant {
    /// Adds a flow.
    fn insert(&mut self, tuple: &Tuple);
    /// Finds and updates each; how many were there.
    fn lookup(&mut self, packets: &[Request<'_>]) -> usize;
    /// Units of churn; how many data packets and closes found their flow.
    fn churn(&mut self, packets: &[Request<'_>]) -> usize;
}

/// Ours, by one side.
pub struct Ours<'a>(pub &'a mut FlowSide);

impl Contestant for Ours<'_> {
    fn insert(&mut self, tuple: &Tuple) {
        let admit = Admit::As(Class::Established);
        let answer = self.0.find_or_create(tuple, admit, Tick(1));
        if !matches!(answer, Answer::Created(_)) {
            let again = self.0.find_or_create(tuple, admit, Tick(1));
            panic!("{answer:?}, then {again:?}, {:?}", self.0.counters());
        }
    }

    fn lookup(&mut self, packets: &[Request<'_>]) -> usize {
        let mut data = Data(0);
        packets
            .chunks(BURST)
            .for_each(|burst| self.0.burst_each(burst, Tick(2), &mut data));
        data.0
    }

    fn churn(&mut self, packets: &[Request<'_>]) -> usize {
        let mut mixed = Mixed(0);
        packets
            .chunks(BURST)
            .for_each(|burst| self.0.burst_each(burst, Tick(2), &mut mixed));
        mixed.0
    }
}

/// Every packet finds and updates its flow; counts them.
struct Data(usize);

impl Visitor for Data {
    #[inline(always)]
    fn visit(&mut self, visit: Visit<'_>) {
        assert!(
            !matches!(visit.answer(), Answer::Created(_)),
            "all are resident"
        );
        self.0 += update(&visit);
    }
}

/// Units of churn; counts data packets and closes that found their flow.
struct Mixed(usize);

impl Visitor for Mixed {
    #[inline(always)]
    fn visit(&mut self, mut visit: Visit<'_>) {
        match (visit.index() % UNIT, visit.answer()) {
            (CLOSES, Answer::Found(handle)) => {
                let side = visit.side();
                self.0 += usize::from(side.close(handle) && side.release(handle));
            }
            (_, Answer::Found(_)) => self.0 += update(&visit),
            (OPENS, Answer::Created(_)) => (),
            (place, other) => panic!("{other:?} at {place}"),
        }
    }
}

/// What a packet does to its flow.
#[inline(always)]
fn update(visit: &Visit<'_>) -> usize {
    let refreshed = visit.refresh(Tick(2), |state| {
        let [packets, bytes] = &mut state.words;
        *packets = packets.wrapping_add(1);
        *bytes = bytes.wrapping_add(64);
    });
    usize::from(refreshed.is_some())
}

/// A tuple as key of a general map: five words, and the table's own hash as its hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key(KeyWords);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for word in self.0 {
            state.write_u64(word);
        }
    }
}

/// Collects the five words of a key and hashes them at the end.
pub struct Words<'a> {
    hash: &'a FlowHash,
    words: KeyWords,
    count: usize,
}

impl Hasher for Words<'_> {
    #[inline(always)]
    fn write_u64(&mut self, word: u64) {
        self.words[self.count] = word;
        self.count += 1;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are words");
    }

    #[inline(always)]
    fn finish(&self) -> u64 {
        self.hash.hash_words(&self.words)
    }
}

/// A hash builder that owns its secrets for as long as the bench lives.
#[derive(Clone, Copy)]
pub struct Build(pub &'static FlowHash);

impl BuildHasher for Build {
    type Hasher = Words<'static>;

    #[inline(always)]
    fn build_hasher(&self) -> Words<'static> {
        Words {
            hash: self.0,
            words: [0; 5],
            count: 0,
        }
    }
}

/// Value of a peer: 88 bytes, of which three words are written.
#[repr(C)]
pub struct Value([AtomicU64; 11]);

impl Value {
    fn new() -> Value {
        Value(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    #[inline(always)]
    fn update(&self) -> usize {
        let [seen, packets, bytes, ..] = &self.0;
        seen.store(2, Relaxed);
        packets.store(packets.load(Relaxed).wrapping_add(1), Relaxed);
        bytes.store(bytes.load(Relaxed).wrapping_add(64), Relaxed);
        1
    }
}

#[inline(always)]
fn key(tuple: &Tuple) -> Key {
    Key(key_words(tuple))
}

/// One map's three operations behind [`Contestant`].
macro_rules! contestant {
    ($map:ty, |$self:ident, $key:ident| insert $insert:expr, get $get:expr, remove $remove:expr) => {
        impl Contestant for $map {
            fn insert(&mut self, tuple: &Tuple) {
                let ($self, $key) = (self, key(tuple));
                $insert;
            }

            fn lookup(&mut self, packets: &[Request<'_>]) -> usize {
                let $self = self;
                let mut found = 0;
                for packet in packets {
                    let $key = key(packet.tuple);
                    found += $get;
                }
                found
            }

            fn churn(&mut self, packets: &[Request<'_>]) -> usize {
                let $self = self;
                let mut found = 0;
                for (index, packet) in packets.iter().enumerate() {
                    let $key = key(packet.tuple);
                    match index % UNIT {
                        OPENS => {
                            $insert;
                        }
                        CLOSES => found += usize::from($remove),
                        _ => found += $get,
                    }
                }
                found
            }
        }
    };
}

/// hashbrown, for one thread.
pub type Hashbrown = hashbrown::HashMap<Key, Value, Build>;
/// dashmap, sharded locks.
pub type Dashmap = dashmap::DashMap<Key, Value, Build>;
/// scc, bucket locks.
pub type Scc = scc::HashMap<Key, Value, Build>;
/// papaya, lock-free.
pub type Papaya = papaya::HashMap<Key, Value, Build>;

contestant!(Hashbrown, |map, key| insert map.insert(key, Value::new()),
    get map.get(&key).map_or(0, Value::update), remove map.remove(&key).is_some());
contestant!(Dashmap, |map, key| insert Dashmap::insert(map, key, Value::new()),
    get map.get(&key).map_or(0, |value| value.update()), remove map.remove(&key).is_some());
contestant!(Scc, |map, key| insert drop(map.insert_sync(key, Value::new())),
    get map.read_sync(&key, |_, value| value.update()).unwrap_or(0),
    remove map.remove_sync(&key).is_some());
contestant!(Papaya, |map, key| insert { map.pin().insert(key, Value::new()); },
    get map.pin().get(&key).map_or(0, Value::update), remove map.pin().remove(&key).is_some());

/// One row: a lock and the head of its chain.
#[repr(align(64))]
struct Row(Mutex<u32>);

/// One flow of the chained table: 320 bytes, as Suricata's Flow is.
#[repr(align(64))]
struct ChainedFlow {
    key: [AtomicU64; 5],
    next: AtomicU64,
    state: Mutex<[u64; 3]>,
    _rest: [u64; 28],
}

const _: () = assert!(size_of::<ChainedFlow>() == 320);
const NONE: u32 = u32::MAX;

/// Rows with locks and chains, flows with locks, spare flows in a list.
pub struct Chained {
    rows: Vec<Row>,
    flows: Vec<ChainedFlow>,
    spare: Mutex<Vec<u32>>,
    hash: &'static FlowHash,
}

impl Chained {
    /// A table of so many flows, with 1.6 rows a flow, rounded to a power of two.
    pub fn new(flows_max: usize, hash: &'static FlowHash) -> Chained {
        let blank = || ChainedFlow {
            key: std::array::from_fn(|_| AtomicU64::new(0)),
            next: AtomicU64::new(NONE.into()),
            state: Mutex::new([0; 3]),
            _rest: [0; 28],
        };
        let row_count = (flows_max * 8 / 5).next_power_of_two();
        // After hours of service spare flows have no order of addresses left.
        let mut spare: Vec<u32> = (0..flows_max as u32).collect();
        let mut random = Random(5);
        for end in (1..spare.len()).rev() {
            spare.swap(end, random.below(end as u64 + 1) as usize);
        }
        Chained {
            rows: (0..row_count).map(|_| Row(Mutex::new(NONE))).collect(),
            flows: (0..flows_max).map(|_| blank()).collect(),
            spare: Mutex::new(spare),
            hash,
        }
    }

    #[inline(always)]
    fn row(&self, key: &Key) -> &Mutex<u32> {
        let hash = self.hash.hash_words(&key.0);
        &self.rows[hash as usize & (self.rows.len() - 1)].0
    }

    #[inline(always)]
    fn is(&self, flow: u32, key: &Key) -> bool {
        let mine = &self.flows[flow as usize].key;
        mine.iter()
            .zip(key.0)
            .all(|(cell, word)| cell.load(Relaxed) == word)
    }

    fn add(&self, key: &Key) {
        let mut head = self.row(key).lock().unwrap();
        let index = self.spare.lock().unwrap().pop().expect("a spare flow");
        let flow = &self.flows[index as usize];
        let mut state = flow.state.lock().unwrap();
        flow.key
            .iter()
            .zip(key.0)
            .for_each(|(cell, word)| cell.store(word, Relaxed));
        *state = [2, 0, 0];
        flow.next.store((*head).into(), Relaxed);
        *head = index;
    }

    #[inline(always)]
    fn update(&self, key: &Key) -> usize {
        let head = self.row(key).lock().unwrap();
        let mut index = *head;
        while index != NONE {
            if self.is(index, key) {
                let mut state = self.flows[index as usize].state.lock().unwrap();
                drop(head);
                let [seen, packets, bytes] = &mut *state;
                (*seen, *packets, *bytes) = (2, packets.wrapping_add(1), bytes.wrapping_add(64));
                return 1;
            }
            index = self.flows[index as usize].next.load(Relaxed) as u32;
        }
        0
    }

    fn take(&self, key: &Key) -> bool {
        let mut head = self.row(key).lock().unwrap();
        let (mut before, mut index) = (NONE, *head);
        while index != NONE {
            let next = self.flows[index as usize].next.load(Relaxed) as u32;
            if self.is(index, key) {
                let _state = self.flows[index as usize].state.lock().unwrap();
                match before {
                    NONE => *head = next,
                    before => self.flows[before as usize].next.store(next.into(), Relaxed),
                }
                self.spare.lock().unwrap().push(index);
                return true;
            }
            (before, index) = (index, next);
        }
        false
    }
}

contestant!(Chained, |table, key| insert table.add(&key), get table.update(&key),
    remove table.take(&key));
