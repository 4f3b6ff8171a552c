//! Finds many literals in a buffer at once: the engine of the prefilter.
//!
//! Hash windows in the line of Wu-Manber, DFC (NSDI 2016) and V-PATCH (ICPP 2017), see MATCHER.md:
//!
//! ```text
//!  fold        the block, ASCII lower case, into a scratch of the stack            path's SIMD
//!  filter      every even position: is the window there one of ours? a bit table   path's SIMD
//!              every position, for short literals: byte classes in eight buckets   path's SIMD
//!  probe       those that pass, 64 at a time: tag of the window's slot             table.rs
//!  confirm     entries of the slot: bounds, eight bytes inline, then the rest      table.rs
//! ```
//! A literal of four bytes or more has one window for even and one for odd positions, each the
//! rarest of its bytes in ordinary traffic (background.rs). What can stand in one place only, at the
//! start or at the end of a buffer, is hashed there and not searched for (anchored.rs). Short
//! literals, and small sets as a whole, take the byte classes.
//!
//! Which instructions are used is decided once, by trying (path.rs). The reference twin is
//! aho-corasick, in the tests. Nothing here allocates after `build`. Not here: signatures, groups.

mod anchored;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod background;
mod build;
mod filter;
mod path;
mod portable;
mod scan;
mod table;

pub use background::Background;
pub use path::Path;
pub use scan::{CARRY_MAX, Carry, Extent, Scan};

/// Length of a literal at most.
pub const LENGTH_MAX: usize = 64;

/// Where in a buffer a literal can stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default, PartialOrd, Ord)]
pub enum Anchor {
    /// Anywhere.
    #[default]
    Floating,
    /// At the start.
    Start,
    /// At the end.
    End,
    /// It is the whole buffer.
    Whole,
}

/// What is looked for.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Literal {
    /// The bytes: 1 to [`LENGTH_MAX`].
    pub bytes: Box<[u8]>,
    /// ASCII case does not matter.
    pub nocase: bool,
    /// Where it can stand.
    pub anchor: Anchor,
}

/// A compiled set of literals.
#[derive(Clone, Debug, Default)]
pub struct Literals {
    store: table::Store,
    /// Even and odd windows, of literals that are long enough.
    windows: Option<filter::Windows>,
    /// Byte classes of short literals.
    classes: Option<filter::Classes>,
    starts: anchored::Anchored,
    ends: anchored::Anchored,
    count: usize,
    longest: usize,
}

impl Literals {
    /// Number of literals.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is nothing to find.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Length of the longest literal that may stand anywhere.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// Bytes of memory.
    pub fn memory(&self) -> usize {
        self.store.memory()
            + self.windows.as_ref().map_or(0, filter::Windows::memory)
            + self.classes.as_ref().map_or(0, filter::Classes::memory)
            + self.starts.memory()
            + self.ends.memory()
    }
}

#[cfg(test)]
mod tests;
