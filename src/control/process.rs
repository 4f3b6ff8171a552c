//! What the kernel says of this process: `process_*` metrics, read from /proc (proc(5)).

use std::fs;

/// Clock ticks per second in /proc/PID/stat. USER_HZ is part of the kernel's ABI and is 100 on all
/// machines that we run on.
const USER_HZ: f64 = 100.0;

/// Values of `process_*`; those that /proc does not tell are left out.
#[derive(Default, Debug)]
pub struct Process {
    /// CPU time in user and system mode, seconds.
    pub cpu_seconds: Option<f64>,
    /// Memory in RAM, bytes.
    pub resident_bytes: Option<u64>,
    /// Address space, bytes.
    pub virtual_bytes: Option<u64>,
    /// Start, seconds since the epoch.
    pub start_seconds: Option<f64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Open descriptors.
    pub open_fds: Option<u64>,
    /// Soft limit of descriptors.
    pub max_fds: Option<u64>,
}

impl Process {
    /// Reads the values of this process.
    pub fn read() -> Process {
        let mut process = Process::default();
        if let Ok(stat) = fs::read_to_string("/proc/self/stat") {
            process.read_stat(&stat);
        }
        if let Ok(status) = fs::read_to_string("/proc/self/status") {
            let kilobytes = |name: &str| field(&status, name).map(|value| value << 10);
            process.resident_bytes = kilobytes("VmRSS:");
            process.virtual_bytes = kilobytes("VmSize:");
        }
        process.open_fds = fs::read_dir("/proc/self/fd")
            .ok()
            .map(|list| (list.count() as u64).saturating_sub(1)); // our own look is not counted
        process.max_fds = fs::read_to_string("/proc/self/limits")
            .ok()
            .and_then(|limits| field(&limits, "Max open files"));
        process
    }

    /// Fields are numbered as in proc(5); the second, the name, may hold spaces and ends with the
    /// last `)`.
    fn read_stat(&mut self, stat: &str) {
        let Some((_, rest)) = stat.rsplit_once(')') else {
            return;
        };
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |position: usize| -> Option<u64> { fields.get(position - 3)?.parse().ok() };
        self.cpu_seconds = number(14)
            .zip(number(15))
            .map(|(user, system)| (user + system) as f64 / USER_HZ);
        self.threads = number(20);
        let boot = fs::read_to_string("/proc/stat")
            .ok()
            .and_then(|stat| field(&stat, "btime"));
        self.start_seconds = boot
            .zip(number(22))
            .map(|(boot, ticks)| boot as f64 + ticks as f64 / USER_HZ);
    }
}

/// First number behind `name` at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_described() {
        let process = Process::read();
        assert!(process.cpu_seconds.is_some());
        assert!(process.resident_bytes > Some(1 << 20));
        assert!(process.virtual_bytes > process.resident_bytes);
        assert!(process.threads >= Some(1));
        assert!(process.open_fds >= Some(3) && process.max_fds >= process.open_fds);
        assert!(process.start_seconds > Some(1e9));
    }

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_fields() {
        let mut process = Process::default();
        process.read_stat("7 (a) (b) S 1 7 7 0 -1 4 0 0 0 0 150 50 0 0 20 0 9 0 100 0");
        assert_eq!((process.cpu_seconds, process.threads), (Some(2.0), Some(9)));
    }
}
