//! Suricata's settings that have no effect here, and why: `config import` writes the reason beside
//! each value that it leaves, `--set` and a sluice.toml that name such a key say it.

/// Why settings of parsers have no effect: the end of a key (with a dot or dash), or
/// its beginning behind `app-layer.protocols.`; the first row that fits.
#[rustfmt::skip] // One reason a line: a table to be read down.
const PARSERS: &[(&str, &str)] = &[
    (".enabled", "no parser here has this name; those of the reference can be switched off"),
    (".detection-ports.dp", "a protocol is told by its bytes on any port"),
    (".detection-ports.sp", "a protocol is told by its bytes on any port"),
    (".stream-depth", "a stream of this protocol is inspected to stream.reassembly.depth"),
    (".ja3-fingerprints", "fingerprints are made where a rule or a log asks for them"),
    (".ja4-fingerprints", "fingerprints are made where a rule or a log asks for them"),
    (".hassh", "fingerprints are made where a rule or a log asks for them"),
    (".memcap", "all parsers share app-layer.memory"),
    ("smb.max-read-queue-", "pieces of a file that come early wait within fixed bounds, and what finds no room is counted"),
    ("smb.max-write-queue-", "pieces of a file that come early wait within fixed bounds, and what finds no room is counted"),
    ("-cache-size", "names, trees and handles are remembered within fixed bounds"),
    ("smtp.inspected-tracker.", "attachments are inspected as they come, 100 kb of each, without a window"),
    ("smtp.mime.header-value-depth", "it changes nothing in Suricata either: a longer value than 2000 bytes is told in both"),
    ("smtp.raw-extraction", "mails are stored by their attachments, not as they came"),
    ("http.byterange.", "parts of one file in several answers are files of their own"),
    ("http.libhtp.server-config.", "all servers are read by default-config"),
    ("http.libhtp.default-config.personality", "there is one reading, that of IDS"),
    ("http.libhtp.default-config.request-body-", "bodies are inspected as they come, without a window"),
    ("http.libhtp.default-config.response-body-", "bodies are inspected as they come, without a window"),
    ("http.libhtp.default-config.http-body-inline", "bodies are inspected as they come, without a window"),
    ("http.libhtp.default-config.randomize-", "bodies are inspected as they come, without a window"),
    ("http.libhtp.default-config.lzma-memlimit", "decoders and tables of HTTP have fixed bounds"),
    ("http.libhtp.default-config.compression-bomb-", "decoders and tables of HTTP have fixed bounds"),
    ("http.libhtp.default-config.decompression-time-limit", "decoders and tables of HTTP have fixed bounds"),
    ("http.libhtp.default-config.headers-limit", "decoders and tables of HTTP have fixed bounds"),
    ("http.libhtp.default-config.max-tx", "decoders and tables of HTTP have fixed bounds"),
    ("http2.max-table-size", "tables and blocks of HTTP/2 have fixed bounds, Suricata's defaults"),
    ("http2.max-reassembly-size", "tables and blocks of HTTP/2 have fixed bounds, Suricata's defaults"),
    ("http2.compression-bomb-limit", "tables and blocks of HTTP/2 have fixed bounds, Suricata's defaults"),
    ("nfs.max-", "calls and names are remembered within fixed bounds"),
    ("modbus.request-flood", "requests without an answer have a fixed bound"),
    (".max-tx", "a flow has 512 open transactions of this protocol at most"),
    ("ftp.max-line-length", "a command line is read to 4096 bytes, Suricata's default"),
];

/// Why a setting of a parser has no effect, if the reason is that setting's own.
pub fn of_parser(key: &str) -> Option<&'static str> {
    let rest = key.strip_prefix("app-layer.protocols.")?;
    let fits = |(part, _): &&(&str, &str)| match part.starts_with(['.', '-']) {
        true => rest.ends_with(part),
        false => begins(rest, part),
    };
    PARSERS.iter().find(fits).map(|(_, why)| *why)
}

/// Why keys have no counterpart, by the beginning of their names.
#[rustfmt::skip] // One reason a line: a table to be read down.
const REASONS: &[(&str, &str)] = &[
    ("outputs.eve-log.filetype", "the log is a file"),
    ("outputs.eve-log.suricata-version", "events are Sluice's and name no version of Suricata"),
    ("outputs.eve-log.threaded", "one thread writes one log, in order"),
    ("outputs.eve-log.buffer-size", "lines are gathered and written at once when nothing more waits"),
    ("outputs.eve-log.prefix", "lines are JSON and nothing else"),
    ("outputs.eve-log.rotate-interval", "the log is rotated from outside (logrotate); moved away, it is opened anew by itself"),
    ("outputs.eve-log.filemode", "a new log has mode 0640"),
    ("outputs.eve-log.append", "a run appends to its log, a replay begins it anew"),
    ("outputs.eve-log.identity", "the log is a file"),
    ("outputs.eve-log.facility", "the log is a file"),
    ("outputs.eve-log.level", "the log is a file"),
    ("outputs.eve-log.redis", "the log is a file"),
    ("outputs.eve-log.files.force-magic", "fileinfo has no magic; rules look at it with file.magic"),
    ("outputs.eve-log.files.force-filestore", "see file-store.force-filestore"),
    ("outputs.eve-log.dns.types", "events of DNS tell of all types"),
    ("outputs.eve-log.dns.version", "events of DNS are of version 3"),
    ("outputs.eve-log.tls.custom", "events of TLS have all fields but certificates themselves and what both hellos list"),
    ("outputs.eve-log.tls.session-resumption", "resumed sessions are events, too"),
    ("outputs.eve-log.smtp.custom", "email has its usual fields"),
    ("outputs.eve-log.smtp.md5", "email has its usual fields"),
    ("outputs.eve-log.mqtt.passwords", "passwords are not written"),
    ("outputs.eve-log.pgsql.passwords", "passwords are not written"),
    ("outputs.eve-log.drop.alerts", "drop events name the rule that dropped"),
    ("outputs.eve-log.anomaly.packethdr", "anomalies do not carry the packet"),
    ("outputs.eve-log.smb.types", "events of SMB tell of all commands"),
    ("outputs.eve-log.stats.", "`stats` has the totals; metrics have each worker's"),
    ("outputs.eve-log.alert.", "an alert has the rest of what it knows anyhow, or not at all"),
    ("outputs.eve-log.", "events have all that is known of this anyhow"),
    ("outputs.fast.", "alerts stand in eve.json alone"),
    ("outputs.stats.", "metrics take the place of stats.log: metrics.listen"),
    ("outputs.pcap-log.", "packets are not recorded; alerts may carry theirs: outputs.eve-log.alert.packet"),
    ("outputs.file-store.", "no such choice in this build: see the keys below [file-store]"),
    ("outputs.", "there is one log, eve.json: outputs.eve-log"),
    ("logging.", "Sluice tells on standard error what it has to say"),
    ("stats.", "metrics take its place: metrics.listen"),
    ("unix-command.", "the control socket is named by run.control-socket"),
    ("app-layer.protocols.", "what parsers do and how much they hold is not set here, but for the keys of the reference"),
    ("asn1-", "no such choice in this build"),
    ("decoder.recursion-level.", "two hosts and their ports are one flow within a tunnel and outside of it"),
    ("stream.inline", "whether packets are ours to stop is said by --inline or --tap"),
    ("stream.reassembly.urgent.", "urgent bytes are not counted: policy holds for all of them"),
    ("stream.reassembly.check-overlap-different-data", "other bytes in an overlap are always told of"),
    ("stream.reassembly.", "streams are kept as one: no chunks, no segments to be prepared"),
    ("stream.", "no such choice in this build: see the keys below [stream]"),
    ("flow.", "the table is sized by `flows` and all of its memory is taken at start"),
    ("flow-timeouts.", "there are three states: new, established, closed"),
    ("defrag.host-config", "there is one time for all hosts: defrag.timeout"),
    ("defrag.", "fragments are judged without regard to the receiver's system"),
    ("host-os-policy.", "what is forwarded reads the same on every system, so no policy is needed"),
    ("host.", "hosts are kept in a table of fixed size"),
    ("ippair.", "pairs of hosts are kept in a table of fixed size"),
    ("threading.cpu-affinity", "run.pin pins each worker to a core of its own, from the first that the process may use"),
    ("threading.", "workers are laid out by run.lanes, run.layout and run.pin"),
    ("detect.", "rules are grouped by what they ask for, without profiles"),
    ("mpm-algo", "the prefilter is chosen by the processor"),
    ("spm-algo", "single searches are chosen by the processor"),
    ("af-packet", "defaults of ports: the port sees to it itself"),
    ("netmap", "defaults of ports: the port sees to it itself"),
    ("pcap", "captures are read by `sluice replay`"),
    ("af-xdp", "no BPF and no XDP here: AF_PACKET or netmap"),
    ("dpdk", "no DPDK here: AF_PACKET or netmap"),
    ("napatech.", "no card of its own here: AF_PACKET or netmap"),
    ("profiling.", "stages are timed in metrics, sampled, all the time"),
    ("nfq", "no netfilter queue here: AF_PACKET or netmap"),
    ("nflog", "no netfilter log here: AF_PACKET or netmap"),
    ("ipfw", "no divert socket here: netmap"),
    ("windivert", "not on Windows"),
    ("pfring", "no PF_RING here: AF_PACKET or netmap"),
    ("pcre.", "regexes are bounded by detect.budget"),
    ("security.", "rights are a matter of the service unit and the keeper, not a setting"),
    ("run-as.", "rights are a matter of the service unit and the keeper, not a setting"),
    ("max-pending-packets", "packets in flight are bounded by contexts-per-lane"),
    ("runmode", "workers are laid out by run.lanes and run.layout"),
    ("default-packet-size", "a port's buffers are as long as its MTU asks for"),
    ("classification-file", "rules.classification in sluice.toml, --classification"),
    ("default-log-dir", "log.dir in sluice.toml, -l"),
    ("default-rule-path", "rules.path in sluice.toml, or paths behind -S"),
    ("reference-config-file", "rules.references in sluice.toml, --reference"),
    ("rule-files", "rules.files in sluice.toml, -S"),
    ("vars.", "variables stand below [vars] in sluice.toml, or behind --var"),
    ("capture.disable-offloading", "`sluice doctor --fix` switches offloads off"),
    ("coredump.", "core files are a matter of the service unit"),
    ("datasets.defaults.", "a set takes as many values as its own hashsize or memcap says"),
    ("datasets.limits.", "a set takes 16,777,216 values at most"),
    ("datasets.rules.", "what a rule writes lies below the folder of the rules, what it reads anywhere"),
    ("engine-analysis.", "`sluice check` and `sluice profile` tell of rules"),
    ("firewall.", "firewall rules are refused"),
    ("heartbeat.", "no pings: `stats` events come at log.stats-interval"),
    ("host-mode", "a reject is sent by the port that leads to who is told, whatever the machine is"),
    ("legacy.", "uricontent is always read"),
    ("livedev.", "what two pairs of ports carry is always two flows"),
    ("luajit.", "no Lua here"),
    ("magic-file", "kinds of files are told by a table of Sluice's own"),
    ("multi-detect.", "one rule set for all: run a process for each tenant"),
    ("pid-file", "no daemon of its own: the service manager knows the process"),
    ("plugins", "no plug-ins here"),
    ("umask", "a new log has mode 0640"),
    ("autofp-scheduler", "workers are laid out by run.lanes and run.layout"),
    ("suricata-version", "it says who wrote the file"),
];

/// An output's key without its places in lists: `outputs.fast.enabled` of `outputs.0.fast.enabled`.
fn without_places(key: &str) -> Option<String> {
    if let Some(own) = super::eve::own(key) {
        return Some(format!("outputs.eve-log.{own}"));
    }
    let (place, rest) = key.strip_prefix("outputs.")?.split_once('.')?;
    let is_place = place.bytes().all(|byte| byte.is_ascii_digit());
    is_place.then(|| format!("outputs.{rest}"))
}

/// Whether a key begins so; a table may stand without its last dot.
fn begins(key: &str, part: &str) -> bool {
    key.starts_with(part) || part.strip_suffix('.') == Some(key)
}

/// Whether Suricata has settings of this name, as far as is known here.
pub fn knows(path: &str) -> bool {
    REASONS.iter().any(|(part, _)| begins(path, part))
}

/// Why a key of Suricata has no counterpart: the first reason that fits.
pub fn reason(path: &str) -> &'static str {
    let output = without_places(path);
    let path = output.as_deref().unwrap_or(path);
    if let Some(why) = of_parser(path) {
        return why;
    }
    let found = REASONS.iter().find(|(part, _)| begins(path, part));
    found.map_or("no setting of Sluice has this meaning", |(_, why)| why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::KEYS;

    #[test]
    fn each_key_without_effect_has_a_reason_of_its_own() {
        for (key, told) in [
            ("host-os-policy.windows", "every system"),
            ("app-layer.protocols.smb.max-write-queue-cnt", "early"),
            (
                "app-layer.protocols.smtp.inspected-tracker.content-limit",
                "window",
            ),
            ("app-layer.protocols.template.enabled", "no parser"),
            ("app-layer.protocols.ldap.max-tx", "512"),
            ("decoder.recursion-level.use-for-tracking", "tunnel"),
            ("outputs.0.fast.enabled", "eve.json alone"),
            ("outputs.3.pcap-log.mode", "not recorded"),
            ("outputs.1.eve-log.suricata-version", "no version"),
            ("outputs.1.eve-log.types.5.tls.custom", "all fields"),
            ("outputs.1.eve-log.types.3.http.extended", "anyhow"),
            ("outputs.1.eve-log.rotate-interval", "logrotate"),
            ("multi-detect.enabled", "each tenant"),
            ("outputs.9.lua.enabled", "one log"),
        ] {
            assert!(reason(key).contains(told), "{key}: {}", reason(key));
            assert!(!KEYS.iter().any(|known| known.name == key), "{key}");
        }
    }
}
