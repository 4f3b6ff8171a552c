//! Millions of operations on one flow table from several threads: no flow is lost, none stands twice,
//! none is torn, every slot and count comes back. The shared table is tried with more threads than
//! processors, with and without eviction; the owner's with its reader and its detection side beside
//! it. SLUICE_STRESS_SECONDS makes each round longer (default 1).

use sluice::flow::table::{
    Admit, Answer, Audit, Class, DetectionSide, EXPIRY_CLASSES, FlowHash, FlowSide, FlowSnapshot,
    FlowState, FlowTable, Request, SECRET_COUNT, TableConfig, TableMode, TableReader, Timeouts,
    Visit, Visitor,
};
use sluice::memory::PageWish;
use sluice::packet::{FlowHandle, Tuple};
use sluice::time::Tick;
use std::sync::Barrier;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::{Duration, Instant};

/// A small random generator (splitmix64); each thread prints nothing, its seed is its number.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ word >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((u128::from(word ^ word >> 31) * u128::from(bound)) >> 64) as u64
    }
}

fn seconds() -> f64 {
    std::env::var("SLUICE_STRESS_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1.0)
}

/// Key number `key`; every word of it depends on the number, so that a torn one is seen.
fn tuple(key: u32) -> Tuple {
    let mut tuple = Tuple {
        protocol: 6,
        a_port: key as u16,
        b_port: !key as u16,
        ..Default::default()
    };
    for (place, chunk) in tuple.a_addr.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        *chunk = (key.wrapping_mul(3) + place as u32).to_be_bytes();
    }
    for (place, chunk) in tuple.b_addr.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        *chunk = (!key - place as u32).to_be_bytes();
    }
    tuple
}

fn number(tuple: &Tuple) -> u32 {
    let [a, b, c, d, ..] = tuple.a_addr;
    let key = u32::from_be_bytes([a, b, c, d]).wrapping_mul(0xAAAA_AAAB);
    assert_eq!(*tuple, self::tuple(key), "a key of one piece");
    key
}

/// The state a writer leaves: both words and the slab tell one story.
fn mark(state: &mut FlowState, key: u32, stamp: u32) {
    state.slab = key + 1;
    state.words = [stamp, !stamp ^ key];
}

fn check(flow: &FlowSnapshot) {
    let key = number(&flow.tuple);
    if flow.state.slab != 0 {
        assert_eq!(flow.state.slab, key + 1, "the state is the key's");
        let [stamp, other] = flow.state.words;
        assert_eq!(other, !stamp ^ key, "the state is of one piece");
    } else {
        assert_eq!(flow.state, FlowState::default());
    }
}

/// What all threads know of the keys: created less closed.
struct Ledger {
    balance: Vec<AtomicI64>,
    operations: AtomicU64,
    evicted: AtomicU64,
}

impl Ledger {
    fn new(keys: u32) -> Ledger {
        Ledger {
            balance: (0..keys).map(|_| AtomicI64::new(0)).collect(),
            operations: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
        }
    }

    /// A flow was closed by this thread: its end is written down, then the slot is given back.
    fn end(&self, side: &mut FlowSide, handle: FlowHandle) {
        let line = side.line(handle).expect("quarantine keeps the flow");
        let key = number(&line.tuple());
        self.balance[key as usize].fetch_sub(1, SeqCst);
        assert!(side.release(handle));
        assert!(side.line(handle).is_none());
    }
}

/// One thread's random work until the time is over.
fn work(side: &mut FlowSide, reader: &TableReader, ledger: &Ledger, seed: u64, until: Instant) {
    let mut random = Random(seed);
    let keys = ledger.balance.len() as u64;
    let timeouts = Timeouts {
        ticks: [300; EXPIRY_CLASSES],
    };
    let mut tick = 0;
    let mut operations = 0_u64;
    while !operations.is_multiple_of(256) || Instant::now() < until {
        operations += 1;
        tick += 1;
        match random.below(100) {
            0..60 => visit(side, ledger, random.below(keys) as u32, &mut random, tick),
            60..75 => {
                let numbers: [u32; 24] = std::array::from_fn(|_| random.below(keys) as u32);
                burst(side, ledger, &numbers, tick);
                operations += 23;
            }
            75..98 => reader.group(random.below(reader.group_count().into()) as u32, |flow| {
                check(&flow);
            }),
            _ => {
                let mut ended = Vec::new();
                side.sweep(3, Tick(tick), &timeouts, |handle| ended.push(handle));
                ended
                    .into_iter()
                    .for_each(|handle| ledger.end(side, handle));
            }
        }
        while let Some(handle) = side.pop_evicted() {
            ledger.evicted.fetch_add(1, Relaxed);
            ledger.end(side, handle);
        }
    }
    ledger.operations.fetch_add(operations, Relaxed);
}

/// Finds, creates, marks, promotes or closes one flow.
fn visit(side: &mut FlowSide, ledger: &Ledger, key: u32, random: &mut Random, tick: u32) {
    let class = if random.below(2) == 0 {
        Class::HalfOpen
    } else {
        Class::Established
    };
    let admit = if random.below(3) == 0 {
        Admit::Never
    } else {
        Admit::As(class)
    };
    match side.find_or_create(&tuple(key), admit, Tick(tick)) {
        Answer::Created(handle) => {
            ledger.balance[key as usize].fetch_add(1, SeqCst);
            side.refresh(handle, Tick(tick), |state| mark(state, key, tick));
        }
        Answer::Found(handle) => match random.below(4) {
            0 => {
                if side.close(handle) {
                    ledger.end(side, handle);
                }
            }
            1 => drop(side.promote(handle)),
            _ => drop(side.refresh(handle, Tick(tick), |state| {
                assert!(
                    state.slab == 0 || state.slab == key + 1,
                    "the handle is the key's"
                );
                mark(state, key, tick);
            })),
        },
        Answer::Missing => assert_eq!(admit, Admit::Never),
        Answer::Full(_) => (),
    }
}

fn burst(side: &mut FlowSide, ledger: &Ledger, numbers: &[u32; 24], tick: u32) {
    let tuples = numbers.map(tuple);
    let admit = Admit::As(Class::Established);
    let requests: [Request<'_>; 24] = std::array::from_fn(|index| Request {
        tuple: &tuples[index],
        admit,
    });
    let mut marks = Marks {
        ledger,
        numbers,
        tick,
    };
    side.burst_each(&requests, Tick(tick), &mut marks);
}

/// Marks every flow of a burst.
struct Marks<'a> {
    ledger: &'a Ledger,
    numbers: &'a [u32; 24],
    tick: u32,
}

impl Visitor for Marks<'_> {
    fn visit(&mut self, visit: Visit<'_>) {
        let key = self.numbers[visit.index()];
        match visit.answer() {
            Answer::Created(_) => {
                self.ledger.balance[key as usize].fetch_add(1, SeqCst);
            }
            Answer::Found(_) => (),
            Answer::Missing => panic!("all may create"),
            Answer::Full(_) => return,
        }
        visit.refresh(Tick(self.tick), |state| mark(state, key, self.tick));
    }
}

/// All is quiet: the ledger and the table must agree, and closing everything must leave nothing.
fn settle(side: &mut FlowSide, reader: &TableReader, ledger: &Ledger) {
    let mut present = vec![0_i64; ledger.balance.len()];
    for group in 0..reader.group_count() {
        reader.group(group, |flow| {
            check(&flow);
            present[number(&flow.tuple) as usize] += 1;
        });
    }
    for (key, (present, balance)) in present.iter().zip(&ledger.balance).enumerate() {
        assert_eq!(
            *present,
            balance.load(SeqCst),
            "key {key}: present, created less closed"
        );
        assert!(*present <= 1, "key {key} stands twice");
        let answer = side.find_or_create(&tuple(key as u32), Admit::Never, Tick(0));
        assert_eq!(
            matches!(answer, Answer::Found(_)),
            *present == 1,
            "key {key}: {answer:?}"
        );
        if let Answer::Found(handle) = answer {
            assert!(side.close(handle) && side.release(handle));
        }
    }
    let audit = reader.audit();
    assert_eq!(
        audit,
        Audit {
            free: audit.free,
            ..Audit::default()
        },
        "nothing is left"
    );
    assert_eq!(reader.population(), 0);
}

fn stress(mode: TableMode, threads: usize, keys: u32, flows_max: usize) -> (u64, u64) {
    // An owner's room is its share of the whole.
    let shares = if mode == TableMode::Owner { threads } else { 1 };
    let mut config = TableConfig::new(flows_max * shares, threads, mode);
    config.pages = PageWish::Small;
    config.policy.half_open_per_group_max = 30;
    let hash = FlowHash::new([u64::from(keys); SECRET_COUNT]);
    let mut table = FlowTable::build(&config, &hash).expect("memory");
    let shards = table.readers.len();
    let ledgers: Vec<Ledger> = (0..shards).map(|_| Ledger::new(keys)).collect();
    let barrier = Barrier::new(threads);
    let until = Instant::now() + Duration::from_secs_f64(seconds());
    std::thread::scope(|scope| {
        for (thread, (side, _)) in table.sides.iter_mut().enumerate() {
            let (reader, ledger) = (&table.readers[thread % shards], &ledgers[thread % shards]);
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                work(side, reader, ledger, thread as u64, until);
            });
        }
    });
    for (shard, ledger) in ledgers.iter().enumerate() {
        settle(&mut table.sides[shard].0, &table.readers[shard], ledger);
    }
    let sum =
        |value: fn(&Ledger) -> &AtomicU64| ledgers.iter().map(|one| value(one).load(SeqCst)).sum();
    (
        sum(|ledger| &ledger.operations),
        sum(|ledger| &ledger.evicted),
    )
}

#[test]
fn no_flow_is_lost_doubled_or_torn_in_either_mode() {
    for mode in [TableMode::Owner, TableMode::Shared] {
        // Threads, keys, room (a little more than the keys where nothing may be evicted: a flow that
        // another side is just closing still counts): few keys for contention, many for overflow, little room for eviction.
        for (threads, keys, room) in [
            (2, 64, 90),
            (4, 200, 230),
            (3, 5_000, 5_030),
            (4, 600, 300),
            (4, 3_000, 1_000),
        ] {
            let (operations, evicted) = stress(mode, threads, keys, room);
            println!(
                "{mode:?} {threads} threads, {keys} keys, room {room}: {operations} operations, {evicted} evicted"
            );
            assert!(operations > 10_000, "it did something");
            assert_eq!(
                evicted > 0,
                room < keys as usize,
                "eviction happens when there is no room"
            );
        }
    }
}

#[test]
fn a_flow_that_stays_is_found_at_every_moment() {
    const KEPT: u32 = 2_000;
    let config = TableConfig::new(6_000, 3, TableMode::Shared);
    let mut table = FlowTable::build(&config, &FlowHash::new([9; SECRET_COUNT])).expect("memory");
    let handles: Vec<FlowHandle> = (0..KEPT)
        .map(|key| {
            let admit = Admit::As(Class::Established);
            match table.sides[0].0.find_or_create(&tuple(key), admit, Tick(1)) {
                Answer::Created(handle) => handle,
                other => panic!("{other:?}"),
            }
        })
        .collect();
    let until = Instant::now() + Duration::from_secs_f64(seconds() * 2.0);
    let mut searches = 0;
    std::thread::scope(|scope| {
        let (watcher, churners) = table.sides.split_first_mut().expect("three sides");
        for (thread, (side, _)) in churners.iter_mut().enumerate() {
            scope.spawn(move || {
                let mut random = Random(thread as u64);
                while Instant::now() < until {
                    let key = KEPT + random.below(3_000) as u32;
                    let admit = Admit::As(Class::Established);
                    let answer = side.find_or_create(&tuple(key), admit, Tick(2));
                    if let Answer::Found(handle) | Answer::Created(handle) = answer
                        && side.close(handle)
                    {
                        assert!(side.release(handle));
                    }
                }
                assert_eq!(side.evicted(), [], "there is room for all");
            });
        }
        while Instant::now() < until {
            for (key, handle) in (0_u32..).zip(&handles) {
                let answer = watcher.0.find_or_create(&tuple(key), Admit::Never, Tick(3));
                assert_eq!(answer, Answer::Found(*handle), "key {key} is lost");
            }
            searches += handles.len();
        }
    });
    assert!(searches > 10_000);
}

#[test]
fn the_two_sides_of_an_entry_work_at_the_same_moment() {
    let config = TableConfig::new(1_000, 1, TableMode::Owner);
    let mut table = FlowTable::build(&config, &FlowHash::new([4; SECRET_COUNT])).expect("memory");
    let (mut flow, detection) = table.sides.pop().expect("one pair");
    let (sender, receiver) = std::sync::mpsc::sync_channel::<(FlowHandle, bool)>(256);
    let (returner, returned) = std::sync::mpsc::channel::<FlowHandle>();
    std::thread::scope(|scope| {
        scope.spawn(move || match_stage(&detection, &receiver, &returner));
        let mut random = Random(1);
        let until = Instant::now() + Duration::from_secs_f64(seconds());
        let mut packets = 0_u32;
        while !packets.is_multiple_of(256) || Instant::now() < until {
            packets += 1;
            let key = random.below(900) as u32;
            let answer =
                flow.find_or_create(&tuple(key), Admit::As(Class::Established), Tick(packets));
            let (Answer::Found(handle) | Answer::Created(handle)) = answer else {
                panic!("{answer:?}");
            };
            flow.refresh(handle, Tick(packets), |state| mark(state, key, packets));
            let ends = random.below(8) == 0 && flow.close(handle);
            sender.send((handle, ends)).expect("the match stage lives");
            while let Ok(handle) = returned.try_recv() {
                assert!(flow.release(handle), "its end has passed");
            }
        }
        drop(sender);
        while let Ok(handle) = returned.recv() {
            assert!(flow.release(handle));
        }
        assert_eq!(flow.counters().closed, flow.counters().released);
        assert!(packets > 10_000);
    });
}

/// Counts a flow's packets in its detection line and checks that the count is that flow's alone.
fn match_stage(
    detection: &DetectionSide,
    packets: &std::sync::mpsc::Receiver<(FlowHandle, bool)>,
    ended: &std::sync::mpsc::Sender<FlowHandle>,
) {
    let mut counts = std::collections::HashMap::new();
    while let Ok((handle, ends)) = packets.recv() {
        let line = detection
            .line(handle)
            .expect("not released before its end passed here");
        let count: &mut u32 = counts.entry(handle).or_default();
        assert_eq!(
            [line.word(), line.slab()],
            [*count, !*count & u32::from(*count != 0).wrapping_neg()]
        );
        *count += 1;
        line.set_word(*count);
        line.set_slab(!*count);
        if ends {
            counts.remove(&handle);
            ended.send(handle).expect("the flow stage lives");
        }
    }
}
