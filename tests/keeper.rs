//! The keeper and its engine as an operator has them: processes. Engines are killed, stopped, sent
//! into endless loops and replaced under load; what is asked is that traffic goes on, that nothing
//! comes twice or out of order, and that every frame is accounted for (I1 to I5, I7).
//!
//! Only counts are asserted here; times are printed by `cargo bench --bench takeover`.

mod outage;
mod wire;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use outage::{Far, Kept, Sent};
use sluice::keeper::board::Half;
use sluice::port::PortCounter;
use sluice::port::memory::Shape;
use wire::{LITTLE, Namespace, PATIENCE, Scratch, Wire};

/// Kills of one test: a share of those of `SLUICE_LONG=1`.
fn kills() -> usize {
    match std::env::var_os("SLUICE_LONG").is_some() {
        true => 100,
        false => 5,
    }
}

/// One test at a time: each has a keeper, an engine and a far end that never rests.
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ONE.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Frames that an engine can hold when it dies: the bursts of both ports.
const IN_FLIGHT_MAX: u64 = 2 * 64;

fn shape() -> Shape {
    Shape {
        slots: 2048,
        extra: 24_576,
        ..Shape::default()
    }
}

/// The control socket of a keeper that `start` started.
fn control(scratch: &Scratch) -> PathBuf {
    scratch.0.join("control")
}

/// Starts a keeper that lets frames through on its own, and waits until its engine has the ports:
/// `inside` is the namespace of ports that are interfaces. Gives the engine's process too.
fn start(
    scratch: &Scratch,
    far: &mut Far,
    inside: Option<&Namespace>,
    more: &[&str],
) -> (Kept, u32) {
    let socket = control(scratch);
    let mut words = vec!["--keeper", "open", "--socket", socket.to_str().unwrap()];
    words.extend(LITTLE.iter().chain(more));
    let ports = far.ports();
    let started = || Kept::start(scratch, &ports, &words);
    let kept = match inside {
        Some(namespace) => namespace.inside(started),
        None => started(),
    };
    kept.wait_ready(far);
    let engine = kept.await_engine(far);
    (kept, engine)
}

/// As `start`, between far ends that share memory with it.
fn start_on_memory(scratch: &Scratch, more: &[&str]) -> (Far, Kept, u32) {
    let mut far = Far::memory(&scratch.0.join("wire"), shape());
    let (kept, engine) = start(scratch, &mut far, None, more);
    (far, kept, engine)
}

/// After the end: everything that was sent came out, was dropped, or was lost and counted.
fn assert_accounted(kept: Kept, far: &mut Far, kills: u64) {
    far.settle();
    let summary = kept.stop();
    far.settle();
    let Sent { sent, seen } = far.totals();
    let figure = |name: &str| summary.get(name).and_then(|v| v.as_u64()).unwrap_or(0);
    assert_eq!(summary["unaccounted"], 0, "I1: {summary}");
    assert_eq!(
        figure("packets"),
        sent,
        "all that was sent was received: {summary}"
    );
    assert_eq!(
        figure("forwarded") + figure("bypassed"),
        seen,
        "I1, outside: {summary}"
    );
    assert_eq!(sent, seen + figure("dropped") + figure("lost"), "{summary}");
    assert!(figure("lost") <= kills * IN_FLIGHT_MAX, "{summary}");
    far.assert_conserved();
}

/// Kills engine after engine under load, and gives how many.
fn kill_engines(kept: &Kept, far: &mut Far) -> u64 {
    let kills = kills();
    for _ in 0..kills {
        let pid = kept.await_engine(far);
        far.run(Duration::from_millis(30));
        kept.kill(pid, libc::SIGKILL);
        far.run(Duration::from_millis(30));
        far.forgive();
    }
    kept.await_engine(far);
    far.run(Duration::from_millis(50));
    kills as u64
}

#[test]
fn an_engine_that_is_killed_under_load_costs_what_it_held_and_is_replaced() {
    let _alone = alone();
    let scratch = Scratch::new("keeper-kill");
    let (mut far, kept, _) = start_on_memory(&scratch, &[]);
    let kills = kill_engines(&kept, &mut far);
    assert_accounted(kept, &mut far, kills);
}

#[test]
fn on_interfaces_a_killed_engine_costs_what_it_held_and_no_link_flaps() {
    let _alone = alone();
    if !wire::possible("on_interfaces_a_killed_engine_costs_what_it_held_and_no_link_flaps") {
        return;
    }
    let scratch = Scratch::new("keeper-wire");
    let wire = Wire::bare();
    wire::pin(0);
    let mut far = Far::wire(&wire);
    let (kept, _) = start(&scratch, &mut far, Some(&wire.appliance), &[]);
    let mut kills = 0;
    let changes = wire::link_changes(&wire.client, || {
        kills = kill_engines(&kept, &mut far);
    });
    assert_eq!(changes, "", "no link changes");
    assert_accounted(kept, &mut far, kills);
}

#[test]
fn an_interface_that_is_pulled_out_comes_back_to_keeper_and_engine() {
    let _alone = alone();
    if !wire::possible("an_interface_that_is_pulled_out_comes_back_to_keeper_and_engine") {
        return;
    }
    let scratch = Scratch::new("keeper-pulled");
    let (wire, elsewhere) = (Wire::bare(), wire::Namespace::new());
    for namespace in [&wire.appliance, &elsewhere] {
        // What comes up anew must say nothing of its own.
        namespace.inside(|| wire::sysctl("net/ipv6/conf/default/disable_ipv6", "1"));
    }
    wire::pin(0);
    let mut far = Far::wire(&wire);
    let (kept, engine) = start(&scratch, &mut far, Some(&wire.appliance), &[]);
    // While the engine has the rings, then while the keeper has them: no engine starts without rules.
    for round in 1..=2 {
        if round == 2 {
            std::fs::remove_file(scratch.0.join("r.rules")).unwrap();
            kept.kill(engine, libc::SIGKILL);
            kept.until(&mut far, "the keeper has the rings", || {
                kept.engine_with_ports().is_none().then_some(())
            });
        }
        let said = |what: &str| (kept.errors().matches(what).count() == round).then_some(());
        let (out, home) = (elsewhere.path(), wire.appliance.path());
        let inside = &wire.appliance;
        inside.inside(|| wire::ip(&format!("link set a1 netns {out}")));
        kept.until(&mut far, "it is gone", || said("a1: the interface is gone"));
        elsewhere.inside(|| wire::ip(&format!("link set a1 netns {home}")));
        inside.inside(|| wire::ip("link set a1 up"));
        kept.until(&mut far, "it is back", || said("a1: the interface is back"));
        far.forgive();
        let before = far.seen();
        let start = Instant::now();
        while far
            .seen()
            .iter()
            .zip(before)
            .any(|(now, then)| *now < then + 1000)
        {
            far.run(Duration::from_millis(10));
            assert!(start.elapsed() < PATIENCE, "{before:?} {:?}", far.seen());
        }
    }
    let tally = kept.board().unwrap().tally(0, 0, Half::Receive);
    assert_eq!(tally.counters.get(PortCounter::Reopened), 2);
}

/// A port that only new descriptors can serve: the engine after it has come back is another one,
/// and frames go through it both ways.
fn goes_on_by_another_engine(kept: &Kept, far: &mut Far, before: u32) -> u32 {
    let engine = kept.until(far, "another engine has the ports", || {
        kept.engine_with_ports().filter(|pid| *pid != before)
    });
    far.forgive();
    let seen = far.seen();
    let start = Instant::now();
    while far
        .seen()
        .iter()
        .zip(seen)
        .any(|(now, then)| *now < then + 1000)
    {
        far.run(Duration::from_millis(10));
        assert!(start.elapsed() < PATIENCE, "{seen:?} {:?}", far.seen());
    }
    assert_eq!(kept.engine_with_ports(), Some(engine), "{}", kept.errors());
    engine
}

#[test]
fn an_interface_of_several_lanes_comes_back_to_keeper_and_a_new_engine() {
    let _alone = alone();
    if !wire::possible("an_interface_of_several_lanes_comes_back_to_keeper_and_a_new_engine") {
        return;
    }
    let scratch = Scratch::new("keeper-lanes");
    let (wire, elsewhere) = (Wire::bare(), wire::Namespace::new());
    for namespace in [&wire.appliance, &elsewhere] {
        namespace.inside(|| wire::sysctl("net/ipv6/conf/default/disable_ipv6", "1"));
    }
    wire::pin(0);
    let mut far = Far::wire(&wire);
    let lanes = ["--lanes", "2"];
    let (kept, mut engine) = start(&scratch, &mut far, Some(&wire.appliance), &lanes);
    let (out, home) = (elsewhere.path(), wire.appliance.path());
    for round in 1..=2 {
        let said = |what: &str| (kept.errors().matches(what).count() == round).then_some(());
        let inside = &wire.appliance;
        inside.inside(|| wire::ip(&format!("link set a1 netns {out}")));
        kept.until(&mut far, "it is gone", || said("a1: the interface is gone"));
        elsewhere.inside(|| wire::ip(&format!("link set a1 netns {home}")));
        inside.inside(|| wire::ip("link set a1 up"));
        kept.until(&mut far, "it is back", || said("a1: the interface is back"));
        engine = goes_on_by_another_engine(&kept, &mut far, engine);
    }
    let board = kept.board().unwrap();
    let reopened = [0, 1].map(|lane| {
        let tally = board.tally(lane, 0, Half::Receive);
        tally.counters.get(PortCounter::Reopened)
    });
    assert_eq!(reopened, [2; 2]);
    far.settle();
    let heard = kept.heard();
    let summary = kept.stop();
    assert_eq!(summary["unaccounted"], 0, "I1: {summary}");
    let said = heard.lock().unwrap();
    assert_eq!(
        summary["lost"].as_u64().unwrap_or(0),
        0,
        "no engine was fenced: {summary}\n{said}"
    );
}

#[test]
fn a_netmap_port_that_is_pulled_out_comes_back_to_keeper_and_a_new_engine() {
    let _alone = alone();
    let scratch = Scratch::new("keeper-unplugged");
    let mut far = Far::netmap_nics(&scratch.0.join("machine"));
    let (kept, mut engine) = start(&scratch, &mut far, None, &["--restart-pause", "50"]);
    for round in 1..=2 {
        let said = |what: &str| (kept.errors().matches(what).count() == round).then_some(());
        far.run(Duration::from_millis(20));
        far.emulated().unplug("a1");
        kept.until(&mut far, "it is gone", || said(":a1: the port is gone"));
        far.emulated().plug("a1");
        kept.until(&mut far, "it is back", || said(":a1: the port is back"));
        engine = goes_on_by_another_engine(&kept, &mut far, engine);
    }
    // The third time the engine dies while the port is gone: the keeper has dead rings then.
    far.emulated().unplug("a1");
    far.run(Duration::from_millis(5));
    kept.kill(engine, libc::SIGKILL);
    kept.until(&mut far, "it is taken over", || {
        kept.says("frames were lost with it").then_some(())
    });
    let heir = kept.await_engine(&mut far);
    far.emulated().plug("a1");
    goes_on_by_another_engine(&kept, &mut far, heir);
    let counters = kept.board().unwrap().tally(0, 0, Half::Receive).counters;
    assert_eq!(counters.get(PortCounter::Reopened), 3);
    far.settle();
    let summary = kept.stop();
    assert_eq!(summary["unaccounted"], 0, "I1: {summary}");
    assert!(
        summary["lost"].as_u64().unwrap_or(0) <= IN_FLIGHT_MAX,
        "{summary}"
    );
    far.assert_conserved();
}

#[test]
fn logs_may_be_rotated_while_an_engine_starts() {
    let _alone = alone();
    let scratch = Scratch::new("keeper-rotated");
    let mut far = Far::memory(&scratch.0.join("wire"), shape());
    let kept = Kept::start(&scratch, &far.ports(), &["--keeper", "open"]);
    kept.wait_open();
    kept.until(&mut far, "an engine starts", || kept.engine());
    for _ in 0..20 {
        kept.kill(kept.pid(), libc::SIGHUP);
        far.run(Duration::from_millis(5));
    }
    kept.wait_ready(&mut far);
    kept.await_engine(&mut far);
    assert!(!kept.says("ended by signal"), "{}", kept.errors());
    far.run(Duration::from_millis(20));
    assert_accounted(kept, &mut far, 0);
}

#[test]
fn an_upgrade_whose_engine_fails_leaves_the_old_one_and_the_next_upgrade_succeeds() {
    let _alone = alone();
    let scratch = Scratch::new("keeper-upgrades");
    let (mut far, kept, first) = start_on_memory(&scratch, &[]);
    let socket = control(&scratch);
    let rules = scratch.0.join("r.rules");
    let text = std::fs::read(&rules).unwrap();
    std::fs::remove_file(&rules).unwrap();
    outage::operator(&socket, &["upgrade"], &mut far);
    kept.until(&mut far, "it fails", || {
        kept.says("the engine ended with code").then_some(())
    });
    assert_eq!(kept.engine_with_ports(), Some(first));
    std::fs::write(&rules, text).unwrap();
    outage::operator(&socket, &["upgrade"], &mut far);
    kept.until(&mut far, "another engine has the ports", || {
        kept.engine_with_ports().filter(|pid| *pid != first)
    });
    far.run(Duration::from_millis(20));
    assert_accounted(kept, &mut far, 0);
}

/// As on a memory, with the keeper's netmap descriptors in two processes. It is netmap's memory
/// layout and calls by emulation; its kernel code is not asked.
#[test]
fn on_netmap_ports_a_killed_engine_costs_what_it_held_and_all_buffers_come_back() {
    let _alone = alone();
    let scratch = Scratch::new("keeper-netmap");
    let mut far = Far::netmap(&scratch.0.join("machine"));
    let (kept, _) = start(&scratch, &mut far, None, &["--restart-pause", "50"]);
    let kills = kill_engines(&kept, &mut far);
    assert_accounted(kept, &mut far, kills);
}

#[test]
fn on_netmap_ports_hangs_are_fenced_and_upgrades_lose_nothing() {
    let _alone = alone();
    let scratch = Scratch::new("keeper-netmap-hang");
    let mut far = Far::netmap(&scratch.0.join("machine"));
    let socket = control(&scratch);
    let words = [
        "--hang-limit",
        "20",
        "--restart-pause",
        "50",
        "--idle",
        "adaptive",
    ];
    let (kept, first) = start(&scratch, &mut far, None, &words);
    far.run(Duration::from_millis(20));
    outage::operator(&socket, &["upgrade"], &mut far);
    let second = kept.until(&mut far, "another engine has the ports", || {
        kept.engine_with_ports().filter(|pid| *pid != first)
    });
    far.run(Duration::from_millis(20));
    far.settle();
    let Sent { sent, seen } = far.totals();
    assert_eq!(sent, seen, "an upgrade loses nothing");
    far.run(Duration::from_millis(20));
    kept.kill(second, libc::SIGSTOP);
    kept.until(&mut far, "it is taken over", || {
        (kept.engine_with_ports() != Some(second)).then_some(())
    });
    kept.kill(second, libc::SIGCONT);
    kept.until(&mut far, "it is said", || {
        kept.says("it is stopped").then_some(())
    });
    kept.await_engine(&mut far);
    far.run(Duration::from_millis(50));
    assert_accounted(kept, &mut far, 1);
}

#[test]
fn fail_closed_lets_nothing_through_and_says_why() {
    let _alone = alone();
    let scratch = Scratch::new("keeper-closed");
    let mut far = Far::memory(&scratch.0.join("wire"), shape());
    let words = [&["--keeper", "closed"][..], &LITTLE].concat();
    let kept = Kept::start(&scratch, &far.ports(), &words);
    kept.wait_ready(&mut far);
    let pid = kept.await_engine(&mut far);
    // Its successor cannot start while the rules are gone.
    let rules = scratch.0.join("r.rules");
    let text = std::fs::read(&rules).unwrap();
    std::fs::remove_file(&rules).unwrap();
    kept.kill(pid, libc::SIGKILL);
    kept.until(&mut far, "the keeper buried it", || {
        kept.says("frames were lost").then_some(())
    });
    far.settle();
    let before = far.totals();
    far.run(Duration::from_millis(100));
    far.settle();
    let after = far.totals();
    assert!(after.sent > before.sent + 100);
    assert_eq!(after.seen, before.seen, "nothing came out");
    std::fs::write(&rules, text).unwrap();
    kept.await_engine(&mut far);
    far.run(Duration::from_millis(50));
    far.settle();
    let summary = kept.stop();
    far.settle();
    let Sent { sent, seen } = far.totals();
    let closed = summary["dropped_by_reason"]["keeper_closed"]
        .as_u64()
        .unwrap_or(0);
    assert!(closed >= after.sent - before.sent, "{summary}");
    let lost = summary["lost"].as_u64().unwrap_or(0);
    assert_eq!(sent, seen + closed + lost, "{summary}");
    assert_eq!(summary["unaccounted"], 0, "{summary}");
}

#[test]
fn an_engine_that_is_stopped_is_fenced_and_wakes_up_to_nothing() {
    let _alone = alone();
    let scratch = Scratch::new("keeper-stop");
    let (mut far, kept, _) = start_on_memory(&scratch, &["--hang-limit", "20"]);
    for _ in 0..2 {
        let pid = kept.await_engine(&mut far);
        far.run(Duration::from_millis(20));
        kept.kill(pid, libc::SIGSTOP);
        kept.until(&mut far, "it is taken over", || {
            (kept.engine_with_ports() != Some(pid)).then_some(())
        });
        kept.kill(pid, libc::SIGCONT);
    }
    assert!(kept.says("it is stopped"));
    kept.await_engine(&mut far);
    assert_accounted(kept, &mut far, 2);
}

#[test]
fn an_engine_in_an_endless_loop_is_fenced() {
    let _alone = alone();
    let scratch = Scratch::new("keeper-loop");
    let (mut far, kept, pid) = start_on_memory(&scratch, &["--hang-limit", "20"]);
    far.run(Duration::from_millis(20));
    outage::send_into_a_loop(pid, "lane0");
    kept.until(&mut far, "it is taken over", || {
        (kept.engine_with_ports() != Some(pid)).then_some(())
    });
    kept.until(&mut far, "it is said", || {
        kept.says("does not come back").then_some(())
    });
    kept.await_engine(&mut far);
    assert_accounted(kept, &mut far, 1);
}

#[test]
fn passthrough_and_upgrade_lose_nothing() {
    let _alone = alone();
    let scratch = Scratch::new("keeper-word");
    let (mut far, kept, first) = start_on_memory(&scratch, &[]);
    let socket = control(&scratch);
    far.run(Duration::from_millis(20));
    outage::operator(&socket, &["passthrough", "on"], &mut far);
    kept.until(&mut far, "the keeper forwards", || {
        kept.engine_with_ports().is_none().then_some(())
    });
    far.run(Duration::from_millis(20));
    outage::operator(&socket, &["passthrough", "off"], &mut far);
    let again = kept.until(&mut far, "the engine goes on", || kept.engine_with_ports());
    assert_eq!(first, again, "without a restart");
    outage::operator(&socket, &["upgrade"], &mut far);
    kept.until(&mut far, "another engine has the ports", || {
        kept.engine_with_ports().filter(|pid| *pid != first)
    });
    far.run(Duration::from_millis(20));
    assert_accounted(kept, &mut far, 0);
}

/// The kernel deals flows to the lanes by ports as well, the lanes own them by addresses: half of the
/// frames cross, and each lane lets go of its rings by itself.
#[test]
fn several_lanes_let_go_of_their_rings_together() {
    let _alone = alone();
    if !wire::possible("several_lanes_let_go_of_their_rings_together") {
        return;
    }
    let scratch = Scratch::new("keeper-together");
    let wire = Wire::bare();
    wire::pin(0);
    let mut far = Far::wire(&wire);
    let lanes = ["--lanes", "2"];
    let (kept, engine) = start(&scratch, &mut far, Some(&wire.appliance), &lanes);
    let socket = control(&scratch);
    for _ in 0..20 {
        far.run(Duration::from_millis(5));
        outage::operator(&socket, &["passthrough", "on"], &mut far);
        kept.until(&mut far, "the keeper forwards", || {
            kept.engine_with_ports().is_none().then_some(())
        });
        far.run(Duration::from_millis(5));
        outage::operator(&socket, &["passthrough", "off"], &mut far);
        let again = kept.until(&mut far, "the engine goes on", || kept.engine_with_ports());
        assert_eq!(engine, again, "{}", kept.errors());
    }
    assert_accounted(kept, &mut far, 0);
}

/// A machine that is busier than it can be: workers wait for a processor all the time, and none of
/// them hangs.
#[test]
fn a_busy_machine_makes_nobody_hang() {
    let _alone = alone();
    let time = match std::env::var_os("SLUICE_LONG").is_some() {
        true => Duration::from_secs(30 * 60),
        false => Duration::from_secs(8),
    };
    let scratch = Scratch::new("keeper-busy");
    let (mut far, kept, pid) = start_on_memory(&scratch, &[]);
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(2, |count| count.get());
        for _ in 0..2 * cores {
            scope.spawn(|| {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let start = Instant::now();
        while start.elapsed() < time {
            far.turn();
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(kept.engine_with_ports(), Some(pid), "nobody was fenced");
    assert!(!kept.says("hangs"));
    assert_accounted(kept, &mut far, 0);
}

/// RELIABILITY.md G23, on the shipped binary; the refusals themselves are tested in
/// src/keeper/sandbox.rs.
#[test]
fn the_engine_has_no_rights_and_writes_its_log_all_the_same() {
    let _alone = alone();
    let scratch = Scratch::new("keeper-rights");
    let log = scratch.0.join("log");
    let rules = scratch.0.join("x.rules");
    let rule = "alert http any any -> any any (msg:\"x\"; http.user_agent; \
                dataset:isset,seen,type string,state seen.lst; sid:900;)\n";
    std::fs::write(&rules, rule).unwrap();
    let words = [
        "-l",
        log.to_str().unwrap(),
        "-S",
        rules.to_str().unwrap(),
        "--set",
        "file-store.enabled=yes",
    ];
    let (mut far, kept, pid) = start_on_memory(&scratch, &words);
    // What it was asked to keep it writes at its end, and stored files have their place.
    let asked = std::process::Command::new(env!("CARGO_BIN_EXE_sluice"))
        .arg("ask")
        .arg(control(&scratch))
        .args(["dataset-add", "seen", "string", "YWxwaGE="])
        .output()
        .unwrap();
    assert_eq!(asked.stdout, b"data added\n", "{asked:?}");
    assert!(log.join("filestore/tmp").is_dir());
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..]
            .split_whitespace()
            .next()
            .unwrap()
            .to_string()
    };
    assert_eq!(
        (field("NoNewPrivs:"), field("Seccomp:")),
        ("1".into(), "2".into())
    );
    assert_eq!(field("CapEff:"), "0000000000000000");
    // SAFETY: no arguments.
    if unsafe { libc::geteuid() } == 0 {
        assert_ne!(field("Uid:"), "0");
        assert_eq!(field("CapBnd:"), "0000000000000000");
    }
    far.run(Duration::from_millis(20));
    assert_accounted(kept, &mut far, 0);
    let events = std::fs::read_to_string(log.join("eve.json")).unwrap();
    assert!(events.contains("\"event_type\":\"stats\""), "{events}");
    let set = std::fs::read_to_string(scratch.0.join("seen.lst")).unwrap();
    assert_eq!(set, "YWxwaGE=\n");
}

#[test]
fn a_wire_is_proven_without_any_engine() {
    let _alone = alone();
    let scratch = Scratch::new("keeper-proof");
    let mut far = Far::memory(&scratch.0.join("wire"), shape());
    let ports = far.ports();
    let mut command = std::process::Command::new(wire::program());
    let kept = Kept::spawn(command.args(["passthrough", &ports[0], &ports[1]]));
    kept.until(&mut far, "it is ready", || {
        kept.says("ready: passthrough").then_some(())
    });
    // However busy the machine is: so many frames, not so much time.
    let start = std::time::Instant::now();
    while far.totals().sent < 5000 {
        far.run(Duration::from_millis(20));
        assert!(start.elapsed() < wire::PATIENCE, "{:?}", far.totals());
    }
    far.settle();
    let Sent { sent, seen } = far.totals();
    assert_eq!(sent, seen, "nothing is lost");
    assert_eq!(kept.engine(), None, "there is no engine");
    drop(kept);
}

/// A service manager's view: READY when frames are inspected, a fed watchdog, STOPPING at the end.
#[test]
fn a_service_manager_is_told() {
    let _alone = alone();
    let scratch = Scratch::new("keeper-notify");
    let mut far = Far::memory(&scratch.0.join("wire"), shape());
    let path = scratch.0.join("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    manager.set_nonblocking(true).unwrap();
    let rules = scratch.file("r.rules", "alert tcp any any -> any any (sid:1;)\n");
    let ports = far.ports();
    let mut command = std::process::Command::new(wire::program());
    command
        .args(["run", "--inline", &ports[0], &ports[1], "--keeper", "open"])
        .args(["--format", "json", "-S"])
        .arg(rules)
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000");
    let kept = Kept::spawn(&mut command);
    let mut heard = String::new();
    let listen = |heard: &mut String| {
        let mut bytes = [0; 256];
        while let Ok(count) = manager.recv(&mut bytes) {
            heard.push_str(&String::from_utf8_lossy(&bytes[..count]));
            heard.push('\n');
        }
    };
    kept.until(&mut far, "READY and two meals of the watchdog", || {
        listen(&mut heard);
        let fed = heard.matches("WATCHDOG=1").count() >= 2;
        (fed && heard.contains("READY=1")).then_some(())
    });
    far.settle();
    assert_eq!(kept.stop()["unaccounted"], 0);
    listen(&mut heard);
    assert!(heard.contains("STOPPING=1"), "{heard}");
}

#[test]
fn rules_that_cannot_be_loaded_end_the_keeper_with_their_code() {
    let _alone = alone();
    let scratch = Scratch::new("keeper-rules");
    let far = Far::memory(&scratch.0.join("wire"), shape());
    scratch.file("bad.rules", "alert nonsense\n");
    let ports = far.ports();
    let output = std::process::Command::new(wire::program())
        .args([
            "run", "--keeper", "open", "--inline", &ports[0], &ports[1], "-S",
        ])
        .arg(scratch.0.join("bad.rules"))
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(4),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(Path::new(&scratch.0).exists() && PATIENCE > Duration::ZERO);
}
