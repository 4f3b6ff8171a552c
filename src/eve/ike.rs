//! A message of IKE as the `ike` object of EVE: read by the event writer from the message itself, what
//! the other side said last, and what the server chose, all of which a record carries. Names of keys
//! and values are those that Suricata's readers know; numbers come from RFC 2408, RFC 2409 appendix
//! A and IANA's registries of IKE.

use std::fmt::{self, Display, Formatter};

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::text::{HexBytes, Text};
use crate::app::ike::{
    ATTRIBUTES_MAX, Header, Payloads, Proposed, TRANSFORMS_MAX, kind, proposals2, transforms1,
};
use crate::app::reader::Reader;
use crate::app::record::{Part, Record, Value};
use crate::app::{AppProtocol, Field};
use crate::packet::Direction;

/// Bits of the header of IKE 2: the sender began the association.
const INITIATOR: u8 = 8;

/// See the file's head.
pub struct Exchange<'a> {
    header: Header,
    message: &'a [u8],
    direction: Direction,
    said: &'a [u8],
    chosen: &'a [u8],
    domain: Option<u64>,
}

impl<'a> Exchange<'a> {
    /// The message of a record; `None`: it has none.
    pub fn of(record: Record<'a>) -> Option<Exchange<'a>> {
        if record.protocol() != AppProtocol::Ike {
            return None;
        }
        let mut parts = record.parts();
        let Part {
            value: Value::Bytes(message),
            direction,
            ..
        } = parts.find(|part| part.field == Field::IkeMessage)?
        else {
            return None;
        };
        Some(Exchange {
            header: Header::read(message)?,
            message,
            direction,
            said: record.bytes(Field::IkeSaid).unwrap_or(&[]),
            chosen: record.bytes(Field::IkeChosen).unwrap_or(&[]),
            domain: match record.value(Field::IkeDoi) {
                Some(Value::Number(number)) => Some(number),
                _ => None,
            },
        })
    }

    fn is_first_version(&self) -> bool {
        self.header.version.0 == 1
    }

    fn payloads(&self) -> Payloads<'a> {
        Payloads::of(&self.header, self.message)
    }

    /// Payloads of a kind.
    fn of_kind(&self, wanted: u8) -> impl Iterator<Item = &'a [u8]> {
        let of_kind = self.payloads().filter(move |(kind, _)| *kind == wanted);
        of_kind.map(|(_, content)| content)
    }

    fn transforms(&self) -> impl Iterator<Item = &'a [u8]> {
        self.of_kind(kind::ASSOCIATION).flat_map(transforms1)
    }

    /// The key and the nonce that a side said last.
    fn key_and_nonce(&self, side: Direction) -> (&'a [u8], &'a [u8]) {
        if side == self.direction {
            let last = |kind| self.of_kind(kind).last().unwrap_or(&[]);
            return (last(kind::KEY), last(kind::NONCE));
        }
        let mut said = Reader::new(self.said);
        let key = said.counted_u16().unwrap_or(&[]);
        (key, said.rest())
    }
}

impl Serialize for Exchange<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let header = &self.header;
        let [initiator, responder] = &header.spi;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("version_major", &header.version.0)?;
        map.serialize_entry("version_minor", &header.version.1)?;
        map.serialize_entry("init_spi", &Text(HexBytes(initiator)))?;
        map.serialize_entry("resp_spi", &Text(HexBytes(responder)))?;
        map.serialize_entry("message_id", &header.message)?;
        map.serialize_entry("exchange_type", &header.exchange)?;
        if self.is_first_version() {
            attributes(&mut map, self.chosen)?;
            let of_server = self.direction == Direction::ToClient && !header.is_sealed();
            if of_server && self.transforms().nth(1).is_some() {
                map.serialize_entry("server_proposals", &Proposals(self))?;
            }
            map.serialize_entry("payload", &Kinds1(self))?;
            map.serialize_entry("ikev1", &First(self))?;
            return map.end();
        }
        if header.flags & INITIATOR != 0 {
            map.serialize_entry("role", "initiator")?;
        } else {
            map.serialize_entry("role", "responder")?;
            let chosen = chosen2(self.chosen);
            for ((key, table), number) in CHOICES.iter().zip(chosen) {
                map.serialize_entry(key, &Text(Named(table, number)))?;
            }
        }
        map.serialize_entry("payload", &Kinds2(self))?;
        map.serialize_entry("ikev2", &Second(self))?;
        map.end()
    }
}

/// `ikev1`: what is in the clear of both sides.
struct First<'a, 'b>(&'b Exchange<'a>);

impl Serialize for First<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let exchange = self.0;
        let sealed = exchange.header.is_sealed();
        let mut map = serializer.serialize_map(None)?;
        if let Some(domain) = exchange.domain {
            map.serialize_entry("doi", &domain)?;
        }
        map.serialize_entry("encrypted_payloads", &sealed)?;
        if sealed {
            return map.end();
        }
        map.serialize_entry("client", &Side(exchange, Direction::ToServer))?;
        map.serialize_entry("server", &Side(exchange, Direction::ToClient))?;
        if exchange.of_kind(kind::VENDOR).next().is_some() {
            map.serialize_entry("vendor_ids", &Vendors(exchange))?;
        }
        map.end()
    }
}

struct Side<'a, 'b>(&'b Exchange<'a>, Direction);

impl Serialize for Side<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Side(exchange, side) = *self;
        let (key, nonce) = exchange.key_and_nonce(side);
        let mut map = serializer.serialize_map(None)?;
        if !key.is_empty() {
            map.serialize_entry("key_exchange_payload", &Text(HexBytes(key)))?;
            map.serialize_entry("key_exchange_payload_length", &key.len())?;
        }
        if !nonce.is_empty() {
            map.serialize_entry("nonce_payload", &Text(HexBytes(nonce)))?;
            map.serialize_entry("nonce_payload_length", &nonce.len())?;
        }
        let proposes = side == Direction::ToServer && exchange.direction == side;
        if proposes && exchange.transforms().next().is_some() {
            map.serialize_entry("proposals", &Proposals(exchange))?;
        }
        map.end()
    }
}

struct Vendors<'a, 'b>(&'b Exchange<'a>);

impl Serialize for Vendors<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let vendors = self.0.of_kind(kind::VENDOR);
        serializer.collect_seq(vendors.map(|vendor| Text(HexBytes(vendor))))
    }
}

/// The transforms of a message, an object each.
struct Proposals<'a, 'b>(&'b Exchange<'a>);

impl Serialize for Proposals<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.transforms().take(TRANSFORMS_MAX).map(Attributes))
    }
}

struct Attributes<'a>(&'a [u8]);

impl Serialize for Attributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        attributes(&mut map, self.0)?;
        map.end()
    }
}

/// An attribute of a transform (RFC 2408 section 3.3): kind, value or length, value that follows.
type Attribute<'a> = (u16, u16, Option<&'a [u8]>);

fn attributes_of(bytes: &[u8]) -> impl Iterator<Item = Attribute<'_>> + Clone {
    let mut at = Reader::new(bytes);
    let next = move || {
        let head = at.u16()?;
        let word = at.u16()?;
        let long = match head & 0x8000 {
            0 => Some(at.take(usize::from(word))?),
            _ => None,
        };
        Some((head & 0x7fff, word, long))
    };
    std::iter::from_fn(next).take(ATTRIBUTES_MAX)
}

/// One key for each kind of attribute, and one for what it says as it stands.
fn attributes<M: SerializeMap>(map: &mut M, bytes: &[u8]) -> Result<(), M::Error> {
    let all = attributes_of(bytes);
    for (place, (kind, word, long)) in all.clone().enumerate() {
        let (key, raw) = attribute_keys(kind);
        let mut before = all.clone().take(place);
        if before.any(|(kind, ..)| attribute_keys(kind).0 == key) {
            continue;
        }
        map.serialize_entry(key, attribute_word(kind, word))?;
        match long {
            None => map.serialize_entry(raw, &word)?,
            Some(&[a, b, c, d]) => map.serialize_entry(raw, &u32::from_be_bytes([a, b, c, d]))?,
            Some(bytes) => map.serialize_entry(raw, &Text(HexBytes(bytes)))?,
        }
    }
    Ok(())
}

#[rustfmt::skip] // A table to be read across.
fn attribute_keys(kind: u16) -> (&'static str, &'static str) {
    match kind {
        1 => ("alg_enc", "alg_enc_raw"),
        2 => ("alg_hash", "alg_hash_raw"),
        3 => ("alg_auth", "alg_auth_raw"),
        4 => ("alg_dh", "alg_dh_raw"),
        5 => ("sa_group_type", "sa_group_type_raw"),
        6 => ("sa_group_prime", "sa_group_prime_raw"),
        7 => ("sa_group_generator_one", "sa_group_generator_one_raw"),
        8 => ("sa_group_generator_two", "sa_group_generator_two_raw"),
        9 => ("sa_group_curve_a", "sa_group_curve_a_raw"),
        10 => ("sa_group_curve_b", "sa_group_curve_b_raw"),
        11 => ("sa_life_type", "sa_life_type_raw"),
        12 => ("sa_life_duration", "sa_life_duration_raw"),
        13 => ("alg_prf", "alg_prf_raw"),
        14 => ("sa_key_length", "sa_key_length_raw"),
        15 => ("sa_field_size", "sa_field_size_raw"),
        16 => ("sa_group_order", "sa_group_order_raw"),
        _ => ("unknown", "unknown_raw"),
    }
}

/// The word for the value of an attribute.
#[rustfmt::skip] // Tables to be read across.
fn attribute_word(kind: u16, value: u16) -> &'static str {
    const ENCRYPTION: &[&str] = &[
        "EncDesCbc", "EncIdeaCbc", "EncBlowfishCbc", "EncRc5R16B64Cbc", "EncTripleDesCbc",
        "EncCastCbc", "EncAesCbc", "EncCamelliaCbc",
    ];
    const HASH: &[&str] = &[
        "HashMd5", "HashSha", "HashTiger", "HashSha2_256", "HashSha2_384", "HashSha2_512",
    ];
    const AUTHENTICATION: &[&str] = &[
        "AuthPreSharedKey", "AuthDssSignatures", "AuthRsaSignatures", "AuthEncryptionWithRsa",
        "AuthRevisedEncryptionWithRsa", "AuthReserved", "AuthReserved", "AuthReserved",
        "AuthEcdsaSha256", "AuthEcdsaSha384", "AuthEcdsaSha512",
    ];
    const GROUP: &[&str] = &[
        "GroupDefault768BitModp", "GroupAlternate1024BitModpGroup", "GroupEc2nOnGp2p155",
        "GroupEc2nOnGp2p185", "GroupModp1536Bit", "GroupEc2nOverGf2p163", "GroupEc2nOverGf2p163",
        "GroupEc2nOverGf2p283", "GroupEc2nOverGf2p283", "GroupEc2nOverGf2p409",
        "GroupEc2nOverGf2p409", "GroupEc2nOverGf2p571", "GroupEc2nOverGf2p571", "GroupModp2048Bit",
        "GroupModp3072Bit", "GroupModp4096Bit", "GroupModp6144Bit", "GroupModp8192Bit",
        "GroupRandomEcp256", "GroupRandomEcp384", "GroupRandomEcp521",
        "GroupModp1024With160BitPrime", "GroupModp2048With224BitPrime",
        "GroupModp2048With256BitPrime", "GroupRandomEcp192", "GroupRandomEcp224",
        "GroupBrainpoolEcp224", "GroupBrainpoolEcp256", "GroupBrainpoolEcp384",
        "GroupBrainpoolEcp512",
    ];
    const LIFE: &[&str] = &["LifeTypeSeconds", "LifeTypeKilobytes"];
    let table = match kind {
        1 => ENCRYPTION,
        2 => HASH,
        3 => AUTHENTICATION,
        4 => GROUP,
        11 => LIFE,
        _ => &[],
    };
    let place = usize::from(value).checked_sub(1);
    place.and_then(|place| table.get(place)).unwrap_or(&"Unknown")
}

/// Kinds of payloads in a message of IKE 1, once each.
struct Kinds1<'a, 'b>(&'b Exchange<'a>);

impl Serialize for Kinds1<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[rustfmt::skip] // A table to be read across.
        const NAMES: [&str; 23] = [
            "None", "SecurityAssociation", "Proposal", "Transform", "KeyExchange",
            "Identification", "Certificate", "CertificateRequest", "Hash", "Signature", "Nonce",
            "Notification", "Delete", "VendorID", "", "SaKekPayload", "SaTekPayload",
            "KeyDownload", "SequenceNumber", "ProofOfPossession", "NatDiscovery",
            "NatOriginalAddress", "GroupAssociatedPolicy",
        ];
        let exchange = self.0;
        let mut seen = 0u32;
        let mut see = |kind: u8| seen |= 1u32.checked_shl(u32::from(kind)).unwrap_or(0);
        see(exchange.header.next);
        if !exchange.header.is_sealed() {
            for (kind, content) in exchange.payloads() {
                see(kind);
                if kind == kind::ASSOCIATION && content.starts_with(&[0, 0, 0, 1]) {
                    see(2);
                    if transforms1(content).next().is_some() {
                        see(3);
                    }
                }
            }
        }
        let kinds = NAMES.iter().enumerate();
        let told = kinds.filter(|(kind, name)| seen >> kind & 1 != 0 && !name.is_empty());
        serializer.collect_seq(told.map(|(_, name)| name))
    }
}

/// Kinds of payloads in a message of IKE 2, as headers name them one after another.
struct Kinds2<'a, 'b>(&'b Exchange<'a>);

impl Serialize for Kinds2<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        let kind = |kind: u8| Text(Named(&PAYLOADS, u16::from(kind)));
        list.serialize_element(&kind(self.0.header.next))?;
        let mut payloads = self.0.payloads();
        while payloads.next().is_some() {
            list.serialize_element(&kind(payloads.next_kind()))?;
        }
        list.end()
    }
}

/// `ikev2`: what the sides notify each other of.
struct Second<'a, 'b>(&'b Exchange<'a>);

impl Second<'_, '_> {
    /// Kinds of notifications (RFC 7296 section 3.10): behind a protocol and the size of an SPI.
    fn notices(&self) -> impl Iterator<Item = u16> {
        let kind = |content: &[u8]| Some(u16::from_be_bytes(*content.get(2..)?.first_chunk()?));
        self.0.of_kind(kind::NOTIFY_2).filter_map(kind)
    }
}

impl Serialize for Second<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// Kinds from here on are no errors.
        const STATUS: u16 = 16_384;
        let mut map = serializer.serialize_map(None)?;
        let errors = self.notices().filter(|kind| *kind < STATUS).count();
        map.serialize_entry("errors", &errors)?;
        if self.notices().next().is_some() {
            map.serialize_entry("notify", &Notices(self))?;
        }
        map.end()
    }
}

struct Notices<'a, 'b>(&'b Second<'a, 'b>);

impl Serialize for Notices<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let notices = self.0.notices();
        serializer.collect_seq(notices.map(|kind| Text(Named(&NOTICES, kind))))
    }
}

/// Numbers of the five kinds of transforms that a server's association names last, in the order of
/// [`CHOICES`].
fn chosen2(association: &[u8]) -> [u16; 5] {
    let mut chosen = CHOICES.map(|(_, table)| table.absent);
    let _ = proposals2(association, |part| {
        if let Proposed::Transform(kind @ 1..=5, number) = part {
            // Encryption, PRF, integrity, group, extended numbers.
            chosen[[0, 2, 1, 3, 4][usize::from(kind) - 1]] = number;
        }
    });
    chosen
}

/// Names of numbers, what the numbers are, and the one that stands where none was said.
struct Table {
    of: &'static str,
    absent: u16,
    names: &'static [(&'static str, u16)],
}

/// A number by its name.
struct Named(&'static Table, u16);

impl Display for Named {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Named(table, number) = self;
        match table.names.iter().find(|(_, known)| known == number) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "{}({number} / 0x{number:x})", table.of),
        }
    }
}

const CHOICES: [(&str, &Table); 5] = [
    ("alg_enc", &ENCRYPTION),
    ("alg_auth", &INTEGRITY),
    ("alg_prf", &PRF),
    ("alg_dh", &GROUPS),
    ("alg_esn", &EXTENDED),
];

#[rustfmt::skip] // Tables to be read across.
static ENCRYPTION: Table = Table {
    of: "IkeTransformEncType",
    absent: 11,
    names: &[
        ("ENCR_DES_IV64", 1), ("ENCR_DES", 2), ("ENCR_3DES", 3), ("ENCR_RC5", 4),
        ("ENCR_IDEA", 5), ("ENCR_CAST", 6), ("ENCR_BLOWFISH", 7), ("ENCR_3IDEA", 8),
        ("ENCR_DES_IV32", 9), ("ENCR_NULL", 11), ("ENCR_AES_CBC", 12), ("ENCR_AES_CTR", 13),
        ("ENCR_AES_CCM_8", 14), ("ENCR_AES_CCM_12", 15), ("ENCR_AES_CCM_16", 16),
        ("ENCR_AES_GCM_8", 18), ("ENCR_AES_GCM_12", 19), ("ENCR_AES_GCM_16", 20),
        ("ENCR_NULL_AUTH_AES_GMAC", 21), ("ENCR_CAMELLIA_CBC", 23), ("ENCR_CAMELLIA_CTR", 24),
        ("ENCR_CAMELLIA_CCM_8", 25), ("ENCR_CAMELLIA_CCM_12", 26), ("ENCR_CAMELLIA_CCM_16", 27),
        ("ENCR_CHACHA20_POLY1305", 28),
    ],
};

#[rustfmt::skip]
static INTEGRITY: Table = Table {
    of: "IkeTransformAuthType",
    absent: 0,
    names: &[
        ("NONE", 0), ("AUTH_HMAC_MD5_96", 1), ("AUTH_HMAC_SHA1_96", 2), ("AUTH_DES_MAC", 3),
        ("AUTH_KPDK_MD5", 4), ("AUTH_AES_XCBC_96", 5), ("AUTH_HMAC_MD5_128", 6),
        ("AUTH_HMAC_SHA1_160", 7), ("AUTH_AES_CMAC_96", 8), ("AUTH_AES_128_GMAC", 9),
        ("AUTH_AES_192_GMAC", 10), ("AUTH_AES_256_GMAC", 11), ("AUTH_HMAC_SHA2_256_128", 12),
        ("AUTH_HMAC_SHA2_384_192", 13), ("AUTH_HMAC_SHA2_512_256", 14),
    ],
};

#[rustfmt::skip]
static PRF: Table = Table {
    of: "IkeTransformPRFType",
    absent: 0,
    names: &[
        ("PRF_NULL", 0), ("PRF_HMAC_MD5", 1), ("PRF_HMAC_SHA1", 2), ("PRF_HMAC_TIGER", 3),
        ("PRF_AES128_XCBC", 4), ("PRF_HMAC_SHA2_256", 5), ("PRF_HMAC_SHA2_384", 6),
        ("PRF_HMAC_SHA2_512", 7), ("PRF_AES128_CMAC", 8),
    ],
};

#[rustfmt::skip]
static GROUPS: Table = Table {
    of: "IkeTransformDHType",
    absent: 0,
    names: &[
        ("None", 0), ("Modp768", 1), ("Modp1024", 2), ("Modp1536", 5), ("Modp2048", 14),
        ("Modp3072", 15), ("Modp4096", 16), ("Modp6144", 17), ("Modp8192", 18), ("Ecp256", 19),
        ("Ecp384", 20), ("Ecp521", 21), ("Modp1024s160", 22), ("Modp2048s224", 23),
        ("Modp2048s256", 24), ("Ecp192", 25), ("Ecp224", 26), ("BrainpoolP224r1", 27),
        ("BrainpoolP256r1", 28), ("BrainpoolP384r1", 29), ("BrainpoolP512r1", 30),
        ("Curve25519", 31), ("Curve448", 32),
    ],
};

static EXTENDED: Table = Table {
    of: "IkeTransformESNType",
    absent: 0,
    names: &[("NoESN", 0), ("ESN", 1)],
};

#[rustfmt::skip]
static PAYLOADS: Table = Table {
    of: "IkePayloadType",
    absent: 0,
    names: &[
        ("NoNextPayload", 0), ("SecurityAssociation", 33), ("KeyExchange", 34),
        ("IdentInitiator", 35), ("IdentResponder", 36), ("Certificate", 37),
        ("CertificateRequest", 38), ("Authentication", 39), ("Nonce", 40), ("Notify", 41),
        ("Delete", 42), ("VendorID", 43), ("TrafficSelectorInitiator", 44),
        ("TrafficSelectorResponder", 45), ("EncryptedAndAuthenticated", 46),
        ("Configuration", 47), ("ExtensibleAuthentication", 48),
    ],
};

#[rustfmt::skip]
static NOTICES: Table = Table {
    of: "NotifyType",
    absent: 0,
    names: &[
        ("UNSUPPORTED_CRITICAL_PAYLOAD", 1), ("INVALID_IKE_SPI", 4),
        ("INVALID_MAJOR_VERSION", 5), ("INVALID_SYNTAX", 7), ("INVALID_MESSAGE_ID", 9),
        ("INVALID_SPI", 11), ("NO_PROPOSAL_CHOSEN", 14), ("INVALID_KE_PAYLOAD", 17),
        ("AUTHENTICATION_FAILED", 24), ("SINGLE_PAIR_REQUIRED", 34), ("NO_ADDITIONAL_SAS", 35),
        ("INTERNAL_ADDRESS_FAILURE", 36), ("FAILED_CP_REQUIRED", 37), ("TS_UNACCEPTABLE", 38),
        ("INVALID_SELECTORS", 39), ("TEMPORARY_FAILURE", 43), ("CHILD_SA_NOT_FOUND", 44),
        ("INITIAL_CONTACT", 16384), ("SET_WINDOW_SIZE", 16385), ("ADDITIONAL_TS_POSSIBLE", 16386),
        ("IPCOMP_SUPPORTED", 16387), ("NAT_DETECTION_SOURCE_IP", 16388),
        ("NAT_DETECTION_DESTINATION_IP", 16389), ("COOKIE", 16390),
        ("USE_TRANSPORT_MODE", 16391), ("HTTP_CERT_LOOKUP_SUPPORTED", 16392),
        ("REKEY_SA", 16393), ("ESP_TFC_PADDING_NOT_SUPPORTED", 16394),
        ("NON_FIRST_FRAGMENTS_ALSO", 16395), ("MULTIPLE_AUTH_SUPPORTED", 16404),
        ("ANOTHER_AUTH_FOLLOWS", 16405), ("REDIRECT_SUPPORTED", 16406),
        ("IKEV2_FRAGMENTATION_SUPPORTED", 16430), ("SIGNATURE_HASH_ALGORITHMS", 16431),
    ],
};

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    /// A message of some version: exchange, flags, and payloads, the first of a kind.
    fn message(version: u8, exchange: u8, flags: u8, first: u8, payloads: &[u8]) -> Vec<u8> {
        let mut out = vec![0xab; 16];
        out.extend([first, version, exchange, flags, 0, 0, 0, 5]);
        out.extend((28 + payloads.len() as u32).to_be_bytes());
        out.extend(payloads);
        out
    }

    fn told(direction: Direction, message: &[u8], said: &[u8], chosen: &[u8]) -> Json {
        let exchange = Exchange {
            header: Header::read(message).unwrap(),
            message,
            direction,
            said,
            chosen,
            domain: Some(1),
        };
        serde_json::to_value(exchange).unwrap()
    }

    /// Encryption AES, group 2, a life of 86,400 seconds.
    const ATTRIBUTES: [u8; 16] = [0x80, 1, 0, 7, 0x80, 4, 0, 2, 0, 12, 0, 4, 0, 1, 0x51, 0x80];

    #[test]
    fn both_sides_of_the_first_version_are_told() {
        // An association with one proposal and one transform, then a vendor.
        let mut payloads = vec![13, 0, 0, 44, 0, 0, 0, 1, 0, 0, 0, 1];
        payloads.extend([0, 0, 0, 32, 1, 1, 0, 1, 0, 0, 0, 24, 1, 1, 0, 0]);
        payloads.extend(ATTRIBUTES);
        payloads.extend([0, 0, 0, 6, 0xca, 0xfe]);
        let bytes = message(0x10, 2, 0, 1, &payloads);
        let attributes = json!({"alg_enc": "EncAesCbc", "alg_enc_raw": 7,
            "alg_dh": "GroupAlternate1024BitModpGroup", "alg_dh_raw": 2,
            "sa_life_duration": "Unknown", "sa_life_duration_raw": 86_400});
        let value = told(Direction::ToServer, &bytes, &[], &[]);
        assert_eq!(
            value["payload"],
            json!(["SecurityAssociation", "Proposal", "Transform", "VendorID"])
        );
        let first = json!({"doi": 1, "encrypted_payloads": false, "server": {},
            "client": {"proposals": [attributes]}, "vendor_ids": ["cafe"]});
        assert_eq!(value["ikev1"], first);
        assert_eq!(
            (&value["message_id"], &value["exchange_type"]),
            (&json!(5), &json!(2))
        );
        assert!(value["alg_enc"].is_null(), "the server has not chosen yet");
        // The server's key and nonce, after those of the client.
        let payloads = [10, 0, 0, 7, 1, 2, 3, 0, 0, 0, 5, 9];
        let bytes = message(0x10, 2, 0, 4, &payloads);
        let said = [0, 2, 7, 8, 6];
        let value = told(Direction::ToClient, &bytes, &said, &ATTRIBUTES);
        assert_eq!(
            (&value["alg_enc"], &value["alg_enc_raw"]),
            (&json!("EncAesCbc"), &json!(7))
        );
        let side = |key, length, nonce| {
            json!({"key_exchange_payload": key,
            "key_exchange_payload_length": length, "nonce_payload": nonce,
            "nonce_payload_length": 1})
        };
        assert_eq!(value["ikev1"]["client"], side("0708", 2, "06"));
        assert_eq!(value["ikev1"]["server"], side("010203", 3, "09"));
        let sealed = message(0x10, 32, 1, 8, &[1, 2, 3]);
        let value = told(Direction::ToServer, &sealed, &said, &ATTRIBUTES);
        assert_eq!(
            value["ikev1"],
            json!({"doi": 1, "encrypted_payloads": true})
        );
        assert_eq!(value["payload"], json!(["Hash"]));
    }

    #[test]
    fn what_a_responder_chose_is_told() {
        // A notification that no proposal was chosen, and one that asks for a cookie.
        let payloads = [41, 0, 0, 8, 0, 0, 0, 14, 0, 0, 0, 8, 0, 0, 64, 6];
        let bytes = message(0x20, 34, 0x20, 41, &payloads);
        // AES-CBC, SHA-2 as PRF, integrity 99, group 14.
        let mut chosen = vec![0, 0, 0, 40, 1, 1, 0, 4];
        for (kind, number) in [(1, 12), (2, 5), (3, 99), (4, 14)] {
            chosen.extend([0, 0, 0, 8, kind, 0, 0, number]);
        }
        let value = told(Direction::ToClient, &bytes, &[], &chosen);
        let expected = json!({"version_major": 2, "version_minor": 0,
            "init_spi": "abababababababab", "resp_spi": "abababababababab", "message_id": 5,
            "exchange_type": 34, "role": "responder", "alg_enc": "ENCR_AES_CBC",
            "alg_auth": "IkeTransformAuthType(99 / 0x63)", "alg_prf": "PRF_HMAC_SHA2_256",
            "alg_dh": "Modp2048", "alg_esn": "NoESN",
            "payload": ["Notify", "Notify", "NoNextPayload"],
            "ikev2": {"errors": 1, "notify": ["NO_PROPOSAL_CHOSEN", "COOKIE"]}});
        assert_eq!(value, expected);
        let begins = message(0x20, 34, 8, 33, &[]);
        let value = told(Direction::ToServer, &begins, &[], &[]);
        assert_eq!(value["role"], "initiator");
        assert_eq!(value["payload"], json!(["SecurityAssociation"]));
        assert!(value["alg_enc"].is_null());
    }
}
