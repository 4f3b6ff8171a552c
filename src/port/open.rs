//! Opens named ports for lanes: every lane gets its ring (or socket) of every port.
//!
//! Start-up only: what is wrong is told in words, with what to do.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::af_packet::{self, Presence};
use super::memory::handover::Client;
use super::netmap::interface::Promiscuous;
use super::netmap::spec::NetmapSpec;
use super::netmap::{Opener, Wanted};
use super::spec::PortSpec;
use super::{Discard, Receiver, Transmitter};

/// How to open ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    /// Lanes; each needs a ring of its own of each port.
    pub lanes: usize,
    /// Frames in flight per lane and port: extra buffers asked for, and frames of AF_PACKET rings.
    pub frames: u32,
    /// How long to wait for the process that serves a `mem:` port.
    pub patience: Duration,
    /// Interfaces are only watched, and frames taken in blocks.
    pub blocks: bool,
}

/// Why a port could not be opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortError {
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub hint: String,
}

impl std::fmt::Display for PortError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n [hint] {}", self.what, self.hint)
    }
}

impl std::error::Error for PortError {}

/// The ports of one lane, in the order they were named.
pub struct LanePorts {
    /// Receiving halves.
    pub receivers: Vec<Receiver>,
    /// Transmitting halves.
    pub transmitters: Vec<Transmitter>,
}

/// Opened ports.
pub struct Opened {
    /// One entry per lane.
    pub lanes: Vec<LanePorts>,
    /// Connections behind `mem:` ports; to be kept, and asked whether the peer is still there.
    pub clients: Vec<Client>,
    /// Whether frames pass between all ports by exchange of buffers. Where not, each forwarded
    /// frame is copied once, and counted.
    pub zero_copy: bool,
    /// What the operator should know, e.g. offloads that would not be switched off.
    pub notes: Vec<String>,
    /// Keep the interfaces of netmap ports promiscuous; to be kept.
    pub promiscuous: Vec<Promiscuous>,
    /// Interfaces that may be pulled out; to be looked at now and then.
    pub presences: Vec<Presence>,
}

impl Opened {
    /// Looks whether all interfaces are there, and takes up those that have come back. Gives what
    /// has changed.
    pub fn look(&mut self) -> impl Iterator<Item = String> {
        let now = Instant::now();
        let presences = self.presences.iter_mut();
        presences.filter_map(move |presence| presence.look(now))
    }
}

/// Opens ports, the inside one first.
///
/// # Errors
/// A port that cannot be opened, or has not as many rings as there are lanes.
pub fn open(specs: &[PortSpec], options: &OpenOptions) -> Result<Opened, PortError> {
    let mut opened = Opened {
        lanes: (0..options.lanes)
            .map(|_| LanePorts {
                receivers: Vec::with_capacity(specs.len()),
                transmitters: Vec::with_capacity(specs.len()),
            })
            .collect(),
        clients: Vec::new(),
        zero_copy: false,
        notes: Vec::new(),
        promiscuous: Vec::new(),
        presences: Vec::new(),
    };
    let mut netmap = Opener::default();
    let mut regions: Vec<(String, Option<PathBuf>, u16)> = Vec::new();
    let mut paths: Vec<PathBuf> = Vec::new();
    for (port, spec) in specs.iter().enumerate() {
        match spec {
            PortSpec::Interface(name) => open_interface(name, port, options, &mut opened)?,
            PortSpec::Netmap(spec) => {
                let region = open_netmap(&mut netmap, spec, port, options, &mut opened)?;
                regions.push((spec.to_string(), spec.emulation.clone(), region));
            }
            PortSpec::Memory { path, .. } => {
                let known = paths.iter().position(|known| known == path);
                let number = match known {
                    Some(number) => number,
                    None => {
                        let client =
                            Client::connect(path, options.patience).map_err(|error| PortError {
                                what: error.what,
                                hint: error.hint.to_string(),
                            })?;
                        opened.clients.push(client);
                        paths.push(path.clone());
                        paths.len() - 1
                    }
                };
                open_memory(spec, number, port, options, &mut opened)?;
            }
        }
    }
    let one_memory = paths.len() == 1 && regions.is_empty();
    let one_region = paths.is_empty()
        && regions
            .windows(2)
            .all(|pair| pair[0].1 == pair[1].1 && pair[0].2 == pair[1].2);
    let interfaces = specs
        .iter()
        .any(|spec| matches!(spec, PortSpec::Interface(_)));
    opened.zero_copy = !interfaces && (one_memory || one_region);
    if !one_region && specs.len() > 1 && regions.len() == specs.len() {
        let named: Vec<String> = regions
            .iter()
            .map(|(name, _, region)| format!("{name} in region {region}"))
            .collect();
        opened.notes.push(format!(
            "frames are COPIED between the ports, for they lie in different memory: {}\n [hint] NICs \
             of one IOMMU group share a region (iommu=off or iommu=pt makes it one group); a pipe \
             or VALE port takes that of the port named before it, or of @REGION",
            named.join(", ")
        ));
    }
    Ok(opened)
}

fn open_interface(
    name: &str,
    port: usize,
    options: &OpenOptions,
    opened: &mut Opened,
) -> Result<(), PortError> {
    let convert = |error: af_packet::OpenError| PortError {
        what: error.what,
        hint: error.hint.to_string(),
    };
    let blocks = options.blocks;
    let refused = af_packet::offloads_off(name).map_err(convert)?;
    if !refused.is_empty() {
        let refused = refused.join(", ");
        opened.notes.push(format!(
            "{name}: {refused} cannot be switched off; larger frames than the MTU will be dropped\n \
             [hint] ethtool -K {name} tso off gso off gro off lro off rxvlan off txvlan off"
        ));
    }
    // Groups are numbered per network namespace, so two processes must not meet.
    let group = (std::process::id() as u16).wrapping_mul(4);
    for (number, lane) in opened.lanes.iter_mut().enumerate() {
        let options = af_packet::Options {
            frames: options.frames,
            fanout: (options.lanes > 1).then(|| group.wrapping_add(port as u16)),
            port: port as u8,
            ..af_packet::Options::default()
        };
        if blocks {
            let receiver = af_packet::BlockReceiver::open(name, &options).map_err(convert)?;
            let presence = receiver.presence(&options).map_err(convert)?;
            opened.presences.push(presence.spoken_for(number > 0));
            lane.receivers.push(Receiver::Blocks(Box::new(receiver)));
            lane.transmitters
                .push(Transmitter::Discard(Discard::default()));
            continue;
        }
        let (receiver, transmitter) = af_packet::open(name, &options).map_err(convert)?;
        let presence = receiver.presence(&transmitter, &options).map_err(convert)?;
        opened.presences.push(presence.spoken_for(number > 0));
        lane.receivers.push(Receiver::Packet(Box::new(receiver)));
        lane.transmitters
            .push(Transmitter::Packet(Box::new(transmitter)));
    }
    Ok(())
}

/// Opens a netmap port for all lanes; gives the number of its memory region.
fn open_netmap(
    opener: &mut Opener,
    spec: &NetmapSpec,
    port: usize,
    options: &OpenOptions,
    opened: &mut Opened,
) -> Result<u16, PortError> {
    opened.notes.extend(super::netmap::offloads(spec));
    let wanted = Wanted {
        lanes: options.lanes,
        extra: options.frames,
        port: port as u8,
        patience: options.patience,
    };
    let ready = opener.open(spec, &wanted)?;
    for (lane, (receiver, transmitter)) in opened.lanes.iter_mut().zip(ready.lanes) {
        lane.receivers.push(Receiver::Netmap(Box::new(receiver)));
        lane.transmitters.push(match transmitter {
            Some(transmitter) => Transmitter::Netmap(Box::new(transmitter)),
            None => Transmitter::Discard(Discard::default()),
        });
    }
    opened.notes.extend(ready.notes);
    opened.promiscuous.extend(ready.promiscuous);
    Ok(ready.region)
}

fn open_memory(
    spec: &PortSpec,
    client: usize,
    port: usize,
    options: &OpenOptions,
    opened: &mut Opened,
) -> Result<(), PortError> {
    let (PortSpec::Memory { end, .. }, Some(client)) = (spec, opened.clients.get(client)) else {
        return Ok(());
    };
    let rings = client.memory.shape().rings as usize;
    if rings != options.lanes {
        return Err(PortError {
            what: format!("{spec} has {rings} rings, for {} lanes", options.lanes),
            hint: format!("run with --lanes {rings}: a ring that nobody serves stops its traffic"),
        });
    }
    for (ring, lane) in (0..).zip(&mut opened.lanes) {
        let halves = client.memory.open(*end, ring, options.frames, port as u8);
        let (receiver, transmitter) = halves.map_err(|error| PortError {
            what: format!("{spec}: {error}"),
            hint: "is the other process of the same version?".to_string(),
        })?;
        lane.receivers.push(Receiver::Memory(Box::new(receiver)));
        lane.transmitters
            .push(Transmitter::Memory(Box::new(transmitter)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::memory::handover::Server;
    use crate::port::memory::{Memory, Shape};
    use std::sync::Arc;

    #[test]
    fn every_lane_gets_a_ring_of_every_port() {
        let path = std::env::temp_dir().join(format!("sluice-open-{}", std::process::id()));
        let shape = Shape {
            rings: 2,
            slots: 64,
            ..Shape::default()
        };
        let memory = Memory::new(shape).unwrap();
        let _server = Server::start(Arc::clone(&memory), &path).unwrap();
        let specs = ["{0", "{1"].map(|end| format!("mem:{}{end}", path.display()).parse().unwrap());
        let mut options = OpenOptions {
            lanes: 2,
            frames: 16,
            patience: Duration::from_secs(5),
            blocks: false,
        };
        let opened = open(&specs, &options).unwrap();
        assert!(opened.zero_copy && opened.notes.is_empty());
        assert_eq!((opened.lanes.len(), opened.clients.len()), (2, 1));
        assert!(opened.lanes.iter().all(|lane| lane.receivers.len() == 2));
        drop(opened);
        options.lanes = 1;
        let error = open(&specs, &options).err().unwrap();
        assert!(error.to_string().contains("--lanes 2"), "{error}");
    }

    #[test]
    fn what_is_not_there_is_told() {
        let options = OpenOptions {
            lanes: 1,
            frames: 16,
            patience: Duration::ZERO,
            blocks: false,
        };
        for name in ["no-such-if0", "mem:/nowhere/at/all{0"] {
            let error = open(&[name.parse().unwrap()], &options).err().unwrap();
            assert!(error.to_string().contains("[hint]"), "{error}");
        }
    }
}
