//! Clients behind proxies: the address that `X-Forwarded-For`, or the header that settings name, of a
//! transaction of HTTP/1 gives, beside those of the packet or in place of the client's. What counts as
//! an address is Suricata's rule: `[v6]`, a bare address, or IPv4 with a port.

use std::net::IpAddr;

use super::headers::Ends;
use super::http;
use super::text::{Address, Text};
use crate::app::record::{Record, Value};
use crate::app::{AppProtocol, Field};
use crate::config::Eve;
use crate::config::eve::Xff;
use crate::event::{Event, EventKind};
use crate::packet::Direction;

/// Bytes of a header that is looked at, less one.
const CHAIN_MAX: usize = 256;
/// Its least: the shortest address.
const CHAIN_MIN: usize = 7;

/// The address of an event's client, if it is to be told.
pub struct Forwarded(Option<(Address, bool)>);

impl Forwarded {
    /// What the transaction of an alert or a file says, where the settings ask for it.
    pub fn of(event: &Event, eve: &Eve) -> Forwarded {
        let asked = match event.kind {
            EventKind::Alert => eve.xff_of_alerts(),
            EventKind::File => eve.xff_of_files(),
            EventKind::App => eve.xff_of_http(),
            _ => None,
        };
        let found = |xff: &Xff| {
            let record = Record::new(&event.record)?;
            let chain = chain(record, &xff.header)?;
            Some((address(chain, xff.forward)?, xff.overwrite))
        };
        Forwarded(asked.and_then(found))
    }

    /// The ends of the event, with the client's address as found where it takes its place.
    pub fn put(&self, mut ends: Ends, direction: Direction) -> Ends {
        if let (Some((address, true)), Some((src, dst))) = (self.0, &mut ends.addrs) {
            match direction {
                Direction::ToServer => *src = address,
                Direction::ToClient => *dst = address,
            }
        }
        ends
    }

    /// The address where it stands beside the others.
    pub fn beside(&self) -> Option<Text<Address>> {
        let (address, _) = self.0.filter(|(_, overwrite)| !overwrite)?;
        Some(Text(address))
    }
}

/// The value of the header that names addresses; "": the usual one.
fn chain<'a>(record: Record<'a>, name: &str) -> Option<&'a [u8]> {
    if record.protocol() != AppProtocol::Http {
        return None;
    }
    record
        .parts()
        .find_map(|part| match (part.field, part.value) {
            (Field::HttpXff, Value::Bytes(chain)) if name.is_empty() => Some(chain),
            (Field::HttpRequestHeader, Value::Bytes(header)) if !name.is_empty() => {
                let found = http::name(header);
                let same = found.eq_ignore_ascii_case(name.as_bytes());
                header.get(found.len() + 2..).filter(|_| same)
            }
            _ => None,
        })
}

/// The first address of a list, or the last word.
fn address(chain: &[u8], first: bool) -> Option<Address> {
    if !(CHAIN_MIN..CHAIN_MAX).contains(&chain.len()) {
        return None;
    }
    let chain = std::str::from_utf8(chain).ok()?;
    let word = match first {
        true => chain.split(',').next(),
        false => chain.rsplit(' ').next(),
    }?;
    let bare = match word.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None if word.matches('.').count() == 3 => word.split(':').next()?,
        None => word,
    };
    Some(match bare.parse().ok()? {
        IpAddr::V4(v4) => Address::V4(v4.octets()),
        IpAddr::V6(v6) => Address::V6(v6.octets()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_from_either_end_of_the_list() {
        let shown = |chain: &str, first| address(chain.as_bytes(), first).map(|a| a.to_string());
        for (chain, first, last) in [
            ("1.2.3.4", Some("1.2.3.4"), Some("1.2.3.4")),
            ("1.2.3.4, 5.6.7.8", Some("1.2.3.4"), Some("5.6.7.8")),
            ("1.2.3.4:80, 5.6.7.8:99", Some("1.2.3.4"), Some("5.6.7.8")),
            ("unknown, 5.6.7.8", None, Some("5.6.7.8")),
            ("5.6.7.8, unknown", Some("5.6.7.8"), None),
            ("1.2.3", None, None),
            ("[12::34]:80", None, None),
        ] {
            assert_eq!(shown(chain, true).as_deref(), first, "{chain}");
            assert_eq!(shown(chain, false).as_deref(), last, "{chain}");
        }
        let v6 = "0012:0000:0000:0000:0000:0000:0000:0034";
        assert_eq!(shown("[12::34]", true).as_deref(), Some(v6));
    }
}
