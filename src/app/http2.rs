//! HTTP/2 (RFC 9113): frames, streams, header blocks over CONTINUATION, bodies as they come. A
//! stream is a transaction, and so is every frame of the connection itself (stream 0). HPACK stands
//! in http2/hpack.rs, what headers become in http2/fields.rs, the table of streams in
//! http2/streams.rs, states that rules wait for in http2/states.rs, DNS that rides on it in
//! http2/doh.rs.

mod doh;
mod event;
mod fields;
mod hpack;
mod huffman;
mod shown;
mod states;
pub(super) mod streams;

use super::field::{Field, Progress};
use super::heap::{Heap, Text};
use super::output::{AppEvent, Output, Shared, TxId};
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use super::reader::Reader;
use super::settings::Number;
use crate::packet::Direction;
use hpack::Table;
use shown::Shown;
pub use states::HOOKS;
use states::{Reached, reach, reach_global};
use streams::{Stream, Streams};

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::Http2,
    probe,
    over: &[Transport::Tcp],
    fields: &[
        Field::HttpUri,
        Field::Http2Header,
        Field::Http2StreamId,
        Field::HttpUriRaw,
        Field::HttpMethod,
        Field::HttpHeader,
        Field::HttpHeaderRaw,
        Field::HttpRequestHeader,
        Field::HttpResponseHeader,
        Field::HttpCookie,
        Field::HttpUserAgent,
        Field::HttpHost,
        Field::HttpHostRaw,
        Field::HttpRequestBody,
        Field::HttpResponseBody,
        Field::HttpStatCode,
        Field::HttpStatMsg,
        Field::HttpRequestLine,
        Field::HttpResponseLine,
        Field::HttpProtocol,
        Field::HttpHeaderNames,
        Field::HttpAccept,
        Field::HttpAcceptEnc,
        Field::HttpAcceptLang,
        Field::HttpConnection,
        Field::HttpContentLen,
        Field::HttpContentType,
        Field::HttpReferer,
        Field::HttpLocation,
        Field::HttpServer,
        Field::Http2HeaderName,
        Field::FileData,
        Field::Filesize,
        Field::Filemd5,
        Field::Filesha1,
        Field::Filesha256,
        Field::Http2Frametype,
        Field::Http2Errorcode,
        Field::Http2Priority,
        Field::Http2Window,
        Field::Http2SizeUpdate,
        Field::Http2Settings,
        Field::FrameHttp2Hdr,
        Field::FrameHttp2Data,
        Field::FrameHttp2Pdu,
        Field::Hook,
    ],
    events: &[
        "invalid_frame_header",
        "invalid_client_magic",
        "invalid_frame_data",
        "invalid_header",
        "invalid_frame_length",
        "extra_header_data",
        "long_frame_data",
        "stream_id_reuse",
        "invalid_http1_settings",
        "failed_decompression",
        "invalid_range",
        "header_integer_overflow",
        "too_many_streams",
        "authority_host_mismatch",
        "userinfo_in_uri",
        "reassembly_limit_reached",
        "dns_request_too_long",
        "dns_response_too_long",
        "data_stream_zero",
        "too_many_frames",
        "compression_bomb",
    ],
};

/// Types of frames (RFC 9113 6).
mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Flags of frames.
mod flag {
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;
    pub const PADDED: u8 = 8;
    pub const PRIORITY: u8 = 0x20;
}

/// What a client says first (RFC 9113 3.4).
const MAGIC: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of a frame's head.
const HEAD: usize = 9;
/// Longest frame, other than DATA, that is put together.
const FRAME_MAX: usize = 65_536;
/// Bytes of a header block that are put together.
const BLOCK_MAX: usize = 102_400;

/// One direction.
#[derive(Debug, Default)]
struct Side {
    /// The client's first words were seen.
    begun: bool,
    table: Table,
    /// Bytes of a frame that are passed over.
    skip: u32,
    /// Bytes of a body that are still to come in this DATA frame, and the padding after them.
    data: u32,
    padding: u32,
    /// Stream of that body; it ends with the frame.
    data_stream: u32,
    data_ends: bool,
    /// A header block that goes on in CONTINUATION, the stream that it belongs to and the head of
    /// its first frame.
    block: Text,
    block_stream: u32,
    block_flags: u8,
}

/// State of a connection.
#[derive(Debug, Default)]
pub struct Http2 {
    shown: [Shown; 2],
    sides: [Side; 2],
    streams: Streams,
}

/// A frame's head.
#[derive(Clone, Copy)]
struct Frame {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Frame {
    fn read(bytes: &[u8]) -> Option<Frame> {
        let mut reader = Reader::new(bytes);
        Some(Frame {
            length: reader.u24()? as usize,
            kind: reader.u8()?,
            flags: reader.u8()?,
            stream: reader.u32()? & 0x7fff_ffff,
        })
    }
}

fn probe(probe: &Probe<'_>) -> Guess {
    let bytes = probe.bytes;
    if probe.direction == Direction::ToServer {
        let count = bytes.len().min(MAGIC.len());
        return match bytes.get(..count) == MAGIC.get(..count) {
            false => Guess::No,
            true if count == MAGIC.len() => Guess::Yes,
            true => Guess::More,
        };
    }
    // A server begins with its settings.
    const SETTING: usize = 6;
    match bytes {
        [0, ..] | [] => {}
        _ => return Guess::No,
    }
    match Frame::read(bytes) {
        None if bytes.get(3).is_none_or(|kind| *kind == kind::SETTINGS) => Guess::More,
        Some(frame)
            if frame.kind == kind::SETTINGS
                && frame.stream == 0
                && frame.flags <= 1
                && frame.length % SETTING == 0
                && bytes.get(5).is_some_and(|byte| *byte == 0) =>
        {
            Guess::Yes
        }
        _ => Guess::No,
    }
}

impl Parse for Http2 {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        let taken = self.frames(input, out);
        if input.end || taken.is_err() {
            self.streams.end(input.direction, taken.is_err(), out);
        }
        taken
    }

    fn free(&mut self, heap: &mut Heap) {
        self.streams.free(heap);
        for side in &mut self.sides {
            side.table.free(heap);
            heap.clear(&mut side.block);
        }
    }

    fn release(&mut self, shared: &mut Shared) {
        self.streams.release(shared);
        self.free(&mut shared.heap);
    }
}

fn event(tx: TxId, direction: Direction, place: u8, out: &mut Output<'_>) {
    out.event(tx, direction, AppEvent::of(AppProtocol::Http2, place));
}

impl Http2 {
    fn side(&mut self, direction: Direction) -> &mut Side {
        &mut self.sides[direction.index()]
    }

    fn frames(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        let (bytes, direction) = (input.bytes, input.direction);
        if input.gap > 0 {
            self.gap(input.gap, direction)?;
        }
        let mut at = 0;
        let begun = self.side(direction).begun;
        if !begun && direction == Direction::ToServer {
            let count = bytes.len().min(MAGIC.len());
            if bytes.get(..count) != MAGIC.get(..count) {
                event(TxId::NONE, direction, event::CLIENT_MAGIC, out);
                return Err(Broken);
            }
            if count < MAGIC.len() {
                // Asked with each byte: what is no preface is known as soon as for any other cut.
                return Ok(Taken::until(0, count + 1));
            }
            at = count;
        }
        self.side(direction).begun = true;
        // Every turn takes a byte of a body or a head at least, or returns.
        loop {
            at += self.pass(bytes.get(at..).unwrap_or(&[]), direction, out);
            let rest = bytes.get(at..).unwrap_or(&[]);
            if rest.is_empty() {
                return Ok(Taken::all(at));
            }
            let Some(frame) = Frame::read(rest) else {
                return Ok(Taken::until(at, HEAD));
            };
            if frame.kind == kind::DATA {
                let padded = usize::from(frame.flags & flag::PADDED != 0 && frame.length > 0);
                let Some(head) = rest.get(..HEAD + padded) else {
                    return Ok(Taken::until(at, HEAD + padded));
                };
                self.shown[direction.index()].begin(head, direction, out);
                self.begin_data(&frame, head.get(HEAD).copied(), direction, out);
                at += HEAD + padded;
                continue;
            }
            if frame.length > FRAME_MAX {
                event(TxId::NONE, direction, event::LONG_FRAME, out);
                self.side(direction).skip = frame.length as u32;
                at += HEAD;
                continue;
            }
            let Some(body) = rest.get(HEAD..HEAD + frame.length) else {
                return Ok(Taken::until(at, HEAD + frame.length));
            };
            let whole = rest.get(..HEAD + frame.length).unwrap_or(rest);
            shown::show(whole, direction, out);
            self.frame(&frame, body, direction, out);
            at += HEAD + frame.length;
        }
    }

    /// Bytes may be missing where they would only grow a body or be passed over.
    fn gap(&mut self, gap: u32, direction: Direction) -> Result<(), Broken> {
        let side = self.side(direction);
        let mut left = gap;
        for part in [&mut side.data, &mut side.padding, &mut side.skip] {
            let count = left.min(*part);
            *part -= count;
            left -= count;
        }
        if left > 0 { Err(Broken) } else { Ok(()) }
    }

    /// Takes what belongs to a frame that has begun: body, padding, what is passed over.
    fn pass(&mut self, bytes: &[u8], direction: Direction, out: &mut Output<'_>) -> usize {
        let side = self.side(direction);
        let in_frame = side.data > 0 || side.padding > 0;
        let count = (side.data as usize).min(bytes.len());
        side.data -= count as u32;
        let stream = side.data_stream;
        let (body, rest) = bytes.split_at_checked(count).unwrap_or((bytes, &[]));
        let padding = (side.padding as usize).min(rest.len());
        side.padding -= padding as u32;
        let skip = (side.skip as usize).min(rest.len() - padding);
        side.skip -= skip as u32;
        let over = in_frame && side.data == 0 && side.padding == 0;
        let ends = over && side.data_ends;
        if !body.is_empty() {
            self.streams.grow(stream, direction, body, out);
        }
        if ends {
            self.streams.close(stream, direction, out);
        }
        let taken = count + padding + skip;
        let side = self.side(direction);
        let over = side.data == 0 && side.padding == 0 && side.skip == 0;
        self.shown[direction.index()].grow(bytes.get(..taken).unwrap_or(bytes), over, out);
        taken
    }

    fn begin_data(
        &mut self,
        frame: &Frame,
        padding: Option<u8>,
        direction: Direction,
        out: &mut Output<'_>,
    ) {
        let padding = match padding {
            Some(padding) if frame.flags & flag::PADDED != 0 => usize::from(padding) + 1,
            _ => 0,
        };
        // Longer padding than frame is an error of the connection (RFC 9113 6.1); all is body then.
        let tail = if padding <= frame.length {
            padding
        } else {
            1.min(frame.length)
        };
        let found = self.find(frame.stream, frame.kind, direction, out);
        let Some(stream) = found.filter(|stream| stream.id != 0) else {
            let tx = found.map_or(TxId::NONE, |stream| stream.tx);
            if frame.stream == 0 {
                event(tx, direction, event::DATA_STREAM_ZERO, out);
            }
            out.complete(tx);
            self.side(direction).skip = (frame.length - tail.min(1)) as u32;
            return;
        };
        number(
            stream.tx,
            Field::Http2Frametype,
            direction,
            u64::from(frame.kind),
            out,
        );
        let ends = frame.flags & flag::END_STREAM != 0;
        let side = self.side(direction);
        side.data = (frame.length - tail) as u32;
        side.padding = tail.saturating_sub(1) as u32;
        side.data_stream = frame.stream;
        side.data_ends = ends;
        let empty = side.data == 0 && side.padding == 0;
        self.streams.meet_data(frame.stream, direction, out);
        if ends && empty {
            self.streams.close(frame.stream, direction, out);
        }
    }

    /// The stream of a frame; a new one if need be. One with number 0 is not kept: it is of the
    /// connection itself, or of a stream that has ended.
    fn find(
        &mut self,
        id: u32,
        kind: u8,
        direction: Direction,
        out: &mut Output<'_>,
    ) -> Option<Stream> {
        if id == 0 {
            return Some(Stream::new(0, open(0, out)));
        }
        if let Some((stream, frames)) = self.streams.meet(id, direction, out.heap()) {
            if frames == 1 {
                reach(stream.tx, direction, Reached::Started, out);
            }
            if frames == out.shared.limits.parsers.number(Number::Http2Frames) + 1 {
                event(stream.tx, direction, event::TOO_MANY_FRAMES, out);
            }
            return Some(stream);
        }
        let tx = open(id, out);
        if self.streams.is_past(id) {
            if matches!(kind, kind::DATA | kind::HEADERS) {
                event(tx, direction, event::STREAM_REUSE, out);
            }
            return Some(Stream::new(0, tx));
        }
        let stream = Stream::new(id, tx).with_frame(direction);
        let most = out.shared.limits.parsers.number(Number::Http2Streams) as usize;
        if !self.streams.add(&stream, most, out.heap()) {
            event(tx, direction, event::TOO_MANY_STREAMS, out);
            out.complete(tx);
            return None;
        }
        reach(tx, direction, Reached::Started, out);
        Some(stream)
    }

    /// Any frame but DATA, complete.
    fn frame(&mut self, frame: &Frame, body: &[u8], direction: Direction, out: &mut Output<'_>) {
        if frame.kind == kind::SETTINGS && frame.length == 0 {
            return;
        }
        let id = match frame.kind {
            // The promised stream is the one that it is about.
            kind::PUSH_PROMISE => promised(frame, body).unwrap_or(frame.stream),
            kind::CONTINUATION if self.side(direction).block_stream != 0 => {
                self.side(direction).block_stream
            }
            _ => frame.stream,
        };
        let Some(stream) = self.find(id, frame.kind, direction, out) else {
            return;
        };
        let tx = stream.tx;
        let of_connection = matches!(
            frame.kind,
            kind::SETTINGS | kind::WINDOW_UPDATE | kind::PING | kind::GOAWAY
        );
        if frame.stream == 0 && !of_connection {
            // RFC 9113 6: such a frame belongs to a stream.
            event(tx, direction, event::FRAME_HEADER, out);
        }
        number(
            tx,
            Field::Http2Frametype,
            direction,
            u64::from(frame.kind),
            out,
        );
        let mut reader = Reader::new(body);
        match frame.kind {
            kind::HEADERS | kind::PUSH_PROMISE | kind::CONTINUATION => {
                self.block(frame, body, &stream, direction, out);
            }
            kind::PRIORITY => {
                let weight = body.get(4).filter(|_| body.len() == 5);
                told(tx, Field::Http2Priority, direction, weight.copied(), out);
            }
            kind::RST_STREAM => {
                let code = reader.u32().filter(|_| body.len() == 4);
                told(tx, Field::Http2Errorcode, direction, code, out);
                self.streams.reset(id, out);
            }
            kind::GOAWAY => {
                let code = reader.u32().and_then(|_| reader.u32());
                told(tx, Field::Http2Errorcode, direction, code, out);
            }
            kind::WINDOW_UPDATE => {
                let size = reader.u32().filter(|_| body.len() == 4);
                let size = size.map(|size| size & 0x7fff_ffff);
                told(tx, Field::Http2Window, direction, size, out);
            }
            kind::SETTINGS => settings(tx, body, direction, out),
            _ => {}
        }
        if stream.id == 0 {
            if frame.stream == 0 {
                reach_global(tx, direction, out);
            }
            out.complete(tx);
        }
    }

    /// A header block, or a part of one.
    fn block(
        &mut self,
        frame: &Frame,
        body: &[u8],
        stream: &Stream,
        direction: Direction,
        out: &mut Output<'_>,
    ) {
        let tx = stream.tx;
        let Some((weight, part)) = block_of(frame, body) else {
            event(tx, direction, event::FRAME_LENGTH, out);
            return;
        };
        if let Some(weight) = weight {
            number(tx, Field::Http2Priority, direction, u64::from(weight), out);
        }
        let ended = frame.flags & flag::END_HEADERS != 0;
        let side = &mut self.sides[direction.index()];
        let first = frame.kind != kind::CONTINUATION;
        if first && ended {
            let read = self.decode(part, direction, out);
            self.headers(read, frame.flags, stream, direction, out);
            return;
        }
        if first {
            out.shared.heap.clear(&mut side.block);
            side.block_stream = stream.id;
            side.block_flags = frame.flags;
        }
        let room = BLOCK_MAX.saturating_sub(side.block.len());
        if part.len() > room {
            event(tx, direction, event::REASSEMBLY_LIMIT, out);
        }
        let part = part.get(..room).unwrap_or(part);
        if !out.shared.heap.append(&mut side.block, part) {
            out.shared.lost += 1;
        }
        if !ended {
            return;
        }
        let flags = side.block_flags;
        side.block_stream = 0;
        let block = std::mem::take(&mut side.block);
        let mut whole = std::mem::take(&mut out.shared.scratch);
        whole.clear();
        whole.extend_from_slice(out.shared.heap.get(&block));
        out.shared.heap.free(block);
        let read = self.decode(&whole, direction, out);
        out.shared.scratch = whole;
        self.headers(read, flags, stream, direction, out);
    }

    /// Reads a block into the second buffer of the lane: what was wrong, and a new size of the
    /// table.
    fn decode(
        &mut self,
        block: &[u8],
        direction: Direction,
        out: &mut Output<'_>,
    ) -> (u8, Option<u64>) {
        let side = &mut self.sides[direction.index()];
        let mut size = None;
        let faults = hpack::decode(
            &mut side.table,
            &mut out.shared.heap,
            block,
            &mut out.shared.scratch2,
            |new| size = Some(size.unwrap_or(0).max(new)),
        );
        (faults, size)
    }

    /// Tells what was read.
    fn headers(
        &mut self,
        (faults, size): (u8, Option<u64>),
        flags: u8,
        stream: &Stream,
        direction: Direction,
        out: &mut Output<'_>,
    ) {
        let tx = stream.tx;
        if let Some(size) = size {
            number(tx, Field::Http2SizeUpdate, direction, size, out);
        }
        for (bit, place) in [
            (hpack::INVALID, event::HEADER),
            (hpack::OVERFLOW, event::INTEGER_OVERFLOW),
            // What stands behind such a number is not read.
            (hpack::OVERFLOW, event::EXTRA_HEADER),
            (hpack::CUT, event::FRAME_DATA),
            (hpack::FULL, event::REASSEMBLY_LIMIT),
        ] {
            if faults & bit != 0 {
                event(tx, direction, place, out);
            }
        }
        let list = std::mem::take(&mut out.shared.scratch2);
        fields::tell(tx, direction, &list, out);
        let range =
            fields::first(&list, "content-range").filter(|_| direction == Direction::ToClient);
        if range.is_some_and(|range| !fields::is_range(range)) {
            event(tx, direction, event::INVALID_RANGE, out);
        }
        if let Some(encoding) = fields::first(&list, "content-encoding") {
            self.streams.decode_as(stream.id, direction, encoding, out);
        }
        if doh::is_message(&list) {
            self.streams.expect_dns(stream.id, direction, out);
        }
        if doh::question(direction, &list, &mut out.shared.scratch) {
            // The list has served; its buffer is free for the names.
            let message = std::mem::replace(&mut out.shared.scratch, list);
            doh::read(tx, direction, &message, out);
            out.shared.scratch2 = message;
        } else {
            out.shared.scratch2 = list;
        }
        out.progress(tx, direction, Progress::Head);
        reach(tx, direction, Reached::Headers, out);
        if flags & flag::END_STREAM != 0 {
            self.streams.close(stream.id, direction, out);
        }
    }
}

fn number(tx: TxId, field: Field, direction: Direction, number: u64, out: &mut Output<'_>) {
    if out.wants(field) {
        out.number(tx, field, direction, number);
    }
}

/// A number of a frame, or that the frame has no such length.
fn told(
    tx: TxId,
    field: Field,
    direction: Direction,
    value: Option<impl Into<u64>>,
    out: &mut Output<'_>,
) {
    match value {
        Some(value) => number(tx, field, direction, value.into(), out),
        None => event(tx, direction, event::FRAME_LENGTH, out),
    }
}

/// RFC 9113 6.5: an identifier and a value each, told as one number.
fn settings(tx: TxId, body: &[u8], direction: Direction, out: &mut Output<'_>) {
    let mut reader = Reader::new(body);
    while let (Some(id), Some(value)) = (reader.u16(), reader.u32()) {
        let setting = u64::from(id) << 32 | u64::from(value);
        number(tx, Field::Http2Settings, direction, setting, out);
    }
    if !body.len().is_multiple_of(6) {
        event(tx, direction, event::FRAME_DATA, out);
    }
}

/// The stream that a server promises.
fn promised(frame: &Frame, body: &[u8]) -> Option<u32> {
    let mut reader = Reader::new(body);
    if frame.flags & flag::PADDED != 0 {
        reader.u8()?;
    }
    Some(reader.u32()? & 0x7fff_ffff)
}

/// Weight and header block of a frame, without padding.
fn block_of<'a>(frame: &Frame, body: &'a [u8]) -> Option<(Option<u8>, &'a [u8])> {
    let mut reader = Reader::new(body);
    let first = frame.kind != kind::CONTINUATION;
    let padding = if first && frame.flags & flag::PADDED != 0 {
        usize::from(reader.u8()?)
    } else {
        0
    };
    let mut weight = None;
    if frame.kind == kind::HEADERS && frame.flags & flag::PRIORITY != 0 {
        reader.u32()?;
        weight = Some(reader.u8()?);
    }
    if frame.kind == kind::PUSH_PROMISE {
        reader.u32()?;
    }
    let length = reader.len().checked_sub(padding)?;
    Some((weight, reader.take(length)?))
}

/// Begins the transaction of a stream.
fn open(stream: u32, out: &mut Output<'_>) -> TxId {
    let tx = out.open();
    out.number_for_events(
        tx,
        Field::Http2StreamId,
        Direction::ToServer,
        u64::from(stream),
    );
    tx
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, run, same_for_every_cut, shake};
    use super::*;
    use Direction::{ToClient, ToServer};

    const PLACE: Place = Place {
        transport: Transport::Tcp,
        server_port: 80,
    };

    fn frame(kind: u8, flags: u8, stream: u32, body: &[u8]) -> Vec<u8> {
        let mut out = (body.len() as u32).to_be_bytes()[1..].to_vec();
        out.extend_from_slice(&[kind, flags]);
        out.extend_from_slice(&stream.to_be_bytes());
        out.extend_from_slice(body);
        out
    }

    fn has(lines: &[String], line: &str) {
        assert!(lines.iter().any(|got| got == line), "{line}: {lines:#?}");
    }

    /// The first request of RFC 7541 C.4 with a user agent, and a response with a body.
    #[test]
    fn an_exchange_gives_the_fields_of_http() {
        let mut request =
            b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff".to_vec();
        request.extend_from_slice(b"\x0f\x2b\x03me!");
        let (one, two) = request.split_at(7);
        let client = [
            MAGIC.to_vec(),
            frame(kind::SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 0]),
            frame(kind::HEADERS, flag::END_STREAM, 1, one),
            frame(kind::CONTINUATION, flag::END_HEADERS, 1, two),
        ]
        .concat();
        let server = [
            frame(kind::SETTINGS, 0, 0, &[]),
            frame(kind::HEADERS, flag::END_HEADERS, 1, b"\x88\x0f\x27\x02s1"),
            frame(kind::DATA, 0, 1, b"hello, "),
            frame(
                kind::DATA,
                flag::PADDED | flag::END_STREAM,
                1,
                b"\x03world\0\0\0",
            ),
            frame(kind::GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 7]),
        ]
        .concat();
        let talk: &[(Direction, &[u8])] = &[(ToServer, &client), (ToClient, &server)];
        let (protocol, lines) = same_for_every_cut(PLACE, talk);
        assert_eq!(protocol, AppProtocol::Http2);
        for line in [
            "tx 0 ToServer http2.settings 8589934592",
            "tx 1 ToServer http.uri \"/\"",
            "tx 1 ToServer http.method \"GET\"",
            "tx 1 ToServer http.host \"www.example.com\"",
            "tx 1 ToServer http.user_agent \"me!\"",
            "tx 1 ToServer http.request_line \"GET / HTTP/2\\r\\n\"",
            "tx 1 ToServer http.request_header \":authority: www.example.com\"",
            "tx 1 ToClient http.stat_code \"200\"",
            "tx 1 ToClient http.server \"s1\"",
            "tx 1 ToClient file.data \"hello, world\"",
            "tx 2 ToClient http2.errorcode 7",
        ] {
            has(&lines, line);
        }
        shake(PLACE, talk, 400);
    }

    #[test]
    fn what_is_odd_is_an_event() {
        let (_, lines) = run(
            PLACE,
            &[
                (ToServer, MAGIC),
                (ToServer, b"\0\0\x02\x08\0\0\0\0\x01\0\0"),
            ],
        );
        has(
            &lines,
            "tx 0 ToServer app-layer-event Some((\"http2\", \"invalid_frame_length\"))",
        );
        let userinfo = frame(kind::HEADERS, 4, 1, b"\x01\x05a@b:1\x0f\x17\x01c");
        let (_, lines) = run(PLACE, &[(ToServer, MAGIC), (ToServer, &userinfo)]);
        has(
            &lines,
            "tx 0 ToServer app-layer-event Some((\"http2\", \"userinfo_in_uri\"))",
        );
        has(
            &lines,
            "tx 0 ToServer app-layer-event Some((\"http2\", \"authority_host_mismatch\"))",
        );
        has(&lines, "tx 0 ToServer http.host \"b\"");
    }

    /// Names of the events of what server and client say.
    fn events(client: &[Vec<u8>], server: &[Vec<u8>]) -> String {
        let client = [&[MAGIC.to_vec()], client].concat().concat();
        let server = server.concat();
        let talk: &[(Direction, &[u8])] = &[(ToServer, &client), (ToClient, &server)];
        let (_, lines) = same_for_every_cut(PLACE, talk);
        let name = |line: &String| Some(line.split("\"http2\", \"").nth(1)?.to_string());
        let names: Vec<String> = lines.iter().filter_map(name).collect();
        names.concat().replace("\"))", " ")
    }

    #[test]
    fn frames_on_no_stream_are_events() {
        let headers = frame(kind::HEADERS, flag::END_HEADERS, 0, b"\x82\x84");
        assert_eq!(events(&[headers], &[]), "invalid_frame_header ");
        let settings = frame(kind::SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 0]);
        assert_eq!(events(&[settings], &[]), "");
    }

    /// Frames of an unknown type on one stream, without a rule that asks for frames.
    #[test]
    fn too_many_frames_of_a_stream_are_an_event() {
        let begin = frame(kind::HEADERS, flag::END_HEADERS, 1, b"\x82\x84");
        let unknown = frame(0x20, 0, 1, &[]);
        let most = 65_536;
        let told = |count: usize| {
            let client = [MAGIC.to_vec(), begin.clone(), unknown.repeat(count)].concat();
            let apps = super::super::testing::apps_for(&[Field::AppLayerEvent]);
            let lines = super::super::testing::run_in(PLACE, &[(ToServer, &client)], apps);
            lines.iter().any(|line| line.contains("too_many_frames"))
        };
        assert!(!told(most - 1) && told(most));
    }

    #[test]
    fn settings_say_how_many_streams_and_frames_are_too_many() {
        let begin = |stream: u32| frame(kind::HEADERS, flag::END_HEADERS, stream, b"\x82\x84");
        let told = |key: &str, value: &str, frames: &[Vec<u8>]| {
            let key = format!("app-layer.protocols.http2.{key}");
            let client = [MAGIC.to_vec(), frames.concat()].concat();
            let run = super::super::testing::run_missing;
            run(PLACE, &[(&key, value)], &[(ToServer, 0, &client)]).join("\n")
        };
        let frames = [begin(1), frame(0x20, 0, 1, &[]), frame(0x20, 0, 1, &[])];
        assert!(!told("max-frames", "3", &frames).contains("too_many_frames"));
        assert!(told("max-frames", "2", &frames).contains("too_many_frames"));
        let streams = [begin(1), begin(3), begin(5)];
        assert!(!told("max-streams", "3", &streams).contains("too_many_streams"));
        assert!(told("max-streams", "2", &streams).contains("too_many_streams"));
    }

    /// Both sides' frames after RST_STREAM are of the stream, as far as it is remembered.
    #[test]
    fn what_comes_behind_a_reset_is_of_the_stream() {
        let request = frame(kind::HEADERS, 5, 1, b"\x82\x84");
        let reset = |stream: u32| frame(kind::RST_STREAM, 0, stream, &[0, 0, 0, 8]);
        let answer = frame(kind::HEADERS, flag::END_HEADERS, 1, b"\x88");
        let body = frame(kind::DATA, flag::END_STREAM, 1, b"late");
        let client = [MAGIC.to_vec(), request.clone(), reset(1), reset(1)].concat();
        let server = [answer.clone(), body].concat();
        let (_, lines) = same_for_every_cut(PLACE, &[(ToServer, &client), (ToClient, &server)]);
        has(&lines, "tx 0 ToClient http.stat_code \"200\"");
        has(&lines, "tx 0 ToClient file.data \"late\"");
        assert!(!lines.iter().any(|line| line.contains("stream_id_reuse")));
        // The first of too many is forgotten.
        let mut many = Vec::new();
        for stream in 0..40 {
            many.push(frame(kind::HEADERS, 5, 2 * stream + 1, b"\x82\x84"));
            many.push(reset(2 * stream + 1));
        }
        let client = [MAGIC.to_vec(), many.concat()].concat();
        let run = super::super::testing::run;
        let (_, lines) = run(PLACE, &[(ToServer, &client), (ToClient, &answer)]);
        assert!(lines.iter().any(|line| line.contains("stream_id_reuse")));
    }

    #[test]
    fn what_cannot_be_decoded_and_wrong_ranges_are_events() {
        let request = frame(kind::HEADERS, 5, 1, b"\x82\x84");
        let head = |name: u8, value: &[u8]| {
            // `:status: 200`, and a header of the static table.
            let block = [&[0x88, 0x0f, name - 15, value.len() as u8], value].concat();
            frame(kind::HEADERS, flag::END_HEADERS, 1, &block)
        };
        let (range, encoding) = (30, 26);
        let body = |bytes: &[u8]| frame(kind::DATA, flag::END_STREAM, 1, bytes);
        let asked = std::slice::from_ref(&request);
        assert_eq!(
            events(asked, &[head(range, b"bytes 0-4/10"), body(b"01234")]),
            ""
        );
        let wrong = [head(range, b"bytes 9-4/10"), body(b"01234")];
        assert_eq!(events(asked, &wrong), "invalid_range ");
        let packed = [head(encoding, b"gzip"), body(b"\xff\xff\xff\xff\xff\xff")];
        assert_eq!(events(asked, &packed), "failed_decompression ");
        let plain = [head(encoding, b"identity"), body(b"\xff\xff")];
        assert_eq!(events(asked, &plain), "");
    }

    #[test]
    fn a_number_without_end_leaves_the_rest_unread() {
        let block = [
            b"\x82".as_slice(),
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ]
        .concat();
        let told = events(&[frame(kind::HEADERS, flag::END_HEADERS, 1, &block)], &[]);
        assert_eq!(told, "header_integer_overflow extra_header_data ");
    }

    #[test]
    fn streams_beyond_the_bound_are_events_and_cost_nothing() {
        let mut client = MAGIC.to_vec();
        for stream in 0..2000u32 {
            client.extend(frame(
                kind::HEADERS,
                flag::END_HEADERS,
                2 * stream + 1,
                b"\x82\x84",
            ));
        }
        let (_, lines) = run(PLACE, &[(ToServer, &client)]);
        assert!(lines.len() < 100_000);
    }
}
