//! The two hellos of a TLS handshake (RFC 8446 4.1.2 and 4.1.3, RFC 5246 7.4.1): cuts them into the
//! parts that rules and fingerprints read. Shared with QUIC. Nothing is copied.

use super::super::reader::{Reader, words};

/// Bit of [`Hello::troubles`]: a length does not fit.
pub const LENGTH: u8 = 1;
/// Bit: the name is no host name.
pub const SNI_TYPE: u8 = 2;
/// Bit: the name is empty or too long.
pub const SNI_LENGTH: u8 = 4;
/// Bit: there are two names.
pub const SNI_TWICE: u8 = 8;

/// Longest host name of the server name extension.
const NAME_MAX: usize = 255;
/// Bytes of a random value.
const RANDOM: usize = 32;

/// Numbers of the extensions that are read.
mod extension {
    pub const SERVER_NAME: u16 = 0;
    pub const GROUPS: u16 = 10;
    pub const POINT_FORMATS: u16 = 11;
    pub const SIGNATURES: u16 = 13;
    pub const ALPN: u16 = 16;
    pub const TICKET: u16 = 35;
    pub const EARLY_DATA: u16 = 42;
    pub const SUPPORTED_VERSIONS: u16 = 43;
}

/// Who speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Speaker {
    /// ClientHello.
    Client,
    /// ServerHello.
    Server,
}

/// A hello, as far as it could be read.
#[derive(Clone, Copy, Default, Debug)]
pub struct Hello<'a> {
    /// The version field, 0 if there was none.
    pub version: u16,
    /// The first version of the supported versions extension that is one.
    pub supported: Option<u16>,
    /// 32 bytes, or none.
    pub random: &'a [u8],
    /// Session id.
    pub session: &'a [u8],
    /// Cipher suites, two bytes each (a server names one).
    pub ciphers: &'a [u8],
    /// Extensions that were read, with their heads.
    pub extensions: &'a [u8],
    /// Host name.
    pub sni: Option<&'a [u8]>,
    /// Names of protocols, each with its length before it.
    pub alpn: &'a [u8],
    /// Groups (elliptic curves), two bytes each.
    pub groups: &'a [u8],
    /// Point formats.
    pub formats: &'a [u8],
    /// Signature algorithms, two bytes each.
    pub signatures: &'a [u8],
    /// The client will send data right away.
    pub early_data: bool,
    /// There is a session ticket.
    pub ticket: bool,
    /// What was wrong, as bits.
    pub troubles: u8,
}

impl<'a> Hello<'a> {
    /// Reads a hello from the body of its handshake message.
    pub fn read(body: &'a [u8], speaker: Speaker) -> Hello<'a> {
        let mut hello = Hello::default();
        if hello.read_head(body, speaker).is_none() {
            hello.troubles |= LENGTH;
        }
        hello
    }

    fn read_head(&mut self, body: &'a [u8], speaker: Speaker) -> Option<()> {
        let mut reader = Reader::new(body);
        self.version = reader.u16()?;
        self.random = reader.take(RANDOM)?;
        // Drafts of TLS 1.3 up to 21 left session and compression out of the server's.
        let short = speaker == Speaker::Server && is_early_draft(self.version);
        if !short {
            self.session = reader.counted_u8()?;
        }
        self.ciphers = match speaker {
            Speaker::Client => reader.counted_u16()?,
            Speaker::Server => reader.take(2)?,
        };
        if !self.ciphers.len().is_multiple_of(2) {
            return None;
        }
        match speaker {
            Speaker::Client => {
                reader.counted_u8()?;
            }
            Speaker::Server if short => {}
            Speaker::Server => {
                reader.u8()?;
            }
        }
        if reader.len() < 2 {
            // Extensions are optional (RFC 5246 7.4.1.2).
            return Some(());
        }
        let extensions = reader.counted_u16()?;
        self.read_extensions(extensions, speaker)
    }

    fn read_extensions(&mut self, extensions: &'a [u8], speaker: Speaker) -> Option<()> {
        let mut reader = Reader::new(extensions);
        while !reader.is_empty() {
            let kind = reader.u16()?;
            let body = reader.counted_u16()?;
            if self.read_extension(kind, body, speaker).is_none() {
                return Some(());
            }
            let count = extensions.len() - reader.len();
            self.extensions = extensions.get(..count).unwrap_or(&[]);
        }
        Some(())
    }

    /// None, with its trouble noted, ends the reading of extensions.
    fn read_extension(&mut self, kind: u16, body: &'a [u8], speaker: Speaker) -> Option<()> {
        if body.is_empty() && kind != extension::EARLY_DATA && kind != extension::TICKET {
            return Some(());
        }
        let mut reader = Reader::new(body);
        let list = match kind {
            extension::SERVER_NAME => return self.read_name(body),
            extension::EARLY_DATA => {
                self.early_data = speaker == Speaker::Client;
                return Some(());
            }
            extension::TICKET => {
                self.ticket = true;
                return Some(());
            }
            extension::SUPPORTED_VERSIONS if speaker == Speaker::Server => {
                self.supported = reader.u16();
                self.supported.map(|_| &[][..])
            }
            extension::SUPPORTED_VERSIONS => reader.counted_u8().filter(|list| list.len() >= 2),
            extension::POINT_FORMATS => reader.counted_u8(),
            extension::GROUPS | extension::ALPN => reader.counted_u16(),
            extension::SIGNATURES => reader.counted_u16().filter(|list| list.len() % 2 == 0),
            _ => return Some(()),
        };
        let Some(list) = list else {
            self.troubles |= LENGTH;
            return None;
        };
        match kind {
            extension::SUPPORTED_VERSIONS if speaker == Speaker::Client => {
                self.supported = words(list).find(|version| is_version(*version));
            }
            extension::POINT_FORMATS => self.formats = list,
            extension::GROUPS => self.groups = list,
            extension::ALPN => self.alpn = list,
            extension::SIGNATURES => self.signatures = list,
            _ => {}
        }
        Some(())
    }

    /// RFC 6066 section 3.
    fn read_name(&mut self, body: &'a [u8]) -> Option<()> {
        let mut reader = Reader::new(body);
        let (Some(_), Some(kind)) = (reader.u16(), reader.u8()) else {
            self.troubles |= LENGTH;
            return None;
        };
        if kind != 0 {
            self.troubles |= SNI_TYPE;
            return None;
        }
        let Some(length) = reader.u16() else {
            self.troubles |= LENGTH;
            return None;
        };
        let name = reader.take(usize::from(length));
        let Some(name) = name.filter(|name| (1..=NAME_MAX).contains(&name.len())) else {
            self.troubles |= SNI_LENGTH;
            return None;
        };
        if self.sni.is_some() {
            self.troubles |= SNI_TWICE;
        } else {
            self.sni = Some(name);
        }
        Some(())
    }

    /// Numbers of the extensions, in their order.
    pub fn extension_numbers(&self) -> impl Iterator<Item = u16> + Clone + 'a {
        self.extensions().map(|(kind, _)| kind)
    }

    /// The extensions with what they hold, in their order.
    pub fn extensions(&self) -> impl Iterator<Item = (u16, &'a [u8])> + Clone + 'a {
        let mut reader = Reader::new(self.extensions);
        std::iter::from_fn(move || Some((reader.u16()?, reader.counted_u16()?)))
    }

    /// Names of protocols that are not empty.
    pub fn protocols(&self) -> impl Iterator<Item = &'a [u8]> + Clone + 'a {
        let mut reader = Reader::new(self.alpn);
        std::iter::from_fn(move || reader.counted_u8()).filter(|name| !name.is_empty())
    }

    /// The version that counts: drafts that used the version field are told apart from TLS 1.3.
    pub fn effective_version(&self) -> u16 {
        self.supported.unwrap_or(match self.version {
            0x7f01..=0x7f0f | 0x0304 => 0x7f01,
            version => version,
        })
    }
}

fn is_early_draft(version: u16) -> bool {
    version == 0x0304 || version >> 8 == 0x7f
}

/// Whether a number is a version of SSL 3 or TLS that was ever spoken.
pub fn is_version(version: u16) -> bool {
    matches!(
        version,
        0x0300..=0x0304 | 0x7f01 | 0x7f10..=0x7f1c | 0xfb14..=0xfb17 | 0xfb1a
    )
}

/// Values that clients make up to keep servers flexible (RFC 8701).
pub fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

#[cfg(test)]
pub(in crate::app) mod tests {
    use super::*;

    /// A ClientHello: two suites and a grease, server name, ALPN, groups, formats, signatures,
    /// supported versions.
    pub fn client_hello() -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend_from_slice(&[0x11; 32]);
        body.extend_from_slice(&[2, 0xaa, 0xbb]);
        body.extend_from_slice(&[0, 6, 0x0a, 0x0a, 0x13, 0x02, 0x13, 0x01]);
        body.extend_from_slice(&[1, 0]);
        let extensions: &[&[u8]] = &[
            b"\x1a\x1a\0\0",
            b"\0\0\0\x10\0\x0e\0\0\x0bexample.com",
            b"\0\x10\0\x0e\0\x0c\x02h2\x08http/1.1",
            b"\0\x0a\0\x06\0\x04\0\x1d\0\x17",
            b"\0\x0b\0\x02\x01\0",
            b"\0\x0d\0\x06\0\x04\x04\x03\x08\x04",
            b"\0\x2b\0\x05\x04\x03\x04\x03\x03",
        ];
        let extensions = extensions.concat();
        body.extend_from_slice(&(extensions.len() as u16).to_be_bytes());
        body.extend_from_slice(&extensions);
        body
    }

    #[test]
    fn the_parts_of_a_hello_are_found() {
        let body = client_hello();
        let hello = Hello::read(&body, Speaker::Client);
        assert_eq!(hello.troubles, 0);
        assert_eq!(hello.sni, Some(&b"example.com"[..]));
        assert_eq!(hello.supported, Some(0x0304));
        assert_eq!(hello.effective_version(), 0x0304);
        let protocols: Vec<_> = hello.protocols().collect();
        assert_eq!(protocols, [&b"h2"[..], &b"http/1.1"[..]]);
        let numbers: Vec<_> = hello.extension_numbers().collect();
        assert_eq!(numbers, [0x1a1a, 0, 16, 10, 11, 13, 43]);
    }

    #[test]
    fn a_hello_that_is_cut_says_so_and_keeps_what_there_was() {
        let body = client_hello();
        for length in 0..body.len() {
            let hello = Hello::read(&body[..length], Speaker::Client);
            let ended = length == 2 + 32 + 3 + 8 + 2 || length == 2 + 32 + 3 + 8 + 3;
            assert_eq!(hello.troubles == 0, ended, "at {length}");
        }
    }

    #[test]
    fn grease_is_known() {
        let found: Vec<_> = (0..=u16::MAX).filter(|value| is_grease(*value)).collect();
        assert_eq!(found.len(), 16);
        assert!(found.contains(&0x0a0a) && found.contains(&0xfafa));
    }
}
