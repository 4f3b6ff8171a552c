//! What the stage bench runs: chapters of frames in capture files of their own, and rule sets.
//!
//! Every chapter has the same shape, so that burst n of one is comparable with burst n of another.
//! Real frames are made new for each chapter by a VLAN tag of its own, which is part of a flow's
//! key: the same bytes, other flows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sluice::cli::rules::{Loaded, load_text};
use sluice::config::Mode;
use sluice::decode::LinkType;
use sluice::port::capture::CaptureWriter;
use sluice::port::generator::Random;
use sluice::port::generator::packet::{Envelope, Tcp, tcp_flag::*, udp};

/// 2026-01-01T00:00:00Z.
const START_NS: u64 = 1_767_225_600_000_000_000;
/// Between two repetitions of real frames: longer than any timeout, so that their flows have ended.
const REPEAT_NS: u64 = 3_600_000_000_000;
/// Frames taken of one shared capture at most, so that none dominates the mix.
const MIX_FILE_FRAMES_MAX: usize = 1000;
/// Ethernet's FCS, which captures leave out and line rates count.
pub const FCS_BYTES: f64 = 4.0;

/// Frames with their times.
type Frames = Vec<(u64, Vec<u8>)>;

/// Files in a folder that is removed at the end.
pub struct Folder(pub PathBuf);

impl Folder {
    /// A new one for this process.
    pub fn new() -> Folder {
        let path = std::env::temp_dir().join(format!("sluice-stage-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder for captures");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Chapters of frames.
pub struct Workload {
    /// What it is, for the table.
    pub name: String,
    /// Tap or inline.
    pub mode: Mode,
    /// One file a chapter.
    pub chapters: Vec<PathBuf>,
    /// Frames of each.
    pub frames: Vec<usize>,
    /// Chapters at the start that only warm up.
    pub warm: usize,
    /// Mean bytes of a frame.
    pub mean: f64,
}

impl Workload {
    fn write(
        folder: &Folder,
        name: String,
        mode: Mode,
        warm: usize,
        chapters: &[Frames],
    ) -> Workload {
        let mut workload = Workload {
            mode,
            warm,
            chapters: Vec::new(),
            frames: chapters.iter().map(Vec::len).collect(),
            mean: 0.0,
            name,
        };
        let stem: String = workload
            .name
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .collect();
        for (number, frames) in chapters.iter().enumerate() {
            let path = folder.0.join(format!("{stem}-{number}.pcap"));
            let mut writer = CaptureWriter::create(&path).expect("a capture");
            for (time_ns, frame) in frames {
                writer
                    .write(*time_ns, 1, frame)
                    .expect("room for a capture");
            }
            writer.finish().expect("room for a capture");
            workload.chapters.push(path);
        }
        let measured = chapters.iter().skip(warm).flatten();
        let (count, bytes) = measured.fold((0, 0), |(c, b), (_, f)| (c + 1, b + f.len()));
        workload.mean = bytes as f64 / f64::from(count.max(1));
        workload
    }
}

/// One small flow: who speaks, and how far TCP has come.
struct Small {
    there: Envelope,
    src_port: u16,
    dst_port: u16,
    is_tcp: bool,
    sent: [u32; 2],
}

impl Small {
    fn new(number: u32) -> Small {
        let there = Envelope {
            src_mac: [2, 0, 0, 0, 0, 1],
            dst_mac: [2, 0, 0, 0, 0, 2],
            vlans: Vec::new(),
            src: std::net::Ipv4Addr::from(0x0a00_0000 | number).into(),
            dst: std::net::Ipv4Addr::from(0xac10_0000 | (number.wrapping_mul(7919) & 0xffff))
                .into(),
            id: number,
        };
        let is_tcp = number.is_multiple_of(2);
        let dst_port = if is_tcp { 80 } else { 53 };
        let src_port = 1024 + (number.wrapping_mul(31) % 60_000) as u16;
        Small {
            there,
            src_port,
            dst_port,
            is_tcp,
            sent: [1001, 5001],
        }
    }

    /// The next frame of one side (0 client, 1 server), with `payload` bytes.
    fn frame(&mut self, side: usize, flags: u8, payload: &[u8]) -> Vec<u8> {
        let back = self.there.reversed();
        let envelope = if side == 0 { &self.there } else { &back };
        let ports = [self.src_port, self.dst_port];
        if !self.is_tcp {
            return envelope.frame(17, &udp(envelope, ports[side], ports[1 - side], payload));
        }
        let is_syn = flags & SYN != 0;
        let tcp = Tcp {
            src_port: ports[side],
            dst_port: ports[1 - side],
            seq: self.sent[side] - u32::from(is_syn),
            ack: if flags & ACK != 0 {
                self.sent[1 - side]
            } else {
                0
            },
            flags,
            window: 60_000,
            stamps: None,
        };
        self.sent[side] += payload.len() as u32;
        tcp.frame(envelope, payload)
    }
}

/// Packets of 60 bytes (64 on the wire) in `flows` established flows, half TCP: data of six bytes
/// and its acknowledgement each way; half UDP of 18 bytes. Chapter 0 opens the flows.
pub fn small(folder: &Folder, flows: u32, chapters: usize) -> Workload {
    let mut random = Random::new(64);
    let mut list: Vec<Small> = (0..flows).map(Small::new).collect();
    let mut time_ns = START_NS;
    let mut all = Vec::new();
    for chapter in 0..=chapters {
        let mut frames = Frames::new();
        for step in 0..4 {
            for flow in &mut list {
                let text: [u8; 18] = std::array::from_fn(|_| b'a' + random.range(0, 26) as u8);
                let (side, flags, length) = match (chapter, step, flow.is_tcp) {
                    (0, 3, true) => continue,
                    (0, 0, true) => (0, SYN, 0),
                    (0, 1, true) => (1, SYN | ACK, 0),
                    (0, _, true) => (0, ACK, 0),
                    (_, step, true) => (
                        (step / 2) ^ (step % 2),
                        ACK,
                        if step % 2 == 0 { 6 } else { 0 },
                    ),
                    (_, step, false) => (step % 2, 0, 18),
                };
                time_ns += 100;
                frames.push((time_ns, flow.frame(side, flags, &text[..length])));
            }
        }
        all.push(frames);
    }
    let name = format!("64-byte packets, {flows} flows");
    Workload::write(folder, name, Mode::Inline, 1, &all)
}

/// All Ethernet frames of a capture.
fn read(path: &Path) -> Frames {
    let mut frames = Frames::new();
    super::frames::each(path, |context, bytes| {
        if context.link == LinkType::Ethernet as u8 && bytes.len() >= 14 {
            frames.push((context.time_ns, bytes.to_vec()));
        }
    });
    frames
}

/// `frames` in the VLAN `vlan`, from time `start_ns` on.
fn tagged(frames: &Frames, vlan: u16, start_ns: u64) -> Frames {
    let first = frames
        .iter()
        .map(|(time_ns, _)| *time_ns)
        .min()
        .unwrap_or(0);
    let tag = |(time_ns, frame): &(u64, Vec<u8>)| {
        let mut tagged = frame[..12].to_vec();
        tagged.extend([0x81, 0x00]);
        tagged.extend(vlan.to_be_bytes());
        tagged.extend(&frame[12..]);
        // Captures of years are pressed into half an hour.
        (start_ns + (time_ns - first).min(REPEAT_NS / 2), tagged)
    };
    frames.iter().map(tag).collect()
}

/// Chapters of at least `size` frames, each `frames` some times over.
fn repeated(
    folder: &Folder,
    name: &str,
    mode: Mode,
    frames: &Frames,
    size: usize,
    chapters: usize,
) -> Workload {
    let times = size.div_ceil(frames.len().max(1));
    let mut number = 0;
    let all: Vec<Frames> = (0..=chapters)
        .map(|_| {
            let repeat = |_| {
                number += 1;
                tagged(
                    frames,
                    1 + number % 4094,
                    START_NS + u64::from(number) * REPEAT_NS,
                )
            };
            (0..times).flat_map(repeat).collect()
        })
        .collect();
    Workload::write(folder, name.to_string(), mode, 1, &all)
}

/// The demonstration capture of this repository.
pub fn demo(folder: &Folder, size: usize, chapters: usize) -> Workload {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/demo.pcap");
    repeated(
        folder,
        "demo capture",
        Mode::Inline,
        &read(&path),
        size,
        chapters,
    )
}

/// A mix of the shared captures, in order of name, about `size` frames; in a tap, since captures
/// of broken traffic would be dropped before they are inspected.
pub fn mix(folder: &Folder, shared: &Path, size: usize, chapters: usize) -> Workload {
    let entries = std::fs::read_dir(shared.join("captures")).expect("shared captures");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| {
        path.extension()
            .is_some_and(|e| e.to_string_lossy().starts_with("pcap"))
    });
    files.sort();
    let mut frames = Frames::new();
    for path in &files {
        if frames.len() < size {
            frames.extend(read(path).into_iter().take(MIX_FILE_FRAMES_MAX));
        }
    }
    frames.sort_by_key(|(time_ns, _)| *time_ns);
    repeated(
        folder,
        "mix of shared captures",
        Mode::Tap,
        &frames,
        1,
        chapters,
    )
}

/// A rule set of the table.
pub struct Rules {
    /// What it is.
    pub name: &'static str,
    /// Compiled.
    pub loaded: Loaded,
}

fn compiled(name: &'static str, text: &str) -> Rules {
    match load_text("bench.rules", text, &[]) {
        Ok(loaded) => Rules { name, loaded },
        Err(failure) => panic!("{name}: {}", failure.text),
    }
}

/// No rule at all.
pub fn none() -> Rules {
    compiled("none", "")
}

/// `count` rules like real ones: a protocol, a port or any, one content or two of 4 to 30 bytes.
pub fn synthetic(count: usize) -> Rules {
    let mut random = Random::new(1000);
    let mut text = String::new();
    for sid in 1..=count {
        let is_tcp = random.chance(0.7);
        let protocol = if is_tcp { "tcp" } else { "udp" };
        let web: &[&str] = &[
            "80",
            "443",
            "8080",
            "any",
            "any",
            "21",
            "25",
            "[80,8080]",
            "1024:",
        ];
        let other: &[&str] = &["53", "any", "161", "5060", "123", "1024:"];
        let port = random.pick(if is_tcp { web } else { other }).to_string();
        let flow = match (is_tcp, random.range(0, 3)) {
            (true, 0) => "flow:established,to_client; ",
            (true, _) => "flow:established,to_server; ",
            (false, _) => "",
        };
        let (src, dst) = if flow.contains("to_client") {
            (port, "any".into())
        } else {
            ("any".into(), port)
        };
        text += &format!("alert {protocol} any {src} -> any {dst} (msg:\"synthetic\"; {flow}");
        for part in 0..1 + random.range(0, 2) {
            text += &format!("content:\"{}\"; ", content(&mut random));
            text += if random.chance(0.5) { "nocase; " } else { "" };
            text += if part > 0 && random.chance(0.5) {
                "distance:0; "
            } else {
                ""
            };
        }
        text += &format!("sid:{sid};)\n");
    }
    compiled("1000 synthetic", &text)
}

/// Words with separators, or bytes, as rules have them.
fn content(random: &mut Random) -> String {
    const WORDS: &[&str] = &[
        "GET /",
        "POST ",
        "Host|3a 20|",
        "cmd=",
        ".php",
        "admin",
        "User-Agent|3a 20|",
        "select",
        "login",
        "id=",
        "upload",
        "|00 00 00|",
        "|ff|",
        "SMB",
        "exec",
        "/api/v1/",
        "token",
        "evil",
    ];
    let length = random.range(4, 31) as usize;
    let mut text = String::new();
    let mut bytes = 0;
    if random.chance(0.6) {
        let word = *random.pick(WORDS);
        text += word;
        bytes += word.split('|').enumerate().fold(0, |sum, (at, part)| {
            sum + if at % 2 == 1 {
                part.split(' ').count()
            } else {
                part.len()
            }
        });
    }
    while bytes < length {
        if random.chance(0.15) {
            text += &format!("|{:02x}|", random.range(0, 256));
        } else {
            text.push((b'a' + random.range(0, 26) as u8) as char);
        }
        bytes += 1;
    }
    text
}

/// `count` supported rules of Emerging Threats Open, evenly from all of it; `None` without `xz`.
pub fn etopen(shared: &Path, count: usize) -> Option<Rules> {
    let file = shared.join("etopen/etopen-all.rules.xz");
    let output = std::process::Command::new("xz")
        .arg("-dc")
        .arg(&file)
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("alert "))
        .collect();
    let sample = |step: usize, keep: &dyn Fn(&str) -> bool| -> Vec<&str> {
        lines
            .iter()
            .step_by(step.max(1))
            .copied()
            .filter(|line| keep(line))
            .collect()
    };
    let wide = sample(lines.len() / (8 * count), &|_| true);
    let tried = load_text("etopen.rules", &wide.join("\n"), &[]).ok()?;
    let unsupported: Vec<String> = tried
        .unsupported
        .iter()
        .filter_map(|told| told.strip_prefix("sid ")?.split(':').next())
        .map(|sid| format!("sid:{sid};"))
        .collect();
    let supported: Vec<&str> = wide
        .into_iter()
        .filter(|line| !unsupported.iter().any(|sid| line.contains(sid)))
        .collect();
    let step = (supported.len() / count).max(1);
    let chosen: Vec<&str> = supported.into_iter().step_by(step).take(count).collect();
    Some(compiled("1000 etopen", &chosen.join("\n")))
}

/// A shared program, for an engine.
pub fn program(rules: &Rules) -> Arc<sluice::matcher::Program> {
    Arc::clone(&rules.loaded.program)
}
