//! Numbers of application fields that EVE writes as words: message types, commands, operations. The
//! words are those that Suricata's readers know; where a key holds texts, a number without a word is
//! told as Suricata tells it, others stay numbers.

use std::fmt::{self, Display, Write};

use super::smb;
use crate::app::Field;
use crate::rules::app_readings::HTTP2_ERRORS;
use crate::rules::rpc_keywords::NFS_PROCEDURES;

/// The text for a number of a field whose key holds texts; `None`: it holds numbers.
pub fn text(field: Field, number: u64) -> Option<impl Display> {
    let form = match field {
        Field::Krb5ErrCode => Form::Named("ErrorCode"),
        Field::Krb5MsgType => Form::Named("MessageType"),
        Field::Krb5Encryption | Field::Krb5TicketEncryption => Form::Named("EncryptionType"),
        Field::SnmpTrapType => Form::Named("TrapType"),
        Field::SnmpError => Form::Named("ErrorStatus"),
        Field::SnmpPduType => Form::Unknown,
        Field::Http2Errorcode | Field::WebsocketOpcode | Field::LdapResponsesResultCode => {
            Form::Dashed
        }
        Field::RfbSecresult => Form::InBrackets,
        Field::NfsHandle => Form::Hexadecimal,
        Field::DcerpcRequest | Field::DcerpcResponse | Field::SmbFunction => Form::Decimal,
        Field::NfsCall => Form::Procedure,
        Field::NfsStatus | Field::NfsRpcStatus | Field::NfsAuth => Form::Decimal,
        _ => return of(field, number).map(|word| Number(Some(word), Form::Decimal, number)),
    };
    let word = match form {
        Form::Procedure => procedure_of(number),
        _ => of(field, number),
    };
    Some(Number(word, form, number))
}

/// How a number without a word is told.
enum Form {
    /// The number.
    Decimal,
    /// A procedure of NFS: in capitals, or its number below that of the version.
    Procedure,
    /// `Name(-1)`: signed numbers of 32 bits.
    Named(&'static str),
    /// `Unknown(0x9)`.
    Unknown,
    /// `unknown-9`.
    Dashed,
    /// `UNKNOWN (9)`.
    InBrackets,
    Hexadecimal,
}

/// A number with its word, if it has one.
struct Number(Option<&'static str>, Form, u64);

impl Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.2;
        match (self.0, &self.1) {
            (Some(word), Form::Procedure) => word
                .chars()
                .try_for_each(|letter| f.write_char(letter.to_ascii_uppercase())),
            (Some(word), _) => f.write_str(word),
            (None, Form::Decimal) => write!(f, "{number}"),
            (None, Form::Procedure) => write!(f, "{}", number & 0xffff_ffff),
            (None, Form::Named(name)) => write!(f, "{name}({})", number as i32),
            (None, Form::Unknown) => write!(f, "Unknown(0x{number:x})"),
            (None, Form::Dashed) => write!(f, "unknown-{number}"),
            (None, Form::InBrackets) => write!(f, "UNKNOWN ({number})"),
            (None, Form::Hexadecimal) => write!(f, "{number:x}"),
        }
    }
}

/// The word for a number of a field.
fn of(field: Field, number: u64) -> Option<&'static str> {
    match field {
        Field::Krb5MsgType => krb5(number),
        Field::Krb5FailedRequest => Some(krb5(number).unwrap_or("UNKNOWN")),
        Field::Krb5ErrCode => krb5_error(number),
        Field::Krb5Encryption | Field::Krb5TicketEncryption => encryption(number),
        Field::FtpMode => pick(&["passive", "active"], number),
        Field::FtpReplyReceived => pick(&["no", "yes"], number),
        Field::FtpdataCommand => {
            let known = usize::try_from(number).ok()?.checked_sub(1)?;
            let words = ["STOR", "APPE", "STOU", "RETR", "NLST", "LIST", "MLSD"];
            words.get(known).copied()
        }
        Field::SnmpPduType => snmp(number),
        Field::SnmpEncrypted => Some("encrypted"),
        Field::DcerpcRequest | Field::DcerpcResponse => pick(&DCERPC, number),
        Field::SmbFunction => smb::function(number),
        Field::TftpPacket => match number {
            1 => Some("read"),
            2 => Some("write"),
            _ => Some("error"),
        },
        Field::SmbDisposition => Some(pick(&smb::DISPOSITIONS, number).unwrap_or("UNKNOWN")),
        Field::SmbShareType => {
            let kinds = ["UNKNOWN", "FILE", "PIPE", "PRINT"];
            Some(pick(&kinds, number).unwrap_or("UNKNOWN"))
        }
        Field::SnmpTrapType => pick(&TRAPS, number),
        Field::SnmpError => pick(&SNMP_ERRORS, number),
        Field::NfsStatus => named(NFS_STATUSES, number),
        Field::NfsRpcStatus => pick(&["ACCEPTED", "DENIED"], number),
        Field::NfsAuth => pick(
            &["NULL", "UNIX", "SHORT", "DH", "KERB", "RSA", "GSS"],
            number,
        ),
        Field::LdapResponsesResultCode => ldap_result(number),
        Field::RfbSecresult => pick(&["OK", "FAIL", "TOOMANY"], number),
        Field::Http2Errorcode => named(HTTP2_ERRORS, number),
        Field::WebsocketOpcode => websocket(number),
        _ => None,
    }
}

/// The word of a number in a table.
pub fn named(words: &[(&'static str, u64)], number: u64) -> Option<&'static str> {
    let found = words.iter().find(|(_, known)| *known == number);
    found.map(|(word, _)| *word)
}

fn pick(words: &[&'static str], number: u64) -> Option<&'static str> {
    words.get(usize::try_from(number).ok()?).copied()
}

/// RFC 4120 section 7.5.7.
fn krb5(number: u64) -> Option<&'static str> {
    Some(match number {
        10 => "KRB_AS_REQ",
        11 => "KRB_AS_REP",
        12 => "KRB_TGS_REQ",
        13 => "KRB_TGS_REP",
        14 => "KRB_AP_REQ",
        15 => "KRB_AP_REP",
        20 => "KRB_SAFE",
        21 => "KRB_PRIV",
        22 => "KRB_CRED",
        30 => "KRB_ERROR",
        _ => return None,
    })
}

/// RFC 4120 section 7.5.9, RFC 4556 section 3.1.3.
fn krb5_error(number: u64) -> Option<&'static str> {
    const FIRST: [&str; 30] = [
        "KDC_ERR_NONE",
        "KDC_ERR_NAME_EXP",
        "KDC_ERR_SERVICE_EXP",
        "KDC_ERR_BAD_PVNO",
        "KDC_ERR_C_OLD_MAST_KVNO",
        "KDC_ERR_S_OLD_MAST_KVNO",
        "KDC_ERR_C_PRINCIPAL_UNKNOWN",
        "KDC_ERR_S_PRINCIPAL_UNKNOWN",
        "KDC_ERR_PRINCIPAL_NOT_UNIQUE",
        "KDC_ERR_NULL_KEY",
        "KDC_ERR_CANNOT_POSTDATE",
        "KDC_ERR_NEVER_VALID",
        "KDC_ERR_POLICY",
        "KDC_ERR_BADOPTION",
        "KDC_ERR_ETYPE_NOSUPP",
        "KDC_ERR_SUMTYPE_NOSUPP",
        "KDC_ERR_PADATA_TYPE_NOSUPP",
        "KDC_ERR_TRTYPE_NOSUPP",
        "KDC_ERR_CLIENT_REVOKED",
        "KDC_ERR_SERVICE_REVOKED",
        "KDC_ERR_TGT_REVOKED",
        "KDC_ERR_CLIENT_NOTYET",
        "KDC_ERR_SERVICE_NOTYET",
        "KDC_ERR_KEY_EXPIRED",
        "KDC_ERR_PREAUTH_FAILED",
        "KDC_ERR_PREAUTH_REQUIRED",
        "KDC_ERR_SERVER_NOMATCH",
        "KDC_ERR_MUST_USE_USER2USER",
        "KDC_ERR_PATH_NOT_ACCEPTED",
        "KDC_ERR_SVC_UNAVAILABLE",
    ];
    pick(&FIRST, number).or_else(|| named(KRB5_ERRORS, number))
}

/// The same, where the numbers have gaps.
const KRB5_ERRORS: &[(&str, u64)] = &[
    ("KRB_AP_ERR_BAD_INTEGRITY", 31),
    ("KRB_AP_ERR_TKT_EXPIRED", 32),
    ("KRB_AP_ERR_TKT_NYV", 33),
    ("KRB_AP_ERR_REPEAT", 34),
    ("KRB_AP_ERR_NOT_US", 35),
    ("KRB_AP_ERR_BADMATCH", 36),
    ("KRB_AP_ERR_SKEW", 37),
    ("KRB_AP_ERR_BADADDR", 38),
    ("KRB_AP_ERR_BADVERSION", 39),
    ("KRB_AP_ERR_MSG_TYPE", 40),
    ("KRB_AP_ERR_MODIFIED", 41),
    ("KRB_AP_ERR_BADORDER", 42),
    ("KRB_AP_ERR_BADKEYVER", 44),
    ("KRB_AP_ERR_NOKEY", 45),
    ("KRB_AP_ERR_MUT_FAIL", 46),
    ("KRB_AP_ERR_BADDIRECTION", 47),
    ("KRB_AP_ERR_METHOD", 48),
    ("KRB_AP_ERR_BADSEQ", 49),
    ("KRB_AP_ERR_INAPP_CKSUM", 50),
    ("KRB_AP_PATH_NOT_ACCEPTED", 51),
    ("KRB_ERR_RESPONSE_TOO_BIG", 52),
    ("KRB_ERR_GENERIC", 60),
    ("KRB_ERR_FIELD_TOOLONG", 61),
    ("KDC_ERROR_CLIENT_NOT_TRUSTED", 62),
    ("KDC_ERROR_KDC_NOT_TRUSTED", 63),
    ("KDC_ERROR_INVALID_SIG", 64),
    ("KDC_ERR_KEY_TOO_WEAK", 65),
    ("KDC_ERR_CERTIFICATE_MISMATCH", 66),
    ("KRB_AP_ERR_NO_TGT", 67),
    ("KDC_ERR_WRONG_REALM", 68),
    ("KRB_AP_ERR_USER_TO_USER_REQUIRED", 69),
    ("KDC_ERR_CANT_VERIFY_CERTIFICATE", 70),
    ("KDC_ERR_INVALID_CERTIFICATE", 71),
    ("KDC_ERR_REVOKED_CERTIFICATE", 72),
    ("KDC_ERR_REVOCATION_STATUS_UNKNOWN", 73),
    ("KDC_ERR_REVOCATION_STATUS_UNAVAILABLE", 74),
    ("KDC_ERR_CLIENT_NAME_MISMATCH", 75),
    ("KDC_ERR_KDC_NAME_MISMATCH", 76),
];

/// IANA, Kerberos encryption type numbers; negative ones are Microsoft's.
fn encryption(number: u64) -> Option<&'static str> {
    Some(match number {
        1 => "des-cbc-crc",
        2 => "des-cbc-md4",
        3 => "des-cbc-md5",
        5 => "des3-cbc-md5",
        7 => "des3-cbc-sha1",
        16 => "des3-cbc-sha1-kd",
        17 => "aes128-cts-hmac-sha1-96",
        18 => "aes256-cts-hmac-sha1-96",
        19 => "aes128-cts-hmac-sha256-128",
        20 => "aes256-cts-hmac-sha384-192",
        23 => "rc4-hmac",
        24 => "rc4-hmac-exp",
        25 => "camellia128-cts-cmac",
        26 => "camellia256-cts-cmac",
        _ => return None,
    })
}

/// RFC 3416 section 3, RFC 1157 section 4.1.6.
fn snmp(number: u64) -> Option<&'static str> {
    const WORDS: [&str; 9] = [
        "get_request",
        "get_next_request",
        "response",
        "set_request",
        "trap_v1",
        "get_bulk_request",
        "inform_request",
        "trap_v2",
        "report",
    ];
    pick(&WORDS, number)
}

/// C706 section 12.1 and MS-RPCE 2.2.2.
const DCERPC: [&str; 21] = [
    "REQUEST",
    "PING",
    "RESPONSE",
    "FAULT",
    "WORKING",
    "NOCALL",
    "REJECT",
    "ACK",
    "CL_CANCEL",
    "FACK",
    "CANCEL_ACK",
    "BIND",
    "BINDACK",
    "BINDNAK",
    "ALTER_CONTEXT",
    "ALTER_CONTEXT_RESP",
    "AUTH3",
    "SHUTDOWN",
    "CO_CANCEL",
    "ORPHANED",
    "RTS",
];

/// RFC 1157 section 4.1.6.
const TRAPS: [&str; 7] = [
    "coldStart",
    "warmStart",
    "linkDown",
    "linkUp",
    "authenticationFailure",
    "egpNeighborLoss",
    "enterpriseSpecific",
];
/// RFC 1157 section 4.1.1.
const SNMP_ERRORS: [&str; 6] = [
    "NoError",
    "TooBig",
    "NoSuchName",
    "BadValue",
    "ReadOnly",
    "GenErr",
];

/// The name of a procedure of NFS; the version stands above its number.
fn procedure_of(call: u64) -> Option<&'static str> {
    let version = usize::try_from(call >> 32).ok()?.checked_sub(2)?;
    let number = call & 0xffff_ffff;
    let here = |numbers: &[Option<u64>; 3]| numbers.get(version).copied().flatten();
    let found = NFS_PROCEDURES
        .iter()
        .find(|(_, numbers)| here(numbers) == Some(number));
    found.map(|(name, _)| *name)
}

/// RFC 1813 section 2.6.
const NFS_STATUSES: &[(&str, u64)] = &[
    ("OK", 0),
    ("ERR_PERM", 1),
    ("ERR_NOENT", 2),
    ("ERR_IO", 5),
    ("ERR_NXIO", 6),
    ("ERR_ACCES", 13),
    ("ERR_EXIST", 17),
    ("ERR_XDEV", 18),
    ("ERR_NODEV", 19),
    ("ERR_NOTDIR", 20),
    ("ERR_ISDIR", 21),
    ("ERR_INVAL", 22),
    ("ERR_FBIG", 27),
    ("ERR_NOSPC", 28),
    ("ERR_ROFS", 30),
    ("ERR_MLINK", 31),
    ("ERR_NAMETOOLONG", 63),
    ("ERR_NOTEMPTY", 66),
    ("ERR_DQUOT", 69),
    ("ERR_STALE", 70),
    ("ERR_REMOTE", 71),
    ("ERR_BADHANDLE", 10_001),
    ("ERR_NOT_SYNC", 10_002),
    ("ERR_BAD_COOKIE", 10_003),
    ("ERR_NOTSUPP", 10_004),
    ("ERR_TOOSMALL", 10_005),
    ("ERR_SERVERFAULT", 10_006),
    ("ERR_BADTYPE", 10_007),
    ("ERR_JUKEBOX", 10_008),
];

/// Operations of LDAP (RFC 4511 section 4.2 on).
pub fn ldap(number: u64) -> Option<&'static str> {
    Some(match number {
        0 => "bind_request",
        1 => "bind_response",
        2 => "unbind_request",
        3 => "search_request",
        4 => "search_result_entry",
        5 => "search_result_done",
        6 => "modify_request",
        7 => "modify_response",
        8 => "add_request",
        9 => "add_response",
        10 => "del_request",
        11 => "del_response",
        12 => "mod_dn_request",
        13 => "mod_dn_response",
        14 => "compare_request",
        15 => "compare_response",
        16 => "abandon_request",
        19 => "search_result_reference",
        23 => "extended_request",
        24 => "extended_response",
        25 => "intermediate_response",
        _ => return None,
    })
}

/// RFC 4511 appendix A.
fn ldap_result(number: u64) -> Option<&'static str> {
    Some(match number {
        0 => "success",
        1 => "operations_error",
        2 => "protocol_error",
        3 => "time_limit_exceeded",
        4 => "size_limit_exceeded",
        5 => "compare_false",
        6 => "compare_true",
        7 => "auth_method_not_supported",
        8 => "stronger_auth_required",
        10 => "referral",
        11 => "admin_limit_exceeded",
        12 => "unavailable_critical_extension",
        13 => "confidentiality_required",
        14 => "sasl_bind_in_progress",
        16 => "no_such_attribute",
        17 => "undefined_attribute_type",
        18 => "inappropriate_matching",
        19 => "constraint_violation",
        20 => "attribute_or_value_exists",
        21 => "invalid_attribute_syntax",
        32 => "no_such_object",
        33 => "alias_problem",
        34 => "invalid_dns_syntax",
        35 => "is_leaf",
        36 => "alias_dereferencing_problem",
        48 => "inappropriate_authentication",
        49 => "invalid_credentials",
        50 => "insufficient_access_rights",
        51 => "busy",
        52 => "unavailable",
        53 => "unwilling_to_perform",
        54 => "loop_detect",
        60 => "sort_control_missing",
        61 => "offset_range_error",
        64 => "naming_violation",
        65 => "object_class_violation",
        66 => "not_allowed_on_non_leaf",
        67 => "not_allowed_on_rdn",
        68 => "entry_already_exists",
        69 => "object_class_mods_prohibited",
        70 => "results_too_large",
        71 => "affects_multiple_dsas",
        76 => "control_error",
        80 => "other",
        _ => return None,
    })
}

/// RFC 6455 section 5.2.
fn websocket(number: u64) -> Option<&'static str> {
    Some(match number {
        0 => "continuation",
        1 => "text",
        2 => "binary",
        8 => "connection_close",
        9 => "ping",
        10 => "pong",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers_without_one() {
        assert_eq!(of(Field::Krb5MsgType, 10), Some("KRB_AS_REQ"));
        assert_eq!(ldap(5), Some("search_result_done"));
        assert_eq!(of(Field::SnmpPduType, 2), Some("response"));
        assert_eq!(of(Field::DnsOpcode, 0), None);
    }

    #[test]
    fn numbers_without_a_word_are_texts_where_texts_stand() {
        let shown = |field, number| text(field, number).map(|text| text.to_string());
        let rows = [
            (Field::Krb5ErrCode, 25, Some("KDC_ERR_PREAUTH_REQUIRED")),
            (Field::Krb5ErrCode, 999, Some("ErrorCode(999)")),
            (
                Field::Krb5Encryption,
                0xffff_ff7b,
                Some("EncryptionType(-133)"),
            ),
            (Field::WebsocketOpcode, 5, Some("unknown-5")),
            (Field::RfbSecresult, 7, Some("UNKNOWN (7)")),
            (Field::NfsCall, 3 << 32 | 3, Some("LOOKUP")),
            (Field::NfsCall, 3 << 32 | 99, Some("99")),
            (Field::NfsStatus, 2, Some("ERR_NOENT")),
            (Field::NfsStatus, 3, Some("3")),
            (Field::NfsHandle, 0xab, Some("ab")),
            (Field::DnsOpcode, 0, None),
        ];
        for (field, number, expected) in rows {
            assert_eq!(shown(field, number).as_deref(), expected, "{field:?}");
        }
    }
}
