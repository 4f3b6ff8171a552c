//! `sluice doctor IF...`: what stands between these ports and a wire that works, each finding with
//! why it matters and the exact line that mends it; `--fix` does what the line does.
//!
//! Facts come from rtnetlink (port/facts.rs), ethtool's ioctl (port/ethtool.rs) and the kernel's
//! own files; no command is run. What a port is refused for at start is guard.rs's, and told here
//! too. The machine around the ports is host.rs's.

pub mod host;

use std::io::IsTerminal;
use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::{Failure, exit, guard};
use crate::port::ethtool::{Ethtool, Offload};
use crate::port::facts::{Facts, Link};
use crate::port::rss::SYMMETRIC;

/// Arguments of `sluice doctor`.
#[derive(Args)]
pub struct DoctorArgs {
    /// Interfaces, in pairs as `run --inline` takes them; `netmap:` before a name asks for what
    /// netmap needs.
    #[arg(required = true, value_name = "IF")]
    pub ports: Vec<String>,
    /// Do what the lines say, as far as it can be undone (offloads, flow control, slots, hash key).
    #[arg(long)]
    pub fix: bool,
    /// Output: text, or json (one object with all findings).
    #[arg(long, default_value = "text")]
    pub format: String,
}

/// How much it matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// Costs speed or steadiness.
    Slow,
    /// Packets are lost, changed, or go round the inspection.
    Wrong,
}

/// What can be done about it without a command.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Cure {
    Offloads(Vec<Offload>),
    Pause,
    Rings,
    Hash,
    HashFields,
}

/// One finding.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Interface, or `host`.
    pub of: String,
    /// What was looked at: the same word whatever was found.
    pub about: &'static str,
    /// How much it matters.
    pub grade: Grade,
    /// What was found.
    pub what: String,
    /// Why it matters.
    pub why: &'static str,
    /// The line that mends it.
    pub remedy: Option<String>,
    /// `--fix` has done it, or why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fixed: Option<Result<(), String>>,
    #[serde(skip)]
    cure: Option<Cure>,
}

impl Finding {
    /// A finding without a remedy.
    pub fn new(of: &str, about: &'static str, grade: Grade, what: String) -> Finding {
        Finding {
            of: of.to_string(),
            about,
            grade,
            what,
            why: why(about),
            remedy: None,
            fixed: None,
            cure: None,
        }
    }

    /// With the line that mends it.
    pub fn mend(mut self, remedy: impl Into<String>) -> Finding {
        self.remedy = Some(remedy.into());
        self
    }

    fn cure(mut self, cure: Cure) -> Finding {
        self.cure = Some(cure);
        self
    }
}

/// Why something is looked at.
fn why(about: &'static str) -> &'static str {
    match about {
        "link" => "a port without a cable brings nothing, and a pair is only as good as both ends",
        "mode" => {
            "netmap on a driver that knows it shares the NIC's own rings; emulated netmap \
                   and AF_PACKET copy each frame and are several times slower"
        }
        "merging" => {
            "merged segments are longer than any slot and are dropped \
                      (port_frame_too_long); what is forwarded would no longer be what was sent"
        }
        "checksums" => {
            "a checksum left to the NIC is a wrong one on the wire: netmap sends what \
                        lies in the slot (AF_PACKET ports complete it)"
        }
        "vlan" => {
            "a tag that the NIC takes out is missing in the frame: netmap sees it without, \
                   AF_PACKET puts it back by a copy of the header"
        }
        "pause" => {
            "a NIC that obeys pause frames stops sending when its neighbour is slow, and \
                    the whole wire stands still"
        }
        "mtu" => {
            "a frame longer than a slot is dropped; ports of a pair with different MTU lose \
                  what only one of them can carry"
        }
        "slots" => "a burst that comes while a worker is away must fit the ring, or it is lost",
        "queues" => {
            "each lane serves one queue of both ports: a queue without a lane is a way \
                     round the inspection, and ports with different counts cannot be paired"
        }
        "hash" => {
            "if both directions of a flow come to different queues, every packet crosses \
                   to the lane that owns the flow"
        }
        "member" => {
            "the kernel forwards between the ports of a bridge or bond by itself, past the \
                     inspection; emulated netmap cannot open them at all"
        }
        "management" => {
            "an inline port hands its traffic to the other side and not to this \
                         machine: you would be cut off"
        }
        "around" => "packets that the kernel forwards are not inspected",
        "permissions" => {
            "opening a port needs CAP_NET_RAW, setting it up CAP_NET_ADMIN, locking \
                          its memory CAP_IPC_LOCK"
        }
        "huge pages" => {
            "the flow table is read at random: with 4 KiB pages each look-up pays for \
                         a walk through the page tables as well"
        }
        "isolated cores" => "a worker that another task interrupts lets its ring run full",
        "governor" => "a core that has to speed up first adds that time to the first packets",
        "numa" => "a NIC of the other node is reached through the link between nodes",
        _ => "",
    }
}

/// A port as it was named.
struct Port<'a> {
    name: &'a str,
    by_netmap: bool,
    link: &'a Link,
    driver: Ethtool,
}

/// Runs `sluice doctor`. Exit 1 if something is wrong.
///
/// # Errors
/// No such interface, or a kernel that does not answer (5).
pub fn run(args: &DoctorArgs) -> Result<u8, Failure> {
    let mut findings = examine(&args.ports)?;
    if args.fix {
        for finding in &mut findings {
            finding.fixed = cured(finding);
        }
    }
    if args.format == "json" {
        let json =
            serde_json::to_string_pretty(&findings).map_err(|error| Failure::new(70, error))?;
        println!("{json}");
    } else {
        print(&findings, std::io::stdout().is_terminal());
    }
    let bad = |f: &&Finding| f.grade == Grade::Wrong && f.fixed != Some(Ok(()));
    Ok(match findings.iter().find(bad) {
        Some(_) => exit::FINDINGS,
        None => exit::OK,
    })
}

/// Looks at ports, and at the machine.
///
/// # Errors
/// As [`run`].
pub fn examine(names: &[String]) -> Result<Vec<Finding>, Failure> {
    let device = |error: std::io::Error| {
        let hint = "the kernel does not tell of its interfaces (rtnetlink, ethtool)";
        Failure::new(exit::DEVICE, format!("{error}\n [hint] {hint}"))
    };
    let facts = Facts::read().map_err(device)?;
    let mut ports = Vec::new();
    for text in names {
        let name = text.strip_prefix("netmap:").unwrap_or(text);
        let Some(link) = facts.link(name) else {
            let known: Vec<&str> = facts.links.iter().map(|link| link.name.as_str()).collect();
            let text = format!(
                "{name}: no such interface\n [hint] there are {}",
                known.join(", ")
            );
            return Err(Failure::new(exit::DEVICE, text));
        };
        ports.push(Port {
            name,
            by_netmap: text.starts_with("netmap:"),
            link,
            driver: Ethtool::open(name).map_err(device)?,
        });
    }
    let mut findings = Vec::new();
    for port in &ports {
        findings.push(link(port));
        findings.push(mode(port));
        findings.extend(offloads(port));
        findings.extend(pause(port));
        findings.extend(slots(port));
        findings.extend(queues(port));
        findings.extend(hash(port));
        findings.push(member(port, &facts));
        findings.extend(numa(port));
        for finding in guard::management(&facts, port.link) {
            let grade = match finding.refuses {
                true => Grade::Wrong,
                false => Grade::Note,
            };
            let made = Finding::new(port.name, "management", grade, finding.what);
            findings.push(made.mend(finding.remedy));
        }
    }
    for pair in ports.chunks(2) {
        findings.extend(mtu(pair));
    }
    for (at, a) in ports.iter().enumerate() {
        for b in ports.iter().skip(at + 1) {
            for finding in guard::around(&facts, a.link, b.link) {
                let of = format!("{} {}", a.name, b.name);
                let made = Finding::new(&of, "around", Grade::Wrong, finding.what);
                findings.push(made.mend(finding.remedy));
            }
        }
    }
    findings.extend(host::examine(ports.len()));
    Ok(findings)
}

fn link(port: &Port<'_>) -> Finding {
    let name = port.name;
    let of = |grade, what: &str| Finding::new(name, "link", grade, what.to_string());
    match (port.link.is_up, port.link.has_carrier) {
        (true, true) => of(Grade::Ok, "up, with a carrier"),
        (true, false) => of(Grade::Wrong, "up, but no carrier")
            .mend("look at the cable, and at whether the other end is up"),
        (false, _) => of(Grade::Wrong, "it is switched off").mend(format!("ip link set {name} up")),
    }
}

fn mode(port: &Port<'_>) -> Finding {
    let driver = port.driver.driver().unwrap_or_default();
    let called = match (driver.name.is_empty(), port.link.kind.is_empty()) {
        (true, true) => "an unknown driver".to_string(),
        (true, false) => port.link.kind.clone(),
        (false, _) if driver.bus.is_empty() => format!("driver {}", driver.name),
        (false, _) => format!("driver {} ({})", driver.name, driver.bus),
    };
    let has_netmap = Path::new("/dev/netmap").exists();
    let knows = driver.knows_netmap();
    let of = |grade, what| Finding::new(port.name, "mode", grade, format!("{called}: {what}"));
    match (port.by_netmap, has_netmap, knows) {
        (true, false, _) => of(Grade::Wrong, "no netmap in this kernel")
            .mend("load the netmap module (modprobe netmap), or leave `netmap:` out"),
        (true, true, false) => of(Grade::Slow, "netmap is emulated for it").mend(
            "load the driver that was built with netmap, and admode=1 so that a wrong one fails",
        ),
        (_, true, true) => of(Grade::Ok, "netmap on the driver itself"),
        (false, true, false) => of(Grade::Note, "AF_PACKET; netmap would be emulated"),
        (false, false, _) => of(Grade::Note, "AF_PACKET (no netmap in this kernel)"),
    }
}

fn offloads(port: &Port<'_>) -> Vec<Finding> {
    use Offload::*;
    let groups: [(&'static str, &[Offload], Grade); 3] = [
        ("merging", &[Gro, Lro, Tso, Gso], Grade::Wrong),
        (
            "checksums",
            &[RxChecksum, TxChecksum],
            match port.by_netmap {
                true => Grade::Wrong,
                false => Grade::Note,
            },
        ),
        (
            "vlan",
            &[RxVlan, TxVlan],
            match port.by_netmap {
                true => Grade::Wrong,
                false => Grade::Slow,
            },
        ),
    ];
    groups
        .into_iter()
        .map(|(about, members, grade)| {
            let on: Vec<Offload> = members
                .iter()
                .copied()
                .filter(|one| port.driver.offload(*one) == Some(true))
                .collect();
            let words: Vec<&str> = on.iter().map(|one| one.word()).collect();
            if on.is_empty() {
                let all: Vec<&str> = members.iter().map(|one| one.word()).collect();
                let what = format!("{} off", all.join(", "));
                return Finding::new(port.name, about, Grade::Ok, what);
            }
            let off: Vec<String> = words.iter().map(|word| format!("{word} off")).collect();
            let what = format!("{} on", words.join(", "));
            let line = format!("ethtool -K {} {}", port.name, off.join(" "));
            Finding::new(port.name, about, grade, what)
                .mend(line)
                .cure(Cure::Offloads(on))
        })
        .collect()
}

fn pause(port: &Port<'_>) -> Option<Finding> {
    let (obeys, sends) = port.driver.pause()?;
    let of = |grade, what: &str| Finding::new(port.name, "pause", grade, what.to_string());
    Some(match obeys || sends {
        false => of(Grade::Ok, "flow control off"),
        true => of(Grade::Slow, "flow control on")
            .mend(format!("ethtool -A {} rx off tx off", port.name))
            .cure(Cure::Pause),
    })
}

fn slots(port: &Port<'_>) -> Option<Finding> {
    let rings = port.driver.rings().filter(|rings| rings.rx.1 > 0)?;
    let what = format!(
        "{} of {} slots to receive, {} of {} to send",
        rings.rx.0, rings.rx.1, rings.tx.0, rings.tx.1
    );
    let full = rings.rx.0 == rings.rx.1 && rings.tx.0 == rings.tx.1;
    let grade = if full { Grade::Ok } else { Grade::Slow };
    let finding = Finding::new(port.name, "slots", grade, what);
    Some(match full {
        true => finding,
        false => finding
            .mend(format!(
                "ethtool -G {} rx {} tx {}",
                port.name, rings.rx.1, rings.tx.1
            ))
            .cure(Cure::Rings),
    })
}

fn queues(port: &Port<'_>) -> Option<Finding> {
    let queues = port.driver.queues();
    let told = queues.and_then(|sizes| sizes.receiving());
    let count = told.unwrap_or(port.link.queues.0);
    let unequal = queues.is_some_and(|q| q.combined.0 == 0 && q.rx.0 != q.tx.0);
    let cores = std::thread::available_parallelism().map_or(1, |count| count.get());
    let of = |grade, what| Finding::new(port.name, "queues", grade, what);
    Some(if unequal {
        of(
            Grade::Wrong,
            format!("{count} queues to receive, but not as many to send"),
        )
        .mend(format!("ethtool -L {} rx {count} tx {count}", port.name))
    } else if count as usize > cores {
        of(
            Grade::Slow,
            format!("{count} queues for {cores} cores: workers share cores"),
        )
        .mend(format!("ethtool -L {} combined {cores}", port.name))
    } else {
        of(
            Grade::Ok,
            match count {
                1 => "1 queue: one lane serves it".to_string(),
                _ => format!("{count} queues: sluice run --lanes {count} serves each"),
            },
        )
    })
}

fn hash(port: &Port<'_>) -> Option<Finding> {
    let spread = port.driver.spread()?;
    let of = |grade, what: &str| Finding::new(port.name, "hash", grade, what.to_string());
    let queues = port.driver.queues().and_then(|queues| queues.receiving());
    let several = queues.is_some_and(|count| count > 1);
    if several && spread.is_symmetric() && !spread.is_by_addresses {
        let kinds = ["tcp4", "udp4", "tcp6", "udp6"];
        let line = |kind| format!("ethtool -N {} rx-flow-hash {kind} sd", port.name);
        let what = "both directions of a flow have the same hash, but of ports too: packets cross \
                    once to the lane that owns their hosts (with netmap, not if addresses alone are \
                    hashed)";
        let note = of(Grade::Note, what).mend(kinds.map(line).join(" && "));
        return Some(note.cure(Cure::HashFields));
    }
    if spread.is_symmetric() {
        return Some(of(
            Grade::Ok,
            "both directions of a flow have the same hash",
        ));
    }
    if spread.key.is_empty() {
        return Some(of(Grade::Note, "the driver does not tell its hash key"));
    }
    let hex = |byte: &u8| format!("{byte:02x}");
    let key: Vec<String> = SYMMETRIC
        .iter()
        .cycle()
        .take(spread.key.len())
        .map(hex)
        .collect();
    let line = format!("ethtool -X {} hkey {}", port.name, key.join(":"));
    let what = match spread.hashes_ports {
        Some(false) => "the hash key is not symmetric (it covers addresses alone)",
        _ => "the hash key is not symmetric",
    };
    Some(of(Grade::Slow, what).mend(line).cure(Cure::Hash))
}

fn member(port: &Port<'_>, facts: &Facts) -> Finding {
    let Some(master) = port.link.master else {
        let what = "member of no bridge or bond".to_string();
        return Finding::new(port.name, "member", Grade::Ok, what);
    };
    let known = facts.by_index(master);
    let (name, kind) = known.map_or(("?", "bridge"), |link| (&link.name, &link.kind));
    let grade = match port.by_netmap {
        true => Grade::Wrong,
        false => Grade::Slow,
    };
    Finding::new(
        port.name,
        "member",
        grade,
        format!("member of {kind} {name}"),
    )
    .mend(format!("ip link set {} nomaster", port.name))
}

/// Bytes of Ethernet header and one VLAN tag.
const ETHERNET_BYTES: u32 = 18;

fn mtu(pair: &[Port<'_>]) -> Vec<Finding> {
    let slot = std::fs::read_to_string("/sys/module/netmap/parameters/buf_size");
    let slot = slot.ok().and_then(|text| text.trim().parse::<u32>().ok());
    let mut findings: Vec<Finding> = pair
        .iter()
        .map(|port| {
            let mtu = port.link.mtu;
            match slot.filter(|_| port.by_netmap) {
                Some(slot) if mtu + ETHERNET_BYTES > slot => {
                    let what = format!("MTU {mtu}, but netmap's slots have {slot} bytes");
                    Finding::new(port.name, "mtu", Grade::Wrong, what).mend(format!(
                        "ip link set {} mtu {}, or netmap's parameter buf_size={}",
                        port.name,
                        slot.saturating_sub(ETHERNET_BYTES),
                        (mtu + ETHERNET_BYTES).next_power_of_two()
                    ))
                }
                Some(slot) => {
                    let what = format!("MTU {mtu}, slots of {slot} bytes");
                    Finding::new(port.name, "mtu", Grade::Ok, what)
                }
                None => {
                    let what = format!("MTU {mtu}, slots made for it");
                    Finding::new(port.name, "mtu", Grade::Ok, what)
                }
            }
        })
        .collect();
    if let [a, b] = pair
        && a.link.mtu != b.link.mtu
    {
        let what = format!("MTU {} and {}: not the same", a.link.mtu, b.link.mtu);
        let least = a.link.mtu.min(b.link.mtu);
        let of = format!("{} {}", a.name, b.name);
        let line = format!(
            "ip link set {} mtu {least}; ip link set {} mtu {least}",
            a.name, b.name
        );
        findings.push(Finding::new(&of, "mtu", Grade::Wrong, what).mend(line));
    }
    findings
}

fn numa(port: &Port<'_>) -> Option<Finding> {
    let path = format!("/sys/class/net/{}/device/numa_node", port.name);
    let node = std::fs::read_to_string(path).ok()?;
    let node = node.trim().parse::<u32>().ok()?;
    let cores = std::fs::read_to_string(format!("/sys/devices/system/node/node{node}/cpulist"));
    let what = format!("on node {node}, cores {}", cores.unwrap_or_default().trim());
    Some(Finding::new(port.name, "numa", Grade::Note, what))
}

/// Does what a finding's line says.
fn cured(finding: &Finding) -> Option<Result<(), String>> {
    let cure = finding.cure.as_ref()?;
    let device = match Ethtool::open(&finding.of) {
        Ok(device) => device,
        Err(error) => return Some(Err(error.to_string())),
    };
    let done = match cure {
        Cure::Offloads(list) => list.iter().try_for_each(|one| {
            let off = device.switch_off(*one);
            off.map_err(|error| std::io::Error::other(format!("{}: {error}", one.word())))
        }),
        Cure::Pause => device.pause_off(),
        Cure::Rings => device.rings_to_most(),
        Cure::Hash => device.make_symmetric(),
        Cure::HashFields => device.hash_addresses(),
    };
    Some(done.map_err(|error| error.to_string()))
}

fn print(findings: &[Finding], colour: bool) {
    let mut of = "";
    for finding in findings {
        if finding.of != of {
            println!("{}", finding.of);
            of = &finding.of;
        }
        let (mark, paint) = match finding.grade {
            Grade::Ok => ("ok   ", "32"),
            Grade::Note => ("note ", "0"),
            Grade::Slow => ("slow ", "33"),
            Grade::Wrong => ("WRONG", "31"),
        };
        let mark = match colour {
            true => format!("\x1b[{paint}m{mark}\x1b[0m"),
            false => mark.to_string(),
        };
        println!("  {mark} {}: {}", finding.about, finding.what);
        if finding.grade == Grade::Ok {
            continue;
        }
        println!("        why:  {}", finding.why);
        if let Some(remedy) = &finding.remedy {
            println!("        mend: {remedy}");
        }
        match &finding.fixed {
            Some(Ok(())) => println!("        done"),
            Some(Err(error)) => println!("        not done: {error}"),
            None => {}
        }
    }
    let count = |grade| findings.iter().filter(|f| f.grade == grade).count();
    println!(
        "{} wrong, {} slow, {} notes, {} ok",
        count(Grade::Wrong),
        count(Grade::Slow),
        count(Grade::Note),
        count(Grade::Ok)
    );
}
