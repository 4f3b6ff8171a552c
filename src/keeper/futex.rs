//! Futexes between processes: waiting on a word of the board, and the robust list by which the
//! kernel tells of a thread's death (futex(2), get_robust_list(2),
//! Documentation/locking/robust-futex-ABI.rst).
//!
//! The kernel walks a thread's robust list as one of the first things of its exit, long before it
//! tears the process's memory down: that is why death is read here and not from a pidfd.

use std::mem::offset_of;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::board::Post;

/// Bit that the kernel sets when the owner died (linux/futex.h).
pub const OWNER_DIED: u32 = 0x4000_0000;
/// Bit that says somebody waits, and must be woken.
pub const WAITERS: u32 = 0x8000_0000;

/// `struct robust_list_head`, of one thread. Leaked: it must be there when the thread exits.
#[repr(C)]
struct Head {
    first: AtomicU64,
    offset: i64,
    pending: AtomicU64,
}

/// Waits while the word is `value`, for `time` at most. May return early.
pub fn wait(word: &AtomicU32, value: u32, time: Duration) {
    let time = libc::timespec {
        tv_sec: time.as_secs() as libc::time_t,
        tv_nsec: i64::from(time.subsec_nanos()),
    };
    // SAFETY: a valid word and timespec, both outliving the call; FUTEX_WAIT only reads the word.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT,
            value,
            &time,
        )
    };
}

/// Wakes all who wait on the word.
pub fn wake_all(word: &AtomicU32) {
    // SAFETY: a valid word; FUTEX_WAKE does not touch it.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}

/// Number of the calling thread.
pub fn thread_number() -> u32 {
    // SAFETY: no arguments.
    unsafe { libc::syscall(libc::SYS_gettid) as u32 }
}

/// Makes the calling thread the owner of a post's futex until it releases it or dies. The thread's
/// robust list is this one entry from now on (the C library's, for robust mutexes, which nothing
/// here uses, is set aside).
///
/// # Errors
/// What the kernel says.
pub fn own(post: &'static Post) -> std::io::Result<()> {
    let head: &'static Head = Box::leak(Box::new(Head {
        first: AtomicU64::new(0),
        offset: offset_of!(Post, futex) as i64 - offset_of!(Post, node) as i64,
        pending: AtomicU64::new(0),
    }));
    let place = |word: &AtomicU64| word.as_ptr() as u64;
    post.node.store(place(&head.first), Ordering::Release);
    head.first.store(place(&post.node), Ordering::Release);
    let number = thread_number();
    post.thread.store(number, Ordering::Release);
    post.futex.store(number, Ordering::Release);
    // SAFETY: the head is leaked and the post mapped for ever, so that the kernel finds both when
    // the thread exits.
    let done = unsafe {
        libc::syscall(
            libc::SYS_set_robust_list,
            std::ptr::from_ref(head),
            size_of::<Head>(),
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Gives a post's futex up in order.
pub fn release(post: &Post) {
    if post.futex.swap(0, Ordering::AcqRel) & WAITERS != 0 {
        wake_all(&post.futex);
    }
}

/// Whether the owner died.
pub fn is_dead(post: &Post) -> bool {
    post.futex.load(Ordering::Acquire) & OWNER_DIED != 0
}

/// Waits until the post's owner dies or releases it, for `time` at most.
pub fn await_owner(post: &Post, time: Duration) {
    let word = post.futex.fetch_or(WAITERS, Ordering::AcqRel) | WAITERS;
    if word & OWNER_DIED == 0 && word & !WAITERS != 0 {
        wait(&post.futex, word, time);
    } else if word & OWNER_DIED == 0 {
        std::thread::sleep(time.min(Duration::from_millis(1)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::board::{Board, Shape};
    use super::*;

    #[test]
    fn the_kernel_tells_of_a_dead_thread_and_not_of_an_orderly_one() {
        let shape = Shape {
            lanes: 1,
            ports: 2,
            workers: 2,
        };
        let (board, _fd) = Board::create(shape).unwrap();
        for (worker, orderly) in [(0, false), (1, true)] {
            let post = board.post(0, worker);
            let thread = std::thread::spawn(move || {
                own(post).unwrap();
                while post.futex.load(Ordering::Acquire) & WAITERS == 0 {
                    std::thread::yield_now();
                }
                if orderly {
                    release(post);
                }
            });
            while post.futex.load(Ordering::Acquire) == 0 {
                std::thread::yield_now();
            }
            await_owner(post, Duration::from_secs(10));
            thread.join().unwrap();
            assert_eq!(is_dead(post), !orderly);
        }
    }
}
