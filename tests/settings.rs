//! Settings as an operator meets them: the documented sluice.toml, what the command line wins, the
//! way over from a suricata.yaml, and that no key is missing anywhere.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use sluice::cli::EngineArgs;
use sluice::cli::import::import;
use sluice::cli::settings::Settings;
use sluice::config::eve::TYPES;
use sluice::config::keys::{KEYS, Reader, Usual, reference};
use sluice::config::{Area, Config, Policies};

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("sluice-settings-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn sluice(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// Settings that mean the same, whichever way they were said.
fn plain(mut config: Config) -> Config {
    use Area::*;
    let areas = [
        Midstream,
        ConnectionMemory,
        StreamMemory,
        FlowTable,
        Fragments,
        AppError,
        MatchBudget,
        StreamDepth,
    ];
    let default = Config::default();
    for area in areas {
        assert_eq!(config.policy(area), default.policy(area), "{area:?}");
    }
    config.policies = Policies::default();
    config.app_settings.clear();
    config
}

#[test]
fn the_reference_in_the_repository_is_that_of_the_program() {
    let text = std::fs::read_to_string(root("sluice.toml")).unwrap();
    assert!(
        text == reference(),
        "sluice.toml is out of date: `sluice config reference > sluice.toml`"
    );
}

#[test]
fn the_reference_as_it_stands_changes_nothing_and_names_every_key() {
    let settings = Settings::parse(Path::new("sluice.toml"), &reference())
        .unwrap_or_else(|error| panic!("{}", error.text));
    let active: BTreeSet<&str> = settings.entries.iter().map(|s| s.key.name).collect();
    let usual = KEYS.iter().filter(|key| matches!(key.usual, Usual::Is(_)));
    assert_eq!(active, usual.map(|key| key.name).collect());
    let mut config = Config::default();
    for (key, value, place) in settings.engine() {
        config
            .set(key, &value)
            .unwrap_or_else(|error| panic!("{place}: {error}"));
    }
    assert_eq!(plain(config), Config::default());
    // The lines behind `#` are examples that work.
    let text = reference();
    let shown = |line: &str| {
        let line = line.strip_prefix("# ").unwrap_or(line);
        let name = line.split(" = ").next().unwrap_or("").to_string();
        let is_key = line.contains(" = ") && !name.contains(' ');
        if is_key {
            line.to_string()
        } else {
            String::new()
        }
    };
    let all: Vec<String> = text
        .lines()
        .map(|line| {
            let bare = line.strip_prefix("# ").unwrap_or(line);
            match bare.starts_with('[') {
                true => bare.to_string(),
                false => shown(line),
            }
        })
        .collect();
    let settings = Settings::parse(Path::new("all.toml"), &all.join("\n"))
        .unwrap_or_else(|error| panic!("{}", error.text));
    let every: BTreeSet<&str> = settings.entries.iter().map(|s| s.key.name).collect();
    assert_eq!(every, KEYS.iter().map(|key| key.name).collect());
    assert_eq!(settings.variables.len(), 2);
}

/// Every name that the engine's `set` takes is a key of the file, but for those that say how to run
/// (the command's to say) and other spellings.
#[test]
fn no_setting_of_the_engine_is_missing_in_the_file() {
    const NOT_IN_FILE: [&str; 3] = ["inline", "stream.inline", "checksum_validation"];
    let mut missing = Vec::new();
    for file in ["src/config.rs", "src/config/policy.rs"] {
        let text = std::fs::read_to_string(root(file)).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        let code = code.split("const IGNORED").next().unwrap();
        for line in code.lines() {
            // Match arms, comparisons and the table of policies.
            let arms = line.trim_start().starts_with('"') && line.contains("=>");
            let table = line.trim_start().starts_with("(\"");
            let compared = line.contains("key == \"");
            if !(arms || table || compared) {
                continue;
            }
            for name in line.split('"').skip(1).step_by(2) {
                let is_name = name.contains('.') || name.contains('-') || name == "flows";
                let is_policy = sluice::config::keys::POLICIES.contains(&name);
                let known = KEYS.iter().any(|key| key.name == name);
                if is_name && !is_policy && !known && !NOT_IN_FILE.contains(&name) {
                    missing.push(name.to_string());
                }
            }
        }
    }
    missing.retain(|name| name != "reject-both");
    assert_eq!(missing, Vec::<String>::new());
    // And the other way round: the engine takes every key that the file says is its.
    for key in KEYS.iter().filter(|key| key.reader == Reader::Engine) {
        let value = match key.usual {
            Usual::Is(value) | Usual::Else(value, _) => value.trim_matches('"'),
        };
        let mut config = Config::default();
        config
            .set(key.name, value)
            .unwrap_or_else(|error| panic!("{}: {error}", key.name));
        assert!(config.ignored.is_empty(), "{} means nothing", key.name);
    }
}

#[test]
fn the_command_line_wins_over_the_file() {
    let folder = scratch("wins");
    let file = folder.join("sluice.toml");
    std::fs::write(
        &file,
        "flows = 5000\n[run]\nlayout = \"split\"\nburst = 7\n[rules]\nfiles = [\"a.rules\"]\n\
         [stream]\nmidstream = true\nchecksum-validation = false\n\
         [vars]\nHOME_NET = \"10.0.0.0/8\"\nX = \"1\"\n",
    )
    .unwrap();
    let from_file = EngineArgs {
        config_file: Some(file.clone()),
        ..EngineArgs::default()
    }
    .with_file()
    .unwrap();
    let config = from_file.config(false).unwrap();
    assert_eq!((config.flows_max, config.midstream), (5000, true));
    assert!(!config.checksum_validation);
    assert_eq!(from_file.burst(), 7);
    assert_eq!(from_file.rules, [folder.join("a.rules")]);
    let wins = EngineArgs {
        config_file: Some(file),
        rules: vec!["b.rules".into()],
        vars: vec!["HOME_NET=192.168.0.0/16".to_string()],
        sets: vec!["flows=6000".to_string()],
        checksums: Some("all".to_string()),
        layout: Some("fused".to_string()),
        ..EngineArgs::default()
    }
    .with_file()
    .unwrap();
    let config = wins.config(false).unwrap();
    assert_eq!((config.flows_max, config.checksum_validation), (6000, true));
    assert_eq!(wins.rules, [Path::new("b.rules")]);
    assert_eq!(
        wins.vars,
        ["HOME_NET=10.0.0.0/8", "X=1", "HOME_NET=192.168.0.0/16"],
        "the last one stands"
    );
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_replay_reads_rules_variables_and_limits_from_the_file() {
    let folder = scratch("replay");
    std::fs::create_dir(folder.join("rules")).unwrap();
    std::fs::write(
        folder.join("rules/x.rules"),
        "alert ip $MINE any -> any any (msg:\"mine\"; classtype:odd; sid:1;)\n",
    )
    .unwrap();
    std::fs::write(
        folder.join("classes"),
        "config classification: odd,An odd thing,2\n",
    )
    .unwrap();
    let file = folder.join("sluice.toml");
    std::fs::write(
        &file,
        "[rules]\npath = \"rules\"\nfiles = [\"x.rules\"]\nclassification = \"classes\"\n\
         [log]\ndir = \"log\"\n[vars]\nMINE = \"any\"\n",
    )
    .unwrap();
    let (config, demo) = (file.to_str().unwrap(), root("tests/data/demo.pcap"));
    let demo = demo.to_str().unwrap();
    let run = sluice(&["replay", "--config", config, demo]);
    assert_eq!(run.0, Some(0), "{}", run.2);
    let eve = std::fs::read_to_string(folder.join("log/eve.json")).unwrap();
    assert!(eve.contains("\"category\":\"An odd thing\""));
    // A lint of the same rules, with the same words.
    let checked = sluice(&["check", "--config", config]);
    assert_eq!(checked.0, Some(0), "{}{}", checked.1, checked.2);
    let tracker = "[app-layer.protocols.smtp.inspected-tracker]\ncontent-limit = 1\n";
    for (line, why) in [
        ("host-os-policy = 1\n", "every system"),
        (tracker, "without a window"),
    ] {
        std::fs::write(&file, line).unwrap();
        let told = sluice(&["replay", "--config", config, demo]);
        assert_eq!(told.0, Some(3));
        assert!(told.2.contains(why), "{}", told.2);
    }
    let told = sluice(&["replay", "--set", "mpm-algo=ac", demo]);
    assert!(
        told.2
            .contains("note: setting mpm-algo=ac has no effect: the prefilter"),
        "{}",
        told.2
    );
    let misspelt = sluice(&["replay", "--set", "stream.midstrem=yes", demo]);
    assert_eq!(misspelt.0, Some(3));
    assert!(
        misspelt.2.contains("did you mean `stream.midstream`?"),
        "{}",
        misspelt.2
    );
    let set = "vars.address-groups.MINE=203.0.113.0/24";
    let rule = folder.join("rules/x.rules");
    let with = |more: &[&str]| {
        let usual = [
            "replay",
            demo,
            "-S",
            rule.to_str().unwrap(),
            "--fail-on-alert",
        ];
        sluice(&[&usual[..], more].concat())
    };
    let none = with(&["--set", set]);
    assert_eq!(none.0, Some(0), "{}", none.2);
    assert!(!none.2.contains("no effect"), "{}", none.2);
    assert_eq!(with(&["--var", "MINE=any"]).0, Some(1));
    std::fs::write(&file, "[rules]\nfile = [\"x.rules\"]\n").unwrap();
    let wrong = sluice(&["replay", "--config", config, demo]);
    assert_eq!(wrong.0, Some(3));
    let told = "sluice.toml:2:1: unknown setting `rules.file`\n [hint] did you mean `rules.files`?";
    assert!(wrong.2.contains(told), "{}", wrong.2);
    std::fs::remove_dir_all(folder).unwrap();
}

/// What a file that was made is read as.
fn read(text: &str) -> (Settings, Config) {
    let settings = Settings::parse(Path::new("sluice.toml"), text)
        .unwrap_or_else(|error| panic!("{}\n{text}", error.text));
    let mut config = Config::default();
    for (key, value, place) in settings.engine() {
        config
            .set(key, &value)
            .unwrap_or_else(|error| panic!("{place}: {error}"));
    }
    (settings, config)
}

#[test]
fn a_suricata_yaml_is_taken_over_and_nothing_is_silent() {
    let yaml = root("tests/data/suricata.yaml");
    let made = import(&yaml).unwrap_or_else(|error| panic!("{}", error.text));
    let (settings, config) = read(&made.text);
    assert_eq!(
        settings.pairs(),
        [["eth1", "eth2"], ["netmap:eth5", "netmap:eth6"]]
    );
    assert!(made.remarks.iter().any(|r| r.contains("eth9")), "a tap");
    let both = |remark: &String| remark.contains("Suricata runs one section");
    assert!(made.remarks.iter().any(both), "{:?}", made.remarks);
    assert_eq!(
        settings.number::<usize>("run.lanes").unwrap(),
        Some(4),
        "threads of the pair"
    );
    assert_eq!(
        settings.rule_files(),
        ["suricata.rules", "local.rules"].map(|f| Path::new("/var/lib/suricata/rules").join(f))
    );
    let variable = |name: &str| {
        let found = settings.variables.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    };
    assert_eq!(variable("HOME_NET"), Some("[10.0.0.0/8]"));
    assert_eq!(variable("HTTP_PORTS"), Some("80"));
    assert_eq!(config.vxlan_ports, [4789, 8472]);
    assert_eq!(config.teredo_ports, Vec::<u16>::new(), "any");
    assert_eq!(config.stream_depth, 2 << 20);
    assert_eq!(config.stream_memory, 512 << 20);
    assert_eq!(config.flows_max, ((256u64 << 20) / 320) as u32);
    assert_eq!(config.defrag_memory, 64 << 20);
    assert_eq!(config.defrag_timeout, 45);
    assert_eq!(config.tcp_timeouts.established, 700);
    let rate = config.rate_tracking;
    assert_eq!((rate.bytes, rate.interval), (1 << 30, 20));
    assert!(config.midstream && !config.vlan_tracking && config.eve.drops_start);
    let eve = &config.eve;
    assert!(eve.community_id && eve.community_seed == 5 && eve.alert.payload);
    assert!(!eve.alert.app && !eve.alert.rule_metadata);
    assert_eq!(eve.file, "events.json");
    let told = TYPES.iter().filter(|name| eve.tells(name));
    let listed = ["alert", "drop", "fileinfo", "flow", "netflow", "http"];
    assert!(told.eq(&listed), "{}", made.text);
    assert!(config.files.store && config.files.hashes == [true, false, false]);
    assert_eq!(config.action_order, [1, 0, 2, 3]);
    for (key, value) in [
        ("modbus.enabled", "no"),
        ("tls.enabled", "yes"),
        ("imap.enabled", "detection-only"),
        ("dns.udp.detection-ports.dp", "53,5353"),
    ] {
        let key = format!("app-layer.protocols.{key}");
        let of_key = config.app_settings.iter().find(|(k, _)| *k == key);
        assert_eq!(of_key.map(|(_, v)| v.as_str()), Some(value), "{key}");
    }
    assert_eq!(config.asn1_objects, 256);
    let key = "app-layer.protocols.smtp.mime.extract-urls-schemes";
    let schemes = config.app_settings.iter().find(|(known, _)| known == key);
    assert_eq!(schemes.map(|(_, value)| value.as_str()), Some("http,https"));
    assert!(made.text.contains("max-stub-size = \"64kb\""));
    assert!(
        made.left
            .iter()
            .any(|l| l.contains("inspected-tracker") && l.contains("without a window"))
    );
    assert_eq!(settings.one("rules.classification"), Some("classes.cfg"));
    assert_eq!(config.threshold_file.as_deref(), Some("/etc/thresholds"));
    // Every value is in one of the lists: one value a line in the fixture, marked with what is to
    // become of it.
    let text = std::fs::read_to_string(&yaml).unwrap();
    let marked = |mark: &str| text.lines().filter(|line| line.ends_with(mark)).count();
    assert_eq!(made.taken, marked("# taken"));
    let left: Vec<String> = made.left.iter().map(|l| l.replace("\\", "/")).collect();
    assert_eq!(left.len(), marked("# left"), "{left:#?}");
    for (number, line) in text.lines().enumerate() {
        let place = format!("suricata.yaml:{}: ", number + 1);
        let told = left.iter().filter(|l| l.contains(&place)).count();
        let expected = usize::from(line.ends_with("# left"));
        assert_eq!(told, expected, "{place}{line}");
    }
    assert!(left.iter().all(|line| !line.ends_with(": ")));
}

#[test]
fn the_import_writes_a_file_that_the_program_reads() {
    let folder = scratch("import");
    let out = folder.join("sluice.toml");
    let yaml = root("tests/data/suricata.yaml");
    let (out, yaml) = (out.to_str().unwrap(), yaml.to_str().unwrap());
    let made = sluice(&["config", "import", yaml, "-o", out]);
    assert_eq!(made.0, Some(0), "{}", made.2);
    assert!(
        made.2.contains("not taken over: ") && made.2.contains("values taken over"),
        "{}",
        made.2
    );
    let again = sluice(&["config", "import", yaml, "-o", out]);
    assert_eq!(again.0, Some(2), "it does not write over a file");
    let checked = sluice(&["config", "check", out]);
    assert_eq!(checked.0, Some(0), "{}{}", checked.1, checked.2);
    let missing = sluice(&["config", "import", "/nowhere.yaml"]);
    assert_eq!(missing.0, Some(6), "{}", missing.2);
    std::fs::write(folder.join("bad.yaml"), "a: [b\nc: d: e\n").unwrap();
    let bad = sluice(&[
        "config",
        "import",
        folder.join("bad.yaml").to_str().unwrap(),
    ]);
    assert_eq!(bad.0, Some(3), "{}", bad.2);
    std::fs::remove_dir_all(folder).unwrap();
}

/// What users of Suricata have beyond its own file: values in files that it includes, further logs,
/// sets, reputations, and defaults that are not ours.
#[test]
fn what_suricata_means_is_taken_over_from_included_files_too() {
    let folder = scratch("means");
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    write(
        "suricata.yaml",
        "%YAML 1.1\n---\nvars:\n  address-groups:\n    HOME_NET: \"[10.0.0.0/8]\"\n\
         sensor-name: gate-1\ndefault-log-dir: /var/log/suricata\n\
         stats:\n  enabled: no\n\
         outputs:\n  - eve-log:\n      enabled: yes\n      filename: /data/eve/alerts.json\n      types:\n\
         \x20       - alert:\n            payload: yes\n            metadata:\n\
         \x20             rule:\n                raw: yes\n        - drop\n        - stats\n\
         \x20 - eve-log:\n      enabled: yes\n      filename: flow.json\n      types:\n        - flow\n\
         \x20       - alert:\n            payload: no\n        - anomaly\n        - dns:\n\
         \x20           formats: [grouped]\n        - tls:\n            enabled: no\n\
         \x20 - file-store:\n      enabled: yes\n\
         af-packet:\n  - interface: eth1\n    copy-mode: ips\n    copy-iface: eth2\n\
         \x20   bpf-filter: not port 22\n    checksum-checks: no\n\
         netmap:\n  - interface: eth8\n\
         stream:\n  memcap: 0\n  checksum_validation: yes\n  reassembly:\n    memcap: 1.5gb\n\
         datasets:\n  ua-seen:\n    type: string\n    state: ua.lst\n    memcap: 10mb\n\
         \x20 defaults:\n    memcap: 1mb\n\
         default-reputation-path: /etc/iprep\nreputation-files: [a.list, /b.list]\n\
         rule-files: [\"*.rules\"]\ninclude: local.yaml\n",
    );
    write(
        "local.yaml",
        "%YAML 1.1\n---\nvars:\n  address-groups:\n    HOME_NET: \"[192.168.0.0/16]\"\n\
         threading:\n  set-cpu-affinity: yes\n",
    );
    let made =
        import(&folder.join("suricata.yaml")).unwrap_or_else(|error| panic!("{}", error.text));
    let (settings, config) = read(&made.text);
    assert_eq!(settings.variables.len(), 1, "the included one stands");
    assert_eq!(settings.variables[0].1, "[192.168.0.0/16]");
    assert_eq!(settings.pairs(), [["eth1", "eth2"]]);
    assert!(settings.many("run.tap").is_empty() && settings.flag("run.pin"));
    assert_eq!(config.eve.host, "gate-1");
    assert_eq!(settings.one("log.dir"), Some("/data/eve"));
    assert_eq!(config.eve.file, "alerts.json");
    assert_eq!(config.files.dir, Path::new("/var/log/suricata/filestore"));
    let told = TYPES.iter().filter(|name| config.eve.tells(name));
    assert!(
        told.eq(&["alert", "anomaly", "drop", "flow", "dns"]),
        "{}",
        made.text
    );
    assert!(config.eve.alert.payload && config.eve.alert.rule && !config.eve.dns.detailed);
    assert_eq!(
        config.eve.anomalies,
        [false, false, true],
        "Suricata's default"
    );
    assert!(config.eve.drops_start, "Suricata's default");
    assert!(!config.checksum_validation, "checksum-checks: no");
    assert_eq!(config.stream_memory, 3 << 29);
    assert_eq!(
        config.inspected_flows_max,
        Config::default().inspected_flows_max
    );
    let set = |key: &str| {
        let own = format!("ua-seen.{key}");
        config
            .datasets
            .iter()
            .find(|(known, _)| *known == own)
            .map(|(_, v)| v.as_str())
    };
    assert_eq!(set("state"), Some("/var/lib/suricata/data/ua.lst"));
    assert_eq!(set("memcap"), Some("10485760"));
    assert_eq!(config.reputation.1, ["/etc/iprep/a.list", "/b.list"]);
    let left = |part: &str, why: &str| {
        let found = made
            .left
            .iter()
            .any(|line| line.contains(part) && line.contains(why));
        assert!(found, "{part}: {:#?}", made.left);
    };
    left("bpf-filter = not port 22", "no BPF here");
    left("netmap.0.interface", "a section before it");
    left("stream.memcap = 0", "no limit");
    left("datasets.defaults.memcap", "its own");
    left("outputs.1.eve-log.filename = flow.json", "one event log");
    left("alert.payload = no", "the first says");
    assert!(
        made.remarks
            .iter()
            .any(|r| r.contains("several event logs"))
    );
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_run_can_be_tested_and_rule_files_may_be_patterns() {
    let folder = scratch("tested");
    std::fs::create_dir(folder.join("rules")).unwrap();
    let rule =
        |name: &str, text: &str| std::fs::write(folder.join("rules").join(name), text).unwrap();
    rule(
        "a.rules",
        "alert http any any -> any any (msg:\"a\"; http.user_agent; dataset:set,seen; sid:1;)\n",
    );
    rule(
        "b.rules",
        "alert ip any any -> any any (msg:\"b\"; sid:2;)\n",
    );
    let more = folder.join("more.rules");
    std::fs::write(&more, "alert ip any any -> any any (msg:\"c\"; sid:3;)\n").unwrap();
    let file = folder.join("sluice.toml");
    let with = |files: &str| {
        let text = format!(
            "[rules]\npath = \"rules\"\nfiles = [\"{files}\"]\n[datasets.seen]\ntype = \"string\"\n"
        );
        std::fs::write(&file, text).unwrap();
    };
    let (config, more) = (file.to_str().unwrap(), more.to_str().unwrap());
    with("*.rules");
    let shown = sluice(&["config", "show", config, "--set", "flows=7000"]);
    assert_eq!(shown.0, Some(0), "{}", shown.2);
    for line in [
        "flows = \"7000\" # --set",
        "rules.path = \"rules\" # ",
        "rules.files = [\"*.rules\"] # ",
        "stream.reassembly.depth = \"1mb\" # default",
        "# geoip-database: none",
        "datasets.seen.type = \"string\" # ",
    ] {
        assert!(shown.1.contains(line), "{line}: {}", shown.1);
    }
    assert!(shown.1.parse::<toml::Table>().is_ok(), "{}", shown.1);
    let tested = sluice(&[
        "run", "-T", "--config", config, "-s", more, "--cache", "none",
    ]);
    assert_eq!(tested.0, Some(0), "{}", tested.2);
    assert!(
        tested.1.contains("tested: ") && tested.2.contains("rules: 3 loaded"),
        "{}",
        tested.2
    );
    let checked = sluice(&["check", "--config", config]);
    assert_eq!(checked.0, Some(0), "{}", checked.1);
    // The keeper's ports may be those of the file.
    for (ports, code) in [("inline = [[\"a\", \"b\"]]", 0), ("tap = [\"a\"]", 2)] {
        std::fs::write(&file, format!("[run]\n{ports}\n")).unwrap();
        let kept = sluice(&["run", "-T", "--config", config, "--keeper", "open"]);
        assert_eq!(kept.0, Some(code), "{ports}: {}", kept.2);
    }
    let theirs = sluice(&["run", "-c", "/etc/suricata.yaml", "-i", "eth1"]);
    assert_eq!(theirs.0, Some(3));
    assert!(
        theirs.2.contains("sluice config import /etc/suricata.yaml"),
        "{}",
        theirs.2
    );
    with("no-*.rules");
    let none = sluice(&["run", "-T", "--config", config]);
    assert_eq!(none.0, Some(6));
    assert!(
        none.2.contains("no-*.rules: no rule file there"),
        "{}",
        none.2
    );
    rule(
        "b.rules",
        "alert ip any any -> any any (mgs:\"b\"; sid:2;)\n",
    );
    with(".");
    let wrong = sluice(&["run", "-T", "--config", config]);
    assert_eq!(wrong.0, Some(4));
    let skipped = sluice(&["run", "-T", "--config", config, "--skip-bad-rules"]);
    assert_eq!(skipped.0, Some(0));
    assert!(
        skipped.2.contains("note: rule left out: ") && skipped.2.contains("b.rules:1:"),
        "{}",
        skipped.2
    );
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_folder_of_captures_is_replayed() {
    let folder = scratch("captures");
    std::fs::copy(root("tests/data/demo.pcap"), folder.join("log.pcap.1")).unwrap();
    std::fs::write(folder.join("notes.txt"), "no capture").unwrap();
    let one = sluice(&["replay", "--format", "json", folder.to_str().unwrap()]);
    assert_eq!(one.0, Some(0), "{}", one.2);
    let packets = |text: &str| {
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        value["packets"].as_u64().unwrap()
    };
    std::fs::copy(root("tests/data/demo.pcap"), folder.join("log.pcap.2")).unwrap();
    let two = sluice(&["replay", "--format", "json", "-r", folder.to_str().unwrap()]);
    assert_eq!(packets(&two.1), 2 * packets(&one.1));
    std::fs::remove_file(folder.join("log.pcap.1")).unwrap();
    std::fs::remove_file(folder.join("log.pcap.2")).unwrap();
    let none = sluice(&["replay", folder.to_str().unwrap()]);
    assert_eq!(none.0, Some(6));
    assert!(none.2.contains("no capture there"), "{}", none.2);
    std::fs::remove_dir_all(folder).unwrap();
}
