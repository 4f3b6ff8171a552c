//! What the matcher remembers of one direction of a transaction: who waits for more of it, and who
//! has hit. Detection itself is app.rs's.

/// Rules that wait in one direction of a transaction at most.
pub const WAITING_MAX: usize = 48;
/// Rules that hit in one direction of a transaction and are remembered at most.
pub const MATCHED_MAX: usize = 32;
/// What the matcher keeps of one direction of a transaction. Copies move what is in use only: one
/// line of memory for most transactions.
#[derive(Debug)]
#[repr(C)]
pub struct Seen {
    pub(super) waiting_count: u8,
    matched_count: u8,
    /// Rules that wait did not all fit: everything is looked at again at each change.
    pub(super) overflowed: bool,
    pub(super) started: bool,
    /// Generation of the rules that the numbers are of.
    pub(super) generation: u32,
    matched: [u32; MATCHED_MAX],
    pub(super) waiting: [u32; WAITING_MAX],
}

impl Clone for Seen {
    fn clone(&self) -> Seen {
        let mut seen = Seen::default();
        seen.clone_from(self);
        seen
    }

    fn clone_from(&mut self, from: &Seen) {
        let copy = |to: &mut [u32], from: &[u32], count: u8| {
            let count = usize::from(count).min(from.len());
            if let (Some(to), Some(from)) = (to.get_mut(..count), from.get(..count)) {
                to.copy_from_slice(from);
            }
        };
        copy(&mut self.waiting, &from.waiting, from.waiting_count);
        copy(&mut self.matched, &from.matched, from.matched_count);
        (self.waiting_count, self.matched_count) = (from.waiting_count, from.matched_count);
        (self.overflowed, self.started) = (from.overflowed, from.started);
        self.generation = from.generation;
    }
}

impl Default for Seen {
    fn default() -> Self {
        Seen {
            waiting: [u32::MAX; WAITING_MAX],
            waiting_count: 0,
            matched: [u32::MAX; MATCHED_MAX],
            matched_count: 0,
            overflowed: false,
            started: false,
            generation: 0,
        }
    }
}

impl Seen {
    /// Nothing yet, under rules of this generation.
    pub fn of(generation: u32) -> Seen {
        Seen {
            generation,
            ..Seen::default()
        }
    }

    /// Brings the numbers over to the rules in force; those of rules that are gone are let go.
    pub fn renew(&mut self, renewal: &super::Renewal) {
        let of = std::mem::replace(&mut self.generation, renewal.to);
        if of == renewal.to {
            return;
        }
        let over = |list: &mut [u32], count: &mut u8| {
            let mut kept = 0;
            for at in 0..usize::from(*count).min(list.len()) {
                let number = renewal.number(of, list[at]);
                if number != super::state::NONE {
                    list[kept] = number;
                    kept += 1;
                }
            }
            *count = kept as u8;
        };
        over(&mut self.waiting, &mut self.waiting_count);
        over(&mut self.matched, &mut self.matched_count);
    }

    /// Whether a signature hit already.
    pub fn has_matched(&self, signature: u32) -> bool {
        self.matched
            .iter()
            .take(usize::from(self.matched_count))
            .any(|known| *known == signature)
    }

    /// How often a signature hit.
    pub fn hits(&self, signature: u32) -> usize {
        let matched = self.matched.iter().take(usize::from(self.matched_count));
        matched.filter(|known| **known == signature).count()
    }

    /// Notes that a signature waits. False: no room.
    pub fn wait(&mut self, signature: u32) -> bool {
        match self.waiting.get_mut(usize::from(self.waiting_count)) {
            Some(place) => {
                *place = signature;
                self.waiting_count += 1;
                true
            }
            None => {
                self.overflowed = true;
                false
            }
        }
    }

    /// Notes that a signature hit. False: no room.
    pub fn note_match(&mut self, signature: u32) -> bool {
        match self.matched.get_mut(usize::from(self.matched_count)) {
            Some(place) => {
                *place = signature;
                self.matched_count += 1;
                true
            }
            None => false,
        }
    }
}
