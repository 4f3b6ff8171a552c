//! Who gets a processor when it counts: the keeper before all others, what compiles rules after them.
//! A takeover is a matter of hundreds of microseconds; behind a queue of ordinary threads it would be
//! one of milliseconds.

use std::os::fd::RawFd;
use std::time::Duration;

/// Priority among real-time threads: the lowest; ordinary threads are all below.
const PRIORITY: libc::c_int = 1;

fn set(policy: libc::c_int, priority: libc::c_int) {
    // SAFETY: all-zero is a valid sched_param; it outlives the call. Children start as ordinary
    // processes (SCHED_RESET_ON_FORK). Without the right to do so nothing changes.
    unsafe {
        let mut parameter: libc::sched_param = std::mem::zeroed();
        parameter.sched_priority = priority;
        libc::sched_setscheduler(0, policy | libc::SCHED_RESET_ON_FORK, &parameter);
    }
}

/// Before all ordinary threads, where the system allows it: while it waits for a death, and for the
/// first moments after one.
pub fn prefer() {
    set(libc::SCHED_FIFO, PRIORITY);
}

/// As others: while it forwards for long, or it would starve who is to take over.
pub fn ordinary() {
    set(libc::SCHED_OTHER, 0);
}

/// Whether a thread of this process gets only what the others leave. A share of a processor that it
/// has to fight for comes in slices of the scheduler, some milliseconds each: at the lowest ordinary
/// priority 1.5 % of the time, which shows at a lane's p99, and here 0.3 %.
pub fn after_others(thread: i32, yes: bool) {
    let policy = if yes {
        libc::SCHED_IDLE
    } else {
        libc::SCHED_OTHER
    };
    // SAFETY: all-zero is a valid sched_param; it outlives the call. If the system refuses, nothing
    // changes.
    unsafe {
        let parameter: libc::sched_param = std::mem::zeroed();
        libc::sched_setscheduler(thread, policy, &parameter);
    }
}

/// Keeps what is mapped now in memory: a page that must be fetched first is late.
pub fn stay_in_memory() {
    // SAFETY: no memory is passed. Without the right to do so nothing changes.
    unsafe { libc::mlockall(libc::MCL_CURRENT) };
}

/// Waits until one of the descriptors polls readable, for `time` at most.
pub fn poll(fds: &[RawFd], time: Duration) {
    let mut polled: Vec<libc::pollfd> = fds
        .iter()
        .map(|fd| libc::pollfd {
            fd: *fd,
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    let time = time.as_millis().clamp(1, 1000) as libc::c_int;
    // SAFETY: the array is valid for its length for the time of the call.
    unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, time) };
}
