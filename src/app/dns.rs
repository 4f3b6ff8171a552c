//! DNS over UDP and TCP (RFC 1035 section 4); mdns.rs and llmnr.rs share what stands here. A message is a transaction: rules to_server see requests, rules to_client answers.
//!
//! Names are text as rules want them: labels joined by dots, letter case as sent, nothing escaped.
//! A message is read once, front to back, and what was read before something malformed is kept: a
//! server that answers the question in front of a broken record must not hide it from us.
//! Pointers are followed within a budget of steps for the whole message.

use super::field::{Field, Progress};
use super::output::{AppEvent, Output, TxId};
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use super::record::MESSAGE_MAX;
use crate::packet::Direction;

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::Dns,
    probe,
    over: &[Transport::Udp, Transport::Tcp],
    fields: &[
        Field::DnsQuery,
        Field::DnsQueryName,
        Field::DnsAnswerName,
        Field::DnsQueriesRrname,
        Field::DnsAnswersRrname,
        Field::DnsAuthoritiesRrname,
        Field::DnsAdditionalsRrname,
        Field::DnsResponseRrname,
        Field::DnsOpcode,
        Field::DnsRcode,
        Field::DnsRrtype,
        Field::FrameDnsPdu,
    ],
    events: EVENTS,
};

/// Events of all three protocols.
pub(super) const EVENTS: &[&str] = &[
    "malformed_data",
    "not_request",
    "not_response",
    "z_flag_set",
    "invalid_opcode",
    "name_too_long",
    "infinite_loop",
    "too_many_labels",
    "invalid_additionals",
    "invalid_authorities",
    // What older rules call the second and the third.
    "not_a_request",
    "not_a_response",
];

/// Places in `EVENTS`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Odd {
    Malformed = 0,
    NotRequest = 1,
    NotResponse = 2,
    ZFlag = 3,
    Opcode = 4,
    NameTooLong = 5,
    InfiniteLoop = 6,
    TooManyLabels = 7,
    Additionals = 8,
    Authorities = 9,
    NotARequest = 10,
    NotAResponse = 11,
}

/// Bytes of the header (RFC 1035 section 4.1.1).
const HEADER: usize = 12;
/// Bytes of a name as text; what is longer is cut, as resolvers do.
const NAME_MAX: usize = 1025;
/// Labels and pointers of one name.
const LABELS_MAX: usize = 255;
/// The first opcode that is not assigned.
const OPCODE_UNASSIGNED: u16 = 7;
const RESPONSE: u16 = 0x8000;
const RESERVED: u16 = 0x0040;

/// What tells the three protocols apart.
pub(super) struct Variant {
    /// Which of them.
    pub protocol: AppProtocol,
    /// Its port.
    pub port: u16,
    /// Fields of the names that questions ask for.
    pub queries: &'static [Field],
    /// Fields of the names of answers.
    pub answers: &'static [Field],
    /// Field of the names of the authority section.
    pub authorities: Field,
    /// Field of the names of the additional section.
    pub additionals: Field,
    /// Names of all sections of a response, and names that its records point to.
    pub response: Field,
}

const OF_DNS: Variant = Variant {
    protocol: AppProtocol::Dns,
    port: 53,
    queries: &[
        Field::DnsQuery,
        Field::DnsQueryName,
        Field::DnsQueriesRrname,
    ],
    answers: &[Field::DnsAnswerName, Field::DnsAnswersRrname],
    authorities: Field::DnsAuthoritiesRrname,
    additionals: Field::DnsAdditionalsRrname,
    response: Field::DnsResponseRrname,
};

/// The header's numbers.
#[derive(Clone, Copy, Debug)]
struct Header {
    flags: u16,
    /// Records of the four sections.
    counts: [u16; 4],
}

impl Header {
    fn read(message: &[u8]) -> Option<Header> {
        let word = |at: usize| {
            Some(u16::from_be_bytes(
                message.get(at..at + 2)?.try_into().ok()?,
            ))
        };
        Some(Header {
            flags: word(2)?,
            counts: [word(4)?, word(6)?, word(8)?, word(10)?],
        })
    }

    /// Whether a message of `length` bytes can begin so: a record takes two bytes at least, a
    /// request asks something, and nothing follows a header that announces nothing.
    fn is_plausible(&self, length: usize) -> bool {
        let records: usize = self.counts.iter().map(|n| usize::from(*n)).sum();
        let asks = self.flags & RESPONSE != 0 || self.counts[0] != 0;
        2 * records <= length && (records != 0 || length <= HEADER) && asks
    }

    fn opcode(&self) -> u16 {
        self.flags >> 11 & 0xf
    }
}

fn probe(probe: &Probe<'_>) -> Guess {
    let [tcp, udp] = &probe.limits.parsers.dns_ports;
    let ports = match probe.transport {
        Transport::Tcp => tcp,
        Transport::Udp => udp,
    };
    if !ports.contains(&probe.server_port) {
        return Guess::No;
    }
    if probe.transport == Transport::Udp {
        return looks_whole(probe.bytes);
    }
    let Some(length) = probe.bytes.first_chunk() else {
        return Guess::More;
    };
    let length = usize::from(u16::from_be_bytes(*length));
    match Header::read(probe.bytes.get(2..).unwrap_or(&[])) {
        None => Guess::More,
        Some(header) if length >= HEADER && header.is_plausible(length) => Guess::Yes,
        Some(_) => Guess::No,
    }
}

/// Whether a datagram has a plausible header and questions and answers of the right form; names
/// are stepped over, not followed.
pub(super) fn looks_whole(message: &[u8]) -> Guess {
    let Some(header) = Header::read(message).filter(|h| h.is_plausible(message.len())) else {
        return Guess::No;
    };
    let mut at = HEADER;
    for (section, count) in header.counts.iter().take(2).enumerate() {
        for _ in 0..*count {
            let Some(end) =
                skip_name(message, at).and_then(|end| record_end(message, end, section))
            else {
                return Guess::No;
            };
            at = end;
        }
    }
    Guess::Yes
}

/// Where the name at a place ends.
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    for _ in 0..=LABELS_MAX {
        let Some(length) = message.get(at) else {
            return (at == message.len()).then_some(at);
        };
        match length {
            0 => return Some(at + 1),
            1..=63 => at += 1 + usize::from(*length),
            192..=255 => return Some(at + 2),
            _ => return None,
        }
    }
    None
}

/// Where the record ends whose name ends at a place.
fn record_end(message: &[u8], at: usize, section: usize) -> Option<usize> {
    let end = match section {
        0 => at + 4,
        _ => {
            let length = message.get(at + 8..at + 10)?;
            at + 10 + usize::from(u16::from_be_bytes(length.try_into().ok()?))
        }
    };
    (end <= message.len()).then_some(end)
}

/// A parser of DNS.
#[derive(Debug, Default)]
pub struct Dns {
    /// Bytes are missing: the next ones begin a message only if they look like it.
    lost: [bool; 2],
}

impl Parse for Dns {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        let (bytes, direction) = (input.bytes, input.direction);
        if input.transport == Transport::Udp {
            read_message(&OF_DNS, bytes, direction, out);
            return Ok(Taken::all(bytes.len()));
        }
        let lost = &mut self.lost[direction.index()];
        *lost |= input.gap > 0;
        if *lost {
            let ahead = bytes.get(2..).and_then(Header::read);
            let length = bytes.first_chunk().map_or(0, |b| u16::from_be_bytes(*b));
            if !ahead.is_some_and(|header| header.is_plausible(usize::from(length))) {
                return Ok(Taken::all(bytes.len()));
            }
            *lost = false;
        }
        read_stream(bytes, direction, out)
    }
}

/// Messages of a stream, each behind its length (RFC 1035 section 4.2.2).
fn read_stream(bytes: &[u8], direction: Direction, out: &mut Output<'_>) -> Result<Taken, Broken> {
    let mut at = 0;
    // Each round takes two bytes at least.
    while let Some(length) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let length = usize::from(u16::from_be_bytes(*length));
        let Some(message) = bytes.get(at + 2..at + 2 + length) else {
            return Ok(Taken::until(at, 2 + length));
        };
        at += 2 + length;
        if length > 0 && !read_message(&OF_DNS, message, direction, out) {
            return Err(Broken);
        }
    }
    Ok(Taken::until(at, 2))
}

/// A DNS message that another protocol carries (DNS over HTTPS): its fields, in a transaction of
/// that protocol. Whether it was one.
pub fn read_carried(message: &[u8], direction: Direction, tx: TxId, out: &mut Output<'_>) -> bool {
    let Some(header) = Header::read(message).filter(|h| h.is_plausible(message.len())) else {
        return false;
    };
    let mut reader = Reader::new(&OF_DNS, message, direction, header, out, tx);
    reader.read();
    true
}

/// Reads a message as a transaction; false if its header is none.
pub(super) fn read_message(
    variant: &Variant,
    message: &[u8],
    direction: Direction,
    out: &mut Output<'_>,
) -> bool {
    let Some(header) = Header::read(message).filter(|h| h.is_plausible(message.len())) else {
        return false;
    };
    let answers = header.flags & RESPONSE != 0;
    if variant.protocol == AppProtocol::Dns && direction == Direction::ToServer && answers {
        for odd in [Odd::NotRequest, Odd::NotARequest] {
            let event = AppEvent::of(variant.protocol, odd as u8);
            out.event(TxId::NONE, direction, event);
        }
        return true;
    }
    if variant.protocol == AppProtocol::Dns {
        out.frame(Field::FrameDnsPdu, direction, message);
    }
    let tx = out.open_one_way(direction);
    let mut reader = Reader::new(variant, message, direction, header, out, tx);
    reader.read();
    out.progress(tx, direction, Progress::Head);
    out.complete(tx);
    true
}

/// Where a name was cut, or why it is none.
enum NameEnd {
    At(usize),
    Bad,
}

struct Reader<'r, 'o> {
    variant: &'r Variant,
    message: &'r [u8],
    direction: Direction,
    header: Header,
    out: &'r mut Output<'o>,
    tx: TxId,
    /// Labels and pointers that may still be followed in this message.
    budget: usize,
    /// Events that were given, by their places.
    given: u16,
}

/// What is to be done with the names of a section.
struct Section<'s> {
    place: usize,
    fields: &'s [Field],
    /// The names belong to a response's.
    response: bool,
    rrtypes: bool,
}

impl<'r, 'o> Reader<'r, 'o> {
    fn new(
        variant: &'r Variant,
        message: &'r [u8],
        direction: Direction,
        header: Header,
        out: &'r mut Output<'o>,
        tx: TxId,
    ) -> Reader<'r, 'o> {
        Reader {
            variant,
            message,
            direction,
            header,
            out,
            tx,
            // A record takes 11 bytes; its name seldom has more than ten parts.
            budget: 2 * message.len() + 4 * LABELS_MAX,
            given: 0,
        }
    }

    fn event(&mut self, odd: Odd) {
        let bit = 1 << odd as u8;
        if self.given & bit == 0 {
            self.given |= bit;
            let event = AppEvent::of(self.variant.protocol, odd as u8);
            self.out.event(self.tx, self.direction, event);
        }
    }

    fn read(&mut self) {
        if self.out.wants(Field::DnsMessage) {
            let message = self.message.get(..MESSAGE_MAX).unwrap_or(self.message);
            let field = Field::DnsMessage;
            self.out.field(self.tx, field, self.direction, message);
        }
        self.read_header();
        let mut at = HEADER;
        for place in 0..4 {
            match self.read_section(place, at) {
                Some(end) => at = end,
                None => {
                    self.event(match place {
                        0 | 1 => Odd::Malformed,
                        2 => Odd::Authorities,
                        _ => Odd::Additionals,
                    });
                    return;
                }
            }
        }
    }

    fn read_header(&mut self) {
        let (header, direction) = (self.header, self.direction);
        let response = header.flags & RESPONSE != 0;
        if direction == Direction::ToClient && !response {
            self.event(Odd::NotResponse);
            self.event(Odd::NotAResponse);
        }
        if header.flags & RESERVED != 0 {
            self.event(Odd::ZFlag);
        }
        let queries_only = self.variant.protocol == AppProtocol::Llmnr && header.opcode() != 0;
        if queries_only || header.opcode() >= OPCODE_UNASSIGNED {
            self.event(Odd::Opcode);
        }
        if self.variant.protocol != AppProtocol::Dns {
            return;
        }
        for (field, number) in [
            (Field::DnsOpcode, header.opcode()),
            (Field::DnsRcode, header.flags & 0xf),
        ] {
            if self.out.wants(field) {
                self.out
                    .number(self.tx, field, direction, u64::from(number));
            }
        }
    }

    /// Reads one section; where it ends, or None when it is malformed.
    fn read_section(&mut self, place: usize, mut at: usize) -> Option<usize> {
        let variant = self.variant;
        // In multicast DNS the header tells a response, else the side it comes from.
        let response = match variant.protocol {
            AppProtocol::Mdns => self.header.flags & RESPONSE != 0,
            _ => self.direction == Direction::ToClient,
        };
        let fields: &[Field] = match place {
            0 if variant.protocol == AppProtocol::Mdns && response => &[],
            0 => variant.queries,
            1 => variant.answers,
            2 if response => std::slice::from_ref(&variant.authorities),
            3 if response => std::slice::from_ref(&variant.additionals),
            _ => &[],
        };
        let is_dns = variant.protocol == AppProtocol::Dns;
        let mut section = Section {
            place,
            fields,
            response: response && self.out.wants(variant.response),
            rrtypes: is_dns && place == usize::from(response) && self.out.wants(Field::DnsRrtype),
        };
        for _ in 0..self.header.counts[place] {
            at = self.read_record(&mut section, at)?;
        }
        Some(at)
    }

    /// One question or record.
    fn read_record(&mut self, section: &mut Section<'_>, at: usize) -> Option<usize> {
        let NameEnd::At(name_end) = self.read_name(at) else {
            return None;
        };
        let end = record_end(self.message, name_end, section.place)?;
        let rrtype = self.word(name_end)?;
        if self.out.shared.scratch.is_empty() {
            // Rules do not see the root, nor what follows it in the section.
            section.fields = &[];
            section.response = false;
        }
        for field in section.fields {
            // Only rules to_server read `dns.query`.
            let other_side = *field == Field::DnsQuery && self.direction == Direction::ToClient;
            if !other_side && self.out.wants(*field) {
                self.out.field_of_scratch(self.tx, *field, self.direction);
            }
        }
        if section.response {
            let field = self.variant.response;
            self.out.field_of_scratch(self.tx, field, self.direction);
        }
        if section.rrtypes {
            let number = u64::from(rrtype);
            self.out
                .number(self.tx, Field::DnsRrtype, self.direction, number);
        }
        if section.place > 0 {
            self.read_data(section, rrtype, name_end + 10, end)?;
        }
        Some(end)
    }

    /// The name that a record's data hold, for the rules that look at all names of a response.
    fn read_data(
        &mut self,
        section: &Section<'_>,
        rrtype: u16,
        start: usize,
        end: usize,
    ) -> Option<()> {
        let name_at = match rrtype {
            // NS, CNAME, SOA, PTR
            2 | 5 | 6 | 12 => start,
            // MX: behind the preference
            15 => start + 2,
            _ => return Some(()),
        };
        if !section.response {
            return Some(());
        }
        if name_at > end {
            return None;
        }
        let NameEnd::At(_) = self.read_name(name_at) else {
            return None;
        };
        if !self.out.shared.scratch.is_empty() {
            let field = self.variant.response;
            self.out.field_of_scratch(self.tx, field, self.direction);
        }
        Some(())
    }

    fn word(&self, at: usize) -> Option<u16> {
        let bytes = self.message.get(at..at + 2)?;
        Some(u16::from_be_bytes(bytes.try_into().ok()?))
    }

    /// Reads a name to the scratch; where it ends in the message.
    fn read_name(&mut self, start: usize) -> NameEnd {
        let mut name = std::mem::take(&mut self.out.shared.scratch);
        name.clear();
        let end = self.follow_name(start, &mut name);
        self.out.shared.scratch = name;
        end
    }

    fn follow_name(&mut self, mut at: usize, name: &mut Vec<u8>) -> NameEnd {
        // Behind the first pointer.
        let mut end = None;
        let mut cut = false;
        for _ in 0..=LABELS_MAX {
            if self.budget == 0 {
                return NameEnd::Bad;
            }
            self.budget -= 1;
            let Some(length) = self.message.get(at).copied() else {
                // Nothing more than the message's end: so far, so good.
                return NameEnd::At(end.unwrap_or(at.min(self.message.len())));
            };
            match length {
                0 => return NameEnd::At(end.unwrap_or(at + 1)),
                1..=63 => {
                    let next = at + 1 + usize::from(length);
                    let Some(label) = self.message.get(at + 1..next) else {
                        return NameEnd::Bad;
                    };
                    if !cut {
                        if !name.is_empty() {
                            name.push(b'.');
                        }
                        name.extend_from_slice(label);
                    }
                    at = next;
                }
                192..=255 => {
                    let Some(word) = self.word(at) else {
                        return NameEnd::Bad;
                    };
                    let target = usize::from(word & 0x3fff);
                    if target > self.message.len() {
                        return NameEnd::Bad;
                    }
                    if target == at {
                        self.event(Odd::InfiniteLoop);
                        return end.map_or(NameEnd::Bad, NameEnd::At);
                    }
                    end = end.or(Some(at + 2));
                    at = target;
                }
                _ => return NameEnd::Bad,
            }
            if name.len() > NAME_MAX {
                name.truncate(NAME_MAX);
                self.event(Odd::NameTooLong);
                cut = true;
                if let Some(end) = end {
                    return NameEnd::At(end);
                }
            }
        }
        self.event(Odd::TooManyLabels);
        match end {
            Some(end) => {
                self.event(Odd::NameTooLong);
                NameEnd::At(end)
            }
            None => NameEnd::Bad,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{
        Place, apps_set, run, run_in, same_for_every_cut, survives_damage,
    };
    use super::*;
    use crate::packet::Direction::{ToClient, ToServer};

    const UDP: Place = Place {
        transport: Transport::Udp,
        server_port: 53,
    };
    const TCP: Place = Place {
        transport: Transport::Tcp,
        server_port: 53,
    };

    /// A header with these flags and counts.
    fn header(flags: u16, counts: [u16; 4]) -> Vec<u8> {
        let mut message = vec![0x12, 0x34];
        message.extend(flags.to_be_bytes());
        for count in counts {
            message.extend(count.to_be_bytes());
        }
        message
    }

    fn query() -> Vec<u8> {
        let mut message = header(0x0100, [1, 0, 0, 0]);
        message.extend(b"\x03Www\x07example\x03com\0\0\x01\0\x01");
        message
    }

    /// `www.example.com` is an alias of `a.example.com`, with a name server `ns.example.com`.
    fn answer() -> Vec<u8> {
        let mut message = header(0x8183, [1, 1, 1, 0]);
        message.extend(b"\x03Www\x07example\x03com\0\0\x01\0\x01");
        message.extend(b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x04\x01a\xc0\x10");
        message.extend(b"\xc0\x10\0\x02\0\x01\0\0\0\x3c\0\x05\x02ns\xc0\x10");
        message
    }

    fn framed(message: &[u8]) -> Vec<u8> {
        let mut bytes = (message.len() as u16).to_be_bytes().to_vec();
        bytes.extend(message);
        bytes
    }

    #[test]
    fn dns_is_looked_for_on_the_ports_that_are_set() {
        let key = "app-layer.protocols.dns.udp.detection-ports.dp";
        let query = query();
        let talk = [(ToServer, query.as_slice())];
        let told = |port, settings: &[(&str, &str)]| {
            let place = Place {
                server_port: port,
                ..UDP
            };
            !run_in(place, &talk, apps_set(settings)).is_empty()
        };
        assert!(told(53, &[]) && !told(5300, &[]));
        let set = [(key, "5300, 53")];
        assert!(told(53, &set) && told(5300, &set) && !told(5301, &set));
        assert!(!told(53, &[(key, "5300")]));
    }

    const OF_THE_QUERY: &[&str] = &[
        "tx 0 ToServer dns.opcode 0",
        "tx 0 ToServer dns.rcode 0",
        "tx 0 ToServer dns.query \"Www.example.com\"",
        "tx 0 ToServer dns.query.name \"Www.example.com\"",
        "tx 0 ToServer dns.queries.rrname \"Www.example.com\"",
        "tx 0 ToServer dns.rrtype 1",
    ];

    const OF_THE_ANSWER: &[&str] = &[
        "tx 1 ToClient dns.opcode 0",
        "tx 1 ToClient dns.rcode 3",
        "tx 1 ToClient dns.query.name \"Www.example.com\"",
        "tx 1 ToClient dns.queries.rrname \"Www.example.com\"",
        "tx 1 ToClient dns.response.rrname \"Www.example.com\"",
        "tx 1 ToClient dns.answer.name \"Www.example.com\"",
        "tx 1 ToClient dns.answers.rrname \"Www.example.com\"",
        "tx 1 ToClient dns.response.rrname \"Www.example.com\"",
        "tx 1 ToClient dns.rrtype 5",
        "tx 1 ToClient dns.response.rrname \"a.example.com\"",
        "tx 1 ToClient dns.authorities.rrname \"example.com\"",
        "tx 1 ToClient dns.response.rrname \"example.com\"",
        "tx 1 ToClient dns.response.rrname \"ns.example.com\"",
    ];

    #[test]
    fn question_and_answer_are_two_transactions() {
        let (protocol, lines) = run(UDP, &[(ToServer, &query()), (ToClient, &answer())]);
        assert_eq!(protocol, AppProtocol::Dns);
        assert_eq!(lines, [OF_THE_QUERY, OF_THE_ANSWER].concat());
    }

    #[test]
    fn a_stream_gives_the_same_for_every_cut() {
        let mut asked = framed(&query());
        asked.extend(framed(&[]));
        let (protocol, lines) =
            same_for_every_cut(TCP, &[(ToServer, &asked), (ToClient, &framed(&answer()))]);
        assert_eq!(protocol, AppProtocol::Dns);
        assert_eq!(lines, [OF_THE_QUERY, OF_THE_ANSWER].concat());
    }

    #[test]
    fn a_broken_record_does_not_hide_the_question() {
        let mut message = header(0x0100, [1, 0, 0, 1]);
        message.extend(b"\x04evil\x03com\0\0\x01\0\x01\xc0\xff\0\x01");
        let (_, lines) = run(UDP, &[(ToServer, &message)]);
        assert!(lines.contains(&"tx 0 ToServer dns.query \"evil.com\"".to_owned()));
        let event = "tx 0 ToServer app-layer-event Some((\"dns\", \"invalid_additionals\"))";
        assert!(lines.contains(&event.to_owned()), "{lines:?}");
    }

    fn events(message: &[u8], direction: Direction) -> Vec<String> {
        let query = query();
        let talk: &[(Direction, &[u8])] = match direction {
            ToServer => &[(ToServer, message)],
            ToClient => &[(ToServer, &query), (ToClient, message)],
        };
        let (_, lines) = run(UDP, talk);
        let found = lines.iter().filter(|line| line.contains("Some("));
        found
            .map(|line| line.split('"').nth(3).unwrap().to_owned())
            .collect()
    }

    #[test]
    fn what_is_odd_is_told() {
        let question = b"\x01a\0\0\x01\0\x01";
        let with = |flags| [header(flags, [1, 0, 0, 0]), question.to_vec()].concat();
        assert_eq!(events(&with(0x0140), ToServer), ["z_flag_set"]);
        assert_eq!(events(&with(0x3900), ToServer), ["invalid_opcode"]);
        assert_eq!(
            events(&with(0x8000), ToServer),
            ["not_request", "not_a_request"]
        );
        assert_eq!(
            events(&with(0x0000), ToClient),
            ["not_response", "not_a_response"]
        );
        let mut lasso = header(0x8000, [1, 0, 0, 0]);
        lasso.extend(b"\xc0\x0c\0\x01\0\x01");
        assert_eq!(
            events(&lasso, ToClient),
            ["infinite_loop", "malformed_data"]
        );
    }

    #[test]
    fn a_loop_of_pointers_ends() {
        // The name points to itself by way of a second pointer.
        let mut message = header(0x8000, [1, 0, 0, 0]);
        message.extend(b"\xc0\x12\0\x01\0\x01\xc0\x0c");
        let found = events(&message, ToClient);
        assert_eq!(found, ["too_many_labels", "name_too_long"]);
    }

    #[test]
    fn a_long_name_is_cut() {
        let mut message = header(0x0100, [1, 0, 0, 0]);
        for _ in 0..40 {
            message.push(60);
            message.extend([b'x'; 60]);
        }
        message.extend(b"\0\0\x01\0\x01");
        let (_, lines) = run(UDP, &[(ToServer, &message)]);
        let name = lines
            .iter()
            .find(|line| line.contains("dns.query "))
            .unwrap();
        assert_eq!(name.len(), "tx 0 ToServer dns.query \"\"".len() + NAME_MAX);
        assert!(lines[0].contains("dns.opcode"));
    }

    #[test]
    fn work_grows_with_the_message_not_with_its_pointers() {
        // Records whose names are chains of pointers as long as the limit allows.
        let bomb = |records: u16| {
            let mut message = header(0x8000, [1, records, 0, 0]);
            message.extend(b"\x01a\0\0\x01\0\x01");
            let chain = message.len();
            for link in 0..200u16 {
                message.extend((0xc000 | (chain as u16 + 2 * link + 2)).to_be_bytes());
            }
            message.extend(b"\0");
            message.truncate(chain);
            for _ in 0..records {
                let target = 0xc000 | (message.len() as u16 & 0x3fff).saturating_sub(12).max(19);
                message.extend(target.to_be_bytes());
                message.extend(b"\0\x01\0\x01\0\0\0\x3c\0\0");
            }
            message
        };
        for records in [500u16, 1000, 2000, 4000] {
            let message = bomb(records);
            let (_, lines) = run(UDP, &[(ToServer, &query()), (ToClient, &message)]);
            assert!(!lines.is_empty());
            let names: usize = lines.iter().map(String::len).sum();
            assert!(
                names < 64 * message.len() + (64 << 10),
                "{records}: {names}"
            );
        }
    }

    #[test]
    fn damage_is_survived() {
        let (query, answer) = (query(), answer());
        survives_damage(UDP, &[(ToServer, &query), (ToClient, &answer)], 400);
        let (query, answer) = (framed(&query), framed(&answer));
        survives_damage(TCP, &[(ToServer, &query), (ToClient, &answer)], 400);
    }
}
