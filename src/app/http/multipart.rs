//! Forms with files in them (`multipart/form-data`, RFC 7578 on RFC 2046 section 5.1): the files of
//! a request's body, one after the other, as the body comes in. Parts without a file name are passed
//! over. Nothing is held but a line that is not complete and what may be the start of a boundary.

use super::super::field::Field;
use super::super::file::FileId;
use super::super::heap::{Heap, Text};
use super::super::output::{Output, TxId};
use super::event::Event;
use super::line::trim;
use crate::packet::Direction;

/// Bytes of a boundary at most; others are no multipart.
const BOUNDARY_MAX: usize = 255;
/// Bytes of a part's header line at most; a longer one is passed over, and so is its part.
const LINE_MAX: usize = 4096;
/// Bytes that are looked at at a time.
const PIECE: usize = 32 << 10;
/// Pieces that a file name may be cut into (RFC 2231 section 3).
const SECTIONS_MAX: usize = 16;

/// Bytes that `Parts::push` needs in its room.
pub(super) const ROOM: usize = PIECE + LINE_MAX + 2 * BOUNDARY_MAX;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    /// Before a boundary.
    #[default]
    Start,
    /// In a line that is passed over; after it comes a part's header, or `Start`.
    Skip {
        header: bool,
    },
    Header,
    /// At the first byte of a part's content.
    First,
    Content,
}

/// The parts of one body.
#[derive(Debug, Default)]
pub(super) struct Parts {
    boundary: Text,
    pending: Text,
    state: State,
    file: Option<FileId>,
    named: bool,
    size: u64,
}

/// What a step over some bytes came to.
enum Step {
    /// So many bytes are done with.
    Taken(usize),
    /// The rest must wait for more.
    Wait(usize),
}

impl Parts {
    /// Begins with the boundary of a Content-Type value. False: it has none.
    pub(super) fn begin(
        &mut self,
        heap: &mut Heap,
        content_type: &[u8],
        room: &mut Vec<u8>,
    ) -> bool {
        room.clear();
        room.extend_from_slice(b"--");
        if !find_token(content_type, b"boundary", room) || room.len() > BOUNDARY_MAX + 2 {
            return false;
        }
        heap.clear(&mut self.boundary);
        heap.append(&mut self.boundary, room)
    }

    /// Takes the next bytes of the body; `room` holds [`ROOM`] bytes.
    pub(super) fn push(
        &mut self,
        out: &mut Output<'_>,
        tx: TxId,
        bytes: &[u8],
        room: &mut Vec<u8>,
    ) {
        for piece in bytes.chunks(PIECE) {
            if self.pending.is_empty() {
                self.look_at(out, tx, piece);
                continue;
            }
            room.clear();
            room.extend_from_slice(out.shared.heap.get(&self.pending));
            room.extend_from_slice(piece);
            out.shared.heap.clear(&mut self.pending);
            self.look_at(out, tx, room);
        }
    }

    fn look_at(&mut self, out: &mut Output<'_>, tx: TxId, data: &[u8]) {
        let mut at = 0;
        while let Some(rest) = data.get(at..)
            && !rest.is_empty()
        {
            match self.step(out, tx, rest) {
                Step::Taken(count) => at += count,
                Step::Wait(count) => {
                    let kept = data.get(at + count..).unwrap_or(&[]);
                    // What finds no room is left out.
                    let _ = out.shared.heap.append(&mut self.pending, kept);
                    return;
                }
            }
        }
    }

    fn step(&mut self, out: &mut Output<'_>, tx: TxId, rest: &[u8]) -> Step {
        let line = memchr::memchr(b'\n', rest).map(|end| end + 1);
        match self.state {
            State::Skip { header } => {
                if line.is_some() {
                    self.state = if header { State::Header } else { State::Start };
                }
                Step::Taken(line.unwrap_or(rest.len()))
            }
            State::Start => {
                let boundary = out.shared.heap.get(&self.boundary);
                let header = rest.starts_with(boundary);
                match line {
                    None if rest.len() < boundary.len() + 128 => return Step::Wait(0),
                    _ => self.state = State::Skip { header },
                }
                Step::Taken(0)
            }
            State::Header => self.header_line(out, tx, rest, line),
            State::First | State::Content => self.content(out, tx, rest),
        }
    }

    fn header_line(
        &mut self,
        out: &mut Output<'_>,
        tx: TxId,
        rest: &[u8],
        line: Option<usize>,
    ) -> Step {
        let Some(end) = line else {
            if rest.len() < LINE_MAX {
                return Step::Wait(0);
            }
            self.state = State::Skip { header: true };
            return Step::Taken(0);
        };
        let text = trim(rest.get(..end).unwrap_or(&[]));
        if text.is_empty() {
            self.state = State::First;
            return Step::Taken(end);
        }
        let colon = memchr::memchr(b':', text).unwrap_or(text.len());
        let (name, value) = text.split_at(colon);
        if value.len() < 2 {
            out.event(tx, Direction::ToServer, Event::MultipartInvalidHeader.app());
        }
        if name.eq_ignore_ascii_case(b"content-disposition") {
            self.disposition(out, tx, value);
        }
        Step::Taken(end)
    }

    fn disposition(&mut self, out: &mut Output<'_>, tx: TxId, value: &[u8]) {
        let mut name = std::mem::take(&mut out.shared.scratch);
        name.clear();
        if find_token(value, b"filename", &mut name) && !name.is_empty() {
            self.close(out, tx);
            self.named = true;
            out.field(tx, Field::FileName, Direction::ToServer, &name);
            self.file = Some(out.begin_file(tx, Direction::ToServer));
        }
        out.shared.scratch = name;
    }

    fn content(&mut self, out: &mut Output<'_>, tx: TxId, rest: &[u8]) -> Step {
        let boundary = out.shared.heap.get(&self.boundary);
        let first = self.state == State::First;
        if first && rest.len() < boundary.len() && boundary.starts_with(rest) {
            return Step::Wait(0);
        }
        let mut from = 0;
        // Each round goes on behind the place that was found.
        while let Some(at) = memchr::memmem::find(rest.get(from..).unwrap_or(&[]), boundary) {
            let at = from + at;
            let before = rest.get(..at).unwrap_or(&[]);
            if before.last() == Some(&b'\n') || (first && at == 0) {
                let before = before.strip_suffix(b"\n").unwrap_or(before);
                let before = before.strip_suffix(b"\r").unwrap_or(before);
                if first && at == 0 && self.named {
                    out.event(tx, Direction::ToServer, Event::MultipartNoFiledata.app());
                }
                self.grow(out, tx, before);
                self.close(out, tx);
                self.state = State::Start;
                return Step::Taken(at);
            }
            from = at + 1;
        }
        // The end may be the start of CRLF and boundary.
        let tail = rest.len().saturating_sub(boundary.len() + 2);
        let hold = memchr::memchr2(b'\r', b'\n', rest.get(tail..).unwrap_or(&[]));
        let keep = hold.map_or(rest.len(), |at| tail + at);
        self.state = State::Content;
        self.grow(out, tx, rest.get(..keep).unwrap_or(&[]));
        if keep == rest.len() {
            Step::Taken(keep)
        } else {
            Step::Wait(keep)
        }
    }

    fn grow(&mut self, out: &mut Output<'_>, tx: TxId, bytes: &[u8]) {
        if let Some(file) = self.file
            && !bytes.is_empty()
        {
            self.size += bytes.len() as u64;
            out.file_bytes(tx, file, usize::MAX, bytes);
        }
    }

    /// The file at hand ends.
    fn close(&mut self, out: &mut Output<'_>, tx: TxId) {
        if let Some(file) = self.file.take() {
            out.end_file(tx, file);
            out.number(tx, Field::Filesize, Direction::ToServer, self.size);
        }
        (self.named, self.size) = (false, 0);
    }

    /// The body goes on beyond what is looked at.
    pub(super) fn cut(&mut self, out: &mut Output<'_>) {
        if let Some(file) = self.file {
            out.file_cut(file);
        }
    }

    /// The body ends.
    pub(super) fn end(&mut self, out: &mut Output<'_>, tx: TxId, room: &mut Vec<u8>) {
        if !self.pending.is_empty() {
            room.clear();
            room.extend_from_slice(out.shared.heap.get(&self.pending));
            if matches!(self.state, State::First | State::Content) {
                self.grow(out, tx, room);
            }
        }
        self.close(out, tx);
        self.free(&mut out.shared.heap);
    }

    /// Gives everything back.
    pub(super) fn free(&mut self, heap: &mut Heap) {
        heap.clear(&mut self.boundary);
        heap.clear(&mut self.pending);
        *self = Parts::default();
    }
}

/// Appends the value of `; NAME=VALUE` of a header's value, without quotes and escapes. A value in
/// pieces (`NAME*0=`, `NAME*1=`) is put together.
pub(super) fn find_token(header: &[u8], name: &[u8], out: &mut Vec<u8>) -> bool {
    if push_token(header, name, None, out) {
        return true;
    }
    let mut found = 0;
    while found < SECTIONS_MAX && push_token(header, name, Some(found), out) {
        found += 1;
    }
    found > 0
}

fn push_token(header: &[u8], name: &[u8], section: Option<usize>, out: &mut Vec<u8>) -> bool {
    let Some(first) = memchr::memchr(b';', header) else {
        return false;
    };
    let mut rest = header.get(first + 1..).unwrap_or(&[]);
    // Every round takes a token.
    while let Some(equals) = memchr::memchr(b'=', rest) {
        let (key, value) = rest.split_at(equals);
        let value = value.get(1..).unwrap_or(&[]);
        let (value, after) = token_value(value);
        if is_key(trim(key), name, section) {
            out.extend(value.iter().filter(|b| **b != b'\\'));
            return true;
        }
        let (_, next) = super::line::take(after, super::line::is_space);
        rest = next.strip_prefix(b";").unwrap_or(next);
    }
    false
}

fn is_key(key: &[u8], name: &[u8], section: Option<usize>) -> bool {
    let Some((start, rest)) = key.split_at_checked(name.len()) else {
        return false;
    };
    let number = || {
        std::str::from_utf8(rest.strip_prefix(b"*")?)
            .ok()?
            .parse()
            .ok()
    };
    start == name
        && match section {
            None => rest.is_empty(),
            Some(section) => number() == Some(section),
        }
}

/// The value at the start, and what follows it.
fn token_value(bytes: &[u8]) -> (&[u8], &[u8]) {
    if let Some(quoted) = bytes.strip_prefix(b"\"") {
        let mut escaped = false;
        for (at, byte) in quoted.iter().enumerate() {
            match byte {
                b'\\' => escaped = true,
                b'"' if !escaped => {
                    let (value, after) = quoted.split_at(at);
                    return (value, after.get(1..).unwrap_or(&[]));
                }
                _ => escaped = false,
            }
        }
    }
    let end = memchr::memchr(b';', bytes).unwrap_or(bytes.len());
    let (value, after) = bytes.split_at(end);
    let mut value = value;
    while let [shorter @ .., b' ' | b'\t' | b'\r' | b'\n'] = value {
        value = shorter;
    }
    (value, after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, name: &str) -> Option<String> {
        let mut out = Vec::new();
        let found = find_token(header.as_bytes(), name.as_bytes(), &mut out);
        found.then(|| String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn tokens_of_headers() {
        for (header, expected) in [
            ("attachment; filename=test;", Some("test")),
            ("attachment; filename=\"a;\\\"b\"; x=y", Some("a;\"b")),
            (
                "attachment; dummy=\"filename=wrong\"; filename=real;",
                Some("real"),
            ),
            (
                "attachment; notafilename=wrong; filename=good",
                Some("good"),
            ),
            ("attachment; filename=two words ", Some("two words")),
            (
                "form-data; filename*1=\"456\"; filename*0=123",
                Some("123456"),
            ),
            ("attachment", None),
        ] {
            assert_eq!(token(header, "filename").as_deref(), expected, "{header}");
        }
        assert_eq!(
            token("multipart/form-data; boundary=xyz", "boundary").as_deref(),
            Some("xyz")
        );
    }
}
