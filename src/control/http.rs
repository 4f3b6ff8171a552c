//! `/metrics` over HTTP: enough of RFC 9112 for a scraper, and no more.
//!
//! A request is a line and headers of at most 8 KiB, read within a second; one request a
//! connection, no body, no keep-alive. Listens on loopback unless told otherwise.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::serve::{Deadline, Server};
use super::{Shared, State, metrics};

/// Longest request, bytes.
const REQUEST_MAX: usize = 8 << 10;
/// Time for a request to come in.
const READ_TIME: Duration = Duration::from_secs(1);
/// Time for an answer to go out.
const WRITE_TIME: Duration = Duration::from_secs(2);
/// Time for turning a connection away.
const REFUSE_TIME: Duration = Duration::from_millis(50);

const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Listens on `address`.
///
/// # Errors
/// An address that is not loopback without leave, or that cannot be had.
pub fn start(address: SocketAddr, remote: bool, shared: Arc<Shared>) -> io::Result<Server> {
    if !address.ip().is_loopback() && !remote {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            format!(
                "metrics address {address} is not a loopback one\n [hint] metrics tell about your \
                 traffic to whoever asks: use 127.0.0.1, or allow remote metrics explicitly"
            ),
        ));
    }
    serve_on(bind(address)?, shared)
}

/// Takes an address.
///
/// # Errors
/// It cannot be had.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("metrics address {address}: {error}\n [hint] choose a free port"),
        )
    })
}

/// Serves on a socket that is open.
///
/// # Errors
/// No thread.
pub fn serve_on(listener: TcpListener, shared: Arc<Shared>) -> io::Result<Server> {
    Server::tcp(listener, move |stream| serve(stream, &shared), refuse)
}

/// One connection. What goes wrong with it is the other side's concern alone.
fn serve(mut stream: TcpStream, shared: &Shared) {
    let mut buffer = [0u8; REQUEST_MAX];
    let answer = match request(&mut stream, &mut buffer) {
        Ok(request) => answer(request, shared),
        Err(Refused::Gone) => return,
        Err(Refused::Late) => Answer::text("408 Request Timeout", "too slow\n"),
        Err(Refused::TooLong) => Answer::text("431 Request Header Fields Too Large", "too long\n"),
    };
    let head = format!(
        "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n{}\r\n",
        answer.status,
        answer.content_type,
        answer.body.len(),
        answer.extra,
    );
    let deadline = Deadline::after(WRITE_TIME);
    if deadline.write(&mut stream, head.as_bytes()).is_ok() && !answer.head_only {
        let _ = deadline.write(&mut stream, &answer.body);
    }
    let _ = stream.shutdown(std::net::Shutdown::Both);
}

fn refuse(mut stream: TcpStream) {
    let busy = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\n\
        Connection: close\r\n\r\n";
    let _ = Deadline::after(REFUSE_TIME).write(&mut stream, busy);
}

/// Why there is no request.
enum Refused {
    Gone,
    Late,
    TooLong,
}

/// Reads up to the empty line that ends the headers.
fn request<'a>(
    stream: &mut TcpStream,
    buffer: &'a mut [u8; REQUEST_MAX],
) -> Result<&'a [u8], Refused> {
    let deadline = Deadline::after(READ_TIME);
    let mut length = 0;
    loop {
        let Some(room) = buffer.get_mut(length..).filter(|room| !room.is_empty()) else {
            return Err(Refused::TooLong);
        };
        match deadline.read(stream, room) {
            Ok(0) => return Err(Refused::Gone),
            Ok(count) => length += count,
            Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => {
                return Err(Refused::Late);
            }
            Err(_) => return Err(Refused::Gone),
        }
        let read = buffer.get(..length).unwrap_or(&[]);
        if read.windows(4).any(|four| four == b"\r\n\r\n")
            || read.windows(2).any(|two| two == b"\n\n")
        {
            break;
        }
    }
    Ok(buffer.get(..length).unwrap_or(&[]))
}

struct Answer {
    status: &'static str,
    content_type: &'static str,
    extra: &'static str,
    body: Vec<u8>,
    head_only: bool,
}

impl Answer {
    fn text(status: &'static str, body: &str) -> Answer {
        Answer {
            status,
            content_type: TEXT,
            extra: "",
            body: body.as_bytes().to_vec(),
            head_only: false,
        }
    }
}

fn answer(request: &[u8], shared: &Shared) -> Answer {
    let line = request.split(|byte| *byte == b'\n').next().unwrap_or(&[]);
    let line = std::str::from_utf8(line).unwrap_or("").trim_end();
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Answer::text("400 Bad Request", "not a request\n");
    };
    if !version.starts_with("HTTP/1.") {
        return Answer::text("505 HTTP Version Not Supported", "HTTP/1.1, please\n");
    }
    if !matches!(method, "GET" | "HEAD") {
        let mut answer = Answer::text("405 Method Not Allowed", "GET or HEAD\n");
        answer.extra = "Allow: GET, HEAD\r\n";
        return answer;
    }
    let path = target.split('?').next().unwrap_or("");
    let mut answer = match path {
        "/metrics" => {
            shared.scrapes.fetch_add(1, Relaxed);
            Answer {
                content_type: METRICS,
                body: metrics::encode(shared),
                ..Answer::text("200 OK", "")
            }
        }
        "/-/healthy" => Answer::text("200 OK", "healthy\n"),
        "/-/ready" if shared.parts.hooks.gauges().state == State::Starting => {
            Answer::text("503 Service Unavailable", "starting\n")
        }
        "/-/ready" => Answer::text("200 OK", "ready\n"),
        "/" => Answer::text("200 OK", "/metrics\n/-/healthy\n/-/ready\n"),
        _ => Answer::text("404 Not Found", "no such page\n"),
    };
    answer.head_only = method == "HEAD";
    answer
}
