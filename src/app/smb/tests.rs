//! Conversations of SMB, written out: what they give, and that every cut gives the same.

use super::super::protocol::{AppProtocol, Transport};
use super::super::testing::{Place, for_events, run, run_missing, same_for_every_cut};
use crate::packet::Direction::{self, ToClient, ToServer};

const PLACE: Place = Place {
    transport: Transport::Tcp,
    server_port: 445,
};

fn framed(content: &[u8]) -> Vec<u8> {
    let mut out = (content.len() as u32).to_be_bytes().to_vec();
    out.extend(content);
    out
}

/// A record of SMB 2: the tree is 5, the session 9.
fn smb2(command: u16, direction: Direction, message: u64, body: &[u8]) -> Vec<u8> {
    let mut out = b"\xfeSMB\x40\0\0\0\0\0\0\0".to_vec();
    out.extend(command.to_le_bytes());
    out.extend([0, 0]);
    out.extend(u32::from(direction == ToClient).to_le_bytes());
    out.extend([0; 4]);
    out.extend(message.to_le_bytes());
    out.extend([0, 0, 0, 0, 5, 0, 0, 0]);
    out.extend(9u64.to_le_bytes());
    out.extend([0; 16]);
    out.extend(body);
    framed(&out)
}

fn wide(text: &str) -> Vec<u8> {
    text.bytes().flat_map(|byte| [byte, 0]).collect()
}

fn tree_connect(message: u64, path: &str) -> Vec<u8> {
    let path = wide(path);
    let mut body = vec![9, 0, 0, 0, 72, 0, path.len() as u8, 0];
    body.extend(path);
    smb2(3, ToServer, message, &body)
}

fn tree_answer(message: u64, kind: u8) -> Vec<u8> {
    smb2(
        3,
        ToClient,
        message,
        &[16, 0, kind, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    )
}

fn create(message: u64, name: &str) -> Vec<u8> {
    let name = wide(name);
    let mut body = vec![0; 44];
    body.extend([120, 0, name.len() as u8, 0]);
    body.extend([0; 8]);
    body.extend(name);
    smb2(5, ToServer, message, &body)
}

const HANDLE: [u8; 16] = [7; 16];

fn created(message: u64) -> Vec<u8> {
    let mut body = vec![0; 64];
    body.extend(HANDLE);
    body.extend([0; 8]);
    smb2(5, ToClient, message, &body)
}

fn write(message: u64, offset: u64, data: &[u8]) -> Vec<u8> {
    let mut body = vec![49, 0, 112, 0];
    body.extend((data.len() as u32).to_le_bytes());
    body.extend(offset.to_le_bytes());
    body.extend(HANDLE);
    body.extend([0; 16]);
    body.extend(data);
    smb2(9, ToServer, message, &body)
}

fn read(message: u64, offset: u64) -> Vec<u8> {
    let mut body = vec![49, 0, 0, 0, 0, 1, 0, 0];
    body.extend(offset.to_le_bytes());
    body.extend(HANDLE);
    body.extend([0; 17]);
    smb2(8, ToServer, message, &body)
}

fn read_answer(message: u64, data: &[u8]) -> Vec<u8> {
    let mut body = vec![17, 0, 80, 0];
    body.extend((data.len() as u32).to_le_bytes());
    body.extend([0; 8]);
    body.extend(data);
    smb2(8, ToClient, message, &body)
}

fn close(message: u64) -> Vec<u8> {
    let mut body = vec![0; 8];
    body.extend(HANDLE);
    smb2(6, ToServer, message, &body)
}

fn same(talk: &[(Direction, Vec<u8>)]) -> Vec<String> {
    let talk: Vec<_> = talk.iter().map(|(way, b)| (*way, b.as_slice())).collect();
    let (protocol, lines) = same_for_every_cut(PLACE, &talk);
    assert_eq!(protocol, AppProtocol::Smb);
    lines
}

fn has(lines: &[String], wanted: &str) -> bool {
    lines.iter().any(|line| line.contains(wanted))
}

#[test]
fn a_file_is_written_out_of_order_and_read_back() {
    let lines = same(&[
        (ToServer, tree_connect(1, "\\\\srv\\data")),
        (ToClient, tree_answer(1, 1)),
        (ToServer, create(2, "evil.exe")),
        (ToClient, created(2)),
        (ToServer, write(3, 0, b"MZ")),
        (ToServer, write(4, 300, b"tail")),
        (ToServer, write(5, 2, &[b'x'; 298])),
        (ToServer, read(6, 0)),
        (ToClient, read_answer(6, b"MZabc")),
        (ToServer, close(7)),
    ]);
    assert!(
        has(&lines, "smb.share \"\\\\\\\\srv\\\\data\""),
        "{lines:?}"
    );
    assert!(has(&lines, "ToServer file.name \"evil.exe\""), "{lines:?}");
    let whole = format!("ToServer file.data \"MZ{}tail\"", "x".repeat(298));
    assert!(has(&lines, &whole), "{lines:?}");
    assert!(has(&lines, "ToClient file.data \"MZabc\""), "{lines:?}");
    assert!(has(&lines, "smb.version 2") && !has(&lines, "event"));
}

#[test]
fn what_overlaps_is_an_event_and_not_looked_at_again() {
    let lines = same(&[
        (ToServer, write(3, 0, b"abcd")),
        (ToServer, write(4, 2, b"XX")),
        (ToServer, write(5, 4, b"ef")),
    ]);
    assert!(has(&lines, "file.data \"abcdef\""), "{lines:?}");
    assert!(has(&lines, "file_overlap"));
}

/// A little-endian PDU of DCERPC.
fn pdu(kind: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![5, 0, kind, flags, 0x10, 0, 0, 0];
    out.extend((16 + body.len() as u16).to_le_bytes());
    out.extend([0, 0, 3, 0, 0, 0]);
    out.extend(body);
    out
}

fn bind() -> Vec<u8> {
    let mut body = vec![0; 8];
    body.extend([1, 0, 0, 0, 0, 0, 1, 0]);
    body.extend([0x78, 0x56, 0x34, 0x12, 0x34, 0x12, 0xcd, 0xab]);
    body.extend([0xef, 0, 1, 0x23, 0x45, 0x67, 0xcf, 0xfb]);
    body.extend([1, 0, 0, 0]);
    body.extend([0; 20]);
    pdu(11, 3, &body)
}

fn bind_ack() -> Vec<u8> {
    let mut body = vec![0; 8];
    body.extend([2, 0, b'x', 0, 1, 0, 0, 0]);
    body.extend([0; 24]);
    pdu(12, 3, &body)
}

#[test]
fn a_pipe_carries_calls() {
    let request = |flags, stub: &[u8]| pdu(0, flags, &[&[0, 0, 0, 0, 0, 0, 12, 0], stub].concat());
    let answer = pdu(2, 3, &[&[0; 8][..], b"done"].concat());
    let (first, rest) = answer.split_at(20);
    let lines = same(&[
        (ToServer, tree_connect(1, "\\\\srv\\IPC$")),
        (ToClient, tree_answer(1, 2)),
        (ToServer, write(3, 0, &bind())),
        (ToServer, read(4, 0)),
        (ToClient, read_answer(4, &bind_ack())),
        (ToServer, write(5, 0, &request(1, b"Create"))),
        (ToServer, write(6, 0, &request(2, b"Service"))),
        (ToServer, read(7, 0)),
        (ToClient, read_answer(7, first)),
        (ToServer, read(8, 0)),
        (ToClient, read_answer(8, rest)),
    ]);
    assert!(
        has(&lines, "smb.named_pipe \"\\\\\\\\srv\\\\IPC$\""),
        "{lines:?}"
    );
    assert!(!has(&lines, "smb.share"));
    assert!(has(&lines, "ToServer dcerpc.opnum 12"), "{lines:?}");
    assert!(
        has(&lines, "ToServer dcerpc.iface \"\\x124Vx\\x124\\xab\\xcd"),
        "{lines:?}"
    );
    assert!(has(&lines, "ToServer dcerpc.stub_data \"CreateService\""));
    assert!(
        has(&lines, "ToClient dcerpc.stub_data \"done\""),
        "{lines:?}"
    );
    assert!(!has(&lines, "file.data") && !has(&lines, "event"));
}

#[test]
fn encrypted_and_unknown_records_are_passed_over() {
    let mut sealed = b"\xfdSMB".to_vec();
    sealed.extend([0x55; 400]);
    let lines = same(&[
        (ToServer, tree_connect(1, "\\\\s\\a")),
        (ToServer, framed(&sealed)),
        (ToServer, tree_connect(2, "\\\\s\\b")),
    ]);
    assert!(has(&lines, "\\\\s\\\\b"), "{lines:?}");
}

#[test]
fn after_bytes_that_are_no_record_the_next_one_is_found() {
    let mut bytes = tree_connect(1, "\\\\s\\a");
    bytes.extend(framed(b"nothing of ours"));
    bytes.extend([0x41; 50]);
    bytes.extend(tree_connect(2, "\\\\s\\b"));
    let lines = same(&[(ToServer, bytes)]);
    assert!(
        has(&lines, "\\\\s\\\\b") && has(&lines, "malformed_data"),
        "{lines:?}"
    );
}

#[test]
fn who_logs_in_is_told() {
    let (domain, user) = (wide("DOM"), wide("bob"));
    let mut blob = b"NTLMSSP\0\x03\0\0\0".to_vec();
    for (length, at) in [(0, 64), (0, 64), (6u8, 64u8), (6, 70), (0, 76), (0, 64)] {
        blob.extend([length, 0, length, 0, at, 0, 0, 0]);
    }
    blob.extend([0; 4]);
    blob.extend(&domain);
    blob.extend(&user);
    blob.push(0);
    let mut body = vec![0; 24];
    body.extend(blob);
    let lines = same(&[(ToServer, smb2(1, ToServer, 1, &body))]);
    assert!(has(&lines, "smb.ntlmssp_user \"bob\""), "{lines:?}");
    assert!(has(&lines, "smb.ntlmssp_domain \"DOM\""), "{lines:?}");
}

#[test]
fn a_dialect_list_of_smb1() {
    let mut record = b"\xffSMB\x72\0\0\0\0\x08\0\0".to_vec();
    record.extend([0; 20]);
    record.extend([0, 12, 0]);
    record.extend(b"\x02NT LM 0.12\0");
    let lines = same(&[(ToServer, framed(&record))]);
    assert_eq!(
        lines,
        ["tx 0 ToServer smb.version 1", "tx 0 ToClient smb.version 1"]
    );
}

#[test]
fn events_hear_what_was_asked_and_what_came_of_it() {
    let mut record = b"\xffSMB\x72\0\0\0\0\x08\0\0".to_vec();
    record.extend([0; 20]);
    record.extend([0, 12, 0]);
    record.extend(b"\x02NT LM 0.12\0");
    let mut answer = b"\xffSMB\x72\x22\0\0\xc0\x88\0\0".to_vec();
    answer.extend([0; 20]);
    answer.extend([1, 0, 0, 0, 0]);
    let talk = [
        (ToServer, &framed(&record)[..]),
        (ToClient, &framed(&answer)),
    ];
    assert_eq!(
        for_events(PLACE, &talk),
        [
            "tx 0 ToServer -smb.command 65650",
            "tx 0 ToServer -smb.session_id 0",
            "tx 0 ToServer -smb.tree_id 0",
            "tx 0 ToServer -smb.client_dialects.name \"NT LM 0.12\"",
            "tx 0 ToClient -smb.status 3221225506",
            "tx 0 ToClient -smb.status_code 3221225506",
        ]
    );
    let open = create(7, "dir\\file");
    let lines = for_events(PLACE, &[(ToServer, &open)]);
    assert!(has(&lines, "-smb.command 131077"), "{lines:?}");
    assert!(has(&lines, "-smb.filename \"dir\\\\file\""), "{lines:?}");
}

/// Work grows with the bytes, not with their square: many small records, many early chunks, and
/// names of records where there are none.
#[test]
fn work_grows_with_the_bytes_alone() {
    let many = |count: usize| -> [Vec<u8>; 3] {
        let opens = (0..count).flat_map(|n| create(n as u64, "a")).collect();
        let early = (0..count)
            .flat_map(|n| write(9, 1000 + 7 * n as u64, b"x"))
            .collect();
        let mut lost = framed(b"none of ours");
        lost.extend(b"SMB".repeat(40 * count));
        [opens, early, lost]
    };
    let time = |bytes: &Vec<u8>| {
        let mut best = f64::MAX;
        for _ in 0..3 {
            let start = std::time::Instant::now();
            let lead = tree_connect(1, "\\\\s\\a");
            run(PLACE, &[(ToServer, &lead), (ToServer, bytes)]);
            best = best.min(start.elapsed().as_secs_f64());
        }
        best
    };
    for (small, large) in many(250).iter().zip(&many(2000)) {
        let (small, large) = (time(small), time(large));
        assert!(large < 40.0 * small + 0.05, "{small} {large}");
    }
}

#[test]
fn settings_bound_reads_and_open_exchanges() {
    let with = |key: &str, value: &str, talk: &[Vec<u8>]| {
        let key = format!("app-layer.protocols.smb.{key}");
        let bytes = talk.concat();
        run_missing(PLACE, &[(&key, value)], &[(ToServer, 0, &bytes)]).join("\n")
    };
    // 256 bytes are asked for.
    let asks = [create(1, "a"), read(2, 0)];
    let event = "read_request_too_large";
    assert!(with("max-read-size", "255", &asks).contains(event));
    assert!(!with("max-read-size", "256", &asks).contains(event));
    assert!(!with("max-read-size", "0", &asks).contains(event));
    let opens = [create(1, "a"), create(2, "b"), create(3, "c")];
    assert!(with("max-tx", "2", &opens).contains("too_many_transactions"));
    assert!(!with("max-tx", "3", &opens).contains("too_many_transactions"));
}

#[test]
fn renames_and_deletions_are_told_with_their_names() {
    let set_info = |message: u64, level: u8, data: &[u8]| {
        let mut body = vec![33, 0, 1, level];
        body.extend((data.len() as u32).to_le_bytes());
        body.extend([96, 0, 0, 0, 0, 0, 0, 0]);
        body.extend(HANDLE);
        body.extend(data);
        smb2(17, ToServer, message, &body)
    };
    let name = wide("new.exe");
    let mut rename = vec![0; 16];
    rename.extend((name.len() as u32).to_le_bytes());
    rename.extend(&name);
    let talk = [
        (ToServer, create(1, "old")),
        (ToClient, created(1)),
        (ToServer, set_info(2, 10, &rename)),
        (ToServer, set_info(3, 13, &[1])),
        // Of other kinds nothing is told.
        (ToServer, set_info(4, 4, &[1])),
    ];
    let talk: Vec<_> = talk.iter().map(|(way, b)| (*way, b.as_slice())).collect();
    let lines = for_events(PLACE, &talk);
    for line in [
        "ToServer -smb.rename.from \"old\"",
        "ToServer -smb.set_info.class \"FILE_INFO\"",
        "ToServer -smb.set_info.info_level \"SMB2_FILE_RENAME_INFO\"",
        "ToServer -smb.rename.to \"new.exe\"",
        "ToServer -smb.filename \"old\"",
        "ToServer -smb.access \"delete on close\"",
    ] {
        assert!(
            lines.iter().any(|known| known.ends_with(line)),
            "{line}: {lines:#?}"
        );
    }
    let commands = lines.iter().filter(|line| line.contains("-smb.command"));
    assert_eq!(commands.count(), 3, "{lines:#?}");
}

/// A record of SMB 1 in UTF-16: the session is 9.
fn smb1(command: u8, direction: Direction, content: &[u8]) -> Vec<u8> {
    let mut out = b"\xffSMB".to_vec();
    out.extend([command, 0, 0, 0, 0]);
    out.push(if direction == ToClient { 0x80 } else { 0 });
    out.extend([0, 0x80]);
    out.extend([0; 12]);
    out.extend([5, 0, 0, 0, 9, 0, 1, 0]);
    out.extend(content);
    framed(&out)
}

/// The conversation's lines for events.
fn told(talk: &[(Direction, Vec<u8>)]) -> Vec<String> {
    let talk: Vec<_> = talk.iter().map(|(way, b)| (*way, b.as_slice())).collect();
    same_for_every_cut(PLACE, &talk);
    for_events(PLACE, &talk)
}

#[test]
fn renames_of_smb1_have_both_names() {
    let mut rename = vec![1, 0, 0, 0, 0, 4];
    // The first name stands at an odd place of the record: a byte before it fills up.
    rename.extend(wide("old\0"));
    rename.extend([4, 0]);
    rename.extend(wide("new\0"));
    let lines = told(&[(ToServer, smb1(7, ToServer, &rename))]);
    for line in ["-smb.rename.from \"old\"", "-smb.rename.to \"new\""] {
        assert!(has(&lines, line), "{line}: {lines:#?}");
    }
    // TRANS2 SET_PATH_INFO: parameters at 68, data at 84.
    let set_path = |level: u16, data: &[u8]| {
        let mut content = vec![15];
        content.extend([0; 18]);
        content.extend([
            16,
            0,
            68,
            0,
            data.len() as u8,
            0,
            84,
            0,
            1,
            0,
            6,
            0,
            0,
            0,
            0,
        ]);
        content.resize(36, 0);
        content.extend(level.to_le_bytes());
        content.extend([0; 4]);
        content.extend(wide("old\0"));
        content.resize(52, 0);
        content.extend(data);
        smb1(0x32, ToServer, &content)
    };
    let mut data = vec![0; 8];
    data.extend([6, 0, 0, 0]);
    data.extend(wide("new"));
    let lines = told(&[
        (ToServer, set_path(1010, &data)),
        (ToServer, set_path(1013, &[1])),
    ]);
    for line in [
        "ToServer -smb.rename.from \"old\"",
        "ToServer -smb.rename.to \"new\"",
        "ToServer -smb.filename \"old\"",
        "ToServer -smb.subcmd \"SET_PATH_INFO\"",
        "ToServer -smb.access \"delete on close\"",
    ] {
        assert!(has(&lines, line), "{line}: {lines:#?}");
    }
}

#[test]
fn how_a_file_was_opened_is_told() {
    let mut open = create(7, "dir");
    // Disposition and options of the request.
    open[4 + 64 + 36] = 2;
    open[4 + 64 + 40] = 1;
    let mut answer = created(7);
    // The first second of 1970 and a tenth of a size.
    answer[4 + 64 + 8..][..8].copy_from_slice(&116_444_736_010_000_000u64.to_le_bytes());
    answer[4 + 64 + 48] = 10;
    let lines = told(&[(ToServer, open), (ToClient, answer)]);
    for line in [
        "ToServer -smb.directory \"dir\"",
        "ToServer -smb.disposition 2",
        "ToServer -smb.access \"normal\"",
        "ToClient -smb.created 1",
        "ToClient -smb.accessed 0",
        "ToClient -smb.size 10",
        "ToClient -smb.fuid",
    ] {
        assert!(has(&lines, line), "{line}: {lines:#?}");
    }
    let lines = told(&[(ToServer, create(7, ""))]);
    assert!(has(&lines, "-smb.filename \"<share_root>\""), "{lines:#?}");
}

#[test]
fn who_speaks_with_whom_is_told() {
    let mut body = vec![36, 0, 1, 0];
    body.extend([0; 8]);
    body.extend([3; 16]);
    body.extend([0; 8]);
    body.extend([0x10, 2]);
    let mut answer = vec![65, 0, 0, 0, 0x10, 2, 0, 0];
    answer.extend([4; 16]);
    answer.extend([0; 8]);
    answer.extend([0, 0, 1, 0, 0, 0, 2, 0]);
    answer.extend([0; 24]);
    let lines = told(&[
        (ToServer, smb2(0, ToServer, 0, &body)),
        (ToClient, smb2(0, ToClient, 0, &answer)),
        (ToServer, tree_connect(1, "\\\\s\\d")),
        (ToClient, tree_answer(1, 1)),
    ]);
    for line in [
        "ToServer -smb.client_guid \"\\x03",
        "ToClient -smb.server_guid \"\\x04",
        "ToClient -smb.max_read_size 65536",
        "ToClient -smb.max_write_size 131072",
        "ToClient -smb.share_type 1",
    ] {
        assert!(has(&lines, line), "{line}: {lines:#?}");
    }
    // A session of SMB 1: a security blob of two bytes, then the names of the host.
    let mut session = vec![12, 0xff, 0, 0, 0];
    session.extend([0; 10]);
    session.extend([2, 0]);
    session.extend([0; 10]);
    session.extend(b"xx");
    // The names stand at an odd place: a byte fills up.
    session.resize(session.len() + (session.len() % 2), 0);
    session.extend(wide("Windows\0"));
    session.extend(wide("5.1\0"));
    let lines = told(&[(ToServer, smb1(0x73, ToServer, &session))]);
    assert!(
        has(&lines, "ToServer -smb.native_os \"Windows\""),
        "{lines:#?}"
    );
    assert!(has(&lines, "ToServer -smb.native_lm \"5.1\""), "{lines:#?}");
}
