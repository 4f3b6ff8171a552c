//! Extensions of a QUIC handshake's hello as EVE shows them: number and name (IANA, TLS ExtensionType
//! values), and what some of them hold (RFC 8446 section 4.2, RFC 6066 section 3, RFC 7301).

use std::fmt::{self, Display, Formatter};

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::text::{Bytes, Text};
use crate::app::reader::Reader;

/// By number.
const NAMES: [(u64, &str); 60] = [
    (0, "server_name"),
    (1, "max_fragment_length"),
    (2, "client_certificate_url"),
    (3, "trusted_ca_keys"),
    (4, "truncated_hmac"),
    (5, "status_request"),
    (6, "user_mapping"),
    (7, "client_authz"),
    (8, "server_authz"),
    (9, "cert_type"),
    (10, "supported_groups"),
    (11, "ec_point_formats"),
    (12, "srp"),
    (13, "signature_algorithms"),
    (14, "use_srtp"),
    (15, "heartbeat"),
    (16, "alpn"),
    (17, "status_request_v2"),
    (18, "signed_certificate_timestamp"),
    (19, "client_certificate_type"),
    (20, "server_certificate_type"),
    (21, "padding"),
    (22, "encrypt_then_mac"),
    (23, "extended_master_secret"),
    (24, "token_binding"),
    (25, "cached_info"),
    (26, "tls_lts"),
    (27, "compress_certificate"),
    (28, "record_size_limit"),
    (29, "pwd_protect"),
    (30, "pwd_clear"),
    (31, "password_salt"),
    (32, "ticket_pinning"),
    (33, "tls_cert_with_extern_psk"),
    (34, "delegated_credentials"),
    (35, "session_ticket"),
    (36, "tlmsp"),
    (37, "tlmsp_proxying"),
    (38, "tlmsp_delegate"),
    (39, "supported_ekt_ciphers"),
    (41, "pre_shared_key"),
    (42, "early_data"),
    (43, "supported_versions"),
    (44, "cookie"),
    (45, "psk_key_exchange_modes"),
    (47, "certificate_authorities"),
    (48, "oid_filters"),
    (49, "post_handshake_auth"),
    (50, "signature_algorithms_cert"),
    (51, "key_share"),
    (52, "transparency_info"),
    (53, "connection_id_deprecated"),
    (54, "connection_id"),
    (55, "external_id_hash"),
    (56, "external_session_id"),
    (57, "quic_transport_parameters"),
    (58, "ticket_request"),
    (59, "dnssec_chain"),
    (13_172, "next_protocol_negotiation"),
    (65_281, "renegotiation_info"),
];

/// Values of an extension that are told.
const VALUES_MAX: usize = 64;

/// An extension: its number, and behind it what it holds, where that is told.
pub struct Extension<'a>(pub &'a [u8]);

impl Serialize for Extension<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (kind, held) = self.0.split_first_chunk().unwrap_or((&[0; 2], &[]));
        let kind = u16::from_be_bytes(*kind);
        let mut map = serializer.serialize_map(None)?;
        let known = NAMES.binary_search_by_key(&u64::from(kind), |(number, _)| *number);
        if let Some((_, name)) = known.ok().and_then(|place| NAMES.get(place)) {
            map.serialize_entry("name", name)?;
        }
        map.serialize_entry("type", &kind)?;
        let values = Values { kind, held };
        if values.iter().next().is_some() {
            map.serialize_entry("values", &values)?;
        }
        map.end()
    }
}

struct Values<'a> {
    kind: u16,
    held: &'a [u8],
}

impl<'a> Values<'a> {
    fn iter(&self) -> impl Iterator<Item = One<'a>> + use<'a> {
        let (kind, mut rest) = (self.kind, Reader::new(self.held));
        // A server's choice of a version stands alone, all others in a list with its length.
        match kind {
            43 if self.held.len() != 2 => {
                rest.u8();
            }
            0 | 13 | 16 => {
                rest.u16();
            }
            _ => {}
        }
        let next = move || match kind {
            0 => {
                rest.u8()?;
                rest.counted_u16().map(One::Text)
            }
            13 => rest.u16().map(One::Number),
            16 => rest.counted_u8().map(One::Text),
            43 => rest.u16().map(One::Version),
            _ => None,
        };
        std::iter::from_fn(next).take(VALUES_MAX)
    }
}

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Text))
    }
}

enum One<'a> {
    Text(&'a [u8]),
    Number(u16),
    Version(u16),
}

impl Display for One<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let version = match self {
            One::Text(bytes) => return Bytes(bytes).fmt(f),
            One::Number(number) => return number.fmt(f),
            One::Version(version) => *version,
        };
        // Words of Suricata's library (tls-parser).
        match version {
            0x0300 => f.write_str("Ssl30"),
            0x0301..=0x0304 => write!(f, "Tls1{}", version - 0x0301),
            0x7f12..=0x7f17 => write!(f, "Tls13Draft{}", version - 0x7f00),
            0xfefd => f.write_str("DTls12"),
            0xfefe => f.write_str("DTls11"),
            0xfeff => f.write_str("DTls10"),
            other => write!(f, "TlsVersion({other} / 0x{other:x})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn extensions_have_names_where_they_are_known_and_values_where_these_are_told() {
        let value = |bytes: &[u8]| serde_json::to_value(Extension(bytes)).unwrap();
        assert_eq!(
            value(&[0, 43, 4, 3, 4, 10, 10]),
            json!({"name": "supported_versions", "type": 43,
                "values": ["Tls13", "TlsVersion(2570 / 0xa0a)"]})
        );
        assert_eq!(value(&[0, 43, 3, 4])["values"], json!(["Tls13"]));
        assert_eq!(
            value(b"\0\x10\0\x06\x02h3\x02h2")["values"],
            json!(["h3", "h2"])
        );
        assert_eq!(value(b"\0\0\0\x06\0\0\x03a.b")["values"], json!(["a.b"]));
        assert_eq!(value(&[0, 13, 0, 2, 4, 3])["values"], json!(["1027"]));
        assert_eq!(value(&[0x0a, 0x0a]), json!({"type": 2570}));
        assert!(NAMES.is_sorted());
    }
}
