//! Bodies: from the bytes of a message to the buffers that rules look at (`http.request_body`,
//! `http.response_body`, `file.data`), decoded on the way, up to the limits of the settings. Framing
//! (how long a body is) is request.rs's and response.rs's.

use super::super::field::Field;
use super::super::file::FileId;
use super::super::heap::{Heap, TEXT_MAX, Text};
use super::super::output::{Growing, Output, TxId};
use super::coding::{Chain, Coding, Codings, LAYERS_MAX};
use super::event::Event;
use super::line::{contains, same};
use super::multipart::Parts;
use super::settings::{Settings, Tools};
use crate::packet::Direction;

/// What a body is taken for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Kind {
    /// A body alone.
    #[default]
    Plain,
    /// A file too.
    File,
    /// Files in a form.
    Multipart,
}

/// The body of the message at hand.
#[derive(Debug, Default)]
pub(super) struct Body {
    kind: Kind,
    whole: Option<Growing>,
    file: Option<FileId>,
    file_size: u64,
    /// Bytes before decoding, and after it.
    raw: u64,
    seen: u64,
    chain: Chain,
    parts: Parts,
    /// Name of the file, until it begins.
    name: Text,
    /// No more bytes are taken.
    sealed: bool,
    /// The coding ended with the message.
    ended: bool,
}

/// Whose body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whose {
    /// Transaction.
    pub tx: TxId,
    /// Way of the bytes.
    pub direction: Direction,
}

impl Body {
    /// A message begins.
    pub(super) fn reset(&mut self, codings: &mut Codings, heap: &mut Heap) {
        codings.close(&mut self.chain);
        self.free(heap);
    }

    /// Gives back what it holds in the heap; decoders must have been closed.
    pub(super) fn free(&mut self, heap: &mut Heap) {
        heap.clear(&mut self.name);
        self.parts.free(heap);
        *self = Body::default();
    }

    /// It is a file of this name.
    pub(super) fn as_file(&mut self, out: &mut Output<'_>, name: &[u8]) {
        self.kind = Kind::File;
        if out.wants(Field::FileName) {
            out.shared.heap.clear(&mut self.name);
            let _ = out.shared.heap.append(&mut self.name, name);
        }
    }

    /// It is a form, if the Content-Type says so. False: it is none.
    pub(super) fn as_form(
        &mut self,
        tools: &mut Tools,
        out: &mut Output<'_>,
        content_type: &[u8],
    ) -> bool {
        let form = self
            .parts
            .begin(&mut out.shared.heap, content_type, &mut tools.room);
        if form {
            self.kind = Kind::Multipart;
        }
        form
    }

    /// Prepares decoding for a Content-Encoding value, and opening of packed Flash files.
    pub(super) fn decode_as(
        &mut self,
        tools: &mut Tools,
        out: &mut Output<'_>,
        whose: Whose,
        value: &[u8],
    ) {
        let settings = &tools.settings;
        let mut codings = [Coding::Gzip; LAYERS_MAX];
        let mut count = codings_of(value, settings, &mut codings, &mut |event| {
            let event = match (event, whose.direction) {
                (Event::ResponseTooManyLzmaLayers, Direction::ToServer) => {
                    Event::RequestTooManyLzmaLayers
                }
                _ => event,
            };
            out.event(whose.tx, whose.direction, event.app());
        });
        let said_none = count == 0;
        if whose.direction == Direction::ToClient && settings.swf.is_on() && count < LAYERS_MAX {
            // The file is what all codings were applied to.
            codings.rotate_right(1);
            codings[0] = Coding::Swf;
            count += 1;
        }
        let found = codings.get(..count).unwrap_or(&[]);
        let plain = [&b""[..], b"inflate", b"none", b"identity"];
        let said = !plain.iter().any(|name| same(value, name));
        out.shared.undecoded += u64::from(said_none && said);
        tools.codings.close(&mut self.chain);
        match tools.codings.open(found) {
            Some(chain) => self.chain = chain,
            None => out.shared.lost += 1,
        }
    }

    /// The body is not encoded after all.
    pub(super) fn decode_no_more(&mut self, tools: &mut Tools) {
        tools.codings.close(&mut self.chain);
    }

    /// Takes bytes of the body.
    pub(super) fn push(
        &mut self,
        tools: &mut Tools,
        out: &mut Output<'_>,
        whose: Whose,
        bytes: &[u8],
    ) {
        self.raw += bytes.len() as u64;
        if self.sealed || self.ended || bytes.is_empty() {
            return;
        }
        if self.chain.is_empty() {
            self.append(&mut tools.room, out, whose, bytes);
            return;
        }
        let chain = self.chain;
        let room = &mut tools.room;
        let bomb = tools.codings.decode(&chain, bytes, &mut |decoded| {
            self.append(room, out, whose, decoded);
            !self.sealed
        });
        if bomb {
            out.event(whose.tx, whose.direction, Event::CompressionBomb.app());
            self.sealed = true;
        }
        if self.sealed {
            tools.codings.close(&mut self.chain);
        }
    }

    /// Takes decoded bytes, as many as the limit allows.
    fn append(&mut self, room: &mut Vec<u8>, out: &mut Output<'_>, whose: Whose, bytes: &[u8]) {
        let request = whose.direction == Direction::ToServer;
        let limits = &out.shared.limits;
        let limit = if request {
            limits.request_body
        } else {
            limits.response_body
        };
        let limit = if limit == 0 {
            TEXT_MAX
        } else {
            limit.min(TEXT_MAX)
        };
        let left = limit.saturating_sub(usize::try_from(self.seen).unwrap_or(usize::MAX));
        let kept = bytes.get(..left.min(bytes.len())).unwrap_or(&[]);
        self.seen += bytes.len() as u64;
        let field = if request {
            Field::HttpRequestBody
        } else {
            Field::HttpResponseBody
        };
        if self.whole.is_none() && out.wants(field) {
            self.whole = Some(out.begin(whose.tx, field, whose.direction));
        }
        if let Some(whole) = self.whole
            && !kept.is_empty()
        {
            out.grow(whose.tx, whole, kept);
        }
        match self.kind {
            Kind::Plain => {}
            Kind::File => self.append_file(out, whose, limit, kept, bytes),
            Kind::Multipart => self.parts.push(out, whose.tx, kept, room),
        }
        // The body goes on beyond the limit, unseen, unless its file is stored or hashed.
        let goes_on = self.file.is_some_and(|file| out.file_goes_on(file));
        self.sealed = self.seen >= limit as u64 && !goes_on;
        let cut = self.seen > limit as u64 && self.sealed;
        if let Some(file) = self.file.filter(|_| cut) {
            out.file_cut(file);
        }
        if self.seen > limit as u64 {
            self.parts.cut(out);
        }
    }

    /// `kept` is what rules get to see of `bytes`.
    fn append_file(
        &mut self,
        out: &mut Output<'_>,
        whose: Whose,
        limit: usize,
        kept: &[u8],
        bytes: &[u8],
    ) {
        if self.file.is_none() {
            if !self.name.is_empty() {
                let mut scratch = std::mem::take(&mut out.shared.scratch);
                scratch.clear();
                scratch.extend_from_slice(out.shared.heap.get(&self.name));
                out.field(whose.tx, Field::FileName, whose.direction, &scratch);
                out.shared.scratch = scratch;
                out.shared.heap.clear(&mut self.name);
            }
            self.file = Some(out.begin_file(whose.tx, whose.direction));
        }
        self.file_size += kept.len() as u64;
        if let Some(file) = self.file {
            let seen = if out.file_goes_on(file) { bytes } else { kept };
            out.file_bytes(whose.tx, file, limit, seen);
        }
    }

    /// No more encoded bytes follow: what the decoders hold back comes out.
    fn finish_coding(&mut self, tools: &mut Tools, out: &mut Output<'_>, whose: Whose) {
        if !self.chain.is_empty() {
            let (chain, room) = (self.chain, &mut tools.room);
            let bomb = tools.codings.finish(&chain, &mut |decoded| {
                self.append(room, out, whose, decoded);
                !self.sealed
            });
            if bomb {
                out.event(whose.tx, whose.direction, Event::CompressionBomb.app());
                self.sealed = true;
            }
        }
    }

    /// Bytes are missing: what follows is not next to what was before.
    pub(super) fn gap(&mut self, tools: &mut Tools, out: &mut Output<'_>, whose: Whose) {
        self.finish_coding(tools, out, whose);
        if !self.chain.is_empty() {
            tools.codings.close(&mut self.chain);
            self.ended = true;
        }
        if let Some(whole) = self.whole.take() {
            out.end(whose.tx, whole);
        }
        if let Some(file) = self.file.take() {
            out.file_gap(file);
            out.file_cut(file);
            out.end_file(whose.tx, file);
        }
    }

    /// The length that the message gave is there. What still follows is taken if it is not encoded.
    pub(super) fn close_coding(&mut self, tools: &mut Tools, out: &mut Output<'_>, whose: Whose) {
        self.finish_coding(tools, out, whose);
        if !self.chain.is_empty() {
            tools.codings.close(&mut self.chain);
            self.ended = true;
        }
    }

    /// The message ends.
    pub(super) fn end(&mut self, tools: &mut Tools, out: &mut Output<'_>, whose: Whose) {
        self.finish_coding(tools, out, whose);
        if whose.direction == Direction::ToClient && out.wants(Field::HttpLength) {
            out.number(whose.tx, Field::HttpLength, whose.direction, self.raw);
        }
        if self.kind == Kind::Multipart {
            self.parts.end(out, whose.tx, &mut tools.room);
        }
        if let Some(whole) = self.whole {
            out.end(whose.tx, whole);
        }
        if let Some(file) = self.file {
            out.end_file(whose.tx, file);
        }
        if self.kind == Kind::File && self.file_size > 0 {
            out.number(whose.tx, Field::Filesize, whose.direction, self.file_size);
        }
        self.reset(&mut tools.codings, &mut out.shared.heap);
    }
}

/// Values that name one coding.
const ALONE: &[(&[u8], Coding)] = &[
    (b"gzip", Coding::Gzip),
    (b"x-gzip", Coding::Gzip),
    (b"deflate", Coding::Deflate),
    (b"x-deflate", Coding::Deflate),
    (b"br", Coding::Brotli),
];

/// The codings that a Content-Encoding value names, in its order; how many.
fn codings_of(
    value: &[u8],
    settings: &Settings,
    out: &mut [Coding; LAYERS_MAX],
    note: &mut dyn FnMut(Event),
) -> usize {
    let is = |name: &[u8]| same(value, name);
    if let Some((_, coding)) = ALONE.iter().find(|(name, _)| is(name)) {
        out[0] = *coding;
        return 1;
    }
    if is(b"lzma") {
        out[0] = Coding::Lzma;
        if !settings.lzma {
            note(Event::LzmaDecompressionDisabled);
        }
        return usize::from(settings.lzma);
    }
    if is(b"inflate") || is(b"none") {
        return 0;
    }
    let (mut count, mut lzmas) = (0, 0);
    let words = value
        .split(|b| matches!(b, b',' | b' '))
        .filter(|word| !word.is_empty());
    for (place, word) in words.enumerate() {
        if place >= settings.layers {
            note(Event::TooManyEncodingLayers);
            break;
        }
        let coding = if contains(word, b"gzip") {
            if !matches!(word, b"gzip" | b"x-gzip") {
                note(Event::AbnormalCeHeader);
            }
            Coding::Gzip
        } else if contains(word, b"deflate") {
            if !matches!(word, b"deflate" | b"x-deflate") {
                note(Event::AbnormalCeHeader);
            }
            Coding::Deflate
        } else if same(word, b"br") {
            Coding::Brotli
        } else if same(word, b"lzma") {
            // One at most, and none where it is off.
            if lzmas >= usize::from(settings.lzma) {
                note(Event::ResponseTooManyLzmaLayers);
                break;
            }
            lzmas += 1;
            Coding::Lzma
        } else {
            if !matches!(word, b"inflate" | b"none" | b"identity") {
                note(Event::AbnormalCeHeader);
            }
            continue;
        };
        if let Some(place) = out.get_mut(count) {
            *place = coding;
            count += 1;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_codings() {
        let with = |value: &[u8], lzma: bool| {
            let mut out = [Coding::Zlib; LAYERS_MAX];
            let settings = Settings {
                layers: 3,
                lzma,
                ..Settings::default()
            };
            let mut events = Vec::new();
            let count = codings_of(value, &settings, &mut out, &mut |event| events.push(event));
            (out[..count].to_vec(), events)
        };
        let of = |value: &[u8]| with(value, false).0;
        assert_eq!(with(b"lzma", true).0, [Coding::Lzma]);
        let off = with(b"LZMA", false);
        assert_eq!(off, (vec![], vec![Event::LzmaDecompressionDisabled]));
        let twice = with(b"gzip, lzma, lzma", true);
        let events = vec![Event::ResponseTooManyLzmaLayers];
        assert_eq!(twice, (vec![Coding::Gzip, Coding::Lzma], events));
        assert_eq!(of(b"GZip"), [Coding::Gzip]);
        assert_eq!(of(b"x-deflate"), [Coding::Deflate]);
        assert_eq!(of(b"deflate,gzip"), [Coding::Deflate, Coding::Gzip]);
        assert_eq!(of(b"Br"), [Coding::Brotli]);
        assert_eq!(of(b"gzip, br"), [Coding::Gzip, Coding::Brotli]);
        assert_eq!(of(b"gzip x"), [Coding::Gzip]);
        assert_eq!(of(b"gz ip"), []);
        assert_eq!(
            of(b"deflate, deflate, gzip, gzip"),
            [Coding::Deflate, Coding::Deflate, Coding::Gzip]
        );
    }
}
