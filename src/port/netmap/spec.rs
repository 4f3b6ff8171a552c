//! How a netmap port is named. The kernel takes a bare name; everything behind it is ours to read
//! (netmap(4) and its library write ports the same way).
//!
//! ```text
//!  netmap:IF   vale0:1          a NIC (all its rings), a port of a VALE switch
//!  netmap:x{1  netmap:x}1       the two ends of pipe 1 of x
//!  ...-3   ...^  ...^1          one ring; the host stack's rings, or one of them
//!  ...*                         NIC and host rings together: two ports for us, so refused
//!  .../RTxzrt                   receive only, transmit only, exclusive; monitors: zero copy, of
//!                               what is received, of what is transmitted
//!  ...@7                        memory region 7
//!  netmap-emu:SOCKET:x{1        a port of an emulated machine (emulation/wire.rs), for tests
//! ```

use std::path::PathBuf;

use netmap_sys::flag;

use crate::port::spec::SpecError;

/// Which rings of a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rings {
    /// All of the NIC's, or of the pipe or VALE port.
    All,
    /// One of them.
    One(u16),
    /// The host stack's.
    Host,
    /// One of the host stack's.
    OneHost(u16),
}

/// A netmap port as it was named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetmapSpec {
    /// Socket of the emulated machine that has the port; `None` for the kernel.
    pub emulation: Option<PathBuf>,
    /// The kernel's name: interface, VALE port, or either with a pipe.
    pub name: String,
    /// Which rings.
    pub rings: Rings,
    /// `RX_RINGS_ONLY`, `TX_RINGS_ONLY`, `EXCLUSIVE`, monitors.
    pub flags: u64,
    /// Memory region asked for.
    pub region: Option<u16>,
}

/// Letters behind the slash, and what they ask for.
const LETTERS: [(char, u64); 6] = [
    ('R', flag::RX_RINGS_ONLY),
    ('T', flag::TX_RINGS_ONLY),
    ('x', flag::EXCLUSIVE),
    ('z', flag::ZCOPY_MON),
    ('r', flag::MONITOR_RX),
    ('t', flag::MONITOR_TX),
];

const HOW: &str = "write netmap:IF, netmap:IF-RING, netmap:IF^ (host rings), netmap:x{1 (pipe) or \
                   vale0:1; behind it /R, /T, /x, /rtz and @REGION";

fn error<T>(text: &str, what: &str) -> Result<T, SpecError> {
    Err(SpecError {
        what: format!("`{text}`: {what}"),
        hint: HOW.to_string(),
    })
}

impl NetmapSpec {
    /// Whether a text is for this parser.
    pub fn is_one(text: &str) -> bool {
        ["netmap:", "netmap-emu:", "vale"]
            .iter()
            .any(|prefix| text.starts_with(prefix))
    }

    /// Reads a port's name.
    ///
    /// # Errors
    /// A text that names no port.
    pub fn parse(text: &str) -> Result<NetmapSpec, SpecError> {
        let (emulation, rest) = match text.strip_prefix("netmap-emu:") {
            Some(rest) => match rest.split_once(':') {
                Some((socket, port)) => (Some(PathBuf::from(socket)), port),
                None => return error(text, "an emulated port is netmap-emu:SOCKET:PORT"),
            },
            None => (None, text.strip_prefix("netmap:").unwrap_or(text)),
        };
        let (rest, region) = match rest.split_once('@') {
            Some((rest, number)) => match number.parse::<u16>() {
                Ok(region) if region > 0 => (rest, Some(region)),
                _ => return error(text, "a memory region is a number from 1 on"),
            },
            None => (rest, None),
        };
        let (rest, letters) = rest.split_once('/').unwrap_or((rest, ""));
        let mut flags = 0;
        for letter in letters.chars() {
            match LETTERS.iter().find(|(known, _)| *known == letter) {
                Some((_, flag)) => flags |= flag,
                None => {
                    return error(
                        text,
                        &format!("nothing is known behind the / as `{letter}`"),
                    );
                }
            }
        }
        if flags & flag::RX_RINGS_ONLY != 0 && flags & flag::TX_RINGS_ONLY != 0 {
            // Both alone is both together.
            flags &= !(flag::RX_RINGS_ONLY | flag::TX_RINGS_ONLY);
        }
        let (name, rings) = rings(text, rest)?;
        if name.is_empty() || name.len() >= netmap_sys::NAME_BYTES {
            return error(text, "a port's name has 1 to 63 bytes");
        }
        if name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '^' || c == '*') {
            return error(text, "that is no name of a port");
        }
        check_pipe(text, name)?;
        if name.starts_with("vale") && !name.contains(':') {
            return error(
                text,
                "a VALE port has the name of its switch and its own: vale0:1",
            );
        }
        Ok(NetmapSpec {
            emulation,
            name: name.to_string(),
            rings,
            flags,
            region,
        })
    }

    /// Whether the port is made by its opening (pipes, VALE) and takes any region.
    pub fn is_ephemeral(&self) -> bool {
        self.name.starts_with("vale") || self.name.contains(['{', '}'])
    }

    /// Whether nothing can be sent on the port: monitors, and what was named so.
    pub fn receives_only(&self) -> bool {
        self.flags & (flag::RX_RINGS_ONLY | flag::MONITOR_RX | flag::MONITOR_TX) != 0
    }

    /// The network interface behind the port, if there is one.
    pub fn interface(&self) -> Option<&str> {
        (!self.is_ephemeral() && self.emulation.is_none()).then_some(&self.name)
    }
}

/// Splits the rings off a name.
fn rings<'a>(text: &str, rest: &'a str) -> Result<(&'a str, Rings), SpecError> {
    if rest.ends_with('*') {
        return error(
            text,
            "NIC and host rings together are two ports: name IF and IF^ as a pair",
        );
    }
    if let Some((name, number)) = rest.split_once('^') {
        return match (number, number.parse()) {
            ("", _) => Ok((name, Rings::Host)),
            (_, Ok(ring)) => Ok((name, Rings::OneHost(ring))),
            _ => error(
                text,
                "behind ^ stands nothing, or the number of a host ring",
            ),
        };
    }
    // An interface's name may have a dash of its own: only a number behind the last one is a ring.
    if let Some((name, number)) = rest.rsplit_once('-')
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
    {
        return match number.parse() {
            Ok(ring) => Ok((name, Rings::One(ring))),
            Err(_) => error(text, "no NIC has so many rings"),
        };
    }
    Ok((rest, Rings::All))
}

/// A pipe has one brace, and an identifier behind it.
fn check_pipe(text: &str, name: &str) -> Result<(), SpecError> {
    let Some((parent, id)) = name.split_once(['{', '}']) else {
        return Ok(());
    };
    if parent.is_empty() || id.is_empty() || id.contains(['{', '}']) {
        return error(text, "a pipe's ends are NAME{ID and NAME}ID");
    }
    Ok(())
}

impl std::fmt::Display for NetmapSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.emulation {
            Some(socket) => write!(f, "netmap-emu:{}:", socket.display())?,
            None if self.name.starts_with("vale") => {}
            None => f.write_str("netmap:")?,
        }
        f.write_str(&self.name)?;
        match self.rings {
            Rings::All => {}
            Rings::One(ring) => write!(f, "-{ring}")?,
            Rings::Host => f.write_str("^")?,
            Rings::OneHost(ring) => write!(f, "^{ring}")?,
        }
        if self.flags != 0 {
            f.write_str("/")?;
            for (letter, flag) in LETTERS {
                if self.flags & flag != 0 {
                    write!(f, "{letter}")?;
                }
            }
        }
        match self.region {
            Some(region) => write!(f, "@{region}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_back() {
        for (text, name, rings, flags, region) in [
            ("netmap:eth0", "eth0", Rings::All, 0, None),
            ("netmap:eth0-0", "eth0", Rings::One(0), 0, None),
            ("netmap:br-lan", "br-lan", Rings::All, 0, None),
            ("netmap:br-lan-12", "br-lan", Rings::One(12), 0, None),
            ("netmap:eth0^", "eth0", Rings::Host, 0, None),
            ("netmap:eth0^1", "eth0", Rings::OneHost(1), 0, None),
            ("netmap:x{1", "x{1", Rings::All, 0, None),
            ("netmap:x}1@3", "x}1", Rings::All, 0, Some(3)),
            ("vale0:1", "vale0:1", Rings::All, 0, None),
            ("vale0:1{a", "vale0:1{a", Rings::All, 0, None),
            (
                "netmap:eth0-1/R",
                "eth0",
                Rings::One(1),
                flag::RX_RINGS_ONLY,
                None,
            ),
            ("netmap:eth0/xzrt@7", "eth0", Rings::All, 0xf00, Some(7)),
        ] {
            let spec = NetmapSpec::parse(text).unwrap();
            assert_eq!(
                (spec.name.as_str(), spec.rings, spec.flags, spec.region),
                (name, rings, flags, region),
                "{text}"
            );
            assert_eq!((spec.to_string().as_str(), spec.emulation), (text, None));
        }
        let spec = NetmapSpec::parse("netmap-emu:/run/emu:vale0:1@2").unwrap();
        assert_eq!(spec.emulation, Some(PathBuf::from("/run/emu")));
        assert_eq!((spec.name.as_str(), spec.region), ("vale0:1", Some(2)));
        assert_eq!(spec.to_string(), "netmap-emu:/run/emu:vale0:1@2");
        assert_eq!(NetmapSpec::parse("netmap:a/RT").unwrap().flags, 0);
        assert!(NetmapSpec::parse("netmap:a/rt").unwrap().receives_only());
        assert!(!NetmapSpec::parse("netmap:a/x").unwrap().receives_only());
    }

    #[test]
    fn wrong_names_say_what_to_do() {
        for (text, part) in [
            ("netmap:", "1 to 63 bytes"),
            ("netmap:eth 0", "no name of a port"),
            ("netmap:eth0*", "two ports"),
            ("netmap:eth0^x", "number of a host ring"),
            ("netmap:eth0-99999", "so many rings"),
            ("netmap:eth0/Q", "as `Q`"),
            ("netmap:eth0@0", "from 1 on"),
            ("netmap:eth0@x", "from 1 on"),
            ("netmap:{1", "NAME{ID"),
            ("netmap:x{", "NAME{ID"),
            ("netmap:x{1}2", "NAME{ID"),
            ("vale0", "vale0:1"),
            ("netmap-emu:/run/emu", "netmap-emu:SOCKET:PORT"),
        ] {
            let error = NetmapSpec::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
            assert!(error.contains("[hint] write netmap:IF"), "{error}");
        }
    }
}
