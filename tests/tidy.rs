//! The shape of the source: who may import whom, how long functions and files may grow, where
//! `unsafe` may live, which words are not ours. Reads files as text.

use std::fs;
use std::path::{Path, PathBuf};

/// Each room, and the rooms it may look into. The order is the path of a packet, and a room may
/// look only at rooms above it. A room that is not listed fails: new rooms are a decision.
const ROOMS: &[(&str, &[&str])] = &[
    ("time", &[]),
    ("reason", &[]),
    ("counters", &["reason"]),
    ("config", &[]),
    ("layout", &[]),
    ("memory", &[]),
    ("queue", &["memory"]),
    ("packet", &["time", "memory", "reason"]),
    ("port", &["time", "memory", "counters", "reason", "packet"]),
    (
        "keeper",
        &["time", "memory", "counters", "reason", "packet", "port"],
    ),
    ("event", &["memory", "counters", "reason", "packet"]),
    (
        "decode",
        &["memory", "counters", "config", "reason", "packet", "event"],
    ),
    (
        "flow",
        &[
            "time", "memory", "counters", "config", "reason", "packet", "event", "decode",
        ],
    ),
    ("app", &["memory", "counters", "packet", "event", "decode"]),
    ("rules", &["config", "reason", "packet", "decode", "app"]),
    (
        "matcher",
        &[
            "time", "memory", "counters", "config", "reason", "packet", "event", "decode", "flow",
            "app", "rules",
        ],
    ),
    (
        "verdict",
        &[
            "memory", "counters", "config", "reason", "packet", "event", "decode", "rules",
        ],
    ),
    (
        "lane",
        &[
            "time", "memory", "counters", "config", "layout", "reason", "queue", "packet", "port",
            "keeper", "event", "decode", "flow", "app", "rules", "matcher", "verdict",
        ],
    ),
    (
        "eve",
        &[
            "time", "counters", "config", "reason", "packet", "event", "decode", "app", "rules",
        ],
    ),
    (
        "control",
        &[
            "time", "counters", "config", "layout", "reason", "queue", "event", "decode", "rules",
            "eve",
        ],
    ),
    (
        "replay",
        &[
            "counters", "config", "layout", "reason", "packet", "port", "event", "decode", "rules",
            "matcher", "lane",
        ],
    ),
    (
        "cli",
        &[
            "time", "counters", "config", "layout", "reason", "memory", "packet", "port", "keeper",
            "event", "decode", "flow", "rules", "matcher", "lane", "eve", "control", "replay",
        ],
    ),
];
/// The only places that may hold `unsafe` (DESIGN.md 9).
const UNSAFE: &[&str] = &[
    "port/ring.rs",
    "port/ring/",
    "port/netmap.rs",
    "port/netmap/",
    "port/af_packet.rs",
    "port/af_packet/",
    "port/ethtool.rs",
    "port/memory.rs",
    "port/memory/",
    "memory.rs",
    "memory/",
    "queue.rs",
    "queue/",
    "flow/table.rs",
    "flow/table/",
    "matcher/literal/",
    "decode/checksum.rs",
    "time/cycles.rs",
    "keeper/",
];
/// Part of an identifier, and the word we use instead (STYLE.md).
const WORDS: &[(&str, &str)] = &[
    ("batch", "burst"),
    ("five_tuple", "tuple"),
    ("dst_ip", "dst_addr"),
    ("src_ip", "src_addr"),
    ("mpm_", "prefilter"),
    ("mbuf", "context"),
];
/// Words of foreign formats (EVE fields, rule keywords) are theirs, in the rooms that speak them.
const FOREIGN: &[&str] = &["eve/", "rules/", "cli/", "control/"];
const BANNED: &[(&str, &str)] = &[
    ("FIXME", "mend it before it lands"),
    ("TODO", "an issue, or the closing note"),
    ("todo!(", "the code"),
    ("unimplemented!(", "the code"),
    ("dbg!(", "a counter or an event"),
];
const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 700;

fn rust_files(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

/// Production lines only: comments cut, everything from the test module on left out.
fn production(text: &str) -> Vec<String> {
    text.lines()
        .take_while(|line| !line.starts_with("#[cfg(test)]") && !line.starts_with("#[cfg(all(test"))
        .map(|line| match line.trim_start().starts_with("//") {
            true => String::new(),
            false => line.split(" // ").next().unwrap_or("").to_string(),
        })
        .collect()
}

fn room_of(file: &str) -> &str {
    file.split('/').next().unwrap_or("").trim_end_matches(".rs")
}

/// Whether a file is a test module of its own (`foo/tests.rs`).
fn is_test(file: &str) -> bool {
    file.ends_with("/tests.rs") || file.contains("/tests/") || file.ends_with("_tests.rs")
}

fn imports(file: &str, line: &str) -> Vec<String> {
    let room = room_of(file);
    let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
        return vec![];
    };
    line.split("crate::")
        .skip(1)
        .filter_map(|rest| {
            rest.split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
        })
        .filter(|used| *used != room && ROOMS.iter().any(|(name, _)| name == used))
        .filter(|used| !allowed.contains(used))
        .map(|used| format!("`{room}` may not look into `{used}`"))
        .collect()
}

fn words(file: &str, line: &str) -> Vec<String> {
    if FOREIGN.iter().any(|place| file.starts_with(place)) {
        return vec![];
    }
    let code = line
        .split('"')
        .step_by(2)
        .collect::<String>()
        .to_lowercase();
    WORDS
        .iter()
        .filter(|(word, _)| code.contains(word))
        .map(|(word, ours)| format!("`{word}` is not our word, use `{ours}`"))
        .collect()
}

fn long_functions(lines: &[String]) -> Vec<(usize, String)> {
    let mut open: Option<(usize, usize)> = None;
    let mut found = Vec::new();
    for (n, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let head = line.trim_start();
        let starts = head.starts_with("fn ") || head.contains(" fn ") && !head.starts_with('"');
        let whole = line.trim_end().ends_with(';') || line.trim_end().ends_with('}');
        if open.is_none() && starts && !whole {
            open = Some((n, indent));
        }
        if let Some((start, at)) = open
            && indent == at
            && line.trim() == "}"
        {
            let length = n - start + 1;
            if length > FUNCTION_LINES_MAX {
                found.push((
                    start,
                    format!("{length} lines, at most {FUNCTION_LINES_MAX}"),
                ));
            }
            open = None;
        }
    }
    found
}

fn check(file: &str, text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let lines = production(text);
    let mut emit = |n: usize, what: String| errors.push(format!("src/{file}:{}: {what}", n + 1));
    if !text.starts_with("//!") {
        emit(
            0,
            "the first line must be a //! that says what lives here".into(),
        );
    }
    if is_test(file) {
        return errors;
    }
    if lines.len() > FILE_LINES_MAX {
        emit(
            lines.len() - 1,
            format!("{} lines, at most {FILE_LINES_MAX}", lines.len()),
        );
    }
    let room = room_of(file);
    if room != "lib" && room != "main" && !ROOMS.iter().any(|(name, _)| *name == room) {
        emit(0, format!("room `{room}` is not in ROOMS"));
    }
    for (n, line) in lines.iter().enumerate() {
        imports(file, line)
            .into_iter()
            .for_each(|what| emit(n, what));
        words(file, line).into_iter().for_each(|what| emit(n, what));
        let unsafe_here = line.contains("unsafe ") || line.contains("unsafe{");
        if unsafe_here && !UNSAFE.iter().any(|place| file.starts_with(place)) {
            emit(n, "unsafe is only for the files of DESIGN.md 9".into());
        }
        for (word, instead) in BANNED {
            if line.contains(word) {
                emit(n, format!("`{word}` is banned: {instead}"));
            }
        }
    }
    for (n, what) in long_functions(&lines) {
        emit(n, what);
    }
    errors
}

#[test]
fn tidy() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    files.sort();
    let errors: Vec<String> = files
        .iter()
        .flat_map(|path| {
            let name = path.strip_prefix(&src).unwrap().to_str().unwrap();
            check(name, &fs::read_to_string(path).unwrap())
        })
        .collect();
    assert!(files.len() > 20, "the check would pass on nothing");
    assert!(errors.is_empty(), "\n{}", errors.join("\n"));
}

#[test]
fn tidy_sees_what_it_should() {
    let text = "use crate::matcher::Hit;\nfn recv_batch() {}\nunsafe { x }\n";
    let all = check("port/mod.rs", text).join("\n");
    for expected in [
        "first line must be",
        "`port` may not look into `matcher`",
        "`batch` is not our word",
        "unsafe is only for",
    ] {
        assert!(all.contains(expected), "missing `{expected}` in\n{all}");
    }
    let long = format!("//! x\nfn long() {{\n{}}}\n", "    x();\n".repeat(70));
    assert_eq!(
        check("decode/tcp.rs", &long),
        ["src/decode/tcp.rs:2: 72 lines, at most 70"]
    );
}

#[test]
fn rooms_look_only_at_rooms_above_them() {
    let mut above: Vec<&str> = Vec::new();
    for (room, allowed) in ROOMS {
        for used in *allowed {
            assert!(
                above.contains(used),
                "`{room}` looks at `{used}`, which is not above it"
            );
        }
        above.push(room);
    }
}
