//! HTTP/1 and 0.9 (RFC 9112, RFC 9110, RFC 1945): requests and responses of a connection, paired,
//! with everything that rules can ask about them. One side does not wait for the other; each message
//! becomes fields as soon as its head is complete, and its body grows as it comes.
//!
//! ```text
//!  bytes ─► request.rs, response.rs: framing ─► head.rs: table of headers ─► fields.rs: buffers
//!                                            └► body.rs ─► coding.rs: gzip, deflate, brotli ─► multipart.rs
//! ```
//! What is no proper HTTP is read as servers and browsers would read it, since that is what an
//! attacker aims at. A head is held until it is complete ([`exchange::HEAD_MAX`]), a body never is.

mod body;
mod brotli;
mod canonical;
mod coding;
mod decoder;
mod event;
mod exchange;
mod fields;
mod head;
mod line;
mod lzma;
mod multipart;
mod pool;
mod request;
mod response;
mod settings;
mod uri;

use super::field::Field;
use super::heap::Heap;
use super::output::{AppEvent, Output, Shared};
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use crate::packet::Direction;
pub(in crate::app) use coding::{Chain, Coding};
use exchange::Exchange;
use line::METHODS;
use request::Request;
use response::{Beside, Response};
pub use settings::Tools;

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::Http,
    probe,
    over: &[Transport::Tcp],
    fields: &[
        Field::HttpUri,
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
        Field::HttpStart,
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
        Field::HttpPath,
        Field::FileData,
        Field::FileName,
        Field::Filesize,
        Field::Filemd5,
        Field::Filesha1,
        Field::Filesha256,
        Field::FrameHttp1Request,
        Field::FrameHttp1Response,
    ],
    events: event::NAMES,
};

/// Versions that a response is known by.
const VERSIONS: &[&[u8]] = &[b"HTTP/1.1", b"HTTP/1.0", b"HTTP/0.9"];

/// What a step of a parser came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    /// Go on, so many bytes further.
    Go(usize),
    /// Wait for more bytes.
    Wait,
}

/// The event of a number.
const fn app_event(number: u8) -> AppEvent {
    AppEvent::of(AppProtocol::Http, number)
}

fn probe(probe: &Probe<'_>) -> Guess {
    let bytes = probe.bytes;
    let mut early = false;
    let words = if probe.direction == Direction::ToServer {
        METHODS
    } else {
        VERSIONS
    };
    for word in words {
        let shared = bytes.len().min(word.len());
        let (Some(start), Some(word_start)) = (bytes.get(..shared), word.get(..shared)) else {
            continue;
        };
        if !start.eq_ignore_ascii_case(word_start) {
            continue;
        }
        match bytes.get(word.len()) {
            _ if shared < word.len() => early = true,
            Some(b' ' | b'\t') => return Guess::Yes,
            Some(_) | None if probe.direction == Direction::ToClient => return Guess::Yes,
            Some(_) => {}
            None => early = true,
        }
    }
    if early { Guess::More } else { Guess::No }
}

/// The parser of a connection.
#[derive(Debug, Default)]
pub struct Http {
    request: Request,
    response: Response,
    exchange: Exchange,
}

impl Parse for Http {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        if input.direction == Direction::ToClient
            && !input.bytes.is_empty()
            && self.request.end_turn()
        {
            // These bytes are shown again when the request has been.
            return Ok(Taken::all(0));
        }
        // The tools are there whenever a lane parses: they are put back below.
        let Some(mut tools) = out.shared.http.take() else {
            return Err(Broken);
        };
        let count = match input.direction {
            Direction::ToServer => self
                .request
                .parse(&mut tools, &mut self.exchange, input, out),
            Direction::ToClient => {
                let mut beside = Beside {
                    tools: &mut tools,
                    exchange: &mut self.exchange,
                    request: &mut self.request,
                };
                self.response.parse(&mut beside, input, out)
            }
        };
        out.shared.http = Some(tools);
        Ok(Taken::all(count))
    }

    fn bridges(&self, direction: Direction) -> bool {
        match direction {
            Direction::ToServer => self.request.bridges(),
            Direction::ToClient => self.response.bridges(),
        }
    }

    fn free(&mut self, heap: &mut Heap) {
        self.exchange.free(heap);
    }

    fn release(&mut self, shared: &mut Shared) {
        if let Some(tools) = shared.http.as_mut() {
            self.request.release(tools, &mut shared.heap);
            self.response.release(tools, &mut shared.heap);
        }
        self.free(&mut shared.heap);
    }
}

#[cfg(test)]
mod tests;
