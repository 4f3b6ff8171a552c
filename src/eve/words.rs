//! Numbers of application fields that EVE writes as words: message types, commands, operations. The
//! words are those that Suricata's readers know; a number without a word stays a number.

use crate::app::Field;
use crate::rules::app_readings::HTTP2_ERRORS;

/// The word for a number of a field.
pub fn of(field: Field, number: u64) -> Option<&'static str> {
    match field {
        Field::Krb5MsgType => krb5(number),
        Field::Krb5TicketEncryption => encryption(number),
        Field::FtpMode => pick(&["passive", "active"], number),
        Field::FtpReplyReceived => pick(&["no", "yes"], number),
        Field::FtpdataCommand => {
            let known = usize::try_from(number).ok()?.checked_sub(1)?;
            let words = ["STOR", "APPE", "STOU", "RETR", "NLST", "LIST", "MLSD"];
            words.get(known).copied()
        }
        Field::SnmpPduType => snmp(number),
        Field::LdapRequestOperation | Field::LdapResponsesOperation => ldap(number),
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

/// RFC 4511 section 4.2 on.
fn ldap(number: u64) -> Option<&'static str> {
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
        34 => "invalid_dn_syntax",
        36 => "alias_dereferencing_problem",
        48 => "inappropriate_authentication",
        49 => "invalid_credentials",
        50 => "insufficient_access_rights",
        51 => "busy",
        52 => "unavailable",
        53 => "unwilling_to_perform",
        54 => "loop_detect",
        64 => "naming_violation",
        65 => "object_class_violation",
        66 => "not_allowed_on_non_leaf",
        67 => "not_allowed_on_rdn",
        68 => "entry_already_exists",
        69 => "object_class_mods_prohibited",
        71 => "affects_multiple_dsas",
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
        assert_eq!(
            of(Field::LdapResponsesOperation, 5),
            Some("search_result_done")
        );
        assert_eq!(of(Field::SnmpPduType, 2), Some("response"));
        assert_eq!(of(Field::DnsOpcode, 0), None);
    }
}
