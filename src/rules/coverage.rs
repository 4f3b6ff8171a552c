//! Coverage: how many rules this build runs, and what the others lack.
//!
//! A rule runs wholly or not at all. What is *partly* covered has a header that can be run and a
//! keyword that cannot; what is *not* covered lacks its protocol or action.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::rules::load::Loaded;

/// What one missing thing costs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Missing {
    /// Keyword, buffer, `protocol name`, `action word` or `hook word`.
    pub what: String,
    /// Rules that use it.
    pub rules: u32,
    /// Rules that lack nothing else.
    pub alone: u32,
}

/// Coverage of a load.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Coverage {
    /// Rules that run.
    pub fully: u32,
    /// Rules whose header can be run and that lack a keyword.
    pub partly: u32,
    /// Rules whose header cannot be run.
    pub not: u32,
    /// What is missing, most wanted first.
    pub missing: Vec<Missing>,
}

/// Whether a reason is about the header.
fn of_header(what: &str) -> bool {
    ["protocol ", "action ", "hook "]
        .iter()
        .any(|kind| what.starts_with(kind))
}

impl Coverage {
    /// Counts the signatures of a load.
    pub fn of(loaded: &Loaded) -> Coverage {
        let mut coverage = Coverage::default();
        let mut missing: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
        for signature in &loaded.signatures {
            let lacks = &signature.unsupported;
            if lacks.is_empty() {
                coverage.fully += 1;
            } else if lacks.iter().any(|what| of_header(what)) {
                coverage.not += 1;
            } else {
                coverage.partly += 1;
            }
            for what in lacks {
                let entry = missing.entry(what).or_default();
                entry.0 += 1;
                entry.1 += u32::from(lacks.len() == 1);
            }
        }
        coverage.missing = missing
            .into_iter()
            .map(|(what, (rules, alone))| Missing {
                what: what.to_string(),
                rules,
                alone,
            })
            .collect();
        coverage
            .missing
            .sort_by_key(|one| std::cmp::Reverse((one.rules, one.alone)));
        coverage
    }

    /// The table that `--coverage` prints.
    pub fn text(&self) -> String {
        let all = self.fully + self.partly + self.not;
        let share = |part: u32| f64::from(part) * 100.0 / f64::from(all.max(1));
        let mut lines = vec![
            format!("coverage of {all} rules"),
            format!("  fully   {:>7}  {:5.1} %", self.fully, share(self.fully)),
            format!(
                "  partly  {:>7}  {:5.1} %  (a keyword cannot be run)",
                self.partly,
                share(self.partly)
            ),
            format!(
                "  not     {:>7}  {:5.1} %  (the header cannot be run)",
                self.not,
                share(self.not)
            ),
        ];
        if !self.missing.is_empty() {
            lines.push(format!("  {:>7}  {:>7}  {}", "rules", "alone", "missing"));
        }
        for one in &self.missing {
            lines.push(format!(
                "  {:>7}  {:>7}  {}",
                one.rules, one.alone, one.what
            ));
        }
        lines.push(String::new());
        lines.join("\n")
    }
}
