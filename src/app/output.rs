//! A parser's way out: transactions, their parts, events, and what else it can ask of its flow.
//!
//! Every call is bounded and none fails aloud: what finds no room is counted (`AppStateLost`), and
//! the parser goes on as if it had been kept.

use super::field::{Field, Progress};
use super::file::{self, FileSettings};
use super::heap::{Heap, TEXT_MAX};
use super::protocol::AppProtocol;
use super::settings::{Encryption, Settings};
use super::transaction::{NONE, Transaction};
use crate::memory::slab::Slabs;
use crate::packet::Direction;

/// Events of one packet without a transaction at most.
pub const FLOW_EVENTS_MAX: usize = 8;
/// Flows that parsers expect, at most (oldest first).
pub const EXPECTED_MAX: usize = 1024;
/// Bytes kept with an expected flow.
pub const EXPECTED_TEXT_MAX: usize = 128;

/// Names a transaction to a parser. One that is gone takes nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TxId {
    pub(super) index: u32,
    pub(super) serial: u32,
}

impl Default for TxId {
    fn default() -> Self {
        TxId::NONE
    }
}

impl TxId {
    /// No transaction.
    pub const NONE: TxId = TxId {
        index: NONE,
        serial: 0,
    };

    /// Whether it names one.
    pub fn is_some(self) -> bool {
        self.index != NONE
    }
}

/// Names a growing instance.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Growing(pub(super) u32);

/// An event of a protocol: number of the protocol and place in its list of names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct AppEvent(pub u16);

impl AppEvent {
    /// The event at a place of the protocol's list.
    pub const fn of(protocol: AppProtocol, place: u8) -> AppEvent {
        AppEvent((protocol as u16) << 8 | place as u16)
    }
}

/// Settings that parsers heed.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a request body that are kept (`libhtp...request-body-limit`).
    pub request_body: usize,
    /// Bytes of a response body that are kept.
    pub response_body: usize,
    /// Bytes of any other file or attachment that are kept.
    pub file: usize,
    /// Transactions of a flow that are open at once.
    pub transactions: usize,
    /// Bytes of the lane's heap that the transactions of one flow may hold.
    pub flow_memory: usize,
    /// What is asked of files.
    pub files: FileSettings,
    /// Protocols that are not looked for over streams and datagrams, by their bits
    /// (`app-layer.protocols.NAME.enabled: no`).
    pub off: [u64; 2],
    /// Protocols that are told and not read (`detection-only`).
    pub told_only: u64,
    /// Numbers and switches of single parsers.
    pub parsers: Settings,
    /// Other settings of parsers, by Suricata's key names (`app-layer.protocols...`).
    pub settings: Vec<(String, String)>,
}

impl Limits {
    /// The limits with these settings, by Suricata's key names.
    pub fn of(settings: &[(String, String)]) -> Limits {
        let mut limits = Limits {
            settings: settings.to_vec(),
            ..Limits::default()
        };
        for (key, value) in settings {
            limits.switch(key, value);
            limits.parsers.take(key, value);
            let Some(size) = size(value) else { continue };
            // 0 is Suricata's word for no limit; a text cannot be longer than this.
            let size = if size == 0 {
                TEXT_MAX
            } else {
                size.min(TEXT_MAX)
            };
            if key.ends_with("request-body-limit") {
                limits.request_body = size;
            } else if key.ends_with("response-body-limit") {
                limits.response_body = size;
            }
        }
        limits
    }

    /// Takes `app-layer.protocols.NAME[.tcp|.udp].enabled`.
    fn switch(&mut self, key: &str, value: &str) {
        let name = key.strip_prefix("app-layer.protocols.");
        let Some(name) = name.and_then(|key| key.strip_suffix(".enabled")) else {
            return;
        };
        let (name, over) = match name.split_once('.') {
            Some((name, "tcp")) => (name, 0..1),
            Some((name, "udp")) => (name, 1..2),
            _ => (name, 0..2),
        };
        let Some(protocol) = AppProtocol::ALL.iter().find(|known| known.name() == name) else {
            return;
        };
        let bit = protocol.bit();
        let off = is_off(value);
        for off_over in self.off.get_mut(over).unwrap_or(&mut []) {
            *off_over = *off_over & !bit | if off { bit } else { 0 };
        }
        let told_only = value == "detection-only";
        self.told_only = self.told_only & !bit | if told_only { bit } else { 0 };
    }

    /// The value of the last setting whose key ends in `key`.
    pub fn setting(&self, key: &str) -> Option<&str> {
        let of_key = self.settings.iter().rev().find(|(k, _)| k.ends_with(key));
        of_key.map(|(_, value)| value.as_str())
    }
}

/// Whether a setting's word means yes.
pub(super) fn is_on(value: &str) -> bool {
    matches!(value, "yes" | "true" | "on" | "1")
}

/// Whether a setting's word means no.
pub(super) fn is_off(value: &str) -> bool {
    matches!(value, "no" | "false" | "off" | "0")
}

/// A number of bytes with its unit (`100kb`, `1 MiB`).
pub(super) fn size(text: &str) -> Option<usize> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match text.get(digits.len()..)?.trim() {
        "" | "b" => 1,
        "kb" | "kib" => 1 << 10,
        "mb" | "mib" => 1 << 20,
        "gb" | "gib" => 1 << 30,
        _ => return None,
    };
    digits.parse::<usize>().ok()?.checked_mul(unit)
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            request_body: 100 << 10,
            response_body: 100 << 10,
            file: 100 << 10,
            transactions: 512,
            flow_memory: 3 << 19,
            files: FileSettings::default(),
            off: [0; 2],
            told_only: 0,
            parsers: Settings::default(),
            settings: Vec::new(),
        }
    }
}

/// A flow that a parser foresees (FTP data).
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// What it will speak.
    pub protocol: AppProtocol,
    /// Both hosts, lower address first.
    pub hosts: [[u8; 16]; 2],
    /// Port that the data connection is opened to.
    pub port: u16,
    /// Until when, nanoseconds since the epoch.
    pub until_ns: u64,
    /// A number of the parser's own.
    pub tag: u64,
    /// A text of the parser's own (a file name).
    pub text: [u8; EXPECTED_TEXT_MAX],
    /// Valid bytes of `text`.
    pub text_length: u8,
}

/// What the parsers of a lane share.
pub struct Shared {
    /// Memory of texts.
    pub heap: Heap,
    /// Transactions.
    pub transactions: Slabs<Transaction>,
    /// Serial numbers of transactions, by index.
    pub(super) serials: Vec<u32>,
    /// Fields that rules or events ask for, by number.
    pub wanted: Box<[bool]>,
    /// Settings.
    pub limits: Limits,
    /// What HTTP's parsers use in turn; taken out while one is at work.
    pub http: Option<Box<super::http::Tools>>,
    /// Room for a normalised value.
    pub scratch: Vec<u8>,
    /// Room for another.
    pub scratch2: Vec<u8>,
    /// Pieces of stored files that wait for the writer.
    pub outbox: file::Outbox,
    pub(super) files: Slabs<file::Open>,
    pub(super) file_number: u64,
    pub(super) expected: std::collections::VecDeque<Expected>,
    pub(super) serial: u32,
    pub(super) lost: u64,
    /// Bodies in a coding that is not decoded here (LZMA): they are looked at as they are.
    pub(super) undecoded: u64,
}

impl Shared {
    /// Whether a rule or an event asks for the field.
    pub(super) fn wants(&self, field: Field) -> bool {
        self.wanted.get(field as usize).copied().unwrap_or(false)
    }
}

/// Longest value that the scratch buffers hold.
pub const SCRATCH_SIZE: usize = 128 << 10;

/// What a flow has of transactions and events.
#[derive(Debug)]
pub struct FlowState {
    /// Protocol now.
    pub protocol: AppProtocol,
    /// Protocol before it changed (STARTTLS, CONNECT), or `Unknown`.
    pub original: AppProtocol,
    /// What each direction's own first bytes tell: `Unknown` until they do, `Failed` where they are
    /// of no protocol. Looked at closely where a rule asks for it; otherwise the flow's.
    pub sides: [AppProtocol; 2],
    /// Whether a direction's own bytes told it: not yet, so (`Some(true)`), or never.
    pub shown: [Option<bool>; 2],
    /// First transaction, or `NONE`.
    pub first: u32,
    pub(super) last: u32,
    pub(super) open: u32,
    pub(super) next_number: u32,
    /// Transactions that are counted already.
    pub(super) counted: u32,
    /// Bytes of the heap that its transactions hold.
    pub(super) held: usize,
    /// Events of this packet that belong to no transaction, with their direction.
    pub events: [(AppEvent, Direction); FLOW_EVENTS_MAX],
    /// Valid entries of `events`.
    pub event_count: u8,
    /// All that follows is encrypted or none of ours.
    pub done: bool,
    /// What the flow carries is encrypted from here on: so many bytes at the end of the piece that
    /// told it, and all that follow.
    pub encrypted: Option<u32>,
    /// Nothing of a flow that is encrypted is looked at any more, its headers neither.
    pub bypass: bool,
    /// The parser could not read this packet's bytes (the policy for errors of the application
    /// layer decides).
    pub broken: bool,
    /// Files of a direction are stored, as a rule asked for.
    pub stores: [bool; 2],
    pub(super) change: Option<AppProtocol>,
    /// What it speaks behind a change was found out by the bytes at hand.
    pub(super) changing: bool,
    /// What it is to become (STARTTLS: TLS), once that was asked for; else `Unknown`.
    pub awaited: AppProtocol,
    /// What another flow's parser said about this one.
    pub expected: Option<Expected>,
}

impl FlowState {
    /// Transactions begun so far.
    pub fn opened(&self) -> u32 {
        self.next_number
    }

    /// What it speaks; while a change is not over, what it spoke before.
    pub fn speaks(&self) -> AppProtocol {
        match self.protocol {
            AppProtocol::Unknown => self.original,
            protocol => protocol,
        }
    }

    /// A direction's own bytes told what it speaks, or that it speaks nothing known.
    pub(super) fn show(&mut self, direction: Direction) {
        self.shown[direction.index()].get_or_insert(true);
    }

    /// What is spoken is said by something else: nothing is told of directions that told nothing.
    pub(super) fn hide(&mut self) {
        for shown in &mut self.shown {
            shown.get_or_insert(false);
        }
    }

    /// An event that belongs to no transaction; beyond the bound it is not told.
    pub(super) fn tell(&mut self, event: AppEvent, direction: Direction) {
        if let Some(entry) = self.events.get_mut(usize::from(self.event_count)) {
            *entry = (event, direction);
            self.event_count += 1;
        }
    }
}

impl Default for FlowState {
    fn default() -> Self {
        FlowState {
            protocol: AppProtocol::Unknown,
            original: AppProtocol::Unknown,
            sides: [AppProtocol::Unknown; 2],
            shown: [None; 2],
            first: NONE,
            last: NONE,
            open: 0,
            next_number: 0,
            counted: 0,
            held: 0,
            events: [(AppEvent(0), Direction::ToServer); FLOW_EVENTS_MAX],
            event_count: 0,
            done: false,
            encrypted: None,
            bypass: false,
            broken: false,
            stores: [false; 2],
            change: None,
            changing: false,
            awaited: AppProtocol::Unknown,
            expected: None,
        }
    }
}

/// See the file's head.
pub struct Output<'a> {
    /// What the lane's parsers share; parsers use its heap and scratch.
    pub shared: &'a mut Shared,
    pub(super) flow: &'a mut FlowState,
}

impl Output<'_> {
    /// The heap.
    pub fn heap(&mut self) -> &mut Heap {
        &mut self.shared.heap
    }

    /// Whether a rule or an event asks for the field: if not, it need not be made.
    pub fn wants(&self, field: Field) -> bool {
        self.shared.wants(field)
    }

    /// Begins a transaction of the flow's protocol. `TxId::NONE` when there is no room.
    pub fn open(&mut self) -> TxId {
        self.open_as(self.flow.protocol)
    }

    /// Begins a transaction whose message goes one way: rules look at it in that direction alone.
    pub fn open_one_way(&mut self, direction: Direction) -> TxId {
        let tx = self.open();
        self.with(tx, |tx, _| {
            tx.only = Some(direction);
            tx.touched[direction.opposite().index()] = false;
        });
        tx
    }

    /// The direction in which rules look at a transaction, if it is one alone.
    pub fn only(&self, tx: TxId) -> Option<Direction> {
        self.transaction(tx)?.only
    }

    /// Begins a transaction of a protocol that rides on the flow's (DCERPC on SMB).
    pub fn open_as(&mut self, protocol: AppProtocol) -> TxId {
        let number = self.flow.next_number;
        self.flow.next_number += 1;
        let room = (self.flow.open as usize) < self.shared.limits.transactions;
        let mut transaction = Transaction::new(protocol, number);
        // A rule may ask for a transaction that has come nowhere yet.
        transaction.touched = [self.wants(Field::Hook); 2];
        let taken = room.then(|| self.shared.transactions.take(transaction));
        let Some(index) = taken.flatten() else {
            self.shared.lost += 1;
            return TxId::NONE;
        };
        self.shared.serial = self.shared.serial.wrapping_add(1);
        if let Some(serial) = self.shared.serials.get_mut(index as usize) {
            *serial = self.shared.serial;
        }
        match self.shared.transactions.get_mut(self.flow.last) {
            Some(last) => last.next = index,
            None => self.flow.first = index,
        }
        self.flow.last = index;
        self.flow.open += 1;
        TxId {
            index,
            serial: self.shared.serial,
        }
    }

    /// A transaction, and with it the flow, turns out to be of a protocol that rides on the flow's
    /// (DNS over HTTP/2). The parser stays.
    pub fn rename(&mut self, tx: TxId, protocol: AppProtocol) {
        self.with(tx, |tx, _| tx.protocol = protocol);
        self.flow.protocol = protocol;
        self.flow.sides = [protocol; 2];
        self.flow.hide();
    }

    /// Transactions of the flow that are open.
    pub fn open_count(&self) -> usize {
        self.flow.open as usize
    }

    fn with<R>(&mut self, tx: TxId, f: impl FnOnce(&mut Transaction, &mut Heap) -> R) -> Option<R> {
        if self.shared.serials.get(tx.index as usize) != Some(&tx.serial) {
            return None;
        }
        let transaction = self.shared.transactions.get_mut(tx.index)?;
        let before = self.shared.heap.used();
        let result = f(transaction, &mut self.shared.heap);
        let more = self.shared.heap.used().saturating_sub(before);
        transaction.held += more as u32;
        self.flow.held += more;
        Some(result)
    }

    /// Whether the flow may hold `count` bytes more: what its peers send is bounded by
    /// `Limits::flow_memory`, lest one flow takes the heap of all. What is beyond is lost (counted).
    fn has_room(&mut self, count: usize) -> bool {
        let room = self.flow.held + count <= self.shared.limits.flow_memory;
        self.shared.lost += u64::from(!room);
        room
    }

    /// Adds an instance of a field.
    pub fn field(&mut self, tx: TxId, field: Field, direction: Direction, bytes: &[u8]) {
        if !self.has_room(bytes.len()) {
            return;
        }
        let kept = self.with(tx, |tx, heap| tx.add(heap, field, direction, bytes));
        self.shared.lost += u64::from(kept == Some(false));
    }

    /// Adds an instance whose bytes stand in `shared.scratch`.
    pub fn field_of_scratch(&mut self, tx: TxId, field: Field, direction: Direction) {
        let scratch = std::mem::take(&mut self.shared.scratch);
        self.field(tx, field, direction, &scratch);
        self.shared.scratch = scratch;
    }

    /// Shows a frame (`frame:NAME` of rules) that is complete, if some rule asks for it. Frames are
    /// the protocol's own units; each is inspected by itself.
    pub fn frame(&mut self, field: Field, direction: Direction, bytes: &[u8]) {
        if self.wants(field) {
            let (tx, frame) = self.begin_frame(field, direction);
            self.grow(tx, frame, bytes);
            self.complete(tx);
        }
    }

    /// Begins a frame that comes in pieces: `grow` it, then `complete` its transaction. Ask `wants`
    /// before.
    pub fn begin_frame(&mut self, field: Field, direction: Direction) -> (TxId, Growing) {
        let tx = self.open();
        // It is none of the flow's transactions, which alone are numbered.
        self.flow.next_number = self.flow.next_number.saturating_sub(1);
        self.with(tx, |tx, _| tx.is_frame = true);
        (tx, self.begin(tx, field, direction))
    }

    /// Adds to a number that events tell.
    pub fn count_for_events(&mut self, tx: TxId, field: Field, direction: Direction, by: u64) {
        if self.wants(field) && self.has_room(0) {
            let counted = self.with(tx, |tx, heap| tx.count(heap, field, direction, by));
            self.shared.lost += u64::from(counted == Some(false));
        }
    }

    /// Adds a number.
    pub fn number(&mut self, tx: TxId, field: Field, direction: Direction, number: u64) {
        if !self.has_room(0) {
            return;
        }
        let kept = self.with(tx, |tx, heap| tx.add_number(heap, field, direction, number));
        self.shared.lost += u64::from(kept == Some(false));
    }

    /// Adds what events tell alone, where there are events (and a transaction).
    pub fn number_for_events(&mut self, tx: TxId, field: Field, direction: Direction, number: u64) {
        if tx.is_some() && self.wants(field) {
            self.number(tx, field, direction, number);
        }
    }

    /// The same, of bytes in `shared.scratch`.
    pub fn scratch_for_events(&mut self, tx: TxId, field: Field, direction: Direction) {
        if tx.is_some() && self.wants(field) && !self.shared.scratch.is_empty() {
            self.field_of_scratch(tx, field, direction);
        }
    }

    /// Begins an instance that grows (a body, a file).
    pub fn begin(&mut self, tx: TxId, field: Field, direction: Direction) -> Growing {
        if !self.has_room(0) {
            return Growing(NONE);
        }
        let place = self.with(tx, |tx, heap| tx.begin(heap, field, direction));
        match place.flatten() {
            Some(place) => Growing(place as u32),
            None => Growing(NONE),
        }
    }

    /// Adds bytes to it. False: there is no room for them, now or ever.
    pub fn grow(&mut self, tx: TxId, growing: Growing, bytes: &[u8]) -> bool {
        if !self.has_room(bytes.len()) {
            return false;
        }
        let kept = self.with(tx, |tx, heap| tx.grow(heap, growing.0 as usize, bytes));
        self.shared.lost += u64::from(kept == Some(false));
        kept == Some(true)
    }

    /// Bytes that it has so far.
    pub fn grown(&self, tx: TxId, growing: Growing) -> usize {
        self.transaction(tx)
            .and_then(|tx| {
                let instance = tx.instance(&self.shared.heap, growing.0 as usize)?;
                Some(tx.bytes(&self.shared.heap, &instance).len())
            })
            .unwrap_or(0)
    }

    /// No more bytes will come to it.
    pub fn end(&mut self, tx: TxId, growing: Growing) {
        self.with(tx, |tx, heap| tx.end(heap, growing.0 as usize));
    }

    /// A direction of the transaction has come this far.
    pub fn progress(&mut self, tx: TxId, direction: Direction, progress: Progress) {
        if progress == Progress::Complete && self.transaction(tx).is_some() {
            file::end_all(self.shared, tx.index, Some(direction));
        }
        self.with(tx, |tx, heap| tx.advance(heap, direction, progress));
    }

    /// Rules ask anew about a direction of the transaction, though nothing in it changed.
    pub fn touch(&mut self, tx: TxId, direction: Direction) {
        self.with(tx, |tx, _| tx.touch(direction));
    }

    /// Both directions are complete (a datagram, a notification).
    pub fn complete(&mut self, tx: TxId) {
        for direction in [Direction::ToServer, Direction::ToClient] {
            self.progress(tx, direction, Progress::Complete);
        }
    }

    /// The transaction, to read back what was found.
    pub fn transaction(&self, tx: TxId) -> Option<&Transaction> {
        if self.shared.serials.get(tx.index as usize) != Some(&tx.serial) {
            return None;
        }
        self.shared.transactions.get(tx.index)
    }

    /// Bytes of the first instance of a field.
    pub fn value(&self, tx: TxId, field: Field, direction: Direction) -> Option<&[u8]> {
        self.transaction(tx)?
            .value(&self.shared.heap, field, direction)
    }

    /// Something odd in a transaction, or in the flow (`TxId::NONE`): `app-layer-event`.
    pub fn event(&mut self, tx: TxId, direction: Direction, event: AppEvent) {
        if tx.is_some() {
            self.number(tx, Field::AppLayerEvent, direction, u64::from(event.0));
            return;
        }
        self.flow.tell(event, direction);
    }

    /// Something odd in bytes that begin no transaction: it is told of the last one that is still
    /// open to rules, as Suricata does, and of none where there is none.
    pub fn event_of_last(&mut self, direction: Direction, event: AppEvent) {
        let index = self.flow.last;
        let serial = self.shared.serials.get(index as usize).copied();
        let tx = serial.map_or(TxId::NONE, |serial| TxId { index, serial });
        if self.transaction(tx).is_some_and(|tx| !tx.is_frame) {
            self.event(tx, direction, event);
        }
    }

    /// From the next byte on the flow speaks another protocol (`Unknown`: find out). False: these
    /// are the first bytes behind a change, which is not over yet, as in Suricata.
    pub fn change_protocol(&mut self, protocol: AppProtocol) -> bool {
        if self.flow.changing {
            return false;
        }
        (self.flow.change, self.flow.awaited) = (Some(protocol), protocol);
        true
    }

    /// From the next byte on the flow should speak another protocol, but what it speaks indeed is
    /// found out anew. The answer is that of `change_protocol`.
    pub fn await_protocol(&mut self, protocol: AppProtocol) -> bool {
        let changes = self.change_protocol(AppProtocol::Unknown);
        if changes {
            self.flow.awaited = protocol;
        }
        changes
    }

    /// All that follows is encrypted or of no interest: the parser is not asked again.
    pub fn done(&mut self) {
        self.flow.done = true;
    }

    /// The flow's payload is encrypted from here on, the last `count` bytes of the input and all that
    /// follow: rules about payload do not look at it any more, where `handling` says so.
    pub fn encrypted(&mut self, count: usize, handling: Encryption) {
        if handling != Encryption::Full && self.flow.encrypted.is_none() {
            self.flow.encrypted = Some(count as u32);
            self.flow.bypass = handling == Encryption::Bypass;
        }
    }

    /// These bytes are none of the protocol's, though the parser goes on with the next ones.
    pub fn broken(&mut self) {
        self.flow.broken = true;
    }

    /// What the parser that foresaw this flow said about it.
    pub fn expected(&self) -> Option<&Expected> {
        self.flow.expected.as_ref()
    }

    /// A flow to come. Beyond [`EXPECTED_MAX`] the oldest is forgotten.
    pub fn expect(&mut self, expected: Expected) {
        if self.shared.expected.len() >= EXPECTED_MAX {
            self.shared.expected.pop_front();
        }
        self.shared.expected.push_back(expected);
    }
}
