//! The command line: what an operator types, and what it says back. No packet is touched here.
//!
//! Exit codes (USERS.md): 0 ok, 1 findings, 2 usage, 3 config, 4 rules, 5 device or permission,
//! 6 input file, 70 internal.

pub mod ask;
mod cache;
pub mod check;
pub mod config;
pub mod control;
pub mod demo;
pub mod doctor;
pub mod guard;
pub mod import;
pub mod keeper;
pub mod profile;
pub mod progress;
pub mod reload;
pub mod replay;
pub mod rules;
pub mod run;
pub mod settings;
pub mod start;
pub mod test;

use clap::{Args, Parser, Subcommand};

/// Exit codes.
pub mod exit {
    /// All is well.
    pub const OK: u8 = 0;
    /// Findings: lint, test or difference.
    pub const FINDINGS: u8 = 1;
    /// The command line is wrong.
    pub const USAGE: u8 = 2;
    /// A setting is wrong.
    pub const CONFIG: u8 = 3;
    /// A rule is wrong.
    pub const RULES: u8 = 4;
    /// A device or a permission is missing.
    pub const DEVICE: u8 = 5;
    /// An input file is missing or broken.
    pub const INPUT: u8 = 6;
}

/// Sluice: inline intrusion detection and prevention.
#[derive(Parser)]
#[command(name = "sluice", version, about, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    /// Send captures through the engine: alerts, drops, metrics, and what would be forwarded.
    Replay(replay::ReplayArgs),
    /// Run inline between two ports, or as a tap.
    Run(run::RunArgs),
    /// Show which rules and prefilters cost most, from captures or from a running engine.
    Profile(profile::ProfileArgs),
    /// Put the rules of a running engine's files in force anew.
    Reload(reload::ReloadArgs),
    /// Ask a running engine: stats, iface-stat, ruleset-stats, dataset-add, ...
    Ask(ask::AskArgs),
    /// Let all frames through uninspected: `on` and `off` for a running engine, or between two
    /// ports, which proves the wire.
    Passthrough(keeper::PassthroughArgs),
    /// Start a new engine from the program file and change over to it; no port is closed.
    Upgrade(keeper::SocketArgs),
    /// Run rule tests: every folder below DIR that holds a case.toml or case.json.
    Test(test::TestArgs),
    /// Lint rule files: file, line, column, what is wrong and what to do.
    Check(check::CheckArgs),
    /// Show in ten seconds what an inline engine does; needs no NIC and no set-up.
    Demo(demo::DemoArgs),
    /// Look at ports and the machine: what is wrong, why it matters, what to type.
    Doctor(doctor::DoctorArgs),
    /// Settings: write the reference, check a file, take over a suricata.yaml.
    Config(config::ConfigArgs),
}

/// Options that replay, run and test share.
#[derive(Args, Clone, Default)]
pub struct EngineArgs {
    /// Rule files, patterns of such, or folders whose *.rules are taken; in the place of those of
    /// --config.
    #[arg(short = 'S', long = "rules", value_name = "FILE")]
    pub rules: Vec<std::path::PathBuf>,
    /// Rule files beside those of --config or -S.
    #[arg(short = 's', long = "more-rules", value_name = "FILE")]
    pub more_rules: Vec<std::path::PathBuf>,
    /// Give a rule variable a value (HOME_NET, HTTP_PORTS, ...); may be repeated.
    #[arg(long = "var", value_name = "NAME=VALUE")]
    pub vars: Vec<String>,
    /// Set an engine setting by Suricata's key name; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Settings file (sluice.toml); all that is given here wins over it.
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    pub config_file: Option<std::path::PathBuf>,
    /// Checksums: `all` to verify them (the default), `none` not to.
    #[arg(short = 'k', value_name = "all|none")]
    pub checksums: Option<String>,
    /// Stages on workers: fused (the default), split, or a cut such as decode+flow|match+verdict.
    #[arg(long)]
    pub layout: Option<String>,
    /// Frames a burst takes at most (64).
    #[arg(long)]
    pub burst: Option<usize>,
    /// Serve Prometheus metrics on this loopback address, e.g. 127.0.0.1:9417.
    #[arg(long, value_name = "ADDR:PORT")]
    pub metrics: Option<std::net::SocketAddr>,
    /// Rules that metrics count one by one: those that matched most (50).
    #[arg(long, value_name = "N")]
    pub metrics_rules_top: Option<usize>,
    /// Load the rules that are without fault and report the others (default: refuse to start).
    #[arg(long)]
    pub skip_bad_rules: bool,
    /// classification.config (default: beside a rule file, else a built-in list).
    #[arg(long, value_name = "FILE")]
    pub classification: Option<std::path::PathBuf>,
    /// reference.config (default: beside a rule file).
    #[arg(long, value_name = "FILE")]
    pub reference: Option<std::path::PathBuf>,
    /// Folder that keeps automata of regexes between starts, or `none` (default: /var/cache/sluice,
    /// or the user's cache folder).
    #[arg(long, value_name = "DIR")]
    pub cache: Option<String>,
    /// What the settings file says.
    #[arg(skip)]
    pub file: settings::Settings,
}

/// An error with its exit code: one line what, one line what to do.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub code: u8,
    /// What to print.
    pub text: String,
}

impl Failure {
    /// A failure with a code.
    pub fn new(code: u8, text: impl std::fmt::Display) -> Failure {
        Failure {
            code,
            text: text.to_string(),
        }
    }
}

impl EngineArgs {
    /// These arguments over those of the settings file, if one is named.
    ///
    /// # Errors
    /// A file that cannot be read (6), or what is wrong in it (3).
    pub fn with_file(&self) -> Result<EngineArgs, Failure> {
        let mut args = self.clone();
        let more = std::mem::take(&mut args.more_rules);
        let Some(path) = &self.config_file else {
            args.rules.extend(more);
            return Ok(args);
        };
        let file = settings::Settings::read(path)?;
        if args.rules.is_empty() {
            args.rules = file.rule_files();
        }
        args.rules.extend(more);
        let given = file.variables.iter();
        let given = given.map(|(name, value)| format!("{name}={value}"));
        args.vars = given.chain(args.vars).collect();
        args.layout = args.layout.or(file.one("run.layout").map(str::to_string));
        args.burst = args.burst.or(file.number("run.burst")?);
        if let (None, Some(text)) = (args.metrics, file.one("metrics.listen")) {
            let address = text.parse().map_err(|_| {
                let hint = "an address and a port, as in 127.0.0.1:9417";
                let text = format!("metrics.listen: `{text}` is no address\n [hint] {hint}");
                Failure::new(exit::CONFIG, text)
            })?;
            args.metrics = Some(address);
        }
        let top = file.number("metrics.rules-top")?;
        args.metrics_rules_top = args.metrics_rules_top.or(top);
        args.skip_bad_rules |= file.flag("rules.skip-bad");
        let classes = file.path("rules.classification");
        args.classification = args.classification.or(classes);
        args.reference = args.reference.or(file.path("rules.references"));
        args.file = file;
        Ok(args)
    }

    /// Rules that metrics count one by one.
    pub fn rules_top(&self) -> usize {
        self.metrics_rules_top.unwrap_or(50)
    }

    /// Frames a burst takes at most.
    pub fn burst(&self) -> usize {
        self.burst.unwrap_or(crate::packet::BURST_MAX)
    }

    /// The settings that the arguments ask for.
    ///
    /// # Errors
    /// Unknown keys and values, exit code 3.
    pub fn config(&self, inline: bool) -> Result<crate::config::Config, Failure> {
        self.config_over(crate::config::Config::default(), inline)
    }

    /// The settings that the arguments ask for, over others.
    ///
    /// # Errors
    /// Unknown keys and values, exit code 3.
    pub fn config_over(
        &self,
        mut config: crate::config::Config,
        inline: bool,
    ) -> Result<crate::config::Config, Failure> {
        if inline {
            config.mode = crate::config::Mode::Inline;
        }
        for (key, value, place) in self.file.engine() {
            config
                .set(key, &value)
                .map_err(|error| Failure::new(exit::CONFIG, format!("{place}: {error}")))?;
        }
        match self.checksums.as_deref() {
            None => {}
            Some("all") => config.checksum_validation = true,
            Some("none") => config.checksum_validation = false,
            Some(other) => {
                return Err(Failure::new(
                    exit::USAGE,
                    format!("-k {other}: not known\n [hint] write -k all or -k none"),
                ));
            }
        }
        for text in &self.sets {
            let (key, value) = pair(text, "--set")?;
            config.set(key, value).map_err(|mut error| {
                if let Some(near) = settings::near(key).filter(|_| error.is_unknown()) {
                    error.hint = format!("did you mean `{near}`?");
                }
                Failure::new(exit::CONFIG, error)
            })?;
        }
        Ok(config)
    }

    /// The layout.
    ///
    /// # Errors
    /// A text that is no layout, exit code 2.
    pub fn layout(&self) -> Result<crate::layout::Layout, Failure> {
        let layout = self.layout.as_deref().unwrap_or("fused");
        layout
            .parse()
            .map_err(|error| Failure::new(exit::USAGE, error))
    }
}

/// What the event writer calls the numbers of other rooms.
pub fn eve_names() -> crate::eve::Names {
    crate::eve::Names {
        anomaly: |code| crate::decode::Anomaly::from_code(code).map_or("", |a| a.name()),
        link: |code| crate::decode::LinkType::from_u8(code).to_pcap() as u16,
        ..crate::eve::Names::default()
    }
}

/// Where stored files go, if any are; a relative folder stands in the log folder.
pub fn file_store(
    config: &crate::config::Config,
    log_dir: &std::path::Path,
) -> Option<crate::eve::StoreOptions> {
    let files = &config.files;
    files.store.then(|| crate::eve::StoreOptions {
        dir: log_dir.join(&files.dir),
        open_max: files.open_max as usize,
        count_max: u64::from(files.count_max),
        bytes_max: files.bytes_max,
    })
}

/// Splits `KEY=VALUE`.
///
/// # Errors
/// A text without `=`, exit code 2.
pub fn pair<'a>(text: &'a str, option: &str) -> Result<(&'a str, &'a str), Failure> {
    text.split_once('=').ok_or_else(|| {
        Failure::new(
            exit::USAGE,
            format!("{option} {text}: no `=`\n [hint] write {option} KEY=VALUE"),
        )
    })
}

/// Runs a command and gives its exit code.
pub fn run(cli: Cli) -> u8 {
    let done = match cli.command {
        Command::Replay(args) => replay::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Profile(args) => profile::run(&args),
        Command::Reload(args) => reload::run(&args),
        Command::Ask(args) => ask::run(&args),
        Command::Passthrough(args) => keeper::passthrough(&args),
        Command::Upgrade(args) => keeper::command(&args, "upgrade"),
        Command::Test(args) => test::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Doctor(args) => doctor::run(&args),
    };
    done.unwrap_or_else(|failure| {
        eprintln!("FAIL: {}", failure.text);
        failure.code
    })
}
