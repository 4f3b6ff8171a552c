//! What the matcher remembers of one direction of a transaction: who waits for more of it, and who
//! has hit. Detection itself is app.rs's.

use super::verify::Lack;

/// Rules that wait in one direction of a transaction at most.
pub const WAITING_MAX: usize = 48;
/// Rules that hit in one direction of a transaction and are remembered at most.
pub const MATCHED_MAX: usize = 32;
/// No view.
const NOTHING: u8 = u8::MAX;
/// In [`Wait`]: the contents outside of application buffers.
pub const PAYLOAD: u8 = u8::MAX - 1;

/// A rule that waits for more of a transaction, and what need not be asked again until it comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Wait {
    /// The rule.
    pub signature: u32,
    /// How far the content that is lacking was looked for: bytes of the instance, or the low bits of
    /// the position in the stream.
    sought: u32,
    /// Which of its views (the first eight) hold whatever follows.
    held: u8,
    /// The view that the rest is about, or [`PAYLOAD`], or [`NOTHING`].
    view: u8,
    /// The view's test whose content is lacking, or [`NOTHING`].
    step: u8,
    /// So many instances of the view's field, from the first on, never hold.
    failed: u8,
}

const _: () = assert!(size_of::<Wait>() == 12);

impl Wait {
    /// Of a rule of which nothing is known.
    pub const fn of(signature: u32) -> Wait {
        Wait {
            signature,
            sought: 0,
            held: 0,
            view: NOTHING,
            step: NOTHING,
            failed: 0,
        }
    }

    /// Whether a view holds whatever follows.
    pub fn has_held(&self, view: usize) -> bool {
        view < 8 && self.held >> view & 1 != 0
    }

    /// Notes that a view holds whatever follows.
    pub fn hold(&mut self, view: usize) {
        if view < 8 {
            self.held |= 1 << view;
        }
        if usize::from(self.view) == view {
            (self.view, self.step, self.failed) = (NOTHING, NOTHING, 0);
        }
    }

    /// Instances of a view's field, from the first on, that never hold.
    pub fn failed(&self, view: usize) -> usize {
        match usize::from(self.view) == view {
            true => usize::from(self.failed),
            false => 0,
        }
    }

    /// The test of a view whose content is lacking, and how far it was looked for.
    pub fn lacks(&self, view: usize) -> Option<(u8, u32)> {
        let is_known = usize::from(self.view) == view && self.step != NOTHING;
        is_known.then_some((self.step, self.sought))
    }

    /// Notes what the next instance of a view's field lacked, looked at up to `sought`.
    pub fn note(&mut self, view: usize, lack: Lack, sought: u32) {
        if !self.takes(view) {
            return;
        }
        self.step = NOTHING;
        match lack {
            Lack::Hope => self.failed = self.failed.saturating_add(1),
            Lack::Content(step) => (self.step, self.sought) = (step, sought),
            Lack::Bytes => {}
        }
    }

    /// Whether the room is this view's: one at a time.
    fn takes(&mut self, view: usize) -> bool {
        let Some(view) = u8::try_from(view).ok().filter(|view| *view < NOTHING) else {
            return false;
        };
        if self.view == NOTHING {
            (self.view, self.step, self.failed) = (view, NOTHING, 0);
        }
        self.view == view
    }
}

/// What the matcher keeps of one direction of a transaction. Copies move what is in use only: few
/// lines of memory for most transactions.
#[derive(Debug)]
#[repr(C)]
pub struct Seen {
    pub(super) waiting_count: u8,
    matched_count: u8,
    /// Rules that wait did not all fit: everything is looked at again at each change.
    pub(super) overflowed: bool,
    pub(super) started: bool,
    /// So many instances, from the first on, bring nothing new in this direction.
    pub(super) passed: u16,
    /// Generation of the rules that the numbers are of.
    pub(super) generation: u32,
    matched: [u32; MATCHED_MAX],
    pub(super) waiting: [Wait; WAITING_MAX],
}

impl Clone for Seen {
    fn clone(&self) -> Seen {
        let mut seen = Seen::default();
        seen.clone_from(self);
        seen
    }

    fn clone_from(&mut self, from: &Seen) {
        fn copy<T: Copy>(to: &mut [T], from: &[T], count: u8) {
            let count = usize::from(count).min(from.len());
            if let (Some(to), Some(from)) = (to.get_mut(..count), from.get(..count)) {
                to.copy_from_slice(from);
            }
        }
        copy(&mut self.waiting, &from.waiting, from.waiting_count);
        copy(&mut self.matched, &from.matched, from.matched_count);
        (self.waiting_count, self.matched_count) = (from.waiting_count, from.matched_count);
        (self.overflowed, self.started) = (from.overflowed, from.started);
        self.passed = from.passed;
        self.generation = from.generation;
    }
}

impl Default for Seen {
    fn default() -> Self {
        Seen {
            waiting: [Wait::of(u32::MAX); WAITING_MAX],
            waiting_count: 0,
            matched: [u32::MAX; MATCHED_MAX],
            matched_count: 0,
            overflowed: false,
            started: false,
            passed: 0,
            generation: 0,
        }
    }
}

impl Seen {
    /// Begins anew, under rules of this generation: one line is written, the lists count from 0.
    pub fn restart(&mut self, generation: u32) {
        (self.waiting_count, self.matched_count) = (0, 0);
        (self.overflowed, self.started, self.passed) = (false, false, 0);
        self.generation = generation;
    }

    /// Brings the numbers over to the rules in force; those of rules that are gone are let go.
    pub fn renew(&mut self, renewal: &super::Renewal) {
        let of = std::mem::replace(&mut self.generation, renewal.to);
        if of == renewal.to {
            return;
        }
        let mut kept = 0;
        for at in 0..usize::from(self.waiting_count).min(WAITING_MAX) {
            // What was known of a rule before was of its old form.
            let wait = Wait::of(renewal.number(of, self.waiting[at].signature));
            if wait.signature != super::state::NONE {
                self.waiting[kept] = wait;
                kept += 1;
            }
        }
        self.waiting_count = kept as u8;
        kept = 0;
        for at in 0..usize::from(self.matched_count).min(MATCHED_MAX) {
            let number = renewal.number(of, self.matched[at]);
            if number != super::state::NONE {
                self.matched[kept] = number;
                kept += 1;
            }
        }
        self.matched_count = kept as u8;
    }

    /// Whether a signature hit already.
    pub fn has_matched(&self, signature: u32) -> bool {
        self.hits(signature) > 0
    }

    /// Those that wait.
    pub fn waiting(&self) -> &[Wait] {
        self.waiting
            .get(..usize::from(self.waiting_count))
            .unwrap_or(&[])
    }

    /// How often a signature hit.
    pub fn hits(&self, signature: u32) -> usize {
        let matched = self.matched.iter().take(usize::from(self.matched_count));
        matched.filter(|known| **known == signature).count()
    }

    /// Notes that a signature waits. False: no room.
    pub fn wait(&mut self, wait: Wait) -> bool {
        match self.waiting.get_mut(usize::from(self.waiting_count)) {
            Some(place) => {
                *place = wait;
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
