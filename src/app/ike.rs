//! IKE 1 and 2 (RFC 2408, 2409, 7296) on their own port: each datagram is a transaction of its
//! direction. Payloads that are encrypted are not opened.

use super::field::Field;
use super::heap::{Heap, Text};
use super::output::{AppEvent, Output, TxId};
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use super::reader::{HEX, Reader, hex};
use super::record::MESSAGE_MAX;
use crate::packet::Direction;

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::Ike,
    probe,
    over: &[Transport::Udp],
    fields: &[
        Field::IkeInitSpi,
        Field::IkeRespSpi,
        Field::IkeKeyExchangePayload,
        Field::IkeNoncePayload,
        Field::IkeVendor,
        Field::IkeChosenSaAttribute,
        Field::IkeExchtype,
        Field::IkeKeyExchangePayloadLength,
        Field::IkeNoncePayloadLength,
    ],
    events: &[
        "malformed_data",
        "no_encryption",
        "weak_crypto_enc",
        "weak_crypto_prf",
        "weak_crypto_dh",
        "weak_crypto_auth",
        "weak_crypto_no_dh",
        "weak_crypto_no_auth",
        "invalid_proposal",
        "unknown_proposal",
        "payload_extra_data",
        "multiple_server_proposal",
    ],
};

const MALFORMED: AppEvent = AppEvent::of(AppProtocol::Ike, 0);
const NO_ENCRYPTION: AppEvent = AppEvent::of(AppProtocol::Ike, 1);
const WEAK_ENCRYPTION: AppEvent = AppEvent::of(AppProtocol::Ike, 2);
const WEAK_PRF: AppEvent = AppEvent::of(AppProtocol::Ike, 3);
const WEAK_DH: AppEvent = AppEvent::of(AppProtocol::Ike, 4);
const WEAK_AUTH: AppEvent = AppEvent::of(AppProtocol::Ike, 5);
const NO_DH: AppEvent = AppEvent::of(AppProtocol::Ike, 6);
const NO_AUTH: AppEvent = AppEvent::of(AppProtocol::Ike, 7);
const INVALID: AppEvent = AppEvent::of(AppProtocol::Ike, 8);
const UNKNOWN: AppEvent = AppEvent::of(AppProtocol::Ike, 9);
const EXTRA: AppEvent = AppEvent::of(AppProtocol::Ike, 10);
const SECOND_CHOICE: AppEvent = AppEvent::of(AppProtocol::Ike, 11);

const PORT: u16 = 500;
/// Bytes of the header.
const HEADER: usize = 28;
/// Payloads of a message that are read.
const PAYLOADS_MAX: usize = 64;
/// Transforms of a proposal that are read.
pub const TRANSFORMS_MAX: usize = 64;
/// Attributes of a transform that are read.
pub const ATTRIBUTES_MAX: usize = 32;
/// Bytes of a side's key and nonce, or of a choice, that are kept for later events.
const KEPT_MAX: usize = 1280;
/// Bytes of a vendor id that are told, in hexadecimal.
const VENDOR_MAX: usize = 1024;

/// Attributes of a security association (RFC 2409 appendix A), which `ike.chosen_sa_attribute`
/// names; those of IKE 2 are told under the same.
const ENCRYPTION: u16 = 1;
const AUTHENTICATION: u16 = 3;
const GROUP: u16 = 4;
const PRF: u16 = 13;

/// A value of `ike.chosen_sa_attribute`.
pub fn attribute_value(attribute: u16, value: u32) -> u64 {
    u64::from(attribute) << 32 | u64::from(value)
}

/// The header of a message (RFC 2408 section 3.1, RFC 7296 section 3.1).
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// Numbers of the association at both ends, the initiator's first.
    pub spi: [[u8; 8]; 2],
    /// Kind of the first payload.
    pub next: u8,
    /// Version, major and minor.
    pub version: (u8, u8),
    /// Kind of the exchange.
    pub exchange: u8,
    /// Bits.
    pub flags: u8,
    /// Number of the message.
    pub message: u32,
    /// Bytes of the message.
    pub length: u32,
}

impl Header {
    /// Reads it; `None`: the bytes are too few.
    pub fn read(bytes: &[u8]) -> Option<Header> {
        let mut at = Reader::new(bytes);
        let spi = [at.array()?, at.array()?];
        let [next, version, exchange, flags] = at.array()?;
        let message = at.u32()?;
        Some(Header {
            spi,
            next,
            version: (version >> 4, version & 15),
            exchange,
            flags,
            message,
            length: at.u32()?,
        })
    }

    /// Whether the payloads of IKE 1 are encrypted.
    pub fn is_sealed(&self) -> bool {
        self.version.0 == 1 && self.flags & 1 != 0
    }
}

/// A chain of payloads: the kind of each, and its content. One that is cut short ends it.
#[derive(Clone, Copy, Debug)]
pub struct Payloads<'a> {
    kind: u8,
    at: Reader<'a>,
    left: usize,
}

impl<'a> Payloads<'a> {
    /// A chain whose first payload is of this kind.
    pub fn new(kind: u8, bytes: &'a [u8]) -> Payloads<'a> {
        Payloads {
            kind,
            at: Reader::new(bytes),
            left: PAYLOADS_MAX,
        }
    }

    /// Those of a message.
    pub fn of(header: &Header, message: &'a [u8]) -> Payloads<'a> {
        Payloads::new(header.next, message.get(HEADER..).unwrap_or(&[]))
    }

    /// The kind that the last payload named for another one.
    pub fn next_kind(&self) -> u8 {
        self.kind
    }
}

impl<'a> Iterator for Payloads<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        self.left = self.left.checked_sub(1)?;
        let [next, _] = self.at.array()?;
        let length = self.at.u16()?;
        let content = self.at.take(usize::from(length).saturating_sub(4))?;
        let kind = std::mem::replace(&mut self.kind, next);
        Some((kind, content))
    }
}

/// Transforms of the proposals in an association of IKE 1: the attributes of each.
pub fn transforms1(association: &[u8]) -> impl Iterator<Item = &[u8]> {
    /// Bytes before the proposals: domain and situation.
    const SITUATION: usize = 8;
    let is_ipsec = association.starts_with(&[0, 0, 0, 1]);
    let proposals = association.get(SITUATION..).filter(|_| is_ipsec);
    let proposals = Payloads::new(2, proposals.unwrap_or(&[])).filter(|(kind, _)| *kind == 2);
    proposals
        .flat_map(|(_, content)| {
            let spi = content.get(2).map_or(0, |size| usize::from(*size));
            Payloads::new(3, content.get(4 + spi..).unwrap_or(&[]))
        })
        .filter(|(kind, _)| *kind == 3)
        .map(|(_, content)| content.get(4..).unwrap_or(&[]))
}

fn probe(probe: &Probe<'_>) -> Guess {
    if probe.server_port != PORT && probe.client_port != PORT {
        return Guess::No;
    }
    match Header::read(probe.bytes) {
        Some(header) if header.version.0 == 1 => Guess::Yes,
        Some(header)
            if header.version == (2, 0)
                && (34..=37).contains(&header.exchange)
                && header.length as usize == probe.bytes.len() =>
        {
            Guess::Yes
        }
        _ => Guess::No,
    }
}

/// Payloads of IKE 1 and 2 that events look at.
pub mod kind {
    #![allow(missing_docs)]
    pub const ASSOCIATION: u8 = 1;
    pub const KEY: u8 = 4;
    pub const NONCE: u8 = 10;
    pub const VENDOR: u8 = 13;
    pub const ASSOCIATION_2: u8 = 33;
    pub const NOTIFY_2: u8 = 41;
}

/// What events tell of a flow beside the message at hand.
#[derive(Debug, Default)]
pub struct Ike {
    /// Key and nonce of each side's last message of IKE 1 that was not encrypted: the key's length in
    /// two bytes, the key, the nonce.
    said: [Text; 2],
    /// What the server chose: the attributes of a transform of IKE 1, an association of IKE 2.
    chosen: Text,
    /// Domain of interpretation.
    domain: Option<u32>,
}

impl Parse for Ike {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        let (bytes, direction) = (input.bytes, input.direction);
        let taken = Ok(Taken::all(bytes.len()));
        if bytes.is_empty() {
            return taken;
        }
        let Some(header) = Header::read(bytes).filter(|h| matches!(h.version.0, 1 | 2)) else {
            out.broken();
            return taken;
        };
        let tx = out.open_one_way(direction);
        let fields = [Field::IkeInitSpi, Field::IkeRespSpi];
        for (field, spi) in fields.into_iter().zip(header.spi) {
            tell_hex(out, tx, field, direction, &spi);
        }
        let exchange = u64::from(header.exchange);
        out.number(tx, Field::IkeExchtype, direction, exchange);
        let payloads = bytes.get(HEADER..).unwrap_or(&[]);
        let sealed = header.is_sealed();
        self.note(out, &header, direction, bytes);
        self.tell(out, tx, direction, bytes);
        if !sealed && payloads_of(out, tx, direction, &header, payloads).is_none() {
            out.event(tx, direction, MALFORMED);
        }
        out.complete(tx);
        taken
    }

    fn free(&mut self, heap: &mut Heap) {
        for text in self.said.iter_mut().chain([&mut self.chosen]) {
            heap.clear(text);
        }
    }
}

impl Ike {
    /// Keeps what later events tell again, where there are events.
    fn note(&mut self, out: &mut Output<'_>, header: &Header, direction: Direction, bytes: &[u8]) {
        if !out.wants(Field::IkeMessage) || header.is_sealed() {
            return;
        }
        let heap = out.heap();
        let (mut key, mut nonce): (&[u8], &[u8]) = (&[], &[]);
        for (kind, content) in Payloads::of(header, bytes) {
            let chosen = match (header.version.0, kind) {
                (1, kind::KEY) => {
                    key = content;
                    continue;
                }
                (1, kind::NONCE) => {
                    nonce = content;
                    continue;
                }
                (1, kind::ASSOCIATION) => {
                    let domain = content.first_chunk().copied().map(u32::from_be_bytes);
                    self.domain = domain.or(self.domain);
                    transforms1(content).next().unwrap_or(&[])
                }
                (2, kind::ASSOCIATION_2) => content,
                _ => continue,
            };
            if direction == Direction::ToClient {
                // Without room it is not told.
                heap.clear(&mut self.chosen);
                let _ = heap.append(&mut self.chosen, chosen.get(..KEPT_MAX).unwrap_or(chosen));
            }
        }
        if header.version.0 != 1 {
            return;
        }
        let said = &mut self.said[direction.index()];
        heap.clear(said);
        let (key, nonce) = match key.len() + nonce.len() > KEPT_MAX {
            true => (&[][..], &[][..]),
            false => (key, nonce),
        };
        let length = (key.len() as u16).to_be_bytes();
        let _ = [&length, key, nonce]
            .iter()
            .all(|part| heap.append(said, part));
    }

    /// Tells the message and what was kept.
    fn tell(&self, out: &mut Output<'_>, tx: TxId, direction: Direction, bytes: &[u8]) {
        if !out.wants(Field::IkeMessage) {
            return;
        }
        let message = bytes.get(..MESSAGE_MAX).unwrap_or(bytes);
        out.field(tx, Field::IkeMessage, direction, message);
        let other = direction.opposite();
        for (field, direction, text) in [
            (Field::IkeSaid, other, &self.said[other.index()]),
            (Field::IkeChosen, Direction::ToClient, &self.chosen),
        ] {
            let mut kept = std::mem::take(&mut out.shared.scratch);
            kept.clear();
            kept.extend_from_slice(out.shared.heap.get(text));
            out.shared.scratch = kept;
            out.scratch_for_events(tx, field, direction);
        }
        if let Some(domain) = self.domain {
            out.number_for_events(tx, Field::IkeDoi, direction, u64::from(domain));
        }
    }
}

/// Tells bytes as hexadecimal digits.
fn tell_hex(out: &mut Output<'_>, tx: TxId, field: Field, direction: Direction, bytes: &[u8]) {
    let scratch = &mut out.shared.scratch;
    scratch.clear();
    for byte in bytes.get(..VENDOR_MAX).unwrap_or(bytes) {
        scratch.extend_from_slice(&hex(*byte, HEX));
    }
    out.field_of_scratch(tx, field, direction);
}

/// A chain of payloads; `None` if one is cut short.
fn payloads_of(
    out: &mut Output<'_>,
    tx: TxId,
    direction: Direction,
    header: &Header,
    bytes: &[u8],
) -> Option<()> {
    let mut kind = header.next;
    let mut at = Reader::new(bytes);
    for _ in 0..PAYLOADS_MAX {
        if kind == 0 || at.is_empty() {
            break;
        }
        let [next, _] = at.array()?;
        let length = usize::from(at.u16()?).checked_sub(4)?;
        let content = at.take(length)?;
        if header.version.0 == 1 {
            // A server chooses one transform (RFC 2408 4.2).
            let answers = kind == 1 && direction == Direction::ToClient;
            if answers && count_transforms(content) > 1 {
                out.event(tx, direction, SECOND_CHOICE);
            }
            payload1(out, tx, direction, kind, content);
        } else if kind == 33 {
            associate2(out, tx, direction, content);
        } else if kind == 46 {
            // What follows is encrypted.
            return Some(());
        }
        kind = next;
    }
    if header.version.0 == 1 && !at.is_empty() {
        out.event(tx, direction, EXTRA);
    }
    Some(())
}

/// A payload of IKE 1.
fn payload1(out: &mut Output<'_>, tx: TxId, direction: Direction, kind: u8, content: &[u8]) {
    let (field, length) = match kind {
        1 => {
            let _ = association1(out, tx, direction, content);
            return;
        }
        4 => (
            Field::IkeKeyExchangePayload,
            Field::IkeKeyExchangePayloadLength,
        ),
        10 => (Field::IkeNoncePayload, Field::IkeNoncePayloadLength),
        13 => return tell_hex(out, tx, Field::IkeVendor, direction, content),
        _ => return,
    };
    if !content.is_empty() {
        out.field(tx, field, direction, content);
        out.number(tx, length, direction, content.len() as u64);
    }
}

/// The first transform of a security association: what a responder has chosen.
fn association1(
    out: &mut Output<'_>,
    tx: TxId,
    direction: Direction,
    content: &[u8],
) -> Option<()> {
    let mut at = Reader::new(content);
    // Domain of interpretation: IPsec.
    if at.u32()? != 1 {
        return None;
    }
    at.skip(4)?;
    // The proposal: header, number, protocol, size of the SPI, transforms.
    at.skip(4)?;
    let [_, _, spi, _] = at.array()?;
    at.skip(usize::from(spi))?;
    // The transform: header, number, kind.
    at.skip(2)?;
    let length = usize::from(at.u16()?).checked_sub(8)?;
    at.skip(4)?;
    let mut attributes = Reader::new(at.take(length)?);
    for _ in 0..ATTRIBUTES_MAX {
        let kind = attributes.u16()?;
        let value = if kind & 0x8000 != 0 {
            u32::from(attributes.u16()?)
        } else {
            let value = attributes.counted_u16()?;
            match *value {
                [a, b, c, d] => u32::from_be_bytes([a, b, c, d]),
                [a, b] => u32::from(u16::from_be_bytes([a, b])),
                _ => continue,
            }
        };
        chosen(out, tx, direction, kind & 0x7fff, value);
    }
    Some(())
}

/// Transforms of the first proposal of a security association of IKE 1: it says how many.
fn count_transforms(content: &[u8]) -> u8 {
    /// Behind domain, situation, and the proposal's header, number, protocol and size of the SPI.
    const COUNT: usize = 8 + 4 + 3;
    content.get(COUNT).copied().unwrap_or(0)
}

fn chosen(out: &mut Output<'_>, tx: TxId, direction: Direction, attribute: u16, value: u32) {
    let value = attribute_value(attribute, value);
    out.number(tx, Field::IkeChosenSaAttribute, direction, value);
}

/// What [`proposals2`] comes by.
pub enum Proposed {
    /// A transform: its kind and its number.
    Transform(u8, u16),
    /// The end of a proposal, which is of this protocol.
    End(u8),
}

/// Walks the proposals of an association of IKE 2 (RFC 7296 3.3). `None`: it is cut short.
pub fn proposals2(association: &[u8], mut each: impl FnMut(Proposed)) -> Option<()> {
    let mut at = Reader::new(association);
    for _ in 0..TRANSFORMS_MAX {
        at.skip(2)?;
        let length = usize::from(at.u16()?).checked_sub(4)?;
        let mut proposal = Reader::new(at.take(length)?);
        let [_, protocol, spi, count] = proposal.array()?;
        proposal.skip(usize::from(spi))?;
        for _ in 0..usize::from(count).min(TRANSFORMS_MAX) {
            proposal.skip(2)?;
            let length = usize::from(proposal.u16()?).checked_sub(4)?;
            let mut transform = Reader::new(proposal.take(length)?);
            let [kind, _] = transform.array()?;
            each(Proposed::Transform(kind, transform.u16()?));
        }
        each(Proposed::End(protocol));
        if at.is_empty() {
            break;
        }
    }
    Some(())
}

/// The transforms of IKE 2's proposals, and what is weak in each proposal.
fn associate2(out: &mut Output<'_>, tx: TxId, direction: Direction, content: &[u8]) -> Option<()> {
    /// The protocol that authenticates and does not encrypt (RFC 7296 3.3.1).
    const AH: u8 = 2;
    let (mut has_group, mut is_safe) = (false, false);
    proposals2(content, |part| match part {
        Proposed::Transform(kind, id) => {
            has_group |= kind == 4;
            // Integrity has a transform of its own, or comes with the encryption.
            is_safe |= match kind {
                1 => (14..=16).contains(&id) || (18..=20).contains(&id) || (25..=28).contains(&id),
                3 => id != 0,
                _ => false,
            };
            transform2(out, tx, direction, kind, id);
        }
        Proposed::End(protocol) => {
            for (holds, event) in [
                (!has_group, NO_DH),
                (protocol == AH, NO_ENCRYPTION),
                (!is_safe, NO_AUTH),
            ] {
                if holds {
                    out.event(tx, direction, event);
                }
            }
            (has_group, is_safe) = (false, false);
        }
    })
}

fn transform2(out: &mut Output<'_>, tx: TxId, direction: Direction, kind: u8, id: u16) {
    let (attribute, event) = match (kind, id) {
        (1, 1..=9 | 11) => (ENCRYPTION, Some(WEAK_ENCRYPTION)),
        (1, _) => (ENCRYPTION, None),
        (2, 0) => (PRF, Some(INVALID)),
        (2, 1 | 2) => (PRF, Some(WEAK_PRF)),
        (2, _) => (PRF, None),
        (3, 1..=7) => (AUTHENTICATION, Some(WEAK_AUTH)),
        (3, _) => (AUTHENTICATION, None),
        (4, 0) => (GROUP, Some(INVALID)),
        (4, 1 | 2 | 5 | 22) => (GROUP, Some(WEAK_DH)),
        (4, _) => (GROUP, None),
        // Extended sequence numbers.
        (5, _) => return,
        _ => return out.event(tx, direction, UNKNOWN),
    };
    if let Some(event) = event {
        out.event(tx, direction, event);
    }
    if direction == Direction::ToClient {
        chosen(out, tx, direction, attribute, u32::from(id));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, run};
    use super::*;
    use crate::packet::Direction::{ToClient, ToServer};

    const PLACE: Place = Place {
        transport: Transport::Udp,
        server_port: PORT,
    };

    fn message(next: u8, version: u8, exchange: u8, payloads: &[u8]) -> Vec<u8> {
        let mut out = vec![0xab; 8];
        out.extend([0; 8]);
        out.extend([next, version, exchange, 0, 0, 0, 0, 0]);
        out.extend(((HEADER + payloads.len()) as u32).to_be_bytes());
        out.extend(payloads);
        out
    }

    #[test]
    fn payloads_of_version_1() {
        let mut payloads = vec![10, 0, 0, 7, 1, 2, 3];
        payloads.extend([13, 0, 0, 6, 8, 9]);
        payloads.extend([0, 0, 0, 6, 0xca, 0xfe]);
        let bytes = message(4, 0x10, 2, &payloads);
        let (protocol, lines) = run(PLACE, &[(ToServer, &bytes)]);
        assert_eq!(protocol, AppProtocol::Ike);
        assert_eq!(
            lines,
            [
                "tx 0 ToServer ike.init_spi \"abababababababab\"",
                "tx 0 ToServer ike.resp_spi \"0000000000000000\"",
                "tx 0 ToServer ike.exchtype 2",
                "tx 0 ToServer ike.key_exchange_payload \"\\x01\\x02\\x03\"",
                "tx 0 ToServer ike.key_exchange_payload_length 3",
                "tx 0 ToServer ike.nonce_payload \"\\x08\\t\"",
                "tx 0 ToServer ike.nonce_payload_length 2",
                "tx 0 ToServer ike.vendor \"cafe\"",
            ]
        );
    }

    /// Names of the events of a message.
    fn events(direction: Direction, bytes: &[u8]) -> String {
        let (_, lines) = run(
            PLACE,
            &[(ToServer, &message(0, 0x10, 2, &[])), (direction, bytes)],
        );
        let name = |line: &String| Some(line.split("\"ike\", \"").nth(1)?.to_string());
        let names: Vec<String> = lines.iter().filter_map(name).collect();
        names.concat().replace("\"))", " ")
    }

    /// A message with one proposal of a protocol, with transforms of a kind and a number.
    fn proposal(protocol: u8, transforms: &[(u8, u8)]) -> Vec<u8> {
        let count = transforms.len() as u8;
        let length = 8 + 8 * count;
        let mut payload = vec![0, 0, 0, length + 4, 0, 0, 0, length, 1, protocol, 0, count];
        for (kind, number) in transforms {
            payload.extend([0, 0, 0, 8, *kind, 0, 0, *number]);
        }
        message(33, 0x20, 34, &payload)
    }

    #[test]
    fn proposals_without_a_part_are_events() {
        // Encryption AES-CBC, PRF SHA-2, integrity SHA-2, group 14, no extended numbers.
        let whole = [(1, 12), (2, 5), (3, 12), (4, 14), (5, 0)];
        assert_eq!(events(ToServer, &proposal(1, &whole)), "");
        let sealed = [(1, 20), (2, 5), (4, 14)];
        assert_eq!(events(ToServer, &proposal(1, &sealed)), "");
        let bare = [(1, 12), (2, 5), (3, 0), (4, 14)];
        assert_eq!(
            events(ToServer, &proposal(1, &bare)),
            "weak_crypto_no_auth "
        );
        let header = [(3, 12), (4, 14)];
        assert_eq!(events(ToServer, &proposal(2, &header)), "no_encryption ");
        let strange = [whole.as_slice(), &[(9, 1)]].concat();
        assert_eq!(
            events(ToServer, &proposal(1, &strange)),
            "unknown_proposal "
        );
    }

    #[test]
    fn a_server_that_chooses_twice_is_an_event() {
        let answer = |count: u8| {
            let transform = [0, 0, 0, 12, 1, 1, 0, 0, 0x80, 1, 0, 7];
            let mut payload = vec![0, 0, 0, 20 + 12 * count, 0, 0, 0, 1, 0, 0, 0, 1];
            payload.extend([0, 0, 0, 8 + 12 * count, 1, 1, 0, count]);
            payload.extend(transform.repeat(usize::from(count)));
            message(1, 0x10, 2, &payload)
        };
        assert_eq!(events(ToClient, &answer(1)), "");
        assert_eq!(events(ToClient, &answer(2)), "multiple_server_proposal ");
        assert_eq!(events(ToServer, &answer(2)), "");
    }

    #[test]
    fn weak_transforms_of_version_2_are_events() {
        // One proposal: 3DES (weak), group 14.
        let transforms = [3, 0, 0, 8, 1, 0, 0, 3, 0, 0, 0, 8, 4, 0, 0, 14];
        let mut proposal = vec![0, 0, 0, 24, 1, 1, 0, 2];
        proposal.extend(transforms);
        let mut payload = vec![0, 0, 0, 28];
        payload.extend(proposal);
        let bytes = message(33, 0x20, 34, &payload);
        let (_, lines) = run(PLACE, &[(ToServer, &bytes)]);
        assert!(
            lines.iter().any(|l| l.contains("weak_crypto_enc")),
            "{lines:?}"
        );
        assert!(!lines.iter().any(|l| l.contains("no_dh")), "{lines:?}");
    }
}
