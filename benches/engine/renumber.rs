//! Gives the hosts of a frame other addresses of the same kind, and repairs every checksum that
//! covers them by what changed (RFC 1624), so that a right one stays right and a wrong one wrong.
//!
//! Private IPv4 addresses stay private, loopback, link-local and public ones what they are; multicast
//! and broadcast ones don't change (who is not known yet, 0.0.0.0, becomes one of 0.0.0.0/8). Of IPv6 addresses the lower half changes. Headers inside
//! tunnels and inside ICMP errors are renumbered as the others. Frames that are cut short or
//! malformed are renumbered as far as their headers reach.

/// Headers inside headers at most.
const DEPTH_MAX: usize = 6;

/// Which hosts become which: one secret per capture and pass.
#[derive(Clone, Copy)]
pub struct Numbering(pub u64);

/// Ones' complement sum of bytes, as if they began at an even place.
fn sum(bytes: &[u8]) -> u64 {
    bytes
        .chunks(2)
        .map(|pair| {
            u64::from(u16::from_be_bytes([
                pair[0],
                pair.get(1).copied().unwrap_or(0),
            ]))
        })
        .sum()
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Repairs the checksum at `at`: what it covers summed up to `before`, and does to `after` now.
fn repair(bytes: &mut [u8], at: usize, before: u64, after: u64) {
    let Some(field) = bytes.get_mut(at..at + 2) else {
        return;
    };
    let (before, after) = (fold(before), fold(after));
    if before == after {
        return;
    }
    let old = u16::from_be_bytes([field[0], field[1]]);
    let new = !fold(u64::from(!old) + u64::from(!before) + u64::from(after));
    field.copy_from_slice(&new.to_be_bytes());
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let field = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes([field[0], field[1]]))
}

impl Numbering {
    fn v4(self, address: &mut [u8]) {
        let low = self.0 as u32;
        let old = u32::from_be_bytes([address[0], address[1], address[2], address[3]]);
        let new = match address {
            [224..=255, ..] => old,
            [10, ..] => old ^ (low & 0x00ff_ffff),
            // The other private nets move into 10/8, where there is room for all passes.
            [172, 16..=31, ..] | [192, 168, ..] => 0x0a00_0000 | (old ^ low) & 0x00ff_ffff,
            [100 | 169 | 172 | 192 | 198, ..] => old ^ (low & 0x0000_ffff),
            _ => old ^ (low & 0x00ff_ffff),
        };
        address.copy_from_slice(&new.to_be_bytes());
    }

    fn v6(self, address: &mut [u8]) {
        if address[0] == 0xff {
            return;
        }
        let low = self.0.to_be_bytes();
        // The first half of an interface number stays, with what it says of its kind.
        for (byte, with) in address[11..15].iter_mut().zip(&low[..4]) {
            *byte ^= with;
        }
    }

    /// Renumbers what follows a link layer's header.
    pub fn frame(self, link: u32, frame: &mut [u8]) {
        match link {
            1 => self.by_type(frame, 12, 0),
            12 | 14 | 101 | 778 | 228 | 229 => self.ip(frame, 0),
            0 | 108 => self.ip(frame.get_mut(4..).unwrap_or_default(), 0),
            113 => self.by_type(frame, 14, 0),
            9 | 50 => {
                let framed = usize::from(frame.first() == Some(&0xff)) * 2;
                self.ip(frame.get_mut(framed + 2..).unwrap_or_default(), 0);
            }
            51 => self.ip(frame.get_mut(8..).unwrap_or_default(), 0),
            104 => self.by_type(frame, 2, 0),
            276 => {
                let kind = word(frame, 0).unwrap_or(0);
                self.network(kind, frame.get_mut(20..).unwrap_or_default(), 0);
            }
            _ => {}
        }
    }

    /// An ethertype stands at `at`, tags perhaps behind it.
    fn by_type(self, frame: &mut [u8], at: usize, depth: usize) {
        let kind = word(frame, at).unwrap_or(0);
        self.network(kind, frame.get_mut(at + 2..).unwrap_or_default(), depth);
    }

    fn network(self, kind: u16, bytes: &mut [u8], depth: usize) {
        if depth > DEPTH_MAX {
            return;
        }
        match kind {
            0x0800 | 0x86dd => self.ip(bytes, depth + 1),
            0x8100 | 0x88a8 | 0x9100 => self.by_type(bytes, 2, depth + 1),
            // PPPoE: six bytes, and PPP's own number of IPv4 or IPv6.
            0x8864 => self.ip(bytes.get_mut(8..).unwrap_or_default(), depth + 1),
            0x6558 => self.by_type(bytes, 12, depth + 1),
            0x8847 | 0x8848 => {
                let bottom = bytes
                    .chunks_exact(4)
                    .take(8)
                    .position(|label| label[2] & 1 == 1);
                if let Some(labels) = bottom {
                    self.ip(
                        bytes.get_mut(4 * (labels + 1)..).unwrap_or_default(),
                        depth + 1,
                    );
                }
            }
            _ => {}
        }
    }

    /// An IPv4 or IPv6 packet.
    fn ip(self, bytes: &mut [u8], depth: usize) {
        match bytes.first().map(|first| first >> 4) {
            Some(4) if bytes.len() >= 20 => self.ipv4(bytes, depth),
            Some(6) if bytes.len() >= 40 => self.ipv6(bytes, depth),
            _ => {}
        }
    }

    fn ipv4(self, bytes: &mut [u8], depth: usize) {
        let header = usize::from(bytes[0] & 15) * 4;
        let total = usize::from(word(bytes, 2).unwrap_or(0));
        let before = sum(&bytes[12..20]);
        self.v4(&mut bytes[12..16]);
        self.v4(&mut bytes[16..20]);
        let after = sum(&bytes[12..20]);
        repair(bytes, 10, before, after);
        let first = word(bytes, 6).unwrap_or(0) & 0x1fff == 0;
        let protocol = bytes[9];
        let end = total.max(header).min(bytes.len());
        if let Some(rest) = bytes.get_mut(header..end)
            && first
            && header >= 20
        {
            self.transport(protocol, rest, (before, after), depth);
        }
    }

    fn ipv6(self, bytes: &mut [u8], depth: usize) {
        let before = sum(&bytes[8..40]);
        self.v6(&mut bytes[8..24]);
        self.v6(&mut bytes[24..40]);
        let after = sum(&bytes[8..40]);
        let (mut next, mut at) = (bytes[6], 40);
        let end = (40 + usize::from(word(bytes, 4).unwrap_or(0))).min(bytes.len());
        for _ in 0..DEPTH_MAX {
            let Some(header) = bytes.get(at..(at + 8).min(end)).filter(|h| h.len() == 8) else {
                return;
            };
            let length = match next {
                0 | 43 | 60 => 8 + 8 * usize::from(header[1]),
                51 => 8 + 4 * usize::from(header[1]),
                44 if u16::from_be_bytes([header[2], header[3]]) & 0xfff8 == 0 => 8,
                44 => return,
                _ => break,
            };
            next = header[0];
            at += length;
        }
        if let Some(rest) = bytes.get_mut(at..end) {
            self.transport(next, rest, (before, after), depth);
        }
    }

    /// What an IP packet carries; `pseudo` is what the addresses summed up to, before and after.
    fn transport(self, protocol: u8, bytes: &mut [u8], pseudo: (u64, u64), depth: usize) {
        if depth > DEPTH_MAX {
            return;
        }
        let before = sum(bytes);
        let (at, covers_addresses) = match protocol {
            6 => (Some(16), true),
            17 => {
                let port = |at| word(bytes, at).unwrap_or(0);
                let (from, to) = (port(0), port(2));
                let none = port(6) == 0;
                let inner = bytes.get_mut(8..).unwrap_or_default();
                match (from, to) {
                    (_, 4789) => self.by_type(inner, 8 + 12, depth + 1),
                    (_, 6081) if inner.len() >= 8 => {
                        let options = usize::from(inner[0] & 63) * 4;
                        self.by_type(inner, 8 + options + 12, depth + 1);
                    }
                    (3544, _) | (_, 3544) => self.ip(inner, depth + 1),
                    _ => {}
                }
                ((!none).then_some(6), true)
            }
            1 if matches!(bytes.first(), Some(3 | 5 | 11 | 12)) => {
                self.ip(bytes.get_mut(8..).unwrap_or_default(), depth + 1);
                (Some(2), false)
            }
            58 => {
                if bytes.first().is_some_and(|kind| *kind < 128) {
                    self.ip(bytes.get_mut(8..).unwrap_or_default(), depth + 1);
                }
                (Some(2), true)
            }
            4 | 41 => {
                self.ip(bytes, depth + 1);
                (None, false)
            }
            47 => {
                self.gre(bytes, depth);
                (None, false)
            }
            _ => (None, false),
        };
        if let Some(at) = at {
            let (old, new) = if covers_addresses { pseudo } else { (0, 0) };
            let after = sum(bytes);
            repair(bytes, at, before + old, after + new);
        }
    }

    fn gre(self, bytes: &mut [u8], depth: usize) {
        let (flags, kind) = (word(bytes, 0).unwrap_or(0), word(bytes, 2).unwrap_or(0));
        let optional = [0x8000, 0x2000, 0x1000];
        let header = 4 + 4 * optional.iter().filter(|bit| flags & **bit != 0).count();
        if flags & 7 == 0 {
            self.network(kind, bytes.get_mut(header..).unwrap_or_default(), depth + 1);
        }
    }
}
