//! Requests: where one ends and the next begins (RFC 9112 sections 3, 6 and 7). What the heads say is
//! made into fields by fields.rs, bodies go to body.rs.
//!
//! ```text
//!  Start ─► Line ─► Head ─► Identity, ChunkLength ─► ChunkData ─► ChunkEnd ... Trailer ─► Finalize
//!     ▲               └► ConnectWait (until the response)                                   │
//!     └──────────────────────────────────────────────────────────────────────────────────────┘
//! ```

use super::super::field::{Field, Progress};
use super::super::output::{Output, TxId};
use super::super::protocol::Input;
use super::body::{Body, Whose};
use super::event::Event;
use super::exchange::{Connect, Exchange, Frame, HEAD_MAX, Method, Search, Waiting};
use super::head::Outcome;
use super::line::{
    ChunkLine, METHODS, RequestLine, Version, at_hand, chunk_length, contains, content_length,
    is_space, may_be_chunk_length, request_line, take,
};
use super::settings::Tools;
use super::{Next, fields};
use crate::packet::Direction::ToServer;

/// White space that may follow a line without a version, if it is HTTP/0.9.
const OLD_SPACE_MAX: usize = 16;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    #[default]
    Start,
    Line,
    Head,
    ConnectWait,
    Identity,
    ChunkLength,
    ChunkData,
    ChunkEnd,
    Trailer,
    Finalize,
    /// Nothing that follows is of interest.
    Ignore,
}

/// The client's side of a connection.
#[derive(Debug, Default)]
pub(super) struct Request {
    state: State,
    tx: TxId,
    method: Method,
    /// The request line had no version.
    old: bool,
    /// The request line has no version and nothing follows it yet.
    versionless: bool,
    /// The server has answered such a line.
    turn_over: bool,
    /// It waits before it sends its body.
    expects: bool,
    /// After a gap: lines are passed over until one looks like a request.
    lost: bool,
    /// Bytes of the request line, with its end.
    line: u32,
    search: Search,
    /// Bytes of the body, or of the chunk, that are to come, and that were to come at first.
    left: u64,
    length: u64,
    had_body: bool,
    /// A request with a body is complete: what follows may belong to it.
    after: bool,
    body: Body,
    frame: Frame,
}

impl Request {
    fn whose(&self) -> Whose {
        Whose {
            tx: self.tx,
            direction: ToServer,
        }
    }

    fn event(&self, out: &mut Output<'_>, event: Event) {
        out.event(self.tx, ToServer, event.app());
    }

    /// Whether its line has not come in full.
    pub(super) fn in_line(&self) -> bool {
        self.state == State::Line
    }

    /// The server speaks; whether the request is to be read first, since that ends a line without a
    /// version.
    pub(super) fn end_turn(&mut self) -> bool {
        let waits = std::mem::take(&mut self.versionless);
        self.turn_over |= waits;
        waits
    }

    /// Transaction of the request at hand.
    pub(super) fn tx(&self) -> TxId {
        self.tx
    }

    /// Takes what it can of the input; bytes that it needs no more.
    pub(super) fn parse(
        &mut self,
        tools: &mut Tools,
        shared: &mut Exchange,
        input: &Input<'_>,
        out: &mut Output<'_>,
    ) -> usize {
        if input.gap > 0 {
            self.gap(tools, out, u64::from(input.gap));
        }
        let mut at = 0;
        // Every step takes a byte or comes to another state, which happens at most twice between.
        for _ in 0..3 * input.bytes.len() + 16 {
            let rest = input.bytes.get(at..).unwrap_or(&[]);
            match self.step(tools, shared, out, rest, input.end) {
                Next::Go(count) => {
                    self.frame.grow(out, rest.get(..count).unwrap_or(&[]));
                    at += count;
                }
                Next::Wait => break,
            }
        }
        if input.end {
            self.finish(tools, out);
        }
        at
    }

    fn step(
        &mut self,
        tools: &mut Tools,
        shared: &mut Exchange,
        out: &mut Output<'_>,
        rest: &[u8],
        end: bool,
    ) -> Next {
        match self.state {
            State::Start => self.start(shared, out, rest),
            State::Line => self.request_line(tools, shared, out, rest, end),
            State::Head => self.head(tools, shared, out, rest, end),
            State::ConnectWait => self.connect_wait(shared),
            State::Identity => self.identity(tools, out, rest),
            State::ChunkLength => self.chunk_length(tools, out, rest),
            State::ChunkData => self.chunk_data(tools, out, rest),
            State::ChunkEnd => self.chunk_end(rest),
            State::Trailer => self.trailer(tools, out, rest, end),
            State::Finalize => self.complete(tools, out),
            State::Ignore if rest.is_empty() => Next::Wait,
            State::Ignore => Next::Go(rest.len()),
        }
    }

    fn start(&mut self, shared: &mut Exchange, out: &mut Output<'_>, rest: &[u8]) -> Next {
        match rest {
            [] | [b'\r'] => return Next::Wait,
            [b'\n', ..] => return Next::Go(1),
            [b'\r', b'\n', ..] => return Next::Go(2),
            _ => {}
        }
        if self.lost {
            match looks_like_request(rest) {
                Some(true) => self.lost = false,
                None => return Next::Wait,
                Some(false) => {
                    let line = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
                    return Next::Go(line);
                }
            }
        }
        let mut unexpected = false;
        if self.after {
            match looks_like_request(rest) {
                None => return Next::Wait,
                Some(known) => unexpected = !known,
            }
        }
        (self.after, self.turn_over) = (false, false);
        self.tx = out.open();
        if unexpected {
            self.event(out, Event::RequestBodyUnexpected);
        }
        let waiting = Waiting {
            tx: self.tx,
            ..Waiting::default()
        };
        shared.push(&mut out.shared.heap, waiting);
        self.frame.begin(out, Field::FrameHttp1Request, ToServer);
        self.state = State::Line;
        self.search = Search::default();
        Next::Go(0)
    }

    fn request_line(
        &mut self,
        tools: &mut Tools,
        shared: &mut Exchange,
        out: &mut Output<'_>,
        rest: &[u8],
        end: bool,
    ) -> Next {
        let line = match memchr::memchr(b'\n', rest) {
            Some(at) => at + 1,
            None if end && !rest.is_empty() => rest.len(),
            None if rest.len() <= tools.settings.line => return Next::Wait,
            None => usize::MAX,
        };
        if line > tools.settings.line {
            return self.give_up(out, Event::RequestFieldTooLong);
        }
        let (text, after) = rest.split_at(line);
        let parsed = request_line(text, |_| {});
        self.line = line as u32;
        self.method = Method::of(parsed.method);
        if parsed.protocol.is_none() {
            let (space, more) = take(after, is_space);
            if more.is_empty() && space.len() <= OLD_SPACE_MAX {
                // Only silence makes it HTTP/0.9: what follows decides, wherever TCP cut it.
                self.versionless = !end && !self.turn_over;
                if self.versionless {
                    return Next::Wait;
                }
                self.old = true;
                self.tell(tools, shared, out, text, &[]);
                self.state = State::Finalize;
                return Next::Go(line);
            }
            self.versionless = false;
            self.event(out, Event::RequestLineMissingProtocol);
        }
        self.state = State::Head;
        Next::Go(0)
    }

    /// Makes the fields of the head; the table of headers has been made.
    fn tell(
        &mut self,
        tools: &mut Tools,
        shared: &mut Exchange,
        out: &mut Output<'_>,
        line: &[u8],
        raw: &[u8],
    ) {
        if raw.is_empty() {
            tools.head.clear();
        }
        let tx = self.tx;
        let line = request_line(line, |event| out.event(tx, ToServer, event.app()));
        let waiting = Waiting {
            tx,
            method: self.method,
            old: self.old,
        };
        shared.update(&mut out.shared.heap, waiting);
        self.framing(tools, out, &line, raw);
        fields::request(out, tools, tx, &line, raw);
        self.prepare_body(tools, out, &line, raw);
    }

    fn head(
        &mut self,
        tools: &mut Tools,
        shared: &mut Exchange,
        out: &mut Output<'_>,
        rest: &[u8],
        end: bool,
    ) -> Next {
        let (line, headers) = rest.split_at((self.line as usize).min(rest.len()));
        let found = match self.search.run(&mut tools.head, headers, ToServer, end) {
            Outcome::End(found) => found,
            Outcome::More if rest.len() > HEAD_MAX || self.search.open() > tools.settings.line => {
                return self.give_up(out, Event::RequestFieldTooLong);
            }
            Outcome::More => return Next::Wait,
            Outcome::TooMany => return self.give_up(out, Event::RequestTooManyHeaders),
        };
        let raw = headers.get(..found).unwrap_or(&[]);
        self.tell(tools, shared, out, line, raw);
        if self.method == Method::Connect {
            shared.connect = Connect::Asked;
            self.state = State::ConnectWait;
        }
        Next::Go(line.len() + found)
    }

    /// How the body is framed; sets the state that comes after the head.
    fn framing(&mut self, tools: &Tools, out: &mut Output<'_>, line: &RequestLine<'_>, raw: &[u8]) {
        let head = &tools.head;
        (self.left, self.length, self.had_body) = (0, 0, true);
        self.state = State::Finalize;
        self.expects = head
            .get(raw, b"expect")
            .is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"));
        let length = head.get(raw, b"content-length");
        if let Some(coding) = head.get(raw, b"transfer-encoding") {
            if contains(coding, b"chunked") {
                if line.version < Version::V11 {
                    self.event(out, Event::InvalidTransferEncodingValueInRequest);
                }
                self.state = State::ChunkLength;
            } else {
                self.event(out, Event::InvalidTransferEncodingValueInRequest);
                self.state = State::Ignore;
            }
            return;
        }
        let Some(length) = length else {
            self.had_body = false;
            return;
        };
        let Some((number, before, after)) = content_length(length) else {
            self.event(out, Event::InvalidContentLengthFieldInRequest);
            self.state = State::Ignore;
            return;
        };
        if before {
            self.event(out, Event::ContentLengthExtraDataStart);
        }
        if after {
            self.event(out, Event::ContentLengthExtraDataEnd);
        }
        if number > 0 {
            (self.left, self.length) = (number, number);
            self.state = State::Identity;
        }
    }

    fn prepare_body(
        &mut self,
        tools: &mut Tools,
        out: &mut Output<'_>,
        line: &RequestLine<'_>,
        raw: &[u8],
    ) {
        let whose = self.whose();
        self.body.reset(&mut tools.codings, &mut out.shared.heap);
        if matches!(self.state, State::Identity | State::ChunkLength) {
            let coding = tools
                .head
                .get(raw, b"content-encoding")
                .map(|v| keep(out, v));
            if coding.is_some() {
                let value = std::mem::take(&mut out.shared.scratch2);
                self.body.decode_as(tools, out, whose, &value);
                out.shared.scratch2 = value;
            }
        }
        let form = self.method == Method::Post
            && tools
                .head
                .get(raw, b"content-type")
                .map(|v| keep(out, v))
                .is_some()
            && {
                let value = std::mem::take(&mut out.shared.scratch2);
                let form = self.body.as_form(tools, out, &value);
                out.shared.scratch2 = value;
                form
            };
        if !form && matches!(self.method, Method::Post | Method::Put) {
            fields::file_name_of_path(out, line.uri, &tools.settings.uri);
            let name = std::mem::take(&mut out.shared.scratch2);
            self.body.as_file(out, &name);
            out.shared.scratch2 = name;
        }
    }

    /// The response decides how the stream goes on.
    fn connect_wait(&mut self, shared: &mut Exchange) -> Next {
        if shared.connect != Connect::Refused {
            return Next::Wait;
        }
        shared.connect = Connect::None;
        self.state = State::Finalize;
        Next::Go(0)
    }

    /// Takes what is at hand of the bytes that are left of a body or a chunk; `None` if nothing is.
    fn take_left(&mut self, tools: &mut Tools, out: &mut Output<'_>, rest: &[u8]) -> Option<usize> {
        let taken = at_hand(self.left, rest)?;
        let whose = self.whose();
        self.body.push(tools, out, whose, taken);
        self.left -= taken.len() as u64;
        Some(taken.len())
    }

    fn identity(&mut self, tools: &mut Tools, out: &mut Output<'_>, rest: &[u8]) -> Next {
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

    fn chunk_length(&mut self, tools: &Tools, out: &mut Output<'_>, rest: &[u8]) -> Next {
        if !may_be_chunk_length(rest) {
            return self.give_up(out, Event::InvalidRequestChunkLen);
        }
        let Some(end) = memchr::memchr(b'\n', rest) else {
            if rest.len() > tools.settings.line {
                return self.give_up(out, Event::RequestFieldTooLong);
            }
            return Next::Wait;
        };
        let line = rest.get(..=end).unwrap_or(&[]);
        match chunk_length(line) {
            ChunkLine::Nothing if line.iter().all(|b| is_space(*b)) => {}
            ChunkLine::Nothing | ChunkLine::Invalid => {
                return self.give_up(out, Event::InvalidRequestChunkLen);
            }
            ChunkLine::Length(length, extension) => {
                if extension {
                    self.event(out, Event::RequestChunkExtension);
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
        let found = match self.search.run(&mut tools.head, rest, ToServer, end) {
            Outcome::End(found) => found,
            Outcome::More if rest.len() > HEAD_MAX || self.search.open() > tools.settings.line => {
                return self.give_up(out, Event::RequestFieldTooLong);
            }
            Outcome::More => return Next::Wait,
            Outcome::TooMany => return self.give_up(out, Event::RequestTooManyHeaders),
        };
        if tools.head.len() > 0 {
            let raw = rest.get(..found).unwrap_or(&[]);
            fields::trailers(out, &tools.head, self.whose(), raw);
        }
        let whose = self.whose();
        self.body.close_coding(tools, out, whose);
        self.state = State::Finalize;
        Next::Go(found)
    }

    /// The request ends with the bytes that it announced. It does not wait for what follows, and what
    /// follows is the next request whatever it looks like: the end of a piece must not decide.
    fn complete(&mut self, tools: &mut Tools, out: &mut Output<'_>) -> Next {
        let whose = self.whose();
        self.body.end(tools, out, whose);
        self.frame.complete(out);
        out.progress(self.tx, ToServer, Progress::Complete);
        self.after = self.had_body;
        self.state = if self.old {
            State::Ignore
        } else {
            State::Start
        };
        self.tx = TxId::NONE;
        Next::Go(0)
    }

    /// The server refused the request before its body came: none will.
    pub(super) fn refused(&mut self, tx: TxId) {
        let waits = self.state == State::Identity && self.left == self.length && self.expects;
        if waits && self.tx == tx {
            self.state = State::Finalize;
        }
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
            State::Identity | State::ChunkData => {
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
            State::Start | State::Finalize => self.lost = true,
            State::Line | State::Head | State::Trailer => {
                self.event(out, Event::InvalidGap);
                self.frame.complete(out);
            }
            State::ChunkLength | State::ChunkEnd | State::ConnectWait | State::Ignore => {}
        }
    }

    /// No more bytes will come.
    fn finish(&mut self, tools: &mut Tools, out: &mut Output<'_>) {
        self.frame.complete(out);
        if self.tx.is_some() {
            let whose = self.whose();
            self.body.end(tools, out, whose);
            out.progress(self.tx, ToServer, Progress::Complete);
        }
        self.state = State::Ignore;
    }

    /// Gives everything back.
    pub(super) fn release(&mut self, tools: &mut Tools, out_heap: &mut super::super::heap::Heap) {
        self.body.reset(&mut tools.codings, out_heap);
    }
}

/// Copies a value to `scratch2`.
fn keep(out: &mut Output<'_>, value: &[u8]) {
    out.shared.scratch2.clear();
    out.shared.scratch2.extend_from_slice(value);
}

/// Whether a line begins as a request does. None: too early to say.
fn looks_like_request(bytes: &[u8]) -> Option<bool> {
    let mut early = false;
    for method in METHODS {
        let shared = bytes.len().min(method.len());
        if bytes.get(..shared) == method.get(..shared) {
            match bytes.get(method.len()) {
                Some(b' ' | b'\t') => return Some(true),
                Some(_) => {}
                None => early = true,
            }
        }
    }
    if early { None } else { Some(false) }
}
