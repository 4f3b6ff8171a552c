//! Settings of the engine, with Suricata's key names where the setting is the same.
//!
//! Everything has a default; no configuration is needed to start. `set` takes the text of
//! `--set KEY=VALUE`; exception policies are policy.rs's, the list of all keys is keys.rs's. Knows no other room.

pub mod eve;
mod files;
pub mod foreign;
pub mod keys;
mod policy;

pub use eve::Eve;
pub use files::Files;
pub use policy::{Area, Choice, Policies, Policy};

/// Whether packets are ours to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// Watches a copy: verdicts are notional (`would_drop`).
    #[default]
    Tap,
    /// In the path: a dropped packet is not forwarded.
    Inline,
}

/// Seconds without a packet after which a flow ends, by state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// Not established.
    pub new: u32,
    /// Established.
    pub established: u32,
    /// Both sides closed (TCP).
    pub closed: u32,
}

/// The rate that makes an elephant of a flow (`flow.rate-tracking`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateTracking {
    /// Bytes of one direction within the interval; 0: no flow is tracked.
    pub bytes: u64,
    /// The interval, seconds.
    pub interval: u16,
}

impl RateTracking {
    /// No flow is tracked.
    pub const OFF: RateTracking = RateTracking {
        bytes: 0,
        interval: 10,
    };
}

/// All settings of the data plane.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// Tap or inline.
    pub mode: Mode,
    /// Verify checksums of IP, TCP, UDP, ICMP (`-k none` switches it off).
    pub checksum_validation: bool,
    /// VLAN ids are part of a flow's key (`vlan.use-for-tracking`).
    pub vlan_tracking: bool,
    /// UDP ports decoded as VXLAN (`decoder.vxlan.ports`), if enabled.
    pub vxlan_ports: Vec<u16>,
    /// VXLAN headers with reserved bits are none (`decoder.vxlan.reserved-bits-check: strict`).
    pub vxlan_strict: bool,
    /// UDP ports decoded as Geneve (`decoder.geneve.ports`), if enabled.
    pub geneve_ports: Vec<u16>,
    /// UDP ports decoded as Teredo (`decoder.teredo.ports`, `any` for all); 3544 as Suricata ships.
    pub teredo_ports: Vec<u16>,
    /// Teredo on at all.
    pub teredo_enabled: bool,
    /// Tunnel layers followed (`decoder.max-layers` counts all layers: 16).
    pub layers_max: u8,
    /// Concurrent flows, all lanes together.
    pub flows_max: u32,
    /// Flows inspected at once (with stream state), all lanes together.
    pub inspected_flows_max: u32,
    /// Elephant flows (`flow.rate-tracking`).
    pub rate_tracking: RateTracking,
    /// Bytes of reassembly memory, all lanes together (`stream.reassembly.memcap`).
    pub stream_memory: u64,
    /// Bytes of defragmentation memory, all lanes together (`defrag.memcap`).
    pub defrag_memory: u64,
    /// Seconds a fragment waits (`defrag.timeout`).
    pub defrag_timeout: u32,
    /// Rules may be replaced while the engine runs: room for more than those at the start need.
    pub reloads: bool,
    /// Bytes of a stream inspected per direction (`stream.reassembly.depth`), 0: all.
    pub stream_depth: u32,
    /// Bytes of a stream that a tap inspects as one, to the server and to the client
    /// (`stream.reassembly.toserver-chunk-size`, `toclient-chunk-size`).
    pub stream_chunks: [u32; 2],
    /// Out-of-order bytes kept per flow direction.
    pub stream_hole_bytes_max: u32,
    /// Pick up flows whose handshake was not seen (`stream.midstream`).
    pub midstream: bool,
    /// Accept flows of which one side is seen only (`stream.async-oneside`).
    pub async_oneside: bool,
    /// Inline: invalid stream packets are dropped (`stream.drop-invalid`).
    pub drop_invalid: bool,
    /// Urgent data (`stream.reassembly.urgent.policy`).
    pub urgent: Urgent,
    /// Timeouts of TCP flows.
    pub tcp_timeouts: Timeouts,
    /// Timeouts of UDP flows.
    pub udp_timeouts: Timeouts,
    /// Timeouts of ICMP flows.
    pub icmp_timeouts: Timeouts,
    /// Timeouts of other flows.
    pub other_timeouts: Timeouts,
    /// `detect.inspection-recursion-limit`.
    pub recursion_limit: u32,
    /// `asn1-max-frames`.
    pub asn1_objects: u16,
    /// Budget of verification steps per packet.
    pub verify_steps_max: u32,
    /// One burst in so many is measured for `sluice profile` (`profiling.sample-rate`); 0: none.
    pub profile_bursts: u32,
    /// Bytes of stream windows, the last bytes of the streams that signatures look at, all lanes
    /// together (`stream.window-memory`, ours). Streams silent for longest give theirs up.
    pub window_memory: u64,
    /// Flows whose application layer is followed at once, all lanes together
    /// (`app-layer.flows-max`, ours).
    pub app_flows_max: u32,
    /// Bytes for parsers of the application layer, all lanes together.
    pub app_memory: u64,
    /// Follow the application layer even where no rule asks for it (for events).
    pub app_records: bool,
    /// Exception policies that were given; ask with [`Config::policy`].
    pub policies: Policies,
    /// Ranks of the actions pass, drop, reject and alert: smaller is evaluated first
    /// (`action-order`).
    pub action_order: [u8; 4],
    /// Categories and files of address reputations (`reputation-categories-file`,
    /// `reputation-files`).
    pub reputation: (Option<String>, Vec<String>),
    /// A database of countries (`geoip-database`).
    pub geoip_database: Option<String>,
    /// A threshold file of Suricata's form (`threshold-file`).
    pub threshold_file: Option<String>,
    /// What eve.json tells (`outputs.eve-log`).
    pub eve: Eve,
    /// ERSPAN type III is decoded (`decoder.erspan.typeIII.enabled`, ours).
    pub erspan_third: bool,
    /// Files in transactions.
    pub files: Files,
    /// Settings of parsers (`app-layer.protocols.*`, `libhtp.*`), as given.
    pub app_settings: Vec<(String, String)>,
    /// Sets that rules may name without a type (`datasets.NAME.type`, `.load`, `.state`, `.save`,
    /// `.hashsize`), as given, without `datasets.`.
    pub datasets: Vec<(String, String)>,
    /// Lanes.
    pub lanes: u8,
    /// Contexts per lane.
    pub contexts_per_lane: u32,
    /// Alerts of one packet at most (`packet-alert-max`).
    pub alerts_max: u32,
    /// Settings that were given and are not ours, for the start-up report.
    pub ignored: Vec<String>,
}

/// Reading of TCP urgent data (`stream.reassembly.urgent.policy`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Urgent {
    /// As ordinary data.
    #[default]
    Inline,
    /// The byte before the pointer is out of band and not in the stream.
    OutOfBand,
    /// Packets with urgent data are dropped.
    Drop,
    /// All of it is skipped.
    Gap,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            mode: Mode::Tap,
            checksum_validation: true,
            vlan_tracking: true,
            vxlan_ports: vec![4789],
            vxlan_strict: true,
            geneve_ports: vec![6081],
            teredo_ports: vec![3544],
            teredo_enabled: true,
            layers_max: 16,
            flows_max: 1 << 17,
            inspected_flows_max: 1 << 15,
            rate_tracking: RateTracking::OFF,
            stream_memory: 256 << 20,
            defrag_memory: 32 << 20,
            defrag_timeout: 60,
            reloads: false,
            stream_depth: 1 << 20,
            stream_chunks: [2560; 2],
            stream_hole_bytes_max: 256 << 10,
            midstream: false,
            async_oneside: false,
            drop_invalid: true,
            urgent: Urgent::OutOfBand,
            tcp_timeouts: Timeouts {
                new: 60,
                established: 600,
                closed: 60,
            },
            udp_timeouts: Timeouts {
                new: 30,
                established: 300,
                closed: 0,
            },
            icmp_timeouts: Timeouts {
                new: 30,
                established: 300,
                closed: 0,
            },
            other_timeouts: Timeouts {
                new: 30,
                established: 300,
                closed: 0,
            },
            recursion_limit: 3000,
            asn1_objects: 30,
            verify_steps_max: 1 << 20,
            profile_bursts: 64,
            window_memory: 640 << 20,
            app_flows_max: 1 << 15,
            app_memory: 128 << 20,
            app_records: true,
            app_settings: Vec::new(),
            datasets: Vec::new(),
            files: Files::default(),
            policies: Policies::default(),
            action_order: [0, 1, 2, 3],
            reputation: (None, Vec::new()),
            geoip_database: None,
            threshold_file: None,
            eve: Eve::default(),
            erspan_third: false,
            lanes: 1,
            contexts_per_lane: 8192,
            alerts_max: 15,
            ignored: Vec::new(),
        }
    }
}

/// Why a setting was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SettingError {
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub hint: String,
}

impl std::fmt::Display for SettingError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n [hint] {}", self.what, self.hint)
    }
}

impl std::error::Error for SettingError {}

impl SettingError {
    /// Whether nobody knows the key.
    pub fn is_unknown(&self) -> bool {
        self.what.starts_with("unknown setting")
    }
}

fn error(what: String, hint: &str) -> SettingError {
    SettingError {
        what,
        hint: hint.to_string(),
    }
}

fn boolean(key: &str, value: &str) -> Result<bool, SettingError> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(error(
            format!("{key}: `{value}` is neither yes nor no"),
            "write yes or no",
        )),
    }
}

/// A size in bytes with an optional kb, mb or gb (x1024), as Suricata reads it: `1.5gb` is one.
pub fn size(key: &str, value: &str) -> Result<u64, SettingError> {
    let text = value.trim().to_ascii_lowercase();
    let wrong = || {
        let what = format!("{key}: `{value}` is no size");
        error(what, "write 65536, 64kb or 1mb")
    };
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let factor = match text[digits..].trim() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1u64 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return Err(wrong()),
    };
    let number = &text[..digits];
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let part: f64 = format!("0.{part}").parse().map_err(|_| wrong())?;
    let part = (part * factor as f64) as u64;
    Ok(whole.saturating_mul(factor).saturating_add(part))
}

fn number(key: &str, value: &str) -> Result<u32, SettingError> {
    let size = size(key, value)?;
    u32::try_from(size)
        .map_err(|_| error(format!("{key}: `{value}` is too large"), "at most 4 GiB"))
}

fn ports(key: &str, value: &str) -> Result<Vec<u16>, SettingError> {
    let list = value.trim().trim_matches(|c| c == '[' || c == ']');
    list.split(',')
        .map(str::trim)
        .filter(|p| !p.is_empty() && *p != "any")
        .map(|p| {
            p.parse()
                .map_err(|_| error(format!("{key}: `{p}` is no port"), "0 to 65535"))
        })
        .collect()
}

/// Ranks of pass, drop, reject and alert from a list such as `drop, pass, reject, alert`; what the
/// list leaves out comes behind, in the default order.
fn action_order(key: &str, value: &str) -> Result<[u8; 4], SettingError> {
    const ACTIONS: [&str; 4] = ["pass", "drop", "reject", "alert"];
    let hint = "name each of pass, drop, reject and alert once, e.g. drop,pass,reject,alert";
    let mut ranks = [u8::MAX; 4];
    let list = value.trim().trim_matches(|c| c == '[' || c == ']');
    let words = list.split([',', ' ']).map(|word| word.trim_matches('"'));
    let mut next = 0;
    for word in words.filter(|word| !word.is_empty()) {
        let place = ACTIONS
            .iter()
            .position(|action| *action == word)
            .filter(|place| ranks[*place] == u8::MAX)
            .ok_or_else(|| error(format!("{key}: `{word}` is out of place"), hint))?;
        ranks[place] = next;
        next += 1;
    }
    for rank in ranks.iter_mut().filter(|rank| **rank == u8::MAX) {
        *rank = next;
        next += 1;
    }
    Ok(ranks)
}

/// What a key says of one dataset (`NAME.type` of `datasets.NAME.type`), if it does.
fn of_dataset(key: &str) -> Option<&str> {
    let own = key.strip_prefix("datasets.")?;
    let (name, what) = own.rsplit_once('.')?;
    let known = matches!(
        what,
        "type" | "load" | "state" | "save" | "hashsize" | "memcap"
    );
    (known && !matches!(name, "defaults" | "limits" | "rules")).then_some(own)
}

/// Whether a key is a variable of rules, by Suricata's name: the command's to take.
fn is_variable(key: &str) -> bool {
    variable(key).is_some()
}

/// The name of the variable of rules that a key sets (`vars.address-groups.HOME_NET`).
pub fn variable(key: &str) -> Option<&str> {
    let rest = key.strip_prefix("vars.")?;
    let group = rest.strip_prefix("address-groups.");
    group.or_else(|| rest.strip_prefix("port-groups."))
}

impl Config {
    /// Sets one value by Suricata's key name (or ours).
    ///
    /// # Errors
    /// A value that the key cannot take, or a key that nobody knows.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), SettingError> {
        if self.set_decoder(key, value)?
            || self.set_stream(key, value)?
            || self.set_flow(key, value)?
            || self.set_policy(key, value)?
            || self.files.set(key, value)?
            || self.eve.set(key, value)?
        {
            return Ok(());
        }
        match key {
            "inline" if boolean(key, value)? => self.mode = Mode::Inline,
            "inline" => self.mode = Mode::Tap,
            "detect.inspection-recursion-limit" => self.recursion_limit = number(key, value)?,
            "asn1-max-frames" => self.asn1_objects = number(key, value)?.min(0xffff) as u16,
            "detect.budget" => self.verify_steps_max = number(key, value)?,
            "profiling.sample-rate" => self.profile_bursts = number(key, value)?,
            "app-layer.memory" => self.app_memory = size(key, value)?,
            "app-layer.flows-max" => self.app_flows_max = number(key, value)?.max(1),
            "stream.window-memory" => self.window_memory = size(key, value)?,
            "app-layer.records" => self.app_records = boolean(key, value)?,
            "action-order" => self.action_order = action_order(key, value)?,
            "packet-alert-max" => self.alerts_max = number(key, value)?,
            _ if key.starts_with("app-layer.protocols.") || key.contains("libhtp.") => {
                let known = APP_KEYS.iter().any(|known| key.ends_with(known));
                if !known {
                    self.ignored.push(format!("{key}={value}"));
                }
                self.app_settings.push((key.to_string(), value.to_string()));
            }
            "reputation-categories-file" => self.reputation.0 = Some(value.to_string()),
            "reputation-files" => {
                let files = value.trim_matches(['[', ']']).split(',').map(str::trim);
                self.reputation.1 = files
                    .map(|file| file.trim_matches('"').to_string())
                    .collect();
            }
            _ if of_dataset(key).is_some() => {
                let own = of_dataset(key).map(str::to_string);
                self.datasets
                    .extend(own.map(|key| (key, value.to_string())));
            }
            "sensor-name" => self.eve.host = value.to_string(),
            "geoip-database" => self.geoip_database = Some(value.to_string()),
            "threshold-file" => self.threshold_file = Some(value.to_string()),
            _ if is_variable(key) => {}
            _ if IGNORED.iter().any(|prefix| key.starts_with(prefix)) => {
                self.ignored.push(format!("{key}={value}"));
            }
            _ => {
                return Err(error(
                    format!("unknown setting `{key}`"),
                    "`sluice config reference` shows every key",
                ));
            }
        }
        Ok(())
    }

    fn set_decoder(&mut self, key: &str, value: &str) -> Result<bool, SettingError> {
        match key {
            "checksum_validation" => self.checksum_validation = boolean(key, value)?,
            "vlan.use-for-tracking" => self.vlan_tracking = boolean(key, value)?,
            "decoder.vxlan.enabled" if !boolean(key, value)? => self.vxlan_ports.clear(),
            "decoder.vxlan.enabled" => {}
            "decoder.vxlan.reserved-bits-check" => {
                self.vxlan_strict = match value {
                    "strict" => true,
                    "permissive" => false,
                    _ => {
                        return Err(error(
                            format!("{key}: `{value}` is no way to check"),
                            "strict or permissive",
                        ));
                    }
                }
            }
            "decoder.vxlan.ports" => self.vxlan_ports = ports(key, value)?,
            "decoder.geneve.enabled" if !boolean(key, value)? => self.geneve_ports.clear(),
            "decoder.geneve.enabled" => {}
            "decoder.geneve.ports" => self.geneve_ports = ports(key, value)?,
            "decoder.erspan.typeIII.enabled" => self.erspan_third = boolean(key, value)?,
            "decoder.teredo.enabled" => self.teredo_enabled = boolean(key, value)?,
            "decoder.teredo.ports" => self.teredo_ports = ports(key, value)?,
            "decoder.max-layers" => self.layers_max = number(key, value)?.clamp(1, 255) as u8,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn set_stream(&mut self, key: &str, value: &str) -> Result<bool, SettingError> {
        match key {
            "stream.midstream" => self.midstream = boolean(key, value)?,
            "stream.async-oneside" => self.async_oneside = boolean(key, value)?,
            "stream.drop-invalid" => self.drop_invalid = boolean(key, value)?,
            "stream.checksum-validation" => self.checksum_validation = boolean(key, value)?,
            "stream.inline" => {
                if value != "auto" && boolean(key, value)? {
                    self.mode = Mode::Inline;
                }
            }
            "stream.reassembly.depth" => self.stream_depth = number(key, value)?,
            "stream.reassembly.hole-bytes" => self.stream_hole_bytes_max = number(key, value)?,
            "stream.reassembly.toserver-chunk-size" => {
                self.stream_chunks[0] = number(key, value)?.max(1);
            }
            "stream.reassembly.toclient-chunk-size" => {
                self.stream_chunks[1] = number(key, value)?.max(1);
            }
            "stream.reassembly.memcap" => self.stream_memory = size(key, value)?,
            "stream.reassembly.urgent.policy" => {
                self.urgent = match value {
                    "inline" => Urgent::Inline,
                    "oob" => Urgent::OutOfBand,
                    "drop" => Urgent::Drop,
                    "gap" => Urgent::Gap,
                    _ => {
                        return Err(error(
                            format!("{key}: `{value}` is no urgent policy"),
                            "one of inline, oob, drop, gap",
                        ));
                    }
                };
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn set_flow(&mut self, key: &str, value: &str) -> Result<bool, SettingError> {
        match key {
            "flows" => self.flows_max = number(key, value)?,
            "inspected-flows" => self.inspected_flows_max = number(key, value)?,
            "flow.rate-tracking.bytes" => self.rate_tracking.bytes = size(key, value)?,
            "flow.rate-tracking.interval" => {
                let seconds: u16 = number(key, value)?.try_into().unwrap_or(0);
                if seconds == 0 {
                    return Err(error(
                        format!("{key}: `{value}` is no interval"),
                        "write seconds, from 1 to 65535",
                    ));
                }
                self.rate_tracking.interval = seconds;
            }
            "contexts-per-lane" => self.contexts_per_lane = number(key, value)?,
            "defrag.memcap" => self.defrag_memory = size(key, value)?,
            "defrag.timeout" => self.defrag_timeout = number(key, value)?,
            _ => {
                let Some(rest) = key.strip_prefix("flow-timeouts.") else {
                    return Ok(false);
                };
                let Some((protocol, state)) = rest.split_once('.') else {
                    return Ok(false);
                };
                let timeouts = match protocol {
                    "tcp" => &mut self.tcp_timeouts,
                    "udp" => &mut self.udp_timeouts,
                    "icmp" => &mut self.icmp_timeouts,
                    "default" => &mut self.other_timeouts,
                    _ => return Ok(false),
                };
                match state {
                    // The table has no state of emergency, and a bypassed flow ends as others do.
                    "bypassed" => self.ignored.push(format!("{key}={value}")),
                    _ if state.starts_with("emergency-") => {
                        self.ignored.push(format!("{key}={value}"));
                    }
                    "new" => timeouts.new = number(key, value)?,
                    "established" => timeouts.established = number(key, value)?,
                    "closed" => timeouts.closed = number(key, value)?,
                    _ => return Ok(false),
                }
            }
        }
        Ok(true)
    }
}

/// Ends of the keys of parsers (`app-layer.protocols.*`) that parsers read; others change nothing.
const APP_KEYS: &[&str] = &[
    ".enabled",
    ".detection-ports.dp",
    ".ftp.max-tx",
    ".http2.max-streams",
    ".http2.max-frames",
    ".mqtt.max-msg-length",
    ".mqtt.max-tx",
    ".mqtt.max-messages",
    "subscribe-topic-match-limit",
    ".encryption-handling",
    ".websocket.max-payload-size",
    ".ldap.max-responses",
    ".pgsql.max-tx",
    ".pop3.max-tx",
    ".nfs.max-tx",
    ".dnp3.max-tx",
    ".dnp3.max-points",
    ".dnp3.max-objects",
    ".enip.max-tx",
    ".modbus.stream-depth",
    ".pgsql.stream-depth",
    ".smb.stream-depth",
    ".smb.max-tx",
    ".smb.max-read-size",
    ".smb.max-write-size",
    ".dcerpc.max-stub-size",
    ".dcerpc.max-tx",
    ".smtp.mime.decode-mime",
    ".smtp.mime.decode-base64",
    ".smtp.mime.decode-quoted-printable",
    ".smtp.mime.extract-urls",
    ".smtp.mime.extract-urls-schemes",
    ".smtp.mime.log-url-scheme",
    ".smtp.mime.body-md5",
    ".ja3-fingerprints",
    ".ja4-fingerprints",
    ".double-decode-path",
    ".double-decode-query",
    ".path-convert-backslash-separators",
    ".path-separators-compress",
    ".path-convert-lowercase",
    ".path-u-encoding-decode",
    ".query-plusspace-decode",
    ".uri-include-all",
    ".request-body-limit",
    ".response-body-limit",
    ".response-body-decompress-layer-limit",
    ".meta-field-limit",
    ".lzma-enabled",
    ".swf-decompression.enabled",
    ".swf-decompression.type",
    ".swf-decompression.compress-depth",
    ".swf-decompression.decompress-depth",
];

/// Suricata's keys that mean nothing here (how it stores, logs, searches or is started; what is
/// decided otherwise here: DESIGN.md 4); reported, not lost.
const IGNORED: &[&str] = &[
    "af-packet.",
    "af-xdp.",
    "capture.",
    "classification-file",
    "coredump.",
    "datasets.",
    "default-log-dir",
    "default-packet-size",
    "default-rule-path",
    "defrag.hash-size",
    "defrag.host-config",
    "defrag.max-frags",
    "defrag.prealloc",
    "defrag.trackers",
    "detect.",
    "dpdk.",
    "engine-analysis.",
    "flow.emergency-recovery",
    "flow.hash-size",
    "flow.managers",
    "flow.memcap",
    "flow.prealloc",
    "flow.recyclers",
    "heartbeat.",
    "host-mode",
    "host-os-policy.",
    "host.",
    "ippair.",
    "ips.",
    "legacy.",
    "livedev.",
    "logging.",
    "luajit.",
    "magic-file",
    "max-pending-packets",
    "mpm-algo",
    "multi-detect.",
    "netmap.",
    "nfq.",
    "nflog.",
    "outputs.",
    "pcap-file.",
    "pcap.",
    "pcre.",
    "pfring.",
    "pid-file",
    "plugins",
    "profiling.",
    "reference-config-file",
    "rule-files",
    "run-as.",
    "runmode",
    "security.",
    "sgh-mpm",
    "spm-algo",
    "stats.",
    "stream.max-",
    "stream.liberal-timestamps",
    "stream.memcap",
    "stream.prealloc-",
    "stream.reassembly.",
    "autofp-scheduler",
    "threading.",
    "unix-command.",
    "decoder.recursion-level.",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suricata_names_set_our_values() {
        let mut config = Config::default();
        config.set("stream.midstream", "true").unwrap();
        config.set("stream.reassembly.depth", "2mb").unwrap();
        config.set("flow-timeouts.tcp.new", "5").unwrap();
        config.set("defrag.memcap", "1.5 MiB").unwrap();
        assert_eq!(config.defrag_memory, 3 << 19);
        for wrong in ["1.2.3mb", ".", "mb", "1.mb.", "-1"] {
            assert!(size("x", wrong).is_err(), "{wrong}");
        }
        config.set("decoder.vxlan.ports", "[4789, 8472]").unwrap();
        assert!(config.midstream);
        assert_eq!(config.stream_depth, 2 << 20);
        assert_eq!(config.tcp_timeouts.new, 5);
        assert_eq!(config.vxlan_ports, [4789, 8472]);
    }

    #[test]
    fn wrong_values_and_keys_say_what_to_do() {
        let mut config = Config::default();
        let error = config.set("stream.midstream", "perhaps").unwrap_err();
        assert!(error.to_string().contains("neither yes nor no"));
        assert!(
            config
                .set("no.such.key", "1")
                .unwrap_err()
                .to_string()
                .contains("[hint]")
        );
        config.set("mpm-algo", "ac").unwrap();
        assert_eq!(config.ignored, ["mpm-algo=ac"]);
    }
}
