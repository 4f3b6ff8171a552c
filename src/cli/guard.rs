//! Before `run --inline` opens a port: is it the operator's way in, and does the kernel carry the
//! same traffic past the gate? Both end in refusal, with the line that mends it; `--force` turns a
//! refusal into a warning. What is asked of the kernel is port/facts.rs's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use super::{Failure, exit};
use crate::port::facts::{Facts, Link};

/// Something that an inline port should not be, and what to do about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What is wrong.
    pub what: String,
    /// What to type.
    pub remedy: String,
    /// Packets would go round the inspection, or the operator would be cut off.
    pub refuses: bool,
}

/// Where the kernel's settings are.
const SETTINGS: &str = "/proc/sys/net";

/// The interface that a port is, as the kernel knows it; `None` for ports in memory and switches.
pub fn interface(port: &str) -> Option<&str> {
    let name = port.strip_prefix("netmap:").unwrap_or(port);
    if name.contains(':') {
        return None;
    }
    // What netmap's names say of rings, host side and memory.
    name.split(['^', '*', '/', '{', '}', '@']).next()
}

/// Refuses ports that must not be inline ports.
///
/// # Errors
/// Device (5), with every finding and its remedy.
pub fn check(ports: &[String], force: bool) -> Result<(), Failure> {
    let names: Vec<&str> = ports.iter().filter_map(|port| interface(port)).collect();
    if names.is_empty() {
        return Ok(());
    }
    let facts = Facts::read().map_err(|error| {
        let hint = "the kernel does not tell of its interfaces (rtnetlink); --force goes on";
        Failure::new(exit::DEVICE, format!("{error}\n [hint] {hint}"))
    });
    let facts = match facts {
        Ok(facts) => facts,
        Err(_) if force => return Ok(()),
        Err(failure) => return Err(failure),
    };
    let mut findings: Vec<Finding> = names
        .iter()
        .filter_map(|name| facts.link(name))
        .flat_map(|link| management(&facts, link))
        .collect();
    // Between ports of two wires, too: what changes wires is inspected by neither.
    for (at, a) in names.iter().enumerate() {
        for b in names.iter().skip(at + 1) {
            if let (Some(a), Some(b)) = (facts.link(a), facts.link(b)) {
                findings.extend(around(&facts, a, b));
            }
        }
    }
    let (refusals, notes): (Vec<_>, Vec<_>) =
        findings.into_iter().partition(|f| f.refuses && !force);
    for note in notes {
        eprintln!("note: {}\n [hint] {}", note.what, note.remedy);
    }
    if refusals.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = refusals
        .iter()
        .map(|f| format!("{}\n [hint] {}", f.what, f.remedy))
        .collect();
    let text = format!("{}\n [hint] --force starts all the same", lines.join("\n"));
    Err(Failure::new(exit::DEVICE, text))
}

/// Whether an interface looks like the operator's way in.
pub fn management(facts: &Facts, link: &Link) -> Vec<Finding> {
    let name = &link.name;
    let mut findings = Vec::new();
    if facts.has_default_route(link) {
        findings.push(Finding {
            what: format!(
                "{name} carries the default route: it is the management port, and an inline port \
                 gives its traffic to nobody on this machine"
            ),
            remedy: format!(
                "name another port, or move the management: ip route del default dev {name}"
            ),
            refuses: true,
        });
    }
    let used: Vec<IpAddr> = connected();
    let own = link.addresses.iter().map(|(address, _)| *address);
    if let Some(address) = own.clone().find(|address| used.contains(address)) {
        findings.push(Finding {
            what: format!(
                "{name} has the address {address}, over which TCP connections of this machine are \
                 open (ssh?)"
            ),
            remedy: format!(
                "name another port, or take the address away: ip addr flush dev {name}"
            ),
            refuses: true,
        });
    } else if let Some(address) = own.into_iter().find(|address| !is_link_local(*address)) {
        findings.push(Finding {
            what: format!(
                "{name} has the address {address}: this machine answers there itself, beside what \
                 is forwarded"
            ),
            remedy: format!("an inline port needs no address: ip addr flush dev {name}"),
            refuses: false,
        });
    }
    findings
}

/// Whether the kernel carries packets from one port to the other by itself.
pub fn around(facts: &Facts, a: &Link, b: &Link) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let (Some(ours), true) = (a.master, a.master == b.master) {
        let bridge = facts.by_index(ours);
        let bridge_name = bridge.map_or("a bridge", |link| link.name.as_str());
        findings.push(Finding {
            what: format!(
                "{} and {} are both ports of {bridge_name}: the kernel forwards every frame \
                 between them past the inspection",
                a.name, b.name
            ),
            remedy: format!(
                "ip link set {} nomaster; ip link set {} nomaster",
                a.name, b.name
            ),
            refuses: true,
        });
    }
    for (v6, family) in [(false, "IPv4"), (true, "IPv6")] {
        for (from, to) in [(a, b), (b, a)] {
            let Some(setting) = forwards(&from.name, v6) else {
                continue;
            };
            if !facts.leads_on(to, v6) {
                continue;
            }
            findings.push(Finding {
                what: format!(
                    "the kernel forwards {family} that comes in at {} and has a route out of {}: \
                     packets for its own link address go round the inspection",
                    from.name, to.name
                ),
                remedy: format!("sysctl -w {setting}=0, or ip addr flush dev {}", to.name),
                refuses: true,
            });
        }
    }
    findings
}

/// The setting by which the kernel forwards what comes in at an interface, if it is on.
pub fn forwards(name: &str, v6: bool) -> Option<String> {
    // IPv6 looks at one setting for all interfaces (ip-sysctl).
    let path = match v6 {
        false => format!("ipv4/conf/{name}/forwarding"),
        true => "ipv6/conf/all/forwarding".to_string(),
    };
    let value = std::fs::read_to_string(Path::new(SETTINGS).join(&path)).ok()?;
    (value.trim() == "1").then(|| format!("net.{}", path.replace('.', "/").replace('/', ".")))
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// Local addresses of TCP connections that are established, by the kernel's tables (proc(5)).
fn connected() -> Vec<IpAddr> {
    const ESTABLISHED: &str = "01";
    let mut found = Vec::new();
    for table in ["tcp", "tcp6"] {
        let path = format!("/proc/thread-self/net/{table}");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        for line in text.lines().skip(1) {
            let mut words = line.split_whitespace().skip(1);
            let (local, state) = (words.next(), words.nth(1));
            if state != Some(ESTABLISHED) {
                continue;
            }
            let address = local.and_then(|word| hex_address(word.split(':').next()?));
            found.extend(address);
        }
    }
    found
}

/// An address as the kernel's tables write it: words of 32 bits, each in the host's order.
fn hex_address(text: &str) -> Option<IpAddr> {
    let words: Option<Vec<u32>> = (0..text.len() / 8)
        .map(|word| {
            let digits = text.get(word * 8..word * 8 + 8)?;
            u32::from_str_radix(digits, 16).ok()
        })
        .collect();
    let bytes: Vec<u8> = words?.iter().flat_map(|word| word.to_ne_bytes()).collect();
    if let Ok(four) = <[u8; 4]>::try_from(bytes.as_slice()) {
        return Some(IpAddr::V4(Ipv4Addr::from(four)));
    }
    let sixteen: [u8; 16] = bytes.try_into().ok()?;
    let address = Ipv6Addr::from(sixteen);
    Some(
        address
            .to_ipv4_mapped()
            .map_or(IpAddr::V6(address), IpAddr::V4),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_told_from_ports_that_are_none() {
        let cases = [
            ("eth0", Some("eth0")),
            ("eth0.7", Some("eth0.7")),
            ("netmap:eth1", Some("eth1")),
            ("netmap:eth1/R", Some("eth1")),
            ("netmap:eth1^", Some("eth1")),
            ("mem:/run/x{0", None),
            ("vale0:1", None),
        ];
        for (port, expected) in cases {
            assert_eq!(interface(port), expected, "{port}");
        }
    }

    #[test]
    fn addresses_are_read_as_the_kernel_writes_them() {
        let word = |bytes: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(bytes));
        assert_eq!(
            hex_address(&word([10, 0, 0, 7])),
            Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7)))
        );
        let v6: String = [[0x20, 1, 0xd, 0xb8], [0; 4], [0; 4], [0, 0, 0, 1]]
            .map(word)
            .concat();
        assert_eq!(hex_address(&v6), Some("2001:db8::1".parse().unwrap()));
        let mapped: String = [[0; 4], [0; 4], [0, 0, 255, 255], [10, 0, 0, 7]]
            .map(word)
            .concat();
        assert_eq!(hex_address(&mapped), Some("10.0.0.7".parse().unwrap()));
        assert_eq!(hex_address("xyz"), None);
    }
}
