//! `pcre` among the tests of a buffer, and what its groups take.

use super::{Never, No, Rest, Scratch, Step, View, unsettled_if};
use crate::matcher::pcre::{Asked, Pattern, Patterns, Wanted};
use crate::matcher::regex::RegexResult;
use crate::rules::signature::{CAPTURES_MAX, Capture, Pcre};

/// A compiled pcre.
#[derive(Clone, Debug)]
pub struct PcreStep {
    pattern: Pattern,
    negated: bool,
    relative: bool,
    relative_next: bool,
    /// What its groups are kept as.
    captures: Box<[Capture]>,
}

impl PcreStep {
    /// Whether the test can hold for want of bytes that may still come.
    pub fn can_be_contradicted(&self) -> bool {
        self.negated || self.pattern.wants_end
    }
}

/// What `pcre` options ask of their patterns: groups if they are kept, where a match begins only if
/// another is looked for behind it.
pub fn asked(pcre: &Pcre) -> Asked {
    if !pcre.captures.is_empty() && !pcre.negated {
        Asked::Groups
    } else if pcre.relative_next && !pcre.negated {
        Asked::Starts
    } else {
        Asked::Ends
    }
}

pub(super) fn compile_pcre(pcre: &Pcre, patterns: &mut Patterns<'_>) -> Result<PcreStep, String> {
    Ok(PcreStep {
        pattern: patterns.compile(&pcre.pattern, &pcre.flags, asked(pcre))?,
        negated: pcre.negated,
        relative: pcre.relative,
        relative_next: pcre.relative_next,
        captures: pcre.captures.as_slice().into(),
    })
}

impl Scratch {
    pub(super) fn pcre(&mut self, p: &PcreStep, next: &[Step], view: &View, offset: usize) -> Rest {
        let start = if p.relative { offset } else { 0 };
        let Some(subject) = view.data.get(start..) else {
            return No;
        };
        let wanted = match next {
            _ if p.negated => Wanted::Whether,
            [] => Wanted::Whether,
            _ if p.relative_next => Wanted::Span,
            _ => Wanted::End,
        };
        let mut from = 0;
        loop {
            if !self.charge(subject.len().saturating_sub(from)) {
                return Never;
            }
            let found = p.pattern.search(&mut self.regex, subject, from, wanted);
            self.cut.pcre += u32::from(found == RegexResult::LimitHit);
            let (at, end) = match found {
                RegexResult::NoMatch if p.negated => {
                    return unsettled_if(true, self.run(next, view, offset));
                }
                RegexResult::Match { start, end } if !p.negated => (start, end),
                // What was not searched to its end holds neither way.
                _ => return No,
            };
            self.capture(p, subject, from);
            let rest = self.run(next, view, start + end);
            let rest = unsettled_if(p.pattern.wants_end, rest);
            if rest != No || !p.relative_next {
                return rest;
            }
            from = at + 1;
        }
    }

    /// Notes what the groups of the match that was found from `from` on took.
    fn capture(&mut self, p: &PcreStep, subject: &[u8], from: usize) {
        if p.captures.is_empty() {
            return;
        }
        let mut groups = [None; CAPTURES_MAX];
        let count = p.captures.len().min(CAPTURES_MAX);
        let groups = groups.get_mut(..count).unwrap_or(&mut []);
        if !p.pattern.groups(&mut self.regex, subject, from, groups) {
            return;
        }
        for (what, span) in p.captures.iter().zip(groups.iter()) {
            let value = span.and_then(|(start, end)| subject.get(start..end));
            if let Some(value) = value.filter(|_| *what != Capture::Nothing) {
                self.captures_lost += u64::from(!self.captured.set(*what, value));
            }
        }
    }
}
