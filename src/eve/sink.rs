//! Where lines go: a file, a pipe or standard output, written a chunk of whole lines at a time.
//!
//! A disk that is full or a reader that is gone loses lines, which are counted, and nothing else:
//! what a failed write left of a line is cut off again, so the file holds whole lines only, and
//! writing resumes by itself. No event format here (record.rs), no queues (mod.rs).

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Longest line, bytes, its end included; longer ones are lost and counted.
pub const LINE_MAX: usize = 64 << 10;
/// Bytes of whole lines that are gathered for one `write`.
pub const CHUNK: usize = 64 << 10;
/// Bytes of whole lines that wait for a disk that is full.
pub const WAITING_MAX: usize = 1 << 20;
/// Pause between attempts while writing fails.
const RETRY: Duration = Duration::from_millis(200);

/// Why a line did not reach its file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Lost {
    /// The write failed (disk full, reader gone) and the waiting room was full too.
    Write,
    /// The line is longer than [`LINE_MAX`].
    TooLong,
}

impl Lost {
    /// All causes.
    pub const ALL: [Lost; 2] = [Lost::Write, Lost::TooLong];

    /// Label value.
    pub const fn name(self) -> &'static str {
        match self {
            Lost::Write => "write",
            Lost::TooLong => "too_long",
        }
    }
}

/// What a sink did, readable while it works.
#[derive(Default, Debug)]
pub struct SinkCounters {
    lines: AtomicU64,
    bytes: AtomicU64,
    lost: [AtomicU64; 2],
    failed_writes: AtomicU64,
    opened: AtomicU64,
}

impl SinkCounters {
    /// Whole lines written.
    pub fn lines(&self) -> u64 {
        self.lines.load(Relaxed)
    }

    /// Bytes of those lines.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Lines lost for `cause`.
    pub fn lost(&self, cause: Lost) -> u64 {
        self.lost[cause as usize].load(Relaxed)
    }

    /// Writes that failed.
    pub fn failed_writes(&self) -> u64 {
        self.failed_writes.load(Relaxed)
    }

    /// Times the file was opened.
    pub fn opened(&self) -> u64 {
        self.opened.load(Relaxed)
    }

    fn lose(&self, cause: Lost, lines: u64) {
        self.lost[cause as usize].fetch_add(lines, Relaxed);
    }
}

/// Something that takes bytes and may take fewer than given.
pub trait Output: Send {
    /// As `std::io::Write::write`.
    ///
    /// # Errors
    /// What the system says.
    fn put(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Takes the last `count` bytes back, if that is possible.
    fn cut(&mut self, count: u64) -> bool;
}

impl Output for File {
    fn put(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
    }

    fn cut(&mut self, count: u64) -> bool {
        let Ok(metadata) = self.metadata() else {
            return false;
        };
        // Opened for appending, so the next write goes to the new end. Shortening needs no space.
        metadata.is_file() && self.set_len(metadata.len().saturating_sub(count)).is_ok()
    }
}

/// Gathers whole lines and writes them.
pub struct Sink<O> {
    output: O,
    buffer: Vec<u8>,
    /// The buffer begins with the rest of a line whose start is out and cannot be taken back.
    torn: bool,
    retry_at: Option<Instant>,
}

impl<O: Output> Sink<O> {
    /// A sink into `output`.
    pub fn new(output: O) -> Sink<O> {
        Sink {
            output,
            buffer: Vec::with_capacity(WAITING_MAX),
            torn: false,
            retry_at: None,
        }
    }

    /// Adds a line, which ends with a line end. It may be written now, later, or be lost.
    pub fn push(&mut self, line: &[u8], counters: &SinkCounters) {
        if line.len() > LINE_MAX {
            counters.lose(Lost::TooLong, 1);
            return;
        }
        let room = if self.retry_at.is_some() {
            WAITING_MAX
        } else {
            CHUNK
        };
        if self.buffer.len() + line.len() > room {
            self.flush(counters);
        }
        if self.buffer.len() + line.len() > WAITING_MAX {
            counters.lose(Lost::Write, 1);
            return;
        }
        self.buffer.extend_from_slice(line);
    }

    /// Writes what is gathered. While writing fails, an attempt is made each 200 ms.
    pub fn flush(&mut self, counters: &SinkCounters) {
        let waits = |at: Instant| Instant::now() < at;
        if self.buffer.is_empty() || self.retry_at.is_some_and(waits) {
            return;
        }
        self.retry_at = None;
        let mut written = 0;
        while let Some(rest) = self.buffer.get(written..).filter(|rest| !rest.is_empty()) {
            // A chunk ends with a line, so that a reader sees whole lines and a signal between
            // two writes tears none.
            let chunk = rest.get(..chunk_length(rest)).unwrap_or(rest);
            match self.output.put(chunk) {
                Ok(count) if count == chunk.len() => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                outcome => {
                    written += outcome.unwrap_or(0);
                    counters.failed_writes.fetch_add(1, Relaxed);
                    self.retry_at = Some(Instant::now() + RETRY);
                    break;
                }
            }
        }
        self.settle(written, counters);
    }

    /// Accounts for `written` bytes of the buffer and mends a torn line.
    fn settle(&mut self, written: usize, counters: &SinkCounters) {
        let out = self.buffer.get(..written).unwrap_or(&[]);
        let whole = out
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let lines = out.iter().filter(|byte| **byte == b'\n').count();
        counters.lines.fetch_add(lines as u64, Relaxed);
        let torn = written - whole;
        // A torn line's start that went out earlier cannot be cut together with this one.
        let mendable = !(self.torn && whole == 0);
        let gone = if torn > 0 && mendable && self.output.cut(torn as u64) {
            self.torn = false;
            whole
        } else {
            self.torn = torn > 0 || (self.torn && whole == 0);
            written
        };
        counters.bytes.fetch_add(gone as u64, Relaxed);
        self.buffer.drain(..gone);
    }

    /// Goes on with another output. The rest of a torn line is lost: its start is in the old one.
    pub fn replace(&mut self, output: O, counters: &SinkCounters) {
        if std::mem::take(&mut self.torn) {
            let end = self.buffer.iter().position(|byte| *byte == b'\n');
            self.buffer.drain(..end.map_or(0, |at| at + 1));
            counters.lose(Lost::Write, 1);
        }
        self.output = output;
        self.retry_at = None;
    }

    /// One last attempt; what still waits is lost.
    pub fn finish(&mut self, counters: &SinkCounters) {
        self.retry_at = None;
        self.flush(counters);
        let lines = self.buffer.iter().filter(|byte| **byte == b'\n').count();
        counters.lose(Lost::Write, lines as u64);
        self.buffer.clear();
    }
}

/// Length of the longest run of whole lines within [`CHUNK`].
fn chunk_length(bytes: &[u8]) -> usize {
    if bytes.len() <= CHUNK {
        return bytes.len();
    }
    let mut within = bytes.iter().take(CHUNK);
    within
        .rposition(|byte| *byte == b'\n')
        .map_or(CHUNK, |at| at + 1)
}

/// Where the log is to go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// A file or named pipe, appended to, made with mode 0640 if it is not there.
    Path(PathBuf),
    /// Standard output (`-`).
    Stdout,
}

impl Target {
    /// Opens the target.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub fn open(&self, counters: &SinkCounters) -> io::Result<File> {
        let file = match self {
            Target::Path(path) => OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o640)
                .open(path)
                .map_err(|error| {
                    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
                })?,
            Target::Stdout => {
                use std::os::fd::AsFd;
                File::from(io::stdout().as_fd().try_clone_to_owned()?)
            }
        };
        counters.opened.fetch_add(1, Relaxed);
        Ok(file)
    }

    /// Whether the path no longer names the open file, as after a rotation by renaming.
    pub fn moved(&self, open: &File) -> bool {
        let Target::Path(path) = self else {
            return false;
        };
        let (Ok(ours), Ok(named)) = (open.metadata(), identity(path)) else {
            return true;
        };
        named != (ours.dev(), ours.ino())
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = std::fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

impl Sink<File> {
    /// The open file.
    pub fn file(&self) -> &File {
        &self.output
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A device that takes `room` bytes in all, at most `step` per write, and then is full.
    struct Device {
        bytes: Vec<u8>,
        room: usize,
        step: usize,
        cuts: bool,
    }

    impl Output for Device {
        fn put(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.step).min(self.room - self.bytes.len());
            if count == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            self.bytes.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn cut(&mut self, count: u64) -> bool {
            if self.cuts {
                self.bytes.truncate(self.bytes.len() - count as usize);
            }
            self.cuts
        }
    }

    fn line(number: usize, length: usize) -> Vec<u8> {
        let mut line =
            format!("{{\"n\":{number},\"pad\":\"{}\"}}", "x".repeat(length)).into_bytes();
        line.push(b'\n');
        line
    }

    fn again(sink: &mut Sink<Device>, counters: &SinkCounters) {
        sink.retry_at = sink.retry_at.map(|_| Instant::now());
        sink.flush(counters);
    }

    #[test]
    fn a_full_device_holds_whole_lines_and_resumes() {
        let counters = SinkCounters::default();
        let mut sink = Sink::new(Device {
            bytes: Vec::new(),
            room: 100,
            step: usize::MAX,
            cuts: true,
        });
        for number in 0..10 {
            sink.push(&line(number, 20), &counters);
        }
        again(&mut sink, &counters);
        assert_eq!(
            sink.output.bytes.last(),
            Some(&b'\n'),
            "no torn line while full"
        );
        assert_eq!(counters.lines(), 2);
        sink.output.room = 10_000;
        again(&mut sink, &counters);
        assert_eq!(counters.lines(), 10);
        assert_eq!(counters.bytes() as usize, sink.output.bytes.len());
        assert_eq!(counters.lost(Lost::Write), 0);
    }

    #[test]
    fn a_device_that_stays_full_loses_counted_lines() {
        let counters = SinkCounters::default();
        let mut sink = Sink::new(Device {
            bytes: Vec::new(),
            room: 0,
            step: 1,
            cuts: true,
        });
        for number in 0..3000 {
            sink.push(&line(number, 1000), &counters);
        }
        assert!(counters.lost(Lost::Write) > 1000);
        assert!(sink.buffer.len() <= WAITING_MAX);
        sink.finish(&counters);
        assert_eq!(counters.lost(Lost::Write), 3000);
    }

    #[test]
    fn a_line_beyond_the_limit_is_lost_alone() {
        let counters = SinkCounters::default();
        let mut sink = Sink::new(Device {
            bytes: Vec::new(),
            room: 1000,
            step: 1000,
            cuts: true,
        });
        sink.push(&line(0, LINE_MAX), &counters);
        sink.push(&line(1, 10), &counters);
        sink.finish(&counters);
        assert_eq!((counters.lines(), counters.lost(Lost::TooLong)), (1, 1));
    }

    proptest! {
        /// Whatever the device takes at each step, what it holds at the end is exactly the lines
        /// that are counted as written, in order, and pushed = written + lost.
        #[test]
        fn lines_are_whole_in_order_and_accounted_for(
            lengths in proptest::collection::vec(0usize..3000, 1..200),
            steps in proptest::collection::vec((1usize..5000, 0usize..40_000), 1..50),
            cuts in any::<bool>(),
        ) {
            let counters = SinkCounters::default();
            let mut sink = Sink::new(Device { bytes: Vec::new(), room: 0, step: 1, cuts });
            let mut steps = steps.iter().cycle();
            for (number, length) in lengths.iter().enumerate() {
                sink.push(&line(number, *length), &counters);
                if number % 3 == 0 {
                    let (step, more) = steps.next().unwrap();
                    sink.output.step = *step;
                    sink.output.room += more;
                    again(&mut sink, &counters);
                    let whole = sink.output.bytes.is_empty()
                        || sink.output.bytes.last() == Some(&b'\n');
                    prop_assert!(whole || !cuts);
                }
            }
            sink.output.room = usize::MAX;
            sink.output.step = usize::MAX;
            sink.finish(&counters);
            let text = String::from_utf8(sink.output.bytes).unwrap();
            let numbers: Vec<u64> = text.lines().map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["n"].as_u64().unwrap()
            }).collect();
            prop_assert!(numbers.is_sorted());
            prop_assert_eq!(numbers.len() as u64, counters.lines());
            let all = counters.lines() + counters.lost(Lost::Write);
            prop_assert_eq!(all, lengths.len() as u64);
        }
    }
}
