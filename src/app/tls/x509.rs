//! X.509 certificates (RFC 5280): a bounded reader of DER that finds what rules look at, and the
//! text form of names. Nothing is checked that a signature would prove. Nothing allocates.

use super::super::output::SCRATCH_SIZE;
use super::super::reader::{HEX_UPPER, Reader, hex, push, push_decimal};

/// Names of one name (relative distinguished names), and attributes of one of these, at most.
const ATTRIBUTES_MAX: usize = 256;
/// Extensions of a certificate at most.
const EXTENSIONS_MAX: usize = 256;

/// Tags (X.690 8.1.2).
mod tag {
    pub const INTEGER: u8 = 0x02;
    pub const BIT_STRING: u8 = 0x03;
    pub const OCTET_STRING: u8 = 0x04;
    pub const OID: u8 = 0x06;
    pub const UTF8: u8 = 0x0c;
    pub const UTC_TIME: u8 = 0x17;
    pub const GENERALIZED_TIME: u8 = 0x18;
    pub const BMP: u8 = 0x1e;
    pub const SEQUENCE: u8 = 0x30;
    pub const SET: u8 = 0x31;
    pub const VERSION: u8 = 0xa0;
    pub const ISSUER_ID: u8 = 0x81;
    pub const SUBJECT_ID: u8 = 0x82;
    pub const EXTENSIONS: u8 = 0xa3;
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// More is said to be there than is.
    Certificate,
    /// Ends before its end.
    Length,
    /// The version is no small number.
    Version,
    /// The serial number is no integer.
    Serial,
    /// An algorithm has no name.
    Algorithm,
    /// A name is none.
    Name,
    /// A date is none.
    Date,
    /// Extensions are none.
    Extensions,
    /// Anything else in the structure.
    Der,
}

/// What rules look at.
#[derive(Clone, Copy, Debug)]
pub struct Certificate<'a> {
    /// Serial number, big-endian.
    pub serial: &'a [u8],
    /// Sequence of the issuer's name.
    pub issuer: &'a [u8],
    /// Sequence of the subject's name.
    pub subject: &'a [u8],
    /// Seconds since the epoch.
    pub not_before: i64,
    /// Seconds since the epoch.
    pub not_after: i64,
    /// General names of the subject; none if there are two such extensions, or one is wrong.
    pub alternative: Option<&'a [u8]>,
}

/// An element: its tag and its content.
fn element<'a>(reader: &mut Reader<'a>) -> Option<(u8, &'a [u8])> {
    let tag = reader.u8()?;
    if tag & 0x1f == 0x1f {
        // Tags of several bytes have no use in certificates.
        return None;
    }
    let first = reader.u8()?;
    let length = if first & 0x80 == 0 {
        usize::from(first)
    } else {
        let count = usize::from(first & 0x7f);
        if count == 0 || count > 4 {
            return None;
        }
        let bytes = reader.take(count)?;
        bytes
            .iter()
            .fold(0usize, |sum, byte| sum << 8 | usize::from(*byte))
    };
    Some((tag, reader.take(length)?))
}

/// Whether tag and length of an element are all there.
fn has_length(mut reader: Reader<'_>) -> bool {
    let long = |first: u8| first & 0x80 != 0;
    let (tag, first) = (reader.u8(), reader.u8());
    match first.filter(|_| tag.is_some()) {
        Some(first) if long(first) => reader.take(usize::from(first & 0x7f)).is_some(),
        first => first.is_some(),
    }
}

fn expect<'a>(reader: &mut Reader<'a>, wanted: u8, fault: Fault) -> Result<&'a [u8], Fault> {
    match element(reader) {
        Some((tag, content)) if tag == wanted => Ok(content),
        _ => Err(fault),
    }
}

/// Takes the next element if it has this tag.
fn optional<'a>(reader: &mut Reader<'a>, wanted: u8) -> Option<&'a [u8]> {
    let mut ahead = *reader;
    let (tag, content) = element(&mut ahead)?;
    if tag != wanted {
        return None;
    }
    *reader = ahead;
    Some(content)
}

impl<'a> Certificate<'a> {
    /// Reads a certificate.
    ///
    /// # Errors
    /// The first [`Fault`] from its start.
    pub fn read(bytes: &'a [u8]) -> Result<Certificate<'a>, Fault> {
        let mut reader = Reader::new(bytes);
        if bytes.first() != Some(&tag::SEQUENCE) {
            return Err(Fault::Der);
        }
        let whole = expect(&mut reader, tag::SEQUENCE, Fault::Length)?;
        let mut reader = Reader::new(whole);
        let mut ahead = reader;
        let signed = match element(&mut ahead) {
            // What it says is longer than the certificate, or not all of what it says is there.
            None if has_length(reader) => return Err(Fault::Certificate),
            None => return Err(Fault::Length),
            Some(_) => expect(&mut reader, tag::SEQUENCE, Fault::Der)?,
        };
        let certificate = Certificate::read_signed(signed)?;
        read_algorithm(&mut reader)?;
        expect(&mut reader, tag::BIT_STRING, Fault::Der)?;
        Ok(certificate)
    }

    fn read_signed(bytes: &'a [u8]) -> Result<Certificate<'a>, Fault> {
        let mut reader = Reader::new(bytes);
        if let Some(version) = optional(&mut reader, tag::VERSION) {
            let number = expect(&mut Reader::new(version), tag::INTEGER, Fault::Version)?;
            if number.is_empty() || number.len() > 4 {
                return Err(Fault::Version);
            }
        }
        let serial = expect(&mut reader, tag::INTEGER, Fault::Serial)?;
        read_algorithm(&mut reader)?;
        let issuer = expect(&mut reader, tag::SEQUENCE, Fault::Der)?;
        check_name(issuer)?;
        let validity = expect(&mut reader, tag::SEQUENCE, Fault::Der)?;
        let mut dates = Reader::new(validity);
        let not_before = read_date(&mut dates)?;
        let not_after = read_date(&mut dates)?;
        let subject = expect(&mut reader, tag::SEQUENCE, Fault::Der)?;
        check_name(subject)?;
        // The key.
        expect(&mut reader, tag::SEQUENCE, Fault::Der)?;
        optional(&mut reader, tag::ISSUER_ID);
        optional(&mut reader, tag::SUBJECT_ID);
        let mut alternative = None;
        if !reader.is_empty() {
            let extensions = expect(&mut reader, tag::EXTENSIONS, Fault::Extensions)?;
            alternative = read_extensions(extensions)?;
        }
        Ok(Certificate {
            serial,
            issuer,
            subject,
            not_before,
            not_after,
            alternative,
        })
    }

    /// Writes the serial number as `AB:CD`.
    pub fn write_serial(&self, out: &mut Vec<u8>) {
        out.clear();
        for (place, byte) in self.serial.iter().enumerate() {
            if place > 0 {
                push(out, b":", SCRATCH_SIZE);
            }
            push(out, &hex(*byte, HEX_UPPER), SCRATCH_SIZE);
        }
    }

    /// The general names of the subject.
    pub fn names(&self) -> impl Iterator<Item = GeneralName<'a>> + 'a {
        let mut reader = Reader::new(self.alternative.unwrap_or(&[]));
        std::iter::from_fn(move || {
            let (tag, content) = element(&mut reader)?;
            Some(GeneralName { tag, content })
        })
    }
}

fn read_algorithm(reader: &mut Reader<'_>) -> Result<(), Fault> {
    let algorithm = expect(reader, tag::SEQUENCE, Fault::Algorithm)?;
    expect(&mut Reader::new(algorithm), tag::OID, Fault::Algorithm)?;
    Ok(())
}

/// The extension of alternative names, if there is exactly one and it is right.
fn read_extensions(explicit: &[u8]) -> Result<Option<&[u8]>, Fault> {
    /// 2.5.29.17.
    const SUBJECT_ALTERNATIVE: &[u8] = &[0x55, 0x1d, 0x11];
    let list = expect(&mut Reader::new(explicit), tag::SEQUENCE, Fault::Extensions)?;
    let mut reader = Reader::new(list);
    let (mut found, mut count) = (None, 0);
    for _ in 0..EXTENSIONS_MAX {
        if reader.is_empty() {
            break;
        }
        let extension = expect(&mut reader, tag::SEQUENCE, Fault::Extensions)?;
        let mut parts = Reader::new(extension);
        let oid = expect(&mut parts, tag::OID, Fault::Extensions)?;
        if oid == SUBJECT_ALTERNATIVE {
            // Whether it is critical may stand between.
            let value = (0..2)
                .filter_map(|_| element(&mut parts))
                .find(|(tag, _)| *tag == tag::OCTET_STRING);
            found = value.map(|(_, value)| value);
            count += 1;
        }
    }
    if count != 1 {
        return Ok(None);
    }
    let names = found.and_then(|value| optional(&mut Reader::new(value), tag::SEQUENCE));
    Ok(names.filter(|names| are_names(names)))
}

fn are_names(names: &[u8]) -> bool {
    let mut reader = Reader::new(names);
    while !reader.is_empty() {
        let Some((tag, content)) = element(&mut reader) else {
            return false;
        };
        let good = match tag & 0x1f {
            1 | 2 | 6 => std::str::from_utf8(content).is_ok(),
            number => number <= 8,
        };
        if tag & 0xc0 != 0x80 || !good {
            return false;
        }
    }
    true
}

/// A name of RFC 5280 4.2.1.6.
#[derive(Clone, Copy, Debug)]
pub struct GeneralName<'a> {
    tag: u8,
    content: &'a [u8],
}

impl GeneralName<'_> {
    /// Writes it: host names and addresses of the web as they are, all else with its kind.
    pub fn write(&self, out: &mut Vec<u8>) {
        let kind = self.tag & 0x1f;
        out.clear();
        let before: &[u8] = match kind {
            0 => b"OtherName(",
            1 => b"RFC822Name(",
            3 => b"X400Address(<unparsed>",
            4 => b"DirectoryName(",
            5 => b"EDIPartyName(<unparsed>",
            7 => b"[",
            8 => b"RegisteredID(",
            _ => b"",
        };
        push(out, before, SCRATCH_SIZE);
        match kind {
            0 => {
                if let Some(oid) = optional(&mut Reader::new(self.content), tag::OID) {
                    write_oid(out, oid);
                }
                push(out, b", [...]", SCRATCH_SIZE);
            }
            4 => {
                let name = optional(&mut Reader::new(self.content), tag::SEQUENCE);
                append_name(out, name.unwrap_or(&[]));
            }
            7 => {
                for (place, byte) in self.content.iter().enumerate() {
                    let between: &[u8] = if place > 0 { b", " } else { b"" };
                    push(out, between, SCRATCH_SIZE);
                    push_decimal(out, u64::from(*byte), SCRATCH_SIZE);
                }
            }
            8 => write_oid(out, self.content),
            1 | 2 | 6 => {
                push(out, self.content, SCRATCH_SIZE);
            }
            _ => {}
        }
        let after: &[u8] = match kind {
            2 | 6 => b"",
            7 => b"]",
            _ => b")",
        };
        push(out, after, SCRATCH_SIZE);
    }
}

/// The attributes of a name, each with whether it begins a new relative name. Ends at the first
/// that is none.
fn attributes(name: &[u8]) -> impl Iterator<Item = (bool, Option<Attribute<'_>>)> {
    let mut sets = Reader::new(name);
    let mut set = Reader::new(&[]);
    let mut failed = false;
    std::iter::from_fn(move || {
        if failed {
            return None;
        }
        let begins = set.is_empty();
        if begins {
            if sets.is_empty() {
                return None;
            }
            let next = optional(&mut sets, tag::SET).filter(|set| !set.is_empty());
            set = Reader::new(next.unwrap_or(&[]));
        }
        let attribute = optional(&mut set, tag::SEQUENCE).and_then(Attribute::read);
        failed = attribute.is_none();
        Some((begins, attribute))
    })
    .take(ATTRIBUTES_MAX)
}

struct Attribute<'a> {
    oid: &'a [u8],
    tag: u8,
    value: &'a [u8],
}

impl<'a> Attribute<'a> {
    fn read(bytes: &'a [u8]) -> Option<Attribute<'a>> {
        let mut reader = Reader::new(bytes);
        let oid = optional(&mut reader, tag::OID)?;
        let (tag, value) = element(&mut reader)?;
        Some(Attribute { oid, tag, value })
    }
}

fn check_name(name: &[u8]) -> Result<(), Fault> {
    if attributes(name).all(|(_, attribute)| attribute.is_some()) {
        Ok(())
    } else {
        Err(Fault::Name)
    }
}

/// Writes a name as `C=FR, O=Example + OU=Web, CN=example.com`. A value that is no text of its kind
/// makes the whole name unreadable, as it does for Suricata.
pub fn write_name(out: &mut Vec<u8>, name: &[u8]) {
    out.clear();
    append_name(out, name);
}

fn append_name(out: &mut Vec<u8>, name: &[u8]) {
    let start = out.len();
    for (begins, attribute) in attributes(name) {
        let Some(attribute) = attribute else {
            break;
        };
        if out.len() > start {
            let between: &[u8] = if begins { b", " } else { b" + " };
            push(out, between, SCRATCH_SIZE);
        }
        match short_name(attribute.oid) {
            Some(name) => {
                push(out, name.as_bytes(), SCRATCH_SIZE);
            }
            None => {
                push(out, b"OID(", SCRATCH_SIZE);
                write_oid(out, attribute.oid);
                push(out, b")", SCRATCH_SIZE);
            }
        }
        push(out, b"=", SCRATCH_SIZE);
        if !write_value(out, attribute.tag, attribute.value) {
            out.truncate(start);
            push(out, b"<X509Error: Invalid X.509 name>", SCRATCH_SIZE);
            return;
        }
    }
}

fn write_value(out: &mut Vec<u8>, tag: u8, value: &[u8]) -> bool {
    match tag {
        // Object descriptor, UTF-8, numeric, printable, T61, videotex, IA5, graphic, visible,
        // general.
        0x07 | tag::UTF8 | 0x12..=0x16 | 0x19..=0x1b => {
            push(out, value, SCRATCH_SIZE);
            std::str::from_utf8(value).is_ok()
        }
        tag::BMP => {
            let units = value
                .chunks_exact(2)
                .map(|pair| u16::from(pair[0]) << 8 | u16::from(pair[1]));
            for unit in char::decode_utf16(units) {
                let Ok(unit) = unit else {
                    return false;
                };
                push(out, unit.encode_utf8(&mut [0; 4]).as_bytes(), SCRATCH_SIZE);
            }
            value.len().is_multiple_of(2)
        }
        _ => {
            for byte in value {
                push(out, &hex(*byte, HEX_UPPER), SCRATCH_SIZE);
            }
            true
        }
    }
}

/// Writes an object identifier with dots (X.690 8.19).
fn write_oid(out: &mut Vec<u8>, oid: &[u8]) {
    let (mut number, mut first) = (0u64, true);
    for byte in oid {
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        if std::mem::take(&mut first) {
            let root = (number / 40).min(2);
            push_decimal(out, root, SCRATCH_SIZE);
            number -= root * 40;
        }
        push(out, b".", SCRATCH_SIZE);
        push_decimal(out, number, SCRATCH_SIZE);
        number = 0;
    }
}

/// Names of attributes, as Suricata's certificate library has them.
fn short_name(oid: &[u8]) -> Option<&'static str> {
    let name = match oid {
        [0x55, 0x04, number] => match number {
            0 => "objectClass",
            1 => "aliasedEntryName",
            2 => "knowledgeInformation",
            3 => "CN",
            4 => "surname",
            5 => "serialNumber",
            6 => "C",
            7 => "L",
            8 => "ST",
            9 => "streetAddress",
            10 => "O",
            11 => "OU",
            12 => "title",
            13 => "description",
            14 => "searchGuide",
            15 => "businessCategory",
            16 => "postalAddress",
            17 => "postalCode",
            41 => "name",
            42 => "givenName",
            43 => "initials",
            44 => "generationQualifier",
            45 => "uniqueIdentifier",
            46 => "dnQualifier",
            _ => return None,
        },
        b"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x01" => "uid",
        b"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19" => "DC",
        b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01" => "Email",
        b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x02" => "unstructuredName",
        b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x07" => "challengePassword",
        b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x14" => "friendlyName",
        b"\x2b\x06\x01\x04\x01\x82\x37\x3c\x02\x01\x01" => "msJurisdictionLocality",
        b"\x2b\x06\x01\x04\x01\x82\x37\x3c\x02\x01\x02" => "msJurisdictionStateOrProvince",
        b"\x2b\x06\x01\x04\x01\x82\x37\x3c\x02\x01\x03" => "msJurisdictionCountry",
        _ => return None,
    };
    Some(name)
}

/// A date (RFC 5280 4.1.2.5), as seconds since the epoch.
fn read_date(reader: &mut Reader<'_>) -> Result<i64, Fault> {
    let (tag, text) = element(reader).ok_or(Fault::Date)?;
    let (year_digits, general) = match tag {
        tag::UTC_TIME => (2, false),
        tag::GENERALIZED_TIME => (4, true),
        _ => return Err(Fault::Date),
    };
    read_time(text, year_digits, general).ok_or(Fault::Date)
}

fn read_time(text: &[u8], year_digits: usize, general: bool) -> Option<i64> {
    let mut reader = Reader::new(text);
    let mut year = digits(&mut reader, year_digits)?;
    if !general {
        // X.680 47.3: the century of two digits.
        year += if year >= 50 { 1900 } else { 2000 };
    }
    let month = digits(&mut reader, 2).filter(|month| (1..=12).contains(month))?;
    let day = digits(&mut reader, 2).filter(|day| (1..=31).contains(day))?;
    let hour = digits(&mut reader, 2).filter(|hour| *hour < 24)?;
    let minute = digits(&mut reader, 2).filter(|minute| *minute < 60)?;
    let mut ahead = reader;
    let second = match digits(&mut ahead, 2) {
        Some(second) if second < 60 => {
            reader = ahead;
            second
        }
        Some(_) => return None,
        None => 0,
    };
    if general && matches!(reader.rest().first(), Some(b'.' | b',')) {
        reader.u8();
        while reader.rest().first().is_some_and(u8::is_ascii_digit) {
            reader.u8();
        }
    }
    let shift = match reader.u8() {
        Some(b'Z') => 0,
        Some(sign @ (b'+' | b'-')) => {
            let shift = digits(&mut reader, 2)? * 3600 + digits(&mut reader, 2)? * 60;
            if sign == b'+' { shift } else { -shift }
        }
        None if general => 0,
        _ => return None,
    };
    if !reader.is_empty() {
        return None;
    }
    let days = days_before(year, month, day);
    Some(days * 86_400 + hour * 3600 + minute * 60 + second - shift)
}

fn digits(reader: &mut Reader<'_>, count: usize) -> Option<i64> {
    let text = reader.take(count)?;
    text.iter().try_fold(0i64, |sum, digit| {
        let digit = digit.is_ascii_digit().then(|| i64::from(digit - b'0'))?;
        Some(sum * 10 + digit)
    })
}

/// Days from 1970-01-01 (Hinnant, "chrono-compatible low-level date algorithms").
pub fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
pub(in crate::app) mod tests {
    use super::*;

    /// An element with a short or long length.
    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![tag];
        if content.len() < 128 {
            out.push(content.len() as u8);
        } else {
            out.push(0x82);
            out.extend_from_slice(&(content.len() as u16).to_be_bytes());
        }
        out.extend_from_slice(content);
        out
    }

    fn attribute(oid: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
        der(0x30, &[der(0x06, oid), der(tag, value)].concat())
    }

    fn name(country: &[u8], common: &[u8]) -> Vec<u8> {
        let first = der(0x31, &attribute(&[0x55, 4, 6], 0x13, country));
        let both = [
            attribute(&[0x55, 4, 3], 0x0c, common),
            attribute(&[0x55, 4, 97], 0x0c, b"x"),
        ];
        let second = der(0x31, &both.concat());
        der(0x30, &[first, second].concat())
    }

    /// A certificate of version 3 with two alternative names; the key and signature are empty.
    pub fn certificate() -> Vec<u8> {
        let algorithm = der(0x30, &der(0x06, &[0x2a, 0x03]));
        let names = [der(0x82, b"example.com"), der(0x87, &[192, 0, 2, 1])].concat();
        let alternative = [
            der(0x06, &[0x55, 0x1d, 0x11]),
            der(0x04, &der(0x30, &names)),
        ];
        let extensions = der(0x30, &der(0x30, &alternative.concat()));
        let dates = [der(0x17, b"250102030405Z"), der(0x18, b"20500101000000Z")].concat();
        let signed = [
            der(0xa0, &der(0x02, &[2])),
            der(0x02, &[0, 0xab, 0xcd]),
            algorithm.clone(),
            name(b"FR", b"issuer"),
            der(0x30, &dates),
            name(b"DE", b"example.com"),
            der(0x30, &[]),
            der(0xa3, &extensions),
        ];
        let whole = [
            der(0x30, &signed.concat()),
            algorithm,
            der(0x03, &[0, 1, 2]),
        ];
        der(0x30, &whole.concat())
    }

    #[test]
    fn the_parts_of_a_certificate() {
        let bytes = certificate();
        let certificate = Certificate::read(&bytes).unwrap();
        let mut text = Vec::new();
        certificate.write_serial(&mut text);
        assert_eq!(text, b"00:AB:CD");
        write_name(&mut text, certificate.subject);
        assert_eq!(text, b"C=DE, CN=example.com + OID(2.5.4.97)=x");
        assert_eq!(certificate.not_before, 1_735_787_045);
        assert_eq!(certificate.not_after, 2_524_608_000);
        let names: Vec<_> = certificate
            .names()
            .map(|name| {
                name.write(&mut text);
                String::from_utf8_lossy(&text).into_owned()
            })
            .collect();
        assert_eq!(names, ["example.com", "[192, 0, 2, 1]"]);
    }

    #[test]
    fn every_cut_is_an_error_and_none_a_panic() {
        let bytes = certificate();
        for length in 0..bytes.len() {
            assert!(Certificate::read(&bytes[..length]).is_err(), "at {length}");
        }
        for place in 0..bytes.len() {
            for value in [0, 0x1f, 0x30, 0x7f, 0x80, 0x84, 0xff] {
                let mut broken = bytes.clone();
                broken[place] = value;
                if let Ok(certificate) = Certificate::read(&broken) {
                    let mut text = Vec::new();
                    write_name(&mut text, certificate.issuer);
                    certificate.names().for_each(|name| name.write(&mut text));
                }
            }
        }
    }

    #[test]
    fn a_name_that_is_no_text_is_said_to_be_so() {
        let mut text = Vec::new();
        let bad = der(0x31, &attribute(&[0x55, 4, 3], 0x0c, &[0xff, 0xfe]));
        write_name(&mut text, &bad);
        assert_eq!(text, b"<X509Error: Invalid X.509 name>");
        let wide = der(0x31, &attribute(&[0x55, 4, 10], 0x1e, &[0, b'A', 0, 0xe9]));
        write_name(&mut text, &wide);
        assert_eq!(text, "O=A\u{e9}".as_bytes());
    }

    #[test]
    fn dates_of_both_kinds() {
        assert_eq!(read_time(b"700101000000Z", 2, false), Some(0));
        assert_eq!(read_time(b"7001010000Z", 2, false), Some(0));
        assert_eq!(read_time(b"700101010000+0100", 2, false), Some(0));
        assert_eq!(read_time(b"19700101000001.5Z", 4, true), Some(1));
        assert_eq!(read_time(b"701301000000Z", 2, false), None);
        assert_eq!(read_time(b"", 2, false), None);
    }
}
