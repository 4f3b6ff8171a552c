//! What eve.json tells. Keys are those of Suricata's output `eve-log`, with or without the places of
//! its lists: `outputs.1.eve-log.types.0.alert.payload` is `outputs.eve-log.alert.payload`.

use super::{SettingError, boolean, error, number, size};

/// Bytes of payload that an alert can carry.
pub const PAYLOAD_MAX: usize = 4096;

/// Names of events, as `types` lists them; parsers' are those of the protocols.
#[rustfmt::skip] // A table to be read across.
pub const TYPES: &[&str] = &[
    "alert", "anomaly", "drop", "fileinfo", "flow", "netflow", "packet", "stats",
    "bittorrent_dht", "dcerpc", "dhcp", "dnp3", "dns", "enip", "ftp", "ftp_data", "http", "ike",
    "imap", "irc", "jabber", "krb5", "ldap", "llmnr", "mdns", "modbus", "mqtt", "nfs", "ntp",
    "pgsql", "pop3", "quic", "rdp", "rfb", "sip", "smb", "smtp", "snmp", "ssh", "telnet", "tftp",
    "tls", "websocket",
];

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
    /// Addresses of clients behind proxies (`xff.*`), and what alerts and files have of their own.
    xff: Xff,
    alert_xff: Option<Xff>,
    files_xff: Option<Xff>,
}

/// Addresses of clients behind proxies, as `X-Forwarded-For` of HTTP/1 says them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Xff {
    /// They are told at all (`enabled`).
    pub enabled: bool,
    /// They stand in place of the packet's own (`mode: overwrite`), else beside them.
    pub overwrite: bool,
    /// The first one of a list counts (`deployment: forward`), else the last.
    pub forward: bool,
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
    /// Packets that a tag asked for are events.
    pub tagged: bool,
    /// What was decided about the packet.
    pub verdict: bool,
}

impl Default for Eve {
    fn default() -> Self {
        Eve {
            enabled: true,
            file: "eve.json".to_string(),
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
                tagged: true,
                verdict: false,
            },
            anomalies: [true; 3],
            drops_start: false,
            drop_verdict: false,
            xff: Xff::default(),
            alert_xff: None,
            files_xff: None,
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
        // A flow is told once, unless a list asks for its directions as well.
        let usual = name != "netflow";
        let listed = |list: &Vec<&str>| list.contains(&name);
        self.enabled && self.types.as_ref().map_or(usual, listed)
    }

    /// Whether ends of flows are events, of whatever form.
    pub fn tells_flows(&self) -> bool {
        self.tells("flow") || self.tells("netflow")
    }

    /// How alerts tell of clients behind proxies.
    pub fn xff_of_alerts(&self) -> Option<Xff> {
        Some(self.alert_xff.unwrap_or(self.xff)).filter(|xff| xff.enabled)
    }

    /// How events of files do.
    pub fn xff_of_files(&self) -> Option<Xff> {
        Some(self.files_xff.unwrap_or(self.xff)).filter(|xff| xff.enabled)
    }

    /// Whether an alert or an event of its own tells of transactions.
    pub fn tells_transactions(&self) -> bool {
        const OTHERS: [&str; 7] = [
            "alert", "anomaly", "drop", "flow", "netflow", "packet", "stats",
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
                    _ => return self.alert.set(own, key, value),
                };
                return xff.set(rest, key, value);
            }
        }
        Ok(true)
    }
}

impl Alert {
    fn set(&mut self, own: &str, key: &str, value: &str) -> Result<bool, SettingError> {
        let Some(own) = own.strip_prefix("alert.") else {
            return Ok(false);
        };
        let place = match own {
            "payload" => &mut self.payload,
            "payload-printable" => &mut self.printable,
            "payload-length" => &mut self.payload_length,
            "packet" => &mut self.packet,
            "tagged-packets" => &mut self.tagged,
            "verdict" => &mut self.verdict,
            "metadata.app-layer" => &mut self.app,
            "metadata.flow" => &mut self.flow,
            "metadata.rule.metadata" => &mut self.rule_metadata,
            "metadata.rule.reference" => &mut self.references,
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
    let plain = !value.is_empty() && !value.contains('/') && value != "." && value != "..";
    match plain {
        true => Ok(value.to_string()),
        false => Err(error(
            format!("{key}: `{value}` is no name of a file"),
            "a name without folder: the log folder is log.dir (-l)",
        )),
    }
}

fn types(key: &str, value: &str) -> Result<Vec<&'static str>, SettingError> {
    let list = value.trim().trim_matches(|c| c == '[' || c == ']');
    let words = list.split(',').map(|word| word.trim().trim_matches('"'));
    let known = |word: &str| {
        event_of(word).ok_or_else(|| {
            error(
                format!("{key}: no event is named `{word}`"),
                &format!("name some of {}", TYPES.join(", ")),
            )
        })
    };
    words.filter(|word| !word.is_empty()).map(known).collect()
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
        };
        assert_eq!(eve.xff_of_alerts(), Some(xff(true)));
        assert_eq!(eve.xff_of_files(), Some(xff(false)));
        assert!(eve.alert.verdict && !eve.drop_verdict);
        for other in [
            "outputs.0.fast.enabled",
            "outputs.eve-log.xff.header",
            "eve",
        ] {
            assert!(!eve.set(other, "yes").unwrap(), "{other}");
        }
    }

    #[test]
    fn only_what_the_list_names_is_told() {
        let mut eve = Eve::default();
        assert!(
            TYPES
                .iter()
                .all(|name| eve.tells(name) == (*name != "netflow"))
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
            ("types", "alert, arp", "no event is named `arp`"),
            ("filename", "a/eve.json", "no name of a file"),
            ("community-id-seed", "65536", "too large"),
            ("community-id", "perhaps", "neither yes nor no"),
            ("drop.flows", "end", "neither start nor all"),
            ("xff.mode", "add", "neither extra-data nor overwrite"),
        ] {
            let found = eve.set(&format!("outputs.eve-log.{key}"), value);
            let text = found.unwrap_err().to_string();
            assert!(text.contains(what), "{text}");
        }
    }
}
