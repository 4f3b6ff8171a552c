//! A conversation through suricata-htp, by its C interface: the only one that it has.

use std::collections::BTreeMap;
use std::ffi::CString;

use sluice::packet::Direction;
use suricata_htp::bstr::Bstr;
use suricata_htp::c_api::{bstr, config, connection_parser as parser, header, transaction};
use suricata_htp::transaction::{Header, Transaction};

fn text(text: *const Bstr) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the text belongs to a transaction of `run`, which is alive, and its pointer and length
    // are those of one slice.
    let bytes = unsafe { std::slice::from_raw_parts(bstr::bstr_ptr(text), bstr::bstr_len(text)) };
    Some(bytes.escape_ascii().to_string())
}

/// What it says of a transaction, by the names of `HTTP_FIELDS`.
///
/// # Safety
/// `tx` is a live transaction.
unsafe fn seen(tx: *const Transaction) -> BTreeMap<String, String> {
    let name = |name: &str| CString::new(name).expect("no zero in it");
    let mut seen = BTreeMap::new();
    // SAFETY: the caller's transaction is alive; headers and texts are its own.
    unsafe {
        let request = |key: &str| transaction::htp_tx_request_header(tx, name(key).as_ptr());
        let response = |key: &str| transaction::htp_tx_response_header(tx, name(key).as_ptr());
        let header = |one: *const Header| {
            (!one.is_null())
                .then(|| text(header::htp_header_value(one)))
                .flatten()
        };
        let status = transaction::htp_tx_response_status(tx);
        for (key, value) in [
            ("method", text(transaction::htp_tx_request_method(tx))),
            ("uri", text(transaction::htp_tx_request_uri(tx))),
            ("user-agent", header(request("user-agent"))),
            ("referer", header(request("referer"))),
            ("status", text(status)),
            ("location", header(response("location"))),
        ] {
            seen.extend(value.map(|value| (key.to_string(), value)));
        }
    }
    seen
}

/// All transactions of a conversation.
pub fn run(pieces: &[(Direction, Vec<u8>)]) -> Vec<BTreeMap<String, String>> {
    let address = CString::new("127.0.0.1").expect("no zero in it");
    let mut all = Vec::new();
    // SAFETY: the configuration outlives the parser, both are destroyed once, pointers and lengths of
    // the data are those of live slices, and null is allowed for times.
    unsafe {
        let settings = config::htp_config_create();
        let ids = suricata_htp::config::HtpServerPersonality::IDS;
        config::htp_config_set_server_personality(settings, ids);
        config::htp_config_set_max_tx(settings, 4096);
        // As Suricata sets it.
        config::htp_config_set_allow_space_uri(settings, true);
        let connection = parser::htp_connp_create(settings);
        let (none, host) = (std::ptr::null(), address.as_ptr());
        parser::htp_connp_open(connection, host, 40_000, host, 80, none);
        for (direction, bytes) in pieces {
            let (data, length) = (bytes.as_ptr().cast(), bytes.len());
            match direction {
                Direction::ToServer => {
                    parser::htp_connp_request_data(connection, none, data, length)
                }
                Direction::ToClient => {
                    parser::htp_connp_response_data(connection, none, data, length)
                }
            };
        }
        parser::htp_connp_close(connection, none);
        let count = usize::try_from(parser::htp_connp_tx_size(connection)).unwrap_or(0);
        for index in 0..count {
            let tx = parser::htp_connp_tx_index(connection, index);
            if !tx.is_null() {
                all.push(seen(tx));
            }
        }
        parser::htp_connp_destroy_all(connection);
        config::htp_config_destroy(settings);
    }
    all.retain(|tx| !tx.is_empty());
    all
}
