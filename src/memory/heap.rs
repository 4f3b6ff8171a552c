//! Puts what the allocator gave so far on 2 MiB pages: the compiled rules are hundreds of megabytes
//! that every packet looks into at random, what stages keep of flows is gigabytes, and with 4 KiB
//! pages most looks miss the TLB too, which costs most in a virtual machine. Done before the workers
//! start; nothing else is changed.

use std::fs;

use super::{HUGE_PAGE_SIZE, available_bytes};

/// `madvise(2)`: makes huge pages of what stands there, at once (Linux 6.1).
const MADV_COLLAPSE: libc::c_int = 25;

/// `madvise(2)`: touches all of a range, as a write would (Linux 5.14).
const MADV_POPULATE_WRITE: libc::c_int = 23;

/// What becomes of memory that nobody has touched yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Untouched {
    /// It is given 2 MiB at a time when it is first used.
    Later,
    /// All of it is touched now, so that no packet waits for the kernel to clear it; unless it is
    /// more than the machine has left, which is found out when it is used, as ever.
    Now,
}

/// Asks the kernel to put the process's private anonymous memory on huge pages. Gives how many
/// bytes stand on them now; 0 where it cannot, which is no error.
pub fn onto_huge_pages(untouched: Untouched) -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let ranges: Vec<(usize, usize)> = maps.lines().filter_map(heap_range).collect();
    let bytes: usize = ranges.iter().map(|(from, to)| to - from).sum();
    let untouched = match untouched {
        Untouched::Now if bytes > available_bytes() => Untouched::Later,
        as_asked => as_asked,
    };
    let done = ranges.into_iter().map(|range| collapse(range, untouched));
    done.sum()
}

/// Whole huge pages of a line of /proc/self/maps (proc_pid_maps(5)) that is anonymous memory of the
/// allocator.
fn heap_range(line: &str) -> Option<(usize, usize)> {
    let mut words = line.split_ascii_whitespace();
    let (range, rights, inode) = (words.next()?, words.next()?, words.nth(2)?);
    let named = words.next();
    if rights != "rw-p" || inode != "0" || named.is_some_and(|name| name != "[heap]") {
        return None;
    }
    let (from, to) = range.split_once('-')?;
    let from = usize::from_str_radix(from, 16)
        .ok()?
        .next_multiple_of(HUGE_PAGE_SIZE);
    let to = usize::from_str_radix(to, 16).ok()? / HUGE_PAGE_SIZE * HUGE_PAGE_SIZE;
    (from < to).then_some((from, to))
}

fn collapse((from, to): (usize, usize), untouched: Untouched) -> usize {
    // None of these changes what the memory holds, whoever uses it.
    let advise = |at: usize, length: usize, advice| {
        // SAFETY: a range that is gone by now is refused.
        unsafe { libc::madvise(at as *mut libc::c_void, length, advice) == 0 }
    };
    advise(from, to - from, libc::MADV_HUGEPAGE);
    if untouched == Untouched::Now {
        advise(from, to - from, MADV_POPULATE_WRITE);
    }
    let pages = (from..to).step_by(HUGE_PAGE_SIZE);
    let done = pages.filter(|page| advise(*page, HUGE_PAGE_SIZE, MADV_COLLAPSE));
    done.count() * HUGE_PAGE_SIZE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_private_anonymous_memory_is_touched() {
        let line = "7f0000100000-7f0000900000 rw-p 00000000 00:00 0 ";
        assert_eq!(heap_range(line), Some((0x7f00_0020_0000, 0x7f00_0080_0000)));
        let file = "7f0000100000-7f0000900000 rw-p 00000000 08:01 7   /lib/x.so";
        let read_only = "7f0000100000-7f0000900000 r--p 00000000 00:00 0 ";
        let small = "7f0000100000-7f0000180000 rw-p 00000000 00:00 0 [heap]";
        let stack = "7f0000100000-7f0000900000 rw-p 00000000 00:00 0 [stack]";
        for line in [file, read_only, small, stack, "", "x y z"] {
            assert_eq!(heap_range(line), None, "{line}");
        }
    }

    #[test]
    fn what_memory_holds_stays() {
        let held: Vec<u32> = (0..4 << 20).collect();
        let _ = onto_huge_pages(Untouched::Later);
        assert!(held.iter().zip(0..).all(|(held, wanted)| *held == wanted));
    }
}
