//! What differs between our parsers and others on the shared captures, and why. A test fails on a
//! difference that is not here, and on an entry that is not needed.

/// Beginning of a conversation's name (`FILE` or `FILE PORT-PORT`), and why the two differ in it.
pub type Explained = (&'static str, &'static str);

/// A header line beyond the limit (`meta-field-limit`): the request is given up here before its line
/// is told, there after it. Servers take neither.
const LONG_LINE: &str = "a header line beyond the limit: given up before the request line is told";
/// What follows a complete response is an exchange of its own here (with the event
/// `response_body_unexpected`), there it joins the last one. Rules see the same bytes (http-evader).
const JUNK: &str = "bytes behind a complete response are an exchange of their own";

/// HTTP/1 against suricata-htp.
pub const HTTP: [Explained; 7] = [
    ("04e4c5d79386592d.pcap 50764-80", LONG_LINE),
    ("fdf003da03a9438e.pcap 50764-80", LONG_LINE),
    ("48afd92317bd63e7.pcap 15109-80", JUNK),
    ("300eea3ae3f498fb.pcap 15119-80", JUNK),
    ("307c8a11200aecf1.pcap 15169-80", JUNK),
    ("ad0fc57d751e78c9.pcap 15159-80", JUNK),
    ("da02e89523da8e43.pcap 15046-80", JUNK),
];

/// DNS against simple-dns.
pub const DNS: [Explained; 0] = [];

/// TLS against tls-parser.
pub const TLS: [Explained; 0] = [];

/// X.509 against x509-parser.
pub const X509: [Explained; 0] = [];

/// SSH against ssh-parser.
pub const SSH: [Explained; 0] = [];

/// SNMP against snmp-parser.
pub const SNMP: [Explained; 0] = [];

/// NTP against ntp-parser.
pub const NTP: [Explained; 0] = [];

/// Why a conversation may differ.
pub fn why(list: &[Explained], name: &str) -> Option<&'static str> {
    let mut fitting = list.iter().filter(|(start, _)| name.starts_with(start));
    fitting.next().map(|(_, why)| *why)
}

/// Fails if fewer conversations differ than the list explains.
pub fn all_are_needed(list: &[Explained], explained: usize) {
    assert!(
        explained >= list.len(),
        "{} entries explain {explained} conversations: some are not needed",
        list.len()
    );
}
