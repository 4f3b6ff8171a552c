//! DNP3 (IEEE 1815) over TCP and UDP: link frames without their checksums, transport segments put
//! together, and each application fragment a transaction of its direction. What its objects are is
//! dnp3/objects.rs's.

mod layouts;
pub mod objects;

use self::objects::{Fault, OBJECTS_MAX, Objects, POINTS_MAX};
use super::field::Field;
use super::heap::{Heap, Text};
use super::output::{AppEvent, Output, TxId};
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use super::reader::Reader;
use super::settings::Number;
use crate::packet::Direction;

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::Dnp3,
    probe,
    over: &[Transport::Tcp, Transport::Udp],
    fields: &[
        Field::Dnp3Data,
        Field::Dnp3Message,
        Field::Dnp3Func,
        Field::Dnp3Ind,
        Field::Dnp3Obj,
    ],
    events: &[
        "flooded",
        "len_too_small",
        "bad_link_crc",
        "bad_transport_crc",
        "malformed",
        "unknown_object",
        "too_many_points",
        "too_many_objects",
        "too_long_reassembly",
    ],
};

const FLOODED: AppEvent = AppEvent::of(AppProtocol::Dnp3, 0);
const LENGTH: AppEvent = AppEvent::of(AppProtocol::Dnp3, 1);
const LINK_CRC: AppEvent = AppEvent::of(AppProtocol::Dnp3, 2);
const DATA_CRC: AppEvent = AppEvent::of(AppProtocol::Dnp3, 3);
const MALFORMED: AppEvent = AppEvent::of(AppProtocol::Dnp3, 4);
const UNKNOWN_OBJECT: AppEvent = AppEvent::of(AppProtocol::Dnp3, 5);
const MANY_POINTS: AppEvent = AppEvent::of(AppProtocol::Dnp3, 6);
const MANY_OBJECTS: AppEvent = AppEvent::of(AppProtocol::Dnp3, 7);
const LONG: AppEvent = AppEvent::of(AppProtocol::Dnp3, 8);

/// The port of servers.
const PORT: u16 = 20_000;
/// First bytes of a link frame.
const START: [u8; 2] = [0x05, 0x64];
/// Bytes of the link header with its checksum, and of a block of data without.
const HEADER: usize = 10;
const BLOCK: usize = 16;
/// Bytes of the link header that events tell, from the control byte on.
const LINK: usize = 5;
/// Least length that a frame says of itself: control and addresses.
const LENGTH_MIN: u8 = 5;
/// The function in the control byte of a link frame, and those that carry a transport segment:
/// confirmed and unconfirmed user data.
const FUNCTION: u8 = 0x0f;
const USER_DATA: [u8; 2] = [3, 4];
/// The function of a fragment that only confirms another one.
const CONFIRM: u8 = 0;
/// Bytes of an application fragment that are put together; a longer one is given up. A sequence of
/// segments has 64 numbers, and a link frame 255 bytes at most.
const FRAGMENT_MAX: usize = 63 * 255;

/// A value of `dnp3_obj`.
pub fn object_value(group: u8, variation: u8) -> u64 {
    u64::from(group) << 8 | u64::from(variation)
}

fn probe(probe: &Probe<'_>) -> Guess {
    let begins = START.starts_with(probe.bytes.get(..2).unwrap_or(probe.bytes));
    match probe.bytes.get(..HEADER) {
        _ if !begins => Guess::No,
        None if probe.transport == Transport::Tcp => Guess::More,
        Some(header) => {
            let whole = crc(header.get(..8).unwrap_or(&[])).to_le_bytes() == header[8..10];
            let port = probe.server_port == PORT || probe.client_port == PORT;
            if header[2] >= LENGTH_MIN && (whole || port) {
                Guess::Yes
            } else {
                Guess::No
            }
        }
        None => Guess::No,
    }
}

/// Least bytes of user data: a transport and an application header, in responses with indications.
fn data_min(direction: Direction) -> usize {
    match direction {
        Direction::ToServer => 3,
        Direction::ToClient => 5,
    }
}

/// The checksum of a block (polynomial 0x3d65, reflected).
fn crc(bytes: &[u8]) -> u16 {
    let mut value = 0u16;
    for byte in bytes {
        value ^= u16::from(*byte);
        for _ in 0..8 {
            value = if value & 1 != 0 {
                value >> 1 ^ 0xa6bc
            } else {
                value >> 1
            };
        }
    }
    !value
}

/// The fragment of a direction that is being put together.
#[derive(Debug, Default)]
struct Way {
    fragment: Text,
    /// Control, destination and source of the link frame that began it.
    link: [u8; LINK],
    begun: bool,
    lost: bool,
}

/// The parser of a flow.
#[derive(Debug, Default)]
pub struct Dnp3 {
    ways: [Way; 2],
    /// Fragments that were begun and never ended.
    unended: u32,
}

impl Parse for Dnp3 {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        let bytes = input.bytes;
        let way = input.direction.index();
        if input.gap > 0 {
            self.ways[way].lost = true;
            self.give_up(out, way);
        }
        let mut taken = 0;
        // Every round takes bytes.
        loop {
            let rest = bytes.get(taken..).unwrap_or(&[]);
            if self.ways[way].lost || (rest.len() >= 2 && !rest.starts_with(&START)) {
                // Frames begin with two certain bytes.
                match memchr::memmem::find(rest, &START) {
                    Some(found) => {
                        taken += found;
                        self.ways[way].lost = false;
                        continue;
                    }
                    None => {
                        let kept = usize::from(rest.last() == Some(&START[0]));
                        self.ways[way].lost = true;
                        return Ok(Taken::all(bytes.len() - kept));
                    }
                }
            }
            let Some(header) = rest.first_chunk::<HEADER>() else {
                return Ok(Taken::until(taken, HEADER));
            };
            if crc(header.get(..8).unwrap_or(&[])).to_le_bytes() != header[8..10] {
                // Its length is not to be trusted, and no station takes it.
                out.event(TxId::NONE, input.direction, LINK_CRC);
                taken += 2;
                self.ways[way].lost = true;
                continue;
            }
            let Some(data) = header[2].checked_sub(LENGTH_MIN).map(usize::from) else {
                out.event(TxId::NONE, input.direction, LENGTH);
                taken += 2;
                self.ways[way].lost = true;
                continue;
            };
            let length = HEADER + data + 2 * data.div_ceil(BLOCK);
            let Some(blocks) = rest.get(HEADER..length) else {
                return Ok(Taken::until(taken, length));
            };
            let link = [header[3], header[4], header[5], header[6], header[7]];
            if USER_DATA.contains(&(link[0] & FUNCTION)) {
                match data < data_min(input.direction) {
                    true => out.event(TxId::NONE, input.direction, LENGTH),
                    false => self.frame(out, input.direction, link, blocks),
                }
            }
            taken += length;
        }
    }

    fn free(&mut self, heap: &mut Heap) {
        for way in &mut self.ways {
            heap.clear(&mut way.fragment);
        }
    }
}

impl Dnp3 {
    fn give_up(&mut self, out: &mut Output<'_>, way: usize) {
        out.heap().clear(&mut self.ways[way].fragment);
        self.ways[way].begun = false;
    }

    /// The data of a link frame: blocks with a checksum each, a transport segment in all.
    fn frame(
        &mut self,
        out: &mut Output<'_>,
        direction: Direction,
        link: [u8; LINK],
        blocks: &[u8],
    ) {
        let index = direction.index();
        let mut transport = None;
        for block in blocks.chunks(BLOCK + 2) {
            let Some((mut data, check)) = block.split_last_chunk::<2>() else {
                break;
            };
            if crc(data).to_le_bytes() != *check {
                out.event(TxId::NONE, direction, DATA_CRC);
                return self.give_up(out, index);
            }
            if transport.is_none()
                && let Some((first, rest)) = data.split_first()
            {
                transport = Some(*first);
                data = rest;
                // The first segment of a fragment forgets what was there.
                if first & 0x40 != 0 {
                    self.count_unended(out, direction);
                    self.give_up(out, index);
                    self.ways[index].begun = true;
                    self.ways[index].link = link;
                }
            }
            if !self.ways[index].begun {
                return;
            }
            let fragment = &mut self.ways[index].fragment;
            if fragment.len() + data.len() > FRAGMENT_MAX {
                out.event(TxId::NONE, direction, LONG);
                return self.give_up(out, index);
            }
            if !out.shared.heap.append(fragment, data) {
                return self.give_up(out, index);
            }
        }
        // The last segment.
        if transport.is_some_and(|byte| byte & 0x80 != 0) {
            self.fragment(out, direction);
            self.give_up(out, index);
        }
    }

    /// A fragment begins: if the last one has not ended, it never will.
    fn count_unended(&mut self, out: &mut Output<'_>, direction: Direction) {
        if !self.ways[direction.index()].begun {
            return;
        }
        self.unended = self.unended.saturating_add(1);
        let most = out.shared.limits.parsers.number(Number::Dnp3Unended);
        if self.unended == most + 1 {
            out.event(TxId::NONE, direction, FLOODED);
        }
    }

    fn fragment(&mut self, out: &mut Output<'_>, direction: Direction) {
        let mut scratch = std::mem::take(&mut out.shared.scratch);
        scratch.clear();
        let way = &self.ways[direction.index()];
        scratch.extend_from_slice(&way.link);
        scratch.extend_from_slice(out.shared.heap.get(&way.fragment));
        let confirms = direction == Direction::ToServer && scratch.get(LINK + 1) == Some(&CONFIRM);
        let fragment = scratch.get(LINK..).filter(|fragment| !fragment.is_empty());
        if let Some(fragment) = fragment.filter(|_| !confirms) {
            let tx = out.open_one_way(direction);
            if tx.is_some() && out.wants(Field::Dnp3Message) {
                out.field(tx, Field::Dnp3Message, direction, &scratch);
            }
            if tell(out, tx, direction, fragment).is_none() {
                out.event(tx, direction, MALFORMED);
            }
            out.complete(tx);
        }
        out.shared.scratch = scratch;
    }
}

/// Tells an application fragment; `None` if it is cut short.
fn tell(out: &mut Output<'_>, tx: TxId, direction: Direction, bytes: &[u8]) -> Option<()> {
    let mut at = Reader::new(bytes);
    out.field(tx, Field::Dnp3Data, direction, bytes);
    at.skip(1)?;
    let function = at.u8()?;
    out.number(tx, Field::Dnp3Func, direction, u64::from(function));
    // Responses have indications before the objects.
    if function >= 0x81 {
        let indications = u64::from(at.u16()?);
        out.number(tx, Field::Dnp3Ind, direction, indications);
    }
    let most = |number| out.shared.limits.parsers.number(number);
    let (objects, points) = (most(Number::Dnp3Objects), most(Number::Dnp3Points));
    if (objects as usize) < OBJECTS_MAX || u64::from(points) < POINTS_MAX {
        let limits = u64::from(objects) << 32 | u64::from(points);
        out.number_for_events(tx, Field::Dnp3Limits, direction, limits);
    }
    for object in Objects::new(function, at.rest()).within(objects, points) {
        let value = object_value(object.group, object.variation);
        out.number(tx, Field::Dnp3Obj, direction, value);
        let event = match object.fault {
            None | Some(Fault::Cut) => continue,
            Some(Fault::Unknown) => UNKNOWN_OBJECT,
            Some(Fault::Points) => MANY_POINTS,
            Some(Fault::Objects) => MANY_OBJECTS,
        };
        out.event(tx, direction, event);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, for_events, run_missing, same_for_every_cut};
    use super::*;
    use crate::packet::Direction::ToServer;

    const PLACE: Place = Place {
        transport: Transport::Tcp,
        server_port: PORT,
    };

    /// A link frame around a transport segment.
    fn frame(segment: &[u8]) -> Vec<u8> {
        let mut out = vec![0x05, 0x64, 5 + segment.len() as u8, 0xc4, 1, 0, 2, 0];
        out.extend(crc(&out).to_le_bytes());
        for block in segment.chunks(BLOCK) {
            out.extend(block);
            out.extend(crc(block).to_le_bytes());
        }
        out
    }

    #[test]
    fn the_checksum_is_the_one_of_the_standard() {
        // The check value of CRC-16/DNP.
        assert_eq!(crc(b"123456789"), 0xea82);
    }

    #[test]
    fn segments_are_put_together_without_checksums() {
        // First and last segments of a read request of class objects 60.2, 60.3.
        let one = frame(&[0x40, 0xc0, 1, 60, 2]);
        let two = frame(&[0x81, 6, 60, 3, 6]);
        let (protocol, lines) = same_for_every_cut(PLACE, &[(ToServer, &[one, two].concat())]);
        assert_eq!(protocol, AppProtocol::Dnp3);
        assert_eq!(
            lines,
            [
                "tx 0 ToServer dnp3.data \"\\xc0\\x01<\\x02\\x06<\\x03\\x06\"",
                "tx 0 ToServer dnp3_func 1",
                "tx 0 ToServer dnp3_obj 15362",
                "tx 0 ToServer dnp3_obj 15363",
            ]
        );
    }

    #[test]
    fn what_confirms_or_carries_no_user_data_is_no_transaction() {
        let confirm = frame(&[0xc0, 0xc0, CONFIRM]);
        let read = frame(&[0xc0, 0xc1, 1, 60, 2, 6]);
        // A test of the link's state, with bytes behind it.
        let mut state = vec![0x05, 0x64, 8, 0xc2, 1, 0, 2, 0];
        state.extend(crc(&state).to_le_bytes());
        state.extend([0xc0, 0xc0, 1]);
        state.extend(crc(&[0xc0, 0xc0, 1]).to_le_bytes());
        let mut damaged = frame(&[0xc0, 0xc0, 13]);
        damaged[8] ^= 1;
        let talk = [confirm, state, damaged, read].concat();
        let (_, lines) = same_for_every_cut(PLACE, &[(ToServer, &talk)]);
        let told: Vec<_> = lines.iter().filter(|l| l.contains("dnp3_func")).collect();
        assert_eq!(told, ["tx 0 ToServer dnp3_func 1"]);
        assert_eq!(events(&talk), ["bad_link_crc"]);
        assert_eq!(events(&frame(&[0xc0, 0xc0])), ["len_too_small"]);
    }

    #[test]
    fn events_get_the_link_header_and_the_fragment() {
        let one = frame(&[0xc0, 0xc0, 1, 60, 2, 6]);
        let lines = for_events(PLACE, &[(ToServer, &one)]);
        let bytes = "\\xc4\\x01\\x00\\x02\\x00\\xc0\\x01<\\x02\\x06";
        assert_eq!(lines, [format!("tx 0 ToServer -dnp3.message \"{bytes}\"")]);
    }

    /// Names of the events of a conversation.
    fn events(talk: &[u8]) -> Vec<String> {
        let (_, lines) = same_for_every_cut(PLACE, &[(ToServer, talk)]);
        let name =
            |line: &String| Some(line.split("\"dnp3\", \"").nth(1)?.split('"').next()?.into());
        lines.iter().filter_map(name).collect()
    }

    #[test]
    fn what_is_too_much_is_told() {
        // Begun 34 times, never ended: the 33rd that was left open is one too many.
        let begun = frame(&[0x40, 0xc0, 1, 60, 2]).repeat(34);
        assert_eq!(events(&begun), ["flooded"]);
        // One fragment of 64 full frames and more.
        let next = frame(&[&[0x00][..], &[0; 249]].concat());
        let long = [frame(&[0x40, 0xc0, 1]), next.repeat(70)].concat();
        assert_eq!(events(&long), ["too_long_reassembly"]);
        let first =
            |segment: &[u8]| events(&frame(&[&[0xc0, 0xc0, 0x81, 0, 0][..], segment].concat()));
        assert_eq!(first(&[30, 1, 0, 1, 1, 1, 2, 3]), ["unknown_object"]);
        assert_eq!(first(&[99, 1, 7, 1, 9]), ["unknown_object"]);
        assert_eq!(first(&[1, 1, 9, 0, 0, 1, 0]), ["too_many_points"]);
        assert!(first(&[30, 2, 0, 1, 1, 1, 2, 3]).is_empty());
        let segment = [60, 1, 6].repeat(82);
        let mut many = frame(&[&[0x40, 0xc0, 1][..], &segment].concat());
        many.extend(frame(&[&[0x01][..], &segment].concat()).repeat(25));
        many.extend(frame(&[&[0x81][..], &segment].concat()));
        assert_eq!(events(&many), ["too_many_objects"]);
    }

    #[test]
    fn settings_say_what_is_too_much() {
        let with = |key: &str, value: &str, bytes: &[u8]| {
            let key = format!("app-layer.protocols.dnp3.{key}");
            run_missing(PLACE, &[(&key, value)], &[(ToServer, 0, bytes)]).join("\n")
        };
        let begun = frame(&[0x40, 0xc0, 1, 60, 2]);
        assert!(!with("max-tx", "3", &begun.repeat(4)).contains("flooded"));
        assert!(with("max-tx", "3", &begun.repeat(5)).contains("flooded"));
        let two_objects = frame(&[0xc0, 0xc0, 1, 60, 1, 6, 60, 2, 6]);
        assert!(!with("max-objects", "2", &two_objects).contains("too_many_objects"));
        assert!(with("max-objects", "1", &two_objects).contains("too_many_objects"));
        let two_points = frame(&[0xc0, 0xc0, 0x81, 0, 0, 30, 2, 0, 1, 2, 1, 2, 3, 1, 2, 3]);
        assert!(!with("max-points", "2", &two_points).contains("too_many_points"));
        assert!(with("max-points", "1", &two_points).contains("too_many_points"));
    }

    #[test]
    fn objects_behind_points_are_told() {
        let response = frame(&[
            0xc0, 0xc0, 0x81, 0, 0, 30, 4, 0, 5, 5, 7, 0, 1, 2, 0x17, 1, 3, 1,
        ]);
        let (_, lines) = same_for_every_cut(PLACE, &[(ToServer, &response)]);
        let objects: Vec<_> = lines.iter().filter(|l| l.contains("dnp3_obj")).collect();
        assert_eq!(
            objects,
            ["tx 0 ToServer dnp3_obj 7684", "tx 0 ToServer dnp3_obj 258"]
        );
    }

    #[test]
    fn after_noise_the_next_frame_is_found() {
        let good = frame(&[0xc0, 0xc0, 13]);
        let mut bytes = good.clone();
        bytes.extend(b"noise \x05 and more");
        bytes.extend(&good);
        let (_, lines) = same_for_every_cut(PLACE, &[(ToServer, &bytes)]);
        assert_eq!(
            lines.iter().filter(|l| l.contains("dnp3_func 13")).count(),
            2
        );
    }
}
