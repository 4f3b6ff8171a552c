//! What `sluice run` says of each port once it is open, a line each: how its frames come, on which
//! driver, in how many rings for how many lanes, whether both directions of a flow meet, and what
//! the NIC still does to frames. What is wrong with a port and how to mend it, in full, is
//! `sluice doctor`'s; what a port is refused for is guard.rs's.

use std::fmt;

use crate::port::ethtool::{Ethtool, Offload, Spread};
use crate::port::netmap::spec::Rings;
use crate::port::open::OpenOptions;
use crate::port::rss::{Rss, SYMMETRIC};
use crate::port::spec::PortSpec;

/// How frames come from a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// Rings in shared memory.
    Memory,
    /// Sockets of AF_PACKET; the kernel spreads flows over lanes, both directions alike
    /// (packet(7), PACKET_FANOUT_HASH).
    Packet {
        /// TPACKET_V3, in blocks.
        blocks: bool,
    },
    /// A driver's own rings.
    Native,
    /// Netmap's rings, filled from the host's way of receiving.
    Emulated,
    /// Netmap's own ports: pipes, switches, the host's rings, emulated machines.
    Software(&'static str),
}

/// An open port.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Start {
    name: String,
    way: Way,
    driver: Option<String>,
    /// Queues of the NIC, where its driver tells them.
    rings: Option<u32>,
    lanes: usize,
    /// Whether the NIC's hash is the same in both directions, where it tells its key.
    is_symmetric: Option<bool>,
    /// How the NIC deals to its queues, if by addresses alone.
    rss: Option<Rss>,
    /// What the NIC still does to frames and should not.
    on: Vec<Offload>,
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Offloads that change what comes through a port.
fn harmful(way: Way) -> &'static [Offload] {
    use Offload::*;
    match way {
        Way::Packet { .. } => &[Tso, Gso, Gro, Lro, RxVlan, TxVlan],
        Way::Native | Way::Emulated => &Offload::ALL,
        Way::Memory | Way::Software(_) => &[],
    }
}

impl Start {
    fn of(name: &str, spec: &PortSpec, options: &OpenOptions) -> Start {
        let (way, interface) = match spec {
            PortSpec::Memory { .. } => (Way::Memory, None),
            PortSpec::Interface(name) => (
                Way::Packet {
                    blocks: options.blocks,
                },
                Some(name.as_str()),
            ),
            PortSpec::Netmap(spec) if spec.emulation.is_some() => {
                (Way::Software("emulated machine (for tests)"), None)
            }
            PortSpec::Netmap(spec) => match (spec.interface(), spec.rings) {
                (Some(name), Rings::All | Rings::One(_)) => (Way::Emulated, Some(name)),
                (Some(_), _) => (Way::Software("netmap, rings of the host stack"), None),
                (None, _) if spec.name.starts_with("vale") => (Way::Software("VALE switch"), None),
                (None, _) => (Way::Software("netmap pipe"), None),
            },
        };
        let mut start = Start {
            name: name.to_string(),
            way,
            driver: None,
            rings: None,
            lanes: options.lanes,
            is_symmetric: None,
            rss: None,
            on: Vec::new(),
        };
        if let Some(Ok(asked)) = interface.map(Ethtool::open) {
            start.ask(&asked);
        }
        start
    }

    fn ask(&mut self, asked: &Ethtool) {
        let driver = asked.driver();
        if self.way == Way::Emulated && driver.as_ref().is_some_and(|driver| driver.knows_netmap())
        {
            self.way = Way::Native;
        }
        self.driver = driver.map(|driver| driver.name);
        self.rings = asked.queues().and_then(|queues| queues.receiving());
        let spread = asked
            .spread()
            .filter(|spread| spread.is_folded || !spread.key.is_empty());
        self.is_symmetric = spread.as_ref().map(Spread::is_symmetric);
        // A lane of any other port is no queue.
        if matches!(self.way, Way::Native | Way::Emulated) {
            self.rss = spread.and_then(|spread| spread.by_addresses());
        }
        let is_on = |offload: &&Offload| asked.offload(**offload) == Some(true);
        self.on = harmful(self.way).iter().filter(is_on).copied().collect();
    }

    /// What matters so much that it is told beside the line.
    fn warning(&self) -> Option<String> {
        let name = &self.name;
        let by_nic = matches!(self.way, Way::Native | Way::Emulated);
        if by_nic && self.lanes > 1 && self.is_symmetric == Some(false) {
            let key = SYMMETRIC.map(|byte| format!("{byte:02x}")).join(":");
            let interface = name.strip_prefix("netmap:").unwrap_or(name);
            return Some(format!(
                "{name}: its RSS key is not symmetric: both directions of a flow come to \
                 different lanes, and packets cross (sluice_mesh_crossed_total)\n [hint] ethtool -X \
                 {interface} hkey {key}:... over the key's whole length; `sluice doctor --fix` does"
            ));
        }
        None
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {}: ", self.name)?;
        match self.way {
            Way::Memory => write!(f, "shared memory")?,
            Way::Packet { blocks: false } => write!(f, "AF_PACKET (TPACKET_V2)")?,
            Way::Packet { blocks: true } => write!(f, "AF_PACKET (TPACKET_V3)")?,
            Way::Native => write!(f, "native netmap")?,
            Way::Emulated => write!(f, "EMULATED netmap (each frame is copied)")?,
            Way::Software(what) => write!(f, "{what}")?,
        }
        if let Some(driver) = &self.driver {
            write!(f, " on {driver}")?;
        }
        let lanes = count(self.lanes, "lane");
        match self.rings {
            Some(rings) => write!(f, ", {} for {}", count(rings as usize, "ring"), lanes)?,
            None => write!(f, ", {lanes}")?,
        }
        if self.lanes > 1 {
            match (self.way, self.is_symmetric) {
                (Way::Packet { .. }, _) => write!(f, ", spread by the kernel, symmetric")?,
                (Way::Native | Way::Emulated, Some(true)) if self.rss.is_some() => {
                    write!(f, ", RSS symmetric by addresses")?;
                }
                (Way::Native | Way::Emulated, Some(true)) => write!(f, ", RSS symmetric")?,
                (Way::Native | Way::Emulated, Some(false)) => write!(f, ", RSS NOT symmetric")?,
                (Way::Native | Way::Emulated, None) => write!(f, ", RSS not told by the driver")?,
                (Way::Memory | Way::Software(_), _) => {}
            }
        }
        if !harmful(self.way).is_empty() {
            let on: Vec<&str> = self.on.iter().map(|offload| offload.word()).collect();
            match on.is_empty() {
                true => write!(f, ", offloads off")?,
                false => write!(f, ", offloads STILL ON: {}", on.join(" "))?,
            }
        }
        Ok(())
    }
}

/// What is known of all ports, which are open.
pub struct Starts(Vec<Start>);

impl Starts {
    /// Asks the drivers.
    pub fn of(names: &[String], specs: &[PortSpec], options: &OpenOptions) -> Starts {
        let each = names.iter().zip(specs);
        Starts(
            each.map(|(name, spec)| Start::of(name, spec, options))
                .collect(),
        )
    }

    /// Tells of all of them.
    pub fn tell(&self) {
        for start in &self.0 {
            eprintln!("{start}");
            if let Some(warning) = start.warning() {
                eprintln!("warning: {warning}");
            }
        }
    }

    /// How all ports deal frames to their lanes, if all do alike and by addresses alone.
    pub fn rss(&self) -> Option<Rss> {
        let first = self.0.first()?.rss.clone()?;
        let alike = self
            .0
            .iter()
            .all(|start| start.rss.as_ref() == Some(&first));
        alike.then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn igb() -> Start {
        Start {
            name: "netmap:eth1".to_string(),
            way: Way::Native,
            driver: Some("igb".to_string()),
            rings: Some(2),
            lanes: 2,
            is_symmetric: Some(true),
            rss: None,
            on: Vec::new(),
        }
    }

    #[test]
    fn a_line_says_mode_rings_symmetry_and_offloads() {
        let good = igb();
        assert_eq!(
            good.to_string(),
            "port netmap:eth1: native netmap on igb, 2 rings for 2 lanes, RSS symmetric, \
             offloads off"
        );
        assert_eq!(good.warning(), None);
        let bad = Start {
            way: Way::Emulated,
            is_symmetric: Some(false),
            on: vec![Offload::Gro, Offload::RxVlan],
            ..igb()
        };
        assert_eq!(
            bad.to_string(),
            "port netmap:eth1: EMULATED netmap (each frame is copied) on igb, 2 rings for 2 lanes, \
             RSS NOT symmetric, offloads STILL ON: gro rxvlan"
        );
        let warning = bad.warning().unwrap();
        assert!(warning.contains("ethtool -X eth1 hkey 6d:5a:"), "{warning}");
    }

    #[test]
    fn lanes_own_what_their_rings_bring_if_all_nics_deal_alike_by_addresses() {
        let by = |rss: Option<Rss>| Start { rss, ..igb() };
        let even = by(Some(Rss::even(2)));
        assert!(even.to_string().contains("RSS symmetric by addresses"));
        let rss = |starts: &[Start]| Starts(starts.to_vec()).rss();
        assert_eq!(rss(&[even.clone(), even.clone()]), Some(Rss::even(2)));
        assert_eq!(rss(&[even.clone(), by(Some(Rss::even(3)))]), None);
        assert_eq!(rss(&[even, by(None)]), None);
        assert_eq!(rss(&[]), None);
    }

    #[test]
    fn an_asymmetric_key_matters_to_several_lanes_of_a_nic_alone() {
        let one = Start {
            lanes: 1,
            is_symmetric: Some(false),
            ..igb()
        };
        assert_eq!(one.warning(), None);
        assert!(!one.to_string().contains("RSS"), "{one}");
        let packet = Start {
            way: Way::Packet { blocks: false },
            is_symmetric: Some(false),
            ..igb()
        };
        assert_eq!(packet.warning(), None, "the kernel's own hash spreads");
    }

    #[test]
    fn ports_without_a_nic_are_named_for_what_they_are() {
        let options = crate::cli::run::open_options(1);
        let line = |name: &str| Start::of(name, &name.parse().unwrap(), &options).to_string();
        assert_eq!(line("mem:/x{0"), "port mem:/x{0: shared memory, 1 lane");
        assert_eq!(line("netmap:x{1"), "port netmap:x{1: netmap pipe, 1 lane");
        assert_eq!(line("vale0:1"), "port vale0:1: VALE switch, 1 lane");
    }
}
