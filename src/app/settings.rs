//! Settings of single parsers (`app-layer.protocols.NAME...`, Suricata's key names), read once, so
//! that a parser asks an array and no list of names. HTTP's are http/settings.rs's.

use super::output::{is_off, is_on, size};

/// A number that a parser takes from the settings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Number {
    /// Bytes of an MQTT message behind its fixed header; longer ones are passed over.
    MqttMessage,
    /// Bytes of a WebSocket payload, and of a message, that are looked at.
    WebsocketPayload,
    /// Responses to one LDAP request.
    LdapResponses,
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
}

/// End of a key's name, what holds without it, and what is possible at most.
type Row = (Number, &'static str, u32, u32);

const NUMBERS: [Row; 8] = [
    (
        Number::MqttMessage,
        ".mqtt.max-msg-length",
        128 << 10,
        128 << 10,
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
    (
        Number::PgsqlTransactions,
        ".pgsql.max-tx",
        1024,
        u32::MAX - 2,
    ),
    (Number::Pop3Transactions, ".pop3.max-tx", 256, 0xfff0),
    (Number::NfsTransactions, ".nfs.max-tx", 1024, u32::MAX - 2),
    (Number::Http2Streams, ".http2.max-streams", 512, 512),
    (
        Number::Http2Frames,
        ".http2.max-frames",
        65_536,
        u32::MAX - 1,
    ),
];

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
    /// Links with their scheme.
    pub schemes: bool,
    /// Hash bodies where a rule asks for it.
    pub body_md5: bool,
}

/// Settings of single parsers.
#[derive(Clone, Debug)]
pub struct Settings {
    numbers: [u32; NUMBERS.len()],
    /// Of SMTP.
    pub mail: Mail,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            numbers: NUMBERS.map(|(_, _, usual, _)| usual),
            mail: Mail {
                decode: true,
                base64: true,
                quoted: true,
                links: true,
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
        let row = NUMBERS.iter().position(|(_, end, ..)| key.ends_with(end));
        if let Some((place, most)) =
            row.and_then(|at| Some((self.numbers.get_mut(at)?, NUMBERS.get(at)?.3)))
            && let Some(value) = size(value)
        {
            *place = u32::try_from(value).unwrap_or(u32::MAX).min(most);
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
            "log-url-scheme" => self.mail.schemes = on,
            "body-md5" => self.mail.body_md5 = !is_off(value),
            _ => {}
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
        settings.take("app-layer.protocols.ldap.max-responses", "7");
        settings.take("app-layer.protocols.mqtt.max-msg-length", "1 MiB");
        settings.take("app-layer.protocols.smtp.mime.decode-mime", "no");
        assert_eq!(settings.number(Number::LdapResponses), 7);
        assert_eq!(settings.number(Number::MqttMessage), 128 << 10);
        assert!(!settings.mail.decode && settings.mail.base64);
    }
}
