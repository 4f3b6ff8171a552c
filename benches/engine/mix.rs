//! The traffic of the engine bench: all shared captures merged into one, some times over. Each
//! capture and pass has hosts of its own (renumber.rs) and begins a little after the one before,
//! so that flows of many captures and passes overlap in time as on a wire.

use std::path::{Path, PathBuf};

use sluice::decode::LinkType;
use sluice::port::capture::CaptureWriter;

use super::renumber::Numbering;

/// 2026-01-01T00:00:00Z.
const START_NS: u64 = 1_767_225_600_000_000_000;
/// From the start of a pass to that of the next.
const PASS_NS: u64 = 60_000_000_000;
/// From the start of a capture to that of the next.
const CAPTURE_NS: u64 = 30_000_000;
/// Longer pauses within a capture are cut to this: captures of days would leave the others behind.
const PAUSE_MAX_NS: u64 = 1_000_000_000;

/// A frame of a capture.
struct Frame {
    /// Since the capture's start.
    time_ns: u64,
    link: u32,
    bytes: Vec<u8>,
}

/// Captures in memory.
pub struct Mix {
    captures: Vec<Vec<Frame>>,
}

/// Mean bytes of a capture's frames.
fn mean(frames: &[Frame]) -> f64 {
    let bytes: usize = frames.iter().map(|frame| frame.bytes.len()).sum();
    bytes as f64 / frames.len().max(1) as f64
}

impl Mix {
    /// The shared captures, in order of name.
    pub fn read(shared: &Path) -> Mix {
        let entries = std::fs::read_dir(shared.join("captures")).expect("shared captures");
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| {
            let extension = path.extension().unwrap_or_default().to_string_lossy();
            extension.starts_with("pcap")
        });
        files.sort();
        let captures = files.iter().map(|path| read(path)).collect();
        Mix { captures }
    }

    /// Without the captures of which `keep` says no, which sees each one's file of two passes and
    /// its file of one. Gives how many frames went.
    pub fn retain(&mut self, folder: &Path, keep: impl Fn(&Path, &Path) -> bool) -> usize {
        let before = self.size().0;
        let (once, twice) = (folder.join("one.pcapng"), folder.join("two.pcapng"));
        let captures = std::mem::take(&mut self.captures);
        for capture in captures {
            let alone = Mix {
                captures: vec![capture],
            };
            alone.write(&once, 0..1);
            alone.write(&twice, 0..2);
            if keep(&twice, &once) {
                self.captures.extend(alone.captures);
            }
        }
        before - self.size().0
    }

    /// Frames of one pass, and their mean bytes.
    pub fn size(&self) -> (usize, f64) {
        let count: usize = self.captures.iter().map(Vec::len).sum();
        let bytes: f64 = self.captures.iter().map(|c| mean(c) * c.len() as f64).sum();
        (count, bytes / count.max(1) as f64)
    }

    /// Without the captures of the smallest frames, so that the mean is at least `bytes`.
    pub fn heavier(mut self, bytes: f64) -> Mix {
        self.captures.sort_by(|a, b| mean(b).total_cmp(&mean(a)));
        while self.size().1 < bytes && !self.captures.is_empty() {
            self.captures.pop();
        }
        self
    }

    /// Writes `passes` of all captures from the first one on, merged by time.
    pub fn write(&self, path: &Path, passes: std::ops::Range<u64>) {
        let mut order = Vec::new();
        for pass in passes {
            for (number, capture) in self.captures.iter().enumerate() {
                let start = START_NS + pass * PASS_NS + number as u64 * CAPTURE_NS;
                for (at, frame) in capture.iter().enumerate() {
                    order.push((start + frame.time_ns, pass, number, at));
                }
            }
        }
        order.sort_unstable();
        let mut writer = CaptureWriter::create(path).expect("a capture");
        let mut bytes = Vec::new();
        for (time_ns, pass, number, at) in order {
            let frame = &self.captures[number][at];
            bytes.clear();
            bytes.extend_from_slice(&frame.bytes);
            numbering(pass, number).frame(frame.link, &mut bytes);
            writer
                .write(time_ns, frame.link, &bytes)
                .expect("room for a capture");
        }
        writer.finish().expect("room for a capture");
    }
}

/// The hosts of a capture in a pass (splitmix64's mixer, Steele and others 2014).
fn numbering(pass: u64, capture: usize) -> Numbering {
    let mut z = ((pass + 1) << 32 | capture as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    Numbering(z ^ (z >> 31))
}

/// All frames of a capture that the engine decodes.
fn read(path: &Path) -> Vec<Frame> {
    let mut frames = Vec::new();
    let (mut last_ns, mut time_ns) = (None, 0);
    super::frames::each(path, |context, bytes| {
        let link = LinkType::from_u8(context.link);
        let before = last_ns.replace(context.time_ns).unwrap_or(context.time_ns);
        time_ns += context.time_ns.saturating_sub(before).min(PAUSE_MAX_NS);
        if link != LinkType::Unknown {
            frames.push(Frame {
                time_ns,
                link: link.to_pcap(),
                bytes: bytes.to_vec(),
            });
        }
    });
    frames
}
