//! Responses: which request one belongs to, and where it ends (RFC 9112 sections 4, 6 and 7), read
//! as leniently as browsers do: what they would show is what rules should see. What the heads say is
//! made into fields by fields.rs, bodies go to body.rs.
//!
//! ```text
//!  Start ─► Line ─► Head ─► Length, Stream, ChunkLength ─► ChunkData ─► ChunkEnd ... Trailer ─► Finalize
//! ```

use super::super::field::{Field, Progress};
use super::super::output::{Output, TxId};
use super::super::protocol::{AppProtocol, Input};
use super::body::{Body, Whose};
use super::event::Event;
use super::exchange::{Connect, Exchange, Frame, HEAD_MAX, Method, Search, Waiting};
use super::head::Outcome;
use super::line::{
    ChunkLine, StatusLine, Version, at_hand, chomp, chunk_length, contains, content_length,
    is_status_line, may_be_chunk_length, status_line,
};
use super::multipart::find_token;
use super::request::Request;
use super::settings::Tools;
use super::{Next, fields};
use crate::packet::Direction::{ToClient, ToServer};

/// What rules see as the target of a request that was not seen.
const NOT_SEEN: &[u8] = b"/libhtp::request_uri_not_seen";

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    #[default]
    Start,
    Line,
    Head,
    /// A body of known length.
    Length,
    /// A body up to the end of the stream.
    Stream,
    ChunkLength,
    ChunkData,
    ChunkEnd,
    Trailer,
    Finalize,
    /// Nothing that follows is of interest.
    Ignore,
}

/// The server's side of a connection.
#[derive(Debug, Default)]
pub(super) struct Response {
    state: State,
    of: Waiting,
    seen_continue: bool,
    /// After a gap: lines are passed over until one looks like a status line.
    lost: bool,
    /// A file has been prepared for the body.
    prepared: bool,
    code: u16,
    line: u32,
    search: Search,
    left: u64,
    /// A response was complete before; these bytes follow one.
    after: bool,
    stray: bool,
    /// Its length was told in a doubtful way.
    doubtful: bool,
    body: Body,
    frame: Frame,
    /// What the connection speaks after this response.
    next: Option<AppProtocol>,
    tunnel: bool,
}

/// What goes on beside the response.
pub(super) struct Beside<'a> {
    pub tools: &'a mut Tools,
    pub exchange: &'a mut Exchange,
    pub request: &'a mut Request,
}

impl Response {
    fn whose(&self) -> Whose {
        Whose {
            tx: self.of.tx,
            direction: ToClient,
        }
    }

    fn event(&self, out: &mut Output<'_>, event: Event) {
        out.event(self.of.tx, ToClient, event.app());
    }

    /// Takes what it can of the input; bytes that it needs no more.
    pub(super) fn parse(
        &mut self,
        beside: &mut Beside<'_>,
        input: &Input<'_>,
        out: &mut Output<'_>,
    ) -> usize {
        if input.gap > 0 {
            self.gap(beside.tools, out, u64::from(input.gap));
        }
        let mut at = 0;
        // Every step takes a byte or comes to another state, which happens at most twice between.
        for _ in 0..3 * input.bytes.len() + 16 {
            let rest = input.bytes.get(at..).unwrap_or(&[]);
            match self.step(beside, out, rest, input.end) {
                Next::Go(count) => {
                    self.frame.grow(out, rest.get(..count).unwrap_or(&[]));
                    at += count;
                }
                Next::Wait => break,
            }
            if self.tunnel || self.next.is_some() {
                break;
            }
        }
        if let Some(next) = self.next.take() {
            if out.change_protocol(next) {
                return at;
            }
            self.event(out, Event::FailedProtocolChange);
            self.tunnel = true;
        }
        if self.tunnel {
            out.done();
            return input.bytes.len();
        }
        if input.end {
            self.finish(beside.tools, out);
        }
        at
    }

    fn step(
        &mut self,
        beside: &mut Beside<'_>,
        out: &mut Output<'_>,
        rest: &[u8],
        end: bool,
    ) -> Next {
        match self.state {
            State::Start => self.start(beside, out, rest),
            State::Line => self.status_line(beside, out, rest, end),
            State::Head => self.head(beside, out, rest, end),
            State::Length => self.length(beside.tools, out, rest),
            State::Stream => self.stream(beside.tools, out, rest),
            State::ChunkLength => self.chunk_length(beside.tools, out, rest),
            State::ChunkData => self.chunk_data(beside.tools, out, rest),
            State::ChunkEnd => self.chunk_end(rest),
            State::Trailer => self.trailer(beside.tools, out, rest, end),
            State::Finalize if self.doubtful => self.finalize(beside, out, rest, end),
            State::Finalize => self.complete(beside, out),
            State::Ignore if rest.is_empty() => Next::Wait,
            State::Ignore => Next::Go(rest.len()),
        }
    }

    fn start(&mut self, beside: &mut Beside<'_>, out: &mut Output<'_>, rest: &[u8]) -> Next {
        if rest.is_empty() {
            return Next::Wait;
        }
        if self.lost {
            let word = rest.get(..5.min(rest.len())).unwrap_or(&[]);
            if !b"HTTP/".starts_with(word) {
                let line = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
                return Next::Go(line);
            }
            if word.len() < 5 {
                return Next::Wait;
            }
            self.lost = false;
        }
        // Behind a response that has ended, only a status line answers the next request.
        let begins = b"HTTP/".starts_with(rest.get(..5).unwrap_or(rest));
        let blank = matches!(rest.first(), Some(b'\r' | b'\n'));
        if self.after && begins && rest.len() < 5 {
            return Next::Wait;
        }
        if self.after && blank {
            return Next::Go(1);
        }
        let unexpected = std::mem::take(&mut self.after) && !begins;
        let waiting = match unexpected {
            false => beside.exchange.pop(&mut out.shared.heap),
            true => None,
        };
        self.of = match waiting {
            Some(waiting) => waiting,
            None => self.without_request(out),
        };
        self.stray = unexpected;
        if unexpected {
            self.event(out, Event::ResponseBodyUnexpected);
        }
        if beside.request.in_line() && beside.request.tx() == self.of.tx {
            self.event(out, Event::RequestLineIncomplete);
        }
        self.body
            .reset(&mut beside.tools.codings, &mut out.shared.heap);
        (self.seen_continue, self.prepared, self.code) = (false, false, 0);
        self.doubtful = false;
        self.frame.begin(out, Field::FrameHttp1Response, ToClient);
        self.state = if self.of.old {
            State::Stream
        } else {
            State::Line
        };
        Next::Go(0)
    }

    fn without_request(&mut self, out: &mut Output<'_>) -> Waiting {
        let tx = out.open();
        if out.wants(Field::HttpUriRaw) {
            out.field(tx, Field::HttpUriRaw, ToServer, NOT_SEEN);
        }
        if out.wants(Field::FileName) {
            out.field(tx, Field::HttpPath, ToServer, NOT_SEEN);
        }
        out.progress(tx, ToServer, Progress::Complete);
        out.event(tx, ToClient, Event::UnableToMatchResponseToRequest.app());
        Waiting {
            tx,
            ..Waiting::default()
        }
    }

    fn status_line(
        &mut self,
        beside: &mut Beside<'_>,
        out: &mut Output<'_>,
        rest: &[u8],
        end: bool,
    ) -> Next {
        let limit = beside.tools.settings.line;
        let line = match line_end(rest) {
            Some(line) => line,
            None if end && !rest.is_empty() => rest.len(),
            None if rest.len() <= limit => return Next::Wait,
            None => usize::MAX,
        };
        if line > limit {
            return self.give_up(out, Event::ResponseFieldTooLong);
        }
        let (text, after) = rest.split_at(line);
        if matches!(text, b"\r\n" | b"\n" | b"\r") {
            return Next::Go(line);
        }
        if is_status_line(text) {
            if self.stray {
                return self.complete(beside, out);
            }
            self.line = line as u32;
            self.search = Search::default();
            self.state = State::Head;
            return Next::Go(0);
        }
        // What follows decides, so it must be there: the cut of the bytes must not.
        if after.len() < 2 && !end {
            return Next::Wait;
        }
        let next_is_line = after.first() == Some(&b'H') || chomp(text).len() <= 2;
        if after.len() > 1 && next_is_line {
            return Next::Go(line);
        }
        // Browsers show what has no status line as a body.
        self.body.decode_no_more(beside.tools);
        self.take_body(beside.tools, out, text);
        if after.is_empty() {
            self.state = State::Finalize;
        }
        Next::Go(line)
    }

    /// Bytes of the body; the file begins with the first.
    fn take_body(&mut self, tools: &mut Tools, out: &mut Output<'_>, bytes: &[u8]) {
        if !std::mem::replace(&mut self.prepared, true) {
            self.name_by_path(out);
        }
        let whose = self.whose();
        self.body.push(tools, out, whose, bytes);
    }

    /// The file is named after the request's path.
    fn name_by_path(&mut self, out: &mut Output<'_>) {
        let mut name = std::mem::take(&mut out.shared.scratch);
        name.clear();
        let path = out.value(self.of.tx, Field::HttpPath, ToServer);
        name.extend_from_slice(path.unwrap_or(b""));
        self.body.as_file(out, &name);
        out.shared.scratch = name;
    }

    fn head(
        &mut self,
        beside: &mut Beside<'_>,
        out: &mut Output<'_>,
        rest: &[u8],
        end: bool,
    ) -> Next {
        let (line, headers) = rest.split_at((self.line as usize).min(rest.len()));
        let found = match self
            .search
            .run(&mut beside.tools.head, headers, ToClient, end)
        {
            Outcome::End(found) => found,
            Outcome::More
                if rest.len() > HEAD_MAX || self.search.open() > beside.tools.settings.line =>
            {
                return self.give_up(out, Event::ResponseFieldTooLong);
            }
            Outcome::More => return Next::Wait,
            Outcome::TooMany => return self.give_up(out, Event::ResponseTooManyHeaders),
        };
        let raw = headers.get(..found).unwrap_or(&[]);
        let tx = self.of.tx;
        let parsed = status_line(line, |event| out.event(tx, ToClient, event.app()));
        self.code = parsed.code;
        if self.is_interim(beside.tools, out, raw) {
            self.state = State::Line;
            return Next::Go(line.len() + found);
        }
        fields::response(out, beside.tools, tx, &parsed, raw);
        self.state = self.framing(beside, out, &parsed, raw);
        self.prepare_body(beside.tools, out, raw);
        out.progress(tx, ToClient, Progress::Head);
        Next::Go(line.len() + found)
    }

    /// Whether it is `100 Continue`: another response follows.
    fn is_interim(&mut self, tools: &Tools, out: &mut Output<'_>, raw: &[u8]) -> bool {
        let head = &tools.head;
        let length = head.get(raw, b"content-length").and_then(content_length);
        let interim = self.code == 100
            && self.of.method != Method::Connect
            && head.get(raw, b"transfer-encoding").is_none()
            && length.is_none_or(|(length, ..)| length == 0);
        if interim && std::mem::replace(&mut self.seen_continue, true) {
            self.event(out, Event::ContinueAlreadySeen);
        }
        interim
    }

    /// How the body is framed: the state that comes next.
    fn framing(
        &mut self,
        beside: &mut Beside<'_>,
        out: &mut Output<'_>,
        line: &StatusLine<'_>,
        raw: &[u8],
    ) -> State {
        let code = self.code;
        if self.of.method == Method::Connect {
            if (200..300).contains(&code) {
                return State::Finalize;
            }
            beside.exchange.connect = Connect::Refused;
        }
        let head = &beside.tools.head;
        let length = head.get(raw, b"content-length");
        let coding = head.get(raw, b"transfer-encoding");
        let framed = length.is_some() || coding.is_some();
        if code == 101 {
            if !framed {
                return self.switch(beside.tools, raw);
            }
            self.event(out, Event::SwitchingProtoWithContentLength);
        }
        if (400..500).contains(&code) {
            beside.request.refused(self.of.tx);
        }
        if self.of.method == Method::Head {
            return State::Finalize;
        }
        if matches!(code, 100..=199 | 204 | 304) {
            if !framed {
                return State::Finalize;
            }
            self.event(out, Event::ResponseBodyUnexpected);
        }
        if let Some(coding) = coding.filter(|coding| contains(coding, b"chunked")) {
            if !coding.eq_ignore_ascii_case(b"chunked") {
                self.event(out, Event::ResponseAbnormalTransferEncoding);
            }
            if line.version < Version::V11 {
                self.event(out, Event::ResponseChunkedOldProto);
            }
            return State::ChunkLength;
        }
        let Some(length) = length else {
            let kind = head.get(raw, b"content-type");
            if kind.is_some_and(|kind| contains(kind, b"multipart/byteranges")) {
                self.event(out, Event::ResponseMultipartByteranges);
            }
            return State::Stream;
        };
        self.known_length(out, length)
    }

    fn known_length(&mut self, out: &mut Output<'_>, value: &[u8]) -> State {
        let Some((number, before, after)) = content_length(value) else {
            self.event(out, Event::InvalidContentLengthFieldInResponse);
            return State::Ignore;
        };
        if before {
            self.event(out, Event::ContentLengthExtraDataStart);
        }
        if after {
            self.event(out, Event::ContentLengthExtraDataEnd);
        }
        self.doubtful = before || after;
        self.left = number;
        if number == 0 {
            State::Finalize
        } else {
            State::Length
        }
    }

    /// `101 Switching Protocols` without a body.
    fn switch(&mut self, tools: &Tools, raw: &[u8]) -> State {
        let upgrade = tools.head.get(raw, b"upgrade").unwrap_or(b"");
        if upgrade == b"h2c" {
            self.next = Some(AppProtocol::Http2);
        } else if upgrade.eq_ignore_ascii_case(b"websocket") {
            self.next = Some(AppProtocol::Websocket);
        } else {
            self.tunnel = true;
        }
        State::Ignore
    }

    fn prepare_body(&mut self, tools: &mut Tools, out: &mut Output<'_>, raw: &[u8]) {
        let whose = self.whose();
        if self.next.is_some() || self.tunnel {
            out.progress(whose.tx, ToServer, Progress::Complete);
            out.progress(whose.tx, ToClient, Progress::Complete);
        }
        let body = matches!(
            self.state,
            State::Length | State::Stream | State::ChunkLength | State::Finalize
        );
        if !body {
            return;
        }
        let coding = tools.head.get(raw, b"content-encoding");
        if coding.is_some() || tools.settings.swf.is_on() {
            let value = coding.unwrap_or(b"");
            let mut kept = std::mem::take(&mut out.shared.scratch2);
            kept.clear();
            kept.extend_from_slice(value);
            self.body.decode_as(tools, out, whose, &kept);
            out.shared.scratch2 = kept;
        }
        if self.prepared {
            return;
        }
        self.prepared = true;
        self.name_by_path(out);
        if let Some(value) = tools.head.get(raw, b"content-disposition")
            && out.wants(Field::FileName)
        {
            let mut name = std::mem::take(&mut out.shared.scratch2);
            name.clear();
            if find_token(value, b"filename", &mut name) {
                self.body.as_file(out, &name);
            }
            out.shared.scratch2 = name;
        }
    }

    /// Takes what is at hand of the bytes that are left of a body or a chunk; `None` if nothing is.
    fn take_left(&mut self, tools: &mut Tools, out: &mut Output<'_>, rest: &[u8]) -> Option<usize> {
        let taken = at_hand(self.left, rest)?;
        self.take_body(tools, out, taken);
        self.left -= taken.len() as u64;
        Some(taken.len())
    }

    fn length(&mut self, tools: &mut Tools, out: &mut Output<'_>, rest: &[u8]) -> Next {
        let Some(count) = self.take_left(tools, out, rest) else {
            return Next::Wait;
        };
        if self.left == 0 {
            let whose = self.whose();
            self.body.close_coding(tools, out, whose);
            self.state = State::Finalize;
        }
        Next::Go(count)
    }

    fn stream(&mut self, tools: &mut Tools, out: &mut Output<'_>, rest: &[u8]) -> Next {
        if rest.is_empty() {
            return Next::Wait;
        }
        self.take_body(tools, out, rest);
        Next::Go(rest.len())
    }

    fn chunk_length(&mut self, tools: &mut Tools, out: &mut Output<'_>, rest: &[u8]) -> Next {
        if !may_be_chunk_length(rest) {
            self.event(out, Event::InvalidResponseChunkLen);
            self.state = State::Stream;
            return Next::Go(0);
        }
        let Some(end) = memchr::memchr(b'\n', rest) else {
            if rest.len() > tools.settings.line {
                return self.give_up(out, Event::ResponseFieldTooLong);
            }
            return Next::Wait;
        };
        let line = rest.get(..=end).unwrap_or(&[]);
        match chunk_length(line) {
            ChunkLine::Nothing => {}
            ChunkLine::Invalid => {
                self.event(out, Event::InvalidResponseChunkLen);
                self.state = State::Stream;
                return Next::Go(0);
            }
            ChunkLine::Length(length, extension) => {
                if extension {
                    self.event(out, Event::ResponseChunkExtension);
                }
                self.left = length;
                self.search = Search::default();
                self.state = if length == 0 {
                    State::Trailer
                } else {
                    State::ChunkData
                };
            }
        }
        Next::Go(line.len())
    }

    fn chunk_data(&mut self, tools: &mut Tools, out: &mut Output<'_>, rest: &[u8]) -> Next {
        let Some(count) = self.take_left(tools, out, rest) else {
            return Next::Wait;
        };
        if self.left == 0 {
            self.state = State::ChunkEnd;
        }
        Next::Go(count)
    }

    fn chunk_end(&mut self, rest: &[u8]) -> Next {
        match memchr::memchr(b'\n', rest) {
            Some(end) => {
                self.state = State::ChunkLength;
                Next::Go(end + 1)
            }
            None if rest.is_empty() => Next::Wait,
            None => Next::Go(rest.len()),
        }
    }

    fn trailer(&mut self, tools: &mut Tools, out: &mut Output<'_>, rest: &[u8], end: bool) -> Next {
        let found = match self.search.run(&mut tools.head, rest, ToClient, end) {
            Outcome::End(found) => found,
            Outcome::More if rest.len() > HEAD_MAX || self.search.open() > tools.settings.line => {
                return self.give_up(out, Event::ResponseFieldTooLong);
            }
            Outcome::More => return Next::Wait,
            Outcome::TooMany => return self.give_up(out, Event::ResponseTooManyHeaders),
        };
        if tools.head.len() > 0 {
            let raw = rest.get(..found).unwrap_or(&[]);
            fields::trailers(out, &tools.head, self.whose(), raw);
        }
        self.state = State::Finalize;
        Next::Go(found)
    }

    /// Behind a body whose length was told in a doubtful way (`34 68`) more of it may come, up to a
    /// status line or the end.
    fn finalize(
        &mut self,
        beside: &mut Beside<'_>,
        out: &mut Output<'_>,
        rest: &[u8],
        end: bool,
    ) -> Next {
        if rest.is_empty() && !end {
            return Next::Wait;
        }
        if rest.is_empty() || is_status_line(rest) {
            return self.complete(beside, out);
        }
        let limit = beside.tools.settings.line;
        let line = match memchr::memchr(b'\n', rest) {
            Some(at) => at + 1,
            None if end => rest.len(),
            None if rest.len() <= limit => return Next::Wait,
            None => return self.give_up(out, Event::ResponseFieldTooLong),
        };
        self.event(out, Event::ResponseBodyUnexpected);
        self.take_body(beside.tools, out, rest.get(..line).unwrap_or(&[]));
        Next::Go(line)
    }

    /// Other responses end with the bytes that they announced; what follows is told by `start`: the
    /// end of a piece must not decide.
    fn complete(&mut self, beside: &mut Beside<'_>, out: &mut Output<'_>) -> Next {
        let whose = self.whose();
        self.body.end(beside.tools, out, whose);
        self.frame.complete(out);
        out.progress(whose.tx, ToClient, Progress::Complete);
        if self.of.method == Method::Connect && (200..300).contains(&self.code) {
            out.progress(whose.tx, ToServer, Progress::Complete);
            self.next = Some(AppProtocol::Unknown);
        }
        self.state = State::Start;
        self.of = Waiting::default();
        self.after = true;
        Next::Go(0)
    }

    fn give_up(&mut self, out: &mut Output<'_>, event: Event) -> Next {
        self.event(out, event);
        self.state = State::Ignore;
        Next::Go(0)
    }

    /// Whether what comes behind a gap goes on where the head stopped, as Suricata reads it: a line
    /// has less of its bytes then.
    pub(super) fn bridges(&self) -> bool {
        matches!(self.state, State::Line | State::Head | State::Trailer)
    }

    fn gap(&mut self, tools: &mut Tools, out: &mut Output<'_>, gap: u64) {
        let whose = self.whose();
        match self.state {
            State::Length | State::ChunkData => {
                self.body.gap(tools, out, whose);
                let within = gap <= self.left;
                self.left -= gap.min(self.left);
                if self.left == 0 {
                    let chunk = self.state == State::ChunkData;
                    self.state = if chunk {
                        State::ChunkEnd
                    } else {
                        State::Finalize
                    };
                }
                self.lost |= !within;
            }
            State::Stream => self.body.gap(tools, out, whose),
            State::Start | State::Finalize => self.lost = true,
            State::Line | State::Head | State::Trailer => {
                self.event(out, Event::InvalidGap);
                self.frame.complete(out);
            }
            State::ChunkLength | State::ChunkEnd | State::Ignore => {}
        }
    }

    /// No more bytes will come.
    fn finish(&mut self, tools: &mut Tools, out: &mut Output<'_>) {
        self.frame.complete(out);
        if self.of.tx.is_some() {
            let whose = self.whose();
            self.body.end(tools, out, whose);
            out.progress(whose.tx, ToClient, Progress::Complete);
        }
        self.of.tx = TxId::NONE;
        self.state = State::Ignore;
    }

    /// Gives everything back.
    pub(super) fn release(&mut self, tools: &mut Tools, heap: &mut super::super::heap::Heap) {
        self.body.reset(&mut tools.codings, heap);
    }
}

/// Bytes of the line at the start, with its end: LF, CRLF or CR. None: it has not ended.
fn line_end(bytes: &[u8]) -> Option<usize> {
    let end = memchr::memchr2(b'\r', b'\n', bytes)?;
    match (bytes.get(end), bytes.get(end + 1)) {
        (Some(b'\n'), _) => Some(end + 1),
        (_, Some(b'\n')) => Some(end + 2),
        (_, Some(_)) => Some(end + 1),
        (_, None) => None,
    }
}
