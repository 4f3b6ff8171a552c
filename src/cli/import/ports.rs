//! Pairs and taps of Suricata's capture sections, and what becomes of their other settings.

use std::collections::BTreeMap;

use super::{Fate, Leaf, Work, list, switch};

/// Why settings of a port have no effect here, by the beginning of their names.
#[rustfmt::skip] // One reason a line: a table to be read down.
const REASONS: &[(&str, &str)] = &[
    ("bpf-filter", "no BPF here: every frame is inspected; a `pass` rule lets hosts through uninspected"),
    ("bypass", "no BPF and no XDP here: a flow is bypassed by the engine itself"),
    ("ebpf-", "no BPF and no XDP here"),
    ("xdp-", "no BPF and no XDP here"),
    ("pinned-maps", "no BPF and no XDP here"),
    ("checksum-checks", "checksums are verified unless stream.checksum-validation is false"),
    ("cluster-", "flows are dealt to lanes by the kernel's hash, or by the NIC's on netmap"),
    ("disable-promisc", "a port takes all frames of its wire"),
    ("copy-mode", "no mode that copies whatever the verdict is"),
];

/// Ports of the capture sections.
#[derive(Default)]
pub(super) struct Ports {
    pairs: Vec<[String; 2]>,
    taps: Vec<String>,
    /// Entries of capture sections (`af-packet.0`, ...), and why no port was made of one.
    entries: BTreeMap<String, Option<&'static str>>,
}

impl Ports {
    pub fn of(leaves: &[Leaf]) -> Ports {
        let mut found = Ports::default();
        for (section, prefix) in [("af-packet", ""), ("netmap", "netmap:"), ("pcap", "")] {
            // Suricata's command line chooses a section; its own file has taps in all of them.
            let has_ports = !found.taps.is_empty() || !found.pairs.is_empty();
            for number in 0.. {
                let entry = format!("{section}.{number}");
                let of = |name: &str| {
                    let wanted = format!("{entry}.{name}");
                    let found = leaves.iter().find(|leaf| leaf.path == wanted);
                    found.map(Leaf::text)
                };
                let Some(interface) = of("interface") else {
                    break;
                };
                if interface == "default" {
                    continue;
                }
                let name = |interface: &str| match interface.contains(':') {
                    true => interface.to_string(),
                    false => format!("{prefix}{interface}"),
                };
                let near = name(&interface);
                let why = match (of("copy-mode").as_deref(), of("copy-iface")) {
                    (Some("ips"), Some(far)) => {
                        found.pair(near, name(&far));
                        None
                    }
                    (None | Some("none"), _) | (_, None) if !has_ports => {
                        found.taps.push(near);
                        None
                    }
                    (None | Some("none"), _) | (_, None) => {
                        Some("ports of a section before it are taken")
                    }
                    (Some(_), Some(_)) => Some("no mode that copies whatever the verdict is"),
                };
                found.entries.insert(entry, why);
            }
        }
        found
    }

    /// A direction of a pair; the other one says the same again.
    fn pair(&mut self, near: String, far: String) {
        let known = |pair: &[String; 2]| pair.contains(&near) && pair.contains(&far);
        if !self.pairs.iter().any(known) {
            self.pairs.push([near, far]);
        }
    }

    /// The key that names them, and remarks.
    pub fn setting(&self) -> (Option<(&'static str, String)>, Vec<String>) {
        let mut remarks = Vec::new();
        if self.pairs.is_empty() {
            let taps = (!self.taps.is_empty()).then(|| ("run.tap", list(&self.taps)));
            return (taps, remarks);
        }
        if !self.taps.is_empty() {
            remarks.push(format!(
                "{} are watched only: one process is a gate or a tap; run a second one with --tap \
                 for them",
                self.taps.join(", ")
            ));
        }
        let by_netmap = |pair: &&[String; 2]| pair[0].starts_with("netmap:");
        let netmap = self.pairs.iter().filter(by_netmap).count();
        if (1..self.pairs.len()).contains(&netmap) {
            let text = "there are pairs of af-packet and of netmap, and Suricata runs one section: \
                        take out of run.inline what is not meant";
            remarks.push(text.to_string());
        }
        let pairs: Vec<String> = self.pairs.iter().map(|pair| list(pair)).collect();
        let inline = format!("[{}]", pairs.join(", "));
        (Some(("run.inline", inline)), remarks)
    }
}

impl Work {
    /// A setting of a port; `None` if it is another's.
    pub(super) fn of_port(&mut self, leaf: &Leaf) -> Option<Fate> {
        let (entry, name) = leaf.path.rsplit_once('.')?;
        let (section, number) = entry.split_once('.')?;
        let is_section = ["af-packet", "netmap", "pcap"].contains(&section);
        if !is_section || number.parse::<u32>().is_err() {
            return None;
        }
        let text = leaf.text();
        // The entry of defaults makes no port.
        let known = self.ports.entries.get(entry);
        if let Some(Some(why)) = known {
            return Some(Fate::Left(why.to_string()));
        }
        let reason = REASONS.iter().find(|(part, _)| name.starts_with(part));
        let reason = reason.map_or("the port sees to it itself", |(_, why)| why);
        Some(match (name, known) {
            ("interface" | "copy-iface" | "copy-mode", Some(_)) => Fate::Used,
            ("threads", _) => match text.parse::<u32>() {
                Ok(lanes) => Fate::Key("run.lanes", lanes.to_string()),
                Err(_) => Fate::Left("lanes are given as a number: run.lanes".to_string()),
            },
            ("checksum-checks", _) if switch(&text) == Some("no") => {
                self.no_checksums(true);
                Fate::Used
            }
            ("interface", None) => {
                Fate::Left("defaults of ports: the port sees to it itself".to_string())
            }
            _ => Fate::Left(reason.to_string()),
        })
    }
}
