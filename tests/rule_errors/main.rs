//! Every kind of finding once, with its exact place: `«` and `»` mark what must be underlined.
//!
//! A rule may be cut short to its options: then a usual header goes before and `sid:1;)` behind.

mod cases;
mod meaning;
mod meta;

use std::collections::BTreeSet;

use sluice::rules::diagnostic::{Code, Severity};
use sluice::rules::{Classification, File, Options, Variables, load};

use cases::{CONFLICTS, Case, LINTS, SYNTAX, VALUES};
use meaning::MEANING;
use meta::META;

/// The text without marks, and where they stood: start and length in characters, from 1.
fn unmark(case: &str) -> (String, Option<(u32, u32)>) {
    let whole = if case.contains("any any") {
        case.to_string()
    } else {
        format!("alert ip any any -> any any (msg:\"t\"; {case} sid:1;)")
    };
    let whole = whole.replace("http.«»", "«http.»");
    let start = whole.chars().position(|c| c == '«');
    let end = whole.chars().position(|c| c == '»');
    let place = start
        .zip(end)
        .map(|(start, end)| (start as u32 + 1, (end - start - 1) as u32));
    (whole.replace(['«', '»'], ""), place)
}

fn check(cases: &[Case]) -> BTreeSet<Code> {
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (case, code, message) in cases {
        let (text, place) = unmark(case);
        let file = File {
            path: "test.rules",
            text: text.as_bytes(),
        };
        let options = Options {
            lint: true,
            ..Options::default()
        };
        let loaded = load(
            &[file],
            &Variables::default(),
            &Classification::default(),
            &options,
        );
        let found = loaded.diagnostics.iter().find(|found| found.code == *code);
        let Some(found) = found else {
            wrong.push(format!("{text}\n  no {code}: {:?}", loaded.diagnostics));
            continue;
        };
        seen.insert(*code);
        let here = (found.column, found.length);
        if !message.is_empty() && found.message != *message {
            wrong.push(format!("{text}\n  says: {}", found.message));
        }
        if !message.is_empty() && place.is_some_and(|place| place != here) {
            wrong.push(format!("{text}\n  stands at {here:?}, not {place:?}"));
        }
        if found.severity() == Severity::Error {
            assert_eq!(loaded.signatures.len(), 0, "{text}");
            assert_eq!(loaded.counts.failed, 1, "{text}");
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    seen
}

#[test]
fn every_finding_has_its_message_and_its_place() {
    let mut seen = BTreeSet::new();
    for cases in [SYNTAX, VALUES, CONFLICTS, LINTS, META, MEANING] {
        seen.extend(check(cases));
    }
    // These need a whole file and have tests of their own.
    let elsewhere = [
        Code::NotUtf8,
        Code::RuleTooLong,
        Code::DuplicateSid,
        Code::ReplacedSid,
        Code::SecondThreshold,
        Code::IndentedRule,
        Code::Crlf,
        Code::EmptyFile,
        Code::Unsupported,
        Code::BadConfigLine,
    ];
    let missing: Vec<&Code> = Code::ALL
        .iter()
        .filter(|code| !seen.contains(code) && !elsewhere.contains(code))
        .collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
}

fn codes(text: &[u8]) -> Vec<(Code, u32, u32)> {
    let file = File {
        path: "test.rules",
        text,
    };
    let loaded = load(
        &[file],
        &Variables::default(),
        &Classification::default(),
        &Options::default(),
    );
    loaded
        .diagnostics
        .iter()
        .map(|found| (found.code, found.line, found.column))
        .collect()
}

#[test]
fn findings_about_files_are_found() {
    assert_eq!(codes(b""), [(Code::EmptyFile, 1, 1)]);
    assert_eq!(
        codes(b"\nalert tcp any any -> any any (msg:\"\xff\"; sid:1;)\n"),
        [(Code::NotUtf8, 2, 1)]
    );
    assert_eq!(
        codes(b"alert tcp any any -> any any (sid:1;)\r\n"),
        [(Code::Crlf, 1, 1)]
    );
    assert_eq!(
        codes(b"alert tcp any any -> any any (sid:1;)\n  alert tcp any any -> any any (sid:2;)\n"),
        [(Code::IndentedRule, 2, 1)]
    );
    let long = format!(
        "alert tcp any any -> any any (content:\"{}\"; sid:1;)",
        "a".repeat(70_000)
    );
    assert_eq!(codes(long.as_bytes()), [(Code::RuleTooLong, 1, 1)]);
    let two = b"http_header_names; content:\"abc\"; threshold:type limit,track by_src,count 1,seconds 9; \
        threshold:type limit,track by_src,count 2,seconds 9;";
    let rule = [b"alert http any any -> any any (", &two[..], b" sid:1;)"].concat();
    assert_eq!(codes(&rule)[0].0, Code::SecondThreshold);
}

#[test]
fn the_higher_rev_of_a_sid_stays() {
    let text = b"alert tcp any any -> any 1 (sid:5; rev:2;)\n\
        alert tcp any any -> any 2 (sid:5; rev:2;)\n\
        alert tcp any any -> any 3 (sid:5; rev:3;)\n\
        alert tcp any any -> any 4 (gid:9; sid:5;)\n";
    assert_eq!(
        codes(text),
        [(Code::DuplicateSid, 2, 29), (Code::ReplacedSid, 3, 29)]
    );
    let file = File { path: "a", text };
    let loaded = load(
        &[file],
        &Variables::default(),
        &Classification::default(),
        &Options::default(),
    );
    let ports: Vec<u16> = loaded
        .signatures
        .iter()
        .map(|s| s.header.dst_port.ranges[0].0)
        .collect();
    assert_eq!(ports, [3, 4]);
    assert_eq!((loaded.counts.replaced, loaded.counts.failed), (1, 1));
    assert_eq!((loaded.counts.rules, loaded.counts.enabled), (4, 2));
}
