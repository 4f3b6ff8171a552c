//! Captures with their TCP streams cut anew: the same bytes in other segments. Sequence numbers,
//! lengths and checksums of the new segments are right; all other frames stay as they are, and so
//! does the order of the two sides.

/// How segments are cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// Pieces of so many bytes.
    Pieces(usize),
    /// Pieces, the pieces of each segment in random order.
    Shuffled(usize),
    /// Pieces, each sent twice.
    Twice(usize),
}

/// Global header of a classic capture file, and of a record.
const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;
const ETHERNET: usize = 14;

/// Marsaglia's xorshift.
pub struct Random(pub u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}

fn be16(bytes: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_be_bytes(
        bytes.get(at..at + 2)?.try_into().ok()?,
    )))
}

/// RFC 1071.
fn sum(bytes: &[u8], mut sum: u32) -> u32 {
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum
}

/// Where a frame's TCP header and payload are, if it is a whole segment over IPv4 with payload.
fn payload_of(frame: &[u8]) -> Option<(usize, usize, usize)> {
    if be16(frame, 12)? != 0x0800 || frame.get(ETHERNET)? >> 4 != 4 {
        return None;
    }
    let head = usize::from(frame[ETHERNET] & 15) * 4;
    let total = be16(frame, ETHERNET + 2)?;
    let fragment = be16(frame, ETHERNET + 6)? & 0x3fff;
    if frame.get(ETHERNET + 9) != Some(&6) || fragment != 0 || ETHERNET + total > frame.len() {
        return None;
    }
    let tcp = ETHERNET + head;
    let data = tcp + usize::from(frame.get(tcp + 12)? >> 4) * 4;
    let end = ETHERNET + total;
    // The bytes of a SYN come with it.
    let plain = frame.get(tcp + 13)? & 2 == 0;
    (plain && data < end && sum_of(frame, tcp, end) == 0xffff).then_some((tcp, data, end))
}

/// Whether a frame may carry urgent data, which is at a place of its segment: such captures are not
/// cut.
fn is_urgent(frame: &[u8]) -> bool {
    let head = frame
        .get(ETHERNET)
        .map_or(0, |byte| usize::from(byte & 15) * 4);
    let flags = frame.get(ETHERNET + head + 13).copied().unwrap_or(0);
    frame.get(ETHERNET + 9) == Some(&6) && flags & 0x20 != 0
}

/// Sum over pseudo header and segment; 0xffff if its checksum is right.
fn sum_of(frame: &[u8], tcp: usize, end: usize) -> u32 {
    let pseudo = sum(&frame[ETHERNET + 12..ETHERNET + 20], 6 + (end - tcp) as u32);
    sum(&frame[tcp..end], pseudo)
}

/// The segment with only the bytes from `from` to `to` of its payload.
fn part(frame: &[u8], at: (usize, usize, usize), from: usize, to: usize) -> Vec<u8> {
    let (tcp, data, end) = at;
    let mut out = frame[..data].to_vec();
    out.extend_from_slice(&frame[data + from..data + to]);
    let total = (out.len() - ETHERNET) as u16;
    out[ETHERNET + 2..ETHERNET + 4].copy_from_slice(&total.to_be_bytes());
    let sequence = u32::from_be_bytes([out[tcp + 4], out[tcp + 5], out[tcp + 6], out[tcp + 7]]);
    let sequence = sequence.wrapping_add(from as u32);
    out[tcp + 4..tcp + 8].copy_from_slice(&sequence.to_be_bytes());
    if data + to < end {
        // FIN and PSH are the last piece's.
        out[tcp + 13] &= !0x09;
    }
    out[ETHERNET + 10..ETHERNET + 12].fill(0);
    let check = !(sum(&out[ETHERNET..tcp], 0) as u16);
    out[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&check.to_be_bytes());
    out[tcp + 16..tcp + 18].fill(0);
    let whole = out.len();
    let check = !(sum_of(&out, tcp, whole) as u16);
    out[tcp + 16..tcp + 18].copy_from_slice(&check.to_be_bytes());
    out
}

fn parts(frame: &[u8], cut: Cut, random: &mut Random) -> Option<Vec<Vec<u8>>> {
    let at = payload_of(frame)?;
    let (Cut::Pieces(size) | Cut::Shuffled(size) | Cut::Twice(size)) = cut;
    let length = at.2 - at.1;
    let starts: Vec<usize> = (0..length).step_by(size).collect();
    let mut out: Vec<Vec<u8>> = starts
        .iter()
        .map(|from| part(frame, at, *from, (from + size).min(length)))
        .collect();
    match cut {
        Cut::Pieces(_) => {}
        Cut::Shuffled(_) => {
            // The last one keeps its place: it may carry the FIN.
            let count = out.len() - 1;
            for place in 1..count {
                out.swap(place, random.below(place + 1));
            }
        }
        Cut::Twice(_) => {
            out = out
                .into_iter()
                .flat_map(|part| [part.clone(), part])
                .collect()
        }
    }
    Some(out)
}

/// Frames of a classic capture of Ethernet with where each record begins; `None`: another form.
fn records(capture: &[u8]) -> Option<Vec<(usize, &[u8])>> {
    let little = match capture.get(..4)? {
        [0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1] => true,
        [0xa1, 0xb2, 0xc3, 0xd4] | [0xa1, 0xb2, 0x3c, 0x4d] => false,
        _ => return None,
    };
    let word = |at: usize| {
        let bytes: [u8; 4] = capture.get(at..at + 4)?.try_into().ok()?;
        Some(if little {
            u32::from_le_bytes(bytes)
        } else {
            u32::from_be_bytes(bytes)
        })
    };
    if word(20)? & 0xffff != 1 {
        return None;
    }
    let mut found = Vec::new();
    let mut at = FILE_HEADER;
    while let Some(length) = word(at + 8) {
        let end = at + RECORD_HEADER + length as usize;
        let Some(frame) = capture.get(at + RECORD_HEADER..end) else {
            break;
        };
        found.push((at, frame));
        at = end;
    }
    Some(found)
}

/// Whether bytes are sent over connections of which the capture has no SYN. Without
/// `stream.midstream` these are in no stream: rules see packets, and a cut makes others of them.
pub fn has_no_stream(capture: &[u8]) -> bool {
    let mut begun = std::collections::BTreeSet::new();
    for (_, frame) in records(capture).unwrap_or_default() {
        let Some((head, ends)) = ends_of(frame) else {
            continue;
        };
        if frame.get(head + 13).is_some_and(|flags| flags & 2 != 0) {
            begun.insert(ends);
        } else if payload_of(frame).is_some() && !begun.contains(&ends) {
            return true;
        }
    }
    false
}

/// Where the TCP header of a frame over IPv4 is, and both ends of its connection, in order.
fn ends_of(frame: &[u8]) -> Option<(usize, [[u8; 6]; 2])> {
    if be16(frame, 12)? != 0x0800 || frame.get(ETHERNET + 9) != Some(&6) {
        return None;
    }
    let tcp = ETHERNET + usize::from(frame[ETHERNET] & 15) * 4;
    let end = |addr: usize, port: usize| -> Option<[u8; 6]> {
        let mut out = [0; 6];
        out[..4].copy_from_slice(frame.get(addr..addr + 4)?);
        out[4..].copy_from_slice(frame.get(port..port + 2)?);
        Some(out)
    };
    let mut ends = [end(ETHERNET + 12, tcp)?, end(ETHERNET + 16, tcp + 2)?];
    ends.sort_unstable();
    Some((tcp, ends))
}

/// The capture cut anew, and how many segments there were to cut; `None` if it is of another form
/// (pcapng, no Ethernet).
pub fn recut(capture: &[u8], cut: Cut) -> Option<(Vec<u8>, usize)> {
    let little = matches!(capture.first()?, 0xd4 | 0x4d);
    let records = records(capture)?;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut out = capture.get(..FILE_HEADER)?.to_vec();
    let mut count = 0;
    for (at, frame) in records {
        if is_urgent(frame) {
            return None;
        }
        let time = &capture[at..at + 8];
        let frames = parts(frame, cut, &mut random);
        count += usize::from(frames.is_some());
        for frame in frames.unwrap_or_else(|| vec![frame.to_vec()]) {
            let length = frame.len() as u32;
            let length = if little {
                length.to_le_bytes()
            } else {
                length.to_be_bytes()
            };
            out.extend_from_slice(time);
            out.extend_from_slice(&length);
            out.extend_from_slice(&length);
            out.extend_from_slice(&frame);
        }
    }
    Some((out, count))
}
