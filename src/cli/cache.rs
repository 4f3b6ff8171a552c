//! Where automata of regexes are kept between starts, and what is said of it. The file itself is
//! matcher/regex/tables.rs's.

use std::path::PathBuf;

use crate::matcher::regex::TablesReport;

/// Given instead of a folder: nothing is kept.
const OFF: &str = "none";

/// The folder of the cache: as given, else /var/cache/sluice for root and the user's cache folder
/// for others. `None` where there is to be none.
pub fn folder(given: Option<&str>) -> Option<PathBuf> {
    match given {
        Some(OFF) => None,
        Some(folder) => Some(PathBuf::from(folder)),
        None if rustix::process::geteuid().is_root() => Some(PathBuf::from("/var/cache/sluice")),
        None => {
            let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
            let below_home = || Some(PathBuf::from(set("HOME")?).join(".cache"));
            let base = set("XDG_CACHE_HOME")
                .map(PathBuf::from)
                .or_else(below_home)?;
            Some(base.join("sluice"))
        }
    }
}

/// A line for the operator where there is something to say.
pub fn told(report: &TablesReport) -> Option<String> {
    let trouble = match (&report.trouble, report.refused) {
        (Some(trouble), _) => trouble.clone(),
        (None, 0) => return None,
        (None, refused) => format!("{refused} automata were not what they were when written"),
    };
    Some(format!(
        "note: cache: {trouble}\n [hint] --cache names a folder of your own, --cache none does without"
    ))
}
