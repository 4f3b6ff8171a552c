//! Arbitrary text and damaged rules: the parser never panics, and counts every line.

use proptest::prelude::*;

use sluice::rules::{Classification, File, Options, Variables, load};

/// Rules of our own that touch every family of keywords.
const SEEDS: &[&str] = &[
    r#"alert tcp $HOME_NET any -> [!10.0.0.1,10.0.0.0/8] [80,1024:,!8080] (msg:"a\;b"; flow:established,to_server; content:"GET |0d 0a|\\"; offset:1; depth:9; fast_pattern:1,2; pcre:"/a(?=b)[c\]]\x2f/Ri"; byte_test:4,!&,0x0f,-4,relative,string,hex; sid:7; rev:1;)"#,
    r#"drop http any any <> any any (http.uri; dotprefix; content:".x"; endswith; bsize:1<>9; http.host; content:"a"; threshold: type both, track by_src, count 5, seconds 60; flowbits:isset,a|b; xbits:set,c,track ip_pair,expire 9; sid:8;)"#,
    r#"pass udp any any => any 53 (content:"a"; http_uri; base64_decode:bytes 4; base64_data; content:"b"; within:3; byte_math:bytes 1, offset 0, oper <<, rvalue 1, result v; isdataat:!v,relative; requires: version >= 7 < 8 | >= 9; sid:9;)"#,
    r#"reject icmp [::1,fe80::/10] any -> any any (itype:<9; icode:!0; fragbits:+MD; flags:SA,CE; vlan.id:!4,-1; stream_size:both,>,5; decode-event:ipv4.pkt_too_small; flowint:ab,+,cd; metadata:a b, c d; reference:url,a.b/c; tag:host,9,seconds,src; sid:10;)"#,
];

fn run(text: &[u8]) {
    let file = File {
        path: "noise",
        text,
    };
    let options = Options {
        disabled: true,
        lint: true,
        ..Options::default()
    };
    let loaded = load(
        &[file],
        &Variables::default(),
        &Classification::default(),
        &options,
    );
    let counts = loaded.counts;
    assert_eq!(
        counts.rules,
        counts.enabled + counts.failed + counts.skipped + counts.replaced
    );
    for found in &loaded.diagnostics {
        assert!(found.line >= 1 && found.column >= 1 && found.length >= 1);
    }
    for signature in &loaded.signatures {
        let _ = sluice::rules::fast_pattern::fast_pattern(signature);
    }
}

#[test]
fn the_seeds_are_rules() {
    for seed in SEEDS {
        let file = File {
            path: "seed",
            text: seed.as_bytes(),
        };
        let loaded = load(
            &[file],
            &Variables::default(),
            &Classification::default(),
            &Options::default(),
        );
        assert!(
            loaded.counts.enabled + loaded.counts.skipped == 1 || seed.contains("=>"),
            "{:?}",
            loaded.diagnostics
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn arbitrary_bytes_do_no_harm(text in prop::collection::vec(any::<u8>(), 0..400)) {
        run(&text);
    }

    #[test]
    fn arbitrary_options_do_no_harm(text in r#"[ -~äß]{0,120}"#) {
        run(format!("alert tcp any any -> any any ({text}; sid:1;)").as_bytes());
        run(format!("alert tcp {text} any -> any {text} (sid:1;)").as_bytes());
    }

    #[test]
    fn damaged_rules_do_no_harm(
        seed in 0..SEEDS.len(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..6),
    ) {
        let mut text = SEEDS[seed].as_bytes().to_vec();
        for (at, byte, kind) in cuts {
            let at = at.index(text.len().max(1));
            match kind {
                _ if text.is_empty() => text.push(byte),
                0 => text[at] = byte,
                1 => drop(text.remove(at)),
                2 => text.insert(at, b"\"\\;:|,[]!$()/-<>= "[usize::from(byte) % 18]),
                _ => text.truncate(at.max(1)),
            }
        }
        run(&text);
    }

    #[test]
    fn options_of_rules_in_any_order_do_no_harm(
        picks in prop::collection::vec((0..SEEDS.len(), any::<prop::sample::Index>()), 1..12),
    ) {
        let mut options = String::new();
        for (seed, pick) in picks {
            let body = SEEDS[seed].split_once('(').map_or("", |(_, body)| body);
            let all: Vec<&str> = body.trim_end_matches(')').split("; ").collect();
            let option = all[pick.index(all.len())].trim_end_matches(';');
            options.push_str(option);
            options.push(';');
        }
        run(format!("alert ip any any -> any any ({options} sid:1;)").as_bytes());
    }
}
