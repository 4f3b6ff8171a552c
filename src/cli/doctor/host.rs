//! The machine around the ports: rights, pages, cores, clocks. Read from the kernel's own files
//! (proc(5), sysfs); a file that is not there is said to be so, and never taken for a good sign.

use super::{Finding, Grade};

const HOST: &str = "host";

fn read(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.trim().to_string())
}

/// All findings about the machine, for so many ports.
pub fn examine(ports: usize) -> Vec<Finding> {
    vec![permissions(), huge_pages(), isolated(ports), governor()]
}

fn permissions() -> Finding {
    const NEEDED: [(u32, &str); 3] = [
        (12, "CAP_NET_ADMIN"),
        (13, "CAP_NET_RAW"),
        (14, "CAP_IPC_LOCK"),
    ];
    let status = read("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|text| u64::from_str_radix(text.trim(), 16).ok())
        .unwrap_or(0);
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|(bit, _)| mask >> bit & 1 == 0)
        .map(|(_, name)| *name)
        .collect();
    let of = |grade, what| Finding::new(HOST, "permissions", grade, what);
    match missing.is_empty() {
        true => of(Grade::Ok, "all that ports need".to_string()),
        false => of(Grade::Wrong, format!("missing: {}", missing.join(", "))).mend(
            "run as root, or: setcap cap_net_raw,cap_net_admin,cap_ipc_lock+ep /path/to/sluice",
        ),
    }
}

fn huge_pages() -> Finding {
    let memory = read("/proc/meminfo").unwrap_or_default();
    let figure = |name: &str| {
        let line = memory.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
    };
    let free = figure("HugePages_Free:").unwrap_or(0);
    let kib = figure("Hugepagesize:").unwrap_or(2048);
    let transparent = read("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    let by_advice = transparent.contains("[madvise]") || transparent.contains("[always]");
    let of = |grade, what| Finding::new(HOST, "huge pages", grade, what);
    match (free, by_advice) {
        (1.., _) => of(Grade::Ok, format!("{} MiB free", free * kib / 1024)),
        (0, true) => of(
            Grade::Note,
            "none reserved; transparent ones are given where memory is whole enough".to_string(),
        )
        .mend("sysctl -w vm.nr_hugepages=1024 (2 GiB; `sluice run` prints what it needs)"),
        (0, false) => of(
            Grade::Slow,
            "none reserved, and transparent ones are off".to_string(),
        )
        .mend("sysctl -w vm.nr_hugepages=1024 (2 GiB; `sluice run` prints what it needs)"),
    }
}

fn isolated(ports: usize) -> Finding {
    let cores = read("/sys/devices/system/cpu/isolated").unwrap_or_default();
    let ticks = read("/sys/devices/system/cpu/nohz_full").unwrap_or_default();
    let count = std::thread::available_parallelism().map_or(1, |count| count.get());
    let of = |grade, what| Finding::new(HOST, "isolated cores", grade, what);
    if !cores.is_empty() && !ticks.is_empty() && ticks != "(null)" {
        let what = format!("cores {cores} are left to workers, {ticks} without ticks");
        return of(Grade::Ok, what);
    }
    let last = count.saturating_sub(1);
    let what = format!("none of {count} for {ports} ports");
    match last {
        0 => of(Grade::Slow, what).mend("a machine with more cores"),
        _ => {
            let cores = if last == 1 {
                "1".to_string()
            } else {
                format!("1-{last}")
            };
            of(Grade::Slow, what).mend(format!(
                "kernel parameters isolcpus={cores} nohz_full={cores} rcu_nocbs={cores}, then \
                 sluice run --pin"
            ))
        }
    }
}

fn governor() -> Finding {
    let of = |grade, what| Finding::new(HOST, "governor", grade, what);
    match read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") {
        None => of(
            Grade::Note,
            "the kernel does not set frequencies here (a guest, or firmware does)".to_string(),
        ),
        Some(word) if word == "performance" => of(Grade::Ok, word),
        Some(word) => of(Grade::Slow, word).mend(
            "for f in /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor; do echo performance > \
             $f; done",
        ),
    }
}
