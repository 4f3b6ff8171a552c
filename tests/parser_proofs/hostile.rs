//! Hostile conversations whose size is a number: one for each class of past vulnerabilities that
//! concerns a protocol (RELIABILITY.md 3), and those that every parser must stand.

use std::io::Write;

use sluice::app::AppProtocol::{self as P};
use sluice::packet::Direction::{ToClient, ToServer};

use super::seeds::{self, Seed, Talk};

/// A kind of hostile conversation.
pub struct Hostile {
    /// What it is.
    pub name: &'static str,
    /// Past cases of it.
    pub class: &'static str,
    /// Bytes of a piece.
    pub cut: usize,
    /// The conversation of a size.
    pub make: fn(&Seed, u32) -> Talk,
}

const SEGMENT: usize = 1460;

const fn case(
    name: &'static str,
    class: &'static str,
    cut: usize,
    make: fn(&Seed, u32) -> Talk,
) -> Hostile {
    Hostile {
        name,
        class,
        cut,
        make,
    }
}

/// What every parser must stand.
pub const ALL: &[Hostile] = &[
    case(
        "both sides talk",
        "none: the measure",
        SEGMENT,
        |seed, n| {
            let mut talk = seed.begin.clone();
            for at in 0..n {
                talk.push((ToServer, (seed.client)(at)));
                talk.push((ToClient, (seed.server)(at)));
            }
            talk
        },
    ),
    case(
        "one byte a piece",
        "2026-22263, 2026-31932",
        1,
        |seed, n| {
            let mut talk = seed.begin.clone();
            talk.push((ToServer, (0..n).flat_map(seed.client).collect()));
            talk.push((ToClient, (0..n).flat_map(seed.server).collect()));
            talk
        },
    ),
    case(
        "nobody answers",
        "2026-57224, 2026-57227, 2026-45766",
        SEGMENT,
        |seed, n| {
            let mut talk = seed.begin.clone();
            talk.push((ToServer, (0..n).flat_map(seed.client).collect()));
            talk
        },
    ),
    case(
        "nobody asked",
        "2026-22259, response without request",
        SEGMENT,
        |seed, n| {
            let mut talk = seed.begin.clone();
            talk.push((ToClient, (0..n).flat_map(seed.server).collect()));
            talk
        },
    ),
    case(
        "a line without end",
        "2024-28870, #5023, #5024",
        200,
        |seed, n| {
            let mut talk = seed.begin.clone();
            let mut line = (seed.client)(1);
            line.truncate(line.len() / 2);
            line.resize(line.len() + 16 * n as usize, b'a');
            talk.push((ToServer, line));
            let mut line = (seed.server)(1);
            line.truncate(line.len() / 2);
            line.resize(line.len() + 16 * n as usize, b'a');
            talk.push((ToClient, line));
            talk
        },
    ),
    case("zeros", "zero-length records", SEGMENT, |seed, n| {
        let mut talk = seed.begin.clone();
        talk.push((ToServer, vec![0; 16 * n as usize]));
        talk.push((ToClient, vec![0; 16 * n as usize]));
        talk
    }),
];

/// Those of one protocol.
pub fn of(protocol: P) -> &'static [Hostile] {
    match protocol {
        P::Http => HTTP,
        P::Http2 => HTTP2,
        P::Dns | P::Mdns | P::Llmnr => DNS,
        P::Smtp => SMTP,
        P::Tls => TLS,
        P::Ssh => SSH,
        P::Krb5 => KRB5,
        P::Ldap => LDAP,
        P::Ike => IKE,
        P::Dnp3 => DNP3,
        P::Nfs => NFS,
        P::Dcerpc => DCERPC,
        P::Websocket => WEBSOCKET,
        P::Sip => SIP,
        P::Pgsql => PGSQL,
        P::Telnet => TELNET,
        P::Snmp => SNMP,
        P::BittorrentDht => DHT,
        P::Ftp => FTP,
        _ => &[],
    }
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(data).expect("memory takes all");
    writer.finish().expect("memory takes all")
}

fn request(head: &str, body: &[u8]) -> Talk {
    vec![(ToServer, [head.as_bytes(), body].concat())]
}

fn response(head: &str, body: &[u8]) -> Talk {
    vec![
        (ToServer, b"GET /f HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        (ToClient, [head.as_bytes(), body].concat()),
    ]
}

const HTTP: &[Hostile] = &[
    case("many headers", "2024-45797", SEGMENT, |_, n| {
        let headers: String = (0..n).map(|at| format!("X-{at}: {at}\r\n")).collect();
        request(&format!("GET / HTTP/1.1\r\n{headers}\r\n"), b"")
    }),
    case(
        "the same header",
        "2024-45797, 2024-32663",
        SEGMENT,
        |_, n| {
            let headers = "Cookie: a=b\r\n".repeat(n as usize);
            request(&format!("GET / HTTP/1.1\r\n{headers}\r\n"), b"")
        },
    ),
    case("folded header", "2026-22263", SEGMENT, |_, n| {
        let lines = " x\r\n".repeat(n as usize);
        request(&format!("GET / HTTP/1.1\r\nA: b\r\n{lines}\r\n"), b"")
    }),
    case(
        "content-disposition of many parts",
        "2026-45759",
        SEGMENT,
        |_, n| {
            let parts = "a=b;".repeat(n as usize);
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Disposition: attachment;";
            response(&format!("{head}{parts}\r\n\r\n"), b"x")
        },
    ),
    case("a chunk a byte", "10^5 tiny records", SEGMENT, |_, n| {
        let chunks = "1\r\nx\r\n".repeat(n as usize);
        response(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            chunks.as_bytes(),
        )
    }),
    case(
        "decompression bomb",
        "2025-64334, 2026-46387",
        SEGMENT,
        |_, n| {
            let body = gzip(&vec![0; 256 * n as usize]);
            response("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", &body)
        },
    ),
    case("a bomb in a bomb", "2026-22260, #8695", SEGMENT, |_, n| {
        let body = gzip(&gzip(&vec![0; 256 * n as usize]));
        response(
            "HTTP/1.1 200 OK\r\nContent-Encoding: gzip, gzip\r\n\r\n",
            &body,
        )
    }),
    case("a form of many parts", "2026-45759", SEGMENT, |_, n| {
        let part = "--b\r\nContent-Disposition: form-data; name=a; filename=f\r\n\r\nx\r\n";
        let head = "POST / HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=b\r\n";
        let body = part.repeat(n as usize);
        request(
            &format!("{head}Content-Length: {}\r\n\r\n", body.len()),
            body.as_bytes(),
        )
    }),
    case(
        "what may be a boundary",
        "2026-31934 class",
        SEGMENT,
        |_, n| {
            let head =
                "POST / HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=bbbbbbbbc\r\n";
            let start = "--bbbbbbbbc\r\nContent-Disposition: form-data; filename=f\r\n\r\n";
            let body = format!("{start}{}", "\r\n--bbbbbbbb".repeat(n as usize));
            request(
                &format!("{head}Content-Length: {}\r\n\r\n", body.len()),
                body.as_bytes(),
            )
        },
    ),
];

const HTTP2: &[Hostile] = &[
    case("frames of one stream", "2026-31935", SEGMENT, |seed, n| {
        let mut talk = seed.begin.clone();
        let frame = seeds::http2_frame(8, 0, 1, &[0, 0, 0, 1]);
        talk.push((
            ToServer,
            seeds::http2_frame(1, 4, 1, b"\x82\x84\x86\x41\x01a"),
        ));
        talk.push((ToServer, frame.repeat(n as usize)));
        talk
    }),
    case("frames of stream 0", "2025-53538", SEGMENT, |seed, n| {
        let mut talk = seed.begin.clone();
        let frame = seeds::http2_frame(0, 0, 0, b"data");
        talk.push((ToServer, frame.repeat(n as usize)));
        talk
    }),
    case(
        "continuations without end",
        "2024-24568, 2024-32663",
        SEGMENT,
        |seed, n| {
            let mut talk = seed.begin.clone();
            talk.push((
                ToServer,
                seeds::http2_frame(1, 0, 1, b"\x82\x84\x86\x41\x01a"),
            ));
            let more = seeds::http2_frame(9, 0, 1, b"\0\x01a\x01b");
            talk.push((ToServer, more.repeat(n as usize)));
            talk
        },
    ),
    case(
        "streams that stay open",
        "2026-31935",
        SEGMENT,
        |seed, n| {
            let mut talk = seed.begin.clone();
            let streams = (0..n)
                .flat_map(|at| seeds::http2_frame(1, 4, 2 * at + 1, b"\x82\x84\x86\x41\x01a"));
            talk.push((ToServer, streams.collect()));
            talk
        },
    ),
    case("a header by reference", "HPACK bomb", SEGMENT, |seed, n| {
        let mut talk = seed.begin.clone();
        let long = [&b"\x40\x01a\x7f\xa1\x1d"[..], &[b'v'; 3872]].concat();
        talk.push((ToServer, seeds::http2_frame(1, 5, 1, &long)));
        let block = vec![0xbe; 100];
        let frames = (0..n / 64 + 1).flat_map(|at| seeds::http2_frame(1, 5, 2 * at + 3, &block));
        talk.push((ToServer, frames.collect()));
        talk
    }),
];

/// Messages of a few thousand records each, all with this name and rest.
fn dns_records(n: u32, name: &[u8], labels: usize) -> Talk {
    let mut talk = Vec::new();
    let mut left = n;
    while left > 0 {
        let count = left.min(1000) as u16;
        left -= u32::from(count);
        let mut message = vec![0, 1, 0x84, 0, 0, 1];
        message.extend_from_slice(&count.to_be_bytes());
        message.extend_from_slice(&[0; 4]);
        message.extend(std::iter::repeat_n(*b"\x01a", labels).flatten());
        message.extend_from_slice(b"\0\0\x01\0\x01");
        for _ in 0..count {
            message.extend_from_slice(name);
            message.extend_from_slice(b"\0\x05\0\x01\0\0\0\x3c\0\x02\xc0\x0c");
        }
        talk.push((ToClient, message));
    }
    talk
}

const DNS: &[Hostile] = &[
    case(
        "records that point to a long name",
        "2024-55628",
        usize::MAX,
        |_, n| dns_records(n, b"\xc0\x0c", 100),
    ),
    case(
        "a name that points to itself",
        "self pointer",
        usize::MAX,
        |_, n| {
            // The question takes 5 bytes, so this record begins at 17.
            dns_records(n, b"\xc0\x11", 0)
        },
    ),
];

fn mail(seed: &Seed, text: Vec<u8>) -> Talk {
    let mut talk = seed.begin.clone();
    for line in ["EHLO a", "MAIL FROM:<a@a>", "RCPT TO:<b@b>"] {
        talk.push((ToServer, format!("{line}\r\n").into()));
        talk.push((ToClient, b"250 ok\r\n".to_vec()));
    }
    talk.push((ToServer, b"DATA\r\n".to_vec()));
    talk.push((ToClient, b"354 go on\r\n".to_vec()));
    talk.push((ToServer, text));
    talk
}

const SMTP: &[Hostile] = &[
    case("links in one line", "2026-31934", SEGMENT, |seed, n| {
        mail(
            seed,
            format!("A: b\r\n\r\n{}", "http://a".repeat(n as usize)).into(),
        )
    }),
    case("links in many lines", "2026-31934", SEGMENT, |seed, n| {
        mail(
            seed,
            format!("A: b\r\n\r\n{}", "http://a/b\r\n".repeat(n as usize)).into(),
        )
    }),
    case("many headers", "2024-45797 class", SEGMENT, |seed, n| {
        mail(seed, "Received: from a\r\n".repeat(n as usize).into())
    }),
    case(
        "parts within parts",
        "Zeek MIME nesting",
        SEGMENT,
        |seed, n| {
            let part =
                |at| format!("Content-Type: multipart/mixed; boundary=b{at}\r\n\r\n--b{at}\r\n");
            mail(seed, (0..n).map(part).collect::<String>().into())
        },
    ),
    case("a folded header", "2026-22263 class", SEGMENT, |seed, n| {
        mail(
            seed,
            format!("Subject: a\r\n{}", " b\r\n".repeat(n as usize)).into(),
        )
    }),
    case("an attachment", "2025-64331", SEGMENT, |seed, n| {
        let head = "Content-Type: application/x; name=a\r\nContent-Disposition: attachment; filename=a.exe\r\nContent-Transfer-Encoding: base64\r\n\r\n";
        mail(
            seed,
            format!("{head}{}", "QUJDREVGR0hJSktMTU5P\r\n".repeat(n as usize)).into(),
        )
    }),
];

const TLS: &[Hostile] = &[
    case(
        "a handshake in records of one byte",
        "10^5 tiny records",
        SEGMENT,
        |_, n| {
            let mut out = seeds::tls_record(22, &[1, 0, 0xff, 0xff]);
            out.extend(seeds::tls_record(22, b"a").repeat(n as usize));
            vec![(ToServer, out)]
        },
    ),
    case(
        "a chain of tiny certificates",
        "CVE-2022-0778 class",
        SEGMENT,
        |seed, n| {
            let chain = b"\0\0\x02\x30\0".repeat(n.min(3000) as usize);
            let length = (chain.len() as u32).to_be_bytes();
            let body = [&length[1..], &chain].concat();
            let mut talk = seed.begin.clone();
            let hello = seeds::tls_handshake(11, &body);
            talk.push((ToClient, hello.repeat((n as usize).div_ceil(3000))));
            talk
        },
    ),
    case("empty records", "zero-length record", SEGMENT, |_, n| {
        vec![(ToServer, seeds::tls_record(22, b"").repeat(n as usize))]
    }),
];

const SSH: &[Hostile] = &[case("a banner without end", "2024-28870", 1, |_, n| {
    vec![(
        ToServer,
        [&b"SSH-2.0-"[..], &vec![b'a'; n as usize]].concat(),
    )]
})];

const KRB5: &[Hostile] = &[case(
    "a long record, byte by byte",
    "2026-31932",
    1,
    |_, n| {
        let record = seeds::length32(&[&b"\x6a\x82\x7f\xf0"[..], &[0x30; 8000]].concat());
        vec![(
            ToServer,
            record.into_iter().cycle().take(n as usize).collect(),
        )]
    },
)];

const LDAP: &[Hostile] = &[
    case("entries without end", "2026-45768", SEGMENT, |seed, n| {
        let entry = seeds::ldap(1, b"\x64\x07\x04\x03c=a\x30\0");
        vec![
            (ToServer, (seed.client)(1)),
            (ToClient, entry.repeat(n as usize)),
        ]
    }),
    case("a deep filter", "nested 10^4 deep", SEGMENT, |_, n| {
        vec![(ToServer, b"\x30\x80".repeat(n as usize))]
    }),
];

const IKE: &[Hostile] = &[case("many transforms", "2026-45769", usize::MAX, |_, n| {
    (0..n / 64 + 1)
        .map(|at| (ToServer, seeds::ike(at, 64)))
        .collect()
})];

const DNP3: &[Hostile] = &[case(
    "segments without end",
    "2026-45765",
    SEGMENT,
    |_, n| {
        let frames = (0..n).flat_map(|at| {
            let sequence = at as u8 & 0x3f;
            let first = if at == 0 { 0x40 } else { 0 };
            seeds::dnp3_frame(true, &[first | sequence, 0xc0, 1, 60, 1, 6, 0, 0, 0, 0])
        });
        vec![(ToServer, frames.collect())]
    },
)];

const NFS: &[Hostile] = &[case(
    "reads that nobody answers",
    "2026-45766",
    SEGMENT,
    |_, n| {
        let calls = (0..n).flat_map(|at| seeds::rpc_call(at, 6));
        vec![(ToServer, calls.collect())]
    },
)];

const DCERPC: &[Hostile] = &[case(
    "fragments without end",
    "2026-22258",
    SEGMENT,
    |seed, n| {
        let mut talk = seed.begin.clone();
        let body = [&b"\0\x10\0\0\0\0\x05\0"[..], &[7; 100]].concat();
        let fragments = (0..n).flat_map(|at| seeds::dce(0, u8::from(at == 0), 2, &body));
        talk.push((ToServer, fragments.collect()));
        talk
    },
)];

const WEBSOCKET: &[Hostile] = &[case(
    "fragments without end",
    "2026-22258 class",
    SEGMENT,
    |_, n| {
        let mut out = b"\x01\x81\x01\x02\x03\x04a".to_vec();
        out.extend(b"\0\x81\x01\x02\x03\x04a".repeat(n as usize));
        vec![(ToServer, out)]
    },
)];

const SIP: &[Hostile] = &[case("many headers", "2024-45797 class", SEGMENT, |_, n| {
    let headers = "Via: SIP/2.0/UDP a\r\n".repeat(n as usize);
    vec![(
        ToServer,
        format!("OPTIONS sip:a SIP/2.0\r\n{headers}\r\n").into(),
    )]
})];

const PGSQL: &[Hostile] = &[case(
    "rows without end",
    "2026-45768 class",
    SEGMENT,
    |seed, n| {
        let mut talk = seed.begin.clone();
        talk.push((ToServer, (seed.client)(1)));
        talk.push((
            ToClient,
            seeds::pgsql(b'D', b"\0\x01\0\0\0\x01a").repeat(n as usize),
        ));
        talk
    },
)];

const TELNET: &[Hostile] = &[case(
    "a negotiation without end",
    "#5023",
    SEGMENT,
    |_, n| {
        vec![(
            ToServer,
            [&b"\xff\xfa\x18"[..], &vec![b'a'; 16 * n as usize]].concat(),
        )]
    },
)];

const SNMP: &[Hostile] = &[case(
    "deep nesting",
    "nested 10^4 deep",
    usize::MAX,
    |_, n| {
        (0..n / 256 + 1)
            .map(|_| (ToServer, b"\x30\x82\x7f\xff".repeat(256)))
            .collect()
    },
)];

const DHT: &[Hostile] = &[case(
    "lists within lists",
    "nested 10^4 deep",
    usize::MAX,
    |_, n| {
        (0..n / 256 + 1)
            .map(|_| (ToServer, [&b"d1:ad2:id"[..], &[b'l'; 1200]].concat()))
            .collect()
    },
)];

const FTP: &[Hostile] = &[case(
    "commands that nobody answers",
    "#8660",
    SEGMENT,
    |seed, n| {
        let mut talk = seed.begin.clone();
        talk.push((ToServer, "PASV\r\nRETR a\r\n".repeat(n as usize).into()));
        talk
    },
)];
