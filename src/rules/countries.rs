//! ByCountry of addresses: the database that `geoip` asks (MaxMind's format, GeoLite2-Country), and the
//! keyword.
//!
//! A rule's countries become a set of addresses while rules are read, so that a packet costs a search
//! in sorted ranges and no look into the database. An address without a country is of none, whether
//! the rule asks for countries or for others; IPv6 is asked as IPv4 is.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use hashbrown::HashMap;
use maxminddb::{PathElement, Reader, WithinOptions};

use super::argument::Argument;
use super::diagnostic::Problem;
use super::lex::shorten;
use super::parse::Builder;
use super::reputation::Side;
use super::signature::{AddressSet, PacketTest};

/// ByCountry of one rule at most.
const COUNTRIES_MAX: usize = 64;

type Range = ([u8; 16], [u8; 16]);
/// Countries, and whether these or all others are meant.
type Wanted = (Vec<[u8; 2]>, bool);
type ByCountry = HashMap<[u8; 2], Vec<Range>>;

/// A database of countries.
pub struct Countries {
    reader: Reader<Vec<u8>>,
    /// Read through when the first rule asks, or why that cannot be.
    countries: OnceLock<Result<ByCountry, String>>,
    /// Sets of the rules so far.
    sets: Mutex<HashMap<Wanted, Arc<AddressSet>>>,
}

impl std::fmt::Debug for Countries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Countries").finish_non_exhaustive()
    }
}

/// First and last address of a network, IPv4 mapped into IPv6.
fn range(address: IpAddr, length: u8) -> Range {
    let (address, length) = match address {
        IpAddr::V4(address) => (address.to_ipv6_mapped(), 96 + length.min(32)),
        // The lower 96 bits of the tree are IPv4's.
        IpAddr::V6(address) if length >= 96 && address.to_bits() >> 32 == 0 => {
            let low = u32::try_from(address.to_bits()).unwrap_or(0);
            (std::net::Ipv4Addr::from_bits(low).to_ipv6_mapped(), length)
        }
        IpAddr::V6(address) => (address, length),
    };
    let host = u128::MAX.checked_shr(u32::from(length)).unwrap_or(0);
    let first = address.to_bits() & !host;
    (first.to_be_bytes(), (first | host).to_be_bytes())
}

/// Sorts ranges and joins those that touch.
fn joined(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.sort_unstable();
    let mut all: Vec<Range> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        let reach = |range: &Range| u128::from_be_bytes(range.1).saturating_add(1);
        match all.last_mut() {
            Some(before) if reach(before) >= u128::from_be_bytes(first) => {
                before.1 = before.1.max(last);
            }
            _ => all.push((first, last)),
        }
    }
    all
}

impl Countries {
    /// Opens a database.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub fn open(path: &Path) -> Result<Countries, String> {
        let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
        Countries::of(bytes)
    }

    fn of(bytes: Vec<u8>) -> Result<Countries, String> {
        let reader = Reader::from_source(bytes).map_err(|error| error.to_string())?;
        Ok(Countries {
            reader,
            countries: OnceLock::new(),
            sets: Mutex::default(),
        })
    }

    fn read(&self) -> Result<ByCountry, String> {
        let path = [PathElement::Key("country"), PathElement::Key("iso_code")];
        let networks = self.reader.networks(WithinOptions::default());
        let mut countries = ByCountry::new();
        for found in networks.map_err(|error| error.to_string())? {
            let found = found.map_err(|error| error.to_string())?;
            let code = found.decode_path::<&str>(&path);
            let code = code.map_err(|error| error.to_string())?;
            let Some(code) = code.and_then(|code| code.as_bytes().try_into().ok()) else {
                continue;
            };
            let network = found.network().map_err(|error| error.to_string())?;
            let ranges: &mut Vec<Range> = countries.entry(code).or_default();
            ranges.push(range(network.ip(), network.prefix()));
        }
        Ok(countries)
    }

    /// The addresses of these countries, or of all others.
    fn set(&self, codes: &[[u8; 2]], others: bool) -> Result<Arc<AddressSet>, String> {
        let key = (codes.to_vec(), others);
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(set) = sets.get(&key) {
            return Ok(Arc::clone(set));
        }
        let countries = self.countries.get_or_init(|| self.read());
        let countries = countries.as_ref().map_err(Clone::clone)?;
        let wanted = countries
            .iter()
            .filter(|(code, _)| codes.contains(*code) != others);
        let ranges = joined(wanted.flat_map(|(_, ranges)| ranges).copied().collect());
        let set = Arc::new(AddressSet {
            ranges,
            ..AddressSet::default()
        });
        sets.insert(key, Arc::clone(&set));
        Ok(set)
    }
}

/// `geoip`: whether an address is of a rule's countries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Country {
    side: Side,
    set: Arc<AddressSet>,
}

impl Country {
    /// Whether the addresses are where the rule wants them.
    pub fn holds(&self, source: &[u8; 16], destination: &[u8; 16]) -> bool {
        let is_there = |address| self.set.contains(address);
        self.side.holds(is_there, source, destination)
    }
}

/// `geoip:[any|src|dst|both,]CC[,CC...]`; with a `!` before one of them all are meant to be none of
/// the address's.
pub fn parse<'a>(builder: &mut Builder<'a, '_>, argument: Argument<'a>) -> Result<(), Problem> {
    let mut words: Vec<&str> = argument.text.split(',').map(str::trim).collect();
    let side = match words.first().and_then(|word| Side::of(word)) {
        Some(side) => {
            words.remove(0);
            side
        }
        None => Side::Any,
    };
    let others = words.iter().any(|word| word.starts_with('!'));
    let mut codes = Vec::new();
    for word in words {
        let code = word.strip_prefix('!').unwrap_or(word);
        let code: Option<[u8; 2]> = code.as_bytes().try_into().ok();
        let Some(code) = code.filter(|code| code.iter().all(u8::is_ascii_uppercase)) else {
            return Err(argument
                .bad(format!("`{}` is no country", shorten(word)))
                .help("write geoip:src,US,CA or geoip:any,!DE (two capital letters, ISO 3166)"));
        };
        codes.push(code);
    }
    if codes.is_empty() || codes.len() > COUNTRIES_MAX {
        return Err(argument
            .bad(format!("{} countries", codes.len()))
            .help("name 1 to 64 countries"));
    }
    codes.sort_unstable();
    codes.dedup();
    let Some(countries) = builder.context.countries.clone() else {
        builder.executable("geoip without geoip-database", false);
        return Ok(());
    };
    let set = countries.set(&codes, others).map_err(|error| {
        argument
            .bad(format!("the database of countries cannot be read: {error}"))
            .help("geoip-database names a database of countries, e.g. GeoLite2-Country.mmdb")
    })?;
    builder.facts.other_event = true;
    builder
        .signature
        .packet
        .push(PacketTest::Country(Country { side, set }));
    Ok(())
}

/// A small database in MaxMind's format, for tests: networks and their countries.
#[doc(hidden)]
pub mod testing {
    /// Node of the tree: where 0 and 1 lead; 0 is nowhere, a number from `DATA` on is data.
    type Node = [u32; 2];
    const DATA: u32 = 1 << 31;

    fn record(country: &str) -> Vec<u8> {
        let mut bytes = b"\xe1\x47country\xe1\x48iso_code".to_vec();
        bytes.push(0x40 | country.len() as u8);
        bytes.extend_from_slice(country.as_bytes());
        bytes
    }

    fn metadata(nodes: u32) -> Vec<u8> {
        let mut bytes = b"\xab\xcd\xefMaxMind.com\xe9\x4anode_count\xc4".to_vec();
        bytes.extend_from_slice(&nodes.to_be_bytes());
        bytes.extend_from_slice(b"\x4brecord_size\xa2\x00\x18\x4aip_version\xa2\x00\x06");
        bytes.extend_from_slice(b"\x4ddatabase_type\x44Test\x49languages\x00\x04");
        bytes.extend_from_slice(b"\x5bbinary_format_major_version\xa2\x00\x02");
        bytes.extend_from_slice(b"\x5bbinary_format_minor_version\xa2\x00\x00");
        bytes.extend_from_slice(b"\x4bbuild_epoch\x08\x02\0\0\0\0\x60\0\0\0");
        bytes.extend_from_slice(b"\x4bdescription\xe0");
        bytes
    }

    /// The database's bytes. Networks are IPv6 (IPv4 below `::`), with the length of their prefix.
    pub fn database(networks: &[(u128, u8, &str)]) -> Vec<u8> {
        let (mut nodes, mut data): (Vec<Node>, Vec<u8>) = (vec![[0; 2]], Vec::new());
        for (address, length, country) in networks {
            let mut at = 0;
            for place in 0..*length {
                let bit = (address >> (127 - place) & 1) as usize;
                if place + 1 == *length {
                    nodes[at][bit] = DATA + data.len() as u32;
                } else if nodes[at][bit] == 0 {
                    nodes[at][bit] = nodes.len() as u32;
                    at = nodes.len();
                    nodes.push([0; 2]);
                } else {
                    at = nodes[at][bit] as usize;
                }
            }
            data.extend(record(country));
        }
        let count = nodes.len() as u32;
        let mut bytes = Vec::new();
        for next in nodes.iter().flatten() {
            let next = match *next {
                0 => count,
                next if next >= DATA => count + 16 + next - DATA,
                next => next,
            };
            bytes.extend_from_slice(&next.to_be_bytes()[1..]);
        }
        bytes.extend_from_slice(&[0; 16]);
        bytes.extend(data);
        bytes.extend(metadata(count));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::super::reputation::tests::mapped;
    use super::*;

    fn countries() -> Countries {
        let v4 = |a: u8, b: u8| u128::from(u32::from_be_bytes([a, b, 0, 0]));
        let v6 = 0x2001_0db8_u128 << 96;
        let networks = [
            (v4(10, 0), 96 + 16, "DE"),
            (v4(10, 1), 96 + 16, "FR"),
            (v4(10, 2), 96 + 16, "FR"),
            (v4(192, 168), 96 + 16, "US"),
            (v6, 32, "DE"),
        ];
        Countries::of(testing::database(&networks)).unwrap()
    }

    #[test]
    fn countries_become_ranges() {
        let countries = countries();
        let german = countries.set(&[*b"DE"], false).unwrap();
        assert_eq!(german.ranges.len(), 2);
        for (address, is) in [
            ("10.0.255.255", true),
            ("10.1.0.0", false),
            ("2001:db8:1::1", true),
            ("2001:db9::", false),
            ("::10.0.0.1", false),
        ] {
            assert_eq!(german.contains(&mapped(address)), is, "{address}");
        }
        let french = countries.set(&[*b"FR"], false).unwrap();
        assert_eq!(
            french.ranges,
            [(mapped("10.1.0.0"), mapped("10.2.255.255"))]
        );
    }

    #[test]
    fn others_are_those_of_some_other_country() {
        let countries = countries();
        let others = countries.set(&[*b"DE", *b"FR"], true).unwrap();
        assert!(others.contains(&mapped("192.168.3.4")));
        assert!(!others.contains(&mapped("10.1.0.1")));
        assert!(!others.contains(&mapped("11.0.0.1")), "of no country");
        let again = countries.set(&[*b"DE", *b"FR"], true).unwrap();
        assert!(Arc::ptr_eq(&others, &again));
    }

    #[test]
    fn what_is_no_database_says_so() {
        assert!(Countries::of(b"GIF89a".to_vec()).is_err());
        let mut cut = testing::database(&[(1 << 127, 8, "DE")]);
        let marker = cut.len() - 200;
        cut.drain(..marker.min(cut.len()));
        let read = Countries::of(cut).and_then(|countries| countries.set(&[*b"DE"], false));
        assert!(read.is_err());
    }
}
