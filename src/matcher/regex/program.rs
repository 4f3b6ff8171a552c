//! From a pattern's tree to the program of the backtracking engine (backtrack.rs).
//!
//! What lives here: instructions and the walk that emits them. What does not: running them.
//! All that a running program remembers besides its position stands in numbered registers:
//! two for each group (start, end; 0 and 1 are the whole match), then one for each open group,
//! loop counter, loop beginning, stack height and look-around origin. Invariant: a program writes
//! a register only through instructions that note the old value, so that going back restores all.

use super::RegexError;
use super::linear::Anchor;
use super::syntax::{ByteSet, Condition, Greed, Node, Place};

/// Longest program, in instructions.
pub const PROGRAM_LEN_MAX: usize = 64 * 1024;
/// Most lengths that one alternative of a look-behind may have.
pub const BEHIND_LENGTHS_MAX: usize = 64;

/// A register that was never written.
pub const UNSET: u32 = u32::MAX;

/// One step of a program. Numbers are program counters unless they say otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The whole pattern has matched.
    Match,
    /// Goes back.
    Fail,
    /// One byte.
    Byte(u8),
    /// Bytes `at..at + len` of the pool; lower case, where `caseless`.
    Literal {
        at: u32,
        len: u32,
        caseless: bool,
    },
    /// A byte of a set (index).
    Set(u32),
    /// Bytes of a set, as many as `greed` says.
    Run {
        set: u32,
        min: u32,
        max: u32,
        greed: Greed,
    },
    /// A place.
    Place(Place),
    Jump(u32),
    /// Goes on at `first`; comes back to `second`.
    Split {
        first: u32,
        second: u32,
    },
    /// Writes the position.
    Save {
        register: u32,
    },
    /// Ends a group: its start was saved in `open`.
    Close {
        group: u32,
        open: u32,
    },
    /// Writes a number.
    Put {
        register: u32,
        value: u32,
    },
    /// A group's bytes again.
    Reference {
        group: u32,
        caseless: bool,
    },
    /// Goes on at `no` where the group has not matched.
    IfGroup {
        group: u32,
        no: u32,
    },
    /// One more round or not. `begin` is UNSET where no round can be empty.
    Loop {
        counter: u32,
        begin: u32,
        min: u32,
        max: u32,
        greed: Greed,
        body: u32,
        exit: u32,
    },
    /// Notes how high the stack is.
    Mark {
        height: u32,
    },
    /// Notes it, and comes back to `exit`.
    MarkOr {
        height: u32,
        exit: u32,
    },
    /// Forgets the ways back that were noted since the mark.
    Cut {
        height: u32,
    },
    /// Goes back to where the mark was, and from there further back.
    CutAndFail {
        height: u32,
    },
    /// Sets the position to what was saved.
    Restore {
        register: u32,
    },
    /// Fails unless the position is what was saved.
    At {
        register: u32,
    },
    /// Goes back by so many bytes of the subject, if there are as many.
    Behind(u32),
}

/// A compiled pattern.
#[derive(Debug)]
pub struct Program {
    pub steps: Vec<Step>,
    pub pool: Vec<u8>,
    pub sets: Vec<ByteSet>,
    /// Registers it uses.
    pub registers: usize,
    pub groups: u32,
    /// Where a match may begin.
    pub anchor: Anchor,
    /// Bytes a match can begin with; all, if it can be empty.
    pub first: ByteSet,
    /// Bytes that every match has at least, look-around aside.
    pub length_least: usize,
}

impl Program {
    /// Bytes of memory it holds.
    pub fn memory_bytes(&self) -> usize {
        size_of_val(&*self.steps) + self.pool.len() + size_of_val(&*self.sets)
    }
}

/// Compiles `node`.
pub fn compile(node: &Node, groups: u32, anchor: Anchor) -> Result<Program, RegexError> {
    let (first, may_be_empty) = node.first_bytes();
    let registers = 2 * (groups + 1);
    let program = Program {
        steps: Vec::new(),
        pool: Vec::new(),
        sets: Vec::new(),
        registers: registers as usize,
        groups,
        anchor,
        first: if may_be_empty { ByteSet::ALL } else { first },
        length_least: node.length().0,
    };
    let mut writer = Writer { program };
    writer.node(node)?;
    writer.emit(Step::Match)?;
    Ok(writer.program)
}

struct Writer {
    program: Program,
}

impl Writer {
    fn here(&self) -> u32 {
        self.program.steps.len() as u32
    }

    /// Appends a step and returns where it stands.
    fn emit(&mut self, step: Step) -> Result<u32, RegexError> {
        if self.program.steps.len() >= PROGRAM_LEN_MAX {
            let hint = "smaller counts of repeats make a smaller program";
            return Err(RegexError::new(0, "pattern too large", hint));
        }
        self.program.steps.push(step);
        Ok(self.here() - 1)
    }

    /// Writes a step that could not be known when its place was reached.
    fn mend(&mut self, at: u32, step: Step) {
        if let Some(place) = self.program.steps.get_mut(at as usize) {
            *place = step;
        }
    }

    fn register(&mut self) -> u32 {
        self.program.registers += 1;
        self.program.registers as u32 - 1
    }

    fn set(&mut self, set: ByteSet) -> u32 {
        let known = self.program.sets.iter().position(|other| *other == set);
        let index = known.unwrap_or_else(|| {
            self.program.sets.push(set);
            self.program.sets.len() - 1
        });
        index as u32
    }

    fn node(&mut self, node: &Node) -> Result<(), RegexError> {
        match node {
            Node::Empty => {}
            Node::Literal { bytes, caseless } => self.literal(bytes, *caseless)?,
            Node::Set(set) => {
                let set = self.set(*set);
                self.emit(Step::Set(set))?;
            }
            Node::Place(place) => {
                self.emit(Step::Place(*place))?;
            }
            Node::Concat(nodes) => nodes.iter().try_for_each(|node| self.node(node))?,
            Node::Alternate(nodes) => self.alternate(nodes)?,
            Node::Repeat {
                node,
                min,
                max,
                greed,
            } => self.repeat(node, *min, *max, *greed)?,
            Node::Group { index, node } => {
                let open = self.register();
                self.emit(Step::Save { register: open })?;
                self.node(node)?;
                self.emit(Step::Close {
                    group: *index,
                    open,
                })?;
            }
            Node::Atomic(node) => {
                let height = self.register();
                self.emit(Step::Mark { height })?;
                self.node(node)?;
                self.emit(Step::Cut { height })?;
            }
            Node::Look {
                behind,
                negated,
                node,
            } => self.look(*behind, *negated, node)?,
            Node::Reference { group, caseless } => {
                self.emit(Step::Reference {
                    group: *group,
                    caseless: *caseless,
                })?;
            }
            Node::Conditional { condition, yes, no } => self.conditional(condition, yes, no)?,
            Node::Keep => {
                self.emit(Step::Save { register: 0 })?;
            }
        }
        Ok(())
    }

    fn literal(&mut self, bytes: &[u8], caseless: bool) -> Result<(), RegexError> {
        let caseless = caseless && bytes.iter().any(u8::is_ascii_alphabetic);
        if let ([byte], false) = (bytes, caseless) {
            self.emit(Step::Byte(*byte))?;
            return Ok(());
        }
        let at = self.program.pool.len() as u32;
        let lower = |byte: &u8| {
            if caseless {
                byte.to_ascii_lowercase()
            } else {
                *byte
            }
        };
        self.program.pool.extend(bytes.iter().map(lower));
        self.emit(Step::Literal {
            at,
            len: bytes.len() as u32,
            caseless,
        })?;
        Ok(())
    }

    fn alternate(&mut self, nodes: &[Node]) -> Result<(), RegexError> {
        let mut jumps = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            if index + 1 == nodes.len() {
                self.node(node)?;
                break;
            }
            let split = self.emit(Step::Fail)?;
            self.node(node)?;
            jumps.push(self.emit(Step::Fail)?);
            let second = self.here();
            self.mend(
                split,
                Step::Split {
                    first: split + 1,
                    second,
                },
            );
        }
        let end = self.here();
        jumps
            .into_iter()
            .for_each(|jump| self.mend(jump, Step::Jump(end)));
        Ok(())
    }

    fn repeat(
        &mut self,
        node: &Node,
        min: u32,
        max: Option<u32>,
        greed: Greed,
    ) -> Result<(), RegexError> {
        if max == Some(0) {
            return Ok(());
        }
        if let Some(set) = single_byte(node) {
            let set = self.set(set);
            self.emit(Step::Run {
                set,
                min,
                max: max.unwrap_or(UNSET),
                greed,
            })?;
            return Ok(());
        }
        if greed == Greed::Possessive {
            let height = self.register();
            self.emit(Step::Mark { height })?;
            self.repeat(node, min, max, Greed::Greedy)?;
            self.emit(Step::Cut { height })?;
            return Ok(());
        }
        if (min, max) == (0, Some(1)) {
            return self.optional(node, greed);
        }
        let counter = self.register();
        let is_endless = max.is_none() && node.length().0 == 0;
        let begin = if is_endless { self.register() } else { UNSET };
        self.emit(Step::Put {
            register: counter,
            value: 0,
        })?;
        let head = self.emit(Step::Fail)?;
        self.node(node)?;
        self.emit(Step::Jump(head))?;
        let (body, exit, max) = (head + 1, self.here(), max.unwrap_or(UNSET));
        self.mend(
            head,
            Step::Loop {
                counter,
                begin,
                min,
                max,
                greed,
                body,
                exit,
            },
        );
        Ok(())
    }

    fn optional(&mut self, node: &Node, greed: Greed) -> Result<(), RegexError> {
        let split = self.emit(Step::Fail)?;
        self.node(node)?;
        let end = self.here();
        let (first, second) = if greed == Greed::Lazy {
            (end, split + 1)
        } else {
            (split + 1, end)
        };
        self.mend(split, Step::Split { first, second });
        Ok(())
    }

    fn look(&mut self, behind: bool, negated: bool, node: &Node) -> Result<(), RegexError> {
        let (height, origin) = (self.register(), self.register());
        self.emit(Step::Save { register: origin })?;
        let mark = self.emit(Step::Mark { height })?;
        if behind {
            self.behind(node, origin)?;
        } else {
            self.node(node)?;
        }
        if negated {
            self.emit(Step::CutAndFail { height })?;
            let exit = self.here();
            self.mend(mark, Step::MarkOr { height, exit });
        } else {
            self.emit(Step::Cut { height })?;
            self.emit(Step::Restore { register: origin })?;
        }
        Ok(())
    }

    /// The alternatives of a look-behind, each tried from each length that it can have.
    fn behind(&mut self, node: &Node, origin: u32) -> Result<(), RegexError> {
        let branches = match node {
            Node::Alternate(nodes) => nodes.as_slice(),
            node => std::slice::from_ref(node),
        };
        let mut jumps = Vec::new();
        for branch in branches {
            let (min, max) = branch.length();
            let max = max
                .filter(|max| max - min < BEHIND_LENGTHS_MAX)
                .ok_or_else(|| {
                    let hint = "64 lengths are the most; * and + have no end";
                    RegexError::new(0, "look-behind of no fixed length", hint)
                })?;
            for length in min..=max {
                let split = self.emit(Step::Fail)?;
                self.emit(Step::Behind(length as u32))?;
                self.node(branch)?;
                self.emit(Step::At { register: origin })?;
                jumps.push(self.emit(Step::Fail)?);
                let second = self.here();
                self.mend(
                    split,
                    Step::Split {
                        first: split + 1,
                        second,
                    },
                );
            }
        }
        self.emit(Step::Fail)?;
        let end = self.here();
        jumps
            .into_iter()
            .for_each(|jump| self.mend(jump, Step::Jump(end)));
        Ok(())
    }

    fn conditional(
        &mut self,
        condition: &Condition,
        yes: &Node,
        no: &Node,
    ) -> Result<(), RegexError> {
        let (branch, yes, no) = match condition {
            Condition::Group(group) => {
                let at = self.emit(Step::Fail)?;
                (
                    (
                        at,
                        Step::IfGroup {
                            group: *group,
                            no: 0,
                        },
                    ),
                    yes,
                    no,
                )
            }
            Condition::Look(look) => {
                let Node::Look {
                    behind,
                    negated,
                    node,
                } = &**look
                else {
                    return Err(RegexError::new(
                        0,
                        "bad condition",
                        "a group or a look-around",
                    ));
                };
                let (height, origin) = (self.register(), self.register());
                self.emit(Step::Save { register: origin })?;
                let at = self.emit(Step::Fail)?;
                if *behind {
                    self.behind(node, origin)?;
                } else {
                    self.node(node)?;
                }
                self.emit(Step::Cut { height })?;
                self.emit(Step::Restore { register: origin })?;
                let (yes, no) = if *negated { (no, yes) } else { (yes, no) };
                ((at, Step::MarkOr { height, exit: 0 }), yes, no)
            }
        };
        self.node(yes)?;
        let jump = self.emit(Step::Fail)?;
        let other = self.here();
        self.node(no)?;
        let end = self.here();
        self.mend(jump, Step::Jump(end));
        let step = match branch.1 {
            Step::IfGroup { group, .. } => Step::IfGroup { group, no: other },
            Step::MarkOr { height, .. } => Step::MarkOr {
                height,
                exit: other,
            },
            step => step,
        };
        self.mend(branch.0, step);
        Ok(())
    }
}

/// The set that a node of exactly one byte accepts.
fn single_byte(node: &Node) -> Option<ByteSet> {
    match node {
        Node::Set(set) => Some(*set),
        Node::Literal { bytes, caseless } if bytes.len() == 1 => {
            let set = ByteSet::of(bytes);
            Some(if *caseless { set.caseless() } else { set })
        }
        _ => None,
    }
}
