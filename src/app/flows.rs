//! The flows of a lane as their parsers see them: finds out which protocol a flow speaks, keeps the
//! bytes that a parser could not take yet, and hands transactions to the matcher.
//!
//! ```text
//!  bytes ─► protocol unknown: held, probed ─► known: the other side's held bytes, then these
//!        ─► known: held rest + new bytes ─► parser ─► what it did not take is held
//! ```
//! A protocol is told by content (flows/identify.rs); ports only help where the content of a datagram
//! says too little.

mod identify;

use super::field::{Field, Progress};
use super::file;
use super::heap::{Heap, TEXT_MAX, Text};
use super::output::{AppEvent, Expected, FlowState, Limits, Output, SCRATCH_SIZE, Shared};
use super::protocol::{AppProtocol, Input, Transport};
use super::registry::{Parser, ends_chunks};
use super::stream_frame::StreamFrames;
use super::transaction::{NONE, Transaction};
use crate::memory::slab::Slabs;
use crate::packet::Direction;

/// Bytes of a direction that are held and probed while the protocol is unknown.
pub const PROBE_BYTES_MAX: usize = 2048;
/// First bytes of a direction that no probe knows, kept for the protocol that the other direction
/// may still tell (a request with a method of its own, a reply that is HTTP's).
const KEPT_BYTES_MAX: usize = 16 << 10;
/// Lines of memory of a flow that most packets need.
const FLOW_LINES: usize = 6;
/// Changes of protocol within one piece.
const CHANGES_MAX: usize = 4;

/// Bytes for a flow. (The same record as a parser gets; `bytes` are the new ones.)
pub type Piece<'a> = Input<'a>;

/// One flow.
#[derive(Debug, Default)]
struct AppFlow {
    state: FlowState,
    parser: Parser,
    held: [Text; 2],
    need: [u32; 2],
    /// Bytes were lost before the next ones.
    gap: [u32; 2],
    ended: [bool; 2],
    /// Descriptions whose probes said no, by place.
    excluded: [u64; 2],
    /// The direction has been given up.
    failed: [bool; 2],
    /// Its beginning was not seen: what the client says must tell the protocol.
    midstream: bool,
    /// Who spoke first.
    first: Option<Direction>,
    /// Bytes of each direction of a stream while the protocol is unknown.
    unknown: [u32; 2],
    /// By which each direction is compared with the other one.
    beginnings: [identify::Beginning; 2],
    /// The protocol has changed, and bytes of the same piece follow.
    changed: bool,
    ports: [u16; 2],
    hosts: [[u8; 16]; 2],
    transport: Option<Transport>,
    time_ns: u64,
    frames: StreamFrames,
}

/// The parsers of a lane.
pub struct Apps {
    flows: Slabs<AppFlow>,
    /// Bytes that wait for their parser.
    holds: Heap,
    /// What parsers write to.
    pub shared: Shared,
}

impl Apps {
    /// Room for `flows` flows with `memory` bytes for their texts (a quarter of it for bytes that
    /// wait); `wanted` says which fields rules or events ask for.
    pub fn new(flows: usize, memory: usize, wanted: Box<[bool]>, limits: Limits) -> Apps {
        let count = u32::try_from(flows.max(1)).unwrap_or(u32::MAX);
        let transactions = count.saturating_mul(2);
        Apps {
            flows: Slabs::from_fn(count, AppFlow::default),
            holds: Heap::new(memory / 4),
            shared: Shared {
                heap: Heap::new(memory - memory / 4),
                transactions: Slabs::from_fn(transactions, || {
                    Transaction::new(AppProtocol::Unknown, 0)
                }),
                serials: vec![0; transactions as usize],
                wanted,
                http: Some(Box::new(super::http::Tools::new(&limits, memory / 8))),
                outbox: file::Outbox::new(limits.files.store),
                files: Slabs::from_fn(count, file::Open::default),
                file_number: 0,
                limits,
                scratch: Vec::with_capacity(SCRATCH_SIZE),
                scratch2: Vec::with_capacity(SCRATCH_SIZE),
                expected: std::collections::VecDeque::with_capacity(super::output::EXPECTED_MAX),
                serial: 0,
                lost: 0,
                undecoded: 0,
            },
        }
    }

    /// A new flow; `None` when all are in use.
    pub fn open(&mut self, piece: &Piece<'_>) -> Option<u32> {
        let mut flow = AppFlow {
            transport: Some(piece.transport),
            ports: [piece.client_port, piece.server_port],
            hosts: [piece.client_addr, piece.server_addr],
            ..AppFlow::default()
        };
        if let Some(expected) = self.expected(piece) {
            flow.state.protocol = expected.protocol;
            flow.state.sides = [expected.protocol; 2];
            flow.state.shown = [Some(true); 2];
            flow.state.expected = Some(expected);
            flow.parser = Parser::new(expected.protocol);
        }
        self.flows.take(flow)
    }

    /// A new flow that is known to speak a protocol (fuzzing, tests).
    pub fn open_as(&mut self, piece: &Piece<'_>, protocol: AppProtocol) -> Option<u32> {
        let index = self.open(piece)?;
        if let Some(flow) = self.flows.get_mut(index) {
            flow.state.protocol = protocol;
            flow.parser = Parser::new(protocol);
        }
        Some(index)
    }

    /// The beginning of a flow was not seen.
    pub fn set_midstream(&mut self, index: u32) {
        if let Some(flow) = self.flows.get_mut(index) {
            flow.midstream = true;
        }
    }

    fn expected(&mut self, piece: &Piece<'_>) -> Option<Expected> {
        let mut hosts = [piece.client_addr, piece.server_addr];
        hosts.sort_unstable();
        let place = self.shared.expected.iter().position(|expected| {
            expected.hosts == hosts
                && expected.port == piece.server_port
                && piece.time_ns <= expected.until_ns
        })?;
        self.shared.expected.remove(place)
    }

    /// Asks for what is known of a flow ahead of its use.
    #[inline(always)]
    pub fn prefetch(&self, flow: u32) {
        self.flows.prefetch(flow, FLOW_LINES);
    }

    /// Asks for the flow's first transaction; what is known of the flow has come by now.
    #[inline(always)]
    pub fn prefetch_first(&self, flow: u32) {
        if let Some(state) = self.state(flow) {
            self.shared.transactions.prefetch(state.first, 2);
        }
    }

    /// What is known of a flow.
    pub fn state(&self, flow: u32) -> Option<&FlowState> {
        self.flows.get(flow).map(|flow| &flow.state)
    }

    /// What is odd about a flow and belongs to no transaction, once, and what it speaks.
    pub fn take_events(
        &mut self,
        flow: u32,
    ) -> Option<(AppProtocol, impl Iterator<Item = (AppEvent, Direction)>)> {
        let state = &mut self.flows.get_mut(flow)?.state;
        let count = std::mem::take(&mut state.event_count);
        let events = state.events.into_iter().take(usize::from(count));
        Some((state.protocol, events))
    }

    /// What a flow speaks, and how many transactions it began since this was asked last.
    pub fn newly_opened(&mut self, flow: u32) -> Option<(AppProtocol, u32)> {
        let state = &mut self.flows.get_mut(flow)?.state;
        let new = state.next_number.saturating_sub(state.counted);
        state.counted = state.next_number;
        Some((state.speaks(), new))
    }

    /// Transactions that a flow has begun so far.
    pub fn opened(&self, flow: u32) -> u32 {
        self.state(flow).map_or(0, |state| state.next_number)
    }

    /// A transaction.
    pub fn transaction(&self, index: u32) -> Option<&Transaction> {
        self.shared.transactions.get(index)
    }

    /// A transaction and the heap, to note what was seen of it.
    pub fn transaction_mut(&mut self, index: u32) -> Option<(&mut Transaction, &mut Heap)> {
        let transaction = self.shared.transactions.get_mut(index)?;
        Some((transaction, &mut self.shared.heap))
    }

    /// What found no room since the last call.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.shared.lost)
    }

    /// Bodies in a coding that is not decoded, since the last call.
    pub fn take_undecoded(&mut self) -> u64 {
        std::mem::take(&mut self.shared.undecoded)
    }

    /// Flows, transactions and bytes in use, for the tests of conservation.
    pub fn in_use(&self) -> (u32, u32, usize) {
        (
            self.flows.used(),
            self.shared.transactions.used(),
            self.holds.used() + self.shared.heap.used() + self.shared.files.used() as usize,
        )
    }

    /// Takes the next bytes of a flow in. The events of the packet before are forgotten.
    pub fn feed(&mut self, index: u32, piece: &Piece<'_>) {
        let Apps {
            flows,
            holds,
            shared,
        } = self;
        let Some(flow) = flows.get_mut(index) else {
            return;
        };
        (flow.state.event_count, flow.state.broken) = (0, false);
        flow.time_ns = piece.time_ns;
        let way = piece.direction.index();
        if flow.state.done || flow.ended[way] {
            return;
        }
        flow.ended[way] = piece.end;
        flow.compare(shared, piece);
        if piece.gap > 0 {
            flow.skip(holds, piece);
        }
        let unknown = flow.state.protocol == AppProtocol::Unknown;
        if flow.held[way].is_empty() && !(unknown && flow.other_waits(piece.direction)) {
            // Most pieces are taken where they stand.
            let rest = flow.step(shared, piece.direction, piece.bytes, piece.end);
            let kept = piece.bytes.get(rest..).unwrap_or(&[]);
            flow.hold(holds, way, kept);
            if std::mem::take(&mut flow.changed) {
                flow.show_other(holds, shared, piece.direction);
                flow.continue_held(holds, shared, piece.direction, piece.end);
            }
        } else {
            flow.take_behind(holds, shared, piece);
        }
        if flow.other_waits(piece.direction) {
            flow.take_turns(holds, shared, piece.direction);
        }
        if flow.state.protocol == AppProtocol::Unknown {
            flow.give_up_long(piece);
        }
        let over = flow.state.done || flow.state.protocol == AppProtocol::Failed;
        if over || piece.end {
            flow.settle_sides(piece.end.then_some(piece.direction));
        }
        if shared.wants(Field::FrameStream) && piece.transport == Transport::Tcp {
            let (frames, state) = (&mut flow.frames, &mut flow.state);
            frames.take(holds, shared, state, way, piece.bytes);
        }
        if over {
            flow.state.done = true;
            flow.let_go(holds, shared);
        }
    }

    /// Whether a flow holds nothing and a piece would change nothing: it is followed no further, or
    /// its sender's datagrams are of no protocol and the other side has sent none.
    pub fn rests(&self, index: u32, piece: &Piece<'_>) -> bool {
        self.flows.get(index).is_some_and(|flow| {
            let (state, way) = (&flow.state, piece.direction.index());
            let is_over = state.done || flow.ended[way];
            let is_unknown = state.protocol == AppProtocol::Unknown
                && piece.transport == Transport::Udp
                && flow.failed[way]
                && flow.beginnings[way].is_full();
            let is_quiet = state.event_count == 0 && !state.broken && state.first == NONE;
            is_quiet && (is_over || is_unknown)
        })
    }

    /// Whether a message of a direction became complete with the last bytes, of a protocol whose
    /// messages are inspected one by one.
    pub fn has_ended_message(&self, index: u32, direction: Direction) -> bool {
        let Some(state) = self.state(index) else {
            return false;
        };
        let mut next = state.first;
        while let Some(transaction) = self.shared.transactions.get(next) {
            if transaction.touched[direction.index()]
                && !transaction.is_frame
                && ends_chunks(transaction.protocol)
                && transaction.progress[direction.index()] == Progress::Complete
            {
                return true;
            }
            next = transaction.next;
        }
        false
    }

    /// The flow ends: parsers see the end of both directions, and all transactions are complete.
    pub fn finish(&mut self, index: u32) {
        let Apps {
            flows,
            holds,
            shared,
        } = self;
        let Some(flow) = flows.get_mut(index) else {
            return;
        };
        flow.state.event_count = 0;
        for direction in [Direction::ToServer, Direction::ToClient] {
            let way = direction.index();
            if !flow.state.done && !std::mem::replace(&mut flow.ended[way], true) {
                flow.continue_held(holds, shared, direction, true);
            }
            flow.take_turns(holds, shared, direction);
        }
        flow.let_go(holds, shared);
        let mut next = flow.state.first;
        // The list is as long as there are transactions.
        while shared.transactions.get(next).is_some() {
            file::end_all(shared, next, None);
            let Some(transaction) = shared.transactions.get_mut(next) else {
                break;
            };
            for direction in [Direction::ToServer, Direction::ToClient] {
                transaction.advance(&mut shared.heap, direction, Progress::Complete);
            }
            next = transaction.next;
        }
    }

    /// Marks files of a transaction, or of its whole flow, for the store (file.rs).
    pub fn store_files(
        &mut self,
        flow: u32,
        transaction: u32,
        directions: [bool; 2],
        all: bool,
        show: impl FnMut(u64, &[u8]),
    ) {
        if all && let Some(flow) = self.flows.get_mut(flow) {
            for (known, asked) in flow.state.stores.iter_mut().zip(directions) {
                *known |= asked;
            }
        }
        file::store(&mut self.shared, transaction, directions, show);
    }

    /// Lets go of a flow, which must have been finished, and of its transactions.
    pub fn close(&mut self, index: u32) {
        let Some(flow) = self.flows.get_mut(index) else {
            return;
        };
        flow.let_go(&mut self.holds, &mut self.shared);
        let mut next = flow.state.first;
        while let Some(transaction) = self.shared.transactions.get_mut(next) {
            let after = transaction.next;
            release(&mut self.shared, next);
            next = after;
        }
        let given = self.flows.give_back(index);
        debug_assert!(given, "a flow is closed once");
    }

    /// Takes out the transactions that `finished` says are done with.
    pub fn release(&mut self, index: u32, finished: impl Fn(&Transaction) -> bool) {
        let Some(flow) = self.flows.get_mut(index) else {
            return;
        };
        let mut before = NONE;
        let mut at = flow.state.first;
        while let Some(transaction) = self.shared.transactions.get(at) {
            let next = transaction.next;
            if finished(transaction) {
                match self.shared.transactions.get_mut(before) {
                    Some(before) => before.next = next,
                    None => flow.state.first = next,
                }
                if flow.state.last == at {
                    flow.state.last = before;
                }
                flow.state.open = flow.state.open.saturating_sub(1);
                let held = self.shared.transactions.get(at).map_or(0, |tx| tx.held);
                flow.state.held = flow.state.held.saturating_sub(held as usize);
                release(&mut self.shared, at);
            } else {
                before = at;
            }
            at = next;
        }
    }
}

fn release(shared: &mut Shared, index: u32) {
    file::end_all(shared, index, None);
    if let Some(transaction) = shared.transactions.get_mut(index) {
        transaction.free(&mut shared.heap);
    }
    if let Some(serial) = shared.serials.get_mut(index as usize) {
        *serial = 0;
    }
    let given = shared.transactions.give_back(index);
    debug_assert!(given, "a transaction is released once");
}

impl AppFlow {
    fn input<'a>(&self, direction: Direction, bytes: &'a [u8], end: bool) -> Input<'a> {
        Input {
            transport: self.transport.unwrap_or(Transport::Tcp),
            direction,
            bytes,
            gap: self.gap[direction.index()],
            end,
            client_port: self.ports[0],
            server_port: self.ports[1],
            client_addr: self.hosts[0],
            server_addr: self.hosts[1],
            time_ns: self.time_ns,
        }
    }

    /// Bytes were lost before the piece.
    #[cold]
    #[inline(never)]
    fn skip(&mut self, holds: &mut Heap, piece: &Piece<'_>) {
        let way = piece.direction.index();
        let mut lost = piece.gap;
        if !self.parser.bridges(piece.direction) {
            lost = lost.saturating_add(self.held[way].len() as u32);
            holds.clear(&mut self.held[way]);
        }
        self.gap[way] = self.gap[way].saturating_add(lost);
        self.need[way] = 0;
    }

    /// Takes a piece behind bytes that wait, of its own side or of the other one.
    #[inline(never)]
    fn take_behind(&mut self, holds: &mut Heap, shared: &mut Shared, piece: &Piece<'_>) {
        let way = piece.direction.index();
        if self.state.protocol == AppProtocol::Unknown && self.other_waits(piece.direction) {
            // What the other side said came first (a greeting).
            self.hold(holds, way, piece.bytes);
            let known = self.identify(
                &shared.limits,
                piece.direction,
                holds.get(&self.held[way]),
                piece.end,
            );
            if known {
                self.settle_other(holds, shared, piece.direction);
                self.continue_held(holds, shared, piece.direction, piece.end);
            }
        } else {
            let long = holds.append(&mut self.held[way], piece.bytes);
            if !long {
                self.lose(holds, way, piece.bytes.len());
                shared.lost += 1;
            }
            self.continue_held(holds, shared, piece.direction, piece.end);
        }
    }

    /// Shows bytes to whom they concern; how many were taken.
    fn step(
        &mut self,
        shared: &mut Shared,
        direction: Direction,
        bytes: &[u8],
        end: bool,
    ) -> usize {
        let way = direction.index();
        let mut taken = 0;
        for _ in 0..CHANGES_MAX {
            let rest = bytes.get(taken..).unwrap_or(&[]);
            let unknown = self.state.protocol == AppProtocol::Unknown;
            if unknown && !self.identify(&shared.limits, direction, rest, end) {
                break;
            }
            if self.state.done || (rest.len() < self.need[way] as usize && !end) {
                break;
            }
            let input = self.input(direction, rest, end);
            let mut output = Output {
                shared,
                flow: &mut self.state,
            };
            let answer = self.parser.parse(&input, &mut output);
            self.state.changing = false;
            self.gap[way] = 0;
            let Ok(answer) = answer else {
                (self.state.done, self.state.broken) = (true, true);
                break;
            };
            taken += answer.count.min(rest.len());
            self.need[way] = answer.need as u32;
            let Some(next) = self.state.change.take() else {
                break;
            };
            self.change(shared, next);
            if taken >= bytes.len() {
                break;
            }
            if self.transport == Some(Transport::Tcp) {
                // What the other side said before is due first, wherever the piece ends.
                self.changed = true;
                break;
            }
        }
        if self.transport == Some(Transport::Udp) {
            self.need = [0; 2];
            return bytes.len();
        }
        taken
    }

    #[cold]
    #[inline(never)]
    fn change(&mut self, shared: &mut Shared, next: AppProtocol) {
        self.parser.free(shared);
        self.parser = Parser::new(next);
        self.state.original = self.state.protocol;
        self.state.protocol = next;
        self.state.sides = [next; 2];
        self.state.hide();
        self.need = [0; 2];
        self.excluded = [0; 2];
        self.failed = [false; 2];
    }

    /// The bytes that are held, shown again because there are more of them, or no more will come.
    fn continue_held(
        &mut self,
        holds: &mut Heap,
        shared: &mut Shared,
        direction: Direction,
        end: bool,
    ) {
        for _ in 0..CHANGES_MAX {
            self.show_held(holds, shared, direction, end);
            if !std::mem::take(&mut self.changed) {
                break;
            }
            self.show_other(holds, shared, direction);
        }
        self.bound(holds, direction.index());
    }

    fn show_other(&mut self, holds: &mut Heap, shared: &mut Shared, direction: Direction) {
        let other = direction.opposite();
        if !self.held[other.index()].is_empty() {
            self.show_held(holds, shared, other, self.ended[other.index()]);
            self.bound(holds, other.index());
        }
    }

    fn show_held(
        &mut self,
        holds: &mut Heap,
        shared: &mut Shared,
        direction: Direction,
        end: bool,
    ) {
        let way = direction.index();
        if self.held[way].is_empty() && !end {
            return;
        }
        let taken = self.step(shared, direction, holds.get(&self.held[way]), end);
        holds.consume(&mut self.held[way], taken);
        if self.held[way].is_empty() {
            holds.clear(&mut self.held[way]);
        }
    }

    fn other_waits(&self, direction: Direction) -> bool {
        !self.held[direction.opposite().index()].is_empty()
    }

    /// What is held of one side may be due once the other side's is read, and so on in turns.
    #[inline(never)]
    fn take_turns(&mut self, holds: &mut Heap, shared: &mut Shared, mut direction: Direction) {
        // Each turn takes a byte of what is held, or is the last.
        loop {
            let other = direction.opposite();
            let before = self.held[other.index()].len();
            if !self.state.done {
                self.settle_other(holds, shared, direction);
            }
            if self.held[other.index()].len() >= before {
                return;
            }
            direction = other;
        }
    }

    /// Once the protocol is known, what the other side said before is due.
    fn settle_other(&mut self, holds: &mut Heap, shared: &mut Shared, direction: Direction) {
        let other = direction.opposite();
        let known = !matches!(
            self.state.protocol,
            AppProtocol::Unknown | AppProtocol::Failed
        );
        if known && !self.held[other.index()].is_empty() && self.need[other.index()] == 0 {
            self.continue_held(holds, shared, other, self.ended[other.index()]);
        }
    }

    fn hold(&mut self, holds: &mut Heap, way: usize, bytes: &[u8]) {
        if bytes.is_empty() || self.state.done {
            return;
        }
        if self.failed[way] && self.state.protocol == AppProtocol::Unknown && self.gap[way] > 0 {
            // Should the other side tell the protocol yet, these bytes are missing.
            self.lose(holds, way, bytes.len());
            return;
        }
        if !holds.append(&mut self.held[way], bytes) {
            self.lose(holds, way, bytes.len());
        }
        self.bound(holds, way);
    }

    /// Bytes that no parser wants within the bound are given up.
    fn bound(&mut self, holds: &mut Heap, way: usize) {
        let unknown = self.state.protocol == AppProtocol::Unknown;
        let limit = match self.failed[way] {
            _ if !unknown => TEXT_MAX,
            true => KEPT_BYTES_MAX,
            false => PROBE_BYTES_MAX,
        };
        if self.held[way].len() > limit {
            self.lose(holds, way, 0);
        }
    }

    #[cold]
    #[inline(never)]
    fn lose(&mut self, holds: &mut Heap, way: usize, more: usize) {
        let lost = (self.held[way].len() + more) as u32;
        self.gap[way] = self.gap[way].saturating_add(lost);
        self.need[way] = 0;
        holds.clear(&mut self.held[way]);
    }

    fn let_go(&mut self, holds: &mut Heap, shared: &mut Shared) {
        self.parser.free(shared);
        for text in &mut self.held {
            holds.clear(text);
        }
        self.frames.clear(holds);
    }
}
