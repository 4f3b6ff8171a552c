//! `sluice check` as a library: exit codes, the form of the text, the form of the JSON.

use std::path::PathBuf;

use sluice::rules::check::{
    Arguments, EXIT_FINDINGS, EXIT_INPUT, EXIT_OK, EXIT_RULES, EXIT_USAGE, run,
};
use sluice::rules::load::anomaly;

/// A folder of this test's own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("sluice-check-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const GOOD: &str = "alert tcp any any -> any 80 (msg:\"m\"; content:\"abcd\"; sid:1;)\n";
const WARNED: &str = "drop ip any any -> any any (msg:\"m\"; sid:2;)\n";
const BAD: &str = "alert tcp any any -> any 80 (msg:\"m\"; contnet:\"abcd\"; sid:3;)\n";

fn arguments(files: &[&PathBuf]) -> Arguments {
    Arguments {
        files: files.iter().map(|path| path.to_path_buf()).collect(),
        ..Arguments::default()
    }
}

#[test]
fn exit_codes_are_the_documented_ones() {
    let folder = Folder::new("exit");
    let good = folder.file("good.rules", GOOD);
    let warned = folder.file("warned.rules", WARNED);
    let bad = folder.file("bad.rules", BAD);
    let missing = folder.0.join("missing.rules");
    let exit = |arguments: Arguments| run(&arguments, &anomaly).1;
    assert_eq!(exit(arguments(&[&good])), EXIT_OK);
    assert_eq!(exit(arguments(&[&warned])), EXIT_OK);
    let deny = Arguments {
        deny_warnings: true,
        ..arguments(&[&warned])
    };
    assert_eq!(exit(deny), EXIT_FINDINGS);
    assert_eq!(exit(arguments(&[&good, &bad])), EXIT_RULES);
    assert_eq!(exit(arguments(&[&bad, &missing])), EXIT_INPUT);
    let variable = Arguments {
        variables: vec!["NONSENSE".to_string()],
        ..arguments(&[&good])
    };
    assert_eq!(exit(variable), EXIT_USAGE);
}

#[test]
fn the_caret_stands_under_the_word() {
    let folder = Folder::new("caret");
    let bad = folder.file("bad.rules", &format!("{GOOD}{BAD}"));
    let (report, _) = run(&arguments(&[&bad]), &anomaly);
    let text = report.text(false);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "error[unknown-keyword]: unknown keyword `contnet`"
    );
    assert!(lines[1].ends_with("bad.rules:2:39 (sid 3)"), "{}", lines[1]);
    let word = lines[3].find("contnet").unwrap();
    assert_eq!(lines[4].find('^'), Some(word));
    assert_eq!(lines[4].matches('^').count(), "contnet".len());
    assert!(text.contains("help: did you mean `content`?"));
    assert!(!text.contains('\x1b'));
    assert!(report.text(true).contains("\x1b[1;31merror"));
}

#[test]
fn a_folder_stands_for_its_rules_and_its_classification() {
    let folder = Folder::new("folder");
    let classed = GOOD.replace("sid:1", "classtype:of-our-own; sid:9");
    folder.file("a.rules", &classed);
    folder.file("b.rules", GOOD);
    folder.file("notes.txt", BAD);
    folder.file(
        "classification.config",
        "config classification: of-our-own,Ours,2\nnonsense\n",
    );
    let (report, exit) = run(&arguments(&[&folder.0]), &anomaly);
    assert_eq!(exit, EXIT_OK, "{}", report.text(false));
    assert_eq!((report.files, report.counts.enabled), (2, 2));
    let codes: Vec<&str> = report.diagnostics.iter().map(|d| d.code.id()).collect();
    assert_eq!(codes, ["bad-config-line"]);
}

#[test]
fn json_says_the_same() {
    let folder = Folder::new("json");
    let file = folder.file("x.rules", &format!("{BAD}{GOOD}"));
    let http = folder.file(
        "http.rules",
        "alert http any any -> any any (msg:\"h\"; http.uri; content:\"abc\"; geoip:src,DE; sid:7;)\n",
    );
    let with = Arguments {
        coverage: true,
        ..arguments(&[&file, &http])
    };
    let (report, _) = run(&with, &anomaly);
    let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
    assert_eq!(json["exit_code"], 4);
    assert_eq!(json["counts"]["rules"], 3);
    assert_eq!(json["counts"]["failed"], 1);
    let first = &json["findings"][0];
    assert_eq!(first["code"], "unknown-keyword");
    assert_eq!((&first["line"], &first["column"]), (&1.into(), &39.into()));
    assert_eq!(first["sid"], 3);
    let coverage = &json["coverage"];
    let of = |kind: &str| coverage[kind].as_u64().unwrap();
    assert_eq!(of("fully") + of("partly") + of("not"), 2);
    let missing = coverage["missing"].as_array().unwrap();
    assert!(
        missing
            .iter()
            .any(|m| m["what"] == "geoip without geoip-database" && m["rules"] == 1)
    );
}

/// A file of values that is not there, or holds what is none, is the fault of the rules that name
/// it, and of no other.
#[test]
fn a_file_of_values_that_is_wanting_fails_the_rules_that_name_it() {
    let folder = Folder::new("values");
    folder.file("good.lst", "YWxwaGE=\n");
    folder.file("bad.lst", "d41d8cd98f00b204e9800998ecf8427e\nno hash\n");
    let rule = |sid: u32, buffer: &str, option: &str| {
        format!("alert http any any -> any any (msg:\"m\"; {buffer}{option}; sid:{sid};)\n")
    };
    let rules = folder.file(
        "values.rules",
        &[
            rule(
                1,
                "http.host; ",
                "dataset:isset,good,type string,load good.lst",
            ),
            rule(
                2,
                "http.host; ",
                "dataset:isset,gone,type string,load gone.lst",
            ),
            rule(3, "", "filemd5:bad.lst"),
            rule(4, "http.host; ", "dataset:isset,good"),
        ]
        .concat(),
    );
    let (report, code) = run(&arguments(&[&rules]), &anomaly);
    let text = report.text(false);
    assert_eq!(code, EXIT_RULES, "{text}");
    assert!(
        text.contains("values.rules:2:") && text.contains("gone.lst: No such file"),
        "{text}"
    );
    assert!(
        text.contains("values.rules:3:") && text.contains("bad.lst:2: no value"),
        "{text}"
    );
    assert!(text.contains("4 rules: 2 loaded, 2 failed"), "{text}");

    let replay = |more: &[&str]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_sluice"))
            .args(["replay", "--cache", "none", "-S"])
            .arg(&rules)
            .args(more)
            .arg("tests/data/demo.pcap")
            .output()
            .unwrap()
    };
    let refused = replay(&[]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(4), "{said}");
    assert!(
        said.contains("values.rules:3:") && said.contains("bad.lst:2"),
        "{said}"
    );
    let skipped = replay(&["--skip-bad-rules"]);
    let said = String::from_utf8_lossy(&skipped.stderr);
    assert!(skipped.status.success(), "{said}");
    assert!(said.contains("2 loaded, 2 failed"), "{said}");
}
