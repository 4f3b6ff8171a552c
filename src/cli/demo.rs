//! `sluice demo`: no NIC, no set-up, ten seconds. Two hosts with the engine between them; clean and
//! hostile traffic; what went through, what was told, what was stopped and why.
//!
//! With the right to make network namespaces the hosts are real TCP stacks on veth cables
//! (network.rs); without it, recorded traffic goes through ports in memory (memory.rs). The engine
//! is this program as a second process, `sluice run --inline`, as an operator would start it.
//! Namespaces have no names and live as long as this process: nothing is left behind, not even
//! after kill -9, but a folder in the temporary directory then.

mod memory;
mod network;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::{Failure, exit};

/// How long to wait for the engine to be ready, and for it to end.
const PATIENCE: Duration = Duration::from_secs(15);
/// The engine ends by itself if we are gone.
const ENGINE_SECONDS: &str = "40";
/// The rules of the demonstration: those that come with the program.
const RULES: &str = include_str!("../../rules/starter.rules");

/// Arguments of `sluice demo`.
#[derive(Args)]
pub struct DemoArgs {
    /// Use ports in memory although namespaces could be made.
    #[arg(long)]
    pub memory: bool,
    /// Keep the log folder, and say where it is.
    #[arg(long)]
    pub keep: bool,
}

/// A folder that goes with its owner, unless it is to be kept.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// What a host did, and what came of it.
struct Scene {
    /// What it did.
    what: String,
    /// What it saw.
    seen: String,
}

/// The engine as a process of its own. It does not outlive this value.
struct Engine {
    child: Child,
    errors: BufReader<std::process::ChildStderr>,
}

fn device(what: &str) -> impl Fn(std::io::Error) -> Failure + '_ {
    move |error| {
        let hint = "run as root, or with --memory";
        Failure::new(exit::DEVICE, format!("{what}: {error}\n [hint] {hint}"))
    }
}

impl Engine {
    /// Starts it in the calling thread's network namespace.
    fn start(folder: &Path, inside: &str, outside: &str) -> Result<Engine, Failure> {
        let program = std::env::current_exe().map_err(device("this program"))?;
        let rules = folder.join("demo.rules");
        std::fs::write(&rules, RULES).map_err(device("the rules"))?;
        let mut child = Command::new(program)
            .args(["run", "--inline", inside, outside, "--format", "json"])
            .args(["--seconds", ENGINE_SECONDS, "-S"])
            .arg(&rules)
            .arg("-l")
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(device("the engine cannot be started"))?;
        let errors = child.stderr.take().ok_or_else(|| {
            Failure::new(exit::DEVICE, "the engine says nothing\n [hint] try again")
        })?;
        Ok(Engine {
            child,
            errors: BufReader::new(errors),
        })
    }

    /// Waits until it says that it is ready.
    fn wait(&mut self) -> Result<(), Failure> {
        let mut said = String::new();
        loop {
            let mut line = String::new();
            let read = self.errors.read_line(&mut line);
            if line.starts_with("ready:") {
                return Ok(());
            }
            said.push_str(&line);
            if !matches!(read, Ok(1..)) {
                let text = format!("the engine did not start:\n{said}");
                return Err(Failure::new(exit::DEVICE, text.trim_end()));
            }
        }
    }

    /// Ends it in good order and gives its summary.
    fn stop(mut self) -> Result<Value, Failure> {
        let process = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(process, rustix::process::Signal::TERM);
        let start = Instant::now();
        while self.child.try_wait().ok().flatten().is_none() && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut text = String::new();
        if let Some(mut output) = self.child.stdout.take() {
            let _ = output.read_to_string(&mut text);
        }
        serde_json::from_str(&text).map_err(|error| {
            let mut said = String::new();
            let _ = self.errors.read_to_string(&mut said);
            Failure::new(70, format!("the engine's summary: {error}\n{said}"))
        })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Runs `sluice demo`.
///
/// # Errors
/// Neither namespaces nor memory ports, an engine that does not start, or one that did not do what
/// it should.
pub fn run(args: &DemoArgs) -> Result<u8, Failure> {
    let started = Instant::now();
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .map_err(|error| Failure::new(exit::DEVICE, format!("signal {signal}: {error}")))?;
    }
    let path = std::env::temp_dir().join(format!("sluice-demo-{}", std::process::id()));
    std::fs::create_dir_all(&path).map_err(device("a folder for the log"))?;
    let folder = Folder {
        path,
        keep: args.keep,
    };
    let network = match args.memory {
        true => Err("--memory".to_string()),
        false => network::Stage::new(),
    };
    let (scenes, summary) = match network {
        Ok(stage) => network::play(&stage, &folder.path, &stop)?,
        Err(why) => {
            println!("ports in memory and recorded traffic ({why})\n");
            memory::play(&folder.path, &stop)?
        }
    };
    if stop.load(Ordering::Relaxed) {
        return Err(Failure::new(
            exit::FINDINGS,
            "interrupted; all is cleaned up",
        ));
    }
    for scene in &scenes {
        println!("  {:<58} {}", scene.what, scene.seen);
    }
    let events = events(&folder.path.join("eve.json"))?;
    tell(&summary, &events);
    if args.keep {
        println!("\nthe log: {}", folder.path.join("eve.json").display());
    }
    println!(
        "\n{:.1} s. Next: sluice doctor IF..., sluice run --inline INSIDE OUTSIDE -S RULES",
        started.elapsed().as_secs_f64()
    );
    let figure = |name: &str| summary[name].as_u64().unwrap_or(0);
    // A demonstration that shows nothing has failed, whatever was printed.
    let shown = figure("forwarded") > 0 && figure("dropped") > 0 && figure("alerts") > 0;
    Ok(match shown && summary["unaccounted"] == 0 {
        true => exit::OK,
        false => exit::FINDINGS,
    })
}

fn events(path: &Path) -> Result<Vec<Value>, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(exit::INPUT, format!("{}: {error}", path.display())))?;
    let lines = text.lines().map(serde_json::from_str);
    Ok(lines.filter_map(Result::ok).collect())
}

/// What the engine says of it all.
fn tell(summary: &Value, events: &[Value]) {
    let figure = |name: &str| summary[name].as_u64().unwrap_or(0);
    println!(
        "\nforwarded {} frames, dropped {}, rejected {} (answers sent: {}), {} flows",
        figure("forwarded"),
        figure("dropped"),
        figure("rejected"),
        figure("reject_answers"),
        figure("flows")
    );
    let mut counts: Vec<(String, String, u64)> = Vec::new();
    for event in events.iter().filter(|e| e["event_type"] == "alert") {
        let alert = &event["alert"];
        let text = |value: &Value| value.as_str().unwrap_or("").to_string();
        let (what, action) = (text(&alert["signature"]), text(&alert["action"]));
        match counts
            .iter_mut()
            .find(|(w, a, _)| *w == what && *a == action)
        {
            Some((_, _, count)) => *count += 1,
            None => counts.push((what, action, 1)),
        }
    }
    println!("\nalerts");
    for (what, action, count) in counts {
        let went = match action.as_str() {
            "allowed" => "told only",
            _ => "stopped",
        };
        println!("  {count:>3} x {what}: {went}");
    }
    println!("\nwhy frames were dropped");
    for (reason, count) in summary["dropped_by_reason"]
        .as_object()
        .into_iter()
        .flatten()
    {
        println!("  {:>3} x {reason}: {}", count, meaning(reason));
    }
}

/// A reason in words.
fn meaning(reason: &str) -> &'static str {
    let found = crate::reason::Reason::ALL
        .iter()
        .find(|r| r.name() == reason);
    found.map_or("", |reason| reason.describe().trim())
}
