//! Settings of the engine, with Suricata's key names where the setting is the same.
//!
//! Everything has a default; no configuration is needed to start. `set` takes the text of
//! `--set KEY=VALUE`. Knows no other room.

/// Whether packets are ours to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// Watches a copy: verdicts are notional (`would_drop`).
    #[default]
    Tap,
    /// In the path: a dropped packet is not forwarded.
    Inline,
}

/// What to do where the engine cannot decide by inspection (Suricata's exception policies).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Policy {
    /// Go on as if nothing had happened.
    #[default]
    Ignore,
    /// Forward this packet without inspection.
    PassPacket,
    /// Forward the flow's packets without inspection, still tracking them.
    PassFlow,
    /// No more inspection of the flow; table hit and forward only.
    Bypass,
    /// Drop this packet.
    DropPacket,
    /// Drop this packet and the rest of its flow.
    DropFlow,
    /// Reject: drop the flow and tell the sender.
    Reject,
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
    /// Bytes of reassembly memory, all lanes together (`stream.reassembly.memcap`).
    pub stream_memory: u64,
    /// Bytes of defragmentation memory, all lanes together (`defrag.memcap`).
    pub defrag_memory: u64,
    /// Seconds a fragment waits (`defrag.timeout`).
    pub defrag_timeout: u32,
    /// Bytes of a stream inspected per direction (`stream.reassembly.depth`), 0: all.
    pub stream_depth: u32,
    /// Out-of-order bytes kept per flow direction.
    pub stream_hole_bytes_max: u32,
    /// Pick up flows whose handshake was not seen (`stream.midstream`).
    pub midstream: bool,
    /// What to do with such flows (`stream.midstream-policy`).
    pub midstream_policy: Policy,
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
    /// Budget of verification steps per packet.
    pub verify_steps_max: u32,
    /// `exception-policy` master switch, where it was given.
    pub exception_policy: Option<Policy>,
    /// `app-layer.error-policy`.
    pub app_error_policy: Policy,
    /// Bytes for parsers of the application layer, all lanes together.
    pub app_memory: u64,
    /// Follow the application layer even where no rule asks for it (for events).
    pub app_records: bool,
    /// Lanes.
    pub lanes: u8,
    /// Contexts per lane.
    pub contexts_per_lane: u32,
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
            geneve_ports: vec![6081],
            teredo_ports: vec![3544],
            teredo_enabled: true,
            layers_max: 16,
            flows_max: 1 << 17,
            inspected_flows_max: 1 << 15,
            stream_memory: 256 << 20,
            defrag_memory: 32 << 20,
            defrag_timeout: 60,
            stream_depth: 1 << 20,
            stream_hole_bytes_max: 256 << 10,
            midstream: false,
            midstream_policy: Policy::Ignore,
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
            verify_steps_max: 1 << 20,
            exception_policy: None,
            app_error_policy: Policy::Ignore,
            app_memory: 128 << 20,
            app_records: true,
            lanes: 1,
            contexts_per_lane: 8192,
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

/// A size in bytes with an optional kb, mb or gb (x1024), as Suricata reads it.
pub fn size(key: &str, value: &str) -> Result<u64, SettingError> {
    let text = value.trim().to_ascii_lowercase();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let factor = match text[digits..].trim() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1u64 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => {
            return Err(error(
                format!("{key}: `{value}` is no size"),
                "write 65536, 64kb or 1mb",
            ));
        }
    };
    let number: u64 = text[..digits].parse().map_err(|_| {
        error(
            format!("{key}: `{value}` is no size"),
            "write 65536, 64kb or 1mb",
        )
    })?;
    Ok(number.saturating_mul(factor))
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

fn policy(key: &str, value: &str) -> Result<Policy, SettingError> {
    Ok(match value {
        "ignore" | "none" => Policy::Ignore,
        "pass-packet" => Policy::PassPacket,
        "pass-flow" => Policy::PassFlow,
        "bypass" => Policy::Bypass,
        "drop-packet" => Policy::DropPacket,
        "drop-flow" => Policy::DropFlow,
        "reject" | "rejectboth" => Policy::Reject,
        _ => {
            return Err(error(
                format!("{key}: `{value}` is no policy"),
                "one of ignore, pass-packet, pass-flow, bypass, drop-packet, drop-flow, reject",
            ));
        }
    })
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
        {
            return Ok(());
        }
        match key {
            "inline" => {
                self.mode = if boolean(key, value)? {
                    Mode::Inline
                } else {
                    Mode::Tap
                };
            }
            "detect.inspection-recursion-limit" => self.recursion_limit = number(key, value)?,
            "app-layer.error-policy" => self.app_error_policy = policy(key, value)?,
            "exception-policy" => {
                // `auto` is drop-flow inline and ignore in a tap (exception-policies.rst).
                self.exception_policy = if value == "auto" {
                    (self.mode == Mode::Inline).then_some(Policy::DropFlow)
                } else {
                    Some(policy(key, value)?)
                };
            }
            _ if IGNORED.iter().any(|prefix| key.starts_with(prefix)) => {
                self.ignored.push(format!("{key}={value}"));
            }
            _ => {
                return Err(error(
                    format!("unknown setting `{key}`"),
                    "see `sluice replay --help`; key names are Suricata's, e.g. stream.midstream",
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
            "decoder.vxlan.ports" => self.vxlan_ports = ports(key, value)?,
            "decoder.geneve.enabled" if !boolean(key, value)? => self.geneve_ports.clear(),
            "decoder.geneve.enabled" => {}
            "decoder.geneve.ports" => self.geneve_ports = ports(key, value)?,
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
            "stream.midstream-policy" => self.midstream_policy = policy(key, value)?,
            "stream.async-oneside" => self.async_oneside = boolean(key, value)?,
            "stream.drop-invalid" => self.drop_invalid = boolean(key, value)?,
            "stream.checksum-validation" => self.checksum_validation = boolean(key, value)?,
            "stream.inline" => {
                if value != "auto" && boolean(key, value)? {
                    self.mode = Mode::Inline;
                }
            }
            "stream.reassembly.depth" => self.stream_depth = number(key, value)?,
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

/// Suricata's keys that mean nothing here (how it stores, logs or searches); reported, not lost.
const IGNORED: &[&str] = &[
    "stats.",
    "pcap-file.",
    "stream.bypass",
    "unix-command.",
    "vars.",
    "mpm-algo",
    "spm-algo",
    "sgh-mpm",
    "flow.hash-size",
    "flow.memcap",
    "flow.prealloc",
    "flow.managers",
    "flow.recyclers",
    "outputs.",
    "logging.",
    "detect.",
    "app-layer.protocols.",
    "stream.memcap",
    "stream.reassembly.",
    "host.",
    "ippair.",
    "threading.",
    "default-log-dir",
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
