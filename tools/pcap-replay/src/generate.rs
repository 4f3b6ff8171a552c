//! `pcap-replay generate`: a capture of made traffic. Same arguments, same bytes.

use std::path::PathBuf;

use sluice::port::capture::CaptureWriter;
use sluice::port::generator::{Generator, Mix};

use crate::Failure;

/// Arguments of `generate`. Shares are fractions of flows, 0 to 1.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// File to write: pcap with nanoseconds, or pcapng by its extension
    pub out: PathBuf,
    /// The demonstration of the repository: every attack once or more, below 400 KiB
    #[arg(long, conflicts_with_all = ["flows", "rate", "attack", "ipv6", "vlan", "udp", "icmp",
        "fragments", "loss", "bad_checksum", "response_bytes_max", "seed"])]
    pub demo: bool,
    /// Seed: the same seed makes the same frames
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Flows to make
    #[arg(long, default_value_t = 1000)]
    pub flows: u32,
    /// Frames per second, on average
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: u64,
    /// Share of flows that attack
    #[arg(long, default_value_t = 0.02, value_parser = share)]
    pub attack: f64,
    /// Share of flows over IPv6
    #[arg(long, default_value_t = 0.25, value_parser = share)]
    pub ipv6: f64,
    /// Share of flows in a VLAN, a quarter of these in two (QinQ)
    #[arg(long, default_value_t = 0.1, value_parser = share)]
    pub vlan: f64,
    /// Share of clean flows that are UDP (DNS)
    #[arg(long, default_value_t = 0.3, value_parser = share)]
    pub udp: f64,
    /// Share of clean flows that are ICMP echo
    #[arg(long, default_value_t = 0.05, value_parser = share)]
    pub icmp: f64,
    /// Share of clean flows that are datagrams in fragments
    #[arg(long, default_value_t = 0.02, value_parser = share)]
    pub fragments: f64,
    /// Share of TCP flows with retransmissions and segments out of order
    #[arg(long, default_value_t = 0.1, value_parser = share)]
    pub loss: f64,
    /// Share of clean flows with a decoy of wrong checksum
    #[arg(long, default_value_t = 0.01, value_parser = share)]
    pub bad_checksum: f64,
    /// Most bytes of a response
    #[arg(long, default_value_t = 60_000, value_name = "BYTES")]
    pub response_bytes_max: u32,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a share lies between 0 and 1".to_string()),
    }
}

impl Arguments {
    /// The mix that the arguments ask for.
    pub fn mix(&self) -> Mix {
        if self.demo {
            return Mix::demo();
        }
        Mix {
            seed: self.seed,
            flows: self.flows,
            rate: self.rate,
            attack: self.attack,
            ipv6: self.ipv6,
            vlan: self.vlan,
            udp: self.udp,
            icmp: self.icmp,
            fragments: self.fragments,
            loss: self.loss,
            bad_checksum: self.bad_checksum,
            response_bytes_max: self.response_bytes_max,
            ..Mix::default()
        }
    }
}

/// Writes the capture and says what is in it.
///
/// # Errors
/// The file cannot be written.
pub fn run(arguments: &Arguments) -> Result<u8, Failure> {
    const ETHERNET: u32 = 1;
    let mut writer = CaptureWriter::create(&arguments.out).map_err(Failure::input)?;
    let (mut frames, mut bytes) = (0u64, 0u64);
    let mut attacks = std::collections::BTreeMap::new();
    let mut flows = std::collections::BTreeSet::new();
    for frame in Generator::new(arguments.mix()) {
        writer
            .write(frame.time_ns, ETHERNET, &frame.bytes)
            .map_err(|error| Failure::input(format!("{}: {error}", arguments.out.display())))?;
        frames += 1;
        bytes += frame.bytes.len() as u64;
        if flows.insert(frame.flow)
            && let Some(attack) = frame.attack
        {
            *attacks.entry(attack).or_insert(0u32) += 1;
        }
    }
    writer.finish().map_err(Failure::input)?;
    println!(
        "{}: {frames} frames, {bytes} bytes, {} flows, {} of them hostile",
        arguments.out.display(),
        flows.len(),
        attacks.values().sum::<u32>()
    );
    for (attack, count) in attacks {
        println!("  {count:5} {attack:?}");
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_committed_demo_is_what_generate_makes() {
        let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/demo.pcap");
        let out = std::env::temp_dir().join(format!("demo-{}.pcap", std::process::id()));
        let mut writer = CaptureWriter::create(&out).unwrap();
        for frame in Generator::new(Mix::demo()) {
            writer.write(frame.time_ns, 1, &frame.bytes).unwrap();
        }
        writer.finish().unwrap();
        let made = std::fs::read(&out).unwrap();
        std::fs::remove_file(&out).unwrap();
        assert!(made.len() < 400 << 10, "{} bytes", made.len());
        assert!(made == std::fs::read(committed).unwrap());
    }
}
