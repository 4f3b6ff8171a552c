//! Who gets a processor when it counts: the keeper before all others, a worker that it suspects next,
//! what compiles rules after all.
//! A takeover is a matter of hundreds of microseconds; behind a queue of ordinary threads it would be
//! one of milliseconds.

use std::os::fd::RawFd;
use std::time::Duration;

/// Priority among real-time threads of a worker that is suspected: the lowest; ordinary threads are
/// all below.
const SUSPECTED: libc::c_int = 1;
/// The keeper's, so that what it suspects cannot keep it from looking.
const KEEPER: libc::c_int = 2;

/// Sets policy and priority of a thread, 0 for the own one. False without the right to do so.
fn set(thread: libc::pid_t, policy: libc::c_int, priority: libc::c_int) -> bool {
    // SAFETY: all-zero is a valid sched_param; it outlives the call. Children start as ordinary
    // processes (SCHED_RESET_ON_FORK).
    unsafe {
        let mut parameter: libc::sched_param = std::mem::zeroed();
        parameter.sched_priority = priority;
        let policy = policy | libc::SCHED_RESET_ON_FORK;
        libc::sched_setscheduler(thread, policy, &parameter) == 0
    }
}

/// Before all ordinary threads, where the system allows it: while it waits for a death, and for the
/// first moments after one.
pub fn prefer() {
    set(0, libc::SCHED_FIFO, KEEPER);
}

/// As others: while it forwards for long, or it would starve who is to take over.
pub fn ordinary() {
    set(0, libc::SCHED_OTHER, 0);
}

/// Lets a worker's thread go before all ordinary ones, if it is ordinary itself. False: it is as it
/// was.
pub fn prefer_thread(thread: u32) -> bool {
    let own = thread == 0;
    !own && is_ordinary(thread) && set(thread as libc::pid_t, libc::SCHED_FIFO, SUSPECTED)
}

/// Whether a thread goes neither before nor after the ordinary ones.
pub fn is_ordinary(thread: u32) -> bool {
    // SAFETY: no memory is passed.
    let policy = unsafe { libc::sched_getscheduler(thread as libc::pid_t) };
    policy & !libc::SCHED_RESET_ON_FORK == libc::SCHED_OTHER
}

/// Lets a worker's thread be as others again.
pub fn ordinary_thread(thread: u32) {
    set(thread as libc::pid_t, libc::SCHED_OTHER, 0);
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
