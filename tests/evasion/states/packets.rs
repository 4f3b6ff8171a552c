//! TCP in fragments, behind extension headers and in tunnels: classes E1 to E3.

use super::*;
use crate::rig::data;
use crate::wire::frame::MORE;

/// IPv6 next headers.
const HOP_BY_HOP: u8 = 0;

const ROUTING: u8 = 43;

const FRAGMENT: u8 = 44;

const DESTINATION: u8 = 60;

/// IP fragments of a TCP segment, of so many bytes; `order` 0: as they are, 1: backwards, 2: the
/// second first.
pub fn pieces(packet: &Packet, bytes: &[u8], size: usize, order: usize) -> Vec<Vec<u8>> {
    let id = 0x7000 | u32::from(bytes[5]) << 16 | u32::from(bytes[16]) << 4 | size as u32 >> 3;
    let count = bytes.len().div_ceil(size);
    let mut frames: Vec<Vec<u8>> = bytes
        .chunks(size)
        .enumerate()
        .map(|(number, part)| fragment(packet, id, number * size, number + 1 < count, part))
        .collect();
    match order {
        1 => frames.reverse(),
        2 if frames.len() > 1 => frames.swap(0, 1),
        _ => {}
    }
    frames
}

fn fragment(packet: &Packet, id: u32, at: usize, more: bool, part: &[u8]) -> Vec<u8> {
    let mut packet = packet.clone();
    packet.id = id;
    packet.fragment = (at / 8) as u16 | if more { MORE } else { 0 };
    packet.frame(TCP, part)
}

/// TCP segments in fragments: header split, order, duplicates, holes, other numbers.
pub fn fragmented(list: &mut List) {
    for v6 in [false, true] {
        let family = if v6 { "IPv6" } else { "IPv4" };
        let mut add = |name: &str, way: fn(&Packet, &[u8]) -> Vec<Vec<u8>>| {
            list.add(EF, format!("{name}, {family}"), |mut case, [a, b]| {
                case.v6 = v6;
                case.round([data(0, &a)])
                    .round([data(HALF_I, &b).cut(way)])
                    .round([data(HALF_I, &junk())])
            });
        };
        add("header split after 8 bytes", |p, b| pieces(p, b, 8, 0));
        add("header split after 8 bytes, backwards", |p, b| {
            pieces(p, b, 8, 1)
        });
        add("header split after 16 bytes", |p, b| pieces(p, b, 16, 0));
        add("header split after 16 bytes, second first", |p, b| {
            pieces(p, b, 16, 2)
        });
        add("the payload split", |p, b| pieces(p, b, 24, 0));
        add("the payload split, backwards", |p, b| pieces(p, b, 24, 1));
        add("each fragment twice", |p, b| {
            pieces(p, b, 8, 0)
                .into_iter()
                .flat_map(|frame| [frame.clone(), frame])
                .collect()
        });
        add("all fragments twice over", |p, b| {
            [pieces(p, b, 8, 0), pieces(p, b, 8, 0)].concat()
        });
        add("all fragments twice over, then backwards", |p, b| {
            [pieces(p, b, 8, 0), pieces(p, b, 8, 1), pieces(p, b, 8, 1)].concat()
        });
        add("a fragment of another number between", |p, b| {
            let mut frames = pieces(p, b, 16, 0);
            frames.insert(1, fragment(p, 9, 16, false, &junk()));
            frames
        });
        add(
            "the number used again at once, with junk, never whole",
            |p, b| {
                let frames = pieces(p, b, 16, 0);
                let id = 0x7000 | u32::from(b[5]) << 16 | u32::from(b[16]) << 4 | 2;
                let mut all = frames.clone();
                all.push(fragment(p, id, 16, true, &[b'x'; 16]));
                all.extend(frames);
                all
            },
        );
        add("a last fragment that ends elsewhere first", |p, b| {
            let id = 0x7000 | u32::from(b[5]) << 16 | u32::from(b[16]) << 4 | 2;
            let mut all = vec![fragment(p, id, 64, false, &[b'x'; 8])];
            all.extend(pieces(p, b, 16, 0));
            all
        });
        add("an empty first fragment", |p, b| {
            let id = 0x7000 | u32::from(b[5]) << 16 | u32::from(b[16]) << 4 | 2;
            let mut all = vec![fragment(p, id, 0, true, &[])];
            all.extend(pieces(p, b, 16, 0));
            all
        });
        add("a length that is no multiple of eight", |p, b| {
            let id = 0x6000 | u32::from(b[16]);
            vec![
                fragment(p, id, 0, true, &b[..20]),
                fragment(p, id, 16, true, &b[16..24]),
                fragment(p, id, 24, false, &b[24..]),
            ]
        });
        add("beyond 65,535 bytes", |p, b| {
            let id = 0x6000 | u32::from(b[16]);
            let mut all = vec![fragment(p, id, 65_528, true, &[b'x'; 64])];
            let mut rest = pieces(p, b, 16, 0);
            all.append(&mut rest);
            all
        });
        add("a single fragment (atomic)", |p, b| {
            let mut packet = p.clone();
            packet.id = 77;
            match p.src.is_ipv6() {
                true => vec![chain(
                    &packet,
                    &[(FRAGMENT, vec![0, 0, 0, 0, 0, 77])],
                    TCP,
                    b,
                )],
                false => {
                    packet.fragment = 0;
                    vec![packet.frame(TCP, b)]
                }
            }
        });
        add("junk as a duplicate of the payload's fragment", |p, b| {
            let mut frames = pieces(p, b, 24, 0);
            let id = 0x7000 | u32::from(b[5]) << 16 | u32::from(b[16]) << 4 | 3;
            let length = b.len() - 24;
            frames.insert(0, fragment(p, id, 24, false, &vec![b'x'; length]));
            frames
        });
    }
}

/// An IPv6 packet with extension headers: number and body behind next header (a length byte is put
/// in front but for fragment headers, whose second byte is reserved).
fn chain(packet: &Packet, headers: &[(u8, Vec<u8>)], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, (kind, body)) in headers.iter().enumerate() {
        let next = headers.get(index + 1).map_or(protocol, |(kind, _)| *kind);
        let length = if *kind == FRAGMENT {
            0
        } else {
            (body.len() + 2) / 8 - 1
        };
        bytes.extend([next, length as u8]);
        bytes.extend(body);
    }
    bytes.extend(payload);
    let first = headers.first().map_or(protocol, |(kind, _)| *kind);
    packet.frame(first, &bytes)
}

/// Extension headers: number and body.
type Chain = Vec<(u8, Vec<u8>)>;

/// Chains of extension headers in front of the secret's second half.
pub fn headers(list: &mut List) {
    let pad = || vec![1, 4, 0, 0, 0, 0];
    let chains: Vec<(&str, Chain)> = vec![
        ("hop by hop", vec![(HOP_BY_HOP, pad())]),
        ("destination options", vec![(DESTINATION, pad())]),
        (
            "destination options twice",
            vec![(DESTINATION, pad()), (DESTINATION, pad())],
        ),
        ("eight destination options", vec![(DESTINATION, pad()); 8]),
        (
            "hop by hop twice",
            vec![(HOP_BY_HOP, pad()), (HOP_BY_HOP, pad())],
        ),
        (
            "hop by hop behind destination options",
            vec![(DESTINATION, pad()), (HOP_BY_HOP, pad())],
        ),
        (
            "routing header 0, none left",
            vec![(ROUTING, vec![0, 0, 0, 0, 0, 0])],
        ),
        (
            "routing header 0, one left",
            vec![(ROUTING, [vec![0, 1, 0, 0, 0, 0], vec![0; 16]].concat())],
        ),
        (
            "routing header 99, none left",
            vec![(ROUTING, vec![99, 0, 0, 0, 0, 0])],
        ),
        (
            "two atomic fragment headers",
            vec![
                (FRAGMENT, vec![0, 0, 0, 0, 0, 7]),
                (FRAGMENT, vec![0, 0, 0, 0, 0, 8]),
            ],
        ),
        (
            "atomic fragment and options",
            vec![(FRAGMENT, vec![0, 0, 0, 0, 0, 7]), (DESTINATION, pad())],
        ),
        (
            "options with a covert byte",
            vec![(DESTINATION, vec![0x1e, 4, b'E', b'V', b'I', b'L'])],
        ),
        (
            "an option that makes receivers discard",
            vec![(DESTINATION, vec![0x9e, 4, 0, 0, 0, 0])],
        ),
        (
            "an option of wrong length",
            vec![(DESTINATION, vec![1, 40, 0, 0, 0, 0])],
        ),
        ("mobility header", vec![(135, vec![0, 0, 0, 0, 0, 0])]),
    ];
    for (name, headers) in chains {
        for decoy in [false, true] {
            let what = if decoy {
                "a decoy, then the secret"
            } else {
                "the secret, then a twin"
            };
            let headers = headers.clone();
            list.add(
                "E3 extension headers",
                format!("{name}: {what}"),
                |mut case, [a, b]| {
                    case.v6 = true;
                    let (first, then) = if decoy { (junk(), b) } else { (b, junk()) };
                    case.round([data(0, &a)])
                        .round([data(HALF_I, &first)
                            .cut(move |p, bytes| vec![chain(p, &headers, TCP, bytes)])])
                        .round([data(HALF_I, &then)])
                },
            );
        }
    }
    let tunnelled = |packet: &Packet, bytes: &[u8]| {
        let inner = packet.frame(TCP, bytes)[14..].to_vec();
        let protocol = if packet.src.is_ipv6() { 41 } else { 4 };
        let outer = Packet::new(packet.link, packet.src, packet.dst);
        vec![outer.frame(protocol, &inner)]
    };
    for v6 in [false, true] {
        list.add(
            E1,
            format!(
                "a decoy in a tunnel that ends nowhere, IPv{}",
                if v6 { 6 } else { 4 }
            ),
            |mut case, [a, b]| {
                case.v6 = v6;
                case.round([data(0, &a)])
                    .round([data(HALF_I, &junk()).cut(tunnelled)])
                    .round([data(HALF_I, &b)])
            },
        );
    }
}
