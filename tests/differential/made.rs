//! Messages from a seed: HTTP exchanges, DNS responses, client hellos, not quite right as real ones
//! are.

use std::fmt::Write;

use sluice::packet::Direction::{ToClient, ToServer};

use super::captured::Talk;

/// Marsaglia's xorshift.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }
}

/// Requests with their answers, as clients and servers that are not quite right write them.
pub fn http(random: &mut Random) -> Talk {
    let mut talk = Talk::new();
    for _ in 0..1 + random.below(4) {
        let (request, response) = exchange(random);
        talk.push((ToServer, request.into_bytes()));
        talk.push((ToClient, response.into_bytes()));
    }
    talk
}

fn exchange(random: &mut Random) -> (String, String) {
    let mut request = String::new();
    let method = random.of(&["GET", "HEAD", "OPTIONS", "DELETE", "get", "FOO"]);
    // The protocol is told by the first one.
    let method = if random.below(3) > 0 { "GET" } else { method };
    let path = random.of(&[
        "/",
        "/a/b.php?x=y",
        "/%41%2e%2e/",
        "//a//b",
        "/a b",
        "*",
        "/\u{e9}",
        "http://host.example/x",
        "/a?b=c%20d#e",
    ]);
    let space = random.of(&[" ", " ", " ", "  "]);
    let end = random.of(&["\r\n", "\r\n", "\r\n", "\n"]);
    let version = random.of(&["HTTP/1.1", "HTTP/1.1", "HTTP/1.0"]);
    write!(request, "{method}{space}{path} {version}{end}Host: a{end}").unwrap();
    let mut names = vec![
        "User-Agent",
        "X-a",
        "ACCEPT",
        "cookie",
        "Referer",
        "X-b",
        "Via",
    ];
    for _ in 0..random.below(6) {
        let name = names.remove(random.below(names.len()));
        let blank = random.of(&["", " ", "  ", "\t"]);
        let value = random.of(&["", "b", "b c", "\"b\"", "b;c=d", "b, c", "b  "]);
        write!(request, "{name}:{blank}{value}{end}").unwrap();
    }
    let body = random.of(&["", "", "x=1", "two words"]);
    if !body.is_empty() {
        write!(request, "Content-Length: {}{end}", body.len()).unwrap();
    }
    write!(request, "{end}{body}").unwrap();
    let status = random.of(&[
        "200 OK",
        "404 Not Found",
        "302 Found",
        "500",
        "206 Some of it",
    ]);
    let location = random.of(&["", "", "Location: /next\r\n", "LOCATION:  http://b/\r\n"]);
    // What answers HEAD has no body, whatever it says.
    let body = random.of(&["", "ok", "<html></html>"]);
    let chunked = random.below(3) == 0;
    let framing = if chunked {
        "Transfer-Encoding: chunked\r\n".to_string()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    let body = match (method, chunked) {
        ("HEAD", _) => String::new(),
        (_, false) => body.to_string(),
        (_, true) if body.is_empty() => "0\r\n\r\n".to_string(),
        (_, true) => format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
    };
    let response = format!("HTTP/1.1 {status}\r\n{location}{framing}\r\n{body}");
    (request, response)
}

/// A DNS response with names that point back.
pub fn dns(random: &mut Random) -> Vec<u8> {
    let label = |random: &mut Random, out: &mut Vec<u8>| {
        let length = 1 + random.below(12);
        out.push(length as u8);
        out.extend((0..length).map(|_| b"abcxyz019-_"[random.below(11)]));
    };
    let answers = random.below(5) as u8;
    let id = random.below(256) as u8;
    let mut out = vec![id, 7, 0x81, 0x80, 0, 1, 0, answers, 0, 0, 0, 0];
    let mut starts = Vec::new();
    for _ in 0..1 + random.below(4) {
        starts.push(out.len());
        label(random, &mut out);
    }
    out.extend_from_slice(&[0, 0, 1, 0, 1]);
    for _ in 0..answers {
        let new = random.below(3);
        let at = out.len();
        for _ in 0..new {
            label(random, &mut out);
        }
        let target = starts[random.below(starts.len())];
        out.extend_from_slice(&[0xc0 | (target >> 8) as u8, target as u8]);
        if new > 0 {
            starts.push(at);
        }
        out.extend_from_slice(&[0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 0, 1]);
    }
    out
}

fn with_length(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
}

/// Numbers of two bytes.
fn numbers(random: &mut Random, most: usize) -> Vec<u8> {
    (0..2 * (1 + random.below(most)))
        .map(|_| random.below(256) as u8)
        .collect()
}

/// A client hello: server name, groups and point formats between other extensions, with GREASE.
pub fn hello(random: &mut Random) -> Vec<u8> {
    let mut extensions = Vec::new();
    let mut push = |kind: u16, body: &[u8]| {
        extensions.extend_from_slice(&kind.to_be_bytes());
        extensions.extend(with_length(body));
    };
    let places = [random.below(4), random.below(4), random.below(4)];
    for at in 0..4 {
        if at == places[0] {
            let name: Vec<u8> = (0..1 + random.below(40))
                .map(|_| b"abc.-019"[random.below(8)])
                .collect();
            let entry = [&[0][..], &with_length(&name)].concat();
            push(0, &with_length(&entry));
        }
        if at == places[1] {
            push(10, &with_length(&numbers(random, 6)));
        }
        if at == places[2] {
            let count = 1 + random.below(3);
            push(11, &[&[count as u8][..], &vec![1; count]].concat());
        }
        let kind = if random.below(4) == 0 {
            0x1a1a
        } else {
            0x7a00 | at as u16
        };
        let length = random.below(9);
        push(kind, &vec![9; length]);
    }
    let suites = numbers(random, 20);
    let session = vec![7; random.below(33)];
    let body = [
        &[3, 3][..],
        &[5; 32],
        &[session.len() as u8],
        &session,
        &with_length(&suites),
        &[1, 0],
        &with_length(&extensions),
    ]
    .concat();
    let length = (body.len() as u32).to_be_bytes();
    let handshake = [&[1][..], &length[1..], &body].concat();
    [&[22, 3, 1][..], &with_length(&handshake)].concat()
}
