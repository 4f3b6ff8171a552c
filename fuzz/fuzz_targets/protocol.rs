//! Any bytes to the parser of one protocol, in any pieces, with gaps and early ends. Nothing panics,
//! what a parser says it took is there, all memory comes back, and on streams the cut of the same
//! bytes changes nothing. Every protocol has a target of this one source: a target is named after
//! its protocol (`-` as `_`), and a copy of the program under another name is that one's target.
//!
//! Input: one byte for port (bits 0 to 2), transport (bit 4) and files (bit 5: hashed and stored),
//! then pieces: a byte for direction (bit 7), gap (bit 6), end (bit 5) and the upper bits of the
//! length, a byte with the lower bits, the bytes.

#![no_main]

use std::cell::RefCell;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use sluice::app::registry::DESCRIPTIONS;
use sluice::app::{AppProtocol, Apps, Description, Field, FileSettings, Limits, Piece, Transport};
use sluice::packet::Direction;

const PORTS: [u16; 8] = [443, 80, 53, 25, 21, 22, 5060, 123];

/// The protocol whose target this program is.
fn protocol() -> &'static Description {
    static FOUND: OnceLock<&'static Description> = OnceLock::new();
    FOUND.get_or_init(|| {
        let program = std::env::args().next().unwrap_or_default();
        let name = std::path::Path::new(&program).file_name().unwrap_or_default();
        let name = name.to_string_lossy().replace('_', "-");
        let of = |name: &str| DESCRIPTIONS.iter().find(|d| d.protocol.name() == name);
        of(&name)
            .or_else(|| of(&env!("CARGO_BIN_NAME").replace('_', "-")))
            .unwrap_or_else(|| panic!("no protocol is called {name}"))
    })
}

/// Parsers with room for two flows, with or without frames (which are transactions of their own),
/// files hashed and stored or not.
fn apps(frames: bool, files: bool) -> Apps {
    // The frame of a whole stream begins once the protocol is known: only its number, which is
    // compared here, is the cut's.
    let wanted = |field: &Field| match frames {
        true => *field != Field::FrameStream,
        false => !field.is_frame(),
    };
    let wanted = Field::ALL.iter().map(wanted).collect();
    let files = FileSettings {
        events: true,
        hashes: [files; 3],
        store: files,
        store_all: files,
        size_max: 1 << 20,
    };
    Apps::new(2, 8 << 20, wanted, Limits { files, ..Limits::default() })
}

thread_local! {
    static APPS: RefCell<[Apps; 3]> = RefCell::new([
        apps(true, false),
        apps(false, false),
        apps(true, true),
    ]);
}

/// The pieces of an input: direction, bytes, gap, end.
fn pieces(input: &[u8]) -> Vec<(Direction, &[u8], u32, bool)> {
    let mut found = Vec::new();
    let mut rest = input;
    while let [head, low, more @ ..] = rest {
        let length = (usize::from(head & 0x1f) << 8 | usize::from(*low)).min(more.len());
        let (bytes, after) = more.split_at(length);
        let direction = match head & 0x80 {
            0 => Direction::ToServer,
            _ => Direction::ToClient,
        };
        let gap = u32::from(head & 0x40) * u32::from(*low);
        found.push((direction, bytes, gap, head & 0x20 != 0));
        rest = after;
    }
    found
}

/// FTP says what a data connection carries before it is opened.
fn foresee_data(apps: &mut Apps) {
    let talk: [(Direction, &[u8]); 4] = [
        (Direction::ToClient, b"220 ready\r\n"),
        (Direction::ToServer, b"PASV\r\n"),
        (Direction::ToClient, b"227 Entering Passive Mode (2,2,2,2,4,1).\r\n"),
        (Direction::ToServer, b"RETR a.exe\r\n"),
    ];
    let piece = |direction, bytes| Piece {
        transport: Transport::Tcp,
        direction,
        bytes,
        gap: 0,
        end: false,
        client_port: 40_000,
        server_port: 21,
        client_addr: [1; 16],
        server_addr: [2; 16],
        time_ns: 1,
    };
    let first = piece(Direction::ToServer, &[]);
    let control = apps.open_as(&first, AppProtocol::Ftp).expect("all flows came back");
    for (direction, bytes) in talk {
        apps.feed(control, &piece(direction, bytes));
    }
    apps.finish(control);
    apps.close(control);
}

/// Runs the conversation; what its transactions are at the end, as text.
fn run(apps: &mut Apps, place: u8, input: &[u8], cut: Option<usize>) -> Vec<String> {
    let known = protocol();
    let transport = known.over[usize::from(place >> 4 & 1) % known.over.len()];
    let piece = |direction, bytes, gap, end| Piece {
        transport,
        direction,
        bytes,
        gap,
        end,
        client_port: 40_000,
        server_port: PORTS[usize::from(place & 7)],
        client_addr: [1; 16],
        server_addr: [2; 16],
        time_ns: 1,
    };
    let first = piece(Direction::ToServer, &[], 0, false);
    let flow = if known.protocol == AppProtocol::FtpData {
        foresee_data(apps);
        apps.open(&Piece {
            server_port: 1025,
            ..first
        })
    } else {
        apps.open_as(&first, known.protocol)
    };
    let flow = flow.expect("all flows came back");
    for (direction, bytes, gap, end) in pieces(input) {
        match cut {
            None => {
                apps.feed(flow, &piece(direction, bytes, gap, end));
                apps.shared.outbox.clear();
                apps.release(flow, |transaction| transaction.is_complete());
            }
            Some(cut) => bytes.chunks(cut).for_each(|part| {
                apps.feed(flow, &piece(direction, part, 0, false));
                apps.shared.outbox.clear();
            }),
        }
    }
    apps.finish(flow);
    apps.shared.outbox.clear();
    let mut lines = Vec::new();
    let mut next = apps.state(flow).map_or(u32::MAX, |state| state.first);
    while let Some(tx) = apps.transaction(next).filter(|_| cut.is_some()) {
        for instance in tx.instances(&apps.shared.heap) {
            if instance.field == Field::FileInfo {
                continue;
            }
            let (name, number) = (instance.field.name(), instance.number());
            let bytes = tx.bytes(&apps.shared.heap, &instance);
            let bytes = bytes.escape_ascii();
            let number = if instance.is_number() { number } else { 0 };
            lines.push(format!("{} {:?} {name} {number} {bytes}", tx.number, instance.direction));
        }
        next = tx.next;
    }
    apps.close(flow);
    assert_eq!(apps.in_use(), (0, 0, 0), "everything comes back");
    lines
}

fuzz_target!(|input: &[u8]| {
    let Some((place, rest)) = input.split_first() else {
        return;
    };
    APPS.with_borrow_mut(|[frames, plain, files]| {
        if place & 0x20 == 0 {
            run(frames, *place, rest, None);
        } else {
            run(files, *place, rest, None);
        }
        let known = protocol();
        let transport = known.over[usize::from(place >> 4 & 1) % known.over.len()];
        // A parser that runs out of room may do so elsewhere when the cut is another.
        if transport == Transport::Tcp && rest.len() < 2048 {
            for apps in [plain, frames] {
                let whole = run(apps, *place, rest, Some(usize::MAX));
                if apps.take_lost() == 0 {
                    let parts = run(apps, *place, rest, Some(1 + usize::from(place & 7)));
                    if apps.take_lost() == 0 {
                        assert_eq!(parts, whole, "the cut changes what is found");
                    }
                }
            }
        }
    });
});
