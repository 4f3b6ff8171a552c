//! Loading of rule files: every line read, duplicates settled, signatures put in their order.
//!
//! Of the disk only files of values that rules name are read here, and nothing stops at a bad rule:
//! each becomes a diagnostic.

use std::path::Path;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::decode::Anomaly;
use crate::rules::countries::Countries;
use crate::rules::diagnostic::{Code, Diagnostic, Problem, Span};
use crate::rules::lex::{self, LineKind, RuleLine};
use crate::rules::lint::{self, BitUse};
use crate::rules::meta::Classification;
use crate::rules::names::Names;
use crate::rules::parse::{self, Context, Outcome};
use crate::rules::reputation::Reputations;
use crate::rules::signature::*;
use crate::rules::variables::Variables;

/// A rule file in memory.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// Path, as it is to be reported.
    pub path: &'a str,
    /// Its bytes.
    pub text: &'a [u8],
}

/// How to load.
pub struct Options<'a> {
    /// Load rules behind a `#` too.
    pub disabled: bool,
    /// Run the lints of `sluice check`.
    pub lint: bool,
    /// Code of an anomaly by its name (`ipv4.pkt_too_small`, `stream.3whs_...`).
    pub anomaly: &'a dyn Fn(&str) -> Option<u8>,
    /// Names of bits and counters that have numbers already (those of the rules before).
    pub names: Option<&'a Names>,
    /// Features that settings switch off: rules that require them are skipped.
    pub missing: &'a [&'a str],
    /// Reputations of addresses, if there are files of them.
    pub reputations: Option<Arc<Reputations>>,
    /// Countries of addresses, if there is a database of them.
    pub countries: Option<Arc<Countries>>,
    /// Read the files of values that rules name, below the folder of the first rule file; without,
    /// the sets wait to be filled.
    pub reads_files: bool,
    /// Signatures keep the texts of their rules.
    pub keeps_texts: bool,
    /// Told now and then how many rules have been read.
    pub progress: &'a dyn Fn(u32),
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options {
            disabled: false,
            lint: false,
            anomaly: &anomaly,
            names: None,
            missing: &[],
            reputations: None,
            countries: None,
            reads_files: false,
            keeps_texts: false,
            progress: &|_| {},
        }
    }
}

/// Code of an anomaly that decode knows by this name.
pub fn anomaly(name: &str) -> Option<u8> {
    Anomaly::by_name(name).map(Anomaly::code)
}

/// How many rules there were. `rules` = `enabled` + `failed` + `skipped` + `replaced`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Rule lines looked at.
    pub rules: u32,
    /// Rule lines behind `#` that were not looked at.
    pub disabled: u32,
    /// Signatures that came out.
    pub enabled: u32,
    /// Rules that could not be read.
    pub failed: u32,
    /// Rules whose `requires` is not met.
    pub skipped: u32,
    /// Rules that a higher rev replaced.
    pub replaced: u32,
    /// Of the enabled, those that this build cannot run.
    pub unsupported: u32,
}

/// What came out of a load.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Signatures, in the order of evaluation.
    pub signatures: Vec<Signature>,
    /// Findings, in the order of files and lines.
    pub diagnostics: Vec<Diagnostic>,
    /// Names behind the numbers of state keywords.
    pub names: Names,
    /// Counts.
    pub counts: Counts,
}

/// Reads all files.
pub fn load(
    files: &[File<'_>],
    variables: &Variables,
    classification: &Classification,
    options: &Options<'_>,
) -> Loaded {
    let mut loader = Loader {
        context: Context::new(variables, classification, options.anomaly),
        loaded: Loaded::default(),
        known: HashMap::new(),
        bits: Vec::new(),
        keeps_texts: options.keeps_texts,
        progress: options.progress,
    };
    loader.context.lint = options.lint;
    loader.context.missing = options.missing;
    loader.context.reputations = options.reputations.clone();
    loader.context.countries = options.countries.clone();
    loader.context.names = options.names.cloned().unwrap_or_default();
    loader.context.folder = options.reads_files.then(|| {
        let first = files.first().map(|file| Path::new(file.path));
        folder_of(first).to_path_buf()
    });
    for file in files {
        loader.file(file, options.disabled);
    }
    loader.finish()
}

/// The folder that files which rules name lie below: that of the first rule file.
pub fn folder_of(first: Option<&Path>) -> &Path {
    first.and_then(Path::parent).unwrap_or(Path::new("."))
}

/// Name of a rule: gid and sid.
type Identity = (u32, u32);

/// State of a load.
struct Loader<'a> {
    context: Context<'a>,
    loaded: Loaded,
    known: HashMap<Identity, usize>,
    bits: Vec<BitUse>,
    keeps_texts: bool,
    progress: &'a dyn Fn(u32),
}

/// Rules between two words on the progress.
const PROGRESS_STEP: u32 = 512;

impl Loader<'_> {
    fn file(&mut self, file: &File<'_>, disabled: bool) {
        let path: Arc<str> = file.path.into();
        let lines = lex::lines(file.text);
        let counts = &mut self.loaded.counts;
        for line in &lines.not_utf8 {
            counts.rules += 1;
            counts.failed += 1;
            let message = "the line is not UTF-8";
            self.loaded
                .diagnostics
                .push(whole_line(Code::NotUtf8, &path, *line, message));
        }
        if let Some(line) = lines.crlf {
            let message = "the lines of this file end with CRLF";
            self.loaded
                .diagnostics
                .push(whole_line(Code::Crlf, &path, line, message));
        }
        if lines.rules.is_empty() && lines.not_utf8.is_empty() {
            let message = "no rule in this file";
            self.loaded
                .diagnostics
                .push(whole_line(Code::EmptyFile, &path, 1, message));
        }
        for line in &lines.rules {
            match line.kind {
                LineKind::Rule => self.rule(line, &path),
                LineKind::Disabled if disabled => self.rule(line, &path),
                LineKind::Disabled => self.loaded.counts.disabled += 1,
                LineKind::Indented => {
                    let (number, column) = line.locate(0);
                    let mut found = whole_line(
                        Code::IndentedRule,
                        &path,
                        number,
                        "a rule behind blanks is not loaded",
                    );
                    found.length = column.saturating_sub(1).max(1);
                    found.help = Some("remove the blanks before it".to_string());
                    self.loaded.diagnostics.push(found);
                }
            }
        }
    }

    fn rule(&mut self, line: &RuleLine<'_>, path: &Arc<str>) {
        self.loaded.counts.rules += 1;
        if self.loaded.counts.rules.is_multiple_of(PROGRESS_STEP) {
            (self.progress)(self.loaded.counts.rules);
        }
        let source = Source {
            file: path.clone(),
            line: line.line,
            text: self.keeps_texts.then(|| line.text.as_ref().into()),
        };
        match parse::parse(&line.text, source, &mut self.context) {
            Outcome::Signature(signature, problems, bits) => {
                let sid = signature.sid;
                self.note_bits(line, path, sid, &bits);
                for problem in problems {
                    self.report(line, path, sid, problem);
                }
                self.keep(*signature, line, path);
            }
            Outcome::Skipped(sid, problem) => {
                self.loaded.counts.skipped += 1;
                self.report(line, path, sid, problem);
            }
            Outcome::Failed(sid, problem) => {
                self.loaded.counts.failed += 1;
                self.report(line, path, sid, problem);
            }
        }
    }

    /// Remembers which flowbits a rule sets and reads, for the lint at the end.
    fn note_bits(
        &mut self,
        line: &RuleLine<'_>,
        path: &Arc<str>,
        sid: u32,
        bits: &[(u32, bool, Span)],
    ) {
        if !self.context.lint {
            return;
        }
        for (bit, writes, span) in bits {
            let name = self.context.names.flowbits.name(*bit);
            let (code, message) = if *writes {
                let message = format!("nothing reads the flowbit `{name}`");
                (Code::FlowbitNeverRead, message)
            } else {
                let message = format!("nothing sets the flowbit `{name}`");
                (Code::FlowbitNeverSet, message)
            };
            self.bits.push(BitUse {
                bit: *bit,
                writes: *writes,
                place: diagnostic(line, path, sid, Problem::new(code, *span, message)),
            });
        }
    }

    fn report(&mut self, line: &RuleLine<'_>, path: &Arc<str>, sid: u32, problem: Problem) {
        self.loaded
            .diagnostics
            .push(diagnostic(line, path, sid, problem));
    }

    /// Keeps a signature unless one with its name and no lower rev is there.
    fn keep(&mut self, signature: Signature, line: &RuleLine<'_>, path: &Arc<str>) {
        let identity = (signature.gid, signature.sid);
        let Some(index) = self.known.get(&identity).copied() else {
            self.known.insert(identity, self.loaded.signatures.len());
            self.loaded.signatures.push(signature);
            return;
        };
        let earlier = &self.loaded.signatures[index];
        let place = format!("{}:{}", earlier.source.file, earlier.source.line);
        let newer = signature.rev > earlier.rev;
        let at = line.text.rfind("sid").unwrap_or(0);
        let span = Span::new(at, at + 3);
        let sid = signature.sid;
        let (code, message) = if newer {
            (
                Code::ReplacedSid,
                format!(
                    "rev {} replaces rev {} of {place}",
                    signature.rev, earlier.rev
                ),
            )
        } else {
            (
                Code::DuplicateSid,
                format!("sid {sid} is taken by {place} with rev {}", earlier.rev),
            )
        };
        self.report(line, path, sid, Problem::new(code, span, message));
        if newer {
            self.loaded.counts.replaced += 1;
            self.loaded.signatures[index] = signature;
        } else {
            self.loaded.counts.failed += 1;
        }
    }

    fn finish(mut self) -> Loaded {
        self.loaded.names = self.context.names;
        let bits = std::mem::take(&mut self.bits);
        self.loaded.diagnostics.extend(lint::flowbits(bits));
        let signatures = &mut self.loaded.signatures;
        signatures.sort_by_cached_key(|signature| order(signature, ACTION_RANKS));
        let counts = &mut self.loaded.counts;
        counts.enabled = signatures.len() as u32;
        counts.unsupported = signatures
            .iter()
            .filter(|signature| !signature.unsupported.is_empty())
            .count() as u32;
        self.loaded
    }
}

/// A problem with its file and line.
pub fn diagnostic(line: &RuleLine<'_>, path: &Arc<str>, sid: u32, problem: Problem) -> Diagnostic {
    let (number, column, length) = line.place(problem.span);
    Diagnostic {
        code: problem.code,
        file: path.clone(),
        line: number,
        column,
        length,
        sid,
        message: problem.message,
        help: problem.help,
    }
}

/// A finding about a line as such.
fn whole_line(code: Code, path: &Arc<str>, line: u32, message: &str) -> Diagnostic {
    Diagnostic {
        code,
        file: path.clone(),
        line,
        column: 1,
        length: 1,
        sid: 0,
        message: message.to_string(),
        help: None,
    }
}

/// How a rule uses a kind of state: writers come first, so that readers see the same packet's.
fn rank(uses: impl Iterator<Item = bool>) -> u8 {
    let (mut reads, mut writes) = (false, false);
    for write in uses {
        reads |= !write;
        writes |= write;
    }
    match (writes, reads) {
        (true, false) => 0,
        (true, true) => 1,
        (false, true) => 2,
        (false, false) => 3,
    }
}

/// Ranks of pass, drop, reject and alert unless the operator says otherwise.
pub const ACTION_RANKS: [u8; 4] = [0, 1, 2, 3];

/// Rank of what a signature does with variables of its flow, or of its packet: expressions write
/// them.
fn variables(signature: &Signature, of_packet: bool) -> u8 {
    let reads = signature.state.iter().filter_map(|test| match test {
        StateTest::FlowVariable { .. } if !of_packet => Some(false),
        StateTest::PacketVariable { .. } if of_packet => Some(false),
        _ => None,
    });
    let tests = signature.inspect.iter().flat_map(|inspect| &inspect.tests);
    let captures = tests.filter_map(|test| match test {
        Test::Pcre(pcre) => Some(&pcre.captures),
        _ => None,
    });
    let writes = captures.flatten().filter_map(|capture| match capture {
        Capture::Flow(_) if !of_packet => Some(true),
        Capture::Packet(_) if of_packet => Some(true),
        _ => None,
    });
    rank(reads.chain(writes))
}

/// Key of the order of evaluation: action, state writers before readers, priority, sid.
pub fn order(
    signature: &Signature,
    [pass, drop, reject, alert]: [u8; 4],
) -> (u8, [u8; 6], u8, u32) {
    let action = match signature.action {
        Action::Pass => pass,
        Action::Drop => drop,
        Action::Reject(_) => reject,
        Action::Alert => alert,
    };
    let bit_writes =
        |command: BitCommand| !matches!(command, BitCommand::IsSet | BitCommand::IsNotSet);
    let state = signature.state.iter();
    let flowbits = rank(state.clone().filter_map(|test| match test {
        StateTest::Flowbit { command, .. } => Some(bit_writes(*command)),
        _ => None,
    }));
    let flowints = rank(state.clone().filter_map(|test| match test {
        StateTest::Flowint { operator, .. } => Some(matches!(
            operator,
            IntOperator::Set | IntOperator::Add | IntOperator::Subtract
        )),
        _ => None,
    }));
    let host = |pair: bool| {
        rank(state.clone().filter_map(move |test| match test {
            StateTest::HostBit { command, track, .. } if (*track == Track::Both) == pair => {
                Some(bit_writes(*command))
            }
            _ => None,
        }))
    };
    let ranks = [
        flowbits,
        flowints,
        variables(signature, false),
        variables(signature, true),
        host(false),
        host(true),
    ];
    (action, ranks, signature.priority, signature.sid)
}
