//! A small message of each side for every protocol, numbered so that requests differ, and what is
//! said before the first one. Bytes are built here from the protocols' RFCs and specifications.

use sluice::app::AppProtocol;
use sluice::packet::Direction::{self, ToClient, ToServer};

/// What is said, in order.
pub type Talk = Vec<(Direction, Vec<u8>)>;

/// The messages of a protocol.
pub struct Seed {
    /// Said once, first.
    pub begin: Talk,
    /// Request of this number.
    pub client: fn(u32) -> Vec<u8>,
    /// Its answer.
    pub server: fn(u32) -> Vec<u8>,
}

fn seed(client: fn(u32) -> Vec<u8>, server: fn(u32) -> Vec<u8>) -> Seed {
    Seed {
        begin: Vec::new(),
        client,
        server,
    }
}

/// The seed of a protocol; a protocol without one is a failure.
pub fn of(protocol: AppProtocol) -> Seed {
    use AppProtocol as P;
    let begin = |begin: Talk, seed: Seed| Seed { begin, ..seed };
    match protocol {
        P::Http => seed(
            |n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n").into(),
            |n| {
                format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{:04}",
                    n % 9999
                )
                .into()
            },
        ),
        P::Http2 => begin(
            vec![
                (ToServer, http2_preface()),
                (ToClient, http2_frame(4, 0, 0, &[])),
            ],
            seed(
                |n| http2_frame(1, 5, 2 * n + 1, b"\x82\x84\x86\x41\x01a"),
                |n| http2_frame(1, 5, 2 * n + 1, b"\x88"),
            ),
        ),
        P::Tls => begin(
            vec![
                (ToServer, tls_client_hello()),
                (ToClient, tls_server_hello()),
            ],
            seed(|_| tls_record(23, &[7; 40]), |_| tls_record(23, &[8; 40])),
        ),
        P::Dns | P::Mdns | P::Llmnr => seed(|n| dns(n, false), |n| dns(n, true)),
        P::Smtp => begin(
            vec![(ToClient, b"220 a ESMTP\r\n".to_vec())],
            seed(
                |n| format!("RCPT TO:<u{n}@a>\r\n").into(),
                |_| b"250 ok\r\n".to_vec(),
            ),
        ),
        P::Ftp => begin(
            vec![(ToClient, b"220 ready\r\n".to_vec())],
            seed(
                |n| format!("CWD d{n}\r\n").into(),
                |_| b"250 ok\r\n".to_vec(),
            ),
        ),
        P::FtpData => seed(|_| Vec::new(), |n| format!("line {n} of a file\n").into()),
        P::Ssh => begin(
            vec![
                (ToServer, b"SSH-2.0-c\r\n".to_vec()),
                (ToClient, b"SSH-2.0-s\r\n".to_vec()),
            ],
            seed(|_| ssh_packet(), |_| ssh_packet()),
        ),
        P::Smb => seed(|n| smb2(13, n, false), |n| smb2(13, n, true)),
        P::Dcerpc => begin(
            vec![(ToServer, dce_bind()), (ToClient, dce(12, 3, 1, &[0; 40]))],
            seed(
                |n| dce(0, 3, n + 2, b"\x04\0\0\0\0\0\x05\0stub"),
                |n| dce(2, 3, n + 2, b"\x04\0\0\0\0\0\0\0back"),
            ),
        ),
        P::Nfs => seed(|n| rpc_call(n, 1), rpc_reply),
        _ => of_others(protocol),
    }
}

fn of_others(protocol: AppProtocol) -> Seed {
    use AppProtocol as P;
    let begin = |begin: Talk, seed: Seed| Seed { begin, ..seed };
    match protocol {
        P::Quic => seed(quic_initial, quic_initial),
        P::Websocket => seed(
            |_| b"\x81\x85\x01\x02\x03\x04\x69\x67\x6f\x68\x6e".to_vec(),
            |_| b"\x81\x05hello".to_vec(),
        ),
        P::Krb5 => seed(
            |n| length32(&krb5_request(n)),
            |n| length32(&krb5_request(n)),
        ),
        P::Dhcp => seed(|n| dhcp(1, n), |n| dhcp(2, n)),
        P::Enip => seed(enip, enip),
        P::Ike => seed(|n| ike(n, 1), |n| ike(n, 1)),
        P::Dnp3 => seed(|n| dnp3(n, true), |n| dnp3(n, false)),
        P::Modbus => seed(
            |n| modbus(n, b"\x03\0\0\0\x01"),
            |n| modbus(n, b"\x03\x02\0\x07"),
        ),
        P::Sip => seed(
            |n| {
                format!("OPTIONS sip:{n}@a SIP/2.0\r\nVia: SIP/2.0/UDP a\r\nFrom: <sip:a@a>\r\nTo: <sip:b@b>\r\nContent-Length: 0\r\n\r\n").into()
            },
            |_| b"SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
        ),
        P::Rdp => seed(
            |_| b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\x03\0\0\0".to_vec(),
            |_| b"\x03\0\0\x13\x0e\xd0\0\0\x12\x34\0\x02\0\x08\0\x01\0\0\0".to_vec(),
        ),
        P::Snmp => seed(|n| snmp(0xa0, n), |n| snmp(0xa2, n)),
        P::Rfb => begin(
            vec![
                (ToClient, b"RFB 003.008\n".to_vec()),
                (ToServer, b"RFB 003.008\n".to_vec()),
                (ToClient, b"\x01\x01".to_vec()),
            ],
            seed(|_| b"\x01".to_vec(), |_| b"\0\0\0\0".to_vec()),
        ),
        P::Mqtt => begin(
            vec![
                (
                    ToServer,
                    b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01a".to_vec(),
                ),
                (ToClient, b"\x20\x02\0\0".to_vec()),
            ],
            seed(mqtt_publish, |n| {
                let id = (n % 65_535 + 1) as u16;
                [&b"\x40\x02"[..], &id.to_be_bytes()].concat()
            }),
        ),
        P::Ldap => seed(
            |n| {
                ldap(
                    n,
                    b"\x63\x13\x04\0\x0a\x01\x02\x0a\x01\0\x02\x01\0\x02\x01\0\x01\x01\0\x87\0",
                )
            },
            |n| ldap(n, b"\x65\x07\x0a\x01\0\x04\0\x04\0"),
        ),
        P::Tftp => seed(
            |n| format!("\0\x01f{n}\0octet\0").into(),
            |_| b"\0\x03\0\x01data".to_vec(),
        ),
        P::BittorrentDht => seed(
            |_| b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe".to_vec(),
            |_| b"d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re".to_vec(),
        ),
        P::Pgsql => begin(
            vec![
                (ToServer, b"\0\0\0\x10\0\x03\0\0user\0a\0\0".to_vec()),
                (ToClient, b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I".to_vec()),
            ],
            seed(
                |n| pgsql(b'Q', format!("select {n}\0").as_bytes()),
                |_| [pgsql(b'C', b"SELECT 1\0"), pgsql(b'Z', b"I")].concat(),
            ),
        ),
        P::Pop3 => begin(
            vec![(ToClient, b"+OK ready\r\n".to_vec())],
            seed(|n| format!("DELE {n}\r\n").into(), |_| b"+OK\r\n".to_vec()),
        ),
        P::Imap => begin(
            vec![(ToClient, b"* OK ready\r\n".to_vec())],
            seed(
                |n| format!("a{n} NOOP\r\n").into(),
                |n| format!("a{n} OK\r\n").into(),
            ),
        ),
        P::Telnet => seed(
            |n| format!("\u{ff}line {n}\r\n").into(),
            |_| b"\xff\xfd\x18text\r\n".to_vec(),
        ),
        P::Ntp => seed(
            |_| [&[0x1b][..], &[0; 47]].concat(),
            |_| [&[0x1c][..], &[1; 47]].concat(),
        ),
        other => panic!("no messages of {} are written down here", other.name()),
    }
}

/// Four bytes of length, then the bytes.
pub fn length32(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

fn length16(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
}

/// RFC 9113: the client's preface and an empty SETTINGS.
pub fn http2_preface() -> Vec<u8> {
    [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        &http2_frame(4, 0, 0, &[]),
    ]
    .concat()
}

/// RFC 9113 section 4.1.
pub fn http2_frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// RFC 5246 section 6.2.1.
pub fn tls_record(kind: u8, payload: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &length16(payload)].concat()
}

/// A handshake message in a record of its own.
pub fn tls_handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32).to_be_bytes();
    tls_record(22, &[&[kind][..], &length[1..], body].concat())
}

fn tls_client_hello() -> Vec<u8> {
    let name = [&b"\0"[..], &length16(b"a.example")].concat();
    let sni = [&b"\0\0"[..], &length16(&length16(&name))].concat();
    tls_handshake(
        1,
        &[
            &b"\x03\x03"[..],
            &[5; 32],
            b"\0\0\x02\x13\x01\x01\0",
            &length16(&sni),
        ]
        .concat(),
    )
}

fn tls_server_hello() -> Vec<u8> {
    tls_handshake(
        2,
        &[&b"\x03\x03"[..], &[6; 32], b"\0\x13\x01\0\0\0"].concat(),
    )
}

/// RFC 1035 section 4: a question for `nN.example`, with or without an answer.
pub fn dns(number: u32, answer: bool) -> Vec<u8> {
    let label = format!("n{number}");
    let question = [
        &[label.len() as u8][..],
        label.as_bytes(),
        b"\x07example\0\0\x01\0\x01",
    ]
    .concat();
    let id = (number as u16).to_be_bytes();
    let (flags, count) = if answer { (0x80, 1) } else { (1, 0) };
    let mut out = [&id[..], &[flags, 0, 0, 1, 0, count, 0, 0, 0, 0], &question].concat();
    if answer {
        out.extend_from_slice(b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x01\x02\x03\x04");
    }
    out
}

/// RFC 4253 section 6: an unencrypted packet of no known type.
fn ssh_packet() -> Vec<u8> {
    length32(&[&[6, 2][..], &[0; 16]].concat())
}

/// MS-SMB2 2.2.1 behind a NetBIOS header.
pub fn smb2(command: u8, number: u32, answer: bool) -> Vec<u8> {
    let header = [
        &b"\xfeSMB\x40\0\0\0\0\0\0\0"[..],
        &[command, 0, 1, 0, u8::from(answer), 0, 0, 0, 0, 0, 0, 0],
        &number.to_le_bytes(),
        &[0; 36],
        b"\x04\0\0\0",
    ]
    .concat();
    length32(&header)
}

/// C706 12.6.4: kind, flags (1 first, 2 last), call.
pub fn dce(kind: u8, flags: u8, call: u32, body: &[u8]) -> Vec<u8> {
    let length = (16 + body.len()) as u16;
    [
        &[5, 0, kind, flags, 0x10, 0, 0, 0][..],
        &length.to_le_bytes(),
        &[0, 0],
        &call.to_le_bytes(),
        body,
    ]
    .concat()
}

fn dce_bind() -> Vec<u8> {
    let body = [
        &b"\xb8\x10\xb8\x10\0\0\0\0\x01\0\0\0\0\0\x01\0"[..],
        &[0x11; 16],
        b"\x01\0\0\0",
        &[0x22; 16],
        b"\x02\0\0\0",
    ]
    .concat();
    dce(11, 3, 1, &body)
}

/// RFC 5531 and 1813: a call of NFS version 3 (1: GETATTR, 6: READ).
pub fn rpc_call(number: u32, procedure: u32) -> Vec<u8> {
    let words = [
        number,
        0,
        2,
        100_003,
        3,
        procedure,
        0,
        0,
        0,
        0,
        4,
        0x0102_0304,
        0,
        0,
        64,
    ];
    let words = if procedure == 6 {
        &words[..]
    } else {
        &words[..12]
    };
    rpc_record(words)
}

fn rpc_reply(number: u32) -> Vec<u8> {
    rpc_record(&[number, 1, 0, 0, 0, 0, 0])
}

fn rpc_record(words: &[u32]) -> Vec<u8> {
    let body: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    let mut out = length32(&body);
    out[0] |= 0x80;
    out
}

/// RFC 9000 17.2.2, with a payload that no key opens.
fn quic_initial(number: u32) -> Vec<u8> {
    [
        &b"\xc0\0\0\0\x01\x08"[..],
        &u64::from(number).to_be_bytes(),
        b"\0\0\x44\xb0",
        &[9; 1200],
    ]
    .concat()
}

/// RFC 4120: the start of an AS-REQ.
pub fn krb5_request(number: u32) -> Vec<u8> {
    let nonce = number.to_be_bytes();
    let body = [
        &b"\xa0\x07\x03\x05\0\x40\0\0\x10\xa2\x03\x1b\x01R\xa7\x06\x02\x04"[..],
        &nonce,
        b"\xa8\x05\x30\x03\x02\x01\x12",
    ]
    .concat();
    let body = [&[0x30, body.len() as u8][..], &body].concat();
    let parts = [
        &b"\xa1\x03\x02\x01\x05\xa2\x03\x02\x01\x0a\xa4"[..],
        &[body.len() as u8],
        &body,
    ]
    .concat();
    [
        &[0x6a, parts.len() as u8 + 2, 0x30, parts.len() as u8][..],
        &parts,
    ]
    .concat()
}

/// RFC 2131.
fn dhcp(op: u8, number: u32) -> Vec<u8> {
    [
        &[op, 1, 6, 0][..],
        &number.to_be_bytes(),
        &[0; 228],
        b"\x63\x82\x53\x63\x35\x01\x01\xff",
    ]
    .concat()
}

/// EtherNet/IP: ListIdentity.
fn enip(number: u32) -> Vec<u8> {
    [
        &b"\x63\0\0\0\0\0\0\0\0\0\0\0"[..],
        &u64::from(number).to_le_bytes(),
        b"\0\0\0\0",
    ]
    .concat()
}

/// RFC 2408: a main mode header with an SA of so many transforms.
pub fn ike(number: u32, transforms: usize) -> Vec<u8> {
    let mut proposals = Vec::new();
    for place in 0..transforms {
        let next = if place + 1 < transforms { 3 } else { 0 };
        proposals.extend_from_slice(&[next, 0, 0, 16, 1, 1, 0, 0]);
        proposals.extend_from_slice(&[0x80, 1, 0, 5, 0x80, 2, 0, 2]);
    }
    let proposal = [
        &b"\0\0"[..],
        &((proposals.len() + 8) as u16).to_be_bytes(),
        &[1, 1, 0, transforms as u8],
        &proposals,
    ]
    .concat();
    let sa = [
        &b"\0\0"[..],
        &((proposal.len() + 12) as u16).to_be_bytes(),
        &[0, 0, 0, 1, 0, 0, 0, 1],
        &proposal,
    ]
    .concat();
    [
        &u64::from(number + 1).to_be_bytes()[..],
        &[0; 8],
        &[1, 0x10, 2, 0, 0, 0, 0, 0],
        &((sa.len() + 28) as u32).to_be_bytes(),
        &sa,
    ]
    .concat()
}

/// IEEE 1815: CRC of a block.
fn dnp3_crc(bytes: &[u8]) -> [u8; 2] {
    let mut crc = 0u16;
    for byte in bytes {
        crc ^= u16::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 != 0 {
                crc >> 1 ^ 0xa6bc
            } else {
                crc >> 1
            };
        }
    }
    (!crc).to_le_bytes()
}

/// A link frame with this transport byte and application bytes (16 at most in all).
pub fn dnp3_frame(from_master: bool, data: &[u8]) -> Vec<u8> {
    let control = if from_master { 0xc4 } else { 0x44 };
    let head = [&[5, 0x64, 5 + data.len() as u8, control, 1, 0, 2, 0][..]].concat();
    let mut out = head.clone();
    out.extend_from_slice(&dnp3_crc(&head));
    for block in data.chunks(16) {
        out.extend_from_slice(block);
        out.extend_from_slice(&dnp3_crc(block));
    }
    out
}

fn dnp3(number: u32, request: bool) -> Vec<u8> {
    let sequence = (number & 15) as u8;
    let data: &[u8] = if request {
        &[0xc0 | sequence, 0xc0 | sequence, 1, 60, 1, 6]
    } else {
        &[0xc0 | sequence, 0xc0 | sequence, 0x81, 0, 0]
    };
    dnp3_frame(request, data)
}

fn modbus(number: u32, pdu: &[u8]) -> Vec<u8> {
    [
        &(number as u16).to_be_bytes()[..],
        &[0, 0, 0, pdu.len() as u8 + 1, 1],
        pdu,
    ]
    .concat()
}

/// RFC 3416: a request or response about one variable.
fn snmp(kind: u8, number: u32) -> Vec<u8> {
    let id = number.to_be_bytes();
    let pdu = [
        &[0x02, 0x04][..],
        &id,
        b"\x02\x01\0\x02\x01\0\x30\x0d\x30\x0b\x06\x07\x2b\x06\x01\x02\x01\x01\x01\x05\0",
    ]
    .concat();
    let body = [
        &b"\x02\x01\x01\x04\x06public"[..],
        &[kind, pdu.len() as u8],
        &pdu,
    ]
    .concat();
    [&[0x30, body.len() as u8][..], &body].concat()
}

/// MQTT 3.1.1 section 3.3, QoS 1.
pub fn mqtt_publish(number: u32) -> Vec<u8> {
    let id = (number % 65_535 + 1) as u16;
    [&b"\x32\x09\0\x03a/b"[..], &id.to_be_bytes(), b"xy"].concat()
}

/// RFC 4511 section 4.1.1.
pub fn ldap(number: u32, operation: &[u8]) -> Vec<u8> {
    let id = (number & 0x7fff_ffff).to_be_bytes();
    let body = [&[0x02, 0x04][..], &id, operation].concat();
    [&[0x30, body.len() as u8][..], &body].concat()
}

/// PostgreSQL 3.0: a typed message.
pub fn pgsql(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32 + 4).to_be_bytes();
    [&[kind][..], &length, body].concat()
}
