//! Heads of Brotli's stream and of its meta-blocks (RFC 7932 sections 9.1 and 9.2): lengths, kinds of
//! blocks, codes and the maps of contexts, each part a step that is taken whole or not at all.

use super::super::canonical::{Bits, Built, LITERALS};
use super::{
    At, Blocks, Brotli, COMMAND, DISTANCE, ENDLESS, KINDS, LENGTH_CODE, LITERAL, MAP_CODE, Stepped,
    Stop, TYPE_CODE, group,
};

impl Brotli {
    pub(super) fn read_window(&mut self, bits: &mut Bits<'_>) -> Stepped {
        let mut take = |count| bits.take(count).ok_or(Stop::Short);
        let exponent = if take(1)? == 0 {
            16
        } else {
            match take(3)? {
                0 => match take(3)? {
                    0 => 17,
                    1 => return Err(Stop::Wrong),
                    more => 8 + more,
                },
                more => 17 + more,
            }
        };
        self.window = (1 << exponent) - 16;
        self.at = At::Header;
        Ok(())
    }

    pub(super) fn read_header(&mut self, bits: &mut Bits<'_>) -> Stepped {
        if self.last {
            self.at = At::Done;
            return Ok(());
        }
        let mut take = |count| bits.take(count).ok_or(Stop::Short);
        let last = take(1)? == 1;
        if last && take(1)? == 1 {
            (self.last, self.at) = (true, At::Done);
            return Ok(());
        }
        let nibbles = match take(2)? {
            3 => {
                if take(1)? != 0 {
                    return Err(Stop::Wrong);
                }
                let count = take(2)?;
                let length = take(8 * count)?;
                if count > 1 && length >> (8 * (count - 1)) == 0 {
                    return Err(Stop::Wrong);
                }
                self.left = if count == 0 { 0 } else { length + 1 };
                (self.last, self.at) = (last, At::Skip);
                return bits.align().then_some(()).ok_or(Stop::Wrong);
            }
            more => 4 + more,
        };
        let length = take(4 * nibbles)?;
        if nibbles > 4 && length >> (4 * (nibbles - 1)) == 0 {
            return Err(Stop::Wrong);
        }
        let raw = !last && take(1)? == 1;
        (self.last, self.left) = (last, length + 1);
        if raw {
            self.at = At::Raw;
            return bits.align().then_some(()).ok_or(Stop::Wrong);
        }
        self.codes.clear();
        self.at = At::Types(LITERAL);
        Ok(())
    }

    pub(super) fn read_types(&mut self, bits: &mut Bits<'_>, kind: usize) -> Stepped {
        let types = bits.count().ok_or(Stop::Short)?;
        *self.blocks_of(kind) = Blocks {
            types,
            left: ENDLESS,
            current: 0,
            before: 1,
        };
        if types < 2 {
            self.at = next_types(kind);
            return Ok(());
        }
        self.begin_code(TYPE_CODE + kind, types + 2, At::Types(kind));
        Ok(())
    }

    pub(super) fn begin_code(&mut self, place: usize, alphabet: u32, then: At) {
        self.build.begin(place, alphabet);
        (self.at, self.then) = (At::Code, then);
    }

    pub(super) fn read_code(&mut self, bits: &mut Bits<'_>) -> Stepped {
        match self.build.step(bits, &mut self.codes)? {
            Built::Short => return Err(Stop::Short),
            Built::More => return Ok(()),
            Built::Done => {}
        }
        self.at = match self.then {
            // The code of types is followed by that of lengths.
            At::Types(kind) => {
                self.begin_code(LENGTH_CODE + kind, 26, At::FirstLength(kind));
                return Ok(());
            }
            At::Groups(kind, place) => At::Groups(kind, place + 1),
            then => then,
        };
        Ok(())
    }

    pub(super) fn read_trees(&mut self, bits: &mut Bits<'_>, kind: usize) -> Stepped {
        let trees = bits.count().ok_or(Stop::Short)?;
        let mut runs = 0;
        if trees >= 2 && bits.take(1).ok_or(Stop::Short)? == 1 {
            runs = bits.take(4).ok_or(Stop::Short)? + 1;
        }
        self.trees[kind % KINDS] = trees as usize;
        self.runs = runs;
        if trees < 2 {
            let length = self.map_length(kind);
            self.map_of(kind)
                .iter_mut()
                .take(length)
                .for_each(|place| *place = 0);
            self.at = after_map(kind);
        } else {
            self.begin_code(MAP_CODE, trees + runs, At::Map(kind, 0));
        }
        Ok(())
    }

    pub(super) fn map_of(&mut self, kind: usize) -> &mut [u8] {
        &mut self.maps[usize::from(kind == DISTANCE)]
    }

    pub(super) fn map_length(&mut self, kind: usize) -> usize {
        let types = self.blocks_of(kind).types as usize;
        types * if kind == LITERAL { 64 } else { 4 }
    }

    pub(super) fn read_map(&mut self, bits: &mut Bits<'_>, kind: usize, place: usize) -> Stepped {
        let length = self.map_length(kind);
        if place >= length {
            self.at = At::MapFlag(kind);
            return Ok(());
        }
        let code = u32::from(self.codes.read(MAP_CODE, bits).ok_or(Stop::Short)?);
        let (value, count) = if code == 0 || code > self.runs {
            (code.saturating_sub(self.runs), 1)
        } else {
            (
                0,
                (1 << code) + bits.take(code).ok_or(Stop::Short)? as usize,
            )
        };
        if count > length - place {
            return Err(Stop::Wrong);
        }
        let map = self.map_of(kind).get_mut(place..place + count);
        map.ok_or(Stop::Wrong)?.fill(value as u8);
        self.at = At::Map(kind, place + count);
        Ok(())
    }

    pub(super) fn finish_map(&mut self, bits: &mut Bits<'_>, kind: usize) -> Stepped {
        let moved = bits.take(1).ok_or(Stop::Short)? == 1;
        let length = self.map_length(kind);
        if moved {
            let mut front: [u8; 256] = std::array::from_fn(|place| place as u8);
            for value in self.map_of(kind).iter_mut().take(length) {
                let place = usize::from(*value);
                *value = front[place];
                front.copy_within(..place, 1);
                front[0] = *value;
            }
        }
        let trees = self.trees[kind % KINDS];
        if self
            .map_of(kind)
            .iter()
            .take(length)
            .any(|value| usize::from(*value) >= trees)
        {
            return Err(Stop::Wrong);
        }
        self.at = after_map(kind);
        Ok(())
    }

    pub(super) fn next_group(&mut self, kind: usize, place: usize) -> Stepped {
        if kind == COMMAND {
            self.trees[COMMAND] = self.blocks_of(COMMAND).types as usize;
        }
        if place < self.trees[kind % KINDS] {
            let alphabet = match kind {
                LITERAL => LITERALS,
                COMMAND => 704,
                _ => 16 + self.direct + (48 << self.postfix),
            };
            self.begin_code(group(kind, place), alphabet, At::Groups(kind, place));
        } else if kind == DISTANCE {
            self.at = At::Command;
        } else {
            self.at = At::Groups(kind + 1, 0);
        }
        Ok(())
    }
}

pub(super) fn next_types(kind: usize) -> At {
    if kind + 1 < KINDS {
        At::Types(kind + 1)
    } else {
        At::Parameters
    }
}

fn after_map(kind: usize) -> At {
    if kind == LITERAL {
        At::Trees(DISTANCE)
    } else {
        At::Groups(LITERAL, 0)
    }
}
