//! HPACK (RFC 7541): header blocks to names and values. The table of a side lives in the heap and
//! is bounded; so is the list that a block gives, whatever the block refers to.

use super::super::heap::{Heap, TEXT_MAX, Text};
use super::super::output::SCRATCH_SIZE;
use super::super::reader::{Reader, push};
use super::huffman;

/// Largest table, counted as RFC 7541 4.1 does.
pub const TABLE_MAX: u32 = 65_536;
/// Table of a connection that says nothing.
const TABLE_DEFAULT: u32 = 4096;
/// What an entry costs besides its bytes.
const OVERHEAD: u32 = 32;
/// Bytes of a list that are kept; further headers are read for the table's sake alone.
pub const LIST_MAX: usize = SCRATCH_SIZE / 2;
/// Bytes before a name in tables and lists: two lengths.
const HEAD: usize = 8;
/// A table takes its dead front out when it is longer than this and its living part.
const SLACK: u32 = 4096;
const _: () = assert!(2 * TABLE_MAX as usize + SLACK as usize + SCRATCH_SIZE < 2 * TEXT_MAX);

/// Bit of [`decode`]'s answer: a reference to nothing, or a string that is none.
pub const INVALID: u8 = 1;
/// Bit: a number of more than 64 bits.
pub const OVERFLOW: u8 = 2;
/// Bit: the block ends within a header.
pub const CUT: u8 = 4;
/// Bit: not all headers are in the list.
pub const FULL: u8 = 8;

/// RFC 7541 appendix A, from index 1.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// The dynamic table of one side. Entries stand in `bytes`, oldest first, each with its lengths
/// before it; `places` says where, so that a reference costs the same however large the table is.
#[derive(Debug)]
pub struct Table {
    bytes: Text,
    places: Text,
    /// Position of the first byte of `bytes` in all that was ever put in.
    origin: u32,
    /// Entries at the start of `places` that are gone.
    gone: u32,
    size: u32,
    max: u32,
}

impl Default for Table {
    fn default() -> Self {
        Table {
            bytes: Text::default(),
            places: Text::default(),
            origin: 0,
            gone: 0,
            size: 0,
            max: TABLE_DEFAULT,
        }
    }
}

impl Table {
    /// Gives its memory back.
    pub fn free(&mut self, heap: &mut Heap) {
        heap.clear(&mut self.bytes);
        heap.clear(&mut self.places);
        *self = Table::default();
    }

    fn place(&self, heap: &Heap, entry: usize) -> Option<usize> {
        let bytes = heap.get(&self.places).get(entry * 4..entry * 4 + 4)?;
        let place = u32::from_le_bytes(bytes.try_into().ok()?);
        Some(place.wrapping_sub(self.origin) as usize)
    }

    /// Name and value of the entry that was put in so many entries ago.
    fn get<'a>(&self, heap: &'a Heap, age: usize) -> Option<(&'a [u8], &'a [u8])> {
        let entry = (self.places.len() / 4).checked_sub(age + 1)?;
        if entry < self.gone as usize {
            return None;
        }
        let at = self.place(heap, entry)?;
        entry_at(heap.get(&self.bytes), at).map(|(name, value, _)| (name, value))
    }

    fn evict(&mut self, heap: &mut Heap, max: u32) {
        // As many turns as entries are gone then.
        while self.size > max {
            let at = self.place(heap, self.gone as usize);
            let Some((name, value, _)) = at.and_then(|at| entry_at(heap.get(&self.bytes), at))
            else {
                self.free(heap);
                return;
            };
            let cost = OVERHEAD + (name.len() + value.len()) as u32;
            self.size = self.size.saturating_sub(cost);
            self.gone += 1;
        }
        let dead = match self.place(heap, self.gone as usize) {
            Some(at) => at,
            None => self.bytes.len(),
        };
        if dead > SLACK as usize && dead > self.bytes.len() / 2 {
            heap.consume(&mut self.bytes, dead);
            heap.consume(&mut self.places, self.gone as usize * 4);
            self.origin = self.origin.wrapping_add(dead as u32);
            self.gone = 0;
        }
    }

    fn set_max(&mut self, heap: &mut Heap, max: u64) {
        self.max = u32::try_from(max).unwrap_or(u32::MAX).min(TABLE_MAX);
        self.evict(heap, self.max);
    }

    /// Puts an entry in, whose lengths, name and value are `entry` (RFC 7541 4.4).
    fn insert(&mut self, heap: &mut Heap, entry: &[u8]) {
        let cost = OVERHEAD + entry.len().saturating_sub(HEAD) as u32;
        if cost > self.max {
            self.evict(heap, 0);
            return;
        }
        self.evict(heap, self.max - cost);
        let place = self.origin.wrapping_add(self.bytes.len() as u32);
        if heap.append(&mut self.bytes, entry)
            && heap.append(&mut self.places, &place.to_le_bytes())
        {
            self.size += cost;
        } else {
            // Without room the references of this side mean nothing any more.
            self.free(heap);
        }
    }
}

/// Name, value and whole length of the entry at a place.
fn entry_at(bytes: &[u8], at: usize) -> Option<(&[u8], &[u8], usize)> {
    let mut reader = Reader::new(bytes.get(at..)?);
    let (name, value) = (reader.u32()? as usize, reader.u32()? as usize);
    Some((reader.take(name)?, reader.take(value)?, HEAD + name + value))
}

/// The headers of a list.
pub fn headers(list: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (name, value, length) = entry_at(list, at)?;
        at += length;
        Some((name, value))
    })
}

/// Reads a block into `list`, which is emptied before; what was wrong, as bits. Sizes that the
/// block sets for the table are given to `on_size`.
pub fn decode(
    table: &mut Table,
    heap: &mut Heap,
    block: &[u8],
    list: &mut Vec<u8>,
    mut on_size: impl FnMut(u64),
) -> u8 {
    list.clear();
    let mut faults = 0;
    let mut reader = Reader::new(block);
    // Every turn takes a byte at least.
    while let Some(first) = reader.u8() {
        let start = list.len();
        if first & 0xe0 == 0x20 {
            match number(&mut reader, first, 0x1f) {
                Ok(size) => {
                    on_size(size);
                    table.set_max(heap, size);
                }
                Err(fault) => return faults | fault,
            }
            continue;
        }
        let (mask, keep) = match first {
            0x80.. => (0x7f, false),
            0x40.. => (0x3f, true),
            _ => (0x0f, false),
        };
        let index = match number(&mut reader, first, mask) {
            Ok(index) => index,
            Err(fault) => return faults | fault,
        };
        let whole = first & 0x80 != 0;
        match header(table, heap, &mut reader, index, whole, list) {
            Some(true) => {}
            Some(false) => {
                list.truncate(start);
                faults |= INVALID;
                continue;
            }
            // Where the next header begins is not known.
            None => {
                list.truncate(start);
                return faults | CUT;
            }
        }
        if keep {
            table.insert(heap, list.get(start..).unwrap_or(&[]));
        }
        if list.len() > LIST_MAX {
            list.truncate(start);
            faults |= FULL;
        }
    }
    faults
}

/// Appends one header to the list; false when it is none (its bytes are taken all the same), `None`
/// when its bytes are not all there.
fn header(
    table: &Table,
    heap: &Heap,
    reader: &mut Reader<'_>,
    index: u64,
    whole: bool,
    list: &mut Vec<u8>,
) -> Option<bool> {
    let start = list.len();
    let mut good = push(list, &[0; HEAD], SCRATCH_SIZE);
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    let known = match index.checked_sub(1) {
        None if whole => return Some(false),
        None => None,
        Some(place) => {
            let of_static = STATIC.get(place);
            let known = match of_static {
                Some((name, value)) => Some((name.as_bytes(), value.as_bytes())),
                None => table.get(heap, place - STATIC.len()),
            };
            good &= known.is_some();
            known
        }
    };
    match known {
        Some((name, _)) => good &= push(list, name, SCRATCH_SIZE),
        None if index == 0 => good &= string(reader, list)?,
        None => {}
    }
    let middle = list.len();
    match known {
        Some((_, value)) if whole => good &= push(list, value, SCRATCH_SIZE),
        _ if whole => {}
        _ => good &= string(reader, list)?,
    }
    let lengths = [
        middle - start - HEAD.min(middle - start),
        list.len() - middle,
    ];
    for (place, length) in lengths.iter().enumerate() {
        let at = start + place * 4;
        if let Some(bytes) = list.get_mut(at..at + 4) {
            bytes.copy_from_slice(&(*length as u32).to_be_bytes());
        }
    }
    Some(good)
}

/// Appends a string (RFC 7541 5.2): None if its bytes are not all there, which takes the rest.
fn string(reader: &mut Reader<'_>, list: &mut Vec<u8>) -> Option<bool> {
    let first = reader.u8()?;
    let length = number(reader, first, 0x7f).ok();
    let bytes = length
        .and_then(|length| usize::try_from(length).ok())
        .and_then(|length| reader.take(length));
    let Some(bytes) = bytes else {
        reader.take(reader.len());
        return None;
    };
    Some(if first & 0x80 != 0 {
        huffman::decode(bytes, list, SCRATCH_SIZE)
    } else {
        push(list, bytes, SCRATCH_SIZE)
    })
}

/// A number with a prefix (RFC 7541 5.1).
fn number(reader: &mut Reader<'_>, first: u8, mask: u8) -> Result<u64, u8> {
    let mut sum = u64::from(first & mask);
    if first & mask != mask {
        return Ok(sum);
    }
    for shift in (0..=63).step_by(7) {
        let byte = reader.u8().ok_or(CUT)?;
        let part = u64::from(byte & 0x7f);
        if part != 0 && part.leading_zeros() < shift {
            return Err(OVERFLOW);
        }
        sum = sum.checked_add(part << shift).ok_or(OVERFLOW)?;
        if byte & 0x80 == 0 {
            return Ok(sum);
        }
    }
    Err(OVERFLOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(table: &mut Table, heap: &mut Heap, block: &[u8]) -> (u8, Vec<(String, String)>) {
        let mut list = Vec::with_capacity(SCRATCH_SIZE);
        let faults = decode(table, heap, block, &mut list, |_| {});
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let found = headers(&list).map(|(name, value)| (text(name), text(value)));
        (faults, found.collect())
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    /// RFC 7541 C.4: three requests of one connection.
    #[test]
    fn the_requests_of_the_standard() {
        let mut heap = Heap::new(1 << 20);
        let mut table = Table::default();
        let first = b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
        let (faults, found) = read(&mut table, &mut heap, first);
        assert_eq!(faults, 0);
        let mut expected = vec![
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "www.example.com"),
        ];
        assert_eq!(found, pairs(&expected));
        assert_eq!(table.size, 57);
        let second = b"\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf";
        expected.push(("cache-control", "no-cache"));
        assert_eq!(read(&mut table, &mut heap, second), (0, pairs(&expected)));
        let third = b"\x82\x87\x85\xbf\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf";
        let (_, found) = read(&mut table, &mut heap, third);
        assert_eq!(found[3], pairs(&[(":authority", "www.example.com")])[0]);
        assert_eq!(found[4], pairs(&[("custom-key", "custom-value")])[0]);
        assert_eq!(table.size, 164);
        table.free(&mut heap);
        assert_eq!(heap.used(), 0);
    }

    #[test]
    fn old_entries_go_and_references_stay_right() {
        let mut heap = Heap::new(4 << 20);
        let mut table = Table::default();
        for round in 0..5000u32 {
            let value = format!("{round:08}");
            let block = [b"\x40\x01n\x08", value.as_bytes(), b"\xbe\xc0"].concat();
            let (faults, found) = read(&mut table, &mut heap, &block);
            assert_eq!(found[1].1, value);
            if round >= 2 {
                assert_eq!(faults, 0);
                assert_eq!(found[2].1, format!("{:08}", round - 2));
            }
        }
        assert!(table.size <= 4096 && table.bytes.len() < 3 * 4096);
        let (_, found) = read(&mut table, &mut heap, b"\x20\xbe");
        assert!(found.is_empty(), "a table of size 0 holds nothing");
        table.free(&mut heap);
        assert_eq!(heap.used(), 0);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let mut heap = Heap::new(1 << 20);
        let mut table = Table::default();
        for (block, fault) in [
            (&b"\x80"[..], INVALID),
            (b"\xff\x7f", INVALID),
            (b"\x40\x05ab", CUT),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", OVERFLOW),
            (b"\x40\x01a\x81\x00", INVALID),
        ] {
            assert_eq!(read(&mut table, &mut heap, block).0, fault, "{block:02x?}");
        }
    }

    #[test]
    fn a_block_of_references_is_bounded() {
        let mut heap = Heap::new(1 << 20);
        let mut table = Table::default();
        let mut block = b"\x40\x01a\x7f\xa1\x1e".to_vec();
        block.extend_from_slice(&[b'v'; 4000]);
        block.extend_from_slice(&vec![0xbe; 60_000]);
        let (faults, found) = read(&mut table, &mut heap, &block);
        assert_eq!(faults, FULL);
        assert!(found.len() < 20);
    }
}
