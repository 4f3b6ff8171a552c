//! What eve.json tells. Keys are those of Suricata's output `eve-log`, with or without the places of
//! its lists: `outputs.1.eve-log.types.0.alert.payload` is `outputs.eve-log.alert.payload`.

use super::{SettingError, boolean, error, number, size};

/// Bytes of payload that an alert can carry.
pub const PAYLOAD_MAX: usize = 4096;

/// Names of events, as `types` lists them; parsers' are those of the protocols.
#[rustfmt::skip] // A table to be read across.
pub const TYPES: &[&str] = &[
    "alert", "anomaly", "arp", "drop", "fileinfo", "flow", "frame", "netflow", "packet", "stats",
    "bittorrent_dht", "dcerpc", "dhcp", "dnp3", "dns", "enip", "ftp", "ftp_data", "http", "ike",
    "imap", "irc", "jabber", "krb5", "ldap", "llmnr", "mdns", "modbus", "mqtt", "nfs", "ntp",
    "pgsql", "pop3", "quic", "rdp", "rfb", "sip", "smb", "smtp", "snmp", "ssh", "telnet", "tftp",
    "tls", "websocket",
];

/// Events that are there only where a list names them: a flow is told once unless its directions are
/// asked for as well, and of ARP and of frames there is much.
const LISTED: [&str; 3] = ["arp", "frame", "netflow"];

/// Names that Suricata's lists have for events of other names.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("files", "fileinfo"),
    ("http2", "http"),
    ("doh2", "http"),
    ("bittorrent-dht", "bittorrent_dht"),
    ("ftp-data", "ftp_data"),
];

/// The name of an event that a list means; `None` if no event has it.
pub fn event_of(name: &str) -> Option<&'static str> {
    let other = OTHER_NAMES.iter().find(|(other, _)| *other == name);
    let name = other.map_or(name, |(_, event)| event);
    TYPES.iter().find(|known| **known == name).copied()
}

/// What is written to eve.json.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Eve {
    /// Events are written at all (`enabled`).
    pub enabled: bool,
    /// Name of the log in the log folder (`filename`).
    pub file: String,
    /// What events call this machine (`sensor-name`); empty: nothing.
    pub host: String,
    /// Events that are written (`types`), by the names of [`TYPES`]; `None`: all.
    types: Option<Vec<&'static str>>,
    /// Flowbits, flow counters and variables of the flow (`metadata`).
    pub metadata: bool,
    /// Name of the capture (`pcap-file`).
    pub capture: bool,
    /// The Community ID of the flow (`community-id`).
    pub community_id: bool,
    /// Its seed (`community-id-seed`).
    pub community_seed: u16,
    /// MAC addresses (`ethernet`).
    pub ethernet: bool,
    /// What alerts carry (`alert.*`).
    pub alert: Alert,
    /// Anomalies of decode, of TCP, of parsers (`anomaly.types.*`).
    pub anomalies: [bool; 3],
    /// Drop events: `start` (true) tells of a dropped flow once per direction, `all` of each packet
    /// (`drop.flows`).
    pub drops_start: bool,
    /// What was decided about the packet stands in drop events (`drop.verdict`).
    pub drop_verdict: bool,
    /// Addresses of clients behind proxies (`xff.*`), and what alerts, files and events of HTTP have
    /// of their own.
    xff: Xff,
    alert_xff: Option<Xff>,
    files_xff: Option<Xff>,
    http_xff: Option<Xff>,
    /// Headers that events of HTTP/1 list (`http.*`).
    pub headers: Headers,
    /// What events of DNS tell (`dns.*`).
    pub dns: Dns,
    /// Every message of DHCP is an event, with all that it says; else only what assigns an address
    /// is, in short (`dhcp.extended`).
    pub dhcp_extended: bool,
}

/// Headers of HTTP/1 that its events list, in `request_headers` and `response_headers`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Headers {
    /// All of requests, of responses (`dump-all-headers`).
    pub all: [bool; 2],
    /// Those of these names, in lower case, with `-` for `_` (`custom`).
    custom: Vec<String>,
}

impl Headers {
    /// Sides whose headers are asked for.
    pub fn sides(&self) -> [bool; 2] {
        self.all.map(|all| all || !self.custom.is_empty())
    }

    /// Whether a header of this name is listed.
    pub fn lists(&self, name: &[u8], to_server: bool) -> bool {
        let same = |known: &String| known.as_bytes().eq_ignore_ascii_case(name);
        self.all[usize::from(!to_server)] || self.custom.iter().any(same)
    }

    fn set(&mut self, own: &str, key: &str, value: &str) -> Result<bool, SettingError> {
        match own {
            "dump-all-headers" => {
                self.all = match value {
                    "both" => [true; 2],
                    "request" => [true, false],
                    "response" => [false, true],
                    "none" => [false; 2],
                    _ => {
                        return Err(error(
                            format!("{key}: `{value}` is neither both, request, response nor none"),
                            "write whose headers all events of HTTP list",
                        ));
                    }
                };
            }
            "custom" => {
                // What has a place of its own is not listed again.
                let name = |word: &str| word.to_ascii_lowercase().replace('_', "-");
                self.custom = words(value).map(name).collect();
                self.custom.retain(|name| name != "referer");
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// What events of DNS tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dns {
    /// Requests, responses.
    pub sides: [bool; 2],
    /// Answers one by one (`formats: [detailed]`).
    pub detailed: bool,
    /// Answers by type (`formats: [grouped]`).
    pub grouped: bool,
}

impl Dns {
    fn set(&mut self, own: &str, key: &str, value: &str) -> Result<bool, SettingError> {
        match own {
            "requests" => self.sides[0] = boolean(key, value)?,
            "responses" => self.sides[1] = boolean(key, value)?,
            "formats" => {
                (self.detailed, self.grouped) = (false, false);
                for word in words(value) {
                    match word {
                        "detailed" => self.detailed = true,
                        "grouped" => self.grouped = true,
                        _ => {
                            return Err(error(
                                format!("{key}: `{word}` is neither detailed nor grouped"),
                                "name one of them or both",
                            ));
                        }
                    }
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Addresses of clients behind proxies, as a header of HTTP/1 says them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Xff {
    /// They are told at all (`enabled`).
    pub enabled: bool,
    /// They stand in place of the packet's own (`mode: overwrite`), else beside them.
    pub overwrite: bool,
    /// The first one of a list counts (`deployment: forward`), else the last.
    pub forward: bool,
    /// Name of the header (`header`), in lower case; empty: `X-Forwarded-For`.
    pub header: String,
}

impl Xff {
    fn set(&mut self, own: &str, key: &str, value: &str) -> Result<bool, SettingError> {
        let one_of = |words: [&str; 2]| match words.iter().position(|word| *word == value) {
            Some(place) => Ok(place == 1),
            None => Err(error(
                format!("{key}: `{value}` is neither {} nor {}", words[0], words[1]),
                &format!("write {} or {}", words[0], words[1]),
            )),
        };
        match own {
            "enabled" => self.enabled = boolean(key, value)?,
            "mode" => self.overwrite = one_of(["extra-data", "overwrite"])?,
            "deployment" => self.forward = one_of(["reverse", "forward"])?,
            "header" => {
                self.header = value.trim().to_ascii_lowercase();
                if self.header == "x-forwarded-for" {
                    self.header.clear();
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// What an alert carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Alert {
    /// The payload in base64.
    pub payload: bool,
    /// The payload as text.
    pub printable: bool,
    /// Bytes of the payload at most.
    pub payload_max: usize,
    /// The length of the payload.
    pub payload_length: bool,
    /// The packet.
    pub packet: bool,
    /// The transaction.
    pub app: bool,
    /// Counters of the flow.
    pub flow: bool,
    /// `metadata` of the rule.
    pub rule_metadata: bool,
    /// References of the rule.
    pub references: bool,
    /// The rule's text.
    pub rule: bool,
    /// Packets that a tag asked for are events.
    pub tagged: bool,
    /// What was decided about the packet.
    pub verdict: bool,
    /// Bodies of HTTP/1: in base64, as text.
    pub http_body: [bool; 2],
    /// Payloads of WebSocket: in base64, as text.
    pub websocket_payload: [bool; 2],
}

impl Default for Eve {
    fn default() -> Self {
        Eve {
            enabled: true,
            file: "eve.json".to_string(),
            host: String::new(),
            types: None,
            metadata: true,
            capture: true,
            community_id: false,
            community_seed: 0,
            ethernet: false,
            alert: Alert {
                payload: false,
                printable: false,
                payload_max: PAYLOAD_MAX,
                payload_length: false,
                packet: false,
                app: true,
                flow: true,
                rule_metadata: true,
                references: false,
                rule: false,
                tagged: true,
                verdict: false,
                http_body: [false; 2],
                websocket_payload: [false; 2],
            },
            anomalies: [true; 3],
            drops_start: false,
            drop_verdict: false,
            xff: Xff::default(),
            alert_xff: None,
            files_xff: None,
            http_xff: None,
            headers: Headers::default(),
            dns: Dns {
                sides: [true; 2],
                detailed: true,
                grouped: true,
            },
            dhcp_extended: true,
        }
    }
}

/// What a key says of the log, behind `outputs.eve-log.`, without places of lists; `None` if it is
/// another output's.
pub fn own(key: &str) -> Option<String> {
    let rest = key.strip_prefix("outputs.")?;
    let is_place = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let mut parts: Vec<&str> = rest.split('.').filter(|part| !is_place(part)).collect();
    if parts.first() != Some(&"eve-log") {
        return None;
    }
    // The list of types; behind it stands what one of them is set to.
    if parts.get(1) == Some(&"types") && parts.len() > 2 {
        parts.remove(1);
    }
    Some(parts.get(1..)?.join("."))
}

impl Eve {
    /// Whether events of this name are written.
    pub fn tells(&self, name: &str) -> bool {
        let usual = !LISTED.contains(&name);
        let listed = |list: &Vec<&str>| list.contains(&name);
        self.enabled && self.types.as_ref().map_or(usual, listed)
    }

    /// Whether ends of flows are events, of whatever form.
    pub fn tells_flows(&self) -> bool {
        self.tells("flow") || self.tells("netflow")
    }

    /// How alerts tell of clients behind proxies.
    pub fn xff_of_alerts(&self) -> Option<&Xff> {
        self.xff_or(&self.alert_xff)
    }

    /// How events of files do.
    pub fn xff_of_files(&self) -> Option<&Xff> {
        self.xff_or(&self.files_xff)
    }

    /// How events of HTTP do.
    pub fn xff_of_http(&self) -> Option<&Xff> {
        self.xff_or(&self.http_xff)
    }

    fn xff_or<'a>(&'a self, own: &'a Option<Xff>) -> Option<&'a Xff> {
        Some(own.as_ref().unwrap_or(&self.xff)).filter(|xff| xff.enabled)
    }

    /// Whether clients behind proxies stand in another header than the usual one.
    pub fn has_other_xff(&self) -> bool {
        let all = [
            self.xff_of_alerts(),
            self.xff_of_files(),
            self.xff_of_http(),
        ];
        all.into_iter().flatten().any(|xff| !xff.header.is_empty())
    }

    /// Whether alerts carry bodies.
    pub fn tells_bodies(&self) -> bool {
        let wanted = [self.alert.http_body, self.alert.websocket_payload];
        self.tells("alert") && self.alert.app && wanted.as_flattened().contains(&true)
    }

    /// Whether an alert or an event of its own tells of transactions.
    pub fn tells_transactions(&self) -> bool {
        const OTHERS: [&str; 8] = [
            "alert", "anomaly", "arp", "drop", "flow", "netflow", "packet", "stats",
        ];
        let of_parser = |name: &&&str| !OTHERS.contains(*name);
        TYPES.iter().filter(of_parser).any(|name| self.tells(name))
            || self.alert.app && self.tells("alert")
    }

    /// Sets a value; false if the key is not one of these.
    ///
    /// # Errors
    /// A value that the key cannot take.
    pub(super) fn set(&mut self, key: &str, value: &str) -> Result<bool, SettingError> {
        let Some(own) = own(key) else {
            return Ok(false);
        };
        let flag = || boolean(key, value);
        match own.as_str() {
            "enabled" => self.enabled = flag()?,
            "filename" => self.file = file_name(key, value)?,
            "types" => self.types = Some(types(key, value)?),
            "metadata" => self.metadata = flag()?,
            "pcap-file" => self.capture = flag()?,
            "community-id" => self.community_id = flag()?,
            "community-id-seed" => {
                let seed = number(key, value)?;
                self.community_seed = u16::try_from(seed).map_err(|_| {
                    error(format!("{key}: `{value}` is too large"), "at most 65535")
                })?;
            }
            "ethernet" => self.ethernet = flag()?,
            "anomaly.types.decode" => self.anomalies[0] = flag()?,
            "anomaly.types.stream" => self.anomalies[1] = flag()?,
            "anomaly.types.applayer" => self.anomalies[2] = flag()?,
            "drop.flows" => {
                self.drops_start = match value {
                    "start" => true,
                    "all" => false,
                    _ => {
                        return Err(error(
                            format!("{key}: `{value}` is neither start nor all"),
                            "write start (once per flow and direction) or all",
                        ));
                    }
                };
            }
            "drop.verdict" => self.drop_verdict = flag()?,
            own => {
                let (xff, rest) = match own.split_once("xff.") {
                    Some(("", rest)) => (&mut self.xff, rest),
                    Some(("alert.", rest)) => (self.alert_xff.get_or_insert_default(), rest),
                    Some(("files.", rest)) => (self.files_xff.get_or_insert_default(), rest),
                    Some(("http.", rest)) => (self.http_xff.get_or_insert_default(), rest),
                    _ => return self.set_of_event(own, key, value),
                };
                return xff.set(rest, key, value);
            }
        }
        Ok(true)
    }
}

impl Eve {
    /// What a type of event has of its own.
    fn set_of_event(&mut self, own: &str, key: &str, value: &str) -> Result<bool, SettingError> {
        match own.split_once('.') {
            Some(("alert", own)) => self.alert.set(own, key, value),
            Some(("http", own)) => self.headers.set(own, key, value),
            Some(("dns", own)) => self.dns.set(own, key, value),
            Some(("dhcp", "extended")) => {
                self.dhcp_extended = boolean(key, value)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

impl Alert {
    fn set(&mut self, own: &str, key: &str, value: &str) -> Result<bool, SettingError> {
        let place = match own {
            "payload" => &mut self.payload,
            "payload-printable" => &mut self.printable,
            "payload-length" => &mut self.payload_length,
            "packet" => &mut self.packet,
            "tagged-packets" => &mut self.tagged,
            "verdict" => &mut self.verdict,
            "http-body" => &mut self.http_body[0],
            "http-body-printable" => &mut self.http_body[1],
            "websocket-payload" => &mut self.websocket_payload[0],
            "websocket-payload-printable" => &mut self.websocket_payload[1],
            "metadata.app-layer" => &mut self.app,
            "metadata.flow" => &mut self.flow,
            "metadata.rule.metadata" => &mut self.rule_metadata,
            "metadata.rule.reference" => &mut self.references,
            "metadata.rule.raw" => &mut self.rule,
            "payload-buffer-size" => {
                let bytes = size(key, value)?;
                self.payload_max = (bytes as usize).min(PAYLOAD_MAX);
                return Ok(true);
            }
            "metadata" => {
                let all = boolean(key, value)?;
                (self.app, self.flow, self.rule_metadata) = (all, all, all);
                return Ok(true);
            }
            _ => return Ok(false),
        };
        *place = boolean(key, value)?;
        Ok(true)
    }
}

/// A name within the log folder.
fn file_name(key: &str, value: &str) -> Result<String, SettingError> {
    if value.contains('%') {
        return Err(error(
            format!("{key}: `{value}` would be taken as it stands"),
            "the log has one name, without the time in it; moved away, it is opened anew by itself",
        ));
    }
    let plain = !value.is_empty() && !value.contains('/') && value != "." && value != "..";
    match plain {
        true => Ok(value.to_string()),
        false => Err(error(
            format!("{key}: `{value}` is no name of a file"),
            "a name without folder: the log folder is log.dir (-l)",
        )),
    }
}

/// The words of a list.
fn words(list: &str) -> impl Iterator<Item = &str> {
    let list = list.trim().trim_matches(|c| c == '[' || c == ']');
    let words = list.split(',').map(|word| word.trim().trim_matches('"'));
    words.filter(|word| !word.is_empty())
}

fn types(key: &str, value: &str) -> Result<Vec<&'static str>, SettingError> {
    let known = |word: &str| {
        event_of(word).ok_or_else(|| {
            error(
                format!("{key}: no event is named `{word}`"),
                &format!("name some of {}", TYPES.join(", ")),
            )
        })
    };
    words(value).map(known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_both_forms_are_read() {
        let mut eve = Eve::default();
        for (key, value) in [
            ("outputs.1.eve-log.types.0.alert.payload", "yes"),
            ("outputs.eve-log.alert.metadata", "no"),
            ("outputs.eve-log.alert.metadata.rule.reference", "yes"),
            ("outputs.eve-log.alert.payload-buffer-size", "1kb"),
            ("outputs.3.eve-log.types.1.anomaly.types.stream", "no"),
            ("outputs.1.eve-log.community-id", "true"),
            ("outputs.1.eve-log.community-id-seed", "7"),
            ("outputs.eve-log.types.9.drop.flows", "start"),
        ] {
            assert!(eve.set(key, value).unwrap(), "{key}");
        }
        let alert = eve.alert;
        assert!(alert.payload && alert.references && !alert.printable);
        assert!(!alert.app && !alert.flow && !alert.rule_metadata);
        assert_eq!(alert.payload_max, 1024);
        assert_eq!(eve.anomalies, [true, false, true]);
        assert!(eve.community_id && eve.community_seed == 7 && eve.drops_start);
        for (key, value) in [
            ("outputs.1.eve-log.xff.enabled", "yes"),
            ("outputs.1.eve-log.types.0.alert.xff.enabled", "yes"),
            ("outputs.1.eve-log.types.0.alert.xff.mode", "overwrite"),
            ("outputs.1.eve-log.types.0.alert.xff.deployment", "forward"),
            ("outputs.1.eve-log.types.0.alert.verdict", "yes"),
        ] {
            assert!(eve.set(key, value).unwrap(), "{key}");
        }
        let xff = |overwrite| Xff {
            enabled: true,
            overwrite,
            forward: overwrite,
            header: String::new(),
        };
        assert_eq!(eve.xff_of_alerts(), Some(&xff(true)));
        assert_eq!(eve.xff_of_files(), Some(&xff(false)));
        assert!(!eve.has_other_xff());
        assert!(
            eve.set("outputs.1.eve-log.types.2.http.xff.header", "Real-IP")
                .unwrap()
        );
        assert!(!eve.has_other_xff(), "it is not switched on");
        assert!(
            eve.set("outputs.1.eve-log.types.2.http.xff.enabled", "yes")
                .unwrap()
        );
        assert!(eve.has_other_xff());
        assert!(eve.alert.verdict && !eve.drop_verdict);
        for other in [
            "outputs.0.fast.enabled",
            "outputs.eve-log.xff.headers",
            "eve",
        ] {
            assert!(!eve.set(other, "yes").unwrap(), "{other}");
        }
    }

    #[test]
    fn headers_are_listed_by_name_and_by_side() {
        let mut eve = Eve::default();
        let mut set = |key: &str, value: &str| {
            assert!(
                eve.set(&format!("outputs.1.eve-log.types.3.http.{key}"), value)
                    .unwrap()
            );
            eve.headers.clone()
        };
        let some = set("custom", "[Accept_Encoding, Referer, \"Via\"]");
        assert!(some.lists(b"ACCEPT-encoding", true) && some.lists(b"via", false));
        assert!(!some.lists(b"referer", true) && !some.lists(b"host", true));
        assert_eq!(some.sides(), [true, true]);
        let all = set("dump-all-headers", "response");
        assert!(all.lists(b"host", false) && !all.lists(b"host", true));
        assert!(eve.set("outputs.eve-log.dns.formats", "[grouped]").unwrap());
        assert!(eve.set("outputs.eve-log.dns.requests", "no").unwrap());
        assert!(eve.dns.grouped && !eve.dns.detailed && eve.dns.sides == [false, true]);
        assert!(eve.dhcp_extended);
        assert!(
            eve.set("outputs.eve-log.types.9.dhcp.extended", "no")
                .unwrap()
        );
        assert!(!eve.dhcp_extended && !eve.tells_bodies());
        assert!(
            eve.set("outputs.eve-log.alert.http-body-printable", "yes")
                .unwrap()
        );
        assert!(eve.tells_bodies());
    }

    #[test]
    fn only_what_the_list_names_is_told() {
        let mut eve = Eve::default();
        assert!(
            TYPES
                .iter()
                .all(|name| eve.tells(name) != LISTED.contains(name))
        );
        let list = "[\"alert\", files, http2, bittorrent-dht]";
        assert!(eve.set("outputs.1.eve-log.types", list).unwrap());
        let told: Vec<_> = TYPES.iter().filter(|name| eve.tells(name)).collect();
        assert_eq!(told, [&"alert", &"fileinfo", &"bittorrent_dht", &"http"]);
        assert!(eve.tells_transactions());
        eve.set("outputs.eve-log.types", "alert, flow, stats")
            .unwrap();
        assert!(eve.tells_transactions());
        eve.set("outputs.eve-log.alert.metadata.app-layer", "no")
            .unwrap();
        assert!(!eve.tells_transactions());
        assert!(eve.tells_flows() && !eve.tells("netflow"));
        eve.set("outputs.eve-log.types", "netflow").unwrap();
        assert!(eve.tells_flows() && !eve.tells("flow"));
        eve.set("outputs.eve-log.enabled", "no").unwrap();
        assert!(!TYPES.iter().any(|name| eve.tells(name)));
    }

    #[test]
    fn what_cannot_be_says_so() {
        let mut eve = Eve::default();
        for (key, value, what) in [
            ("types", "alert, rip", "no event is named `rip`"),
            ("filename", "a/eve.json", "no name of a file"),
            ("community-id-seed", "65536", "too large"),
            ("community-id", "perhaps", "neither yes nor no"),
            ("drop.flows", "end", "neither start nor all"),
            ("xff.mode", "add", "neither extra-data nor overwrite"),
            ("http.dump-all-headers", "yes", "neither both"),
            ("dns.formats", "[short]", "neither detailed nor grouped"),
        ] {
            let found = eve.set(&format!("outputs.eve-log.{key}"), value);
            let text = found.unwrap_err().to_string();
            assert!(text.contains(what), "{text}");
        }
    }
}
