//! The tree of a pattern: what parse.rs builds and what both engines are made from.
//!
//! What lives here: nodes, sets of bytes, and the facts that are read off a tree (least and
//! greatest length, first and last bytes, a literal that must occur). What does not: text
//! (parse.rs) and engines (translate.rs and linear.rs, program.rs and backtrack.rs).

/// A set of byte values, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ByteSet([u64; 4]);

impl ByteSet {
    /// Every byte.
    pub const ALL: ByteSet = ByteSet([u64::MAX; 4]);

    /// The set of the bytes of `bytes`.
    pub fn of(bytes: &[u8]) -> ByteSet {
        let mut set = ByteSet::default();
        bytes.iter().for_each(|&byte| set.insert(byte));
        set
    }

    /// The set of the bytes from `first` to `last`, both included.
    pub fn range(first: u8, last: u8) -> ByteSet {
        let mut set = ByteSet::default();
        (first..=last).for_each(|byte| set.insert(byte));
        set
    }

    /// Adds one byte.
    pub fn insert(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    /// Whether `byte` is in the set. No index here can be out of range.
    #[inline(always)]
    pub fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 != 0
    }

    /// Bytes in either.
    pub fn union(self, other: ByteSet) -> ByteSet {
        ByteSet(std::array::from_fn(|i| self.0[i] | other.0[i]))
    }

    /// Bytes not in the set.
    pub fn complement(self) -> ByteSet {
        ByteSet(self.0.map(|word| !word))
    }

    /// The set with the other case of each ASCII letter added.
    pub fn caseless(self) -> ByteSet {
        let mut set = self;
        for byte in self.bytes().filter(u8::is_ascii_alphabetic) {
            set.insert(byte ^ 0x20);
        }
        set
    }

    /// How many bytes are in the set.
    pub fn len(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Whether no byte is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of the set, in order.
    pub fn bytes(&self) -> impl Iterator<Item = u8> + '_ {
        (0..=255u8).filter(|&byte| self.contains(byte))
    }

    /// The set as ranges, in order.
    pub fn ranges(&self) -> Vec<(u8, u8)> {
        let mut ranges: Vec<(u8, u8)> = Vec::new();
        for byte in self.bytes() {
            match ranges.last_mut() {
                Some(last) if u16::from(last.1) + 1 == u16::from(byte) => last.1 = byte,
                _ => ranges.push((byte, byte)),
            }
        }
        ranges
    }
}

/// How a repeat chooses between one more and going on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Greed {
    /// One more first.
    Greedy,
    /// Going on first.
    Lazy,
    /// One more, and never back.
    Possessive,
}

/// A place that matches or not, and has no length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// `\A`, and `^` without `m`.
    Start,
    /// `^` with `m`: the start, and after each newline but one that ends the subject.
    LineStart,
    /// `\z`, and `$` with `E`.
    End,
    /// `$` without `m` and `E`, and `\Z`: the end, and before a newline that ends the subject.
    EndOrFinalNewline,
    /// `$` with `m`: the end, and before each newline.
    LineEnd,
    /// `\b`.
    WordBoundary,
    /// `\B`.
    NotWordBoundary,
    /// `\G`: where this search began.
    SearchStart,
}

/// What decides a conditional group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Condition {
    /// Whether this group has matched.
    Group(u32),
    /// Whether this look-around holds; always a [`Node::Look`].
    Look(Box<Node>),
}

/// A pattern, or a part of one. Case and the other flags are already worked in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Node {
    /// Nothing: matches everywhere with no length.
    Empty,
    /// These bytes in a row; with `caseless`, letters stand for both cases.
    Literal { bytes: Vec<u8>, caseless: bool },
    /// One byte of a set.
    Set(ByteSet),
    /// A place.
    Place(Place),
    /// One after the other.
    Concat(Vec<Node>),
    /// The first that leads to a match.
    Alternate(Vec<Node>),
    /// Again and again; without `max`, for ever.
    Repeat {
        node: Box<Node>,
        min: u32,
        max: Option<u32>,
        greed: Greed,
    },
    /// A capturing group, numbered from 1.
    Group { index: u32, node: Box<Node> },
    /// `(?>...)`: the first way to match it is the only one.
    Atomic(Box<Node>),
    /// `(?=`, `(?!`, `(?<=`, `(?<!`.
    Look {
        behind: bool,
        negated: bool,
        node: Box<Node>,
    },
    /// What a group matched, again.
    Reference { group: u32, caseless: bool },
    /// `(?(condition)yes|no)`.
    Conditional {
        condition: Condition,
        yes: Box<Node>,
        no: Box<Node>,
    },
    /// `\K`: the match is said to start here.
    Keep,
}

impl Node {
    /// The nodes one level below.
    pub fn children(&self) -> Vec<&Node> {
        match self {
            Node::Concat(nodes) | Node::Alternate(nodes) => nodes.iter().collect(),
            Node::Repeat { node, .. } | Node::Group { node, .. } => vec![node],
            Node::Atomic(node) | Node::Look { node, .. } => vec![node],
            Node::Conditional {
                condition: Condition::Look(look),
                yes,
                no,
            } => vec![look, yes, no],
            Node::Conditional { yes, no, .. } => vec![yes, no],
            _ => Vec::new(),
        }
    }

    /// The least and greatest count of bytes of a match; `None`: no bound, or not known.
    /// A reference may be empty or long. Sums saturate: they only ever choose an engine.
    pub fn length(&self) -> (usize, Option<usize>) {
        match self {
            Node::Empty | Node::Place(_) | Node::Look { .. } | Node::Keep => (0, Some(0)),
            Node::Literal { bytes, .. } => (bytes.len(), Some(bytes.len())),
            Node::Set(_) => (1, Some(1)),
            Node::Reference { .. } => (0, None),
            Node::Group { node, .. } | Node::Atomic(node) => node.length(),
            Node::Concat(nodes) => nodes
                .iter()
                .map(Node::length)
                .fold((0, Some(0)), |sum, one| {
                    let max = sum.1.zip(one.1).map(|(a, b)| a.saturating_add(b));
                    (sum.0.saturating_add(one.0), max)
                }),
            Node::Alternate(nodes) => either(nodes.iter().map(Node::length)),
            Node::Conditional { yes, no, .. } => either([yes.length(), no.length()].into_iter()),
            Node::Repeat { node, min, max, .. } => {
                let (least, most) = node.length();
                let most = if most == Some(0) {
                    most
                } else {
                    most.zip(*max).map(|(a, b)| a.saturating_mul(b as usize))
                };
                (least.saturating_mul(*min as usize), most)
            }
        }
    }

    /// Bytes a match can begin with, and whether it can be without any. An over-estimate.
    pub fn first_bytes(&self) -> (ByteSet, bool) {
        self.edge_bytes(false)
    }

    /// Bytes a match can end with, and whether it can be without any. An over-estimate.
    pub fn last_bytes(&self) -> (ByteSet, bool) {
        self.edge_bytes(true)
    }

    fn edge_bytes(&self, last: bool) -> (ByteSet, bool) {
        let none = (ByteSet::default(), true);
        match self {
            Node::Empty | Node::Place(_) | Node::Look { .. } | Node::Keep => none,
            Node::Literal { bytes, caseless } => {
                let edge = if last { bytes.last() } else { bytes.first() };
                let set = ByteSet::of(edge.map(std::slice::from_ref).unwrap_or_default());
                (if *caseless { set.caseless() } else { set }, edge.is_none())
            }
            Node::Set(set) => (*set, false),
            Node::Reference { .. } => (ByteSet::ALL, true),
            Node::Group { node, .. } | Node::Atomic(node) => node.edge_bytes(last),
            Node::Repeat { node, min, max, .. } => {
                let (set, empty) = node.edge_bytes(last);
                if *max == Some(0) {
                    none
                } else {
                    (set, empty || *min == 0)
                }
            }
            Node::Alternate(nodes) => any_edge(nodes.iter().map(|node| node.edge_bytes(last))),
            Node::Conditional { yes, no, .. } => {
                any_edge([yes.edge_bytes(last), no.edge_bytes(last)].into_iter())
            }
            Node::Concat(nodes) => {
                let mut all = none;
                let mut step = |node: &Node| {
                    let (set, empty) = node.edge_bytes(last);
                    all = (all.0.union(set), empty);
                    empty
                };
                // Stops behind the first node that cannot be empty.
                let _ = if last {
                    nodes.iter().rev().all(&mut step)
                } else {
                    nodes.iter().all(&mut step)
                };
                all
            }
        }
    }

    /// The longest literal that each match must contain, if one is to be seen at a glance.
    pub fn required_literal(&self) -> Option<(&[u8], bool)> {
        match self {
            Node::Literal { bytes, caseless } => Some((bytes, *caseless)),
            Node::Group { node, .. } | Node::Atomic(node) => node.required_literal(),
            Node::Repeat { node, min, .. } if *min > 0 => node.required_literal(),
            Node::Concat(nodes) => nodes
                .iter()
                .filter_map(Node::required_literal)
                .max_by_key(|literal| literal.0.len()),
            _ => None,
        }
    }

    /// Whether `test` holds for this node or one below it.
    pub fn any(&self, test: &mut dyn FnMut(&Node) -> bool) -> bool {
        test(self) || self.children().into_iter().any(|node| node.any(test))
    }
}

fn either(lengths: impl Iterator<Item = (usize, Option<usize>)>) -> (usize, Option<usize>) {
    let widest = |a: (usize, Option<usize>), b: (usize, Option<usize>)| {
        (a.0.min(b.0), a.1.zip(b.1).map(|(a, b)| a.max(b)))
    };
    lengths.reduce(widest).unwrap_or((0, Some(0)))
}

fn any_edge(edges: impl Iterator<Item = (ByteSet, bool)>) -> (ByteSet, bool) {
    edges.fold((ByteSet::default(), false), |all, one| {
        (all.0.union(one.0), all.1 || one.1)
    })
}
