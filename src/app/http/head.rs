//! The header lines of a message (RFC 9112 section 5), as servers and browsers read them rather than
//! as the RFC has them: folded lines, bare LF and CR, lines without a colon, names with spaces. The
//! result is a table of spans; which of them matter to whom is fields.rs's.
//!
//! ```text
//!  "Name : value CRLF SP more CRLF Next: ..."  ─►  [name span, value span or joined text] ...
//! ```

use super::event::Event;
use super::line::{content_length, is_space, is_token, run, trim};
use crate::packet::Direction;

/// Headers of a message at most, as Suricata's `headers-limit`.
pub(super) const HEADERS_MAX: usize = 1025;
/// Lines that are folded into one header at most.
const FOLDS_MAX: usize = 128;
/// Repetitions, of all headers together, that are joined.
const REPETITIONS_MAX: u32 = 64;
/// Bytes of joined values of a message at most; beyond, lines and repetitions are left out.
const JOINED_MAX: usize = 128 << 10;

/// Where bytes stand: in the head, or in the joined text.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    at: u32,
    length: u32,
}

/// A header.
#[derive(Clone, Copy, Debug, Default)]
struct Header {
    name: Span,
    value: Span,
    joined: bool,
    repeated: bool,
    hash: u32,
}

/// The headers of one message, in memory that is used again for the next.
#[derive(Debug)]
pub(super) struct Head {
    headers: Vec<Header>,
    joined: Vec<u8>,
    seen: [u64; 4],
    repetitions: u32,
    /// Events, by number; each is raised once.
    events: u128,
    /// Where the header begins that was not complete.
    resume: usize,
}

/// How far a table could be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// The headers end before this byte.
    End(usize),
    /// They do not end within these bytes.
    More,
    /// There are more than [`HEADERS_MAX`].
    TooMany,
}

/// How a piece of a value ends.
#[derive(Clone, Copy)]
enum Stop {
    /// The header ends; the next begins at this byte.
    End(usize),
    /// It goes on at this byte, with this white space between.
    Fold(usize, u8),
}

/// One header as it was found: name, whether it has a colon, where the next begins.
struct Found {
    name: Span,
    colon: bool,
    next: usize,
    flags: u8,
}

const DEFORMED: u8 = 1;
const LEADING: u8 = 2;
const TRAILING: u8 = 4;
const NO_TOKEN: u8 = 8;

/// Reads the headers of one message.
struct Reader<'a> {
    bytes: &'a [u8],
    response: bool,
    complete: bool,
}

impl Reader<'_> {
    fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    fn starts(&self, at: usize, what: &[u8]) -> bool {
        self.bytes
            .get(at..)
            .is_some_and(|rest| rest.starts_with(what))
    }

    /// Bytes of an ordinary end of line at `at`, or 0.
    fn line_end(&self, at: usize) -> usize {
        match (self.byte(at), self.byte(at + 1)) {
            (Some(b'\r'), Some(b'\n')) => 2,
            (Some(b'\n'), Some(b'\r')) if self.response => 2,
            (Some(b'\n'), _) => 1,
            (Some(b'\r'), _) if self.response => 1,
            _ => 0,
        }
    }

    /// Bytes of an odd end of line at `at` that is not taken for an empty line.
    fn deformed_end(&self, at: usize) -> Option<usize> {
        let empty_line = |at| self.starts(at, b"\n") || self.starts(at, b"\r\n");
        if self.starts(at, b"\n\r\r\n") && empty_line(at + 4) {
            return Some(4);
        }
        if !self.response {
            return (self.starts(at, b"\n\r") && self.starts(at + 2, b"\r\n")).then_some(2);
        }
        let rest = self.bytes.get(at..)?.strip_prefix(b"\r\n\r")?;
        let blank = run(rest, |b| matches!(b, b'\r' | b' ' | b'\t'));
        if blank == 0 {
            return None;
        }
        let mut end = 3 + blank;
        end += usize::from(self.byte(at + end) == Some(b'\n'));
        (!empty_line(at + end)).then_some(end)
    }

    /// Where a name ends: at its colon, or where its line does.
    fn name_end(&self, from: usize) -> usize {
        let mut ended = 0;
        for (at, byte) in self.bytes.iter().copied().enumerate().skip(from) {
            match (ended, byte) {
                (0, b':') => return at,
                (0, b'\n') => ended = byte,
                (0, b'\r') if self.response => ended = byte,
                (0, _) => {}
                (_, b' ') => ended = 0,
                (b'\r', b'\n') => ended = byte,
                _ => return at - 1,
            }
        }
        from
    }

    /// The piece of a value from `at` on: where its bytes end and what follows. None: too early.
    fn piece(&self, at: usize, flags: &mut u8) -> Option<(usize, Stop)> {
        let rest = self.bytes.get(at..)?;
        let mut end = at
            + if self.response {
                memchr::memchr2(b'\n', b'\r', rest)?
            } else {
                memchr::memchr(b'\n', rest)?
            };
        if !self.response && end > at && self.byte(end - 1) == Some(b'\r') {
            end -= 1;
        }
        let regular = end + self.line_end(end);
        let deformed = self.deformed_end(end).map(|length| end + length);
        let fold_at = if self.response {
            regular
        } else {
            deformed.unwrap_or(regular)
        };
        match self.byte(fold_at) {
            Some(byte @ (b' ' | b'\t' | 0)) => return Some((end, Stop::Fold(fold_at + 1, byte))),
            None if !self.complete => return None,
            _ => {}
        }
        let Some(next) = deformed else {
            return Some((end, Stop::End(regular)));
        };
        *flags |= DEFORMED;
        if self.byte(next).is_none() && !self.complete {
            return None;
        }
        Some((end, Stop::End(next)))
    }

    /// Whether `NAME:` stands at `at`: a folded line of a response that looks like that is a header.
    fn looks_like_header(&self, at: usize) -> Option<bool> {
        let rest = self.bytes.get(at..)?;
        let blank = |b: u8| matches!(b, b' ' | b'\t');
        let before = run(rest, blank);
        let name = run(rest.get(before..)?, is_token);
        let after = run(rest.get(before + name..)?, blank);
        match rest.get(before + name + after) {
            None if !self.complete => None,
            byte => Some(name > 0 && byte == Some(&b':')),
        }
    }
}

impl Head {
    /// An empty table with room for the largest head.
    pub(super) fn new() -> Head {
        Head {
            headers: Vec::with_capacity(HEADERS_MAX),
            joined: Vec::with_capacity(JOINED_MAX),
            seen: [0; 4],
            repetitions: 0,
            events: 0,
            resume: 0,
        }
    }

    /// Forgets the message before.
    pub(super) fn clear(&mut self) {
        self.headers.clear();
        self.joined.clear();
        self.seen = [0; 4];
        self.repetitions = 0;
        self.events = 0;
    }

    /// Makes the table of the headers that begin at the start of `bytes`. `complete`: no more
    /// bytes will come.
    pub(super) fn read(&mut self, bytes: &[u8], direction: Direction, complete: bool) -> Outcome {
        self.clear();
        self.go(bytes, direction, complete, true)
    }

    /// Looks for the end alone. `bytes` begin with a header, not necessarily the first.
    pub(super) fn skim(&mut self, bytes: &[u8], direction: Direction) -> Outcome {
        self.clear();
        self.go(bytes, direction, false, false)
    }

    /// Where the header begins that was not complete in the last `read` or `skim`.
    pub(super) fn resume(&self) -> usize {
        self.resume
    }

    fn go(&mut self, bytes: &[u8], direction: Direction, complete: bool, table: bool) -> Outcome {
        let response = direction == Direction::ToClient;
        let reader = Reader {
            bytes,
            response,
            complete,
        };
        let mut at = 0;
        // Every round takes at least a byte, or ends.
        loop {
            self.resume = at;
            let end = reader.line_end(at);
            if at == 0 && end == 1 && reader.starts(0, b"\r") && bytes.len() > 1 {
                // The rest of a start line that ended with LF CR.
                at = 1;
                continue;
            }
            if end > 0 {
                // A CR that may still become CRLF waits for the next byte.
                let may_grow = reader.starts(at, b"\r") && reader.byte(at + 1).is_none();
                if may_grow && !complete {
                    return Outcome::More;
                }
                return Outcome::End(at + end);
            }
            if !response && reader.starts(at, b"\r") && reader.byte(at + 1).is_none() && !complete {
                return Outcome::More;
            }
            let Some((found, value)) = self.header(&reader, at) else {
                return if complete {
                    Outcome::End(bytes.len())
                } else {
                    Outcome::More
                };
            };
            if !table {
                self.joined.clear();
            } else {
                self.note_flags(&found, response);
                if !self.add(bytes, &found, value, response) {
                    return Outcome::TooMany;
                }
            }
            if found.next <= at {
                return Outcome::End(bytes.len());
            }
            at = found.next;
        }
    }

    /// The header at `at`, with its value. None: it does not end within the bytes.
    fn header(&mut self, reader: &Reader<'_>, at: usize) -> Option<(Found, (Span, bool))> {
        let end = reader.name_end(at);
        let colon = reader.byte(end) == Some(b':');
        let mut found = Found {
            name: Span::default(),
            colon,
            next: 0,
            flags: 0,
        };
        let mut from = at;
        if colon {
            let name = reader.bytes.get(at..end).unwrap_or(&[]);
            found.name = span_in(reader.bytes, trim(name));
            found.flags |= flags_of(name);
            let rest = reader.bytes.get(end + 1..)?;
            from = end + 1 + run(rest, |b| matches!(b, b' ' | b'\t'));
        }
        let value = self.value(reader, from, &mut found)?;
        Some((found, value))
    }

    /// The value from `from` on, and sets where the next header begins.
    fn value(
        &mut self,
        reader: &Reader<'_>,
        from: usize,
        found: &mut Found,
    ) -> Option<(Span, bool)> {
        let (end, stop) = reader.piece(from, &mut found.flags)?;
        let plain = span_in(reader.bytes, trim(reader.bytes.get(from..end)?));
        let (mut at, mut white) = match stop {
            Stop::End(next) => {
                found.next = next;
                return Some((plain, false));
            }
            Stop::Fold(next, white) => (next, white),
        };
        let start = self.joined.len();
        self.join(reader.bytes.get(from..end)?);
        found.next = at;
        for fold in 1..=FOLDS_MAX {
            if reader.response && reader.looks_like_header(at)? {
                found.next = at;
                break;
            }
            let (end, stop) = reader.piece(at, &mut found.flags)?;
            let (next, more) = match stop {
                Stop::End(next) => (next, None),
                Stop::Fold(next, white) => (next, Some((next, white))),
            };
            if self.joined.len() > start {
                self.join(&[white]);
            }
            // Length of the line's end, without the white space that continues it.
            let line_end = next - end - usize::from(more.is_some());
            if end > at || line_end > 1 {
                self.join(reader.bytes.get(at..end)?);
                found.next = next;
            } else if reader.byte(next) == Some(b'\n') {
                found.next = next;
            }
            match more {
                Some(_) if fold == FOLDS_MAX => found.next = next,
                Some((next, byte)) => (at, white) = (next, byte),
                None => break,
            }
        }
        let text = self.joined.get(start..).unwrap_or(&[]);
        let leading = run(text, is_space);
        let length = trim(text).len();
        let span = Span {
            at: (start + leading.min(text.len())) as u32,
            length: length as u32,
        };
        Some((span, true))
    }

    fn join(&mut self, bytes: &[u8]) {
        if self.joined.len() + bytes.len() <= JOINED_MAX {
            self.joined.extend_from_slice(bytes);
        }
    }

    fn raise(&mut self, event: Event) {
        self.events |= 1 << (event as u8);
    }

    fn note_flags(&mut self, found: &Found, response: bool) {
        let of = |request, other| if response { other } else { request };
        if found.flags & DEFORMED != 0 && response {
            self.raise(Event::DeformedEol);
        }
        if !found.colon {
            self.raise(of(
                Event::RequestFieldMissingColon,
                Event::ResponseFieldMissingColon,
            ));
        } else if found.name.length == 0 {
            self.raise(of(
                Event::RequestInvalidEmptyName,
                Event::ResponseInvalidEmptyName,
            ));
        }
        if found.flags & TRAILING != 0 {
            self.raise(of(
                Event::RequestInvalidLwsAfterName,
                Event::ResponseInvalidLwsAfterName,
            ));
        }
        if found.flags & LEADING != 0 {
            self.raise(of(
                Event::InvalidRequestFieldFolding,
                Event::InvalidResponseFieldFolding,
            ));
        }
        if found.flags & NO_TOKEN != 0 {
            self.raise(of(
                Event::RequestHeaderInvalid,
                Event::ResponseHeaderNameNotToken,
            ));
        }
    }

    /// Adds a header, or joins it to the one of the same name. False: there are too many.
    fn add(&mut self, bytes: &[u8], found: &Found, value: (Span, bool), response: bool) -> bool {
        let name = slice(bytes, found.name);
        let hash = hash(name);
        let (word, bit) = ((hash >> 6 & 3) as usize, 1u64 << (hash & 63));
        let known = self.seen.get_mut(word).is_some_and(|seen| {
            let known = *seen & bit != 0;
            *seen |= bit;
            known
        });
        let header = Header {
            name: found.name,
            value: value.0,
            joined: value.1,
            repeated: false,
            hash,
        };
        let same = |h: &Header| h.hash == hash && slice(bytes, h.name).eq_ignore_ascii_case(name);
        let earlier = if known {
            self.headers.iter().position(same)
        } else {
            None
        };
        if let Some(place) = earlier {
            self.repeat(bytes, place, &header, response);
            return true;
        }
        if self.headers.len() >= HEADERS_MAX {
            let of = [Event::RequestTooManyHeaders, Event::ResponseTooManyHeaders];
            self.raise(of[usize::from(response)]);
            return false;
        }
        self.headers.push(header);
        true
    }

    fn repeat(&mut self, bytes: &[u8], place: usize, again: &Header, response: bool) {
        let of = |request, other| if response { other } else { request };
        let Some(mut first) = self.headers.get(place).copied() else {
            return;
        };
        if !first.repeated {
            self.raise(of(
                Event::RequestHeaderRepetition,
                Event::ResponseHeaderRepetition,
            ));
        } else if self.repetitions < REPETITIONS_MAX {
            self.repetitions += 1;
        } else {
            return;
        }
        first.repeated = true;
        let length =
            |header: &Header| content_length(self.text(bytes, header)).map(|(number, ..)| number);
        if slice(bytes, first.name).eq_ignore_ascii_case(b"content-length") {
            let (one, two) = (length(&first), length(again));
            if one.is_none() || one != two {
                self.raise(of(
                    Event::DuplicateContentLengthFieldInRequest,
                    Event::DuplicateContentLengthFieldInResponse,
                ));
            }
        } else {
            self.join_repeated(bytes, &mut first, again);
        }
        if let Some(header) = self.headers.get_mut(place) {
            *header = first;
        }
    }

    /// Makes the value of `first` `VALUE, VALUE`.
    fn join_repeated(&mut self, bytes: &[u8], first: &mut Header, again: &Header) {
        let start = self.joined.len();
        let length = (first.value.length + 2 + again.value.length) as usize;
        if start + length > JOINED_MAX {
            return;
        }
        for (part, header) in [(true, &*first), (false, again)] {
            let span = header.value;
            let from = span.at as usize;
            let range = from..from + span.length as usize;
            if header.joined {
                self.joined.extend_from_within(range);
            } else {
                self.joined
                    .extend_from_slice(bytes.get(range).unwrap_or(&[]));
            }
            if part {
                self.joined.extend_from_slice(b", ");
            }
        }
        first.joined = true;
        first.value = Span {
            at: start as u32,
            length: length as u32,
        };
    }

    fn text<'a>(&'a self, bytes: &'a [u8], header: &Header) -> &'a [u8] {
        slice(
            if header.joined { &self.joined } else { bytes },
            header.value,
        )
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.headers.len()
    }

    /// Names and values, in the order of the names' first lines. `bytes` as in `read`.
    pub(super) fn iter<'a>(
        &'a self,
        bytes: &'a [u8],
    ) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.headers
            .iter()
            .map(move |header| (slice(bytes, header.name), self.text(bytes, header)))
    }

    /// The value of the header of this name (lower case), letter case and NUL bytes aside.
    pub(super) fn get<'a>(&'a self, bytes: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
        self.find(bytes, name)
            .map(|header| self.text(bytes, header))
    }

    fn find(&self, bytes: &[u8], name: &[u8]) -> Option<&Header> {
        self.headers.iter().find(|header| {
            header.name.length as usize >= name.len()
                && super::line::same(slice(bytes, header.name), name)
        })
    }

    /// The events, each once.
    pub(super) fn events(&self) -> impl Iterator<Item = u8> + use<> {
        let events = self.events;
        (0..128).filter(move |bit: &u8| events >> bit & 1 != 0)
    }
}

fn slice(bytes: &[u8], span: Span) -> &[u8] {
    let from = span.at as usize;
    bytes.get(from..from + span.length as usize).unwrap_or(&[])
}

/// Where `part`, a part of `whole`, stands.
fn span_in(whole: &[u8], part: &[u8]) -> Span {
    let at = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
    Span {
        at: at as u32,
        length: part.len() as u32,
    }
}

fn flags_of(name: &[u8]) -> u8 {
    let mut flags = 0;
    if name.first().is_some_and(|b| is_space(*b)) {
        flags |= LEADING;
    }
    if name.last().is_some_and(|b| is_space(*b)) {
        flags |= TRAILING;
    }
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let from = name.iter().take_while(|b| blank(b)).count();
    let rest = name.get(from..).unwrap_or(&[]);
    let rest = rest.get(run(rest, is_token)..).unwrap_or(&[]);
    if !rest.iter().all(blank) {
        flags |= NO_TOKEN;
    }
    flags
}

/// A hash of a name, letter case aside (FNV-1a).
fn hash(name: &[u8]) -> u32 {
    let step =
        |hash: u32, b: &u8| (hash ^ u32::from(b.to_ascii_lowercase())).wrapping_mul(0x0100_0193);
    let hash = name.iter().fold(0x811c_9dc5, step);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{ToClient, ToServer};

    fn read(bytes: &[u8], direction: Direction) -> (Outcome, Vec<String>) {
        let mut head = Head::new();
        let outcome = head.read(bytes, direction, false);
        let lines = head
            .iter(bytes)
            .map(|(n, v)| format!("{}={}", n.escape_ascii(), v.escape_ascii()))
            .collect();
        (outcome, lines)
    }

    #[test]
    fn ordinary_headers() {
        let bytes = b"Host: a.b\r\nX:  y \r\nEmpty:\r\n\r\nrest";
        for direction in [ToServer, ToClient] {
            let (outcome, lines) = read(bytes, direction);
            assert_eq!(outcome, Outcome::End(bytes.len() - 4));
            assert_eq!(lines, ["Host=a.b", "X=y", "Empty="]);
        }
        assert_eq!(read(b"Host: a\r\n\r", ToServer).0, Outcome::More);
        assert_eq!(read(b"Host: a\r\n\r", ToClient).0, Outcome::More);
        assert_eq!(read(b"\r\nx", ToServer).0, Outcome::End(2));
        assert_eq!(
            read(b"a: b\n\nx", ToServer),
            (Outcome::End(6), vec!["a=b".to_owned()])
        );
    }

    #[test]
    fn folded_and_repeated_ones() {
        let (_, lines) = read(
            b"A: 1\r\n 2\r\n\t3\r\na: 4\r\nB: x\r\nA: 5\r\n\r\nr",
            ToServer,
        );
        assert_eq!(lines, ["A=1 2\\t3, 4, 5", "B=x"]);
        let (_, lines) = read(b"A: 1\r\n 2\r\n B: 3\r\n\r\nr", ToClient);
        assert_eq!(
            lines,
            ["A=1 2", "B=3"],
            "a folded line with a colon is a header in responses"
        );
        let (_, lines) = read(b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", ToServer);
        assert_eq!(lines, ["Content-Length=5"]);
    }

    #[test]
    fn odd_ones() {
        let (_, lines) = read(
            b"k1 v1\r\n: v2\r\nk\r5:v\r5\r\nk\x006: x\r\n\r\nr",
            ToServer,
        );
        assert_eq!(lines, ["=k1 v1, v2", "k\\r5=v\\r5", "k\\x006=x"]);
        let (outcome, lines) = read(b"\ra: b\n\rc: d\r\n\r\nx", ToClient);
        assert_eq!((outcome, lines.len()), (Outcome::End(15), 2), "LF CR");
        let (outcome, lines) = read(b"a: b\rc: d\r\re", ToClient);
        assert_eq!(
            (outcome, lines.len()),
            (Outcome::End(11), 2),
            "CR alone ends lines of responses"
        );
        let (outcome, lines) = read(b"a: b\r\n\r\r\nc: d\r\n\r\nx", ToClient);
        assert_eq!(
            (outcome, lines.len()),
            (Outcome::End(17), 2),
            "no empty line"
        );
    }

    #[test]
    fn their_number_is_bounded() {
        let mut bytes = Vec::new();
        for number in 0..HEADERS_MAX + 1 {
            bytes.extend_from_slice(format!("h{number}: 1\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\nx");
        assert_eq!(read(&bytes, ToServer).0, Outcome::TooMany);
    }
}
