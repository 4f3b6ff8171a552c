//! The open streams of an HTTP/2 connection: which transaction each is, and how far its bodies have
//! grown. They stand in the heap, newest last, where they are looked for first.

use super::super::field::{Field, Progress};
use super::super::file::FileId;
use super::super::heap::{Heap, TEXT_MAX, Text};
use super::super::http::{Chain, Coding, Tools};
use super::super::output::{Growing, Output, Shared, TxId};
use super::super::reader::Reader;
use super::super::transaction::NONE;
use super::states::{Reached, reach};
use super::{doh, event};
use crate::packet::Direction;

/// Streams that are open at once.
pub const STREAMS_MAX: usize = 512;
/// Bytes of one in the list, and where the counts of its frames stand.
const SIZE: usize = 72;
const FRAMES: usize = 64;
/// Streams that were given up and still wait for what is on its way; the oldest is completed.
const RESETS_MAX: u32 = 32;

/// Bits of [`Stream::flags`], shifted by the direction.
mod state {
    pub const ENDED: u32 = 1;
    /// Both directions have ended.
    pub const BOTH: u32 = 3;
    pub const BODY: u32 = 4;
    /// The body is a DNS message.
    pub const DNS: u32 = 16;
    /// The body could not be decoded.
    pub const FAILED: u32 = 64;
    /// It had a DATA frame.
    pub const DATA: u32 = 256;
    /// A side gave it up (RST_STREAM).
    pub const RESET: u32 = 1024;
}

/// A stream.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    /// Its number.
    pub id: u32,
    /// Its transaction.
    pub tx: TxId,
    flags: u32,
    /// Instances that grow: body and file of the request, then of the response.
    bodies: [Growing; 2],
    /// The same as files.
    files: [FileId; 2],
    /// The same bytes, where they are a DNS message.
    messages: [Growing; 2],
    /// Decoders of the bodies.
    chains: [Chain; 2],
    /// Frames, by direction.
    frames: [u32; 2],
}

impl Stream {
    /// A stream that has begun.
    pub fn new(id: u32, tx: TxId) -> Stream {
        Stream {
            id,
            tx,
            flags: 0,
            bodies: [Growing(NONE); 2],
            files: [FileId::NONE; 2],
            messages: [Growing(NONE); 2],
            chains: [Chain::default(); 2],
            frames: [0; 2],
        }
    }

    /// The same with its first frame.
    pub fn with_frame(mut self, direction: Direction) -> Stream {
        self.frames[direction.index()] = 1;
        self
    }

    fn encode(&self) -> [u8; SIZE] {
        let [a, b] = self.bodies.map(|growing| growing.0);
        let [c, d] = self.files.map(FileId::word);
        let [e, f] = self.messages.map(|growing| growing.0);
        let head = [self.id, self.tx.index, self.tx.serial, self.flags];
        let growing = [a, b, c, d, e, f];
        let [first, second] = self.chains.map(Chain::words);
        let words = head.iter().chain(&growing).chain(&first).chain(&second);
        let words = words.chain(&self.frames);
        let mut out = [0; SIZE];
        for (place, word) in out.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        out
    }

    fn decode(bytes: &[u8]) -> Option<Stream> {
        let mut reader = Reader::new(bytes);
        let mut word = || reader.u32();
        Some(Stream {
            id: word()?,
            tx: TxId {
                index: word()?,
                serial: word()?,
            },
            flags: word()?,
            bodies: [Growing(word()?), Growing(word()?)],
            files: [FileId::of_word(word()?), FileId::of_word(word()?)],
            messages: [Growing(word()?), Growing(word()?)],
            chains: [
                Chain::of_words([word()?, word()?, word()?]),
                Chain::of_words([word()?, word()?, word()?]),
            ],
            frames: [word()?, word()?],
        })
    }
}

/// See the file's head.
#[derive(Debug, Default)]
pub struct Streams {
    list: Text,
    /// Highest number of a client's and of a server's stream.
    highest: [u32; 2],
    /// Streams of the list that were given up.
    resets: u32,
}

impl Streams {
    /// Gives the memory back.
    pub fn free(&mut self, heap: &mut Heap) {
        heap.clear(&mut self.list);
    }

    /// Gives the decoders back, which go with the flow.
    pub fn release(&mut self, shared: &mut Shared) {
        for place in 0..self.list.len() / SIZE {
            if let Some(mut stream) = self.at(place, &shared.heap) {
                for chain in &mut stream.chains {
                    close_chain(chain, shared);
                }
                self.put(place, &stream, &mut shared.heap);
            }
        }
    }

    fn place(&self, id: u32, heap: &Heap) -> Option<usize> {
        let list = heap.get(&self.list);
        let wanted = id.to_be_bytes();
        list.chunks_exact(SIZE)
            .rposition(|stream| stream.starts_with(&wanted))
    }

    fn at(&self, place: usize, heap: &Heap) -> Option<Stream> {
        Stream::decode(heap.get(&self.list).get(place * SIZE..(place + 1) * SIZE)?)
    }

    /// An open stream that has one more frame of a direction, and how many these are.
    pub fn meet(
        &mut self,
        id: u32,
        direction: Direction,
        heap: &mut Heap,
    ) -> Option<(Stream, u32)> {
        let place = self.place(id, heap)?;
        let mut stream = self.at(place, heap)?;
        let way = direction.index();
        let count = stream.frames[way].saturating_add(1);
        stream.frames[way] = count;
        let at = place * SIZE + FRAMES + 4 * way;
        if let Some(word) = heap.get_mut(&mut self.list).get_mut(at..at + 4) {
            word.copy_from_slice(&count.to_be_bytes());
        }
        Some((stream, count))
    }

    /// Whether a stream of this number has been there, or was left out.
    pub fn is_past(&self, id: u32) -> bool {
        id <= self.highest[(id % 2) as usize]
    }

    /// Adds a stream; false if there are too many.
    pub fn add(&mut self, stream: &Stream, most: usize, heap: &mut Heap) -> bool {
        let highest = &mut self.highest[(stream.id % 2) as usize];
        *highest = (*highest).max(stream.id);
        self.list.len() < most.min(STREAMS_MAX) * SIZE
            && heap.append(&mut self.list, &stream.encode())
    }

    fn put(&mut self, place: usize, stream: &Stream, heap: &mut Heap) {
        let list = heap.get_mut(&mut self.list);
        if let Some(bytes) = list.get_mut(place * SIZE..(place + 1) * SIZE) {
            bytes.copy_from_slice(&stream.encode());
        }
    }

    /// Takes a stream out; the last one moves to its place.
    fn remove(&mut self, place: usize, heap: &mut Heap) {
        let last = (self.list.len() / SIZE).saturating_sub(1);
        let reset = self
            .at(place, heap)
            .is_some_and(|s| s.flags & state::RESET != 0);
        self.resets = self.resets.saturating_sub(u32::from(reset));
        if let Some(stream) = self.at(last, heap) {
            self.put(place, &stream, heap);
        }
        heap.truncate(&mut self.list, last * SIZE);
    }

    /// A side of a stream has a DATA frame.
    pub fn meet_data(&mut self, id: u32, direction: Direction, out: &mut Output<'_>) {
        let Some(place) = self
            .place(id, out.heap())
            .filter(|_| out.wants(Field::Hook))
        else {
            return;
        };
        let Some(mut stream) = self.at(place, out.heap()) else {
            return;
        };
        let had = stream.flags;
        tell_data(&mut stream, direction, out);
        if stream.flags != had {
            self.put(place, &stream, out.heap());
        }
    }

    /// Bytes of a body.
    pub fn grow(&mut self, id: u32, direction: Direction, bytes: &[u8], out: &mut Output<'_>) {
        let Some(place) = self.place(id, out.heap()) else {
            return;
        };
        let Some(mut stream) = self.at(place, out.heap()) else {
            return;
        };
        let way = direction.index();
        if stream.flags & state::BODY << way == 0 {
            stream.flags |= state::BODY << way;
            let field = body_field(direction);
            if out.wants(field) {
                stream.bodies[way] = out.begin(stream.tx, field, direction);
            }
            stream.files[way] = out.begin_file(stream.tx, direction);
            self.put(place, &stream, out.heap());
        }
        let chain = stream.chains[way];
        let tools = if chain.is_empty() {
            None
        } else {
            out.shared.http.take()
        };
        let Some(mut tools) = tools else {
            append(&stream, direction, bytes, out);
            return;
        };
        let bomb = tools.codings.decode(&chain, bytes, &mut |decoded| {
            append(&stream, direction, decoded, out)
        });
        if tell_failure(&mut stream, direction, &tools, out) {
            self.put(place, &stream, out.heap());
        }
        if bomb {
            event(stream.tx, direction, event::COMPRESSION_BOMB, out);
            tools.codings.close(&mut stream.chains[way]);
            self.put(place, &stream, out.heap());
        }
        out.shared.http = Some(tools);
    }

    /// The body of a direction is encoded so.
    pub fn decode_as(
        &mut self,
        id: u32,
        direction: Direction,
        encoding: &[u8],
        out: &mut Output<'_>,
    ) {
        // RFC 9110 8.4.1: whatever the case.
        let is = |word: &[u8]| encoding.eq_ignore_ascii_case(word);
        let coding = match () {
            () if is(b"gzip") || is(b"x-gzip") => Coding::Gzip,
            () if is(b"deflate") => Coding::Deflate,
            () if is(b"br") => Coding::Brotli,
            () if is(b"identity") || encoding.is_empty() => return,
            () => {
                out.shared.undecoded += 1;
                return;
            }
        };
        let Some(place) = self.place(id, out.heap()) else {
            return;
        };
        let Some(mut stream) = self.at(place, out.heap()) else {
            return;
        };
        let chain = &mut stream.chains[direction.index()];
        if !chain.is_empty() {
            return;
        }
        let tools = out.shared.http.as_mut();
        match tools.and_then(|tools| tools.codings.open(&[coding])) {
            Some(opened) => *chain = opened,
            None => out.shared.lost += 1,
        }
        self.put(place, &stream, out.heap());
    }

    /// The body of a direction will be a DNS message.
    pub fn expect_dns(&mut self, id: u32, direction: Direction, out: &mut Output<'_>) {
        let Some(place) = self.place(id, out.heap()) else {
            return;
        };
        if let Some(mut stream) = self.at(place, out.heap()) {
            let way = direction.index();
            if stream.flags & state::DNS << way == 0 {
                stream.flags |= state::DNS << way;
                stream.messages[way] = out.begin(stream.tx, Field::DohMessage, direction);
                self.put(place, &stream, out.heap());
            }
        }
    }

    /// One side of a stream has said all.
    pub fn close(&mut self, id: u32, direction: Direction, out: &mut Output<'_>) {
        let Some(place) = self.place(id, out.heap()) else {
            return;
        };
        let Some(mut stream) = self.at(place, out.heap()) else {
            return;
        };
        let chain = stream.chains[direction.index()];
        if !chain.is_empty()
            && let Some(mut tools) = out.shared.http.take()
        {
            let bomb = tools.codings.finish(&chain, &mut |decoded| {
                append(&stream, direction, decoded, out)
            });
            if bomb {
                event(stream.tx, direction, event::COMPRESSION_BOMB, out);
            }
            tell_failure(&mut stream, direction, &tools, out);
            out.shared.http = Some(tools);
        }
        if stream.flags & state::DNS << direction.index() != 0 {
            doh::message(stream.tx, direction, out);
        }
        close_chain(&mut stream.chains[direction.index()], out.shared);
        out.end_file(stream.tx, stream.files[direction.index()]);
        stream.flags |= state::ENDED << direction.index();
        out.progress(stream.tx, direction, Progress::Complete);
        // A side that ended without data has passed that state, too.
        tell_data(&mut stream, direction, out);
        reach(stream.tx, direction, Reached::Closed, out);
        if stream.flags & state::BOTH == state::BOTH {
            for direction in [Direction::ToServer, Direction::ToClient] {
                reach(stream.tx, direction, Reached::Complete, out);
            }
            self.remove(place, out.heap());
        } else {
            self.put(place, &stream, out.heap());
        }
    }

    /// A side gives a stream up. What was on its way still belongs to it (RFC 9113 section 5.1), so it
    /// stays until both sides have ended; of many such streams the oldest goes.
    pub fn reset(&mut self, id: u32, out: &mut Output<'_>) {
        let Some(place) = self.place(id, out.heap()) else {
            return;
        };
        let Some(mut stream) = self.at(place, out.heap()) else {
            return;
        };
        if stream.flags & state::RESET != 0 {
            return;
        }
        stream.flags |= state::RESET;
        self.put(place, &stream, out.heap());
        self.resets += 1;
        if self.resets > RESETS_MAX {
            self.give_up_oldest(out);
        }
    }

    /// Completes the given-up stream with the lowest number.
    fn give_up_oldest(&mut self, out: &mut Output<'_>) {
        let streams = (0..self.list.len() / SIZE).filter_map(|place| {
            let stream = self.at(place, &out.shared.heap)?;
            (stream.flags & state::RESET != 0).then_some((stream.id, place))
        });
        let Some((_, place)) = streams.min() else {
            return;
        };
        if let Some(mut stream) = self.at(place, out.heap()) {
            for chain in &mut stream.chains {
                close_chain(chain, out.shared);
            }
            out.complete(stream.tx);
        }
        self.remove(place, out.heap());
    }

    /// A direction of the connection ends, or all of it.
    pub fn end(&mut self, direction: Direction, both: bool, out: &mut Output<'_>) {
        for place in 0..self.list.len() / SIZE {
            if let Some(stream) = self.at(place, out.heap()) {
                out.progress(stream.tx, direction, Progress::Complete);
                if both {
                    out.complete(stream.tx);
                }
            }
        }
    }
}

/// Tells once that a side had data, or will have none.
fn tell_data(stream: &mut Stream, direction: Direction, out: &mut Output<'_>) {
    let bit = state::DATA << direction.index();
    if stream.flags & bit == 0 {
        stream.flags |= bit;
        reach(stream.tx, direction, Reached::Data, out);
    }
}

/// Tells once that a body is not what its encoding says; whether it was told now.
fn tell_failure(
    stream: &mut Stream,
    direction: Direction,
    tools: &Tools,
    out: &mut Output<'_>,
) -> bool {
    let way = direction.index();
    let told = stream.flags & state::FAILED << way != 0;
    if told || !tools.codings.has_failed(&stream.chains[way]) {
        return false;
    }
    stream.flags |= state::FAILED << way;
    event(stream.tx, direction, event::FAILED_DECOMPRESSION, out);
    true
}

/// Field of a body.
fn body_field(direction: Direction) -> Field {
    match direction {
        Direction::ToServer => Field::HttpRequestBody,
        Direction::ToClient => Field::HttpResponseBody,
    }
}

/// Adds decoded bytes to what grows; false: no more are wanted.
fn append(stream: &Stream, direction: Direction, bytes: &[u8], out: &mut Output<'_>) -> bool {
    let way = direction.index();
    let limit = match direction {
        Direction::ToServer => out.shared.limits.request_body,
        Direction::ToClient => out.shared.limits.response_body,
    };
    // No limit is the heap's.
    let limit = if limit == 0 { TEXT_MAX } else { limit };
    let mut wanted = false;
    if stream.flags & state::DNS << way != 0 {
        let growing = stream.messages[way];
        wanted = out.grown(stream.tx, growing) + bytes.len() <= doh::MESSAGE_MAX;
        if wanted {
            out.grow(stream.tx, growing, bytes);
        } else {
            doh::too_long(stream.tx, direction, out);
        }
    }
    if out.wants(body_field(direction)) {
        let growing = stream.bodies[way];
        let room = limit.saturating_sub(out.grown(stream.tx, growing));
        let part = bytes.get(..room).unwrap_or(bytes);
        if !part.is_empty() {
            wanted |= out.grow(stream.tx, growing, part);
        }
    }
    wanted | out.file_bytes(stream.tx, stream.files[way], limit, bytes)
}

fn close_chain(chain: &mut Chain, shared: &mut Shared) {
    if !chain.is_empty()
        && let Some(tools) = shared.http.as_mut()
    {
        tools.codings.close(chain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_by_direction() {
        let mut heap = Heap::new(1 << 20);
        let mut streams = Streams::default();
        let stream = Stream::new(3, TxId::NONE).with_frame(Direction::ToServer);
        assert!(streams.add(&stream, STREAMS_MAX, &mut heap));
        let mut met = |direction| {
            streams
                .meet(3, direction, &mut heap)
                .map(|(_, count)| count)
        };
        assert_eq!(met(Direction::ToServer), Some(2));
        assert_eq!(met(Direction::ToClient), Some(1));
        assert_eq!(met(Direction::ToServer), Some(3));
        assert!(streams.meet(5, Direction::ToServer, &mut heap).is_none());
        streams.free(&mut heap);
    }
}
