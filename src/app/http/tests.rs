//! Conversations of HTTP/1, and what rules see of them.

use super::super::field::Field;
use super::super::protocol::Transport;
use super::super::testing::{Place, apps_for, run_in, run_missing, same_for_every_cut};
use crate::packet::Direction::{self, ToClient, ToServer};
use miniz_oxide::deflate::compress_to_vec_zlib;

const PLACE: Place = Place {
    transport: Transport::Tcp,
    server_port: 80,
};

/// Lines of a conversation, those alone that name one of `fields`.
fn lines(talk: &[(Direction, &[u8])], fields: &[&str]) -> Vec<String> {
    let (_, lines) = same_for_every_cut(PLACE, talk);
    let named = |line: &String| {
        let field = line.split(' ').nth(3).unwrap_or("");
        fields.is_empty() || fields.contains(&field)
    };
    lines.into_iter().filter(named).collect()
}

const GET: &[u8] = b"GET /a/../b?x=%41 HTTP/1.1\r\nHost: Www.Example.com:80\r\nUser-Agent: t\r\n\
    Cookie: c=d\r\nX: 1\r\nX: 2\r\n\r\n";
const OK: &[u8] =
    b"HTTP/1.1 200 Fine\r\nServer: s\r\nSet-Cookie: q\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn a_request_and_its_response() {
    assert_eq!(
        lines(&[(ToServer, GET), (ToClient, OK)], &[]),
        [
            "tx 0 ToServer http.request_line \"GET /a/../b?x=%41 HTTP/1.1\"",
            "tx 0 ToServer http.method \"GET\"",
            "tx 0 ToServer http.uri.raw \"/a/../b?x=%41\"",
            "tx 0 ToServer http.protocol \"HTTP/1.1\"",
            "tx 0 ToServer http.uri \"/b?x=A\"",
            "tx 0 ToServer -http.path \"/b\"",
            "tx 0 ToServer app-layer-event Some((\"http\", \"request_header_repetition\"))",
            "tx 0 ToServer http.header.raw \"Host: Www.Example.com:80\\r\\nUser-Agent: t\\r\\n\
             Cookie: c=d\\r\\nX: 1\\r\\nX: 2\\r\\n\\r\\n\"",
            "tx 0 ToServer http.header \"Host: Www.Example.com:80\\r\\nUser-Agent: t\\r\\nX: 1, 2\\r\\n\"",
            "tx 0 ToServer http.header_names \"\\r\\nHost\\r\\nUser-Agent\\r\\nCookie\\r\\nX\\r\\n\\r\\n\"",
            "tx 0 ToServer http.start \"GET /a/../b?x=%41 HTTP/1.1\\r\\nHost: Www.Example.com:80\\r\\n\
             User-Agent: t\\r\\nCookie: c=d\\r\\nX: 1, 2\\r\\n\\r\\n\"",
            "tx 0 ToServer http.request_header \"Host: Www.Example.com:80\"",
            "tx 0 ToServer http.request_header \"User-Agent: t\"",
            "tx 0 ToServer http.request_header \"Cookie: c=d\"",
            "tx 0 ToServer http.request_header \"X: 1, 2\"",
            "tx 0 ToServer http.user_agent \"t\"",
            "tx 0 ToServer http.cookie \"c=d\"",
            "tx 0 ToServer http.host \"www.example.com\"",
            "tx 0 ToServer http.host.raw \"Www.Example.com:80\"",
            "tx 0 ToClient http.response_line \"HTTP/1.1 200 Fine\"",
            "tx 0 ToClient http.protocol \"HTTP/1.1\"",
            "tx 0 ToClient http.stat_code \"200\"",
            "tx 0 ToClient http.stat_msg \"Fine\"",
            "tx 0 ToClient http.header.raw \"Server: s\\r\\nSet-Cookie: q\\r\\nContent-Length: 5\\r\\n\\r\\n\"",
            "tx 0 ToClient http.header \"Server: s\\r\\nContent-Length: 5\\r\\n\"",
            "tx 0 ToClient http.header_names \"\\r\\nServer\\r\\nSet-Cookie\\r\\nContent-Length\\r\\n\\r\\n\"",
            "tx 0 ToClient http.start \"HTTP/1.1 200 Fine\\r\\nServer: s\\r\\nSet-Cookie: q\\r\\n\
             Content-Length: 5\\r\\n\\r\\n\"",
            "tx 0 ToClient http.response_header \"Server: s\"",
            "tx 0 ToClient http.response_header \"Set-Cookie: q\"",
            "tx 0 ToClient http.response_header \"Content-Length: 5\"",
            "tx 0 ToClient http.server \"s\"",
            "tx 0 ToClient http.cookie \"q\"",
            "tx 0 ToClient http.content_len \"5\"",
            "tx 0 ToClient http.response_body \"hello\"",
            "tx 0 ToClient file.name \"/b\"",
            "tx 0 ToClient file.data \"hello\"",
            "tx 0 ToClient filesize 5",
        ]
    );
}

const SEEN: &[&str] = &[
    "http.uri",
    "http.stat_code",
    "file.data",
    "http.request_body",
    "file.name",
];

#[test]
fn requests_in_a_row_have_their_responses_in_order() {
    let requests = b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\nHEAD /2 HTTP/1.1\r\nHost: h\r\n\r\n\
        GET /3 HTTP/1.1\r\nHost: h\r\n\r\n";
    let responses = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na\
        HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n\
        HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nbc\r\n1\r\nd\r\n0\r\nT: u\r\n\r\n";
    assert_eq!(
        lines(&[(ToServer, requests), (ToClient, responses)], SEEN),
        [
            "tx 0 ToServer http.uri \"/1\"",
            "tx 0 ToClient http.stat_code \"200\"",
            "tx 0 ToClient file.name \"/1\"",
            "tx 0 ToClient file.data \"a\"",
            "tx 1 ToServer http.uri \"/2\"",
            "tx 1 ToClient http.stat_code \"200\"",
            "tx 2 ToServer http.uri \"/3\"",
            "tx 2 ToClient http.stat_code \"404\"",
            "tx 2 ToClient file.name \"/3\"",
            "tx 2 ToClient file.data \"bcd\"",
        ]
    );
}

#[test]
fn headers_behind_the_body_stand_behind_those_of_the_head() {
    let request = b"POST /1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
        1\r\na\r\n0\r\nT: u\r\nCookie: c\r\n\r\n";
    let seen = [
        "http.header",
        "http.header.raw",
        "http.header_names",
        "http.request_header",
    ];
    let head = "Host: h\\r\\nTransfer-Encoding: chunked\\r\\n";
    let names = "\\r\\nHost\\r\\nTransfer-Encoding\\r\\n";
    assert_eq!(
        lines(&[(ToServer, request)], &seen),
        [
            format!("tx 0 ToServer http.header.raw \"{head}\\r\\n\""),
            format!("tx 0 ToServer http.header \"{head}\""),
            format!("tx 0 ToServer http.header_names \"{names}\\r\\n\""),
            "tx 0 ToServer http.request_header \"Host: h\"".to_string(),
            "tx 0 ToServer http.request_header \"Transfer-Encoding: chunked\"".to_string(),
            format!(
                "tx 0 ToServer http.header.raw \"{head}\\r\\nT: u\\r\\nCookie: c\\r\\n\\r\\n\""
            ),
            format!("tx 0 ToServer http.header \"{head}T: u\\r\\n\""),
            format!("tx 0 ToServer http.header_names \"{names}T\\r\\nCookie\\r\\n\\r\\n\""),
            "tx 0 ToServer http.request_header \"T: u\"".to_string(),
            "tx 0 ToServer http.request_header \"Cookie: c\"".to_string(),
        ]
    );
}

#[test]
fn a_form_with_files() {
    let body = b"--b\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\nvalue\r\n--b\r\n\
        Content-Disposition: form-data; name=\"f\"; filename=\"x.txt\"\r\nContent-Type: t\r\n\r\n\
        first\r\nfile\r\n--b\r\nContent-Disposition: form-data; filename=y\r\n\r\nsecond\r\n--b--\r\n";
    let mut request = format!(
        "POST /up HTTP/1.1\r\nHost: h\r\nContent-Type: multipart/form-data; boundary=b\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    assert_eq!(
        lines(
            &[(ToServer, &request)],
            &["file.name", "file.data", "filesize"]
        ),
        [
            "tx 0 ToServer file.name \"x.txt\"",
            "tx 0 ToServer file.data \"first\\r\\nfile\"",
            "tx 0 ToServer filesize 11",
            "tx 0 ToServer file.name \"y\"",
            "tx 0 ToServer file.data \"second\"",
            "tx 0 ToServer filesize 6",
        ]
    );
}

#[test]
fn bodies_are_decoded_and_end_with_the_stream() {
    let page = compress_to_vec_zlib(b"<html>what is shown</html>", 6);
    let mut response = b"HTTP/1.0 200 OK\r\nContent-Encoding: deflate\r\n\r\n".to_vec();
    response.extend_from_slice(&page);
    let request = b"GET / HTTP/1.0\r\n\r\n";
    assert_eq!(
        lines(
            &[(ToServer, request), (ToClient, &response)],
            &["file.data"]
        ),
        ["tx 0 ToClient file.data \"<html>what is shown</html>\""]
    );
    let body = compress_to_vec_zlib(b"secret=1", 6);
    let mut request = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Encoding: deflate\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(&body);
    assert_eq!(
        lines(&[(ToServer, &request)], &["http.request_body", "file.data"]),
        [
            "tx 0 ToServer http.request_body \"secret=1\"",
            "tx 0 ToServer file.data \"secret=1\"",
        ]
    );
}

#[test]
fn what_is_no_proper_http() {
    assert_eq!(
        lines(
            &[
                (ToServer, b"GET /old\r\n"),
                (ToClient, b"HTTP/ is said here")
            ],
            SEEN
        ),
        [
            "tx 0 ToServer http.uri \"/old\"",
            "tx 0 ToClient file.name \"/old\"",
            "tx 0 ToClient file.data \"HTTP/ is said here\"",
        ]
    );
    let lone = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    assert_eq!(
        lines(&[(ToClient, lone)], &["http.uri.raw", "file.data"]),
        [
            "tx 0 ToServer http.uri.raw \"/libhtp::request_uri_not_seen\"",
            "tx 0 ToClient file.data \"ok\"",
        ]
    );
    let chunks =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n\r\n 3 \r\nabc\r\nnone\r\nrest";
    assert_eq!(
        lines(
            &[(ToServer, b"GET / HTTP/1.0\n\n"), (ToClient, chunks)],
            &["file.data"]
        ),
        ["tx 0 ToClient file.data \"abcnone\\r\\nrest\""]
    );
}

#[test]
fn a_tunnel_is_no_http() {
    let talk: &[(Direction, &[u8])] = &[
        (ToServer, b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n"),
        (ToClient, b"HTTP/1.1 200 Connected\r\n\r\n"),
        (ToServer, b"GET /in HTTP/1.1\r\nHost: i\r\n\r\n"),
    ];
    assert_eq!(
        lines(talk, &["http.uri", "http.host"]),
        [
            "tx 0 ToServer http.host \"h\"",
            "tx 1 ToServer http.uri \"/in\"",
            "tx 1 ToServer http.host \"i\"",
        ]
    );
    let talk: &[(Direction, &[u8])] = &[
        (
            ToServer,
            b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\nGET /no HTTP/1.1\r\nHost: i\r\n\r\n",
        ),
        (ToClient, b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"),
        (ToServer, b"GET /x HTTP/1.1\r\nHost: i\r\n\r\n"),
    ];
    assert_eq!(
        lines(talk, &["http.uri"]),
        [
            "tx 1 ToServer http.uri \"/no\"",
            "tx 2 ToServer http.uri \"/x\"",
        ]
    );
}

/// A head that comes byte by byte, or line by line, costs what its length says.
#[test]
fn work_grows_with_length_alone() {
    let mut times = Vec::new();
    for count in [200, 800] {
        let mut request = b"GET / HTTP/1.1\r\n".to_vec();
        for number in 0..count {
            request.extend_from_slice(format!("h{number}: some value\r\n folded\r\n").as_bytes());
        }
        request.extend_from_slice(b"\r\n");
        let begin = std::time::Instant::now();
        let (_, lines) = super::super::testing::run_cut(PLACE, &[(ToServer, &request)], 7);
        assert!(!lines.is_empty());
        times.push(begin.elapsed().as_secs_f64());
    }
    assert!(times[1] < times[0] * 16.0 + 0.2, "{times:?}");
}

/// Conversations with bytes changed, left out and doubled, in pieces of any size: nothing panics,
/// and everything comes back (`run_cut` asserts that).
#[test]
fn damaged_conversations_are_survived() {
    let form = b"POST /p?q HTTP/1.1\r\nHost: h\r\nContent-Type: multipart/form-data; boundary=b\r\n\
        Content-Encoding: gzip, deflate\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n--b\r\n\r\n2c\r\n\
        Content-Disposition: x; filename=\"f\"\r\n\r\nyz\r\n\r\n0\r\nT: u\r\n v\r\n\r\nCONNECT h:1 HTTP/1.0\r\n\r\n";
    let page = b"HTTP/1.1 100 C\r\n\r\nHTTP/1.0 200 OK\r\nA: b\n\r c\r\n\r\t\r\nContent-Encoding: deflate,gzip\r\n\
        Content-Length: 30\r\nContent-Disposition: a; filename*0=x\r\n\r\n\x1f\x8b\x08\x1e\0\0\0\0\0\0\x02\0xxn\0c\0\x01\x02\
        abcdefghijHTTP/1.1 101 S\r\nUpgrade: h2c\r\n\r\nPRI";
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below.max(1)
    };
    for round in 0..3000 {
        let mut sides = [[GET, form].concat(), [OK, page].concat()];
        for side in &mut sides {
            for _ in 0..next(12) {
                let (at, from) = (next(side.len()), next(side.len()));
                match next(4) {
                    0 => side[at] = b"\r\n \t:;\0%0fA\xff"[next(12)],
                    1 => drop(side.drain(at.min(from)..at.max(from).min(at.min(from) + 9))),
                    2 => side.insert(at, side[from]),
                    _ => side.truncate(side.len() - next(9).min(side.len() - 1)),
                }
            }
        }
        let talk: &[(Direction, &[u8])] = &[(ToServer, &sides[0]), (ToClient, &sides[1])];
        let cut = [1, 2, 3, 11, 100, 1000][round % 6];
        let (_, lines) = super::super::testing::run_cut(PLACE, talk, cut);
        assert!(lines.len() < 10_000);
    }
}

#[test]
fn the_end_of_a_message_is_where_it_was_announced_in_every_cut() {
    let smuggled = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n";
    let (_, lines) = same_for_every_cut(PLACE, &[(ToServer, smuggled)]);
    assert!(
        lines.contains(&"tx 0 ToServer http.request_body \"G\"".to_string()),
        "{lines:?}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line.contains("request_body_unexpected")),
        "{lines:?}"
    );
    let asked = b"GET / HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n";
    let longer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef\ngh\r\nHTTP/1.1 404 No\r\nContent-Length: 1\r\n\r\nx";
    let (_, lines) = same_for_every_cut(PLACE, &[(ToServer, asked), (ToClient, longer)]);
    assert!(
        lines.contains(&"tx 0 ToClient http.response_body \"abc\"".to_string()),
        "{lines:?}"
    );
    let doubtful = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n 6\r\n\r\nabcdefHTTP/1.1 404 No\r\nContent-Length: 1\r\n\r\nx";
    let (_, lines) = same_for_every_cut(PLACE, &[(ToServer, asked), (ToClient, doubtful)]);
    let body = lines
        .iter()
        .find(|line| line.contains("tx 0 ToClient http.response_body"));
    assert!(
        body.is_some_and(|body| body.contains("abcdef")),
        "{lines:?}"
    );
}

#[test]
fn bodies_in_brotli_are_decoded() {
    let page = b"<script>evil()</script> and so on".repeat(40);
    let mut coded = Vec::new();
    let params = brotli::enc::BrotliEncoderParams::default();
    brotli::BrotliCompress(&mut &page[..], &mut coded, &params).unwrap();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: {}\r\n\r\n",
        coded.len()
    );
    let answer = [head.as_bytes(), &coded].concat();
    let (_, lines) = same_for_every_cut(PLACE, &[(ToServer, GET), (ToClient, &answer)]);
    let body = lines.iter().find(|line| line.contains("file.data"));
    let expected = page.escape_ascii().to_string();
    assert!(
        body.is_some_and(|body| body.contains(&expected)),
        "{lines:?}"
    );
}

#[test]
fn a_head_is_read_on_behind_a_gap() {
    let pieces: [(Direction, u32, &[u8]); 5] = [
        (ToServer, 0, b"GET /malic"),
        (ToServer, 1, b"ious HTTP/1.1\r\nHost: a"),
        (ToServer, 3, b".example\r\n\r\n"),
        (ToClient, 0, b"HTTP/1.1 200 O"),
        (ToClient, 7, b"K\r\nContent-Length: 0\r\n\r\n"),
    ];
    let lines = run_missing(PLACE, &[], &pieces);
    for line in [
        "tx 0 ToServer http.uri \"/malicious\"",
        "tx 0 ToServer http.host \"a.example\"",
        "tx 0 ToServer app-layer-event Some((\"http\", \"invalid_gap\"))",
        "tx 0 ToClient http.stat_msg \"OK\"",
    ] {
        assert!(lines.iter().any(|l| l == line), "{line}: {lines:#?}");
    }
    let frames = |line: &&String| line.contains("frame") && line.contains("ious");
    assert_eq!(lines.iter().filter(frames).count(), 0, "{lines:#?}");
}

#[test]
fn flash_files_and_lzma_are_opened_where_settings_say_so() {
    let data = b"what the file holds, what the file holds";
    let mut file = b"WS\x09".to_vec();
    file.extend((data.len() as u32 + 8).to_le_bytes());
    let packed = [&b"C"[..], &file, &compress_to_vec_zlib(data, 6)].concat();
    let open = [&b"F"[..], &file, data].concat();
    let response = |coding: &str, body: &[u8]| {
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\n{coding}Content-Length: {length}\r\n\r\n");
        [head.as_bytes(), body].concat()
    };
    let data_of = |settings: &[(&str, &str)], response: &[u8]| {
        let pieces = [(ToServer, 0, GET), (ToClient, 0, response)];
        let lines = run_missing(PLACE, settings, &pieces);
        let data = lines.into_iter().find(|line| line.contains(" file.data "));
        data.unwrap_or_default()
    };
    let says = |line: &str, body: &[u8]| {
        let expected = format!("file.data \"{}\"", body.escape_ascii());
        assert!(line.ends_with(&expected), "{line}, not {expected}");
    };
    const HTP: &str = "app-layer.protocols.http.libhtp.default-config";
    let key = |name: &str| format!("{HTP}.{name}");
    let (enabled, kind) = (
        key("swf-decompression.enabled"),
        key("swf-decompression.type"),
    );
    let swf = [(enabled.as_str(), "yes")];
    says(&data_of(&[], &response("", &packed)), &packed);
    says(&data_of(&swf, &response("", &packed)), &open);
    says(&data_of(&swf, &response("", b"CWS")), b"CWS");
    let zlib = compress_to_vec_zlib(&packed, 6);
    let deflated = response("Content-Encoding: deflate\r\n", &zlib);
    says(&data_of(&swf, &deflated), &open);
    let other = [swf[0], (kind.as_str(), "lzma")];
    says(&data_of(&other, &response("", &packed)), &packed);
    let lzma = super::lzma::tests::packed();
    let coded = response("Content-Encoding: lzma\r\n", &lzma);
    let lzma_on = key("lzma-enabled");
    says(&data_of(&[], &coded), &lzma);
    let on = [(lzma_on.as_str(), "true")];
    says(&data_of(&on, &coded), &super::lzma::tests::plain());
}

#[test]
fn a_header_behind_a_body_is_a_repetition_of_the_one_before() {
    let request = b"POST / HTTP/1.1\r\nHost: h\r\nUser-Agent: a\r\nX: 1\r\n\
        Transfer-Encoding: chunked\r\n\r\n1\r\nb\r\n0\r\nuser-agent: c\r\nx: 2\r\nY: 3\r\n\r\n";
    let found = lines(
        &[(ToServer, request)],
        &[
            "http.header",
            "http.header_names",
            "http.request_header",
            "http.user_agent",
        ],
    );
    let trailing: Vec<_> = found.iter().filter(|line| line.contains(", ")).collect();
    assert_eq!(
        trailing,
        [
            "tx 0 ToServer http.header \"Host: h\\r\\nUser-Agent: a, c\\r\\nX: 1, 2\\r\\n\
             Transfer-Encoding: chunked\\r\\nY: 3\\r\\n\"",
            "tx 0 ToServer http.request_header \"User-Agent: a, c\"",
            "tx 0 ToServer http.request_header \"X: 1, 2\"",
            "tx 0 ToServer http.user_agent \"a, c\"",
        ]
    );
    let names: Vec<_> = found
        .iter()
        .filter(|line| line.contains("header_names"))
        .collect();
    let whole = "\\r\\nHost\\r\\nUser-Agent\\r\\nX\\r\\nTransfer-Encoding\\r\\nY\\r\\n\\r\\n";
    assert!(names[1].ends_with(&format!("\"{whole}\"")), "{names:?}");
    assert!(
        found
            .iter()
            .any(|line| line.ends_with("http.request_header \"Y: 3\""))
    );
}

#[test]
fn what_events_alone_tell_of_headers() {
    let request = b"GET / HTTP/1.1\r\nHost: h:8080\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n";
    let response = b"HTTP/1.1 206 P\r\nContent-Range: bytes 0-0/9\r\nContent-Length: 1\r\n\r\nx";
    let fields = [Field::HttpPort, Field::HttpXff, Field::HttpContentRange];
    let talk: &[(Direction, &[u8])] = &[(ToServer, request), (ToClient, response)];
    assert_eq!(
        run_in(PLACE, talk, apps_for(&fields)),
        [
            "tx 0 ToServer -http.xff \"1.2.3.4\"",
            "tx 0 ToServer -http.http_port 8080",
            "tx 0 ToClient -http.content_range \"bytes 0-0/9\"",
            "tx 0 ToClient filesize 1",
        ]
    );
}
