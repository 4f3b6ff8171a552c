//! How values of keywords of HTTP/2, certificates, Kerberos and industrial protocols read: words
//! and forms of their own. The table of keywords is app_keywords.rs's.

use super::number;
use super::signature::Compare;
use crate::app::dnp3::object_value;
use crate::app::enip::service_value;
use crate::app::ike::attribute_value;
use crate::app::krb5::STRONG;
use crate::app::tls::x509::days_before;

/// Kerberos messages (RFC 4120 5.10).
pub const KRB5_MESSAGES: &[(&str, u64)] = &[
    ("as_req", 10),
    ("as_rep", 11),
    ("tgs_req", 12),
    ("tgs_rep", 13),
    ("ap_req", 14),
    ("ap_rep", 15),
    ("reserved16", 16),
    ("reserved17", 17),
    ("safe", 20),
    ("priv", 21),
    ("cred", 22),
    ("error", 30),
];

/// Encryption types (IANA "Kerberos encryption type numbers"; the negative ones are Microsoft's).
const ENCRYPTIONS: &[(&str, i32)] = &[
    ("des-cbc-crc", 1),
    ("des-cbc-md4", 2),
    ("des-cbc-md5", 3),
    ("des3-cbc-md5", 5),
    ("des3-cbc-sha1", 7),
    ("dsaWithSHA1-CmsOID", 9),
    ("md5WithRSAEncryption-CmsOID", 10),
    ("sha1WithRSAEncryption-CmsOID", 11),
    ("rc2CBC-EnvOID", 12),
    ("rsaEncryption-EnvOID", 13),
    ("rsaES-OAEP-ENV-OID", 14),
    ("des-ede3-cbc-Env-OID", 15),
    ("des3-cbc-sha1-kd", 16),
    ("aes128-cts-hmac-sha1-96", 17),
    ("aes256-cts-hmac-sha1-96", 18),
    ("aes128-cts-hmac-sha256-128", 19),
    ("aes256-cts-hmac-sha384-192", 20),
    ("rc4-hmac", 23),
    ("rc4-hmac-exp", 24),
    ("camellia128-cts-cmac", 25),
    ("camellia256-cts-cmac", 26),
    ("subkey-keymaterial", 65),
    ("rc4-md4", -128),
    ("rc4-plain2", -129),
    ("rc4-lm", -130),
    ("rc4-sha", -131),
    ("des-plain", -132),
    ("rc4-hmac-OLD", -133),
    ("rc4-plain-OLD", -134),
    ("rc4-hmac-OLD-exp", -135),
    ("rc4-plain-OLD-exp", -136),
    ("rc4-plain", -140),
    ("rc4-plain-exp", -141),
];

/// `krb5.ticket_encryption:weak`, `!weak`, or names and numbers. Numbers are told as unsigned.
pub fn ticket_encryption(text: &str) -> Option<Vec<Compare>> {
    match text.trim() {
        // What is not strong: the gaps between the strong ones, and all beyond.
        "weak" => Some(vec![
            Compare::Less(STRONG[0]),
            Compare::Between(STRONG[3], STRONG[4]),
            Compare::Greater(STRONG[5]),
        ]),
        "!weak" => Some(STRONG.iter().map(|kind| Compare::Equal(*kind)).collect()),
        list => list
            .split(',')
            .map(|name| {
                let name = name.trim();
                let known = ENCRYPTIONS.iter().find(|(known, _)| *known == name);
                let kind = match known {
                    Some((_, kind)) => *kind,
                    None => name.parse::<i32>().ok()?,
                };
                Some(Compare::Equal(u64::from(kind as u32)))
            })
            .collect(),
    }
}

/// Commands of EtherNet/IP.
pub const ENIP_COMMANDS: &[(&str, u64)] = &[
    ("nop", 0),
    ("list_services", 4),
    ("list_identity", 0x63),
    ("list_interfaces", 0x64),
    ("register_session", 0x65),
    ("unregister_session", 0x66),
    ("send_r_r_data", 0x6f),
    ("send_rr_data", 0x6f),
    ("send_rrdata", 0x6f),
    ("send_unit_data", 0x70),
    ("indicate_status", 0x72),
    ("cancel", 0x73),
];

/// Status codes of EtherNet/IP.
pub const ENIP_STATUS: &[(&str, u64)] = &[
    ("success", 0),
    ("invalid_cmd", 1),
    ("no_resources", 2),
    ("incorrect_data", 3),
    ("invalid_session", 0x64),
    ("invalid_length", 0x65),
    ("unsupported_prot_rev", 0x69),
    ("encap_header_error", 0x6a),
];

/// `cip_service:SERVICE[,CLASS[,ATTRIBUTE]]`; a negated attribute is none (as in Suricata).
pub fn cip_service(text: &str) -> Option<Vec<Compare>> {
    let mut parts = text.split(',').map(str::trim);
    let service: u8 = parts.next()?.parse().ok().filter(|s| *s < 0x80)?;
    let class: Option<u32> = match parts.next() {
        Some(class) => Some(class.parse().ok()?),
        None => None,
    };
    let attribute: Option<u32> = match parts.next() {
        Some(negated) if negated.starts_with('!') => {
            let _: u32 = negated.trim_start_matches('!').trim().parse().ok()?;
            None
        }
        Some(attribute) => Some(attribute.parse().ok()?),
        None => None,
    };
    if parts.next().is_some() {
        return None;
    }
    Some(vec![Compare::Equal(service_value(
        service, class, attribute,
    ))])
}

/// `enip.revision:MAJOR.MINOR`, or a comparison of the number.
pub fn enip_revision(text: &str) -> Option<Vec<Compare>> {
    if let Some((major, minor)) = text.trim().split_once('.') {
        let (major, minor): (u8, u8) = (major.parse().ok()?, minor.parse().ok()?);
        let revision = u64::from(major) << 8 | u64::from(minor);
        return Some(vec![Compare::Equal(revision)]);
    }
    Some(vec![number::compare(text, u64::from(u16::MAX))?])
}

/// Attributes of a security association (RFC 2409 appendix A).
const SA_ATTRIBUTES: &[(&str, u16)] = &[
    ("alg_enc", 1),
    ("alg_hash", 2),
    ("alg_auth", 3),
    ("alg_dh", 4),
    ("sa_group_type", 5),
    ("sa_life_type", 11),
    ("sa_life_duration", 12),
    ("alg_prf", 13),
    ("sa_key_length", 14),
    ("sa_field_size", 15),
];

/// `ike.chosen_sa_attribute:NAME` and a comparison of its value.
pub fn sa_attribute(text: &str) -> Option<Vec<Compare>> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_alphabetic() && c != '_')?;
    let (name, rest) = text.split_at_checked(end)?;
    let (_, attribute) = SA_ATTRIBUTES.iter().find(|(known, _)| *known == name)?;
    let at = |value: u64| attribute_value(*attribute, value as u32);
    let (before, after) = (at(0).saturating_sub(1), at(u64::from(u32::MAX)) + 1);
    Some(match number::compare(rest, u64::from(u32::MAX))? {
        Compare::Equal(value) => vec![Compare::Equal(at(value))],
        Compare::NotEqual(value) => vec![
            Compare::Between(before, at(value)),
            Compare::Between(at(value), after),
        ],
        Compare::Less(value) => vec![Compare::Between(before, at(value))],
        Compare::LessEqual(value) => vec![Compare::Between(before, at(value) + 1)],
        Compare::Greater(value) => vec![Compare::Between(at(value), after)],
        Compare::GreaterEqual(value) => vec![Compare::Between(at(value) - 1, after)],
        Compare::Between(from, to) => vec![Compare::Between(at(from), at(to))],
        Compare::NotBetween(..) | Compare::Mask { .. } => return None,
    })
}

/// Functions of DNP3 by Suricata's names, as far as rules use them.
pub const DNP3_FUNCTIONS: &[(&str, u64)] = &[
    ("confirm", 0),
    ("read", 1),
    ("write", 2),
    ("select", 3),
    ("operate", 4),
    ("direct_operate", 5),
    ("direct_operate_nr", 6),
    ("immed_freeze", 7),
    ("immed_freeze_nr", 8),
    ("freeze_clear", 9),
    ("freeze_clear_nr", 10),
    ("freeze_at_time", 11),
    ("freeze_at_time_nr", 12),
    ("cold_restart", 13),
    ("warm_restart", 14),
    ("initialize_data", 15),
    ("initialize_appl", 16),
    ("start_appl", 17),
    ("stop_appl", 18),
    ("save_config", 19),
    ("enable_unsolicited", 20),
    ("disable_unsolicited", 21),
    ("assign_class", 22),
    ("delay_measure", 23),
    ("record_current_time", 24),
    ("open_file", 25),
    ("close_file", 26),
    ("delete_file", 27),
    ("get_file_info", 28),
    ("authenticate_file", 29),
    ("abort_file", 30),
    ("activate_config", 31),
    ("authenticate_req", 32),
    ("authenticate_err", 33),
    ("autenthicate_req", 32),
    ("autenthicate_err", 33),
    ("response", 129),
    ("unsolicited_response", 130),
    ("authenticate_resp", 131),
];

/// Internal indications of DNP3, the first byte's bits in the upper half.
pub const DNP3_INDICATIONS: &[(&str, u64)] = &[
    ("all_stations", 0x0100),
    ("class_1_events", 0x0200),
    ("class_2_events", 0x0400),
    ("class_3_events", 0x0800),
    ("need_time", 0x1000),
    ("local_control", 0x2000),
    ("device_trouble", 0x4000),
    ("device_restart", 0x8000),
    ("no_func_code_support", 0x0001),
    ("object_unknown", 0x0002),
    ("parameter_error", 0x0004),
    ("event_buffer_overflow", 0x0008),
    ("already_executing", 0x0010),
    ("config_corrupt", 0x0020),
    ("reserved_2", 0x0040),
    ("reserved_1", 0x0080),
];

/// `dnp3_ind:WORD[,WORD]`, or a number: one of the bits must be set.
pub fn dnp3_indications(text: &str) -> Option<Vec<Compare>> {
    let bit = |mask| Compare::Mask {
        mask,
        value: 0,
        negated: true,
    };
    if let Some(mask) = number::compare(text, u64::from(u16::MAX)) {
        return match mask {
            Compare::Equal(mask) => Some(vec![bit(mask)]),
            _ => None,
        };
    }
    text.split(',')
        .map(|word| {
            let word = word.trim();
            let known = DNP3_INDICATIONS.iter().find(|(known, _)| *known == word)?;
            Some(bit(known.1))
        })
        .collect()
}

/// `dnp3_obj:GROUP,VARIATION`.
pub fn dnp3_object(text: &str) -> Option<Vec<Compare>> {
    let (group, variation) = text.split_once(',')?;
    let (group, variation) = (group.trim().parse().ok()?, variation.trim().parse().ok()?);
    Some(vec![Compare::Equal(object_value(group, variation))])
}

/// RFC 9113 6.
pub const HTTP2_FRAMES: &[(&str, u64)] = &[
    ("DATA", 0),
    ("HEADERS", 1),
    ("PRIORITY", 2),
    ("RSTSTREAM", 3),
    ("SETTINGS", 4),
    ("PUSHPROMISE", 5),
    ("PING", 6),
    ("GOAWAY", 7),
    ("WINDOWUPDATE", 8),
    ("CONTINUATION", 9),
];

/// RFC 9113 7; the rule language spells the eleventh as it does.
pub const HTTP2_ERRORS: &[(&str, u64)] = &[
    ("NO_ERROR", 0),
    ("PROTOCOL_ERROR", 1),
    ("INTERNAL_ERROR", 2),
    ("FLOW_CONTROL_ERROR", 3),
    ("SETTINGS_TIMEOUT", 4),
    ("STREAM_CLOSED", 5),
    ("FRAME_SIZE_ERROR", 6),
    ("REFUSED_STREAM", 7),
    ("CANCEL", 8),
    ("COMPRESSION_ERROR", 9),
    ("CONNECT_ERROR", 10),
    ("ENHANCE_YOUR_CALM", 11),
    ("INADEQUATE_SECURITY", 12),
    ("HTTP_1_1_REQUIRED", 13),
    ("HTTP11_REQUIRED", 13),
];

/// RFC 9113 6.5.2, RFC 8441, RFC 9218.
const HTTP2_SETTINGS: &[(&str, u64)] = &[
    ("SETTINGS_HEADER_TABLE_SIZE", 1),
    ("SETTINGS_ENABLE_PUSH", 2),
    ("SETTINGS_MAX_CONCURRENT_STREAMS", 3),
    ("SETTINGS_INITIAL_WINDOW_SIZE", 4),
    ("SETTINGS_MAX_FRAME_SIZE", 5),
    ("SETTINGS_MAX_HEADER_LIST_SIZE", 6),
    ("SETTINGS_ENABLE_CONNECT_PROTOCOL", 8),
    ("SETTINGS_NO_RFC7540_PRIORITIES", 9),
];

/// `http2.settings:NAME` or `NAME` and a comparison; app/http2.rs tells identifier and value as one
/// number, the identifier above 32 bits of value.
pub fn http2_settings(text: &str) -> Option<Vec<Compare>> {
    let text = text.trim();
    let end = text.find([' ', '<', '>', '=']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let (_, id) = HTTP2_SETTINGS
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))?;
    let (from, to) = (id << 32, (id + 1) << 32);
    if rest.is_empty() {
        return Some(vec![Compare::Between(from - 1, to)]);
    }
    let compare = match number::compare(rest, u64::from(u32::MAX))? {
        Compare::Equal(value) => Compare::Equal(from + value),
        Compare::Less(value) => Compare::Between(from - 1, from + value),
        Compare::LessEqual(value) => Compare::Between(from - 1, from + value + 1),
        Compare::Greater(value) => Compare::Between(from + value, to),
        Compare::GreaterEqual(value) => Compare::Between((from + value) - 1, to),
        Compare::Between(low, high) => Compare::Between(from + low, from + high),
        _ => return None,
    };
    Some(vec![compare])
}

/// `DATE`, `<DATE`, `>DATE` or `DATE<>DATE`, the bounds included; a date is a number of seconds
/// since 1970, or as in ISO 8601 from the year on.
pub fn date(text: &str) -> Option<Vec<Compare>> {
    let text = text.trim();
    let compare = if let Some((from, to)) = text.split_once("<>") {
        let (from, to) = (seconds(from)?, seconds(to)?);
        if from > to {
            return None;
        }
        Compare::Between(from.saturating_sub(1), to.saturating_add(1))
    } else if let Some(rest) = text.strip_prefix('<') {
        Compare::LessEqual(seconds(rest)?)
    } else if let Some(rest) = text.strip_prefix('>') {
        Compare::GreaterEqual(seconds(rest)?)
    } else {
        Compare::Equal(seconds(text)?)
    };
    Some(vec![compare])
}

/// Seconds since the epoch.
fn seconds(text: &str) -> Option<u64> {
    const YEAR: usize = 4;
    let text = text.trim();
    let number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if number && text.len() != YEAR {
        return text.parse().ok();
    }
    let (day, time) = text.split_once(['T', ' ']).unwrap_or((text, "0"));
    let mut parts = day.split('-').map(str::parse);
    let (year, month) = (parts.next()?.ok()?, parts.next().unwrap_or(Ok(1)).ok()?);
    let day = parts.next().unwrap_or(Ok(1)).ok()?;
    let mut clock = time.split(':').map(str::parse::<i64>);
    let hour = clock.next()?.ok()?;
    let minute = clock.next().unwrap_or(Ok(0)).ok()?;
    let second = clock.next().unwrap_or(Ok(0)).ok()?;
    let whole = (1..=12).contains(&month) && (1..=31).contains(&day) && parts.next().is_none();
    if !whole || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days_before(year, month, day);
    u64::try_from(days * 86_400 + hour * 3600 + minute * 60 + second).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(any_of: &[Compare], value: u64) -> bool {
        any_of.iter().any(|compare| compare.test(value))
    }

    #[test]
    fn weak_encryptions_are_those_that_are_not_strong() {
        let weak = ticket_encryption("weak").unwrap();
        let strong = ticket_encryption("!weak").unwrap();
        for kind in (0u64..70).chain([u64::from(-128i32 as u32)]) {
            assert_ne!(holds(&weak, kind), holds(&strong, kind), "{kind}");
            assert_eq!(holds(&strong, kind), STRONG.contains(&kind));
        }
        let list = ticket_encryption("rc4-hmac, -131,17").unwrap();
        assert!(holds(&list, 23) && holds(&list, 17) && holds(&list, u64::from(-131i32 as u32)));
        assert!(ticket_encryption("nonsense").is_none());
    }

    #[test]
    fn attributes_keep_to_their_own_values() {
        let value = |text| sa_attribute(text).unwrap();
        assert!(holds(&value("alg_enc=7"), attribute_value(1, 7)));
        assert!(!holds(&value("alg_enc>3"), attribute_value(2, 7)));
        assert!(holds(&value("sa_key_length<129"), attribute_value(14, 128)));
        assert!(holds(&value("alg_hash!2"), attribute_value(2, 4)));
        assert!(!holds(&value("alg_hash!2"), attribute_value(2, 2)));
        assert!(sa_attribute("nothing=1").is_none());
        let set = dnp3_indications("device_restart,need_time").unwrap();
        assert!(holds(&set, 0x9000) && holds(&set, 0x1000) && !holds(&set, 0x0200));
        assert!(holds(&dnp3_object("60, 2").unwrap(), object_value(60, 2)));
    }

    #[test]
    fn services_with_classes_and_attributes() {
        let value = |text| cip_service(text).unwrap();
        assert!(holds(&value("10"), service_value(10, None, None)));
        assert!(holds(&value("14, 4"), service_value(14, Some(4), None)));
        assert!(holds(&value("14,4,3"), service_value(14, Some(4), Some(3))));
        assert!(holds(&value("14,4,!3"), service_value(14, Some(4), None)));
        assert!(cip_service("200").is_none() && cip_service("1,2,3,4").is_none());
    }
}
