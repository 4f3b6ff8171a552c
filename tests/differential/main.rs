//! Parsers against others of the same protocols: HTTP/1 against suricata-htp (the parser that
//! Suricata's rules were written for), DNS against simple-dns, TLS against tls-parser, and others on
//! captures alone (`others.rs`). Messages are
//! made here from a seed, with the oddities that real ones have, and taken from the shared captures;
//! both parsers must find the same, but for the differences that `EXPLAINED` lists.
//!
//! Where things are: `made.rs` makes messages, `captured.rs` takes streams and datagrams out of
//! captures, `htp.rs` runs suricata-htp, `told.rs` holds what differs and why. Not here: cuts
//! (metamorphic.rs), and whole alerts (the shared cases).

#[path = "../common/mod.rs"]
mod common;

mod captured;
mod htp;
mod made;
mod others;
mod told;

use std::collections::BTreeMap;

use captured::{Conversation, Talk};
use made::Random;
use sluice::app::{AppProtocol, Apps, Field, Limits, Piece, Transport};
use sluice::packet::Direction::{self, ToClient, ToServer};

/// Messages made of each kind.
const ROUNDS: u64 = 2000;

fn apps() -> Apps {
    let wanted = Field::ALL.iter().map(|field| !field.is_frame()).collect();
    let limits = Limits {
        transactions: 4096,
        ..Limits::default()
    };
    Apps::new(8, 32 << 20, wanted, limits)
}

/// One instance that our parser found: transaction, direction, field, value.
type Found = (u32, Direction, Field, Vec<u8>);

/// What our parser finds in a conversation, of the fields asked for.
fn ours(apps: &mut Apps, talk: &Conversation, fields: &[Field]) -> (AppProtocol, Vec<Found>) {
    let piece = |direction, bytes| Piece {
        transport: talk.transport,
        direction,
        bytes,
        gap: 0,
        end: false,
        client_port: talk.ports.0,
        server_port: talk.ports.1,
        client_addr: [1; 16],
        server_addr: [2; 16],
        time_ns: 1,
    };
    let first = piece(ToServer, &[]);
    // What is compared of HTTP is how it is read, not how it is told.
    let flow = match fields.contains(&Field::HttpMethod) {
        true => apps.open_as(&first, AppProtocol::Http),
        false => apps.open(&first),
    };
    let flow = flow.expect("there is room");
    for (direction, bytes) in &talk.pieces {
        apps.feed(flow, &piece(*direction, bytes));
    }
    apps.finish(flow);
    let protocol = apps
        .state(flow)
        .map_or(AppProtocol::Unknown, |state| state.protocol);
    let mut found = Vec::new();
    let mut next = apps.state(flow).map_or(u32::MAX, |state| state.first);
    while let Some(tx) = apps.transaction(next) {
        for instance in tx.instances(&apps.shared.heap) {
            if fields.contains(&instance.field) {
                let bytes = match instance.is_number() {
                    true => instance.number().to_string().into_bytes(),
                    false => tx.bytes(&apps.shared.heap, &instance).to_vec(),
                };
                found.push((tx.number, instance.direction, instance.field, bytes));
            }
        }
        next = tx.next;
    }
    apps.close(flow);
    (protocol, found)
}

/// A conversation made here.
fn talk(transport: Transport, port: u16, pieces: Talk) -> Conversation {
    Conversation {
        name: String::new(),
        transport,
        ports: (40_000, port),
        pieces,
    }
}

/// The fields of HTTP that both parsers tell, and their names among what suricata-htp tells.
const HTTP_FIELDS: [(Field, &str); 6] = [
    (Field::HttpMethod, "method"),
    (Field::HttpUriRaw, "uri"),
    (Field::HttpUserAgent, "user-agent"),
    (Field::HttpReferer, "referer"),
    (Field::HttpStatCode, "status"),
    (Field::HttpLocation, "location"),
];

/// Transactions as name and value, of ours.
fn http_of_ours(apps: &mut Apps, talk: &Conversation) -> Option<Vec<BTreeMap<String, String>>> {
    let fields = HTTP_FIELDS.map(|(field, _)| field);
    let (protocol, found) = ours(apps, talk, &fields);
    if protocol != AppProtocol::Http {
        return None;
    }
    let mut all: BTreeMap<u32, BTreeMap<String, String>> = BTreeMap::new();
    for (tx, _, field, value) in found {
        let of = HTTP_FIELDS.iter().find(|(known, _)| *known == field);
        let name = of.map_or("", |(_, name)| name).to_string();
        let value = value.escape_ascii().to_string();
        all.entry(tx).or_default().entry(name).or_insert(value);
    }
    Some(all.into_values().filter(|tx| !tx.is_empty()).collect())
}

/// Both parsers over a conversation; what differs, a line each.
fn http_differences(apps: &mut Apps, talk: &Conversation) -> Option<(usize, Vec<String>)> {
    let (protocol, _) = ours(apps, talk, &[]);
    if protocol != AppProtocol::Http {
        return None;
    }
    let ours = http_of_ours(apps, talk)?;
    let theirs = htp::run(&talk.pieces);
    let mut lines = Vec::new();
    if ours.len() != theirs.len() {
        lines.push(format!(
            "{} transactions, suricata-htp {}",
            ours.len(),
            theirs.len()
        ));
    }
    for (tx, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        for (_, name) in HTTP_FIELDS {
            let (a, b) = (ours.get(name), theirs.get(name));
            if a != b {
                lines.push(format!(
                    "transaction {tx}, {name}: {a:?}, suricata-htp {b:?}"
                ));
            }
        }
    }
    Some((ours.len().min(theirs.len()), lines))
}

#[test]
fn http_that_is_made_is_read_as_suricata_reads_it() {
    let mut apps = apps();
    let mut compared = 0;
    for seed in 1..=ROUNDS {
        let talk = talk(Transport::Tcp, 80, made::http(&mut Random::new(seed)));
        let (count, lines) = http_differences(&mut apps, &talk).expect("it is HTTP");
        assert!(lines.is_empty(), "seed {seed}: {lines:#?}\n{}", talk.text());
        compared += count;
    }
    println!("{compared} transactions are the same");
}

#[test]
fn http_of_captures_is_read_as_suricata_reads_it() {
    let Some(root) = common::shared("http_of_captures_is_read_as_suricata_reads_it") else {
        return;
    };
    let mut apps = apps();
    let (mut flows, mut compared, mut wrong, mut explained) = (0, 0, Vec::new(), 0);
    captured::each_stream(&root, |conversation| {
        let Some((count, lines)) = http_differences(&mut apps, conversation) else {
            return;
        };
        flows += 1;
        compared += count;
        if lines.is_empty() {
            return;
        }
        match told::why(&told::HTTP, &conversation.name) {
            Some(_) => explained += 1,
            None => wrong.push(format!("{}: {}", conversation.name, lines.join("; "))),
        }
    });
    println!(
        "{flows} flows, {compared} transactions, {explained} flows with explained differences"
    );
    assert!(compared > 0, "nothing was compared");
    assert!(
        wrong.is_empty(),
        "{} flows:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    told::all_are_needed(&told::HTTP, explained);
}

/// Names that simple-dns finds in a message, or None if it does not read it.
fn names_of_theirs(message: &[u8]) -> Option<[Vec<String>; 2]> {
    let packet = simple_dns::Packet::parse(message).ok()?;
    // The root has a name of no letters, of which rules see nothing.
    let named = |names: &mut dyn Iterator<Item = String>| {
        names.filter(|name| !name.is_empty()).collect::<Vec<_>>()
    };
    Some([
        named(&mut packet.questions.iter().map(|q| q.qname.to_string())),
        named(&mut packet.answers.iter().map(|a| a.name.to_string())),
    ])
}

fn names_of_ours(apps: &mut Apps, talk: &Conversation) -> Option<[Vec<String>; 2]> {
    let fields = [Field::DnsQueriesRrname, Field::DnsAnswersRrname];
    let (protocol, found) = ours(apps, talk, &fields);
    let of = |wanted: Field| {
        let of_field = found.iter().filter(|(_, _, field, _)| *field == wanted);
        of_field
            .map(|(.., name)| String::from_utf8_lossy(name).into())
            .collect()
    };
    (protocol == AppProtocol::Dns).then(|| fields.map(of))
}

#[test]
fn names_of_dns_are_those_of_simple_dns() {
    let mut apps = apps();
    let mut compared = 0;
    for seed in 1..=ROUNDS {
        let message = made::dns(&mut Random::new(seed));
        let talk = talk(Transport::Udp, 53, vec![(ToClient, message.clone())]);
        let theirs = names_of_theirs(&message).expect("the message is right");
        let ours = names_of_ours(&mut apps, &talk).expect("it is DNS");
        assert_eq!(ours, theirs, "seed {seed}: {message:02x?}");
        compared += theirs.iter().map(Vec::len).sum::<usize>();
    }
    println!("{compared} names are the same");
}

#[test]
fn names_of_dns_in_captures_are_those_of_simple_dns() {
    let Some(root) = common::shared("names_of_dns_in_captures_are_those_of_simple_dns") else {
        return;
    };
    let mut apps = apps();
    let (mut messages, mut unread, mut explained, mut wrong) = (0, 0, 0, Vec::new());
    captured::each_datagram(&root, 53, |conversation| {
        let Some(ours) = names_of_ours(&mut apps, conversation) else {
            return;
        };
        let Some(theirs) = names_of_theirs(&conversation.pieces[0].1) else {
            unread += 1;
            return;
        };
        messages += 1;
        if ours == theirs {
            return;
        }
        match told::why(&told::DNS, &conversation.name) {
            Some(_) => explained += 1,
            None => wrong.push(format!(
                "{}: {ours:?}, simple-dns {theirs:?}",
                conversation.name
            )),
        }
    });
    println!(
        "{messages} messages, {explained} differ as explained, {unread} simple-dns cannot read"
    );
    assert!(messages > 0, "nothing was compared");
    assert!(
        wrong.is_empty(),
        "{} messages:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    told::all_are_needed(&told::DNS, explained);
}

/// Server name and JA3 text of a client's first record, by tls-parser.
fn hello_of_theirs(record: &[u8]) -> Option<(Option<Vec<u8>>, String)> {
    use tls_parser::{TlsExtension, TlsMessage, TlsMessageHandshake};
    let (_, plain) = tls_parser::parse_tls_plaintext(record).ok()?;
    let TlsMessage::Handshake(TlsMessageHandshake::ClientHello(hello)) = plain.msg.first()? else {
        return None;
    };
    let (_, extensions) = tls_parser::parse_tls_extensions(hello.ext.unwrap_or(&[])).ok()?;
    let greased = |number: &u16| number & 0x0f0f == 0x0a0a && number >> 8 == number & 0xff;
    let join = |numbers: &mut dyn Iterator<Item = u16>| {
        let numbers = numbers.filter(|number| !greased(number));
        numbers
            .map(|number| number.to_string())
            .collect::<Vec<_>>()
            .join("-")
    };
    let (mut name, mut groups, mut points) = (None, String::new(), String::new());
    for extension in &extensions {
        match extension {
            TlsExtension::SNI(names) => name = names.first().map(|(_, name)| name.to_vec()),
            TlsExtension::EllipticCurves(list) => groups = join(&mut list.iter().map(|g| g.0)),
            TlsExtension::EcPointFormats(list) => {
                points = join(&mut list.iter().map(|point| u16::from(*point)));
            }
            _ => {}
        }
    }
    let ja3 = format!(
        "{},{},{},{groups},{points}",
        hello.version.0,
        join(&mut hello.ciphers.iter().map(|cipher| cipher.0)),
        join(&mut extension_types(hello.ext.unwrap_or(&[])).into_iter()),
    );
    Some((name, ja3))
}

/// Types of extensions, which tls-parser gives in a form that changes some.
fn extension_types(mut bytes: &[u8]) -> Vec<u16> {
    let mut types = Vec::new();
    while let [a, b, c, d, rest @ ..] = bytes {
        types.push(u16::from_be_bytes([*a, *b]));
        let length = usize::from(u16::from_be_bytes([*c, *d]));
        bytes = rest.get(length..).unwrap_or(&[]);
    }
    types
}

fn hello_of_ours(apps: &mut Apps, talk: &Conversation) -> Option<(Option<Vec<u8>>, String)> {
    let (protocol, found) = ours(apps, talk, &[Field::TlsSni, Field::Ja3String]);
    let of = |wanted: Field| {
        let first = found.iter().find(|(_, _, field, _)| *field == wanted);
        first.map(|(.., value)| value.clone())
    };
    let text = String::from_utf8_lossy(&of(Field::Ja3String)?).into();
    (protocol == AppProtocol::Tls).then(|| (of(Field::TlsSni), text))
}

#[test]
fn hellos_are_those_of_tls_parser() {
    let mut apps = apps();
    for seed in 1..=ROUNDS {
        let record = made::hello(&mut Random::new(seed));
        let talk = talk(Transport::Tcp, 443, vec![(ToServer, record.clone())]);
        let theirs = hello_of_theirs(&record).expect("the record is right");
        let ours = hello_of_ours(&mut apps, &talk).expect("it is a hello");
        assert_eq!(ours, theirs, "seed {seed}");
    }
}

#[test]
fn hellos_of_captures_are_those_of_tls_parser() {
    let Some(root) = common::shared("hellos_of_captures_are_those_of_tls_parser") else {
        return;
    };
    let mut apps = apps();
    let (mut hellos, mut explained, mut wrong) = (0, 0, Vec::new());
    captured::each_stream(&root, |conversation| {
        let mine = conversation
            .pieces
            .iter()
            .filter(|(way, _)| *way == ToServer);
        let client: Vec<u8> = mine.flat_map(|(_, bytes)| bytes.iter().copied()).collect();
        if client.first() != Some(&22) {
            return;
        }
        let (Some(ours), Some(theirs)) = (
            hello_of_ours(&mut apps, conversation),
            hello_of_theirs(&client),
        ) else {
            return;
        };
        hellos += 1;
        if ours == theirs {
            return;
        }
        match told::why(&told::TLS, &conversation.name) {
            Some(_) => explained += 1,
            None => wrong.push(format!(
                "{}: {ours:?}, tls-parser {theirs:?}",
                conversation.name
            )),
        }
    });
    println!("{hellos} hellos, {explained} differ as explained");
    assert!(hellos > 0, "nothing was compared");
    assert!(
        wrong.is_empty(),
        "{} hellos:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    told::all_are_needed(&told::TLS, explained);
}
