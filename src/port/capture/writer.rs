//! Writes captures: pcap with nanosecond time stamps for one link type, pcapng for several.
//!
//! The file goes through one buffer of fixed size; nothing is formatted per packet. It is a port
//! of replay and tests: on the wire, capturing belongs to another process than the lane.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::CaptureError;
use crate::memory::Regions;
use crate::packet::Context;
use crate::port::{PortCounter, PortCounters, Transmit};
use crate::reason::Reason;

/// Bytes of the write buffer.
const BUFFER_BYTES: usize = 256 << 10;
/// Snap length written: what readers everywhere accept.
const SNAP_LENGTH: u32 = 262_144;
/// Link types of one file.
const LINKS_MAX: usize = 256;

/// File format of a written capture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CaptureFormat {
    /// pcap, nanosecond magic, one link type.
    Pcap,
    /// pcapng, an interface per link type.
    Pcapng,
}

/// A capture being written; also the transmitting half behind `--write`.
pub struct CaptureWriter {
    out: BufWriter<Box<dyn Write + Send>>,
    path: PathBuf,
    format: CaptureFormat,
    /// Turns `Context::link` back into the pcap number.
    link_number: fn(u8) -> u32,
    /// Link types written so far; the position is the interface number.
    links: Vec<u32>,
    /// Time and link type of the last frame: what frames without their own get.
    last: (u64, u32),
    error: Option<std::io::Error>,
    counters: Arc<PortCounters>,
}

/// The pcap number of a code that is the number itself.
fn identity(code: u8) -> u32 {
    u32::from(code)
}

impl CaptureWriter {
    /// Creates `path`; the format follows its extension (`.pcapng`, anything else is pcap).
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn create(path: &Path) -> Result<CaptureWriter, CaptureError> {
        let format = match path.extension() {
            Some(extension) if extension == "pcapng" => CaptureFormat::Pcapng,
            _ => CaptureFormat::Pcap,
        };
        let file = File::create(path).map_err(|error| CaptureError {
            path: path.to_path_buf(),
            offset: None,
            what: format!("cannot create: {error}"),
            hint: "check the directory and its rights".to_string(),
        })?;
        let mut writer = CaptureWriter::to(Box::new(file), format);
        writer.path = path.to_path_buf();
        Ok(writer)
    }

    /// Writes to anything.
    pub fn to(out: Box<dyn Write + Send>, format: CaptureFormat) -> CaptureWriter {
        CaptureWriter {
            out: BufWriter::with_capacity(BUFFER_BYTES, out),
            path: PathBuf::new(),
            format,
            link_number: identity,
            links: Vec::with_capacity(LINKS_MAX),
            last: (0, 1),
            error: None,
            counters: Arc::default(),
        }
    }

    /// Reads `Context::link` through `link_number` instead of as the pcap number itself.
    pub fn with_links(mut self, link_number: fn(u8) -> u32) -> CaptureWriter {
        self.link_number = link_number;
        self
    }

    /// Adds a frame of pcap link type `link`.
    ///
    /// # Errors
    /// What the file says; or a second link type in a pcap file.
    pub fn write(&mut self, time_ns: u64, link: u32, frame: &[u8]) -> std::io::Result<()> {
        let length = frame.len().min(SNAP_LENGTH as usize);
        let frame = frame.get(..length).unwrap_or(frame);
        let interface = self.interface(link)?;
        match self.format {
            CaptureFormat::Pcap => self.pcap_record(time_ns, frame)?,
            CaptureFormat::Pcapng => self.pcapng_block(time_ns, interface, frame)?,
        }
        self.last = (time_ns, link);
        self.counters.add(PortCounter::Packets, 1);
        self.counters.add(PortCounter::Bytes, frame.len() as u64);
        Ok(())
    }

    /// Writes what is buffered.
    ///
    /// # Errors
    /// The first error of the whole capture: those of `transmit` are kept until here.
    pub fn finish(&mut self) -> Result<(), CaptureError> {
        let result = match (self.error.take(), self.links.is_empty()) {
            (Some(error), _) => Err(error),
            // A capture of nothing is still a capture.
            (None, true) => self.interface(1).map(|_| ()),
            (None, false) => Ok(()),
        };
        result
            .and_then(|()| self.out.flush())
            .map_err(|error| CaptureError {
                path: self.path.clone(),
                offset: None,
                what: format!("cannot write: {error}"),
                hint: String::new(),
            })
    }

    /// The interface number of a link type; writes file header and interface as needed.
    fn interface(&mut self, link: u32) -> std::io::Result<u32> {
        if let Some(number) = self.links.iter().position(|known| *known == link) {
            return Ok(number as u32);
        }
        match self.format {
            CaptureFormat::Pcap if self.links.is_empty() => {
                let mut header = [0; 24];
                header[0..4].copy_from_slice(&0xa1b2_3c4du32.to_le_bytes());
                header[4..6].copy_from_slice(&2u16.to_le_bytes());
                header[6..8].copy_from_slice(&4u16.to_le_bytes());
                header[16..20].copy_from_slice(&SNAP_LENGTH.to_le_bytes());
                header[20..24].copy_from_slice(&link.to_le_bytes());
                self.out.write_all(&header)?;
            }
            CaptureFormat::Pcap => {
                return Err(std::io::Error::other(format!(
                    "frames of link types {:?} and {link} do not fit one pcap file; name it .pcapng",
                    self.links
                )));
            }
            CaptureFormat::Pcapng => {
                if self.links.is_empty() {
                    self.section()?;
                }
                self.interface_block(link)?;
            }
        }
        if self.links.len() == LINKS_MAX {
            return Err(std::io::Error::other("more than 256 link types"));
        }
        self.links.push(link);
        Ok(self.links.len() as u32 - 1)
    }

    fn pcap_record(&mut self, time_ns: u64, frame: &[u8]) -> std::io::Result<()> {
        let length = (frame.len() as u32).to_le_bytes();
        let mut header = [0; 16];
        header[0..4].copy_from_slice(&((time_ns / 1_000_000_000) as u32).to_le_bytes());
        header[4..8].copy_from_slice(&((time_ns % 1_000_000_000) as u32).to_le_bytes());
        header[8..12].copy_from_slice(&length);
        header[12..16].copy_from_slice(&length);
        self.out.write_all(&header)?;
        self.out.write_all(frame)
    }

    fn section(&mut self) -> std::io::Result<()> {
        let mut block = [0; 28];
        block[0..4].copy_from_slice(&0x0a0d_0d0au32.to_le_bytes());
        block[4..8].copy_from_slice(&28u32.to_le_bytes());
        block[8..12].copy_from_slice(&0x1a2b_3c4du32.to_le_bytes());
        block[12..14].copy_from_slice(&1u16.to_le_bytes());
        block[16..24].copy_from_slice(&(-1i64).to_le_bytes());
        block[24..28].copy_from_slice(&28u32.to_le_bytes());
        self.out.write_all(&block)
    }

    fn interface_block(&mut self, link: u32) -> std::io::Result<()> {
        let mut block = [0; 32];
        block[0..4].copy_from_slice(&1u32.to_le_bytes());
        block[4..8].copy_from_slice(&32u32.to_le_bytes());
        block[8..10].copy_from_slice(&(link as u16).to_le_bytes());
        block[12..16].copy_from_slice(&SNAP_LENGTH.to_le_bytes());
        // if_tsresol = 9 (nanoseconds), then the end of options.
        block[16..18].copy_from_slice(&9u16.to_le_bytes());
        block[18..20].copy_from_slice(&1u16.to_le_bytes());
        block[20] = 9;
        block[28..32].copy_from_slice(&32u32.to_le_bytes());
        self.out.write_all(&block)
    }

    fn pcapng_block(&mut self, time_ns: u64, interface: u32, frame: &[u8]) -> std::io::Result<()> {
        let padding = frame.len().next_multiple_of(4) - frame.len();
        let total = (32 + frame.len() + padding) as u32;
        let length = (frame.len() as u32).to_le_bytes();
        let mut head = [0; 28];
        head[0..4].copy_from_slice(&6u32.to_le_bytes());
        head[4..8].copy_from_slice(&total.to_le_bytes());
        head[8..12].copy_from_slice(&interface.to_le_bytes());
        head[12..16].copy_from_slice(&((time_ns >> 32) as u32).to_le_bytes());
        head[16..20].copy_from_slice(&(time_ns as u32).to_le_bytes());
        head[20..24].copy_from_slice(&length);
        head[24..28].copy_from_slice(&length);
        self.out.write_all(&head)?;
        self.out.write_all(frame)?;
        self.out.write_all(&[0; 3][..padding])?;
        self.out.write_all(&total.to_le_bytes())
    }

    /// As [`CaptureWriter::write`], with the first error kept for [`CaptureWriter::finish`].
    pub fn keep_frame(&mut self, time_ns: u64, link: u32, frame: &[u8]) {
        if let Err(error) = self.write(time_ns, link, frame) {
            self.error.get_or_insert(error);
        }
    }

    fn keep(&mut self, result: std::io::Result<()>) -> Result<(), Reason> {
        match result {
            Ok(()) => Ok(()),
            Err(error) => {
                self.error.get_or_insert(error);
                Err(Reason::PortTxDown)
            }
        }
    }
}

impl Transmit for CaptureWriter {
    fn register(&mut self, _regions: &mut Regions) {}

    fn transmit(&mut self, context: &mut Context, regions: &Regions) -> Result<(), Reason> {
        let link = (self.link_number)(context.link);
        let result = self.write(context.time_ns, link, regions.bytes(context.span));
        self.keep(result)
    }

    fn send_copy(&mut self, frame: &[u8]) -> Result<(), Reason> {
        let (time_ns, link) = self.last;
        let result = self.write(time_ns, link, frame);
        self.keep(result)
    }

    fn sync(&mut self) {
        self.counters.add(PortCounter::Syncs, 1);
    }

    fn counters(&self) -> &Arc<PortCounters> {
        &self.counters
    }
}
