//! Keywords that say something about the rule: sid, msg, classtype, reference, metadata, requires.
//!
//! Also the two configuration files that give them meaning, classification.config and
//! reference.config. `sid` and `requires` are read in a first pass, before anything else may fail.

use hashbrown::HashMap;

use crate::rules::argument::Argument;
use crate::rules::diagnostic::{Code, Problem, Span, nearest};
use crate::rules::keyword;
use crate::rules::lex::{RawOption, RawRule, shorten};
use crate::rules::parse::Builder;
use crate::rules::signature::{Buffer, FileStore, Inspect, Signature};
use crate::rules::support::{FEATURES, LANGUAGE_VERSION};

/// Priority of a rule that names none.
pub const PRIORITY_DEFAULT: u8 = 3;

/// Usual class types and their priorities (facts of the public classification.config).
const CLASSTYPES: &[(&str, u8)] = &[
    ("not-suspicious", 3),
    ("unknown", 3),
    ("bad-unknown", 2),
    ("attempted-recon", 2),
    ("successful-recon-limited", 2),
    ("successful-recon-largescale", 2),
    ("attempted-dos", 2),
    ("successful-dos", 2),
    ("attempted-user", 1),
    ("unsuccessful-user", 1),
    ("successful-user", 1),
    ("attempted-admin", 1),
    ("successful-admin", 1),
    ("rpc-portmap-decode", 2),
    ("shellcode-detect", 1),
    ("string-detect", 3),
    ("suspicious-filename-detect", 2),
    ("suspicious-login", 2),
    ("system-call-detect", 2),
    ("tcp-connection", 4),
    ("trojan-activity", 1),
    ("unusual-client-port-connection", 2),
    ("network-scan", 3),
    ("denial-of-service", 2),
    ("non-standard-protocol", 2),
    ("protocol-command-decode", 3),
    ("web-application-activity", 2),
    ("web-application-attack", 1),
    ("misc-activity", 3),
    ("misc-attack", 2),
    ("icmp-event", 3),
    ("inappropriate-content", 1),
    ("policy-violation", 1),
    ("default-login-attempt", 2),
    ("targeted-activity", 1),
    ("exploit-kit", 1),
    ("external-ip-check", 2),
    ("domain-c2", 1),
    ("pup-activity", 2),
    ("credential-theft", 1),
    ("social-engineering", 2),
    ("coin-mining", 2),
    ("command-and-control", 1),
];

/// A class type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClassType {
    /// What an alert says; empty if only the priority is known.
    pub description: Box<str>,
    /// Priority, 1 is highest.
    pub priority: u8,
}

/// Class types by name, and reference systems by name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Classification {
    classes: HashMap<String, ClassType>,
    systems: HashMap<String, String>,
}

impl Default for Classification {
    fn default() -> Classification {
        let classes = CLASSTYPES.iter().map(|(name, priority)| {
            let class = ClassType {
                description: name.replace('-', " ").into(),
                priority: *priority,
            };
            (name.to_string(), class)
        });
        Classification {
            classes: classes.collect(),
            systems: HashMap::new(),
        }
    }
}

impl Classification {
    /// The class type with this name; case does not matter.
    pub fn get(&self, name: &str) -> Option<&ClassType> {
        self.classes.get(name.to_ascii_lowercase().as_str())
    }

    /// Address that a reference of this system begins with.
    pub fn system(&self, name: &str) -> Option<&str> {
        self.systems
            .get(name.to_ascii_lowercase().as_str())
            .map(String::as_str)
    }

    /// Takes the lines of a classification.config; returns the numbers of those not understood.
    pub fn read_classes(&mut self, text: &str) -> Vec<u32> {
        config_lines(text, "classification", |rest| {
            let mut parts = rest.splitn(3, ',').map(str::trim);
            let (name, description) = (parts.next()?, parts.next()?);
            let priority = parts.next()?.parse().ok()?;
            let class = ClassType {
                description: description.into(),
                priority,
            };
            self.classes.insert(name.to_ascii_lowercase(), class);
            (!name.is_empty()).then_some(())
        })
    }

    /// Takes the lines of a reference.config; returns the numbers of those not understood.
    pub fn read_references(&mut self, text: &str) -> Vec<u32> {
        config_lines(text, "reference", |rest| {
            let (name, address) = rest.split_once(char::is_whitespace)?;
            self.systems
                .insert(name.to_ascii_lowercase(), address.trim().to_string());
            Some(())
        })
    }
}

/// Hands the value of each `config KIND: value` line to `take`.
fn config_lines<'a>(
    text: &'a str,
    kind: &str,
    mut take: impl FnMut(&'a str) -> Option<()>,
) -> Vec<u32> {
    let mut bad = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let rest = line
            .strip_prefix("config")
            .and_then(|rest| rest.trim_start().strip_prefix(kind))
            .and_then(|rest| rest.trim_start().strip_prefix(':'));
        if rest.and_then(|rest| take(rest.trim())).is_none() {
            bad.push(index as u32 + 1);
        }
    }
    bad
}

/// Result of the first pass.
pub enum FirstPass {
    /// The rule is to be read.
    Sid(u32),
    /// `requires` is not met.
    Unmet(u32, Problem),
}

/// Reads `sid` and `requires` alone. `missing` features are switched off by settings.
pub fn first_pass(text: &str, raw: &RawRule, missing: &[&str]) -> Result<FirstPass, Problem> {
    let mut sid = None;
    let mut unmet = None;
    for option in &raw.options {
        let name = option.name.of(text);
        if name.eq_ignore_ascii_case("sid") {
            let span = option.value.unwrap_or(option.name);
            let value: Option<u32> = span.of(text).parse().ok();
            let Some(value) = value.filter(|value| *value > 0) else {
                let message = format!("`{}` is not a sid", shorten(span.of(text)));
                return Err(Problem::new(Code::BadValue, span, message)
                    .help("a sid is a number from 1 to 4294967295"));
            };
            if sid.replace(value).is_some() {
                let message = "`sid` stands a second time in this rule";
                return Err(Problem::new(Code::DuplicateKeyword, option.whole, message));
            }
        } else if name.eq_ignore_ascii_case("requires") && unmet.is_none() {
            unmet = requires(text, option, missing)?;
        }
    }
    match (sid, unmet) {
        (sid, Some(problem)) => Ok(FirstPass::Unmet(sid.unwrap_or(0), problem)),
        (Some(sid), None) => Ok(FirstPass::Sid(sid)),
        (None, None) => Err(Problem::new(
            Code::MissingSid,
            Span::new(text.len().saturating_sub(1), text.len()),
            "the rule has no sid",
        )
        .help("add `sid:1000001;` with a number of your own")),
    }
}

/// The sid of a line that cannot be cut into options, for the report.
pub fn sid_by_eye(text: &str) -> u32 {
    let digits = text
        .rfind("sid:")
        .map_or("", |at| text[at + 4..].trim_start());
    let end = digits
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(digits.len());
    digits[..end].parse().unwrap_or(0)
}

/// Reads a `requires`; a problem is why it is not met.
fn requires(text: &str, option: &RawOption, missing: &[&str]) -> Result<Option<Problem>, Problem> {
    let span = option.value.unwrap_or(option.name);
    let skip = |message: String| Ok(Some(Problem::new(Code::SkippedRequires, span, message)));
    for part in span.of(text).split(',') {
        let part = part.trim();
        if part.is_empty() {
            continue;
        }
        let end = part
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'))
            .unwrap_or(part.len());
        let (kind, value) = (&part[..end], part[end..].trim());
        match kind {
            "version" => match version(value) {
                None => {
                    let message = format!("`{value}` is not a version expression");
                    return Err(Problem::new(Code::BadValue, span, message)
                        .help("for example: requires: version >= 7.0.3 < 8"));
                }
                Some(true) => {}
                Some(false) => return skip(format!("the rule is for version {value}")),
            },
            "feature" if missing.contains(&value) => {
                return skip(format!(
                    "the feature `{value}` is switched off by a setting"
                ));
            }
            "feature" if !FEATURES.contains(&value) => {
                return skip(format!("the rule needs the feature `{value}`"));
            }
            "keyword" if keyword::lookup(value).is_none() => {
                return skip(format!("the rule needs the keyword `{value}`"));
            }
            "feature" | "keyword" => {}
            other => return skip(format!("the rule needs the unknown `{other}`")),
        }
    }
    Ok(None)
}

/// Whether the version of the language satisfies `>= 7.0.3 < 8 | >= 8.0.1`.
fn version(text: &str) -> Option<bool> {
    let mut any = false;
    for alternative in text.split('|') {
        let mut rest = alternative.trim();
        let mut all = !rest.is_empty();
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let operator = [">=", "<=", ">", "<"]
                .into_iter()
                .find(|operator| rest.starts_with(operator))?;
            rest = rest[operator.len()..].trim_start();
            let end = rest.find([' ', '<', '>']).unwrap_or(rest.len());
            let number = triple(&rest[..end])?;
            rest = rest[end..].trim_start();
            all &= match operator {
                ">=" => LANGUAGE_VERSION >= number,
                "<=" => LANGUAGE_VERSION <= number,
                ">" => LANGUAGE_VERSION > number,
                _ => LANGUAGE_VERSION < number,
            };
        }
        any |= all;
    }
    Some(any)
}

/// `8`, `8.0`, `8.0.1`, with a suffix after `-`.
fn triple(text: &str) -> Option<(u8, u8, u8)> {
    let mut parts = text.split('-').next()?.split('.');
    let first = parts.next()?.parse().ok()?;
    let mut next = || match parts.next() {
        Some(part) => part.parse().ok(),
        None => Some(0),
    };
    Some((first, next()?, next()?))
}

/// Reads a meta keyword.
pub fn parse<'a>(builder: &mut Builder<'a, '_>, argument: Argument<'a>) -> Result<(), Problem> {
    let signature = &mut builder.signature;
    match argument.keyword.name {
        "sid" | "requires" => Ok(()),
        "msg" => {
            signature.msg = unescape(argument.text).into();
            builder.once(&argument)
        }
        "gid" => {
            signature.gid = number(&argument)?;
            Ok(())
        }
        "rev" => {
            signature.rev = number(&argument)?;
            if signature.rev == 0 {
                return Err(argument.bad("`rev` counts from 1"));
            }
            builder.once(&argument)
        }
        "priority" => {
            let text = argument.text.trim_matches('"');
            let value: Option<u64> = text.parse().ok();
            let Some(value) = value else {
                return Err(argument.bad(format!("`{text}` is not a priority")));
            };
            let value = value.min(255) as u8;
            // Of several the highest counts, which is the lowest number.
            signature.priority = match builder.priority_written {
                true => signature.priority.min(value),
                false => value,
            };
            builder.priority_written = true;
            Ok(())
        }
        "classtype" => classtype(builder, &argument),
        "reference" => reference(builder, &argument),
        "metadata" => {
            metadata(builder, argument.text);
            Ok(())
        }
        "target" => target(builder, &argument),
        "noalert" => {
            signature.noalert = true;
            Ok(())
        }
        // The last of `alert` and `noalert` holds.
        "alert" => {
            signature.alert = true;
            signature.noalert = false;
            Ok(())
        }
        "bypass" => {
            signature.bypass = true;
            whole_flow(&argument, signature.filestore.is_some())
        }
        "filestore" => filestore(builder, &argument),
        "config" => config(builder, &argument),
        _ => prefilter(builder, &argument),
    }
}

/// A rule that stores files and asks nothing of a transaction asks for a file.
pub fn need_file(signature: &mut Signature) {
    if signature.filestore.is_some() && signature.inspect.is_empty() && signature.app.is_empty() {
        signature.inspect.push(Inspect {
            buffer: Buffer::App("file.data".into()),
            side: None,
            transforms: Vec::new(),
            absent: None,
            tests: Vec::new(),
        });
    }
}

/// `config:SUBSYSTEM disable,type TYPE,scope SCOPE`. Of transactions in the scope of a transaction,
/// nothing is told, whatever the subsystem. Flows are tracked all the same: what would leave a
/// packet out is not run. Other combinations change nothing, in Suricata neither, and are warned of.
fn config(builder: &mut Builder<'_, '_>, argument: &Argument<'_>) -> Result<(), Problem> {
    let words: Vec<&str> = argument
        .text
        .split([',', ' '])
        .filter(|w| !w.is_empty())
        .collect();
    match words.as_slice() {
        [
            "logging" | "tracking",
            "disable",
            "type",
            "tx",
            "scope",
            "tx",
        ] => {
            builder.signature.quiet = true;
        }
        ["tracking", "disable", "type", "flow", "scope", "packet"] => {
            builder.executable("config:tracking packet", false);
        }
        [
            "logging" | "tracking",
            "disable",
            "type",
            "tx" | "flow",
            "scope",
            "tx" | "flow" | "packet",
        ] => {
            let message = format!("`{}` changes nothing", shorten(argument.text));
            let problem = Problem::new(Code::NoEffect, argument.span, message);
            builder
                .problems
                .push(problem.help("write config:logging disable,type tx,scope tx"));
        }
        _ => {
            return Err(argument
                .bad(format!(
                    "`{}` is no change of a setting",
                    shorten(argument.text)
                ))
                .help("write config:logging disable,type tx,scope tx"));
        }
    }
    Ok(())
}

/// `nfq_set_mark:MARK/MASK`: no packet comes from a queue of the kernel whose mark it could get. As in
/// Suricata outside of such queues, the rule is run without.
pub fn no_mark(builder: &mut Builder<'_, '_>, argument: &Argument<'_>) -> Result<(), Problem> {
    let message = "`nfq_set_mark` changes no packet here";
    let problem = argument.problem(Code::NoEffect, message);
    let help = "the rule is run; to keep away what it finds, write the action `drop`";
    builder.problems.push(problem.help(help));
    Ok(())
}

/// `filestore:DIRECTION,SCOPE`: whose files, and the transaction's or all of the flow.
fn filestore(builder: &mut Builder<'_, '_>, argument: &Argument<'_>) -> Result<(), Problem> {
    builder.once(argument)?;
    let mut store = FileStore::default();
    for word in argument.text.split(',').map(str::trim) {
        match word {
            "" | "file" | "tx" => {}
            "request" | "to_server" => store.directions = Some([true, false]),
            "response" | "to_client" => store.directions = Some([false, true]),
            "both" => store.directions = Some([true; 2]),
            "ssn" | "flow" => store.flow = true,
            _ => {
                return Err(argument.bad(format!(
                    "`{}` is neither a direction (request, response, both) nor a scope (file, tx, ssn)",
                    shorten(word)
                )));
            }
        }
    }
    builder.signature.filestore = Some(store);
    whole_flow(argument, builder.signature.bypass)?;
    builder.facts.application = true;
    builder.facts.app_buffer = true;
    Ok(())
}

/// A flow that is no longer looked at gives no files.
fn whole_flow(argument: &Argument<'_>, stores: bool) -> Result<(), Problem> {
    match stores {
        true => Err(argument.problem(
            Code::ModifierConflict,
            "`bypass` ends the flow that `filestore` takes a file from",
        )),
        false => Ok(()),
    }
}

/// `prefilter`: the keyword before it is searched for first; behind a content it is its
/// `fast_pattern`.
fn prefilter(builder: &mut Builder<'_, '_>, argument: &Argument<'_>) -> Result<(), Problem> {
    builder.once(argument)?;
    builder.signature.prefilter = true;
    Ok(())
}

fn number(argument: &Argument<'_>) -> Result<u32, Problem> {
    argument
        .text
        .parse()
        .map_err(|_| argument.bad(format!("`{}` is not a number", shorten(argument.text))))
}

/// Takes the backslash from each character that has one, whether it needs one or not.
pub fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut escaped = false;
    for c in text.chars() {
        escaped = c == '\\' && !escaped;
        if !escaped {
            plain.push(c);
        }
    }
    plain
}

fn classtype(builder: &mut Builder<'_, '_>, argument: &Argument<'_>) -> Result<(), Problem> {
    let name = argument.text;
    let word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(word) {
        return Err(argument.bad(format!("`{}` is not a classtype", shorten(name))));
    }
    let classification = builder.context.classification;
    let (priority, known) = match classification.get(name) {
        Some(class) => (class.priority, true),
        None => (PRIORITY_DEFAULT, false),
    };
    if !known {
        let names = classification.classes.keys().map(String::as_str);
        let message = format!("unknown classtype `{name}`");
        let problem = Problem::new(Code::UnknownClasstype, argument.span, message);
        builder.problems.push(match nearest(name, names) {
            Some(near) => problem.help(format!("did you mean `{near}`?")),
            None => problem.help("add it to classification.config"),
        });
    }
    let signature = &mut builder.signature;
    let earlier = match &signature.classtype {
        Some(earlier) => classification
            .get(earlier)
            .map_or(PRIORITY_DEFAULT, |class| class.priority),
        None => {
            signature.classtype = Some(name.into());
            return Ok(());
        }
    };
    if priority < earlier {
        signature.classtype = Some(name.into());
    }
    let message = "`classtype` stands a second time in this rule";
    builder.problems.push(Problem::new(
        Code::DuplicateClasstype,
        argument.span,
        message,
    ));
    Ok(())
}

/// `reference:system,id`.
fn reference(builder: &mut Builder<'_, '_>, argument: &Argument<'_>) -> Result<(), Problem> {
    let parts = argument.text.split_once(',').map(|(system, id)| {
        let id = id.trim().trim_matches('"').trim();
        (system.trim(), id)
    });
    match parts {
        Some((system, id))
            if !id.is_empty()
                && !system.is_empty()
                && system.bytes().all(|b| b.is_ascii_alphanumeric()) =>
        {
            let pair = (Box::from(system), Box::from(id));
            builder.signature.references.push(pair);
            Ok(())
        }
        _ => Err(argument
            .bad(format!("`{}` is not a reference", shorten(argument.text)))
            .help("write: reference:system,id; for example reference:cve,2024-3094")),
    }
}

/// `metadata:key value, key value`; keys without a value are left out, as the guide's output does.
fn metadata(builder: &mut Builder<'_, '_>, text: &str) {
    for pair in text.split(',') {
        if let Some((key, value)) = pair.trim().split_once(char::is_whitespace) {
            let pair = (Box::from(key), Box::from(value.trim()));
            builder.signature.metadata.push(pair);
        }
    }
}

fn target(builder: &mut Builder<'_, '_>, argument: &Argument<'_>) -> Result<(), Problem> {
    let destination = match argument.text {
        "dest_ip" => true,
        "src_ip" => false,
        other => {
            return Err(argument
                .bad(format!("`{}` is not a target", shorten(other)))
                .help("write src_ip or dest_ip"));
        }
    };
    if builder.signature.target == Some(!destination) {
        return Err(argument.problem(
            Code::ModifierConflict,
            "`target` is both src_ip and dest_ip",
        ));
    }
    builder.signature.target = Some(destination);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_with_the_language() {
        assert_eq!(version(">= 7.0.3"), Some(true));
        assert_eq!(version(">= 7.0.3 < 8"), Some(false));
        assert_eq!(version(">= 7.0.3 < 8 | >= 9.0.99"), Some(false));
        assert_eq!(version(">= 7 < 8 | >= 8.0.1"), Some(true));
        assert_eq!(version("< 8.0.0-beta"), Some(false));
        assert_eq!(version("7.0"), None);
        assert_eq!(version(">= x"), None);
    }

    #[test]
    fn configuration_lines_are_taken_and_bad_ones_named() {
        let mut classes = Classification::default();
        assert_eq!(classes.get("misc-attack").unwrap().priority, 2);
        let bad = classes.read_classes("config classification: x-y,Some thing, 4\nfoo\n# c\n");
        assert_eq!(bad, [2]);
        assert_eq!(classes.get("X-Y").unwrap().priority, 4);
        assert_eq!(&*classes.get("x-y").unwrap().description, "Some thing");
        let bad = classes.read_references("config reference: cve https://c/?name=\n");
        assert!(bad.is_empty());
        assert_eq!(classes.system("CVE"), Some("https://c/?name="));
    }
}
