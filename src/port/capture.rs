//! Captures as ports: pcap and pcapng files, mapped and walked in place, and the writer of
//! `--write`. Formats: format.rs (draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng); which lane
//! takes a packet: spread.rs.
//!
//! Every lane walks the same map by itself and delivers only the packets that the spread gives it,
//! so lanes share nothing and packets keep their numbers. A broken file is no reason to stop: what
//! can be read is delivered, the fault is kept with its byte position and told at the end.
//! Deliberately absent: decompression, and captures from pipes (a map needs a file).

pub mod format;
pub mod spread;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{PortCounter, PortCounters, Receive, Received};
use crate::memory::{Arena, Handle, Region, Regions, Span};
use crate::packet::{Burst, Context};
use format::{Fault, Walk};
use spread::{Dealer, Spread};
pub use writer::{CaptureFormat, CaptureWriter};

/// Records walked in one call of `receive`, delivered or not: bounds the time until a lane that
/// gets few of the packets tells its watermark.
pub const SCAN_MAX: usize = 1024;

/// Turns a pcap link type into the `Context::link` code that decode reads.
pub type LinkCode = fn(u32) -> u8;

/// The code while decode gives none: the pcap number where it fits, 255 otherwise.
pub fn link_number(link: u32) -> u8 {
    u8::try_from(link).unwrap_or(u8::MAX)
}

/// What is wrong with a capture, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureError {
    /// The file.
    pub path: PathBuf,
    /// Byte position of the fault; `None` where the file could not be read at all.
    pub offset: Option<u64>,
    /// What is wrong.
    pub what: String,
    /// What to do; may be empty.
    pub hint: String,
}

impl std::fmt::Display for CaptureError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        if let Some(offset) = self.offset {
            write!(f, "at byte {offset}: ")?;
        }
        write!(f, "{}", self.what)?;
        if !self.hint.is_empty() {
            write!(f, "\n [hint] {}", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for CaptureError {}

/// One file of a capture set.
struct CaptureFile {
    path: PathBuf,
    region: Arc<Region>,
    /// How to walk it; the fault says that it cannot be walked at all.
    start: Result<Walk, Fault>,
}

/// Captures read one after the other, shared by the readers of all lanes.
pub struct Capture {
    files: Vec<CaptureFile>,
    bytes: u64,
}

impl Capture {
    /// Maps the files, in order. A file that is no capture is not an error yet: readers tell it
    /// after all that can be read.
    ///
    /// # Errors
    /// A file that cannot be opened, is a directory or a pipe, or cannot be mapped.
    pub fn open<P: AsRef<Path>>(paths: &[P]) -> Result<Arc<Capture>, CaptureError> {
        let mut files = Vec::with_capacity(paths.len());
        let mut bytes = 0;
        for path in paths {
            let file = CaptureFile::open(path.as_ref())?;
            bytes += file.region.len() as u64;
            files.push(file);
        }
        Ok(Arc::new(Capture { files, bytes }))
    }

    /// Bytes of all files.
    pub fn len(&self) -> u64 {
        self.bytes
    }

    /// Whether all files are empty.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }
}

impl CaptureFile {
    fn open(path: &Path) -> Result<CaptureFile, CaptureError> {
        let error = |what: String, hint: &str| CaptureError {
            path: path.to_path_buf(),
            offset: None,
            what,
            hint: hint.to_string(),
        };
        let file = std::fs::File::open(path)
            .map_err(|e| error(format!("cannot open: {e}"), "check the path and its rights"))?;
        let metadata = file
            .metadata()
            .map_err(|e| error(format!("cannot read its size: {e}"), ""))?;
        if !metadata.is_file() {
            return Err(error(
                "not a regular file".to_string(),
                "captures are mapped, so write a pipe or stream to a file first",
            ));
        }
        let region = Region::map_file(&file)
            .map_err(|e| error(format!("cannot map: {e}"), "check the memory limits"))?;
        let start = Walk::start(&region);
        Ok(CaptureFile {
            path: path.to_path_buf(),
            region: Arc::new(region),
            start,
        })
    }
}

/// Longest step of the feed's clock, nanoseconds: far longer than timeouts are, and so short that
/// the flow table's sweep comes round long before its ticks wrap, however many files of different
/// years follow each other.
const CLOCK_STEP_MAX_NS: u64 = 6 * 3600 * 1_000_000_000;

/// Time that never goes back, over packets and files in the order in which they are read: the sum
/// of all steps ahead of the newest time stamp so far. A new file, and a clock that was set back by
/// more than a step, begin anew from there, so that flows age in them as they did; where it comes
/// back at once, the records between were out of line and made nothing older. Every lane's reader
/// walks all records, so all of them tell the same time.
#[derive(Clone, Copy, Default, Debug)]
struct FeedClock {
    now_ns: u64,
    newest_ns: u64,
    /// Newest time stamp before the clock was set back in the current file; 0: it was not.
    before_ns: u64,
    /// The current file has shown a record.
    began: bool,
}

impl FeedClock {
    /// The next record was stamped `time_ns`; gives the time of the feed.
    #[inline]
    fn tick(&mut self, time_ns: u64) -> u64 {
        // Time goes on as it should: the rule for all, of which this is left then.
        if let Some(step_ns) = time_ns.checked_sub(self.newest_ns)
            && step_ns <= CLOCK_STEP_MAX_NS
            && self.began
            && self.before_ns == 0
            && self.now_ns != 0
        {
            self.newest_ns = time_ns;
            self.now_ns = self.now_ns.saturating_add(step_ns);
            return self.now_ns;
        }
        self.tick_oddly(time_ns)
    }

    #[inline(never)]
    fn tick_oddly(&mut self, time_ns: u64) -> u64 {
        let mut step_ns = time_ns.saturating_sub(self.newest_ns);
        if !self.began {
            self.before_ns = 0;
        }
        if self.before_ns > 0 && step_ns > CLOCK_STEP_MAX_NS {
            let is_back = time_ns.abs_diff(self.before_ns) <= CLOCK_STEP_MAX_NS;
            let before_ns = std::mem::take(&mut self.before_ns);
            if is_back {
                self.newest_ns = before_ns;
                step_ns = time_ns.saturating_sub(before_ns);
            }
        }
        let back_ns = self.newest_ns.saturating_sub(time_ns);
        if self.now_ns == 0 {
            self.now_ns = time_ns;
        } else {
            let step_ns = step_ns.min(CLOCK_STEP_MAX_NS);
            self.now_ns = self.now_ns.saturating_add(step_ns);
        }
        if step_ns > 0 || !self.began || back_ns > CLOCK_STEP_MAX_NS {
            if self.began && back_ns > CLOCK_STEP_MAX_NS {
                self.before_ns = self.newest_ns;
            }
            self.newest_ns = time_ns;
        }
        self.began = true;
        self.now_ns
    }
}

/// The receiving half over captures, for lane `lane` of `lanes`.
pub struct CaptureReader {
    capture: Arc<Capture>,
    /// Region numbers of the files, by position.
    regions: Vec<u16>,
    link_code: LinkCode,
    /// The link type of the last record, and its code.
    link: (u32, u8),
    dealer: Dealer,
    lane: usize,
    /// File being read.
    file: usize,
    /// Where in each file; made at start, so that reading never allocates.
    walks: Vec<Result<Walk, Fault>>,
    /// Number of the next record, from 1, over all files.
    order: u64,
    /// Bytes of the files before this one.
    bytes_before: u64,
    /// Time of the feed.
    clock: FeedClock,
    /// Faults met so far, with the position of their file; told by `errors`.
    faults: Vec<(usize, Fault)>,
    counters: Arc<PortCounters>,
}

impl CaptureReader {
    /// A reader of the packets that `spread` gives to lane `lane` of `lanes`.
    ///
    /// # Panics
    /// If `lane` is not below `lanes`: a mistake of the start-up code.
    pub fn new(
        capture: Arc<Capture>,
        link_code: LinkCode,
        spread: Spread,
        lane: usize,
        lanes: usize,
    ) -> CaptureReader {
        assert!(lane < lanes, "lane {lane} of {lanes}");
        let files = capture.files.len();
        let walks = capture.files.iter().map(|f| f.start.clone()).collect();
        CaptureReader {
            capture,
            regions: Vec::with_capacity(files),
            link_code,
            link: (0, link_code(0)),
            dealer: Dealer::new(spread, lanes),
            lane,
            file: 0,
            walks,
            order: 1,
            bytes_before: 0,
            clock: FeedClock::default(),
            faults: Vec::with_capacity(files),
            counters: Arc::default(),
        }
    }

    /// Faults met so far, one per file at most; every lane's reader meets the same ones.
    pub fn errors(&self) -> Vec<CaptureError> {
        let told = |(file, fault): &(usize, Fault)| CaptureError {
            path: self
                .capture
                .files
                .get(*file)
                .map(|f| f.path.clone())
                .unwrap_or_default(),
            offset: Some(fault.offset),
            what: fault.what.to_string(),
            hint: fault.hint.to_string(),
        };
        self.faults.iter().map(told).collect()
    }

    /// Bytes of the captures walked so far, for a progress display.
    pub fn position(&self) -> u64 {
        let here = match self.walks.get(self.file) {
            Some(Ok(walk)) => walk.position(),
            _ => 0,
        };
        self.bytes_before + here
    }

    /// Keeps the fault of the current file and goes to the next one.
    fn next_file(&mut self, fault: Option<Fault>) {
        if let Some(file) = self.capture.files.get(self.file) {
            // Has room for one fault a file: a lane reads, so nothing may be allocated here.
            self.faults.extend(fault.map(|fault| (self.file, fault)));
            self.bytes_before += file.region.len() as u64;
        }
        self.file += 1;
        self.clock.began = false;
    }

    /// The next record of the captures with its file's region number, `None` at the end.
    fn next_record(&mut self) -> Option<(format::Record, u16)> {
        // Bounded by the number of files: each turn of the loop but the last ends one of them.
        while let (Some(walk), Some(file)) = (
            self.walks.get_mut(self.file),
            self.capture.files.get(self.file),
        ) {
            let step = match walk {
                Ok(walk) => walk.next(&*file.region),
                Err(fault) => Err(*fault),
            };
            match step {
                Ok(Some(record)) => {
                    return Some((record, self.regions.get(self.file).copied().unwrap_or(0)));
                }
                Ok(None) => self.next_file(None),
                Err(fault) => self.next_file(Some(fault)),
            }
        }
        None
    }

    /// Whether this lane takes a record.
    fn is_ours(&self, record: &format::Record, order: u64) -> bool {
        if self.dealer.is_one() {
            return true;
        }
        let Some(file) = self.capture.files.get(self.file) else {
            return false;
        };
        let frame = file.region.bytes(record.offset, record.length);
        self.dealer.lane(order, record.link, frame) == self.lane
    }
}

impl Receive for CaptureReader {
    fn register(&mut self, regions: &mut Regions) {
        self.regions.clear();
        for file in &self.capture.files {
            self.regions.push(regions.add_once(&file.region));
        }
    }

    fn receive(
        &mut self,
        contexts: &Arena<Context>,
        free: &mut Vec<Handle>,
        burst: &mut Burst,
        limit: usize,
        _now_ns: u64,
    ) -> Received {
        let mut received = Received::default();
        for _ in 0..SCAN_MAX {
            if received.count == limit {
                break;
            }
            if free.is_empty() {
                received.starved = true;
                self.counters.add(PortCounter::Starved, 1);
                break;
            }
            let Some((record, region)) = self.next_record() else {
                received.end = true;
                break;
            };
            let order = self.order;
            self.order += 1;
            let clock_ns = self.clock.tick(record.time_ns);
            if !self.is_ours(&record, order) {
                continue;
            }
            let Some(handle) = free.pop() else { break };
            if record.link != self.link.0 {
                self.link = (record.link, (self.link_code)(record.link));
            }
            let span = Span {
                offset: record.offset,
                length: record.length,
                region,
            };
            burst.push(received.frame(contexts, handle, span, |context| {
                context.time_ns = record.time_ns;
                context.clock_ns = clock_ns;
                context.order = order;
                context.link = self.link.1;
            }));
        }
        received.watermark = if received.end { u64::MAX } else { self.order };
        self.counters
            .add(PortCounter::Packets, received.count as u64);
        self.counters.add(PortCounter::Bytes, received.bytes);
        received
    }

    fn reclaim(&mut self, _context: &mut Context) {}

    fn counters(&self) -> &Arc<PortCounters> {
        &self.counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The folder of shared data, or a loud skip.
    fn shared() -> Option<PathBuf> {
        let path = std::env::var_os("SLUICE_SHARED").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
            PathBuf::from,
        );
        if path.join("captures").is_dir() {
            return Some(path);
        }
        assert!(
            std::env::var_os("SLUICE_REQUIRE_SHARED").is_none_or(|v| v != "1"),
            "no captures under {}",
            path.display()
        );
        println!("SKIPPED: no captures under {}", path.display());
        None
    }

    /// Order, time, link and bytes of a packet.
    type Packet = (u64, u64, u8, Vec<u8>);

    struct Read {
        /// The packets of each lane.
        lanes: Vec<Vec<Packet>>,
        errors: Vec<CaptureError>,
    }

    /// Reads captures with `lanes` lanes and checks the watermarks on the way.
    fn read(paths: &[PathBuf], spread: Spread, lanes: usize) -> Read {
        let capture = Capture::open(paths).unwrap();
        let mut regions = Regions::default();
        let mut result = Read {
            lanes: Vec::new(),
            errors: Vec::new(),
        };
        for lane in 0..lanes {
            let (contexts, mut free) = Arena::new(64, Context::default);
            let capture = Arc::clone(&capture);
            let mut reader = CaptureReader::new(capture, link_number, spread, lane, lanes);
            reader.register(&mut regions);
            let mut burst = Vec::with_capacity(64);
            let mut packets = Vec::new();
            let mut watermark = 1;
            loop {
                let received = reader.receive(&contexts, &mut free, &mut burst, 64, 0);
                assert_eq!(received.count, burst.len());
                for mut handle in burst.drain(..) {
                    let context = contexts.get(&handle);
                    assert!(context.order >= watermark && context.order < received.watermark);
                    assert_eq!(handle.length(), context.span.length.min(0xff_ffff));
                    packets.push((
                        context.order,
                        context.time_ns,
                        context.link,
                        regions.bytes(context.span).to_vec(),
                    ));
                    reader.reclaim(contexts.get_mut(&mut handle));
                    free.push(handle);
                }
                watermark = received.watermark;
                if received.end {
                    break;
                }
            }
            assert_eq!(watermark, u64::MAX);
            result.errors = reader.errors();
            result.lanes.push(packets);
        }
        result
    }

    #[test]
    fn the_clock_never_goes_back_and_every_file_takes_its_time() {
        const HOURS: u64 = 3600 * 1_000_000_000;
        let mut clock = FeedClock::default();
        let mut ticks = |times: &[u64]| -> Vec<u64> {
            clock.began = false;
            times.iter().map(|at| clock.tick(*at)).collect()
        };
        assert_eq!(ticks(&[10, 30, 20, 31]), [10, 30, 30, 31]);
        // An older file goes on from there.
        assert_eq!(ticks(&[5, 9, 7, 10]), [31, 35, 35, 36]);
        // A jump of years is a step of hours; a stamp that was nonsense is forgotten.
        let later = 36 + 6 * HOURS;
        assert_eq!(ticks(&[u64::MAX, 20, 25]), [later, later, later + 5]);
        // One record of another decade ages nothing.
        let later = later + 5;
        let year = 9000 * HOURS;
        let times = [year, 7, year + 2, year + 3];
        let from = later + 6 * HOURS;
        assert_eq!(ticks(&times), [from, from, from + 2, from + 3]);
    }

    fn temporary(name: &str, bytes: &[u8]) -> PathBuf {
        let path = std::env::temp_dir().join(format!("sluice-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// A small capture of `count` packets, made by the writer.
    fn written(name: &str, count: u8) -> PathBuf {
        let path = temporary(name, b"");
        let mut writer = CaptureWriter::create(&path).unwrap();
        for number in 0..count {
            let frame = vec![number; 60 + usize::from(number)];
            writer
                .write(u64::from(number) * 1_000_000_001, 1, &frame)
                .unwrap();
        }
        writer.finish().unwrap();
        path
    }

    #[test]
    fn what_the_writer_wrote_the_reader_reads() {
        for name in ["both.pcap", "both.pcapng"] {
            let path = written(name, 20);
            let read = read(std::slice::from_ref(&path), Spread::First, 1);
            assert_eq!(read.errors, []);
            assert_eq!(read.lanes[0].len(), 20);
            for (number, (order, time_ns, link, bytes)) in read.lanes[0].iter().enumerate() {
                assert_eq!(*order, number as u64 + 1);
                assert_eq!(*time_ns, number as u64 * 1_000_000_001);
                assert_eq!((*link, bytes.len()), (1, 60 + number));
            }
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn two_link_types_need_pcapng() {
        let path = temporary("links.pcap", b"");
        let mut writer = CaptureWriter::create(&path).unwrap();
        writer.write(0, 1, b"ethernet").unwrap();
        let error = writer.write(0, 101, b"ip").unwrap_err();
        assert!(error.to_string().contains(".pcapng"), "{error}");
        let path_ng = temporary("links.pcapng", b"");
        let mut writer = CaptureWriter::create(&path_ng).unwrap();
        for link in [1, 101, 1, 113] {
            writer.write(7, link, b"frame").unwrap();
        }
        writer.finish().unwrap();
        let read = read(std::slice::from_ref(&path_ng), Spread::First, 1);
        let links: Vec<_> = read.lanes[0].iter().map(|packet| packet.2).collect();
        assert_eq!((links, read.errors), (vec![1, 101, 1, 113], vec![]));
        std::fs::remove_file(path).unwrap();
        std::fs::remove_file(path_ng).unwrap();
    }

    #[test]
    fn a_broken_file_is_told_after_all_files_were_read() {
        let whole = written("whole.pcap", 5);
        let mut bytes = std::fs::read(&whole).unwrap();
        bytes.truncate(bytes.len() - 1);
        let cut = temporary("cut.pcap", &bytes);
        let empty = temporary("empty.pcap", b"");
        let text = temporary("text.pcap", b"this is no capture");
        let paths = [cut.clone(), empty.clone(), text.clone(), whole.clone()];
        let read = read(&paths, Spread::First, 1);
        let orders: Vec<_> = read.lanes[0].iter().map(|packet| packet.0).collect();
        assert_eq!(orders, (1..=9).collect::<Vec<_>>());
        let told: Vec<_> = read.errors.iter().map(|e| (&e.path, e.offset)).collect();
        // Four records of 16 bytes and 60 to 63 bytes of data lie behind the file header.
        let at = 24 + 4 * 16 + 60 + 61 + 62 + 63;
        assert_eq!(
            told,
            [(&cut, Some(at)), (&empty, Some(0)), (&text, Some(0))]
        );
        assert!(read.errors[0].to_string().contains("[hint]"));
        for path in paths {
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn a_missing_file_is_an_error_at_once() {
        let error = Capture::open(&["/no/such/file.pcap"]).err().unwrap();
        assert!(error.to_string().contains("cannot open"), "{error}");
        let error = Capture::open(&["/tmp"]).err().unwrap();
        assert!(error.to_string().contains("not a regular file"), "{error}");
    }

    /// Every packet of every capture reaches exactly one lane, whatever the spread.
    #[test]
    fn all_shared_captures_are_read_and_lanes_part_them() {
        let Some(shared) = shared() else { return };
        let (mut files, mut packets, mut faults) = (0, 0, 0);
        for folder in ["captures", "conformance/captures"] {
            for entry in std::fs::read_dir(shared.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                if path
                    .extension()
                    .is_none_or(|e| e != "pcap" && e != "pcapng")
                {
                    continue;
                }
                let paths = [path];
                let alone = read(&paths, Spread::First, 1);
                files += 1;
                packets += alone.lanes[0].len();
                faults += alone.errors.len();
                for spread in [Spread::Pair, Spread::Directional, Spread::RoundRobin] {
                    let mut parted: Vec<_> = read(&paths, spread, 3)
                        .lanes
                        .into_iter()
                        .flatten()
                        .collect();
                    parted.sort_by_key(|packet| packet.0);
                    assert!(parted == alone.lanes[0], "{paths:?} {spread:?}");
                }
            }
        }
        println!("{files} captures, {packets} packets, {faults} with faults");
        assert!(files > 2000 && packets > 100_000 && faults < files / 20);
    }

    /// Cut anywhere, a capture gives a prefix of its packets and never a panic.
    #[test]
    fn captures_cut_at_every_97th_byte_give_a_prefix() {
        let Some(shared) = shared() else { return };
        let mut cuts = 0;
        for (number, entry) in std::fs::read_dir(shared.join("captures"))
            .unwrap()
            .enumerate()
        {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            if number % 8 != 0 || bytes.len() > 200_000 {
                continue;
            }
            let whole = walk_all(&bytes);
            for end in (0..bytes.len()).step_by(97) {
                let cut = walk_all(&bytes[..end]);
                assert_eq!(cut[..], whole[..cut.len()]);
                cuts += 1;
            }
        }
        assert!(cuts > 10_000);
    }

    fn walk_all(bytes: &[u8]) -> Vec<format::Record> {
        let mut records = Vec::new();
        if let Ok(mut walk) = Walk::start(bytes) {
            while let Ok(Some(record)) = walk.next(bytes) {
                records.push(record);
            }
        }
        records
    }

    proptest::proptest! {
        #[test]
        fn damaged_captures_never_panic(
            seed in proptest::collection::vec((0usize..400, 0u8..=255), 1..20),
            ng in 0usize..2,
        ) {
            let format = [CaptureFormat::Pcap, CaptureFormat::Pcapng][ng];
            let out = Shared::default();
            let mut writer = CaptureWriter::to(Box::new(out.clone()), format);
            for number in 0..4 {
                writer.write(number, 1, &[0; 60]).unwrap();
            }
            writer.finish().unwrap();
            let mut bytes = out.0.lock().unwrap().clone();
            for (at, value) in seed {
                let at = at % bytes.len();
                bytes[at] = value;
            }
            for record in walk_all(&bytes) {
                proptest::prop_assert!(
                    record.offset + u64::from(record.length) <= bytes.len() as u64
                );
            }
        }
    }

    #[derive(Clone, Default)]
    struct Shared(Arc<std::sync::Mutex<Vec<u8>>>);

    impl std::io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
}
