//! Keywords, one by one: for each a conversation made here in which a rule with it fires, and one in
//! which the same rule does not.
//!
//! What is not here: how keywords combine (rule_meaning.rs, the shared cases), and keywords that say
//! something about a rule and decide nothing (`META`).

mod common;
#[path = "keywords/protocols.rs"]
mod protocols;
#[path = "keywords/rows.rs"]
mod rows;
#[allow(dead_code)]
#[path = "parser_proofs/seeds.rs"]
mod seeds;
#[path = "keywords/talks.rs"]
mod talks;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use common::{Fact, facts, rules, shared, small};
use rows::ROWS;
use sluice::app::registry::description;
use sluice::app::{AppProtocol, Transport};
use sluice::cli::rules::{Wanted, load};
use sluice::config::Mode;
use sluice::packet::Direction;
use sluice::replay::Options;
use sluice::rules::{countries, keyword};

/// Keywords that decide nothing about a match.
const META: &[&str] = &[
    "msg",
    "sid",
    "rev",
    "gid",
    "classtype",
    "reference",
    "metadata",
    "priority",
    "target",
    "rawbytes",
    "fast_pattern",
    "prefilter",
    "requires",
];

/// The text of a row: what stands before `&&` are rules that prepare for the last one, sid 1.
fn text(row: &rows::Row) -> String {
    let parts: Vec<&str> = row.rule.split(" && ").collect();
    let rule = |(place, part): (usize, &&str)| {
        let (protocol, options) = part.split_once(" | ").unwrap_or(("tcp", part));
        let sid = parts.len() - place;
        format!("alert {protocol} any any -> any any ({options} sid:{sid};)\n")
    };
    parts.iter().enumerate().map(rule).collect()
}

/// Whether the last rule of a row alerts in a conversation.
fn alerts(row: &rows::Row, capture: &Path) -> bool {
    let loaded = rules(&text(row));
    let mut config = small(Mode::Tap);
    config.set("flow.rate-tracking.bytes", "200").unwrap();
    let options = Options {
        config,
        key: 3,
        ..Options::default()
    };
    let (facts, _) = facts(&[capture.to_path_buf()], options, &loaded);
    facts
        .iter()
        .any(|fact| matches!(fact, Fact::Alert(_, 1, _)))
}

#[test]
fn every_row_fires_in_one_conversation_and_not_in_the_other() {
    let folder = std::env::temp_dir().join(format!("sluice-keywords-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut captures = BTreeMap::new();
    for (name, frames) in rows::talks() {
        let path = folder.join(format!("{name}.pcap"));
        std::fs::write(&path, talks::capture(&frames)).unwrap();
        assert!(captures.insert(name, path).is_none(), "{name} twice");
    }
    let of = |name: &str| {
        let known = captures.get(name);
        known.unwrap_or_else(|| panic!("no conversation is called {name}"))
    };
    let mut wrong = Vec::new();
    for row in ROWS {
        if row.fires == rows::NOWHERE {
            assert!(
                captures.values().all(|path| !alerts(row, path)),
                "{}",
                row.rule
            );
            continue;
        }
        if !alerts(row, of(row.fires)) {
            wrong.push(format!("silent in {}: {}", row.fires, row.rule));
        }
        if alerts(row, of(row.silent)) {
            wrong.push(format!("fires in {}: {}", row.silent, row.rule));
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
    let rest = wrong.join("\n");
    let (bad, all) = (wrong.len(), ROWS.len());
    assert!(wrong.is_empty(), "{bad} of {all} rows:\n{rest}");
}

/// A rule on a state alone holds with every piece that finds its side in it, and with the one that
/// brings it further, as in Suricata; one that asks for more holds once.
#[test]
fn a_state_alone_is_told_as_long_as_it_lasts() {
    let frames = talks::tls("shop.example", "example", "CA", &[1]);
    count_alerts(
        "states",
        &frames,
        &[
            // The hello, and the keys behind it.
            ("alert tls:client_hello_done any any -> any any (sid:1;)", 2),
            // One piece of the server's brings it to its hello and further.
            ("alert tls:server_hello any any -> any any (sid:1;)", 1),
            (
                "alert tls:client_hello_done any any -> any any (tls.sni; content:\"shop\"; sid:1;)",
                1,
            ),
            (
                "alert tls any any -> any any (app-layer-state:client_hello_done; sid:1;)",
                2,
            ),
        ],
    );
}

/// Counts the alerts of rules in a conversation, inline.
fn count_alerts(name: &str, frames: &[Vec<u8>], expected: &[(&str, usize)]) {
    let folder = std::env::temp_dir().join(format!("sluice-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("talk.pcap");
    std::fs::write(&path, talks::capture(frames)).unwrap();
    for (rule, expected) in expected {
        let loaded = rules(rule);
        let options = Options {
            config: small(Mode::Inline),
            key: 3,
            ..Options::default()
        };
        let (facts, _) = facts(std::slice::from_ref(&path), options, &loaded);
        let alerts = facts.iter().filter(|f| matches!(f, Fact::Alert(_, 1, _)));
        assert_eq!(alerts.count(), *expected, "{rule}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Keywords about files are asked for each file of a transaction, as in Suricata; a buffer of files
/// holds once.
#[test]
fn a_keyword_about_files_is_told_for_each_file() {
    let part = |name: &str, body: &str| {
        format!(
            "--xx\r\nContent-Disposition: form-data; name=\"a\"; filename=\"{name}\"\r\n\
             Content-Type: image/jpeg\r\n\r\n{body}\r\n"
        )
    };
    let parts = [
        part("picture1.jpg", "one"),
        part("other.txt", "two"),
        part("picture2.jpg", "three") + "--xx--\r\n",
    ];
    let length: usize = parts.iter().map(String::len).sum();
    let head = format!(
        "POST /upload HTTP/1.1\r\nHost: a\r\n\
         Content-Type: multipart/form-data; boundary=xx\r\nContent-Length: {length}\r\n\r\n"
    );
    let turns: Vec<(bool, &[u8])> = [&head]
        .into_iter()
        .chain(&parts)
        .map(|text| (true, text.as_bytes()))
        .collect();
    let frames = talks::tcp(80, &turns);
    count_alerts(
        "files",
        &frames,
        &[
            (
                "alert http any any -> any any (filename:\"picture\"; sid:1;)",
                2,
            ),
            ("alert http any any -> any any (fileext:\"txt\"; sid:1;)", 1),
            (
                "alert http any any -> any any (http.uri; content:\"upload\"; filename:\"picture\"; filestore; sid:1;)",
                2,
            ),
            (
                "alert http any any -> any any (file.name; content:\"picture\"; sid:1;)",
                1,
            ),
            (
                "alert http any any -> any any (filename:\"nothing\"; sid:1;)",
                0,
            ),
        ],
    );
}

/// Present names of the keywords of a rule's text, as far as they are keywords.
fn keywords(text: &str) -> BTreeSet<&'static str> {
    let plain = text.replace("\\;", "").replace("\\\"", "");
    let mut quoted = false;
    let outside: String = plain
        .chars()
        .filter(|c| {
            quoted ^= *c == '"';
            !quoted
        })
        .collect();
    let names = outside.split(['(', ';']).filter_map(|option| {
        let name = option.split(':').next().unwrap_or("").trim();
        keyword::lookup(name)
    });
    names.map(|keyword| keyword.name).collect()
}

#[test]
fn every_keyword_of_the_enabled_rules_of_et_open_has_a_row() {
    let Some(shared) = shared("keywords") else {
        return;
    };
    let path = shared.join("etopen/etopen-all.rules.xz");
    let output = Command::new("xz").arg("-dc").arg(&path).output();
    let output = output.expect("xz is there");
    assert!(
        output.status.success(),
        "xz does not unpack {}",
        path.display()
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let parts = ROWS.iter().flat_map(|row| row.rule.split(" && "));
    let rows: BTreeSet<&str> = parts
        .flat_map(|part| keywords(&format!("({}", options(part))))
        .collect();
    let mut used = BTreeMap::new();
    for line in text
        .lines()
        .filter(|line| line.starts_with(char::is_alphabetic))
    {
        for name in keywords(line) {
            *used.entry(name).or_insert(0u32) += 1;
        }
    }
    assert!(used.len() > 70, "{} keywords", used.len());
    let missing: Vec<_> = used
        .iter()
        .filter(|(name, _)| !rows.contains(*name) && !META.contains(name))
        .collect();
    assert!(missing.is_empty(), "without a row: {missing:?}");
}

/// Which of two rules about the same conversation alert.
fn hold(protocol: AppProtocol, options: &str, values: [&str; 2]) -> [bool; 2] {
    let known = description(protocol).expect("it has a parser");
    // Over streams OPTIONS is HTTP's word, too.
    let transport = match protocol {
        AppProtocol::Sip => Transport::Udp,
        _ => known.over[0],
    };
    let rule = |(place, value): (usize, &&str)| {
        let options = options.replace('@', value);
        // `app-layer-protocol` and a header that names one exclude each other.
        let header = match (options.starts_with("app-layer-protocol"), transport) {
            (false, _) => protocol.name(),
            (_, Transport::Tcp) => "tcp",
            (_, Transport::Udp) => "udp",
        };
        format!(
            "alert {header} any any -> any any ({options} sid:{};)\n",
            place + 1
        )
    };
    let text: String = values.iter().enumerate().map(rule).collect();
    let loaded = rules(&text);
    let port = protocols::port(protocol);
    let seed = seeds::of(protocol);
    let mut talk = protocols::before(protocol);
    talk.extend(seed.begin);
    talk.push((Direction::ToServer, (seed.client)(1)));
    talk.push((Direction::ToClient, (seed.server)(1)));
    let talk: Vec<(bool, &[u8])> = talk
        .iter()
        .map(|(way, bytes)| (*way == Direction::ToServer, bytes.as_slice()))
        .collect();
    let frames = match transport {
        Transport::Tcp => talks::tcp(port, &talk),
        Transport::Udp => talks::udp(port, &talk),
    };
    let path = std::env::temp_dir().join(format!(
        "sluice-protocols-{}-{}.pcap",
        std::process::id(),
        protocol.name()
    ));
    std::fs::write(&path, talks::capture(&frames)).unwrap();
    let replay = Options {
        config: small(Mode::Tap),
        ..Options::default()
    };
    let (facts, _) = facts(std::slice::from_ref(&path), replay, &loaded);
    std::fs::remove_file(&path).unwrap();
    [1, 2].map(|wanted| {
        facts
            .iter()
            .any(|fact| matches!(fact, Fact::Alert(_, sid, _) if *sid == wanted))
    })
}

#[test]
fn keywords_of_protocols_tell_values_apart() {
    let mut wrong = Vec::new();
    for (protocol, options, holds, differs) in protocols::ROWS {
        let got = hold(*protocol, options, [holds, differs]);
        if got != [true, false] {
            wrong.push(format!(
                "{got:?}: {} {options} {holds} / {differs}",
                protocol.name()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Hashes of files, reputations of addresses and of values stand in files beside the rules.
#[test]
fn lists_in_files_decide() {
    let folder = std::env::temp_dir().join(format!("sluice-lists-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    // Of "nothing there", the answer's body.
    write("md5.list", "694d8af29455964ab460578f896c069c  page.txt\n");
    write("sha1.list", "dfc135f3b1b1e65f99b5b2f9ce2d1133e39b93e1\n");
    write(
        "sha256.list",
        "# page\nca0db483c99297a247119ffcf6e178ddbc14aa1468d42f7aaf70bc213470dcc7\n",
    );
    write("rank.csv", "d3d3LmV4YW1wbGUuY29t,120\n");
    write("hosts.json", "[{\"host\": \"www.example.com\"}]");
    let categories = write("categories.txt", "1,CnC,Command\n");
    // 10.0.0.0/16, as IPv4 stands in such a database.
    let places = folder.join("places.mmdb");
    let networks = [(0x0a00_0000, 96 + 16, "DE")];
    std::fs::write(&places, countries::testing::database(&networks)).unwrap();
    let list = write("reputation.list", "10.0.0.0/8,1,20\n10.0.0.2,1,90\n");
    let options = [
        "filemd5:md5.list;",
        "filesha1:sha1.list;",
        "filesha256:sha256.list;",
        "filemd5:!md5.list; filesize:13;",
        "http.host; datarep:ranks,>,100,load rank.csv,type string;",
        "http.host; datarep:ranks,<,100;",
        "http.host; dataset:isset,j,type string,load hosts.json,format json,value_key host;",
        "iprep:src,CnC,>,50; flow:to_server;",
        "iprep:src,CnC,<,50; flow:to_server;",
        "iprep:dst,CnC,isnotset; flow:to_server;",
        "geoip:src,DE,US; flow:to_server;",
        "geoip:src,US; flow:to_server;",
        "geoip:dst,DE; flow:to_server;",
        "geoip:!US; flow:to_server;",
        "geoip:both,!US; flow:to_server;",
    ];
    let rule = |(place, options): (usize, &&str)| {
        format!(
            "alert http any any -> any any ({options} sid:{};)\n",
            place + 1
        )
    };
    let text: String = options.iter().enumerate().map(rule).collect();
    let wanted = Wanted {
        files: vec![write("test.rules", &text)],
        reputation: (Some(categories), vec![list]),
        countries: Some(places),
        ..Wanted::default()
    };
    let loaded = load(&wanted).unwrap_or_else(|failure| panic!("{}", failure.text));
    assert!(loaded.unsupported.is_empty(), "{:?}", loaded.unsupported);
    let frames = rows::talks().into_iter().find(|(name, _)| *name == "http");
    let capture = folder.join("http.pcap");
    std::fs::write(&capture, talks::capture(&frames.unwrap().1)).unwrap();
    let replay = Options {
        config: small(Mode::Tap),
        ..Options::default()
    };
    let (facts, _) = facts(&[capture], replay, &loaded);
    let mut sids: Vec<u32> = facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::Alert(_, sid, _) => Some(*sid),
            _ => None,
        })
        .collect();
    sids.dedup();
    sids.sort_unstable();
    sids.dedup();
    assert_eq!(sids, [1, 2, 3, 5, 7, 8, 10, 11, 14]);
    std::fs::remove_dir_all(&folder).unwrap();
}

fn options(rule: &str) -> &str {
    rule.split_once(" | ").map_or(rule, |(_, options)| options)
}

#[test]
fn frames_are_made_with_the_right_sums() {
    for (name, frames) in rows::talks() {
        let odd = ["ip_bad", "vlan", "vlan2", "six", "six_small"].contains(&name);
        let right = |frame: &Vec<u8>| talks::has_right_sum(frame);
        assert!(odd || frames.iter().all(right), "{name}");
    }
}
