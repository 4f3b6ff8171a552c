//! From a pattern's tree to the form that the linear-time engines are built from.
//!
//! What lives here: one walk that yields regex-syntax's HIR, exactly where the pattern is regular,
//! or (`Sense::Wider`) a pattern that matches wherever the true one does, and maybe elsewhere.
//! What does not: engines (linear.rs). Three places of PCRE have no twin there:
//!
//! - `$` (without `m`, `E`) also holds before a newline that ends the subject. Where nothing of
//!   the pattern follows it, `(?:\z|(\n)\z)` is the same, but for the marker group's byte, which
//!   is taken off the end again. Of the two alternatives only one can hold at any position, so
//!   priorities do not change. Elsewhere the pattern goes to the backtracker.
//! - `^` with `m` does not hold after a newline that ends the subject. The engine's line start
//!   does; where at least one byte must follow, there is no difference. Elsewhere: backtracker.
//! - `\G`, look-around, references, atomic groups, conditionals and `\K`: backtracker.

use super::syntax::{ByteSet, Greed, Node, Place};
use regex_syntax::hir::{self, Class, ClassBytes, ClassBytesRange, Hir, Look, Repetition};

/// What the translation must be to the pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sense {
    /// The same matches.
    Exact,
    /// Each match of the pattern begins where one of these does.
    Wider,
}

/// The pattern is not regular, or this walk cannot say it exactly.
#[derive(Debug, PartialEq, Eq)]
pub struct NotRegular;

/// A translated pattern.
pub struct Translated {
    /// What the engines take.
    pub hir: Hir,
    /// Groups of the pattern; markers are numbered from here on up.
    pub groups: u32,
    /// How many marker groups there are.
    pub markers: u32,
    /// A newline at the end of a match may be the pattern's own, so the engine must say whether
    /// a marker took part. If not, it was a marker's.
    pub newline_ambiguous: bool,
}

/// What of the pattern follows a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    /// Nothing at all.
    Nothing,
    /// At least one byte, in any match.
    Bytes,
    /// Neither is sure.
    Unknown,
}

/// Translates `node`, which has `groups` capturing groups.
pub fn translate(node: &Node, groups: u32, sense: Sense) -> Result<Translated, NotRegular> {
    let mut walk = Walk {
        sense,
        groups,
        markers: 0,
    };
    let hir = walk.node(node, After::Nothing)?;
    let (last, _) = node.last_bytes();
    let may_be_empty = node.length().0 == 0;
    let newline_ambiguous = walk.markers > 0 && (last.contains(b'\n') || may_be_empty);
    Ok(Translated {
        hir,
        groups,
        markers: walk.markers,
        newline_ambiguous,
    })
}

struct Walk {
    sense: Sense,
    groups: u32,
    markers: u32,
}

impl Walk {
    fn node(&mut self, node: &Node, after: After) -> Result<Hir, NotRegular> {
        Ok(match node {
            Node::Empty => Hir::empty(),
            Node::Literal { bytes, caseless } => literal(bytes, *caseless),
            Node::Set(set) => class(*set),
            Node::Place(place) => self.place(*place, after)?,
            Node::Concat(nodes) => self.concat(nodes, after)?,
            Node::Alternate(nodes) => {
                let branches = nodes.iter().map(|node| self.node(node, after));
                Hir::alternation(branches.collect::<Result<_, _>>()?)
            }
            Node::Repeat {
                node,
                min,
                max,
                greed,
            } => self.repeat(node, *min, *max, *greed, after)?,
            Node::Group { index, node } => {
                let sub = Box::new(self.node(node, after)?);
                Hir::capture(hir::Capture {
                    index: *index,
                    name: None,
                    sub,
                })
            }
            _ if self.sense == Sense::Exact => return Err(NotRegular),
            Node::Atomic(node) => self.node(node, after)?,
            Node::Look { .. } | Node::Keep => Hir::empty(),
            Node::Reference { .. } => any_run(),
            Node::Conditional { yes, no, .. } => {
                Hir::alternation(vec![self.node(yes, after)?, self.node(no, after)?])
            }
        })
    }

    fn place(&mut self, place: Place, after: After) -> Result<Hir, NotRegular> {
        let exact = self.sense == Sense::Exact;
        Ok(match place {
            Place::Start => Hir::look(Look::Start),
            Place::End => Hir::look(Look::End),
            Place::LineEnd => Hir::look(Look::EndLF),
            Place::WordBoundary => Hir::look(Look::WordAscii),
            Place::NotWordBoundary => Hir::look(Look::WordAsciiNegate),
            Place::LineStart if exact && after != After::Bytes => return Err(NotRegular),
            Place::LineStart => Hir::look(Look::StartLF),
            Place::EndOrFinalNewline if after == After::Nothing => self.end_with_marker(),
            Place::EndOrFinalNewline | Place::SearchStart if exact => return Err(NotRegular),
            Place::EndOrFinalNewline | Place::SearchStart => Hir::empty(),
        })
    }

    /// `(?:\z|(\n)\z)`.
    fn end_with_marker(&mut self) -> Hir {
        self.markers += 1;
        let index = self.groups + self.markers;
        let sub = Box::new(literal(b"\n", false));
        let marker = Hir::capture(hir::Capture {
            index,
            name: None,
            sub,
        });
        let end = || Hir::look(Look::End);
        Hir::alternation(vec![end(), Hir::concat(vec![marker, end()])])
    }

    fn concat(&mut self, nodes: &[Node], after: After) -> Result<Hir, NotRegular> {
        let mut row = Vec::with_capacity(nodes.len());
        let mut after = after;
        for node in nodes.iter().rev() {
            row.push(self.node(node, after)?);
            if node.length().0 > 0 {
                after = After::Bytes;
            } else if after != After::Bytes {
                after = After::Unknown;
            }
        }
        row.reverse();
        Ok(Hir::concat(row))
    }

    fn repeat(
        &mut self,
        node: &Node,
        min: u32,
        max: Option<u32>,
        greed: Greed,
        after: After,
    ) -> Result<Hir, NotRegular> {
        if greed == Greed::Possessive && self.sense == Sense::Exact {
            return Err(NotRegular);
        }
        if max == Some(0) {
            return Ok(Hir::empty());
        }
        let once = max == Some(1);
        let inside = if once || after == After::Bytes {
            after
        } else {
            After::Unknown
        };
        let sub = Box::new(self.node(node, inside)?);
        let greedy = greed != Greed::Lazy;
        // PCRE stops a loop after a round without bytes and keeps that round's groups; the HIR's
        // rules differ there, so loops over what may be empty are the backtracker's if exact.
        if !once && self.sense == Sense::Exact && node.length().0 == 0 && has_priority(node) {
            return Err(NotRegular);
        }
        Ok(Hir::repetition(Repetition {
            min,
            max,
            greedy,
            sub,
        }))
    }
}

/// Whether the ways to match `node` have an order that a loop over empty rounds could show.
fn has_priority(node: &Node) -> bool {
    node.any(&mut |node| !matches!(node, Node::Place(_) | Node::Empty))
}

fn literal(bytes: &[u8], caseless: bool) -> Hir {
    if !caseless {
        return Hir::literal(bytes);
    }
    let classes = bytes
        .iter()
        .map(|&byte| class(ByteSet::of(&[byte]).caseless()));
    Hir::concat(classes.collect())
}

/// One byte of the set. The empty set gives a class that fails, which the engines know.
fn class(set: ByteSet) -> Hir {
    let ranges = set
        .ranges()
        .into_iter()
        .map(|(first, last)| ClassBytesRange::new(first, last));
    Hir::class(Class::Bytes(ClassBytes::new(ranges)))
}

/// Any bytes, as many as wanted: what a reference can be, seen from outside.
fn any_run() -> Hir {
    let sub = Box::new(class(ByteSet::ALL));
    Hir::repetition(Repetition {
        min: 0,
        max: None,
        greedy: true,
        sub,
    })
}
