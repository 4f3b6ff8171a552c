//! Every key of `sluice.toml`: what it takes, in which unit, what holds without it, what it is for.
//!
//! `reference` writes the documented file of all of them; the `sluice.toml` at the repository's
//! root is that text (tests/settings.rs compares). Names are Suricata's where the setting is the
//! same; a table of the file is the part before the last dot. Reading a file is cli/settings.rs's.

use Kind::*;
use Usual::*;

/// What a key takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// true or false.
    Flag,
    /// A whole number, 0 or more.
    Number,
    /// Seconds.
    Seconds,
    /// Bytes: a number, or a text with kb, mb or gb (x 1024).
    Bytes,
    /// A list of port numbers.
    Ports,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A text.
    Text,
    /// A file or folder, relative to the folder that the settings file lies in.
    Path,
    /// A list of those.
    Paths,
    /// A list of texts.
    Texts,
    /// A list of pairs of ports.
    Pairs,
}

impl Kind {
    /// What a value is measured in, as the reference says it.
    pub const fn unit(self) -> &'static str {
        match self {
            Flag => "true or false",
            Number => "a number",
            Seconds => "seconds",
            Bytes => "bytes, or \"64kb\", \"1mb\", \"2gb\" (x 1024)",
            Ports => "ports",
            Word(_) => "one of the words below",
            Text => "text",
            Path => "a path, relative to this file's folder",
            Paths => "paths, relative to this file's folder",
            Texts => "a list of texts",
            Pairs => "pairs of ports, the inside one first",
        }
    }
}

/// What holds where a key is not given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Usual {
    /// This value, as TOML writes it.
    Is(&'static str),
    /// No single value: an example as TOML writes it, and what holds instead.
    Else(&'static str, &'static str),
}

/// Who reads a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reader {
    /// The data plane: `Config::set`, and so `--set` too.
    Engine,
    /// A command, which has an option of the same meaning.
    Command,
}

/// One key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    /// Name with its tables, dotted.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What holds without it.
    pub usual: Usual,
    /// Who reads it.
    pub reader: Reader,
    /// What it is for.
    pub help: &'static str,
}

const fn engine(name: &'static str, kind: Kind, usual: Usual, help: &'static str) -> Key {
    let reader = Reader::Engine;
    Key {
        name,
        kind,
        usual,
        reader,
        help,
    }
}

/// The switch of a parser.
macro_rules! switch {
    ($name:literal) => {
        engine(
            concat!("app-layer.protocols.", $name, ".enabled"),
            Word(&["yes", "no", "detection-only"]),
            Is("\"yes\""),
            concat!(
                "Look for ",
                $name,
                " and parse it; no: it is never told, detection-only: it is told and not parsed."
            ),
        )
    };
}

const fn command(name: &'static str, kind: Kind, usual: Usual, help: &'static str) -> Key {
    let reader = Reader::Command;
    Key {
        name,
        kind,
        usual,
        reader,
        help,
    }
}

/// Words of an exception policy.
pub const POLICIES: &[&str] = &[
    "auto",
    "ignore",
    "pass-packet",
    "pass-flow",
    "bypass",
    "drop-packet",
    "drop-flow",
    "reject",
    "rejectboth",
];
const URGENT: &[&str] = &["inline", "oob", "drop", "gap"];
const INLINE_DROPS: Usual = Else(
    "\"drop-packet\"",
    "exception-policy, else drop-packet inline and ignore in a tap",
);
const IGNORES: Usual = Is("\"ignore\"");

/// The name of the table whose keys are the operator's own: variables of rules.
pub const VARIABLES: &str = "vars";

/// The name of the table of datasets; below it each set has a table of its own name.
pub const DATASETS: &str = "datasets";

/// Keys of a dataset's table.
pub const DATASET_KEYS: &[(&str, Kind)] = &[
    ("type", Word(DATASET_TYPES)),
    ("load", Path),
    ("save", Path),
    ("state", Path),
    ("hashsize", Number),
    ("memcap", Bytes),
];

/// What the values of a dataset are.
const DATASET_TYPES: &[&str] = &["string", "md5", "sha256", "ip", "ipv4"];

/// All keys, in the order of the reference.
#[rustfmt::skip] // One key a line: a table to be read down.
pub const KEYS: &[Key] = &[
    // --- read by commands -------------------------------------------------------------------
    command("run.inline", Pairs, Else("[[\"eth1\", \"eth2\"]]", "--inline names them"), "The ports that `sluice run` is the gate between: one pair or several."),
    command("run.tap", Texts, Else("[\"eth1\"]", "--tap names them"), "The ports that `sluice run` watches; not together with run.inline."),
    command("run.lanes", Number, Is("1"), "Lanes: each has a ring (or fan-out socket) of every port and a worker for each cut of the layout."),
    command("run.pin", Flag, Is("false"), "Pin each worker to a core of its own."),
    command("run.layout", Text, Is("\"fused\""), "Stages on workers: fused, split, or a cut such as decode+flow|match+verdict."),
    command("run.burst", Number, Is("64"), "Frames a burst takes at most."),
    command("run.force", Flag, Is("false"), "Start although a port looks like the management port, or the kernel forwards between the ports too."),
    command("run.control-socket", Path, Else("\"/run/sluice.sock\"", "no control socket"), "Where the control socket is made."),
    command("log.dir", Path, Else("\"/var/log/sluice\"", "no log is written"), "Folder of eve.json."),
    command("log.stats-interval", Seconds, Is("10"), "Time between `stats` events; 0: one at the end."),
    command("metrics.listen", Text, Else("\"127.0.0.1:9417\"", "no metrics are served"), "Loopback address at which Prometheus metrics are served."),
    command("metrics.rules-top", Number, Is("50"), "Rules that metrics count one by one: those that matched most."),
    command("rules.files", Paths, Else("[\"rules/suricata.rules\"]", "no rules"), "Rule files; -S on the command line takes their place."),
    command("rules.path", Path, Else("\"rules\"", "this file's folder"), "Folder that rules.files are relative to (Suricata's default-rule-path)."),
    command("rules.classification", Path, Else("\"classification.config\"", "the one beside a rule file"), "Rule classes and their priorities."),
    command("rules.references", Path, Else("\"reference.config\"", "the one beside a rule file"), "Systems that references of rules point into."),
    command("rules.skip-bad", Flag, Is("false"), "Load the rules that are without fault and report the others, instead of refusing to start."),
    // --- read by the engine -----------------------------------------------------------------
    engine("reputation-categories-file", Path, Else("\"categories.txt\"", "none, and rules with iprep are not run"), "Categories of address reputations, NUMBER,NAME,DESCRIPTION a line."),
    engine("geoip-database", Path, Else("\"/usr/share/GeoIP/GeoLite2-Country.mmdb\"", "none, and rules with geoip are not run"), "Database of countries in MaxMind's format, for rules with geoip."),
    engine("reputation-files", Text, Else("\"/etc/sluice/reputation.list\"", "none"), "Files of reputations, commas between them: ADDRESS[/BITS],CATEGORY,SCORE a line."),
    engine("threshold-file", Path, Else("\"threshold.config\"", "the one beside a rule file"), "Thresholds, rate filters and suppressions."),
    engine("action-order", Text, Is("\"pass, drop, reject, alert\""), "Which action is evaluated first where several rules match."),
    engine("exception-policy", Word(POLICIES), Else("\"auto\"", "each area's own"), "Policy of all areas that have none of their own."),
    engine("flows", Number, Is("131072"), "Flows in the table, all lanes together."),
    engine("inspected-flows", Number, Is("32768"), "Flows inspected at once (with stream and parser state), all lanes together."),
    engine("contexts-per-lane", Number, Is("8192"), "Packets in flight in a lane at most, views included."),
    engine("vlan.use-for-tracking", Flag, Is("true"), "The same tuple in two VLANs is two flows."),
    engine("stream.midstream", Flag, Is("false"), "Pick up connections whose handshake was not seen."),
    engine("stream.midstream-policy", Word(POLICIES), Else("\"auto\"", "auto with `run --inline`, else ignore"), "Packets of connections whose handshake was not seen."),
    engine("stream.async-oneside", Flag, Is("false"), "Accept connections of which one side is seen only."),
    engine("stream.drop-invalid", Flag, Is("true"), "Inline: drop TCP packets that no receiver would take."),
    engine("stream.checksum-validation", Flag, Is("true"), "Verify checksums of IP, TCP, UDP and ICMP (-k none switches it off)."),
    engine("stream.bypass", Flag, Is("false"), "Bypass a flow once its stream went past its depth."),
    engine("stream.memcap-policy", Word(POLICIES), INLINE_DROPS, "No state left for another connection."),
    engine("stream.reassembly.memcap", Bytes, Is("\"256mb\""), "Memory for stream bytes, all lanes together."),
    engine("stream.reassembly.memcap-policy", Word(POLICIES), INLINE_DROPS, "No memory left for stream bytes."),
    engine("stream.reassembly.depth", Bytes, Is("\"1mb\""), "Bytes inspected of each direction of a flow; 0: all."),
    engine("stream.reassembly.depth-policy", Word(POLICIES), IGNORES, "A stream went past its depth."),
    engine("stream.reassembly.hole-bytes", Bytes, Is("\"256kb\""), "Bytes behind a gap that are kept for each direction of a flow."),
    engine("stream.reassembly.toserver-chunk-size", Number, Is("2560"), "Bytes of a stream to the server that a tap inspects as one."),
    engine("stream.reassembly.toclient-chunk-size", Number, Is("2560"), "Bytes of a stream to the client that a tap inspects as one."),
    engine("stream.window-memory", Bytes, Is("\"640mb\""), "Memory for the last bytes of the streams that signatures look at, all lanes together; streams silent for longest give theirs up."),
    engine("stream.reassembly.urgent.policy", Word(URGENT), Else("\"oob\"", "drop with `run --inline`, else oob"), "TCP urgent data: as ordinary data, out of band, dropped, or skipped."),
    engine("profiling.sample-rate", Number, Is("64"), "One burst in so many is measured for `sluice profile --live`; 0: none."),
    engine("flow.memcap-policy", Word(POLICIES), INLINE_DROPS, "The flow table is full."),
    engine("flow.rate-tracking.bytes", Bytes, Is("0"), "Bytes of one direction of a flow within the interval that make it an elephant (flow.elephant); 0: rates of flows are not tracked. Takes about 400 bytes of memory a flow of the table."),
    engine("flow.rate-tracking.interval", Seconds, Is("10"), "The interval of flow.rate-tracking.bytes; one of more than 16 seconds is exact to a sixteenth."),
    engine("flow-timeouts.tcp.new", Seconds, Is("60"), "TCP without a whole handshake."),
    engine("flow-timeouts.tcp.established", Seconds, Is("600"), "TCP, established."),
    engine("flow-timeouts.tcp.closed", Seconds, Is("60"), "TCP, closed by both sides."),
    engine("flow-timeouts.udp.new", Seconds, Is("30"), "UDP, one direction seen."),
    engine("flow-timeouts.udp.established", Seconds, Is("300"), "UDP, both directions seen."),
    engine("flow-timeouts.udp.closed", Seconds, Is("0"), "UDP has no end; for the form of the table."),
    engine("flow-timeouts.icmp.new", Seconds, Is("30"), "ICMP, one direction seen."),
    engine("flow-timeouts.icmp.established", Seconds, Is("300"), "ICMP, both directions seen."),
    engine("flow-timeouts.icmp.closed", Seconds, Is("0"), "ICMP has no end; for the form of the table."),
    engine("flow-timeouts.default.new", Seconds, Is("30"), "Other protocols, one direction seen."),
    engine("flow-timeouts.default.established", Seconds, Is("300"), "Other protocols, both directions seen."),
    engine("flow-timeouts.default.closed", Seconds, Is("0"), "Others have no end; for the form of the table."),
    engine("defrag.memcap", Bytes, Is("\"32mb\""), "Memory for IP fragments, all lanes together."),
    engine("defrag.memcap-policy", Word(POLICIES), INLINE_DROPS, "No memory left for fragments."),
    engine("defrag.timeout", Seconds, Is("60"), "How long a fragment waits for the rest of its datagram."),
    engine("decoder.max-layers", Number, Is("16"), "Layers of encapsulation that are followed."),
    engine("decoder.vxlan.enabled", Flag, Is("true"), "Look into VXLAN."),
    engine("decoder.vxlan.ports", Ports, Is("[4789]"), "UDP ports of VXLAN."),
    engine("decoder.vxlan.reserved-bits-check", Word(&["strict", "permissive"]), Is("\"strict\""), "VXLAN headers whose reserved bits are set: strict takes them for none, permissive looks into them."),
    engine("decoder.geneve.enabled", Flag, Is("true"), "Look into Geneve."),
    engine("decoder.geneve.ports", Ports, Is("[6081]"), "UDP ports of Geneve."),
    engine("decoder.teredo.enabled", Flag, Is("true"), "Look into Teredo."),
    engine("decoder.teredo.ports", Ports, Is("[3544]"), "UDP ports of Teredo; an empty list: any."),
    engine("decoder.erspan.typeIII.enabled", Flag, Is("false"), "Look into ERSPAN type III."),
    engine("detect.inspection-recursion-limit", Number, Is("3000"), "Steps back that the options of one rule may take."),
    engine("asn1-max-frames", Number, Is("30"), "ASN.1 objects that `asn1` looks at."),
    engine("detect.budget", Number, Is("1048576"), "Steps of verification for one packet."),
    engine("detect.budget-policy", Word(POLICIES), IGNORES, "A packet reached its budget."),
    engine("packet-alert-max", Number, Is("15"), "Alerts of one packet; the actions of further rules that match still count."),
    engine("app-layer.error-policy", Word(POLICIES), Else("\"ignore\"", "exception-policy, else ignore"), "An application layer that cannot be parsed."),
    engine("app-layer.memory", Bytes, Is("\"128mb\""), "Memory for parsers of the application layer, all lanes together."),
    engine("app-layer.flows-max", Number, Is("32768"), "Flows whose application layer is followed at once, all lanes together."),
    engine("app-layer.records", Flag, Is("true"), "Follow the application layer for events, too, and not for rules alone."),
    switch!("http"),
    switch!("http2"),
    switch!("tls"),
    switch!("dns.tcp"),
    switch!("dns.udp"),
    switch!("mdns"),
    switch!("llmnr"),
    switch!("smtp"),
    switch!("ftp"),
    switch!("ftp-data"),
    switch!("ssh"),
    switch!("smb"),
    switch!("dcerpc"),
    switch!("quic"),
    switch!("tftp"),
    switch!("snmp"),
    switch!("ntp"),
    switch!("dhcp"),
    switch!("ike"),
    switch!("krb5"),
    switch!("sip"),
    switch!("mqtt"),
    switch!("rdp"),
    switch!("rfb"),
    switch!("nfs"),
    switch!("ldap.tcp"),
    switch!("ldap.udp"),
    switch!("pgsql"),
    switch!("modbus"),
    switch!("dnp3"),
    switch!("enip"),
    switch!("websocket"),
    switch!("imap"),
    switch!("pop3"),
    switch!("telnet"),
    switch!("bittorrent-dht"),
    switch!("doh2"),
    engine("app-layer.protocols.dns.tcp.detection-ports.dp", Ports, Is("[53]"), "Ports of servers that are asked for DNS over TCP."),
    engine("app-layer.protocols.dns.udp.detection-ports.dp", Ports, Is("[53]"), "Ports of servers that are asked for DNS over UDP."),
    engine("app-layer.protocols.dnp3.detection-ports.dp", Ports, Is("[20000]"), "Ports of servers that are asked for DNP3."),
    engine("app-layer.protocols.enip.detection-ports.dp", Ports, Is("[44818]"), "Ports of servers that are asked for EtherNet/IP."),
    engine("app-layer.protocols.ftp.detection-ports.dp", Ports, Is("[21]"), "Ports of servers that are asked for FTP where its first words say too little."),
    engine("app-layer.protocols.ike.detection-ports.dp", Ports, Is("[500]"), "Ports of servers that are asked for IKE."),
    engine("app-layer.protocols.ldap.tcp.detection-ports.dp", Ports, Is("[389, 3268]"), "Ports of servers that are asked for LDAP over TCP."),
    engine("app-layer.protocols.ldap.udp.detection-ports.dp", Ports, Is("[389, 3268]"), "Ports of servers that are asked for LDAP over UDP."),
    engine("app-layer.protocols.modbus.detection-ports.dp", Ports, Is("[502]"), "Ports of servers that are asked for Modbus."),
    engine("app-layer.protocols.mqtt.detection-ports.dp", Ports, Is("[1883]"), "Ports of servers that are asked for MQTT."),
    engine("app-layer.protocols.ntp.detection-ports.dp", Ports, Is("[123]"), "Ports of servers that are asked for NTP."),
    engine("app-layer.protocols.pgsql.detection-ports.dp", Ports, Is("[5432]"), "Ports of servers that are asked for PostgreSQL."),
    engine("app-layer.protocols.pop3.detection-ports.dp", Ports, Is("[110]"), "Ports of servers that are asked for POP3."),
    engine("app-layer.protocols.quic.detection-ports.dp", Ports, Is("[443, 80]"), "Ports of servers that are asked for QUIC."),
    engine("app-layer.protocols.rdp.detection-ports.dp", Ports, Is("[3389]"), "Ports of servers that are asked for RDP where its first bytes say too little."),
    engine("app-layer.protocols.snmp.detection-ports.dp", Ports, Is("[161, 162]"), "Ports of servers that are asked for SNMP."),
    engine("app-layer.protocols.telnet.detection-ports.dp", Ports, Is("[23]"), "Ports of servers that are asked for Telnet."),
    engine("app-layer.protocols.tftp.detection-ports.dp", Ports, Is("[69]"), "Ports of servers that are asked for TFTP."),
    engine("app-layer.protocols.tls.encryption-handling", Word(&["track-only", "full", "bypass"]), Is("\"track-only\""), "What becomes of a flow of TLS with its first application data: rules about payload look at it no more (track-only), or they do (full), or nothing of it is looked at (bypass)."),
    engine("app-layer.protocols.ssh.encryption-handling", Word(&["track-only", "full", "bypass"]), Is("\"track-only\""), "The same of a flow of SSH, once both sides have new keys."),
    engine("app-layer.protocols.ftp.max-tx", Number, Is("512"), "Commands of one FTP connection without an answer."),
    engine("app-layer.protocols.http2.max-streams", Number, Is("512"), "Streams of one HTTP/2 connection that are open at once; 512 at most."),
    engine("app-layer.protocols.http2.max-frames", Number, Is("65536"), "Frames of a direction of one HTTP/2 stream, beyond which too_many_frames is told."),
    engine("app-layer.protocols.mqtt.max-msg-length", Bytes, Is("\"128kb\""), "Bytes of an MQTT message behind its fixed header; longer ones are passed over. 128kb at most."),
    engine("app-layer.protocols.mqtt.max-tx", Number, Is("128"), "MQTT exchanges of one connection that are open at once, beyond which too_many_transactions is told; 500 at most."),
    engine("app-layer.protocols.mqtt.max-messages", Number, Is("1024"), "Messages of one MQTT exchange, beyond which too_many_messages is told; 1024 at most."),
    engine("app-layer.protocols.mqtt.subscribe-topic-match-limit", Number, Is("100"), "Topics of one MQTT subscription that are looked at; 0: any number."),
    engine("app-layer.protocols.mqtt.unsubscribe-topic-match-limit", Number, Is("100"), "Topics of one end of MQTT subscriptions that are looked at; 0: any number."),
    engine("app-layer.protocols.websocket.max-payload-size", Bytes, Is("65535"), "Bytes of a WebSocket message that are inspected; 65535 at most."),
    engine("app-layer.protocols.ldap.max-responses", Number, Is("1024"), "Responses to one LDAP request, beyond which too_many_responses is told."),
    engine("app-layer.protocols.pgsql.max-tx", Number, Is("1024"), "PostgreSQL queries of one connection without an answer."),
    engine("app-layer.protocols.pop3.max-tx", Number, Is("256"), "POP3 commands of one connection without an answer."),
    engine("app-layer.protocols.nfs.max-tx", Number, Is("1024"), "NFS calls of one flow without an answer."),
    engine("app-layer.protocols.dnp3.max-tx", Number, Is("32"), "DNP3 fragments of one flow that begin and do not end, beyond which flooded is told."),
    engine("app-layer.protocols.dnp3.max-points", Number, Is("16384"), "Points of the objects of one DNP3 fragment, beyond which too_many_points is told; 16384 at most."),
    engine("app-layer.protocols.dnp3.max-objects", Number, Is("2048"), "Objects of one DNP3 fragment, beyond which too_many_objects is told; 2048 at most."),
    engine("app-layer.protocols.enip.max-tx", Number, Is("64"), "EtherNet/IP requests of one flow without an answer; 64 at most."),
    engine("app-layer.protocols.modbus.stream-depth", Bytes, Is("0"), "Bytes of each direction of a Modbus stream that are inspected, in place of stream.reassembly.depth; 0: all."),
    engine("app-layer.protocols.pgsql.stream-depth", Bytes, Is("0"), "Bytes of each direction of a PostgreSQL stream that are inspected, likewise."),
    engine("app-layer.protocols.smb.stream-depth", Bytes, Is("0"), "Bytes of each direction of an SMB stream that are inspected, likewise."),
    engine("app-layer.protocols.smb.max-tx", Number, Is("128"), "SMB exchanges of one connection that are open at once; 128 at most."),
    engine("app-layer.protocols.smb.max-read-size", Bytes, Is("\"16mb\""), "Bytes that an SMB read may ask for, beyond which an event is told; 0: any number."),
    engine("app-layer.protocols.smb.max-write-size", Bytes, Is("\"16mb\""), "Bytes that an SMB server may take in one write, beyond which an event is told; 0: any number."),
    engine("app-layer.protocols.smb.dcerpc.max-stub-size", Bytes, Is("\"128kb\""), "Bytes of the stub data of a DCERPC call on an SMB pipe that are inspected, each way; 128kb at most."),
    engine("app-layer.protocols.dcerpc.max-tx", Number, Is("128"), "DCERPC calls of one flow that are open at once; 128 at most."),
    engine("app-layer.protocols.dcerpc.max-stub-size", Bytes, Is("\"128kb\""), "Bytes of the stub data of a DCERPC call that are inspected, each way; 128kb at most."),
    engine("app-layer.protocols.smtp.mime.decode-mime", Flag, Is("true"), "Read headers and parts of mails (email.* and files of SMTP)."),
    engine("app-layer.protocols.smtp.mime.decode-base64", Flag, Is("true"), "Decode parts in base64; without it nothing of them is seen."),
    engine("app-layer.protocols.smtp.mime.decode-quoted-printable", Flag, Is("true"), "Decode files in quoted-printable; without it nothing of them is seen."),
    engine("app-layer.protocols.smtp.mime.extract-urls", Flag, Is("true"), "Look for links in mails (email.url)."),
    engine("app-layer.protocols.smtp.mime.extract-urls-schemes", Texts, Is("[\"http\"]"), "What links begin with: 16 schemes at most."),
    engine("app-layer.protocols.smtp.mime.log-url-scheme", Flag, Is("false"), "Links of mails with their http://."),
    engine("app-layer.protocols.smtp.mime.body-md5", Word(&["auto", "yes", "no"]), Is("\"auto\""), "Hash of mail bodies (email.body_md5): where a rule asks for it, or never."),
    engine("app-layer.protocols.http.libhtp.default-config.request-body-limit", Bytes, Is("\"100kb\""), "Bytes of a request body that are inspected; 0: as many as can be."),
    engine("app-layer.protocols.http.libhtp.default-config.response-body-limit", Bytes, Is("\"100kb\""), "Bytes of a response body that are inspected; 0: as many as can be."),
    engine("app-layer.protocols.http.libhtp.default-config.meta-field-limit", Number, Is("18000"), "Bytes of one header line."),
    engine("app-layer.protocols.http.libhtp.default-config.response-body-decompress-layer-limit", Number, Is("2"), "Codings of one body that are undone."),
    engine("app-layer.protocols.http.libhtp.default-config.lzma-enabled", Flag, Is("false"), "Decode bodies in LZMA."),
    engine("app-layer.protocols.http.libhtp.default-config.double-decode-path", Flag, Is("false"), "Undo percent-encoding of paths twice."),
    engine("app-layer.protocols.http.libhtp.default-config.double-decode-query", Flag, Is("false"), "Undo percent-encoding of queries twice."),
    engine("app-layer.protocols.http.libhtp.default-config.path-convert-backslash-separators", Flag, Is("true"), "Read \\ in a path as /."),
    engine("app-layer.protocols.http.libhtp.default-config.path-separators-compress", Flag, Is("true"), "Read // in a path as /."),
    engine("app-layer.protocols.http.libhtp.default-config.path-convert-lowercase", Flag, Is("false"), "Make paths lower case."),
    engine("app-layer.protocols.http.libhtp.default-config.path-u-encoding-decode", Flag, Is("true"), "Undo %uXXXX in paths."),
    engine("app-layer.protocols.http.libhtp.default-config.query-plusspace-decode", Flag, Is("false"), "Read + in a query as a space."),
    engine("app-layer.protocols.http.libhtp.default-config.uri-include-all", Flag, Is("false"), "The normalised URI has scheme and authority, too."),
    engine("app-layer.protocols.http.libhtp.default-config.swf-decompression.enabled", Flag, Is("false"), "Open packed Flash files in response bodies."),
    engine("app-layer.protocols.http.libhtp.default-config.swf-decompression.type", Word(&["both", "deflate", "lzma"]), Is("\"both\""), "Which packed Flash files are opened."),
    engine("app-layer.protocols.http.libhtp.default-config.swf-decompression.compress-depth", Bytes, Is("0"), "Packed bytes of a Flash file that are opened; 0: as many as can be."),
    engine("app-layer.protocols.http.libhtp.default-config.swf-decompression.decompress-depth", Bytes, Is("0"), "Bytes that a Flash file is opened to; 0: as many as its head says."),
    engine("files.enabled", Flag, Is("true"), "Events of the files that flows carry (`fileinfo`)."),
    engine("files.force-hash", Texts, Is("[]"), "Hashes that `fileinfo` tells of every file: md5, sha1, sha256."),
    engine("file-store.enabled", Flag, Is("false"), "Store the files that rules with `filestore` name."),
    engine("file-store.force-filestore", Flag, Is("false"), "Store all files."),
    engine("file-store.dir", Text, Is("\"filestore\""), "Folder of the store, within the log folder if it is relative."),
    engine("file-store.stream-depth", Bytes, Is("\"64mb\""), "Bytes of a file that are stored; 0: all."),
    engine("file-store.max-open-files", Number, Is("256"), "Files that are written at once."),
    engine("file-store.max-files", Number, Is("100000"), "Files that are stored from start to end of the process; 0: any number."),
    engine("file-store.max-bytes", Bytes, Is("\"10gb\""), "Bytes that are stored from start to end of the process; 0: any number."),
    engine("outputs.eve-log.enabled", Flag, Is("true"), "Write events to eve.json."),
    engine("outputs.eve-log.filename", Text, Is("\"eve.json\""), "Name of the log in the log folder."),
    engine("outputs.eve-log.types", Texts, Else("[\"alert\", \"anomaly\", \"drop\", \"fileinfo\", \"flow\", \"stats\", \"dns\", \"http\", \"tls\"]", "all events"), "Events that are written; those of parsers by the protocol's name. What is not named costs nothing. `netflow`, an event for each direction of a flow, `arp`, and `frame`, one for each frame of the application layer, are there only where they are named."),
    engine("sensor-name", Text, Else("\"gate-1\"", "none"), "Name of this machine, which all events carry (`host`)."),
    engine("outputs.eve-log.metadata", Flag, Is("true"), "Events carry the flow's flowbits, flow counters and variables (`metadata`), and what rules call it by `traffic/...` (`traffic`)."),
    engine("outputs.eve-log.pcap-file", Flag, Is("true"), "Events of a replay name the capture."),
    engine("outputs.eve-log.community-id", Flag, Is("false"), "Events carry the Community ID of their flow."),
    engine("outputs.eve-log.community-id-seed", Number, Is("0"), "Seed of the Community IDs, the same for all who compare them: 65535 at most."),
    engine("outputs.eve-log.ethernet", Flag, Is("false"), "Events that have the packet (alert, drop, anomaly, packet) carry its hardware addresses."),
    engine("outputs.eve-log.xff.enabled", Flag, Is("false"), "Alerts, files and events of HTTP/1 tell the client's address as a header of proxies has it (`xff`)."),
    engine("outputs.eve-log.xff.mode", Word(&["extra-data", "overwrite"]), Is("\"extra-data\""), "It stands beside the client's own address, or in its place."),
    engine("outputs.eve-log.xff.deployment", Word(&["reverse", "forward"]), Is("\"reverse\""), "Of several addresses the last one counts (a proxy of ours), or the first (one of the client's)."),
    engine("outputs.eve-log.xff.header", Text, Is("\"X-Forwarded-For\""), "Name of the header."),
    engine("outputs.eve-log.alert.xff.enabled", Flag, Else("false", "as outputs.eve-log.xff"), "The same of alerts alone, with settings of their own."),
    engine("outputs.eve-log.alert.xff.mode", Word(&["extra-data", "overwrite"]), Else("\"extra-data\"", "as outputs.eve-log.xff"), "It stands beside the client's own address, or in its place."),
    engine("outputs.eve-log.alert.xff.deployment", Word(&["reverse", "forward"]), Else("\"reverse\"", "as outputs.eve-log.xff"), "The last address counts, or the first."),
    engine("outputs.eve-log.alert.xff.header", Text, Else("\"X-Forwarded-For\"", "as outputs.eve-log.xff"), "Name of the header."),
    engine("outputs.eve-log.files.xff.enabled", Flag, Else("false", "as outputs.eve-log.xff"), "The same of files alone, with settings of their own."),
    engine("outputs.eve-log.files.xff.mode", Word(&["extra-data", "overwrite"]), Else("\"extra-data\"", "as outputs.eve-log.xff"), "It stands beside the client's own address, or in its place."),
    engine("outputs.eve-log.files.xff.deployment", Word(&["reverse", "forward"]), Else("\"reverse\"", "as outputs.eve-log.xff"), "The last address counts, or the first."),
    engine("outputs.eve-log.files.xff.header", Text, Else("\"X-Forwarded-For\"", "as outputs.eve-log.xff"), "Name of the header."),
    engine("outputs.eve-log.http.xff.enabled", Flag, Else("false", "as outputs.eve-log.xff"), "The same of events of HTTP/1 alone, with settings of their own."),
    engine("outputs.eve-log.http.xff.mode", Word(&["extra-data", "overwrite"]), Else("\"extra-data\"", "as outputs.eve-log.xff"), "It stands beside the client's own address, or in its place."),
    engine("outputs.eve-log.http.xff.deployment", Word(&["reverse", "forward"]), Else("\"reverse\"", "as outputs.eve-log.xff"), "The last address counts, or the first."),
    engine("outputs.eve-log.http.xff.header", Text, Else("\"X-Forwarded-For\"", "as outputs.eve-log.xff"), "Name of the header."),
    engine("outputs.eve-log.alert.payload", Flag, Is("false"), "Alerts carry the payload in base64."),
    engine("outputs.eve-log.alert.payload-printable", Flag, Is("false"), "Alerts carry the payload as text."),
    engine("outputs.eve-log.alert.payload-buffer-size", Bytes, Is("\"4kb\""), "Bytes of payload that an alert carries; 4kb at most."),
    engine("outputs.eve-log.alert.payload-length", Flag, Is("false"), "Alerts tell how long the payload is that they could carry."),
    engine("outputs.eve-log.alert.packet", Flag, Is("false"), "Alerts carry the packet in base64."),
    engine("outputs.eve-log.alert.tagged-packets", Flag, Is("true"), "Packets that a `tag` asked for are events (`packet`)."),
    engine("outputs.eve-log.alert.verdict", Flag, Is("false"), "Alerts tell what was decided about the packet, by all its rules together (`verdict`)."),
    engine("outputs.eve-log.alert.http-body", Flag, Is("false"), "Alerts carry bodies of HTTP/1 in base64, 4 KiB of each, where they carry the transaction."),
    engine("outputs.eve-log.alert.http-body-printable", Flag, Is("false"), "The same as text."),
    engine("outputs.eve-log.alert.websocket-payload", Flag, Is("false"), "Alerts carry payloads of WebSocket in base64, 4 KiB at most, where they carry the transaction."),
    engine("outputs.eve-log.alert.websocket-payload-printable", Flag, Is("false"), "The same as text."),
    engine("outputs.eve-log.alert.metadata.app-layer", Flag, Is("true"), "Alerts carry the transaction."),
    engine("outputs.eve-log.alert.metadata.flow", Flag, Is("true"), "Alerts carry the counters of their flow."),
    engine("outputs.eve-log.alert.metadata.rule.metadata", Flag, Is("true"), "Alerts carry the rule's `metadata`."),
    engine("outputs.eve-log.alert.metadata.rule.reference", Flag, Is("false"), "Alerts carry the rule's references."),
    engine("outputs.eve-log.alert.metadata.rule.raw", Flag, Is("false"), "Alerts carry the text of the rule (`rule`), 4 KiB of it; all texts are then kept in memory."),
    engine("outputs.eve-log.anomaly.types.decode", Flag, Is("true"), "Anomalies of headers are events."),
    engine("outputs.eve-log.anomaly.types.stream", Flag, Is("true"), "Anomalies of TCP are events."),
    engine("outputs.eve-log.anomaly.types.applayer", Flag, Is("true"), "Anomalies that parsers find are events."),
    engine("outputs.eve-log.drop.flows", Word(&["all", "start"]), Is("\"all\""), "Drop events: of every packet, or once for each flow and direction."),
    engine("outputs.eve-log.drop.verdict", Flag, Is("false"), "Drop events tell the verdict in the form of alerts."),
    engine("outputs.eve-log.http.dump-all-headers", Word(&["none", "both", "request", "response"]), Is("\"none\""), "Events of HTTP/1 list all headers of these sides: 1 KiB of each, 8 KiB in all."),
    engine("outputs.eve-log.http.custom", Texts, Is("[]"), "Events of HTTP/1 list the headers of these names."),
    engine("outputs.eve-log.dns.requests", Flag, Is("true"), "Requests of DNS are events."),
    engine("outputs.eve-log.dns.responses", Flag, Is("true"), "Responses of DNS are events."),
    engine("outputs.eve-log.dns.formats", Texts, Is("[\"detailed\", \"grouped\"]"), "Events of DNS tell answers one by one, and by their types."),
    engine("outputs.eve-log.dhcp.extended", Flag, Is("true"), "Events of DHCP tell every message, and all that it says; no: only what assigns an address, in short."),
];

/// The key of this name.
pub fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Table and name within it.
fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('.').unwrap_or(("", name))
}

/// A text wrapped into comment lines.
fn comment(text: &str, out: &mut String) {
    const WIDTH: usize = 96;
    let mut length = 0;
    for word in text.split_whitespace() {
        if length == 0 || length + 1 + word.len() > WIDTH {
            out.push_str(if length == 0 { "#" } else { "\n#" });
            length = 1;
        }
        out.push(' ');
        out.push_str(word);
        length += 1 + word.len();
    }
    out.push('\n');
}

fn entry(key: &Key, out: &mut String) {
    comment(key.help, out);
    let (_, name) = split(key.name);
    let (value, active, otherwise) = match key.usual {
        Is(value) => (value, "", value),
        Else(example, otherwise) => (example, "# ", otherwise),
    };
    let words = match key.kind {
        Word(words) => words.join(", "),
        kind => kind.unit().to_string(),
    };
    comment(&format!("Takes {words}. Default: {otherwise}."), out);
    out.push_str(&format!("{active}{name} = {value}\n\n"));
}

/// The file that documents every key, each with its default.
pub fn reference() -> String {
    let mut out = String::from(REFERENCE_HEAD);
    let mut tables: Vec<&str> = KEYS.iter().map(|key| split(key.name).0).collect();
    let mut seen = Vec::new();
    tables.retain(|table| {
        let new = !seen.contains(table);
        seen.push(*table);
        new
    });
    // Keys without a table stand first: behind a table's head they would be its.
    tables.sort_by_key(|table| !table.is_empty());
    for table in tables {
        if !table.is_empty() {
            out.push_str(&format!("[{table}]\n\n"));
        }
        for key in KEYS.iter().filter(|key| split(key.name).0 == table) {
            entry(key, &mut out);
        }
    }
    out.push_str(REFERENCE_DATASETS);
    out.push_str(REFERENCE_VARIABLES);
    out
}

const REFERENCE_HEAD: &str = "\
# sluice.toml: every setting, what it takes, and what holds without it. `sluice config reference`
# writes this file. No setting is needed to start; `--set KEY=VALUE`, `--var NAME=VALUE` and all
# other options of the command line win over it. A key that nobody knows is refused.
#
#   sluice run --config sluice.toml
#   sluice config import suricata.yaml -o sluice.toml
#
# Where the default depends on how the engine runs, the line is behind a `#`.

";

const REFERENCE_DATASETS: &str = "\
# Datasets that rules name without a type, a table each: `type` (string, md5, sha256, ip, ipv4), the
# files that are read at start (`load`), written at the end (`save`) or both (`state`), relative to
# this file's folder, and how many values the set takes beside those of its file (`hashsize`,
# if more than 65536; or `memcap`, 128 bytes a value).
# [datasets.ua-seen]
# type = \"string\"
# state = \"ua-seen.lst\"
# hashsize = 65536

";

const REFERENCE_VARIABLES: &str = "\
# Variables of rules, by any name. Those of Suricata have their usual values without being named.
[vars]
# HOME_NET = \"[192.168.0.0/16,10.0.0.0/8,172.16.0.0/12]\"
# HTTP_PORTS = \"[80,8080]\"
";
