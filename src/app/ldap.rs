//! LDAP (RFC 4511) over TCP, and over UDP for domain controllers (MS-ADTS 3.1.1.3, CLDAP). A request with
//! its responses is a transaction; they are told apart by message numbers. StartTLS (RFC 4513
//! section 3.1) hands the flow over to TLS.

use super::ber::{self, Lack, tag};
use super::field::{Field, Progress};
use super::heap::Heap;
use super::lines;
use super::output::{AppEvent, Output, TxId};
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use super::settings::Number;
use super::table::{Table, number, tx_of, tx_words, words};
use crate::packet::Direction::{self, ToClient, ToServer};

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::Ldap,
    probe,
    over: &[Transport::Tcp, Transport::Udp],
    fields: &[
        Field::LdapRequestOperation,
        Field::LdapRequestDn,
        Field::LdapRequestAttributeType,
        Field::LdapResponsesOperation,
        Field::LdapResponsesResultCode,
        Field::LdapResponsesDn,
        Field::LdapResponsesMessage,
        Field::LdapResponsesAttributeType,
        Field::LdapResponsesCount,
        Field::FrameLdapPdu,
    ],
    events: &[
        "too_many_transactions",
        "invalid_data",
        "request_not_found",
        "incomplete_data",
        "too_many_responses",
    ],
};

const TOO_MANY: AppEvent = AppEvent::of(AppProtocol::Ldap, 0);
const INVALID: AppEvent = AppEvent::of(AppProtocol::Ldap, 1);
const NOT_FOUND: AppEvent = AppEvent::of(AppProtocol::Ldap, 2);
const INCOMPLETE: AppEvent = AppEvent::of(AppProtocol::Ldap, 3);
const TOO_MANY_RESPONSES: AppEvent = AppEvent::of(AppProtocol::Ldap, 4);

const PORTS: [u16; 2] = [389, 3268];
/// Bytes of a message that is read.
const MESSAGE_MAX: usize = 128 << 10;
/// Bytes of one that events tell.
const TOLD_MAX: usize = 1024;
/// Attributes of a message that are looked at.
const ATTRIBUTES_MAX: usize = 256;
/// The request for TLS (RFC 4511 section 4.14.1).
const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";

/// Operations by their tags (RFC 4511 section 4.2 and on).
mod op {
    pub const BIND: u8 = 0;
    pub const BIND_RESPONSE: u8 = 1;
    pub const UNBIND: u8 = 2;
    pub const SEARCH: u8 = 3;
    pub const ENTRY: u8 = 4;
    pub const SEARCH_DONE: u8 = 5;
    pub const MODIFY: u8 = 6;
    pub const MODIFY_RESPONSE: u8 = 7;
    pub const ADD: u8 = 8;
    pub const ADD_RESPONSE: u8 = 9;
    pub const DELETE: u8 = 10;
    pub const DELETE_RESPONSE: u8 = 11;
    pub const RENAME: u8 = 12;
    pub const RENAME_RESPONSE: u8 = 13;
    pub const COMPARE: u8 = 14;
    pub const COMPARE_RESPONSE: u8 = 15;
    pub const ABANDON: u8 = 16;
    pub const EXTENDED: u8 = 23;
    pub const EXTENDED_RESPONSE: u8 = 24;
    pub const LAST: u8 = 25;
}

/// A message: its number and its operation.
struct Message<'a> {
    id: u64,
    operation: u8,
    content: &'a [u8],
    whole: &'a [u8],
}

impl Message<'_> {
    /// Tells events the message itself.
    fn tell(&self, tx: TxId, direction: Direction, out: &mut Output<'_>) {
        if out.wants(Field::LdapMessage) {
            let told = self.whole.get(..TOLD_MAX).unwrap_or(self.whole);
            out.field(tx, Field::LdapMessage, direction, told);
        }
    }
}

/// Reads a message that is whole.
fn message(bytes: &[u8]) -> Option<Message<'_>> {
    let mut rest = bytes;
    let mut inside = ber::take(&mut rest, tag::SEQUENCE)?;
    let id = ber::take_number(&mut inside)?;
    let (operation, _) = ber::read(inside).ok()?;
    // Class APPLICATION.
    if operation.tag & 0xc0 != 0x40 || operation.tag & 0x1f > op::LAST {
        return None;
    }
    Some(Message {
        id,
        operation: operation.tag & 0x1f,
        content: operation.content,
        whole: bytes,
    })
}

fn probe(probe: &Probe<'_>) -> Guess {
    if !PORTS.contains(&probe.server_port) || probe.bytes.first().is_some_and(|b| *b != 0x30) {
        return Guess::No;
    }
    match ber::head(probe.bytes) {
        Err(Lack::Bad) => Guess::No,
        Err(Lack::More(_)) => Guess::More,
        // The number of the message, and the operation behind it.
        Ok((_, start, _)) => match probe.bytes.get(start..) {
            Some([0x02, length @ 1..=4, rest @ ..]) => match rest.get(usize::from(*length)) {
                Some(operation) if operation & 0xc0 == 0x40 => Guess::Yes,
                Some(_) => Guess::No,
                None => Guess::More,
            },
            Some([] | [0x02]) | None => Guess::More,
            Some(_) => Guess::No,
        },
    }
}

/// A request that waits for responses.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    id: u64,
    tx: TxId,
    responses: u32,
    tls: bool,
}

impl Waiting {
    fn encode(&self) -> [u32; 6] {
        let ([low, high], [index, serial]) = (words(self.id), tx_words(self.tx));
        [
            low,
            high,
            index,
            serial,
            self.responses,
            u32::from(self.tls),
        ]
    }

    fn decode([low, high, index, serial, responses, tls]: &[u32; 6]) -> Waiting {
        Waiting {
            id: number(*low, *high),
            tx: tx_of(*index, *serial),
            responses: *responses,
            tls: *tls != 0,
        }
    }
}

/// A parser of LDAP.
#[derive(Debug, Default)]
pub struct Ldap {
    waiting: Table<6>,
    /// Bytes of a message that is too long, by direction.
    skip: [u32; 2],
}

impl Parse for Ldap {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        if input.gap > 0 {
            return Err(Broken);
        }
        let (bytes, direction) = (input.bytes, input.direction);
        let way = direction.index();
        let mut at = 0;
        // Each round takes a byte at least, or leaves.
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let skip = lines::pass_over(&mut self.skip[way], rest);
            if skip > 0 {
                at += skip;
                continue;
            }
            let length = match ber::head(rest) {
                Ok((tag::SEQUENCE, _, end)) => end,
                Err(Lack::More(_)) => return Ok(lacks(at, rest.len() + 1, input, out)),
                _ => {
                    out.event_of_last(direction, INVALID);
                    return Err(Broken);
                }
            };
            if length > MESSAGE_MAX {
                self.skip[way] = u32::try_from(length).unwrap_or(u32::MAX);
                continue;
            }
            let Some(whole) = rest.get(..length) else {
                return Ok(lacks(at, length, input, out));
            };
            at += length;
            out.frame(Field::FrameLdapPdu, direction, whole);
            let Some(message) = message(whole) else {
                out.event_of_last(direction, INVALID);
                return Err(Broken);
            };
            match direction {
                ToServer => self.request(&message, out),
                ToClient => {
                    if self.response(&message, out) && input.transport == Transport::Tcp {
                        out.await_protocol(AppProtocol::Tls);
                        break;
                    }
                }
            }
        }
        Ok(Taken::all(at))
    }

    fn free(&mut self, heap: &mut Heap) {
        self.waiting.clear(heap);
    }
}

/// A message is not whole: on a stream its rest will come.
fn lacks(at: usize, need: usize, input: &Input<'_>, out: &mut Output<'_>) -> Taken {
    if input.transport == Transport::Udp {
        out.event_of_last(input.direction, INCOMPLETE);
    }
    Taken::until(at, need)
}

impl Ldap {
    fn request(&mut self, message: &Message<'_>, out: &mut Output<'_>) {
        let tx = out.open();
        let kind = u64::from(message.operation);
        out.number(tx, Field::LdapRequestOperation, ToServer, kind);
        message.tell(tx, ToServer, out);
        let tls = read_request(message, tx, out).unwrap_or(false);
        out.progress(tx, ToServer, Progress::Complete);
        if matches!(message.operation, op::UNBIND | op::ABANDON) {
            out.complete(tx);
            return;
        }
        let waiting = Waiting {
            id: message.id,
            tx,
            responses: 0,
            tls,
        };
        let most = out.shared.limits.parsers.number(Number::LdapTransactions) as usize;
        // Without room in the heap nothing answers the new one.
        if let Some(oldest) = self.waiting.push(out.heap(), most, &waiting.encode()) {
            let oldest = Waiting::decode(&oldest);
            out.event(oldest.tx, ToServer, TOO_MANY);
            out.complete(oldest.tx);
        }
    }

    /// Takes a response in; true: TLS follows.
    fn response(&mut self, message: &Message<'_>, out: &mut Output<'_>) -> bool {
        let [low, high] = words(message.id);
        let found = self
            .waiting
            .find(out.heap(), |known| known.starts_with(&[low, high]));
        let Some((place, record)) = found else {
            let tx = out.open();
            message.tell(tx, ToClient, out);
            read_response(message, tx, out);
            out.number(tx, Field::LdapResponsesCount, ToClient, 1);
            // Without a request the server may only give notice (section 4.4).
            if message.operation != op::EXTENDED_RESPONSE {
                out.event(tx, ToClient, NOT_FOUND);
            }
            out.complete(tx);
            return false;
        };
        let mut known = Waiting::decode(&record);
        known.responses = known.responses.saturating_add(1);
        self.waiting.set(out.heap(), place, &known.encode());
        let most = out.shared.limits.parsers.number(Number::LdapResponses);
        if known.responses > most {
            if known.responses == most + 1 {
                out.event(known.tx, ToClient, TOO_MANY_RESPONSES);
            }
            return false;
        }
        message.tell(known.tx, ToClient, out);
        let result = read_response(message, known.tx, out);
        if matches!(message.operation, op::ENTRY | 19 | 25) {
            return false;
        }
        let count = u64::from(known.responses);
        out.number(known.tx, Field::LdapResponsesCount, ToClient, count);
        out.complete(known.tx);
        let _ = self.waiting.remove(out.heap(), place);
        known.tls && result == Some(0)
    }
}

/// Reads names and attributes of a request; whether it asks for TLS.
fn read_request(message: &Message<'_>, tx: TxId, out: &mut Output<'_>) -> Option<bool> {
    let mut rest = message.content;
    let name = match message.operation {
        op::BIND => {
            ber::take_number(&mut rest)?;
            ber::take(&mut rest, tag::OCTETS)?
        }
        op::DELETE => rest,
        op::SEARCH | op::MODIFY | op::ADD | op::RENAME | op::COMPARE => {
            ber::take(&mut rest, tag::OCTETS)?
        }
        op::EXTENDED => return Some(ber::take(&mut rest, 0x80)? == START_TLS),
        _ => return None,
    };
    out.field(tx, Field::LdapRequestDn, ToServer, name);
    match message.operation {
        op::SEARCH => {
            // Scope, aliases, two limits, types only, filter.
            for _ in 0..6 {
                (_, rest) = ber::read(rest).ok()?;
            }
            let attributes = ber::take(&mut rest, tag::SEQUENCE)?;
            each(attributes, |attribute| {
                let field = Field::LdapRequestAttributeType;
                out.field(tx, field, ToServer, attribute.content);
            });
        }
        op::MODIFY => {
            let changes = ber::take(&mut rest, tag::SEQUENCE)?;
            each(changes, |change| {
                let mut change = change.content;
                if ber::take(&mut change, tag::ENUMERATED).is_some()
                    && let Some(attribute) = ber::take(&mut change, tag::SEQUENCE)
                {
                    give_type(
                        attribute,
                        Field::LdapRequestAttributeType,
                        tx,
                        ToServer,
                        out,
                    );
                }
            });
        }
        op::ADD => {
            let attributes = ber::take(&mut rest, tag::SEQUENCE)?;
            each(attributes, |attribute| {
                let field = Field::LdapRequestAttributeType;
                give_type(attribute.content, field, tx, ToServer, out);
            });
        }
        op::COMPARE => {
            let assertion = ber::take(&mut rest, tag::SEQUENCE)?;
            give_type(
                assertion,
                Field::LdapRequestAttributeType,
                tx,
                ToServer,
                out,
            );
        }
        _ => {}
    }
    Some(false)
}

/// The elements one by one, up to the bound.
fn each<'a>(mut bytes: &'a [u8], mut see: impl FnMut(ber::Element<'a>)) {
    for _ in 0..ATTRIBUTES_MAX {
        let Ok((element, rest)) = ber::read(bytes) else {
            return;
        };
        bytes = rest;
        see(element);
    }
}

/// The type, with which an attribute begins.
fn give_type(
    mut attribute: &[u8],
    field: Field,
    tx: TxId,
    direction: Direction,
    out: &mut Output<'_>,
) {
    if let Some(name) = ber::take(&mut attribute, tag::OCTETS) {
        out.field(tx, field, direction, name);
    }
}

/// Reads a response; its result code, if it has one.
fn read_response(message: &Message<'_>, tx: TxId, out: &mut Output<'_>) -> Option<u64> {
    let kind = u64::from(message.operation);
    out.number(tx, Field::LdapResponsesOperation, ToClient, kind);
    let mut rest = message.content;
    match message.operation {
        op::ENTRY => {
            let name = ber::take(&mut rest, tag::OCTETS)?;
            out.field(tx, Field::LdapResponsesDn, ToClient, name);
            let attributes = ber::take(&mut rest, tag::SEQUENCE)?;
            each(attributes, |attribute| {
                let field = Field::LdapResponsesAttributeType;
                give_type(attribute.content, field, tx, ToClient, out);
            });
            None
        }
        op::BIND_RESPONSE
        | op::SEARCH_DONE
        | op::MODIFY_RESPONSE
        | op::ADD_RESPONSE
        | op::DELETE_RESPONSE
        | op::RENAME_RESPONSE
        | op::COMPARE_RESPONSE
        | op::EXTENDED_RESPONSE => {
            let code = ber::take(&mut rest, tag::ENUMERATED).and_then(ber::number)?;
            out.number(tx, Field::LdapResponsesResultCode, ToClient, code);
            let name = ber::take(&mut rest, tag::OCTETS)?;
            let text = ber::take(&mut rest, tag::OCTETS)?;
            for (field, value) in [
                (Field::LdapResponsesDn, name),
                (Field::LdapResponsesMessage, text),
            ] {
                if !value.is_empty() {
                    out.field(tx, field, ToClient, value);
                }
            }
            Some(code)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, run, run_missing, same_for_every_cut, survives_damage};
    use super::*;

    const PLACE: Place = Place {
        transport: Transport::Tcp,
        server_port: 389,
    };

    #[test]
    fn a_bind_is_a_transaction() {
        // Bind as cn=a with version 3; the answer is 49, invalid credentials, "bad".
        let bind = b"\x30\x11\x02\x01\x01\x60\x0c\x02\x01\x03\x04\x04cn=a\x80\x01p";
        let answer = b"\x30\x0f\x02\x01\x01\x61\x0a\x0a\x01\x31\x04\x00\x04\x03bad";
        let unbind = b"\x30\x05\x02\x01\x02\x42\x00";
        let talk: &[(Direction, &[u8])] =
            &[(ToServer, bind), (ToClient, answer), (ToServer, unbind)];
        survives_damage(PLACE, talk, 200);
        let (protocol, lines) = same_for_every_cut(PLACE, talk);
        assert_eq!(protocol, AppProtocol::Ldap);
        let shown: Vec<_> = lines
            .iter()
            .map(|line| line.splitn(3, ' ').nth(2).unwrap())
            .collect();
        assert_eq!(
            shown,
            [
                "ToServer ldap.request.operation 0",
                "ToServer ldap.request.dn \"cn=a\"",
                "ToClient ldap.responses.operation 1",
                "ToClient ldap.responses.result_code 49",
                "ToClient ldap.responses.message \"bad\"",
                "ToClient ldap.responses.count 1",
                "ToServer ldap.request.operation 2",
            ]
        );
    }

    #[test]
    fn the_setting_says_how_many_responses_are_too_many() {
        // A search of `(objectClass=*)` from the root, three entries and the end.
        let search = b"\x30\x25\x02\x01\x02\x63\x20\x04\x00\x0a\x01\x00\x0a\x01\x00\x02\x01\x00\
            \x02\x01\x00\x01\x01\x00\x87\x0bobjectClass\x30\x00";
        let entry = b"\x30\x09\x02\x01\x02\x64\x04\x04\x00\x30\x00";
        let end = b"\x30\x0c\x02\x01\x02\x65\x07\x0a\x01\x00\x04\x00\x04\x00";
        let answers = [entry.repeat(3), end.to_vec()].concat();
        let told = |most: &str| {
            let settings = [("app-layer.protocols.ldap.max-responses", most)];
            let talk: [(_, _, &[u8]); 2] = [(ToServer, 0, search), (ToClient, 0, &answers)];
            let lines = run_missing(PLACE, &settings, &talk);
            let event = |line: &&String| line.contains("too_many_responses");
            lines.iter().filter(event).count()
        };
        assert_eq!((told("3"), told("2"), told("4")), (1, 1, 0));
    }

    #[test]
    fn as_many_requests_wait_as_is_set() {
        let told = |most: &str, count: u8| {
            let settings = [("app-layer.protocols.ldap.max-tx", most)];
            let delete = |id| [b"\x30\x06\x02\x01", &[id][..], b"\x4a\x01a"].concat();
            let asked: Vec<u8> = (1..=count).flat_map(delete).collect();
            let answer = b"\x30\x0c\x02\x01\x01\x6b\x07\x0a\x01\x00\x04\x00\x04\x00";
            let talk: [(_, _, &[u8]); 2] = [(ToServer, 0, &asked), (ToClient, 0, answer)];
            let lines = run_missing(PLACE, &settings, &talk);
            let has = |what: &str| lines.iter().any(|line| line.contains(what));
            (has("too_many_transactions"), has("request_not_found"))
        };
        assert_eq!(told("256", 100), (false, false));
        assert_eq!((told("5", 5), told("5", 6)), ((false, false), (true, true)));
    }

    #[test]
    fn what_is_no_message_is_an_event_of_the_one_before() {
        // Behind a login with a security layer all is sealed.
        let sealed: &[u8] = b"\x00\x00\x00\x05\x05\x04\x06\xff\x00";
        let bind: &[u8] = b"\x30\x11\x02\x01\x01\x60\x0c\x02\x01\x03\x04\x04cn=a\x80\x01p";
        let (_, lines) = run(PLACE, &[(ToServer, bind), (ToServer, sealed)]);
        let event = "tx 0 ToServer app-layer-event Some((\"ldap\", \"invalid_data\"))";
        assert!(lines.contains(&event.to_owned()), "{lines:?}");
    }

    #[test]
    fn tls_follows_its_request() {
        let mut asked = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x16".to_vec();
        asked.extend(START_TLS);
        let answer = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00";
        let hello = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00";
        let talk: [(_, &[u8]); 3] = [(ToServer, &asked), (ToClient, answer), (ToServer, hello)];
        let (protocol, _) = run(PLACE, &talk);
        assert_eq!(protocol, AppProtocol::Tls);
    }
}
