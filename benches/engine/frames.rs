//! What benches over captures share: the frames of one, read as the engine reads them, and the
//! processor time of a thread.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sluice::decode::LinkType;
use sluice::memory::{Arena, Regions};
use sluice::packet::{BURST_MAX, Context};
use sluice::port::Receive;
use sluice::port::capture::spread::Spread;
use sluice::port::capture::{Capture, CaptureReader};

/// Calls `each` with all frames of a capture, in order.
pub fn each(path: &Path, each: impl FnMut(&Context, &[u8])) {
    each_of(&Capture::open(&[path]).expect("a capture"), each);
}

/// One lane's reader of an open capture.
pub fn reader(capture: &Arc<Capture>) -> CaptureReader {
    let link = |number| LinkType::from_pcap(number) as u8;
    CaptureReader::new(Arc::clone(capture), link, Spread::First, 0, 1)
}

/// As [`each`], of an open capture: its pages are in this process's memory afterwards.
pub fn each_of(capture: &Arc<Capture>, mut each: impl FnMut(&Context, &[u8])) {
    let mut regions = Regions::default();
    let (contexts, mut free) = Arena::new(BURST_MAX, Context::default);
    let mut reader = reader(capture);
    reader.register(&mut regions);
    let mut burst = Vec::with_capacity(BURST_MAX);
    loop {
        let received = reader.receive(&contexts, &mut free, &mut burst, BURST_MAX, 0);
        for handle in burst.drain(..) {
            let context = contexts.get(&handle);
            each(context, regions.bytes(context.span));
            free.push(handle);
        }
        if received.end {
            return;
        }
    }
}

/// Processor time of this thread.
pub fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The middle one of some values.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
