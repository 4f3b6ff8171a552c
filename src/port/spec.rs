//! How a port is named on the command line: `eth0`, `mem:PATH{0`, `netmap:eth0`.

use std::path::PathBuf;

use super::memory::{End, Side};
use super::netmap::spec::NetmapSpec;

/// Longest interface name that Linux takes (IFNAMSIZ less its NUL).
const INTERFACE_NAME_MAX: usize = 15;

/// A port as it was named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PortSpec {
    /// A network interface by AF_PACKET.
    Interface(String),
    /// An end of a cable in shared memory.
    Memory {
        /// Socket at which the memory is handed over.
        path: PathBuf,
        /// Which end.
        end: End,
    },
    /// A port of netmap's.
    Netmap(NetmapSpec),
}

/// Why a name is no port's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SpecError {
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub hint: String,
}

impl std::fmt::Display for SpecError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n [hint] {}", self.what, self.hint)
    }
}

impl std::error::Error for SpecError {}

fn error<T>(what: String, hint: &str) -> Result<T, SpecError> {
    Err(SpecError {
        what,
        hint: hint.to_string(),
    })
}

impl PortSpec {
    /// Whether nothing can be sent on the port.
    pub fn receives_only(&self) -> bool {
        matches!(self, PortSpec::Netmap(spec) if spec.receives_only())
    }
}

impl std::str::FromStr for PortSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<PortSpec, SpecError> {
        if let Some(rest) = text.strip_prefix("mem:") {
            return memory(text, rest);
        }
        if NetmapSpec::is_one(text) {
            return NetmapSpec::parse(text).map(PortSpec::Netmap);
        }
        if text.contains('/') || text.ends_with(".pcap") || text.ends_with(".pcapng") {
            return error(
                format!("{text}: a file is no port"),
                "captures are read with `sluice replay FILE`",
            );
        }
        if text.is_empty() || text.len() > INTERFACE_NAME_MAX {
            return error(
                format!("`{text}`: an interface name has 1 to {INTERFACE_NAME_MAX} bytes"),
                "see `ip link` for the interfaces there are",
            );
        }
        if text.contains(|c: char| c.is_whitespace() || c == ':' || c == '{' || c == '}') {
            return error(
                format!("`{text}` is no interface name"),
                "write an interface name, or mem:PATH{0 and mem:PATH{1",
            );
        }
        Ok(PortSpec::Interface(text.to_string()))
    }
}

fn memory(text: &str, rest: &str) -> Result<PortSpec, SpecError> {
    let ends = [
        ("{0", Side::Inner, 0),
        ("{1", Side::Inner, 1),
        ("}0", Side::Outer, 0),
        ("}1", Side::Outer, 1),
    ];
    for (suffix, side, cable) in ends {
        match rest.strip_suffix(suffix) {
            Some("") => break,
            Some(path) => {
                return Ok(PortSpec::Memory {
                    path: PathBuf::from(path),
                    end: End { cable, side },
                });
            }
            None => {}
        }
    }
    error(
        format!("`{text}` names no end of a cable in memory"),
        "write mem:PATH{0 for the inside and mem:PATH{1 for the outside port, PATH being the \
         socket of pcap-replay",
    )
}

impl std::fmt::Display for PortSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PortSpec::Interface(name) => f.write_str(name),
            PortSpec::Netmap(spec) => spec.fmt(f),
            PortSpec::Memory { path, end } => {
                let side = match end.side {
                    Side::Inner => '{',
                    Side::Outer => '}',
                };
                write!(f, "mem:{}{side}{}", path.display(), end.cable)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_back() {
        for name in [
            "eth0",
            "enp3s0.7",
            "mem:/run/x{0",
            "mem:/run/x{1",
            "mem:x}0",
            "mem:{{}1",
            "netmap:eth0-1@2",
            "vale0:1",
        ] {
            let spec: PortSpec = name.parse().unwrap();
            assert_eq!(spec.to_string(), name);
        }
        assert_eq!(
            "mem:/run/x}1".parse(),
            Ok(PortSpec::Memory {
                path: PathBuf::from("/run/x"),
                end: End {
                    cable: 1,
                    side: Side::Outer
                },
            })
        );
    }

    #[test]
    fn wrong_names_say_what_to_do() {
        for (name, part) in [
            ("", "1 to 15 bytes"),
            ("a-name-that-is-too-long", "1 to 15 bytes"),
            ("eth 0", "no interface name"),
            ("netmap:eth0*", "two ports"),
            ("vale0", "vale0:1"),
            ("mem:{0", "mem:PATH{0"),
            ("mem:/run/x", "mem:PATH{0"),
            ("mem:/run/x{2", "mem:PATH{0"),
            ("./demo.pcap", "sluice replay"),
        ] {
            let error = name.parse::<PortSpec>().unwrap_err().to_string();
            assert!(error.contains(part), "{name}: {error}");
            assert!(error.contains("[hint]"));
        }
    }
}
