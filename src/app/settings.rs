//! Settings of single parsers (`app-layer.protocols.NAME...`, Suricata's key names), read once, so
//! that a parser asks an array and no list of names. HTTP's are http/settings.rs's.

use super::output::{is_off, is_on, size};
use super::protocol::{AppProtocol, Probe, Transport};

/// A number that a parser takes from the settings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Number {
    /// Bytes of an MQTT message behind its fixed header; longer ones are passed over.
    MqttMessage,
    /// MQTT exchanges that are open at once.
    MqttTransactions,
    /// Messages of an MQTT exchange.
    MqttMessages,
    /// Topics of one MQTT subscription; 0: any number.
    MqttSubscribed,
    /// Topics whose subscription one MQTT message ends; 0: any number.
    MqttUnsubscribed,
    /// Bytes of a WebSocket payload, and of a message, that are looked at.
    WebsocketPayload,
    /// Responses to one LDAP request.
    LdapResponses,
    /// LDAP requests without their last response.
    LdapTransactions,
    /// PostgreSQL queries without an answer.
    PgsqlTransactions,
    /// POP3 commands without an answer.
    Pop3Transactions,
    /// NFS calls without an answer.
    NfsTransactions,
    /// Streams of an HTTP/2 connection that are open at once.
    Http2Streams,
    /// Frames of a direction of an HTTP/2 stream.
    Http2Frames,
    /// DNP3 fragments that began and did not end.
    Dnp3Unended,
    /// Points of the objects of one DNP3 fragment.
    Dnp3Points,
    /// Objects of one DNP3 fragment.
    Dnp3Objects,
    /// EtherNet/IP requests without an answer.
    EnipTransactions,
    /// SMB exchanges that are open at once.
    SmbTransactions,
    /// Bytes that one SMB read may ask for; 0: any number.
    SmbRead,
    /// Bytes that one SMB write may carry; 0: any number.
    SmbWrite,
    /// Bytes of stub data of a direction of a DCERPC call on an SMB pipe.
    SmbStub,
    /// DCERPC calls that are open at once.
    DcerpcTransactions,
    /// Bytes of stub data of a direction of a DCERPC call.
    DcerpcStub,
}

impl Number {
    /// Whether 0 is a value; for the others it is none and changes nothing.
    const fn takes_zero(self) -> bool {
        use Number as N;
        let others = matches!(self, N::Dnp3Unended | N::Dnp3Points | N::Dnp3Objects)
            || matches!(self, N::EnipTransactions | N::SmbTransactions | N::SmbStub)
            || matches!(self, N::DcerpcTransactions | N::DcerpcStub);
        !others
    }
}

/// End of a key's name, what holds without it, and what is possible at most.
type Row = (Number, &'static str, u32, u32);

/// Streams that a connection's table has room for.
const HTTP2_STREAMS: u32 = super::http2::streams::STREAMS_MAX as u32;

const NUMBERS: [Row; 23] = [
    (
        Number::MqttMessage,
        ".mqtt.max-msg-length",
        128 << 10,
        128 << 10,
    ),
    (Number::MqttTransactions, ".mqtt.max-tx", 128, 500),
    (Number::MqttMessages, ".mqtt.max-messages", 1024, 1024),
    (
        Number::MqttSubscribed,
        ".mqtt.subscribe-topic-match-limit",
        100,
        4096,
    ),
    (
        Number::MqttUnsubscribed,
        ".mqtt.unsubscribe-topic-match-limit",
        100,
        4096,
    ),
    (
        Number::WebsocketPayload,
        ".websocket.max-payload-size",
        0xffff,
        0xffff,
    ),
    (
        Number::LdapResponses,
        ".ldap.max-responses",
        1024,
        u32::MAX - 1,
    ),
    (Number::LdapTransactions, ".ldap.max-tx", 256, 500),
    (
        Number::PgsqlTransactions,
        ".pgsql.max-tx",
        1024,
        u32::MAX - 2,
    ),
    (Number::Pop3Transactions, ".pop3.max-tx", 256, 0xfff0),
    (Number::NfsTransactions, ".nfs.max-tx", 1024, u32::MAX - 2),
    (
        Number::Http2Streams,
        ".http2.max-streams",
        HTTP2_STREAMS,
        HTTP2_STREAMS,
    ),
    (
        Number::Http2Frames,
        ".http2.max-frames",
        65_536,
        u32::MAX - 1,
    ),
    (Number::Dnp3Unended, ".dnp3.max-tx", 32, u32::MAX - 1),
    (Number::Dnp3Points, ".dnp3.max-points", 16_384, 16_384),
    (Number::Dnp3Objects, ".dnp3.max-objects", 2048, 2048),
    (Number::EnipTransactions, ".enip.max-tx", 64, 64),
    (Number::SmbTransactions, ".smb.max-tx", 128, 128),
    (Number::SmbRead, ".smb.max-read-size", 16 << 20, u32::MAX),
    (Number::SmbWrite, ".smb.max-write-size", 16 << 20, u32::MAX),
    (
        Number::SmbStub,
        ".smb.dcerpc.max-stub-size",
        128 << 10,
        128 << 10,
    ),
    (
        Number::DcerpcTransactions,
        ".protocols.dcerpc.max-tx",
        128,
        128,
    ),
    (
        Number::DcerpcStub,
        ".protocols.dcerpc.max-stub-size",
        128 << 10,
        128 << 10,
    ),
];

/// Bytes of a scheme of links with its `://`, and schemes, at most.
const SCHEME_MAX: usize = 32;
const SCHEMES_MAX: usize = 16;

/// What a link begins with.
#[derive(Clone, Copy, Default, Debug)]
pub struct Scheme {
    bytes: [u8; SCHEME_MAX],
    length: u8,
}

impl Scheme {
    /// `http` or `http://`; `None` if it is empty or too long.
    fn of(name: &str) -> Option<Scheme> {
        let name = name.trim_matches(['"', '\'', ' ', '/', ':']);
        let mut scheme = Scheme::default();
        let whole = name.bytes().chain(*b"://");
        for (place, byte) in whole.enumerate() {
            *scheme.bytes.get_mut(place)? = byte.to_ascii_lowercase();
            scheme.length += 1;
        }
        (!name.is_empty()).then_some(scheme)
    }

    /// With its `://`, in lower case.
    pub fn text(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or(&[])
    }
}

/// Protocols whose streams have a depth of their own, and their names in the settings.
const DEEP: [(AppProtocol, &str); 3] = [
    (
        AppProtocol::Modbus,
        "app-layer.protocols.modbus.stream-depth",
    ),
    (AppProtocol::Pgsql, "app-layer.protocols.pgsql.stream-depth"),
    (AppProtocol::Smb, "app-layer.protocols.smb.stream-depth"),
];

/// How many bytes of a direction are inspected of streams of these protocols, 0 for all: all,
/// unless a setting says otherwise. The protocol by its number.
pub fn stream_depths(settings: &[(String, String)]) -> [(u8, u32); DEEP.len()] {
    DEEP.map(|(protocol, name)| {
        let own = settings.iter().rev().find(|(key, _)| key == name);
        let depth = own.and_then(|(_, value)| size(value)).unwrap_or(0);
        (protocol as u8, u32::try_from(depth).unwrap_or(u32::MAX))
    })
}

/// The schemes whose links are looked for (`extract-urls-schemes`).
#[derive(Clone, Copy, Default, Debug)]
pub struct Schemes {
    list: [Scheme; SCHEMES_MAX],
    count: u8,
}

impl Schemes {
    fn of(names: &str) -> Schemes {
        let mut schemes = Schemes::default();
        let names = names.trim_matches(['[', ']']).split(',');
        for scheme in names.filter_map(|name| Scheme::of(name.trim())) {
            if let Some(place) = schemes.list.get_mut(usize::from(schemes.count)) {
                *place = scheme;
                schemes.count += 1;
            }
        }
        schemes
    }

    /// The schemes.
    pub fn iter(&self) -> impl Iterator<Item = &Scheme> {
        self.list.iter().take(usize::from(self.count))
    }
}

/// What mail is looked at for (`smtp.mime...`).
#[derive(Clone, Copy, Debug)]
pub struct Mail {
    /// Read headers and parts at all.
    pub decode: bool,
    /// Decode attachments in base64.
    pub base64: bool,
    /// Decode attachments in quoted-printable.
    pub quoted: bool,
    /// Look for links.
    pub links: bool,
    /// What links begin with.
    pub which: Schemes,
    /// Links with their scheme.
    pub schemes: bool,
    /// Hash bodies where a rule asks for it.
    pub body_md5: bool,
}

/// What becomes of payload that is encrypted (`encryption-handling`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Encryption {
    /// Rules about payload do not look at it.
    #[default]
    TrackOnly,
    /// It is looked at like any other.
    Full,
    /// Nothing of the flow is looked at any more.
    Bypass,
}

impl Encryption {
    fn of(word: &str) -> Option<Encryption> {
        Some(match word {
            "track-only" | "default" => Encryption::TrackOnly,
            "full" => Encryption::Full,
            "bypass" => Encryption::Bypass,
            _ => return None,
        })
    }
}

/// Settings of single parsers.
#[derive(Clone, Debug)]
pub struct Settings {
    numbers: [u32; NUMBERS.len()],
    /// Of SMTP.
    pub mail: Mail,
    /// Of TLS, once there is application data.
    pub tls: Encryption,
    /// Of SSH, once both sides have new keys.
    pub ssh: Encryption,
    /// Ports of servers that are asked for DNS, over TCP and over UDP.
    pub dns_ports: [Vec<u16>; 2],
    /// Ports of servers that are asked for protocols which their usual ports tell otherwise.
    pub moved: Vec<Moved>,
}

/// A protocol on other ports than the usual ones (`detection-ports.dp`).
#[derive(Clone, Debug)]
pub struct Moved {
    protocol: &'static str,
    /// Over which carrier; none: over any.
    carrier: Option<Transport>,
    usual: u16,
    ports: Vec<u16>,
}

/// Protocols that are looked for on some ports alone, and the one that stands for them.
const USUAL_PORTS: [(&str, u16); 15] = [
    ("dnp3", 20_000),
    ("enip", 44_818),
    ("ftp", 21),
    ("ike", 500),
    ("ldap", 389),
    ("modbus", 502),
    ("mqtt", 1883),
    ("ntp", 123),
    ("pgsql", 5432),
    ("pop3", 110),
    ("quic", 443),
    ("rdp", 3389),
    ("snmp", 161),
    ("telnet", 23),
    ("tftp", 69),
];

impl Moved {
    /// Of `NAME`, `NAME.tcp` or `NAME.udp`.
    fn of(name: &str, ports: Vec<u16>) -> Option<Moved> {
        let (name, carrier) = match name.split_once('.') {
            Some((name, "tcp")) => (name, Some(Transport::Tcp)),
            Some((name, "udp")) => (name, Some(Transport::Udp)),
            Some(_) => return None,
            None => (name, None),
        };
        let (protocol, usual) = *USUAL_PORTS.iter().find(|(known, _)| *known == name)?;
        Some(Moved {
            protocol,
            carrier,
            usual,
            ports,
        })
    }

    fn place(&self, port: u16) -> u16 {
        match self.ports.contains(&port) {
            true => self.usual,
            false => 0,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            numbers: NUMBERS.map(|(_, _, usual, _)| usual),
            dns_ports: [vec![53], vec![53]],
            moved: Vec::new(),
            tls: Encryption::default(),
            ssh: Encryption::default(),
            mail: Mail {
                decode: true,
                base64: true,
                quoted: true,
                links: true,
                which: Schemes::of("http"),
                schemes: false,
                body_md5: true,
            },
        }
    }
}

impl Settings {
    /// The number of a setting.
    pub fn number(&self, number: Number) -> u32 {
        self.numbers.get(number as usize).copied().unwrap_or(0)
    }

    /// Takes a setting in, if it is one of these.
    pub fn take(&mut self, key: &str, value: &str) {
        let mut rows = NUMBERS.iter().zip(&mut self.numbers);
        if let Some(((number, _, _, most), place)) =
            rows.find(|((_, end, ..), _)| key.ends_with(end))
            && let Some(value) = size(value)
            && (value > 0 || number.takes_zero())
        {
            *place = u32::try_from(value).unwrap_or(u32::MAX).min(*most);
        }
        self.take_ports(key, value);
        match key.strip_prefix("app-layer.protocols.") {
            Some("tls.encryption-handling") => self.tls = Encryption::of(value).unwrap_or(self.tls),
            Some("ssh.encryption-handling") => self.ssh = Encryption::of(value).unwrap_or(self.ssh),
            _ => {}
        }
        let Some((_, key)) = key.split_once(".smtp.mime.") else {
            return;
        };
        let on = is_on(value);
        match key {
            "decode-mime" => self.mail.decode = on,
            "decode-base64" => self.mail.base64 = on,
            "decode-quoted-printable" => self.mail.quoted = on,
            "extract-urls" => self.mail.links = on,
            "extract-urls-schemes" => self.mail.which = Schemes::of(value),
            "log-url-scheme" => self.mail.schemes = on,
            "body-md5" => self.mail.body_md5 = !is_off(value),
            _ => {}
        }
    }
}

impl Settings {
    fn take_ports(&mut self, key: &str, value: &str) {
        let Some(name) = key
            .strip_prefix("app-layer.protocols.")
            .and_then(|key| key.strip_suffix(".detection-ports.dp"))
        else {
            return;
        };
        let each = value.split(|c: char| !c.is_ascii_digit());
        let ports: Vec<u16> = each.filter_map(|port| port.parse().ok()).collect();
        match name {
            "dns.tcp" => self.dns_ports[0] = ports,
            "dns.udp" => self.dns_ports[1] = ports,
            name => self.moved.extend(Moved::of(name, ports)),
        }
    }

    /// Ports as a protocol's probe knows them: its usual one for those that the settings give it.
    pub fn placed<'a>(&self, protocol: AppProtocol, probe: &Probe<'a>) -> Probe<'a> {
        let fits = |moved: &&Moved| {
            moved.protocol == protocol.name()
                && moved
                    .carrier
                    .is_none_or(|carrier| carrier == probe.transport)
        };
        match self.moved.iter().rev().find(fits) {
            Some(moved) => Probe {
                client_port: moved.place(probe.client_port),
                server_port: moved.place(probe.server_port),
                ..*probe
            },
            None => *probe,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_at_their_numbers_and_values_are_bounded() {
        for (place, (number, ..)) in NUMBERS.iter().enumerate() {
            assert_eq!(*number as usize, place);
        }
        let mut settings = Settings::default();
        assert_eq!(settings.number(Number::LdapResponses), 1024);
        assert_eq!(settings.number(Number::LdapTransactions), 256);
        assert_eq!(settings.number(Number::MqttTransactions), 128);
        assert_eq!(settings.number(Number::EnipTransactions), 64);
        settings.take("app-layer.protocols.ldap.max-responses", "7");
        settings.take("app-layer.protocols.mqtt.max-msg-length", "1 MiB");
        settings.take("app-layer.protocols.smb.dcerpc.max-stub-size", "9");
        settings.take("app-layer.protocols.dnp3.max-points", "0");
        settings.take("app-layer.protocols.smb.max-read-size", "0");
        assert_eq!(settings.number(Number::SmbStub), 9);
        assert_eq!(settings.number(Number::DcerpcStub), 128 << 10);
        assert_eq!(settings.number(Number::Dnp3Points), 16_384, "0 is none");
        assert_eq!(settings.number(Number::SmbRead), 0, "any");
        settings.take("app-layer.protocols.smtp.mime.decode-mime", "no");
        assert_eq!(settings.number(Number::LdapResponses), 7);
        assert_eq!(settings.number(Number::MqttMessage), 128 << 10);
        assert!(!settings.mail.decode && settings.mail.base64);
        let key = "app-layer.protocols.smtp.mime.extract-urls-schemes";
        settings.take(key, "[HTTP, \"ftp://\", , mailto]");
        let texts: Vec<&[u8]> = settings.mail.which.iter().map(Scheme::text).collect();
        assert_eq!(texts, [&b"http://"[..], b"ftp://", b"mailto://"]);
    }
}
