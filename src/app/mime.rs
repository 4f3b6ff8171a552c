//! Mail messages (RFC 5322) and their parts (RFC 2045, 2046), line by line: headers for rules,
//! attachments decoded as they come, links in texts. The protocol that carries the mail cuts it
//! into lines; smtp.rs does. Nesting, header length and line length are bounded.
//!
//! What rules see is what Suricata's buffers hold: an attachment is a part with a file name, leading
//! dots stay doubled, and the line end before a boundary belongs to the boundary.

use super::field::Field;
use super::file::FileId;
use super::heap::{Heap, Text};
use super::mime_words::{Base64, find_parameter, hex_byte};
use super::output::{Output, TxId};
use super::reader::{HEX, hex};
use crate::packet::Direction::ToServer;
use md5::{Digest, Md5};
use memchr::memchr;

/// Something odd in a mail; bits of what [`Mime::line`] returns.
pub mod odd {
    /// Base64 that cannot be.
    pub const BASE64: u16 = 1;
    /// Quoted-printable that cannot be.
    pub const QUOTED: u16 = 2;
    /// A line beyond RFC 2045's 998 bytes.
    pub const LONG_LINE: u16 = 4;
    /// An encoded line beyond 76 bytes.
    pub const LONG_ENCODED: u16 = 8;
    /// A header's name is too long.
    pub const LONG_NAME: u16 = 16;
    /// A header's value is too long.
    pub const LONG_VALUE: u16 = 32;
    /// A boundary is too long.
    pub const LONG_BOUNDARY: u16 = 64;
    /// A file name is too long.
    pub const LONG_FILENAME: u16 = 128;
    /// Parts within parts beyond the limit.
    pub const DEEP: u16 = 256;
}

/// Bytes of a line that are shown at once at most; a longer one comes in pieces.
pub const PIECE_MAX: usize = 8192;
/// Multiparts within multiparts.
const DEPTH_MAX: u8 = 32;
/// Bytes kept of one header with its continuation lines.
const HEADER_MAX: usize = 16 << 10;
/// Bytes of a file name.
const FILENAME_MAX: usize = 255;
/// Bytes of all boundaries that are open.
const BOUNDARIES_MAX: usize = 8192;
/// Bytes of a text line that wait for its end, where links are looked for.
const TEXT_LINE_MAX: usize = 8192;
const LINE_LENGTH: usize = 998;
const ENCODED_LENGTH: usize = 76;
const NAME_LENGTH: usize = 75;
const VALUE_LENGTH: usize = 2000;
const BOUNDARY_LENGTH: usize = 254;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Place {
    /// At the first line of headers.
    #[default]
    Start,
    Header,
    Body,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Encoding {
    #[default]
    Plain,
    Base64,
    Quoted,
}

/// Headers that we look at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// The first of its name is a field.
    Once(u8),
    Received,
    Disposition,
    Encoding,
    ContentType,
}

/// Headers of which the first is a field.
const ONCE: &[(&[u8], Field)] = &[
    (b"from", Field::EmailFrom),
    (b"subject", Field::EmailSubject),
    (b"to", Field::EmailTo),
    (b"cc", Field::EmailCc),
    (b"date", Field::EmailDate),
    (b"message-id", Field::EmailMessageId),
    (b"x-mailer", Field::EmailXMailer),
];

impl Kind {
    fn of(name: &[u8]) -> Option<Kind> {
        if let Some(place) = ONCE.iter().position(|(n, _)| name.eq_ignore_ascii_case(n)) {
            return Some(Kind::Once(place as u8));
        }
        let others: [(&[u8], Kind); 4] = [
            (b"received", Kind::Received),
            (b"content-disposition", Kind::Disposition),
            (b"content-transfer-encoding", Kind::Encoding),
            (b"content-type", Kind::ContentType),
        ];
        let found = others.iter().find(|(n, _)| name.eq_ignore_ascii_case(n));
        found.map(|(_, kind)| *kind)
    }
}

/// A mail that is being read.
#[derive(Debug, Default)]
pub struct Mime {
    place: Place,
    /// The mail's own headers are over.
    main_done: bool,
    /// Some header was seen in this block.
    some_header: bool,
    /// Fields of `ONCE` that were given, by place.
    given: u8,
    kind: Option<Kind>,
    /// Value of the header that is being read.
    header: Text,
    /// Name of the part's file.
    filename: Text,
    encoding: Encoding,
    /// The part is a text, in which links are looked for.
    is_text: bool,
    /// The part's type says that a message follows.
    encapsulated: bool,
    /// Boundaries of the multiparts that are open, each behind its length (two bytes behind it).
    boundaries: Text,
    depth: u8,
    /// The beginning of a text line whose end has not come.
    text: Text,
    base64: Base64,
    /// The line end behind the last line of a plain file: it may belong to the boundary.
    line_end: [u8; 2],
    line_end_length: u8,
    file: Option<FileId>,
    file_size: u32,
    /// The hash of the body so far, if a rule asks for it.
    body: Option<Md5>,
    /// The last piece was not the end of its line.
    within_line: bool,
}

impl Mime {
    /// A new mail.
    pub fn new() -> Mime {
        Mime {
            is_text: true,
            ..Mime::default()
        }
    }

    /// Whether lines are headers, for which stricter limits hold.
    pub fn is_in_headers(&self) -> bool {
        self.place != Place::Body
    }

    /// Gives the memory back.
    pub fn free(&mut self, heap: &mut Heap) {
        let texts = [
            &mut self.header,
            &mut self.filename,
            &mut self.boundaries,
            &mut self.text,
        ];
        for text in texts {
            heap.clear(text);
        }
    }

    /// Takes a line in, or a piece of one that is too long: `full` ends with the line end, if it
    /// has come. What was odd: bits of [`odd`].
    pub fn line(&mut self, tx: TxId, full: &[u8], out: &mut Output<'_>) -> u16 {
        let end = match full {
            [.., b'\r', b'\n'] => 2,
            [.., b'\n'] => 1,
            _ => 0,
        };
        let line = full.get(..full.len() - end).unwrap_or(&[]);
        let first = !std::mem::replace(&mut self.within_line, end == 0);
        let mut odd = 0;
        if line.len() > LINE_LENGTH {
            odd |= odd::LONG_LINE;
        }
        // From the first line behind the mail's own headers on all lines count, those that part it too.
        if let Some(body) = &mut self.body {
            body.update(full);
        } else if self.place == Place::Body
            && out.wants(Field::EmailBodyMd5)
            && out.shared.limits.parsers.mail.body_md5
        {
            self.body = Some(Md5::new_with_prefix(full));
        }
        match self.place {
            Place::Body => odd |= self.body_line(tx, line, full, first, out),
            _ if !first => self.keep(line, out),
            _ if line.is_empty() => odd |= self.end_headers(tx, out),
            Place::Header if line.starts_with(b" ") || line.starts_with(b"\t") => {
                self.keep(line.get(1..).unwrap_or(&[]), out);
            }
            _ => odd |= self.begin_header(tx, line, out),
        }
        odd
    }

    /// The mail is over.
    pub fn complete(&mut self, tx: TxId, out: &mut Output<'_>) {
        if self.is_text_part() || self.file.is_some() {
            self.find_links(tx, b"\n", out);
        }
        if let Some(body) = self.body.take() {
            let mut digits = [0; 32];
            for (place, byte) in digits.chunks_exact_mut(2).zip(body.finalize()) {
                place.copy_from_slice(&hex(byte, HEX));
            }
            out.field(tx, Field::EmailBodyMd5, ToServer, &digits);
        }
        self.close_file(tx, out);
        self.free(out.heap());
    }

    fn is_text_part(&self) -> bool {
        self.place == Place::Body && self.is_text
    }

    fn begin_header(&mut self, tx: TxId, line: &[u8], out: &mut Output<'_>) -> u16 {
        let mut odd = self.end_header(tx, out);
        let Some(colon) = memchr(b':', line) else {
            return odd;
        };
        self.place = Place::Header;
        self.some_header = true;
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or(&[]);
        let blank = |b: &u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n');
        let skipped = value.iter().take_while(|b| blank(b)).count();
        let value = value.get(skipped..).unwrap_or(&[]);
        if name.len() > NAME_LENGTH {
            odd |= odd::LONG_NAME;
        }
        if value.len() > VALUE_LENGTH {
            odd |= odd::LONG_VALUE;
        }
        self.kind = Kind::of(name);
        self.keep(value, out);
        odd
    }

    /// Adds to the value of the header that is being read.
    fn keep(&mut self, bytes: &[u8], out: &mut Output<'_>) {
        let room = HEADER_MAX.saturating_sub(self.header.len());
        let bytes = bytes.get(..bytes.len().min(room)).unwrap_or(&[]);
        if self.kind.is_some() && !out.heap().append(&mut self.header, bytes) {
            self.kind = None;
        }
    }

    /// A header is whole.
    fn end_header(&mut self, tx: TxId, out: &mut Output<'_>) -> u16 {
        let Some(kind) = self.kind.take() else {
            return 0;
        };
        let mut value = std::mem::take(&mut out.shared.scratch);
        value.clear();
        value.extend_from_slice(out.shared.heap.get(&self.header));
        out.shared.heap.truncate(&mut self.header, 0);
        let odd = self.read_header(tx, kind, &value, out);
        out.shared.scratch = value;
        odd
    }

    fn read_header(&mut self, tx: TxId, kind: Kind, value: &[u8], out: &mut Output<'_>) -> u16 {
        match kind {
            Kind::Once(place) => {
                let known = ONCE.get(usize::from(place)).filter(|_| !self.main_done);
                if let Some((_, field)) = known
                    && self.given & 1 << place == 0
                {
                    self.given |= 1 << place;
                    out.field(tx, *field, ToServer, value);
                }
                0
            }
            Kind::Received => {
                if !self.main_done {
                    out.field(tx, Field::EmailReceived, ToServer, value);
                }
                0
            }
            Kind::Disposition => self.name_file(tx, value, b"filename", out),
            Kind::Encoding => {
                if value.eq_ignore_ascii_case(b"base64") {
                    self.encoding = Encoding::Base64;
                    self.base64 = Base64::default();
                } else if value.eq_ignore_ascii_case(b"quoted-printable") {
                    self.encoding = Encoding::Quoted;
                }
                0
            }
            Kind::ContentType => {
                let odd = self.name_file(tx, value, b"name", out) | self.open_boundary(value, out);
                let end = memchr(b';', value).unwrap_or(value.len());
                let content = value.get(..end).unwrap_or(&[]);
                self.is_text = matches!(content, b"text/plain" | b"text/html");
                self.encapsulated = content.starts_with(b"message/");
                odd
            }
        }
    }

    fn name_file(&mut self, tx: TxId, value: &[u8], parameter: &[u8], out: &mut Output<'_>) -> u16 {
        if !self.filename.is_empty() {
            return 0;
        }
        let mut joined = std::mem::take(&mut out.shared.scratch2);
        let name = find_parameter(value, parameter, &mut joined).unwrap_or(&[]);
        let kept = name.get(..name.len().min(FILENAME_MAX)).unwrap_or(&[]);
        let odd = if name.len() > FILENAME_MAX {
            odd::LONG_FILENAME
        } else {
            0
        };
        if !kept.is_empty() && out.wants(Field::EmailAttachment) {
            out.field(tx, Field::EmailAttachment, ToServer, kept);
        }
        // Without room for the name the part is no file.
        let _ = out.shared.heap.append(&mut self.filename, kept);
        out.shared.scratch2 = joined;
        odd
    }

    fn open_boundary(&mut self, value: &[u8], out: &mut Output<'_>) -> u16 {
        let mut joined = std::mem::take(&mut out.shared.scratch2);
        let mut odd = 0;
        if let Some(boundary) = find_parameter(value, b"boundary", &mut joined) {
            if boundary.len() > BOUNDARY_LENGTH {
                odd |= odd::LONG_BOUNDARY;
            }
            let length = boundary.len() + 2;
            let fits = self.depth < DEPTH_MAX
                && self.boundaries.len() + length + 2 <= BOUNDARIES_MAX
                && out.shared.heap.append(&mut self.boundaries, b"--")
                && out.shared.heap.append(&mut self.boundaries, boundary)
                && (out.shared.heap).append(&mut self.boundaries, &(length as u16).to_le_bytes());
            if fits {
                self.depth += 1;
            } else {
                odd |= odd::DEEP;
            }
        }
        out.shared.scratch2 = joined;
        odd
    }

    /// The empty line behind headers.
    fn end_headers(&mut self, tx: TxId, out: &mut Output<'_>) -> u16 {
        let odd = self.end_header(tx, out);
        self.main_done |= self.some_header;
        if self.encapsulated {
            self.restart(out.heap());
            return odd;
        }
        self.place = Place::Body;
        if !self.filename.is_empty() {
            let mut name = std::mem::take(&mut out.shared.scratch);
            name.clear();
            name.extend_from_slice(out.shared.heap.get(&self.filename));
            out.field(tx, Field::FileName, ToServer, &name);
            out.shared.scratch = name;
            self.file = Some(out.begin_file(tx, ToServer));
            self.file_size = 0;
        }
        odd
    }

    /// The next part begins.
    fn restart(&mut self, heap: &mut Heap) {
        self.place = Place::Start;
        self.some_header = false;
        self.encoding = Encoding::Plain;
        self.is_text = true;
        self.encapsulated = false;
        self.base64 = Base64::default();
        self.line_end_length = 0;
        heap.truncate(&mut self.filename, 0);
        heap.truncate(&mut self.text, 0);
    }

    fn body_line(
        &mut self,
        tx: TxId,
        line: &[u8],
        full: &[u8],
        first: bool,
        out: &mut Output<'_>,
    ) -> u16 {
        if first && self.ends_part(line, out.heap()) {
            self.close_file(tx, out);
            self.restart(out.heap());
            return 0;
        }
        if self.file.is_none() {
            return self.text_line(tx, line, full, out);
        }
        match self.encoding {
            Encoding::Plain => {
                self.find_links(tx, full, out);
                self.put_line_end(tx, out);
                self.put(tx, line, out);
                self.keep_line_end(line, full);
                0
            }
            Encoding::Base64 => self.base64_line(tx, line, out),
            Encoding::Quoted => self.quoted_line(tx, line, full, out),
        }
    }

    /// Whether the line is the boundary of the innermost multipart; closes it if it is the last.
    fn ends_part(&mut self, line: &[u8], heap: &mut Heap) -> bool {
        if !line.starts_with(b"--") {
            return false;
        }
        let open = heap.get(&self.boundaries);
        let Some(length) = open
            .last_chunk()
            .map(|b| usize::from(u16::from_le_bytes(*b)))
        else {
            return false;
        };
        let start = open.len().saturating_sub(length + 2);
        let boundary = open.get(start..start + length).unwrap_or(&[]);
        let Some(rest) = line.strip_prefix(boundary) else {
            return false;
        };
        if rest.starts_with(b"--") {
            heap.truncate(&mut self.boundaries, start);
            self.depth -= 1;
        }
        true
    }

    fn text_line(&mut self, tx: TxId, line: &[u8], full: &[u8], out: &mut Output<'_>) -> u16 {
        if !self.is_text {
            return 0;
        }
        if self.encoding == Encoding::Base64 {
            return self.base64_line(tx, line, out);
        }
        self.find_links(tx, full, out);
        0
    }

    /// A line in base64; where settings say not to decode it, nothing of it is seen.
    fn base64_line(&mut self, tx: TxId, line: &[u8], out: &mut Output<'_>) -> u16 {
        if !out.shared.limits.parsers.mail.base64 {
            return 0;
        }
        let mut odd = 0;
        if line.len() > ENCODED_LENGTH {
            odd |= odd::LONG_ENCODED;
        }
        let mut decoded = std::mem::take(&mut out.shared.scratch);
        decoded.clear();
        if self.base64.decode(line, &mut decoded) {
            self.find_links(tx, &decoded, out);
            self.put(tx, &decoded, out);
        } else {
            odd |= odd::BASE64;
        }
        out.shared.scratch = decoded;
        odd
    }

    fn quoted_line(&mut self, tx: TxId, line: &[u8], full: &[u8], out: &mut Output<'_>) -> u16 {
        if !out.shared.limits.parsers.mail.quoted {
            return 0;
        }
        let mut odd = 0;
        if line.len() > ENCODED_LENGTH {
            odd |= odd::LONG_ENCODED;
        }
        let whole = full.len() > line.len();
        let mut decoded = std::mem::take(&mut out.shared.scratch);
        decoded.clear();
        if self.line_end_length > 0 {
            let kept = self.line_end.get(..usize::from(self.line_end_length));
            decoded.extend_from_slice(kept.unwrap_or(&[]));
            self.line_end_length = 0;
        }
        let mut rest = line;
        let mut soft = false;
        // Each round takes a byte at least.
        while let Some(at) = memchr(b'=', rest) {
            decoded.extend_from_slice(rest.get(..at).unwrap_or(&[]));
            let escape = rest.get(at + 1..at + 3);
            if let Some(byte) = escape.and_then(|e| hex_byte(e[0], e[1])) {
                decoded.push(byte);
            } else if at + 1 == rest.len() && whole {
                soft = true;
            } else {
                odd |= odd::QUOTED;
            }
            rest = rest.get((at + 3).min(rest.len())..).unwrap_or(&[]);
        }
        decoded.extend_from_slice(rest);
        if line.is_empty() {
            self.keep_line_end(line, full);
        } else if !soft {
            decoded.extend_from_slice(full.get(line.len()..).unwrap_or(&[]));
        }
        self.find_links(tx, &decoded, out);
        self.put(tx, &decoded, out);
        out.shared.scratch = decoded;
        odd
    }

    fn keep_line_end(&mut self, line: &[u8], full: &[u8]) {
        let end = full.get(line.len()..).unwrap_or(&[]);
        self.line_end_length = end.len() as u8;
        for (place, byte) in self.line_end.iter_mut().zip(end) {
            *place = *byte;
        }
    }

    fn put_line_end(&mut self, tx: TxId, out: &mut Output<'_>) {
        let (end, length) = (self.line_end, usize::from(self.line_end_length));
        self.put(tx, end.get(..length).unwrap_or(&[]), out);
    }

    /// Adds to the file.
    fn put(&mut self, tx: TxId, bytes: &[u8], out: &mut Output<'_>) {
        let Some(file) = self.file else {
            return;
        };
        self.file_size = self.file_size.saturating_add(bytes.len() as u32);
        let limit = out.shared.limits.file;
        out.file_bytes(tx, file, limit, bytes);
    }

    fn close_file(&mut self, tx: TxId, out: &mut Output<'_>) {
        if self.file.is_none() {
            return;
        }
        if self.encoding == Encoding::Base64 {
            let mut decoded = std::mem::take(&mut out.shared.scratch);
            decoded.clear();
            self.base64.finish(&mut decoded);
            self.put(tx, &decoded, out);
            out.shared.scratch = decoded;
        }
        if let Some(file) = self.file.take() {
            out.end_file(tx, file);
            let size = u64::from(self.file_size);
            out.number(tx, Field::Filesize, ToServer, size);
        }
    }

    /// Looks for links in a text; a line may come in pieces.
    fn find_links(&mut self, tx: TxId, new: &[u8], out: &mut Output<'_>) {
        let links = out.shared.limits.parsers.mail.links;
        if !links || !out.wants(Field::EmailUrl) || new.is_empty() {
            return;
        }
        let ends = new.last() == Some(&b'\n');
        if self.text.is_empty() && ends {
            give_links(tx, new, out);
            return;
        }
        if !out.heap().append(&mut self.text, new) {
            out.heap().clear(&mut self.text);
            return;
        }
        let known = self.text.len();
        let whole = match new.iter().rposition(|b| *b == b'\n') {
            _ if ends || known > TEXT_LINE_MAX => known,
            Some(at) => known - new.len() + at,
            None => return,
        };
        let mut text = std::mem::take(&mut out.shared.scratch2);
        text.clear();
        let kept = out.shared.heap.get(&self.text);
        text.extend_from_slice(kept.get(..whole).unwrap_or(&[]));
        out.shared.heap.consume(&mut self.text, whole);
        give_links(tx, &text, out);
        out.shared.scratch2 = text;
    }
}

/// Gives each link of a text, without its scheme unless that is asked for; scheme by scheme.
fn give_links(tx: TxId, text: &[u8], out: &mut Output<'_>) {
    let schemes = out.shared.limits.parsers.mail.which;
    for scheme in schemes.iter() {
        give_links_of(scheme.text(), tx, text, out);
    }
}

fn give_links_of(scheme: &[u8], tx: TxId, text: &[u8], out: &mut Output<'_>) {
    let mut rest = text;
    let mut from = 0;
    // Each round goes at least one byte on.
    while let Some(colon) = rest.get(from..).and_then(|r| memchr(b':', r)) {
        let colon = from + colon;
        from = colon + 1;
        let start = (colon + 3).checked_sub(scheme.len());
        let Some(link) = start.and_then(|start| rest.get(start..)) else {
            continue;
        };
        let head = link.get(..scheme.len()).unwrap_or(&[]);
        if !head.eq_ignore_ascii_case(scheme) {
            continue;
        }
        let closes = |b: &u8| matches!(b, b' ' | b'"' | b'\'' | b'<' | b'>' | b']' | b'\t');
        let end = link.iter().position(closes).unwrap_or(link.len());
        let begin = match out.shared.limits.parsers.mail.schemes {
            true => 0,
            false => scheme.len(),
        };
        let url = link.get(begin..end).unwrap_or(&[]);
        out.field(tx, Field::EmailUrl, ToServer, url);
        rest = link.get(end..).unwrap_or(&[]);
        from = 0;
    }
}
