//! The threshold file: what an operator says about rules without touching them. One statement a
//! line, `\` at the end continues it:
//!
//! ```text
//! threshold   gen_id 1, sig_id 2002087, type limit, track by_src, count 1, seconds 60
//! rate_filter gen_id 1, sig_id 888, track by_src, count 10, seconds 60, new_action drop, timeout 300
//! suppress    gen_id 1, sig_id 2003614, track by_src, ip [10.0.0.0/8,$PRINTERS]
//! suppress    gen_id 1, sig_id 2003615
//! ```
//! Meanings are those of Suricata's guide ("Global-Thresholds"): a threshold for one rule replaces
//! the rule's own; a rate_filter, and anything for all rules (`sig_id 0`), leaves a rule alone that
//! has one; suppression always holds and takes alerts only, never actions. Counting is the
//! matcher's (threshold.rs, host.rs).

use super::diagnostic::Span;
use super::sets;
use super::signature::{
    Action, AddressSet, RateFilter, Signature, Suppress, SuppressSide, Threshold, ThresholdKind,
    Track,
};
use super::variables::Variables;
use crate::packet::RejectTo;

/// A statement.
#[derive(Clone, PartialEq, Debug)]
pub struct Statement {
    gid: u32,
    sid: u32,
    what: What,
    line: u32,
}

#[derive(Clone, PartialEq, Debug)]
enum What {
    Threshold(Threshold),
    Rate(RateFilter),
    Suppress(Option<Suppress>),
}

/// A line that is wrong or has no effect, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remark {
    /// Line, from 1.
    pub line: u32,
    /// What is the matter.
    pub what: String,
}

/// Reads a threshold file.
pub fn read(text: &str, variables: &Variables) -> (Vec<Statement>, Vec<Remark>) {
    let (mut statements, mut remarks) = (Vec::new(), Vec::new());
    let mut pending = String::new();
    let mut first = 0;
    for (line, number) in text.lines().zip(1u32..) {
        let line = line.trim();
        if pending.is_empty() {
            first = number;
        }
        if pending.is_empty() && (line.is_empty() || line.starts_with('#')) {
            continue;
        }
        if let Some(part) = line.strip_suffix('\\') {
            pending.push_str(part);
            continue;
        }
        pending.push_str(line);
        match statement(&std::mem::take(&mut pending), variables) {
            Ok((gid, sid, what)) => statements.push(Statement {
                gid,
                sid,
                what,
                line: first,
            }),
            Err(what) => remarks.push(Remark { line: first, what }),
        }
    }
    if !pending.is_empty() {
        let what = "the file ends within a statement".to_string();
        remarks.push(Remark { line: first, what });
    }
    (statements, remarks)
}

/// Applies the statements to the rules, in their order.
pub fn apply(statements: &[Statement], signatures: &mut [Signature]) -> Vec<Remark> {
    let mut remarks = Vec::new();
    for statement in statements {
        let mut touched = false;
        for signature in signatures.iter_mut().filter(|s| statement.names(s)) {
            touched = true;
            statement.put(signature);
        }
        if !touched {
            let (gid, sid) = (statement.gid, statement.sid);
            remarks.push(Remark {
                line: statement.line,
                what: format!("no rule has gid {gid} and sid {sid}"),
            });
        }
    }
    remarks
}

impl Statement {
    fn names(&self, signature: &Signature) -> bool {
        (self.gid == 0 || self.gid == signature.gid) && (self.sid == 0 || self.sid == signature.sid)
    }

    fn put(&self, signature: &mut Signature) {
        let counts = signature.threshold.is_some()
            || signature.detection_filter.is_some()
            || signature.limits.rate.is_some();
        match &self.what {
            What::Threshold(threshold) => {
                if self.sid == 0 && counts {
                    return;
                }
                signature.detection_filter = None;
                signature.limits.rate = None;
                signature.threshold = Some(*threshold);
            }
            What::Rate(filter) if !counts => signature.limits.rate = Some(*filter),
            What::Rate(_) => {}
            What::Suppress(None) => signature.noalert = true,
            What::Suppress(Some(suppress)) => signature.limits.suppress.push(suppress.clone()),
        }
    }
}

/// The values of a statement by name, each once.
struct Values<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Values<'a> {
    /// Splits `name value, name value`, but not within brackets.
    fn read(text: &'a str) -> Result<Values<'a>, String> {
        let mut depth = 0i32;
        let parts = text.split(move |c| {
            depth += i32::from(c == '[') - i32::from(c == ']');
            c == ',' && depth == 0
        });
        let mut values: Vec<(&str, &str)> = Vec::new();
        for part in parts {
            let part = part.trim();
            let (name, value) = part
                .split_once(char::is_whitespace)
                .ok_or_else(|| format!("`{part}` has no value"))?;
            if values.iter().any(|(known, _)| *known == name) {
                return Err(format!("`{name}` stands twice"));
            }
            values.push((name, value.trim()));
        }
        Ok(Values(values))
    }

    fn take(&mut self, name: &str) -> Option<&'a str> {
        let at = self.0.iter().position(|(known, _)| *known == name)?;
        Some(self.0.remove(at).1)
    }

    fn word(&mut self, name: &str) -> Result<&'a str, String> {
        self.take(name)
            .ok_or_else(|| format!("`{name}` is missing"))
    }

    fn number(&mut self, name: &str) -> Result<u32, String> {
        let word = self.word(name)?;
        word.parse()
            .map_err(|_| format!("{name}: `{word}` is no number"))
    }

    fn track(&mut self) -> Result<Track, String> {
        Ok(match self.word("track")? {
            "by_src" => Track::Source,
            "by_dst" => Track::Destination,
            "by_both" => Track::Both,
            "by_rule" => Track::Rule,
            "by_flow" => Track::Flow,
            other => return Err(format!("track `{other}` is not known")),
        })
    }
}

fn statement(text: &str, variables: &Variables) -> Result<(u32, u32, What), String> {
    let (kind, rest) = text
        .split_once(char::is_whitespace)
        .ok_or_else(|| format!("`{text}` is no statement"))?;
    let mut values = Values::read(rest)?;
    let (gid, sid) = (values.number("gen_id")?, values.number("sig_id")?);
    let what = match kind {
        "threshold" | "event_filter" => threshold(&mut values)?,
        "rate_filter" => rate(&mut values)?,
        "suppress" => suppress(&mut values, variables)?,
        other => {
            return Err(format!(
                "`{other}` is none of threshold, event_filter, rate_filter, suppress"
            ));
        }
    };
    if let Some((name, _)) = values.0.first() {
        return Err(format!("`{name}` does not belong to {kind}"));
    }
    if sid != 0 && gid == 0 {
        return Err("gen_id 0 goes with sig_id 0 alone".to_string());
    }
    Ok((gid, sid, what))
}

fn threshold(values: &mut Values<'_>) -> Result<What, String> {
    let kind = match values.word("type")? {
        "limit" => ThresholdKind::Limit,
        "threshold" => ThresholdKind::Threshold,
        "both" => ThresholdKind::Both,
        other => return Err(format!("type `{other}` is none of limit, threshold, both")),
    };
    Ok(What::Threshold(Threshold {
        kind,
        track: values.track()?,
        count: values.number("count")?,
        seconds: values.number("seconds")?,
        multiplier: 0,
        unique_on: 0,
    }))
}

fn rate(values: &mut Values<'_>) -> Result<What, String> {
    Ok(What::Rate(RateFilter {
        track: values.track()?,
        count: values.number("count")?,
        seconds: values.number("seconds")?,
        new_action: match values.word("new_action")? {
            "alert" => Some(Action::Alert),
            "drop" => Some(Action::Drop),
            "pass" => Some(Action::Pass),
            "reject" => Some(Action::Reject(RejectTo::Source)),
            // Words of the language that have no meaning in it.
            "log" | "sdrop" => None,
            other => return Err(format!("new_action `{other}` is not known")),
        },
        timeout: values.number("timeout")?,
    }))
}

fn suppress(values: &mut Values<'_>, variables: &Variables) -> Result<What, String> {
    let (track, ip) = (values.take("track"), values.take("ip"));
    let side = match track {
        None if ip.is_none() => return Ok(What::Suppress(None)),
        Some("by_src") => SuppressSide::Source,
        Some("by_dst") => SuppressSide::Destination,
        Some("by_either") => SuppressSide::Either,
        _ => return Err("suppress takes track by_src, by_dst or by_either, and ip".to_string()),
    };
    let ip = ip.ok_or("`ip` is missing")?;
    let addresses: AddressSet =
        sets::addresses(ip, Span::default(), variables).map_err(|problem| problem.message)?;
    Ok(What::Suppress(Some(Suppress { side, addresses })))
}

#[cfg(test)]
mod tests {
    use super::super::ruleset::blank;
    use super::*;

    fn v4(last: u8) -> [u8; 16] {
        let mut address = [0; 16];
        address[10..].copy_from_slice(&[255, 255, 10, 0, 0, last]);
        address
    }

    #[test]
    fn statements_find_their_rules() {
        let text = "\
# comment
threshold gen_id 1, sig_id 1, type limit, track by_src, count 3, seconds 60
rate_filter gen_id 1, sig_id 2, track by_rule, count 10, seconds 5, \\
    new_action drop, timeout 30
suppress gen_id 1, sig_id 3, track by_either, ip [10.0.0.1,10.0.0.4/31]
suppress gen_id 1, sig_id 4
event_filter gen_id 1, sig_id 9, type both, track by_dst, count 1, seconds 1
";
        let (statements, remarks) = read(text, &Variables::default());
        assert_eq!(remarks, []);
        let mut rules: Vec<Signature> = (1..=4).map(blank).collect();
        let remarks = apply(&statements, &mut rules);
        assert_eq!(remarks.len(), 1);
        assert_eq!(
            (remarks[0].line, remarks[0].what.contains("sid 9")),
            (7, true)
        );
        let threshold = rules[0].threshold.unwrap();
        assert_eq!((threshold.kind, threshold.count), (ThresholdKind::Limit, 3));
        let rate = rules[1].limits.rate.unwrap();
        assert_eq!((rate.new_action, rate.timeout), (Some(Action::Drop), 30));
        let suppress = &rules[2].limits.suppress[0];
        assert!(suppress.silences(&v4(4), &v4(9)) && suppress.silences(&v4(9), &v4(1)));
        assert!(!suppress.silences(&v4(2), &v4(3)));
        assert!(rules[3].noalert && !rules[2].noalert);
    }

    #[test]
    fn a_rule_of_its_own_stands_against_what_is_said_of_all() {
        let own = Threshold {
            kind: ThresholdKind::Both,
            track: Track::Rule,
            count: 9,
            seconds: 9,
            multiplier: 0,
            unique_on: 0,
        };
        let mut rules = vec![blank(1), blank(2)];
        rules[0].threshold = Some(own);
        let text = "threshold gen_id 0, sig_id 0, type limit, track by_src, count 1, seconds 60\n\
                    rate_filter gen_id 1, sig_id 1, track by_src, count 1, seconds 1, \
                    new_action drop, timeout 1";
        let (statements, _) = read(text, &Variables::default());
        assert_eq!(apply(&statements, &mut rules), []);
        assert_eq!(rules[0].threshold, Some(own));
        assert_eq!(rules[0].limits.rate, None);
        assert_eq!(rules[1].threshold.unwrap().count, 1);
        let text = "threshold gen_id 1, sig_id 1, type limit, track by_src, count 2, seconds 60";
        let (statements, _) = read(text, &Variables::default());
        apply(&statements, &mut rules);
        assert_eq!(rules[0].threshold.unwrap().count, 2);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let cases = [
            (
                "threshold gen_id 1, sig_id 1, type never, track by_src, count 1, seconds 1",
                "never",
            ),
            (
                "threshold gen_id 1, sig_id 1, type limit, count 1, seconds 1",
                "track",
            ),
            ("suppress gen_id 1, sig_id 1, track by_src", "ip"),
            (
                "suppress gen_id 1, sig_id 1, track by_src, ip 10.0.0.999",
                "10.0.0.999",
            ),
            ("suppress gen_id 0, sig_id 5", "gen_id 0"),
            ("rate_filter gen_id x, sig_id 1", "no number"),
            ("limit gen_id 1, sig_id 1", "none of threshold"),
            ("suppress gen_id 1, sig_id 1, colour red", "colour"),
            ("suppress gen_id 1, \\", "ends within"),
        ];
        for (text, expected) in cases {
            let (statements, remarks) = read(&format!("\n{text}"), &Variables::default());
            assert!(statements.is_empty(), "{text}");
            assert_eq!(remarks[0].line, 2, "{text}");
            assert!(
                remarks[0].what.contains(expected),
                "{text}: {:?}",
                remarks[0]
            );
        }
    }
}
