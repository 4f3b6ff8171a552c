//! Which files a name of rule files means: a file, a folder's `*.rules`, or a pattern with `*`, `?` and
//! `[...]` (glob(7)), as Suricata's `rule-files` may have. Nothing is read here but folders.

use std::io;
use std::path::{Component, Path, PathBuf};

/// The files of a name, sorted; none if nothing fits.
///
/// # Errors
/// A folder that cannot be read.
pub fn of(name: &Path) -> io::Result<Vec<PathBuf>> {
    if name.is_dir() {
        let rules = |path: &PathBuf| path.extension().is_some_and(|e| e == "rules");
        let mut inside: Vec<PathBuf> = entries(name)?.into_iter().filter(rules).collect();
        inside.sort();
        return Ok(inside);
    }
    let is_pattern = name.to_string_lossy().contains(['*', '?', '[']);
    if !is_pattern || name.exists() {
        return Ok(vec![name.to_path_buf()]);
    }
    let mut found = vec![PathBuf::new()];
    for part in name.components() {
        let text = part.as_os_str().to_string_lossy();
        if !matches!(part, Component::Normal(_)) || !text.contains(['*', '?', '[']) {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let pattern: Vec<char> = text.chars().collect();
        let mut next = Vec::new();
        for folder in found.iter().filter(|folder| !folder.is_file()) {
            let inside = entries(if folder.as_os_str().is_empty() {
                Path::new(".")
            } else {
                folder
            });
            // What a pattern goes through need not be readable.
            for path in inside.unwrap_or_default() {
                let name = path.file_name().unwrap_or_default().to_os_string();
                let text: Vec<char> = name.to_string_lossy().chars().collect();
                let hidden = text.first() == Some(&'.') && pattern.first() != Some(&'.');
                if !hidden && fits(&pattern, &text) {
                    next.push(folder.join(name));
                }
            }
        }
        next.sort();
        found = next;
    }
    found.retain(|path| path.is_file());
    Ok(found)
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

/// Whether a name fits a pattern.
fn fits(pattern: &[char], name: &[char]) -> bool {
    let (mut at, mut of) = (0, 0);
    // Where the last `*` stands, and how much of the name it has taken.
    let mut star: Option<(usize, usize)> = None;
    while at < name.len() {
        let step = match pattern.get(of) {
            Some('*') => {
                star = Some((of, at));
                of += 1;
                continue;
            }
            Some('?') => Some(1),
            Some('[') => class(&pattern[of..], name[at]),
            Some(known) if *known == name[at] => Some(1),
            _ => None,
        };
        match (step, star) {
            (Some(step), _) => (at, of) = (at + 1, of + step),
            (None, Some((place, taken))) => {
                star = Some((place, taken + 1));
                (at, of) = (taken + 1, place + 1);
            }
            (None, None) => return false,
        }
    }
    pattern[of..].iter().all(|rest| *rest == '*')
}

/// Length of a class (`[a-z]`, `[!0]`) that a character is of.
fn class(pattern: &[char], one: char) -> Option<usize> {
    let negated = matches!(pattern.get(1), Some('!' | '^'));
    let first = 1 + usize::from(negated);
    // A `]` that stands first is one of the characters.
    let end = pattern.iter().skip(first + 1).position(|c| *c == ']');
    let Some(end) = end.map(|end| end + first + 1) else {
        return (one == '[').then_some(1);
    };
    let inside = &pattern[first..end];
    let mut is_of = false;
    let mut at = 0;
    while at < inside.len() {
        match (inside[at], inside.get(at + 1), inside.get(at + 2)) {
            (from, Some('-'), Some(to)) => {
                is_of |= (from..=*to).contains(&one);
                at += 3;
            }
            (known, ..) => {
                is_of |= known == one;
                at += 1;
            }
        }
    }
    (is_of != negated).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_patterns() {
        for (pattern, name, expected) in [
            ("*.rules", "a.rules", true),
            ("*.rules", "a.rules.bak", false),
            ("et-*-[0-9].rules", "et-a-b-7.rules", true),
            ("et-*-[!0-9].rules", "et-a-b-7.rules", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*", "", true),
            ("a*b*c", "axxbyybzzc", true),
            ("a*b*c", "axxbyybzz", false),
            ("[]x]", "]", true),
            ("[a", "[a", true),
        ] {
            let all = |text: &str| text.chars().collect::<Vec<_>>();
            assert_eq!(
                fits(&all(pattern), &all(name)),
                expected,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn folders_and_patterns_are_files_in_order() {
        let root = std::env::temp_dir().join(format!("sluice-files-{}", std::process::id()));
        for name in [
            "a/y.rules",
            "a/x.rules",
            "a/.z.rules",
            "a/x.txt",
            "b/w.rules",
        ] {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let names = |name: &str| -> Vec<String> {
            let found = of(&root.join(name)).unwrap().into_iter();
            let own = |path: PathBuf| path.strip_prefix(&root).unwrap().display().to_string();
            found.map(own).collect()
        };
        assert_eq!(names("b"), ["b/w.rules"]);
        assert_eq!(names("a/*.rules"), ["a/x.rules", "a/y.rules"]);
        assert_eq!(names("*/[wx].*"), ["a/x.rules", "a/x.txt", "b/w.rules"]);
        assert_eq!(names("a/no*"), Vec::<String>::new());
        assert_eq!(
            names("a/none.rules"),
            ["a/none.rules"],
            "told when it is read"
        );
        std::fs::remove_dir_all(root).unwrap();
    }
}
