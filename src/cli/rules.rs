//! Rule files for a command: read, loaded, compiled, and what must be said about them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::progress::Progress;
use super::{Failure, exit};
use crate::config::Config;
use crate::decode::Anomaly;
use crate::eve::{AlertInfo, SignatureInfo};
use crate::matcher::Program;
use crate::matcher::regex::{Tables, TablesReport};
use crate::rules::countries::Countries;
use crate::rules::dataset::Datasets;
use crate::rules::diagnostic::{Diagnostic, Severity};
use crate::rules::load::{Counts, folder_of};
use crate::rules::names::Names;
use crate::rules::reputation::Reputations;
use crate::rules::ruleset::RuleSet;
use crate::rules::{self, Classification, File, Options, Variables};

/// Rules that are named one by one at a start.
const TOLD_MAX: usize = 20;

/// What a command wants loaded.
#[derive(Clone)]
pub struct Wanted {
    /// Rule files.
    pub files: Vec<PathBuf>,
    /// Variables, by name.
    pub variables: Vec<(String, String)>,
    /// Go on without the rules that have errors.
    pub skip_bad: bool,
    /// Ranks of the actions pass, drop, reject, alert (`action-order`).
    pub action_order: [u8; 4],
    /// A threshold file; `threshold.config` beside a rule file is read all the same.
    pub thresholds: Option<PathBuf>,
    /// Categories and files of address reputations.
    pub reputation: (Option<PathBuf>, Vec<PathBuf>),
    /// A database of countries.
    pub countries: Option<PathBuf>,
    /// classification.config, read after those beside rule files.
    pub classification: Option<PathBuf>,
    /// reference.config, read after those beside rule files.
    pub references: Option<PathBuf>,
    /// Names of bits and counters that have numbers already.
    pub names: Option<Names>,
    /// What settings say of datasets.
    pub datasets: Vec<(String, String)>,
    /// Generation of the set.
    pub generation: u32,
    /// Texts of rules are kept, for alerts that carry them.
    pub keeps_texts: bool,
    /// Features that settings switch off.
    pub missing: Vec<&'static str>,
    /// Folder that keeps automata between starts.
    pub cache: Option<PathBuf>,
}

impl Default for Wanted {
    fn default() -> Self {
        Wanted {
            files: Vec::new(),
            variables: Vec::new(),
            skip_bad: false,
            action_order: rules::load::ACTION_RANKS,
            thresholds: None,
            reputation: (None, Vec::new()),
            countries: None,
            classification: None,
            references: None,
            names: None,
            datasets: Vec::new(),
            generation: 1,
            keeps_texts: false,
            missing: Vec::new(),
            cache: None,
        }
    }
}

impl Wanted {
    /// Takes what the settings say about rules.
    pub fn with(mut self, config: &Config) -> Wanted {
        self.action_order = config.action_order;
        self.keeps_texts = config.eve.alert.rule;
        let off = |feature: &&'static str| {
            let key = format!("app-layer.protocols.tls.{feature}-fingerprints");
            let mut settings = config.app_settings.iter().rev();
            let found = settings.find(|(known, _)| *known == key);
            found.is_some_and(|(_, value)| matches!(&**value, "no" | "false" | "off"))
        };
        self.missing = ["ja3", "ja4"].into_iter().filter(off).collect();
        let (categories, files) = &config.reputation;
        let paths = files.iter().map(PathBuf::from).collect();
        self.reputation = (categories.as_ref().map(PathBuf::from), paths);
        self.countries = config.geoip_database.as_ref().map(PathBuf::from);
        self.datasets.clone_from(&config.datasets);
        self.thresholds = config.threshold_file.as_ref().map(PathBuf::from);
        self
    }
}

/// What was loaded.
pub struct Loaded {
    /// The rules.
    pub ruleset: Arc<RuleSet>,
    /// Compiled for the matcher.
    pub program: Arc<Program>,
    /// Rules that this build cannot run, a line each: sid and keywords.
    pub unsupported: Vec<String>,
    /// How many rules there were.
    pub counts: Counts,
    /// Errors and warnings.
    pub diagnostics: Vec<Diagnostic>,
    /// What is wrong with threshold files, a line each.
    pub threshold_remarks: Vec<String>,
    /// Hash of the rule texts, for metrics.
    pub hash: String,
    /// What came of the cache of automata, if there is one.
    pub cache: Option<TablesReport>,
    classification: Arc<Classification>,
}

/// Rule texts by path.
pub type Texts = Vec<(String, Vec<u8>)>;

/// The files that names mean: patterns and folders stand for what is in them.
///
/// # Errors
/// A folder that cannot be read, a pattern that nothing fits (6).
pub fn expanded(names: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for name in names {
        let found = rules::files::of(name).map_err(|error| error.to_string());
        let found = match found {
            Ok(found) if found.is_empty() => Err("no rule file there".to_string()),
            found => found,
        };
        files.extend(found.map_err(|why| {
            let hint = "name a rule file, a folder with *.rules, or a pattern that files fit";
            let text = format!("{}: {why}\n [hint] {hint}", name.display());
            Failure::new(exit::INPUT, text)
        })?);
    }
    Ok(files)
}

/// Reads the files and what stands beside them (`classification.config`, `reference.config`).
pub fn read(files: &[PathBuf]) -> Result<(Texts, Classification), Failure> {
    let mut classification = Classification::default();
    let mut texts = Vec::with_capacity(files.len());
    for path in files {
        let bytes = std::fs::read(path).map_err(|error| {
            let hint = "name a rule file that can be read";
            Failure::new(
                exit::INPUT,
                format!("{}: {error}\n [hint] {hint}", path.display()),
            )
        })?;
        let beside = |name: &str| {
            std::fs::read_to_string(path.parent().unwrap_or(Path::new(".")).join(name)).ok()
        };
        if let Some(text) = beside("classification.config") {
            classification.read_classes(&text);
        }
        if let Some(text) = beside("reference.config") {
            classification.read_references(&text);
        }
        texts.push((path.display().to_string(), bytes));
    }
    Ok((texts, classification))
}

/// Variables with the command line's values.
pub fn variables(given: &[(String, String)]) -> Variables {
    let mut variables = Variables::default();
    for (name, value) in given {
        variables.set(name.trim_start_matches('$'), value);
    }
    variables
}

/// Code of an anomaly by its rule name.
pub fn anomaly(name: &str) -> Option<u8> {
    Anomaly::by_name(name).map(|anomaly| anomaly as u8)
}

/// Loads rule files.
///
/// # Errors
/// Unreadable files (6); rules with errors (4) unless they are to be skipped.
pub fn load(wanted: &Wanted) -> Result<Loaded, Failure> {
    let files = expanded(&wanted.files)?;
    let (texts, mut classification) = read(&files)?;
    if let Some(path) = &wanted.classification {
        let lines = classification.read_classes(&named(path, "rules.classification")?);
        told(
            path,
            &lines,
            "config classification: NAME,DESCRIPTION,PRIORITY",
        );
    }
    if let Some(path) = &wanted.references {
        let lines = classification.read_references(&named(path, "rules.references")?);
        told(path, &lines, "config reference: NAME URL");
    }
    let thresholds = thresholds(&files, wanted)?;
    compile(&texts, classification, wanted, &thresholds)
}

/// The text of a file that a setting names.
fn named(path: &Path, setting: &str) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| {
        let hint = format!("{setting} names a file that can be read");
        Failure::new(
            exit::INPUT,
            format!("{}: {error}\n [hint] {hint}", path.display()),
        )
    })
}

/// Names that rules find: those of before, and sets that settings tell of.
pub fn declared(wanted: &Wanted) -> Result<Option<Names>, Failure> {
    let mut names = wanted.names.clone();
    if !wanted.datasets.is_empty() {
        let sets = &mut names.get_or_insert_default().datasets;
        let declared = sets.declare(&wanted.datasets);
        declared.map_err(|what| {
            let hint = "type is one of string, md5, sha256, ip, ipv4";
            Failure::new(exit::CONFIG, format!("{what}\n [hint] {hint}"))
        })?;
    }
    Ok(names)
}

/// The reputations of addresses, if settings name files of them.
pub fn reputations(wanted: &Wanted) -> Result<Option<Arc<Reputations>>, Failure> {
    let (categories, files) = &wanted.reputation;
    let Some(categories) = categories else {
        return match files.is_empty() {
            true => Ok(None),
            false => {
                let hint = "reputation-categories-file names what the numbers in them mean";
                let text = format!("reputation-files without categories\n [hint] {hint}");
                Err(Failure::new(exit::CONFIG, text))
            }
        };
    };
    let mut all = Reputations::default();
    let bad = |path: &Path, bad: rules::reputation::BadLine| {
        let text = format!("{}:{}: {}", path.display(), bad.line, bad.what);
        Failure::new(
            exit::INPUT,
            format!("{text}\n [hint] mend the line, or begin it with #"),
        )
    };
    let text = named(categories, "reputation-categories-file")?;
    all.read_categories(&text)
        .map_err(|line| bad(categories, line))?;
    for file in files {
        let text = named(file, "reputation-files")?;
        all.read(&text).map_err(|line| bad(file, line))?;
    }
    Ok(Some(Arc::new(all)))
}

/// The database of countries, if settings name one.
pub fn countries(wanted: &Wanted) -> Result<Option<Arc<Countries>>, Failure> {
    let Some(path) = &wanted.countries else {
        return Ok(None);
    };
    let countries = Countries::open(path).map_err(|error| {
        let hint =
            "geoip-database names a database in MaxMind's format, e.g. GeoLite2-Country.mmdb";
        let text = format!("{}: {error}\n [hint] {hint}", path.display());
        Failure::new(exit::INPUT, text)
    })?;
    Ok(Some(Arc::new(countries)))
}

/// Says which lines of a file were passed over.
fn told(path: &Path, lines: &[u32], form: &str) {
    for line in lines {
        eprintln!(
            "note: {}:{line}: passed over; a line is `{form}`",
            path.display()
        );
    }
}

/// The threshold files: those beside the rule files, then the one that was named.
fn thresholds(files: &[PathBuf], wanted: &Wanted) -> Result<Vec<(PathBuf, String)>, Failure> {
    let mut found: Vec<(PathBuf, String)> = Vec::new();
    let mut folders: Vec<&Path> = files
        .iter()
        .map(|file| file.parent().unwrap_or(Path::new(".")))
        .collect();
    folders.dedup();
    for folder in folders {
        let path = folder.join("threshold.config");
        if let Ok(text) = std::fs::read_to_string(&path) {
            found.push((path, text));
        }
    }
    if let Some(path) = &wanted.thresholds {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let hint = "threshold-file names a file of threshold, rate_filter and suppress lines";
            Failure::new(
                exit::INPUT,
                format!("{}: {error}\n [hint] {hint}", path.display()),
            )
        })?;
        found.retain(|(known, _)| known != path);
        found.push((path.clone(), text));
    }
    Ok(found)
}

/// Applies threshold files to the rules. Remarks are for the operator.
fn apply_thresholds(
    files: &[(PathBuf, String)],
    variables: &Variables,
    signatures: &mut [rules::signature::Signature],
) -> Vec<String> {
    let mut remarks = Vec::new();
    for (path, text) in files {
        let (statements, mut wrong) = rules::threshold_file::read(text, variables);
        wrong.extend(rules::threshold_file::apply(&statements, signatures));
        let told = |remark: &rules::threshold_file::Remark| {
            format!("{}:{}: {}", path.display(), remark.line, remark.what)
        };
        remarks.extend(wrong.iter().map(told));
    }
    remarks
}

/// Loads rules from a text, for tests and benches.
///
/// # Errors
/// As [`load`].
pub fn load_text(name: &str, text: &str, given: &[(String, String)]) -> Result<Loaded, Failure> {
    let texts = [(name.to_string(), text.as_bytes().to_vec())];
    let wanted = Wanted {
        variables: given.to_vec(),
        ..Wanted::default()
    };
    compile(&texts, Classification::default(), &wanted, &[])
}

fn compile(
    texts: &[(String, Vec<u8>)],
    classification: Classification,
    wanted: &Wanted,
    thresholds: &[(PathBuf, String)],
) -> Result<Loaded, Failure> {
    let named = texts.iter().map(|(path, text)| File { path, text });
    let files: Vec<File<'_>> = named.collect();
    let progress = Progress::of(texts);
    let names = declared(wanted)?;
    let options = Options {
        anomaly: &anomaly,
        names: names.as_ref(),
        missing: &wanted.missing,
        reputations: reputations(wanted)?,
        countries: countries(wanted)?,
        reads_files: true,
        keeps_texts: wanted.keeps_texts,
        progress: &|count| progress.read(count),
        ..Options::default()
    };
    let variables = variables(&wanted.variables);
    let mut loaded = rules::load(&files, &variables, &classification, &options);
    fill_datasets(
        folder_of(texts.first().map(|(path, _)| Path::new(path))),
        &loaded.names.datasets,
    )?;
    let remarks = apply_thresholds(thresholds, &variables, &mut loaded.signatures);
    if !wanted.skip_bad {
        refuse_errors(&loaded.diagnostics)?;
    }
    progress.compiling();
    let ruleset = Arc::new(RuleSet::build_in_order(
        loaded.signatures,
        loaded.names,
        wanted.generation,
        wanted.action_order,
    ));
    let tables = wanted.cache.as_deref().map(Tables::open);
    let program = Program::compile_with(Arc::clone(&ruleset), tables.as_ref())
        .map_err(|error| Failure::new(exit::RULES, error))?;
    let cache = tables.map(Tables::save);
    drop(progress);
    let missing = ruleset
        .signatures()
        .iter()
        .filter(|signature| !signature.unsupported.is_empty())
        .map(|s| format!("sid {}: not supported: {}", s.sid, s.unsupported.join(", ")));
    let refused = program.refused().iter().filter_map(|(index, why)| {
        let signature = ruleset.signature(*index)?;
        Some(format!("sid {}: pcre is refused: {why}", signature.sid))
    });
    let unsupported = missing.chain(refused).collect();
    Ok(Loaded {
        ruleset,
        program: Arc::new(program),
        unsupported,
        counts: loaded.counts,
        diagnostics: loaded.diagnostics,
        threshold_remarks: remarks,
        hash: hash(texts),
        cache,
        classification: Arc::new(classification),
    })
}

/// Errors among the findings keep the rules from being loaded.
fn refuse_errors(found: &[Diagnostic]) -> Result<(), Failure> {
    let bad = found
        .iter()
        .filter(|d| d.code.severity() == Severity::Error);
    let bad: Vec<&Diagnostic> = bad.collect();
    if bad.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = bad.iter().take(10).map(|d| shown(d)).collect();
    let (count, lines) = (bad.len(), lines.join("\n"));
    let hint = "`sluice check` shows all of them; --skip-bad-rules (`reload --force`) goes on \
                without them";
    Err(Failure::new(
        exit::RULES,
        format!("{count} rules have errors\n{lines}\n [hint] {hint}"),
    ))
}

/// Fills the sets that settings tell of and no rule names.
fn fill_datasets(folder: &Path, sets: &Datasets) -> Result<(), Failure> {
    for set in sets.iter() {
        set.read(folder).map_err(|unread| {
            let text = format!("set `{}`: {unread}\n [hint] {}", set.name(), unread.hint());
            Failure::new(exit::INPUT, text)
        })?;
    }
    Ok(())
}

/// Files of the sets that are to outlive the engine.
pub fn saved(files: &[PathBuf], sets: &Datasets) -> Vec<PathBuf> {
    let files = expanded(files).unwrap_or_default();
    let folder = folder_of(files.first().map(PathBuf::as_path));
    let saved = sets.iter().filter_map(|set| set.save());
    saved.map(|file| folder.join(file)).collect()
}

/// Writes the sets that are to outlive the engine. What cannot be written is said.
pub fn save_datasets(files: &[PathBuf], sets: &Datasets) {
    let files = expanded(files).unwrap_or_default();
    let folder = folder_of(files.first().map(PathBuf::as_path));
    for set in sets.iter() {
        if set.lost() > 0 {
            let (name, lost) = (set.name(), set.lost());
            eprintln!(
                "note: set `{name}` had no room for {lost} values\n [hint] memcap or hashsize"
            );
        }
        let Some(file) = set.save() else {
            continue;
        };
        let path = folder.join(file);
        if let Err(error) = std::fs::write(&path, set.lines()) {
            eprintln!("note: {}: {error}", path.display());
        }
    }
}

/// FNV-1a (64 bits) of the rule texts: names a set in metrics, protects nothing.
fn hash(texts: &[(String, Vec<u8>)]) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for byte in texts.iter().flat_map(|(_, text)| text) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    }
    format!("{hash:016x}")
}

impl Loaded {
    /// Says on standard error what was loaded and what was not.
    pub fn report(&self) {
        let counts = &self.counts;
        eprintln!(
            "rules: {} loaded, {} failed, {} skipped (requires), {} not supported by this build",
            counts.enabled - counts.unsupported,
            counts.failed,
            counts.skipped,
            counts.unsupported
        );
        for line in some(self.failed_lines()) {
            eprintln!("note: rule left out: {line}");
        }
        for line in some(self.unsupported.iter().cloned()) {
            eprintln!("note: rule not run: {line}");
        }
        for remark in &self.threshold_remarks {
            eprintln!("note: {remark}");
        }
        if let Some(line) = self.cache.as_ref().and_then(super::cache::told) {
            eprintln!("{line}");
        }
        if counts.unsupported > 0 {
            eprintln!(" [hint] `sluice check --coverage` lists the keywords that are missing");
        }
    }

    /// Rules that could not be read: place and what is wrong.
    pub fn failed_lines(&self) -> impl Iterator<Item = String> {
        let found = self.diagnostics.iter();
        let failed = found.filter(|d| d.code.severity() == Severity::Error);
        failed.map(shown)
    }

    /// What the event writer needs to know of the signatures.
    pub fn info(&self) -> Arc<dyn SignatureInfo> {
        Arc::new(Info {
            ruleset: Arc::clone(&self.ruleset),
            classification: Arc::clone(&self.classification),
        })
    }
}

/// The first lines of many, and how many more there are.
fn some(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = lines.collect();
    if let more @ 1.. = lines.len().saturating_sub(TOLD_MAX) {
        lines.truncate(TOLD_MAX);
        lines.push(format!(
            "and {more} more: `sluice check --unsupported` names all"
        ));
    }
    lines
}

struct Info {
    ruleset: Arc<RuleSet>,
    classification: Arc<Classification>,
}

impl SignatureInfo for Info {
    fn alert(&self, generation: u32, index: u32, show: &mut dyn FnMut(AlertInfo<'_>)) {
        let known = generation == self.ruleset.generation();
        let Some(signature) = self.ruleset.signature(index).filter(|_| known) else {
            return;
        };
        let class = signature
            .classtype
            .as_deref()
            .and_then(|name| self.classification.get(name));
        show(AlertInfo {
            sid: signature.sid,
            gid: signature.gid,
            rev: signature.rev,
            msg: &signature.msg,
            classtype: signature.classtype.as_deref().unwrap_or(""),
            category: class.map_or("", |class| &class.description),
            severity: signature.priority,
            metadata: &signature.metadata,
            references: &signature.references,
            rule: signature.source.text.as_deref(),
            target: signature.target,
        });
    }

    fn names(&self, show: &mut dyn FnMut(&Names)) {
        show(self.ruleset.names());
    }
}

/// A finding in one or two lines.
fn shown(found: &Diagnostic) -> String {
    let place = format!("{}:{}:{}", found.file, found.line, found.column);
    let help = found
        .help
        .as_ref()
        .map_or(String::new(), |help| format!("\n [hint] {help}"));
    format!("{place}: {}{help}", found.message)
}
