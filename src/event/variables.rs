//! Flowbits, flow counters and variables that an event carries: numbers of names, which the writer
//! looks up, and values.

/// Bytes of variables that an event can carry: some 200 flowbits.
pub const VARIABLES_MAX: usize = 1024;

/// A variable, by the number of its name in the rule set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Variable<'a> {
    /// A flowbit that is set.
    Bit(u32),
    /// A flow counter and its value.
    Counter(u32, u32),
    /// A variable of the flow, at most 255 bytes.
    OfFlow(u32, &'a [u8]),
    /// A variable of the packet, at most 255 bytes.
    OfPacket(u32, &'a [u8]),
    /// One whose name is of the packet, too; both at most 255 bytes.
    Named(&'a [u8], &'a [u8]),
}

/// Variables of an event: a kind, the number, and a counter's value or a text with its length each.
#[derive(Debug, Default)]
pub struct Variables {
    bytes: Vec<u8>,
    lost: u32,
}

impl Variables {
    /// None, and room for [`VARIABLES_MAX`] bytes.
    pub fn with_room() -> Variables {
        Variables {
            bytes: super::room(VARIABLES_MAX),
            lost: 0,
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.lost = 0;
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many found no room.
    pub fn lost(&self) -> u32 {
        self.lost
    }

    /// Adds one, or counts it as lost if there is no room for it.
    pub fn push(&mut self, variable: Variable<'_>) {
        let (kind, number, value) = match variable {
            Variable::Bit(number) => (0, number, None),
            Variable::Counter(number, value) => (1, number, Some(value)),
            Variable::OfFlow(number, _) => (2, number, None),
            Variable::OfPacket(number, _) => (3, number, None),
            Variable::Named(name, _) => (4, name.len() as u32, None),
        };
        let (name, text) = match variable {
            Variable::OfFlow(_, text) | Variable::OfPacket(_, text) => (&[][..], text),
            Variable::Named(name, text) => (name, text),
            _ => (&[][..], &[][..]),
        };
        let has_text = kind >= 2;
        let length = name.len() + text.len();
        let size = 5 + 4 * usize::from(value.is_some()) + usize::from(has_text) + length;
        if self.bytes.len() + size > VARIABLES_MAX || length > usize::from(u8::MAX) {
            self.lost += 1;
            return;
        }
        self.bytes.push(kind);
        self.bytes.extend_from_slice(&number.to_le_bytes());
        if let Some(value) = value {
            self.bytes.extend_from_slice(&value.to_le_bytes());
        }
        if has_text {
            self.bytes.push(length as u8);
            self.bytes.extend_from_slice(name);
            self.bytes.extend_from_slice(text);
        }
    }

    /// All, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = Variable<'_>> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let (kind, after) = rest.split_first()?;
            let (number, after) = long(after)?;
            let (variable, after) = match kind {
                0 => (Variable::Bit(number), after),
                1 => {
                    let (value, after) = long(after)?;
                    (Variable::Counter(number, value), after)
                }
                kind => {
                    let (length, after) = after.split_first()?;
                    let (text, after) = after.split_at_checked(usize::from(*length))?;
                    let variable = match kind {
                        2 => Variable::OfFlow(number, text),
                        3 => Variable::OfPacket(number, text),
                        _ => {
                            let (name, text) = text.split_at_checked(number as usize)?;
                            Variable::Named(name, text)
                        }
                    };
                    (variable, after)
                }
            };
            rest = after;
            Some(variable)
        })
    }
}

fn long(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (first, rest) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*first), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_comes_out_again() {
        let all = [
            Variable::Bit(7),
            Variable::OfFlow(1, b"from the wire"),
            Variable::Counter(70_000, u32::MAX),
            Variable::OfPacket(0, b""),
            Variable::Named(b"Host", b"a.example"),
        ];
        let mut variables = Variables::with_room();
        assert!(variables.is_empty());
        all.iter().for_each(|one| variables.push(*one));
        assert!(variables.iter().eq(all) && variables.lost() == 0);
        variables.clear();
        assert_eq!(variables.iter().count(), 0);
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let mut variables = Variables::with_room();
        (0..1000).for_each(|bit| variables.push(Variable::Bit(bit)));
        assert_eq!(variables.iter().count(), VARIABLES_MAX / 5);
        assert_eq!(variables.lost() as usize, 1000 - VARIABLES_MAX / 5);
        let mut variables = Variables::with_room();
        variables.push(Variable::OfFlow(1, &[1; 256]));
        assert!(variables.is_empty() && variables.lost() == 1);
    }
}
