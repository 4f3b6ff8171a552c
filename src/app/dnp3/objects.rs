//! The objects of an application fragment of DNP3 (IEEE 1815, clause 4.2.2.7): their headers, and
//! where their points stand. Rules and events read them with the same code.
//!
//! Invariant: nothing is copied; an object's points stay where the fragment has them.

use super::layouts::{LAYOUTS, packed};
use crate::app::reader::Reader;

/// Objects of a fragment, and points of all of them, that are read (Suricata's limits).
pub const OBJECTS_MAX: usize = 2048;
#[allow(missing_docs)]
pub const POINTS_MAX: u64 = 16_384;

/// A part of a point.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    /// A byte of bits, lowest first: names, and how many.
    Bits(&'static [(&'static str, u8)]),
    /// A number of so many bytes, lowest first.
    Unsigned(&'static str, usize),
    /// The same with a sign.
    Signed(&'static str, usize),
    /// A number of IEEE 754 of so many bytes.
    Real(&'static str, usize),
    /// Characters.
    Text(&'static str, Length),
    /// Bytes.
    Bytes(&'static str, Length),
}

/// How long a text is.
#[derive(Clone, Copy, Debug)]
pub enum Length {
    /// So many bytes.
    Size(usize),
    /// As many as an earlier part says.
    Told(&'static str),
    /// All that the size before the point leaves.
    Rest,
}

/// Why the objects of a fragment are not read to their end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The header of an object is cut short, or of a kind that is reserved.
    Cut,
    /// Its points are not known, or cut short.
    Unknown,
    /// More points than [`POINTS_MAX`].
    Points,
    /// More objects than [`OBJECTS_MAX`].
    Objects,
}

/// An object.
#[derive(Clone, Copy, Debug)]
pub struct Object<'a> {
    #[allow(missing_docs)]
    pub group: u8,
    #[allow(missing_docs)]
    pub variation: u8,
    /// How its range and the prefixes of its points are written.
    pub qualifier: u8,
    /// First and last index, and how many points it has.
    pub start: u32,
    #[allow(missing_docs)]
    pub stop: u32,
    #[allow(missing_docs)]
    pub count: u32,
    /// The bytes of its points; none in a fragment that names objects and gives no points.
    pub points: &'a [u8],
    /// It is the last one that can be read.
    pub fault: Option<Fault>,
}

impl<'a> Object<'a> {
    /// How the points' prefixes are written: 0 none; 1 to 3 an index of one, two or four bytes; 4 to
    /// 6 a size of as many.
    pub fn prefix_code(&self) -> u8 {
        self.qualifier >> 4 & 7
    }

    /// Its points, as far as they are whole.
    pub fn points(&self) -> Points<'a> {
        Points {
            at: Reader::new(self.points),
            object: *self,
            layout: Layout::of(self.group, self.variation),
            done: 0,
            bits: None,
        }
    }
}

/// Reads the objects of a fragment.
#[derive(Clone, Copy, Debug)]
pub struct Objects<'a> {
    at: Reader<'a>,
    /// The fragment asks for objects and has no points.
    bare: bool,
    objects: usize,
    points: u64,
    objects_max: usize,
    points_max: u64,
    over: bool,
}

impl<'a> Objects<'a> {
    /// The objects of a fragment of this function, from the first one on.
    pub fn new(function: u8, bytes: &'a [u8]) -> Objects<'a> {
        Objects {
            at: Reader::new(bytes),
            // Read, the freezes, assign class.
            bare: matches!(function, 1 | 7..=10 | 22),
            objects: 0,
            points: 0,
            objects_max: OBJECTS_MAX,
            points_max: POINTS_MAX,
            over: false,
        }
    }

    /// With fewer objects and points at most than there can be.
    pub fn within(self, objects: u32, points: u32) -> Objects<'a> {
        Objects {
            objects_max: OBJECTS_MAX.min(objects as usize),
            points_max: POINTS_MAX.min(points.into()),
            ..self
        }
    }

    /// Reads range and points of the object whose header was read.
    fn fill(&mut self, object: &mut Object<'a>) -> Result<(), Fault> {
        let (start, stop, count) = range(&mut self.at, object.qualifier).ok_or(Fault::Cut)?;
        (object.start, object.stop, object.count) = (start, stop, count);
        if object.variation == 0 || count == 0 || self.bare {
            return Ok(());
        }
        self.points += u64::from(count);
        if self.points > self.points_max {
            return Err(Fault::Points);
        }
        let bytes = self.at.rest();
        object.points = bytes;
        // What the points of a whole object leave is the next object's.
        let mut points = object.points();
        let whole = points.by_ref().count() == count as usize;
        let used = bytes.len() - points.at.len();
        object.points = bytes.get(..used).unwrap_or(bytes);
        if !whole {
            return Err(Fault::Unknown);
        }
        self.at.skip(used).ok_or(Fault::Unknown)
    }
}

impl<'a> Iterator for Objects<'a> {
    type Item = Object<'a>;

    fn next(&mut self) -> Option<Object<'a>> {
        if self.over {
            return None;
        }
        let [group, variation, qualifier] = self.at.array()?;
        let mut object = Object {
            group,
            variation,
            qualifier,
            start: 0,
            stop: 0,
            count: 0,
            points: &[],
            fault: None,
        };
        self.objects += 1;
        object.fault = if self.objects > self.objects_max {
            Some(Fault::Objects)
        } else {
            self.fill(&mut object).err()
        };
        self.over = object.fault.is_some();
        Some(object)
    }
}

/// First, last and how many: start and stop, or a count, in one, two or four bytes.
fn range(at: &mut Reader<'_>, qualifier: u8) -> Option<(u32, u32, u32)> {
    let both = |(start, stop): (u32, u32)| (start, stop, stop.wrapping_sub(start).wrapping_add(1));
    Some(match qualifier & 0x0f {
        0 | 3 => both((at.u8()?.into(), at.u8()?.into())),
        1 | 4 => both((at.le16()?.into(), at.le16()?.into())),
        2 | 5 => both((at.le32()?, at.le32()?)),
        6 => (0, 0, 0),
        7 | 0x0b => (0, 0, at.u8()?.into()),
        8 => (0, 0, at.le16()?.into()),
        9 => (0, 0, at.le32()?),
        _ => return None,
    })
}

/// A point.
#[derive(Clone, Copy, Debug)]
pub struct Point<'a> {
    /// What stands before it: an index or a size; 0 if nothing does.
    pub prefix: u32,
    #[allow(missing_docs)]
    pub index: u32,
    /// Its parts.
    pub content: Content<'a>,
}

/// What a point says.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// The value of the only part, of points packed into bits.
    Packed(&'static str, u8),
    /// Its parts and their bytes.
    Parts(&'static [Part], &'a [u8]),
}

/// How all points of an object are laid out.
#[derive(Clone, Copy, Debug)]
enum Layout {
    Unknown,
    Packed(&'static str, u8),
    Parts(&'static [Part]),
}

impl Layout {
    fn of(group: u8, variation: u8) -> Layout {
        if let Some((name, width)) = packed(group, variation) {
            return Layout::Packed(name, width);
        }
        let key = (group, variation);
        let known = LAYOUTS.iter().find(|(keys, _)| keys.contains(&key));
        known.map_or(Layout::Unknown, |(_, parts)| Layout::Parts(parts))
    }
}

/// Reads the points of an object.
#[derive(Clone, Copy, Debug)]
pub struct Points<'a> {
    at: Reader<'a>,
    object: Object<'a>,
    layout: Layout,
    done: u32,
    /// Of packed points: their prefix, and the byte at hand.
    bits: Option<(u32, u8)>,
}

impl<'a> Points<'a> {
    fn prefix(&mut self) -> Option<u32> {
        Some(match self.object.prefix_code() {
            1 | 4 => self.at.u8()?.into(),
            2 | 5 => self.at.le16()?.into(),
            3 | 6 => self.at.le32()?,
            _ => 0,
        })
    }

    fn packed(&mut self, name: &'static str, width: u8) -> Option<Point<'a>> {
        let place = self.done * u32::from(width) % 8;
        let (prefix, byte) = match self.bits {
            None => (self.prefix()?, self.at.u8()?),
            Some((prefix, _)) if place == 0 => (prefix, self.at.u8()?),
            Some(known) => known,
        };
        self.bits = Some((prefix, byte));
        let value = byte >> place & ((1 << width) - 1);
        Some(Point {
            prefix,
            index: self.object.start.wrapping_add(self.done),
            content: Content::Packed(name, value),
        })
    }

    fn whole(&mut self, parts: &'static [Part]) -> Option<Point<'a>> {
        let prefix = self.prefix()?;
        let code = self.object.prefix_code();
        let size = matches!(code, 4..=6).then_some(prefix as usize);
        let length = length_of(parts, self.at.rest(), size)?;
        let bytes = self.at.take(length)?;
        let index = match code {
            1..=3 => prefix,
            _ => self.object.start.wrapping_add(self.done),
        };
        Some(Point {
            prefix,
            index,
            content: Content::Parts(parts, bytes),
        })
    }
}

impl<'a> Iterator for Points<'a> {
    type Item = Point<'a>;

    fn next(&mut self) -> Option<Point<'a>> {
        if self.done == self.object.count {
            return None;
        }
        let point = match self.layout {
            Layout::Unknown => return None,
            Layout::Packed(name, width) => self.packed(name, width)?,
            Layout::Parts(parts) => self.whole(parts)?,
        };
        self.done += 1;
        Some(point)
    }
}

/// Bytes of a point; `None` where `bytes` does not hold it.
fn length_of(parts: &[Part], bytes: &[u8], size: Option<usize>) -> Option<usize> {
    let mut length = 0usize;
    each(parts, bytes, size, |_, value| length += value.len())?;
    Some(length)
}

/// The parts of a point with their bytes; `None` where `bytes` ends before them. `size`: what stands
/// before the point says so.
pub fn each<'a>(
    parts: &[Part],
    bytes: &'a [u8],
    size: Option<usize>,
    mut tell: impl FnMut(Part, &'a [u8]),
) -> Option<()> {
    let mut at = Reader::new(bytes);
    for part in parts {
        let length = match part {
            Part::Bits(_) => 1,
            Part::Unsigned(_, length) | Part::Signed(_, length) | Part::Real(_, length) => *length,
            Part::Text(_, length) | Part::Bytes(_, length) => match length {
                Length::Size(length) => *length,
                Length::Rest => size?.checked_sub(bytes.len() - at.len())?,
                Length::Told(name) => told(parts, bytes, name)?,
            },
        };
        tell(*part, at.take(length)?);
    }
    Some(())
}

/// The value of a number; such parts stand before all texts.
fn told(parts: &[Part], bytes: &[u8], wanted: &str) -> Option<usize> {
    let mut at = 0;
    for part in parts {
        let length = match part {
            Part::Unsigned(name, length) if *name == wanted => {
                return Some(number(bytes.get(at..at + length)?) as usize);
            }
            Part::Unsigned(_, length) | Part::Signed(_, length) | Part::Real(_, length) => *length,
            Part::Bits(_) => 1,
            // Only a file's command has a number behind a text: the text's own size is before it.
            Part::Text(_, Length::Told(name)) => told(parts, bytes, name)?,
            Part::Text(..) | Part::Bytes(..) => 4,
        };
        at += length;
    }
    None
}

/// A number whose lowest byte stands first.
pub fn number(bytes: &[u8]) -> u64 {
    let fold = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
    bytes.iter().rev().fold(0, fold)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(function: u8, bytes: &[u8]) -> Vec<(u8, u8, usize, Option<Fault>)> {
        let objects = Objects::new(function, bytes);
        objects
            .map(|o| (o.group, o.variation, o.points().count(), o.fault))
            .collect()
    }

    /// A response: two analog inputs with flags, one binary input with a time, a file's data.
    #[test]
    fn what_follows_points_is_read() {
        let bytes = [
            // 30.2, start and stop of one byte: 7 to 8.
            &[30, 2, 0, 7, 8][..],
            &[1, 0x10, 0, 0x41, 0xff, 0xff],
            // 2.2, one, each with an index of a byte.
            &[2, 2, 0x17, 1, 9],
            &[0x81, 1, 2, 3, 4, 5, 6],
            // 1.1, start 0 stop 8: nine bits, two bytes.
            &[1, 1, 0, 0, 8, 0xff, 1],
            // 70.5, one with a size of two bytes: handle, block, three bytes.
            &[
                70, 5, 0x5b, 1, 11, 0, 1, 0, 0, 0, 2, 0, 0, 0, b'a', b'b', b'c',
            ],
            &[60, 1, 6],
        ]
        .concat();
        let expected = [
            (30, 2, 2, None),
            (2, 2, 1, None),
            (1, 1, 9, None),
            (70, 5, 1, None),
            (60, 1, 0, None),
        ];
        assert_eq!(all(0x81, &bytes), expected);
        let indexes: Vec<u32> = Objects::new(0x81, &bytes)
            .flat_map(|object| object.points().map(|point| point.index))
            .collect();
        assert_eq!(indexes, [7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0]);
    }

    #[test]
    fn what_cannot_be_read_ends_the_list() {
        // Reserved range; points cut short; a layout that is not known; too many.
        assert_eq!(all(0x81, &[1, 2, 0x0c]), [(1, 2, 0, Some(Fault::Cut))]);
        let cut = all(0x81, &[30, 1, 7, 2, 1, 0, 0, 0, 0, 1]);
        assert_eq!(cut, [(30, 1, 1, Some(Fault::Unknown))]);
        assert_eq!(
            all(0x81, &[99, 1, 7, 1, 1]),
            [(99, 1, 0, Some(Fault::Unknown))]
        );
        let many = all(0x81, &[1, 1, 9, 0, 0, 1, 0]);
        assert_eq!(many, [(1, 1, 0, Some(Fault::Points))]);
        let bare = [60, 1, 6].repeat(OBJECTS_MAX + 1);
        let last = all(1, &bare).pop().unwrap();
        assert_eq!(last.3, Some(Fault::Objects));
        // A read asks for points and has none.
        let read = all(1, &[30, 2, 0, 7, 8, 60, 1, 6]);
        assert_eq!(read, [(30, 2, 0, None), (60, 1, 0, None)]);
    }

    /// Every layout's told sizes name a number of the same point.
    #[test]
    fn told_sizes_are_there() {
        for (keys, parts) in LAYOUTS {
            let zeros = [0; 128];
            let length = length_of(parts, &zeros, Some(zeros.len()));
            assert!(length.is_some(), "{keys:?}");
        }
    }
}
