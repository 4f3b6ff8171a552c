//! What rules look at, and in which direction: payload that is encrypted, messages that go one way,
//! protocols on ports of the operator's own. Each row is a conversation made here, rules, settings,
//! and how often each rule alerts in Suricata (read from its sources; no capture shows it).

mod common;
#[path = "keywords/talks.rs"]
#[allow(dead_code)]
mod talks;

use std::collections::BTreeMap;
use std::path::Path;

use common::{Fact, facts, small};
use sluice::cli::rules::{Wanted, load};
use sluice::config::Mode;
use sluice::replay::Options;

/// A hello of TLS 1.2 (no session, one cipher, null compression), the server's, and data.
const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x03\
    aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\x00\x00\x02\x00\x2f\x01\x00";
const SERVER_HELLO: &[u8] = b"\x16\x03\x03\x00\x2a\x02\x00\x00\x26\x03\x03\
    bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\x00\x00\x2f\x00";
const CIPHERS: &[u8] = b"\x14\x03\x03\x00\x01\x01";
const DATA: &[u8] = b"\x17\x03\x03\x00\x08SEALED..";

/// Data of the client in two packets, an answer, and more of both.
fn tls() -> Vec<Vec<u8>> {
    let turns: [(bool, &[u8]); 8] = [
        (true, CLIENT_HELLO),
        (false, SERVER_HELLO),
        (true, CIPHERS),
        (false, CIPHERS),
        (true, DATA),
        (false, DATA),
        (true, DATA),
        (false, DATA),
    ];
    talks::tcp(443, &turns)
}

fn dns() -> Vec<Vec<u8>> {
    let query = talks::dns("a.example", 1, [1, 0], 0);
    let answer = talks::dns("a.example", 1, [0x81, 0x80], 1);
    talks::udp(53, &[(true, &query), (false, &answer)])
}

/// Subscription and answer.
fn mqtt() -> Vec<Vec<u8>> {
    let turns: [(bool, &[u8]); 4] = [
        (true, b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c"),
        (false, b"\x20\x02\x00\x04"),
        (true, b"\x82\x06\x00\x08\x00\x01x\x00"),
        (false, b"\x90\x03\x00\x08\x80"),
    ];
    talks::tcp(1883, &turns)
}

fn modbus() -> Vec<Vec<u8>> {
    let read: &[u8] = b"\x00\x01\x00\x00\x00\x06\x01\x03\x00\x00\x00\x01";
    talks::tcp(1502, &[(true, read)])
}

fn modbus_answered() -> Vec<Vec<u8>> {
    let read: &[u8] = b"\x00\x01\x00\x00\x00\x06\x01\x03\x00\x00\x00\x01";
    let answer: &[u8] = b"\x00\x01\x00\x00\x00\x05\x01\x03\x02\x00\x07";
    talks::tcp(502, &[(true, read), (false, answer)])
}

/// An SMB write of 1.5 MiB in pieces, of which the last byte is one of a kind.
fn long_smb() -> Vec<Vec<u8>> {
    let (mut hello, mut write) = (vec![0, 0, 0, 64], Vec::new());
    hello.extend(b"\xfeSMB\x40\x00");
    hello.resize(4 + 64, 0);
    let length: u32 = (64 + 48 + (3 << 19)) as u32;
    write.extend(length.to_be_bytes());
    write.extend(b"\xfeSMB\x40\x00");
    write.resize(4 + 12, 0);
    // The command of a write.
    write.extend([9, 0]);
    write.resize(4 + 64 + 48, 0);
    write.resize(4 + length as usize - 12, b'a');
    write.extend(b"END OF WRITE");
    let mut turns: Vec<(bool, &[u8])> = vec![(true, &hello), (false, &hello)];
    turns.extend(write.chunks(1400).map(|piece| (true, piece)));
    talks::tcp(445, &turns)
}

struct Row {
    what: &'static str,
    frames: fn() -> Vec<Vec<u8>>,
    mode: Mode,
    settings: &'static [(&'static str, &'static str)],
    rules: &'static str,
    /// How often each signature alerts; those that never do are left out.
    alerts: &'static [(u32, usize)],
}

const ROW: Row = Row {
    what: "",
    frames: tls,
    mode: Mode::Tap,
    settings: &[],
    rules: "",
    alerts: &[],
};

/// Of payload, in the stream and in packets, and of headers alone.
const PAYLOAD: &str = "alert tcp any any -> any any (content:\"SEALED\"; sid:1;)
alert tcp any any -> any any (content:\"|17 03 03|\"; depth:3; dsize:13; sid:2;)
alert tcp any any -> any any (dsize:13; sid:3;)
alert tcp any any -> any any (flow:established,to_server; flags:PA; ttl:64; sid:4;)
alert tls any any -> any any (tls.version:1.2; sid:5;)
alert tcp any any -> any any (content:\"aaaa\"; sid:6;)
";

const DNS: &str = "alert dns:request_complete any any -> any any (sid:1;)
alert dns:response_complete any any -> any any (sid:2;)
alert dns any any -> any any (dns.answers.rrname; absent; sid:3;)
alert dns any any -> any any (dns.queries.rrname; content:\"example\"; sid:4;)
alert dns any any -> any any (dns.query; absent; sid:5;)
";

const MQTT: &str = "alert mqtt any any -> any any (mqtt.connack.return_code:4; sid:1;)
alert mqtt any any -> any any (mqtt.type:SUBACK; sid:2;)
alert mqtt any any -> any any (flow:to_client; mqtt.type:SUBACK; sid:3;)
alert mqtt any any -> any any (mqtt.subscribe.topic; content:\"x\"; sid:4;)
";

/// Of the end of a long stream, and of what it speaks.
const LATE: &str = "alert tcp-stream any any -> any any (content:\"END OF WRITE\"; sid:1;)
alert tcp any any -> any any (app-layer-protocol:smb; flow:to_server; sid:2;)
";

const ENCRYPTION: &str = "app-layer.protocols.tls.encryption-handling";

const ROWS: &[Row] = &[
    Row {
        what: "a tap's streams have no encrypted byte, and packets are hidden once it is answered",
        rules: PAYLOAD,
        alerts: &[(2, 1), (3, 1), (4, 4), (5, 2), (6, 1)],
        ..ROW
    },
    Row {
        what: "inline it is hidden behind the packet that tells it",
        mode: Mode::Inline,
        rules: PAYLOAD,
        alerts: &[(1, 1), (2, 1), (3, 1), (4, 4), (5, 2), (6, 3)],
        ..ROW
    },
    Row {
        what: "it is looked at like any other",
        settings: &[(ENCRYPTION, "full")],
        rules: PAYLOAD,
        alerts: &[(1, 2), (2, 4), (3, 4), (4, 4), (5, 2), (6, 1)],
        ..ROW
    },
    Row {
        what: "its headers are not looked at either",
        settings: &[(ENCRYPTION, "bypass")],
        rules: PAYLOAD,
        alerts: &[(2, 1), (3, 1), (4, 3), (5, 2), (6, 1)],
        ..ROW
    },
    Row {
        what: "a question is no answer's transaction",
        frames: dns,
        rules: DNS,
        alerts: &[(1, 1), (2, 1), (3, 1), (4, 2)],
        ..ROW
    },
    Row {
        what: "an answer belongs to the transaction of its question, which is the client's",
        frames: mqtt,
        rules: MQTT,
        alerts: &[(1, 1), (2, 1), (4, 1)],
        ..ROW
    },
    Row {
        what: "a protocol is looked for on its usual port",
        frames: modbus,
        rules: "alert modbus any any -> any any (flow:to_server; modbus:function 3; sid:1;)\n",
        ..ROW
    },
    Row {
        what: "a stream of SMB is inspected to its end",
        frames: long_smb,
        rules: LATE,
        alerts: &[(1, 1), (2, 1)],
        ..ROW
    },
    Row {
        // Inline the packet after the one that told the protocol is one of such rules, too.
        what: "inline as well",
        frames: long_smb,
        mode: Mode::Inline,
        rules: LATE,
        alerts: &[(1, 1), (2, 2)],
        ..ROW
    },
    Row {
        what: "or as far as is set",
        frames: long_smb,
        settings: &[("app-layer.protocols.smb.stream-depth", "1200kb")],
        rules: LATE,
        alerts: &[(2, 1)],
        ..ROW
    },
    Row {
        what: "what Modbus does is looked for in requests",
        frames: modbus_answered,
        rules: "alert modbus any any -> any any (modbus:function 3; sid:1;)\n",
        alerts: &[(1, 1)],
        ..ROW
    },
    Row {
        what: "and on those of the settings",
        frames: modbus,
        settings: &[(
            "app-layer.protocols.modbus.detection-ports.dp",
            "[502, 1502]",
        )],
        rules: "alert modbus any any -> any any (flow:to_server; modbus:function 3; sid:1;)\n",
        alerts: &[(1, 1)],
        ..ROW
    },
];

/// How often each signature alerts.
fn counts(row: &Row, layout: &str, folder: &Path) -> BTreeMap<u32, usize> {
    let (capture, rules) = (folder.join("talk.pcap"), folder.join("test.rules"));
    std::fs::write(&capture, talks::capture(&(row.frames)())).unwrap();
    std::fs::write(&rules, row.rules).unwrap();
    let wanted = Wanted {
        files: vec![rules],
        ..Wanted::default()
    };
    let loaded = load(&wanted).unwrap_or_else(|failure| panic!("{}", failure.text));
    let mut config = small(row.mode);
    for (key, value) in row.settings {
        config.set(key, value).unwrap();
    }
    let options = Options {
        config,
        layout: layout.parse().unwrap(),
        ..Options::default()
    };
    let (facts, _) = facts(&[capture], options, &loaded);
    let mut counts = BTreeMap::new();
    for fact in facts {
        if let Fact::Alert(_, sid, _) = fact {
            *counts.entry(sid).or_default() += 1;
        }
    }
    counts
}

#[test]
fn rules_look_at_what_is_theirs() {
    let folder = std::env::temp_dir().join(format!("sluice-sides-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for row in ROWS {
        let expected: BTreeMap<u32, usize> = row.alerts.iter().copied().collect();
        for layout in ["fused", "split"] {
            let counts = counts(row, layout, &folder);
            assert_eq!(counts, expected, "{}, {layout}", row.what);
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
