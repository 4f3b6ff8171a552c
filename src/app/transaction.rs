//! Transactions: what a parser has found, part by part, until rules and events have seen it.
//!
//! A transaction is an exchange (request and response, query and answer, a mail, a file). Its parts
//! are *instances* of fields: byte strings, growing byte strings (bodies, files) and numbers. All
//! of them live in the lane's heap; a record here has a fixed size. Parsers write through
//! `Output` (output.rs), the matcher reads.

use super::field::{Field, Progress};
use super::heap::{Heap, Text};
use super::protocol::AppProtocol;
use crate::packet::Direction;

/// Instances of one transaction at most; further ones are counted and not seen.
pub const INSTANCES_MAX: usize = 4096;
/// No transaction, no instance.
pub const NONE: u32 = u32::MAX;

/// Instances among which a number is looked for that is counted on.
const COUNTED_MAX: usize = 64;
/// Bytes that an instance takes in the list.
const SIZE: usize = 20;
const TO_CLIENT: u8 = 1;
const NUMBER: u8 = 2;
const GROWING: u8 = 4;
const ENDED: u8 = 8;

/// An instance of a field.
#[derive(Clone, Copy, Debug)]
pub struct Instance {
    /// Whose it is.
    pub field: Field,
    /// Way of the bytes.
    pub direction: Direction,
    flags: u8,
    parts: [u32; 3],
    /// Bytes that the matcher's prefilter has seen already.
    pub scanned: u32,
}

impl Instance {
    /// Whether no more bytes will come.
    pub fn ended(&self) -> bool {
        self.flags & (GROWING | ENDED) != GROWING
    }

    /// Whether it is a number.
    pub fn is_number(&self) -> bool {
        self.flags & NUMBER != 0
    }

    /// The number.
    pub fn number(&self) -> u64 {
        u64::from(self.parts[0]) | u64::from(self.parts[1]) << 32
    }

    fn encode(&self) -> [u8; SIZE] {
        let mut out = [0; SIZE];
        let turned = if self.direction == Direction::ToClient {
            TO_CLIENT
        } else {
            0
        };
        let head = u32::from(self.field as u16) | u32::from(self.flags | turned) << 16;
        let words = [
            head,
            self.parts[0],
            self.parts[1],
            self.parts[2],
            self.scanned,
        ];
        for (place, word) in out.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        out
    }

    fn decode(bytes: &[u8]) -> Option<Instance> {
        let mut words = [0u32; SIZE / 4];
        for (word, place) in words.iter_mut().zip(bytes.chunks_exact(4)) {
            *word = u32::from_le_bytes(place.try_into().ok()?);
        }
        let flags = (words[0] >> 16) as u8;
        Some(Instance {
            field: Field::from_number(words[0] as u16)?,
            direction: if flags & TO_CLIENT != 0 {
                Direction::ToClient
            } else {
                Direction::ToServer
            },
            flags: flags & !TO_CLIENT,
            parts: [words[1], words[2], words[3]],
            scanned: words[4],
        })
    }
}

/// A transaction. Its texts belong to the heap of the lane.
#[derive(Debug)]
pub struct Transaction {
    /// Whose transaction.
    pub protocol: AppProtocol,
    /// It is a frame, which only rules about frames look at.
    pub is_frame: bool,
    /// Its message goes one way, and rules look at it in that direction alone.
    pub only: Option<Direction>,
    /// Number within the flow, from 0.
    pub number: u32,
    /// How far each direction has come.
    pub progress: [Progress; 2],
    /// Directions in which something changed since the matcher looked last.
    pub touched: [bool; 2],
    /// The matcher's own record of each direction, or [`NONE`].
    pub detection: [u32; 2],
    /// What the event writer was told already.
    pub told: bool,
    /// First open file (file.rs), or [`NONE`].
    pub files: u32,
    /// Bytes of the heap that it holds.
    pub held: u32,
    /// Files of a direction are stored.
    pub stores: [bool; 2],
    /// The next transaction of the flow, or [`NONE`].
    pub next: u32,
    list: Text,
    bytes: Text,
}

impl Transaction {
    /// A transaction without parts.
    pub fn new(protocol: AppProtocol, number: u32) -> Transaction {
        Transaction {
            protocol,
            is_frame: false,
            only: None,
            number,
            progress: [Progress::Open; 2],
            touched: [false; 2],
            detection: [NONE; 2],
            told: false,
            files: NONE,
            held: 0,
            stores: [false; 2],
            next: NONE,
            list: Text::default(),
            bytes: Text::default(),
        }
    }

    /// Whether no more instances of a field will come in a direction. Those of DNS within HTTP/2 come
    /// with the body.
    pub fn knows(&self, field: Field, direction: Direction) -> bool {
        let at = match self.protocol {
            AppProtocol::Doh2 if field.name().starts_with("dns.") => Progress::Complete,
            _ => field.known_from(direction),
        };
        self.progress[direction.index()] >= at
    }

    /// Whether rules look at a direction of it.
    pub fn has(&self, direction: Direction) -> bool {
        self.only.is_none_or(|only| only == direction)
    }

    /// Rules ask anew about a direction, where they look at it.
    pub fn touch(&mut self, direction: Direction) {
        self.touched[direction.index()] |= self.has(direction);
    }

    /// Instances so far.
    pub fn len(&self) -> usize {
        self.list.len() / SIZE
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether both directions are complete.
    pub fn is_complete(&self) -> bool {
        self.progress == [Progress::Complete; 2]
    }

    /// The instance at a place of the list.
    pub fn instance(&self, heap: &Heap, place: usize) -> Option<Instance> {
        Instance::decode(heap.get(&self.list).get(place * SIZE..(place + 1) * SIZE)?)
    }

    /// All instances, in the order in which they were found.
    pub fn instances<'a>(&'a self, heap: &'a Heap) -> impl Iterator<Item = Instance> + Clone + 'a {
        heap.get(&self.list)
            .chunks_exact(SIZE)
            .filter_map(Instance::decode)
    }

    /// The instances of a field in a direction; of others only the first word is looked at.
    pub fn instances_of<'a>(
        &'a self,
        heap: &'a Heap,
        field: Field,
        direction: Direction,
    ) -> impl Iterator<Item = Instance> + Clone + 'a {
        let [low, high] = (field as u16).to_le_bytes();
        let turned = match direction {
            Direction::ToServer => 0,
            Direction::ToClient => TO_CLIENT,
        };
        heap.get(&self.list)
            .chunks_exact(SIZE)
            .filter(move |bytes| {
                matches!(bytes, [a, b, flags, ..] if (*a, *b, flags & TO_CLIENT) == (low, high, turned))
            })
            .filter_map(Instance::decode)
    }

    /// Bytes of an instance so far; none of a number.
    pub fn bytes<'a>(&self, heap: &'a Heap, instance: &Instance) -> &'a [u8] {
        let [at, length, _] = instance.parts;
        if instance.flags & NUMBER != 0 {
            return &[];
        }
        if instance.flags & GROWING != 0 {
            return heap.slice_of(at, length);
        }
        heap.get(&self.bytes)
            .get(at as usize..at as usize + length as usize)
            .unwrap_or(&[])
    }

    /// Bytes of the first instance of a field in a direction.
    pub fn value<'a>(
        &self,
        heap: &'a Heap,
        field: Field,
        direction: Direction,
    ) -> Option<&'a [u8]> {
        let found = self.instances_of(heap, field, direction).next()?;
        Some(self.bytes(heap, &found))
    }

    /// The first number of a field in a direction.
    pub fn number_of(&self, heap: &Heap, field: Field, direction: Direction) -> Option<u64> {
        let mut found = self.instances_of(heap, field, direction);
        found.next().map(|instance| instance.number())
    }

    /// Remembers how far the prefilter has looked.
    pub fn set_scanned(&mut self, heap: &mut Heap, place: usize, scanned: usize) {
        if let Some(mut instance) = self.instance(heap, place) {
            instance.scanned = scanned as u32;
            self.write(heap, place, &instance);
        }
    }

    fn write(&mut self, heap: &mut Heap, place: usize, instance: &Instance) {
        if let Some(out) = heap
            .get_mut(&mut self.list)
            .get_mut(place * SIZE..(place + 1) * SIZE)
        {
            out.copy_from_slice(&instance.encode());
        }
    }

    /// Adds an instance; its place, or None when there is no room.
    /// Writes other bytes over those of an instance that does not grow; as many as it has.
    pub fn overwrite(&mut self, heap: &mut Heap, instance: &Instance, bytes: &[u8]) {
        let [at, length, _] = instance.parts;
        let (at, length) = (at as usize, length as usize);
        if instance.flags & (GROWING | NUMBER) == 0
            && let Some(place) = heap.get_mut(&mut self.bytes).get_mut(at..at + length)
            && length == bytes.len()
        {
            place.copy_from_slice(bytes);
        }
    }

    fn push(&mut self, heap: &mut Heap, instance: &Instance) -> Option<usize> {
        let place = self.len();
        if place >= INSTANCES_MAX || !heap.append(&mut self.list, &instance.encode()) {
            return None;
        }
        self.touch(instance.direction);
        Some(place)
    }

    /// Adds bytes as an instance. False: no room.
    #[must_use]
    pub fn add(
        &mut self,
        heap: &mut Heap,
        field: Field,
        direction: Direction,
        bytes: &[u8],
    ) -> bool {
        let at = self.bytes.len();
        if !heap.append(&mut self.bytes, bytes) {
            return false;
        }
        let instance = Instance {
            field,
            direction,
            flags: 0,
            parts: [at as u32, bytes.len() as u32, 0],
            scanned: 0,
        };
        self.push(heap, &instance).is_some()
    }

    /// Adds a number. False: no room.
    #[must_use]
    pub fn add_number(
        &mut self,
        heap: &mut Heap,
        field: Field,
        direction: Direction,
        number: u64,
    ) -> bool {
        let instance = Instance {
            field,
            direction,
            flags: NUMBER,
            parts: [number as u32, (number >> 32) as u32, 0],
            scanned: 0,
        };
        self.push(heap, &instance).is_some()
    }

    /// Adds to a number, which begins at 0. False: no room.
    #[must_use]
    pub fn count(&mut self, heap: &mut Heap, field: Field, direction: Direction, by: u64) -> bool {
        let same = |found: &Instance| (found.field, found.direction) == (field, direction);
        let found = {
            let mut all = self.instances(heap).take(COUNTED_MAX).enumerate();
            all.find(|(_, instance)| same(instance))
        };
        let Some((place, mut instance)) = found else {
            return self.add_number(heap, field, direction, by);
        };
        let number = instance.number().saturating_add(by);
        (instance.parts[0], instance.parts[1]) = (number as u32, (number >> 32) as u32);
        let list = heap.get_mut(&mut self.list);
        if let Some(bytes) = list.get_mut(place * SIZE..(place + 1) * SIZE) {
            bytes.copy_from_slice(&instance.encode());
        }
        true
    }

    /// Begins an instance that grows; its place, or None when there is no room.
    pub fn begin(&mut self, heap: &mut Heap, field: Field, direction: Direction) -> Option<usize> {
        let instance = Instance {
            field,
            direction,
            flags: GROWING,
            parts: Text::default().into_parts(),
            scanned: 0,
        };
        self.push(heap, &instance)
    }

    /// Adds bytes to a growing instance. False: it has ended, or there is no room.
    #[must_use]
    pub fn grow(&mut self, heap: &mut Heap, place: usize, bytes: &[u8]) -> bool {
        let Some(mut instance) = self.instance(heap, place).filter(|i| !i.ended()) else {
            return false;
        };
        let mut text = Heap::of_parts(instance.parts);
        let grown = heap.append(&mut text, bytes);
        instance.parts = text.into_parts();
        self.write(heap, place, &instance);
        if grown {
            self.touch(instance.direction);
        }
        grown
    }

    /// No more bytes will come to a growing instance.
    pub fn end(&mut self, heap: &mut Heap, place: usize) {
        if let Some(mut instance) = self.instance(heap, place) {
            instance.flags |= ENDED;
            self.touch(instance.direction);
            self.write(heap, place, &instance);
        }
    }

    /// A direction has come this far (never back); `Complete` ends what still grows in it.
    pub fn advance(&mut self, heap: &mut Heap, direction: Direction, progress: Progress) {
        let known = &mut self.progress[direction.index()];
        if progress <= *known {
            return;
        }
        *known = progress;
        self.touch(direction);
        if progress == Progress::Complete {
            for place in 0..self.len() {
                let open = self
                    .instance(heap, place)
                    .is_some_and(|i| i.direction == direction && !i.ended());
                if open {
                    self.end(heap, place);
                }
            }
        }
    }

    /// Gives all memory back.
    pub fn free(&mut self, heap: &mut Heap) {
        for place in 0..self.len() {
            if let Some(instance) = self.instance(heap, place)
                && instance.flags & GROWING != 0
            {
                heap.free(Heap::of_parts(instance.parts));
            }
        }
        heap.clear(&mut self.list);
        heap.clear(&mut self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_kept_and_memory_comes_back() {
        let mut heap = Heap::new(1 << 20);
        let mut tx = Transaction::new(AppProtocol::Http, 0);
        assert!(tx.add(&mut heap, Field::HttpUri, Direction::ToServer, b"/index"));
        assert!(tx.add_number(&mut heap, Field::DnsRcode, Direction::ToClient, 1 << 40));
        let body = tx
            .begin(&mut heap, Field::FileData, Direction::ToClient)
            .unwrap();
        for _ in 0..1000 {
            assert!(tx.grow(&mut heap, body, b"0123456789"));
        }
        let kept: Vec<_> = tx.instances(&heap).collect();
        assert_eq!(kept.len(), 3);
        assert_eq!(
            tx.value(&heap, Field::HttpUri, Direction::ToServer),
            Some(&b"/index"[..])
        );
        assert_eq!(
            tx.number_of(&heap, Field::DnsRcode, Direction::ToClient),
            Some(1 << 40)
        );
        assert_eq!(tx.bytes(&heap, &kept[2]).len(), 10_000);
        assert!(!kept[2].ended());
        tx.advance(&mut heap, Direction::ToClient, Progress::Complete);
        assert!(tx.instance(&heap, body).unwrap().ended());
        assert!(!tx.grow(&mut heap, body, b"x"), "it has ended");
        assert!(!tx.is_complete());
        tx.free(&mut heap);
        assert_eq!(heap.used(), 0);
    }
}
