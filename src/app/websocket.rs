//! WebSocket (RFC 6455), after HTTP/1 has changed over to it: frames, unmasked; a message that
//! comes in several frames is put together in its last one. Each frame is a transaction.

use super::field::Field;
use super::heap::{Heap, Text};
use super::http::{Chain, Coding};
use super::output::{AppEvent, Output, SCRATCH_SIZE, Shared};
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use super::reader::Reader;
use super::settings::Number;
use crate::packet::Direction;

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::Websocket,
    probe,
    over: &[Transport::Tcp],
    fields: &[
        Field::WebsocketPayload,
        Field::WebsocketOpcode,
        Field::WebsocketMask,
        Field::WebsocketFlags,
        Field::FrameWebsocketPdu,
        Field::FrameWebsocketHeader,
        Field::FrameWebsocketData,
    ],
    events: &["skip_end_of_payload", "reassembly_limit_reached"],
};

const SKIP: AppEvent = AppEvent::of(AppProtocol::Websocket, 0);
const LIMIT: AppEvent = AppEvent::of(AppProtocol::Websocket, 1);
/// Bytes of a payload, and of a message, that are looked at (`websocket.max-payload-size`).
const PAYLOAD_MAX: usize = 0xffff;
const _: () = assert!(PAYLOAD_MAX < SCRATCH_SIZE);

/// Bits of the first byte.
mod flag {
    pub const FIN: u8 = 0x80;
    /// The message is compressed (RFC 7692 6).
    pub const COMPRESSED: u8 = 0x40;
    pub const ALL: u8 = 0xf0;
}

/// One direction.
#[derive(Debug, Default)]
struct Side {
    /// Bytes of a payload that are passed over.
    skip: u64,
    /// A message that has not ended, and whether it is compressed.
    message: Text,
    compressed: bool,
    /// Decoder of compressed messages; what a message refers to may stand in those before it.
    chain: Chain,
}

/// State of a connection.
#[derive(Debug, Default)]
pub struct Websocket {
    sides: [Side; 2],
}

/// A frame's head (RFC 6455 5.2).
struct Head {
    flags: u8,
    opcode: u8,
    mask: Option<[u8; 4]>,
    /// Bytes of the head.
    size: usize,
    payload: u64,
}

impl Head {
    fn read(bytes: &[u8]) -> Option<Head> {
        let mut reader = Reader::new(bytes);
        let first = reader.u8()?;
        let second = reader.u8()?;
        let payload = match second & 0x7f {
            126 => u64::from(reader.u16()?),
            127 => u64::from(reader.u32()?) << 32 | u64::from(reader.u32()?),
            short => u64::from(short),
        };
        let mask = match second & 0x80 {
            0 => None,
            _ => Some(reader.take(4)?.try_into().ok()?),
        };
        Some(Head {
            flags: first & flag::ALL,
            opcode: first & 0x0f,
            mask,
            size: bytes.len() - reader.len(),
            payload,
        })
    }
}

/// It is never found by itself: HTTP says when it begins.
fn probe(_: &Probe<'_>) -> Guess {
    Guess::No
}

impl Parse for Websocket {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        let (bytes, direction) = (input.bytes, input.direction);
        let side = &mut self.sides[direction.index()];
        if input.gap > 0 {
            side.skip = side.skip.checked_sub(u64::from(input.gap)).ok_or(Broken)?;
        }
        let mut at = 0;
        // Every turn takes two bytes at least, or returns.
        loop {
            let side = &mut self.sides[direction.index()];
            let rest = bytes.get(at..).unwrap_or(&[]);
            let skip = side.skip.min(rest.len() as u64);
            side.skip -= skip;
            at += skip as usize;
            let rest = bytes.get(at..).unwrap_or(&[]);
            if rest.is_empty() {
                return Ok(Taken::all(at));
            }
            let Some(head) = Head::read(rest) else {
                return Ok(Taken::until(at, rest.len() + 1));
            };
            let most = out.shared.limits.parsers.number(Number::WebsocketPayload);
            let kept = head.payload.min(u64::from(most));
            let end = head.size + kept as usize;
            let Some(payload) = rest.get(head.size..end) else {
                return Ok(Taken::until(at, end));
            };
            for (field, part) in [
                (Field::FrameWebsocketHeader, rest.get(..head.size)),
                (Field::FrameWebsocketPdu, rest.get(..end)),
                (Field::FrameWebsocketData, Some(payload)),
            ] {
                out.frame(field, direction, part.unwrap_or(&[]));
            }
            side.skip = head.payload - kept;
            at += end;
            self.frame(&head, payload, direction, out);
        }
    }

    fn free(&mut self, heap: &mut Heap) {
        for side in &mut self.sides {
            heap.clear(&mut side.message);
        }
    }

    fn release(&mut self, shared: &mut Shared) {
        for side in &mut self.sides {
            if let Some(tools) = shared.http.as_mut() {
                tools.codings.close(&mut side.chain);
            }
        }
        self.free(&mut shared.heap);
    }
}

impl Websocket {
    fn frame(&mut self, head: &Head, payload: &[u8], direction: Direction, out: &mut Output<'_>) {
        let tx = out.open_one_way(direction);
        let side = &mut self.sides[direction.index()];
        if side.skip > 0 {
            out.event(tx, direction, SKIP);
        }
        let opcode = u64::from(head.opcode);
        out.number(tx, Field::WebsocketOpcode, direction, opcode);
        let flags = u64::from(head.flags);
        out.number(tx, Field::WebsocketFlags, direction, flags);
        if let Some(mask) = head.mask {
            let mask = u64::from(u32::from_be_bytes(mask));
            out.number(tx, Field::WebsocketMask, direction, mask);
        }
        let mut text = std::mem::take(&mut out.shared.scratch);
        text.clear();
        text.extend_from_slice(payload);
        if let Some(mask) = head.mask {
            for (byte, mask) in text.iter_mut().zip(mask.iter().cycle()) {
                *byte ^= mask;
            }
        }
        let last = head.flags & flag::FIN != 0;
        // Control frames may stand between those of a message (RFC 6455 5.4).
        let control = head.opcode >= 8;
        let mut compressed = head.flags & flag::COMPRESSED != 0;
        let whole = last && side.message.is_empty();
        if !control && !whole {
            if side.message.is_empty() {
                side.compressed = compressed;
            }
            compressed = side.compressed;
            let most = out.shared.limits.parsers.number(Number::WebsocketPayload) as usize;
            let heap = &mut out.shared.heap;
            let room = most.saturating_sub(side.message.len());
            let part = text.get(..room).unwrap_or(&text);
            // Once told of, it stays so up to the message's end; a full one is told of as well.
            let limited = room > 0 && text.len() >= room;
            let lost = !heap.append(&mut side.message, part);
            if last {
                text.clear();
                text.extend_from_slice(heap.get(&side.message));
                heap.clear(&mut side.message);
            }
            out.shared.lost += u64::from(lost);
            if limited {
                out.event(tx, direction, LIMIT);
            }
        }
        if !(compressed && last && inflate(side, &mut text, out)) {
            out.field(tx, Field::WebsocketPayload, direction, &text);
        } else {
            let whole = std::mem::take(&mut out.shared.scratch2);
            out.field(tx, Field::WebsocketPayload, direction, &whole);
            out.shared.scratch2 = whole;
        }
        out.shared.scratch = text;
        out.complete(tx);
    }
}

/// Decodes a message into the second buffer of the lane (RFC 7692 7.2.2); false: nothing came out.
fn inflate(side: &mut Side, text: &mut Vec<u8>, out: &mut Output<'_>) -> bool {
    const TAIL: &[u8] = &[0, 0, 0xff, 0xff];
    let Some(mut tools) = out.shared.http.take() else {
        return false;
    };
    if side.chain.is_empty() {
        match tools.codings.open_certain(Coding::Deflate) {
            Some(chain) => side.chain = chain,
            None => out.shared.lost += 1,
        }
    }
    let whole = &mut out.shared.scratch2;
    whole.clear();
    if !side.chain.is_empty() {
        text.extend_from_slice(TAIL);
        let chain = side.chain;
        tools.codings.decode(&chain, text, &mut |decoded| {
            let room = PAYLOAD_MAX.saturating_sub(whole.len());
            whole.extend_from_slice(decoded.get(..room).unwrap_or(decoded));
            true
        });
    }
    out.shared.http = Some(tools);
    !out.shared.scratch2.is_empty()
}

#[cfg(test)]
mod tests {
    use super::super::flows::{Apps, Piece};
    use super::super::testing;
    use super::*;
    use Direction::{ToClient, ToServer};

    /// Frames of a connection that has changed over, cut into pieces.
    fn run(cut: usize, talk: &[(Direction, &[u8])]) -> Vec<String> {
        run_in(testing::apps(), cut, talk)
    }

    fn run_in(mut apps: Apps, cut: usize, talk: &[(Direction, &[u8])]) -> Vec<String> {
        let (mut parser, mut lines) = (Websocket::default(), Vec::new());
        let mut held = [Vec::new(), Vec::new()];
        let mut flow = super::super::output::FlowState {
            protocol: AppProtocol::Websocket,
            ..Default::default()
        };
        for (direction, bytes) in talk {
            for bytes in bytes.chunks(cut) {
                let held = &mut held[direction.index()];
                held.extend_from_slice(bytes);
                let input = Piece {
                    transport: Transport::Tcp,
                    direction: *direction,
                    bytes: held,
                    gap: 0,
                    end: false,
                    client_port: 1,
                    server_port: 80,
                    client_addr: [1; 16],
                    server_addr: [2; 16],
                    time_ns: 1,
                };
                let mut out = Output {
                    shared: &mut apps.shared,
                    flow: &mut flow,
                };
                let taken = parser.parse(&input, &mut out).unwrap();
                held.drain(..taken.count);
            }
        }
        let mut next = flow.first;
        while let Some(tx) = apps.transaction(next) {
            for instance in tx.instances(&apps.shared.heap) {
                if instance.field.name().starts_with("frame:") {
                    continue;
                }
                let bytes = tx.bytes(&apps.shared.heap, &instance);
                lines.push(format!(
                    "{:?} {} {} \"{}\"",
                    instance.direction,
                    instance.field.name(),
                    if instance.is_number() {
                        instance.number()
                    } else {
                        0
                    },
                    bytes.escape_ascii()
                ));
            }
            next = tx.next;
        }
        lines
    }

    #[test]
    fn a_message_is_inspected_up_to_its_setting() {
        let talk: &[(Direction, &[u8])] = &[(ToClient, b"\x01\x03abc"), (ToClient, b"\x80\x02de")];
        let with = |most: &str| {
            let key = "app-layer.protocols.websocket.max-payload-size";
            run_in(testing::apps_set(&[(key, most)]), usize::MAX, talk).join("\n")
        };
        assert!(with("5").contains("websocket.payload 0 \"abcde\""));
        assert!(with("4").contains("websocket.payload 0 \"abcd\""));
        assert!(!with("4").contains("abcde"));
    }

    #[test]
    fn frames_are_unmasked_and_messages_joined() {
        let masked: &[u8] = b"\x01\x83\x01\x02\x03\x04abc";
        let talk: &[(Direction, &[u8])] = &[
            (ToServer, masked),
            (ToServer, b"\x89\x01p\x80\x02de"),
            (ToClient, b"\x82\x7e\x00\x03xyz"),
        ];
        let lines = run(usize::MAX, talk);
        assert_eq!(lines, run(1, talk));
        for line in [
            "ToServer websocket.mask 16909060 \"\"",
            "ToServer websocket.payload 0 \"p\"",
            "ToServer websocket.payload 0 \"``\\x60de\"",
            "ToClient websocket.opcode 2 \"\"",
            "ToClient websocket.payload 0 \"xyz\"",
        ] {
            let wanted = line.replace("\\x60", "`");
            assert!(lines.contains(&wanted), "{line}: {lines:#?}");
        }
    }
}
